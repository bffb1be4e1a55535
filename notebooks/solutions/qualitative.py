"""Solutions of 13_qualitative."""

import numpy as np


def depth_of_child(z, stature, adult):
    """The picture fixes the ratio of stature and depth: who is believed taller is believed farther away by as much."""
    return z * adult / stature


def depth_interval(z, shares):
    """Independent errors add up in squares, as shares of the depth."""
    share = np.sqrt((shares**2).sum())
    return np.array([z * (1 - share), z * (1 + share)])
