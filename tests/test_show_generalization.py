"""Pictures and tables of the generalization study: what is drawn is what was handed in."""

import numpy as np
import pytest
import torch
from PIL import Image

from vp.camera import Camera
from vp.lab.pictures import Pictures
from vp.show import generalization as show
from vp.show import style

TABLES = {
    "TBS": (["14", "16", "many"], ["14", "16"], np.array([[100.0, 400.0], [300.0, 50.0], [200.0, np.nan]])),
    "BDR": (["14", "16", "many"], ["14", "16"], np.array([[80.0, 800.0], [90.0, 60.0], [70.0, 75.0]])),
}


def row(method, train, test, value, lo=None, hi=None):
    return {"method": method, "train": train, "test": test, "value": value, "lo": lo, "hi": hi}


def pictures(n=2, size=(16, 8)):
    k = Camera.from_angles(0.0, 0.0, size=size, focal=10.0)
    camera = Camera(*(torch.stack([x] * n) for x in (k.R, k.t, k.f, k.c)), k.size)
    joints = torch.zeros(n, 2, 15, 2)
    joints[:, 0, 2] = torch.tensor([5.0, 3.0])
    mask = torch.tensor([[True, False]] * n)
    image = torch.arange(n)[:, None, None, None].expand(n, 3, size[1], size[0]).to(torch.uint8) * 100
    return Pictures(
        image, camera, torch.zeros(n, 2, 4), joints, mask[..., None].expand(n, 2, 15), mask, torch.zeros(n, 2, 15), torch.zeros(n, 2), {}
    )


def texts(ax):
    return [t.get_text() for t in ax.texts]


def test_heat_maps_write_each_number_and_share_one_scale():
    fig = show.heat_maps(TABLES)
    first, second, bar = fig.axes
    assert texts(first) == ["100", "400", "300", "50", "200", "–"]
    assert texts(second) == ["80", "800", "90", "60", "70", "75"]
    assert {ax.images[0].get_clim() for ax in (first, second)} == {(0.0, 800.0)}, "one scale for all methods"
    assert [t.get_text() for t in first.get_yticklabels()] == ["14", "16", "many"]
    assert [t.get_text() for t in first.get_xticklabels()] == ["14", "16"]
    assert bar.get_ylabel() == "MRPE_z (mm)"


def test_heat_maps_frame_the_cells_of_the_own_camera_alone():
    framed = [(round(p.get_x() + 0.47), round(p.get_y() + 0.44)) for p in show.heat_maps(TABLES).axes[0].patches]
    assert framed == [(0, 0), (1, 1)]
    assert not show.heat_maps(TABLES, own=False).axes[0].patches


def test_numbers_in_cells_can_be_read():
    """White on dark and dark on bright."""
    ax = show.heat_maps(TABLES).axes[1]
    colours = dict(zip(texts(ax), (t.get_color() for t in ax.texts), strict=True))
    assert colours["60"] == "white"
    assert colours["800"] == style.INK


def test_heat_maps_of_nothing_known():
    fig = show.heat_maps({"TBS": (["a"], ["b"], np.array([[np.nan]]))})
    assert texts(fig.axes[0]) == ["–"]


def test_in_words_says_every_number():
    said = show.in_words(TABLES)
    assert said.startswith("TBS: trained on 14: 100 on 14, 400 on 16; trained on 16: 300 on 14, 50 on 16;")
    assert "BDR: trained on 14: 80 on 14, 800 on 16" in said


def test_same_scenes_draws_pictures_and_the_roots_that_count():
    fig = show.same_scenes({"a": pictures(), "b": pictures()}, rows=2)
    assert len(fig.axes) == 4
    assert [ax.get_title() for ax in fig.axes] == ["a", "b", "", ""]
    for k, ax in enumerate(fig.axes):
        np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), (k // 2) * 100 / 255, atol=1e-6)
        np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[5.0, 3.0]])
    assert not show.same_scenes({"a": pictures()}, roots=False).axes[0].lines
    assert not show.same_scenes({"a": pictures(1)}, rows=2).axes[1].images, "more rows than pictures"


def test_bars_have_the_values_intervals_and_levels():
    rows = [row("TBS", "green", "g", 100.0, 90.0, 120.0), row("TBS", "green", "a", 300.0), row("BDR", "green", "g", 50.0, 40.0, 55.0),
            row("BDR", "green", "a", 60.0, 50.0, 70.0), row("box size", "green", "g", 222.0),
            row("box size", "green", "a", 333.0)]  # fmt: skip
    _, ax = style.subplots()
    show.bars(ax, rows, ("g", "a"), ("box size",))
    assert [p.get_height() for p in ax.patches] == [100.0, 300.0, 50.0, 60.0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["TBS\ngreen", "BDR\ngreen"]
    levels = [line.get_ydata()[0] for line in ax.lines if list(line.get_ydata()) in ([222.0, 222.0], [333.0, 333.0])]
    assert levels == [222.0, 333.0, 222.0, 333.0]
    ends = sorted(y for c in ax.collections for path in c.get_segments() for y in path[:, 1])
    assert ends == [40.0, 50.0, 55.0, 70.0, 90.0, 120.0], "intervals; none where none is known"


def test_ranges_are_in_order_from_the_top():
    _, ax = style.subplots()
    show.ranges(ax, [("a", 2.0, (1.0, 4.0), style.BLUE, "o"), ("b", 3.0, None, style.BLUE, "s")], level=1.5)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[1.0, 0.0], [4.0, 0.0]])
    np.testing.assert_array_equal(ax.lines[3].get_xydata(), [[3.0, 1.0]])
    assert list(ax.lines[-1].get_xdata()) == [1.5, 1.5]


def test_table_puts_the_papers_numbers_beside_ours():
    rows = [row("TBS", "green", "MuCo (green)", 101.4, 90.2, 111.7), row("TBS", "green", "MuCo (augmented)", 202.0),
            row("box size", "green", "MuCo (green)", float("nan"))]  # fmt: skip
    paper = [
        {"row": "TBS / green", "column": "MuCo (green)", "value": 76.0},
        {"row": "TBS / green", "column": "MuCo (augmented)", "value": 281.6},
    ]
    head, _, first, second, *rest = show.table(rows, "virtual twin, quick", paper).splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in (head, first, second)]
    assert cells[0] == ["trained on", "method", "MuCo (green), virtual twin, quick", "MuCo (augmented), virtual twin, quick",
                        "MuCo (green), paper, real data", "MuCo (augmented), paper, real data"]  # fmt: skip
    assert cells[1] == ["green", "TBS", "101 [90, 112]", "202", "76.0", "281.6"]
    assert cells[2] == ["green", "box size", "–", "–", "–", "–"]
    assert "mm" in rest[-1]
    assert "paper" not in show.table(rows, "virtual twin, quick")


def test_agreement_is_in_metres_and_thinned():
    _, ax = style.subplots()
    show.agreement(ax, np.array([1000.0, 2000.0, 3000.0]), np.array([1500.0, 2500.0, 2900.0]), "TIF", (0, 4000), every=2)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0, 0], [4, 4]])
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), [[1.0, 1.5], [3.0, 2.9]])
    assert ax.lines[1].get_color() == show.COLOURS["TIF"]


@pytest.mark.parametrize("make", [lambda: show.heat_maps(TABLES), lambda: show.same_scenes({"a": pictures()})])
def test_stills_can_be_made(make):
    import io

    still = style.alt(make(), "what is to be seen here")
    assert Image.open(io.BytesIO(still.png)).size[0] > 200


def test_methods_differ_in_colour_and_marker():
    assert len(set(show.COLOURS.values())) == len(set(show.MARKERS.values())) == 3
    assert show.colour("my own") not in show.COLOURS.values()
