"""How the methods of the study (§3) are trained, kept and scored; and a user's own method in it."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_pictures import made_up
from torch import nn

from vp.errors import InputError
from vp.lab import baselines
from vp.lab.baselines import METHODS, Calibration, People, answers, learn
from vp.lab.pictures import Heatmaps, Samples
from vp.lab.profiles import PROFILES, Study
from vp.lab.second_stage import Batches, world
from vp.lab.train import Stopped
from vp.nets.method import ROOT
from vp.nets.tbs import box_depth, square
from vp.nets.virtualpose import Sizes

SMOKE = PROFILES["smoke"].study
TINY = replace(SMOKE, crop=32, width=8, deconv=8, bins=8, seen=1.0, plan=replace(SMOKE.plan, steps=3, batch=4))
SIZE = (64, 32)

# ---- a user's own method, all of it ----------------------------------------------------------------------------------------------------


class Feet(nn.Module):
    """Depth from how low in the picture the box ends: a line in its lower edge, over the focal length.  20 lines with its maker."""

    def __init__(self, height):
        super().__init__()
        self.height = height
        self.line = nn.Linear(1, 1)

    def depths(self, views):
        """(B, P) mm of `vp.nets.method.Views`."""
        low = views.boxes[..., 3:] / self.height
        return 1000 * self.line(low)[..., 0].exp() * views.width_mm[:, None]


def feet(study, size, generator):
    return Feet(size[1])


# ---- learning --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def trainings(monkeypatch):
    """A list that grows by the steps of each training that is really done."""
    done, real = [], baselines.train

    def train(objective, stream, *args, **kwargs):
        asked = []

        def counted(start, n):
            asked.append(start)
            return stream(start, n)

        done.append(asked)
        return real(objective, counted, *args, **kwargs)

    monkeypatch.setattr(baselines, "train", train)
    return done


def learnt(make, folder, study=TINY, about="made up", pictures=None):
    return learn(make, Samples((pictures or made_up(8),)), study, SIZE, about, folder=folder)


def same_weights(a, b):
    one, two = a.method.state_dict(), b.method.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("make", ["TBS", "TIF", "TIF, regression", "BDR", feet])
def test_what_was_learned_is_kept(make, tmp_path, trainings):
    torch.manual_seed(2)
    first = learnt(make, tmp_path)
    assert trainings == [[0, 4, 8]]
    torch.manual_seed(1)
    again = learnt(make, tmp_path)
    assert len(trainings) == 1  # from the cache
    assert same_weights(first, again)
    assert again.facts == first.facts
    assert first.facts["steps"] == 3
    assert first.facts["samples_seen"] == 12
    assert not again.method.training
    assert same_weights(learnt(make, tmp_path / "elsewhere"), first)  # to the last bit, whatever torch's own seed


def test_whatever_decides_makes_another(tmp_path, trainings, monkeypatch):
    base = learnt("TBS", tmp_path)
    for change in (
        {"make": "TIF"}, {"study": TINY.seed(1)}, {"study": replace(TINY, width=16)}, {"about": "another world"},
        {"study": replace(TINY, plan=replace(TINY.plan, lr=1e-3))},
    ):  # fmt: skip
        n = len(trainings)
        other = learnt(**{"make": "TBS", "folder": tmp_path} | change)
        assert len(trainings) == n + 1, change
        assert same_weights(other, base) == ("about" in change)  # what is learned from is the same here
        assert other.facts["config"] != base.facts["config"]
    monkeypatch.setattr(baselines.models, "code_hash", lambda parts: "other code")
    learnt("TBS", tmp_path)
    assert len(trainings) == n + 2


def test_the_source_of_a_users_method_decides(tmp_path, trainings):
    def maker(power):
        class Other(Feet):
            def depths(self, views):
                return super().depths(views) ** power

        return lambda study, size, generator: Other(size[1])

    for n, make in enumerate((feet, maker(1.0), maker(1.1)), 1):
        for _ in range(2):
            learnt(make, tmp_path)
        assert len(trainings) == n


def test_a_method_without_source_is_refused(tmp_path):
    names = {}
    exec("def make(study, size, generator):\n    return Feet(size[1])", {"Feet": Feet}, names)
    with pytest.raises(InputError, match="cell of a notebook"):
        learnt(names["make"], tmp_path)
    with pytest.raises(InputError, match="no method 'XYZ'"):
        learnt("XYZ", tmp_path)


def test_an_interrupted_training_goes_on(tmp_path, trainings):
    whole = learnt("TBS", tmp_path / "whole")
    samples = Samples((made_up(8),), seed=baselines.lot(0, "study"))

    def interrupted(start, n):
        if start == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return samples(start, n)

    with pytest.raises(Stopped):
        learn("TBS", interrupted, TINY, SIZE, "made up", folder=tmp_path)
    assert [f.suffix for f in tmp_path.iterdir() if f.is_file() and f.suffix != ".lock"] == [".state"]
    resumed = learnt("TBS", tmp_path)
    assert trainings == [[0, 4, 8], [0, 4], [8]]
    assert same_weights(resumed, whole)
    assert resumed.facts["steps"] == 3
    assert not list(tmp_path.glob("*.state"))


def test_a_damaged_file_is_made_anew(tmp_path, trainings):
    first = learnt("TBS", tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    for damage in (b"", path.read_bytes()[:-100], b"x" * 1000):
        path.write_bytes(damage)
        assert same_weights(learnt("TBS", tmp_path), first)
    assert len(trainings) == 4


def test_equal_budgets(tmp_path):
    facts = [learnt(make, tmp_path).facts for make in ("TBS", "TIF", "BDR")]
    facts.append(learn("TBS", Samples((made_up(8), made_up(20, seed=1))), TINY, SIZE, "two", folder=tmp_path).facts)
    assert {(f["steps"], f["samples_seen"]) for f in facts} == {(3, 12)}


def test_heatmaps_alone_are_learned_from(tmp_path):
    study = replace(TINY, heat_plan=replace(TINY.plan, steps=2, batch=2), map=(56, 32))
    stream = Heatmaps(Batches(world(), Sizes(map=study.map), None, seed=4))
    found = learn("BDR, heatmaps", stream, study, study.map, "x", folder=tmp_path)
    assert found.facts["samples_seen"] == 4  # of its own plan
    assert set(found.facts["losses"]) == {"depth", "joints"}
    assert (found.method.depths(stream(0, 2)) > 0).any()


def test_methods_have_the_sizes_of_the_study():
    g = torch.Generator()
    paper = Study(layers=18, width=8, deconv=8)
    assert METHODS["TBS"](paper, (960, 512), g).crop == 256
    tif = METHODS["TIF"](replace(paper, seen=0.5), (240, 128), g)
    assert tif.seen == (128, 64)
    assert len(tif.bins) == 64
    assert len(METHODS["TIF, regression"](paper, SIZE, g).bins) == 0
    assert METHODS["BDR, heatmaps"](paper, (56, 32), g).inputs == "heatmaps"
    assert Study().layers == 50  # §3.1


def test_a_users_own_method_learns(tmp_path):
    """People further away stand higher in the picture: a line learns it."""
    pictures = made_up(40)
    pictures.depth = pictures.known * (3000 + 8000 * (1 - pictures.boxes[:, :, 3:] / 32))
    pictures.image[:] = 0
    study = replace(TINY, plan=replace(TINY.plan, steps=200, batch=16, lr=0.05))
    found = learn(feet, Samples((pictures,)), study, SIZE, "line", folder=tmp_path)
    said, people = answers(found.method, pictures), People.of(pictures)
    blank = np.abs(people.depth - people.depth.mean()).mean()
    assert np.abs(said - people.depth).mean() < 0.3 * blank


# ---- answers and levels ----------------------------------------------------------------------------------------------------------------


class Column(nn.Module):
    """Says the column of the root, and remembers what it saw."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))
        self.shown = []

    def depths(self, views):
        self.shown.append(views)
        return views.joints[:, :, ROOT, 0] * self.one + 1000


def test_answers_come_in_the_order_of_people():
    pictures = made_up(7)
    people, method = People.of(pictures), Column()
    said = answers(method, pictures, block=3)
    assert len(said) == len(people.depth) == int(pictures.mask.sum())
    k = 0
    for i in range(7):
        for p in range(3):
            if pictures.mask[i, p]:
                assert (people.scene[k], people.person[k]) == (i, p)
                assert people.depth[k] == pictures.depth[i, p, ROOT]
                assert said[k] == pytest.approx(1000 + float(pictures.joints[i, p, ROOT, 0]), rel=1e-6)
                k += 1
    assert all(v.depth.isnan().all() for v in method.shown)  # never the truth
    assert [len(v.image) for v in method.shown] == [3, 3, 1]


def test_the_same_people_in_another_test():
    one, two = made_up(7), made_up(7)
    two.mask[2, 0] = two.mask[5] = False
    a, b = People.of(one), People.of(two)
    missing = {(i, p) for i, p in zip(a.scene, a.person) if not two.mask[i, p]}
    assert len(missing) > 1
    assert {(i, p) for i, p, ok in zip(a.scene, a.person, a.also_in(b)) if not ok} == missing
    assert b.also_in(a).all()


def test_levels_by_hand():
    train, test = made_up(6), made_up(4, seed=1)
    calibration = Calibration.of(train, made_up(3, seed=2))
    depth, ratio, stature = [], [], []
    for p in (train, made_up(3, seed=2)):
        k = box_depth(square(p.boxes), p.camera)
        for i, j in p.people().tolist():
            depth.append(float(p.depth[i, j, ROOT]))
            ratio.append(depth[-1] / float(k[i, j]))
            stature.append(float(p.stature[i, j]))
    assert calibration.depth == pytest.approx(np.mean(depth), rel=1e-5)
    assert calibration.box == pytest.approx(sorted(ratio)[(len(ratio) - 1) // 2], rel=1e-5)
    assert calibration.stature == pytest.approx(np.mean(stature), rel=1e-5)
    levels = calibration.levels(test)
    assert tuple(levels) == baselines.LEVELS
    k = box_depth(square(test.boxes), test.camera)
    for n, (i, j) in enumerate(test.people().tolist()):
        assert levels["mean depth"][n] == pytest.approx(np.mean(depth), rel=1e-5)
        assert levels["box size"][n] == pytest.approx(calibration.box * float(k[i, j]), rel=1e-5)
        true = float(test.depth[i, j, ROOT])
        assert levels["stature floor"][n] == pytest.approx(true * np.mean(stature) / float(test.stature[i, j]), rel=1e-4)
    test.stature[:] = torch.nan  # of recorded people
    assert tuple(calibration.levels(test)) == ("mean depth", "box size")
    assert tuple(Calibration(1.0, 1.0, float("nan")).levels(train)) == ("mean depth", "box size")
