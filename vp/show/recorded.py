"""Recorded data as `vp check-data` shows it: one look tells a wrong unit, axis, side or camera.

The person's left is blue, the right is orange; the green circle of 2.5 m lies on the floor Z = 0 about the world's origin.
"""

import math

import numpy as np
import torch

from vp.errors import InputError
from vp.show import plot, style
from vp.skeleton import BVH


def _placed(s):
    """Whether the sample's camera has extrinsics, so that there is a floor."""
    return s.camera is not None and s.sources.get("cameras") != "level"


def _view(ax, s):
    """One sample: picture or blank frame, floor circle, projected 3D or annotated 2D joints."""
    import cv2

    image = None if s.image is None else cv2.imread(s.image)
    if s.image is not None and image is None:
        raise InputError("not a readable picture", s.image)
    w, h = s.size or image.shape[1::-1]
    ax.set(xlim=(-0.5, w - 0.5), ylim=(h - 0.5, -0.5), xticks=[], yticks=[], aspect="equal", facecolor="#f3f2ee")
    if image is not None:
        ax.imshow(image[..., ::-1], extent=(-0.5, w - 0.5, h - 0.5, -0.5), zorder=1)
    caption = s.name.split("/", 1)[1]
    if _placed(s):
        plot.floor(ax, s.camera)
        caption += f"\npitch {s.camera.pitch_deg:+.0f}°, height {s.camera.centre[2] / 1000:.1f} m"
    if s.joints is not None:
        uv, _, ok = s.project()
        plot.sided(ax, uv, s.skeleton, ok)
    elif s.joints_px is not None:
        plot.sided(ax, s.joints_px, s.skeleton, s.valid_px)
        for x0, y0, x1, y1 in [] if s.boxes is None else s.boxes.tolist():
            ax.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="white", lw=1, ls=(0, (4, 3)), zorder=2)
    ax.set_title(caption, fontsize=8, loc="left", color=style.INK, linespacing=1.3)
    ax.spines[:].set_color("#b5b5b5")


def _figure(columns, rows, title, note, ratio=0.62, width=3.6):
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width * columns, width * ratio * rows + 0.6 + 0.4 * rows), layout="constrained")
    fig.suptitle(title, x=0.01, ha="left", fontsize=12, weight="bold", color=style.INK)
    fig.supxlabel(note, x=0.01, ha="left", fontsize=8, color="#555555")
    return fig


def draw_views(views, title):
    """Samples as panels, a row per sequence; None without samples."""
    if not views:
        return None
    groups = {}  # a row per sequence, else rows of four
    for s in views:
        groups.setdefault(s.name.split("/")[1], []).append(s)
    rows = list(groups.values()) if len(groups) < len(views) else [views[i : i + 4] for i in range(0, len(views), 4)]
    rows = [row[i : i + 5] for row in rows for i in range(0, len(row), 5)]
    columns = max(map(len, rows))
    ratio = max(0.3, min(1.2, max(s.size[1] / s.size[0] for s in views if s.size)))
    poses = any(s.joints is not None for s in views)
    notes = ["projected 3D joints: the person's left blue, right orange"] if poses else []
    if not poses and views[0].joints_px is not None:
        notes = ["annotated keypoints: the person's left blue, right orange; dashed: boxes"]
    notes += ["green: circle of 2.5 m on the floor, 1 m along X and Y"] if any(_placed(s) for s in views) else []
    fig = _figure(columns, len(rows), title, "      ".join(notes), ratio)
    axes = fig.subplots(len(rows), columns, squeeze=False)
    for row, line in zip(rows, axes):
        for s, ax in zip(row, line):
            _view(ax, s)
        for ax in line[len(row) :]:
            ax.set_axis_off()
    return fig


def draw_cameras(data):
    """Extrinsics without pictures: plan of the cameras and their viewing directions; height and pitch of each.  data: Mupots."""
    note = "arrows: viewing direction on the floor plan      orange: left-handed in the file, repaired"
    fig = _figure(2, 1, "MuPoTS-3D: extrinsics only", note, 0.95, 5)
    plan, side = fig.subplots(1, 2, width_ratios=(1.25, 1))
    angle = np.linspace(0, 2 * np.pi, 200)
    plan.plot(2.5 * np.cos(angle), 2.5 * np.sin(angle), color=style.GREEN, lw=2)
    where = {seq: (-(R.mT @ t) / 1000).tolist() for seq, (R, t) in data.extrinsics.items()}
    for rank, seq in enumerate(sorted(where, key=lambda s: where[s][2])):
        (x, y, z), R = where[seq], data.extrinsics[seq][0]
        colour = style.VERMILLION if seq in data.left_handed else style.BLUE
        dx, dy = torch.nn.functional.normalize(R[2, :2], dim=0).tolist()
        plan.annotate("", (x + 1.1 * dx, y + 1.1 * dy), (x, y), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.3})
        plan.plot(x, y, "o", color=colour, ms=5)
        plan.annotate(seq, (x, y), (-13 * dx, -10 * dy), textcoords="offset points", ha="center", va="center", fontsize=8)
        side.plot([0, z], [rank, rank], color=colour, lw=1.5)
        side.plot(z, rank, "o", color=colour, ms=5)
        pitch = math.degrees(-math.asin(max(-1.0, min(1.0, R[2, 2].item()))))
        side.annotate(f"{seq}  pitch {pitch:.0f}°", (z, rank), (7, 0), textcoords="offset points", va="center", fontsize=8)
    plan.set(aspect="equal", xlabel="world X (m)", ylabel="world Y (m)", title="plan, circle of 2.5 m about the origin")
    side.set(xlabel="height above the floor (m)", yticks=[], title="height and pitch (positive looks down)")
    side.set_xlim(0, 1.25 * max(z for _, _, z in where.values()))
    for ax in (plan, side):
        ax.grid(color="#dddddd", lw=0.6, axis="both" if ax is plan else "x")
        ax.spines[["top", "right"]].set_visible(False)
        ax.title.set_fontsize(9)
    side.spines["left"].set_visible(False)
    return fig


def draw_clips(clips, instants=4):
    """Up to twelve clips as stick figures from the side, at four instants each, with the floor of the file; None without known joints."""
    clips = [c for c in clips if c.family]
    if not clips:
        return None
    clips = clips[:: math.ceil(len(clips) / 12)]
    columns = min(4, len(clips))
    note = "four instants from left to right; facing +X is right; left blue, right orange; line: Y = 0 of the file"
    fig = _figure(columns, math.ceil(len(clips) / columns), "Motion capture", note, 0.6)
    axes = fig.subplots(math.ceil(len(clips) / columns), columns, squeeze=False, sharex=True, sharey=True).ravel()
    for ax, clip in zip(axes, clips):
        joints, valid = clip.poses()
        pick = np.linspace(0, len(clip) - 1, instants).round().astype(int)
        side = joints[pick][..., [0, 2]].numpy() / 1000
        side[..., 0] += np.arange(instants)[:, None] * 1.1 - side[:, BVH.root_index, 0][:, None]
        ax.axhline(0, color=style.GREEN, lw=1.5, zorder=1)
        plot.sided(ax, side, BVH, valid[pick])
        ax.set_title(f"{clip.name}\n{len(clip)} frames, {clip.fps:.0f} fps", fontsize=8, loc="left", color=style.INK)
        ax.set(aspect="equal", xlim=(-0.8, 4.1), ylim=(-0.25, 2.35), xticks=[], yticks=[0, 1, 2])
        ax.tick_params(labelsize=7, length=0)
        ax.grid(axis="y", color="#e3e3e3", lw=0.6)
        ax.spines[:].set_visible(False)
    for ax in axes[len(clips) :]:
        ax.set_axis_off()
    return fig
