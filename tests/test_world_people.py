"""Virtual people: anthropometry, kinematics, joint limits, floor contact, activities and their pictures."""

import io
import itertools
import math
import time

import numpy as np
import pytest
import torch

from vp.errors import InputError
from vp.show.people import contact_sheet, view_of
from vp.skeleton import JOINTS_17
from vp.world import body
from vp.world.activities import ACTIVITIES, MIXTURES, sample_poses
from vp.world.body import LIMITS, SKIN, ball_angles, bends_of, cast, limit, pose, possible, sample_people, settle, swing
from vp.world.limbs import ball, blank
from vp.world.poses import PARENT, posture_factor, rest_offsets, rotation, rotations
from vp.world.poses import forward_kinematics as fk

J = {name: i for i, name in enumerate(JOINTS_17.joints)}


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def bones(joints):
    """(N, 16) bone lengths, in a plain loop."""
    return torch.stack([(joints[:, J[j]] - joints[:, J[p]]).norm(dim=-1) for j, p in PARENT.items() if p], 1)


# ---- people ----------------------------------------------------------------------------------------------------------------------


def test_stature_of_adults_is_that_of_ansur_ii():
    people = sample_people(20_000, gen())
    for sex, mean, sd in ((0, 1629, 64), (1, 1756, 69)):
        s = people.stature[people.sex == sex]
        assert abs(len(s) - 10_000) < 300
        assert abs(float(s.mean()) - mean) < 3
        assert abs(float(s.std()) - sd) < 3


def test_children_follow_the_growth_chart():
    people = sample_people(9000, gen(), children=1.0)
    assert (people.sex == 2).all()
    assert float(people.stature.min()) > 900
    assert float(people.stature.max()) < 1680
    # uniform ages 4..12: the mean is that of the trapezoids between the yearly medians
    medians = [1015, 1085, 1152, 1218, 1280, 1335, 1388, 1437, 1500]
    mean = sum((a + b) / 2 for a, b in itertools.pairwise(medians)) / 8
    assert abs(float(people.stature.mean()) - mean) < 6
    head = people.offsets[:, J["head"], 2] + people.offsets[:, J["head_top"], 2]
    share = head / people.stature
    small, tall = people.stature < 1100, people.stature > 1450
    assert float(share[small].mean()) > float(share[tall].mean()) + 0.02  # small children have large heads
    mixed = sample_people(4000, gen(), children=0.25)
    assert abs(float((mixed.sex == 2).float().mean()) - 0.25) < 0.03


def test_segments_have_the_cited_lengths():
    people = sample_people(20_000, gen())
    man = people[people.sex == 1]
    share = (man.offsets / man.stature[:, None, None]).mean(0)
    assert float(-share[J["left_knee"], 2]) == pytest.approx(422.2 / 1741, abs=2e-3)
    assert float(-share[J["left_ankle"], 2]) == pytest.approx(434.0 / 1741, abs=2e-3)
    assert float(-share[J["left_elbow"], 2]) == pytest.approx(281.7 / 1741, abs=1e-3)
    assert float(-share[J["left_wrist"], 2]) == pytest.approx(268.9 / 1741, abs=1e-3)
    spread = (man.offsets[:, J["left_elbow"], 2] / man.stature).std() / share[J["left_elbow"], 2].abs()
    assert float(spread) == pytest.approx(body.SPREAD, rel=0.1)


def test_bones_are_symmetric_and_rest_pose_is_as_tall_as_the_person():
    people = sample_people(50, gen(), children=0.3)
    for name, i in J.items():
        if name.startswith("left"):
            mirrored = people.offsets[:, J["right" + name[4:]]] * torch.tensor([1.0, -1.0, 1.0])
            assert torch.equal(people.offsets[:, i], mirrored)
    joints = settle(pose(people.offsets, torch.zeros(50, 17, 3)), people.stature)
    torch.testing.assert_close(joints[..., 2].amax(1), people.stature, atol=0.01, rtol=0)
    torch.testing.assert_close(posture_factor(joints, people.stature), torch.ones(50), atol=1e-4, rtol=0)


def test_given_stature_and_repeated_draws():
    a, b = sample_people(7, gen(3)), sample_people(7, gen(3))
    assert torch.equal(a.offsets, b.offsets)
    assert torch.equal(a.wardrobe, b.wardrobe)
    assert torch.equal(a.ids, b.ids)
    tall = sample_people(7, gen(3), stature=1900.0)
    assert (tall.stature == 1900).all()
    torch.testing.assert_close(tall.offsets / 1900, a.offsets / a.stature[:, None, None], atol=1e-5, rtol=1e-4)
    assert a.wardrobe.shape == (7, 16)
    assert a.wardrobe.min() >= 0
    assert a.wardrobe.max() <= 1
    assert len(a[torch.tensor([0, 0, 3])]) == 3
    for bad in ({"n": -1}, {"n": 3, "children": 2}, {"n": 3, "stature": -5.0}, {"n": 3, "stature": [1700.0, 1800.0]}):
        with pytest.raises(InputError):
            sample_people(generator=gen(), **bad)


def test_casts_are_fixed_and_disjoint():
    seen, statures = set(), set()
    for name, n in {"panoptic": 32, "muco": 8, "mupots": 8, "coco": 64, "children": 16}.items():
        people = cast(name)
        assert len(people) == n
        assert torch.equal(people.offsets, cast(name).offsets)
        ids = set(people.ids.tolist())
        assert len(ids) == n
        assert not ids & seen
        seen |= ids
        assert not {round(s, 4) for s in people.stature.tolist()} & statures
        statures |= {round(s, 4) for s in people.stature.tolist()}
        if name != "children":
            assert int((people.sex == 0).sum()) == n // 2
            assert int((people.sex == 1).sum()) == n // 2
    with pytest.raises(InputError):
        cast("nobody")


# ---- kinematics ------------------------------------------------------------------------------------------------------------------


def test_batched_rotation_is_the_single_one_and_bends_of_inverts_it():
    bends = torch.randn(40, 3, generator=gen(), dtype=torch.float64)
    R = rotations(bends)
    for k in range(40):
        assert torch.allclose(R[k], rotation(*torch.rad2deg(bends[k]).tolist()), atol=1e-12)
    small = bends.clamp(-1.5, 1.5)
    torch.testing.assert_close(bends_of(rotations(small)), small, atol=1e-9, rtol=0)
    torch.testing.assert_close(rotations(bends_of(R)), R, atol=1e-9, rtol=0)


def test_swing_is_the_shortest_rotation_from_straight_down():
    d = torch.nn.functional.normalize(torch.randn(60, 3, generator=gen(), dtype=torch.float64), dim=-1)
    R = swing(d)
    torch.testing.assert_close(-R[..., 2], d)
    torch.testing.assert_close(R @ R.mT, torch.eye(3, dtype=torch.float64).expand(60, 3, 3), atol=1e-9, rtol=0)
    angle = torch.acos(((R.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2).clamp(-1, 1))
    torch.testing.assert_close(angle, torch.acos(-d[:, 2]), atol=1e-6, rtol=0)


def test_bends_of_survives_gimbal_lock():
    for roll in (90.0, -90.0, 89.99):
        bends = torch.deg2rad(torch.tensor([[40.0, roll, 25.0], [-120.0, roll, 60.0]]))  # float32 on purpose
        R = rotations(bends)
        torch.testing.assert_close(rotations(bends_of(R)), R, atol=2e-3, rtol=0)


def test_ball_angles_by_hand():
    b = blank(3, gen())
    ball(b, "left", "shoulder", torch.tensor([90.0, 90.0, 0.0]), torch.tensor([0.0, 90.0, 0.0]), torch.tensor([0.0, 0.0, 30.0]))
    angles = ball_angles(rotations(b[:, J["left_shoulder"]]), 1)
    torch.testing.assert_close(angles[0], torch.tensor([90.0, 0, 0]), atol=1e-3, rtol=0)  # forward
    assert float(angles[1, 1]) == pytest.approx(90, abs=0.1)  # out to the left
    torch.testing.assert_close(angles[2], torch.tensor([0.0, 0, 30]), atol=1e-3, rtol=0)  # turned inward
    ball(b, "right", "shoulder", 0.0, 0.0, 30.0)
    assert float(ball_angles(rotations(b[:, J["right_shoulder"]]), -1)[0, 2]) == pytest.approx(30, abs=1e-3)


def test_pose_without_arms_and_head_is_plain_kinematics():
    offsets = rest_offsets(1750.0)[None].float()
    bends = torch.zeros(1, 17, 3)
    bends[0, J["left_hip"], 0], bends[0, J["spine"], 0], bends[0, J["left_shoulder"], 0] = 0.7, -0.3, 0.4
    torch.testing.assert_close(pose(offsets, bends), fk(offsets, rotations(bends)))
    bends[0, J["left_shoulder"]] = torch.tensor([math.pi, 0, 0])  # arm straight up: the collarbone rises by 25°
    shoulder = pose(offsets, bends)[0, J["left_shoulder"]] - pose(offsets, bends)[0, J["neck"]]
    assert float(torch.rad2deg(torch.atan2(shoulder[2], shoulder[1]))) == pytest.approx(25, abs=17.5)  # in the leaning chest
    straight = torch.zeros(1, 17, 3)
    straight[0, J["left_shoulder"]] = torch.tensor([math.pi, 0, 0])
    lifted = pose(offsets, straight)[0, J["left_shoulder"], 2] - pose(offsets, 0 * straight)[0, J["left_shoulder"], 2]
    assert float(lifted) == pytest.approx(0.1295 * 1750 * math.sin(math.radians(25)), abs=0.5)


def test_batch_is_single():
    people = sample_people(9, gen())
    bends = limit(0.5 * torch.randn(9, 17, 3, generator=gen(1)))
    batch = settle(pose(people.offsets, bends), people.stature)
    for k in range(9):
        one = settle(pose(people.offsets[k : k + 1], bends[k : k + 1]), people.stature[k : k + 1])
        torch.testing.assert_close(batch[k], one[0], atol=1e-3, rtol=0)


def test_limit_brings_wild_bends_back_and_leaves_good_ones_alone():
    wild = limit(3 * torch.randn(300, 17, 3, generator=gen()))
    assert inside(wild)
    again = limit(wild)
    torch.testing.assert_close(rotations(again), rotations(wild), atol=2e-3, rtol=0)


def inside(bends, slack=0.2):
    """Whether all bends are within LIMITS, joint by joint."""
    ok = True
    for name, i in J.items():
        side, _, part = name.partition("_")
        if name in LIMITS or part in ("elbow", "knee"):
            angles, ranges = torch.rad2deg(bends[:, i]), LIMITS[name if name in LIMITS else part]
        elif part in ("hip", "shoulder") and side in ("left", "right"):
            angles, ranges = ball_angles(rotations(bends[:, i]), 1 if side == "left" else -1), LIMITS[part]
        else:
            continue
        for k, (low, high) in enumerate(ranges):
            ok &= bool(((angles[:, k] >= low - slack) & (angles[:, k] <= high + slack)).all())
    return ok


# ---- activities ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVITIES)
def test_activity_keeps_limits_bones_and_floor(name):
    n, people = 200, sample_people(200, gen(1), children=0.2)
    bends = ACTIVITIES[name](n, gen(2), people)
    assert bends.shape == (n, 17, 3)
    assert torch.isfinite(bends).all()
    assert inside(bends)
    assert inside(ACTIVITIES[name](n, gen(2)))  # without people too
    joints, labels = sample_poses(people, name, gen(3))
    assert joints.dtype == torch.float32
    assert set(labels.tolist()) == {list(ACTIVITIES).index(name)}
    own = torch.stack([people.offsets[:, J[j]].norm(dim=-1) for j, p in PARENT.items() if p], 1)
    torch.testing.assert_close(bones(joints), own, atol=0.05, rtol=0)
    assert float(joints[:, J["mid_hip"], :2].abs().max()) < 1e-3
    skin = joints[..., 2] - SKIN * people.stature[:, None]
    low = skin.amin(1)
    assert float(low.min()) > -1  # nothing sinks, soles included
    if name in ("jumping", "running"):
        assert 0.02 < float((low > 1).float().mean()) < 0.95  # some fly
    elif name == "hanging":
        assert float((low / people.stature).min()) > 0.019  # nobody touches the floor
    else:
        assert float(low.max()) < 1
    assert float(possible(joints, people.stature).float().mean()) > 0.99
    again, _ = sample_poses(people, name, gen(3))
    assert torch.equal(again, joints)


def test_chairs_floor_and_upright():
    people = sample_people(400, gen())
    seat = sample_poses(people, "sitting", gen())[0][:, J["mid_hip"], 2] - 0.055 * people.stature  # hips above the seat
    assert float(seat.min()) > 395
    assert float(seat.max()) < 505
    for name, low, high in (("standing", 0.93, 1.01), ("walking", 0.9, 1.02), ("crouching", 0.4, 0.95), ("lying", 0.03, 0.45),
                            ("sitting", 0.6, 0.95), ("sitting_floor", 0.3, 0.75), ("reaching_up", 1.0, 1.4)):  # fmt: skip
        gamma = posture_factor(sample_poses(people, name, gen())[0], people.stature)
        assert low < float(gamma.quantile(0.1)), name
        assert float(gamma.quantile(0.9)) < high, name


def test_walking_swings_the_arm_against_the_leg():
    people = sample_people(3000, gen())
    joints = sample_poses(people, "walking", gen())[0]
    leg = joints[:, J["left_ankle"], 0] - joints[:, J["right_ankle"], 0]
    arm = joints[:, J["left_wrist"], 0] - joints[:, J["right_wrist"], 0]
    assert float(torch.corrcoef(torch.stack([leg, arm]))[0, 1]) < -0.4


def test_mixtures_hold_their_weights_and_the_test_twin_differs():
    people = sample_people(4000, gen())
    names = list(ACTIVITIES)
    for _mixture, weights in MIXTURES.items():
        assert sum(weights.values()) == pytest.approx(1)
        assert set(weights) <= set(names)
    labels = sample_poses(people, "haggling", gen())[1]
    for name, weight in MIXTURES["haggling"].items():
        assert float((labels == names.index(name)).float().mean()) == pytest.approx(weight, abs=0.03)
    trained = {a for m in ("haggling", "mafia", "ultimatum", "pizza", "muco") for a in MIXTURES[m]}
    assert not trained & set(MIXTURES["mupots"])
    assert set(MIXTURES["all"]) == set(names)
    with pytest.raises(InputError):
        sample_poses(people, "levitating", gen())
    joints, labels = sample_poses(people[slice(0, 0)], "all", gen())
    assert joints.shape == (0, 17, 3)
    assert labels.shape == (0,)


def test_impossible_bodies_are_seen():
    people = sample_people(1, gen())
    joints = settle(pose(people.offsets, torch.zeros(1, 17, 3)), people.stature)
    assert bool(possible(joints, people.stature))
    for joint, target in (("left_wrist", "spine"), ("right_wrist", "head"), ("left_knee", "neck"), ("left_ankle", "right_ankle")):
        bad = joints.clone()
        bad[:, J[joint]] = bad[:, J[target]]
        assert not bool(possible(bad, people.stature)), joint


def test_ten_thousand_poses_are_fast():
    people = sample_people(10_000, gen())
    sample_poses(people[slice(0, 100)], "all", gen())
    start = time.process_time()
    sample_poses(people, "all", gen())
    assert time.process_time() - start < 6  # about 0.5 s of one idle core


# ---- contact sheets --------------------------------------------------------------------------------------------------------------


def test_view_and_contact_sheet():
    np.testing.assert_allclose(view_of([[1.0, 2.0, 3.0]], 0.0), [[2, 3, 1]])  # from the front: the person's left is on the right
    np.testing.assert_allclose(view_of([[1.0, 2.0, 3.0]], -math.pi / 2), [[1, 3, -2]], atol=1e-12)  # from its right: forward is right
    people = sample_people(10, gen())
    joints = sample_poses(people, "standing", gen())[0]
    joints[3, J["left_wrist"]] = math.nan
    sheet = contact_sheet(joints, people.stature, {0: "standing"}, columns=8)
    assert sheet.size == (8 * 76, 2 * 90 + 16)
    assert sheet.mode == "P"
    data = io.BytesIO()
    sheet.save(data, format="png")
    assert len(data.getvalue()) < 30_000
    assert len(np.unique(np.asarray(sheet)[:, 76:152])) > 4  # somebody is in the second cell
    with pytest.raises(InputError):
        contact_sheet(joints[:, :15], people.stature)
