"""The 2D network: its maps, its shapes, ImageNet weights, learning, files and cache."""

from dataclasses import replace

import pytest
import torch
from conftest import close

from vp.__main__ import main
from vp.errors import InputError
from vp.lab import backbone as lab
from vp.lab.augment import Change
from vp.lab.labelled import Labelled, Stream, targets
from vp.lab.profiles import COMPACT, COMPACT_2D, PROFILES, TwoD, resolve
from vp.lab.train import Plan
from vp.nets import checkpoints
from vp.nets.backbone import MEAN, STD, STRIDE, Backbone, Shape
from vp.nets.resnet import ResNet
from vp.skeleton import JOINTS_15
from vp.world.agr import SKELETONS

THIN = Shape(15, (96, 64), 18, 8, 16, skips=True, box_unit=2.0, init_std=None)
PLAIN = replace(THIN, skips=False)


def net(shape=THIN, seed=0):
    return Backbone(shape, torch.Generator().manual_seed(seed)).eval()


@pytest.mark.parametrize("shape", [THIN, PLAIN, replace(THIN, depth=50, joints=17), replace(PLAIN, depth=152, width=4)])
def test_maps_are_a_quarter_of_the_picture(shape):
    heatmaps, box_map = net(shape).agr(torch.rand(2, 3, 64, 96))
    assert heatmaps.shape == (2, shape.joints, 16, 24)
    assert box_map.shape == (2, 4, 16, 24)
    assert shape.map == (24, 16)


def test_without_skips_it_is_the_published_network():
    b = net(PLAIN)
    plain = ResNet(18, 3, {"heatmap": 15, "box": 4}, 8, 16, init_std=None).eval()
    plain.load_state_dict(b.net.state_dict())
    x = torch.rand(1, 3, 64, 96)
    out = plain((x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1))
    found = b(x)
    close(found["heatmap"].detach(), out["heatmap"].detach(), 1e-6)
    close(found["box"].detach(), 2.0 * out["box"].detach(), 1e-5)  # in units of 2 px


def test_skips_matter():
    b, x = net(), torch.rand(1, 3, 64, 96)
    before = b(x)["heatmap"]
    for lateral in b.net.lateral:
        kept = lateral.weight.detach().clone()
        torch.nn.init.zeros_(lateral.weight)
        assert not torch.allclose(b(x)["heatmap"], before, atol=1e-9)
        lateral.weight.data = kept


def test_agr_is_clamped_and_the_flip_test_is_symmetric():
    b, x = net(), torch.rand(2, 3, 64, 96)
    b.net.heads["box"][-1].bias.data.fill_(-5.0)
    b.net.heads["heatmap"].bias.data.copy_(torch.linspace(-2, 3, 15))
    heatmaps, box_map = b.agr(x)
    assert (heatmaps.amin(), heatmaps.amax(), box_map.amax()) == (0, 1, 0)
    b = net()
    one, two = b.agr(x, flip=True), b.agr(x.flip(-1), flip=True)
    close(two[0].flip(-1)[:, JOINTS_15.flip_order], one[0], 1e-5)
    close(two[1].flip(-1)[:, [2, 1, 0, 3]], one[1], 1e-4)
    assert not torch.allclose(b.agr(x)[0], one[0], atol=1e-6)
    with pytest.raises(InputError, match="pictures of shape"):
        b.agr(torch.rand(1, 3, 96, 64))


def test_shapes_from_files():
    assert Shape.from_dict(THIN.to_dict()) == THIN
    assert Shape.from_dict({"depth": 50, "heads": {"heatmap": 17, "box": 4, "depth": 1}}) == Shape(17, depth=50)
    for bad in (None, [], {"depth": 34}, {"width": 0}, {"picture": [100, 64]}, {"picture": [64]}, {"joints": 16}, {"skips": 1},
                {"colour": 3}, {"box_unit": 0}, {"depth": [18]}, {"heads": {"heatmap": None}, "depth": 18}, {"init_std": "x"}):  # fmt: skip
        with pytest.raises(InputError):
            Shape.from_dict(bad)


def test_the_two_halves_of_a_profile_fit():
    for profile in PROFILES.values():
        assert profile.backbone.shape.map == tuple(profile.second_stage.sizes.map)
        assert profile.backbone.shape.joints == profile.second_stage.sizes.joints
    assert COMPACT_2D.shape.map == tuple(COMPACT.sizes.map)
    assert STRIDE * COMPACT.sizes.map[0] == COMPACT_2D.shape.picture[0]
    paper = resolve("paper").backbone
    assert paper.shape.depth == 152
    assert paper.shape.picture == (960, 512)
    assert (paper.plan.steps, paper.plan.batch, paper.plan.lr, paper.heat, paper.box) == (80_000, 24, 1e-4, 10_000, 0.1)


# ---- ImageNet --------------------------------------------------------------------------------------------------------------------------


def imagenet(width=8, depth=18, seed=5):
    """A state dict under torchvision's names."""
    g = torch.Generator().manual_seed(seed)
    trunk = ResNet(depth, 3, {}, width, 0, init_std=None, generator=g)
    state = {k: t + 0.01 * torch.randn(t.shape, generator=g) if t.is_floating_point() else t for k, t in trunk.state_dict().items()}
    return state | {"fc.weight": torch.randn(1000, trunk.channels_out), "fc.bias": torch.zeros(1000)}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_imagenet_weights(tmp_path, suffix):
    state, path = imagenet(), tmp_path / f"resnet18{suffix}"
    if suffix == ".pth":
        old = {k: t for k, t in state.items() if not k.endswith("num_batches_tracked")}
        torch.save(old, path)
    else:
        from safetensors.torch import save_file

        save_file({k: t.contiguous() for k, t in state.items()}, path)
    b, fresh = net(), net()
    assert b.load_imagenet(path) is b
    for k, t in b.net.state_dict().items():
        trunk = k in state
        assert trunk == k.startswith(("conv1", "bn1", "layer"))
        assert torch.equal(t, state[k] if trunk else fresh.net.state_dict()[k]), k


def test_imagenet_weights_that_do_not_fit(tmp_path):
    path = tmp_path / "x.pth"
    bad = imagenet()
    bad["layer1.0.conv1.weight"] = bad["layer1.0.conv1.weight"] * torch.nan
    for state, said in (
        (imagenet(16), "has shape"), (imagenet(depth=50), "unknown weights"),
        ({k: t for k, t in imagenet().items() if "layer4" not in k}, "missing"), ({"features.0.weight": torch.zeros(1)}, "unknown"),
        ([1, 2], "not a dict"), (bad, "not finite"),
    ):  # fmt: skip
        torch.save(state, path)
        with pytest.raises(InputError, match=said):
            net().load_imagenet(path)
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="damaged"):
        net().load_imagenet(path)
    with pytest.raises(InputError, match="no such file"):
        net().load_imagenet(tmp_path / "none.pth")


# ---- learning --------------------------------------------------------------------------------------------------------------------------


def dots(n=8, size=(96, 64), seed=0):
    """`Labelled` pictures of one stick person each: every joint a square of its own colour on grey."""
    g = torch.Generator().manual_seed(seed)
    J = 15
    middle = torch.tensor(size) * (0.3 + 0.4 * torch.rand(n, 1, 1, 2, generator=g))
    uv = middle + torch.tensor([14.0, 24.0]) * (2 * torch.rand(n, 1, J, 2, generator=g) - 1)
    image = torch.full((n, 3, size[1], size[0]), 90, dtype=torch.uint8)
    colours = (255 * torch.rand(J, 3, generator=g)).to(torch.uint8)
    for i in range(n):
        for j in range(J):
            x, y = uv[i, 0, j].round().long().tolist()
            image[i, :, max(0, y - 1) : max(0, y + 2), max(0, x - 1) : max(0, x + 2)] = colours[j][:, None, None]
    present = torch.ones(n, 1, J, dtype=torch.bool)
    content = torch.tensor([-0.5, -0.5, size[0] - 0.5, size[1] - 0.5]).expand(n, 4)
    boxes, depth = torch.full((n, 1, 4), torch.nan), torch.full((n, 1), 3000.0)
    return Labelled(image, uv, present, ~present, boxes, depth, content, size, {"images": "x"})


TINY = TwoD(THIN, Plan(steps=250, batch=8, lr=1e-2, schedule="cosine", warmup=0.05, clip=1.0), 8, None, 1000.0, 0.1, 5.0, True)


def test_it_learns_eight_pictures_by_heart(tmp_path):
    made = dots()
    t = lab.learn(TINY, lambda: (made,), "dots", folder=tmp_path, device="cpu")
    heatmaps, box_map = t.backbone.agr(made.images(torch.arange(8)))
    truth, _ = targets(made.uv, made.present, made.missing, made.boxes, made.depth, made.content, made.size, THIN.map)
    untrained = net().agr(made.images(torch.arange(8)))[0]
    assert (heatmaps - truth.heatmaps).square().mean() < 0.2 * (untrained - truth.heatmaps).square().mean()
    peak = heatmaps.flatten(2).argmax(-1)
    off = torch.stack([peak % 24, peak // 24], -1) - (made.uv[:, 0] + 0.5) / 4 + 0.5
    assert off.norm(dim=-1).median() < 1.0
    stamped = truth.box_map.sum(1, keepdim=True).expand_as(box_map) > 0
    assert (box_map - truth.box_map)[stamped].abs().mean() < 1.0
    assert t.facts["losses"]["heatmap"][-1] < 0.3 * t.facts["losses"]["heatmap"][0]


def test_cache_files_and_seeds(tmp_path):
    made, quick = dots(), replace(TINY, plan=replace(TINY.plan, steps=2))
    first = lab.learn(quick, lambda: (made,), "dots", folder=tmp_path, device="cpu")
    again = lab.learn(quick, lambda: pytest.fail("trained again"), "dots", folder=tmp_path, device="cpu")
    x = torch.rand(1, 3, 64, 96)
    assert again.path == first.path
    assert again.facts == first.facts
    assert torch.equal(again.backbone.agr(x)[0], first.backbone.agr(x)[0])
    assert again.facts["samples_seen"] == 16
    others = [lab.learn(quick, lambda: (made,), "dots", 1, folder=tmp_path), lab.learn(quick, lambda: (made,), "others", folder=tmp_path),
              lab.learn(replace(quick, stamp=False), lambda: (made,), "dots", folder=tmp_path)]  # fmt: skip
    assert len({t.path for t in (first, *others)}) == 4
    assert not torch.equal(others[0].backbone.agr(x)[0], first.backbone.agr(x)[0])
    first.path.write_bytes(first.path.read_bytes()[:100])  # damaged: learned again, to the same bits
    assert torch.equal(lab.learn(quick, lambda: (made,), "dots", folder=tmp_path).backbone.agr(x)[0], first.backbone.agr(x)[0])
    assert not list(tmp_path.glob("*.state"))


def test_first_weights_from_imagenet(tmp_path):
    path, quick = tmp_path / "r.pth", replace(TINY, plan=replace(TINY.plan, steps=1, lr=0.0))
    state = imagenet()
    torch.save(state, path)
    t = lab.learn(quick, lambda: (dots(),), "dots", folder=tmp_path, imagenet=path)
    assert torch.equal(t.backbone.net.conv1.weight, state["conv1.weight"])
    assert t.facts["imagenet"]
    torch.save(imagenet(seed=6), path)  # the content decides, not the name
    other = lab.learn(quick, lambda: (dots(),), "dots", folder=tmp_path, imagenet=path)
    assert not torch.equal(other.backbone.net.conv1.weight, state["conv1.weight"])


def test_files(tmp_path, shared):
    b, path = net(), tmp_path / "b.safetensors"
    lab.save(path, b, {"steps": 3})
    t, x = lab.load(path), torch.rand(1, 3, 64, 96)
    assert torch.equal(t.backbone.agr(x)[1], b.agr(x)[1])
    assert t.facts["steps"] == 3
    for facts in ({"backbone": {"depth": 20}}, {"backbone": None}, {"backbone": PLAIN.to_dict()}, {}):
        checkpoints.save(path, {f"backbone.{k}": v for k, v in b.net.state_dict().items()}, facts)
        with pytest.raises(InputError):
            lab.load(path)
    with pytest.raises(InputError, match="no weights named backbone"):
        lab.load(lab.models.SHIPPED)


def test_a_converted_published_backbone_is_read(tmp_path):
    published = ResNet(50, 3, {"heatmap": 15, "box": 4, "depth": 1})
    checkpoints.save(tmp_path / "p.safetensors", {f"backbone.{k}": t for k, t in published.state_dict().items()},
                     {"backbone": {"depth": 50, "heads": {"heatmap": 15, "box": 4, "depth": 1}}})  # fmt: skip
    b = lab.load(tmp_path / "p.safetensors").backbone
    assert b.shape == Shape(depth=50)
    x = torch.rand(1, 3, 64, 96)
    published.eval()
    close(b(x)["box"].detach(), published(b._normal(x))["box"].detach(), 1e-6)


def test_masked_joints_cost_nothing():
    made = dots()
    made.missing[:, :, 5], made.present[:, :, 5] = True, False
    batch = Stream((made,), THIN, None)(0, 4)
    objective = lab.Seen2D(net(), replace(TINY, focus=3.0))
    cost = objective(batch)
    with torch.no_grad():
        objective.backbone.net.heads["heatmap"].bias[5] += 7.0
    assert objective(batch)["heatmap"] == cost["heatmap"]
    with torch.no_grad():
        objective.backbone.net.heads["heatmap"].bias[6] += 7.0
    assert objective(batch)["heatmap"] > cost["heatmap"]


def test_losses_by_hand():
    batch, b = Stream((dots(),), THIN, None)(0, 3), net()
    out, agr = b(batch.image), batch.agr
    published = lab.Seen2D(b, TwoD(THIN))(batch)
    close(published["heatmap"].detach(), 1e4 * float(((out["heatmap"] - agr.heatmaps) ** 2).mean().detach()), 1e-2)
    errors = []
    for i in range(3):
        x, y = (agr.roots[i, 0] + 0.5).floor().long().tolist()
        errors.append((out["box"][i, :, y, x] - agr.distances[i, 0]).abs().mean().item())
    close(published["box"].detach(), 0.1 * sum(errors) / 3, 1e-4)
    stamped = lab.Seen2D(b, replace(TwoD(THIN), stamp=True))(batch)["box"]
    here = (agr.box_map.sum(1) > 0)[:, None].expand(-1, 4, -1, -1)
    close(stamped.detach(), 0.1 * float((out["box"] - agr.box_map)[here].abs().mean().detach()), 1e-4)
    assert not torch.allclose(published["box"], stamped)
    focused = lab.Seen2D(b, replace(TwoD(THIN), focus=4.0))(batch)["heatmap"]
    by_hand = ((1 + 4 * agr.heatmaps) * (out["heatmap"] - agr.heatmaps) ** 2).mean()
    close(focused.detach(), 1e4 * by_hand.detach(), 1e-2)


def test_nobody_costs_no_box_and_has_a_gradient():
    made = dots(2)
    made.present[:] = False
    losses = lab.Seen2D(net(), TINY)(Stream((made,), THIN, Change())(0, 2))
    assert losses["box"] == 0
    sum(losses.values()).backward()


def test_sets_of_twins_and_folders(shared):
    small = replace(TINY, pictures=4, shape=replace(THIN, joints=17))
    made = lab.sets(small, roots={"coco": shared / "data" / "coco"})
    assert [len(s) for s in made] == [4, 4, 2]
    assert made[2].sources["images"] == "coco"
    assert all(s.uv.shape[2] == 17 for s in made)
    head_top = SKELETONS[17].index("head_top")
    assert made[2].missing[..., head_top].any()
    assert not made[2].present[..., head_top].any()
    batch = Stream(made, small.shape)(0, 12)
    assert batch.image.shape == (12, 3, 64, 96)
    assert batch.agr.heatmaps.isfinite().all()


# ---- vp train --net 2d -------------------------------------------------------------------------------------------------------------------


def test_the_command_trains_on_twins_and_on_folders(tmp_path, monkeypatch, capsys):
    folders = {}
    real = lab.sets
    monkeypatch.setattr(lab, "sets", lambda *a: (folders.update(a[3]), (dots(),))[1])
    (tmp_path / "photos").mkdir()
    out = tmp_path / "net.safetensors"
    assert main(["train", "--net", "2d", "--profile", "smoke", "--data", f"coco={tmp_path / 'photos'}", "--out", str(out)]) == 0
    assert folders == {"coco": str(tmp_path / "photos")}
    assert "3 steps on 8 pictures" in capsys.readouterr().out
    made = lab.load(out)
    assert (made.facts["profile"], made.facts["steps"], made.backbone.shape) == ("smoke", 3, PROFILES["smoke"].backbone.shape)
    assert not list(tmp_path.glob("*.state"))
    assert real(replace(TINY, pictures=1, shape=replace(THIN, picture=(64, 32)), change=Change()))[2].swap is not None


@pytest.mark.parametrize(("args", "said"), [
    (["--net", "2d", "--data", "mupots=."], "NAME one of panoptic, muco, coco"),
    (["--net", "2d", "--data", "coco=nowhere"], "NAME=FOLDER"),
    (["--net", "2d", "--cameras", "mupots"], "learns from pictures"),
    (["--data", "coco=."], "add --net 2d"),
    (["--net", "2d", "--imagenet", "nowhere.pth"], "no such file"),
])  # fmt: skip
def test_the_command_says_what_does_not_go_together(args, said, tmp_path, capsys):
    assert main(["train", "--profile", "smoke", *args, "--out", str(tmp_path / "net.safetensors")]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
