"""Motion capture in BVH files: hierarchy, channels, forward kinematics for all frames at once.

* Position channels *replace* the OFFSET of their joint (component by component); rotations apply in the order of the channels, in degree,
  whatever that order is: `R = R_first @ R_second @ R_third`.
* The source has Y up and the rest pose faces +Z; ours has Z up and faces +X: (X, Y, Z) = (z, x, y).
* BVH states no unit.  `unit_mm` is the length of one unit in mm; without it the first of the usual units that makes a person is taken.
* Joints are the *start* of bones: "Head" is the base of the skull, about 20 cm below the head top.
"""

import re
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from vp.data.files import folder, nothing_found, read_bytes
from vp.errors import InputError
from vp.sample import Sample
from vp.skeleton import BVH, BVH_NAMES

UNITS_MM = (10.0, 1000.0, 1.0, 25.4 / 0.45, 25.4)  # cm, m, mm, the CMU conversions' 1/0.45 inch, inch
PLAUSIBLE_MM = (1000.0, 2300.0)  # stature
# Head top above the base of the skull, the same for everybody: heads hardly grow with stature.  Roughly; not in the paper.  This is the one
# place: a clip's stature counts it, and who needs the head top of a clip (it records none) puts it `Clip.head_top_mm` beyond the skull.
HEAD_TOP_MM = 200.0
ANKLE = 0.039  # ankle joint above the ground, share of stature: vp.world.poses.SOLE, which readers do not import


@dataclass
class Clip:
    """One recording: joints (F, J, 3) float64, mm, Z up;  names: J joint names of the source;  parents: J indices, -1 for the root.

    fps: frames per second;  unit_mm: length of a unit of the file;  stature: estimate in mm (straightened bones from ankle to skull, plus
    head_top_mm and ankle height);  family: key of `vp.skeleton.BVH_NAMES` that fits the names, or None;  head_top_mm: of the head top above
    the base of the skull.
    """

    name: str
    joints: torch.Tensor
    names: tuple
    parents: tuple
    fps: float
    unit_mm: float
    stature: float
    family: str | None
    head_top_mm: float = HEAD_TOP_MM

    def __len__(self):
        return len(self.joints)

    def poses(self):
        """Joints in the order of `vp.skeleton.BVH`: (F, 20, 3) mm with NaN where missing, valid (F, 20).  InputError for unknown names."""
        if self.family is None:
            raise InputError(f"unknown joint names ({', '.join(self.names[:6])} ...)", self.name, f"known are {', '.join(BVH_NAMES)}")
        index = {ours: self.names.index(theirs) for theirs, ours in BVH_NAMES[self.family].items() if theirs in self.names}
        out = self.joints.new_full((len(self), len(BVH), 3), float("nan"))
        columns = [BVH.index(ours) for ours in index]
        out[:, columns] = self.joints[:, list(index.values())]
        valid = torch.zeros(len(self), len(BVH), dtype=torch.bool)
        valid[:, columns] = True
        return out, valid

    def sample(self, frame):
        """One frame as a Sample without a camera."""
        joints, valid = self.poses()
        return Sample(BVH, f"bvh/{self.name}/{frame}", joints[frame][None], valid[frame][None], ids=(0,), sources={"poses": "bvh"})


# ---- reading -----------------------------------------------------------------------------------------------------------------------


def _parse(text):
    """HIERARCHY and MOTION -> names, parents, offsets (J, 3), channels (per joint a list of (kind, axis, column)), data (F, C), seconds."""
    head, found, motion = text.partition("MOTION")
    if not head.lstrip().startswith("HIERARCHY") or not found:
        raise ValueError("HIERARCHY or MOTION is missing")
    names, parents, offsets, channels, columns = [], [], [], [], 0
    tokens, stack, at = head.split(), [], 1  # stack: open braces, as joint index or None for an end site
    opening = None

    def floats(n):
        values = np.array(tokens[at + 1 : at + 1 + n], dtype=np.float64)
        if len(values) != n or not np.isfinite(values).all():
            raise ValueError("an OFFSET needs three finite numbers")
        return values

    while at < len(tokens):
        word = tokens[at]
        if word in ("ROOT", "JOINT"):
            parent = next((j for j in reversed(stack) if j is not None), -1)
            opening = len(names)
            names.append(tokens[at + 1])
            parents.append(parent)
            offsets.append(np.zeros(3))
            channels.append([])
            at += 2
        elif word == "End":
            opening, at = None, at + 2
        elif word == "{":
            stack.append(opening)
            at += 1
        elif word == "}":
            stack.pop()
            at += 1
        elif word == "OFFSET":
            if stack[-1] is not None:
                offsets[stack[-1]] = floats(3)
            at += 4
        elif word == "CHANNELS":
            n, joint = int(tokens[at + 1]), stack[-1]
            for k, channel in enumerate(tokens[at + 2 : at + 2 + n]):
                m = re.fullmatch(r"([XYZ])(position|rotation)", channel, re.IGNORECASE)
                if m is None or joint is None:
                    raise ValueError(f"channel {channel[:30]!r}")
                channels[joint].append((m[2].lower(), "XYZ".index(m[1].upper()), columns + k))
            columns += n
            at += 2 + n
        else:
            raise ValueError(f"unexpected {word[:30]!r}")
    if stack or not names:
        raise ValueError("braces do not match" if stack else "no joint")
    m = re.match(r"\s*Frames:\s*(\d{1,9})\s+Frame Time:\s*([\d.eE+-]+)", motion)
    if m is None or not 0 < float(m[2]) < 60:
        raise ValueError("MOTION needs Frames and Frame Time")
    data = np.array(motion[m.end() :].split(), dtype=np.float64)
    if data.size != int(m[1]) * columns or not data.size:
        raise ValueError(f"{m[1]} frames of {columns} channels announced, but {data.size} numbers follow")
    if not np.isfinite(data).all() or np.abs(data).max() > 1e7:
        raise ValueError("NaN, infinite or absurd values in MOTION")
    return names, parents, np.stack(offsets), channels, data.reshape(int(m[1]), columns), float(m[2])


def _axis_rotation(axis, degrees):
    """Rotations (F, 3, 3) about one coordinate axis."""
    a = np.deg2rad(degrees)
    R = np.zeros((len(a), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    R[:, axis, axis] = 1
    R[:, i, i] = R[:, j, j] = np.cos(a)
    R[:, i, j], R[:, j, i] = -np.sin(a), np.sin(a)
    return R


def forward_kinematics(parents, offsets, channels, data):
    """Joint positions (F, J, 3) in the file's units and axes (Y up): x_j = x_p + G_p offset_j, G_j = G_p R_j."""
    F = len(data)
    position, turn = np.zeros((F, len(parents), 3)), [None] * len(parents)
    for j, parent in enumerate(parents):
        local, R = np.repeat(offsets[j][None], F, 0), None
        for kind, axis, column in channels[j]:
            if kind == "position":
                local[:, axis] = data[:, column]
            else:
                step = _axis_rotation(axis, data[:, column])
                R = step if R is None else R @ step
        G = None if parent < 0 else turn[parent]
        position[:, j] = local if parent < 0 else position[:, parent] + (local if G is None else np.einsum("fij,fj->fi", G, local))
        turn[j] = R if G is None else G if R is None else G @ R
    return position


def _is_tpose(data, channels):
    """Whether the first frame is a T-pose put in by a conversion: most rotations exactly zero there that are not in the next frame."""
    rotations = [c for joint in channels for kind, _, c in joint if kind == "rotation"]
    if len(data) < 2 or not rotations:
        return False
    moving = data[1, rotations] != 0
    return bool(moving.any() and (data[0, rotations][moving] == 0).mean() > 0.7)


def _stature(position, names, parents):
    """Rough stature in units, without head top and ankle height: straightened bones from the head to the ankle; else the vertical extent.

    From the hips to the legs counts the middle of the two hip joints: half the width of the pelvis makes nobody taller.
    """
    lower = [n.lower() for n in names]
    feet = [j for j, n in enumerate(lower) if re.search("foot|ankle", n) and not re.search("foot|ankle", lower[parents[j]])]
    if "hips" not in lower or "head" not in lower or not feet or len(names) > 500:
        return float(np.ptp(position[..., 1], axis=1).max())
    hips, at = lower.index("hips"), position[0]

    def chain(j):  # from j up to the hips
        return [j] if j == hips or parents[j] < 0 else [j, *chain(parents[j])]

    def length(line):
        return sum(np.linalg.norm(at[a] - at[b]) for a, b in pairwise(line))

    legs = [line for j in feet if (line := chain(j))[-1] == hips]
    middle = np.mean([at[line[:3][-1]] for line in legs] or [at[hips]], axis=0)  # a line is foot, knee, hip joint, ...
    leg = max((length(line[:3]) for line in legs), default=0.0)
    return float(length(chain(lower.index("head"))) + leg + np.linalg.norm(middle - at[hips]))


def read_bvh(path, unit_mm=None, skip_tpose="auto"):
    """Read one BVH file as a Clip.

    unit_mm: mm per unit (10 for cm, 25.4 / 0.45 for the CMU conversions); None guesses, with a warning when no usual unit makes a person of
    1.0 to 2.3 m, and a given unit that does not is warned about as well.  skip_tpose: True drops the first frame, "auto" where it is a
    T-pose, False never.  InputError: damaged hierarchy, truncated motion, NaN.
    """
    path = Path(path)
    text = read_bytes(path).decode("utf-8-sig", "replace")
    try:
        names, parents, offsets, channels, data, seconds = _parse(text)
    except (ValueError, IndexError, OverflowError) as e:
        raise InputError(f"not a valid BVH file ({str(e)[:100]})", path, "damaged or truncated?") from None
    if skip_tpose is True or (skip_tpose == "auto" and _is_tpose(data, channels)):
        data = data[1:]
    position = forward_kinematics(parents, offsets, channels, data)
    if not len(position) or not np.isfinite(position).all():
        raise InputError("no frame is left" if not len(position) else "positions overflow", path)
    units = _stature(position, names, parents)
    low, high = PLAUSIBLE_MM
    unit = unit_mm or next((u for u in UNITS_MM if low < units * u + HEAD_TOP_MM < high), UNITS_MM[0])
    stature = (units * unit + HEAD_TOP_MM) / (1 - ANKLE)
    if not low < stature < high:
        warnings.warn(f"{path}: a stature of {stature / 1000:.2f} m with {unit:g} mm per unit; give unit_mm", stacklevel=2)
    overlap = {f: sum(n in names for n in known) for f, known in BVH_NAMES.items()}
    family = max(overlap, key=overlap.get)
    joints = torch.from_numpy(position[..., [2, 0, 1]] * unit)
    return Clip(path.stem, joints, tuple(names), tuple(parents), 1 / seconds, unit, stature, family if overlap[family] >= 12 else None)


def read_clips(root, unit_mm=None, skip_tpose="auto"):
    """Generator of the Clips of all *.bvh files below a folder, by path.  InputError if there are none."""
    files = sorted(folder(root, "BVH files").rglob("*.bvh"))
    if not files:
        raise nothing_found(root, "*.bvh file")
    for path in files:
        yield read_bvh(path, unit_mm, skip_tpose)
