"""Climbing and hanging: hands that reach where they hold, the centre of mass below them."""

import pytest
import torch

from vp.skeleton import JOINTS_17
from vp.world.activities import sample_poses
from vp.world.body import sample_people
from vp.world.high import centre_of_mass, hold, shape
from vp.world.limbs import blank

J = {name: i for i, name in enumerate(JOINTS_17.joints)}


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def test_climbers_hold_on_to_one_upright_plane():
    """Hands and toes (0.09 of the stature ahead of the ankle) at one distance ahead of mid-hip, one foot a step up."""
    people = sample_people(400, gen())
    joints = sample_poses(people, "climbing", gen())[0] / people.stature[:, None, None]
    hands, ankles = ([J[f"{s}_{p}"] for s in ("left", "right")] for p in ("wrist", "ankle"))
    reached = torch.cat([joints[:, hands, 0], joints[:, ankles, 0] + 0.09], 1)
    assert float((reached.amax(1) - reached.amin(1)).quantile(0.9)) < 0.02  # the others reach as far as they can
    step = (joints[:, ankles[0], 2] - joints[:, ankles[1], 2]).abs()
    assert float(step.quantile(0.05)) > 0.06
    assert float(step.max()) < 0.3
    lean = torch.rad2deg(torch.atan2(joints[:, J["neck"], 0], joints[:, J["neck"], 2] - joints[:, J["mid_hip"], 2]))
    assert float(lean.abs().max()) < 25  # nobody lies


def test_who_hangs_hangs_below_the_hands():
    people = sample_people(400, gen())
    joints = sample_poses(people, "hanging", gen())[0]
    hands = joints[:, [J["left_wrist"], J["right_wrist"]]]
    trunk = torch.lerp(joints[:, J["mid_hip"]], joints[:, J["neck"]], 0.5)
    assert bool((hands[..., 2].amin(1) > trunk[:, 2]).all())
    assert float(((hands[:, 0, 2] - hands[:, 1, 2]).abs() / people.stature).quantile(0.9)) < 0.03  # one bar
    body = centre_of_mass(joints)
    assert float(((hands[..., 0].mean(1) - body[:, 0]).abs() / people.stature).quantile(0.9)) < 0.12
    assert float((hands[..., 2].mean(1) / people.stature).quantile(0.99)) < 1.41  # the bar is at 1.25 to 1.4 statures


def test_centre_of_mass_by_hand():
    """Everything in one place but the left wrist, one metre away: 0.022 x 0.682 of the body is drawn along."""
    joints = torch.zeros(1, 17, 3)
    joints[0, J["left_wrist"], 1] = 1000.0
    assert centre_of_mass(joints)[0].tolist() == pytest.approx([0, 15.004, 0], abs=1e-3)
    moved = centre_of_mass(torch.full((1, 17, 3), 7.0))  # the shares make a whole
    assert moved[0].tolist() == pytest.approx([7, 7, 7], abs=1e-5)


def test_hold_puts_the_hand_there():
    people = sample_people(60, gen())
    b = blank(60, gen())
    b[:, J["spine"], 0] = 0.3
    start = shape(b, people)[:, J["left_shoulder"]]
    hand = start + torch.tensor([0.15, 0.05, 0.12])
    hold(b, "left", hand, torch.tensor([[0.0, 1.0, -1.0]]).expand(60, -1), people)
    x = shape(b, people)
    assert float((x[:, J["left_wrist"]] - hand).norm(dim=-1).max()) < 3e-3  # shares of stature: the collarbone has settled
    along = (x[:, J["left_elbow"]] - (x[:, J["left_wrist"]] + x[:, J["left_shoulder"]]) / 2) @ torch.tensor([0.0, 1.0, -1.0])
    assert bool((along > 0).all())  # the elbow points outward and down
    far = blank(60, gen())
    away = shape(far, people)[:, J["right_shoulder"]] + torch.tensor([2.0, 0, 0])
    hold(far, "right", away, torch.tensor([[0.0, 0, -1]]).expand(60, -1), people)
    y = shape(far, people)
    arm = y[:, J["right_wrist"]] - y[:, J["right_shoulder"]]
    whole = people.offsets[:, [J["right_elbow"], J["right_wrist"]]].norm(dim=-1).sum(1) / people.stature
    torch.testing.assert_close(arm.norm(dim=-1), 0.99 * whole, atol=1e-4, rtol=0)
    assert float((arm[:, 0] / arm.norm(dim=-1)).min()) > 0.99
