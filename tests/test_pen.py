"""The pose estimation network: soft-argmax, volumes about candidates, and all people of a batch at once."""

import pytest
import torch
from conftest import close, looking_in
from torch import nn

from vp import published_stage as published
from vp.nets.pen import PEN, soft_argmax
from vp.nets.unproject import positions
from vp.space import Grid

MAP = (60, 32)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(B=3, K=4, J=3):
    maps = torch.rand(B, J, 32, 60, generator=rng(1))
    centres = torch.randn(B, K, 3, generator=rng(2)) * 400 + torch.tensor([0.0, 0, 900])
    valid = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    return maps, looking_in(B, 4000, 0.3), centres, valid


def test_soft_argmax_by_hand():
    """Two voxels 300 mm apart with logits 0 and ln 3 / β: shares 1/4 and 3/4."""
    grid = Grid((50.0, 0.0, 1000.0), (300.0, 0.0, 0.0), (2, 1, 1))
    logits = torch.tensor([0.0, 3.0]).log().clamp(min=-1e4)
    logits[0] = 0
    found = soft_argmax(logits.view(1, 2, 1, 1) / 100, grid)
    close(found, [[50 - 150 * 0.25 + 150 * 0.75, 0.0, 1000.0]], 1e-4)


def test_soft_argmax_against_the_sum_over_voxels():
    grid = Grid((100.0, -300.0, 900.0), (2000.0, 1500.0, 1800.0), (5, 4, 6))
    logits = torch.randn(2, 3, 5, 4, 6, generator=rng(), dtype=torch.float64) / 50
    share = torch.exp(100 * logits)
    share = share / share.sum((-3, -2, -1), keepdim=True)
    points = grid.points().double().view(5, 4, 6, 3)
    close(soft_argmax(logits, grid), torch.einsum("bjxyz,xyzc->bjc", share, points), 1e-3)
    assert torch.autograd.gradcheck(lambda x: soft_argmax(x, grid, 10.0), logits.requires_grad_(), atol=1e-3, rtol=1e-4)


def test_soft_argmax_finds_places_between_voxels():
    """Logits -|x - joint|² / 2σ² are a Gaussian: its mean, to less than a millimetre, where the arg-max is tens of millimetres off."""
    grid = Grid((0.0, 0.0, 0.0), (2000.0,) * 3, (64,) * 3)
    joint = torch.tensor([[13.0, -401.0, 250.0], [333.3, 77.7, -555.5]])
    d2 = (grid.points().view(64, 64, 64, 1, 3) - joint).square().sum(-1).permute(3, 0, 1, 2)
    close(soft_argmax(-d2 / (2 * 60**2) / 100, grid), joint, 0.1)


class Peak(nn.Module):
    """Logits that say: the joint is where its heatmap volume is highest; sharp."""

    def forward(self, cube):
        return cube * 2


def test_all_people_at_once_is_one_after_the_other():
    """Any chunk gives the same poses, one image alone too; slots that are not valid are NaN."""
    maps, cam, centres, valid = batch()
    pen = PEN(3, bins=8, net=Peak(), beta=10.0)
    found = pen(maps, cam, centres, valid)
    assert found.shape == (3, 4, 3, 3)
    assert torch.equal(found.isnan().any(-1).any(-1), ~valid)
    assert torch.equal(found.isnan().all(-1).all(-1), ~valid)
    for chunk in (1, 2 * 8**3):
        close(PEN(3, bins=8, net=Peak(), beta=10.0, chunk=chunk)(maps, cam, centres, valid)[valid], found[valid], 0.01)
    close(pen(maps[2:], cam[2:], centres[2:], valid[2:])[valid[2:]], found[2:][valid[2:]], 0.01)
    volumes = published.loop_cubes(maps, cam, centres, valid, pen.cube, positions)
    for b, k in valid.nonzero().tolist():
        close(found[b, k], soft_argmax(2 * volumes[b, k], pen.cube, 10.0) + centres[b, k], 0.01)
    assert (found[valid] - centres[valid][:, None]).abs().max() <= 1000
    assert (found[valid] - centres[valid][:, None]).norm(dim=-1).max() > 50


def test_nobody():
    maps, cam, centres, valid = batch()
    found = PEN(3, bins=8, net=Peak())(maps, cam, centres, valid & False)
    assert found.isnan().all()
    assert found.shape == (3, 4, 3, 3)


def test_a_candidate_behind_the_camera_stays_in_its_cube():
    maps, cam, centres, valid = batch()
    centres = cam.centre[:, None] * 1.8 + 0 * centres
    found = PEN(3, bins=8, net=Peak())(maps, cam, centres, valid)
    assert found[valid].isfinite().all()
    close(found[valid], centres[valid][:, None].expand(-1, 3, -1), 0.01)  # empty volumes: the centre


def test_skip_adds_the_heatmaps_in_space():
    maps, cam, centres, valid = batch()

    class Nothing(nn.Module):
        def forward(self, cube):
            return 0 * cube

    pen = PEN(3, bins=8, net=Nothing(), beta=10.0, skip=2.0)
    close(pen(maps, cam, centres, valid)[valid].detach(), PEN(3, bins=8, net=Peak(), beta=10.0)(maps, cam, centres, valid)[valid], 1e-3)
    pen(maps, cam, centres, valid)[valid].square().sum().backward()
    assert pen.skip.grad.abs() > 0
    assert PEN(3, bins=8, net=Nothing()).skip is None


@pytest.mark.parametrize("J", [15, 17])
def test_gradients_reach_the_weights_and_nothing_is_nan(J):
    maps, cam, centres, valid = batch(J=J)
    pen = PEN(J, bins=8)
    pen(maps, cam, centres, valid)[valid].mean().backward()
    assert all(p.grad.isfinite().all() for p in pen.parameters())
    assert pen.net.output.weight.grad.abs().max() > 0
