"""The measurements behind notebooks 01 and 02: how good Fig. 1 is, what each unknown costs, posture factors, lens distortion."""

import csv
import math
import re
from pathlib import Path

import numpy as np
import torch

from vp.camera import Camera, depth_from_floor, depth_from_height, image_height
from vp.data.mocap import HEAD_TOP_MM
from vp.lab import results
from vp.skeleton import BVH, JOINTS_17
from vp.world.poses import POSTURES, person, posture_factor


def formula_errors(stature=1750.0, focal=1400.0, size=(1920, 1080)):
    """Relative error, %, of the depth that Fig. 1 gives for a standing person: (n,) over the grid of the claim `fig1-formula-mean`.

    Depth 3 to 10 m, camera 0.5 to 3.4 m above the floor, pitch 0 to 30°; only where the whole person is in the image.
    """
    body = person("standing", stature)
    body = torch.cat([body, torch.zeros(1, 3, dtype=body.dtype)])  # and the sole
    axes = np.arange(3000, 10001, 500.0), np.arange(500, 3401, 100.0), np.radians(np.arange(0, 31, 5.0))
    d, height, pitch = (torch.from_numpy(x.ravel()) for x in np.meshgrid(*axes))
    root = JOINTS_17.root_index
    ahead = (d - (height - body[root, 2]) * pitch.sin()) / pitch.cos()  # so that mid-hip has depth d
    zero = torch.zeros_like(ahead)
    camera = Camera.from_angles(pitch, 0.0, centre=torch.stack([zero, zero, height], -1), focal=focal, size=size)
    uv, depth, valid = camera.project(body + torch.stack([ahead, zero, zero], -1)[:, None])
    seen = (valid & camera.in_image(uv)).all(-1)
    assert torch.allclose(depth[:, root], d)
    h_img = uv[..., 1].amax(-1) - uv[..., 1].amin(-1)
    return (100 * (depth_from_height(focal, 1.0, stature, pitch, h_img) / d - 1))[seen].numpy()


def stature_error(spread=0.05, focal=1400.0):
    """mm per m of computed depth by which a person `spread` taller than assumed is further away: (n,) at computed 2, 3, ... 10 m."""
    d = np.arange(2000, 10001, 1000.0)
    h_img = image_height(focal, 1.0, 1750.0 * (1 + spread), 0.0, d * (1 + spread))  # what the taller person shows
    return 1000 * (d * (1 + spread) - depth_from_height(focal, 1.0, 1750.0, 0.0, h_img)) / d


def pitch_cost(height=1200.0, ahead=4000.0, error_deg=1.0, focal=1400.0):
    """mm along the floor by which a person `ahead` of a level camera is moved when the pitch is believed `error_deg` too small."""
    error = math.radians(error_deg)
    v = focal * height / ahead  # px below the principal point, level camera
    depth = depth_from_floor(focal, height, -error, v)
    return depth * (math.cos(error) + v / focal * math.sin(error)) - ahead


def same_picture_shift(n, seed):
    """Largest pixel shift when n random people, each before a random camera, are scaled about the optical centre by 0.5 to 2: px."""
    rng = np.random.default_rng(seed)
    worst, k = 0.0, -(-n // len(POSTURES))
    for posture in POSTURES:
        x, y, z, focal, size, s = (
            torch.from_numpy(rng.uniform(*bounds, k))
            for bounds in ((-9000, -2000), (-2000, 2000), (500, 3400), (500, 3000), (0.6, 1.2), (0.5, 2))
        )
        camera = Camera.look_at(torch.stack([x, y, z], -1), torch.tensor([0.0, 0.0, 900.0]), focal=focal)
        body, centre = person(posture, 1750.0) * size[:, None, None], camera.centre[:, None]
        uv = camera.project(body)[0]
        scaled = camera.project(centre + s[:, None, None] * (body - centre))[0]
        worst = float(np.maximum(worst, (scaled - uv).abs().max()))  # a point that is not seen makes it NaN
    return round(worst, 9)  # below that it is rounding of float64, which differs between machines


def clip_posture_factors(clip):
    """γ of each frame of a motion-capture clip (vp.data.mocap.Clip), (F,): `posture_factor` with the stature of that body.

    Motion capture has no head top: it is put HEAD_TOP_MM beyond the base of the skull, along the neck.  Toes do not count.
    """
    joints, _ = clip.poses()  # (F, J, 3) mm, Z up, in the order of vp.skeleton.BVH
    skull, neck = joints[:, BVH.index("skull_base")], joints[:, BVH.index("neck")]
    up = (skull - neck) / (skull - neck).norm(dim=-1, keepdim=True)
    body = [j for j, name in enumerate(BVH.joints) if not name.endswith("toe")]
    return posture_factor(torch.cat([joints[:, body], (skull + HEAD_TOP_MM * up)[:, None]], 1), clip.stature).numpy()


def distortion_shifts(panoptic, sequences=None):
    """How far joints move in the HD images when lens distortion is left out: px (n,), and the frame of each (n,).

    panoptic: vp.data.panoptic.Panoptic;  every frame with poses, every HD camera, every joint whose true position is in the image.
    """
    shifts, frames = [], []
    for seq in sequences or panoptic.sequences:
        cameras = panoptic.cameras(seq)
        for frame in panoptic.pose_files(seq):
            _, joints, valid, _ = panoptic.poses(seq, frame)
            for camera in cameras.values():
                true, _, ok = camera.project(joints)
                plain = camera.project(joints, distort=False)[0]
                shift = (true - plain).norm(dim=-1)[valid & ok & camera.in_image(true)]
                shifts.append(shift.numpy())
                frames += [f"{seq}/{frame:08d}"] * len(shift)
    return (np.concatenate(shifts), np.array(frames)) if shifts else (np.zeros(0), np.array([]))


def actions(root):
    """{clip name: action} of a folder of BVH files: from its manifest.csv (columns file, action) if there is one, else from names like
    `dataset-1_walk_normal_001`; a clip of unknown action is its own.
    """
    files = sorted(Path(root).rglob("*.bvh"))
    known = {f.stem: (re.match(r"dataset-\d+_(.+?)_", f.stem) or [0, f.stem])[1] for f in files}
    for manifest in Path(root).rglob("manifest.csv"):
        with manifest.open(newline="") as f:
            known |= {Path(r["file"]).stem: r["action"] for r in csv.DictReader(f) if {"file", "action"} <= set(r)}
    return known


def group_by_action(measured, action):
    """{action: all values of its clips}, sorted by median; measured {clip name: (F,)}, action {clip name: action}."""
    names = {action.get(clip, clip) for clip in measured}
    pooled = {name: np.concatenate([v for clip, v in measured.items() if action.get(clip, clip) == name]) for name in names}
    return dict(sorted(pooled.items(), key=lambda item: np.median(item[1])))


def gamma_rows(measured, action, **columns):
    """Rows of the claims on γ: the median of each clip, by group of actions (walking: every action that begins with "walk"), and the lowest
    5 % quantile over actions.  measured {clip: (F,)}, action {clip: action}.
    """
    groups = {}
    for clip, values in measured.items():
        name = action.get(clip, clip)
        groups.setdefault("walking" if name.startswith("walk") else name, {})[clip] = float(np.median(values))
    common = {"sources": {"poses": "bvh"}, "seed": None, **columns}
    rows = [
        results.row("gamma", "median", float(np.mean(list(m.values()))), "", n=len(m), method=name,
                    per_scene=list(m.values()), clusters=list(m), **common)
        for name, m in sorted(groups.items())
    ]  # fmt: skip
    low, where = min((float(np.percentile(v, 5)), name) for name, v in group_by_action(measured, action).items())
    return [*rows, results.row("gamma", "lowest_p5", low, "", n=len(measured), method=where, **common)]


def distortion_rows(shifts, frames, **columns):
    """The row of the claim on lens distortion: mean shift, px, over joint views, and the means of the frames.

    shifts (n,) px, frames (n,) names, as `distortion_shifts` returns them;  no row without shifts.
    """
    if not len(shifts):
        return []
    names, which = np.unique(frames, return_inverse=True)
    means = (np.bincount(which, weights=shifts) / np.bincount(which)).tolist()
    common = {"sources": {"poses": "panoptic", "cameras": "panoptic"}, "per_scene": means, "clusters": names.tolist(), **columns}
    return [results.row("distortion", "shift", float(shifts.mean()), "px", n=len(shifts), **common)]


def pinhole_rows(n, seed, **columns):
    """Rows of the claims of notebook 01: the error of Fig. 1, the price of stature and of pitch, the family of the same picture."""
    error = np.abs(formula_errors())
    common = {"sources": {"poses": "computed", "cameras": "computed"}, **columns}
    return [
        results.row("pinhole", "formula_error_mean", float(error.mean()), "%", n=len(error), **common),
        results.row("pinhole", "formula_error_max", float(error.max()), "%", n=len(error), **common),
        results.row("pinhole", "stature_error", float(stature_error().mean()), "mm/m", n=9, **common),
        results.row("pinhole", "pitch_cost", pitch_cost(), "mm", n=1, **common),
        results.row("pinhole", "same_picture", same_picture_shift(n, seed), "px", n=n, seed=seed, **common),
    ]
