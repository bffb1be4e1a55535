"""Contact sheets of posed bodies: compact drawings with limbs as capsules and heads as discs, many to a sheet."""

from itertools import groupby

import numpy as np
import torch

from vp.errors import InputError
from vp.show import style
from vp.skeleton import JOINTS_17

LEFT, RIGHT, TRUNK, SKIN_COLOUR = (0, 114, 178), (213, 94, 0), (75, 85, 99), (224, 172, 125)  # style.BLUE, style.VERMILLION
# drawn as capsules: joint, joint, radius as a share of stature, colour
_LIMBS = [
    *[(f"{s}_{a}", f"{s}_{b}", r, c) for s, c in (("left", LEFT), ("right", RIGHT)) for a, b, r in (
        ("hip", "knee", 0.036), ("knee", "ankle", 0.026), ("shoulder", "elbow", 0.024), ("elbow", "wrist", 0.019))],
    ("left_shoulder", "right_shoulder", 0.035, TRUNK), ("left_hip", "right_hip", 0.045, TRUNK), ("left_shoulder", "left_hip", 0.042, TRUNK),
    ("right_shoulder", "right_hip", 0.042, TRUNK), ("spine", "neck", 0.055, TRUNK), ("mid_hip", "spine", 0.055, TRUNK),
    ("neck", "head", 0.028, SKIN_COLOUR),
]  # fmt: skip
_J = {j: i for i, j in enumerate(JOINTS_17.joints)}


def view_of(joints, azimuth):
    """Parallel view (..., 3) = (right, up, towards the viewer) of joints (..., 3) from `azimuth` radian; 0 looks at the face."""
    x, y, z = np.moveaxis(np.asarray(joints, dtype=np.float64), -1, 0)
    c, s = np.cos(azimuth), np.sin(azimuth)
    return np.stack([y * c - x * s, z, x * c + y * s], -1)


def draw_body(draw, joints, stature, origin, scale, azimuth):
    """One body on a PIL canvas: capsules from far to near with a pale rim, left blue, right vermillion; NaN joints are left out.

    joints (17, 3) mm;  origin: pixel of the floor below mid-hip;  scale px per mm;  azimuth radian.
    """
    p = view_of(joints, azimuth)
    xy = np.stack([origin[0] + scale * p[:, 0], origin[1] - scale * p[:, 1]], -1)
    groups, top = [], xy[_J["head"]] * 0.75 + xy[_J["head_top"]] * 0.25
    for k, (a, b, r, colour) in enumerate(_LIMBS):  # the trunk is one piece, limbs are drawn bone by bone
        depth = (p[_J[a], 2] + p[_J[b], 2]) / 2 if colour is not TRUNK else (p[_J["neck"], 2] + p[_J["mid_hip"], 2]) / 2
        groups.append((depth, k if colour is not TRUNK else -1, xy[_J[a]], xy[_J[b]], r, colour))
    groups.append((p[_J["head"], 2] + 60, len(_LIMBS), top, top, 0.058, SKIN_COLOUR))
    groups = sorted((q for q in groups if np.isfinite([*q[2], *q[3]]).all()), key=lambda q: q[:2])
    for _, piece in groupby(groups, key=lambda q: q[:2]):
        piece = list(piece)
        for grow in (1.0, 0.0):
            for _, _, a, b, r, colour in piece:
                w, fill = r * stature * scale + grow, (255, 255, 255) if grow else colour
                draw.line([tuple(a), tuple(b)], fill=fill, width=max(1, round(2 * w)))
                for x, y in (a, b):
                    draw.ellipse([x - w, y - w, x + w, y + w], fill=fill)


def contact_sheet(joints, stature, titles=None, columns=8, cell=(76, 90), azimuth=-0.9, extent=2000.0):
    """PIL picture (palette of 24 colours) of N bodies in a grid, three-quarter view, the floor as a line; all to one scale.

    joints (N, 17, 3) mm;  stature (N,) mm;  titles: None or {first index of a row: text}, that row gets a heading;  cell (w, h) px;
    azimuth: radian, one or (N,);  extent: mm that a cell is high.  InputError: shapes do not fit.
    """
    from PIL import Image, ImageDraw, ImageFont

    joints, stature = np.asarray(torch.as_tensor(joints)), np.asarray(torch.as_tensor(stature))
    if joints.ndim != 3 or joints.shape[1:] != (17, 3) or stature.shape != joints.shape[:1]:
        raise InputError(f"joints {joints.shape} and stature {stature.shape}", "contact_sheet", "expected (N, 17, 3) and (N,)")
    over, (w, h), band = 2, cell, 16
    titles, rows = titles or {}, -(-len(joints) // columns)
    azimuth = np.broadcast_to(azimuth, len(joints))
    tops, y = [], 0
    for r in range(rows):
        y += band if r * columns in titles else 0
        tops.append(y)
        y += h
    sheet = Image.new("RGB", (over * columns * w, over * y), "white")
    draw = ImageDraw.Draw(sheet)
    for i in range(len(joints)):
        r, c = divmod(i, columns)
        floor = over * (tops[r] + h - 7)
        draw.line([(over * c * w + 6, floor), (over * (c + 1) * w - 6, floor)], fill=(209, 213, 219), width=2)
        draw_body(draw, joints[i], stature[i], (over * (c + 0.5) * w, floor), over * (h - 11) / extent, azimuth[i])
    sheet = sheet.resize((columns * w, y), Image.LANCZOS)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for r in range(rows):
        if r * columns in titles:
            draw.text((4, tops[r] - band + 1), titles[r * columns], fill=style.INK, font=font)
    return sheet.quantize(24, dither=Image.Dither.NONE)
