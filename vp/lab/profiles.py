"""The one switch of size: smoke, quick, paper-short, paper.  Later parts add their sizes here and nowhere else."""

import itertools
import os
from dataclasses import dataclass, field, fields, replace

import numpy as np

from vp.errors import InputError
from vp.lab.augment import Change
from vp.lab.losses import Weights
from vp.lab.results import BUDGETS, name_and_budget
from vp.lab.second_stage import CameraError, Course
from vp.lab.train import Plan
from vp.nets.backbone import Shape
from vp.nets.virtualpose import Sizes
from vp.world.agr import Noise
from vp.world.placement import Placement

PAPER = Sizes(space_centre=(5000.0, 0.0, 1100.0))  # the paper's, in a space ahead of the camera
SMALL = Sizes(  # what a laptop trains in minutes
    map=(56, 32), stride=16, space_centre=(4000.0, 0.0, 1000.0), space_size=(6000.0, 8000.0, 2400.0), space_bins=(24, 32, 8), sigma=600.0,
    subvoxel=True, threshold=0.07, window=3,
    de_width=16, de_deconv=32, de_bias=7.0, ren_widths=(24, 24, 48, 64), ren_kernel=3, ren_stride=2,
    pen_bins=16, pen_widths=(16, 16, 32, 64), pen_kernel=3, pen_stride=2, beta=1.0, skip=8.0, coordinates=True, de_init_std=None,
)  # fmt: skip


ABOVE, BELOW = 0.36, 0.24  # reach of a space along the camera axes from the optical axis, as shares of its farthest depth
MORE_VOXELS = 1.5  # times the voxels of the level space, at most


@dataclass(frozen=True)
class Study:
    """Sizes of the generalization study (§3); defaults are the paper's where it names any (§3.1), else ours."""

    train: int = 6000  # pictures per training set (rendered ones are held in memory: 9 GB)
    test: int = 2000  # per test set
    wide: tuple = (960, 512)  # px of pictures of 16:9 (§5.1)
    square: tuple = (512, 512)  # px of MuCo's square pictures
    seen: float = 1.0  # share of that which TIF and BDR look at
    crop: int = 256  # px (RootNet)
    layers: int = 50  # of the ResNets: the paper's for BDR
    width: int = 64
    deconv: int = 256
    bins: int = 64  # of TIF, 0: regression
    plan: Plan = field(default_factory=Plan)
    map: tuple = (240, 128)  # px of heatmaps, where they are the input
    heat_plan: Plan = field(default_factory=Plan)
    heat_test: int = 2000  # scenes

    def seed(self, seed):
        """The same with another seed of training."""
        return replace(self, plan=replace(self.plan, seed=seed), heat_plan=replace(self.heat_plan, seed=seed))

    def looked_at(self, size):
        """(w, h) px, multiples of 32, of what TIF and BDR see of pictures of a size."""
        return tuple(max(32, round(n * self.seen / 32) * 32) for n in size)


@dataclass(frozen=True)
class TwoD:
    """Sizes and training of the 2D network; defaults are the published ones (1.2 to 1.4) unless it is said.

    heat, box: weights of Eq. 1;  focus: a heatmap's square error counts 1 + focus x target times (not in the
    paper);  stamp: boxes are learned on the square that the AGR writes, else at the root's pixel (published).
    """

    shape: Shape = field(default_factory=Shape)
    plan: Plan = field(default_factory=lambda: Plan(steps=80_000))
    pictures: int = 3000  # per source: at 960 x 512, 4 GB of memory each
    change: Change = field(default_factory=Change)  # the paper asks for augmentation (§4.1), the published one is `augment.MIRROR`
    heat: float = 10_000.0
    box: float = 0.1
    focus: float = 0.0
    stamp: bool = False


@dataclass(frozen=True)
class Profile:
    """Sizes of one profile.  None of these numbers is in the paper unless the comment says so."""

    name: str
    scenes: int  # virtual people or scenes behind each geometry figure and claim
    clips: int  # recorded clips read where a folder is given (0: all)
    cell_timeout_s: int  # a notebook cell that runs longer is stopped
    second_stage: Course  # sizes and training of DE, REN and PEN
    held_out: int  # virtual scenes on which a second stage is measured
    study: Study  # sizes and training of the methods of the generalization study
    backbone: TwoD  # sizes and training of the 2D network
    ablation: Course  # of each arm of Table 5 and of the known poses, all alike

    def course(self, seed=0, course=None):
        """The second stage's `Course`, or another one, with this seed."""
        course = course or self.second_stage
        plans = {k: replace(plan, seed=seed) for k in ("alone", "together") if (plan := getattr(course, k))}
        return replace(course, **plans)


def in_view(sizes):
    """`Sizes` with a space along the camera's axes (right, down, forward) that holds the same people.

    It has the level one's width and depth, but must be higher, because far people stand anywhere between the picture's edges.  So that its
    voxels are not much larger it has more, at most MORE_VOXELS times: of all bins that the 3D network accepts, those whose largest
    spacing is smallest.
    """
    (ahead, _, _), (depth, width, _) = sizes.space_centre, sizes.space_size
    far = ahead + depth / 2
    extent = (width, far * (ABOVE + BELOW), depth)
    step, most = 4 * sizes.ren_stride, MORE_VOXELS * np.prod(sizes.space_bins)
    counts = range(step, max(sizes.space_bins) + 1, step)
    fitting = [bins for bins in itertools.product(counts, repeat=3) if np.prod(bins) <= most]
    spacing = {bins: sorted((size / (n - 1) for size, n in zip(extent, bins)), reverse=True) for bins in fitting}
    centre = (0.0, far * (BELOW - ABOVE) / 2, ahead)
    return replace(sizes, space_centre=centre, space_size=extent, space_bins=min(fitting, key=spacing.get))


SHORT = Plan(steps=2000)
WEIGHTS = Weights(depth=0.001, volume=1000.0, pose=0.01)  # each about 1 at the start (not in the paper)
PLAN = Plan(schedule="cosine", warmup=0.05, lr=2e-3, weight_decay=1e-2, clip=1.0, batch=16)


def _small(alone, together):
    """A Course of so many steps for a laptop."""
    return Course(SMALL, replace(PLAN, steps=alone, batch=32, lr=4e-3), replace(PLAN, steps=together), "both", cubes=24, weights=WEIGHTS)


def _study(train, test, steps, heat_steps, heat_test):
    """A Study of so many pictures and steps for a laptop."""
    plan = replace(PLAN, steps=steps)
    return Study(train, test, (240, 128), (128, 128), 0.5, 64, 18, 16, 32, plan=plan, map=(56, 32),
                 heat_plan=replace(PLAN, steps=heat_steps, lr=3e-3), heat_test=heat_test)  # fmt: skip


MILD = Change(0.5, (0.85, 1.2), 0.0, 0.05, 0.15, 0.1, 0.2, background=0.0)  # in few steps, more of it teaches less


def _two_d(pictures, steps, picture=(224, 128), change=MILD, lr=4e-3):
    """A TwoD of so many pictures per source and steps for a laptop; its pictures are four times the second stage's maps."""
    shape = Shape(15, picture, 18, 32, 64, skips=True, box_unit=picture[0] / 64, init_std=None)
    return TwoD(shape, replace(PLAN, steps=steps, lr=lr), pictures, change, heat=1000.0, box=0.1, focus=5.0, stamp=True)


# The shipped model: finer maps, a bird's-eye REN, everything that detectors and users do to the AGR and the camera.
SHIPPED_NOISE = Noise(missed=0.02, box_jitter=0.03, occluded=(0.2, 0.9), swapped=0.02, no_head_top=0.4, no_neck=0.15, no_arm=0.05,
                      no_leg=0.08, spurious=0.01)  # fmt: skip
COMPACT = Course(
    replace(
        SMALL, map=(80, 48), stride=12, space_centre=(5000.0, 0.0, 1000.0), space_size=(8000.0, 8000.0, 2400.0), space_bins=(40, 40, 10),
        sigma=800.0, threshold=0.1, window=5, de_bias=9.0, birdseye=True, ren_widths=(64, 96, 128, 0),
    ),
    replace(PLAN, steps=600, batch=32, lr=4e-3), replace(PLAN, steps=2000), "both", weights=WEIGHTS, noise=SHIPPED_NOISE,
    windows=0.4, windows_mm=4000.0, camera_error=CameraError(0.5, 20.0), people=(1, 6),
    places=Placement(area=None, view=(1800.0, 10_500.0)),
)  # fmt: skip

# The shipped 2D network, whose maps are COMPACT's: about an hour on one thread of a CPU.
COMPACT_2D = _two_d(3000, 1600, (320, 192), Change(0.5, (0.8, 1.25), 5.0, 0.08, 0.2, 0.2, 0.2, background=0.0))

PROFILES = {
    p.name: p
    for p in (
        Profile("smoke", scenes=200, clips=3, cell_timeout_s=300, second_stage=_small(4, 4), held_out=32,
                study=_study(32, 16, 3, 3, 32), backbone=_two_d(8, 3), ablation=_small(3, 3)),
        Profile("quick", scenes=4000, clips=0, cell_timeout_s=1800, second_stage=_small(220, 300), held_out=192,
                study=_study(1200, 250, 400, 400, 256), backbone=_two_d(500, 500), ablation=_small(90, 115)),
        Profile("paper-short", scenes=20000, clips=0, cell_timeout_s=7200, second_stage=Course(PAPER, together=SHORT), held_out=1000,
                study=Study(3000, 500, plan=SHORT, heat_plan=SHORT, heat_test=1000), backbone=TwoD(plan=SHORT, pictures=1000),
                ablation=Course(PAPER, together=SHORT)),
        Profile("paper", scenes=20000, clips=0, cell_timeout_s=4 * 86400, second_stage=Course(PAPER), held_out=2000, study=Study(),
                backbone=TwoD(), ablation=Course(PAPER)),
    )
}


def resolve(profile="auto"):
    """The Profile of a name; "auto" is $VP_PROFILE, else quick; NAME-half and NAME-double: see `with_budget`.

    InputError for an unknown name.
    """
    name = (os.environ.get("VP_PROFILE") or "quick") if profile == "auto" else profile
    whole, times = name_and_budget(name)
    if whole not in PROFILES:
        raise InputError(f"unknown profile {name!r}", hint=f"one of {', '.join(PROFILES)}, or one with {' or '.join(BUDGETS)}")
    return PROFILES[whole] if times == 1 else with_budget(PROFILES[whole], name, times)


def with_budget(profile, name, times):
    """The Profile with `times` the steps of every training, all else the same: does an order depend on the budget (`effects.budget`)?"""

    def scaled(x):
        if isinstance(x, Plan):
            return replace(x, steps=max(1, int(x.steps * times)))
        plans = {f.name: v for f in fields(x) if isinstance(v := getattr(x, f.name), Plan)}
        return replace(x, **{name: scaled(plan) for name, plan in plans.items()})

    parts = {part: scaled(getattr(profile, part)) for part in ("second_stage", "study", "backbone", "ablation")}
    return replace(profile, name=name, **parts)
