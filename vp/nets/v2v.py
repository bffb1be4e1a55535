"""V2V (§4.2, §4.3, Eq. 6 and 7): the 3D encoder-decoder of REN and PEN, from joint volumes to root or joint volumes.

Weights lie in channels-last order, and with them all volumes inside: on one core, training steps at full size took a third less time
(REN 2.0 instead of 3.1 s, PEN 3.8 instead of 5.8 s).
"""

import torch
from torch import nn
from torch.nn.functional import max_pool3d, relu

from vp.errors import InputError
from vp.nets import exact, initialise


class Residual(nn.Module):
    """Two 3³ convolutions with batch-norm plus the input (through a 1³ convolution where the channels change), then ReLU."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, 1, 1), nn.BatchNorm3d(outputs), nn.ReLU(True),
            nn.Conv3d(outputs, outputs, 3, 1, 1), nn.BatchNorm3d(outputs),
        )  # fmt: skip
        same = inputs == outputs
        self.skip = nn.Identity() if same else nn.Sequential(nn.Conv3d(inputs, outputs, 1), nn.BatchNorm3d(outputs))

    def forward(self, x):
        """(B, inputs, X, Y, Z) -> (B, outputs, X, Y, Z)."""
        return relu(self.branch(x) + self.skip(x), inplace=True)


def _up(inputs, outputs):
    """Doubles X, Y and Z."""
    return nn.Sequential(nn.ConvTranspose3d(inputs, outputs, 2, 2), nn.BatchNorm3d(outputs), nn.ReLU(True))


class V2V(nn.Module):
    """3D encoder-decoder with two poolings (defaults: published, 3.3 M parameters); no activation at the end.

    widths: channels of stem, level 1, 2, 3;  kernel: of the stem, odd;  init_std, generator: see `vp.nets.initialise`.
    stem_stride=2 (not in the paper): the stem halves the grid and a transposed convolution doubles it back at the end.
    coordinates (not in the paper): three more input channels, X, Y and Z of each voxel from -1 to 1.
    """

    def __init__(
        self, inputs, outputs, widths=(16, 32, 64, 128), kernel=7, stem_stride=1, coordinates=False, init_std=1e-3, generator=None
    ):
        super().__init__()
        if kernel % 2 == 0 or stem_stride not in (1, 2) or kernel < 2 * stem_stride - 1:
            raise InputError(f"kernel {kernel} with stride {stem_stride}", "V2V", "kernels are odd, the stride is 1, or 2 from kernel 3 on")
        stem, w1, w2, w3 = widths
        self.coordinates, self.multiple = coordinates, 4 * stem_stride
        first = nn.Conv3d(inputs + 3 * coordinates, stem, kernel, stem_stride, kernel // 2)
        self.stem = nn.Sequential(first, nn.BatchNorm3d(stem), nn.ReLU(True))
        self.level1 = Residual(stem, w1)
        self.skip1, self.encode1 = Residual(w1, w1), Residual(w1, w2)
        self.skip2, self.encode2 = Residual(w2, w2), Residual(w2, w3)
        self.middle, self.decode2 = Residual(w3, w3), Residual(w3, w3)
        self.up2, self.decode1 = _up(w3, w2), Residual(w2, w2)
        self.up1 = _up(w2, w1)
        self.output = nn.Conv3d(w1, outputs, 1) if stem_stride == 1 else nn.ConvTranspose3d(w1, outputs, 2, 2)
        initialise(self, init_std, [self.output], generator).to(memory_format=torch.channels_last_3d)

    def forward(self, volume):
        """(B, inputs, X, Y, Z) -> (B, outputs, X, Y, Z); InputError unless X, Y, Z are multiples of 4 (of 8 with stem_stride 2)."""
        if any(n % self.multiple for n in volume.shape[-3:]):
            raise InputError(f"a grid of {tuple(volume.shape[-3:])} is no multiple of {self.multiple}", "V2V", "choose other bins")
        if self.coordinates:
            volume = torch.cat([volume, _coordinates(volume)], 1)
        fine = self.level1(self.stem(volume))
        middle = self.encode1(max_pool3d(fine, 2))
        x = self.decode2(self.middle(self.encode2(max_pool3d(middle, 2))))
        x = self.decode1(self.up2(x) + self.skip2(middle))
        return exact(self.output, self.up1(x) + self.skip1(fine))


def _coordinates(volume):
    """(B, 3, X, Y, Z), each from -1 to 1."""
    axes = [torch.linspace(-1, 1, n, dtype=volume.dtype, device=volume.device) for n in volume.shape[-3:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(len(volume), -1, -1, -1, -1)
