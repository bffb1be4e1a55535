"""What only the published implementation does, for comparison with it; our own way is in the module of the same subject.

Sections (1.7) and quirks (Q8) are numbered as in `reference/published_settings.md`; tests/test_golden_ground.py compares with `golden/`.
Everything is numpy float64.  Published cameras are written x_cam = R (x_world - T), T the camera centre; `as_camera` makes them ours.
"""

import numpy as np

from vp.camera import Camera, proper_rotation
from vp.metrics import View, nearest_pairs
from vp.skeleton import COCO_17, JOINTS_15, JOINTS_17, MUCO_21

BEHIND = -10000.0  # px, both coordinates of a point behind the camera

# ---- cameras -----------------------------------------------------------------------------------------------------------------------


def to_camera(world, R, T):
    """World (N, 3) mm -> camera frame: R (x - T)."""
    return (np.asarray(world, float) - T) @ np.asarray(R, float).T


def to_world(cam, R, T):
    """Camera frame (N, 3) mm -> world: R^T x + T."""
    return np.asarray(cam, float) @ np.asarray(R, float) + T


def project(world, R, T, f, c, k=(0, 0, 0), p=(0, 0)):
    """World (N, 3) mm -> pixels (N, 2), depth (N,) mm, with OpenCV's lens model; f, c (2,) px; k radial (3,), p tangential (2,).

    Q17: a point with z < 0.01 mm gets the pixel (-10000, -10000), a number that later enters extents, boxes and sigma; beyond the radius
    where the polynomial folds back, pixels are wrong without notice.  `Camera.project` marks both as invalid instead.
    """
    cam = to_camera(world, R, T)
    z = cam[:, 2]
    u, v = (cam[:, :2] / np.where(z < 0.01, 1.0, z)[:, None]).T
    r2 = u * u + v * v
    gain = 1 + k[0] * r2 + k[1] * r2**2 + k[2] * r2**3 + 2 * (p[0] * v + p[1] * u)
    pixels = np.stack([f[0] * (u * gain + p[1] * r2) + c[0], f[1] * (v * gain + p[0] * r2) + c[1]], -1)
    return np.where((z < 0.01)[:, None], BEHIND, pixels), z


def camera_from_angles(roll, pitch, yaw, distance, height, focal):
    """The unused builder of cameras: R, T, f, c for radian, mm and px; positive pitch looks down.

    Q8: rows dx and dz are not orthogonal when roll and pitch are both non-zero, so R is no rotation then.  Its yaw points from the scene
    to the camera (ours + 180°), and the principal point is fixed at (960, 540).  `Camera.from_angles` is the correct one.
    """
    cr, sr, cp, sp, cy, sy = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    dz = np.array([-cy * cp, -sy * cp, -sp])
    dx = np.array([-sy * cr, cy * cr, sr])
    T = -distance * dz + np.array([0, 0, height])
    return np.stack([dx, np.cross(dz, dx), dz]), T, (focal, focal), (960.0, 540.0)


def pitch_of(R):
    """Pitch, radian, as the published code reads it back: arcsin(-R[2, 2])."""
    return float(np.arcsin(-R[2, 2]))


def as_camera(R, T, f, c, size=(1920, 1080), k=None, p=None):
    """The same camera as our `Camera`: t = -R T, distortion reordered to k1 k2 p1 p2 k3.  InputError if R is not orthogonal (Q8)."""
    dist = None if k is None else [k[0], k[1], p[0], p[1], k[2]]
    R, T, f, c = (np.asarray(x, float) for x in (R, T, f, c))
    return Camera.from_dict({"R": R, "t": -R @ T, "f": f, "c": c, "size": size, "dist": dist}, "published camera")


# ---- the resize to network input ---------------------------------------------------------------------------------------------------


def padded_scale(src, dst):
    """`scale` (2,) float32: source size (w, h) padded to the aspect ratio of `dst`, divided by 200."""
    (w, h), (W, H) = src, dst
    padded = (h / H * W, h) if w / W < h / H else (w, w / W * H)
    return np.array(padded, np.float32) / np.float32(200)


def affine(center, scale, dst, degrees=0.0):
    """`trans` (2, 3), source to target px: a similarity about `center` (2,), rotated in the image plane by `degrees`.

    No half-pixel correction: u' = k u + offset lies (1 - k) / 2 target px beyond the pixel-exact resize of `Camera.fit`, that is 0.26 px
    for 1920x1080 to 960x512.
    """
    k = dst[0] / (200.0 * scale[0]) if scale[0] >= scale[1] else dst[1] / (200.0 * scale[1])
    a = np.radians(float(degrees))
    A = k * np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    return np.column_stack([A, np.array(dst) / 2 - A @ np.asarray(center, float)])


def resize_transform(src, dst=(960, 512)):
    """`trans` (2, 3) of an image of size (w, h) padded and centred in `dst`."""
    return affine((src[0] / 2, src[1] / 2), padded_scale(src, dst), dst)


def invert(trans):
    """Inverse (2, 3) of an affine transform (2, 3)."""
    A = np.linalg.inv(trans[:, :2])
    return np.column_stack([A, -A @ trans[:, 2]])


def transform(points, trans):
    """Points (..., 2) under an affine transform (2, 3)."""
    return np.asarray(points, float) @ trans[:, :2].T + trans[:, 2]


def warp(image, trans, dst):
    """Image (h, w, 3) under `trans`, bilinear, black outside, size `dst` (w, h)."""
    import cv2

    return cv2.warpAffine(image, np.asarray(trans, float), tuple(int(n) for n in dst), flags=cv2.INTER_LINEAR)


def annotation_box(xywh, image_size, factor=1.25):
    """COCO box (4,) x y w h -> x0 y0 x1 y1, clipped to the image, then enlarged by 1.25 about its centre (and no longer clipped).

    Q20: a box outside the image returned nothing and broke the loader; here it gives a box of negative size.
    """
    x0, y0 = max(0.0, xywh[0]), max(0.0, xywh[1])
    x1 = min(image_size[0] - 1, x0 + max(0.0, xywh[2] - 1))
    y1 = min(image_size[1] - 1, y0 + max(0.0, xywh[3] - 1))
    centre, half = np.array([x0 + x1, y0 + y1]) / 2, np.array([x1 - x0, y1 - y0]) / 2 * factor
    return np.concatenate([centre - half, centre + half])


# ---- data sets: annotations to the common frame and joint order ----------------------------------------------------------------------


def muco_index(J):
    """Index into the 21 source joints for each of our J = 15 or 17 joints."""
    return [MUCO_21.index(j) for j in (JOINTS_15 if J == 15 else JOINTS_17).joints]


def mupots_index_back():
    """Index into our 17 joints for each of the data set's first 17 (used for export)."""
    return [JOINTS_17.index(j) for j in MUCO_21.joints[:17]]


def muco(R, t, keypoints_cam, keypoints_img, J):
    """MuCo annotation (x_cam = R x + t; (P, 21, .) mm, px) -> R, T, joints_3d (P, J, 3), joints_2d (P, J, 2), vis (P, J).

    The y-up world is turned to z-up.  Q32: all joints are called visible here.
    """
    R = np.asarray(R, float) @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0.0]])
    T = -R.T @ np.asarray(t, float)
    index = muco_index(J)
    joints, pixels = to_world(np.asarray(keypoints_cam)[:, index], R, T), np.asarray(keypoints_img, float)[:, index]
    return R, T, joints, pixels, np.ones(joints.shape[:2], int)


def mupots(R, t, keypoints_cam, valid=None):
    """MuPoTS annotation of one image ((P, 21, 3) camera mm, valid (P,)) -> R, T, joints_3d (P_valid, 17, 3) in a z-up world.

    Left-handed extrinsics get their second column negated (with a warning of ours).  Q3: the origin moves to (mean x, mean y, -50) of the
    *true* roots of this image, so that people always stand in the middle of the 8 m space: ground truth that no user has.
    """
    R, t = (x.numpy() for x in proper_rotation(np.asarray(R, float), np.asarray(t, float), "MuPoTS extrinsics"))
    T = -R.T @ t
    keep = np.ones(len(keypoints_cam), bool) if valid is None else np.asarray(valid, bool)
    joints = to_world(np.asarray(keypoints_cam)[keep][:, muco_index(17)], R, T)
    origin = np.array([*joints[:, JOINTS_17.root_index, :2].mean(0), -50.0])
    return R, T - origin, joints - origin


def panoptic(R, t_cm, K, joints_cam_cm, vis, size=(1920, 1080)):
    """HMOR's Panoptic annotation (centimetre, y-down world) -> R, T, joints_3d (P, 15, 3) mm, joints_2d (P, 15, 2) px, vis (P, 15).

    The lens distortion of the annotation is dropped (1.7); a joint outside the image counts as not visible.
    """
    R = np.asarray(R, float) @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])
    T = -10 * R.T @ np.asarray(t_cm, float)
    cam = 10 * np.asarray(joints_cam_cm, float)
    pixels = cam @ np.asarray(K, float).T
    pixels = pixels[..., :2] / pixels[..., 2:]
    inside = ((pixels >= 0) & (pixels < np.array(size))).all(-1)
    return R, T, to_world(cam, R, T), pixels, (np.asarray(vis, bool) & inside).astype(int)


def coco_index(J):
    """Index into COCO's 17 keypoints + neck, mid-hip, spine, head, head top (17 to 21) for each of our J joints."""
    names = (*COCO_17.joints, "neck", "mid_hip", "spine", "head", "head_top")
    return [names.index(j) for j in (JOINTS_15 if J == 15 else JOINTS_17).joints]


def coco(keypoints, J):
    """COCO keypoints (P, 17, 3: x, y, label) -> joints_2d (P, J, 2) px, vis (P, J).

    Neck and mid-hip are mid-points, visible if both parents are labelled, but with half-way coordinates if one is not.  Q19: joints
    invisible in *person 0* are replaced, in everybody, by the mean of the own joints which are visible in person 0; others stay at (0, 0).
    """
    keypoints = np.asarray(keypoints, float)
    xy, labelled = keypoints[..., :2], keypoints[..., 2] > 0
    pairs = [[COCO_17.index(f"{side}_{part}") for side in ("left", "right")] for part in ("shoulder", "hip")]
    absent = np.zeros((len(xy), 3))
    xy = np.concatenate([xy, *(xy[:, pair].mean(1, keepdims=True) for pair in pairs), absent[..., None].repeat(2, -1)], 1)[:, coco_index(J)]
    vis = np.concatenate([labelled, *(labelled[:, pair].all(1, keepdims=True) for pair in pairs), absent > 0], 1)[:, coco_index(J)]
    if len(vis) and vis[0].any():
        xy[:, ~vis[0]] = xy[:, vis[0]].mean(1, keepdims=True)
    return xy, vis.astype(int)


# ---- evaluation ----------------------------------------------------------------------------------------------------------------------


def nearly_uniform(image):
    """Whether an image (h, w, 3) uint8 is left out (1.9): no pixel's summed absolute deviation from the mean colour reaches 20."""
    image = np.asarray(image, float)
    return bool(np.abs(image - image.mean((0, 1))).sum(-1).max() < 20)


def match(gt, gt_num, gt_vis, pred, frame_valid, R, T, intrinsics, each="prediction", root=2):
    """All pairs of all F frames by descending score, as dict of columns frame, score, gt_id, mpjpe, mpjpe_aligned, mrpe_xyz, error2d.

    gt (F, P, J, 3) world mm, gt_num (F,), gt_vis (F, P, J); pred (F, K, J, 5) x y z flag score, a slot counts if its flag >= 0;
    intrinsics (F, 4) fx fy cx cy.  each="prediction": Panoptic, a prediction takes its nearest person; each="person": MuPoTS, the reverse.
    Q39: people of frames left out get no id, and with "person" one prediction may serve several people, with equal scores.
    Q2: `pred` should already have lost the candidates far from every true root; that happens in the published model, not here.
    """
    rows, first_id = [], 0
    for i in np.flatnonzero(np.asarray(frame_valid, bool) & (np.asarray(gt_num) > 0)):
        people, vis = np.asarray(gt[i, : gt_num[i]], float), np.asarray(gt_vis[i, : gt_num[i]]) > 0
        slots = np.asarray(pred[i][pred[i, :, 0, 3] >= 0], float)
        camera = (R[i], T[i], intrinsics[i, :2], intrinsics[i, 2:])
        for q, p, error in nearest_pairs(View(slots[..., :3], people, vis), each):
            a, b, v = slots[q, :, :3], people[p], vis[p]
            aligned = np.linalg.norm((a - a[root]) - (b - b[root]), axis=-1)[v].mean()
            offset = np.abs(to_camera(a[root] - b[root], R[i], 0))
            error2d = np.linalg.norm(project(a, *camera)[0] - project(b, *camera)[0], axis=-1)[v].mean()
            rows.append((i, slots[q, 0, 4], first_id + p, error, aligned, offset, error2d))
        first_id += gt_num[i]
    rows.sort(key=lambda r: -r[1])  # stable
    names = ("frame", "score", "gt_id", "mpjpe", "mpjpe_aligned", "mrpe_xyz", "error2d")
    return {n: np.array([r[k] for r in rows]).reshape((-1, 3) if n == "mrpe_xyz" else -1) for k, n in enumerate(names)}


def means(pairs, threshold=500.0, frames=None):
    """(7,) mpjpe, mpjpe_aligned, MRPE x, y, z, MRPE, error2d over pairs of `match` that count: mpjpe < threshold and the person still free.

    Missed people and false alarms are not penalised; inf if nothing counts.  frames: (F,) bool, restricts to these (an activity).
    """
    keep, used = [], set()
    for k, (frame, person) in enumerate(zip(pairs["frame"], pairs["gt_id"], strict=True)):
        if pairs["mpjpe"][k] < threshold and person not in used and (frames is None or frames[frame]):
            keep.append(k)
            used.add(person)
    if not keep:
        return np.full(7, np.inf)
    c = {name: column[keep] for name, column in pairs.items()}
    norm = np.linalg.norm(c["mrpe_xyz"], axis=-1).mean()
    return np.array([c["mpjpe"].mean(), c["mpjpe_aligned"].mean(), *c["mrpe_xyz"].mean(0), norm, c["error2d"].mean()])


def mupots_export(pred, image_name, R, T, f, c):
    """Entry for the external MuPoTS-3D tool: key "TS1_img_000000", joints (Q, 17, 3) camera mm and (Q, 17, 2) px in the data set's order.

    pred (K, 17, 5) as in `match`;  image_name ".../TS1/img_000000.jpg".
    """
    sequence, frame = str(image_name).split("/")[-2:]
    joints = np.asarray(pred[pred[:, 0, 3] >= 0], float)[:, mupots_index_back(), :3]
    pixels = [project(person, R, T, f, c)[0] for person in joints]
    return f"{sequence}_{frame.split('.')[0]}", to_camera(joints, R, T), np.array(pixels).reshape(-1, 17, 2)


def with_true_bone_lengths(pred, gt):
    """A matched prediction (17, 3), data set's joint order, as the external MuPoTS-3D tool changes it before 3DPCK and AUC.

    Every bone keeps its direction and takes its *true* length, from the mid-hip outwards: ground truth again.
    """
    names = MUCO_21.joints[:17]
    parent = {"spine": "mid_hip", "neck": "spine", "head_top": "neck", "head": "neck"}
    for side in ("left", "right"):
        for chain in (("neck", "shoulder", "elbow", "wrist"), ("mid_hip", "hip", "knee", "ankle")):
            full = [chain[0], *(f"{side}_{j}" for j in chain[1:])]
            parent |= dict(zip(full[1:], full[:-1], strict=True))
    out = np.array(pred, float)
    for joint, up in parent.items():  # parents come first
        j, i = names.index(joint), names.index(up)
        bone = np.asarray(pred[j], float) - pred[i]
        out[j] = out[i] + bone * np.linalg.norm(np.asarray(gt[j], float) - gt[i]) / np.linalg.norm(bone)
    return out
