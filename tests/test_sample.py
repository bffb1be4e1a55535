"""The exchange type: shapes are checked, missing joints stay missing, projection and re-ordering keep masks."""

import math

import pytest
import torch

from vp import Camera, Sample
from vp.skeleton import COCO_17, JOINTS_15, PANOPTIC_19

CAMERA = Camera.look_at((0.0, -4000.0, 1500.0), (0.0, 0.0, 1000.0))


def sample(**changes):
    g = torch.Generator().manual_seed(0)
    joints = torch.randn(2, 19, 3, generator=g, dtype=torch.float64) * 300 + torch.tensor([0, 0, 1000.0])
    valid = torch.ones(2, 19, dtype=torch.bool)
    joints[0, 5], valid[0, 5] = math.nan, False
    fields = {"skeleton": PANOPTIC_19, "name": "panoptic/x/00_16/1", "joints": joints, "valid": valid, "camera": CAMERA}
    return Sample(**fields | {"size": (1920, 1080)} | changes)


def test_length():
    assert len(sample()) == 2
    assert len(Sample(PANOPTIC_19, "nothing known")) == 0
    px = torch.zeros(3, 17, 2, dtype=torch.float64)
    assert len(Sample(COCO_17, "2D only", joints_px=px, valid_px=torch.ones(3, 17, dtype=torch.bool))) == 3
    empty = torch.zeros(0, 17, 2, dtype=torch.float64)
    assert len(Sample(COCO_17, "empty scene", joints_px=empty, valid_px=torch.zeros(0, 17, dtype=torch.bool))) == 0


def test_wrong_shapes_and_unmasked_nan_are_refused():
    s = sample()
    for changes in (*({"joints": x} for x in (s.joints[:, :18], s.joints[0], s.joints[..., :2])), {"valid": s.valid[:1]}, {"valid": None}):
        with pytest.raises(ValueError, match="00_16"):
            sample(**changes)
    with pytest.raises(ValueError, match="not finite"):
        sample(valid=torch.ones(2, 19, dtype=torch.bool))


def test_projection_is_the_cameras_and_keeps_the_mask():
    s = sample()
    behind = s.joints.clone()
    behind[1, 3] = torch.tensor([0.0, -9000.0, 1500.0])
    s = sample(joints=behind)
    uv, depth, valid = s.project()
    expected = s.valid.clone()
    expected[1, 3] = False
    assert torch.equal(valid, expected)
    assert torch.equal(uv[valid], CAMERA.project(behind[valid][None])[0][0])
    assert uv[~valid].isnan().all()
    assert depth[1, 3] < 0


def test_other_joint_order():
    px = torch.arange(2 * 19 * 2, dtype=torch.float64).reshape(2, 19, 2)
    s = sample(joints_px=px, valid_px=torch.ones(2, 19, dtype=torch.bool), score=px[..., 0] / 100, ids=(7, 8))
    ours = s.to(JOINTS_15)
    assert ours.skeleton is JOINTS_15
    assert ours.joints.shape == (2, 15, 3)
    assert ours.valid[0].tolist() == [True, False, True, True, True, False] + [True] * 9  # 1: nose is not head top; 5 was missing
    assert ours.valid_px[0].tolist() == [True, False] + [True] * 13
    assert torch.equal(ours.joints_px[:, 2], px[:, 2])
    assert ours.score[:, 2].tolist() == (px[:, 2, 0] / 100).tolist()
    assert ours.score[:, 1].isnan().all()
    assert (ours.ids, ours.camera, ours.size, ours.name) == ((7, 8), CAMERA, (1920, 1080), s.name)
    assert s.joints.shape == (2, 19, 3)


def test_visible_joints_follow_the_map():
    visible = torch.zeros(1, 17, dtype=torch.bool)
    visible[0, COCO_17.index("left_shoulder")] = visible[0, COCO_17.index("right_shoulder")] = visible[0, COCO_17.index("left_hip")] = True
    px, known = torch.zeros(1, 17, 2, dtype=torch.float64), torch.ones(1, 17, dtype=torch.bool)
    mapped = Sample(COCO_17, "a", joints_px=px, valid_px=known, visible=visible).to(JOINTS_15, derive=True)
    names = {JOINTS_15.joints[j] for j in range(15) if mapped.visible[0, j]}
    assert names == {"neck", "left_shoulder", "right_shoulder", "left_hip"}, "mid_hip needs both hips"
