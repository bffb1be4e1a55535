"""BDR, a dense depth map (§3.1): one network, two branches, for each joint a heatmap and a map of its depth.

The depth of a joint is read where the joint is in the picture, divided by the focal length as in §2, and with it the pose follows from
the pinhole alone (`poses`).  Which joints belong to whom is not the question here: 2D joints are the true ones.

With inputs="heatmaps" the same network sees heatmaps instead of the picture (Fig. 3b); that is the depth estimator of §4.2 with a depth
for every joint.
"""

import torch
from torch import nn
from torch.nn import functional as F

from vp.camera import to_grid
from vp.nets.method import ROOT, depth_error, resized
from vp.nets.resnet import ResNet

TYPICAL = 4000.0  # mm over width_mm: what an untrained network says


class BDR(nn.Module):
    """joints: J;  inputs: "image" or "heatmaps";  seen: (width, height) px to which pictures are resized first, None: as they are;
    heat: weight of the heatmap's loss;  others: `ResNet` (the paper: 50 layers)."""

    def __init__(self, joints=15, inputs="image", seen=None, depth=50, width=64, deconv=256, heat=50.0, init_std=None, generator=None):
        super().__init__()
        self.inputs, self.seen, self.heat = inputs, seen, heat
        image = inputs == "image"
        heads = {"heatmap": joints, "depth": joints} if image else {"depth": joints}
        self.net = ResNet(depth, 3 if image else joints, heads, width, deconv, not image, init_std, generator)
        nn.init.constant_(self.net.heads["depth"][-1].bias, 1.0)

    def forward(self, views):
        """Maps of `Views`: {"heatmap" (B, J, h, w), if it sees the picture; "depth" (B, J, h, w) mm}."""
        out = self.net(resized(views.image, self.seen) - 0.5 if self.inputs == "image" else views.heatmaps)
        return {**out, "depth": out["depth"] * TYPICAL * views.width_mm[:, None, None, None]}

    def depths(self, views):
        """(B, P) mm: the root's map at the true 2D root (§3.1)."""
        return self.joint_depths(self(views)["depth"], views)[..., ROOT]

    def joint_depths(self, depth_maps, views):
        """(B, P, J) mm: depth_maps (B, J, h, w), each read at its joint, between pixels; 0 where nobody is."""
        grid = to_grid(views.joints, views.size).clamp(-1, 1).transpose(1, 2).to(depth_maps)  # B J P 2
        read = F.grid_sample(depth_maps.flatten(0, 1)[:, None], grid.flatten(0, 1)[:, None], padding_mode="border", align_corners=False)
        return read[:, 0, 0].unflatten(0, depth_maps.shape[:2]).mT * views.mask[..., None]

    def poses(self, views):
        """(B, P, J, 3) mm of the camera frame: 2D joints at their depths (§3.1)."""
        depth = self.joint_depths(self(views)["depth"], views)[..., None]
        xy, _ = views.camera[:, None].normalise(views.joints.to(depth))
        return torch.cat([xy * depth, depth], -1)

    def losses(self, views):
        """{"depth": as every method's, "joints": the same for all joints, "heatmap"}."""
        out = self(views)
        depth = self.joint_depths(out["depth"], views)
        known = views.known & views.mask[..., None]
        off = torch.where(known, (depth - views.depth) / 1000, 0).abs().sum() / known.sum().clamp(min=1)
        losses = {"depth": depth_error(depth[..., ROOT], views), "joints": off}
        if "heatmap" in out:
            losses["heatmap"] = self.heat * (out["heatmap"] - together(views, out["heatmap"].shape[:1:-1])).square().mean()
        return losses


def together(views, size, sigma=1.2):
    """(B, J, h, w): heatmaps of all people on maps of size (w, h), highest value 1, the maximum where people overlap (Eq. 2)."""
    along = []
    for axis in (0, 1):
        at = (views.joints[..., axis, None] + 0.5) * (size[axis] / views.size[axis]) - 0.5
        along.append((-(torch.arange(size[axis], device=at.device) - at).square() / (2 * sigma**2)).exp())
    peaks = along[1][..., :, None] * along[0][..., None, :] * (views.known & views.mask[..., None])[..., None, None]
    return peaks.amax(1)
