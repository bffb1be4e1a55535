"""Solutions of 03_depth_baselines."""

import math

import numpy as np


def box_k(box, fx, fy):
    """The square's edge is 1.25 times the longer one of the box; A_real is 2 m x 2 m."""
    edge = 1.25 * max(box[2] - box[0], box[3] - box[1])
    return math.sqrt(fx * fy * 2000.0**2 / edge**2)


def gamma_needed(gamma_pose, h_real, theta):
    """h_img = f γ_pose h_real cos θ / d and k = 2000 f / (1.25 * 1.24 h_img): the focal length and the depth cancel."""
    return 1.25 * 1.24 * gamma_pose * h_real * math.cos(theta) / 2000.0


def soft_depth(logits, bins):
    """Expected logarithm of the depth under the softmax, and back."""
    weight = np.exp(logits - logits.max())
    return np.exp((weight * np.log(bins)).sum() / weight.sum())


def place(u, d, f, c):
    """u = f x / d + c, solved for x."""
    x, y = (u - c) * d / f
    return [x, y, d]
