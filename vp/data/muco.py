"""MuCo-3DHP (Mehta et al., 3DV 2018) in the COCO-style JSON that RootNet's authors distribute, and what MuPoTS-3D's file shares with it.

`MuCo-3DHP.json`: `images[]` with `id`, `file_name`, `width`, `height`, `f`, `c` and extrinsics `R` (9 or 3x3), `T` (3, mm);
`annotations[]` with `image_id`, `keypoints_cam` (21, 3) mm in the camera frame, `keypoints_img` (21, 2) px, `keypoints_vis` (21), `bbox`
(x, y, width, height).
World of the source: mm, Y *up*; ours is (X, Y, Z) = (x, -z, y).
"""

from pathlib import Path

import numpy as np
import torch

from vp.data.files import LEVEL, folder, get, make_camera, masked, nothing_found, numbers, stream_json, whole
from vp.errors import InputError
from vp.sample import Sample
from vp.skeleton import MUCO_21

Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # x_muco = Y_UP @ x_ours


def read_rootnet(path, limit=None):
    """Images and people of a RootNet-style file, read as a stream: (images, people).

    images: dict id -> its record;  people: dict image id -> list of (id, cam (21, 3) mm, img (21, 2) px, seen (21), box, is_valid).
    limit: keep the first n images only (the whole of MuCo takes about 600 bytes per person).  17-joint annotations get four missing
    joints (zeros here).  InputError.
    """
    images, people = {}, {}
    for key, entry in stream_json(path, ("images", "annotations")):
        if key == "images":
            image_id = whole(get(entry, "id", f"{path}, images"), "id", f"{path}, images")
            if limit is None or len(images) < limit:
                get(entry, "file_name", f"{path}, image {image_id}", str)
                images[image_id] = {k: entry[k] for k in ("file_name", "width", "height", "f", "c", "R", "T", "intrinsic") if k in entry}
            continue
        image_id = whole(get(entry, "image_id", f"{path}, annotations"), "image_id", f"{path}, annotations")
        if limit is None or not images or image_id in images:
            people.setdefault(image_id, []).append(_person(entry, f"{path}, annotation of image {image_id}"))
    unknown = set(people) - set(images)
    if unknown and limit is None:
        raise InputError(f"annotations of {len(unknown)} images that the file does not list (image {min(unknown)})", path)
    if not images:
        raise InputError("the file lists no image", path)
    return images, people


def _person(entry, where):
    cam = numbers(get(entry, "keypoints_cam", where), (None, 3), "keypoints_cam", where)
    if len(cam) not in (17, 21):
        raise InputError(f'"keypoints_cam" has {len(cam)} joints, expected 21 (or 17)', where)
    img = numbers(get(entry, "keypoints_img", where), (len(cam), 2), "keypoints_img", where)
    seen = numbers(entry.get("keypoints_vis", [1] * len(cam)), (len(cam),), "keypoints_vis", where, kinds="biuf")
    box = numbers(entry["bbox"], (4,), "bbox", where) if "bbox" in entry else np.full(4, np.nan)
    pad = ((0, 21 - len(cam)), (0, 0))
    compact = [np.pad(a, pad[: a.ndim]).astype(np.float32) for a in (cam, img, seen)]
    return entry.get("id", 0), *compact, box, bool(entry.get("is_valid", 1))


def people_arrays(people):
    """People of `read_rootnet` -> cam (P, 21, 3) mm, px (P, 21, 2), valid (P, 21), boxes (P, 4) or None.

    A joint at exactly (0, 0, 0) mm was not annotated.
    """
    if not people:
        return torch.zeros(0, 21, 3).double(), torch.zeros(0, 21, 2).double(), torch.zeros(0, 21).bool(), None
    cam, px = (torch.from_numpy(np.stack([p[i] for p in people]).astype(np.float64)) for i in (1, 2))
    boxes = torch.from_numpy(np.stack([p[4] for p in people]))
    boxes = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1) if torch.isfinite(boxes).all() else None
    return cam, px, (cam != 0).any(-1), boxes


def people_sample(name, people, camera, image, sources):
    """A Sample out of people of `read_rootnet`, their camera and the path of the picture (or None)."""
    cam, px, valid, boxes = people_arrays(people)
    sources = sources | ({"images": sources["poses"]} if image else {})
    (joints, known), (px, known_px) = masked(camera.to_world(cam), valid), masked(px, valid)
    return Sample(MUCO_21, name, joints, known, px, known_px, boxes=boxes, camera=camera, size=camera.size, image=image,
                  ids=tuple(p[0] for p in people), sources=sources)  # fmt: skip


def find_image(root, file_name):
    """Path of a picture named in an annotation file, below root or root/images; None if it is not there."""
    if ".." in Path(file_name).parts or "\0" in file_name or len(file_name) > 255:
        return None
    return next((str(p) for p in (root / file_name, root / "images" / file_name) if p.is_file()), None)


class Muco:
    """MuCo-3DHP in a folder with `MuCo-3DHP.json` (pictures optional), or that file itself.  InputError.

    `images` and `people` are those of `read_rootnet`.
    """

    def __init__(self, root, limit=None):
        root = Path(root)
        if root.suffix == ".json":
            self.file, self.root = root, root.parent
        else:
            self.root = folder(root, "MuCo-3DHP.json")
            self.file = next((f for f in sorted(self.root.rglob("MuCo-3DHP*.json"))), None)
            if self.file is None:
                raise nothing_found(self.root, "MuCo-3DHP.json")
        self.images, self.people = read_rootnet(self.file, limit)

    def camera(self, image_id):
        """Camera of an image (mm, Z up); level and at the origin where the file has no extrinsics."""
        image, where = self.images[image_id], f"{self.file}, image {image_id}"
        R, t = LEVEL, np.zeros(3)
        if self.has_extrinsics(image_id):
            R = numbers(image["R"], (9,), "R", where, flat=True).reshape(3, 3) @ Y_UP
            t = numbers(image["T"], (3,), "T", where, flat=True)
        size = get(image, "width", where), get(image, "height", where)
        return make_camera(R, t, get(image, "f", where), get(image, "c", where), size, where=where)

    def has_extrinsics(self, image_id):
        """Whether the file has R and T of this image."""
        return "R" in self.images[image_id] and "T" in self.images[image_id]

    def sample(self, image_id):
        """One image as a Sample with joints in 3D and 2D.  InputError if the file has no such image."""
        if image_id not in self.images:
            raise InputError(f"no image {image_id}", self.file)
        file_name = self.images[image_id]["file_name"]
        sources = {"poses": "muco", "cameras": "muco" if self.has_extrinsics(image_id) else "level"}
        people, image = self.people.get(image_id, []), find_image(self.root, file_name)
        return people_sample(f"muco/{file_name}", people, self.camera(image_id), image, sources)

    def samples(self, step=1):
        """Generator of Samples, one per image with people, in the order of the file."""
        for image_id in list(self.images)[::step]:
            if image_id in self.people:
                yield self.sample(image_id)
