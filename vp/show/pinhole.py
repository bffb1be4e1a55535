"""The scene behind the paper's Fig. 1, as pure functions: every number and every line that the explorer, its stills and its page show.

A camera stands `height_mm` above the floor, looks along world X and down by `pitch_deg`; a person stands in front of it, turned by
FACING, mid-hip at depth `depth_mm` (z in the camera frame).  The *body* is the 17 joints and the contact, the floor point under the
lowest joints; the exact height in the image is the body's extent in v.  Three modes:

* free: the person alone;
* family: another person, `scale` times as tall, seen with `zoom` times the focal length, at scale x zoom times the depth, its mid-hip
  in the same pixel.  At zoom 1 every pixel is the same, at any other the height agrees up to perspective;
* floor: camera height and pitch are known, the latter up to `pitch_error_deg` (believed minus true).  The ray through the contact pixel
  meets the believed floor at one depth, and so picks one member of the family.
"""

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch

from vp.camera import Camera, depth_from_floor, depth_from_height, image_height
from vp.errors import InputError
from vp.show import style
from vp.show.plot import FRUSTUM_EDGES, array, frustum, polyline
from vp.skeleton import JOINTS_17
from vp.world.poses import POSTURES, person, posture_factor

SIZE = (1920, 1080)
FACING = math.radians(-145)  # three-quarter view: towards the camera, turned so that the posture shows
ROOT, HEAD = JOINTS_17.root_index, JOINTS_17.index("head")
GHOSTS = (0.8, 0.9, 1.1, 1.2)  # members of the family drawn along
SPREAD, DEGREE = 0.05, math.radians(1)
NEAR = 100.0  # mm: floor lines are cut here
FAR = (6, 9, 12, 18, 24, 36)  # m: how far the drawing may reach
MODES = {"free": "one person", "family": "same picture", "floor": "known floor"}
SLIDERS = {  # field: (label, unit, low, high, step)
    "focal_px": ("focal length f", "px", 500, 3000, 10),
    "stature_mm": ("stature h_real", "mm", 1000, 2200, 10),
    "pitch_deg": ("camera pitch θ", "°", -15, 50, 0.5),
    "height_mm": ("camera height", "mm", 300, 4000, 50),
    "depth_mm": ("depth d", "mm", 1500, 10000, 50),
    "scale": ("stature times s", "", 0.6, 1.5, 0.01),
    "zoom": ("focal length times k", "", 0.5, 2, 0.05),
    "pitch_error_deg": ("pitch error", "°", -5, 5, 0.1),
}
SLIDERS_OF = {"free": (), "family": ("scale", "zoom"), "floor": ("pitch_error_deg",)}


HEADLINES = {
    "free": "One person, one picture. Move one factor at a time: which ones change the height in the image?",
    "family": "Same picture: every person along these rays covers the same pixels. Without stature there is no depth.",
    "zoom": "Focal length traded for depth: about the same height in the image; what differs is perspective.",
    "floor": "Known floor: the ray through the feet meets it once. Of the whole family, one person is left.",
    "wrong": "Known floor, wrong pitch: the ray meets a tilted floor, and the wrong member of the family is picked.",
    "horizon": "With this pitch error the ray through the feet never meets the believed floor: no depth at all.",
}
COLOURS = {
    "person": style.BLUE, "member": style.VERMILLION, "ghost": "#9CA3AF", "floor": style.GREEN, "ray": style.ORANGE,
    "ink": style.INK, "quiet": style.QUIET, "faint": style.FAINT, "measure": style.INK, "paper": "#F8FAFC",
}  # fmt: skip


@dataclass(frozen=True)
class PinholeState:
    """Everything the controls set; InputError for what no camera or person can be."""

    focal_px: float = 1400.0
    stature_mm: float = 1750.0
    posture: str = "standing"
    pitch_deg: float = 0.0  # positive looks down
    height_mm: float = 1200.0
    depth_mm: float = 4000.0
    mode: str = "free"
    scale: float = 1.0
    zoom: float = 1.0
    pitch_error_deg: float = 0.0  # believed minus true

    def __post_init__(self):
        for name, known in (("posture", POSTURES), ("mode", MODES)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} {getattr(self, name)!r} is unknown", "pinhole explorer", f"known: {', '.join(known)}")
        for name in SLIDERS:
            value = getattr(self, name)
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
            if not number or (value <= 0 if "deg" not in name else abs(value) > 80):
                raise InputError(f"{name} = {value!r} is impossible", "pinhole explorer", "lengths > 0, angles within ±80°")


@lru_cache(maxsize=32)
def body(posture):
    """A person of stature 1 facing FACING: 17 joints and the contact (18, 3), mid-hip above the origin; γ.  Scales with stature."""
    joints = person(posture, 1.0, yaw=FACING)
    low = joints[joints[:, 2] < joints[:, 2].min() + 1e-3].mean(0)
    return torch.vstack([joints, low * torch.tensor([1.0, 1.0, 0.0])]), float(posture_factor(joints, 1.0))


@lru_cache(maxsize=64)
def camera_of(focal_px, pitch_deg, height_mm):
    """The explorer's camera: above the world's origin, looking along X and down by `pitch_deg`."""
    return Camera.from_angles(math.radians(pitch_deg), 0.0, centre=(0.0, 0.0, height_mm), focal=focal_px, size=SIZE)


@dataclass(frozen=True)
class View:
    """What follows from a state; mm, px; a number is NaN where it does not exist (behind the camera, above the horizon)."""

    state: PinholeState
    camera: Camera
    points: np.ndarray  # 18 3, the body in the world
    cam: np.ndarray  # 18 3, in the camera frame
    uv: np.ndarray  # 18 2
    member: np.ndarray  # 18 3, the member of the family that the mode is about (free: the person itself)
    member_uv: np.ndarray  # 18 2, in the member's own image
    gamma: float  # h_pose / h_real
    h_img: float  # exact, px
    h_fig1: float  # by Fig. 1, px
    h_error_pct: float  # Fig. 1 against exact
    depth_fig1: float  # Fig. 1 solved for d, from the exact h_img and the true stature
    stature_cost: float  # how much that depth grows with a stature SPREAD larger
    floor_depth: float  # depth of the contact by the (believed) floor
    floor_ahead: float  # its distance along the floor
    contact_depth: float  # truth for both
    contact_ahead: float
    degree_less: float  # change of floor_ahead if the pitch is believed 1° smaller than it is
    degree_more: float
    horizon_shift: float  # believed minus true horizon, px downwards
    member_scale: float
    member_stature: float
    member_depth: float  # of mid-hip
    member_focal: float
    member_float: float  # height of the contact above the floor
    member_camera: float  # camera height that would put it on the floor
    member_shift: float  # largest shift of a body point in the picture, px

    @property
    def numbers(self):
        """All numbers by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.type is float or f.type == "float"}


def floor_point(height, pitch, slope):
    """Depth and distance along the floor, mm, of the floor point on a ray `slope` = (v - cy) / f; NaN above the horizon.

    `depth_from_floor` with the horizon respected; ahead = depth (cos θ - slope sin θ), which is height / tan(θ + atan slope).
    """
    if math.sin(pitch) + slope * math.cos(pitch) <= 0:
        return math.nan, math.nan
    depth = float(depth_from_floor(1.0, height, pitch, slope))
    return depth, depth * (math.cos(pitch) - slope * math.sin(pitch))


def family(cam, scale, zoom=1.0):
    """Body (18, 3) mm, camera frame -> the member `scale` times as tall at scale x zoom times the depth, mid-hip in the same pixel."""
    root = cam[..., ROOT : ROOT + 1, :]
    return scale * (cam - root) + scale * root * np.array([1.0, 1.0, zoom])


def solve(state):
    """The `View` of a state: Fig. 1 and §2, beside the exact projection."""
    s, theta = state, math.radians(state.pitch_deg)
    camera = camera_of(s.focal_px, s.pitch_deg, s.height_mm)
    unit, gamma = body(s.posture)
    points = unit * s.stature_mm
    points[:, 0] += (s.depth_mm - (s.height_mm - points[ROOT, 2]) * math.sin(theta)) / math.cos(theta)
    cam = camera.to_camera(points)
    uv = array(camera.project_camera(cam)[0])
    h_img = float(uv[:, 1].max() - uv[:, 1].min())
    h_fig1 = float(image_height(s.focal_px, gamma, s.stature_mm, theta, s.depth_mm))
    depth_fig1 = float(depth_from_height(s.focal_px, gamma, s.stature_mm, theta, h_img))
    cam = array(cam)

    cy = float(camera.c[1])
    slope = float(uv[-1, 1] - cy) / s.focal_px
    error = math.radians(s.pitch_error_deg) if s.mode == "floor" else 0.0
    ahead, (floor_depth, floor_ahead) = float(points[-1, 0]), floor_point(s.height_mm, theta + error, slope)
    less, more = (floor_point(s.height_mm, theta + e, slope)[1] - ahead for e in (-DEGREE, DEGREE))

    scale, zoom = {"free": (1.0, 1.0), "family": (s.scale, s.zoom), "floor": (floor_depth / float(cam[-1, 2]), 1.0)}[s.mode]
    member_cam = family(cam, scale, zoom)
    member = array(camera.to_world(torch.from_numpy(member_cam)))
    other = camera if zoom == 1 else camera_of(zoom * s.focal_px, s.pitch_deg, s.height_mm)
    member_uv = array(other.project_camera(torch.from_numpy(member_cam))[0])
    return View(
        s, camera, array(points), cam, uv, member, member_uv, gamma, h_img, h_fig1, 100 * (h_fig1 / h_img - 1), depth_fig1,
        SPREAD * depth_fig1, floor_depth, floor_ahead, float(cam[-1, 2]), ahead, less, more,
        s.focal_px * (math.tan(theta) - math.tan(theta + error)), scale, scale * s.stature_mm, float(member_cam[ROOT, 2]),
        zoom * s.focal_px, float(member[-1, 2]), s.height_mm - float(member[-1, 2]), float(np.linalg.norm(member_uv - uv, axis=1).max()),
    )  # fmt: skip


# ---- words ---------------------------------------------------------------------------------------------------------------------


def _f(x, digits=0):
    return "—" if math.isnan(x) else f"{x:.{digits}f}".replace("-", "−")


def _d(x, digits=0):
    """With its sign; plain 0 where it rounds to nothing."""
    if math.isnan(x):
        return "—"
    return "0" if abs(x) < 0.5 * 10**-digits else f"{x:+.{digits}f}".replace("-", "−")


def headline(view):
    """One sentence saying what the mode shows."""
    s = view.state
    if s.mode == "family":
        return HEADLINES["family" if s.zoom == 1 else "zoom"]
    if s.mode == "floor" and s.pitch_error_deg != 0:
        return HEADLINES["horizon" if math.isnan(view.floor_depth) else "wrong"]
    return HEADLINES[s.mode]


def readout(view):
    """What the picture means in numbers: rows (what, value, remark)."""
    s, v, size = view.state, view, np.array(SIZE)
    out = 18 - int(((v.uv >= -0.5) & (v.uv < size - 0.5)).all(-1).sum())
    off = v.floor_ahead - v.contact_ahead
    rows = [
        ("height in the image, exact", f"{_f(v.h_img, 1)} px", f"{out} of 18 body points outside the image" if out else "top to sole"),
        ("Fig. 1:  f · γ · h_real · cos θ / d", f"{_f(v.h_fig1, 1)} px", f"{_d(v.h_error_pct, 1)} % off"),
        ("posture factor γ", _f(v.gamma, 3), f"h_pose {_f(v.gamma * s.stature_mm)} mm"),
        ("depth by Fig. 1, stature known", f"{_f(v.depth_fig1)} mm", f"{_d(v.depth_fig1 - s.depth_mm)} mm off"),
        ("5 % spread of stature costs", f"±{_f(v.stature_cost)} mm", "of depth"),
        ("1° of pitch error costs", f"{_d(v.degree_more)} / {_d(v.degree_less)} mm", "along the floor: too steep / too flat"),
    ]
    if s.mode == "family":
        side = "above" if v.member_float > 0 else "below"
        feet = "on the floor" if abs(v.member_float) < 0.5 else f"{_f(abs(v.member_float))} mm {side} floor"
        rows += [
            ("the other person", f"{_f(v.member_stature)} mm tall", f"at {_f(v.member_depth)} mm, f = {_f(v.member_focal)} px"),
            ("its feet", feet, f"right for a camera at {_f(v.member_camera)} mm"),
            ("largest shift in the image", f"{_f(v.member_shift, 1)} px", "of any joint"),
        ]
    if s.mode == "floor":
        rows += [
            ("feet by the floor", f"{_f(v.floor_ahead)} mm ahead", f"{_d(off)} mm off"),
            ("the person it picks", f"{_f(v.member_stature)} mm tall", f"at {_f(v.member_depth)} mm"),
            ("believed horizon", f"{_f(abs(v.horizon_shift), 1)} px", f"{'above' if v.horizon_shift < 0 else 'below'} the true one"),
        ]
    return rows


def describe(view):
    """Text alternative of the still: the state and the numbers that matter."""
    s, v = view.state, view
    text = (
        f"Pinhole camera {_f(s.height_mm)} mm above the floor, pitch {_f(s.pitch_deg, 1)}°, focal length {_f(s.focal_px)} px. "
        f"A person of {_f(s.stature_mm)} mm, {s.posture}, at depth {_f(s.depth_mm)} mm is {_f(v.h_img, 1)} px high in the image; "
        f"Fig. 1 gives {_f(v.h_fig1, 1)} px."
    )
    if s.mode == "family":
        text += (
            f" Others give the same picture, among them one of {_f(v.member_stature)} mm at {_f(v.member_depth)} mm with "
            f"{_f(v.member_focal)} px, feet {_f(abs(v.member_float))} mm {'above' if v.member_float > 0 else 'below'} the floor."
        )
    if s.mode == "floor":
        text += (
            f" With the floor known and a pitch error of {_f(s.pitch_error_deg, 1)}°, the feet are put {_f(v.floor_ahead)} mm ahead "
            f"instead of {_f(v.contact_ahead)} mm and the person at depth {_f(v.member_depth)} mm."
        )
    return text


# ---- lines -----------------------------------------------------------------------------------------------------------------------


def reach(view):
    """Extent of the drawn world: lows and highs ((x, y, z), (x, y, z)) in metre, in coarse steps so that the view keeps still."""
    shown = [view.points]
    if view.state.mode != "free":
        shown += [view.member, array(view.camera.to_world(torch.from_numpy(family(view.cam, GHOSTS[-1], _zoom(view)))))]
    xyz = np.vstack(shown) / 1000
    far = next((x for x in FAR if np.nanmax(xyz[:, 0]) < x), FAR[-1])
    low = min(0, math.floor(np.nanmin(xyz[:, 2]) + 0.05))
    return (-0.5, -1.0, low - 0.1), (far, 1.0, math.ceil(max(view.state.height_mm / 1000, np.nanmax(xyz[:, 2])) + 0.2))


def _zoom(view):
    return view.state.zoom if view.state.mode == "family" else 1.0


@lru_cache(maxsize=16)
def _grid(far):
    """Floor lines every metre, (n, 2, 3) mm: x from 0 to `far` m, y within ±1 m."""
    along = [[(0, y, 0), (far, y, 0)] for y in (-1, 0, 1)]
    across = [[(x, -1, 0), (x, 1, 0)] for x in range(far + 1)]
    return np.array(along + across, dtype=np.float64) * 1000


def _gaps(lines):
    """(n, m, D) lines -> (n (m + 1), D) with a NaN row after each."""
    return np.concatenate([lines, np.full_like(lines[:, :1], np.nan)], 1).reshape(-1, lines.shape[-1])


def _image_lines(camera, lines):
    """World lines (n, 2, 3) mm, cut at depth NEAR -> pixels with gaps (3 n, 2)."""
    a, b = array(camera.to_camera(torch.from_numpy(lines))).transpose(1, 0, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        k = ((NEAR - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, None]
        cut = a + k * (b - a)
    ab = np.stack([np.where(a[:, 2:] < NEAR, cut, a), np.where(b[:, 2:] < NEAR, cut, b)], 1)
    ab[(a[:, 2] < NEAR) & (b[:, 2] < NEAR)] = np.nan
    return _gaps(array(camera.project_camera(torch.from_numpy(ab))[0]))


def traces(view):
    """Every line of the picture: name -> (n, 3) world in metre, or, if it begins with image_, (n, 2) px; NaN rows are gaps."""
    s, camera, limbs = view.state, view.camera, JOINTS_17.limb_pairs
    far, centre, forward, nothing = reach(view)[1][0], np.array([0.0, 0.0, s.height_mm]), array(camera.R)[2], np.empty((0, 3))
    top, bottom = np.argmin(view.uv[:, 1]), np.argmax(view.uv[:, 1])
    length = max(1.0, view.member_scale if math.isfinite(view.member_scale) else 1.0, GHOSTS[-1] if s.mode != "free" else 1.0)
    ends = view.points[[top, -1]]
    out = {
        "floor": _gaps(_grid(far)),
        "camera": polyline(frustum(camera, 700), FRUSTUM_EDGES),
        "axis": np.stack([centre, centre + forward * far * 1000 * 0.9]),
        "rays": _gaps(np.stack([np.stack([centre, centre + (e - centre) * length]) for e in ends])),
        "depth": np.stack([centre, centre + forward * s.depth_mm, view.points[ROOT]]),
        "person": np.vstack([polyline(view.points, limbs), view.points[HEAD]]),
        "ghosts": nothing, "member": nothing, "believed_floor": nothing, "contact": nothing,
    }  # fmt: skip
    if s.mode != "free":
        ghosts = [family(view.cam, g, _zoom(view)) for g in GHOSTS]
        world = array(camera.to_world(torch.from_numpy(np.stack(ghosts))))
        out["ghosts"] = np.vstack([polyline(g, limbs) for g in world])
        out["member"] = np.vstack([polyline(view.member, limbs), view.member[HEAD]])
    if s.mode == "floor":
        believed = camera_of(s.focal_px, s.pitch_deg + s.pitch_error_deg, s.height_mm)
        lines = _grid(min(far, 12))
        out["believed_floor"] = _gaps(array(camera.to_world(believed.to_camera(torch.from_numpy(lines)))))
        out["contact"] = view.member[-1:]
    out = {name: xyz / 1000 for name, xyz in out.items()}

    (w, h), (u0, u1) = SIZE, (np.min(view.uv[:, 0]), np.max(view.uv[:, 0]))
    cy, (v0, v1) = float(camera.c[1]), (view.uv[top, 1], view.uv[bottom, 1])
    x, side = (u0 - 70, -1) if u0 > 330 else (u1 + 70, 1)  # the measure stands beside the body, its label beside the measure
    horizon, believed = cy - s.focal_px * math.tan(math.radians(s.pitch_deg)), s.mode == "floor"
    line = [[-0.5, horizon], [w - 0.5, horizon]]
    out["image_floor"] = _image_lines(camera, _grid(far))
    out["image_horizon"] = np.array(line)
    out["image_believed"] = np.array(line) + np.array([0, view.horizon_shift]) if believed else np.empty((0, 2))
    out["image_person"] = np.vstack([polyline(view.uv, limbs), view.uv[HEAD]])
    out["image_member"] = np.vstack([polyline(view.member_uv, limbs), view.member_uv[HEAD]]) if s.mode != "free" else np.empty((0, 2))
    nan = [np.nan, np.nan]
    out["image_height"] = np.array([[x - 25, v0], [x + 25, v0], nan, [x, v0], [x, v1], nan, [x - 25, v1], [x + 25, v1]])
    out["image_label"] = np.array([[x + 40 * side, np.clip((v0 + v1) / 2, 60, h - 60)]])
    return out
