"""V2V against its description written out in functions, its options, its initialisation."""

import os

import pytest
import torch
from torch.nn import functional as F

from vp.errors import InputError
from vp.nets.v2v import V2V

SMALL = {"widths": (3, 4, 6, 8), "init_std": None}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_paper_size():
    with torch.device("meta"):
        assert round(sum(p.numel() for p in V2V(15, 15).parameters()) / 1e6, 1) == 3.3  # published count


def literal(net, x):
    """The published description in eval mode, straight from the state dict."""
    s = net.state_dict()

    def norm(x, name):
        return F.batch_norm(x, s[f"{name}.running_mean"], s[f"{name}.running_var"], s[f"{name}.weight"], s[f"{name}.bias"])

    def conv(x, name):
        w = s[f"{name}.weight"]
        return F.conv3d(x, w, s[f"{name}.bias"], padding=w.shape[-1] // 2)

    def residual(x, name):
        y = norm(conv(x, f"{name}.branch.0"), f"{name}.branch.1").relu()
        y = norm(conv(y, f"{name}.branch.3"), f"{name}.branch.4")
        skip = norm(conv(x, f"{name}.skip.0"), f"{name}.skip.1") if f"{name}.skip.0.weight" in s else x
        return (y + skip).relu()

    def up(x, name):
        return norm(F.conv_transpose3d(x, s[f"{name}.0.weight"], s[f"{name}.0.bias"], stride=2), f"{name}.1").relu()

    x = residual(norm(conv(x, "stem.0"), "stem.1").relu(), "level1")
    skip1 = residual(x, "skip1")
    x = residual(F.max_pool3d(x, 2), "encode1")
    skip2 = residual(x, "skip2")
    x = residual(F.max_pool3d(x, 2), "encode2")
    x = residual(residual(x, "middle"), "decode2")
    x = residual(up(x, "up2") + skip2, "decode1")
    return conv(up(x, "up1") + skip1, "output")


@torch.no_grad()
def test_against_the_description():
    net = V2V(3, 2, **SMALL).eval()
    for i, t in enumerate(net.state_dict().values()):  # nothing 0, nothing 1, variances positive
        if t.is_floating_point():
            t.copy_(torch.rand(t.shape, generator=seeded(i)) * (0.5 if t.dim() == 1 else 0.2) + (0.5 if t.dim() == 1 else -0.1))
    x = torch.rand(2, 3, 8, 4, 12, generator=seeded(99))
    out = net(x)
    assert out.std() > 1e-3
    torch.testing.assert_close(out, literal(net, x))
    torch.testing.assert_close(net(x[:1]), out[:1])


HALF, SMALL_HALF, POINT, AWARE = {"stem_stride": 2}, {"stem_stride": 2, "kernel": 3}, {"kernel": 1}, {"coordinates": True, "kernel": 5}


@pytest.mark.parametrize("options", [{}, HALF, SMALL_HALF, POINT, AWARE])
def test_options_keep_the_grid(options):
    net = V2V(3, 2, generator=seeded(), **SMALL, **options)
    out = net(torch.rand(2, 3, 16, 8, 24, generator=seeded()))
    assert out.shape == (2, 2, 16, 8, 24)
    assert out.min() < 0 < out.max()
    out.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for n, p in net.named_parameters() if n.endswith("weight"))


@torch.no_grad()
def test_coordinates_tell_where_a_voxel_is():
    net, seen = V2V(1, 1, kernel=1, coordinates=True, generator=seeded(), **SMALL).eval(), []
    net.stem.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net(torch.full((2, 1, 8, 4, 12), 7.0))
    x = seen[0]
    assert x.shape == (2, 4, 8, 4, 12)
    assert x[:, 0].eq(7).all()
    for axis, n in enumerate((8, 4, 12)):
        torch.testing.assert_close(x[1, 1 + axis].movedim(axis, 0)[:, 1, 2], torch.linspace(-1, 1, n))


def test_bad_sizes():
    with pytest.raises(InputError, match=r"\(8, 8, 6\) is no multiple of 4"):
        V2V(1, 1, **SMALL)(torch.zeros(1, 1, 8, 8, 6))
    with pytest.raises(InputError, match="no multiple of 8"):
        V2V(1, 1, stem_stride=2, **SMALL)(torch.zeros(1, 1, 8, 8, 12))
    for options in ({"kernel": 4}, {"stem_stride": 3}, {"kernel": 1, "stem_stride": 2}):
        with pytest.raises(InputError, match="kernels are odd"):
            V2V(1, 1, **options)


def test_initialisation():
    net, he = V2V(15, 15, generator=seeded()), V2V(15, 15, init_std=None, generator=seeded())
    assert abs(net.stem[0].weight.std() / 1e-3 - 1) < 0.02
    assert abs(net.up2[0].weight.std() / 1e-3 - 1) < 0.02
    assert abs(he.stem[0].weight.std() / (2 / (15 * 343)) ** 0.5 - 1) < 0.02
    assert abs(he.up2[0].weight.std() / (2 / 128) ** 0.5 - 1) < 0.02  # kernel and stride 2: one weight meets each voxel
    assert abs(he.output.weight.std() / 1e-3 - 1) < 0.1
    assert not any(p.any() for n, p in net.named_parameters() if n.endswith("0.bias"))
    again = V2V(15, 15, generator=seeded())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@torch.no_grad()
def test_gpu_agrees(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    net, x = V2V(3, 2, coordinates=True, stem_stride=2, generator=seeded(), **SMALL).eval(), torch.rand(2, 3, 8, 8, 16, generator=seeded())
    cpu = net(x)
    torch.testing.assert_close(net.cuda()(x.cuda()).cpu(), cpu, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("VP_SLOW"), reason="full paper size takes minutes and gigabytes: set VP_SLOW=1")
def test_full_size(record_property, capsys):
    from full_size import measure

    measure("REN's V2V, 80 x 80 x 24", lambda: V2V(15, 1), (1, 15, 80, 80, 24), record_property, capsys)
    measure("PEN's V2V, 64 x 64 x 64", lambda: V2V(15, 15), (1, 15, 64, 64, 64), record_property, capsys)
