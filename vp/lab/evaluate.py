"""How good a second stage is: its answers at several points (DE, REN, REN + PEN) beside reference levels, person by person.

Honest protocol (ours, the default): the networks see AGR and camera and nothing else; people are paired with answers in the picture, and
every method is scored on those found by all.  Published protocol, printed beside: the space is centred on the true roots, and candidates
farther than 500 mm from all of them are dropped (published_settings, quirks 2 and 3).
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from vp import metrics
from vp.camera import Camera
from vp.lab.effects import bootstrap
from vp.lab.infer import WINDOWS, infer
from vp.lab.second_stage import frames
from vp.nets.ren import ROOT, nearest_root
from vp.skeleton import JOINTS_15, JOINTS_17
from vp.space import Frame
from vp.world.agr import synthesise

GATE = 450.0  # mm at the true depth: how far from a person's root, in the picture, a predicted root may be to be paired with it
POINTS = ("DE", "REN (voxels)", "REN", "REN+PEN")
LEVELS = ("mean depth", "box size", "stature floor", "voxel floor")
FAR = 500.0  # mm, published: candidates farther from every true root are dropped


@dataclass
class Answers:
    """What one method says of B images: joints (B, K, J, 3) mm of the camera frame, NaN where unknown;  scores, valid (B, K)."""

    joints: torch.Tensor
    scores: torch.Tensor
    valid: torch.Tensor


@dataclass
class Seen:
    """Recorded people as `vp.world.agr.synthesise` takes them: joints (B, P, J, 3) world mm, valid (B, P, J), mask (B, P), camera (B)."""

    joints: torch.Tensor
    valid: torch.Tensor
    mask: torch.Tensor
    camera: Camera

    @property
    def visible(self):
        """(B, P, J) bool: known and in the picture; nobody has recorded what hides what."""
        uv, _, ok = self.camera.project(self.joints.flatten(1, 2))
        return (self.camera.in_image(uv) & ok).view(self.valid.shape) & self.valid


def stack(samples, J=15):
    """`Seen` of Samples with 3D joints and cameras of one picture size."""
    samples = [s.to(JOINTS_15 if J == 15 else JOINTS_17, derive=True) for s in samples]
    P = max(1, *(len(s) for s in samples))
    joints, valid = torch.full((len(samples), P, J, 3), torch.nan), torch.zeros(len(samples), P, J, dtype=torch.bool)
    for i, s in enumerate(samples):
        joints[i, : len(s)], valid[i, : len(s)] = s.joints.float(), s.valid
    dist = [torch.zeros(5, dtype=torch.float64) if s.camera.dist is None else s.camera.dist for s in samples]
    parts = (torch.stack([getattr(s.camera, k) for s in samples]) for k in ("R", "t", "f", "c"))
    camera = Camera(*parts, samples[0].camera.size, torch.stack(dist) if any(s.camera.dist is not None for s in samples) else None)
    return Seen(joints, valid, valid.any(-1), camera)


# ---- answers ---------------------------------------------------------------------------------------------------------------------------


def at_root(points, scores, valid, J):
    """`Answers` that know nothing but roots (B, K, 3) mm."""
    joints = points.new_full((*valid.shape, J, 3), torch.nan)
    joints[:, :, ROOT] = points
    return Answers(joints, scores, valid)


def answers(found):
    """{point: `Answers`} of an `Inference`: one model read at POINTS."""
    p, J = found.poses, found.poses.joints.shape[2]
    return {
        "DE": at_root(found.depth_roots, found.detections.scores, found.detections.valid & (found.detections.depths > 0), J),
        "REN (voxels)": at_root(p.voxels, p.scores, p.valid, J),
        "REN": at_root(p.roots, p.scores, p.valid, J),
        "REN+PEN": Answers(p.joints, p.scores, p.valid),
    }


@dataclass(frozen=True)
class Calibration:
    """What the reference levels know, from training scenes: mean depth mm;  box: median of depth x side of the box / focal length, mm;
    stature: mean, mm."""

    depth: float
    box: float
    stature: float

    @classmethod
    def of(cls, scenes, sizes):
        """From (many) training scenes."""
        agr, t = synthesise(scenes, sizes.map, None, None, sizes.joints, None, sizes.stride)
        c = t.depth * _side(agr) * sizes.stride / t.factor[:, None]
        return cls(float(t.depth[t.mask].mean()), float(c[t.mask].median()), float(scenes.stature[t.mask].mean()))


def _side(agr):
    """(B, P) map px: longer side of each person's box."""
    return (agr.boxes[..., 2:] - agr.boxes[..., :2]).amax(-1)


def levels(scenes, agr, targets, sizes, known):
    """{level: `Answers`}, the LEVELS for the people of scenes: none of them learns more than one number (`known`: `Calibration`).

    "mean depth": everybody where people are on average.  "box size": depth = c f / side of the box.  "stature floor": posture and camera
    known, everybody of mean stature, so depth is off by the share that the stature is; left out where statures are unknown.
    "voxel floor": the true root, rounded to the grid.  Without `known` (None), this alone.
    """
    t, camera, frame = targets, scenes.camera, frames(scenes.camera)
    root = camera.to_camera(t.roots)
    z = {}
    if known is not None:
        z |= {"mean depth": torch.full_like(t.depth, known.depth), "box size": known.box * t.factor[:, None] / sizes.stride / _side(agr)}
    if known is not None and hasattr(scenes, "stature"):
        z["stature floor"] = t.depth * known.stature / scenes.stature
    grid = sizes.grid
    spacing, low = (root.new_tensor(v) for v in (grid.spacing, [c - s / 2 for c, s in zip(grid.centre, grid.size, strict=True)]))
    voxel = ((frame.from_world(t.roots) - low) / spacing).round() * spacing + low
    points = {k: root / root[..., 2:] * v[..., None] for k, v in z.items()} | {"voxel floor": camera.to_camera(frame.to_world(voxel))}
    return {k: at_root(points[k], t.mask.to(root), t.mask, sizes.joints) for k in LEVELS if k in points}


# ---- scores ----------------------------------------------------------------------------------------------------------------------------


def views(found, scenes, counts):
    """A `metrics.View` per image: `Answers` against scenes; counts (B, P): people who are asked for."""
    camera, (B, P), J = scenes.camera, scenes.mask.shape, found.joints.shape[2]
    truth = camera.to_camera(scenes.joints[:, :, :J].flatten(1, 2)).view(B, P, J, 3)
    px = [camera.project_camera(x.flatten(1, 2))[0].view(*x.shape[:-1], 2) for x in (found.joints, truth)]
    arrays = (found.joints, truth, *px, found.scores, found.valid, scenes.mask, scenes.valid[:, :, :J], counts)
    a, g, ax, gx, score, ok, mask, known, counts = (x.cpu().numpy() for x in arrays)
    return [
        metrics.View(a[i][ok[i]], g[i][mask[i]], known[i][mask[i]], score[i][ok[i]], ax[i][ok[i]], gx[i][mask[i]], counts[i][mask[i]])
        for i in range(B)
    ]


def score(found, scenes, counts):
    """`metrics.People` of `Answers`, paired by 2D root within GATE mm at the person's true depth."""
    focal = scenes.camera.depth_norm.cpu().numpy()
    pairs = iter(focal)

    def pairing(view, root):
        return metrics.pair_root_px(view, root, GATE * next(pairs) / np.maximum(view.gt[:, root, 2], 1.0))

    return metrics.evaluate(views(found, scenes, counts), ROOT, pairing)


def joined(parts):
    """Several `metrics.People` as one, views numbered on."""
    out = {f.name: [getattr(p, f.name) for p in parts] for f in fields(metrics.People)}
    first = np.cumsum([0, *(len(p.sequence) for p in parts)])[:-1]
    out["view"] = [v + n for v, n in zip(out["view"], first, strict=True)]
    out["candidates"] = [c + np.array([n, 0, 0]) for c, n in zip(out["candidates"], first, strict=True)]
    return metrics.People(**{k: v[0] if k == "joints" else np.concatenate(v) for k, v in out.items()})


def measure(model, batches, known, noise=None, seed=0, frame="ahead", windows=WINDOWS, stated=None, published=True, look=None):
    """Errors of a model on `batches` (an iterable of scenes): {method: `metrics.People`} for POINTS and LEVELS; summary of the published
    protocol, or None.

    known: `Calibration`;  noise: of the AGR (None: clean);  stated: (scenes, generator) -> cameras as the model is told, default the true
    ones;  look: called with each `Inference` of the honest protocol.  Rows of all methods belong to the same people in the same order.
    """
    parts, way = {}, []
    s, device = model.sizes, next(model.parameters()).device
    for i, scenes in enumerate(batches):
        g = torch.Generator(device).manual_seed((seed << 20) + i)
        agr, t = synthesise(scenes, s.map, noise, g, s.joints, None, s.stride)
        camera = scenes.camera if stated is None else stated(scenes, torch.Generator().manual_seed((seed << 20) + i))
        found = infer(model, agr.heatmaps, agr.box_map, camera, frame, windows)
        if look is not None:
            look(found)
        for name, a in (answers(found) | levels(scenes, agr, t, s, known)).items():
            parts.setdefault(name, []).append(score(a, scenes, t.mask))
        if published:
            way.append(_published(model, scenes, agr, t, camera))
    people = {name: joined(p) for name, p in parts.items()}
    return people, metrics.summarise(joined(way)) if published else None


def _published(model, scenes, agr, targets, camera):
    """`metrics.People` of the published protocol: space about the true roots, far candidates dropped, 3D pairing below 500 mm."""
    s, mask, frame = model.sizes, targets.mask, Frame.ahead(camera)
    centre = torch.where(mask[..., None], targets.roots, 0.0).sum(1) / mask.sum(1).clamp(min=1)[:, None]
    offset = frame.from_world(centre[:, None].to(frame.origin))[:, 0] - frame.origin.new_tensor(s.space_centre)
    offset = torch.where(mask.any(1)[:, None], offset, 0.0)
    offset[:, 2] = 0.0
    moved = Frame(frame.axes, frame.to_world(offset[:, None])[:, 0])

    def near_truth(found, here):
        near = nearest_root(found.position, here.from_world(targets.roots), mask, FAR)[1]
        return replace(found, valid=near)

    found = infer(model, agr.heatmaps, agr.box_map, camera, moved, choose=near_truth).poses
    return metrics.evaluate(views(Answers(found.joints, found.scores, found.valid), scenes, mask), ROOT, metrics.pair_panoptic)


def same_people(people):
    """(N,) bool: people found by all methods of {method: `metrics.People`}; reference levels find everybody and do not count."""
    return np.all([p.found for name, p in people.items() if name not in LEVELS], axis=0)


def table(people, among=None):
    """{method: {"mrpe_z", "mrpe", "mpjpe", "recall", "n", "interval"}}: means over the people found by all (mm), recall over everybody.

    among: (N,) bool, another choice of people;  interval: 95 % of mrpe_z, scenes drawn anew;  mpjpe: NaN for methods without poses.
    """
    common, out = same_people(people) if among is None else among, {}
    for name, p in people.items():
        total = metrics.summarise(p, common)
        z = np.abs(p.root[common, 2])
        joints = total["mpjpe"] if np.isfinite(p.errors[common]).sum() > len(p.errors[common]) else float("nan")
        interval = bootstrap(z, p.view[common], None, np.random.default_rng(0)) if common.sum() > 1 else None
        out[name] = {
            "mrpe_z": total["mrpe_z"], "mrpe": total["mrpe"], "mpjpe": joints, "recall": float(total["recall"]), "n": int(common.sum()),
            "interval": interval,
        }  # fmt: skip
    return out
