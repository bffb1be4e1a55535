"""The second stage against the published one: every array of the golden files named below (skipped where they are absent).

Tolerances: up to three times those that the golden README states; poses 0.3 mm.
"""

from types import SimpleNamespace

import pytest
import torch
from conftest import close
from recipe import fill, overrides, published_keys

from vp import published_stage as published
from vp.lab import losses
from vp.nets.pen import PEN, soft_argmax
from vp.nets.ren import candidates
from vp.nets.unproject import depth_gate, unproject
from vp.nets.virtualpose import Sizes, VirtualPose
from vp.published import as_camera
from vp.published_nets import our_name
from vp.space import Grid

CASES = {"B_15": Sizes(), "M_17": Sizes(joints=17, space_centre=(0.0, 0.0, 1100.0))}
MAP, VOXEL, POSITION, SCORE, POSE = (240, 128), 1.5e-5, 3e-3, 6e-6, 0.3


def tensor(array, dtype=torch.float32):
    return torch.from_numpy(array).to(dtype)


def camera_of(g):
    single = as_camera(g["cam_R"], g["cam_T"], (g["cam_fx"], g["cam_fy"]), (g["cam_cx"], g["cam_cy"]), k=g["cam_k"], p=g["cam_p"])
    return type(single)(*(x[None] for x in (single.R, single.t, single.f, single.c)), single.size, single.dist[None])


def batch(cameras):
    parts = ([getattr(c, name) for c in cameras] for name in ("R", "t", "f", "c"))
    return type(cameras[0])(*map(torch.cat, parts), cameras[0].size)


def close_sums(volume, g, prefix):
    """Sum and maximum of each joint's volume; sums over up to 260 000 voxels get a bound on their mean error."""
    n = volume[0].numel()
    close(volume.double().sum((1, 2, 3)) / n, g[f"{prefix}_sum"] / n, VOXEL / 100)
    close(volume.amax((1, 2, 3)), g[f"{prefix}_max"], VOXEL)


# ---- unprojection --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_unproject(golden, case):
    g, scene, grid = golden[f"unproject_{case}"], golden[f"scene_{case}"], CASES[case].grid
    g.used.clear()
    camera, heatmaps, points = camera_of(g), tensor(scene["heatmap_input"])[None], grid.points()
    close(points[:8], g["grid_first8"], POSITION)
    close(points[-8:], g["grid_last8"], POSITION)
    close(points.view(*grid.bins, 3)[::8, ::8, ::4], g["grid_sub"], POSITION)

    where = published.positions(camera, points[None], MAP)
    depths = tensor(g["depths"], torch.float64)[None]
    found = tensor(g["bboxes"])[None], depths * float(g["depth_norm_factor"]), depths >= 0
    cube = unproject(heatmaps, where, depth_gate(where, *found, MAP))[0].unflatten(1, grid.bins)
    close(cube[g["cube_joints_full"].tolist()], g["cube_full"], VOXEL)
    close(cube[:, 1::3, 1::3, 1::3], g["cube_sub"], VOXEL)
    close_sums(cube, g, "cube")
    loop = published.loop_volume(heatmaps, where, *found)[0].unflatten(1, grid.bins)  # so the loop is what it says it is
    close(loop[:, 1::3, 1::3, 1::3], g["cube_sub"], VOXEL)

    plain = unproject(heatmaps, where)[0].unflatten(1, grid.bins)
    close(plain[:, ::5, ::5, ::3], g["plain_sub"], VOXEL)
    close_sums(plain, g, "plain")

    pen = PEN(len(heatmaps[0]), net=torch.nn.Identity())
    pen.positions = published.positions
    centre = tensor(g["pen_center"])
    cube = pen.volumes(heatmaps, camera, centre[:1, :3], torch.tensor([0]))[0]
    close(cube[:, 1::3, 1::3, 1::3], g["pen_sub"], VOXEL)
    close_sums(cube, g, "pen")
    points = pen.cube.points() + centre[0, :3]
    close(points[:8], g["pen_grid_first8"], POSITION)
    close(points[-8:], g["pen_grid_last8"], POSITION)
    valid = centre[None, :, 3] >= 0
    assert valid.tolist() == [[True, False]]
    loop = published.loop_cubes(heatmaps, camera, centre[None, :, :3], valid, pen.cube, published.positions)[0]
    close(loop[0, :, 1::3, 1::3, 1::3], g["pen_sub"], VOXEL)
    close(loop[1].sum(), g["pen_invalid_sum"], 0)
    assert not g.left_out()


# ---- heads ---------------------------------------------------------------------------------------------------------------------------


def test_heads(golden):
    g = golden["heads"]
    cube = Grid((0.0, 0.0, 0.0), (2000.0,) * 3, g["softargmax_in"].shape[2:])
    found = soft_argmax(tensor(g["softargmax_in"]), cube, float(g["softargmax_beta"])) + tensor(g["softargmax_centers"])[:, None]
    close(found, g["softargmax_out"], 0.15)

    volume = tensor(g["nms_cube"])
    grid = Grid(tuple(g["nms_space_center"].tolist()), tuple(g["nms_space_size"].tolist()), volume.shape[1:])
    found = candidates(volume, grid, threshold=float(g["nms_threshold"]))
    close(found.score, g["nms_topk_values"], SCORE)
    close(found.position, grid.position(tensor(g["nms_topk_index"])), POSITION)
    close(found.position, g["nms_grid_centers_nogt"][..., :3], POSITION)
    close(found.valid.int() - 1, g["nms_grid_centers_nogt"][..., 3], 0)
    close(found.score, g["nms_grid_centers_nogt"][..., 4], SCORE)
    there = torch.arange(10) < tensor(g["nms_gt_num"])[:, None]
    for radius in (500, 1000):
        true, wanted = g["nms_gt_roots"], g[f"nms_grid_centers_gt{radius}"]
        close(published.flags(found, tensor(true), there, radius), wanted[..., 3], 0)
        close(torch.cat([found.position, found.score[..., None]], -1), wanted[..., [0, 1, 2, 4]], POSITION)
        kept = published.keep_true(tensor(true), there, radius)(found)
        close(kept.valid, wanted[..., 3] >= 0, 0)


def test_decode(golden):
    g, scene = golden["heads"], golden["scene_B_15"]
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(240.0), indexing="ij")
    inputs = tensor(scene["heatmap_input"])[2], tensor(scene["boxmap"]), 5 + 0.01 * x + 0.02 * y
    of_scene = published.decode(*(m[None] for m in inputs))
    assert of_scene.valid.sum() == g["decA_nvalid"] == 3
    random = published.decode(tensor(g["decB_heat"]), tensor(g["decB_wh"]), tensor(g["decB_depth"])[:, 0])
    for name, found, width in (("decA", of_scene, 240), ("decB", random, 60)):
        rows = len(found.valid)
        valid = torch.from_numpy(g[f"{name}_depths"] >= 0).view(rows, 10)
        assert torch.equal(valid, found.valid)
        assert 0 < valid.sum() < valid.numel()
        close(found.depths, g[f"{name}_depths"].reshape(rows, 10), 1e-5)
        close(found.boxes, g[f"{name}_bboxes"].reshape(rows, 10, 4), 1e-4)
        close(found.scores[valid], g[f"{name}_scores"].reshape(rows, 10)[valid], 1e-6)
        close(found.roots[valid], g[f"{name}_xys"].reshape(rows, 10, 2)[valid], 0)
        close((found.roots[valid] - 0.5) @ torch.tensor([1.0, width]), g[f"{name}_inds"].reshape(rows, 10)[valid], 0)


def test_no_array_of_heads_is_left_out(golden):
    golden["heads"].used.clear()
    test_heads(golden)
    test_decode(golden)
    assert not golden["heads"].left_out()


# ---- losses --------------------------------------------------------------------------------------------------------------------------


def test_losses(golden):
    g = golden["losses"]
    g.used.clear()
    found, target = tensor(g["hm_pred"]), tensor(g["hm_target"])
    close(losses.heatmap_loss(found, target, tensor(g["hm_weight"])[..., 0]), g["mse_weighted"], 1e-6)
    close(losses.heatmap_loss(found, target), g["mse_plain"], 1e-6)
    pose = [tensor(g[f"cord_{k}"]) for k in ("pred", "target", "weight")]
    relative(losses.pose_loss(pose[0], pose[1], pose[2][..., 0]), g["l1_weighted"])
    index, mask = tensor(g["reg_ind"], torch.long), tensor(g["reg_mask"], torch.bool)
    maps, wanted = tensor(g["reg_map"]), tensor(g["reg_target"])
    relative(losses.map_loss(maps, index, wanted, mask), g["reg_l1"])
    relative(losses.map_loss(maps, index, wanted, mask, smooth=True), g["reg_smooth_l1"])
    depth = tensor(g["depth_map"])[:, 0], tensor(g["depth_norm_factor"]), index, tensor(g["depth_target_mm"])[..., 0], mask
    relative(losses.depth_loss(*depth), g["depth_l1"])
    assert not g.left_out()


def relative(found, wanted, tol=1e-5):
    wanted = float(wanted.reshape(()))
    assert found.item() == pytest.approx(wanted, rel=tol)


# ---- the whole second stage ------------------------------------------------------------------------------------------------------------


def scene_targets(*scenes):
    """Targets of scenes under the names of `vp.world.agr.Targets`, people padded."""
    most = max(len(s["ind"]) for s in scenes)

    def padded(name, dtype):
        rows = [tensor(s[name], dtype) for s in scenes]
        return torch.stack([torch.cat([r, r.new_zeros(most - len(r), *r.shape[1:])]) for r in rows])

    floats = {"depth": "depth", "roots": "roots_3d", "joints": "joints_3d"}
    others = {"mask": ("reg_mask", torch.bool), "index": ("ind", torch.long), "weight": ("joints_3d_vis_out", torch.bool)}
    out = {ours: padded(theirs, torch.float64) for ours, theirs in floats.items()}
    out |= {ours: padded(*theirs) for ours, theirs in others.items()}
    return SimpleNamespace(**out, volume=torch.stack([tensor(s["target_3d"]) for s in scenes]))


def scene_inputs(*scenes):
    maps = (torch.stack([tensor(s[name]) for s in scenes]) for name in ("heatmap_input", "boxmap"))
    return *maps, batch([camera_of(s) for s in scenes]), torch.stack([tensor(s["depth_norm_factor"], torch.float64) for s in scenes])


def close_table(estimate, flag, g, prefix):
    joints, centres = published.table(estimate, flag)
    wanted = (g[f"{prefix}_{k}"].reshape(x.shape) for k, x in (("pred", joints), ("grid_centers", centres)))
    for found, array, tol in zip((joints, centres), wanted, (POSE, POSITION)):
        close(found.detach()[..., :3], array[..., :3], tol, prefix)
        close(found.detach()[..., 3], array[..., 3], 0, prefix)
        close(found.detach()[..., 4], array[..., 4], SCORE, prefix)


def check_inference(model, g, scene):
    """One pass without the truth; what goes in and out of the networks is looked at on the way."""
    inputs, seen = scene_inputs(scene), {"ren": [], "pen": []}
    hooks = [part.register_forward_hook(lambda _, args, out, name=name: seen[name].append((args[0], out)))
             for name, part in (("ren", model.ren), ("pen", model.pen.net))]  # fmt: skip
    with torch.no_grad():
        estimate = model(*inputs)
    for hook in hooks:
        hook.remove()
    close_table(estimate, estimate.valid.int() - 1, g, "nogt")

    relative(model.factor(inputs[2]), scene["depth_norm_factor"])
    close(estimate.depth_map[0], g["depth_map"], 3e-5)
    detections, n = estimate.detections, len(g["bboxes"])
    assert detections.valid[0].tolist() == [True] * n + [False] * (10 - n)
    close(detections.boxes[0, :n], g["bboxes"], 5e-3)
    close(detections.depths[0, :n], g["depths_mm"], 2e-2)  # 672 px times the depth map's tolerance
    close(detections.roots[0, :n], g["roots_2d_hm"], 1e-4)
    close_sums(seen["ren"][0][1].cube_in[0], g, "ren_cube_in")
    close(estimate.volume[0], g["root_cubes"], SCORE)
    volumes, logits = seen["pen"][0]
    n = volumes[0, 0].numel()
    close(volumes[0].double().sum((1, 2, 3)) / n, g["pen0_cube_in_sum"] / n, VOXEL / 100)
    close(logits[0, :, 1::6, 1::6, 1::6], g["pen0_cube_out_sub"], 3e-5)

    parts = losses.second_stage(estimate, scene_targets(scene), inputs[3])
    relative(parts["depth"], 0.1 * g["nogt_loss_depth"], 1e-5)
    relative(parts["volume"], 1000 * g["nogt_loss_3d"], 1e-4)


def check_training(model, g, scene):
    """Candidates filtered by the truth (Q2), losses and gradients; batch-norms in eval mode, as in the golden file."""
    inputs, targets = scene_inputs(scene), scene_targets(scene)
    estimate = model(*inputs, choose=published.keep_true(targets.roots, targets.mask))
    flag = published.flags(estimate, targets.roots, targets.mask)
    for prefix in ("gt_eval", "train"):
        close_table(estimate, flag, g, prefix)
    assert float(g["gt_eval_loss_cord"][0]) == float(g["train_loss_2d"][0]) == float(g["train_loss_bbox"][0]) == 0  # not computed there
    parts = losses.second_stage(estimate, targets, inputs[3])
    check_losses(parts, g, "train")
    total = sum(parts.values())
    relative(total, g["train_loss_total"], 1e-4)
    model.zero_grad()
    total.backward()
    norms = [model.get_parameter(our_name(k)).grad.norm() for k in g["train_grad_keys"].tolist()]
    for norm, wanted in zip(norms, g["train_grad_norms"]):
        relative(norm, wanted, 5e-4)


def check_two_images(model, g, *scenes):
    """A batch of two.  Slots 1 and 2 of the second image differ by 3e-5 in score, five times our tolerance."""
    inputs, targets = scene_inputs(*scenes), scene_targets(*scenes)
    with torch.no_grad():
        estimate = model(*inputs, choose=published.keep_true(targets.roots, targets.mask))
    close_table(estimate, published.flags(estimate, targets.roots, targets.mask), g, "batchBA")
    check_losses(losses.second_stage(estimate, targets, inputs[3]), g, "batchBA")


def check_losses(parts, g, prefix):
    relative(parts["depth"], 0.1 * g[f"{prefix}_loss_depth"], 1e-5)
    relative(parts["volume"], 1000 * g[f"{prefix}_loss_3d"], 1e-4)
    assert parts["pose"].item() == pytest.approx(float(g[f"{prefix}_loss_cord"][0]), abs=9e-3)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_full_model(golden, shared, case):
    """The whole second stage with the recipe's weights; no array of the file is left out."""
    name, sizes = f"fullmodel_{case}", CASES[case]
    g, scene, model = golden[name], golden[f"scene_{case}"], published.as_published(VirtualPose(sizes))
    keys = published_keys(shared, "panoptic15_resnet152" if sizes.joints == 15 else "muco17_resnet152")
    fill(model, [k for k in keys if not k.startswith("backbone.")], overrides(shared, name))
    g.used.clear()
    check_inference(model, g, scene)
    check_training(model, g, scene)
    if "batchBA_pred" in g:
        check_two_images(model, g, scene, golden["scene_A_15"])
    assert not g.left_out()
