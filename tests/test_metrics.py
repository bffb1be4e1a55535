"""Metrics and pairings against hand-computed numbers and naive loops."""

import itertools
import math

import numpy as np
import pytest
import torch

from vp import published
from vp.camera import Camera
from vp.metrics import (
    AUC_THRESHOLDS,
    PAIR_JOINTS,
    PCK_JOINTS,
    View,
    aligned_errors,
    auc,
    average_precision,
    by_sequence,
    evaluate,
    joint_errors,
    mpjpe,
    mpjpe_aligned,
    mrpe,
    mrpe_xyz,
    nearest_pairs,
    pair_joints_px,
    pair_mupots,
    pair_panoptic,
    pair_root_px,
    pck,
    summarise,
)
from vp.sample import Sample
from vp.skeleton import JOINTS_15, MUCO_21

F, C = 1400.0, np.array([960.0, 540.0])
ROOT = 2


def people(n, J=15, seed=0, spread=2500):
    """n people in the camera frame, mm."""
    rng = np.random.default_rng(seed)
    roots = np.stack([rng.uniform(-spread, spread, n), rng.uniform(-300, 300, n), rng.uniform(4000, 9000, n)], -1)
    joints = roots[:, None] + rng.normal(0, 300, (n, J, 3))
    joints[:, ROOT] = roots
    return joints


def px(joints):
    return F * joints[..., :2] / joints[..., 2:] + C


def view(pred, gt, **kw):
    return View(pred, gt, pred_px=px(np.asarray(pred)), gt_px=px(np.asarray(gt)), **kw)


def moved_along_rays(joints, metres):
    """People pushed away from the camera along the ray of their root: the root's pixel stays."""
    root = joints[:, ROOT]
    return joints + (root * (1000 * metres / root[:, 2])[:, None])[:, None]


# ---- errors --------------------------------------------------------------------------------------------------------------------------


def test_shift_of_100_mm_in_depth():
    gt = people(4)
    out = summarise(evaluate([view(gt + [0, 0, 100.0], gt)], ROOT))
    hand = {"n": 4, "recall": 1, "precision": 1, "mrpe": 100, "mrpe_x": 0, "mrpe_y": 0, "mrpe_z": 100, "mpjpe": 100, "mpjpe_aligned": 0,
            "pck_abs_matched": 1, "pck_rel_all": 1, "pck_root_all": 1, "ap_root": 1, "auc_rel_all": 30 / 31}  # fmt: skip
    assert {k: out[k] for k in hand} == pytest.approx(hand)  # no error is below the threshold 0, so AUC is never 1


def test_shift_of_300_400_mm():
    gt = people(3)
    out = summarise(evaluate([view(gt + [300.0, -400.0, 0.0], gt)], ROOT, lambda v, root: [(i, i) for i in range(3)]))
    hand = {"mrpe": 500, "mrpe_x": 300, "mrpe_y": 400, "mrpe_z": 0, "mpjpe": 500, "pck_abs_matched": 0, "pck_root_matched": 0, "ap_root": 0}
    assert {k: out[k] for k in hand} == pytest.approx(hand)


def test_errors_against_loops():
    rng = np.random.default_rng(3)
    pred, gt, mask = people(6, seed=1), people(6, seed=2), rng.random((6, 15)) < 0.7
    mask[:, ROOT] = [True, True, False, True, True, True]
    mask[4] = False
    mask[5, ROOT] = True
    gt[~mask] = np.nan
    for i in range(6):
        absolute, relative = [], []
        for j in range(15):
            if mask[i, j]:
                absolute.append(math.dist(pred[i, j], gt[i, j]))
                relative.append(math.dist(pred[i, j] - pred[i, ROOT], gt[i, j] - gt[i, ROOT]))
        ours = [f(pred, gt, mask)[i] for f in (mpjpe, joint_errors)]
        assert ours[0] == pytest.approx(np.mean(absolute) if absolute else math.nan, nan_ok=True)
        assert ours[1][mask[i]] == pytest.approx(absolute)
        assert np.isnan(ours[1][~mask[i]]).all()
        rooted = mask[i, ROOT]
        assert mpjpe_aligned(pred, gt, ROOT, mask)[i] == pytest.approx(np.mean(relative) if rooted else math.nan, nan_ok=True)
        assert mrpe(pred, gt, ROOT, mask)[i] == pytest.approx(math.dist(pred[i, ROOT], gt[i, ROOT]) if rooted else math.nan, nan_ok=True)
        xyz = [abs(pred[i, ROOT, a] - gt[i, ROOT, a]) if rooted else math.nan for a in range(3)]
        assert mrpe_xyz(pred, gt, ROOT, mask)[i] == pytest.approx(xyz, nan_ok=True)
        if rooted:
            counted = [e for j, e in enumerate(relative)]
            assert pck(aligned_errors(pred, gt, ROOT, mask)[i], 400) == pytest.approx(sum(e < 400 for e in counted) / len(counted))


def test_a_masked_root_leaves_no_relative_or_root_error():
    pred, gt, mask = people(2, seed=1), people(2, seed=2), np.ones((2, 15), bool)
    mask[0, ROOT] = False  # the numbers are there, but not to be used
    assert np.isnan(aligned_errors(pred, gt, ROOT, mask)[0]).all()
    assert np.isnan(mrpe_xyz(pred, gt, ROOT, mask)[0]).all()
    assert np.isfinite(aligned_errors(pred, gt, ROOT, mask)[1]).all()
    assert np.isfinite(joint_errors(pred, gt, mask)[0]).sum() == 14
    out = summarise(evaluate([View(gt, gt, mask, counts=[True, True])], ROOT, lambda v, root: [(0, 0), (1, 1)]))
    assert (out["n"], out["n_people"], out["mrpe"], out["mpjpe_aligned"], out["ap_root"]) == (2, 2, 0, 0, 0.5)


def test_joints_that_pck_asks_for():
    gt = people(1)
    pred = gt.copy()
    pred[0, :5] += [0, 500.0, 0]
    pred[0, ROOT] = gt[0, ROOT]
    out = summarise(evaluate([view(pred, gt)], ROOT, joints=[0, 1, 5, 6, 7]))
    assert out["pck_abs_all"] == out["pck_rel_matched"] == pytest.approx(3 / 5)
    assert out["mpjpe"] == pytest.approx(4 * 500 / 15)  # always all joints


def test_torch_and_numpy_agree():
    pred, gt = people(3, seed=1), people(3, seed=2)
    assert mpjpe(torch.tensor(pred, requires_grad=True), torch.tensor(gt)) == pytest.approx(mpjpe(pred, gt))
    a, b = View(torch.tensor(pred), torch.tensor(gt)), View(pred, gt)
    assert nearest_pairs(a) == nearest_pairs(b)


def test_pck_and_auc_by_hand():
    errors = np.array([[10, 149.9, 150, 400], [np.nan, np.inf, 0, np.nan]])  # 6 known joints; the threshold itself is a miss
    assert pck(errors) == pytest.approx(3 / 6)
    assert pck(errors, 401) == pytest.approx(5 / 6)
    assert len(AUC_THRESHOLDS) == 31
    assert auc(np.array([52.0])) == pytest.approx(20 / 31)  # thresholds 55, 60, ..., 150
    assert auc(np.array([52.0, np.inf])) == pytest.approx(10 / 31)
    assert math.isnan(pck(np.full(3, np.nan)))
    rng = np.random.default_rng(0)
    errors = rng.exponential(80, 500)
    naive = sum(sum(e < t for e in errors) / 500 for t in range(0, 155, 5)) / 31
    assert auc(errors) == pytest.approx(naive)
    assert auc(errors) == pytest.approx(np.clip(1 - errors / 150, 0, 1).mean(), abs=0.02)  # the area it stands for


# ---- AP_root -------------------------------------------------------------------------------------------------------------------------


def naive_ap(score, hit, n_true):
    """Area under the best precision attainable at each recall, by walking recall in steps of 1 / n_true."""
    points = []
    for s in sorted(set(score)):
        chosen = [h for c, h in zip(score, hit) if c >= s]
        points.append((sum(chosen), sum(chosen) / len(chosen)))  # hits, precision
    return sum(max((p for n, p in points if n >= k), default=0.0) for k in range(1, n_true + 1)) / n_true


def test_average_precision():
    assert average_precision([0.9, 0.8, 0.7], [True, False, True], 2) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([0.9, 0.8, 0.7], [False, True, True], 4) == pytest.approx((2 / 3 + 2 / 3) / 4)
    assert average_precision([], [], 3) == 0
    assert math.isnan(average_precision([0.5], [False], 0))
    rng = np.random.default_rng(1)
    for _ in range(100):
        n = rng.integers(1, 12)
        score, hit = rng.integers(1, 9, n) / 10, rng.random(n) < 0.6  # with equal scores
        n_true = int(hit.sum() + rng.integers(0, 4))
        if n_true:
            assert average_precision(score, hit, n_true) == pytest.approx(naive_ap(score.tolist(), hit.tolist(), n_true))


def test_ap_root_against_loops():
    rng = np.random.default_rng(5)
    views, score, hit, n_true = [], [], [], 0
    scores = iter(rng.permutation(200) / 200)
    for v in range(12):
        gt = people(rng.integers(0, 5), seed=v, spread=900)
        pred = np.concatenate([np.repeat(gt, 2, 0)[rng.random(2 * len(gt)) < 0.7], people(rng.integers(0, 3), seed=50 + v)])
        pred = pred + rng.normal(0, 130, (len(pred), 1, 3))
        s = np.array([next(scores) for _ in pred])
        views.append(view(pred, gt, score=s))
        free, n_true = set(range(len(gt))), n_true + len(gt)
        for q in sorted(range(len(pred)), key=lambda q: -s[q]):
            near = min(((math.dist(pred[q, ROOT], gt[p, ROOT]), p) for p in free), default=(math.inf, None))
            score.append(s[q])
            hit.append(near[0] < 250)
            free -= {near[1]} if near[0] < 250 else set()
    assert 0.2 < np.mean(hit) < 0.9
    out = summarise(evaluate(views, ROOT))
    assert out["ap_root"] == pytest.approx(naive_ap(score, hit, n_true))
    assert out["n_people"] == n_true


# ---- pairings ------------------------------------------------------------------------------------------------------------------------


def test_pairing_by_2d_root_against_all_assignments():
    rng = np.random.default_rng(2)
    for trial in range(60):
        Q, P = rng.integers(1, 5, 2)
        a, b = rng.uniform(0, 150, (Q, 2)), rng.uniform(0, 150, (P, 2))
        v = View(np.zeros((Q, 1, 3)), np.zeros((P, 1, 3)), pred_px=a[:, None], gt_px=b[:, None])
        best = (0, 0.0)
        for n in range(1, min(Q, P) + 1):
            for qs in itertools.combinations(range(Q), n):
                for ps in itertools.permutations(range(P), n):
                    d = [math.dist(a[q], b[p]) for q, p in zip(qs, ps)]
                    if max(d) <= 50:
                        best = max(best, (n, -sum(d)))
        pairs = pair_root_px(v, 0, 50)
        assert len({q for q, _ in pairs}) == len({p for _, p in pairs}) == len(pairs), trial
        assert (len(pairs), -sum(math.dist(a[q], b[p]) for q, p in pairs)) == pytest.approx(best)


def test_gate_may_differ_between_people():
    pred, gt = np.zeros((2, 1, 3)), np.zeros((2, 1, 3))
    v = View(pred, gt, pred_px=[[[30, 0]], [[130, 0]]], gt_px=[[[0, 0]], [[100, 0]]])
    assert pair_root_px(v, 0, 30) == [(0, 0), (1, 1)]
    assert pair_root_px(v, 0, 29.9) == []
    assert pair_root_px(v, 0, np.array([10, 40])) == [(1, 1)]


def test_honest_pairing_keeps_large_depth_errors_and_the_published_one_drops_them():
    gt = people(3, seed=4)
    pred = gt.copy()
    pred[0] = moved_along_rays(gt[:1], 2.0)[0]  # 2 m too far, the same pixel
    v = [view(pred, gt)]
    honest, published_way = (summarise(evaluate(v, ROOT, pairing)) for pairing in (pair_root_px, pair_panoptic))
    assert honest["recall"] == honest["precision"] == 1
    assert honest["mrpe_z"] == pytest.approx(2000 / 3)
    assert published_way["mrpe_z"] == pytest.approx(0)
    assert published_way["n"] == 2
    assert published_way["recall"] == published_way["precision"] == pytest.approx(2 / 3)
    assert honest["ap_root"] == published_way["ap_root"] == pytest.approx(2 / 3 * 2 / 3)  # all scores equal: precision times recall


def test_missed_and_false_people():
    gt = people(4, seed=5)
    far = gt[3] + [0, 5000.0, 0]  # somewhere else in the picture
    people_rows = evaluate([view(np.stack([gt[0] + [0, 0, 60.0], gt[1] + [200.0, 0, 0], far]), gt)], ROOT, joints=range(10))
    out = summarise(people_rows)
    hand = {"n": 2, "n_people": 4, "n_predictions": 3, "recall": 0.5, "precision": 2 / 3, "mpjpe": 130, "mrpe_x": 100, "mrpe_z": 30,
            "pck_abs_matched": 0.5, "pck_abs_all": 0.25, "pck_rel_matched": 1, "pck_rel_all": 0.5,
            "pck_root_matched": 1, "pck_root_all": 0.5,
            "auc_abs_matched": 18 / 31 / 2, "auc_abs_all": 18 / 31 / 4, "auc_rel_matched": 30 / 31, "auc_rel_all": 15 / 31}  # fmt: skip
    assert {k: out[k] for k in hand} == pytest.approx(hand)
    assert people_rows.found.tolist() == [True, True, False, False]
    assert np.isnan(people_rows.mpjpe()[2:]).all()
    # the same people: only those that another method found too
    assert summarise(people_rows, np.array([True, False, True, True]))["mpjpe"] == pytest.approx(60)
    assert summarise(people_rows, np.array([True, False, True, True]))["recall"] == 0.5


def test_people_who_do_not_count():
    gt = people(3, seed=6)
    v = view(gt[[0, 1]] + [0, 0, 10.0], gt, counts=[True, False, True])
    out = summarise(evaluate([v], ROOT))
    assert (out["n_people"], out["n_predictions"], out["recall"], out["precision"]) == (2, 1, 0.5, 1)
    assert out["ap_root"] == pytest.approx(0.5)
    gt[1, ROOT] = np.nan  # by default a person without a known root does not count
    assert summarise(evaluate([view(gt[[0, 2]], gt)], ROOT))["n_people"] == 2


def test_masked_joints_never_count():
    gt, pred = people(3, seed=7), people(3, seed=7) + np.random.default_rng(0).normal(0, 60, (3, 15, 3))
    mask = np.random.default_rng(1).random((3, 15)) < 0.6
    mask[:, ROOT] = True
    reference = None
    for junk in (np.nan, 0.0, 1e9):
        g, p = gt.copy(), pred.copy()
        g[~mask], p[~mask] = junk, junk if np.isfinite(junk) else 5.0
        v = View(p, g, mask, pred_px=px(pred), gt_px=px(gt))
        out = [summarise(evaluate([v], ROOT, pairing)) for pairing in (pair_root_px, pair_mupots)]
        reference = reference or out
        assert out == reference
    assert reference[0]["n"] == 3


def test_joints_that_were_not_predicted_are_misses():
    gt = people(2, seed=8)
    pred = gt.copy()
    pred[0, 5] = np.nan
    out = summarise(evaluate([view(pred, gt)], ROOT))
    assert out["pck_abs_matched"] == pytest.approx(29 / 30)
    assert out["mpjpe"] == 0  # of the complete person; the other has no MPJPE
    only_roots = np.full_like(gt, np.nan)
    only_roots[:, ROOT] = gt[:, ROOT] + [0, 0, 40.0]
    out = summarise(evaluate([view(only_roots, gt)], ROOT))
    assert out["mrpe_z"] == pytest.approx(40)
    assert math.isnan(out["mpjpe"])
    assert out["pck_root_all"] == 1


def test_panoptic_pairing_by_hand():
    gt = np.zeros((2, 1, 3)) + [0, 0, 5000.0]
    gt[1, 0, 0] = 1000
    x = np.array([100.0, 50.0, 700.0, -490.0, -600.0])  # nearest person: 0, 0, 1, 0, 0
    pred = np.zeros((5, 1, 3)) + [0, 0, 5000.0]
    pred[:, 0, 0] = x
    v = View(pred, gt, score=[0.5, 0.4, 0.3, 0.2, 0.9])
    assert nearest_pairs(v) == [(0, 0, 100), (1, 0, 50), (2, 1, 300), (3, 0, 490), (4, 0, 600)]
    assert pair_panoptic(v) == [(0, 0), (2, 1)]  # 4 is beyond 500 mm; 1 is nearer than 0, but 0 has the better score
    assert pair_panoptic(v, threshold=300) == [(0, 0)]  # strictly below
    assert pair_mupots(v) == [(1, 0), (2, 1)]
    assert pair_mupots(View(pred[:1], gt)) == [(0, 0), (0, 1)]  # one prediction serves two people
    out = summarise(evaluate([View(pred[:1], gt)], 0, pair_mupots))
    assert (out["n"], out["recall"], out["precision"]) == (2, 1, 1)


def test_pairing_by_2d_joints_by_hand():
    gt_px = np.zeros((2, 3, 2)) + [[100, 100], [200, 100], [300, 100]]
    gt_px[1] += 30
    pred_px = np.stack([gt_px[1] + [39, 0], gt_px[0] + [[0, 39], [0, 41], [0, 0]], gt_px[0] + 500])
    v = View(np.zeros((3, 3, 3)), np.zeros((2, 3, 3)), pred_px=pred_px, gt_px=gt_px)
    # person 0: prediction 0 is 69 px off in u; prediction 1 agrees in two joints.  person 1: prediction 0 in all three
    assert pair_joints_px(v) == [(1, 0), (0, 1)]
    assert pair_joints_px(v, joints=[1]) == [(0, 1)]
    assert pair_joints_px(v, gate=10) == [(1, 0)]
    # greedy in the order of people, as the tool does it: person 0 takes the only prediction although person 1 is nearer
    v = View(np.zeros((1, 3, 3)), np.zeros((2, 3, 3)), pred_px=gt_px[1:], gt_px=gt_px)
    assert pair_joints_px(v) == [(0, 0)]


def test_joint_lists_of_the_tool():
    assert sorted(MUCO_21.index(j) for j in PCK_JOINTS) == list(range(14))  # its 1 to 14: without mid-hip, spine, head
    assert sorted(MUCO_21.index(j) for j in PAIR_JOINTS) == list(range(1, 14))  # its 2 to 14


# ---- many views ----------------------------------------------------------------------------------------------------------------------


def test_sequence_mean_is_not_the_overall_mean():
    gt = people(5, seed=9)
    shifts = np.array([10.0] * 4 + [110])[:, None, None] * [0, 0, 1]
    views = [view((gt + shifts)[part], gt[part], sequence=s) for part, s in ((slice(0, 4), "TS1"), (slice(4, 5), "TS2"))]
    views.append(view(gt[:0], gt[:1], sequence="TS2"))
    rows = evaluate(views, ROOT)
    out = summarise(rows)
    assert out["mrpe_z"] == pytest.approx((4 * 10 + 110) / 5)
    assert out["mrpe_z_seqmean"] == pytest.approx(60)
    assert out["recall"] == pytest.approx(5 / 6)
    assert out["recall_seqmean"] == pytest.approx(0.75)
    each = by_sequence(rows)
    assert list(each) == ["TS1", "TS2"]
    for s, hand in (("TS1", (10, 4, 4, 1)), ("TS2", (110, 1, 2, 0.5))):
        assert [each[s][k] for k in ("mrpe_z", "n", "n_people", "recall")] == pytest.approx(hand)
    assert rows.view.tolist() == [0] * 4 + [1, 2]
    assert rows.person.tolist() == [0, 1, 2, 3, 0, 0]


@pytest.mark.parametrize("pairing", [pair_root_px, pair_joints_px, pair_panoptic, pair_mupots])
def test_empty_scenes(pairing):
    gt, none = people(2), np.zeros((0, 15, 3))
    assert pairing(view(none, gt), ROOT) == pairing(view(gt, none), ROOT) == pairing(view(none, none), ROOT) == []
    out = summarise(evaluate([view(none, gt)], ROOT, pairing))  # nobody found
    assert (out["n"], out["n_people"], out["recall"], out["pck_abs_all"], out["auc_rel_all"], out["ap_root"]) == (0, 2, 0, 0, 0, 0)
    assert all(math.isnan(out[k]) for k in ("precision", "mrpe", "mpjpe", "mrpe_z", "pck_abs_matched", "mrpe_z_seqmean"))
    out = summarise(evaluate([view(gt, none)], ROOT, pairing))  # nobody there
    assert (out["n"], out["n_people"], out["n_predictions"], out["precision"]) == (0, 0, 2, 0)
    assert all(math.isnan(out[k]) for k in ("recall", "mrpe", "pck_abs_all", "ap_root"))
    for views in ([view(none, none)], []):
        out = summarise(evaluate(views, ROOT, pairing))
        assert out["n"] == out["n_people"] == 0
        assert math.isnan(out["recall"])
        assert math.isnan(out["precision"])
    assert pairing(View([], gt, pred_px=[], gt_px=px(gt)), ROOT) == []


def test_view_from_a_sample():
    cam = Camera.look_at((0.0, -5000.0, 1500.0), (0.0, 0.0, 900.0))
    joints = torch.from_numpy(np.random.default_rng(0).normal((0, 0, 900), 300, (2, 15, 3)))
    joints[0, 4] = math.nan
    sample = Sample(JOINTS_15, "test", joints, torch.isfinite(joints).all(-1), camera=cam)
    pred = joints.nan_to_num() + 100 * cam.R[2]  # 100 mm deeper, in the world
    pred[1] += 50 * cam.R[0]
    v = View.of(sample, pred, sequence="s")
    assert not v.mask[0, 4]
    out = summarise(evaluate([v], JOINTS_15.root_index))
    assert (out["n"], out["mrpe_z"], out["mrpe_x"], out["mrpe_y"]) == pytest.approx((2, 100, 25, 0))


def test_views_that_do_not_fit():
    gt = people(2)
    for kw in ({"mask": np.ones((2, 3), bool)}, {"score": [1.0]}, {"counts": [True]}):
        with pytest.raises(ValueError):
            View(gt, gt, **kw)
    with pytest.raises(ValueError, match="pred_px"):
        pair_root_px(View(gt, gt), ROOT)


# ---- the published evaluation's corners (numbers: test_golden_ground.py) -------------------------------------------------------------


def test_published_means_count_each_person_once():
    pairs = {"frame": np.array([0, 0, 1]), "gt_id": np.array([0, 0, 1]), "mpjpe": np.array([40.0, 10, 600]),
             "mpjpe_aligned": np.array([1.0, 2, 3]),
             "mrpe_xyz": np.array([[3.0, 0, 4], [0, 0, 0], [0, 0, 0]]), "error2d": np.array([7.0, 8, 9])}  # fmt: skip
    assert published.means(pairs, 500).tolist() == [40, 1, 3, 0, 4, 5, 7]
    assert published.means(pairs, 700)[0] == 320
    assert np.isinf(published.means(pairs, 5)).all()
    assert np.isinf(published.means(pairs, 500, np.array([False, True]))).all()


def test_published_evaluation_without_anybody():
    camera = [np.eye(3)], [np.zeros(3)], np.ones((1, 4))
    pairs = published.match(np.zeros((1, 4, 15, 3)), [0], np.zeros((1, 4, 15)), np.zeros((1, 10, 15, 5)), [1], *camera)
    assert len(pairs["score"]) == 0
    assert np.isinf(published.means(pairs)).all()


def test_nearly_uniform_frames():
    image = np.full((10, 20, 3), 90, np.uint8)
    assert published.nearly_uniform(image)
    image[3, 4] += 7  # summed deviation 21 less its share in the mean
    assert not published.nearly_uniform(image)
    image[3, 4] = [96, 96, 97]
    assert published.nearly_uniform(image)


def test_true_bone_lengths():
    rng = np.random.default_rng(0)
    names = MUCO_21.joints[:17]
    pred, gt = rng.normal(0, 300, (2, 17, 3))
    out = published.with_true_bone_lengths(pred, gt)
    bones = [("mid_hip", "spine"), ("spine", "neck"), ("neck", "head_top"), ("neck", "head"), ("left_elbow", "left_wrist"),
             ("mid_hip", "right_hip"), ("right_knee", "right_ankle"), ("neck", "right_shoulder")]  # fmt: skip
    for a, b in bones:
        i, j = names.index(a), names.index(b)
        assert math.dist(out[i], out[j]) == pytest.approx(math.dist(gt[i], gt[j]))
        cosine = (out[j] - out[i]) @ (pred[j] - pred[i]) / math.dist(out[i], out[j]) / math.dist(pred[i], pred[j])
        assert cosine == pytest.approx(1)
    assert (out[names.index("mid_hip")] == pred[names.index("mid_hip")]).all()
    assert published.with_true_bone_lengths(gt, gt) == pytest.approx(gt)


def test_published_panoptic_hides_joints_outside_the_image():
    K = np.array([[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]])
    cam = np.zeros((1, 15, 3)) + [0, 0, 200.0]  # cm: all in the middle of the picture
    cam[0, 3:6, 0] = [-193, -191, 193]  # u = -5, 5, 1925
    vis = np.ones((1, 15), bool)
    vis[0, 9] = False
    _, _, joints, pixels, seen = published.panoptic(np.eye(3), np.zeros(3), K, cam, vis)
    assert pixels[0, 3:6, 0] == pytest.approx([-5, 5, 1925])
    assert np.flatnonzero(seen[0] == 0).tolist() == [3, 5, 9]
    assert joints[0, 0].tolist() == pytest.approx([0, 2000, 0])  # 2 m ahead; y-down becomes z-up
