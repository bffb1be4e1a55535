"""Beyond the paper's experiments: a second stage with one thing changed, for grids over notebook 11 (`make sweep`).

What changes the training is trained by the profile's short course (`Profile.ablation`); what changes the test alone is asked of the
unchanged short course.  Everything is tested on the same held-out scenes.
"""

from dataclasses import dataclass, replace

import numpy as np

from vp.errors import InputError
from vp.lab import evaluate, models, results, study
from vp.lab.evaluation import NOISES
from vp.lab.profiles import resolve
from vp.lab.second_stage import Batches
from vp.lab.train import default_device
from vp.world.agr import Noise

MISSING = {"": {}, "arm": {"no_arm": 1.0}, "leg": {"no_leg": 1.0}, "head": {"no_head_top": 1.0}}
PROTOCOLS = ("honest", "published")


@dataclass(frozen=True)
class Sweep:
    """What notebook 11's sweep parameters ask for; the defaults change nothing.

    sigma_mm: of the depth gate, 0: the profile's;  voxels: their number along each side of REN's space, as a factor;  people: most in a
    training scene, 0: the course's;  noise: of the AGR in training, one of NOISES;  scenes: so many training scenes for the DE alone, and
    so many others for all networks together, over and over, 0: without end;  missing: joints that the test's AGR lacks, one of MISSING;
    protocol: of the test, one of PROTOCOLS.
    """

    sigma_mm: float = 0.0
    voxels: float = 1.0
    people: int = 0
    noise: str = "published"
    scenes: int = 0
    missing: str = ""
    protocol: str = "honest"

    def __post_init__(self):
        for name, known in (("noise", NOISES), ("missing", MISSING), ("protocol", PROTOCOLS)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} = {getattr(self, name)!r}", "sweep", f"one of {', '.join(map(repr, known))}")
        if self.sigma_mm < 0 or not 0.2 <= self.voxels <= 4 or not 0 <= self.people <= 20 or self.scenes < 0:
            raise InputError(f"{self}", "sweep", "sigma_mm, people and scenes at least 0, voxels from 0.2 to 4")

    @property
    def changed(self):
        """{name: value} of what is not the default."""
        return {k: v for k, v in vars(self).items() if v != getattr(Sweep, k)}

    @property
    def label(self):
        """The changes in words, "unchanged" without any."""
        return ", ".join(f"{k} = {v}" for k, v in self.changed.items()) or "unchanged"

    def course(self, course):
        """A `Course` with the changes that training can see."""
        s = course.sizes
        step = 4 * s.ren_stride  # what the 3D network halves
        bins = tuple(max(step, round(n * self.voxels / step) * step) for n in s.space_bins) if self.voxels != 1 else s.space_bins
        sizes = replace(s, sigma=self.sigma_mm or s.sigma, space_bins=bins)
        people = (min(course.people[0], self.people), self.people) if self.people else course.people
        return replace(course, sizes=sizes, people=people, noise=NOISES[self.noise])

    def batches(self, course):
        """The stream of training scenes of a changed course."""
        endless = course.batches()
        return Repeated(**vars(endless), most=self.scenes) if self.scenes else endless


@dataclass(frozen=True)
class Repeated(Batches):
    """`Batches` that begins again after `most` scenes, rounded down to whole batches."""

    most: int = 1

    def __call__(self, start, n):
        return super().__call__(start % (max(1, self.most // n) * n), n)


def run(sweep, profile="auto", seed=0, **columns):
    """Rows of a `Sweep`, experiment "sweep, NAMES": POINTS and levels on held-out scenes, the change in the column `train` (by the
    published protocol: the means of that, REN+PEN alone); none if nothing is changed."""
    if not sweep.changed:
        return []
    p = resolve(profile)
    course = sweep.course(p.course(seed, p.ablation))
    trained = models.cached(course, sweep.batches(course), None, None, default_device(), {"scenes": sweep.scenes} if sweep.scenes else None)
    noise, scenes = replace(Noise(), **MISSING[sweep.missing]), study.held_out(profile, seed)
    about = {"train": sweep.label, "test": "held out", "profile": p.name, "seed": seed, "sources": study.sources(scenes), **columns}
    experiment = f"sweep, {', '.join(sweep.changed)}"
    if sweep.protocol == "honest":
        return study.rows(study.errors(trained, scenes, noise=noise), experiment, trained, **about)
    known = evaluate.Calibration(**trained.facts["calibration"])
    _, way = evaluate.measure(trained.model, scenes, known, noise, 0, trained.facts["frame"], 1)
    about |= {"method": "REN+PEN", **study.budget(trained)}
    found = [(m, way[m], "mm") for m in ("mrpe_z", "mrpe", "mpjpe")] + [("recall", way["recall"], "")]
    return [results.row(experiment, metric, float(v) if np.isfinite(v) else float("nan"), unit, n=int(way["n"]), **about)
            for metric, v, unit in found]  # fmt: skip
