"""Recorded pictures for the generalization study (§3): what a folder of CMU Panoptic, MuCo-3DHP or MuPoTS-3D has, as `Pictures`.

Pictures are decoded once, brought to the size that the networks take, and kept in the cache as one file per set, which is mapped into
memory: 20 000 of 960 x 512 px are 29 GB, of which a batch reads its own.  Lenses are not undone in the picture: the camera keeps its
distortion, and with it joints are projected to where they are seen.
"""

import hashlib
import json
import os
import shutil
import tempfile
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from vp.camera import Camera, fit_transform, rescale
from vp.data.panoptic import Panoptic, camera_name
from vp.errors import InputError
from vp.lab import datasets, results
from vp.lab.pictures import Pictures, of_scenes, truth
from vp.lab.pool import Counter
from vp.skeleton import JOINTS_15
from vp.world.cameras import CameraRanges

TESTED = ("00_14", "00_16", "00_19")  # of Fig. 3a: not among the many cameras of the fourth arm
KNOWN = ("panoptic", "muco", "mupots")  # that have depths
SETS = {"green": "unaugmented_set", "augmented": "augmented_set", "test_augmented": "augmented_set"}  # folders of RootNet's MuCo
PADDING = (0.25, 0.12)  # of width and height, each side, where a data set has no boxes (published_settings 1.4)
BLOCK = 64  # pictures at a time
READER = 1  # count up when other pixels come of the same files
CACHE_BYTES = 256 << 30  # of decoded sets: the least recently used go


class NoPictures(InputError):
    """The folder may have poses and cameras, but not the pictures that were asked for."""


def of_folder(data, split, root, n, size, through=None, background=None, folder=None):
    """`Pictures` of at most n recorded samples with pictures, evenly spread over the split; read once per process.

    data: "panoptic", "muco" or "mupots";  size: (width, height) px, reached with padding;  through: Panoptic's camera ("panoptic:14",
    default: the split's own), or `CameraRanges`, which stand for all HD cameras of the folder but 14, 16 and 19: at each moment one of
    those that have its picture;  background: of MuCo (see SETS), default: any;  folder: of the cache.
    NoPictures: nothing of that kind in the folder.  InputError: an unreadable picture, no room on the disk.
    """
    folder = str(folder or results.ROOT / "runs" / "cache" / "recorded")
    return _of_folder(data, split, str(Path(root).resolve()), n, tuple(size), through, background, folder)


@lru_cache(maxsize=8)  # truth is small, pictures stay on the disk
def _of_folder(data, split, root, n, size, through, background, folder):
    found = [s for s in chosen(data, split, root, n, through, background) if len(s)]  # an empty stage teaches nothing
    if not found:
        raise InputError("the chosen pictures show nobody", root)
    people = [_person_by_person(s) for s in found]
    joints, valid, boxes = (pad_sequence([p[k] for p in people], batch_first=True) for k in range(3))
    mask = torch.arange(joints.shape[1]) < torch.tensor([[len(s)] for s in found])
    camera = _batch([fitted(s.camera, size) for s in found])
    t = truth(joints, valid, mask, _moved(boxes, found, size), camera)
    stature = torch.full(mask.shape, torch.nan)
    sources = {**dataset(data, split, root).sources, "cameras": data, "images": data}
    return Pictures(image=decoded(found, size, folder, f"{data}-{split}"), camera=camera, stature=stature, sources=sources, **t)


# ---- which pictures --------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)  # MuCo's file takes a minute
def dataset(data, split, root):
    """What `datasets.load` gives; root: an absolute path."""
    return datasets.load(data, split, root=root)


def chosen(data, split, root, n, through=None, background=None):
    """The Samples with a picture that `of_folder` takes, at most n."""
    if data not in KNOWN:
        raise InputError(f"no recorded depths of {data!r}", root, f"known: {', '.join(KNOWN)}")
    d = dataset(data, split, root)
    if d.recorded is None:
        raise NoPictures("not both poses and cameras", root, "the study needs them with the pictures")
    if background is not None and (data != "muco" or background not in SETS):
        raise InputError(f"{data} has no pictures before {background!r}", root, f"muco has {', '.join(SETS)}")
    if through is not None and data != "panoptic":
        raise InputError(f"{data} was recorded through its own cameras", root, "only panoptic shows one moment through several")
    if data == "panoptic":
        return _views(d, root, n, through)
    for most in (4 * n, None) if data == "muco" else (None,):  # seldom need all 400 000 be looked at
        seen = [s for s in d.recorded(most) if s.image and (background is None or SETS[background] in Path(s.name).parts)]
        if len(seen) >= n:
            break
    if not seen:
        raise NoPictures(f"no pictures{f' in {SETS[background]}' if background else ''} for the {split} split", root)
    return _spread(seen, n)


def rendered(data, split, root, n, seed, size, through=None, background=None):
    """`Pictures` of a folder that has no such pictures: virtual people in its poses, before its cameras where it has them.

    through: Panoptic's camera, as the folder's calibrations have it, or any other specification of virtual cameras.
    """
    d = dataset(data, split, str(Path(root).resolve()))
    if data == "panoptic" and d.cameras and isinstance(through, str):
        reader, number = Panoptic(root), through.removeprefix("panoptic:")
        through = [reader.camera(s, number) for s in datasets.panoptic_split(reader, split)[1]]
    return of_scenes(d, n, seed, size, background, through)


def _views(data, root, n, through):
    """Panoptic's: the moments are spread, then one camera is taken at each."""
    reader, own = Panoptic(root), data.twin.scenes.camera.removeprefix("panoptic:")
    many = isinstance(through, CameraRanges)
    camera = None if many else camera_name(str(through or own).removeprefix("panoptic:"))
    moments = []
    for seq in dict.fromkeys(s.name.split("/")[1] for s in data.recorded(1, [own])):  # the sequences of the split
        files, posed = reader.image_files(seq), reader.pose_files(seq)
        names = [c for c in sorted(files) if (c in reader.cameras(seq) and c not in TESTED if many else c == camera)]
        frames = sorted({f for c in names for f in files[c]} & posed.keys())
        moments += [(seq, f, [c for c in names if f in files[c]]) for f in frames]
    if not moments:
        which = "HD cameras other than 14, 16 and 19" if many else f"camera {camera}"
        raise NoPictures(f"no pictures of {which} at moments with poses, for the {data.twin.split} split", root,
                         f"looked for SEQ/hdImgs/{camera or 'CAM'}/*.jpg in sequences with calibration and poses")  # fmt: skip
    return [reader.sample(seq, seen[zlib.crc32(f"{seq} {f}".encode()) % len(seen)], f) for seq, f, seen in _spread(moments, n)]


def _spread(items, n):
    return items if len(items) <= n else [items[i * len(items) // n] for i in range(n)]


# ---- what is true of them --------------------------------------------------------------------------------------------------------------


def _person_by_person(sample):
    """joints (P, 15, 3) world mm, valid (P, 15): known and in the recorded picture, boxes (P, 4) px of that picture, NaN: none."""
    s = sample.to(JOINTS_15, derive=True)
    uv, _, front = s.project()
    boxes = extents(uv, front, s.camera.size) if s.boxes is None else s.boxes
    return s.joints, front & s.camera.in_image(uv), boxes


def extents(uv, ok, size):
    """Boxes (P, 4) px about joints uv (P, J, 2) where ok (P, J), with PADDING, clipped to the picture; NaN for nobody in it."""
    low = uv.masked_fill(~ok[..., None], torch.inf).amin(-2)
    high = uv.masked_fill(~ok[..., None], -torch.inf).amax(-2)
    pad, edge = (high - low) * low.new_tensor(PADDING), low.new_tensor(size) - 0.5
    low, high = (low - pad).clamp(min=-0.5), torch.minimum(high + pad, edge)
    return torch.cat([low, high], -1).masked_fill(~(low < high).all(-1, keepdim=True), torch.nan)


def placed(src, dst):
    """(w, h, x, y): a picture of size `src` in one of size `dst` is resized to w x h, its first pixel at (x, y).

    `fit_transform` in whole pixels: then nothing is interpolated twice, and `fitted` is exact.
    """
    k, (x, y) = fit_transform(src, dst)
    return max(1, round(k * src[0])), max(1, round(k * src[1])), int(x), int(y)


def fitted(camera, size):
    """The camera of a picture that was `placed` in `size`."""
    w, h, x, y = placed(camera.size, size)
    return camera.resize(w, h).crop(-x, -y, *size)


def _moved(boxes, samples, size):
    """Boxes (B, P, 4) px of the recorded pictures -> of the placed ones."""
    at = torch.tensor([placed(s.camera.size, size) for s in samples], dtype=boxes.dtype)
    k = at[:, :2] / torch.tensor([s.camera.size for s in samples], dtype=boxes.dtype)
    return rescale(boxes, k.repeat(1, 2)[:, None]) + at[:, 2:].repeat(1, 2)[:, None]


def _batch(cameras):
    """Single cameras of one size as one; those without a lens have distortion 0 beside those with."""
    R, t, f, c = (torch.stack([getattr(k, name) for k in cameras]) for name in ("R", "t", "f", "c"))
    bent = any(k.dist is not None for k in cameras)
    dist = torch.stack([R.new_zeros(5) if k.dist is None else k.dist for k in cameras]) if bent else None
    return Camera(R, t, f, c, cameras[0].size, dist)


# ---- pixels ----------------------------------------------------------------------------------------------------------------------------


def read(sample, size):
    """The picture of a Sample as uint8 (3, H, W), RGB, placed in `size`, black around it."""
    image, src = cv2.imread(sample.image), sample.camera.size
    if image is None:
        raise InputError("not a readable picture", sample.image)
    found = image.shape[1], image.shape[0]
    if abs(found[0] * src[1] - found[1] * src[0]) > max(src):  # a smaller copy will do, a crop will not
        raise InputError(f"{found[0]} x {found[1]} px, but its camera is that of {src[0]} x {src[1]} px", sample.image)
    w, h, x, y = placed(src, size)
    out = np.zeros((3, size[1], size[0]), np.uint8)
    kind = cv2.INTER_AREA if w < found[0] else cv2.INTER_LINEAR
    out[:, y : y + h, x : x + w] = cv2.resize(image, (w, h), interpolation=kind)[..., ::-1].transpose(2, 0, 1)
    return out


def decoded(samples, size, folder, label):
    """uint8 (n, 3, H, W): the Samples' pictures, mapped from the cache, where they are put first if they are not there.

    A set is known by paths, sizes and times of its files.  Two processes that want the same one make it once.
    """
    folder, shape = Path(folder), (len(samples), 3, size[1], size[0])
    facts = [(s.image, (st := os.stat(s.image)).st_size, st.st_mtime_ns, s.camera.size) for s in samples]
    key = hashlib.sha256(json.dumps([READER, size, facts]).encode()).hexdigest()[:20]
    path = folder / f"{label}-{key}.npy"
    folder.mkdir(parents=True, exist_ok=True)
    with results.locked(path):
        if (there := _mapped(path, shape)) is None:
            _write(path, samples, size, shape, label)
            datasets._shrink(folder, CACHE_BYTES, keep=path)
            there = _mapped(path, shape)
    os.utime(path)
    return there


def _mapped(path, shape):
    """The file as a tensor that is read where it is looked at; None: it is not there, or damaged."""
    try:
        image = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if image.shape != shape or image.dtype != np.uint8:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it cannot be written to, and nobody does; a writable map would count against memory
        return torch.from_numpy(image)


def _write(path, samples, size, shape, label):
    need, free = int(np.prod(shape, dtype=np.int64)), shutil.disk_usage(path.parent).free
    if need > free:
        raise InputError(f"{need / 1e9:.1f} GB of decoded pictures, {free / 1e9:.1f} GB free", path.parent, "choose a smaller profile")
    show = Counter(f"decoding {label}", len(samples))
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as f, ThreadPoolExecutor() as pool:
        try:
            np.lib.format.write_array_header_1_0(f, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for start in range(0, len(samples), BLOCK):
                for image in pool.map(lambda s: read(s, size), samples[start : start + BLOCK]):
                    f.write(show.done(image).data)
            f.flush()
            os.replace(f.name, path)  # what is found under the name is whole, whenever the run is killed
        finally:
            Path(f.name).unlink(missing_ok=True)
