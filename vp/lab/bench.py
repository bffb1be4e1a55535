"""`vp bench`: what the parts cost on this machine, as ratios to the literal loops measured in the same run."""

import json
import time

import torch

from vp import published_agr
from vp.lab.datasets import load
from vp.world.activities import sample_poses
from vp.world.agr import agr, synthesise
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


def measure():
    """Rows (what, value, unit): rates and ratios; threads as torch is set."""
    uv, present, mask = agr_case()
    ours, literal = seconds(lambda: agr(uv, present, mask, (960, 512))), seconds(lambda: literal_agr(uv), 3)
    data, g = load("panoptic"), torch.Generator().manual_seed(0)
    people = sample_people(10_000, g)
    scenes = data.scenes(32, 0)
    three = data.scenes(32, 0)
    batch = seconds(lambda: synthesise(scenes, (60, 32), generator=g, grid=None))
    three.mask[:, 3:] = False
    return [
        ("threads", torch.get_num_threads(), ""),
        ("AGR, literal loop / ours (128 x 240, 15 joints, 5 people)", literal / ours, "x"),
        ("AGR, ours", 1000 * ours / len(uv), "ms a scene"),
        ("AGR and targets of a training batch, 32 scenes at 32 x 60", 1000 * batch, "ms"),
        ("10 000 poses", seconds(lambda: sample_poses(people, "all", g), 3), "s"),
        ("scenes of 3 to 6 people", 512 / seconds(lambda: data.scenes(512, 1), 3), "a second"),
        ("pictures of at most 3 people, 240 x 128", 32 / seconds(lambda: render(three), 3), "a second"),
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
