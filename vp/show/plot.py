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


def floor_circle(camera, radius=2500.0, centre=(0.0, 0.0), n=181):
    """Pixels (n, 2) of a circle on the floor, mm; NaN where the camera does not see it."""
    a = torch.linspace(0, 2 * torch.pi, n, dtype=torch.float64)
    xyz = torch.stack([centre[0] + radius * a.cos(), centre[1] + radius * a.sin(), torch.zeros_like(a)], -1)
    return array(camera.project(xyz)[0])
