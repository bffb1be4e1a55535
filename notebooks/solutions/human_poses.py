"""Solutions of 06_human_poses."""

import numpy as np


def covered(test, bank, radius):
    """Distance of each test body to each of the bank; the nearest counts."""
    distance = np.linalg.norm(test[:, None] - bank, axis=-1).mean(-1)
    return (distance.min(1) <= radius).mean()


def error_of_posture(d, gamma, known):
    """h_img = f gamma H / d, read as f known H / d': d' = d known / gamma."""
    return d * known / gamma - d
