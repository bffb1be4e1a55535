"""Joint sets: the paper's 15 and 17 joints, those of the data sets, and masked maps between them.

A joint is its *name*; two skeletons share a joint only if the names agree.  Nothing is derived silently: Panoptic's joint 1 is the
nose and the paper's joint 1 is the head top, so a map from one to the other leaves the head top missing.  `map_joints(...,
derive=True)` adds the two mid-points of `DERIVED` (neck, mid_hip), and only those.

Missing joints are NaN with mask False, never zero.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Skeleton:
    """An ordered joint set.

    joints: names in order ("left" is the person's left);  limbs: pairs of names;  root: name of the root joint or None.
    """

    name: str
    joints: tuple
    limbs: tuple = ()
    root: str | None = "mid_hip"

    def __len__(self):
        return len(self.joints)

    def index(self, joint):
        """Position of a joint by name; KeyError with the known names if the skeleton lacks it."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise KeyError(f"skeleton {self.name} has no joint {joint!r}; it has {', '.join(self.joints)}") from None

    @property
    def root_index(self):
        """Index of the root joint (mid-hip, §5.1); KeyError where the skeleton has none (COCO-17)."""
        return self.index(self.root or "mid_hip")

    @property
    def limb_pairs(self):
        """Limbs as a list of (i, j) index pairs."""
        return [(self.index(a), self.index(b)) for a, b in self.limbs]

    @property
    def flip_pairs(self):
        """(left, right) index pairs, found by name; what a mirror image swaps."""
        right = [("right" + j[4:]) for j in self.joints if j.startswith("left")]
        return [(self.index("left" + r[5:]), self.index(r)) for r in right if r in self.joints]

    @property
    def flip_order(self):
        """(J,) list: joint order after a mirror; applying it twice gives the identity."""
        order = list(range(len(self)))
        for a, b in self.flip_pairs:
            order[a], order[b] = b, a
        return order


def _limbs(*chains):
    """'a b c' -> ((a, b), (b, c)), for several chains."""
    return tuple((a, b) for c in chains for a, b in zip(c.split()[:-1], c.split()[1:], strict=True))


_ARM_LEG = (
    "left_shoulder left_elbow left_wrist left_hip left_knee left_ankle "
    "right_shoulder right_elbow right_wrist right_hip right_knee right_ankle"
).split()

_LIMBS_15 = _limbs(
    "neck head_top", "neck mid_hip", "neck left_shoulder left_elbow left_wrist", "neck right_shoulder right_elbow right_wrist",
    "mid_hip left_hip left_knee left_ankle", "mid_hip right_hip right_knee right_ankle",
)  # fmt: skip

# The paper's joints (published_settings 1.6): 15 for CMU Panoptic, 17 for MuCo-3DHP and MuPoTS-3D.
JOINTS_15 = Skeleton("joints15", ("neck", "head_top", "mid_hip", *_ARM_LEG), _LIMBS_15)
JOINTS_17 = Skeleton("joints17", (*JOINTS_15.joints, "spine", "head"), _LIMBS_15)

# The old Panoptic label format `hdPose3d_stage1` has the paper's 15 joints in the paper's order (joint 1 = head top).
PANOPTIC_15 = Skeleton("panoptic15", JOINTS_15.joints, _LIMBS_15)

# `hdPose3d_stage1_coco19`: joint 1 is the *nose*.
PANOPTIC_19 = Skeleton(
    "panoptic19",
    ("neck", "nose", "mid_hip", *_ARM_LEG, "left_eye", "left_ear", "right_eye", "right_ear"),
    _LIMBS_15[1:] + _limbs("neck nose left_eye left_ear", "nose right_eye right_ear"),
)

COCO_17 = Skeleton(
    "coco17",
    tuple(
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
        "left_hip right_hip left_knee right_knee left_ankle right_ankle".split()
    ),
    _limbs(
        "left_ear left_eye nose right_eye right_ear", "left_wrist left_elbow left_shoulder right_shoulder right_elbow right_wrist",
        "left_shoulder left_hip left_knee left_ankle", "right_shoulder right_hip right_knee right_ankle", "left_hip right_hip",
    ),
    root=None,
)  # fmt: skip

# OpenPose BODY_25 (detector output).
OPENPOSE_25 = Skeleton(
    "openpose25",
    tuple(
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip right_hip right_knee "
        "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe left_small_toe left_heel "
        "right_big_toe right_small_toe right_heel".split()
    ),
    _LIMBS_15[1:] + _limbs("neck nose left_eye left_ear", "nose right_eye right_ear"),
)

# Original order of MuCo-3DHP and MuPoTS-3D annotations.
MUCO_21 = Skeleton(
    "muco21",
    tuple(
        "head_top neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee right_ankle "
        "left_hip left_knee left_ankle mid_hip spine head right_hand left_hand right_toe left_toe".split()
    ),
    _LIMBS_15
    + _limbs("left_wrist left_hand", "right_wrist right_hand", "left_ankle left_toe", "right_ankle right_toe"),
)

# BVH joint -> our name, for the two families of clips at hand.  A BVH joint is the *start* of its bone: "Head" is the base of the
# skull, not the head top, so head_top stays missing; `Neck` and `Neck1` differ, the lower one is ours.
BVH_NAMES = {
    "bandai": {
        "Hips": "mid_hip", "Neck": "neck", "Spine": "spine", "Head": "skull_base",
        "UpperArm_L": "left_shoulder", "LowerArm_L": "left_elbow", "Hand_L": "left_wrist",
        "UpperArm_R": "right_shoulder", "LowerArm_R": "right_elbow", "Hand_R": "right_wrist",
        "UpperLeg_L": "left_hip", "LowerLeg_L": "left_knee", "Foot_L": "left_ankle", "Toes_L": "left_toe",
        "UpperLeg_R": "right_hip", "LowerLeg_R": "right_knee", "Foot_R": "right_ankle", "Toes_R": "right_toe",
    },
    "cmu": {
        "Hips": "mid_hip", "Neck": "neck", "Spine": "spine", "Head": "skull_base",
        "LeftArm": "left_shoulder", "LeftForeArm": "left_elbow", "LeftHand": "left_wrist",
        "RightArm": "right_shoulder", "RightForeArm": "right_elbow", "RightHand": "right_wrist",
        "LeftUpLeg": "left_hip", "LeftLeg": "left_knee", "LeftFoot": "left_ankle", "LeftToeBase": "left_toe",
        "RightUpLeg": "right_hip", "RightLeg": "right_knee", "RightFoot": "right_ankle", "RightToeBase": "right_toe",
    },
}  # fmt: skip

BVH = Skeleton(
    "bvh", tuple(BVH_NAMES["cmu"].values()), _LIMBS_15[1:] + _limbs("neck skull_base", "left_ankle left_toe", "right_ankle right_toe")
)

SKELETONS = {s.name: s for s in (JOINTS_15, JOINTS_17, PANOPTIC_15, PANOPTIC_19, COCO_17, OPENPOSE_25, MUCO_21, BVH)}

# Mid-points that may be derived *on request*: valid only where both parents are.
DERIVED = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}


def map_joints(points, mask, src, dst, derive=False):
    """Re-order joints from one skeleton to another, by name; what `src` lacks is NaN with mask False.

    points: (..., J_src, D) float;  mask: (..., J_src) bool or None (all present);  src, dst: Skeleton.
    derive: also fill `DERIVED` joints that `src` lacks, as mid-points of two present joints.
    Returns points (..., J_dst, D), mask (..., J_dst) bool.
    """
    points = torch.as_tensor(points)
    if points.shape[-2] != len(src):
        raise ValueError(f"points have {points.shape[-2]} joints, skeleton {src.name} has {len(src)}")
    mask = torch.ones(points.shape[:-1], dtype=torch.bool) if mask is None else torch.as_tensor(mask).bool()
    out = points.new_full((*points.shape[:-2], len(dst), points.shape[-1]), float("nan"))
    out_mask = torch.zeros(out.shape[:-1], dtype=torch.bool, device=points.device)
    for j, name in enumerate(dst.joints):
        if name in src.joints:
            i = src.index(name)
            out[..., j, :], out_mask[..., j] = points[..., i, :], mask[..., i]
        elif derive and name in DERIVED and all(p in src.joints for p in DERIVED[name]):
            a, b = (src.index(p) for p in DERIVED[name])
            out[..., j, :], out_mask[..., j] = (points[..., a, :] + points[..., b, :]) / 2, mask[..., a] & mask[..., b]
    return out.masked_fill(~out_mask[..., None], float("nan")), out_mask
