"""Object keypoint similarity (OKS) and its average precision, after COCO's keypoint task, for the joints that both know.

A joint at distance d of the truth is worth exp(-d² / (2 area k²)), with COCO's k = 2 x the annotators' spread of that joint; a person's
OKS is the mean over the joints asked for.  Our skeletons' neck, head top, mid-hip, spine and head have no such number and do not count.

Not to be compared with numbers of COCO's tool: that takes the area within a person's outline, we a share (FILLED) of the box about his
joints; it counts nose, eyes and ears, too, at most 20 answers of a picture, and precision at 101 recalls, where we take the whole area.
"""

from dataclasses import dataclass

import numpy as np

from vp import metrics

SPREAD = {"shoulder": 0.079, "elbow": 0.072, "wrist": 0.062, "hip": 0.107, "knee": 0.087, "ankle": 0.089}  # annotators', COCO
THRESHOLDS = np.arange(0.5, 0.96, 0.05)  # of OKS, over which AP is averaged
FILLED = 0.53  # share of the box about a person's joints taken for his area (others take it of his whole box); COCO: his outline


@dataclass
class Seen:
    """One picture: found (Q, J, 2) px, NaN where not found, with scores (Q,);  truth (P, J, 2) px, known (P, J);  area (P,) px²;
    asked (P,): people who count, others may be found without reward or penalty."""

    found: np.ndarray
    scores: np.ndarray
    truth: np.ndarray
    known: np.ndarray
    area: np.ndarray
    asked: np.ndarray


def spreads(skeleton):
    """(J,) of SPREAD in a skeleton's order, NaN for joints without."""
    return np.array([SPREAD.get(j.removeprefix("left_").removeprefix("right_"), np.nan) for j in skeleton.joints])


def similarity(found, truth, known, area, spread):
    """OKS (Q, P) of found (Q, J, 2) px and truth (P, J, 2) px; a joint not found is worth 0, a person without joints to compare NaN."""
    counts = known & np.isfinite(spread)
    square = ((found[:, None] - truth[None]) ** 2).sum(-1)  # Q P J
    worth = np.exp(-square / (2 * np.maximum(area, 1e-9)[:, None] * (2 * spread) ** 2))
    worth = np.where(np.isfinite(worth), worth, 0.0) * counts
    with np.errstate(invalid="ignore"):
        return worth.sum(-1) / counts.sum(-1)


def average_precision(pictures, skeleton, thresholds=THRESHOLDS):
    """{"ap", "ap50"} of an iterable of `Seen`: mean over thresholds, and at 0.5.  NaN where nobody is asked for.

    By descending score, each answer takes the free person with the highest OKS at or above the threshold, one who counts before one who
    does not; an answer that only such a one explains is left out.  Both as in COCO's tool, but there only a crowd explains several.
    """
    spread, pictures = spreads(skeleton), list(pictures)
    likeness = [similarity(p.found, p.truth, p.known, p.area, spread) for p in pictures]
    asked = [p.asked & np.isfinite(s).any(0) if len(s) else p.asked & (p.known & np.isfinite(spread)).any(-1)
             for p, s in zip(pictures, likeness)]  # fmt: skip
    n, found = sum(int(a.sum()) for a in asked), []
    for threshold in thresholds:
        ranked = [hit for p, s, a in zip(pictures, likeness, asked) for hit in _matched(p.scores, s, a, threshold)]
        found.append(metrics.average_precision([s for s, _ in ranked], [h for _, h in ranked], n))
    return {"ap": float(np.mean(found)), "ap50": found[int(np.argmin(np.abs(thresholds - 0.5)))]}


def _matched(scores, likeness, asked, threshold):
    """(score, hit) of the answers of one picture that count."""
    free, out = np.ones(len(asked), dtype=bool), []
    for q in np.argsort(-scores, kind="stable"):
        close = free & (np.nan_to_num(likeness[q], nan=-1.0) >= threshold)
        mine = close & asked if (close & asked).any() else close
        if not mine.any():
            out.append((scores[q], False))
            continue
        person = int(np.where(mine, likeness[q], -1.0).argmax())
        if asked[person]:
            free[person] = False
            out.append((scores[q], True))
    return out
