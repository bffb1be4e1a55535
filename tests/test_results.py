"""vp.lab.results: rows that survive kills, repetition and bad input."""

import json
import math
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from vp.errors import InputError
from vp.lab import results

REFERENCE = Path(__file__).parents[2] / "shared" / "reference" / "paper_results.json"


def simple(value=1.0, **columns):
    base = {"experiment": "e", "metric": "mrpe_z", "unit": "mm", "value": value, "notebook": "nb", "seed": 0, "config": "c"}
    return {**base, **columns}


@pytest.fixture
def later(monkeypatch):
    """Call it to become a later run: what this process wrote before counts as an earlier run's."""
    return lambda: monkeypatch.setattr(results, "_written", set())


def test_a_row_has_every_column_and_provenance():
    r = results.row("e", "mrpe_z", 76.0, "mm", (70.0, 82.0), {"poses": "twin", "cameras": "panoptic"}, method="TBS", seed=3, n=12)
    assert set(r) == set(results.COLUMNS)
    assert (r["lo"], r["hi"], r["poses"], r["cameras"], r["images"], r["seed"]) == (70.0, 82.0, "twin", "panoptic", None, 3)
    assert r["device"]
    assert r["time"].endswith("Z")
    assert set(results.PROVENANCE_COLUMNS) <= set(results.COLUMNS)


def test_round_trip_with_nan_as_strict_json(tmp_path):
    row = simple(math.nan, per_scene=[1.0, math.nan, 2.123456789], clusters=["a", "a", "b"])
    file = results.append(tmp_path / "a" / "rows.jsonl", [row])
    line = json.loads(file.read_text(), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert line["value"] is None
    assert line["per_scene"] == [1.0, None, 2.123457]
    (r,) = results.load(file)
    assert math.isnan(r["value"])
    assert math.isnan(r["per_scene"][1])
    assert r["clusters"] == ["a", "a", "b"]
    assert r["train"] is None
    assert math.isnan(results.frame([r])["value"][0])


def test_numpy_and_torch_scalars_are_numbers(tmp_path):
    import numpy as np
    import torch

    file = results.append(tmp_path / "r.jsonl", [simple(np.float32(1.5), n=np.int64(4), per_scene=torch.tensor([0.5, 2.5]))])
    (r,) = results.load(file)
    assert (r["value"], r["n"], r["per_scene"]) == (1.5, 4, [0.5, 2.5])


def test_a_second_run_replaces_the_first_and_only_it(tmp_path, later):
    file = tmp_path / "rows.jsonl"
    results.append(file, [simple(1.0), simple(2.0, metric="mrpe"), simple(3.0, seed=1), simple(4.0, experiment="other")])
    later()
    results.append(file, [simple(10.0)])  # the new run no longer measures mrpe
    found = {(r["experiment"], r["metric"], r["seed"]): r["value"] for r in results.load(file)}
    assert found == {("e", "mrpe_z", 0): 10.0, ("e", "mrpe_z", 1): 3.0, ("other", "mrpe_z", 0): 4.0}


def test_within_a_run_cells_add_up_and_a_repeated_cell_replaces(tmp_path):
    file = tmp_path / "rows.jsonl"
    results.append(file, [simple(1.0)])
    results.append(file, [simple(2.0, metric="mrpe")])
    results.append(file, [simple(5.0, git="abc", time="2030", device="other", seconds=3)])
    assert sorted(r["value"] for r in results.load(file)) == [2.0, 5.0]
    assert len(file.read_text().splitlines()) == 2


def test_of_the_same_measurement_in_two_files_the_newer_counts(tmp_path):
    results.append(tmp_path / "a.jsonl", [simple(1.0, time="2026-02-01")])
    results.append(tmp_path / "b.jsonl", [simple(2.0, time="2026-01-01"), simple(3.0, seed=1, time="2026-01-01")])
    assert sorted(r["value"] for r in results.load(tmp_path)) == [1.0, 3.0]
    assert sorted(r["value"] for r in results.load([tmp_path / "a.jsonl"], tmp_path / "b.jsonl")) == [1.0, 3.0]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"metrik": 1}, "unknown column 'metrik'"),
        ({"metric": ""}, "experiment, metric and value"),
        ({"value": "12"}, "'value' must be a finite number"),
        ({"value": math.inf}, "'value' must be a finite number"),
        ({"method": 3}, "'method' must be text"),
        ({"per_scene": "12"}, "'per_scene' must be a list"),
        ({"per_scene": [1, 2], "clusters": ["a"]}, "must name the scene of each"),
        ({"seed": "x"}, "'seed'"),
        ({"seed": math.nan}, "'seed' must be a whole number"),
        ({"seed": 1.7}, "'seed' must be a whole number"),
        ({"seed": 10**30}, "'seed' must be a whole number"),
        ({"value": 10**400}, "'value' must be a finite number"),
        ({"n": -(10**400)}, "'n' must be a finite number"),
        ({"per_scene": [1, 10**400]}, "'per_scene' must be a finite number"),
        ({"lo": 1.0}, "both 'lo' and 'hi'"),
    ],
)
def test_what_is_no_row_is_refused(tmp_path, bad, message):
    with pytest.raises(InputError, match=message):
        results.append(tmp_path / "r.jsonl", [simple(), {**simple(), **bad}])
    assert not (tmp_path / "r.jsonl").exists()


def test_rows_of_unfinished_work_are_not_loaded(tmp_path):
    """A running or killed notebook writes into a hidden folder; a folder may be called like rows."""
    results.append(tmp_path / "seed0" / "a.jsonl", [simple()])
    results.append(tmp_path / "seed0" / ".a.x1" / "rows.jsonl", [{**simple(), "metric": "unfinished"}])
    (tmp_path / "b.jsonl").mkdir()
    assert [r["metric"] for r in results.load(tmp_path)] == [simple()["metric"]]
    assert [p.name for p in results.files(tmp_path)] == ["a.jsonl"]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        '{"experiment": "e"}',
        '{"experiment": "e", "metric": "m", "value": 1, "x": 2}',
        "\xff\x00",
        '{"experiment": "e", "metric": "m", "value": 1, "seed": NaN}',
        '{"experiment": "e", "metric": "m", "value": 1, "seed": 1.7}',
        '{"experiment": "e", "metric": "m", "value": 1' + "0" * 400 + "}",
        '{"experiment": "e", "metric": "m", "value": 1' + "0" * 5000 + "}",
        '{"experiment": "e", "metric": "m", "value": 1, "note": ' + "[" * 100000 + "]" * 100000 + "}",
        '{"experiment": "e", "metric": "m", "value": ' + "[" * 500 + "]" * 500 + "}",
        '{"experiment": "e\\ud800", "metric": "m", "value": 1}',
    ],
    ids=lambda line: line[:70],
)
def test_a_broken_line_is_named_by_file_and_line(tmp_path, line):
    file = tmp_path / "r.jsonl"
    good = json.dumps(simple()).encode()
    file.write_bytes(good + b"\n\n" + line.encode("latin1") + b"\n")
    with pytest.raises(InputError, match=r"r\.jsonl:3: ") as e:
        results.load(tmp_path)
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 600


def test_a_whole_number_is_a_seed_and_a_row_knows_its_line(tmp_path):
    (tmp_path / "r.jsonl").write_text('\n{"experiment": "e\\ud83d\\ude00", "metric": "m", "value": 1, "seed": 2.0}\n')
    (r,) = results.load(tmp_path)
    assert (r["seed"], type(r["seed"]), r["experiment"]) == (2, int, "e\N{GRINNING FACE}")
    assert r.where == f"{tmp_path / 'r.jsonl'}:2"


def test_missing_paths_and_empty_folders(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        results.load(tmp_path / "nowhere")
    assert results.load(tmp_path) == []


def test_target(monkeypatch):
    monkeypatch.delenv("VP_ROWS", raising=False)
    assert results.target("01_pinhole") == Path(__file__).parents[1] / "runs" / "interactive" / "01_pinhole.jsonl"
    monkeypatch.setenv("VP_ROWS", "/somewhere/rows.jsonl")
    assert results.target("01_pinhole") == Path("/somewhere/rows.jsonl")


def test_config_hash_knows_the_content_and_not_the_order():
    assert results.config_hash({"a": 1, "b": [2]}) == results.config_hash({"b": [2], "a": 1}) != results.config_hash({"a": 1, "b": [3]})


def test_git_is_that_of_this_repository_or_none(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    assert results._git() is None  # not a repository
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(tmp_path)]
    if subprocess.run([*git, "init", "-q"], check=False).returncode:
        pytest.skip("no git here")
    (tmp_path / "f").write_text("1")
    subprocess.run([*git, "add", "f"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    clean = results._git()
    assert len(clean) == 10
    (tmp_path / "f").write_text("2")
    assert results._git() == clean + "+"


def child(work):
    """Run `work` in a forked process; returns its pid.  It never comes back into the tests."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def write(file, seed, times, first=1):
    for k in range(first, first + times):
        results.append(file, [simple(k, metric=f"m{i}", seed=seed) for i in range(100)])


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("moment", ["half written", "before the rename", "after the rename"])
def test_sigkill_at_the_worst_moments(tmp_path, moment):
    file = tmp_path / "rows.jsonl"
    write(file, 0, 1)

    def work():
        if moment == "half written":
            real = Path.write_bytes
            Path.write_bytes = lambda self, data: (real(self, data[: len(data) // 2]), die())
        else:
            replace = os.replace
            os.replace = (lambda *a: die()) if moment.startswith("before") else (lambda *a: (replace(*a), die()))
        write(file, 0, 1, first=9)

    assert os.waitstatus_to_exitcode(os.waitpid(child(work), 0)[1]) == -signal.SIGKILL
    values = [r["value"] for r in results.load(file)]
    assert values == [9 if moment.startswith("after") else 1] * 100
    results.append(file, [simple(7.0)])  # the lock is free, the leftovers go
    assert 7.0 in [r["value"] for r in results.load(file)]
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


def test_sigkill_at_any_moment_leaves_the_rows_of_one_write(tmp_path):
    file = tmp_path / "rows.jsonl"
    write(file, 0, 1)
    for wait in (0.005, 0.011, 0.017, 0.023, 0.031, 0.043, 0.057, 0.071):
        pid = child(lambda: write(file, 0, 10**6))
        time.sleep(wait)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        values = [r["value"] for r in results.load(file)]
        assert len(values) == 100
        assert len(set(values)) == 1


def test_two_processes_on_one_file_lose_nothing(tmp_path):
    file = tmp_path / "rows.jsonl"
    pids = [child(lambda n=n: write(file, n, 10)) for n in (0, 1, 2)]
    assert [os.waitpid(p, 0)[1] for p in pids] == [0, 0, 0]
    rows = results.load(file)
    assert {(r["seed"], r["metric"], r["value"]) for r in rows} == {(n, f"m{i}", 10) for n in (0, 1, 2) for i in range(100)}


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = results.append(tmp_path / "r.jsonl", [simple(1.0)])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        results.append(file, [simple(2.0)])
    assert [r["value"] for r in results.load(file)] == [1.0]
    assert not list(tmp_path.glob(".*.tmp"))


def test_what_is_renamed_has_reached_the_disk(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (fsync(fd), done.append(("on disk", os.fstat(fd).st_ino, os.fstat(fd).st_size))))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append(("renamed", os.stat(a).st_ino)), replace(a, b)))
    results.write_atomic(tmp_path / "f", "12345")
    inode = (tmp_path / "f").stat().st_ino
    assert done == [("on disk", inode, 5), ("renamed", inode)]


# ---- the paper's numbers -------------------------------------------------------------------------------------------------------------


def test_paper_numbers_typed_from_the_paper():
    """Literals read from Tables 1 to 5 and §5.3 of the paper."""
    at = {(p["table"], p["row"], p["column"], p["metric"]): p["value"] for p in results.paper()}
    assert len(at) == len(results.paper())  # no cell twice
    assert at["table1", "TBS / green", "MuCo (augmented)", "mrpe_z"] == 281.6
    assert at["table2", "VirtualPose", "Pizza", "mpjpe"] == 65.4
    assert at["table2", "SMAP", "Mafia", "mpjpe"] == 60.3
    assert at["table3", "VirtualPose", "matched people", "pck_root"] == 53.5
    assert at["table4", "REN", "MuPoTS", "mrpe_z"] == 165.0
    assert at["table5", "VirtualPose / 19", "14", "mrpe_z"] == 621.3
    assert at["projection", "naive", "MuPoTS", "mrpe"] == 253.2
    assert at["tailored", "VirtualPose / 19", "19", "mrpe_z"] == 62.3
    assert math.isnan(at["table3", "HMOR", "matched people", "pck_abs"])  # not given
    assert {p["unit"] for p in results.paper()} == {"mm", "%"}
    assert len(results.paper("table2")) == 35


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE.name} is not beside this repository")
def test_paper_numbers_agree_with_the_reference():
    ref = json.loads(REFERENCE.read_text())

    def ours(table):
        return {(p["row"], p["column"], p["metric"]): None if math.isnan(p["value"]) else p["value"] for p in results.paper(table)}

    def names(table, columns, **rows):
        renamed = {rows.get(k, k): v for k, v in ref[table].items() if isinstance(v, list) and k != "columns"}
        return {(row, *column): v for row, values in renamed.items() for column, v in zip(columns, values, strict=True)}

    t1 = ref["table1_backgrounds_MRPEz"]
    want = {(f"{m} / {tr}", te, "mrpe_z"): v for m in ("TBS", "TIF", "BDR") for tr in t1[m] for te, v in zip(t1["columns"], t1[m][tr])}
    assert ours("table1") == want
    zanfir = {"Zanfir et al. 2018a": "Zanfir et al. (CVPR 2018)", "Zanfir et al. 2018b": "Zanfir et al. (NIPS 2018)"}
    activities = [(a, "mpjpe") for a in ref["table2_panoptic_MPJPE"]["columns"]]
    assert ours("table2") == names("table2_panoptic_MPJPE", activities, **zanfir, **{"HMOR (GT depth)": "HMOR"})
    people = [("matched people", "pck_abs"), ("matched people", "pck_root"), ("all people", "pck_abs")]
    assert ours("table3") == names("table3_mupots_percent", people)
    four = [("Panoptic", "mrpe"), ("Panoptic", "mrpe_z"), ("MuPoTS", "mrpe"), ("MuPoTS", "mrpe_z")]
    assert ours("table4") == names("table4_ablation", four, **{"(a) DE": "DE", "(b) REN": "REN", "(c) REN+PEN": "REN+PEN"})
    short = {"depth-based projection": "depth-based", "naive projection to all voxels": "naive"}
    assert ours("projection") == names("projection_ablation_mupots", four[2:], **short)
    cameras = [(c, "mrpe_z") for c in ("14", "16", "19")]
    table5 = names("table5_generation_MRPEz", cameras, **{f"train {c}": f"VirtualPose / {c}" for c in ("14", "16", "19", "random")})
    assert ours("table5") == {k: v for k, v in table5.items() if k[0] != "test_cameras" and v is not None}
    known, poses = ref["tailored"]["camera known"], ref["tailored"]["poses known"]
    assert sorted(ours("tailored").values()) == sorted([*known.values(), *poses.values()])
