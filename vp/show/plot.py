"""Small drawings shared by the notebooks: people in an image, people from the side or from above, the camera, the floor.

Axes of an image are pixels (y down, the integer is the pixel centre); views of the world are in metre, because that is what a reader
pictures; what is handed in is in mm like everywhere.  Missing joints (NaN) are not drawn.
"""

import numpy as np
import torch

from vp.show import style
from vp.skeleton import JOINTS_17

VIEWS = {"side": (0, 2), "top": (0, 1), "front": (1, 2)}  # which world axes run right and up


def array(x):
    """Any tensor or sequence as a float64 array."""
    return x.detach().cpu().numpy().astype(np.float64) if isinstance(x, torch.Tensor) else np.asarray(x, dtype=np.float64)


def polyline(points, pairs):
    """Limbs as one line with gaps: points (J, D), index pairs -> (3 len(pairs), D), NaN between the limbs."""
    points = np.vstack([array(points), np.full((1, np.shape(points)[-1]), np.nan)])
    return points[[i for a, b in pairs for i in (a, b, len(points) - 1)]]


def image_axes(ax, size, image=None, title=None):
    """Pixel axes of an image of `size` (w, h), with the picture (h, w) or (h, w, 3) if given."""
    w, h = size
    if image is not None:
        ax.imshow(image, extent=(-0.5, w - 0.5, h - 0.5, -0.5), cmap="gray")
    ax.set(xlim=(-0.5, w - 0.5), ylim=(h - 0.5, -0.5), aspect="equal", xlabel="u (px)", ylabel="v (px)")
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(True)
    if title:
        ax.set_title(title)
    return ax


def skeleton_2d(ax, uv, skeleton=JOINTS_17, valid=None, color=style.BLUE, label=None, joints=True, **line):
    """People in an image: uv (..., J, 2) px, valid (..., J) bool or None."""
    uv = array(uv).copy()
    if valid is not None:
        uv[~np.asarray(valid, dtype=bool)] = np.nan
    for i, person in enumerate(uv.reshape(-1, *uv.shape[-2:])):
        ax.plot(*polyline(person, skeleton.limb_pairs).T, color=color, label=label if i == 0 else None, **line)
        if joints:
            ax.plot(*person.T, ".", color=color, ms=5)
    return ax


def world_axes(ax, view="side", title=None):
    """Axes in metre for one of VIEWS; in `side` and `front` the floor is drawn."""
    names = [f"{'XYZ'[i]} (m)" for i in VIEWS[view]]
    ax.set(aspect="equal", xlabel=names[0], ylabel=names[1])
    if view != "top":
        ax.axhline(0, color=style.QUIET, lw=1.5, zorder=0)
    if title:
        ax.set_title(title)
    return ax


def skeleton_3d(ax, joints, view="side", skeleton=JOINTS_17, color=style.BLUE, label=None, **line):
    """People seen along a world axis: joints (..., J, 3) mm; see VIEWS."""
    axes = list(VIEWS[view])
    for i, person in enumerate(array(joints).reshape(-1, len(skeleton), 3)[..., axes] / 1000):
        ax.plot(*polyline(person, skeleton.limb_pairs).T, color=color, label=label if i == 0 else None, marker=".", **line)
    return ax


def frustum(camera, length):
    """World points (5, 3) mm of a single camera's pyramid: centre, then the image corners at depth `length` mm."""
    w, h = camera.size
    corners = torch.tensor([[-0.5, -0.5], [w - 0.5, -0.5], [w - 0.5, h - 0.5], [-0.5, h - 0.5]], dtype=torch.float64)
    xyz, _ = camera.unproject(corners, torch.full((4,), float(length), dtype=torch.float64))
    return np.vstack([array(camera.centre), array(xyz)])


FRUSTUM_EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))


def camera_3d(ax, camera, view="side", length=600.0, color=style.INK, **line):
    """A camera's pyramid seen along a world axis; its image corners at depth `length` mm."""
    axes = list(VIEWS[view])
    ax.plot(*polyline(frustum(camera, length)[:, axes] / 1000, FRUSTUM_EDGES).T, color=color, **({"lw": 1.2} | line))
    return ax


FLOOR_RADIUS = 2500.0  # mm; the edge of Panoptic's floor
_HALO = {"linewidth": 3.4, "foreground": "white"}


def floor_curves(camera, grid=False, radius=FLOOR_RADIUS):
    """Curves on the floor Z = 0 as this camera sees them: name -> pixels (n, 2), NaN where it does not see them.

    "circle" about the world's origin, radius mm; "X" and "Y": one metre from the origin; with `grid`, "x0", "y0", ...: the metres inside
    the circle.
    """
    a, k = torch.linspace(0, 2 * torch.pi, 721, dtype=torch.float64), torch.linspace(0, 1000, 721, dtype=torch.float64)
    curves, zero = {"circle": (radius * a.cos(), radius * a.sin()), "X": (k, 0 * k), "Y": (0 * k, k)}, torch.zeros(721, dtype=torch.float64)
    for i in range(-int(radius // 1000), int(radius // 1000) + 1) if grid else ():
        across, along = torch.full_like(k, 1000.0 * i), torch.linspace(-1, 1, 721, dtype=torch.float64)
        along = along * (radius**2 - (1000.0 * i) ** 2) ** 0.5
        curves |= {f"x{i}": (across, along), f"y{i}": (along, across)}
    size, out = torch.tensor(camera.size), {}
    for name, (x, y) in curves.items():
        uv, _, ok = camera.project(torch.stack([x, y, zero], -1))
        ok = ok & (uv > -size).all(-1) & (uv < 2 * size).all(-1)
        out[name] = array(uv.masked_fill(~ok[:, None], float("nan")))
    return out


def floor(ax, camera, grid=False, radius=FLOOR_RADIUS, lw=2.0):
    """`floor_curves` on a picture: the circle and one metre along X and Y with their names, in green; the grid thin."""
    import matplotlib.patheffects as pe

    for name, uv in floor_curves(camera, grid, radius).items():
        if name[1:].lstrip("-").isdigit():
            ax.plot(*uv.T, color=style.GREEN, lw=0.5 * lw, alpha=0.8, zorder=3)
            continue
        halo = [pe.Stroke(**_HALO), pe.Normal()] if lw >= 2 else None
        ax.plot(*uv.T, color=style.GREEN, lw=lw if name == "circle" else 0.7 * lw, zorder=3, path_effects=halo)
        if name != "circle" and np.isfinite(uv[-1]).all() and camera.in_image(torch.from_numpy(uv[-1])):
            edge = [pe.withStroke(linewidth=2, foreground="white")]
            ax.text(*uv[-1], name, color=style.GREEN, fontsize=8, weight="bold", zorder=6, path_effects=edge)
    return ax


def side_colour(a, b=""):
    """Colour of a joint or of the limb between two: the person's left blue, right vermillion, else ink."""
    return style.BLUE if "left" in a + b else style.VERMILLION if "right" in a + b else style.INK


def sided(ax, points, skeleton, valid, lw=2.0):
    """People with a colour for each side, on any background: points (P, J, 2) in axis units, valid (P, J) bool."""
    import matplotlib.patheffects as pe

    halo = [pe.Stroke(linewidth=lw + 1.4, foreground="white"), pe.Normal()]
    for person, ok in zip(array(points), np.asarray(valid, dtype=bool)):
        for (i, j), (a, b) in zip(skeleton.limb_pairs, skeleton.limbs):
            if ok[i] and ok[j]:
                ax.plot(*person[[i, j]].T, color=side_colour(a, b), lw=lw, solid_capstyle="round", zorder=4, path_effects=halo)
        colours = [side_colour(n) for n, k in zip(skeleton.joints, ok) if k]
        ax.scatter(*person[ok].T, s=2.25 * lw**2, c=colours, edgecolors="white", linewidths=0.6, zorder=5)
    return ax
