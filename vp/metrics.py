"""Errors of absolute 3D poses, pairings of predicted and true people, and the means that are reported (§5.1).

All 3D points are in the *camera frame*, mm, float64; all pixels those of one image.  Three steps, each usable alone:

1. a `View` holds what a method found in one image (Q people) and what is there (P people);
2. a pairing `pair_...(view, root)` says which prediction is which person: a list of (q, p);
3. `evaluate(views, root, pairing)` makes one row per true person, `summarise(people)` the means.

Honest protocol (`pair_root_px`, ours): one-to-one by the 2D root, no 3D threshold, so a large depth error stays in the mean; recall and
precision stand beside it.  Published protocols (`pair_panoptic`, `pair_mupots`: 3D errors below a threshold; `pair_joints_px`: 2D joints)
report means that say nothing of missed people and false alarms; `summarise` puts recall and precision beside them too.

Never counted: joints masked in the truth (NaN in an error array).  Infinite error: a known joint of a missed person, or one not predicted.
Shares (recall, PCK, AUC, AP) are in [0, 1]; a mean over nothing is NaN.
"""

from dataclasses import dataclass

import numpy as np

AUC_THRESHOLDS = np.arange(0, 151, 5.0)  # mm, 31 of them (MPI-INF-3DHP, MuPoTS-3D)
ROOT_THRESHOLD = 250.0  # mm, PCK_root and AP_root ("25 cm", RootNet)

# The joints that the MuPoTS-3D tool averages in PCK and AUC, and those by which it pairs people: no mid-hip (its root-aligned error is
# zero by definition), spine or head.
PAIR_JOINTS = ("neck", *(f"{s}_{j}" for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for s in ("left", "right")))
PCK_JOINTS = ("head_top", *PAIR_JOINTS)


# ---- errors of pairs -------------------------------------------------------------------------------------------------------------


def joint_errors(pred, gt, mask=None):
    """Euclidean error of each joint: pred, gt (..., J, 3) mm, mask (..., J) bool -> (..., J) mm; NaN if masked, inf if not predicted."""
    pred, gt = _np(pred), _np(gt)
    known = np.isfinite(gt).all(-1) if mask is None else _np(mask, bool)
    error = np.linalg.norm(pred - gt, axis=-1)
    return np.where(known, np.where(np.isfinite(pred).all(-1), error, np.inf), np.nan)


def aligned_errors(pred, gt, root, mask=None):
    """As `joint_errors`, after moving both roots to the origin; all NaN where the true root is masked."""
    pred, gt = _np(pred), _np(gt)
    known = np.isfinite(gt).all(-1) if mask is None else _np(mask, bool)
    known = known & known[..., root, None]
    return joint_errors(pred - pred[..., root, None, :], gt - gt[..., root, None, :], known)


def mpjpe(pred, gt, mask=None):
    """Mean per-joint position error over the known joints, (..., J, 3) -> (...) mm; NaN where none is known or one was not predicted."""
    return _mean_error(joint_errors(pred, gt, mask))


def mpjpe_aligned(pred, gt, root, mask=None):
    """Root-aligned MPJPE: `mpjpe` after moving both roots to the origin, (...) mm."""
    return _mean_error(aligned_errors(pred, gt, root, mask))


def root_offset(pred, gt, root, mask=None):
    """Signed root error pred - gt along the camera's x, y, z, (..., 3) mm; NaN where the true root is masked."""
    offset = _np(pred)[..., root, :] - _np(gt)[..., root, :]
    return offset if mask is None else np.where(_np(mask, bool)[..., root, None], offset, np.nan)


def mrpe(pred, gt, root, mask=None):
    """Mean root position error per person: Euclidean distance of the roots, (...) mm."""
    return np.linalg.norm(root_offset(pred, gt, root, mask), axis=-1)


def mrpe_xyz(pred, gt, root, mask=None):
    """MRPE_x, MRPE_y, MRPE_z: |root error| along each camera axis, (..., 3) mm (z is depth, lateral x, y)."""
    return np.abs(root_offset(pred, gt, root, mask))


def pck(errors, threshold=150.0):
    """Share of errors (any shape, mm) below `threshold`; NaN entries do not count, infinite ones are misses."""
    known = errors[~np.isnan(errors)]
    return float((known < threshold).mean()) if known.size else float("nan")


def auc(errors, thresholds=AUC_THRESHOLDS):
    """Area under the PCK curve: mean of `pck` over the thresholds 0, 5, ..., 150 mm."""
    return float(np.mean([pck(errors, t) for t in thresholds]))


def average_precision(score, hit, n_true):
    """AP of M detections: area under the precision-recall curve, precision made monotone (the best at this recall or a higher one).

    score (M,), hit (M,) bool, n_true: number of true people.  Equal scores enter together.  NaN without true people, 0 without detections.
    """
    if n_true == 0:
        return float("nan")
    order = np.argsort(-_np(score), kind="stable")
    score, hit = _np(score)[order], _np(hit, bool)[order]
    precision = (np.cumsum(hit) / np.arange(1, len(hit) + 1))[np.searchsorted(-score, -score, side="right") - 1]
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[hit].sum() / n_true)  # recall rises by 1 / n_true at each hit


# ---- one view and its pairings -----------------------------------------------------------------------------------------------------


@dataclass
class View:
    """What was found in one image and what is there.

    pred (Q, J, 3), gt (P, J, 3) camera frame mm;  mask (P, J) bool, default where gt is finite;  score (Q,), default 1;
    pred_px (Q, J, 2), gt_px (P, J, 2) px, needed by the pairings in the image (NaN where unknown);
    counts (P,) bool: people whom the protocol asks for (default: those with a known root); others may be found without reward or penalty;
    sequence: what a per-sequence mean groups by.   ValueError for shapes that do not fit.
    """

    pred: np.ndarray
    gt: np.ndarray
    mask: np.ndarray | None = None
    score: np.ndarray | None = None
    pred_px: np.ndarray | None = None
    gt_px: np.ndarray | None = None
    counts: np.ndarray | None = None
    sequence: str = ""

    def __post_init__(self):
        self.pred, self.gt = _np(self.pred), _np(self.gt)
        Q, (P, J) = len(self.pred), self.gt.shape[:2]
        self.pred = self.pred.reshape(Q, J, 3)  # also turns an empty list into (0, J, 3)
        finite = np.isfinite(self.gt).all(-1)
        self.mask = finite if self.mask is None else _np(self.mask, bool) & finite
        self.score = np.ones(Q) if self.score is None else _np(self.score)
        self.pred_px = None if self.pred_px is None else _np(self.pred_px).reshape(Q, J, 2)
        self.gt_px = None if self.gt_px is None else np.where(self.mask[..., None], _np(self.gt_px).reshape(P, J, 2), np.nan)
        self.counts = None if self.counts is None else _np(self.counts, bool)
        if self.mask.shape != (P, J) or self.score.shape != (Q,) or (self.counts is not None and self.counts.shape != (P,)):
            raise ValueError(f"view of {Q} predictions and {P} people: mask {self.mask.shape} or score {self.score.shape} does not fit")

    @classmethod
    def of(cls, sample, pred, score=None, counts=None, sequence=""):
        """From a `Sample` with 3D joints and camera, and predictions (Q, J, 3) in *world* mm in the sample's joint order."""
        camera, pred = sample.camera, sample.joints.new_tensor(_np(pred)).reshape(-1, len(sample.skeleton), 3)
        return cls(camera.to_camera(pred), camera.to_camera(sample.joints), sample.valid, score, camera.project(pred)[0],
                   sample.project()[0], counts, sequence)  # fmt: skip


def pair_root_px(view, root, gate=50.0):
    """Our pairing: one-to-one by the distance of the 2D roots, as many pairs within `gate` px as possible, then the least total distance.

    No 3D error decides, so no method is helped or hurt by its depth.  gate: number or (P,), e.g. a share of each person's height ("ours").
    """
    from scipy.optimize import linear_sum_assignment

    distance = np.linalg.norm(_px(view.pred_px)[:, None, root] - _px(view.gt_px)[None, :, root], axis=-1)  # Q P
    allowed = np.nan_to_num(distance, nan=np.inf) <= np.broadcast_to(gate, distance.shape)
    if not allowed.any():
        return []
    cost = np.where(allowed, distance, (min(distance.shape) + 1) * (1 + distance[allowed].max()))
    return [(int(q), int(p)) for q, p in zip(*linear_sum_assignment(cost), strict=True) if allowed[q, p]]


def pair_joints_px(view, root=None, gate=40.0, joints=slice(None)):
    """Pairing of the MuPoTS-3D tool: each person in turn takes the free prediction with most joints within `gate` px in both u and v.

    joints: indices that vote (the tool: `PAIR_JOINTS`).  At least one joint must agree; root is not used.
    """
    close = (np.abs(_px(view.pred_px)[:, None, joints] - _px(view.gt_px)[None, :, joints]) < gate).all(-1).sum(-1)  # Q P, NaN is not close
    pairs, free = [], np.ones(len(close), bool)
    for p in range(close.shape[1]):
        votes = np.where(free, close[:, p], 0)
        if votes.size and votes.max() > 0:
            pairs.append((int(votes.argmax()), p))
            free[pairs[-1][0]] = False
    return pairs


def nearest_pairs(view, each="prediction"):
    """For each prediction its nearest person, or for each="person" the reverse, by MPJPE: list of (q, p, mpjpe mm)."""
    error = _mean_error(joint_errors(view.pred[:, None], view.gt[None], np.broadcast_to(view.mask, (len(view.pred), *view.mask.shape))))
    error = np.nan_to_num(error, nan=np.inf)  # Q P
    if error.size == 0:
        return []
    if each == "prediction":
        pairs = [(q, int(error[q].argmin())) for q in range(len(error))]
    else:
        pairs = [(int(error[:, p].argmin()), p) for p in range(error.shape[1])]
    return [(q, p, float(error[q, p])) for q, p in pairs]


def pair_panoptic(view, root=None, threshold=500.0):
    """Published Panoptic pairing: each prediction goes to its nearest person; by descending score it counts if MPJPE < threshold (mm) and
    the person is still free (1.9)."""
    pairs, taken = [], set()
    for q, p, error in sorted(nearest_pairs(view), key=lambda c: -view.score[c[0]]):
        if error < threshold and p not in taken:
            pairs.append((q, p))
            taken.add(p)
    return pairs


def pair_mupots(view, root=None, threshold=1000.0):
    """Published MuPoTS pairing: each person takes the nearest prediction, MPJPE < threshold (mm); one may serve several people (1.9)."""
    return [(q, p) for q, p, error in nearest_pairs(view, each="person") if error < threshold]


# ---- many views ----------------------------------------------------------------------------------------------------------------------


@dataclass
class People:
    """One row per true person that counts (N rows, J joints), and what the V views hold besides.

    view, person (N,) int: which view, which person in it, the key for comparing methods;  found (N,) bool;  score (N,) NaN if missed;
    errors, aligned (N, J) mm, inf if missed, NaN if masked;  root (N, 3) mm signed, NaN if missed;  joints: indices that PCK and AUC use;
    sequence (V,) str;  hits, predictions (V,) paired and all predictions;  candidates: (view, score, hit) of each prediction, for AP_root.
    """

    view: np.ndarray
    person: np.ndarray
    found: np.ndarray
    score: np.ndarray
    errors: np.ndarray
    aligned: np.ndarray
    root: np.ndarray
    rooted: np.ndarray
    sequence: np.ndarray
    hits: np.ndarray
    predictions: np.ndarray
    candidates: np.ndarray
    joints: object

    def mpjpe(self):
        """(N,) mm, NaN for missed people; `mpjpe_aligned` and `mrpe` likewise."""
        return _mean_error(self.errors)

    def mpjpe_aligned(self):
        return _mean_error(self.aligned)

    def mrpe(self):
        return np.linalg.norm(self.root, axis=-1)


def evaluate(views, root, pairing=pair_root_px, joints=None):
    """Rows of all people of some views (list of `View`); pairing(view, root) -> [(q, p)]; joints: indices for PCK and AUC (None: all)."""
    rows, hits, predictions, candidates = [], [], [], []
    for v, view in enumerate(views):
        counts = view.mask[:, root] if view.counts is None else view.counts
        pairs = pairing(view, root)
        of_person = {p: q for q, p in reversed(pairs)}
        J = view.gt.shape[1]
        for p in np.flatnonzero(counts):
            q = of_person.get(p)
            args = (np.full((J, 3), np.nan) if q is None else view.pred[q], view.gt[p])
            found = (q is not None, np.nan if q is None else view.score[q], view.mask[p, root])
            errors = (joint_errors(*args, view.mask[p]), aligned_errors(*args, root, view.mask[p]), root_offset(*args, root, view.mask[p]))
            rows.append((v, p, *found, *errors))
        hits.append(len({q for q, p in pairs if counts[p]}))
        predictions.append(len(view.pred) - len({q for q, p in pairs} - {q for q, p in pairs if counts[p]}))
        candidates += [(v, *c) for c in _root_hits(view, root, counts)]
    columns = zip(*rows, strict=True) if rows else [()] * 8
    view, person, found, score, rooted, errors, aligned, offset = (np.array(c) for c in columns)
    J = views[0].gt.shape[1] if views else 0
    return People(
        view.astype(int), person.astype(int), found.astype(bool), score.astype(float), errors.reshape(len(rows), J),
        aligned.reshape(len(rows), J), offset.reshape(-1, 3), rooted.astype(bool), np.array([w.sequence for w in views], str),
        np.array(hits, int), np.array(predictions, int), np.array(candidates, float).reshape(-1, 3),
        slice(None) if joints is None else list(joints),
    )  # fmt: skip


def summarise(people, rows=None):
    """Means over all people, and (names ending in `_seqmean`) the mean over sequences of each sequence's value.

    rows: (N,) bool, restricts mrpe, mrpe_x/y/z, mpjpe, mpjpe_aligned to these people (e.g. "same people": found by all methods compared);
    the rest keeps counting everybody.  `n`: people in the error means; `_matched`: found people only; `_all`: a missed person scores 0.
    """
    overall = _summary(people, rows, np.ones(len(people.sequence), bool))
    parts = [_summary(people, rows, people.sequence == s) for s in np.unique(people.sequence)]
    means = {k: _nanmean(np.array([p[k] for p in parts], float)) for k in overall if not k.startswith("n")}
    return overall | {f"{k}_seqmean": m for k, m in means.items()}


def by_sequence(people, rows=None):
    """The over-all means of `summarise` for each sequence: {sequence: {name: value}}."""
    return {str(s): _summary(people, rows, people.sequence == s) for s in np.unique(people.sequence)}


def _summary(people, rows, views):
    """Dict of means over the views marked in `views` (V,) bool."""
    here = views[people.view]
    found = here & people.found
    scored = found if rows is None else found & rows
    n_people, n_hits, n_pred = int(here.sum()), int(people.hits[views].sum()), int(people.predictions[views].sum())
    out = {"n": int(scored.sum()), "n_people": n_people, "n_predictions": n_pred,
           "recall": found.sum() / n_people if n_people else np.nan, "precision": n_hits / n_pred if n_pred else np.nan,
           "mrpe": _nanmean(people.mrpe()[scored])}  # fmt: skip
    out |= {f"mrpe_{axis}": _nanmean(np.abs(people.root[scored, i])) for i, axis in enumerate("xyz")}
    out |= {"mpjpe": _nanmean(people.mpjpe()[scored]), "mpjpe_aligned": _nanmean(people.mpjpe_aligned()[scored])}
    roots = np.where(people.rooted, np.nan_to_num(people.mrpe(), nan=np.inf), np.nan)
    for name, who in (("matched", found), ("all", here)):
        relative, absolute = people.aligned[who][:, people.joints], people.errors[who][:, people.joints]
        out |= {f"pck_rel_{name}": pck(relative), f"pck_abs_{name}": pck(absolute), f"pck_root_{name}": pck(roots[who], ROOT_THRESHOLD),
                f"auc_rel_{name}": auc(relative), f"auc_abs_{name}": auc(absolute)}  # fmt: skip
    view, score, hit = people.candidates.T
    mine = views[view.astype(int)]
    out["ap_root"] = average_precision(score[mine], hit[mine] > 0, int((here & people.rooted).sum()))
    return {k: v if isinstance(v, int) else float(v) for k, v in out.items()}


def _root_hits(view, root, counts, threshold=ROOT_THRESHOLD):
    """AP_root's decisions in one view: (score, hit) of each prediction that counts.

    By descending score, a prediction takes the nearest true root that is still free, if nearer than 250 mm: a hit; otherwise a false alarm.
    One that takes a person who does not count is left out.
    """
    distance = np.linalg.norm(view.pred[:, None, root] - view.gt[None, :, root], axis=-1)
    distance = np.where(view.mask[:, root], np.nan_to_num(distance, nan=np.inf), np.inf)  # Q P
    out, free = [], np.ones(len(view.gt), bool)
    for q in np.argsort(-view.score, kind="stable"):
        to = np.where(free, distance[q], np.inf)
        hit = bool(to.size) and to.min() < threshold
        if hit:
            free[to.argmin()] = False
        if not hit or counts[to.argmin()]:
            out.append((view.score[q], float(hit)))
    return out


# ---- small helpers -------------------------------------------------------------------------------------------------------------------


def _np(x, dtype=np.float64):
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, dtype=dtype)


def _px(px):
    if px is None:
        raise ValueError("this pairing works in the image: the view needs pred_px and gt_px")
    return px


def _nanmean(x):
    x = x[~np.isnan(x)]
    return float(x.mean()) if x.size else float("nan")


def _mean_error(errors):
    """(..., J) -> (...): mean over known joints; NaN where none is known or one is infinite."""
    known = ~np.isnan(errors)
    total = np.where(known, errors, 0).sum(-1) / np.maximum(known.sum(-1), 1)
    return np.where(known.any(-1) & np.isfinite(total), total, np.nan)
