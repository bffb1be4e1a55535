"""The picture of what each method looks at: crops, attention and depth map are the methods' own, and the depths are those they say."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_methods import awake, made_up

from vp.nets.method import ROOT
from vp.nets.tbs import box_depth, square
from vp.nets.tif import TIF
from vp.show import methods, style

SIZE = (96, 64)


@pytest.fixture(scope="module")
def drawn():
    """Views, methods that say different things, figure and words of the second picture."""
    views = made_up(B=2, P=3, size=SIZE)
    nets = {name: awake(name) for name in ("TBS", "TIF", "BDR")}
    return views, nets, *methods.looked_at(views, nets, 1)


def texts(ax):
    return [t.get_text() for t in ax.texts]


def test_every_depth_is_the_methods_and_everybody_who_counts_is_there(drawn):
    views, nets, fig, words = drawn
    true, who = views.depth[1, :, ROOT] / 1000, views.mask[1].nonzero().flatten().tolist()
    assert who == [0, 1], "the made-up picture lacks its last person"
    said = {m: net.depths(views)[1].detach() / 1000 for m, net in nets.items()}
    picture, crops, attention, depth = fig.axes[:4]
    assert texts(picture) == [f"{'AB'[p]} {true[p]:.2f} m" for p in who]
    assert texts(attention) == [f"{'AB'[p]} {said['TIF'][p]:.2f} m" for p in who]
    assert texts(depth) == [f"{'AB'[p]} {said['BDR'][p]:.2f} m" for p in who]
    k = box_depth(square(views.boxes), views.camera)[1] / 1000
    assert texts(crops) == [f"{'AB'[p]}\nk = {k[p]:.2f} m\n× γ = {said['TBS'][p] / k[p]:.2f}\n= {said['TBS'][p]:.2f} m" for p in who]
    for p in who:
        assert f"{'AB'[p]} true {true[p]:.2f}, TBS {said['TBS'][p]:.2f}, TIF {said['TIF'][p]:.2f}, BDR {said['BDR'][p]:.2f}" in words
    assert "C true" not in words


def test_what_is_shown_is_what_the_methods_see(drawn):
    views, nets, fig, _ = drawn
    picture, strip, dimmed, depth = (np.asarray(ax.images[0].get_array()) for ax in fig.axes[:4])
    assert np.allclose(picture, views.image[1].permute(1, 2, 0).numpy())
    one = methods._only(views, 1)
    assert strip.shape == (32, 2 * 32 + 4, 3)
    assert np.allclose(strip[:, 36:], methods._crops(nets["TBS"], one, [1])[0].permute(1, 2, 0).numpy(), atol=1e-6)
    with torch.no_grad():
        assert np.allclose(depth, nets["BDR"](one)["depth"][0, ROOT].numpy() / 1000, rtol=1e-5)
    assert np.abs(dimmed - 0.35 * picture).max() > 0.2, "attention is drawn"
    assert fig.axes[4].get_ylabel() == "depth (m)", "the colours have a unit"


def test_attention_is_highest_at_the_persons_joints():
    views = methods._only(made_up(B=1, P=2, size=SIZE), 0)
    views.mask[:] = True
    views.known[:] = False
    views.known[..., ROOT] = True
    for p, at in enumerate(((20.0, 16.0), (72.0, 44.0))):
        views.joints[0, p, ROOT] = torch.tensor(at)
    masks = methods._attention(TIF(bins=4, depth=18, width=8, deconv=16).eval(), views)
    assert masks.shape == (2, SIZE[1], SIZE[0])
    for mask, (u, v) in zip(masks, ((20, 16), (72, 44))):
        y, x = divmod(int(mask.argmax()), SIZE[0])
        assert max(abs(x - u), abs(y - v)) <= 4
        assert float(mask.max()) == pytest.approx(1.0)


def pictures(*people, size=(100, 60)):
    """One picture per list of roots (u, v), boxes of 10 px about them."""
    P = max(map(len, people))
    joints, mask = torch.zeros(len(people), P, 15, 2), torch.zeros(len(people), P, dtype=torch.bool)
    for i, roots in enumerate(people):
        mask[i, : len(roots)] = True
        joints[i, : len(roots)] = torch.tensor(roots, dtype=torch.float32)[:, None]
    centre, high = joints[:, :, ROOT], torch.tensor(size) - 0.5
    boxes = torch.cat([(centre - 5).clamp(min=-0.5), torch.minimum(centre + 5, high)], -1)
    return SimpleNamespace(camera=SimpleNamespace(size=size), boxes=boxes, mask=mask, joints=joints)


def test_chooses_a_picture_on_which_people_can_be_told_apart():
    near, cut, apart = [(50, 30), (52, 30), (60, 30)], [(1, 30), (50, 30), (98, 30)], [(20, 30), (50, 30), (80, 30)]
    assert methods.choose(pictures(near, cut, apart)) == 2
    assert methods.choose(pictures(apart, near)) == 0
    assert methods.choose(pictures(near, cut)) == 0, "two cut off are worse than near"
    assert methods.choose(pictures(near, [(1, 30), (50, 30), (90, 30)])) == 1, "one may be cut off"
    assert methods.choose(pictures([(20, 10), (22, 50), (80, 30)], [(40, 30), (50, 30), (60, 30)])) == 1, "beside, not behind each other"
    assert methods.choose(pictures([(50, 30)], near)) == 1
    assert methods.choose(pictures([*near, (80, 30)], [(20, 30), (60, 30)])) == 1, "a crowd is hard to look at"


def test_needed_gamma_shows_medians_in_their_bins_and_nothing_where_nobody_is():
    _, ax = style.subplots()
    x = np.repeat([5.0, 15.0, 25.0], 21)
    gamma = np.concatenate([np.linspace(0.9, 1.1, 21), np.linspace(0.4, 0.6, 21), np.full(21, 9.0)])
    among = x < 20
    methods.needed_gamma(ax, x, gamma, {"all": among}, (0, 10, 20, 30))
    line = ax.lines[0]
    assert np.allclose(line.get_xdata(), (5, 15, 25))
    assert np.allclose(line.get_ydata(), (1.0, 0.5, np.nan), equal_nan=True)
    spans = ax.collections[0].get_segments()
    assert np.allclose(np.ptp(spans[0][:, 1]), 0.16), "the middle 80 %"
    methods.needed_gamma(ax, x, gamma, {"a": among, "b": ~among}, (0, 20, 30), ("low", "high"))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["low", "high"]
    assert ax.lines[1].get_xdata()[0] < 0 < ax.lines[2].get_xdata()[0], "groups stand beside each other"
    assert np.allclose(ax.lines[2].get_ydata(), (np.nan, 9.0), equal_nan=True)
