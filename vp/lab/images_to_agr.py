"""The measurements behind notebook 08: 2D accuracy picture by picture, and which part of an AGR from images costs what in 3D."""

from dataclasses import fields, replace

import numpy as np
import torch

from vp.lab import evaluate, results, study, two_d
from vp.lab.labelled import Labelled, picture
from vp.nets.ren import ROOT
from vp.world.agr import synthesise

TWINS = {"panoptic": "test", "mupots": "test", "coco": "val"}  # splits that no training sees
PARTS = {"true roots": ("roots",), "true other joints": ("joints",), "true boxes": ("boxes",)}  # what is exchanged in the image's AGR


# ---- 2D --------------------------------------------------------------------------------------------------------------------------------


def only(pictures, index):
    """Some pictures (long tensor) of a `Labelled`."""
    columns = {f.name: v[index] for f in fields(Labelled) if isinstance(v := getattr(pictures, f.name), torch.Tensor)}
    if not isinstance(pictures.image, torch.Tensor):
        columns["image"] = [pictures.image[i] for i in index.tolist()]
    swap = pictures.swap and (pictures.swap[0][index], pictures.swap[1])
    return replace(pictures, swap=swap, **columns)


def by_picture(backbone, pictures, block=32):
    """Joints right by PCKh and joints asked for in each picture: (n,), (n,) floats; counted as `two_d.scores` does."""
    device, out = backbone.eval().mean.device, []
    for index in torch.arange(len(pictures)).split(block):
        maps = backbone.agr(pictures.images(index, device))
        for k, i in enumerate(index):
            r = two_d.scores(lambda _, k=k, maps=maps: tuple(m[k : k + 1] for m in maps), only(pictures, i[None]))
            out.append((r["pckh"]["all"] * r["joints"] if r["joints"] else 0.0, float(r["joints"])))
    return np.array(out).reshape(-1, 2).T


def rows_2d(report, method, pictures=None, **columns):
    """Rows of a `two_d.scores`: PCKh in all and by group, recall and AP of roots, AP of OKS, distance of found joints.

    pictures: of `by_picture`: then PCKh has an interval over pictures.  Each counts as often as joints are asked for in it: the mean of
    what the row keeps is PCKh over all joints.
    """
    about, kept = {"method": method, **columns}, {}
    if pictures is not None:
        right, asked = pictures
        share = right / asked.mean()
        names = np.array([f"{i:06d}" for i in range(len(share))])
        kept = {"per_scene": share.tolist(), "clusters": names.tolist(), "interval": study.interval(share, names)}
    out = [results.row("2d", "pckh", report["pckh"]["all"], "", n=report["joints"], **kept, **about)]
    out += [results.row("2d", f"pckh, {g}", v, "", **about) for g, v in report["pckh"].items() if g != "all"]
    out += [results.row("2d", m, report[m], "", n=report["people"], **about) for m in ("root_recall", "root_ap", "oks_ap", "oks_ap50")]
    return [*out, results.row("2d", "peak_error", report["peak_error"], "map px", **about)]


# ---- what costs what in 3D -------------------------------------------------------------------------------------------------------------


class Partly:
    """A `Backbone` in whose AGR some parts ("roots", "joints", "boxes") are exchanged for what is true of scenes, in their order."""

    def __init__(self, backbone, scenes, parts, stride):
        self.backbone, self.shape, self.mean = backbone, backbone.shape, backbone.mean
        self.scenes, self.parts, self.stride = iter(scenes), parts, stride

    def eval(self):
        self.backbone.eval()
        return self

    def agr(self, images, flip=False):
        """As `Backbone.agr`."""
        heatmaps, box_map = self.backbone.agr(images, flip)
        true, _ = synthesise(next(self.scenes), self.shape.map, None, None, self.shape.joints, None, self.stride)
        root = torch.arange(heatmaps.shape[1], device=heatmaps.device)[:, None, None] == ROOT
        given = (root & ("roots" in self.parts)) | (~root & ("joints" in self.parts))
        return torch.where(given, true.heatmaps.to(heatmaps), heatmaps), true.box_map.to(box_map) if "boxes" in self.parts else box_map


def exchanged(trained, backbone, data, n, seed=0, parts=None, block=32):
    """{name: {method: `metrics.People`}} of a second stage on the image's AGR with PARTS exchanged; scenes and people: `two_d.chain`'s."""
    model, parts, out = trained.model, PARTS if parts is None else parts, {}
    two_d.check_maps(model, backbone)
    device, known = next(model.parameters()).device, evaluate.Calibration(**trained.facts["calibration"])
    for i in range(0, n, block):
        scenes = data.scenes(min(block, n - i), seed, device, start=i)
        image = picture(data, scenes, backbone.shape.picture)
        for name, which in parts.items():
            people, _ = two_d.measure(model, Partly(backbone, [scenes], which, model.sizes.stride), [(scenes, image)], known)
            for method, p in people.items():
                out.setdefault(name, {}).setdefault(method, []).append(p)
    return {name: {method: evaluate.joined(p) for method, p in people.items()} for name, people in out.items()}


def share_found(people):
    """Of the people asked for, the share that REN+PEN found, and of those with a root error below 500 mm in depth: (found, near)."""
    p = people["REN+PEN"]
    near = np.abs(p.root[:, 2]) < 500.0
    return float(p.found.mean()), float((p.found & near).mean())
