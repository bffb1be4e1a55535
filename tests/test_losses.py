"""The losses of both stages, against loops and hand-computed numbers."""

from types import SimpleNamespace

import pytest
import torch
from conftest import close

from vp.lab.losses import Weights, at_roots, depth_loss, heatmap_loss, map_loss, pose_loss, second_stage


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_heatmap_loss_against_loops():
    found, target = torch.rand(2, 2, 3, 4, 5, generator=rng())
    weight = torch.tensor([[1.0, 0, 1], [0.5, 1, 0]])
    total = sum(float(weight[b, j] * (found - target)[b, j, y, x]) ** 2
                for b in range(2) for j in range(3) for y in range(4) for x in range(5))  # fmt: skip
    assert float(heatmap_loss(found, target, weight)) == pytest.approx(total / (2 * 3 * 4 * 5))
    assert float(heatmap_loss(found, target)) == pytest.approx(float(((found - target) ** 2).mean()))


def test_map_losses_against_loops():
    maps, target = torch.randn(2, 4, 3, 5, generator=rng(1)), torch.randn(2, 6, 4, generator=rng(2)) * 2
    index = torch.randint(0, 15, (2, 6), generator=rng(3))
    mask = torch.rand(2, 6, generator=rng(4)) < 0.5
    target[~mask] = torch.nan
    plain, smooth = 0.0, 0.0
    for b, p in mask.nonzero().tolist():
        y, x = divmod(int(index[b, p]), 5)
        assert torch.equal(at_roots(maps, index)[b, p], maps[b, :, y, x])
        for c in range(4):
            e = abs(float(maps[b, c, y, x] - target[b, p, c]))
            plain += e
            smooth += e * e / 2 if e < 1 else e - 0.5
    n = int(mask.sum())
    assert 2 < n < 10
    assert float(map_loss(maps, index, target, mask)) == pytest.approx(plain / (4 * n + 1e-4), rel=1e-5)
    assert float(map_loss(maps, index, target, mask, smooth=True)) == pytest.approx(smooth / (n + 1e-4), rel=1e-5)


def test_depth_loss_by_hand():
    """Two people at 4 m and 8 m, both seen 400 mm too far."""
    depth_map = torch.tensor([[[4.4, 0.0], [0.0, 8.4]]]).requires_grad_()
    people = torch.tensor([[0, 3, 1]]), torch.tensor([[4000.0, 8000.0, torch.nan]]), torch.tensor([[True, True, False]])
    loss = depth_loss(depth_map, torch.tensor([1000.0]), *people)
    assert float(loss.detach()) == pytest.approx(400, rel=1e-3)
    relative = depth_loss(depth_map, torch.tensor([1000.0]), *people, relative=True)
    assert float(relative.detach()) == pytest.approx((10 + 5) / 2, rel=1e-3)
    (loss + relative).backward()
    assert depth_map.grad.isfinite().all()
    assert (depth_map.grad != 0).sum() == 2


def test_pose_loss_by_hand():
    """Two people of two joints; the second has one unknown joint, which counts in the denominator only in the published way."""
    joints = torch.tensor([[[0.0, 0, 0], [10, 0, 0]], [[0, 0, 0], [0, 0, 0]]])
    target = torch.tensor([[[3.0, 0, -3], [10, 6, 0]], [[0, 0, 6], [torch.nan] * 3]])
    weight = torch.tensor([[1, 1], [1, 0]])
    assert float(pose_loss(joints, target, weight)) == pytest.approx((12 / 6 + 6 / 6) / 2)
    assert float(pose_loss(joints, target, weight, known_only=True)) == pytest.approx((12 / 6 + 6 / 3) / 2)
    assert float(pose_loss(joints[:0], target[:0], weight[:0])) == 0
    assert float(pose_loss(joints, target, 0 * weight, known_only=True)) == 0


def case():
    """One image: two candidates, two people; the second candidate is 600 mm from anybody."""
    depth_map = torch.full((1, 2, 2), 5.0)
    roots = torch.tensor([[[0.0, 0, 900], [2000, 600, 900]]])
    joints = (roots[:, :, None] + torch.tensor([1.0, 2, 3])).expand(1, 2, 4, 3)
    valid, volume = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2, 2, 2)
    estimate = SimpleNamespace(roots=roots, joints=joints, valid=valid, depth_map=depth_map, volume=volume)
    true = torch.tensor([[[2000.0, 0, 900], [0, 300, 900]]])
    targets = SimpleNamespace(
        depth=torch.tensor([[5200.0, 4000.0]]), mask=torch.ones(1, 2, dtype=torch.bool), index=torch.tensor([[0, 1]]), roots=true,
        joints=true[:, :, None].expand(1, 2, 4, 3), weight=torch.ones(1, 2, 4, dtype=torch.bool), volume=torch.full((1, 2, 2, 2), 0.1),
    )  # fmt: skip
    return estimate, targets


def test_second_stage_by_hand():
    estimate, targets = case()
    losses = second_stage(estimate, targets, torch.tensor([1000.0]))
    assert float(losses["depth"]) == pytest.approx(0.1 * (200 + 1000) / 2, rel=1e-4)
    assert float(losses["volume"]) == pytest.approx(1000 * 0.01, rel=1e-4)
    assert float(losses["pose"]) == pytest.approx((1 + 298 + 3) / 3, rel=1e-4)  # the first candidate against the second person
    wide = second_stage(estimate, targets, torch.tensor([1000.0]), Weights(pose=2.0), radius=700.0)["pose"]
    assert float(wide) == pytest.approx(2 * ((1 + 298 + 3) / 3 + (1 + 602 + 3) / 3) / 2, rel=1e-4)
    estimate.valid[:] = False
    assert second_stage(estimate, targets, torch.tensor([1000.0]))["pose"] == 0


def test_nobody_costs_nothing():
    estimate, targets = case()
    targets.mask[:] = False
    targets.depth[:], targets.roots[:] = torch.nan, torch.nan
    losses = second_stage(estimate, targets, torch.tensor([1000.0]))
    assert losses["depth"] == losses["pose"] == 0
    close(losses["volume"], 10.0, 1e-3)
