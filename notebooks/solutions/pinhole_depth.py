"""Solutions of 01_pinhole_depth."""

import math


def depth(f, gamma, h_real, theta, h_img):
    """Fig. 1 solved for d."""
    return f * gamma * h_real * math.cos(theta) / h_img


def depth_error(d, spread):
    """Depth is proportional to stature: the true depth is d (1 + spread)."""
    return d * spread


def floor_depth(f, height, theta, v):
    """Going one mm forward along the camera's z, the ray drops sin θ + (v / f) cos θ; it reaches the floor after `height` mm of drop."""
    return height / (math.sin(theta) + v / f * math.cos(theta))
