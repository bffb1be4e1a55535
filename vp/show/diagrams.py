"""Two maps of the project: the paper's Fig. 2 redrawn on one computed scene, and the conventions on one page."""

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle

from vp.camera import Camera
from vp.show.style import BLUE, GREEN, VERMILLION
from vp.skeleton import JOINTS_15, JOINTS_17
from vp.world.poses import person

PEOPLE = (BLUE, VERMILLION, GREEN)  # one colour a person
INK, SOFT = "#222222", "#999999"


def _figure(width, height):
    fig = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(fig)
    return fig


def scene():
    """The three people and the camera of the map: joints (3, 17, 3) mm, Camera of a 240 x 128 image."""
    people = [("walking", 1800, (3800, 1100), 2.6), ("arms up", 1650, (5000, -100), 3.5), ("sitting", 1720, (3700, -1200), 2.2)]
    joints = torch.stack([person(p, s, xy, yaw, 90.0 if p == "sitting" else 0.0) for p, s, xy, yaw in people])
    return joints, Camera.from_angles(0.15, 0.0, 0.0, (0.0, 0.0, 1400.0), 205.0, (240, 128))


def _heatmap(uv, size, sigma=2.5):
    """Gaussian of each of N points (N, 2), the maximum of them: (h, w)."""
    y, x = np.mgrid[: size[1], : size[0]]
    return np.exp(-((x - uv[:, 0, None, None]) ** 2 + (y - uv[:, 1, None, None]) ** 2) / (2 * sigma**2)).max(0)


def _limbs(ax, points, colour, width=2.0):
    """A skeleton as a line collection; the head as its own dot."""
    for a, b in JOINTS_17.limb_pairs:
        ax.plot(*points[[a, b]].T, color=colour, lw=width, solid_capstyle="round")
    head = JOINTS_17.index("head")
    ax.plot(*points[head][:, None], "o", color=colour, ms=width * 2.6)


def _ground(ax, x=(2000, 6000), y=(-2000, 2000), zoom=1.5):
    """A floor of 1 m squares."""
    for v in range(x[0], x[1] + 1, 1000):
        ax.plot([v, v], y, [0, 0], color="#d5d5d5", lw=0.8)
    for v in range(y[0], y[1] + 1, 1000):
        ax.plot(x, [v, v], [0, 0], color="#d5d5d5", lw=0.8)
    ax.set(xlim=x, ylim=y, zlim=(0, 2000))
    ax.set_box_aspect((x[1] - x[0], y[1] - y[0], 2000), zoom=zoom)
    ax.set_axis_off()
    ax.view_init(24, -160)


def pipeline():
    """Fig. 2 on one scene whose every panel is computed from geometry (no network has run): image, AGR, depth map, roots, poses."""
    joints, camera = scene()
    uv = camera.project(joints)[0].numpy()
    boxes = [(p.min(0) - (6, 9), p.max(0) + (6, 4)) for p in uv]
    fig = _figure(13, 4.6)
    image, heat, depth = (fig.add_axes(r) for r in ((0.01, 0.51, 0.25, 0.34), (0.01, 0.05, 0.25, 0.34), (0.33, 0.28, 0.25, 0.34)))
    roots, poses = (fig.add_axes(r, projection="3d") for r in ((0.615, 0.20, 0.19, 0.52), (0.81, 0.20, 0.19, 0.52)))

    order = np.argsort(-joints[:, 2, 0].numpy())
    image.imshow(np.linspace(0.97, 0.84, 128)[:, None] * np.ones((128, 240)), cmap="gray", vmin=0, vmax=1)
    for i in order:
        _limbs(image, uv[i], PEOPLE[i], 5)
    heat.imshow(_heatmap(uv[:, : len(JOINTS_15)].reshape(-1, 2), camera.size), cmap="magma")
    gate = np.full((128, 240), np.nan)
    for i in order:
        (x0, y0), (x1, y1) = boxes[i]
        gate[int(y0) : int(y1), int(x0) : int(x1)] = camera.to_camera(joints[i, 2:3])[0, 2] / 1000
        heat.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="white", lw=1.2))
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        light = gate[int(y), int(x)] > 4
        depth.text(x, y, f"{gate[int(y), int(x)]:.1f} m", ha="center", va="center", fontsize=7, color="white" if light else INK)
    depth.imshow(gate, cmap="viridis_r")
    depth.set_facecolor("#eeeeee")
    for ax in (image, heat, depth):
        ax.set(xticks=[], yticks=[])
    for ax in (roots, poses):
        _ground(ax)
    for i in range(3):
        x, y, z = joints[i, 2].tolist()
        roots.plot([x], [y], [z], "o", ms=9, color=PEOPLE[i])
        roots.plot([x, x], [y, y], [0, z], ":", color=PEOPLE[i], lw=1.2)
        _limbs(poses, joints[i].numpy(), PEOPLE[i], 2.5)

    for ax, title, note, gap in (
        (image, "Image", "", 0),
        (heat, "AGR: heatmaps and boxes (Eq. 1-3)", "", 0),
        (depth, "Depth estimator, DE", "Eq. 4", 0.03),
        (roots, "Root estimation, REN", "Eq. 5, 6", 0.03),
        (poses, "Pose estimation, PEN", "Eq. 7, 8", 0.03),
    ):
        box = ax.get_position()
        fig.text(box.x0 + box.width / 2, box.y1 + 0.018, title, ha="center", fontsize=10, weight="bold", color=INK)
        fig.text(box.x0 + box.width / 2, box.y0 - gap, note, ha="center", va="top", fontsize=9, color="#555555")
    arrow = {"arrowstyle": "-|>", "mutation_scale": 16, "lw": 1.6, "color": INK, "transform": fig.transFigure}
    for x0, y0, x1, y1 in (
        (0.135, 0.515, 0.135, 0.445), (0.265, 0.22, 0.325, 0.40), (0.585, 0.45, 0.635, 0.45), (0.265, 0.12, 0.66, 0.26),
        (0.79, 0.45, 0.83, 0.45),
    ):  # fmt: skip
        fig.add_artist(FancyArrowPatch((x0, y0), (x1, y1), **arrow))
    fig.text(0.135, 0.94, "first stage: learned on 2D data", ha="center", fontsize=11.5, color=PEOPLE[1])
    fig.text(0.65, 0.94, "second stage: learned on virtual people and virtual cameras alone", ha="center", fontsize=11.5, color=PEOPLE[0])
    fig.add_artist(Line2D([0.295, 0.295], [0.02, 0.98], color=SOFT, ls="--", lw=1))
    return fig


def conventions():
    """World, camera and pixel axes with their units on one page."""
    joints, camera = scene()
    fig = _figure(13, 3.9)
    rects = ((0.0, 0.0, 0.33, 0.9), (0.38, 0.16, 0.29, 0.64), (0.70, 0.16, 0.29, 0.64))
    world, image, pixel = (fig.add_axes(r, projection="3d" if i == 0 else None) for i, r in enumerate(rects))
    _ground(world, (-1000, 6000), (-2000, 3000), zoom=1.35)
    for i in range(3):
        _limbs(world, joints[i].numpy(), SOFT, 1.5)
    centre = camera.centre.numpy()
    for d, name in zip(np.eye(3) * 1100, "XYZ", strict=True):
        world.quiver(1000, 2000, 0, *d, color=INK, lw=1.5, arrow_length_ratio=0.15)
        world.text(*(np.array([1000, 2000, 0]) + d * 1.25), name, fontsize=10, color=INK, ha="center")
    for row, name, colour in zip(camera.R.numpy(), ("x right", "y down", "z forward"), PEOPLE, strict=True):
        world.quiver(*centre, *(row * 1200), color=colour, lw=2, arrow_length_ratio=0.15)
        world.text(*(centre + row * 1700), name, fontsize=9, color=colour, ha="center")
    world.plot(*centre[:, None], "s", color=INK, ms=5)
    fig.text(0.165, 0.9, "World: mm, Z up, floor Z = 0\nCamera: x right, y down, z forward", ha="center", va="center", fontsize=10)

    uv = camera.project(joints)[0].numpy()
    for i in range(3):
        _limbs(image, uv[i], SOFT, 2.5)
    image.set(xlim=(-0.5, 239.5), ylim=(127.5, -0.5), xlabel="u (px)", ylabel="v (px)", aspect="equal")
    image.annotate("", (70, 6), (6, 6), arrowprops={"arrowstyle": "-|>", "color": PEOPLE[0], "lw": 2})
    image.annotate("", (6, 60), (6, 6), arrowprops={"arrowstyle": "-|>", "color": PEOPLE[1], "lw": 2})
    image.text(74, 9, "u", color=PEOPLE[0], weight="bold")
    image.text(3, 72, "v", color=PEOPLE[1], weight="bold")
    image.set_title("Image: (u, v) px from the top left;\ndepth is z, not the length of the ray", fontsize=10)

    for s, offset, colour, name in ((1, 0, SOFT, "image"), (4, 0, PEOPLE[0], "heatmap, stride 4")):
        for k in range(8 // s):
            pixel.add_patch(Rectangle((k * s - 0.5, offset), s, s / 2, fill=False, ec=colour, lw=1.2))
            pixel.plot(k * s - 0.5 + s / 2, offset + s / 4, "o", color=colour, ms=3 + s)
            pixel.text(k * s - 0.5 + s / 2, offset + s / 4 + 0.22 * s, str(k), ha="center", color=colour, fontsize=9)
        pixel.text(7.7, offset + s / 4, name, color=colour, va="center", fontsize=9)
    pixel.set(xlim=(-0.7, 11.5), ylim=(2.4, -0.2), yticks=[], xlabel="u of the image (px)")
    pixel.set_xticks(range(8))
    for side in ("left", "right", "top"):
        pixel.spines[side].set_visible(False)
    pixel.set_title("Integers are pixel centres:\nu' = (u + 0.5) / 4 - 0.5", fontsize=10)
    return fig
