"""The methods of the generalization study (§3.1) as they are trained and scored: TBS, TIF, BDR, and any other of `vp.nets.method`'s shape.

All methods of a comparison see the same pictures in the same order, for the same number of steps (`Study`), and answer for the same people:
those whose root is in the picture, from true boxes and true 2D joints.  Trained networks are kept in the cache, by everything that decides
what they learn.
"""

import contextlib
import hashlib
import inspect
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from vp.errors import InputError
from vp.lab import models, results
from vp.lab.second_stage import lot
from vp.lab.train import default_device, processes, train
from vp.nets import checkpoints
from vp.nets.bdr import BDR
from vp.nets.method import ROOT, MeasuredBy
from vp.nets.tbs import TBS, box_depth, square
from vp.nets.tif import TIF

LEVELS = ("mean depth", "box size", "stature floor")
TRAINED_BY = ("nets/__init__.py", "nets/method.py", "nets/tbs.py", "nets/tif.py", "nets/bdr.py", "nets/resnet.py", "world", "camera.py",
              "skeleton.py", "lab/train.py", "lab/datasets.py", "lab/pictures.py", "lab/second_stage.py")  # fmt: skip
RECORDED_BY = ("lab/recorded_pictures.py", "data/panoptic.py", "data/muco.py", "data/mupots.py")  # besides, where pictures are recorded


def _common(s):
    return {"depth": s.layers, "width": s.width, "deconv": s.deconv}


METHODS = {  # name -> (Study, size of the pictures, generator of the first weights) -> module
    "TBS": lambda s, size, g: TBS(s.crop, s.layers, s.width, generator=g),
    "TIF": lambda s, size, g: TIF(bins=s.bins, seen=s.looked_at(size), generator=g, **_common(s)),
    "TIF, regression": lambda s, size, g: TIF(bins=0, seen=s.looked_at(size), generator=g, **_common(s)),
    "BDR": lambda s, size, g: BDR(seen=s.looked_at(size), generator=g, **_common(s)),
    "BDR, heatmaps": lambda s, size, g: BDR(inputs="heatmaps", generator=g, **{**_common(s), "depth": 18}),  # that of §4.2
}


@dataclass
class Learned:
    """A trained method: module in eval mode, facts {"steps", "samples_seen", "seconds", "device", "losses", "config"}."""

    method: torch.nn.Module
    facts: dict


def learn(make, stream, study, size, about, label=None, folder=None, device=None):
    """`Learned`, from the cache if the same was learned before by the same code, else trained now (an interrupted training goes on).

    make: name of one of METHODS, or a function (Study, size, generator) -> module, a user's own, told from others by its source and that
    of the classes it makes modules of;  stream: `Samples` or `Heatmaps`;
    size: of the pictures;  about: what the stream is made of, anything that can be printed, so that the cache can tell it from others.
    """
    plan, device = (study.heat_plan if make == "BDR, heatmaps" else study.plan), device or default_device()
    own = make if callable(make) else _known(make)
    with torch.random.fork_rng([]):  # a user's own may leave the generator alone
        torch.manual_seed(plan.seed)
        method = own(study, tuple(size), torch.Generator().manual_seed(plan.seed))
    said = [_source(make, method) if callable(make) else [make, repr(method)], asdict(study), list(size), about, torch.device(device).type]
    key = hashlib.sha256(json.dumps([*said, models.code_hash(TRAINED_BY)], default=str, sort_keys=True).encode()).hexdigest()[:16]
    path = Path(folder or results.ROOT / "runs" / "cache" / "methods") / f"{key}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    rank, world = processes()
    with results.locked(path) if rank == 0 else contextlib.nullcontext():  # of several processes one holds it for all, or none could train
        facts = _kept(method, path) if rank == 0 else None
        if world > 1 and _told(facts is not None, device):
            facts = facts or _kept(method, path)
        if facts is not None:
            return Learned(method.to(device).eval(), facts)
        if hasattr(stream, "sets"):
            stream = replace(stream, seed=lot(plan.seed, "study"), device=str(device))
        elif hasattr(stream, "batches"):
            stream = replace(stream, batches=replace(stream.batches, device=str(device)))
        objective = MeasuredBy(method)
        objective.may_skip = True  # a share of a batch in which nobody is leaves most of TBS out
        h = train(objective, stream, plan, path.with_suffix(".state"), True, device, label, about=key)
        facts = {"steps": h.steps, "samples_seen": h.samples, "seconds": round(h.seconds, 1), "device": h.device, "at": h.at,
                 "losses": {k: [float(f"{v:.4g}") for v in series] for k, series in h.losses.items()},
                 "config": results.config_hash({"key": said})}  # fmt: skip
        if rank == 0:
            checkpoints.save(path, method, facts)
    return Learned(method.eval(), facts)


def _kept(method, path):
    """Facts of a network in the cache, whose weights the method takes; None: it is not there, or damaged and to be learned again."""
    if not path.exists():
        return None
    try:
        tensors, facts = checkpoints.load(path)
        checkpoints.fill(method, tensors, path)
    except InputError:
        return None
    return facts


def _told(found, device):
    """What the first of several processes has found, told to all."""
    flag = torch.tensor(float(found), device=device)
    distributed.broadcast(flag, 0)
    return bool(flag)


def _known(name):
    if name not in METHODS:
        raise InputError(f"no method {name!r}", "study", f"known: {', '.join(METHODS)}, or a function (Study, size, generator) -> module")
    return METHODS[name]


def _source(make, method):
    """Everything of a user's own method that tells it from another: source, what the source takes from outside, layers."""
    classes = {c for m in method.modules() for c in type(m).__mro__ if c.__module__.partition(".")[0] not in ("torch", "vp", "builtins")}
    own = [make] if inspect.isfunction(make) else []
    own += [f for c in sorted(classes, key=lambda c: c.__qualname__) for f in vars(c).values() if inspect.isfunction(f)]
    try:
        return [[inspect.getsource(f), f.__defaults__, _plain(inspect.getclosurevars(f).nonlocals)] for f in own] + [repr(method)]
    except OSError:
        hint = "write it in a file or in a cell of a notebook"
        raise InputError("its source is not to be had, so the cache could not tell it from another", repr(make), hint) from None


def _plain(values):
    """Names and values that can be printed the same in every run; of all else the type (a generator would print its address)."""
    return {k: v if isinstance(v, (int, float, str, tuple, list, dict)) or v is None else type(v).__name__ for k, v in values.items()}


def quiet(label):
    """A label for the line of progress where there is a terminal, else None: silent."""
    return label if sys.stderr.isatty() else None


# ---- answers ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class People:
    """Everybody who counts in some test pictures, in a fixed order: scene (N,), person (N,), depth (N,) mm."""

    scene: np.ndarray
    person: np.ndarray
    depth: np.ndarray

    @classmethod
    def of(cls, pictures):
        """Of `Pictures`."""
        scene, person = (x.numpy() for x in pictures.people().T)
        return cls(scene, person, pictures.depth[scene, person, ROOT].numpy())

    def also_in(self, other):
        """(N,) bool: the same person of the same scene counts there too."""
        return np.isin(self.scene * 1000 + self.person, other.scene * 1000 + other.person)


@torch.no_grad()
def answers(method, pictures, block=64):
    """(N,) mm: the depths a method gives the `People` of pictures, which it sees without the truth."""
    method.eval()
    device, out = next(method.parameters()).device, []
    for start in range(0, len(pictures), block):
        views = pictures.views(torch.arange(start, min(start + block, len(pictures))), device)
        out.append(method.depths(views.without_truth())[views.mask].cpu())
    return torch.cat(out).double().numpy()


@dataclass(frozen=True)
class Calibration:
    """What the reference levels know of training pictures: mean depth mm; the box rule's constant; mean stature mm (NaN unknown)."""

    depth: float
    box: float
    stature: float

    @classmethod
    def of(cls, *sets):
        """Of one or several training `Pictures`."""
        depth = torch.cat([p.depth[..., ROOT][p.mask] for p in sets])
        k = torch.cat([box_depth(square(p.boxes), p.camera)[p.mask] for p in sets])
        stature = torch.cat([p.stature[p.mask] for p in sets])
        return cls(float(depth.mean()), float((depth / k).median()), float(stature.nanmean()))

    def levels(self, pictures):
        """{level: (N,) mm}, the LEVELS for the `People` of test pictures.

        "mean depth": everybody where people were on average in training;  "box size": k times one constant;  "stature floor": posture and
        camera known, everybody of mean stature, so the depth is off by the share that the stature is (left out where it is unknown).
        """
        mask, depth = pictures.mask, pictures.depth[..., ROOT][pictures.mask]
        stature, k = pictures.stature[mask], box_depth(square(pictures.boxes), pictures.camera)[mask]
        out = {"mean depth": torch.full_like(depth, self.depth), "box size": self.box * k}
        if stature.isfinite().all() and np.isfinite(self.stature):
            out["stature floor"] = depth * self.stature / stature.to(depth)
        return {k: v.double().numpy() for k, v in out.items()}
