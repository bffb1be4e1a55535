"""Claims: sentences of the paper (or ours) as tests on rows, each with a threshold that is committed before the run.

A verdict is `holds`, `fails`, `inconclusive` (the 95 % interval contains the threshold, or there is none although the number comes from a
sample, or the order changes with the budget) or `not run` (only where data are missing).  Intervals are bootstrapped over
scenes, seeds outermost; one seed reads "holds (1 seed)".  Quantities that are computed and not sampled (geometry) have no interval and no
seed: they stand as they are.

Here: verdicts and their table.  `vp.lab.effects`: Claim, Effect and the numbers.  `vp.lab.statements`: the sentences.  `vp.lab.ledger`:
the paper's statements, each with the claims that test it.
"""

import html
import math
from dataclasses import dataclass, field

from vp.errors import InputError
from vp.lab import results
from vp.lab.effects import Claim, Effect, bootstrap, budget, compared, measured, number, paired_difference, quantity, select
from vp.lab.statements import ALL, GEOMETRY

__all__ = [
    "ALL", "GEOMETRY", "VERDICTS", "Claim", "ClaimsTable", "Effect", "Verdict", "bootstrap", "by_seed", "claims_table",
    "compared", "judge", "markdown", "measured", "number", "paired_difference", "quantity", "select", "summary", "verdicts",
]  # fmt: skip

FULL = "the full one"
BUDGETS = {"half the budget": 0.5, FULL: 1.0, "twice the budget": 2.0}  # what is said of them: times the steps
HOLDS, FAILS, INCONCLUSIVE, NOT_RUN = VERDICTS = ("holds", "fails", "inconclusive", "not run")


@dataclass(frozen=True)
class Verdict:
    """A claim judged on rows: one of VERDICTS, the effect (None when not run), what trainings of other budgets gave (in words, "" where
    there were none), whether that changes the order, and the effects by BUDGETS, {words: `Effect`}."""

    claim: Claim
    verdict: str
    effect: Effect | None = None
    elsewhere: str = ""
    turned: bool = False
    others: dict = field(default_factory=dict)

    @property
    def label(self):
        """The verdict, with "(1 seed)" where a single training stands behind a sample."""
        one = self.claim.sampled and self.effect is not None and len(self.effect.names("seed")) == 1
        return f"{self.verdict} (1 seed)" if one else self.verdict

    @property
    def change(self):
        """"; the order changes: ..." or ""."""
        return f"; the order changes: {self.elsewhere}" if self.turned else ""

    def row(self, **columns):
        """The verdict as a row (experiment "claim", metric = the claim's id, method = the verdict), from which `verdicts` rebuilds it."""
        e, c = self.effect or Effect(math.nan), self.claim
        note = {k: getattr(c, k) for k in ("anchor", "sentence", "threshold", "direction", "paper", "sampled", "why", "but")}
        used = {k: ", ".join(map(str, e.names(k))) or None for k in ("profile", "poses", "cameras", "images")}
        seeds = e.names("seed")
        used["seed"] = seeds[0] if len(seeds) == 1 else None
        note = {**note, "ours": e.ours, **({"elsewhere": self.elsewhere, "turned": self.turned} if self.elsewhere else {})}
        return results.row("claim", c.id, e.value, c.unit, e.interval, n=e.n, method=self.verdict, note=note, **{**used, **columns})

    def cells(self):
        """claim, paper, ours, effect [interval] with what is claimed, verdict, data and profile, as text."""
        c, e = self.claim, self.effect
        more = {HOLDS: c.but, FAILS: c.why, INCONCLUSIVE: " ".join(filter(None, (c.why, c.but)))}.get(self.verdict)
        sentence = f"{c.sentence} ({c.anchor})" + (f" {more}" if more else "")
        if e is None:
            return sentence, c.paper or "–", "–", f"claimed {c.demand}", self.label, "–"
        effect = f"{quantity(e.value, e.interval, c.unit)}, claimed {c.demand}" + self.change
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
    """The Verdict of one claim on rows (as `results.load` gives them): the whole interval must lie on the claimed side.

    Where there are rows of half or twice the budget (`effects.budget`) and their effect lies on the other side of the threshold than that
    of the full one (of the same seeds), the order changes with the budget: inconclusive.  Rows of nothing that was trained, or of the same
    training, say nothing here.
    """
    e = claim.effect(budget(rows))
    if e is None:
        return Verdict(claim, NOT_RUN)
    if math.isnan(e.value) or (claim.sampled and e.interval is None):
        return Verdict(claim, INCONCLUSIVE, e)
    lo, hi = e.interval or (e.value, e.value)
    low, high = {"<": (-math.inf, claim.threshold), ">": (claim.threshold, math.inf), "within": claim.threshold}[claim.direction]

    def inside(lo, hi):
        return low <= lo and hi <= high if claim.direction == "within" else low < lo and hi < high

    outside = hi < low or lo > high or (lo == hi and not inside(lo, hi))
    others = _elsewhere(claim, rows, e)
    told = {words: o for words, o in others.items() if words != FULL or o.value != e.value}  # of fewer seeds than all
    seeds = next(iter(told.values())).names("seed") if told else ()
    fewer = of_seeds(seeds) if set(seeds) < set(e.names("seed")) else ""
    elsewhere = ", ".join(f"{quantity(o.value, o.interval, claim.unit)} at {words}" for words, o in told.items()) + fewer
    turned = len({inside(o.value, o.value) for o in others.values() or (e,)}) > 1
    verdict = HOLDS if inside(lo, hi) and not turned else FAILS if outside and not turned else INCONCLUSIVE
    return Verdict(claim, verdict, e, elsewhere, turned, others)


def of_seeds(seeds):
    """" (seed 0)", " (seed 0, 1)", or "" of none."""
    return f" (seed {', '.join(map(str, seeds))})" if seeds else ""


def _elsewhere(claim, rows, full):
    """{"half the budget": `Effect`, "the full one": that of the same seeds, "twice the budget": `Effect`}, as far as there are trainings of
    other lengths; {} if there are none."""
    found = {words: claim.effect(budget(rows, times)) for words, times in BUDGETS.items() if words != FULL}
    found = {words: e for words, e in found.items() if e is not None and not math.isnan(e.value) and _retrained(e.rows, full.rows)}
    if not found:
        return {}
    seeds = set.intersection(*({r["seed"] for r in e.rows} for e in found.values()))
    same = claim.effect([r for r in budget(rows) if r["seed"] in seeds])
    if same is None or math.isnan(same.value):
        return {}
    found[FULL] = same
    return {words: found[words] for words in BUDGETS if words in found}


def _retrained(other, full):
    """Whether anything in rows of another budget was trained for another number of steps than in those of the full one (shipped weights
    were not)."""
    steps = {(r["method"], r["train"], r["test"]): r["steps"] for r in full}
    return any(r["steps"] and (n := steps.get((r["method"], r["train"], r["test"]))) and r["steps"] != n for r in other)


def verdicts(rows):
    """Every claim judged anew on rows: once per profile and data source for which there are rows, else once as "not run".

    Seeds and machines are pooled, sources never: numbers on the virtual world are not mixed with those on real data.  Verdict rows of
    claims that only a notebook knows are shown as they were written.  The order of the rows does not matter.
    """
    groups = grouped(rows)
    out = []
    for claim in ALL.values():
        judged = [v for g in groups if (v := judge(claim, g)).verdict != NOT_RUN]
        out += judged or [Verdict(claim, NOT_RUN)]
    own = [r for r in select(rows, experiment="claim") if r["metric"] not in ALL and r["method"] in VERDICTS]
    return out + [_read_back(r) for r in sorted(own, key=lambda r: (r["metric"], r["profile"] or "", str(r["seed"])))]


def by_seed(rows):
    """[(Verdict on all seeds, {seed: Verdict on that seed alone})] of the claims with rows of several seeds; of the full budget alone,
    since not each seed was trained with others."""
    out = []
    for claim in ALL.values():
        for g in map(budget, grouped(rows)):
            together = judge(claim, g)
            seeds = together.effect.names("seed") if together.effect else ()
            if len(seeds) > 1:
                out.append((together, {s: judge(claim, [r for r in g if r["seed"] == s]) for s in seeds}))
    return out


def grouped(rows):
    """Rows in lists, one for each profile (its other budgets included) and data source, sorted: what may be averaged, or compared
    across budgets, stands in one list."""
    groups = {}
    for r in results.ordered(rows):
        profile, *sources = (r[c] or "" for c in ("profile", "poses", "cameras", "images"))
        groups.setdefault((results.name_and_budget(profile)[0], *sources), []).append(r)
    return [groups[g] for g in sorted(groups)]


def _read_back(r):
    """The Verdict that `Verdict.row` wrote, without its test."""
    where = getattr(r, "where", None) or f"row of claim {r['metric']!r}"
    if not isinstance(r["note"], dict):
        raise InputError("not a verdict (its note must hold the sentence, its anchor, threshold and direction)", where)
    note = {k: tuple(v) if isinstance(v, list) else v for k, v in r["note"].items()}
    ours, elsewhere, turned = note.pop("ours", ""), note.pop("elsewhere", ""), note.pop("turned", False)
    try:
        claim = Claim(r["metric"], effect=None, unit=r["unit"] or "", **note)
        if not isinstance(ours, str) or not isinstance(elsewhere, str) or not isinstance(turned, bool):
            raise TypeError("ours and elsewhere are text, turned is true or false")
    except (TypeError, ValueError) as error:
        raise InputError(f"not a verdict ({error})", where) from None
    e = Effect(r["value"], None if r["lo"] is None else (r["lo"], r["hi"]), r["n"] or 0, (r,), ours)
    return Verdict(claim, r["method"], None if r["method"] == NOT_RUN else e, elsewhere, turned)


def summary(rows):
    """The claims on rows as text, a line each and the counts at the end."""
    return repr(ClaimsTable(verdicts(rows)))


# ---- text ------------------------------------------------------------------------------------------------------------------------------


def markdown(head, lines):
    """A Markdown table from a head and lines of cells."""
    clean = [[str(c).replace("|", "\\|").replace("\n", " ") for c in line] for line in (head, ["---"] * len(head), *lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in clean)
