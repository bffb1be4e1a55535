"""The paper's two benchmarks (§5.2): Table 2 on CMU Panoptic, Table 3 on MuPoTS-3D, by the published protocol and by an honest one.

A benchmark (`Bench`) is a list of parts: Panoptic's activities before camera 30, MuPoTS' sequences, of a twin or recorded.  A method's
`Answers` are taken once and counted by several rules (TABLE2, TABLE3), each of which adds one thing to the one before; the first sees no
truth, the last is the published protocol.

The data set's rules for MuPoTS-3D, as its evaluation tool has them (Mehta et al., 3DV 2018): each annotated person in turn takes the free
answer with most joints (`PAIR_JOINTS`) within 40 px of his in the picture; every bone of the answer is given its true length, from the
mid-hip outwards; an answer's joint is right within 150 mm; counted are head top, neck, shoulders, elbows, wrists, hips, knees, ankles
(`PCK_JOINTS`); a number per sequence, and their mean.  "Matched": people with an answer; "all": the others' joints are wrong.  The paper
names no threshold for PCK_root: 150 mm as for other joints, and 250 mm as in AP_root, are both given.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import torch

from vp import metrics
from vp.lab import backbone, evaluate, generalization, pictures, pool, study, two_d
from vp.lab.datasets import load
from vp.lab.infer import infer
from vp.lab.labelled import content_of, fitted, inside, read_picture
from vp.lab.profiles import resolve
from vp.nets.ren import ROOT, nearest_root
from vp.skeleton import JOINTS_15, JOINTS_17
from vp.space import Frame
from vp.world.agr import synthesise

ACTIVITIES = ("Haggling", "Mafia", "Ultimatum", "Pizza")
CAMERA = "30"  # of Panoptic's test (§5.2)
SEQUENCES = tuple(f"TS{k}" for k in range(1, 21))
FAR = {"table2": 500.0, "table3": 1000.0}  # mm, published: candidates farther from every true root are dropped
MATCHED_PX = 40.0  # MuPoTS' tool
VOTING, COUNTED = ([JOINTS_17.index(j) for j in names] for names in (metrics.PAIR_JOINTS, metrics.PCK_JOINTS))  # the same of 15 joints
CHAINS = (("mid_hip", "spine", "neck", "head_top"), ("neck", "head"), *(c for s in ("left", "right") for c in (
    ("neck", f"{s}_shoulder", f"{s}_elbow", f"{s}_wrist"), ("mid_hip", f"{s}_hip", f"{s}_knee", f"{s}_ankle"))))  # fmt: skip


# ---- what is tested on -----------------------------------------------------------------------------------------------------------------


@dataclass
class Part:
    """One activity or sequence: scenes, a list of blocks;  data: its `Dataset` and seed, for pictures; or paths: pictures per block."""

    name: str
    scenes: list
    data: tuple | None = None
    paths: list | None = None

    def __len__(self):
        return sum(len(s.mask) for s in self.scenes)

    def pictures(self, size):
        """Pictures of each block (B, 3, H, W) in [0, 1] at `size`, black where the camera's own picture ends; None: there are none."""
        if self.data is not None:
            (data, seed), counts = self.data, [len(s.mask) for s in self.scenes]
            seen = inside(torch.tensor(content_of(self.scenes[0].camera.size, size)), size)
            return (x.float() / 255 * seen for x in data.rendered(sum(counts), seed, size).split(counts))
        if not self.paths or not all(p for block in self.paths for p in block):
            return None
        return (torch.stack([fitted(read_picture(p), size) for p in block]).float() / 255 for block in self.paths)


@dataclass
class Bench:
    """table: "table2" or "table3";  parts;  sources {"poses", "cameras"};  paired: scene i of all parts shows the same people in the same
    places, doing something else."""

    table: str
    parts: list
    sources: dict
    paired: bool = False

    @property
    def recorded(self):
        """Whether these are recorded people before recorded cameras."""
        return any(p.data is None for p in self.parts)


def bench(table, profile="auto", seed=0, root=None, n=None):
    """`Bench` of a twin, n scenes in all (default: the profile's), or of what a folder has of that data set's test.

    The twin's activities have the same people, places and cameras; its sequences share nothing.
    """
    n = n or resolve(profile).held_out
    data = load("panoptic" if table == "table2" else "mupots", "test", root=root)
    if data.recorded is not None:
        return _recorded(table, data, n)
    parts = []
    for name, (own, stream) in _datasets(table, data, seed).items():
        each = max(1, n // len(ACTIVITIES if table == "table2" else SEQUENCES))
        blocks = [own.scenes(min(study.BLOCK, each - i), stream, start=i) for i in range(0, each, study.BLOCK)]
        parts.append(Part(name, blocks, (own, stream)))
    return Bench(table, parts, {k: data.sources[k] for k in ("poses", "cameras")}, table == "table2")


def _datasets(table, data, seed):
    """{part: (Dataset, seed of its scenes)} of a twin; a folder may have brought poses or cameras."""
    t, stream = data.twin, study.STREAM + seed
    if table == "table3":
        own = [{"cameras": [c]} for c in data.cameras]
        own = own or [{"twin": replace(t, scenes=replace(t.scenes, camera=f"mupots:{s[2:]}"))} for s in SEQUENCES]
        return {s: (replace(data, **changed), 1000 * stream + k) for k, (s, changed) in enumerate(zip(SEQUENCES, own))}
    if data.sources["poses"] != "twin":
        return {"other": (data, stream)}  # recorded poses say nothing of activities
    size, names = len(data.bank) // len(t.activities), {a.lower(): a for a in ACTIVITIES}
    return {
        names[a]: (replace(data, twin=replace(t, activities=(a,)), bank=data.bank[torch.arange(k * size, (k + 1) * size)]), stream)
        for k, a in enumerate(t.activities)
    }


def part_of(name, table):
    """Activity or sequence of a recorded Sample's name ("panoptic/160422_haggling1/00_30/...", "mupots/TS3/000010")."""
    sequence = name.split("/")[1]
    return sequence if table == "table3" else next((a for a in ACTIVITIES if a.lower() in sequence.lower()), "other")


def _recorded(table, data, n):
    seen = data.recorded(n, [CAMERA] if table == "table2" else None)
    samples = [s for s in seen if s.joints is not None and len(s) and s.camera is not None]
    found = {}
    for s in [samples[i * len(samples) // n] for i in range(n)] if len(samples) > n else samples:
        found.setdefault(part_of(s.name, table), {}).setdefault(s.camera.size, []).append(s)
    order, parts = {a: i for i, a in enumerate((*ACTIVITIES, *SEQUENCES))}, []
    for name in sorted(found, key=lambda k: (order.get(k, len(order)), k)):
        blocks = [some[i : i + study.BLOCK] for some in found[name].values() for i in range(0, len(some), study.BLOCK)]
        parts.append(Part(name, [evaluate.stack(b) for b in blocks], None, [[s.image for s in b] for b in blocks]))
    return Bench(table, parts, {k: samples[0].sources.get(k, "none") for k in ("poses", "cameras")} if samples else {})


def prepare(calls):
    """Render the pictures of twins that are not in the cache yet, side by side; calls: (table, profile, seed, n, size) each."""
    pool.side_by_side(_render, [(*call, half) for call in calls for half in (0, 1)], "pictures")


def _render(table, profile, seed, n, size, half):
    for part in bench(table, profile, seed, n=n).parts[half::2]:
        part.data[0].rendered(len(part), part.data[1], tuple(size))


# ---- answers ---------------------------------------------------------------------------------------------------------------------------


@dataclass
class Answered:
    """What a method says of a `Bench`, as `metrics.View`s (sequence: the part's name), in the bench's order.

    views: without any truth;  published: in the space about the true roots, far candidates dropped; None: not asked for;  focal
    (V,) px;  pairs: whose answer is whose where a method is told (a list of (q, p) per view), else None;  sizes (V, 2) px;  about: columns
    of rows.
    """

    views: list
    published: list | None
    focal: list
    sizes: list
    about: dict
    pairs: list | None = None


def answered(trained, bench, noise=None, seed=0, eyes=None, truth=False):
    """`Answered` of a second stage (`models.Trained`), from computed AGR with `noise` (None: clean), or from pictures where there are
    `eyes`: whatever has `.shape.picture` (W, H) and `.agr(images) -> heatmaps, box_map`, a `vp.nets.backbone.Backbone`.

    truth: the answers of the published evaluation as well.  None: the bench has no pictures.
    """
    s, device = trained.model.sizes, next(trained.model.parameters()).device
    out = Answered([], [] if truth else None, [], [], study.budget(trained) | bench.sources | {"images": "computed"})
    if eyes is not None:
        two_d.check_maps(trained.model, eyes)
    for part in bench.parts:
        images = eyes and part.pictures(eyes.shape.picture)
        if eyes and images is None:
            return None
        for i, scenes in enumerate(part.scenes):
            scenes = _on(scenes, device)
            agr, t = synthesise(scenes, s.map, noise, torch.Generator(device).manual_seed((seed << 20) + i), s.joints, None, s.stride)
            if eyes:
                where = eyes.mean.device if hasattr(eyes, "mean") else device
                heatmaps, box_map = (x.to(agr.heatmaps) for x in eyes.agr(next(images).to(where)))
                agr = replace(agr, heatmaps=heatmaps, box_map=box_map)
            p = infer(trained.model, agr.heatmaps, agr.box_map, scenes.camera).poses
            out.views += _named(part, evaluate.views(evaluate.Answers(p.joints, p.scores, p.valid), scenes, t.mask))
            if truth:
                told = published_answers(trained.model, scenes, agr, t, FAR[bench.table])
                out.published += _named(part, evaluate.views(told, scenes, t.mask))
            out.focal += scenes.camera.depth_norm.cpu().tolist()
            out.sizes += [scenes.camera.size] * len(scenes.mask)
    if eyes:
        out.about["images"] = "twin" if bench.parts[0].data else bench.sources["poses"].partition(" ")[0]
    return out


def _named(part, views):
    return [replace(v, sequence=part.name) for v in views]


def _on(scenes, device):
    if hasattr(scenes, "to"):
        return scenes.to(device)
    return evaluate.Seen(*(x.to(device) for x in (scenes.joints, scenes.valid, scenes.mask, scenes.camera)))


def published_answers(model, scenes, agr, targets, far):
    """`evaluate.Answers` with the truth that the published evaluation lets in: the space centred on the true roots (quirk 3), candidates
    farther than `far` mm from all of these dropped (quirk 2)."""
    s, mask, frame = model.sizes, targets.mask, Frame.ahead(scenes.camera)
    centre = torch.where(mask[..., None], targets.roots, 0.0).sum(1) / mask.sum(1).clamp(min=1)[:, None]
    offset = frame.from_world(centre[:, None].to(frame.origin))[:, 0] - frame.origin.new_tensor(s.space_centre)
    offset = torch.where(mask.any(1)[:, None], offset, 0.0)
    offset[:, 2] = 0.0
    moved = Frame(frame.axes, frame.to_world(offset[:, None])[:, 0])

    def near_truth(found, here):
        return replace(found, valid=nearest_root(found.position, here.from_world(targets.roots), mask, far)[1])

    p = infer(model, agr.heatmaps, agr.box_map, scenes.camera, moved, choose=near_truth).poses
    return evaluate.Answers(p.joints, p.scores, p.valid)


def eyes_for(profile="auto", seed=0):
    """The profile's 2D `Backbone`, from the cache if it was trained before, else trained now."""
    return backbone.trained(resolve(profile).backbone, seed).backbone


LEARNED_ON = {"table2": ("fig3a", "16"), "table3": ("table1", "augmented")}  # of the generalization study: camera 16; MuCo's twin


def baseline(method, bench, profile="auto", seed=0, block=64):
    """`Answered` of TBS, TIF or BDR on a twin's rendered pictures, trained on LEARNED_ON; BDR gives poses, the others roots.

    They are told the true boxes and 2D joints (§3.1), so that nobody is missed and nobody mistaken; a joint outside the picture has no
    answer.  Asked for are the same people as of all others: those whose root is in the picture.
    """
    experiment, arm = LEARNED_ON[bench.table]
    sizes, learned = resolve(profile).study, generalization.train_one(experiment, arm, method, profile, seed)
    size = sizes.wide if bench.table == "table2" else sizes.square
    about = {k: learned.facts[k] for k in ("steps", "samples_seen", "config")}
    out = Answered([], None, [], [], about | bench.sources | {"images": "twin"}, [])
    for part in bench.parts:
        seen = pictures.of_scenes(part.data[0], len(part), part.data[1], size)
        points = torch.cat([_points(learned.method, seen, torch.arange(i, min(i + block, len(seen)))) for i in range(0, len(seen), block)])
        start = 0
        for scenes in part.scenes:
            rows = slice(start, start := start + len(scenes.mask))
            a = evaluate.Answers(points[rows], scenes.mask.float(), scenes.mask)
            out.views += _named(part, evaluate.views(a, scenes, asked(scenes)))
            told = zip(scenes.mask, seen.mask[rows])
            out.pairs += [[(p, p) for p in torch.nonzero(known[there])[:, 0].tolist()] for there, known in told]
            out.focal += scenes.camera.depth_norm.tolist()
            out.sizes += [scenes.camera.size] * len(scenes.mask)
    return out


def asked(scenes):
    """(B, P) bool: people whose root is in the picture, the `mask` of `vp.world.agr.synthesise`."""
    uv, _, ok = scenes.camera[:, None].project(scenes.joints[:, :, ROOT : ROOT + 1])
    return scenes.mask & scenes.valid[:, :, ROOT] & (ok & scenes.camera.in_image(uv))[..., 0]


@torch.no_grad()
def _points(method, seen, index):
    """(B, P, 15, 3) mm of the camera frame: BDR's poses, or roots at the depth that another method gives; NaN where it says nothing."""
    device = next(method.parameters()).device
    views = seen.views(index, device).without_truth()
    if hasattr(method, "poses"):
        points, known = method.poses(views), views.known
    else:
        depth = method.depths(views)[..., None, None]
        xy, _ = views.camera[:, None].normalise(views.joints.to(depth))
        points, known = torch.cat([xy, torch.ones_like(xy[..., :1])], -1) * depth, torch.zeros_like(views.known)
        known[..., ROOT] = views.known[..., ROOT]
    return points.masked_fill(~(known & views.mask[..., None])[..., None], torch.nan).double().cpu()


# ---- rules -----------------------------------------------------------------------------------------------------------------------------


def with_true_bones(pred, gt):
    """pred, gt (J, 3) mm of 15 or 17 joints: every bone of `pred` keeps its direction and takes its true length, from the mid-hip outwards.

    What MuPoTS' tool does to an answer before it counts.  15 joints have no spine: the trunk is one bone then.  A bone of no length or of
    unknown true length stays as it is.
    """
    skeleton = {15: JOINTS_15, 17: JOINTS_17}[len(pred)]
    out = np.array(pred, float)
    for chain in CHAINS:
        chain = [skeleton.index(j) for j in chain if j in skeleton.joints]
        for up, joint in itertools.pairwise(chain):
            bone = np.asarray(pred[joint], float) - pred[up]
            true, own = np.linalg.norm(np.asarray(gt[joint], float) - gt[up]), np.linalg.norm(bone)
            out[joint] = out[up] + bone * (true / own if own > 0 and np.isfinite(true) else 1.0)
    return out


def in_picture(view, size):
    """The view, of which only joints within the picture of `size` count."""
    inside = ((view.gt_px >= -0.5) & (view.gt_px < np.array(size) - 0.5)).all(-1) & (view.gt[..., 2] > 0)
    return replace(view, mask=view.mask & inside)


def boned(view, pairs):
    """The view with `with_true_bones` done to the answer of each pair."""
    pred = view.pred.copy()
    for q, p in pairs:
        pred[q] = with_true_bones(view.pred[q], view.gt[p])
    return replace(view, pred=pred)


@dataclass(frozen=True)
class Rule:
    """How answers are counted.  pairing: "root" (ours: 2D roots), "pose" (Panoptic's: 3D, < 500 mm), "joints" (MuPoTS': 2D);  cut: joints
    outside the picture do not count;  bones: true bone lengths;  truth: answers of the published evaluation."""

    pairing: str = "root"
    cut: bool = False
    bones: bool = False
    truth: bool = False


TABLE2 = {
    "all joints": Rule(), "honest": Rule(cut=True), "3D pairing": Rule("pose", cut=True), "published": Rule("pose", cut=True, truth=True),
}  # fmt: skip
TABLE3 = {
    "honest": Rule(), "2D pairing": Rule("joints"), "data set's rules": Rule("joints", bones=True),
    "published": Rule("joints", bones=True, truth=True),
}  # fmt: skip
RULES = {"table2": TABLE2, "table3": TABLE3}


def count(found, rule):
    """`metrics.People` of an `Answered` by a `Rule`: all rules give the same people in the same order."""
    views, pairs = found.published if rule.truth else found.views, found.pairs
    if rule.cut:
        views = [in_picture(v, size) for v, size in zip(views, found.sizes)]
    if pairs is None:
        ways = {
            "root": lambda v, f: metrics.pair_root_px(v, ROOT, evaluate.GATE * f / np.maximum(v.gt[:, ROOT, 2], 1.0)),
            "pose": lambda v, f: metrics.pair_panoptic(v, ROOT),
            "joints": lambda v, f: metrics.pair_joints_px(v, ROOT, MATCHED_PX, VOTING),
        }
        pairs = [ways[rule.pairing](v, f) for v, f in zip(views, found.focal)]
    if rule.bones:
        views = [boned(v, p) for v, p in zip(views, pairs)]
    given = iter(pairs)
    return metrics.evaluate(views, ROOT, lambda view, root: next(given), COUNTED)
