"""Cameras of photos: read from files, focal lengths from EXIF, pitch and height from people who stand on a floor."""

import json
import math

import numpy as np
import pytest
import torch

from vp.camera import Camera
from vp.errors import InputError
from vp.lab import guess_camera
from vp.skeleton import JOINTS_15

HEIGHTS = {"head_top": 1.0, "neck": 0.818, "shoulder": 0.818, "elbow": 0.63, "wrist": 0.485, "hip": 0.53, "knee": 0.285, "ankle": 0.039}


def crowd(camera, places, statures):
    """Upright people at (x, y) mm: joints px (P, 15, 2), known (P, 15), eyes (P, 2) px; shoulders 300 mm to each side across X."""
    rows = []
    for (x, y), tall in zip(places, statures):
        side = {"left": 150.0, "right": -150.0}
        high = [HEIGHTS.get(n, HEIGHTS.get(n.rpartition("_")[2])) for n in JOINTS_15.joints]
        rows.append([[x, y + side.get(n.split("_")[0], 0.0), tall * h] for n, h in zip(JOINTS_15.joints, high)])
    px, _, ok = camera.project(torch.tensor(rows, dtype=torch.float64).view(-1, 3))
    eyes = torch.tensor([[x, y, 0.936 * s] for (x, y), s in zip(places, statures)], dtype=torch.float64)
    return px.view(-1, 15, 2), ok.view(-1, 15), camera.project(eyes)[0]


PLACES = [(3000.0, -800.0), (4500.0, 600.0), (6500.0, -1500.0), (8000.0, 1200.0), (10000.0, 0.0)]


@pytest.mark.parametrize(("pitch", "height"), [(0.0, 1500.0), (12.0, 1800.0), (25.0, 2800.0)])
def test_pitch_and_height_from_people(pitch, height):
    camera = guess_camera.level((1920, 1080), 1400.0, pitch, height)
    found = guess_camera.from_people(camera, *crowd(camera, PLACES, [1700.0] * 5))
    assert abs(found.pitch_deg - pitch) < min(2.5, 2 * found.pitch_sd)
    assert abs(found.height_mm / height - 1) < 0.12
    assert found.people == 5
    assert 0 < found.pitch_sd < 6
    assert not found.unsure


def test_only_the_lens_of_the_camera_counts():
    camera = guess_camera.level((1920, 1080), 1400.0, 12.0, 1800.0)
    people = crowd(camera, PLACES, [1700.0] * 5)
    moved = guess_camera.placed(camera, -20.0, 5000.0)
    assert guess_camera.from_people(camera, *people) == guess_camera.from_people(moved, *people)


def test_one_person_on_a_box_is_an_outlier():
    camera = guess_camera.level((1920, 1080), 1400.0, 12.0, 1800.0)
    px, known, eyes = crowd(camera, PLACES, [1700.0] * 5)
    high = camera.project(torch.tensor([[8000.0, 1200.0, 900.0]], dtype=torch.float64))[0] - camera.project(
        torch.tensor([[8000.0, 1200.0, 0.0]], dtype=torch.float64)
    )[0]
    px[3] += high
    eyes[3] += high[0]
    assert abs(guess_camera.from_people(camera, px, known, eyes).pitch_deg - 12) < 4


def test_fewer_people_are_less_sure_and_what_is_given_stays():
    camera = guess_camera.level((1920, 1080), 1400.0, 12.0, 1800.0)
    px, known, eyes = crowd(camera, PLACES, [1700.0] * 5)
    all_five = guess_camera.from_people(camera, px, known, eyes)
    one = guess_camera.from_people(camera, px[3:4], known[3:4], eyes[3:4])
    assert one.pitch_sd > 1.5 * all_five.pitch_sd
    assert one.unsure
    given = guess_camera.from_people(camera, px, known, eyes, pitch_deg=12.0)
    assert (given.pitch_deg, given.pitch_sd) == (12.0, 0.0)
    assert abs(given.height_mm - 1800) < 60
    assert guess_camera.from_people(camera, px, known, eyes, 12.0, 1800.0) is None


def test_who_sits_lies_or_lacks_feet_tells_nothing():
    camera = guess_camera.level((1920, 1080), 1400.0, 12.0, 1800.0)
    px, known, eyes = crowd(camera, PLACES[:3], [1700.0] * 3)
    assert [k for _, k in guess_camera.upright(px, known)] == ["standing"] * 3
    at = JOINTS_15.index
    for s in ("left", "right"):
        px[0, at(f"{s}_knee")] = px[0, at(f"{s}_hip")] + torch.tensor([90.0, 5.0])  # thighs level: seated
        px[0, at(f"{s}_ankle")] = px[0, at(f"{s}_knee")] + torch.tensor([0.0, 100.0])
        known[1, at(f"{s}_ankle")] = False
    px[2] = px[2].flip(-1)  # lies
    assert guess_camera.upright(px, known) == []
    assert guess_camera.from_people(camera, px, known, eyes) is None


# ---- focal length ----------------------------------------------------------------------------------------------------------------------


def test_focal_from_exif_or_scaled_guess(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 28  # 35 mm equivalent
    photo = tmp_path / "a.jpg"
    Image.new("RGB", (600, 400)).save(photo, exif=exif)
    assert guess_camera.exif_focal(photo, (600, 400)) == pytest.approx(28 * math.hypot(600, 400) / math.hypot(36, 24))
    Image.new("RGB", (600, 400)).save(tmp_path / "b.png")
    assert guess_camera.exif_focal(tmp_path / "b.png", (600, 400)) is None
    assert guess_camera.exif_focal(tmp_path / "none.png", (600, 400)) is None
    assert guess_camera.guessed_focal((1920, 1080)) == 1400
    assert guess_camera.guessed_focal((480, 640)) == pytest.approx(1400 / 3)


# ---- files -----------------------------------------------------------------------------------------------------------------------------


def test_camera_files(tmp_path, shared):
    ours = guess_camera.level((640, 480), 500.0, 10.0, 2000.0)
    (tmp_path / "ours.json").write_text(json.dumps(ours.to_dict()))
    camera, placed = guess_camera.read_camera(str(tmp_path / "ours.json"))
    assert placed
    assert torch.equal(camera.R, ours.R)

    calibration = next((shared / "data" / "panoptic" / "160422_haggling1").glob("calibration_*.json"))
    camera, placed = guess_camera.read_camera(f"{calibration}:12")
    assert placed
    assert camera.size == (1920, 1080)
    assert 20 < float(camera.pitch_deg) < 30
    with pytest.raises(InputError, match="none named"):
        guess_camera.read_camera(str(calibration))
    with pytest.raises(InputError, match="no camera 00_99"):
        guess_camera.read_camera(f"{calibration}:00_99")


K, DIST = [[900.0, 0.0, 320.0], [0.0, 910.0, 240.0], [0.0, 0.0, 1.0]], [0.1, -0.05, 0.001, 0.002]
YAML = """%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 900., 0., 320., 0., 910., 240., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 4
   dt: d
   data: [ 0.1, -0.05, 0.001, 0.002 ]
"""


def test_opencv_intrinsics(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"K": K, "dist": [DIST]}))
    (tmp_path / "b.yml").write_text(YAML)
    flat = {"camera_matrix": {"rows": 3, "data": [*K[0], *K[1], *K[2]]}, "distortion_coefficients": {"data": DIST}}
    (tmp_path / "c.json").write_text(json.dumps(flat))
    for name, size in (("a.json", (0, 0)), ("b.yml", (640, 480)), ("c.json", (0, 0))):
        camera, placed = guess_camera.read_camera(str(tmp_path / name))
        assert not placed, name
        assert camera.size == size, name
        assert (camera.f.tolist(), camera.c.tolist()) == ([900.0, 910.0], [320.0, 240.0]), name
        np.testing.assert_allclose(camera.dist, [*DIST, 0.0])
        there = guess_camera.placed(Camera(camera.R, camera.t, camera.f, camera.c, (640, 480), camera.dist), 20.0, 1700.0)
        assert float(there.pitch_deg) == pytest.approx(20.0)
        assert float(there.centre[2]) == pytest.approx(1700.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "cannot be read"), ("[1]", "not a camera"), ('{"K": [1, 2]}', "3 x 3"), ('{"K": "x"}', "3 x 3"),
     (json.dumps({"K": K, "dist": [0, 0, 0, 0, 0, 0.2]}), "distortion"), (json.dumps({"K": [[0] * 3] * 3}), "focal length")],
)  # fmt: skip
def test_bad_camera_files(tmp_path, text, said):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=said):
        guess_camera.read_camera(str(tmp_path / "x.json"))


def test_bad_yaml_and_missing_file(tmp_path):
    (tmp_path / "x.yaml").write_text("K: [")
    with pytest.raises(InputError, match=r"YAML|not a camera"):
        guess_camera.read_camera(str(tmp_path / "x.yaml"))
    with pytest.raises(InputError, match="no such camera file"):
        guess_camera.read_camera(str(tmp_path / "y.json"))
