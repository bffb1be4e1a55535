"""The posing figure: bone lengths, symmetry, contact with the floor, directions of bends, forward kinematics against naive recursion."""

import math

import pytest
import torch

from vp.skeleton import JOINTS_17
from vp.world.poses import PARENT, POSTURES, SOLE, forward_kinematics, person, posture_factor, rest_offsets, rotation

J = JOINTS_17.index


def bone_lengths(joints):
    return torch.stack([(joints[J(j)] - joints[J(p)]).norm() for j, p in PARENT.items() if p])


def random_bends(seed):
    g = torch.Generator().manual_seed(seed)
    return {j: tuple((120 * torch.rand(3, generator=g) - 60).tolist()) for j in JOINTS_17.joints}


def test_the_tree():
    assert set(PARENT) == set(JOINTS_17.joints)
    order = list(PARENT)
    assert all(p is None or order.index(p) < order.index(j) for j, p in PARENT.items())
    assert [j for j, p in PARENT.items() if p is None] == ["mid_hip"]


@pytest.mark.parametrize("posture", POSTURES)
@pytest.mark.parametrize("stature", [1450.0, 1930.0])
def test_posture_keeps_bones_and_stands_on_the_floor(posture, stature):
    joints = person(posture, stature, (300.0, -500.0), 0.8)
    assert joints.shape == (17, 3)
    assert torch.allclose(bone_lengths(joints), rest_offsets(stature).norm(dim=1)[[J(j) for j, p in PARENT.items() if p]])
    assert joints[:, 2].min().item() == pytest.approx(SOLE * stature)
    assert joints[J("mid_hip"), :2].tolist() == pytest.approx([300, -500])
    raised = person(posture, stature, (300.0, -500.0), 0.8, height=400.0)
    assert torch.allclose(raised - joints, torch.tensor([0, 0, 400.0], dtype=joints.dtype))


@pytest.mark.parametrize("posture", [*POSTURES, "random"])
def test_left_and_right_are_mirror_images(posture):
    bends = random_bends(0) if posture == "random" else POSTURES[posture]
    swap = {j: JOINTS_17.joints[i] for j, i in zip(JOINTS_17.joints, JOINTS_17.flip_order, strict=True)}
    mirrored = {swap[j]: (p, -r, -y) for j, (p, r, y) in bends.items()}
    joints = person(bends)
    assert torch.allclose(person(mirrored), joints[JOINTS_17.flip_order] * torch.tensor([1, -1, 1]), atol=1e-9)
    if posture not in ("walking", "random"):
        assert mirrored == bends  # these postures are symmetric


def test_lengths_by_hand():
    """Winter: upper arm 0.186, forearm 0.146, thigh 0.245, shank 0.246, ankle 0.039, shoulders 0.259 wide and 0.818 high."""
    joints = person("standing", 1000.0)

    def length(a, b):
        return (joints[J(a)] - joints[J(b)]).norm().item()

    for side in ("left", "right"):
        chain = [f"{side}_{j}" for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]
        assert [length(chain[0], chain[1]), length(chain[1], chain[2])] == pytest.approx([186, 146])
        assert [length(chain[3], chain[4]), length(chain[4], chain[5])] == pytest.approx([245, 246])
        assert joints[J(chain[5]), 2].item() == pytest.approx(39)
        assert joints[J(chain[0]), 2].item() == pytest.approx(818)
    assert length("left_shoulder", "right_shoulder") == pytest.approx(259)
    assert joints[J("head_top"), 2].item() == pytest.approx(1000)


def test_posture_factor():
    assert posture_factor(person("standing", 1820.0), 1820.0).item() == pytest.approx(1)
    assert posture_factor(person("standing", 1820.0, height=500.0), 1820.0).item() == pytest.approx(1)
    gamma = {p: posture_factor(person(p), 1750.0).item() for p in POSTURES}
    assert gamma["arms up"] > 1.1 > 1 > gamma["walking"] > gamma["sitting"] > gamma["sitting on the floor"] > 0.3
    assert gamma["crouching"] < 0.75
    # by hand, three joints at 100, 1000 and (missing): (1000 - 100) / 1800 + 0.039
    z = torch.tensor([[0, 0, 100.0], [5, 5, 1000.0], [0, 0, math.nan]])
    assert posture_factor(z, 1800.0).item() == pytest.approx(0.539)
    batch = torch.stack([person("standing", 1700.0), person("sitting", 1700.0)])
    assert posture_factor(batch, 1700.0).tolist() == pytest.approx([posture_factor(b, 1700.0).item() for b in batch])


def test_facing_and_sides():
    east, north = person(yaw=0.0), person(yaw=math.pi / 2)
    assert east[J("left_shoulder"), 1] > 0 > east[J("right_shoulder"), 1]  # facing X, the left is Y
    assert north[J("left_shoulder"), 0] < 0 < north[J("right_shoulder"), 0]  # facing Y, the left is -X
    walking = person("walking", yaw=math.pi / 2)
    assert walking[J("left_knee"), 1] > 0  # the left leg is the one ahead
    sitting = person("sitting")
    for side in ("left", "right"):
        hip, knee, ankle, wrist, elbow = (sitting[J(f"{side}_{j}")] for j in ("hip", "knee", "ankle", "wrist", "elbow"))
        assert knee[0] > hip[0] + 300  # thighs forward
        assert ankle[2] < knee[2] - 300  # shanks down
        assert wrist[0] > elbow[0]  # forearms forward
    bending = person("bending")
    assert bending[J("head_top"), 0] > 400  # the trunk goes forward
    assert bending[J("left_ankle"), 0].abs() < 1e-6  # the legs stay


def test_rotation_by_hand():
    down = torch.tensor([0, 0, -1.0], dtype=torch.float64)
    assert (rotation(90, 0, 0) @ down).tolist() == pytest.approx([1, 0, 0])  # pitch swings what hangs forward
    assert (rotation(0, 90, 0) @ down).tolist() == pytest.approx([0, 1, 0])  # roll swings it to the left
    forward = torch.tensor([1.0, 0, 0], dtype=torch.float64)
    assert (rotation(0, 0, 90) @ forward).tolist() == pytest.approx([0, 1, 0])  # yaw turns left
    R = rotation(20, -35, 70)
    assert torch.allclose(R @ R.T, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(R).item() == pytest.approx(1)
    assert torch.allclose(R, rotation(0, 0, 70) @ rotation(0, -35, 0) @ rotation(20, 0, 0))


def test_forward_kinematics_against_naive_recursion():
    offsets = rest_offsets(1750.0)
    bends = random_bends(3)
    R = {j: rotation(*bends[j]) for j in JOINTS_17.joints}

    def turn(joint):
        return R[joint] if PARENT[joint] is None else turn(PARENT[joint]) @ R[joint]

    def position(joint):
        parent = PARENT[joint]
        return torch.zeros(3, dtype=torch.float64) if parent is None else position(parent) + turn(parent) @ offsets[J(joint)]

    rotations = torch.stack([R[j] for j in JOINTS_17.joints])
    out = forward_kinematics(offsets, rotations)
    assert torch.allclose(out, torch.stack([position(j) for j in JOINTS_17.joints]))
    # batched
    eye = torch.eye(3, dtype=torch.float64).expand(17, 3, 3)
    both = forward_kinematics(torch.stack([offsets, 2 * offsets]), torch.stack([rotations, eye]))
    assert torch.allclose(both[0], out)
    assert torch.allclose(both[1], forward_kinematics(2 * offsets, eye))
