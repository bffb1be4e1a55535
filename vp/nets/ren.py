"""The root estimation network (§4.2): depth map (DE, Eq. 4), volume of heatmaps (Eq. 5), 3D network (Eq. 6), candidates by NMS.

Positions are in the frame of the grid (`vp.space`): the camera handed in has that frame as its world.
B images, K people at most, J joints, maps H x W, grid X x Y x Z.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from vp.nets.resnet import ResNet
from vp.nets.unproject import SIGMA, depth_gate, positions, unproject
from vp.nets.v2v import V2V
from vp.skeleton import JOINTS_17
from vp.space import Grid

ROOT = JOINTS_17.root_index  # the same in 15 and 17 joints
DE_JOINTS = ("neck", "head_top", "mid_hip", "left_shoulder", "left_hip", "left_knee", "right_shoulder", "right_hip", "right_knee")  # 1.2


@dataclass(frozen=True)
class Detections:
    """People found on the maps, best first: boxes (B, K, 4) x0 y0 x1 y1 px, depths (B, K) in the unit of the depth map, scores (B, K),
    roots (B, K, 2) px, valid (B, K)."""

    boxes: torch.Tensor
    depths: torch.Tensor
    scores: torch.Tensor
    roots: torch.Tensor
    valid: torch.Tensor


@dataclass(frozen=True)
class Candidates:
    """Peaks of the root volume, best first: position (B, K, 3) mm of the frame, score (B, K), valid (B, K); no gradient."""

    position: torch.Tensor
    score: torch.Tensor
    valid: torch.Tensor


@dataclass(frozen=True)
class Roots:
    """What REN returns: depth_map (B, H, W) mm / px (normalised), detections (depths mm), cube_in (B, J, X, Y, Z), volume (B, X, Y, Z)."""

    depth_map: torch.Tensor
    detections: Detections
    cube_in: torch.Tensor
    volume: torch.Tensor


class DE(ResNet):
    """The depth estimator: 9 heatmaps (no elbows, wrists, ankles) to the depth of the root at every pixel, divided by the focal length.

    width, deconv: channels (published 64, 256);  bias: what the untrained network says, mm / px (published 0);  other options: `ResNet`.
    """

    def __init__(self, width=64, deconv=256, bias=0.0, **options):
        super().__init__(18, len(DE_JOINTS), {"depth": 1}, width, deconv, keep_scale=True, **options)
        nn.init.constant_(self.heads["depth"][-1].bias, bias)
        self.channels = [JOINTS_17.index(j) for j in DE_JOINTS]  # the same in 15 and 17 joints

    def forward(self, heatmaps):
        """Heatmaps (B, J, H, W) -> normalised depth map (B, H, W), mm / px."""
        return super().forward(heatmaps[:, self.channels])["depth"][:, 0]


class REN(nn.Module):
    """AGR to a root volume, Eq. 4 to 6; the weights know neither grid nor camera.

    joints: J;  grid: `Grid` of the volume;  people: K;  sigma: of the depth gate, mm;  naive: no gate, all voxels along a ray (§5.3);
    de, net: other modules than the published ones, (B, J, H, W) -> (B, H, W) and (B, J, X, Y, Z) -> (B, 1, X, Y, Z).
    """

    def __init__(self, joints=15, grid=None, people=10, sigma=SIGMA, naive=False, threshold=0.1, de=None, net=None):
        super().__init__()
        self.grid, self.people, self.sigma, self.naive, self.threshold = grid or Grid(), people, sigma, naive, threshold
        self.de = DE() if de is None else de
        self.net = V2V(joints, 1) if net is None else net
        self.positions, self.decode = positions, decode  # `vp.published_stage` has others

    def forward(self, heatmaps, box_map, camera, factor, grid=None):
        """`Roots` of heatmaps (B, J, H, W) and box_map (B, 4, H, W), before a batch of B cameras.

        factor (B,) px: focal length at the resolution that the DE was trained for;  grid: another one than the network's own.
        """
        grid = grid or self.grid
        map_size = heatmaps.shape[:1:-1]
        depth_map = self.de(heatmaps).to(heatmaps)
        found = self.decode(heatmaps[:, ROOT], box_map, depth_map * factor.to(depth_map)[:, None, None], self.people, self.threshold)
        where = self.positions(camera, grid.points(heatmaps.device)[None], map_size)
        gate = None if self.naive else depth_gate(where, found.boxes, found.depths, found.valid, map_size, self.sigma)
        cube = unproject(heatmaps, where, gate).to(heatmaps).unflatten(2, grid.bins)
        return Roots(depth_map, found, cube, self.net(cube)[:, 0].to(heatmaps))


def decode(root_heatmap, box_map, depth_map, people=10, threshold=0.1):
    """`Detections`: the highest peaks (3x3) of the root heatmap, with the box and depth that the maps hold there (§4.1, Eq. 3).

    root_heatmap (B, H, W);  box_map (B, 4, H, W) px, root to left, top, right, bottom;  depth_map (B, H, W), differentiable;  threshold:
    least score of a valid one.  Roots are found to a fraction of a pixel; where equal pixels touch, the first is the peak.
    """
    (H, W), device = root_heatmap.shape[1:], root_heatmap.device
    heat = root_heatmap.detach()
    _, winner = F.max_pool2d(heat[:, None], 3, 1, 1, return_indices=True)
    peak = winner.flatten(1) == torch.arange(H * W, device=device)
    scores, index = torch.where(peak, heat.flatten(1), 0).topk(people)
    x, y = index % W, index // W
    roots = torch.stack([x + _vertex(heat, index, x, 1, W), y + _vertex(heat, index, y, W, H)], -1)
    to_edge = box_map.detach().flatten(2).gather(2, index[:, None].expand(-1, 4, -1)).clamp(min=0).mT
    boxes = torch.cat([roots - to_edge[..., :2], roots + to_edge[..., 2:]], -1)
    return Detections(boxes, depth_map.flatten(1).gather(1, index).clamp(min=0), scores, roots, scores >= threshold)


def _vertex(heat, index, at, step, n):
    """Offset (B, K) px, at most half a pixel, of the parabola through the logarithm of three pixels: exact for a Gaussian; 0 at borders."""
    flat, last = heat.flatten(1), heat[0].numel() - 1
    before, here, after = (flat.gather(1, (index + s).clamp(0, last)).clamp(min=1e-6).log() for s in (-step, 0, step))
    bend = (2 * here - before - after).clamp(min=1e-6)
    return ((after - before) / (2 * bend)).clamp(-0.5, 0.5).masked_fill((at == 0) | (at == n - 1), 0)


def detected_roots(detections, camera, map_size):
    """The roots at the depth of the DE, (B, K, 3) mm of the frame: what the first row of the paper's Table 4 measures."""
    return camera.fit(*map_size).unproject(detections.roots, detections.depths)[0]


def candidates(volume, grid, people=10, threshold=0.3, subvoxel=False, window=5):
    """`Candidates`: the highest voxels of the network's raw output that are the maximum of their `window`³ neighbours (§4.2).

    volume (B, X, Y, Z);  threshold: least score of a valid one;  subvoxel (not in the paper): positions between voxels, see `_summit`.
    """
    volume = volume.detach()
    highest = volume[:, None]
    for axis in range(3):  # the maximum over a cube, one axis after the other
        size = [window if a == axis else 1 for a in range(3)]
        highest = F.max_pool3d(highest, size, 1, [n // 2 for n in size])
    peaks = torch.where(volume == highest[:, 0], volume, 0).flatten(1)
    score, index = peaks.topk(people)
    _, Y, Z = volume.shape[1:]
    index = torch.stack([index // (Y * Z), index // Z % Y, index % Z], -1)
    return Candidates(grid.position(_summit(volume, index) if subvoxel else index).to(volume.dtype), score, score > threshold)


def _summit(volume, index):
    """Voxel coordinates (B, K, 3) of peaks at whole ones, from the 5³ scores around each: exact for a Gaussian, at most one voxel away.

    The sum of the scores over two axes leaves five numbers along the third; their logarithm is fitted by a parabola (least squares).
    (The centre of mass of so small a window would hardly leave its middle.)  At the border the window moves inwards.
    """
    B, size = len(volume), index.new_tensor(volume.shape[1:])
    middle = index.clamp(min=2).minimum(size - 3)
    t = torch.arange(-2, 3, device=volume.device)
    x, y, z = (middle[..., a, None] + t for a in range(3))  # B K 5
    image = torch.arange(B, device=volume.device).view(B, 1, 1, 1, 1)
    window = volume[image, x[..., :, None, None], y[..., None, :, None], z[..., None, None, :]].clamp(min=0)
    lines = torch.stack([window.sum((3, 4)), window.sum((2, 4)), window.sum((2, 3))], 2).clamp(min=1e-6).log()  # B K 3 5
    t = t.to(lines)
    slope, bend = (lines * t).sum(-1) / 10, (lines * (t**2 - 2)).sum(-1) / 14
    vertex = middle + slope / (-2 * bend).clamp(min=1e-6)
    return torch.minimum(torch.maximum(vertex, index - 1.0), index + 1.0)


def nearest_root(position, roots, mask, radius=500.0):
    """The true root nearest to each position (B, K, 3): person (B, K) long, and near (B, K), False if it is farther than `radius` mm.

    roots (B, P, 3) mm of the same frame, P > 0;  mask (B, P): who is there;  several positions may share a person (Q26).
    """
    there = mask & roots.isfinite().all(-1)
    distance = (position[:, :, None] - roots.to(position).nan_to_num(0)[:, None]).norm(dim=-1)
    distance, person = distance.masked_fill(~there[:, None], torch.inf).min(-1)
    return person, distance <= radius
