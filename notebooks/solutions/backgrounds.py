"""Solutions of 05_backgrounds."""

import numpy as np


def times_seen(steps, batch, share, pictures):
    """So many of all samples are of this kind, and they are spread over its pictures."""
    return steps * batch * share / pictures


def composite(picture, mask, background):
    """The person's pixels from the picture, all others from the background."""
    return np.where(mask[..., None], picture, background)


def times_larger(green, unseen):
    """Means first: the ratio of one person's two errors may be anything where the first one is small."""
    return np.abs(unseen).mean() / np.abs(green).mean()
