"""Where the estimator fails (Fig. 4b, c), measured: virtual people as keypoints of a detector, through the chain of `vp.lab.estimate`.

One thing is changed at a time (who stands before somebody, what the picture cuts off, the stature, the camera that is believed); people,
places, postures and the detector's errors stay as they are, and levels are compared on the people found at every one of them.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from vp.camera import Camera
from vp.lab import estimate, guess_camera, results
from vp.lab.infer import WITHIN_PX, infer
from vp.lab.qualitative_curves import Curve, slope
from vp.lab.second_stage import misjudged, world
from vp.lab.statements_photos import EXACT, LEGS, MOST_HIDDEN, SEEN, SMALL, WHOLE
from vp.sample import Sample
from vp.skeleton import COCO_17, JOINTS_15, JOINTS_17
from vp.space import Frame
from vp.world.body import sample_people
from vp.world.placement import Placement

ROOT, STREAM, BATCH = JOINTS_15.root_index, 1300, 64  # BATCH: people at once
# A detector as we imagine one: none of these numbers is in the paper.
JITTER, WORSE, LOST = 0.012, 4.0, 0.25  # s.d. of a keypoint's place, of a person's extent in the picture; times, share of the hidden ones
SURE, UNSURE = 0.9, 0.35  # scores of joints that are seen and of hidden ones
VIEW = (2000.0, 6500.0)  # mm, where people stand before the camera
SMALLEST, TALLEST = 1100.0, 1950.0  # mm, statures, in equal shares
PITCHES, FOCALS = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0), (0.8, 0.9, 1.0, 1.1, 1.2)  # degree more than the truth; times the truth
CUTS = {WHOLE: None, "feet cut off": 0.75, "shanks cut off": 0.45, LEGS: 0.05}  # of the way from the root to the lowest joint
HIDDEN = {"1 to 4 hidden": (1, 4), MOST_HIDDEN: (5, 12)}  # of the twelve joints of arms and legs
STATURES = (1100.0, 1250.0, 1400.0, 1550.0, 1700.0, 1850.0, 1950.0)  # mm, edges of bins
MEAN = guess_camera.STATURE[0]  # mm, of adults


# ---- people as a detector gives them ---------------------------------------------------------------------------------------------------


@dataclass
class Lot:
    """N people, each of whom is asked for: what is known of them, and the truth.

    people: `estimate.People`;  camera: batch of N, one for each person;  joints (N, 15, 3) mm of the camera frame;  scene (N,) int;
    stature (N,) mm;  hidden (N,) int: joints of arms and legs hidden by others.
    """

    people: estimate.People
    camera: Camera
    joints: torch.Tensor
    scene: np.ndarray
    stature: torch.Tensor
    hidden: torch.Tensor

    def __len__(self):
        return len(self.scene)

    def only(self, who):
        """Those with who (N,) bool, or at the rows `who`."""
        at = torch.as_tensor(who)
        at = at.nonzero()[:, 0] if at.dtype == torch.bool else at
        people = estimate.People(*(getattr(self.people, k)[at] for k in FIELDS), [self.people.ids[i] for i in at.tolist()])
        return Lot(people, self.camera[at], self.joints[at], self.scene[at.numpy()], self.stature[at], self.hidden[at])


FIELDS = ("px", "amplitude", "eyes", "top", "truncated")
SHOWN = [(i, JOINTS_17.index(j)) for i, j in enumerate(COCO_17.joints) if j in JOINTS_17.joints]  # COCO's, ours
LIMBS = [j for _, j in SHOWN]


def keypoints(scenes, seed=0, through=False, cut=None):
    """Scenes as a detector gives them: (a COCO-17 `Sample` of each with its people, rows (B, P) bool: who is in it).

    People whose root lies in the picture.  The nose stands for the face.  Hidden joints are imprecise or lost;  through: nothing hides
    anything;  cut: joints lower in the picture than this share of the way from the root to the lowest joint are cut off.
    """
    g = torch.Generator().manual_seed(seed)
    (B, P, J), root = scenes.valid.shape, JOINTS_17.root_index
    error, lots = torch.randn(B, P, J, 2, generator=g), torch.rand(B, P, J, generator=g)  # whatever is changed, the same
    uv, _, ok = scenes.uv()
    inside = ok & scenes.camera.in_image(uv)
    low, high = (f(uv.masked_fill(~inside[..., None], v), -2) for f, v in ((torch.amin, math.inf), (torch.amax, -math.inf)))
    extent = (high - low).amax(-1)
    hidden = scenes.occluded & (not through)
    px = uv + JITTER * extent[..., None, None] * torch.where(hidden, WORSE, 1.0)[..., None] * error
    known = inside & ~(hidden & (lots < LOST))
    if cut is not None:
        v = uv[..., 1].masked_fill(~inside, -math.inf)
        hips = v[..., [JOINTS_17.index("left_hip"), JOINTS_17.index("right_hip")]].amax(-1)  # without them there is no root
        row = torch.maximum(v[..., root] + cut * (v.amax(-1) - v[..., root]), hips)
        known = known & (uv[..., 1] <= row[..., None])
    score, rows, out = torch.where(hidden, UNSURE, SURE), scenes.mask & inside[..., root], []
    to, of = (list(x) for x in zip(*SHOWN, (0, JOINTS_17.index("head"))))  # the nose is as high as the eyes
    for i in range(B):
        n = int(rows[i].sum())
        at, seen, trust = px.new_full((n, 17, 2), math.nan), torch.zeros(n, 17, dtype=torch.bool), px.new_zeros(n, 17)
        at[:, to], seen[:, to], trust[:, to] = px[i, rows[i]][:, of], known[i, rows[i]][:, of], score[i, rows[i]][:, of]
        at = at.masked_fill(~seen[..., None], math.nan).double()
        out.append(Sample(COCO_17, f"virtual/scene {int(scenes.index[i])}", joints_px=at, valid_px=seen, score=trust.double(),
                          size=scenes.camera.size, ids=tuple(range(n)), sources={"poses": "simulated detector"}))  # fmt: skip
    return out, rows


def lot(scenes, seed=0, through=False, cut=None):
    """`Lot` of all people of scenes whose root lies in the picture, in the order of scenes; see `keypoints`."""
    samples, rows = keypoints(scenes, seed, through, cut)
    each = [estimate.people_of(s, s.size) for s in samples if len(s.joints_px)]
    people = estimate.People(*(torch.cat([getattr(p, k) for p in each]) for k in FIELDS), [i for p in each for i in p.ids])
    b = rows.nonzero()[:, 0]
    joints = scenes.camera.to(torch.float64)[b].to_camera(scenes.joints[rows][:, :15].double())
    return Lot(people, scenes.camera.to(torch.float64)[b], joints, scenes.index[b].numpy(), scenes.stature[rows],
               scenes.occluded[rows][:, LIMBS].sum(-1))  # fmt: skip


@torch.no_grad()
def answers(trained, lot, camera=None):
    """Joints (N, 15, 3) mm of the camera frame, NaN of whom nothing can be said: what `estimate.lift` says, many people at once.

    camera: batch of N, those that are believed, default the true ones.
    """
    camera, model = camera or lot.camera, trained.model
    out = torch.full_like(lot.joints, torch.nan)
    for rows in torch.arange(len(lot)).split(BATCH):
        some = lot.only(rows).people
        heat, box, roots, seen = estimate.maps(some, camera.size, model.sizes.map)
        if not seen.any():
            continue
        at, cameras = rows[seen], camera[rows[seen]]
        said = infer(model, heat[seen], box[seen], cameras).poses
        uv = cameras.fit(*model.sizes.map).project_camera(said.roots.double())[0]
        near = ((uv - roots[seen][:, None]).norm(dim=-1).masked_fill(~said.valid, torch.inf)).nan_to_num(torch.inf) < WITHIN_PX
        out[at] = said.joints[torch.arange(len(at)), near.long().argmax(1)].double()
        for i in at[~near.any(1)].tolist():  # no window explains them: `lift` asks the depth estimator
            out[i] = estimate.lift(model, lot.only([i]).people, camera[i])[0][0]
    return out


def believed(camera, pitch_deg=0.0, focal=1.0):
    """The cameras (a batch) as somebody believes them to be: looking `pitch_deg` lower, `focal` times the focal length."""
    angle = torch.full((len(camera.R),), math.radians(pitch_deg), dtype=camera.R.dtype)
    c = misjudged(camera, angle, torch.zeros_like(angle))
    return Camera(c.R, c.t, c.f * focal, c.c, c.size, c.dist)


@dataclass(frozen=True)
class Setting:
    """What a reader may change: focal length (times the truth), pitch (degree more than the truth), one keypoint of one person moved by
    (right, down) px."""

    focal: float = 1.0
    pitch_deg: float = 0.0
    person: int = 0
    joint: str = "left_ankle"
    right_px: float = 0.0
    down_px: float = 0.0


class Probe:
    """One scene, P people: called with a `Setting`, what the estimator makes of it.

    truth (P, 15, 3) mm;  camera: the true one;  size px.
    """

    joints = tuple(j for j in JOINTS_15.joints if j != "head_top")  # no detector says where it is

    def __init__(self, trained, scenes, seed=0):
        self.trained, self.lot = trained, lot(scenes[0:1], seed)
        self.frame = Frame.ahead(self.lot.camera[0:1])
        self.camera, self.size = self.frame.camera(self.lot.camera[0:1])[0], self.lot.camera.size
        self.truth = self.level(self.lot.joints)

    def level(self, joints):
        """Joints (P, 15, 3) mm of the camera frame in the level frame ahead of the true camera."""
        return self.frame.from_world(self.lot.camera[0:1].to_world(joints.flatten(0, 1)[None]))[0].view(joints.shape)

    def __call__(self, s):
        """(answers (P, 15, 3) mm, NaN where none; keypoints (P, 15, 2) px as given) in the frame of `truth`."""
        px, amplitude = self.lot.people.px.clone(), self.lot.people.amplitude
        px[s.person, JOINTS_15.index(s.joint)] += px.new_tensor([s.right_px, s.down_px])
        here = replace(self.lot, people=replace(self.lot.people, px=px))
        said = answers(self.trained, here, believed(self.lot.camera, s.pitch_deg, s.focal))
        return self.level(said), px.masked_fill(~(amplitude > 0)[..., None], torch.nan)


# ---- scenes ----------------------------------------------------------------------------------------------------------------------------


class Worlds:
    """The virtual scenes of this notebook: n of a seed of each kind, of the test's people and poses, which no training has seen."""

    def __init__(self, n, seed=0):
        self.n, self.seed, self.data = n, seed, world(split="test", places=Placement(area=None, view=VIEW))
        g = torch.Generator().manual_seed(STREAM)
        statures = SMALLEST + (TALLEST - SMALLEST) * torch.rand(2000, generator=g)
        self._wide, self._children = sample_people(2000, g, stature=statures), sample_people(2000, g, children=1.0)

    def scenes(self, people=(1, 1), who=None, occluded=None, changed=None, n=None):
        """n `Scenes`: (least, most) people, of `who` (default: adults), `occluded` of them put behind others."""
        d = self.data
        places = Placement(area=None, view=VIEW, occluded=occluded, someone=people == (1, 1))
        config = replace(d.twin.scenes, people=people, placement=places)
        d = replace(d, twin=replace(d.twin, scenes=config), people=d.people if who is None else who)
        return d.scenes(n or self.n, STREAM + self.seed, changed=changed)

    def alone(self):
        """One adult each."""
        return self.scenes()

    def statures(self):
        """(scenes of one person each of 1.10 to 1.95 m, the same with another stature): the bodies of adults, made larger or smaller."""
        return self.scenes(who=self._wide), self.scenes(who=self._wide, changed={"stature": 1})

    def children(self):
        """One child of 4 to 12 years each, with a child's proportions."""
        return self.scenes(who=self._children)

    def crowd(self):
        """Three people, most of them behind somebody."""
        return self.scenes((3, 3), occluded=0.9, n=max(1, 2 * self.n // 3))


# ---- measurements ----------------------------------------------------------------------------------------------------------------------


def errors(said, lot):
    """(z, mpjpe) (N,) mm of answers (N, 15, 3): depth of the root, positive if too far, and the mean over joints in the camera's frame."""
    off = said - lot.joints
    return off[:, ROOT, 2].numpy(), off.norm(dim=-1).mean(-1).numpy()


def curve(name, said, lots, pairs=None):
    """`Curve` of {level: answers} about {level: `Lot`}.

    pairs: [[level, ...], ...] with the same people, of whom those count who were found at each of these levels; default: all levels.
    """
    pairs = pairs or [list(said)]
    out = Curve(name, {}, {}, {}, {}, {})
    for levels in pairs:
        found = {k: said[k][:, ROOT].isfinite().all(-1).numpy() for k in levels}
        everywhere = np.all(list(found.values()), axis=0)
        for k in levels:
            z, mpjpe = errors(said[k], lots[k])
            out.z[k], out.mpjpe[k], out.scene[k] = z[everywhere], mpjpe[everywhere], lots[k].scene[everywhere]
            out.depth[k], out.found[k] = lots[k].joints[:, ROOT, 2].numpy()[everywhere], found[k]
    return out


def occlusion(trained, worlds):
    """`Curve`: people by how many of their joints others hide, each beside himself with nobody before him."""
    scenes = worlds.crowd()
    lots = {True: lot(scenes, worlds.seed), False: lot(scenes, worlds.seed, through=True)}
    hidden, said, shown, pairs = lots[True].hidden, {}, {}, []
    for name, (low, high) in HIDDEN.items():
        who = (hidden >= low) & (hidden <= high)
        pairs.append([name, f"{name}, seen through"])
        for level, way in zip(pairs[-1], (True, False)):
            shown[level] = lots[way].only(who)
            said[level] = answers(trained, shown[level])
    nobody = lots[True].only(hidden == 0)
    shown[SEEN], said[SEEN] = nobody, answers(trained, nobody)
    return curve("occlusion", said, shown, [[SEEN], *pairs])


def truncation(trained, scenes, seed=0):
    """`Curve`: the same people, with the picture ending higher and higher above their feet (CUTS)."""
    lots = {level: lot(scenes, seed, cut=cut) for level, cut in CUTS.items()}
    return curve("truncation", {k: answers(trained, v) for k, v in lots.items()}, lots)


def camera(trained, people, whole):
    """(`Curve` of wrong pitch, `Curve` of wrong focal length, share of a wrong focal length that shows in depth: value, interval).

    people: `Lot`;  whole: answers before the true camera.
    """
    pitch = {f"{p:+g}°" if p else "0°": whole if p == 0 else answers(trained, people, believed(people.camera, p)) for p in PITCHES}
    focal = {percent(k): whole if k == 1 else answers(trained, people, believed(people.camera, 0.0, k)) for k in FOCALS}
    curves = [curve(name, said, dict.fromkeys(said, people)) for name, said in (("pitch", pitch), ("focal", focal))]
    z, scene = {k: curves[1].z[k] + curves[1].depth[k] for k in focal}, curves[1].scene[EXACT]  # as answered
    pairs = [(np.log(z[percent(k)] / z[EXACT]), math.log(k), scene) for k in FOCALS if k != 1]
    return *curves, slope(*(np.concatenate([np.broadcast_to(p[i], scene.shape) for p in pairs]) for i in range(3)))


def percent(k):
    """A factor as a level's name."""
    return f"{100 * (k - 1):+.0f} %" if k != 1 else EXACT


def stature(trained, worlds):
    """(`Curve` by stature with the levels SMALL, the bins and "children"; statures (N,) mm and depth ratios (N,) of all; share of a
    change of stature that shows in depth, negative of the slope: value, interval)."""
    a, b = (lot(s, worlds.seed) for s in worlds.statures())
    said, lots = {}, {}
    who = np.intersect1d(a.scene, b.scene)  # with another stature, a root may leave the picture
    a, b = a.only(np.isin(a.scene, who)), b.only(np.isin(b.scene, who))
    both = [answers(trained, x) for x in (a, b)]
    ratio = [(s[:, ROOT, 2] / x.joints[:, ROOT, 2]).numpy() for s, x in zip(both, (a, b))]
    share = slope(-np.log(ratio[1] / ratio[0]), np.log((b.stature / a.stature).double().numpy()), a.scene)
    tall, all_said = torch.cat([a.stature, b.stature]), torch.cat(both)
    everyone = _joined(a, b)
    bins = {f"{lo / 1000:.2f} to {hi / 1000:.2f} m": (lo, hi) for lo, hi in pairwise(STATURES)}
    for name, (lo, hi) in {SMALL: (0.0, 1400.0), **bins}.items():
        mine = (tall >= lo) & (tall < hi)
        lots[name], said[name] = everyone.only(mine), all_said[mine]
    lots["children"] = lot(worlds.children(), worlds.seed)
    said["children"] = answers(trained, lots["children"])
    out = curve("stature", said, lots, [[k] for k in said])
    return out, (tall.numpy(), np.concatenate(ratio)), share


def _joined(a, b):
    people = estimate.People(*(torch.cat([getattr(x.people, k) for x in (a, b)]) for k in FIELDS), [*a.people.ids, *b.people.ids])
    cameras = Camera(*(torch.cat([getattr(x.camera, k) for x in (a, b)]) for k in ("R", "t", "f", "c")), a.camera.size)
    return Lot(people, cameras, torch.cat([a.joints, b.joints]), np.r_[a.scene, b.scene], torch.cat([a.stature, b.stature]),
               torch.cat([a.hidden, b.hidden]))  # fmt: skip


def rows(curves, shares=None, **columns):
    """Rows of several `Curve`: mrpe_z and mpjpe (mm), depth_excess (%), recall per level; shares: {(experiment, metric): (value,
    interval, people)};  columns: notebook, profile, seed and others of `results.row`."""
    out, about = [], {"method": "shipped weights", "poses": "procedural", "cameras": "universal", "images": "computed", **columns}
    for c in curves:
        for level in c.z:
            base = {"test": level, "clusters": c.scene[level].tolist(), "n": len(c.z[level])} | about
            for metric, unit in (("mrpe_z", "mm"), ("mpjpe", "mm"), ("depth_excess", "%")):
                value, interval = c.mean(level, metric)
                kept = {"per_scene": c.values(level, metric).tolist()}
                out.append(results.row(f"qualitative, {c.name}", metric, value, unit, interval, **kept, **base))
            found = c.found[level]
            out.append(results.row(f"qualitative, {c.name}", "recall", float(found.mean()) if len(found) else math.nan, n=len(found),
                                   test=level, **about))  # fmt: skip
    for (experiment, metric), (value, interval, n) in (shares or {}).items():
        out.append(results.row(f"qualitative, {experiment}", metric, value, "", interval, n=n, test="all", **about))
    return out
