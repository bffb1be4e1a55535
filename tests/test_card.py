"""The card of the shipped weights: written from measurements, and the shipped file is what it says."""

import re
from pathlib import Path

import torch
from test_second_stage import COURSE, TINY

from vp.lab import card, models
from vp.lab.second_stage import Batches, world
from vp.world.agr import DETECTOR

WEIGHTS = Path(models.SHIPPED).parent


def test_the_card_says_what_was_measured(tmp_path, monkeypatch):
    path = tmp_path / "tiny.safetensors"
    models.make(COURSE, Batches(world(), TINY), path, facts={"profile": "tiny", "seed": 0}, label=None)
    monkeypatch.setattr(card, "TWINS", ("virtual",))
    monkeypatch.setattr(card, "KINDS", {"clean": None, "detector noise": DETECTOR})
    monkeypatch.setattr(card, "seconds_per_scene", lambda trained: 0.125)
    assert card.main(["--weights", str(path), "--scenes", "4"]) == 0
    text = (tmp_path / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| virtual")]
    assert len(lines) == 2
    assert all(line.count("|") == 12 for line in lines)
    assert "vp train --profile tiny" in text
    assert "0.12 s on 2 threads" in text


def test_shipped_weights():
    """Under 20 MB in total, loads, and one scene of three people in under 2 s."""
    assert sum(p.stat().st_size for p in WEIGHTS.iterdir()) < 20e6
    trained = models.load()
    assert trained.facts["profile"] == "compact"
    threads = torch.get_num_threads()
    try:
        assert card.seconds_per_scene(trained) < 2.0
    finally:
        torch.set_num_threads(threads)


def test_the_committed_card_has_every_twin():
    text = (WEIGHTS / "README.md").read_text()
    for name in ("virtual test world", "panoptic twin", "muco twin", "mupots twin", "coco twin"):
        assert len(re.findall(rf"^\| {name}.*\| (?:clean|published noise|the same without head top|detector noise) \|", text, re.M)) == 4, (
            name
        )
