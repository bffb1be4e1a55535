"""Backgrounds: families, the dome's size, horizon, shadows, a folder of pictures."""

import math

import cv2
import numpy as np
import pytest
import torch
from test_world_render import scene

from vp.camera import Camera
from vp.errors import InputError
from vp.world.backgrounds import FAMILIES, ImageFolder, background, sample_light
from vp.world.cameras import panoptic
from vp.world.raster import Rays
from vp.world.render import render_people


def empty(n, size=(96, 52), seed=0):
    """n empty scenes seen by different cameras."""
    joints, mask, wardrobe, stature, camera = scene(n, 1, size, seed)
    return joints, torch.zeros_like(mask), wardrobe, stature, camera


def test_the_dome_is_as_large_as_the_real_one():
    """Before the rig's cameras the floor ends at 2.5 m and a wall follows, the tubes at its foot; a camera further off makes it larger."""
    n = 40
    g = torch.Generator().manual_seed(1)
    rays = Rays.of(panoptic(n, g).fit(120, 64))
    seed = torch.arange(n)
    image, floor = background("studio", rays, seed, sample_light(seed), None)
    x, y, _ = rays.at(rays.plane(0.0))
    reach = torch.hypot(x, y)
    assert (floor[reach < 2480] == 1).all()
    assert (floor[reach > 2560] == 0).all()
    assert 0.2 < floor.mean() < 0.7
    tube = (image.amin(-1) > 0.999) & (floor == 0)
    assert 0.003 < tube.float().mean() < 0.1
    far = Camera.look_at(torch.tensor([[7000.0, 0, 1500]]), torch.tensor([[0, 0, 1000.0]]), focal=torch.tensor([80.0]), size=(96, 64))
    rays = Rays.of(far)
    _, floor = background("studio", rays, seed[:1], sample_light(seed[:1]), None)
    x, y, _ = rays.at(rays.plane(0.0))
    assert torch.hypot(x, y)[floor == 1].max() > 5500


def test_green_is_green():
    for family in ("green", "test_green"):
        r, g, b = render_people(*empty(12), family, seed=2).image.unbind(1)
        assert (g > 1.25 * torch.maximum(r, b)).float().mean() > 0.98


def test_families_differ_and_test_variants_are_unseen():
    """Nearest training picture by colour histogram: a training picture has one nearer than an unseen picture has."""

    def histogram(family, seed):
        image = render_people(*empty(60, (60, 32)), family, seed=seed).image
        bins = (image * 5.999).floor().long()
        flat = (bins[:, 0] * 36 + bins[:, 1] * 6 + bins[:, 2]).flatten(1)
        return torch.zeros(len(flat), 216).scatter_add(1, flat, torch.full_like(flat, 1 / flat.shape[1], dtype=torch.float32))

    train = {f: histogram(f, 1) for f in FAMILIES}
    for f in FAMILIES:
        near = torch.cdist(histogram(f, 2), train[f], p=1).amin(-1).mean()
        unseen = torch.cdist(histogram("test_" + f, 2), train[f], p=1).amin(-1).mean()
        assert unseen > 1.1 * near, f
        assert all(torch.cdist(train[f], train[o], p=1).amin(-1).mean() > near for o in FAMILIES if o != f), f


def test_horizon_is_the_cameras():
    """Level cameras have the horizon at the principal point's row; below it is ground, above it sky or things on the ground."""
    centre = torch.tensor([[0, 0, 1600.0]]).double().expand(4, 3)
    camera = Camera.from_angles(torch.zeros(4), torch.arange(4) * 1.0, centre=centre, focal=80.0, size=(96, 64))
    args = empty(4, (96, 64))
    image = render_people(*args[:4], camera, "outdoor", seed=3).image
    up = Camera.from_angles(torch.full((4,), -0.15), torch.arange(4) * 1.0, centre=centre, focal=80.0, size=(96, 64))
    tilted = render_people(*args[:4], up, "outdoor", seed=3).image
    shift = 80 * math.tan(0.15)  # px, at the middle column
    a, b = image[:, :, 40:52, 40:56], tilted[:, :, 40 + round(shift) : 52 + round(shift), 40:56]
    assert (a - b).abs().mean() < 0.05
    assert (a - tilted[:, :, 40:52, 40:56]).abs().mean() > (a - b).abs().mean()


def test_shadow_lies_on_the_floor_by_the_feet():
    joints, mask, wardrobe, stature, camera = scene(B=2, P=1, size=(160, 96))
    with_person = render_people(joints, mask, wardrobe, stature, camera, "green", seed=1)
    without = render_people(joints, ~mask, wardrobe, stature, camera, "green", seed=1)
    ground = with_person.instance < 0
    darker = ((without.image - with_person.image).mean(1) > 0.04) & ground
    assert (darker.flatten(1).sum(-1) > 15).all()
    v, u = darker[0].nonzero().float().unbind(-1)
    place, ok = camera[0].on_floor(torch.stack([u, v], -1).double())
    assert ok.float().mean() > 0.9
    assert ((place[ok] - joints[0, 0, 2])[:, :2].norm(dim=-1) < 2800).float().mean() > 0.95


def test_folder_of_pictures(tmp_path):
    for name, colour in (("a.png", (10, 20, 200)), ("b.jpg", (200, 20, 10))):
        cv2.imwrite(str(tmp_path / name), np.full((40, 90, 3), colour, np.uint8))
    image = render_people(*empty(16), ImageFolder(tmp_path), seed=0).image
    red = image[:, 0].mean((1, 2)) > image[:, 2].mean((1, 2))
    assert 0 < red.sum() < 16
    with pytest.raises(InputError, match="no readable"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no background family"):
        render_people(*empty(1), "underwater")
