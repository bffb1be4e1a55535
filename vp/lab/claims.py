"""Claims: sentences of the paper (or ours) as tests on rows, each with a threshold that is committed before the run.

A verdict is `holds`, `fails`, `inconclusive` (the 95 % interval contains the threshold, or there is none although the number comes from a
sample) or `not run` (only where data are missing).  Intervals are bootstrapped over scenes, seeds outermost; one seed reads "holds (1
seed)".  Quantities that are computed and not sampled (geometry) have no interval: they stand as they are.
"""

import html
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vp.errors import InputError
from vp.lab import results

HOLDS, FAILS, INCONCLUSIVE, NOT_RUN = VERDICTS = ("holds", "fails", "inconclusive", "not run")


@dataclass(frozen=True)
class Effect:
    """What rows say: value, 95 % interval (lo, hi) or None, people averaged, the rows used, the numbers behind it in words."""

    value: float
    interval: tuple | None = None
    n: int = 0
    rows: tuple = ()
    ours: str = ""

    def names(self, *columns):
        """The distinct values of these columns in the rows used, sorted, empty ones left out."""
        return tuple(sorted({r[c] for r in self.rows for c in columns if r[c] not in (None, "")}))


@dataclass(frozen=True)
class Claim:
    """One testable sentence.

    effect: rows -> Effect, or None when the rows it needs are missing.  direction: ">" or "<" (than the threshold) or "within" (a pair).
    sampled: whether the effect comes from a sample (then a verdict needs an interval).  paper: the paper's numbers, as text.
    why: shown in the ledger when it does not hold.
    """

    id: str
    anchor: str
    sentence: str
    effect: Callable | None
    threshold: float | tuple
    direction: str
    unit: str = ""
    paper: str = ""
    sampled: bool = True
    why: str = ""

    def __post_init__(self):
        pair = isinstance(self.threshold, tuple) and len(self.threshold) == 2 and self.threshold[0] < self.threshold[1]
        if self.direction not in ("<", ">", "within") or pair != (self.direction == "within"):
            raise ValueError(f"claim {self.id}: direction is '<' or '>' with a number, or 'within' with (low, high)")

    @property
    def demand(self):
        """The threshold in words, e.g. "< 5 %"."""
        limits = self.threshold if self.direction == "within" else (self.threshold,)
        return f"{self.direction} {' to '.join(map(number, limits))} {self.unit}".strip()


@dataclass(frozen=True)
class Verdict:
    """A claim judged on rows: one of VERDICTS, and the effect (None when not run)."""

    claim: Claim
    verdict: str
    effect: Effect | None = None

    @property
    def label(self):
        """The verdict, with "(1 seed)" where a single training stands behind it."""
        one = self.effect is not None and len(self.effect.names("seed")) == 1
        return f"{self.verdict} (1 seed)" if one and self.verdict in (HOLDS, FAILS) else self.verdict

    def row(self, **columns):
        """The verdict as a row (experiment "claim", metric = the claim's id, method = the verdict), from which `verdicts` rebuilds it."""
        e, c = self.effect or Effect(math.nan), self.claim
        note = {k: getattr(c, k) for k in ("anchor", "sentence", "threshold", "direction", "paper", "sampled", "why")}
        used = {k: ", ".join(map(str, e.names(k))) or None for k in ("profile", "poses", "cameras", "images")}
        seeds = e.names("seed")
        used["seed"] = seeds[0] if len(seeds) == 1 else None
        note = {**note, "ours": e.ours}
        return results.row("claim", c.id, e.value, c.unit, e.interval, n=e.n, method=self.verdict, note=note, **{**used, **columns})

    def cells(self):
        """claim, paper, ours, effect [interval] with what is claimed, verdict, data and profile, as text."""
        c, e = self.claim, self.effect
        sentence = f"{c.sentence} ({c.anchor})" + (f" {c.why}" if c.why and self.verdict in (FAILS, INCONCLUSIVE) else "")
        if e is None:
            return sentence, c.paper or "–", "–", f"claimed {c.demand}", self.label, "–"
        effect = f"{quantity(e.value, e.interval, c.unit)}, claimed {c.demand}"
        data = ", ".join([*e.names("poses", "cameras", "images"), *e.names("profile")])
        return sentence, c.paper or "–", e.ours or "–", effect, self.label, data or "–"


class ClaimsTable:
    """Verdicts as a table: HTML in a notebook and on GitHub (no styles needed), Markdown in a file, text elsewhere."""

    head = ("claim", "paper", "ours", "effect [95 % interval]", "verdict", "data, profile")

    def __init__(self, verdicts):
        self.verdicts = list(verdicts)

    @property
    def counts(self):
        """One line: how many claims hold, fail, are inconclusive, were not run."""
        tally = [sum(v.verdict == x for v in self.verdicts) for x in VERDICTS]
        words = ", ".join(f"{n} {word}" for n, word in zip(tally, ("hold", "fail", INCONCLUSIVE, NOT_RUN)))
        return f"{len(self.verdicts)} claim{'s' * (len(self.verdicts) != 1)}: {words}"

    def _lines(self):
        for v in self.verdicts:
            *cells, label, data = v.cells()
            yield v.claim.id, [*cells, f"{'✔✘?–'[VERDICTS.index(v.verdict)]} {label}", data]

    def _repr_html_(self):
        def tr(tag, cells):
            return "<tr>" + "".join(f'<{tag} align="left">{c}</{tag}>' for c in cells) + "</tr>"

        body = ""
        for i, (sentence, *cells, verdict, data) in self._lines():
            first = f"<code>{html.escape(i)}</code><br>{html.escape(sentence)}"
            body += tr("td", [first, *map(html.escape, cells), f"<b>{html.escape(verdict)}</b>", html.escape(data)])
        return f"<table>{tr('th', self.head)}{body}</table><p>{self.counts}</p>"

    def _repr_markdown_(self):
        return markdown(self.head, [[f"`{i}` {c[0]}", *c[1:]] for i, c in self._lines()]) + f"\n{self.counts}\n"

    def __repr__(self):
        return "\n".join([*(f"{c[4]:18}  {i}: {c[3]}" for i, c in self._lines()), self.counts])


claims_table = ClaimsTable


# ---- judging -------------------------------------------------------------------------------------------------------------------------


def judge(claim, rows):
    """The Verdict of one claim on rows (as `results.load` gives them): the whole interval must lie on the claimed side."""
    e = claim.effect(rows)
    if e is None:
        return Verdict(claim, NOT_RUN)
    if math.isnan(e.value) or (claim.sampled and e.interval is None):
        return Verdict(claim, INCONCLUSIVE, e)
    lo, hi = e.interval or (e.value, e.value)
    low, high = {"<": (-math.inf, claim.threshold), ">": (claim.threshold, math.inf), "within": claim.threshold}[claim.direction]
    inside = low <= lo and hi <= high if claim.direction == "within" else low < lo and hi < high
    outside = hi < low or lo > high or (lo == hi and not inside)
    return Verdict(claim, HOLDS if inside else FAILS if outside else INCONCLUSIVE, e)


def verdicts(rows):
    """Every claim judged anew on rows: once per profile and data source for which there are rows, else once as "not run".

    Seeds and machines are pooled, sources never: numbers on the virtual world are not mixed with those on real data.  Verdict rows of
    claims that only a notebook knows are shown as they were written.
    """
    groups = {}
    for r in rows:
        groups.setdefault(tuple(r[c] or "" for c in ("profile", "poses", "cameras", "images")), []).append(r)
    out = []
    for claim in ALL.values():
        judged = [v for g in sorted(groups) if (v := judge(claim, groups[g])).verdict != NOT_RUN]
        out += judged or [Verdict(claim, NOT_RUN)]
    own = [r for r in select(rows, experiment="claim") if r["metric"] not in ALL and r["method"] in VERDICTS]
    return out + [_read_back(r) for r in sorted(own, key=lambda r: (r["metric"], r["profile"] or "", str(r["seed"])))]


def _read_back(r):
    """The Verdict that `Verdict.row` wrote, without its test."""
    note = {k: tuple(v) if isinstance(v, list) else v for k, v in (r["note"] or {}).items()}
    ours = note.pop("ours", "")
    e = Effect(r["value"], None if r["lo"] is None else (r["lo"], r["hi"]), r["n"] or 0, (r,), ours)
    try:
        claim = Claim(r["metric"], effect=None, unit=r["unit"] or "", **note)
    except (TypeError, ValueError) as error:
        raise InputError(f"not a verdict ({error})", f"row of claim {r['metric']!r}") from None
    return Verdict(claim, r["method"], None if r["method"] == NOT_RUN else e)


def summary(rows):
    """The claims on rows as text, a line each and the counts at the end."""
    return repr(ClaimsTable(verdicts(rows)))


# ---- effects from rows -----------------------------------------------------------------------------------------------------------------


def measured(**where):
    """Effect of a claim on one number: the mean over seeds of the rows with these column values."""

    def effect(rows):
        found = select(rows, **where)
        if not found:
            return None
        value, interval = float(np.mean([r["value"] for r in found])), None
        if all(r["per_scene"] for r in found):
            interval = bootstrap(*_stack(found), np.random.default_rng(0))
        elif len(found) == 1 and found[0]["lo"] is not None:
            interval = found[0]["lo"], found[0]["hi"]
        return Effect(value, interval, sum(r["n"] or 0 for r in found), tuple(found), quantity(value, None, found[0]["unit"]))

    return effect


def compared(a, b, ratio=False, **where):
    """Effect of a claim on two numbers: a − b (or a / b), paired by scene and seed.

    a, b: column values that tell the two sides apart, e.g. {"method": "REN"};  where: those that both have.
    """
    free = [c for c in ("seed", "method", "train", "test", "metric") if c not in {*a, *b}]

    def effect(rows):
        sides = [{tuple(r[c] for c in free): r for r in select(rows, **where, **side)} for side in (a, b)]
        left, right = ([side[k] for k in sides[0] if k in sides[1]] for side in sides)
        if not left:
            return None
        means, interval = [float(np.mean([r["value"] for r in side])) for side in (left, right)], None
        if all(r["per_scene"] for r in left + right):
            (x, clusters, seeds), (y, others, _) = _stack(left), _stack(right)
            if not np.array_equal(clusters, others):
                raise ValueError(f"{a} and {b} were not measured on the same scenes: they cannot be paired")
            interval = paired_difference(x, y, clusters, seeds, np.random.default_rng(0), ratio)[1]
        value = means[0] / means[1] if ratio else means[0] - means[1]
        ours = f"{number(means[0])} against {number(means[1])} {left[0]['unit'] or ''}".strip()
        return Effect(value, interval, sum(r["n"] or 0 for r in left), tuple(left + right), ours)

    return effect


def select(rows, **where):
    """Rows whose columns have the given values."""
    return [r for r in rows if all(r[c] == v for c, v in where.items())]


def bootstrap(values, clusters, seeds, rng, draws=2000, statistic=None):
    """95 % percentile interval (lo, hi) of a mean: seeds are drawn first, then clusters within each drawn seed; NaN are left out.

    values: (N,) or (N, K) float;  clusters, seeds: (N,) labels or None (each value its own cluster; one seed);  rng: numpy Generator.
    statistic: of the K means, (draws, K) -> (draws,); default the first mean.  None where neither seeds nor clusters vary.
    """
    values = np.asarray(values, dtype=float).reshape(len(values), -1)
    keep = np.isfinite(values).all(1)
    clusters = (np.arange(len(values)) if clusters is None else np.asarray(clusters))[keep]
    seeds = (np.zeros(len(values), int) if seeds is None else np.asarray(seeds))[keep]
    sums, counts = [], []  # per seed: (C, K) sums and (C,) numbers of the clusters
    for s in np.unique(seeds):
        names, where = np.unique(clusters[seeds == s], return_inverse=True)
        sums.append(np.stack([np.bincount(where, column, len(names)) for column in values[keep][seeds == s].T], -1))
        counts.append(np.bincount(where, minlength=len(names)))
    if sum(map(len, counts)) < 2:
        return None
    means = np.zeros((draws, values.shape[1]))
    for d in range(draws):
        for s in rng.integers(len(sums), size=len(sums)):
            c = rng.integers(len(counts[s]), size=len(counts[s]))
            means[d] += sums[s][c].sum(0) / counts[s][c].sum() / len(sums)
    lo, hi = np.percentile(means[:, 0] if statistic is None else statistic(means), [2.5, 97.5])
    return float(lo), float(hi)


def paired_difference(a, b, clusters, seeds, rng, ratio=False):
    """Mean of a − b over pairs (or mean a / mean b) and its bootstrap interval (lo, hi) or None; arguments as in `bootstrap`.

    a, b: (N,) the same people or scenes under two methods; a pair with a NaN is left out.
    """
    ab = np.stack([np.asarray(a, dtype=float), np.asarray(b, dtype=float)], -1)
    keep = np.isfinite(ab).all(1)
    if not keep.any():
        return math.nan, None

    def statistic(means):
        return means[..., 0] / means[..., 1] if ratio else means[..., 0] - means[..., 1]

    labels = np.zeros(len(ab), int) if seeds is None else np.asarray(seeds)
    mean = np.mean([ab[keep & (labels == s)].mean(0) for s in np.unique(labels[keep])], 0)
    return float(statistic(mean)), bootstrap(ab, clusters, seeds, rng, statistic=statistic)


def _stack(rows):
    """per_scene of several rows as values, clusters, seeds (N,)."""
    values = np.concatenate([np.asarray(r["per_scene"], dtype=float) for r in rows])
    clusters = np.concatenate([np.asarray(r["clusters"] or [f"{i:06d}" for i in range(len(r["per_scene"]))]) for r in rows])
    return values, clusters, np.concatenate([np.full(len(r["per_scene"]), -1 if r["seed"] is None else r["seed"]) for r in rows])


# ---- text ------------------------------------------------------------------------------------------------------------------------------


def number(x):
    """Four significant digits, NaN visible."""
    return "NaN" if x is None or math.isnan(x) else f"{x:.4g}"


def quantity(value, interval, unit):
    """12.3 [10, 15] mm."""
    between = f" [{number(interval[0])}, {number(interval[1])}]" if interval else ""
    return f"{number(value)}{between} {unit or ''}".strip()


def markdown(head, lines):
    """A Markdown table from a head and lines of cells."""
    clean = [[str(c).replace("|", "\\|").replace("\n", " ") for c in line] for line in (head, ["---"] * len(head), *lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in clean)


# ---- the claims --------------------------------------------------------------------------------------------------------------------------


def _pinhole(metric):
    return measured(experiment="pinhole", metric=metric)


# Geometry, computed by notebooks 01 and 02.  The grid of the first two: a standing person of 1.75 m at a depth of 3 to 10 m (step 0.5 m),
# camera 0.5 to 3.4 m high (step 0.1 m), looking down by 0 to 30 degree (step 5), 1400 px, 1920 x 1080; the whole person is in the image.
GEOMETRY = {
    c.id: c
    for c in (
        Claim("fig1-formula-mean", "§2, Fig. 1(a)", "Depth from h_img ≈ f·γ·h_real·cosθ / d errs on average less than 5 %.",
              _pinhole("formula_error_mean"), 5.0, "<", "%", "≈", sampled=False),
        Claim("fig1-formula-worst", "§2, Fig. 1(a)", "Depth from that formula errs less than 5 % even at worst.",
              _pinhole("formula_error_max"), 5.0, "<", "%", "≈", sampled=False,
              why="It leaves out where in the image the person stands: to first order a factor 1 − (v/f)·tanθ, v px below the centre."),
        Claim("stature-depth", "§2", "Somebody 5 % taller than assumed is 5 % further away than computed: 100 mm at 2 m, 500 mm at 10 m.",
              _pinhole("stature_error"), (49.5, 50.5), "within", "mm/m", sampled=False),
        Claim("pitch-cost", "§2, ours", "On a known floor, 1° of pitch error at 1.2 m camera height and 4 m costs about 270 mm.",
              _pinhole("pitch_cost"), (256.5, 283.5), "within", "mm", sampled=False),
        Claim("same-picture", "§1, §2", "Stature and depth scaled together give exactly the same picture: depth is ill-posed.",
              _pinhole("same_picture"), 1e-6, "<", "px", "ill-posed", sampled=False),
        Claim("distortion-shift", "§5.1, ours", "Leaving out lens distortion moves joints in the Panoptic rig by about 9.5 px on average.",
              measured(experiment="distortion", metric="shift"), (9.0, 10.0), "within", "px", sampled=False),
        Claim("gamma-walking", "§2, Fig. 1(a)", "A walking person is as good as upright: γ, the median of a clip, is 0.93 to 1.02.",
              measured(experiment="gamma", metric="median", method="walking"), (0.93, 1.02), "within"),
        Claim("gamma-posture", "§2, Fig. 1(b)", "Posture matters: in some activity γ is below 0.9 in one frame of twenty.",
              measured(experiment="gamma", metric="lowest_p5"), 0.9, "<", sampled=False),
    )
}  # fmt: skip

ALL = {**GEOMETRY}  # later parts add theirs; the ledger lists them in this order
