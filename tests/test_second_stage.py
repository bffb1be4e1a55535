"""Training samples, frames, wrong cameras, the objectives, and learning by a course."""

import dataclasses
import math
from dataclasses import replace

import pytest
import torch

from vp.camera import Camera
from vp.errors import InputError
from vp.lab.profiles import SMALL, resolve
from vp.lab.second_stage import Batches, CameraError, Course, DepthAlone, Jointly, frames, in_frame, learn, lot, misjudged, world
from vp.lab.train import Plan, Stopped
from vp.nets.ren import Candidates
from vp.nets.virtualpose import VirtualPose
from vp.space import Frame, Grid

TINY = replace(
    SMALL,
    map=(32, 16),
    stride=30,
    space_bins=(8, 8, 8),
    pen_bins=8,
    de_width=8,  # fewer than 8 channels: oneDNN of torch 2.13 writes beyond its memory in the backward pass, where there is only AVX2
    de_deconv=4,
    ren_widths=(4, 4, 4, 4),
    pen_widths=(4, 4, 4, 4),
)


@pytest.fixture(scope="module")
def data():
    return world()


# ---- frames ----------------------------------------------------------------------------------------------------------------------------


def test_frame_ahead_by_hand():
    """A camera at (1, 2, 1.5) m looking along +Y, 20 degree down: X forward is world Y, Y left is world -X, origin at its foot."""
    camera = Camera.from_angles([math.radians(20.0)], [math.pi / 2], centre=[(1000.0, 2000.0, 1500.0)])
    frame = Frame.ahead(camera, start=500.0)
    points = torch.tensor([[[1000.0, 2500.0, 0.0], [1000.0, 5500.0, 700.0], [0.0, 2500.0, 0.0]]], dtype=torch.float64)
    expected = torch.tensor([[[0.0, 0.0, 0.0], [3000.0, 0.0, 700.0], [0.0, 1000.0, 0.0]]], dtype=torch.float64)
    assert torch.allclose(frame.from_world(points), expected, atol=1e-6)
    assert torch.allclose(frame.to_world(expected), points, atol=1e-6)
    inside = frame.camera(camera)
    assert torch.allclose(inside.centre, torch.tensor([[-500.0, 0.0, 1500.0]], dtype=torch.float64), atol=1e-6)
    assert float(inside.yaw) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("kind", ["ahead", "camera", "world"])
def test_a_frame_changes_no_picture(data, kind):
    scenes = data.scenes(4, 3)
    frame = frames(scenes.camera, kind)
    moved = in_frame(scenes, frame)
    a, b = (s.camera[:, None].project(s.joints.double())[0][s.valid] for s in (scenes, moved))
    assert torch.allclose(a, b, atol=0.05)
    back = frame.to_world(moved.joints.double())
    assert torch.allclose(back[scenes.valid], scenes.joints.double()[scenes.valid], atol=0.01)


def test_straight_down_has_a_frame():
    camera = Camera.from_angles([math.pi / 2], [0.0], centre=[(0.0, 0.0, 3000.0)])
    frame = Frame.ahead(camera)
    assert torch.allclose(frame.axes @ frame.axes.mT, torch.eye(3, dtype=torch.float64)[None], atol=1e-9)


def test_unknown_frame(data):
    with pytest.raises(InputError, match="no frame"):
        frames(data.scenes(1).camera, "moon")


def test_grid_position_and_holds():
    grid = Grid((0.0, 0.0, 0.0), (300.0, 200.0, 100.0), (4, 3, 2))
    points = grid.points()
    assert points.shape == (24, 3)
    index = torch.tensor([[0, 0, 0], [3, 2, 1], [1, 2, 0]])
    assert grid.position(index).tolist() == [[-150, -100, -50], [150, 100, 50], [-50, 100, -50]]
    assert torch.equal(points[1 * 6 + 2 * 2 + 0], grid.position(index[2]))
    assert grid.holds(torch.tensor([[149.0, 0.0, 0.0], [151.0, 0.0, 0.0]])).tolist() == [True, False]


# ---- wrong cameras -----------------------------------------------------------------------------------------------------------------------


def test_misjudged_camera():
    camera = Camera.from_angles([0.2], [1.0], roll=[0.1], centre=[(0.0, 0.0, 1500.0)])
    wrong = misjudged(camera, torch.tensor([0.05], dtype=torch.float64), torch.tensor([80.0], dtype=torch.float64))
    assert torch.allclose(wrong.R @ wrong.R.mT, torch.eye(3, dtype=torch.float64)[None], atol=1e-9)
    level = misjudged(Camera.from_angles([0.2], [1.0]), torch.tensor([0.05], dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    assert float(level.pitch) == pytest.approx(0.25, abs=1e-9)
    assert float(wrong.centre[0, 2]) == pytest.approx(1580.0)


def test_a_wrong_camera_takes_the_truth_along(data):
    """In the camera frame and in the picture nothing changes, whatever camera is stated."""
    scenes = data.scenes(4, 3)
    stated = CameraError(3.0, 100.0)(scenes.camera, torch.Generator().manual_seed(0))
    assert (stated.pitch - scenes.camera.pitch).abs().max() > 0.01
    moved = in_frame(scenes, frames(stated), stated)
    a = scenes.camera.to_camera(scenes.joints.flatten(1, 2).double())
    b = moved.camera.to_camera(moved.joints.flatten(1, 2))
    ok = scenes.valid.flatten(1)
    assert torch.allclose(a[ok], b.double()[ok], atol=0.05)


# ---- batches -----------------------------------------------------------------------------------------------------------------------------


def test_batches_are_a_stream(data):
    """Asked twice, the same bits; another place, other scenes; noise differs between steps."""
    batches = Batches(data, TINY, windows=0.5)
    a, b, c = batches(32, 4), batches(32, 4), batches(36, 4)
    assert torch.equal(a.agr.heatmaps, b.agr.heatmaps)
    assert torch.equal(a.targets.volume, b.targets.volume)
    assert not torch.equal(a.agr.heatmaps, c.agr.heatmaps)
    assert a.targets.volume.shape == (4, 8, 8, 8)


def test_noise_depends_on_the_seed_alone_and_not_on_the_camera_error(data):
    """The same scenes with another seed of noise have other heatmaps; what is drawn for cameras is no noise of maps."""

    class Same:  # the same scenes whatever the seed
        def scenes(self, n, seed, device, start):
            return data.scenes(n, 7, device, start=start)

    a, b, c = (Batches(Same(), TINY, seed=s)(0, 4).agr.heatmaps for s in (0, 1, 2))
    assert not torch.equal(a, b)
    assert not torch.equal(b, c)
    assert len({lot(s, w, i) for s in range(10) for w in ("camera", "noise") for i in range(0, 320, 32)}) == 200
    assert torch.Generator().manual_seed(lot(0, "noise", 0)).initial_seed() < 2**32, "a CPU generator takes 32 bits"


def test_batches_obey_frame_and_camera_error(data):
    level, tilted, wrong = (
        Batches(data, TINY, noise=None, **o)(0, 8) for o in ({}, {"frame": "camera"}, {"camera_error": CameraError(5.0, 0.0)})
    )
    assert torch.allclose(tilted.camera.R, torch.eye(3).expand(8, 3, 3), atol=1e-5)
    assert not torch.allclose(level.camera.R, tilted.camera.R, atol=0.1)
    assert torch.allclose(level.agr.heatmaps, tilted.agr.heatmaps, atol=1e-3)
    off = (wrong.camera.pitch - level.camera.pitch).abs()
    assert off.max() > 0.03
    assert torch.allclose(level.agr.heatmaps, wrong.agr.heatmaps, atol=1e-3), "the picture is what it was"


def test_targets_are_in_the_frame(data):
    batch = Batches(data, TINY, noise=None)(0, 8)
    t, mask = batch.targets, batch.targets.mask
    depth = batch.camera.to_camera(t.roots)[..., 2]
    assert torch.allclose(depth[mask], t.depth[mask], atol=0.5)
    assert torch.allclose(t.depth_norm[mask] * t.factor[:, None].expand_as(mask)[mask], t.depth[mask], rtol=1e-5)
    world_roots = batch.frame.to_world(t.roots.double())
    assert torch.allclose(world_roots[mask][:, 2], t.roots[mask][:, 2].double(), atol=0.5), "height above the floor is kept"


def test_windows_move_people_along_the_view(data):
    near, far = (Batches(data, TINY, noise=None, windows=w)(0, 16) for w in (0.0, 1.0))
    shift = (near.targets.roots - far.targets.roots)[near.targets.mask]
    assert torch.allclose(shift[:, 1:], torch.zeros_like(shift[:, 1:]), atol=0.1)
    assert (shift[:, 0] >= 0).all()
    assert shift[:, 0].max() > 1000


def test_sources_and_splits():
    assert world().sources == {"poses": "procedural", "cameras": "universal", "images": "computed"}
    train, test = world(), world(split="test")
    assert not torch.equal(train.people.stature, test.people.stature)
    assert not torch.equal(train.scenes(2, 0).camera.R, test.scenes(2, 0).camera.R)
    for wrong in ("bvh", "procedural:x", "magic:/tmp"):
        with pytest.raises(InputError, match="unknown poses"):
            world((wrong,))


def test_recorded_poses(shared):
    data = world((f"bvh:{shared / 'data' / 'bvh'}", "procedural"), "panoptic:14")
    assert data.sources["poses"] == "bvh+procedural"
    scenes = data.scenes(8, 0)
    assert scenes.mask.any()
    assert abs(float(scenes.camera.pitch_deg[0]) + 4.6) < 0.1


# ---- objectives --------------------------------------------------------------------------------------------------------------------------


def model(**options):
    return VirtualPose(replace(TINY, **options), generator=torch.Generator().manual_seed(0))


def test_candidates_near_the_truth(data):
    """REN's nearest candidate where it has one within 500 mm, else the true root moved; who is outside the picture or space is left out."""
    batch, m = Batches(data, TINY)(0, 8), model()
    t = batch.targets
    inside = t.mask & TINY.grid.holds(t.roots.nan_to_num(1e9))
    objective = Jointly(m, jitter=50.0)
    blind = Candidates(torch.zeros(8, 10, 3) - 1e6, torch.zeros(8, 10), torch.zeros(8, 10, dtype=torch.bool))
    out = objective.near_truth(blind, t)
    assert torch.equal(out.valid, inside)
    moved = (out.position - t.roots)[inside]
    assert 20 < float(moved.std()) < 80
    image, person = inside.nonzero()[0]
    seen = blind.position.clone()
    seen[image, 3] = t.roots[image, person] + torch.tensor([100.0, 0.0, 0.0])
    seen[image, 7] = t.roots[image, person] + torch.tensor([0.0, 30.0, 0.0])
    valid = blind.valid.clone()
    valid[image, [3, 7]] = True
    found = objective.near_truth(Candidates(seen, blind.score, valid), t)
    assert torch.allclose(found.position[image, person], seen[image, 3]), "the best, not the nearest of several"
    truth = Jointly(m, pen_on="truth", jitter=0.0).near_truth(Candidates(seen, blind.score, valid), t)
    assert torch.allclose(truth.position[inside], t.roots[inside])


@pytest.mark.parametrize("pen_on", ["both", "candidates"])
def test_people_whom_pen_learns_from_are_drawn_by_lot(data, pen_on, monkeypatch):
    """At most `cubes` of those it would learn from anyway, the same ones each time a batch is seen."""
    batch, m, seen = Batches(data, TINY)(0, 8), model(threshold=0.0), []
    poses = type(m.pen).forward

    def watched(self, heatmaps, camera, centres, valid):
        seen.append((centres.clone(), valid.clone()))
        return poses(self, heatmaps, camera, centres, valid)

    monkeypatch.setattr(type(m.pen), "forward", watched)
    every, some = Jointly(m, pen_on=pen_on), Jointly(m, pen_on=pen_on, cubes=3)
    for objective in (every, some, some):
        m.eval()
        objective(batch)
    (everyone, whole), (position, valid), again = seen
    assert int(whole.sum()) > 3 == int(valid.sum())
    assert (valid <= whole).all()
    assert torch.equal(position[valid], everyone[valid])
    assert torch.equal(valid, again[1])
    assert torch.equal(position[valid], again[0][valid])
    more = Jointly(m, pen_on=pen_on, cubes=1000)
    more(batch)
    assert torch.equal(seen[-1][1], whole)


def test_losses_reach_what_they_should(data):
    """The volume loss reaches the DE through the gate; the pose loss reaches neither DE nor REN; as published."""
    batch = Batches(data, TINY)(0, 8)
    for name, reached in (("depth", {"ren.de"}), ("volume", {"ren.de", "ren.net"}), ("pose", {"pen"})):
        m = model(de_bias=9.0)
        m.train()
        Jointly(m)(batch)[name].backward()
        got = {k.split(".")[0] if k.startswith("pen") else ".".join(k.split(".")[:2]) for k, p in m.named_parameters()
               if p.grad is not None and p.grad.abs().max() > 0}  # fmt: skip
        assert got == reached, name


def test_depth_alone_by_hand(data):
    batch, m = Batches(data, TINY)(0, 4), model()
    m.eval()
    t = batch.targets
    with torch.no_grad():
        maps = m.ren.de(batch.agr.heatmaps)
        loss = float(DepthAlone(m.ren.de, 0.5)(batch)["depth"])
    errors = [abs(float(maps[b].flatten()[t.index[b, p]] * t.factor[b]) - float(t.depth[b, p])) for b, p in t.mask.nonzero().tolist()]
    assert loss == pytest.approx(0.5 * sum(errors) / (len(errors) + 1e-4), rel=1e-4)


COURSE = Course(TINY, Plan(steps=4, batch=2, lr=1e-3), Plan(steps=6, batch=2, lr=1e-3, clip=1.0, schedule="cosine"), "both")


def test_learn_is_deterministic_and_resumes_in_either_part(data, tmp_path, monkeypatch):
    batches = Batches(data, TINY)
    whole, histories = learn(COURSE, batches, label=None)
    assert {k: h.steps for k, h in histories.items()} == {"DE": 4, "all": 6}
    again, _ = learn(COURSE, batches, label=None)
    for part, after in ((DepthAlone, 2), (Jointly, 3)):
        forward, count = part.forward, [0]

        def once(self, batch, forward=forward, count=count, after=after):
            count[0] += 1
            if count[0] == after:
                raise Stopped
            return forward(self, batch)

        path = tmp_path / part.__name__
        with monkeypatch.context() as m:
            m.setattr(part, "forward", once)
            with pytest.raises(Stopped):
                learn(COURSE, batches, path, label=None)
        resumed, known = learn(COURSE, batches, path, resume=True, label=None)
        assert {k: h.steps for k, h in known.items()} == {"DE": 4, "all": 6}
        assert not list(tmp_path.iterdir()), "nothing is left lying about"
        for a, b, c in zip(whole.state_dict().values(), again.state_dict().values(), resumed.state_dict().values(), strict=True):
            assert torch.equal(a, b)
            assert torch.equal(a, c)


def test_a_state_of_other_data_or_options_is_refused(data, tmp_path, monkeypatch):
    forward, count = Jointly.forward, [0]

    def once(self, batch):
        count[0] += 1
        if count[0] == 3:
            raise Stopped
        return forward(self, batch)

    with monkeypatch.context() as m:
        m.setattr(Jointly, "forward", once)
        with pytest.raises(Stopped):
            learn(COURSE, Batches(data, TINY), tmp_path / "x", label=None)
    for course, batches in (
        (replace(COURSE, jitter=999.0), Batches(data, TINY)),
        (COURSE, Batches(data, TINY, frame="camera")),
        (COURSE, Batches(world(cameras="panoptic:14"), TINY)),
    ):
        with pytest.raises(InputError, match="other data or options"):
            learn(course, batches, tmp_path / "x", resume=True, label=None)
    fresh, _ = learn(replace(COURSE, jitter=999.0), Batches(data, TINY), tmp_path / "x", label=None)
    assert not list(tmp_path.iterdir()), "a new training takes over nothing from an old one"
    same, _ = learn(replace(COURSE, jitter=999.0), Batches(data, TINY), label=None)
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), same.state_dict().values(), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_learns_and_measures(data):
    from vp.lab.evaluate import Calibration, measure

    model, _ = learn(COURSE, Batches(data, TINY, windows=0.5, camera_error=CameraError(1.0, 20.0)), device="cuda", label=None)
    scenes = data.scenes(4, 9, "cuda")
    people, _ = measure(model, [scenes], Calibration.of(scenes, TINY))
    assert len(people["DE"].view) > 0


def test_profiles_make_networks():
    for name in ("smoke", "quick"):
        course = resolve(name).course(seed=3)
        assert course.together.seed == course.alone.seed == 3
        VirtualPose(course.sizes)
    assert resolve("paper").course().together == Plan(), "the published plan"
    assert resolve("paper").course().alone is None


@pytest.mark.parametrize("name", ["smoke", "quick", "paper-short", "paper"])
def test_half_the_budget_is_half_of_every_training_and_nothing_else(name):
    def plain(x):  # with the steps of every plan apart
        if dataclasses.is_dataclass(x):
            return {f.name: plain(getattr(x, f.name)) for f in dataclasses.fields(x)}
        return x

    def compared(whole, half, where=""):
        for k, v in whole.items():
            if isinstance(v, dict):
                compared(v, half[k], f"{where}.{k}")
            elif k == "steps":
                assert half[k] == max(1, v // 2), where
            elif (where, k) != ("", "name"):
                assert half[k] == v, (where, k)

    whole, half = resolve(name), resolve(f"{name}-half")
    compared(plain(whole), plain(half))
    double = resolve(f"{name}-double")
    assert double.course().together.steps == 2 * whole.course().together.steps
    assert double.study.plan.steps == 2 * whole.study.plan.steps
    assert (double.name, double.held_out) == (f"{name}-double", whole.held_out)
    assert half.name == f"{name}-half"
    assert resolve(name) == whole
    course = half.course(seed=3)
    assert course.together.seed == 3
    assert 2 * course.together.steps == whole.course(seed=3).together.steps
    with pytest.raises(InputError, match="unknown profile 'tiny-half'"):
        resolve("tiny-half")
