"""Notebook 11: the arms and their budgets, the DE that is told the camera, sweeps, rows of made-up measurements."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from conftest import close, grids_of_make

from vp.camera import Camera
from vp.errors import InputError
from vp.lab import ablation_rows, ablations, claims, results, study
from vp.lab.profiles import PROFILES
from vp.lab.second_stage import world
from vp.lab.statements_ablations import ABLATIONS
from vp.lab.sweep import MISSING, Repeated, Sweep
from vp.lab.train import Plan
from vp.nets.floor import MOST, UNIT, FloorDE, floor_rays
from vp.show import ablations as show
from vp.space import Frame
from vp.world.agr import synthesise

QUICK = PROFILES["quick"]


# ---- the DE that is told the camera --------------------------------------------------------------------------------------------------


def test_floor_rays_are_the_depths_of_the_floor():
    cameras = [Camera.from_angles(math.radians(p), 0.3, math.radians(r), (100.0, 50.0, h), 1400.0, (1920, 1080))
               for p, r, h in ((15.0, 0.0, 1500.0), (-5.0, 3.0, 900.0), (50.0, -4.0, 2500.0))]  # fmt: skip
    batch = Camera(*(torch.stack([getattr(c, k) for c in cameras]) for k in ("R", "t", "f", "c")), (1920, 1080))
    out = floor_rays(batch, (48, 27))
    assert out.shape == (3, 2, 27, 48)
    for b, camera in enumerate(cameras):
        small = camera.fit(48, 27)
        for v in range(0, 27, 5):
            for u in range(0, 48, 7):
                hit, ok = small.on_floor(torch.tensor([[float(u), float(v)]], dtype=torch.float64))
                expected = min(MOST, UNIT / float(small.to_camera(hit)[0, 2])) if ok else 0.0
                assert float(out[b, 0, v, u]) == pytest.approx(expected, abs=1e-6)
                _, d, _ = small.rays(torch.tensor([[float(u), float(v)]], dtype=torch.float64))
                assert float(out[b, 1, v, u]) == pytest.approx(float(d[0, 2]), abs=1e-9)
    assert (out[0, 0] > 0).any()
    assert (out[1, 0] == 0).any()


def test_the_told_network_sees_heatmaps_and_camera():
    de = FloorDE(8, 8, 5.0, init_std=None, generator=torch.Generator().manual_seed(0)).eval()
    scenes = world(split="test").scenes(2, 0)
    level = Frame.ahead(scenes.camera).camera(scenes.camera).to(torch.float32)
    maps = torch.rand(2, 15, 16, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        a = de(maps, level)
        assert a.shape == (2, 16, 24)
        assert not torch.equal(a, de(maps.flip(-1), level))
        assert (a - de(maps, level[torch.tensor([1, 0])])).abs().max() > 0  # another camera, another answer
        elbow = maps.clone()
        elbow[:, 4] = 0  # no channel of the DE (published)
        close(de(elbow, level), a, 1e-6)


def test_the_told_network_is_trained_and_kept(tmp_path):
    first = ablations.floor_de("smoke", 0, tmp_path)
    assert first.facts["training"]["DE"]["samples"] == ablations.samples(PROFILES["smoke"].course())
    again = ablations.floor_de("smoke", 0, tmp_path)
    for a, b in zip(first.de.state_dict().values(), again.de.state_dict().values()):
        assert torch.equal(a, b)
    scenes = [world(split="test").scenes(4, 3)]
    found = ablations.depth_errors(first.de, first.sizes, scenes)
    assert len(found.found) > 0
    assert found.found.any()


def test_a_depth_estimator_by_itself_says_what_it_says_in_the_whole():
    trained, scenes = study.second_stage("smoke", 0), study.held_out("smoke", 0, 40)
    for stated in (None, study.wrong(4.0)):
        whole = study.errors(trained, scenes, stated)["DE"]
        alone = ablations.depth_errors(trained.model.ren.de, trained.model.sizes, scenes, stated)
        assert np.array_equal(whole.found, alone.found)
        assert whole.found.any()
        np.testing.assert_allclose(alone.root[alone.found], whole.root[whole.found], atol=1e-2)


# ---- arms and budgets ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper-short", "paper"])
def test_every_arm_has_its_budget(profile):
    whole = PROFILES[profile].course(3)
    alone = ablations.course_of(ablations.ALONE, profile, 3)
    assert alone.together.steps == 0
    assert alone.alone.seed == 3
    assert ablations.samples(alone) == ablations.samples(whole)
    arms = [ablations.course_of(a, profile, 3) for a in (*ablations.CAMERAS, ablations.RANDOM, *ablations.POSES)]
    assert all(a == arms[0] for a in arms)
    assert arms[0].sizes == whole.sizes


def test_arms_of_table_5_differ_in_their_cameras_alone():
    worlds = {a: ablations._world(a) for a in (*ablations.CAMERAS, ablations.RANDOM)}
    said = {a: asdict(w.twin) for a, w in worlds.items()}
    cameras = {a: str(s["scenes"].pop("camera")) for a, s in said.items()}
    assert len(set(cameras.values())) == 4
    assert all(s == said["14"] for s in said.values())
    assert all(w.bank is worlds["14"].bank for w in worlds.values())
    for name, pitch in (("14", -5.0), ("16", 24.0), ("19", 50.0)):
        close(worlds[name].scenes(3, 1).camera.pitch_deg, torch.full((3,), pitch, dtype=torch.float64), 1.0)
    assert worlds[ablations.RANDOM].scenes(32, 1).camera.pitch_deg.std() > 5


def test_known_poses_are_the_test_s_and_nothing_else_is():
    muco, mupots = (ablations._world(a) for a in ablations.POSES)
    assert torch.equal(mupots.bank.joints.nan_to_num(), ablations.load("mupots", "test").bank.joints.nan_to_num())
    assert muco.twin == mupots.twin
    assert len(muco.bank) != len(mupots.bank) or not torch.equal(muco.bank.joints.nan_to_num(), mupots.bank.joints.nan_to_num())


# ---- measures --------------------------------------------------------------------------------------------------------------------------


class People:
    def __init__(self, errors, found):
        self.errors, self.found = np.array(errors, float), np.array(found)


def test_pck_over_all_people():
    errors = np.full((3, 15), 100.0)
    errors[1, ablations.COUNTED[:7]] = 151.0
    errors[1, ablations.COUNTED[7]] = np.nan
    got = ablations.pck(People(errors, [True, True, False]))
    n = len(ablations.COUNTED)
    assert n == 14
    close(got, [1.0, (n - 8) / n, 0.0], 1e-12)


def cell(method, errors):
    return results.row("extrinsics", "mrpe_z", float(np.mean(errors)), "mm", method=method, test="exact", per_scene=list(errors),
                       clusters=["a", "a", "b", "b"])  # fmt: skip


def test_contrasts_of_made_up_cells():
    rows = [cell("DE", [400, 420, 380, 400]), cell("told", [390, 410, 370, 390]), cell("turned", [350, 370, 330, 350]),
            cell("REN", [200, 220, 180, 200])]  # fmt: skip
    told, _ = ablation_rows.contrast(rows, ["told", "REN"], ["DE", "turned"])
    assert told == pytest.approx(((390 - 400) + (200 - 350)) / 2)
    both, between = ablation_rows.contrast(rows, ["REN", "DE"], ["turned", "told"])
    assert both == pytest.approx(((200 - 350) - (390 - 400)) / 2)
    assert between == pytest.approx((both, both))


def test_claims_look_at_the_rows_that_are_written():
    """Every claim has an effect on rows named as `ablation_rows` names them, and turns round with them."""
    def row(experiment, metric, value, **about):
        values = [value + d for d in (-1.0, 0.5, 0.5)]
        return results.row(experiment, metric, value, "mm", per_scene=values, clusters=["a", "b", "c"], n=3, seed=0, **about)

    def made(sign):
        out = []
        for test in ablation_rows.TABLE4:
            for train in ablation_rows.ARMS:
                for i, m in enumerate(("DE alone", "DE", "REN (voxels)", "REN", "REN+PEN")):
                    out.append(row("table4", "mrpe_z", 300 - sign * 20 * i, method=m, train=train, test=test))
        for i, m in enumerate(("DE alone", "DE", "REN, camera's axes", "DE, camera told", "REN", "REN+PEN")):
            out.append(row("extrinsics", "mrpe_z", 300 - sign * 20 * i, method=m, test="exact"))
        for arm, k in (("depth-based", -1), ("naive", 1)):
            about = {"method": "REN+PEN", "train": arm, "test": "MuPoTS"}
            out += [row("projection, complete", metric, 200 + sign * 10 * k, **about) for metric in ("mrpe_z", "mrpe")]
        for test in ablations.CAMERAS:
            for arm in (*ablations.CAMERAS, ablations.RANDOM):
                value = 100 if arm == test else 200 if arm == "random" else 300
                out.append(row("table5", "mrpe_z", 200 + sign * (value - 200), method="VirtualPose", train=arm, test=test))
        for arm, k in (("MuPoTS poses", 1), ("MuCo poses", -1)):
            out.append(row("tailored", "pck_abs", 40 + sign * k, method="VirtualPose", train=arm, test="all people"))
        for m, value in (("REN+PEN", 60 if sign > 0 else 350), ("with floor", 20 if sign > 0 else 300), ("without floor", 200)):
            out.append(row("floor chart", "mrpe_z", value, method=m))
        return out

    good, bad = ({c: claims.judge(claims.ALL[c], made(sign)).verdict for c in ABLATIONS} for sign in (1, -1))
    assert set(good.values()) == {claims.HOLDS}, {c: v for c, v in good.items() if v != claims.HOLDS}
    assert set(bad.values()) == {claims.FAILS}, {c: v for c, v in bad.items() if v != claims.FAILS}


def test_claims_about_de_must_beat_both():
    """Whichever of the two DEs is the better one decides."""
    def rows(alone, whole):
        values = {"REN (voxels)": 200.0, "DE": whole, "DE alone": alone}
        return [results.row("table4", "mrpe_z", x, "mm", per_scene=[x - 1, x + 1], clusters=["a", "b"], n=2, seed=0, method=m,
                            train="AGR: image", test="MuPoTS") for m, x in values.items()]  # fmt: skip

    claim = ABLATIONS["table4-ren-mupots"]
    assert claims.judge(claim, rows(300.0, 250.0)).effect.value == pytest.approx(-50.0)
    assert claims.judge(claim, rows(220.0, 250.0)).effect.value == pytest.approx(-20.0)
    assert claims.judge(claim, rows(150.0, 250.0)).verdict == "fails"
    assert claims.judge(claim, rows(150.0, 250.0)[:2]).verdict == "not run"  # one DE alone says nothing
    wide = rows(220.0, 250.0)
    wide[1]["per_scene"] = [100.0, 400.0]  # on average farther off, but less surely
    assert claims.judge(claim, wide).verdict == "inconclusive"
    assert claims.judge(claim, wide).effect.ours.endswith("(DE)")
    nobody = [{**r, "value": math.nan, "per_scene": []} for r in rows(220.0, 250.0)]
    assert claims.judge(claim, nobody).verdict == "inconclusive"


@pytest.mark.parametrize(("poses", "said"), [("twin", "**MuPoTS's twin**"), ("mupots", "**MuPoTS, recorded people**")])
def test_table_4_names_whose_people_these_are(poses, said):
    rows = [results.row("table4", m, 100.0, "mm", (90.0, 110.0), method="DE", train="AGR: ground truth", test="MuPoTS", n=5, poses=poses)
            for m in ("mrpe_z", "mrpe")]  # fmt: skip
    assert show.table4(rows, "MuPoTS", {"DE": "245.4"}).startswith(said)


# ---- sweeps ----------------------------------------------------------------------------------------------------------------------------


def test_a_sweep_changes_what_it_says_and_nothing_else():
    course = QUICK.course(0, QUICK.ablation)
    assert Sweep().course(course) == course
    assert (Sweep().asked, Sweep().label(course)) == ({}, "nothing")
    own = {"sigma_mm": course.sizes.sigma, "voxels": 1.0, "people": course.people[1], "noise": "published", "scenes": 0, "missing": "none",
           "protocol": "honest"}  # fmt: skip
    grids = dict(g.split("=") for g in grids_of_make())
    for name, value in own.items():  # swept, but the course's own: the line to compare with
        assert Sweep(**{name: value}).course(course) == course, name
        assert Sweep(**{name: value}).asked == {name: value}
        assert value in [type(value)(x) for x in grids[name].split(",")]
    fewest = min(p.steps * p.batch for p in (course.alone, course.together))
    assert max(int(n) for n in grids["scenes"].split(",")) < fewest / 2, "a set of scenes that is not seen twice is one without end"
    bins = [Sweep(voxels=float(v)).course(course).sizes.space_bins for v in grids["voxels"].split(",")]
    assert len(set(bins)) == len(bins)
    assert Sweep(voxels=0.5).label(course) == "voxels = 0.5 (16 x 16 x 8)"
    assert Sweep(sigma_mm=150.0).course(course) == replace(course, sizes=replace(course.sizes, sigma=150.0))
    half = Sweep(voxels=0.5).course(course).sizes
    assert all(n % 8 == 0 and n >= 8 for n in half.space_bins)
    assert np.prod(half.space_bins) < np.prod(course.sizes.space_bins)
    assert replace(half, space_bins=course.sizes.space_bins) == course.sizes
    assert Sweep(people=3).course(course).people == (1, 3)
    assert Sweep(noise="detector").course(course).noise != course.noise
    clean = Sweep(noise="clean")
    batch = clean.batches(clean.course(course))(0, 4)
    exact, _ = synthesise(batch.scenes, course.sizes.map, None, None, 15, None, course.sizes.stride)
    assert torch.equal(batch.agr.heatmaps, exact.heatmaps)
    for later in ({"missing": "leg"}, {"protocol": "published"}, {"scenes": 64}):
        assert Sweep(**later).course(course) == course
        assert Sweep(**later).label(course) == ", ".join(f"{k} = {v}" for k, v in later.items())
    assert set(MISSING) == {"none", "arm", "leg", "head"}


@pytest.mark.parametrize("wrong", [{"noise": "loud"}, {"missing": "nose"}, {"protocol": "kind"}, {"voxels": 0.1}, {"sigma_mm": -1.0},
                                   {"people": 99}, {"scenes": -5}])  # fmt: skip
def test_a_wrong_sweep_ends_in_one_line(wrong):
    with pytest.raises(InputError):
        Sweep(**wrong)


def test_so_many_scenes_come_again_and_again():
    course = replace(PROFILES["smoke"].ablation, together=Plan(steps=4, batch=4))
    stream = Sweep(scenes=10).batches(course)
    assert isinstance(stream, Repeated)
    first, second, again = (stream(start, 4) for start in (0, 4, 8))
    assert torch.equal(first.scenes.joints.nan_to_num(), again.scenes.joints.nan_to_num())
    assert torch.equal(first.agr.heatmaps, again.agr.heatmaps)
    assert not torch.equal(first.scenes.joints.nan_to_num(), second.scenes.joints.nan_to_num())
    endless = Sweep().batches(course)
    assert not isinstance(endless, Repeated)
    assert torch.equal(endless(0, 4).agr.heatmaps, first.agr.heatmaps)
    assert not torch.equal(endless(8, 4).agr.heatmaps, again.agr.heatmaps)
