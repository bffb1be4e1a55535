"""The 2D network against its description written out in functions, its sizes, initialisation and flips."""

import os

import pytest
import torch
from torch.nn import functional as F

from vp.errors import InputError
from vp.nets.resnet import ResNet, flip_test, mirror
from vp.skeleton import JOINTS_15

SMALL = {"width": 8, "deconv": 8, "init_std": None}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def count(net):
    return sum(p.numel() for p in net.parameters())


def test_paper_sizes():
    with torch.device("meta"):
        assert round(count(ResNet(152)) / 1e6, 1) == 69.8  # published counts
        assert round(count(ResNet(18, 9, keep_scale=True)) / 1e6, 1) == 16.6


def test_maps_lie_over_the_input():
    net, de = ResNet(50, **SMALL), ResNet(18, 9, {"depth": 1}, keep_scale=True, **SMALL)
    out = net(torch.rand(2, 3, 64, 96, generator=seeded()))
    assert {k: v.shape for k, v in out.items()} == {"heatmap": (2, 15, 16, 24), "box": (2, 4, 16, 24), "depth": (2, 1, 16, 24)}
    assert de(torch.rand(1, 9, 16, 24, generator=seeded()))["depth"].shape == (1, 1, 16, 24)


def literal(net, x, blocks, keep_scale):
    """The published description up to the heads, in eval mode, straight from the state dict."""
    s = net.state_dict()

    def norm(x, name):
        return F.batch_norm(x, s[f"{name}.running_mean"], s[f"{name}.running_var"], s[f"{name}.weight"], s[f"{name}.bias"])

    def conv(x, name, stride=1):
        return F.conv2d(x, s[f"{name}.weight"], stride=stride, padding=s[f"{name}.weight"].shape[-1] // 2)

    def basic(x, name, stride):
        y = norm(conv(x, f"{name}.conv1", stride), f"{name}.bn1").relu()
        return norm(conv(y, f"{name}.conv2"), f"{name}.bn2")

    def bottleneck(x, name, stride):
        y = norm(conv(x, f"{name}.conv1"), f"{name}.bn1").relu()
        y = norm(conv(y, f"{name}.conv2", stride), f"{name}.bn2").relu()
        return norm(conv(y, f"{name}.conv3"), f"{name}.bn3")

    x = norm(conv(x, "conv1", 1 if keep_scale else 2), "bn1").relu()
    x = x if keep_scale else F.max_pool2d(x, 3, 2, 1)
    for layer, count in enumerate(blocks, 1):
        for b in range(count):
            name, stride = f"layer{layer}.{b}", 2 if layer > 1 and b == 0 else 1
            y = (bottleneck if f"{name}.conv3.weight" in s else basic)(x, name, stride)
            if f"{name}.downsample.0.weight" in s:
                x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = (x + y).relu()
    for i in (0, 3, 6):
        x = norm(F.conv_transpose2d(x, s[f"deconv.{i}.weight"], stride=2, padding=1), f"deconv.{i + 1}").relu()
    return x


@pytest.mark.parametrize(("depth", "blocks"), [(18, (2, 2, 2, 2)), (50, (3, 4, 6, 3)), (152, (3, 8, 36, 3))])
@pytest.mark.parametrize("keep_scale", [True, False])
@torch.no_grad()
def test_against_the_description(depth, blocks, keep_scale):
    net = ResNet(depth, 2, keep_scale=keep_scale, **SMALL).eval()
    for i, (name, t) in enumerate(net.state_dict().items()):  # nothing 0 or 1 any more; small enough for 152 layers
        if t.is_floating_point() and t.dim() == 1 and not name.startswith("heads"):
            t.copy_(torch.rand(t.shape, generator=seeded(i)) * 0.5 + 0.5)
    features = []
    net.deconv.register_forward_hook(lambda *args: features.append(args[-1]))
    x = torch.rand(2, 2, 32, 64, generator=seeded(99))
    net(x)
    wanted = literal(net, x, blocks, keep_scale)
    assert wanted.std() > 1e-3
    torch.testing.assert_close(features[0] / wanted.std(), wanted / wanted.std(), rtol=1e-4, atol=1e-4)


def test_heads_are_a_plain_and_a_two_layer_convolution():
    net = ResNet(18, heads={"heatmap": 2, "box": 4}, **SMALL).eval()
    with torch.no_grad():
        for p in net.heads.parameters():
            p.copy_(torch.randn(p.shape, generator=seeded()))
        features = []
        net.deconv.register_forward_hook(lambda *args: features.append(args[-1]))
        out = net(torch.rand(1, 3, 32, 32, generator=seeded()))
        f = features[0][0]
        w = net.heads["heatmap"].weight[:, :, 0, 0]
        torch.testing.assert_close(out["heatmap"][0], torch.einsum("oc,chw->ohw", w, f) + net.heads["heatmap"].bias[:, None, None])
        first, _, last = net.heads["box"]
        at = f[:, 2:5, 3:6]  # around (3, 4)
        hidden = ((first.weight * at).sum((1, 2, 3)) + first.bias).clamp(min=0)
        torch.testing.assert_close(out["box"][0, :, 3, 4], last.weight[:, :, 0, 0] @ hidden + last.bias)


def test_no_activation_and_gradients_everywhere():
    net = ResNet(18, generator=seeded(), **SMALL)
    out = net(torch.rand(2, 3, 32, 64, generator=seeded()))
    assert all(m.min() < 0 for m in out.values())
    sum(m.square().sum() for m in out.values()).backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


def test_initialisation():
    net, he = ResNet(18, generator=seeded()), ResNet(18, init_std=None, generator=seeded())
    assert abs(net.layer2[0].conv1.weight.std() / 1e-3 - 1) < 0.02
    assert abs(net.deconv[0].weight.std() / 1e-3 - 1) < 0.02
    assert abs(net.heads["box"][0].weight.std() / 1e-3 - 1) < 0.02
    assert abs(he.layer2[0].conv1.weight.std() / (2 / (64 * 9)) ** 0.5 - 1) < 0.02
    assert abs(he.deconv[0].weight.std() / (2 / (512 * 4)) ** 0.5 - 1) < 0.02  # 4 of its 16 weights meet in an output pixel
    assert abs(he.heads["heatmap"].weight.std() / 1e-3 - 1) < 0.05
    assert abs(he.heads["depth"][0].weight.std() / (2 / (256 * 9)) ** 0.5 - 1) < 0.02
    assert not net.heads["box"][2].bias.any()
    torch.manual_seed(5)  # the generator alone decides
    again = ResNet(18, generator=seeded())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_bad_sizes():
    with pytest.raises(InputError, match="depths: 18, 50, 152"):
        ResNet(34)
    with pytest.raises(InputError, match=r"\(32, 40\) is no multiple of 32"):
        ResNet(18, **SMALL)(torch.zeros(1, 3, 32, 40))
    with pytest.raises(InputError, match="no multiple of 8"):
        ResNet(18, 9, keep_scale=True, **SMALL)(torch.zeros(1, 9, 32, 44))


# ---- flips -----------------------------------------------------------------------------------------------------------------------------


def test_mirror_by_hand():
    heatmap, depth = torch.tensor([[[[1.0, 2]], [[3, 4]], [[5, 6]]]]), torch.tensor([[[[7.0, 9]]]])
    maps = {"heatmap": heatmap, "box": torch.arange(8.0).view(1, 4, 1, 2), "depth": depth}
    out = mirror(maps, [0, 2, 1])
    assert out["heatmap"].tolist() == [[[[2, 1]], [[6, 5]], [[4, 3]]]]
    assert out["box"].tolist() == [[[[5, 4]], [[3, 2]], [[1, 0]], [[7, 6]]]]
    assert out["depth"].tolist() == [[[[9, 7]]]]
    twice = mirror(out, [0, 2, 1])
    assert all(torch.equal(twice[k], maps[k]) for k in maps)


def test_flip_test_leaves_a_symmetric_network_alone_and_averages_another():
    order = JOINTS_15.flip_order
    pairs = {i for pair in JOINTS_15.flip_pairs for i in pair}
    assert len(pairs) == 12

    def symmetric(images):
        """Left joints look for channel 0 on the left of each pixel, right joints on its right; the box likewise."""
        left, right = images.roll(1, -1), images.roll(-1, -1)
        names = [left if j.startswith("left") else right if j.startswith("right") else images for j in JOINTS_15.joints]
        return {"heatmap": torch.cat(names, 1), "box": torch.cat([left, images, right, images], 1), "depth": images * 3}

    images = torch.rand(2, 1, 4, 6, generator=seeded())
    plain = symmetric(images)
    for name, m in flip_test(symmetric, images, order).items():
        torch.testing.assert_close(m, plain[name])
    skewed = flip_test(lambda x: {k: v + torch.arange(6.0) for k, v in symmetric(x).items()}, images, order)
    for name, m in skewed.items():
        torch.testing.assert_close(m, plain[name] + 2.5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@torch.no_grad()
def test_gpu_agrees(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    net, x = ResNet(18, generator=seeded(), **SMALL).eval(), torch.rand(1, 3, 64, 64, generator=seeded())
    cpu, cuda = net(x), net.cuda()(x.cuda())
    for name, m in cpu.items():
        torch.testing.assert_close(cuda[name].cpu(), m, rtol=1e-4, atol=1e-5)


# ---- full size -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("VP_SLOW"), reason="full paper size takes minutes and gigabytes: set VP_SLOW=1")
def test_full_size(record_property, capsys):
    from full_size import measure

    measure("backbone, ResNet-152, 960 x 512", lambda: ResNet(152), (1, 3, 512, 960), record_property, capsys)
    de = {"heads": {"depth": 1}, "keep_scale": True}
    measure("DE, ResNet-18, 240 x 128", lambda: ResNet(18, 9, **de), (1, 9, 128, 240), record_property, capsys)
