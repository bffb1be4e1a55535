"""Poses behind one interface, whatever their source: procedural, motion capture (BVH), Panoptic, MuCo.

A `PoseBank` holds bodies in the body frame (X forward, mid-hip above the origin, floor Z = 0, mm) together with the stature they have.
Recorded poses come as arrays: this module reads no files.
"""

import math
from dataclasses import dataclass

import torch

from vp.errors import InputError
from vp.skeleton import BVH, JOINTS_17, map_joints
from vp.world.activities import ACTIVITIES, sample_poses
from vp.world.body import LIMITS, SHARES, ball_angles, lowest, possible, retarget, swing
from vp.world.poses import PARENT

NECK, CROWN = SHARES["neck"][0], SHARES["crown"][0]  # neck above the shoulder line, head top above the head joint, shares of stature
J = {name: i for i, name in enumerate(JOINTS_17.joints)}


def _pairs(joints, part):
    return joints[..., J[f"left_{part}"], :], joints[..., J[f"right_{part}"], :]


def facing(joints):
    """Yaw (N,) radian that a body faces, from its hips and shoulders seen from above (0 where neither pair is known)."""
    across = torch.stack([a - b for a, b in (_pairs(joints, "hip"), _pairs(joints, "shoulder"))]).nansum(0)
    return torch.atan2(-across[..., 0], across[..., 1])


def to_body_frame(joints):
    """Recorded joints (N, 17, 3) mm, Z up -> the same with yaw and mid-hip's XY removed; heights stay."""
    yaw = facing(joints)
    c, s, zero = yaw.cos(), yaw.sin(), torch.zeros_like(yaw)
    R = torch.stack([c, s, zero, -s, c, zero, zero, zero, torch.ones_like(yaw)], -1).unflatten(-1, (3, 3))
    root = joints[:, JOINTS_17.root_index] * joints.new_tensor([1, 1, 0])
    return (joints - root[:, None]) @ R.mT


def on_floor(joints, stature):
    """Joints (N, 17, 3) mm moved up where their lowest skin is below the floor; NaN kept."""
    out = joints.clone()
    out[..., 2] -= lowest(joints, stature).clamp(max=0)[:, None]
    return out


def from_bvh(joints, valid, stature, head_top_mm):
    """BVH joints (F, 20, 3) mm (`vp.skeleton.BVH`) -> our 17 (F, 17, 3), valid (F, 17); stature, head_top_mm numbers of the clip, mm.

    The clips' Hips and Neck lie where each rig has them (up to 100 mm from the hip line), so mid_hip is the middle of the hips, and the
    neck stands SHARES["neck"] above the middle of the shoulders, along the trunk.  The head top is `head_top_mm` beyond the base of the
    skull (what the clip's stature counts), along the line from the neck; the head joint lies SHARES["crown"] below it.
    """
    out, known = map_joints(joints, valid, BVH, JOINTS_17)
    for name, part in (("mid_hip", "hip"), ("neck", "shoulder")):
        a, b = _pairs(out, part)
        out[:, J[name]] = (a + b) / 2
    up = out[:, J["neck"]] - out[:, J["mid_hip"]]
    out[:, J["neck"]] += NECK * stature * up / up.norm(dim=-1, keepdim=True)
    skull = joints[:, BVH.index("skull_base")]
    along = skull - out[:, J["neck"]]
    along = along / along.norm(dim=-1, keepdim=True)
    out[:, J["head_top"]] = skull + head_top_mm * along
    out[:, J["head"]] = out[:, J["head_top"]] - CROWN * stature * along
    known = ~out.isnan().any(-1)
    return out.masked_fill(~known[..., None], math.nan), known


@dataclass
class PoseBank:
    """N bodies: joints (N, 17, 3) float32 mm in the body frame (NaN where missing), valid (N, 17) bool, stature (N,) mm.

    activity: N names;  source: where they came from, e.g. "procedural:muco", "bvh".  InputError: shapes do not fit.
    """

    joints: torch.Tensor
    valid: torch.Tensor
    stature: torch.Tensor
    activity: tuple
    source: str

    def __post_init__(self):
        n = len(self.joints)
        if self.joints.shape != (n, 17, 3) or self.valid.shape != (n, 17) or self.stature.shape != (n,) or len(self.activity) != n:
            raise InputError("joints (N, 17, 3), valid (N, 17), stature (N,) and N activities do not fit", f"PoseBank {self.source}")

    def __len__(self):
        return len(self.joints)

    def __getitem__(self, index):
        """The bodies at `index`, a tensor of indices or a mask."""
        index = torch.arange(len(self), device=self.joints.device)[index]
        activity = tuple(self.activity[i] for i in index.tolist())
        return PoseBank(self.joints[index], self.valid[index], self.stature[index], activity, self.source)

    def to(self, device):
        """The same bank on another device."""
        return PoseBank(self.joints.to(device), self.valid.to(device), self.stature.to(device), self.activity, self.source)

    # ---- making banks --------------------------------------------------------------------------------------------------------

    @classmethod
    def procedural(cls, n, mixture, people, generator):
        """n poses of an activity or mixture, by people drawn from `people` with replacement."""
        who = people[torch.randint(len(people), (n,), generator=generator, device=generator.device)]
        joints, labels = sample_poses(who, mixture, generator)
        names = list(ACTIVITIES)
        known = torch.ones(n, 17, dtype=torch.bool, device=joints.device)
        return cls(joints, known, who.stature, tuple(names[i] for i in labels.tolist()), f"procedural:{mixture}")

    @classmethod
    def from_clips(cls, clips, every=1):
        """All `every`-th frames of motion-capture clips (objects with `poses()`, `stature`, `head_top_mm`, `name`; see `from_bvh`).

        A clip's floor is the 1 % quantile of its lowest skin; what is still below is lifted.  The activity is the clip's name.
        """
        parts = []
        for clip in clips:
            joints, valid = clip.poses()
            joints, valid = from_bvh(joints[::every], valid[::every], clip.stature, clip.head_top_mm)
            low = lowest(joints, joints.new_full((len(joints),), clip.stature))
            joints[..., 2] -= low.quantile(0.01)
            stature = torch.full((len(joints),), float(clip.stature))
            parts.append(cls(on_floor(to_body_frame(joints).float(), stature), valid, stature, (clip.name,) * len(joints), "bvh"))
        return cls.joined(parts, "bvh")

    @classmethod
    def from_joints(cls, joints, valid, skeleton, stature=None, source="recorded", activity="recorded"):
        """Recorded bodies (N, J, 3) mm, Z up, of a `Skeleton` (Panoptic, MuCo): mapped by name, neck and mid-hip derived where lacking.

        stature: (N,) or a number, mm; None estimates each from its bones (`estimate_stature`).  Bodies without mid-hip are left out.
        """
        joints, known = map_joints(joints, valid, skeleton, JOINTS_17, derive=True)
        keep = known[:, JOINTS_17.root_index]
        joints, known = joints[keep], known[keep]
        if stature is None:
            stature = estimate_stature(joints)
        else:
            stature = torch.as_tensor(stature, dtype=torch.float32).expand(len(keep))[keep]
        out = on_floor(to_body_frame(joints).float(), stature.float())
        return cls(out, known, stature.float(), (activity,) * len(out), source)

    @classmethod
    def joined(cls, banks, source=None):
        """Several banks one after another."""
        if not banks:
            raise InputError("no banks to join", "PoseBank")
        parts = [torch.cat([getattr(b, k) for b in banks]) for k in ("joints", "valid", "stature")]
        return cls(*parts, sum((tuple(b.activity) for b in banks), ()), source or " + ".join(dict.fromkeys(b.source for b in banks)))

    @classmethod
    def mix(cls, banks, weights, n, generator):
        """n bodies, each from one of `banks` with probability proportional to `weights`.  InputError: lengths differ, empty bank."""
        if len(banks) != len(weights) or not banks or any(len(b) == 0 for b in banks) or min(weights) < 0 or sum(weights) <= 0:
            raise InputError(f"{len(banks)} banks and {len(weights)} weights", "PoseBank.mix", "one weight >= 0 per non-empty bank")
        p = torch.tensor(weights, dtype=torch.float32, device=generator.device)
        which = torch.multinomial(p, n, replacement=True, generator=generator)
        u = torch.rand(n, generator=generator, device=generator.device)
        sizes = torch.tensor([len(b) for b in banks], device=u.device)
        first = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)[:-1]])
        inside = (u.double() * sizes[which]).long().clamp(max=sizes[which] - 1)
        return cls.joined(banks)[(first[which] + inside).to(banks[0].joints.device)]

    # ---- using them ----------------------------------------------------------------------------------------------------------

    def sample(self, n, generator, people=None, stature=None):
        """n bodies with replacement: joints (n, 17, 3) mm, valid (n, 17), index (n,) into the bank.

        people: n `People`, each takes a pose over on the own bones (`retarget`);  stature: (n,) mm or a number instead, the bodies as they
        are but scaled to it.  InputError: both, or not n people.
        """
        if people is not None and (stature is not None or len(people) != n):
            raise InputError(f"{len(people)} people{'' if stature is None else ' and a stature'} for {n} poses", "PoseBank.sample",
                             "n people or n statures")  # fmt: skip
        index = torch.randint(len(self), (n,), generator=generator, device=generator.device).to(self.joints.device)
        joints = self.joints[index]
        if people is not None:
            joints = retarget(joints, self.stature[index], people)
        elif stature is not None:
            joints = joints * (torch.as_tensor(stature).to(joints).expand(n) / self.stature[index])[:, None, None]
        return joints, self.valid[index], index

    def rescale(self, stature):
        """The same poses by people of another stature (a number or (N,) mm): everything scales about the floor point below mid-hip."""
        stature = torch.as_tensor(stature).to(self.stature).expand(len(self)).clone()
        return PoseBank(self.joints * (stature / self.stature)[:, None, None], self.valid, stature, self.activity, self.source)

    def manipulate(self, generator, degrees=10.0, tries=4):
        """Joint-angle manipulation (§6.1): every joint turned at random (normal, sd `degrees`), bones kept, on the floor again.

        Elbows and knees turn about their own hinge and stay within LIMITS; hips and shoulders keep the limb's direction within LIMITS, or
        as far out as recorded.  Bodies that become impossible are drawn again, at last left as they were.
        """
        before, stature = self.joints, self.stature
        out, todo = before.clone(), torch.arange(len(self), device=before.device)
        fine = possible(_filled(before), stature)
        for _ in range(tries):
            if not len(todo):
                break
            new = manipulate_joints(before[todo], generator, degrees)
            ok = possible(_filled(new), stature[todo]) | ~fine[todo]
            clearance = lowest(before[todo], stature[todo]).clamp(min=0)  # a jump stays as high above the floor
            new[..., 2] += (clearance - lowest(new, stature[todo]))[:, None]
            out[todo[ok]] = new[ok]
            todo = todo[~ok]
        return PoseBank(out, self.valid, stature, self.activity, f"{self.source} (turned {degrees:g}°)")


def _filled(joints):
    """NaN joints put where they do no harm: the spine between hip and neck, head and head top above the neck, a limb's end at its start."""
    out = joints.clone()
    up = out[:, J["neck"]] - out[:, J["mid_hip"]]
    guesses = {"neck": out[:, J["mid_hip"]] + out.new_tensor([0, 0, 500.0]), "spine": out[:, J["mid_hip"]] + up / 2,
               "head": out[:, J["neck"]] + 0.3 * up, "head_top": out[:, J["neck"]] + 0.5 * up}  # fmt: skip
    for name, parent in PARENT.items():
        j = J[name]
        guess = guesses.get(name, out[:, J[parent]] if parent else torch.zeros_like(out[:, 0]))
        guess = torch.where(guess.isnan(), out[:, J[parent]] if parent else torch.zeros_like(guess), guess)
        out[:, j] = torch.where(out[:, j].isnan(), guess, out[:, j])
    return out


def _axis_turn(axis, angle):
    """Rotation (N, 3, 3) about axis (N, 3), not zero, by angle (N,) radian (Rodrigues)."""
    x, y, z = (axis / axis.norm(dim=-1, keepdim=True)).unbind(-1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    s, c = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.eye(3).to(K) + s * K + (1 - c) * (K @ K)


def _frame(across, up):
    """Body frame (N, 3, 3), columns forward, left, up, of a pelvis or chest."""
    up = up / up.norm(dim=-1, keepdim=True)
    forward = torch.cross(across, up, dim=-1)
    forward = forward / forward.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return torch.stack([forward, torch.cross(up, forward, dim=-1), up], -1)


def manipulate_joints(joints, generator, degrees):
    """Joints (N, 17, 3) mm with every joint turned at random: bones kept, limits as in `PoseBank.manipulate`, floor not restored."""
    x, sd = _filled(joints), math.radians(degrees)
    n, device = len(x), generator.device
    spin = torch.randn(n, 17, 3, generator=generator, device=device).to(x) * sd
    up = x[:, J["neck"]] - x[:, J["mid_hip"]]
    frames = {p: _frame(_pairs(x, p)[0] - _pairs(x, p)[1], up) for p in ("hip", "shoulder")}
    place, turn = {}, {}
    for name, parent in PARENT.items():
        j, (side, _, part) = J[name], name.partition("_")
        if parent is None:
            place[name], G = x[:, j], torch.eye(3).to(x).expand(n, 3, 3)
        else:
            G = turn[parent]
            place[name] = place[parent] + (G @ (x[:, j] - x[:, J[parent]])[..., None])[..., 0]
        child = {"hip": "knee", "knee": "ankle", "shoulder": "elbow", "elbow": "wrist"}.get(part)
        if child and part in ("knee", "elbow"):
            a, b = x[:, j] - x[:, J[parent]], x[:, J[f"{side}_{child}"]] - x[:, j]
            hinge, lateral = torch.cross(a, b, dim=-1), frames["hip" if part == "knee" else "shoulder"][..., 1]
            bent = torch.atan2(hinge.norm(dim=-1), (a * b).sum(-1))
            default = lateral if part == "knee" else -lateral  # knees fold backward, elbows forward
            hinge = torch.where((bent > 0.1)[:, None], hinge, default)
            most = math.radians(max(abs(v) for v in LIMITS[part][0]))
            angle = (bent + spin[:, j, 0]).clamp(min=0).minimum(bent.clamp(min=most)) - bent
            local = _axis_turn(hinge, angle)
        elif name == "mid_hip" or not (name in ("spine", "neck", "head") or child):
            local = torch.eye(3).to(x).expand(n, 3, 3)
        else:
            share = {"spine": 0.4, "neck": 0.3, "head": 0.6}.get(name, 1.0)
            axis = spin[:, j] * share
            local = _axis_turn(axis + 1e-9, axis.norm(dim=-1))
            if child:  # the limb's direction seen from pelvis or chest, before and after
                F, d = frames[part], x[:, J[f"{side}_{child}"]] - x[:, j]
                d = torch.where(d.norm(dim=-1, keepdim=True) > 0, d / d.norm(dim=-1, keepdim=True).clamp(min=1e-6), -F[..., 2])
                sign = 1 if side == "left" else -1
                old, new = (ball_angles(swing((F.mT @ v[..., None])[..., 0]), sign)[:, :2] for v in (d, (local @ d[..., None])[..., 0]))
                low, high = (d.new_tensor([r[k] for r in LIMITS[part][:2]]) for k in (0, 1))
                inside = ((new >= torch.minimum(old, low) - 1e-3) & (new <= torch.maximum(old, high) + 1e-3)).all(-1)
                local = torch.where(inside[:, None, None], local, torch.eye(3).to(x))
        turn[name] = G @ local
    out = torch.stack([place[name] for name in JOINTS_17.joints], 1)
    return out.masked_fill(joints.isnan(), math.nan)


def estimate_stature(joints):
    """Stature (N,) mm of bodies (N, 17, 3) from the bones at hand: the median over bones of length / mean share (SHARES); NaN if none."""
    def length(a, b):
        return (joints[:, J[a]] - joints[:, J[b]]).norm(dim=-1)

    bones = {"thigh": ("hip", "knee"), "shank": ("knee", "ankle"), "upper_arm": ("shoulder", "elbow"), "forearm": ("elbow", "wrist")}
    rows = [length(f"{s}_{a}", f"{s}_{b}") / (sum(SHARES[k]) / 2) for k, (a, b) in bones.items() for s in ("left", "right")]
    rows.append(length("mid_hip", "neck") / (sum(SHARES["trunk"]) / 2 + NECK))
    return torch.stack(rows).nanmedian(0).values
