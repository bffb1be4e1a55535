"""TIF, depth from image features (§3.1, after HDNet): features of the whole picture, pooled where a person's heatmaps are, say how far.

Nothing is told of the size of a box.  The depth is divided by the focal length (§2) and either read from bins by a soft-argmax, as in
HDNet, or regressed; both in the logarithm, so that near and far are resolved alike.  HDNet passes the pooled joints through a graph
network; here a perceptron sees all joints of a person at once.
"""

import torch
from torch import nn

from vp.nets.method import resized
from vp.nets.resnet import ResNet

RANGE = (500.0, 40_000.0)  # mm over width_mm: of the bins
SIGMA = 1.5  # px of the feature map, of the attention about a joint


class TIF(nn.Module):
    """joints: J;  bins: of depth, 0: regression;  seen: (width, height) px to which pictures are resized first, None: as they are;
    others: `ResNet`."""

    def __init__(self, joints=15, bins=64, seen=None, depth=50, width=64, deconv=256, hidden=256, init_std=None, generator=None):
        super().__init__()
        self.seen, low, high = seen, *torch.tensor(RANGE).log()
        self.net = ResNet(depth, 3, {}, width, deconv, init_std=init_std, generator=generator)
        self.head = nn.Sequential(nn.Linear(joints * deconv, hidden), nn.ReLU(True), nn.Linear(hidden, bins or 1))
        nn.init.kaiming_uniform_(self.head[0].weight, 5**0.5, generator=generator)  # torch's own, but from the generator
        nn.init.zeros_(self.head[0].bias)
        nn.init.zeros_(self.head[-1].weight)
        nn.init.constant_(self.head[-1].bias, 0.0 if bins else float(torch.tensor(4000.0).log()))
        self.register_buffer("bins", torch.linspace(low, high, bins) if bins else torch.zeros(0), persistent=False)

    def depths(self, views):
        """(B, P) mm; 0 where nobody is."""
        maps = self.net.maps(resized(views.image, self.seen) - 0.5).float()
        pooled = torch.einsum("bchw,bpjhw->bpjc", maps, attention(views, maps.shape[:1:-1]).to(maps))
        said = self.head(pooled.flatten(2))
        log = (said.softmax(-1) * self.bins).sum(-1) if len(self.bins) else said[..., 0]
        return log.exp() * views.width_mm[:, None] * views.mask


def attention(views, size, sigma=SIGMA):
    """(B, P, J, h, w): each person's heatmaps on maps of size (w, h), sum 1 for joints in the picture, 0 for others."""
    shares = []
    for axis in (0, 1):
        k = size[axis] / views.size[axis]
        at = (views.joints[..., axis, None] + 0.5) * k - 0.5  # B P J 1, px of the map
        off = torch.arange(size[axis], device=at.device) - at
        shares.append((-off.square() / (2 * sigma**2)).softmax(-1))
    return (shares[1][..., :, None] * shares[0][..., None, :]) * (views.known & views.mask[..., None])[..., None, None]
