"""Activities that hold on with the hands: climbing and hanging; the same interface as in `vp.world.activities`."""

import math

import torch

from vp.world.body import bends_of, limit, pose
from vp.world.limbs import SIDES, J, blank, head, leg, normal, put, sign, trunk, uniform
from vp.world.poses import rest_offsets, rotations


def shape(b, people=None):
    """Joints (n, 17, 3) of a draft, shares of stature, mid-hip at the origin, not turned."""
    offsets = rest_offsets(1.0).to(b).expand(len(b), -1, -1) if people is None else people.offsets / people.stature[:, None, None]
    return pose(offsets, b)


# Shares of body mass, and where between two joints each lies (Winter 2009, table 4.1; hand counts with forearm, foot with shank).
_LIMB_MASS = ((0.028, "shoulder", "elbow", 0.436), (0.022, "elbow", "wrist", 0.682),
              (0.100, "hip", "knee", 0.433), (0.061, "knee", "ankle", 0.606))  # fmt: skip
_MASS = [(0.497, "mid_hip", "neck", 0.5), (0.081, "neck", "head", 1.0),
         *((m, f"{s}_{a}", f"{s}_{b}", k) for s, _ in SIDES for m, a, b, k in _LIMB_MASS)]  # fmt: skip


def centre_of_mass(joints):
    """(n, 3) of joints (n, 17, 3)."""
    return sum(m * torch.lerp(joints[:, J[a]], joints[:, J[b]], k) for m, a, b, k in _MASS)


def hold(b, side, hand, elbow, people=None):
    """One arm whose wrist reaches for `hand` (n, 3), seen from mid-hip in the untilted body frame; the elbow points along `elbow` (n, 3).

    A hand out of reach is reached for with the arm nearly straight.  Trunk first: the shoulder is where the trunk has it.
    """
    chest = rotations(b[:, J["mid_hip"]]) @ rotations(b[:, J["spine"]]) @ rotations(b[:, J["neck"]])
    for _ in range(3):  # the collarbone rises with the arm
        x = shape(b, people)
        start, middle, end = (x[:, J[f"{side}_{p}"]] for p in ("shoulder", "elbow", "wrist"))
        upper, fore = (middle - start).norm(dim=-1), (end - middle).norm(dim=-1)
        v = hand - start
        r = torch.minimum(v.norm(dim=-1).clamp(min=0.1), 0.99 * (upper + fore))
        v = v / v.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        aside = elbow - (elbow * v).sum(-1, keepdim=True) * v
        aside = aside / aside.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        c = ((upper**2 + r**2 - fore**2) / (2 * upper * r)).clamp(-1, 1)[:, None]
        upper_arm = c * v + (1 - c * c).sqrt() * aside  # along the upper arm
        ahead = v - (v * upper_arm).sum(-1, keepdim=True) * upper_arm  # the side to which the elbow folds
        ahead = ahead / ahead.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        b[:, J[f"{side}_shoulder"]] = bends_of(chest.mT @ torch.stack([ahead, torch.cross(ahead, upper_arm, dim=-1), -upper_arm], -1))
        b[:, J[f"{side}_elbow"], 0] = math.pi - torch.acos(((upper**2 + fore**2 - r**2) / (2 * upper * fore)).clamp(-1, 1))


def climbing(n, g, people=None):
    """On a ladder or a wall ahead: hands and feet hold on to one upright plane, one foot a step up, mostly with the other side's hand."""
    b, s = blank(n, g), sign(g, n)
    lean = normal(g, n, 5, 6)
    trunk(b, lean, normal(g, n, 0, 4), normal(g, n, 0, 7), 0.5)
    head(b, g, 14, 18)
    plane, narrow = uniform(g, n, 0.20, 0.30), uniform(g, n, 0, 1) < 0.6  # ahead of mid-hip; a ladder, else a wall
    low, step = uniform(g, n, 0.36, 0.485), uniform(g, n, 0.08, 0.28)
    for side, one in SIDES:
        up = torch.where(s == one, step, torch.zeros_like(step))
        apart = torch.where(narrow, uniform(g, n, 0.04, 0.09), uniform(g, n, 0.06, 0.20))
        foot = torch.stack([plane - 0.09, one * apart, up - low], -1)  # toes on the rung
        leg(b, side, foot, torch.where(narrow, 6.0, 22.0) + 60 * up + normal(g, n, 0, 6), people)
    high = torch.where(uniform(g, n, 0, 1) < 0.8, -s, s)
    neck = shape(b, people)[:, J["neck"]]
    most = (0.29**2 - (plane - neck[:, 0]) ** 2).clamp(min=0).sqrt()  # as high as an arm reaches
    for side, one in SIDES:
        up = torch.where(high == one, uniform(g, n, 0.10, 0.32), uniform(g, n, -0.12, 0.14))
        apart = torch.where(narrow, uniform(g, n, 0.07, 0.13), uniform(g, n, 0.06, 0.26))
        elbow = torch.stack([-0.2 * torch.ones_like(up), one * uniform(g, n, 0.1, 0.8), -torch.ones_like(up)], -1)
        hold(b, side, torch.stack([plane, one * apart, neck[:, 2] + up.minimum(most)], -1), elbow, people)
    return limit(b)


def hanging(n, g, people=None):
    """Hanging from a bar, arms stretched or pulled up, legs dangling, swung back or drawn up; the body hangs straight below the hands."""
    b = blank(n, g)
    drawn, fold, apart = uniform(g, n, -25, 135), uniform(g, n, 0, 1), uniform(g, n, 0, 1) ** 2  # thighs, knees; legs alike .. apart
    curl, back = 0.4 * uniform(g, n, 0, 1) ** 2 * drawn.clamp(min=0), uniform(g, n, 0.1, 0.6) * drawn  # back rounded, body tilted back
    trunk(b, curl + normal(g, n, 2, 10), normal(g, n, 0, 4), normal(g, n, 0, 8), 0.0)
    put(b, "mid_hip", (back + 0.7 * curl).clamp(max=56) + normal(g, n, 0, 6), normal(g, n, 0, 4))
    head(b, g, 0, 18)
    for side, one in SIDES:
        hip = (drawn + (8 + 40 * apart) * normal(g, n, 0, 1)).clamp(-35, 145)
        bent = torch.lerp(fold, uniform(g, n, 0, 1), 0.35 + 0.65 * apart)
        put(b, f"{side}_hip", hip, one * normal(g, n, 4, 6), one * normal(g, n, 4, 8))
        put(b, f"{side}_knee", -(bent * (75 + 0.5 * hip.clamp(min=0)) + 4))
    reach, grip, elbow = 0.34 * uniform(g, n, 0.12, 1) ** 0.5, uniform(g, n, 0.06, 0.22), uniform(g, n, 0, 1)
    for _ in range(2):  # the arms count in the centre of mass
        x = shape(b, people)
        bar = centre_of_mass(x)[:, 0] + normal(g, n, 0, 0.04)
        away = (bar - x[:, J["neck"], 0]).clamp(-0.8 * reach, 0.8 * reach)
        above = x[:, J["neck"], 2] + (reach**2 - away**2).sqrt()
        for side, one in SIDES:
            out = torch.stack([0.6 * elbow, one * (1.1 - elbow), -0.6 * torch.ones_like(bar)], -1)
            hold(b, side, torch.stack([x[:, J["neck"], 0] + away, one * grip, above], -1), out, people)
    return limit(b)
