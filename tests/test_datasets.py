"""Twins and `load`: splits, casts and backgrounds kept apart, what a folder brings, the cache of rendered sets, the bench command."""

import json
import multiprocessing as mp
import os
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vp.camera import Camera
from vp.errors import InputError
from vp.lab import bench, datasets, virtual
from vp.lab.datasets import load
from vp.skeleton import JOINTS_17
from vp.world.activities import MIXTURES
from vp.world.poses import person
from vp.world.render import render
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
    assert data.sources == {"poses": "panoptic (same in train and test)", "cameras": "panoptic", "images": "twin"}
    assert len(data.bank) == 60, "three people in twenty frames"
    for split, camera in (("train", "00_16"), ("test", "00_30")):
        names = [s.name for s in load("panoptic", split, shared / "data/panoptic").samples()]
        assert len(names) == 20
        assert {n.rsplit("/", 1)[0] for n in names} == {f"panoptic/160906_band1/{camera}"}
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
    assert coco.sources["poses"] == "coco (same in train and val)", "the name of its one file says neither"


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


def test_clothes_may_change_the_outline_and_nothing_else(panoptic):
    plain = panoptic.scenes(4, seed=3)
    other, light = (panoptic.scenes(4, seed=3, changed={f: 1}) for f in ("clothes", "light"))
    outline = [render(s, (120, 64)).instance for s in (plain, other, light)]
    changed = (outline[0] != outline[1]).float().mean() / (outline[0] >= 0).float().mean()
    assert 0 < changed < 0.15, "some skirts, sleeves and hems"
    assert torch.equal(outline[0], outline[2])
    assert torch.equal(plain.visible, other.visible)
    assert torch.equal(plain.uv()[0].nan_to_num(), other.uv()[0].nan_to_num())


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


# ---- splits of recorded folders --------------------------------------------------------------------------------------------------------


def write_panoptic(root, sequences, pictures=(), cameras=(14, 16, 30), frames=3, calibrated=True):
    """Tiny sequences: frame f of sequence number k has one standing person whose stature tells both, seen by a few cameras."""
    for k, seq in enumerate(sequences):
        folder = root / seq / "hdPose3d_stage1"
        folder.mkdir(parents=True)
        view = {"type": "hd", "resolution": [1920, 1080], "K": [[1000, 0, 960], [0, 1000, 540], [0, 0, 1]], "distCoef": [0] * 5}
        view |= {"R": np.eye(3).tolist()}
        views = [view | {"name": f"00_{c:02d}", "t": [[0], [0], [c * 10 + k]]} for c in cameras]
        if calibrated:
            (root / seq / f"calibration_{seq}.json").write_text(json.dumps({"cameras": views}))
        for f in range(frames):
            body = person("standing").double()[:15] * (0.8 + 0.1 * k + 0.01 * f) / 10  # cm
            joints = torch.stack([body[:, 0], -body[:, 2], body[:, 1], torch.ones(15)], -1)  # y down
            scene = {"bodies": [{"id": k, "joints15": joints.flatten().tolist()}]}
            (folder / f"body3DScene_{f:08d}.json").write_text(json.dumps(scene))
        for camera in pictures:
            images = root / seq / "hdImgs" / f"00_{camera:02d}"
            images.mkdir(parents=True)
            (images / f"00_{camera:02d}_{1:08d}.jpg").touch()
    return root


def scales(data):
    """The sequences of a bank of `write_panoptic`, from the heights of the necks."""
    return sorted({int((h - 0.8) / 0.1 + 1e-3) for h in (data.bank.joints[:, 0, 2] / person("standing")[0, 2]).tolist()})


def test_panoptic_is_split_by_camera_and_sequence(tmp_path):
    names = ["160224_haggling1", "160226_mafia2", "160422_ultimatum1", "160906_Pizza1", "160906_pizza2"]
    write_panoptic(tmp_path, names, pictures=(14, 16, 30))
    train, test = (load("panoptic", split, tmp_path) for split in ("train", "test"))
    assert scales(train) == [0, 1]
    assert scales(test) == [2, 3, 4]
    assert len(train.bank) == 6
    assert [s.name for s in train.samples()] == [f"panoptic/{s}/00_16/00000001" for s in names[:2]], "only with pictures, only camera 16"
    assert [s.name for s in test.samples()] == [f"panoptic/{s}/00_30/00000001" for s in names[2:]]
    assert train.sources == test.sources == dict.fromkeys(("poses", "cameras", "images"), "panoptic")
    assert [round(c.t[2].item()) for c in train.cameras] == [1600, 1610], "camera 16 of the two sequences"
    assert [round(c.t[2].item()) for c in test.cameras] == [3020, 3030, 3040]
    assert train.scenes(2).sources == {"poses": "panoptic", "cameras": "panoptic", "images": "twin"}


@pytest.mark.parametrize(
    ("names", "train", "test", "same"),
    [
        (["160906_band1"], [0], [0], True),
        (["160422_mafia2"], [0], [0], True),
        (["160422_mafia2", "160906_pizza1"], [0], [0, 1], True),
        (["160224_mafia1", "160906_pizza1"], [0], [1], False),
        (["160906_pizza1"], None, [0], False),
    ],
)
def test_panoptic_folders_that_cannot_be_split(tmp_path, names, train, test, same):
    write_panoptic(tmp_path, names)
    source = "panoptic (same in train and test)" if same else "panoptic"
    for split, wanted in (("train", train), ("test", test)):
        if wanted is None:
            with pytest.raises(InputError, match="only Pizza"):
                load("panoptic", split, tmp_path)
            continue
        data = load("panoptic", split, tmp_path)
        assert scales(data) == wanted
        assert data.sources["poses"] == source
        assert len(list(data.samples())) == 3 * len(wanted), "without pictures: all frames"
        assert all(s.image is None for s in data.samples())


def test_panoptic_without_calibration_brings_poses(tmp_path):
    write_panoptic(tmp_path, ["160224_mafia1", "160422_mafia2"], calibrated=False)
    data = load("panoptic", root=tmp_path)
    assert data.sources == {"poses": "panoptic", "cameras": "twin", "images": "twin"}
    assert scales(data) == [0]
    assert next(data.samples()).sources == {"poses": "panoptic", "cameras": "twin", "images": "twin"}, "virtual samples of recorded poses"


def test_panoptic_formats_may_be_mixed(tmp_path):
    write_panoptic(tmp_path, ["160224_mafia1", "160226_mafia1"])
    other = tmp_path / "160226_mafia1"
    (other / "hdPose3d_stage1").rename(other / "hdPose3d_stage1_coco19")
    for f in (other / "hdPose3d_stage1_coco19").iterdir():
        scene = json.loads(f.read_text())
        points = scene["bodies"][0].pop("joints15")
        scene["bodies"][0]["joints19"] = points + [0, 0, 0, -1] * 4
        f.write_text(json.dumps(scene))
    bank = load("panoptic", root=tmp_path).bank
    assert len(bank) == 6
    assert bank.valid[:, 1].sum() == 3, "only the older format has the head top"


def test_banks_are_read_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "MOST_FRAMES", 4)
    write_panoptic(tmp_path, ["160224_mafia1", "160226_mafia1", "160422_mafia2"], frames=6)
    assert len(load("panoptic", root=tmp_path).bank) == 4
    assert scales(load("panoptic", root=tmp_path)) == [0, 1], "not the first sequence only"
    assert datasets._spread([*range(9)], 4) == [0, 3, 6]


def write_muco(root, folders, pictures=0):
    """MuCo-3DHP.json with one person per picture, at 2 m plus 1 mm per picture; folders: name -> number of pictures."""
    images, people = [], []
    for folder, n in folders.items():
        for _ in range(n):
            i = len(images)
            images.append({"id": i, "file_name": f"{folder}/{i}.jpg", "width": 2048, "height": 2048, "f": [1500, 1500], "c": [1024, 1024]})
            cam = [[50 * j, 90 * j - 900, 2000 + i] for j in range(21)]
            person_of = {"id": i, "image_id": i, "keypoints_cam": cam, "keypoints_img": [[1, 2]] * 21, "keypoints_vis": [1] * 21}
            people.append(person_of | {"bbox": [0, 0, 5, 5]})
            if i < pictures:
                (root / folder).mkdir(exist_ok=True)
                (root / folder / f"{i}.jpg").touch()
    (root / "MuCo-3DHP.json").write_text(json.dumps({"images": images, "annotations": people}))
    return root


def test_muco_is_split_seventy_to_thirty(tmp_path):
    write_muco(tmp_path, {"augmented_set": 10, "unaugmented_set": 20})
    got = {split: [int(s.name.split("/")[-1][:-4]) for s in load("muco", split, tmp_path).samples()] for split in ("train", "test")}
    assert got["train"] == [*range(7), *range(10, 24)]
    assert got["test"] == [*range(7, 10), *range(24, 30)]
    data = load("muco", "test", tmp_path)
    assert len(data.bank) == 9
    assert data.sources == {"poses": "muco", "cameras": "twin", "images": "twin"}


def test_muco_with_pictures_and_with_too_few(tmp_path):
    (tmp_path / "some").mkdir()
    data = load("muco", "train", write_muco(tmp_path / "some", {"augmented_set": 10}, pictures=2))
    assert [s.name for s in data.samples()] == ["muco/augmented_set/0.jpg", "muco/augmented_set/1.jpg"]
    assert data.sources["images"] == "muco"
    assert len(data.bank) == 7
    write_muco(tmp_path, {"augmented_set": 1})
    assert len(load("muco", "train", tmp_path).bank) == 1
    with pytest.raises(InputError, match="too few to split"):
        load("muco", "test", tmp_path)


def write_coco(root, *names):
    (root / "annotations").mkdir(exist_ok=True)
    for i, name in enumerate(names):
        image = {"id": i, "file_name": f"{name}.jpg", "width": 100, "height": 100}
        one = {"id": 1, "image_id": i, "iscrowd": 0, "num_keypoints": 17, "keypoints": [5, 5, 2] * 17, "bbox": [1, 1, 9, 9]}
        path = root / "annotations" / f"person_keypoints_{name}.json"
        path.write_text(json.dumps({"images": [image], "annotations": [one]}))
    return path


def test_coco_is_split_by_file(tmp_path):
    path = write_coco(tmp_path, "train2017", "val2017")
    for split, name in ((None, "train2017"), ("train", "train2017"), ("val", "val2017")):
        data = load("coco", split, tmp_path)
        assert [s.name for s in data.samples()] == [f"coco/{name}.jpg"]
        assert data.sources["poses"] == "coco"
    assert [s.name for s in load("coco", "val", path).samples()] == ["coco/val2017.jpg"]
    for root in (path, tmp_path / "annotations"):
        path.with_name("person_keypoints_train2017.json").unlink(missing_ok=True)
        with pytest.raises(InputError, match=r'only the split val.*"val"'):
            load("coco", "train", root)
    write_coco(tmp_path, "val2014")
    with pytest.raises(InputError, match="give one of them"):
        load("coco", "val", tmp_path)


def test_what_has_no_such_split_is_refused(shared):
    with pytest.raises(InputError, match="no split 'train' of 'mupots'"):
        load("mupots", "train", shared / "data/mupots")
    with pytest.raises(InputError, match="no splits"):
        load("bvh", "train", shared / "data/bvh")


# ---- a user's own backgrounds ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def reds(tmp_path):
    folder = tmp_path / "reds"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.full((30, 60, 3), (0, 0, 250), np.uint8))  # BGR
    return folder


def redness(image):
    """Share of the pixels that are red beyond doubt."""
    image = image.float() / (255 if image.dtype == torch.uint8 else 1)
    return ((image[:, 0] > 0.8) & (image[:, 1:] < 0.3).all(1)).float().mean().item()


@pytest.mark.parametrize("kind", [str, Path])
def test_own_backgrounds(reds, kind, tmp_path):
    data, plain = load("coco", backgrounds=kind(reds)), load("coco")
    scenes = data.scenes(4, seed=2)
    assert redness(data.pictures(scenes, (60, 32))) > 0.5
    assert redness(data.pictures(scenes, (60, 32), "outdoor")) < 0.1, "a named one still wins"
    assert redness(plain.pictures(scenes, (60, 32))) < 0.1
    assert torch.equal(scenes.joints.nan_to_num(), plain.scenes(4, seed=2).joints.nan_to_num())
    assert scenes.sources["images"] == "twin, own backgrounds"
    assert redness(data.rendered(2, size=(60, 32), folder=tmp_path / "cache")) > 0.5
    assert redness(plain.rendered(2, size=(60, 32), folder=tmp_path / "cache")) < 0.1


def test_the_cache_knows_own_backgrounds(reds, tmp_path):
    def render():
        data = load("panoptic", backgrounds=reds)
        return data.rendered(2, size=(60, 32), folder=tmp_path / "cache"), len(list((tmp_path / "cache").glob("*.npy")))

    assert render()[1] == 1
    assert render()[1] == 1
    os.utime(reds / "a.png", (5, 5))
    assert render()[1] == 2, "changed since"
    cv2.imwrite(str(reds / "b.png"), np.full((30, 60, 3), (250, 0, 0), np.uint8))
    assert render()[1] == 3, "one more"
    (reds / "notes.txt").write_text("no picture")
    assert render()[1] == 3
    os.rename(reds / "b.png", reds / "c.png")
    image, n = render()
    assert n == 4, "another name"
    assert image.isfinite().all()


def test_bad_background_folders(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    for bad in (tmp_path, tmp_path / "nowhere", tmp_path / "a.png", 5, ["x"]):
        with pytest.raises(InputError, match="no readable") as error:
            load("panoptic", backgrounds=bad)
        assert "\n" not in str(error.value)


# ---- killed while writing --------------------------------------------------------------------------------------------------------------


def _killed(folder, when):
    """Render, but die by SIGKILL while the file is written or just before it gets its name."""
    torch.set_num_threads(1)

    def die(*_):
        if when == "writing":  # half of it is there
            with open(next(iter(Path(folder).glob("*.part"))), "wb") as f:
                f.write(b"\x93NUMPY half")
        os.kill(os.getpid(), signal.SIGKILL)

    (np if when == "writing" else os).__dict__["save" if when == "writing" else "replace"] = die
    load("panoptic").rendered(2, size=(60, 32), folder=folder)


@pytest.mark.parametrize("when", ["writing", "renaming"])
def test_a_kill_leaves_no_half_file(panoptic, tmp_path, when):
    run = mp.get_context("spawn").Process(target=_killed, args=(tmp_path, when))
    run.start()
    run.join(120)
    assert run.exitcode == -signal.SIGKILL
    assert not list(tmp_path.glob("*.npy")), "nothing that a reader could take for a set"
    assert len(list(tmp_path.glob("*.part"))) == 1
    images = panoptic.rendered(2, size=(60, 32), folder=tmp_path)
    expected = panoptic.pictures(panoptic.scenes(2), (60, 32))
    assert (images.float() / 255 - expected).abs().max() < 0.01
    assert len(list(tmp_path.glob("*.npy"))) == 1


def test_an_interrupt_leaves_nothing(panoptic, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        panoptic.rendered(2, size=(60, 32), folder=tmp_path)
    assert not list(tmp_path.iterdir())
