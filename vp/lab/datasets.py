"""`load`: a data set by name, virtual where no folder is given, recorded where the folder has it, the twin filling the rest.

Splits of recorded data (where the originals' own are lists of files that the folder need not hold, the rule is ours):

* CMU Panoptic: by camera, 16 for training and 30 for the test (§5.2), and by the names of the sequences: the test has every Pizza, which
  is in no training (§5.2), and what was recorded on day 160422; training has the rest.
* MuCo-3DHP: the first 70 % of the pictures of each of its folders for training, the rest for the test (§3.2).  Its file does not name the
  actors, who are eight in all: they appear in both, as in the original.
* MuPoTS-3D is a test set.  COCO: by the name of the file, person_keypoints_train*.json or person_keypoints_val*.json.

Where a folder has sequences of one side only, both splits read them, and `Dataset.sources` says "same in train and test".

Rendered sets are cached on disk by their configuration (`Dataset.rendered`): written under a temporary name and renamed, so that two runs
may share them; the least recently used go when the cache is over its limit.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
import warnings
import zlib
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from vp.camera import Camera
from vp.errors import InputError
from vp.lab import results
from vp.world.backgrounds import ImageFolder
from vp.world.bank import PoseBank
from vp.world.cameras import MUPOTS_FOCAL
from vp.world.render import render
from vp.world.scenes import make_scenes
from vp.world.twins import Twin, twin

DEFAULT_SPLIT = {"panoptic": "train", "muco": "train", "mupots": "test", "coco": "train"}
MOST_FRAMES = 4_000  # of a recorded data set read into its bank, evenly spread
TEST_DAY = "160422"  # Panoptic's capture day kept for the test: one each of haggling, mafia and ultimatum.  Ours
MUCO_SHARE = 0.7  # of the pictures for training (§3.2)
SHARED = "same in train and test"
CACHE_BYTES = 4 << 30
RENDERER = 4  # count up when vp.world makes other pictures or scenes from the same numbers: cached sets are then made anew


@dataclass
class Dataset:
    """One split of a data set: `scenes` without limit, `samples` as the original gives them, `rendered` pictures.

    sources: where poses, cameras and images come from ("twin" or the data set's name);  recorded: function (n, cameras) that gives the
    split's recorded Samples, or None: n spread over all of them (default: all), in other cameras than the split's (Panoptic only);
    backgrounds: a user's pictures in place of the twin's backgrounds, or None.
    """

    twin: Twin
    bank: PoseBank
    people: object
    cameras: list
    sources: dict
    recorded: object = None
    backgrounds: ImageFolder | None = None

    def scenes(self, n, seed=0, device="cpu", changed=None, start=0, camera=None, through=None):
        """n `Scenes` (see `make_scenes`); camera: another specification than the split's own.

        through: a specification of cameras, or a list of the folder's, that look at the scenes made for the split's own ones: everybody
        stays where he is, but perhaps not in view (a counterfactual, as `changed` is).
        """
        if through is not None:
            other = self.scenes(n, seed, device, changed, start, through).camera
            scenes = self.scenes(n, seed, device, changed, start, camera)
            named = {"cameras": self.sources["cameras"] if isinstance(through, list) else "twin"}  # specifications are of virtual cameras
            return replace(scenes, camera=other, sources={**scenes.sources, **named})
        config = replace(self.twin.scenes, camera=camera or self.cameras or self.twin.scenes.camera)
        stream = (zlib.crc32(f"{self.twin.name} {self.twin.split}".encode()) << 20) + seed  # no two splits share a scene
        scenes = make_scenes(config, self.bank, self.people, n, stream, device, changed, start)
        brought = {} if self.twin.flat else {k: self.sources[k] for k in ("poses", "cameras")}  # pictures of scenes are always rendered
        images = "twin, own backgrounds" if self.backgrounds else "twin"
        return replace(scenes, sources={"poses": "twin", "cameras": "twin", "images": images, **brought})

    def pictures(self, scenes, size=(240, 128), background=None):
        """Pictures of scenes at size (width, height): image (B, 3, H, W) float32 in [0, 1].

        background: a family of `vp.world.backgrounds` or an `ImageFolder`; None: those given to `load`, else the split's.
        """
        own = background or self.backgrounds
        families = (own,) if own else self.twin.backgrounds
        seeds = scenes.seeds["background"]
        image = torch.empty(len(scenes), 3, size[1], size[0], device=scenes.joints.device)
        for k, family in enumerate(families):
            mine = torch.nonzero(seeds % len(families) == k).flatten()
            if len(mine):
                image[mine] = render(scenes[mine], size, family).image
        return image

    def samples(self, n=None, seed=0):
        """Generator of Samples: at most n recorded ones where the folder has people before their own cameras, else n virtual scenes
        (default 100).

        Recorded samples are those with a picture, where the split has any; else `Sample.image` is None.
        """
        if self.recorded is not None:
            yield from islice(self.recorded(), n)
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

    def rendered(self, n, seed=0, size=(240, 128), background=None, folder=None, limit=CACHE_BYTES, through=None):
        """n rendered scenes as uint8 (n, 3, H, W), from the cache when they are there; folder: of the cache, default runs/cache.

        The scenes are those of `scenes(n, seed, through=through)`.
        """
        own = background or self.backgrounds
        config = {"renderer": RENDERER, "twin": asdict(self.twin), "sources": self.sources,
                  "bank": fingerprint(self.bank), "n": n, "seed": seed, "size": size,
                  "background": getattr(own, "fingerprint", own), "cameras": [c.to_dict() for c in self.cameras],
                  **({} if through is None else {"through": _plain(through)})}  # fmt: skip
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
            scenes = self.scenes(min(64, n - start), seed, start=start, through=through)
            parts.append((self.pictures(scenes, size, background) * 255).round().to(torch.uint8))
        images = torch.cat(parts)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as f:
            try:
                np.save(f, images.numpy())
                f.flush()
                os.replace(f.name, path)  # what is found under the name is whole, whenever the run is killed
            finally:
                Path(f.name).unlink(missing_ok=True)
        _shrink(folder, limit, keep=path)
        return images


def _plain(through):
    """A specification of cameras as text or JSON."""
    if isinstance(through, list):
        return [c.to_dict() for c in through]
    return through if isinstance(through, str) else repr(through)


def fingerprint(bank):
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


# ---- load ------------------------------------------------------------------------------------------------------------------------------


def load(name, split=None, root=None, bank_seed=0, backgrounds=None):
    """A data set: its virtual twin, or with `root` what that folder has, the twin filling the rest (`Dataset.sources` says which).

    name: "panoptic", "muco", "mupots", "coco" (or "bvh": recorded poses before universal cameras, without splits);  split: as in the
    original, see above;  backgrounds: a folder of pictures before which rendered people stand, instead of the twin's backgrounds.
    InputError: unknown name or split, a folder without anything of that data set or of that split, without pictures.
    """
    own = None if backgrounds is None else ImageFolder(backgrounds)
    if name == "bvh":
        if root is None or split is not None:
            what = "motion capture has no twin" if root is None else "motion capture has no splits"
            raise InputError(what, "load", "give its folder: root=DIR, and no split")
        t = twin("coco", "train")
        t = replace(t, name="bvh", flat=False, scenes=replace(t.scenes, camera="universal"))
        return Dataset(t, _clips(root), t.people(), [], {"poses": "bvh", "cameras": "twin", "images": "twin"}, backgrounds=own)
    if name not in DEFAULT_SPLIT:
        raise InputError(f"no data set {name!r}", "load", f"known: {', '.join((*DEFAULT_SPLIT, 'bvh'))}")
    t = twin(name, split or DEFAULT_SPLIT[name])
    data = Dataset(t, _twin_bank(t, bank_seed), t.people(), [], dict.fromkeys(("poses", "cameras", "images"), "twin"), backgrounds=own)
    return data if root is None else {"panoptic": _panoptic, "muco": _muco, "mupots": _mupots, "coco": _coco}[name](data, root)


@cache
def _twin_bank(t, seed):
    """`Twin.bank`, made once: two data sets may share it."""
    return t.bank(seed)


def _clips(root):
    from vp.data.mocap import read_clips

    return PoseBank.from_clips(list(read_clips(root)))


def _step(available, n):
    """Every how many-th to take, so that n are spread over all there are."""
    return 1 if n is None else max(1, available // n)


def _spread(items, most=None):
    """At most `most` (MOST_FRAMES) of a list, evenly spread."""
    return items[:: max(1, -(-len(items) // (most or MOST_FRAMES)))]


def _bank_of(people, source):
    """PoseBank of recorded people, an iterable of (joints (P, J, 3), valid (P, J), Skeleton); None if there are none."""
    found = {}
    for joints, valid, skeleton in people:
        if len(joints):
            found.setdefault(skeleton, []).append((joints, valid))
    banks = [PoseBank.from_joints(*(torch.cat(x) for x in zip(*kept)), skeleton, source=source) for skeleton, kept in found.items()]
    return PoseBank.joined(banks, source) if sum(map(len, banks)) else None


def _with(data, name, bank=None, cameras=(), images=False, recorded=None, shared=False):
    """The dataset with what a folder brought; shared: both splits have these poses."""
    found = {"poses": bank is not None, "cameras": bool(cameras), "images": images}
    sources = {k: name if found[k] else v for k, v in data.sources.items()}
    if bank is not None and shared:
        sources["poses"] = f"{name} ({SHARED})"
    return replace(data, bank=bank or data.bank, cameras=list(cameras), sources=sources, recorded=recorded)


def panoptic_split(reader, split):
    """(sequences with poses of a split of a `Panoptic`, sequences whose calibrations serve it, whether both splits read the same)."""
    posed = [s for s in reader.sequences if reader.pose_files(s)]
    pizza = [s for s in posed if "pizza" in s.lower()]
    day = [s for s in posed if s.startswith(TEST_DAY) and s not in pizza]
    rest = [s for s in posed if s not in pizza + day]
    chosen = (rest or day) if split == "train" else (day + pizza or rest)
    if posed and not chosen:
        raise InputError("there is only Pizza, which is in no training", reader.root, 'load("panoptic", "test", ...) has it')
    calibrated = [s for s in reader.sequences if reader.calibrated(s)]
    return chosen, [s for s in chosen if s in calibrated] or calibrated, bool(day + rest) and not (rest and day + pizza)


def _panoptic(data, root):
    from vp.data.panoptic import Panoptic, camera_name

    reader, number = Panoptic(root), data.twin.scenes.camera.partition(":")[2]
    chosen, calibrated, shared = panoptic_split(reader, data.twin.split)
    own = [s for s in chosen if s in calibrated]
    cameras = [reader.camera(s, number) for s in calibrated]
    frames = _spread([(s, f) for s in chosen for f in reader.frames(s)])
    bank = _bank_of((reader.poses(s, f)[1:] for s, f in frames), "panoptic")
    pictured = [s for s in own if camera_name(number) in reader.image_files(s)]

    def recorded(n=None, cameras=None):
        sequences, seen = (own, cameras) if cameras else (pictured or own, [number])
        views = sum(len(reader.frames(s)) for s in sequences) * len(seen)
        return (s for s in reader.samples(sequences, seen, _step(views, n)) if cameras or s.image or not pictured)

    return _with(data, "panoptic", bank, cameras, bool(pictured), recorded if own and bank else None, shared)


def _muco(data, root):
    from vp.data.muco import Muco

    reader, folders = Muco(root), {}
    for i, image in reader.images.items():
        folders.setdefault(Path(image["file_name"]).parts[:-1][:1], []).append(i)
    chosen = []
    for ids in folders.values():
        cut = max(1, round(MUCO_SHARE * len(ids)))
        chosen += [i for i in (ids[:cut] if data.twin.split == "train" else ids[cut:]) if i in reader.people]
    if not chosen:
        raise InputError(f"{len(reader.images)} pictures are too few to split 70 to 30", reader.file)
    bank = _bank_of(_people(reader.sample(i) for i in _spread(chosen)), "muco")
    pictured = any(reader.sample(i).image for i in _spread(chosen, 50))

    def recorded(n=None, cameras=None):
        return (s for s in map(reader.sample, chosen if n is None else _spread(chosen, n)) if s.image or not pictured)

    return _with(data, "muco", bank, (), pictured, recorded)


def _mupots(data, root):
    from vp.data.mupots import Mupots

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # left-handed extrinsics are repaired; `vp check-data` counts them
        reader = Mupots(root)
    frames = [(s, f) for s in reader.sequences for f in reader.frames(s)]
    if frames:
        cameras = [reader.camera(s) for s in reader.sequences if s in reader.extrinsics and reader.frames(s)]
        bank = _bank_of(_people(reader.sample(*f) for f in _spread(frames)), "mupots")
        pictured = any(reader.sample(*f).image for f in _spread(frames, 50))

        def recorded(n=None, cameras=None):
            return (s for s in reader.samples() if s.image or not pictured)

        return _with(data, "mupots", bank, cameras, pictured, recorded)
    f, c = torch.full((2,), MUPOTS_FOCAL, dtype=torch.float64), torch.tensor([959.5, 539.5], dtype=torch.float64)
    return _with(data, "mupots", None, [Camera(R, t, f, c, (1920, 1080)) for R, t in reader.extrinsics.values()])


def _people(samples):
    return ((s.joints, s.valid, s.skeleton) for s in samples)


def _coco(data, root):
    from vp.data.coco import Coco

    split, other = data.twin.split, "val" if data.twin.split == "train" else "train"
    path = Path(root)
    files = [path] if path.suffix == ".json" else sorted(path.rglob("person_keypoints_*.json"))
    mine, theirs = ([f for f in files if word in f.stem] for word in (split, other))
    if files and files == theirs and not mine:
        raise InputError(f"no person_keypoints_{split}*.json, only the split {other}", root, f'load("coco", "{other}", ...) reads it')
    reader = Coco(mine[0] if len(mine) == 1 else root)
    poses = "coco" if mine and mine != theirs else f"coco ({SHARED.replace('test', 'val')})"

    def recorded(n=None, cameras=None):
        return reader.samples()

    return replace(data, sources={"poses": poses, "cameras": "none", "images": "coco"}, recorded=recorded)
