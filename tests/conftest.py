"""Shared by all tests: one torch thread, and the folder of reference numbers and sample data that lies beside the repository."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared():
    """The sibling folder `shared` (golden numbers, sample data), or a skip that says so."""
    if not SHARED.is_dir():
        pytest.skip("no folder `shared` beside the repository: golden numbers and sample data are absent")
    return SHARED
