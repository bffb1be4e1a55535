"""`load`: a data set by name, virtual where no folder is given, recorded where the folder has it, the twin filling the rest.

Rendered sets are cached on disk by their configuration (`Dataset.rendered`): written under a temporary name and renamed, so that two runs
may share them; the least recently used go when the cache is over its limit.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
import zlib
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from vp.camera import Camera
from vp.errors import InputError
from vp.lab import results
from vp.world.bank import PoseBank
from vp.world.cameras import MUPOTS_FOCAL
from vp.world.render import render
from vp.world.scenes import make_scenes
from vp.world.twins import Twin, twin

DEFAULT_SPLIT = {"panoptic": "train", "muco": "train", "mupots": "test", "coco": "train"}
MOST_POSES = 20_000  # read from a recorded data set into its bank
CACHE_BYTES = 4 << 30
RENDERER = 1  # count up when vp.world makes other pictures or scenes from the same numbers: cached sets are then made anew


@dataclass
class Dataset:
    """One split of a data set: `scenes` without limit, `samples` as the original gives them, `rendered` pictures.

    sources: where poses, cameras and images come from ("twin" or the data set's name);  recorded: reader with `samples()`, or None.
    """

    twin: Twin
    bank: PoseBank
    people: object
    cameras: list
    sources: dict
    recorded: object = None

    def scenes(self, n, seed=0, device="cpu", changed=None, start=0, camera=None):
        """n `Scenes` (see `make_scenes`); camera: another specification than the split's own."""
        config = replace(self.twin.scenes, camera=camera or self.cameras or self.twin.scenes.camera)
        stream = (zlib.crc32(f"{self.twin.name} {self.twin.split}".encode()) << 20) + seed  # no two splits share a scene
        scenes = make_scenes(config, self.bank, self.people, n, stream, device, changed, start)
        brought = {} if self.twin.flat else {k: self.sources[k] for k in ("poses", "cameras")}  # pictures of scenes are always rendered
        return replace(scenes, sources={**dict.fromkeys(("poses", "cameras", "images"), "twin"), **brought})

    def pictures(self, scenes, size=(240, 128), background=None):
        """Pictures of scenes at size (width, height): image (B, 3, H, W) float32 in [0, 1], in the split's backgrounds or the given one."""
        families = (background,) if background else self.twin.backgrounds
        seeds = scenes.seeds["background"]
        image = torch.empty(len(scenes), 3, size[1], size[0], device=scenes.joints.device)
        for k, family in enumerate(families):
            mine = torch.nonzero(seeds % len(families) == k).flatten()
            if len(mine):
                image[mine] = render(scenes[mine], size, family).image
        return image

    def samples(self, n=None, seed=0):
        """Generator of Samples: the recorded ones where the folder has whole samples, else n virtual scenes (default 100)."""
        if self.recorded is not None:
            yield from islice(self.recorded.samples(), n)
            return
        total = n or 100
        for start in range(0, total, self.twin.scenes.block):
            scenes = self.scenes(min(self.twin.scenes.block, total - start), seed, start=start)
            for i in range(len(scenes)):
                sample = scenes.sample(i)
                sample.name = f"{self.twin.name}/{self.twin.split}/{start + i:06d}"
                if self.twin.flat:
                    sample.joints = sample.valid = sample.camera = None
                yield sample

    def rendered(self, n, seed=0, size=(240, 128), background=None, folder=None, limit=CACHE_BYTES):
        """n rendered scenes as uint8 (n, 3, H, W), from the cache when they are there; folder: of the cache, default runs/cache.

        The scenes are those of `scenes(n, seed)`.
        """
        if not isinstance(background, str | None):
            raise InputError("only named backgrounds are cached", "rendered", "use pictures() with a folder of images")
        config = {"renderer": RENDERER, "twin": asdict(self.twin), "sources": self.sources,
                  "bank": _fingerprint(self.bank), "n": n, "seed": seed, "size": size,
                  "background": background, "cameras": [c.to_dict() for c in self.cameras]}  # fmt: skip
        key = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:20]
        folder = Path(folder or results.ROOT / "runs" / "cache")
        path = folder / f"{self.twin.name}-{self.twin.split}-{key}.npy"
        try:
            images = np.load(path, allow_pickle=False)
            os.utime(path)
            return torch.from_numpy(images)
        except (OSError, ValueError, EOFError):
            pass
        parts = []
        for start in range(0, n, 64):
            scenes = self.scenes(min(64, n - start), seed, start=start)
            parts.append((self.pictures(scenes, size, background) * 255).round().to(torch.uint8))
        images = torch.cat(parts)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as f:
            try:
                np.save(f, images.numpy())
                os.replace(f.name, path)
            except OSError:
                Path(f.name).unlink(missing_ok=True)
                raise
        _shrink(folder, limit, keep=path)
        return images


def _fingerprint(bank):
    """Hash of a bank's poses."""
    return hashlib.sha256(bank.joints.nan_to_num(-1.0).numpy().tobytes()).hexdigest()[:16]


def _shrink(folder, limit, keep):
    """Remove the least recently used sets until the cache is within its limit; files that vanish meanwhile are another run's doing."""
    found, total = [], 0
    for p in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            facts = p.stat()
            if p.suffix == ".part" and time.time() - facts.st_mtime > 3600:  # of a killed run
                p.unlink()
            elif p.suffix == ".npy":
                found.append((p != keep, -facts.st_mtime_ns, p, facts.st_size))
    for other, _, p, size in sorted(found):
        total += size
        if other and total > limit:
            p.unlink(missing_ok=True)


def clear_cache(folder=None):
    """Remove all rendered sets."""
    shutil.rmtree(folder or results.ROOT / "runs" / "cache", ignore_errors=True)


# ---- load ------------------------------------------------------------------------------------------------------------------------------


def load(name, split=None, root=None, bank_seed=0):
    """A data set: its virtual twin, or with `root` what that folder has, the twin filling the rest (`Dataset.sources` says which).

    name: "panoptic", "muco", "mupots", "coco" (or "bvh": recorded poses before universal cameras);  split: as in the original.
    InputError: unknown name or split, a folder without anything of that data set.
    """
    if name == "bvh":
        if root is None:
            raise InputError("motion capture has no twin", "load", "give its folder: root=DIR")
        t = replace(twin("coco", "train"), name="bvh", flat=False)
        return Dataset(t, _clips(root), t.people(), [], {"poses": "bvh", "cameras": "twin", "images": "twin"})
    if name not in DEFAULT_SPLIT:
        raise InputError(f"no data set {name!r}", "load", f"known: {', '.join((*DEFAULT_SPLIT, 'bvh'))}")
    t = twin(name, split or DEFAULT_SPLIT[name])
    data = Dataset(t, t.bank(bank_seed), t.people(), [], dict.fromkeys(("poses", "cameras", "images"), "twin"))
    return data if root is None else {"panoptic": _panoptic, "muco": _muco, "mupots": _mupots, "coco": _coco}[name](data, root)


def _clips(root):
    from vp.data.mocap import read_clips

    return PoseBank.from_clips(list(read_clips(root)))


def _bank_of(samples):
    """PoseBank of the people of recorded Samples (same skeleton throughout)."""
    kept, count, skeleton = [], 0, None
    for s in samples:
        if s.joints is not None and len(s):
            skeleton = s.skeleton
            kept.append((s.joints, s.valid))
            count += len(s)
        if count >= MOST_POSES:
            break
    if not kept:
        return None
    return PoseBank.from_joints(torch.cat([j for j, _ in kept]), torch.cat([v for _, v in kept]), skeleton)


def _with(data, name, bank=None, cameras=(), images=False, recorded=None):
    """The dataset with what a folder brought."""
    found = {"poses": bank is not None, "cameras": bool(cameras), "images": images}
    sources = {k: name if found[k] else v for k, v in data.sources.items()}
    return replace(data, bank=bank or data.bank, cameras=list(cameras), sources=sources, recorded=recorded)


def _panoptic(data, root):
    from vp.data.panoptic import Panoptic

    reader = Panoptic(root)
    wanted = [int(i) for i in str(data.twin.scenes.camera).partition(":")[2].split(",") if i]
    posed = [s for s in reader.sequences if reader.pose_files(s)]
    calibrated = next((s for s in [*posed, *reader.sequences] if list(reader._folder(s).glob("calibration_*.json"))), None)
    cameras = [reader.camera(calibrated, c) for c in wanted] if calibrated else []
    bank = _bank_of(reader.sample(s, wanted[0], f) for s in posed for f in reader.frames(s)) if calibrated else None
    pictures = any(reader.image_files(s) for s in posed)
    return _with(data, "panoptic", bank, cameras, pictures, reader if bank is not None and pictures else None)


def _muco(data, root):
    from vp.data.muco import Muco

    reader = Muco(root, limit=MOST_POSES)
    first = next(iter(reader.samples()), None)
    return _with(data, "muco", _bank_of(reader.samples()), (), bool(first and first.image), reader if first and first.image else None)


def _mupots(data, root):
    from vp.data.mupots import Mupots

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # left-handed extrinsics are repaired; `vp check-data` counts them
        reader = Mupots(root)
    annotated = bool(reader._frames or reader._mats)
    if annotated:
        cameras = [reader.camera(s) for s in reader.sequences if s in reader.extrinsics]
        return _with(data, "mupots", _bank_of(reader.samples()), cameras, True, reader)
    f, c = torch.full((2,), MUPOTS_FOCAL, dtype=torch.float64), torch.tensor([959.5, 539.5], dtype=torch.float64)
    return _with(data, "mupots", None, [Camera(R, t, f, c, (1920, 1080)) for R, t in reader.extrinsics.values()])


def _coco(data, root):
    from vp.data.coco import Coco

    reader = Coco(root)
    return replace(data, sources={"poses": "coco", "cameras": "none", "images": "coco"}, recorded=reader)
