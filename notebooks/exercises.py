"""Checkers of the notebooks' exercises.  Each calls the reader's function on a few inputs and says what was expected and what came back.

A checker takes the function and returns a `Result`: shown in the notebook, true when every case is right.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch

from vp.camera import Camera


@dataclass(frozen=True)
class Result:
    """Outcome of a check: `passed` and one line that says why."""

    passed: bool
    text: str

    def __bool__(self):
        return self.passed

    def __repr__(self):
        return ("right: " if self.passed else "not yet: ") + self.text


def _check(function, cases, unit, rtol=1e-6):
    """cases: (arguments, expected value) pairs; numbers or arrays."""
    for arguments, expected in cases:
        shown = ", ".join(f"{k}={np.round(v, 3).tolist() if hasattr(v, '__len__') else v}" for k, v in arguments.items())
        try:
            value = function(*(np.array(v) if isinstance(v, list) else copy.deepcopy(v) for v in arguments.values()))
        except NotImplementedError:
            return Result(False, "the function still raises NotImplementedError; write its body and run the cell again")
        except Exception as e:
            return Result(False, f"your function raised {type(e).__name__}: {e} for {shown}")
        try:
            value = np.asarray(value.detach() if isinstance(value, torch.Tensor) else value, dtype=float)
        except (TypeError, ValueError):
            return Result(False, f"expected numbers, got {value!r}")
        if value.shape != np.shape(expected):
            return Result(False, f"expected shape {np.shape(expected)}, got {value.shape} for {shown}")
        if not np.allclose(value, expected, rtol=rtol, atol=1e-9):
            say = lambda x: np.array2string(np.asarray(x), precision=5)  # noqa: E731
            return Result(False, f"for {shown} expected {say(expected)} {unit}, got {say(value)} {unit}")
    return Result(True, f"{len(cases)} of {len(cases)} cases")


def check_camera_centre(function):
    """00: function(R, t) -> optical centre (3,) mm."""
    cases = []
    for pitch, yaw, roll, centre in ((0, 0, 0, (0, 0, 1500)), (0.3, 1.1, 0.05, (2000, -500, 1800)), (-0.2, 4.0, -0.3, (-700, 40, 900))):
        camera = Camera.from_angles(pitch, yaw, roll, centre)
        cases.append(({"R": camera.R.numpy(), "t": camera.t.numpy()}, np.array(centre, float)))
    return _check(function, cases, "mm")


def check_depth(function):
    """01: function(f, gamma, h_real, theta, h_img) -> depth in mm, Fig. 1 solved for d."""
    cases = [
        ({"f": 1400.0, "gamma": 1.0, "h_real": 1750.0, "theta": 0.0, "h_img": 490.0}, 5000.0),
        ({"f": 1400.0, "gamma": 0.6, "h_real": 1700.0, "theta": 0.0, "h_img": 357.0}, 4000.0),
        ({"f": 1000.0, "gamma": 1.0, "h_real": 1800.0, "theta": math.pi / 3, "h_img": 300.0}, 3000.0),
    ]
    return _check(function, cases, "mm")


def check_depth_error(function):
    """01: function(d, spread) -> mm by which somebody a fraction `spread` taller than assumed is further away than computed, d."""
    cases = [({"d": 2000.0, "spread": 0.05}, 100.0), ({"d": 10000.0, "spread": 0.05}, 500.0), ({"d": 4000.0, "spread": -0.1}, -400.0)]
    return _check(function, cases, "mm")


def check_floor_depth(function):
    """01: function(f, height, theta, v) -> depth in mm of the floor point v px below the principal point, camera `height` mm up."""
    down = math.radians(20)
    cases = [
        ({"f": 1400.0, "height": 1200.0, "theta": 0.0, "v": 420.0}, 4000.0),
        ({"f": 1000.0, "height": 1500.0, "theta": math.pi / 6, "v": 0.0}, 3000.0),
        ({"f": 1400.0, "height": 2000.0, "theta": down, "v": 300.0}, 2000.0 / (math.sin(down) + 300.0 / 1400.0 * math.cos(down))),
    ]
    return _check(function, cases, "mm")


def check_box_k(function):
    """03: function(box, fx, fy) -> k mm of the box x0 y0 x1 y1 px, squared and enlarged by 1.25, A_real = 2 m x 2 m."""
    cases = [
        ({"box": [100.0, 50.0, 140.0, 250.0], "fx": 1000.0, "fy": 1000.0}, 8000.0),
        ({"box": [0.0, 0.0, 160.0, 80.0], "fx": 400.0, "fy": 900.0}, 6000.0),
        ({"box": [-0.5, 9.5, 79.5, 89.5], "fx": 200.0, "fy": 200.0}, 4000.0),
    ]
    return _check(function, cases, "mm")


def check_gamma_needed(function):
    """03: function(gamma_pose, h_real, theta) -> γ that makes k γ the depth, of a box 1.24 times as high as the body is in the picture."""
    people = ((1.0, 1750.0, 0.0), (0.75, 1600.0, 0.3), (1.15, 1850.0, math.pi / 3))
    cases = [({"gamma_pose": g, "h_real": h, "theta": t}, 1.55 * g * h * math.cos(t) / 2000) for g, h, t in people]
    return _check(function, cases, "")


def check_soft_depth(function):
    """03: function(logits, bins) -> depth mm, expected in the logarithm under softmax(logits); logits, bins (N,), bins mm."""
    cases = [
        ({"logits": [0.0, 0.0], "bins": [1000.0, 4000.0]}, 2000.0),
        ({"logits": [0.0, math.log(3.0), -50.0], "bins": [1000.0, 16_000.0, 20_000.0]}, 8000.0),
        ({"logits": [900.0, 900.0, 0.0], "bins": [2000.0, 8000.0, 9000.0]}, 4000.0),  # exp(900) is no number
    ]
    return _check(function, cases, "mm")


def check_place(function):
    """03: function(u, d, f, c) -> (3,) mm of the camera frame: joint at pixel u (2,) and depth d mm, f (2,) and c (2,) px."""
    cases = [
        ({"u": [960.0, 540.0], "d": 3000.0, "f": [1500.0, 1500.0], "c": [960.0, 540.0]}, [0.0, 0.0, 3000.0]),
        ({"u": [1110.0, 290.0], "d": 4000.0, "f": [1500.0, 1000.0], "c": [960.0, 540.0]}, [400.0, -1000.0, 4000.0]),
    ]
    return _check(function, cases, "mm")


def check_posture_factor(function):
    """02: function(z, h_real) -> γ, from joint heights z (J,) mm of which missing ones are NaN; the sole is in z already."""
    cases = [
        ({"z": np.array([0.0, 900.0, 1750.0]), "h_real": 1750.0}, 1.0),
        ({"z": np.array([300.0, np.nan, 1350.0]), "h_real": 1750.0}, 0.6),
        ({"z": np.array([np.nan, 120.0, 1020.0, 400.0]), "h_real": 1800.0}, 0.5),
    ]
    return _check(function, cases, "")


def check_repair(function):
    """02: function(R) -> R with determinant +1: a left-handed R gets its second column negated, a right-handed one is returned as it is."""
    R = Camera.from_angles(0.3, 1.0).R.numpy()
    mirrored = R * np.array([1.0, -1.0, 1.0])
    return _check(function, [({"R": R}, R), ({"R": mirrored}, R)], "")


def check_camera_of_rule(function):
    """04: function(a, b) -> pitch degree and height mm above the roots, of the camera whose rule is 1/d = a + b v."""
    cases = []
    for pitch, above in ((23.6, 1500.0), (50.4, 2490.0), (-4.6, 300.0)):
        theta = math.radians(pitch)
        cases.append(({"a": math.sin(theta) / above, "b": math.cos(theta) / above}, np.array([pitch, above])))
    return _check(function, cases, "(°, mm)")


def check_said_depth(function):
    """04: function(d, z, height, pitch, learned_height, learned_pitch) -> depth mm that a rule of another camera reads off the row."""
    level, steep = math.radians(-5), math.radians(24)
    cases = [
        ({"d": 3000.0, "z": 900.0, "height": 2400.0, "pitch": steep, "learned_height": 2400.0, "learned_pitch": steep}, 3000.0),
        ({"d": 4000.0, "z": 900.0, "height": 1300.0, "pitch": 0.0, "learned_height": 2400.0, "learned_pitch": 0.0}, 15000.0),
    ]
    v = (500.0 / 3000.0 - math.sin(level)) / math.cos(level)
    said = 1600.0 / (math.sin(steep) + v * math.cos(steep))
    one = {"d": 3000.0, "z": 800.0, "height": 1300.0, "pitch": level, "learned_height": 2400.0, "learned_pitch": steep}
    return _check(function, [*cases, (one, said)], "mm")


def check_off_over_on(function):
    """04: function(table) -> (C,) error off the camera over that on it, of mean errors, training cameras down and test cameras across."""
    cases = [
        ({"table": [[100.0, 300.0, 50.0], [200.0, 100.0, 150.0], [400.0, 500.0, 100.0]]}, [3.0, 4.0, 1.0]),
        ({"table": [[50.0, 80.0], [200.0, 40.0]]}, [4.0, 2.0]),
    ]
    return _check(function, cases, "")


def check_times_seen(function):
    """05: function(steps, batch, share, pictures) -> how often each of `pictures` is seen when `share` of the samples are of its kind."""
    cases = [
        ({"steps": 600, "batch": 16, "share": 1.0, "pictures": 1200}, 8.0),
        ({"steps": 600, "batch": 16, "share": 0.5, "pictures": 600}, 8.0),
        ({"steps": 600, "batch": 16, "share": 0.5, "pictures": 1200}, 4.0),
    ]
    return _check(function, cases, "times")


def check_composite(function):
    """05: function(picture, mask, background) -> picture (H, W, 3) with the background's pixels where mask (H, W) is 0 and not 1."""
    picture, background, mask = np.arange(9.0).reshape(1, 3, 3) / 9, np.full((1, 3, 3), 0.5), np.array([[1, 0, 1]])
    expected = picture.copy()
    expected[0, 1] = 0.5
    return _check(function, [({"picture": picture, "mask": mask, "background": background}, expected)], "")


def check_times_larger(function):
    """05: function(green, unseen) -> mean error before unseen backgrounds over that before green, of errors (N,) mm with a sign."""
    cases = [
        ({"green": [-100.0, 100.0, 1.0], "unseen": [300.0, 200.0, -103.0]}, 3.0),
        ({"green": [50.0, -50.0], "unseen": [-25.0, 25.0]}, 0.5),
    ]
    return _check(function, cases, "")


def check_gaussian(function):
    """07: function(x, u, sigma) -> value of one Gaussian of height 1 at position x (2,) for a joint at u (2,), px."""
    cases = [
        ({"x": [3.0, 4.0], "u": [3.0, 4.0], "sigma": 2.0}, 1.0),
        ({"x": [5.0, 4.0], "u": [3.0, 4.0], "sigma": 2.0}, math.exp(-0.5)),
        ({"x": [0.0, 0.0], "u": [3.0, 4.0], "sigma": 5.0}, math.exp(-0.5)),
    ]
    return _check(function, cases, "")


def check_box_distances(function):
    """07: function(root, box) -> distances (4,) px from the root (x, y) to the left, top, right, bottom edge of the box x0 y0 x1 y1."""
    cases = [
        ({"root": [10.0, 20.0], "box": [4.0, 5.0, 18.0, 60.0]}, [6.0, 15.0, 8.0, 40.0]),
        ({"root": [0.5, 2.5], "box": [0.0, 0.0, 1.0, 4.0]}, [0.5, 2.5, 0.5, 1.5]),
    ]
    return _check(function, cases, "px")


def check_soft_argmax_1d(function):
    """10: function(logits, x, beta) -> expected place mm under softmax(beta logits); logits (N,), x (N,) mm."""
    two = (0.0 * 1 + 100.0 * math.e**2) / (1 + math.e**2)
    cases = [
        ({"logits": [0.0, 0.0, 0.0], "x": [-100.0, 0.0, 400.0], "beta": 7.0}, 100.0),
        ({"logits": [0.0, 1.0], "x": [0.0, 100.0], "beta": 2.0}, two),
        ({"logits": [900.0, 901.0], "x": [0.0, 100.0], "beta": 2.0}, two),  # exp(1802) is no number
        ({"logits": [-1.0, 3.0, 0.0], "x": [50.0, 60.0, 70.0], "beta": 100.0}, 60.0),
    ]
    return _check(function, cases, "mm")


def check_voxels_needed(function):
    """10: function(size, error) -> least number of voxels along `size` mm whose arg-max errs by at most `error` mm along that axis."""
    cases = [({"size": 2000.0, "error": 25.0}, 21), ({"size": 2000.0, "error": 10.0}, 51), ({"size": 1000.0, "error": 30.0}, 10)]
    return _check(function, cases, "voxels")


def check_depth_in_mm(function):
    """09: function(d, f, k) -> depth mm of d mm / px in pixels of a picture k times as wide, f px the focal length of the full one."""
    cases = [({"d": 10.0, "f": 2000.0, "k": 0.25}, 5000.0), ({"d": 4.0, "f": 1500.0, "k": 0.5}, 3000.0)]
    return _check(function, cases, "mm")


def check_gate(function):
    """09: function(z, in_box, depths, sigma) -> gate of a voxel at depth z mm: in_box (P,) 0 or 1, depths (P,) mm, sigma mm (Eq. 5)."""
    cases = [
        ({"z": 4000.0, "in_box": [1.0, 0.0], "depths": [4200.0, 4000.0], "sigma": 200.0}, math.exp(-0.5)),  # the nearer one has no box here
        ({"z": 4000.0, "in_box": [1.0, 1.0], "depths": [4200.0, 4100.0], "sigma": 200.0}, math.exp(-0.125)),
        ({"z": 3000.0, "in_box": [0.0, 0.0], "depths": [3000.0, 3000.0], "sigma": 400.0}, 0.0),
    ]
    return _check(function, cases, "")


def check_offset(function):
    """09: function(a, b, c) -> how far beside the middle voxel the Gaussian of three scores is centred, voxels, positive towards c."""

    def scores(at, width, height):
        return {k: height * math.exp(-((x - at) ** 2) / (2 * width**2)) for k, x in zip("abc", (-1, 0, 1))}

    return _check(function, [(scores(*case), case[0]) for case in ((0.3, 0.8, 1.0), (-0.45, 1.5, 0.6), (0.0, 1.0, 0.9))], "voxels")


def check_covered(function):
    """06: function(test, bank, radius) -> share of test bodies (N, J, 3) with one of the bank (M, J, 3) within radius, mean over joints."""
    rng = np.random.default_rng(6)
    test, bank = rng.normal(0, 60, (5, 4, 3)), rng.normal(0, 60, (7, 4, 3))
    nearest = np.array([min(np.linalg.norm(b - t, axis=-1).mean() for b in bank) for t in test])
    cases = [({"test": test, "bank": bank, "radius": r}, (nearest <= r).mean()) for r in np.sort(nearest)[[0, 2, 3]] + 1e-3]
    return _check(function, cases, "")


def check_error_of_posture(function):
    """06: function(d, gamma, known) -> signed error in depth, mm, of a method that takes everybody for factor `known`."""
    people = ((4000.0, 0.75, 1.0), (3000.0, 1.15, 1.0), (5000.0, 0.9, 0.8))
    cases = [({"d": d, "gamma": gamma, "known": known}, d * (known / gamma - 1)) for d, gamma, known in people]
    return _check(function, cases, "mm")


def check_pck_all(function):
    """12: function(errors, missed) -> share of joints within 150 mm over all people; errors mm of the found people's joints (N, J)."""
    errors = np.array([[10.0, 149.0, 151.0, 400.0], [20.0, 30.0, 40.0, 150.0]])
    cases = [({"errors": errors, "missed": 0}, 5 / 8), ({"errors": errors, "missed": 2}, 5 / 16)]
    return _check(function, cases, "")


def check_below(function):
    """12: function(errors, threshold) -> [mean of the errors below the threshold, share of them]; errors (N,) mm."""
    cases = [
        ({"errors": np.array([100.0, 200.0, 900.0, 1300.0]), "threshold": 500.0}, [150.0, 0.5]),
        ({"errors": np.array([100.0, 200.0, 600.0]), "threshold": 1000.0}, [300.0, 1.0]),
    ]
    return _check(function, cases, "mm and share")


def check_on_map(function):
    """08: function(u, stride) -> where on a map of `stride` x `stride` pixels each u (2,) px of the picture is, px of the map."""
    cases = [
        ({"u": [1.5, 1.5], "stride": 4}, [0.0, 0.0]),
        ({"u": [100.0, 41.5], "stride": 4}, [24.625, 10.0]),
        ({"u": [0.0, 7.5], "stride": 8}, [-0.4375, 0.5]),
    ]
    return _check(function, cases, "map px")


def check_pckh(function):
    """08: function(errors, heads) -> PCKh@0.5: errors (P, J) px, NaN: not asked for, infinite: not found; heads (P,) px."""
    errors = np.array([[2.0, 5.1, math.nan, 4.9], [9.0, 10.5, 3.0, math.nan], [math.inf] * 4])
    cases = [
        ({"errors": errors, "heads": np.array([10.0, 20.0, 12.0])}, 4 / 10),
        ({"errors": errors[:2], "heads": np.array([4.2, 7.0])}, 2 / 6),
    ]
    return _check(function, cases, "")


def check_interaction(function):
    """11: function(a) -> mm by which being told the camera lowers the error more in 3D than in 2D; a (2, 2) mm: 2D, 3D; not told, told."""
    tables = np.array([[400.0, 380.0], [360.0, 210.0]]), np.array([[300.0, 200.0], [250.0, 190.0]])
    return _check(function, [({"a": a}, a[1, 0] - a[1, 1] - a[0, 0] + a[0, 1]) for a in tables], "mm")


def check_on_floor(function):
    """11: function(h, f, v, s) -> [depth, its standard deviation] mm of feet seen v px (s.d. s px) below the middle, by a camera at height
    h mm that looks horizontally, with a focal length of f px."""
    cases = ((1600.0, 1400.0, 500.0, 2.0), (1200.0, 1000.0, 150.0, 3.0))
    return _check(function, [({"h": h, "f": f, "v": v, "s": s}, [h * f / v, h * f * s / v**2]) for h, f, v, s in cases], "mm")


def check_depth_of_child(function):
    """13: function(z, stature, adult) -> depth mm at which a method that takes everybody for `adult` mm tall puts somebody `stature` mm
    tall who stands at z mm."""
    people = ((4000.0, 1200.0, 1700.0), (3000.0, 1850.0, 1700.0), (5500.0, 1100.0, 1650.0))
    return _check(function, [({"z": z, "stature": s, "adult": a}, z * a / s) for z, s, a in people], "mm")


def check_depth_interval(function):
    """13: function(z, shares) -> [least, greatest] depth mm, one standard deviation each way, from independent relative errors (N,)."""
    cases = [
        ({"z": 4000.0, "shares": [0.05, 0.2]}, 4000 * (1 + math.hypot(0.05, 0.2) * np.array([-1, 1]))),
        ({"z": 3000.0, "shares": [0.03, 0.04, 0.12]}, [3000 * 0.87, 3000 * 1.13]),
    ]
    return _check(function, cases, "mm")


def check_verdict(function):
    """15: function(lo, hi, threshold) -> 1 holds, -1 fails, 0 inconclusive, of the claim "greater than the threshold"."""
    intervals = ((6, 8, 5, 1), (2, 4, 5, -1), (4, 7, 5, 0), (-9, -1, 0, -1), (-1, 9, 0, 0))
    return _check(function, [({"lo": lo, "hi": hi, "threshold": t}, v) for lo, hi, t, v in intervals], "")


def check_mean_and_sd(function):
    """15: function(values, seeds) -> [mean of the seeds' means, their standard deviation (ddof 1)]; values, seeds (N,)."""
    cases = [
        ({"values": [1.0, 3.0, 7.0, 9.0], "seeds": [0, 0, 1, 1]}, [5.0, math.sqrt(18)]),
        ({"values": [4.0, 10.0, 12.0, 14.0, 2.0], "seeds": [3, 7, 7, 7, 3]}, [7.5, math.sqrt(40.5)]),
    ]
    return _check(function, cases, "mm")
