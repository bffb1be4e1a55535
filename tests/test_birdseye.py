"""The bird's-eye network: shapes at any grid, what a column may see, learning."""

import torch

from vp.nets.birdseye import BirdsEye


def net(**options):
    return BirdsEye(3, 1, 4, widths=(8, 12, 16), generator=torch.Generator().manual_seed(0), **options).eval()


def test_shapes_of_any_grid():
    for X, Y in ((8, 8), (13, 10), (32, 40)):
        assert net()(torch.rand(2, 3, X, Y, 4)).shape == (2, 1, X, Y, 4)


def test_heights_are_kept_apart():
    """Output at height z is the z-th group of channels: with the last layer's weights for one height only, the others are zero."""
    n = net()
    with torch.no_grad():
        n.output.weight.zero_()
        n.output.bias.zero_()
        n.output.bias[4 * 2 : 4 * 3] = 1.0  # pixel-shuffle: four channels per height
    out = n(torch.rand(1, 3, 8, 8, 4))
    assert (out[..., 2] == 1).all()
    assert (out[..., [0, 1, 3]] == 0).all()


def test_a_far_column_has_no_influence_but_a_near_one_has():
    n = net()
    x = torch.rand(1, 3, 160, 16, 4)
    moved = x.clone()
    moved[:, :, 0, 0, 1] += 1.0
    change = (n(moved) - n(x)).detach().abs()[0, 0].amax(-1)
    assert change[:4, :4].max() > 0
    assert change[150:].max() == 0


def test_batch_is_single():
    n, x = net(), torch.rand(3, 3, 16, 16, 4)
    assert torch.allclose(n(x)[1:2], n(x[1:2]), atol=1e-6)


def test_learns_one_voxel():
    torch.manual_seed(0)
    n, x = net().train(), torch.rand(4, 3, 8, 8, 4)
    target = torch.zeros(4, 1, 8, 8, 4)
    target[:, 0, 3, 5, 2] = 1
    optimiser = torch.optim.Adam(n.parameters(), 1e-2)
    for _ in range(60):
        loss = (n(x) - target).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = n.eval()(x)[:, 0].flatten(1).argmax(1)
    assert (found == 3 * 32 + 5 * 4 + 2).all()
