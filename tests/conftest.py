"""Shared by all tests: one torch thread, reference numbers and sample data from the folder that lies beside the repository, helpers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vp.camera import Camera

torch.set_num_threads(1)

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared():
    """The sibling folder `shared` (golden numbers, sample data), or a skip that says so."""
    if not SHARED.is_dir():
        pytest.skip("no folder `shared` beside the repository: golden numbers and sample data are absent")
    return SHARED


class Golden:
    """One golden file: `g[name]` is an array (float32 as float64); `g.left_out()` names those not read since `g.used.clear()`."""

    def __init__(self, path):
        self.name, self.file, self.used = path.stem, np.load(path, allow_pickle=False), set()

    def __contains__(self, key):
        return key in self.file.files

    def __getitem__(self, key):
        self.used.add(key)
        array = self.file[key]
        return array.astype(float) if array.dtype == np.float32 else array

    def left_out(self):
        return set(self.file.files) - self.used


@pytest.fixture(scope="session")
def golden(shared):
    """All golden files by name, as `golden["camera"]`, or a skip that says what is absent."""
    files = {path.stem: Golden(path) for path in sorted((shared / "golden").glob("*.npz"))}
    if not files:
        pytest.skip("no folder `shared/golden` beside the repository: golden numbers are absent")
    return files


def close(a, b, tol, name=""):
    """Two arrays or tensors of one shape, finite, no two entries further apart than `tol`."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape, name
    assert np.isfinite(a).all(), name
    np.testing.assert_allclose(a, b, rtol=0, atol=tol, err_msg=name)


def looking_in(B=2, distance=5000.0, up=0.4):
    """Cameras (batch of B), 1 radian apart on a circle of `distance` mm, `up` times that high, all looking at (0, 0, 900)."""
    turn = torch.arange(B) * 1.0
    return Camera.look_at(torch.stack([turn.cos(), turn.sin(), up + 0 * turn], -1) * distance, [0.0, 0.0, 900.0]).to(torch.float32)


def grids_of_make():
    """The grids of `make sweep`, "NAME=V1,V2" each."""
    makefile = (Path(__file__).parents[1] / "Makefile").read_text().replace("\\\n", " ")
    (line,) = [x for x in makefile.splitlines() if x.startswith("SWEEP =")]
    return line.split()[2:]
