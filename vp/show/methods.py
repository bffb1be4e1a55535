"""What each method of the generalization study looks at (§3.1), on one picture: the crop of TBS, the attention of TIF, the depth map of
BDR, each with the depths it says beside the true ones.
"""

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional as F

from vp.nets.method import ROOT
from vp.nets.tbs import box_depth, crops, square
from vp.nets.tif import attention
from vp.show import plot, style

INKS = (style.SKY, style.ORANGE, style.YELLOW, style.PURPLE, style.GREEN)  # readable on photos; letters say the same
_RIM = {"linewidth": 2.6, "foreground": "black"}


def choose(pictures, people=3):
    """Index of the picture that shows best who is who: `people` (or the most there are, if fewer), at most one of them cut off, roots
    beside each other rather than behind."""
    w, h = pictures.camera.size
    edge = pictures.boxes.new_tensor([w, h]) - 0.5
    inside = (pictures.boxes[..., :2] > -0.5).all(-1) & (pictures.boxes[..., 2:] < edge).all(-1)  # boxes are clipped to the picture
    best = (-1, -1, -1.0), 0
    for i, (mask, joints) in enumerate(zip(pictures.mask, pictures.joints)):
        u, n = joints[mask][:, ROOT, 0].sort().values, int(mask.sum())
        rank = (n if n <= people else -1, min(int((inside[i] & mask).sum()), max(n - 1, 1)), float(u.diff().min()) if n > 1 else 0.0)
        best = max(best, (rank, i))
    return best[1]


def letter(i):
    """Name of person i on a picture: A, B, ..."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i % 26]


def looked_at(views, methods, index=0):
    """(figure, words) of one picture of `Views` (truth included): where the people are, and what each of the three methods sees of them.

    methods: {"TBS": TBS, "TIF": TIF, "BDR": BDR}, trained, on the device of the views.  words: the depths, as a text alternative.
    """
    one = _only(views, index)
    who = one.mask[0].nonzero().flatten().tolist()
    with torch.no_grad():
        said = {name: method.depths(one.without_truth())[0].cpu() / 1000 for name, method in methods.items()}
        parts = _crops(methods["TBS"], one, who), _attention(methods["TIF"], one), methods["BDR"](one)["depth"][0, ROOT].cpu() / 1000
    true = one.depth[0, :, ROOT].cpu() / 1000
    image = one.image[0].permute(1, 2, 0).cpu().numpy()
    fig, axes = style.subplots(2, 2, size=(9.4, 6.0))
    _squares(axes[0, 0], one, image, who, true)
    _crop_strip(axes[0, 1], parts[0], one, who, said["TBS"])
    _pools(axes[1, 0], one, image, parts[1], who, said["TIF"])
    _depths(axes[1, 1], one, parts[2], who, said["BDR"])
    words = [f"{letter(i)} true {true[p]:.2f}, " + ", ".join(f"{m} {d[p]:.2f}" for m, d in said.items()) for i, p in enumerate(who)]
    return fig, f"Depths in m: {'; '.join(words)}."


def _only(views, index):
    """The `Views` of one picture."""
    pick = slice(index, index + 1)
    return replace(views, **{f.name: getattr(views, f.name)[pick] for f in fields(views) if getattr(views, f.name) is not None})


def _text(ax, x, y, text, ink, **options):
    """A text that can be read on a photo."""
    import matplotlib.patheffects as pe

    ax.text(x, y, text, color=ink, fontsize=9, fontweight="bold", path_effects=[pe.withStroke(**_RIM)], clip_on=True, **options)


def _labels(ax, one, who, depths):
    """Letter and depth of each person, beside the root and within the picture; the ring is the root."""
    w, h = one.size
    for i, p in enumerate(who):
        u, v = one.joints[0, p, ROOT].tolist()
        ink = INKS[i % len(INKS)]
        ax.plot(u, v, "o", mfc="none", mec="black", ms=8, mew=3)
        ax.plot(u, v, "o", mfc="none", mec=ink, ms=8, mew=1.5)
        left = u > 0.8 * w
        _text(ax, u + (-1 if left else 1) * 0.025 * w, min(v + 0.02 * h, 0.95 * h), f"{letter(i)} {depths[p]:.2f} m", ink,
              ha="right" if left else "left", va="center")  # fmt: skip


def _squares(ax, one, image, who, true):
    plot.image_axes(ax, one.size, image, "The picture, true depths, TBS's squares")
    for i, p in enumerate(who):
        x0, y0, x1, y1 = square(one.boxes[0, p]).tolist()
        for ink, width in (("black", 2.6), (INKS[i % len(INKS)], 1.4)):
            ax.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=ink, lw=width)
    _labels(ax, one, who, true)


def _crops(tbs, one, who):
    """(P', 3, S, S) of people `who`: what TBS sees."""
    index = torch.zeros(len(who), dtype=torch.long, device=one.boxes.device)
    return crops(one.image, square(one.boxes[0, who]), index, tbs.crop).cpu()


def _crop_strip(ax, seen, one, who, said):
    """The crops side by side, with k, γ and their product below each."""
    n, size = len(who), seen.shape[-1]
    strip = torch.ones(3, size, max(n, 1) * (size + 4) - 4)
    for i, crop in enumerate(seen):
        strip[:, :, i * (size + 4) : i * (size + 4) + size] = crop
    ax.imshow(strip.permute(1, 2, 0).clamp(0, 1).numpy())
    k = box_depth(square(one.boxes), one.camera)[0].cpu() / 1000
    for i, p in enumerate(who):
        words = f"{letter(i)}\nk = {k[p]:.2f} m\n× γ = {said[p] / k[p]:.2f}\n= {said[p]:.2f} m"
        ax.text(i * (size + 4) + size / 2, size + 0.06 * size, words, ha="center", va="top", fontsize=9)
    ax.set(title="TBS: crops of one size", xticks=[], yticks=[], xlabel="\n\n\n")
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _attention(tif, one):
    """(P, H, W) in [0, 1]: where on the picture TIF pools the features of each person's joints."""
    seen = one.image if tif.seen is None else one.image.new_zeros(1, 3, *tif.seen[::-1])
    w, h = tif.net.maps(seen - 0.5).shape[:1:-1]
    pooled = attention(one, (w, h)).amax(2)  # 1 P h w, strongest joint
    wide = F.interpolate(pooled, one.size[::-1], mode="bilinear")[0].cpu()
    return wide / wide.flatten(1).amax(1).clamp(min=1e-9)[:, None, None]


def _pools(ax, one, image, masks, who, said):
    """The picture dimmed, each person's attention in their colour."""
    import matplotlib.colors as mc

    shown = 0.35 * image
    for i, p in enumerate(who):
        share = masks[p][..., None].numpy()
        shown = shown * (1 - 0.75 * share) + 0.75 * share * np.array(mc.to_rgb(INKS[i % len(INKS)]))
    plot.image_axes(ax, one.size, shown.clip(0, 1), "TIF: attention to each person")
    _labels(ax, one, who, said)


def _depths(ax, one, depth, who, said):
    """The map of the root's depth, and the points at which it is read."""
    plot.image_axes(ax, one.size, None, "BDR: depth map of the root")
    w, h = one.size
    shown = ax.imshow(depth.numpy(), cmap="cividis", extent=(-0.5, w - 0.5, h - 0.5, -0.5))
    ax.figure.colorbar(shown, ax=ax, label="depth (m)", shrink=0.75)
    _labels(ax, one, who, said)


def needed_gamma(ax, x, gamma, groups, edges, names=None, least=8):
    """Median of the needed γ over x in bins, with the middle 80 % of people: groups {label: (N,) bool}, edges of the bins (K + 1,).

    x, gamma: (N,) arrays;  names: labels of the bins instead of a scale;  bins with fewer than `least` people stay empty.
    """
    edges = np.asarray(edges, dtype=float)
    centres = np.arange(len(edges) - 1) if names else (edges[1:] + edges[:-1]) / 2
    for k, ((label, among), ink, mark) in enumerate(zip(groups.items(), style.CYCLE, "os^Dv")):
        lines = []
        for lo, hi in pairwise(edges):
            some = gamma[among & (x >= lo) & (x < hi)]
            lines.append(np.quantile(some, (0.1, 0.5, 0.9)) if len(some) >= least else (np.nan,) * 3)
        low, middle, high = np.array(lines).T
        at = centres + (k - (len(groups) - 1) / 2) * 0.04 * (centres[-1] - centres[0])
        ax.vlines(at, low, high, color=ink, lw=4, alpha=0.35)
        ax.plot(at, middle, mark, color=ink, ms=7, label=label, ls="none")
    if names:
        ax.set_xticks(centres, names)
        ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylabel("needed γ = depth / k")
    return ax
