"""Poses in space, the answer drawn over the truth: a figure to turn (plotly) with a still of the same (image, from above, from the side).

Points are in a frame level with the floor that looks ahead of the camera (`vp.space.Frame.ahead`: X forward, Y left, Z up, mm), and the
camera has that frame as its world; axes are in metres.  Truth is grey, each answer has a colour.
"""

import json
from dataclasses import dataclass

import numpy as np
import torch

from vp.show import plot, style
from vp.skeleton import JOINTS_15

TRUTH = "#9CA3AF"
PLOTLY = "application/vnd.plotly.v1+json"


@dataclass(frozen=True)
class Turnable:
    """A plotly figure and a `style.Still` of the same: where a notebook cannot turn the one, it shows the other."""

    figure: object
    still: style.Still

    def __repr__(self):
        return repr(self.still)

    def _repr_mimebundle_(self, include=None, exclude=None):
        data, metadata = self.still._repr_mimebundle_()
        return {PLOTLY: json.loads(self.figure.to_json()), **data}, metadata


def over_truth(truth, found, camera, text, skeleton=JOINTS_15, background=None):
    """`Turnable` of one scene: true joints (P, J, 3) and answers (Q, J, 3) mm of the frame, NaN where unknown; its `Camera`.

    text: what is to be seen;  background: of the image, (h, w) or (h, w, 3).
    """
    truth, found = plot.array(truth), plot.array(found)
    with style.context():
        still = style.alt(_still(truth, found, camera, skeleton, background), text)
    return Turnable(_figure(truth, found, camera, skeleton), still)


def colours(n):
    """A colour for each of n answers."""
    return [style.person(i) for i in range(n)]


def _figure(truth, found, camera, skeleton):
    from plotly import graph_objects as go

    fig = go.Figure()

    def line(points, pairs, name, colour, width, **look):
        xyz = np.round(plot.polyline(points, pairs) / 1000, 3)
        fig.add_trace(go.Scatter3d(x=xyz[:, 0], y=xyz[:, 1], z=xyz[:, 2], mode="lines", name=name, hoverinfo="name",
                                   line={"color": colour, "width": width}, **look))  # fmt: skip

    for i, person in enumerate(truth):
        line(person, skeleton.limb_pairs, "truth", TRUTH, 9, legendgroup="truth", showlegend=i == 0)
    for i, (person, colour) in enumerate(zip(found, colours(len(found)))):
        line(person, skeleton.limb_pairs, f"answer {i + 1}", colour, 4)
    line(plot.frustum(camera, 500.0), plot.FRUSTUM_EDGES, "camera", style.INK, 3, showlegend=False)
    far = max(3.0, np.ceil(np.nanmax([np.nanmax(p[..., 0], initial=0) for p in (truth, found)]) / 1000 + 0.5))
    grid = [[(x, -3.0, 0.0), (x, 3.0, 0.0)] for x in np.arange(0, far + 1)] + [[(0.0, y, 0.0), (far, y, 0.0)] for y in range(-3, 4)]
    line(1000 * np.array(grid).reshape(-1, 3), [(2 * i, 2 * i + 1) for i in range(len(grid))], "floor", style.FAINT, 1, showlegend=False)
    axis = {"showbackground": False, "showgrid": False, "zeroline": False, "showspikes": False, "color": style.QUIET, "ticksuffix": " m"}
    names = {"xaxis": "ahead", "yaxis": "left", "zaxis": "up"}
    fig.update_layout(
        height=420, margin={"l": 0, "r": 0, "t": 10, "b": 0}, paper_bgcolor="white", font={"color": style.INK, "size": 12},
        scene={"aspectmode": "data", "dragmode": "turntable", "camera": {"eye": {"x": -1.3, "y": -1.1, "z": 0.7}},
               **{k: axis | {"title": {"text": v}} for k, v in names.items()}},
    )  # fmt: skip
    return fig


def _still(truth, found, camera, skeleton, background):
    fig, (image, top, side) = style.subplots(1, 3, size=(11.5, 3.9), width_ratios=(1.25, 1, 1))
    plot.image_axes(image, camera.size, background, title="In the image")
    for ax, view, title in ((top, "top", "From above"), (side, "side", "From the side")):
        plot.world_axes(ax, view, title)
        plot.camera_3d(ax, camera, view, 500.0)
    layers = [(person, TRUTH, 4.5, "truth" if i == 0 else None) for i, person in enumerate(truth)]
    layers += [(p, c, 1.6, "answer" if i == 0 else None) for i, (p, c) in enumerate(zip(found, colours(len(found))))]
    for person, colour, width, label in layers:
        for ax, view in ((top, "top"), (side, "side")):
            xy = person[:, list(plot.VIEWS[view])] / 1000
            ax.plot(*plot.polyline(xy, skeleton.limb_pairs).T, color=colour, lw=width, label=label, solid_capstyle="round")
        uv = camera.project(torch.from_numpy(person))[0]
        plot.skeleton_2d(image, uv, skeleton, color=colour, joints=False, lw=width)
    top.set(xlabel="ahead (m)", ylabel="left (m)")
    side.set(xlabel="ahead (m)", ylabel="up (m)")
    if layers:
        fig.legend(*side.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig
