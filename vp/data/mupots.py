"""MuPoTS-3D (Mehta et al., 3DV 2018): 20 sequences TS1 ... TS20.

Annotations from RootNet's `MuPoTS-3D.json`, or from the original `TSi/annot.mat` and `TSi/occlusion.mat`; extrinsics from `cameras.json`
(`x_cam = R x_world + t`, mm, Z up).  The data set ships neither extrinsics nor intrinsics: intrinsics missing from the file are fitted to
the paired 2D and 3D annotations, and without extrinsics the world is that of a level camera at the origin.  Any subset will do: a folder
may hold cameras only.
"""

import re
import warnings
from pathlib import Path

import numpy as np
import torch

from vp.camera import proper_rotation
from vp.data.files import LEVEL, folder, get, image_size, make_camera, nothing_found, numbers, read_json
from vp.data.matfile import read_mat
from vp.data.muco import find_image, people_arrays, people_sample, read_rootnet
from vp.errors import InputError


def fit_intrinsics(cam_points, uv):
    """Focal lengths and principal point from points in the camera frame and their pixels, by linear least squares.

    u = fx X / Z + cx and v = fy Y / Z + cy.  cam_points (N, 3) mm, uv (N, 2) px; non-finite rows are left out.
    Returns f (2,), c (2,), error_px: mean distance between uv and the fit.  InputError if the points do not determine them.
    """
    cam_points, uv = np.asarray(cam_points, np.float64), np.asarray(uv, np.float64)
    good = np.isfinite(cam_points).all(-1) & np.isfinite(uv).all(-1) & (cam_points[:, 2] > 0)
    xy, uv = cam_points[good, :2] / cam_points[good, 2:], uv[good]
    if len(xy) < 3 or np.ptp(xy, axis=0).min() < 1e-6:
        raise InputError(f"{len(xy)} pairs of 2D and 3D points do not determine the focal length", "intrinsics")
    (fx, cx), (fy, cy) = (np.linalg.lstsq(np.stack([xy[:, i], np.ones(len(xy))], 1), uv[:, i], rcond=None)[0] for i in (0, 1))
    f, c = np.array([fx, fy]), np.array([cx, cy])
    return f, c, float(np.linalg.norm(xy * f + c - uv, axis=1).mean())


def read_extrinsics(path):
    """`cameras.json`: dict sequence -> (R (3, 3), t (3,) mm); left-handed R are repaired (second column negated), with one warning.

    `left_handed` sequences are returned as well: (extrinsics, list of names).  InputError.
    """
    out, mirrored = {}, []
    for entry in get(read_json(path), "cameras", path, list):
        name = get(entry, "sequence", path, str)
        where = f"{path}, {name}"
        R, t = numbers(get(entry, "R", where), (3, 3), "R", where), numbers(get(entry, "t", where), (3,), "t", where, flat=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out[name] = proper_rotation(R, t, where)
        if np.linalg.det(R) < 0:
            mirrored.append(name)
    if not out:
        raise InputError("the file holds no camera", path)
    if mirrored:
        names = ", ".join(mirrored)
        warnings.warn(f"{path}: {len(mirrored)} of {len(out)} R are left-handed ({names}); their second column was negated", stacklevel=2)
    return out, mirrored


def _cells(path, key):
    """The cell array `key` (frames x people) of a MATLAB file."""
    cells = read_mat(path, key)
    if not isinstance(cells, np.ndarray) or cells.dtype != object or cells.ndim != 2:
        raise InputError(f"{key!r} is not a cell array of frames x people", path)
    return cells


def read_annotations(path, occlusion=None):
    """`annot.mat`: cell array frames x people of structs with annot2 (2, 17) px, annot3 (3, 17) mm camera frame, isValidFrame.

    occlusion: path of `occlusion.mat` (cells of 17 flags) or None.  univ_annot3, the poses scaled to one body, is not read.
    Returns cam (F, P, 17, 3), px (F, P, 17, 2), valid (F, P), occluded (F, P, 17) bool or None.  InputError.
    """
    cells = _cells(path, "annotations")
    F, P = cells.shape
    cam, px, valid = np.zeros((F, P, 17, 3)), np.zeros((F, P, 17, 2)), np.zeros((F, P), bool)
    for f, p in np.ndindex(F, P):
        where = f"{path}, frame {f}, person {p}"
        px[f, p] = numbers(get(cells[f, p], "annot2", where), (2, 17), "annot2", where).T
        cam[f, p] = numbers(get(cells[f, p], "annot3", where), (3, 17), "annot3", where).T
        valid[f, p] = numbers(get(cells[f, p], "isValidFrame", where), (1, 1), "isValidFrame", where).item() > 0
    if occlusion is None:
        return cam, px, valid, None
    labels = _cells(occlusion, "occlusion_labels")
    if labels.shape != (F, P):
        raise InputError(f"{labels.shape} frames x people, but annot.mat has {(F, P)}", occlusion)
    occluded = [numbers(c, (17,), "occlusion_labels", occlusion, flat=True) > 0 for c in labels.flat]
    return cam, px, valid, np.array(occluded).reshape(F, P, 17)


class Mupots:
    """MuPoTS-3D in a folder with any of `MuPoTS-3D.json`, `TSi/annot.mat`, `cameras.json`.

    root: folder;  extrinsics: path of a cameras.json elsewhere.  `extrinsics` dict sequence -> (R, t), `left_handed` names,
    `sequences` all names found.  InputError if the folder has none of the three.
    """

    def __init__(self, root, extrinsics=None):
        self.root = folder(root, "MuPoTS-3D files")
        self.file = next(iter(sorted(self.root.rglob("MuPoTS-3D*.json"))), None)
        cameras = Path(extrinsics) if extrinsics else self.root / "cameras.json"
        self.extrinsics, self.left_handed = read_extrinsics(cameras) if extrinsics or cameras.is_file() else ({}, [])
        self._mats = {f.parent.name: f for f in sorted(self.root.rglob("annot.mat")) if re.fullmatch(r"TS\d+", f.parent.name)}
        self._frames, self._fits = {}, {}
        if self.file is not None:
            self._mats = {}
            self._read_json()
        if not self._frames and not self._mats and not self.extrinsics:
            raise nothing_found(self.root, "MuPoTS-3D.json, TS1/annot.mat or cameras.json")

    def _read_json(self):
        images, people = read_rootnet(self.file)
        for image_id, image in images.items():
            m = re.search(r"(TS\d{1,4})/img_(\d{1,12})\.", image["file_name"])
            if m is None:
                raise InputError(f'file name "{image["file_name"][:60]}" is not TSi/img_XXXXXX.jpg', self.file)
            self._frames.setdefault(m[1], {})[int(m[2])] = (image, people.get(image_id, []), None)

    def _sequence(self, seq):
        """Dict frame -> (image record, people, occluded); people as in `read_rootnet`."""
        if seq in self._mats and seq not in self._frames:
            path, hidden = self._mats[seq], self._mats[seq].with_name("occlusion.mat")
            cam, px, valid, occluded = read_annotations(path, hidden if hidden.is_file() else None)
            cam, px = (np.pad(a, ((0, 0), (0, 0), (0, 4), (0, 0))) for a in (cam, px))  # MUCO_21: no hands, no toes
            for f, present in enumerate(valid):
                people = [(p, cam[f, p], px[f, p], None, np.full(4, np.nan), bool(ok)) for p, ok in enumerate(present)]
                record = {"file_name": f"{seq}/img_{f:06d}.jpg"}, people, None if occluded is None else occluded[f]
                self._frames.setdefault(seq, {})[f] = record
        return self._frames.get(seq, {})

    @property
    def sequences(self):
        """Names of the sequences with cameras or annotations, in numeric order."""
        return sorted({*self.extrinsics, *self._frames, *self._mats}, key=lambda s: (len(s), s))

    def frames(self, seq):
        """Sorted frame numbers with annotations; empty where only a camera is known."""
        return sorted(self._sequence(seq))

    def occluded(self, seq, frame):
        """(P, 17) bool of the annotated people of a frame, or None without occlusion.mat."""
        return self._sequence(seq)[frame][2]

    def size(self, seq):
        """(width, height) px: of the file, of the first picture, else as documented (2048 x 2048 in TS1 to TS5, 1920 x 1080 after)."""
        frames = self._sequence(seq)
        image = frames[min(frames)][0] if frames else {}
        if "width" in image and "height" in image:
            return image["width"], image["height"]
        path = find_image(self._base(seq), image["file_name"]) if image else None
        return image_size(path) if path else (2048, 2048) if seq in ("TS1", "TS2", "TS3", "TS4", "TS5") else (1920, 1080)

    def _base(self, seq):
        return self._mats[seq].parents[1] if seq in self._mats else self.file.parent if self.file else self.root

    def intrinsics(self, seq):
        """f (2,), c (2,), error_px, "file" | "fitted": error_px is the mean distance of annotated 2D joints from projected 3D joints."""
        if seq not in self._fits:
            frames = self._sequence(seq)
            pairs = [people_arrays(kept)[:3] for _, people, _ in frames.values() if (kept := [p for p in people if p[5]])]
            if not pairs:
                raise InputError(f"no annotated person in {seq}, so no intrinsics", self.root)
            cam, uv = (torch.cat([pair[i][pair[2]] for pair in pairs]).numpy() for i in (0, 1))
            given = frames[min(frames)][0].get("intrinsic")
            if given is None:
                self._fits[seq] = (*fit_intrinsics(cam, uv), "fitted")
            else:
                fx, fy, cx, cy = numbers(given, (4,), "intrinsic", f"{self.file}, {seq}", flat=True)
                with np.errstate(all="ignore"):
                    error = np.linalg.norm(cam[:, :2] / cam[:, 2:] * (fx, fy) + (cx, cy) - uv, axis=1).mean()
                self._fits[seq] = np.array([fx, fy]), np.array([cx, cy]), float(error), "file"
        return self._fits[seq]

    def camera(self, seq):
        """Camera of a sequence (mm, Z up); level and at the origin without extrinsics.  InputError without annotations (no intrinsics)."""
        f, c, _, _ = self.intrinsics(seq)
        R, t = self.extrinsics.get(seq, (torch.from_numpy(LEVEL), torch.zeros(3, dtype=torch.float64)))
        return make_camera(R.numpy(), t.numpy(), f, c, self.size(seq), where=f"{self.root}, {seq}")

    def sample(self, seq, frame, all_people=False):
        """One frame as a Sample with joints in 3D and 2D; people marked as not valid are left out unless `all_people`.  InputError."""
        if frame not in self._sequence(seq):
            raise InputError(f"no annotations for frame {frame} of {seq}", self.root, f"{len(self._sequence(seq))} frames are annotated")
        image, people, _ = self._sequence(seq)[frame]
        kept, path = [p for p in people if p[5] or all_people], find_image(self._base(seq), image["file_name"])
        sources = {"poses": "mupots", "cameras": "mupots" if seq in self.extrinsics else "level"}
        return people_sample(f"mupots/{seq}/{frame:06d}", kept, self.camera(seq), path, sources)

    def samples(self, sequences=None, step=1):
        """Generator of Samples of every n-th annotated frame; InputError if the folder has cameras only."""
        if not self._frames and not self._mats:
            raise InputError("cameras only, no annotations", self.root, "MuPoTS-3D.json or TSi/annot.mat are needed")
        for seq in self.sequences if sequences is None else sequences:
            for frame in self.frames(seq)[::step]:
                yield self.sample(seq, frame)
