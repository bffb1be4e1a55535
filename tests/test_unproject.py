"""Positions on maps, depth gate and unprojection, against versions point by point and person by person, and hand-computed numbers."""

import math
import time

import pytest
import torch
from conftest import close

from vp import published_stage as published
from vp.camera import Camera, fit_transform, rescale
from vp.nets.unproject import CUT, Positions, depth_gate, positions, unproject
from vp.space import Frame, Grid

MAP = (60, 32)
GRID = Grid((0.0, 0.0, 1000.0), (6000.0, 6000.0, 2000.0), (13, 12, 7))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def cameras(B=3, dist=False, size=(1920, 1080), dtype=torch.float32):
    """B cameras around the grid, the last in the middle of it (so that some voxels are behind)."""
    turn = torch.arange(B) * 2.0
    centre = torch.stack([turn.cos() * 5000, turn.sin() * 5000, 1500 + 200 * turn], -1)
    centre[-1] = torch.tensor([100.0, -200.0, 1500.0])
    target = torch.tensor([300.0, 1000.0, 900.0]).expand(B, 3)
    camera = Camera.look_at(centre, target, focal=1000 + 100 * turn, size=size)
    if dist:
        camera.dist = torch.tensor([[-0.25, 0.12, 0.001, -0.002, 0.0]], dtype=torch.float64).expand(B, 5)
    return camera.to(dtype)


def people(where, B, P, seed=0):
    """P boxes an image, some beyond the map, around depths that occur: boxes (B, P, 4), depths (B, P), valid (B, P)."""
    g = rng(seed)
    centre = torch.rand(B, P, 2, generator=g) * torch.tensor([70.0, 42.0]) - 5
    half = torch.rand(B, P, 2, generator=g) * torch.tensor([8.0, 14.0])
    depths = torch.rand(B, P, generator=g) * 7000
    depths[:, 0] = where.depth[:, 40]
    return torch.cat([centre - half, centre + half], -1), depths, torch.rand(B, P, generator=g) < 0.8


# ---- where points lie ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dist", [False, True])
@pytest.mark.parametrize("size", [(1920, 1080), (640, 640)])
def test_positions_are_those_of_the_camera(dist, size):
    """Project to the original image, then rescale; also where the map has bars beside or above the image."""
    camera, points = cameras(dist=dist, size=size, dtype=torch.float64), GRID.points().double()[None]
    where = positions(camera, points, MAP)
    uv, depth, valid = camera.project(points)
    inside = valid & camera.in_image(uv)
    assert 0 < inside.sum() < inside.numel()
    assert (~valid).any()
    assert torch.equal(where.inside, inside.double())
    k, offset = fit_transform(size, MAP)
    expected = rescale(uv, k) + uv.new_tensor(offset)
    close(torch.stack([where.u, where.v], -1)[inside], expected[inside], 1e-9)
    close(where.depth, depth, 1e-9)
    assert all(x.isfinite().all() for x in (where.u, where.v, where.depth))


def test_positions_at_the_border():
    """A pixel's area belongs to the image: the border lies half a pixel beyond the first and last centre; 10 mm is too near."""
    camera = Camera(torch.eye(3)[None], torch.zeros(1, 3), torch.full((1, 2), 100.0), torch.zeros(1, 2), (60, 32))
    u = torch.tensor([-0.51, -0.49, 59.49, 59.51])
    points = torch.stack([u * 10, torch.zeros(4), torch.full((4,), 1000.0)], -1)
    assert positions(camera, points[None], MAP).inside.tolist() == [[0, 1, 1, 0]]
    depths = torch.tensor([-5.0, 5.0, 20.0])
    assert positions(camera, torch.stack([0 * depths, 0 * depths, depths], -1)[None], MAP).inside.tolist() == [[0, 0, 1]]


def test_half_precision_does_not_reach_geometry():
    camera, points, maps = cameras(), GRID.points()[None], torch.rand(3, 2, 32, 60, generator=rng())
    where = positions(camera, points, MAP)
    expected = unproject(maps, where, depth_gate(where, *people(where, 3, 4), MAP))
    with torch.autocast("cpu", torch.bfloat16):
        again = positions(camera, points, MAP)
        found = unproject(maps, again, depth_gate(again, *people(again, 3, 4), MAP))
    assert torch.equal(where.u, again.u)
    assert torch.equal(expected, found)


# ---- sampling --------------------------------------------------------------------------------------------------------------------------


def test_sub_pixel_exact():
    """Maps that are planes in (u, v) come back as that plane at every projection: nothing is shifted or rounded."""
    camera, points = cameras(dtype=torch.float64), GRID.points().double()[None]
    where = positions(camera, points, MAP)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(60.0), indexing="ij")
    plane = (0.1 + 0.01 * x.double() + 0.005 * y.double()).expand(3, 1, 32, 60)
    expected = (0.1 + 0.01 * where.u + 0.005 * where.v) * where.inside
    middle = (where.u >= 0) & (where.u <= 59) & (where.v >= 0) & (where.v <= 31) | (where.inside == 0)
    for gate in (None, torch.ones_like(where.u)):
        close(unproject(plane, where, gate)[:, 0][middle], expected[middle], 1e-9)


def test_against_single_points():
    """Every voxel by itself, with numbers taken out one by one."""
    camera, points = cameras(), Grid((0.0, 0.0, 1000.0), (5000.0, 5000.0, 1500.0), (4, 5, 3)).points()[None]
    maps = torch.rand(3, 2, 32, 60, generator=rng(1)) * 1.4 - 0.2  # clipped to [0, 1]
    where = positions(camera, points, MAP)
    gate = torch.rand(where.u.shape, generator=rng(2))
    expected = torch.zeros(3, 2, points.shape[1])
    for b in range(3):
        for n in range(points.shape[1]):
            u, v = float(where.u[b, n]), float(where.v[b, n])
            if not where.inside[b, n]:
                continue
            for dx in (0, 1):
                for dy in (0, 1):
                    x, y = math.floor(u) + dx, math.floor(v) + dy
                    share = (1 - abs(u - x)) * (1 - abs(v - y))
                    expected[b, :, n] += share * maps[b, :, min(max(y, 0), 31), min(max(x, 0), 59)].clamp(0, 1)
    assert (expected > 0).any()
    close(unproject(maps, where), expected, 2e-5)
    close(unproject(maps, where, gate), expected * gate[:, None], 1e-6)


def test_rows_of_other_images():
    """PEN's cubes: each row says which image it is of; the same as repeating the images."""
    camera, maps, image = cameras(), torch.rand(3, 2, 32, 60, generator=rng(3)), torch.tensor([2, 0, 0, 1])
    points = GRID.points() + torch.tensor([[0.0, 0, 0], [300, 0, 0], [0, 500, 0], [0, 0, 100]])[:, None]
    where = positions(camera[image], points, MAP)
    gate = torch.rand(where.u.shape, generator=rng(4))
    for g in (None, gate):
        close(unproject(maps, where, g, image), unproject(maps[image], where, g), 0)


# ---- the gate --------------------------------------------------------------------------------------------------------------------------


def test_gate_by_hand():
    """One point 1000 mm ahead at pixel (29, 10); σ 200: 200 mm off is exp(-1/2), at the bound of the box still inside."""
    camera = Camera(torch.eye(3)[None], torch.zeros(1, 3), torch.full((1, 2), 50.0), torch.tensor([[29.0, 10.0]]), MAP)
    where = positions(camera, torch.tensor([[[0.0, 0.0, 1000.0]]]), MAP)
    maps = torch.zeros(1, 1, 32, 60)
    maps[0, 0, 10, 29] = 0.8

    def value(*people, valid=True):
        boxes = torch.tensor([[p[:4] for p in people]], dtype=torch.float)
        depths = torch.tensor([[p[4] for p in people]], dtype=torch.float)
        gate = depth_gate(where, boxes, depths, torch.full(depths.shape, valid), MAP)
        return float(unproject(maps, where, gate))

    box = (20, 5, 40, 20)
    assert value((*box, 1000)) == pytest.approx(0.8)
    assert value((*box, 1200)) == pytest.approx(0.8 * 0.60653066)
    assert value((*box, 600)) == pytest.approx(0.8 * 0.13533528)
    assert value((29, 5, 40, 10, 1000)) == pytest.approx(0.8)  # on the corner
    assert value((29.01, 5, 40, 20, 1000)) == 0
    assert value((*box, 1200), (*box, 600)) == pytest.approx(0.8 * 0.60653066)  # the nearer counts
    assert value((*box, 1200), (29.01, 5, 40, 20, 1000)) == pytest.approx(0.8 * 0.60653066)
    assert value((*box, 1000), valid=False) == 0
    assert value((*box, 1000 + 200 * CUT + 1)) == 0
    assert value((*box, 1000 - 200 * CUT + 1)) > 0


@pytest.mark.parametrize("P", [1, 3, 10])
def test_gated_volume_is_the_literal_loop(P):
    camera, points = cameras(5), Grid(GRID.centre, GRID.size, (24, 20, 12)).points()[None]
    where = positions(camera, points, MAP)
    maps, found = torch.rand(5, 3, 32, 60, generator=rng(5)), people(where, 5, P, seed=P)
    gate = depth_gate(where, *found, MAP, sigma=450.0)
    loop = published.loop_volume(maps, where, *found, sigma=450.0)
    assert (gate > 0).sum() > 50
    close(unproject(maps, where, gate), loop, 2e-6)
    one = [x[2:3] for x in (where.u, where.v, where.depth, where.inside)]
    close(depth_gate(Positions(*one), *(x[2:3] for x in found), MAP, sigma=450.0), gate[2:3], 0)  # batch = single


def test_no_open_gate_is_missed():
    """The coarse raster dismisses nobody: against all points times all people, in published coordinates, too (beyond the last pixel)."""
    opened = 0
    for seed in range(20):
        u, v, depth = torch.rand(3, 2, 4000, generator=rng(seed)) * torch.tensor([60.0, 32.0, 8000.0])[:, None, None]
        where = Positions(u - 0.5 + 0.5 * (seed % 2), v - 0.5 + 0.5 * (seed % 2), depth, torch.ones_like(u))
        boxes, depths, valid = people(where, 2, 6, seed)
        x0, y0, x1, y1 = boxes[:, :, None].unbind(-1)
        held = (where.u[:, None] >= x0) & (where.u[:, None] <= x1) & (where.v[:, None] >= y0) & (where.v[:, None] <= y1)
        full = held * valid[..., None] * torch.exp(-((depth[:, None] - depths[..., None]) ** 2) / (2 * 200**2))
        found = depth_gate(where, boxes, depths, valid, MAP)
        close(found, full.amax(1), 1e-6)
        opened += (found > 0.1).sum()
    assert opened > 1000


def test_nobody():
    camera, points = cameras(), GRID.points()[None]
    where, maps = positions(camera, points, MAP), torch.rand(3, 2, 32, 60, generator=rng())
    boxes, depths, valid = people(where, 3, 4)
    depths[0] = torch.nan
    for found in ((boxes, depths, torch.zeros_like(valid)), (boxes[:, :0], depths[:, :0], valid[:, :0])):
        depth = found[1].clone().requires_grad_()
        volume = unproject(maps, where, depth_gate(where, found[0], depth, found[2], MAP))
        assert volume.shape == (3, 2, points.shape[1])
        assert (volume == 0).all()
        if depth.numel():
            volume.sum().backward()
            assert (depth.grad == 0).all()


def test_gradients():
    """Numerical derivatives in float64, by heatmaps, depths and a gate."""
    camera, points = cameras(2, dtype=torch.float64), Grid((0.0, 0.0, 1000.0), (4000.0, 4000.0, 1500.0), (4, 4, 3)).points().double()[None]
    small = (12, 7)
    where = positions(camera, points, small)
    seen = where.inside[0].nonzero()[:3, 0]
    maps = (0.1 + 0.8 * torch.rand(2, 2, 7, 12, generator=rng(6), dtype=torch.float64)).requires_grad_()
    boxes = torch.tensor([[[-1.0, -1, 12, 8], [2, 1, 9, 6], [0, 0, 4, 4]]], dtype=torch.float64).expand(2, 3, 4)
    depths = (where.depth[:, seen] + torch.tensor([150.0, -130, 90])).clone().requires_grad_()
    valid = torch.ones(2, 3, dtype=torch.bool)

    def volume(maps, depths):
        return unproject(maps, where, depth_gate(where, boxes, depths, valid, small, sigma=1000.0))

    assert (volume(maps, depths) > 0.05).sum() > 20
    assert torch.autograd.gradcheck(volume, (maps, depths), eps=1e-4, atol=1e-6)
    gate = torch.rand(where.u.shape, generator=rng(7), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, g: unproject(m, where, g), (maps, gate), eps=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(lambda m: unproject(m, where), maps, eps=1e-6, atol=1e-6)


def test_any_frame():
    """The same places in the frame ahead of the camera, or in its own, hold the same values."""
    camera, maps = cameras(dtype=torch.float64), torch.rand(3, 2, 32, 60, generator=rng(8), dtype=torch.float64)
    points = GRID.points().double()[None].expand(3, -1, -1)
    world = unproject(maps, positions(camera, points, MAP))
    assert (world > 0).any()
    for frame in (Frame.ahead(camera, start=500.0), Frame.of_camera(camera)):
        close(unproject(maps, positions(frame.camera(camera), frame.from_world(points), MAP)), world, 1e-9)


# ---- speed -----------------------------------------------------------------------------------------------------------------------------


def test_faster_than_the_literal_loop():
    """Best of five in one run; `vp bench` has the figure of a quiet machine, this bound lets a crowded one pass."""
    from vp.lab.bench import unproject_case

    camera, points, maps, found = unproject_case()
    ours, theirs = [], []
    for _ in range(5):
        start = time.perf_counter()
        where = positions(camera, points, (240, 128))
        unproject(maps, where, depth_gate(where, *found, (240, 128)))
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        published.loop_volume(maps, positions(camera, points, (240, 128)), *found)
        theirs.append(time.perf_counter() - start)
    assert min(theirs) / min(ours) > 5
