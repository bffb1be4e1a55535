"""The card of the shipped weights, written from measurements alone: `python -m vp.lab.card [--panoptic DIR] [--bvh DIR]`.

Every number in `vp/weights/README.md` comes from here.  Lines that were measured are kept in `card.json` beside it with the digests of the
weights that were measured, so that a part can be measured again (`--only chain`) without the rest.
"""

import argparse
import hashlib
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vp import metrics
from vp.lab import backbone, models, oks, results, two_d
from vp.lab.claims import quantity
from vp.lab.datasets import load
from vp.lab.evaluate import Calibration, measure, table
from vp.lab.evaluation import TEST_SPLIT, source
from vp.lab.labelled import of_scenes
from vp.nets.backbone import SKELETONS
from vp.world.agr import DETECTOR, Noise

HEADLESS = replace(Noise(), no_head_top=1.0)
KINDS = {"clean": None, "published noise": Noise(), "the same without head top": HEADLESS, "detector noise": DETECTOR}
TWINS = ("virtual", "panoptic", "muco", "mupots", "coco")
COLUMNS = ("box size", "DE", "REN", "REN+PEN")
TWIN = "{} twin, test split"
RECORDED = "recorded CMU Panoptic frames, cameras 14, 16, 19, 30 (no head top)"


def digests(*paths):
    """{name: first 16 hex digits of the SHA-256} of files."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in map(Path, paths)}


def sets(n, panoptic=None, bvh=None):
    """(name, kinds of AGR, function -> iterable of scenes): what the card is measured on."""
    for name in TWINS:
        title = "virtual test world, universal cameras" if name == "virtual" else TWIN.format(name)
        yield title, list(KINDS), lambda name=name: source(name, n=n)[0]
    if bvh:
        data = load("bvh", root=bvh)
        scenes = [data.scenes(32, 0, start=i, camera="mupots") for i in range(0, n, 32)]
        yield "recorded motion (BVH), the 20 MuPoTS cameras", list(KINDS), lambda: scenes
    if panoptic:
        blocks = source("panoptic", panoptic, ["14", "16", "19", "30"], n)[0]
        yield RECORDED, ["clean", "published noise"], lambda: blocks


def rows(trained, n=256, panoptic=None, bvh=None):
    """Lines of the table of errors, mm."""
    known, out = Calibration(**trained.facts["calibration"]), []
    for title, kinds, scenes in sets(n, panoptic, bvh):
        for kind in kinds:
            people, published = measure(trained.model, scenes(), known, KINDS[kind])
            found = table(people)
            final = found["REN+PEN"]
            z = " | ".join(f"{found[c]['mrpe_z']:.0f}" for c in COLUMNS)
            cells = [title, kind, z, f"{final['mrpe']:.0f}", f"{final['mpjpe']:.0f}", f"{final['recall']:.3f}", str(final["n"]),
                     f"{published['mpjpe']:.0f} ({published['recall']:.2f})"]  # fmt: skip
            out.append("| " + " | ".join(cells) + " |")
            print(out[-1], flush=True)
    return out


def chain_rows(trained, eyes, n=256):
    """Lines of the table of the whole chain: for each twin 2D errors, and MRPE_z of REN+PEN from true, noisy and the image's AGR, mm."""
    out = []
    for name in TWINS[1:]:
        data, net = load(name, TEST_SPLIT[name]), eyes.backbone
        r = two_d.report(net, of_scenes(data, n, 0, net.shape.picture))
        measured = two_d.chain(trained, net, data, n)
        arms = ("ground truth", "ground truth, noisy", "image")
        people = [measured[arm]["REN+PEN"] for arm in arms]
        among = two_d.study.common(*measured.values())
        errors = [f"{two_d.study.mean(two_d.study.METRICS['mrpe_z'](p)[among]):.0f}" for p in people]
        lost = [quantity(*two_d.loss(measured, against=arm)[:2], "mm") for arm in arms[:2]]
        recall = [f"{p.found.mean():.3f}" for p in (people[0], people[2])]
        known = [f"{r['pckh']['all']:.3f}", f"{r['oks_ap']:.3f}", f"{r['root_recall']:.3f} ({r['root_ap']:.3f})"]
        out.append("| " + " | ".join([TWIN.format(name), *known, *errors, *lost, *recall, str(int(among.sum()))]) + " |")
        print(out[-1], flush=True)
    return out


def seconds_per_scene(trained, people=3, threads=2):
    """Median seconds for one scene of so many people, AGR to poses."""
    from vp.lab.bench import seconds
    from vp.lab.infer import infer
    from vp.lab.second_stage import world
    from vp.world.agr import synthesise

    torch.set_num_threads(threads)
    scenes, s = world(split="test", people=(people, people)).scenes(1, 0), trained.model.sizes
    agr, _ = synthesise(scenes, s.map, None, None, s.joints, None, s.stride)
    return seconds(lambda: infer(trained.model, agr.heatmaps, agr.box_map, scenes.camera))


def card(trained, eyes, known):
    """The text of the card: second stage, and where there is one the 2D network (`backbone.Trained2D`);  known: what `main` measured."""
    lines, scenes, seconds, where, weights = (known["stage"][k] for k in ("lines", "scenes", "seconds", "where", "weights"))
    f, m, c = trained.facts, trained.model, trained.facts["course"]
    n, e = c["noise"], c["camera_error"]
    s, size = m.sizes, trained.path.stat().st_size / 1e6
    count = sum(p.numel() for p in m.parameters()) / 1e6
    training = "; ".join(f"{k}: {t['steps']} steps, {t['samples']} scenes, {t['seconds']:.0f} s" for k, t in f["training"].items())
    (least, most), top = c["people"], n["no_neck"] + n["no_head_top"]
    lacks = "\n".join((
        f"In training {least} to {most} adults stand before the camera. Of the scenes {top:.0%} have no head top",
        f"({n['no_neck']:.0%} no neck either), {n['no_arm']:.0%} lack an arm, {n['no_leg']:.0%} a leg; amplitudes of hidden joints are",
        f"multiplied by {n['occluded'][0]:g} to {n['occluded'][1]:g}; the stated camera is off by {e['pitch_deg']:g}° of pitch and",
        f"{e['height_mm']:g} mm of height (s.d.); {c['windows']:.0%} of the scenes are seen in a space moved along the view by up to",
        f"{c['windows_mm']:g} mm.",
    ))  # fmt: skip
    cells = [[x.strip() for x in line.split("|")[1:]] for line in lines]
    depth = {(x[0], x[1]): (float(x[4]), float(x[5])) for x in cells}  # REN, REN+PEN
    worse = sum(pen > ren for ren, pen in depth.values())
    metres = " x ".join(f"{v / 1000:g}" for v in s.space_size)
    ranges = "; ".join(f"{k} {v[0]:g} to {v[1]:g}" for k, v in f["range"].items())
    return f"""# The shipped weights

## The second stage

`{trained.path.name}`: AGR of 15 joints and a camera in, absolute 3D poses out. {count:.2f} million weights, {size:.1f} MB.

**Made by** `vp train --profile {f["profile"]} --out vp/weights/{trained.path.name}` (seed {f["seed"]}) on {f["training"]["all"]["device"]}:
{training}. Poses: {f["poses"]}; cameras: {f["cameras"]}.

**Sizes** heatmaps {s.map[0]} x {s.map[1]}, root volume {" x ".join(map(str, s.space_bins))} over {metres} m, PEN {s.pen_bins}³ over
{s.pen_size / 1000:g} m. REN's network looks from above (`vp/nets/birdseye.py`), which is ours, not the paper's.

**Trained on** (1st to 99th percentile) {ranges}.
{lacks}

**Errors**, mm, honest protocol, at most {scenes} scenes or frames each ({where}).
Measured: {said(weights)}.
MRPE_z of the box-size rule, DE, REN (between voxels) and REN+PEN on the same people; MRPE, MPJPE (absolute) and recall of REN+PEN; last
the MPJPE of the published protocol with its recall. MPJPE counts all {s.joints} joints that are known, in the picture or not;
notebook 12 counts the protocols' (Table 2: those in the picture; Table 3: {len(metrics.PCK_JOINTS)}, not the mid-hip). Recall
counts people.

| data | AGR from ground truth | box size | DE | REN | REN+PEN | MRPE | MPJPE | recall | people | published MPJPE |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(lines)}

**Speed** one scene of 3 people {seconds:.2f} s on 2 threads of a CPU.

**Limits** In {worse} of these {len(lines)} rows the depth of the root is worse after PEN than before it (REN, read between voxels): PEN
adds the other joints.
{of_recorded(depth)}
The shares of the virtual activities were tuned on the recorded clips of the BVH rows, so these are not held out. Numbers on
virtual scenes say nothing about the real data sets.
{of_eyes(eyes, **known["chain"]) if eyes else ""}"""


def said(weights):
    """The files that were measured, by their digests (`digests`)."""
    return ", ".join(f"`{name}` (SHA-256 {digest}...)" for name, digest in weights.items())


def of_recorded(depth):
    """The card's word on recorded frames, if they are among the rows: {(data, AGR): MRPE_z of REN, of REN+PEN}."""
    if (RECORDED, "clean") not in depth:
        return ""
    twin = TWIN.format("panoptic")
    clean, noisy = (depth[RECORDED, kind][1] for kind in ("clean", "published noise"))
    here, there = depth[twin, "clean"][1], depth[twin, "the same without head top"][1]
    return f"""
On the recorded CMU Panoptic frames the depth of the root (MRPE_z of REN+PEN) is off by {clean:.0f} mm, {noisy:.0f} mm with published
noise; on the twin's test split by {here:.0f} mm, {there:.0f} mm with that noise and without head top, which the recording lacks. AGR is
computed from the true poses in both: no recorded picture was looked at.
"""


def in_16_bits(path):
    """Whether a file of weights has tensors of 16 bits."""
    from safetensors import safe_open

    with safe_open(path, "pt") as f:
        return any(f.get_slice(k).get_dtype() == "F16" for k in f.keys())  # noqa: SIM118


def of_eyes(eyes, lines, scenes, where, weights):
    """The card's part on the 2D network and on the whole chain from pictures.

    Settings are those in the network's file; names of the training's data sets, which it does not keep, are `backbone.SOURCES`.
    """
    f, s, size = eyes.facts, eyes.backbone.shape, eyes.path.stat().st_size / 1e6
    count, c = sum(p.numel() for p in eyes.backbone.parameters()) / 1e6, f["two_d"]["change"]
    seen, scale, px = sum(f["pictures"]), " to ".join(map(str, c["scale"])), " x ".join(map(str, s.picture))
    half = " (convolutions in 16 bits)" * in_16_bits(eyes.path)
    trunk = f"ResNet-{s.depth} of width {s.width}" + " with skips (ours)" * s.skips
    rendered = all(x["images"] == "twin" for x in f["sources"]) and not f["imagenet"]
    names = ", ".join(name for (name, _), _ in zip(backbone.SOURCES, f["sources"], strict=True))
    taught = f"rendered pictures alone, the training splits of the twins {names}" if rendered else f"pictures of {names}"
    lots = {k: f"{c[k]:.0%}" for k in ("mirror", "shift", "colour", "blur", "occluders")}
    limbs = np.isfinite(oks.spreads(SKELETONS[s.joints])).sum()
    noise = next(kind for kind, noise in KINDS.items() if noise == two_d.ARMS["ground truth, noisy"])
    head = ("data", "PCKh", "OKS AP", "roots found (AP)", "true AGR", "noisy AGR", "from pictures", "lost against true", "against noisy",
            "recall, true AGR", "recall, pictures", "people")  # fmt: skip
    limits = """
It has never seen a photograph: what rendering lacks is looked at in notebook 13, and no error on photographs was measured.
""" if rendered else ""  # fmt: skip
    return f"""
## The 2D network, and what pictures cost

`{eyes.path.name}`: a picture in, AGR of {s.joints} joints out. {count:.2f} million weights, {size:.1f} MB{half}.

**Made by** `vp train --net 2d --profile {f["profile"]} --out vp/weights/{eyes.path.name}` (seed {f["seed"]}) on {f["device"]}:
{f["steps"]} steps, {f["samples_seen"]} pictures seen of {seen} different ones, {f["seconds"]:.0f} s. A {trunk}
on {px} px, trained on {taught}.
Pictures are mirrored ({lots["mirror"]} of them), turned (to {c["rotation_deg"]:g}°), scaled ({scale}), shifted (to {lots["shift"]} of their
size), recoloured (± {lots["colour"]}), blurred ({lots["blur"]}) and covered (by up to three shapes, {lots["occluders"]} each).

**The whole chain**, picture to poses, at most {scenes} scenes each ({where}). Measured:
{said(weights)}.
First PCKh@0.5 and AP of OKS of the 2D network, recall (and AP) of roots; then MRPE_z of REN+PEN, mm, on the people found from all three
kinds of AGR: true, true with {noise}, the network's; by how much the error of the same person grows with the network's [95 %
over scenes]; recall. Of the joints in the picture PCKh counts {", ".join(two_d.GROUPS)}, OKS {limbs}
without the head, and takes {oks.FILLED} of the box about the joints for a person's area, where COCO has outlines.

| {" | ".join(head)} |
|{" --- |" * len(head)}
{chr(10).join(lines)}
{limits}"""


def main(argv=None):
    """Measure and write; exit code."""
    p = argparse.ArgumentParser(description="measure the shipped weights and write their card")
    p.add_argument("--weights", default=str(models.SHIPPED))
    p.add_argument("--backbone", default=str(backbone.SHIPPED), help="the 2D network; left out of the card if there is no such file")
    p.add_argument("--only", choices=("stage", "chain"), help="measure this part, keep the other as it was")
    p.add_argument("--scenes", type=int, default=256)
    p.add_argument("--panoptic", metavar="DIR")
    p.add_argument("--bvh", metavar="DIR")
    a = p.parse_args(argv)
    trained, kept = models.load(a.weights), Path(a.weights).with_name("card.json")
    eyes = backbone.load(a.backbone) if Path(a.backbone).is_file() else None
    known = json.loads(kept.read_text()) if a.only and kept.is_file() else {}
    parts = {"stage": [trained.path]} | ({"chain": [trained.path, eyes.path]} if eyes else {})
    for part in {*parts} - {a.only} if a.only else ():
        if known.get(part, {}).get("weights") != digests(*parts[part]):
            p.error(f"{kept} has no {part} measured with these weights: leave out --only")
    made = results.provenance()
    about = {"scenes": a.scenes, "where": f"{time.strftime('%Y-%m-%d')}, {made['device']}, torch {made['versions']['torch']}"}
    if a.only != "chain":
        lines = rows(trained, a.scenes, a.panoptic, a.bvh)
        seconds = round(seconds_per_scene(trained), 2)
        known["stage"] = {"lines": lines, "seconds": seconds, **about, "weights": digests(*parts["stage"])}
    if a.only != "stage" and eyes:
        known["chain"] = {"lines": chain_rows(trained, eyes, a.scenes), **about, "weights": digests(*parts["chain"])}
    results.write_atomic(kept, json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    results.write_atomic(kept.with_name("README.md"), card(trained, eyes, known))
    return 0


if __name__ == "__main__":
    sys.exit(main())
