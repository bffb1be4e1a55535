"""The ablations of §5.3 and what they leave open: which courses are trained for them, and how each is measured.

Table 4 reads one second stage at three points.  What it cannot tell: whether REN is better because it looks at space or because it is
told the camera; so a DE is trained that is told it as well (`FLOOR`), beside REN in a space along the camera's axes, which is not told.
Table 5 trains before one camera or random ones.  All arms of a comparison see as many samples, the same people and the same noise.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vp.errors import InputError
from vp.lab import evaluate, losses, models, pool, results, study
from vp.lab.datasets import load
from vp.lab.generalization import ABOUT_THE_DOME
from vp.lab.profiles import resolve
from vp.lab.second_stage import NOISE, frames, said, world
from vp.lab.train import default_device, train
from vp.metrics import PCK_JOINTS
from vp.nets import checkpoints
from vp.nets.floor import FloorDE
from vp.nets.ren import ROOT, decode, detected_roots
from vp.skeleton import JOINTS_15
from vp.world.agr import synthesise

ALONE, FLOOR = "DE alone", "DE alone, camera told"
CAMERAS = ("14", "16", "19")  # of Table 5
RANDOM = "random"
POSES = ("MuCo poses", "MuPoTS poses")  # of the comparison of known poses
THRESHOLD = 150.0  # mm, of 3DPCK
COUNTED = [JOINTS_15.index(j) for j in PCK_JOINTS]


# ---- courses ---------------------------------------------------------------------------------------------------------------------------


def samples(course):
    """Samples that a course sees."""
    return sum(p.steps * p.batch for p in (course.alone, course.together) if p)


def alone(course):
    """The course with all its samples spent on the DE (Eq. 4 alone)."""
    plan = course.alone or course.together
    return replace(course, alone=replace(plan, steps=round(samples(course) / plan.batch)), together=replace(course.together, steps=0))


def course_of(arm, profile="auto", seed=0):
    """`Course` of an arm: ALONE; one of CAMERAS, RANDOM or POSES (short ones, all alike but for who stands before which camera)."""
    p = resolve(profile)
    return alone(p.course(seed)) if arm == ALONE else p.course(seed, p.ablation)


@cache
def _world(arm):
    """`Dataset` of an arm's training scenes."""
    if arm in POSES:
        bank = load("muco", "train").bank if arm == POSES[0] else load("mupots", "test").bank
        poses = f"{arm.partition(' ')[0]}'s twin"
        return replace(world(), bank=bank, sources={"poses": poses, "cameras": "universal", "images": "computed"})
    return seen_by(load("panoptic", "train"), arm)


def seen_by(data, camera):
    """A Dataset before another camera: one of CAMERAS, or RANDOM, anywhere about the dome (`ABOUT_THE_DOME`)."""
    spec, name = (ABOUT_THE_DOME, RANDOM) if camera == RANDOM else (f"panoptic:{camera}",) * 2
    twin = replace(data.twin, scenes=replace(data.twin.scenes, camera=spec))
    return replace(data, twin=twin, sources=data.sources | {"cameras": name})


def trained(arm, profile="auto", seed=0):
    """`models.Trained` of an arm, from the cache or trained now."""
    c = course_of(arm, profile, seed)
    batches = c.batches() if arm == ALONE else replace(c.batches(), data=_world(arm))
    return models.cached(c, batches, label=None, device=default_device())


def prepare(profile="auto", seed=0, arms=(ALONE, FLOOR, *CAMERAS, RANDOM, *POSES)):
    """Train the arms that are not in the cache yet, side by side."""
    pool.side_by_side(_prepare, [(arm, resolve(profile).name, seed) for arm in arms], "ablations")


def _prepare(arm, profile, seed):
    _ = floor_de(profile, seed) if arm == FLOOR else trained(arm, profile, seed)


# ---- the DE that is told the camera ----------------------------------------------------------------------------------------------------


class DepthTold(nn.Module):
    """Objective of a `FloorDE` (Eq. 4)."""

    def __init__(self, de, weight):
        super().__init__()
        self.de, self.weight = de, weight

    def forward(self, batch):
        """Loss of a `second_stage.Batch`: {"depth"}."""
        t = batch.targets
        return {"depth": self.weight * losses.depth_loss(self.de(batch.agr.heatmaps, batch.camera), t.factor, t.index, t.depth, t.mask)}


@dataclass
class Told:
    """A trained `FloorDE`: de (eval mode), sizes, facts."""

    de: FloorDE
    sizes: object
    facts: dict


def floor_de(profile="auto", seed=0, folder=None):
    """`Told`: the samples, plan and sizes of `ALONE`, from the cache or trained now (an interrupted training goes on)."""
    c, device = course_of(ALONE, profile, seed), default_device()
    s, plan, batches = c.sizes, c.alone, replace(c.batches(), seed=2 * c.alone.seed, device=str(device))
    de = FloorDE(s.de_width, s.de_deconv, s.de_bias, init_std=s.de_init_std, generator=torch.Generator().manual_seed(seed))
    code = models.code_hash((*models.TRAINED_BY, "nets/floor.py", "lab/ablations.py"))
    key = hashlib.sha256(json.dumps([said(c, batches), code, device.type], default=str).encode()).hexdigest()[:16]
    path = Path(folder or results.ROOT / "runs" / "cache" / "nets") / f"floor-{key}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with results.locked(path):
        try:
            tensors, facts = checkpoints.load(path)
            checkpoints.fill(de, tensors, path)
        except InputError:  # not there, or damaged
            h = train(DepthTold(de, c.weights.depth), batches, plan, path.with_suffix(".state"), True, device, None, about=key)
            facts = {"training": {"DE": {"steps": h.steps, "samples": h.samples, "seconds": round(h.seconds, 1), "device": h.device}}}
            checkpoints.save(path, de, facts)
    return Told(de.to(device).eval(), s, facts)


@torch.no_grad()
def depth_errors(de, sizes, scenes, stated=None, noise=NOISE, seed=0, maps=None):
    """`metrics.People` of a `DE` or `FloorDE` without the rest of a second stage, on held-out scenes: what `study.errors` calls "DE", from
    the same AGR and stated cameras.

    sizes: of the second stage that it was trained for;  stated, noise: as of `study.errors`;  seed: of the noise;  maps: block of scenes
    -> heatmaps, box_map in place of the computed ones.
    """
    s, parts, device = sizes, [], next(de.parameters()).device
    for i, block in enumerate(scenes):
        agr, t = synthesise(block, s.map, noise, torch.Generator(device).manual_seed((seed << 20) + i), s.joints, None, s.stride)
        heatmaps, box_map = (x.to(agr.heatmaps) for x in maps(block)) if maps else (agr.heatmaps, agr.box_map)
        camera = block.camera if stated is None else stated(block, torch.Generator().manual_seed((seed << 20) + i))
        level = frames(camera).camera(camera).to(torch.float32)
        depth = de(heatmaps, level) if isinstance(de, FloorDE) else de(heatmaps)
        factor = level.fit(s.stride * s.map[0], s.stride * s.map[1]).depth_norm.to(depth)
        found = decode(heatmaps[:, ROOT], box_map, depth * factor[:, None, None], s.people, s.detection)
        points = level.to_camera(detected_roots(found, level, s.map))
        answers = evaluate.at_root(points, found.scores, found.valid & (found.depths > 0), s.joints)
        parts.append(evaluate.score(answers, block, t.mask))
    return evaluate.joined(parts)


# ---- measures --------------------------------------------------------------------------------------------------------------------------


def two_by_two(profile="auto", seed=0, scenes=None, stated=None):
    """{cell: `metrics.People`} of {DE, REN} x {not told the camera, told}, and REN+PEN, on held-out scenes.

    REN that is not told works in a space along the camera's axes (variant "camera"); all have seen as many samples.  Of DEs that are not
    told there are two: ALONE, trained like the one that is told, and "DE", on which REN+PEN stands.
    """
    scenes = study.held_out(profile, seed) if scenes is None else scenes
    level = study.errors(study.second_stage(profile, seed), scenes, stated)
    turned = study.errors(study.second_stage(profile, seed, "camera"), scenes, stated)
    alone, floor = trained(ALONE, profile, seed).model, floor_de(profile, seed)
    plain = depth_errors(alone.ren.de, alone.sizes, scenes, stated)
    told = depth_errors(floor.de, floor.sizes, scenes, stated)
    cells = {"DE": level["DE"], ALONE: plain, "DE, camera told": told, "REN, camera's axes": turned["REN"], "REN": level["REN"]}
    return {**cells, "REN+PEN": level["REN+PEN"]}


def table5(profile="auto", seed=0, n=None):
    """{(arm, test camera): {method: `metrics.People`}}: the twin's test people, seen by each of CAMERAS, by each of CAMERAS and RANDOM."""
    n, out, test = n or resolve(profile).held_out // 2, {}, load("panoptic", "test")
    for camera in CAMERAS:
        scenes = blocks(seen_by(test, camera), n, seed)
        for arm in (*CAMERAS, RANDOM):
            out[arm, camera] = study.errors(trained(arm, profile, seed), scenes)
    return out


def known_poses(profile="auto", seed=0, n=None):
    """{arm of POSES: {method: `metrics.People`}} on the MuPoTS twin's test."""
    scenes = blocks(load("mupots", "test"), n or resolve(profile).held_out, seed)
    return {arm: study.errors(trained(arm, profile, seed), scenes) for arm in POSES}


def blocks(data, n, seed):
    """n test scenes of a Dataset, a list of blocks."""
    return [data.scenes(min(study.BLOCK, n - i), study.STREAM + seed, default_device(), start=i) for i in range(0, n, study.BLOCK)]


def pck(people):
    """(N,) share of a person's counted joints within THRESHOLD mm; 0 of who was not found (all people)."""
    return np.where(people.found, (np.nan_to_num(people.errors[:, COUNTED], nan=np.inf) < THRESHOLD).mean(1), 0.0)
