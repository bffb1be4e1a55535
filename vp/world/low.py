"""Activities near the floor: bending, sitting, crouching, kneeling, lying; the same interface as in `vp.world.activities`."""

import torch

from vp.world.body import SKIN, limit
from vp.world.limbs import SIDES, J, arm, arms, ball, blank, bones_of, feet, head, leg, normal, pick, put, sign, trunk, uniform
from vp.world.poses import SOLE

BUTTOCK = float(SKIN[J["left_hip"]])  # hip joint above what one sits on, share of stature
SEAT_MM = (400.0, 500.0)


def _lean_over(b, g, people, lean, pelvis, height, ahead, stride=0.1, out=12.0):
    n = len(b)
    trunk(b, lean, normal(g, n, 0, 6), normal(g, n, 0, 10), pelvis)
    head(b, g, 12, 18)
    feet(b, g, height, ahead, uniform(g, n, 0.07, 0.24), normal(g, n, 0, stride), out, people)


def bending(n, g, people=None):
    """Bending forward, from a bow to picking something up; arms towards the floor, at the sides or on the knees."""
    b, depth = blank(n, g), uniform(g, n, 0, 1)
    lean = 20 + 95 * depth + normal(g, n, 0, 6)
    bent = uniform(g, n, 0, 1) ** 2
    _lean_over(b, g, people, lean, uniform(g, n, 0.35, 0.6), 0.487 - 0.16 * bent * depth, 0.03 + 0.10 * depth)
    states = {"hanging": 0.3, "down": 0.3, "low": 0.15, "lap": 0.1, "forearm": 0.1, "forward": 0.05}
    arms(b, g, states, 0.8, 0.9 * lean * uniform(g, n, 0, 1) ** 0.5)
    return limit(b)


def sitting(n, g, people=None):
    """Sitting on a chair of 400 to 500 mm: feet ahead, tucked in, one leg stretched or over the other; any gesture of the arms."""
    b = blank(n, g)
    stature = torch.full((n,), 1700.0, device=g.device) if people is None else people.stature
    lean = normal(g, n, 3, 10)
    trunk(b, lean, normal(g, n, 0, 5), normal(g, n, 0, 9), 0.6)
    head(b, g, -8, 28)
    hip = torch.minimum(uniform(g, n, *SEAT_MM) / stature, torch.full_like(stature, 0.29)) + BUTTOCK  # children: lower chairs
    ahead, crossed = normal(g, n, 0.27, 0.06).clamp(0.10, 0.42), (uniform(g, n, 0, 1) < 0.12) * sign(g, n)
    thigh, shank, _ = bones_of(people, n, b)
    reach = 0.96 * ((thigh + shank) ** 2 - (hip - SOLE) ** 2).clamp(min=0.01).sqrt()
    for side, one in SIDES:
        over = crossed == one
        x = torch.where(over, ahead + uniform(g, n, 0.06, 0.14), ahead + normal(g, n, 0, 0.04))
        y = torch.where(over, -one * uniform(g, n, 0.06, 0.10), one * uniform(g, n, 0.02, 0.15))
        z = torch.where(over, uniform(g, n, 0.11, 0.16), torch.zeros_like(x))
        out = torch.where(over, -8.0 + 0 * x, normal(g, n, 6, 9))
        leg(b, side, torch.stack([x.minimum(reach), y, z + SOLE - hip], -1), out, people)
    arms(b, g, {"lap": 0.35, "forearm": 0.25, "low": 0.1, "open": 0.05, "forward": 0.06, "face": 0.06, "folded": 0.07, "wave": 0.06}, 0.6)
    return limit(b)


def sitting_floor(n, g, people=None):
    """Sitting on the floor: legs stretched, knees up, cross-legged, leaning back on the hands or forward over the knees."""
    b, kind = blank(n, g), pick(g, n, (0.3, 0.35, 0.35))  # stretched, knees up, cross-legged
    lean = normal(g, n, -2, 10) + torch.where(kind == 0, -6.0, 4.0) - 25 * uniform(g, n, 0, 1) ** 3 * (kind < 2)
    trunk(b, lean, normal(g, n, 0, 4), normal(g, n, 0, 8), 0.7)
    head(b, g, -6, 25)
    crossed = b.clone()
    for side, s in SIDES:
        x, y = torch.where(kind == 0, uniform(g, n, 0.38, 0.47), uniform(g, n, 0.20, 0.34)), s * uniform(g, n, 0.04, 0.14)
        leg(b, side, torch.stack([x, y, -0.02 + 0 * x], -1), normal(g, n, 8, 10), people)
        spread = uniform(g, n, 32, 52)
        ball(crossed, side, "hip", uniform(g, n, 88, 104), spread, -spread - uniform(g, n, 66, 78), 0.7 * lean)
        put(crossed, f"{side}_knee", -uniform(g, n, 112, 142))
    b = torch.where((kind == 2)[:, None, None], crossed, b)
    propped = b.clone()
    arms(propped, g, {"brace": 1.0}, 0.9)
    arms(b, g, {"lap": 0.35, "forward": 0.17, "forearm": 0.22, "low": 0.12, "wave": 0.07, "pull": 0.07}, 0.8)
    return limit(torch.where(((lean < -15) | (uniform(g, n, 0, 1) < 0.1))[:, None, None], propped, b))  # who leans back, props up


def crouching(n, g, people=None):
    """Squatting, from a half squat to sitting on the heels."""
    b, depth = blank(n, g), uniform(g, n, 0, 1)
    lean = 10 + 40 * uniform(g, n, 0, 1) + 10 * depth
    trunk(b, lean, normal(g, n, 0, 4), normal(g, n, 0, 8), 0.55)
    head(b, g, 12, 18)
    ahead = 0.06 + 0.03 * depth + normal(g, n, 0, 0.015)
    feet(b, g, 0.40 - 0.27 * depth, ahead, uniform(g, n, 0.10, 0.26), normal(g, n, 0, 0.05), 18.0, people)
    arms(b, g, {"forward": 0.3, "forearm": 0.25, "lap": 0.2, "down": 0.2, "low": 0.05}, 0.8, 0.7 * lean)
    return limit(b)


def kneeling(n, g, people=None):
    """On both knees, upright to sitting on the heels, or on one knee with the other foot ahead."""
    b, s = blank(n, g), sign(g, n)
    one_knee = uniform(g, n, 0, 1) < 0.5
    lean = normal(g, n, 6, 9)
    trunk(b, lean, normal(g, n, 0, 4), normal(g, n, 0, 8), 0.4)
    head(b, g, -6, 22)
    tilt = torch.where(one_knee, uniform(g, n, -18, 15), 58 * uniform(g, n, 0, 1))
    for side, one in SIDES:
        pelvis, out = torch.rad2deg(b[:, J["mid_hip"], 0]), one * uniform(g, n, 2, 12)
        put(b, f"{side}_hip", tilt - pelvis, out, 0.0)
        put(b, f"{side}_knee", -(90 + tilt))
    front = b.clone()
    rest = 0.2434 * torch.cos(torch.deg2rad(tilt)) + float(SKIN[J["left_knee"]]) - SOLE
    for side, one in SIDES:
        foot = torch.stack([uniform(g, n, 0.16, 0.30), one * uniform(g, n, 0.05, 0.12), -rest], -1)
        leg(front, side, foot, normal(g, n, 10, 8), people)
        mine = one_knee & (s == one)
        for joint in (f"{side}_hip", f"{side}_knee"):
            b[mine, J[joint]] = front[mine, J[joint]]
    arms(b, g, {"hanging": 0.2, "lap": 0.3, "forearm": 0.15, "forward": 0.15, "down": 0.1, "pull": 0.1}, 0.7, 0.5 * lean)
    return limit(b)


def lying(n, g, people=None):
    """Lying on the back, on the belly or on a side."""
    b, kind, s = blank(n, g), pick(g, n, (0.5, 0.2, 0.3)), sign(g, n)  # back, belly, side
    belly, side_ = kind == 1, kind == 2
    put(b, "mid_hip", torch.where(belly, -90.0, 90.0) + normal(g, n, 0, 2), torch.where(side_, 0.0, normal(g, n, 0, 4)), 0.0)
    put(b, "spine", normal(g, n, 0, 4) * ~belly, normal(g, n, 0, 5), 0.0)
    put(b, "head", normal(g, n, 4, 4) + torch.where(belly, 14.0, 0.0), normal(g, n, 0, 6), normal(g, n, 0, 30))
    up = uniform(g, n, 0, 1) ** 2 * torch.where(belly, 0.0, 1.0)
    for side, one in SIDES:
        bent = (up + 0.25 * (uniform(g, n, 0, 1) - 0.5) * ~belly).clamp(0, 1)
        put(b, f"{side}_hip", torch.where(side_, 75.0, 50.0) * bent, one * uniform(g, n, 2, 14) * ~side_, one * normal(g, n, 4, 5) * ~side_)
        put(b, f"{side}_knee", -(torch.where(side_, 95.0, 100.0) * bent + 2))
        out = torch.where(belly, 98.0, torch.where(side_, uniform(g, n, -25, 0), uniform(g, n, 35, 82)))
        low, high = uniform(g, n, 10, 30), uniform(g, n, 105, 150)
        e = torch.where(belly, torch.where(uniform(g, n, 0, 1) < 0.5, low, high), uniform(g, n, 6, 40) + 30 * side_)
        f = torch.where(belly, uniform(g, n, 0, 20), uniform(g, n, 5, 110))
        arm(b, side, e, out, f, torch.where(belly, torch.where(e > 90, -88.0, 0.0), uniform(g, n, 10, 55)))
    on_side = b.clone()
    turn = s * (86 + normal(g, n, 0, 3))  # shoulders are wider than hips
    put(on_side, "mid_hip", 0.0, turn, 0.0)
    b = torch.where(side_[:, None, None], on_side, b)
    return limit(b)
