"""Virtual people measured against recorded ones: how much of reality do they reach, and how far do they stray from it.

Distance of two bodies: mean over the shared joints of the Euclidean distance, both with mid-hip at the origin, facing X, and scaled to
REFERENCE_MM of stature.  Coverage: share of recorded frames whose nearest virtual body is within a radius; reverse: share of virtual
bodies whose nearest recorded frame is.
"""

from dataclasses import dataclass

import torch

from vp.skeleton import JOINTS_17
from vp.world.bank import PoseBank, to_body_frame
from vp.world.poses import posture_factor

REFERENCE_MM = 1750.0
RADII_MM = (80.0, 120.0, 160.0)
SHARED = tuple(j for j in JOINTS_17.joints if j not in ("head", "head_top"))  # heads are constructed, not recorded
_SHARED = [JOINTS_17.index(j) for j in SHARED]


def aligned(bank):
    """Shared joints (N, 15, 3) mm of a PoseBank at REFERENCE_MM of stature, mid-hip at the origin, facing X; NaN where missing."""
    joints = to_body_frame(bank.joints * (REFERENCE_MM / bank.stature)[:, None, None])
    return (joints - joints[:, JOINTS_17.root_index, None])[:, _SHARED]


def nearest(a, b, marks=(), chunk=(64, 8192)):
    """Distance (n,) mm from each body of a (n, J, 3) to its nearest in b (m, J, 3), and index (n,) there; joints missing in a are left out.

    b must have no NaN.  marks: also the distances to the nearest of the first `mark` bodies of b; returns distance, index, (marks, n).
    Memory stays at chunk[0] x chunk[1] floats times a few.
    """
    known = ~a.isnan().any(-1)
    best, index = a.new_full((len(a),), torch.inf), torch.zeros(len(a), dtype=torch.long, device=a.device)
    steps = sorted({*marks, len(b), *range(0, len(b), chunk[1])} - {0})
    at = {}
    for start, stop in zip([0, *steps[:-1]], steps, strict=True):
        if start >= len(b):
            break
        for first in range(0, len(a), chunk[0]):
            rows = slice(first, first + chunk[0])
            total = a.new_zeros(len(a[rows]), stop - start)
            for j in range(a.shape[1]):
                d = torch.cdist(a[rows, j].nan_to_num(), b[start:stop, j], compute_mode="donot_use_mm_for_euclid_dist")
                total += d * known[rows, j, None]
            low, where = (total / known[rows].sum(1, keepdim=True)).min(1)
            better = low < best[rows]
            index[rows] = torch.where(better, where + start, index[rows])
            best[rows] = torch.where(better, low, best[rows])
        if stop in marks:
            at[stop] = best.clone()
    return (best, index, torch.stack([at[m] for m in marks])) if marks else (best, index)


@dataclass
class Coverage:
    """What `measure` found: distances (mm) and names; `share` and `table` turn them into shares."""

    distance: torch.Tensor  # (F,) of each recorded frame to its nearest virtual body
    activity: tuple  # F names
    index: torch.Tensor  # (F,) the nearest virtual body
    marks: tuple  # numbers of virtual bodies of the curve
    curve: torch.Tensor  # (marks, F) distances to the nearest of the first so many
    reverse: torch.Tensor  # (V,) of virtual bodies to their nearest recorded frame

    def share(self, radius, where=None):
        """Share of recorded frames within `radius` mm; where: (F,) bool or a function of the activity's name."""
        mask = torch.tensor([where(a) for a in self.activity]) if callable(where) else where
        d = self.distance if mask is None else self.distance[mask]
        return float((d <= radius).float().mean())

    def table(self):
        """Rows (what, n, share within each of RADII_MM, median mm): all, each activity, the curve and the reverse."""
        def row(what, d):
            return (what, len(d), *(round(float((d <= r).float().mean()), 4) for r in RADII_MM), round(float(d.median()), 1))

        rows = [row("all", self.distance)]
        for name in dict.fromkeys(self.activity):
            rows.append(row(name, self.distance[torch.tensor([a == name for a in self.activity])]))
        rows += [row(f"first {m} virtual", d) for m, d in zip(self.marks, self.curve, strict=True)]
        return [*rows, row("virtual to recorded", self.reverse)]


def measure(recorded, virtual, frames=2000, back=2000, marks=(1000, 10_000)):
    """Coverage of `recorded` by `virtual` (PoseBanks): at most `frames` evenly spaced frames against all virtual bodies.

    back: how many virtual bodies are compared with (all) recorded frames;  marks: further sizes of the virtual set for the curve.
    """
    step = max(1, -(-len(recorded) // frames))
    real, made = aligned(recorded), aligned(virtual)
    marks = tuple(sorted({m for m in marks if m < len(made)} | {len(made)}))
    distance, index, curve = nearest(real[::step], made, marks)
    known = ~real.isnan().any(-1)
    common = known.float().mean(0) >= 0.5  # the way back: joints that half of the frames have, and the frames that have them all
    whole = known[:, common].all(1)
    reverse = nearest(made[:back][:, common], real[whole][:, common])[0]
    return Coverage(distance, tuple(recorded.activity[::step]), index, marks, curve, reverse)


# ---- shape and posture -----------------------------------------------------------------------------------------------------------

BONES = {
    "thigh": ("left_hip", "left_knee"), "shank": ("left_knee", "left_ankle"), "upper_arm": ("left_shoulder", "left_elbow"),
    "forearm": ("left_elbow", "left_wrist"), "trunk": ("mid_hip", "neck"), "shoulders": ("left_shoulder", "right_shoulder"),
    "hips": ("left_hip", "right_hip"),
}  # fmt: skip


def bone_ratios(bank):
    """Bone lengths as shares of stature: {bone: (mean, standard deviation)}, NaN joints left out."""
    out = {}
    for name, (a, b) in BONES.items():
        ratio = (bank.joints[:, JOINTS_17.index(a)] - bank.joints[:, JOINTS_17.index(b)]).norm(dim=-1) / bank.stature
        ratio = ratio[~ratio.isnan()]
        out[name] = (float(ratio.mean()), float(ratio.std(unbiased=False)))
    return out


def side_by_side(recorded, virtual, quantiles=(0.05, 0.25, 0.5, 0.75, 0.95)):
    """Posture factor γ (§2; quantiles) and bone ratios of two PoseBanks: rows (what, recorded, virtual).

    γ counts the joints that both have: bodies without a head top are seen without it on both sides.
    """
    both = recorded.valid.any(0) & virtual.valid.any(0)
    gamma = []
    for bank in (recorded, virtual):
        joints = bank.joints.masked_fill(~both[:, None], torch.nan)
        gamma.append(posture_factor(joints, bank.stature).quantile(torch.tensor(quantiles)))
    rows = [(f"gamma, {100 * q:g} %", float(r), float(v)) for q, r, v in zip(quantiles, *gamma, strict=True)]
    real, made = bone_ratios(recorded), bone_ratios(virtual)
    return rows + [(f"{name} / stature", real[name][0], made[name][0]) for name in BONES]


def virtual_bank(n, generator, people, mixture="all"):
    """n procedural bodies to measure with (`PoseBank.procedural`)."""
    return PoseBank.procedural(n, mixture, people, generator)
