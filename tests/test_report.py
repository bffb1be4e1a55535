"""vp.lab.report: tables, figures and ledger from rows alone."""

import csv
import hashlib
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from vp.errors import InputError
from vp.lab import report, results
from vp.lab.effects import bootstrap


def rng():
    return np.random.default_rng(0)


def table1_rows():
    rows = []
    for seed, shift in ((0, -2.0), (1, 2.0)):
        for method in ("TIF", "TBS"):
            for train in ("augmented", "green"):
                for test in ("MuCo (green)", "MuCo (augmented)"):
                    where = {"method": method, "train": train, "test": test, "seed": seed, "n": 10, "profile": "quick", "poses": "twin"}
                    rows.append(results.row("table1", "mrpe_z", 80.0 + shift, "mm", **where))
    return rows


def digest(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_a_table_beside_the_papers_numbers(tmp_path, capsys):
    results.append(tmp_path / "rows.jsonl", table1_rows())
    assert report.main([str(tmp_path)], str(tmp_path / "out")) == 0
    assert "16 rows" in capsys.readouterr().out
    lines = (tmp_path / "out" / "table1.md").read_text().splitlines()
    assert "| method | train | MuCo (green) MRPE_z (mm) | MuCo (augmented) MRPE_z (mm) |" in lines
    assert "| TBS | green | 80.0 ± 2.8 [78.0, 82.0] (76.0) | 80.0 ± 2.8 [78.0, 82.0] (281.6) |" in lines  # sd of -2, 2 is 2.83
    assert [x.split("|")[1:3] for x in lines if x.startswith("| T")] == [  # the paper's order
        [" TBS ", " green "], [" TBS ", " augmented "], [" TIF ", " green "], [" TIF ", " augmented "]
    ]  # fmt: skip
    assert "profile: quick, poses: twin." in lines
    with (tmp_path / "out" / "table1.csv").open() as f:
        cells = list(csv.DictReader(f))
    assert len(cells) == 8
    assert {(c["seeds"], c["n"]) for c in cells} == {("2", "20")}
    assert {c["paper"] for c in cells if c["method"] == "TIF" and c["train"] == "augmented"} == {"58.7", "65.5"}
    assert "table1.png" in (tmp_path / "out" / "README.md").read_text()


def test_twice_the_same_bytes_also_in_another_process_and_row_order(tmp_path):
    rows = table1_rows()
    results.append(tmp_path / "a" / "rows.jsonl", rows)
    results.append(tmp_path / "b" / "one.jsonl", rows[::-1][:5])
    results.append(tmp_path / "b" / "two.jsonl", rows[::-1][5:])
    report.main([str(tmp_path / "a")], str(tmp_path / "first"), quiet=True)
    code = "import sys; from vp.lab import report; report.main([sys.argv[1]], sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b"), str(tmp_path / "second")], check=True, stdout=subprocess.DEVNULL)
    assert digest(tmp_path / "first") == digest(tmp_path / "second")
    assert set(digest(tmp_path / "first")) == {"README.md", "claims.md", "claims.svg", "table1.md", "table1.csv", "table1.png"}
    report.main([str(tmp_path / "a")], str(tmp_path / "first"), quiet=True)
    assert digest(tmp_path / "first") == digest(tmp_path / "second")


def seeded(values, spread=None, **where):
    """A row for each seed, of 40 scenes each (or without scenes)."""
    for seed, v in enumerate(values):
        scenes = {} if spread is None else {"per_scene": list(v + np.linspace(-spread, spread, 40))}
        yield results.row("x", "mrpe_z", v, "mm", (v - 1, v + 1), seed=seed, n=40, time=f"2026-01-0{seed + 1}", **scenes, **where)


def test_several_seeds_are_a_mean_a_deviation_and_an_interval_over_seeds_then_scenes():
    (alone,) = report.summarise(list(seeded([100.0], 8.0)))
    assert (alone["sd"], alone["lo"], alone["hi"], alone["seeds"]) == (None, 99.0, 101.0, 1)  # its own
    values = [100.0, 104.0, 114.0]
    (cell,) = report.summarise(list(seeded(values, 8.0)))
    assert (cell["seeds"], cell["n"]) == (3, 120)
    assert cell["value"] == pytest.approx(106.0)
    assert cell["sd"] == pytest.approx(np.std(values, ddof=1))
    rows = list(seeded(values, 8.0))
    people, scenes = [x for r in rows for x in r["per_scene"]], [f"{i:06d}" for _ in rows for i in range(40)]
    want = bootstrap(people, scenes, np.repeat([0, 1, 2], 40), rng())
    assert (cell["lo"], cell["hi"]) == pytest.approx(want)
    assert cell["hi"] - cell["lo"] > 8, "seeds outermost: three trainings differ more than their scenes tell"
    (bare,) = report.summarise(list(seeded(values)))
    assert (bare["lo"], bare["hi"]) == pytest.approx(bootstrap(values, None, [0, 1, 2], rng()))
    assert (bare["lo"], bare["hi"]) == (100.0, 114.0)  # the least and the greatest three of three
    assert "106.0 ± 7.2 [100.0, 114.0]" in report.table([bare])
    (broken,) = report.summarise(list(seeded([100.0, math.nan])))
    assert (broken["lo"], broken["hi"]) == (None, None)


def test_rows_of_several_machines_make_the_report_of_one_folder(tmp_path):
    rows = [r for m, shift in (("DE", 0.0), ("REN", -9.0)) for r in seeded([100.0 + shift, 104.3 + shift, 99.1 + shift], 8.0, method=m)]
    results.append(tmp_path / "one" / "rows.jsonl", rows)
    for seed, machine in ((0, "a"), (1, "b"), (2, "b")):
        results.append(tmp_path / machine / f"seed{seed}" / "rows.jsonl", [r for r in rows if r["seed"] == seed])
    again = [{**r, "time": "2025-01-01", "value": 1.0, "device": "other"} for r in rows[:2]]  # an older run of the same measurements
    results.append(tmp_path / "c" / "rows.jsonl", [rows[2], *again])
    folders = {n: [str(tmp_path / x) for x in n] for n in (("one",), ("a", "b"), ("b", "a"), ("c", "b", "a"), ("a", "one", "b", "c"))}
    for names, given in folders.items():
        report.main(given, str(tmp_path / "-".join(("out", *names))), quiet=True)
    digests = {names: digest(tmp_path / "-".join(("out", *names))) for names in folders}
    assert [n for n, d in digests.items() if d != digests["one",]] == []
    with (tmp_path / "out-one" / "x.csv").open() as f:
        assert {(c["seeds"], c["n"]) for c in csv.DictReader(f)} == {("3", "120")}


def test_of_two_rows_of_the_same_second_always_the_same_counts(tmp_path):
    twins = [{**r, "value": v} for r, v in zip([*seeded([1.0])] * 2, (1.0, 2.0))]
    for name, r in zip("ab", twins):
        results.append(tmp_path / name / "r.jsonl", [r])
    got = [[r["value"] for r in results.load(tmp_path / a, tmp_path / b)] for a, b in ("ab", "ba")]
    assert got == [[2.0], [2.0]]


def test_a_configuration_that_only_the_seed_changes_makes_no_line_of_its_own(tmp_path):
    for name in ("hashed", "plain"):
        made = [{**r, "config": f"{r['method']}{r['train']}{r['seed']}" if name == "hashed" else None} for r in table1_rows()]
        results.append(tmp_path / name / "rows.jsonl", made)
        report.main([str(tmp_path / name)], str(tmp_path / f"out-{name}"), quiet=True)
    assert digest(tmp_path / "out-hashed") == digest(tmp_path / "out-plain")

    def lines(*runs):  # (seed, configuration, value) -> [(configuration, mean, seeds)]
        rows = [results.row("x", "e", v, method="DE", seed=seed, config=config) for seed, config, v in runs]
        return [(c["config"], c["value"], c["seeds"]) for c in report.summarise(rows)]

    assert lines((0, "a", 1.0), (1, "b", 2.0), (2, None, 6.0)) == [("", 3.0, 3)]
    assert lines((0, "a", 1.0), (0, "b", 2.0), (1, "c", 4.0)) == [("a", 1.0, 1), ("b", 2.0, 1), ("c", 4.0, 1)]
    assert lines((None, "a", 1.0), (None, "b", 2.0)) == [("a", 1.0, 1), ("b", 2.0, 1)]
    assert lines((None, None, 1.0), (None, "b", 2.0)) == [("", 1.0, 1), ("b", 2.0, 1)]
    assert lines((None, "a", 1.0), (0, "b", 2.0)) == [("", 1.5, 2)]
    runs = ((0, 1.0, 96), (1, 2.0, 96), (2, 6.0, 48))
    rows = [results.row("x", "e", v, method="DE", seed=k, config=str(k), samples_seen=n) for k, v, n in runs]
    assert {(c["config"], c["value"]) for c in report.summarise(rows)} == {("96 samples", 1.5), ("48 samples", 6.0)}


def test_the_values_of_a_grid_are_the_lines_of_it(monkeypatch):
    def row(seed, size, value, unlike=""):
        config = f"{seed}{size}{unlike} voxels={size}, moved=True"
        return results.row("x", "e", value, method="DE", seed=seed, config=config)

    rows = [row(seed, size, 10.0 * size + seed) for size in (2, 10, 0.5) for seed in (0, 1, 2)]
    cells = report.summarise(rows)
    want = [(f"voxels={size}, moved=True", 10.0 * size + 1, 3) for size in (0.5, 2, 10)]
    assert [(c["config"], c["value"], c["seeds"]) for c in cells] == want
    assert "| DE | voxels=0.5, moved=True | 6 ± 1 [5, 7] |" in report.table(cells)
    assert drawn(rows, monkeypatch)[0][0] == [f"DE, voxels={size}, moved=True" for size in (0.5, 2, 10)]
    seeds = [row(0, 2, 1.0), row(1, 3, 5.0)]  # never one mean of two values
    assert [c["value"] for c in report.summarise(seeds)] == [1.0, 5.0]
    twice = report.summarise([row(0, 2, 1.0), row(0, 2, 3.0, "b"), row(0, 3, 7.0)])
    assert [(c["config"], c["value"]) for c in twice] == [
        ("02 voxels=2, moved=True", 1.0), ("02b voxels=2, moved=True", 3.0), ("voxels=3, moved=True", 7.0)
    ]  # fmt: skip
    base = [results.row("x", "e", 1.0, method="DE", seed=0, config="abc"), row(0, 2, 4.0)]
    assert drawn(base, monkeypatch)[0][0] == ["DE", "DE, voxels=2, moved=True"]
    assert "config: voxels=2, moved=True." in report.table(report.summarise([row(0, 2, 1.0), row(1, 2, 2.0)]))


def test_what_stands_below_a_table_holds_for_all_of_it():
    trained = [results.row("x", "e", 1.0, method=m, steps=s) for m, s in (("DE", 900), ("REN", 900), ("box size", None))]
    assert "steps: 900." in report.table(report.summarise(trained))
    assert "steps" not in report.table(report.summarise([*trained, results.row("x", "e", 1.0, method="PEN", steps=50)]))


def test_half_the_budget_stands_in_no_table_but_for_want_of_the_whole(tmp_path):
    """It only tests the claims; a run of half the budget alone shows what it has."""
    half, whole = list(seeded([120.0], steps=400, profile="quick-half")), list(seeded([100.0], steps=800, profile="quick"))
    for rows, shown in ((half + whole, ("| 100",)), (half, ("| 120",))):
        results.append(tmp_path / f"{len(rows)}.jsonl", rows)
        report.main([str(tmp_path / f"{len(rows)}.jsonl")], str(tmp_path / "out"), quiet=True)
        (text,) = [p.read_text() for p in (tmp_path / "out").glob("*.md") if p.stem not in ("README", "claims")]
        assert [x in text for x in ("| 100", "| 120")] == [x in shown for x in ("| 100", "| 120")], text


def test_sources_profiles_and_budgets_stand_in_different_lines():
    def row(value, **where):
        return results.row("table4", "mrpe_z", value, "mm", method="DE", test="Panoptic", **where)

    rows = [row(100.0, poses="twin", profile="quick"), row(50.0, poses="panoptic", profile="quick")]
    text = report.table(report.summarise(rows))
    assert "| DE | panoptic | 50.0 (104.1) |" in text
    assert "| DE | twin | 100.0 (104.1) |" in text
    text = report.table(report.summarise([row(1.0, steps=500, seed=0), row(2.0, steps=1000, seed=0)]))
    assert "| DE | 500 | 1.0 (104.1) |" in text
    text = report.table(report.summarise([row(1.0, config="a"), row(2.0, config="b", profile="paper")]))
    assert "config" not in text  # the profile tells them apart already


def test_cells_show_intervals_and_nan():
    rows = [
        results.row("x", "mrpe_z", 12.34, "mm", (10.0, 15.04), method="a"),
        results.row("x", "mrpe_z", float("nan"), "mm", method="b"),
        results.row("x", "recall", 0.98765, method="a"),
    ]
    text = report.table(report.summarise(rows))
    assert "| a | 12.3 [10.0, 15.0] | 0.9877 |" in text
    assert "| b | NaN | – |" in text


def test_an_experiment_without_comparison_is_a_list_without_figure(tmp_path):
    rows = [results.row("pinhole", "pitch_cost", 269.4, "mm"), results.row("pinhole", "same_picture", 3e-13, "px")]
    results.append(tmp_path / "r.jsonl", rows)
    report.main([str(tmp_path / "r.jsonl")], str(tmp_path / "out"), quiet=True)
    text = (tmp_path / "out" / "pinhole.md").read_text()
    assert "| pitch cost (mm) | 269.4 |" in text
    assert "| same picture (px) | 3e-13 |" in text
    assert not (tmp_path / "out" / "pinhole.png").exists()
    ledger = (tmp_path / "out" / "claims.md").read_text()
    assert "| `pitch-cost`" in ledger
    assert "✔ holds" in ledger
    assert "– not run" in ledger


def test_the_figure_is_a_picture_of_the_numbers():
    import cv2
    import numpy as np

    def picture(rows):
        return cv2.imdecode(np.frombuffer(report.figure("x", report.summarise(rows)), np.uint8), cv2.IMREAD_COLOR)

    rows = [results.row("x", "mrpe_z", v, "mm", method=m, test=t) for v, m, t in ((10.0, "a", "A"), (20.0, "b", "A"), (15.0, "a", "B"))]
    one = picture(rows)
    assert one.shape[1] == 800
    moved = picture([*rows[:2], {**rows[2], "value": 18.0}])
    assert one.shape == moved.shape
    assert (one != moved).any()


def figures(rows, monkeypatch, look, experiment="x"):
    """What `look` finds in the Figure of these rows."""
    from matplotlib.figure import Figure

    seen = []
    with monkeypatch.context() as m:
        m.setattr(Figure, "savefig", lambda fig, *_, **__: seen.append(look(fig)))
        report.figure(experiment, report.summarise(rows))
    return seen[0]


def drawn(rows, monkeypatch):
    """The panels of the figure of these rows: [(names of its lines, values, label, scale)]."""

    def look(fig):
        for ax in fig.axes:
            dots = [x for x in ax.lines if x.get_marker() in report.MARKERS and len(x.get_xdata())]
            at = {round(float(x.get_ydata()[0]), 3): float(x.get_xdata()[0]) for x in dots}
            texts = [t.get_text().replace("\n", " ") for t in ax.get_yticklabels()]
            yield texts, [at[y] for y in sorted(at)], ax.get_xlabel(), ax.get_xscale()

    return figures(rows, monkeypatch, lambda fig: list(look(fig)))


def signs(fig):
    """{label of the legend: (colour, marker)} of a figure, and the labels of its first panel's lines."""
    (legend,) = fig.legends
    labels = [t.get_text() for t in legend.get_texts()]
    found = dict(zip(labels, ((h.get_color(), h.get_marker()) for h in legend.legend_handles)))
    assert len(found) == len(labels)
    return found, [t.get_text() for t in fig.axes[0].get_yticklabels()]


def test_series_differ_also_in_grey_and_the_papers_diamond_is_open(monkeypatch):
    where = {"unit": "mm", "train": "green"}
    rows = [results.row("table1", "mrpe_z", 80.0, method=m, test=t, **where) for m in ("TBS", "TIF") for t in "ABCDEF"]
    rows += [results.row("table1", "mrpe_z", 90.0, method="TBS", test="MuCo (green)", **where)]
    found, _ = figures(rows, monkeypatch, signs, "table1")
    assert found.pop("the paper")[1] == "D"
    assert set(found) == {*"ABCDEF", "MuCo (green)"}
    assert len({marker for _, marker in found.values()}) == len(found) == 7
    assert not {marker for _, marker in found.values()} & {"D", "d"}

    def diamonds(fig):
        found = [x for x in fig.axes[0].lines if x.get_marker() == "D" and len(x.get_xdata())]
        return [(x.get_markerfacecolor(), float(x.get_xdata()[0])) for x in found]

    assert figures(rows, monkeypatch, diamonds, "table1") == [("none", 76.0)]
    apart = [results.row("x", e, 1.0, method=m, test=t) for m in ("m0", "m1") for t, e in (("A", "e"), ("B", "f"), ("C", "e"))]
    assert list(figures(apart, monkeypatch, signs)[0]) == ["A", "B", "C"], "the order of the table, whichever panel has them"
    many = [results.row("x", "e", float(i + j), method=f"m{i:02d}", test=f"t{j:02d}") for i in range(30) for j in range(25)]
    found, lines = figures(many, monkeypatch, signs)
    assert (len(found), len(set(found.values())), len(lines)) == (25, 25, 30)


def test_many_test_sets_or_one_method_make_a_line_per_test_set(monkeypatch):
    def rows(methods, tests):
        return [results.row("x", "e", float(m + t), method=f"m{m}", test=f"TS{t}") for m in range(methods) for t in range(tests)]

    eight, nine = [f"TS{t}" for t in range(8)], [f"TS{t}" for t in range(9)]
    assert [list(x) for x in figures(rows(3, 8), monkeypatch, signs)] == [eight, ["m0", "m1", "m2"]]
    assert [list(x) for x in figures(rows(3, 9), monkeypatch, signs)] == [["m0", "m1", "m2"], nine]
    assert [list(x) for x in figures(rows(9, 9), monkeypatch, signs)] == [nine, [f"m{m}" for m in range(9)]]
    ((lines, values, *_),) = drawn(rows(1, 4), monkeypatch)
    assert (lines, values) == (eight[:4], [0.0, 1.0, 2.0, 3.0])
    assert figures(rows(1, 4), monkeypatch, lambda fig: (fig.legends, fig.get_suptitle())) == ([], "x: m0")


def test_what_is_below_a_number_comes_first():
    bins = ["γ below 0.85", "γ 0.85 to 0.92", "γ 0.92 to 1", "γ above 1"]
    assert sorted(bins, key=report._natural) == bins
    assert sorted(["beta 100", "beta 20", "below 60 mm", "9 mm"], key=report._natural) == ["below 60 mm", "9 mm", "beta 20", "beta 100"]


def cut_or_covered(fig):
    """Texts of a figure that stand partly outside it or on another one."""
    fig.draw_without_rendering()
    titles = [fig._suptitle] if fig._suptitle else [legend.get_title() for legend in fig.legends]
    assert len(titles) == 1
    texts = [*titles, *(t for legend in fig.legends for t in legend.get_texts())]
    for ax in fig.axes:
        ticks = zip(ax.get_xticks(), ax.get_xticklabels())
        texts += [ax.xaxis.label, *ax.get_yticklabels(), *(t for x, t in ticks if ax.get_xlim()[0] <= x <= ax.get_xlim()[1])]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
    bad = [text for text, b in boxes if b.x0 < 0 or b.y0 < 0 or b.x1 > fig.bbox.x1 or b.y1 > fig.bbox.y1]
    return bad + [(s, t) for i, (s, a) in enumerate(boxes) for t, b in boxes[:i] if a.overlaps(b)]


@pytest.mark.parametrize("values", [(0.9, 1.0), (700.0, 1347.0), (96000.0, 100000.0), (0.001, 1000.0)])
def test_no_text_is_cut_or_covers_another(monkeypatch, values):
    long = "VirtualPose, trained here, AGR: ground truth, noisy, computed"
    for methods, tests in (
        (["DE", long], ["a", long]),
        ([f"{long}, {long} {x}" for x in "abcde"], [f"TS{t}" for t in range(11)]),
        ([f"m{i}" for i in range(14)], [f"TS{t}" for t in range(14)]),
        (["DE"], [f"{long}, {long}", "b", "c"]),
        ([f"{long}, {long} {x}" for x in "ab"], ["only"]),
        (["W" * 31, "b"], ["only"]),
    ):
        at = [(m, t, values[i % 2]) for i, (m, t) in enumerate(itertools.product(methods, tests))]
        rows = [results.row("x", metric, v, "mm", method=m, test=t) for metric in ("pck_root250_matched", "recall") for m, t, v in at]
        assert figures(rows, monkeypatch, cut_or_covered) == []

    def right(fig):
        return max(float(x) for ax in fig.axes for line in ax.lines for x in line.get_xdata()), fig.axes[0].get_xlim()[1]

    most, end = figures(rows, monkeypatch, right)
    assert most + 0.01 * abs(most) < end, "the whole of the last dot"


def test_axes_and_tables_have_the_readers_names_and_the_csv_those_of_the_rows(tmp_path, monkeypatch):
    names = {"mrpe_z": "MRPE_z", "mrpe": "MRPE", "mpjpe": "MPJPE", "pck_abs": "3DPCK_abs", "recall": "recall", "pckh, knees": "PCKh, knees",
             "pck_root_matched": "PCK_root, matched people, 15 cm", "new_thing": "new thing"}  # fmt: skip
    rows = [results.row("x", name, v, method=m) for name in names for m, v in (("a", 1.0), ("b", 2.0))]
    assert {label for _, _, label, _ in drawn(rows, monkeypatch)} == set(names.values())
    results.append(tmp_path / "r.jsonl", rows)
    report.main([str(tmp_path / "r.jsonl")], str(tmp_path / "out"), quiet=True)
    head = (tmp_path / "out" / "x.md").read_text().splitlines()[2]
    assert {x.strip() for x in head.strip("|").split("|")} == {"method", *names.values()}
    with (tmp_path / "out" / "x.csv").open() as f:
        assert {c["metric"] for c in csv.DictReader(f)} == set(names)


def test_lines_have_readable_names_in_the_order_of_their_numbers(monkeypatch):
    sharp = [results.row("x", "e", v, "mm", method=f"beta {b}") for b, v in ((100, 7.0), (5, 565.0), (20, 0.05), (1000, 15.0))]
    ((names, values, label, scale),) = drawn(sharp, monkeypatch)
    assert names == ["beta 5", "beta 20", "beta 100", "beta 1000"]
    assert values == [565.0, 0.05, 7.0, 15.0]
    assert (label, scale) == ("e (mm, logarithmic)", "log")
    ((_, _, label, scale),) = drawn(sharp[::3], monkeypatch)
    assert (label, scale) == ("e (mm)", "linear"), "less than a hundredfold"
    trained = [results.row("x", "e", 1.0, method=m, steps=s) for m, s in (("DE", 900), ("REN", 900), ("box size", None))]
    assert drawn(trained, monkeypatch)[0][0] == ["DE", "REN", "box size"]
    assert drawn([*trained, results.row("x", "e", 2.0, method="DE", steps=50)], monkeypatch)[0][0][:2] == ["DE, 50 steps", "DE, 900 steps"]
    tests = [results.row("x", "e", 1.0, test=t) for t in ("height 100 mm", "height 25 mm", "-10 to 0°", "0 to 10°")]
    assert [c["test"] for c in report.summarise(tests)] == ["-10 to 0°", "0 to 10°", "height 25 mm", "height 100 mm"]


def test_a_panel_has_no_empty_lines(monkeypatch):
    rows = [results.row("x", metric, 1.0, method=m) for metric, m in (("e", "DE"), ("e", "PEN"), ("f", "PEN"))]
    assert [names for names, *_ in drawn(rows, monkeypatch)] == [["DE", "PEN"], ["PEN"]]


def test_no_rows_is_one_line_and_writes_nothing(tmp_path, capsys):
    assert report.main([str(tmp_path)], str(tmp_path / "out")) == 0
    said = capsys.readouterr().out
    assert said.startswith("no rows found")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="no such file or folder"):
        report.main([str(tmp_path / "nowhere")], str(tmp_path / "out"))


def test_experiments_never_share_a_file_or_take_the_reports_own(tmp_path):
    names = ["README", "claims", "Claims", "a b", "a_b", "A b", "x" * 300]
    results.append(tmp_path / "r.jsonl", [results.row(name, "m", float(i)) for i, name in enumerate(names)])
    report.main([str(tmp_path / "r.jsonl")], str(tmp_path / "out"), quiet=True)
    assert (tmp_path / "out" / "README.md").read_text().startswith("# Results")
    assert (tmp_path / "out" / "claims.md").read_text().startswith("# Claims")
    tables = [p for p in (tmp_path / "out").glob("*.md") if p.name not in ("README.md", "claims.md")]
    assert {p.read_text().splitlines()[0][2:] for p in tables} == set(names)
    assert len({p.name.lower() for p in (tmp_path / "out").glob("*.md")}) == len(names) + 2


def test_names_are_text_and_no_formulas(tmp_path):
    rows = [results.row("$\\frac$", "$_m_$", v, "$^$", method=m, test="$\\x$") for v, m in ((1.0, "$\\a{$"), (1e300, "b"))]
    assert report.figure("$\\frac$", report.summarise(rows))[1:4] == b"PNG"


@pytest.mark.parametrize(
    "bad",
    [
        '"value": 1, "seed": NaN',
        '"value": 1' + "0" * 400,
        '"value": 1, "method": "holds", "note": "text"',
        '"value": ' + "[" * 5000 + "]" * 5000,
    ],
    ids=["seed", "digits", "note", "nested"],
)
def test_a_bad_row_is_one_line_on_the_command_line(tmp_path, capsys, bad):
    from vp.__main__ import main

    (tmp_path / "r.jsonl").write_text('\n{"experiment": "claim", "metric": "m", ' + bad + "}\n")
    assert main(["report", "--rows", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "r.jsonl:2: " in said
    assert not (tmp_path / "out").exists()


def test_names_of_experiments_make_safe_file_names(tmp_path):
    results.append(tmp_path / "r.jsonl", [results.row("../a b/c", "m", 1.0)])
    report.main([str(tmp_path / "r.jsonl")], str(tmp_path / "out"), quiet=True)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".._a_b_c.csv", ".._a_b_c.md", "README.md", "claims.md", "claims.svg"]


def test_greek_letters_stay_in_file_names(tmp_path):
    results.append(tmp_path / "r.jsonl", [results.row(name, "m", 1.0) for name in ("fig3b, by γ", "fig3b, by θ", "σ", "fig3b, by gamma")])
    report.main([str(tmp_path / "r.jsonl")], str(tmp_path / "out"), quiet=True)
    made = {p.stem: p.read_text().splitlines()[0] for p in (tmp_path / "out").glob("*.md")}
    assert made["fig3b_by_theta"] == "# fig3b, by θ"
    assert made["sigma"] == "# σ"
    assert {made["fig3b_by_gamma"], made["fig3b_by_gamma_2"]} == {"# fig3b, by γ", "# fig3b, by gamma"}


def test_of_table_4_the_paper_stands_beside_what_it_measured():
    """From pictures, REN's roots at centres of voxels."""
    arms, methods = ("AGR: image", "AGR: ground truth", "AGR: ground truth, noisy"), ("DE", "REN", "REN (voxels)", "REN+PEN")
    rows = [results.row("table4", "mrpe_z", 300.0, "mm", method=m, train=t, test="MuPoTS") for m in methods for t in arms]
    cells = {(c["method"], c["train"]): c["paper"] for c in report.summarise(rows)}
    known = {k: v for k, v in cells.items() if v is not None}
    assert known == {("DE", "AGR: image"): 245.4, ("REN (voxels)", "AGR: image"): 165.0, ("REN+PEN", "AGR: image"): 159.8}
