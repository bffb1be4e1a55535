"""`vp tailor`: a second stage for one fixed camera (§5.3, "test camera known"), fine-tuned from one that serves every camera.

The scenes are virtual people on the floor that this camera overlooks, the space and the code that answers are those of the shipped model;
DE, REN and PEN go on learning together, for a short while and at a smaller rate.  The gain over the model that it began with is measured
on held-out scenes of that camera, person by person.  Steps, rates and ranges are ours, not the paper's.
"""

import copy
import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from vp.errors import InputError
from vp.lab import models, results, study
from vp.lab.evaluate import LEVELS, Calibration, measure
from vp.lab.guess_camera import plausible
from vp.lab.profiles import COMPACT, PLAN, resolve
from vp.lab.second_stage import NOISE, CameraError, Course, Jointly, said, world
from vp.lab.train import default_device, processes, train
from vp.world.cameras import read_camera
from vp.world.placement import Placement

STEPS = {"smoke": 3, "quick": 350, "paper-short": 2000, "paper": 20_000}  # quick: less than 4 minutes on one thread
RATE = 1e-3  # half of that by which the shipped model was learned
ROOT_HEIGHT = 900.0  # mm, of standing people's roots above the floor
FARTHEST = COMPACT.places.view[1]  # mm: beyond, the shipped model has seen nobody
LEAST_FLOOR = 500.0  # mm between the nearest and the farthest place
STRETCH = 0.1  # share of scenes in a space moved along the view, where one space holds everybody: further windows must not become strange
SLACK = {"pitch_deg": 0.5, "height_mm": 20.0, "focal": 0.01}  # how far off a camera may be and count as this one (focal: a share)
BLOCK, STREAM = 32, 99  # held-out scenes measured at a time; seed of their stream


# ---- the camera and its floor ----------------------------------------------------------------------------------------------------------


def reach(camera, nearest=1000.0, farthest=FARTHEST):
    """(near, far) mm: horizontal distances at which a root, ROOT_HEIGHT above the floor, is between the picture's lower and upper edge.

    camera: a single `Camera` (roll is left out).  InputError if it stands below the floor or sees (almost) nobody who stands on it.
    """
    height, pitch = float(camera.centre[2]), float(camera.pitch)
    (_, f), (_, c) = camera.f.tolist(), camera.c.tolist()
    if height <= 0:
        raise InputError(f"the camera is {-height:.0f} mm below the floor", "camera", "its world has Z up, mm, the floor at Z = 0")
    lower, upper = camera.size[1] - 0.5 - c, c + 0.5  # px from the principal point
    steep, flat = pitch + math.atan(lower / f), pitch - math.atan(upper / f)  # fall of the rays of these edges
    drop = height - ROOT_HEIGHT
    if drop < 0:  # roots are above the camera: the rays that meet them rise
        drop, steep, flat = -drop, -flat, -steep
    near = math.inf if steep <= 0 else drop / math.tan(steep) if steep < math.pi / 2 else 0.0
    far = math.inf if flat <= 0 else drop / math.tan(flat) if flat < math.pi / 2 else 0.0
    near, far = max(near, nearest), min(far, farthest)
    if far - near < LEAST_FLOOR:
        raise InputError(f"pitch {math.degrees(pitch):.1f}° at {height:.0f} mm sees (almost) no floor where people could stand", "camera",
                         "its world has Z up, mm, the floor at Z = 0; its rotation maps that world to right, down, forward")  # fmt: skip
    return near, far


def course(start, camera, profile="auto", seed=0, view=None, pitch_error=0.0):
    """The `Course` of tailoring: sizes of the start (`models.Trained`), noise and people of the shipped model, places before this camera.

    view: (near, far) mm, where people can be, horizontal distance from the camera; default `reach`.  InputError for what cannot be.
    """
    (name, times), sizes = results.name_and_budget(resolve(profile).name), start.model.sizes
    if start.facts.get("frame", "ahead") != "ahead":
        raise InputError(f"its space is in the frame {start.facts['frame']!r}", start.path, "a space ahead of the camera is needed")
    if not (math.isfinite(pitch_error) and 0 <= pitch_error <= 20):
        raise InputError(f"{pitch_error:g} degree", "--pitch-error", "0 to 20, the standard deviation")
    axis = sizes.grid.axes()[0]
    near, far = reach(camera, float(axis[0]))
    if view is not None:
        near, far = view
        if not (near >= 0 and near + LEAST_FLOOR <= far <= 100_000):
            raise InputError(f"{near:g} to {far:g} mm", "--view", f"near and far, mm, at least {LEAST_FLOOR:g} mm apart")
    plan = replace(PLAN, steps=max(1, int(STEPS[name] * times)), batch=4 if name == "smoke" else PLAN.batch, lr=RATE, seed=seed)
    return replace(
        COMPACT, sizes=sizes, alone=None, together=plan, camera_error=CameraError(pitch_error),
        windows=COMPACT.windows if far > float(axis[-1]) else STRETCH, places=Placement(area=None, view=(near, far), someone=True),
    )  # fmt: skip


def batches_of(course, camera, poses=("procedural",)):
    """`Batches` of the training world before this one camera."""
    made = course.batches(tuple(poses), camera.to_dict())
    return replace(made, data=_named(made.data))


def held_out(course, camera, poses=("procedural",), n=256, seed=0, device="cpu"):
    """n test scenes before this camera, a list of `Scenes`: other people, and other poses where the source has a split."""
    data = _named(world(tuple(poses), camera.to_dict(), "test", course.people, course.places))
    return [data.scenes(min(BLOCK, n - i), STREAM + seed, device, start=i) for i in range(0, n, BLOCK)]


def _named(data):
    return replace(data, sources={**data.sources, "cameras": "user"})


# ---- learning --------------------------------------------------------------------------------------------------------------------------


def learn(start, course: Course, batches, path=None, resume=False, device="cpu", label="tailored"):
    """All networks of `start` (`models.Trained`, left as it is) trained on; returns the new model and the `History`.

    path: of the training state.  InputError if a state to go on from is of another camera, start or plan.
    """
    model, plan = copy.deepcopy(start.model).to(device), course.together
    objective = Jointly(model, course.weights, course.pen_on, course.jitter, course.cubes, plan.seed)
    if path and not resume and processes()[0] == 0:
        Path(path).unlink(missing_ok=True)  # what another training to the same file left
    about = f"{said(course, batches)} {_hash(start.model)}"
    stream = replace(batches, device=str(device), seed=2 * plan.seed + 1)
    return model, train(objective, stream, plan, path, resume, device, label, about=about)


def _hash(model):
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def facts_of(start, course, batches, history, camera):
    """What the file says of a tailored model; its range is this camera, give or take SLACK, so that another one is warned of."""
    known = models.trained_range(batches)
    off = {**SLACK, "pitch_deg": max(SLACK["pitch_deg"], 2 * course.camera_error.pitch_deg), "focal": SLACK["focal"] * known["focal"][0]}
    known |= {k: [round(known[k][0] - v, 1), round(known[k][1] + v, 1)] for k, v in off.items()}
    return {
        "training": {"all": {"steps": history.steps, "samples": history.samples, "seconds": round(history.seconds, 1),
                             "device": history.device}},
        "losses": {"all": {k: [float(f"{v:.4g}") for v in series] for k, series in history.losses.items()}}, "at": {"all": history.at},
        "course": json.loads(json.dumps(asdict(course))), "plan": asdict(course.together), "poses": batches.data.sources["poses"],
        "cameras": "user", "frame": batches.frame, "range": known,
        "calibration": asdict(Calibration.of(batches.data.scenes(1024, batches.seed), course.sizes)),
        "tailored": {"camera": camera.to_dict(), "start": start.path.name, "start_training": start.facts.get("training")},
    }  # fmt: skip


# ---- what it is worth ------------------------------------------------------------------------------------------------------------------


@dataclass
class Gain:
    """Both models on the same held-out scenes: people {"universal", "tailored": {method: `metrics.People`}}, reference levels among them;
    trained: {name: `models.Trained`};  depth (N,) mm, true;  scenes: how many;  sources: of the scenes."""

    people: dict
    trained: dict
    depth: np.ndarray
    scenes: int
    sources: dict

    @property
    def among(self):
        """(N,) bool: people found by every method of both."""
        return study.common(*self.people.values())

    def errors(self, name, method="REN+PEN"):
        """(n,) mm: by how much the depth of each of them is wrong."""
        return np.abs(self.people[name][method].root[self.among, 2])

    def difference(self, method="REN+PEN", depth=(0.0, math.inf)):
        """{"value", "interval", "n"}: mean error of the tailored model less that of the universal one, mm, person by person; 95 % interval,
        scenes drawn anew.  depth: (least, most) mm of the people counted."""
        here = (self.depth[self.among] >= depth[0]) & (self.depth[self.among] < depth[1])
        change = (self.errors("tailored", method) - self.errors("universal", method))[here]
        scenes = self.people["tailored"][method].view[self.among][here]
        return {"value": study.mean(change), "interval": study.interval(change, scenes), "n": len(change)}

    @property
    def parts(self):
        """{"in the first space", "beyond it": `difference`}: a gain among far people says nothing of near ones."""
        end = float(self.trained["tailored"].model.sizes.grid.axes()[0][-1])
        return {"in the first space": self.difference(depth=(0.0, end)), "beyond it": self.difference(depth=(end, math.inf))}

    def lines(self):
        """[(name, MRPE_z mm, interval, recall)]: reference levels, then the universal and the tailored model's DE, REN and poses."""
        out, among = [], self.among
        for name, people in self.people.items():
            for method, p in people.items():
                if (method in LEVELS and name == "universal") or method == "REN (voxels)":
                    continue  # levels are the same in both
                z = np.abs(p.root[among, 2])
                said = method if method in LEVELS else f"{name}, {method}"
                out.append((said, study.mean(z), study.interval(z, p.view[among]), float(p.found.mean())))
        return sorted(out, key=lambda line: line[0] not in LEVELS)


def compare(universal, tailored, scenes, camera_error=None, noise=NOISE):
    """`Gain` of a `models.Trained` over another on held-out scenes (a list), with the published noise on their AGR.

    camera_error: `CameraError` of the cameras that both are told, None: the true ones.  The levels know the tailored model's scenes.
    """
    known, people = Calibration(**tailored.facts["calibration"]), {}
    stated = None if not camera_error or camera_error == CameraError() else (lambda s, g: camera_error(s.camera, g))
    for name, trained in (("universal", universal), ("tailored", tailored)):
        people[name], _ = measure(trained.model, scenes, known, noise, 0, "ahead", stated=stated, published=False)
    depth = study.facts(scenes, people["tailored"]).depth
    return Gain(people, {"universal": universal, "tailored": tailored}, depth, sum(map(len, scenes)), study.sources(scenes))


def rows(gain, experiment="tailored", **columns):
    """Rows of a `Gain`: errors of both models (`train`: "universal" or "tailored") on the people found by all, each person's kept for
    claims on paired differences; reference levels once, without `train`.  columns: see `study.rows`."""
    out, about = [], {"sources": gain.sources, "test": "fixed camera", **columns}
    for name, people in gain.people.items():
        own = {k: p for k, p in people.items() if k not in LEVELS}
        out += study.rows(own, experiment, gain.trained[name], gain.among, train=name, **about)
    levels = {k: p for k, p in gain.people["tailored"].items() if k in LEVELS}
    return out + study.rows(levels, experiment, None, gain.among, ("mrpe_z",), **about)


# ---- all of it -------------------------------------------------------------------------------------------------------------------------


def make(camera, path, poses=("procedural",), profile="auto", start=None, seed=0, view=None, pitch_error=0.0, resume=False, device="cpu",
         label="tailored"):  # fmt: skip
    """A model for one camera, from `start` (`models.Trained`, default the shipped one), written to `path`: `models.Trained` and `Gain`.

    The state of an unfinished training lies beside it.
    """
    path, start = Path(path), start or models.load(None, device)
    if path.resolve() == Path(start.path).resolve():
        raise InputError("would overwrite the weights that it starts from", path, "another --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    way = course(start, camera, profile, seed, view, pitch_error)
    batches = batches_of(way, camera, poses)
    model, history = learn(start, way, batches, path.with_suffix(".tailor.state"), resume, device, label)
    facts = {"profile": resolve(profile).name, "seed": seed, **facts_of(start, way, batches, history, camera)}
    made = models.Trained(model.eval(), facts, path)
    first = processes()[0] == 0
    if first:
        models.save(path, model, facts)  # before it is measured: a run killed now has lost no training
    scenes = held_out(way, camera, poses, resolve(profile).held_out, seed, device)
    gain = compare(start, made, scenes, way.camera_error)
    facts["tailored"] |= {
        "held_out": {name: {"mrpe_z": _plain(mean), "interval": _plain(interval), "recall": _plain(recall)}
                     for name, mean, interval, recall in gain.lines()},
        "difference": {k: _plain(v) for k, v in gain.difference().items()},
        "parts": {part: {k: _plain(v) for k, v in d.items()} for part, d in gain.parts.items()},
    }  # fmt: skip
    if first:
        models.save(path, model, facts)
    return made, gain


def _plain(x):
    """For JSON: rounded, nothing where nothing is known."""
    if isinstance(x, tuple):
        return [_plain(v) for v in x]
    return None if x is None or x != x else x if isinstance(x, int) else round(float(x), 3)


def main(camera, out, poses=("procedural",), profile="auto", weights=None, seed=0, view=None, pitch_error=0.0, resume=False):
    """`vp tailor`; exit code."""
    one, device = plausible(read_camera(camera), camera), default_device()
    start = models.load(weights, device)
    made, gain = make(one, out, poses, profile, start, seed, view and tuple(view), pitch_error, resume, device)
    if processes()[0] == 0:
        print(text(made, gain, camera))
    return 0


def text(made, gain, camera="CAMERA.json"):
    """What `vp tailor` says at the end."""
    f, d = made.facts, gain.difference()
    one, trained, (near, far) = f["tailored"]["camera"], f["training"]["all"], f["course"]["places"]["view"]
    lines = [
        f"{camera}: focal length {one['f'][0]:.0f} px, people {near / 1000:.1f} to {far / 1000:.1f} m ahead, poses {f['poses']}",
        f"MRPE_z, mm, on the {d['n']} people of {gain.scenes} held-out scenes before this camera whom all found; published noise",
    ]
    for name, mean, interval, recall in gain.lines():
        between = "[{:.0f}, {:.0f}]".format(*interval) if interval else ""
        lines.append(f"  {name:26}{mean:7.0f} {between:14}" + ("" if name in LEVELS else f"recall {recall:.3f}"))
    for part, change in {"the same people": d, **gain.parts}.items():
        between = " [{:.0f}, {:.0f}]".format(*change["interval"]) if change["interval"] else ""
        if change["n"]:
            lines.append(f"tailored less universal, {part} ({change['n']}): {change['value']:+.0f} mm{between}")
    if not d["interval"] or not d["interval"][1] < 0:
        lines.append("note: no gain is shown; a longer --profile, or keep the universal model")
    lines.append(f"{made.path}: {trained['steps']} steps in {trained['seconds']:.0f} s on {trained['device']}; next: "
                 f"vp evaluate --dataset virtual --camera {camera} --weights {made.path}")  # fmt: skip
    return "\n".join(lines)
