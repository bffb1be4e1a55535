"""AGR synthesis against per-pixel loops and hand-computed numbers; edges, empty scenes, batches, targets (noise: test_agr_noise.py)."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from vp import published_agr as published
from vp.camera import Camera
from vp.skeleton import JOINTS_15
from vp.space import Grid
from vp.world import agr as module
from vp.world.agr import DETECTOR, Noise, agr, draw_box_map, draw_heatmaps, outer_max, person_sigma, synthesise, volume_target
from vp.world.poses import person

ROOT = JOINTS_15.root_index
SMALL = Grid((0.0, 0.0, 1000.0), (6000.0, 5000.0, 2000.0), (13, 11, 7))


@dataclass
class Scenes:
    """What `synthesise` asks of scenes."""

    joints: torch.Tensor
    valid: torch.Tensor
    mask: torch.Tensor
    camera: Camera
    visible: torch.Tensor

    def __getitem__(self, i):
        return Scenes(self.joints[i], self.valid[i], self.mask[i], self.camera[i], self.visible[i])

    def to(self, device):
        joints = self.joints.to(device)
        return Scenes(joints, self.valid.to(device), self.mask.to(device), self.camera.to(device), self.visible.to(device))


def rng(seed=0, device="cpu"):
    return torch.Generator(device).manual_seed(seed)


def make_scenes(B=4, P=3, seed=0):
    """B scenes of up to P people about the origin; the number of people goes 0, 1, ... P, 0, ..."""
    g = rng(seed)
    people = torch.arange(B) % (P + 1)
    mask = torch.arange(P) < people[:, None]
    joints = torch.full((B, P, 17, 3), float("nan"))
    for b, p in mask.nonzero().tolist():
        xy, yaw, stature = 3000 * torch.rand(2, generator=g) - 1500, 6 * torch.rand(1, generator=g), 1500 + 400 * torch.rand(1, generator=g)
        joints[b, p] = person(("standing", "walking", "sitting")[p % 3], stature.item(), tuple(xy.tolist()), yaw.item()).float()
    yaw = torch.linspace(0, 6, B)
    centre = torch.stack([-4500 * yaw.cos(), -4500 * yaw.sin(), torch.full((B,), 1800.0)], -1)
    camera = Camera.from_angles(torch.full((B,), 0.15), yaw, 0.0, centre, torch.full((B,), 1300.0))
    valid = mask[..., None].expand(B, P, 17).clone()
    return Scenes(joints, valid, mask, camera, valid & (torch.rand(B, P, 17, generator=g) < 0.7))


def blob(B=1, P=1, J=15, at=(480.0, 256.0), reach=(100.0, 200.0)):
    """uv (B, P, J, 2) on a 960x512 image about `at`, with everybody present; the root lies at `at`."""
    uv = torch.tensor(at) + (torch.rand(B, P, J, 2, generator=rng(5)) - 0.5) * torch.tensor(reach)
    uv[:, :, ROOT] = torch.tensor(at)
    return uv, torch.ones(B, P, J, dtype=torch.bool), torch.ones(B, P, dtype=torch.bool), (960, 512)


def mass_and_centre(maps):
    """Sum (...) and centre of mass (..., 2) of maps (..., H, W)."""
    H, W = maps.shape[-2:]
    mass = maps.sum((-1, -2))
    x, y = (maps.sum(-2) * torch.arange(W)).sum(-1) / mass, (maps.sum(-1) * torch.arange(H)).sum(-1) / mass
    return mass, torch.stack([x, y], -1)


# ---- Gaussians -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [None, 3.0])
def test_heatmaps_are_the_gaussians_pixel_by_pixel(cut):
    B, P, J, W, H = 2, 3, 4, 17, 11
    uv = torch.rand(B, P, J, 2, generator=rng(1)) * torch.tensor([W + 6.0, H + 6.0]) - 3.5  # some outside
    sigma, amplitude = 1 + 2 * torch.rand(B, P, generator=rng(2)), torch.rand(B, P, J, generator=rng(3))
    amplitude[0, 1] = 0
    maps = draw_heatmaps(uv, sigma, amplitude, (W, H), cut)
    for b, j, y, x in np.ndindex(B, J, H, W):
        best = 0.0
        for p in range(P):
            dx, dy, s = x - uv[b, p, j, 0].item(), y - uv[b, p, j, 1].item(), sigma[b, p].item()
            if cut is None or max(abs(dx), abs(dy)) <= cut * s:
                best = max(best, amplitude[b, p, j].item() * math.exp(-(dx * dx + dy * dy) / (2 * s * s)))
        assert maps[b, j, y, x].item() == pytest.approx(best, abs=2e-6)


@pytest.mark.parametrize("P", [0, 1, 4])
@pytest.mark.parametrize("chunk", [1, 150, 2**20])
def test_outer_max(monkeypatch, P, chunk):
    monkeypatch.setitem(module.CHUNK, "cpu", chunk)
    a, b = torch.rand(7, P, 5, generator=rng(1)), torch.rand(7, P, 3, generator=rng(2))
    out = outer_max(a, b)
    for n, i, k in np.ndindex(7, 5, 3):
        assert out[n, i, k] == max([(a[n, p, i] * b[n, p, k]).item() for p in range(P)], default=0)


def test_the_centre_of_a_heatmap_is_exact():
    """Centre of mass = where the camera fitted to the map projects the joint, to 1e-3 px; published peaks are up to half a pixel beside."""
    scenes = make_scenes(2, 1)[1:]
    out, _ = synthesise(scenes, noise=None, grid=None)
    uv, _, _ = scenes.camera.fit(240, 128).project(scenes.joints[:, 0, :15])
    _, centre = mass_and_centre(out.heatmaps)
    assert (centre - uv).abs().max() < 1e-3
    assert (out.roots[:, 0] - uv[:, ROOT]).abs().max() < 1e-4
    pixels = (4 * (uv[0] + 0.5) - 0.5).double().numpy()[None]
    _, theirs = mass_and_centre(torch.from_numpy(published.render(pixels, published.sigmas(pixels))))
    assert (theirs - uv[0]).abs().amax(0).min() > 0.3


def test_the_published_patch_is_ours_on_whole_pixels():
    """Integer position, frac(3 sigma) >= 0.5, away from the border: there the published patch has its peak in place, with our values."""
    sigma, at = 2.9, np.array([[[400.0, 200.0]]])  # t = 8.7
    theirs = torch.from_numpy(published.render(at, np.array([sigma]))[0])
    ours = draw_heatmaps(torch.tensor([[[[100.0, 50.0]]]]), torch.tensor([[sigma]]), torch.ones(1, 1, 1), (240, 128), cut=3)[0, 0]
    both = (theirs > 0) & (ours > 0)
    assert both.sum() >= 17 * 17
    assert (theirs - ours)[both].abs().max() < 1e-6
    assert theirs.max() == ours.max() == 1


def test_sigma():
    extent = torch.tensor([10.0, 48.0, 96.0, 192.0, 5000.0])
    expected = 3 * math.sqrt(2) * np.array([0.5, 0.5, 1, 2, 2])
    assert person_sigma(extent, 240).numpy() == pytest.approx(expected)
    assert person_sigma(extent / 2, 120).numpy() == pytest.approx(expected / 2)  # half the map: half of everything
    assert person_sigma(extent / 4, 60).numpy() == pytest.approx(np.maximum(expected / 4, 1))  # floor 1 px
    uv, *_ = blob(reach=(100, 300))
    assert agr(*blob(reach=(100, 300))).sigma.item() == pytest.approx(published.sigmas(uv[0].double().numpy())[0], rel=1e-5)


# ---- boxes ---------------------------------------------------------------------------------------------------------------------------


def test_box_by_hand():
    uv = torch.full((1, 1, 15, 2), 400.0)
    uv[0, 0, 0], uv[0, 0, 1], uv[0, 0, ROOT] = torch.tensor([300.0, 100.0]), torch.tensor([500.0, 350.0]), torch.tensor([420.0, 260.0])
    uv[0, 0, 5] = torch.tensor([400.0, 490.0])
    _, present, mask, size = blob()
    out = agr(uv, present, mask, size)
    # x 300..500 +- 50, y 100..490 +- 46.8, bottom cut at 511.5; then (u + 0.5) / 4 - 0.5
    assert out.boxes[0, 0].tolist() == pytest.approx([62.125, 12.925, 137.125, 127.5], abs=1e-4)
    assert out.roots[0, 0].tolist() == pytest.approx([104.625, 64.625])
    assert out.distances[0, 0].tolist() == pytest.approx([42.5, 51.7, 32.5, 62.875], abs=1e-4)
    assert out.index.item() == 65 * 240 + 105
    assert out.box_map[0, :, 64, 104].tolist() == pytest.approx(out.distances[0, 0].tolist())


def test_box_map_pixel_by_pixel():
    B, P, W, H = 3, 4, 60, 32
    roots = torch.rand(B, P, 2, generator=rng(1)) * torch.tensor([W, H]) - 0.5
    roots[0, :2] = torch.tensor([[-0.5, -0.5], [W - 0.51, H - 0.51]])  # corners
    valid, depth = torch.rand(B, P, generator=rng(2)) < 0.8, 5000 * torch.rand(B, P, generator=rng(3))
    valid[0] = True
    values = torch.rand(B, P, 4, generator=rng(4)) * 30
    values[~valid], roots[~valid] = float("nan"), float("nan")
    out = draw_box_map(values, roots, valid, -depth, (W, H))
    for b, y, x in np.ndindex(B, H, W):
        near = [p for p in range(P) if valid[b, p] and (roots[b, p] - torch.tensor([x, y])).abs().max() <= 15 * W / 240]
        expected = values[b, min(near, key=lambda p: depth[b, p].item())] if near else torch.zeros(4)
        assert (out[b, :, y, x] == expected).all()
    assert (out[0, :, 0, 0] == values[0, 0]).all()
    assert (out[0, :, -1, -1] == values[0, 1]).all()


def test_who_is_on_top_and_who_has_no_stamp():
    uv, present, mask, size = blob(1, 3)
    uv[0, 1] += torch.tensor([8.0, 0.0])  # overlaps person 0
    uv[0, 2] += torch.tensor([600.0, 0.0])  # root beyond the right border
    depth = torch.tensor([[3000.0, 2500.0, 1000.0]])
    for order, top in (((0, 1), 1), ((1, 0), 0)):
        d = depth.clone()
        d[0, :2] = depth[0, list(order)]
        out = agr(uv, present, mask, size, depth=d)
        x, y = out.roots[0, top].round().long().tolist()
        assert (out.box_map[0, :, y, x] == out.distances[0, top]).all()
    assert out.root_valid.tolist() == [[True, True, False]]
    assert out.index[0, 2] == 0
    assert (out.box_map[0, :, :, 200:] == 0).all()
    assert (out.boxes[0, 2, ::2] <= 239.5).all()


@pytest.mark.parametrize(("x", "y", "inside"), [(-0.5, 0, True), (-0.6, 0, False), (959.4, 511.4, True), (960, 9, False), (9, 512, False)])
def test_the_image_ends_half_a_pixel_beyond_its_last_pixel(x, y, inside):
    assert agr(*blob(at=(x, y))).root_valid.item() == inside


# ---- who is there ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("B", "P"), [(2, 0), (0, 3), (2, 3)])
def test_empty_scenes(B, P):
    scenes = make_scenes(B, P)
    scenes.mask[:], scenes.valid[:] = False, False
    for noise in (None, Noise(), DETECTOR):
        out, target = synthesise(scenes, (60, 32), noise, rng(), grid=SMALL)
        assert out.heatmaps.shape == (B, 15, 32, 60)
        assert out.box_map.shape == (B, 4, 32, 60)
        assert target.volume.shape == (B, *SMALL.bins)
        assert out.boxes.shape == (B, P, 4)
        if not (noise and noise.spurious):
            assert not out.heatmaps.any()
        assert not any(x.any() for x in (out.box_map, target.volume, target.mask, target.weight))
        assert out.boxes.isnan().all()


def test_joints_behind_the_camera_and_outside_the_image():
    scenes = make_scenes(4, 3)[3:]
    scenes.joints[0, 0, :, :] = person().float() + 2 * scenes.camera.centre[0].float()  # behind
    far = scenes.camera.to_world(torch.tensor([[[-9000.0, 0.0, 3000.0]]]))[0, 0]
    scenes.joints[0, 1] += far - scenes.joints[0, 1, ROOT]  # far outside at the left
    out, target = synthesise(scenes, noise=None, grid=SMALL)
    third = Scenes(scenes.joints[:, 2:], scenes.valid[:, 2:], scenes.mask[:, 2:], scenes.camera, None)
    alone, lonely = synthesise(third, noise=None, grid=SMALL)
    assert (out.heatmaps - alone.heatmaps).abs().max() < 1e-5
    assert (out.box_map == alone.box_map).all()
    assert (target.volume == lonely.volume).all()
    assert out.root_valid.tolist() == target.mask.tolist() == [[False, False, True]]
    assert out.boxes[0, 0].isnan().all()
    assert target.depth[0, 0] < 0
    assert not target.weight[0, :2].any()
    # a joint just beyond the border: its tail reaches in
    uv, present, mask, size = blob(at=(30.0, 256.0), reach=(0.0, 200.0))
    uv[0, 0, 4] = torch.tensor([-2.5, 257.5])  # map px (-1, 64): one pixel beyond the first column
    tail = agr(uv, present, mask, size)
    assert tail.heatmaps[0, 4, :, 0].max().item() == pytest.approx(math.exp(-1 / (2 * tail.sigma.item() ** 2)), rel=1e-4)
    shown = present.clone()
    shown[0, 0, 4] = False
    hidden = agr(uv, present, mask, size, shown=shown)
    assert not hidden.heatmaps[0, 4].any()
    assert (hidden.boxes == tail.boxes).all()


def test_missing_joints_are_left_out():
    scenes = make_scenes(4, 3)
    scenes.joints[3, 0, 1], scenes.valid[3, 0, 1] = float("nan"), False  # head top
    scenes.joints[3, 1, ROOT], scenes.valid[3, 1, ROOT] = float("nan"), False
    out, target = synthesise(scenes, (60, 32), None, grid=SMALL)
    assert out.heatmaps.isfinite().all()
    assert out.box_map.isfinite().all()
    assert target.volume.isfinite().all()
    assert not out.root_valid[3, 1]
    assert out.roots[3, 1].isnan().all()
    assert target.depth[3, 1].isnan()
    full, _ = synthesise(make_scenes(4, 3), (60, 32), None, grid=None)
    assert out.boxes[3, 0, 1] > full.boxes[3, 0, 1]  # without the head top the box ends lower


@pytest.mark.parametrize("noise", [None, Noise(), DETECTOR])
def test_same_seed_same_bits(noise):
    first, again, other = (synthesise(make_scenes(), (60, 32), noise, rng(seed), J=17, grid=SMALL) for seed in (3, 3, 4))
    for a, b in zip(first, again, strict=True):
        for name, value in vars(a).items():
            assert torch.equal(value.nan_to_num(-1), vars(b)[name].nan_to_num(-1)), name
    assert torch.equal(first[0].heatmaps, other[0].heatmaps) == (noise is None)


def test_a_batch_is_its_scenes():
    scenes = make_scenes(8, 3)
    batch = synthesise(scenes, noise=None, grid=SMALL)
    for i in range(8):
        for whole, part in zip(batch, synthesise(scenes[i : i + 1], noise=None, grid=SMALL), strict=True):
            for name, value in vars(part).items():
                close = 1e-3 if name in ("depth", "depth_norm", "boxes", "roots") else 1e-4
                assert torch.allclose(value.double(), vars(whole)[name][i : i + 1].double(), rtol=1e-5, atol=close, equal_nan=True), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_equals_cpu():
    scenes = make_scenes(8, 3)
    for a, b in zip(synthesise(scenes, noise=None, grid=SMALL), synthesise(scenes.to("cuda"), noise=None, grid=SMALL), strict=True):
        for name, value in vars(a).items():
            assert torch.allclose(value.double(), vars(b)[name].cpu().double(), rtol=1e-4, atol=1e-2, equal_nan=True), name
    out, _ = synthesise(scenes.to("cuda"), noise=DETECTOR, generator=rng(0, "cuda"))
    assert out.heatmaps.is_cuda


# ---- targets ---------------------------------------------------------------------------------------------------------------------------


def test_targets():
    scenes = make_scenes(4, 3)
    out, target = synthesise(scenes, noise=None)
    assert target.factor.numpy() == pytest.approx(1300 * 128 * 4 / 1080)  # 0.474 f: the focal length in 960x512
    cam = scenes.camera.to_camera(scenes.joints[:, :, ROOT])
    seen = target.mask
    assert seen.sum() == 6
    assert torch.allclose(target.depth[seen], cam[..., 2][seen])
    assert torch.allclose(target.depth_norm * target.factor[:, None], target.depth, equal_nan=True)
    assert (out.box_map.flatten(2).gather(2, target.index[:, None].expand(-1, 4, -1)).mT[seen] > 0).all()
    peak = out.heatmaps[:, ROOT].flatten(1).gather(1, target.index)[seen]
    assert (peak > 0.9).all()
    assert (target.weight.any(-1) == scenes.mask).all()
    theirs = [published.target_3d(target.roots[b, : b % 4].double().numpy(), SMALL.size, SMALL.centre, SMALL.bins) for b in range(4)]
    ours = volume_target(target.roots, scenes.mask, SMALL, cut=3)
    assert np.abs(np.array(theirs) - ours.numpy()).max() < 1e-6
    assert ours[1:].amax((1, 2, 3)).min() > 0.1


def test_volume_voxel_by_voxel():
    roots = torch.tensor([[[120.0, -300.0, 900.0], [2900.0, 2000.0, 400.0], [0.0, 0.0, 0.0]]])
    volume = volume_target(roots, torch.tensor([[True, True, False]]), SMALL)
    for i, j, k in np.ndindex(SMALL.bins):
        g = np.array([-3000 + 500 * i, -2500 + 500 * j, 1000 / 3 * k])
        expected = max(math.exp(-((g - r) ** 2).sum() / 80000) for r in roots[0, :2].numpy())
        assert volume[0, i, j, k].item() == pytest.approx(expected, abs=1e-6)
    assert [a[[0, -1]].tolist() for a in Grid().axes()] == [[-4000, 4000], [-4500, 3500], [-400, 2000]]
