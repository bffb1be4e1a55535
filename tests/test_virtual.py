"""What notebooks 02 and 07 measure and show of the virtual world, against naive versions and hand-made cases."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from vp.errors import InputError
from vp.lab import datasets, profiles, results, views, virtual
from vp.sample import Sample
from vp.show import style
from vp.skeleton import JOINTS_15, PANOPTIC_19
from vp.world import coverage
from vp.world.agr import agr
from vp.world.bank import PoseBank
from vp.world.body import sample_people
from vp.world.cameras import panoptic


@pytest.fixture(scope="module")
def data():
    return datasets.load("panoptic")


# ---- AGR ---------------------------------------------------------------------------------------------------------------------------


def test_change_of_the_heatmaps_is_the_naive_share(data):
    def maps(changed):
        scenes = data.scenes(40, 3, changed=changed, camera="panoptic")
        uv, _, known = (x[:, :, :15] for x in scenes.uv())
        return agr(uv.float(), known, scenes.mask, scenes.camera.size, (240, 128)).heatmaps.double().numpy()

    one, other = maps(None), maps({"posture": 4})
    naive = np.abs(one - other).sum() / one.sum()
    assert virtual.agr_change(data, "posture", 40, 3) == pytest.approx(naive, rel=1e-6)
    assert virtual.agr_change(data, "light", 8, 3) == 0


def test_another_camera_is_another_one_in_every_scene(data):
    k = virtual.another_camera(data, 3, 5)
    before = data.scenes(3, 5, camera="panoptic").camera.R
    same = [(before == data.scenes(3, 5, changed={"camera": i}, camera="panoptic").camera.R).all(-1).all(-1) for i in range(1, k + 1)]
    assert not same[-1].any()
    assert all(s.any() for s in same[:-1]), "and it is the first such seed"


def test_peaks_are_read_back_where_they_were_drawn():
    errors = virtual.peak_errors(20, 0)
    again = virtual.peak_errors(20, 0)
    for name, e in errors.items():
        assert e.shape == (20,)
        assert np.array_equal(e, again[name])
    assert errors["ours"].max() < 0.1
    # truncation of the position and of the patch: up to 2 px along each axis, hardly ever none
    assert 0.3 < errors["published"].mean() < 2.2
    assert errors["published"].max() < 2 * np.sqrt(2) + 0.1


# ---- coverage ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report():
    """Recorded: 7 virtual bodies, of another stature, the last moved a little; virtual: those 7 backwards, and 20 others."""
    g = torch.Generator().manual_seed(0)
    bank = PoseBank.procedural(27, "all", sample_people(27, g), g)
    recorded = bank[torch.arange(7)].rescale(1500.0)
    recorded.joints[6, 5] += torch.tensor([0.0, 150.0, 0.0])  # left wrist; at 1750 mm and over 15 joints: 150 * 1750 / 1500 / 15 mm
    virtual_ones = bank[torch.tensor([*range(6, -1, -1), *range(7, 27)])]
    found = coverage.measure(recorded, virtual_ones, frames=7, back=27)
    return virtual.CoverageReport(found, recorded, virtual_ones, torch.arange(7))


def test_rows_and_sentence_say_what_was_measured(report):
    found = replace(report.found, distance=torch.tensor([10.0, 79.0, 100.0, 130.0]), reverse=torch.tensor([119.0, 121.0, 300.0]))
    rows = virtual.coverage_rows(replace(report, found=found), notebook="02_poses_and_cameras", profile="smoke")
    values = {(r["method"], r["metric"]): (r["value"], r["n"]) for r in rows}
    assert values["recorded by virtual", "within 80 mm"] == (50.0, 4)
    assert values["recorded by virtual", "within 120 mm"] == (75.0, 4)
    assert values["recorded by virtual", "within 160 mm"] == (100.0, 4)
    assert values["virtual by recorded", "within 120 mm"] == (pytest.approx(100 / 3), 3)
    other = results.row("gamma", "median", 0.96)
    sentence = virtual.coverage_sentence([other, *rows])
    assert "50.0 / 75.0 / 100.0 % of 4 recorded frames lie within 80 / 120 / 160 mm of one of 27 virtual poses" in sentence
    assert "33.3 % of 3 virtual poses lie within 120 mm" in sentence
    assert "not measured" in virtual.coverage_sentence([other])
    assert not re.search(r"\d", virtual.coverage_sentence([other])), "no number without a row"


def test_the_sheet_pairs_each_frame_with_its_nearest_from_best_to_worst(report):
    assert report.found.index.tolist() == [6, 5, 4, 3, 2, 1, 0]
    still = virtual.nearest_sheet(report, n=7)
    steps = [int(x) for x in re.search(r"at ([\d, ]+) mm", repr(still))[1].split(",")]
    assert steps == [0] * 6 + [round(150 * 1750 / 1500 / 15)]
    picture = cv2.imdecode(np.frombuffer(still.png, np.uint8), cv2.IMREAD_COLOR).astype(int)
    h = (picture.shape[0] - 2 * 16) // 2
    above, below = picture[16 : 16 + h], picture[32 + h : 32 + 2 * h]
    width = picture.shape[1] // 7
    differs = [(np.abs(above - below).max(-1)[:, i * width : (i + 1) * width] > 60).sum() for i in range(7)]
    assert max(differs[:6]) < 0.25 * differs[6], "the same pose above and below, but for the last"
    assert virtual.coverage_picture(report).png[:4] == b"\x89PNG"


def test_frames_of_the_report_are_those_that_were_measured(shared):
    found = virtual.coverage(shared / "data" / "bvh", profiles.resolve("smoke"))
    assert len(found.frames) == len(found.found.distance)
    recorded, made = coverage.aligned(found.recorded), coverage.aligned(found.virtual)
    for i in (0, 7, len(found.frames) - 1):
        gap = (recorded[found.frames[i]] - made[found.found.index[i]]).norm(dim=-1)
        assert float(gap[~gap.isnan()].mean()) == pytest.approx(float(found.found.distance[i]), abs=0.1)


def test_activities_sheet_has_a_row_for_each():
    one, two = (virtual.activity_sheet(names, n=4) for names in (("walking",), ("walking", "sitting")))
    heights = [cv2.imdecode(np.frombuffer(s.png, np.uint8), cv2.IMREAD_COLOR).shape[0] for s in (one, two)]
    assert heights[1] == 2 * heights[0]
    assert "walking, sitting" in repr(two)


# ---- pictures ----------------------------------------------------------------------------------------------------------------------


def test_every_joint_is_seen_hidden_or_outside(data):
    said = [int(x) for x in re.findall(r"\d+", repr(views.hidden_joints(data, 2)))]
    scenes = data.scenes(1, 2)
    seen, _, other, outside = said
    assert sum(said) == int((scenes.valid & scenes.mask[..., None]).sum())
    assert seen == int((scenes.visible & scenes.in_image()).sum())
    assert other == int((scenes.occluded & scenes.in_image()).sum()) > 0
    uv, _, ok = scenes.uv()
    inside = ok & ((uv > -0.5) & (uv < torch.tensor(scenes.camera.size) - 0.5)).all(-1)
    assert outside == int((scenes.valid & scenes.mask[..., None]).sum() - inside.sum())


def sample(tmp_path, joints=True, image=True):
    """A view of camera 16: one person's neck and mid-hip, a red picture."""
    camera = panoptic(1, torch.Generator(), (16,))[0]
    points, valid = torch.full((1, 19, 3), torch.nan, dtype=torch.float64), torch.zeros(1, 19, dtype=torch.bool)
    for name, z in (("neck", 1400.0), ("mid_hip", 900.0)):
        j = PANOPTIC_19.index(name)
        points[0, j], valid[0, j] = torch.tensor([0.0, 0.0, z]), True
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((1080, 1920, 3), (0, 0, 255), np.uint8))
    poses = (points, valid) if joints else (None, None)
    return Sample(PANOPTIC_19, "panoptic/s/00_16/1", *poses, camera=camera, size=(1920, 1080), image=str(path) if image else None)


def test_a_recorded_view_lies_in_pixels_of_the_map(tmp_path):
    s = sample(tmp_path)
    fitted = s.camera.fit(240, 128)
    _, (above, below) = style.subplots(2, 1)
    views._recorded(above, below, s, fitted)
    red = (above.images[0].get_array() == (255, 0, 0)).all(-1)
    assert red.shape == (128, 240)
    columns = np.flatnonzero(red.all(0))
    assert len(columns) == 228  # 1920 / 1080 * 128 = 227.6
    assert columns[0] == 6  # the rest to the left and right
    ends = np.concatenate([line.get_xydata() for line in above.lines if line.get_color() == style.INK])
    want = fitted.project(torch.tensor([[0.0, 0.0, 1400.0], [0.0, 0.0, 900.0]], dtype=torch.float64))[0].numpy()
    assert np.allclose(sorted(map(tuple, ends)), sorted(map(tuple, want)))
    heat = np.asarray(below.images[0].get_array())
    for u, v in want:
        assert heat[round(v), round(u)] > 0.8
    assert {"neck", "mid_hip"} <= set(JOINTS_15.joints)


def test_a_view_without_poses_or_picture(tmp_path):
    s = sample(tmp_path, joints=False)
    _, (above, below) = style.subplots(2, 1)
    views._recorded(above, below, s, s.camera.fit(240, 128))
    assert not below.images
    assert below.texts[0].get_text() == "no poses recorded"
    _, (above, below) = style.subplots(2, 1)
    views._recorded(above, below, sample(tmp_path, image=False), s.camera.fit(240, 128))
    assert not above.images
    assert len(below.images) == 1
    (tmp_path / "red.png").write_bytes(b"broken")
    with pytest.raises(InputError, match="not a readable picture"):
        views._recorded(above, below, s, s.camera.fit(240, 128))


def test_views_of_the_sample_folder_and_the_same_cameras_on_the_twin(shared, data, monkeypatch):
    from vp.data.panoptic import Panoptic

    reader, asked = Panoptic(shared / "data" / "panoptic"), []
    chosen = views.recorded_views(reader)
    assert [(s.image is None, s.joints is None) for s in chosen] == [(False, True)] * 2 + [(True, False)] * 2
    assert [s.name.split("/")[2] for s in chosen[2:]] == ["00_14", "00_16"]
    blank = lambda self, scenes, size: (asked.append(scenes.camera), torch.zeros(1, 3, *size[::-1]))[1]  # noqa: E731
    monkeypatch.setattr(datasets.Dataset, "pictures", blank)
    text = repr(views.same_cameras(data, reader))
    assert "Recorded and virtual" in text
    for s, camera in zip(chosen, asked, strict=True):
        assert torch.allclose(camera.R[0], s.camera.R)
        assert torch.allclose(camera.dist[0], s.camera.dist)
    asked.clear()
    assert "four cameras" in repr(views.same_cameras(data))
    assert [round(float(c.pitch_deg[0])) for c in asked] == [-5, 24, 50, 13]
