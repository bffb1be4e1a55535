"""vp.lab.ledger: the rule, the lines, links, the picture, the README's summary; on made-up rows and on the committed ones."""

import re
from xml.etree import ElementTree

import pytest

from vp.errors import InputError
from vp.lab import claims, ledger, notebooks, report, results
from vp.lab.claims import Claim, Effect, Verdict, compared, judge, measured
from vp.lab.ledger import Line, Statement
from vp.show import ledger as show

ROOT = results.ROOT
PAPER = ROOT.parent / "shared" / "paper" / "virtualpose_eccv2022.txt"
SVG = "{http://www.w3.org/2000/svg}"
GOOD = Claim("good", "§1", "Good is large.", measured(experiment="e", method="good"), 5.0, ">", "mm", sampled=False)
BAD = Claim("bad", "§1", "Bad is large.", measured(experiment="e", method="bad"), 5.0, ">", "mm", sampled=False, why="It is small.")
OPEN = Claim("open", "§1", "Open is large.", measured(experiment="e", method="open"), 5.0, ">", "mm")
STATEMENTS = (
    Statement("first", "§1", "First", "It holds.", "7", ("good",), "01_pinhole_depth"),
    Statement("second", "§2", "Second", "It fails.", "8", ("good", "bad", "open"), "01_pinhole_depth"),
    Statement("third", "§3", "Third", "Nobody knows.", "9", (), "02_poses_and_cameras", "a time machine"),
)
COUNTS = "3 statements of the paper: 1 hold (1 of them computed, not sampled), 1 fail, 0 inconclusive, 1 not run"


@pytest.fixture
def three(monkeypatch):
    """The ledger has three statements on three claims."""
    monkeypatch.setattr(claims, "ALL", {c.id: c for c in (GOOD, BAD, OPEN)})
    monkeypatch.setattr(ledger, "STATEMENTS", STATEMENTS)


def row(method, value, **where):
    about = {"profile": "quick", "poses": "twin", "notebook": "01_pinhole_depth"}
    return results.row("e", "m", value, "mm", **{"method": method, **about, **where})


ROWS = (("good", 7.0), ("bad", 3.0), ("open", 7.0))


def made_up(**where):
    return [row(m, v, **where) for m, v in ROWS]


# ---- the statements ------------------------------------------------------------------------------------------------------------------


def test_the_statements_cover_the_paper_and_name_claims_that_exist():
    all_of = ledger.STATEMENTS
    assert len(all_of) >= 30
    assert len({s.id for s in all_of}) == len({s.title for s in all_of}) == len(all_of)
    anchors = " ".join(s.anchor for s in all_of)
    for section in ("abstract", "§1", "§2", "§3.2", "§4.1", "§4.2", "§4.3", "§5.2", "§5.3", "§5.4", "§6", "Table 1", "Table 2", "Table 3",
                    "Table 4", "Table 5", "Fig. 1", "Fig. 3(a)", "Fig. 3(b)", "Fig. 4(a)", "Fig. 4(b)", "Fig. 4(c)"):  # fmt: skip
        assert section in anchors, section
    assert [i for s in all_of for i in s.claims if i not in claims.ALL] == []
    assert [s.id for s in all_of if not s.claims and not s.data_needed] == [], "not run only where data are missing"
    assert sum(bool(s.claims) for s in all_of) >= 25
    assert [s.id for s in all_of if len(s.title) > show.fits(show.GLYPH_X - show.TITLE_X - 8, show.TITLE)] == []


def test_every_statement_names_a_notebook_that_is_there():
    assert [s.id for s in ledger.STATEMENTS if not (notebooks.FOLDER / f"{s.notebook}.ipynb").exists()] == []


@pytest.mark.skipif(not PAPER.exists(), reason="the paper's text is not beside this repository")
def test_statements_are_in_our_own_words_with_the_papers_numbers():
    def plain(text):
        return " ".join(re.findall(r"[a-z0-9.]+", text.lower()))

    text = plain(PAPER.read_text())
    for s in ledger.STATEMENTS:
        words = plain(s.says).split()
        assert not [w for i in range(len(words) - 7) if (w := " ".join(words[i : i + 8])) in text], s.id
        for number in re.findall(r"\d+\.\d", s.paper):
            assert number in text or number == "56.8", (s.id, number)  # 56.8: mean of three of its cells
    mean = (54.1 + 61.6 + 54.6) / 3
    assert mean == pytest.approx(56.8, abs=0.05)


# ---- the rule ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ((), "not run"),
        (("not run", "not run"), "not run"),
        (("holds", "holds"), "holds"),
        (("holds", "not run"), "holds"),
        (("holds", "inconclusive", "holds"), "inconclusive"),
        (("inconclusive", "not run"), "inconclusive"),
        (("holds", "fails", "inconclusive"), "fails"),
        (("not run", "fails"), "fails"),
    ],
)
def test_rule(parts, whole):
    assert ledger.rule(parts) == whole


def test_lines_from_made_up_rows(three):
    got = {x.statement.id: x for x in ledger.lines(made_up(), statements=STATEMENTS)}
    assert {i: x.verdict for i, x in got.items()} == {"first": "holds", "second": "fails", "third": "not run"}
    assert got["second"].deciding.claim is BAD
    assert got["second"].effect == "3, claimed > 5 mm"
    assert got["third"].effect == "needs a time machine"
    assert ledger.counts(got.values()) == COUNTS
    without_bad = {x.statement.id: x for x in ledger.lines([r for r in made_up() if r["method"] != "bad"], statements=STATEMENTS)}
    assert without_bad["second"].verdict == "inconclusive"  # a sample without an interval
    assert without_bad["second"].label == "inconclusive, 2 of 3 claims"
    good = ledger.lines([row("good", 7.0)], statements=STATEMENTS)
    assert [x.label for x in good] == ["holds", "holds, 1 of 3 claims", "not run"]
    smoke = ledger.lines(made_up(profile="smoke"), statements=STATEMENTS)
    assert "the code ran, nothing is shown" in ledger.counts(smoke)
    nothing = ledger.lines([], statements=STATEMENTS)
    assert [x.verdict for x in nothing] == ["not run"] * 3
    assert nothing[0].effect == "no rows of 01_pinhole_depth"
    alone = (Statement("s", "§1", "S", "It holds.", "7", ("open",)),)
    sampled = ledger.lines([{**row("open", 7.0), "lo": 6.0, "hi": 8.0}], statements=alone)
    assert ledger.counts(sampled).endswith(": 1 hold, 0 fail, 0 inconclusive, 0 not run")


def test_profiles_and_recorded_data_stand_in_lines_of_their_own(three):
    rows = [*made_up(), row("good", 1.0, poses="panoptic"), row("good", 2.0, profile="paper")]
    got = [(x.profile, x.data, x.verdict) for x in ledger.lines(rows, statements=STATEMENTS[:1])]
    assert got == [("paper", "virtual", "fails"), ("quick", "panoptic", "fails"), ("quick", "virtual", "holds")]
    said = ledger.counts(ledger.lines(rows, statements=STATEMENTS[:1]))
    assert said.startswith("1 statements of the paper, 3 verdicts: 1 hold (1 of them computed, not sampled), 2 fail")


def test_the_deciding_claim_is_the_weakest():
    def judged(value, interval, **more):
        claim = Claim(f"c{value}", "§1", "s", lambda rows: Effect(value, interval), **{"threshold": 5.0, "direction": ">", **more})
        return judge(claim, [])

    near, far = judged(6, (5.1, 7)), judged(60, (50, 70))
    assert Line(STATEMENTS[0], "quick", "virtual", (far, near)).deciding is near
    assert Line(STATEMENTS[0], "quick", "virtual", (far, near, judged(1, (0, 2)))).deciding.claim.id == "c1"


@pytest.mark.parametrize(
    ("options", "value", "interval", "want"),
    [
        ({}, 7.0, (6.0, 9.0), (0.25, 0.5, 1.0)),
        ({"direction": "<"}, 7.0, (6.0, 9.0), (-1.0, -0.5, -0.25)),
        ({}, 4.0, (1.0, 6.0), (-1.0, -0.25, 0.25)),
        ({}, 7.0, None, (1.0, 1.0, 1.0)),
        ({}, 5.0, None, (0.0, 0.0, 0.0)),
        ({}, float("nan"), None, (0.0, 0.0, 0.0)),
        ({"threshold": (4.0, 8.0), "direction": "within"}, 6.0, (5.0, 7.5), (0.25, 1.0, 1.0)),
        ({"threshold": (4.0, 8.0), "direction": "within"}, 2.0, (0.0, 5.0), (-1.0, -0.5, 0.25)),
    ],
)
def test_span(options, value, interval, want):
    claim = Claim("c", "§1", "s", lambda rows: Effect(value, interval), **{"threshold": 5.0, "direction": ">", **options})
    assert ledger.span(judge(claim, [])) == pytest.approx(want)


# ---- text ----------------------------------------------------------------------------------------------------------------------------


def test_summary_is_short(three, monkeypatch):
    text = ledger.summary(made_up())
    assert text.splitlines()[-1] == COUNTS
    assert re.match(r"✘ fails +second +§2 +3, claimed > 5 mm$", text.splitlines()[1])
    long = Statement("first", "§1", "First", "It holds.", "7", (), "01_pinhole_depth", "x" * 300)
    monkeypatch.setattr(ledger, "STATEMENTS", (long,))
    assert [len(line) for line in ledger.summary([]).splitlines()[:-1]] == [110]


def test_what_another_budget_turned_is_told_in_a_word(three):
    turned = [*made_up(steps=4), row("bad", 6.0, steps=2, profile="quick-half")]
    for rows, last in ((made_up(steps=4), 1), (turned, 2)):
        text, drawn = ledger.summary(rows).splitlines(), [s for _, s in texts(show.svg(ledger.lines(rows)))[1]]
        assert [ledger.TURNED in line for line in text] == [False, rows is turned, False, *[True] * (rows is turned), False]
        legend = f"{ledger.TURNED} {ledger.TURNS}"
        assert (f"{legend} of the threshold" in text) == (legend in drawn) == (rows is turned)
        assert len(text) == 3 + last


def test_the_page_shows_failures_with_their_reason_and_what_is_missing(three, tmp_path):
    ledger.write(made_up(git="abc", time="2026-01-02T03:04:05Z"), tmp_path)
    page = (tmp_path / "claims.md").read_text()
    table = [x for x in page.splitlines() if x.startswith("| **")]
    assert len(table) == 3
    assert all(x.count("|") == len(ledger.HEAD) + 1 for x in table)
    assert "✘ fails" in table[1]
    assert "abc (2026-01-02)" in table[1]
    assert "| virtual | quick |" in table[1]
    assert "*Why:* It is small." in page
    assert "`open` inconclusive. Open is large. (§1)" in page
    assert "*Why:* not found out." in page
    assert "`third` Third (§3): needs a time machine." in page
    assert "no claim has rows of another budget" in page
    assert "3 claims: 1 hold, 1 fail, 1 inconclusive, 0 not run" in page


def test_half_budgets_are_counted_by_claims(three):
    whole = made_up(steps=4)
    half = {"steps": 2, "profile": "quick-half"}
    assert "no claim has rows of another" in ledger.budgets(whole)
    assert "no claim has rows of another" in ledger.budgets([*whole, row("good", 3.0, **half | {"steps": 4})]), "the same training"
    held = ledger.budgets([*whole, row("good", 6.0, **half)])
    assert "1 of 3 judged claims were also trained with half or twice the steps, which turned none" in held
    both = ledger.budgets([*whole, row("good", 3.0, **half), row("bad", 2.0, **half)])
    assert "2 of 3 judged claims were also trained with half or twice the steps, which turned 1 of them round: good." in both
    twice = [row("good", 7.0, steps=8, profile="quick-double"), row("bad", 6.0, steps=8, profile="quick-double")]
    assert "all three budgets" not in both
    all_three = ledger.budgets([*whole, row("good", 3.0, **half), row("bad", 2.0, **half), *twice])
    assert "On the claimed side of 2 claims with all three budgets: 0 at half of it, 1 at the full one, 2 at twice." in all_three
    short = claims.verdicts([*whole, row("bad", 0.5, **half)])
    assert "*Why:* It is small.\n" in ledger.findings(short), "no order depends on the budget"
    turned = claims.verdicts([*made_up(steps=4, seed=0), *made_up(steps=4, seed=1), row("bad", 6.0, seed=0, **half)])
    told = "It is small.  The side of the threshold depends on the budget (seed 0): 6 mm at half the budget, 3 mm at the full one.\n"
    assert told in ledger.findings(turned)
    assert "; 0.5 mm at half the budget. *Why:*" in ledger.findings(short), "what another budget gave stands there also where it agrees"
    assert "only rows of another budget" in ledger.budgets([row("good", 6.0, **half)])


def links(page):
    return [x for x in re.findall(r"\]\(([^)#]+)\)", page) if not x.startswith("http")]


def test_links_lead_to_the_notebook_that_made_it_from_wherever_it_is_printed(three, tmp_path):
    results.append(tmp_path / "run" / "seed0" / "01_pinhole_depth.jsonl", made_up())
    for out in (tmp_path / "run" / "report", tmp_path / "elsewhere"):
        report.main([str(tmp_path / "run")], str(out), quiet=True)
        found = links((out / "claims.md").read_text())
        assert found
        assert [x for x in found if not (out / x).exists()] == []
        assert any((out / x).resolve() == notebooks.FOLDER / "01_pinhole_depth.ipynb" for x in found)
    executed = tmp_path / "run" / "seed0" / "01_pinhole_depth.ipynb"
    executed.write_text("{}")
    ledger.write(results.load(tmp_path / "run"), tmp_path / "run" / "report")
    found = links((tmp_path / "run" / "report" / "claims.md").read_text())
    assert "../seed0/01_pinhole_depth.ipynb" in found
    assert [x for x in found if not (tmp_path / "run" / "report" / x).exists()] == []
    gone = row("good", 7.0, notebook="99_gone")
    assert ledger.made_by(gone, tmp_path) == "99_gone"  # no link to nowhere


# ---- the picture ---------------------------------------------------------------------------------------------------------------------


def texts(svg):
    root = ElementTree.fromstring(svg)
    return root, [(t, "".join(t.itertext())) for t in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("more", [[], [{"profile": "quick-half", "steps": 2}]])
def test_the_picture_is_xml_names_all_and_nothing_overflows(three, more):
    rows = [*made_up(steps=4), *(row("bad", 6.0, **half) for half in more)]
    wide = Statement("wide", "§9 & <x>", "W" * 90, "Says <b> & more.", "–", ("good",), "01_pinhole_depth")
    got = ledger.lines(rows, statements=(*STATEMENTS, wide))
    root, found = texts(show.svg(got))
    said = [s for _, s in found]
    for s in STATEMENTS:
        assert s.title in said
        assert any(t.text.startswith(s.says) for t in root.iter(f"{SVG}title"))
    width, height = float(root.get("width")), float(root.get("height"))
    assert width <= 830
    for t, s in found:
        size = show.TITLE if "title" in t.get("class") else show.SMALL
        long, x = len(s) * show.EM * size, float(t.get("x"))
        left = x - {"end": long, "middle": long / 2}.get(t.get("text-anchor"), 0)
        assert left >= 0, s
        assert left + long <= width, s
        assert 0 < float(t.get("y")) < height
        if x == show.TITLE_X:
            assert x + long <= show.GLYPH_X, s
    for mark in root.iter(f"{SVG}circle"):
        assert 0 <= float(mark.get("cx")) <= width
        assert 0 <= float(mark.get("cy")) <= height


def test_verdicts_differ_in_shape_and_in_colour_on_light_and_dark_pages(three):
    svg = show.svg(ledger.lines(made_up(), statements=STATEMENTS))
    shapes = {re.sub(r"[-\d.]+", "0", re.sub(r'class="[^"]*"|stroke-width="[^"]*"', "", show._shape(v, 9, 9))) for v in claims.VERDICTS}
    assert len(shapes) == 4
    assert "prefers-color-scheme: dark" in svg
    for colours in (show.LIGHT, show.DARK):
        assert len({colours[n] for n in show.NAMES}) == 4
        assert all(f"{{fill:{c}}}" in svg for c in colours.values())
        assert all(contrast(colours[n], colours["page"]) >= (4.5 if n in ("ink", "soft") else 3) for n in ("ink", "soft", *show.NAMES))
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")  # no fonts, no pictures from elsewhere
    fails = ElementTree.fromstring(svg).find(f"{SVG}g[@id='second']")
    assert fails.find(f"{SVG}path").get("class") == "s-fails"
    assert [c.get("class") for c in fails.iter(f"{SVG}circle")] == ["f-holds", "f-fails", "f-open"]


def contrast(a, b):
    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_sizes_in_units_of_thresholds():
    def of(value, threshold, direction=">", reference=float("nan")):
        effect = Effect(value, (value - 1, value + 1), reference=reference)
        return Verdict(Claim(f"c{value}", "§1", "s", None, threshold, direction), "holds", effect)

    without = [of(5.0, (4.0, 6.0), "within"), of(float("nan"), 1.0), of(2.0, 0.0)]
    times, percent = show.sizes([of(3.0, 2.0), of(-50.0, 0.0, "<", 200.0), *without])
    assert times == [("c3.0", 1.5, "holds", ">")]
    assert percent == [("c-50.0", -25.0, "holds", "<")]
    rows = [results.row("e", "m", v, method=m, per_scene=[v - 1, v + 1]) for m, v in (("a", 30.0), ("b", 40.0))]
    assert compared({"method": "a"}, {"method": "b"})(rows).reference == 40.0


# ---- files and where rows are found --------------------------------------------------------------------------------------------------


def test_rows_come_from_the_parameter_else_the_run_else_the_repository(three, tmp_path, monkeypatch):
    results.append(tmp_path / "run" / "a.jsonl", made_up())
    results.append(tmp_path / "run" / ".15_claims.x" / "rows.jsonl", [row("hidden", 1.0)])
    results.append(tmp_path / "mine" / "a.jsonl", made_up()[:1])
    monkeypatch.setenv("VP_LEDGER_ROWS", str(tmp_path / "run"))
    rows, folder = ledger.rows_at()
    assert (len(rows), folder) == (3, tmp_path / "run")  # not those in the hidden folder of a running notebook
    assert len(ledger.rows_at(str(tmp_path / "mine"))[0]) == 1
    with pytest.raises(InputError, match="no such folder of rows"):
        ledger.rows_at(str(tmp_path / "nowhere"))
    monkeypatch.delenv("VP_LEDGER_ROWS")
    assert ledger.rows_at()[1] == ROOT / "results" / "rows"
    monkeypatch.setattr(results, "ROOT", tmp_path)
    assert ledger.rows_at() == ([], tmp_path / "results" / "rows")


def test_report_writes_the_claims_beside_the_results_and_into_the_readme(three, tmp_path, monkeypatch):
    results.append(tmp_path / "results" / "rows" / "01_pinhole_depth.jsonl", made_up())
    start, end = ledger.BLOCK
    (tmp_path / "README.md").write_text(f"before\n{start}\nold\n{end}\nafter\n")
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(ledger, "README", tmp_path / "README.md")
    report.main(quiet=True)
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith(f"before\n{start}\n3 statements of the paper: 1 hold (1 of them computed, not sampled), 1 fail")
    assert readme.endswith(f"{end}\nafter\n")
    assert "\nold\n" not in readme
    assert "Failing: Second (§2; quick, virtual)" in readme
    assert [x for x in links(readme) if not (tmp_path / x).exists()] == []
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {"claims.md", "claims.svg", "results"}
    assert "(../claims.md)" in (tmp_path / "figures" / "results" / "README.md").read_text()
    report.main([str(tmp_path / "results")], str(tmp_path / "out"), quiet=True)
    assert (tmp_path / "README.md").read_text() == readme, "rows of one's own do not change the README"
    assert "(claims.md)" in (tmp_path / "out" / "README.md").read_text()
    (tmp_path / "README.md").write_text("no marks\n")
    report.main(quiet=True)
    assert (tmp_path / "README.md").read_text() == "no marks\n"
