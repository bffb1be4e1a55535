"""Object keypoint similarity and its average precision, against hand-computed numbers and a naive count."""

import math

import numpy as np
import pytest

from vp.lab import oks
from vp.skeleton import JOINTS_15

J, WRIST, HIP, NECK = len(JOINTS_15), *(JOINTS_15.index(j) for j in ("left_wrist", "right_hip", "neck"))
SPREAD = oks.spreads(JOINTS_15)


def person(x, y):
    """(J, 2) px."""
    return np.stack([x + 3.0 * np.arange(J), y + 5.0 * (np.arange(J) % 4)], -1)


def seen(found, scores, truth, asked=None, area=900.0):
    found, truth = np.array(found, float).reshape(-1, J, 2), np.array(truth, float).reshape(-1, J, 2)
    asked = np.ones(len(truth), bool) if asked is None else np.array(asked)
    return oks.Seen(found, np.array(scores, float), truth, np.ones(truth.shape[:2], bool), np.full(len(truth), area), asked)


def test_which_joints_count():
    assert np.isnan(SPREAD[[NECK, JOINTS_15.index("head_top"), JOINTS_15.index("mid_hip")]]).all()
    assert np.isfinite(SPREAD).sum() == 12
    assert (SPREAD[WRIST], SPREAD[HIP]) == (0.062, 0.107)


def test_similarity_by_hand():
    truth, found = person(0, 0), person(0, 0)
    known = np.zeros((1, J), bool)
    known[0, [WRIST, HIP, NECK]] = True
    found[WRIST] += (3, 4)  # 5 px
    found[NECK] += 100  # counts nothing
    worth = math.exp(-25 / (2 * 900 * (2 * 0.062) ** 2))
    assert oks.similarity(found[None], truth[None], known, np.array([900.0]), SPREAD) == pytest.approx((worth + 1) / 2)
    found[HIP] = np.nan
    assert oks.similarity(found[None], truth[None], known, np.array([900.0]), SPREAD) == pytest.approx(worth / 2)
    assert np.isnan(oks.similarity(found[None], truth[None], known & False, np.array([900.0]), SPREAD)).all()


def test_precision_of_made_up_pictures():
    a, b = person(0, 0), person(100, 0)
    assert oks.average_precision([seen([a, b], [0.9, 0.8], [a, b])], JOINTS_15) == {"ap": 1.0, "ap50": 1.0}
    half = oks.average_precision([seen([a], [0.9], [a, b])], JOINTS_15)
    assert half == {"ap": 0.5, "ap50": 0.5}
    false = seen([a, person(500, 500), b], [0.9, 0.8, 0.7], [a, b])  # precision 1, then 2/3
    assert oks.average_precision([false], JOINTS_15)["ap"] == pytest.approx(0.5 + 0.5 * 2 / 3)
    twice = seen([a, a], [0.9, 0.8], [a])  # the second answer to the same person is false, but comes after
    assert oks.average_precision([twice], JOINTS_15)["ap"] == 1.0
    assert oks.average_precision([seen([a, a], [0.8, 0.9], [a, b])], JOINTS_15)["ap"] == pytest.approx(0.5)
    not_asked = seen([a, b], [0.8, 0.9], [a, b], [True, False])
    assert oks.average_precision([not_asked], JOINTS_15)["ap"] == 1.0  # he neither helps nor harms
    nobody = seen([a], [0.9], np.zeros((0, J, 2)))
    assert math.isnan(oks.average_precision([nobody], JOINTS_15)["ap"])
    assert oks.average_precision([seen([], [], [a])], JOINTS_15) == {"ap": 0.0, "ap50": 0.0}


def test_thresholds_tell_near_from_nearer():
    a = person(0, 0)
    off = a + np.array([2.0, 0.0])
    value = float(oks.similarity(off[None], a[None], np.ones((1, J), bool), np.array([900.0]), SPREAD)[0, 0])
    assert 0.5 < value < 0.95
    got = oks.average_precision([seen([off], [1.0], [a])], JOINTS_15)
    assert got["ap50"] == 1.0
    assert got["ap"] == pytest.approx(np.mean(value >= oks.THRESHOLDS))


def test_against_a_naive_count():
    g = np.random.default_rng(0)
    pictures = []
    for _ in range(30):
        truth = np.stack([person(*g.uniform(0, 200, 2)) for _ in range(g.integers(1, 4))])
        found = np.concatenate([truth + g.normal(0, g.uniform(0.3, 4), truth.shape), person(*g.uniform(0, 200, 2))[None]])
        pictures.append(seen(found, g.uniform(0, 1, len(found)), truth))
    total = []
    for t in np.arange(0.5, 0.96, 0.05):
        hits = []
        for p in pictures:
            taken = set()
            for q in sorted(range(len(p.scores)), key=lambda q: -p.scores[q]):
                best, who = t, None
                for i, true in enumerate(p.truth):
                    d = [math.exp(-((p.found[q, j] - true[j]) ** 2).sum() / (2 * p.area[i] * (2 * SPREAD[j]) ** 2)) for j in range(J)
                         if not math.isnan(SPREAD[j])]  # fmt: skip
                    if i not in taken and sum(d) / len(d) >= best:
                        best, who = sum(d) / len(d), i
                taken.add(who)
                hits.append((p.scores[q], who is not None))
        hits.sort(key=lambda x: -x[0])
        n, right, curve = sum(len(p.truth) for p in pictures), 0, []
        for k, (_, hit) in enumerate(hits, 1):
            right += hit
            curve.append((right / n, right / k))
        area, last = 0.0, 0.0
        for recall, _ in curve:
            area += (recall - last) * max(p for r, p in curve if r >= recall)
            last = recall
        total.append(area)
    got = oks.average_precision(pictures, JOINTS_15)["ap"]
    assert 0.2 < got < 0.9
    assert got == pytest.approx(np.mean(total), abs=1e-9)
