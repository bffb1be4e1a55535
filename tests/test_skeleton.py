"""Joint orders, flips and maps against literals typed from the published settings (1.6) and the data sets' own documentation."""

import math

import pytest
import torch

from vp.skeleton import (
    BVH_NAMES,
    COCO_17,
    DERIVED,
    JOINTS_15,
    JOINTS_17,
    MUCO_21,
    OPENPOSE_25,
    PANOPTIC_15,
    PANOPTIC_19,
    SKELETONS,
    map_joints,
)

# "0 neck, 1 head top, 2 mid-hip, 3 l-shoulder, ..." (published settings 1.6)
ORDER_17 = [
    "neck", "head_top", "mid_hip", "left_shoulder", "left_elbow", "left_wrist", "left_hip", "left_knee", "left_ankle", "right_shoulder",
    "right_elbow", "right_wrist", "right_hip", "right_knee", "right_ankle", "spine", "head",
]  # fmt: skip
LIMBS = [(0, 1), (0, 2), (0, 3), (3, 4), (4, 5), (0, 9), (9, 10), (10, 11), (2, 6), (2, 12), (6, 7), (7, 8), (12, 13), (13, 14)]
FLIPS = [(3, 9), (4, 10), (5, 11), (6, 12), (7, 13), (8, 14)]
# MuCo / MuPoTS: "head top, neck, r-shoulder, ..." (1.6)
ORDER_21 = [
    "head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle",
    "left_hip", "left_knee", "left_ankle", "mid_hip", "spine", "head", "right_hand", "left_hand", "right_toe", "left_toe",
]  # fmt: skip
MUCO_INDEX = [1, 0, 14, 5, 6, 7, 11, 12, 13, 2, 3, 4, 8, 9, 10, 15, 16]
# COCO keypoints as in every COCO annotation file ("categories"[0]["keypoints"])
ORDER_COCO = [
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
    "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
]  # fmt: skip
# CMU Panoptic, coco19: 0 Neck, 1 Nose, 2 BodyCenter, 3 lShoulder ... 14 rAnkle, 15 lEye, 16 lEar, 17 rEye, 18 rEar
ORDER_19 = ["neck", "nose", *ORDER_17[2:15], "left_eye", "left_ear", "right_eye", "right_ear"]


def points(n, D=3, lead=()):
    return torch.arange(math.prod(lead) * n * D, dtype=torch.float64).reshape(*lead, n, D)


def test_orders():
    assert list(JOINTS_15.joints) == list(PANOPTIC_15.joints) == ORDER_17[:15]
    assert list(JOINTS_17.joints) == ORDER_17
    assert list(MUCO_21.joints) == ORDER_21
    assert list(COCO_17.joints) == ORDER_COCO
    assert list(PANOPTIC_19.joints) == ORDER_19
    assert [s.root_index for s in (JOINTS_15, JOINTS_17, PANOPTIC_15, PANOPTIC_19, MUCO_21)] == [2, 2, 2, 2, 14]
    some = {"nose": 0, "neck": 1, "right_wrist": 4, "left_wrist": 7, "mid_hip": 8, "left_ankle": 14, "right_heel": 24}
    assert {j: OPENPOSE_25.index(j) for j in some} == some
    assert {s.name: len(s) for s in SKELETONS.values()} == {
        "joints15": 15, "joints17": 17, "panoptic15": 15, "panoptic19": 19, "coco17": 17, "openpose25": 25, "muco21": 21, "bvh": 18,
    }  # fmt: skip


def test_limbs_and_flips():
    for skeleton in (JOINTS_15, JOINTS_17):
        assert {frozenset(p) for p in skeleton.limb_pairs} == {frozenset(p) for p in LIMBS}
        assert len(skeleton.limb_pairs) == len(LIMBS)
        assert skeleton.flip_pairs == FLIPS
    assert COCO_17.flip_pairs == [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)]
    assert MUCO_21.flip_pairs == [(5, 2), (6, 3), (7, 4), (11, 8), (12, 9), (13, 10), (18, 17), (20, 19)]


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_every_skeleton_is_sound(skeleton):
    J = len(skeleton)
    assert len(set(skeleton.joints)) == J
    assert all(0 <= i < J and 0 <= j < J and i != j for i, j in skeleton.limb_pairs)
    sided = [j for j in skeleton.joints if j.startswith(("left_", "right_"))]
    assert 2 * len(skeleton.flip_pairs) == len(sided)
    order = skeleton.flip_order
    assert [order[i] for i in order] == list(range(J))
    flipped = [skeleton.joints[i] for i in order]
    for a, b in zip(skeleton.joints, flipped, strict=True):
        assert a == b if a not in sided else {a, b} == {f"left_{a.split('_', 1)[1]}", f"right_{a.split('_', 1)[1]}"}
    out, mask = map_joints(points(J), None, skeleton, skeleton)
    assert torch.equal(out, points(J))
    assert mask.all()


def test_unknown_joints():
    with pytest.raises(KeyError, match="coco17 has no joint 'mid_hip'"):
        _ = COCO_17.root_index
    with pytest.raises(KeyError, match="toe"):
        JOINTS_15.index("toe")
    with pytest.raises(ValueError, match="16 joints"):
        map_joints(points(16), None, JOINTS_15, JOINTS_17)


def test_muco_to_ours():
    for J, skeleton in ((15, JOINTS_15), (17, JOINTS_17)):
        out, mask = map_joints(points(21, lead=(2,)), None, MUCO_21, skeleton)
        assert torch.equal(out, points(21, lead=(2,))[:, MUCO_INDEX[:J]])
        assert mask.all()
        assert mask.shape == (2, J)


def test_nose_is_not_head_top():
    out, mask = map_joints(points(19), None, PANOPTIC_19, JOINTS_15)
    assert mask.tolist() == [True, False] + [True] * 13
    assert out[1].isnan().all()
    assert torch.equal(out[[0, *range(2, 15)]], points(19)[[0, *range(2, 15)]])
    assert map_joints(points(19), None, PANOPTIC_19, JOINTS_15, derive=True)[1].tolist() == mask.tolist()  # not even on request
    assert map_joints(points(15), None, PANOPTIC_15, JOINTS_15)[1].all()  # the older format does have the head top
    out, mask = map_joints(points(15), None, JOINTS_15, PANOPTIC_19)
    assert mask.tolist() == [True, False] + [True] * 13 + [False] * 4


def test_derive_only_on_request():
    assert set(DERIVED) == {"neck", "mid_hip"}
    uv, mask = points(17, 2), torch.ones(17, dtype=torch.bool)
    out, ok = map_joints(uv, mask, COCO_17, JOINTS_15)
    assert not ok[[0, 1, 2]].any()
    assert ok[3:].all()
    out, ok = map_joints(uv, mask, COCO_17, JOINTS_15, derive=True)
    assert ok.tolist() == [True, False, True] + [True] * 12
    assert out[0].tolist() == [11, 12]  # shoulders 5 (10, 11) and 6 (12, 13)
    assert out[2].tolist() == [23, 24]  # hips 11 (22, 23) and 12 (24, 25)
    mask[5] = False  # one parent missing
    out, ok = map_joints(uv, mask, COCO_17, JOINTS_15, derive=True)
    assert ok.tolist() == [False, False, True, False] + [True] * 11
    assert out[[0, 1, 3]].isnan().all()
    # a skeleton that has the joint keeps its own
    assert torch.equal(map_joints(points(15), None, JOINTS_15, JOINTS_15, derive=True)[0], points(15))


def test_masked_joints_become_nan():
    mask = torch.ones(2, 15, dtype=torch.bool)
    mask[0, 4], mask[1] = False, False
    before = points(15, lead=(2,))
    out, ok = map_joints(before, mask, JOINTS_15, JOINTS_17)
    assert torch.equal(ok, torch.cat([mask, torch.zeros(2, 2, dtype=torch.bool)], 1))
    assert out[~ok].isnan().all()
    assert torch.equal(out[ok], before[mask])
    assert before.isfinite().all()  # the input is left alone


def test_bvh_names():
    for names in BVH_NAMES.values():
        assert "head_top" not in names.values()  # a BVH "Head" is the base of the skull
        assert len(set(names.values())) == len(names)
        sided = [(bvh, ours) for bvh, ours in names.items() if ours.startswith(("left", "right"))]
        assert all(("left" if bvh.startswith("Left") or bvh.endswith("_L") else "right") == ours.split("_")[0] for bvh, ours in sided)
    assert BVH_NAMES["bandai"]["Hips"] == BVH_NAMES["cmu"]["Hips"] == "mid_hip"
    assert BVH_NAMES["bandai"]["Foot_L"] == BVH_NAMES["cmu"]["LeftFoot"] == "left_ankle"
    assert BVH_NAMES["bandai"]["UpperArm_R"] == BVH_NAMES["cmu"]["RightArm"] == "right_shoulder"
