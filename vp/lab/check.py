"""`vp check-data`: what a folder of real data holds, what is missing, and whether it makes sense."""

import math
import os
import textwrap
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from vp.data.coco import Coco
from vp.data.mocap import read_clips
from vp.data.muco import Muco
from vp.data.mupots import Mupots
from vp.data.panoptic import Panoptic
from vp.errors import InputError
from vp.show.recorded import draw_cameras, draw_clips, draw_views

NAMES = ("panoptic", "muco", "mupots", "coco", "bvh")
MANY = 400  # files or frames read per sequence for the statistics


def check_data(name, root, picture=None):
    """Report on a folder of real data as text, and a PNG of it.

    name: "panoptic", "muco", "mupots", "coco" or "bvh";  root: folder (or file, where the reader takes one);  picture: path of the PNG
    or None.  Warnings of the readers become lines of the report.  InputError: bad input of any kind.
    """
    if name not in NAMES:
        raise InputError(f"no data set {name!r}", None, f"choose from {', '.join(NAMES)}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        lines, draw = globals()[f"_{name}"](root)
    lines += [f"! {w.message}" for w in caught if "left-handed" not in str(w.message)]  # those have a line
    if picture is not None:
        picture = Path(picture)
        if not picture.parent.is_dir():
            raise InputError("no such folder for the picture", picture.parent)
        figure, part = draw(), picture.with_name(picture.name + ".part")
        if figure is not None:
            figure.savefig(part, format="png", dpi=110)
            os.replace(part, picture)
        lines.append(f"picture      {'none, there is nothing to draw' if figure is None else picture}")
    wrap = [textwrap.fill(s, 118, subsequent_indent=" " * 15, break_long_words=False, break_on_hyphens=False) for s in lines]
    return "\n".join([f"{name}: {root}", *wrap])


# ---- what was found ----------------------------------------------------------------------------------------------------------------


def _thin(items, n=MANY):
    """At most n of the items, evenly spread."""
    items = list(items)
    return items[:: max(1, math.ceil(len(items) / n))]


def _plural(n, thing, things=None):
    return f"{n} {thing if n == 1 else things or thing + 's'}"


def _span(values, digits=1, unit=""):
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return (low if low == high else f"{low} to {high}") + unit


def _people(counts):
    if not counts:
        return "no people"
    return f"{_plural(counts[0], 'person', 'people')} in every frame" if len(set(counts)) == 1 else f"{_span(counts, 0)} people per frame"


def _missing(valid):
    """Share of missing joints of a list of masks, as text."""
    total, absent = sum(v.numel() for v in valid), sum((~v).sum().item() for v in valid)
    return f"{100 * absent / max(total, 1):.0f} % of {total} joints missing"


def _heights(joints):
    """Lines on the height of people (lists of (P, J, 3) mm): the highest and lowest joint above the floor, and a warning if absurd."""
    z = [p[torch.isfinite(p[:, 2]), 2] for j in joints for p in j]
    z = [p for p in z if len(p)]
    if not z:
        return []
    top, bottom = (float(np.median([f(p).item() for p in z])) / 1000 for f in (torch.max, torch.min))
    lines = [f"  heights      highest joint of a person {top:.2f} m above the floor, lowest {bottom:.2f} m (medians)"]
    if not (0.2 < top - bottom < 2.4 and -0.5 < bottom < 2.0):
        lines.append("  !            no person is like that: is the unit or the up axis another one than documented?")
    return lines


def _centres(cameras):
    heights = [c.centre[2].item() / 1000 for c in cameras]
    return f"{_span(heights, 1, ' m')} above the floor" + ("" if min(heights) > 0 else "  (! below the floor: is the up axis right?)")


def _distortion_shift(cameras, joints):
    """Distances (N,) px by which leaving out the lens distortion moves joints (each (P, J, 3)) that lie on the image."""
    shifts = []
    for camera in cameras:
        for points in joints:
            (uv, _, ok), (plain, _, _) = camera.project(points), camera.project(points, distort=False)
            shifts.append((uv - plain)[ok & camera.in_image(uv)].norm(dim=-1))
    return torch.cat(shifts).numpy() if shifts else np.zeros(0)


def _panoptic(root):
    data, views = Panoptic(root), []
    poses, pictures = ({s: f(s) for s in data.sequences} for f in (data.pose_files, data.image_files))
    count = sum(len(f) for seq in pictures.values() for f in seq.values())
    found = f"{_plural(len(data.sequences), 'sequence')}, {_plural(sum(map(len, poses.values())), 'frame')} with poses"
    lines, missing = [f"found        {found}, {_plural(count, 'picture')}"], []
    for seq in data.sequences:
        lines.append(seq)
        try:
            known = data.calibration(seq)
        except InputError as e:
            lines.append(f"  ! {e}")
            missing.append(f"calibration of {seq}")
            continue
        kinds = {"HD": data.cameras(seq), "VGA": data.cameras(seq, "vga"), "Kinect": data.cameras(seq, "kinect-color")}
        main = kinds["HD"] or {n: c for n, (c, _) in known.items()}
        counted = ", ".join(f"{len(c)} {k} cameras" for k, c in kinds.items() if c) or f"{len(main)} cameras"
        lines.append(f"  calibration  {counted}; optical centres {_centres(main.values())}")
        frames = _thin(poses[seq])
        if frames:
            read = [data.poses(seq, f) for f in frames]
            joints, valid = [r[1] for r in read], [r[2] for r in read]
            some = "" if len(frames) == len(poses[seq]) else f" ({len(frames)} of them read)"
            lines.append(f"  poses        {_plural(len(poses[seq]), 'frame')} ({min(poses[seq])} to {max(poses[seq])}){some}, "
                         f"{len(read[0][3])} joints each, {_people([len(r[0]) for r in read])}, {_missing(valid)}")  # fmt: skip
            lines += _heights(joints)
            shift = _distortion_shift(main.values(), _thin(joints, 20))
            if len(shift):
                lines.append(f"  distortion   leaving it out moves joints by {shift.mean():.1f} px on average (95th percentile "
                             f"{np.percentile(shift, 95):.0f} px, up to {shift.max():.0f} px)")  # fmt: skip
        else:
            lines.append("  poses        none")
            missing.append(f"poses of {seq}")
        if pictures[seq]:
            instants = sorted({f for p in pictures[seq].values() for f in p})
            seen = ", ".join(pictures[seq]) if len(pictures[seq]) < 9 else f"{min(pictures[seq])} to {max(pictures[seq])}"
            seen += f"; frames {', '.join(map(str, instants))}" if len(instants) < 9 else f"; frames {instants[0]} to {instants[-1]}"
            lines.append(f"  pictures     {_plural(len(pictures[seq]), 'camera')} x {_plural(len(instants), 'instant')} ({seen})")
        else:
            lines.append("  pictures     none")
            missing.append(f"pictures of {seq}")
        names = list(pictures[seq]) or [n for n in ("00_16", "00_14", "00_19", "00_30") if n in known] or list(main)
        both = sorted(set(poses[seq]) & {f for p in pictures[seq].values() for f in p})
        frame = (both or data.frames(seq) or [None])[0]
        for n in names[:5] if len({v.name.split("/")[1] for v in views}) < 6 else ():
            if frame in poses[seq] or frame in pictures[seq].get(n, {}):
                views.append(data.sample(seq, n, frame))
    if missing:
        lines.append(f"missing      {'; '.join(missing)}")
    return lines, lambda: draw_views(views, "CMU Panoptic")


def _agreement(samples):
    """Mean distance, px, between the projected 3D and the annotated 2D joints."""
    gaps = [torch.linalg.vector_norm(s.project()[0] - s.joints_px, dim=-1)[s.project()[2] & s.valid_px] for s in samples if len(s)]
    gaps = torch.cat(gaps) if gaps else torch.zeros(0)
    return f"projected 3D and annotated 2D joints agree to {gaps.mean():.1f} px on average" if len(gaps) else "nothing to project"


def _muco(root):
    data = Muco(root)
    chosen = [data.sample(i) for i in _thin([i for i in data.images if i in data.people])]
    if not chosen:
        raise InputError("the file has no person", data.file)
    pictures, level = sum(s.image is not None for s in chosen), sum(s.sources["cameras"] == "level" for s in chosen)
    people = sum(map(len, data.people.values()))
    lines = [
        f"found        {_plural(len(data.images), 'image')} in {data.file.name}, {_plural(people, 'person', 'people')}",
        f"  poses        21 joints each, {_people([len(s) for s in chosen])}, {_missing([s.valid for s in chosen])}",
        f"  pictures     {pictures} of {len(chosen)} looked for are there",
        f"  cameras      {_agreement(chosen)}",
        f"  extrinsics   missing in {level} of {len(chosen)}" if level else f"  centres      {_centres([s.camera for s in chosen])}",
    ]
    return lines, lambda: draw_views(_thin(chosen, 4), "MuCo-3DHP")


def _mupots(root):
    data = Mupots(root)
    annotated = [s for s in data.sequences if data.frames(s)]
    total = sum(len(data.frames(s)) for s in annotated)
    lines = [f"found        {_plural(len(data.sequences), 'sequence')}, {total} annotated frames"]
    if data.extrinsics:
        R, t = (torch.stack(x) for x in zip(*data.extrinsics.values()))
        centre, pitch = -(R.mT @ t[..., None])[..., 0] / 1000, torch.rad2deg(-torch.asin(R[:, 2, 2].clamp(-1, 1)))
        far = _span(centre.norm(dim=1).tolist(), 1, " m")
        lines.append(f"  extrinsics   {_plural(len(R), 'camera')}: height {_span(centre[:, 2].tolist(), 1, ' m')}, "
                     f"pitch {_span(pitch.tolist(), 0, ' deg')}, {far} from the world's origin")  # fmt: skip
        kind = f"{len(data.left_handed)} of {len(R)} are left-handed and were repaired ({', '.join(data.left_handed)})"
        lines.append("  handedness   " + (kind if data.left_handed else "all right-handed"))
    views, missing = [], [] if data.extrinsics else ["extrinsics (cameras.json)"]
    for seq in annotated:
        chosen = [data.sample(seq, f) for f in _thin(data.frames(seq))]
        f, c, error, origin = data.intrinsics(seq)
        pictures = sum(s.image is not None for s in chosen)
        lines.append(f"{seq:<13}{_plural(len(data.frames(seq)), 'frame')}, {_people([len(s) for s in chosen])}, "
                     f"{_missing([s.valid[:, :17] for s in chosen])}, pictures {pictures} of {len(chosen)}")  # fmt: skip
        fitted = "of the file" if origin == "file" else "fitted to the annotated joints"
        lines.append(f"  intrinsics   {fitted}: f {f[0]:.0f} {f[1]:.0f} px, c {c[0]:.0f} {c[1]:.0f} px, error {error:.1f} px")
        views += [s for s in chosen if len(s)][:1]
    if not annotated:
        missing.append("annotations (MuPoTS-3D.json or TSi/annot.mat), so intrinsics as well; pictures")
    if missing:
        lines.append(f"missing      {'; '.join(missing)}")
    return lines, lambda: draw_views(_thin(views, 8), "MuPoTS-3D") if views else draw_cameras(data)


def _coco(root):
    data = Coco(root)
    n, empty, crowd = len(data.id), int((data.num_keypoints == 0).sum()), int(data.crowd.sum())
    v = data.keypoints[data.num_keypoints > 0, :, 2]
    there = sum(data.image_file(i) is not None for i in _thin(data.image_ids))
    lines = [
        f"found        {_plural(len(data.images), 'image')}, {len(data.image_ids)} of them with people, in {data.file.name}",
        f"  people       {_plural(n, 'annotation')}, {empty} with num_keypoints 0, {_plural(crowd, 'crowd region')}",
        f"  keypoints    17 each; of those of labelled people {100 * (v == 2).mean() if v.size else 0:.0f} % visible, "
        f"{100 * (v == 1).mean() if v.size else 0:.0f} % occluded, {100 * (v == 0).mean() if v.size else 0:.0f} % not labelled",
        f"  pictures     {there} of {len(_thin(data.image_ids))} looked for are there",
    ]
    mismatch = int((data.num_keypoints != (data.keypoints[..., 2] > 0).sum(1)).sum())
    lines += [f"  ! num_keypoints of {mismatch} annotations is not the number of labelled keypoints"] if mismatch else []
    lines.append("missing      cameras and 3D poses (COCO has none)")
    return lines, lambda: draw_views(list(islice(data.samples(step=max(1, len(data.image_ids) // 4)), 4)), "COCO person keypoints")


def _bvh(root):
    clips = list(read_clips(root))
    heads = [(c.joints[:, c.names.index("Head"), 2] / 1000).max().item() for c in clips if "Head" in c.names]
    minutes = sum(len(c) / c.fps for c in clips) / 60
    lines = [f"found        {_plural(len(clips), 'clip')}, {sum(map(len, clips))} frames, {minutes:.1f} minutes"]
    groups = {}
    for c in clips:
        groups.setdefault((c.family or "unknown", len(c.names), round(c.fps), round(c.unit_mm, 2)), []).append(c)
    for (family, joints, fps, unit), group in sorted(groups.items()):
        tall = _span([c.stature / 1000 for c in group], 2, " m")
        lines.append(f"  {family:<12} {_plural(len(group), 'clip')}, {joints} joints, {fps} fps, unit {unit:g} mm, stature about {tall}")
    lines += [f"  heights      highest head joint {_span(heads, 2, ' m')} above Y = 0 (base of the skull)"] if heads else []
    unknown = [c.name for c in clips if c.family is None]
    lines += [f"  ! joint names of no known family: {', '.join(unknown[:5])}"] if unknown else []
    return lines, lambda: draw_clips(clips)
