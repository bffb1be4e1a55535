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
    first, last = pixel_bounds(camera, rays, torch.minimum(lo, lo2)[None], torch.maximum(hi, hi2)[None])
    v, u = torch.isfinite(want).reshape(size[1], size[0]).nonzero().unbind(-1)
    slack = torch.stack([u.min() - first[0, 0, 0], v.min() - first[0, 0, 1], last[0, 0, 0] - 1 - u.max(), last[0, 0, 1] - 1 - v.max()])
    assert slack.min() == 0
    assert slack.max() <= 1


LENSES = {
    "barrel": (-0.25, 0.16, 0.0005, -0.0003, -0.02), "folds back": (-0.3, 0.0, 0.002, 0.001, 0.0), "cushion": (0.2, -0.05, 0, 0.003, 0.01),
}  # fmt: skip


@pytest.mark.parametrize("lens", LENSES)
def test_boxes_behind_a_lens(lens):
    """Against a loop over boxes: every pixel whose ray passes the box is within its bounds, in all little larger than those pixels."""
    w, h = size = (96, 64)
    dist = torch.tensor([LENSES[lens]]).double()
    f, c = torch.full((1, 2), 60.0).double(), torch.tensor([[45.0, 33.0]]).double()
    camera = Camera(torch.eye(3)[None].double(), torch.zeros(1, 3).double(), f, c, size, dist)
    rays = Rays.of(camera)
    g = torch.Generator().manual_seed(3)
    lo = torch.rand(1, 300, 2, generator=g).double() * 3 - 1.8
    hi = lo + 0.05 + torch.rand(1, 300, 2, generator=g).double() ** 4 * 9  # a few reach far beyond the picture
    first, last = pixel_bounds(camera, rays, lo, hi)
    x, y, inside = rays.x[0].reshape(h, w), rays.y[0].reshape(h, w), 0
    boxes = least = 0
    assert (lens == "folds back") == bool(x.isnan().any())
    for k in range(300):
        passes = (x >= lo[0, k, 0]) & (x <= hi[0, k, 0]) & (y >= lo[0, k, 1]) & (y <= hi[0, k, 1])
        if not passes.any():
            continue
        rows, columns = passes.nonzero().unbind(-1)
        (x0, y0), (x1, y1) = first[0, k].tolist(), last[0, k].tolist()
        assert x0 <= columns.min() and columns.max() < x1 and y0 <= rows.min() and rows.max() < y1  # noqa: PT018
        inside += 1
        boxes += (x1 - x0) * (y1 - y0)
        least += int((columns.max() - columns.min() + 1) * (rows.max() - rows.min() + 1))
    assert inside > 120
    assert boxes < 1.5 * least
    away = pixel_bounds(camera, rays, torch.tensor([[[4.0, -0.1]]]).double(), torch.tensor([[[5.0, 0.1]]]).double())
    assert (away[0] >= away[1]).any(), "what no pixel sees needs no pixel"


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
