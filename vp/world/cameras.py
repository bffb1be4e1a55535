"""Virtual cameras: the samplers behind "cameras can be made without limit" (§4.1, §5.4), each a batch of `vp.camera.Camera`.

A sampler is called with a number and a `torch.Generator`; all draws are float64 on the generator's device.  Principal points are at
the image centre and lenses without distortion unless a user's own camera says otherwise.  World: mm, Z up, the scene about the origin.

The paper says that cameras are sampled uniformly where the test camera is unknown (§5.4, Table 5) but prints no ranges, and the
published code has none; all ranges here are therefore ours.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from vp.camera import Camera
from vp.errors import InputError

# ---- uniform -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CameraRanges:
    """Ranges of a uniform sampler.  Not in the paper: chosen to contain the Panoptic and MuPoTS-3D rigs below with some margin.

    Pitch, height, distance determine the height above the origin at which the optical axis passes; what misses `aim_mm` is drawn again,
    so cameras are uniform over the part of the box that looks at people standing about the origin.  What fails `top_mm` likewise.
    """

    pitch_deg: tuple = (-10.0, 55.0)  # positive looks down
    height_mm: tuple = (400.0, 3600.0)
    azimuth_deg: tuple = (0.0, 360.0)  # where the camera stands, seen from the origin
    distance_mm: tuple = (1800.0, 7000.0)  # from the origin, horizontally
    focal_px: tuple = (1100.0, 2000.0)
    roll_deg: tuple = (-7.0, 7.0)
    aim_mm: tuple = (0.0, 2000.0)  # height of the optical axis above the origin
    size: tuple = (1920, 1080)
    top_mm: float = -math.inf  # height above the floor of the picture's upper edge, 1 m ahead of the camera, at least


UNIVERSAL = CameraRanges()
# Photographs: no camera that sees of people standing there no more than their legs.  Ours.
PHOTOS = CameraRanges(pitch_deg=(-5.0, 45.0), top_mm=2400.0)
# Like MPI-INF-3DHP, from which MuCo-3DHP is composed: eye-level to high cameras about an actor in a studio, square pictures.  Not in the
# paper, and not the rig's calibration (which is not public without the data set): ranges ours.
MUCO = CameraRanges(
    (-10, 45), (700, 3200), (0, 360), (2400, 3600), (1400, 1600), (-2, 2), (700, 1200), (2048, 2048),
)  # fmt: skip


def universal(n, generator, ranges=UNIVERSAL):
    """n cameras, uniform over pitch, height, azimuth, distance, focal length and roll (`CameraRanges`; §5.4, Table 5 "Random").

    InputError if (almost) no camera of the ranges looks at the scene.
    """
    names = ("pitch_deg", "height_mm", "azimuth_deg", "distance_mm", "focal_px", "roll_deg")
    low, high = torch.tensor([getattr(ranges, k) for k in names], dtype=torch.float64, device=generator.device).unbind(-1)
    if not (torch.isfinite(low).all() and torch.isfinite(high).all() and (low <= high).all()) or low[4] <= 0 or low[3] < 0:
        raise InputError("a range is not (low, high) with low <= high, focal > 0, distance >= 0", "CameraRanges")
    chosen, missing = low.repeat(n, 1), torch.ones(n, dtype=torch.bool, device=generator.device)
    for _ in range(80):
        tries = low + (high - low) * torch.rand(n, 16, 6, generator=generator, dtype=torch.float64, device=generator.device)
        pitch = torch.deg2rad(tries[..., 0])
        aim = tries[..., 1] - tries[..., 3] * torch.tan(pitch)
        top = tries[..., 1] - 1000 * torch.tan(pitch - torch.atan(ranges.size[1] / 2 / tries[..., 4]))
        good = (aim >= ranges.aim_mm[0]) & (aim <= ranges.aim_mm[1]) & (top >= ranges.top_mm)
        first = good.long().argmax(1)
        new = missing & good.any(1)
        chosen = torch.where(new[:, None], tries[torch.arange(n, device=first.device), first], chosen)
        missing &= ~new
        if not missing.any():
            break
    else:
        what = f"(almost) no camera passes the origin at {ranges.aim_mm} mm with the picture's upper edge above {ranges.top_mm} mm"
        raise InputError(what, "CameraRanges", "widen aim_mm or the heights, lower top_mm")
    pitch, height, azimuth, distance, focal, roll = chosen.unbind(-1)
    azimuth = torch.deg2rad(azimuth)
    centre = torch.stack([distance * azimuth.cos(), distance * azimuth.sin(), height], -1)
    return _from_angles(pitch, azimuth + math.pi, torch.deg2rad(roll), centre, focal, ranges.size)


def muco(n, generator):
    """n cameras like those of MPI-INF-3DHP (`MUCO`: ranges ours)."""
    return universal(n, generator, MUCO)


def photos(n, generator):
    """n cameras like those of photographs (`PHOTOS`: ranges ours)."""
    return universal(n, generator, PHOTOS)


# ---- rigs ------------------------------------------------------------------------------------------------------------------------------

# CMU Panoptic, HD cameras 00_14, 00_16, 00_19, 00_30 (§5.1) of calibration_160906_band1.json: optical centre x, y, z mm, rounded to 10 mm,
# pitch, yaw, roll in degree to 0.1, focal length px to 1.  World as `vp.data.panoptic` makes it: Z up, origin at the centre of the dome's
# floor, y = the file's z.  Horizontal distances from the centre: 2785, 2557, 1867, 2693 mm.  The real lenses' distortion (k1 -0.22 to
# -0.29) and off-centre principal points (up to 28 px) are left out.
PANOPTIC = {
    14: (1540, -2320, 1200, -4.6, 124.3, 4.5, 1647),
    16: (1600, -2000, 2410, 23.6, 129.8, -0.1, 1425),
    19: (1450, -1170, 3390, 50.4, 133.3, -0.9, 1395),
    30: (2680, -250, 1970, 12.7, 175.8, -3.6, 1406),
}

# MuPoTS-3D, TS1 to TS20, of the published extrinsics (left-handed ones repaired): optical centre x, y, z mm, rounded to 10 mm, pitch, yaw,
# roll in degree to 0.1.  The data set has no intrinsics: 1500 px is ours, not in the paper.
MUPOTS = (
    (2830, -2020, 1310, 4.2, 145.5, -1.5), (1810, 2320, 1510, 7.8, 223.7, -4.5), (-270, -2940, 1250, 2.6, 84.3, 4.2),
    (2200, 2570, 1510, 2.1, 239.4, 0.5), (-2590, -2070, 1040, 2.6, 37.9, 0.9), (-5180, -2650, 2900, 31.8, 28.3, 4.7),
    (2660, -2690, 1470, 9.2, 109.1, 1.2), (-660, -2620, 520, 3.5, 74.5, -1.5), (-470, 3590, 1400, 8.6, 294.6, -4.0),
    (990, -3650, 1530, 10.3, 120.2, -6.7), (-4150, 3630, 1000, 10.4, 323.5, 2.8), (-4150, -3520, 2180, 24.5, 47.4, 5.1),
    (-3920, -2090, 620, 7.0, 27.1, 3.8), (3570, 2000, 640, 6.1, 231.7, -2.8), (1060, 3650, 1370, 8.2, 252.0, 3.3),
    (-1250, 3730, 1240, 9.7, 295.4, -1.0), (2400, 2250, 1170, 7.7, 231.7, -2.1), (3320, -130, 970, 7.4, 166.9, 1.0),
    (-1710, 2870, 1320, 2.0, 302.4, 3.6), (-3480, 260, 950, 6.5, 359.6, 1.8),
)  # fmt: skip
MUPOTS_FOCAL = 1500.0
MUPOTS_INDOOR = (1, 2, 3, 4, 5)  # 2048 x 2048; the other scenes, 6 to 20, are outdoors and 1920 x 1080


def panoptic(n, generator, cameras=tuple(PANOPTIC)):
    """n times one of the dome's cameras 14, 16, 19, 30 (§5.1), drawn with equal chances; 1920 x 1080, no distortion.  InputError."""
    _known(cameras, PANOPTIC, "panoptic camera")
    return _rig([PANOPTIC[c] for c in cameras], n, generator, (1920, 1080))


def mupots(n, generator, scenes=tuple(range(1, 21)), size=None):
    """n times one of the cameras of MuPoTS-3D's scenes 1 to 20, drawn with equal chances.  InputError.

    size (w, h) px: by default the scenes' own, 2048 x 2048 for 1 to 5 and 1920 x 1080 for 6 to 20; a mixture is 1920 x 1080 throughout
    (a batch has one size), with the same focal length.
    """
    _known(scenes, range(1, 21), "mupots scene")
    size = size or ((2048, 2048) if set(scenes) <= set(MUPOTS_INDOOR) else (1920, 1080))
    return _rig([(*MUPOTS[s - 1], MUPOTS_FOCAL) for s in scenes], n, generator, size)


def fixed(camera, n):
    """n times the same camera (a single `Camera`; the copies share its memory)."""
    if camera.R.ndim != 2:
        raise InputError(f"expected one camera, got a batch of shape {tuple(camera.R.shape[:-2])}", "fixed")
    R, t, f, c, dist = (None if x is None else x.expand(n, *x.shape) for x in (camera.R, camera.t, camera.f, camera.c, camera.dist))
    return Camera(R, t, f, c, camera.size, dist)


def among(cameras, n, generator):
    """n times one of a list of single cameras, drawn with equal chances; the batch has the first one's image size."""
    pick = torch.randint(len(cameras), (n,), generator=generator, device=generator.device)
    none = torch.zeros(5, dtype=torch.float64)
    R, t, f, c, dist = (torch.stack(x).to(generator.device)[pick] for x in zip(
        *((k.R, k.t, k.f, k.c, none if k.dist is None else k.dist) for k in cameras), strict=True))  # fmt: skip
    return Camera(R, t, f, c, cameras[0].size, dist if any(k.dist is not None for k in cameras) else None)


def read_camera(path):
    """A user's camera: a JSON file with the keys of `Camera.from_dict`.  InputError: unreadable or not a camera."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"cannot be read as a camera ({e})", path, 'a JSON file with "R", "t", "f", "c", "size"') from None
    return Camera.from_dict(data, str(path))


# ---- by name -----------------------------------------------------------------------------------------------------------------------------


def sampler(spec):
    """The sampler (n, generator) -> Camera of a specification.  InputError: unknown.

    spec: "universal", "muco", "photos", "panoptic", "panoptic:14,16", "mupots", "mupots:6,7", the path of a JSON file, a `Camera`, its
    dict, a list of Cameras (drawn with equal chances), or `CameraRanges`.
    """
    if isinstance(spec, CameraRanges):
        return lambda n, generator: universal(n, generator, spec)
    if isinstance(spec, dict):
        spec = Camera.from_dict(spec)
    if isinstance(spec, str | Path) and str(spec).endswith(".json"):
        spec = read_camera(spec)
    if isinstance(spec, Camera):
        return lambda n, generator: fixed(spec.to(generator.device), n)
    if isinstance(spec, list):
        return lambda n, generator: among(spec, n, generator)
    name, _, ids = str(spec).partition(":")
    if name in ("universal", "muco", "photos") and not ids:
        return {"universal": universal, "muco": muco, "photos": photos}[name]
    if name in ("panoptic", "mupots"):
        try:
            numbers = tuple(int(i) for i in ids.split(",")) if ids else ()
        except ValueError:
            raise InputError(f"{ids!r} is not a list of numbers", f"camera {spec!r}", "e.g. panoptic:14 or mupots:6,7") from None
        known, make = (PANOPTIC, panoptic) if name == "panoptic" else (range(1, 21), mupots)
        numbers = numbers or tuple(known)
        _known(numbers, known, f"{name} camera")
        return lambda n, generator: make(n, generator, numbers)
    raise InputError("unknown cameras", repr(spec), "universal, muco, photos, panoptic, panoptic:14, mupots, mupots:6 or FILE.json")


def _rig(rows, n, generator, size):
    """n rows drawn from [(x, y, z mm, pitch, yaw, roll degree, focal px)] as cameras."""
    table = torch.tensor(rows, dtype=torch.float64, device=generator.device)
    pick = table[torch.randint(len(rows), (n,), generator=generator, device=generator.device)]
    pitch, yaw, roll = pick[:, 3:6].unbind(-1)
    return _from_angles(pitch, torch.deg2rad(yaw), torch.deg2rad(roll), pick[:, :3], pick[:, 6], size)


def _from_angles(pitch_deg, yaw, roll, centre, focal, size):
    camera = Camera.from_angles(torch.deg2rad(pitch_deg), yaw, roll, centre, focal, size)
    return camera.to(centre.device)


def _known(numbers, known, what):
    wrong = [i for i in numbers if i not in known]
    if wrong or not len(numbers):
        raise InputError(f"no {what} {', '.join(map(str, wrong)) or '(none given)'}", None, f"known: {', '.join(map(str, known))}")
