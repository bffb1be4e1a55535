"""Solutions of 02_poses_and_cameras."""

import numpy as np


def posture_factor(z, h_real):
    """Extent perpendicular to the floor over stature, over the joints that are known."""
    return (np.nanmax(z) - np.nanmin(z)) / h_real


def repair(R):
    """Negate the second column of a left-handed matrix: that flips world Y."""
    return R * np.array([1.0, -1.0, 1.0]) if np.linalg.det(R) < 0 else R
