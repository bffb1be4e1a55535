"""Decoding of the maps, REN, candidates by NMS: against loops, hand-computed numbers and the AGR of known scenes."""

import pytest
import torch
from conftest import close, looking_in
from torch import nn

from vp.nets.ren import DE, REN, ROOT, candidates, decode, detected_roots, nearest_root
from vp.nets.unproject import depth_gate, positions, unproject
from vp.skeleton import JOINTS_15, JOINTS_17
from vp.space import Grid
from vp.world.agr import agr, draw_heatmaps

MAP = (60, 32)
GRID = Grid((0.0, 0.0, 1000.0), (6000.0, 6000.0, 2000.0), (12, 12, 8))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def scene(B=2, P=3, seed=0):
    """AGR of people drawn at random in a 960 x 512 image, well apart, and its box map."""
    g = rng(seed)
    across, down = torch.rand(2, B, P, generator=g)
    root = torch.stack([100 + 760 * (torch.arange(P) + 0.5) / P + 20 * across, 150 + 200 * down], -1)
    uv = root[:, :, None] + torch.randn(B, P, 15, 2, generator=g) * torch.tensor([20.0, 40.0])
    uv[:, :, ROOT] = root
    return agr(uv, torch.ones(B, P, 15, dtype=torch.bool), torch.ones(B, P, dtype=torch.bool), (960, 512), MAP)


# ---- decode ----------------------------------------------------------------------------------------------------------------------------


def test_decode_finds_the_people_of_an_agr():
    """Roots to a hundredth of a pixel, boxes to the same, the depth of the root's pixel; slots beyond the people are not valid."""
    a = scene()
    depth_map = torch.rand(2, 32, 60, generator=rng(1)) + 5
    found = decode(a.heatmaps[:, ROOT], a.box_map, depth_map)
    assert found.valid.sum(1).tolist() == [3, 3]
    assert found.valid[:, :3].all()
    for b in range(2):
        nearest = (found.roots[b, :3, None] - a.roots[b]).norm(dim=-1).argmin(1)
        assert sorted(nearest.tolist()) == [0, 1, 2]
        close(found.roots[b, :3], a.roots[b, nearest], 0.01)
        close(found.boxes[b, :3], a.boxes[b, nearest], 0.01)
        close(found.depths[b, :3], depth_map[b].flatten()[a.index[b, nearest]], 0)
    single = decode(a.heatmaps[1:, ROOT], a.box_map[1:], depth_map[1:])
    for name in ("roots", "boxes", "depths", "scores", "valid"):
        assert torch.equal(getattr(single, name)[0], getattr(found, name)[1])


def test_sub_pixel_root_is_exact_for_a_gaussian():
    at = torch.tensor([[[20.3, 11.8]], [[30.5, 15.5]]])  # the second: four equal pixels are one peak
    heat = draw_heatmaps(at[:, :, None], torch.full((2, 1), 1.5), torch.full((2, 1, 1), 0.7), MAP)[:, 0]
    found = decode(heat, torch.zeros(2, 4, 32, 60), torch.zeros(2, 32, 60))
    assert found.valid.sum(1).tolist() == [1, 1]
    close(found.roots[:, 0], at[:, 0], 1e-3)


def test_decode_by_hand():
    heat, box_map, depth_map = torch.zeros(1, 4, 8), torch.zeros(1, 4, 4, 8), torch.full((1, 4, 8), -2.0)
    heat[0, 1, 1:4], heat[0, 3, 7] = torch.tensor([0.225, 0.9, 0.45]), 0.1
    heat[0, 0, 5] = 0.0999
    box_map[0, :, 1, 2] = torch.tensor([1.0, -3.0, 2.0, 4.0])
    depth_map[0, 1, 2] = 6.5
    found = decode(heat, box_map, depth_map, people=5)
    assert found.valid.tolist() == [[True, True, False, False, False]]  # 0.45 stands beside 0.9, 0.1 is enough, 0.0999 is not
    close(found.scores[0, :3], [0.9, 0.1, 0.0999], 1e-7)
    close(found.roots[0, 0], [2 + 1 / 6, 1.0], 1e-5)  # ln(0.45 / 0.225) / 2 ln(0.9² / (0.225 · 0.45)) = ln 2 / 2 ln 8
    close(found.boxes[0, 0] - found.roots[0, 0].repeat(2), [-1, 0, 2, 4], 1e-5)  # a negative distance counts as 0
    close(found.roots[0, 1], [7.0, 3.0], 0)  # in the corner: the pixel itself
    close(found.depths[0, :2], [6.5, 0.0], 0)  # a negative depth counts as 0


def test_decode_lets_the_gradient_to_the_depth_map():
    a = scene(1)
    depth_map = torch.rand(1, 32, 60, generator=rng()).requires_grad_()
    found = decode(a.heatmaps[:, ROOT].requires_grad_(), a.box_map, depth_map)
    (found.depths * found.valid).sum().backward()
    assert depth_map.grad.nonzero().shape[0] == 3
    assert not found.roots.requires_grad
    assert not found.boxes.requires_grad


def test_detected_roots_project_back():
    a, cam = scene(), looking_in()
    found = decode(a.heatmaps[:, ROOT], a.box_map, torch.full((2, 32, 60), 4500.0))
    uv, depth, _ = cam.fit(*MAP).project(detected_roots(found, cam, MAP))
    close(uv[found.valid], found.roots[found.valid], 1e-2)
    close(depth[found.valid], torch.full((6,), 4500.0), 0.1)


# ---- candidates ------------------------------------------------------------------------------------------------------------------------


def test_candidates_against_loops():
    volume = torch.rand(2, 9, 7, 6, generator=rng(2)) * 2 - 0.8  # raw output: below 0 and above 1
    grid = Grid((100.0, -200.0, 900.0), (4000.0, 3000.0, 2000.0), (9, 7, 6))
    found = candidates(volume, grid, people=4)
    for b in range(2):
        peaks = []
        for x in range(9):
            for y in range(7):
                for z in range(6):
                    window = volume[b, max(0, x - 2) : x + 3, max(0, y - 2) : y + 3, max(0, z - 2) : z + 3]
                    if volume[b, x, y, z] == window.max():
                        peaks.append((float(volume[b, x, y, z]), x, y, z))
        peaks = sorted(peaks, reverse=True)[:4]
        close(found.score[b], [p[0] for p in peaks], 0)
        spacing = (4000 / 8, 3000 / 6, 2000 / 5)
        wanted = [[c - s / 2 + i * d for c, s, i, d in zip(grid.centre, grid.size, p[1:], spacing)] for p in peaks]
        close(found.position[b], wanted, 1e-3)
        assert found.valid[b].tolist() == [p[0] > 0.3 for p in peaks]


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_sub_voxel_roots(noise):
    """Exact for Gaussians, also at the border of the space, and better than whole voxels with noise on every score."""
    grid = Grid((0.0, 0.0, 1000.0), (4000.0, 4000.0, 2000.0), (41, 41, 21))
    root = torch.rand(40, 3, generator=rng(3)) * torch.tensor([3950.0, 3950, 1950]) + torch.tensor([-1975.0, -1975, 25])
    root[0] = torch.tensor([-1990.0, 1980.0, 10.0])
    x, y, z = (torch.exp(-((axis - root[:, a, None]) ** 2) / (2 * 200**2)) for a, axis in enumerate(grid.axes()))
    volume = x[:, :, None, None] * y[:, None, :, None] * z[:, None, None]
    volume = volume + noise * torch.randn(volume.shape, generator=rng(4))
    whole, between = (candidates(volume, grid, 1, subvoxel=s) for s in (False, True))
    assert torch.equal(whole.score, between.score)
    error = [(c.position[:, 0] - root).norm(dim=-1) for c in (whole, between)]
    assert 40 < error[0].mean() < 90  # the rounding of 100 mm voxels
    assert error[1].max() < 0.1 if noise == 0 else error[1].mean() < error[0].mean() / 4
    spacing = torch.tensor(grid.spacing)
    assert ((between.position - whole.position).abs() <= spacing + 0.1).all()


def test_sub_voxel_of_anything():
    """Plateaus, zeros and negative scores give finite positions at most a voxel away."""
    for volume in (torch.zeros(1, 8, 8, 8), torch.full((1, 8, 8, 8), -1.0), torch.ones(1, 8, 8, 8)):
        found = candidates(volume, GRID, 3, subvoxel=True)
        whole = candidates(volume, GRID, 3)
        assert ((found.position - whole.position).abs() <= torch.tensor(GRID.spacing) + 0.1).all()
    assert not candidates(torch.zeros(1, 8, 8, 8), GRID).valid.any()


def test_nearest_root_by_hand():
    position = torch.tensor([[[0.0, 0, 0], [900, 0, 0], [5000, 0, 0]]]).repeat(2, 1, 1)
    roots = torch.tensor([[[100.0, 0, 0], [1000, 0, 499], [torch.nan] * 3]]).repeat(2, 1, 1)
    mask = torch.tensor([[True, True, False], [True, False, True]])
    person, near = nearest_root(position, roots, mask)
    assert near.tolist() == [[True, False, False], [True, False, False]]
    assert person[:, 0].tolist() == [0, 0]
    person, near = nearest_root(position, roots, mask, radius=800.0)
    assert near.tolist() == [[True, True, False], [True, True, False]]
    assert person[:, 1].tolist() == [1, 0]
    assert not nearest_root(position, roots, torch.zeros_like(mask))[1].any()


# ---- the network ---------------------------------------------------------------------------------------------------------------------


class Depths(nn.Module):
    """A DE that says 6 mm / px everywhere."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(6.0))

    def forward(self, heatmaps):
        return self.value.expand(len(heatmaps), *heatmaps.shape[2:])


class Sum(nn.Module):
    def forward(self, cube):
        return cube.sum(1, keepdim=True)


def test_ren_is_the_sum_of_its_parts():
    a, cam, factor = scene(), looking_in(), torch.tensor([700.0, 750.0])
    ren = REN(15, GRID, de=Depths(), net=Sum())
    out = ren(a.heatmaps, a.box_map, cam, factor)
    found = decode(a.heatmaps[:, ROOT], a.box_map, torch.full((2, 32, 60), 6.0) * factor[:, None, None])
    close(out.detections.depths.detach(), found.depths, 1e-3)
    close(out.detections.depths[:, 0].detach(), [4200.0, 4500.0], 1e-2)
    where = positions(cam, GRID.points()[None], MAP)
    cube = unproject(a.heatmaps, where, depth_gate(where, found.boxes, found.depths, found.valid, MAP, 200.0))
    assert (cube > 0.1).sum() > 10
    close(out.cube_in.detach(), cube.view(2, 15, 12, 12, 8), 1e-6)
    close(out.volume.detach(), cube.sum(1).view(2, 12, 12, 8), 1e-5)
    naive = REN(15, GRID, naive=True, de=Depths(), net=Sum())(a.heatmaps, a.box_map, cam, factor).cube_in
    close(naive.detach(), unproject(a.heatmaps, where).view(2, 15, 12, 12, 8), 0)
    assert (naive >= out.cube_in - 1e-6).all()
    other = Grid((0.0, 500.0, 1000.0), (3000.0, 3000.0, 1500.0), (4, 8, 12))
    assert ren(a.heatmaps, a.box_map, cam, factor, other).volume.shape == (2, 4, 8, 12)


def test_the_volume_teaches_the_depth():
    """Eq. 6's gradient reaches the DE through the gate: numerical derivative of the sum of the volume by the DE's one weight."""
    a, cam, factor = scene(1), looking_in(1), torch.tensor([700.0])
    ren = REN(15, GRID, sigma=500.0, de=Depths(), net=Sum()).double()
    cam, maps = cam.to(torch.float64), (a.heatmaps.double(), a.box_map.double())

    def total():
        return ren(*maps, cam, factor).volume.sum()

    total().backward()
    with torch.no_grad():
        ren.de.value += 1e-3
        up = total()
        ren.de.value -= 2e-3
        slope = (up - total()) / 2e-3
    assert abs(slope) > 1
    assert float(ren.de.value.grad) == pytest.approx(float(slope), rel=1e-3)


def test_nobody_in_any_image():
    maps, box_map = torch.zeros(2, 15, 32, 60), torch.zeros(2, 4, 32, 60)
    ren = REN(15, GRID, de=Depths(), net=Sum())
    out = ren(maps, box_map, looking_in(), torch.tensor([700.0, 700.0]))
    assert not out.detections.valid.any()
    assert (out.cube_in == 0).all()
    assert not candidates(out.volume, GRID).valid.any()
    out.volume.sum().backward()
    assert ren.de.value.grad == 0


def test_de_takes_nine_joints_by_name():
    de = DE(width=8, deconv=8, bias=6.0, generator=rng()).eval()
    left_out = {"left_elbow", "left_wrist", "left_ankle", "right_elbow", "right_wrist", "right_ankle", "spine", "head"}
    for skeleton in (JOINTS_15, JOINTS_17):
        assert {skeleton.joints[c] for c in de.channels} == set(skeleton.joints) - left_out
    assert de.channels == [0, 1, 2, 3, 6, 7, 9, 12, 13]  # the published order
    with torch.no_grad():
        for p in de.parameters():
            if p.dim() > 1:
                p.mul_(300)  # so that the small first weights matter
        maps = torch.rand(1, 17, 16, 24, generator=rng(5))
        out, other = de(maps), maps.clone()
        other[:, [4, 5, 8, 10, 11, 14, 15, 16]] = 0
        assert torch.equal(de(other), out)
        assert torch.equal(de(maps[:, :15]), out)
        other[:, 12] = 0
        assert (de(other) != out).any()
        assert out.shape == (1, 16, 24)
        close(DE(width=8, deconv=8, bias=6.0, generator=rng()).eval()(maps), torch.full((1, 16, 24), 6.0), 0.1)  # untrained
