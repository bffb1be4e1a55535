"""Pictures of poses in space: what is drawn where, and what a notebook stores."""

import json

import numpy as np
import pytest
import torch

from vp.camera import Camera
from vp.show import poses3d
from vp.skeleton import JOINTS_15


@pytest.fixture
def scene():
    g = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 15, 3, generator=g) * 800 + torch.tensor([4000.0, 0.0, 500.0])
    truth[1, 3] = torch.nan
    found = truth[:1] + 150.0
    return truth, found, Camera.from_angles(0.1, 0.0)


def test_lines_are_the_limbs_in_metres(scene):
    truth, found, camera = scene
    shown = poses3d.over_truth(truth, found, camera, "two people and one answer, for the test")
    traces = {t.name: t for t in shown.figure.data}
    a, b = JOINTS_15.limb_pairs[0]
    np.testing.assert_allclose(traces["answer 1"].x[:2], found[0, [a, b], 0] / 1000, atol=6e-4)
    assert len(traces["answer 1"].x) == 3 * len(JOINTS_15.limbs)
    assert [t.name for t in shown.figure.data].count("truth") == 2
    assert np.isnan(np.array(traces["answer 1"].z, float)[2::3]).all()


def test_a_notebook_gets_both(scene):
    shown = poses3d.over_truth(*scene, "two people and one answer, for the test")
    data, metadata = shown._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/plain"] == repr(shown) == "two people and one answer, for the test"
    assert metadata["image/png"]["alt"] == data["text/plain"]
    stored = json.dumps(data[poses3d.PLOTLY])
    assert len(stored) < 40_000
    assert "NaN" not in stored


def test_nobody_is_no_error(scene):
    _, _, camera = scene
    nobody = torch.zeros(0, 15, 3)
    assert poses3d.over_truth(nobody, nobody, camera, "an empty scene, for the test of empty scenes").still.png
