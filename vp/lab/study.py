"""Measurements behind the notebooks of the second stage: trained variants, the same held-out scenes for all of them, and rows.

Variants differ in one thing and share everything else: scenes, noise, plan, samples seen (equal budget).  Methods are compared on the
people whom all of them found; across variants, on those whom every variant found.  All errors are those of the published noise on AGR.
"""

import itertools
import sys
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from vp.errors import InputError
from vp.lab import models, pool, results
from vp.lab.claims import markdown
from vp.lab.effects import Effect, bootstrap, compared, number, quantity, select
from vp.lab.evaluate import LEVELS, POINTS, Calibration, measure, same_people
from vp.lab.profiles import in_view, resolve
from vp.lab.second_stage import NOISE, misjudged, world
from vp.lab.train import default_device
from vp.nets.ren import ROOT

VARIANTS = ("base", "naive", "camera", "candidates")
BLOCK, STREAM = 32, 99  # scenes measured at a time; seed of the held-out scenes
LEAST = 10  # people in a bin: of fewer, a mean says nothing
WRONG_PITCH, WRONG_HEIGHT = (0.0, 1.0, 2.0, 3.0, 4.0), (25.0, 50.0, 100.0)  # degree, mm
POSTURES = {  # groups of the virtual world's activities
    "upright": ("standing", "walking", "running", "talking", "gesturing", "boxing"),
    "reaching, jumping": ("reaching_up", "jumping", "hanging", "climbing", "throwing", "kicking", "dancing"),
    "bent, crouching": ("bending", "crouching", "kneeling"),
    "sitting": ("sitting",),
    "on the floor": ("sitting_floor", "lying"),
}


# ---- variants --------------------------------------------------------------------------------------------------------------------------


def course(profile="auto", seed=0, variant="base"):
    """The profile's `Course`, changed in one thing.

    "naive": no depth gate (§5.3);  "camera": the space has the camera's axes;  "candidates": PEN learns around REN's own answers alone,
    as published (the paper's profiles do so already), here at most as many as in the other variants.
    """
    c = resolve(profile).course(seed)
    if variant not in VARIANTS:
        raise ValueError(f"no variant {variant!r}: {', '.join(VARIANTS)}")
    if variant == "naive":
        return replace(c, sizes=replace(c.sizes, naive=True))
    if variant == "camera":
        return replace(c, frame="camera", windows=0.0, sizes=in_view(c.sizes))
    if variant == "candidates":
        return replace(c, pen_on="candidates")
    return c


def second_stage(profile="auto", seed=0, variant="base"):
    """The `Trained` second stage of a variant, from the cache of trained networks (else trained now; silently in a notebook)."""
    c, label = course(profile, seed, variant), f"second stage, {variant}" if sys.stderr.isatty() else None
    return models.cached(c, c.batches(), label=label, device=default_device(), sharing=True)


def prepare(profile="auto", seed=0, variants=VARIANTS):
    """Train the second stages of these variants that are not in the cache yet, side by side."""
    pool.side_by_side(_prepare, [(resolve(profile).name, seed, variant) for variant in variants], "second stages")


def _prepare(profile, seed, variant):
    models.cached(c := course(profile, seed, variant), c.batches(), label=None, device=default_device(), sharing=True)


def prepare_de(profile="auto", seed=0):
    """Train what all VARIANTS have in common, the DE's own part, if it is not in the cache yet."""
    if (whole := course(profile, seed)).alone:
        models.cached(c := models.shared(whole), c.batches(), label=None, device=default_device())


def held_out(profile="auto", seed=0, n=None, device=None):
    """The test scenes of a seed: a list of `Scenes`, BLOCK each, n in all (default: the profile's); other people, poses, cameras."""
    data, n, device = world(split="test"), n or resolve(profile).held_out, device or default_device()
    return [data.scenes(min(BLOCK, n - i), STREAM + seed, device, start=i) for i in range(0, n, BLOCK)]


# ---- errors ----------------------------------------------------------------------------------------------------------------------------


def errors(trained, scenes, stated=None, noise=NOISE):
    """{method: `metrics.People`} of a `Trained` on held-out scenes, in one window: POINTS, and LEVELS where its space is level.

    stated: what cameras the networks are told (see `measure`), default the true ones.  The same people in the same order each time.
    """
    known, frame = Calibration(**trained.facts["calibration"]), trained.facts["frame"]
    people, _ = measure(trained.model, scenes, known, noise, 0, frame, 1, stated, published=False)
    return {name: p for name, p in people.items() if frame == "ahead" or name in POINTS}


def common(*measured):
    """(N,) bool: people found by every method of every one of several `errors` on the same scenes."""
    keys = [np.stack([p.view, p.person]) for people in measured for p in people.values()]
    if any(not np.array_equal(k, keys[0]) for k in keys):
        raise ValueError("not measured on the same people")
    return np.all([same_people(people) for people in measured], axis=0)


METRICS = {
    "mrpe_z": lambda p: np.abs(p.root[:, 2]),
    "mrpe": lambda p: p.mrpe(),
    "mpjpe": lambda p: p.mpjpe(),
}


def rows(people, experiment, trained=None, among=None, metrics=("mrpe_z", "mrpe", "mpjpe"), paired=("mrpe_z",), **columns):
    """Rows of {method: `metrics.People`}: each method's mean errors (mm) on the people `among` (N,) bool (default: found by all its
    methods), with 95 % intervals over scenes, and its recall over everybody.

    trained: `Trained`, for steps and samples seen (reference levels have none);  paired: metrics whose rows carry each person's error;
    columns: notebook, profile, seed, train, test, sources and other columns of `results.row`.  "mpjpe" only of methods with poses.
    """
    among, out = same_people(people) if among is None else among, []
    for method, p in people.items():
        about = {**columns, "method": method, **(budget(trained) if trained and method not in LEVELS else {})}
        clusters = p.view[among]
        for metric in metrics:
            values = METRICS[metric](p)[among]
            if metric == "mpjpe" and not np.isfinite(p.errors[:, [j for j in range(p.errors.shape[1]) if j != ROOT]]).any():
                continue
            kept = {"per_scene": values.tolist(), "clusters": clusters.tolist()} if metric in paired else {}
            out.append(results.row(experiment, metric, mean(values), "mm", interval(values, clusters), n=int(among.sum()), **kept, **about))
        recall = p.found.astype(float)
        out.append(results.row(experiment, "recall", mean(recall), "", interval(recall, p.view), n=len(recall), **about))
    return out


def printed(column, table="table4", metric="mrpe_z"):
    """{method: number of the paper} of one column of its tables; its REN gives centres of voxels: our "REN (voxels)"."""
    found = {r["row"]: r["value"] for r in results.paper(table) if (r["column"], r["metric"]) == (column, metric)}
    return {"REN (voxels)" if k == "REN" else k: v for k, v in found.items() if np.isfinite(v)}


def table(rows, paper=(), columns=("mrpe_z", "mrpe", "mpjpe", "recall"), tell="method"):
    """Markdown table of rows: a line per value of the column `tell`, in the order of the rows, with the paper's numbers beside.

    paper: (heading, {line: number}) pairs;  columns: metrics, mrpe_z with its interval.
    """
    names, at = list(dict.fromkeys(r[tell] for r in rows)), {(r[tell], r["metric"]): r for r in rows}
    metrics = [m for m in columns if any(r["metric"] == m for r in rows)]
    lines = []
    for name in names:
        found = [at.get((name, m)) for m in metrics]
        cells = ["–" if r is None else f"{r['value']:.3f}" if r["unit"] == "" else f"{r['value']:.0f}" for r in found]
        if found[0] and found[0]["lo"] is not None:
            cells[0] += f" [{found[0]['lo']:.0f}, {found[0]['hi']:.0f}]"
        cells += [f"{numbers[name]:g}" if name in numbers else "–" for _, numbers in paper]
        lines.append([name, *cells])
    units = {r["metric"]: f" ({r['unit']})" if r["unit"] else "" for r in rows}
    people = sorted({r["n"] for r in rows if r["metric"] == metrics[0]})
    heads = [{"mrpe_z": "MRPE_z", "mrpe": "MRPE", "mpjpe": "MPJPE"}.get(m, m) + units[m] for m in metrics]
    text = markdown([tell, *heads, *(f"paper, {heading}" for heading, _ in paper)], lines)
    return text + f"\nErrors of {' or '.join(map(str, people))} people, found by all; [95 % interval over scenes].\n"


def mean(values):
    """Mean of what is known, NaN of nothing."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def interval(values, clusters):
    """95 % interval of a mean, scenes (clusters) drawn anew; None where too little is known."""
    known = np.isfinite(values)
    return bootstrap(values[known], clusters[known], None, np.random.default_rng(0)) if known.sum() > 1 else None


def side(effect):
    """On which side of zero the whole interval of an `Effect` lies: -1, 1, or 0: on both, or nothing is known."""
    lo, hi = (effect and effect.interval) or (-1, 1)
    return int(lo > 0) - int(hi < 0)


def ranked(rows, methods, **where):
    """Which of some methods has the lowest MRPE_z and by how much it is better than each other one, in a sentence."""
    means = {m: mean(np.array([r["value"] for r in select(rows, method=m, metric="mrpe_z", **where)], float)) for m in methods}
    if not np.isfinite(list(means.values())).all():
        return "Not known: nobody was found by all of " + ", ".join(methods) + "."
    best, *others = sorted(methods, key=means.get)
    effects = {m: compared({"method": best}, {"method": m}, metric="mrpe_z", **where)(rows) for m in others}
    shown = {m: "shown" if side(e) < 0 else "not shown: zero is within" for m, e in effects.items()}
    said = [f"against {m} {quantity(e.value, e.interval, 'mm')} ({shown[m]})" for m, e in effects.items()]
    return f"Lowest MRPE_z: {best}, {number(means[best])} mm; {'; '.join(said)}."


def budget(trained):
    """{"steps", "samples_seen", "config"} of a training."""
    parts = trained.facts["training"].values()
    about = {k: trained.facts.get(k) for k in ("plan", "frame", "poses", "cameras")}
    return {"steps": sum(p["steps"] for p in parts), "samples_seen": sum(p["samples"] for p in parts),
            "config": results.config_hash({**about, "sizes": asdict(trained.model.sizes)})}  # fmt: skip


def sources(scenes):
    """{"poses", "cameras", "images"} of held-out scenes for rows: AGR is computed, no image is looked at."""
    return {**{k: scenes[0].sources[k] for k in ("poses", "cameras")}, "images": "computed"}


# ---- where errors come from ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What is true of each person, in the order of `errors`: depth (N,) mm, pitch (N,) degree of the camera, posture (N,) of POSTURES."""

    depth: np.ndarray
    pitch: np.ndarray
    posture: np.ndarray


def facts(scenes, people):
    """`Facts` of the people of `errors`."""
    one, group = next(iter(people.values())), {a: g for g, activities in POSTURES.items() for a in activities}
    depth, pitch, posture = [], [], []
    for block in scenes:
        z = block.camera.to_camera(block.joints[:, :, ROOT])[..., 2].cpu().numpy()
        for i, there in enumerate(block.mask.cpu().numpy()):
            depth.append(z[i][there])
            pitch.append(np.full(there.sum(), float(block.camera.pitch_deg[i])))
            posture.append(np.array([group.get(a, a) for a in block.activity[i][there]], dtype=object))
    return Facts(*(np.array([x[v][p] for v, p in zip(one.view, one.person)]) for x in (depth, pitch, posture)))


def binned(people, labels, groups, among=None, metric="mrpe_z"):
    """Lines {"method", "bin", "n", "value", "lo", "hi"}: mean error (mm) of each method on the people of each group.

    labels: names of the bins;  groups (N,) int: bin of each person, or outside 0 .. len(labels) - 1: none;  lo, hi: 95 %, over scenes.
    Bins with fewer than LEAST people are left out.
    """
    among, out = same_people(people) if among is None else among, []
    for (method, p), (i, label) in itertools.product(people.items(), enumerate(labels)):
        here = among & (groups == i)
        if here.sum() < LEAST:
            continue
        values = METRICS[metric](p)[here]
        lo, hi = interval(values, p.view[here]) or (None, None)
        out.append({"method": method, "bin": label, "n": int(here.sum()), "value": mean(values), "lo": lo, "hi": hi})
    return out


def _between(edges, unit, scale=1.0):
    return [f"{a / scale:g} to {b / scale:g}{unit}" for a, b in itertools.pairwise(edges)]


def by_depth(people, about, edges=None, among=None, metric="mrpe_z"):
    """`binned` by true depth; edges mm, default: every metre;  about: `Facts`."""
    if edges is None:
        known = about.depth[same_people(people) if among is None else among]
        edges = np.arange(known.min() // 1000, known.max() // 1000 + 2) * 1000 if len(known) else (2000, 3000)
    return binned(people, _between(edges, " m", 1000), np.digitize(about.depth, edges) - 1, among, metric)


def by_pitch(people, about, edges=(-10, 0, 10, 20, 30, 55), among=None, metric="mrpe_z"):
    """`binned` by the camera's pitch; edges degree."""
    return binned(people, _between(edges, "°"), np.digitize(about.pitch, edges) - 1, among, metric)


def by_posture(people, about, among=None, metric="mrpe_z"):
    """`binned` by POSTURES."""
    names = np.array(list(POSTURES), dtype=object)
    where = (about.posture[:, None] == names).astype(int)
    return binned(people, list(POSTURES), np.where(where.any(1), where.argmax(1), -1), among, metric)


def bin_rows(lines, experiment, metric="mrpe_z", **columns):
    """Rows of `binned` lines: the bin is the row's `test`."""
    return [
        results.row(experiment, metric, x["value"], "mm", None if x["lo"] is None else (x["lo"], x["hi"]), n=x["n"], method=x["method"],
                    test=x["bin"], **columns)
        for x in lines
    ]  # fmt: skip


# ---- wrong cameras ---------------------------------------------------------------------------------------------------------------------


def wrong(pitch_deg=0.0, height_mm=0.0):
    """For `errors(stated=...)`: cameras stated with the pitch off by pitch_deg and the height by height_mm, up or down by chance."""

    def stated(scenes, generator):
        sign = torch.randint(2, (2, len(scenes.camera.R)), generator=generator, dtype=torch.float64).to(scenes.camera.R) * 2 - 1
        return misjudged(scenes.camera, torch.deg2rad(sign[0] * pitch_deg), sign[1] * height_mm)

    return stated


def camera_error_curve(trained, scenes, pitches=WRONG_PITCH, heights=WRONG_HEIGHT, points=("DE", "REN", "REN+PEN")):
    """{(pitch degree, height mm): {method: `metrics.People`}}, one of both wrong at a time, and the people found everywhere (N,) bool."""
    asked = [*((float(p), 0.0) for p in pitches), *((0.0, float(h)) for h in heights if h)]
    found = {}
    for error in asked:
        people = errors(trained, scenes, wrong(*error) if any(error) else None)
        found[error] = {k: people[k] for k in points}
    return found, common(*found.values())


def curve_rows(curve, among, experiment="camera error", **columns):
    """Rows of a `camera_error_curve`: MRPE_z on the people `among`, with each person's error; the camera's is `test`, see `stated_as`."""
    each = (rows(p, experiment, among=among, metrics=("mrpe_z",), test=stated_as(*error), **columns) for error, p in curve.items())
    return list(itertools.chain.from_iterable(each))


def growth(rows, a, b, test, before="exact", **where):
    """`Effect`: by how much a − b (see `compared`) is larger in `test` than in the test `before`, paired by person; None: no rows."""
    found = [select(rows, **where, **who, test=t) for t in (test, before) for who in (a, b)]
    if not all(len(f) == 1 for f in found):
        return None
    used, people = tuple(f[0] for f in found), found[0][0]["clusters"]
    if any(r["clusters"] != people for r in used):
        raise InputError(f"{a} and {b} were not measured on the same scenes: they cannot be paired", getattr(used[0], "where", None))
    values = np.array([r["per_scene"] for r in used], float).T @ (1, -1, -1, 1)
    return Effect(mean(values), interval(values, np.array(people)), len(values), used)


def stated_as(pitch_deg=0.0, height_mm=0.0):
    """The error of a camera in words: "pitch 2° wrong", "height 50 mm wrong" or "exact"."""
    return f"height {height_mm:g} mm wrong" if height_mm else f"pitch {pitch_deg:g}° wrong" if pitch_deg else "exact"


def break_even(x, y, level):
    """Where the polyline (x, y) first rises above `level`: x[0] if it starts there, None if it never does or anything is unknown."""
    if not np.isfinite([*y, level]).all():
        return None
    for i, (a, b) in enumerate(itertools.pairwise(y)):
        if a > level:
            return float(x[i])
        if b > level:
            return float(x[i] + (x[i + 1] - x[i]) * (level - a) / (b - a))
    return float(x[-1]) if y[-1] > level else None
