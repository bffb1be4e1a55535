"""The AGR of one scene under a slider: how much noise, what a detector misses, which joint, and where it really is; with its still."""

from dataclasses import replace

import numpy as np
import torch

from vp.camera import fit_transform, rescale
from vp.show import style
from vp.skeleton import JOINTS_15
from vp.world.agr import Noise, agr

MISSING = {
    "nothing": {}, "head top": {"no_head_top": 1.0}, "head top and neck": {"no_neck": 1.0}, "one arm": {"no_arm": 1.0},
    "one leg": {"no_leg": 1.0}, "left and right swapped": {"swapped": 1.0},
}  # fmt: skip
ALL = "all joints (maximum)"
MAP = (240, 128)  # px, the paper's heatmaps


def heatmaps(uv, present, size, map_size, amount=0.0, missing="nothing", draw=0):
    """AGR heatmaps (15, H, W) of one scene: uv (P, 15, 2) px, present (P, 15), image `size`; shifts are `amount` times the published."""
    noise = None
    if amount or missing != "nothing":
        weak = Noise().weak if amount else (("other", 0.0, 1.0),)
        dim = Noise().dim if amount else (0.0, 1.0, 0.0)
        noise = replace(Noise(position=Noise().position * amount, weak=weak, dim=dim), **MISSING[missing])
    mask = torch.ones(1, len(uv), dtype=torch.bool)
    g = torch.Generator().manual_seed(draw)
    return agr(uv[None].float(), present[None], mask, size, map_size, noise, g).heatmaps[0]


class AGRExplorer:
    """Heatmaps of a scene with controls `amount`, `missing`, `joint` and `draw`, and a cross where each joint shown really is.

    uv (P, 15, 2) px;  present (P, 15) bool;  size of the image;  map_size of the heatmaps.  Without ipywidgets or anywidget, its still.
    """

    def __init__(self, uv, present, size, map_size=MAP, **state):
        self.scene = uv, present, size, map_size
        self.state = {"amount": 2.0, "missing": "nothing", "joint": "left_wrist", "draw": 0} | state
        self.widget, self.controls = None, {}
        try:
            import anywidget  # noqa: F401
            import ipywidgets as W
            import plotly.graph_objects as go
        except ImportError:
            return
        (w, h), (x, y) = map_size, self.marks()
        cross = {"symbol": "cross-thin", "size": 9, "line": {"width": 1.5, "color": style.SKY}}
        self.figure = go.FigureWidget(
            [go.Heatmap(z=self.picture(), zmin=0, zmax=1, colorscale="Magma", colorbar={"title": "value"}),
             go.Scatter(x=x, y=y, mode="markers", marker=cross, name="where the joint is", hoverinfo="skip")],
            {"height": 420, "margin": {"l": 50, "r": 10, "t": 10, "b": 40}, "uirevision": "keep",
             "xaxis": {"title": "u (heatmap px)", "range": [-0.5, w - 0.5], "constrain": "domain"},
             "yaxis": {"title": "v (heatmap px)", "range": [h - 0.5, -0.5], "scaleanchor": "x", "constrain": "domain"}},
        )  # fmt: skip
        wide = {"description_width": "150px"}
        self.controls = {
            "amount": W.FloatSlider(value=self.state["amount"], min=0, max=4, step=0.1, description="noise (× published)", style=wide),
            "missing": W.Dropdown(options=list(MISSING), value=self.state["missing"], description="what the source lacks", style=wide),
            "joint": W.Dropdown(options=[ALL, *JOINTS_15.joints], value=self.state["joint"], description="heatmap of", style=wide),
            "draw": W.IntSlider(value=self.state["draw"], min=0, max=20, description="draw of the noise", style=wide),
        }
        for name, control in self.controls.items():
            control.observe(lambda change, name=name: self.set(**{name: change["new"]}), "value")
        c = self.controls
        self.widget = W.VBox([W.HBox([c["amount"], c["missing"]]), W.HBox([c["joint"], c["draw"]]), self.figure])

    def picture(self):
        """(H, W) float32: the chosen heatmap."""
        s = self.state
        maps = heatmaps(*self.scene, s["amount"], s["missing"], s["draw"])
        chosen = maps.amax(0) if s["joint"] == ALL else maps[JOINTS_15.index(s["joint"])]
        return np.ascontiguousarray(chosen.numpy())

    def marks(self):
        """Where the joints shown really are: x (n,), y (n,) heatmap px."""
        uv, present, size, map_size = self.scene
        k, offset = fit_transform(size, map_size)
        there = rescale(uv.double(), k) + torch.tensor(offset, dtype=torch.float64)
        shown = slice(None) if self.state["joint"] == ALL else [JOINTS_15.index(self.state["joint"])]
        x, y = there[:, shown][present[:, shown]].T.numpy()
        return np.ascontiguousarray(x), np.ascontiguousarray(y)

    def set(self, **changes):
        """What the controls do; one message to the browser."""
        self.state |= changes
        if self.widget is not None:
            from plotly.basedatatypes import Undefined

            x, y = self.marks()
            self.figure.plotly_restyle({"z": [self.picture(), Undefined], "x": [Undefined, x], "y": [Undefined, y]}, [0, 1])
        return self

    def still(self):
        """The same picture as a matplotlib figure."""
        fig, ax = style.subplots(size=(8, 4.2))
        shown, (w, h) = ax.imshow(self.picture(), cmap="magma", vmin=0, vmax=1), self.scene[3]
        ax.plot(*self.marks(), "+", color=style.SKY, ms=8, mew=1.8, label="where the joint is")
        ax.set(xlabel="u (heatmap px)", ylabel="v (heatmap px)", title=self.title(), xlim=(-0.5, w - 0.5), ylim=(h - 0.5, -0.5))
        ax.grid(False)
        ax.legend(loc="upper left", labelcolor="white", frameon=False, fontsize=9)
        fig.colorbar(shown, ax=ax, label="value", shrink=0.8)
        return fig

    def title(self):
        s = self.state
        return f"{s['joint'].replace('_', ' ')}; noise {s['amount']:g} × published; missing: {s['missing']}"

    def __repr__(self):
        return f"AGR explorer: heatmaps of {len(self.scene[0])} people, crosses where the joints are. {self.title()}."

    def _repr_mimebundle_(self, include=None, exclude=None):
        data, metadata = style.alt(self.still(), repr(self))._repr_mimebundle_()
        if self.widget is not None:
            key = "application/vnd.jupyter.widget-view+json"
            data[key] = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return data, metadata
