"""Placement: the published way (golden), bodies apart against a naive double loop, numbers of people, wished shares, steered occlusion."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_world_scenes import BANK, PEOPLE, J, scenes

from vp.camera import Camera
from vp.skeleton import JOINTS_17
from vp.world import placement
from vp.world.placement import IN_VIEW, MARGIN, OUTSIDE, PUBLISHED, TRUNCATED, Placement, _ahead, footprint, place, segment_distance
from vp.world.poses import POSTURES
from vp.world.scenes import SceneConfig, body_gaps, make_scenes, turn
from vp.world.visibility import LIMB_RADIUS


@pytest.mark.parametrize("seed", [3, 8])
def test_the_published_placement(shared, seed):
    """placement.npz: the drawn places, offered to each person in turn, give the published scene; published angles turn clockwise."""
    golden = np.load(shared / "golden/placement.npz", allow_pickle=False)
    drawn = torch.from_numpy(golden[f"s{seed}_centers_drawn"]).double()
    poses = torch.from_numpy(golden["pose_list"][golden[f"s{seed}_pose_no"]]).double()
    root = poses[:, [J("mid_hip")]].clone()
    level = root * torch.tensor([1, 1, 0])  # the root's height above the floor is kept
    bodies = turn(poses - level, -torch.from_numpy(golden[f"s{seed}_theta"]).double())
    u = torch.nn.functional.pad((drawn + 2000) / 4000, (0, 1)).expand(1, 4, *drawn.shape[:1], 3)
    xy, found = place(bodies[None], torch.ones(1, 4, 17, dtype=torch.bool), None, PUBLISHED, u, torch.zeros(1, 4, 2))
    assert found.all()
    assert torch.allclose(xy[0], drawn[torch.from_numpy(golden[f"s{seed}_accepted"]).bool()], atol=1e-6)
    out = bodies + torch.nn.functional.pad(xy[0], (0, 1))[:, None]
    assert torch.allclose(out, torch.from_numpy(golden[f"s{seed}_joints_3d"]).double(), atol=4e-3)


def test_the_published_preset():
    s = scenes(500, SceneConfig("panoptic:16", (4, 4), PUBLISHED))
    roots = s.joints[:, :, J("mid_hip")]
    assert s.mask.all()
    assert roots[..., :2].abs().max() <= 2000
    apart = torch.cdist(roots[..., :2], roots[..., :2])[:, *np.triu_indices(4, 1)]
    assert 600 < apart.min() < 620
    # uniform in the square as far as the distance allows: quartiles of x and y, and equal chances of all directions
    assert roots[..., :2].quantile(torch.tensor([0.25, 0.5, 0.75])).tolist() == pytest.approx([-1000, 0, 1000], abs=90)
    assert s.yaw.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist() == pytest.approx([math.pi / 2, math.pi, 3 * math.pi / 2], abs=0.2)
    heights = s.joints[..., J("mid_hip"), 2] / s.stature * 1750
    assert torch.allclose(heights, BANK.joints[s.pose, J("mid_hip"), 2], atol=0.01)
    assert (body_gaps(s) < 0).any()  # the published way lets bodies interpenetrate (arms, lying people)


def naive_gap(a, b, stature_a, stature_b):
    """Least distance of two bodies' capsules, limb by limb, by points 10 mm apart."""
    least = math.inf
    limbs = JOINTS_17.limb_pairs

    def points(body, i, k):
        return np.linspace(body[i], body[k], 60)

    for m, (i, k) in enumerate(limbs):
        for n, (p, q) in enumerate(limbs):
            if np.isfinite(a[[i, k]]).all() and np.isfinite(b[[p, q]]).all():
                d = np.linalg.norm(points(a, i, k)[:, None] - points(b, p, q), axis=-1).min()
                least = min(least, d - LIMB_RADIUS[m] * stature_a - LIMB_RADIUS[n] * stature_b)
    return least


def test_bodies_do_not_interpenetrate():
    crowd = SceneConfig("mupots", (6, 6))
    s = scenes(200, crowd)
    assert (s.pose == len(POSTURES)).any()  # lying people are among them
    gaps = body_gaps(s)
    assert gaps.min() > 0
    assert s.mask.float().mean() > 0.995  # hardly anybody finds no place
    tightest = gaps.amin((1, 2)).argsort()[:4].tolist()
    for i in tightest:
        a, b = np.unravel_index(gaps[i].argmin(), gaps[i].shape)
        naive = naive_gap(s.joints[i, a].numpy(), s.joints[i, b].numpy(), float(s.stature[i, a]), float(s.stature[i, b]))
        assert 0 < naive <= gaps[i].min() + 1
    loose = scenes(200, replace(crowd, placement=Placement(clearance=None)))
    assert body_gaps(loose).min() < 0  # without the rule they would


def test_too_many_people_for_the_place():
    s = scenes(32, SceneConfig("mupots", (10, 10), Placement(area=900.0)))
    assert not s.mask.all()
    assert s.mask[:, 0].all()
    assert body_gaps(s).min() > 0
    roots = s.joints[:, :, J("mid_hip"), :2].nan_to_num(1e6)
    for b in range(32):
        r = roots[b][s.mask[b]]
        assert (torch.cdist(r, r) + 1e6 * torch.eye(len(r))).min() > 600


def test_number_of_people():
    s = scenes(1000, SceneConfig("mupots", (1, 10), Placement(area=5000.0)))
    counts = torch.bincount(s.mask.sum(1), minlength=11)
    assert counts[0] == 0
    assert counts[1:].tolist() == pytest.approx([100] * 10, abs=45)
    assert s.joints[~s.mask].isnan().all()
    assert not s.valid[~s.mask].any()
    assert not s.visible[~s.mask].any()
    assert torch.isfinite(s.joints[s.valid]).all()
    assert s.joints[~s.valid].isnan().all()
    for b in range(50):  # nobody twice
        assert len(set(s.identity[b].tolist())) == 10
    few = make_scenes(SceneConfig(people=(4, 4)), BANK, PEOPLE[torch.tensor([3])], 5, 0)  # unless there are too few
    assert few.identity.unique().tolist() == [0]


def test_footprint_by_hand():
    points = torch.tensor([[0, 0, 0], [1000, 0, 5], [400, 100, 9], [300, -60, 2], [9e9, 9e9, 9e9]], dtype=torch.float64)
    valid = torch.tensor([True, True, True, True, False])
    for angle in (0.0, 0.7, 2.9):
        ends, radius = footprint(turn(points, torch.tensor(angle).double()), valid)
        back = turn(torch.nn.functional.pad(ends, (0, 1)), torch.tensor(-angle).double())
        back = back[back[:, 0].argsort()]
        assert (ends[0] - ends[1]).norm().item() == pytest.approx(1000, rel=0.01)
        assert radius.item() == pytest.approx(80, rel=0.1)  # (100 + 60) / 2, up to the tilt of the principal axis
        assert back[:, 0].tolist() == pytest.approx([0, 1000], abs=20)
    bodies = BANK.joints[:, :, :]
    ends, radius = footprint(bodies, BANK.valid)
    for i in range(len(bodies)):  # all joints lie in the capsule
        for j in torch.nonzero(BANK.valid[i]).flatten().tolist():
            p = bodies[i, j, :2].expand(2, 2)
            assert segment_distance(ends[i], p) <= radius[i] + 0.01
    assert (ends[-1, 0] - ends[-1, 1]).norm() > 1600  # the lying one
    assert (ends[0, 0] - ends[0, 1]).norm() < 500  # standing


def test_segment_distance_against_points():
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 200, 2, 2, generator=g, dtype=torch.float64)
    k = torch.linspace(0, 1, 300, dtype=torch.float64)[:, None]
    p, q = ((s[:, None, 0] * (1 - k) + s[:, None, 1] * k) for s in (a, b))
    naive = torch.cdist(p, q).amin((1, 2))
    assert (segment_distance(a, b) - naive).abs().max() < 0.005
    assert (segment_distance(a, b) == 0).any()  # crossing ones are among them


def test_a_disc_of_places():
    s = scenes(500, SceneConfig("panoptic:16", (2, 2), Placement(area=1300.0, disc=True, clearance=None)))
    first = s.joints[:, 0, J("mid_hip"), :2]  # the second keeps its distance
    reach = first.norm(dim=-1)
    assert reach.max() <= 1300
    assert (reach / 1300).square().quantile(torch.tensor([0.25, 0.5, 0.75])).tolist() == pytest.approx([0.25, 0.5, 0.75], abs=0.06)
    assert torch.atan2(*first.unbind(-1)).quantile(torch.tensor([0.25, 0.75])).tolist() == pytest.approx([-1.57, 1.57], abs=0.3)


@pytest.mark.parametrize("rules", [
    Placement(area=1000.0), Placement(area=None, shares=(0.5, 0.3, 0.2), occluded=0.4), Placement(area=1500.0, disc=True, someone=True),
])  # fmt: skip
def test_later_trials_are_looked_at_only_where_needed(rules, monkeypatch):
    config = SceneConfig("panoptic:19", (5, 5), rules)
    late = scenes(96, config)
    monkeypatch.setattr(placement, "EAGER", rules.trials)  # all trials for everybody
    full = scenes(96, config)
    assert torch.equal(late.mask, full.mask)
    assert torch.equal(late.joints.nan_to_num(0), full.joints.nan_to_num(0))
    monkeypatch.setattr(placement, "EAGER", 1)
    assert torch.equal(scenes(96, config).joints.nan_to_num(0), full.joints.nan_to_num(0))


# ---- somebody in the picture -------------------------------------------------------------------------------------------------------------


def root_inside(s):
    """(B, P) bool: the root lies on the picture, by the pinhole equation."""
    cam = torch.einsum("bij,bpj->bpi", s.camera.R, s.joints[:, :, J("mid_hip")].double()) + s.camera.t[:, None]
    uv = cam[..., :2] / cam[..., 2:] * s.camera.f[:, None] + s.camera.c[:, None]
    return s.mask & (cam[..., 2] > 10) & (uv > -0.5).all(-1) & (uv < torch.tensor(s.camera.size) - 0.5).all(-1)


AWAY = Camera.from_angles(0.1, 0.0, 0.03, (9000.0, 0.0, 1700.0), 1500.0)  # has its back to the square of places, 9 m away


def test_somebody_is_in_the_picture():
    square = Placement(area=2000.0)
    for camera, rules in ((AWAY, square), (AWAY, replace(square, disc=True)), ("panoptic:19", Placement(area=None, shares=(0, 0, 1)))):
        config = SceneConfig(camera, (1, 4), rules)
        plain, held = scenes(64, config), scenes(64, replace(config, placement=replace(rules, someone=True)))
        assert not root_inside(plain).any()
        assert root_inside(held)[:, 0].all()
        same = held.joints[:, 1:] == plain.joints[:, 1:]  # the others' places change only where the first stands in their way
        assert (same | plain.joints[:, 1:].isnan()).all(-1).all(-1).float().mean() > 0.7
        assert torch.equal(held.camera.R, plain.camera.R)
        other = scenes(64, replace(config, placement=replace(rules, someone=True)), changed={"posture": 3, "clothes": 4})
        both = held.mask & other.mask
        assert torch.equal(held.joints[:, :, J("mid_hip"), :2][both], other.joints[:, :, J("mid_hip"), :2][both]), "places are kept"


def test_who_is_in_the_picture_anyway_stays():
    config = SceneConfig("panoptic:16", (3, 3), Placement(area=1300.0, disc=True))
    plain, held = scenes(200, config), scenes(200, replace(config, placement=replace(config.placement, someone=True)))
    inside = root_inside(plain)[:, 0]
    assert 0.5 < inside.float().mean() < 1
    assert torch.equal(held.joints[inside].nan_to_num(0), plain.joints[inside].nan_to_num(0))


@pytest.mark.parametrize("pitch", [-0.15, 0.0, 0.1, 0.3, 0.6, 0.85])
@pytest.mark.parametrize("root", [100.0, 1000.0, 2000.0])
@pytest.mark.parametrize("height", [500.0, 1500.0, 3600.0])
def test_straight_ahead_of_a_camera(pitch, root, height):
    """Against a search in steps of 10 mm from 1 to 12 m: of the places that show the root, the nearest to 3.75 m."""
    camera = Camera.from_angles(torch.tensor([pitch]), torch.tensor([0.7]), 0.0, torch.tensor([[300.0, -200.0, height]]), 1500.0)
    reach = torch.arange(1000.0, 12_001.0, 10.0)
    along = torch.stack([reach * math.cos(0.7) + 300, reach * math.sin(0.7) - 200, torch.full_like(reach, root)], -1)
    uv, _, ok = camera.project(along[None].double())
    shown = (camera.in_image(uv) & ok)[0] & ((uv[0, :, 1] - 539.5).abs() < 1500 * math.tan(MARGIN * math.atan(540 / 1500)))
    place = _ahead(camera, torch.tensor([root]))[0, 0]
    got = (place - torch.tensor([300.0, -200.0])).norm()
    assert math.atan2(place[1] + 200, place[0] - 300) == pytest.approx(0.7, abs=1e-4)
    assert 999 < got < 12_001
    if shown.any():
        best = reach[shown][(reach[shown] - 3750).abs().argmin()]
        assert got.item() == pytest.approx(best.item(), abs=15)


# ---- shares ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("camera", "view"), [("panoptic:16", (1500, 5000)), ("panoptic:19", (300, 4500)), ("mupots", (1500, 7000))])
@pytest.mark.parametrize("shares", [(1, 0, 0), (0.6, 0.3, 0.1), (0.2, 0.2, 0.6)])
def test_wished_shares_in_view(camera, view, shares):
    s = scenes(250, SceneConfig(camera, (4, 4), Placement(area=None, view=view, shares=shares)))
    got = [x[s.mask].float().mean().item() for x in (s.in_view, s.truncated, s.outside)]
    assert got == pytest.approx(shares, abs=0.05)
    assert sum(got) == pytest.approx(1)
    # the three words by hand, from the pixels
    uv, depth, _ = s.uv()
    w, h = s.camera.size
    inside = (uv[..., 0] > -0.5) & (uv[..., 0] < w - 0.5) & (uv[..., 1] > -0.5) & (uv[..., 1] < h - 0.5) & (depth > 10)
    share = inside.sum(-1) / s.valid.sum(-1)
    word = torch.where(share == 1, IN_VIEW, torch.where(share == 0, OUTSIDE, TRUNCATED))
    assert torch.equal(s.in_view, (word == IN_VIEW) & s.mask)
    assert torch.equal(s.outside, (word == OUTSIDE) & s.mask)


def test_occlusion_is_steered():
    """Share of people (but the first of a scene) with at least a fifth of their joints in the picture hidden by another person."""

    def share(wish):
        s = scenes(300, SceneConfig("mupots", (4, 4), Placement(area=None, occluded=wish)))
        inside = s.in_image()
        seen = inside.sum(-1)
        hit = (s.occluded & inside).sum(-1) >= 0.2 * seen
        return (hit & (seen > 8))[:, 1:].sum().item() / (seen > 8)[:, 1:].sum().item(), body_gaps(s).min()

    got = {w: share(w) for w in (0.0, 0.3, 0.6)}
    assert got[0.0][0] < 0.02
    assert got[0.3][0] == pytest.approx(0.3, abs=0.08)
    assert got[0.6][0] == pytest.approx(0.6, abs=0.10)
    assert min(gap for _, gap in got.values()) > 0
    assert share(None)[0] > 0.05  # as it falls: neither
