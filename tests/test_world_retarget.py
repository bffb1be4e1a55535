"""A sampled pose on the person's own bones: lengths, directions, floor, missing joints; against a loop in plain Python."""

import math
import time
from pathlib import Path

import pytest
import torch

from vp.data.mocap import read_clips
from vp.errors import InputError
from vp.skeleton import JOINTS_17
from vp.world.bank import PoseBank
from vp.world.body import SKIN, cast, possible, retarget, sample_people
from vp.world.poses import PARENT

J = {name: i for i, name in enumerate(JOINTS_17.joints)}
BONES = [(J[parent], J[child]) for child, parent in PARENT.items() if parent]
CLIPS = Path(__file__).parents[2] / "shared" / "data" / "bvh"


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def virtual():
    return PoseBank.procedural(500, "all", cast("muco"), gen())


@pytest.fixture(scope="module")
def recorded():
    if not CLIPS.is_dir():
        pytest.skip("no sample clips beside the repository (shared/data/bvh)")
    return PoseBank.from_clips(read_clips(CLIPS), every=10)


@pytest.fixture(params=["virtual", "recorded"])
def bank(request):
    return request.getfixturevalue(request.param)


def vectors(joints):
    """(N, 16, 3) from each parent to its child."""
    return torch.stack([joints[:, child] - joints[:, parent] for parent, child in BONES], 1)


def lengths(people):
    return torch.stack([people.offsets[:, child].norm(dim=-1) for _, child in BONES], 1)


def lowest(joints, stature):
    low = joints[..., 2] - SKIN * stature[:, None]
    return torch.where(low.isnan(), math.inf, low).amin(1)


def everybody(n):
    """Adults, children, and two people far out."""
    people = sample_people(n, gen(7), children=0.4)
    people.offsets[0] *= 2050 / people.stature[0]
    people.stature[0] = 2050.0
    people.offsets[1] *= 900 / people.stature[1]
    people.stature[1] = 900.0
    return people


def test_bones_are_the_persons_and_directions_the_poses(bank):
    people = everybody(600)
    joints, valid, index = bank.sample(600, gen(), people=people)
    assert torch.equal(index, bank.sample(600, gen())[2])  # the same draws
    assert valid.all()
    assert joints.dtype == torch.float32
    before, after = vectors(bank.joints[index]), vectors(joints)
    assert float((after.norm(dim=-1) - lengths(people)).abs().max()) < 0.05
    assert float(torch.nn.functional.cosine_similarity(before, after, dim=-1).min()) > 1 - 1e-5
    assert float(joints[:, J["mid_hip"], :2].abs().max()) < 1e-3


def test_another_posture_leaves_the_bones_alone(bank):
    """The counterfactual: the same people, poses drawn anew; and another stature scales all of a body."""
    people = cast("panoptic")
    a, b = (bank.sample(32, gen(seed), people=people)[0] for seed in (1, 2))
    assert float((a - b).norm(dim=-1).mean()) > 100  # other postures
    assert float((vectors(a).norm(dim=-1) - vectors(b).norm(dim=-1)).abs().max()) < 0.05
    people.stature, people.offsets = 1.1 * people.stature, 1.1 * people.offsets
    torch.testing.assert_close(bank.sample(32, gen(1), people=people)[0], 1.1 * a, atol=0.05, rtol=0)


def test_floor(bank):
    people = everybody(600)
    joints, _, index = bank.sample(600, gen(3), people=people)
    was = lowest(bank.joints[index], bank.stature[index]) / bank.stature[index]
    now = lowest(joints, people.stature) / people.stature
    assert float(now.min()) > -1e-5
    torch.testing.assert_close(now, was.clamp(min=0), atol=1e-5, rtol=0)
    grounded = was < 1e-4
    assert grounded.any()  # and those touch the floor
    assert float((now[grounded] * people.stature[grounded]).max()) < 0.3


def test_virtual_bodies_stay_possible(virtual):
    people = everybody(500)
    joints, _, _ = virtual.sample(500, gen(4), people=people)
    assert float(possible(joints, people.stature).float().mean()) > 0.95  # 0.98 to 0.99: limbs that nearly touch


def test_the_own_pose_is_left_as_it_is():
    people = cast("muco")
    bank = PoseBank.procedural(200, "mupots", people, gen(5))
    same = torch.tensor([people.stature.tolist().index(s) for s in bank.stature.tolist()])
    torch.testing.assert_close(retarget(bank.joints, bank.stature, people[same]), bank.joints, atol=0.05, rtol=0)


# ---- missing joints --------------------------------------------------------------------------------------------------------------


def naive(x, stature, own, tall):
    """One body in plain Python: x {joint: (x, y, z)} of the known ones, own {joint: length to its parent} mm."""
    new = {}
    for name, parent in PARENT.items():
        if parent is None:
            new[name] = x[name]
        elif name in x:
            length, up = own[name], parent
            while up not in x:
                length, up = length + own[up], PARENT[up]
            gap = math.dist(x[name], x[up])
            if up != parent and name not in ("spine", "neck", "head", "head_top"):
                length = min(length, gap * tall / stature)
            new[name] = [n + (b - a) * length / gap for n, a, b in zip(new[up], x[up], x[name], strict=True)]
    skin = {name: float(SKIN[J[name]]) for name in x}
    was, now = (min(p[2] - skin[name] * s for name, p in y.items()) for y, s in ((x, stature), (new, tall)))
    shift = max(was, 0.0) * tall / stature - now
    return {name: (p[0] - new["mid_hip"][0], p[1] - new["mid_hip"][1], p[2] + shift) for name, p in new.items()}


def test_against_a_loop_with_joints_missing_at_random(virtual):
    people, stature = everybody(120), virtual.stature[:120]
    joints = virtual.joints[:120].clone()
    gone = torch.rand(120, 17, generator=gen(6)) < torch.linspace(0, 0.6, 120)[:, None]
    gone[:, J["mid_hip"]] = False
    joints[gone] = math.nan
    out = retarget(joints, stature, people)
    assert torch.equal(out.isnan().any(-1), gone)
    for n in range(120):
        x = {name: joints[n, j].tolist() for name, j in J.items() if not gone[n, j]}
        own = {name: float(people.offsets[n, j].double().norm()) for name, j in J.items()}
        for name, p in naive(x, float(stature[n]), own, float(people.stature[n])).items():
            assert out[n, J[name]].tolist() == pytest.approx(p, abs=0.05), (n, name)


def test_missing_joints_by_hand(virtual):
    """Without a spine the trunk has the person's length; without an elbow the hand keeps its distance, scaled with the stature."""
    people = sample_people(50, gen(8), stature=1200.0)
    joints = virtual.joints[:50].clone()
    joints[:, [J["spine"], J["head"], J["left_elbow"]]] = math.nan
    bank = PoseBank(joints, ~joints.isnan().any(-1), virtual.stature[:50], ("all",) * 50, "holes")
    out, valid, index = bank.sample(50, gen(9), people=people)
    assert torch.equal(valid, ~out.isnan().any(-1))
    assert not valid[:, J["left_elbow"]].any()
    own = people.offsets.norm(dim=-1)

    def gap(x, a, b):
        return (x[:, J[a]] - x[:, J[b]]).norm(dim=-1)

    torch.testing.assert_close(gap(out, "mid_hip", "neck"), own[:, J["spine"]] + own[:, J["neck"]], atol=0.05, rtol=0)
    torch.testing.assert_close(gap(out, "neck", "head_top"), own[:, J["head"]] + own[:, J["head_top"]], atol=0.05, rtol=0)
    hand = gap(bank.joints[index], "left_shoulder", "left_wrist") * 1200 / bank.stature[index]
    arm = own[:, J["left_elbow"]] + own[:, J["left_wrist"]]
    torch.testing.assert_close(gap(out, "left_shoulder", "left_wrist"), torch.minimum(hand, arm), atol=0.05, rtol=0)


# ---- use -------------------------------------------------------------------------------------------------------------------------


def test_bad_calls(virtual):
    people = cast("muco")
    for bad in ({"people": people, "stature": 1700.0}, {"people": people[slice(0, 3)]}):
        with pytest.raises(InputError, match=r"PoseBank\.sample"):
            virtual.sample(8, gen(), **bad)


def test_ten_thousand_are_fast(virtual):
    people = sample_people(10_000, gen())
    virtual.sample(100, gen(), people=people[slice(0, 100)])
    start = time.process_time()
    virtual.sample(10_000, gen(), people=people)
    assert time.process_time() - start < 0.5  # about 0.02 s


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu(virtual):
    people = cast("muco")
    here = virtual.sample(8, gen(), people=people)[0]
    there = virtual.to("cuda").sample(8, gen(), people=people)[0]
    torch.testing.assert_close(there.cpu(), here, atol=0.05, rtol=0)
