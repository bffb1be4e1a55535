"""The 2D network (§4.1, published_settings 1.2): a ResNet, three transposed convolutions and one head per map.

It serves twice: as the backbone (image to heatmaps and boxes at a quarter of the image's size; the paper's depth is 152) and as the
depth estimator DE of §4.2 (depth 18, `keep_scale`: AGR heatmaps to a depth map of the same size).  Weights lie in channels-last
order, and with them all maps inside: on one core, training steps of a small DE (width 16, 64 x 32) took a fifth less time.
"""

import torch
from torch import nn
from torch.nn.functional import relu

from vp.errors import InputError
from vp.nets import exact, initialise

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}  # residual blocks of layer 1 to 4
BOX_FLIP = (2, 1, 0, 3)  # left, top, right, bottom distance in the mirror


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or with `wide` (bottleneck) 1x1, 3x3 (it strides), 1x1 to four times the channels."""

    def __init__(self, inputs, channels, stride, wide):
        super().__init__()
        outputs = 4 * channels if wide else channels
        kernels = ((inputs, channels, 1, 1), (channels, channels, 3, stride), (channels, outputs, 1, 1))
        kernels = kernels if wide else ((inputs, channels, 3, stride), (channels, channels, 3, 1))
        self.convolutions = len(kernels)
        for i, (a, b, kernel, step) in enumerate(kernels, 1):
            setattr(self, f"conv{i}", nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(b))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        skip = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.convolutions):
            x = relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)), inplace=True)
        x = getattr(self, f"bn{self.convolutions}")(getattr(self, f"conv{self.convolutions}")(x))
        return relu(x + skip, inplace=True)


class ResNet(nn.Module):
    """ResNet of a `depth` of 18, 50 or 152 layers with a transposed-convolution head (defaults: the paper's sizes).

    heads: name -> channels; "heatmap" is a 1x1 convolution, all others 3x3, ReLU, 1x1.  No activation on any output.
    keep_scale: first convolution without stride and no max-pool (DE);  width: channels of the stem (layers 2, 3, 4: 2, 4, 8 times as
    many);  deconv: channels of the transposed convolutions and heads, 0: neither;  init_std, generator: see `vp.nets.initialise`.
    """

    def __init__(self, depth=18, inputs=3, heads=None, width=64, deconv=256, keep_scale=False, init_std=1e-3, generator=None):
        super().__init__()
        if depth not in BLOCKS:
            raise InputError(f"no ResNet of depth {depth}", "ResNet", f"depths: {', '.join(map(str, BLOCKS))}")
        heads = {"heatmap": 15, "box": 4, "depth": 1} if heads is None and deconv else heads or {}
        self.multiple = 8 if keep_scale else 32  # of the input's size
        self.conv1 = nn.Conv2d(inputs, width, 7, 1 if keep_scale else 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.Identity() if keep_scale else nn.MaxPool2d(3, 2, 1)
        channels, wide = width, depth > 34
        for i, blocks in enumerate(BLOCKS[depth]):
            layer = []
            for b in range(blocks):
                layer.append(Block(channels, width << i, 2 if i and not b else 1, wide))
                channels = (width << i) * (4 if wide else 1)
            setattr(self, f"layer{i + 1}", nn.Sequential(*layer))
        self.channels_out = channels  # of layer 4
        self.deconv = nn.Sequential(*_up(channels, deconv), *_up(deconv, deconv), *_up(deconv, deconv)) if deconv else nn.Identity()
        self.heads = nn.ModuleDict({name: _head(name, deconv, n) for name, n in heads.items()})
        last = [head if name == "heatmap" else head[-1] for name, head in self.heads.items()]
        initialise(self, init_std, last, generator).to(memory_format=torch.channels_last)

    def forward(self, x):
        """(B, inputs, H, W) -> dict of head -> (B, C, H/4, W/4), or (B, C, H, W) with keep_scale; InputError: see `features`."""
        x = self.maps(x)
        return {name: exact(head, x) for name, head in self.heads.items()}

    def maps(self, x):
        """What the heads see: (B, inputs, H, W) -> (B, deconv, H/4, W/4), or (B, deconv, H, W) with keep_scale."""
        return self.deconv(self.features(x))

    def features(self, x):
        """What layer 4 says: (B, inputs, H, W) -> (B, C, H/32, W/32), or (B, C, H/8, W/8) with keep_scale.

        InputError unless H and W are multiples of 32 (keep_scale: 8), as otherwise the maps would not lie over the image.
        """
        if any(n % self.multiple for n in x.shape[-2:]):
            raise InputError(f"a size of {tuple(x.shape[-2:])} is no multiple of {self.multiple}", "ResNet", "pad the input")
        x = self.pool(relu(self.bn1(self.conv1(x)), inplace=True))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _up(inputs, outputs):
    """Doubles H and W."""
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)


def _head(name, inputs, outputs):
    if name == "heatmap":
        return nn.Conv2d(inputs, outputs, 1)
    return nn.Sequential(nn.Conv2d(inputs, inputs, 3, 1, 1), nn.ReLU(True), nn.Conv2d(inputs, outputs, 1))


def mirror(maps, order):
    """Maps of a mirrored image, mirrored back: head -> (B, C, H, W) as `ResNet` gives them, left and right exchanged.

    order: joint order in the mirror (`Skeleton.flip_order`); heads other than "heatmap" and "box" have no left and right.
    """
    exchange = {"heatmap": list(order), "box": list(BOX_FLIP)}
    return {name: (m[:, exchange[name]] if name in exchange else m).flip(-1) for name, m in maps.items()}


def flip_test(net, images, order):
    """Mean of the maps of images (B, 3, H, W) and of their mirror images; order: see `mirror`."""
    straight, mirrored = net(images), mirror(net(images.flip(-1)), order)
    return {name: (m + mirrored[name]) / 2 for name, m in straight.items()}
