"""Fig. 3b: arms that differ in postures alone, a test that none of them knows, what is kept of a training, rows and groups."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vp.lab import baselines, claims, pictures, pose_variety, results
from vp.lab.datasets import fingerprint, load
from vp.lab.pose_variety import ARMS, METHOD, OWN, POSES
from vp.lab.profiles import resolve
from vp.lab.second_stage import NOISE, world
from vp.lab.statements_study import GENERALIZATION
from vp.show import variety
from vp.skeleton import JOINTS_17
from vp.world.bank import PoseBank
from vp.world.coverage import SHARED
from vp.world.poses import SOLE, person

STUDY = resolve("smoke").study


@pytest.fixture(scope="module")
def batches():
    """{arm: the first 64 training samples}."""
    return {arm: pose_variety.stream(arm, STUDY).batches(0, 64) for arm in ARMS}


def test_body_i_of_an_arm_stands_for_body_i_of_the_others():
    first, mixed, turned = (pose_variety.bank(arm) for arm in ARMS)
    i = torch.arange(POSES)
    assert {len(first), len(mixed), len(turned), len(pose_variety.bank(OWN))} == {POSES}
    assert torch.equal(mixed.joints[i % 2 == 0], first.joints[i % 2 == 0])
    assert torch.equal(turned.joints[i % 4 < 2], mixed.joints[i % 4 < 2])
    same = (mixed.joints == turned.joints).flatten(1).all(1)
    assert same[i % 4 >= 2].float().mean() < 0.05  # a few bodies have nowhere to turn
    muco = load("muco", "train").bank
    assert {tuple(x) for x in mixed.joints[i % 2 == 1][:50, 3].tolist()} <= {tuple(x) for x in muco.joints[:, 3].tolist()}


def test_turned_bodies_keep_their_bones():
    mixed, turned = (pose_variety.bank(arm).joints[3:400:4] for arm in ARMS[1:])
    for a, b in (("left_hip", "left_knee"), ("right_elbow", "right_wrist"), ("mid_hip", "spine")):
        before, after = ((x[:, JOINTS_17.index(a)] - x[:, JOINTS_17.index(b)]).norm(dim=-1) for x in (mixed, turned))
        torch.testing.assert_close(before, after, atol=0.5, rtol=0)
    assert (mixed - turned).norm(dim=-1).mean() > 30


def test_the_tests_activities_occur_in_no_arm():
    scenes = pose_variety.held_out("smoke")["MuPoTS"]
    asked = {a for block in scenes for a in block.activity.flatten()}
    assert len(asked) >= 6
    done = {arm: set(pose_variety.bank(arm).activity) for arm in (*ARMS, OWN)}
    assert done[ARMS[0]] == {"talking", "gesturing", "standing", "sitting"}
    assert done[ARMS[1]] == done[ARMS[2]] > done[ARMS[0]]
    for arm in ARMS:
        assert not done[arm] & asked, arm
    assert asked <= done[OWN]  # the level, which is no arm
    own = {tuple(x) for x in pose_variety.bank(OWN).joints[:, 0].tolist()}
    assert not own & {tuple(x) for x in load("mupots").bank.joints[:, 0].tolist()}  # of the same kind, but other bodies


def test_arms_differ_in_postures_alone(batches):
    one = batches[ARMS[0]]
    for arm, share in ((ARMS[1], 1 / 2), (ARMS[2], 1 / 4)):
        a, b = one.scenes, batches[arm].scenes
        for name in ("identity", "yaw", "pose", "mask"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        assert torch.equal(a.people.offsets, b.people.offsets)
        assert torch.equal(a.stature, b.stature)
        for name in ("R", "t", "f", "c"):
            assert torch.equal(getattr(a.camera, name), getattr(b.camera, name)), name
        roots = [s.joints[:, :, 2:3] for s in (a, b)]
        same = torch.isclose(a.joints - roots[0], b.joints - roots[1], atol=0.5, equal_nan=True).flatten(2).all(-1)
        assert float(same[a.mask].float().mean()) == pytest.approx(share, abs=0.1)
        there = torch.isclose(*roots, atol=0.5, equal_nan=True)[:, :, 0, :2].all(-1)
        assert there[a.mask].float().mean() > 0.85  # the others found no room in their new posture


def test_arms_have_the_same_noise(batches):
    """Where everybody stands as before, the noisy heatmaps are the same to the last bit; without that stream they would not be."""
    one, equal = batches[ARMS[0]], 0
    clean = replace(pose_variety.stream(ARMS[0], STUDY).batches, noise=None)(0, 64)
    for arm in ARMS[1:]:
        other = batches[arm]
        same = torch.isclose(one.scenes.joints, other.scenes.joints, atol=0, rtol=0, equal_nan=True).flatten(1).all(1)
        equal += int(same.sum())
        assert torch.equal(one.agr.heatmaps[same], other.agr.heatmaps[same])
        assert not torch.equal(one.agr.heatmaps[same], clean.agr.heatmaps[same])
        assert not torch.equal(one.agr.heatmaps[~same], other.agr.heatmaps[~same])
    assert equal > 4


def test_the_same_bank_whenever_it_is_asked_for():
    before = {arm: fingerprint(pose_variety.bank(arm)) for arm in (*ARMS, OWN)}
    pose_variety._bank.cache_clear()
    assert {arm: fingerprint(pose_variety.bank(arm)) for arm in (OWN, *ARMS)} == before
    assert len(set(before.values())) == 4
    assert pose_variety.bank(ARMS[0], {"panoptic": ""}) is pose_variety.bank(ARMS[0])
    with pytest.raises(ValueError, match="no arm 'MuCo'"):
        pose_variety.bank("MuCo")


def test_recorded_poses_take_the_twins_place(shared):
    root = shared / "data" / "panoptic"
    recorded = load("panoptic", "train", root).bank
    mixed, twin = pose_variety.bank(ARMS[1], {"panoptic": root}), pose_variety.bank(ARMS[1])
    assert set(mixed[torch.arange(0, POSES, 2)].activity) == set(recorded.activity)
    assert torch.equal(mixed.joints[1::2], twin.joints[1::2])


def test_a_network_is_kept_by_all_that_it_learns_from(monkeypatch):
    asked = []
    monkeypatch.setattr(baselines, "learn", lambda make, samples, sizes, size, about, label: asked.append((about, sizes.heat_plan.seed)))
    for arm, seed in ((ARMS[0], 0), (ARMS[0], 0), (ARMS[1], 0), (ARMS[0], 1)):
        pose_variety.train_one(arm, "smoke", seed)
    monkeypatch.setattr(pose_variety, "NOISE", replace(NOISE, missed=0.5))
    pose_variety.train_one(ARMS[0], "smoke")
    monkeypatch.setattr(pose_variety, "NOISE", NOISE)
    monkeypatch.setattr(pose_variety, "_world", lambda: world(people=(1, 2)))
    pose_variety.train_one(ARMS[0], "smoke")
    keys = [str(x) for x in asked]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5


# ---- the whole experiment ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(scenes, outcome, rows) at the smallest size, trained in a cache of its own."""
    with pytest.MonkeyPatch.context() as m:
        m.setattr(results, "ROOT", tmp_path_factory.mktemp("root"))
        scenes = pose_variety.held_out("smoke")
        outcome = pose_variety.run("smoke", 0, None, scenes)
    return scenes, outcome, pose_variety.rows(outcome, seed=0, profile="smoke")


def test_run_again_says_the_same(done, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    arm = ARMS[1]
    again = pose_variety.run("smoke", 0, None, done[0], (arm,))
    assert len(list((tmp_path / "runs" / "cache" / "methods").glob("*.safetensors"))) == 1
    for (method, a, test), depths in again.depths.items():
        np.testing.assert_array_equal(depths, done[1].depths[method, a, test])
    assert np.abs(done[1].depths[METHOD, ARMS[0], "MuPoTS"] - done[1].depths[METHOD, arm, "MuPoTS"]).max() > 1


def test_errors_are_those_of_the_network(done):
    scenes, outcome, _ = done
    people = outcome.people["MuPoTS"]
    for k in (0, len(people.depth) // 2, -1):
        block, i = scenes["MuPoTS"][people.scene[k] // pose_variety.BLOCK], people.scene[k] % pose_variety.BLOCK
        depth = float(block.camera.to_camera(block.joints[:, :, 2])[i, people.person[k], 2])
        assert people.depth[k] == pytest.approx(depth, abs=1)
    assert {m for m, _, _ in outcome.depths} == {METHOD, *baselines.LEVELS}
    assert {a for _, a, _ in outcome.depths} == set(ARMS)
    assert {f["steps"] for f in outcome.facts.values()} == {STUDY.heat_plan.steps}


def test_levels_know_the_arms_own_training_scenes(monkeypatch):
    """Mean depth and the box rule by hand, from the first 512 scenes of an arm's stream (seed 2 of scenes at seed 1 of training)."""
    monkeypatch.setattr(pose_variety.pool, "side_by_side", lambda *_: None)
    monkeypatch.setattr(pose_variety, "train_one", lambda *_: SimpleNamespace(facts={}, method=None))
    monkeypatch.setattr(baselines, "answers", lambda method, p: np.zeros(int(p.mask.sum())))
    tests, found = pose_variety.held_out("smoke", 1), {}

    def seen(scenes):
        """Depth (N,) mm and edge / focal length (N,) of the longer side of the boxes of those whose root is in the picture."""
        maps = replace(scenes, camera=scenes.camera.fit(*STUDY.map))
        uv, z, known = maps.uv()
        boxes = maps.boxes()
        who = known[:, :, 2] & maps.camera.in_image(uv[:, :, 2]) & boxes.isfinite().all(-1)
        edge = (boxes[..., 2:] - boxes[..., :2]).amax(-1) / maps.camera.f.double().prod(-1).sqrt()[:, None]
        return z[:, :, 2][who].double().numpy(), edge[who].double().numpy()

    for arm in (ARMS[0], ARMS[2]):
        outcome = pose_variety.run("smoke", 1, None, tests, (arm,))
        z, edge = seen(replace(world(), bank=pose_variety.bank(arm)).scenes(512, 2))
        constant = np.median(z * edge)
        _, test_edge = (np.concatenate(x) for x in zip(*map(seen, tests["MuPoTS"])))
        found[arm] = outcome.depths["mean depth", arm, "MuPoTS"][0]
        assert found[arm] == pytest.approx(z.mean(), abs=0.5)
        assert len(test_edge) == len(outcome.people["MuPoTS"].depth)
        np.testing.assert_allclose(outcome.depths["box size", arm, "MuPoTS"], constant / test_edge, rtol=2e-3)
    assert abs(found[ARMS[0]] - found[ARMS[2]]) > 1, "each its own"


def test_headroom_is_told_from_the_sign():
    rng = np.random.default_rng(0)
    own = rng.normal(300, 50, 200)

    def of(train, values, seed=0, profile="quick"):
        return results.row("fig3b", "mrpe_z", values.mean(), "mm", method=METHOD, train=train, test="MuPoTS", seed=seed, profile=profile,
                           per_scene=values.tolist())  # fmt: skip

    noise = rng.normal(0, 5, 200)
    for shift, words in (
        (20, "there is headroom"),
        (-20, "no headroom: postures of the test's own kind do worse"),
        (0, "no headroom shows"),
    ):
        rows = [of(OWN, own), of(ARMS[0], own + shift + noise - noise.mean()), of(ARMS[1], own + 30)]
        found = pose_variety.headroom(rows, "MuPoTS")
        assert found[ARMS[0]][0].value == pytest.approx(shift, abs=1e-4)
        assert found[ARMS[0]][1].startswith(words)
        assert found[ARMS[1]][1].startswith("there is headroom")
    assert pose_variety.headroom(rows, "recorded motion") == {}


def test_claims_are_paired_differences(done):
    _, outcome, rows = done
    kept = [r for r in rows if r.get("per_scene")]
    assert [(r["method"], r["train"]) for r in kept] == [(METHOD, arm) for arm in ARMS]
    assert len({results._part({**dict.fromkeys(results.COLUMNS), **r}, results.IDENTITY) for r in rows}) == len(rows) == 12
    full = [{**dict.fromkeys(results.COLUMNS), **r} for r in rows]
    error = {arm: np.abs(outcome.depths[METHOD, arm, "MuPoTS"] - outcome.people["MuPoTS"].depth).mean() for arm in ARMS}
    for claim, a, b in (("pose-variety", 0, 1), ("turned-joints", 2, 1)):
        verdict = claims.judge(GENERALIZATION[claim], full)
        assert verdict.effect.value == pytest.approx(error[ARMS[a]] - error[ARMS[b]], abs=0.1)
        assert verdict.effect.interval[0] < verdict.effect.value < verdict.effect.interval[1]


def test_postures_are_those_of_the_people(done):
    scenes, outcome, _ = done
    people = outcome.people["MuPoTS"]
    bodies = pose_variety.postures(scenes["MuPoTS"], people)
    assert len(bodies) == len(people.depth)
    s, p = people.scene[-1], people.person[-1]
    block, i = scenes["MuPoTS"][s // pose_variety.BLOCK], s % pose_variety.BLOCK
    assert bodies.activity[-1] == block.activity[i, p]
    z = block.joints[i, p, :, 2]
    assert pose_variety.factors(bodies)[-1] == pytest.approx(float((z.max() - z.min()) / block.stature[i, p] + SOLE), abs=1e-5)


def body(posture, stature=1750.0, **where):
    """A `PoseBank` of one."""
    joints = person(posture, stature, **where)[None].float()
    return PoseBank(joints, torch.ones(1, 17, dtype=torch.bool), torch.tensor([stature]), (posture,), "test")


def test_to_nearest_is_the_mean_over_joints():
    known = PoseBank.joined([body("sitting"), body("standing"), body("arms up")])
    moved = body("standing", 1400.0, xy=(700.0, -300.0), yaw=2.0)
    assert pose_variety.to_nearest(moved, known)[0] == pytest.approx(0, abs=0.1)  # place, facing and stature do not count
    bent = body("standing")
    bent.joints[0, 4, 0] += 150.0  # one joint of those that count
    assert pose_variety.to_nearest(bent, known)[0] == pytest.approx(150.0 / len(SHARED), abs=0.1)
    assert pose_variety.to_nearest(bent, known[torch.tensor([2])])[0] > 50
    known.joints[1, 4] = torch.nan  # is left out: with a joint missing, it would be near to anything
    assert 50 < pose_variety.to_nearest(bent, known)[0] < 500


def test_to_nearest_leaves_out_joints_that_half_of_the_others_lack():
    """Panoptic's bodies have no spine, nor has half of a bank that they are half of: all bodies stay in, by their other joints."""
    spine = JOINTS_17.index("spine")
    assert "spine" in SHARED
    for lacking in (slice(None), slice(0, 2)):
        known = PoseBank.joined([body("sitting"), body("standing"), body("arms up"), body("walking")])
        known.joints[lacking, spine] = torch.nan
        for posture in ("sitting", "walking"):
            seen = body(posture)
            seen.joints[0, spine] += 500.0
            assert pose_variety.to_nearest(seen, known)[0] == pytest.approx(0, abs=0.1)


def test_bins():
    assert pose_variety.names_of((0, 1, 2, np.inf), " mm") == ["below 1 mm", "1 to 2 mm", "above 2 mm"]
    assert len(pose_variety.names_of(pose_variety.GAMMAS)) == len(pose_variety.GAMMAS) - 1


def test_binned_errors(done):
    _, outcome, _ = done
    values = np.arange(len(outcome.people["MuPoTS"].depth)) / 10.0
    edges = (0.0, 0.5, 2.5, np.inf)  # 5, 20 and the other people
    rows = pose_variety.binned(outcome, "MuPoTS", values, edges, "x", " m", seed=0)
    assert [(r["train"], r["test"]) for r in rows] == [(a, f"MuPoTS, x {b} m") for a in ARMS for b in ("0.5 to 2.5", "above 2.5")]
    assert rows[0]["n"] == 20
    error = np.abs(outcome.error(METHOD, ARMS[0], "MuPoTS"))
    assert rows[0]["value"] == pytest.approx(error[5:25].mean())
    assert rows[0]["lo"] < rows[0]["value"] < rows[0]["hi"]
    assert rows[0]["steps"] == STUDY.heat_plan.steps


def test_recorded_motion_and_real_cameras(shared):
    plain = pose_variety.held_out("smoke")
    assert list(plain) == ["MuPoTS"]
    assert sum(map(len, plain["MuPoTS"])) == STUDY.heat_test
    found = pose_variety.held_out("smoke", 0, shared / "data" / "mupots", shared / "data" / "bvh")
    assert found["MuPoTS"][0].sources["cameras"] == "mupots"
    assert found["recorded motion"][0].sources["poses"] == "bvh"
    seen = pictures.of_heatmaps(found["recorded motion"], STUDY.map, NOISE, 0)
    assert seen.sources == {"poses": "bvh", "cameras": "mupots", "images": "computed"}
    assert seen.mask.sum() > STUDY.heat_test
    assert not torch.equal(found["MuPoTS"][0].camera.R, plain["MuPoTS"][0].camera.R)


def test_pictures(done):
    _, outcome, rows = done
    fig = variety.bars(rows, METHOD, ARMS, ("MuPoTS",))
    heights = [p.get_height() for p in fig.axes[0].patches]
    assert heights == [r["value"] for r in rows if r["method"] == METHOD]
    labels = [t.get_text() for t in fig.legends[0].get_texts()]
    assert labels == [*ARMS, *baselines.LEVELS]
    binned = pose_variety.binned(outcome, "MuPoTS", np.arange(len(outcome.people["MuPoTS"].depth)), (0.0, 20.0, np.inf), "rank")
    fig = variety.by_bin({("a", "b"): binned}, ARMS)
    assert [t.get_text().split("\n")[0] for t in fig.axes[0].get_xticklabels()] == ["below 20", "above 20"]
    assert variety.sheet({"Panoptic": pose_variety.bank(ARMS[0])}).text.startswith("11 bodies of each bank: Panoptic: gesturing")
