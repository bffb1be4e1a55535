"""TBS, TIF and BDR (§3.1): their parts against slow versions, what each looks at, and the sanity of their geometry."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import close
from torch.nn import functional as F

from vp.camera import Camera
from vp.lab import pictures
from vp.lab.baselines import Calibration
from vp.lab.datasets import load
from vp.lab.train import Plan, train
from vp.nets.bdr import BDR, together
from vp.nets.method import ROOT, MeasuredBy, Views, depth_error, resized
from vp.nets.tbs import TBS, box_depth, crops, square
from vp.nets.tif import TIF, attention
from vp.world.bank import PoseBank
from vp.world.body import cast
from vp.world.scenes import SceneConfig, make_scenes

SIZE, J = (64, 32), 15
SMALL = {"depth": 18, "width": 8}
MAKERS = {
    "TBS": lambda g: TBS(32, 18, 8, generator=g),
    "TIF": lambda g: TIF(bins=16, deconv=16, hidden=32, generator=g, **SMALL),
    "TIF, regression": lambda g: TIF(bins=0, deconv=16, hidden=32, generator=g, **SMALL),
    "BDR": lambda g: BDR(deconv=16, generator=g, **SMALL),
    "BDR, heatmaps": lambda g: BDR(inputs="heatmaps", deconv=16, generator=g, **SMALL),
}
methods = pytest.mark.parametrize("name", MAKERS)


def made_up(B=2, P=3, seed=0, size=SIZE, focal=60.0):
    """`Views` of random numbers; the last person of the last picture is not there."""
    g = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=g)

    span = torch.tensor(size, dtype=torch.float32)
    low = rand(B, P, 2) * span * 0.5
    boxes = torch.cat([low, low + 4 + rand(B, P, 2) * span * 0.4], -1)
    mask = torch.ones(B, P, dtype=torch.bool)
    mask[-1, -1] = False
    joints = boxes[..., None, :2] + rand(B, P, J, 2) * (boxes[..., None, 2:] - boxes[..., None, :2])
    known = (rand(B, P, J) > 0.2) & mask[..., None]
    known[..., ROOT] = mask
    there = mask[..., None, None]
    camera = Camera.from_angles(torch.zeros(B), torch.zeros(B), focal=focal, size=size)
    camera = replace(camera, f=camera.f * camera.f.new_tensor([1.0, 1.2]), c=camera.c + 1.5)
    return Views(rand(B, 3, size[1], size[0]), camera, boxes * there[..., 0], joints * known[..., None], known, mask,
                 (2000 + 5000 * rand(B, P, J)) * known, rand(B, J, size[1], size[0]))  # fmt: skip


def awake(name, seed=0):
    """A method in eval mode whose last layers say something (fresh ones say a constant)."""
    g = torch.Generator().manual_seed(seed)
    method = MAKERS[name](g).eval()
    for p in method.parameters():
        p.data += 0.2 * p.detach().abs().mean().clamp(min=0.1) * torch.randn(p.shape, generator=g)
    return method


@torch.no_grad()
def depths(method, views):
    return method.depths(views)


# ---- parts against slow versions -------------------------------------------------------------------------------------------------------


def test_box_depth_is_that_of_a_2_m_square():
    views = made_up()
    k = box_depth(square(views.boxes), views.camera)
    for b in range(2):
        fx, fy = views.camera.f[b].tolist()
        for p in range(3):
            x0, y0, x1, y1 = views.boxes[b, p].tolist()
            if views.mask[b, p]:
                edge = 1.25 * max(x1 - x0, y1 - y0)
                assert float(k[b, p]) == pytest.approx(math.sqrt(fx * fy * 2000**2 / edge**2), rel=1e-5)


def test_squares_share_the_centre_and_contain_the_box():
    boxes = made_up().boxes[0]
    squares = square(boxes)
    close((squares[:, :2] + squares[:, 2:]) / 2, (boxes[:, :2] + boxes[:, 2:]) / 2, 1e-4)
    close(squares[:, 2] - squares[:, 0], squares[:, 3] - squares[:, 1], 1e-4)
    assert (squares[:, :2] <= boxes[:, :2]).all()
    assert (squares[:, 2:] >= boxes[:, 2:]).all()


def test_crops_by_hand():
    views, size = made_up(), 5
    squares = torch.tensor([[10.3, 4.2, 22.8, 16.7], [-6.0, -9.5, 30.0, 26.5], [50.0, 10.0, 80.0, 40.0]])
    index = torch.tensor([1, 0, 1])
    found = crops(views.image, squares, index, size)
    assert found.shape == (3, 3, size, size)
    W, H = SIZE

    def pixel(b, x, y):
        return views.image[b, :, y, x] if 0 <= x < W and 0 <= y < H else torch.full((3,), 0.5)

    for n in range(3):
        x0, y0, x1, y1 = squares[n].tolist()
        for i in range(size):
            for j in range(size):
                x, y = x0 + (x1 - x0) * (j + 0.5) / size, y0 + (y1 - y0) * (i + 0.5) / size
                u, v, b = math.floor(x), math.floor(y), int(index[n])
                p, q = x - u, y - v
                at = ((1 - p) * (1 - q) * pixel(b, u, v) + p * (1 - q) * pixel(b, u + 1, v)
                      + (1 - p) * q * pixel(b, u, v + 1) + p * q * pixel(b, u + 1, v + 1))  # fmt: skip
                close(found[n, :, i, j], at, 2e-4, (n, i, j))
    assert (found[2, :, -1, -1] == 0.5).all()  # outside: grey


def test_the_crop_of_a_whole_picture_is_the_picture():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    close(crops(image, torch.tensor([[-0.5, -0.5, 15.5, 15.5]]), torch.tensor([0]), 16), image, 1e-5)


def _weights(views, b, p, j, size, sigma, total):
    """Naive heatmap (h, w) of a joint: a Gaussian about where it lies on a map of `size`, of sum 1 if `total`."""
    out = torch.zeros(size[1], size[0], dtype=torch.float64)
    if not (views.mask[b, p] and views.known[b, p, j]):
        return out
    u, v = ((float(views.joints[b, p, j, i]) + 0.5) * size[i] / views.size[i] - 0.5 for i in (0, 1))
    for y in range(size[1]):
        for x in range(size[0]):
            out[y, x] = math.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * sigma**2))
    return out / out.sum() if total else out


def test_attention_is_a_gaussian_of_sum_one():
    views, size = made_up(), (16, 8)
    found = attention(views, size)
    for b, p, j in ((0, 0, 0), (0, 2, 7), (1, 1, 14), (1, 0, ROOT), (1, 2, 3)):
        close(found[b, p, j], _weights(views, b, p, j, size, 1.5, True), 1e-5)
    close(found.sum((-1, -2)), views.known & views.mask[..., None], 1e-5)


def test_heatmaps_of_all_people_are_the_maximum():
    views, size = made_up(), (16, 8)
    found = together(views, size)
    for b in range(2):
        for j in (0, ROOT, 9):
            naive = torch.stack([_weights(views, b, p, j, size, 1.2, False) for p in range(3)]).amax(0)
            close(found[b, j], naive, 1e-5)


def test_joint_depths_are_read_at_the_joint():
    views, g = made_up(size=(64, 32)), torch.Generator().manual_seed(1)
    maps, bdr = torch.rand(2, J, 8, 16, generator=g), awake("BDR")  # 4 px of the picture are one of the map
    x, y = torch.randint(16, (2, 3, J), generator=g), torch.randint(8, (2, 3, J), generator=g)
    at = replace(views, joints=(torch.stack([x, y], -1) + 0.5) * 4 - 0.5)
    found = bdr.joint_depths(maps, at)
    for b in range(2):
        for p in range(3):
            for j in range(J):
                wanted = float(maps[b, j, y[b, p, j], x[b, p, j]]) * bool(views.mask[b, p])
                assert float(found[b, p, j]) == pytest.approx(wanted, abs=1e-5)
    between = replace(views, joints=(torch.stack([x.clamp(max=14) + 0.25, y], -1) + 0.5) * 4 - 0.5)
    left, right = maps[0, 5, y[0, 0, 5], x.clamp(max=14)[0, 0, 5]], maps[0, 5, y[0, 0, 5], x.clamp(max=14)[0, 0, 5] + 1]
    assert float(bdr.joint_depths(maps, between)[0, 0, 5]) == pytest.approx(float(0.75 * left + 0.25 * right), abs=1e-5)


@torch.no_grad()
def test_poses_are_unprojected():
    views, bdr = made_up(focal=600.0), awake("BDR")
    poses = bdr.poses(views)
    depth = bdr.joint_depths(bdr(views)["depth"], views)
    assert poses.shape == (2, 3, J, 3)
    for b, p in views.mask.nonzero().tolist():
        camera = views.camera[b]
        world, ok = camera.unproject(views.joints[b, p].double(), depth[b, p].double())
        assert ok.all()
        close(poses[b, p], camera.to_camera(world), 0.05)
        uv, z, _ = camera.project_camera(poses[b, p].double())
        close(uv, views.joints[b, p], 1e-3)
        close(z[ROOT], bdr.depths(views)[b, p], 1e-2)


def test_gradients():
    g = torch.Generator().manual_seed(0)
    views = made_up()
    views = replace(views, joints=views.joints.double())
    features = torch.rand(2, 3, 4, 8, dtype=torch.float64, generator=g).requires_grad_()
    joints = views.joints.clone().requires_grad_()

    def pooled(features, joints):
        return torch.einsum("bchw,bpjhw->bpjc", features, attention(replace(views, joints=joints), (8, 4)))

    torch.autograd.gradcheck(pooled, (features, joints), fast_mode=True)
    maps, bdr = torch.rand(2, J, 4, 8, dtype=torch.float64, generator=g).requires_grad_(), awake("BDR")
    torch.autograd.gradcheck(lambda m: bdr.joint_depths(m, views), (maps,), fast_mode=True)
    squares, index = square(views.boxes[0]).double(), torch.tensor([0, 1, 1])
    image = views.image.double().requires_grad_()
    torch.autograd.gradcheck(lambda x: crops(x, squares, index, 6), (image,), fast_mode=True)


def test_bins_are_read_by_a_soft_argmax():
    views, tif = made_up(), awake("TIF")
    last = tif.head[-1]
    torch.nn.init.zeros_(last.weight)
    bins = torch.tensor([500 * 80 ** (i / 15) for i in range(16)])  # 0.5 to 40 m, equal steps of the logarithm
    for i, k in ((3, 3), (2, 9)):  # all on one bin; half and half: the geometric mean
        last.bias.data.fill_(-100).index_fill_(0, torch.tensor([i, k]), 10.0)
        wanted = (bins[i] * bins[k]).sqrt() * views.width_mm[:, None] * views.mask
        close(depths(tif, views), wanted, 0.5)


def test_depth_error_counts_roots_in_metres():
    views = made_up()
    said = views.depth[..., ROOT] + torch.tensor([[100.0, -200, 300], [0, 400, 1e6]])
    assert float(depth_error(said, views)) == pytest.approx((0.1 + 0.2 + 0.3 + 0 + 0.4) / 5, rel=1e-4)


def test_resized_averages():
    image = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    assert resized(image, None) is image
    assert resized(image, (64, 32)) is image
    assert resized(image, (32, 16)).shape == (1, 3, 16, 32)
    checks = torch.zeros(1, 3, 32, 64)
    checks[..., ::2] = 1
    close(resized(checks, (32, 16))[..., 2:-2], torch.full((1, 3, 16, 28), 0.5), 0.02)  # no aliasing


# ---- what each method looks at ---------------------------------------------------------------------------------------------------------


@methods
def test_a_seed_makes_the_same_method(name):
    torch.manual_seed(1)
    one = MAKERS[name](torch.Generator().manual_seed(3)).state_dict()
    torch.manual_seed(2)
    two, other = (MAKERS[name](torch.Generator().manual_seed(s)).state_dict() for s in (3, 4))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


@methods
def test_the_truth_is_not_looked_at(name):
    views, method = made_up(), awake(name)
    said = depths(method, views)
    assert torch.equal(said, depths(method, views.without_truth()))
    assert said[views.mask].isfinite().all()
    assert (said[~views.mask] == 0).all()
    assert said.shape == views.mask.shape
    assert views.without_truth().depth.isnan().all()
    assert views.depth.isfinite().all()


@methods
def test_focal_length_scales_depth(name):
    views, method = made_up(), awake(name)
    k = views.camera
    longer = replace(views, camera=replace(k, f=k.f * 1.3))
    close(depths(method, longer) / depths(method, views).clamp(min=1e-6) * views.mask, 1.3 * views.mask, 1e-4)


@methods
def test_what_changes_the_answer(name):
    """image, boxes, joints, heatmaps: which of these each method looks at."""
    views, other, method = made_up(), made_up(seed=7), awake(name)
    looks = {"TBS": {"image", "boxes"}, "BDR, heatmaps": {"heatmaps", "joints"}}.get(name, {"image", "joints"})
    said = depths(method, views)
    for part in ("image", "boxes", "joints", "heatmaps"):
        changed = depths(method, replace(views, **{part: getattr(other, part)}))
        assert bool((changed - said).abs().max() > 1) == (part in looks), part


def test_tbs_sees_only_the_crop():
    views, tbs = made_up(B=1, P=1), awake("TBS")
    views = replace(views, boxes=torch.tensor([[[20.0, 8.0, 32.0, 20.0]]]), mask=torch.ones(1, 1, dtype=torch.bool))
    inside, outside = views.image.clone(), views.image.clone()
    outside[..., :15], outside[..., 36:], inside[..., 26] = 0, 0, 0
    assert torch.equal(depths(tbs, replace(views, image=outside)), depths(tbs, views))
    assert not torch.equal(depths(tbs, replace(views, image=inside)), depths(tbs, views))


@pytest.mark.parametrize("name", ["TIF", "TIF, regression"])
def test_heatmaps_exchanged_between_two_people_exchange_tifs_answers(name):
    views, tif = made_up(), awake(name)
    order = [1, 0, 2]
    exchanged = replace(views, joints=views.joints[:, order], known=views.known[:, order])
    said, now = depths(tif, views), depths(tif, exchanged)
    close(now, said[:, order], 0.05)
    assert (now - said)[:, :2].abs().amax() > 1
    joint = [1, *range(1, J)]  # and another joint's heatmap in place of joint 0's is another answer
    assert ((depths(tif, replace(views, joints=views.joints[:, :, joint])) - said)[views.mask & views.known[..., 0]].abs() > 1).any()


@methods
def test_people_do_not_disturb_each_other(name):
    views, method = made_up(), awake(name)
    alone = replace(views, mask=views.mask & (torch.arange(3) == 1), known=views.known & (torch.arange(3) == 1)[:, None])
    close(depths(method, alone)[:, 1], depths(method, views)[:, 1], 1.0)


@methods
def test_a_picture_of_nobody(name):
    views, method = made_up(), awake(name).train()
    nobody = replace(views, mask=torch.zeros_like(views.mask), known=torch.zeros_like(views.known))
    assert (depths(method, nobody) == 0).all()
    losses = MeasuredBy(method)(nobody)
    sum(losses.values()).backward()
    assert float(losses["depth"].detach()) == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_losses_of_bdr_by_hand():
    views, bdr = made_up(), awake("BDR")
    with torch.no_grad():
        out, losses = bdr(views), bdr.losses(views)
        off = (bdr.joint_depths(out["depth"], views) - views.depth).abs() / 1000
    assert set(losses) == {"depth", "joints", "heatmap"}
    assert float(losses["joints"]) == pytest.approx(float(off[views.known].mean()), rel=1e-4)
    assert float(losses["depth"]) == pytest.approx(float(off[..., ROOT][views.mask].mean()), rel=1e-4)
    wanted = F.mse_loss(out["heatmap"], together(views, (16, 8)))
    assert float(losses["heatmap"]) == pytest.approx(50 * float(wanted), rel=1e-4)
    assert set(awake("BDR, heatmaps").losses(views)) == {"depth", "joints"}


# ---- sanity ----------------------------------------------------------------------------------------------------------------------------


def test_tbs_is_exact_where_size_says_all():
    """One stature, one posture, one orientation, pitch 0, beyond 4 m: the box rule is right to 1 % after one constant."""
    who = cast("panoptic")[torch.tensor([0])]
    g = torch.Generator().manual_seed(0)
    bank = PoseBank.procedural(1, "standing", who, g)
    camera = Camera.from_angles(0.0, 0.0, centre=(0.0, 0.0, 1000.0), focal=1100.0)
    scenes = make_scenes(SceneConfig(camera, (1, 1)), bank, who, 40, 0)
    body = bank.joints[0] - bank.joints[0, ROOT] * torch.tensor([1.0, 1.0, 0.0])
    place = torch.stack([torch.linspace(4000, 10_000, 40), 800 * torch.rand(40, generator=g) - 400, torch.zeros(40)], -1)
    there = torch.ones(40, 1, dtype=torch.bool)
    scenes = replace(scenes, joints=(body + place[:, None])[:, None], valid=bank.valid[:1].expand(40, 1, -1), mask=there)
    seen = scenes.camera.fit(480, 256)
    t = pictures.truth(scenes.joints, scenes.valid, scenes.mask, replace(scenes, camera=seen).boxes(), seen)
    assert t["mask"].all()
    image = torch.rand(40, 3, 256, 480, generator=g)
    views = Views(image, seen, **t)
    said, true = depths(TBS(32, 18, 8, generator=g).eval(), views), t["depth"][..., ROOT]  # untrained: γ is 1
    close(true[:, 0], place[:, 0] + body[ROOT, 0], 1.0)
    constant = (true / said).median()
    off = (constant * said / true - 1).abs()
    assert float(off.max()) < 0.01
    assert float((constant - 1).abs()) > 0.01  # the constant is needed, and not 1 by chance
    pitched = Camera.from_angles(math.radians(35), 0.0, centre=(0.0, 0.0, 4500.0), focal=1100.0)  # the same people from above: not so
    high = replace(scenes, camera=replace(seen, R=pitched.R.expand(40, 3, 3), t=pitched.t.expand(40, 3)))
    t = pictures.truth(scenes.joints, scenes.valid, scenes.mask, high.boxes(), high.camera)
    k = box_depth(square(t["boxes"]), high.camera)[t["mask"]]
    true = t["depth"][..., ROOT][t["mask"]]
    assert float(((true / k).median() * k / true - 1).abs().max()) > 0.05


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return pictures.of_scenes(load("panoptic", "train"), 32, 0, (128, 64), folder=tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize("name", ["TBS", "TIF", "BDR"])
def test_overfits_32_samples(name, few):
    method = {
        "TBS": lambda g: TBS(64, 18, 8, generator=g),
        "TIF": lambda g: TIF(bins=64, deconv=16, hidden=64, generator=g, **SMALL),
        "BDR": lambda g: BDR(deconv=16, generator=g, **SMALL),
    }[name](torch.Generator().manual_seed(0))
    every = few.views(torch.arange(32))
    one = replace(every, mask=every.mask & (every.mask.cumsum(1) == 1))  # the first person of each picture: 32 samples
    blank = depth_error(torch.full_like(one.depth[..., 0], Calibration.of(few).depth), one)
    lots = [few.views(torch.arange(i, i + 16)) for i in (0, 16)]
    lots = [replace(v, mask=v.mask & (v.mask.cumsum(1) == 1)) for v in lots]
    plan = Plan(80, 16, 4e-3, "cosine", 0.05, clip=1.0)
    train(MeasuredBy(method), lambda start, n: lots[start // 16 % 2], plan, device="cpu", label=None)
    error = float(depth_error(depths(method.eval(), one.without_truth()), one))
    assert error < 0.25 * float(blank)
