"""Solids, boxes and the z-buffer against naive loops; the hash behind the random numbers of pictures."""

import math

import numpy as np
import pytest
import torch

from vp.camera import Camera
from vp.world.raster import Rays, cone_table, hit_cones, nearest, outline, pairs, pixel_bounds
from vp.world.texture import uniform


def march(a, L, h, r1, r2, ray, near=2400.0, far=3700.0):
    """Depth of the first point of a ray in the hull of two spheres, by small steps and bisection in float64; inf if none."""
    s = np.arange(near, far, 4.0)

    def inside(s):
        p = np.linalg.solve(L, (s[:, None] * ray - a).T).T
        best = np.full(len(s), np.inf)  # the hull is the union of the spheres along the axis
        for t in np.linspace(0, 1, 101):
            best = np.minimum(best, np.linalg.norm(p - [0, 0, t * h], axis=1) - (r1 + t * (r2 - r1)))
        return best < 0

    hit = inside(s)
    if not hit.any():
        return math.inf
    lo, hi = s[hit.argmax()] - 4.0, s[hit.argmax()]
    for _ in range(16):
        mid = (lo + hi) / 2
        lo, hi = (lo, mid) if inside(np.array([mid]))[0] else (mid, hi)
    return hi


@pytest.mark.parametrize(
    ("h", "r1", "r2", "squash", "tilt"),
    [(0, 180, 180, 1.0, 0.0), (400, 90, 90, 1.0, 0.4), (500, 130, 50, 0.6, 1.0), (350, 60, 140, 0.7, 1.5), (300, 40, 120, 1.0, 3.0)],
)
def test_solid_against_a_naive_loop(h, r1, r2, squash, tilt):
    """Sphere, capsule, squashed cones from several sides, one of them nearly along the axis: mask and depth as by marching in float64."""
    c, s = math.cos(tilt), math.sin(tilt)
    L = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.diag([squash, 1.0, 1.0])
    a = np.array([120.0, -60.0, 3000.0])
    size, focal = (24, 20), 70.0
    camera = Camera(torch.eye(3)[None], torch.zeros(1, 3), torch.full((1, 2), focal), torch.tensor([[9.0, 11.0]]), size)
    rays = Rays.of(camera)
    x, y = rays.x[0], rays.y[0]
    one = lambda v: torch.tensor([float(v)])  # noqa: E731
    Lt, at = torch.tensor(L)[None], torch.tensor(a)[None]
    table = cone_table(at, Lt, one(h).double(), one(r1).double(), one(r2).double(), torch.tensor([False]))
    depth = hit_cones(table, torch.zeros(len(x), dtype=torch.long), x, y)[0]
    want = torch.tensor([march(a, L, h, r1, r2, np.array([u, v, 1.0])) for u, v in zip(x.double().tolist(), y.double().tolist())])
    differ = torch.isfinite(depth) != torch.isfinite(want)
    assert differ.sum() <= 1, "outline (a grazing ray may fall either way)"
    both = torch.isfinite(depth) & torch.isfinite(want)
    assert both.sum() > 15
    assert (depth - want)[both].abs().max() < 1.0
    # the bounding box holds every pixel that is hit and little more (the outermost point may lie between two pixel centres)
    Q = Lt @ Lt.mT
    lo, hi, ok = outline(at, Q * r1**2)
    lo2, hi2, ok2 = outline(at + Lt[:, :, 2] * h, Q * r2**2)
    assert (ok & ok2).all()
    first, last = pixel_bounds(camera, torch.minimum(lo, lo2)[None], torch.maximum(hi, hi2)[None])
    v, u = torch.isfinite(want).reshape(size[1], size[0]).nonzero().unbind(-1)
    slack = torch.stack([u.min() - first[0, 0, 0], v.min() - first[0, 0, 1], last[0, 0, 0] - 1 - u.max(), last[0, 0, 1] - 1 - v.max()])
    assert slack.min() == 0
    assert slack.max() <= 1


def test_open_end_has_no_cap():
    """A ray along the axis of an open cone, from its open side, misses the near cap; one from the closed side hits it."""
    L = torch.eye(3).double()[None]
    at, away = torch.tensor([[0.0, 0.0, 2000.0]]).double(), torch.diag(torch.tensor([1.0, -1.0, -1.0])).double()[None]
    args = [torch.tensor([v]).double() for v in (300.0, 100.0, 100.0)]
    zero, on = torch.zeros(1, dtype=torch.long), torch.tensor([True])
    assert hit_cones(cone_table(at, L, *args, on), zero, torch.zeros(1), torch.zeros(1))[0].item() == pytest.approx(1900.0, abs=0.1)
    assert hit_cones(cone_table(at, away, *args, on), zero, torch.zeros(1), torch.zeros(1))[0].item() == math.inf
    assert hit_cones(cone_table(at, away, *args, ~on), zero, torch.zeros(1), torch.zeros(1))[0].item() == pytest.approx(1600.0, abs=0.1)


def test_pairs_and_nearest_by_hand():
    of, pixel = pairs(torch.tensor([[1, 0], [3, 1], [0, 2]]), torch.tensor([[3, 2], [3, 4], [1, 3]]), 5)
    assert list(zip(of.tolist(), pixel.tolist())) == [(0, 1), (0, 2), (0, 6), (0, 7), (2, 10)]
    depth, solid = nearest(torch.tensor([5.0, 3.0, 3.0, 9.0]), torch.tensor([4, 8, 7, 1]), torch.tensor([0, 0, 0, 2]), 3)
    assert depth.tolist() == [3.0, math.inf, 9.0]
    assert solid.tolist() == [7, -1, 1]


def test_hash_is_uniform_and_by_row():
    x = uniform(torch.arange(400), 50, 3)
    assert torch.equal(uniform(torch.tensor([17]), 50, 3)[0], x[17])
    assert abs(x.mean() - 0.5) < 0.01
    assert abs(x.var() - 1 / 12) < 0.003
    assert torch.corrcoef(torch.stack([x[:-1].flatten(), x[1:].flatten()]))[0, 1].abs() < 0.02
    assert len(x.unique()) > 19_900
