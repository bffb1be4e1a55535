"""Solutions of 11_ablations."""


def interaction(a):
    """What being told is worth in 3D, less what it is worth in 2D."""
    return (a[1, 0] - a[1, 1]) - (a[0, 0] - a[0, 1])


def on_floor(h, f, v, s):
    """The ray through the feet falls v per f; a share of s / v of v is the same share of the depth."""
    z = h * f / v
    return [z, z * s / v]
