"""`vp estimate`: 2D keypoints of any detector, or a photo, in; absolute 3D poses out (Fig. 4 and beyond).

keypoints -> 15 joints with masks -> AGR of each person -> the second stage before a camera that is known or guessed -> JSON, picture, page.

Who is who is known here, so each person gets an AGR of his own: measured on three twins with ground-truth AGR, this finds 100 % instead of
85 to 99 % of the people and lowers MRPE_z by 12 to 25 % against one AGR for all.  It also bounds memory: `BLOCK` people at a time.
"""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vp.atomic import write_atomic
from vp.errors import InputError
from vp.lab import guess_camera, models
from vp.lab.found import find_people, photo_size, pictures_of
from vp.lab.infer import WITHIN_PX, infer
from vp.nets.ren import Candidates
from vp.skeleton import JOINTS_15, map_joints
from vp.world.agr import EXTENSION, draw_box_map, draw_heatmaps, edge_distances, person_sigma
from vp.camera import fit_transform, rescale

LEAST = 0.15  # least confidence of a joint: less is missing; above the 0.1 at which a root is found on the maps
OCCLUDED = 0.55  # amplitude of a joint that was labelled though hidden: the middle of the training's 0.2 to 0.9
SURE = 0.5  # least confidence of a joint that is put on its own ray
STATURE_SHARE = 0.05  # relative s.d. of adults' stature (§2 of the shared notes on depth): what remains unknown without a floor
CROWN = (1.0 - 0.818) / (0.936 - 0.818)  # neck to head top / neck to eyes (Winter); for the size of the box only, never as a joint
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
        trust = torch.where(sample.visible, 1.0, OCCLUDED).double()
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
    eyes = torch.stack([_mean(px, known, sample.skeleton, names) for names in (("left_eye", "right_eye"), ("left_ear", "right_ear"), ("nose",))])
    eyes = torch.where(eyes[0].isfinite(), eyes[0], torch.where(eyes[1].isfinite(), eyes[1], eyes[2]))
    neck = uv[:, JOINTS_15.index("neck")]
    out = People(uv, amplitude, eyes, neck + CROWN * (eyes - neck), torch.zeros(len(uv), dtype=torch.bool), list(sample.ids))
    out.ids = [i if i is not None and i != -1 else k for k, i in enumerate(out.ids)] or list(range(len(uv)))
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
    """(P,) bool: the box (the source's, else that of the joints, extended where feet are missing) touches the image's border."""
    lo, hi = _corners(people)
    margin, feet = (hi - lo) * lo.new_tensor(EXTENSION), [JOINTS_15.index(f"{s}_ankle") for s in ("left", "right")]
    size = lo.new_tensor(size)
    if boxes is not None:
        lo, hi = boxes[:, :2].to(lo), boxes[:, 2:].to(lo)
    else:
        short = ~people.known[:, feet].any(1)
        hi = torch.where(short[:, None] & torch.tensor([False, True]), hi + 2 * margin, hi)
    beyond = (people.known[..., None] & ((people.px < 0) | (people.px > size - 1))).flatten(1).any(1)
    return beyond | (lo < BORDER_PX).any(1) | (hi > size - 1 - BORDER_PX).any(1)


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
    box_map = draw_box_map(edge_distances(roots, boxes)[:, None].nan_to_num(0), roots[:, None], found[:, None], extent.amax(-1)[:, None], map_size)
    return heat.float(), box_map.float(), roots, found


# ---- the second stage ------------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def lift(model, people, camera):
    """3D of each person before a single camera: joints (P, 15, 3) mm of the camera frame (NaN where nothing can be said), score (P,),
    found (P,) bool: root seen;  alone (P,) bool: no window explains the person, the depth is the DE's.
    """
    P, K = len(people.px), model.sizes.people
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
            there = said.depth_roots[i, :1]
            found_there = bool(said.detections.valid[i, 0]) and bool(there.isfinite().all()) and bool(there[0, 2] > 100)
            joints[rows[i]] = torch.nan
            if found_there:
                answer = infer(model, heat[i : i + 1], box[i : i + 1], cameras[i : i + 1], choose=_at(there, cameras[i : i + 1], K))
                joints[rows[i]] = answer.poses.joints[0, 0].double()
        found[rows], alone[rows] = joints[rows, ROOT].isfinite().all(-1), ~here
    return on_rays(joints, people, camera), score, found, alone & found


def _at(root, camera, K):
    """What `infer` shall let PEN work on: one root (1, 3) mm of the camera frame, in the first of K slots."""

    def choose(found, frame):
        place = torch.zeros_like(found.position)
        place[:, 0] = frame.from_world(camera.to_world(root.to(camera.R))[:, None])[:, 0, 0].to(place) if root.ndim == 1 else \
            frame.from_world(camera.to_world(root.to(camera.R)[None])).to(place)[:, 0]
        valid = torch.zeros_like(found.valid)
        valid[:, 0] = True
        return Candidates(place, torch.zeros_like(found.score), valid)

    return choose


def on_rays(joints, people, camera):
    """Joints (P, 15, 3) moved sideways on to the rays of their pixels, at their depths, where the pixels are sure (not in the paper).

    The voxels of PEN are coarser than keypoints are: this takes the sideways part of its quantisation away.
    """
    xy, ok = camera.normalise(people.px.to(torch.float64).flatten(0, 1))
    xy, ok = xy.view_as(people.px), ok.view_as(people.known) & (people.amplitude >= SURE)
    depth = joints[..., 2:]
    return torch.where(ok[..., None] & (depth > 0), torch.cat([xy * depth, depth], -1), joints)
