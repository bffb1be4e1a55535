"""The camera against naive formulas, OpenCV, hand-computed numbers and itself (round trips, batches, gradients)."""

import math
import time

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample

from vp.camera import (
    MIN_DEPTH,
    Camera,
    depth_from_floor,
    depth_from_height,
    fit_transform,
    fold_radius,
    image_height,
    proper_rotation,
    rescale,
    to_grid,
)
from vp.errors import InputError

DIST = [-0.28, 0.19, 0.0021, -0.0013, -0.06]  # k1 k2 p1 p2 k3, HD camera of a capture dome
T64 = torch.float64


def camera(dist=None, pitch=0.3, yaw=0.7, roll=0.1, focal=1400.0):
    cam = Camera.from_angles(pitch, yaw, roll, (100.0, -4000.0, 1600.0), focal)
    cam.f = torch.tensor([focal, focal - 7], dtype=T64)
    cam.dist = None if dist is None else torch.tensor(dist, dtype=T64)
    return cam


def seen_points(cam, n=40, seed=0):
    """World points in front of the camera and well inside the picture."""
    g = torch.Generator().manual_seed(seed)
    uv = torch.rand(n, 2, generator=g, dtype=T64) * torch.tensor(cam.size, dtype=T64)
    depth = 800 + 6000 * torch.rand(n, generator=g, dtype=T64)
    xy = (uv - cam.c) / cam.f
    return cam.to_world(torch.cat([xy * depth[:, None], depth[:, None]], 1)), depth


def naive_projection(cam, point):
    """One point by scalar arithmetic, straight from the formula of the OpenCV manual."""
    R, t = cam.R.tolist(), cam.t.tolist()
    x, y, z = (sum(R[i][j] * point[j] for j in range(3)) + t[i] for i in range(3))
    x, y = x / z, y / z
    k1, k2, p1, p2, k3 = cam.dist.tolist() if cam.dist is not None else (0,) * 5
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
    yd = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
    return cam.f[0].item() * xd + cam.c[0].item(), cam.f[1].item() * yd + cam.c[1].item()


# ---- projection --------------------------------------------------------------------------------------------------------------------


def test_projection_by_hand():
    # camera at (0, 0, 1500) looking along world Y, level: camera x = world X, camera y = world -Z, depth = world Y
    cam = Camera.from_angles(0.0, math.pi / 2, 0.0, (0.0, 0.0, 1500.0), 1000.0, (1920, 1080))
    uv, depth, valid = cam.project(torch.tensor([[0, 4000, 1500], [400, 4000, 500], [0, -1000, 1500]], dtype=T64))
    assert depth.tolist() == pytest.approx([4000, 4000, -1000])
    assert uv[0].tolist() == pytest.approx([959.5, 539.5])  # the middle of 1920 x 1080 with integer = pixel centre
    assert uv[1].tolist() == pytest.approx([959.5 + 100, 539.5 + 250])
    assert valid.tolist() == [True, True, False]


@pytest.mark.parametrize("dist", [None, DIST])
def test_projection_against_naive_and_opencv(dist):
    cam = camera(dist)
    points, depth = seen_points(cam)
    uv, z, valid = cam.project(points)
    assert valid.all()
    assert torch.allclose(z, depth)
    naive = torch.tensor([naive_projection(cam, p) for p in points.tolist()], dtype=T64)
    assert (uv - naive).abs().max() < 1e-9
    K = np.array([[cam.f[0], 0, cam.c[0]], [0, cam.f[1], cam.c[1]], [0, 0, 1]], float)
    opencv = cv2.projectPoints(points.numpy(), cv2.Rodrigues(cam.R.numpy())[0], cam.t.numpy(), K, np.array(dist or [0.0] * 5))[0][:, 0]
    assert np.abs(uv.numpy() - opencv).max() < 1e-6
    back, ok = cam.normalise(uv)
    assert ok.all()
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 500, 1e-14)
    opencv = cv2.undistortPoints(uv.numpy(), K, np.array(dist or [0.0] * 5), criteria=criteria)[:, 0]
    assert np.abs(back.numpy() - opencv).max() < 1e-7
    if dist:
        assert (cam.project(points, distort=False)[0] - uv).norm(dim=1).max() > 5  # the lens matters, and can be switched off


@pytest.mark.parametrize("dist", [None, DIST])
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_round_trip_in_batches(dist, lead):
    pitch = torch.linspace(-0.2, 0.8, math.prod(lead), dtype=T64).reshape(lead)
    cam = Camera.from_angles(pitch, 0.4, 0.05, (0.0, 0.0, 1500.0), torch.full(lead, 1400.0))
    if dist:
        cam.dist = torch.tensor(dist, dtype=T64).expand(*lead, 5)
    g = torch.Generator().manual_seed(1)
    uv = torch.rand(*lead, 11, 2, generator=g, dtype=T64) * torch.tensor(cam.size, dtype=T64)
    depth = 500 + 7000 * torch.rand(*lead, 11, generator=g, dtype=T64)
    world, ok = cam.unproject(uv, depth)
    assert world.shape == (*lead, 11, 3)
    assert ok.all()
    uv2, depth2, valid = cam.project(world)
    assert valid.all()
    assert (uv2 - uv).abs().max() < 1e-6
    assert (depth2 - depth).abs().max() < 1e-6
    assert (cam.to_world(cam.to_camera(world)) - world).abs().max() < 1e-9
    # rays pass through the points
    origin, direction, ok = cam.rays(uv)
    assert ok.all()
    along = ((world - origin) * direction).sum(-1, keepdim=True)
    assert (origin + along * direction - world).norm(dim=-1).max() < 1e-6
    # batch = one by one
    for i in np.ndindex(*lead):
        single = cam[i]
        assert (single.project(world[i])[0] - uv2[i]).abs().max() < 1e-9
        assert (single.unproject(uv[i], depth[i])[0] - world[i]).abs().max() < 1e-9
        assert (single.centre - torch.tensor([0, 0, 1500.0], dtype=T64)).abs().max() < 1e-9


@pytest.mark.parametrize("dist", [None, DIST])
def test_gradients(dist):
    cam = camera(dist)
    points, depth = seen_points(cam, 4)
    uv = cam.project(points)[0]

    def build(R, t, f, c, d):
        return Camera(R, t, f, c, cam.size, d if dist else None)

    params = [x.clone().requires_grad_() for x in (cam.R, cam.t, cam.f, cam.c, torch.tensor(dist or [0.0] * 5, dtype=T64))]
    points, uv, depth = (x.clone().requires_grad_() for x in (points, uv, depth))
    tolerances = {"eps": 1e-6, "atol": 1e-3, "rtol": 1e-4, "nondet_tol": 0.0}
    if not dist:
        params[4] = params[4].detach()
    assert torch.autograd.gradcheck(lambda x, *p: build(*p).project(x)[:2], (points, *params), **tolerances)
    assert torch.autograd.gradcheck(lambda u, z, *p: build(*p).unproject(u, z)[0], (uv, depth, *params), **tolerances)


@pytest.mark.parametrize("dist", [None, DIST])
def test_missing_points_stay_out_of_gradients(dist):
    cam = camera(dist)
    points, depth = seen_points(cam, 6)
    uv = cam.project(points)[0]
    points[2], points[3, 1] = float("nan"), float("nan")
    points[4] = cam.centre - 1000 * cam.R[2]  # behind the camera
    uv[1, 0], depth[2] = float("nan"), float("nan")
    depth[3] = -5.0
    params = [x.clone().requires_grad_() for x in (cam.R, cam.t, cam.f, cam.c)]
    lens = None if dist is None else cam.dist.clone().requires_grad_()
    cam = Camera(*params, cam.size, lens)
    points, uv, depth = (x.requires_grad_() for x in (points, uv, depth))
    out, z, valid = cam.project(points)
    assert valid.tolist() == [True, True, False, False, False, True]
    assert out[~valid].isnan().all()
    assert out[valid].isfinite().all()
    assert z[[2, 3]].isnan().all()
    world, ok = cam.unproject(uv, depth)
    assert ok.tolist() == [True, False, False, False, True, True]
    (out[valid].sum() + z[valid].sum() + world[ok].sum()).backward()
    for x in (*params, points, uv, depth, *([] if lens is None else [lens])):
        assert x.grad.isfinite().all()
    assert (points.grad[~valid] == 0).all()


def test_pixels_without_floor_stay_out_of_gradients():
    cam = Camera.from_angles(0.0, 0.0, 0.0, (0.0, 0.0, 1500.0))
    R, t = (x.clone().requires_grad_() for x in (cam.R, cam.t))
    uv = torch.tensor([[900, 900], [900, 539.5], [900, 100], [float("nan"), 0]], dtype=T64, requires_grad=True)  # on, level, above, unknown
    floor, ok = Camera(R, t, cam.f, cam.c, cam.size).on_floor(uv)
    assert ok.tolist() == [True, False, False, False]
    floor[ok].sum().backward()
    assert all(x.grad.isfinite().all() for x in (R, t, uv))
    assert uv.grad[0].abs().min() > 0
    assert (uv.grad[1:] == 0).all()


def test_near_and_behind_are_invalid_not_clamped():
    cam = camera()
    along = torch.tensor([-1000.0, 0.0, MIN_DEPTH * 0.99, MIN_DEPTH * 1.01, 1e6], dtype=T64)
    uv, depth, valid = cam.project(cam.centre + along[:, None] * cam.R[2])
    assert valid.tolist() == [False, False, False, True, True]
    assert torch.allclose(depth, along, atol=1e-6)
    assert uv.isnan().any(1).tolist() == [True, True, True, False, False]


def test_beyond_the_fold_is_invalid():
    # k1 = -0.3 alone: r (1 - 0.3 r^2) grows until r^2 = 1 / 0.9
    dist = torch.tensor([-0.3, 0, 0, 0, 0], dtype=T64)
    fold = math.sqrt(1 / 0.9)
    assert fold_radius(dist).item() == pytest.approx(fold)
    assert fold_radius(torch.tensor([[0.1, 0, 0, 0, 0], [-0.3, 0, 0.01, 0, 0]], dtype=T64)).tolist() == [math.inf, pytest.approx(fold)]
    zero = torch.zeros(3, dtype=T64)
    cam = Camera(torch.eye(3, dtype=T64), zero, zero[:2] + 1000, zero[:2], (9, 9), dist)
    r = torch.tensor([0.5, fold - 1e-3, fold + 1e-3, 1.6], dtype=T64)
    points = 1000 * torch.stack([r, torch.zeros(4, dtype=T64), torch.ones(4, dtype=T64)], 1)
    uv, depth, valid = cam.project(points)
    assert valid.tolist() == [True, True, False, False]
    assert uv[:2, 0].tolist() == pytest.approx([1000 * 0.5 * (1 - 0.3 * 0.25), 1000 * (r[1] * (1 - 0.3 * r[1] ** 2)).item()])
    assert uv[2:].isnan().all()
    assert (depth == 1000).all()
    assert cam.project(points, distort=False)[2].all()
    # a pixel farther out than the fold reaches (2/3 of its radius) is seen by no direction
    _, ok = cam.normalise(torch.tensor([[1000 * fold * 2 / 3 - 1, 0], [1000 * fold * 2 / 3 + 1, 0]], dtype=T64))
    assert ok.tolist() == [True, False]


def fold_radius_by_roots(dist):
    """The same, one camera at a time: smallest positive root s = r² of the slope 1 + 3 k1 s + 5 k2 s² + 7 k3 s³."""
    radii = []
    for k1, k2, _, _, k3 in dist.reshape(-1, 5).tolist():
        s = np.roots([x if abs(x) > 1e-12 else 0.0 for x in (7 * k3, 5 * k2, 3 * k1, 1.0)])
        s = s[(np.abs(s.imag) < 1e-9) & (s.real > 0)].real
        radii.append(math.sqrt(s.min()) if len(s) else math.inf)
    return torch.tensor(radii, dtype=T64).reshape(dist.shape[:-1])


def test_fold_radius_of_many_cameras_equals_the_loop_over_roots():
    rng = np.random.default_rng(0)
    dist = rng.normal(0, 0.3, (500, 4, 5)) * 10.0 ** rng.integers(-3, 1, (500, 4, 5))
    dist[rng.random(dist.shape) < 0.3] = 0
    dist[0] = [[0] * 5, [0.1, 0, 0, 0, 0], [-0.3, 1e-300, 0, 0, -1e-315], DIST]
    dist = torch.from_numpy(dist)
    want = fold_radius_by_roots(dist)
    start = time.perf_counter()
    got = fold_radius(dist)
    assert time.perf_counter() - start < 0.2  # 2000 cameras; the loop takes most of a second
    assert 0.2 < want.isinf().double().mean() < 0.8
    assert torch.equal(got.isinf(), want.isinf())
    assert torch.allclose(got[~got.isinf()], want[~want.isinf()], rtol=1e-9)
    assert fold_radius(torch.full((5,), -1e-320, dtype=T64)) > 1e6
    assert fold_radius(dist[0, 3]).shape == ()
    assert fold_radius(dist[:0]).shape == (0, 4)


# ---- where the camera is -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pitch", [-0.4, 0.0, 0.3, 1.2])
@pytest.mark.parametrize("roll", [-0.5, 0.0, 0.2])
@pytest.mark.parametrize("yaw", [-2.0, 0.0, 3.0])
def test_angles_read_back(pitch, roll, yaw):
    cam = Camera.from_angles(pitch, yaw, roll, (10.0, 20.0, 1234.0))
    assert [cam.pitch.item(), cam.yaw.item(), cam.roll.item()] == pytest.approx([pitch, yaw, roll])
    assert cam.pitch_deg.item() == pytest.approx(math.degrees(pitch))
    assert (cam.R @ cam.R.T - torch.eye(3, dtype=T64)).abs().max() < 1e-12
    assert torch.linalg.det(cam.R).item() == pytest.approx(1)
    assert cam.centre.tolist() == pytest.approx([10, 20, 1234])


def test_signs_of_the_angles():
    level = Camera.from_angles(0.0, 0.0, 0.0, (0.0, 0.0, 1000.0))  # looks along world X; its right is world -Y, its down is world -Z
    assert level.R.tolist() == [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    ahead = torch.tensor([[5000, 0, 1000], [5000, -1000, 1000]], dtype=T64)
    v = Camera.from_angles(0.2, 0.0, 0.0, (0.0, 0.0, 1000.0)).project(ahead)[0][0, 1]
    assert v < 539.5  # looking down, what is level ahead moves up in the image
    v = Camera.from_angles(0.0, 0.0, 0.2, (0.0, 0.0, 1000.0)).project(ahead)[0][1, 1]
    assert v > 539.5  # right side up: what is level at the right moves down


def test_look_at():
    target = torch.tensor([[300, -200, 900], [-1000, 4000, 0], [0, 0, 0]], dtype=T64)
    centre = torch.tensor([[4000, 1000, 1500], [0, 0, 2800], [500, 0, 200]], dtype=T64)
    cam = Camera.look_at(centre, target, roll=0.3)
    uv, depth, valid = cam.project(target[:, None])
    assert valid.all()
    assert (uv[:, 0] - torch.tensor([959.5, 539.5], dtype=T64)).abs().max() < 1e-9
    assert torch.allclose(depth[:, 0], (target - centre).norm(dim=1))
    assert torch.allclose(cam.centre, centre)
    assert cam.roll.tolist() == pytest.approx([0.3] * 3)
    assert cam.pitch[2].item() == pytest.approx(math.atan2(200, 500))
    # without roll the image's up is the world's up: a pole through the target stays on the central column
    pole = Camera.look_at(centre[0], target[0]).project(target[0] + torch.tensor([[0, 0, 300], [0, 0, -300]], dtype=T64))[0]
    assert (pole[:, 0] - 959.5).abs().max() < 1e-9
    assert pole[0, 1] < 539.5 < pole[1, 1]


@pytest.mark.parametrize(
    "shapes",  # of pitch, yaw, roll, focal and the centres
    [((), (), (), (), (4,)), ((), (), (), (4,), ()), ((3, 1), (4,), (), (1, 4), (3, 1)), ((), (2,), (), (), (5, 2)),
     ((), (), (4,), (1,), (1,))],
)  # fmt: skip
def test_angles_focal_and_centre_broadcast(shapes):
    g = torch.Generator().manual_seed(0)
    lead = np.broadcast_shapes(*shapes)
    pitch, yaw, roll, focal = (torch.rand(s, generator=g, dtype=T64) for s in shapes[:4])
    centre = 1000 * torch.rand(*shapes[4], 3, generator=g, dtype=T64)
    cam = Camera.from_angles(pitch, yaw, roll, centre, 1000 + focal)
    assert (cam.R.shape, cam.t.shape, cam.f.shape, cam.c.shape) == ((*lead, 3, 3), (*lead, 3), (*lead, 2), (*lead, 2))
    whole = [np.broadcast_to(x.numpy(), lead) for x in (pitch, yaw, roll, 1000 + focal)]
    centres = np.broadcast_to(centre.numpy(), (*lead, 3))
    for i in np.ndindex(*lead):
        one = Camera.from_angles(*(float(x[i]) for x in whole[:3]), centres[i].tolist(), float(whole[3][i]))
        for name in ("R", "t", "f", "c"):
            assert torch.allclose(getattr(cam[i], name), getattr(one, name), atol=1e-12), name


def test_shapes_that_do_not_broadcast():
    for bad in ({"pitch": torch.zeros(3), "focal": torch.ones(4)}, {"centre": (0.0, 1.0)}, {"centre": 1500.0}):
        with pytest.raises(InputError, match="do not broadcast") as e:
            Camera.from_angles(**{"pitch": 0.1, "yaw": 0.0, **bad})
        assert "\n" not in str(e.value)


def test_look_at_itself_is_an_error():
    for centre in ((1.0, 2.0, 3.0), torch.tensor([[0.0, 0, 0], [1, 2, 3]])):
        with pytest.raises(InputError, match="coincide"):
            Camera.look_at(centre, (1.0, 2.0, 3.0))
    assert Camera.look_at((1.0, 2.0, 3000.0), (1.0, 2.0, 0.0)).pitch_deg.item() == pytest.approx(90)  # straight down is a direction


def test_whole_numbers_are_points_too():
    cam = camera(DIST)
    world = torch.tensor([[0, 0, 0], [100, -50, 1700], [900, 800, 0]])
    uv, depth, valid = cam.project(world)
    want = cam.project(world.double())
    assert uv.dtype == T64
    assert valid.all()
    assert all(torch.equal(a, b) for a, b in zip((uv, depth, valid), want))
    assert torch.equal(cam.to_camera(world), cam.to_camera(world.double()))
    assert torch.equal(cam.to_world(world), cam.to_world(world.double()))
    seen = torch.tensor([[0, 0, 3000], [500, -300, 4000]])
    assert torch.equal(cam.project_camera(seen)[0], cam.project_camera(seen.double())[0])
    px, far = torch.tensor([[10, 20], [960, 540], [1900, 1000]]), torch.tensor([3000, 4000, 5000])
    assert torch.equal(cam.unproject(px, far)[0], cam.unproject(px.double(), far.double())[0])
    for method in (cam.normalise, cam.rays, cam.on_floor):
        assert torch.equal(method(px)[0].nan_to_num(), method(px.double())[0].nan_to_num())


# ---- pixels of another resolution --------------------------------------------------------------------------------------------------


def blob(size, at, sigma):
    """Grey picture (h, w) with a Gaussian at pixel position `at` (integer = pixel centre)."""
    x, y = np.arange(size[0]), np.arange(size[1])
    return np.exp(-((x[None] - at[0]) ** 2 + (y[:, None] - at[1]) ** 2) / (2 * sigma**2)).astype(np.float32)


def centroid(image):
    x, y = np.arange(image.shape[1]), np.arange(image.shape[0])
    return (image.sum(0) * x).sum() / image.sum(), (image.sum(1) * y).sum() / image.sum()


@pytest.mark.parametrize(("how", "k"), [(cv2.INTER_AREA, 0.25), (cv2.INTER_AREA, 0.5), (cv2.INTER_LINEAR, 2.0), (cv2.INTER_LINEAR, 0.8)])
def test_rescale_says_where_opencv_puts_a_blob(how, k):
    at, size = (57.3, 41.8), (160, 120)
    small = cv2.resize(blob(size, at, 6.0), (round(size[0] * k), round(size[1] * k)), interpolation=how)
    said = rescale(torch.tensor(at, dtype=T64), k).tolist()
    assert centroid(small) == pytest.approx(said, abs=0.01)
    naive = (at[0] * k, at[1] * k)  # without the half pixel: wrong by (1 - k) / 2
    assert abs(centroid(small)[0] - naive[0]) == pytest.approx(abs(1 - k) / 2, abs=0.01)


def test_stride_four():
    assert rescale(torch.tensor([0.0, 1.5, 3.0]), 1 / 4).tolist() == [-0.375, 0.0, 0.375]  # four pixels around the centre of the first cell


def test_to_grid_samples_the_pixel_it_names():
    image = torch.arange(5 * 7, dtype=T64).reshape(1, 1, 5, 7)
    uv = torch.tensor([[0, 0], [6, 4], [3, 2], [2.5, 1.25]], dtype=T64)
    out = grid_sample(image, to_grid(uv, (7, 5))[None, None], align_corners=False)[0, 0, 0]
    assert out.tolist() == pytest.approx([0, 34, 17, 2.5 + 7 * 1.25])
    assert to_grid(torch.tensor([-0.5, 4.5], dtype=T64), (7, 5)).tolist() == pytest.approx([-1, 1])  # outer edges of the image


@pytest.mark.parametrize("dist", [None, DIST])
def test_crop_resize_fit_move_the_projections_like_the_picture(dist):
    cam = camera(dist)
    points = seen_points(cam, 9)[0]
    uv = cam.project(points)[0]
    crop = cam.crop(100, -20, 800, 600)
    assert crop.size == (800, 600)
    assert torch.allclose(crop.project(points)[0], uv - torch.tensor([100, -20], dtype=T64))
    small = cam.resize(480, 360)
    k = torch.tensor([480 / 1920, 360 / 1080], dtype=T64)
    assert torch.allclose(small.project(points)[0], (uv + 0.5) * k - 0.5)
    fit = cam.fit(960, 512)
    assert fit.size == (960, 512)
    # by hand: 512 / 1080 of the size, 24.888... px of padding left and right
    factor, padding = fit_transform((1920, 1080), (960, 512))
    assert [factor, *padding] == pytest.approx([512 / 1080, (960 - 1920 * 512 / 1080) / 2, 0])
    expected = (uv + 0.5) * (512 / 1080) - 0.5 + torch.tensor([24.8888888889, 0], dtype=T64)
    assert torch.allclose(fit.project(points)[0], expected)
    # the depth normalisation factor is the focal length in resized pixels: 0.474 f for 1920 x 1080 (published settings 1.2)
    f = math.sqrt(1400 * 1393)
    assert cam.depth_norm.item() == pytest.approx(f)
    wp, hp = 1080 / 512 * 960, 1080
    assert fit.depth_norm.item() == pytest.approx(math.sqrt(1400 * 1393 * 960 * 512 / (wp * hp)))
    assert fit.depth_norm.item() == pytest.approx(0.474 * f, rel=1e-3)


def test_fit_follows_a_warped_picture():
    """A blob drawn where the camera projects a point lands, after a real resize with padding, where the fitted camera projects it."""
    cam = Camera.from_angles(0.2, 0.0, 0.0, (0.0, 0.0, 1500.0), 150.0, (200, 120))
    point = torch.tensor([[4000.0, 700.0, 900.0]], dtype=T64)
    picture = blob(cam.size, cam.project(point)[0][0].tolist(), 5.0)
    inner = cv2.resize(picture, (100, 60), interpolation=cv2.INTER_AREA)
    padded = np.pad(inner, ((10, 10), (0, 0)))  # 100 x 80
    assert centroid(padded) == pytest.approx(cam.fit(100, 80).project(point)[0][0].tolist(), abs=0.01)


def test_in_image():
    cam = Camera.from_angles(0.0, 0.0, size=(10, 6))
    uv = torch.tensor([[-0.5, -0.5], [9.49, 5.49], [9.5, 0], [0, 5.5], [-0.51, 0], [float("nan"), 0]], dtype=T64)
    assert cam.in_image(uv).tolist() == [True, True, False, False, False, False]


# ---- in and out --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dist", [None, DIST])
def test_dict_round_trip(dist):
    import json

    cam = camera(dist)
    back = Camera.from_dict(json.loads(json.dumps(cam.to_dict())))
    points = seen_points(cam)[0]
    assert back.size == cam.size
    assert torch.equal(back.project(points)[0], cam.project(points)[0])


GOOD = {"R": np.eye(3).tolist(), "t": [0, 0, 0], "f": [1000, 1000], "c": [500, 400], "size": [1000, 800]}


@pytest.mark.parametrize(
    "bad",
    [
        None, [], "camera", {}, {k: v for k, v in GOOD.items() if k != "c"},
        {**GOOD, "R": "x"}, {**GOOD, "R": [1, 2, 3]}, {**GOOD, "R": [[1, 0], [0, 1]]}, {**GOOD, "R": [[1, 0, 0], [0]]},
        {**GOOD, "R": (2 * np.eye(3)).tolist()}, {**GOOD, "R": np.zeros((3, 3)).tolist()}, {**GOOD, "t": [0, 0, float("nan")]},
        {**GOOD, "f": [1000, -1]}, {**GOOD, "f": 1000}, {**GOOD, "f": [1000, None]}, {**GOOD, "size": [0, 800]},
        {**GOOD, "size": [float("inf"), 800]}, {**GOOD, "size": [10.9, 800]},
        {**GOOD, "size": [1000, 800.5]}, {**GOOD, "dist": [0.1, 0.2]}, {**GOOD, "dist": "none"},
    ],
)  # fmt: skip
def test_bad_cameras_are_told_in_one_line(bad):
    with pytest.raises(InputError, match=r"^my\.json: ") as e:
        Camera.from_dict(bad, "my.json")
    assert "\n" not in str(e.value)


def test_left_handed_extrinsics_are_repaired_with_a_warning():
    good = camera()
    mirrored = good.R.clone()
    mirrored[:, 1] *= -1
    with pytest.warns(UserWarning, match=r"TS7: R is left-handed"):
        R, t = proper_rotation(mirrored, good.t, "TS7")
    assert torch.equal(R, good.R)
    assert torch.equal(t, good.t)
    assert torch.linalg.det(mirrored) < 0  # the input is not changed
    with pytest.warns(UserWarning, match="left-handed"):
        cam = Camera.from_dict(good.to_dict() | {"R": mirrored.tolist()})
    assert torch.equal(cam.R, good.R)


def test_to_casts_everything():
    cam = camera(DIST).to(torch.float32)
    assert {x.dtype for x in (cam.R, cam.t, cam.f, cam.c, cam.dist)} == {torch.float32}
    points = seen_points(camera())[0]
    uv = cam.project(points.float())[0]
    assert uv.dtype == torch.float32
    assert (uv - camera(DIST).project(points)[0]).abs().max() < 0.01
    assert camera(DIST).project(points.float())[0].dtype == torch.float32  # the points decide


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_equals_cpu():
    cam = camera(DIST)
    points, depth = seen_points(cam)
    uv = cam.project(points)[0]
    gpu = cam.to("cuda")
    assert (gpu.project(points.cuda())[0].cpu() - uv).abs().max() < 1e-9
    assert (gpu.unproject(uv.cuda(), depth.cuda())[0].cpu() - points).abs().max() < 1e-6
    assert (gpu.on_floor(uv.cuda())[0].cpu() - cam.on_floor(uv)[0]).nan_to_num().abs().max() < 1e-3


# ---- Fig. 1 --------------------------------------------------------------------------------------------------------------------------


def test_fig1_by_hand():
    assert image_height(1400, 1.0, 1750, 0.0, 3500) == pytest.approx(700)
    assert image_height(1400, 0.5, 1750, math.pi / 3, 3500) == pytest.approx(175)
    assert depth_from_height(1400, 1.0, 1750, 0.0, 700) == pytest.approx(3500)
    d = torch.tensor([2000.0, 8000.0], dtype=T64)
    h = image_height(1400.0, 0.9, 1700.0, torch.tensor(0.2, dtype=T64), d)
    assert torch.allclose(depth_from_height(1400.0, 0.9, 1700.0, torch.tensor(0.2, dtype=T64), h), d)


def pole(theta, distance, stature=1750.0, focal=1400.0):
    """Vertical pole whose middle lies on the optical axis at `distance` mm, camera pitch theta: exact image height px, depth mm."""
    middle = torch.tensor([distance * math.cos(theta), 0, stature / 2], dtype=T64)
    cam = Camera.from_angles(theta, 0.0, 0.0, (0.0, 0.0, stature / 2 + distance * math.sin(theta)), focal)
    uv, depth, valid = cam.project(torch.stack([middle * torch.tensor([1, 0, s]) for s in (0, 1, 2)]).to(T64))
    assert valid.all()
    return (uv[0, 1] - uv[2, 1]).item(), depth[1].item()


def test_fig1_against_exact_projection():
    # level camera: every point of the pole has the same depth, the relation is exact
    h, d = pole(0.0, 4000.0)
    assert d == pytest.approx(4000)
    assert h == pytest.approx(image_height(1400, 1, 1750, 0.0, d), rel=1e-12)
    # by hand: a point s mm up the pole has y = -s cos θ, z = d - s sin θ
    theta, half = math.radians(30), 875.0
    v = [-1400 * s * math.cos(theta) / (4000 - s * math.sin(theta)) for s in (-half, half)]
    assert pole(theta, 4000.0)[0] == pytest.approx(v[0] - v[1], rel=1e-12)

    def error(pitch_deg, distance):
        """Relative error of h_img; by hand: exactly (S sin θ / 2 d)²."""
        h, d = pole(math.radians(pitch_deg), distance)
        return abs(image_height(1400, 1, 1750, math.radians(pitch_deg), d) / h - 1)

    for pitch_deg, distance in ((5, 8000), (20, 8000), (20, 2500), (40, 3000)):
        assert error(pitch_deg, distance) == pytest.approx((1750 * math.sin(math.radians(pitch_deg)) / 2 / distance) ** 2, rel=1e-6)
    assert error(5, 8000) < 1e-3 < error(40, 3000)
    # off the optical axis cos θ is not the factor: a far person at camera height, on the horizon, has 1 / cos θ (by hand), 12 % more at 20°
    cam = Camera.from_angles(math.radians(20), 0.0, 0.0, (0.0, 0.0, 1200.0), 1400.0)
    uv, depth, _ = cam.project(torch.tensor([[20000, 0, 325], [20000, 0, 1200], [20000, 0, 2075]], dtype=T64))
    ratio = image_height(1400, 1, 1750, math.radians(20), depth[1].item()) / (uv[0, 1] - uv[2, 1]).item()
    assert ratio == pytest.approx(math.cos(math.radians(20)) ** 2, rel=1e-3)


def test_depth_from_floor_against_the_exact_ray():
    assert depth_from_floor(1400, 1200, 0.0, 420) == pytest.approx(4000)  # level: d = f h / v
    theta = 0.25
    cam = Camera.from_angles(theta, 0.9, 0.0, (100.0, 200.0, 1600.0), 1400.0)
    uv = torch.tensor([[959.5, 539.5 + v] for v in (-150.0, 0.0, 300.0)] + [[300.0, 800.0]], dtype=T64)
    floor, ok = cam.on_floor(uv)
    assert ok.all()
    assert floor[:, 2].abs().max() < 1e-9
    depth = cam.to_camera(floor)[:, 2]
    assert torch.allclose(depth, depth_from_floor(1400.0, 1600.0, torch.tensor(theta, dtype=T64), uv[:, 1] - 539.5))
    assert torch.allclose(cam.project(floor)[0], uv)
    # above the horizon (v = -f tan θ) no floor is met; a plane above the camera is met there
    sky = torch.tensor([[959.5, 539.5 - 1400 * math.tan(theta) - 5]], dtype=T64)
    nothing, ok = cam.on_floor(torch.cat([uv[:1], sky, torch.tensor([[float("nan"), 0.0]], dtype=T64)]))
    assert ok.tolist() == [True, False, False]
    assert torch.equal(nothing[0], floor[0])
    assert nothing[1:].isnan().all()
    assert cam.on_floor(sky, height=2500.0)[1].item()
    assert cam.on_floor(sky, height=2500.0)[0][0, 2].item() == pytest.approx(2500)
    # 1 degree of pitch error at 1.2 m camera height and 4 m: d(depth) = about depth^2 / height per radian
    v = 1400 * math.tan(math.atan2(1200, 4000))
    wrong = depth_from_floor(1400, 1200, math.radians(1), v)
    assert abs(wrong - 4000) == pytest.approx(4000 - 1200 / (math.sin(math.radians(1)) + 0.3 * math.cos(math.radians(1))))
    assert 200 < abs(wrong - 4000) < 300
