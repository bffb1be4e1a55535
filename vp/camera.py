"""The pinhole camera, batched and differentiable, and the relations of the paper's Fig. 1.

Conventions (stated here, tested in tests/test_camera.py, used everywhere)

* World: right-handed, mm, **Z up**, floor Z = 0.  Camera: x right, y down, z forward (OpenCV).  `x_cam = R @ x_world + t`, t in mm.
* Depth is z in the camera frame (not the distance along the ray).
* Pixels: the *integer* coordinate is the pixel *centre*; an image of width w covers [-0.5, w - 0.5).
* Image -> map of another size: `u' = (u + 0.5) * k - 0.5`, k = new / old size (`rescale`); a stride of 4 is k = 1/4.
* Samplers: `to_grid` gives the [-1, 1] coordinates for `torch.nn.functional.grid_sample(..., align_corners=False)`.
* Lens distortion: OpenCV order k1 k2 p1 p2 k3, on normalised coordinates.
* Pitch: positive looks down.  Roll: positive when the camera's right side points up.  Yaw: direction of the *target seen from
  the camera*, as an angle about world Z from world X.  Radian inside; `pitch_deg` and the like at the edges only.
* Every projection returns `(uv, depth, valid)`; a point is invalid if it is not finite, not in front of the camera or beyond the
  radius where the distortion polynomial folds back.  Invalid pixels are NaN: nothing is clamped.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from vp.errors import InputError

MIN_DEPTH = 10.0  # mm; nearer points are not projected (the published code uses 0.01 with a silent clamp)


@dataclass
class Camera:
    """One camera, or a batch with any leading shape `...`.

    R (..., 3, 3);  t (..., 3) mm;  f (..., 2) px;  c (..., 2) px;  dist (..., 5) k1 k2 p1 p2 k3, or None;  size (width, height) px.
    """

    R: torch.Tensor
    t: torch.Tensor
    f: torch.Tensor
    c: torch.Tensor
    size: tuple
    dist: torch.Tensor | None = None

    # ---- making cameras ------------------------------------------------------------------------------------------------------

    @classmethod
    def from_angles(cls, pitch, yaw, roll=0.0, centre=(0.0, 0.0, 1500.0), focal=1400.0, size=(1920, 1080)):
        """Camera at `centre` (..., 3) mm looking along yaw and down by pitch, radian; focal in px.

        pitch, yaw, roll, focal and the leading shape of centre may have any shapes that broadcast to `...`; InputError if they do not.
        """
        parts = [torch.as_tensor(a, dtype=torch.float64) for a in (pitch, yaw, roll, focal, centre)]
        try:
            pitch, yaw, roll, f, _ = torch.broadcast_tensors(*parts[:4], parts[4][..., 0])
            centre = parts[4].expand(*f.shape, 3)
        except (RuntimeError, IndexError):
            shapes = ", ".join(str(tuple(a.shape)) for a in parts)
            raise InputError(f"pitch, yaw, roll, focal and centre of shape {shapes} do not broadcast", "camera") from None
        cp, sp, cy, sy, cr, sr = pitch.cos(), pitch.sin(), yaw.cos(), yaw.sin(), roll.cos(), roll.sin()
        forward = torch.stack([cy * cp, sy * cp, -sp], -1)
        level = torch.stack([sy, -cy, torch.zeros_like(cy)], -1)  # right-hand side without roll
        drop = torch.cross(forward, level, dim=-1)  # image-down without roll
        right = cr[..., None] * level - sr[..., None] * drop
        down = sr[..., None] * level + cr[..., None] * drop
        R = torch.stack([right, down, forward], -2)
        c = torch.tensor([(size[0] - 1) / 2, (size[1] - 1) / 2], dtype=torch.float64).expand_as(centre[..., :2])
        return cls(R, -(R @ centre[..., None])[..., 0], f[..., None].expand_as(c), c, tuple(size))

    @classmethod
    def look_at(cls, centre, target, roll=0.0, focal=1400.0, size=(1920, 1080)):
        """Camera at `centre` (..., 3) mm whose optical axis meets `target` (..., 3) mm; world Z is up.  InputError if they coincide."""
        centre, target = (torch.as_tensor(p, dtype=torch.float64) for p in (centre, target))
        d = target - centre
        if (d == 0).all(-1).any():
            raise InputError("centre and target coincide: no direction to look in", "camera")
        pitch = torch.atan2(-d[..., 2], d[..., :2].norm(dim=-1))
        return cls.from_angles(pitch, torch.atan2(d[..., 1], d[..., 0]), roll, centre, focal, size)

    @classmethod
    def from_dict(cls, data, where="camera"):
        """From our JSON: {"R": 3x3, "t": 3 (mm), "f": 2 (px), "c": 2 (px), "dist": 5 or absent, "size": [width, height]}; InputError."""
        try:
            shapes = {"R": (3, 3), "t": (3,), "f": (2,), "c": (2,), "size": (2,)}
            shapes |= {"dist": (5,)} if data.get("dist") is not None else {}
            arrays = {k: np.asarray(data[k], dtype=np.float64) for k in shapes}
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise InputError(f"not a camera ({e})", where, 'expected the keys "R", "t", "f", "c", "size"') from None
        for k, shape in shapes.items():
            if arrays[k].shape != shape or not np.isfinite(arrays[k]).all():
                raise InputError(f'"{k}" must be {shape} finite numbers', where)
        size = tuple(int(s) for s in arrays["size"])
        if min(size) < 1 or not (arrays["f"] > 0).all() or (arrays["size"] != size).any():
            raise InputError('"f" and "size" must be positive, "size" whole numbers', where)
        R, t = proper_rotation(arrays["R"], arrays["t"], where)
        T = torch.from_numpy
        return cls(R, t, T(arrays["f"]), T(arrays["c"]), size, T(arrays["dist"]) if "dist" in arrays else None)

    def to_dict(self):
        """The JSON form that `from_dict` reads (a single camera)."""
        out = {k: getattr(self, k).tolist() for k in ("R", "t", "f", "c")} | {"size": list(self.size)}
        return out | ({"dist": self.dist.tolist()} if self.dist is not None else {})

    # ---- where it is -----------------------------------------------------------------------------------------------------------

    @property
    def centre(self):
        """Optical centre in the world, (..., 3) mm."""
        return -(self.R.mT @ self.t[..., None])[..., 0]

    @property
    def pitch(self):
        """(...) radian, positive looks down."""
        return -torch.asin(self.R[..., 2, 2].clamp(-1, 1))

    @property
    def roll(self):
        """(...) radian, positive when the right side of the camera points up."""
        return torch.atan2(self.R[..., 0, 2], -self.R[..., 1, 2])

    @property
    def yaw(self):
        """(...) radian, azimuth of the viewing direction."""
        return torch.atan2(self.R[..., 2, 1], self.R[..., 2, 0])

    @property
    def pitch_deg(self):
        return torch.rad2deg(self.pitch)

    @property
    def depth_norm(self):
        """sqrt(fx fy), px: depth divided by it no longer depends on the focal length (d_norm = d / f, §2)."""
        return (self.f[..., 0] * self.f[..., 1]).sqrt()

    def to(self, *args, **kwargs):
        """Move or cast all tensors (as torch.Tensor.to)."""
        dist = None if self.dist is None else self.dist.to(*args, **kwargs)
        return Camera(*(x.to(*args, **kwargs) for x in (self.R, self.t, self.f, self.c)), self.size, dist)

    def __getitem__(self, i):
        """Part of a batch of cameras."""
        return Camera(self.R[i], self.t[i], self.f[i], self.c[i], self.size, None if self.dist is None else self.dist[i])

    # ---- world <-> camera <-> image --------------------------------------------------------------------------------------------

    def to_camera(self, world):
        """World points (..., N, 3) mm -> camera frame (..., N, 3) mm."""
        world = _real(world)
        return world @ _like(self.R, world).mT + _points(self.t, world)

    def to_world(self, cam):
        """Camera-frame points (..., N, 3) mm -> world (..., N, 3) mm."""
        cam = _real(cam)
        return (cam - _points(self.t, cam)) @ _like(self.R, cam)

    def project(self, world, distort=True):
        """World points (..., N, 3) mm -> uv (..., N, 2) px, depth (..., N) mm, valid (..., N) bool."""
        known = torch.isfinite(world).all(-1)[..., None]
        cam = self.to_camera(torch.where(known, world, torch.zeros_like(world)))  # keeps NaN out of the gradient of the camera
        return self.project_camera(torch.where(known, cam, torch.full_like(cam, float("nan"))), distort)

    def project_camera(self, cam, distort=True):
        """Camera-frame points (..., N, 3) mm -> uv, depth, valid, as `project`."""
        cam = _real(cam)
        depth = cam[..., 2]
        valid = torch.isfinite(cam).all(-1) & (depth > MIN_DEPTH)
        safe = torch.where(valid[..., None], cam, torch.ones_like(cam))  # keeps NaN out of the gradient
        xy = safe[..., :2] / safe[..., 2:]
        if distort and self.dist is not None:
            valid = valid & (xy.norm(dim=-1) < _like(fold_radius(self.dist), xy)[..., None])
            xy = _distort(xy, _points(self.dist, xy))
        uv = xy * _points(self.f, xy) + _points(self.c, xy)
        return torch.where(valid[..., None], uv, torch.full_like(uv, float("nan"))), depth, valid

    def normalise(self, uv, undistort=True):
        """Pixels (..., N, 2) -> x/z, y/z (..., N, 2) and valid (..., N); undoes the lens distortion (Newton steps)."""
        uv = _real(uv)
        valid = torch.isfinite(uv).all(-1)
        c = _points(self.c, uv)
        xy = (torch.where(valid[..., None], uv, c) - c) / _points(self.f, uv)  # keeps NaN out of the gradient
        if undistort and self.dist is not None:
            dist = _points(self.dist, xy)
            with torch.no_grad():
                found = xy
                for _ in range(20):  # quadratic convergence inside the fold radius
                    step = _undistort_step(found, xy, dist)
                    found = found - step * (0.3 / step.norm(dim=-1, keepdim=True).clamp(min=0.3))  # damped far from the solution
                residual = (_distort(found, dist) - xy).norm(dim=-1)
                limit = _like(fold_radius(self.dist), xy)[..., None]
                valid = valid & (residual < (1e-9 if xy.dtype == torch.float64 else 1e-5)) & (found.norm(dim=-1) < limit)
                found = torch.where(valid[..., None], found, torch.zeros_like(found))
            goal = torch.where(valid[..., None], xy, _distort(found, dist))
            xy = found - _undistort_step(found, goal, dist)  # one step from the solution carries the gradient (implicit function)
        return torch.where(valid[..., None], xy, torch.full_like(xy, float("nan"))), valid

    def unproject(self, uv, depth, undistort=True):
        """Pixels (..., N, 2) at depth (..., N) mm -> world points (..., N, 3) mm, valid (..., N)."""
        xy, valid = self.normalise(uv, undistort)
        valid = valid & torch.isfinite(depth) & (depth > MIN_DEPTH)
        ok = valid[..., None]
        depth = torch.where(ok, depth[..., None], torch.ones_like(depth[..., None]))
        world = self.to_world(torch.cat([torch.where(ok, xy, torch.zeros_like(xy)) * depth, depth], -1))
        return torch.where(ok, world, torch.full_like(world, float("nan"))), valid

    def rays(self, uv, undistort=True):
        """Pixels (..., N, 2) -> origin (..., 1, 3) mm and unit direction (..., N, 3) in the world, valid (..., N)."""
        xy, valid = self.normalise(uv, undistort)
        safe = torch.where(valid[..., None], xy, torch.zeros_like(xy))  # keeps NaN out of the gradient
        d = torch.cat([safe, torch.ones_like(safe[..., :1])], -1) @ _like(self.R, xy)
        return _points(self.centre, xy), (d / d.norm(dim=-1, keepdim=True)).masked_fill(~valid[..., None], float("nan")), valid

    def on_floor(self, uv, height=0.0):
        """Where the rays of pixels (..., N, 2) meet the plane Z = height: world (..., N, 3) mm, valid; NaN and False above the horizon."""
        origin, d, valid = self.rays(uv)
        rise, slope = height - origin[..., 2], d[..., 2]
        valid = valid & (rise / slope > 0) & torch.isfinite(rise / slope)
        s = rise / torch.where(valid, slope, torch.ones_like(slope))  # safe, as in rays
        return (origin + s[..., None] * d.nan_to_num()).masked_fill(~valid[..., None], float("nan")), valid

    def in_image(self, uv):
        """(..., N) bool: the pixel position lies on the image."""
        w, h = self.size
        return (uv[..., 0] >= -0.5) & (uv[..., 0] < w - 0.5) & (uv[..., 1] >= -0.5) & (uv[..., 1] < h - 0.5)

    # ---- crop and resize -------------------------------------------------------------------------------------------------------

    def crop(self, x0, y0, width, height):
        """The camera of the sub-image whose first pixel is (x0, y0) (may lie outside: padding)."""
        return Camera(self.R, self.t, self.f, self.c - self.c.new_tensor([x0, y0]), (width, height), self.dist)

    def resize(self, width, height):
        """The camera of the image resized to width x height (aspect ratio may change)."""
        k = self.f.new_tensor([width / self.size[0], height / self.size[1]])
        return Camera(self.R, self.t, self.f * k, rescale(self.c, k), (width, height), self.dist)

    def fit(self, width, height):
        """Resize with padding: the whole image, centred, aspect ratio kept, in width x height (the paper's 960 x 512, §5.1)."""
        k, offset = fit_transform(self.size, (width, height))
        return Camera(self.R, self.t, self.f * k, rescale(self.c, k) + self.c.new_tensor(offset), (width, height), self.dist)


# ---- pixels of another resolution ----------------------------------------------------------------------------------------------


def rescale(uv, k):
    """Pixel coordinates after a resize by factor k (number or (2,)): `(u + 0.5) k - 0.5`."""
    return (uv + 0.5) * k - 0.5


def fit_transform(src, dst):
    """Factor k and offset (ox, oy) px of a resize with padding from size `src` (w, h) to `dst`: u' = rescale(u, k) + offset."""
    k = min(dst[0] / src[0], dst[1] / src[1])
    return k, ((dst[0] - k * src[0]) / 2, (dst[1] - k * src[1]) / 2)


def to_grid(uv, size):
    """Pixels (..., 2) of a map of `size` (w, h) -> coordinates for grid_sample with align_corners=False."""
    return (2 * uv + 1) / uv.new_tensor(size) - 1


def _real(points):
    """Points as given, whole numbers as float64: a camera cast to integers would be no camera."""
    return points if points.is_floating_point() else points.double()


def _like(x, points):
    return x.to(dtype=points.dtype, device=points.device)


def _points(x, points):
    """Camera quantity (..., D) shaped to go with points (..., N, D)."""
    return _like(x, points)[..., None, :]


# ---- lens distortion -----------------------------------------------------------------------------------------------------------


def _distort(xy, dist):
    """OpenCV's radial-tangential model on normalised coordinates (..., 2); dist (..., 5) k1 k2 p1 p2 k3."""
    x, y = xy.unbind(-1)
    k1, k2, p1, p2, k3 = dist.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return torch.stack([x * radial + dx, y * radial + dy], -1)


def _undistort_step(xy, goal, dist):
    """Newton step J⁻¹ (distort(xy) - goal) on normalised coordinates (..., 2), with J the Jacobian of `_distort` at xy."""
    x, y = xy.unbind(-1)
    k1, k2, p1, p2, k3 = dist.unbind(-1)
    r2 = x * x + y * y
    radial, slope = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), 2 * (k1 + r2 * (2 * k2 + 3 * r2 * k3))
    a = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x
    b = slope * x * y + 2 * p1 * x + 2 * p2 * y
    d = radial + slope * y * y + 6 * p1 * y + 2 * p2 * x
    ex, ey = (_distort(xy, dist) - goal).unbind(-1)
    return torch.stack([d * ex - b * ey, a * ey - b * ex], -1) / (a * d - b * b)[..., None]


def fold_radius(dist):
    """Smallest r > 0 where r (1 + k1 r² + k2 r⁴ + k3 r⁶) stops growing, (...) from (..., 5): beyond it two directions share a pixel."""
    rows = dist.detach().cpu().double().reshape(-1, 5)[:, [0, 1, 4]].numpy() * (-3, -5, -7)
    companion = np.tile(np.eye(3, k=-1), (len(rows), 1, 1))  # of u³ + 3 k1 u² + 5 k2 u + 7 k3: the slope is 0 where u = 1 / r²
    companion[:, 0] = rows
    with np.errstate(all="ignore"):  # u = 0: no fold
        s = 1 / np.linalg.eigvals(companion).astype(np.complex128)
    radii = np.sqrt(np.where((np.abs(s.imag) < 1e-9) & (s.real > 0), s.real, np.inf).min(-1))
    return torch.from_numpy(radii).reshape(dist.shape[:-1])


def proper_rotation(R, t, where="extrinsics"):
    """R (3, 3), t (3,) with a left-handed R (determinant -1) repaired by flipping world Y, with a warning; InputError if not orthogonal.

    Ten of the twenty MuPoTS-3D rotations are left-handed: they map a mirrored world.
    """
    R, t = (torch.as_tensor(x, dtype=torch.float64).clone() for x in (R, t))
    if (R @ R.mT - torch.eye(3, dtype=R.dtype)).abs().max() > 1e-3:
        raise InputError("R is not orthogonal", where, "x_cam = R x_world + t needs rows of unit length at right angles")
    if torch.linalg.det(R) < 0:
        warnings.warn(f"{where}: R is left-handed (determinant -1); its second column was negated", stacklevel=2)
        R[:, 1] = -R[:, 1]
    return R, t


# ---- Fig. 1 ----------------------------------------------------------------------------------------------------------------------


def image_height(f, gamma, h_real, theta, d):
    """Fig. 1 (§2): h_img ≈ f γ h_real cos θ / d, px.  f px, γ = h_pose / h_real, h_real mm, pitch θ radian, depth d mm."""
    return f * gamma * h_real * _cos(theta) / d


def depth_from_height(f, gamma, h_real, theta, h_img):
    """Fig. 1 (§2), solved for the depth: d ≈ f γ h_real cos θ / h_img, mm."""
    return f * gamma * h_real * _cos(theta) / h_img


def depth_from_floor(f, height, theta, v):
    """Depth d, mm, of a floor point seen v px below the principal point by a camera `height` mm above the floor, pitch θ radian.

    The ray (v / f down, 1 forward) drops sin θ + (v / f) cos θ per mm of depth: d = height / (sin θ + (v / f) cos θ).
    """
    return height / (_sin(theta) + v / f * _cos(theta))


def _cos(x):
    return x.cos() if isinstance(x, torch.Tensor) else np.cos(x)


def _sin(x):
    return x.sin() if isinstance(x, torch.Tensor) else np.sin(x)
