"""`vp evaluate`: any weights on any data set or twin, as a table and a JSON file."""

import contextlib
import json
from itertools import islice

import torch

from vp.atomic import check_outputs
from vp.errors import InputError
from vp.lab import backbone as backbones
from vp.lab import models, results, two_d
from vp.lab.datasets import SHARED, load
from vp.lab.evaluate import Calibration, measure, stack, table
from vp.lab.labelled import fitted, picture, read_picture
from vp.lab.second_stage import world
from vp.world.agr import DETECTOR, Noise

NOISES = {"clean": None, "published": Noise(), "detector": DETECTOR}
BLOCK = 32  # scenes at a time
TEST_SPLIT = {"panoptic": "test", "muco": "test", "mupots": "test", "coco": "val"}
PUBLISHED = ("mpjpe", "mpjpe_aligned", "mrpe", "mrpe_x", "mrpe_y", "mrpe_z", "recall", "n")


def main(dataset, root=None, cameras=None, agr="gt", noise="clean", weights=None, n=256, seed=0, out=None, backbone=None):
    """Evaluate, print the table, write the JSON; exit code.  InputError for what does not go together."""
    if n < 1:
        raise InputError(f"{n} scenes", "--scenes", "at least 1")
    if agr == "image" and noise != "clean":
        raise InputError("AGR from images has the noise that it has", "--noise", "leave it out, or use --agr gt")
    if agr != "image" and backbone:
        raise InputError("AGR from ground truth needs no 2D network", "--backbone", "add --agr image")
    check_outputs({"--out": out}, (weights, backbone))
    trained, eyes = models.load(weights), None
    if agr == "image":
        eyes = two_d_network(backbone, trained)
        two_d.check_maps(trained.model, eyes.backbone, eyes.path)
    size = eyes and eyes.backbone.shape.picture
    batches, sources, limits = source(dataset, root, cameras, n, seed, trained.model.sizes.joints, size)
    report = evaluate(trained, batches, noise, seed, sources | {"dataset": dataset}, eyes)
    print(text(report, limits))
    if out:
        results.write_atomic(out, json.dumps(report, indent=1) + "\n")
    return 0


def two_d_network(path, trained):
    """`backbone.Trained2D` of a file, by default that in the second stage's own file, else the shipped one; InputError."""
    if path is None:
        with contextlib.suppress(InputError):  # none in it
            return backbones.load(trained.path)
        if not backbones.SHIPPED.is_file():
            raise InputError("AGR from images needs a 2D network, and none comes with these weights", "--agr", "give --backbone FILE")
    return backbones.load(path)


def source(dataset, root=None, cameras=None, n=256, seed=0, joints=15, size=None):
    """What to evaluate on: (iterable of scenes, sources, notes for the reader).

    dataset: "virtual" (test world of the second stage), a twin, or with `root` recorded data;  cameras: ids of the data set, or one
    specification of `vp.world.cameras.sampler` for virtual scenes;  size: (W, H) px, pairs of scenes and their pictures (B, 3, H, W) in
    [0, 1] are asked for instead.
    """
    notes = []
    if dataset == "virtual":
        data = world(split="test")
    else:
        data = load(dataset, TEST_SPLIT.get(dataset), root=root)
    if root is not None and data.recorded is not None:
        if cameras and dataset != "panoptic":
            raise InputError(f"--camera cannot be chosen for {dataset} with a folder", "--camera", "leave it out")
        if SHARED in data.sources["poses"]:
            notes.append("the folder has no split: these people may have been trained on")
        samples = (s for s in data.recorded(n, cameras) if s.joints is not None and len(s) and s.camera is not None)
        kept = list(islice((s for s in samples if s.image or size is None), n))
        if not kept:
            raise InputError("no frame with 3D poses and a camera" + (" and a picture" if size else ""), root)
        sources = {k: kept[0].sources.get(k, "none") for k in ("poses", "cameras", "images")} | ({} if size else {"images": "none"})
        by_size = {}
        for s in kept:
            by_size.setdefault(s.camera.size, []).append(s)
        parts = [part[i : i + BLOCK] for part in by_size.values() for i in range(0, len(part), BLOCK)]
        blocks = [stack(part, joints) for part in parts]
        notes.append(f"{len(kept)} views of {len({s.name.rpartition('/')[2] + s.name.split('/')[1] for s in kept})} moments")
        if not all(bool(b.valid[..., 1].any()) for b in blocks):
            notes.append("the source has no head top" + ("" if size else ": its heatmap is empty"))
        return blocks if size is None else _pictured(blocks, parts, size), sources, notes
    camera = _specification(dataset, cameras)
    blocks = (data.scenes(min(BLOCK, n - i), seed, start=i, camera=camera) for i in range(0, n, BLOCK))
    first = data.scenes(1, seed, camera=camera).sources
    if size is not None:
        return ((scenes, picture(data, scenes, size)) for scenes in blocks), {**first, "images": "twin"}, notes
    return blocks, {**first, "images": "none"}, notes


def _pictured(blocks, parts, size):
    """Generator of blocks of recorded people with their pictures, read when their turn comes."""
    for block, part in zip(blocks, parts, strict=True):
        yield block, torch.stack([fitted(read_picture(s.image), size) for s in part]).float() / 255


def _specification(dataset, cameras):
    """Camera specification of virtual scenes from the ids of the command line."""
    if not cameras:
        return None
    if dataset in ("panoptic", "mupots") and all(str(c).isdigit() for c in cameras):
        return f"{dataset}:{','.join(map(str, cameras))}"
    if len(cameras) > 1:
        raise InputError(f"{len(cameras)} cameras for {dataset}", "--camera", "one specification, or a JSON file")
    return cameras[0]


def evaluate(trained, batches, noise="clean", seed=0, sources=None, eyes=None, **options):
    """The report of `vp evaluate`, a dict fit for JSON: mrpe_z, mrpe, mpjpe (mm), recall, n of REN+PEN by the honest protocol; "methods":
    the same with an interval, reference levels among them; "published": that protocol's means; "windows": of the honest protocol, the
    numbers of people detected on the maps ("detected"), of those left without a pose ("unexplained"), of windows beyond the first of each
    image ("further") and of poses that came from these ("poses_from_further"); where everything came from; warnings.

    eyes: `backbone.Trained2D`, which looks at pictures: batches are pairs of scenes and pictures then;  options: see `measure`.
    """
    warnings = []
    try:
        known = Calibration(**{k: float(v) for k, v in trained.facts["calibration"].items()}) if "calibration" in trained.facts else None
    except (TypeError, ValueError, AttributeError):
        raise InputError("its calibration is no table of numbers", trained.path) from None
    if known is None:
        warnings.append("weights without calibration: the levels that need one are left out")
    if (sources or {}).get("poses") not in (None, "twin", "virtual", "procedural") and sources["poses"] in str(trained.facts.get("poses")):
        warnings.append(f"the weights were trained on poses of {sources['poses']}")
    looked = Windows()
    watched = _watch(batches, trained.facts, warnings, looked, (lambda pair: pair[0]) if eyes else (lambda scenes: scenes))
    with torch.inference_mode(False):
        if eyes:
            people, published = two_d.measure(trained.model, eyes.backbone, watched, known, look=looked, **{"published": True, **options})
        else:
            people, published = measure(trained.model, watched, known, NOISES[noise], seed, look=looked, **options)
    rows = table(people)
    final = rows["REN+PEN"]
    return {
        **{k: _plain(final[k]) for k in ("mrpe_z", "mrpe", "mpjpe", "recall", "n")}, "unit": "mm", "protocol": "honest",
        "methods": {k: {a: _plain(v) for a, v in r.items()} for k, r in rows.items()},
        "published": None if published is None else {k: _plain(published[k]) for k in PUBLISHED},
        "windows": looked.counts,
        "agr": f"images, {eyes.path.name}" if eyes else f"ground truth, {noise}", "seed": seed,
        "weights": trained.path.name, "sources": sources or {},
        "warnings": list(dict.fromkeys(warnings)), **{k: v for k, v in results.provenance().items() if k in ("git", "device")},
    }  # fmt: skip


class Windows:
    """What became of the people detected on the maps: counts, and the depths mm at which further windows were aimed."""

    def __init__(self):
        self.counts, self.aims = dict.fromkeys(("detected", "unexplained", "further", "poses_from_further"), 0), []

    def __call__(self, found):
        """Take note of an `Inference`."""
        p, aimed = found.poses, found.aims.isfinite()
        counted = (found.detections.valid, found.unexplained, aimed, p.valid & (p.window > 0))
        for key, which in zip(self.counts, counted, strict=True):
            self.counts[key] += int(which.sum())
        self.aims.append(found.aims[aimed])


def _watch(batches, facts, warnings, looked, of):
    """The batches, noting what lies outside the range of training: cameras, people, and where the windows of `looked` were aimed.

    of: function batch -> its scenes.

    The true depth of people does not tell the last: somebody may be seen at a wrong one.
    """
    seen = []
    for batch in batches:
        scenes = of(batch)
        depth = scenes.camera.to_camera(scenes.joints[:, :, 2])[..., 2]
        seen.append((scenes.camera, depth[scenes.mask & scenes.valid[:, :, 2] & (depth > 0)]))
        yield batch
    for camera, depth in seen:
        warnings += models.outside_range(facts, camera, depth)
    if seen and looked.aims:
        said = models.outside_range(facts, seen[0][0], torch.cat(looked.aims))
        warnings += [f"further windows aimed at {w}" for w in said if w.startswith("depth")]


def _plain(x):
    """Numbers for JSON: NaN and missing as null."""
    if isinstance(x, (tuple, list)):
        return [_plain(v) for v in x]
    return None if x is None or x != x else round(float(x), 4) if not isinstance(x, int) else x


def text(report, notes=()):
    """The report as a table."""
    head = f"{'':15}{'MRPE_z':>9}  {'95 %':<17}{'MRPE':>8}{'MPJPE':>8}{'recall':>8}{'people':>8}"
    lines = [f"{report['sources'].get('dataset', '')}: AGR {report['agr']}, weights {report['weights']}, honest protocol, mm", head]
    for name, r in report["methods"].items():
        between = "[{:.1f}, {:.1f}]".format(*r["interval"]) if r["interval"] else ""
        mpjpe = f"{r['mpjpe']:8.1f}" if r["mpjpe"] is not None else f"{'':8}"
        numbers = [f"{r[k]:8.1f}" if r[k] is not None else f"{'-':>8}" for k in ("mrpe_z", "mrpe")]
        lines.append(f"{name:15} {numbers[0]}  {between:<17}{numbers[1]}{mpjpe}{r['recall']:8.3f}{r['n']:8d}")
    if p := report["published"]:
        said = ", ".join(f"{k} {p[k]:.1f}" if p[k] is not None else f"{k} -" for k in ("mpjpe", "mrpe", "mrpe_z"))
        said += f", recall {p['recall'] or 0:.3f}, n {p['n']}"
        lines.append(f"published protocol (space about the truth, candidates filtered by it): {said}")
    w = report["windows"]
    said = f"people detected on the maps: {w['detected']}, without a pose: {w['unexplained']}"
    lines.append(f"{said}; further windows: {w['further']}, poses from these: {w['poses_from_further']}")
    return "\n".join([*lines, *(f"note: {w}" for w in (*notes, *report["warnings"]))])
