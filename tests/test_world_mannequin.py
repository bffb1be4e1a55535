"""Clothes: what covers what, and in which colours."""

import numpy as np
import torch

from vp.camera import Camera
from vp.skeleton import JOINTS_17
from vp.world.mannequin import BOTTOM, SKIN, TOP, clothes, mannequin
from vp.world.poses import person
from vp.world.render import render_people


def test_no_trousers_come_through_the_top():
    """Striding, in a red top and blue jeans: what is above the hem and about the trunk is red, though the thigh is further out there."""
    wardrobe = torch.full((1, 1, 16), 0.3)
    wardrobe[..., 3], wardrobe[..., 4], wardrobe[..., 9], wardrobe[..., 14], wardrobe[..., 0] = 0.0, 0.79, 1.5 / 9, 0.0, 0.9
    joints = person("walking", 1750)
    at = {j: JOINTS_17.index(j) for j in ("mid_hip", "spine", "left_knee", "right_knee")}
    for side in ("left", "right"):  # both thighs forward, a third of the way to level
        knee, hip = at[f"{side}_knee"], JOINTS_17.index(f"{side}_hip")
        joints[knee] = joints[hip] + 400 * torch.tensor([0.6, 0.0, -0.8])
        joints[JOINTS_17.index(f"{side}_ankle")] = joints[knee] + 400 * torch.tensor([-0.3, 0.0, -0.954])
    eye = torch.tensor([[1500.0, 900.0, 1000.0]])
    camera = Camera.look_at(eye, torch.tensor([[0, 0, 900.0]]), focal=torch.tensor([220.0]), size=(128, 160))
    pic = render_people(joints[None, None], torch.ones(1, 1, dtype=torch.bool), wardrobe, torch.full((1, 1), 1750.0), camera, "green")
    v, u = (pic.instance[0] == 0).nonzero().unbind(-1)
    place, _ = camera.unproject(torch.stack([u, v], -1)[None].double(), pic.depth[0, v, u][None].double())
    place, up = place[0] - joints[at["mid_hip"]], joints[at["spine"]] - joints[at["mid_hip"]]
    up = up / up.norm()
    high = place @ up
    out = (place - high[:, None] * up).norm(dim=-1)
    trunk = (high > -30) & (high < 60) & (out < 150) & (place[:, 0] > 60)
    red, _, blue = pic.image[0][:, v[trunk], u[trunk]]
    assert trunk.sum() > 60
    assert (red > blue).float().mean() > 0.97


def test_no_cloth_is_taken_for_skin():
    """Of 4000 wardrobes, none has a warm top or trousers near the colour of the skin; the blue that takes its place is a mirror of it."""
    wardrobe = torch.rand(4000, 16, generator=torch.Generator().manual_seed(0))
    palette = clothes(wardrobe)[0]
    skin = palette[:, SKIN, :3].numpy()
    blue = 0
    for garment in (TOP, BOTTOM):
        for c, s in zip(palette[:, garment, :3].numpy(), skin, strict=True):
            assert np.linalg.norm(c - s) >= 0.36 or c[0] <= c[2]
            blue += c[2] > c[0]
    assert 0.3 < blue / 8000 < 0.8


def test_who_has_no_head_top_has_a_head():
    """Panoptic's people: the head is drawn where the trunk points, near where it would be; nothing else changes."""
    joints, stature, wardrobe = person("standing", 1750)[None], torch.tensor([1750.0]), torch.full((1, 16), 0.3)
    lacking = joints.clone()
    lacking[:, [JOINTS_17.index("head_top"), JOINTS_17.index("head")]] = torch.nan
    whole, guessed = (mannequin(j, stature, wardrobe) for j in (joints, lacking))
    assert guessed.a.isfinite().all()
    assert (guessed.head_at - whole.head_at).norm() < 60
    k = [i for i, name in enumerate(whole.names) if name.endswith(("thigh", "shank", "chest"))]
    assert len(k) > 4
    assert torch.equal(guessed.a[:, k], whole.a[:, k])
