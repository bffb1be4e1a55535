"""Evaluation: scores and reference levels against hand-made answers, files of models, `vp evaluate` end to end."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_second_stage import COURSE, TINY

from vp.__main__ import main
from vp.camera import Camera
from vp.errors import InputError
from vp.lab import models
from vp.lab.evaluate import Answers, Calibration, at_root, joined, levels, measure, same_people, score, stack, table
from vp.lab.evaluation import evaluate, source
from vp.lab.second_stage import Batches, misjudged, world
from vp.nets.ren import ROOT
from vp.nets.virtualpose import Sizes, VirtualPose
from vp.space import Frame
from vp.world.agr import Noise, synthesise


@pytest.fixture(scope="module")
def data():
    return world(split="test")


@pytest.fixture(scope="module")
def scenes(data):
    return data.scenes(8, 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "tiny.safetensors"
    return models.make(COURSE, Batches(world(), TINY), path, label=None)


def truth(scenes):
    """The answers of an oracle, in an order of its own."""
    J = 15
    joints = scenes.camera.to_camera(scenes.joints[:, :, :J].flatten(1, 2)).unflatten(1, (-1, J)).flip(1)
    return Answers(joints, torch.rand(joints.shape[:2]), scenes.mask.flip(1))


def targets(scenes):
    return synthesise(scenes, TINY.map, None, None, 15, None, TINY.stride)


# ---- scores ----------------------------------------------------------------------------------------------------------------------------


def test_an_oracle_is_perfect(scenes):
    counts = targets(scenes)[1].mask
    row = table({"x": score(truth(scenes), scenes, counts)})["x"]
    assert row["recall"] == 1
    assert row["n"] == int(counts.sum())
    assert max(row["mrpe_z"], row["mrpe"], row["mpjpe"]) < 0.1


def test_known_errors_are_measured(scenes):
    """Everybody 100 mm too far along the ray, and a quarter of a metre at the wrong depth changes no pairing."""
    counts = targets(scenes)[1].mask
    for factor in (1.02, 2.0):
        a = truth(scenes)
        root = a.joints[:, :, ROOT]
        expected = (root[..., 2] * (factor - 1)).flip(1)[counts].abs().mean()
        moved = Answers(a.joints + (root * (factor - 1))[:, :, None], a.scores, a.valid)
        row = table({"x": score(moved, scenes, counts)})["x"]
        assert row["recall"] == 1
        assert row["mrpe_z"] == pytest.approx(float(expected), rel=1e-4)
        assert row["mrpe"] >= row["mrpe_z"]


def test_same_people_and_recall(scenes):
    """A method that misses the first person of each scene: its recall falls, and both are scored on the others."""
    counts = targets(scenes)[1].mask
    full, part = truth(scenes), truth(scenes)
    part.valid = part.valid.clone()
    part.valid[:, -1] = False  # the first person, as the order is reversed
    people = {"full": score(full, scenes, counts), "part": score(part, scenes, counts)}
    missed = int(counts[:, 0].sum())
    assert same_people(people).sum() == counts.sum() - missed
    rows = table(people)
    assert rows["full"]["recall"] == 1
    assert rows["part"]["recall"] == pytest.approx(1 - missed / int(counts.sum()))
    assert rows["full"]["n"] == rows["part"]["n"] == int(counts.sum()) - missed


def test_a_second_answer_far_in_the_picture_is_not_paired(scenes):
    counts = targets(scenes)[1].mask
    a = truth(scenes)
    aside = Answers(a.joints + torch.tensor([1000.0, 0.0, 0.0]), a.scores, a.valid)
    assert table({"x": score(aside, scenes, counts)})["x"]["recall"] < 0.5


def test_joined_is_everything_at_once(scenes):
    counts = targets(scenes)[1].mask
    whole = score(truth(scenes), scenes, counts)
    halves = joined([score(truth(scenes[part]), scenes[part], counts[part]) for part in (slice(0, 3), slice(3, 8))])
    assert np.array_equal(whole.view, halves.view)
    assert np.array_equal(whole.person, halves.person)
    assert np.allclose(whole.errors, halves.errors, equal_nan=True)
    assert len(halves.sequence) == 8
    assert set(halves.candidates[:, 0]) <= set(range(8))


# ---- reference levels --------------------------------------------------------------------------------------------------------------------


def test_levels_by_hand(scenes):
    agr, t = targets(scenes)
    known = Calibration(depth=5000.0, box=1500.0, stature=1700.0)
    found = levels(scenes, agr, t, TINY, known)
    rows = {name: score(a, scenes, t.mask) for name, a in found.items()}
    b, p = t.mask.nonzero()[0].tolist()
    z, s = float(t.depth[b, p]), float(scenes.stature[b, p])
    box = agr.boxes[b, p]
    side = max(float(box[2] - box[0]), float(box[3] - box[1]))
    f = float(scenes.camera[b].fit(32 * 30, 16 * 30).depth_norm) / 30
    expected = {"mean depth": 5000 - z, "box size": 1500 * f / side - z, "stature floor": z * 1700 / s - z}
    for name, error in expected.items():
        assert rows[name].root[0, 2] == pytest.approx(error, abs=2.0), name
        assert rows[name].found.all()
    frame, grid = Frame.ahead(scenes.camera), TINY.grid
    point = frame.from_world(scenes.joints[:, :, ROOT].double())[b, p]
    voxel = min(grid.points().double(), key=lambda g: float((g - point).norm())) if grid.holds(point) else None
    if voxel is not None:
        assert float(np.linalg.norm(rows["voxel floor"].root[0])) == pytest.approx(float((voxel - point).norm()), abs=1.0)


def test_calibration_is_that_of_the_scenes(data):
    many = data.scenes(64, 5)
    known, (_, t) = Calibration.of(many, TINY), targets(many)
    assert known.depth == pytest.approx(float(t.depth[t.mask].mean()))
    assert known.stature == pytest.approx(float(many.stature[t.mask].mean()))
    agr, t = targets(many)
    row = score(levels(many, agr, t, TINY, known)["box size"], many, t.mask)
    assert abs(float(np.median(row.root[:, 2]))) < 100, "half are too near, half too far"


# ---- what reaches the networks ---------------------------------------------------------------------------------------------------------


class Spy(VirtualPose):
    """Keeps what it is shown."""

    def __init__(self, sizes):
        super().__init__(sizes)
        self.seen = []

    def forward(self, heatmaps, box_map, camera, *args, **kwargs):
        self.seen.append((heatmaps, camera))
        return super().forward(heatmaps, box_map, camera, *args, **kwargs)


def test_measure_hands_on_what_it_is_told(data):
    """Noise, stated cameras and frame reach the networks; the published space stands about the true roots."""
    scenes, known = data.scenes(4, 9), Calibration(5000.0, 1500.0, 1700.0)
    pitched = lambda scenes, g: misjudged(scenes.camera, torch.full((4,), 0.05, dtype=torch.float64), torch.zeros(4, dtype=torch.float64))  # noqa: E731
    shown = {}
    for name, options in {"plain": {}, "noise": {"noise": Noise()}, "stated": {"stated": pitched}, "camera": {"frame": "camera"}}.items():
        spy = Spy(TINY)
        measure(spy, [scenes], known, windows=1, **options)
        shown[name] = spy.seen
        assert len(spy.seen) == 2, "the honest and the published way"
    assert not torch.equal(shown["plain"][0][0], shown["noise"][0][0])
    assert torch.equal(shown["plain"][0][0], shown["stated"][0][0])
    assert torch.allclose(shown["stated"][0][1].pitch - shown["plain"][0][1].pitch, torch.tensor(0.05), atol=2e-3)
    assert torch.allclose(shown["camera"][0][1].R, torch.eye(3).expand(4, 3, 3), atol=1e-5)
    mask = targets(scenes)[1].mask
    roots = scenes.camera.to_camera(scenes.joints[:, :, ROOT])
    inside = shown["plain"][1][1].to_world(roots)  # in the frame of the published way
    for i in range(4):
        if mask[i].any():
            assert torch.allclose(inside[i][mask[i]].mean(0)[:2], torch.tensor(TINY.space_centre[:2]), atol=1.0)


def test_evaluation_uses_the_named_noise_and_warns(trained, data, monkeypatch):
    from vp.lab import evaluation

    used = []
    monkeypatch.setattr(evaluation, "measure", lambda *a, **k: used.append(a[3]) or measure(*a, **k))
    far = replace(data.scenes(4, 1), camera=misjudged(data.scenes(4, 1).camera, torch.full((4,), 1.3, dtype=torch.float64),
                                                      torch.full((4,), 9000.0, dtype=torch.float64)))  # fmt: skip
    report = evaluate(trained, [far], "detector")
    assert used == [evaluation.NOISES["detector"]]
    assert any(w.startswith("pitch") for w in report["warnings"])
    assert any(w.startswith("camera height") for w in report["warnings"])


def test_weights_without_calibration_and_with_nonsense(trained, data):
    facts = {k: v for k, v in trained.facts.items() if k != "calibration"}
    report = evaluate(replace(trained, facts=facts), [data.scenes(4, 1)])
    assert [k for k in report["methods"] if k not in ("DE", "REN (voxels)", "REN", "REN+PEN")] == ["voxel floor"]
    assert any("without calibration" in w for w in report["warnings"])
    for nonsense in (None, {"depth": "x", "box": 1, "stature": 1}, [1]):
        with pytest.raises(InputError, match="calibration"):
            evaluate(replace(trained, facts={**facts, "calibration": nonsense}), [data.scenes(4, 1)])
    for wrong in ({"map": (0, 0)}, {"space_bins": (-4, 8, 8)}, {"stride": 0}, {"people": 0}):
        with pytest.raises(InputError, match="positive"):
            Sizes.from_dict({**TINY.to_dict(), **wrong})


# ---- models ------------------------------------------------------------------------------------------------------------------------------


def test_a_saved_model_is_the_same(trained, data):
    again = models.load(trained.path)
    batch = Batches(data, TINY)(0, 4)
    a, b = (m.model(batch.agr.heatmaps, batch.agr.box_map, batch.camera) for m in (trained, again))
    assert torch.equal(a.volume, b.volume)
    assert again.facts["training"]["all"]["steps"] == 6
    assert again.facts["poses"] == "procedural"
    assert set(again.facts["range"]) == {"pitch_deg", "height_mm", "focal", "depth_mm"}
    assert trained.path.stat().st_size < 1e6
    assert [p.name for p in trained.path.parent.iterdir()] == ["tiny.safetensors"], "no state is left"


def test_files_that_are_no_model(tmp_path, trained):
    bad = tmp_path / "x.safetensors"
    bad.write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        models.load(bad)
    with pytest.raises(InputError, match="no such file"):
        models.load(tmp_path / "absent")
    other = VirtualPose(replace(TINY, pen_bins=16, de_width=16))
    models.checkpoints.save(bad, other, {"sizes": TINY.to_dict()})
    with pytest.raises(InputError, match="belongs to a network of other size"):
        models.load(bad)


def test_cached_trains_once(tmp_path, monkeypatch):
    batches, made = Batches(world(), TINY), []
    make = models.make
    monkeypatch.setattr(models, "make", lambda *a, **k: made.append(1) or make(*a, **k))
    a, b = (models.cached(COURSE, batches, tmp_path, label=None) for _ in range(2))
    assert len(made) == 1
    assert all(torch.equal(x, y) for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True))
    models.cached(replace(COURSE, jitter=10.0), batches, tmp_path, label=None)
    assert len(made) == 2, "another course is another network"
    a.path.write_bytes(b"damaged")
    models.cached(COURSE, batches, tmp_path, label=None)
    assert len(made) == 3


def test_warnings_outside_the_trained_range(trained):
    steep = Camera.from_angles([math.radians(80)], [0.0], centre=[(0.0, 0.0, 9000.0)], focal=5000.0)
    said = models.outside_range(trained.facts, steep, torch.tensor([30_000.0]))
    assert [w.split(",")[0] for w in said] == ["pitch", "camera height", "focal length", "depth"]
    usual = Camera.from_angles([math.radians(15)], [0.0], centre=[(0.0, 0.0, 1600.0)], focal=1400.0)
    assert models.outside_range(trained.facts, usual, torch.tensor([5000.0])) == []


# ---- the whole way -----------------------------------------------------------------------------------------------------------------------


def test_measure_is_deterministic_and_paired(trained, data):
    known = Calibration(**trained.facts["calibration"])
    runs = [measure(trained.model, (data.scenes(4, 9, start=4 * i) for i in range(2)), known, Noise()) for _ in range(2)]
    for name, a in runs[0][0].items():
        assert np.array_equal(a.root, runs[1][0][name].root, equal_nan=True), name
        assert np.array_equal(a.view, runs[0][0]["DE"].view)
    assert set(runs[0][0]) == {"DE", "REN (voxels)", "REN", "REN+PEN", "mean depth", "box size", "stature floor", "voxel floor"}
    assert runs[0][1]["recall"] >= 0


def test_stack_pads_and_masks(scenes):
    samples = [scenes.sample(i) for i in range(4)]
    seen = stack(samples)
    for i, s in enumerate(samples):
        n = len(s)
        assert seen.mask[i].tolist() == [True] * n + [False] * (seen.mask.shape[1] - n)
        assert torch.allclose(seen.joints[i, :n][s.valid[:, :15]], s.joints[:, :15][s.valid[:, :15]].float())
    row = table({"x": score(truth(seen), seen, targets(seen)[1].mask)})["x"]
    assert row["mrpe_z"] < 0.1


def test_command_line(tmp_path, trained, capsys):
    out = tmp_path / "e.json"
    options = ["--camera", "14", "30", "--weights", str(trained.path), "--scenes", "6", "--out", str(out)]
    assert main(["evaluate", "--dataset", "panoptic", *options]) == 0
    report = json.loads(out.read_text())
    assert {"mrpe_z", "mrpe", "mpjpe", "recall", "n"} <= set(report)
    assert report["sources"]["cameras"] == "twin"
    assert report["methods"]["mean depth"]["recall"] == 1
    text = capsys.readouterr().out
    assert "REN+PEN" in text
    assert "published protocol" in text
    unlike = ["--agr", "image", "--weights", str(trained.path)]  # the shipped 2D network has other maps
    for wrong in (["--dataset", "nothing"], ["--dataset", "virtual", *unlike], ["--dataset", "virtual", "--scenes", "0"],
                  ["--dataset", "virtual", "--weights", str(tmp_path / "no")],
                  ["--dataset", "muco", "--camera", "muco", "universal"]):  # fmt: skip
        assert main(["evaluate", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_train_command_line(tmp_path, capsys):
    out = tmp_path / "new" / "net.safetensors"
    assert main(["train", "--profile", "smoke", "--cameras", "panoptic:16", "--out", str(out)]) == 0
    assert "trained in" in capsys.readouterr().out
    facts = models.load(out).facts
    assert facts["cameras"] == "panoptic"
    assert facts["profile"] == "smoke"
    assert main(["train", "--profile", "smoke", "--poses", "none:x", "--out", str(out)]) == 2


def test_two_processes_train_one_file(tmp_path):
    """`torchrun -m vp train` (gloo): one line of progress per part, one file, no state left."""
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")} | {"OMP_NUM_THREADS": "1"}
    out = tmp_path / "two.safetensors"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "vp"]
    command = [*launcher, "train", "--profile", "smoke", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("step 4/4") == 2
    assert done.stdout.count("trained in") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["two.safetensors"]
    assert models.load(out).facts["training"]["all"]["steps"] == 4


def test_recorded_people_and_cameras(trained, shared):
    root = shared / "data" / "panoptic"
    blocks, sources, notes = source("panoptic", root, ["14", "16"], 4)
    assert sources["poses"] == sources["cameras"] == "panoptic"
    assert "the source has no head top: its heatmap is empty" in notes
    assert "the folder has no split: these people may have been trained on" in notes
    report = evaluate(trained, blocks, "detector", sources=sources)
    assert "stature floor" not in report["methods"]
    assert report["n"] >= 0
    json.dumps(report, allow_nan=False)


def test_at_root_knows_nothing_else():
    a = at_root(torch.zeros(1, 2, 3), torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), 15)
    assert torch.isfinite(a.joints[:, :, ROOT]).all()
    assert torch.isnan(a.joints[:, :, :ROOT]).all()
