"""Pictures of the study of postures (Fig. 3b): banks side by side, errors of training arms as bars and by group."""

import itertools

import numpy as np
import torch

from vp.show import people, style
from vp.world.bank import to_body_frame

COLOURS = (style.VERMILLION, style.BLUE, style.GREEN, style.QUIET)  # of the arms, in order
MARKS = {"mean depth": "^", "box size": "s", "stature floor": "D"}  # of the reference levels


def sheet(banks, n=11):
    """`Still` of the first n bodies of each of {name: `PoseBank`}, a row each, facing the same way."""
    joints = torch.cat([to_body_frame(b.joints[:n].float()) for b in banks.values()])
    titles = {k * n: f"{name}: {', '.join(sorted(set(b.activity)))}" for k, (name, b) in enumerate(banks.items())}
    picture = people.contact_sheet(joints, torch.cat([b.stature[:n] for b in banks.values()]), titles, n, extent=2250.0)
    return style.picture(picture, f"{n} bodies of each bank: {'; '.join(titles.values())}.")


def histograms(values, edges, label, title):
    """Figure of shares per bin, a line for each of {name: (N,)}, drawn as steps; the last one filled in grey."""
    fig, ax = style.subplots(size=(8.4, 3.2))
    for (name, x), colour in zip(values.items(), (*COLOURS[: len(values) - 1], style.INK)):
        share = 100 * np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] / len(x)
        last = name == list(values)[-1]
        ax.stairs(share, edges, fill=last, color=style.FAINT if last else colour, lw=1.8, label=name, zorder=1 if last else 2)
    ax.set(xlabel=label, ylabel="share (%)", title=title)
    ax.legend(fontsize=9)
    return fig


def bars(rows, method, arms, tests):
    """Figure like Fig. 3b: a group for each test, a bar for each arm with its 95 % interval, marks for the reference levels.

    rows: of `vp.lab.pose_variety.rows`.
    """
    at = {(r["test"], r["train"], r["method"]): r for r in rows}
    fig, ax = style.subplots(size=(8.8, 3.8))
    width, marks = 0.8 / len(arms), {}
    for (g, test), (k, arm) in itertools.product(enumerate(tests), enumerate(arms)):
        r, x = at[test, arm, method], g + (k - (len(arms) - 1) / 2) * width
        ax.bar(x, r["value"], 0.9 * width, color=COLOURS[k], label=arm if g == 0 else None)
        if r["lo"] is not None:
            ax.plot([x, x], [r["lo"], r["hi"]], color=style.INK, lw=1.5)
        ax.annotate(f"{r['value']:.0f}", (x, 0), (0, 4), textcoords="offset points", ha="center", color="white", fontsize=10)
        for level, mark in MARKS.items():
            if level in marks or (test, arm, level) in at:
                (marks[level],) = ax.plot(x, at[test, arm, level]["value"], mark, ms=7, mfc="white", mec=style.INK, mew=1.3)
    ax.set(xticks=range(len(tests)), xticklabels=[f"tested on {t}" for t in tests], ylabel="MRPE_z (mm)")
    ax.grid(axis="x", visible=False)
    handles, labels = ax.get_legend_handles_labels()
    fig.legend([*handles, *marks.values()], [*labels, *marks], loc="outside upper center", ncols=3, fontsize=9)
    return fig


def by_bin(panels, arms):
    """Figure of errors by group, a panel for each of {(title, label of the axis): rows of `vp.lab.pose_variety.binned`}, a line per arm."""
    fig, axes = style.subplots(1, len(panels), size=(9.6, 3.7), sharey=True, squeeze=False)
    for ax, ((title, label), rows) in zip(axes[0], panels.items()):
        tests = list(dict.fromkeys(r["test"] for r in rows))
        for arm, colour in zip(arms, COLOURS):
            mine = {r["test"]: r for r in rows if r["train"] == arm}
            lo, hi = ([mine[t][k] if mine[t][k] is not None else np.nan for t in tests] for k in ("lo", "hi"))
            ax.plot([mine[t]["value"] for t in tests], "o-", ms=5, color=colour, label=arm)
            ax.fill_between(range(len(tests)), lo, hi, color=colour, alpha=0.12, lw=0)
        n = {r["test"]: r["n"] for r in rows}
        bins = [" ".join(t.split(", ")[-1].split()[1:]) for t in tests]  # without the factor's name
        ax.set_xticks(range(len(tests)), [f"{b}\n{n[t]} people" for b, t in zip(bins, tests)], fontsize=8)
        ax.set(xlabel=label, title=title)
    axes[0, 0].set(ylabel="MRPE_z (mm)", ylim=(0, None))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(arms), fontsize=9)
    return fig


def differences(found):
    """Figure of {name: (value, interval or None)} mm, a row each, with zero marked."""
    fig, ax = style.subplots(size=(8.4, 0.42 * len(found) + 1.2))
    for y, (value, interval) in enumerate(list(found.values())[::-1]):
        ax.plot(interval or (value, value), [y, y], color=style.BLUE, lw=3)
        ax.plot(value, y, "o", color=style.BLUE, ms=8)
    ax.axvline(0, color=style.QUIET, lw=1.2)
    ax.set(yticks=range(len(found)), yticklabels=list(found)[::-1], ylim=(-0.6, len(found) - 0.4))
    ax.set_xlabel("difference of MRPE_z (mm), 95 % interval")
    return fig
