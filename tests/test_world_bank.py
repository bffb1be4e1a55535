"""PoseBank: sources, rescaling, manipulation, mixing; and coverage of recorded poses against a naive double loop."""

import math
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from vp.data.mocap import HEAD_TOP_MM, read_clips
from vp.data.mocap import Clip as RealClip
from vp.data.panoptic import read_poses
from vp.errors import InputError
from vp.skeleton import BVH, JOINTS_17, PANOPTIC_19
from vp.world import coverage
from vp.world.bank import PoseBank, estimate_stature, facing, from_bvh, to_body_frame
from vp.world.body import SKIN, cast, pose, possible, sample_people, settle
from vp.world.poses import PARENT

J = {name: i for i, name in enumerate(JOINTS_17.joints)}
DATA = Path(__file__).parents[2] / "shared" / "data"


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def bank():
    return PoseBank.procedural(400, "all", sample_people(60, gen()), gen(1))


def bones(joints):
    return torch.stack([(joints[:, J[j]] - joints[:, J[p]]).norm(dim=-1) for j, p in PARENT.items() if p], 1)


def lowest(joints, stature):
    low = joints[..., 2] - SKIN * stature[:, None]
    return torch.where(low.isnan(), math.inf, low).amin(1)


def turned(joints, yaw, shift):
    c, s = math.cos(yaw), math.sin(yaw)
    return joints @ torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1.0]], dtype=joints.dtype).T + torch.tensor([*shift, 0.0])


# ---- the body frame --------------------------------------------------------------------------------------------------------------


def test_yaw_and_place_are_removed(bank):
    straight = to_body_frame(bank.joints)
    for yaw in (-2.5, 0.4, 3.0):
        moved = turned(bank.joints, yaw, (300.0, -900.0))
        torch.testing.assert_close(to_body_frame(moved), straight, atol=0.05, rtol=0)
        off = (facing(moved) - facing(bank.joints) - yaw + math.pi) % (2 * math.pi) - math.pi
        assert float(off.abs().max()) < 1e-3
    assert float(straight[:, J["mid_hip"], :2].abs().max()) < 1e-3


# ---- sources ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Clip:
    """A recording by hand: one frame, upright, facing +Y, arms down."""

    name: str = "hand"
    stature: float = 1750.0
    head_top_mm: float = 200.0

    def poses(self):
        p = {
            "left_hip": (-90, 0, 900), "right_hip": (90, 0, 900), "mid_hip": (0, 0, 980), "spine": (0, 0, 1100), "neck": (0, -20, 1380),
            "left_shoulder": (-180, 0, 1400), "right_shoulder": (180, 0, 1400), "skull_base": (0, 0, 1517.5),
            "left_elbow": (-180, 0, 1120), "right_elbow": (180, 0, 1120), "left_wrist": (-180, 0, 870), "right_wrist": (180, 0, 870),
            "left_knee": (-90, 0, 490), "right_knee": (90, 0, 490), "left_ankle": (-90, 0, 90), "right_ankle": (90, 100, 70),
        }  # fmt: skip
        joints = torch.full((1, len(BVH), 3), math.nan, dtype=torch.float64)
        for name, xyz in p.items():
            joints[0, BVH.index(name)] = torch.tensor(xyz, dtype=torch.float64)
        return joints + torch.tensor([500.0, 40.0, 0.0]), ~joints.isnan().any(-1)


def test_clip_mapping_by_hand():
    clip = Clip()
    joints, valid = from_bvh(*clip.poses(), clip.stature, clip.head_top_mm)
    assert valid.all()
    assert joints[0, J["mid_hip"]].tolist() == pytest.approx([500, 40, 900])  # middle of the hips, not the clip's Hips
    assert joints[0, J["neck"]].tolist() == pytest.approx([500, 40, 1417.5])  # 1400 + 0.010 x 1750
    assert joints[0, J["head_top"]].tolist() == pytest.approx([500, 40, 1717.5])  # 200 mm above the base of the skull
    assert joints[0, J["head"]].tolist() == pytest.approx([500, 40, 1717.5 - 0.064 * 1750])

    bank = PoseBank.from_clips([clip])
    assert bank.activity == ("hand",)
    assert bank.source == "bvh"
    assert bank.joints.dtype == torch.float32
    # it faced +Y with its left at -X; in the body frame left is +Y and the right foot is 100 mm ahead
    assert bank.joints[0, J["left_hip"], :2].tolist() == pytest.approx([0, 90], abs=0.01)
    assert bank.joints[0, J["right_ankle"], :2].tolist() == pytest.approx([100, -90], abs=0.01)
    # its lowest skin is the right sole: 70 - 0.039 x 1750 = 1.75 mm above the file's zero, which becomes the floor
    assert float(bank.joints[0, J["right_ankle"], 2]) == pytest.approx(0.039 * 1750, abs=0.01)
    assert float(bank.joints[0, J["left_hip"], 2]) == pytest.approx(900 - 1.75, abs=0.01)


@pytest.mark.parametrize("tall", [1300.0, 1950.0])
def test_the_head_top_is_where_the_stature_counts_it(tall):
    """However tall the clip's person is: one rule, that of the clip, and not a share of the stature."""
    bank = PoseBank.from_clips([Clip(stature=tall, head_top_mm=210.0)])
    skull = 1517.5 - 1400 - 0.010 * tall  # above the neck, which stands 0.010 x stature above the shoulders at 1400
    assert float(bank.joints[0, J["head_top"], 2] - bank.joints[0, J["neck"], 2]) == pytest.approx(skull + 210, abs=0.01)
    assert RealClip("", None, (), (), 1.0, 1.0, tall, None).head_top_mm == HEAD_TOP_MM  # which `_stature` adds


def test_recorded_joints_of_another_skeleton():
    clip, _ = Clip().poses()
    names = {"neck": "neck", "mid_hip": None, **{j: j for j in PANOPTIC_19.joints if j.startswith(("left", "right"))}}
    joints = torch.full((2, 19, 3), math.nan, dtype=torch.float64)
    for ours, theirs in names.items():
        if theirs in BVH.joints:
            joints[0, PANOPTIC_19.index(ours)] = clip[0, BVH.index(theirs)]
    joints[0, 0], joints[0, 2] = clip[0, BVH.index("neck")], torch.tensor([500.0, 40.0, 900.0])
    valid = ~joints.isnan().any(-1)  # the second body has nothing at all
    bank = PoseBank.from_joints(joints, valid, PANOPTIC_19, stature=1750.0, source="panoptic:test")
    assert len(bank) == 1
    assert not bank.valid[0, J["head_top"]]
    assert not bank.valid[0, J["spine"]]
    assert bank.joints[0, J["head_top"]].isnan().all()
    assert bank.joints[0, J["left_knee"]].tolist() == pytest.approx([0, 90, 490], abs=0.01)  # heights stay
    guess = estimate_stature(bank.joints)
    # thigh 410 / 0.24245 = 1691, shank 400 or 432 / 0.24922 = 1605.., upper arm 280 / 0.16019, forearm 250 / 0.15339
    assert 1600 < float(guess[0]) < 1760


def test_procedural_bank_is_deterministic_and_from_its_people():
    people = cast("muco")
    a, b = (PoseBank.procedural(50, "muco", people, gen(5)) for _ in range(2))
    assert torch.equal(a.joints, b.joints)
    assert a.activity == b.activity
    assert a.source == "procedural:muco"
    assert set(a.stature.tolist()) <= set(people.stature.tolist())
    with pytest.raises(InputError):
        PoseBank(a.joints, a.valid[:3], a.stature, a.activity, "bad")


# ---- use -------------------------------------------------------------------------------------------------------------------------


def test_sampling_and_rescaling(bank):
    joints, valid, index = bank.sample(30, gen())
    assert torch.equal(joints, bank.joints[index])
    assert valid.all()
    scaled, _, same = bank.sample(30, gen(), stature=torch.full((30,), 1200.0))
    assert torch.equal(index, same)
    torch.testing.assert_close(bones(scaled) / 1200, bones(joints) / bank.stature[index, None], atol=1e-5, rtol=1e-4)
    other = bank.rescale(2000.0)
    assert (other.stature == 2000).all()
    torch.testing.assert_close(bones(other.joints) / 2000, bones(bank.joints) / bank.stature[:, None], atol=1e-5, rtol=1e-4)
    assert float(lowest(other.joints, other.stature).min()) > -1  # still on the floor
    torch.testing.assert_close(other.rescale(bank.stature).joints, bank.joints, atol=0.01, rtol=0)
    part = bank[torch.tensor([4, 4, 7])]
    assert part.activity == tuple(bank.activity[i] for i in (4, 4, 7))
    assert len(bank[bank.stature > 1700]) < len(bank)


def test_manipulation_keeps_bones_floor_and_sense(bank):
    out = bank.manipulate(gen(2), 12.0)
    torch.testing.assert_close(bones(out.joints), bones(bank.joints), atol=0.05, rtol=0)
    torch.testing.assert_close(
        lowest(out.joints, out.stature), lowest(bank.joints, bank.stature).clamp(min=0), atol=0.5, rtol=0
    )  # jumps keep their height
    moved = (out.joints - bank.joints).norm(dim=-1).mean(1)
    assert 20 < float(moved.median()) < 250
    fine = possible(bank.joints, bank.stature)
    assert possible(out.joints, out.stature)[fine].all()
    assert torch.equal(out.joints, bank.manipulate(gen(2), 12.0).joints)
    torch.testing.assert_close(bank.manipulate(gen(2), 0.0).joints, bank.joints, atol=0.6, rtol=0)
    for a, b, c, low in (("hip", "knee", "ankle", -1), ("shoulder", "elbow", "wrist", 1)):
        for s in ("left", "right"):
            u, v = (out.joints[:, J[f"{s}_{q}"]] - out.joints[:, J[f"{s}_{p}"]] for p, q in ((a, b), (b, c)))
            angle = torch.rad2deg(torch.acos(torch.nn.functional.cosine_similarity(u, v, dim=-1).clamp(-1, 1)))
            assert float(angle.max()) < (155.5 if low < 0 else 150.5)


def test_straight_knees_only_fold_backward():
    people = sample_people(200, gen(), stature=1750.0)
    rest = torch.zeros(200, 17, 3)
    joints = settle(pose(people.offsets, rest), people.stature)
    bank = PoseBank(joints, torch.ones(200, 17, dtype=torch.bool), people.stature, ("rest",) * 200, "rest")
    out = to_body_frame(bank.manipulate(gen(), 25.0).joints)
    for s in ("left", "right"):
        thigh, shank = out[:, J[f"{s}_knee"]] - out[:, J[f"{s}_hip"]], out[:, J[f"{s}_ankle"]] - out[:, J[f"{s}_knee"]]
        bend = torch.atan2(thigh[:, 0], -thigh[:, 2]) - torch.atan2(shank[:, 0], -shank[:, 2])  # in the sagittal plane
        assert float(torch.rad2deg(bend).min()) > -6  # 0 but for the rest of a turned pelvis
        assert float((torch.rad2deg(bend) > 8).float().mean()) > 0.2


def test_manipulation_with_missing_joints(bank):
    holes = bank.joints.clone()
    gone = [J[j] for j in ("head", "head_top", "spine", "left_wrist", "right_ankle")]
    holes[:, gone] = math.nan
    partial = PoseBank(holes, ~holes.isnan().any(-1), bank.stature, bank.activity, "holes")
    out = partial.manipulate(gen(), 10.0)
    assert torch.equal(out.joints.isnan(), holes.isnan())
    before, after = bones(holes), bones(out.joints)
    known = ~before.isnan()
    torch.testing.assert_close(after[known], before[known], atol=0.05, rtol=0)


def test_mix_draws_by_weight(bank):
    other = PoseBank.procedural(30, "lying", sample_people(30, gen()), gen())
    mixed = PoseBank.mix([bank, other], [3.0, 1.0], 2000, gen())
    share = sum(a == "lying" for a in mixed.activity) / 2000
    native = sum(a == "lying" for a in bank.activity) / len(bank)
    assert share == pytest.approx(0.25 + 0.75 * native, abs=0.04)
    assert mixed.source == "procedural:all + procedural:lying"
    assert torch.equal(mixed.joints, PoseBank.mix([bank, other], [3.0, 1.0], 2000, gen()).joints)
    assert len(set(PoseBank.mix([bank, other], [0.0, 1.0], 50, gen()).activity)) == 1
    empty = other[torch.tensor([], dtype=torch.long)]
    for banks, weights in (([], []), ([bank], [1, 2]), ([bank, other], [0, 0]), ([bank, empty], [1, 1])):
        with pytest.raises(InputError):
            PoseBank.mix(banks, weights, 5, gen())


# ---- coverage --------------------------------------------------------------------------------------------------------------------


def test_nearest_is_the_naive_double_loop(bank):
    a, b = coverage.aligned(bank[torch.arange(6)]), coverage.aligned(bank[torch.arange(6, 40)])
    a[1, 4] = math.nan  # one joint missing
    d, i, curve = coverage.nearest(a, b, marks=(5, 34), chunk=(4, 7))
    for k in range(6):
        best, first5 = (math.inf, -1), math.inf
        for m in range(34):
            parts = [math.dist(a[k, j].tolist(), b[m, j].tolist()) for j in range(a.shape[1]) if not a[k, j].isnan().any()]
            mean = sum(parts) / len(parts)
            best, first5 = min(best, (mean, m)), min(first5, mean if m < 5 else math.inf)
        assert float(d[k]) == pytest.approx(best[0], rel=1e-4)
        assert int(i[k]) == best[1]
        assert float(curve[0, k]) == pytest.approx(first5, rel=1e-4)
        assert float(curve[1, k]) == float(d[k])


def test_measure_counts_and_aligns(bank):
    moved = PoseBank(turned(bank.joints, 1.0, (50.0, 70.0)), bank.valid, bank.stature, bank.activity, "moved").rescale(1500.0)
    same = coverage.measure(moved, bank, frames=50, back=20, marks=(10,))
    assert float(same.distance.max()) < 0.5
    assert float(same.reverse.max()) < 0.5
    assert same.share(80) == 1.0
    assert same.marks == (10, 400)
    assert same.curve.shape == (2, 50)
    shifted = bank.joints.clone()
    shifted[:, [J["left_wrist"], J["right_wrist"]]] += torch.tensor([0, 0, 500.0])  # 2 of 15 joints, 500 mm: about 67 mm on average
    few = PoseBank(shifted[:1].repeat(2, 1, 1), bank.valid[:2], bank.stature[:1].repeat(2), ("up", "up"), "shifted")
    one = coverage.measure(few, bank[torch.arange(1)], marks=())
    assert float(one.distance[0]) == pytest.approx(2 / 15 * 500 * 1750 / float(bank.stature[0]), rel=1e-3)
    assert one.share(60, lambda a: a == "up") == 0.0
    rows = {r[0]: r for r in same.table()}
    assert rows["all"][1:4] == (50, 1.0, 1.0)
    half = bank.joints.clone()
    half[:, J["left_ankle"]] = math.nan
    assert float(coverage.measure(PoseBank(half, ~half.isnan().any(-1), bank.stature, bank.activity, "half"), bank).distance.max()) < 0.5


def test_gamma_and_bone_ratios_by_hand():
    bank = PoseBank.from_clips([Clip()])
    ratios = coverage.bone_ratios(bank)
    assert ratios["thigh"][0] == pytest.approx(410 / 1750, abs=1e-4)
    assert ratios["shoulders"][0] == pytest.approx(360 / 1750, abs=1e-4)
    assert ratios["trunk"] == (pytest.approx(517.5 / 1750, abs=1e-4), 0.0)
    rows = {r[0]: r[1:] for r in coverage.side_by_side(bank, bank.rescale(1000.0))}
    assert rows["thigh / stature"][0] == pytest.approx(rows["thigh / stature"][1])
    assert rows["gamma, 50 %"][0] == pytest.approx((1717.5 - 70) / 1750 + 0.039, abs=1e-3)


# ---- recorded data ---------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "bvh").is_dir(), reason="no sample clips beside the repository (shared/data/bvh)")
def test_real_motion_is_covered():
    recorded = PoseBank.from_clips(read_clips(DATA / "bvh"))
    assert len(recorded) == 9052
    assert recorded.valid.all()
    assert float(lowest(recorded.joints, recorded.stature).min()) > -1
    virtual = PoseBank.procedural(20_000, "all", sample_people(4000, gen()), gen())
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = coverage.measure(recorded, virtual, frames=250, back=200)
    assert time.process_time() - start < 90
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1e6  # kB, whatever other tests took in this process
    assert found.share(120) > 0.88
    assert found.share(160) > 0.95
    assert found.share(120, lambda a: a != "01_14") > 0.93  # without the climbing on a playground
    assert list(found.curve.mean(1)) == sorted(found.curve.mean(1), reverse=True)


@pytest.mark.skipif(not (DATA / "panoptic").is_dir(), reason="no sample poses beside the repository (shared/data/panoptic)")
def test_real_panoptic_people_are_covered():
    read = [read_poses(f) for f in sorted((DATA / "panoptic").rglob("body3DScene_*.json"))]
    joints, valid = (torch.cat([r[k] for r in read]) for k in (1, 2))
    recorded = PoseBank.from_joints(joints, valid, PANOPTIC_19, source="panoptic:band")
    assert len(recorded) == 60
    assert not recorded.valid[:, J["head_top"]].any()
    virtual = PoseBank.procedural(10_000, "all", sample_people(4000, gen()), gen())
    found = coverage.measure(recorded, virtual, back=50)
    assert found.share(120) > 0.85  # three seated musicians, not looked at when the activities were made
    assert torch.isfinite(found.reverse).all()
