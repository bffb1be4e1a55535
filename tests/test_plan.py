"""The plan of the batch: grids, shared trainings, the order of the jobs and how long they will take."""

import json
import tomllib

import nbformat
import pytest
from conftest import grids_of_make

from vp.errors import InputError
from vp.lab import notebooks, plan
from vp.lab.plan import finished, levels, makespan

SWEPT = """profile: str = "auto"  # size of the run
sigma_mm: float = 0.0  # mm, a width
people: int = 0  # number of people
noise: str = "published"  # a kind of noise
moved: bool = False  # a switch
seed: int = 0  # of nothing"""


def write(path, *cells, parameters='profile: str = "auto"  # size of the run', tags=("parameters",)):
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": list(tags)}), *map(nbformat.v4.new_code_cell, cells)]
    nbformat.write(nb, path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path / "notebooks")
    monkeypatch.setattr(plan, "RECORD", tmp_path / "minutes.json")
    monkeypatch.setattr(plan, "NETS", tmp_path / "nets.toml")
    write(tmp_path / "notebooks/01_a.ipynb", "1", parameters=SWEPT)
    write(tmp_path / "notebooks/02_b.ipynb", "1", parameters='profile: str = "auto"  # size\nbvh_root: str = ""  # folder')
    return tmp_path


# ---- grids -----------------------------------------------------------------------------------------------------------------------------


def test_a_grid_runs_its_notebook_once_for_each_combination_and_no_other(folder):
    jobs, key = plan.plan("smoke", grid=["sigma_mm=100,250.5", "people=1,2"], seeds=(0, 3))
    assert key == "smoke-grid"
    assert len(jobs) == 8
    assert {job["notebook"] for job in jobs.values()} == {"01_a"}
    assert jobs["sigma_mm=250.5/people=2/seed3/01_a"]["params"] == {"profile": "smoke", "sigma_mm": 250.5, "people": 2, "seed": 3}
    assert jobs["sigma_mm=100/people=1/seed0/01_a"]["grid"] == {"sigma_mm": 100.0, "people": 1}
    assert len({job["state"] for job in jobs.values()}) == 8


def test_values_have_the_type_of_the_default(folder):
    jobs, _ = plan.plan("smoke", grid=["sigma_mm=2", "moved=true,False", "noise=,richer,a b"])
    values = [job["grid"] for job in jobs.values()]
    assert values[0] == {"sigma_mm": 2.0, "moved": True, "noise": ""}
    assert isinstance(values[0]["sigma_mm"], float)
    assert {v["noise"] for v in values} == {"", "richer", "a b"}
    assert all(" " not in stem for stem in jobs), "a stem is a file's name"


@pytest.mark.parametrize(("grid", "message"), [
    (["people=1.5"], "'1.5' is no value for people = 0"),
    (["sigma_mm=nan"], "'nan' is no value"),
    (["sigma_mm=wide"], "'wide' is no value"),
    (["sigma_mm="], "'' is no value"),
    (["moved=2"], "'2' is no value"),
    (["voxels=1,2"], "no notebook of this run has a parameter 'voxels'"),
    (["sigma_mm"], "is not PARAMETER=V1,V2"),
    (["seed=1,2"], "options of their own"),
    (["bvh_root=a"], "options of their own"),
    (["people=1,1"], "each value once"),
    (["people=1", "people=2"], "each parameter and each value once"),
])  # fmt: skip
def test_bad_grids(folder, grid, message):
    with pytest.raises(InputError, match=message):
        plan.plan("smoke", grid=grid)


@pytest.mark.parametrize(("grid", "message"), [
    ("noise=clean,loud", "noise = 'loud'"), ("sigma_mm=-5", "sigma_mm at least 0"), ("voxels=9", "voxels from 0.2 to 4"),
])  # fmt: skip
def test_values_that_no_sweep_can_have_are_refused_before_anything_runs(grid, message):
    with pytest.raises(InputError, match=message):
        plan.plan("smoke", only=["11"], grid=[grid])
    with pytest.raises(InputError, match=message):
        plan.plan("smoke", only=["11"], grid=["scenes=0,50", grid])


def test_state_depends_on_what_the_code_reads(folder, monkeypatch):
    """The weights, the paper's numbers and the rows of other seeds, all beside the code."""
    made = []
    for name in ("vp/weights/a.safetensors", "results/paper.csv", "results/rows/b_seeds.jsonl", "vp/c.py"):
        (path := folder / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(plan.notebooks, "ROOT", folder / "root")
        made.append(plan._code_hash())
        path.write_text(name)
    made.append(plan._code_hash())
    assert len(set(made)) == len(made)
    (folder / "root/results/rows/c.jsonl").write_text("not read by code")
    assert plan._code_hash() == made[-1]


# ---- shared trainings ------------------------------------------------------------------------------------------------------------------


def test_a_training_is_one_job_whoever_wants_it(folder):
    (folder / "nets.toml").write_text(
        '[base]\ncalls = [["vp.lab.study:prepare", "{profile}", "{seed}", ["base"]]]\nwanted_by = ["01", "02_b", "77"]\n'
        '[wide]\neach = ["x", "y"]\ncalls = [["m:f", "{each}", "{sigma_mm}", "{bvh_root}"]]\nafter = "base"\nwanted_by = ["01"]\n'
    )
    jobs, _ = plan.plan("smoke", seeds=(0, 1))
    assert jobs["nets/seed0/base"]["calls"] == [["vp.lab.study:prepare", "smoke", 0, ["base"]]]
    assert jobs["nets/seed1/base"]["calls"][0][2] == 1
    assert jobs["nets/sigma_mm=0/wide"]["calls"] == [["m:f", "x", 0.0, None], ["m:f", "y", 0.0, None]]
    assert jobs["02_b"]["needs"] == ["nets/seed0/base"], "a notebook without seed wants that of seed 0"
    assert jobs["seed1/01_a"]["needs"] == ["nets/seed1/base", "nets/sigma_mm=0/wide"]
    assert list(jobs).index("nets/seed1/base") < list(jobs).index("nets/sigma_mm=0/wide"), "the file's order"
    only, _ = plan.plan("smoke", only=["02"])
    assert set(only) == {"nets/seed0/base", "02_b"}
    grid, _ = plan.plan("smoke", grid=["sigma_mm=1,2"])
    assert {s for s in grid if s.startswith("nets/")} == {"nets/seed0/base", "nets/sigma_mm=1/wide", "nets/sigma_mm=2/wide"}


def test_a_training_comes_after_another_whoever_wants_which(folder):
    (folder / "nets.toml").write_text(
        '[b]\ncalls = [["m:f"]]\nafter = "a"\nwanted_by = ["01", "02"]\n[a]\ncalls = [["m:g"]]\nwanted_by = ["01"]\n'
    )
    jobs, _ = plan.plan("smoke")
    assert jobs["nets/b"]["needs"] == ["nets/a"]
    alone, _ = plan.plan("smoke", only=["02"])
    assert "nets/a" not in alone
    assert alone["nets/b"]["needs"] == []


def test_a_training_for_the_whole_notebook_alone_is_none_for_a_grid(folder):
    (folder / "nets.toml").write_text('[a]\ncalls = [["m:f"]]\nwanted_by = []\nwhole = ["01"]\n')
    assert "nets/a" in plan.plan("smoke")[0]
    assert "nets/a" not in plan.plan("smoke", grid=["people=2"])[0]


def test_a_training_on_recorded_data_is_another(folder):
    (folder / "nets.toml").write_text('[base]\ncalls = [["m:f", "{bvh_root}"]]\nwanted_by = ["02"]\n')
    (folder / "clip.bvh").touch()
    with_data, _ = plan.plan("smoke", only=["02"], data=[f"bvh={folder}"])
    (stem,) = with_data["02_b"]["needs"]
    assert stem.startswith("nets/bvh_root=")
    assert with_data[stem]["calls"] == [["m:f", str(folder.resolve())]]


def test_the_list_of_trainings_names_functions_and_notebooks_that_exist():
    import importlib
    import inspect

    known = notebooks.names()
    planned = ("11_ablations", "14_beyond", "15_claims")
    for name, net in tomllib.loads((notebooks.ROOT / "workflow/nets.toml").read_text()).items():
        for call in net["calls"]:
            module, function = call[0].split(":")
            inspect.signature(getattr(importlib.import_module(module), function)).bind(*call[1:])
        for wanted in net["wanted_by"] + net.get("whole", []):
            assert any(n == wanted or n.startswith(f"{wanted}_") for n in (*known, *planned)), (name, wanted)


# ---- order and time --------------------------------------------------------------------------------------------------------------------


def job(needs=(), threads=1, gpu=False, last=False, kind="net"):
    return {"kind": kind, "needs": list(needs), "threads": threads, "gpu": gpu, "last": last}


def test_the_longest_chain_goes_first():
    jobs = {"short": job(), "start": job(), "end": job(["start"], kind="notebook"), "long": job()}
    took = {"short": 10.0, "start": 40.0, "end": 60.0, "long": 90.0}
    assert levels(jobs, took) == {"short": 10.0, "start": 100.0, "end": 60.0, "long": 90.0}
    assert makespan(jobs, took, 2) == 100.0
    assert makespan(jobs, took, 1) == 200.0
    assert levels(jobs, {**took, "end": None})["start"] == 40.0 + plan.UNTIMED["notebook"]


def test_time_heeds_cores_gpus_and_who_is_last():
    jobs = {"a": job(gpu=True), "b": job(gpu=True), "c": job(threads=4), "z": job(last=True, kind="notebook")}
    took = dict.fromkeys(jobs, 10.0)
    assert makespan(jobs, took, cores=8) == 20.0
    assert makespan(jobs, took, cores=8, gpus=1) == 30.0
    assert makespan(jobs, took, cores=2) == 30.0, "four threads on two cores take both"
    assert makespan(jobs, {**took, "a": None}, cores=1) == 30.0, "what was never timed counts nothing"


def past(folder, stem, seconds, profile="smoke", **more):
    path = folder / f"{stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seconds": seconds, "profile": profile, "peak_mb": 1, **more}))


def test_times_come_from_this_folder_else_another_else_the_committed_record(folder):
    out, other = folder / "runs/smoke", folder / "runs/smoke-bvh-1"
    jobs = dict.fromkeys(("seed0/a", "seed1/a", "b", "c", "d", "nets/seed1/n"))
    for f in (out, other):
        f.mkdir(parents=True)
        (f / "plan.json").write_text("{}")
    past(other, "seed0/a", 50.0)
    past(other, "b", 7.0)
    past(other, "c", 9.0, profile="quick")
    past(out, "seed0/a", 30.0)
    past(out, "nets/seed0/n", 4.0, longest=300.0)
    (folder / "minutes.json").write_text(json.dumps({"smoke": {"b": 1.0, "c": 2.0}}))
    took = plan.seconds(jobs, "smoke", out)
    gridded = dict.fromkeys(("x=1/seed0/a", "x=2/seed1/a"))
    assert plan.seconds(gridded, "smoke", out) == dict.fromkeys(gridded), "a job of a grid does not do the whole notebook"
    past(out, "x=1/seed0/a", 5.0)
    assert plan.seconds(gridded, "smoke", out) == dict.fromkeys(gridded, 5.0)
    assert took == {"seed0/a": 30.0, "seed1/a": 30.0, "b": 7.0, "c": 2.0, "d": None, "nets/seed1/n": 300.0}


def test_dry_run_says_unknown_where_nothing_was_recorded(folder, capsys):
    jobs, _ = plan.plan("smoke")
    assert plan.show(jobs, folder / "runs/smoke", 2, 0, "smoke") == 0
    said = capsys.readouterr().out
    assert said.count("unknown time") == 3
    assert "2 of 2 jobs to run" in said
    past(folder / "runs/smoke", "seed0/01_a", 120.0)
    plan.show(jobs, folder / "runs/smoke", 2, 0, "smoke")
    said = capsys.readouterr().out.splitlines()
    assert "to run, 2.0 min" in said[0]
    assert "2.0 minutes from past runs, and 1 that were never timed" in said[-1]


def test_finished_is_what_lies_there_with_this_state(folder):
    jobs, _ = plan.plan("smoke", only=["02"])
    past(folder, "02_b", 1.0, state=jobs["02_b"]["state"])
    assert finished(jobs, folder) == set(), "its notebook and rows are missing"
    for end in ("ipynb", "jsonl"):
        (folder / f"02_b.{end}").touch()
    assert finished(jobs, folder) == {"02_b"}
    past(folder, "02_b", 1.0, state="another")
    assert finished(jobs, folder) == set()


def test_who_reads_the_rows_of_the_others_changes_with_them(folder):
    write(folder / "notebooks/03_c.ipynb", "1", parameters='rows_root: str = ""  # folder of rows')
    jobs, _ = plan.plan("smoke")
    assert [s for s, j in jobs.items() if j["last"]] == ["03_c"]
    out = folder / "runs"
    (out / ".hidden").mkdir(parents=True)
    row = {"experiment": "e", "metric": "m", "value": 1.0, "seconds": 3.0}
    (out / "02_b.jsonl").write_text(json.dumps(row) + "\n")
    before = plan.read_rows(jobs, out)
    assert before["02_b"] == jobs["02_b"]
    (out / "02_b.jsonl").write_text(json.dumps({**row, "seconds": 4.0}) + "\n")
    (out / "03_c.jsonl").write_text(json.dumps(row) + "\n")
    (out / ".hidden/rows.jsonl").write_text(json.dumps(row) + "\n")
    assert plan.read_rows(jobs, out) == before, "seconds, its own rows and unfinished ones do not count"
    (out / "02_b.jsonl").write_text(json.dumps({**row, "value": 2.0}) + "\n")
    assert plan.read_rows(jobs, out)["03_c"]["state"] != before["03_c"]["state"]


def test_sweep_varies_parameters_that_notebook_11_has():
    grids = grids_of_make()
    assert len(grids) >= 6
    for grid in grids:
        jobs, _ = plan.plan("smoke", only=["11_ablations"], grid=[grid])
        assert len([s for s in jobs if s.endswith("11_ablations")]) == grid.count(",") + 1
