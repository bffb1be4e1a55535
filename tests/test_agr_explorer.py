"""The AGR explorer: each control changes the one trace, to what an independent computation says."""

import numpy as np
import pytest
import torch

from vp.show.agr import ALL, AGRExplorer, heatmaps
from vp.skeleton import JOINTS_15

UV = torch.stack([torch.linspace(60, 180, 15), torch.linspace(20, 110, 15)], -1)[None]
PRESENT = torch.ones(1, 15, dtype=torch.bool)


@pytest.fixture
def explorer():
    e = AGRExplorer(UV, PRESENT, (240, 128), (120, 64), amount=0.0)
    assert e.widget is not None
    return e


def shown(e):
    return np.asarray(e.figure.data[0].z)


def test_without_noise_it_is_the_exact_gaussian(explorer):
    v, u = np.mgrid[:64, :120]
    centre = (UV[0].numpy() + 0.5) / 2 - 0.5
    explorer.controls["joint"].value = "mid_hip"
    j = JOINTS_15.index("mid_hip")
    z = shown(explorer)
    assert z.shape == (64, 120)
    d2 = (u - centre[j, 0]) ** 2 + (v - centre[j, 1]) ** 2
    near = d2 < 4
    sigma2 = np.median(d2[near] / (-2 * np.log(z[near])))
    assert np.allclose(z, np.exp(-d2 / (2 * sigma2)), atol=1e-3)


def test_each_control_changes_the_trace_and_makes_no_new_one(explorer):
    traces, before = len(explorer.figure.data), shown(explorer).copy()
    explorer.controls["amount"].value = 2.0
    noisy = shown(explorer).copy()
    assert not np.array_equal(noisy, before)
    explorer.controls["draw"].value = 3
    assert not np.array_equal(shown(explorer), noisy)
    explorer.controls["draw"].value = 0
    assert np.array_equal(shown(explorer), noisy), "the same draw is the same picture"
    explorer.controls["amount"].value = 0.0
    assert np.array_equal(shown(explorer), before)
    explorer.controls["missing"].value = "head top"
    explorer.controls["joint"].value = "head_top"
    assert shown(explorer).max() == 0
    explorer.controls["joint"].value = ALL
    explorer.controls["missing"].value = "nothing"
    assert np.array_equal(shown(explorer), before)
    assert len(explorer.figure.data) == traces == 1


def test_still_and_text(explorer):
    data, metadata = explorer._repr_mimebundle_()
    assert data["image/png"][:4] == b"\x89PNG"
    assert "AGR explorer" in data["text/plain"]
    assert metadata["image/png"]["alt"] == data["text/plain"]


def test_missing_leg_loses_one_side_only():
    maps = heatmaps(UV, PRESENT, (240, 128), (120, 64), missing="one leg")
    gone = {JOINTS_15.joints[j] for j in range(15) if maps[j].max() == 0}
    assert gone in ({"left_knee", "left_ankle"}, {"right_knee", "right_ankle"})
