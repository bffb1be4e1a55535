"""`vp report`: tables (Markdown, CSV), figures (PNG) and the claims ledger, rebuilt from rows alone and byte for byte the same each time.

One table per experiment: a line per method and training set, a column per test set and metric, the paper's number beside ours where it has
one.  Numbers from different profiles, data sources, budgets or values of a grid stand in different lines; seeds are averaged, wherever they
were run.
"""

import csv
import io
import itertools
import math
import re
import textwrap
from pathlib import Path

import numpy as np

from vp.lab import claims, effects, ledger, results
from vp.lab.effects import stack

LINE = ("method", "train", "profile", "poses", "cameras", "images", "steps", "config")  # what makes a line of a table
CELL = ("test", "metric", "unit")  # what makes a column
LEGEND = ("In round brackets: the paper's number; ± standard deviation over seeds; [lo, hi] 95 % interval (of several seeds: over seeds, "
          "and over scenes where rows keep each person's error).  Without ±: one seed, where another table may average.")  # fmt: skip
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A8A")  # safe for colour-blind readers
MARKERS = "os^vPX*><"  # one more than colours, so that 72 pairs differ; the open diamond is the paper's
MOST = 8  # test sets that a figure tells apart by colour and marker; of more, each is a line
METRICS = {  # what readers call them; others without underscores
    "mrpe_z": "MRPE_z", "mrpe": "MRPE", "mpjpe": "MPJPE", "pck_abs": "3DPCK_abs", "pck_abs_all": "3DPCK_abs, all people",
    "pck_abs_matched": "3DPCK_abs, matched people", "pck_rel_matched": "3DPCK_rel, matched people",
    "pck_root_matched": "PCK_root, matched people, 15 cm", "pck_root250_matched": "PCK_root, matched people, 25 cm",
    "auc_abs_all": "AUC_abs, all people", "pckh": "PCKh", "oks_ap": "OKS AP", "oks_ap50": "OKS AP50", "root_ap": "AP_root",
    "root_recall": "recall of roots", "peak_error": "error of the peak", "heatmap_change": "change of the heatmaps",
    "answer_change": "change of the answer",
}  # fmt: skip
GREEK = str.maketrans({"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "θ": "theta", "λ": "lambda", "μ": "mu", "σ": "sigma"})
CSV_COLUMNS = ("experiment", *LINE, *CELL, "value", "sd", "lo", "hi", "seeds", "n", "paper")


def main(rows=(), out=None, quiet=False):
    """Write tables, figures and README.md into folder `out`, claims.md and claims.svg too; returns the exit code.

    rows: files or folders of rows (default results/);  out: default figures/results/, with the claims in figures/ and, from the default
    rows, their summary in the repository's README.md.  InputError as of `results.load`.
    """
    home = results.ROOT / "figures"
    readme = None if rows or out else ledger.README
    out, at = (Path(out), Path(out)) if out else (home / "results", home)
    source = [str(r) for r in rows] or [str(results.ROOT / "results")]
    rows = results.ordered(results.load(*source))
    if not rows:
        print("no rows found: run notebooks first (vp reproduce), or name files or folders with --rows")
        return 0
    verdicts = claims.verdicts(rows)  # may refuse a row: before anything is written
    out.mkdir(parents=True, exist_ok=True)
    known = [p["table"] for p in results.paper()]
    experiments = _ordered({r["experiment"] for r in rows} - {"claim"}, known)
    names = _file_names(experiments)
    index = [f"# Results\n\nRebuilt from rows by `vp report`.  {LEGEND}\n"]
    for experiment, name in zip(experiments, names):
        mine = effects.select(rows, experiment=experiment)
        cells = summarise(effects.preferred(mine))
        text = table(cells)
        results.write_atomic(out / f"{name}.md", f"# {experiment}\n\n{text}\n{LEGEND}\n")
        results.write_atomic(out / f"{name}.csv", _csv(cells))
        index.append(f"\n## {experiment}\n\n{text}")
        if len({(c["metric"], c["unit"]) for c in cells}) < len(cells):  # some metric has two numbers to compare
            results.write_atomic(out / f"{name}.png", figure(experiment, cells))
            index.append(f"\n![{experiment}: each number of the table as a point]({name}.png)\n")
        else:
            (out / f"{name}.png").unlink(missing_ok=True)
    said = ledger.counts(ledger.write(rows, at, readme, verdicts))
    index.append(f"\n## Claims\n\n{said}: [claims.md]({'' if at == out else '../'}claims.md)\n")
    results.write_atomic(out / "README.md", "".join(index))
    if not quiet:
        print(f"{len(rows)} rows from {', '.join(source)}, {said}; tables and figures in {out}")
    return 0


def summarise(rows):
    """Rows of one experiment -> cells: dicts of CSV_COLUMNS, sorted.

    Of several seeds: the mean, the standard deviation over seeds, and a 95 % interval that draws seeds first, then scenes where the rows
    have them.  Of one: its own interval.
    """
    groups = _groups(results.ordered(rows))
    printed = results.paper(rows[0]["experiment"]) if rows else []
    cells = []
    for key, same in groups.items():
        cell = dict(zip((*LINE, *CELL), key))
        seeds = {}
        for r in same:
            seeds.setdefault(r["seed"], []).append(r["value"])
        values = np.array([np.mean(v) for v in seeds.values()], dtype=float)
        sd = float(values.std(ddof=1)) if len(values) > 1 else None
        lo, hi = _interval(same) if len(same) > 1 else (same[0]["lo"], same[0]["hi"])
        cells.append({
            "experiment": same[0]["experiment"], **cell, "value": float(values.mean()), "sd": sd, "lo": lo, "hi": hi,
            "seeds": len(seeds), "n": sum(r["n"] or 0 for r in same), "paper": _paper(cell, printed),
        })  # fmt: skip
    lines, columns = [p["row"] for p in printed], [p["column"] for p in printed]

    def place(cell):  # the paper's order first, then the alphabet, numbers by their size
        line = min(_index(lines, label) for label in _labels(cell))
        return line, [_natural(cell[c]) for c in LINE], _index(columns, cell["test"]), [_natural(cell[c]) for c in CELL]

    return sorted(cells, key=place)


def _groups(rows):
    """{values of LINE and CELL: rows}.  Of `config`, which also the seed may change, only the words of a grid tell lines apart, or all
    of it where one seed has several with the same words; trainings that saw another number of samples are never one line.
    """
    alike, groups = {}, {}
    for r in rows:
        words = (r["config"] or "").partition(" ")[2]
        alike.setdefault(tuple(words if c == "config" else r[c] or "" for c in (*LINE, *CELL)), []).append(r)
    for key, same in alike.items():
        runs, budgets = {(r["seed"], r["config"]) for r in same}, {r["samples_seen"] for r in same}
        several, words = len(runs) > len({seed for seed, _ in runs}), key[LINE.index("config")]
        for r in same:
            samples = [f"{r['samples_seen']} samples"] if len(budgets) > 1 else []
            config = r["config"] or "" if several else ", ".join(filter(None, [words, *samples]))
            groups.setdefault(tuple(config if c == "config" else k for c, k in zip(LINE + CELL, key)), []).append(r)
    return groups


def _interval(same):
    """95 % interval (lo, hi) of the mean of rows of several seeds: seeds are drawn, then scenes where every row has them."""
    if any(math.isnan(r["value"]) for r in same):
        return None, None
    rng = np.random.default_rng(0)
    if all(r["per_scene"] for r in same):
        found = claims.bootstrap(*stack(same), rng)
    else:
        found = claims.bootstrap([r["value"] for r in same], None, [-1 if r["seed"] is None else r["seed"] for r in same], rng)
    return found or (None, None)


def table(cells):
    """The cells as a Markdown table; what is the same in all lines (profile, sources) stands below it."""
    lines, columns = _unique(cells, LINE), _unique(cells, CELL)
    vary = _vary(lines)
    shown = [i for i, k in enumerate(LINE) if vary[k] or (k in ("method", "train") and lines[0][i])]
    at = {tuple(c[k] for k in (*LINE, *CELL)): c for c in cells}
    names = [" ".join(filter(None, (test, _reader(metric), f"({unit})" if unit else ""))) for test, metric, unit in columns]
    if len(lines) == 1:
        head = ["", " ".join(str(lines[0][i]) for i in shown) or "ours"]
        body = [[name, _cell(at.get((*lines[0], *column)))] for name, column in zip(names, columns)]
    else:
        head = [*(LINE[i] for i in shown), *names]
        body = [[*(line[i] or "–" for i in shown), *(_cell(at.get((*line, *column))) for column in columns)] for line in lines]
    said = [(k, {line[i] for line in lines if line[i]}) for i, k in enumerate(LINE) if i not in shown]
    same = [f"{k}: {values.pop()}" for k, values in said if len(values) == 1]
    return claims.markdown(head, body) + (f"\n{', '.join(same)}.\n" if same else "")


def figure(experiment, cells):
    """PNG bytes: one panel per metric, a line per method that has it, a marker per test set with its interval, the paper's number as an
    open diamond; a logarithmic axis where numbers differ more than a hundredfold.  Of one method, or more than MOST test sets: a line per
    test set and a marker per method.
    """
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [[c for c in cells if (c["metric"], c["unit"]) == panel] for panel in _unique(cells, ("metric", "unit"))]
    methods, tests = _names(_unique(cells, LINE)), {test: test or "–" for (test,) in _unique(cells, ("test",))}
    turned = len(methods) == 1 < len(tests) or len(tests) > max(MOST, len(methods))
    lines, series = (tests, methods) if turned else (methods, tests)
    keys = [[(tuple(c[k] for k in LINE), c["test"])[:: -1 if turned else 1] for c in panel] for panel in panels]  # (line, series)
    lines = {line: textwrap.fill(name, 34) for line, name in lines.items()}
    labels = [textwrap.fill(name, 70) for name in series.values()] if len(series) > 1 else [""]
    places = [_places([line for line, _ in mine], lines, 0.05 if turned and len(series) > 2 else 0.12) for mine in keys]
    heights = [0.65 + end for *_, end in places]
    only = next(iter(series.values())) if len(series) == 1 else ""
    title = textwrap.fill(experiment + (f": {only}" if only not in ("", "–", "ours") else ""), 80)
    with rc_context({**rcParamsDefault, "axes.spines.top": False, "axes.spines.right": False, "font.size": 10, "text.parse_math": False}):
        fig = Figure(figsize=(8, 1.0 + sum(heights)), dpi=100, layout="constrained")
        FigureCanvasAgg(fig)
        fig.get_layout_engine().set(rect=(0, 0, 0.965, 1))  # room for half a number at the right end of an axis
        axes = fig.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
        bold = {"weight": "bold", "size": 12}
        for ax, panel, mine, (bands, at, end) in zip(axes, panels, keys, places):
            for i, (key, label) in enumerate(zip(series, labels)):
                dots = [(c, y) for c, y, (_, of) in zip(panel, at, mine) if of == key]
                _dots(ax, dots, COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], label)
            ax.set_yticks([(a + b) / 2 for a, b in bands.values()], [lines[line] for line in bands])
            for a, b in list(bands.values())[1::2]:
                ax.axhspan(a, b, color="0.96", lw=0, zorder=0)
            ax.set_ylim(end, 0)
            _scale(ax, panel)
            ax.grid(axis="x", color="0.9")
            ax.set_axisbelow(True)
        if any(c["paper"] is not None for c in cells):
            axes[-1].plot([], [], "D", mfc="none", ms=8, color="0.3", label="the paper")
        handles = {h.get_label(): h for ax in axes for h in ax.get_legend_handles_labels()[0]}
        if said := [label for label in (*labels, "the paper") if label in handles]:
            fig.legend([handles[label] for label in said], said, loc="outside upper left", ncols=_columns(said), frameon=False, title=title,
                       alignment="left", title_fontproperties=bold)  # fmt: skip
        else:
            fig.suptitle(title, x=0.01, ha="left", fontproperties=bold)
        png = io.BytesIO()
        fig.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _columns(labels):
    """Columns of a legend that fits over the figure: some 88 characters, a marker taking eight."""
    return max(1, min(len(labels), 88 // (8 + max(map(len, labels)))))


def _names(lines):
    """{line: what tells it from the others, readably}."""
    vary, said = _vary(lines), {"steps": "{} steps", "config": "configuration {}"}
    shown = [i for i, k in enumerate(LINE) if vary[k] or k in ("method", "train")]

    def name(k, value):
        return str(value) if "=" in str(value) else said.get(k, "{}").format(value)  # the words of a grid say what they are

    return {line: ", ".join(name(LINE[i], line[i]) for i in shown if line[i]) or "ours" for line in lines}


def _vary(lines):
    """{column of LINE: whether it tells lines apart}; steps and configuration only where nothing else does."""
    vary = {k: len({line[i] for line in lines}) > 1 for i, k in enumerate(LINE)}
    for k in ("config", "steps"):
        vary[k] = vary[k] and len({tuple(x for x, name in zip(line, LINE) if name != k and vary[name]) for line in lines}) < len(lines)
    return vary


def _places(cells, names, step):
    """Of one panel: {line: (top, bottom) in inch from above}, the height of each cell, and that of the whole; cells: the line of each."""
    bands, at, top = {}, [0.0] * len(cells), 0.05
    for line in sorted(set(cells), key=list(names).index):
        mine = [i for i, of in enumerate(cells) if of == line]
        deep = 0.14 + max(step * len(mine), 0.17 * len(names[line].splitlines()))
        bands[line] = top, top + deep
        for k, i in enumerate(mine):
            at[i] = top + deep / 2 + step * (k - (len(mine) - 1) / 2)
        top += deep
    return bands, at, top + 0.05


def _scale(ax, cells):
    """The axis of one metric's numbers: its name, from zero on if differences are to be seen against it, or logarithmic."""
    seen = [x for c in cells for x in (c["value"], c["paper"], *_spread(c)) if x is not None and not math.isnan(x)]
    metric, unit = cells[0]["metric"], cells[0]["unit"]
    if seen and min(seen) > 0 and 100 < max(seen) / min(seen) < 1e30:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")  # powers of ten would be formulas
        ax.xaxis.set_minor_formatter("")
    elif seen and min(seen) > 0:
        ax.set_xlim(0, 1.04 * max(seen))
    about = ", ".join(filter(None, (unit, "logarithmic" if ax.get_xscale() == "log" else "")))
    ax.set_xlabel(_reader(metric) + (f" ({about})" if about else ""))


def _reader(metric):
    """A metric as readers call it: "pckh, knees" is PCKh, knees."""
    name, comma, of = metric.partition(",")
    return METRICS.get(name, name.replace("_", " ")) + comma + of


def _dots(ax, cells, colour, marker, label):
    for i, (c, y) in enumerate(cells):
        ax.plot(_spread(c), [y, y], color=colour, lw=2, alpha=0.5)
        size, label = 11 if marker == "*" else 7, None if i else label or None
        ax.plot(c["value"], y, marker, color=colour, ms=size, mec="white", mew=0.5, label=label)
        if c["paper"] is not None:
            ax.plot(c["paper"], y, "D", mfc="none", ms=8, color=colour)  # ours fits inside


def _spread(c):
    """The interval of a cell, else a standard deviation to either side."""
    return (c["lo"], c["hi"]) if c["lo"] is not None else (c["value"] - (c["sd"] or 0), c["value"] + (c["sd"] or 0))


def _cell(c):
    """73.3 ± 1.2 [71.0, 75.6] (76.0): mean over seeds, their deviation, the interval, the paper's number."""
    if c is None:
        return "–"
    places = 1 if c["unit"] in ("mm", "%") and not (0 < abs(c["value"]) < 0.1) else None

    def show(x):
        return claims.number(x) if places is None or math.isnan(x) else f"{x:.{places}f}"

    spread = f" ± {show(c['sd'])}" if c["sd"] is not None else ""
    spread += f" [{show(c['lo'])}, {show(c['hi'])}]" if c["lo"] is not None else ""
    return show(c["value"]) + spread + (f" ({show(c['paper'])})" if c["paper"] is not None else "")


def _csv(cells):
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    return text.getvalue()


def _labels(cell):
    """Names under which the paper may list this line: "method / train" or "method"."""
    return f"{cell['method']} / {cell['train']}", cell["method"]


def _printed_labels(cell, table):
    """Those of the lines that measure what the paper did: its Table 4 is from pictures, with REN's roots at centres of voxels."""
    if table != "table4":
        return _labels(cell)
    if str(cell["train"]).startswith("AGR: ground truth"):
        return ()
    return ({"REN (voxels)": "REN", "REN": None}.get(cell["method"], cell["method"]),)


def _paper(cell, printed):
    """The paper's number for a cell or None: same table, line, column and metric."""
    for p in printed:
        same = p["row"] in _printed_labels(cell, p["table"]) and p["column"] == cell["test"] and p["metric"] == cell["metric"]
        if same and not math.isnan(p["value"]):
            return p["value"]
    return None


def _file_names(experiments):
    """A file name for each experiment, without suffix: safe, no two alike (also not but for case), none that of README.md or claims.md."""
    taken, names = {"readme", "claims"}, []
    for experiment in experiments:
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", experiment.translate(GREEK))[:100]
        names.append(next(n for k in itertools.count(1) if (n := plain if k == 1 else f"{plain}_{k}").lower() not in taken))
        taken.add(names[-1].lower())
    return names


def _unique(cells, keys):
    return list(dict.fromkeys(tuple(c[k] for k in keys) for c in cells))


def _ordered(names, known):
    """Names in the paper's order, others after them by alphabet."""
    return sorted(names, key=lambda n: (_index(known, n), n))


def _natural(text):
    """Sort key: numbers in a text by their size, the rest by alphabet ("beta 20" before "beta 100"); "below ..." first."""
    parts = re.split(r"((?:(?<!\S)-)?\d+(?:\.\d+)?)", str(text).replace("below ", "-999999999 "))
    return [(0, float(part), "") if i % 2 else (1, 0.0, part) for i, part in enumerate(parts) if part]


def _index(names, name):
    return names.index(name) if name in names else len(names)
