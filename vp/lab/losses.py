"""Losses of both stages (Eq. 1 to 4, 6, 8): the published means and weights as defaults, sensible variants as options.

The paper writes sums and norms; the published code takes means, over what it takes them is said at each function (1.3).  A batch without
anybody costs 0 and still has a gradient.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from vp.nets.ren import nearest_root


def heatmap_loss(found, target, weight=None):
    """Mean square over *all* elements of weight x (found - target) (Eq. 2); maps (B, J, H, W), weight (B, J) of channels.

    Published: channels of weight 0 count in the denominator.  Without `weight` this is also the loss of the root volume (Eq. 6).
    """
    difference = found - target
    return (difference if weight is None else weight.to(difference)[..., None, None] * difference).square().mean()


def at_roots(maps, index):
    """Values (B, P, C) of maps (B, C, H, W) at flat pixels (B, P) long."""
    return maps.flatten(2).gather(2, index[:, None].expand(-1, maps.shape[1], -1)).mT


def map_loss(maps, index, target, mask, smooth=False):
    """L1 between maps (B, C, H, W), read at pixels `index` (B, P), and target (B, P, C), over people in mask (B, P) (Eq. 3, 4).

    Published: divided by people x C (plus 1e-4);  smooth: smooth-L1 with beta 1, divided by people alone.
    """
    mask = mask[..., None].to(maps)
    found, target = at_roots(maps, index) * mask, torch.where(mask > 0, target.to(maps), 0)
    if smooth:
        return F.smooth_l1_loss(found, target, reduction="sum") / (mask.sum() + 1e-4)
    return (found - target).abs().sum() / (maps.shape[1] * mask.sum() + 1e-4)


def depth_loss(depth_map, factor, index, depth, mask, relative=False):
    """L1 in mm between depth_map (B, H, W) x factor (B,) and depth (B, P) mm at the pixels `index` (B, P), over people in mask (Eq. 4).

    relative (not published): as a share of the true depth, in per cent, so that near and far people count alike.
    """
    maps = (depth_map * factor.to(depth_map)[:, None, None])[:, None]
    if relative:
        scale = torch.where(mask, 100 / depth, 0).to(maps)
        error = (at_roots(maps, index)[..., 0] - torch.where(mask, depth, 0).to(maps)).abs() * scale
        return error.sum() / (mask.sum() + 1e-4)
    return map_loss(maps, index, depth[..., None], mask)


def pose_loss(joints, target, weight, known_only=False):
    """Mean over C people of the L1 between joints and target (C, J, 3) mm (Eq. 8); weight (C, J): known and in the image; 0 if C = 0.

    Published: joints of weight 0 count in the denominator, so people of whom little is seen weigh less (Q28); known_only leaves them out.
    """
    weight = weight[..., None].to(joints)
    error = torch.where(weight > 0, weight * (joints - target.to(joints)), 0).abs().sum((1, 2))
    share = 3 * (weight.sum((1, 2)).clamp(min=1) if known_only else joints.shape[1])
    return (error / share).sum() / max(len(joints), 1)


@dataclass(frozen=True)
class Weights:
    """Weights of the joint loss of the second stage (published, 1.3): depth per mm, root volume, pose per mm."""

    depth: float = 0.1
    volume: float = 1000.0
    pose: float = 1.0


def second_stage(estimate, targets, factor, weights=Weights(), radius=500.0, relative_depth=False, known_only=False):
    """Weighted losses "depth", "volume" and "pose" of a `VirtualPose` estimate; their sum is the joint loss (1.3).

    targets: depth (B, P) mm, mask (B, P), index (B, P), roots (B, P, 3) and joints (B, P, J, 3) mm of the estimate's frame,
    weight (B, P, J), volume (B, X, Y, Z), as `vp.world.agr.Targets` has them;  factor (B,) px, of the depth map.
    A slot learns the pose of the person whose root is nearest, if within `radius` mm; no gradient of the pose reaches REN.
    """
    depth = depth_loss(estimate.depth_map, factor, targets.index, targets.depth, targets.mask, relative_depth)
    volume = heatmap_loss(estimate.volume, targets.volume.to(estimate.volume))
    person, near = nearest_root(estimate.roots, targets.roots, targets.mask, radius)
    image, slot = (near & estimate.valid).nonzero(as_tuple=True)
    person = person[image, slot]
    pose = pose_loss(estimate.joints[image, slot], targets.joints[image, person], targets.weight[image, person], known_only)
    return {"depth": weights.depth * depth, "volume": weights.volume * volume, "pose": weights.pose * pose}
