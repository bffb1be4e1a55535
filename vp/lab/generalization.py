"""The experiments of §3.2 with pictures, Fig. 3a (cameras) and Table 1 (backgrounds), as controlled comparisons.

An experiment is a set of training arms and a set of tests; every method is trained in every arm and answers every test.  Arms have equal
steps, batches and streams, and their scenes are the same but for the factor: the same people in the same postures and places, seen through
another camera or before another background.  So are the tests, and all differences are taken person by person.
"""

import warnings
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from vp.lab import baselines, models, pictures, pool, recorded_pictures, results, study
from vp.lab.datasets import load
from vp.lab.profiles import resolve
from vp.world.cameras import PANOPTIC, CameraRanges

THREE = ("TBS", "TIF", "BDR")
CAMERAS = ("14", "16", "19")  # §3.2
OFF_CAMERA = tuple((a, t) for a in CAMERAS for t in CAMERAS if a != t)  # (arm, test)
# Cameras that look at the dome's middle from anywhere about it, as far away as the rig's: pitch, height and focal length contain those of
# cameras 14, 16 and 19.  Not in the paper
ABOUT_THE_DOME = CameraRanges(
    (-10.0, 55.0), (600.0, 3600.0), (0.0, 360.0), (1800.0, 2900.0), (1350.0, 1700.0), (-5.0, 5.0), (300.0, 1600.0),
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where pictures come from: a data set's split, seen through other cameras than its own or before one family of backgrounds.

    part: (first, last) as shares of the pictures.
    """

    data: str
    split: str
    through: object = None
    background: str | None = None
    part: tuple = (0.0, 1.0)

    def pictures(self, sizes, seed=0, root=None):
        """`Pictures`: rendered, or those of the folder `root`, or rendered from its poses where it lacks pictures (see `lacking`)."""
        n = sizes.train if self.split == "train" else sizes.test
        size = sizes.square if self.data == "muco" else sizes.wide
        if root is None:
            made = pictures.of_scenes(load(self.data, self.split), n, seed, size, self.background, self.through)
        elif lack := lacking(self.data, root):
            _warn(lack)
            made = recorded_pictures.rendered(self.data, self.split, root, n, seed, size, self.through, self.background)
        else:
            made = recorded_pictures.of_folder(self.data, self.split, root, n, size, self.through, self.background)
        return made if self.part == (0.0, 1.0) else made.between(*self.part)


@dataclass(frozen=True)
class Experiment:
    """name of its rows;  arms: {training arm: tuple of `Source`};  tests: {test: `Source`}."""

    name: str
    arms: dict
    tests: dict


def _seen_by(camera):
    return ABOUT_THE_DOME if camera == "many" else f"panoptic:{camera}"


CAMERA_VIEWS = Experiment(
    "fig3a",
    {c: (Source("panoptic", "train", _seen_by(c)),) for c in (*CAMERAS, "many")},
    {c: Source("panoptic", "test", _seen_by(c)) for c in CAMERAS},
)
GREEN, AUGMENTED = Source("muco", "train", background="green"), Source("muco", "train", background="augmented")
BACKGROUNDS = Experiment(
    "table1",
    {
        "green": (GREEN,),
        "augmented": (Source("muco", "train", None, "green", (0.0, 0.5)), Source("muco", "train", None, "augmented", (0.5, 1.0))),
        "augmented, as many green": (GREEN, AUGMENTED),
    },
    {"MuCo (green)": Source("muco", "test", background="green"), "MuCo (augmented)": Source("muco", "test", background="test_augmented")},
)
EXPERIMENTS = {e.name: e for e in (CAMERA_VIEWS, BACKGROUNDS)}


@cache
def lacking(data, root):
    """Which pictures of an experiment a folder lacks, in one line; None if it has those of every arm and test.

    Where one is missing all are rendered, with the folder's poses and cameras: a comparison does not mix the two.
    """
    e = next(e for e in EXPERIMENTS.values() if data in {s.data for s in e.tests.values()})
    for s in dict.fromkeys((*sum(e.arms.values(), ()), *e.tests.values())):
        try:
            recorded_pictures.chosen(s.data, s.split, root, 1, s.through, s.background)
        except recorded_pictures.NoPictures as why:
            return str(why)
    return None


@cache
def _warn(lack):
    warnings.warn(f"{lack}; all pictures are rendered", stacklevel=3)


def told(data, root):
    """What the pictures of an experiment on a data set are, for headings."""
    if root is None or not lacking(data, root):
        return "recorded" if root else "virtual twin"
    sources = recorded_pictures.dataset(data, "train", str(Path(root).resolve())).sources
    has = [k for k in ("poses", "cameras") if sources[k] != "twin"]
    return f"recorded {' and '.join(has)}, rendered"


# ---- doing it --------------------------------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """people {test: `baselines.People`};  depths {(method, arm, test): (N,) mm}, also of the reference levels;  facts {(method, arm):
    what is known of a training};  sources {test: {"poses", "cameras", "images"}};  trained {arm: the same of its training, where known}."""

    people: dict
    depths: dict
    facts: dict
    sources: dict
    trained: dict = field(default_factory=dict)

    def named(self, test):
        """Sources of a test's rows: the test's, and those of all trainings where some are others (alike in all arms, which are paired)."""
        out = {}
        for k, v in self.sources[test].items():
            own = sorted({t.get(k, v) for t in self.trained.values()})
            out[k] = v if own in ([], [v]) else f"{v}, trained on {', '.join(own)}"
        return out

    def error(self, method, arm, test):
        """(N,) mm: by how much each depth is wrong, positive where too far."""
        return self.depths[method, arm, test] - self.people[test].depth


def train_one(name, arm, method, profile="auto", seed=0, root=None, label=None):
    """`baselines.Learned` of one method in one arm (from the cache if it was trained before)."""
    sizes = resolve(profile).study.seed(seed)
    sources = EXPERIMENTS[name].arms[arm]
    sets = tuple(s.pictures(sizes, seed, root) for s in sources)
    known = [float(x.nan_to_num().double().sum()) for p in sets for x in (p.joints, p.depth)]  # tells pose banks and cameras apart
    made_by = [str(root), models.code_hash(baselines.RECORDED_BY), sets[0].sources, known] if root else "twin"
    about = [[asdict(s) for s in sources], made_by, seed, [len(p) for p in sets]]
    return baselines.learn(method, pictures.Samples(sets), sizes, sets[0].camera.size, about, label)


def _prepare(name, arm, method, profile, seed, root):
    train_one(name, arm, method, profile, seed, root, None)


def _render(source, profile, seed, root):
    source.pictures(resolve(profile).study, seed, root)


def run(name, profile="auto", seed=0, methods=THREE, root=None):
    """`Outcome` of an experiment: methods are names of `baselines.METHODS`, or {name: a user's own maker} (see `baselines.learn`)."""
    e, sizes = EXPERIMENTS[name], resolve(profile).study.seed(seed)
    makers = methods if isinstance(methods, dict) else {m: m for m in methods}
    sources = list(dict.fromkeys((*sum(e.arms.values(), ()), *e.tests.values())))
    pool.side_by_side(_render, [(s, profile, seed, root) for s in sources], "pictures")
    known = [(name, arm, m, profile, seed, root) for arm in e.arms for m in makers.values() if isinstance(m, str)]
    pool.side_by_side(_prepare, known, "trainings")
    tests = {t: s.pictures(sizes, seed, root) for t, s in e.tests.items()}
    out = Outcome({t: baselines.People.of(p) for t, p in tests.items()}, {}, {}, {t: p.sources for t, p in tests.items()})
    for arm in e.arms:
        seen = [s.pictures(sizes, seed, root) for s in e.arms[arm]]
        levels, out.trained[arm] = baselines.Calibration.of(*seen), seen[0].sources
        for t, p in tests.items():
            out.depths |= {(level, arm, t): d for level, d in levels.levels(p).items()}
        for method, make in makers.items():
            learned = train_one(name, arm, make, profile, seed, root)
            out.facts[method, arm] = learned.facts
            out.depths |= {(method, arm, t): baselines.answers(learned.method, p) for t, p in tests.items()}
    return out


# ---- rows ------------------------------------------------------------------------------------------------------------------------------


def rows(outcome, experiment, **columns):
    """Rows of an `Outcome`: mean error in depth of each method and level, in each arm, on each test; 95 % intervals over scenes."""
    out = []
    for (method, arm, test), _ in outcome.depths.items():
        out.append(_row(outcome, experiment, method, arm, test, np.abs(outcome.error(method, arm, test)), **columns))
    return out


def _row(outcome, experiment, method, arm, test, errors, among=None, kept=False, facts=None, **columns):
    """One row; kept: with each person's error, for paired claims;  among: (N,) bool, some of the people;  facts: of an arm that is made
    of several."""
    people = outcome.people[test]
    scene = people.scene if among is None else people.scene[among]
    errors = errors if among is None else errors[among]
    facts = outcome.facts.get((method, arm)) or facts or {}
    about = {k: facts.get(k) for k in ("steps", "samples_seen", "config", "device")}
    about = {k: v for k, v in about.items() if v is not None} | {"method": method, "train": arm, "test": test, "n": len(errors)}
    per = {"per_scene": [round(float(e), 1) for e in errors], "clusters": scene.tolist()} if kept else {}
    interval, sources = study.interval(errors, scene), outcome.named(test)
    return results.row(experiment, "mrpe_z", study.mean(errors), "mm", interval, sources, **about, **per, **columns)


def on_and_off(outcome, methods=THREE, experiment="fig3a, on and off camera", **columns):
    """Rows per method and test camera, with each person's error: trained "on" that camera, "off" it (mean of the other two arms, person
    by person), on "many" cameras."""
    out = []
    for method in methods:
        facts = outcome.facts.get((method, CAMERAS[0]), {})  # equal budgets
        budget = {k: facts.get(k) for k in ("steps", "samples_seen")}
        for test in outcome.people:
            err = {arm: np.abs(outcome.error(method, arm, test)) for arm in (*CAMERAS, "many")}
            off = np.mean([err[c] for c in CAMERAS if c != test], axis=0)
            for arm, e in (("on", err[test]), ("off", off), ("many", err["many"])):
                out.append(_row(outcome, experiment, method, arm, test, e, kept=True, facts=budget, **columns))
    return out


def paired(outcome, experiment, methods=THREE, **columns):
    """Rows with each person's error, of tests that show the same people: for claims."""
    return [_row(outcome, experiment, m, arm, t, np.abs(outcome.error(m, arm, t)), kept=True, **columns)
            for (m, arm, t) in outcome.depths if m in methods]  # fmt: skip


# ---- how far apart cameras are -----------------------------------------------------------------------------------------------------------


def nearest_cameras(camera):
    """{name: (degree, mm)}: how near in pitch and in height the cameras of a batch come to 14, 16 and 19, both at once: the one whose
    difference, counted in steps of 5 degree and 250 mm, is least."""
    out = {}
    for c in CAMERAS:
        _, _, height, pitch, *_ = PANOPTIC[int(c)]
        d = np.stack([camera.pitch_deg.numpy() - pitch, camera.centre[:, 2].numpy() - height], -1)
        i = np.abs(d / (5.0, 250.0)).max(-1).argmin()
        out[c] = tuple(float(abs(x)) for x in d[i])
    return out


def by_name(outcome, method):
    """(arms, tests, table of mean errors mm) of a method, for a heat map."""
    arms = list(dict.fromkeys(a for m, a, _ in outcome.depths if m == method))
    tests = list(outcome.people)
    return arms, tests, np.array([[study.mean(np.abs(outcome.error(method, a, t))) for t in tests] for a in arms])


def worse_than(outcome, level, cells, methods=THREE):
    """[(method, arm, test)]: where, among cells [(arm, test)], a method errs more in the mean than a reference level of the same arm."""

    def error(*key):
        return study.mean(np.abs(outcome.error(*key)))

    return [(m, a, t) for m in methods for a, t in cells if error(m, a, t) > error(level, a, t)]


def by_seed(rows, file=None):
    """{seed: rows}: a run's own, and of the rows in file (default results/rows/generalization_seeds.jsonl) those of other seeds that have
    the same profile, experiments and data, trained for as many steps; the run alone where there is no such file."""
    file = Path(file or results.ROOT / "results" / "rows" / "generalization_seeds.jsonl")

    def alike(r):
        return tuple(r[c] for c in ("experiment", "profile", "poses", "cameras", "images"))

    out, steps = {}, {}
    for r in rows:
        out.setdefault(r["seed"], []).append(r)
        steps.setdefault(alike(r), set()).add(r["steps"])
    kept = {}
    for r in results.load(file) if file.exists() else ():
        if r["seed"] not in out and alike(r) in steps:
            kept.setdefault((r["seed"], *alike(r)), []).append(r)
    for (seed, *what), some in sorted(kept.items(), key=str):
        if {r["steps"] for r in some} == steps[tuple(what)]:
            out.setdefault(seed, []).extend(some)
    return out
