"""The camera of a photo: read from a file, else its focal length from EXIF or assumed, its pitch and height fitted to the people in it.

Of a standing person the picture shows where the feet are and how high shoulders and eyes are above them.  Before a camera h mm above a
floor that carries everybody, without roll, a pixel with normalised coordinate y looks b = sin θ + y cos θ down per a = cos θ - y sin θ
ahead; with q = (a_foot b_top) / (b_foot a_top), the same person is

    S = h (1 - q) / (share_top - share_foot q)        (share: height of the joint above the sole, of the stature S)

tall.  Statures of adults are known (1.70 m, s.d. 0.10 m), so each person says how likely a pitch θ and a height h are.  This and a weak
prior are added up on a grid; what is reported is the mean and one standard deviation of that posterior, given the focal length.
Not in the paper, which takes 1400 px and pitch 0 for photos (§5.4, Fig. 4).
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vp.camera import Camera
from vp.data.files import make_camera
from vp.data.panoptic import camera_name, read_calibration
from vp.errors import InputError
from vp.skeleton import JOINTS_15
from vp.world.body import SOLE

FOCAL, WIDTH = 1400.0, 1920.0  # px, the paper's focal length for photos (§5.4), at the width of the images it was trained on
FOCAL_SHARE = {"camera": 0.0, "flag": 0.0, "EXIF": 0.05, "guess": 0.2}  # relative s.d. of the focal length, by its source; ours
PITCH, HEIGHT = 0.0, 1500.0  # degree (the paper's), mm (ours): of photos that do not tell
STATURE = (1700.0, 100.0)  # mm, mean and s.d. of adults
SHARES = {"hips": 0.530, "neck": 0.818, "eyes": 0.936}  # of the stature, above the sole (Winter); neck: the line between the shoulders
TRUNK = 0.06  # s.d. of the logarithm of what hips and neck say of one stature; ours
PRIOR_PITCH, PRIOR_HEIGHT = (5.0, 15.0), (1600.0, 0.45)  # degree, mean and s.d.; mm and s.d. of its logarithm; ours, weak
POSTURE = {"standing": (0.0, 0.03), "stooping": (-0.10, 0.10)}  # logarithm of height / stature, mean and s.d.; ours
OUTLIER = 0.1  # share of people who stand on something else, are children, or were taken for standing
PITCHES = torch.arange(-30.0, 70.25, 0.5, dtype=torch.float64)  # degree
FARTHEST = 1e8  # mm from the world's origin: 100 km
HEIGHTS = torch.logspace(math.log10(200), 4, 200, dtype=torch.float64)  # mm


@dataclass(frozen=True)
class Guess:
    """pitch_deg, height_mm with their s.d. (0 where given);  people: on how many it stands;  unsure: too little to rely on."""

    pitch_deg: float
    height_mm: float
    pitch_sd: float
    height_sd: float
    people: int

    @property
    def unsure(self):
        return self.pitch_sd > 6.0 or self.height_sd > 0.25 * self.height_mm


# ---- focal length ----------------------------------------------------------------------------------------------------------------------


def exif_focal(photo, size):
    """Focal length px of a photo by its EXIF entry "35 mm equivalent" (36 mm x 24 mm, by the diagonal as CIPA says), or None."""
    from PIL import Image

    from vp.data import photo as photos

    try:
        with photos.quiet(), Image.open(photo) as picture:
            equivalent = float(picture.getexif().get_ifd(0x8769).get(0xA405) or 0)
    except photos.UNREADABLE:
        return None
    if not 5 <= equivalent <= 1500:  # 0: unknown
        return None
    return equivalent / math.hypot(36, 24) * math.hypot(*size)


def guessed_focal(size):
    """The paper's 1400 px, scaled with the longer side of the image."""
    return FOCAL * max(size) / WIDTH


# ---- cameras from files ----------------------------------------------------------------------------------------------------------------


def read_camera(text):
    """(Camera, placed) of `--camera`: placed is False where the file has intrinsics only (then pitch 0 and height 0).  InputError.

    text: our JSON;  "calibration.json:00_16" of Panoptic;  OpenCV intrinsics as JSON or YAML: K (or camera_matrix), dist (or dist_coeffs,
    distortion_coefficients), optional image_width and image_height (else the size is (0, 0), that of the image at hand).
    """
    path, _, entry = str(text).rpartition(":") if ":" in Path(text).name else (str(text), "", "")
    if not Path(path).is_file():
        raise InputError("no such camera file", path, "our JSON, OpenCV's JSON or YAML, or CALIBRATION.json:00_16")
    try:
        data = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as e:
        if Path(path).suffix.lower() not in (".yml", ".yaml", ".xml"):
            raise InputError(f"cannot be read as a camera ({e})", path) from None
        data = _opencv_file(path)
    if isinstance(data, dict) and "cameras" in data:
        cameras = read_calibration(path)
        name = camera_name(entry) if entry else ""
        if name not in cameras:
            raise InputError(f"no camera {entry or '(none named)'}", path, f"name one: {path}:{next(iter(cameras))}, ...")
        return plausible(cameras[name][0], path), True
    if entry:
        raise InputError("one camera only, nothing to choose", f"{path}:{entry}")
    if isinstance(data, dict) and "R" in data and "f" in data:
        return plausible(Camera.from_dict(data, path), path), True
    return plausible(_intrinsics(data, path), path), False


def plausible(camera, where):
    """The camera; InputError if no camera has such a focal length, principal point, position or lens."""
    f, c, far = camera.f, camera.c, float(camera.centre.abs().max())
    if max(camera.size) > 100_000:
        raise InputError(f"a camera for images of {max(camera.size):.4g} px", where, "at most 100000")
    longest = float(max(camera.size)) or 2 * float(c.abs().max())
    if not bool(((f >= 0.01 * longest) & (f <= 1000 * longest)).all()) or float(f.max() / f.min()) > 10:
        raise InputError(f"a focal length of {f[0]:.4g} x {f[1]:.4g} px at an image of {longest:.0f} px", where, "it cannot be right")
    if not bool((c.abs() <= 3 * longest).all()):
        raise InputError(f"a principal point at {c[0]:.4g}, {c[1]:.4g} px", where, f"far outside the image of {longest:.0f} px")
    if not far <= FARTHEST:
        raise InputError(f"a camera {far / 1e6:.4g} km from the origin", where, "lengths are in mm")
    if camera.dist is not None and float(camera.dist.abs().max()) > 100:
        raise InputError(f"a distortion coefficient of {float(camera.dist.abs().max()):.4g}", where, "it cannot be right")
    return camera


def _opencv_file(path):
    """OpenCV's own YAML or XML as a dict of arrays and numbers."""
    import cv2

    try:
        store = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
        root = store.root()
        out = {}
        for key in root.keys():  # noqa: SIM118 (not a dict)
            node = root.getNode(key)
            if node.isReal() or node.isInt():
                out[key] = node.real()
            elif node.isMap():
                matrix = node.mat()
                out[key] = matrix if matrix is not None else [node.getNode("data").at(i).real() for i in range(node.getNode("data").size())]
            elif node.isSeq():
                out[key] = [node.at(i).real() for i in range(node.size())]
        store.release()
        return out
    except (cv2.error, SystemError):
        raise InputError("cannot be read as OpenCV's YAML", path, "it begins with %YAML:1.0") from None


def _intrinsics(data, path):
    def find(*names):
        value = next((data[n] for n in names if n in data), None) if isinstance(data, dict) else None
        return value.get("data") if isinstance(value, dict) else value

    K = find("K", "camera_matrix", "cameraMatrix", "intrinsics", "mtx")
    if K is None:
        raise InputError("not a camera", path, 'our keys "R", "t", "f", "c", "size", or OpenCV\'s "K" and "dist"')
    try:
        K = np.asarray(K, dtype=np.float64).reshape(3, 3)
        dist = find("dist", "dist_coeffs", "distCoeffs", "distortion_coefficients", "distCoef")
        dist = np.zeros(0) if dist is None else np.asarray(dist, dtype=np.float64).ravel()
        size = [int(find(a, b, c) or 0) for a, b, c in (("image_width", "width", "w"), ("image_height", "height", "h"))]
    except (ValueError, TypeError, OverflowError):
        raise InputError('"K" must be 3 x 3 numbers, "dist" a row of numbers', path) from None
    if dist[5:].any():
        raise InputError(f"{len(dist)} distortion coefficients", path, "known are OpenCV's first five, k1 k2 p1 p2 k3")
    dist = np.pad(dist[:5], (0, 5 - len(dist[:5])))
    flat = level((1000.0, 1000.0))
    known = all(size)
    camera = make_camera(flat.R.numpy(), flat.t.numpy(), K[[0, 1], [0, 1]], K[:2, 2], size if known else (1, 1), dist, path)
    camera.size = tuple(size) if known else (0, 0)
    return camera


def level(size, focal=FOCAL, pitch_deg=0.0, height=0.0):
    """A camera above the world's origin that looks along X, without roll."""
    return Camera.from_angles(math.radians(pitch_deg), 0.0, 0.0, (0.0, 0.0, float(height)), float(focal), size)


def placed(camera, pitch_deg, height):
    """The same lens at this pitch and height (mm) above the world's origin, looking along X."""
    there = level(camera.size, 1.0, pitch_deg, height)
    return Camera(there.R, there.t, camera.f, camera.c, camera.size, camera.dist)


# ---- pitch and height from the people ----------------------------------------------------------------------------------------------


def upright(px, known):
    """Who can tell about the floor: list of (row, "standing" | "stooping"), from joints px (P, 15, 2), known (P, 15).

    Needs shoulders, hips, an ankle and its knee; the trunk and the line to the feet are within 30 degree of the image's vertical.
    Standing: a knee straighter than 155 degree and a thigh as long as its shank; stooping: less, but not squatting or seated.
    """
    out = []
    at = JOINTS_15.index
    for i, (p, ok) in enumerate(zip(px.tolist(), known.tolist())):
        legs = [s for s in ("left", "right") if ok[at(f"{s}_ankle")] and ok[at(f"{s}_knee")] and ok[at(f"{s}_hip")]]
        if not legs or not (ok[at("neck")] and ok[at("mid_hip")]):
            continue
        knees = [_angle(p[at(f"{s}_hip")], p[at(f"{s}_knee")], p[at(f"{s}_ankle")]) for s in legs]
        foot = np.mean([p[at(f"{s}_ankle")] for s in legs], 0)
        neck, hip = np.array(p[at("neck")]), np.array(p[at("mid_hip")])
        trunk, leg = hip - neck, foot - hip
        if trunk[1] <= 0 or leg[1] <= 0 or max(abs(trunk[0] / trunk[1]), abs(leg[0] / leg[1])) > math.tan(math.radians(30)):
            continue
        share = leg[1] / np.linalg.norm(trunk)  # 1.7 of who stands, seen from his own height, and 0.7 from near and high above
        thigh = max(_length(p[at(f"{s}_hip")], p[at(f"{s}_knee")]) / _length(p[at(f"{s}_knee")], p[at(f"{s}_ankle")]) for s in legs)
        if max(knees) > 155 and 0.6 < share < 2.6 and thigh > 0.75:  # thighs that point at the camera are short: somebody sits
            out.append((i, "standing"))
        elif max(knees) > 110 and share > 1.0:
            out.append((i, "stooping"))
    return out


def _angle(a, b, c):
    """Degree at b between a and c."""
    a, b, c = map(np.asarray, (a, b, c))
    cos = np.dot(a - b, c - b) / max(np.linalg.norm(a - b) * np.linalg.norm(c - b), 1e-9)
    return math.degrees(math.acos(np.clip(cos, -1, 1)))


def _length(a, b):
    return max(math.dist(a, b), 1e-9)


def from_people(camera, px, known, eyes, pitch_deg=None, height_mm=None):
    """`Guess` of pitch and height from people's joints px (P, 15, 2), known (P, 15) bool, eyes (P, 2) px (NaN: unknown); or None.

    camera: a single one, of which f, c and dist count;  pitch_deg, height_mm: what is known already.  None: nobody stands, or nothing is
    asked.  One person alone hardly tells a pitch from a height; the prior decides then, and the s.d. says so.
    """
    who = upright(px, known)
    if not who or (pitch_deg is not None and height_mm is not None):
        return None
    pitches = PITCHES if pitch_deg is None else torch.tensor([float(pitch_deg)], dtype=torch.float64)
    heights = HEIGHTS if height_mm is None else torch.tensor([float(height_mm)], dtype=torch.float64)
    s, c, log = torch.deg2rad(pitches).sin(), torch.deg2rad(pitches).cos(), heights.log()
    total = -0.5 * ((pitches - PRIOR_PITCH[0]) / PRIOR_PITCH[1]).square()[:, None]
    total = total - 0.5 * ((log - math.log(PRIOR_HEIGHT[0])) / PRIOR_HEIGHT[1]).square()
    at = JOINTS_15.index
    for i, posture in who:
        ankles = [j for j in (at("left_ankle"), at("right_ankle")) if known[i, j]]
        foot = px[i, ankles].mean(0)
        tops = {"hips": px[i, at("mid_hip")], "neck": px[i, at("neck")]} | ({"eyes": eyes[i]} if eyes[i].isfinite().all() else {})
        y, ok = camera.normalise(torch.stack([foot, *tops.values()]).to(camera.f))
        if not ok.all():
            continue
        y = y[:, 1]
        a, b = c[:, None] - y * s[:, None], s[:, None] + y * c[:, None]  # pitches x points
        q = a[:, :1] * b[:, 1:] / (b[:, :1] * a[:, 1:])
        share = torch.tensor([SHARES[k] for k in tops], dtype=torch.float64)
        g = (1 - q) / (share - SOLE * q)  # stature / height of the camera
        fine = (b[:, 0] > 1e-4) & (a > 1e-3).all(1) & (g > 0).all(1)
        logs = torch.where(fine[:, None], g, 1e-3).log()
        g, bend = logs[:, 1:].mean(1), logs[:, 0] - logs[:, 1]
        tall = (foot[1] - tops["neck"][1]).clamp(min=1.0)
        px_error = (1.0 + 0.015 * tall) / camera.f[1]  # how well the feet and the neck are placed; ours
        blur = (px_error / b[:, 0].clamp(min=1e-4)) ** 2 + 2 * (px_error / (y[0] - y[1]).clamp(min=1e-6)) ** 2
        mean, sd = POSTURE[posture]
        variance = (STATURE[1] / STATURE[0]) ** 2 + sd**2 + blur.clamp(max=1.0)
        off = g[:, None] + log - math.log(STATURE[0]) - mean  # pitches x heights
        leaning = TRUNK**2 + sd**2 + 2 * (px_error / (y[0] - y[1]).clamp(min=1e-6)) ** 2
        agree = torch.exp(-0.5 * bend.square() / leaning) * fine
        inlier = torch.exp(-0.5 * off.square() / variance[:, None]) / variance.sqrt()[:, None] * agree[:, None]
        outlier = torch.exp(-0.5 * off.square().clamp(max=50.0))  # s.d. of one: a factor of e
        total = total + ((1 - OUTLIER) * inlier + OUTLIER * outlier).log()
    weight = (total - total.max()).exp()
    weight = weight / weight.sum()
    p, h = weight.sum(1), weight.sum(0)
    pitch, height = float((p * pitches).sum()), float((h * log).sum().exp())
    pitch_sd = float((p * (pitches - pitch).square()).sum().sqrt())
    height_sd = float((h * (heights - height).square()).sum().sqrt())
    return Guess(pitch, height, pitch_sd, height_sd, len(who))
