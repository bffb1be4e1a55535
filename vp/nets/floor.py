"""A depth estimator that is told the camera (ours, not in the paper): what does the DE lack, a third dimension or gravity and extrinsics?

It is the DE of Eq. (4) with two more channels, the same for every picture of a camera: where each pixel's ray meets the floor.
"""

import torch
from torch import nn

from vp.nets.ren import DE, DE_JOINTS
from vp.nets.resnet import ResNet

UNIT = 4000.0  # mm: the channel of inverse depth is 1 where the floor is 4 m away
MOST = 4.0


def floor_rays(camera, map_size):
    """(B, 2, H, W): per map pixel, UNIT / depth of the point where its ray meets the floor Z = 0 (0 from the horizon on, at most MOST), and
    the sine of the ray's elevation, positive above the horizon.

    camera: a batch of B whose world has Z up and the floor at 0 (`Frame.camera` of a level frame);  map_size (W, H) px.
    """
    (W, H), camera = map_size, camera.fit(*map_size)
    y, x = torch.meshgrid(*(torch.arange(n, dtype=camera.f.dtype, device=camera.f.device) for n in (H, W)), indexing="ij")
    origin, d, _ = camera.rays(torch.stack([x, y], -1).view(1, H * W, 2).expand(len(camera.R), -1, -1))
    ahead = (d * camera.R[:, None, 2].to(d)).sum(-1)  # cosine with the optical axis
    inverse = (-d[..., 2] / (origin[..., 2] * ahead)).clamp(min=0) * UNIT
    return torch.stack([inverse.clamp(max=MOST), d[..., 2]], 1).nan_to_num(0.0).view(len(camera.R), 2, H, W)


class FloorDE(nn.Module):
    """DE with the channels of `floor_rays`; options as `DE`."""

    def __init__(self, width=64, deconv=256, bias=0.0, **options):
        super().__init__()
        self.net = ResNet(18, len(DE_JOINTS) + 2, {"depth": 1}, width, deconv, keep_scale=True, **options)
        nn.init.constant_(self.net.heads["depth"][-1].bias, bias)
        self.channels = DE(8, 8).channels

    def forward(self, heatmaps, camera):
        """Heatmaps (B, J, H, W), cameras (B) -> normalised depth map (B, H, W), mm / px."""
        rays = floor_rays(camera, heatmaps.shape[:1:-1]).to(heatmaps)
        return self.net(torch.cat([heatmaps[:, self.channels], rays], 1))["depth"][:, 0]
