"""The information floor against an independent Monte Carlo and against what is known of single cases."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from vp.camera import Camera
from vp.lab.information import FLOORS, MEAN_ABSOLUTE, least_deviation, least_errors
from vp.lab.profiles import SMALL
from vp.lab.second_stage import world
from vp.nets.ren import ROOT
from vp.world.agr import Noise

MAP = (56, 32)


def standing(n=1):
    """(joints (1, 15, 3) world mm of somebody upright 4 m before a camera 1.6 m high that looks down a little, that camera)."""
    camera = Camera.from_angles(math.radians(10.0), 0.0, centre=(0.0, 0.0, 1600.0), focal=1400.0, size=(1920, 1080)).fit(*MAP)
    heights = torch.tensor([1450, 1720, 940, 1420, 1150, 930, 930, 500, 90, 1420, 1150, 930, 930, 500, 90.0], dtype=torch.float64)
    across = torch.tensor([0, 0, 0, 180, 210, 220, 90, 95, 95, -180, -210, -220, -90, -95, -95.0], dtype=torch.float64)
    ahead = camera.R[2, :2] / camera.R[2, :2].norm()
    side = torch.stack([-ahead[1], ahead[0]])
    xy = 4000 * ahead + across[:, None] * side
    return torch.cat([xy, heights[:, None]], 1)[None], camera


def fitted_depths(joints, camera, sigma, share, on_floor, n=400):
    """Depths of the root (n,) mm by nonlinear least squares on noisy peaks with a prior on the stature: nothing shared with the formula."""
    truth, rng = joints[0].numpy(), np.random.default_rng(0)
    foot = np.array([*truth[ROOT, :2], 0.0])
    R, t, f, c = (getattr(camera, k).numpy() for k in ("R", "t", "f", "c"))

    def depth_and_pixels(p):
        where = foot + np.array([p[0], p[1], 0.0 if on_floor else p[3]])
        eye = (where + (1 + p[2]) * (truth - foot)) @ R.T + t
        return eye[ROOT, 2], eye[:, :2] / eye[:, 2:] * f + c

    _, exact = depth_and_pixels(np.zeros(4))
    out = []
    for _ in range(n):
        taller = rng.normal(0, share)  # the person's own stature
        p = np.array([0.0, 0.0, taller, 0.0])
        z, seen = depth_and_pixels(p)
        seen = seen + rng.normal(0, sigma, seen.shape)

        def residuals(p, seen=seen):
            return np.concatenate([((depth_and_pixels(p)[1] - seen) / sigma).ravel(), [p[2] / share]])

        if on_floor:
            found = least_squares(lambda q: residuals(np.append(q, 0.0)), np.zeros(3), x_scale=[100, 100, 0.05]).x
            found = np.append(found, 0.0)
        else:
            found = least_squares(residuals, np.zeros(4), x_scale=[100, 100, 0.05, 100]).x
        out.append(depth_and_pixels(found)[0] - z)
    assert np.abs(exact - camera.project_camera(camera.to_camera(joints[0]))[0].numpy()).max() < 1e-6
    return np.array(out)


@pytest.mark.parametrize(("name", "on_floor"), [("without floor", False), ("with floor", True)])
def test_against_fits_to_noisy_peaks(name, on_floor):
    joints, camera = standing()
    sigma = 0.3
    seen = torch.ones(1, 15, dtype=torch.bool)
    bound = float(least_deviation(joints, seen, camera, torch.tensor([sigma]))[name])
    fits = fitted_depths(joints, camera, sigma, 0.05, on_floor)
    assert fits.std() == pytest.approx(bound, rel=0.12)
    assert np.abs(fits).mean() == pytest.approx(MEAN_ABSOLUTE * bound, rel=0.12)


def test_without_noise_stature_is_all_there_is():
    joints, camera = standing()
    seen = torch.ones(1, 15, dtype=torch.bool)
    depth = float(camera.to_camera(joints[0])[ROOT, 2])
    out = least_deviation(joints, seen, camera, torch.tensor([1e-4]))
    assert float(out["without floor"]) == pytest.approx(0.05 * depth, rel=0.05)
    assert float(out["with floor"]) < 1.0


def test_more_noise_fewer_joints_and_no_floor_are_worse():
    joints, camera = standing()
    seen, legs = torch.ones(1, 15, dtype=torch.bool), torch.ones(1, 15, dtype=torch.bool)
    legs[:, [7, 8, 13, 14]] = False
    base, more, fewer = (least_deviation(joints, s, camera, torch.tensor([x])) for s, x in ((seen, 0.2), (seen, 0.4), (legs, 0.2)))
    for name in FLOORS:
        assert base[name] < more[name]
        assert base[name] < fewer[name]
    assert base["with floor"] < base["without floor"]
    none = least_deviation(joints, torch.zeros(1, 15, dtype=torch.bool), camera, torch.tensor([0.2]))
    assert all(x.isinf().all() for x in none.values())


def test_people_come_in_the_order_of_the_errors():
    scenes = [world(split="test").scenes(6, 3)]
    person = [(v, p) for v in range(6) for p in range(int(scenes[0].mask[v].sum()))]

    class People:
        view, person_ = np.array([v for v, _ in person]), None

    People.person = np.array([p for _, p in person])
    out = least_errors(scenes, SMALL, Noise(), People)
    assert all(len(x) == len(person) for x in out.values())
    k = next(i for i, (v, p) in enumerate(person) if p == 1)
    People.view, People.person = People.view[k : k + 1], People.person[k : k + 1]
    again = least_errors(scenes, SMALL, Noise(), People)
    assert again["with floor"][0] == pytest.approx(out["with floor"][k])
    assert (out["with floor"] <= out["without floor"] + 1e-9).all()
