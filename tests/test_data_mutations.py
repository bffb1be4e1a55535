"""Every reader against damaged files: bytes flipped, deleted, doubled or cut off, JSON values swapped for odd ones.

The only outcomes allowed are success and InputError in one line.
"""

import copy
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_data_coco import IMAGE, PERSON
from test_data_detections import FLAT
from test_data_detections import PERSON as DETECTED
from test_data_mocap import arm
from test_data_muco_mupots import write_annotations, write_muco, write_mupots_json
from test_data_panoptic import CAMERA

from vp.data.detections import read_detections
from vp.data.mocap import read_bvh
from vp.data.mupots import Mupots
from vp.data.panoptic import read_hmor
from vp.errors import InputError
from vp.lab.check import check_data

COUNT = 500
many = settings(max_examples=COUNT, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
ODD = [None, True, "", "x", "\0", "../../etc", [], {}, [[]], [1, [2]], {"a": 1}, 0, -1, 2, 1.5, -0.0, 1e308, 10**400, 2**70, -(2**63),
       5e-324, float("nan"), float("inf"), "1", ["1", "2", "3"], [None] * 3, [0] * 51, [[0] * 3] * 3, [{}], [True] * 3]  # fmt: skip
DEEP = "deep"  # replaced by a list nested 3000 times, as text


def damage(data, steps):
    """Bytes after a few accidents; a step is (kind, place, value)."""
    data = bytearray(data)
    for kind, place, value in steps:
        if not data:
            break
        at = place % len(data)
        if kind == "flip":
            data[at] ^= 1 + value % 255
        elif kind == "delete":
            del data[at : at + 1 + value % 40]
        elif kind == "double":
            data[at:at] = data[at : at + 1 + value]
        elif kind == "insert":
            data[at:at] = bytes([value])
        else:
            del data[at:]
    return bytes(data)


def places(tree, path=()):
    """Paths of all nodes of a JSON tree."""
    yield path
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def swap(tree, steps):
    """A JSON tree as bytes after odd values were put in, or entries removed or doubled; a step is (kind, place, odd value)."""
    tree, deep = copy.deepcopy(tree), False
    for kind, place, odd in steps:
        found = list(places(tree))
        *path, last = found[place % len(found)] or (None,)
        if last is None:
            continue
        parent = tree
        for key in path:
            parent = parent[key]
        if kind == "remove":
            del parent[last]
        elif kind == "double" and isinstance(parent, list):
            parent.insert(last, copy.deepcopy(parent[last]))
        else:
            parent[last] = copy.deepcopy(odd)
            deep = deep or odd == DEEP
    text = json.dumps(tree)
    return (text.replace(f'"{DEEP}"', "[" * 3000 + "]" * 3000) if deep else text).encode()


place = st.integers(0, 10**6)
accident = st.tuples(st.sampled_from(["flip", "delete", "double", "insert", "cut"]), place, st.integers(0, 255))
oddity = st.tuples(st.sampled_from(["odd", "odd", "odd", "remove", "double"]), place, st.sampled_from([*ODD, DEEP]))
accidents, oddities = st.lists(accident, min_size=1, max_size=4), st.lists(oddity, min_size=1, max_size=3)


def survives(use, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        message = "fine"
        try:
            use(*args)
        except InputError as e:
            message = str(e)
        assert len(message.splitlines()) == 1
        assert len(message) < 1000


# ---- one small valid data set of each format: writer (returns the file to damage) and reader ------------------------------------------


def panoptic(folder):
    seq = folder / "s"
    (seq / "hdPose3d_stage1_coco19").mkdir(parents=True)
    (seq / "calibration_s.json").write_text(json.dumps({"cameras": [CAMERA, CAMERA | {"name": "00_01", "distCoef": [-0.2, 0.2, 0, 0, 0]}]}))
    bodies = [{"id": i, "joints19": [10 * i, -100, 5, 0.5] * 18 + [0, 0, 0, -1]} for i in range(2)]
    (seq / "hdPose3d_stage1_coco19" / "body3DScene_00000001.json").write_text(json.dumps({"version": 0.7, "bodies": bodies}))
    return seq


def calibration(folder):
    return panoptic(folder) / "calibration_s.json"


def poses(folder):
    return panoptic(folder) / "hdPose3d_stage1_coco19" / "body3DScene_00000001.json"


def muco(folder):
    image = {"R": [1, 0, 0, 0, -1, 0, 0, 0, -1], "T": [0, 1000, 0]}
    return write_muco(folder, image) / "MuCo-3DHP.json"


def mupots(folder):
    cam = np.random.default_rng(0).uniform((-900, -800, 2500), (900, 800, 5000), (3, 17, 3)).round().tolist()
    write_mupots_json(folder, cam, "TS4", intrinsic=[1500, 1500, 960, 540])
    return folder / "MuPoTS-3D.json"


def extrinsics(folder):
    mupots(folder)
    cameras = [{"sequence": "TS4", "R": [[0, 1, 0], [0, 0, -1], [1, 0, 0]], "t": [0, 1000, 3000]}]
    (folder / "cameras.json").write_text(json.dumps({"unit": "mm", "cameras": cameras}))
    return folder / "cameras.json"


def matlab(folder):
    write_annotations(folder, frames=2)
    return folder / "TS6" / "annot.mat"


def occlusion(folder):
    return matlab(folder).with_name("occlusion.mat")


def coco(folder):
    content = {"info": {"a": 1}, "images": [IMAGE], "annotations": [PERSON, PERSON | {"iscrowd": 1}]}
    (folder / "person_keypoints_x.json").write_text(json.dumps(content))
    return folder / "person_keypoints_x.json"


def bvh(folder):
    six = "Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    return arm(folder / "a.bvh", ["0 90 0 1 2 3 4 5 6 7 8 9"] * 2, root=six)


def hmor(folder):
    term = {"image_name": "a/160422_x/hdImgs/00_16/00_16_00000100.jpg", "joints_3d_cam": np.full((1, 15, 3), 200.0)}
    term |= {"joints_3d_vis": np.ones((1, 15)), "intrinsics": [[1400, 0, 960], [0, 1400, 540], [0, 0, 1]]}
    term |= {"R": np.eye(3), "t": np.zeros((3, 1), np.float32), "distCoef": [0.1] * 5}
    (folder / "train_cam.pkl").write_bytes(pickle.dumps([term], 4))
    return folder / "train_cam.pkl"


def detections(content):
    def write(folder):
        (folder / "a.json").write_text(json.dumps(content))
        return folder / "a.json"

    return write


RESULT = {"image_id": 1, "category_id": 1, "keypoints": FLAT, "score": 0.5, "bbox": [1, 2, 3, 4]}
OPENPOSE = {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": [1, 2, 0.5] * 25}] * 2}


def read_mupots(folder):
    data = Mupots(folder)
    for sequence in data.sequences:
        for frame in data.frames(sequence):
            data.occluded(sequence, frame)
    list(data.samples())


FORMATS = {
    "panoptic calibration": (calibration, lambda f, _: check_data("panoptic", f)),
    "panoptic poses": (poses, lambda f, _: check_data("panoptic", f)),
    "muco": (muco, lambda f, _: check_data("muco", f)),
    "mupots": (mupots, lambda f, _: check_data("mupots", f)),
    "mupots cameras": (extrinsics, lambda f, _: check_data("mupots", f)),
    "mupots annot.mat": (matlab, lambda f, _: read_mupots(f)),
    "mupots occlusion.mat": (occlusion, lambda f, _: read_mupots(f)),
    "coco": (coco, lambda f, _: check_data("coco", f)),
    "bvh": (bvh, lambda f, _: check_data("bvh", f)),
    "hmor pickle": (hmor, lambda _, p: read_hmor(p)),
    "coco results": (detections([RESULT, RESULT | {"image_id": 2}]), lambda _, p: read_detections(p)),
    "openpose": (detections(OPENPOSE), lambda _, p: read_detections(p)),
    "mmpose": (detections({"meta_info": {}, "instance_info": [{"frame_id": 1, "instances": [DETECTED]}]}), lambda _, p: read_detections(p)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_undamaged_files_are_read(tmp_path, name):
    write, use = FORMATS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write(tmp_path)
        use(tmp_path, path)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_give_one_line(tmp_path, name):
    write, use = FORMATS[name]
    path, tried = write(tmp_path), []
    whole = path.read_bytes()
    tree = json.loads(whole) if path.suffix == ".json" else None
    strategy = accidents.map(lambda s: damage(whole, s))
    if tree is not None:
        strategy = st.one_of(strategy, oddities.map(lambda s: swap(tree, s)))

    @many
    @given(strategy)
    def run(data):
        tried.append(len(data))
        path.write_bytes(data)
        survives(use, tmp_path, path)

    run()
    assert len(tried) >= COUNT


def test_every_cut_of_a_small_file_is_survived(tmp_path):
    """Truncation at each byte, exhaustively, of a motion-capture file and a pickle."""
    for write, use in ((bvh, lambda p: read_bvh(p)), (hmor, read_hmor)):
        path = write(tmp_path)
        whole = path.read_bytes()
        for n in range(len(whole)):
            Path(path).write_bytes(whole[:n])
            survives(use, path)
