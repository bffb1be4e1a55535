"""Labelled pictures: what is known of them, the targets drawn from that, augmentation."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from conftest import close

from vp.camera import Camera, rescale
from vp.errors import InputError
from vp.lab.augment import MIRROR, Change, before_another, draw_moves, moved, moved_box, recolour, warp
from vp.lab.datasets import load
from vp.lab.labelled import Labelled, Stream, content_of, fitted, of_samples, of_scenes, picture, read_picture, targets
from vp.nets.backbone import Shape
from vp.published_agr import MAP, ROOT
from vp.published_agr import scene as published_scene
from vp.sample import Sample
from vp.skeleton import COCO_17, JOINTS_15
from vp.world.agr import EXTENSION, SIGMA, synthesise

SIZE, SMALL, J = (224, 128), (56, 32), 15
COLUMNS = ("uv", "present", "missing", "boxes", "depth", "content")
PLAIN = Change(0.0, (1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0.0, background=0.0)


def labelled(uv, size=(96, 64), image=None, **more):
    """`Labelled` pictures of uv (n, P, J, 2) px, black, everybody present."""
    n, P, joints, _ = uv.shape
    image = torch.zeros(n, 3, size[1], size[0], dtype=torch.uint8) if image is None else image
    present = torch.ones(n, P, joints, dtype=torch.bool)
    content = torch.tensor([-0.5, -0.5, size[0] - 0.5, size[1] - 0.5]).expand(n, 4)
    parts = {"present": present, "missing": ~present, "boxes": torch.full((n, P, 4), torch.nan), "depth": torch.full((n, P), torch.nan)}
    return Labelled(image, uv, **{**parts, "content": content, "size": size, "sources": {}, **more})


def drawn(p, map_size):
    return targets(*(getattr(p, c) for c in COLUMNS), p.size, map_size)


def body(x, y, half=8.0):
    """(1, 1, 15, 2) px: joints on a circle about the root at (x, y)."""
    turn = torch.arange(J) / J * 2 * math.pi
    uv = torch.stack([x + half * turn.cos(), y + half * turn.sin()], -1)
    uv[ROOT] = torch.tensor([x, y])
    return uv[None, None]


# ---- of twins and folders ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["panoptic", "muco", "coco"])
def test_targets_are_the_agr_of_the_second_stage(name, tmp_path):
    data = load(name, "train")
    agr, t = synthesise(data.scenes(8, 3), SMALL, None, None, J, None)
    ours, weight = drawn(of_scenes(data, 8, 3, SIZE, folder=tmp_path), SMALL)
    for key in ("heatmaps", "box_map", "boxes", "roots", "sigma"):
        a, b = getattr(agr, key), getattr(ours, key)
        assert torch.equal(a.isnan(), b.isnan()), key
        close(b.nan_to_num(), a.nan_to_num(), 1e-4, key)
    assert torch.equal(ours.root_valid, agr.root_valid)
    assert torch.equal(ours.index, t.index)
    assert ours.root_valid.any()
    assert ((weight | (ours.heatmaps > 0.01)).all(), weight.float().mean() > 0.9) == (True, True)


def test_pictures_end_where_the_camera_s_does(tmp_path):
    data = load("muco", "train")  # square
    made, scenes = of_scenes(data, 4, 0, SIZE, folder=tmp_path), data.scenes(4, 0)
    assert tuple(made.content[0].tolist()) == (47.5, -0.5, 175.5, 127.5)
    image = made.images(torch.arange(4))
    assert (image[..., :48] == 0).all()
    assert (image[..., 176:] == 0).all()
    assert (image[..., 48:176].amax((1, 2, 3)) > 0.3).all()
    close(picture(data, scenes, SIZE), image, 0.5 / 255 + 1e-6)
    uv, _, ok = scenes.uv()
    k = 128 / 2048
    here = made.present
    assert torch.equal(here, ok[:, :, :J])
    close(made.uv[here], rescale(uv[:, :, :J], k)[here] + torch.tensor([48.0, 0.0]), 1e-3)


def test_golden_targets(golden):
    """Where nobody's root is outside, boxes and sigmas are the published ones; with one outside (scene C), the rest keep theirs."""
    for name, outside in (("scene_B_15_backbone_targets_annbox", False), ("scene_C_15_backbone_targets", True)):
        g = golden[name]
        camera = g["cam_R"], g["cam_T"], (g["cam_fx"], g["cam_fy"]), (g["cam_cx"], g["cam_cy"]), g["cam_k"], g["cam_p"]
        known = torch.from_numpy(g["joints_3d_vis_out"] > 0)[None]
        uv = torch.from_numpy(g["joints_2d"]).float()[None]
        assert outside == (g["reg_mask"] == 0).any()
        assert outside == (g["joints_vis_out"] != g["joints_3d_vis_out"]).any()  # Q18
        annotated = torch.full((1, uv.shape[1], 4), torch.nan)
        if name.endswith("annbox"):
            annotated = torch.from_numpy(g["bbox"]).float()[None] * 4
        p = labelled(uv, (960, 512), present=known, boxes=annotated)
        agr, _ = drawn(p, MAP)
        there = known[0].any(-1)
        close(agr.sigma[0, there], g["sigma_target"][there.numpy()], 1e-3)
        inside = torch.from_numpy(g["reg_mask"] > 0) & known[0, :, ROOT]
        assert torch.equal(agr.root_valid[0], inside)
        # maps: theirs are centred at truncated positions (Q10, Q11), so peaks lie up to 2.5 px lower, never elsewhere
        theirs = torch.from_numpy(g["target_heatmap"])
        assert torch.equal(agr.heatmaps[0].amax((1, 2)) > 0.5, theirs.amax((1, 2)) > 0.5)
        for j in range(J):
            for person in known[0, :, j].nonzero()[:, 0].tolist():
                x, y = (uv[0, person, j] / 4 - 0.375).round().long().tolist()
                near = theirs[j, max(0, y - 3) : y + 2, max(0, x - 3) : x + 2]
                assert near.max() > 0.95
                assert agr.heatmaps[0, j, y, x] > 0.95
        own = agr.boxes[0]
        if outside:
            seen = (g["joints_3d"], g["joints_3d_vis_in"], camera, tuple(g["image_wh"]), g["space_size"], g["space_center"])
            shrunk = published_scene(*seen, backbone=True)["bbox"]
            assert np.abs(shrunk[1:] - g["bbox"][1:]).max() < 1e-2
            for person in inside.nonzero()[:, 0].tolist():
                points = uv[0, person][known[0, person]] / 4
                lo, hi = points.amin(0), points.amax(0)
                pad = (hi - lo) * torch.tensor(EXTENSION)
                full = torch.cat([lo - pad, hi + pad]) - 0.375
                close(own[person], full.clamp(min=-0.5).minimum(torch.tensor([239.5, 127.5, 239.5, 127.5])), 1e-2)
                assert (own[person] - torch.from_numpy(g["bbox"][person])).abs().max() > 5 or person == 0
        else:
            expected = torch.from_numpy(g["bbox"]) - 0.375
            limit = torch.tensor([239.5, 127.5, 239.5, 127.5])
            held = expected.clamp(min=-0.5).minimum(limit)
            close(own[inside], held[inside], 1e-2)


def test_recorded_pictures_in_3d_and_2d(tmp_path):
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), np.full((108, 192, 3), 128, np.uint8))
    camera = Camera.from_angles(0.1, 0.0, focal=1400.0, size=(1920, 1080)).resize(192, 108)
    joints = torch.tensor([4000.0, 0.0, 1000.0], dtype=torch.float64) + 300 * torch.randn(1, J, 3, dtype=torch.float64)
    valid = torch.ones(1, J, dtype=torch.bool)
    valid[0, 5] = False
    joints[0, 5] = torch.nan
    one = Sample(JOINTS_15, "x", joints, valid, camera=camera, size=camera.size, image=str(file), sources={"poses": "a"})
    px = 96 + 40 * torch.randn(2, 17, 2, dtype=torch.float64).clamp(-1, 1)
    known = torch.ones(2, 17, dtype=torch.bool)
    known[0, COCO_17.index("left_shoulder")] = known[1] = False
    boxes = torch.tensor([[20.0, 10.0, 60.0, 90.0], [100.0, 10.0, 140.0, 50.0]], dtype=torch.float64)
    two = Sample(COCO_17, "y", joints_px=px, valid_px=known, boxes=boxes, size=(192, 108), image=str(file))
    nothing = replace(two, image=None)
    made = of_samples([one, nothing, two], (96, 64))
    assert len(made) == 2
    uv, depth, _ = one.project()
    ok = made.present[0, 0]
    assert torch.equal(ok, valid[0])
    assert torch.equal(made.missing[0, 0], ~valid[0])
    assert made.missing[0, 1].sum() == 0  # padding is nobody
    close(made.uv[0, 0, ok], rescale(uv[0, ok], 0.5) + torch.tensor([0.0, 5.0]), 1e-3)
    close(made.depth[0, 0], depth[0, ROOT], 1e-2)
    assert made.boxes[0].isnan().all()
    names = JOINTS_15.joints
    missing = {names[j] for j in range(J) if made.missing[1, 0, j]}
    assert missing == {"neck", "head_top", "left_shoulder"}  # a neck needs both shoulders
    assert made.missing[1, 1].all()
    assert made.depth[1].isnan().all()
    # 40 x 80 about (40, 50), enlarged by 1.25, halved, 5 px lower: fitting 108 rows into 64
    close(made.boxes[1, 0], [0.5 * 15.5 - 0.5, 0.5 * 0.5 - 0.5 + 5, 0.5 * 65.5 - 0.5, 0.5 * 100.5 - 0.5 + 5], 1e-4)
    assert made.images(torch.tensor([1])).shape == (1, 3, 64, 96)
    agr, weight = drawn(made, (24, 16))
    assert not weight[1, JOINTS_15.index("head_top")].any()  # nobody there has one
    assert weight[0, JOINTS_15.index("head_top")].all()
    hip = weight[1, JOINTS_15.index("left_knee")]
    x0, y0, x1, y1 = rescale(made.boxes[1, 1], 0.25).tolist()
    there = torch.zeros(16, 24, dtype=torch.bool)
    there[math.ceil(y0) if y0 > 0 else 0 : math.ceil(y1), math.ceil(x0) : math.ceil(x1)] = True
    assert not (hip & there & (agr.heatmaps[1, JOINTS_15.index("left_knee")] < 0.01)).any()  # the unlabelled one's box says nothing
    assert hip[~there & torch.from_numpy(np.indices((16, 24))[0] < 14)].float().mean() > 0.9
    with pytest.raises(InputError, match="no sample"):
        of_samples([nothing], (96, 64))


def test_what_others_are_known_to_have_counts_in_a_masked_box():
    both = torch.cat([body(40.0, 30.0, 14.0), body(46.0, 32.0, 14.0)], 1)
    p = labelled(both)
    p.present[0, 0, 3], p.missing[0, 0, 3] = False, True
    agr, weight = drawn(p, (24, 16))
    x, y = (both[0, 1, 3] / 4 - 0.375).round().long().tolist()
    assert agr.heatmaps[0, 3, y, x] > 0.7
    assert weight[0, 3, y, x]
    assert not weight[0, 3].all()
    assert weight[0, 4].all()


def test_sources_of_other_sizes_are_fitted():
    made = dot(20.0, 12.0, (48, 32))
    batch = Stream((made,), Shape(15, (96, 64)), PLAIN)(0, 1)
    close(batch.agr.roots[0, 0], rescale(torch.tensor([20.0, 12.0]), 0.5), 1e-4)
    x = (batch.image[0, 0].double().sum(0) * torch.arange(96)).sum() / batch.image[0, 0].sum()
    close(x, rescale(torch.tensor(20.0), 2.0), 0.05)
    tall = dot(20.0, 30.0, (48, 64))  # centred between black
    batch = Stream((tall,), Shape(15, (96, 64)), PLAIN)(0, 1)
    close(batch.agr.roots[0, 0], rescale(torch.tensor([44.0, 30.0]), 0.25), 1e-4)
    assert (batch.image[..., :24] == 0).all()


def test_coco_annotations(shared):
    data = load("coco", "train", root=shared / "data" / "coco")
    made = of_samples(data.samples(10), SIZE)
    assert len(made) == 2
    batch = Stream((made,), Shape(15, SIZE), MIRROR)(0, 6)
    assert batch.image.amax() > 0.5
    assert not batch.weight[:, JOINTS_15.index("head_top")].any()
    assert batch.agr.root_valid.any()
    read = read_picture(made.image[0])
    close(fitted(read, SIZE).float() / 255, made.images(torch.tensor([0]))[0], 1e-6)


def test_pictures_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_picture(tmp_path / "no.png")
    (tmp_path / "x.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(InputError, match="no picture"):
        read_picture(tmp_path / "x.png")


@pytest.mark.parametrize("source", [(640, 427), (50, 90), (1920, 1080), (31, 17)])
def test_a_fitted_picture_lies_where_the_camera_says(source):
    """A soft blob at u comes to where `Camera.fit` moves u."""
    u = torch.tensor([0.37 * source[0], 0.61 * source[1]])
    y, x = torch.meshgrid(torch.arange(source[1]), torch.arange(source[0]), indexing="ij")
    spread = 0.05 * min(source) + 1
    blob = 255 * torch.exp(-((x - u[0]) ** 2 + (y - u[1]) ** 2) / (2 * spread**2))
    out = fitted(blob.expand(3, -1, -1).to(torch.uint8), SIZE)[0].double()
    camera = Camera.from_angles(0.0, 0.0, size=source)
    k = camera.fit(*SIZE).f[0] / camera.f[0]
    (x0, y0, _, _) = content_of(source, SIZE)
    at = torch.stack([(out.sum(0) * torch.arange(SIZE[0])).sum(), (out.sum(1) * torch.arange(SIZE[1])).sum()]) / out.sum()
    close(at, rescale(u, k) + torch.tensor([x0 + 0.5, y0 + 0.5]), 0.15)


# ---- targets -------------------------------------------------------------------------------------------------------------------------


def test_targets_by_hand():
    p = labelled(torch.cat([body(30.0, 25.0), body(60.0, 40.0, 14.0)], 1))
    agr, weight = drawn(p, (24, 16))
    assert weight.all()
    for person, half in ((0, 8.0), (1, 14.0)):
        points = p.uv[0, person] / 4 - 0.375
        extent = points.amax(0) - points.amin(0)
        k = 24 / 240
        sigma = max(1.0, SIGMA * min(max(float(extent.max()), 48 * k), 192 * k))
        assert float(agr.sigma[0, person]) == pytest.approx(sigma, rel=1e-5)
        pad = extent * torch.tensor([0.25, 0.12])
        close(agr.boxes[0, person], torch.cat([points.amin(0) - pad, points.amax(0) + pad]), 1e-4)
        assert half > 0
    naive = torch.zeros(J, 16, 24)
    for j in range(J):
        for v in range(16):
            for u in range(24):
                for person in range(2):
                    x, y = (p.uv[0, person, j] / 4 - 0.375).tolist()
                    value = math.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * float(agr.sigma[0, person]) ** 2))
                    naive[j, v, u] = max(naive[j, v, u], value)
    close(agr.heatmaps[0], naive, 1e-5)


def test_a_root_outside_keeps_everybody_s_joints():
    """The known defect (Q18) is not there: the first person's root is outside, his joints inside and everybody else stay."""
    both = torch.cat([body(-3.0, 30.0, 12.0), body(60.0, 40.0)], 1)
    agr, weight = drawn(labelled(both), (24, 16))
    alone, _ = drawn(labelled(body(60.0, 40.0)), (24, 16))
    assert agr.root_valid[0].tolist() == [False, True]
    close(agr.boxes[0, 1], alone.boxes[0, 0], 1e-5)
    assert torch.equal(agr.box_map, alone.box_map)
    inside = [j for j in range(J) if both[0, 0, j, 0] > 0]
    assert len(inside) > 2
    for j in inside:
        x, y = (both[0, 0, j] / 4 - 0.375).round().long().tolist()
        assert agr.heatmaps[0, j, y, max(0, x)] > 0.7
    assert weight.all()


def test_the_nearest_person_s_box_lies_on_top():
    both = torch.cat([body(40.0, 30.0), body(44.0, 30.0, 12.0)], 1)
    for depth, top in (((2000.0, 3000.0), 0), ((3000.0, 2000.0), 1), ((torch.nan, 2000.0), 1)):
        agr, _ = drawn(labelled(both, depth=torch.tensor([depth])), (24, 16))
        close(agr.box_map[0, :, 7, 10], agr.distances[0, top], 1e-4)


# ---- augmentation --------------------------------------------------------------------------------------------------------------------


def dot(x, y, size=(96, 64)):
    """A picture with one bright soft dot, and its joints all there."""
    v, u = torch.meshgrid(torch.arange(size[1]), torch.arange(size[0]), indexing="ij")
    blob = (255 * torch.exp(-((u - x) ** 2 + (v - y) ** 2) / 8)).to(torch.uint8)
    uv = torch.full((1, 1, J, 2), 0.0)
    uv[..., 0], uv[..., 1] = x, y
    return labelled(uv, size, blob.expand(1, 3, -1, -1))


MOVES = Change(0.5, (0.8, 1.3), 20.0, 0.1, 0.0, 0.0, 0.0, background=0.0)


@pytest.mark.parametrize("change", [PLAIN, replace(PLAIN, mirror=1.0), replace(PLAIN, rotation_deg=40.0), MOVES])
@pytest.mark.parametrize("size", [(96, 64), (80, 60), (48, 32)])
def test_joints_move_with_the_picture(change, size):
    made = dot(0.55 * size[0], 0.4 * size[1], size)
    stream = Stream((made,), Shape(15, (96, 64)), change, seed=4)
    batch, seen = stream(0, 24), 0
    for i in range(24):
        image = batch.image[i, 0].double()
        at = batch.agr.roots[i, 0] * 4 + 1.5
        if not (5 < at[0] < 90 and 5 < at[1] < 58):
            continue
        x = (image.sum(0) * torch.arange(96)).sum() / image.sum()
        y = (image.sum(1) * torch.arange(64)).sum() / image.sum()
        close(torch.stack([x, y]), at, 0.35)
        seen += 1
    assert seen > 10
    if change is MOVES:
        assert len({round(float(r), 2) for r in batch.agr.roots[:, 0, 0]}) > 10


def test_the_mirror_exchanges_left_and_right():
    uv = body(30.0, 25.0, 15.0)
    p = labelled(uv)
    p.missing[0, 0, 4], p.present[0, 0, 4] = True, False  # left elbow
    straight, mirrored = (Stream((p,), Shape(15, (96, 64)), replace(PLAIN, mirror=m))(0, 1) for m in (0.0, 1.0))
    close(mirrored.agr.heatmaps.flip(-1)[:, JOINTS_15.flip_order], straight.agr.heatmaps, 1e-4)
    close(mirrored.agr.box_map.flip(-1)[:, [2, 1, 0, 3]], straight.agr.box_map, 1e-3)
    assert torch.equal(mirrored.weight.flip(-1)[:, JOINTS_15.flip_order], straight.weight)
    assert not mirrored.weight[0, 10].all()
    assert mirrored.weight[0, 4].all()


def test_annotated_boxes_move_along():
    boxes = torch.tensor([[[10.0, 20.0, 30.0, 50.0]]])
    made = labelled(body(22.0, 30.0), boxes=boxes)
    batch = Stream((made,), Shape(15, (96, 64)), replace(PLAIN, mirror=1.0))(0, 1)
    close(batch.agr.boxes[0, 0], rescale(torch.tensor([65.0, 20.0, 85.0, 50.0]), 0.25), 1e-4)
    quarter = torch.tensor([[[0.0, -1.0, 60.0], [1.0, 0.0, 5.0]]])
    close(moved_box(boxes, quarter), torch.tensor([[[10.0, 15.0, 40.0, 35.0]]]), 1e-4)
    close(moved(torch.tensor([[[10.0, 20.0]]]), quarter), torch.tensor([[[40.0, 15.0]]]), 1e-5)


def test_what_lies_outside_the_content_counts_nothing_where_a_joint_is():
    """Zoomed out, a joint beyond the picture's old edge comes into view, in the black: nobody can know it."""
    p = labelled(body(2.0, 30.0, 12.0))
    batch = Stream((p,), Shape(15, (96, 64)), replace(PLAIN, scale=(0.6, 0.6)))(0, 1)
    left = math.floor((47.5 - 0.6 * 48) / 4 - 0.375) - 1  # map columns of the black
    assert left >= 3
    drawn_there = batch.agr.heatmaps[0, :, :, :left] > 0.01
    assert drawn_there.any()
    assert not batch.weight[0, :, :, :left][drawn_there].any()
    assert batch.weight[0, :, :, :left][~drawn_there].all()
    assert batch.weight[0, :, :, left + 3 : 19].all()


def test_warp_is_the_identity_at_rest():
    image = torch.rand(2, 3, 20, 30)
    close(warp(image, torch.eye(2, 3).expand(2, 2, 3), (30, 20)), image, 1e-4)


def test_draws_of_moves():
    A, mirrored = draw_moves(Change(), 4000, (96, 64), torch.Generator().manual_seed(0))
    scale = torch.linalg.det(A[..., :2]).abs().sqrt()
    assert 0.7 <= scale.min() < 0.72
    assert 1.38 < scale.max() <= 1.4 + 1e-5
    assert 0.45 < mirrored.float().mean() < 0.55
    assert torch.equal(mirrored, torch.linalg.det(A[..., :2]) < 0)
    shift = moved(torch.tensor([[47.5, 31.5]]).expand(4000, 1, 2), A)[:, 0] - torch.tensor([47.5, 31.5])
    assert (shift.abs() <= torch.tensor([9.6, 6.4]) + 1e-3).all()


def test_colours_blur_and_occluders():
    g = torch.rand(8, 3, 64, 96)
    image = g.clone()
    close(recolour(image, PLAIN, torch.Generator().manual_seed(0)), g, 1e-6)
    for change, few in ((replace(PLAIN, colour=0.3), False), (replace(PLAIN, blur=1.0), False), (replace(PLAIN, occluders=1.0), True)):
        out = recolour(image, change, torch.Generator().manual_seed(0))
        assert (out.amin() >= 0, out.amax() <= 1) == (True, True)
        changed = (out != g).any(1).float().mean((1, 2))
        assert (changed > 0).all()
        assert (changed < 0.4).all() == few
    assert torch.equal(image, g)
    flat = torch.full((4, 3, 64, 96), 0.5)
    blurred = recolour(flat, replace(PLAIN, blur=1.0), torch.Generator().manual_seed(0))
    close(blurred[..., 4:-4, 4:-4], flat[..., 4:-4, 4:-4], 1e-5)


def test_the_stream_is_the_same_whenever_it_is_asked():
    sets = dot(40.0, 20.0), labelled(torch.cat([body(30.0, 25.0), body(60.0, 40.0)], 1))
    stream = Stream(sets, Shape(15, (96, 64)))
    a, b, c = stream(16, 8), stream(16, 8), stream(24, 8)
    assert torch.equal(a.image, b.image)
    assert torch.equal(a.agr.heatmaps, b.agr.heatmaps)
    assert not torch.equal(a.image, c.image)
    assert not torch.equal(replace(stream, seed=1)(16, 8).image, a.image)
    people = [int(stream(8 * k, 8).agr.root_valid.sum(1).max()) for k in range(3)]
    assert max(people) == 2


def test_both_sets_come_in_equal_shares_and_pictures_keep_their_labels():
    red, green = dot(30.0, 20.0), dot(60.0, 40.0)
    red.image, green.image = red.image.clone(), green.image.clone()
    red.image[:, 1:], green.image[:, [0, 2]] = 0, 0
    batch = Stream((red, green), Shape(15, (96, 64)), PLAIN)(0, 64)
    is_red = batch.image[:, 0].amax((1, 2)) > 0.5
    assert 20 < int(is_red.sum()) < 44
    assert torch.equal(is_red, batch.agr.roots[:, 0, 0] < 10)


# ---- another background --------------------------------------------------------------------------------------------------------------


def test_another_background_leaves_people_and_targets_alone(tmp_path):
    data = load("coco", "train")
    pictures = of_scenes(data, 6, 2, SIZE, folder=tmp_path, swap=True)
    people, empty = pictures.swap
    assert (people.shape, people.dtype, empty.shape, empty.dtype) == ((6, 128, 224), torch.bool, (6, 3, 128, 224), torch.uint8)
    assert (people.float().mean((1, 2)) > 0.002).any()
    assert people.float().mean() < 0.5
    shape = Shape(15, SIZE, 18, 8, 8)
    before, after = (Stream((pictures,), shape, replace(PLAIN, background=share), 5)(0, 16) for share in (0.0, 1.0))
    assert torch.equal(before.agr.heatmaps, after.agr.heatmaps)
    assert torch.equal(before.agr.box_map, after.agr.box_map)
    changed = (before.image - after.image).abs().amax(1) > 0.02
    which = [int((pictures.images(torch.arange(6)) - x).abs().flatten(1).mean(1).argmin()) for x in before.image]
    kept = warp(people[which][:, None].float(), torch.eye(2, 3).expand(16, 2, 3), SIZE)[:, 0] > 0.99
    assert not changed[kept].any()
    assert changed[~kept].float().mean() > 0.5
    again = Stream((pictures,), shape, replace(PLAIN, background=1.0), 5)(0, 16)
    assert torch.equal(after.image, again.image)


def test_a_share_of_pictures_is_swapped_and_only_where_it_is_known_what_is_background():
    images, people = torch.zeros(400, 3, 2, 3), torch.zeros(400, 2, 3, dtype=torch.bool)
    people[:, 0] = True
    out = before_another(images, people, torch.full((4, 3, 2, 3), 255, dtype=torch.uint8), torch.Generator().manual_seed(0), 0.25)
    assert (out[:, :, 0] == 0).all()
    swapped = (out[:, :, 1] == 1).all((1, 2))
    assert ((out[:, :, 1] == 0).all((1, 2)) | swapped).all()
    assert 0.15 < swapped.float().mean() < 0.35
    p = labelled(body(40.0, 30.0))  # nothing known: as if nothing had been asked for
    shape = Shape(15, (96, 64), 18, 8, 8)
    assert torch.equal(*(Stream((p,), shape, replace(PLAIN, background=share))(0, 3).image for share in (0.0, 1.0)))
