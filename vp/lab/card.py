"""The card of the shipped weights, written from measurements alone: `python -m vp.lab.card [--panoptic DIR] [--bvh DIR]`.

Every number in `vp/weights/README.md` comes from here.  Lines that were measured are kept in `card.json` beside it, so that a part can be
measured again (`--only chain`) without the rest.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from vp.lab import backbone, models, results, two_d
from vp.lab.claims import quantity
from vp.lab.datasets import load
from vp.lab.evaluate import Calibration, measure, table
from vp.lab.evaluation import TEST_SPLIT, source
from vp.lab.labelled import of_scenes
from vp.world.agr import DETECTOR, Noise

HEADLESS = replace(Noise(), no_head_top=1.0)
KINDS = {"clean": None, "published noise": Noise(), "the same without head top": HEADLESS, "detector noise": DETECTOR}
TWINS = ("virtual", "panoptic", "muco", "mupots", "coco")
COLUMNS = ("box size", "DE", "REN", "REN+PEN")


def sets(n, panoptic=None, bvh=None):
    """(name, kinds of AGR, function -> iterable of scenes): what the card is measured on."""
    for name in TWINS:
        title = "virtual test world, universal cameras" if name == "virtual" else f"{name} twin, test split"
        yield title, list(KINDS), lambda name=name: source(name, n=n)[0]
    if bvh:
        data = load("bvh", root=bvh)
        scenes = [data.scenes(32, 0, start=i, camera="mupots") for i in range(0, n, 32)]
        yield "recorded motion (BVH), the 20 MuPoTS cameras", list(KINDS), lambda: scenes
    if panoptic:
        blocks = source("panoptic", panoptic, ["14", "16", "19", "30"], n)[0]
        yield "recorded CMU Panoptic frames, cameras 14, 16, 19, 30 (no head top)", ["clean", "published noise"], lambda: blocks


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
        out.append("| " + " | ".join([f"{name} twin, test split", *known, *errors, *lost, *recall, str(int(among.sum()))]) + " |")
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
    lines, scenes, seconds, where = (known["stage"][k] for k in ("lines", "scenes", "seconds", "where"))
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
    depth = [[float(v) for v in line.split("|")[5:7]] for line in lines]  # REN, REN+PEN
    worse = sum(pen > ren for ren, pen in depth)
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

**Errors**, mm, honest protocol, at most {scenes} scenes or frames each ({where}). MRPE_z of the box-size rule, DE, REN
(between voxels) and REN+PEN on the same people; MRPE, MPJPE (absolute) and recall of REN+PEN; last the MPJPE of the published protocol
with its recall.

| data | AGR from ground truth | box size | DE | REN | REN+PEN | MRPE | MPJPE | recall | people | published MPJPE |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(lines)}

**Speed** one scene of 3 people {seconds:.2f} s on 2 threads of a CPU.

**Limits** In {worse} of these {len(lines)} rows the depth of the root is worse after PEN than before it (REN, read between voxels): PEN
adds the other joints.

The shares of the virtual activities were tuned on the recorded clips of the BVH rows, so these are not held out. Numbers on
virtual scenes say nothing about the real data sets.
{of_eyes(eyes, **known["chain"]) if eyes else ""}"""


def of_eyes(eyes, lines, scenes, where):
    """The card's part on the 2D network and on the whole chain from pictures."""
    f, s, size = eyes.facts, eyes.backbone.shape, eyes.path.stat().st_size / 1e6
    count, c = sum(p.numel() for p in eyes.backbone.parameters()) / 1e6, f["two_d"]["change"]
    seen, scale, px = sum(f["pictures"]), " to ".join(map(str, c["scale"])), " x ".join(map(str, s.picture))
    head = ("data", "PCKh", "OKS AP", "roots found (AP)", "true AGR", "noisy AGR", "from pictures", "lost against true", "against noisy",
            "recall, true AGR", "recall, pictures", "people")  # fmt: skip
    return f"""
## The 2D network, and what pictures cost

`{eyes.path.name}`: a picture in, AGR of {s.joints} joints out. {count:.2f} million weights, {size:.1f} MB (convolutions in 16 bits).

**Made by** `vp train --net 2d --profile compact --out vp/weights/{eyes.path.name}` (seed {f["seed"]}) on {f["device"]}:
{f["steps"]} steps, {f["samples_seen"]} pictures seen of {seen} different ones, {f["seconds"]:.0f} s. A ResNet-{s.depth} of width {s.width}
with skips (ours) on {px} px, trained on rendered pictures alone: training splits of the twins of Panoptic, MuCo and COCO.
Pictures are mirrored, moved (scale {scale}, {c["rotation_deg"]}°), recoloured, blurred and covered.

**The whole chain**, picture to poses, at most {scenes} scenes each ({where}): PCKh@0.5 and AP of
OKS of the 2D network, recall (and AP) of roots; then MRPE_z of REN+PEN, mm, on the people found from all three kinds of AGR: true, true
with the noise of training, the network's; by how much the error of the same person grows with the network's [95 % over scenes]; recall.

| {" | ".join(head)} |
|{" --- |" * len(head)}
{chr(10).join(lines)}

It has never seen a photograph: what rendering lacks is looked at in notebook 13, and no error on photographs was measured.
"""


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
    made = results.provenance()
    about = {"scenes": a.scenes, "where": f"{time.strftime('%Y-%m-%d')}, {made['device']}, torch {made['versions']['torch']}"}
    if a.only != "chain":
        lines = rows(trained, a.scenes, a.panoptic, a.bvh)
        known["stage"] = {"lines": lines, "seconds": round(seconds_per_scene(trained), 2), **about}
    if a.only != "stage" and eyes:
        known["chain"] = {"lines": chain_rows(trained, eyes, a.scenes), **about}
    results.write_atomic(kept, json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    results.write_atomic(kept.with_name("README.md"), card(trained, eyes, known))
    return 0


if __name__ == "__main__":
    sys.exit(main())
