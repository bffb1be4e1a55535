"""What notebooks 09 and 10 measure: variants, held-out scenes, rows and bins against naive versions and hand-made people."""

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_second_stage import TINY

from vp import metrics
from vp.errors import InputError
from vp.lab import claims, profiles, study
from vp.lab.evaluate import Answers, joined, score
from vp.lab.models import Trained
from vp.lab.second_stage import frames, world
from vp.nets.ren import ROOT
from vp.nets.v2v import V2V
from vp.nets.virtualpose import VirtualPose
from vp.world.agr import synthesise


@pytest.fixture(scope="module")
def scenes():
    return study.held_out("smoke", 0, 40, "cpu")


@pytest.fixture(scope="module")
def trained():
    model = VirtualPose(TINY, None, torch.Generator().manual_seed(0)).eval()
    part = {"steps": 3, "samples": 12, "seconds": 0.1, "device": "cpu"}
    facts = {"calibration": {"depth": 5000.0, "box": 1500.0, "stature": 1700.0}, "frame": "ahead", "training": {"DE": part, "all": part},
             "plan": {}, "poses": "procedural", "cameras": "universal"}  # fmt: skip
    return Trained(model, facts, Path("none"))


def people(z_errors, found=None, poses=False, joints=15):
    """`metrics.People`: scenes of people whose roots are too far by z_errors[scene][person] mm; found: likewise, default all."""
    views, g = [], np.random.default_rng(0)
    for s, errors in enumerate(z_errors):
        gt = g.normal(0, 200, (len(errors), joints, 3)) + [0, 0, 4000] + 1500 * np.arange(len(errors))[:, None, None] * [1, 0, 0]
        pred = np.full_like(gt, np.nan)
        pred[:, :] = gt if poses else np.nan
        pred[:, ROOT] = gt[:, ROOT] + np.array(errors)[:, None] * [0, 0, 1]
        there = np.ones(len(errors), bool) if found is None else np.array(found[s])
        px = gt[..., :2] / 4000 * 1000
        views.append(metrics.View(pred[there], gt, pred_px=px[there], gt_px=px))
    return metrics.evaluate(views, ROOT, lambda view, root: metrics.pair_root_px(view, root, 50.0))


# ---- variants and scenes ---------------------------------------------------------------------------------------------------------------


def test_variants_differ_in_one_thing():
    base, naive, camera, candidates = (asdict(study.course("quick", 3, v)) for v in study.VARIANTS)
    assert base == asdict(profiles.resolve("quick").course(3))
    assert {k for k in base if base[k] != naive[k]} == {"sizes"}
    assert {k for k in base["sizes"] if base["sizes"][k] != naive["sizes"][k]} == {"naive"}
    assert {k for k in base if base[k] != camera[k]} - {"windows"} == {"sizes", "frame"}
    assert {k for k in base["sizes"] if base["sizes"][k] != camera["sizes"][k]} == {"space_centre", "space_size", "space_bins"}
    assert {k for k in base if base[k] != candidates[k]} == {"pen_on"}
    assert (base["pen_on"], candidates["pen_on"]) == ("both", "candidates")
    assert study.course("paper", 3, "candidates") == study.course("paper", 3), "the published way to begin with"
    with pytest.raises(ValueError, match="no variant"):
        study.course("quick", 0, "moon")


@pytest.mark.parametrize("sizes", [profiles.SMALL, profiles.PAPER])
def test_the_cameras_space_is_as_large_and_as_fine_as_the_level_one(sizes):
    tilted = profiles.in_view(sizes)
    assert 1 <= np.prod(tilted.space_bins) / np.prod(sizes.space_bins) <= profiles.MORE_VOXELS
    assert max(tilted.grid.spacing) < 1.2 * max(sizes.grid.spacing)
    assert (tilted.space_centre[2], tilted.space_size[2]) == (sizes.space_centre[0], sizes.space_size[0]), "the same depths"
    net = V2V(1, 1, (2, 2, 2, 2), sizes.ren_kernel, sizes.ren_stride)
    assert all(n % net.multiple == 0 for n in tilted.space_bins)
    many = world().scenes(512, 5)
    _, t = synthesise(many, (64, 36), None, None, 15, None, 15)
    level, view = (
        float(grid.holds(frames(many.camera, kind).from_world(t.roots))[t.mask].float().mean())
        for grid, kind in ((sizes.grid, "ahead"), (tilted.grid, "camera"))
    )
    assert view > level - 0.01


def test_bins_by_hand():
    """A space of 6 x 8 x 2.4 m from 1 m on: far 7 m, so 8 x 4.2 x 6 m, 6144 voxels, at most 9216 of multiples of 8.

    24 x 16 x 24 has steps of 348, 280 and 261 mm; the other choices have a larger one.
    """
    sizes = replace(profiles.SMALL, space_centre=(4000.0, 0.0, 1000.0), space_size=(6000.0, 8000.0, 2400.0), space_bins=(24, 32, 8))
    tilted = profiles.in_view(sizes)
    assert tilted.space_bins == (24, 16, 24)
    assert tilted.space_size == pytest.approx((8000, 4200, 6000))
    assert tilted.space_centre == pytest.approx((0, -420, 4000))


def test_held_out_scenes_are_the_same_each_time(scenes):
    again, other = study.held_out("smoke", 0, 40, "cpu"), study.held_out("smoke", 1, 40, "cpu")
    assert [len(s) for s in scenes] == [32, 8]
    assert all(torch.equal(a.joints.nan_to_num(), b.joints.nan_to_num()) for a, b in zip(scenes, again))
    assert not torch.equal(scenes[0].camera.R, other[0].camera.R)
    assert not torch.equal(scenes[0].camera.R, world().scenes(32, study.STREAM).camera.R), "not the training world's"
    assert sum(map(len, study.held_out("smoke", device="cpu"))) == profiles.resolve("smoke").held_out


def test_groups_of_postures_hold_every_activity():
    named = [a for group in study.POSTURES.values() for a in group]
    assert len(named) == len(set(named))
    assert set(world(split="test").bank.activity) == set(named)


# ---- rows ------------------------------------------------------------------------------------------------------------------------------


def test_rows_are_of_the_people_found_by_all(trained):
    """By hand: DE errs by 100, 300, -200 | 400; REN by 50, -, 60 | 10 and misses the second person."""
    de = people([[100, 300, -200], [400]])
    ren = people([[50, 999, 60], [10]], [[True, False, True], [True]], poses=True)
    floor = people([[1, 1, 1], [1]])
    rows = study.rows({"DE": de, "REN+PEN": ren, "voxel floor": floor}, "x", trained, notebook="n", profile="smoke", seed=0)
    at = {(r["method"], r["metric"]): r for r in rows}
    assert at["DE", "mrpe_z"]["value"] == pytest.approx((100 + 200 + 400) / 3)
    assert at["DE", "mrpe_z"]["per_scene"] == pytest.approx([100, 200, 400])
    assert at["DE", "mrpe_z"]["clusters"] == ["0", "0", "1"] == at["REN+PEN", "mrpe_z"]["clusters"]
    assert at["REN+PEN", "mrpe"]["value"] == pytest.approx(40)
    assert at["REN+PEN", "mpjpe"]["value"] == pytest.approx(40 / 15)
    assert {m for m, metric in at if metric == "mpjpe"} == {"REN+PEN"}, "the others know no joints"
    assert {k: at[k, "recall"]["value"] for k in ("DE", "REN+PEN")} == {"DE": 1.0, "REN+PEN": 0.75}
    assert at["REN+PEN", "recall"]["n"] == 4
    assert at["DE", "mrpe_z"]["steps"] == 6
    assert at["DE", "mrpe_z"]["samples_seen"] == 24
    assert at["voxel floor", "mrpe_z"]["steps"] is None
    assert at["DE", "mrpe_z"]["lo"] <= 700 / 3 <= at["DE", "mrpe_z"]["hi"]


def test_rows_of_nobody():
    nobody = people([[100, 200]], [[False, False]])
    at = {r["metric"]: r for r in study.rows({"REN": nobody}, "x")}
    assert math.isnan(at["mrpe_z"]["value"])
    assert at["mrpe_z"]["n"] == 0
    assert at["recall"]["value"] == 0


def test_common_people():
    a, b = people([[1, 2, 3]], [[True, True, False]]), people([[1, 2, 3]], [[False, True, True]])
    assert study.common({"REN": a}, {"REN": b}).tolist() == [False, True, False]
    assert study.common({"REN": a}, {"REN": a, "box size": b}).tolist() == [True, True, False], "reference levels do not count"
    with pytest.raises(ValueError, match="same people"):
        study.common({"REN": a}, {"REN": people([[1, 2]])})


def test_claims_are_judged_on_these_rows():
    rng = np.random.default_rng(1)
    base = [list(rng.normal(0, 100, 2)) for _ in range(40)]
    worse = people([[x + math.copysign(150, x) for x in scene] for scene in base])
    better = people(base, poses=True)
    methods = ("DE", "box size", "REN", "REN (voxels)")
    ids = ("ren-de", "ren-de-subvoxel", "ren-box", "depth-based", "ground-plane")
    about = {"seed": 0, "profile": "quick"}
    for order, verdict in (((worse, worse, better), "holds"), ((better, better, worse), "fails"), ((worse, worse, worse), "fails")):
        rows = study.rows(dict(zip(methods, (*order, order[2]))), "root estimation", **about)
        for name, side in (("depth-based", order[2]), ("naive", order[0])):
            rows += study.rows({"REN+PEN": side}, "projection", train=name, **about)
        for name, side in (("world-aligned", order[2]), ("camera-aligned", order[0])):
            rows += study.rows({"REN": side}, "alignment", train=name, **about)
        got = {i: claims.judge(claims.ALL[i], rows).verdict for i in ids}
        assert set(got.values()) == {verdict}, got
    rows = study.rows(dict(zip(methods, (worse, worse, better, worse))), "root estimation", **about)
    got = [claims.judge(claims.ALL[i], rows).verdict for i in ids[:2]]
    assert got == ["fails", "holds"], "the paper's REN is that of the voxels"


def test_which_is_best_and_by_how_much():
    rng = np.random.default_rng(2)
    base = [list(rng.uniform(100, 200, 2)) for _ in range(40)]
    less, same = ([[x - d + e for x, e in zip(scene, rng.normal(0, 5, 2))] for scene in base] for d in (50, 0.5))
    rows = study.rows({"REN (voxels)": people(base), "REN": people(less), "REN+PEN": people(same)}, "poses", seed=0)
    at = {r["method"]: r["value"] for r in rows if r["metric"] == "mrpe_z"}
    said = study.ranked(rows, ("REN (voxels)", "REN", "REN+PEN"), experiment="poses")
    assert said.startswith(f"Lowest MRPE_z: REN, {at['REN']:.4g} mm; against ")
    assert f"against REN+PEN {at['REN'] - at['REN+PEN']:.4g} [" in said
    assert said.count("(shown)") == 2
    said = study.ranked(rows, ("REN (voxels)", "REN+PEN"), experiment="poses")
    assert "mm (not shown: zero is within)." in said
    assert study.ranked(rows, ("DE", "REN"), experiment="poses").startswith("Not known")
    effects = [claims.compared({"method": "REN"}, {"method": m}, experiment="poses", metric="mrpe_z")(rows) for m in ("REN+PEN", "REN")]
    assert [study.side(e) for e in (effects[0], replace(effects[0], interval=(1, 2)), effects[1], None)] == [-1, 1, 0, 0]


def test_table_shows_the_paper_beside():
    rows = study.rows({"DE": people([[100], [300]]), "REN": people([[50], [70]])}, "x")
    text = study.table(rows, [("MuPoTS", {"DE": 245.4})])
    line = next(x for x in text.splitlines() if x.startswith("| DE"))
    assert [c.strip() for c in line.strip("|").split("|")][1:] == ["200 [100, 300]", "200", "1.000", "245.4"]
    assert "2 people" in text


def test_the_papers_ren_stands_beside_the_voxels():
    """Table 4 (b): 93.6 mm on Panoptic, 165.0 on MuPoTS; what is read between the voxels has no number in the paper."""
    assert study.printed("Panoptic") == {"DE": 104.1, "REN (voxels)": 93.6, "REN+PEN": 86.0}
    assert study.printed("MuPoTS")["REN (voxels)"] == 165.0
    assert study.printed("MuPoTS", "projection") == {"depth-based": 159.8, "naive": 210.5}
    rows = study.rows({"REN (voxels)": people([[100], [300]]), "REN": people([[50], [70]])}, "x")
    lines = study.table(rows, [("Panoptic", study.printed("Panoptic"))]).splitlines()[2:4]
    assert [(x.split("|")[1].strip(), x.split("|")[-2].strip()) for x in lines] == [("REN (voxels)", "93.6"), ("REN", "–")]


# ---- where errors come from ------------------------------------------------------------------------------------------------------------


def oracle(scenes):
    """People of a method that is right about everybody."""
    out = []
    for s in scenes:
        joints = s.camera.to_camera(s.joints[:, :, :15].flatten(1, 2)).unflatten(1, (-1, 15))
        counts = synthesise(s, (56, 32), None, None, 15, None, 16)[1].mask
        out.append(score(Answers(joints, torch.ones(s.mask.shape), s.mask), s, counts))
    return joined(out)


def test_facts_belong_to_their_people(scenes):
    p = oracle(scenes)
    about = study.facts(scenes, {"x": p})
    assert len(about.depth) == len(p.view) > 50
    for k in (0, 7, len(p.view) - 1):
        block, i = divmod(int(p.view[k]), study.BLOCK)
        s = scenes[block]
        slot = s.mask[i].nonzero()[int(p.person[k]), 0]
        camera = s.camera[i]
        assert about.depth[k] == pytest.approx(float(camera.to_camera(s.joints[i, slot, ROOT].double()[None])[0, 2]), abs=0.1)
        assert about.pitch[k] == pytest.approx(math.degrees(float(camera.pitch)), abs=1e-6)
        assert s.activity[i][slot] in study.POSTURES[about.posture[k]]


def test_bins_are_the_naive_means(scenes):
    p = oracle(scenes)
    rng = np.random.default_rng(0)
    p.root[:, 2] = rng.normal(0, 100, len(p.view))
    about = study.facts(scenes, {"x": p})
    among = rng.random(len(p.view)) < 0.8
    cuts = {
        "depth": (study.by_depth({"x": p}, about, (2000, 4000, 6000), among), about.depth, [(2000, 4000), (4000, 6000)]),
        "pitch": (study.by_pitch({"x": p}, about, (-10, 20, 55), among), about.pitch, [(-10, 20), (20, 55)]),
    }
    for lines, values, bounds in cuts.values():
        for line, (low, high) in zip(lines, bounds, strict=True):
            here = [abs(z) for z, v, a in zip(p.root[:, 2], values, among) if a and low <= v < high]
            assert line["n"] == len(here) > 5
            assert line["value"] == pytest.approx(sum(here) / len(here))
            assert line["lo"] < line["value"] < line["hi"]
    assert [x["bin"] for x in cuts["depth"][0]] == ["2 to 4 m", "4 to 6 m"]
    postures = {x["bin"]: x["n"] for x in study.by_posture({"x": p}, about)}
    counts = {g: int((about.posture == g).sum()) for g in study.POSTURES}
    assert postures == {g: n for g, n in counts.items() if n >= study.LEAST}
    assert len(postures) > 1
    metres = {f"{m} to {m + 1} m": int((about.depth // 1000 == m).sum()) for m in range(20)}
    assert {x["bin"]: x["n"] for x in study.by_depth({"x": p}, about)} == {b: n for b, n in metres.items() if n >= study.LEAST}
    assert study.by_depth({"x": p}, about, (90_000, 91_000)) == []
    assert [r["test"] for r in study.bin_rows(cuts["pitch"][0], "x")] == ["-10 to 20°", "20 to 55°"]


def test_bins_of_fewer_than_ten_people_are_left_out():
    p = people([[100.0 * i, -50.0] for i in range(12)])  # 24 people
    groups = np.array([0] * 9 + [1] * 10 + [2] * 5)
    assert [(x["bin"], x["n"]) for x in study.binned({"x": p}, ["nine", "ten", "five"], groups)] == [("ten", 10)]
    among = np.arange(24) != 12
    assert study.binned({"x": p}, ["nine", "ten", "five"], groups, among) == [], "counted among those that are asked for"


# ---- wrong cameras ---------------------------------------------------------------------------------------------------------------------


def test_a_wrong_camera_is_wrong_by_what_was_asked(scenes):
    s = scenes[0]
    told = study.wrong(2.0, 50.0)(s, torch.Generator().manual_seed(0))
    angle = torch.rad2deg(torch.acos((told.R[:, 2] * s.camera.R[:, 2]).sum(-1).clamp(-1, 1)))
    assert torch.allclose(angle, torch.full_like(angle, 2.0), atol=1e-4)
    rise = (told.centre - s.camera.centre)[:, 2]
    assert set(rise.round().tolist()) == {50.0, -50.0}
    turned = told.pitch_deg - s.camera.pitch_deg
    assert (turned > 1.9).any()
    assert (turned < -1.9).any()


def test_who_knows_no_ground_does_not_suffer(scenes, trained):
    """The DE is not told the camera's place; in the camera's own frame, every stated camera stands at the origin and looks along Z."""
    curve, among = study.camera_error_curve(trained, scenes[:1], (0, 3), (100,), points=("DE",))
    assert list(curve) == [(0.0, 0.0), (3.0, 0.0), (0.0, 100.0)]
    exact, *others = (p["DE"].root for p in curve.values())
    assert among.sum() > 10
    for other in others:
        assert np.allclose(other[among], exact[among], atol=0.5)
    told = study.wrong(3.0, 100.0)(scenes[0], torch.Generator().manual_seed(0))
    inside = frames(told, "camera").camera(told)
    assert torch.allclose(inside.R, torch.eye(3, dtype=inside.R.dtype).expand_as(inside.R), atol=1e-9)
    assert torch.allclose(inside.t, torch.zeros_like(inside.t), atol=1e-6)
    rows = study.curve_rows(curve, among, seed=0)
    assert [r["test"] for r in rows if r["metric"] == "mrpe_z"] == ["exact", "pitch 3° wrong", "height 100 mm wrong"]


def test_growth_of_a_difference_by_hand():
    """Two scenes: a − b is 10, 30 | 20 when exact and 60, 40 | 90 at 4°: it grows by 50, 10 | 70, in the mean 130 / 3."""
    exact, wrong = study.stated_as(), study.stated_as(4.0)
    errors = {
        ("a", exact): [[110, 130], [120]],
        ("a", wrong): [[160, 240], [390]],
        ("b", exact): [[100, 100], [100]],
        ("b", wrong): [[100, 200], [300]],
    }
    among, rows = np.ones(3, bool), []
    for (name, test), z in errors.items():
        curve = {(4.0 if test == wrong else 0.0, 0.0): {"REN": people(z)}}
        rows += study.curve_rows(curve, among, train=name, seed=0)
    got = study.growth(rows, {"train": "a"}, {"train": "b"}, wrong, method="REN", metric="mrpe_z")
    assert got.value == pytest.approx(130 / 3)
    assert got.interval == pytest.approx((30, 70)), "of scenes: 50 and 10 together, or 70"
    assert study.growth(rows, {"train": "a"}, {"train": "c"}, wrong, method="REN", metric="mrpe_z") is None
    other = study.curve_rows({(4.0, 0.0): {"REN": people([[1], [1], [1]])}}, among, train="c", seed=0)
    other += study.curve_rows({(0.0, 0.0): {"REN": people([[1], [1], [1]])}}, among, train="c", seed=0)
    with pytest.raises(InputError, match="same scenes"):
        study.growth(rows + other, {"train": "a"}, {"train": "c"}, wrong, method="REN", metric="mrpe_z")


def test_errors_of_a_space_along_the_camera_have_no_levels(scenes, trained):
    tilted = Trained(VirtualPose(profiles.in_view(TINY)).eval(), {**trained.facts, "frame": "camera"}, Path("none"))
    assert set(study.errors(tilted, scenes[1:])) == set(study.POINTS)
    assert set(study.errors(trained, scenes[1:])) == {*study.POINTS, *study.LEVELS}


def test_break_even():
    assert study.break_even((0, 1, 2), (1.0, 2.0, 4.0), 3.0) == 1.5
    assert study.break_even((0, 1, 2), (1.0, 2.0, 4.0), 0.5) == 0
    assert study.break_even((0, 1, 2), (1.0, 2.0, 4.0), 4.0) is None
    assert study.break_even((0, 1, 2), (1.0, math.nan, 4.0), 3.0) is None
