"""The pinhole explorer three ways: sliders in a notebook, a still of the same state, and a page that needs neither kernel nor network.

Nothing is computed here: `vp.show.pinhole` turns a state into lines and numbers, this module draws them.  The notebook's traces are made
once and each event sends one batched restyle.  What a notebook saves is the still: a reader without a kernel sees a picture.
"""

import html
import json
import textwrap
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from vp.show import plot, style
from vp.show.pinhole import (
    COLOURS,
    FAR,
    GHOSTS,
    HEAD,
    HEADLINES,
    MODES,
    ROOT,
    SIZE,
    SLIDERS,
    SLIDERS_OF,
    SPREAD,
    PinholeState,
    body,
    describe,
    headline,
    reach,
    readout,
    solve,
    traces,
)
from vp.skeleton import JOINTS_17
from vp.world.poses import POSTURES

_C = COLOURS
_BODY = [5] * (3 * len(JOINTS_17.limbs)) + [14]  # marker sizes along a person's line: the joints, then the head

# name: (drawn as, colour, width, dash); what comes later is drawn over it
LOOKS = {
    "floor": ("lines", _C["faint"], 2, "solid"), "believed_floor": ("lines", _C["floor"], 2, "solid"),
    "axis": ("lines", _C["quiet"], 2, "dashdot"), "depth": ("lines", _C["quiet"], 3, "dot"), "rays": ("lines", _C["ray"], 3, "solid"),
    "camera": ("lines", _C["ink"], 4, "solid"), "ghosts": ("lines", _C["ghost"], 4, "solid"),
    "person": ("lines+markers", _C["person"], 8, "solid"), "member": ("lines+markers", _C["member"], 5, "solid"),
    "contact": ("markers", _C["floor"], 0, "solid"),
    "image_floor": ("lines", _C["faint"], 1, "solid"), "image_horizon": ("lines", _C["quiet"], 1.5, "dash"),
    "image_believed": ("lines", _C["floor"], 1.5, "dash"), "image_person": ("lines+markers", _C["person"], 6, "solid"),
    "image_member": ("lines", _C["member"], 2, "solid"), "image_height": ("lines", _C["measure"], 2, "solid"),
    "image_label": ("text", _C["measure"], 0, "solid"),
}  # fmt: skip
NAMES = tuple(LOOKS)
AXES = {False: ("x", "y", "z"), True: ("x", "y")}  # of a trace in the world, in the image


def label(view, lines):
    """What stands at the measure in the image, and on which side of its anchor."""
    text = f"{view.h_img:.1f} px" if np.isfinite(view.h_img) else ""
    return text, "left" if lines["image_label"][0, 0] < lines["image_height"][0, 0] else "right"


def columns(lines, name):
    """A trace's coordinates by axis; each a contiguous array, as the browser's message wants it."""
    return dict(zip(AXES[name.startswith("image")], np.ascontiguousarray(lines[name].T)))


# ---- the plotly figure ---------------------------------------------------------------------------------------------------------


def pinhole_figure(view, widget=False):
    """All traces of NAMES, made once: the world on the left (metre), the image on the right (px); a plotly Figure, or FigureWidget."""
    from plotly import graph_objects as go

    lines, scene, fig = traces(view), scene_ranges(view), go.Figure()
    text, side = label(view, lines)
    for name, (mode, colour, width, dash) in LOOKS.items():
        image, person = name.startswith("image"), mode == "lines+markers"
        look = {"mode": mode, "name": name.replace("_", " "), "hoverinfo": "skip", "showlegend": False}
        look |= columns(lines, name)
        if "lines" in mode:
            look["line"] = {"color": colour, "width": width, "dash": dash}
        if "markers" in mode:
            look["marker"] = {"color": colour, "size": _BODY if person else 8, "line": {"width": 0}}
        if mode == "text":
            look |= {"text": [text], "textposition": [f"middle {side}"], "textfont": {"size": 14, "color": colour, "weight": "bold"}}
        fig.add_trace(go.Scatter(**look) if image else go.Scatter3d(**look))
    axis = {"showbackground": False, "showgrid": False, "zeroline": False, "showspikes": False, "dtick": 1, "color": _C["quiet"]}
    axis |= {"title": {"text": ""}, "ticksuffix": " m"}
    pixel = {"showgrid": False, "zeroline": False, "mirror": True, "showline": True, "linecolor": _C["quiet"], "fixedrange": True}
    pixel["constrain"], (w, h), paper = "domain", SIZE, {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    fig.update_layout(
        height=370, autosize=True, uirevision="keep", margin={"l": 0, "r": 10, "t": 34, "b": 40}, paper_bgcolor="white",
        plot_bgcolor=_C["paper"],
        font={"color": _C["ink"], "size": 12}, modebar={"remove": "zoom pan select lasso zoom3d pan3d autoscale resetscale".split()},
        scene={
            "domain": {"x": [0, 0.54], "y": [0, 1]}, "aspectmode": "manual", "uirevision": "keep", "dragmode": "turntable",
            "camera": {"eye": {"x": -0.55, "y": -1.7, "z": 0.42}, "projection": {"type": "orthographic"}},
            "xaxis": axis, "yaxis": axis | {"showticklabels": False}, "zaxis": axis,
        },
        xaxis=pixel | {"domain": [0.6, 1], "range": [-0.5, w - 0.5], "title": {"text": "u (px)"}},
        yaxis=pixel | {"range": [h - 0.5, -0.5], "scaleanchor": "x", "title": {"text": "v (px)"}},
        annotations=[
            paper | {"text": f"<b>{t}</b>", "x": x, "y": 1.0, "showarrow": False}
            for t, x in (("The world (drag to turn)", 0.02), ("The image", 0.6))
        ],
    )  # fmt: skip
    fig.update_layout({k.replace(".", "_"): v for k, v in scene.items()})
    return go.FigureWidget(fig) if widget else fig


def scene_ranges(view):
    """Axis ranges of the world and its proportions, as a relayout."""
    low, high = reach(view)
    ranges = {f"scene.{a}axis.range": [lo, hi] for a, lo, hi in zip("xyz", low, high)}
    return ranges | {f"scene.aspectratio.{a}": 2.2 * (hi - lo) / (high[0] - low[0]) for a, lo, hi in zip("xyz", low, high)}


# ---- the explorer -----------------------------------------------------------------------------------------------------------------


class PinholeExplorer:
    """Fig. 1 on sliders; without ipywidgets or anywidget, its still.

    `set(depth_mm=5000)` and `reset()` do what the controls do; `state`, `view`, `figure`, `controls` are there to look at.
    """

    def __init__(self, state):
        self.initial, self.state, self.view = state, state, solve(state)
        self.figure = self.widget = None
        self.controls = {}
        try:
            import anywidget  # noqa: F401  (plotly's FigureWidget stands on it)
            import ipywidgets
        except ImportError:
            return
        self._scene, self._lines, self._quiet = scene_ranges(self.view), traces(self.view), False
        self.figure = pinhole_figure(self.view, widget=True)
        self.widget = self._build(ipywidgets)
        self._words()

    def _build(self, W):
        """The controls, each named like its field of the state, and where they stand."""
        wide, width = {"description_width": "165px"}, W.Layout(width="400px")
        for name, (text, unit, low, high, step) in SLIDERS.items():
            digits = len(str(step).partition(".")[2])
            value = getattr(self.state, name)
            self.controls[name] = W.FloatSlider(
                value=value, min=min(low, value), max=max(high, value), step=step, description=f"{text} ({unit})" if unit else text,
                readout_format=f".{digits}f", style=wide, layout=W.Layout(width="400px"),
            )  # fmt: skip
        self.controls["posture"] = W.Dropdown(
            options=list(POSTURES), value=self.state.posture, description="posture (γ)", style=wide, layout=width
        )
        self.controls["mode"] = W.ToggleButtons(options=[(text, key) for key, text in MODES.items()], value=self.state.mode)
        for name, control in self.controls.items():
            control.observe(lambda change, name=name: self._changed(name, change["new"]), "value")
        self.button = W.Button(description="reset", icon="undo", layout=W.Layout(width="90px"))
        self.button.on_click(lambda _: self.reset())
        self.words, self.numbers = W.HTML(), W.HTML()
        c = self.controls
        extras = W.HBox([c[n] for names in SLIDERS_OF.values() for n in names])
        halves = (("focal_px", "stature_mm", "posture"), ("pitch_deg", "height_mm", "depth_mm"))
        sliders = W.HBox([W.VBox([c[n] for n in half]) for half in halves], layout=W.Layout(flex_flow="row wrap"))
        return W.VBox([W.HBox([c["mode"], self.button]), sliders, extras, self.words, self.figure, self.numbers])

    def _changed(self, name, value):
        if not self._quiet:
            self._show(replace(self.state, **{name: value}))

    def set(self, **changes):
        """Set fields of the state, as the controls would; InputError for impossible values.  Returns self."""
        state = replace(self.state, **changes)
        if self.widget is not None:
            self._quiet = True
            try:
                for name, control in self.controls.items():
                    value = getattr(state, name)
                    if name in SLIDERS:  # a value beyond the slider's range widens it
                        control.min, control.max = min(control.min, value), max(control.max, value)
                    control.value = value
            finally:
                self._quiet = False
        self._show(state)
        return self

    def reset(self):
        """Back to the state it was made with."""
        return self.set(**asdict(self.initial))

    def _show(self, state):
        self.state, self.view = state, solve(state)
        if self.widget is not None:
            self._draw()
            self._words()

    def _draw(self):
        """One message to the browser, with the coordinates and axis ranges that changed."""
        from plotly.basedatatypes import Undefined

        lines, scene = traces(self.view), scene_ranges(self.view)
        names = [n for n in NAMES if n == "image_label" or not np.array_equal(lines[n], self._lines[n], equal_nan=True)]
        new = {n: columns(lines, n) for n in names}
        text, side = label(self.view, lines)
        new["image_label"] |= {"text": [text], "textposition": [f"middle {side}"]}
        data = {key: [new[n].get(key, Undefined) for n in names] for key in ("x", "y", "z", "text", "textposition")}
        moved = {k: v for k, v in scene.items() if v != self._scene[k]}
        self._scene, self._lines = scene, lines
        self.figure.plotly_update(data, moved, [NAMES.index(n) for n in names])

    def _words(self):
        for mode, names in SLIDERS_OF.items():
            for name in names:
                self.controls[name].layout.display = "" if mode == self.state.mode else "none"
        self.words.value = f"<b>{html.escape(headline(self.view))}</b>"
        cell = '<td style="padding:1px 14px 1px 0;{}">{}</td>'
        looks = ("", "font-weight:bold;white-space:nowrap", f"color:{_C['quiet']}")
        rows = ("".join(cell.format(look, html.escape(x)) for look, x in zip(looks, row)) for row in readout(self.view))
        self.numbers.value = f'<table style="line-height:1.45">{"".join(f"<tr>{row}</tr>" for row in rows)}</table>'

    def __repr__(self):
        return f"Pinhole explorer. {describe(self.view)}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        still = style.alt(pinhole_still(self.state), repr(self))
        data, metadata = still._repr_mimebundle_()
        if self.widget is not None:
            key = "application/vnd.jupyter.widget-view+json"
            data[key] = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return data, metadata


def pinhole_explorer(**initial):
    """The explorer of Fig. 1 from any fields of `PinholeState`, for the end of a cell; InputError for impossible values."""
    return PinholeExplorer(PinholeState(**initial))


# ---- the still ---------------------------------------------------------------------------------------------------------------------


def pinhole_still(state):
    """The explorer's picture as a matplotlib Figure: side view, image, numbers, and what there is to see as caption."""
    with style.context():
        return _still(solve(state))


def _still(view):
    lines, rows, s = traces(view), readout(view), view.state
    fig, (world, image) = style.subplots(1, 2, size=(12, 5.9), width_ratios=(1.15, 1))
    fig.get_layout_engine().set(rect=(0, 0.27, 1, 0.65))
    dashes = {"solid": "-", "dash": "--", "dashdot": "-.", "dot": ":"}
    for order, (name, (mode, colour, width, dash)) in enumerate(LOOKS.items(), 2):
        if name == "floor":
            continue
        ax, xy = (image, lines[name]) if name.startswith("image") else (world, lines[name][:, [0, 2]])
        if mode == "text":
            text, side = label(view, lines)
            ax.text(*xy[0], text, ha="right" if side == "left" else "left", va="center", weight="bold", clip_on=True, zorder=order)
            continue
        ax.plot(*xy.T, dashes[dash], color=colour, lw=width * 0.5, marker="o" if mode == "markers" else "", ms=7, zorder=order)
        if mode == "lines+markers" and len(xy):  # the last point is the head
            ax.plot(*xy[-1], "o", color=colour, ms=9 if name == "person" else 6, zorder=order)
    xyz = np.vstack([lines[n] for n in ("person", "ghosts", "member")])
    (x, z), top = (np.nanmax(xyz[:, 0]) + 0.6, np.nanmin(xyz[:, 2])), max(np.nanmax(xyz[:, 2]), s.height_mm / 1000 + 0.3)
    world.axhline(0, color=style.QUIET, lw=1.2, zorder=1)
    world.set(xlim=(-0.4, x), ylim=(min(0, z) - 0.25, top + 0.25), aspect="equal", xlabel="X, ahead (m)", ylabel="Z (m)")
    world.set_title("The world, from the side")
    on_axis = lines["depth"][0] + 0.52 * (lines["depth"][1] - lines["depth"][0])
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85}
    world.text(*on_axis[[0, 2]], f"d = {s.depth_mm / 1000:.2f} m", color=_C["person"], ha="center", va="center", bbox=box, zorder=30)
    plot.image_axes(image, SIZE, title="The image").set_facecolor(_C["paper"])
    fig.text(0.012, 0.955, headline(view), fontsize=12.5, weight="bold")
    for columns, part in (((0.012, 0.205, 0.32), rows[:6]), ((0.535, 0.68, 0.82), rows[6:])):
        for i, row in enumerate(part):
            for left, text, look in zip(columns, row, ({}, {"weight": "bold"}, {"color": style.QUIET})):
                fig.text(left, 0.225 - 0.037 * i, text, fontsize=9, **look)
    fig.text(0.535, 0.115 if rows[6:] else 0.245, textwrap.fill(describe(view), 84), va="top", fontsize=8.5, color=style.QUIET)
    return fig


# ---- the page ----------------------------------------------------------------------------------------------------------------------


def page_model():
    """What the page needs to know of us: bodies of unit stature (rounded to 1e-9), ranges, words, colours."""
    bodies = {name: body(name) for name in POSTURES}
    mode = {name: m for m, names in SLIDERS_OF.items() for name in names}
    return {
        "size": SIZE, "root": ROOT, "head": HEAD, "limbs": JOINTS_17.limb_pairs, "ghosts": GHOSTS, "far": FAR, "spread": SPREAD,
        "initial": asdict(PinholeState()), "modes": MODES, "headlines": HEADLINES, "colours": COLOURS,
        "sliders": {
            n: {"label": text, "unit": unit, "low": low, "high": high, "step": step, "mode": mode.get(n)}
            for n, (text, unit, low, high, step) in SLIDERS.items()
        },
        "postures": {n: {"joints": (np.round(p.numpy(), 9) + 0.0).tolist(), "gamma": round(gamma, 9)} for n, (p, gamma) in bodies.items()},
    }  # fmt: skip


def write_page(path):
    """Write the explorer as one HTML file that works from disk (template: vp/show/pinhole.html).  Returns the path."""
    template = Path(__file__).with_name("pinhole.html").read_text(encoding="utf-8")
    model = json.dumps(page_model(), ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(template.replace("/*MODEL*/null", model), encoding="utf-8", newline="\n")
    return path
