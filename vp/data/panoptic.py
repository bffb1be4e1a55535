"""CMU Panoptic as its owners ship it (Joo et al., ICCV 2015), and HMOR's cleaned annotations of it.

Layout: `SEQ/calibration_SEQ.json`, `SEQ/hdPose3d_stage1_coco19/**/body3DScene_XXXXXXXX.json` (19 joints, joint 1 = nose) or the older
`SEQ/hdPose3d_stage1` (15 joints, joint 1 = head top), `SEQ/hdImgs/CAM/CAM_XXXXXXXX.jpg`; any subset of these.

The source is in centimetre with world Y *down*; everything returned is in mm with world Z up: (X, Y, Z) = 10 (x, z, -y).
Joints with confidence <= 0 (written as 0, 0, 0, -1) are missing.
"""

import re
from pathlib import Path

import numpy as np
import torch

from vp.data.files import folder, get, load_pickle, make_camera, masked, nothing_found, numbers, read_json, whole
from vp.errors import InputError
from vp.sample import Sample
from vp.skeleton import PANOPTIC_15, PANOPTIC_19

Y_DOWN = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # x_panoptic = Y_DOWN @ x_ours
LABELS = {"hdPose3d_stage1_coco19": ("joints19", PANOPTIC_19), "hdPose3d_stage1": ("joints15", PANOPTIC_15)}


def camera_name(camera):
    """The name of an HD camera: 16, "16" and "00_16" are all "00_16"; other names stay."""
    return f"00_{int(camera):02d}" if re.fullmatch(r"\d{1,2}", str(camera)) else str(camera)


def read_calibration(path):
    """All cameras of a calibration file: dict name -> (Camera in mm and Z up, type "hd" | "vga" | "kinect-color").  InputError."""
    out = {}
    for entry in get(read_json(path), "cameras", path, list):
        name = get(entry, "name", path, str)
        where = f"{path}, camera {name}"
        K, R = numbers(get(entry, "K", where), (3, 3), "K", where), numbers(get(entry, "R", where), (3, 3), "R", where)
        t = numbers(get(entry, "t", where), (3,), "t", where, flat=True)
        size, dist = get(entry, "resolution", where), numbers(get(entry, "distCoef", where), (5,), "distCoef", where, flat=True)
        camera = make_camera(R @ Y_DOWN, 10 * t, K[[0, 1], [0, 1]], K[:2, 2], size, dist, where)
        out[name] = (camera, get(entry, "type", where, str))
    if not out:
        raise InputError("the calibration holds no camera", path)
    return out


def read_poses(path):
    """One body3DScene file: ids (P,) list, joints (P, J, 3) mm, valid (P, J), score (P, J), Skeleton.  InputError."""
    ids, rows, skeleton = [], [], None
    for body in get(read_json(path), "bodies", path, list):
        if not isinstance(body, dict):
            raise InputError("a body is not an object", path)
        key, kind = next(((k, s) for k, s in LABELS.values() if k in body), (None, None))
        if key is None or kind is not (skeleton or kind):
            raise InputError('every body needs "joints19" (or every one "joints15")', path)
        skeleton = kind
        ids.append(whole(get(body, "id", path), "id", path))
        rows.append(numbers(body[key], (4 * len(kind),), key, path).reshape(-1, 4))
    if skeleton is None:  # nobody there: the folder's name tells the format
        skeleton = PANOPTIC_19 if "coco19" in str(path) else PANOPTIC_15
    table = np.stack(rows) if rows else np.zeros((0, len(skeleton), 4))
    joints, valid = masked(10 * table[..., :3] @ Y_DOWN, table[..., 3] > 0)
    return ids, joints, valid, torch.from_numpy(table[..., 3].clip(0, 1)), skeleton


class Panoptic:
    """A folder of Panoptic sequences, or one sequence.

    root: folder;  labels: which pose folder to read, "hdPose3d_stage1_coco19", "hdPose3d_stage1" or None (19 joints where there are
    any, else 15).  `sequences` holds the names found.  InputError if the folder has none.
    """

    def __init__(self, root, labels=None):
        root = folder(root, "Panoptic sequences")
        if labels not in (None, *LABELS):
            raise InputError(f"no label format {labels!r}", root, f"choose from {', '.join(LABELS)}")
        self.root, self._labels, self._cameras, self._index = root, [labels] if labels else list(LABELS), {}, {}
        candidates = [root, *sorted(p for p in root.iterdir() if p.is_dir())]
        self._folders = {p.resolve().name: p for p in candidates if self._is_sequence(p)}
        if not self._folders:
            raise nothing_found(root, "Panoptic sequence (a folder with calibration_SEQ.json, hdPose3d_stage1_coco19 or hdImgs)")

    @staticmethod
    def _is_sequence(path):
        return any(path.glob("calibration_*.json")) or any((path / d).is_dir() for d in (*LABELS, "hdImgs"))

    @property
    def sequences(self):
        """Names of the sequences found, sorted."""
        return sorted(self._folders)

    def _folder(self, seq):
        if seq not in self._folders:
            raise InputError(f"no sequence {seq}", self.root, f"found {', '.join(self.sequences[:8])}")
        return self._folders[seq]

    def calibrated(self, seq):
        """Whether a sequence has a calibration file."""
        return any(self._folder(seq).glob("calibration_*.json"))

    def calibration(self, seq):
        """All cameras of a sequence: dict name -> (Camera, type); InputError if its calibration file is absent."""
        if seq not in self._cameras:
            files = sorted(self._folder(seq).glob("calibration_*.json"))
            if not files:
                raise InputError(f"calibration_{seq}.json is missing", self._folder(seq), "all sequences of a capture day share theirs")
            self._cameras[seq] = read_calibration(next((f for f in files if f.stem == f"calibration_{seq}"), files[0]))
        return self._cameras[seq]

    def cameras(self, seq, kind="hd"):
        """Dict name -> Camera of the HD cameras of a sequence (kind: "hd", "vga", "kinect-color")."""
        return {n: c for n, (c, k) in self.calibration(seq).items() if k == kind}

    def camera(self, seq, name):
        """One camera by name ("00_16", "16" or 16); InputError lists those there are."""
        name, known = camera_name(name), self.calibration(seq)
        if name not in known:
            hd = sorted(self.cameras(seq)) or sorted(known)
            raise InputError(f"no camera {name}", self._folder(seq), f"the calibration has {', '.join(hd[:8] + [' ...'] * (len(hd) > 8))}")
        return known[name][0]

    def pose_files(self, seq):
        """Dict frame -> pose file."""
        if (seq, "poses") not in self._index:
            found = {}
            for label in self._labels:
                files = sorted((self._folder(seq) / label).rglob("body3DScene_*.json"))
                found = found or {int(m[1]): f for f in files if (m := re.fullmatch(r"body3DScene_(\d{1,12})", f.stem))}
            self._index[seq, "poses"] = dict(sorted(found.items()))
        return self._index[seq, "poses"]

    def image_files(self, seq):
        """Dict camera name -> dict frame -> picture file."""
        if (seq, "images") not in self._index:
            base, out = self._folder(seq) / "hdImgs", {}
            for d in sorted(p for p in base.iterdir() if p.is_dir()) if base.is_dir() else ():
                pattern = re.compile(re.escape(d.name) + r"_(\d{1,12})\.(?:jpg|png)")
                frames = {int(m[1]): f for f in sorted(d.iterdir()) if (m := pattern.fullmatch(f.name))}
                if frames:
                    out[d.name] = frames
            self._index[seq, "images"] = out
        return self._index[seq, "images"]

    def frames(self, seq):
        """Sorted frame numbers with poses, or, in a sequence without poses, with a picture."""
        return sorted(self.pose_files(seq) or {n for frames in self.image_files(seq).values() for n in frames})

    def poses(self, seq, frame):
        """The people of a frame: (ids, joints (P, J, 3) mm, valid (P, J), Skeleton); InputError if the frame has no pose file."""
        ids, joints, valid, _, skeleton = self._poses(seq, frame)
        return ids, joints, valid, skeleton

    def _poses(self, seq, frame):
        files = self.pose_files(seq)
        if frame not in files:
            raise InputError(f"no poses for frame {frame}", self._folder(seq), f"{len(files)} frames have poses")
        return read_poses(files[frame])

    def sample(self, seq, camera, frame, poses=None):
        """One view of one frame as a Sample; joints are None where the frame has no pose file, image is None without picture."""
        name = camera_name(camera)
        cam = self.camera(seq, name)
        image = self.image_files(seq).get(name, {}).get(frame)
        known = poses or (self._poses(seq, frame) if frame in self.pose_files(seq) else None)
        if known is None and image is None:
            raise InputError(f"frame {frame} has neither poses nor a picture of camera {name}", self._folder(seq))
        ids, joints, valid, score, skeleton = known or ((), None, None, None, PANOPTIC_19)
        sources = {"cameras": "panoptic"} | ({"poses": "panoptic"} if known else {}) | ({"images": "panoptic"} if image else {})
        return Sample(
            skeleton, f"panoptic/{seq}/{name}/{frame:08d}", joints, valid, score=score, camera=cam, size=cam.size,
            image=str(image) if image else None, ids=tuple(ids), sources=sources,
        )  # fmt: skip

    def samples(self, sequences=None, cameras=None, step=1):
        """Generator of Samples, frame by frame, each in every camera.

        sequences, cameras: what to read (None: all; cameras None: those with pictures, else all HD);  step: every n-th frame.
        A frame without poses comes only in the cameras that have its picture.
        """
        for seq in self.sequences if sequences is None else sequences:
            images, poses = self.image_files(seq), self.pose_files(seq)
            names = [camera_name(c) for c in cameras] if cameras is not None else sorted(images) or sorted(self.cameras(seq))
            for frame in self.frames(seq)[::step]:
                known = self._poses(seq, frame) if frame in poses else None
                for name in names:
                    if known or frame in images.get(name, {}):
                        yield self.sample(seq, name, frame, known)


def read_hmor(path, calibrations=None):
    """HMOR's cleaned Panoptic annotations (`clean_train.pkl`, or packed with cameras, `train_cam.pkl`) as a list of Samples.

    The pickle is a list with one dict per picture: `image_name` (".../SEQ/hdImgs/CAM/FILE.jpg"), `joints_3d_cam` (P, 15, 3) in cm in the
    camera frame, `joints_3d_vis` (P, 15) or (P, 15, 3), `intrinsics` or `K` (3, 3), `R`, `t` (cm, y-down world), `distCoef` (absent: none).
    Assumed from what the published implementation reads, the files were not seen; the joints are taken to be in the paper's order.
    A record without R and t needs `calibrations`, a `Panoptic` that has its sequence.  Nothing in the file is executed.  InputError.
    """
    records = load_pickle(path)
    if not isinstance(records, list):
        raise InputError(f"expected a list of records, got {type(records).__name__}", path)
    return [_hmor_sample(r, f"{path}, record {i}", calibrations) for i, r in enumerate(records)]


def _hmor_sample(record, where, calibrations):
    name = Path(get(record, "image_name", where, str))
    seq, view = (name.parts[-4], name.parts[-2]) if len(name.parts) >= 4 else ("unknown", name.parent.name)
    joints = numbers(get(record, "joints_3d_cam", where), (None, 15, 3), "joints_3d_cam", where)
    seen = numbers(get(record, "joints_3d_vis", where), (None,), "joints_3d_vis", where, flat=True, kinds="biuf")
    if seen.size not in (15 * len(joints), 45 * len(joints)):
        raise InputError('"joints_3d_vis" must be people x 15 or people x 15 x 3', where)
    if "R" in record and "t" in record:
        K = numbers(get(record, "intrinsics" if "intrinsics" in record else "K", where), (3, 3), "intrinsics", where)
        R, t = numbers(record["R"], (3, 3), "R", where), numbers(record["t"], (3,), "t", where, flat=True)
        dist, size = record.get("distCoef"), record.get("resolution", (1920, 1080))
        dist = None if dist is None else numbers(dist, (5,), "distCoef", where, flat=True)
        camera = make_camera(R @ Y_DOWN, 10 * t, K[[0, 1], [0, 1]], K[:2, 2], size, dist, where)
    elif calibrations is not None:
        camera = calibrations.camera(seq, view)
    else:
        raise InputError("the record has no R and t", where, "give the calibrations of its sequence")
    world = camera.to_world(torch.from_numpy(10 * joints))
    world, valid = masked(world, (seen.reshape(len(joints), 15, -1) > 0).all(-1) if len(joints) else seen.reshape(0, 15))
    return Sample(PANOPTIC_15, f"panoptic/{seq}/{view}/{name.stem}", world, valid, camera=camera, size=camera.size,
                  sources={"poses": "hmor", "cameras": "panoptic"})  # fmt: skip
