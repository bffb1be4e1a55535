"""Twins and `load`: splits, casts and backgrounds kept apart, what a folder brings, the cache of rendered sets, the bench command."""

import json
import multiprocessing as mp
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from vp.camera import Camera
from vp.errors import InputError
from vp.lab import bench, datasets, virtual
from vp.lab.datasets import load
from vp.skeleton import JOINTS_17
from vp.world.activities import MIXTURES
from vp.world.twins import TWINS, twin


@pytest.fixture(scope="module")
def panoptic():
    return load("panoptic")


@pytest.mark.parametrize(("name", "split"), TWINS)
def test_every_split_gives_samples_and_pictures(name, split):
    data = load(name, split)
    scenes = data.scenes(3, seed=1)
    image = data.pictures(scenes, (60, 32))
    assert image.shape == (3, 3, 32, 60)
    assert image.isfinite().all()
    assert image.flatten(1).std(1).min() > 0.02, "an empty picture"
    samples = list(data.samples(3, seed=1))
    assert [s.name for s in samples] == [f"{name}/{split}/{i:06d}" for i in range(3)]
    for s in samples:
        assert (s.joints is None) == (name == "coco")
        assert s.skeleton is JOINTS_17
        assert len(s) >= 1
        assert s.sources == {"poses": "twin", "cameras": "twin", "images": "twin"}


def test_the_mupots_twin_shares_nothing_with_training():
    test = twin("mupots", "test")
    for other in TWINS.values():
        if other.split == "train" and other.name != "coco":
            assert other.cast != test.cast
            assert not set(test.people().ids.tolist()) & set(other.people().ids.tolist())
            assert not set(other.backgrounds) & set(test.backgrounds)
            used = {a for m in test.activities for a in MIXTURES[m]}
            assert not used & {a for m in other.activities for a in MIXTURES[m]}
    assert "pizza" not in twin("panoptic", "train").activities
    assert "pizza" in twin("panoptic", "test").activities


def test_cameras_of_the_splits():
    for split, pitch in (("train", 24), ("test", 13)):
        camera = load("panoptic", split).scenes(2).camera
        assert (camera.pitch_deg - pitch).abs().max() < 1


def test_splits_share_no_scene_and_seeds_repeat():
    a, b, c = load("muco", "train").scenes(4, 0), load("muco", "test").scenes(4, 0), load("muco", "train").scenes(4, 0)
    assert torch.equal(a.joints.nan_to_num(), c.joints.nan_to_num())
    assert not torch.equal(a.joints.nan_to_num(), b.joints.nan_to_num())
    assert not torch.equal(a.camera.t, b.camera.t)


def test_unknown_names_are_one_line():
    for call in (lambda: load("kitti"), lambda: load("panoptic", "validation"), lambda: load("bvh")):
        with pytest.raises(InputError):
            call()


def test_recorded_folders_bring_what_they_have(shared):
    data = load("panoptic", root=shared / "data/panoptic")
    assert data.sources == {"poses": "panoptic", "cameras": "panoptic", "images": "twin"}
    assert len(data.bank) == 60, "three people in twenty frames"
    assert data.scenes(2).camera.dist is not None, "the real lens"
    mupots = load("mupots", root=shared / "data/mupots")
    assert mupots.sources == {"poses": "twin", "cameras": "mupots", "images": "twin"}
    heights = mupots.scenes(200).camera.centre[:, 2]
    assert len(heights.unique()) > 10, "all its cameras take part"
    assert 490 < heights.min() < heights.max() < 2910
    clips = load("bvh", root=shared / "data/bvh")
    assert clips.sources["poses"] == "bvh"
    assert len(clips.bank) == 9052
    coco = load("coco", root=shared / "data/coco")
    assert [len(s) for s in coco.samples()] == [1, 5]


def test_a_list_of_cameras_is_drawn_from(panoptic):
    two = [Camera.from_angles(0.1, 0.0, centre=(-3000.0, 0.0, h)) for h in (1000.0, 2000.0)]
    heights = replace(panoptic, cameras=two).scenes(64).camera.centre[:, 2].round().tolist()
    assert set(heights) == {1000.0, 2000.0}
    assert 16 < heights.count(1000.0) < 48


def test_rendered_sets_are_cached_by_configuration(panoptic, tmp_path):
    first = panoptic.rendered(3, size=(60, 32), folder=tmp_path)
    files = list(tmp_path.iterdir())
    assert len(files) == 1
    stamp = np.load(files[0])
    stamp[:] = 7  # what comes back must be the file, not a new rendering
    np.save(files[0], stamp)
    assert (panoptic.rendered(3, size=(60, 32), folder=tmp_path) == 7).all()
    assert not torch.equal(panoptic.rendered(3, seed=1, size=(60, 32), folder=tmp_path), first)
    assert len(list(tmp_path.iterdir())) == 2
    files[0].write_bytes(b"broken")
    assert torch.equal(panoptic.rendered(3, size=(60, 32), folder=tmp_path), first), "a damaged file is made again"


def test_the_cache_is_bounded(panoptic, tmp_path):
    for seed in range(4):
        panoptic.rendered(2, seed=seed, size=(60, 32), folder=tmp_path, limit=2 * (2 * 3 * 32 * 60 + 200))
    assert len(list(tmp_path.glob("*.npy"))) == 2
    assert not list(tmp_path.glob("*.part"))


def _render(folder, barrier):
    torch.set_num_threads(1)
    data = load("panoptic")
    barrier.wait(60)
    data.rendered(2, size=(60, 32), folder=folder)


def test_more_than_a_block_and_each_background(tmp_path):
    muco = load("muco")
    images = muco.rendered(70, size=(60, 32), folder=tmp_path)
    tail = muco.pictures(muco.scenes(6, start=64), (60, 32))
    assert (images[64:].float() / 255 - tail).abs().max() < 0.05, "scene 64 is not scene 0 again"
    green = (images[:, 1].float().flatten(1).mean(1) > 1.3 * images[:, 0].float().flatten(1).mean(1)).float().mean()
    assert 0.2 < green < 0.8, "both families take part"
    muco.rendered(3, size=(60, 32), folder=tmp_path, background="green")
    muco.rendered(3, size=(60, 32), folder=tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 3, "the background belongs to the key"


def test_the_least_recently_used_set_goes_and_leftovers_of_killed_runs(panoptic, tmp_path):
    bound = 2 * (2 * 3 * 32 * 60 + 200)
    old, kept = (set(), set())
    for seed in (0, 1):
        before = set(tmp_path.glob("*.npy"))
        panoptic.rendered(2, seed=seed, size=(60, 32), folder=tmp_path, limit=bound)
        (old if seed else kept).update(set(tmp_path.glob("*.npy")) - before)
    for k, path in enumerate([*old, *kept]):
        os.utime(path, (1000 + k, 1000 + k))
    panoptic.rendered(2, seed=0, size=(60, 32), folder=tmp_path, limit=bound)  # used again: now the newest
    leftover = tmp_path / "x.part"
    leftover.touch()
    os.utime(leftover, (1000, 1000))
    panoptic.rendered(2, seed=2, size=(60, 32), folder=tmp_path, limit=bound)
    assert kept <= set(tmp_path.glob("*.npy"))
    assert not old & set(tmp_path.glob("*.npy"))
    assert not leftover.exists()


def test_two_runs_may_share_the_cache(panoptic, tmp_path):
    context = mp.get_context("spawn")
    barrier = context.Barrier(2)
    runs = [context.Process(target=_render, args=(tmp_path, barrier)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(120)
        assert run.exitcode == 0
    assert len(list(tmp_path.iterdir())) == 1
    assert panoptic.rendered(2, size=(60, 32), folder=tmp_path).shape == (2, 3, 32, 60)


def test_pictures_of_a_counterfactual_differ_only_where_they_should(panoptic):
    plain = panoptic.scenes(2, seed=3)
    for factor, same in (("background", True), ("clothes", True), ("camera", False)):
        other = panoptic.scenes(2, seed=3, changed={factor: 1}, camera="panoptic" if factor == "camera" else None)
        base = panoptic.scenes(2, seed=3, camera="panoptic") if factor == "camera" else plain
        assert torch.equal(base.joints.nan_to_num(), other.joints.nan_to_num())
        assert not torch.equal(panoptic.pictures(base, (60, 32)), panoptic.pictures(other, (60, 32)))
        assert torch.equal(base.camera.R, other.camera.R) == same


def test_agr_forgets_appearance_and_keeps_geometry(panoptic):
    assert virtual.agr_change(panoptic, "clothes", 8, 0) == 0
    assert virtual.agr_change(panoptic, "background", 8, 0) == 0
    assert virtual.agr_change(panoptic, "camera", 8, 0) > 0.1


def test_peak_errors_against_a_hand_made_peak():
    errors = virtual.peak_errors(50, 0)
    assert errors["ours"].max() < 0.1
    assert errors["published"].min() >= 0
    assert 0.3 < errors["published"].mean() < 2.5
    rows = virtual.agr_rows(dict.fromkeys(("clothes", "background", "light", "camera"), 0.0), errors)
    peak = next(r for r in rows if r["method"] == "published")
    assert peak["value"] == pytest.approx(errors["published"].mean(), abs=1e-4)
    assert next(r for r in rows if r["method"] == "appearance")["value"] == 0


def test_bench_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "measure", lambda: [("a thing", 2.0, "x")])
    assert bench.main(tmp_path / "b.json") == 0
    assert json.loads((tmp_path / "b.json").read_text()) == [{"what": "a thing", "value": 2.0, "unit": "x"}]
    assert "a thing" in capsys.readouterr().out


def test_bench_measures_the_same_scenes():
    uv, present, mask = bench.agr_case(batch=2, people=3)
    assert uv.shape == (2, 3, 15, 2)
    assert present.all()
    assert mask.all()
    bench.literal_agr(uv)
    assert bench.seconds(lambda: None, 3) < 0.01


def test_clear_cache(tmp_path):
    (tmp_path / "cache").mkdir()
    datasets.clear_cache(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
