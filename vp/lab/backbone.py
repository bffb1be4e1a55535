"""Training of the 2D network (Eq. 1 to 3) on a mixture of labelled pictures, its files, and the cache of trained ones."""

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from vp.errors import InputError
from vp.lab import losses, models, results
from vp.lab.datasets import load as load_data
from vp.lab.labelled import Stream, of_samples, of_scenes
from vp.lab.second_stage import lot
from vp.lab.train import default_device, processes, train
from vp.nets import checkpoints
from vp.nets.backbone import Backbone, Shape

SOURCES = (("panoptic", "train"), ("muco", "train"), ("coco", "train"))  # what the mixture is made of, in equal shares
SHIPPED = models.SHIPPED.with_name("backbone.safetensors")
TRAINED_BY = ("nets/__init__.py", "nets/backbone.py", "nets/resnet.py", "world", "camera.py", "skeleton.py", "lab/backbone.py",
              "lab/labelled.py", "lab/augment.py", "lab/train.py", "lab/losses.py", "lab/datasets.py", "lab/second_stage.py")  # fmt: skip


class Seen2D(nn.Module):
    """Objective of the 2D network (Eq. 1): weighted heatmap and box losses of a `TwoD`."""

    def __init__(self, backbone, two_d):
        super().__init__()
        self.backbone, self.two_d = backbone, two_d

    def forward(self, batch):
        """Losses of a `Batch`: {"heatmap", "box"}, weighted."""
        out, agr, t = self.backbone(batch.image), batch.agr, self.two_d
        found, box = out["heatmap"], out["box"]
        count = batch.weight * (1 + t.focus * agr.heatmaps).sqrt()
        heat = losses.heatmap_loss(count * found, count * agr.heatmaps.to(found))
        if t.stamp:
            here = (agr.box_map.sum(1, keepdim=True) > 0).to(box)
            box = (here * (box - agr.box_map.to(box))).abs().sum() / (4 * here.sum() + 1e-4)
        else:
            box = losses.map_loss(box, agr.index, agr.distances.nan_to_num(0), agr.root_valid)
        return {"heatmap": t.heat * heat, "box": t.box * box}


@dataclass
class Trained2D:
    """A 2D network and what is known about it: backbone (eval mode), facts (a dict), path of its file."""

    backbone: Backbone
    facts: dict
    path: Path


def save(path, backbone, facts, half=False):
    """Write a 2D network: weights under "backbone.", its shape among the facts;  half: those of convolutions in 16 bits."""
    tensors = {f"backbone.{k}": t.half() if half and t.ndim == 4 else t for k, t in backbone.net.state_dict().items()}
    checkpoints.save(path, tensors, {**facts, "backbone": backbone.shape.to_dict()})


def load(path=None, device="cpu"):
    """`Trained2D` of a file of ours or a converted published one, by default the shipped one.  InputError: missing, damaged, not 2D."""
    path = Path(path or SHIPPED)
    tensors, facts = checkpoints.load(path, "backbone.")
    backbone = Backbone(Shape.from_dict(facts.get("backbone"), path))
    unused = [k for k in tensors if k.startswith("heads.depth.")]  # published, never trained (1.2)
    checkpoints.fill(backbone.net, {k: t for k, t in tensors.items() if k not in unused}, path)
    return Trained2D(backbone.to(device).eval(), facts, path)


def sets(two_d, seed=0, sources=SOURCES, roots=None):
    """A tuple of `Labelled`, one per (data set, split) of `sources`: a twin's, or of roots {data set: folder} what that has."""
    out, size, J = [], two_d.shape.picture, two_d.shape.joints
    for name, split in sources:
        data = load_data(name, split, root=(roots or {}).get(name))
        if (roots or {}).get(name) is None or data.recorded is None:
            out.append(of_scenes(data, two_d.pictures, seed, size, J, swap=bool(two_d.change and two_d.change.background)))
        else:
            out.append(of_samples(data.samples(two_d.pictures), size, J))
    return tuple(out)


def make(two_d, made, path, seed=0, resume=False, device="cpu", imagenet=None, label=None, state="", half=False, **more):
    """Train on `Labelled` sets and write the file; returns `Trained2D`.  The state of an unfinished training lies beside it.

    made: function () -> sets;  imagenet: file of first weights for the trunk (see `Backbone.load_imagenet`);  state: what a training to go
    on with must agree in;  half: see `save`;  more: facts.
    """
    backbone, plan, path = Backbone(two_d.shape, torch.Generator().manual_seed(seed)), replace(two_d.plan, seed=seed), Path(path)
    if imagenet:
        backbone.load_imagenet(imagenet)
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = Stream(tuple(made()), two_d.shape, two_d.change, lot(seed, "two_d"), str(device))
    h = train(Seen2D(backbone, two_d), stream, plan, path.with_suffix(".state"), resume, device, label, about=state)
    facts = {"steps": h.steps, "samples_seen": h.samples, "seconds": round(h.seconds, 1), "device": h.device, "at": h.at,
             "losses": {k: [float(f"{v:.4g}") for v in series] for k, series in h.losses.items()},
             "two_d": json.loads(json.dumps(asdict(two_d))), "seed": seed, "imagenet": bool(imagenet),
             "pictures": [len(s) for s in stream.sets], "sources": [s.sources for s in stream.sets],
             "backbone": backbone.shape.to_dict(), **more}  # fmt: skip
    if processes()[0] == 0:
        save(path, backbone, facts, half)
    return Trained2D(backbone.eval(), facts, path)


def learn(two_d, made, about, seed=0, label=None, folder=None, device=None, imagenet=None):
    """`Trained2D` as `make` gives it, from the cache if the same was learned before by the same code, else trained now (an interrupted
    training goes on).

    about: what tells these sets from others, anything that can be printed.
    """
    device = device or default_device()
    first = hashlib.sha256(Path(imagenet).read_bytes()).hexdigest() if imagenet and Path(imagenet).is_file() else imagenet
    said = [asdict(two_d), seed, about, first, torch.device(device).type, models.code_hash(TRAINED_BY)]
    key = hashlib.sha256(json.dumps(said, default=str, sort_keys=True).encode()).hexdigest()[:16]
    path = Path(folder or results.ROOT / "runs" / "cache" / "backbones") / f"{key}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with results.locked(path):
        if path.exists():
            with contextlib.suppress(InputError):  # damaged: learned again
                return load(path, device)
        more = {"about": str(about), "config": results.config_hash({"key": said})}
        return make(two_d, made, path, seed, True, device, imagenet, label, key, **more)


def trained(two_d, seed=0, sources=SOURCES, roots=None, label=None, **options):
    """`Trained2D` of a `TwoD` on the mixture of `sources` (see `sets`), from the cache or trained now;  options: see `learn`."""
    about = [list(map(list, sources)), {k: str(v) for k, v in (roots or {}).items()}]
    return learn(two_d, lambda: sets(two_d, seed, sources, roots), about, seed, label, **options)


def train_main(profile="auto", data=(), imagenet=None, out=None, resume=False, seed=0):
    """`vp train --net 2d`: the profile's 2D network (or "compact", the shipped one) on twins, or on the pictures of the folders that
    `data` ("coco=DIR", "panoptic=DIR", "muco=DIR") names; exit code.  InputError for other names, folders without pictures."""
    from vp.lab.profiles import COMPACT_2D, resolve

    roots = dict(part.partition("=")[::2] for part in data)
    names = [name for name, _ in SOURCES]
    for name, root in roots.items():
        if name not in names or not Path(root).is_dir():
            raise InputError(f"{name}={root}", "--data", f"NAME=FOLDER, NAME one of {', '.join(names)}")
    two_d = COMPACT_2D if profile == "compact" else resolve(profile).backbone
    about = json.dumps([asdict(two_d), seed, sorted(roots.items()), imagenet], default=str)
    name = profile if profile == "compact" else resolve(profile).name
    trained = make(two_d, lambda: sets(two_d, seed, SOURCES, roots), out, seed, resume, default_device(), imagenet, "2D network", about,
                   profile == "compact", profile=name)  # fmt: skip
    if processes()[0] == 0:
        f = trained.facts
        print(f"{out}: {f['steps']} steps on {sum(f['pictures'])} pictures in {f['seconds']:.0f} s on {f['device']}; next: "
              f"vp evaluate --dataset mupots --agr image --backbone {out}")  # fmt: skip
    return 0
