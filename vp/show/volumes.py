"""Pictures of volumes: from above and from the side, as voxels in space, and REN under a slider that moves a person's estimated depth.

Volumes (X, Y, Z) stand on a `vp.space.Grid` that is level and ahead of the camera (X ahead, Y left, Z up); axes are in metre.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch

from vp.nets.ren import ROOT, candidates, decode, detected_roots
from vp.nets.unproject import depth_gate, positions, unproject
from vp.show import plot, style

VIEWS = {"from above": (0, 1, 2), "from the side": (0, 2, 1)}  # axis to the right, axis up, axis looked along
NAMES = ("X, ahead", "Y, left", "Z, up")
TRUTH, SAID, ANSWER = style.SKY, style.ORANGE, "white"  # the true roots, the depths shown to REN, REN's answers
LEAST = 0.25  # value of a voxel that is drawn in space, as a share of the highest


def lines(grid, axis):
    """Voxel centres along an axis, metre."""
    return grid.axes()[axis].numpy() / 1000


def seen(volume, view):
    """(rows, columns): the maximum of a volume (X, Y, Z) along the line of sight, as a picture whose first row is the lowest."""
    return np.ascontiguousarray(volume.detach().cpu().amax(VIEWS[view][2]).T.numpy())


def draw(ax, volume, grid, view="from above", title=None, top=None):
    """A volume on matplotlib axes; top: value of the brightest colour, default the highest."""
    across, up, _ = VIEWS[view]
    (x, y), picture = (lines(grid, a) for a in (across, up)), seen(volume, view)
    half = [(v[1] - v[0]) / 2 for v in (x, y)]
    extent = (x[0] - half[0], x[-1] + half[0], y[0] - half[1], y[-1] + half[1])
    ax.imshow(picture, cmap="magma", origin="lower", extent=extent, vmin=0, vmax=top or max(float(picture.max()), 1e-6), aspect="equal")
    ax.set(xlabel=f"{NAMES[across]} (m)", ylabel=f"{NAMES[up]} (m)", xlim=extent[:2], ylim=extent[2:], title=title or "")
    ax.grid(False)
    return ax


def mark(ax, points, view, look, label=None, rays_from=None):
    """Points (N, 3) mm on such axes; look: "truth", "said" or "answer";  rays_from (3,) mm: lines of sight from there through them."""
    across, up, _ = VIEWS[view]
    points = plot.array(points).reshape(-1, 3) / 1000
    ways = {"truth": ("x", {"color": TRUTH, "ms": 8, "mew": 2}), "said": ("D", {"color": SAID, "ms": 5}),
            "answer": ("o", {"color": ANSWER, "ms": 11, "mfc": "none", "mew": 1.6})}  # fmt: skip
    if rays_from is not None:
        start = plot.array(rays_from) / 1000
        for end in start + 4 * (points - start):
            ax.plot(*np.stack([start, end])[:, [across, up]].T, color="white", lw=0.6, ls=":", alpha=0.8)
    symbol, options = ways[look]
    ax.plot(*points[:, [across, up]].T, symbol, ls="", label=label, **options)
    return ax


# ---- voxels in space -------------------------------------------------------------------------------------------------------------------


class SpacePicture:
    """One to three volumes side by side as surfaces in space that can be turned (plotly), with a still; without plotly, the still.

    volumes: {title: (X, Y, Z)};  grid: theirs;  roots (P, 3) mm: crosses;  text: what is to be seen.
    """

    def __init__(self, volumes, grid, roots, text):
        self.volumes, self.grid, self.roots, self.text = volumes, grid, plot.array(roots) / 1000, " ".join(text.split())
        self.widget = self._figure()

    def _figure(self):
        try:
            import anywidget  # noqa: F401
            from plotly import graph_objects as go
            from plotly.subplots import make_subplots
        except ImportError:
            return None
        n, (x, y, z) = len(self.volumes), (self.grid.points().numpy().T / 1000)
        fig = make_subplots(1, n, specs=[[{"type": "scene"}] * n], subplot_titles=list(self.volumes), horizontal_spacing=0.02)
        for k, volume in enumerate(self.volumes.values(), 1):
            v = volume.detach().flatten().numpy()
            low = LEAST * max(float(v.max()), 1e-6)
            look = {"opacity": 0.25, "surface_count": 4, "colorscale": "Magma", "showscale": False, "hoverinfo": "skip"}
            fig.add_trace(go.Volume(x=x, y=y, z=z, value=v, isomin=low, isomax=max(float(v.max()), 1e-6), **look), 1, k)
            cross = {"symbol": "x", "size": 4, "color": TRUTH}
            fig.add_trace(go.Scatter3d(**dict(zip("xyz", self.roots.T)), mode="markers", marker=cross, showlegend=False), 1, k)
        names = {f"{a}axis": {"title": f"{name} (m)"} for a, name in zip("xyz", NAMES)}
        fig.update_scenes(aspectmode="data", camera={"eye": {"x": -0.9, "y": -1.4, "z": 1.1}}, **names)
        return go.FigureWidget(fig.update_layout(height=380, margin={"l": 0, "r": 0, "t": 30, "b": 0}))

    def still(self):
        """The same as a matplotlib figure: voxels from LEAST of the highest value on."""
        n = len(self.volumes)
        fig, axes = style.subplots(1, n, size=(4.0 * n, 3.2), subplot_kw={"projection": "3d"}, squeeze=False)
        centres = self.grid.points().numpy() / 1000
        for ax, (title, volume) in zip(axes[0], self.volumes.items()):
            v = volume.detach().flatten().numpy()
            share = v / max(float(v.max()), 1e-6)
            shown = share > LEAST
            ax.scatter(*centres[shown].T, c=share[shown], s=22 * share[shown], cmap="magma_r", vmin=0, vmax=1.2, alpha=0.6, lw=0)
            ax.plot(*self.roots.T, "x", color=style.BLUE, ms=9, mew=2.5, ls="", zorder=10)
            low, high = centres.min(0), centres.max(0)
            ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]), title=title)
            ax.set(xlabel="X (m)", ylabel="Y (m)", zlabel="Z (m)", zticks=(0, 1, 2))
            ax.set_box_aspect(high - low, zoom=1.25)
            ax.view_init(elev=32, azim=-118)
        return fig

    def __repr__(self):
        return self.text

    def _repr_mimebundle_(self, include=None, exclude=None):
        return bundle(self.still(), self.text, self.widget)


def bundle(fig, text, widget):
    """What a cell shows: the still with its text, and the widget where there is one."""
    data, metadata = style.alt(fig, text)._repr_mimebundle_()
    if widget is not None:
        key = "application/vnd.jupyter.widget-view+json"
        data[key] = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return data, metadata


# ---- REN with somebody's depth moved ---------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """What REN makes of depths (K,) mm: cube (X, Y, Z), the lifted heatmaps, maximum over joints;  volume (X, Y, Z), its output;  said
    (K, 3), roots at the depths shown;  found (n, 3), its candidates, mm of the frame, with scores (n,);  depth (n,) mm of these."""

    cube: torch.Tensor
    volume: torch.Tensor
    said: torch.Tensor
    found: torch.Tensor
    scores: torch.Tensor
    depth: torch.Tensor


class Probe:
    """A trained second stage before one scene, asked again and again with other depths: all that does not change is computed once.

    model: `VirtualPose`;  heatmaps (1, J, H, W), box_map (1, 4, H, W);  camera: one in a batch, in the frame of the model's grid.
    """

    @torch.no_grad()
    def __init__(self, model, heatmaps, box_map, camera):
        self.model, self.heatmaps, self.camera, s = model.eval(), heatmaps, camera, model.sizes
        depth_map = model.ren.de(heatmaps) * model.factor(camera).to(heatmaps)[:, None, None]
        self.detections = decode(heatmaps[:, ROOT], box_map, depth_map, s.people, s.detection)
        self.where = positions(camera, s.grid.points()[None], s.map)

    @property
    def depths(self):
        """(K,) mm: what the DE says of each detected person, best first."""
        return self.detections.depths[0][self.detections.valid[0]]

    @torch.no_grad()
    def __call__(self, shifts=()):
        """`Answer` with mm added to what the DE says of the first len(shifts) detected people."""
        d, s = self.detections, self.model.sizes
        depths = d.depths.clone()
        depths[0, : len(shifts)] += depths.new_tensor(list(shifts))
        gate = None if s.naive else depth_gate(self.where, d.boxes, depths, d.valid, s.map, s.sigma)
        cube = unproject(self.heatmaps, self.where, gate).to(self.heatmaps).unflatten(2, s.space_bins)
        volume = self.model.ren.net(cube)[:, 0]
        found = candidates(volume, s.grid, s.people, s.threshold, s.subvoxel)
        n = found.valid[0]
        moved = type(d)(d.boxes, depths, d.scores, d.roots, d.valid)
        said = detected_roots(moved, self.camera, s.map)[0][d.valid[0]]
        where = found.position[0][n]
        return Answer(cube[0].amax(0), volume[0], said, where, found.score[0][n], self.camera[0].to_camera(where)[..., 2])

    def of(self, answer, k):
        """Which of REN's candidates is nearest, in the picture, to detected person k: its number, or None if none is near."""
        if not len(answer.found):
            return None
        uv = self.camera.fit(*self.model.sizes.map)[0].project(answer.found)[0]
        distance = (uv - self.detections.roots[0][self.detections.valid[0]][k]).norm(dim=-1)
        return int(distance.argmin()) if float(distance.min()) < 4.0 else None


class DepthExplorer:
    """A slider moves the depth that REN is shown for one person: what is lifted and what REN answers, from above and from the side.

    probe: `Probe`;  roots (P, 3) mm: where people really are;  state: person (1, 2, ...), shift_mm.  Without ipywidgets, its still.
    """

    PANELS = tuple((what, view) for view in VIEWS for what in ("shown to REN", "REN's output"))

    def __init__(self, probe, roots, **state):
        self.probe, self.roots, self.widget, self.controls = probe, torch.as_tensor(roots), None, {}
        self.state = {"person": 1, "shift_mm": 0.0} | state
        self._ask()
        try:
            import anywidget  # noqa: F401
            import ipywidgets as W
        except ImportError:
            return
        self.figure, wide = self._figure(), {"description_width": "220px"}
        people = list(range(1, len(probe.depths) + 1)) or [1]
        self.controls = {
            "person": W.Dropdown(options=people, value=self.state["person"], description="person", style=wide),
            "shift_mm": W.FloatSlider(value=self.state["shift_mm"], min=-2000, max=2000, step=50, description="depth moved by (mm)",
                                      readout_format=".0f", style=wide, layout=W.Layout(width="560px")),
        }  # fmt: skip
        for name, control in self.controls.items():
            control.observe(lambda change, name=name: self.set(**{name: change["new"]}), "value")
        self.words = W.HTML(self.text())
        self.widget = W.VBox([W.HBox(list(self.controls.values())), self.words, self.figure])

    def _ask(self):
        start = time.perf_counter()
        shifts = [0.0] * (self.state["person"] - 1) + [self.state["shift_mm"]] if len(self.probe.depths) else []
        self.answer = self.probe(shifts)
        self.seconds = time.perf_counter() - start

    def _panel(self, what):
        """Volume and brightest value of a panel."""
        return (self.answer.cube, 1.0) if what == "shown to REN" else (self.answer.volume, max(0.3, float(self.answer.volume.max())))

    def _marks(self):
        """{look: (N, 3) metre}"""
        return {"truth": plot.array(self.roots) / 1000, "said": plot.array(self.answer.said) / 1000,
                "answer": plot.array(self.answer.found) / 1000}  # fmt: skip

    def _figure(self):
        from plotly import graph_objects as go
        from plotly.subplots import make_subplots

        grid = self.probe.model.sizes.grid
        titles = [f"{what}, {view}" for what, view in self.PANELS]
        fig = make_subplots(2, 2, subplot_titles=titles, row_heights=[0.72, 0.28], vertical_spacing=0.12)
        looks = {"truth": {"symbol": "x-thin", "size": 9, "line": {"color": TRUTH, "width": 2}}, "said": {"symbol": "diamond", "size": 7,
                 "color": SAID}, "answer": {"symbol": "circle-open", "size": 13, "color": ANSWER, "line": {"width": 2}}}  # fmt: skip
        for i, (what, view) in enumerate(self.PANELS):
            across, up, _ = VIEWS[view]
            volume, top = self._panel(what)
            at = {"row": i // 2 + 1, "col": i % 2 + 1}
            fig.add_trace(go.Heatmap(x=lines(grid, across), y=lines(grid, up), z=seen(volume, view), zmin=0, zmax=top, colorscale="Magma",
                                     showscale=False, hoverinfo="skip"), **at)  # fmt: skip
            for look, points in self._marks().items():
                fig.add_trace(go.Scatter(x=points[:, across], y=points[:, up], mode="markers", marker=looks[look], showlegend=False), **at)
            fig.update_xaxes(title_text=f"{NAMES[across]} (m)", constrain="domain", **at)
            fig.update_yaxes(title_text=f"{NAMES[up]} (m)", scaleanchor=f"x{i + 1}" if i else "x", constrain="domain", **at)
        return go.FigureWidget(fig.update_layout(height=620, margin={"l": 50, "r": 10, "t": 30, "b": 40}, uirevision="keep"))

    def set(self, **changes):
        """What the controls do; one message to the browser."""
        self.state |= changes
        self._ask()
        if self.widget is not None:
            from plotly.basedatatypes import Undefined

            new, marks = {"x": [], "y": [], "z": [], "zmax": []}, self._marks()
            for what, view in self.PANELS:
                (across, up, _), (volume, top) = VIEWS[view], self._panel(what)
                new["x"] += [Undefined, *(np.ascontiguousarray(p[:, across]) for p in marks.values())]
                new["y"] += [Undefined, *(np.ascontiguousarray(p[:, up]) for p in marks.values())]
                new["z"] += [seen(volume, view), *[Undefined] * len(marks)]
                new["zmax"] += [top, *[Undefined] * len(marks)]
            self.figure.plotly_restyle(new, list(range(len(new["x"]))))
            self.words.value = self.text()
        return self

    def text(self):
        """The answer in words."""
        if not len(self.probe.depths):
            return "No person is detected in this picture."
        k, shift = self.state["person"] - 1, self.state["shift_mm"]
        said, mine = float(self.probe.depths[k]), self.probe.of(self.answer, k)
        if mine is None:
            answer = "REN finds nobody there"
        else:
            answer = f"REN answers {self.answer.depth[mine] / 1000:.2f} m (score {self.answer.scores[mine]:.2f})"
        return f"Person {k + 1}: the DE says {said / 1000:.2f} m, REN is shown {(said + shift) / 1000:.2f} m ({shift:+.0f} mm), {answer}."

    def still(self):
        """The same picture as a matplotlib figure."""
        grid = self.probe.model.sizes.grid
        fig, axes = style.subplots(2, 2, size=(8.4, 6.2), height_ratios=(2.6, 1))
        for ax, (what, view) in zip(axes.flat, self.PANELS):
            volume, top = self._panel(what)
            draw(ax, volume, grid, view, what, top)
            for look, points in self._marks().items():
                mark(ax, points * 1000, view, look, {"truth": "true root", "said": "depth shown to REN", "answer": "REN's answer"}[look])
        looks = {"loc": "outside lower center", "ncols": 3, "frameon": True, "facecolor": "black", "labelcolor": "white", "fontsize": 9}
        fig.legend(*axes[0, 0].get_legend_handles_labels(), **looks)
        fig.suptitle(self.text(), fontsize=10, x=0.01, ha="left")
        return fig

    def __repr__(self):
        return f"Depth explorer: heatmaps lifted into space and REN's output, from above and from the side. {self.text()}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        return bundle(self.still(), repr(self), self.widget)
