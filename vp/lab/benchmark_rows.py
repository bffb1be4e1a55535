"""Numbers of the benchmarks (`vp.lab.benchmarks`) as rows: each activity or sequence, their mean as in the paper's tables, what rules cost.

A mean over parts (activities, sequences) of means over people or joints is no mean over anything that could be drawn again; it is written
as one, scene by scene: `linear`.  So rows of means carry values per scene, which claims compare in pairs.
"""

import numpy as np

from vp import metrics
from vp.lab import results, study, two_d
from vp.lab.benchmarks import LEARNED_ON, ROOT, RULES, answered, baseline, count
from vp.lab.profiles import resolve
from vp.lab.statements_benchmarks import SEEN, UNSEEN

HERE, NOISY, IMAGE = "trained here", "ground truth, noisy", "image"  # the run's own second stage; arms of AGR
REPORTED = {"table2": ("honest", "published"), "table3": ("honest", "data set's rules", "published")}
NEAR = 150.0  # mm
MANY = 6  # parts: with more, only their mean has an interval
UNITS = {"mpjpe": "mm", "mrpe": "mm"}  # all else: %
KEPT = ("mpjpe", "pck_abs_all", "pck_abs_matched")  # their means carry values per scene
EACH = (*KEPT, "pck_root_matched")  # have a row for each part, by the rule of PLAIN
PLAIN = {"table2": "honest", "table3": "data set's rules"}  # the rules of the tables that see no truth
PAIRED = ("Mean", SEEN, UNSEEN)  # tests that claims compare
COLUMNS = {
    "table2": ("mpjpe", "mrpe", "recall"),
    "table3": ("pck_abs_matched", "pck_root_matched", "pck_root250_matched", "pck_abs_all", "auc_abs_all", "pck_rel_matched", "recall"),
}


def per_person(people, metric):
    """(total (N,), number (N,)) of a metric of `metrics.People`: its mean is total over number, over whichever people.

    "mpjpe", "mrpe": mm, people found;  "recall", "pck_abs_...", "pck_rel_...", "pck_root_..." (150 mm), "pck_root250_...", "auc_abs_...",
    "auc_rel_...": %, of the people found ("..._matched") or of all ("..._all").
    """
    if metric in UNITS:
        value = getattr(people, metric)()
        return np.nan_to_num(value), np.isfinite(value).astype(float)
    if metric == "recall":
        return 100.0 * people.found, np.ones(len(people.found))
    kind, which, who = metric.split("_")
    if which.startswith("root"):
        error = np.where(people.rooted, np.nan_to_num(people.mrpe(), nan=np.inf), np.nan)[:, None]
    else:
        error = (people.errors if which == "abs" else people.aligned)[:, people.joints]
    known = ~np.isnan(error) & (people.found[:, None] | (who == "all"))
    limits = metrics.AUC_THRESHOLDS if kind == "auc" else [float(which[4:] or NEAR) if which.startswith("root") else NEAR]
    right = np.mean([(error < t) & known for t in limits], axis=0)
    return 100.0 * right.sum(1), known.sum(1).astype(float)


def by_scene(people, metric, only=None):
    """{part: (total (n,), number (n,), people counted)} of a metric, per scene (view), in the order of the views."""
    total, number = per_person(people, metric)
    if only is not None:
        total, number = total * only, number * only
    sums = [np.bincount(people.view, x, len(people.sequence)) for x in (total, number, number > 0)]
    return {str(s): (*(x[people.sequence == s] for x in sums[:2]), int(sums[2][people.sequence == s].sum()))
            for s in dict.fromkeys(people.sequence)}  # fmt: skip


def linear(total, number):
    """(n,) one value per scene, whose mean is total.sum() / number.sum() and whose spread over scenes is that of this ratio.

    The ratio to first order in how often each scene is drawn.  NaN where nobody counts.
    """
    ratio = total.sum() / number.sum() if number.sum() else np.nan
    return ratio + (total - ratio * number) / (number.mean() or np.nan)


def mean_of(parts, paired):
    """(values, clusters): one per scene, whose mean is the mean over parts of their means.

    parts: {name: (n,) of `linear`};  paired: scene i of all parts is drawn together.  Parts in which nobody counts are left out: NaN.
    """
    known = {k: v for k, v in parts.items() if np.isfinite(v).all()}
    n = len(next(iter(parts.values())))
    if paired:
        return np.mean(list(known.values()) or [np.full(n, np.nan)], axis=0), [str(i) for i in range(n)]
    every, n = np.mean([v.mean() for v in known.values()] or [np.nan]), sum(map(len, known.values()))
    values = [every + n / (len(known) * len(v)) * (v - v.mean()) if k in known else np.full(len(v), np.nan) for k, v in parts.items()]
    return np.concatenate(values), [f"{k} {i}" for k, v in parts.items() for i in range(len(v))]


def rows(people, bench, experiment, only=None, columns=None, parts=EACH, **about):
    """Rows of `metrics.People` on a `Bench`: each part, their mean ("Mean"), and SEEN where there is an unseen part beside others.

    only: (N,) bool, some of the people;  columns: metrics, default: COLUMNS of the table;  parts: metrics of which each part has a
    row;  about: method, train, notebook, profile, seed and other columns of `results.row`.
    """
    out = []
    for metric in columns or COLUMNS[bench.table]:
        found, unit = by_scene(people, metric, only), UNITS.get(metric, "%")
        each = {name: linear(total, number) for name, (total, number, _) in found.items()}
        groups = ({name: {name: v} for name, v in each.items()} if metric in parts else {}) | {"Mean": each}
        if UNSEEN in each and len(each) > 1 and metric in parts:
            groups[SEEN] = {k: v for k, v in each.items() if k != UNSEEN}
        for test, chosen in groups.items():
            values, clusters = mean_of(chosen, bench.paired)
            spread = all(len(v) > 1 for v in chosen.values())  # of one scene nobody knows how much another would differ
            scenes = {"per_scene": values.tolist(), "clusters": clusters} if spread and metric in KEPT and test in PAIRED else {}
            interval = study.interval(values, np.array(clusters)) if spread and (test == "Mean" or len(each) <= MANY) else None
            n = sum(found[k][2] for k in chosen)
            out.append(results.row(experiment, metric, study.mean(values), unit, interval, n=n, test=test, **scenes, **about))
    return out


def poses(people):
    """Whether a method gives more than roots."""
    return bool(np.isfinite(np.delete(people.errors, ROOT, axis=1)).any())


def method_rows(found, bench, rules, method, train, **about):
    """Rows of one method (`Answered`) by several rules: experiment "table2, honest" and so on; without poses, of roots alone."""
    out = []
    for rule in rules:
        people = count(found, RULES[bench.table][rule])
        whole_poses = found.pairs is None or poses(people)
        columns = [c for c in COLUMNS[bench.table] if whole_poses or c in ("mrpe", "recall") or "root" in c]
        parts = EACH if rule == PLAIN[bench.table] else ()
        out += rows(people, bench, f"{bench.table}, {rule}", None, columns, parts, method=method, train=train, **found.about, **about)
    return out


def rule_rows(found, bench, method, train, **about):
    """Rows of one method by every rule of its table: as each reports them, the rule in the column `method`; and experiment "..., same
    people", on the people whom all of them count."""
    rules = {k: r for k, r in RULES[bench.table].items() if found.published is not None or not r.truth}
    counted = {name: count(found, rule) for name, rule in rules.items()}
    out, common = [], np.all([np.isfinite(p.mpjpe()) for p in counted.values()], axis=0)
    about = {**found.about, "train": f"{method}, {train}", **about}
    for name, people in counted.items():
        out += rows(people, bench, f"{bench.table}, rules", parts=(), method=name, **about)
        same = {"table2": ("mpjpe",), "table3": ("mpjpe", "pck_abs_matched")}[bench.table]
        out += rows(people, bench, f"{bench.table}, rules, same people", common, same, (), method=name, **about)
    return out


# ---- a whole table ---------------------------------------------------------------------------------------------------------------------


def whole(bench, networks, eyes, profile="auto", seed=0, baselines=True, **about):
    """(rows, missing) of a `Bench`: everything in its table, and the (method, train) pairs that could not be run.

    networks: {name: `models.Trained`}, HERE with AGR of each of `two_d.ARMS`, others with the noisy one;  eyes: {name: `Backbone`} for AGR
    from pictures;  baselines: those of the generalization study as well, on a twin.  The network HERE, with noise, is counted by every
    rule (`rule_rows`).
    """
    out, missing, about = [], [], {"profile": resolve(profile).name, "seed": seed, **about}
    for name, trained in networks.items():
        method = f"VirtualPose, {name}"
        for arm in (*two_d.ARMS, IMAGE) if name == HERE else (NOISY, IMAGE):
            sees, watching, found = f"AGR: {arm}", eyes.get(name), None
            if arm != IMAGE or watching is not None:
                found = answered(trained, bench, two_d.ARMS.get(arm), seed, watching if arm == IMAGE else None, arm == NOISY)
            if found is None:
                missing.append((method, sees))
                continue
            rules = [r for r in REPORTED[bench.table] if found.published is not None or not RULES[bench.table][r].truth]
            out += method_rows(found, bench, rules, method, sees, **about)
            if name == HERE and arm == NOISY:
                out += rule_rows(found, bench, method, sees, **about)
    for method in ("BDR", "TIF", "TBS") if baselines and not bench.recorded else ():
        found = baseline(method, bench, profile, seed)
        rules = [r for r in REPORTED[bench.table] if not RULES[bench.table][r].truth]
        out += method_rows(found, bench, rules, method, TAUGHT[LEARNED_ON[bench.table]], **about)
    return out, missing


TAUGHT = {("fig3a", "16"): "camera 16, 2D given", ("table1", "augmented"): "MuCo, 2D given"}
