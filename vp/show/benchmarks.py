"""Tables 2 and 3 beside the paper's, what each rule of a protocol is worth, sequences: drawn from rows alone."""

import numpy as np

from vp.lab import results
from vp.lab.benchmarks import ACTIVITIES, RULES, SEQUENCES
from vp.lab.claims import compared, markdown, quantity, select
from vp.show import style

LOOK = {  # of the rules, from the most honest to the published one
    "all joints": (style.BLACK, "P"), "honest": (style.QUIET, "s"), "3D pairing": (style.BLUE, "o"), "2D pairing": (style.SKY, "v"),
    "data set's rules": (style.ORANGE, "^"), "published": (style.VERMILLION, "D"),
}  # fmt: skip
WORDS = {
    "all joints": "honest, joints outside the picture too", "honest": "honest", "3D pairing": "paired in 3D, below 500 mm",
    "2D pairing": "paired by 2D joints, 40 px", "data set's rules": "true bone lengths", "published": "truth in space and candidates",
}  # fmt: skip
NOT_RUN = "not run"


def _cell(row, digits=1):
    return "–" if row is None or np.isnan(row["value"]) else f"{row['value']:.{digits}f}"


def _ours(rows, experiment, digits=1):
    """{(method, train): {(test, metric): row}} of an experiment, in the order of the rows."""
    out = {}
    for r in select(rows, experiment=experiment):
        out.setdefault((r["method"], r["train"]), {})[r["test"], r["metric"]] = r
    return out


def table2(rows, experiment="table2, honest", missing=()):
    """Markdown of Table 2: MPJPE of each activity and its mean, then root error and recall; below, the paper's.

    missing: (method, train) pairs that were not run.
    """
    parts = [a for a in (*ACTIVITIES, "other") if any(r["test"] == a for r in rows)]
    head, lines = ["MPJPE (mm)", "sees", *parts, "mean [95 %]", "MRPE of the mean (mm)", "people found (%)"], []
    for (method, train), at in _ours(rows, experiment).items():
        mean = at.get(("Mean", "mpjpe"))
        interval = "" if mean is None or mean["lo"] is None else f" [{mean['lo']:.0f}, {mean['hi']:.0f}]"
        cells = [_cell(at.get((a, "mpjpe"))) for a in parts]
        lines.append([method, train, *cells, _cell(mean) + interval, _cell(at.get(("Mean", "mrpe"))), _cell(at.get(("Mean", "recall")))])
    lines += [[method, train, NOT_RUN, *[""] * (len(parts) + 2)] for method, train in missing]
    for method, at in _printed("table2", "column").items():
        cells = [_cell(at.get((a, "mpjpe"))) for a in (*parts, "Mean")]
        lines.append([f"*paper, real data:* {method}", "image" + (", true depth" if "HMOR" in method else ""), *cells, "–", "–"])
    return markdown(head, lines)


def table3(rows, experiments=("table3, data set's rules",), missing=()):
    """Markdown of Table 3: PCK in %, means over sequences, of several experiments; below, the paper's.  missing: as in `table2`."""
    columns = ("pck_abs_matched", "pck_root_matched", "pck_root250_matched", "pck_abs_all", "auc_abs_all", "pck_rel_matched", "recall")
    head = ["%", "sees", "rules", "PCK_abs, matched", "PCK_root, matched, 15 cm", "25 cm", "PCK_abs, all [95 %]", "AUC_abs, all",
            "PCK_rel, matched", "people found"]  # fmt: skip
    lines = []
    for experiment in experiments:
        for (method, train), at in _ours(rows, experiment).items():
            cells = [_cell(at.get(("Mean", c))) for c in columns]
            total = at.get(("Mean", "pck_abs_all"))
            cells[3] += "" if total is None or total["lo"] is None else f" [{total['lo']:.1f}, {total['hi']:.1f}]"
            lines.append([method, train, experiment.partition(", ")[2], *cells])
    lines += [[method, train, NOT_RUN, *[""] * len(columns)] for method, train in missing]
    for method, at in _printed("table3", "column").items():
        get = lambda *key: _cell(at.get(key))  # noqa: B023, E731
        matched = get("matched people", "pck_abs"), get("matched people", "pck_root")
        lines.append([f"*paper, real data:* {method}", "image", "published", *matched, "–", get("all people", "pck_abs"), "–", "–", "–"])
    return markdown(head, lines)


def _printed(table, column):
    """{method: {(column, metric): row of the paper}}."""
    out = {}
    for r in results.paper(table):
        out.setdefault(r["row"], {})[r[column], r["metric"]] = r
    return out


def worth(rows, table, metric, same=False):
    """Markdown: what each rule reports (mean over parts), and by how much that differs from the honest number, paired by scene."""
    experiment = f"{table}, rules{', same people' if same else ''}"
    found = {r["method"]: r for r in select(rows, experiment=experiment, metric=metric, test="Mean")}
    unit, lines = {"mpjpe": "mm"}.get(metric, "points"), []
    for name in (r for r in RULES[table] if r in found):
        e = compared({"method": name}, {"method": "honest"}, experiment=experiment, metric=metric, test="Mean")(rows)
        more = "" if name == "honest" else quantity(e.value, e.interval, unit)
        lines.append([WORDS[name], _cell(found[name]), more, found[name]["n"]])
    return markdown([f"{metric} by", "reported", "against honest [95 %]", "people"], lines)


def ladder(rows, table, metric, label):
    """Figure: what each rule reports of the same answers, with 95 % intervals; left of all people that each counts, right of
    the same people (who are all matched)."""
    fig, axes = style.subplots(1, 2, size=(9.6, 2.8), sharex=True, sharey=True)
    names = list(RULES[table])
    for ax, same in zip(axes, (False, True)):
        experiment, of = f"{table}, rules{', same people' if same else ''}", metric.replace("_all", "_matched") if same else metric
        found = {r["method"]: r for r in select(rows, experiment=experiment, metric=of, test="Mean")}
        for y, (name, (colour, mark)) in enumerate((n, LOOK[n]) for n in names):
            if name in found and found[name]["lo"] is not None:
                ax.plot([found[name]["lo"], found[name]["hi"]], [-y, -y], color=colour, lw=3)
            if name in found:
                ax.plot(found[name]["value"], -y, mark, color=colour, ms=8)
        ax.set(xlabel=label.replace("all people", "these people") if same else label)
        ax.set_title("On the people whom all rules count" if same else "As reported")
    axes[0].set(yticks=[-y for y in range(len(names))], yticklabels=[WORDS[n] for n in names], ylim=(0.5 - len(names), 0.5))
    reported = select(rows, experiment=f"{table}, rules", metric=metric, test="Mean")
    text = "; ".join(f"{WORDS[r['method']]}: {r['value']:.1f}" for r in reported)
    return style.alt(fig, f"What each rule reports of the same network, {label}, with 95 per cent intervals: {text}.")


def sequences(rows, experiment, methods, metric="pck_abs_all", label="3DPCK_abs, all people (%)"):
    """Figure: a metric per sequence, for each (method, train) of `methods`."""
    fig, ax = style.subplots(size=(9.6, 3.2))
    found, order = _ours(rows, experiment), {s: i for i, s in enumerate(SEQUENCES)}
    for k, (key, colour, mark) in enumerate(zip(methods, (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE), "osD^")):
        at = {order[t]: r["value"] for (t, m), r in found.get(key, {}).items() if m == metric and t in order}
        x = np.array(sorted(at))
        ax.plot(x + 0.14 * (k - (len(methods) - 1) / 2), [at[i] for i in x], mark, color=colour, ms=6, label=f"{key[0]} ({key[1]})")
    ax.set(xticks=range(len(SEQUENCES)), xticklabels=[s[2:] for s in SEQUENCES], xlabel="sequence TS", ylabel=label)
    ax.set_ylim(0, 1.4 * max(ax.get_ylim()[1], 10))  # room for the legend
    ax.grid(axis="x", visible=False)
    ax.legend(fontsize=8, loc="upper right")
    return style.alt(fig, f"{label} of each of the 20 sequences' cameras, a mark for each of {len(methods)} methods.")


def same_scene(bench, size, scene=0):
    """Figure: one scene of each part that has pictures, side by side (of a paired bench: the same people, doing something else)."""
    shown = [(p.name, next(iter(x))) for p in bench.parts if (x := p.pictures(size)) is not None][:4]
    fig, axes = style.subplots(1, max(1, len(shown)), size=(9.6, 1.9), squeeze=False)
    for ax, (name, image) in zip(axes[0], shown):
        ax.imshow(image[scene].permute(1, 2, 0).numpy())
        ax.set(xticks=[], yticks=[], title=name)
        ax.grid(False)
    return style.alt(fig, f"One rendered scene in {', '.join(n for n, _ in shown)}.")
