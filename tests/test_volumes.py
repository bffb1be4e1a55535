"""Pictures of volumes show each voxel where it is; the depth explorer's answers are the model's own."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_second_stage import TINY

from vp.lab.second_stage import frames, in_frame, world
from vp.nets.ren import candidates
from vp.nets.virtualpose import VirtualPose
from vp.show import style
from vp.show.volumes import VIEWS, DepthExplorer, Probe, SpacePicture, draw, mark, seen
from vp.space import Grid
from vp.world.agr import synthesise

GRID = Grid((5000.0, 0.0, 1000.0), (8000.0, 4000.0, 2000.0), (9, 5, 3))  # every metre: X 1 to 9, Y -2 to 2, Z 0 to 2 m


@pytest.fixture(scope="module")
def case():
    """A scene, its AGR and an untrained model whose every peak counts."""
    sizes = replace(TINY, threshold=-1.0, detection=0.05, init_std=None)
    model = VirtualPose(sizes, None, torch.Generator().manual_seed(0)).eval()
    many = world(split="test").scenes(8, 1)
    scenes = many[(many.mask.sum(1) >= 2).nonzero()[:1, 0]]
    inside = in_frame(scenes, frames(scenes.camera))
    agr, t = synthesise(inside, sizes.map, None, None, 15, None, sizes.stride)
    return model, agr, inside.camera, t


@pytest.fixture
def explorer(case):
    model, agr, camera, t = case
    e = DepthExplorer(Probe(model, agr.heatmaps, agr.box_map, camera), t.roots[0][t.mask[0]])
    assert e.widget is not None
    return e


def shown(e):
    return [np.asarray(trace.z) for trace in e.figure.data[::4]]


# ---- stills ----------------------------------------------------------------------------------------------------------------------------


def test_a_voxel_is_drawn_where_it_is():
    """The voxel at (4, -1, 2) m: row and column of each view by hand, and its place on the axes."""
    volume = torch.zeros(GRID.bins)
    volume[3, 1, 2] = 1.0
    above, side = (seen(volume, view) for view in VIEWS)
    assert (above.shape, side.shape) == ((5, 9), (3, 9))
    assert np.argwhere(above).tolist() == [[1, 3]]
    assert np.argwhere(side).tolist() == [[2, 3]]
    for view, at in zip(VIEWS, ((4.0, -1.0), (4.0, 2.0))):
        fig, ax = style.subplots(size=(5, 4))
        draw(ax, volume, GRID, view)
        mark(ax, [[4000.0, -1000.0, 2000.0]], view, "truth")
        assert np.allclose(np.concatenate(ax.lines[-1].get_data()), at)
        fig.canvas.draw()
        x, y = ax.transData.transform(at)
        pixel = np.asarray(fig.canvas.buffer_rgba())[int(fig.bbox.height - y) - 12, int(x) + 12, :3]  # beside the cross, in its voxel
        assert pixel.min() > 150, "the brightest colour of the map"


def test_the_space_picture_shows_the_voxels_above_its_share():
    volume = torch.zeros(GRID.bins)
    volume[3, 1, 2], volume[5, 2, 0], volume[0, 0, 0] = 0.8, 0.4, 0.1  # the last is below a quarter of the highest
    picture = SpacePicture({"one": volume, "two": volume / 2}, GRID, torch.tensor([[4000.0, -1000.0, 2000.0]]), "two  volumes")
    fig = picture.still()
    assert [ax.get_title() for ax in fig.axes] == ["one", "two"]
    points = fig.axes[1].collections[0]._offsets3d
    assert sorted(map(tuple, np.stack(points, -1).round(6).tolist())) == [(4.0, -1.0, 2.0), (6.0, 0.0, 0.0)]
    data = picture.widget.data
    assert np.allclose(data[0].value, volume.flatten())
    k = int(np.argmax(data[0].value))
    assert [data[0][a][k] for a in "xyz"] == pytest.approx([4.0, -1.0, 2.0])
    bundle, _ = picture._repr_mimebundle_()
    assert bundle["text/plain"] == "two volumes"
    assert bundle["image/png"][:4] == b"\x89PNG"
    assert len(bundle) == 3


# ---- the probe -------------------------------------------------------------------------------------------------------------------------


def test_without_a_shift_the_probe_is_the_model(case):
    model, agr, camera, t = case
    probe = Probe(model, agr.heatmaps, agr.box_map, camera)
    with torch.no_grad():
        e = model(agr.heatmaps, agr.box_map, camera)
    answer = probe()
    assert torch.allclose(answer.volume, e.volume[0], atol=1e-6)
    found = candidates(e.volume, model.sizes.grid, 10, -1.0, model.sizes.subvoxel)
    assert torch.allclose(answer.found, found.position[0][found.valid[0]])
    assert torch.allclose(probe.depths, e.detections.depths[0][e.detections.valid[0]])
    assert torch.allclose(answer.depth, camera[0].to_camera(answer.found)[..., 2])
    assert len(probe.depths) == int(t.mask.sum())


def test_a_shift_moves_one_persons_heatmaps_as_equation_5_says(case):
    """Person after person and voxel after voxel, with the first person's depth 700 mm farther."""
    model, agr, camera, _ = case
    probe, s = Probe(model, agr.heatmaps, agr.box_map, camera), model.sizes
    answer = probe([700.0])
    depths = probe.depths.clone()
    depths[0] += 700.0
    uv, z, ok = camera.fit(*s.map)[0].project(s.grid.points().double())
    ok = ok & camera[0].in_image(camera[0].project(s.grid.points().double())[0])
    cube = torch.zeros(len(z))
    for k in range(len(z)):
        if ok[k]:
            u, v = uv[k].tolist()
            x, y = (min(max(a, 0.0), n - 1.0) for a, n in zip((u, v), s.map))
            x0, y0 = min(int(x), s.map[0] - 2), min(int(y), s.map[1] - 2)
            h = agr.heatmaps[0, :, y0 : y0 + 2, x0 : x0 + 2].double()
            values = (h * torch.tensor([[1 - (y - y0)], [y - y0]]) * torch.tensor([1 - (x - x0), x - x0])).sum((1, 2))
            for box, depth in zip(probe.detections.boxes[0].tolist(), depths.tolist()):
                if box[0] <= u <= box[2] and box[1] <= v <= box[3]:
                    gate = np.exp(-((float(z[k]) - depth) ** 2) / (2 * s.sigma**2))
                    cube[k] = max(float(cube[k]), float(values.max()) * gate)
    assert float(cube.max()) > 0.1
    assert torch.allclose(answer.cube.flatten(), cube, atol=2e-3)
    moved = camera[0].to_camera(answer.said)[:, 2] - camera[0].to_camera(probe().said)[:, 2]
    assert moved.tolist() == pytest.approx([700.0] + [0.0] * (len(depths) - 1), abs=0.5)


def test_whose_answer_is_it(case):
    model, agr, camera, _ = case
    probe = Probe(model, agr.heatmaps, agr.box_map, camera)
    answer = probe()
    for k, depth in enumerate(probe.depths):
        ray = camera[0].fit(*model.sizes.map).unproject(probe.detections.roots[0, k][None], depth[None])[0][0]
        far = replace(answer, found=torch.stack([ray + torch.tensor([0.0, 3000.0, 0.0]), ray]))
        assert probe.of(far, k) == 1
        assert probe.of(replace(answer, found=far.found[:1]), k) is None
    assert probe.of(replace(answer, found=answer.found[:0]), 0) is None


# ---- the explorer ----------------------------------------------------------------------------------------------------------------------


def test_controls_ask_the_network_anew(explorer):
    traces, before = len(explorer.figure.data), shown(explorer)
    explorer.controls["shift_mm"].value = 1000.0
    after, answer = shown(explorer), explorer.probe([1000.0])
    assert not np.array_equal(before[0], after[0])
    for (what, view), z in zip(explorer.PANELS, after):
        assert np.array_equal(z, seen(answer.cube if what == "shown to REN" else answer.volume, view))
    for i, look in enumerate(("truth", "said", "answer")):
        points = {"truth": explorer.roots, "said": answer.said, "answer": answer.found}[look].numpy() / 1000
        assert np.allclose(explorer.figure.data[1 + i].y, points[:, 1], atol=1e-5), look
        assert np.allclose(explorer.figure.data[9 + i].y, points[:, 2], atol=1e-5), look
    assert "+1000 mm" in explorer.words.value
    explorer.controls["person"].value = 2
    assert np.array_equal(shown(explorer)[0], seen(explorer.probe([0.0, 1000.0]).cube, "from above"))
    assert explorer.text().startswith("Person 2")
    explorer.set(person=1, shift_mm=0.0)
    assert all(np.array_equal(a, b) for a, b in zip(before, shown(explorer)))
    assert len(explorer.figure.data) == traces == 16


def test_what_a_cell_shows(explorer):
    data, metadata = explorer._repr_mimebundle_()
    assert data["image/png"][:4] == b"\x89PNG"
    assert metadata["image/png"]["alt"] == data["text/plain"] == repr(explorer)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.widget.model_id


def test_nobody_there_and_no_widgets(case, monkeypatch):
    model, agr, camera, _ = case
    monkeypatch.setitem(sys.modules, "anywidget", None)
    e = DepthExplorer(Probe(model, torch.zeros_like(agr.heatmaps), torch.zeros_like(agr.box_map), camera), torch.zeros(0, 3))
    assert e.widget is None
    assert e.set(shift_mm=300.0).text() == "No person is detected in this picture."
    data, _ = e._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}
    picture = SpacePicture({"v": torch.rand(GRID.bins)}, GRID, torch.zeros(1, 3), "t")
    assert set(picture._repr_mimebundle_()[0]) == {"image/png", "text/plain"}
