"""Backgrounds and light: studio, green screen, augmented pictures, outdoors, each with a training and an unseen test variant.

A background is made from pixel rays, so its floor is the floor and its horizon the camera's; a seed fixes the place and another camera
shows another part of it.  What is flat by nature (dead leaves, a user's images) lives on the *frame*, the full image of the camera, of
which a crop shows its part.  Test variants differ in form and in disjoint ranges of colour.  Backgrounds hide nobody.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from vp.errors import InputError
from vp.world.scenery import augmented, outdoor, resolved
from vp.world.texture import ROUGH, hashed, hsv, noise, uniform

FAMILIES = ("studio", "green", "augmented", "outdoor")


@dataclass
class Light:
    """direction (B, 3): unit, towards the light, world;  sun, ambient (B, 3): colours;  for B pictures."""

    direction: torch.Tensor
    sun: torch.Tensor
    ambient: torch.Tensor

    def __getitem__(self, i):
        return Light(self.direction[i], self.sun[i], self.ambient[i])


def sample_light(seed, family="studio"):
    """Light of B pictures from seeds (B,): high and mild indoors, from 35° up and stronger outdoors; test families are bluer and dimmer."""
    w = uniform(seed, 5, 11).unbind(-1)
    out, test = str(family).endswith("outdoor"), str(family).startswith("test_")
    height = (35 + 40 * w[0] if out else 50 + 35 * w[0]) * math.pi / 180
    turn = 2 * math.pi * w[1]
    direction = torch.stack([height.cos() * turn.cos(), height.cos() * turn.sin(), height.sin()], -1)
    warm = (w[2] - 0.5) * 0.16 + (-0.1 if test else 0.04)
    tint = torch.stack([1 + warm, torch.ones_like(warm), 1 - warm], -1)
    sun = (0.42 + 0.25 * w[3] if out else 0.28 + 0.3 * w[3])[:, None] * tint
    level = (0.95 + 0.25 * w[4]) * (0.9 if test else 1.0)
    return Light(direction, sun, (level[:, None] - 0.6 * sun.mean(-1, keepdim=True)) * (2 - tint if out else tint) * 0.85)


def background(family, rays, seed, light, frame):
    """Colours (B, N, 3) in [0, 1] and floor (B, N) in [0, 1] (how much a shadow shows), without shadows.

    family: one of FAMILIES, "test_" + one of them, or an ImageFolder;  rays: Rays;  seed (B,) long;  light: Light;
    frame: two (B, N), position in the full image in units of its height.  InputError for an unknown family.
    """
    if isinstance(family, ImageFolder):
        return family(seed, frame)
    name, test = str(family).removeprefix("test_"), str(family).startswith("test_")
    make = {"studio": studio, "green": green, "augmented": augmented, "outdoor": outdoor}.get(name)
    if make is None:
        known = ", ".join(FAMILIES)
        raise InputError(f"no background family {family!r}", "background", f"one of {known}, or test_ before it, or an ImageFolder")
    return make(rays, seed * 2 + test, light, frame, test)


def _room(rays, radius, ceiling):
    """A round room about the origin, wide and high enough for the camera: depth, kind (0 wall, 1 floor, 2 ceiling), place (B N,)."""
    (dx, dy, _), (ox, oy) = rays.d, rays.o[:, :2, None].unbind(1)
    radius, ceiling = torch.maximum(radius, rays.o[:, :2].norm(dim=-1) + 400), torch.maximum(ceiling, rays.o[:, 2] + 400)
    a, b = (dx * dx + dy * dy).clamp(min=1e-9), ox * dx + oy * dy
    wall = ((b * b - a * (ox * ox + oy * oy - radius[:, None] ** 2)).clamp(min=0).sqrt() - b) / a
    s = torch.minimum(torch.minimum(wall, rays.plane(0.0)), rays.plane(ceiling))
    kind = torch.where(s >= wall, 0, torch.where(rays.d[2] < 0, 1, 2))
    return (x.flatten() for x in (s, kind, *rays.at(s))), radius, ceiling


def studio(rays, seed, light, _, test):
    """The dome of CMU Panoptic: white to grey panels about a floor that ends at 2.5 m (test: a hall of upright panels over tiles)."""
    return (hall if test else dome)(rays, seed, light)


def dome(rays, seed, light):
    """Inside of a sphere of 2.81 m about a point 1.28 m above the floor, as the rig's 31 cameras tell; larger for a camera outside.

    Hexagonal panels, a black camera in many, tubes along the foot, here and there a dark door.
    """
    B, N = rays.x.shape
    w = uniform(seed, 10, 1)
    o, up, edge = rays.o, 1280.0, 2500.0
    k = ((up * o[:, 2]) ** 2 + o.square().sum(-1) * edge**2).sqrt() - up * o[:, 2]  # the sphere of this scale passes through the camera
    k = (k / edge**2).clamp(min=1)
    radius, rise = k * math.hypot(up, edge), o - torch.stack([0 * k, 0 * k, k * up], -1)
    a, b = sum(d * d for d in rays.d), sum(rise[:, i, None] * d for i, d in enumerate(rays.d))
    wall = ((b * b - a * (rise.square().sum(-1) - radius**2)[:, None]).clamp(min=0).sqrt() - b) / a
    on_floor = rays.plane(0.0)
    s = torch.minimum(wall, on_floor)
    on_floor = on_floor < wall
    X, Y, Z = (x.flatten() for x in rays.at(s))
    s, picture = s.flatten(), torch.arange(B, device=s.device).repeat_interleave(N)
    image = torch.empty(B * N, 3, device=s.device)
    # panels: the lattice of hexagons is two rectangular ones
    at = (~on_floor).flatten().nonzero()[:, 0]
    b, z, round_ = picture[at], Z[at], 12 + (3 * w[:, 2]).floor()
    turn, size = torch.atan2(Y[at], X[at]) / (2 * math.pi), 2 * math.pi * radius / round_ / math.sqrt(3)
    size, round_, high = size[b], round_[b], radius[b] * torch.asin((z / radius[b] - (k * up / radius)[b]).clamp(-1, 1))
    gx, gy = turn * round_, high / (3 * size) + w[b, 0]
    i, j, fi, fj = gx.round(), gy.round(), gx.floor() + 0.5, gy.floor() + 0.5
    first = (gx - i) ** 2 + 3 * (gy - j) ** 2 < (gx - fi) ** 2 + 3 * (gy - fj) ** 2
    i, j = torch.where(first, i, fi), torch.where(first, j, fj)
    px, py = (gx - i).abs() * math.sqrt(3), (gy - j).abs() * 3
    seam = ((torch.maximum(px, px / 2 + py * math.sqrt(3) / 2) / (math.sqrt(3) / 2) - 1) * size / 14 + 1).clamp(0, 1)
    spot = 0.9 * ((52 - torch.hypot(px, py) * size) / 12).clamp(0, 1)
    cell = hashed(2 * i % (2 * round_), 2 * j, seed[b])
    row = (j - w[b, 0]) * 3 + radius[b] / size * math.asin(up / math.hypot(up, edge))  # the panel's middle above the floor, in sizes
    door = (cell < 0.06) & (row > 0.2) & (row < 1.7)
    colour = hsv(0.12 + 0.16 * w[:, 3], 0.01 + 0.06 * w[:, 4], 0.68 + 0.27 * w[:, 5])
    level = 0.97 + 0.1 * (cell - 0.5) + 0.04 * noise(turn, high / 9000) - 0.12 * torch.exp(-z.clamp(min=0) / 500)
    level = level * (1 - 0.4 * seam * resolved(rays, s, at, 40)) * (1 - spot * (cell > 0.35)) * (1 - 0.85 * door)
    panels = (colour * (light.ambient + 0.45 * light.sun))[b] * level[:, None]
    tube = (((10 * turn + w[b, 1]) % 1 - 0.5).abs() < 0.27) & ((z - 90 * k[b]).abs() < 45 * k[b])
    image[at] = torch.where(tube[:, None], 1.0, panels)
    # floor
    at = on_floor.flatten().nonzero()[:, 0]
    b, x, y = picture[at], X[at], Y[at]
    colour = hsv(0.09 + 0.08 * w[:, 6], 0.04 + 0.16 * w[:, 7], 0.36 + 0.24 * w[:, 8])
    level = 1 + 0.04 * noise(x / 2500, y / 2500, ROUGH) * resolved(rays, s, at, 25) + 0.05 * noise(x / 9000, y / 9000)
    level = level * (1 - 0.35 * torch.exp((torch.hypot(x, y) - k[b] * edge) / 200))
    image[at] = (colour * (light.ambient + 0.8 * light.sun))[b] * level[:, None]
    return image.reshape(B, N, 3), on_floor.float()


def hall(rays, seed, light):
    """A round hall of upright panels, tiles and lamps in the ceiling, in cool colours."""
    B, N = rays.x.shape
    w = uniform(seed, 10, 1)
    (s, kind, X, Y, Z), radius, _ = _room(rays, 4500 + 2500 * w[:, 0], 3200 + 1500 * w[:, 1])
    picture = torch.arange(B, device=s.device).repeat_interleave(N)
    image = torch.empty(B * N, 3, device=s.device)
    at = (kind == 0).nonzero()[:, 0]
    b, z = picture[at], Z[at]
    along, size = torch.atan2(Y[at], X[at]) * radius[b], (500 + 500 * w[:, 2])[b]
    place = along / size
    i = place.floor()
    seam = 1 - (torch.minimum(place - i, 1 - place + i) * size / 30).clamp(0, 1)
    level = 0.9 + 0.2 * (hashed(i, (z / 2600).floor(), seed[b]) - 0.5) + 0.06 * noise(along / 9000, z / 9000)
    level = level * (1 - 0.45 * seam * resolved(rays, s, at, 60)) * (1 - 0.45 * torch.exp(-z.clamp(min=0) / 500))
    colour = hsv(0.52 + 0.14 * w[:, 3], 0.1 + 0.2 * w[:, 4], 0.5 + 0.2 * w[:, 5])
    image[at] = (colour * (light.ambient + 0.45 * light.sun))[b] * level[:, None]
    at = (kind == 1).nonzero()[:, 0]
    b, x, y = picture[at], X[at], Y[at]
    colour = hsv(0.3 + 0.3 * w[:, 6], 0.04 + 0.12 * w[:, 7], 0.38 + 0.3 * w[:, 8])
    level = 1 + 0.05 * noise(x / 2500, y / 2500, ROUGH) * resolved(rays, s, at, 25) + 0.05 * noise(x / 21000, y / 21000)
    size = (400 + 300 * w[:, 9])[b]
    level = level + (((x / size).floor() + (y / size).floor()) % 2 * 0.16 - 0.08) * resolved(rays, s, at, 300)
    level = level * (1 - 0.3 * torch.exp((torch.hypot(x, y) - radius[b]) / 600))
    image[at] = (colour * (light.ambient + 0.8 * light.sun))[b] * level[:, None]
    at = (kind == 2).nonzero()[:, 0]
    lamp = ((X[at] / 1200) % 1 < 0.35) & ((Y[at] / 1200) % 1 < 0.35)
    image[at] = (0.6 + 0.4 * lamp)[:, None] * (light.ambient + 0.4 * light.sun)[picture[at]]
    return image.reshape(B, N, 3), (kind == 1).reshape(B, N).float()


def green(rays, seed, light, _, test):
    """A green screen that runs down onto the floor, lit unevenly (test: a yellower green, with a seam)."""
    B, N = rays.x.shape
    w = uniform(seed, 6, 2)
    (s, kind, X, Y, Z), radius, _ = _room(rays, 3500 + 2500 * w[:, 0], 1e5 + 0 * w[:, 0])
    colour = hsv(*((0.27 + 0.03 * w[:, 1], 0.55 + 0.1 * w[:, 2], 0.8 + 0.15 * w[:, 3]) if test else
                   (0.33 + 0.06 * w[:, 1], 0.7 + 0.2 * w[:, 2], 0.55 + 0.25 * w[:, 3])))  # fmt: skip
    picture = torch.arange(B, device=s.device).repeat_interleave(N)
    wall = kind == 0
    along = torch.atan2(Y, X) * radius[picture]
    folds = noise(torch.where(wall, along / 9000, X / 12000), torch.where(wall, Z / 15000, Y / 12000))
    seam = 0.3 * (Z < 80) if test else 0.1 * torch.exp(-Z.clamp(min=0) / 700)
    level = 0.92 + 0.05 * folds + torch.where(wall, 0.1 * torch.cos(torch.atan2(Y, X) + 6 * w[picture, 5]) - seam, -0.06)
    image = (colour * (light.ambient + 0.6 * light.sun))[picture] * level[:, None]
    return image.reshape(B, N, 3), (~wall).reshape(B, N).float()


class ImageFolder:
    """Pictures of a folder as backgrounds: give `ImageFolder(path)` in place of a family's name.

    All .jpg, .jpeg and .png files in the order of their names, at most `limit`, kept at `height` px; seeds choose picture and mirror.
    `fingerprint`: of the files' names, sizes and times of change.  InputError where there is no folder or no readable picture.
    """

    def __init__(self, path, height=256, limit=500):
        hint = "a folder with at least one background picture"
        try:
            files = sorted(f for f in Path(path).iterdir() if f.suffix.lower() in (".jpg", ".jpeg", ".png"))[:limit]
        except (OSError, TypeError, ValueError):
            raise InputError("no readable folder", repr(path), hint) from None
        images = [cv2.imread(str(f)) for f in files]
        size = (2 * height, height)
        images = [cv2.resize(i, size, interpolation=cv2.INTER_AREA)[..., ::-1] for i in images if i is not None]
        if not images:
            raise InputError("no readable .jpg or .png picture", path, hint)
        self.images = torch.from_numpy(np.stack(images)).movedim(-1, 1)  # uint8
        facts = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        self.fingerprint = hashlib.sha256(repr((height, facts)).encode()).hexdigest()[:16]

    def __call__(self, seed, frame):
        """Colours (B, N, 3) and floor (B, N) at frame positions, as `background`; each picture is stretched to two by one."""
        w = uniform(seed, 2, 8).to(frame[0].device)
        pick = (w[:, 0] * len(self.images)).long().cpu()
        u, v = frame
        grid = torch.stack([(u - 1) * torch.where(w[:, 1:] < 0.5, -1.0, 1.0), v * 2 - 1], -1)[:, None]
        image = F.grid_sample(self.images[pick].to(u.device).float() / 255, grid, align_corners=False, padding_mode="reflection")
        return image[:, :, 0].mT, torch.full_like(u, 0.3)
