"""Augmentation of labelled pictures, on the device (§4.1): moved with their joints, recoloured, covered, before another background."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from vp.camera import to_grid


@dataclass(frozen=True)
class Change:
    """Augmentation of pictures (§4.1 asks for it, the published settings have the mirror alone; the numbers are ours)."""

    mirror: float = 0.5  # probability
    scale: tuple = (0.7, 1.4)
    rotation_deg: float = 15.0  # at most, to either side
    shift: float = 0.1  # of the picture's size, at most
    colour: float = 0.25  # brightness, contrast and each channel are stretched by 1 ± this
    blur: float = 0.3  # probability; the picture is mixed with its Gaussian blur of 1.5 px
    occluders: float = 0.4  # probability of each of three rectangles or ellipses of noise
    occluder: float = 0.15  # their half sides, at most, as a share of the picture's height
    background: float = 0.3  # probability of another background, where it is known what is background (rendered pictures)


MIRROR = Change(0.5, (1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0.0, background=0.0)  # the published augmentation


def warp(images, A, size, outside="zeros"):
    """Images (B, C, h, w) moved: pixel u of the source comes to A (B, 2, 3) of it, in a picture of `size` (W, H); black outside."""
    inverse = torch.linalg.inv(A[..., :2])
    y, x = torch.meshgrid(*(torch.arange(n, dtype=A.dtype, device=A.device) for n in size[::-1]), indexing="ij")
    uv = torch.einsum("bij,bhwj->bhwi", inverse, torch.stack([x, y], -1) - A[:, None, None, :, 2])
    return F.grid_sample(images, to_grid(uv, (images.shape[3], images.shape[2])), padding_mode=outside, align_corners=False)


def moved(uv, A):
    """Positions (B, ..., 2) px under A (B, 2, 3)."""
    return torch.einsum("bij,b...j->b...i", A[..., :2], uv) + A[..., 2].view(-1, *[1] * (uv.dim() - 2), 2)


def moved_box(boxes, A):
    """The upright boxes about boxes (B, P, 4) moved by A (B, 2, 3); NaN stays."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    corners = moved(torch.stack([torch.stack(c, -1) for c in ((x0, y0), (x1, y0), (x0, y1), (x1, y1))], -2), A)
    return torch.cat([corners.amin(-2), corners.amax(-2)], -1)


def draw_moves(change, n, size, generator):
    """A (n, 2, 3) about the middle of pictures of `size`, and (n,) bool: mirrored (a Generator on the CPU)."""
    u = torch.rand(n, 5, generator=generator)
    low, high = change.scale
    scale = low * (high / low) ** u[:, 0]
    turn = torch.deg2rad(change.rotation_deg * (2 * u[:, 1] - 1))
    mirrored = u[:, 4] < change.mirror
    c, s, sign = scale * turn.cos(), scale * turn.sin(), torch.where(mirrored, -1.0, 1.0)
    linear = torch.stack([c * sign, -s, s * sign, c], -1).view(n, 2, 2)
    middle = (torch.tensor(size) - 1) / 2
    target = middle + change.shift * torch.tensor(size) * (2 * u[:, 2:4] - 1)
    return torch.cat([linear, (target - linear @ middle)[..., None]], -1), mirrored


def recolour(images, change, generator):
    """Images (B, 3, H, W) in [0, 1] with other brightness, contrast and colours, blurred and covered, as `Change` says."""
    (B, _, H, W), device = images.shape, images.device
    draws = torch.rand(B, 32, generator=generator).to(device)
    stretch = (1 + change.colour * (2 * draws[:, :5] - 1))[:, :, None, None]
    images = ((images - 0.5) * stretch[:, :1] + 0.5) * stretch[:, 1:2] * stretch[:, 2:5]
    if change.blur:
        g = torch.exp(-(torch.arange(-3, 4, device=device, dtype=images.dtype) ** 2) / (2 * 1.5**2))
        kernel = ((g[:, None] * g) / g.sum() ** 2).expand(3, 1, 7, 7)
        share = ((draws[:, 5] < change.blur) * draws[:, 6])[:, None, None, None]
        images = torch.lerp(images, F.conv2d(images, kernel, padding=3, groups=3), share)
    if change.occluders:
        noise = torch.rand(B, 1, H // 4 + 1, W // 4 + 1, generator=generator).to(device)
        noise = F.interpolate(noise, scale_factor=4)[..., :H, :W]
        y, x = (torch.arange(n, device=device, dtype=images.dtype) for n in (H, W))
        for k in range(3):
            d = draws[:, 8 + 8 * k : 16 + 8 * k]
            half = change.occluder * H * (0.2 + 0.8 * d[:, 0:2])
            dx, dy = ((v - d[:, 2 + i, None] * n).abs() / half[:, i, None] for i, (v, n) in enumerate(((x, W), (y, H))))
            dx, dy = dx[:, None, :], dy[:, :, None]
            shape = torch.where((d[:, 7] < 0.5)[:, None, None], dx.maximum(dy), (dx.square() + dy.square()).sqrt())
            cover = (shape < 1) & (d[:, 4] < change.occluders)[:, None, None]
            images = torch.where(cover[:, None], d[:, 5:8, None, None] * (0.6 + 0.4 * noise), images)
    return images.clamp(0, 1)


def before_another(images, people, empty, generator, share):
    """Images (B, 3, h, w) in [0, 1] of which a `share` stand before another background.

    people (B, h, w) bool: what is kept;  empty (m, 3, h, w) uint8: pictures without people, one drawn for each image.
    """
    draws = torch.rand(2, len(images), generator=generator)
    other = empty[(draws[1] * len(empty)).long()].to(images) / 255
    swap = (draws[0] < share).to(images.device)[:, None, None] & ~people.to(images.device)
    return torch.where(swap[:, None], other, images)
