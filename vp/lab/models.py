"""Trained second stages: made by a profile, kept in files, shared between notebooks.

A file holds weights and facts: sizes of the networks, how they were trained, on what range of cameras and depths.
"""

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from vp.errors import InputError
from vp.lab import results
from vp.lab.evaluate import Calibration
from vp.lab.profiles import COMPACT, resolve
from vp.lab.second_stage import Course, learn, said
from vp.lab.train import History, default_device, processes
from vp.nets import checkpoints
from vp.nets.virtualpose import Sizes, VirtualPose

SHIPPED = Path(__file__).parents[1] / "weights" / "second_stage.safetensors"
CODE = Path(__file__).parents[1]  # vp
PICTURES = {"render.py", "mannequin.py", "raster.py", "texture.py", "backgrounds.py", "scenery.py", "coverage.py"}  # no part in AGR
TRAINED_BY = (  # the code that decides what the training of a second stage gives
    *(f"nets/{name}.py" for name in ("__init__", "virtualpose", "ren", "pen", "unproject", "resnet", "v2v", "birdseye")),
    *(f"world/{file.name}" for file in sorted((CODE / "world").glob("*.py")) if file.name not in PICTURES),
    *(f"lab/{name}.py" for name in ("second_stage", "train", "losses", "datasets", "evaluate", "models")),
    "camera.py", "space.py", "skeleton.py",
)  # fmt: skip


@dataclass
class Trained:
    """A second stage and what is known about it: model (`VirtualPose`, eval mode), facts (a dict), path of its file."""

    model: VirtualPose
    facts: dict
    path: Path


def save(path, model, facts):
    """Write a model: weights, with its sizes among the facts."""
    checkpoints.save(path, model, {**facts, "sizes": model.sizes.to_dict()})


def load(path=None, device="cpu"):
    """`Trained` of a file, by default the shipped one.  InputError: missing, damaged, not a second stage."""
    path = Path(path or SHIPPED)
    tensors, facts = checkpoints.load(path)
    sizes = Sizes.from_dict(facts.get("sizes", {}), path)
    try:
        model = VirtualPose(sizes)
    except (RuntimeError, ValueError, TypeError, IndexError) as e:
        raise InputError(f"its sizes make no network ({str(e)[:100]})", path) from None
    checkpoints.fill(model, tensors, path)
    return Trained(model.to(device).eval(), facts, path)


def make(course, batches, path, resume=False, device="cpu", facts=None, label="second stage", first=None):
    """Train by a course and write the file; returns `Trained`.  States of an unfinished training lie beside it.

    first: `Trained` whose DE the course's own training of the DE alone would give (see `shared`).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    trained_de = first and (first.model.ren.de, _history(first.facts, "DE"))
    model, histories = learn(course, batches, path.with_suffix(""), resume, device, label=label, first=trained_de)
    trained = {
        part: {"steps": h.steps, "samples": h.samples, "seconds": round(h.seconds, 1), "device": h.device} for part, h in histories.items()
    }
    losses = {part: {k: [float(f"{v:.4g}") for v in series] for k, series in h.losses.items()} for part, h in histories.items()}
    known = {"training": trained, "losses": losses, "at": {part: h.at for part, h in histories.items()},
             "course": json.loads(json.dumps(asdict(course))), "poses": batches.data.sources["poses"],
             "cameras": batches.data.sources["cameras"], "frame": batches.frame,
             "range": trained_range(batches), "calibration": asdict(Calibration.of(batches.data.scenes(1024, batches.seed), model.sizes)),
             **(facts or {})}  # fmt: skip
    if processes()[0] == 0:
        save(path, model, known)
    return Trained(model.cpu().eval() if str(device) == "cpu" else model.eval(), known, path)


def _history(facts, part):
    """The `History` of a part of a training, from its facts."""
    t = facts["training"][part]
    return History(facts["losses"][part], facts["at"][part], t["steps"], t["samples"], t["seconds"], t["device"])


def trained_range(batches, n=512):
    """{"pitch_deg", "height_mm", "focal" (px of an image 1000 px wide), "depth_mm"}: 1st and 99th percentile of the training scenes."""
    scenes = replace(batches, noise=None, device="cpu")(0, n).scenes
    world = batches.data.scenes(n, batches.seed)
    depth = scenes.camera.to_camera(scenes.joints[:, :, 2])[..., 2][scenes.mask]
    camera = world.camera
    values = {"pitch_deg": camera.pitch_deg, "height_mm": camera.centre[:, 2], "focal": camera.depth_norm / camera.size[0] * 1000,
              "depth_mm": depth[depth > 0]}  # fmt: skip
    return {k: [round(float(v.double().quantile(q)), 1) for q in (0.01, 0.99)] for k, v in values.items()}


def outside_range(facts, camera, depth=None):
    """Warnings, one line each: cameras (a batch) and root depths (N,) mm outside what a model was trained on."""
    known, found = facts.get("range") or {}, {}
    found["pitch_deg"], found["height_mm"] = camera.pitch_deg, camera.centre[..., 2]
    found["focal"] = camera.depth_norm / camera.size[0] * 1000
    if depth is not None and len(depth):
        found["depth_mm"] = depth
    said = {"pitch_deg": "pitch, degree", "height_mm": "camera height, mm", "focal": "focal length, px of an image 1000 px wide",
            "depth_mm": "depth, mm"}  # fmt: skip
    out = []
    for key, value in found.items():
        if key not in known:
            continue
        try:
            low, high = map(float, known[key])
        except (TypeError, ValueError):
            continue  # not ours
        slack = 0.05 * (high - low)
        least, most = float(value.min()), float(value.max())
        if least < low - slack or most > high + slack:
            between = f"{least:.0f}" if round(least) == round(most) else f"{least:.0f} to {most:.0f}"
            out.append(f"{said[key]}: {between}, trained on {low:.0f} to {high:.0f}")
    return out


def train_main(profile="auto", poses=("procedural",), cameras="universal", out=None, resume=False, seed=0):
    """`vp train`: the profile's course (or "compact", the shipped model's) on virtual scenes of these poses and cameras; exit code."""
    if profile == "compact":
        name, course = profile, COMPACT
    else:
        profile = resolve(profile)
        name, course = profile.name, profile.course(seed)
    batches = course.batches(tuple(poses), cameras)
    rank, _ = processes()
    trained = make(course, batches, out, resume, default_device(), {"profile": name, "seed": seed})
    if rank == 0:
        seconds = sum(part["seconds"] for part in trained.facts["training"].values())
        print(f"{out}: trained in {seconds:.0f} s on {trained.facts['training']['all']['device']}; next: vp evaluate --weights {out}")
    return 0


# ---- shared between notebooks ----------------------------------------------------------------------------------------------------------


def shared(course):
    """The course of the DE's part of a course, alone: the same for all courses that differ in nothing that this part sees.

    It sees no frame: depth along the optical axis is the same in all of them, but for rounding.
    """
    seen = ("joints", "map", "stride", "people", "de_width", "de_deconv", "de_bias", "de_init_std")
    sizes = Sizes(**{k: getattr(course.sizes, k) for k in seen}, space_bins=(8, 8, 8), pen_bins=8, ren_widths=(4,) * 4, pen_widths=(4,) * 4)
    common = Course()
    return replace(course, sizes=sizes, together=replace(course.together, steps=0), frame=common.frame,
                   pen_on=common.pen_on, jitter=common.jitter, cubes=common.cubes)  # fmt: skip


def cached(course, batches, folder=None, label="second stage", device="cpu", facts=None, sharing=False):
    """`Trained` from the cache if it was made before with this course, these scenes and this code; else trained now and kept.

    Two processes that want the same one train it once: the second waits.  An interrupted training goes on.  sharing: the DE's own part
    comes from the cache, too: courses that differ after it train it once, and get the same bits as each by itself (in another frame: the
    same but for rounding).
    """
    asked = [said(course, batches), code_hash(), torch.device(device).type, facts]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = Path(folder or results.ROOT / "runs" / "cache" / "nets")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.safetensors"
    with results.locked(path):
        if path.exists():
            with contextlib.suppress(InputError):
                return load(path, device)
        first = None
        if sharing and course.alone:
            c = shared(course)
            first = cached(c, replace(batches, sizes=c.sizes, frame=c.frame), folder, label, device)
        return make(course, batches, path, True, device, facts, label, first)


def code_hash(parts=TRAINED_BY):
    """Hash (16 hex digits) of code that decides what a training gives, and of torch's version.

    parts: files ("nets/ren.py") and folders ("world": every *.py in it) of `vp`.  ValueError for one that is not there: a module that
    was renamed must not fall out of the hash unnoticed.
    """
    digest = hashlib.sha256(torch.__version__.encode())
    for part in parts:
        path = CODE / part
        files = sorted(path.glob("*.py")) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            raise ValueError(f"no code vp/{part}")
        for file in files:
            code = file.read_bytes()
            digest.update(f"{file.relative_to(CODE).as_posix()} {len(code)}\n".encode() + code)
    return digest.hexdigest()[:16]
