"""The committed ledger: figures/claims.md, its picture, the README's summary and notebook 15 agree with the committed rows."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from test_ledger import SVG, links, texts

from vp.lab import claims, ledger, notebooks, results
from vp.show import ledger as show

ROOT = results.ROOT


@pytest.fixture(scope="module")
def committed():
    """(rows, verdicts, Lines) of the committed rows."""
    rows = results.ordered(results.load(ROOT / "results"))
    verdicts = claims.verdicts(rows)
    return rows, verdicts, ledger.lines(rows, verdicts)


def near(verdict, share):
    """Whether an end of the interval lies within a share of what is compared (a − b: of b) from a threshold."""
    e, c = verdict.effect, verdict.claim
    size = max(abs(e.value), 0.0 if math.isnan(e.reference) else abs(e.reference))
    limits = c.threshold if isinstance(c.threshold, tuple) else (c.threshold,)
    return min(abs(end - t) for end in e.interval or (e.value,) for t in limits) <= share * size


class TestCommitted:
    def test_at_least_fifteen_statements_were_judged(self, committed):
        assert len({x.statement.id for x in committed[2] if x.judged}) >= 15

    def test_readme_figures_and_rows_agree(self, committed):
        rows, verdicts, lines = committed
        hint = "run `vp report`"
        assert ledger.page(rows, verdicts, lines, ROOT / "figures") == (ROOT / "figures" / "claims.md").read_text(), hint
        assert show.svg(lines) == (ROOT / "figures" / "claims.svg").read_text(), hint
        readme = (ROOT / "README.md").read_text()
        assert ledger.with_block(readme, ledger.block(lines)) == readme, hint
        assert ledger.counts(lines) in (ROOT / "figures" / "results" / "README.md").read_text(), hint

    def test_links(self, committed):
        for page in (ROOT / "figures" / "claims.md", ROOT / "figures" / "results" / "README.md"):
            assert [x for x in links(page.read_text()) if not (page.parent / x).exists()] == [], page

    def test_picture(self, committed):
        root, found = texts((ROOT / "figures" / "claims.svg").read_text())
        assert {s.title for s in ledger.STATEMENTS} <= {s for _, s in found}
        assert {g.get("id") for g in root.iter(f"{SVG}g")} >= {s.id for s in ledger.STATEMENTS}

    def test_summary(self, committed, monkeypatch):
        monkeypatch.setattr(claims, "verdicts", lambda rows: committed[1])
        said = ledger.summary(committed[0]).splitlines()
        turned = any(x.judged and x.deciding.turned for x in committed[2])  # a line that explains the mark
        assert len(said) == len(committed[2]) + 1 + turned
        assert max(map(len, said)) <= 110
        assert said[-1] == ledger.counts(committed[2])

    @pytest.mark.parametrize("seed", [0, 1])
    def test_verdicts_stand_on_another_machine(self, committed, seed):
        """The tolerance that CONTRIBUTING states: each row moved by 1 part in 1 000, up or down.  A verdict changes only where an interval
        ends that near to the threshold, and never from holds to fails."""
        rows, verdicts, _ = committed
        g = np.random.default_rng(seed)
        values = ("value", "lo", "hi", "per_scene")

        def moved(row):
            times = 1 + 1e-3 * g.choice((-1.0, 1.0))
            return {**row, **{k: (np.asarray(row[k]) * times).tolist() for k in values if row[k] is not None}}

        found, expected = (
            {(v.claim.id, ledger.place(v)): v for v in some if v.claim.id in claims.ALL and v.effect}
            for some in (claims.verdicts([moved(r) for r in rows if r["experiment"] != "claim"]), verdicts)
        )
        assert len(found) > 40
        assert set(found) == set(expected)
        changed = [k for k, v in found.items() if v.verdict != expected[k].verdict]
        assert len(changed) < len(found) / 10
        for k in changed:
            assert near(expected[k], 2.1e-3), k
            assert "inconclusive" in (found[k].verdict, expected[k].verdict), k

    def test_reasons_name_notebooks_that_exist(self):
        numbers = {name[:2] for name in notebooks.names()}
        named = [n for c in claims.ALL.values() if c.why for n in re.findall(r"notebooks? (\d\d)(?: and (\d\d))?", c.why)]
        assert len(named) >= 5
        assert {n for pair in named for n in pair if n} <= numbers


def test_notebook_15_reads_the_rows_of_others_also_when_there_are_none(tmp_path):
    assert notebooks.parameters(Path(notebooks.FOLDER / "15_claims.ipynb")) == {notebooks.ROWS: ""}
    (tmp_path / "rows").mkdir()
    notebooks.execute("15_claims", tmp_path / "out", {notebooks.ROWS: str(tmp_path / "rows")})
    said = (tmp_path / "out" / "15_claims.ipynb").read_text()
    assert f"0 rows of 0 notebooks; {len(ledger.STATEMENTS)} statements of the paper: 0 hold, 0 fail, 0 inconclusive" in said
    assert (tmp_path / "out" / "15_claims.jsonl").read_text() == "", "it measures nothing"
