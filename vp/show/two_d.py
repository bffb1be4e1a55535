"""Pictures of the 2D stage: targets, augmentation, what a trained network sees, its scores, and what they cost in 3D.

Maps and boxes are drawn in pixels of the picture that the network sees, so that they can be laid upon it.
"""

import numpy as np
import torch

from vp.camera import fit_transform, rescale
from vp.lab import two_d
from vp.lab.labelled import fitted, read_picture, targets
from vp.nets.backbone import SKELETONS, STRIDE
from vp.show import plot, style

SHADES = (style.BLUE, style.ORANGE, style.GREEN)  # one for each twin
MARKS = ("o", "s", "^")


def map_on(ax, values, size, top=1.0, title=None):
    """A map (H, W) on axes in px of the picture of `size` (w, h); 0 is dark, `top` bright.  Returns the image, for a colour bar."""
    w, h = size
    shown = ax.imshow(plot.array(values), cmap="magma", vmin=0, vmax=top, extent=(-0.5, w - 0.5, h - 0.5, -0.5))
    _bare(ax, size, title)
    return shown


def picture_on(ax, image, size, title=None):
    """A picture (3, H, W) in [0, 1], or uint8."""
    w, h = size
    image = image.float() / 255 if image.dtype == torch.uint8 else image
    ax.imshow(image.clamp(0, 1).permute(1, 2, 0).cpu().numpy(), extent=(-0.5, w - 0.5, h - 0.5, -0.5))
    _bare(ax, size, title)


def boxes_on(ax, boxes, color=style.SKY, **line):
    """Boxes (P, 4) px of the picture; those that are not finite are left out."""
    for x0, y0, x1, y1 in plot.array(boxes):
        if np.isfinite([x0, y0, x1, y1]).all():
            ax.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=color, **({"lw": 1.2} | line))


def _bare(ax, size, title):
    ax.set(xlim=(-0.5, size[0] - 0.5), ylim=(size[1] - 0.5, -0.5), xticks=[], yticks=[])
    ax.grid(False)
    if title:
        ax.set_title(title, fontsize=9)


# ---- targets and augmentation ----------------------------------------------------------------------------------------------------------


def target(batch, size, joint="left_wrist"):
    """What the network should say of the one picture of a `Batch`: the picture, the heatmap of a joint, all of them, the box map."""
    agr, skeleton = batch.agr, SKELETONS[batch.agr.heatmaps.shape[1]]
    fig, axes = style.subplots(2, 2, size=(8.6, 5.4))
    picture_on(axes[0, 0], batch.image[0], size, "the picture")
    map_on(axes[0, 1], agr.heatmaps[0, skeleton.index(joint)], size, title=f"one heatmap of {len(skeleton)}: {joint.replace('_', ' ')}")
    map_on(axes[1, 0], agr.heatmaps[0].amax(0), size, title="all heatmaps (maximum), the boxes")
    boxes_on(axes[1, 0], rescale(agr.boxes[0][agr.root_valid[0]], STRIDE))
    box = agr.box_map[0, 1]
    shown = map_on(axes[1, 1], box, size, max(float(box.max()), 1.0), "box map: from the root to the upper edge")
    fig.colorbar(shown, ax=axes[1, 1], label="distance (map px)", shrink=0.9)
    n = int(agr.root_valid[0].sum())
    return style.alt(fig, f"A rendered picture with {n} people whose root is in it, and its targets: the heatmap of {joint}, the maximum "
                     "of all heatmaps with the boxes, and the channel of the box map that says how far up each box reaches.")  # fmt: skip


def augmented(batches, size):
    """{name: `Batch` of the same picture}: pictures above, targets below; grey where a heatmap counts nothing."""
    fig, axes = style.subplots(2, len(batches), size=(2.0 * len(batches) + 0.2, 2.8), squeeze=False)
    for (name, batch), (top, bottom) in zip(batches.items(), axes.T):
        picture_on(top, batch.image[0], size, name)
        map_on(bottom, batch.agr.heatmaps[0].amax(0), size)
        unseen = plot.array(~batch.weight[0].all(0))
        bottom.imshow(np.where(unseen, 0.5, np.nan), cmap="gray", vmin=0, vmax=1, extent=(-0.5, size[0] - 0.5, size[1] - 0.5, -0.5))
        boxes_on(bottom, rescale(batch.agr.boxes[0][batch.agr.root_valid[0]], STRIDE), lw=0.8)
    axes[0, 0].set_ylabel("picture")
    axes[1, 0].set_ylabel("targets")
    return style.alt(fig, f"One picture and its targets under {', '.join(batches)}: heatmaps and boxes move with the people, colours and "
                     "covers leave them as they are.")  # fmt: skip


# ---- what the network sees -------------------------------------------------------------------------------------------------------------


def seen(backbone, pictures, index, truth):
    """A row for each picture `index` (long tensor) of a `Labelled`: who was found, the network's heatmaps, the true ones.

    truth: `AGR` of these pictures.  Returns the `Still`, with the people found and those that are there in its words.
    """
    size = backbone.shape.picture
    maps = backbone.agr(pictures.images(index, backbone.mean.device))
    found = two_d.grouped(*(m.cpu() for m in maps))
    fig, axes = style.subplots(len(index), 3, size=(9.6, 2.1 * len(index) + 0.2), squeeze=False)
    words = []
    for b, (row, image) in enumerate(zip(axes, pictures.images(index))):
        who, there = found.valid[b], truth.root_valid[b]
        picture_on(row[0], image, size, f"found: {int(who.sum())}, there are: {int(there.sum())}")
        uv = rescale(found.joints[b][who], STRIDE)
        plot.sided(row[0], uv, SKELETONS[uv.shape[1]], uv.isfinite().all(-1), lw=1.2)
        map_on(row[1], maps[0][b].amax(0), size, title="the network's heatmaps and boxes")
        boxes_on(row[1], rescale(found.boxes[b][who], STRIDE))
        map_on(row[2], truth.heatmaps[b].amax(0), size, title="the true ones")
        boxes_on(row[2], rescale(truth.boxes[b][there], STRIDE))
        words.append(f"{int(who.sum())} found where {int(there.sum())} are")
    return style.alt(fig, "Held-out pictures with the people that the 2D network found in them (left side blue, right side orange), its "
                     f"heatmaps and boxes, and the true ones: {'; '.join(words)}.")  # fmt: skip


def photos(backbone, paths):
    """A row for each photo: who was found on it, the network's heatmaps and boxes."""
    size = backbone.shape.picture
    fig, axes = style.subplots(len(paths), 2, size=(9.6, 2.9 * len(paths)), squeeze=False)
    words = []
    for path, row in zip(paths, axes):
        photo = read_picture(path)
        s = two_d.detect(backbone, path)
        x = fitted(photo, size)
        maps, _ = backbone.agr(x[None].to(backbone.mean.device).float() / 255, True)
        k, offset = fit_transform(s.size, size)
        move = torch.tensor(offset, dtype=torch.float64)
        uv = torch.where(s.valid_px[..., None], rescale(s.joints_px, k) + move, torch.nan)
        boxes = rescale(s.boxes, k) + move.repeat(2)
        picture_on(row[0], x, size, f"{len(s)} people found")
        plot.sided(row[0], uv, s.skeleton, s.valid_px, lw=1.4)
        boxes_on(row[0], boxes)
        shown = map_on(row[1], maps[0].amax(0), size, title="heatmaps (maximum)")
        boxes_on(row[1], boxes)
        words.append(str(len(s)))
    fig.colorbar(shown, ax=axes[:, 1], label="value", shrink=0.8)
    return style.alt(fig, f"Photos with what the 2D network found: {', '.join(words)} people; beside each the maximum of its heatmaps.")


def examples(pictures, truth, n=2):
    """Indices (long tensor) of n pictures that show something: two to four people whose root is in the picture, little overlap.

    truth: `AGR` of all the pictures.  The same every time; fewer people are taken where no picture has two.
    """
    roots, valid = truth.roots.nan_to_num(0), truth.root_valid
    far = (roots[:, :, None] - roots[:, None]).norm(dim=-1)
    pair = valid[:, :, None] & valid[:, None] & ~torch.eye(valid.shape[1], dtype=torch.bool)
    gap = far.masked_fill(~pair, torch.inf).flatten(1).amin(1)
    count = valid.sum(1)
    size = (truth.boxes[..., 3] - truth.boxes[..., 1]).nan_to_num(0).masked_fill(~valid, 0).sum(1) / count.clamp(min=1)
    good = ((count >= 2) & (count <= 4)).float()
    worth = good * 1e6 + (count > 0).float() * 1e3 + gap.clamp(max=truth.heatmaps.shape[-1] / 4) + 0.5 * size
    return worth.argsort(descending=True, stable=True)[:n]


def draw_truth(pictures, map_size, index=None):
    """`AGR` that is true of pictures (all, or those of a long tensor)."""
    index = torch.arange(len(pictures)) if index is None else index
    columns = ("uv", "present", "missing", "boxes", "depth", "content")
    return targets(*(getattr(pictures, c)[index] for c in columns), pictures.size, map_size)[0]


# ---- scores ----------------------------------------------------------------------------------------------------------------------------


def by_group(reports, ceilings):
    """PCKh by group of joints: {twin: `two_d.scores`} of a network and of the maps that are true."""
    fig, ax = style.subplots(size=(8.4, 3.3))
    groups = [g for g in two_d.GROUPS if any(g in r["pckh"] for r in reports.values())]
    for k, (name, colour, mark) in enumerate(zip(reports, SHADES, MARKS)):
        x = np.arange(len(groups)) + 0.16 * (k - (len(reports) - 1) / 2)
        ax.plot(x, [reports[name]["pckh"].get(g, np.nan) for g in groups], mark, color=colour, ms=8, label=f"{name} twin")
        label = "what true maps allow" if k == 0 else None
        ax.plot(x, [ceilings[name]["pckh"].get(g, np.nan) for g in groups], "_", color=style.QUIET, ms=13, mew=2, label=label)
    ax.set(xticks=range(len(groups)), xticklabels=groups, ylabel="PCKh@0.5 (share of joints)", ylim=(0, 1.05))
    ax.legend(fontsize=9, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    ax.grid(axis="x", visible=False)
    text = "; ".join(f"{n} {r['pckh']['all']:.2f} of {ceilings[n]['pckh']['all']:.2f}" for n, r in reports.items())
    return style.alt(fig, f"PCKh of the 2D network by group of joints on each twin, a dash where perfect maps end: {text}.")


def intervals(rows, labels, xlabel, columns=("test", "train"), title=None):
    """Values of rows with their 95 % intervals, one line each in groups of `columns[0]`: a figure's `Still`.

    labels: {value of columns[1]: (label, colour, mark)};  columns: twice the same: every line is a group, and no legend is needed.
    """
    lines = [r for r in rows if r[columns[1]] in labels]
    fig, ax = style.subplots(size=(8.6, 0.36 * len(lines) + 1.3))
    seen, last, y, ticks = set(), None, 0.0, []
    for r in lines:
        y += 1.0 if r[columns[0]] == last else 1.7
        label, colour, mark = labels[r[columns[1]]]
        if r["lo"] is not None:
            ax.plot([r["lo"], r["hi"]], [y, y], color=colour, lw=5, alpha=0.35)
        ax.plot(r["value"], y, mark, color=colour, ms=7, label=None if label in seen else label)
        ticks.append((y, r[columns[0]] if r[columns[0]] != last else ""))
        seen.add(label)
        last = r[columns[0]]
    ax.set(yticks=[t for t, _ in ticks], yticklabels=[t for _, t in ticks], xlabel=xlabel, ylim=(y + 0.9, 0.8))
    ax.set_xlim(left=0)
    ax.grid(axis="y", visible=False)
    if title:
        ax.set_title(title)
    if seen and columns[0] != columns[1]:
        ax.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    said = "; ".join(f"{r[columns[0]]}, {labels[r[columns[1]]][0]}: {r['value']:.0f}" for r in lines)
    return style.alt(fig, f"{xlabel} with 95 per cent intervals. {said}.")
