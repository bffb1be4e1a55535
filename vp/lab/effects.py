"""What a claim is and how rows become the number it is tested on: means and paired differences with bootstrapped intervals."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import numpy as np

from vp.errors import InputError
from vp.lab import results

_ONE = tuple(c for c in results.IDENTITY if c not in ("notebook", "config", "steps", "samples_seen"))  # of a claim's rows, each once


@dataclass(frozen=True)
class Effect:
    """What rows say: value, 95 % interval (lo, hi) or None, people averaged, the rows used, the numbers behind it in words; reference:
    of a difference a − b, the mean of b (else NaN)."""

    value: float
    interval: tuple | None = None
    n: int = 0
    rows: tuple = ()
    ours: str = ""
    reference: float = math.nan

    def names(self, *columns):
        """The distinct values of these columns in the rows used, sorted, empty ones left out."""
        return tuple(sorted({r[c] for r in self.rows for c in columns if r[c] not in (None, "")}))


@dataclass(frozen=True)
class Claim:
    """One testable sentence.

    effect: rows -> Effect, or None when the rows it needs are missing.  direction: ">" or "<" (than the threshold) or "within" (a pair).
    sampled: whether the effect comes from a sample (then a verdict needs an interval).  paper: the paper's numbers, as text.
    why: shown in the ledger when it does not hold;  but: what speaks against it, shown when it holds, or may hold.
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
    but: str = ""

    def __post_init__(self):
        pair = isinstance(self.threshold, tuple) and len(self.threshold) == 2
        limits = self.threshold if pair else (self.threshold,)
        if not all(isinstance(x, Real) and abs(x) < 1e300 for x in limits) or (pair and not limits[0] < limits[1]):
            raise ValueError(f"claim {self.id}: threshold and direction must be a number, or (low, high) in this order")
        if not all(isinstance(x, str) for x in (self.id, self.anchor, self.sentence, self.unit, self.paper, self.why, self.but)):
            raise ValueError(f"claim {self.id}: anchor, sentence, unit, paper, why and but are text")
        if self.direction not in ("<", ">", "within") or pair != (self.direction == "within"):
            raise ValueError(f"claim {self.id}: direction is '<' or '>' with a number, or 'within' with (low, high)")

    @property
    def demand(self):
        """The threshold in words, e.g. "< 5 %"."""
        limits = self.threshold if self.direction == "within" else (self.threshold,)
        return f"{self.direction} {' to '.join(map(number, limits))} {self.unit}".strip()


# ---- effects from rows -----------------------------------------------------------------------------------------------------------------


def measured(**where):
    """Effect of a claim on one number: the mean over seeds of the rows with these column values (those of another budget only where
    there are no others)."""

    def effect(rows):
        found = select(preferred(rows), **where)
        if not found:
            return None
        if _several(found):
            return Effect(math.nan, rows=tuple(found), ours=SEVERAL)
        value, interval = float(np.mean([r["value"] for r in found])), None
        if all(r["per_scene"] for r in found):
            interval = bootstrap(*stack(found), np.random.default_rng(0))
        elif len(found) == 1 and found[0]["lo"] is not None:
            interval = found[0]["lo"], found[0]["hi"]
        return Effect(value, interval, sum(r["n"] or 0 for r in found), tuple(found), quantity(value, None, found[0]["unit"]))

    return effect


def compared(a, b, ratio=False, **where):
    """Effect of a claim on two numbers: a − b (or a / b), paired by scene and seed; rows of another budget
    count only where there are no others.

    a, b: column values that tell the two sides apart, e.g. {"method": "REN"};  where: those that both have.
    """
    free = [c for c in ("seed", "method", "train", "test", "metric") if c not in {*a, *b}]

    def effect(rows):
        found = [select(preferred(rows), **where, **side) for side in (a, b)]
        if all(found) and any(map(_several, found)):
            return Effect(math.nan, rows=tuple(found[0] + found[1]), ours=SEVERAL)
        sides = [{tuple(r[c] for c in free): r for r in some} for some in found]
        left, right = ([side[k] for k in sides[0] if k in sides[1]] for side in sides)
        if not left:
            return None
        means, interval = [float(np.mean([r["value"] for r in side])) for side in (left, right)], None
        if all(r["per_scene"] for r in left + right):
            (x, clusters, seeds), (y, others, _) = stack(left), stack(right)
            if not np.array_equal(clusters, others):
                line = getattr(left[0], "where", None)
                raise InputError(f"{a} and {b} were not measured on the same scenes: they cannot be paired", line)
            interval = paired_difference(x, y, clusters, seeds, np.random.default_rng(0), ratio)[1]
        value = means[0] / means[1] if ratio else means[0] - means[1]
        ours = f"{number(means[0])} against {number(means[1])} {left[0]['unit'] or ''}".strip()
        return Effect(value, interval, sum(r["n"] or 0 for r in left), tuple(left + right), ours, math.nan if ratio else means[1])

    return effect


def select(rows, **where):
    """Rows whose columns have the given values."""
    return [r for r in rows if all(r[c] == v for c, v in where.items())]


def budget(rows, times=1.0):
    """The rows of trainings with `times` the full budget, under the profile of the full one.

    `vp reproduce --profile quick-half` repeats every training with half its steps (quick-double: twice).  Its rows decide no claim; one
    whose order they turn round is inconclusive (`claims.judge`).
    """
    found = _trained(rows, times)
    return found if times == 1 else [_whole(r) for r in found]


def preferred(rows):
    """The rows of the full budget; where there are none, those of half of it, else of twice."""
    return next(filter(None, (_trained(rows, times) for times in (1.0, *results.BUDGETS.values()))), [])


def _trained(rows, times):
    return [r for r in rows if results.name_and_budget(r["profile"])[1] == times]


def _whole(row):
    out = results.Row({**row, "profile": results.name_and_budget(row["profile"])[0]})
    out.where = getattr(row, "where", None)
    return out


SEVERAL = "rows of several configurations, which cannot be told apart"


def _several(rows):
    """Whether a measurement is there twice, in two configurations (of a grid, of two versions): then no mean and no pair means anything."""
    return len({tuple(r[c] for c in _ONE) for r in rows}) < len({tuple(r[c] for c in results.IDENTITY) for r in rows})


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
    picked, means = rng.integers(len(sums), size=(draws, len(sums))), np.zeros((draws, values.shape[1]))  # seeds of each draw, its mean
    for s, (total, count) in enumerate(zip(sums, counts)):
        d = np.repeat(np.arange(draws), (picked == s).sum(1))  # draws with this seed, as often as it was picked
        c = rng.integers(len(count), size=(len(d), len(count)))
        np.add.at(means, d, total[c].sum(1) / count[c].sum(1)[:, None] / len(sums))
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


def stack(rows):
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
