"""The experiment of §3.2, Fig. 3b: does a depth estimator that knows few postures know others?  It sees heatmaps, so postures are all
there is.

Training arms differ in the bank of poses alone: people, cameras, yaws, noise, steps and the network's first weights are the same, and so
is the posture of everybody whom both banks have.  Places are drawn alike, but somebody for whom there is no room in the new posture stands
where the next draw says.  The test is the twin of MuPoTS-3D, whose activities occur in no arm, or recorded motion (`--data bvh=`).
"""

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from vp.lab import baselines, generalization, pictures, pool, results, study
from vp.lab.datasets import load
from vp.lab.effects import compared
from vp.lab.generalization import Outcome
from vp.lab.pose_study import moving
from vp.lab.profiles import resolve
from vp.lab.second_stage import NOISE, Batches, Course, said, world
from vp.lab.train import default_device
from vp.nets.virtualpose import Sizes
from vp.world.bank import PoseBank
from vp.world.coverage import aligned, nearest
from vp.world.poses import posture_factor

ARMS = ("Panoptic", "Panoptic+MuCo", "Panoptic+MuCo, joints turned")
OWN = "MuPoTS's own activities"  # no arm of the comparison but a level: what training on the test's kind of postures would give
METHOD = "BDR, heatmaps"
POSES = 20_000  # of every arm's bank
TURNED_DEG = 15.0  # s.d. of the joint-angle manipulation (§6.1)
STREAM, BLOCK = 57, 32  # seed of the test scenes; scenes at a time
CALIBRATED_ON = 512  # training scenes from which the reference levels are calibrated
NEAR_MM = 120.0  # mean distance of the joints at which two postures count as alike
GAMMAS = (0.0, 0.85, 0.92, 0.96, 1.0, np.inf)  # bins of the posture factor
DISTANCES = (0.0, 60.0, 80.0, 100.0, 120.0, np.inf)  # bins of the distance to the nearest training posture, mm


# ---- banks -----------------------------------------------------------------------------------------------------------------------------


def bank(arm, roots=None):
    """`PoseBank` of an arm, POSES bodies, body i of one arm standing for body i of the others.

    Panoptic's; every second one replaced by one of MuCo's; and of each of these kinds every second one with its joints turned at random.
    roots: {"panoptic": DIR, "muco": DIR}: recorded poses instead of the twins'.
    """
    if arm not in (*ARMS, OWN):
        raise ValueError(f"no arm {arm!r}: {', '.join((*ARMS, OWN))}")
    return _bank(arm, tuple(sorted((k, str(v)) for k, v in (roots or {}).items() if v)))


@cache
def _bank(arm, roots):
    if arm == OWN:
        return _drawn(load("mupots", bank_seed=1).bank, 34)  # other poses than the test's
    if arm == ARMS[0]:
        return _drawn(load("panoptic", "train", dict(roots).get("panoptic")).bank, 31)
    i = torch.arange(POSES)
    if arm == ARMS[1]:
        return _replaced(_bank(ARMS[0], roots), i % 2 == 1, _drawn(load("muco", "train", dict(roots).get("muco")).bank, 32))
    mixed = _bank(ARMS[1], roots)
    return _replaced(mixed, i % 4 >= 2, mixed.manipulate(torch.Generator().manual_seed(33), TURNED_DEG))


def _drawn(source, seed):
    """POSES bodies of a bank, with replacement."""
    return PoseBank.mix([source], [1.0], POSES, torch.Generator().manual_seed(seed))


def _replaced(before, where, after):
    """Bank with the bodies `where` (N,) bool taken from another one."""
    i = torch.arange(len(before))
    return PoseBank.joined([before, after])[torch.where(where, len(before) + i, i)]


# ---- training and test -----------------------------------------------------------------------------------------------------------------


@cache
def _world():
    """People, places and cameras of every arm."""
    return world()


def stream(arm, sizes, seed=0, roots=None):
    """`Heatmaps` of an arm's training scenes; sizes: a `Study`."""
    shape = Sizes(map=tuple(sizes.map), space_bins=(2, 2, 2))  # nobody looks into the space
    data = replace(_world(), bank=bank(arm, roots))
    return pictures.Heatmaps(Batches(data, shape, NOISE, seed=2 * seed, device=str(default_device())))


def train_one(arm, profile="auto", seed=0, roots=None, label=None):
    """`baselines.Learned` of an arm (from the cache if it was trained before)."""
    sizes = resolve(profile).study.seed(seed)
    samples = stream(arm, sizes, seed, roots)
    about = [said(Course(samples.batches.sizes), samples.batches), samples.batches.seed]
    return baselines.learn(METHOD, samples, sizes, sizes.map, about, label)


def _prepare(arm, profile, seed, roots):
    train_one(arm, profile, seed, roots)


def held_out(profile="auto", seed=0, mupots_root=None, bvh_root=None):
    """{test: blocks of scenes}: "MuPoTS", and "recorded motion" where a folder of it is given.

    mupots_root: a folder of MuPoTS-3D; what it has (cameras, perhaps poses) takes the twin's place.
    """
    n = resolve(profile).study.heat_test
    data = load("mupots", root=mupots_root or None)
    out = {"MuPoTS": [data.scenes(min(BLOCK, n - i), STREAM + seed, start=i) for i in range(0, n, BLOCK)]}
    if bvh_root:
        out["recorded motion"] = moving(bvh_root, n, seed)
    return out


def run(profile="auto", seed=0, roots=None, scenes=None, arms=ARMS):
    """`Outcome` of the experiment; scenes: those of `held_out`."""
    sizes = resolve(profile).study.seed(seed)
    pool.side_by_side(_prepare, [(arm, profile, seed, roots) for arm in arms], "trainings")
    seen = {t: pictures.of_heatmaps(blocks, sizes.map, NOISE, seed) for t, blocks in (scenes or held_out(profile, seed)).items()}
    out = Outcome({t: baselines.People.of(p) for t, p in seen.items()}, {}, {}, {t: p.sources for t, p in seen.items()})
    for arm in arms:
        learned, batches = train_one(arm, profile, seed, roots), stream(arm, sizes, seed, roots).batches
        out.facts[METHOD, arm] = learned.facts
        if recorded := [name for name, root in (roots or {}).items() if root]:
            out.trained[arm] = {"poses": ", ".join(sorted(recorded))}
        known = baselines.Calibration.of(pictures.of_heatmaps([batches.data.scenes(CALIBRATED_ON, batches.seed)], sizes.map))
        for t, p in seen.items():
            out.depths |= {(level, arm, t): d for level, d in known.levels(p).items()}
            out.depths[METHOD, arm, t] = baselines.answers(learned.method, p)
    return out


def rows(outcome, **columns):
    """Rows of an `Outcome`: the method's with each person's error, for paired claims, and the reference levels'."""
    levels = replace(outcome, depths={k: d for k, d in outcome.depths.items() if k[0] != METHOD})
    return generalization.paired(outcome, "fig3b", (METHOD,), **columns) + generalization.rows(levels, "fig3b", **columns)


def difference(rows, a, b, test):
    """`Effect` of training on arm a rather than b: MRPE_z of a − b (mm), paired by person and seed."""
    return compared({"train": a}, {"train": b}, experiment="fig3b", metric="mrpe_z", method=METHOD, test=test)(rows)


def headroom(rows, test):
    """{arm: (`Effect` of arm − OWN, what that says)}: what better postures could gain on a test, for the two arms of the paper.

    An arm that is not worse than training on the test's own kind of postures leaves nothing for other postures to win.
    """
    words = {1: "there is headroom: postures of the test's own kind do better", 0: "no headroom shows: the interval holds zero",
             -1: "no headroom: postures of the test's own kind do worse"}  # fmt: skip
    effects = {arm: difference(rows, arm, OWN, test) for arm in ARMS[:2]}
    return {arm: (e, words[study.side(e)]) for arm, e in effects.items() if e}


# ---- postures --------------------------------------------------------------------------------------------------------------------------


def postures(blocks, people):
    """`PoseBank` of the `baselines.People` of some blocks of scenes, in their order, each as it stands in its scene."""
    where = people.scene, people.person
    joints, valid, stature = (torch.cat([getattr(b, k) for b in blocks])[where] for k in ("joints", "valid", "stature"))
    activity = np.concatenate([b.activity for b in blocks])[where]
    return PoseBank(joints, valid, stature, tuple(activity), blocks[0].sources["poses"])


def factors(bodies):
    """(N,) posture factor γ of a `PoseBank`."""
    return posture_factor(bodies.joints, bodies.stature).numpy()


def to_nearest(bodies, known):
    """(N,) mm: how far each body of a `PoseBank` is from the nearest of another (mean over joints, as in coverage).

    Joints that half of the other's bodies lack, or more, do not count (Panoptic has no spine, nor has half of a bank that it is half of);
    bodies that lack one of the rest are nobody's nearest.
    """
    there = aligned(known)
    seen = ~there.isnan().any(-1)
    common = seen.float().mean(0) > 0.5
    return nearest(aligned(bodies)[:, common], there[seen[:, common].all(1)][:, common])[0].numpy()


def names_of(edges, unit=""):
    """Names of bins between edges, the last of which may be infinite."""
    inner = [f"{a:g} to {b:g}{unit}" for a, b in itertools.pairwise(edges[1:-1])]
    return [f"below {edges[1]:g}{unit}", *inner, f"above {edges[-2]:g}{unit}"]


def binned(outcome, test, values, edges, factor, unit="", **columns):
    """Rows of the mean error in each bin of some property (N,) of the people of a test, for every arm; small bins are left out.

    The row's `test` is "TEST, FACTOR BIN".
    """
    people, out, bins = outcome.people[test], [], np.digitize(values, edges) - 1
    for arm in dict.fromkeys(a for m, a, _ in outcome.depths if m == METHOD):
        facts, error = outcome.facts.get((METHOD, arm), {}), np.abs(outcome.error(METHOD, arm, test))
        about = {k: facts[k] for k in ("steps", "samples_seen", "config") if k in facts} | columns
        for k, name in enumerate(names_of(edges, unit)):
            here = bins == k
            if here.sum() >= study.LEAST:
                interval, bin_ = study.interval(error[here], people.scene[here]), f"{test}, {factor} {name}"
                common = {"sources": outcome.named(test), "method": METHOD, "train": arm, "test": bin_, "n": int(here.sum())}
                out.append(results.row(f"fig3b, by {factor}", "mrpe_z", study.mean(error[here]), "mm", interval, **common, **about))
    return out
