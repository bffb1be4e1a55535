"""Heatmaps lifted into space (§4.2, Eq. 5): every voxel takes what the maps show at its projection, near the depth that the DE expects.

    V(x, y, z) = H(u, v) · max over people p of [ (u, v) in box p ] exp(-(z - D_p)² / 2σ²)

Heatmaps are not negative, so the maximum over people of gate x sample is the sample times the maximum of the gates: each voxel is sampled
once, whatever the number of people, and only where a gate is open.  Without a gate this is the naive projection to all voxels (§5.3),
which is also what PEN takes (§4.3).  Everything is batched: B images, N points each, maps H x W.

Three steps: `positions` (where do the points lie on the maps), `depth_gate` (Eq. 5's second factor), `unproject` (the product).
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from vp.camera import MIN_DEPTH, fit_transform, rescale, to_grid

SIGMA = 200.0  # mm, of the depth gate (§4.2)
CUT = 5.7  # sigmas of depth beyond which a gate is closed: exp(-CUT² / 2) is less than float32 resolves beside 1
CELLS = (66, 34)  # coarse raster, and its rim, on which voxels far from every box and depth are dismissed


@dataclass(frozen=True)
class Positions:
    """Where points lie on the maps: u, v (B, N) px (integer = pixel centre), depth (B, N) mm, inside (B, N) as 0 or 1.

    inside is 0 behind the camera and outside the image, also where padding of the map surrounds it; u, v are finite there all the same.
    """

    u: torch.Tensor
    v: torch.Tensor
    depth: torch.Tensor
    inside: torch.Tensor


def positions(camera, points, map_size):
    """`Positions` of points (B | 1, N, 3) mm before a batch of B cameras, on maps (W, H) into which the image is fitted (`Camera.fit`)."""
    on_map, (k, offset) = camera.fit(*map_size), fit_transform(camera.size, map_size)
    with torch.autocast(points.device.type, enabled=False):  # half precision is too coarse for geometry
        if camera.dist is None:  # the pinhole as one matrix: what `Camera.project` gives, at a fraction of its time
            K = torch.diag_embed(F.pad(on_map.f, (0, 1), value=1.0))
            K[..., :2, 2] = on_map.c
            A, b = (K @ camera.R).to(points), (K @ camera.t[..., None]).to(points)
            u, v, depth = torch.baddbmm(b, A, points.mT.expand(len(A), -1, -1)).unbind(1)
            front, z = (depth - MIN_DEPTH).gt_(0), depth.clamp(min=MIN_DEPTH)
            u, v = u / z, v / z
        else:
            uv, depth, front = on_map.project(points)
            (u, v), front = uv.nan_to_num(0).unbind(-1), front.to(uv)
    (left, right), (top, bottom) = ([rescale(edge, k) + o for edge in (-0.5, n - 0.5)] for n, o in zip(camera.size, offset))
    inside = u.clamp(left, right).eq_(u).mul_(v.clamp(top, bottom).eq_(v)).mul_(front)  # on a CPU, bools would take five times longer
    return Positions(u, v, depth, inside)


def depth_gate(where, boxes, depths, valid, map_size, sigma=SIGMA):
    """Gate (B, N) in [0, 1]: max over people of [in box, bounds included] exp(-(z - D)² / 2σ²) (Eq. 5); differentiable in `depths`.

    boxes (B, P, 4) x0 y0 x1 y1 px of maps of size (W, H);  depths (B, P) mm;  valid (B, P): who counts;  sigma mm.
    """
    (B, N), like = where.u.shape, where.u
    gate = like.new_zeros(B * N)
    if boxes.shape[1] == 0:
        return gate.view(B, N)
    boxes = boxes.detach().to(like).masked_fill(~valid[..., None], torch.inf)  # nothing lies in the box of nobody
    depths = depths.to(like).masked_fill(~valid, 0)
    near = _near_somebody(where, boxes, depths.detach(), map_size, CUT * sigma)
    u, v, z = (x.flatten().index_select(0, near) for x in (where.u, where.v, where.depth))
    values = []
    for image, (x, y, depth) in enumerate(zip(*(a.split(_per_row(near, B, N).tolist()) for a in (u, v, z)))):
        x0, y0, x1, y1 = boxes[image].T[..., None]  # P 1 each
        beside = x0 - x  # P M; by how much a point is outside a box, then 1 or 0
        spare = torch.empty_like(beside)
        for a, b in ((x, x1), (y0, y), (y, y1)):
            torch.maximum(beside, torch.sub(a, b, out=spare), out=beside)
        offset = (depth - depths[image, :, None]).abs_().add_(beside.gt_(0), alpha=CUT * sigma).amin(0) / sigma
        values.append(torch.exp(-offset.square() / 2) * (offset < CUT))
    return gate.index_copy_(0, near, torch.cat(values)).view(B, N)


def unproject(heatmaps, where, gate=None, image=None):
    """Volume (C, J, N) in [0, 1]: heatmaps (B, J, H, W), clipped to [0, 1], at `where` (C rows of N points), times gate (C, N) (Eq. 5).

    Bilinear; 0 outside the image and behind the camera.  image (C,) long: the image of each row, if not one row an image (PEN's cubes).
    Differentiable in heatmaps and gate.  With a gate the memory layout is channels-last.
    """
    (B, J, H, W), (C, N) = heatmaps.shape, where.u.shape
    if gate is None:
        u, v = where.u.clamp(0, W - 1), where.v.clamp(0, H - 1)  # half a pixel at the border takes the value of the border
        maps = heatmaps.clamp(0, 1) if image is None else heatmaps.clamp(0, 1)[image]
        grid = to_grid(torch.stack([u, v], -1), (W, H))[:, :, None]
        return F.grid_sample(maps.to(grid), grid, align_corners=False)[..., 0].mul_(where.inside[:, None])
    image = torch.arange(B, device=gate.device) if image is None else image
    gate = (gate * where.inside).flatten()
    filled = gate.detach().bool().nonzero()[:, 0]
    u, v, gate = (x.flatten().index_select(0, filled) for x in (where.u, where.v, gate))
    u, v = u.clamp(0, W - 1), v.clamp(0, H - 1)
    x, y = u.floor().clamp(max=max(W - 2, 0)), v.floor().clamp(max=max(H - 2, 0))
    right, down = u - x, v - y
    corner = (y * W + x).long() + (image * (H * W)).repeat_interleave(_per_row(filled, C, N), output_size=len(filled))
    step = corner.new_tensor([0, min(1, W - 1), W * min(1, H - 1), W * min(1, H - 1) + min(1, W - 1)])
    share = torch.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], -1)
    rows = heatmaps.movedim(1, -1).contiguous().view(-1, J).clamp(0, 1).to(gate)  # a row a pixel
    values = F.embedding_bag(corner[:, None] + step, rows, per_sample_weights=share * gate[:, None], mode="sum")
    return values.new_zeros(C * N, J).index_copy_(0, filled, values).view(C, N, J).transpose(1, 2)


def _near_somebody(where, boxes, depths, map_size, reach):
    """Flat indices (M,) into (B, N) of points inside the image that may lie in a box within `reach` mm of its depth: none is missed.

    A coarse raster of the map holds the range of the depths of the boxes that touch each cell.
    """
    B, like, (columns, rows) = len(boxes), where.u, CELLS
    (i, wide), (j, high) = ((torch.arange(-1, n - 1, device=like.device), size / (n - 2)) for n, size in zip(CELLS, map_size))
    left, top = i * wide - 0.5, j * high - 0.5  # px, border of each cell; the outermost lie beyond the map
    across = (boxes[..., :1] <= left + 1.01 * wide) & (boxes[..., 2:3] >= left - 0.01 * wide)  # margin for rounding, B P columns
    along = (boxes[..., 1:2] <= top + 1.01 * high) & (boxes[..., 3:] >= top - 0.01 * high)  # B P rows
    touched = along[..., :, None] & across[..., None, :]
    behind = reach - torch.where(touched, depths[..., None, None], torch.inf).amin(1).flatten()
    ahead = reach + torch.where(touched, depths[..., None, None], -torch.inf).amax(1).flatten()

    first = torch.arange(0, B * rows * columns, rows * columns, device=like.device, dtype=torch.int32)[:, None]
    x, y = (torch.add(like.new_tensor(1 + 0.5 / size), at, alpha=1 / size) for at, size in ((where.u, wide), (where.v, high)))
    cell = x.add_(y.floor_(), alpha=columns).clamp_(0, rows * columns - 1).int().add_(first)  # any cell for points outside
    behind, ahead = (bound.index_select(0, cell.flatten()).view(cell.shape) for bound in (behind, ahead))
    within = torch.minimum(behind.add_(where.depth), ahead.sub_(where.depth), out=ahead).mul_(where.inside)
    return within.gt_(0).bool().flatten().nonzero()[:, 0]


def _per_row(index, rows, N):
    """How many of the ascending flat indices into (rows, N) lie in each row: (rows,) long."""
    return torch.searchsorted(index, torch.arange(rows + 1, device=index.device) * N).diff()
