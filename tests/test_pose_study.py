"""Measurements of notebook 10 against naive versions and hand-computed numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vp import metrics
from vp.lab import pose_study, study
from vp.lab.evaluate import POINTS, Calibration, measure
from vp.lab.models import Trained
from vp.lab.profiles import resolve
from vp.lab.second_stage import NOISE, world
from vp.nets.virtualpose import VirtualPose
from vp.skeleton import JOINTS_15
from vp.world.agr import synthesise


def naive_read(logits, grid, beta):
    """One peak, voxel by voxel."""
    x, y, z = (a.tolist() for a in grid.axes())
    best, place, total, mean = -math.inf, None, 0.0, np.zeros(3)
    top = float(logits.max())
    for i, a in enumerate(x):
        for j, b in enumerate(y):
            for k, c in enumerate(z):
                v = float(logits[i, j, k])
                if v > best:
                    best, place = v, (a, b, c)
                if beta:
                    w = math.exp(beta * (v - top))
                    total, mean = total + w, mean + w * np.array((a, b, c))
    return np.array(place) if not beta else mean / total


@pytest.mark.parametrize("beta", [None, 20.0])
def test_read_is_the_naive_one(beta):
    logits, _, grid = pose_study.peaks(3, 8, 5)
    found = pose_study.read(logits, grid, beta)
    for row, one in zip(found, logits):
        np.testing.assert_allclose(row, naive_read(one[0], grid, beta), atol=0.05)


def test_a_peak_is_where_it_is_said_to_be():
    logits, place, grid = pose_study.peaks(20, 40, 1)
    assert place.abs().max() <= 600.0
    distance = (grid.points() - place[:, None]).norm(dim=-1)
    torch.testing.assert_close(logits.flatten(1), torch.exp(-((distance / 100.0) ** 2) / 2), atol=1e-5, rtol=0)
    log = pose_study.peaks(20, 40, 1, logarithm=True)[0]
    torch.testing.assert_close(log.exp(), logits)


def test_half_a_voxel_is_the_mean_distance_in_a_unit_cube():
    x = np.random.default_rng(0).random((400_000, 3)) - 0.5
    assert np.linalg.norm(x, axis=1).mean() == pytest.approx(pose_study.HALF, abs=1e-3)


def test_quantisation_follows_the_theory():
    errors = pose_study.quantisation(96, 24, 3)
    spacing = pose_study.CUBE_MM / 23
    assert errors["arg-max"].shape == (96,)
    assert errors["arg-max"].mean() == pytest.approx(pose_study.HALF * spacing, rel=0.12)
    assert errors["arg-max"].max() < spacing * math.sqrt(3) / 2 + 0.1
    assert errors["logarithm"].max() < 0.1
    assert errors[5.0].mean() > 400.0  # empty voxels draw the answer to the middle
    assert errors[500.0].mean() == pytest.approx(errors["arg-max"].mean(), rel=0.1)
    assert errors[20.0].mean() < errors["arg-max"].mean()
    rows = pose_study.quantisation_rows(errors, 24, notebook="x", seed=0)
    assert {"arg-max", "soft-argmax, beta 100", "soft-argmax, logarithm"} <= {r["method"] for r in rows}
    assert all(len(r["per_scene"]) == 96 for r in rows)


def people(errors, aligned=None):
    """`metrics.People` of two people, one a view, with these joint errors (2, 15)."""
    n, zeros = len(errors), np.zeros((len(errors), 3))
    found = np.isfinite(errors).any(1)
    each = np.arange(n), np.zeros(n, int), found, np.ones(n), errors, errors / 2 if aligned is None else aligned, zeros, np.ones(n, bool)
    return metrics.People(*each, np.array([""] * n), found.astype(int), np.ones(n, int), np.zeros((0, 3)), slice(None))


def test_by_joint():
    errors = np.full((2, 15), 10.0)
    errors[0, JOINTS_15.index("left_wrist")], errors[1, JOINTS_15.index("right_wrist")] = 50.0, np.nan
    found = pose_study.by_joint(people(errors), np.array([True, True]))
    assert list(found) == list(pose_study.JOINT_NAMES)
    assert found["wrist"] == pytest.approx(((50 + 10 + 10) / 3, (25 + 5 + 5) / 3))
    assert found["elbow"] == (10.0, 5.0)
    assert pose_study.by_joint(people(errors), np.array([False, True]))["wrist"] == (10.0, 5.0)
    assert math.isnan(pose_study.by_joint(people(errors), np.array([False, False]))["hip"][0])


def test_what_a_missing_channel_costs():
    a, b = np.full((4, 15), 100.0), np.full((4, 15), 130.0)
    b[3] = np.inf  # missed there: left out on both sides
    plain, lack = people(a), people(b)
    lack.found[3] = False
    lost = pose_study.lost({"nothing": plain, "a leg": lack}, np.random.default_rng(0))
    assert lost["nothing"][1] == 100.0
    assert lost["a leg"][1] == 130.0
    assert lost["a leg"][3] == (30.0, (30.0, 30.0))
    assert lost["a leg"][4] == 0.75
    rows = pose_study.missing_rows({"nothing": plain, "a leg": lack}, None, notebook="x", seed=0)
    assert {(r["test"], r["metric"]): r["value"] for r in rows}["without a leg", "mpjpe"] == 130.0
    assert {len(r["per_scene"]) for r in rows if r["metric"] == "mpjpe"} == {3}


def test_everything_but_the_missing_channel_stays():
    scenes = world(split="test").scenes(4, 1)
    maps = {}
    for lack, change in pose_study.MISSING.items():
        g = torch.Generator().manual_seed(0)
        maps[lack] = synthesise(scenes, (56, 32), replace(NOISE, **change), g, 15, None, 16)[0].heatmaps
    for lack, gone in (("head top", {1}), ("head top, neck", {0, 1})):
        kept = [j for j in range(15) if j not in gone]
        assert torch.equal(maps[lack][:, kept], maps["nothing"][:, kept])
        assert not maps[lack][:, sorted(gone)].any()
    for lack, parts in (("an arm", 2), ("a leg", 2)):
        empty = ~maps[lack].flatten(2).any(-1) & maps["nothing"].flatten(2).any(-1)
        assert (empty.sum(1) <= parts).all()
        assert empty.any()
        assert torch.equal(maps[lack][~empty], maps["nothing"][~empty])


@pytest.fixture(scope="module")
def untrained():
    """A small network that says roots at random voxels of the volume."""
    sizes = resolve("smoke").course(0).sizes
    torch.manual_seed(0)
    model = VirtualPose(sizes, net=None, generator=torch.Generator().manual_seed(0))
    model.ren.net = torch.nn.Conv3d(15, 1, 1)
    torch.nn.init.constant_(model.ren.net.weight, 0.3)
    known = {"depth": 4000.0, "box": 1500.0, "stature": 1700.0}
    return Trained(model.eval(), {"calibration": known, "frame": "ahead", "training": {}}, None)


def test_sharpened_leaves_the_network_as_it_was(untrained):
    scenes = [world(split="test").scenes(4, 1)]
    beta = untrained.model.pen.beta
    found = pose_study.sharpened(untrained, scenes, (1.0, math.inf))
    assert untrained.model.pen.beta == beta
    known = Calibration(**untrained.facts["calibration"])
    plain = measure(untrained.model, scenes, known, NOISE, 0, windows=1, published=False)[0]["REN+PEN"]
    np.testing.assert_array_equal(found[1.0].errors, plain.errors)
    assert plain.found.any()
    assert not np.array_equal(found[math.inf].errors, plain.errors)
    assert [r["method"] for r in pose_study.sharpened_rows(found, None)][::2] == ["soft-argmax", "arg-max"]


def test_what_pen_learns_from(untrained, monkeypatch):
    """The other arm is the variant "candidates" on the same scenes; both are scored on the people whom all methods of both found."""
    scenes, asked = [world(split="test").scenes(8, 1)], []
    other = Trained(VirtualPose(untrained.model.sizes, None, torch.Generator().manual_seed(1)).eval(), untrained.facts, None)
    other.model.ren.net = untrained.model.ren.net
    monkeypatch.setattr(study, "second_stage", lambda *what: asked.append(what) or other)
    mine = study.errors(untrained, scenes)
    assert list(pose_study.taught(untrained, mine, scenes, "paper", 4)) == ["candidates"], "trained the published way to begin with"
    assert asked == []
    arms = pose_study.taught(untrained, mine, scenes, "smoke", 4)
    assert asked == [("smoke", 4, "candidates")]
    assert {way: net for way, (net, _) in arms.items()} == {"both": untrained, "candidates": other}
    theirs = arms["candidates"][1]
    lost = study.common(mine, theirs).argmax()
    theirs["REN"].found[lost] = False  # by one method of one arm
    among = study.common(mine, theirs)
    assert not among[lost]
    assert study.common(mine)[lost]
    rows = {(r["train"], r["method"], r["metric"]): r for r in pose_study.taught_rows(arms, seed=0)}
    assert 0 < rows["both", "REN+PEN", "mpjpe"]["n"] == among.sum()
    for way, (_, people) in arms.items():
        assert rows[way, "REN+PEN", "mpjpe"]["value"] == pytest.approx(people["REN+PEN"].mpjpe()[among].mean())
        assert len(rows[way, "REN", "mrpe_z"]["per_scene"]) == among.sum()
    assert rows["both", "REN+PEN", "mpjpe"]["value"] != rows["candidates", "REN+PEN", "mpjpe"]["value"]


def test_one_scene_is_in_the_frame_ahead(untrained):
    blocks = [world(split="test").scenes(4, 1), world(split="test").scenes(4, 1, start=4)]
    measured = study.errors(untrained, blocks)
    block, i = pose_study.fullest(blocks, measured["DE"])
    counts = np.bincount(measured["DE"].view)
    truth, answers, camera, heat = pose_study.one_scene(untrained, block, i)
    assert len(truth) == counts.max()
    uv, _, ok = camera.project(truth)
    before = block.camera[i : i + 1].project(block.joints[i : i + 1, :, :15].flatten(1, 2))[0].view(-1, 15, 2)
    for person in uv[ok.all(-1)]:
        assert (before - person).abs().amax((1, 2)).nan_to_num(1e9).min() < 0.1  # the same pixels as in the world
    assert abs(float(camera.centre[:2].norm())) < 1.0
    assert answers.shape[1:] == (15, 3)
    assert heat.shape == (32, 56)


def test_table_stands_beside_the_paper(untrained):
    found = study.errors(untrained, [world(split="test").scenes(8, 1)])
    text = pose_study.text({k: found[k] for k in POINTS})
    assert "104.1, 245.4" in text
    assert "86.0, 159.8" in text
    assert text.splitlines()[3].startswith("REN ")  # sub-voxel: not in the paper
    assert text.splitlines()[3].split()[-1] == f"{found['REN'].found.mean():.3f}"


def test_recorded_motion_before_real_cameras(shared):
    blocks = pose_study.moving(shared / "data" / "bvh", 4)
    assert blocks[0].sources["poses"] == "bvh"
    assert blocks[0].sources["cameras"] == "mupots"
    assert blocks[0].camera.centre[:, 2].max() < 3000


def test_recorded_frames(shared, untrained):
    blocks, sources = pose_study.recorded(shared / "data" / "panoptic", 3)
    assert sources["poses"] == "panoptic"
    found = study.errors(untrained, blocks, noise=None)
    truth, _, _, _ = pose_study.one_scene(untrained, *pose_study.fullest(blocks, found["DE"]), noise=None)
    assert len(truth) >= 1
    assert truth[:, :, 2].nan_to_num().max() < 2500  # above the floor, standing on Z = 0
