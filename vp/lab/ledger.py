"""The ledger: every experimental statement of the paper, judged by the claims that test it, in one table from rows alone.

A statement *fails* if any of its claims fails; else it is *inconclusive* if any is; else it *holds*.  Claims whose rows are missing do not
count, but the verdict says how many were judged; *not run* is a statement of whose claims none was (`data_needed`: what it would take).
It is judged once per profile and kind of data: the virtual world, or the recorded data sets that rows name.

`vp.lab.statements_paper`: the statements.  `vp.lab.claims`: how a claim is judged.  `vp.show.ledger`: the picture.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from vp.atomic import write_atomic
from vp.errors import InputError
from vp.lab import claims, effects, notebooks, results
from vp.lab.claims import FAILS, HOLDS, INCONCLUSIVE, NOT_RUN, VERDICTS
from vp.lab.statements import RESTATED
from vp.lab.statements_paper import STATEMENTS, Statement

VIRTUAL = ("computed", "none", "procedural", "twin", "universal")  # sources that nobody recorded
MARKS = dict(zip(VERDICTS, "✔✘?–"))
TURNED, TURNS = "⇄", "half or twice the steps change the side"  # of the threshold
HEAD = ("statement", "paper", "ours", "effect", "95 % interval", "verdict", "data", "profile", "run", "notebook")
README = results.ROOT / "README.md"
BLOCK = ("<!-- claims: written by `vp report` -->", "<!-- end of claims -->")


@dataclass(frozen=True)
class Line:
    """A statement judged at one profile on one kind of data: the Verdicts of its claims there (none: not run)."""

    statement: Statement
    profile: str = ""
    data: str = ""
    judged: tuple = ()

    @property
    def verdict(self):
        """One of VERDICTS."""
        return rule([v.verdict for v in self.judged])

    @property
    def deciding(self):
        """The Verdict that decides: of those with the statement's verdict, the one least on the claimed side; None if not run."""
        same = [v for v in self.judged if v.verdict == self.verdict]
        return min(same, key=lambda v: span(v)[0], default=None)

    @property
    def label(self):
        """The verdict, with "(1 seed)" where only one training decides, and how many claims were judged if not all."""
        ran = len({v.claim.id for v in self.judged})
        some = f", {ran} of {len(self.statement.claims)} claims" if 0 < ran < len(self.statement.claims) else ""
        return (self.deciding.label if self.deciding else NOT_RUN) + some

    @property
    def turned(self):
        """Whether other budgets turn what decides."""
        return bool(self.judged) and self.deciding.turned

    @property
    def effect(self):
        """What decides, in short: "2.345 [2.246, 2.44], claimed > 2", after TURNED if other budgets turn it, or what is missing."""
        v = self.deciding
        if v is None:
            return f"needs {self.statement.data_needed}" if self.statement.data_needed else f"no rows of {self.statement.notebook}"
        return f"{TURNED} " * v.turned + f"{claims.quantity(v.effect.value, v.effect.interval, '')}, claimed {v.claim.demand}"


# ---- judging -------------------------------------------------------------------------------------------------------------------------


def rule(verdicts):
    """The verdict of a statement from those of its claims: the first of fails, inconclusive, holds that occurs, else not run."""
    return next((x for x in (FAILS, INCONCLUSIVE, HOLDS) if x in verdicts), NOT_RUN)


def lines(rows, verdicts=None, statements=None):
    """The ledger: Lines in the paper's order, one per statement, profile and kind of data; verdicts: `claims.verdicts(rows)` if at hand."""
    ran, out = {}, []
    for v in claims.verdicts(rows) if verdicts is None else verdicts:
        if v.effect:
            ran.setdefault(v.claim.id, []).append(v)
    for s in STATEMENTS if statements is None else statements:
        places = {}
        for v in (v for i in s.claims for v in ran.get(i, ())):
            places.setdefault(place(v), []).append(v)
        out += [Line(s, *p, tuple(places[p])) for p in sorted(places)] or [Line(s)]
    return out


def place(verdict):
    """(profile, kind of data) of a judged claim: "virtual", or the recorded sources among its rows, and "rendered" beside them if the
    pictures were made."""
    recorded = [x for x in verdict.effect.names("poses", "cameras", "images") if x not in VIRTUAL]
    if recorded and "twin" in verdict.effect.names("images"):
        recorded.append("rendered")
    return ", ".join(verdict.effect.names("profile")), ", ".join(recorded) or "virtual"


def margin(claim, x):
    """How far a number lies on the claimed side of a claim's threshold (of the nearer one, if two), in its unit; negative: beyond it."""
    if claim.direction == "within":
        return min(x - claim.threshold[0], claim.threshold[1] - x)
    return x - claim.threshold if claim.direction == ">" else claim.threshold - x


def span(verdict):
    """(low, value, high): margins of a judged effect and its interval, scaled so that the farthest is 1 or -1; zeros for NaN."""
    v, e = verdict.effect.value, verdict.effect.interval or (verdict.effect.value,) * 2
    value, ends = margin(verdict.claim, v), [margin(verdict.claim, x) for x in e]
    low, high = min(*ends, value), max(*ends, value)
    scale = max(abs(low), abs(high))
    return (low / scale, value / scale, high / scale) if scale > 0 else (0.0, 0.0, 0.0)  # also for NaN


def counts(ledger):
    """One sentence: how many statements hold (and how many of these by arithmetic alone), fail, are inconclusive, were not run."""
    n = len({line.statement.id for line in ledger})
    tally = [sum(line.verdict == x for line in ledger) for x in VERDICTS]
    exact = sum(line.verdict == HOLDS and not any(v.claim.sampled for v in line.judged) for line in ledger)
    hold = f"hold ({exact} of them computed, not sampled)" if exact else "hold"
    words = ", ".join(f"{k} {word}" for k, word in zip(tally, (hold, "fail", INCONCLUSIVE, NOT_RUN)))
    several = f", {len(ledger)} verdicts" if len(ledger) > n else ""
    smoke = " (profile smoke: the code ran, nothing is shown)" if {x.profile for x in ledger if x.judged} == {"smoke"} else ""
    return f"{n} statements of the paper{several}: {words}{smoke}"


def summary(rows, width=110):
    """The ledger as text for a terminal: a line each (verdict, statement, what decides) and the counts at the end."""
    ledger = lines(rows)
    many = len({(line.profile, line.data) for line in ledger if line.judged}) > 1
    out = []
    for x in ledger:
        where = f" ({x.profile}, {x.data})" if many and x.judged else ""
        out.append(short(f"{MARKS[x.verdict]} {x.verdict:12}  {x.statement.id:15} {x.statement.anchor:27} {x.effect}{where}", width))
    told = [f"{TURNED} {TURNS} of the threshold"] if any(x.turned for x in ledger) else []
    return "\n".join([*out, *told, counts(ledger)])


def short(text, most):
    """At most so many characters of a text."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def rows_at(root=""):
    """(rows, folder) of `root`, else of $VP_LEDGER_ROWS, else of results/rows; no rows where that default is missing; InputError."""
    given = root or os.environ.get("VP_LEDGER_ROWS", "")
    folder = Path(given or results.ROOT / "results" / "rows")
    if given and not folder.is_dir():
        raise InputError("no such folder of rows", folder, "rows_root, $VP_LEDGER_ROWS")
    return results.load(folder) if folder.is_dir() else [], folder


# ---- text ------------------------------------------------------------------------------------------------------------------------------


def made_by(row, start):
    """Relative link, from folder `start`, to the notebook that made a row: the executed one beside its file, else the repository's."""
    file = Path((getattr(row, "where", None) or ":").rpartition(":")[0])
    beside = file.parent / f"{row['notebook']}.ipynb"
    return _link(beside if file.suffix == ".jsonl" and beside.exists() else notebooks.FOLDER / beside.name, start)


def _link(path, start):
    name = path.stem
    return f"[{name}]({Path(os.path.relpath(path.resolve(), Path(start).resolve())).as_posix()})" if path.exists() else name


def links(verdict_or_line, start):
    """Markdown links to the notebooks behind a judged claim or a Line (not run: to the one that would measure it)."""
    judged = verdict_or_line.judged if isinstance(verdict_or_line, Line) else (verdict_or_line,)
    found = dict.fromkeys(made_by(r, start) for v in judged if v.effect for r in v.effect.rows if r["notebook"])
    if not found and isinstance(verdict_or_line, Line) and verdict_or_line.statement.notebook:
        found = [_link(notebooks.FOLDER / f"{verdict_or_line.statement.notebook}.ipynb", start)]
    return ", ".join(found) or "–"


def run_of(line):
    """Revision and date of the rows behind a Line: "1217f27502 (2026-11-20)"."""
    rows = [r for v in line.judged for r in v.effect.rows]
    runs = sorted({(str(r["time"] or "")[:10], r["git"] or "no revision") for r in rows})
    return ", ".join(f"{git} ({day})" if day else git for day, git in runs) or "–"


def cells(line, start):
    """The cells of HEAD for a Line, as Markdown; start: the folder from which links lead."""
    s, v = line.statement, line.deciding
    first = f"**{s.title}.** {s.says} ({s.anchor}) `{s.id}`"
    verdict = f"{MARKS[line.verdict]} {line.label}"
    if v is None:
        return [first, s.paper, "–", "–", "–", verdict, line.effect, "–", "–", links(line, start)]
    e, others = v.effect, [f"{MARKS[o.verdict]} `{o.claim.id}`" for o in line.judged if o is not v]
    ours = f"`{v.claim.id}`: {e.ours or '–'}" + ("<br>also " + ", ".join(others) if others else "")
    effect = f"{claims.quantity(e.value, None, v.claim.unit)}, claimed {v.claim.demand}" + v.change
    none = "none" if v.claim.sampled else "computed, none"
    between = f"[{claims.number(e.interval[0])}, {claims.number(e.interval[1])}]" if e.interval else none
    return [first, s.paper, ours, effect, between, verdict, line.data, line.profile, run_of(line), links(line, start)]


def table(ledger, start):
    """The ledger as a Markdown table with links from folder `start`."""
    return claims.markdown(HEAD, [cells(line, start) for line in ledger])


def findings(verdicts):
    """Markdown: every claim that fails or is inconclusive, with what was found out about why."""
    out = []
    for v in (v for v in verdicts if v.verdict in (FAILS, INCONCLUSIVE)):
        c, (_, _, ours, effect, label, data) = v.claim, v.cells()
        said = f"`{c.id}` {label}. {c.sentence} ({c.anchor}) Ours: {ours}; {effect} ({data})"
        said += f"; {v.elsewhere}" if v.elsewhere and not v.turned else ""
        but = f" {c.but}" if c.but and v.verdict == INCONCLUSIVE else ""
        out.append(f"* {MARKS[v.verdict]} {said}. *Why:* {_why(v)}{but}\n")
    return "".join(out) or "Nothing fails, nothing is inconclusive.\n"


def _why(v):
    """What was found out: the claim's own words, and of one that other budgets turn the numbers that were compared, on the same seeds."""
    seeds = next(iter(v.others.values())).names("seed") if v.others else ()
    by_budget = ", ".join(f"{e.ours} at {words}" for words, e in v.others.items()) or v.elsewhere
    said = (v.claim.why, f"The side of the threshold depends on the budget{claims.of_seeds(seeds)}: {by_budget}." if v.turned else "")
    return "  ".join(filter(None, said)) or "not found out."


def reservations(verdicts):
    """Markdown: every claim that holds and has something that speaks against it."""
    found = [v for v in verdicts if v.verdict == HOLDS and v.claim.but]
    return "".join(f"* {MARKS[HOLDS]} `{v.claim.id}` {v.label}. {v.claim.sentence} ({v.claim.anchor}) {v.claim.but}\n" for v in found)


def missing(ledger):
    """Markdown: what was not run and what it would take."""
    left = [(line.statement, line.effect) for line in ledger if not line.judged]
    return "".join(f"* `{s.id}` {s.title} ({s.anchor}): {why}.\n" for s, why in left) or "Everything was run.\n"


def budgets(rows, verdicts=None):
    """A sentence on the rule about budgets: to how many claims there were rows to apply it, and which it made inconclusive."""
    what = "A verdict is inconclusive, too, where the order changes with the budget of the trainings"
    judged = [v for v in (claims.verdicts(rows) if verdicts is None else verdicts) if v.effect and v.claim.id in claims.ALL]
    tested, turned = sum(bool(v.elsewhere) for v in judged), [v.claim.id for v in judged if v.turned]
    if rows and not effects.budget(rows):
        return f"{what}; here are only rows of another budget, which decide nothing by themselves."
    if not tested:
        return f"{what}; no claim has rows of another budget, so that was not tested."
    found = f"which turned {len(turned)} of them round: {', '.join(turned)}" if turned else "which turned none of them round"
    on = claims.of_seeds(sorted({s for v in judged for e in v.others.values() for s in e.names("seed")}))
    said = f"{what}: {tested} of {len(judged)} judged claims were also trained with half or twice the steps{on}, {found}."
    three = [v for v in judged if len(v.others) == 3]
    half, full, twice = ([margin(v.claim, v.others[b].value) > 0 for v in three].count(True) for b in claims.BUDGETS)
    side = f"{half} at half of it, {full} at the full one, {twice} at twice."
    return said + (f"  On the claimed side of {len(three)} claims with all three budgets: {side}" if three else "")


def _apart():
    """A sentence on claims that decide no statement."""
    n = len(claims.ALL.keys() - {i for s in STATEMENTS for i in s.claims})
    return f"{n} claims of our own decide no statement (a stricter reading, a control); they stand with the others at the end."


def page(rows, verdicts, ledger, start):
    """figures/claims.md: the ledger, what does not hold, what was not run, every claim."""
    every = claims.ClaimsTable(verdicts)
    body = [[f"`{i}` {c[0]}", *c[1:], links(v, start)] for v, (i, c) in zip(verdicts, every._lines())]
    about = " ".join(__doc__.split("\n\n")[1].split()).replace("`data_needed`: what it would take", "with what it would take")
    return "\n".join([
        "# Claims\n",
        f"{counts(ledger)}.  Rebuilt from rows by `vp report`.  Where `data` says virtual, compare orders with the paper's, not digits.\n",
        f"![Each statement's verdict and effect]({SVG})\n",
        f"{about}  Shown is the claim that decides.  {RESTATED}  {budgets(rows, verdicts)}\n",
        f"{_apart()}\n",
        '"(1 seed)": one training stands behind it, and the interval is over scenes alone.  A + after a revision: the code had changes '
        "that were not committed.\n",
        table(ledger, start),
        "## What does not hold, and what was found out about it\n", findings(verdicts),
        *(("## What holds with a reservation\n", said) if (said := reservations(verdicts)) else ()),
        "## What was not run\n", missing(ledger),
        "## Every claim\n", claims.markdown((*every.head, "notebook"), body), f"{every.counts}\n",
    ])  # fmt: skip


def block(ledger, folder="figures"):
    """The README's summary: counts, picture, what fails, links (from the repository's root)."""
    fail = [line for line in ledger if line.verdict == FAILS]
    said = "; ".join(f"{x.statement.title} ({x.statement.anchor}; {x.profile}, {x.data})" for x in fail) or "nothing"
    where = sorted({f"profile {x.profile}, {x.data} data" for x in ledger if x.judged})
    return (f"{counts(ledger)} ({'; '.join(where) or 'no rows'}).\n\n"
            f"[![Verdict and effect of every statement]({folder}/{SVG})]({folder}/claims.md)\n\n"
            f"Failing: {said}.\n\n[The ledger]({folder}/claims.md) has all numbers, what was found out about failures, and links to the "
            "notebooks.\n")


# ---- files -----------------------------------------------------------------------------------------------------------------------------

SVG = "claims.svg"


def write(rows, out, readme=None, verdicts=None):
    """Write claims.md and claims.svg into folder `out`, and the summary between the marks of the file `readme`; returns the Lines."""
    from vp.show import ledger as show

    out = Path(out)
    verdicts = claims.verdicts(rows) if verdicts is None else verdicts
    ledger = lines(rows, verdicts)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "claims.md", page(rows, verdicts, ledger, out))
    write_atomic(out / SVG, show.svg(ledger))
    if readme is not None and (text := with_block(readme.read_text(encoding="utf-8"), block(ledger))):
        write_atomic(readme, text)
    return ledger


def with_block(text, new):
    """The text with `new` between its marks, or "" if it has none."""
    start, end = BLOCK
    pattern = re.escape(start) + ".*?" + re.escape(end)
    return re.sub(pattern, lambda _: f"{start}\n{new}{end}", text, count=1, flags=re.DOTALL) if re.search(pattern, text, re.DOTALL) else ""
