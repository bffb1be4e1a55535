"""Solutions of 07_agr."""

import math


def gaussian(x, u, sigma):
    """The value that one joint puts at position x."""
    return math.exp(-((x[0] - u[0]) ** 2 + (x[1] - u[1]) ** 2) / (2 * sigma**2))


def box_distances(root, box):
    """Left, top, right, bottom."""
    (x, y), (x0, y0, x1, y1) = root, box
    return [x - x0, y - y0, x1 - x, y1 - y]
