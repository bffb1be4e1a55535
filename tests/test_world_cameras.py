"""Camera samplers: ranges, uniformity, the rigs against their calibration files, specifications by name, same generator = same cameras."""

import json
import math
import warnings
from dataclasses import replace

import pytest
import torch

from vp.camera import Camera, proper_rotation
from vp.errors import InputError
from vp.world.cameras import (
    MUCO,
    MUPOTS,
    MUPOTS_FOCAL,
    PANOPTIC,
    PHOTOS,
    UNIVERSAL,
    fixed,
    mupots,
    panoptic,
    read_camera,
    sampler,
    universal,
)  # fmt: skip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def measured(camera):
    """The six numbers read back from the matrices: pitch deg, height, azimuth deg, distance, focal, roll deg."""
    x, y, z = camera.centre.unbind(-1)
    azimuth = torch.rad2deg(torch.atan2(y, x)) % 360
    return camera.pitch_deg, z, azimuth, torch.hypot(x, y), camera.f[:, 0], torch.rad2deg(camera.roll)


@pytest.mark.parametrize("ranges", [UNIVERSAL, MUCO, replace(UNIVERSAL, pitch_deg=(30, 30), roll_deg=(0, 0))])
def test_universal_stays_in_its_ranges_and_sees_the_origin(ranges):
    camera = universal(4000, generator(), ranges)
    names = ("pitch_deg", "height_mm", "azimuth_deg", "distance_mm", "focal_px", "roll_deg")
    for name, value in zip(names, measured(camera), strict=True):
        low, high = getattr(ranges, name)
        assert value.min() >= low - 1e-6, name
        assert value.max() <= high + 1e-6, name
    # the optical axis passes over the origin at a height within aim_mm: that point projects to the principal point's column
    pitch, height, _, distance, _, _ = measured(camera)
    aim = height - distance * torch.tan(torch.deg2rad(pitch))
    assert aim.min() >= ranges.aim_mm[0] - 1e-6
    assert aim.max() <= ranges.aim_mm[1] + 1e-6
    uv, _, ok = camera.project(torch.stack([torch.zeros_like(aim), torch.zeros_like(aim), aim], -1)[:, None])
    assert ok.all()
    assert torch.allclose(uv[:, 0], camera.c, atol=1e-6)
    assert camera.size == ranges.size


def test_the_upper_edge_is_as_high_as_asked_for():
    """Photographs: 1 m ahead of every camera the ray through the middle of the picture's upper edge is at least 2.4 m above the floor."""
    ranges, lowest = PHOTOS, []
    for camera in (universal(2000, generator(), ranges), universal(2000, generator())):
        edge = torch.tensor([[(camera.size[0] - 1) / 2, -0.5]], dtype=torch.float64).expand(2000, 1, 2)
        level = Camera.from_angles(camera.pitch, 0.0, 0.0, torch.stack([0 * camera.pitch, 0 * camera.pitch, camera.centre[:, 2]], -1),
                                   camera.f[:, 0], camera.size)  # the same without roll, seen from the side  # fmt: skip
        origin, d, _ = level.rays(edge)
        lowest.append((origin[..., 2] + 1000 * d[..., 2] / d[..., 0]).min().item())
    assert lowest[0] == pytest.approx(2400, abs=40)
    assert lowest[0] >= 2400 - 1e-6
    assert lowest[1] < 1500
    with pytest.raises(InputError, match="upper edge above 9000"):
        universal(5, generator(), replace(ranges, top_mm=9000.0))


def test_universal_is_uniform_over_the_part_of_the_box_that_sees_the_scene():
    """Against plain rejection sampling, quantile by quantile; what the condition does not touch is uniform as it stands."""
    values = measured(universal(20000, generator(1)))
    u = torch.rand(400_000, 6, generator=generator(2), dtype=torch.float64)
    low, high = torch.tensor([(-10, 55), (400, 3600), (0, 360), (1800, 7000), (1100, 2000), (-7, 7)], dtype=torch.float64).T
    box = low + (high - low) * u
    aim = box[:, 1] - box[:, 3] * torch.tan(torch.deg2rad(box[:, 0]))
    naive = box[(aim >= 0) & (aim <= 2000)]
    q = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)
    for k, value in enumerate(values):
        wide = high[k] - low[k]
        assert (value.quantile(q) - naive[:100_000, k].quantile(q)).abs().max() < 0.02 * wide
        if k in (2, 4, 5):
            assert (value.quantile(q) - (low[k] + wide * q)).abs().max() < 0.02 * wide


def test_universal_refuses_ranges_that_see_nothing():
    with pytest.raises(InputError, match="no camera"):
        universal(3, generator(), replace(UNIVERSAL, pitch_deg=(50, 55), height_mm=(400, 500)))
    with pytest.raises(InputError, match="low <= high"):
        universal(3, generator(), replace(UNIVERSAL, focal_px=(2000, 1000)))
    with pytest.raises(InputError, match="focal"):
        universal(3, generator(), replace(UNIVERSAL, focal_px=(-5, 1000)))


def test_the_dome_matches_its_calibration_file(shared):
    """Rounded constants against the file: 10 mm, 0.1 degree, 2 px (mean of fx and fy)."""
    file = json.loads((shared / "data/panoptic/160906_band1/calibration_160906_band1.json").read_text())
    to_z_up = torch.tensor([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)  # the file's y points down
    for number, row in PANOPTIC.items():
        entry = next(c for c in file["cameras"] if c["name"] == f"00_{number}")
        R = torch.tensor(entry["R"], dtype=torch.float64) @ to_z_up.T
        t = 10 * torch.tensor(entry["t"], dtype=torch.float64).flatten()
        K = torch.tensor(entry["K"], dtype=torch.float64)
        real = Camera(R, t, K.diagonal()[:2], K[:2, 2], (1920, 1080))
        ours = panoptic(1, generator(), (number,))[0]
        assert (ours.centre - real.centre).abs().max() <= 5.1
        for angle in ("pitch", "yaw", "roll"):
            assert math.degrees(abs(getattr(ours, angle) - getattr(real, angle))) < 0.051, (number, angle)
        assert (ours.f - real.f.mean()).abs().max() < 1
        assert ours.size == tuple(entry["resolution"])
        assert ours.dist is None
        assert row[2] == pytest.approx(float(real.centre[2]), abs=5)


def test_the_dome_in_round_numbers():
    """Pitch -5, 24, 50, 13 degree, height 1.2, 2.4, 3.4, 2.0 m."""
    for number, pitch, height in ((14, -5, 1.2), (16, 24, 2.4), (19, 50, 3.4), (30, 13, 2.0)):
        camera = sampler(f"panoptic:{number}")(1, generator())
        assert camera.pitch_deg.item() == pytest.approx(pitch, abs=0.7)
        assert camera.centre[0, 2].item() / 1000 == pytest.approx(height, abs=0.05)
    # people in the middle of the dome are in the picture
    chest = torch.tensor([[[0.0, 0.0, 1200.0]]]).expand(4, 1, 3)
    camera = panoptic(400, generator())
    assert camera.in_image(camera.project(chest[:1].expand(400, 1, 3))[0]).all()
    share = torch.bincount((camera.centre[:, 2] / 100).long()) / 400
    assert share[share > 0].tolist() == pytest.approx([0.25] * 4, abs=0.08)


def test_mupots_matches_the_published_extrinsics(shared):
    file = json.loads((shared / "data/mupots/cameras.json").read_text())
    for i, entry in enumerate(file["cameras"]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ten of them are left-handed
            R, t = proper_rotation(entry["R"], entry["t"])
        real = Camera(R, t, torch.ones(2), torch.zeros(2), (1, 1))
        ours = mupots(1, generator(), (i + 1,))[0]
        assert (ours.centre - real.centre).abs().max() <= 5.1, i
        for angle in ("pitch", "yaw", "roll"):
            off = getattr(ours, angle) - getattr(real, angle)
            assert abs(math.degrees(math.remainder(off, 2 * math.pi))) < 0.051, (i, angle)
    assert len(MUPOTS) == len(file["cameras"])


def test_mupots_sizes_and_spread():
    assert mupots(2, generator(), (1, 5)).size == (2048, 2048)
    assert mupots(2, generator(), (6, 20)).size == (1920, 1080)
    camera = mupots(4000, generator())
    assert camera.size == (1920, 1080)
    assert camera.f.unique().tolist() == [MUPOTS_FOCAL]
    assert len(camera.centre.round().unique(dim=0)) == 20
    height, pitch = camera.centre[:, 2], camera.pitch_deg
    assert [height.min().item(), height.max().item()] == pytest.approx([520, 2900])
    assert [pitch.min().item(), pitch.max().item()] == pytest.approx([2.0, 31.8])


@pytest.mark.parametrize("spec", ["universal", "muco", "photos", "panoptic", "panoptic:14,19", "mupots", "mupots:6,7", UNIVERSAL])
def test_same_generator_same_cameras(spec):
    make = sampler(spec)
    a, b, c = make(9, generator(5)), make(9, generator(5)), make(9, generator(6))
    assert a.R.shape == (9, 3, 3)
    assert all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("R", "t", "f", "c"))
    assert not torch.equal(a.R, c.R)
    assert torch.allclose(a.R @ a.R.mT, torch.eye(3, dtype=a.R.dtype).expand(9, 3, 3))
    assert torch.allclose(torch.linalg.det(a.R), torch.ones(9, dtype=a.R.dtype))


def test_a_fixed_camera_of_the_user(tmp_path):
    one = replace(Camera.from_angles(0.3, 1.0, 0.05), dist=torch.tensor([-0.2, 0.1, 0, 0, 0], dtype=torch.float64))
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(one.to_dict()))
    for spec in (str(path), path, one, one.to_dict()):
        camera = sampler(spec)(3, generator())
        assert all(torch.allclose(getattr(camera, k), getattr(one, k).expand_as(getattr(camera, k))) for k in ("R", "t", "f", "c", "dist"))
        assert camera.size == (1920, 1080)
    assert fixed(one, 3).R.shape == (3, 3, 3)
    with pytest.raises(InputError, match="batch"):
        fixed(fixed(one, 3), 2)


@pytest.mark.parametrize("text", ["not json", "[1, 2]", '{"R": [[1, 0], [0, 1]]}', '{"size": [1, 1]}'])
def test_a_bad_camera_file_is_one_clear_line(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.json") as e:
        read_camera(path)
    assert "\n" not in str(e.value)


def test_a_missing_camera_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.json"):
        sampler(tmp_path / "none.json")


@pytest.mark.parametrize("spec", ["", "panoptic:15", "panoptic:x", "mupots:0", "mupots:21", "universal:3", "kinect"])
def test_unknown_cameras(spec):
    with pytest.raises(InputError):
        sampler(spec)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_samplers_on_a_gpu():
    for spec in ("universal", "panoptic", "mupots"):
        camera = sampler(spec)(5, torch.Generator("cuda").manual_seed(0))
        assert camera.R.is_cuda
        assert camera.c.is_cuda
