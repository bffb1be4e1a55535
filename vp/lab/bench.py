"""`vp bench`: what the parts cost on this machine, as ratios to the literal loops measured in the same run."""

import json
import time

import numpy as np
import torch

from vp import published_agr, published_stage
from vp.camera import Camera
from vp.lab.datasets import load
from vp.nets.ren import Candidates
from vp.nets.unproject import depth_gate, positions, unproject
from vp.nets.virtualpose import Sizes, VirtualPose
from vp.space import Grid
from vp.world.activities import sample_poses
from vp.world.agr import Noise, agr, synthesise
from vp.world.body import sample_people
from vp.world.render import render


def seconds(f, repeat=5):
    """Median time of f() in seconds, after one call that does not count."""
    f()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeat // 2]


def agr_case(batch=8, map_size=(240, 128), people=5, seed=0):
    """Image positions of `batch` scenes of `people` people in a 960 x 512 image: uv (B, P, 15, 2), present (B, P, 15), mask (B, P)."""
    g = torch.Generator().manual_seed(seed)
    root = torch.rand(batch, people, 1, 2, generator=g) * torch.tensor([800.0, 300.0]) + torch.tensor([80.0, 100.0])
    uv = root + torch.randn(batch, people, 15, 2, generator=g) * torch.tensor([35.0, 70.0])
    return uv, torch.ones(batch, people, 15, dtype=torch.bool), torch.ones(batch, people, dtype=torch.bool)


def literal_agr(uv):
    """The published per-joint patch loop on the same scenes (`vp.published_agr`)."""
    for scene in uv.double().numpy():
        published_agr.render(scene, published_agr.sigmas(scene))


def literal_noisy_agr(uv):
    """The same with the published training noise."""
    rng = np.random.RandomState(0)
    for scene in uv.double().numpy():
        sigma = published_agr.sigmas(scene)
        shift, amplitude = published_agr.draw_noise(scene, sigma, rng)
        published_agr.render(scene, sigma, noise_xy=shift, amplitude=amplitude)


def unproject_case(people=10, map_size=(240, 128), seed=0):
    """One camera before the paper's space with `people` in view: camera, points (1, N, 3), maps (1, 15, H, W) and boxes, depths, valid."""
    g, grid = torch.Generator().manual_seed(seed), Grid()
    camera = Camera.look_at([[0.0, -6000.0, 2200.0]], [0.0, -500.0, 800.0]).to(torch.float32)
    roots = torch.rand(people, 3, generator=g) * torch.tensor([4000.0, 5000.0, 200.0]) + torch.tensor([-2000.0, -2500.0, 800.0])
    body = torch.tensor([[-400.0, 0.0, -900.0], [400.0, 0.0, 900.0], [400.0, 0.0, -900.0], [-400.0, 0.0, 900.0]])
    corners = camera.fit(*map_size).project((roots[:, None] + body).view(1, -1, 3))[0].view(1, people, 4, 2)
    depths = camera.project(roots[None])[1]
    found = torch.cat([corners.amin(2), corners.amax(2)], -1), depths, torch.ones(1, people, dtype=torch.bool)
    return camera, grid.points()[None], torch.rand(1, 15, *map_size[::-1], generator=g), found


def unprojection_rows():
    """Rows of REN's and PEN's unprojection at the paper's sizes against the literal loops, and how REN's grows with the people."""
    ours, literal, map_size = {}, {}, (240, 128)
    for people in (1, 10):
        camera, points, maps, found = unproject_case(people)

        def gated(camera=camera, points=points, maps=maps, found=found):
            where = positions(camera, points, map_size)
            return unproject(maps, where, depth_gate(where, *found, map_size))

        def loop(camera=camera, points=points, maps=maps, found=found):
            return published_stage.loop_volume(maps, positions(camera, points, map_size), *found)

        ours[people], literal[people] = seconds(gated, 15), seconds(loop)
    pen = VirtualPose(Sizes(ren_widths=(1,) * 4, pen_widths=(1,) * 4)).pen
    centres, valid = torch.zeros(1, 10, 3), torch.ones(1, 10, dtype=torch.bool)
    together = seconds(lambda: pen.volumes(maps, camera, centres[0], torch.zeros(10, dtype=torch.long)), 3)
    singly = seconds(lambda: published_stage.loop_cubes(maps, camera, centres, valid, pen.cube, positions), 3)
    return [
        ("unprojection of REN, literal loop / ours (80 x 80 x 24, 15 joints, 10 people)", literal[10] / ours[10], "x"),
        ("the same with 1 person", literal[1] / ours[1], "x"),
        ("unprojection of REN, ours, 10 people", 1000 * ours[10], "ms"),
        ("unprojection of REN, ours, 10 people / 1 person", ours[10] / ours[1], "x"),
        ("unprojection of PEN, literal loop / ours (64 x 64 x 64, 15 joints, 10 people)", singly / together, "x"),
        ("unprojection of PEN, ours, 10 people", 1000 * together, "ms"),
    ]


@torch.no_grad()
def stage_rows(sizes=None, people=3):
    """Rows of the networks and the whole second stage (one image, untrained weights, PEN on `people` roots) against the literal loops."""
    sizes = sizes or Sizes(de_bias=8.0)  # an untrained DE that says 5 m, so that gates are open
    model = VirtualPose(sizes, generator=torch.Generator().manual_seed(0)).eval()
    camera, _, maps, _ = unproject_case(people, sizes.map)
    box_map = torch.full((1, 4, *sizes.map[::-1]), 15.0)
    position, valid = torch.zeros(1, sizes.people, 3), torch.arange(sizes.people)[None] < people
    chosen = Candidates(position, valid.float(), valid)
    image, cube = torch.zeros(people, dtype=torch.long), torch.rand(1, sizes.joints, *sizes.space_bins)
    fine = model.pen.volumes(maps, camera, position[0, :people], image)
    whole = seconds(lambda: model(maps, box_map, camera, choose=lambda _: chosen), 1)
    loop = seconds(lambda: published_stage.loop_stage(model, maps, box_map, camera, lambda _: chosen), 1)
    return [
        ("DE, one image", seconds(lambda: model.ren.de(maps), 1), "s"),
        ("V2V of REN, one image", seconds(lambda: model.ren.net(cube), 1), "s"),
        (f"V2V of PEN, {people} people", seconds(lambda: model.pen.net(fine), 1), "s"),
        (f"whole second stage, one image of {people} people", whole, "s"),
        ("whole second stage, literal loops / ours", loop / whole, "x"),
    ]


def measure():
    """Rows (what, value, unit): rates and ratios; threads as torch is set."""
    uv, present, mask = agr_case()
    ours, literal = seconds(lambda: agr(uv, present, mask, (960, 512))), seconds(lambda: literal_agr(uv), 3)
    data, g = load("panoptic"), torch.Generator().manual_seed(0)
    noisy = seconds(lambda: agr(uv, present, mask, (960, 512), noise=Noise(), generator=g))
    literal_noisy = seconds(lambda: literal_noisy_agr(uv), 3)
    people = sample_people(10_000, g)
    scenes = data.scenes(32, 0)
    three = data.scenes(32, 0)
    batch = seconds(lambda: synthesise(scenes, (60, 32), generator=g, grid=None))
    three.mask[:, 3:] = False
    return [
        ("threads", torch.get_num_threads(), ""),
        ("AGR, literal loop / ours (128 x 240, 15 joints, 5 people)", literal / ours, "x"),
        ("AGR with training noise, literal loop / ours", literal_noisy / noisy, "x"),
        ("AGR, ours", 1000 * ours / len(uv), "ms a scene"),
        ("AGR and targets of a training batch, 32 scenes at 32 x 60", 1000 * batch, "ms"),
        ("10 000 poses", seconds(lambda: sample_poses(people, "all", g), 3), "s"),
        ("scenes of 3 to 6 people", 512 / seconds(lambda: data.scenes(512, 1), 3), "a second"),
        ("pictures of at most 3 people, 240 x 128", 32 / seconds(lambda: render(three), 3), "a second"),
        *unprojection_rows(),
        *stage_rows(),
    ]


def main(path=None):
    """Print the table; with `path` also write it as JSON."""
    rows = measure()
    for what, value, unit in rows:
        print(f"{value:10.3g} {unit:12s} {what}")
    if path:
        from vp.lab.results import write_atomic

        write_atomic(path, json.dumps([{"what": w, "value": v, "unit": u} for w, v, u in rows], indent=1))
    return 0
