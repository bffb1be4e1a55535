"""vp.lab.geometry: each measurement of notebooks 01 and 02 against a loop that knows nothing of vp.camera, or against numbers by hand."""

import math

import cv2
import numpy as np
import pytest
import torch

from vp.camera import Camera
from vp.data.mocap import HEAD_TOP_MM, Clip
from vp.lab import geometry
from vp.skeleton import BVH, BVH_NAMES

# ---- Fig. 1 --------------------------------------------------------------------------------------------------------------------------


def naive_formula_errors(stature=1750.0, f=1400.0):
    """A stick from sole to head top with its mid-hip at 0.53 of stature (Winter), one case after the other, exact projection."""
    errors = []
    for depth in range(3000, 10001, 500):
        for height in range(500, 3401, 100):
            for pitch in (math.radians(a) for a in range(0, 31, 5)):
                x = (depth - (height - 0.53 * stature) * math.sin(pitch)) / math.cos(pitch)
                v = []
                for z in (stature, 0.0):
                    drop = height - z
                    ahead = x * math.cos(pitch) + drop * math.sin(pitch)  # depth
                    v.append(539.5 + f * (drop * math.cos(pitch) - x * math.sin(pitch)) / ahead)
                if v[0] >= -0.5 and v[1] < 1079.5:
                    errors.append(100 * (f * stature * math.cos(pitch) / (v[1] - v[0]) / depth - 1))
    return np.sort(errors)


def test_formula_errors_against_a_loop():
    assert np.allclose(np.sort(geometry.formula_errors()), naive_formula_errors(), atol=1e-9)
    assert np.allclose(np.sort(geometry.formula_errors(1600.0, 1200.0)), naive_formula_errors(1600.0, 1200.0), atol=1e-9)


def test_stature_error_by_hand():
    # of a stick 5 % taller than believed the same image is shown from 5 % farther away: 50 mm per m, at each of 2, 3, ... 10 m
    assert geometry.stature_error().tolist() == pytest.approx([50.0] * 9)
    assert geometry.stature_error(spread=-0.1).tolist() == pytest.approx([-100.0] * 9)


def test_pitch_cost_by_hand():
    # the ray to feet 4 m ahead of a camera 1.2 m up lies atan(0.3) below the horizon; believed 1 degree less, it meets the floor farther on
    assert geometry.pitch_cost() == pytest.approx(1200 / math.tan(math.atan(0.3) - math.radians(1)) - 4000)
    assert geometry.pitch_cost(1500.0, 3000.0, 2.0) == pytest.approx(1500 / math.tan(math.atan(0.5) - math.radians(2)) - 3000)
    assert geometry.pitch_cost(focal=700.0) == pytest.approx(geometry.pitch_cost())  # degrees do not depend on the lens


def test_same_picture_shift(monkeypatch):
    shift = geometry.same_picture_shift(50, 3)
    assert 0 <= shift < 1e-6
    assert geometry.same_picture_shift(50, 3) == shift
    centre = Camera.centre.fget  # scaled about another point, it is another picture
    monkeypatch.setattr(Camera, "centre", property(lambda self: centre(self) + 1))
    assert geometry.same_picture_shift(50, 3) > 0.1
    monkeypatch.setattr(Camera, "centre", property(lambda self: centre(self) * float("nan")))
    assert math.isnan(geometry.same_picture_shift(50, 3))


def test_pinhole_rows_hold_these_numbers():
    rows = {r["metric"]: r for r in geometry.pinhole_rows(20, 1, notebook="01_pinhole_depth", profile="smoke")}
    error = np.abs(naive_formula_errors())
    want = {"formula_error_mean": (error.mean(), "%"), "formula_error_max": (error.max(), "%"), "stature_error": (50.0, "mm/m")}
    want |= {"pitch_cost": (269.352, "mm"), "same_picture": (0.0, "px")}
    assert {m: (pytest.approx(v, abs=1e-3), u) for m, (v, u) in want.items()} == {m: (r["value"], r["unit"]) for m, r in rows.items()}
    assert rows["formula_error_mean"]["n"] == len(error)
    assert (rows["same_picture"]["n"], rows["same_picture"]["seed"]) == (20, 1)


# ---- posture factors -----------------------------------------------------------------------------------------------------------------

STATURE = 1700.0


def clip():
    """Four frames of one body, 1.7 m: upright; head bent by 60 degree; a hand 300 mm above the head; feet on tiptoe (the ankles decide)."""
    skull, ankle = STATURE - 200, 0.039 * STATURE
    z = {"skull_base": skull, "neck": skull - 80, "left_toe": 0.0, "right_toe": 0.0, "left_ankle": ankle, "right_ankle": ankle}
    upright = torch.tensor([[0.0, 0.0, z.get(j, 900.0)] for j in BVH.joints], dtype=torch.float64)
    joints = upright.repeat(4, 1, 1)
    joints[1, BVH.index("neck")] = torch.tensor([-80 * math.sin(math.radians(60)), 0, skull - 80 * math.cos(math.radians(60))])
    joints[2, BVH.index("left_wrist"), 2] = STATURE + 300
    joints[3, [BVH.index("left_toe"), BVH.index("right_toe")], 2] = -100.0
    names = tuple(BVH_NAMES["cmu"])
    return Clip("made_up", joints, names, (-1,) * len(names), 30.0, 10.0, STATURE, "cmu")


def test_clip_posture_factors_by_hand():
    gamma = geometry.clip_posture_factors(clip())
    assert gamma == pytest.approx([1.0, 1 - 100 / STATURE, 1 + 300 / STATURE, 1.0])
    assert HEAD_TOP_MM == 200.0  # "adults, roughly"


def test_actions(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("dataset-1_walk-back_normal_001", "dataset-2_run_active_048", "02_01", "bare"):
        (tmp_path / "sub" / f"{name}.bvh").touch()
    own = {"dataset-1_walk-back_normal_001": "walk-back", "dataset-2_run_active_048": "run", "02_01": "02_01", "bare": "bare"}
    assert geometry.actions(tmp_path) == own
    (tmp_path / "manifest.csv").write_text("file,action\nbvh/sub/02_01.bvh,walk\n")
    assert geometry.actions(tmp_path) == own | {"02_01": "walk"}
    (tmp_path / "manifest.csv").write_text("name,frames\n02_01,3\n")
    assert geometry.actions(tmp_path) == own


MEASURED = {
    "a": np.array([0.9, 0.94, 0.99]),
    "b": np.array([0.97, 0.98]),
    "c": np.linspace(0.5, 1.0, 101),
    "d": np.array([0.96, 0.96, 0.3]),
    "e": np.full(5, 0.8),
}
ACTION = {"a": "walk", "b": "walk-back", "c": "bow", "d": "walk"}


def test_group_by_action():
    groups = geometry.group_by_action(MEASURED, ACTION)
    assert list(groups) == ["bow", "e", "walk", "walk-back"]  # medians 0.75, 0.8, 0.95, 0.975
    assert groups["walk"].tolist() == [0.9, 0.94, 0.99, 0.96, 0.96, 0.3]
    assert groups["e"].tolist() == [0.8] * 5


def test_gamma_rows():
    rows = geometry.gamma_rows(MEASURED, ACTION, notebook="02_poses_and_cameras", profile="smoke")
    assert {(r["experiment"], r["poses"], r["notebook"]) for r in rows} == {("gamma", "bvh", "02_poses_and_cameras")}
    median = {r["method"]: r for r in rows if r["metric"] == "median"}
    assert set(median) == {"bow", "e", "walking"}
    walking = median["walking"]  # the mean of the medians of clips a, b, d
    assert walking["value"] == pytest.approx((0.94 + 0.975 + 0.96) / 3)
    assert walking["per_scene"] == pytest.approx([0.94, 0.975, 0.96])
    assert (walking["clusters"], walking["n"]) == (["a", "b", "d"], 3)
    (lowest,) = (r for r in rows if r["metric"] == "lowest_p5")
    # bow: 5 % of the way from 0.5 to 1; walk: 5 % of 6 values is a quarter of the way from 0.3 to 0.9, lower still
    assert (lowest["method"], lowest["n"]) == ("walk", 5)
    assert lowest["value"] == pytest.approx(0.45)
    (lowest,) = (r for r in geometry.gamma_rows({"c": MEASURED["c"]}, ACTION) if r["metric"] == "lowest_p5")
    assert (lowest["method"], lowest["value"]) == ("bow", pytest.approx(0.525))


# ---- lens distortion -----------------------------------------------------------------------------------------------------------------


class Rig:
    """What distortion_shifts asks of a vp.data.panoptic.Panoptic: two sequences, two cameras, people partly out of the picture."""

    sequences = ("one", "two")

    def __init__(self):
        g = np.random.default_rng(5)
        self.scenes = {
            (s, f): torch.from_numpy(g.uniform((-2500, -1500, 0), (2500, 1500, 2200), (2, 15, 3))) for s in self.sequences for f in (3, 12)
        }
        self.lens = {"00_01": [-0.2, 0.15, 0.002, -0.001, 0.01], "00_02": [-0.1, 0.05, -0.001, 0.002, 0.0]}

    def cameras(self, seq):
        centres = {"00_01": (-1500, -3000, 1500), "00_02": (2000, 0, 2500)}
        cams = {name: Camera.look_at(centre, (0, 0, 900)) for name, centre in centres.items()}
        for name, cam in cams.items():
            cam.dist = torch.tensor(self.lens[name], dtype=torch.float64)
        return cams

    def pose_files(self, seq):
        return {f: None for s, f in self.scenes if s == seq}

    def poses(self, seq, frame):
        joints = self.scenes[seq, frame].clone()
        valid = torch.ones(joints.shape[:2], dtype=torch.bool)
        valid[0, 0] = valid[1, 7] = False
        joints[0, 0] = float("nan")  # the mask alone decides over the other
        return [0, 1], joints, valid, None


def naive_shifts(rig):
    """{frame: shifts}, joint by joint with OpenCV; and how many joints were left out because they are outside the picture."""
    out, outside = {}, 0
    for seq in rig.sequences:
        for frame in rig.pose_files(seq):
            _, joints, valid, _ = rig.poses(seq, frame)
            for cam in rig.cameras(seq).values():
                K = np.array([[cam.f[0], 0, cam.c[0]], [0, cam.f[1], cam.c[1]], [0, 0, 1]], float)
                R, t = cam.R.numpy(), cam.t.numpy()
                for p in joints[valid].numpy():
                    if (R @ p + t)[2] <= 10:
                        continue
                    bent, straight = (
                        cv2.projectPoints(p[None], cv2.Rodrigues(R)[0], t, K, d)[0].ravel() for d in (cam.dist.numpy(), np.zeros(5))
                    )
                    if -0.5 <= bent[0] < 1919.5 and -0.5 <= bent[1] < 1079.5:
                        out.setdefault(f"{seq}/{frame:08d}", []).append(np.hypot(*(bent - straight)))
                    else:
                        outside += 1
    return out, outside


def test_distortion_shifts_against_opencv_joint_by_joint():
    want, outside = naive_shifts(Rig())
    assert len(want) == 4
    assert outside > 20
    shifts, frames = geometry.distortion_shifts(Rig())
    assert frames.shape == shifts.shape == (sum(map(len, want.values())),)
    for name, values in want.items():
        assert np.sort(shifts[frames == name]) == pytest.approx(np.sort(values), abs=1e-6)
    two = geometry.distortion_shifts(Rig(), ["two"])[1]
    assert set(two) == {"two/00000003", "two/00000012"}
    assert [len(a) for a in geometry.distortion_shifts(Rig(), [])] == [len(shifts), len(shifts)]  # none named: all


def test_distortion_rows_by_hand():
    (row,) = geometry.distortion_rows(np.array([1.0, 10.0, 3.0]), np.array(["s/2", "s/1", "s/2"]), profile="smoke")
    assert (row["value"], row["n"], row["unit"]) == (pytest.approx(14 / 3), 3, "px")  # over joint views
    assert (row["clusters"], row["per_scene"]) == (["s/1", "s/2"], [10.0, 2.0])  # and of each frame
    assert (row["poses"], row["cameras"], row["profile"]) == ("panoptic", "panoptic", "smoke")
    assert geometry.distortion_rows(np.zeros(0), np.array([])) == []
