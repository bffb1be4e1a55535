"""Recorded and virtual scenes seen by the same cameras, as pictures: what a joint is hidden by, and the AGR of both worlds."""

import numpy as np
import torch

from vp.camera import fit_transform
from vp.errors import InputError
from vp.lab.virtual import MAP
from vp.show import plot, style
from vp.skeleton import JOINTS_17
from vp.world.agr import agr
from vp.world.cameras import PANOPTIC, panoptic


def _picture_axes(ax, image=None):
    """An axes in px of the map, without ticks, with a picture of any resolution or a pale ground."""
    (w, h), extent = MAP, (-0.5, MAP[0] - 0.5, MAP[1] - 0.5, -0.5)
    if image is not None:
        ax.imshow(image, extent=extent, cmap="magma", vmin=0, vmax=1, zorder=0)
    ax.set(xlim=(-0.5, w - 0.5), ylim=(h - 0.5, -0.5), xticks=[], yticks=[], aspect="equal", facecolor="#f3f2ee")
    ax.grid(False)
    return ax


def _maximum(uv, known, mask, size):
    """The maximum over the AGR heatmaps (H, W) of one scene of 17 joints: uv (1, P, 17, 2) px, known (1, P, 17), mask (1, P)."""
    return agr(uv[:, :, :15].float(), known[:, :, :15], mask, size, MAP).heatmaps[0].amax(0)


def hidden_joints(data, seed=0, start=0):
    """One scene of a Dataset with every joint marked: seen, hidden by the own body, or hidden by another person.  Returns a Still."""
    scenes = data.scenes(1, seed, start=start)
    uv = scenes.camera.fit(*MAP)[:, None].project(scenes.joints)[0][0]
    here, other, seen = scenes.in_image()[0], scenes.occluded[0], scenes.visible[0]
    kinds = (("seen", here & seen, "o", style.SKY), ("hidden by the own body", here & ~seen & ~other, "X", style.YELLOW),
             ("hidden by somebody else", here & other, "D", style.PURPLE))  # fmt: skip
    fig, ax = style.subplots(size=(6, 3.55))
    _picture_axes(ax, data.pictures(scenes, (320, 171))[0].permute(1, 2, 0))
    for name, which, mark, colour in kinds:
        label = f"{name} ({int(which.sum())})"
        ax.plot(*uv[which].T.numpy(), mark, color=colour, mec=style.INK, mew=0.6, ms=5 if mark == "D" else 6, label=label)
    fig.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    counts = ", ".join(f"{int(which.sum())} {name}" for name, which, *_ in kinds)
    outside = int((scenes.valid & scenes.mask[..., None])[0].sum() - here.sum())
    return style.alt(fig, f"One scene of the virtual {data.twin.name} with its joints marked: {counts}; {outside} outside the picture.")


def recorded_views(reader, cameras=tuple(PANOPTIC), pictures=2, posed=2):
    """Samples of a `vp.data.panoptic.Panoptic` to look at: `pictures` with a picture, then `posed` with poses alone.

    Those with both come first; of a sequence, one frame in the middle, and of its cameras those of `cameras` before others.
    """
    with_picture, without = [], []
    for seq in reader.sequences:
        images, poses = reader.image_files(seq), reader.pose_files(seq)
        frames = sorted(set(poses) & {f for files in images.values() for f in files}) or reader.frames(seq)
        if not frames or not list(reader._folder(seq).glob("calibration_*.json")):
            continue
        frame, known = frames[len(frames) // 2], reader.cameras(seq)
        names = sorted(known, key=lambda n: (int(n.split("_")[1]) not in cameras, n))
        with_picture += [reader.sample(seq, n, frame) for n in names if frame in images.get(n, {})]
        if frame in poses:
            without += [reader.sample(seq, n, frame) for n in names if frame not in images.get(n, {})]
    with_picture.sort(key=lambda s: s.joints is None)
    return with_picture[:pictures] + without[:posed]


def same_cameras(data, reader=None, seed=0):
    """What the same cameras see of the recorded and of the virtual world; without `reader` (a `vp.data.panoptic.Panoptic`), of the latter.

    A column per camera; rows: the recorded picture (or a blank) with the metres of the floor and the recorded poses, the virtual scene
    before this very camera, lens included, and the AGR of both.  Without recorded cameras: pictures of the rig's four.  Returns a
    Still; InputError for a picture that cannot be read.
    """
    samples = recorded_views(reader) if reader else []
    rig = [panoptic(1, torch.Generator(), (name,))[0] for name in PANOPTIC]
    rows = ["recorded", "virtual", "AGR, recorded", "AGR, virtual"] if samples else ["virtual"]
    fig, axes = style.subplots(len(rows), len(samples or rig), size=(11, 7.2) if samples else (8.4, 1.85), squeeze=False)
    axes = dict(zip(rows, axes))
    for k, camera in enumerate([s.camera for s in samples] or rig):
        name = samples[k].name.split("/") if samples else f"/Panoptic/camera {list(PANOPTIC)[k]}".split("/")
        title, fitted = f"{name[1]}, {name[2]}\npitch {camera.pitch_deg:+.0f}°, {camera.centre[2] / 1000:.1f} m high", camera.fit(*MAP)
        scenes = data.scenes(1, seed, start=k, camera=camera)
        plot.floor(_picture_axes(axes["virtual"][k], data.pictures(scenes, MAP)[0].permute(1, 2, 0)), fitted, grid=True, lw=1)
        axes[rows[0]][k].set_title(title, fontsize=9)
        if samples:
            uv, _, known = scenes.uv()
            _picture_axes(axes["AGR, virtual"][k], _maximum(uv, known, scenes.mask, camera.size))
            _recorded(axes["recorded"][k], axes["AGR, recorded"][k], samples[k], fitted)
    for row, line in axes.items():
        line[0].set_ylabel(row)
    text = "Recorded and virtual scenes seen by the same cameras, with the metres of the floor; below, the maximum over their AGR heatmaps."
    return style.alt(fig, text if samples else "Virtual scenes seen by the four cameras of the Panoptic rig, with the metres of the floor.")


def _recorded(above, below, sample, fitted):
    """A recorded view: its picture or a blank, floor and poses; below, its AGR where there are poses."""
    import cv2

    image = None if sample.image is None else cv2.imread(sample.image)
    if sample.image is not None and image is None:
        raise InputError("not a readable picture", sample.image)
    if image is not None:  # as the camera was fitted: resized, padded
        k, (x, y) = fit_transform(sample.size, MAP)
        w, h, x, y = round(k * sample.size[0]), round(k * sample.size[1]), int(x), int(y)
        padded = np.zeros((MAP[1], MAP[0], 3), np.uint8)
        padded[y : y + h, x : x + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)[..., ::-1]
        image = padded
    plot.floor(_picture_axes(above, image), fitted, grid=True, lw=1)
    if sample.joints is None:
        _picture_axes(below).text(MAP[0] / 2, MAP[1] / 2, "no poses recorded", ha="center", va="center", color=style.QUIET, fontsize=9)
        return
    ours = sample.to(JOINTS_17, derive=True)
    uv, _, ok = ours.project()
    plot.sided(above, fitted.project(ours.joints)[0], JOINTS_17, ok, lw=1.4)
    _picture_axes(below, _maximum(uv[None], ok[None], torch.ones(1, len(ours), dtype=torch.bool), sample.size))
