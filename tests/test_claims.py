"""vp.lab.claims: verdicts, bootstrap against enumeration and loops, tables, and the geometry claims on numbers computed here."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from vp.camera import Camera, depth_from_height
from vp.errors import InputError
from vp.lab import claims, results
from vp.lab.claims import GEOMETRY, Claim, Effect, bootstrap, compared, judge, measured, paired_difference
from vp.world.poses import person

PANOPTIC = Path(__file__).parents[2] / "shared" / "data" / "panoptic" / "160906_band1"


def rows_of(*rows):
    return [results.row(r.pop("experiment", "e"), r.pop("metric", "mrpe_z"), r.pop("value"), r.pop("unit", "mm"), **r) for r in rows]


def rng(seed=0):
    return np.random.default_rng(seed)


# ---- bootstrap ---------------------------------------------------------------------------------------------------------------------


def enumerated(values, clusters, seeds):
    """All equally likely resamples of a hierarchical bootstrap, one by one: 2.5 and 97.5 % quantiles of their means."""
    values, clusters, seeds = map(np.asarray, (values, clusters, seeds))
    per_seed = []  # for each seed: all means of resampled clusters
    for s in sorted(set(seeds)):
        names = sorted(set(clusters[seeds == s]))
        means = []
        for drawn in itertools.product(names, repeat=len(names)):
            people = [v for c in drawn for v in values[(seeds == s) & (clusters == c)]]
            means.append(sum(people) / len(people))
        per_seed.append(means)
    out = []
    for drawn in itertools.product(per_seed, repeat=len(per_seed)):
        out += [sum(m) / len(m) for m in itertools.product(*drawn)]
    return np.percentile(out, [2.5, 97.5], method="inverted_cdf")


@pytest.mark.parametrize(
    ("values", "clusters", "seeds"),
    [
        ([1.0, 2.0, 4.0, 8.0], "abcd", [0] * 4),
        ([1.0, 3.0, 10.0, 11.0, 5.0], "aabbc", [0] * 5),  # clusters of different size
        ([1.0, 2.0, 4.0, 11.0, 12.0, 14.0], "abcabc", [0, 0, 0, 1, 1, 1]),
    ],
)
def test_bootstrap_agrees_with_all_resamples(values, clusters, seeds):
    lo, hi = bootstrap(values, list(clusters), seeds, rng(), draws=20000)
    want = enumerated(values, list(clusters), seeds)
    assert lo == pytest.approx(want[0], abs=0.3)
    assert hi == pytest.approx(want[1], abs=0.3)


@pytest.mark.parametrize("several", [1, 3])
def test_bootstrap_draws_as_a_plain_loop_does(several):
    g = np.random.default_rng(5)
    values, clusters, seeds = g.normal(300, 100, 90), g.integers(30, size=90), g.integers(several, size=90)
    dice, means = rng(), np.zeros(300)
    picked = dice.integers(several, size=(300, several))
    for s in range(several):
        names = np.unique(clusters[seeds == s])
        for d, times in enumerate((picked == s).sum(1)):
            for _ in range(times):
                chosen = dice.integers(len(names), size=len(names))
                means[d] += np.concatenate([values[(seeds == s) & (clusters == names[c])] for c in chosen]).mean() / several
    assert bootstrap(values, clusters, seeds, rng(), draws=300) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), rel=1e-12)


def test_bootstrap_resamples_scenes_and_not_people():
    people = np.repeat(rng(1).normal(0, 1, 20), 100)  # 20 scenes of 100 people who agree
    scenes = np.repeat(np.arange(20), 100)
    by_scene, by_person = bootstrap(people, scenes, None, rng()), bootstrap(people, None, None, rng())
    assert by_scene[1] - by_scene[0] > 5 * (by_person[1] - by_person[0])


def test_seeds_are_outermost():
    values = np.concatenate([rng(1).normal(0, 1, 200), rng(2).normal(50, 1, 200)])  # two trainings far apart
    lo, hi = bootstrap(values, None, np.repeat([0, 1], 200), rng())
    assert lo < 5
    assert hi > 45


def test_bootstrap_covers_the_truth():
    inside = 0
    for k in range(200):
        g = rng(k)
        lo, hi = bootstrap(g.normal(3, 1, 30), None, None, g, draws=300)
        inside += lo <= 3 <= hi
    assert 0.87 <= inside / 200 <= 0.99


def test_nothing_varies_no_interval():
    assert bootstrap([1.0, 2.0], ["a", "a"], None, rng()) is None
    assert bootstrap([5.0], None, None, rng()) is None
    assert bootstrap([math.nan, math.nan], None, None, rng()) is None
    assert bootstrap([1.0, 2.0], ["a", "a"], [0, 1], rng()) is not None


def test_paired_difference_against_a_loop():
    a, b = rng(3).normal(100, 10, 60), rng(3).normal(90, 10, 60)
    clusters = np.arange(60) // 3
    value, (lo, hi) = paired_difference(a, b, clusters, None, rng(5))
    assert value == pytest.approx(sum(x - y for x, y in zip(a, b)) / 60)
    g, means = rng(6), []
    for _ in range(4000):
        drawn = g.choice(20, 20)
        means.append(np.mean([a[i] - b[i] for c in drawn for i in range(60) if clusters[i] == c]))
    want = np.percentile(means, [2.5, 97.5])
    assert [lo, hi] == pytest.approx(list(want), abs=0.25)


def test_pairing_removes_what_both_share():
    scenes = rng(1).normal(0, 100, 40)  # hard and easy scenes
    a, b = scenes + 10, scenes + rng(2).normal(0, 1, 40)
    value, (lo, hi) = paired_difference(a, b, None, None, rng())
    assert value == pytest.approx(10, abs=1)
    assert hi - lo < 2
    assert paired_difference([2.0, math.nan, 6.0], [1.0, 1.0, 3.0], None, None, rng())[0] == pytest.approx(2.0)
    assert paired_difference([2.0, 6.0], [1.0, 3.0], None, None, rng(), ratio=True)[0] == pytest.approx(2.0)
    assert math.isnan(paired_difference([math.nan], [1.0], None, None, rng())[0])


# ---- verdicts ------------------------------------------------------------------------------------------------------------------------


def fixed(value, interval=None, **options):
    return Claim("c", "§1", "s", lambda rows: Effect(value, interval), **{"threshold": 5.0, "direction": ">", "unit": "mm", **options})


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (fixed(7, (6, 8)), "holds"),
        (fixed(7, (4, 10)), "inconclusive"),
        (fixed(3, (2, 4)), "fails"),
        (fixed(3, (2, 4), direction="<"), "holds"),
        (fixed(7, (6, 8), direction="<"), "fails"),
        (fixed(4, (3, 6), direction="<"), "inconclusive"),
        (fixed(5, (4.5, 5.5), direction="within", threshold=(4.0, 6.0)), "holds"),
        (fixed(5, (3.5, 5.5), direction="within", threshold=(4.0, 6.0)), "inconclusive"),
        (fixed(9, (8, 10), direction="within", threshold=(4.0, 6.0)), "fails"),
        (fixed(1, (0, 2), direction="within", threshold=(4.0, 6.0)), "fails"),
        (fixed(7), "inconclusive"),  # a sample without interval proves nothing
        (fixed(7, sampled=False), "holds"),
        (fixed(5, sampled=False), "fails"),  # "greater than" is meant strictly
        (fixed(3, sampled=False), "fails"),
        (fixed(math.nan, sampled=False), "inconclusive"),
        (Claim("c", "§1", "s", lambda rows: None, 0.0, ">"), "not run"),
    ],
)
def test_verdicts(claim, verdict):
    assert judge(claim, []).verdict == verdict


def test_a_claim_needs_a_threshold_that_fits_its_direction():
    for threshold, direction in ((5.0, "within"), ((1.0, 2.0), "<"), (5.0, "="), ((2.0, 1.0), "within")):
        with pytest.raises(ValueError, match="direction"):
            fixed(1, threshold=threshold, direction=direction)
    assert fixed(1, threshold=(1.0, 2.5), direction="within").demand == "within 1 to 2.5 mm"


def test_one_seed_is_said_and_several_are_pooled():
    claim = Claim("c", "§1", "s", measured(method="REN"), 50.0, ">", "mm")
    scenes = list(rng(1).normal(100, 10, 30))
    one = rows_of({"method": "REN", "value": float(np.mean(scenes)), "per_scene": scenes, "seed": 0, "n": 60})
    v = judge(claim, one)
    assert (v.verdict, v.label, v.effect.n) == ("holds", "holds (1 seed)", 60)
    two = one + rows_of({"method": "REN", "value": 160.0, "per_scene": [x + 60 for x in scenes], "seed": 1})
    v = judge(claim, two)
    assert v.label == "holds"
    assert v.effect.value == pytest.approx((np.mean(scenes) + 160) / 2)
    assert v.effect.interval[1] - v.effect.interval[0] > 50  # seeds outermost
    assert judge(claim, rows_of({"method": "DE", "value": 1.0})).verdict == "not run"


def test_what_is_computed_has_no_seed_to_speak_of():
    rows = rows_of({"value": 10.0, "seed": 0})
    assert judge(Claim("c", "§1", "s", measured(), 5.0, ">", sampled=False), rows).label == "holds"
    assert judge(Claim("c", "§1", "s", measured(), 50.0, ">", sampled=False), rows).label == "fails"
    back = judge(Claim("c", "§1", "s", measured(), 5.0, ">", sampled=False), rows).row()
    assert [v.label for v in claims.verdicts([back]) if v.claim.id == "c"] == ["holds"]


def test_a_row_with_its_own_interval_is_enough():
    rows = rows_of({"value": 10.0, "interval": (8.0, 12.0), "seed": 2})
    assert judge(Claim("c", "§1", "s", measured(), 5.0, ">"), rows).label == "holds (1 seed)"
    assert judge(Claim("c", "§1", "s", measured(), 9.0, ">"), rows).label == "inconclusive (1 seed)"


FULL, HALF = {"steps": 1000, "profile": "quick"}, {"steps": 500, "profile": "quick-half"}
DOUBLE = {"steps": 2000, "profile": "quick-double"}


def trained(de, ren, seed=0, **where):
    """Rows of DE and REN on ten scenes, with these mean errors in mm."""
    scenes = np.linspace(-5, 5, 10)
    sides = (("DE", de), ("REN", ren))
    return rows_of(*({"method": m, "value": x, "per_scene": list(x + scenes), "seed": seed, **where} for m, x in sides))


REN = Claim("ren", "§5.3", "REN errs less than DE", compared({"method": "REN"}, {"method": "DE"}, experiment="e"), 0.0, "<", "mm")


@pytest.mark.parametrize(
    ("half", "verdict"),
    [((100.0, 110.0), "inconclusive"), ((100.0, 100.0), "inconclusive"), ((100.0, 99.0), "holds"), ((100.0, 40.0), "holds")],
)
def test_an_order_that_changes_with_the_budget_is_inconclusive(half, verdict):
    rows = trained(100.0, 80.0, **FULL) + trained(*half, **HALF)
    v = judge(REN, rows)
    assert v.verdict == verdict
    assert v.effect.value == pytest.approx(-20.0)  # rows of half the budget are in no effect
    assert v.effect.interval == pytest.approx((-20.0, -20.0))
    assert v.turned == (verdict == "inconclusive")
    assert ("at half the budget" in v.cells()[3]) == (verdict == "inconclusive")


def test_half_budgets_also_turn_fails_into_inconclusive_and_alone_prove_nothing():
    rows = trained(80.0, 100.0, **FULL)
    assert judge(REN, rows).verdict == "fails"
    assert judge(REN, rows + trained(100.0, 80.0, **HALF)).verdict == "inconclusive"
    assert judge(REN, trained(100.0, 80.0, **HALF)).verdict == "not run"
    assert judge(REN, rows + trained(100.0, 80.0, **HALF)[:1]).verdict == "fails"  # one side only: nothing to compare
    within = Claim("w", "§1", "s", measured(method="REN"), (70.0, 90.0), "within", "mm")
    both = trained(100.0, 80.0, **FULL)
    assert judge(within, both).verdict == "holds"
    assert judge(within, both + trained(100.0, 95.0, **HALF)).verdict == "inconclusive"
    assert judge(REN, rows + trained(100.0, 80.0, **HALF | {"steps": 1000})).verdict == "fails"  # the same training, e.g. shipped weights
    assert judge(REN, rows + trained(100.0, 80.0, **HALF | {"steps": None})).verdict == "fails"  # nothing was trained


def test_twice_the_budget_counts_like_half_of_it(monkeypatch):
    rows = trained(100.0, 80.0, **FULL)
    turned = judge(REN, rows + trained(100.0, 90.0, **HALF) + trained(100.0, 110.0, **DOUBLE))
    assert turned.verdict == "inconclusive"
    said = "the order changes: -10 [-10, -10] mm at half the budget, 10 [10, 10] mm at twice the budget"
    assert said in turned.cells()[3]
    kept = judge(REN, rows + trained(100.0, 90.0, **DOUBLE))
    assert (kept.verdict, kept.elsewhere) == ("holds", "-10 [-10, -10] mm at twice the budget")
    assert kept.effect.value == pytest.approx(-20.0)  # rows of twice the budget are in no effect
    both = judge(REN, rows + trained(100.0, 120.0, **HALF) + trained(100.0, 110.0, **DOUBLE))
    monkeypatch.setattr(claims, "ALL", {"ren": REN})
    (v,) = claims.verdicts(rows + trained(100.0, 90.0, **HALF))
    found = {"half the budget": pytest.approx(-10.0), "the full one": pytest.approx(-20.0)}
    assert (v.verdict, {k: e.value for k, e in v.others.items()}) == ("holds", found)
    assert claims.verdicts(rows)[0].others == {}
    assert both.elsewhere == "20 [20, 20] mm at half the budget, 10 [10, 10] mm at twice the budget"


def test_halves_are_judged_with_the_whole_of_their_profile(monkeypatch):
    monkeypatch.setattr(claims, "ALL", {"ren": REN})
    rows = [*trained(100.0, 80.0, **FULL), *trained(100.0, 110.0, **HALF), *trained(100.0, 90.0, seed=1, **FULL)]
    (v,) = claims.verdicts(rows)
    assert (v.verdict, v.elsewhere != "") == ("inconclusive", True)
    assert v.effect.names("profile") == ("quick",)
    ((together, by_seed),) = claims.by_seed(rows)
    assert (together.verdict, together.elsewhere) == ("holds", ""), "seeds are compared at the full budget, which each has"
    assert {s: (x.verdict, x.elsewhere) for s, x in by_seed.items()} == {0: ("holds", ""), 1: ("holds", "")}
    other = [*trained(100.0, 80.0, **FULL), *trained(100.0, 110.0, **HALF | {"profile": "paper-half"})]
    assert [(v.verdict, v.elsewhere) for v in claims.verdicts(other)] == [("holds", "")], "another profile's half is none of this one"


def test_a_notebook_at_half_the_budget_has_its_effects(tmp_path):
    """It reads them from its own rows, though they decide no claim."""
    half = trained(100.0, 80.0, **HALF)
    assert REN.effect(half).value == pytest.approx(-20.0)
    assert measured(method="REN", experiment="e")(half).value == pytest.approx(80.0)
    assert judge(REN, half).verdict == "not run"
    assert REN.effect(half + trained(100.0, 130.0, **DOUBLE)).value == pytest.approx(-20.0), "budgets are not mixed"
    assert REN.effect(trained(100.0, 130.0, **DOUBLE)).value == pytest.approx(30.0)


def test_a_fixed_training_beside_a_halved_one_is_compared():
    """The larger of the two sides may be of shipped weights, with the same steps in both."""
    def rows(ren, steps, **about):
        return rows_of(*({"method": m, "value": x, "per_scene": list(x + np.linspace(-5, 5, 10)), "seed": 0, "steps": n, **about}
                         for m, x, n in (("DE", 100.0, 2600), ("REN", ren, steps))))  # fmt: skip

    full = rows(80.0, 350, profile="quick")
    assert judge(REN, full + rows(120.0, 175, profile="quick-half")).verdict == "inconclusive"
    assert judge(REN, full + rows(120.0, 350, profile="quick-half")).verdict == "holds"


def test_budgets_are_compared_on_the_same_seeds():
    """Two seeds of opposite sign, and half the budget of one of them: its own order is kept."""
    rows = trained(100.0, 80.0, **FULL) + trained(100.0, 140.0, seed=1, **FULL)
    v = judge(REN, rows + trained(100.0, 90.0, **HALF))
    assert v.effect.value == pytest.approx(10.0)
    assert not v.turned
    assert v.elsewhere == "-10 [-10, -10] mm at half the budget, -20 [-20, -20] mm at the full one (seed 0)"
    assert judge(REN, rows + trained(100.0, 110.0, **HALF)).turned


def test_what_did_not_hold_says_what_spoke_against_it_if_no_reason_is_known():
    rows = rows_of({"value": 10.0, "interval": (8.0, 12.0)})
    said = {t: judge(Claim("c", "§1", "s", measured(), t, ">", but="but x"), rows).cells()[0] for t in (5.0, 9.0, 20.0)}
    assert said == {5.0: "s (§1) but x", 9.0: "s (§1) but x", 20.0: "s (§1)"}


def test_half_survives_the_way_through_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "ALL", {})
    written = judge(REN, trained(100.0, 80.0, **FULL) + trained(100.0, 110.0, **HALF))
    (back,) = claims.verdicts(results.load(results.append(tmp_path / "r.jsonl", [written.row()])))
    assert back.cells() == written.cells()
    assert "the order changes: 10 [10, 10] mm at half the budget" in back.cells()[3]


def test_rows_of_several_configurations_are_not_averaged():
    grid = trained(100.0, 80.0, config="a") + trained(100.0, 180.0, config="b")
    v = judge(REN, grid)
    assert v.verdict == "inconclusive"
    assert "several configurations" in v.effect.ours
    one = Claim("m", "§1", "s", measured(method="REN"), 50.0, ">", "mm")
    assert judge(one, grid).verdict == "inconclusive"
    assert judge(one, trained(100.0, 80.0, config="a") + trained(100.0, 180.0, seed=1, config="b")).verdict == "holds"  # seeds differ


def test_seeds_one_by_one(monkeypatch):
    monkeypatch.setattr(claims, "ALL", {"ren": REN})
    rows = trained(100.0, 80.0) + trained(100.0, 130.0, seed=1)
    ((together, per),) = claims.by_seed(rows)
    assert {s: v.verdict for s, v in per.items()} == {0: "holds", 1: "fails"}
    assert together.verdict == "inconclusive"
    assert claims.by_seed(trained(100.0, 80.0)) == []
    other = trained(100.0, 80.0) + trained(100.0, 130.0, seed=1, poses="panoptic")
    assert claims.by_seed(other) == [], "another source is no other seed"


def test_the_order_of_rows_does_not_matter(monkeypatch):
    monkeypatch.setattr(claims, "ALL", {"ren": REN})
    rows = trained(100.0, 80.3) + trained(101.7, 99.1, seed=1) + trained(97.3, 60.2, seed=2)
    first, second = (claims.verdicts(r)[0].effect for r in (rows, rows[::-1]))
    assert (first.value, first.interval) == (second.value, second.interval)


def test_compared_is_paired_by_scene_and_seed():
    hard = rng(1).normal(200, 50, 40)
    rows = []
    for seed in (0, 1):
        for method, gain in (("DE", 0.0), ("REN", -10.0)):
            scenes = list(hard + gain + rng(seed + 7).normal(0, 1, 40))
            rows += rows_of({"method": method, "value": float(np.mean(scenes)), "per_scene": scenes, "seed": seed, "n": 40})
    claim = Claim("ren", "§5.3", "REN errs less than DE", compared({"method": "REN"}, {"method": "DE"}), 0.0, "<", "mm", "93.6, 104.1")
    v = judge(claim, rows)
    assert v.label == "holds"
    assert v.effect.value == pytest.approx(-10.0, abs=1e-3)
    assert v.effect.interval == pytest.approx((-10.0, -10.0), abs=1e-3)  # the scenes' spread of 50 mm is gone
    assert "against" in v.effect.ours
    ratio = judge(Claim("r", "§3", "s", compared({"method": "DE"}, {"method": "REN"}, ratio=True), 1.01, ">"), rows)
    assert ratio.effect.value == pytest.approx(200 / 190, abs=0.02)
    fewer = {"method": "DE", "value": 1.0, "per_scene": [1.0]}
    other = rows_of({"method": "REN", "value": 1.0, "per_scene": [1.0, 2.0], "clusters": ["x", "y"]}, fewer)
    with pytest.raises(InputError, match="cannot be paired"):
        judge(claim, other)
    assert judge(claim, [r for r in rows if r["method"] == "DE"]).verdict == "not run"


# ---- the ledger ----------------------------------------------------------------------------------------------------------------------


def test_sources_and_profiles_are_never_pooled(monkeypatch):
    claim = Claim("c", "§1", "s", measured(experiment="e"), 50.0, ">", sampled=False)
    monkeypatch.setattr(claims, "ALL", {"c": claim, "d": Claim("d", "§2", "s", measured(experiment="none"), 0.0, ">")})
    rows = rows_of(
        {"value": 40.0, "poses": "twin", "profile": "quick"},
        {"value": 100.0, "poses": "panoptic", "profile": "quick"},
        {"value": 60.0, "poses": "twin", "profile": "paper"},
    )
    got = [(v.claim.id, v.verdict, v.cells()[-1]) for v in claims.verdicts(rows)]
    assert got == [("c", "holds", "twin, paper"), ("c", "holds", "panoptic, quick"), ("c", "fails", "twin, quick"), ("d", "not run", "–")]
    assert claims.summary(rows).endswith("4 claims: 2 hold, 1 fail, 0 inconclusive, 1 not run")


def test_verdicts_survive_the_way_through_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "ALL", {})
    scenes = [9.0, 10.0, 11.0, 12.0]
    rows = rows_of({"value": 10.5, "per_scene": scenes, "seed": 4, "profile": "smoke", "poses": "twin", "n": 8})
    within = Claim("mine", "§3, Fig. 3", "a | b", measured(), (5.0, 20.0), "within", "mm", "9 and 11", why="because")
    written = [judge(within, rows), judge(Claim("none", "§4", "t", measured(method="x"), 1.0, "<"), rows)]
    file = results.append(tmp_path / "rows.jsonl", [v.row(notebook="05") for v in written])
    back = claims.verdicts(results.load(file))
    assert [v.cells() for v in back] == [v.cells() for v in written]
    assert [v.label for v in back] == ["holds (1 seed)", "not run"]


NOTE = {"anchor": "§1", "sentence": "s", "threshold": 1.0, "direction": ">"}


@pytest.mark.parametrize(
    "note",
    [
        None,
        "text",
        ["text"],
        {"anchor": "§1"},
        {**NOTE, "threshold": "x"},
        {**NOTE, "threshold": None},
        {**NOTE, "threshold": 10**400},
        {**NOTE, "threshold": math.nan},
        {**NOTE, "threshold": ["a", "b"], "direction": "within"},
        {**NOTE, "threshold": [1, [2]], "direction": "within"},
        {**NOTE, "direction": ["<"]},
        {**NOTE, "sentence": 5},
        {**NOTE, "paper": {"a": 1}},
        {**NOTE, "ours": 5},
        {**NOTE, "effect": None},
    ],
)
def test_a_broken_verdict_is_named_by_file_and_line(tmp_path, note):
    good = {"experiment": "claim", "metric": "x", "value": 1.0, "method": "holds", "note": NOTE}
    lines = [json.dumps({**good, "metric": "y"}), json.dumps({**good, "note": note})]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"rows\.jsonl:2: not a verdict") as e:
        claims.summary(results.load(tmp_path))
    assert "\n" not in str(e.value)
    (tmp_path / "rows.jsonl").write_text(lines[0])
    assert "claimed > 1" in claims.summary(results.load(tmp_path))


def test_the_table_in_three_forms():
    verdicts = [judge(fixed(7, (6, 8), paper="6 <b>|</b>"), []), judge(fixed(3, (2, 4), why="Too short."), [])]
    table = claims.claims_table(verdicts)
    text, page, md = repr(table), table._repr_html_(), table._repr_markdown_()
    assert "✔ holds" in text
    assert "3 [2, 4] mm, claimed > 5 mm" in text
    assert text.splitlines()[-1] == "2 claims: 1 hold, 1 fail, 0 inconclusive, 0 not run"
    assert page.count("<tr>") == 3
    assert "6 &lt;b&gt;|&lt;/b&gt;" in page
    assert "style=" not in page
    assert "Too short." in page
    lines = md.splitlines()
    assert all(line.replace("\\|", "").count("|") == 7 for line in lines[:4])


def test_why_is_shown_only_when_it_does_not_hold():
    assert "Too short." not in judge(fixed(7, (6, 8), why="Too short."), []).cells()[0]


# ---- geometry --------------------------------------------------------------------------------------------------------------------------


def pinhole(metric, value, unit):
    return results.row("pinhole", metric, value, unit)


def verdict(claim_id, *rows):
    return judge(GEOMETRY[claim_id], list(rows)).verdict


def formula_errors():
    """Relative error of Fig. 1's depth over the grid that claims.py states, with the exact projection written out (no vp.camera)."""
    f, H, cx, cy = 1400.0, 1750.0, 959.5, 539.5
    heights, pitches, depths = np.arange(500, 3401, 100.0), np.radians(np.arange(0, 31, 5.0)), np.arange(3000, 10001, 500.0)
    root = float(person("standing", H)[2, 2])
    hc, p, d = (a.ravel() for a in np.meshgrid(heights, pitches, depths, indexing="ij"))
    x = (d - (hc - root) * np.sin(p)) / np.cos(p)  # where the person stands so that mid-hip has depth d

    def v(z):
        return cy + f * (x * -np.sin(p) + (hc - z) * np.cos(p)) / (x * np.cos(p) + (hc - z) * np.sin(p))

    top, bottom = v(H), v(0.0)
    whole = (top >= -0.5) & (bottom < 1079.5)
    assert 0 <= cx < 1920
    return (depth_from_height(f, 1.0, H, p, bottom - top) / d - 1)[whole]


def test_claims_on_the_formula_say_what_the_grid_says():
    e = 100 * np.abs(formula_errors())
    assert len(e) > 1500
    assert e.mean() == pytest.approx(2.57, abs=0.01)  # the ledger's numbers
    assert e.max() == pytest.approx(14.13, abs=0.01)
    assert verdict("fig1-formula-mean", pinhole("formula_error_mean", e.mean(), "%")) == "holds"
    assert verdict("fig1-formula-worst", pinhole("formula_error_max", e.max(), "%")) == "fails"
    assert verdict("fig1-formula-mean", pinhole("formula_error_mean", 5.1, "%")) == "fails"


def test_the_grid_agrees_with_the_camera():
    p, d, hc, H = math.radians(10), 5000.0, 1500.0, 1750.0
    root = float(person("standing", H)[2, 2])
    cam = Camera.from_angles(p, 0.0, 0.0, (0.0, 0.0, hc), 1400.0)
    x = (d - (hc - root) * math.sin(p)) / math.cos(p)
    uv, depth, _ = cam.project(torch.tensor([[x, 0, 0], [x, 0, H], [x, 0, root]], dtype=torch.float64))
    assert float(depth[2]) == pytest.approx(d)
    e = float(depth_from_height(1400.0, 1.0, H, p, float(uv[0, 1] - uv[1, 1]))) / d - 1
    assert np.abs(formula_errors() - e).min() < 1e-9


def test_claim_on_stature():
    """5 % taller than assumed at d: assumed depth for the same image height, exact projection, camera level at half the height."""
    slopes = []
    for d in (2000.0, 10000.0):
        h_img = 1400.0 * 1750.0 / d  # a level camera sees a vertical stick without error
        slopes.append((1400.0 * 1750.0 * 1.05 / h_img - d) / (d / 1000))
    assert slopes == pytest.approx([50.0, 50.0])
    assert verdict("stature-depth", *(pinhole("stature_error", s, "mm/m") for s in slopes)) == "holds"
    assert verdict("stature-depth", pinhole("stature_error", 52.0, "mm/m")) == "fails"


def test_claim_on_pitch():
    """Feet 4 m away seen from 1.2 m: the ray is 16.70 degree below the horizon; one degree less reaches 269 mm further."""
    ray = math.degrees(math.atan(1200 / 4000))
    cost = 1200 / math.tan(math.radians(ray - 1)) - 4000
    assert cost == pytest.approx(269.35, abs=0.01)
    assert verdict("pitch-cost", pinhole("pitch_cost", cost, "mm")) == "holds"
    assert verdict("pitch-cost", pinhole("pitch_cost", 239.7, "mm")) == "fails"  # one degree more: the cheaper side


def test_claim_on_the_same_picture():
    cam = Camera.from_angles(0.2, 0.0, 0.0, (0.0, 0.0, 1500.0), 1400.0)
    body = cam.to_camera(person("walking", 1700.0, xy=(4000.0, 300.0)))
    shift = max(float((cam.project_camera(body * s)[0] - cam.project_camera(body)[0]).abs().max()) for s in (0.5, 0.9, 1.1, 2.0))
    assert verdict("same-picture", pinhole("same_picture", shift, "px")) == "holds"
    moved = body + torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)  # 1 mm further without growing is another picture
    other = float((cam.project_camera(moved)[0] - cam.project_camera(body)[0]).abs().max())
    assert verdict("same-picture", pinhole("same_picture", other, "px")) == "fails"


@pytest.mark.skipif(not PANOPTIC.exists(), reason="no Panoptic sample beside this repository")
def test_claim_on_distortion_with_the_recorded_rig():
    import cv2

    rig = json.loads((PANOPTIC / "calibration_160906_band1.json").read_text())["cameras"]
    bodies = [(f.stem, b) for f in sorted(PANOPTIC.glob("hdPose3d*/*.json")) for b in json.loads(f.read_text())["bodies"]]
    joints = [(name, j[j[:, 3] > 0, :3]) for name, j in ((name, np.array(b["joints19"]).reshape(-1, 4)) for name, b in bodies)]
    points, frame = np.concatenate([j for _, j in joints]), np.concatenate([[name] * len(j) for name, j in joints])
    shifts, frames = [], []
    for c in (c for c in rig if c["type"] == "hd"):
        K, R, t, k = (np.array(c[x], dtype=float) for x in ("K", "R", "t", "distCoef"))
        rvec = cv2.Rodrigues(R)[0]
        bent, straight = (cv2.projectPoints(points, rvec, t.reshape(3), K, d)[0][:, 0] for d in (k, np.zeros(5)))
        seen = ((points @ R.T + t.reshape(3))[:, 2] > 0) & (bent >= -0.5).all(1) & (bent < [1919.5, 1079.5]).all(1)
        shifts += list(np.linalg.norm(bent - straight, axis=1)[seen])
        frames += list(frame[seen])
    assert np.mean(shifts) == pytest.approx(9.6, abs=0.15)
    names = sorted(set(frames))
    means = [float(np.mean([s for s, f in zip(shifts, frames) if f == name])) for name in names]
    row = results.row("distortion", "shift", float(np.mean(shifts)), "px", poses="panoptic", per_scene=means, clusters=names)
    got = judge(GEOMETRY["distortion-shift"], [row])
    assert got.verdict == "holds"
    assert min(means) <= got.effect.interval[0] < got.effect.value < got.effect.interval[1] <= max(means)
    assert verdict("distortion-shift", {**row, "per_scene": None, "clusters": None}) == "inconclusive"  # recorded: a sample


def test_sentences_say_what_is_measured():
    said = {i: c.sentence for i, c in GEOMETRY.items()}
    assert "averaged over clips, the median γ of a walking clip is 0.93 to 1.02" in said["gamma-walking"]  # mean of clip medians
    assert GEOMETRY["gamma-walking"].threshold == (0.93, 1.02)
    assert "believed 1° too flat" in said["pitch-cost"]  # too steep costs 240 mm, another number
    assert "an identity of the relation, shown for the record" in said["stature-depth"]
    assert "in these clips" in said["gamma-posture"]  # no interval: nothing is said of others
    assert [i for i, c in GEOMETRY.items() if c.sampled] == ["distortion-shift", "gamma-walking"]
    clips = results.row("gamma", "median", 0.97, "", method="walking", per_scene=[0.90, 1.04, 0.97])  # two clips outside
    assert judge(GEOMETRY["gamma-walking"], [clips]).effect.value == 0.97


def test_recorded_claims_do_not_run_without_data():
    assert {i for i in GEOMETRY if verdict(i) == "not run"} == set(GEOMETRY)
    walking = [results.row("gamma", "median", 0.97, "", method="walking", per_scene=[0.95, 0.97, 0.99, 0.96])]
    assert verdict("gamma-walking", *walking) == "holds"
    assert verdict("gamma-walking", results.row("gamma", "median", 0.97, "", method="walking")) == "inconclusive"
    assert verdict("gamma-posture", results.row("gamma", "lowest_p5", 0.95, "")) == "fails"
