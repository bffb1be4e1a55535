"""A posed person: 17 joints on a tree, bone lengths as shares of stature, joint rotations as angles.

Body frame: X forward (the way the person faces), Y to the person's left, Z up, origin at mid-hip; mm.  The rest pose stands upright
with the arms hanging.  Segment lengths are those of Drillis & Contini (1966) as printed in Winter, *Biomechanics and Motor Control of
Human Movement* (4th ed. 2009, fig. 4.1), as shares of stature; the spacing of the hip joint centres and the spine point are ours.
"""

import math

import torch

from vp.skeleton import JOINTS_17

SOLE = 0.039  # ankle joint above the ground, share of stature (Winter fig. 4.1)

# parent of each joint in the order of JOINTS_17; a joint comes after its parent in TREE
PARENT = {
    "mid_hip": None, "spine": "mid_hip", "neck": "spine", "head": "neck", "head_top": "head",
    "left_shoulder": "neck", "left_elbow": "left_shoulder", "left_wrist": "left_elbow",
    "right_shoulder": "neck", "right_elbow": "right_shoulder", "right_wrist": "right_elbow",
    "left_hip": "mid_hip", "left_knee": "left_hip", "left_ankle": "left_knee",
    "right_hip": "mid_hip", "right_knee": "right_hip", "right_ankle": "right_knee",
}  # fmt: skip

# joint position relative to its parent in the rest pose, as a share of stature (X forward, Y left, Z up)
_REST = {
    "mid_hip": (0, 0, 0), "spine": (0, 0, 0.144), "neck": (0, 0, 0.144),  # 0.530 + 0.288 = 0.818, shoulder height
    "head": (0, 0, 0.118), "head_top": (0, 0, 0.064),  # 0.936 eye height, 1.000
    "left_shoulder": (0, 0.1295, 0), "left_elbow": (0, 0, -0.186), "left_wrist": (0, 0, -0.146),
    "left_hip": (0, 0.05, 0), "left_knee": (0, 0, -0.245), "left_ankle": (0, 0, -0.246),
}  # fmt: skip
for _j, (_x, _y, _z) in list(_REST.items()):
    if _j.startswith("left"):
        _REST["right" + _j[4:]] = (_x, -_y, _z)

# Postures as bends in degree: joint -> (pitch, roll, yaw) of everything below it; positive pitch swings the limb below forward
# (and the trunk above backward), positive roll swings it to the person's left, yaw turns it left.
POSTURES = {
    "standing": {},
    "arms up": {"left_shoulder": (175, 0, 0), "right_shoulder": (175, 0, 0)},
    "walking": {"left_hip": (28, 0, 0), "left_knee": (-10, 0, 0), "right_hip": (-18, 0, 0), "right_knee": (-30, 0, 0),
                "left_shoulder": (-25, 0, 0), "right_shoulder": (25, 0, 0), "left_elbow": (20, 0, 0), "right_elbow": (30, 0, 0)},
    "bending": {"mid_hip": (-70, 0, 0), "left_hip": (70, 0, 0), "right_hip": (70, 0, 0),
                "left_shoulder": (70, 0, 0), "right_shoulder": (70, 0, 0)},
    "sitting": {"left_hip": (88, 0, 0), "right_hip": (88, 0, 0), "left_knee": (-86, 0, 0), "right_knee": (-86, 0, 0),
                "left_shoulder": (25, 0, 0), "right_shoulder": (25, 0, 0), "left_elbow": (55, 0, 0), "right_elbow": (55, 0, 0)},
    "crouching": {"mid_hip": (-35, 0, 0), "left_hip": (150, 0, 0), "right_hip": (150, 0, 0),
                  "left_knee": (-145, 0, 0), "right_knee": (-145, 0, 0),
                  "left_shoulder": (60, 0, 0), "right_shoulder": (60, 0, 0), "left_elbow": (40, 0, 0), "right_elbow": (40, 0, 0)},
    "sitting on the floor": {"mid_hip": (10, 0, 0), "left_hip": (78, 8, 0), "right_hip": (78, -8, 0),
                             "left_knee": (-8, 0, 0), "right_knee": (-8, 0, 0),
                             "left_shoulder": (-35, 0, 0), "right_shoulder": (-35, 0, 0)},
}  # fmt: skip


def rest_offsets(stature):
    """Bone vectors (17, 3) mm of a person of `stature` mm in the rest pose, each joint relative to its parent."""
    return torch.tensor([_REST[j] for j in JOINTS_17.joints], dtype=torch.float64) * stature


def rotation(pitch, roll, yaw):
    """Rotation matrix (3, 3) of a bend in degree: pitch about -Y (limbs swing forward), roll about X, yaw about Z."""
    (p, r, y) = (math.radians(a) for a in (pitch, roll, yaw))
    Ry = torch.tensor([[math.cos(p), 0, -math.sin(p)], [0, 1, 0], [math.sin(p), 0, math.cos(p)]], dtype=torch.float64)
    Rx = torch.tensor([[1, 0, 0], [0, math.cos(r), -math.sin(r)], [0, math.sin(r), math.cos(r)]], dtype=torch.float64)
    Rz = torch.tensor([[math.cos(y), -math.sin(y), 0], [math.sin(y), math.cos(y), 0], [0, 0, 1]], dtype=torch.float64)
    return Rz @ Rx @ Ry


def rotations(bends):
    """`rotation` for a batch, in radian: bends (..., 3) = (pitch, roll, yaw) -> (..., 3, 3), any dtype and device; differentiable."""
    (cp, cr, cy), (sp, sr, sy) = bends.cos().unbind(-1), bends.sin().unbind(-1)
    rows = [cy * cp + sy * sr * sp, -sy * cr, -cy * sp + sy * sr * cp, sy * cp - cy * sr * sp, cy * cr, -sy * sp - cy * sr * cp]
    return torch.stack([*rows, cr * sp, sr, cr * cp], -1).unflatten(-1, (3, 3))


def forward_kinematics(offsets, rotations):
    """Joint positions from bone vectors (..., 17, 3) mm and joint rotations (..., 17, 3, 3): (..., 17, 3) mm, mid-hip at the origin.

    A joint's rotation turns everything beyond it: x_j = x_parent + G_parent offset_j, G_j = G_parent R_j.
    """
    position, turn = {}, {}
    for name, parent in PARENT.items():
        j = JOINTS_17.index(name)
        if parent is None:
            position[name], turn[name] = torch.zeros_like(offsets[..., j, :]), rotations[..., j, :, :]
        else:
            position[name] = position[parent] + (turn[parent] @ offsets[..., j, :, None])[..., 0]
            turn[name] = turn[parent] @ rotations[..., j, :, :]
    return torch.stack([position[name] for name in JOINTS_17.joints], -2)


def person(posture="standing", stature=1750.0, xy=(0.0, 0.0), yaw=0.0, height=0.0):
    """A posed person (17, 3) mm with the lowest body part on the floor.

    posture: a name of POSTURES or a dict joint -> (pitch, roll, yaw) in degree;  stature mm;  xy: where mid-hip stands, mm;
    yaw: facing direction, radian;  height: of the supporting surface, mm.
    """
    bends = POSTURES[posture] if isinstance(posture, str) else posture
    rotations = torch.stack([rotation(*bends.get(j, (0, 0, 0))) for j in JOINTS_17.joints])
    joints = forward_kinematics(rest_offsets(stature), rotations) @ rotation(0, 0, math.degrees(yaw)).T
    joints[:, 2] += height + SOLE * stature - joints[:, 2].min()
    joints[:, :2] += torch.tensor(xy, dtype=torch.float64)
    return joints


def posture_factor(joints, stature):
    """γ = h_pose / h_real (§2): extent perpendicular to the floor over stature.  joints (..., J, 3) mm, NaN where missing -> (...).

    The sole below the ankle counts with the share SOLE, so that an upright person has γ = 1.
    """
    z = joints[..., 2]
    missing = torch.isnan(z)
    top = z.masked_fill(missing, -math.inf).amax(-1)
    bottom = z.masked_fill(missing, math.inf).amin(-1)
    return (top - bottom) / stature + SOLE
