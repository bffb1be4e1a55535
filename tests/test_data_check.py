"""`check_data` on the sample folders: what is printed is what their documentation says; what is drawn is where it should be."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_data_muco_mupots import write_annotations, write_muco
from test_data_panoptic import tiny  # noqa: F401  (a fixture)

from vp.errors import InputError
from vp.lab.check import NAMES, check_data

SHARED = Path(__file__).parents[2] / "shared"
needs_samples = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no sample data beside the repository")
GREEN = (115, 158, 0)  # BGR of the floor circle


@needs_samples
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("panoptic", """2 sequences, 20 frames with poses, 10 pictures
            calibration  31 HD cameras; optical
            31 HD cameras, 479 VGA cameras, 10 Kinect cameras
            20 frames (168 to 187), 19 joints each, 3 people in every frame, 7 % of 1140 joints missing
            5 cameras x 2 instants (00_03, 00_06, 00_12, 00_13, 00_23; frames 4500, 6859)
            missing      poses of 160422_haggling1; pictures of 160906_band1"""),
        ("mupots", """20 sequences, 0 annotated frames
            height 0.5 to 2.9 m, pitch 2 to 32 deg, 2.8 to 6.5 m
            10 of 20 are left-handed and were repaired (TS1, TS3, TS4, TS6, TS8, TS12, TS13, TS14, TS15, TS16)
            missing      annotations (MuPoTS-3D.json"""),
        ("coco", """2 images, 2 of them with people
            6 annotations, 1 with num_keypoints 0, 0 crowd regions
            2 of 2 looked for are there"""),
        ("bvh", """46 clips
            40 clips, 22 joints, 30 fps, unit 10 mm
            4 clips, 31 joints, 30 fps, unit 56.44 mm
            2 clips, 31 joints, 120 fps"""),
    ],
)  # fmt: skip
def test_the_report_says_what_the_documentation_says(tmp_path, name, expected):
    report = check_data(name, SHARED / "data" / name, tmp_path / "picture.png")
    flat = re.sub(r"\n {15}", " ", report)
    for text in expected.splitlines():
        assert text.strip() in flat, report
    assert "!" not in report, report
    assert max(map(len, report.splitlines()[1:-1])) <= 118
    image = cv2.imread(str(tmp_path / "picture.png"))
    assert image.shape[1] > 600
    assert image.std() > 10
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]


@needs_samples
def test_the_distortion_figures_are_those_of_the_documentation():
    report = check_data("panoptic", SHARED / "data/panoptic")
    mean, p95, most = map(float, re.search(r"by ([\d.]+) px on average \(95th percentile (\d+) px, up to (\d+)", report).groups())
    assert mean == pytest.approx(9.5, abs=0.4)
    assert p95 == pytest.approx(32, abs=1.5)
    assert most == pytest.approx(84, abs=1.5)


def test_joints_are_drawn_on_the_picture_and_in_the_frame(tiny, tmp_path):  # noqa: F811
    """A person in front of the camera is drawn where it projects to; a picture, if there is one, lies underneath."""
    sequence = tiny / "170101_test1"
    scene = {"bodies": [{"id": 0, "joints15": [0, -120, 0, 1, 0, -40, 0, 1] + [0, 0, 0, -1] * 13}]}  # neck and head top: one vertical limb
    (sequence / "hdPose3d_stage1" / "body3DScene_00000007.json").write_text(json.dumps(scene))
    report = check_data("panoptic", tiny, tmp_path / "blank.png")
    assert "1 person in every frame, 87 % of 15 joints missing" in report
    (sequence / "hdImgs" / "00_16").mkdir(parents=True)
    cv2.imwrite(str(sequence / "hdImgs/00_16/00_16_00000007.png"), np.full((1080, 1920, 3), (30, 60, 250), np.uint8))
    assert "1 camera x 1 instant (00_16; frames 7)" in check_data("panoptic", tiny, tmp_path / "image.png")
    blank, image = (cv2.imread(str(tmp_path / f"{n}.png")).astype(int) for n in ("blank", "image"))
    red = (np.abs(image - (30, 60, 250)).max(-1) < 12).sum() / image[..., 0].size
    assert red > 0.3  # the picture fills its frame
    assert (np.abs(blank - (30, 60, 250)).max(-1) < 12).sum() == 0
    for picture in (blank, image):
        assert (np.abs(picture - GREEN).max(-1) < 30).sum() > 100  # floor circle
        inside = picture[60:-60, 20:-20]
        dark = np.argwhere(inside.max(-1) < 60) + (60, 20)  # the limb: MIDDLE is nearly black
        dark = dark[np.abs(dark[:, 1] - np.median(dark[:, 1])) < 4]
        # 80 cm at 3 m and f 1000 px: 267 of 1080 px, in the middle of the frame
        ground, near = ((238, 242, 243), 3) if picture is blank else ((30, 60, 250), 12)
        frame = np.argwhere(np.abs(inside - ground).max(-1) < near)
        height = np.ptp(frame[:, 0]) + 1
        assert np.ptp(dark[:, 0]) / height == pytest.approx(267 / 1080, abs=0.03)
        assert np.median(dark[:, 1]) == pytest.approx(frame[:, 1].min() + 20 + np.ptp(frame[:, 1]) / 2, abs=4)


def test_a_wrong_unit_is_said(tiny):  # noqa: F811
    scene = {"bodies": [{"id": 0, "joints15": [0, -1.2, 0, 1, 0, -0.4, 0, 1] + [0, 0, 0, -1] * 13}]}  # metres
    (tiny / "170101_test1" / "hdPose3d_stage1" / "body3DScene_00000007.json").write_text(json.dumps(scene))
    assert "is the unit or the up axis another one" in check_data("panoptic", tiny)


def test_muco_and_mupots_reports(tmp_path):
    (tmp_path / "muco").mkdir()
    write_muco(tmp_path / "muco", annotation={"keypoints_img": [[1024 + 75, 512 - 149]] + [[1024 + 3, 512 + 4]] * 20})
    report = check_data("muco", tmp_path / "muco", tmp_path / "muco.png")
    assert "1 image in MuCo-3DHP.json, 1 person" in report
    assert "agree to 4.8 px" in report  # 20 of 21 joints are 5 px off
    assert "missing in 1 of 1" in report
    write_annotations(tmp_path / "mupots", frames=4)
    report = check_data("mupots", tmp_path / "mupots", tmp_path / "mupots.png")
    assert "1 sequence, 4 annotated frames" in report
    assert "1 to 2 people per frame, 0 % of 119 joints missing, pictures 0 of 4" in report
    assert "fitted to the annotated joints: f 1200 1210 px, c 950 530 px, error 0.0 px" in report
    assert "missing      extrinsics" in report


def test_nothing_to_draw_keeps_the_report(tiny, tmp_path):  # noqa: F811
    (tiny / "170101_test1" / "hdPose3d_stage1" / "body3DScene_00000007.json").unlink()
    report = check_data("panoptic", tiny, tmp_path / "p.png")
    assert report.endswith("none, there is nothing to draw")
    assert "missing      poses of 170101_test1; pictures of 170101_test1" in report
    assert not (tmp_path / "p.png").exists()


def test_bad_input_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no data set 'human36m'"):
        check_data("human36m", tmp_path)
    for name in NAMES:
        with pytest.raises(InputError, match="folder is empty"):
            check_data(name, tmp_path)
        with pytest.raises(InputError, match="no such folder"):
            check_data(name, tmp_path / "none")
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04")
    for name in NAMES:
        with pytest.raises(InputError, match="archive"):
            check_data(name, tmp_path / "a.zip")


@needs_samples
def test_a_broken_picture_file_and_a_missing_folder(tmp_path):
    root = tmp_path / "coco"
    (root / "images").mkdir(parents=True)
    (root / "person_keypoints_x.json").write_text((SHARED / "data/coco/annotations/person_keypoints_sample.json").read_text())
    (root / "images/000000000785.jpg").write_bytes(b"\xff\xd8 broken")
    with pytest.raises(InputError, match="not a readable picture"):
        check_data("coco", root, tmp_path / "p.png")
    with pytest.raises(InputError, match="no such folder for the picture"):
        check_data("coco", root, tmp_path / "none" / "p.png")
    assert "1 of 2 looked for" in check_data("coco", root)
