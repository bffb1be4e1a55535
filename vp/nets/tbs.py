"""TBS, depth from the size of the box (§3.1, after RootNet): d = k γ, the pinhole's k for a person of constant size, γ seen in the crop.

    k = sqrt(f_x f_y A_real / A_box),   A_real = 2 m x 2 m,   A_box: the box made square and enlarged by 1.25

A network that sees nothing but the crop, always at one size, cannot see how large the person appears: that is in k.  What it can see is
posture, viewpoint and who it is, and γ corrects for these.
"""

import torch
from torch import nn
from torch.nn import functional as F

from vp.camera import to_grid
from vp.nets.resnet import ResNet

REAL_MM = 2000.0  # edge of A_real (RootNet)
ENLARGED = 1.25  # of the squared box (RootNet)


class TBS(nn.Module):
    """crop: edge of the crops, px;  depth, width: of the ResNet (RootNet: 50 layers, 64 channels, crops of 256 px)."""

    def __init__(self, crop=256, depth=50, width=64, init_std=None, generator=None):
        super().__init__()
        self.crop = crop
        self.net = ResNet(depth, 3, width=width, deconv=0, init_std=init_std, generator=generator)
        self.gamma = nn.Linear(self.net.channels_out, 1)
        nn.init.zeros_(self.gamma.weight)
        nn.init.ones_(self.gamma.bias)  # an untrained one is the box rule

    def depths(self, views):
        """(B, P) mm; 0 where nobody is."""
        squares = square(views.boxes)
        image, person = views.mask.nonzero(as_tuple=True)
        if not len(image):
            return box_depth(squares, views.camera) * 0 * self.gamma.bias
        seen = self.net.features(crops(views.image, squares[image, person], image, self.crop)).mean((2, 3))
        gamma = views.boxes.new_zeros(views.mask.shape).index_put((image, person), self.gamma(seen.float())[:, 0].to(views.boxes))
        return box_depth(squares, views.camera) * gamma


def square(boxes, enlarged=ENLARGED):
    """Boxes (..., 4) px made square about their centre, with the longer edge times `enlarged`."""
    centre, edge = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).amax(-1, keepdim=True) * enlarged
    return torch.cat([centre - edge / 2, centre + edge / 2], -1)


def box_depth(squares, camera, real=REAL_MM):
    """k (B, P) mm: depth of something `real` mm wide and high that fills the square (B, P, 4) px (§3.1, RootNet's Eq. 2).

    Without learning, calibrated by one constant, this is the box-size rule.
    """
    edge = (squares[..., 2:] - squares[..., :2]).prod(-1).clamp(min=1e-6).sqrt()
    return camera.depth_norm.to(edge)[:, None] * real / edge


def crops(images, squares, index, size):
    """(N, 3, size, size): square n (N, 4) px of picture index[n] of images (B, 3, H, W), bilinear, grey outside the picture."""
    centres = (torch.arange(size, device=squares.device) + 0.5) / size
    low, edge = squares[:, :2], squares[:, 2:] - squares[:, :2]
    u, v = (low[:, None, i] + edge[:, None, i] * centres for i in (0, 1))  # N size, px
    grid = torch.stack([u[:, None].expand(-1, size, -1), v[..., None].expand(-1, -1, size)], -1)
    return F.grid_sample(images[index] - 0.5, to_grid(grid, images.shape[:1:-1]).to(images), align_corners=False) + 0.5
