"""The measurements behind notebook 10: the integral trick against arg-max, poses by joint, missing channels, recorded people.

Scenes, trained networks and rows of whole comparisons come from `vp.lab.study`.
"""

from dataclasses import replace

import numpy as np
import torch

from vp.lab import models, results, study
from vp.lab.effects import paired_difference
from vp.lab.evaluate import same_people, table
from vp.lab.evaluation import source
from vp.lab.infer import infer
from vp.lab.second_stage import NOISE, world
from vp.nets.pen import soft_argmax
from vp.skeleton import JOINTS_15
from vp.space import Frame, Grid
from vp.world.agr import synthesise

CUBE_MM = 2000.0  # PEN's cube (§4.3)
WIDTH_MM = 100.0  # s.d. of a synthetic peak: that of a joint on the paper's heatmaps some 4 m away
HALF = 0.4803  # mean distance of a point in a unit cube from its centre: what an arg-max errs by, in voxels
BETAS = (5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 200.0, 500.0)  # the published one is 100
MISSING = {  # what a source may lack: all else of the noise stays, bit for bit
    "nothing": {}, "head top": {"no_head_top": 1.0}, "head top, neck": {"no_neck": 1.0},
    "an arm": {"no_arm": 1.0}, "a leg": {"no_leg": 1.0},
}  # fmt: skip
JOINT_NAMES = ("mid_hip", "hip", "neck", "shoulder", "head_top", "knee", "ankle", "elbow", "wrist")  # both sides together
FAR = 1e5  # a beta times this reads the highest voxel


# ---- the integral trick ----------------------------------------------------------------------------------------------------------------


def peaks(n, bins, seed, logarithm=False, width=WIDTH_MM, edge=CUBE_MM):
    """n synthetic peaks at random places of a cube, at least 400 mm from its walls: logits (n, 1, X, Y, Z), true places (n, 3) mm, `Grid`.

    Their shape is exp(-r² / 2 width²), what a network says that was taught heatmaps, or with `logarithm` -r² / 2 width², what it may
    say when it learns through the soft-argmax: its softmax is a Gaussian then.  bins: voxels along the cube;  width, edge mm.
    """
    grid = Grid((0.0, 0.0, 0.0), (edge,) * 3, (bins,) * 3)
    place = (edge - 800.0) * (torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) - 0.5)
    x, y, z = ((axis - c[:, None]).square() / (-2 * width**2) for axis, c in zip(grid.axes(), place.T))
    log = x[:, :, None, None] + y[:, None, :, None] + z[:, None, None, :]
    return (log if logarithm else log.exp())[:, None], place, grid


def read(logits, grid, beta=None):
    """Places (N, 3) mm read from logits (N, 1, X, Y, Z): the highest voxel (beta None), else the soft-argmax (Eq. 7)."""
    if beta is None:
        return grid.position(torch.stack(torch.unravel_index(logits.flatten(1).argmax(1), logits.shape[2:]), -1))
    return soft_argmax(logits, grid, beta)[:, 0]


def quantisation(n, bins, seed, betas=BETAS, block=32):
    """{way: distance from the truth (n,) mm} for n peaks on a grid of `bins`; the same peaks for every way to read them.

    Ways: "arg-max", each beta (soft-argmax of heat), "logarithm" (soft-argmax of the logarithm, beta 1).
    """
    out = {}
    for start in range(0, n, block):
        size = min(block, n - start)
        for logarithm in (False, True):
            logits, place, grid = peaks(size, bins, (seed << 16) + start, logarithm)
            for way in ("logarithm",) if logarithm else ("arg-max", *betas):
                found = read(logits, grid, {"arg-max": None, "logarithm": 1.0}.get(way, way))
                out.setdefault(way, []).append((found - place).norm(dim=-1))
    return {way: torch.cat(v).numpy() for way, v in out.items()}


def quantisation_rows(errors, bins, **columns):
    """Rows of `quantisation` on one grid, paired peak by peak."""
    common = {"n": len(errors["arg-max"]), "test": f"{bins}³ voxels", "sources": {"poses": "computed"}, **columns}
    named = {"arg-max": "arg-max", "logarithm": "soft-argmax, logarithm"}
    named |= {beta: f"soft-argmax, beta {beta:g}" for beta in errors if beta not in named}
    return [
        results.row("integral", "peak_error", float(e.mean()), "mm", method=named[way], per_scene=e.tolist(), **common)
        for way, e in errors.items()
    ]


def sharpened(trained, scenes, factors):
    """{factor: `metrics.People` of REN+PEN} with the trained network's beta times each factor; math.inf reads the highest voxel."""
    pen, out = trained.model.pen, {}
    beta = pen.beta
    try:
        for factor in factors:
            pen.beta = beta * min(factor, FAR)
            out[factor] = study.errors(trained, scenes)["REN+PEN"]
    finally:
        pen.beta = beta
    return out


def sharpened_rows(found, trained, **columns):
    """Rows of `sharpened`: MPJPE on the people found with every factor, paired; the method says how volumes were read."""
    named = {f: "arg-max" if f > FAR else "soft-argmax" if f == 1 else f"soft-argmax, {f:g} beta" for f in found}
    renamed = {named[f]: people for f, people in found.items()}
    return study.rows(renamed, "integral, trained", trained, metrics=("mpjpe",), paired=("mpjpe",), **columns)


# ---- people ----------------------------------------------------------------------------------------------------------------------------


def by_joint(people, among):
    """{joint: (absolute, relative) mm}: mean error of each of JOINT_NAMES in space, and with the roots moved together.

    people: `metrics.People` of a method with poses;  among (N,) bool: whom to count.  NaN for what nobody has.
    """
    side, out = [j.removeprefix("left_").removeprefix("right_") for j in JOINTS_15.joints], {}
    for name in JOINT_NAMES:
        index = [i for i, j in enumerate(side) if j == name]
        out[name] = tuple(study.mean(e[among][:, index].ravel()) for e in (people.errors, people.aligned))
    return out


def missing(trained, scenes):
    """{lack of MISSING: `metrics.People` of REN+PEN} on the same scenes with the same noise, but for the channels that are missing."""
    return {name: study.errors(trained, scenes, noise=replace(NOISE, **lack))["REN+PEN"] for name, lack in MISSING.items()}


def missing_rows(found, trained, experiment="missing", **columns):
    """Rows of `missing`: on the people found whatever is missing, MPJPE person by person."""
    among, out = same_people(found), []
    for lack, people in found.items():
        about = {"test": "nothing missing" if lack == "nothing" else f"without {lack}", **columns}
        out += study.rows({"REN+PEN": people}, experiment, trained, among, ("mrpe_z", "mpjpe"), ("mpjpe",), **about)
    return out


def lost(found, rng):
    """{lack: (MRPE_z, MPJPE, their increase over nothing missing (value, interval), recall)}, on the people found whatever is missing."""
    among, plain, out = same_people(found), found["nothing"], {}
    for lack, people in found.items():
        means, more = [], []
        for metric in ("mrpe_z", "mpjpe"):
            a, b = (study.METRICS[metric](p)[among] for p in (people, plain))
            means.append(study.mean(a))
            more.append(paired_difference(a, b, plain.view[among], None, rng))
        out[lack] = (*means, *more, float(people.found.mean()))
    return out


def text(people, among=None):
    """A table of {method: `metrics.People`} on the people `among` (default: found by all), beside Table 4 of the paper."""
    from_paper = [study.printed(column) for column in ("Panoptic", "MuPoTS")]
    out = [f"{'mm':14}{'MRPE_z':>8} {'95 %':^15}{'MRPE':>6}{'MPJPE':>7}{'recall':>8}   the paper's MRPE_z (Panoptic, MuPoTS)"]
    for method, r in table(people, among).items():
        theirs = ", ".join(f"{numbers[method]:.1f}" for numbers in from_paper if method in numbers)
        between = "[{:.0f}, {:.0f}]".format(*r["interval"]) if r["interval"] else ""
        mpjpe = "" if np.isnan(r["mpjpe"]) else f"{r['mpjpe']:.0f}"
        out.append(f"{method:14}{r['mrpe_z']:8.0f} {between:^15}{r['mrpe']:6.0f}{mpjpe:>7}{r['recall']:8.3f}   {theirs}".rstrip())
    return "\n".join([*out, f"{r['n']} people found by all"])


# ---- what PEN learns from --------------------------------------------------------------------------------------------------------------


def taught(trained, people, scenes, profile="auto", seed=0):
    """{`pen_on` of the course: (`Trained`, {method: `metrics.People`})}: the profile's training, and the published one ("candidates").

    people: `study.errors` of `trained` on these scenes.  One entry where the profile trains the published way to begin with.
    """
    ours, published = (study.course(profile, seed, variant).pen_on for variant in ("base", "candidates"))
    out = {ours: (trained, people)}
    if published not in out:
        other = study.second_stage(profile, seed, "candidates")
        out[published] = other, study.errors(other, scenes)
    return out


def taught_rows(arms, experiment="what PEN learns from", **columns):
    """Rows of `taught`: MRPE_z and MPJPE of REN and REN+PEN, person by person, on the people whom every method of every arm found."""
    among, out = study.common(*(people for _, people in arms.values())), []
    for way, (trained, people) in arms.items():
        chosen = {k: people[k] for k in ("REN", "REN+PEN")}
        out += study.rows(chosen, experiment, trained, among, ("mrpe_z", "mpjpe"), ("mrpe_z", "mpjpe"), train=way, **columns)
    return out


# ---- trained networks and recorded people ----------------------------------------------------------------------------------------------


def at_hand(trained):
    """{name: `Trained`}: the network of this run, and the shipped one where there is one."""
    out = {"trained here": trained}
    if models.SHIPPED.exists():
        out["shipped"] = models.load(device=next(trained.model.parameters()).device)
    return out


def moving(bvh_root, n, seed=0):
    """n scenes of recorded motion (a folder of BVH clips), taken over by virtual people, before the 20 MuPoTS cameras."""
    data = world((f"bvh:{bvh_root}",), cameras="mupots", split="test")
    return [data.scenes(min(study.BLOCK, n - i), study.STREAM + seed, start=i) for i in range(0, n, study.BLOCK)]


def recorded(panoptic_root, n, joints=15):
    """At most n recorded frames before their own cameras: blocks of `evaluate.Seen`, sources.  InputError where the folder has no poses."""
    blocks, sources, _ = source("panoptic", panoptic_root, None, n, 0, joints)
    return blocks, sources


def one_scene(trained, scenes, i, noise=NOISE):
    """Scene i of a block for a picture: true joints, answers (P | Q, J, 3) mm of the frame ahead, camera, heatmaps (H, W) at their highest.

    Answers are PEN's, in the order of their people (by the root in the picture); people whom nobody is asked for are left out.
    """
    s = trained.model.sizes
    agr, targets = synthesise(scenes, s.map, noise, torch.Generator(scenes.joints.device).manual_seed(0), s.joints, None, s.stride)
    found = infer(trained.model, agr.heatmaps[i : i + 1], agr.box_map[i : i + 1], scenes.camera[i : i + 1], windows=1).poses
    camera = scenes.camera[i : i + 1]
    frame = Frame.ahead(camera)
    truth = frame.from_world(scenes.joints[i : i + 1, :, : s.joints].flatten(1, 2)).view(-1, s.joints, 3)[targets.mask[i]]
    answers = frame.from_world(camera.to_world(found.joints.flatten(1, 2))).view(-1, s.joints, 3)[found.valid[0]]
    return truth, answers, frame.camera(camera)[0], agr.heatmaps[i].amax(0)


def fullest(blocks, people):
    """(block, index) of the scene in which most people count; people: any `metrics.People` of these blocks."""
    view = int(np.bincount(people.view).argmax())
    for block in blocks:
        if view < len(block.mask):
            return block, view
        view -= len(block.mask)
    raise ValueError("these people are of other scenes")
