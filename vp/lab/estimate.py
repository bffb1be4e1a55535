"""`vp estimate`: 2D keypoints of any detector, or a photo, in; absolute 3D poses out (Fig. 4 and beyond).

keypoints -> 15 joints with masks -> AGR of each person -> the second stage before a camera that is known or guessed -> JSON, picture, page.

Who is who is known here, so each person gets an AGR of his own: measured on three twins with ground-truth AGR, this finds 99.7 to 100 %
of the people instead of 85 to 99.6 % and lowers MRPE_z by 12 to 23 % against one AGR for all.  It also bounds memory: `BLOCK` at a time.
"""

import json
import math
import sys
import warnings
from dataclasses import dataclass

import torch

from vp.atomic import check_outputs, write_atomic
from vp.camera import fit_transform, rescale
from vp.errors import InputError
from vp.lab import guess_camera, models
from vp.lab.found import DETECTORS, find_people
from vp.lab.infer import WITHIN_PX, infer
from vp.nets.ren import Candidates
from vp.skeleton import JOINTS_15, map_joints
from vp.world.agr import EXTENSION, draw_box_map, draw_heatmaps, edge_distances, person_sigma

LEAST = 0.15  # least confidence of a joint: less is missing; above the 0.1 at which a root is found on the maps
OCCLUDED = 0.55  # amplitude of a joint that was labelled though hidden: the middle of the training's 0.2 to 0.9
STATURE_SHARE = 0.05  # relative s.d. of adults' stature: without a floor, depth is known no better
CROWN = (1.0 - 0.818) / (0.936 - 0.818)  # neck to head top / neck to eyes (Winter); for the size of the box only, never as a joint
NEAR = 100.0  # mm, no root is nearer to the camera
BLOCK = 16  # people at a time
BORDER_PX = 2.0  # a box so near to the border is cut by it
ROOT = JOINTS_15.root_index


@dataclass
class People:
    """P people of an image: px (P, 15, 2), NaN where unknown;  amplitude (P, 15) in [0, 1], 0 where unknown;  eyes (P, 2) px, NaN where
    unknown;  top (P, 2) px, where the head may end;  truncated (P,) bool;  ids."""

    px: torch.Tensor
    amplitude: torch.Tensor
    eyes: torch.Tensor
    top: torch.Tensor
    truncated: torch.Tensor
    ids: list

    @property
    def known(self):
        return self.amplitude > 0


def people_of(sample, size):
    """`People` of a 2D Sample in an image of `size`; InputError if its keypoints cannot belong to such an image."""
    px, known = sample.joints_px.double(), sample.valid_px
    if sample.score is not None:
        trust = sample.score.double().clamp(0, 1)
    elif sample.visible is not None:
        trust = torch.where(sample.visible, px.new_tensor(1.0), px.new_tensor(OCCLUDED))
    else:
        trust = torch.ones_like(px[..., 0])
    known = known & (trust >= LEAST)
    inside = ((px > -0.5) & (px < px.new_tensor(size) - 0.5)).all(-1)
    if known.any() and (known & inside).sum() < 0.5 * known.sum():
        what = f"{int((known & ~inside).sum())} of {int(known.sum())} keypoints lie outside the image of {size[0]} x {size[1]}"
        raise InputError(what, sample.name, "is this the size of another image, or are they not in pixels?")
    known = known & ((px > -px.new_tensor(size)) & (px < 2 * px.new_tensor(size))).all(-1)  # farther away: no joint
    uv, ok = map_joints(px, known, sample.skeleton, JOINTS_15, derive=True)
    amplitude = map_joints(trust[..., None], known, sample.skeleton, JOINTS_15, derive=True)[0][..., 0].nan_to_num(0) * ok
    eyes = torch.full_like(px[:, 0], torch.nan)
    for names in (("left_eye", "right_eye"), ("left_ear", "right_ear"), ("nose",)):  # about as high as each other
        eyes = torch.where(eyes.isfinite(), eyes, _mean(px, known, sample.skeleton, names))
    neck = uv[:, JOINTS_15.index("neck")]
    out = People(uv, amplitude, eyes, neck + CROWN * (eyes - neck), torch.zeros(len(uv), dtype=torch.bool), list(sample.ids))
    out.ids = [i if i is not None and i != -1 else k for k, i in enumerate(out.ids, 1)] or list(range(1, len(uv) + 1))
    out.truncated = _truncated(out, sample.boxes, size)
    return out


def _mean(px, known, skeleton, names):
    """Mean of the known ones of some joints, (P, 2) px, NaN where there is none."""
    at = [skeleton.index(n) for n in names if n in skeleton.joints]
    if not at:
        return torch.full_like(px[:, 0], torch.nan)
    return px[:, at].masked_fill(~known[:, at, None], torch.nan).nanmean(1)


def _corners(people):
    """Least and greatest of joints and head top, (P, 2) px each; NaN of who has none."""
    px = torch.cat([people.px, people.top[:, None]], 1)
    lo, hi = px.nan_to_num(math.inf).amin(1), px.nan_to_num(-math.inf).amax(1)
    return lo.masked_fill(lo.isinf(), torch.nan), hi.masked_fill(hi.isinf(), torch.nan)


def _truncated(people, boxes, size):
    """(P,) bool: the source's box, or a joint, or where missing feet would be of who stands, touches the image's border or lies beyond."""
    last, at = people.px.new_tensor(size) - 1, JOINTS_15.index
    lo, hi = (boxes[:, :2], boxes[:, 2:]) if boxes is not None else _corners(people)
    out = (lo < BORDER_PX).any(1) | (hi > last - BORDER_PX).any(1)
    out = out | (people.known[..., None] & ((people.px < 0) | (people.px > last))).flatten(1).any(1)
    trunk = people.px[:, ROOT] - people.px[:, at("neck")]
    feet = people.px[:, ROOT] + (0.530 - 0.039) / 0.288 * trunk  # shares of the stature (Winter)
    shown = people.known[:, [at("left_ankle"), at("right_ankle")]].any(1)
    return out | (~shown & ((feet < 0) | (feet > last)).any(1))


def maps(people, size, map_size):
    """AGR of each person alone: heatmaps (P, 15, H, W), box map (P, 4, H, W), roots (P, 2) map px, found (P,) bool: root in the image."""
    k, offset = fit_transform(size, map_size)[0], people.px.new_tensor(fit_transform(size, map_size)[1])
    first, last = (rescale(people.px.new_tensor(e), k) + offset for e in ((-0.5, -0.5), (size[0] - 0.5, size[1] - 0.5)))
    lo, hi = (rescale(e, k) + offset for e in _corners(people))
    extent = (hi - lo).nan_to_num(0)
    sigma, margin = person_sigma(extent.amax(-1), map_size[0]), extent * extent.new_tensor(EXTENSION)
    uv = rescale(people.px, k) + offset
    roots = uv[:, ROOT]
    found = people.known[:, ROOT] & ((roots >= first) & (roots < last)).all(-1)
    boxes = torch.cat([(lo - margin).clamp(first, last), (hi + margin).clamp(first, last)], -1)
    boxes = torch.where(found[:, None], torch.cat([boxes[:, :2].minimum(roots), boxes[:, 2:].maximum(roots)], -1), boxes)
    heat = draw_heatmaps(uv.nan_to_num(0)[:, None], sigma[:, None], people.amplitude[:, None], map_size)
    to_edge = edge_distances(roots, boxes).nan_to_num(0)
    box_map = draw_box_map(to_edge[:, None], roots[:, None], found[:, None], extent.amax(-1)[:, None], map_size)
    return heat.float(), box_map.float(), roots, found


# ---- the second stage ------------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def lift(model, people, camera):
    """3D of each person before a single camera: joints (P, 15, 3) mm of the camera frame (NaN where nothing can be said), score (P,),
    found (P,) bool: root seen;  alone (P,) bool: no window explains the person, the depth is the DE's.
    """
    P = len(people.px)
    joints, score = torch.full((P, 15, 3), torch.nan, dtype=torch.float64), torch.zeros(P, dtype=torch.float64)
    found, alone = torch.zeros(P, dtype=torch.bool), torch.zeros(P, dtype=torch.bool)
    for rows in torch.arange(P).split(BLOCK):
        some = People(*(getattr(people, k)[rows] for k in ("px", "amplitude", "eyes", "top", "truncated")), [])
        heat, box, roots, seen = maps(some, camera.size, model.sizes.map)
        rows, heat, box, roots = rows[seen], heat[seen], box[seen], roots[seen]
        if not len(rows):
            continue
        cameras = camera[None].to(torch.float64)[torch.zeros(len(rows), dtype=torch.long)]
        said = infer(model, heat, box, cameras)
        uv = cameras.fit(*model.sizes.map).project_camera(said.poses.roots.double())[0]
        near = (uv - roots[:, None]).norm(dim=-1).masked_fill(~said.poses.valid, torch.inf).nan_to_num(torch.inf) < WITHIN_PX
        best, here = near.long().argmax(1), near.any(1)  # they are sorted by score
        b = torch.arange(len(rows))
        joints[rows], score[rows] = said.poses.joints[b, best].double(), said.poses.scores[b, best].double() * here
        for i in (~here).nonzero()[:, 0].tolist():  # nobody is dropped: PEN looks where the DE says
            there = said.depth_roots[i, 0]
            found_there = bool(said.detections.valid[i, 0]) and bool(there.isfinite().all()) and float(there[2]) > NEAR
            joints[rows[i]] = torch.nan
            if found_there:
                answer = infer(model, heat[i : i + 1], box[i : i + 1], cameras[i : i + 1], choose=_at(there, cameras[i : i + 1]))
                joints[rows[i]] = answer.poses.joints[0, 0].double()
        found[rows], alone[rows] = joints[rows, ROOT].isfinite().all(-1), ~here
    return joints, score, found, alone & found


def _at(root, camera):
    """What `infer` shall let PEN work on: one root (3,) mm of the camera frame, in the first slot, instead of what REN found."""

    def choose(found, frame):
        place, valid = torch.zeros_like(found.position), torch.zeros_like(found.valid)
        place[0, 0] = frame.from_world(camera.to_world(root.to(camera.R)[None, None]))[0, 0].to(place)
        valid[0, 0] = True
        return Candidates(place, torch.zeros_like(found.score), valid)

    return choose


# ---- one image -------------------------------------------------------------------------------------------------------------------------


def camera_of(sample, people, given=None, focal=None, pitch=None, height=None, photo=None):
    """(Camera, its story for the JSON, warnings) of an image: what is given, else what EXIF says, else what is assumed or fitted.

    given: (Camera, placed) of `guess_camera.read_camera`, or None;  focal px, pitch degree, height mm: of the command line, or None.
    """
    size, warnings = tuple(sample.size), []
    if given is not None:
        camera, placed = _sized(given[0], size, sample.name)
        warnings += placed
        source, placed = "camera", given[1]
    else:
        exif = None if focal or photo is None else guess_camera.exif_focal(photo, size)
        source = "flag" if focal else "EXIF" if exif else "guess"
        camera, placed = guess_camera.level(size, focal or exif or guess_camera.guessed_focal(size)), False
        if source == "guess":
            said = f"focal length unknown: {float(camera.f[0]):.0f} px assumed (the paper's 1400 px at 1920), every depth scales with it"
            warnings.append(said)
    story = {"focal": source}
    if placed:
        return camera, story | {"pitch": "camera", "height": "camera"}, warnings
    guess = guess_camera.from_people(camera, people.px, people.known, people.eyes, pitch, height)
    for key, value in (("pitch", pitch), ("height", height)):
        story[key] = "flag" if value is not None else "assumed" if guess is None else "people"
    if guess is not None:
        story |= {"pitch_sd_deg": _plain(guess.pitch_sd), "height_sd_mm": _plain(guess.height_sd, 0), "people_used": guess.people}
        what = [f"pitch {guess.pitch_deg:.0f} ± {guess.pitch_sd:.0f}°"] * (pitch is None)
        what += [f"height {guess.height_mm / 1000:.1f} ± {guess.height_sd / 1000:.1f} m"] * (height is None)
        line = f"camera unknown: {' and '.join(what)} fitted to {guess.people} upright {'people' if guess.people > 1 else 'person'}"
        warnings.append(line + (", which is too little to rely on" if guess.unsure else ""))
        pitch, height = guess.pitch_deg, guess.height_mm
    else:
        assumed = [f"pitch {guess_camera.PITCH:.0f}°"] * (pitch is None) + [f"height {guess_camera.HEIGHT / 1000:.1f} m"] * (height is None)
        if assumed:
            warnings.append(f"camera unknown and nobody stands upright with feet in view: {' and '.join(assumed)} assumed")
        pitch, height = (d if v is None else v for v, d in ((pitch, guess_camera.PITCH), (height, guess_camera.HEIGHT)))
    return guess_camera.placed(camera, pitch, height), story, warnings


def _sized(camera, size, where):
    """(the camera for images of `size`, warnings); InputError where it is a camera for images of another shape."""
    if camera.size == size:
        return camera, []
    if camera.size == (0, 0):
        camera = guess_camera.Camera(camera.R, camera.t, camera.f, camera.c, size, camera.dist)
        if not bool(((camera.c > 0) & (camera.c < camera.c.new_tensor(size))).all()):
            raise InputError(f"the camera's principal point {camera.c.tolist()} is outside the image of {size[0]} x {size[1]}", where)
        return camera, []
    a, b = camera.size[0] / camera.size[1], size[0] / size[1]
    if abs(a / b - 1) > 0.01:
        raise InputError(f"the image is {size[0]} x {size[1]}, the camera {camera.size[0]} x {camera.size[1]}", where, "sizes contradict")
    return camera.resize(*size), [f"the camera's {camera.size[0]} x {camera.size[1]} was scaled to the image's {size[0]} x {size[1]}"]


def estimate(trained, sample, given=None, focal=None, pitch=None, height=None, photo=None):
    """The entry of one image, a dict fit for JSON, from a Sample with 2D joints and a size; see the design's command line.

    trained: `models.Trained`;  others: `camera_of`.  "depth_interval_mm" is depth (1 ± sqrt(stature² + focal²)), one s.d. each:
    `STATURE_SHARE` and `guess_camera.FOCAL_SHARE`; the network's own error and a wrong pitch are not in it.
    """
    if trained.model.sizes.joints != 15:
        raise InputError(f"a network of {trained.model.sizes.joints} joints", trained.path, "keypoints become the 15 joints of the paper")
    people = people_of(sample, sample.size)
    camera, story, warnings = camera_of(sample, people, given, focal, pitch, height, photo)
    joints, score, found, alone = lift(trained.model, people, camera)
    if not len(people.px):
        warnings.append("nobody in this image")
    share = math.hypot(STATURE_SHARE, guess_camera.FOCAL_SHARE[story["focal"]])
    rows = [_person(people, joints, score, found, alone, i, share, warnings) for i in range(len(people.px))]
    warnings += models.outside_range(trained.facts, camera[None], joints[found, ROOT, 2])
    about = {"pitch_deg": _plain(float(camera.pitch_deg)), "height_mm": _plain(float(camera.centre[2]), 0), "from": story}
    return {"image": sample.name.partition("/")[2] or sample.name, "size": list(sample.size), "camera": camera.to_dict() | about,
            "weights": trained.path.name, "warnings": warnings, "people": rows}  # fmt: skip


def _person(people, joints, score, found, alone, i, share, warnings):
    who, flags = people.ids[i], []
    if people.truncated[i]:
        flags.append("truncated")
    if alone[i]:
        flags.append("depth_estimator_only")
        warnings.append(f"person {who}: no window explains these joints, the depth is that of the depth estimator alone")
    if not found[i]:
        flags.append("no_root")
        seen, both = bool(people.known[i].any()), bool(people.known[i, ROOT])
        why = "no joint is known" if not seen else "the root lies outside the image" if both else "not both hips are known"
        warnings.append(f"person {who}: no 3D, {why}")
    root, depth = joints[i, ROOT], float(joints[i, ROOT, 2])
    interval = [depth * (1 - share), depth * (1 + share)] if found[i] else None
    three_d = {"root_depth_mm": depth, "depth_interval_mm": interval, "root_cam_mm": root.tolist(), "joints_cam_mm": joints[i].tolist()}
    three_d = {k: _plain(v) if found[i] else None for k, v in three_d.items()}
    tall = _plain(stature(joints[i]) if found[i] else None, 0)
    return {"person_id": who, "score": _plain(float(score[i]), 3), "flags": flags, **three_d, "stature_mm": tall,
            "joint_names": list(JOINTS_15.joints), "joints_px": [_plain(p) for p in people.px[i].tolist()]}  # fmt: skip


def stature(joints):
    """Stature mm of a pose (15, 3) from the lengths of its shanks, thighs and trunk, 0.779 of it (Winter): whatever the posture."""
    at = {name: joints[i] for i, name in enumerate(JOINTS_15.joints)}
    bones = [(f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (("hip", "knee"), ("knee", "ankle"))]
    legs = sum((at[a] - at[b]).norm() for a, b in bones) / 2
    return float(legs + (at["neck"] - at["mid_hip"]).norm()) / (0.818 - 0.039)


def _plain(x, digits=1):
    """Numbers for JSON: rounded, NaN as null; a point of NaN as null."""
    if isinstance(x, (list, tuple)):
        out = [_plain(v, digits) for v in x]
        return None if out and all(v is None for v in out) else out
    return None if x is None or x != x else round(x, digits) if digits else round(x)


# ---- the command -----------------------------------------------------------------------------------------------------------------------


def main(source, out=None, camera=None, focal=None, pitch=None, height=None, weights=None, picture=None, page=None, image=None,
         photo=None, size=None, detector="own"):  # fmt: skip
    """`vp estimate`: print a line per image, write the JSON, the picture, the page; exit code.  InputError: bad input."""
    for name, value, low, high in (("--focal", focal, 1.0, 1e6), ("--pitch", pitch, -89.0, 89.0), ("--height", height, 1.0, 1e6)):
        if value is not None and not low <= value <= high:
            raise InputError(f"{value:g}", name, f"between {low:g} and {high:g}")
    check_outputs({"--out": out, "--picture": picture, "--html": page}, (source, photo, camera, weights, *{detector} - DETECTORS))
    given, told = (None, []) if camera is None else _told(camera)
    if given is not None and focal is not None:
        raise InputError("the camera file has a focal length", "--focal", "leave one of the two out")
    if given is not None and given[1] and (pitch is not None or height is not None):
        raise InputError("the camera file has pitch and height", "--pitch, --height", "leave them out")
    fallback = given[0].size if given and given[0].size != (0, 0) else None
    samples = find_people(source, photo, size and tuple(size), image, detector, fallback)
    trained = models.load(weights)
    entries, photos = [], []
    for i, sample in enumerate(samples):
        entries.append(estimate(trained, sample, given, focal, pitch, height, sample.image))
        entries[-1]["warnings"] += told
        photos.append(sample.image)
        if len(samples) > 1:
            print(f"[{i + 1}/{len(samples)}] {entries[-1]['image']}", file=sys.stderr)
    for entry in entries:
        print(text(entry))
    about = {"unit": "mm", "frame": "camera: x right, y down, z forward; x_cam = R x_world + t, world Z up, floor 0",
             "depth_interval": f"± 1 s.d.: depth x sqrt({STATURE_SHARE}² + focal²), focal {guess_camera.FOCAL_SHARE}"}  # fmt: skip
    if out:
        write_atomic(out, json.dumps(about | {"images": entries}, indent=1, allow_nan=False) + "\n")
    if picture or page:
        from vp.show import estimate as show

        if picture:
            write_atomic(picture, show.picture(entries, photos).png)
        if page:
            write_atomic(page, show.page(entries))
    return 0


def _told(file):
    """A camera file as `guess_camera.read_camera` gives it, and what was repaired in it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        given = guess_camera.read_camera(file)
    return given, [str(w.message) for w in said]


def text(entry):
    """An image as a few lines."""
    c = entry["camera"]
    of = c["from"]
    lines = [f"{entry['image']}: {len(entry['people'])} people; focal {c['f'][0]:.0f} px ({of['focal']}), pitch {c['pitch_deg']:.1f}°"
             f" ({of['pitch']}), height {c['height_mm'] / 1000:.2f} m ({of['height']})"]  # fmt: skip
    for p in sorted(entry["people"], key=lambda p: p["root_depth_mm"] or math.inf):
        flags = f"  {', '.join(p['flags'])}" if p["flags"] else ""
        if p["root_depth_mm"] is None:
            lines.append(f"  person {p['person_id']}:{flags}")
            continue
        low, high = (v / 1000 for v in p["depth_interval_mm"])
        depth, tall = p["root_depth_mm"] / 1000, p["stature_mm"] / 1000
        lines.append(f"  person {p['person_id']}: depth {depth:.2f} m [{low:.2f}, {high:.2f}], stature {tall:.2f} m{flags}")
    return "\n".join(lines + [f"  note: {w}" for w in entry["warnings"]])
