"""The card of the shipped weights: written from measurements, and the shipped file is what it says."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_second_stage import COURSE, TINY

from vp.lab import backbone, card, models
from vp.lab.profiles import PROFILES
from vp.lab.second_stage import Batches, world
from vp.world.agr import DETECTOR

WEIGHTS = Path(models.SHIPPED).parent


def test_the_card_says_what_was_measured(tmp_path, monkeypatch):
    path = tmp_path / "tiny.safetensors"
    models.make(COURSE, Batches(world(), TINY), path, facts={"profile": "tiny", "seed": 0}, label=None)
    monkeypatch.setattr(card, "TWINS", ("virtual",))
    monkeypatch.setattr(card, "KINDS", {"clean": None, "detector noise": DETECTOR})
    monkeypatch.setattr(card, "seconds_per_scene", lambda trained: 0.125)
    assert card.main(["--weights", str(path), "--backbone", str(tmp_path / "none"), "--scenes", "4"]) == 0
    text = (tmp_path / "README.md").read_text()
    assert "2D network" not in text
    lines = [line for line in text.splitlines() if line.startswith("| virtual")]
    assert len(lines) == 2
    assert all(line.count("|") == 12 for line in lines)
    assert "vp train --profile tiny" in text
    assert card.said(card.digests(path)) in text
    assert "0.12 s on 2 threads" in text


def test_the_card_of_the_whole_chain(tmp_path, monkeypatch):
    path, eyes = tmp_path / "tiny.safetensors", tmp_path / "eyes.safetensors"
    course = replace(COURSE, sizes=replace(COURSE.sizes, map=(56, 32)))
    models.make(course, replace(Batches(world(), TINY), sizes=course.sizes), path, facts={"profile": "tiny", "seed": 0}, label=None)
    two_d = replace(PROFILES["smoke"].backbone, plan=replace(PROFILES["smoke"].backbone.plan, steps=1))
    backbone.make(two_d, lambda: backbone.sets(two_d), eyes, half=True, profile="smoke")
    monkeypatch.setattr(card, "TWINS", ("virtual", "mupots"))
    stage = {"lines": ["| a | b | 1 | 2 | 3 | 4 |"], "scenes": 7, "seconds": 1.5, "where": "here", "weights": card.digests(path)}
    (tmp_path / "card.json").write_text(json.dumps({"stage": stage}))
    assert card.main(["--weights", str(path), "--backbone", str(eyes), "--only", "chain", "--scenes", "6"]) == 0
    text = (tmp_path / "README.md").read_text()
    assert "| a | b | 1 | 2 | 3 | 4 |" in text  # what was measured before stays
    assert "at most 7 scenes" in text
    assert "at most 6 scenes" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| mupots twin")]
    assert line.count("|") == 13
    assert "--net 2d --profile smoke" in text
    assert "convolutions in 16 bits" in text
    known = json.loads((tmp_path / "card.json").read_text())
    assert known["chain"]["lines"] == [line]
    assert known["chain"]["weights"] == card.digests(path, eyes)


def test_a_part_measured_with_other_weights_is_not_kept(tmp_path, monkeypatch, capsys):
    """`--only` keeps what these weights gave, and says so before it measures."""
    monkeypatch.setattr(card, "rows", lambda *a: pytest.fail("measured"))
    monkeypatch.setattr(card, "chain_rows", lambda *a: pytest.fail("measured"))
    path = tmp_path / models.SHIPPED.name
    path.write_bytes(models.SHIPPED.read_bytes())
    for stage in ({"weights": {path.name: "0" * 16}}, {}):
        (tmp_path / "card.json").write_text(json.dumps({"stage": stage}))
        with pytest.raises(SystemExit):
            card.main(["--weights", str(path), "--only", "chain"])
        assert "no stage measured with these weights" in capsys.readouterr().err


def test_half_precision_changes_little(tmp_path):
    net = backbone.Backbone(PROFILES["smoke"].backbone.shape, torch.Generator().manual_seed(0)).eval()
    x = torch.rand(1, 3, *net.shape.picture[::-1], generator=torch.Generator().manual_seed(1))
    for name, half in (("a", False), ("b", True)):
        backbone.save(tmp_path / name, net, {}, half)
    a, b = (backbone.load(tmp_path / name).backbone(x)["heatmap"] for name in "ab")
    assert (tmp_path / "b").stat().st_size < 0.55 * (tmp_path / "a").stat().st_size
    assert b.dtype == torch.float32
    assert 0 < (a - b).abs().max() < 0.02 * a.abs().max()


def test_shipped_weights():
    """Under 20 MB in total, loads, and one scene of three people in under 2 s."""
    assert sum(p.stat().st_size for p in WEIGHTS.iterdir()) < 20e6
    trained = models.load()
    assert trained.facts["profile"] == "compact"
    threads = torch.get_num_threads()
    try:
        assert min(card.seconds_per_scene(trained) for _ in range(3)) < 2.0  # others may want the cores, too
    finally:
        torch.set_num_threads(threads)


def test_the_committed_card_has_every_twin():
    text = (WEIGHTS / "README.md").read_text()
    for name in ("virtual test world", "panoptic twin", "muco twin", "mupots twin", "coco twin"):
        assert len(re.findall(rf"^\| {name}.*\| (?:clean|published noise|the same without head top|detector noise) \|", text, re.M)) == 4, (
            name
        )


def test_the_committed_card_is_of_the_committed_weights():
    known, trained, eyes = json.loads((WEIGHTS / "card.json").read_text()), models.load(), backbone.load()
    assert known["stage"]["weights"] == card.digests(models.SHIPPED)
    assert known["chain"]["weights"] == card.digests(models.SHIPPED, backbone.SHIPPED)
    assert (WEIGHTS / "README.md").read_text() == card.card(trained, eyes, known)
