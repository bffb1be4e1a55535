"""A 2D network for the root volume (ours, not in the paper): seen from above, with height as channels.

People stand beside each other on a floor and hardly ever on top of each other, so convolutions along the height can be replaced by dense
weights over it.  For the same time this trains more samples than V2V does; it is what the shipped compact model uses.
"""

import torch
from torch import nn
from torch.nn.functional import interpolate, pad, pixel_shuffle, relu

from vp.nets import exact, initialise


class Residual(nn.Module):
    """Two 3² convolutions with batch-norm plus the input (through a 1² convolution where shapes change), then ReLU."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        """(B, inputs, X, Y) -> (B, outputs, X / stride, Y / stride)."""
        return relu(self.branch(x) + self.skip(x), inplace=True)


class BirdsEye(nn.Module):
    """(B, inputs, X, Y, Z) -> (B, outputs, X, Y, Z) by a U-Net over X and Y of three levels, the first at half the grid.

    height: Z;  widths: channels of the levels.  Besides the volume it is shown X and Y of each column, from -1 to 1.
    """

    def __init__(self, inputs, outputs, height, widths=(64, 96, 128), init_std=None, generator=None):
        super().__init__()
        a, b, c = widths
        self.outputs, self.height = outputs, height
        self.stem = nn.Sequential(nn.Conv2d(inputs * height + 2, a, 2, 2, bias=False), nn.BatchNorm2d(a), nn.ReLU(True), Residual(a, a))
        self.down1, self.down2, self.middle = Residual(a, b, 2), Residual(b, c, 2), Residual(c, c)
        self.up2, self.merge2 = nn.Conv2d(c, b, 1), Residual(b, b)
        self.up1, self.merge1 = nn.Conv2d(b, a, 1), Residual(a, a)
        self.output = nn.Conv2d(a, 4 * outputs * height, 1)
        initialise(self, init_std, [self.output], generator).to(memory_format=torch.channels_last)

    def forward(self, volume):
        """Any X and Y; they are padded to multiples of 8."""
        B, _, X, Y, Z = volume.shape
        x, y = (torch.linspace(-1, 1, n, dtype=volume.dtype, device=volume.device) for n in (X, Y))
        where = torch.stack(torch.meshgrid(x, y, indexing="ij")).expand(B, 2, X, Y)
        plan = torch.cat([volume.permute(0, 1, 4, 2, 3).flatten(1, 2), where], 1)
        one = self.stem(pad(plan, (0, -Y % 8, 0, -X % 8)))
        two = self.down1(one)
        three = self.middle(self.down2(two))
        two = self.merge2(two + self.up2(interpolate(three, scale_factor=2.0)))
        one = self.merge1(one + self.up1(interpolate(two, scale_factor=2.0)))
        out = pixel_shuffle(exact(self.output, one), 2)[..., :X, :Y]
        return out.unflatten(1, (self.outputs, Z)).permute(0, 1, 3, 4, 2)
