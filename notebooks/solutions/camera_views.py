"""Solutions of 04_camera_views."""

import math

import numpy as np


def camera_of_rule(a, b):
    """1/d = (sin θ + v cos θ) / (H - z): the two coefficients are a vector of length 1 / (H - z) at the angle θ."""
    return math.degrees(math.atan2(a, b)), 1 / math.hypot(a, b)


def said_depth(d, z, height, pitch, learned_height, learned_pitch):
    """The row is what the picture has; the rule reads it with the camera it knows."""
    v = ((height - z) / d - math.sin(pitch)) / math.cos(pitch)
    return (learned_height - z) / (math.sin(learned_pitch) + v * math.cos(learned_pitch))


def off_over_on(table):
    """Each column without its diagonal, averaged, over the diagonal."""
    on = np.diag(table)
    return (table.sum(0) - on) / (len(table) - 1) / on
