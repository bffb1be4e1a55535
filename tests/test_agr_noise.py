"""AGR noise against its stated model and against the published draws; the options one by one; speed against the literal loop."""

import math
import time

import numpy as np
import pytest
import torch
from test_agr import blob, make_scenes, mass_and_centre, rng

from vp import published_agr as published
from vp.skeleton import JOINTS_15, JOINTS_17
from vp.world.agr import DETECTOR, Noise, agr, synthesise

STILL = Noise(position=0.0, dim=(0.0, 1.0, 0.0), weak=(("other", 0.0, 1.0),))  # noise of which nothing is left


def test_noise_off_is_no_noise():
    scenes = make_scenes()
    a, b = synthesise(scenes, noise=None)[0], synthesise(scenes, noise=STILL, generator=rng())[0]
    assert (a.heatmaps - b.heatmaps).abs().max() < 1e-6
    with pytest.raises(ValueError, match="Generator"):
        synthesise(scenes)


def test_published_noise_statistics():
    """Shift and amplitude, read back from 17 x 600 heatmaps (mass = 2 pi sigma² a), against the model and against the published draws."""
    uv, present, mask, size = blob(600, 1, 17, reach=(100.0, 100.0))
    clean, noisy = (agr(uv, present, mask, size, (120, 64), n, rng(1)) for n in (None, Noise()))
    sigma = clean.sigma[:, 0]
    mass, centre = mass_and_centre(noisy.heatmaps)
    amplitude = (mass / (2 * math.pi * sigma[:, None] ** 2)).numpy()
    shift = ((centre - mass_and_centre(clean.heatmaps)[1]) / sigma[:, None, None]).numpy()
    assert shift.std((0, 1)) == pytest.approx([0.25, 0.25], rel=0.03)  # 3 standard errors are 2 %
    assert np.abs(shift.mean((0, 1))).max() < 0.01
    assert abs(np.corrcoef(shift[..., 0].ravel(), shift[..., 1].ravel())[0, 1]) < 0.04
    _, theirs = published.draw_noise(np.full((600, 17, 2), 300.0), np.full(600, 3.0), np.random.RandomState(0))
    for j, name in enumerate(JOINTS_17.joints):
        p = 0.35 if name in ("spine", "head") or name.endswith(("elbow", "wrist")) else 0.25
        factor = 0.5 if name.endswith("wrist") else 0.7
        assert amplitude[:, j].mean() == pytest.approx(0.92 * (1 - p * (1 - factor)), abs=0.025)
        assert (amplitude[:, j] < 0.8 if factor == 0.7 else amplitude[:, j] < 0.6).mean() == pytest.approx(p, abs=0.075)
        grid = np.linspace(0.3, 1.01, 200)[:, None]
        distance = np.abs((amplitude[:, j] <= grid).mean(1) - (theirs[:, j] <= grid).mean(1)).max()
        assert distance < 0.12  # Kolmogorov-Smirnov: p = 1e-4 at 0.128
    assert (amplitude > 0.999).mean() == pytest.approx(0.2 * 0.72, abs=0.02)
    assert (clean.box_map == noisy.box_map).all()
    assert noisy.heatmaps.max() <= 1


def test_missing_channels_are_empty():
    uv, present, mask, size = blob(400, 2, 17)
    noise = Noise(no_head_top=0.2, no_neck=0.1, no_arm=0.2, no_leg=0.3, spurious=0.5)
    out = agr(uv, present, mask, size, (60, 32), noise, rng())
    empty = ~out.heatmaps.flatten(2).any(-1)
    assert (empty == ~out.channels).all()
    share = {name: empty[:, j].float().mean().item() for j, name in enumerate(JOINTS_17.joints)}
    expected = {"head_top": 0.3, "spine": 0.3, "head": 0.3, "neck": 0.1, "mid_hip": 0}
    expected |= {f"{side}_{part}": q for side in ("left", "right") for part, q in
                 (("shoulder", 0), ("hip", 0), ("elbow", 0.1), ("wrist", 0.1), ("knee", 0.15), ("ankle", 0.15))}  # fmt: skip
    assert set(share) == set(expected)
    for name, value in expected.items():
        assert share[name] == (pytest.approx(value, abs=0.07) if value else 0)
    J = JOINTS_17.index
    assert (empty[:, J("left_knee")] == empty[:, J("left_ankle")]).all()
    assert not (empty[:, J("left_knee")] & empty[:, J("right_knee")]).any()
    assert (empty[:, J("head_top")] | ~empty[:, J("neck")]).all()


def test_the_other_options_one_by_one():
    def make(**options):
        uv, present, mask, size = blob(300, 1)
        kwargs = {"visible": torch.arange(15).expand(300, 1, 15) % 2 == 0} if "occluded" in options else {}
        return agr(uv, present, mask, size, (60, 32), Noise(STILL.position, STILL.dim, STILL.weak, **options), rng(2), **kwargs)

    clean = make()
    missed = make(missed=0.3)
    gone = ~missed.root_valid[:, 0]
    assert gone.float().mean().item() == pytest.approx(0.3, abs=0.08)
    assert not missed.heatmaps[gone].any()
    assert not missed.box_map[gone].any()
    assert torch.equal(missed.heatmaps[~gone], clean.heatmaps[~gone])

    boxes = make(box_jitter=0.05).boxes - clean.boxes
    assert boxes[:, 0].std(0).numpy() == pytest.approx(0.05 * (clean.boxes[0, 0, 2:] - clean.boxes[0, 0, :2]).repeat(2).numpy(), rel=0.15)

    ratio = mass_and_centre(make(occluded=(0.2, 0.6)).heatmaps)[0] / mass_and_centre(clean.heatmaps)[0]
    assert ratio[:, ::2].numpy() == pytest.approx(1, abs=1e-5)
    assert (ratio[:, 1::2].min().item(), ratio[:, 1::2].max().item()) == pytest.approx((0.2, 0.6), abs=0.01)

    swapped, order = make(swapped=0.4).heatmaps, JOINTS_15.flip_order
    for part, share in (("wrist", 0.4), ("shoulder", 0.4), ("ankle", 0.4), ("hip", 0.4)):
        j = JOINTS_15.index(f"left_{part}")
        other = (swapped[:, j] == clean.heatmaps[:, order[j]]).flatten(1).all(1)
        same = (swapped[:, j] == clean.heatmaps[:, j]).flatten(1).all(1)
        assert (other ^ same).all()
        assert other.float().mean().item() == pytest.approx(share, abs=0.1)
    assert torch.equal(swapped[:, :3], clean.heatmaps[:, :3])

    ghosts = (make(spurious=0.2).heatmaps - clean.heatmaps).flatten(2)
    assert (ghosts >= 0).all()
    assert (ghosts.amax(-1) > 0.05).float().mean().item() == pytest.approx(0.2, abs=0.04)  # a few hide behind the true peak
    with pytest.raises(ValueError, match="visible"):
        agr(*blob(), noise=DETECTOR, generator=rng())


# ---- speed -----------------------------------------------------------------------------------------------------------------------------


def literal_loop(joints_2d, sigma, random):
    """The published way: noise and a patch, joint by joint, pasted by maximum; heatmaps (J, 128, 240)."""
    return published.render(joints_2d, sigma, None, *published.draw_noise(joints_2d, sigma, random))


def test_faster_than_the_literal_loop():
    """Median of seven in one run on one thread; the literal loop draws heatmaps only, ours the whole AGR.  Two threads gain more."""
    B = 16
    uv, present, mask, size = blob(B, 5, at=(0.0, 0.0), reach=(160.0, 320.0))
    uv += torch.rand(B, 5, 1, 2, generator=rng(9)) * torch.tensor([960.0, 200.0]) + torch.tensor([0.0, 150.0])
    people, random, ours, theirs = uv.double().numpy(), np.random.RandomState(0), [], []
    sigmas = [published.sigmas(x) for x in people]
    for _ in range(7):
        start = time.perf_counter()
        agr(uv, present, mask, size, noise=Noise(), generator=rng())
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        for x, s in zip(people, sigmas, strict=True):
            literal_loop(x, s, random)
        theirs.append(time.perf_counter() - start)
    ours, theirs = np.median(ours) / B, np.median(theirs) / B
    print(f"AGR {ours * 1e3:.2f} ms, literal loop {theirs * 1e3:.2f} ms per image: {theirs / ours:.1f} times")
    assert theirs / ours > 1.5  # far below what a quiet machine shows, so that a crowded one passes
