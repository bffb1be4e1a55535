"""2D keypoints of any detector: COCO results, COCO annotations, OpenPose and mmpose JSON, told apart by their content.

| format | recognised by | joints |
| --- | --- | --- |
| COCO results (AlphaPose too) | a list of {"image_id", "keypoints": x y score ...} | COCO-17 |
| COCO annotations | {"images", "annotations"} | COCO-17 |
| OpenPose | {"people": [{"pose_keypoints_2d": x y confidence ...}]}, one file per image | BODY_25 or COCO-18 |
| mmpose predictions | "instances", or "instance_info", or a list with "keypoint_scores" | COCO-17 |

Detectors with more points whose first 17 are COCO's (Halpe 26, whole-body 133) are cut to these 17.  A score of zero means missing.
"""

import mmap
from pathlib import Path

import numpy as np
import torch

from vp.data.coco import Coco
from vp.data.files import folder, get, masked, nothing_found, numbers, read_json
from vp.errors import InputError
from vp.sample import Sample
from vp.skeleton import COCO_17, OPENPOSE_25, Skeleton

# OpenPose's COCO model: BODY_25 without mid-hip and feet
OPENPOSE_18 = Skeleton("openpose18", tuple(j for j in OPENPOSE_25.joints if j != "mid_hip" and not j.endswith(("toe", "heel"))), (), None)
MORE_THAN_17 = (26, 133)
LARGEST = 100_000_000  # bytes of a file that is read at once; COCO annotations, piece by piece, may have more


def read_detections(path, size=None):
    """Samples with 2D joints from a keypoint file in any known format, or from a folder of them (OpenPose writes one file per image).

    size: (width, height) of the images, px, or None.  `score` holds the detector's confidences clipped to [0, 1].
    InputError: damaged file, unknown format, wrong number of keypoints, NaN.
    """
    path = Path(path)
    if path.is_dir() or path.suffix != ".json":
        files = sorted(folder(path, "keypoint files").glob("*.json"))
        if not files:
            raise nothing_found(path, "*.json keypoint file")
        return [s for f in files for s in read_detections(f, size)]
    if path.is_file() and path.stat().st_size > LARGEST:
        with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if text.find(b'"annotations"') < 0:
                what = f"keypoints in a file of {len(text) / 1e6:.0f} MB"
                raise InputError(what, path, f"split it: at most {LARGEST / 1e6:.0f} MB, unless COCO annotations")
        return list(Coco(path).samples())
    data = read_json(path)
    if isinstance(data, dict) and "annotations" in data and "images" in data:
        return list(Coco(path).samples())
    images = _images(data, path)
    return [_sample(f"detections/{name}", skeleton, people, tuple(size) if size else None) for name, skeleton, people in images]


def detection_format(data):
    """ "openpose", "mmpose", "coco results", "coco annotations" or None, from parsed JSON."""
    if isinstance(data, dict):
        kinds = {"people": "openpose", "instances": "mmpose", "instance_info": "mmpose", "annotations": "coco annotations"}
        return next((kind for key, kind in kinds.items() if isinstance(data.get(key), list)), None)
    if isinstance(data, list) and data and isinstance(data[0], dict):
        if "keypoint_scores" in data[0] or "instances" in data[0]:
            return "mmpose"
        if "keypoints" in data[0]:
            return "coco results"
    return None


def _images(data, path):
    """(name, Skeleton, people) per image; a person is (points (J, 2), scores (J,), box or None, id)."""
    kind = detection_format(data)
    if kind == "openpose":
        people = [_openpose(p, path) for p in data["people"]]
        if len({s for s, _ in people}) > 1:
            raise InputError("people with 18 and with 25 keypoints in one file", path)
        return [(path.stem.removesuffix("_keypoints"), people[0][0] if people else OPENPOSE_25, [p for _, p in people])]
    if kind == "mmpose":
        entries = data if isinstance(data, list) else data.get("instances", data.get("instance_info"))
        if entries and isinstance(entries[0], dict) and "instances" in entries[0]:  # a video: one entry per frame
            frames = [(get(e, "frame_id", path, int | str), get(e, "instances", path, list)) for e in entries]
            return [(f"{path.stem}/{frame}", COCO_17, [_mmpose(p, path) for p in people]) for frame, people in frames]
        return [(path.stem, COCO_17, [_mmpose(p, path) for p in entries])]
    if kind == "coco results":
        images = {}
        for entry in data:
            images.setdefault(str(get(entry, "image_id", path, int | str))[:200], []).append(_result(entry, path))
        return [(name, COCO_17, people) for name, people in images.items()]
    hint = "known are COCO results and annotations, OpenPose and mmpose predictions"
    raise InputError("no known keypoint format" if data else "the file holds no detection", path, hint)


def _openpose(person, path):
    table = numbers(get(person, "pose_keypoints_2d", path, list), (None,), "pose_keypoints_2d", path)
    skeleton = {75: OPENPOSE_25, 54: OPENPOSE_18}.get(len(table))
    if skeleton is None:
        raise InputError(f'"pose_keypoints_2d" has {len(table)} numbers, expected 75 (BODY_25) or 54 (COCO-18)', path)
    table = table.reshape(-1, 3)
    who = person.get("person_id", [-1])
    return skeleton, (table[:, :2], table[:, 2], None, _id(who[0] if isinstance(who, list) and who else who))


def _id(value):
    """An id of a source: a whole number or a text, else -1, as for somebody without."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else -1


def _body(points, where):
    if len(points) != 17 and len(points) not in MORE_THAN_17:
        raise InputError(f"{len(points)} keypoints per person, expected COCO's 17 (or 26 or 133 that begin with them)", where)
    return points[:17]


def _mmpose(person, path):
    points = _body(numbers(get(person, "keypoints", path), (None, 2), "keypoints", path), path)
    scores = _body(numbers(get(person, "keypoint_scores", path), (None,), "keypoint_scores", path), path)
    box = numbers(person["bbox"], (4,), "bbox", path, flat=True) if person.get("bbox") is not None else None
    return points, scores, box, _id(person.get("instance_id"))


def _result(entry, path):
    table = numbers(get(entry, "keypoints", path, list), (None,), "keypoints", path)
    if len(table) % 3:
        raise InputError(f'"keypoints" has {len(table)} numbers, expected x, y, score for each', path)
    table = _body(table.reshape(-1, 3), path)
    box = entry.get("bbox", entry.get("box"))
    box = None if box is None else numbers(box, (4,), "bbox", path)
    return table[:, :2], table[:, 2], None if box is None else np.r_[box[:2], box[:2] + box[2:]], _id(entry.get("id"))


def _sample(name, skeleton, people, size):
    J = len(skeleton)
    points = np.stack([p[0] for p in people]) if people else np.zeros((0, J, 2))
    scores = np.stack([p[1] for p in people]) if people else np.zeros((0, J))
    px, valid = masked(points, scores > 0)
    boxes = torch.from_numpy(np.stack([p[2] for p in people])) if people and all(p[2] is not None for p in people) else None
    return Sample(skeleton, name, joints_px=px, valid_px=valid, score=torch.from_numpy(scores.clip(0, 1)), boxes=boxes, size=size,
                  ids=tuple(p[3] for p in people), sources={"poses": "detector"})  # fmt: skip
