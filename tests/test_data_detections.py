"""Keypoint files of detectors: each format hand-written as its documentation shows it, told apart by content."""

import json
from pathlib import Path

import numpy as np
import pytest

from vp.data.detections import OPENPOSE_18, read_detections
from vp.errors import InputError
from vp.skeleton import COCO_17, JOINTS_15, OPENPOSE_25

SHARED = Path(__file__).parents[2] / "shared"
XY = [[10.0 * j, 5.0 * j] for j in range(17)]
SCORES = [0.9] * 16 + [0.0]
FLAT = [v for (x, y), s in zip(XY, SCORES) for v in (x, y, s)]
PERSON = {"keypoints": XY, "keypoint_scores": SCORES, "bbox": [[1, 2, 30, 40]], "bbox_score": 0.8}


def write(folder, content, name="a.json"):
    (folder / name).write_text(json.dumps(content))
    return folder / name


def check_person(sample, i=0):
    assert sample.skeleton is COCO_17
    assert sample.valid_px[i].tolist() == [True] * 16 + [False]
    assert sample.joints_px[i, 3].tolist() == [30, 15]
    assert np.isnan(sample.joints_px[i, 16]).all()
    assert sample.score[i, 0].item() == pytest.approx(0.9)
    assert sample.camera is None
    assert sample.joints is None


def test_coco_results_are_grouped_by_image(tmp_path):
    entry = {"image_id": 7, "category_id": 1, "keypoints": FLAT, "score": 0.5}
    path = write(tmp_path, [entry, entry | {"image_id": 8}, entry | {"bbox": [1, 2, 3, 4]}])
    seven, eight = read_detections(path, size=(640, 480))
    assert (seven.name, len(seven), eight.name, len(eight)) == ("detections/7", 2, "detections/8", 1)
    assert seven.size == (640, 480)
    assert seven.boxes is None
    check_person(seven, 1)
    (alpha,) = read_detections(write(tmp_path, [entry | {"image_id": "frame.jpg", "box": [1, 2, 3, 4]}], "b.json"))
    assert (alpha.name, alpha.boxes.tolist()) == ("detections/frame.jpg", [[1, 2, 4, 6]])


@pytest.mark.parametrize(("joints", "skeleton"), [(25, OPENPOSE_25), (18, OPENPOSE_18)])
def test_openpose(tmp_path, joints, skeleton):
    table = [[3.0 * j, 4.0 * j, 0.5] for j in range(joints)]
    table[4] = [0, 0, 0]  # right wrist not found
    person = {"person_id": [-1], "pose_keypoints_2d": np.ravel(table).tolist(), "face_keypoints_2d": []}
    (sample,) = read_detections(write(tmp_path, {"version": 1.3, "people": [person]}, "video_000000000012_keypoints.json"))
    assert sample.name == "detections/video_000000000012"
    assert sample.skeleton is skeleton
    assert (~sample.valid_px[0]).nonzero().tolist() == [[skeleton.index("right_wrist")]]
    at = {25: {"left_ankle": 14, "right_eye": 15, "left_hip": 12}, 18: {"left_ankle": 13, "right_eye": 14, "left_hip": 11}}[joints]
    for name, j in at.items():  # places in OpenPose's documentation of BODY_25 and COCO
        assert sample.joints_px[0, skeleton.index(name)].tolist() == [3.0 * j, 4.0 * j]
    mapped = sample.to(JOINTS_15, derive=True)
    assert mapped.valid_px[0].sum() == 13  # no head top, no right wrist; mid-hip from the hips where the model has none


def test_openpose_folder_and_nobody(tmp_path):
    for i in range(3):
        write(tmp_path, {"version": 1.3, "people": []}, f"img_{i}_keypoints.json")
    samples = read_detections(tmp_path)
    assert [s.name for s in samples] == [f"detections/img_{i}" for i in range(3)]
    assert [len(s) for s in samples] == [0, 0, 0]


@pytest.mark.parametrize("wrap", [lambda p: [p], lambda p: {"meta_info": {}, "instance_info": [p]}, lambda p: {"instances": [p]}])
def test_mmpose_image(tmp_path, wrap):
    (sample,) = read_detections(write(tmp_path, wrap(PERSON)))
    check_person(sample)
    assert sample.boxes.tolist() == [[1, 2, 30, 40]]


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: {"meta_info": {}, "instance_info": f}])
def test_mmpose_video(tmp_path, wrap):
    frames = [{"frame_id": 1, "instances": [PERSON, PERSON]}, {"frame_id": 2, "instances": []}]
    first, second = read_detections(write(tmp_path, wrap(frames)))
    assert (len(first), len(second), first.name) == (2, 0, "detections/a/1")
    check_person(first, 1)


def test_whole_body_detectors_are_cut_to_seventeen(tmp_path):
    person = {"keypoints": XY + [[1, 1]] * 116, "keypoint_scores": SCORES + [0.3] * 116}
    check_person(read_detections(write(tmp_path, [person]))[0])


@pytest.mark.skipif(not (SHARED / "data/coco").is_dir(), reason="no sample data beside the repository")
def test_coco_annotations_are_taken_too():
    samples = read_detections(SHARED / "data/coco/annotations/person_keypoints_sample.json")
    assert [len(s) for s in samples] == [1, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "holds no detection"),
        ({}, "holds no detection"),
        ({"boxes": []}, "no known keypoint format"),
        ([1, 2], "no known keypoint format"),
        (3, "no known keypoint format"),
        ({"people": [{}]}, '"pose_keypoints_2d" is missing'),
        ({"people": [{"pose_keypoints_2d": [1, 2, 3]}]}, "3 numbers, expected 75"),
        ({"people": [{"pose_keypoints_2d": [0] * 75}, {"pose_keypoints_2d": [0] * 54}]}, "18 and with 25"),
        ([{"image_id": 1, "keypoints": [1, 2, 3]}], "1 keypoints per person"),
        ([{"image_id": 1, "keypoints": [1, 2]}], "expected x, y, score"),
        ([{"image_id": 1, "keypoints": [float("nan")] * 51}], "NaN"),
        ([{"image_id": [], "keypoints": FLAT}], '"image_id" is of type list'),
        ([PERSON | {"keypoint_scores": [1.0]}], "1 keypoints per person"),
        ([PERSON | {"keypoints": [[1, 2, 3]] * 17}], '"keypoints" has shape 17 x 3'),
    ],
)
def test_bad_files_are_one_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_detections(write(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_truncated_missing_and_empty(tmp_path):
    path = write(tmp_path, [PERSON])
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match="not valid JSON"):
        read_detections(path)
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        read_detections(tmp_path / "none.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="folder is empty"):
        read_detections(tmp_path / "empty")
