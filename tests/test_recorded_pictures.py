"""Recorded pictures in the original layouts, made by hand: where people are in them, which are chosen, the cache, and the study on them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import close
from test_train_processes import end

from vp.camera import Camera
from vp.data.panoptic import Y_DOWN
from vp.errors import InputError
from vp.lab import baselines, claims, generalization, pictures, pose_variety, profiles, recorded_pictures, results, train_methods
from vp.lab.generalization import ABOUT_THE_DOME, CAMERAS, Source
from vp.lab.recorded_pictures import of_folder
from vp.nets.method import ROOT, MeasuredBy
from vp.sample import Sample
from vp.skeleton import JOINTS_15, MUCO_21, PANOPTIC_15
from vp.world.poses import person

SEEN, SIZE = (384, 216), (160, 96)  # px of the recorded pictures, of the networks' pictures
LENS = [-0.4, 0.15, 0.004, -0.006, 0.0]
TRAIN, TEST = ("170101_some1", "170102_some2"), ("160422_other1",)
NAMES = (3, 6, 14, 16, 19, 30)
MARK = np.array([255, 0, 255])  # colour of a root


def camera_of(number):
    """A camera of the ring, 3 m from the middle, higher for larger numbers, with a lens."""
    at = [3000 * np.cos(number), 3000 * np.sin(number), 1000.0 + 50 * number]
    return replace(Camera.look_at(at, [0.0, 0.0, 900.0], focal=230.0, size=SEEN), dist=torch.tensor(LENS).double())


def standing(k):
    """(2, 15, 3) mm: two people, elsewhere in frame k."""
    body = person("standing").double()[:15]
    return torch.stack([body + torch.tensor([x, 300.0 * np.sin(k), 0.0]) for x in (-900.0 + 20 * k, 900.0 - 10 * k)])


def drawn(path, camera, joints, ground=90):
    """Write a picture of ground colour with a disc at each root, and return it."""
    image = np.full((camera.size[1], camera.size[0], 3), ground, np.uint8)
    uv, _, ok = camera.project(joints[:, ROOT])
    for u, v in uv[ok & camera.in_image(uv)].tolist():
        cv2.circle(image, (round(u * 16), round(v * 16)), 4 * 16, MARK.tolist(), -1, cv2.LINE_AA, 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    return image


def write_panoptic(root, sequences=(*TRAIN, *TEST), names=NAMES, frames=12, missing=(), pictured=NAMES):
    """Sequences as their owners ship them; missing: (camera, frame) without a picture;  the first frame shows nobody."""
    for seq in sequences:
        (root / seq / "hdPose3d_stage1").mkdir(parents=True)
        entries = []
        for c in names:
            k = camera_of(c)
            K = [[float(k.f[0]), 0, float(k.c[0])], [0, float(k.f[1]), float(k.c[1])], [0, 0, 1]]
            entries.append({"name": f"00_{c:02d}", "type": "hd", "resolution": SEEN, "K": K, "distCoef": LENS,
                            "R": (k.R.numpy() @ Y_DOWN.T).tolist(), "t": (k.t[:, None] / 10).tolist()})  # fmt: skip
        entries.append({**entries[0], "name": "50_01", "type": "kinect-color"})
        (root / seq / f"calibration_{seq}.json").write_text(json.dumps({"cameras": entries}))
        for f in range(frames):
            people = standing(f) if f else torch.zeros(0, 15, 3).double()
            rows = torch.cat([people @ torch.from_numpy(Y_DOWN).T / 10, torch.ones(len(people), 15, 1)], -1)
            scene = {"bodies": [{"id": i, "joints15": row.flatten().tolist()} for i, row in enumerate(rows)]}
            (root / seq / "hdPose3d_stage1" / f"body3DScene_{f:08d}.json").write_text(json.dumps(scene))
            for c in pictured:
                if (c, f) not in missing:
                    drawn(root / seq / "hdImgs" / f"00_{c:02d}" / f"00_{c:02d}_{f:08d}.png", camera_of(c), people)
    return root


def write_muco(root, n=20, size=(256, 256), file="MuCo-3DHP.json", folders=("unaugmented_set", "augmented_set"), boxes=True):
    """n pictures in each of RootNet's folders (MuPoTS: sequences), of one or two people, green or red, of two sizes, a camera each."""
    images, people = [], []
    for folder in folders:
        for i in range(n):
            w, h = size if i % 2 or folder.startswith("TS") else (size[0], size[1] * 3 // 4)
            k = Camera.look_at([0.0, -3000.0 - 20 * i, 1200.0], [0.0, 0.0, 900.0], focal=w * 0.8, size=(w, h))
            name, cam = f"{folder}/{'img_' if folder.startswith('TS') else ''}{i:06d}.jpg", k.to_camera(standing(i)[: 1 + i % 2])
            ground = (30, 200, 30) if folder == "unaugmented_set" else (30, 30, 200)
            drawn(root / name, k, standing(i)[: 1 + i % 2], ground)
            entry = {"id": len(images), "file_name": name, "width": w, "height": h, "f": k.f.tolist(), "c": k.c.tolist()}
            images.append(entry | {"intrinsic": [*k.f.tolist(), *k.c.tolist()]})
            for body in cam:
                body = muco_joints(body)
                uv = k.project_camera(body)[0]
                low, high = uv.amin(0), uv.amax(0)
                box = {"bbox": [*low.tolist(), *(high - low).tolist()]} if boxes else {}
                people.append({"id": len(people), "image_id": entry["id"], "keypoints_cam": body.tolist(), "keypoints_img": uv.tolist(),
                               "keypoints_vis": [1] * 21, "is_valid": 1, **box})  # fmt: skip
    (root / file).write_text(json.dumps({"images": images, "annotations": people}))
    return root


def muco_joints(body):
    """15 joints -> MuCo's 21, those that we lack at the neck."""
    return torch.stack([body[JOINTS_15.index(j) if j in JOINTS_15.joints else 0] for j in MUCO_21.joints])


@pytest.fixture(scope="module")
def dome(tmp_path_factory):
    return write_panoptic(tmp_path_factory.mktemp("dome"))


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    return write_muco(tmp_path_factory.mktemp("studio"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The cache is the test's own, and nothing is remembered from another test."""
    monkeypatch.setattr(results, "ROOT", tmp_path / "root")
    recorded_pictures._of_folder.cache_clear()
    recorded_pictures.dataset.cache_clear()
    return tmp_path / "root"


def marks(image):
    """(N, 2) px: centres of the discs in a picture (3, H, W)."""
    far = np.abs(image.permute(1, 2, 0).numpy().astype(int) - MARK[::-1]).sum(-1)
    n, _, _, centres = cv2.connectedComponentsWithStats((far < 200).astype(np.uint8))
    return torch.from_numpy(centres[1:n])


def roots_are_marked(p, tol):
    """The discs lie where the truth says that roots are, in every picture; returns how many."""
    for i in range(len(p)):
        roots, found = p.joints[i, p.mask[i], ROOT].double(), marks(p.image[i])
        assert len(found) == len(roots)
        gaps = (roots[:, None] - found).norm(dim=-1)
        assert gaps.numel() == 0 or (gaps.amin(1).max() < tol and gaps.amin(0).max() < tol), i
    return int(p.mask.sum())


# ---- Panoptic --------------------------------------------------------------------------------------------------------------------------


def test_roots_of_panoptic_are_where_they_are_seen(dome):
    p = of_folder("panoptic", "train", dome, 100, SIZE, "panoptic:14")
    assert p.image.shape == (22, 3, SIZE[1], SIZE[0])  # two sequences of 12 frames, the first of nobody
    assert roots_are_marked(p, 0.6) == 44
    assert p.sources == dict.fromkeys(("poses", "cameras", "images"), "panoptic")
    assert p.stature.isnan().all()
    straight = replace(p, joints=replace(p.camera, dist=None)[:, None].project(torch.stack([standing(k % 11 + 1) for k in range(22)]))[0])
    assert (straight.joints[:, :, ROOT] - p.joints[:, :, ROOT]).norm(dim=-1).max() > 0.8  # without the lens they would be elsewhere
    for i in (0, 21):
        uv, depth, _ = camera_of(14).project(standing(i % 11 + 1))
        close(p.depth[i, :2], depth, 0.1)
        k = torch.tensor([160 / 384, 90 / 216]).double()
        close(p.joints[i, :2], (uv + 0.5) * k - 0.5 + torch.tensor([0.0, 3.0]), 0.01)  # 160 x 90, 3 px above and below
        assert (p.image[i, :, :3] == 0).all()
        assert (p.image[i, :, 3:93] > 0).any(0).all()
    assert p.known.all()


def test_boxes_of_panoptic_by_hand(dome):
    p = of_folder("panoptic", "train", dome, 100, SIZE, "panoptic:14")
    uv = camera_of(14).project(standing(1))[0]
    low, high = uv.amin(1), uv.amax(1)
    pad = (high - low) * torch.tensor([0.25, 0.12])
    box = torch.cat([(low - pad).clamp(min=-0.5), torch.minimum(high + pad, torch.tensor([383.5, 215.5]))], -1)
    close(p.boxes[0, :2], (box + 0.5) * (160 / 384) - 0.5 + torch.tensor([0.0, 3.0, 0.0, 3.0]), 0.01)
    assert p.boxes[..., 3].max() <= 92.5 + 1e-3, "clipped to the picture, not to its padding"


def test_joints_in_the_padding_are_not_in_the_picture():
    """Somebody whose feet are below the recorded picture, where the padded one goes on."""
    k = Camera.look_at([0.0, -3000.0, 1300.0], [0.0, 0.0, 1300.0], focal=300.0, size=(400, 216))
    body = person("standing").double()[:15][None]
    one = Sample(PANOPTIC_15, "x", body, torch.ones(1, 15).bool(), camera=k, size=k.size)
    uv, _, _ = recorded_pictures.fitted(k, (400, 400)).project(body)
    below = uv[0, :, 1] > 92 + 215.5
    assert below.any()
    assert (uv[0, :, 1] < 399).all()
    assert recorded_pictures._person_by_person(one)[1][0].tolist() == (~below).tolist()


def test_arms_show_the_same_moments(dome):
    sets = [of_folder("panoptic", "train", dome, 7, SIZE, f"panoptic:{c}") for c in CAMERAS]
    sets.append(of_folder("panoptic", "train", dome, 7, SIZE, ABOUT_THE_DOME))
    where = []
    for p in sets:
        assert len(p) == 7 or len(p) == 6  # the moment of nobody was among them
        world = p.camera.unproject(p.joints[:, :, ROOT].double(), p.depth[:, :, ROOT].double())[0]
        where.append(world[p.mask])
    for other in where[1:]:
        close(other, where[0], 1.0)
    heights = torch.cat([p.camera.centre[:, 2] for p in sets[:3]])
    assert sorted({round(float(h)) for h in heights}) == [1000 + 50 * int(c) for c in CAMERAS]


def test_many_cameras_are_all_others_with_pictures(dome):
    p = of_folder("panoptic", "train", dome, 100, SIZE, ABOUT_THE_DOME)
    assert len(p) == 22, "one camera at each moment"
    numbers = [round((float(h) - 1000) / 50) for h in p.camera.centre[:, 2]]
    assert set(numbers) == {3, 6, 30}
    assert max(numbers.count(c) for c in set(numbers)) < 15
    roots_are_marked(p, 0.6)
    assert {f"00_{c}" for c in CAMERAS} == set(recorded_pictures.TESTED)


def test_splits_and_missing_pictures(dome, tmp_path):
    test = of_folder("panoptic", "test", dome, 100, SIZE, "panoptic:19")
    assert len(test) == 11
    own = of_folder("panoptic", "test", dome, 100, SIZE)
    assert round(float(own.camera.centre[0, 2])) == 1000 + 50 * 30
    some = write_panoptic(tmp_path / "some", TRAIN[:1], frames=6, missing=[(14, 2), (14, 3), (3, 4), (6, 4), (30, 4)])
    assert len(of_folder("panoptic", "train", some, 100, SIZE, "panoptic:14")) == 3
    p = of_folder("panoptic", "train", some, 100, SIZE, ABOUT_THE_DOME)
    assert len(p) == 4
    assert p.sources["poses"] == "panoptic (same in train and test)"


def test_chosen_pictures_are_evenly_spread():
    assert recorded_pictures._spread([*range(10)], 4) == [0, 2, 5, 7]
    assert recorded_pictures._spread([*range(3)], 4) == [0, 1, 2]
    assert len(recorded_pictures._spread([*range(999)], 500)) == 500


# ---- MuCo, MuPoTS ----------------------------------------------------------------------------------------------------------------------


def test_backgrounds_of_muco(studio):
    found = {b: of_folder("muco", "train", studio, 100, (96, 96), background=b) for b in ("green", "augmented")}
    for b, p in found.items():
        assert len(p) == 14, "70 % of each folder"
        corner = p.image[:, :, 48, 2].float().mean(0)
        assert int(corner.argmax()) == (1 if b == "green" else 0)  # channels are red, green, blue
        assert roots_are_marked(p, 0.8) == 21
        assert p.sources == dict.fromkeys(("poses", "cameras", "images"), "muco")
    test = of_folder("muco", "test", studio, 100, (96, 96), background="test_augmented")
    assert len(test) == 6
    assert (test.image[:, 0, 48, 2] > 150).all()
    assert len(of_folder("muco", "train", studio, 100, (96, 96))) == 28
    assert len(of_folder("muco", "train", studio, 5, (96, 96), background="green")) == 5


def test_sizes_of_one_set_are_fitted_each(studio):
    p = of_folder("muco", "train", studio, 100, (96, 96), background="green")
    flat, full = (p.image[i].amax(0) for i in (0, 1))
    assert (flat[:12] == 0).all()
    assert (flat[84:] == 0).all()
    assert (flat[12:84] > 0).all()
    assert (full > 0).all()
    close(p.camera.f[:, 0], torch.full((14,), 0.8 * 96), 1e-4)


def test_boxes_of_the_data_set_are_kept(studio):
    p = of_folder("muco", "train", studio, 100, (96, 96), background="green")
    k = Camera.look_at([0.0, -3020.0, 1200.0], [0.0, 0.0, 900.0], focal=256 * 0.8, size=(256, 256))
    uv = k.project(torch.stack([muco_joints(b) for b in standing(1)]))[0]
    box = torch.cat([uv.amin(1), uv.amax(1)], -1)
    close(p.boxes[1, :2], (box + 0.5) * 96 / 256 - 0.5, 0.01)


def test_mupots(tmp_path):
    root = write_muco(tmp_path, 4, file="MuPoTS-3D.json", folders=("TS1", "TS2"), boxes=False)
    p = of_folder("mupots", "test", root, 5, SIZE)
    assert len(p) == 5
    assert roots_are_marked(p, 0.8) >= 5
    assert (p.boxes[p.mask][:, 2:] > p.boxes[p.mask][:, :2] + 3).all()
    assert p.sources["images"] == "mupots"
    with pytest.raises(InputError, match="own cameras"):
        of_folder("mupots", "test", root, 100, SIZE, ABOUT_THE_DOME)


# ---- the cache -------------------------------------------------------------------------------------------------------------------------


def test_decoded_once_mapped_and_read_piece_by_piece(dome, here, monkeypatch):
    p = of_folder("panoptic", "train", dome, 100, SIZE, "panoptic:14")
    (file,) = (here / "runs/cache/recorded").glob("*.npy")
    assert file.stat().st_size < p.image.numel() + 200
    recorded_pictures._of_folder.cache_clear()
    monkeypatch.setattr(recorded_pictures, "read", lambda *a: pytest.fail("decoded again"))
    again = of_folder("panoptic", "train", dome, 100, SIZE, "panoptic:14")
    assert torch.equal(again.image, p.image)
    part = again.between(0.5, 1.0)
    assert len(part) == 11
    assert part.image.data_ptr() - again.image.data_ptr() == 11 * again.image[0].numel(), "a part of the same map"
    assert any(str(file) in line for line in Path("/proc/self/maps").read_text().splitlines())
    v = part.views(torch.tensor([3, 0]))
    close(v.image * 255, p.image[[14, 11]].float(), 1e-3)
    assert v.camera.dist.shape == (2, 5)
    stream = pictures.Samples((part, again), 3)(0, 8)
    assert stream.image.shape == (8, 3, SIZE[1], SIZE[0])


def test_only_what_is_looked_at_is_read(tmp_path):
    """2 GB of pictures, of which a few are read: memory grows by those alone."""
    path, shape = tmp_path / "large.npy", (1500, 3, 512, 960)
    with path.open("wb") as f:
        np.lib.format.write_array_header_1_0(f, {"descr": "|u1", "fortran_order": False, "shape": shape})
        f.truncate(f.tell() + int(np.prod(shape)))
    code = f"""
import resource, torch
from pathlib import Path
from vp.lab import recorded_pictures as r
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image = r._mapped(Path({str(path)!r}), {shape})
image[torch.tensor([3, 700, 1400])].float()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stderr == ""
    assert int(out.stdout) < 200_000, "kB"


def test_changed_files_and_damaged_caches_are_read_anew(dome, here, tmp_path):
    p = of_folder("panoptic", "train", dome, 3, SIZE, "panoptic:14")
    (file,) = (here / "runs/cache/recorded").glob("*.npy")
    good = p.image.clone()
    for damage in (lambda: file.write_bytes(file.read_bytes()[:-100]), lambda: np.save(file, np.zeros((3, 3), np.uint8))):
        damage()
        recorded_pictures._of_folder.cache_clear()
        assert torch.equal(of_folder("panoptic", "train", dome, 3, SIZE, "panoptic:14").image, good)
    root = write_panoptic(tmp_path / "own", TRAIN[:1], frames=3)
    before = of_folder("panoptic", "train", root, 9, SIZE, "panoptic:14").image.clone()
    drawn(root / TRAIN[0] / "hdImgs/00_14/00_14_00000001.png", camera_of(14), standing(1), ground=200)
    recorded_pictures._of_folder.cache_clear()
    assert not torch.equal(of_folder("panoptic", "train", root, 9, SIZE, "panoptic:14").image, before)
    os.utime(root / TRAIN[0] / "hdImgs/00_14/00_14_00000001.png", ns=(1, 1))  # written again at another time, with as many bytes
    recorded_pictures._of_folder.cache_clear()
    of_folder("panoptic", "train", root, 9, SIZE, "panoptic:14")
    assert len(list((here / "runs/cache/recorded").iterdir())) == 2 * 4, "four sets, each with its lock, and no rest"


def test_a_smaller_copy_of_a_picture_will_do_and_a_crop_will_not(tmp_path):
    root = write_panoptic(tmp_path, TRAIN[:1], frames=2)
    file = root / TRAIN[0] / "hdImgs/00_14/00_14_00000001.png"
    whole = cv2.imread(str(file))
    cv2.imwrite(str(file), cv2.resize(whole, (192, 108), interpolation=cv2.INTER_AREA))
    assert roots_are_marked(of_folder("panoptic", "train", root, 9, SIZE, "panoptic:14"), 1.0) == 2
    cv2.imwrite(str(file), whole[:, :-30])
    recorded_pictures._of_folder.cache_clear()
    with pytest.raises(InputError, match=r"354 x 216 px.*384 x 216.*00_14_00000001|00_14_00000001.*354 x 216 px"):
        of_folder("panoptic", "train", root, 9, SIZE, "panoptic:14")


# ---- bad input -------------------------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_one_line(dome, studio, tmp_path, monkeypatch):
    few = write_panoptic(tmp_path / "few", TRAIN[:1], frames=2, pictured=(14, 16))
    for arguments, message in (
        (("panoptic", "train", few, 9, SIZE, ABOUT_THE_DOME), "HD cameras other than 14, 16 and 19"),
        (("panoptic", "train", few, 9, SIZE, "panoptic:19"), "camera 00_19"),
        (("panoptic", "train", dome, 9, SIZE, None, "green"), "before 'green'"),
        (("muco", "train", studio, 9, SIZE, None, "studio"), "before 'studio'"),
        (("coco", "train", studio, 9, SIZE), "no recorded depths of 'coco'"),
        (("muco", "train", write_muco(tmp_path, 4, folders=("augmented_set",)), 9, SIZE, None, "green"), "unaugmented_set"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            of_folder(*arguments)
        assert "\n" not in str(caught.value)
    (few / TRAIN[0] / "hdImgs/00_14/00_14_00000001.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"00_14_00000001\.png"):
        of_folder("panoptic", "train", few, 9, SIZE, "panoptic:14")
    monkeypatch.setattr(recorded_pictures.shutil, "disk_usage", lambda p: type("Full", (), {"free": 1000}))
    with pytest.raises(InputError, match=r"0\.0 GB free"):
        of_folder("panoptic", "train", dome, 9, SIZE, "panoptic:14")


# ---- sample data -----------------------------------------------------------------------------------------------------------------------


def test_pictures_and_cameras_of_the_dome_itself(shared, tmp_path):
    """Real calibration, lenses and JPEGs; the moments' poses are another day's, for the samples have none of these."""
    data = shared / "data/panoptic"
    if not (data / "160422_haggling1/hdImgs").is_dir():
        pytest.skip("no sample pictures of Panoptic beside the repository")
    seq = tmp_path / "160422_haggling1"
    (seq / "hdPose3d_stage1_coco19").mkdir(parents=True)
    for name in ("hdImgs", "calibration_160422_haggling1.json"):
        (seq / name).symlink_to(data / "160422_haggling1" / name)
    poses = sorted((data / "160906_band1/hdPose3d_stage1_coco19").iterdir())
    for frame, file in zip((4500, 6859), poses):
        (seq / "hdPose3d_stage1_coco19" / f"body3DScene_{frame:08d}.json").symlink_to(file)
    with pytest.raises(InputError, match="camera 00_14"):
        of_folder("panoptic", "test", tmp_path, 9, (960, 512), "panoptic:14")
    many = of_folder("panoptic", "test", tmp_path, 9, (960, 512), ABOUT_THE_DOME)
    assert len(many) == 2
    for c in ("03", "23"):
        p = of_folder("panoptic", "test", tmp_path, 9, (960, 512), f"panoptic:{c}")
        whole = cv2.imread(str(data / f"160422_haggling1/hdImgs/00_{c}/00_{c}_00004500.jpg"))
        k = p.camera[0]
        pixels = np.stack(np.meshgrid(np.arange(960), np.arange(512)), -1).astype(np.float32)
        full = recorded_pictures.Panoptic(tmp_path).camera("160422_haggling1", c)
        back = (pixels - k.c.numpy()) / k.f.numpy() * full.f.numpy() + full.c.numpy()  # of the same ray in the whole picture
        wanted = cv2.remap(cv2.GaussianBlur(whole, (0, 0), 0.8), back.astype(np.float32), None, cv2.INTER_LINEAR)[..., ::-1]
        ours = p.image[0].permute(1, 2, 0).numpy().astype(float)
        off = {(x, y): np.abs(np.roll(ours, (y, x), (0, 1)) - wanted)[5:-5, 40:-40].mean() for x in (-1, 0, 1) for y in (-1, 0, 1)}
        assert off[0, 0] < 2.5
        assert off[0, 0] < 0.6 * min(v for k, v in off.items() if k != (0, 0)), "a pixel more in any direction fits worse"
        assert p.known.any()
        assert p.known[:, :, ROOT][p.mask].all()
        _, world, valid, _ = recorded_pictures.Panoptic(tmp_path).poses("160422_haggling1", 4500)
        rotation = cv2.Rodrigues(k.R.numpy())[0]
        K = np.array([[k.f[0], 0, k.c[0]], [0, k.f[1], k.c[1]], [0, 0, 1]])
        by_opencv = cv2.projectPoints(world[:, 2].contiguous().numpy(), rotation, k.t.numpy(), K, k.dist.numpy())[0][:, 0]
        there = p.mask[0, : len(world)]
        assert valid[:, 2].all()
        close(p.joints[0, : len(world), ROOT][there], by_opencv[there.numpy()], 0.01)


# ---- the study on them -----------------------------------------------------------------------------------------------------------------


def test_the_study_runs_on_recorded_pictures(dome, studio):
    out = generalization.run("fig3a", "smoke", 0, ("TBS",), str(dome))
    assert {t: len(p.depth) for t, p in out.people.items()} == dict.fromkeys(CAMERAS, 22)
    assert {k for k, _, _ in out.depths} == {"TBS", "mean depth", "box size"}, "nobody's stature is known"
    assert all(np.isfinite(d).all() for d in out.depths.values())
    rows = [*generalization.rows(out, "fig3a", profile="smoke"), *generalization.on_and_off(out, ("TBS",), profile="smoke")]
    assert {(r["poses"], r["cameras"], r["images"]) for r in rows} == {("panoptic",) * 3}
    out = generalization.run("table1", "smoke", 0, ("BDR",), str(studio))
    green, other = out.people.values()
    assert len(green.depth) == len(other.depth) == 9
    rows = generalization.rows(out, "table1", profile="smoke")
    assert {r["images"] for r in rows} == {"muco"}
    assert {r["train"] for r in rows} == set(generalization.BACKGROUNDS.arms)


def test_a_folder_without_all_pictures_is_rendered(dome, tmp_path, here):
    """Poses and cameras of the folder, pictures of the twin; what there is of recorded pictures is not mixed in, and the run says so."""
    folder = str(write_panoptic(tmp_path / "some", frames=4, pictured=(14, 16)))
    assert "00_19" in generalization.lacking("panoptic", folder)
    assert generalization.lacking("panoptic", str(dome)) is None
    said = [generalization.told("panoptic", r) for r in (None, folder, str(dome))]
    assert said == ["virtual twin", "recorded poses and cameras, rendered", "recorded"]
    with pytest.warns(UserWarning, match=r"camera 00_19 .*; all pictures are rendered") as warned:
        out = generalization.run("fig3a", "smoke", 0, ("TBS",), folder)
    assert sum("rendered" in str(w.message) for w in warned) == 1
    rows = generalization.rows(out, "fig3a", profile="smoke")
    assert {(r["poses"], r["cameras"], r["images"]) for r in rows} == {("panoptic", "panoptic, trained on panoptic, twin", "twin")}
    sizes = profiles.PROFILES["smoke"].study
    seen = {c: generalization.CAMERA_VIEWS.arms[c][0].pictures(sizes, 0, folder) for c in (*CAMERAS, "many")}
    assert {c: p.sources["cameras"] for c, p in seen.items()} == dict.fromkeys(CAMERAS, "panoptic") | {"many": "twin"}
    for c in CAMERAS:
        assert len(seen[c]) == sizes.train
        close(seen[c].camera.centre, camera_of(int(c)).centre.expand(sizes.train, 3), 1e-3)
        assert torch.equal(seen[c].depth[..., ROOT] > 0, seen[c].mask)
        assert len(marks(seen[c].image[0])) == 0, "no disc of a recorded picture"
    before = len(list((here / "runs/cache/methods").glob("*.safetensors")))
    (tmp_path / "some" / TEST[0] / "hdPose3d_stage1" / "body3DScene_00000003.json").unlink()
    generalization.lacking.cache_clear()
    recorded_pictures.dataset.cache_clear()
    assert train_methods.main(["fig3a", "--profile", "smoke", "--data", f"panoptic={folder}", "--methods", "TBS", "--arms", "14"]) == 0
    assert len(list((here / "runs/cache/methods").glob("*.safetensors"))) == before, "the training poses are the same"
    pose = tmp_path / "some" / TRAIN[0] / "hdPose3d_stage1" / "body3DScene_00000003.json"
    bodies = json.loads(pose.read_text())["bodies"]
    bodies[0]["joints15"][4 * JOINTS_15.index("left_wrist")] += 30.0  # cm
    pose.write_text(json.dumps({"bodies": bodies}))
    recorded_pictures.dataset.cache_clear()
    assert train_methods.main(["fig3a", "--profile", "smoke", "--data", f"panoptic={folder}", "--methods", "TBS", "--arms", "14"]) == 0
    assert len(list((here / "runs/cache/methods").glob("*.safetensors"))) == before + 1, "other poses, another network"


def test_rows_name_recorded_training_poses(dome):
    """Fig. 3(b): the sources of a row are the test's; training poses from a folder are named beside."""
    arms = pose_variety.ARMS[:2]
    out = pose_variety.run("smoke", 0, {"panoptic": str(dome), "muco": ""}, arms=arms)
    depth = out.people["MuPoTS"].depth
    rows = [*pose_variety.rows(out, profile="smoke"), *pose_variety.binned(out, "MuPoTS", depth, (0.0, 4000.0, np.inf), "depth")]
    assert {r["poses"] for r in rows} == {"twin, trained on panoptic"}, "of all arms and levels: claims pair them"
    judged = {v.claim.id for v in claims.verdicts(rows) if v.effect}
    assert "pose-variety" in judged
    out = pose_variety.run("smoke", 0, {"panoptic": "", "muco": ""}, arms=arms[:1])
    assert {r["poses"] for r in pose_variety.rows(out, profile="smoke")} == {"twin"}


def test_halves_of_an_arm_are_of_both_backgrounds(studio):
    sizes = profiles.PROFILES["smoke"].study
    green, other = (s.pictures(sizes, 0, str(studio)) for s in generalization.BACKGROUNDS.arms["augmented"])
    assert len(green) == len(other) == 7
    assert (green.image[:, 1, 64, 2] > 150).all()
    assert (other.image[:, 0, 64, 2] > 150).all()


def test_two_processes_train_what_one_finds(dome, here):
    """torchrun with gloo: four networks in the cache, none of them trained twice; the second time, none at all."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    code = f"""
import sys
from pathlib import Path
from vp.lab import results, train_methods
results.ROOT = Path({str(here)!r})
sys.exit(train_methods.main(sys.argv[1:]))
"""
    script = here.parent / "run.py"
    script.write_text(code)
    options = ["fig3a", "--profile", "smoke", "--data", f"panoptic={dome}", "--methods", "TBS", "BDR", "--arms", "14", "many"]
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    both = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    code, out, err = end(subprocess.Popen([*launcher, str(script), *options], text=True, env=environment, **both))
    assert code == 0, err[-2000:]
    assert [line.partition(":")[0] for line in out.splitlines()] == [f"{k} of 4" for k in range(1, 5)]
    assert err.count("step 3/3") == 4, "one process speaks"
    kept = sorted((here / "runs/cache/methods").glob("*.safetensors"))
    assert len(kept) == 4
    assert not list((here / "runs/cache/methods").glob("*.state"))
    assert len(list((here / "runs/cache/recorded").glob("*.npy"))) == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "train", lambda *a, **k: pytest.fail("trained again"))
        assert train_methods.main(options) == 0
        learned = generalization.train_one("fig3a", "many", "BDR", "smoke", 0, str(dome))
    assert learned.facts["steps"] == 3
    assert learned.facts["samples_seen"] == 48


def test_train_methods_says_what_is_wrong(dome, capsys):
    for options, message in (
        (["--data", f"panoptic={dome}", "--arms", "15"], "no arm '15'"),
        (["--methods", "TBX"], "no method 'TBX'"),
        (["--data", f"panoptic={dome / 'nothing'}"], "not a folder"),
        (["--profile", "huge"], "unknown profile"),
    ):
        assert train_methods.main(["fig3a", *options]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
    assert train_methods.main(["table1", "--data", f"panoptic={dome}"]) == 2
    assert "table1 reads no 'panoptic' data" in capsys.readouterr().err


@pytest.mark.skipif(not os.environ.get("VP_SLOW"), reason="a ResNet-50 on large pictures, a minute and gigabytes each: set VP_SLOW=1")
@pytest.mark.parametrize("name", generalization.THREE)
def test_a_step_at_the_papers_sizes(dome, name):
    s = profiles.PROFILES["paper"].study
    plan = replace(s.plan, steps=1, batch=2)
    p = replace(s, train=4, plan=plan), Source("panoptic", "train", "panoptic:14")
    sets = (p[1].pictures(p[0], 0, str(dome)),)
    assert sets[0].image.shape[2:] == (512, 960)
    learned = baselines.learn(name, pictures.Samples(sets), p[0], s.wide, ["one step"], None)
    assert learned.facts["steps"] == 1
    assert learned.facts["samples_seen"] == 2
    layers = [m for m in learned.method.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(layers) >= 53  # ResNet-50
    with torch.no_grad():
        assert all(v.isfinite() for v in MeasuredBy(learned.method)(sets[0].views(torch.arange(1))).values())
