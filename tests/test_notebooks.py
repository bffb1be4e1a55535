"""Every committed notebook: structure, size, freshness.  Their execution is tested by `make test` (papermill at smoke, nbval)."""

import ast
import json
import re
from pathlib import Path

import pytest

from vp.lab import notebooks

NAMES = notebooks.names()
SHORT = ("essence",)  # code to read, nothing to solve: no exercises, claims and summary


def load(name):
    return json.loads((notebooks.FOLDER / f"{name}.ipynb").read_text())


def source(cell):
    return "".join(cell["source"])


def test_there_are_notebooks_and_the_readme_lists_each():
    assert len(NAMES) >= 3
    readme = (notebooks.ROOT / "README.md").read_text()
    assert [n for n in NAMES if f"notebooks/{n}.ipynb" not in readme] == []


@pytest.mark.parametrize("name", NAMES)
class TestNotebook:
    def test_structure(self, name):
        cells = load(name)["cells"]
        code = [c for c in cells if c["cell_type"] == "code"]
        prose = "\n".join(source(c) for c in cells if c["cell_type"] == "markdown")
        assert 15 <= len(cells) <= 60, len(cells)
        assert cells[0]["cell_type"] == "markdown"
        for words in ("**Question.**", "**Paper anchor.**", "**You will**", "minutes"):
            assert words in source(cells[0]), f"the first cell lacks {words}"
        for heading in () if name in SHORT else ("Exercise", "Claims", "Summary"):
            assert re.search(rf"^## .*{heading}", prose, re.MULTILINE), f"no section {heading}"
        long = [i for i, c in enumerate(code) if len(source(c).splitlines()) > 25]
        assert not long, f"code cells over 25 lines: {long}"

    def test_parameters_are_typed_literals_with_a_comment(self, name):
        tagged = [c for c in load(name)["cells"] if "parameters" in c["metadata"].get("tags", [])]
        assert len(tagged) == 1
        lines = source(tagged[0]).splitlines()
        nodes = ast.parse(source(tagged[0])).body
        assert len(nodes) == len(lines) == len(notebooks.parameters(notebooks.FOLDER / f"{name}.ipynb"))
        for node, line in zip(nodes, lines, strict=True):
            assert isinstance(node, ast.AnnAssign), line
            assert type(ast.literal_eval(node.value)).__name__ == node.annotation.id, line
            assert re.search(r"  # \S.{8,}", line), f"no comment with unit or source: {line}"

    def test_committed_executed_small_and_clean(self, name):
        path, nb = notebooks.FOLDER / f"{name}.ipynb", load(name)
        assert path.stat().st_size < 300_000, path.stat().st_size
        assert "widgets" not in nb["metadata"]
        code = [c for c in nb["cells"] if c["cell_type"] == "code"]
        assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1)), "not executed from top to bottom"
        for c in code:
            for o in c["outputs"]:
                assert o["output_type"] != "error", source(c)
                assert o.get("name") != "stderr", o["text"]
                if "image/png" in o.get("data", {}):
                    assert len("".join(o["data"].get("text/plain", ""))) > 40, f"a picture without a description: {source(c)[:80]}"
                    assert "<Figure" not in "".join(o["data"]["text/plain"])
        text = path.read_text()
        assert not re.search(r"(/home/|/root/|/Users/|/tmp/|C:\\\\)", text), "a path of the machine that made it"
        assert any("image/png" in o.get("data", {}) for c in code for o in c["outputs"])

    def test_what_it_reads_of_others_is_known(self, name):
        """All rows, those of other seeds, or none."""
        text = (notebooks.FOLDER / f"{name}.ipynb").read_text()
        reads = "generalization.by_seed" in text or "g.by_seed" in text or '"rows_root' in text
        assert bool(notebooks.read_hash(name)) == reads
        assert reads == (name in ("05_backgrounds", "06_human_poses", "15_claims"))

    def test_up_to_date(self, name):
        assert notebooks.stale(name) == "", f"{name} is stale ({notebooks.stale(name)}): run `make notebooks`"

    def test_links_lead_somewhere(self, name):
        for target in re.findall(r"\]\(([^)#]+)\)", "\n".join(source(c) for c in load(name)["cells"] if c["cell_type"] == "markdown")):
            assert target.startswith("http") or (notebooks.FOLDER / target).exists(), target


def test_the_map_of_notebook_00_leads_to_all_others():
    linked = re.findall(r"\]\((\w+)\.ipynb\)", "\n".join(source(c) for c in load("00_start_here")["cells"]))
    assert sorted({"00_start_here", *linked}) == NAMES


def test_stale_sees_each_kind_of_change(tmp_path, monkeypatch):
    name = NAMES[0]
    nb = load(name)
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    target = tmp_path / f"{name}.ipynb"
    target.write_text(json.dumps(nb))
    assert notebooks.stale(name) == ""
    nb["cells"][1]["outputs"] = []
    target.write_text(json.dumps(nb))
    assert notebooks.stale(name) == "", "outputs are not source"
    nb["cells"][0]["source"] = ["# changed"]
    target.write_text(json.dumps(nb))
    assert notebooks.stale(name) == "its source changed"
    nb["metadata"].pop("vp")
    target.write_text(json.dumps(nb))
    assert notebooks.stale(name) == "never executed"
    nb["metadata"]["vp"] = {"source": notebooks.source_hash(nb), "rows": "other"}
    target.write_text(json.dumps(nb))
    assert notebooks.stale(name) == "its rows changed"


def test_rows_hash_ignores_provenance(tmp_path):
    a, b, c = (tmp_path / x for x in "abc")
    a.write_text(json.dumps({"metric": "m", "value": 1.0, "seconds": 3.0, "git": "x"}) + "\n")
    b.write_text(json.dumps({"metric": "m", "value": 1.0, "seconds": 4.0, "git": "y"}) + "\n")
    c.write_text(json.dumps({"metric": "m", "value": 2.0, "seconds": 3.0, "git": "x"}) + "\n")
    assert notebooks.rows_hash(a) == notebooks.rows_hash(b) != notebooks.rows_hash(c)
    assert notebooks.rows_hash(Path("absent")) == ""
