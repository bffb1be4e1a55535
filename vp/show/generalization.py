"""Pictures and tables of the generalization study's experiments with pictures (§3.2): Fig. 3a's heat maps, Table 1 beside the paper's.

Everything is drawn from rows or from plain arrays; nothing is computed here but places on the paper.
"""

import numpy as np
import torch

from vp.lab.claims import markdown
from vp.nets.method import ROOT
from vp.show import style

COLOURS = {"TBS": style.BLUE, "TIF": style.VERMILLION, "BDR": style.GREEN}
MARKERS = {"TBS": "o", "TIF": "s", "BDR": "^"}  # so that nothing hangs on colour alone
MAP = "cividis"  # made for colour-blind readers


def colour(method):
    """Colour of a method: learned ones in COLOURS, a user's own purple."""
    return COLOURS.get(method, style.PURPLE)


def same_scenes(sets, rows=2, first=0, width=3.1, roots=True):
    """Figure of pictures: a column for each of sets {title: `Pictures`}, a row for each of the pictures first, first + 1, ...

    roots: a ring about each root that counts.  (Where every set shows the same scenes, a row is one scene.)
    """
    w, h = next(iter(sets.values())).camera.size
    fig, axes = style.subplots(rows, len(sets), size=(width * len(sets), rows * width * h / w + 0.4), squeeze=False)
    for column, (title, pictures) in zip(axes.T, sets.items()):
        some = pictures.views(torch.arange(first, min(first + rows, len(pictures))))
        for ax, image, uv, there in zip(column, some.image, some.joints[:, :, ROOT], some.mask):
            ax.imshow(image.permute(1, 2, 0).numpy())
            if roots:
                ax.plot(*uv[there].T.numpy(), "o", mfc="none", mec="white", ms=9, mew=2.6)
                ax.plot(*uv[there].T.numpy(), "o", mfc="none", mec=style.INK, ms=9, mew=1.2)
        column[0].set_title(title)
        for ax in column:
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
    return fig


def heat_maps(tables, xlabel="tested on", ylabel="trained on", unit="mm", own=True):
    """Figure like Fig. 3a: tables {method: (arms, tests, (A, T) errors)} as maps with numbers in the cells, one colour scale for all.

    own: cells where arm and test have the same name are framed.
    """
    import matplotlib as mpl

    known = np.concatenate([np.ravel(t) for _, _, t in tables.values()])
    top = float(np.nanmax(known)) if np.isfinite(known).any() else 1.0
    arms = next(iter(tables.values()))[0]
    fig, axes = style.subplots(1, len(tables), size=(3.1 * len(tables) + 0.6, 0.62 * len(arms) + 1.4), squeeze=False)
    for ax, (method, (arms, tests, table)) in zip(axes[0], tables.items()):
        shown = ax.imshow(table, cmap=MAP, vmin=0, vmax=top, aspect="auto")
        for (i, j), x in np.ndenumerate(np.asarray(table, dtype=float)):
            r, g, b, _ = mpl.colormaps[MAP](x / top) if np.isfinite(x) else (1, 1, 1, 1)
            dark = 0.299 * r + 0.587 * g + 0.114 * b < 0.5
            ax.text(j, i, f"{x:.0f}" if np.isfinite(x) else "–", ha="center", va="center", color="white" if dark else style.INK)
            if own and arms[i] == tests[j]:
                ax.add_patch(mpl.patches.Rectangle((j - 0.47, i - 0.44), 0.94, 0.88, fill=False, edgecolor="white", lw=2.2))
        ax.set(xticks=range(len(tests)), xticklabels=tests, yticks=range(len(arms)), xlabel=xlabel, title=method)
        ax.set_yticklabels(arms if ax is axes[0, 0] else [])
        ax.grid(False)
    axes[0, 0].set_ylabel(ylabel)
    fig.colorbar(shown, ax=axes, label=f"MRPE_z ({unit})", shrink=0.9)
    return fig


def in_words(tables, unit="mm"):
    """The numbers of `heat_maps` as a text alternative."""
    said = []
    for method, (arms, tests, table) in tables.items():
        lines = [f"trained on {a}: " + ", ".join(f"{x:.0f} on {t}" for t, x in zip(tests, line) if x == x) for a, line in zip(arms, table)]
        said.append(f"{method}: {'; '.join(lines)}.")
    return f"{' '.join(said)} All in {unit}."


def ranges(ax, lines, level=None):
    """Dots with intervals, a line each from the top: lines [(label, value, (lo, hi) or None, colour, marker)]; level: a dashed line."""
    for y, (_, value, interval, ink, marker) in enumerate(lines):
        lo, hi = interval or (value, value)
        ax.plot([lo, hi], [y, y], color=ink, lw=4, alpha=0.4)
        ax.plot(value, y, marker, color=ink, ms=7)
    if level is not None:
        ax.axvline(level, color=style.QUIET, lw=1.2, ls="--")
    ax.set(yticks=range(len(lines)), yticklabels=[line[0] for line in lines], ylim=(len(lines) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
    return ax


def bars(ax, rows, tests, levels=()):
    """Bars with 95 % intervals: a group for each (method, train) of rows, a bar for each of tests, hatched from the second on.

    levels: methods that are reference levels, drawn as short lines across their test's bars of every group with the same `train`.
    """
    at = {(r["method"], r["train"], r["test"]): r for r in rows}
    groups = list(dict.fromkeys((r["method"], r["train"]) for r in rows if r["method"] not in levels))
    wide = 0.8 / len(tests)
    for x, (method, train) in enumerate(groups):
        for k, test in enumerate(tests):
            r, place = at[method, train, test], x - 0.4 + wide * (k + 0.5)
            error = None if r["lo"] is None else [[max(r["value"] - r["lo"], 0)], [max(r["hi"] - r["value"], 0)]]
            ax.bar(place, r["value"], 0.92 * wide, color=colour(method), alpha=0.95 if k == 0 else 0.55, hatch="" if k == 0 else "///",
                   edgecolor="white", yerr=error, error_kw={"ecolor": style.INK, "capsize": 3, "lw": 1.2})  # fmt: skip
            for dash, level in zip(("-", ":", "--"), levels):
                if (level, train, test) in at:
                    ax.plot([place - wide / 2, place + wide / 2], [at[level, train, test]["value"]] * 2, dash, color=style.INK, lw=1.4)
    ax.set(xticks=range(len(groups)), ylim=(0, None))
    ax.set_xticklabels([f"{method}\n{train}" for method, train in groups], fontsize=8)
    ax.grid(axis="x", visible=False)
    return ax


def table(rows, heading, paper=(), arm="trained on"):
    """Markdown table of rows: a line per (train, method), a column per test, "value [95 % interval]" in mm.

    heading: what the columns are of, e.g. "virtual twin, quick";  paper: rows of `results.paper` ("METHOD / TRAIN" in their column
    `row`), whose numbers then stand beside, as "paper, real data".
    """
    at = {(r["train"], r["method"], r["test"]): r for r in rows}
    tests, printed = list(dict.fromkeys(r["test"] for r in rows)), {(p["row"], p["column"]): p["value"] for p in paper}
    lines = []
    for train, method in dict.fromkeys(k[:2] for k in at):
        cells = [_cell(at.get((train, method, t))) for t in tests]
        theirs = [printed.get((f"{method} / {train}", t), float("nan")) for t in tests] if paper else []
        lines.append([train, method, *cells, *(f"{x:.1f}" if np.isfinite(x) else "–" for x in theirs)])
    heads = [f"{t}, {heading}" for t in tests] + ([f"{t}, paper, real data" for t in tests] if paper else [])
    return markdown([arm, "method", *heads], lines) + "\nMRPE_z, mm; [95 % interval over scenes].\n"


def _cell(r):
    if r is None or not np.isfinite(r["value"]):
        return "–"
    return f"{r['value']:.0f}" + ("" if r["lo"] is None else f" [{r['lo']:.0f}, {r['hi']:.0f}]")


def agreement(ax, x, y, method, limits, label=None, every=1):
    """Points y over x, both mm, drawn in metres, with the diagonal: answers over the truth, or over other answers."""
    lo, hi = (v / 1000 for v in limits)
    ax.plot([lo, hi], [lo, hi], color=style.QUIET, lw=1)
    ax.plot(np.asarray(x)[::every] / 1000, np.asarray(y)[::every] / 1000, MARKERS.get(method, "D"), color=colour(method), ms=3, alpha=0.45,
            mew=0, label=label)  # fmt: skip
    ax.set(xlim=(lo, hi), ylim=(lo, hi), aspect="equal")
    return ax
