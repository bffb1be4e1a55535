"""Beyond the paper's experiments: a second stage with one thing changed, for grids over notebook 11 (`make sweep`).

What changes the training is trained by the profile's short course (`Profile.ablation`); what changes the test alone is asked of the
unchanged short course.  Everything is tested on the same held-out scenes.  A value that is the course's own gives the line to compare with.
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

MISSING = {"none": {}, "arm": {"no_arm": 1.0}, "leg": {"no_leg": 1.0}, "head": {"no_head_top": 1.0}}
PROTOCOLS = ("honest", "published")


@dataclass(frozen=True)
class Sweep:
    """What notebook 11's sweep parameters ask for; a default (0, -1, "") leaves the course and the test as they are, and is not swept.

    sigma_mm: of the depth gate;  voxels: their number along each side of REN's space, as a factor, rounded to what its network can
    halve;  people: most in a training scene;  noise: of the AGR in training, one of NOISES ("published" is the course's);  scenes: so many
    training scenes for the DE alone, and so many others for all networks together, over and over, 0 (the course's): without end;
    missing: joints that the test's AGR lacks, one of MISSING;  protocol: of the test, one of PROTOCOLS.
    """

    sigma_mm: float = 0.0
    voxels: float = 0.0
    people: int = 0
    noise: str = ""
    scenes: int = -1
    missing: str = ""
    protocol: str = ""

    def __post_init__(self):
        for name, known in (("noise", NOISES), ("missing", MISSING), ("protocol", PROTOCOLS)):
            if getattr(self, name) not in ("", *known):
                raise InputError(f"{name} = {getattr(self, name)!r}", "sweep", f"one of {', '.join(map(repr, known))}")
        if self.sigma_mm < 0 or not (self.voxels == 0 or 0.2 <= self.voxels <= 4) or not 0 <= self.people <= 20 or self.scenes < -1:
            raise InputError(f"{self}", "sweep", "sigma_mm at least 0, people from 1 to 20, scenes at least 0, voxels from 0.2 to 4")

    @property
    def asked(self):
        """{name: value} of what is swept."""
        return {k: v for k, v in vars(self).items() if v != getattr(Sweep, k)}

    def label(self, course):
        """What is swept in words: "voxels = 0.5 (16 x 16 x 8), noise = clean"; "nothing"."""
        bins = " x ".join(map(str, self.course(course).sizes.space_bins))
        return ", ".join(f"{k} = {v:g} ({bins})" if k == "voxels" else f"{k} = {v}" for k, v in self.asked.items()) or "nothing"

    def course(self, course):
        """A `Course` with the changes that training can see."""
        s = course.sizes
        step = 4 * s.ren_stride  # what the 3D network halves
        bins = tuple(max(step, round(n * self.voxels / step) * step) for n in s.space_bins) if self.voxels else s.space_bins
        sizes = replace(s, sigma=self.sigma_mm or s.sigma, space_bins=bins)
        people = (min(course.people[0], self.people), self.people) if self.people else course.people
        return replace(course, sizes=sizes, people=people, noise=NOISES[self.noise] if self.noise else course.noise)

    def batches(self, course):
        """The stream of training scenes of a changed course."""
        endless = course.batches()
        return Repeated(**vars(endless), most=self.scenes) if self.scenes > 0 else endless


@dataclass(frozen=True)
class Repeated(Batches):
    """`Batches` that begins again after `most` scenes, rounded down to whole batches."""

    most: int = 1

    def __call__(self, start, n):
        return super().__call__(start % (max(1, self.most // n) * n), n)


def run(sweep, profile="auto", seed=0, **columns):
    """Rows of a `Sweep`, experiment "sweep, NAMES": POINTS and levels on held-out scenes, what was swept in the column `train` (by the
    published protocol: the means of that, REN+PEN alone); none if nothing is swept."""
    if not sweep.asked:
        return []
    p = resolve(profile)
    short = p.course(seed, p.ablation)
    course, often = sweep.course(short), {"scenes": sweep.scenes} if sweep.scenes > 0 else None
    trained = models.cached(course, sweep.batches(course), None, None, default_device(), often)
    noise, scenes = replace(Noise(), **MISSING[sweep.missing or "none"]), study.held_out(profile, seed)
    about = {"train": sweep.label(short), "test": "held out", "profile": p.name, "seed": seed, "sources": study.sources(scenes), **columns}
    experiment = f"sweep, {', '.join(sweep.asked)}"
    if sweep.protocol != "published":
        return study.rows(study.errors(trained, scenes, noise=noise), experiment, trained, **about)
    known = evaluate.Calibration(**trained.facts["calibration"])
    _, way = evaluate.measure(trained.model, scenes, known, noise, 0, trained.facts["frame"], 1)
    about |= {"method": "REN+PEN", **study.budget(trained)}
    found = [(m, way[m], "mm") for m in ("mrpe_z", "mrpe", "mpjpe")] + [("recall", way["recall"], "")]
    return [results.row(experiment, metric, float(v) if np.isfinite(v) else float("nan"), unit, n=int(way["n"]), **about)
            for metric, v, unit in found]  # fmt: skip
