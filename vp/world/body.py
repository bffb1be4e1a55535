"""People: identities with a stature, own proportions and a wardrobe, drawn from published anthropometry; fixed casts by name.

Stature of adults (mean, standard deviation, mm): ANSUR II, Gordon et al. 2014, NATICK/TR-15/007: men 1756 (69), women 1629 (64).
Children of 4 to 12 years: medians of the CDC 2000 growth charts (Kuczmarski et al. 2002, stature-for-age), coefficient of variation 4.4 %.
Segment lengths between joint centres, as shares of stature: de Leva, J. Biomech. 29 (1996) table 4, whose man is 1741 mm and woman
1735 mm tall; ankle, shoulder and eye height: Drillis & Contini as printed in Winter (2009) fig. 4.1.  The wider shoulders of Winter's
figure (biacromial 0.259) are skin landmarks; here the joint centres are 20 mm inside each end of ANSUR II's biacromial breadth (men 416,
women 365 mm).  Children: shorter legs and larger heads by the sitting-height ratio (0.56 at 4, 0.52 at 12 years; Fredriks et al., Arch.
Dis. Child. 90 (2005)).  The spread of proportions about these means, 3 % per segment, is ours (ANSUR II: 2 to 4 %).
"""

import zlib
from dataclasses import dataclass, fields

import torch

from vp.errors import InputError
from vp.skeleton import JOINTS_17
from vp.world.poses import PARENT, SOLE, forward_kinematics, rotations

WARDROBE = 16  # random numbers per person that the renderer turns into colours and textures
WOMAN, MAN, CHILD = 0, 1, 2
STATURE_MM = {WOMAN: (1629.0, 64.0), MAN: (1756.0, 69.0)}  # ANSUR II, mean and standard deviation
CHILD_YEARS = (4, 5, 6, 7, 8, 9, 10, 11, 12)
CHILD_MM = (1015.0, 1085.0, 1152.0, 1218.0, 1280.0, 1335.0, 1388.0, 1437.0, 1500.0)  # CDC 2000 medians, boys and girls averaged
CHILD_CV = 0.044
SPREAD = 0.03  # standard deviation of a segment's share about its mean, relative
SPREAD_LIMIT = 2.5  # in standard deviations, for statures and proportions alike

# segment -> share of stature (woman, man); the vertical chain shank .. crown is scaled to end at the stature exactly
SHARES = {
    "shank": (432.3 / 1735, 434.0 / 1741), "thigh": (0.2425, 422.2 / 1741),  # de Leva; her thigh (368.5) has another hip centre: his taken
    "trunk": (0.288, 0.288),  # mid-hip to mid-shoulder: 0.818 - 0.530 (Winter); de Leva's MIDH to MIDS is 0.287 and 0.296
    "neck": (0.010, 0.010),  # neck above the line of the shoulders: ours, as in recorded skeletons
    "face": (0.108, 0.108), "crown": (0.064, 0.064),  # neck to eye height 0.936, eye height to head top (Winter)
    "upper_arm": (275.1 / 1735, 281.7 / 1741), "forearm": (264.3 / 1735, 268.9 / 1741),
    "half_shoulders": ((365 / 2 - 20) / 1629, (416 / 2 - 20) / 1756), "half_hips": (0.052, 0.049),
}  # fmt: skip
_CHAIN = ("shank", "thigh", "trunk", "neck", "face", "crown")

# distance from joint centre to skin below it, share of stature: what touches the floor.  Ankle: Winter; the others: ours.
_SKIN = {"ankle": SOLE, "knee": 0.034, "hip": 0.055, "mid_hip": 0.06, "spine": 0.06, "neck": 0.035, "head": 0.055, "head_top": 0.0,
         "shoulder": 0.035, "elbow": 0.024, "wrist": 0.02}  # fmt: skip
SKIN = torch.tensor([_SKIN[j if j in _SKIN else j.split("_")[1]] for j in JOINTS_17.joints])


@dataclass
class People:
    """A batch of N identities.

    stature (N,) mm;  offsets (N, 17, 3) mm, bone vectors of the rest pose (left and right mirror each other);  sex (N,) long, 0 woman,
    1 man, 2 child;  ids (N,) long, unique per identity;  wardrobe (N, 16) in [0, 1].
    """

    stature: torch.Tensor
    offsets: torch.Tensor
    sex: torch.Tensor
    ids: torch.Tensor
    wardrobe: torch.Tensor

    def __len__(self):
        return len(self.stature)

    def __getitem__(self, index):
        """The people at `index`, a tensor or slice; a repeated index gives the same person twice."""
        return People(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device):
        """The same people on another device."""
        return People(*(getattr(self, f.name).to(device) for f in fields(self)))


def _normal(shape, generator):
    """Normal numbers cut (by clamping) at SPREAD_LIMIT, on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device).clamp(-SPREAD_LIMIT, SPREAD_LIMIT)


def _uniform(shape, generator):
    return torch.rand(shape, generator=generator, device=generator.device)


def _offsets(stature, sex, years, spread):
    """Bone vectors (N, 17, 3) mm from stature (N,), sex (N,), years (N,) of the children, spread (N, len(SHARES)) factors about 1."""
    adult = (sex == MAN).long()
    share = {k: stature.new_tensor(v)[adult] * spread[:, i] for i, (k, v) in enumerate(SHARES.items())}
    small = (sex == CHILD).float() * (12 - years).clamp(0, 8) / 8  # 0 grown .. 1 four years old
    for k, factor in {"shank": -0.09, "thigh": -0.09, "trunk": 0.03, "face": 0.28, "crown": 0.28}.items():
        share[k] = share[k] * (1 + factor * small)
    scale = stature * (1 - SOLE) / sum(share[k] for k in _CHAIN)
    mm = {k: v * (scale if k in _CHAIN else stature) for k, v in share.items()}
    zero = torch.zeros_like(stature)
    half = (mm["trunk"] + mm["neck"]) / 2
    bones = {
        "mid_hip": (zero, zero, zero), "spine": (zero, zero, half), "neck": (zero, zero, half),
        "head": (zero, zero, mm["face"]), "head_top": (zero, zero, mm["crown"]),
        "left_shoulder": (zero, mm["half_shoulders"], -mm["neck"]), "left_hip": (zero, mm["half_hips"], zero),
        "left_elbow": (zero, zero, -mm["upper_arm"]), "left_wrist": (zero, zero, -mm["forearm"]),
        "left_knee": (zero, zero, -mm["thigh"]), "left_ankle": (zero, zero, -mm["shank"]),
    }  # fmt: skip
    for j in [j for j in bones if j.startswith("left")]:
        x, y, z = bones[j]
        bones["right" + j[4:]] = (x, -y, z)
    return torch.stack([torch.stack(bones[j], -1) for j in JOINTS_17.joints], 1)


def sample_people(n, generator, children=0.0, stature=None):
    """n people: women and men in equal shares, a share `children` in [0, 1] of them 4 to 12 years old (§1 of the docstring above).

    stature: float or (n,) mm instead of the drawn one (proportions keep their shares).  InputError: n < 0, stature not positive.
    """
    if n < 0 or not 0 <= children <= 1:
        raise InputError(f"{n} people, {children} of them children", "sample_people", "n >= 0, children in [0, 1]")
    u, z = _uniform((n, 3), generator), _normal((n, 1 + len(SHARES)), generator)
    sex = torch.where(u[:, 0] < children, CHILD, (u[:, 1] < 0.5).long())
    years = CHILD_YEARS[0] + u[:, 2] * (CHILD_YEARS[-1] - CHILD_YEARS[0])
    table = u.new_tensor(CHILD_MM)
    low = (years - CHILD_YEARS[0]).long().clamp(max=len(CHILD_MM) - 2)
    child = torch.lerp(table[low], table[low + 1], years - CHILD_YEARS[0] - low) * (1 + CHILD_CV * z[:, 0])
    mean, sd = u.new_tensor([STATURE_MM[WOMAN], STATURE_MM[MAN]])[sex.clamp(max=1)].unbind(-1)
    drawn = torch.where(sex == CHILD, child, mean + sd * z[:, 0])
    if stature is not None:
        given = torch.as_tensor(stature, dtype=u.dtype, device=u.device)
        if given.numel() not in (1, n) or not (torch.isfinite(given) & (given > 0)).all():
            raise InputError("stature must be one positive number or one per person", "sample_people", "in mm, e.g. 1750")
        drawn = given.expand(n).clone()
    ids = torch.randint(10**6, 2**31 - 1, (n,), generator=generator, device=generator.device)
    wardrobe = _uniform((n, WARDROBE), generator)
    return People(drawn, _offsets(drawn, sex, years, 1 + SPREAD * z[:, 1:]), sex, ids, wardrobe)


CASTS = {"panoptic": 32, "muco": 8, "mupots": 8, "coco": 64, "children": 16}  # MuCo: the 8 actors of MPI-INF-3DHP; others ours


def cast(name, device="cpu"):
    """The fixed cast of a twin (design): the same people whenever asked for, in no two casts the same.  InputError: unknown name.

    Adults alternate woman, man; "children" are 4 to 12 years old.
    """
    if name not in CASTS:
        raise InputError(f"no cast {name!r}", "cast", f"known: {', '.join(CASTS)}")
    n, generator = CASTS[name], torch.Generator().manual_seed(zlib.crc32(f"cast {name}".encode()))
    pool = sample_people(8 * n, generator, children=float(name == "children"))
    if name != "children":  # as many women as men, in turn
        order = [torch.nonzero(pool.sex == s).flatten()[: n // 2] for s in (WOMAN, MAN)]
        pool = pool[torch.stack(order, 1).flatten()]
    people = pool[slice(0, n)]
    people.ids = 1000 * (1 + list(CASTS).index(name)) + torch.arange(n)
    return people.to(device)


# ---- posing ----------------------------------------------------------------------------------------------------------------------

_HEAD, _NECK = JOINTS_17.index("head"), JOINTS_17.index("neck")
_SHOULDERS = (JOINTS_17.index("left_shoulder"), JOINTS_17.index("right_shoulder"))


def pose(offsets, bends):
    """Joints (N, 17, 3) mm, mid-hip at the origin, of bone vectors (N, 17, 3) mm under bends (N, 17, 3) radian (see `rotations`).

    `forward_kinematics` with two refinements that keep every bone's length: the head's bend is shared by the neck's two ends, and the
    collarbone rises with the arm (a third of the elevation beyond 30°, up to 25°: scapulo-humeral rhythm, Inman et al. 1944).
    """
    R = rotations(bends)
    offsets, R = offsets.clone(), R.clone()
    half = rotations(bends[:, _HEAD] / 2)
    offsets[:, _HEAD] = (half @ offsets[:, _HEAD, :, None])[..., 0]
    for j, side in zip(_SHOULDERS, (1, -1), strict=True):
        elevation = torch.acos(R[:, j, 2, 2].clamp(-1, 1))  # of the upper arm from hanging down
        rise = ((elevation - 0.5236) / 3).clamp(0, 0.4363) * side
        zero = torch.zeros_like(rise)
        offsets[:, j] = (rotations(torch.stack([zero, rise, zero], -1)) @ offsets[:, j, :, None])[..., 0]
    return forward_kinematics(offsets, R)


def lowest(joints, stature):
    """Height (N,) mm of the lowest skin (`SKIN`) of joints (N, 17, 3) mm, stature (N,) mm; NaN joints do not count, inf if all are."""
    low = joints[..., 2] - SKIN.to(joints) * stature[:, None]
    return low.masked_fill(low.isnan(), torch.inf).amin(1)


def settle(joints, stature, height=0.0):
    """Joints (N, 17, 3) mm moved so that mid-hip is above the origin and the lowest skin is `height` mm (float or (N,)) up.

    NaN joints do not count.  stature (N,) mm.
    """
    root = joints[:, JOINTS_17.root_index]
    return joints - torch.stack([root[:, 0], root[:, 1], lowest(joints, stature) - height], -1)[:, None]


_TRUNK_LINE = ("spine", "neck", "head", "head_top")


def retarget(joints, stature, people):
    """The same pose on other bones: each bone keeps its direction and takes the length that `people` have; (N, 17, 3) mm, settled.

    joints (N, 17, 3) mm, NaN where missing (stays so), mid-hip known;  stature (N,) mm of who took the pose;  people: N of `People`.
    A joint whose parent is missing hangs on the next known one: along the trunk by the person's own length, in a limb (bent, perhaps)
    by the recorded distance scaled with stature, at most the limb's length.  The lowest skin stays as high above the floor, in statures.
    """
    own = people.offsets.to(joints).norm(dim=-1)
    tall = people.stature.to(joints)
    scale = tall / stature
    was, now, slack = {}, {}, {}  # of each joint or its next known ancestor: place before and after; length of the missing bones
    for name, parent in PARENT.items():
        j = JOINTS_17.index(name)
        x, known = joints[:, j], ~joints[:, j].isnan().any(-1)
        if parent is None:
            was[name], now[name], slack[name] = x, x, torch.zeros_like(tall)
            continue
        bone, length = x - was[parent], own[:, j] + slack[parent]
        span = bone.norm(dim=-1).clamp(min=1e-6)
        if name not in _TRUNK_LINE:
            length = torch.where(slack[parent] > 0, torch.minimum(length, span * scale), length)
        here = now[parent] + bone * (length / span)[:, None]
        was[name], now[name] = (torch.where(known[:, None], a, b[parent]) for a, b in ((x, was), (here, now)))
        slack[name] = torch.where(known, 0.0, own[:, j] + slack[parent])
    out = torch.stack([now[name] for name in JOINTS_17.joints], 1).masked_fill(joints.isnan(), torch.nan)
    return settle(out, tall, lowest(joints, stature).clamp(min=0) * scale)


# ---- what a body can do ----------------------------------------------------------------------------------------------------------

# Ranges in degree, from the normal ranges of motion in Kapandji, *The Physiology of the Joints*, widened where movement is not slow.
# Hinges and trunk: (pitch, roll, yaw) of the bend.  Balls: flexion (forward), abduction (outward) of the limb's direction and its
# twist (inward positive) after the shortest swing there: sitting cross-legged needs the spread thigh's azimuth on top of its rotation.
LIMITS = {
    "spine": ((-60, 30), (-30, 30), (-40, 40)), "neck": ((-45, 30), (-25, 25), (-40, 40)), "head": ((-70, 60), (-45, 45), (-80, 80)),
    "elbow": ((0, 150), (0, 0), (0, 0)), "knee": ((-155, 0), (0, 0), (0, 0)),
    "hip": ((-45, 150), (-40, 80), (-130, 75)), "shoulder": ((-85, 180), (-60, 180), (-110, 110)),
}  # fmt: skip
_LEFT_RIGHT = [
    (i, 1 if j.startswith("left") else -1, j.split("_")[1]) for i, j in enumerate(JOINTS_17.joints) if j.startswith(("left", "right"))
]


def bends_of(R):
    """The bends (..., 3) radian that `rotations` turns into R (..., 3, 3); roll within ±90°, no pitch where roll is ±90° (gimbal lock)."""
    level = torch.hypot(R[..., 2, 0], R[..., 2, 2])
    locked = level < 1e-3
    pitch = torch.where(locked, torch.zeros_like(level), torch.atan2(R[..., 2, 0], R[..., 2, 2]))
    yaw = torch.where(locked, torch.atan2(R[..., 1, 0], R[..., 0, 0]), torch.atan2(-R[..., 0, 1], R[..., 1, 1]))
    return torch.stack([pitch, torch.atan2(R[..., 2, 1], level), yaw], -1)


def swing(direction):
    """Shortest rotation (..., 3, 3) from straight down to a unit `direction` (..., 3)."""
    x, y, z = direction.unbind(-1)
    k = 1 / (1 - z).clamp(min=1e-6)
    rows = [1 - x * x * k, -x * y * k, -x, -x * y * k, 1 - y * y * k, -y, x, y, -z]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def ball_angles(R, side):
    """Flexion, abduction, twist (..., 3) degree of a hip or shoulder R (..., 3, 3); side 1 left, -1 right.  See LIMITS.

    Flexion is the angle of the limb's sagittal projection from straight down, abduction its elevation out of the sagittal plane.
    """
    d = -R[..., :, 2]
    T = swing(d).mT @ R
    flexion = torch.atan2(d[..., 0], -d[..., 2])
    flexion = torch.where(flexion < -2.4, flexion + 2 * torch.pi, flexion)  # overhead and slightly back is flexion, not extension
    twist = -side * torch.atan2(T[..., 1, 0], T[..., 0, 0])
    return torch.rad2deg(torch.stack([flexion, torch.asin((side * d[..., 1]).clamp(-1, 1)), twist], -1))


def limit(bends):
    """Bends (N, 17, 3) radian with every joint brought back into LIMITS (the pelvis is free)."""
    out = bends.clone()
    for name in ("spine", "neck", "head"):
        out[:, JOINTS_17.index(name)] = _clamp(bends[:, JOINTS_17.index(name)], name)
    for j, side, part in _LEFT_RIGHT:
        if part in ("elbow", "knee"):
            out[:, j] = _clamp(bends[:, j], part)
        elif part in ("hip", "shoulder"):
            R = rotations(bends[:, j])
            angles = ball_angles(R, side)
            low, high = angles.new_tensor(LIMITS[part]).T
            kept = torch.minimum(torch.maximum(angles, low), high)
            f, a, t = torch.deg2rad(kept).unbind(-1)
            d = torch.stack([a.cos() * f.sin(), side * a.sin(), -a.cos() * f.cos()], -1)
            turned = swing(d) @ rotations(torch.stack([torch.zeros_like(t), torch.zeros_like(t), -side * t], -1))
            out[:, j] = torch.where((kept != angles).any(-1, keepdim=True), bends_of(turned), bends[:, j])
    return out


def _clamp(bends, name):
    low, high = torch.deg2rad(bends.new_tensor(LIMITS[name])).T
    return torch.minimum(torch.maximum(bends, low), high)


_LIMBS = [[JOINTS_17.index(f"{s}_{p}") for p in parts] for s in ("left", "right") for parts in (("elbow", "wrist"), ("knee", "ankle"))]
_TRUNK = [JOINTS_17.index(j) for j in ("left_hip", "left_shoulder", "right_hip", "right_shoulder", "mid_hip", "neck", "head")]
_THIGHS = [JOINTS_17.index(j) for j in ("left_hip", "left_knee", "right_hip", "right_knee")]


def _distance(points, a, b):
    """Distance (N, m, k) from points (N, m, 3) to the segments from a to b (N, k, 3)."""
    ab, ap = (b - a)[:, None], points[:, :, None] - a[:, None]
    s = ((ap * ab).sum(-1) / (ab * ab).sum(-1).clamp(min=1e-6)).clamp(0, 1)
    return (ap - s[..., None] * ab).norm(dim=-1)


def possible(joints, stature):
    """(N,) bool: no limb through the trunk, the head or another limb; joints (N, 17, 3) mm without NaN, stature (N,) mm.

    Forearms with hands and shanks are sampled at five points each and kept apart (radii as shares of stature) from three trunk
    capsules, the head, the thighs and each other.
    """
    x = joints / stature[:, None, None]
    s = torch.linspace(0, 1, 5, device=x.device, dtype=x.dtype)[:, None]
    limbs = []
    for i, (a, b) in enumerate(_LIMBS):
        tip = x[:, b] + (0.35 if i % 2 == 0 else 0.0) * (x[:, b] - x[:, a])  # the hand goes on where the forearm ends
        limbs.append(torch.lerp(x[:, None, a], tip[:, None], s))
    arms, legs = torch.cat([limbs[0], limbs[2]], 1), torch.cat([limbs[1], limbs[3]], 1)
    lh, ls, rh, rs, mid, neck, head = x[:, _TRUNK].unbind(1)
    a = torch.stack([torch.lerp(lh, mid, 0.35), torch.lerp(rh, mid, 0.35), mid], 1)
    b = torch.stack([torch.lerp(ls, neck, 0.6), torch.lerp(rs, neck, 0.6), neck], 1)
    t = x[:, _THIGHS]
    ok = (_distance(arms, a, b) > 0.05).flatten(1).all(1) & (_distance(legs, a, b) > 0.05).flatten(1).all(1)
    ok &= ((torch.cat([arms, legs], 1) - head[:, None]).norm(dim=-1) > 0.06).all(1)
    ok &= (_distance(arms, t[:, [0, 2]], t[:, [1, 3]]) > 0.04).flatten(1).all(1)
    for left, right in ((limbs[0], limbs[2]), (limbs[1], limbs[3])):
        ok &= (_distance(left, right[:, :1], right[:, -1:]) > 0.03).flatten(1).all(1)
    hip_r, knee_r = t[:, 2:3], t[:, 3:4]
    outer = torch.lerp(t[:, None, 0], t[:, None, 1], s[1:])
    return ok & (_distance(outer, hip_r, knee_r) > 0.045).flatten(1).all(1)
