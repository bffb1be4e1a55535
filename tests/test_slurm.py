"""`vp reproduce --cluster` on a real SLURM of two virtual nodes: the rows of a local run; failures told; skipped where SLURM is absent."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import slurm
import yaml
from test_reproduce import write

from vp.__main__ import main
from vp.lab import plan, results

ROOT = Path(__file__).parents[1]
PROFILE = ROOT / "workflow" / "profiles" / "slurm"
REPRODUCE = [sys.executable, "-m", "vp", "reproduce", "--profile", "smoke"]
ONLY = ("01_pinhole_depth", "06_human_poses")  # seconds each, by seed; the second wants trainings, which are jobs of their own


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    """Environment of processes that use two nodes; a skip that says what is missing."""
    if lacking := slurm.missing():
        pytest.skip(f"no SLURM: {lacking}")
    if not find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("no snakemake-executor-plugin-slurm (the extra `slurm`)")
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(slurm.cluster(tmp_path_factory.mktemp("slurm") / "cluster"))
        except slurm.NotStarted as e:
            pytest.skip(f"SLURM cannot be started here: {e}")


def reproduce(out, *options, env=None):
    return subprocess.run([*REPRODUCE, "--runs", out, *options], capture_output=True, text=True, env=env, cwd=ROOT)


def rows_of(run):
    """{file: its rows without what may differ} of a run."""
    rows = {str(p.relative_to(run)): [json.loads(line) for line in p.read_text().splitlines()] for p in run.rglob("[0-9]*.jsonl")}
    return {name: [{k: v for k, v in r.items() if k not in results.PROVENANCE_COLUMNS} for r in part] for name, part in rows.items()}


def nodes_of(env):
    """The nodes on which finished jobs ran, by number of jobs."""
    said = subprocess.run(["squeue", "-h", "--states=all", "-o", "%T %N"], env=env, capture_output=True, text=True, check=True).stdout
    done = [line.split()[1] for line in said.splitlines() if line.startswith("COMPLETED")]
    return {node: done.count(node) for node in done}


@pytest.mark.slow
def test_the_rows_are_those_of_a_local_run(env, tmp_path):
    chosen = ["--only", *ONLY, "--seeds", "0", "1"]
    there = reproduce(tmp_path / "there", *chosen, "--cluster", PROFILE, env=env)
    assert there.returncode == 0, there.stdout + there.stderr + (tmp_path / "there/smoke/snakemake.log").read_text()
    where, (jobs, _) = nodes_of(env), plan.plan("smoke", ONLY, seeds=(0, 1))
    nets = [s for s, job in jobs.items() if job["kind"] == "net"]
    assert len(nets) >= 8
    assert sum(where.values()) == len(jobs) == 4 + len(nets), "each job of the plan is one of the cluster's"
    assert [s for s in nets if not (tmp_path / "there" / "smoke" / f"{s}.json").exists()] == []
    assert set(where) == set(slurm.NODES), "both nodes worked"
    here = reproduce(tmp_path / "here", *chosen, "--cores", "2")
    assert here.returncode == 0, here.stdout + here.stderr
    rows = rows_of(tmp_path / "here" / "smoke")
    assert len(rows) == 4
    assert all(rows.values())
    assert rows_of(tmp_path / "there" / "smoke") == rows
    files = [{str(p.relative_to(tmp_path / run)) for p in (tmp_path / run / "smoke").rglob("*.ipynb")} for run in ("here", "there")]
    assert files[0] == files[1]
    assert len(files[0]) == 4


@pytest.mark.slow
def test_what_fails_on_a_node_is_told_and_stopping_the_front_cancels_its_jobs(env, tmp_path):
    (tmp_path / "notebooks").mkdir()
    write(tmp_path / "notebooks/a.ipynb", "raise ValueError('broken on purpose')")
    write(tmp_path / "notebooks/b.ipynb", "import os; print(os.environ['SLURMD_NODENAME'])")
    mine = {**env, "VP_NOTEBOOKS": str(tmp_path / "notebooks")}
    done = reproduce(tmp_path / "runs", "--cluster", PROFILE, env=mine)
    assert done.returncode == 1
    assert "FAILED a, cell [3]: ValueError: broken on purpose; see" in done.stdout
    made = json.loads((tmp_path / "runs/smoke/b.ipynb").read_text())
    assert "".join(made["cells"][-1]["outputs"][0]["text"]).strip() in slurm.NODES
    alive = tmp_path / "alive"
    loop = f"import time; from pathlib import Path\nfor _ in range(600): Path({str(alive)!r}).touch(); time.sleep(0.25)"
    write(tmp_path / "notebooks/a.ipynb", loop)
    front = subprocess.Popen([*REPRODUCE, "--runs", tmp_path / "runs", "--cluster", PROFILE], env=mine, cwd=ROOT, stdout=subprocess.DEVNULL)
    end = time.time() + 120
    while not alive.exists() and time.time() < end:
        time.sleep(0.2)
    assert alive.exists()
    os.kill(front.pid, signal.SIGTERM)
    assert front.wait(timeout=90) == 1
    end = time.time() + 30
    while (left := subprocess.run(["squeue", "-h"], env=env, capture_output=True, text=True, check=True).stdout) and time.time() < end:
        time.sleep(0.5)
    assert not left, "a job of the cluster outlived the front"


@pytest.mark.parametrize("how", ["end", "error"])
def test_no_daemon_is_left(tmp_path, how):
    if lacking := slurm.missing():
        pytest.skip(f"no SLURM: {lacking}")
    before = {p.pid for p in psutil.process_iter()}
    with contextlib.suppress(slurm.NotStarted, KeyError), slurm.cluster(tmp_path / "cluster") as env:
        subprocess.run(["sbatch", "--wrap", "sleep 300", "-o", "/dev/null"], env=env, check=True, capture_output=True)
        if how == "error":
            raise KeyError
    named = [p.name() for p in psutil.process_iter(["name"]) if p.pid not in before and p.name().startswith(("slurm", "munge"))]
    assert not named


def test_the_profile_is_read_and_a_folder_without_one_is_one_line(tmp_path, capsys):
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    assert profile["executor"] == "slurm"
    assert main(["reproduce", "--only", "01", "--cluster", str(tmp_path), "--dry-run"]) == 2
    line = capsys.readouterr().err
    assert "no config.yaml of a Snakemake profile" in line
    assert len(line.splitlines()) == 1
