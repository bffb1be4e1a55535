"""The pictures of the generalization study (§3): what is true of them, counterfactuals, and the streams that training draws from them."""

from dataclasses import fields, replace

import pytest
import torch
from conftest import close

from vp.camera import Camera
from vp.lab import datasets, pictures
from vp.lab.datasets import load
from vp.lab.pictures import Heatmaps, Pictures, Samples, in_mirror
from vp.lab.second_stage import NOISE, Batches, world
from vp.nets.method import ROOT, Views
from vp.nets.tbs import box_depth, square
from vp.nets.virtualpose import Sizes
from vp.skeleton import JOINTS_15

SIZE, J = (64, 32), 15
EQUAL = ("boxes", "joints", "known", "mask", "depth", "stature")


def made_up(n=5, P=3, seed=0, size=SIZE):
    """`Pictures` of random numbers: red is the picture's number, green 100 and blue 200; the first person is always there."""
    g = torch.Generator().manual_seed(seed)
    image = torch.empty(n, 3, size[1], size[0], dtype=torch.uint8)
    image[:, 0], image[:, 1], image[:, 2] = torch.arange(n)[:, None, None], 100, 200
    low = torch.rand(n, P, 2, generator=g) * torch.tensor(size) * 0.5
    boxes = torch.cat([low, low + 5 + 10 * torch.rand(n, P, 2, generator=g)], -1)
    mask = torch.rand(n, P, generator=g) > 0.4
    mask[:, 0] = True
    known = (torch.rand(n, P, J, generator=g) > 0.2) & mask[..., None]
    known[..., ROOT] = mask
    joints = low[:, :, None] + 5 * torch.rand(n, P, J, 2, generator=g)
    depth = 2000 + 3000 * torch.rand(n, P, J, generator=g)
    stature = (1500 + 400 * torch.rand(n, P, generator=g)).masked_fill(~mask, torch.nan)
    camera = Camera.from_angles(torch.zeros(n), torch.zeros(n), focal=50.0, size=size)
    camera = replace(camera, c=camera.c + 1 + torch.arange(n)[:, None])
    return Pictures(image, camera, boxes * mask[..., None], joints * known[..., None], known, mask, depth * known, stature, {"images": "x"})


def numbers(views):
    """(B,) long: which picture each one is."""
    return (views.image[:, 0].flatten(1).amax(1) * 255).round().long()


def plain(*sets, **options):
    return Samples(sets, **{"mirror": 0.0, "colour": 0.0, **options})


def same(a, b, but=()):
    """Are two `Views` or `Pictures` the same to the last bit?"""
    names = [f.name for f in fields(a) if f.name not in ("camera", "sources", *but)]
    cameras = "camera" in but or all(torch.equal(getattr(a.camera, k), getattr(b.camera, k)) for k in ("R", "t", "f", "c"))
    one, two = ([getattr(x, name) for name in names] for x in (a, b))
    return cameras and all(p is q is None or torch.equal(p.nan_to_num(), q.nan_to_num()) for p, q in zip(one, two))


# ---- of scenes -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def dome(folder):
    return pictures.of_scenes(load("panoptic", "train"), 12, 3, SIZE, folder=folder)


def test_truth_by_hand(dome):
    data = load("panoptic", "train")
    counted = 0
    for i in range(12):
        s = data.scenes(1, 3, start=i)
        camera = s.camera[0].fit(*SIZE)
        for p in range(s.mask.shape[1]):
            uv, depth, ok = camera.project(s.joints[0, p, :J].double())
            inside = [bool(s.mask[0, p] and ok[j] and -0.5 <= uv[j, 0] < 63.5 and -0.5 <= uv[j, 1] < 31.5) for j in range(J)]
            assert bool(dome.mask[i, p]) == inside[ROOT]
            for j in range(J):
                known = inside[j] and inside[ROOT]
                assert bool(dome.known[i, p, j]) == known
                close(dome.joints[i, p, j], uv[j] if known else torch.zeros(2), 1e-2)
                close(dome.depth[i, p, j], depth[j] if known else 0, 1.0)
                counted += known
            if inside[ROOT]:
                front = uv[ok & s.valid[0, p, :J]]
                box = dome.boxes[i, p]
                low, high = front.amin(0).clamp(min=-0.5), torch.minimum(front.amax(0), torch.tensor([63.5, 31.5]))
                assert (box[:2] <= low + 1e-3).all()
                assert (box[2:] >= high - 1e-3).all()
                assert float(dome.stature[i, p]) == pytest.approx(float(s.stature[0, p]))
            else:
                assert dome.stature[i, p].isnan()
                assert (dome.boxes[i, p] == 0).all()
    assert counted > 100
    assert all(getattr(dome, k).isfinite().all() for k in ("boxes", "joints", "depth"))


def test_pictures_are_made_once(dome, folder, monkeypatch):
    monkeypatch.setattr(datasets, "render", lambda *a: pytest.fail("rendered again"))
    again = pictures.of_scenes(load("panoptic", "train"), 12, 3, SIZE, folder=folder)
    assert same(again, dome)
    assert again.sources == dome.sources
    monkeypatch.undo()
    other = pictures.of_scenes(load("panoptic", "train"), 12, 4, SIZE, folder=folder)
    assert not same(other, dome)


def test_more_scenes_than_a_block(dome, folder, monkeypatch):
    monkeypatch.setattr(pictures, "BLOCK", 5)
    assert same(pictures.of_scenes(load("panoptic", "train"), 12, 3, SIZE, folder=folder), dome)


def test_through_another_camera_everybody_stays(dome, folder):
    """A counterfactual: joints unprojected from either camera are at the same place in the world."""
    low = pictures.of_scenes(load("panoptic", "train"), 12, 3, SIZE, through="panoptic:14", folder=folder)
    both = dome.known & low.known
    assert both.any(-1).sum() > 10
    assert not torch.equal(dome.image, low.image)
    for i in range(12):
        for p in range(both.shape[1]):
            if both[i, p].any():
                a, b = (x.camera[i].unproject(x.joints[i, p].double(), x.depth[i, p].double())[0][both[i, p]] for x in (dome, low))
                close(a, b, 2.0)
                assert float(dome.stature[i, p]) == float(low.stature[i, p])
    pitch = low.camera.pitch_deg
    assert pitch.std() == 0
    assert float(pitch[0]) == pytest.approx(-4.6)
    assert float(dome.camera.pitch_deg[0]) == pytest.approx(23.6)


def test_another_background_changes_the_picture_alone(folder):
    green, other = (pictures.of_scenes(load("muco", "test"), 6, 0, (32, 32), b, folder=folder) for b in ("green", "test_augmented"))
    assert same(green, other, but=("image",))
    assert not torch.equal(green.image, other.image)
    g, o = green.image.float(), other.image.float()
    screen = (g[:, 1] > g[:, 0] + 30) & (g[:, 1] > g[:, 2] + 30)
    assert screen.float().mean() > 0.2  # a green screen
    assert (g - o).abs().amax(1)[screen].mean() > 20
    assert not ((o[:, 1] > o[:, 0] + 30) & (o[:, 1] > o[:, 2] + 30)).float().mean() > 0.2


def test_between():
    p = made_up(10)
    first, second = p.between(0.0, 0.5), p.between(0.5, 1.0)
    assert len(first) == len(second) == 5
    assert numbers(second.views(torch.arange(5))).tolist() == [5, 6, 7, 8, 9]
    for k in EQUAL:
        assert torch.equal(torch.cat([getattr(first, k), getattr(second, k)]).nan_to_num(), getattr(p, k).nan_to_num())
    assert torch.equal(second.camera.c, p.camera.c[5:])
    assert second.sources == p.sources
    halves = made_up(7)
    assert [len(halves.between(*share)) for share in ((0.0, 0.5), (0.5, 1.0))] in ([3, 4], [4, 3])  # nothing lost, nothing twice


def test_views_people_and_numbers():
    p = made_up(4)
    v = p.views(torch.tensor([2, 0]))
    assert v.image.dtype == torch.float32
    assert v.image.max() <= 1
    assert numbers(v).tolist() == [2, 0]
    close(v.image[:, 1:, 0, 0] * 255, [[100, 200]] * 2, 1e-4)
    assert torch.equal(v.depth, p.depth[[2, 0]])
    assert v.heatmaps is None
    assert v.size == SIZE
    assert p.people().tolist() == [[i, k] for i in range(4) for k in range(3) if p.mask[i, k]]
    assert pictures.counted(p) == {"pictures": 4, "people": int(p.mask.sum())}


# ---- streams ---------------------------------------------------------------------------------------------------------------------------


def test_a_stream_is_the_same_whenever_asked():
    stream = Samples((made_up(20),), 5)
    assert same(stream(16, 8), stream(16, 8))
    assert numbers(plain(made_up(20), seed=5)(16, 8)).tolist() != numbers(plain(made_up(20), seed=5)(24, 8)).tolist()
    assert not same(stream(16, 8), replace(stream, seed=6)(16, 8))


def test_arms_see_the_same_scenes_in_the_same_order():
    """Two arms whose pictures differ draw the same ones, mirrored and stretched alike."""
    one, two = made_up(20), replace(made_up(20), image=255 - made_up(20).image)
    a, b = Samples((one,), 5)(0, 32), Samples((two,), 5)(0, 32)
    assert same(a, b, but=("image",))
    assert not torch.equal(a.image, b.image)


def test_everything_is_drawn_and_belongs_together():
    p = made_up(20)
    v = plain(p)(0, 300)
    which = numbers(v)
    assert set(which.tolist()) == set(range(20))
    assert same(v, p.views(which), but=("image",))  # neither mirrored nor stretched
    close(v.image, p.views(which).image, 1e-6)


def test_several_sets_are_drawn_in_equal_shares_and_padded():
    few, many = made_up(10, P=2), made_up(10, P=4, seed=1)
    many.image[:, 0] += 100
    v = plain(few, many)(0, 400)
    which = numbers(v)
    assert 160 < int((which < 100).sum()) < 240
    assert v.mask.shape == (400, 4)
    assert not v.mask[which < 100][:, 2:].any()
    for part, p, at in ((which < 100, few, 0), (which >= 100, many, 100)):
        P, truth = p.mask.shape[1], p.views(which[part] - at)
        for k in ("boxes", "joints", "known", "mask", "depth"):
            assert torch.equal(getattr(v, k)[part][:, :P], getattr(truth, k))
            assert not getattr(v, k)[part][:, P:].any()
        assert torch.equal(v.camera.c[part], truth.camera.c)


def test_draws_belong_to_a_picture_wherever_it_stands():
    """Drawn from two equal sets instead of one, the same pictures come, each mirrored and stretched as it was, in another order."""
    p = made_up(20)
    p.image[:, 1] = p.image[:, 0] = 100
    p = replace(p, depth=p.depth + 10.0 * torch.arange(20)[:, None, None])

    def said(*sets):
        v = Samples(sets, 3)(0, 64)
        return sorted((float(d), round(float(c), 3), round(float(blue), 5))
                      for d, c, blue in zip(v.depth[:, 0, ROOT], v.camera.c[:, 0], v.image[:, 2, 0, 0]))  # fmt: skip

    assert said(p, p) == said(p)
    straight, v = plain(p, seed=3)(0, 64), Samples((p,), 3)(0, 64)
    mirrored = (straight.camera.c[:, 0] - v.camera.c[:, 0]).abs() > 1e-6
    assert 16 < int(mirrored.sum()) < 48
    assert same(in_mirror(straight, mirrored), v, but=("image",))


def test_colours_are_stretched_within_their_range():
    p = made_up(20)
    straight, v = plain(p)(0, 200), Samples((p,), mirror=0.0, colour=0.2)(0, 200)
    assert same(straight, v, but=("image",))
    assert v.image.min() >= 0
    assert v.image.max() <= 1
    ratio = v.image[:, 2, 0, 0] / straight.image[:, 2, 0, 0]
    assert 0.7 < float(ratio.min()) < 0.9
    assert 1.1 < float(ratio.max()) < 1.4
    assert ((v.image[:, 1] / straight.image[:, 1])[:, 0, 0] - ratio).abs().max() > 0.05  # each channel on its own
    bright = replace(p, image=torch.full_like(p.image, 255))
    assert Samples((bright,))(0, 50).image.max() <= 1


# ---- mirror ----------------------------------------------------------------------------------------------------------------------------


def test_mirrored_pictures_are_pictures_of_a_mirrored_world(dome):
    """Points with x turned to -x, seen by the mirrored camera, lie where the mirrored joints are, left called right."""
    v = dome.views(torch.arange(12))
    m = in_mirror(v, torch.ones(12, dtype=torch.bool))
    checked = 0
    for b, p in v.mask.nonzero().tolist():
        k = v.camera[b]
        xy, _ = k.normalise(v.joints[b, p].double())
        there = torch.cat([xy, torch.ones(J, 1)], -1) * v.depth[b, p, :, None] * torch.tensor([-1.0, 1.0, 1.0])
        uv, depth, _ = m.camera[b].project_camera(there)
        for j, name in enumerate(JOINTS_15.joints):
            swap = {"left": "right", "right": "left"}.get(name.partition("_")[0])
            i = JOINTS_15.index(f"{swap}_{name.partition('_')[2]}") if swap else j
            assert bool(m.known[b, p, i]) == bool(v.known[b, p, j])
            if v.known[b, p, j]:
                close(m.joints[b, p, i], uv[j], 1e-2)
                close(m.depth[b, p, i], depth[j], 1e-1)
                checked += swap is not None
    assert checked > 50
    assert torch.equal(m.mask, v.mask)
    assert torch.equal(m.depth[..., ROOT], v.depth[..., ROOT])
    assert (m.boxes[..., 2:] > m.boxes[..., :2])[v.mask].all()
    assert (m.boxes[~v.mask] == 0).all()
    close(box_depth(square(m.boxes), m.camera)[v.mask], box_depth(square(v.boxes), v.camera)[v.mask], 0.5)
    inside = (m.joints >= m.boxes[:, :, None, :2] - 0.01) & (m.joints <= m.boxes[:, :, None, 2:] + 0.01)
    assert inside[m.known].all()


def test_what_is_painted_on_a_joint_stays_on_it():
    p = made_up(3)
    v = p.views(torch.arange(3))
    v.joints[:, 0, ROOT] = torch.tensor([[3.0, 4.0], [50.0, 20.0], [63.0, 0.0]])
    for b, (x, y) in enumerate(v.joints[:, 0, ROOT].long().tolist()):
        v.image[b, :, y, x] = 1
    m = in_mirror(v, torch.tensor([True, False, True]))
    for b, x in enumerate((60, 50, 0)):
        assert m.joints[b, 0, ROOT, 0] == x
        assert (m.image[b, :, int(m.joints[b, 0, ROOT, 1]), x] == 1).all()


def test_two_mirrors_are_none(dome):
    v, some = dome.views(torch.arange(12)), torch.arange(12) % 2 == 0
    twice = in_mirror(in_mirror(v, some), some)
    assert torch.equal(twice.image, v.image)
    assert torch.equal(twice.known, v.known)
    assert torch.equal(twice.depth, v.depth)
    close(twice.joints, v.joints, 1e-4)
    close(twice.boxes, v.boxes, 1e-4)
    assert same(in_mirror(v, torch.zeros(12, dtype=torch.bool)), v)


# ---- heatmaps --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    return world()


def on_joint(views):
    """Heat at the pixel of each known joint, (N,)."""
    b, p, j = views.known.nonzero(as_tuple=True)
    x, y = views.joints[b, p, j].round().long().unbind(-1)
    w, h = views.size
    return views.heatmaps[b, j, y.clamp(0, h - 1), x.clamp(0, w - 1)]


def test_heatmaps_are_a_stream_of_scenes_without_pictures(data):
    stream = Heatmaps(Batches(data, Sizes(map=(56, 32)), None, seed=4))
    v = stream(8, 6)
    assert isinstance(v, Views)
    assert same(v, stream(8, 6))
    assert not same(v, stream(16, 6))
    assert v.heatmaps.shape == (6, J, 32, 56)
    assert v.size == (56, 32)
    assert (v.image == 0).all()
    assert v.image.shape == (6, 3, 1, 1)
    heat = on_joint(v)
    assert len(heat) > 50
    assert (heat > 0.6).float().mean() > 0.95


def test_test_heatmaps(data):
    blocks = [data.scenes(4, 9), data.scenes(3, 9, start=4)]
    p = pictures.of_heatmaps(blocks, (56, 32))
    assert len(p) == 7
    assert same(p, pictures.of_heatmaps(blocks, (56, 32)))
    assert p.sources["images"] == "computed"
    v = p.views(torch.arange(7))
    assert (on_joint(v) > 0.6).float().mean() > 0.95
    world = v.camera[0].unproject(v.joints[0, 0].double(), v.depth[0, 0].double())[0]
    known = v.known[0, 0]
    close(world[known], blocks[0].joints[0, 0, :J][known], 5.0)
    assert (p.stature.isnan() == ~p.mask).all()
    noisy = pictures.of_heatmaps(blocks, (56, 32), NOISE)
    assert same(noisy, p, but=("heatmaps",))
    assert not torch.equal(noisy.heatmaps, p.heatmaps)

