"""Solutions of 15_claims."""

import numpy as np


def verdict(lo, hi, threshold):
    """The whole interval on one side of the threshold, or undecided."""
    return 1 if lo > threshold else -1 if hi < threshold else 0


def mean_and_sd(values, seeds):
    """A seed is one number, however many scenes it was tested on."""
    means = [values[seeds == s].mean() for s in np.unique(seeds)]
    return [np.mean(means), np.std(means, ddof=1)]
