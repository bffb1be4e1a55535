"""Each exercise: its checker fails on the stub, passes on the solution, fails on a plausible wrong answer."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "notebooks"), str(ROOT / "notebooks" / "solutions")]
import ablations  # noqa: E402
import agr  # noqa: E402
import backgrounds  # noqa: E402
import benchmarks  # noqa: E402
import camera_views  # noqa: E402
import claims_ledger  # noqa: E402
import depth_baselines  # noqa: E402
import exercises  # noqa: E402
import human_poses  # noqa: E402
import images_to_agr  # noqa: E402
import pinhole_depth  # noqa: E402
import pose_estimation  # noqa: E402
import poses_and_cameras  # noqa: E402
import qualitative  # noqa: E402
import root_estimation  # noqa: E402
import start_here  # noqa: E402

CASES = {  # checker -> solution, plausible wrong answer
    "check_camera_centre": (start_here.camera_centre, lambda R, t: -R @ t),  # forgot the transpose
    "check_depth": (pinhole_depth.depth, lambda f, gamma, h_real, theta, h_img: f * gamma * h_real / h_img),  # forgot cos θ
    "check_depth_error": (pinhole_depth.depth_error, lambda d, spread: d * (1 + spread)),  # the depth, not its error
    "check_floor_depth": (pinhole_depth.floor_depth, lambda f, height, theta, v: height / (math.sin(theta) + v / f)),  # small angles
    "check_posture_factor": (poses_and_cameras.posture_factor, lambda z, h_real: (z.max() - z.min()) / h_real),  # NaN spreads
    "check_camera_of_rule": (camera_views.camera_of_rule, lambda a, b: (math.degrees(math.atan2(b, a)), 1 / math.hypot(a, b))),
    "check_said_depth": (camera_views.said_depth, lambda d, z, h, p, lh, lp: d * (lh - z) / (h - z)),  # forgot the pitch
    "check_off_over_on": (camera_views.off_over_on, lambda t: (t.sum(1) - np.diag(t)) / (len(t) - 1) / np.diag(t)),  # rows, not columns
    "check_times_seen": (backgrounds.times_seen, lambda steps, batch, share, pictures: steps * batch / pictures),  # forgot the share
    "check_composite": (backgrounds.composite, lambda picture, mask, background: np.where(mask[..., None], background, picture)),
    "check_times_larger": (backgrounds.times_larger, lambda green, unseen: np.mean(np.abs(unseen) / np.abs(green))),  # mean of ratios
    "check_box_k": (depth_baselines.box_k, lambda box, fx, fy: 2000 * math.sqrt(fx * fy) / max(box[2] - box[0], box[3] - box[1])),
    "check_gamma_needed": (depth_baselines.gamma_needed, lambda gamma, h, theta: gamma * h * math.cos(theta) / 2000),  # k's box is larger
    "check_soft_depth": (depth_baselines.soft_depth, lambda x, bins: (np.exp(x) * bins).sum() / np.exp(x).sum()),  # no logarithm
    "check_place": (depth_baselines.place, lambda u, d, f, c: [*(u * d / f), d]),  # forgot the principal point
    "check_gaussian": (agr.gaussian, lambda x, u, sigma: math.exp(-math.dist(x, u) / (2 * sigma**2))),  # forgot the square
    "check_box_distances": (agr.box_distances, lambda root, box: [box[2] - root[0], box[3] - root[1], root[0] - box[0], root[1] - box[1]]),
    "check_soft_argmax_1d": (  # forgot beta
        pose_estimation.soft_argmax_1d, lambda logits, x, beta: pose_estimation.soft_argmax_1d(logits, x, 1.0)
    ),
    "check_voxels_needed": (pose_estimation.voxels_needed, lambda size, error: math.ceil(size / (4 * error))),  # spaces, not voxels
    "check_repair": (poses_and_cameras.repair, lambda R: R * np.array([1.0, -1.0, 1.0])),  # breaks the right-handed ones
    "check_depth_in_mm": (root_estimation.depth_in_mm, lambda d, f, k: d * f),  # forgot the scale
    "check_gate": (root_estimation.gate_of_voxel, lambda z, box, depths, sigma: sum(box * np.exp(-((z - depths) ** 2) / 2 / sigma**2))),
    "check_offset": (root_estimation.offset, lambda a, b, c: (c - a) / (a + b + c)),  # the centre of mass hardly leaves the middle
    "check_covered": (  # every joint near, not their mean
        human_poses.covered, lambda test, bank, r: (np.linalg.norm(test[:, None] - bank, axis=-1).max(-1).min(1) <= r).mean()
    ),
    "check_pck_all": (benchmarks.pck_all, lambda errors, missed: (errors < 150).mean()),  # forgot the missed
    "check_below": (benchmarks.below, lambda errors, threshold: [np.minimum(errors, threshold).mean(), (errors < threshold).mean()]),
    "check_interaction": (ablations.interaction, lambda a: a[1, 1] - a[0, 1]),  # what 3D is worth to who is told
    "check_on_floor": (ablations.on_floor, lambda h, f, v, s: [h * f / v, s * h / f]),  # as if the depth were linear in v
    "check_on_map": (images_to_agr.on_map, lambda u, stride: u / stride),  # forgot where pixel centres are
    "check_pckh": (images_to_agr.pckh, lambda e, heads: (e <= heads[:, None] / 2)[np.isfinite(e)].mean()),  # forgot the missed
    "check_verdict": (claims_ledger.verdict, lambda lo, hi, threshold: 1 if (lo + hi) / 2 > threshold else -1),  # never undecided
    "check_mean_and_sd": (claims_ledger.mean_and_sd, lambda values, seeds: [values.mean(), values.std(ddof=1)]),  # scenes as if seeds
    "check_depth_of_child": (qualitative.depth_of_child, lambda z, stature, adult: z * stature / adult),  # the wrong way round
    "check_depth_interval": (  # shares added, not their squares
        qualitative.depth_interval, lambda z, shares: [z * (1 - shares.sum()), z * (1 + shares.sum())]
    ),
    "check_error_of_posture": (human_poses.error_of_posture, lambda d, gamma, known: d * (gamma / known - 1)),  # the wrong way round
}


def test_every_checker_is_tested():
    assert {n for n in dir(exercises) if n.startswith("check_")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_checker(name):
    check, (solution, wrong) = getattr(exercises, name), CASES[name]

    def stub(*_):
        raise NotImplementedError("your turn")

    assert check(solution), repr(check(solution))
    assert not check(stub)
    assert "NotImplementedError" in repr(check(stub))
    assert not check(wrong)
    assert "expected" in repr(check(wrong))
    assert not check(lambda *_: None)
    assert not check(lambda *_: [1.0, 2.0])


def test_answers_cannot_overwrite_what_is_expected():
    def cheat(R):
        R *= 0
        return R

    assert not exercises.check_repair(cheat)
    assert not exercises.check_depth_error(lambda d, spread: d * spread / (1 + spread))  # right if d were the true depth


def test_each_checker_is_called_once_on_a_stub_in_a_notebook():
    called = {}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            source = "".join(cell["source"])
            for name in CASES:
                if cell["cell_type"] == "code" and f"exercises.{name}(" in source:
                    called.setdefault(name, []).append(path.name)
                    assert "NotImplementedError" in source, f"{path.name}: the stub of {name} must raise"
    assert set(called) == set(CASES)
    assert all(len(v) == 1 for v in called.values()), called
