"""The second stage as one module: sizes, frames, batches, what reaches what in training."""

import json

import pytest
import torch
from conftest import close
from torch import nn

from vp import published_stage as published
from vp.camera import Camera
from vp.errors import InputError
from vp.lab.losses import second_stage
from vp.nets import checkpoints
from vp.nets.ren import Candidates, candidates
from vp.nets.virtualpose import Sizes, VirtualPose
from vp.skeleton import JOINTS_15
from vp.space import Frame
from vp.world.agr import synthesise

SMALL = Sizes(
    map=(48, 32), people=4, space_centre=(4000.0, 0.0, 1000.0), space_size=(6000.0, 6000.0, 2000.0), space_bins=(12, 12, 8), de_width=8,
    de_deconv=4, de_bias=7.0, ren_widths=(2, 4, 4, 4), ren_kernel=3, pen_bins=8, pen_widths=(2, 4, 4, 4), pen_kernel=3, beta=5.0, skip=2.0,
    init_std=None, threshold=-100.0,
)  # fmt: skip  # (a threshold that lets the peaks of an untrained network pass)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Scenes:
    """B scenes of P people 3 to 5 m ahead of cameras that stand anywhere; `mask` says who is there."""

    def __init__(self, B=3, P=2, seed=0, dtype=torch.float32):
        g = rng(seed)
        yaw, self.mask = torch.rand(B, generator=g) * 6, torch.ones(B, P, dtype=torch.bool)
        centre = torch.cat([torch.randn(B, 2, generator=g) * 3000, torch.full((B, 1), 1700.0)], 1)
        self.camera = Camera.from_angles(0.15, yaw, 0.0, centre, 1200.0).to(dtype)
        ahead = torch.stack([yaw.cos(), yaw.sin()], -1)[:, None]
        beside = torch.stack([-yaw.sin(), yaw.cos()], -1)[:, None]
        far, side = 3500 + 1200 * torch.rand(B, P, 1, generator=g), 2000 * (torch.arange(P) - (P - 1) / 2)[:, None] / max(P - 1, 1)
        roots = torch.cat([centre[:, None, :2] + ahead * far + beside * side, torch.full((B, P, 1), 950.0)], -1)
        shape = torch.randn(15, 3, generator=g) * torch.tensor([150.0, 150.0, 350.0])
        shape[JOINTS_15.root_index] = 0
        self.joints = (roots[:, :, None] + shape).to(dtype)
        self.valid = torch.ones(B, P, 15, dtype=torch.bool)


def batch(scenes, sizes=SMALL):
    """AGR, targets in the frame ahead of each camera, and the cameras of that frame."""
    frame = Frame.ahead(scenes.camera)
    camera = frame.camera(scenes.camera)
    scenes.joints, scenes.camera = frame.from_world(scenes.joints), camera
    maps, targets = synthesise(scenes, sizes.map, noise=None, grid=sizes.grid)
    return maps, targets, camera


def model(sizes=SMALL, **options):
    return VirtualPose(sizes, generator=rng(), **options)


# ---- sizes -----------------------------------------------------------------------------------------------------------------------------


def test_sizes_are_the_papers_and_survive_a_file():
    paper = Sizes()
    assert paper.grid.bins == (80, 80, 24)
    assert paper.grid.size == (8000.0, 8000.0, 2400.0)
    assert (paper.pen_bins, paper.pen_size, paper.sigma, paper.beta, paper.joints, paper.map) == (64, 2000.0, 200.0, 100.0, 15, (240, 128))
    for sizes in (paper, SMALL):
        assert Sizes.from_dict(json.loads(json.dumps(sizes.to_dict()))) == sizes
    assert Sizes.from_dict({"joints": 17, "space_centre": [0, 0, 1100]}) == Sizes(joints=17, space_centre=(0.0, 0.0, 1100.0))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"joint": 15}, "joint"), ({"map": [240]}, "map"), ({"people": 2.5}, "people"), ({"naive": 1}, "naive"), ([], "table"),
        ({"space_size": ["a", 1, 2]}, "space_size"), ({"beta": None}, "beta"), ({"pen_bins": True}, "pen_bins"),
    ],
)  # fmt: skip
def test_bad_sizes(data, said):
    with pytest.raises(InputError, match=said) as e:
        Sizes.from_dict(data, "weights.safetensors")
    assert str(e.value).startswith("weights.safetensors: ")
    assert "\n" not in str(e.value)


def test_weights_survive_a_file(tmp_path):
    ours = model().eval()
    checkpoints.save(tmp_path / "w.safetensors", ours, {"sizes": ours.sizes.to_dict()})
    tensors, facts = checkpoints.load(tmp_path / "w.safetensors")
    again = checkpoints.fill(VirtualPose(Sizes.from_dict(facts["sizes"])), tensors).eval()
    maps, _, camera = batch(Scenes())
    with torch.no_grad():
        a, b = (m(maps.heatmaps, maps.box_map, camera) for m in (ours, again))
    assert torch.equal(a.joints[a.valid], b.joints[b.valid])


def test_same_generator_same_weights():
    a, b, c = model(), model(), VirtualPose(SMALL, generator=rng(1))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters()))
    assert not all(torch.equal(x, y) for x, y in zip(a.parameters(), c.parameters()))


# ---- inference ---------------------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_batch_is_single_and_loop():
    maps, _, camera = batch(Scenes())
    net = model().eval()
    out = net(maps.heatmaps, maps.box_map, camera)
    assert out.valid.any(1).all()
    assert (out.roots[out.valid].norm(dim=-1) > 0).all()
    loop = published.loop_stage(net, maps.heatmaps, maps.box_map, camera)
    close(loop[out.valid], out.joints[out.valid], 0.1)
    assert torch.equal(loop.isnan(), out.joints.isnan())
    for b in range(3):
        one = net(maps.heatmaps[b : b + 1], maps.box_map[b : b + 1], camera[b : b + 1])
        close(one.volume, out.volume[b : b + 1], 1e-4)
        close(one.joints[one.valid], out.joints[b][out.valid[b]], 0.1)


@torch.no_grad()
def test_the_world_does_not_matter_in_a_cameras_own_frame():
    """The same scene elsewhere in the world gives the same answer ahead of the camera, and `Frame.to_world` takes it to the other place."""
    here, there = Scenes(dtype=torch.float64), Scenes(dtype=torch.float64)
    turn, shift = torch.tensor(1.1, dtype=torch.float64), torch.tensor([5000.0, -8000.0, 0.0], dtype=torch.float64)
    A = torch.tensor([[turn.cos(), -turn.sin(), 0], [turn.sin(), turn.cos(), 0], [0, 0, 1]], dtype=torch.float64)
    there.joints = there.joints @ A.T + shift
    c = there.camera
    there.camera = Camera(c.R @ A.T, c.t - (c.R @ A.T @ shift), c.f, c.c, c.size)
    net, outs, frames = model().double().eval(), [], []
    for scenes in (here, there):
        frames.append(Frame.ahead(scenes.camera))
        maps, _, camera = batch(scenes)
        outs.append(net(maps.heatmaps, maps.box_map, camera))
    a, b = outs
    assert torch.equal(a.valid, b.valid)
    close(a.joints[a.valid], b.joints[b.valid], 1e-2)
    worlds = [f.to_world(o.joints) for f, o in zip(frames, outs)]
    close((worlds[0] @ A.T + shift)[a.valid], worlds[1][b.valid], 1e-2)


@torch.no_grad()
def test_nobody_in_any_image():
    maps, targets, camera = batch(Scenes())
    sizes = Sizes.from_dict(SMALL.to_dict() | {"threshold": 100.0})
    out = model(sizes).eval()(torch.zeros_like(maps.heatmaps), torch.zeros_like(maps.box_map), camera)
    assert not out.valid.any()
    assert out.joints.isnan().all()
    assert all(x.isfinite().all() for x in (out.roots, out.scores, out.depth_map, out.volume))
    targets.mask[:] = False
    losses = second_stage(out, targets, targets.factor)
    assert all(x.isfinite() for x in losses.values())
    assert losses["depth"] == losses["pose"] == 0


def test_other_networks_and_candidates_can_be_put_in():
    class Flat(nn.Module):
        """A volume whose highest voxel is (3, 4, 5)."""

        def forward(self, cube):
            assert cube.shape[1:] == (15, 12, 12, 8)
            out = 0 * cube[:, :1]
            out[:, :, 3, 4, 5] = 1
            return out

    maps, _, camera = batch(Scenes())
    net = VirtualPose(Sizes.from_dict(SMALL.to_dict() | {"threshold": 0.5}), net=Flat(), generator=rng()).eval()
    out = net(maps.heatmaps, maps.box_map, camera)
    assert out.valid.tolist() == [[True, False, False, False]] * 3
    close(out.roots[:, 0], SMALL.grid.position([3, 4, 5]).expand(3, 3), 1e-3)
    wanted = Candidates(torch.full((3, 2, 3), 1000.0), torch.ones(3, 2), torch.tensor([[True, False]] * 3))
    out = net(maps.heatmaps, maps.box_map, camera, choose=lambda found: wanted)
    assert torch.equal(out.roots, wanted.position)
    assert out.joints.shape == (3, 2, 15, 3)


def test_maps_of_another_size_are_told():
    maps, _, camera = batch(Scenes())
    with pytest.raises(InputError, match="15 heatmaps of 48 x 24 for a network of 15 heatmaps of 48 x 32"):
        model()(maps.heatmaps[:, :, :24], maps.box_map[:, :, :24], camera)


# ---- training ----------------------------------------------------------------------------------------------------------------------------


def test_what_reaches_what():
    """Pose: PEN alone. Volume: REN's network and, through the gate, the DE. Depth: the DE alone (1.3)."""
    maps, targets, camera = batch(Scenes())
    net = model()

    for name, parts in {"depth": {"ren.de"}, "volume": {"ren.de", "ren.net"}, "pose": {"pen.net", "pen.skip"}}.items():
        net.zero_grad()
        out = net(maps.heatmaps, maps.box_map, camera, choose=lambda found: at_truth(found, targets))
        second_stage(out, targets, targets.factor)[name].backward()
        reached = [k for k, p in net.named_parameters() if p.grad is not None and (p.grad != 0).any()]
        assert {".".join(k.split(".")[:2]) for k in reached} == parts


def at_truth(found, targets):
    valid = targets.mask
    return Candidates(targets.roots + 50.0, valid.float(), valid)


def test_a_few_steps_learn():
    """Adam on one small batch: every loss of the three gets smaller; nothing is NaN although people are missing in one image."""
    scenes = Scenes()
    scenes.mask[1] = False
    maps, targets, camera = batch(scenes)
    net = model()
    optimiser, history = torch.optim.Adam(net.parameters(), 1e-2), []
    for _ in range(60):
        out = net(maps.heatmaps, maps.box_map, camera, choose=lambda found: at_truth(found, targets))
        losses = second_stage(out, targets, targets.factor)
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
        history.append({k: float(v.detach()) for k, v in losses.items()})
    for name in ("depth", "volume", "pose"):
        assert history[-1][name] < 0.8 * history[0][name], (name, history[0], history[-1])


def test_half_precision_keeps_the_geometry():
    """Under autocast the networks are coarse, depths and positions are still float32."""
    maps, targets, camera = batch(Scenes())
    net = model()
    with torch.autocast("cpu", torch.bfloat16):
        out = net(maps.heatmaps, maps.box_map, camera, choose=lambda found: at_truth(found, targets))
        total = sum(second_stage(out, targets, targets.factor).values())
    assert {x.dtype for x in (out.joints, out.depth_map, out.volume, out.detections.depths, total)} == {torch.float32}
    assert total.isfinite()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@torch.no_grad()
def test_gpu_is_cpu():
    maps, _, camera = batch(Scenes())
    net = model().eval()
    at_home = net(maps.heatmaps, maps.box_map, camera)
    cuda = net.cuda()(maps.heatmaps.cuda(), maps.box_map.cuda(), camera.to("cuda"))
    close(cuda.volume.cpu(), at_home.volume, 1e-2)
    assert candidates(cuda.volume, SMALL.grid, 4).position.is_cuda
    assert cuda.joints[cuda.valid].isfinite().all()
