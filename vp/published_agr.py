"""AGR and training targets as the published implementation makes them, for comparison; ours are in `vp.world.agr`.

Sections (1.4) and quirks (Q15) are numbered as in `reference/published_settings.md`; tests/test_golden_agr.py compares with `golden/`.
Everything is numpy float64 (heatmaps float32), one image at a time.  Network-input pixels are 960x512, heatmap pixels 240x128.
"""

import numpy as np

from vp.published import padded_scale, project, resize_transform, to_camera, transform
from vp.skeleton import JOINTS_17

INPUT, STRIDE = (960, 512), 4
MAP = (INPUT[0] // STRIDE, INPUT[1] // STRIDE)
ROOT = JOINTS_17.root_index
EXTENSION = (0.25, 0.12)  # of the joints' extent, added on each side of a box (1.4)
STAMP = 15  # heatmap px, half a box-map stamp

# ---- heatmaps ----------------------------------------------------------------------------------------------------------------------


def sigmas(joints_2d, vis=None):
    """Sigma (n,) heatmap px of each person from the extent of its joints (n, J, 2) network px: 3 sqrt(2) clip(e, 48, 192) / 96.

    vis: (n, J), the joints that count (all for the AGR, those outside the image too); 0 for a person without any.
    """
    out = np.zeros(len(joints_2d))
    for i, points in enumerate(joints_2d):
        points = points if vis is None else points[vis[i] > 0]
        if len(points):
            extent = np.clip(np.ptp(points / STRIDE, axis=0).max(), 48, 192)
            out[i] = 3 * np.sqrt(2) * extent / 96
    return out


def patch(x, y, sigma):
    """Corners ul, br (exclusive) px and the centre c0 of the patch of one joint at heatmap px (x, y), or None if it misses the map.

    Q10: the position is truncated to an integer (toward zero).  Q11: centre and origin are rounded apart, so the peak may fall 1 px beside.
    """
    mu, t = np.array([int(x), int(y)]), 3 * sigma
    ul, br = (mu - t).astype(int), (mu + t + 1).astype(int)
    return None if (ul >= MAP).any() or (br < 0).any() else (ul, br, np.floor((2 * t + 1) / 2))


def render(joints_2d, sigma, vis=None, noise_xy=None, amplitude=None):
    """Heatmaps (J, 128, 240) of people with joints (n, J, 2) network px and sigma (n,), the maximum where they overlap (Q14).

    vis (n, J): joints to draw (all for the AGR);  noise_xy (n, J, 2) heatmap px and amplitude (n, J): drawn noise, see `draw_noise`.
    """
    n, J, _ = joints_2d.shape
    maps = np.zeros((J, MAP[1], MAP[0]), np.float32)
    for p in range(n):
        for j in range(J):
            x, y = joints_2d[p, j] / STRIDE + (0 if noise_xy is None else noise_xy[p, j])
            if (vis is not None and vis[p, j] == 0) or (found := patch(x, y, sigma[p])) is None:
                continue
            ul, br, c0 = found
            i = np.arange(0, 2 * (3 * sigma[p]) + 1)
            g = np.exp(-((i - c0) ** 2 + (i[:, None] - c0) ** 2) / (2 * sigma[p] ** 2)) * (1 if amplitude is None else amplitude[p, j])
            lo, hi = np.maximum(ul, 0), np.minimum(br, MAP)
            part = maps[j, lo[1] : hi[1], lo[0] : hi[0]]  # a view
            np.maximum(part, g[lo[1] - ul[1] : hi[1] - ul[1], lo[0] - ul[0] : hi[0] - ul[0]], out=part)
        maps = maps.clip(0, 1)
    return maps


def draw_noise(joints_2d, sigma, rng):
    """The training noise: noise_xy (n, J, 2) heatmap px, amplitude (n, J), -1 where the joint misses the map and draws nothing more.

    rng: a numpy RandomState (legacy generator), drawn from in the published order: people outer, joints inner.
    """
    n, J, _ = joints_2d.shape
    weak = {4: (0.35, 0.7), 10: (0.35, 0.7), 5: (0.35, 0.5), 11: (0.35, 0.5), 15: (0.35, 0.7), 16: (0.35, 0.7)}  # probability, factor
    noise_xy, amplitude = np.zeros((n, J, 2)), np.full((n, J), -1.0)
    for p in range(n):
        for j in range(J):
            noise_xy[p, j] = sigma[p] / 4 * rng.randn(2)
            if patch(*(joints_2d[p, j] / STRIDE + noise_xy[p, j]), sigma[p]) is None:
                continue
            a = 0.9 + 0.03 * rng.randn(1)[0] if rng.random_sample() < 0.8 else 1.0
            probability, factor = weak.get(j, (0.25, 0.7))
            amplitude[p, j] = a * factor if rng.random_sample() < probability else a
    return noise_xy, amplitude


# ---- boxes -------------------------------------------------------------------------------------------------------------------------


def box(points):
    """Box (4,) x0 y0 x1 y1 heatmap px about points (N, 2) network px, extended and clipped to the image."""
    lo, hi = points.min(0), points.max(0)
    ext = (hi - lo) * EXTENSION
    return np.concatenate([np.clip(lo - ext, 0, INPUT), np.clip(hi + ext, 0, INPUT)]) / STRIDE


def distances(boxes, roots_2d):
    """Root to left, top, right, bottom edge (n, 4) heatmap px; negative if the root (n, 2; network px) is outside (Q16)."""
    roots = roots_2d / STRIDE
    return np.concatenate([roots - boxes[:, :2], boxes[:, 2:] - roots], 1)


def box_map(roots_2d, wh, wrap=True):
    """Box map (4, 128, 240): a 30x30 stamp of wh (n, 4) about each root (n, 2) network px, later people on top (Q16).

    Q15: people outside the image are stamped, too; the last row and column never are; a negative stop counts from the far end, as in any
    Python slice, so that a person far outside fills a large area.  wrap=False leaves out this last defect.
    """
    out = np.zeros((4, MAP[1], MAP[0]))
    for (x, y), values in zip(roots_2d / STRIDE, wh, strict=True):
        cx, cy = int(x), int(y)
        stop = [min(n - 1, c + STAMP) for n, c in zip(MAP, (cx, cy), strict=True)]
        stop = stop if wrap else [max(0, s) for s in stop]
        out[:, max(0, cy - STAMP) : stop[1], max(0, cx - STAMP) : stop[0]] = values[:, None, None]
    return out


# ---- 3D ----------------------------------------------------------------------------------------------------------------------------


def voxel_axes(size, center, bins=(80, 80, 24)):
    """Voxel centres along each axis, mm: end points included, so the spacing is size / (n - 1)."""
    return [np.linspace(-s / 2, s / 2, n) + c for s, c, n in zip(size, center, bins, strict=True)]


def target_3d(roots_3d, size, center, bins=(80, 80, 24), sigma=200.0):
    """Root volume (X, Y, Z): Gaussians about roots (n, 3) mm, cut to a box of ±3 sigma, combined by maximum.

    Q27: people the camera does not see are in it, too.
    """
    axes, out = voxel_axes(size, center, bins), np.zeros(bins)
    for root in roots_3d:
        g = [np.where(abs(a - m) <= 3 * sigma, np.exp(-((a - m) ** 2) / (2 * sigma**2)), 0) for a, m in zip(axes, root, strict=True)]
        out = np.maximum(out, g[0][:, None, None] * g[1][:, None] * g[2])
    return out.clip(0, 1)


def place(poses, rng, people=4, reach=2000.0, apart=600.0, trials=100):
    """Random placement (1.5): joints (people, J, 3) mm and the draws pose_no, theta, centers_drawn (m, 2), accepted (m,).

    poses (N, J, 3) mm; rng: a numpy RandomState; the height of the root is kept.  Who finds no place in `trials` ends the scene early.
    """
    pose_no = rng.choice(len(poses), people, replace=False)
    theta = 2 * np.pi * rng.random_sample(people)
    drawn, accepted, joints = [], [], []
    for k in range(people):
        for _ in range(trials):
            drawn.append(rng.uniform(-reach, reach, size=2))
            accepted.append(all(np.linalg.norm(drawn[-1] - c) > apart for c, ok in zip(drawn, accepted, strict=False) if ok))
            if accepted[-1]:
                break
        else:
            break
        pose, (c, s) = poses[pose_no[k]], (np.cos(theta[k]), np.sin(theta[k]))
        turned = (pose - pose[ROOT]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        joints.append(turned + [*drawn[-1], pose[ROOT, 2]])
    return np.array(joints), {"pose_no": pose_no, "theta": theta, "centers_drawn": np.array(drawn), "accepted": np.array(accepted)}


# ---- a whole scene -------------------------------------------------------------------------------------------------------------------


def scene(joints, vis, camera, size, space_size, space_center, backbone=False, image_boxes=None, wrap=True):
    """Everything the published loader hands on for one scene, as a dict under the names of the golden files.

    joints (n, J, 3) world mm; vis (n, J) 0/1; camera: R, T, f, c(, k, p) as in `published.project`; size (w, h) of the original image.
    backbone: targets of the 2D network, whose boxes use visible joints only, or image_boxes (n, 2, 2) px of the original image (annotated).
    """
    n = len(joints)
    trans, scale = resize_transform(size, INPUT), padded_scale(size, INPUT)
    pixels = transform(np.stack([project(person, *camera)[0] for person in joints]), trans)
    inside = ((pixels >= 0) & (pixels < INPUT)).all(-1)
    known = (vis > 0) & inside  # for the pose loss
    roots = pixels[:, ROOT]
    sigma_target = sigmas(pixels, known)
    out = {
        "center": np.array(size) / 2, "scale": scale, "trans": trans, "joints_2d": pixels, "joints_3d_vis_out": known,
        "sigma_target": sigma_target, "target_heatmap": render(pixels, sigma_target, known), "target_weight": known.any(0)[:, None],
        "roots_2d": roots, "roots_3d": joints[:, ROOT], "target_3d": target_3d(joints[:, ROOT], space_size, space_center),
    }  # fmt: skip
    seen, boxes, reg_mask = known.copy(), np.zeros((n, 4)), np.zeros(n, int)
    for p in range(n):
        if image_boxes is not None:
            boxes[p] = transform(image_boxes[p], trans).ravel() / STRIDE
        else:
            points = pixels[p][seen[p]] if backbone else pixels[p]
            boxes[p] = box(points if len(points) else pixels[p, :1])  # the first joint only if none is visible
        reg_mask[p] = inside[p, ROOT]
        if not inside[p, ROOT]:
            seen[:] = False  # Q18: clears everybody, and so shrinks all later boxes
    wh = distances(boxes, roots)
    column, row = (roots[:, i] / STRIDE for i in (0, 1))
    ix, iy, iz = np.round((joints[:, ROOT] - (np.array(space_center) - np.array(space_size) / 2)) / _spacing(space_size)).astype(int).T
    depth = to_camera(joints[:, ROOT], *camera[:2])[:, 2]
    f, padded = np.array(camera[2]), scale.astype(float) * 200
    factor = np.sqrt(f.prod() * INPUT[0] * INPUT[1] / padded.prod())
    out |= {
        "joints_vis_out": seen, "bbox": boxes, "wh": wh, "reg_mask": reg_mask,
        "ind": reg_mask * (row.astype(int) * MAP[0] + column.astype(int)), "ind_3d": reg_mask * (ix * 80 * 24 + iy * 24 + iz),
        "depth": depth, "depth_norm_factor": factor, "depth_norm": depth / factor,
    }  # fmt: skip
    if not backbone:
        sigma = sigmas(pixels)
        out |= {"sigma_input": sigma, "heatmap_input": render(pixels, sigma), "boxmap": box_map(roots, wh, wrap)}
    return out


def _spacing(size, bins=(80, 80, 24)):
    """Distance of voxel centres (3,) mm."""
    return np.array(size) / (np.array(bins) - 1)
