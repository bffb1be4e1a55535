"""The networks against the published ones: every array of three golden files (skipped where they are absent).

Tolerance: three times the 1e-5 that the golden README states for the outputs of networks.
"""

import numpy as np
import pytest
import torch
from conftest import close
from recipe import fill, published_keys, tensor

from vp import published_nets
from vp.nets.resnet import ResNet, flip_test
from vp.nets.v2v import V2V
from vp.skeleton import JOINTS_15, JOINTS_17

TOLERANCE = 3e-5
FILES = ("v2v", "depthnet", "backbone_resnet50")
ORDER = JOINTS_15.flip_order
DE_JOINTS = (0, 1, 2, 3, 6, 7, 9, 12, 13)


def uniform(seed, shape):
    return torch.from_numpy(np.random.default_rng(seed).random(shape, dtype=np.float32))


def maps(joints):
    return {"heatmap": joints, "box": 4, "depth": 1}


@pytest.fixture(scope="module")
def v2v_keys(shared):
    return published_keys(shared, prefix="REN.v2v_net.")


# ---- the recipe itself ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "shape", "first"),
    [
        ("front_layers.0.block.0.weight", (16, 15, 7, 7, 7), (-0.01090184, -0.01945759, -0.0098862)),
        ("front_layers.0.block.1.running_var", (16,), (1.0039136, 1.0358284, 1.1361136)),
        ("front_layers.0.block.1.weight", (16,), (0.9763358, 1.1009569, 1.0810573)),
        ("conv1.weight", (64, 9, 7, 7), (0.00604288, 0.02589638, -0.08487911)),
        ("REN.v2v_net.output_layer.bias", (1,), (-0.04437395,)),
    ],
)
def test_recipe(key, shape, first):
    close(tensor(key, shape).flatten()[: len(first)], first, 1e-7)


# ---- V2V -----------------------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def check_v2v(g, keys):
    for inputs, outputs, grid, seed in ((15, 1, (16, 16, 8), 501), (15, 15, (8, 12, 8), 502), (17, 17, (8, 8, 8), 503)):
        net, name = fill(V2V(inputs, outputs), keys), f"out_{inputs}to{outputs}_{'x'.join(map(str, grid))}_seed{seed}"
        volume = uniform(seed, (2, inputs, *grid))
        close(net(volume), g[name], TOLERANCE, name)
        if seed == 501:
            close(net.train()(volume), g[f"{name}_trainbn"], TOLERANCE, "batch statistics")
            close(net.stem[1].running_mean, g["running_mean_after_front_layers.0.block.1"], TOLERANCE)
            close(net.stem[1].running_var, g["running_var_after_front_layers.0.block.1"], TOLERANCE)
    name = "out_15to1_80x80x24_seed504"
    out = fill(V2V(15, 1), keys)(uniform(504, (1, 15, 80, 80, 24)))
    close(out[:, :, ::2, ::2, ::2], g[f"{name}_sub"], TOLERANCE, name)
    n = out.numel()  # a bound on the mean error
    close(out.double().sum() / n, g[f"{name}_sum"] / n, TOLERANCE)
    close(out.double().abs().sum() / n, g[f"{name}_abssum"] / n, TOLERANCE)


def test_v2v(golden, v2v_keys):
    golden["v2v"].used.clear()
    check_v2v(golden["v2v"], v2v_keys)
    assert not golden["v2v"].left_out()


# ---- depth estimator -----------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_depthnet(golden, shared):
    g = golden["depthnet"]
    g.used.clear()
    keys, small = published_keys(shared, prefix="REN.depth_net."), uniform(601, (2, 9, 32, 48))
    net = fill(ResNet(18, 9, maps(15), keep_scale=True), keys)
    out, flipped = net(small), published_nets.flip_test(net, small, ORDER)
    close(out["depth"], g["small_depth"], TOLERANCE)
    close(out["box"], g["small_bbox"], TOLERANCE)
    close(out["heatmap"], g["small_pose_noflip"], TOLERANCE)
    close(flipped["heatmap"], g["small_pose"], TOLERANCE)
    assert torch.equal(flipped["depth"], out["depth"])
    close(published_nets.flip_training(net, small, ORDER)["depth"], g["small_depth_trainflip"], TOLERANCE)
    wide = fill(ResNet(18, 9, maps(17), keep_scale=True), keys)
    close(published_nets.flip_test(wide, small, JOINTS_17.flip_order)["heatmap"], g["small_pose_J17"], TOLERANCE)
    alone = fill(ResNet(18, 9, {"depth": 1}, keep_scale=True), keys)  # as REN has it: without the unused heads
    for scene, name in (("scene_B_15", "scene_B_depth"), ("scene_M_17", "scene_M_depth")):
        heatmaps = torch.from_numpy(golden[scene]["heatmap_input"]).float()[None, list(DE_JOINTS)]
        close(alone(heatmaps)["depth"][0, 0], g[name], TOLERANCE, name)
    assert not g.left_out()


# ---- backbone ------------------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_backbone(golden, shared):
    g = golden["backbone_resnet50"]
    g.used.clear()
    keys = published_keys(shared, "backbone_resnet50_15_standalone")
    images = torch.from_numpy(np.random.default_rng(801).standard_normal((1, 3, 128, 224), dtype=np.float32))
    net = fill(ResNet(50, heads=maps(15)), keys)
    out, flipped, train = net(images), published_nets.flip_test(net, images, ORDER), published_nets.flip_training(net, images, ORDER)
    for ours, theirs in (("heatmap", "pose_noflip"), ("box", "bbox"), ("depth", "depth")):
        close(out[ours], g[theirs], TOLERANCE, theirs)
        close(train[ours], g[f"{theirs.removesuffix('_noflip')}_trainflip"], TOLERANCE, theirs)
    close(flipped["heatmap"], g["pose_fliptest"], TOLERANCE)
    close(flip_test(net, images, ORDER)["heatmap"], g["pose_fliptest"], TOLERANCE)  # ours averages the other heads as well
    assert torch.equal(flipped["box"], out["box"])
    wide = fill(ResNet(50, heads=maps(17)), keys)
    close(published_nets.flip_test(wide, images, JOINTS_17.flip_order)["heatmap"], g["pose_fliptest_J17"], TOLERANCE)
    assert not g.left_out()


# ---- names ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["panoptic15_resnet152", "muco17_resnet152"])
def test_every_published_name_and_shape_has_one_of_ours(shared, model):
    joints = int(model.removesuffix("_resnet152")[-2:])
    keys = published_keys(shared, model)
    with torch.device("meta"):
        nets = {
            "backbone": ResNet(152, heads=maps(joints)), "ren.de": ResNet(18, 9, maps(joints), keep_scale=True),
            "ren.net": V2V(joints, 1), "pen.net": V2V(joints, joints),
        }  # fmt: skip
    ours = {f"{part}.{k}": tuple(v.shape) for part, net in nets.items() for k, v in net.state_dict().items()}
    assert {published_nets.our_name(k): shape for k, shape in keys.items()} == ours
    assert len(ours) == len(keys) == 1418
    unused = {k for k in keys if published_nets.our_name(k).startswith(published_nets.UNUSED)}
    heads = ("final_layer", "bbox.0", "bbox.2")
    assert unused == {f"REN.depth_net.{head}.{w}" for head in heads for w in ("weight", "bias")}
