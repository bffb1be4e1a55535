"""`vp estimate`: keypoints to AGR to poses, the JSON it writes, its picture and page, and what it says of bad input."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vp.__main__ import main
from vp.errors import InputError
from vp.lab import estimate, found, guess_camera, models
from vp.lab.datasets import load
from vp.sample import Sample
from vp.show import estimate as show
from vp.skeleton import COCO_17, JOINTS_15
from vp.world.agr import agr

SIZE = (1920, 1080)


@pytest.fixture(scope="module")
def trained():
    return models.load()


@pytest.fixture(scope="module")
def scenes():
    return load("coco", "val").scenes(6, 4)


def sample(px, known=None, score=None, skeleton=JOINTS_15, size=SIZE, **more):
    px = torch.as_tensor(px, dtype=torch.float64)
    known = px.isfinite().all(-1) if known is None else known
    return Sample(skeleton, "x/a", joints_px=px.masked_fill(~known[..., None], torch.nan), valid_px=known, score=score, size=size, **more)


def seen(scenes, i):
    """A scene as keypoints: Sample (JOINTS_15, no head top, as from a detector), its camera, true joints (P, 15, 3) mm of the camera."""
    camera, who = scenes.camera[i], scenes.mask[i]
    joints = scenes.joints[i, who][:, :15].double()
    px, _, ok = (x.unflatten(0, (-1, 15)) for x in camera.project(joints.flatten(0, 1)))
    ok = ok & camera.in_image(px)
    ok[:, 1] = False
    return sample(px, ok, size=camera.size), camera, camera.to_camera(joints)


STANDING = dict(zip(COCO_17.joints, [
    (0, -80), (4, -85), (-4, -85), (9, -82), (-9, -82), (22, -60), (-22, -60), (28, -25), (-28, -25), (30, 5), (-30, 5), (13, 0), (-13, 0),
    (14, 48), (-14, 48), (14, 92), (-14, 92)]))  # fmt: skip


def person(u, v, k=1.0):
    """Keypoints (17, 2) of somebody who stands, mid-hip at (u, v)."""
    return np.array([(u + k * a, v + k * b) for a, b in STANDING.values()], dtype=np.float64)


def results(people, image=1, score=0.9):
    """COCO results."""
    return [{"image_id": image, "id": i, "category_id": 1, "score": 0.9, "keypoints": np.c_[p, np.full(17, score)].ravel().tolist()}
            for i, p in enumerate(people)]  # fmt: skip


def write(path, data):
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return str(path)


# ---- keypoints to AGR ------------------------------------------------------------------------------------------------------------------


def test_maps_are_those_of_the_agr_of_one_person(scenes, trained):
    s, camera, _ = seen(scenes, 0)
    people = estimate.people_of(s, camera.size)
    heat, box_map, _, ok = estimate.maps(people, camera.size, trained.model.sizes.map)
    wanted = agr(s.joints_px[:, None], s.valid_px[:, None], torch.ones(len(s), 1, dtype=torch.bool), camera.size, trained.model.sizes.map)
    torch.testing.assert_close(heat, wanted.heatmaps.float())
    torch.testing.assert_close(box_map, wanted.box_map.float())
    assert torch.equal(ok, wanted.root_valid[:, 0])


def test_confidence_scales_the_peak_and_too_little_is_missing():
    px = torch.tensor(person(960, 540, 3)[None])
    score = torch.full((1, 17), 0.8, dtype=torch.float64)
    score[0, COCO_17.index("left_wrist")], score[0, COCO_17.index("right_knee")] = 0.4, 0.1
    people = estimate.people_of(sample(px, score=score, skeleton=COCO_17), SIZE)
    heat, _, _, _ = estimate.maps(people, SIZE, (240, 128))
    top = heat[0].amax((1, 2))
    at = JOINTS_15.index
    assert float(top[at("left_knee")]) == pytest.approx(0.8, abs=0.03)
    assert float(top[at("left_wrist")]) == pytest.approx(0.4, abs=0.02)
    assert float(top[at("right_knee")]) == 0
    assert float(top[at("head_top")]) == 0  # COCO has none: nothing is invented
    assert float(top[at("mid_hip")]) > 0.7


def test_labelled_but_hidden_joints_are_dimmed():
    px, visible = torch.tensor(person(960, 540, 3)[None]), torch.ones(1, 17, dtype=torch.bool)
    visible[0, COCO_17.index("left_knee")] = False
    people = estimate.people_of(sample(px, skeleton=COCO_17, visible=visible), SIZE)
    assert float(people.amplitude[0, JOINTS_15.index("left_knee")]) == estimate.OCCLUDED
    assert float(people.amplitude[0, JOINTS_15.index("right_knee")]) == 1


def test_the_box_reaches_to_the_top_of_the_head():
    px = torch.tensor(person(960, 540, 3)[None])
    people = estimate.people_of(sample(px, skeleton=COCO_17), SIZE)
    faceless = px.clone()
    faceless[:, :5] = torch.nan
    less = estimate.people_of(sample(faceless, skeleton=COCO_17), SIZE)
    up, up_less = (estimate.maps(p, SIZE, (240, 128))[1][0, 1].max() for p in (people, less))
    assert up > 1.2 * up_less


def test_truncated_people():
    inside, cut, feetless = person(300, 540, 3), person(1880, 540, 3), person(900, 900, 3)
    feetless[13:] = np.nan
    people = estimate.people_of(sample(np.stack([inside, cut, feetless]), skeleton=COCO_17), SIZE)
    assert people.truncated.tolist() == [False, True, True]
    boxes = torch.tensor([[0.5, 100.0, 400.0, 900.0]], dtype=torch.float64)
    assert estimate.people_of(sample(inside[None], skeleton=COCO_17, boxes=boxes), SIZE).truncated.tolist() == [True]


# ---- poses -----------------------------------------------------------------------------------------------------------------------------


def test_people_of_a_twin_are_found_where_they_are(scenes, trained):
    errors, missed = [], 0
    for i in range(len(scenes.mask)):
        s, camera, truth = seen(scenes, i)
        entry = estimate.estimate(trained, s, (camera, True))
        for p, t, known in zip(entry["people"], truth, s.valid_px):
            missed += p["root_depth_mm"] is None and bool(known[2])
            if p["root_depth_mm"] is not None:
                errors.append(abs(p["root_depth_mm"] / float(t[2, 2]) - 1))
                assert p["root_cam_mm"][2] == p["root_depth_mm"]
                assert abs(p["joints_cam_mm"][2][2] - p["root_depth_mm"]) < 0.2
    assert len(errors) > 10
    assert missed == 0
    assert np.median(errors) < 0.06  # box size alone: 0.13


def test_an_image_depends_on_no_other_person(scenes, trained):
    s, camera, _ = seen(scenes, 1)
    every = estimate.estimate(trained, s, (camera, True))["people"]
    for i in range(len(s)):
        one = sample(s.joints_px[i : i + 1], s.valid_px[i : i + 1], size=s.size)
        np.testing.assert_allclose(estimate.estimate(trained, one, (camera, True))["people"][0]["root_cam_mm"] or 0,
                                   every[i]["root_cam_mm"] or 0, atol=0.5)  # fmt: skip


def test_who_is_explained_by_no_window_gets_the_depth_of_the_estimator(scenes, trained, monkeypatch):
    s, camera, _ = seen(scenes, 1)
    real, de = estimate.infer, []

    def without_answers(model, heat, box, cameras, **options):
        out = real(model, heat, box, cameras, **options)
        if not options:
            out.poses.valid[:] = False
            de.append(out.depth_roots[:, 0])
        return out

    monkeypatch.setattr(estimate, "infer", without_answers)
    entry = estimate.estimate(trained, s, (camera, True))
    people = [p for p in entry["people"] if "no_root" not in p["flags"]]
    assert len(people) == len(de[0])
    for p, root in zip(people, de[0]):
        assert "depth_estimator_only" in p["flags"]
        assert p["score"] == 0
        assert np.linalg.norm(np.array(p["root_cam_mm"]) - root.numpy()) < 300  # PEN's voxels about it
        assert np.isfinite(p["joints_cam_mm"]).all()
    assert sum("depth estimator alone" in w for w in entry["warnings"]) == len(people)


def test_somebody_without_hips_is_listed(trained):
    hipless = person(900, 500, 3)
    hipless[COCO_17.index("left_hip")] = np.nan
    entry = estimate.estimate(trained, sample(np.stack([person(300, 540, 3), hipless]), skeleton=COCO_17, ids=(7, 8)))
    first, second = entry["people"]
    assert (first["person_id"], second["person_id"]) == (7, 8)
    assert first["root_depth_mm"] is not None
    assert "no_root" in second["flags"]
    assert second["root_depth_mm"] is second["joints_cam_mm"] is second["depth_interval_mm"] is None
    assert any("person 8" in w and "hips" in w for w in entry["warnings"])


def test_the_interval_adds_stature_and_focal_length_in_quadrature(trained):
    s = sample(person(900, 540, 3)[None], skeleton=COCO_17)
    for more, focal_share in (({}, 0.2), ({"focal": 1400.0}, 0.0), ({"given": (guess_camera.level(SIZE, 1400.0), True)}, 0.0)):
        p = estimate.estimate(trained, s, **more)["people"][0]
        low, high = p["depth_interval_mm"]
        share = math.hypot(0.05, focal_share)
        assert low / p["root_depth_mm"] == pytest.approx(1 - share, abs=1e-3)
        assert high / p["root_depth_mm"] == pytest.approx(1 + share, abs=1e-3)


def test_depth_scales_with_the_focal_length(trained):
    s = sample(person(960, 540, 2.5)[None], skeleton=COCO_17)
    near, far = (estimate.estimate(trained, s, focal=f, pitch=5.0, height=1500.0)["people"][0]["root_depth_mm"] for f in (1200.0, 1800.0))
    assert far / near == pytest.approx(1.5, abs=0.2)


@pytest.mark.slow
def test_two_hundred_people_a_few_at_a_time(trained, monkeypatch):
    real, blocks = estimate.infer, []

    def watched(model, heat, *rest, **options):
        blocks.append(len(heat))
        return real(model, heat, *rest, **options)

    monkeypatch.setattr(estimate, "infer", watched)
    people = [person(40 + 90 * (i % 20), 120 + 100 * (i // 20), 0.6) for i in range(200)]
    entry = estimate.estimate(trained, sample(np.stack(people), skeleton=COCO_17))
    assert len(entry["people"]) == 200
    assert sum(p["root_depth_mm"] is not None for p in entry["people"]) == 200
    assert max(blocks) <= estimate.BLOCK


# ---- the command -----------------------------------------------------------------------------------------------------------------------


def test_the_two_coco_photos(shared, tmp_path, capsys):
    source = shared / "data" / "coco" / "annotations" / "person_keypoints_sample.json"
    out, png, html = (tmp_path / n for n in ("o.json", "o.png", "o.html"))
    assert main(["estimate", str(source), "--out", str(out), "--picture", str(png), "--html", str(html)]) == 0
    report = json.loads(out.read_text())
    skier, game = report["images"]
    assert "460541" in capsys.readouterr().out
    people = {p["person_id"]: p for p in game["people"]}
    batter, umpire, nobody, catcher, fielder = (people[i] for i in (460541, 488308, 508900, 1717641, 1724673))
    assert "no_root" in nobody["flags"]
    assert max(catcher["root_depth_mm"], batter["root_depth_mm"]) < umpire["root_depth_mm"] < fielder["root_depth_mm"]
    for p in (batter, umpire, fielder, skier["people"][0]):
        assert 1400 < p["stature_mm"] < 2000
    camera = show.Camera.from_dict({k: game["camera"][k] for k in ("R", "t", "f", "c", "size")})
    for p in (batter, umpire, catcher, fielder):
        feet = camera.to_world(torch.tensor(p["joints_cam_mm"], dtype=torch.float64))[[8, 14], 2]
        assert feet.abs().min() < 300  # one plane: the floor
    keys = "person_id score root_depth_mm depth_interval_mm root_cam_mm joints_cam_mm joint_names joints_px".split()
    assert set(keys) <= batter.keys()
    assert np.shape(batter["joints_cam_mm"]) == (15, 3)
    assert batter["joint_names"] == list(JOINTS_15.joints)
    assert batter["joints_px"][1] is None  # no head top
    assert {"camera", "weights", "warnings", "people"} <= game.keys()
    assert any("1400 px" in w for w in game["warnings"])
    assert png.read_bytes().startswith(b"\x89PNG")
    page = html.read_text()
    assert "src=" not in page
    assert "http" not in page
    assert "000000196141.jpg" in page


def test_one_image_of_several_and_the_focal_flag(shared, tmp_path):
    source = str(shared / "data" / "coco" / "annotations" / "person_keypoints_sample.json")
    out = tmp_path / "o.json"
    command = ["estimate", source, "--out", str(out), "--image", "000000000785.jpg", "--focal", "700", "--pitch", "3", "--height", "1600"]
    assert main(command) == 0
    (entry,) = json.loads(out.read_text())["images"]
    assert entry["image"] == "000000000785.jpg"
    assert entry["camera"]["f"] == [700, 700]
    assert entry["camera"]["from"] == {"focal": "flag", "pitch": "flag", "height": "flag"}
    assert entry["camera"]["pitch_deg"] == pytest.approx(3)
    assert entry["camera"]["height_mm"] == 1600


def test_a_calibrated_camera_and_one_of_another_resolution(shared, tmp_path):
    calibration = next((shared / "data" / "panoptic" / "160422_haggling1").glob("calibration_*.json"))
    source = write(tmp_path / "k.json", results([person(960, 600, 3)]))
    out = tmp_path / "o.json"
    for more in ([], ["--size", "1920", "1080"]):  # the camera says the size
        assert main(["estimate", source, "--out", str(out), "--camera", f"{calibration}:12", *more]) == 0
        (entry,) = json.loads(out.read_text())["images"]
        assert entry["camera"]["from"] == {"focal": "camera", "pitch": "camera", "height": "camera"}
        assert entry["camera"]["dist"]
    half = write(tmp_path / "h.json", results([person(480, 300, 1.5)]))
    assert main(["estimate", half, "--out", str(out), "--camera", f"{calibration}:12", "--size", "960", "540"]) == 0
    (scaled,) = json.loads(out.read_text())["images"]
    assert any("scaled" in w for w in scaled["warnings"])
    assert scaled["people"][0]["root_depth_mm"] == pytest.approx(entry["people"][0]["root_depth_mm"], rel=0.02)


def test_nobody_in_the_image(tmp_path):
    source, out = write(tmp_path / "a_keypoints.json", {"people": []}), tmp_path / "o.json"
    files = [str(tmp_path / n) for n in ("o.png", "o.html")]
    assert main(["estimate", source, "--out", str(out), "--size", "640", "480", "--picture", files[0], "--html", files[1]]) == 0
    (entry,) = json.loads(out.read_text())["images"]
    assert entry["people"] == []
    assert "nobody in this image" in entry["warnings"]


GOOD = results([person(320, 240, 1.5)])
NAN = json.dumps(GOOD).replace("0.9]", "NaN]")
BAD = {
    "no size": (GOOD, [], "image size is not known"),
    "keypoints of a larger image": (results([person(1500, 900, 3)]), ["--size", "640", "480"], "outside the image"),
    "normalised keypoints": (results([person(-3000, 0, 0.01)]), ["--size", "640", "480"], "outside the image"),
    "NaN score": (NAN, ["--size", "640", "480"], "NaN"),
    "wrong joint count": ([{"image_id": 1, "keypoints": [1, 2, 3] * 16}], ["--size", "640", "480"], "16 keypoints"),
    "no JSON": ("{", ["--size", "640", "480"], "not valid JSON"),
    "no format": ({"a": 1}, ["--size", "640", "480"], "no known keypoint format"),
    "no such image": (GOOD, ["--size", "640", "480", "--image", "17"], "no image 17"),
    "no such photo": (GOOD, ["--photo", "nowhere.jpg"], "no such photo"),
    "pitch": (GOOD, ["--size", "640", "480", "--pitch", "95"], "--pitch"),
    "focal": (GOOD, ["--size", "640", "480", "--focal", "nan"], "--focal"),
    "size": (GOOD, ["--size", "0", "480"], "image of 0 x 480"),
    "weights": (GOOD, ["--size", "640", "480", "--weights", "none.safetensors"], "none.safetensors"),
    "camera": (GOOD, ["--camera", "none.json"], "no such camera file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, tmp_path, capsys):
    data, more, said = BAD[name]
    out = tmp_path / "o.json"
    assert main(["estimate", write(tmp_path / "k.json", data), "--out", str(out), *more]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not out.exists()


def test_contradictory_sizes(tmp_path, capsys):
    from PIL import Image

    photo, source, out = tmp_path / "1.png", write(tmp_path / "k.json", GOOD), str(tmp_path / "o.json")
    Image.new("RGB", (640, 480)).save(photo)
    camera = write(tmp_path / "c.json", guess_camera.level((1920, 1080)).to_dict())
    assert main(["estimate", source, "--out", out, "--photo", str(photo), "--camera", camera]) == 2
    assert "sizes contradict" in capsys.readouterr().err
    listed = {"images": [{"id": 1, "file_name": "1.png", "width": 600, "height": 480}], "annotations": [
        {"id": 1, "image_id": 1, "iscrowd": 0, "num_keypoints": 17, "bbox": [1, 2, 3, 4],
         "keypoints": np.c_[person(320, 240), np.full(17, 2)].ravel().tolist()}]}  # fmt: skip
    assert main(["estimate", write(tmp_path / "coco.json", listed), "--out", out, "--photo", str(photo)]) == 2
    assert "contradictory image sizes" in capsys.readouterr().err


# ---- photos ----------------------------------------------------------------------------------------------------------------------------


def test_photos_that_cannot_be_used(tmp_path, capsys, monkeypatch):
    from PIL import Image

    broken, good = tmp_path / "broken.jpg", tmp_path / "good.png"
    broken.write_bytes(b"\xff\xd8 not a picture")
    Image.new("RGB", (64, 48)).save(good)
    monkeypatch.setattr(found, "LARGEST", 3000)
    for path, said in ((broken, "not a readable picture"), (good, "a picture of 64 x 48"), (tmp_path / "none.png", "no such file")):
        assert main(["estimate", str(path), "--out", str(tmp_path / "o.json")]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1


def test_without_a_network_of_our_own_or_torchvision(tmp_path, monkeypatch):
    from PIL import Image

    from vp.lab import backbone

    photo = tmp_path / "good.png"
    Image.new("RGB", (64, 48)).save(photo)
    monkeypatch.setattr(backbone, "SHIPPED", tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="2D network"):
        found.detect(photo)
    monkeypatch.setitem(__import__("sys").modules, "torchvision.models.detection", None)
    with pytest.raises(InputError, match="torchvision is not installed"):
        found.detect(photo, "torchvision")


@pytest.mark.parametrize("file", [None, "mine.safetensors"])
def test_a_photo_and_our_own_network(tmp_path, monkeypatch, file):
    from PIL import Image

    from vp.lab import backbone, two_d

    photo, out, file = tmp_path / "good.png", tmp_path / "o.json", file and str(tmp_path / file)
    Image.new("RGB", (640, 480)).save(photo)
    if file:
        (tmp_path / "mine.safetensors").touch()
    monkeypatch.setattr(backbone, "SHIPPED", photo)  # there is one
    monkeypatch.setattr(backbone, "load", lambda path=None: SimpleNamespace(backbone=f"net of {path}"))
    found_there = sample(person(320, 240, 1.5)[None], skeleton=COCO_17, size=(640, 480), ids=(-1,))
    asked = (f"net of {file}", (3, 480, 640), "good.png")
    monkeypatch.setattr(two_d, "detect", lambda net, image, name: found_there if (net, image.shape, name) == asked else None)
    detector = ["--detector", file] if file else []
    assert main(["estimate", str(photo), "--out", str(out), "--picture", str(tmp_path / "o.png"), *detector]) == 0
    (entry,) = json.loads(out.read_text())["images"]
    assert entry["people"][0]["root_depth_mm"] > 1000


def test_a_detector_that_is_no_network_is_one_line_and_no_detector_is_overwritten(tmp_path, capsys):
    from PIL import Image

    photo, net = tmp_path / "good.png", tmp_path / "net.safetensors"
    Image.new("RGB", (64, 48)).save(photo)
    none, damaged, overwritten = "openpose: no such file (own,", "damaged, or no safetensors file", "the same file as"
    for name, out, said in (("openpose", "o.json", none), ("bad\nname", "o.json", "bad?name"), ("x" * 5000, "o.json", "xxx..."),
                            (".", "o.json", "no such file"), (str(net), "o.json", damaged), (str(net), net, overwritten)):
        net.write_text("no network")
        assert main(["estimate", str(photo), "--out", str(tmp_path / out), "--detector", name]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1
        assert net.read_text() == "no network"
        assert error.isprintable() or error[:-1].isprintable()
        assert not (tmp_path / "o.json").exists()


def test_keypoints_need_no_detector(tmp_path, capsys):
    (keypoints := tmp_path / "k.json").write_text("[]")
    assert main(["estimate", str(keypoints), "--out", str(tmp_path / "o.json"), "--detector", "mine.safetensors"]) == 2
    assert "--detector mine.safetensors: keypoints need no detector (leave it out" in capsys.readouterr().err


def test_torchvision_adapter_with_a_stub(tmp_path, trained):
    from PIL import Image

    photo = tmp_path / "good.png"
    Image.new("RGB", (640, 480), (255, 0, 0)).save(photo)
    asked = []

    def network(pictures):
        asked.extend(pictures)
        points = torch.tensor(np.stack([person(320, 240, 1.5), person(100, 240)])) + 0.5
        points = torch.cat([points, torch.ones(2, 17, 1)], -1).float()
        heights = torch.tensor([[12.0] * 17, [12.0] * 17])
        heights[0, 9] = -5.0
        return [{"boxes": torch.tensor([[250.0, 100, 380, 400], [60, 150, 140, 340]]), "scores": torch.tensor([0.99, 0.2]),
                 "keypoints": points, "keypoints_scores": heights}]  # fmt: skip

    s = found.torchvision_people(photo, lambda: network)
    assert tuple(asked[0].shape) == (3, 480, 640)
    assert asked[0][:, 0, 0].tolist() == [1.0, 0.0, 0.0]
    assert len(s) == 1  # the other one is too unsure
    np.testing.assert_allclose(s.joints_px[0, 0], person(320, 240, 1.5)[0], atol=1e-4)
    assert float(s.score[0, 0]) > 0.99
    assert float(s.score[0, 9]) < estimate.LEAST
    assert estimate.estimate(trained, s)["people"][0]["root_depth_mm"] > 0


# ---- picture and page ------------------------------------------------------------------------------------------------------------------


def test_the_page_survives_any_name_and_holds_what_the_json_says(trained):
    s = sample(np.stack([person(300, 540, 3), person(900, 540, 2)]), skeleton=COCO_17)
    s.name = "x/</script><!--.jpg"
    entry = estimate.estimate(trained, s)
    page = show.page([entry])
    assert page.count("</script>") == 1
    data = json.loads(page.split("const data = ")[1].split(";\n")[0])
    shown = data["images"][0]["people"][1]
    assert shown["depth"] == entry["people"][1]["root_depth_mm"]
    level, camera = show.ahead(entry)
    assert float(level[1, 2, 0]) == pytest.approx(1000 * shown["joints"][2][0], abs=1)
    assert float(camera.centre[2]) == pytest.approx(entry["camera"]["height_mm"], abs=1)
    assert float(level[0, :, 2].min()) == pytest.approx(0, abs=400)  # Z up, floor 0
    assert shown["colour"] != data["images"][0]["people"][0]["colour"]
