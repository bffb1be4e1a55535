"""essence.ipynb: short, self-contained, and the same functions as the library's."""

import ast
import inspect
import json
import math

import pytest
import torch

from vp.lab import notebooks
from vp.lab.second_stage import in_frame
from vp.nets.ren import decode
from vp.nets.unproject import depth_gate, positions, unproject
from vp.space import Frame, Grid
from vp.world.agr import synthesise, volume_target

ALLOWED = {"math", "os", "time", "torch", "torch.nn", "torch.nn.functional"}
BESIDE = "beside-vp"  # cells that only compare with the library


def cells():
    nb = json.loads((notebooks.FOLDER / "essence.ipynb").read_text())
    return [(c["metadata"].get("tags", []), "".join(c["source"])) for c in nb["cells"] if c["cell_type"] == "code"]


METHOD = [source for tags, source in cells() if BESIDE not in tags]


def test_at_most_150_lines_of_code():
    lines = [line for source in METHOD for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert 100 < len(lines) <= 150, len(lines)
    assert max(map(len, lines)) <= 140
    assert not any(";" in line.split("#")[0].split('"')[0] for line in lines), "several statements in a line"


def test_nothing_is_imported_but_torch_and_the_virtual_world():
    for node in ast.walk(ast.parse("\n".join(METHOD))):
        if isinstance(node, ast.Import):
            assert {a.name for a in node.names} <= ALLOWED
        if isinstance(node, ast.ImportFrom):
            assert node.module in ALLOWED or (node.module, [a.name for a in node.names]) == ("vp.lab.second_stage", ["world"]), node.module
    assert not any("import_module" in source or "__import__" in source or "exec(" in source for source in METHOD)


def test_what_compares_with_the_library_comes_last():
    beside = [BESIDE in tags for tags, _ in cells()]
    assert beside == sorted(beside)
    assert any(beside)


@pytest.fixture(scope="module")
def ns():
    """What the cells define, without training anything."""
    space = {}
    for source in METHOD:
        if not source.startswith(("smoke =", "rows =")):
            exec(source, space)
    return space


@pytest.fixture(scope="module")
def scene(ns):
    """Four scenes: of the world, in the frame ahead, as the essence sees them."""
    scenes = ns["test_world"].scenes(4, 7)
    frame = Frame.ahead(scenes.camera)
    return scenes, in_frame(scenes, frame), ns["View"](scenes.camera)


MAP = (56, 32)


def test_sizes_are_those_of_profile_quick(ns):
    """They are written out in the notebook and must not drift from the library's."""
    from vp.lab.profiles import SMALL, WEIGHTS

    assert ((ns["W"], ns["H"]), ns["STRIDE"], ns["JOINTS"]) == (SMALL.map, SMALL.stride, SMALL.joints)
    cube = Grid((0.0, 0.0, 0.0), (SMALL.pen_size,) * 3, (SMALL.pen_bins,) * 3)
    for voxels, grid in ((ns["SPACE"], SMALL.grid), (ns["CUBE"], cube)):
        assert voxels.shape[:3] == grid.bins
        torch.testing.assert_close(voxels.flatten(0, 2), grid.points(), atol=0.01, rtol=0)
    assert inspect.signature(ns["unproject"]).parameters["sigma"].default == SMALL.sigma
    model = ns["SecondStage"]()
    assert model.sharpness.item() == SMALL.skip * SMALL.beta
    view = ns["View"](ns["test_world"].scenes(1, 3).camera)
    model.de.forward = lambda heatmaps: torch.zeros(1, 1, *SMALL.map[::-1])
    factor = SMALL.stride * float(view.f.prod(-1).sqrt())
    assert float(model.depth(torch.zeros(1), view)[0, 0, 0]) == pytest.approx(SMALL.de_bias * factor)
    loss = next(source for source in METHOD if "def loss_of" in source)
    for weight, written in ((WEIGHTS.depth, "1e-3 *"), (WEIGHTS.volume, "1000 *"), (WEIGHTS.pose, "1e-2 *")):
        assert written in loss
        assert float(written[:-2]) == weight


def test_frame_and_projection(ns, scene):
    scenes, inside, view = scene
    frame = Frame.ahead(scenes.camera)
    torch.testing.assert_close(view.axes.double(), frame.axes, atol=1e-5, rtol=0)
    torch.testing.assert_close(view.origin.double(), frame.origin, atol=1e-2, rtol=0)
    points = ns["SPACE"].flatten(0, 2)[::7].expand(4, -1, -1)
    uv, depth, seen = view.project(points)
    there, z, front = inside.camera.fit(*MAP).project(points)
    torch.testing.assert_close(depth, z, atol=0.1, rtol=0)
    torch.testing.assert_close(uv[front & seen], there[front & seen], atol=1e-3, rtol=0)
    assert 0.1 < seen.float().mean() < 0.9
    assert not (seen & ~front).any()


def test_unprojection_is_that_of_the_library(ns, scene):
    _, inside, view = scene
    g = torch.Generator().manual_seed(1)
    heatmaps = torch.rand(4, 15, 32, 56, generator=g)
    corner = torch.rand(4, 6, 2, generator=g) * torch.tensor([40.0, 20.0])
    boxes = torch.cat([corner, corner + 2 + 14 * torch.rand(4, 6, 2, generator=g)], -1)
    depths, valid = 1500 + 6000 * torch.rand(4, 6, generator=g), torch.rand(4, 6, generator=g) < 0.7
    points = ns["SPACE"].flatten(0, 2)
    where = positions(inside.camera, points[None], MAP)
    ours = ns["unproject"](heatmaps, view, points.expand(4, -1, -1), boxes, depths, valid)
    theirs = unproject(heatmaps, where, depth_gate(where, boxes, depths, valid, MAP, 600.0))
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)
    assert 0.02 < (theirs > 0).float().mean() < 0.8
    torch.testing.assert_close(ns["unproject"](heatmaps, view, points.expand(4, -1, -1)), unproject(heatmaps, where), atol=2e-3, rtol=0)


def test_agr_and_detections_are_those_of_the_library(ns, scene, monkeypatch):
    _, inside, view = scene
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)  # no noise
    monkeypatch.setattr(torch, "rand_like", torch.ones_like)
    heatmaps, box_map, depth, root, seen = ns["agr"](inside.joints[:, :, :15].nan_to_num(), inside.mask, view)
    agr, targets = synthesise(inside, MAP, None, None, 15, None, 16)
    torch.testing.assert_close(heatmaps / 0.92, agr.heatmaps, atol=2e-3, rtol=0)
    torch.testing.assert_close(box_map, agr.box_map, atol=1e-2, rtol=0)
    assert torch.equal(seen, targets.mask)
    torch.testing.assert_close(depth[seen], targets.depth[seen], atol=0.5, rtol=0)
    torch.testing.assert_close(root[seen], agr.roots[seen], atol=1e-2, rtol=0)
    depth_map = torch.rand(4, 32, 56)
    px, boxes, depths, valid = ns["detect"](heatmaps, box_map, depth_map)
    found = decode(heatmaps[:, 2], box_map, depth_map, 6)
    assert torch.equal(valid, found.valid)
    assert int(valid.sum()) >= 4
    torch.testing.assert_close(depths[valid], found.depths[valid], atol=1e-6, rtol=0)
    assert (px - found.roots)[valid].abs().max() <= 0.5  # the library's lie between the pixels
    assert (boxes - found.boxes)[valid].abs().max() <= 0.5


def test_candidates_between_voxels(ns):
    roots = torch.tensor([[[3010.0, 777.0, 930.0], [5200.0, -1500.0, 1104.0]]])
    grid = Grid((4000.0, 0.0, 1000.0), (6000.0, 8000.0, 2400.0), (24, 32, 8))
    volume = volume_target(roots, torch.ones(1, 2, dtype=torch.bool), grid)
    found, valid = ns["candidates"](volume)
    assert valid.tolist() == [[True, True, False, False, False, False]]
    assert torch.cdist(found[:, :2], roots).amin(1).max() < 20.0


def test_every_network_learns_from_the_loss(ns):
    torch.manual_seed(0)
    model, batch = ns["SecondStage"](), ns["batch"](ns["train_world"], 0, 0, 4)
    alone = ns["loss_of"](model, *batch, alone=True)
    loss = ns["loss_of"](model, *batch, alone=False)
    loss.backward()
    assert math.isfinite(loss.item())
    assert loss > alone > 0
    assert all(p.grad is not None for p in model.parameters())
    rows = ns["errors"](model.eval(), *batch)
    assert rows.shape == (int(batch[2][4].sum()), 5)


def test_soft_argmax_of_one_voxel(ns, monkeypatch):
    """Where a single voxel has all the weight, it is the answer; where none has more than another, the centre."""
    model, centre = ns["SecondStage"](), torch.tensor([[[4000.0, 0.0, 1000.0]]])
    scenes = ns["test_world"].scenes(1, 3)
    logits = torch.zeros(1, 15, *ns["CUBE"].shape[:3])
    logits[0, 4, 3, 9, 12] = 1e4
    monkeypatch.setattr(model.pen, "forward", lambda cube: logits)
    pose = model.poses(torch.zeros(1, 15, 32, 56), ns["View"](scenes.camera), centre, torch.tensor([[True]]))
    torch.testing.assert_close(pose[0, 4], centre[0, 0] + ns["CUBE"][3, 9, 12])
    torch.testing.assert_close(pose[0, 0], centre[0, 0], atol=0.01, rtol=0)
