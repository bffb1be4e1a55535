"""The AGR explorer: each control changes the heatmap to what an independent computation says; crosses mark the truth."""

import numpy as np
import pytest
import torch

from vp.show.agr import ALL, AGRExplorer, heatmaps
from vp.skeleton import JOINTS_15

UV = torch.stack([torch.linspace(60, 180, 15), torch.linspace(20, 110, 15)], -1)[None]
PRESENT = torch.ones(1, 15, dtype=torch.bool)


@pytest.fixture
def explorer():
    e = AGRExplorer(UV, PRESENT, (240, 128), (120, 64), amount=0.0, joint=ALL)
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
    assert len(explorer.figure.data) == traces == 2


def test_crosses_mark_where_the_joints_shown_are(explorer):
    cross = explorer.figure.data[1]
    want = (UV[0].numpy() + 0.5) / 2 - 0.5
    assert np.allclose(np.stack([cross.x, cross.y], -1), want, atol=1e-5)
    explorer.controls["joint"].value = "right_knee"
    j = JOINTS_15.index("right_knee")
    assert np.allclose([cross.x, cross.y], want[j, :, None], atol=1e-5)
    v, u = np.unravel_index(shown(explorer).argmax(), (64, 120))
    assert np.hypot(u - want[j, 0], v - want[j, 1]) < 0.75  # without noise the peak is there
    explorer.controls["amount"].value = 4.0
    assert np.allclose([cross.x, cross.y], want[j, :, None], atol=1e-5), "noise moves the peak, not the truth"
    hidden = AGRExplorer(UV, torch.zeros_like(PRESENT), (240, 128), joint=ALL)
    assert len(hidden.figure.data[1].x) == 0, "an unknown joint has no cross"
    tall = AGRExplorer(UV, PRESENT, (240, 240), joint=ALL)  # padded at the left and right: 128 px of the map for 240 of the image
    k = 128 / 240
    assert np.allclose(tall.figure.data[1].x, (UV[0, :, 0].numpy() + 0.5) * k - 0.5 + (240 - 128) / 2, atol=1e-5)


def test_opens_on_one_joint_with_noise_and_marks():
    e = AGRExplorer(UV, PRESENT, (240, 128))
    assert e.state["joint"] in JOINTS_15.joints
    assert e.state["amount"] > 0
    assert shown(e).shape == (128, 240)
    assert len(e.figure.data[1].x) == 1
    ax = e.still().axes[0]
    assert np.allclose(ax.lines[0].get_xydata(), [[e.figure.data[1].x[0], e.figure.data[1].y[0]]])


def test_still_and_text(explorer):
    data, metadata = explorer._repr_mimebundle_()
    assert data["image/png"][:4] == b"\x89PNG"
    assert "AGR explorer" in data["text/plain"]
    assert metadata["image/png"]["alt"] == data["text/plain"]


def test_missing_leg_loses_one_side_only():
    maps = heatmaps(UV, PRESENT, (240, 128), (120, 64), missing="one leg")
    gone = {JOINTS_15.joints[j] for j in range(15) if maps[j].max() == 0}
    assert gone in ({"left_knee", "left_ankle"}, {"right_knee", "right_ankle"})
