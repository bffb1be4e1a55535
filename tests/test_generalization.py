"""The study of §3.2: what its arms and tests are made of, its rows by hand, whether its claims can hold and fail, and a small run of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_baselines import Feet, feet
from test_pictures import same

from vp.camera import Camera
from vp.lab import baselines, claims, generalization, pictures, pool, pose_variety, results, study
from vp.lab.baselines import People
from vp.lab.generalization import ABOUT_THE_DOME, BACKGROUNDS, CAMERA_VIEWS, CAMERAS, THREE, Outcome, Source
from vp.lab.profiles import PROFILES
from vp.lab.statements_study import GENERALIZATION
from vp.world.cameras import PANOPTIC, sampler
from vp.world.twins import TWINS

SMOKE = replace(PROFILES["smoke"].study, train=16, test=8, plan=replace(PROFILES["smoke"].study.plan, batch=4))
TWIN = dict.fromkeys(("poses", "cameras", "images"), "twin")


@pytest.fixture
def no_intervals(monkeypatch):
    """Rows without intervals, which are slow: claims bootstrap for themselves."""
    monkeypatch.setattr(study, "interval", lambda *a: None)


def outcome(tests, arms, error, methods=THREE, scenes=40, each=2):
    """`Outcome` of made-up people at 4 m: error(method, arm, test, g, N) -> (N,) mm of error, of random sign."""
    g = np.random.default_rng(0)
    n = scenes * each
    people = {t: People(np.repeat(np.arange(scenes), each), np.tile(np.arange(each), scenes), np.full(n, 4000.0)) for t in tests}
    depths = {(m, a, t): 4000.0 + g.choice([-1, 1], n) * np.abs(error(m, a, t, g, n)) for m in methods for a in arms for t in tests}
    facts = {(m, a): {"steps": 3, "samples_seen": 48, "config": "abc", "device": "cpu", "seconds": 1.0} for m in methods for a in arms}
    return Outcome(people, depths, facts, dict.fromkeys(tests, TWIN))


# ---- what the experiments are ----------------------------------------------------------------------------------------------------------


def test_cameras_of_fig_3a():
    assert CAMERAS == ("14", "16", "19")
    assert THREE == ("TBS", "TIF", "BDR")
    assert tuple(CAMERA_VIEWS.arms) == (*CAMERAS, "many")
    assert tuple(CAMERA_VIEWS.tests) == CAMERAS
    for c in CAMERAS:
        assert CAMERA_VIEWS.arms[c] == (Source("panoptic", "train", f"panoptic:{c}"),)
        assert CAMERA_VIEWS.tests[c] == Source("panoptic", "test", f"panoptic:{c}")
    (many,) = CAMERA_VIEWS.arms["many"]
    assert many == Source("panoptic", "train", ABOUT_THE_DOME)


def test_many_cameras_surround_those_of_the_test():
    cameras = sampler(ABOUT_THE_DOME)(4000, torch.Generator().manual_seed(0))
    values = torch.stack([cameras.pitch_deg, cameras.centre[:, 2], cameras.centre[:, :2].norm(dim=-1), cameras.depth_norm], -1)
    low, high = values.amin(0), values.amax(0)
    for c in CAMERAS:
        x, y, z, pitch, _, _, focal = PANOPTIC[int(c)]
        own = torch.tensor([pitch, z, math.hypot(x, y), focal], dtype=torch.float64)
        assert ((own > low) & (own < high)).all(), c


def test_backgrounds_of_table_1():
    green, half, equal = (BACKGROUNDS.arms[k] for k in ("green", "augmented", "augmented, as many green"))
    assert [s.background for s in green] == ["green"]
    assert [s.background for s in half] == [s.background for s in equal] == ["green", "augmented"]
    assert sum(b - a for a, b in (s.part for s in half)) == 1  # as many pictures as green alone, no scene twice
    assert half[0].part[1] == half[1].part[0]
    assert equal[0] == green[0]  # the same green pictures, and as many
    trained = {s.background for arm in BACKGROUNDS.arms.values() for s in arm}
    assert [s.background for s in BACKGROUNDS.tests.values()] == ["green", "test_augmented"]
    assert "test_augmented" not in trained
    assert all(s.data == "muco" and s.split == "train" and s.through is None for arm in BACKGROUNDS.arms.values() for s in arm)
    assert all(s.data == "muco" and s.split == "test" for s in BACKGROUNDS.tests.values())


def test_poses_of_fig_3b_are_new():
    trained = {a for name in ("panoptic", "muco") for a in TWINS[name, "train"].activities}
    banks = {arm: pose_variety.bank(arm) for arm in pose_variety.ARMS}
    test = {a for block in pose_variety.held_out("smoke")["MuPoTS"] for a in block.activity[block.mask.numpy()].tolist()}
    assert trained.isdisjoint(TWINS["mupots", "test"].activities)
    known = {arm: set(bank.activity) for arm, bank in banks.items()}
    assert known["Panoptic"] < known["Panoptic+MuCo"]  # more
    assert known["Panoptic+MuCo"] == {a.removesuffix(" turned") for a in known["Panoptic+MuCo, joints turned"]}
    assert len(test) > 1
    assert {len(banks["Panoptic"]), len(banks["Panoptic+MuCo"])} == {pose_variety.POSES}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Everything is kept in a folder of these tests, the profile smoke is still smaller."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "ROOT", tmp_path_factory.mktemp("root"))
        patch.setitem(PROFILES, "smoke", replace(PROFILES["smoke"], study=SMOKE))
        yield results.ROOT


def test_tests_show_the_same_people(here):
    green, other = (s.pictures(SMOKE) for s in BACKGROUNDS.tests.values())
    assert same(green, other, but=("image",))
    assert not torch.equal(green.image, other.image)
    assert green.image.shape[2:] == (SMOKE.square[1], SMOKE.square[0])
    assert len(green) == SMOKE.test


def test_parts_of_an_arm(here):
    first, second = (s.pictures(SMOKE) for s in BACKGROUNDS.arms["augmented"])
    (green,) = (s.pictures(SMOKE) for s in BACKGROUNDS.arms["green"])
    assert len(first) + len(second) == len(green) == SMOKE.train
    assert same(first, green.between(0.0, 0.5))
    assert same(second, green.between(0.5, 1.0), but=("image",))
    other = Source("muco", "train", background="green").pictures(SMOKE, seed=1)
    assert not same(other, green)


# ---- rows ------------------------------------------------------------------------------------------------------------------------------


def test_rows_by_hand():
    out = outcome(["A", "B"], ["x"], lambda m, a, t, g, n: 100 + 50 * (t == "B") + g.normal(0, 10, n), ("TBS", "mean depth"))
    out.facts.pop(("mean depth", "x"))
    found = generalization.rows(out, "some", profile="smoke", seed=2, notebook="04")
    assert [(r["method"], r["train"], r["test"]) for r in found] == list(out.depths)
    for r in found:
        error = np.abs(out.depths[r["method"], "x", r["test"]] - 4000)
        assert r["value"] == pytest.approx(error.mean())
        assert (r["lo"], r["hi"]) == study.interval(error, out.people["A"].scene)
        assert r["lo"] < r["value"] < r["hi"]
        assert (r["experiment"], r["metric"], r["unit"], r["n"], r["seed"]) == ("some", "mrpe_z", "mm", 80, 2)
        assert (r["poses"], r["cameras"], r["images"]) == ("twin",) * 3
        assert r["per_scene"] is None
        assert r["steps"] == (3 if r["method"] == "TBS" else None)  # a level is not trained


def test_on_and_off_by_hand(no_intervals):
    size = {"14": 10.0, "16": 200.0, "19": 3000.0, "many": 7.0}  # by the arm alone
    out = outcome(CAMERAS, (*CAMERAS, "many"), lambda m, a, t, g, n: np.full(n, size[a]) * (1 + np.arange(n) % 2))
    found = {(r["method"], r["train"], r["test"]): r for r in generalization.on_and_off(out, profile="smoke")}
    assert len(found) == 3 * 3 * 3
    for m in THREE:
        for t in CAMERAS:
            others = [size[c] for c in CAMERAS if c != t]
            for train, wanted in (("on", size[t]), ("off", sum(others) / 2), ("many", 7.0)):
                r = found[m, train, t]
                assert r["value"] == pytest.approx(1.5 * wanted)
                assert r["per_scene"] == [round(wanted * (1 + i % 2), 1) for i in range(80)]
                assert r["clusters"] == [str(i // 2) for i in range(80)]
                assert r["steps"] == 3  # or no half budget could be set beside it


def test_paired_rows_keep_every_person(no_intervals):
    out = outcome(["A"], ["x", "y"], lambda m, a, t, g, n: g.uniform(1, 500, n), ("TBS", "box size"))
    found = generalization.paired(out, "table1, paired", ("TBS",))
    assert [(r["method"], r["train"]) for r in found] == [("TBS", "x"), ("TBS", "y")]
    assert found[0]["per_scene"] == [round(abs(d - 4000), 1) for d in out.depths["TBS", "x", "A"]]
    some = out.people["A"].scene < 5
    r = generalization._row(out, "e", "TBS", "x", "A", np.abs(out.error("TBS", "x", "A")), among=some)
    assert r["n"] == 10
    assert r["value"] == pytest.approx(np.abs(out.error("TBS", "x", "A"))[:10].mean())


def test_table_for_a_heat_map():
    out = outcome(["A", "B"], ["x", "y", "z"], lambda m, a, t, g, n: np.full(n, 100.0 * "xyz".index(a) + 10 * (t == "B")))
    arms, tests, table = generalization.by_name(out, "TIF")
    assert (arms, tests) == (["x", "y", "z"], ["A", "B"])
    assert table.tolist() == [[0, 10], [100, 110], [200, 210]]


def test_nearest_cameras():
    centre = torch.tensor([[0.0, 0.0, 1300.0], [0.0, 0.0, 2410.0], [0.0, 0.0, 3000.0]])
    pitch = torch.deg2rad(torch.tensor([-4.6, 33.6, 45.0]))
    found = generalization.nearest_cameras(Camera.from_angles(pitch, 0.0, centre=centre))
    for c, wanted in {"14": (0.0, 100.0), "16": (10.0, 0.0), "19": (5.4, 390.0)}.items():
        assert found[c] == pytest.approx(wanted, abs=0.01)


def test_worse_than_a_level_by_hand():
    size = {"TBS": {"A": 90.0, "B": 130.0}, "TIF": {"A": 100.0, "B": 10.0}, "mean depth": {"A": 100.0, "B": 120.0}}
    out = outcome(["A", "B"], ["x", "y"], lambda m, a, t, g, n: np.full(n, size[m][t] * (1 if a == "x" else 2)), tuple(size))
    out.depths["mean depth", "y", "A"] = 4000.0 + np.full(80, 190.0)  # its own arm's level counts
    cells = [("x", "A"), ("x", "B"), ("y", "A")]
    found = generalization.worse_than(out, "mean depth", cells, ("TBS", "TIF"))
    assert found == [("TBS", "x", "B"), ("TIF", "y", "A")]  # equal is not worse
    assert len(generalization.OFF_CAMERA) == 6
    assert all(a != t for a, t in generalization.OFF_CAMERA)


def test_rows_of_other_seeds(tmp_path):
    def rows(value, **columns):
        about = {"method": "TBS", "train": "x", "test": "A", "profile": "quick", **columns}
        return results.row(about.pop("experiment", "table1"), "mrpe_z", value, "mm", None, TWIN | about.pop("sources", {}), **about)

    own = [rows(1.0, seed=1, steps=400)]
    others = [rows(2.0, seed=2, steps=400), rows(0.5, seed=0, steps=400), rows(9.0, seed=1), rows(9.0, seed=3, profile="smoke"),
              rows(9.0, seed=3, experiment="fig3b"), rows(9.0, seed=3, sources={"images": "recorded"}),
              rows(9.0, seed=3, steps=600), rows(9.0, seed=3, method="box size")]  # of another budget, with its levels  # fmt: skip
    file = results.append(tmp_path / "seeds.jsonl", others)
    found = generalization.by_seed(own, file)
    assert {s: [r["value"] for r in some] for s, some in found.items()} == {1: [1.0], 0: [0.5], 2: [2.0]}
    assert next(iter(found)) == 1  # the run itself comes first
    assert generalization.by_seed(own, tmp_path / "none.jsonl") == {1: own}


# ---- claims ----------------------------------------------------------------------------------------------------------------------------

TESTS = tuple(BACKGROUNDS.tests)


def about_cameras(off, many, spread=0.05):
    return lambda m, a, t, g, n: {t: 100.0, "many": many}.get(a, off) * (1 + spread * g.normal(size=n))


def about_backgrounds(numbers, spread=0.05):
    return lambda m, a, t, g, n: numbers[a == "green", t == TESTS[0]] * (1 + spread * g.normal(size=n))


def verdict(claim, rows):
    return claims.judge(GENERALIZATION[claim], rows).verdict


def rows_of(experiment, error, methods=THREE):
    if experiment == "fig3a":
        return generalization.on_and_off(outcome(CAMERAS, (*CAMERAS, "many"), error, methods), methods)
    return generalization.paired(outcome(TESTS, tuple(BACKGROUNDS.arms), error), "table1, paired")


@pytest.mark.parametrize("method", ["tbs", "tif", "bdr"])
def test_claims_of_fig_3a_hold_and_fail(method, no_intervals):
    cases = ((300.0, 150.0), (150.0, 200.0), (200.0, 200.0, 0.8))
    far, near, noisy = (rows_of("fig3a", about_cameras(*x), (method.upper(),)) for x in cases)
    for claim in (f"cameras-{method}", f"many-cameras-{method}"):
        assert verdict(claim, far) == claims.HOLDS
        assert verdict(claim, near) == claims.FAILS
        assert verdict(claim, noisy) == claims.INCONCLUSIVE
        assert verdict(claim, []) == claims.NOT_RUN
    assert GENERALIZATION[f"cameras-{method}"].threshold == 2.0


def test_claims_of_table_1_hold_and_fail(no_intervals):
    paper = {(True, True): 126.3, (True, False): 267.8, (False, True): 141.7, (False, False): 148.9}  # (green-trained, on green): BDR's
    other = {(True, True): 150.0, (True, False): 160.0, (False, True): 100.0, (False, False): 200.0}
    between = {(True, True): 100.0, (True, False): 150.0, (False, True): 100.0, (False, False): 125.0}
    rows = [rows_of("table1", about_backgrounds(*x)) for x in ((paper,), (other,), (between, 0.8))]
    for claim in [f"{arm}-{m.lower()}" for arm in ("green", "augmented") for m in THREE] + ["scene-prior"]:
        assert [verdict(claim, r) for r in rows] == [claims.HOLDS, claims.FAILS, claims.INCONCLUSIVE], claim


@pytest.mark.parametrize(("claim", "better"), [("pose-variety", "Panoptic+MuCo"), ("turned-joints", "Panoptic+MuCo, joints turned")])
def test_claims_of_fig_3b_hold_and_fail(claim, better, no_intervals):
    def rows(good, bad, spread=0.05):
        def error(m, a, t, g, n):
            rank = pose_variety.ARMS.index(better) <= pose_variety.ARMS.index(a)
            return (good if rank else bad) * (1 + spread * g.normal(size=n))

        return pose_variety.rows(outcome(["MuPoTS"], pose_variety.ARMS, error, (pose_variety.METHOD, "mean depth")))

    assert verdict(claim, rows(100.0, 150.0)) == claims.HOLDS
    assert verdict(claim, rows(150.0, 100.0)) == claims.FAILS
    assert verdict(claim, rows(100.0, 100.0, 0.5)) == claims.INCONCLUSIVE


def test_claims_are_kept_to_their_own_rows(no_intervals):
    """Other methods, other tests and the unpaired tables of the same numbers decide nothing."""
    out = outcome(TESTS, tuple(BACKGROUNDS.arms), about_backgrounds(dict.fromkeys([(a, b) for a in (0, 1) for b in (0, 1)], 100.0)))
    assert verdict("green-tbs", generalization.rows(out, "table1")) == claims.NOT_RUN
    assert verdict("green-tbs", generalization.paired(out, "table1, paired", ("TIF",))) == claims.NOT_RUN
    assert len(GENERALIZATION) == 15
    assert all(c.id == k and c.sentence.endswith(".") for k, c in GENERALIZATION.items())
    assert {"green-tif", "pose-variety"} <= {k for k, c in GENERALIZATION.items() if c.why}  # of those that fail, what was found out


# ---- a run -----------------------------------------------------------------------------------------------------------------------------


def test_a_run_with_a_users_own_method(here, no_intervals, monkeypatch):
    """Every method in every arm on every test, from one study; done again, nothing is trained."""
    monkeypatch.setattr(pool, "side_by_side", lambda f, calls, *a: [f(*c) for c in calls])
    out = generalization.run("fig3a", "smoke", 0, {"TBS": "TBS", "feet": feet})
    methods = ("TBS", "feet", *baselines.LEVELS)
    assert set(out.depths) == {(m, a, t) for m in methods for a in CAMERA_VIEWS.arms for t in CAMERAS}
    for (_, _, t), depth in out.depths.items():
        assert depth.shape == out.people[t].depth.shape
        assert np.isfinite(depth).all()
    assert {(f["steps"], f["samples_seen"]) for f in out.facts.values()} == {(3, 12)}  # equal budgets
    assert set(out.facts) == {(m, a) for m in ("TBS", "feet") for a in CAMERA_VIEWS.arms}
    assert len({f["config"] for f in out.facts.values()}) == 8
    assert out.people["14"].also_in(out.people["16"]).any()  # the same people before several cameras
    assert here == results.ROOT
    assert len(list((here / "runs" / "cache" / "methods").glob("*.safetensors"))) == 8
    monkeypatch.setattr(baselines, "train", lambda *a, **k: pytest.fail("trained again"))
    again = generalization.run("fig3a", "smoke", 0, {"TBS": "TBS", "feet": feet})
    assert all(np.array_equal(again.depths[k], d) for k, d in out.depths.items())
    rows = [*generalization.rows(out, "fig3a"), *generalization.on_and_off(out, ("TBS", "feet"))]
    assert len(rows) == 5 * 4 * 3 + 2 * 3 * 3
    assert verdict("cameras-tbs", rows) in (claims.HOLDS, claims.FAILS, claims.INCONCLUSIVE)
    assert verdict("cameras-tif", rows) == claims.NOT_RUN


def test_arms_differ_in_the_factor_alone(here):
    """The same people at the same places in every arm, and the same ones drawn for every step."""
    sets = {arm: CAMERA_VIEWS.arms[arm][0].pictures(SMOKE) for arm in ("14", "many")}
    drawn = {}
    for arm, p in sets.items():
        world = torch.full((*p.mask.shape, 3), torch.nan)
        for i, k in p.people().tolist():
            world[i, k] = p.camera[i].unproject(p.joints[i, k, 2:3].double(), p.depth[i, k, 2:3].double())[0][0]
        drawn[arm] = world
    both = sets["14"].mask & sets["many"].mask
    assert both.sum() > 20
    assert float((drawn["14"] - drawn["many"])[both].norm(dim=-1).max()) < 10
    def which(p):
        every = p.views(torch.arange(len(p))).image
        drawn = pictures.Samples((p,), mirror=0.0, colour=0.0)(0, 16).image
        return [int(((every - image).abs().flatten(1).amax(1)).argmin()) for image in drawn]

    assert which(sets["14"]) == which(sets["many"])


def test_the_users_method_is_short():
    import inspect

    assert len((inspect.getsource(Feet) + inspect.getsource(feet)).splitlines()) <= 20
