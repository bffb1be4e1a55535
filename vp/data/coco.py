"""COCO person keypoints (Lin et al., ECCV 2014): `person_keypoints_*.json` of any size, read as a stream in bounded memory.

17 keypoints as (x, y, v) in px: v = 0 not labelled, 1 labelled but occluded, 2 visible.  There are no cameras and no 3D.
Kept per person are 51 float32 and a box, about 0.3 kB, and per image its name and size; everything else passes through.
"""

import array
from pathlib import Path

import numpy as np
import torch

from vp.data.files import folder, get, masked, nothing_found, numbers, stream_json, whole
from vp.data.muco import find_image
from vp.errors import InputError
from vp.sample import Sample
from vp.skeleton import COCO_17

IMAGE_FOLDERS = ("images", "train2017", "val2017")


class Coco:
    """The people of one keypoint file.

    path: the JSON file, or a folder with `annotations/person_keypoints_*.json` (exactly one);  pictures are looked for in
    images/, train2017/ and val2017/ beside it.  `images` dict id -> (file name, width, height);  arrays over the N annotations:
    `image_id`, `id`, `crowd`, `num_keypoints` (N,), `keypoints` (N, 17, 3) float32, `boxes` (N, 4) x0 y0 x1 y1.  InputError.
    """

    def __init__(self, path):
        path = Path(path)
        self.file = path if path.is_file() and path.suffix == ".json" else self._find(folder(path, "COCO annotations"))
        self.root = self.file.parent.parent if self.file.parent.name == "annotations" else self.file.parent
        self.images, whole_numbers, reals = {}, array.array("q"), array.array("f")
        for key, entry in stream_json(self.file, ("images", "annotations")):
            where = f"{self.file}, {key}"
            if key == "images":
                name, image_id = get(entry, "file_name", where, str), whole(get(entry, "id", where), "id", where)
                self.images[image_id] = name, *(whole(get(entry, k, where), k, where) for k in ("width", "height"))
            else:
                keys = ("image_id", "id", "iscrowd", "num_keypoints")
                ids = [whole(get(entry, k, where), k, where) for k in keys]
                where = f"{self.file}, annotation {ids[1]}"
                points = numbers(get(entry, "keypoints", where), (51,), "keypoints", where)
                if not np.isin(points[2::3], (0, 1, 2)).all():
                    raise InputError("a keypoint's v is none of 0, 1, 2", where)
                whole_numbers.extend(ids)
                reals.extend(points.tolist())
                reals.extend(numbers(get(entry, "bbox", where), (4,), "bbox", where).tolist())
        self.image_id, self.id, self.crowd, self.num_keypoints = np.array(whole_numbers, np.int64).reshape(-1, 4).T
        reals = np.frombuffer(reals, np.float32).reshape(-1, 55) if reals else np.zeros((0, 55), np.float32)
        self.keypoints, self.boxes = reals[:, :51].reshape(-1, 17, 3), reals[:, 51:].copy()
        self.boxes[:, 2:] += self.boxes[:, :2]
        self.crowd = self.crowd != 0
        unknown = np.setdiff1d(self.image_id, np.fromiter(self.images, np.int64, len(self.images)))
        if len(unknown):
            raise InputError(f"annotations of {len(unknown)} images that the file does not list (image {unknown[0]})", self.file)
        self._order = np.argsort(self.image_id, kind="stable")
        self._sorted = self.image_id[self._order]

    @staticmethod
    def _find(root):
        files = sorted(root.rglob("person_keypoints_*.json"))
        if not files:
            raise nothing_found(root, "annotations/person_keypoints_*.json")
        if len(files) > 1:
            raise InputError(f"{len(files)} keypoint files", root, f"give one of them, e.g. {files[0]}")
        return files[0]

    @property
    def image_ids(self):
        """Ids of the images with at least one person annotation, sorted."""
        return np.unique(self.image_id).tolist()

    def image_file(self, image_id):
        """Path of the picture, or None if it is not there."""
        roots = [self.root, *(self.root / d for d in IMAGE_FOLDERS)]
        return next((p for r in roots if (p := find_image(r, self.images[image_id][0]))), None)

    def rows(self, image_id, crowds=False):
        """Rows of the annotations of an image, in the order of the file; crowd regions only on request."""
        a, b = np.searchsorted(self._sorted, [image_id, image_id + 1])
        rows = self._order[a:b]
        return rows if crowds else rows[~self.crowd[rows]]

    def sample(self, image_id, crowds=False):
        """One image as a 2D Sample (COCO-17); people without any labelled keypoint keep their box and have no valid joint."""
        if image_id not in self.images:
            raise InputError(f"no image {image_id}", self.file, f"the file lists {len(self.images)} images")
        (name, *size), rows, image = self.images[image_id], self.rows(image_id, crowds), self.image_file(image_id)
        px, valid = masked(self.keypoints[rows, :, :2].astype(np.float64), self.keypoints[rows, :, 2] > 0)
        visible = torch.from_numpy(self.keypoints[rows, :, 2] == 2)
        boxes, sources = torch.from_numpy(self.boxes[rows].astype(np.float64)), {"poses": "coco"} | ({"images": "coco"} if image else {})
        return Sample(COCO_17, f"coco/{name}", joints_px=px, valid_px=valid, visible=visible, boxes=boxes, size=tuple(size), image=image,
                      ids=tuple(self.id[rows].tolist()), sources=sources)  # fmt: skip

    def samples(self, step=1, crowds=False):
        """Generator of Samples, one per image with people, by image id; images with crowd regions only are left out unless `crowds`."""
        for image_id in self.image_ids[::step]:
            if len(self.rows(image_id, crowds)):
                yield self.sample(image_id, crowds)
