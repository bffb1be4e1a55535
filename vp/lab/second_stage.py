"""Learning the second stage (§4.1 to §4.3): virtual scenes without end, their AGR, and the joint loss of DE, REN and PEN.

A scene is looked at in a frame of `vp.space`: by default level and ahead of its camera (`FRAMES`), so that one network serves every camera.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from vp.camera import Camera
from vp.errors import InputError
from vp.lab import losses, results
from vp.lab.datasets import Dataset, fingerprint, load
from vp.lab.train import History, Plan, processes, train
from vp.nets.ren import Candidates, nearest_root
from vp.nets.virtualpose import Sizes, VirtualPose
from vp.space import Frame
from vp.world.agr import Noise, synthesise
from vp.world.bank import PoseBank
from vp.world.body import sample_people
from vp.world.placement import Placement
from vp.world.scenes import SceneConfig
from vp.world.twins import Twin

PLACES = Placement(area=None, view=(2000.0, 6500.0))  # before the camera; ours
PEOPLE, POSES = 2000, 20_000  # identities and poses of a virtual world
FRAMES = ("ahead", "camera", "world")
NOISE, SIZES, PLAN, WEIGHTS = Noise(), Sizes(), Plan(), losses.Weights()  # the published ones


def lot(*what):
    """A seed of 32 bits (a CPU generator takes no more) for anything that can be printed."""
    return int.from_bytes(hashlib.blake2b(" ".join(map(str, what)).encode(), digest_size=4).digest(), "big")


# ---- scenes ----------------------------------------------------------------------------------------------------------------------------


def world(poses=("procedural",), cameras="universal", split="train", people=(1, 5), places=PLACES):
    """`Dataset` of virtual scenes: poses of one or several sources before cameras of `vp.world.cameras.sampler`.

    poses: "procedural", "bvh:DIR", "panoptic:DIR", "muco:DIR", in equal shares;  split: "train" or "test" (other people, other poses; of
    a folder the split that `load` gives, of motion capture the same poses);  people: (least, most) per scene.  Stature is continuous.
    InputError for unknown sources.
    """
    g = torch.Generator().manual_seed({"train": 11, "test": 12}[split])
    who = sample_people(PEOPLE, g)
    banks = [_bank(source, who, split, g) for source in poses]
    twin = Twin("virtual", split, "", tuple(poses), SceneConfig(cameras, people, places), ("augmented",))
    sources = {"poses": "+".join(s.partition(":")[0] for s in poses), "cameras": str(cameras).partition(":")[0], "images": "computed"}
    return Dataset(twin, PoseBank.joined(banks) if len(banks) > 1 else banks[0], who, [], sources)


def _bank(source, who, split, generator):
    name, _, folder = source.partition(":")
    if name == "procedural" and not folder:
        return PoseBank.procedural(POSES, "all", who[torch.randint(len(who), (POSES,), generator=generator)], generator)
    if name in ("bvh", "panoptic", "muco") and folder:
        return load(name, None if name == "bvh" else split, root=folder).bank
    raise InputError(f"unknown poses {source!r}", "--poses", "procedural, bvh:DIR, panoptic:DIR or muco:DIR")


def frames(camera, kind="ahead", start=0.0):
    """The `Frame` of each camera of a batch: one of FRAMES; start: see `Frame.ahead`."""
    if kind == "ahead":
        return Frame.ahead(camera, start)
    if kind == "camera":
        return Frame.of_camera(camera)
    if kind == "world":
        return Frame.world(len(camera.R), camera.R)
    raise InputError(f"no frame {kind!r}", "frames", ", ".join(FRAMES))


@dataclass(frozen=True)
class CameraError:
    """How wrong the camera handed to the networks may be: s.d. of pitch, degree, and of height, mm (not in the paper)."""

    pitch_deg: float = 0.0
    height_mm: float = 0.0

    def __call__(self, camera, generator):
        """Cameras as a user would state them: turned about their own x axis, moved up or down; normal deviates."""
        turn, rise = torch.randn(2, len(camera.R), generator=generator, dtype=torch.float64).to(camera.R)
        return misjudged(camera, torch.deg2rad(turn * self.pitch_deg), rise * self.height_mm)


EXACT = CameraError()


def misjudged(camera, pitch, height):
    """The camera (batch of B) with `pitch` (B,) radian added to what it is and `height` (B,) mm to where it is."""
    c, s, one, zero = pitch.cos(), pitch.sin(), torch.ones_like(pitch), torch.zeros_like(pitch)
    down = torch.stack([one, zero, zero, zero, c, -s, zero, s, c], -1).view(-1, 3, 3)  # looks lower by `pitch`
    R = down @ camera.R
    centre = camera.centre + torch.stack([zero, zero, height], -1)
    return Camera(R, -(R @ centre[..., None])[..., 0], camera.f, camera.c, camera.size, camera.dist)


@dataclass
class Batch:
    """What the networks see and learn: AGR and Targets (positions in the frame), the camera of the frame, the frame, the scenes."""

    agr: object
    targets: object
    camera: Camera
    frame: Frame
    scenes: object


def in_frame(scenes, frame, stated=None):
    """Scenes with positions in the frame and its camera; stated: the cameras as the networks believe them to be, if not the true ones.

    A wrong camera moves the truth along: what is right is the pose *in the camera frame*, so joints are where the stated camera would
    have to see them.
    """
    joints = scenes.joints
    if stated is not None:
        joints = stated.to_world(scenes.camera.to_camera(joints.flatten(1, 2))).view(joints.shape).to(joints)
    return replace(scenes, joints=frame.from_world(joints), camera=frame.camera(stated or scenes.camera).to(torch.float32))


@dataclass(frozen=True)
class Batches:
    """The endless stream of training samples: called with (start, n), see `vp.lab.train`."""

    data: Dataset
    sizes: Sizes
    noise: Noise | None = NOISE
    frame: str = "ahead"
    seed: int = 0
    device: str = "cpu"
    camera_error: CameraError = EXACT
    windows: float = 0.0  # share of scenes seen in a space moved by up to `windows_mm` along the view (frame "ahead" only)
    windows_mm: float = 6000.0

    def __call__(self, start, n):
        """`Batch` of samples start .. start + n - 1."""
        s = self.sizes
        g = torch.Generator().manual_seed(lot(self.seed, "camera", start))
        scenes = self.data.scenes(n, self.seed, self.device, start=start)
        stated = self.camera_error(scenes.camera, g) if self.camera_error != EXACT else None
        camera = stated or scenes.camera
        moved = torch.rand(2, n, generator=g).to(self.device)
        frame = frames(camera, self.frame, moved[1] * self.windows_mm * (moved[0] < self.windows))
        inside = in_frame(scenes, frame, stated)
        dice = torch.Generator(self.device).manual_seed(lot(self.seed, "noise", start))
        agr, targets = synthesise(inside, s.map, self.noise, dice, s.joints, s.grid, s.stride)
        return Batch(agr, targets, inside.camera, frame, inside)


# ---- what is learned -------------------------------------------------------------------------------------------------------------------


class DepthAlone(nn.Module):
    """Objective of the DE by itself (Eq. 4)."""

    def __init__(self, de, weight=0.1):
        super().__init__()
        self.de, self.weight = de, weight

    def forward(self, batch):
        """Loss of a `Batch`: {"depth"}."""
        t = batch.targets
        depth = losses.depth_loss(self.de(batch.agr.heatmaps), t.factor, t.index, t.depth, t.mask)
        return {"depth": self.weight * depth}


class Jointly(nn.Module):
    """Objective of DE, REN and PEN together (§4.3): 0.1 depth + 1000 volume + 1 pose.

    pen_on: "candidates": REN's own, as published (none while REN is blind);  "truth": true roots moved by `jitter` mm (s.d. per axis);
    "both": for each person REN's nearest candidate within 500 mm, else the moved truth.  The last two are not in the paper.
    cubes: people per batch whom PEN learns from, at most (None: all), drawn by lot; not in the paper.
    """

    may_skip = True  # PEN, where nobody is found

    def __init__(self, model, weights=WEIGHTS, pen_on="both", jitter=80.0, cubes=None, seed=0):
        super().__init__()
        self.model, self.weights, self.pen_on, self.jitter, self.cubes = model, weights, pen_on, jitter, cubes
        self.dice = torch.Generator().manual_seed(seed)

    def forward(self, batch):
        """Losses of a `Batch`: {"depth", "volume", "pose"}, weighted."""
        t = batch.targets
        if self.pen_on != "candidates" or self.cubes is not None:
            self.dice.manual_seed(int(t.index.sum()) + 1)  # of the batch, so that nothing has to be kept between steps

        def choose(found):
            return self.few(found if self.pen_on == "candidates" else self.near_truth(found, t))

        estimate = self.model(batch.agr.heatmaps, batch.agr.box_map, batch.camera, t.factor, choose)
        return losses.second_stage(estimate, t, t.factor, self.weights)

    def near_truth(self, found, targets):
        """Candidates (B, P): one per person in the picture and the space."""
        roots = targets.roots.nan_to_num(0)
        moved = roots + self.jitter * torch.randn(roots.shape, generator=self.dice).to(roots)
        mask = targets.mask & self.model.sizes.grid.holds(roots)
        if self.pen_on == "both":
            person, near = nearest_root(found.position, targets.roots, targets.mask)
            for slot in range(person.shape[1] - 1, -1, -1):  # the best candidate last, so that it stays
                hit = torch.nn.functional.one_hot(person[:, slot], mask.shape[1]).bool() & (near & found.valid)[:, slot, None]
                moved = torch.where(hit[..., None], found.position[:, slot, None], moved)
        return Candidates(moved, mask.to(roots), mask)

    def few(self, found):
        """At most `cubes` of the Candidates."""
        if self.cubes is None or int(found.valid.sum()) <= self.cubes:
            return found
        lots = torch.rand(found.valid.shape, generator=self.dice).to(found.position).masked_fill(~found.valid, -1).flatten()
        return replace(found, valid=found.valid & (lots >= lots.topk(self.cubes).values[-1]).view(found.valid.shape))


@dataclass(frozen=True)
class Course:
    """A whole training: the DE alone first (None: not), then all together; sizes, options of `Jointly` and `Batches`, who stands where."""

    sizes: Sizes = SIZES
    alone: Plan | None = None
    together: Plan = PLAN
    pen_on: str = "candidates"
    jitter: float = 80.0
    cubes: int | None = None
    weights: losses.Weights = WEIGHTS
    noise: Noise = NOISE
    frame: str = "ahead"
    windows: float = 0.0
    windows_mm: float = 6000.0
    camera_error: CameraError = EXACT
    people: tuple = (1, 5)
    places: Placement = PLACES

    def batches(self, poses=("procedural",), cameras="universal"):
        """`Batches` of the training world of these poses and cameras."""
        data = world(poses, cameras, "train", self.people, self.places)
        return Batches(data, self.sizes, self.noise, self.frame, 0, "cpu", self.camera_error, self.windows, self.windows_mm)


def learn(course, batches, path=None, resume=False, device="cpu", net=None, label="second stage", first=None):
    """Train a fresh `VirtualPose` on `batches` (its sizes are the course's); returns it, with the `History` of each part.

    path: where states of training are kept, a prefix;  net: another 3D network for REN;  first: (DE, `History`) of the DE's part, done.
    """
    seed = course.together.seed
    model = VirtualPose(course.sizes, net, torch.Generator().manual_seed(seed)).to(device)
    parts = [("DE", DepthAlone(model.ren.de, course.weights.depth), course.alone)] if course.alone and not first else []
    together = Jointly(model, course.weights, course.pen_on, course.jitter, course.cubes, seed)
    histories, about = {}, said(course, batches)
    if first:
        model.ren.de.load_state_dict(first[0].state_dict())
        histories["DE"] = first[1]
    if path and not resume and processes()[0] == 0:  # what another training to the same file left
        for old in Path(path).parent.glob(f"{Path(path).name}.*"):
            if old.suffix in (".state", ".done"):
                old.unlink()
    for name, objective, plan in (*parts, ("all", together, course.together)):
        state, done = (Path(f"{path}.{name}.{end}") if path else None for end in ("state", "done"))
        if resume and done and done.exists() and name == "DE" and Path(f"{path}.all.state").exists():
            histories[name] = History(**json.loads(done.read_text()))  # the later state holds the trained DE
            continue
        data = replace(batches, device=str(device), seed=2 * plan.seed + (name == "all"))
        histories[name] = train(objective, data, plan, state, resume, device, f"{label} ({name})" if label else None, about=about)
        if done and processes()[0] == 0:
            results.write_atomic(done, json.dumps(asdict(histories[name])))
    if path and processes()[0] == 0:
        for name in histories:
            Path(f"{path}.{name}.done").unlink(missing_ok=True)
    return model, histories


def said(course, batches):
    """Hash of all that decides what is learned: the course, and the scenes that are drawn from."""
    data = batches.data
    plain = {k: getattr(batches, k) for k in ("noise", "frame", "camera_error", "windows", "windows_mm")}
    scenes = {"twin": asdict(data.twin), "bank": fingerprint(data.bank), "people": float(data.people.offsets.double().sum()),
              "cameras": [c.to_dict() for c in data.cameras]}  # fmt: skip
    text = json.dumps([asdict(course), plain, scenes], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
