"""The ground floor against numbers of the published implementation: every array of five golden files (skipped where they are absent).

Tolerances: two to three times those that the golden README states (2e-3 px or mm; trans 2e-4; transformed points 5e-3; metrics 2e-3).
"""

import numpy as np
import pytest
import torch
from conftest import close

from vp import published
from vp.camera import Camera, fit_transform, proper_rotation, rescale
from vp.metrics import View, aligned_errors, evaluate, mpjpe, mrpe_xyz, pair_mupots, pair_panoptic, summarise
from vp.skeleton import JOINTS_15, JOINTS_17, MUCO_21, map_joints

PX = 5e-3  # px and mm
FILES = ("camera", "affine", "metrics_panoptic", "metrics_mupots", "dataset_conversion")


# ---- the comparisons ---------------------------------------------------------------------------------------------------------------


def check_camera(g):
    R, T, f, c = g["cam_R"], g["cam_T"], (g["cam_fx"], g["cam_fy"]), (g["cam_cx"], g["cam_cy"])
    for case, k, p in (("nodist", g["cam_k"], g["cam_p"]), ("dist", g["dist_k"], g["dist_p"])):
        pixels, depth = published.project(g["points_world"], R, T, f, c, k, p)
        close(pixels, g[f"pix_{case}"], PX)
        close(depth, g[f"depth_{case}"], PX)
        # our camera: the same where it calls a point valid, and the two points behind it are never valid
        uv, z, valid = published.as_camera(R, T, f, c, k=k, p=p).project(torch.from_numpy(g["points_world"]))
        close(uv[valid], g[f"pix_{case}"][valid], PX)
        close(z, g[f"depth_{case}"], PX)
        assert not valid[-2:].any()
        assert (g[f"pix_{case}"][-2:] == published.BEHIND).all()
        assert valid[:60].all() if case == "nodist" else valid.sum() > 30
    close(published.to_camera(g["points_world"], R, T), g["points_cam"], PX)
    close(published.to_world(g["cam_points_in"], R, T), g["cam_points_world"], PX)
    close(published.as_camera(R, T, f, c).to_world(torch.from_numpy(g["cam_points_in"])), g["cam_points_world"], PX)
    close(published.project(g["cam_points_in"], np.eye(3), np.zeros(3), f, c)[0], g["pix_from_cam_points"], PX)


def check_angles(g):
    for i, (roll, pitch, yaw, distance, height, focal) in enumerate(g["angles_in"]):
        R, T, _, _ = published.camera_from_angles(roll, pitch, yaw, distance, height, focal)
        close(R, g["angles_R"][i], 1e-6)
        close(T, g["angles_T"][i], PX)
        close(published.pitch_of(R), g["angles_pitch_back"][i], 1e-6)
        ours = Camera.from_angles(pitch, yaw + np.pi, roll, T, focal)
        if roll == 0 or pitch == 0:
            close(ours.R, R, 1e-9)
        else:  # quirk 8: the published matrix is no rotation, ours is
            assert abs(R[0] @ R[2]) > 1e-3
            close(ours.R @ ours.R.mT, np.eye(3), 1e-12)
            close(ours.R[2], R[2], 1e-9)


def check_affine(g):
    dst = tuple(g["dst_wh"])
    for i, src in enumerate(g["src_wh"]):
        trans = published.resize_transform(src, dst)
        close(published.padded_scale(src, dst), g["scale"][i], 1e-5)
        close(trans, g["trans"][i], 4e-4)
        close(published.invert(trans), g["trans_inv"][i], 2e-3)
        close(published.transform(g["points_src"], trans), g["points_dst"][i], 1e-2)
        # ours differs by the half-pixel convention only: (1 - k) / 2 px, the same everywhere
        k, offset = fit_transform(src, dst)
        close(g["points_dst"][i] - (rescale(g["points_src"], k) + np.array(offset)), np.full((5, 2), (1 - k) / 2), 1e-2)
    close(published.affine(g["rot_center"], g["rot_scale"], dst, g["rot_deg"]), g["rot_trans"], 4e-4)


def check_warp(g):
    h, w, _ = g["warp_image_in"].shape
    out = g["warp_image_out"]
    size = out.shape[1], out.shape[0]
    close(published.resize_transform((w, h), size), g["warp_trans"], 4e-4)
    ours = published.warp(g["warp_image_in"], g["warp_trans"], size)
    assert np.abs(ours.astype(int) - out.astype(int)).max() <= 1  # grey levels: OpenCV's fixed-point rounding differs between versions
    assert (ours == out).mean() > 0.98


def check_boxes(g):
    for box, out in zip(g["bbox_xywh_in"], g["bbox_xyxy_out"], strict=True):
        close(published.annotation_box(box, g["bbox_image_wh"]), out, PX)


def pairs_of(g, each):
    assert g["root_id"] == JOINTS_15.root_index == JOINTS_17.root_index
    data = [g[k] for k in ("gt", "gt_num", "gt_vis", "pred", "frame_valid", "cam_R", "cam_T", "cam_intr")]
    pairs = published.match(*data, each=each)
    for name in ("frame", "gt_id"):
        assert (pairs[name] == g[f"match_{name}"]).all()
    for name in ("score", "mpjpe", "mpjpe_aligned", "mrpe_xyz", "error2d"):
        close(pairs[name], g[f"match_{name}"], 1e-6 if name == "score" else PX)
    return pairs


def views_of(g):
    """The evaluated frames as our `View`, one sequence per frame."""
    for i in np.flatnonzero(g["frame_valid"] & (g["gt_num"] > 0)):
        slots, n = g["pred"][i][g["pred"][i][:, 0, 3] >= 0], g["gt_num"][i]
        camera = [published.to_camera(x, g["cam_R"][i], g["cam_T"][i]) for x in (slots[..., :3], g["gt"][i, :n])]
        yield View(*camera, mask=g["gt_vis"][i, :n] > 0, score=slots[:, 0, 4], counts=np.ones(n, bool), sequence=str(i))


def check_same_pairs(g, views, pairing, tol=PX):
    """`vp.metrics` picks the same pairs, so their count and means over visible joints agree with the published ones."""
    found = [(v, q, p) for v in views for q, p in pairing(v, 2)]
    values = [(mpjpe(v.pred[q], v.gt[p], v.mask[p]), *mrpe_xyz(v.pred[q], v.gt[p], 2)) for v, q, p in found]
    everything = np.ones(views[0].gt.shape[1], bool)  # the published alignment uses a root that is not visible, too
    aligned = [np.mean(aligned_errors(v.pred[q], v.gt[p], 2, everything)[v.mask[p]]) for v, q, p in found]
    mean = np.mean(values, 0)
    close(mean, np.array(g)[[0, 2, 3, 4]], tol)
    close(np.mean(aligned), g[1], tol)
    out = summarise(evaluate(views, 2, pairing))
    assert out["n"] == len(found)
    close(out["mpjpe"], g[0], tol)


def check_panoptic(g):
    pairs = pairs_of(g, "prediction")
    close(published.means(pairs, 500), g["metrics_thr500"], PX)
    for activity in ("haggling", "mafia", "ultimatum", "pizza"):
        frames = np.array([activity in name for name in g["image_names"]])
        assert frames.any()
        close(published.means(pairs, 500, frames), g[f"metrics_{activity}"], PX)
    check_same_pairs(g["metrics_thr500"], list(views_of(g)), pair_panoptic)


def check_mupots(g):
    pairs = pairs_of(g, "person")
    for threshold in (500, 1000):
        close(published.means(pairs, threshold), g[f"metrics_thr{threshold}"], PX)
        check_same_pairs(g[f"metrics_thr{threshold}"], list(views_of(g)), lambda v, root, t=threshold: pair_mupots(v, root, t))
    assert published.muco_index(17) == list(g["match_idx"])
    assert published.mupots_index_back() == list(g["match_idx_back"])
    camera = g["cam_R"][0], g["cam_T"][0], g["cam_intr"][0, :2], g["cam_intr"][0, 2:]
    key, joints, pixels = published.mupots_export(g["pred"][0], g["image_names"][0], *camera)
    assert key == str(g["mat_key0"])
    close(joints, g["mat_pred3d_0"], PX)
    close(pixels, g["mat_pred2d_0"], PX)


def check_muco(g):
    for J, skeleton in ((15, JOINTS_15), (17, JOINTS_17)):
        R, T, joints, pixels, vis = published.muco(g["muco_R_in"], g["muco_T_in"], g["muco_keypoints_cam"], g["muco_keypoints_img"], J)
        for name, ours in (("R_out", R), ("T_out", T), (f"joints_3d_{J}", joints), (f"joints_2d_{J}", pixels)):
            close(ours, g[f"muco_{name}"], PX)
        assert (vis == g[f"muco_vis_{J}"]).all()
        assert published.muco_index(J) == list(g[f"muco_map_{J}"])
        ours, mask = map_joints(torch.from_numpy(g["muco_keypoints_img"]), None, MUCO_21, skeleton)
        close(ours, g[f"muco_joints_2d_{J}"], PX)
        assert mask.all()


def check_mupots_frames(g):
    people = np.concatenate([g["mupots_keypoints_cam"], g["mupots_keypoints_cam"][:1] + 500])  # a third, invalid annotation is dropped
    for case in ("proper", "improper"):
        args = g[f"mupots_R_{case}"], g["mupots_t"], people, [True, True, False]
        if case == "improper":
            with pytest.warns(UserWarning, match="left-handed"):
                R, T, joints = published.mupots(*args)
        else:
            R, T, joints = published.mupots(*args)
        close(R, g[f"mupots_R_out_{case}"], 1e-6)
        close(T, g[f"mupots_T_out_{case}"], PX)
        close(joints, g[f"mupots_joints_3d_from_{case}"], PX)
    with pytest.warns(UserWarning, match="left-handed"):
        repaired, _ = proper_rotation(g["mupots_R_improper"], g["mupots_t"])
    close(repaired, g["mupots_R_proper"], 1e-6)


def check_pan(g):
    R, T, joints, pixels, vis = published.panoptic(g["pan_R_in"], g["pan_t_in_cm"], g["pan_K"], g["pan_joints_cam_cm"], g["pan_vis_in"])
    for name, ours in (("R_out", R), ("T_out", T), ("joints_3d", joints), ("joints_2d", pixels)):
        close(ours, g[f"pan_{name}"], PX)
    assert (vis == g["pan_joints_2d_vis"]).all()


def check_coco(g):
    for J in (15, 17):
        pixels, vis = published.coco(g["coco_keypoints"], J)
        close(pixels, g[f"coco_joints_2d_{J}"], PX)
        assert (vis == g[f"coco_vis_{J}"]).all()
        assert published.coco_index(J) == list(g[f"coco_map_{J}"])
        boxes = [published.annotation_box(b, g["coco_image_wh"]).reshape(2, 2) for b in g["coco_bbox_xywh"]]
        close(boxes, g[f"coco_bbox_{J}"], PX)


CHECKS = {
    check_camera: "camera", check_angles: "camera", check_affine: "affine", check_warp: "affine", check_boxes: "affine",
    check_panoptic: "metrics_panoptic", check_mupots: "metrics_mupots", check_muco: "dataset_conversion",
    check_mupots_frames: "dataset_conversion", check_pan: "dataset_conversion", check_coco: "dataset_conversion",
}  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_golden(golden, check):
    check(golden[CHECKS[check]])


def test_no_array_is_left_out(golden):
    """Run all comparisons and compare the arrays they read with those in the files."""
    for name in FILES:
        golden[name].used.clear()
    for check, name in CHECKS.items():
        check(golden[name])
    assert {name: golden[name].left_out() for name in FILES} == {name: set() for name in FILES}
