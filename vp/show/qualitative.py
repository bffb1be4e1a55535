"""Figure 4's failure cases as curves, people of several cameras in one room, and a live explorer of the estimator.

Nothing is estimated here: the explorer is handed a `probe` (`vp.lab.qualitative.Probe`), which turns a setting into poses.  As with the
pinhole explorer, its traces are made once, each event sends one message, and a reader without a kernel sees its still.
"""

import html
import time
from dataclasses import asdict, replace

import numpy as np

from vp.show import plot, style
from vp.show.estimate import colour
from vp.show.poses3d import TRUTH
from vp.skeleton import JOINTS_15

LIMBS, ROOT = JOINTS_15.limb_pairs, JOINTS_15.root_index
METRICS = {"mrpe_z": ("depth of the root (MRPE_z)", style.BLUE), "mpjpe": ("all joints (MPJPE)", style.ORANGE)}
SLIDERS = {  # field: words, least, most, step
    "focal": ("focal length believed / true", 0.7, 1.4, 0.01), "pitch_deg": ("pitch believed − true (°)", -8.0, 8.0, 0.25),
    "right_px": ("joint moved right (px)", -200.0, 200.0, 5.0), "down_px": ("joint moved down (px)", -200.0, 200.0, 5.0),
}  # fmt: skip


# ---- failure cases ---------------------------------------------------------------------------------------------------------------------


def failures(panels, ratios, mean):
    """Small multiples: errors at the levels of several things, and depth against stature.

    panels: {title: (label of the axis, `Curve`, {level: name at the axis})};  ratios: statures (N,) mm, estimated / true depth (N,);
    mean: stature mm of whom training has seen on average.
    """
    fig, axes = style.subplots(2, 3, size=(11.4, 6.6))
    for ax, (title, (label, curve, levels)) in zip(axes.flat, panels.items()):
        for k, (metric, (words, c)) in enumerate(METRICS.items()):
            points = [(x, *curve.mean(level, metric)) for x, level in enumerate(levels)]
            known = [(x, v, i or (v, v)) for x, v, i in points if np.isfinite(v)]
            x, y = np.array([p[0] for p in known]) + 0.08 * (2 * k - 1), np.array([p[1] for p in known])
            off = np.array([(v - i[0], i[1] - v) for _, v, i in known]).reshape(-1, 2).T.clip(min=0)
            ax.errorbar(x, y, off, fmt="o", ms=4, lw=1.4, color=c, capsize=3, label=words)
            if title != "Occlusion":  # which has pairs, not an order
                line = [p for p in zip(x, y, known) if p[2][0] < len(levels) - ("children" in levels)]
                ax.plot([p[0] for p in line], [p[1] for p in line], lw=1.4, color=c)
        ax.set(xticks=range(len(levels)), xlabel=label, title=title, xlim=(-0.5, len(levels) - 0.5), ylim=(0, None))
        ax.set_xticklabels(list(levels.values()), fontsize=8)
    for ax in axes[:, 0]:
        ax.set_ylabel("mean error (mm)")
    _against_stature(axes.flat[5], *ratios, mean)
    handles, labels = axes.flat[3].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=2)
    counts = "; ".join(f"{t}: {min(len(c.z[k]) for k in levels)} people or more" for t, (_, c, levels) in panels.items())
    words = "the last panel shows estimated over true depth against stature"
    return style.alt(fig, f"Mean errors with 95 per cent intervals by {', '.join(t.lower() for t in panels)}; {words}. {counts}.")


def _against_stature(ax, statures, ratios, mean):
    s = np.linspace(np.nanmin(statures), np.nanmax(statures), 50)
    ax.plot(statures / 1000, ratios, ".", ms=3, color=style.BLUE, alpha=0.6, label="one person")
    ax.plot(s / 1000, mean / s, "--", color=style.VERMILLION, lw=1.6, label="size alone")
    ax.axhline(1, color=style.GREEN, lw=1.6, label="feet on the floor alone")
    ax.set(xlabel="stature (m)", ylabel="estimated / true depth", title="Too small, too far")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.3 * (high - low))  # room for the legend
    ax.legend(fontsize=8, loc="upper right")


def room(people, radius, text):
    """People of several cameras in one room, from above: people {name: joints (P, 15, 3) world mm, NaN where unknown};  radius mm."""
    fig, (top, heads) = style.subplots(1, 2, size=(10, 4.4), width_ratios=(1, 1.1))
    a = np.linspace(0, 2 * np.pi, 200)
    top.plot(radius / 1000 * np.cos(a), radius / 1000 * np.sin(a), color=style.GREEN, lw=1.6)
    plot.world_axes(top, "top", f"From above (circle: {2 * radius / 1000:g} m)")
    marks = "os^Dv"
    for k, (name, joints) in enumerate(people.items()):
        xyz = plot.array(joints) / 1000
        top.plot(*xyz[:, ROOT, :2].T, marks[k % 5], ms=8, mfc="none", mew=2, color=colour(k), label=name)
        heads.plot(np.full(len(xyz), k), xyz[:, JOINTS_15.index("head_top"), 2], marks[k % 5], ms=8, mfc="none", mew=2, color=colour(k))
    heads.axhspan(1.4, 2.0, color=style.GREEN, alpha=0.15)
    heads.set(xticks=range(len(people)), xticklabels=list(people), ylim=(0, 2.4), ylabel="head top above the floor (m)", xlabel="camera")
    heads.set_title("Heads (band: 1.4 to 2.0 m)")
    fig.legend(loc="outside lower left", ncols=len(people), fontsize=8)
    return style.alt(fig, text)


# ---- the explorer ----------------------------------------------------------------------------------------------------------------------


class EstimateExplorer:
    """The estimator on sliders: believed focal length and pitch, and one keypoint moved; without ipywidgets or anywidget, its still.

    probe: callable with `truth` (P, 15, 3) mm, `camera`, `size`, `joints`; given a setting, (answers (P, 15, 3) mm, keypoints px);
    setting: a dataclass of its fields.  `set(focal=0.8)` and `reset()` do what the controls do;  `seconds`: of the last answer.
    """

    def __init__(self, probe, setting):
        self.probe, self.initial, self.state = probe, setting, setting
        self.truth, self.figure, self.widget, self.controls, self._quiet = plot.array(probe.truth) / 1000, None, None, {}, False
        self._ask()
        try:
            import anywidget  # noqa: F401  (plotly's FigureWidget stands on it)
            import ipywidgets
        except ImportError:
            return
        self.figure = self._figure()
        self.widget = self._build(ipywidgets)
        self.words.value = self._table()

    def _ask(self):
        start = time.perf_counter()
        answers, px = self.probe(self.state)
        self.seconds = time.perf_counter() - start
        self.answers, self.px = plot.array(answers) / 1000, plot.array(px)

    def set(self, **changes):
        """Set fields of the setting, as the controls would.  Returns self."""
        self.state = replace(self.state, **changes)
        if self.widget is not None:
            self._quiet = True
            try:
                for name, control in self.controls.items():
                    control.value = getattr(self.state, name)
            finally:
                self._quiet = False
        self._show()
        return self

    def reset(self):
        """Back to the setting it was made with."""
        return self.set(**asdict(self.initial))

    # -- lines

    def _moved(self):
        return self.px[self.state.person, [JOINTS_15.index(self.state.joint)]]

    def lines(self):
        """{name of a trace: points (N, 2) px or (N, 3) m} of what changes."""
        out = {f"answer {i + 1}": plot.polyline(p, LIMBS) for i, p in enumerate(self.answers)}
        return out | {f"seen {i + 1}": plot.polyline(p, LIMBS) for i, p in enumerate(self.px)} | {"moved": self._moved()}

    def depths(self):
        """(P, 2) m: true and estimated distance ahead of the camera, along the floor."""
        return np.stack([self.truth[:, ROOT, 0], self.answers[:, ROOT, 0]], -1)

    # -- the notebook's figure

    def _figure(self):
        from plotly import graph_objects as go

        fig = go.Figure()

        def add(name, points, c, width, mode="lines", **more):
            look = {"mode": mode, "name": name, "hoverinfo": "name", "showlegend": False, "line": {"color": c, "width": width}} | more
            axes = dict(zip("xyz", np.ascontiguousarray(points.T)))
            fig.add_trace(go.Scatter3d(**axes, **look) if len(axes) == 3 else go.Scatter(**axes, **look))

        far = int(max(3, np.ceil(np.nanmax(self.truth[..., 0]) + 2)))
        grid = [[(x, -3, 0), (x, 3, 0)] for x in range(far + 1)] + [[(0, y, 0), (far, y, 0)] for y in range(-3, 4)]
        add("floor", plot.polyline(np.reshape(grid, (-1, 3)), [(2 * i, 2 * i + 1) for i in range(len(grid))]), style.FAINT, 1)
        add("camera", plot.polyline(plot.frustum(self.probe.camera, 500.0) / 1000, plot.FRUSTUM_EDGES), style.INK, 3)
        for i, p in enumerate(self.truth):
            add(f"truth {i + 1}", plot.polyline(p, LIMBS), TRUTH, 9)
        for name, points in self.lines().items():
            kind, _, i = name.partition(" ")
            c = colour(int(i) - 1) if i else style.INK
            look = {"mode": "markers", "marker": {"size": 12, "color": c, "symbol": "circle-open"}} if kind == "moved" else {}
            add(name, points, c, 4 if kind == "answer" else 3, **look)
        w, h = self.probe.size
        axis = {"showbackground": False, "showgrid": False, "zeroline": False, "showspikes": False, "color": style.QUIET}
        axis["ticksuffix"] = " m"
        pixel = {"showgrid": False, "zeroline": False, "mirror": True, "showline": True, "linecolor": style.QUIET, "constrain": "domain"}
        fig.update_layout(
            height=390, margin={"l": 0, "r": 10, "t": 10, "b": 40}, paper_bgcolor="white", plot_bgcolor="#F3F4F6", uirevision="keep",
            scene={"domain": {"x": [0, 0.54]}, "aspectmode": "data", "dragmode": "turntable", "uirevision": "keep",
                   "camera": {"eye": {"x": -0.6, "y": -1.7, "z": 0.6}},
                   **{f"{a}axis": axis | {"title": {"text": t}} for a, t in zip("xyz", ("ahead", "left", "up"))}},
            xaxis=pixel | {"domain": [0.6, 1], "range": [-0.5, w - 0.5], "title": {"text": "u (px)"}},
            yaxis=pixel | {"range": [h - 0.5, -0.5], "scaleanchor": "x", "title": {"text": "v (px)"}},
        )  # fmt: skip
        return go.FigureWidget(fig)

    def _build(self, W):
        wide = {"description_width": "190px"}
        for name, (words, low, high, step) in SLIDERS.items():
            value, width = getattr(self.state, name), W.Layout(width="430px")
            slider = W.FloatSlider(value=value, min=low, max=high, step=step, description=words, style=wide, layout=width)
            self.controls[name] = slider
        people = [(str(i + 1), i) for i in range(len(self.truth))]
        self.controls["person"] = W.Dropdown(options=people, value=self.state.person, description="person", style=wide)
        joints = [(j.replace("_", " "), j) for j in self.probe.joints]
        self.controls["joint"] = W.Dropdown(options=joints, value=self.state.joint, description="joint", style=wide)
        for name, control in self.controls.items():
            control.observe(lambda change, name=name: self._changed(name, change["new"]), "value")
        button, self.words, c = W.Button(description="reset", icon="undo", layout=W.Layout(width="90px")), W.HTML(), self.controls
        button.on_click(lambda _: self.reset())
        halves = [W.VBox([c["focal"], c["pitch_deg"], button]), W.VBox([c["person"], c["joint"], c["right_px"], c["down_px"]])]
        return W.VBox([W.HBox(halves, layout=W.Layout(flex_flow="row wrap")), self.figure, self.words])

    def _changed(self, name, value):
        if not self._quiet:
            self.state = replace(self.state, **{name: value})
            self._show()

    def _show(self):
        self._ask()
        if self.widget is None:
            return
        lines, names = self.lines(), [t.name for t in self.figure.data]
        new = {k: [] for k in "xyz"}
        for points in lines.values():
            for k, column in zip("xyz", [*np.ascontiguousarray(points.T), None]):
                new[k].append(column)
        if any(z is None for z in new["z"]):
            from plotly.basedatatypes import Undefined

            new["z"] = [Undefined if z is None else z for z in new["z"]]
        self.figure.plotly_update(new, {}, [names.index(n) for n in lines])
        self.words.value = self._table()

    def _table(self):
        cell = '<td style="padding:1px 16px 1px 0;color:{}">{}</td>'
        rows = [cell.format(style.INK, x) for x in ("<b>person</b>", "<b>true, ahead</b>", "<b>estimated</b>", "<b>error</b>")]
        out = f"<tr>{''.join(rows)}</tr>"
        for i, (true, said) in enumerate(self.depths()):
            values = ["no answer", ""] if np.isnan(said) else [f"{said:.2f} m", f"{1000 * (said - true):+.0f} mm"]
            out += f"<tr>{''.join(cell.format(colour(i), html.escape(x)) for x in (str(i + 1), f'{true:.2f} m', *values))}</tr>"
        return f"<table>{out}</table><small>answered in {1000 * self.seconds:.0f} ms</small>"

    # -- the still

    def __repr__(self):
        s, w = self.state, []
        w += [f"focal length {100 * (s.focal - 1):+.0f} %"] * (s.focal != 1) + [f"pitch {s.pitch_deg:+g}°"] * (s.pitch_deg != 0)
        name = f"{s.joint.replace('_', ' ')} of person {s.person + 1}"
        w += [f"{name} moved by {s.right_px:+.0f}, {s.down_px:+.0f} px"] * bool(s.right_px or s.down_px)
        errors = ", ".join("no answer" if np.isnan(b) else f"{1000 * (b - a):+.0f} mm" for a, b in self.depths())
        return f"Estimate explorer, {' and '.join(w) or 'nothing changed'}: errors ahead of {len(self.truth)} people: {errors}."

    def still(self):
        """The explorer's picture: keypoints in the image, from the side, from above; truth grey, answers coloured."""
        with style.context():
            fig, (image, side, top) = style.subplots(1, 3, size=(11.5, 3.8), width_ratios=(1.25, 1.1, 1))
            plot.image_axes(image, self.probe.size, title="Keypoints").set_facecolor("#F3F4F6")
            for ax, view, title in ((side, "side", "From the side"), (top, "top", "From above")):
                plot.world_axes(ax, view, title)
                plot.camera_3d(ax, self.probe.camera, view, 500.0)
                axes = list(plot.VIEWS[view])
                for i, p in enumerate(self.truth):
                    label = "truth" if i == 0 else None
                    ax.plot(*plot.polyline(p[:, axes], LIMBS).T, color=TRUTH, lw=5, label=label, solid_capstyle="round")
                for i, p in enumerate(self.answers):
                    ax.plot(*plot.polyline(p[:, axes], LIMBS).T, color=colour(i), lw=1.8, label=f"answer {i + 1}")
            for i, p in enumerate(self.px):
                image.plot(*plot.polyline(p, LIMBS).T, color=colour(i), lw=1.8)
            if self.state.right_px or self.state.down_px:
                image.plot(*self._moved().T, "o", mfc="none", ms=11, mew=2, color=style.INK)
            side.set(xlabel="ahead (m)", ylabel="up (m)")
            top.set(xlabel="ahead (m)", ylabel="left (m)")
            fig.legend(*side.get_legend_handles_labels(), loc="outside lower center", ncols=1 + len(self.answers))
            return style.alt(fig, repr(self))

    def _repr_mimebundle_(self, include=None, exclude=None):
        data, metadata = self.still()._repr_mimebundle_()
        if self.widget is not None:
            key = "application/vnd.jupyter.widget-view+json"
            data[key] = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return data, metadata
