"""Notebook 08: scores picture by picture, parts of an AGR exchanged for the truth, claims that find their rows."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_backbone import net
from test_backbone_pictures import labelled
from test_two_d import QUICK, SIZE, Perfect, numbered, people

from vp.lab import claims, evaluate, models, results, two_d
from vp.lab import images_to_agr as chain
from vp.lab.datasets import load
from vp.lab.profiles import COMPACT_2D
from vp.lab.statements_images import IMAGES
from vp.nets.ren import ROOT
from vp.world.agr import synthesise


def uneven():
    """Three pictures: two people, nobody whose root is in it, one person without a wrist."""
    two, none, one = people((60.0, 60.0), (150.0, 62.0)), people((-90.0, 60.0)), people((100.0, 64.0), seed=1)
    uv = torch.cat([two, *(torch.cat([x, torch.zeros_like(x)], 1) for x in (none, one))])
    p = labelled(uv, SIZE)
    p.present[1:, 1] = False
    p.present[2, 0, 8] = False
    return numbered(p)


def test_pictures_add_up_to_the_whole():
    p = uneven()
    eyes = Perfect(p)
    eyes.truth[0][2, 4:7] = 0  # some joints of the last picture are not found
    right, asked = chain.by_picture(eyes, p, block=2)
    whole = two_d.report(eyes, p)
    assert asked.tolist() == [28, 0, 13]
    assert right.tolist() == [28, 0, pytest.approx(10)]
    assert right.sum() / asked.sum() == pytest.approx(whole["pckh"]["all"])
    rows = chain.rows_2d(whole, "2D network", (right, asked), notebook="08", profile="smoke", seed=0, test="mupots")
    (r,) = [r for r in rows if r["metric"] == "pckh"]
    assert np.mean(r["per_scene"]) == pytest.approx(r["value"])
    assert r["lo"] < r["value"] < r["hi"]
    assert r["n"] == 41
    at = {r["metric"]: r["value"] for r in rows}
    assert at["pckh, wrists"] == whole["pckh"]["wrists"]
    assert at["root_recall"] == 1.0


def test_only_some_pictures():
    p = uneven()
    q = chain.only(p, torch.tensor([2, 0]))
    assert len(q) == 2
    assert torch.equal(q.uv, p.uv[[2, 0]])
    assert torch.equal(q.image, p.image[[2, 0]])
    p.image = ["a", "b", "c"]
    assert chain.only(p, torch.tensor([2, 0])).image == ["c", "a"]


@pytest.mark.parametrize("parts", [(), ("roots",), ("joints",), ("boxes",), ("roots", "joints", "boxes")])
def test_what_is_exchanged_is_true_and_the_rest_is_the_images(parts):
    scenes, image = load("mupots", "test").scenes(2, 0), torch.rand(2, 3, SIZE[1], SIZE[0])
    eyes = net(QUICK)
    said, boxes = eyes.agr(image)
    true, _ = synthesise(scenes, QUICK.map, None, None, 15, None, 16)
    heatmaps, box_map = chain.Partly(eyes, [scenes], parts, 16).agr(image)
    others = [j for j in range(15) if j != ROOT]
    assert torch.equal(heatmaps[:, ROOT], (true.heatmaps if "roots" in parts else said)[:, ROOT])
    assert torch.equal(heatmaps[:, others], (true.heatmaps if "joints" in parts else said)[:, others])
    assert torch.equal(box_map, true.box_map if "boxes" in parts else boxes)


def test_all_parts_exchanged_is_the_arm_of_ground_truth():
    """Whatever the network says, to the last bit; and the same people (the shipped second stage)."""
    trained, data, eyes = models.load(), load("mupots", "test"), net(COMPACT_2D.shape)
    parts = {"all true": ("roots", "joints", "boxes"), "nothing": ()}
    out = chain.exchanged(trained, eyes, data, 5, parts=parts, block=3)
    blocks = [data.scenes(3, 0), data.scenes(2, 0, start=3)]
    wanted, _ = evaluate.measure(trained.model, blocks, evaluate.Calibration(**trained.facts["calibration"]), published=False)
    for method, people_ in wanted.items():
        mine = out["all true"][method]
        assert np.array_equal(people_.view, mine.view)
        assert np.array_equal(people_.errors, mine.errors, equal_nan=True), method
    assert not np.array_equal(wanted["DE"].root, out["nothing"]["DE"].root, equal_nan=True)
    assert len(out["nothing"]["DE"].view) == len(wanted["DE"].view)


def test_share_found():
    root = np.array([[0, 0, 100.0], [900, 0, -400.0], [0, 0, 700.0], [np.nan] * 3])
    p = SimpleNamespace(found=np.array([True, True, True, False]), root=root)
    assert chain.share_found({"REN+PEN": p}) == (0.75, 0.5)


def made(experiment, metric, value, spread=0.1, **columns):
    """A row with ten scenes about a value."""
    kept = (value + spread * np.linspace(-1, 1, 10)).tolist()
    about = {"notebook": "08", "profile": "smoke", "seed": 0, "n": 10, "per_scene": kept, "clusters": list("0123456789")}
    return results.row(experiment, metric, float(np.mean(kept)), "mm", **about, **columns)


def test_every_claim_finds_its_rows_and_can_fail():
    def judged(pckh, image, noisy, clean, box, mean):
        rows = [made("2d", "pckh", pckh, 0.01, method="2D network", test=t) for t in chain.TWINS]
        rows += [made("2d", "pckh", 0.9, 0.01, method="ceiling", test=t) for t in chain.TWINS]
        for t in chain.TWINS:
            for train, value in (("image", image), ("ground truth, noisy", noisy), ("ground truth", clean)):
                levels = (("REN+PEN", value), ("box size", box), ("mean depth", mean))
                rows += [made("chain", "mrpe_z", v, method=m, train=f"AGR: {train}", test=t) for m, v in levels]
        return {k: claims.judge(c, rows).verdict for k, c in IMAGES.items()}

    assert set(judged(0.7, 300.0, 200.0, 100.0, 900.0, 1000.0).values()) == {"holds"}
    assert set(judged(0.2, 90.0, 40.0, 100.0, 80.0, 70.0).values()) == {"fails"}
    assert {claims.judge(c, []).verdict for c in IMAGES.values()} == {"not run"}
