"""The cache of trained second stages: keyed by the code that decides what they learn, all of it and no other."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_second_stage import COURSE, TINY

from vp.lab import models
from vp.lab.second_stage import Batches, world

VP = Path(models.__file__).parents[1]


def imported(*modules):
    """Files of vp, as "nets/ren.py", that a fresh interpreter has loaded after importing these modules."""
    loaded = "[m.__file__ for name, m in sys.modules.items() if name.split('.')[0] == 'vp']"
    code = f"import {', '.join(modules)}, json, sys; print(json.dumps({loaded}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {Path(file).relative_to(VP).as_posix() for file in json.loads(out)}


def test_the_second_stage_names_exactly_its_networks():
    loaded = {file for file in imported("vp.nets.virtualpose") if file.startswith("nets/")}
    assert len(loaded) > 5
    assert loaded == {file for file in models.TRAINED_BY if file.startswith("nets/")}


def test_what_training_loads_is_in_the_list_or_known_to_be_none_of_it():
    """Other parts of `vp` that learning imports: pictures (of which no AGR is made), files, errors, and the type readers exchange."""
    idle = {"__init__.py", "lab/__init__.py", "atomic.py", "errors.py", "sample.py", "lab/results.py"}
    loaded = imported("vp.lab.second_stage")
    assert "world/agr.py" in loaded
    assert loaded - set(models.TRAINED_BY) - idle <= {f"world/{name}" for name in models.PICTURES}


def test_pictures_are_no_part_of_agr():
    """What makes scenes and their AGR loads none of the files that are left out, and every other file of the world is in the list."""
    made_by = imported("vp.world.agr", "vp.world.bank", "vp.world.scenes", "vp.world.placement", "vp.world.body")
    assert not made_by & {f"world/{name}" for name in models.PICTURES}
    there = {f"world/{file.name}" for file in (VP / "world").glob("*.py")}
    assert there - set(models.TRAINED_BY) == {f"world/{name}" for name in models.PICTURES}, "none is left out that is not there"


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A copy of the code, for `code_hash` to look at."""
    shutil.copytree(VP, tmp_path / "vp", ignore=shutil.ignore_patterns("__pycache__", "weights", "data", "show"))
    monkeypatch.setattr(models, "CODE", tmp_path / "vp")
    return tmp_path / "vp"


def edited(file):
    file.write_text(file.read_text() + "# edited\n")
    return models.code_hash()


def test_each_file_of_the_list_counts(code):
    seen = [models.code_hash()]
    assert len(models.TRAINED_BY) == len(set(models.TRAINED_BY))
    seen += [edited(code / part) for part in models.TRAINED_BY]
    assert len(set(seen)) == 1 + len(models.TRAINED_BY)


def test_other_code_does_not_count(code):
    before = models.code_hash()
    others = [*sorted(set((code / "nets").glob("*.py")) - {code / part for part in models.TRAINED_BY}), code / "world" / "render.py"]
    assert code / "nets" / "checkpoints.py" in others
    (code / "nets" / "another.py").write_text("# a new network\n")
    assert {edited(file) for file in others} == {before}


def test_parts_are_files_or_whole_folders(code):
    world, one, both = (models.code_hash(parts) for parts in (["world"], ["nets/tbs.py"], ["world", "nets/tbs.py"]))
    assert len({world, one, both, models.code_hash()}) == 4
    edited(code / "world" / "render.py")
    assert models.code_hash(["world"]) != world, "a folder is all of it"
    assert models.code_hash(["nets/tbs.py"]) == one
    (code / "world" / "agr.py").rename(code / "world" / "agr_.py")
    assert models.code_hash(["world"]) != world


@pytest.mark.parametrize("parts", [["nets/renn.py"], ["nets/ren.py", "worlds"], ["ren.py"], ["empty"]])
def test_unknown_code_is_refused(code, parts):
    (code / "empty").mkdir()
    with pytest.raises(ValueError, match=f"no code vp/{parts[-1]}"):
        models.code_hash(parts)


def test_the_cache_is_keyed_by_the_code(tmp_path, code, monkeypatch):
    batches, made = Batches(world(), TINY), []
    monkeypatch.setattr(models, "make", lambda course, batches, path, *_: made.append(path))
    for _ in range(2):
        models.cached(COURSE, batches, tmp_path)
    edited(code / "nets" / "checkpoints.py")
    models.cached(COURSE, batches, tmp_path)
    assert len(set(made)) == 1
    edited(code / "nets" / "pen.py")
    models.cached(COURSE, batches, tmp_path)
    assert len(set(made)) == 2


def test_a_shared_part_is_trained_once_and_gives_the_same_bits(tmp_path, monkeypatch):
    course = replace(COURSE, alone=replace(COURSE.together, steps=2))
    naive = replace(course, sizes=replace(course.sizes, naive=True), pen_on="candidates", cubes=1)
    trained, learn = [], models.learn
    monkeypatch.setattr(models, "learn", lambda c, *a, **k: trained.append((c.together.steps, bool(k["first"]))) or learn(c, *a, **k))
    for c in (course, naive):
        batches = Batches(world(), c.sizes)
        by_itself = models.cached(c, batches, tmp_path / "itself", None)
        with_others = models.cached(c, batches, tmp_path / "others", None, sharing=True)
        one, other = by_itself.model.state_dict(), with_others.model.state_dict()
        assert one.keys() == other.keys()
        assert all(torch.equal(one[k], other[k]) for k in one)
        for facts in ("losses", "at", "course", "calibration"):
            assert by_itself.facts[facts] == with_others.facts[facts]
        assert with_others.facts["training"]["DE"]["steps"] == 2
    steps = course.together.steps
    assert trained == [(steps, False), (0, False), (steps, True), (steps, False), (steps, True)], "the DE's part once for both"
    other = models.shared(replace(course, sizes=replace(course.sizes, de_width=2 * course.sizes.de_width)))
    assert other != models.shared(course) == models.shared(naive)


def test_a_de_sees_no_frame(tmp_path):
    """What it is shown and asked in the camera's own frame is what it is in the level one but for rounding: one part serves both."""
    course = replace(COURSE, alone=replace(COURSE.together, steps=2), frame="camera")
    batches = replace(Batches(world(), course.sizes), frame="camera")
    one, other = (replace(batches, frame=frame)(0, 8) for frame in ("camera", "ahead"))
    assert torch.equal(one.targets.mask, other.targets.mask)
    assert torch.equal(one.targets.index, other.targets.index)
    assert torch.allclose(one.agr.heatmaps, other.agr.heatmaps, atol=1e-3)
    assert torch.allclose(one.targets.depth, other.targets.depth, rtol=1e-5, equal_nan=True)
    assert torch.equal(one.targets.factor, other.targets.factor)
    assert models.shared(course) == models.shared(replace(course, frame="ahead"))
    level = replace(batches, sizes=models.shared(course).sizes, frame="ahead")
    models.cached(models.shared(course), level, tmp_path, None)
    models.cached(course, batches, tmp_path, None, sharing=True)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2, "the DE's part was there"
