"""What a measured failure (`vp.lab.qualitative`) is: errors at several levels of one thing, and their slope over it."""

import math
from dataclasses import dataclass, field

import numpy as np

from vp.lab import study
from vp.lab.effects import bootstrap


@dataclass
class Curve:
    """Errors at several levels of one thing, {level: (N,)} each: z mm, signed (positive: too far);  mpjpe mm;  scene;  depth mm, the
    true one;  found (M,) bool, of everybody who was asked for."""

    name: str
    z: dict
    mpjpe: dict
    scene: dict
    found: dict
    depth: dict
    _means: dict = field(default_factory=dict, repr=False)  # intervals take longer than all else

    def mean(self, level, metric="mrpe_z"):
        """(mean, interval or None) of a level: "mrpe_z", "mpjpe" (mm) or "depth_excess" (%)."""
        if (level, metric) not in self._means:
            values = self.values(level, metric)
            self._means[level, metric] = study.mean(values), study.interval(values, self.scene[level])
        return self._means[level, metric]

    def values(self, level, metric="mrpe_z"):
        """(N,) of these."""
        if metric == "depth_excess":
            return 100 * self.z[level] / self.depth[level]
        return np.abs(self.z[level]) if metric == "mrpe_z" else self.mpjpe[level]


def slope(y, x, scene):
    """(slope of y on x through the origin, 95 % interval over scenes); arrays (N,), NaN left out."""
    ok = np.isfinite(y) & np.isfinite(x)
    xy, xx = (y * x)[ok], (x * x)[ok]
    if not len(xx) or not xx.sum():
        return math.nan, None
    both, rng = np.stack([xy, xx], -1), np.random.default_rng(0)
    return float(xy.sum() / xx.sum()), bootstrap(both, np.asarray(scene)[ok], None, rng, statistic=lambda m: m[:, 0] / m[:, 1])
