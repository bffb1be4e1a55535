"""What the 2D network finds and how good that is: people grouped from its maps, their 2D errors, and what they cost the second stage."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vp import metrics
from vp.camera import fit_transform, rescale
from vp.errors import InputError
from vp.lab import evaluate, oks, study
from vp.lab.augment import moved, moved_box
from vp.lab.effects import bootstrap
from vp.lab.infer import WINDOWS, infer
from vp.lab.labelled import fitted, picture, read_picture, targets
from vp.nets.backbone import SKELETONS, STRIDE
from vp.nets.ren import decode
from vp.sample import Sample
from vp.world.agr import Noise, synthesise

PEOPLE = 20  # most found in a picture
LEAST = 0.1  # score of a root or a joint
PERSON = 0.4  # score of a root in somebody's photo: on twins of the training's kind, recall and precision balance at 0.4 to 0.5
BEYOND = 0.1  # of a box's size: so far outside it a joint may lie
GROUPS = ("head", "shoulders", "elbows", "wrists", "hips", "knees", "ankles")
# Where joints lie from the root, in half sides of the box: mean down, s.d. across and down; of 600 scenes of the twins' training splits.
PLACES = {"neck": (-0.58, 0.23, 0.15), "head_top": (-0.93, 0.41, 0.26), "mid_hip": (0.0, 0.1, 0.1), "shoulder": (-0.58, 0.40, 0.17),
          "elbow": (-0.34, 0.51, 0.24), "wrist": (-0.28, 0.68, 0.39), "hip": (0.0, 0.16, 0.05), "knee": (0.29, 0.43, 0.26),
          "ankle": (0.63, 0.47, 0.30), "spine": (-0.29, 0.11, 0.07), "head": (-0.80, 0.33, 0.22)}  # fmt: skip
ARMS = {"ground truth": None, "ground truth, noisy": Noise()}  # AGR that the image's stands beside


# ---- people from maps ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """People on B pairs of maps, K slots each, best first; px of the map.  joints (B, K, J, 2), NaN where not found;  scores (B, K, J),
    0 there;  boxes (B, K, 4);  roots (B, K, 2);  root_scores, valid (B, K)."""

    joints: torch.Tensor
    scores: torch.Tensor
    boxes: torch.Tensor
    roots: torch.Tensor
    root_scores: torch.Tensor
    valid: torch.Tensor


def grouped(heatmaps, box_map, people=PEOPLE, least=LEAST, person=LEAST):
    """`Found` of heatmaps (B, J, H, W) and box_map (B, 4, H, W): each root's box takes one peak of each joint's heatmap.

    least, person: least score of a joint, of a root.

    Of the pairs of a person and a peak in (or just outside) his box, the best goes first, then the best of what is left: a high peak,
    where such a joint usually is (PLACES).
    """
    (B, J, H, W), root = heatmaps.shape, SKELETONS[heatmaps.shape[1]].root_index
    nothing = heatmaps.new_zeros(1, 1, 1)
    d = decode(heatmaps[:, root], box_map, nothing.expand(B, H, W), people, person)
    peaks = decode(heatmaps.flatten(0, 1), nothing[None].expand(B * J, 4, H, W), nothing.expand(B * J, H, W), people, least)
    uv, height = peaks.roots.view(B, J, people, 2), peaks.scores.view(B, J, people)
    half = ((d.boxes[..., 2:] - d.boxes[..., :2]) / 2).clamp(min=1.0)[:, None, :, None]  # B 1 K 1 2
    middle = ((d.boxes[..., 2:] + d.boxes[..., :2]) / 2)[:, None, :, None]
    at = uv[:, :, None] - middle  # B J person peak 2
    ok = (at.abs() <= (1 + 2 * BEYOND) * half).all(-1) & d.valid[:, None, :, None] & (height >= least)[:, :, None]
    names = [j.removeprefix("left_").removeprefix("right_") for j in SKELETONS[J].joints]
    down, sx, sy = (x[:, None, None] for x in uv.new_tensor([PLACES[j] for j in names]).T)
    x, y = ((uv[:, :, None] - d.roots[:, None, :, None]) / half).unbind(-1)
    worth = (height[:, :, None] * (-((x / sx).square() + ((y - down) / sy).square()) / 4).exp()).masked_fill(~ok, 0)
    worth = worth.clamp(min=1e-30).masked_fill(~ok, 0).flatten(0, 1)  # (B J) person peak
    joints, scores = uv.new_full((B * J, people, 2), torch.nan), height.new_zeros(B * J, people)
    rows, uv, height = torch.arange(B * J, device=uv.device), uv.flatten(0, 1), height.flatten(0, 1)
    for _ in range(people):
        best, index = worth.flatten(1).max(1)
        who, peak, real = index // people, index % people, best > 0
        if not real.any():
            break
        joints[rows[real], who[real]] = uv[rows[real], peak[real]]
        scores[rows[real], who[real]] = height[rows[real], peak[real]]
        worth[rows, who], worth[rows, :, peak] = 0, 0
    joints, scores = joints.view(B, J, people, 2).transpose(1, 2).clone(), scores.view(B, J, people).transpose(1, 2).clone()
    joints[:, :, root], scores[:, :, root] = d.roots.masked_fill(~d.valid[..., None], torch.nan), d.scores * d.valid
    return Found(joints, scores, d.boxes, d.roots, d.scores, d.valid)


def detect(backbone, image, flip=True, least=LEAST, name=None, person=PERSON):
    """The people in one picture as a 2D `Sample`, as `vp.data.detections` gives them: joints, scores and boxes, px of the picture.

    backbone: a `Backbone`;  image: path, or (3, H, W) uint8 RGB;  flip: see `Backbone.agr`.  InputError: cannot be read.
    """
    where = name or (Path(image).name if isinstance(image, (str, Path)) else "picture")
    image = read_picture(image) if isinstance(image, (str, Path)) else torch.as_tensor(image)
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8 or 0 in image.shape:
        raise InputError(f"a picture of shape {tuple(image.shape)} and {image.dtype}", where, "(3, H, W) uint8, RGB")
    shape, size = backbone.shape, tuple(image.shape[:0:-1])
    x = fitted(image.cpu(), shape.picture)[None].to(backbone.mean.device).float() / 255
    found = grouped(*backbone.eval().agr(x, flip), least=least, person=person)
    k, offset = fit_transform(size, shape.picture)
    origin = rescale(rescale(torch.zeros(2), STRIDE) - torch.tensor(offset), 1 / k)  # of the map, on the picture
    back = torch.cat([torch.eye(2) * STRIDE / k, origin[:, None]], 1)[None]
    who = found.valid[0].cpu()
    uv, scores = moved(found.joints.cpu()[:, who], back)[0].double(), found.scores[0].cpu()[who]
    boxes = moved_box(found.boxes.cpu()[:, who], back)[0].double()
    limit = torch.tensor([*size, *size]) - 0.5
    return Sample(SKELETONS[shape.joints], f"detections/{where}", joints_px=uv, valid_px=uv.isfinite().all(-1), score=scores.double(),
                  boxes=boxes.clamp(min=-0.5).minimum(limit), size=size, ids=(-1,) * len(uv), sources={"poses": "backbone"})  # fmt: skip


# ---- 2D errors -------------------------------------------------------------------------------------------------------------------------


def report(backbone, pictures, flip=False, block=32):
    """`scores` of a `Backbone` on `Labelled` pictures of its size."""
    device = backbone.eval().mean.device
    return scores(lambda i: backbone.agr(pictures.images(i, device), flip), pictures, block)


def ceiling(pictures, map_size, block=32):
    """`scores` of the AGR that is true of `Labelled` pictures: what grouping and the resolution of the maps leave."""
    columns = ("uv", "present", "missing", "boxes", "depth", "content")

    def drawn(i):
        agr, _ = targets(*(getattr(pictures, c)[i] for c in columns), pictures.size, map_size)
        return agr.heatmaps, agr.box_map

    return scores(drawn, pictures, block)


def scores(maps_of, pictures, block=32):
    """2D errors on `Labelled` pictures: a dict of numbers.

    maps_of: (long tensor of pictures) -> heatmaps, box_map.  Asked for are people whose root is in the picture, and their joints there.  A
    found person is the nearest of those whose root is within half a head of his, at most one.  "pckh": {group: share of joints no more
    than half a head off, a missed person's all wrong}, head = neck to head top, at least 2 px of the map;  "root_recall", "root_ap": of
    people found;  "oks_ap", "oks_ap50": see `vp.lab.oks`, a share of the box about the joints taken for the area;  "peak_error": mean
    distance of the found joints of found people, px of the map;  "people", "joints": how many (without the root).
    """
    skeleton = SKELETONS[pictures.uv.shape[2]]
    root, neck, top = (skeleton.index(j) for j in (skeleton.root, "neck", "head_top"))
    group = [next((g for g in GROUPS if g.rstrip("s") in j), "head" if j == "neck" else None) for j in skeleton.joints]
    group[root] = None  # stands beside, as the spine does
    right, ranked, errors, found_people, n_people, views = {}, [], [], 0, 0, []
    for start in range(0, len(pictures), block):
        index = torch.arange(start, min(start + block, len(pictures)))
        heatmaps, box_map = maps_of(index)
        k = heatmaps.shape[3] / pictures.size[0]
        found = grouped(heatmaps, box_map)
        truth, edge = rescale(pictures.uv[index], k), rescale(pictures.content[index], k)
        seen = pictures.present[index] & (truth >= edge[:, None, None, :2]).all(-1) & (truth < edge[:, None, None, 2:]).all(-1)
        head = (truth[:, :, top] - truth[:, :, neck]).norm(dim=-1)
        known = pictures.present[index][:, :, top] & pictures.present[index][:, :, neck]
        head = torch.where(known, head, 0).clamp(min=2.0)
        uv, valid, score = (x.cpu() for x in (found.joints, found.valid, found.root_scores))
        area = oks.FILLED * _area(pictures, index) * k * k
        for b in range(len(index)):
            q = valid[b]
            views.append(oks.Seen(*(x.numpy() for x in (uv[b, q], score[b, q], truth[b], seen[b], area[b], seen[b, :, root]))))
            people = seen[b, :, root].nonzero()[:, 0]
            far = (uv[b, :, None, root] - truth[b, None, people, root]).norm(dim=-1)  # slot, person
            far = (far / (0.5 * head[b, people])).masked_fill(~valid[b, :, None], torch.inf).nan_to_num(torch.inf, torch.inf)
            mine, n_people = {}, n_people + len(people)
            for q in valid[b].nonzero()[:, 0].tolist():  # by descending score
                hit = len(people) > 0 and bool(far[q].min() <= 1)
                ranked.append((float(score[b, q]), hit))
                if hit:
                    mine[p := int(far[q].argmin())] = q
                    far[:, p] = torch.inf
            found_people += len(mine)
            for p, person in enumerate(people.tolist()):
                asked = seen[b, person]
                off = (uv[b, mine[p]] - truth[b, person]).norm(dim=-1) if p in mine else torch.full((len(skeleton),), torch.inf)
                off = off.nan_to_num(torch.inf, torch.inf)
                errors += off[asked & off.isfinite()].tolist()
                for j in asked.nonzero()[:, 0].tolist():
                    right.setdefault(group[j], []).append(bool(off[j] <= 0.5 * head[b, person]))
    right.pop(None, None)
    share = {g: float(np.mean(right[g])) for g in GROUPS if g in right}
    total = [x for g in right.values() for x in g]
    ap = metrics.average_precision([s for s, _ in ranked], [h for _, h in ranked], n_people)
    return {"pckh": {**share, "all": float(np.mean(total)) if total else float("nan")},
            "root_recall": found_people / n_people if n_people else float("nan"), "root_ap": ap,
            **{f"oks_{key}": value for key, value in oks.average_precision(views, skeleton).items()},
            "peak_error": float(np.mean(errors)) if errors else float("nan"), "people": n_people, "joints": len(total)}  # fmt: skip


def _area(pictures, index):
    """(B, P) px² of the upright boxes about people's known joints."""
    present, uv = pictures.present[index][..., None], pictures.uv[index]
    extent = uv.masked_fill(~present, -torch.inf).amax(2) - uv.masked_fill(~present, torch.inf).amin(2)
    return extent.clamp(min=0).prod(-1)


def text(reports):
    """{name: `scores`} as a table."""
    columns = ("all", *GROUPS)
    head = f"{'root recall':>13}{'AP':>7}{'OKS AP':>8}{'px off':>8}{'people':>8}"
    lines = [f"{'PCKh@0.5':22}" + "".join(f"{c:>10}" for c in columns) + head]
    for name, r in reports.items():
        cells = "".join(f"{r['pckh'][c]:10.3f}" if c in r["pckh"] else f"{'-':>10}" for c in columns)
        lines.append(f"{name:22}{cells}{r['root_recall']:13.3f}{r['root_ap']:7.3f}{r['oks_ap']:8.3f}{r['peak_error']:8.2f}{r['people']:8d}")
    return "\n".join(lines)


# ---- what the second stage loses -------------------------------------------------------------------------------------------------------


def check_maps(model, backbone, where=None):
    """InputError unless a `Backbone` gives the maps that a second stage takes."""
    s, b = model.sizes, backbone.shape
    if (s.joints, tuple(s.map)) != (b.joints, b.map):
        said = [f"{j} joints on {w} x {h} px" for j, (w, h) in ((b.joints, b.map), (s.joints, s.map))]
        raise InputError(f"its maps ({said[0]}) are not those of the second stage ({said[1]})", where or "2D network")


def measure(model, backbone, pairs, known, frame="ahead", windows=WINDOWS, published=False, look=None, flip=False):
    """`vp.lab.evaluate.measure` with the AGR that a `Backbone` reads from pictures instead of a computed one.

    pairs: iterable of scenes and their pictures (B, 3, H, W) in [0, 1].  The people asked for are the same as there.
    """
    parts, way, s, eyes = {}, [], model.sizes, backbone.eval().mean.device
    for scenes, image in pairs:
        agr, t = synthesise(scenes, s.map, None, None, s.joints, None, s.stride)
        heatmaps, box_map = (x.to(agr.heatmaps) for x in backbone.agr(image.to(eyes), flip))
        found = infer(model, heatmaps, box_map, scenes.camera, frame, windows)
        if look is not None:
            look(found)
        for name, a in (evaluate.answers(found) | evaluate.levels(scenes, agr, t, s, known)).items():
            parts.setdefault(name, []).append(evaluate.score(a, scenes, t.mask))
        if published:
            way.append(evaluate._published(model, scenes, replace(agr, heatmaps=heatmaps, box_map=box_map), t, scenes.camera))
    people = {name: evaluate.joined(p) for name, p in parts.items()}
    return people, metrics.summarise(evaluate.joined(way)) if published else None


def chain(trained, backbone, data, n=256, seed=0, arms=None, flip=False, block=32):
    """{arm: {method: `metrics.People`}} of a second stage (`models.Trained`) on n scenes of a Dataset: AGR from ARMS and from "image"
    (backbone None: without).

    The same scenes, and the same people in the same order, in all arms.
    """
    if backbone is not None:
        check_maps(trained.model, backbone)
    device = next(trained.model.parameters()).device
    scenes = [data.scenes(min(block, n - i), seed, device, start=i) for i in range(0, n, block)]
    known, out = evaluate.Calibration(**trained.facts["calibration"]), {}
    for arm, noise in (ARMS if arms is None else arms).items():
        out[arm], _ = evaluate.measure(trained.model, scenes, known, noise, seed, published=False)
    if backbone is not None:
        pairs = ((s, picture(data, s, backbone.shape.picture)) for s in scenes)
        out["image"], _ = measure(trained.model, backbone, pairs, known, flip=flip)
    return out


def chain_rows(measured, experiment, trained, **columns):
    """Rows of `chain`, the arm in the column `train` ("AGR: ..."), on the people found by all methods in all arms."""
    among, out = study.common(*measured.values()), []
    for arm, people in measured.items():
        out += study.rows(people, experiment, trained, among, train=f"AGR: {arm}", **columns)
    return out


def loss(measured, method="REN+PEN", metric="mrpe_z", against="ground truth"):
    """(mean, (low, high), people): by how many mm the error grows with AGR from images, person by person; 95 % over scenes."""
    among = study.common(*measured.values())
    image, other = measured["image"][method], measured[against][method]
    difference = (study.METRICS[metric](image) - study.METRICS[metric](other))[among]
    interval = bootstrap(difference, image.view[among], None, np.random.default_rng(0)) if len(difference) > 1 else None
    return study.mean(difference), interval, len(difference)
