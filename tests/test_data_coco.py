"""COCO keypoints: the sample file against its documentation, hand-written files, and a large file in bounded memory."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from vp.data.coco import Coco
from vp.data.files import stream_json
from vp.errors import InputError
from vp.skeleton import COCO_17, JOINTS_15

SHARED = Path(__file__).parents[2] / "shared"
needs_samples = pytest.mark.skipif(not (SHARED / "data/coco").is_dir(), reason="no sample data beside the repository")
needs_golden = pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason="no golden vectors beside the repository")
PERSON = {"id": 5, "image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": 2, "bbox": [10, 20, 30, 40],
          "keypoints": [100, 50, 2, 90, 45, 1] + [0, 0, 0] * 15, "segmentation": [[1.5] * 8], "area": 3.5}  # fmt: skip
IMAGE = {"id": 1, "file_name": "000000000001.jpg", "width": 640, "height": 480}


def write(path, images=(IMAGE,), annotations=(PERSON,)):
    lists = {"images": list(images), "annotations": list(annotations), "categories": [{}]}
    path.write_text(json.dumps({"info": {"year": 2017}, "licenses": [1], **lists}))
    return path


def test_visibility_boxes_and_order(tmp_path):
    data = Coco(write(tmp_path / "k.json", annotations=[PERSON, PERSON | {"id": 6, "num_keypoints": 0, "keypoints": [0] * 51}]))
    (sample,) = data.samples()
    assert sample.skeleton is COCO_17
    assert sample.valid_px[0].nonzero()[:, 0].tolist() == [COCO_17.index("nose"), COCO_17.index("left_eye")]
    assert sample.joints_px[0, :2].tolist() == [[100, 50], [90, 45]]
    assert np.isnan(sample.joints_px[0, 2:]).all()
    assert not sample.valid_px[1].any()
    assert sample.boxes[0].tolist() == [10, 20, 40, 60]
    assert (sample.ids, sample.size, sample.camera, sample.image) == ((5, 6), (640, 480), None, None)


def test_crowds_are_left_out_unless_asked_for(tmp_path):
    crowd = PERSON | {"id": 7, "iscrowd": 1, "image_id": 2, "num_keypoints": 0, "keypoints": [0] * 51}
    crowd["segmentation"] = {"counts": [3], "size": [1, 3]}
    data = Coco(write(tmp_path / "k.json", [IMAGE, IMAGE | {"id": 2}], [crowd, PERSON]))
    assert data.crowd.tolist() == [True, False]
    assert [s.ids for s in data.samples()] == [(5,)]
    assert [s.ids for s in data.samples(crowds=True)] == [(5,), (7,)]
    assert len(data.sample(2)) == 0


@needs_golden
def test_golden_people_keep_their_labelled_joints(tmp_path):
    g = np.load(SHARED / "golden/dataset_conversion.npz")
    people = [
        PERSON | {"id": i, "keypoints": k.ravel().tolist(), "num_keypoints": int((k[:, 2] > 0).sum()), "bbox": b.tolist()}
        for i, (k, b) in enumerate(zip(g["coco_keypoints"], g["coco_bbox_xywh"]))
    ]
    (sample,) = Coco(write(tmp_path / "k.json", annotations=people)).samples()
    mapped = sample.to(JOINTS_15, derive=True)
    used = g["coco_vis_15"] > 0
    assert (mapped.valid_px.numpy() == used).all()
    used &= used[0]  # the published code overwrites, in everybody, the joints that person 0 lacks
    assert np.allclose(mapped.joints_px.numpy()[used], g["coco_joints_2d_15"][used], atol=6e-3)


@needs_samples
def test_the_sample_file_is_as_documented():
    data = Coco(SHARED / "data/coco")
    assert data.image_ids == [785, 196141]
    assert len(data.id) == 6
    assert (data.num_keypoints == 0).sum() == 1
    assert not data.crowd.any()
    assert data.num_keypoints.tolist() == (data.keypoints[..., 2] > 0).sum(1).tolist()
    skier, baseball = data.samples()
    assert (len(skier), len(baseball)) == (1, 5)
    assert Path(skier.image).name == "000000000785.jpg"
    assert skier.valid_px.all()
    px = skier.joints_px[0].numpy()
    x0, y0, x1, y1 = skier.boxes[0].tolist()
    assert ((px >= (x0, y0)) & (px <= (x1, y1))).all()


def test_a_large_file_is_read_in_bounded_memory(tmp_path):
    """About 60 MB, most of it outlines that are not kept: the peak stays far below, and the result is complete."""
    path, n = tmp_path / "person_keypoints_train2017.json", 6000
    person = json.dumps(PERSON | {"segmentation": {"counts": "0" * 9000, "size": [480, 640]}})
    with open(path, "w") as f:
        f.write('{"info": {}, "annotations": [')  # annotations first: the order of the lists must not matter
        for i in range(n):
            f.write((", " if i else "") + person.replace('"image_id": 1', f'"image_id": {i // 2}').replace('"id": 5', f'"id": {i}'))
        f.write('], "images": [' + ", ".join(json.dumps(IMAGE | {"id": i}) for i in range(n // 2)) + "]}")
    size = path.stat().st_size
    assert size > 50e6
    tracemalloc.start()
    data = Coco(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size / 8, f"{peak / 1e6:.1f} MB for a file of {size / 1e6:.0f} MB"
    assert len(data.id) == n
    assert data.sample(17).ids == (34, 35)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 16])
def test_the_stream_agrees_with_json(tmp_path, chunk):
    content = {"a": [1, 2.5, -3e44, 1e-7, "x]}\\\"é", None, True, [], {}, [[1], {"b": [2]}]], "skip": [1, {"a": 3}], "n": 123456, "b": []}
    content["c"] = [{"k": 1}]
    path = tmp_path / "a.json"
    for indent in (None, 2):
        path.write_text(json.dumps(content, indent=indent, ensure_ascii=False), encoding="utf-8")
        got = {"a": [], "b": [], "c": []}
        for key, value in stream_json(path, ("a", "b", "c"), chunk=chunk):
            got[key].append(value)
        assert got == {k: content[k] for k in got}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected"),
        ("[]", "expected {"),
        ('{"images": [{"id": 1, "file_name": "a", "width": 3, "height": 4}', "expected ,"),
        ('{"images": [], "annotations": [{"id": 1', "not the JSON that was expected"),
        ('{"images": [], "annotations": {}}', "is not a list"),
        ('{"images": []}', 'no list "annotations"'),
        ('{"images": [], "annotations": []} x', "text after the end"),
        ('{"images": [' + "[" * 100_000, "not the JSON"),
        ('{"images": [] "annotations": []}', "expected ,"),
        ("{}", 'no list "annotations"'),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, text, message):
    (tmp_path / "k.json").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Coco(tmp_path / "k.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": [0] * 50}, "shape 50, expected 51"),
        ({"keypoints": [1, 2, 7] * 17}, "none of 0, 1, 2"),
        ({"keypoints": None}, "numbers only"),
        ({"bbox": [1, 2, float("nan"), 4]}, '"bbox" holds NaN'),
        ({"image_id": 99}, "that the file does not list"),
        ({"iscrowd": "no"}, "whole number"),
    ],
)
def test_a_bad_annotation_is_one_line(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        Coco(write(tmp_path / "k.json", annotations=[PERSON | change]))


def test_folders(tmp_path):
    (tmp_path / "annotations").mkdir()
    with pytest.raises(InputError, match="found no annotations/person_keypoints"):
        Coco(tmp_path)
    write(tmp_path / "annotations/person_keypoints_val2017.json")
    (tmp_path / "val2017").mkdir()
    (tmp_path / "val2017/000000000001.jpg").write_bytes(b"")
    assert Coco(tmp_path).sample(1).image == str(tmp_path / "val2017/000000000001.jpg")
    write(tmp_path / "annotations/person_keypoints_train2017.json")
    with pytest.raises(InputError, match="2 keypoint files"):
        Coco(tmp_path)
