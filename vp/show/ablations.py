"""Pictures of notebook 11: Table 4 as steps, the four cells, Table 5 as maps, and the floor chart (README's picture)."""

import numpy as np

from vp.lab.claims import markdown
from vp.show import generalization, style

LOOK = {  # method: colour, marker, line: nothing hangs on colour alone
    "mean depth": (style.QUIET, "x", ":"), "box size": (style.QUIET, "P", ":"), "DE": (style.ORANGE, "s", "--"),
    "DE alone": (style.GREEN, "d", ":"),
    "DE, camera told": (style.VERMILLION, "D", "--"), "REN, camera's axes": (style.PURPLE, "v", "--"), "REN": (style.SKY, "^", "-"),
    "REN+PEN": (style.BLUE, "o", "-"),
}  # fmt: skip
FLOORS = {"without floor": "noisy peaks at best, without the floor (statures differ by 5 %)",
          "with floor": "noisy peaks at best, with the floor known"}  # fmt: skip


def floor_lines(rows):
    """What `floor_chart` draws, from rows of "floor chart by distance": each bin at its middle."""
    lines = {}
    for r in (r for r in rows if r["experiment"] == "floor chart by distance"):
        low, _, high, _ = r["test"].split()
        lines.setdefault(r["method"], []).append(((float(low) + float(high)) / 2, r["value"], r["lo"], r["hi"], r["n"]))
    return {method: sorted(points) for method, points in lines.items()}


def floor_chart(lines, size=(8.6, 6.0)):
    """Mean error of depth by distance: methods as lines with 95 % intervals, what no method can beat as areas.

    lines: {method or floor: [(m, mean mm, lo, hi, people)]}, as `ablation_rows.floor_chart` gives them.
    """
    fig, ax = style.subplots(size=size)
    for name, colour in (("without floor", "#D9DDE3"), ("with floor", "#8A94A3")):
        if name in lines:
            x, y = np.array([line[:2] for line in lines[name]]).T
            ax.fill_between(x, 0, y, color=colour, lw=0, label=FLOORS[name])
    for name, (colour, marker, line) in LOOK.items():
        if name not in lines:
            continue
        x, y = np.array([point[:2] for point in lines[name]]).T
        ax.plot(x, y, line, color=colour, marker=marker, ms=7, label=name)
        for at, _, lo, hi, _ in lines[name]:
            if lo is not None:
                ax.plot([at, at], [lo, hi], color=colour, lw=1.2, alpha=0.6)
    ax.set(xlabel="true depth of the person (m)", ylabel="mean error of depth, MRPE_z (mm)", title="How far from what can be known?")
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    low = min((point[1] for some in lines.values() for point in some), default=1.0)
    ax.set_ylim(bottom=max(1.0, 0.6 * low))
    ax.set_xticks(ticks := sorted({point[0] for some in lines.values() for point in some}), [f"{x:.1f}" for x in ticks])
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=9, frameon=False)
    said = "; ".join(f"{k}: " + ", ".join(f"{p[1]:.0f} mm at {p[0]:.1f} m" for p in v) for k, v in lines.items())
    return style.alt(fig, f"Error of depth by distance, logarithmic. {said}.")


def curves(rows, tests, methods, xlabel):
    """MRPE_z over tests {test: place on the axis} of some methods, with 95 % intervals."""
    fig, ax = style.subplots(size=(7.6, 3.8))
    for name in methods:
        colour, marker, line = LOOK[name]
        found = {r["test"]: r for r in rows if r["method"] == name and r["metric"] == "mrpe_z"}
        x = [place for t, place in tests.items() if t in found]
        here = [found[t] for t in tests if t in found]
        ax.plot(x, [r["value"] for r in here], line, color=colour, marker=marker, ms=7, label=name)
        for at, r in zip(x, here):
            if r["lo"] is not None:
                ax.plot([at, at], [r["lo"], r["hi"]], color=colour, lw=1.2, alpha=0.6)
    ax.set(xlabel=xlabel, ylabel="MRPE_z (mm)")
    ax.set_ylim(bottom=0)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    return style.alt(fig, f"MRPE_z of {', '.join(methods)} over {xlabel}.")


def table4(rows, test, paper):
    """Markdown: a line per method, MRPE_z [interval] and MRPE by each AGR, the paper's numbers, recall from pictures."""
    arms = [a for a in ("AGR: image", "AGR: ground truth, noisy", "AGR: ground truth") if any(r["train"] == a for r in rows)]
    at = {(r["method"], r["train"], r["metric"]): r for r in rows if r["test"] == test}
    lines = []
    for method in dict.fromkeys(r["method"] for r in rows if r["test"] == test):
        cells = []
        for arm in arms:
            z, place = at.get((method, arm, "mrpe_z")), at.get((method, arm, "mrpe"))
            between = f" [{z['lo']:.0f}, {z['hi']:.0f}]" if z and z["lo"] is not None else ""
            cells.append(f"{z['value']:.0f}{between}, {place['value']:.0f}" if z and place else "–")
        recall = at.get((method, arms[0], "recall"))
        cells += [f"{recall['value']:.3f}" if recall else "–", paper.get(method, "–")]
        lines.append([method, *cells])
    short = [a.removeprefix("AGR: ") for a in arms]
    heads = ["method", *(f"{a}: MRPE_z, MRPE (mm)" for a in short), f"recall, {short[0]}", "paper"]
    n = {r["n"] for r in rows if r["test"] == test and r["metric"] == "mrpe_z"}
    whose = f"{test}'s twin" if any(r["poses"] == "twin" for r in rows if r["test"] == test) else f"{test}, recorded people"
    return f"**{whose}**, {', '.join(map(str, sorted(n)))} people found in all\n\n" + markdown(heads, lines)


def table5(rows, paper):
    """Table 5 as two maps: ours and the paper's (rows "VirtualPose", metric mrpe_z; paper: rows of `results.paper`)."""
    arms, tests = ("14", "16", "19", "random"), ("14", "16", "19")

    def of(found, line, column):
        at = {(line(r), column(r)): r["value"] for r in found}
        return [arms, list(tests), np.array([[at.get((a, t), np.nan) for t in tests] for a in arms])]

    ours = [r for r in rows if r["method"] == "VirtualPose" and r["metric"] == "mrpe_z"]
    printed = [r for r in paper if r["metric"] == "mrpe_z"]
    tables = {"ours (twin)": of(ours, lambda r: r["train"], lambda r: r["test"]),
              "the paper (recorded)": of(printed, lambda r: r["row"].rpartition("/ ")[2], lambda r: r["column"])}  # fmt: skip
    fig = generalization.heat_maps(tables, "tested on camera", "trained on camera", own=False)
    return style.alt(fig, generalization.in_words(tables))
