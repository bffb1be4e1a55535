"""Activities as distributions over joint angles, and mixtures of them for the twins.

An activity is a function (n, generator, people=None) -> bends (n, 17, 3) radian in the sense of `vp.world.poses.rotations`, within the
joint limits; `people` lets feet and seats fit the person.  Angles below are degree, lengths shares of stature.  Ranges are ours ("not
in the paper"); the gait has the shape of Winter (2009), chapter 3: hip flexed 30° at heel strike and extended 10° at push-off, knee
flexed 20° under load and 60° in swing.
"""

import math

import torch

from vp.errors import InputError
from vp.world.body import limit, lowest, pose, possible, settle
from vp.world.high import climbing, hanging
from vp.world.limbs import SIDES, J, arm, arms, blank, feet, gait, head, leg, normal, pick, put, sign, swing_arms, trunk, uniform
from vp.world.low import bending, crouching, kneeling, lying, sitting, sitting_floor

# ---- upright ---------------------------------------------------------------------------------------------------------------------


def _stand(b, g, people, lean=3.0, spread=5.0, stride=0.10, low=0.45):
    n = len(b)
    tilt = normal(g, n, lean, spread)
    trunk(b, tilt, normal(g, n, 0, 3.5), normal(g, n, 0, 9))
    put(b, "mid_hip", -0.3 * tilt, normal(g, n, 0, 2.5), normal(g, n, 0, 5))
    head(b, g)
    drop = (uniform(g, n, 0, 1) ** 3) * (0.49 - low)
    feet(b, g, 0.489 - drop, normal(g, n, 0.0, 0.02), 0.07 + 0.14 * uniform(g, n, 0, 1) ** 1.5, normal(g, n, 0, stride / 2), 9.0, people)
    return tilt


def standing(n, g, people=None):
    """Standing at rest: arms hanging, folded, on the hips, behind the back."""
    b = blank(n, g)
    _stand(b, g, people, low=0.475)
    arms(b, g, {"hanging": 0.5, "low": 0.15, "folded": 0.12, "akimbo": 0.08, "behind": 0.05, "lap": 0.1}, 0.8)
    return limit(b)


def talking(n, g, people=None):
    """Standing and talking: small gestures below the shoulders."""
    b = blank(n, g)
    _stand(b, g, people)
    arms(b, g, {"hanging": 0.25, "low": 0.25, "forearm": 0.3, "folded": 0.06, "open": 0.08, "face": 0.03, "akimbo": 0.03}, 0.5)
    return limit(b)


def gesturing(n, g, people=None):
    """Standing with large gestures of one or both arms: pointing, waving, spreading."""
    b = blank(n, g)
    _stand(b, g, people, 3.0, 7.0, 0.14, 0.44)
    arms(b, g, {"hanging": 0.2, "low": 0.12, "forearm": 0.14, "open": 0.12, "forward": 0.12, "sideways": 0.08, "face": 0.08, "wave": 0.1,
                 "overhead": 0.04}, 0.35)  # fmt: skip
    return limit(b)


def walking(n, g, people=None):
    """Walking at any phase and speed (forward, backward, sideways, turning), arms swinging against the legs or busy."""
    b, phase, pace = blank(n, g), uniform(g, n, 0, 2 * math.pi), uniform(g, n, 0.35, 1.35)
    lean = normal(g, n, 3, 6)
    trunk(b, lean, normal(g, n, 0, 3), 6 * pace * torch.cos(phase) + normal(g, n, 0, 8))
    put(b, "mid_hip", -0.3 * lean, normal(g, n, 0, 2), -4 * pace * torch.cos(phase))
    head(b, g, -6, 18)
    soft, wide = 4 + uniform(g, n, 0, 1) ** 2 * 22, uniform(g, n, -1, 1) ** 3 * 9 + 2
    gait(b, g, phase, 21 * pace, 6 + normal(g, n, 0, 4), soft, 50 * pace.clamp(0.5, 1.2), wide)
    swing_arms(b, g, phase, 26 * pace, 20 * pace, 20, 14)
    busy = b.clone()
    arms(busy, g, {"hanging": 0.2, "low": 0.3, "forearm": 0.2, "open": 0.15, "akimbo": 0.05, "forward": 0.05, "face": 0.05}, 0.6)
    return limit(torch.where((torch.rand(n, generator=g, device=g.device) < 0.35)[:, None, None], busy, b))


def running(n, g, people=None):
    """Running from jog to sprint: trunk leaning, elbows bent, high knees, heels up behind."""
    b, phase, pace = blank(n, g), uniform(g, n, 0, 2 * math.pi), uniform(g, n, 0.5, 1.3)
    lean = normal(g, n, 9, 6) + 4 * pace
    trunk(b, lean, normal(g, n, 0, 3), 14 * pace * torch.cos(phase) + normal(g, n, 0, 5))
    put(b, "mid_hip", -0.3 * lean, normal(g, n, 0, 3), -8 * pace * torch.cos(phase))
    head(b, g, 5, 12)
    gait(b, g, phase, 34 * pace, 14 + normal(g, n, 0, 5), 16 + uniform(g, n, 0, 14), 88 * pace.clamp(0.6, 1.2), 1.0, 0.70, 0.16)
    swing_arms(b, g, phase, 38 * pace, 42 * pace, uniform(g, n, 50, 100), 12)
    return limit(b)


def reaching_up(n, g, people=None):
    """One or both arms up, towards a shelf or the sky."""
    b = blank(n, g)
    lean = normal(g, n, -3, 6)
    trunk(b, lean, normal(g, n, 0, 7), normal(g, n, 0, 10))
    head(b, g, 12, 20)
    feet(b, g, uniform(g, n, 0.45, 0.489), normal(g, n, 0, 0.02), uniform(g, n, 0.06, 0.25), normal(g, n, 0, 0.07), 8.0, people)
    arms(b, g, {"overhead": 1.0}, 1.0)
    other = b.clone()
    arms(other, g, {"hanging": 0.35, "low": 0.2, "forward": 0.15, "sideways": 0.15, "wave": 0.15}, 0.0)
    one = torch.rand(n, 2, generator=g, device=g.device)
    for k, (side, _) in enumerate(SIDES):  # 0.3 left busy, 0.3 right busy, 0.4 both up
        busy = (one[:, 0] < 0.6) & ((one[:, 1] < 0.5) == (k == 0))
        for joint in (f"{side}_shoulder", f"{side}_elbow"):
            b[busy, J[joint]] = other[busy, J[joint]]
    return limit(b)


def jumping(n, g, people=None):
    """Taking off, flying (stretched, tucked, star) and landing; `sample_poses` lifts the flying ones."""
    b, tuck = blank(n, g), uniform(g, n, 0, 1) ** 1.5
    trunk(b, normal(g, n, 8, 8) + 15 * tuck, normal(g, n, 0, 4), normal(g, n, 0, 8))
    head(b, g, 5, 12)
    feet(b, g, 0.49 - 0.25 * tuck, normal(g, n, 0.0, 0.05), uniform(g, n, 0.06, 0.30) ** 1.1, normal(g, n, 0, 0.12), 8.0, people)
    arms(b, g, {"overhead": 0.3, "sideways": 0.2, "forward": 0.15, "low": 0.15, "brace": 0.1, "open": 0.1}, 0.85)
    return limit(b)


def kicking(n, g, people=None):
    """Standing on one leg, the other kicking forward, sideways or drawn back; arms balance."""
    b, s = blank(n, g), sign(g, n)
    lean = normal(g, n, -1, 12)
    trunk(b, lean, normal(g, n, 0, 9), normal(g, n, 0, 15))
    head(b, g, -8, 15)
    feet(b, g, uniform(g, n, 0.42, 0.488), normal(g, n, 0, 0.03), uniform(g, n, 0.04, 0.12), normal(g, n, 0, 0.03), 10.0, people)
    kind = uniform(g, n, 0, 1)
    flexion = torch.where(kind < 0.55, uniform(g, n, 15, 105), torch.where(kind < 0.8, uniform(g, n, -40, 5), uniform(g, n, 10, 70)))
    aside = torch.where(kind < 0.8, normal(g, n, 5, 8), uniform(g, n, 20, 60))
    knee = torch.where((kind > 0.55) & (kind < 0.8), uniform(g, n, 30, 110), uniform(g, n, 0, 1) ** 1.5 * 100)
    kick = b.clone()
    for side, one in SIDES:
        put(kick, f"{side}_hip", flexion - torch.rad2deg(b[:, J["mid_hip"], 0]), one * aside, one * normal(g, n, 8, 12))
        put(kick, f"{side}_knee", -knee)
        mine = s == one
        for joint in (f"{side}_hip", f"{side}_knee"):
            b[mine, J[joint]] = kick[mine, J[joint]]
    arms(b, g, {"hanging": 0.1, "low": 0.25, "sideways": 0.2, "open": 0.2, "forearm": 0.15, "forward": 0.05, "brace": 0.05}, 0.5)
    return limit(b)


def throwing(n, g, people=None):
    """Throwing, passing, punching: trunk turned, one arm drawn back or thrust forward, feet in a stride."""
    b, s = blank(n, g), sign(g, n)
    phase = uniform(g, n, 0, 1)  # drawn back .. followed through
    trunk(b, normal(g, n, -8, 8) + 30 * phase, normal(g, n, 0, 7), s * (35 - 75 * phase) * -1 + normal(g, n, 0, 8), 0.4)
    head(b, g, -4, 20)
    stride = s * normal(g, n, -0.16, 0.12)
    feet(b, g, uniform(g, n, 0.42, 0.485), normal(g, n, -0.01, 0.05), uniform(g, n, 0.08, 0.26), stride, 15.0, people)
    arms(b, g, {"low": 0.25, "forearm": 0.25, "open": 0.2, "forward": 0.2, "sideways": 0.1}, 0.3)
    e = 75 + 55 * torch.sin(math.pi * (0.15 + 0.75 * phase)) + normal(g, n, 0, 15) - 30 * phase
    a = 125 - 125 * phase + normal(g, n, 0, 14)
    f = (100 - 85 * phase + normal(g, n, 0, 18)).clamp(0, 140)
    hand = b.clone()
    for side, one in SIDES:
        arm(hand, side, e, a, f, -75 + 90 * phase + normal(g, n, 0, 12))
        mine = s == one
        for joint in (f"{side}_shoulder", f"{side}_elbow"):
            b[mine, J[joint]] = hand[mine, J[joint]]
    return limit(b)


def boxing(n, g, people=None):
    """Boxing and other guards: fists up, one arm thrust out, feet in a stride, knees soft."""
    b, s = blank(n, g), sign(g, n)
    trunk(b, normal(g, n, 10, 7), normal(g, n, 0, 6), s * normal(g, n, -22, 14))
    head(b, g, -6, 12)
    feet(b, g, uniform(g, n, 0.43, 0.48), normal(g, n, 0.0, 0.03), uniform(g, n, 0.08, 0.24), s * normal(g, n, 0.12, 0.06), 12.0, people)
    thrust = uniform(g, n, 0, 1) ** 2
    for side, one in SIDES:
        t = torch.where(s == one, thrust, 0.15 * thrust)
        e, a = 40 + 48 * t + normal(g, n, 0, 8), 35 - 35 * t + normal(g, n, 0, 9)
        arm(b, side, e, a, 128 - 118 * t - 12 * uniform(g, n, 0, 1), 10 + 20 * t + normal(g, n, 0, 10))
    return limit(b)


def dancing(n, g, people=None):
    """Dancing: everything moves; wide steps, one foot lifted, both arms anywhere."""
    b, s = blank(n, g), sign(g, n)
    trunk(b, normal(g, n, 4, 12), normal(g, n, 0, 10), normal(g, n, 0, 20))
    head(b, g, -2, 30)
    low, lift = uniform(g, n, 0.40, 0.485), uniform(g, n, 0, 1) ** 3 * 0.22
    for side, one in SIDES:
        up = torch.where(s == one, lift, torch.zeros_like(lift))
        under = torch.where((s != one) & (lift > 0.05), 0.35, 1.0)  # who stands on one leg has it below the body
        foot = torch.stack([under * normal(g, n, 0, 0.12), under * one * (0.03 + normal(g, n, 0.07, 0.06)), up - low], -1)
        leg(b, side, foot, normal(g, n, 14, 12), people)
    arms(b, g, {"low": 0.1, "open": 0.25, "forward": 0.1, "sideways": 0.2, "overhead": 0.2, "wave": 0.15}, 0.5)
    return limit(b)


ACTIVITIES = {
    f.__name__: f
    for f in (standing, talking, gesturing, walking, running, sitting, sitting_floor, crouching, kneeling, bending, reaching_up, lying,
              jumping, kicking, throwing, climbing, hanging, boxing, dancing)
}  # fmt: skip

# Panoptic's games, MPI-INF-3DHP's variety (MuCo), and what neither has (MuPoTS: another world on purpose, see the design)
MIXTURES = {
    "haggling": {"talking": 0.5, "gesturing": 0.35, "standing": 0.15},
    "mafia": {"talking": 0.35, "gesturing": 0.4, "standing": 0.25},
    "ultimatum": {"sitting": 0.45, "talking": 0.25, "gesturing": 0.2, "standing": 0.1},
    "pizza": {"standing": 0.25, "talking": 0.3, "gesturing": 0.15, "sitting": 0.15, "bending": 0.15},
    "muco": {"standing": 0.1, "gesturing": 0.12, "walking": 0.15, "sitting": 0.15, "crouching": 0.12, "bending": 0.12, "reaching_up": 0.14,
             "sitting_floor": 0.1},
    "mupots": {"running": 0.16, "jumping": 0.1, "kicking": 0.16, "throwing": 0.16, "boxing": 0.14, "dancing": 0.2, "climbing": 0.04,
               "kneeling": 0.04},
    "all": {"standing": 0.04, "talking": 0.05, "gesturing": 0.1, "walking": 0.13, "running": 0.1, "sitting": 0.07, "sitting_floor": 0.05,
            "crouching": 0.05, "kneeling": 0.04, "bending": 0.06, "reaching_up": 0.04, "lying": 0.02, "jumping": 0.04, "kicking": 0.05,
            "throwing": 0.04, "climbing": 0.01, "hanging": 0.06, "boxing": 0.02, "dancing": 0.03},
}  # fmt: skip
TRIES = 5  # times that impossible bodies (limbs through one another) are drawn again


def flight(name, joints, stature, g):
    """Clearance (N,) mm below a posed body: jumps up to a fifth of stature, runners only while no foot is below the trunk; who hangs,
    as far as a bar at 1.25 to 1.4 statures leaves room."""
    u = uniform(g, len(stature), 0, 1)
    if name == "jumping":
        return (u - 0.25).clamp(min=0) * 0.28 * stature
    if name == "running":
        low = joints[:, [J["left_ankle"], J["right_ankle"]]]
        supporting = low[..., 0].gather(1, low[..., 2].argmin(1, keepdim=True))[:, 0].abs() < 0.12 * stature
        return torch.where(supporting, torch.zeros_like(u), 0.05 * u * stature)
    if name == "hanging":
        grip = joints[:, [J["left_wrist"], J["right_wrist"]], 2].mean(1) - lowest(joints, stature)
        return torch.maximum((1.25 + 0.15 * u) * stature - grip, 0.02 * stature)
    return torch.zeros_like(u)


def sample_poses(people, activity, generator):
    """One pose per person: joints (N, 17, 3) mm, X forward, mid-hip above the origin, resting on Z = 0; labels (N,) into ACTIVITIES.

    activity: a name of ACTIVITIES or MIXTURES.  Bodies whose limbs run through one another are drawn again, at last with the angles of
    another person of the same activity.  Only jumps, running strides and hanging bodies leave the floor.  InputError: unknown name.
    """
    names = list(ACTIVITIES)
    if activity not in MIXTURES and activity not in ACTIVITIES:
        raise InputError(f"no activity {activity!r}", "sample_poses", f"known: {', '.join((*MIXTURES, *names))}")
    n, mixture = len(people), MIXTURES.get(activity, {activity: 1.0})
    labels = torch.tensor([names.index(k) for k in mixture], device=generator.device)[pick(generator, n, mixture.values())]
    joints = people.offsets.new_zeros(n, 17, 3)
    for name in mixture:
        mine = torch.nonzero(labels == names.index(name)).flatten()
        if not len(mine):
            continue
        who = people[mine]
        bends = ACTIVITIES[name](len(mine), generator, who)
        posed = pose(who.offsets, bends)
        good = possible(posed, who.stature)
        for k in range(TRIES):
            bad = torch.nonzero(~good).flatten()
            if not len(bad):
                break
            if k < TRIES - 1 or not good.any():
                new = ACTIVITIES[name](len(bad), generator, who[bad])
            else:
                donors = torch.nonzero(good).flatten()
                new = bends[donors[torch.randint(len(donors), (len(bad),), generator=generator, device=generator.device)]]
            bends[bad] = new
            posed[bad] = pose(who.offsets[bad], new)
            good[bad] = possible(posed[bad], who.stature[bad])
        joints[mine] = settle(posed, who.stature, flight(name, posed, who.stature, generator))
    return joints, labels
