"""People grouped from maps, their 2D errors, and the second stage on AGR from images."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from conftest import close
from test_backbone import THIN, net
from test_backbone_pictures import drawn, labelled

from vp.__main__ import main
from vp.errors import InputError
from vp.lab import backbone as lab
from vp.lab import evaluate, models, two_d
from vp.lab.datasets import load
from vp.lab.evaluation import source
from vp.lab.labelled import of_scenes
from vp.lab.profiles import COMPACT_2D, SMALL
from vp.nets.backbone import Backbone, Shape
from vp.nets.virtualpose import VirtualPose
from vp.sample import Sample
from vp.skeleton import JOINTS_15
from vp.world.agr import synthesise

J, SIZE, MAP = 15, (224, 128), (56, 32)
QUICK = Shape(15, SIZE, 18, 4, 8, skips=True, init_std=None)


class Perfect(Backbone):
    """A network that says of some pictures what is true of them; a picture knows its number by its first pixel."""

    def __init__(self, pictures, shape=QUICK, shift=(0, 0)):
        super().__init__(replace(shape, picture=pictures.size))
        agr, _ = drawn(pictures, self.shape.map)
        self.truth = [x.roll(shift, (-1, -2)) for x in (agr.heatmaps, agr.box_map)]
        self.first = pictures.images(torch.arange(len(pictures)))[:, :, 0, 0]

    def agr(self, images, flip=False):
        which = (images[:, None, :, 0, 0] - self.first).abs().sum(-1).argmin(1)
        return tuple(x[which] for x in self.truth)


def numbered(pictures):
    """The same with the number of each in its first pixel."""
    pictures.image = pictures.image.clone()
    pictures.image[:, :, 0, 0] = torch.arange(len(pictures), dtype=torch.uint8)[:, None]
    return pictures


def people(*where, half=20.0, size=SIZE, seed=0):
    """Several standing stick people, their roots at `where`, px."""
    g = torch.Generator().manual_seed(seed)
    places = {"neck": (0, -1), "head_top": (0, -1.6), "mid_hip": (0, 0), "shoulder": (0.4, -1), "elbow": (0.5, -0.5), "wrist": (0.5, 0.0),
              "hip": (0.25, 0), "knee": (0.25, 0.8), "ankle": (0.25, 1.6)}  # fmt: skip
    body = [(1 if j.startswith("left") else -1, places[j.removeprefix("left_").removeprefix("right_")]) for j in JOINTS_15.joints]
    stick = half * torch.tensor([[side * x, y] for side, (x, y) in body])
    return torch.stack([torch.tensor(w) + stick + torch.rand(J, 2, generator=g) for w in where])[None]


# ---- grouping ------------------------------------------------------------------------------------------------------------------------


def test_people_apart_are_found_joint_by_joint():
    p = labelled(people((60.0, 60.0), (150.0, 62.0)), SIZE)
    agr, _ = drawn(p, MAP)
    found = two_d.grouped(agr.heatmaps, agr.box_map)
    assert found.valid[0].tolist() == [True, True] + [False] * 18
    order = found.roots[0, :2, 0].argsort()
    close(found.joints[0, :2][order], p.uv[0] / 4 - 0.375, 0.1)
    close(found.boxes[0, :2][order], agr.boxes[0], 0.1)
    assert (found.scores[0, :2] > 0.8).all()
    assert found.joints[0, 2:].isnan().all()
    assert (found.scores[0, 2:] == 0).all()


def test_a_joint_goes_to_one_person_and_to_the_likelier():
    """Boxes overlap: each keeps his own joints; one that is not there is not taken from the neighbour."""
    uv = people((100.0, 60.0), (122.0, 60.0))
    p = labelled(uv, SIZE)
    lost = JOINTS_15.index("head_top")
    p.present[0, 0, lost] = False
    agr, _ = drawn(p, MAP)
    found = two_d.grouped(agr.heatmaps, agr.box_map)
    order = found.roots[0, :2, 0].argsort()
    joints = found.joints[0, :2][order]
    for person in range(2):
        for j in range(J):
            if (person, j) == (0, lost):
                continue
            assert (joints[person, j] - (uv[0, person, j] / 4 - 0.375)).norm() < 1.5, (person, JOINTS_15.joints[j])
    assert joints[0, lost].isnan().all()


def test_maps_of_noise_or_nothing():
    empty = two_d.grouped(torch.zeros(2, J, 32, 56), torch.zeros(2, 4, 32, 56))
    assert not empty.valid.any()
    noisy = two_d.grouped(torch.rand(2, J, 32, 56), 10 * torch.rand(2, 4, 32, 56))
    assert noisy.valid.all()
    assert noisy.joints[..., 2, :].isfinite().all()
    taken = noisy.joints[0, :, 0]
    taken = taken[taken.isfinite().all(-1)]
    assert len(taken.unique(dim=0)) == len(taken)  # no peak twice


# ---- 2D errors -----------------------------------------------------------------------------------------------------------------------


def test_perfect_maps_score_one():
    p = numbered(labelled(torch.cat([people((60.0, 60.0), (150.0, 62.0)), people((80.0, 66.0), (180.0, 60.0), seed=1)]), SIZE))
    r = two_d.report(Perfect(p), p, block=1)
    assert r["pckh"] == dict.fromkeys((*two_d.GROUPS, "all"), 1.0)
    assert (r["root_recall"], r["root_ap"], r["people"], r["joints"]) == (1.0, 1.0, 4, 56)
    assert r["peak_error"] < 0.1
    assert r == two_d.ceiling(p, MAP)
    assert "1.000" in two_d.text({"perfect": r})


def test_errors_that_are_put_in_are_found():
    p = numbered(labelled(people((60.0, 60.0), (150.0, 62.0), half=24.0), SIZE))  # heads of 3.6 px of the map
    one = two_d.report(Perfect(p, shift=(1, 0)), p)
    assert one["pckh"]["all"] == 1.0
    assert one["peak_error"] == pytest.approx(1.0, abs=0.1)
    assert two_d.report(Perfect(p), p)["oks_ap"] == 1.0
    assert 0 < one["oks_ap"] < 1
    far = two_d.report(Perfect(p, shift=(3, 0)), p)
    assert far["root_recall"] == far["root_ap"] == far["pckh"]["all"] == 0
    eyes = Perfect(p)
    wrist = JOINTS_15.index("left_wrist")
    eyes.truth[0][:, wrist] = eyes.truth[0][:, wrist].roll(-4, -2)  # up; nothing else is wrong
    r = two_d.report(eyes, p)
    assert r["pckh"]["wrists"] == 0.5
    assert r["pckh"]["elbows"] == 1.0
    assert r["pckh"]["all"] == pytest.approx(26 / 28)
    eyes = Perfect(p)
    eyes.truth[0][:, :, :, 28:] = 0  # the second person is not seen
    r = two_d.report(eyes, p)
    assert (r["root_recall"], r["root_ap"], r["pckh"]["all"]) == (0.5, 0.5, 0.5)
    eyes = Perfect(p)
    eyes.truth[0][:, 2, 28, 5] = 0.7  # somebody who is not there, with a score between those of the other two
    eyes.truth[0][:, 2, :, 28:] *= 0.5
    r = two_d.report(eyes, p)
    assert r["root_recall"] == 1.0
    assert r["root_ap"] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_who_is_asked_for():
    """People whose root is in the content, joints that are in it and known."""
    p = labelled(torch.cat([people((60.0, 60.0)), people((-5.0, 60.0))], 1), SIZE)
    p.present[0, 0, 4] = False
    r = two_d.ceiling(p, MAP)
    assert (r["people"], r["joints"], r["pckh"]["all"]) == (1, 13, 1.0)
    nobody = labelled(people((-50.0, 60.0)), SIZE)
    r = two_d.ceiling(nobody, MAP)
    assert r["people"] == 0
    assert np.isnan(r["root_recall"])
    assert np.isnan(r["pckh"]["all"])
    assert "-" in two_d.text({"nobody": r})


def test_what_maps_can_say_of_a_twin(tmp_path):
    r = two_d.ceiling(of_scenes(load("mupots", "test"), 8, 0, SIZE, folder=tmp_path), MAP)
    assert r["root_recall"] > 0.95
    assert r["pckh"]["all"] > 0.9


# ---- one picture ---------------------------------------------------------------------------------------------------------------------


class Stick(Backbone):
    """Says of any picture that the same person stands in it."""

    def __init__(self, uv):
        super().__init__(QUICK)
        agr, _ = drawn(labelled(uv, SIZE), MAP)
        self.said = agr.heatmaps, agr.box_map

    def agr(self, images, flip=False):
        assert images.shape == (1, 3, 128, 224)
        return self.said


@pytest.mark.parametrize("size", [(1920, 1080), (300, 500), (224, 128)])
def test_detections_come_back_to_the_picture(size, tmp_path):
    file, uv = tmp_path / "a.png", people((112.0, 62.0))
    cv2.imwrite(str(file), np.zeros((size[1], size[0], 3), np.uint8))
    s = two_d.detect(Stick(uv), file)
    assert isinstance(s, Sample)
    assert (s.name, s.size, len(s)) == ("detections/a.png", size, 1)
    k = min(224 / size[0], 128 / size[1])
    corner = (torch.tensor(SIZE) - k * torch.tensor(size)) / 2
    close(s.joints_px[0], (uv[0, 0] - corner + 0.5) / k - 0.5, 0.5 / k)
    assert s.valid_px.all()
    assert ((s.score > 0.8) & (s.score <= 1)).all()
    x0, y0, x1, y1 = s.boxes[0]
    assert (s.joints_px[0].amin(0) >= torch.stack([x0, y0]) - 0.5 / k).all()
    assert (s.joints_px[0].amax(0) <= torch.stack([x1, y1]) + 0.5 / k).all()
    assert (x1 <= size[0] - 0.5, y1 <= size[1] - 0.5) == (True, True)
    again = two_d.detect(Stick(uv), torch.zeros(3, size[1], size[0], dtype=torch.uint8))
    close(again.joints_px, s.joints_px, 1e-9)


def test_an_empty_picture_and_bad_ones(tmp_path):
    nobody = two_d.detect(Stick(people((-400.0, 60.0))), torch.zeros(3, 50, 70, dtype=torch.uint8))
    assert len(nobody) == 0
    assert nobody.boxes.shape == (0, 4)
    eyes = net(QUICK)
    assert isinstance(two_d.detect(eyes, torch.zeros(3, 500, 7, dtype=torch.uint8)), Sample)
    for bad in (torch.zeros(50, 70, 3, dtype=torch.uint8), torch.zeros(3, 50, 70), torch.zeros(3, 0, 5, dtype=torch.uint8)):
        with pytest.raises(InputError, match="a picture of shape"):
            two_d.detect(eyes, bad)
    (tmp_path / "x.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no picture"):
        two_d.detect(eyes, tmp_path / "x.png")


# ---- the whole chain -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """A file with an untrained second stage that answers something, at 56 x 32."""
    path = tmp_path_factory.mktemp("second") / "second.safetensors"
    model = VirtualPose(replace(SMALL, threshold=-1e9), generator=torch.Generator().manual_seed(0)).eval()
    known = {"depth": 4000.0, "box": 1000.0, "stature": 1700.0}
    training = {"all": {"steps": 0, "samples": 0, "seconds": 0.0, "device": "cpu"}}
    models.save(path, model, {"calibration": known, "training": training, "frame": "ahead"})
    return path


class Knows(Backbone):
    """Answers with the AGR that is true of some scenes, in their order."""

    def __init__(self, scenes, shape=QUICK):
        super().__init__(shape)
        self.scenes = iter(scenes)

    def agr(self, images, flip=False):
        scenes = next(self.scenes)
        assert images.shape == (len(scenes), 3, *self.shape.picture[::-1])
        agr, _ = synthesise(scenes, self.shape.map, None, None, J, None, 16)
        return agr.heatmaps, agr.box_map


def test_true_maps_lose_nothing():
    """With what is true on the maps, the image arm is the arm of ground truth to the last bit (the shipped second stage)."""
    trained, data = models.load(), load("mupots", "test")
    blocks = [data.scenes(3, 0), data.scenes(2, 0, start=3)]
    out = two_d.chain(trained, Knows(blocks, COMPACT_2D.shape), data, 5, block=3)
    assert list(out) == ["ground truth", "ground truth, noisy", "image"]
    for method, people in out["ground truth"].items():
        mine = out["image"][method]
        assert np.array_equal(people.person, mine.person)
        assert np.array_equal(people.errors, mine.errors, equal_nan=True), method
    assert not np.array_equal(out["ground truth, noisy"]["DE"].root, out["image"]["DE"].root, equal_nan=True)
    mean, _, n = two_d.loss(out, "DE")
    assert (mean, n > 0) == (0.0, True)
    noisy, between, _ = two_d.loss(out, "DE", against="ground truth, noisy")
    assert noisy != 0
    assert between[0] <= noisy <= between[1]
    rows = two_d.chain_rows(out, "chain", trained, notebook="08", profile="smoke", seed=0, test="mupots")
    assert {r["train"] for r in rows} == {"AGR: ground truth", "AGR: ground truth, noisy", "AGR: image"}
    assert len({r["n"] for r in rows if r["metric"] == "mrpe_z"}) == 1


def test_the_published_protocol_as_well(second):
    trained, data = models.load(second), load("mupots", "test")
    scenes, image = data.scenes(3, 0), torch.zeros(3, 3, 128, 224)
    known = evaluate.Calibration(**trained.facts["calibration"])
    looked = []
    people, way = two_d.measure(trained.model, Knows([scenes]), [(scenes, image)], known, published=True, look=looked.append)
    wanted, published = evaluate.measure(trained.model, [scenes], known)
    assert way.keys() == published.keys()
    assert all(np.array_equal(way[k], published[k], equal_nan=True) for k in way)
    assert people.keys() == wanted.keys()
    assert len(looked) == 1


def test_maps_of_another_size(second):
    trained = models.load(second)
    with pytest.raises(InputError, match="24 x 16"):
        two_d.chain(trained, net(THIN), load("mupots", "test"), 2)


# ---- vp evaluate ---------------------------------------------------------------------------------------------------------------------


def test_vp_evaluate_from_images(second, tmp_path, capsys):
    eyes, out = tmp_path / "eyes.safetensors", tmp_path / "o.json"
    lab.save(eyes, net(QUICK), {})
    common = ["evaluate", "--dataset", "mupots", "--agr", "image", "--weights", str(second), "--scenes", "3", "--out", str(out)]
    assert main([*common, "--backbone", str(eyes)]) == 0
    report = json.loads(out.read_text())
    assert report["agr"] == "images, eyes.safetensors"
    assert report["sources"]["images"] == "twin"
    assert {"mrpe_z", "mrpe", "mpjpe", "recall", "n", "published", "windows"} <= report.keys()
    assert report["published"] is not None
    assert "AGR images" in capsys.readouterr().out


def test_a_2d_network_in_the_file_of_the_second_stage(second, tmp_path, capsys):
    from vp.nets import checkpoints

    tensors, facts = checkpoints.load(second)
    both, b = tmp_path / "both.safetensors", net(QUICK)
    eyes = {f"backbone.{k}": t for k, t in b.net.state_dict().items()}
    checkpoints.save(both, tensors | eyes, facts | {"backbone": b.shape.to_dict()})
    assert main(["evaluate", "--dataset", "virtual", "--agr", "image", "--weights", str(both), "--scenes", "2"]) == 0
    assert "both.safetensors" in capsys.readouterr().out


def test_vp_evaluate_bad_input(second, tmp_path, capsys):
    eyes = tmp_path / "eyes.safetensors"
    lab.save(eyes, net(THIN), {})
    common = ["evaluate", "--dataset", "mupots", "--weights", str(second), "--scenes", "2"]
    for more, said in (
        (["--agr", "image", "--backbone", str(eyes)], "24 x 16"),
        (["--agr", "image", "--backbone", str(tmp_path / "none")], "no such file"),
        (["--agr", "image", "--backbone", str(second)], "no weights named backbone"),
        (["--agr", "image", "--noise", "published", "--backbone", str(eyes)], "--noise"),
        (["--agr", "gt", "--backbone", str(eyes)], "needs no 2D network"),
    ):
        assert main([*common, *more]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_recorded_pictures_are_read(shared):
    root = shared / "data" / "panoptic"
    with pytest.raises(InputError, match="and a picture"):  # its poses have no pictures
        source("panoptic", root, ["14"], 4, size=SIZE)


def test_recorded_people_with_pictures(tmp_path, monkeypatch):
    """Blocks of recorded people come with their pictures, in order."""
    from vp.lab import evaluation

    camera = load("mupots", "test").scenes(1, 0).camera[0].resize(192, 108).to(torch.float64)
    samples = []
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((108, 192, 3), 40 * (i + 1), np.uint8))
        joints = camera.to_world(torch.tensor([0.0, 0.0, 4000.0], dtype=torch.float64) + 100 * torch.randn(1, J, 3, dtype=torch.float64))
        samples.append(Sample(JOINTS_15, f"a/b/{i}", joints, torch.ones(1, J, dtype=torch.bool), camera=camera, size=camera.size,
                              image=str(tmp_path / f"{i}.png"), sources={"poses": "x", "cameras": "x", "images": "x"}))  # fmt: skip
    samples.insert(1, replace(samples[0], image=None))
    data = replace(load("mupots", "test"), recorded=lambda n=None, cameras=None: iter(samples))
    monkeypatch.setattr(evaluation, "load", lambda *a, **k: data)
    monkeypatch.setattr(evaluation, "BLOCK", 2)
    pairs, sources, _ = source("mupots", tmp_path, None, 10, size=SIZE)
    pairs = list(pairs)
    assert [len(b.mask) for b, _ in pairs] == [2, 1]
    assert sources["images"] == "x"
    seen = torch.cat([image for _, image in pairs])
    close(seen[:, 0, 64, 112] * 255, [40, 80, 120], 0.5)
    assert (seen[:, :, 0] == 0).all()  # padding


