"""Twins: somebody in every picture, and the Panoptic twin beside recorded people before the real rig."""

import math

import pytest
import torch

from vp.data.panoptic import Panoptic
from vp.lab.datasets import load
from vp.skeleton import JOINTS_17
from vp.world.cameras import PANOPTIC, sampler
from vp.world.placement import MARGIN
from vp.world.poses import person
from vp.world.twins import TWINS

ROOT = JOINTS_17.root_index


def roots_inside(s):
    """(B, P) bool: the root lies on the picture, by the pinhole equation."""
    cam = torch.einsum("bij,bpj->bpi", s.camera.R, s.joints[:, :, ROOT].double()) + s.camera.t[:, None]
    uv = cam[..., :2] / cam[..., 2:] * s.camera.f[:, None] + s.camera.c[:, None]
    return s.mask & (cam[..., 2] > 10) & (uv > -0.5).all(-1) & (uv < torch.tensor(s.camera.size) - 0.5).all(-1)


@pytest.mark.parametrize(("name", "split"), TWINS)
def test_somebody_is_in_every_picture(name, split):
    data = load(name, split)
    assert roots_inside(data.scenes(1000, seed=9))[:, 0].all()
    # not by luck: every camera shows the highest root of the bank somewhere between 1 and 12 m straight ahead, and the lowest
    camera = sampler(data.twin.scenes.camera)(3000, torch.Generator().manual_seed(3))
    half = MARGIN * torch.atan(camera.size[1] / 2 / camera.f[:, 1])
    height = camera.centre[:, 2]
    low, high = ((data.bank.joints[:, ROOT, 2] / data.bank.stature).aminmax()[k] * data.people.stature.aminmax()[k] for k in (0, 1))
    upper, lower = (height[:, None] - torch.tan(camera.pitch + s * half)[:, None] * torch.tensor([1000.0, 12_000.0]) for s in (-1, 1))
    assert (upper.amax(1) > 1.05 * high).all()
    assert (lower.amin(1) < 0.8 * low).all()


def shares(joints, valid, camera):
    """Of people (N, J, 3) before one camera: shares in view and cut off, share with the root in the picture, median depth of the roots."""
    uv, depth, ok = camera.project(joints.double())
    inside = camera.in_image(uv) & ok & valid
    whole, root = (inside | ~valid).all(-1), JOINTS_17.root_index
    return (*(x.double().mean().item() for x in (whole, inside.any(-1) & ~whole, inside[:, root])), depth[:, root].nanmedian().item())


# Six people who stand in the sample's pictures of a haggling group (frames 4500, 6859): floor points between their feet, mm, read off
# camera 00_12's pictures by hand.
STANDING = ((889, -83), (145, -988), (-209, -1523), (643, 22), (-325, 142), (-761, -543))


def test_the_panoptic_twin_is_like_the_recorded_rig(shared):
    """Three seated people (recorded joints) and six standing ones (their places) before the real cameras, against the twin's."""
    reader, seq = Panoptic(shared / "data/panoptic"), "160906_band1"
    data = load("panoptic")
    s = data.scenes(300, seed=1)
    here = s.joints[s.mask]
    reach = here[:, ROOT, :2].norm(dim=-1)
    seated = [reader.sample(seq, 16, f).to(JOINTS_17, derive=True) for f in reader.frames(seq)]
    seated, known = torch.cat([x.joints for x in seated]), torch.cat([x.valid for x in seated])
    places = torch.cat([seated[:, ROOT, :2], torch.tensor(STANDING, dtype=torch.float64).repeat_interleave(20, 0)]).norm(dim=-1)
    assert reach.median().item() == pytest.approx(places.median().item(), abs=100)
    assert places.min() < reach.max() < places.max()
    six = torch.stack([person("standing", xy=xy) for xy in STANDING]).double()
    for number in PANOPTIC:
        camera = reader.camera(seq, number)
        two = [shares(seated, known, camera), shares(six, torch.ones(6, 17, dtype=torch.bool), camera)]
        real = [(a * 3 + b * 6) / 9 for a, b in zip(*two)]
        twin = shares(here, torch.ones(len(here), 17, dtype=torch.bool), sampler(f"panoptic:{number}")(1, torch.Generator())[0])
        assert twin[:2] == pytest.approx(real[:2], abs=0.2), f"in view and cut off, camera {number}"
        assert math.isclose(twin[3], real[3], rel_tol=0.2), f"depth, camera {number}"
