"""Windows of the second stage: who is beside or behind the first space is found, nobody twice, nobody else's answer changes."""

import math
from dataclasses import replace

import pytest
import torch
from test_second_stage import TINY
from torch.nn.functional import pad

from vp.camera import Camera
from vp.lab import evaluation, models
from vp.lab import infer as module
from vp.lab.evaluate import answers, score
from vp.lab.infer import Poses, explains, infer, joined, unexplained
from vp.lab.second_stage import world
from vp.nets.ren import ROOT, Detections
from vp.nets.virtualpose import VirtualPose
from vp.space import Frame
from vp.world.agr import synthesise


@pytest.fixture(scope="module")
def data():
    return world(split="test")


@pytest.fixture(scope="module")
def shipped():
    return models.load()


def farther(scenes, mm):
    """The same scenes with everybody so much farther along the view."""
    ahead = Frame.ahead(scenes.camera).axes[:, :, 0].float()
    return replace(scenes, joints=scenes.joints + mm * ahead[:, None, None])


def wide(n):
    """n cameras of 88° across, 1.5 m above the floor, that look in different directions."""
    return Camera.from_angles(torch.zeros(n), torch.arange(n) * 0.7, centre=[(100.0, -200.0, 1500.0)] * n, focal=1000.0, size=(1920, 1080))


class Oracle(VirtualPose):
    """Sees everybody on the maps, at `error` times his depth, and finds by the truth who is in its space, but not the `blind` ones.

    camera (B);  roots (B, P, 3) mm of the world, NaN where nobody is;  heatmaps hold the number of their image.
    """

    def __init__(self, camera, roots, error=1.0, blind=()):
        super().__init__(TINY)
        self.true, self.roots, self.error, self.blind, self.calls = camera, roots.float(), error, list(blind), []

    def maps(self):
        W, H = TINY.map
        number = torch.arange(float(len(self.roots))).view(-1, 1, 1, 1)
        return number.expand(-1, 15, H, W), number.expand(-1, 4, H, W)

    def forward(self, heatmaps, box_map, camera, factor=None, choose=None, grid=None):
        image = heatmaps[:, 0, 0, 0].long()
        self.calls.append(image.tolist())
        e = super().forward(heatmaps, box_map, camera, factor, choose, grid)
        cam = self.true[image].to_camera(self.roots[image])
        here, more = camera.to_world(cam), e.valid.shape[1] - cam.shape[1]
        uv, _, ok = camera.fit(*TINY.map).project_camera(cam)
        there = ok & self.true.in_image(self.true[image].project_camera(cam)[0])
        found = there & TINY.grid.holds(here)
        found[:, self.blind] = False
        slots, per = (0, 0, 0, more), (0, more)
        valid = pad(found, per)
        roots = pad(here.nan_to_num(0), slots)
        order = torch.arange(1.0, 0.0, -1 / cam.shape[1])[: cam.shape[1]].expand(there.shape)  # the first is the best seen one
        seen = replace(e.detections, roots=pad(uv.nan_to_num(-99), slots), depths=pad(cam[..., 2].nan_to_num(0) * self.error, per),
                       scores=pad(order, per), valid=pad(there, per))  # fmt: skip
        return replace(e, roots=roots, joints=roots[:, :, None].expand(-1, -1, 15, -1), scores=valid.float(), valid=valid, detections=seen)


def placed(camera, places):
    """Roots (B, P, 3) mm of the world from places (P, 2) mm ahead of and left of each camera, 0.9 m above the floor."""
    at = torch.tensor([[*p, 900.0] for p in places], dtype=torch.float64).expand(len(camera.R), -1, -1)
    return Frame.ahead(camera).to_world(at)


def looked(model, **options):
    return infer(model, *model.maps(), model.true, **options)


# ---- answers of several windows ----------------------------------------------------------------------------------------------------------


def poses(roots, scores, window=0):
    roots, scores = torch.tensor([roots], dtype=torch.float32), torch.tensor([scores])
    joints = roots[:, :, None].expand(-1, -1, 15, -1).clone()
    return Poses(joints, roots, roots.clone(), scores, scores > 0, torch.full_like(scores, window, dtype=torch.long))


def test_joined_keeps_everybody_best_first():
    near = poses([[0.0, 0, 4000], [500, 0, 9000], [0, 0, 0]], [0.9, 0.3, 0.0])
    out = joined(near, poses([[620.0, 0, 10500], [1, 1, 1], [2, 2, 2]], [0.8, 0.0, 0.0], 1))
    assert out.valid.tolist() == [[True, True, True]]
    assert out.roots[0, :, 2].tolist() == [4000, 10500, 9000]
    assert out.window.tolist() == [[0, 1, 0]]


def test_unexplained_and_explains():
    """Detections in the middle of the picture, 20 px aside, and one that is not valid, where the second answer is."""
    camera = Camera.from_angles([0.0], [0.0], centre=[(0.0, 0.0, 1500.0)], focal=1000.0, size=(960, 512))
    fitted = camera.fit(240, 128)
    centre, px = fitted.c[0].float(), 5000.0 / float(fitted.f[0, 0])
    roots = torch.stack([centre, centre + torch.tensor([20.0, 0.0]), centre + torch.tensor([40.0, 0.0])])[None]
    found = Detections(torch.zeros(1, 3, 4), torch.ones(1, 3), torch.ones(1, 3), roots, torch.tensor([[True, True, False]]))
    answer = poses([[0.0, 0, 5000], [40 * px, 0, 5000], [22 * px, 0, 5000]], [0.9, 0.8, 0.0])
    assert unexplained(answer, found, camera, (240, 128)).tolist() == [[False, True, False]]
    answer = poses([[0.0, 0, 5000], [40 * px, 0, 5000], [22 * px, 0, 5000]], [0.9, 0.8, 0.7])
    left = torch.tensor([[False, True, False]])
    assert explains(answer, found, left, camera, (240, 128)).tolist() == [[False, False, True]]
    assert explains(answer, found, ~left, camera, (240, 128)).tolist() == [[True, False, False]]


# ---- who is found ------------------------------------------------------------------------------------------------------------------------


def test_a_turned_frame_has_its_axis_through_the_target():
    """Turned anticlockwise, seen from above, and moved along the new X: it stays level, and the camera is straight behind it."""
    camera = wide(3)
    turn, start = torch.tensor([0.5, -0.3, 0.0]), torch.tensor([2000.0, 0.0, 500.0])
    plain, frame = Frame.ahead(camera), Frame.ahead(camera, start, turn=turn)
    at = plain.from_world(frame.to_world(torch.zeros(3, 1, 3, dtype=torch.float64)))[:, 0]
    by_hand = torch.stack([start * turn.cos(), start * turn.sin(), torch.zeros(3)], -1).double()
    assert torch.allclose(at, by_hand, atol=1e-3)
    assert torch.allclose(torch.linalg.det(frame.axes), torch.ones(3, dtype=torch.float64))
    assert torch.equal(frame.axes[:, :, 2], plain.axes[:, :, 2])
    foot = frame.from_world(camera.centre[:, None])[:, 0]
    assert torch.allclose(foot, torch.stack([-start, torch.zeros(3), torch.full((3,), 1500.0)], -1).double(), atol=1e-3)


def test_further_windows_find_who_is_farther(data):
    far = farther(data.scenes(4, 1), 5000.0)
    _, t = synthesise(far, TINY.map, None, None, 15, None, TINY.stride)
    roots = far.joints[:, :, ROOT].masked_fill(~t.mask[..., None], torch.nan)
    found = {w: looked(Oracle(far.camera, roots), windows=w) for w in (1, 4)}
    assert int(found[1].poses.valid.sum()) < int(t.mask.sum()), "some are beyond the first window"
    assert not found[4].unexplained.any()
    rows = score(answers(found[4])["REN"], far, t.mask)
    assert rows.found.all()
    assert abs(rows.root).max() < 1.0, "positions come back in the camera frame, whatever the window"


@pytest.mark.parametrize("error", [0.9, 1.0, 1.1])
def test_turned_windows_find_who_is_beside(error, monkeypatch):
    """5 to 6 m aside and 7 to 15 m ahead, the DE being 10 % wrong; windows that are only moved along the view find none of these."""
    camera = wide(2)
    roots = placed(camera, [(7000.0, 5000.0), (7500.0, -6000.0), (15000.0, 5500.0), (5000.0, 0.0)])
    found = looked(Oracle(camera, roots, error))
    assert not found.unexplained.any()
    assert found.poses.valid.sum(1).tolist() == [4, 4]
    assert sorted(found.poses.window[0][found.poses.valid[0]].tolist()) == [0, 1, 2, 3]
    truth = camera.to_camera(roots)
    for i in range(2):
        distance = torch.cdist(truth[i].float(), found.poses.roots[i][found.poses.valid[i]].float())
        assert distance.min(1).values.max() < 1.0
        aimed = error * truth[i, [0, 1, 2], 2]
        assert torch.allclose(found.aims[i, 1:].double(), aimed, atol=1.0), "the best seen one first"
    straight = module._aimed
    monkeypatch.setattr(module, "_aimed", lambda *a: (0 * straight(*a)[0], straight(*a)[1]))
    assert int(looked(Oracle(camera, roots, error)).unexplained.sum()) >= 4


def test_neighbours_share_a_window():
    """Three people beside each other are found in one further window; nobody is looked for whom somebody else's window has explained."""
    camera = wide(1)
    found = looked(Oracle(camera, placed(camera, [(9000.0, 5500.0), (9500.0, 6500.0), (8500.0, 5000.0)])))
    assert found.poses.valid.sum() == 3
    assert found.aims.isfinite().sum() == 1


def test_who_is_not_explained_is_not_looked_for_again():
    """A person the network never finds costs one window, and the others are still found; he is reported."""
    camera = wide(1)
    model = Oracle(camera, placed(camera, [(8000.0, 5500.0), (8000.0, -5500.0), (5000.0, 0.0)]), blind=[0])
    found = looked(model, windows=8)
    assert len(model.calls) == 3, "the first, his, that of the other"
    assert found.poses.valid.sum() == 2
    assert found.unexplained[0, :3].tolist() == [True, False, False]
    assert len(model.calls) <= module.WINDOWS


def test_no_more_windows_than_asked_for():
    camera = wide(1)
    many = placed(camera, [(9000.0, 7500.0), (9000.0, -7500.0), (25000.0, 15000.0), (25000.0, -15000.0), (40000.0, 0.0)])
    for most in (1, 3, module.WINDOWS):
        model = Oracle(camera, many)
        found = looked(model, windows=most)
        assert len(model.calls) == most
        assert int(found.unexplained.sum()) == 5 - (most - 1)


# ---- whose answer changes ----------------------------------------------------------------------------------------------------------------


def test_only_images_with_somebody_left_are_computed_again():
    camera = wide(3)
    roots = placed(camera, [(5000.0, 0.0), (8000.0, 5500.0)])
    roots[[0, 2], 1] = torch.nan
    model = Oracle(camera, roots)
    assert looked(model).poses.valid.sum(1).tolist() == [1, 2, 1]
    assert model.calls == [[0, 1, 2], [1]]


def test_an_answer_depends_on_no_other_image(shipped, data):
    """The shipped weights on people near and far: batch = single."""
    scenes, s = farther(data.scenes(6, 2), torch.tensor([0.0, 0, 3000, 0, 5000, 3000]).view(-1, 1, 1, 1)), shipped.model.sizes
    agr, _ = synthesise(scenes, s.map, None, None, s.joints, None, s.stride)
    together = infer(shipped.model, agr.heatmaps, agr.box_map, scenes.camera)
    windows = together.aims.isfinite().sum(1)
    assert windows.min() == 0
    assert windows.max() > 0
    for i in range(6):
        one = infer(shipped.model, agr.heatmaps[i : i + 1], agr.box_map[i : i + 1], scenes.camera[i : i + 1])
        n = int(one.poses.valid.sum())
        assert n == int(together.poses.valid[i].sum())
        assert torch.equal(one.poses.window[0, :n], together.poses.window[i, :n])
        assert torch.allclose(one.poses.roots[0, :n], together.poses.roots[i, :n], atol=0.5)


def test_further_windows_change_no_answer_of_the_first(shipped, data):
    scenes, s = farther(data.scenes(8, 4), 5000.0), shipped.model.sizes
    agr, _ = synthesise(scenes, s.map, None, None, s.joints, None, s.stride)
    one, several = (infer(shipped.model, agr.heatmaps, agr.box_map, scenes.camera, windows=w).poses for w in (1, 4))
    assert (several.valid & (several.window > 0)).any()
    for i in range(8):
        assert torch.equal(one.joints[i][one.valid[i]], several.joints[i][several.valid[i] & (several.window[i] == 0)])


# ---- what is said of it ------------------------------------------------------------------------------------------------------------------


def test_counts_by_hand():
    camera = wide(2)
    model = Oracle(camera, placed(camera, [(8000.0, 5500.0), (8000.0, -5500.0), (5000.0, 0.0)]), blind=[0])
    windows = evaluation.Windows()
    windows(looked(model))
    windows(looked(model))
    assert windows.counts == {"detected": 12, "unexplained": 4, "further": 8, "poses_from_further": 4}
    assert torch.cat(windows.aims).tolist() == pytest.approx([8000.0] * 8, abs=1.0)


def test_evaluate_reports_windows_and_their_depths(shipped, data):
    report = evaluation.evaluate(shipped, [farther(data.scenes(8, 1), 6000.0)], published=False)
    w = report["windows"]
    assert 0 < w["poses_from_further"] <= w["detected"] - w["unexplained"]
    assert f"people detected on the maps: {w['detected']}, without a pose: {w['unexplained']}; " in evaluation.text(report)
    assert any(x.startswith("further windows aimed at depth, mm:") for x in report["warnings"])
    near = evaluation.evaluate(shipped, [data.scenes(8, 1)], published=False)
    assert near["windows"]["further"] < w["further"]
    assert not any("further windows" in x for x in near["warnings"])
    assert math.isfinite(report["recall"])
