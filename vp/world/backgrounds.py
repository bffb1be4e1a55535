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
from vp.world.texture import ROUGH, blend, hashed, hsv, noise, uniform

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
    """A dome of six-sided panels over a carpet or planks (test: a hall with upright panels over tiles)."""
    B, N = rays.x.shape
    w = uniform(seed, 10, 1)
    (s, kind, X, Y, Z), radius, _ = _room(rays, 4500 + 2500 * w[:, 0] if test else 3300 + 1500 * w[:, 0], 3200 + 1500 * w[:, 1])
    picture = torch.arange(B, device=s.device).repeat_interleave(N)
    colour = hsv(*((0.52 + 0.2 * w[:, 3], 0.15 + 0.3 * w[:, 4], 0.5 + 0.2 * w[:, 5]) if test else
                   (0.06 + 0.07 * w[:, 3], 0.03 + 0.22 * w[:, 4], 0.65 + 0.3 * w[:, 5])))  # fmt: skip
    image = torch.empty(B * N, 3, device=s.device)
    # wall
    at = (kind == 0).nonzero()[:, 0]
    b = picture[at]
    z, along = Z[at], torch.atan2(Y[at], X[at]) * radius[b]
    if test:
        size = (500 + 500 * w[:, 2])[b]
        fx = along / size
        i, j = fx.floor(), (z / 2600).floor()
        edge, spot = 1 - (torch.minimum(fx - i, 1 - fx + i) * size / 30).clamp(0, 1), torch.zeros_like(z)
    else:
        size = (320 + 180 * w[:, 2])[b]  # a hexagon's circumradius; the lattice of hexagons is two rectangular ones
        gx, gy = along / (math.sqrt(3) * size), z / (3 * size)
        i, j, fi, fj = gx.round(), gy.round(), gx.floor() + 0.5, gy.floor() + 0.5
        first = (gx - i) ** 2 + 3 * (gy - j) ** 2 < (gx - fi) ** 2 + 3 * (gy - fj) ** 2
        i, j = torch.where(first, i, fi), torch.where(first, j, fj)
        px, py = (gx - i).abs() * math.sqrt(3), (gy - j).abs() * 3
        edge = ((torch.maximum(px, px / 2 + py * math.sqrt(3) / 2) / (math.sqrt(3) / 2) - 1) * size / 14 + 1).clamp(0, 1)
        spot = ((0.15 - torch.hypot(px, py)) * size / 12).clamp(0, 1)
        i, j = 2 * i, 2 * j
    cell = hashed(i, j, seed[b])
    level = 0.9 + 0.2 * (cell - 0.5) + 0.06 * noise(along / 9000, z / 9000)
    level = level * (1 - 0.45 * edge * resolved(rays, s, at, 60)) * (1 - 0.45 * torch.exp(-z.clamp(min=0) / 500))
    wall = (colour * (light.ambient + 0.45 * light.sun))[b] * level[:, None]
    image[at] = blend(wall, (0.1 + 0.85 * (cell > 0.75))[:, None], (spot * (cell > 0.55) * 0.9)[:, None])
    # floor
    at = (kind == 1).nonzero()[:, 0]
    b, x, y = picture[at], X[at], Y[at]
    colour = hsv(*((0.30 + 0.2 * w[:, 6], 0.05 + 0.2 * w[:, 7], 0.35 + 0.3 * w[:, 8]) if test else
                   (0.08 + 0.06 * w[:, 6], 0.05 + 0.35 * w[:, 7], 0.33 + 0.35 * w[:, 8])))  # fmt: skip
    grain = 0.05 * noise(x / 2500, y / 2500, ROUGH) * resolved(rays, s, at, 25) + 0.05 * noise(x / 21000, y / 21000)
    if test:
        size = (400 + 300 * w[:, 9])[b]
        grain = grain + (((x / size).floor() + (y / size).floor()) % 2 * 0.22 - 0.11) * resolved(rays, s, at, 300)
    else:
        row = (x / 140).floor()
        plank = hashed(row, (y / 1400 + (row * 0.618) % 1).floor(), seed[b]) - 0.5
        grain = grain + 0.25 * plank * (w[:, 9] > 0.55)[b] * resolved(rays, s, at, 140)
    shade = 1 - 0.3 * torch.exp((torch.hypot(x, y) - radius[b]) / 600)
    image[at] = (colour * (light.ambient + 0.8 * light.sun))[b] * ((1 + grain) * shade)[:, None]
    # ceiling with lamps
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
