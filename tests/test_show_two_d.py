"""Pictures of the 2D stage: what is drawn lies where it belongs and is what was measured."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from conftest import close
from test_backbone_pictures import PLAIN, labelled
from test_two_d import MAP, QUICK, SIZE, Perfect, Stick, numbered, people

from vp.camera import rescale
from vp.lab import results, two_d
from vp.lab.labelled import Stream
from vp.show import style
from vp.show import two_d as show
from vp.skeleton import JOINTS_15


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    """Figures and their words instead of stills."""
    monkeypatch.setattr(style, "alt", lambda fig, text: (fig, " ".join(text.split())))


@pytest.fixture
def two():
    return numbered(labelled(torch.cat([people((60.0, 60.0), (150.0, 62.0)), people((80.0, 66.0), (180.0, 60.0), seed=1)]), SIZE))


def lines(ax, points):
    """Lines of so many points, (n, points, 2)."""
    return np.array([line.get_xydata() for line in ax.lines if len(line.get_xdata()) == points])


def corners(boxes):
    x0, y0, x1, y1 = np.asarray(boxes).T
    return np.stack([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]).transpose(2, 0, 1)


def test_a_map_covers_the_picture():
    _, ax = style.subplots()
    values = torch.zeros(32, 56)
    show.map_on(ax, values, SIZE)
    assert ax.images[0].get_extent() == [-0.5, 223.5, 127.5, -0.5]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "v points down"


def test_targets_are_drawn(two):
    batch = Stream((two,), QUICK, None)(0, 1)
    fig, words = show.target(batch, SIZE)
    picture, one, every, box = fig.axes[:4]
    close(np.asarray(picture.images[0].get_array()), batch.image[0].permute(1, 2, 0).numpy(), 1e-6)
    wrist = batch.agr.heatmaps[0, JOINTS_15.index("left_wrist")]
    close(np.asarray(one.images[0].get_array()), wrist.numpy(), 1e-6)
    assert "left wrist" in one.get_title()
    close(np.asarray(every.images[0].get_array()), batch.agr.heatmaps[0].amax(0).numpy(), 1e-6)
    close(lines(every, 5), corners(rescale(batch.agr.boxes[0], 4)), 1e-3)
    close(np.asarray(box.images[0].get_array()), batch.agr.box_map[0, 1].numpy(), 1e-6)
    assert fig.axes[4].get_ylabel() == "distance (map px)"
    assert "2 people" in words


def test_what_no_longer_counts_is_grey():
    cut = labelled(people((4.0, 60.0), (150.0, 62.0)), SIZE)  # one half outside the picture, which then shrinks
    moved = Stream((cut,), QUICK, replace(PLAIN, scale=(0.6, 0.6)))(0, 1)
    fig, words = show.augmented({"as it is": Stream((cut,), QUICK, PLAIN)(0, 1), "smaller": moved}, SIZE)
    above, grey = [ax.get_title() for ax in fig.axes[:2]], [np.asarray(ax.images[1].get_array()) for ax in fig.axes[2:]]
    assert above == ["as it is", "smaller"]
    assert np.isnan(grey[0].astype(float)).all()
    left_out = ~moved.weight[0].all(0).numpy()
    assert left_out.any(), "joints that the picture does not show"
    assert np.array_equal(np.isfinite(np.ma.filled(grey[1].astype(float), np.nan)), left_out)
    assert "as it is, smaller" in words


def test_what_the_network_found(two):
    index = torch.tensor([1, 0])
    truth = show.draw_truth(two, MAP, index)
    fig, words = show.seen(Perfect(two), two, index, truth)
    assert "2 found where 2 are; 2 found where 2 are" in words
    picture, net, true = fig.axes[:3]
    assert picture.get_title() == "found: 2, there are: 2"
    close(np.asarray(picture.images[0].get_array()), two.images(index)[0].permute(1, 2, 0).numpy(), 1e-6)
    close(np.asarray(net.images[0].get_array()), truth.heatmaps[0].amax(0).numpy(), 1e-6)
    close(lines(true, 5), corners(rescale(truth.boxes[0], 4)), 1e-3)
    drawn, wanted = (np.sort(lines(ax, 5)[:, 0, 0]) for ax in (net, true))
    close(drawn, wanted, 0.5)
    joints = np.concatenate([c.get_offsets() for c in picture.collections])
    assert len(joints) == 30
    far = np.linalg.norm(joints[:, None] - two.uv[1].reshape(1, -1, 2).numpy(), axis=-1).min(1)
    assert far.max() < 1.5, "px of the picture"


def test_nobody_found_and_nobody_there():
    empty = numbered(labelled(people((-400.0, 60.0)), SIZE))
    fig, words = show.seen(Perfect(empty), empty, torch.tensor([0]), show.draw_truth(empty, MAP))
    assert "0 found where 0 are" in words
    assert len(lines(fig.axes[1], 5)) == 0


@pytest.mark.parametrize("size", [(300, 200), (100, 400)])
def test_photos_of_any_shape(size, tmp_path):
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), np.full((size[1], size[0], 3), 90, np.uint8))
    uv = people((112.0, 62.0))
    fig, words = show.photos(Stick(uv), [file])
    assert "found: 1 people" in words
    assert fig.axes[0].get_title() == "1 people found"
    (offsets,) = (c.get_offsets() for c in fig.axes[0].collections)
    close(np.asarray(offsets), uv[0, 0].numpy(), 1.0)
    shown = np.asarray(fig.axes[0].images[0].get_array())
    assert shown.shape == (128, 224, 3)
    assert shown[64, 112, 0] == pytest.approx(90 / 255, abs=1e-6)


def test_examples_show_a_few_people_apart():
    P = 5

    def scene(*where):
        uv, present = torch.zeros(1, P, 15, 2), torch.zeros(1, P, 15, dtype=torch.bool)
        if where:
            uv[:, : len(where)], present[:, : len(where)] = people(*where), True
        return uv, present

    crowd = [(20.0 + 40 * k, 62.0) for k in range(5)]
    made = [scene(), scene(*crowd), scene((60.0, 60.0), (66.0, 60.0)), scene((60.0, 60.0), (160.0, 60.0)), scene((60.0, 60.0))]
    p = labelled(torch.cat([uv for uv, _ in made]), SIZE)
    p.present = torch.cat([x for _, x in made])
    assert show.examples(p, show.draw_truth(p, MAP), 2).tolist() == [3, 2]
    alone = labelled(people((60.0, 60.0)), SIZE)
    assert show.examples(alone, show.draw_truth(alone, MAP), 2).tolist() == [0]


def test_scores_by_group(two):
    reports, ceilings = {"mupots": two_d.report(Perfect(two, shift=(3, 0)), two)}, {"mupots": two_d.ceiling(two, MAP)}
    fig, words = show.by_group(reports, ceilings)
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == list(two_d.GROUPS)
    assert ax.lines[0].get_ydata().tolist() == [reports["mupots"]["pckh"][g] for g in two_d.GROUPS]
    assert ax.lines[1].get_ydata().tolist() == [1.0] * len(two_d.GROUPS)
    assert f"mupots {reports['mupots']['pckh']['all']:.2f} of 1.00" in words


def test_intervals_are_those_of_the_rows():
    def row(test, train, value, interval=None):
        return results.row("chain", "mrpe_z", value, "mm", interval, test=test, train=train)

    rows = [row("a", "x", 100.0, (80.0, 120.0)), row("a", "y", 200.0), row("a", "z", 1.0), row("b", "x", float("nan"))]
    fig, words = show.intervals(rows, {"x": ("first", style.BLUE, "o"), "y": ("second", style.ORANGE, "s")}, "error (mm)")
    ax = fig.axes[0]
    points, spans = [line.get_xydata()[0] for line in ax.lines if len(line.get_xdata()) == 1], lines(ax, 2)
    assert [x for x, _ in points[:2]] == [100.0, 200.0]
    assert len(points) == 3, "z has no label"
    assert spans[0][:, 0].tolist() == [80.0, 120.0]
    assert spans[0][0, 1] == points[0][1]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "", "b"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["first", "second"]
    assert "a, first: 100; a, second: 200; b, first: nan" in words
    fig, _ = show.intervals(rows[:2], {"x": ("first", style.BLUE, "o"), "y": ("second", style.ORANGE, "s")}, "mm", ("train", "train"))
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["x", "y"]
    assert fig.axes[0].get_legend() is None
