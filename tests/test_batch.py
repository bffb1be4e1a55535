"""The batch as a whole on small notebooks: grids, shared trainings, GPUs, the notebook that comes last, two runs at once, bad disks."""

import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from vp.lab import notebooks, plan, profiles, reproduce, results, watch
from vp.lab.job import gpu

VP = [sys.executable, "-m", "vp", "reproduce", "--profile", "smoke"]
PARAMETERS = 'profile: str = "auto"  # size of the run\nvalue: float = 1.0  # a number, 1'
ROWS = "from vp.lab import results as r\n_ = r.append(r.target('x'), [r.row('e', 'm', value, 'mm', notebook='x', profile='smoke')])"
READS = """import os, json; from pathlib import Path
from vp.lab import results
rows = results.load(os.environ["VP_LEDGER_ROWS"]) if "VP_LEDGER_ROWS" in os.environ else []
print("read", sorted(r["value"] for r in rows if r["experiment"] == "e"))"""


def write(path, *cells, parameters=PARAMETERS, tags=("parameters",)):
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": list(tags)}), *map(nbformat.v4.new_code_cell, cells)]
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of notebooks, for us and for the processes that we start, and an empty list of trainings."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "nets.toml").touch()
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path / "notebooks")
    monkeypatch.setattr(plan, "NETS", tmp_path / "nets.toml")
    monkeypatch.setenv("VP_NOTEBOOKS", str(tmp_path / "notebooks"))
    monkeypatch.setenv("VP_NETS", str(tmp_path / "nets.toml"))
    return tmp_path / "notebooks"


def run(tmp_path, *options, **more):
    return subprocess.run([*VP, "--runs", tmp_path / "runs", *options], capture_output=True, text=True, **more)


def said(path):
    """What an executed notebook printed."""
    return "".join(o.get("text", "") for c in nbformat.read(path, 4).cells if c.cell_type == "code" for o in c.outputs)


# ---- grids -----------------------------------------------------------------------------------------------------------------------------


def test_a_grid_leaves_rows_that_do_not_collapse(folder, tmp_path):
    write(folder / "a.ipynb", ROWS)
    write(folder / "b.ipynb", "1", parameters='profile: str = "auto"  # size')
    done = run(tmp_path, "--grid", "value=1,2,5")
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "runs/smoke-grid"
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.ipynb")} == {f"value={v}/a.ipynb" for v in (1, 2, 5)}
    rows = results.load(out)
    assert sorted(r["value"] for r in rows) == [1, 2, 5]
    assert len({r["config"] for r in rows}) == 3
    assert [r["config"].partition(" ")[::2] for r in rows] == [(results.config_hash(None), f"value={r['value']}") for r in rows]
    planned = json.loads((out / "plan.json").read_text())
    assert planned["cell_timeout_s"] == profiles.resolve("smoke").cell_timeout_s
    again = run(tmp_path, "--grid", "value=2,7")
    assert "value=2/a: " not in again.stdout, "a finished one ran again"
    assert sorted(r["value"] for r in results.load(out)) == [1, 2, 5, 7]


def test_rows_of_two_jobs_that_cannot_be_told_apart_are_an_error(folder, tmp_path):
    write(folder / "a.ipynb", ROWS)
    write(folder / "b.ipynb", ROWS, parameters=PARAMETERS.replace("1.0", "2.0"))
    done = run(tmp_path)
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "cannot be told from those of" in done.stdout


def test_equal_rows_of_two_jobs_are_none(folder, tmp_path):
    for name in "ab":
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps({"experiment": "e", "metric": "m", "value": None}) + "\n")
    assert watch.clashes([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]) == {}


# ---- trainings that notebooks share -----------------------------------------------------------------------------------------------------


def test_a_shared_training_is_made_once_and_first(folder, tmp_path):
    made = tmp_path / "made"  # os.mkdir fails the second time
    (tmp_path / "nets.toml").write_text(f'[n]\ncalls = [["os:mkdir", "{made}"]]\nwanted_by = ["a", "b"]\n')
    for name in "ab":
        write(folder / f"{name}.ipynb", f"import os; assert os.path.isdir({str(made)!r})")
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "runs/smoke/nets/n.json").read_text())["peak_mb"] > 10
    assert "nets/n" not in run(tmp_path).stdout.split("job ")[0], "it ran again"


def test_a_training_that_fails_keeps_only_those_who_want_it(folder, tmp_path):
    (tmp_path / "nets.toml").write_text(f'[n]\ncalls = [["os:mkdir", "{tmp_path}/no/such"]]\nwanted_by = ["a"]\n')
    write(folder / "a.ipynb", "1")
    write(folder / "b.ipynb", "1")
    done = run(tmp_path)
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 2
    assert "nets/n: FileNotFoundError" in failed[0]
    assert "a: not run, nets/n failed" in failed[1]
    assert (tmp_path / "runs/smoke/b.ipynb").exists()


def test_rows_of_an_earlier_state_do_not_stand_in_for_a_notebook_that_was_not_run(folder, tmp_path):
    net = '[n]\ncalls = [["os:makedirs", "{}", 511, {}]]\nwanted_by = ["a"]\n'
    (tmp_path / "nets.toml").write_text(net.format(tmp_path / "net", "true"))
    write(folder / "a.ipynb", ROWS)
    write(folder / "b.ipynb", ROWS.replace("'x'", "'y'"))
    assert run(tmp_path).returncode == 0
    assert (tmp_path / "runs/smoke/a.jsonl").exists()
    (tmp_path / "nets.toml").write_text(net.format(tmp_path / "net", "false"))  # it exists, so this fails
    write(folder / "a.ipynb", ROWS.replace("value", "7.0"))
    done = run(tmp_path)
    assert done.returncode == 1
    assert "a: not run, nets/n failed" in done.stdout
    assert not (tmp_path / "runs/smoke/a.jsonl").exists()
    assert (tmp_path / "runs/smoke/b.jsonl").exists()


# ---- the notebook that reads all rows ----------------------------------------------------------------------------------------------------


def test_who_reads_rows_comes_last_also_after_a_failure_and_again_when_they_change(folder, tmp_path):
    write(folder / "a.ipynb", READS, parameters='rows_root: str = ""  # folder of rows')
    write(folder / "b.ipynb", ROWS)
    write(folder / "c.ipynb", "raise ValueError('on purpose')")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "FAILED c, cell [" in done.stdout
    assert said(tmp_path / "runs/smoke/a.ipynb") == "read [1.0]\n"
    lines = done.stdout.splitlines()
    assert any(line.startswith("FAILED") for line in lines)
    assert " fail, " in lines[-1], "the claims are the last word"
    write(folder / "c.ipynb", ROWS.replace("'x'", "'y'").replace("value", "3.0"))
    assert run(tmp_path).returncode == 0
    assert said(tmp_path / "runs/smoke/a.ipynb") == "read [1.0, 3.0]\n"
    stamp = (tmp_path / "runs/smoke/a.ipynb").stat().st_mtime_ns
    assert run(tmp_path).returncode == 0
    assert (tmp_path / "runs/smoke/a.ipynb").stat().st_mtime_ns == stamp, "nothing had changed"


def test_alone_it_reads_the_committed_rows(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("VP_LEDGER_ROWS", raising=False)
    write(folder / "a.ipynb", READS, parameters='rows_root: str = ""  # folder of rows')
    assert run(tmp_path).returncode == 0
    assert said(tmp_path / "runs/smoke/a.ipynb") == "read []\n"


# ---- GPUs --------------------------------------------------------------------------------------------------------------------------------


def test_a_gpu_belongs_to_one_job_at_a_time_and_is_free_when_that_dies(tmp_path):
    hold = "import sys, time; from pathlib import Path; from vp.lab.job import gpu\n"
    hold += f"with gpu(Path({str(tmp_path)!r}), ['3', '5']) as g: print(g, flush=True); time.sleep(600)"
    holders = [subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        os.set_blocking(holders[2].stdout.fileno(), False)
        first = {}
        end = time.time() + 60
        while len(first) < 2 and time.time() < end:
            for p in holders:
                os.set_blocking(p.stdout.fileno(), False)
                if p not in first and (line := p.stdout.readline()):
                    first[p] = line.strip()
            time.sleep(0.1)
        assert set(first.values()) == {"3", "5"}
        time.sleep(1.5)
        waiting = next(p for p in holders if p not in first)
        assert not waiting.stdout.readline(), "two jobs on one GPU"
        victim = next(p for p, g in first.items() if g == "5")
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        end, got = time.time() + 20, ""
        while not got and time.time() < end:
            got = waiting.stdout.readline().strip()
            time.sleep(0.1)
        assert got == "5"
    finally:
        for p in holders:
            p.kill()


def test_no_gpu_is_none():
    with gpu(None, []) as device:
        assert device == ""


def test_jobs_that_train_get_a_gpu_each_and_others_none(folder, tmp_path):
    show = "import os, time; print('gpu', repr(os.environ['CUDA_VISIBLE_DEVICES'])); time.sleep(2)"
    for name in "abc":
        write(folder / f"{name}.ipynb", show, tags=("parameters",) if name == "c" else ("parameters", "trains"))
    jobs, _ = plan.plan("smoke")
    assert reproduce.run(jobs, tmp_path / "runs/smoke", "smoke", 3, ["7", "9"]) == {}
    assert {said(tmp_path / f"runs/smoke/{n}.ipynb") for n in "ab"} == {"gpu '7'\n", "gpu '9'\n"}
    assert said(tmp_path / "runs/smoke/c.ipynb") == "gpu ''\n"


def test_gpus_are_those_that_one_may_see(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert reproduce.visible_gpus() == ["0", "1", "2"]
    assert reproduce.visible_gpus(0) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,GPU-1")
    assert reproduce.visible_gpus(2) == ["4", "6"]
    with pytest.raises(reproduce.InputError, match="4 GPUs asked for, 3 found"):
        reproduce.visible_gpus(4)


# ---- two runs at once, bad disks ---------------------------------------------------------------------------------------------------------


def test_two_runs_at_once_in_one_checkout(folder, tmp_path):
    """Different profiles: both complete, side by side.  The same one twice: the second is refused or waits, and nothing is lost."""
    write(folder / "a.ipynb", ROWS, "import time; time.sleep(12)")
    command = [*VP[:-1]]
    several = [subprocess.Popen([*command, p, "--runs", tmp_path / "runs"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for p in ("smoke", "quick", "smoke")]  # fmt: skip
    ends = [(p.wait(timeout=300), *p.communicate()) for p in several]
    assert ends[1][0] == 0, ends[1]
    assert sorted((ends[0][0], ends[2][0])) == [0, 1], ends
    refused = ends[0] if ends[0][0] else ends[2]
    assert "another reproduction is running" in refused[2]
    assert len(refused[2].splitlines()) == 1
    for key in ("smoke", "quick"):
        assert [r["value"] for r in results.load(tmp_path / "runs" / key)] == [1.0]


def test_a_folder_that_is_read_only_is_one_line(folder, tmp_path):
    write(folder / "a.ipynb", "1")
    (tmp_path / "runs").mkdir(mode=0o555)
    as_user = []
    if os.access(tmp_path / "runs", os.W_OK):  # root heeds no modes: a read-only file system instead, if we may mount one
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", tmp_path / "runs"], capture_output=True)
        if mounted.returncode:
            pytest.skip("root heeds no modes, and a read-only file system cannot be mounted here")
        as_user = ["umount", tmp_path / "runs"]
    try:
        done = run(tmp_path)
    finally:
        if as_user:
            subprocess.run(as_user, check=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "vp reproduce: " in done.stderr
    assert str(tmp_path / "runs") in done.stderr


@pytest.mark.parametrize("kilobytes", [120, 400])
def test_a_full_disk_is_one_line_and_nothing_half_written(folder, tmp_path, kilobytes):
    """Full at the start, or when a notebook is written; with room, the same command goes on."""
    (tmp_path / "runs").mkdir()
    size = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", tmp_path / "runs"]
    if subprocess.run(size, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        write(folder / "a.ipynb", ROWS)
        write(folder / "b.ipynb", "print('x' * 600_000)")
        done = run(tmp_path)
        assert done.returncode == 1
        assert "Traceback" not in done.stdout + done.stderr
        told = [line for line in (done.stdout + done.stderr).splitlines() if "No space left" in line or "disk is full" in line]
        assert told, done.stdout + done.stderr
        out = tmp_path / "runs/smoke"
        assert not (out / "b.ipynb").exists()
        for path in out.rglob("*.ipynb"):
            if not path.name.endswith(".failed.ipynb"):
                nbformat.read(path, 4)
        subprocess.run(["mount", "-o", "remount,size=64m", tmp_path / "runs"], check=True)
        again = run(tmp_path)
        assert again.returncode == 0, again.stdout + again.stderr
        assert [r["value"] for r in results.load(out)] == [1.0]
        assert (out / "b.ipynb").stat().st_size > 600_000
    finally:
        subprocess.run(["umount", tmp_path / "runs"], check=True)


# ---- committed notebooks from a finished run ---------------------------------------------------------------------------------------------

SHOWS = """from IPython.display import display
display({"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "a widget"}, raw=True)
print("seed", seed)
seed + 1"""


@pytest.fixture
def committed(folder, tmp_path, monkeypatch):
    """A folder with notebooks a (with everything that an execution leaves) and b, whose rows are kept in tmp_path/results/rows."""
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(plan, "RECORD", tmp_path / "results/minutes.json")
    write(folder / "a.ipynb", ROWS, SHOWS, parameters=PARAMETERS + "\nseed: int = 0  # of nothing", tags=("parameters", "trains"))
    nb = nbformat.read(folder / "a.ipynb", 4)
    nb.cells.insert(0, nbformat.v4.new_markdown_cell("A [link](b.ipynb) and [another](../nets.toml)."))
    nbformat.write(nb, folder / "a.ipynb")
    write(folder / "b.ipynb", "print(1)")
    return folder


def kept(folder, tmp_path):
    """What lies in place: notebooks, rows without provenance."""
    rows = {p.name: [{k: v for k, v in r.items() if k not in results.PROVENANCE_COLUMNS} for r in results.load(p)]
            for p in (tmp_path / "results/rows").glob("*.jsonl")}  # fmt: skip
    return {p.name: json.loads(p.read_text()) for p in folder.glob("*.ipynb")}, rows


def test_taken_from_a_run_is_what_a_re_execution_writes(committed, tmp_path):
    before = {p: p.read_bytes() for p in committed.glob("*.ipynb")}
    for name in "ab":
        notebooks.refresh(name, "smoke")
        assert notebooks.stale(name) == ""
    executed = kept(committed, tmp_path)
    for path, content in before.items():
        path.write_bytes(content)
    (tmp_path / "results/rows/a.jsonl").unlink()
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert notebooks.main(["--from", str(tmp_path / "runs/smoke"), "--profile", "smoke"]) == 0
    assert kept(committed, tmp_path) == executed
    assert [notebooks.stale(name) for name in "ab"] == ["", ""]
    shown = [o for c in executed[0]["a.ipynb"]["cells"] for o in c.get("outputs", ())]
    assert [list(o["data"]) for o in shown if o["output_type"] == "display_data"] == [["text/plain"]], "a widget without a kernel"
    assert "injected" not in (committed / "a.ipynb").read_text()
    assert set(json.loads((tmp_path / "results/minutes.json").read_text())["smoke"]) == {"a", "b"}


def test_what_was_run_otherwise_is_refused(committed, tmp_path, capsys):
    runs = tmp_path / "runs/smoke"
    notebooks.execute("a", runs / "seed0", {"value": 3.0, "seed": 0}, about={"profile": "smoke"})
    notebooks.execute("b", runs, about={"profile": "smoke"})
    write(committed / "b.ipynb", "print(2)")
    before = kept(committed, tmp_path)
    assert notebooks.main(["--from", str(runs), "--profile", "smoke"]) == 1
    said = capsys.readouterr().out
    assert "a: not taken, it was run with value = 3.0" in said
    assert "b: not taken, its source is another one now" in said
    assert kept(committed, tmp_path) == before
    assert notebooks.unlike("b", runs, "quick") != ""
    assert "not finished there" in notebooks.unlike("a", tmp_path, "smoke")


def test_who_reads_the_committed_rows_is_stale_when_they_change(committed, tmp_path):
    write(committed / "c.ipynb", "1", parameters='rows_root: str = ""  # folder of rows')
    notebooks.refresh("c", "smoke")
    assert notebooks.stale("c") == ""
    (tmp_path / "results/rows/a.jsonl").write_text(json.dumps({"experiment": "e", "metric": "m", "value": 1.0}) + "\n")
    assert notebooks.stale("c") == "the rows that it reads changed"
    assert notebooks.unlike("c", tmp_path, "smoke") == "it reads the committed rows, not the run's"
