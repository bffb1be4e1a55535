"""The runner: strict parameters, failures told with their cell, resume after SIGKILL at any moment, one run at a time."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from vp.__main__ import main
from vp.errors import InputError
from vp.lab import notebooks, reproduce, results

VP = [sys.executable, "-m", "vp", "reproduce", "--profile", "smoke"]
ROWS = "from vp.lab import results; results.append(results.target('x'), [results.row('e', 'm', {value}, 'mm', notebook='x', seed=seed)])"


def write(path, *cells, parameters='profile: str = "auto"  # size of the run'):
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}), *map(nbformat.v4.new_code_cell, cells)]
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path / "notebooks")
    return tmp_path / "notebooks"


def test_execute_makes_notebook_rows_and_facts_together(folder, tmp_path):
    write(folder / "a.ipynb", ROWS.format(value="n"), parameters="n: int = 1  # a number, 1\nseed: int = 0  # of nothing")
    facts = notebooks.execute("a", tmp_path / "out", {"n": 7})
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.ipynb", "a.jsonl", "a.json"}
    assert json.loads((tmp_path / "out/a.jsonl").read_text())["value"] == 7
    assert 0 < facts["seconds"] < 60


def test_peak_memory_is_that_of_the_notebook(folder, tmp_path):
    """In a process of its own, as a job is: what this process's other children took does not count."""
    write(folder / "small.ipynb", "1")
    write(folder / "large.ipynb", "x = b'x' * 10**9")
    code = "import sys, pathlib; from vp.lab import notebooks; notebooks.FOLDER = pathlib.Path(sys.argv[1])\n"
    code += "print(notebooks.execute(sys.argv[2], sys.argv[3])['peak_mb'])"
    command = [sys.executable, "-c", code, folder]
    small, large = (int(subprocess.check_output([*command, name, tmp_path / "out"], text=True)) for name in ("small", "large"))
    assert 50 < small < 900
    assert 900 < large < small + 1100  # 10^9 bytes are 954 MiB


def test_unknown_parameter_is_an_error_and_nothing_is_written(folder, tmp_path):
    write(folder / "a.ipynb", "1")
    with pytest.raises(InputError, match=r"a\.ipynb: unknown parameter 'n_stpes'"):
        notebooks.execute("a", tmp_path / "out", {"n_stpes": 3})
    assert not (tmp_path / "out").exists()


def test_failing_cell_is_named_and_the_notebook_kept(folder, tmp_path):
    write(folder / "a.ipynb", "x = 1", "raise ValueError('no such thing')")
    with pytest.raises(notebooks.CellFailed, match=r"a, cell \[3\]: ValueError: no such thing"):
        notebooks.execute("a", tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.failed.ipynb"}


def test_cell_timeout(folder, tmp_path):
    write(folder / "a.ipynb", "import time; time.sleep(60)")
    start = time.time()
    with pytest.raises(notebooks.CellFailed, match="Timeout"):
        notebooks.execute("a", tmp_path / "out", timeout_s=3)
    assert time.time() - start < 30


@pytest.mark.parametrize(("kwargs", "message"), [
    ({"only": ["nope"]}, "no notebook 'nope'"),
    ({"data": ["bvh"]}, "is not NAME=ROOT"),
    ({"data": ["kitti=."]}, "NAME is one of"),
    ({"data": ["bvh=/no/such/folder"]}, "is not a folder"),
    ({"data": ["bvh="]}, "is not NAME=ROOT"),
    ({"data": ["bvh=workflow"]}, "nothing of bvh in workflow"),
    ({"only": ["0"]}, "no notebook '0'"),
])  # fmt: skip
def test_bad_plan(kwargs, message):
    with pytest.raises(InputError, match=message):
        reproduce.plan(**kwargs)


def test_data_that_no_notebook_of_the_run_reads(tmp_path):
    (tmp_path / "a.bvh").touch()
    with pytest.raises(InputError, match="no notebook of this run reads 'bvh' data"):
        reproduce.plan(only=["00_start_here"], data=[f"bvh={tmp_path}"])


def test_only_takes_a_beginning_and_no_notebook_twice():
    jobs, _ = reproduce.plan(only=["00", "00_start_here"])
    assert set(jobs) == {"00_start_here"}


@pytest.mark.parametrize("option", [["--cores", "0"], ["--retries", "-1"], ["--seeds", "1", "1"], ["--seeds", "-1"]])
def test_impossible_numbers(option):
    run = subprocess.run([*VP, "--dry-run", *option], capture_output=True, text=True)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1


def test_links_of_an_executed_notebook_lead_back(folder, tmp_path):
    write(folder / "a.ipynb", "1")
    nb = nbformat.read(folder / "a.ipynb", 4)
    nb.cells.append(nbformat.v4.new_markdown_cell("[b](b.ipynb) [page](../x.html) [web](https://example.org/b) [none](c.ipynb)"))
    nbformat.write(nb, folder / "a.ipynb")
    (folder / "b.ipynb").touch()
    (tmp_path / "x.html").touch()
    notebooks.execute("a", tmp_path / "out" / "deep")
    text = nbformat.read(tmp_path / "out/deep/a.ipynb", 4).cells[-1].source
    assert text == "[b](../../notebooks/b.ipynb) [page](../../x.html) [web](https://example.org/b) [none](c.ipynb)"


def test_bad_profile_ends_with_code_2_and_one_line():
    run = subprocess.run([*VP[:-1], "huge"], capture_output=True, text=True)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert "huge" in run.stderr


def test_plan_depends_on_source_parameters_and_seed(folder):
    write(folder / "a.ipynb", "1", parameters='profile: str = "auto"  # size\nseed: int = 0  # random\nbvh_root: str = ""  # folder')
    write(folder / "b.ipynb", "1")
    jobs, key = reproduce.plan("smoke", seeds=(0, 1))
    assert set(jobs) == {"seed0/a", "seed1/a", "b"}
    assert key == "smoke"
    (folder / "clip.bvh").touch()
    jobs2, key2 = reproduce.plan("smoke", seeds=(0, 1), data=[f"bvh={folder}"])
    assert key2.startswith("smoke-bvh-")
    assert jobs2["seed0/a"]["params"]["bvh_root"] == str(folder.resolve())
    assert jobs2["b"]["state"] == jobs["b"]["state"]
    assert len({jobs["seed0/a"]["state"], jobs["seed1/a"]["state"], jobs2["seed0/a"]["state"]}) == 3
    write(folder / "b.ipynb", "2")
    assert reproduce.plan("smoke")[0]["b"]["state"] != jobs["b"]["state"]


def rows_of(run):
    """All result rows of a run without what may differ."""
    files = {p.relative_to(run).as_posix(): p for p in sorted(run.rglob("*.jsonl")) if "/." not in p.relative_to(run.parent).as_posix()}
    rows = {name: [json.loads(line) for line in p.read_text().splitlines()] for name, p in files.items()}
    return {name: [{k: v for k, v in r.items() if k not in results.PROVENANCE_COLUMNS} for r in part] for name, part in rows.items()}


def run(folder, tmp_path, *options):
    env = {**os.environ, "VP_NOTEBOOKS": str(folder)}
    return subprocess.run([*VP, "--runs", tmp_path / "runs", *options], capture_output=True, text=True, env=env)


def test_a_failing_notebook_is_told_last_and_the_others_are_kept(folder, tmp_path):
    write(folder / "a.ipynb", "raise ValueError('broken on purpose')")
    write(folder / "b.ipynb", "1")
    done = run(folder, tmp_path)
    assert done.returncode == 1
    (failed,) = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert "FAILED a, cell [3]: ValueError: broken on purpose; see" in failed
    assert "statements of the paper" in done.stdout.splitlines()[-1]  # the claims come last
    assert (tmp_path / "runs/smoke/b.ipynb").exists()
    assert not (tmp_path / "runs/smoke/a.ipynb").exists()
    write(folder / "a.ipynb", "1")
    again = run(folder, tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "  b: " not in again.stdout, "b was finished and ran again"


def test_a_job_that_is_killed_is_told(folder, tmp_path):
    write(folder / "a.ipynb", "import os, psutil; psutil.Process(os.getppid()).kill()")
    done = run(folder, tmp_path)
    assert done.returncode == 1
    assert any(line.startswith("FAILED a") for line in done.stdout.splitlines())


@pytest.mark.parametrize("seed", ["2147483648", "99999999999999999999999"])
def test_seeds_that_no_generator_takes_are_refused(seed, capsys):
    assert main(["reproduce", "--dry-run", "--only", "01", "--seeds", seed]) == 2
    assert f"{seed} is too large" in capsys.readouterr().err


def test_a_file_in_the_way_of_a_folder_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    rows = results.ROOT / "results" / "rows" / "01_pinhole_depth.jsonl"
    for asked in (["reproduce", "--only", "00", "--runs"], ["report", "--rows", str(rows), "--out"]):
        assert main([*asked, str(tmp_path / "file")]) == 2
        said = capsys.readouterr().err.strip()
        assert len(said.splitlines()) == 1
        assert "file" in said
        assert ".writable" not in said
    assert (tmp_path / "file").read_text() == "mine"


def test_retries(folder, tmp_path):
    flag = tmp_path / "flag"
    code = f"from pathlib import Path; p = Path({str(flag)!r}); first = not p.exists(); p.touch(); assert not first"
    write(folder / "a.ipynb", code)
    assert run(folder, tmp_path).returncode == 1
    flag.unlink()
    write(folder / "a.ipynb", code + "  # again")
    done = run(folder, tmp_path, "--retries", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopping_the_front_alone_stops_its_jobs(folder, tmp_path, how):
    loop = f"for _ in range(600): Path({str(tmp_path / 'alive')!r}).touch(); time.sleep(0.25)"
    write(folder / "a.ipynb", "import time; from pathlib import Path\n" + loop)
    env = {**os.environ, "VP_NOTEBOOKS": str(folder)}
    front = subprocess.Popen([*VP, "--runs", tmp_path / "runs"], env=env, start_new_session=True, stdout=subprocess.DEVNULL)
    end = time.time() + 60
    while not (tmp_path / "alive").exists() and time.time() < end:
        time.sleep(0.1)
    os.kill(front.pid, how)
    assert front.wait(timeout=60) != 0
    time.sleep(4)
    assert time.time() - (tmp_path / "alive").stat().st_mtime > 1.5, "the notebook still runs"
    write(folder / "a.ipynb", "1")
    done = run(folder, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_output_that_went_missing_is_made_again(folder, tmp_path):
    write(folder / "a.ipynb", "1")
    assert run(folder, tmp_path).returncode == 0
    (tmp_path / "runs/smoke/a.ipynb").unlink()
    assert run(folder, tmp_path).returncode == 0
    assert (tmp_path / "runs/smoke/a.ipynb").exists()


def test_odd_parameters_cell_is_one_line(folder):
    write(folder / "a.ipynb", "1", parameters="print('no')")
    with pytest.raises(InputError, match="one literal assignment per line"):
        reproduce.plan("smoke")


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_gives_the_same(tmp_path):
    """SIGKILL to the whole process group at random moments, then to the end: the rows of an undisturbed run, but for provenance.

    Twice on two notebooks; with VP_KILLS=N N times on all of them, in a copy of the checkout, so that the trainings are cut off, too.
    """
    kills = int(os.environ.get("VP_KILLS", "0"))
    only = [] if kills else ["--only", "00_start_here", "01_pinhole_depth"]
    here = copy_of_checkout(tmp_path / "copy") if kills else notebooks.ROOT
    env = {**os.environ, "PYTHONPATH": str(here)}
    whole, seconds, rng = tmp_path / "whole", time.time(), random.Random(0)
    subprocess.run([*VP, *only, "--runs", whole], check=True, capture_output=True, cwd=notebooks.ROOT)
    seconds = time.time() - seconds
    cuts, hit = [tmp_path / "cut"], 0
    while hit < (kills or 2):
        process = subprocess.Popen([*VP, *only, "--runs", cuts[-1]], start_new_session=True, stdout=subprocess.DEVNULL, cwd=here, env=env)
        time.sleep(rng.uniform(0.1, max(20.0, seconds / 5) if kills else 0.7 * seconds))
        hit += process.poll() is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.wait() == 0:  # all was done: the next kills hit a new run
            cuts.append(tmp_path / f"cut{len(cuts)}")
    for cut in cuts:
        done = subprocess.run([*VP, *only, "--runs", cut], capture_output=True, text=True, cwd=here, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert rows_of(cut) == rows_of(whole)
    assert sum(map(len, rows_of(whole).values())) > 0
    again = subprocess.run([*VP, *only, "--runs", cuts[-1]], capture_output=True, text=True, cwd=here, env=env)
    assert again.returncode == 0
    assert "01_pinhole_depth: " not in again.stdout.split("job ")[0], "a finished notebook ran again"


def copy_of_checkout(to):
    """The files of this checkout that git knows or would know, elsewhere, without its cache; the `vp` of the copy needs PYTHONPATH."""
    listed = subprocess.run(["git", "-C", notebooks.ROOT, "ls-files", "-co", "--exclude-standard", "-z"], check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (notebooks.ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(notebooks.ROOT / name, to / name)
    return to


def test_a_read_only_checkout_is_one_line(tmp_path):
    """A copy of the checkout on a read-only mount, in a mount namespace of its own."""
    here = copy_of_checkout(tmp_path / "copy")
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"'
    readonly = ["unshare", "--mount", "sh", "-c", mount, str(here)]
    try:
        probe = subprocess.run([*readonly, "true"], capture_output=True)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if probe.returncode:
        pytest.skip("no read-only mount can be made here")
    before, env = sorted(here.rglob("*")), {**os.environ, "PYTHONPATH": str(here), "PYTHONDONTWRITEBYTECODE": "1"}
    train = [sys.executable, "-m", "vp", "train", "--profile", "smoke", "--out", "x"]
    for command in (VP, [*VP, "--runs", tmp_path / "runs"], train):
        done = subprocess.run([*readonly, *command], capture_output=True, text=True, env=env)
        assert done.returncode == 1, command
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "Read-only file system" in done.stderr
    assert sorted(here.rglob("*")) == before


def test_second_run_in_the_same_folder_is_refused(tmp_path):
    out = tmp_path / "smoke"
    out.mkdir()
    code = f"import fcntl, sys; f = open({str(out / '.lock')!r}, 'w'); fcntl.flock(f, 2); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    run = subprocess.run([*VP, "--only", "00_start_here", "--runs", tmp_path], capture_output=True, text=True)
    holder.kill()
    assert run.returncode == 1
    assert "another reproduction is running" in run.stderr
