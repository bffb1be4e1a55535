"""Rows of notebook 11 from what `vp.lab.ablations` measures: Table 4, extrinsics, projection, Table 5, known poses, the floor chart."""

import itertools
from dataclasses import asdict

import numpy as np

from vp.lab import ablations, information, results, study, two_d
from vp.lab.datasets import load
from vp.lab.evaluate import LEVELS
from vp.lab.labelled import picture
from vp.lab.second_stage import NOISE
from vp.lab.train import default_device

TABLE4 = {"Panoptic": "panoptic", "MuPoTS": "mupots"}
READ = ("DE", "REN (voxels)", "REN", "REN+PEN")
ARMS = {"AGR: ground truth": "ground truth", "AGR: ground truth, noisy": "ground truth, noisy", "AGR: image": "image"}


# ---- Table 4 ---------------------------------------------------------------------------------------------------------------------------


def table4(base, alone, eyes, n, about, roots=None):
    """Rows: MRPE and MRPE_z of one second stage (`Trained`) read at READ, of a DE trained alone, and of LEVELS, from three kinds of AGR.

    eyes: a `Backbone`, or None: no pictures;  about: columns of the rows, "seed" among them;  roots: {"panoptic": DIR, "mupots": DIR},
    whose poses and cameras take the twins' place.
    """
    out = []
    for test, name in TABLE4.items():
        data = load(name, "test", root=(roots or {}).get(name) or None)
        measured, lone = _arms(base, alone, eyes, data, n, about["seed"])
        among = study.common(*measured.values()) & np.all([p.found for p in lone.values()], axis=0)
        sources = {k: data.sources[k] for k in ("poses", "cameras")}
        for train, arm in ARMS.items():
            if arm not in measured:
                continue
            here = {"test": test, "train": train, "sources": {**sources, "images": "twin" if arm == "image" else "computed"}, **about}
            metrics = ("mrpe_z", "mrpe")
            levels = {k: p for k, p in measured[arm].items() if k in LEVELS}
            out += study.rows({k: p for k, p in measured[arm].items() if k not in LEVELS}, "table4", base, among, metrics, **here)
            out += study.rows({ablations.ALONE: lone[arm]}, "table4", alone, among, metrics, **here)
            out += study.rows(levels, "table4", None, among, metrics, **here)
    return out


def _arms(base, alone, eyes, data, n, seed):
    """({arm: {method: `People`}} of the whole, {arm: `People`} of the DE alone) on the same scenes, noise and pictures."""
    scenes = [data.scenes(min(study.BLOCK, n - i), seed, default_device(), start=i) for i in range(0, n, study.BLOCK)]
    de = alone.model.ren.de, alone.model.sizes
    lone = {arm: ablations.depth_errors(*de, scenes, noise=noise, seed=seed) for arm, noise in two_d.ARMS.items()}

    def seen(block):
        return eyes.agr(picture(data, block, eyes.shape.picture).to(eyes.mean.device))

    if eyes is not None:
        lone["image"] = ablations.depth_errors(*de, scenes, maps=seen)
    return two_d.chain(base, eyes, data, n, seed), lone


# ---- extrinsics, projection ------------------------------------------------------------------------------------------------------------


def extrinsics(scenes, about, pitches=(0.0, 2.0, 4.0), heights=(50.0, 100.0)):
    """(rows of `ablations.two_by_two` before exact and wrong cameras, the people found everywhere, the exact ones' `People`)."""
    asked = [*((p, 0.0) for p in pitches), *((0.0, h) for h in heights)]
    run = about["profile"], about["seed"]
    spent = budgets(*run)
    found = {e: ablations.two_by_two(*run, scenes, study.wrong(*e) if any(e) else None) for e in asked}
    among = np.all([p.found for people in found.values() for p in people.values()], axis=0)
    out = []
    for error, people in found.items():
        for method, p in people.items():
            test = study.stated_as(*error)
            kept = {**about, **spent[method], "test": test, "sources": study.sources(scenes)}
            out += study.rows({method: p}, "extrinsics", None, among, ("mrpe_z",), **kept)
    return out, among, found[0.0, 0.0]


def budgets(profile="auto", seed=0):
    """{cell of `ablations.two_by_two`: {"steps", "samples_seen", "config"} of the training behind it}."""
    base, told = study.budget(study.second_stage(profile, seed)), ablations.floor_de(profile, seed)
    parts = told.facts["training"].values()
    floor = {"steps": sum(p["steps"] for p in parts), "samples_seen": sum(p["samples"] for p in parts),
             "config": results.config_hash({"sizes": asdict(told.sizes), "de": "told the camera"})}  # fmt: skip
    return {"DE": base, ablations.ALONE: study.budget(ablations.trained(ablations.ALONE, profile, seed)), "DE, camera told": floor,
            "REN, camera's axes": study.budget(study.second_stage(profile, seed, "camera")), "REN": base, "REN+PEN": base}  # fmt: skip


def contrast(rows, plus, minus, test="exact"):
    """(mean mm, 95 % interval or None): mean error of the cells `plus` less that of the cells `minus`, paired by person."""
    found = {r["method"]: r for r in rows if (r["experiment"], r["metric"], r["test"]) == ("extrinsics", "mrpe_z", test)}
    errors = {m: np.array(r["per_scene"] or ()) for m, r in found.items()}
    values = np.mean([errors[m] for m in plus], axis=0) - np.mean([errors[m] for m in minus], axis=0)
    return study.mean(values), study.interval(values, np.array(found[plus[0]]["clusters"] or ()))


def projection(scenes, about, pitches=(0.0, 2.0, 4.0), test="MuPoTS", sources=None):
    """Rows of the complete method with depth-based and with naive projection, before exact and wrong cameras; the test of a wrong one is
    "MuPoTS, pitch 2° wrong"."""
    trained = {k: study.second_stage(about["profile"], about["seed"], v) for k, v in (("depth-based", "base"), ("naive", "naive"))}
    out = []
    for pitch in pitches:
        people = {k: study.errors(t, scenes, study.wrong(pitch) if pitch else None) for k, t in trained.items()}
        among = study.common(*people.values())
        where = test if not pitch else f"{test}, {study.stated_as(pitch)}"
        for arm, found in people.items():
            kept = {k: found[k] for k in ("REN", "REN+PEN")}
            out += study.rows(kept, "projection, complete", trained[arm], among, ("mrpe_z", "mrpe"), ("mrpe_z", "mrpe"), train=arm,
                              test=where, sources=sources, **about)  # fmt: skip
    return out


# ---- Table 5, known poses --------------------------------------------------------------------------------------------------------------


def table5(measured, about):
    """Rows of `ablations.table5`: "VirtualPose" (REN+PEN), with LEVELS as each arm's calibration has them, on people found by all arms."""
    out = []
    for camera in ablations.CAMERAS:
        arms = {arm: people for (arm, c), people in measured.items() if c == camera}
        among = np.all([p["REN+PEN"].found for p in arms.values()], axis=0)
        for arm, people in arms.items():
            here = {"train": arm, "test": camera, "sources": {"poses": "twin", "cameras": "twin", "images": "computed"}, **about}
            ours = {"VirtualPose": people["REN+PEN"]} | {k: people[k] for k in ("mean depth", "box size") if k in people}
            trained = ablations.trained(arm, about["profile"], about["seed"])
            out += study.rows(ours, "table5", trained, among, ("mrpe_z", "mrpe"), **here)
    return out


def tailored(measured, about, sources=None):
    """Rows of `ablations.known_poses`: 3DPCK_abs over all people, and MRPE_z of those found by both arms."""
    among, out = study.common(*measured.values()), []
    for arm, people in measured.items():
        p, trained = people["REN+PEN"], ablations.trained(arm, about["profile"], about["seed"])
        here = {"train": arm, "sources": sources, **about}
        share = 100 * ablations.pck(p)
        kept = {"per_scene": share.tolist(), "clusters": p.view.tolist(), "method": "VirtualPose", "test": "all people"}
        out.append(results.row("tailored", "pck_abs", study.mean(share), "%", study.interval(share, p.view), n=len(share), **kept,
                               **study.budget(trained), **here))  # fmt: skip
        out += study.rows({"VirtualPose": p}, "tailored", trained, among, ("mrpe_z",), test="MuPoTS", **here)
    return out


# ---- the floor chart -------------------------------------------------------------------------------------------------------------------


def floor_chart(people, among, scenes, sizes, depth, edges, **about):
    """(rows, lines {method: [(middle m, mean mm, lo, hi, n)]}) of methods and of the information floors, overall and by distance.

    people: {method: `People`};  among (N,): whom all found;  depth (N,) mm, the true one;  edges mm.
    """
    one = next(iter(people.values()))
    errors = {k: np.abs(p.root[:, 2]) for k, p in people.items()} | information.least_errors(scenes, sizes, NOISE, one)
    among = among & np.all([np.isfinite(e) for e in errors.values()], axis=0)
    out, lines, about = [], {}, {"sources": study.sources(scenes), **about}
    spent = budgets(about["profile"], about["seed"])
    for method, error in errors.items():
        values, clusters = error[among], one.view[among]
        kept = {"per_scene": values.tolist(), "clusters": clusters.tolist(), **spent.get(method, {})}
        out.append(results.row("floor chart", "mrpe_z", study.mean(values), "mm", study.interval(values, clusters), n=len(values),
                               method=method, **kept, **about))  # fmt: skip
        for low, high in itertools.pairwise(edges):
            here = among & (depth >= low) & (depth < high)
            if here.sum() < study.LEAST:
                continue
            mean, between, n = study.mean(error[here]), study.interval(error[here], one.view[here]), int(here.sum())
            lines.setdefault(method, []).append((study.mean(depth[here]) / 1000, mean, *(between or (None, None)), n))
            out.append(results.row("floor chart by distance", "mrpe_z", mean, "mm", between, n=n, method=method,
                                   test=f"{low / 1000:g} to {high / 1000:g} m", **spent.get(method, {}), **about))  # fmt: skip
    return out, lines
