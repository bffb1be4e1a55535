"""Train the networks of the generalization study (§3.2) into the cache, from which notebooks 04 and 05 take them.

`python -m vp.lab.train_methods fig3a --profile paper --data panoptic=DIR`, or on four GPUs
`torchrun --nproc-per-node 4 -m vp.lab.train_methods ...`.  Interrupted, the same command goes on from the last state.  A notebook finds
what was trained here if its profile, seed, folder and kind of device (GPU or CPU) are the same.
"""

import argparse
import contextlib
import sys

from vp.errors import InputError
from vp.lab import generalization, plan, results
from vp.lab.baselines import METHODS
from vp.lab.profiles import PROFILES, resolve
from vp.lab.train import processes


def main(argv=None):
    """The command; returns its exit code, as those of `vp`."""
    p = argparse.ArgumentParser(description=__doc__.partition(".")[0])
    p.add_argument("experiment", choices=generalization.EXPERIMENTS)
    p.add_argument("--profile", default="auto", help=f"auto, {', '.join(PROFILES)}")
    p.add_argument("--data", action="append", default=[], metavar="NAME=DIR", help="recorded pictures instead of the virtual twin's")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--methods", nargs="+", default=generalization.THREE, metavar="METHOD", help="default: the paper's three")
    p.add_argument("--arms", nargs="+", metavar="ARM", help="default: all of the experiment")
    a = p.parse_args(argv)
    try:
        run(a.experiment, resolve(a.profile).name, a.seed, a.methods, a.arms, folder(a.experiment, a.data))
    except InputError as e:
        return _ended(e, 2)
    except KeyboardInterrupt:
        return _ended("interrupted; the same command goes on from here", 1)
    return 0


def _ended(why, code):
    if processes()[0] == 0:  # of several processes, which all know, one speaks
        print(f"train_methods: {why}", file=sys.stderr)
    return code


def folder(experiment, data):
    """The folder among --data that the experiment reads (written as `vp reproduce` hands it to notebooks), or None: the twin."""
    roots, read = plan.roots(data), {s.data for arm in generalization.EXPERIMENTS[experiment].arms.values() for s in arm}
    for other in sorted(set(roots) - read):
        raise InputError(f"{experiment} reads no {other!r} data", "--data", f"it reads {', '.join(sorted(read))}")
    return next(iter(roots.values()), None)


def run(experiment, profile="auto", seed=0, methods=generalization.THREE, arms=None, root=None):
    """Train what is not in the cache; every process of torchrun calls this alike, and the first one tells what it did."""
    e = generalization.EXPERIMENTS[experiment]
    for names, known, what in ((arms or (), e.arms, "arm"), (methods, METHODS, "method")):
        for name in names:
            if name not in known:
                raise InputError(f"no {what} {name!r}", f"--{what}s", f"known: {', '.join(known)}")
    todo = [(arm, method) for arm in arms or e.arms for method in methods]
    sizes, (rank, _) = resolve(profile).study, processes()
    cache = results.ROOT / "runs" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    read = root and not generalization.lacking(next(iter(e.tests.values())).data, root)
    with contextlib.nullcontext() if read else results.locked(cache / "pictures"):  # rendered by the first process, found by the others
        for source in dict.fromkeys(s for arm, _ in todo for s in e.arms[arm]):
            source.pictures(sizes, seed, root)
    for k, (arm, method) in enumerate(todo, 1):
        label = f"{k} of {len(todo)}: {method}, {arm}"
        facts = generalization.train_one(experiment, arm, method, profile, seed, root, label).facts
        if rank == 0:
            print(f"{label}: {facts['steps']} steps in {facts['seconds']:.0f} s on {facts['device']}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
