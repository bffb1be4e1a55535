"""Drawing limbs: random numbers and the setting of trunk, head, arms and legs that `vp.world.activities` composes.

A draft is `b` (n, 17, 3), bends in radian; angles handed in are degree, lengths shares of stature, each a number or (n,).
Arms are drawn in states (hanging, gesturing, hand to the face, overhead, ...); legs follow a gait's phase or reach for foot positions
(two-bone inverse kinematics), so that both feet stand where they should.  Ranges are ours ("not in the paper").
"""

import math

import torch

from vp.skeleton import JOINTS_17
from vp.world.body import SHARES, bends_of, swing
from vp.world.poses import rotations

J = {name: i for i, name in enumerate(JOINTS_17.joints)}
SIDES = (("left", 1), ("right", -1))

# ---- drawing numbers, setting joints ---------------------------------------------------------------------------------------------


def uniform(g, n, low, high):
    return low + (high - low) * torch.rand(n, generator=g, device=g.device)


def normal(g, n, mean, sd):
    return mean + sd * torch.randn(n, generator=g, device=g.device).clamp(-2.5, 2.5)


def sign(g, n):
    return torch.where(torch.rand(n, generator=g, device=g.device) < 0.5, 1.0, -1.0)


def pick(g, n, weights):
    """(n,) indices drawn with `weights`."""
    p = torch.tensor(list(weights), device=g.device)
    return torch.multinomial(p, n, replacement=True, generator=g) if n else torch.zeros(0, dtype=torch.long, device=g.device)


def blank(n, g):
    return torch.zeros(n, 17, 3, device=g.device)


def put(b, joint, pitch=0.0, roll=0.0, yaw=0.0):
    for k, degree in enumerate((pitch, roll, yaw)):
        b[:, J[joint], k] = torch.as_tensor(degree, device=b.device) * (math.pi / 180)


def trunk(b, lean, side, twist, pelvis=0.3):
    """Lean forward, to the left, twist to the left (degree, (n,)), shared by pelvis, spine and chest."""
    for joint, share in (("mid_hip", pelvis), ("spine", 0.6 * (1 - pelvis)), ("neck", 0.4 * (1 - pelvis))):
        put(b, joint, -share * lean, -share * side, share * twist if joint != "mid_hip" else 0.0)


def head(b, g, nod=-8.0, turn=25.0):
    n = len(b)
    put(b, "head", normal(g, n, nod, 14), normal(g, n, 0, 7), normal(g, n, 0, turn))


# state -> ranges of the upper arm's elevation from hanging, its azimuth (0 forward, 90 outward, negative across the body), the elbow's
# flexion and the twist (inward positive), in degree
ARM_STATES = {
    "hanging": ((2, 20), (30, 120), (2, 35), (-20, 40)),
    "low": ((5, 35), (-10, 120), (20, 75), (-20, 60)),
    "forearm": ((5, 45), (-10, 90), (65, 120), (-35, 55)),
    "open": ((25, 65), (40, 100), (20, 90), (-70, 10)),
    "forward": ((45, 100), (-20, 40), (0, 70), (-30, 60)),
    "sideways": ((55, 110), (55, 115), (0, 70), (-70, 40)),
    "face": ((30, 90), (-10, 60), (115, 145), (-10, 55)),
    "wave": ((35, 110), (30, 100), (70, 135), (-90, -20)),
    "overhead": ((115, 175), (0, 100), (0, 70), (-40, 40)),
    "pull": ((85, 172), (-5, 80), (20, 130), (-40, 30)),
    "akimbo": ((30, 50), (95, 130), (75, 105), (45, 85)),
    "folded": ((10, 40), (5, 45), (85, 115), (45, 75)),
    "behind": ((15, 50), (130, 178), (5, 70), (-10, 60)),
    "lap": ((5, 35), (0, 40), (35, 85), (0, 50)),
    "down": ((0, 40), (-20, 60), (0, 35), (-20, 40)),
    "brace": ((20, 50), (110, 160), (0, 25), (-30, 20)),
}  # fmt: skip


def ball(b, side, part, e, a, t, upright=0.0):
    """Hip or shoulder from elevation, azimuth and twist (as in ARM_STATES); `upright`: pitch that undoes the trunk's lean."""
    s = dict(SIDES)[side]
    e, a, t, p = (torch.deg2rad(torch.as_tensor(x, device=b.device, dtype=b.dtype).expand(len(b))) for x in (e, s * a, -s * t, upright))
    zero = torch.zeros_like(e)
    d = torch.stack([a.cos() * e.sin(), a.sin() * e.sin(), -e.cos()], -1)
    twist = rotations(torch.stack([zero, zero, t], -1))
    b[:, J[f"{side}_{part}"]] = bends_of(rotations(torch.stack([p, zero, zero], -1)) @ swing(d) @ twist)


def arm(b, side, e, a, f, t, upright=0.0):
    """One arm: `ball` at the shoulder and the elbow's flexion f."""
    ball(b, side, "shoulder", e, a, t, upright)
    put(b, f"{side}_elbow", f)


def arms(b, g, weights, alike=0.5, upright=0.0):
    """Both arms in states drawn with `weights` {state: weight}; with probability `alike` the right arm is in the left one's state."""
    n, names = len(b), list(weights)
    ranges = torch.tensor([ARM_STATES[k] for k in names], device=g.device, dtype=b.dtype)  # state, angle, (low, high)
    left = pick(g, n, weights.values())
    same = torch.rand(n, generator=g, device=g.device) < alike
    right = torch.where(same, left, pick(g, n, weights.values()))
    u = torch.rand(n, 4, generator=g, device=g.device)
    for side, state in (("left", left), ("right", right)):
        low, high = ranges[state].unbind(-1)
        angles = low + (high - low) * u
        mine = torch.rand(n, 4, generator=g, device=g.device)
        u = torch.where(same[:, None], (u + 0.5 * (mine - 0.5)).clamp(0, 1), mine)
        arm(b, side, *angles.unbind(-1), upright=upright)


def bones_of(people, n, b):
    """Thigh, shank, half hip spacing as shares of stature, each (n,)."""
    if people is None:
        return (b.new_full((n,), sum(SHARES[k]) / 2) for k in ("thigh", "shank", "half_hips"))
    o = people.offsets / people.stature[:, None, None]
    return -o[:, J["left_knee"], 2], -o[:, J["left_ankle"], 2], o[:, J["left_hip"], 1]


def leg(b, side, foot, out, people=None):
    """One leg whose ankle reaches for `foot` (n, 3), seen from mid-hip in the untilted body frame; the knee points `out` degree outward."""
    s, n = dict(SIDES)[side], len(b)
    thigh, shank, half = bones_of(people, n, b)
    pelvis = rotations(b[:, J["mid_hip"]])
    v = (pelvis.mT @ foot[:, :, None])[..., 0] - torch.stack([torch.zeros_like(half), s * half, torch.zeros_like(half)], -1)
    reach = torch.minimum(v.norm(dim=-1).clamp(min=0.09), 0.999 * (thigh + shank))
    knee = math.pi - torch.acos(((thigh**2 + shank**2 - reach**2) / (2 * thigh * shank)).clamp(-1, 1))
    tilt = torch.atan2(shank * knee.sin(), thigh + shank * knee.cos())  # thigh ahead of the line from hip to ankle
    zero = torch.zeros_like(knee)
    yaw = torch.stack([zero, zero, s * torch.deg2rad(torch.as_tensor(out, device=b.device, dtype=b.dtype).expand(n))], -1)
    bent = rotations(yaw) @ rotations(torch.stack([tilt, zero, zero], -1))
    b[:, J[f"{side}_hip"]] = bends_of(swing(v / v.norm(dim=-1, keepdim=True)) @ bent)
    b[:, J[f"{side}_knee"], 0] = -knee


def feet(b, g, height, ahead, apart, stagger, out, people=None):
    """Both legs: pelvis `height` above the ankles, feet `ahead` of it, `apart` sideways, the left before the right by `stagger`.

    `height` is meant for legs of mean length (a stretched leg reaches 0.492) and scaled to the person's.
    """
    thigh, shank, _ = bones_of(people, len(b), b)
    height = height * (thigh + shank) / (sum(SHARES["thigh"] + SHARES["shank"]) / 2)
    for side, s in SIDES:
        foot = torch.stack([ahead + s * stagger / 2, s * apart / 2, -height.expand(len(b))], -1)
        leg(b, side, foot, normal(g, len(b), out, 7), people)


def swing_arms(b, g, phase, reach, back, flex, flex_sd):
    """Arms that swing against the legs: forward with the other side's leg."""
    n = len(b)
    for side, s in SIDES:
        c = -s * torch.cos(phase - 0.35)
        sag = 0.5 * (reach - back) + 0.5 * (reach + back) * c + normal(g, n, 0, 6)
        out = normal(g, n, 9, 5).clamp(min=2)
        a = torch.rad2deg(torch.atan2(out, sag))
        f = (normal(g, n, flex, flex_sd) + 12 * c).clamp(0, 140)
        arm(b, side, (sag**2 + out**2).sqrt(), a, f, normal(g, n, 10, 14))


def gait(b, g, phase, hip_amplitude, hip_mean, stance, swing_knee, width, knee_at=0.72, knee_width=0.11, back=False):
    n = len(b)
    for side, s in SIDES:
        cycle = (phase / (2 * math.pi) + (0.0 if s > 0 else 0.5)) % 1.0
        angle = 2 * math.pi * cycle
        bump = sum(torch.exp(-(((cycle - knee_at + k) / knee_width) ** 2)) for k in (-1, 0, 1))
        load = sum(torch.exp(-(((cycle - 0.14 + k) / 0.08) ** 2)) for k in (-1, 0, 1))
        hip = hip_mean + hip_amplitude * torch.cos(angle) + 10 * bump * (swing_knee / 60) + normal(g, n, 0, 3)
        knee = (stance + 12 * load + swing_knee * bump + normal(g, n, 0, 3)).clamp(2, 150)
        lean = -torch.rad2deg(b[:, J["mid_hip"], 0])
        put(b, f"{side}_hip", hip + lean, s * (width + normal(g, n, 0, 2)), s * normal(g, n, 6, 6))
        put(b, f"{side}_knee", -knee)
