"""What of people a camera sees: joints hidden by their own body or by another's, bodies being capsules along the limbs.

Everything is computed number by number (no matrix product, no sum over an axis), so that a scene's answer has the same bits in whatever
batch it is asked for.
"""

import torch

from vp.skeleton import JOINTS_17

LIMBS = JOINTS_17.limb_pairs
# Radius of a limb's capsule as a share of stature.  Ours: about an adult's girth / 2 pi, less where a limb tapers; the trunk is a capsule
# as wide as the chest is deep.
_RADIUS = {"head_top": 0.050, "mid_hip": 0.072, "shoulder": 0.036, "elbow": 0.028, "wrist": 0.022,
           "hip": 0.050, "knee": 0.046, "ankle": 0.030}  # fmt: skip
LIMB_RADIUS = torch.tensor([_RADIUS[b if b in _RADIUS else b.split("_")[1]] for _, b in JOINTS_17.limbs])
SKIN = 0.025  # a ray ends this share of stature before the joint, in the joint's own flesh


def _own_limbs():
    """(17, L) bool: limbs of the own body that do not hide a joint: those that end in it, and those whose flesh it lies in at rest."""
    flesh = {"spine": ["neck mid_hip"], "head": ["neck head_top"], "mid_hip": ["left_hip left_knee", "right_hip right_knee"],
             "left_hip": ["neck mid_hip", "mid_hip right_hip"], "right_hip": ["neck mid_hip", "mid_hip left_hip"]}  # fmt: skip
    return torch.tensor([[j in limb or " ".join(limb) in flesh.get(j, ()) for limb in JOINTS_17.limbs] for j in JOINTS_17.joints])


OWN_LIMBS = _own_limbs()


def in_camera(joints, camera):
    """Joints (B, ..., 3) world mm in the frames of a batch of B cameras: x, y, z (B, ...) mm, dtype of the joints."""
    R, t = camera.R.to(joints), camera.t.to(joints)
    shape = (len(joints),) + (1,) * (joints.ndim - 2)
    x, y, z = joints.unbind(-1)
    return [R[:, k, 0].view(shape) * x + R[:, k, 1].view(shape) * y + R[:, k, 2].view(shape) * z + t[:, k].view(shape) for k in range(3)]


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def hidden(joints, valid, stature, camera):
    """Which joints do bodies hide from the camera: by the own body (B, P, 17) bool, by another person (B, P, 17) bool.

    A joint is hidden if the straight ray from the camera to it, ending SKIN before it, passes through the capsule of a limb
    (LIMB_RADIUS); of the own body, OWN_LIMBS do not count.  Limbs with a missing end hide nothing.
    joints (B, P, 17, 3) world mm, NaN where missing;  valid (B, P, 17);  stature (B, P) mm;  camera: batch of B.
    """
    B, P, J = valid.shape
    cam = in_camera(torch.where(valid[..., None], joints, 0.0), camera)
    length = _dot(cam, cam).sqrt().clamp(min=1.0)
    ray = [(c / length).reshape(B, P * J, 1) for c in cam]
    reach = (length - SKIN * stature[..., None]).clamp(min=0.0).reshape(B, P * J, 1)
    i, j = torch.tensor(LIMBS, device=joints.device).unbind(-1)
    start = [c[:, :, i].reshape(B, 1, -1) for c in cam]
    limb = [c[:, :, j].reshape(B, 1, -1) - a for c, a in zip(cam, start)]
    solid = (valid[:, :, i] & valid[:, :, j]).reshape(B, 1, -1)
    radius = (LIMB_RADIUS.to(joints) * stature[..., None]).reshape(B, 1, -1)
    # nearest points of the ray t d, t in [0, reach], and of the limb a + s e, s in [0, 1]
    de, da = _dot(ray, limb), _dot(ray, start)
    ea, ee, aa = _dot(limb, start), _dot(limb, limb).clamp(min=1e-6), _dot(start, start)
    s = ((de * da - ea) / (ee - de * de).clamp(min=1e-6)).clamp(0, 1)
    t = torch.minimum((da + s * de).clamp(min=0.0), reach)
    s = ((t * de - ea) / ee).clamp(0, 1)
    gap2 = t * (t - 2 * (da + s * de)) + aa + s * (2 * ea + s * ee)
    hit = ((gap2 < radius * radius) & solid).view(B, P, J, P, len(LIMBS))
    own = torch.eye(P, dtype=torch.bool, device=joints.device)
    by_self = (hit.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2) & ~OWN_LIMBS.to(joints.device)).any(-1)
    by_other = (hit.any(-1) & ~own[:, None]).any(-1)
    return by_self & valid, by_other & valid


def seen(joints, valid, stature, camera):
    """Joints in the picture, in front of the camera and hidden by no body, (B, P, 17) bool; joints hidden by another person, likewise.

    Arguments as `hidden`.
    """
    by_self, by_other = hidden(joints, valid, stature, camera)
    uv, _, ok = camera[:, None].project_camera(torch.stack(in_camera(joints, camera), -1))
    return camera.in_image(uv) & ok & valid & ~by_self & ~by_other, by_other
