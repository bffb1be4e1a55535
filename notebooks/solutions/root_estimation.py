"""Solutions of 09_root_estimation."""

import math

import numpy as np


def depth_in_mm(d, f, k):
    """A picture k times as wide was taken with a focal length of k f of its pixels."""
    return d * f * k


def gate_of_voxel(z, in_box, depths, sigma):
    """Eq. (5): of the people in whose box the voxel lies, the one whose depth is nearest opens the gate."""
    return np.max(in_box * np.exp(-((z - depths) ** 2) / (2 * sigma**2)))


def offset(a, b, c):
    """The logarithm of a Gaussian is a parabola; three points fix its vertex."""
    la, lb, lc = map(math.log, (a, b, c))
    return (lc - la) / (2 * (2 * lb - la - lc))
