"""What only the published second stage does, for comparison with it; ours is in `vp.nets`, which does the rest of the published work, too.

Sections (1.2) and quirks (Q2) are numbered as in `reference/published_settings.md`; tests/test_golden_stage.py compares with `golden/`.
Also here: the literal loops over people, as slow as they were, against which `vp bench` measures ours.
"""

from dataclasses import replace

import torch
from torch.nn import functional as F

from vp.camera import to_grid
from vp.nets.ren import ROOT, Candidates, Detections, candidates, nearest_root
from vp.nets.unproject import SIGMA, Positions
from vp.published import resize_transform

STRIDE = 4  # network-input px per map px


def as_published(model):
    """A `VirtualPose` (returned, changed in place) that samples and decodes in the published way."""
    model.ren.positions = model.pen.positions = positions
    model.ren.decode = decode
    return model


# ---- geometry ------------------------------------------------------------------------------------------------------------------------


def positions(camera, points, map_size):
    """`vp.nets.unproject.positions` of points (B | 1, N, 3) mm, as published; computed in float64.

    Original pixels have no half-pixel correction on their way to the map (Q12): q = (k u + offset) / 4.  The image ends at its size, not
    half a pixel before (Q34), so q runs to the very edge of the map, and beyond the centre of its last pixel a sample fades to 0: `inside`
    has that share.  Lens distortion is dropped (1.7).
    """
    W, H = map_size
    pinhole = replace(camera, dist=None).to(torch.float64)
    uv, depth, front = pinhole.project(points.double())
    trans = torch.from_numpy(resize_transform(camera.size, (STRIDE * W, STRIDE * H))).to(uv)
    inside = front & ((uv >= 0) & (uv < uv.new_tensor(camera.size))).all(-1)
    q = (uv.nan_to_num(0) @ trans[:, :2].T + trans[:, 2]) / STRIDE
    beyond = torch.maximum(-q, q - (q.new_tensor(map_size) - 1)).clamp(0, 1)
    return Positions(*q.unbind(-1), depth, inside * (1 - beyond).prod(-1))


def decode(root_heatmap, box_map, depth_map, people=10, threshold=0.1):
    """`vp.nets.ren.decode`, as published: equal neighbours are all peaks, boxes lie about peak + 0.5 (Q12), the order is far to near.

    Entries that are not valid have depth -1 and a box of zeros.
    """
    W, heat = root_heatmap.shape[-1], root_heatmap.detach()
    peaks = torch.where(heat == F.max_pool2d(heat[:, None], 3, 1, 1)[:, 0], heat, 0)
    scores, index = peaks.flatten(1).topk(people)
    depths = depth_map.flatten(1).gather(1, index).clamp(min=0)
    valid = scores >= threshold
    order = depths.detach().masked_fill(~valid, -1).argsort(dim=1, descending=True, stable=True)
    scores, index, depths, valid = (x.gather(1, order) for x in (scores, index, depths, valid))
    roots = torch.stack([index % W, index // W], -1) + 0.5
    to_edge = box_map.flatten(2).gather(2, index[:, None].expand(-1, 4, -1)).clamp(min=0).mT
    boxes = torch.cat([roots - to_edge[..., :2], roots + to_edge[..., 2:]], -1)
    return Detections(boxes.masked_fill(~valid[..., None], 0), depths.masked_fill(~valid, -1), scores, roots, valid)


# ---- ground truth in inference ---------------------------------------------------------------------------------------------------------


def keep_true(roots, mask, radius=500.0):
    """Candidates -> Candidates, those within `radius` mm of a true root (B, P, 3) (mask (B, P)), whatever their score.

    Q2: validation, and training, work on these; the threshold on the score is not used.  For `VirtualPose.forward(choose=...)`.
    """
    return lambda found: Candidates(found.position, found.score, nearest_root(found.position, roots, mask, radius)[1])


def flags(found, roots, mask, radius=500.0):
    """The published flag (B, K) of Candidates or an Estimate: index of the nearest true root, -1 if it is farther than `radius` mm."""
    position = found.position if isinstance(found, Candidates) else found.roots
    person, near = nearest_root(position, roots, mask, radius)
    return person.masked_fill(~near, -1)


def table(estimate, flag):
    """The published output (B, K, J, 5): x, y, z (0 where flag < 0), flag (B, K), score; and the candidates (B, K, 5) alike."""
    J = estimate.joints.shape[2]
    mark = torch.stack([flag.to(estimate.scores), estimate.scores], -1)
    joints = torch.where((flag >= 0)[..., None, None], estimate.joints, 0)
    return torch.cat([joints, mark[:, :, None].expand(-1, -1, J, -1)], -1), torch.cat([estimate.roots, mark], -1)


# ---- the literal loops -----------------------------------------------------------------------------------------------------------------


def loop_volume(heatmaps, where, boxes, depths, valid, sigma=SIGMA):
    """REN's volume (B, J, N) image by image and person by person, all heatmaps sampled everywhere for each; arguments as `depth_gate`'s."""
    images = []
    for b, maps in enumerate(heatmaps):
        volume = heatmaps.new_zeros(len(maps), where.u.shape[1])
        for box, depth in zip(boxes[b][valid[b]], depths[b][valid[b]]):
            x0, y0, x1, y1 = box
            inside = (where.u[b] >= x0) & (where.u[b] <= x1) & (where.v[b] >= y0) & (where.v[b] <= y1)
            weight = inside * torch.exp(-((where.depth[b] - depth) ** 2) / (2 * sigma**2))
            volume = torch.maximum(volume, _sample(maps, where, b) * weight)
        images.append((volume * where.inside[b]).nan_to_num(0).clamp(0, 1))
    return torch.stack(images)


def loop_cubes(heatmaps, camera, centres, valid, cube, locate):
    """PEN's volumes (B, K, J, M, M, M), one person after the other; locate: a `positions`; zeros where not valid."""
    volumes = heatmaps.new_zeros(*valid.shape, heatmaps.shape[1], *cube.bins)
    for b, k in valid.nonzero().tolist():
        where = locate(camera[b : b + 1], cube.points(centres.device)[None] + centres[b, k], heatmaps.shape[:1:-1])
        volumes[b, k] = (_sample(heatmaps[b], where, 0) * where.inside[0]).clamp(0, 1).unflatten(1, cube.bins)
    return volumes


def loop_stage(model, heatmaps, box_map, camera, choose=None):
    """`VirtualPose.forward` image by image, person by person: joints (B, K, J, 3) mm; eval mode, naive=False."""
    s, out = model.sizes, []
    points = s.grid.points(heatmaps.device)[None]
    for b in range(len(heatmaps)):
        one, ren, pen = slice(b, b + 1), model.ren, model.pen
        depth_map = ren.de(heatmaps[one]) * model.factor(camera[one]).to(heatmaps)[:, None, None]
        found = ren.decode(heatmaps[one, ROOT], box_map[one], depth_map, s.people, s.detection)
        where = ren.positions(camera[one], points, s.map)
        cube = loop_volume(heatmaps[one], where, found.boxes, found.depths, found.valid, s.sigma).to(heatmaps)
        roots = candidates(ren.net(cube.unflatten(2, s.grid.bins))[:, 0], s.grid, s.people, s.threshold, s.subvoxel)
        roots = roots if choose is None else choose(roots)
        joints = heatmaps.new_full((s.people, s.joints, 3), torch.nan)
        for k in roots.valid[0].nonzero()[:, 0].tolist():
            joints[k] = pen(heatmaps[one], camera[one], roots.position[:, k : k + 1], roots.valid[:, k : k + 1])[0, 0]
        out.append(joints)
    return torch.stack(out)


def _sample(maps, where, b):
    """Maps (J, H, W) at row b of `where`: (J, N)."""
    uv = torch.stack([where.u[b], where.v[b]], -1)
    grid = to_grid(uv, maps.shape[:0:-1])[None, :, None]
    return F.grid_sample(maps[None].to(uv), grid, align_corners=False, padding_mode="border")[0, :, :, 0]
