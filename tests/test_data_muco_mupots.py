"""MuCo-3DHP and MuPoTS-3D: golden conversions through files in the original layouts, hand-computed values, the sample extrinsics."""

import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vp.data.matfile import read_mat
from vp.data.muco import Muco
from vp.data.mupots import Mupots, fit_intrinsics, read_annotations, read_extrinsics
from vp.errors import InputError
from vp.skeleton import JOINTS_15, JOINTS_17, MUCO_21

SHARED = Path(__file__).parents[2] / "shared"
needs_samples = pytest.mark.skipif(not (SHARED / "data/mupots").is_dir(), reason="no sample data beside the repository")
needs_golden = pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason="no golden vectors beside the repository")
JOINT = [[0, 0, 2000]] * 20  # with one more in front: 21 joints of one person


@pytest.fixture
def golden():
    return np.load(SHARED / "golden/dataset_conversion.npz")


def write_muco(folder, image=None, annotation=None):
    person = {"id": 9, "image_id": 3, "keypoints_cam": [[100, -200, 2000], *JOINT]}
    person |= {"keypoints_img": [[1, 2]] * 21, "keypoints_vis": [1] * 21}
    view = {"id": 3, "file_name": "augmented_set/3.jpg", "width": 2048, "height": 1024, "f": [1500, 1490], "c": [1024, 512]}
    file = {"images": [view | (image or {})], "annotations": [person | {"bbox": [10, 20, 30, 40]} | (annotation or {})]}
    (folder / "MuCo-3DHP.json").write_text(json.dumps(file))
    return folder


# ---- MuCo ---------------------------------------------------------------------------------------------------------------------------


@needs_golden
def test_muco_matches_the_published_conversion(tmp_path, golden):
    g = golden
    people = [
        {"id": i, "image_id": 0, "keypoints_cam": g["muco_keypoints_cam"][i].tolist(), "keypoints_img": g["muco_keypoints_img"][i].tolist(),
         "keypoints_vis": [1] * 21, "bbox": [0, 0, 5, 5]} for i in range(2)
    ]  # fmt: skip
    image = {"id": 0, "file_name": "a.jpg", "width": 2048, "height": 2048, "f": [1500, 1500], "c": [1024, 1024]}
    image |= {"R": g["muco_R_in"].ravel().tolist(), "T": g["muco_T_in"].tolist()}
    (tmp_path / "MuCo-3DHP.json").write_text(json.dumps({"images": [image], "annotations": people}))
    (sample,) = Muco(tmp_path).samples()
    assert torch.allclose(sample.camera.R, torch.from_numpy(g["muco_R_out"]).double(), atol=1e-5)
    assert torch.allclose(sample.camera.centre, torch.from_numpy(g["muco_T_out"]).double(), atol=6e-3)
    for skeleton in (JOINTS_15, JOINTS_17):
        mapped, J = sample.to(skeleton), len(skeleton)
        assert mapped.valid.all()
        assert torch.allclose(mapped.joints, torch.from_numpy(g[f"muco_joints_3d_{J}"]).double(), atol=6e-3)
        assert torch.allclose(mapped.joints_px, torch.from_numpy(g[f"muco_joints_2d_{J}"]).double(), atol=6e-3)
        assert [MUCO_21.index(j) for j in skeleton.joints] == g[f"muco_map_{J}"].tolist()


def test_muco_without_extrinsics_is_a_level_camera_at_the_origin(tmp_path):
    (sample,) = Muco(write_muco(tmp_path)).samples()
    assert sample.skeleton is MUCO_21
    assert sample.joints[0, 0].tolist() == [2000.0, -100.0, 200.0]  # forward, to the right, up
    assert sample.project()[0][0, 0].tolist() == pytest.approx([1024 + 1500 * 0.05, 512 - 1490 * 0.1])
    assert sample.sources == {"poses": "muco", "cameras": "level"}
    assert sample.boxes.tolist() == [[10, 20, 40, 60]]
    assert (sample.ids, sample.size, sample.image) == ((9,), (2048, 1024), None)


def test_muco_y_up_world_with_extrinsics(tmp_path):
    # the camera's axes are those of the Y-up world turned half round x: x right, y down, z backward; T puts it 1 m up
    image = {"R": [1, 0, 0, 0, -1, 0, 0, 0, -1], "T": [0, 1000, 0]}
    (sample,) = Muco(write_muco(tmp_path, image)).samples()
    assert sample.camera.centre.tolist() == [0.0, 0.0, 1000.0]
    assert sample.joints[0, 0].tolist() == [100.0, 2000.0, 1200.0]


def test_muco_missing_joints_pictures_and_limit(tmp_path):
    write_muco(tmp_path, annotation={"keypoints_cam": [[0, 0, 0], *JOINT]})
    (tmp_path / "images" / "augmented_set").mkdir(parents=True)
    (tmp_path / "images" / "augmented_set" / "3.jpg").write_bytes(b"")
    (sample,) = Muco(tmp_path).samples()
    assert sample.valid[0].tolist() == [False] + [True] * 20
    assert torch.isnan(sample.joints_px[0, 0]).all()
    assert sample.image.endswith("3.jpg")
    with pytest.raises(InputError, match="no image 4"):
        Muco(tmp_path).sample(4)


@pytest.mark.parametrize(
    ("image", "annotation", "message"),
    [
        ({"f": [1500]}, {}, "focal length"),
        ({"width": 0}, {}, "cannot be right"),
        ({"R": [1] * 9, "T": [0, 0, 0]}, {}, "not orthogonal"),
        ({"file_name": None}, {}, '"file_name" is of type NoneType'),
        ({}, {"keypoints_cam": [[1, 2, 3]] * 20}, "20 joints"),
        ({}, {"keypoints_cam": [[1, 2, float("nan")]] * 21}, "NaN"),
        ({}, {"keypoints_img": [[1, 2, 3]] * 21}, '"keypoints_img" has shape'),
        ({}, {"image_id": 8}, "that the file does not list"),
        ({}, {"image_id": "3"}, "whole number"),
    ],
)
def test_a_bad_muco_file_is_one_line(tmp_path, image, annotation, message):
    write_muco(tmp_path, image, annotation)
    with pytest.raises(InputError, match=message) as caught:
        list(Muco(tmp_path).samples())
    assert "\n" not in str(caught.value)


# ---- MuPoTS -------------------------------------------------------------------------------------------------------------------------


def write_mupots_json(folder, cam, sequence="TS4", valid=(1, 1, 0), **image):
    def person(i, p):
        return {"id": i, "image_id": 0, "keypoints_cam": p, "keypoints_img": [[5, 6]] * len(p), "keypoints_vis": [1] * len(p),
                "bbox": [0, 0, 9, 9], "is_valid": valid[i]}  # fmt: skip

    images = [{"id": 0, "file_name": f"{sequence}/img_000012.jpg", "width": 1920, "height": 1080, **image}]
    (folder / "MuPoTS-3D.json").write_text(json.dumps({"images": images, "annotations": [person(i, p) for i, p in enumerate(cam)]}))


@needs_golden
@pytest.mark.parametrize("case", ["proper", "improper"])
def test_mupots_matches_the_published_conversion(tmp_path, golden, case):
    g = golden
    cam = g["mupots_keypoints_cam"].tolist()
    write_mupots_json(tmp_path, [*cam, cam[0]], intrinsic=[1500, 1500, 960, 540])
    camera = {"sequence": "TS4", "R": g[f"mupots_R_{case}"].tolist(), "t": g["mupots_t"].tolist()}
    (tmp_path / "cameras.json").write_text(json.dumps({"cameras": [camera]}))
    if case == "improper":
        with pytest.warns(UserWarning, match=r"1 of 1 R are left-handed \(TS4\)"):
            data = Mupots(tmp_path)
    else:
        data = Mupots(tmp_path)
    sample = data.sample("TS4", 12).to(JOINTS_17)
    assert sample.ids == (0, 1)
    shift = torch.cat([sample.joints[:, 2, :2].mean(0), torch.tensor([-50.0]).double()])  # what the published code moves the origin by
    assert torch.allclose(sample.joints - shift, torch.from_numpy(g[f"mupots_joints_3d_from_{case}"]).double(), atol=6e-3)
    assert torch.allclose(sample.camera.centre - shift, torch.from_numpy(g[f"mupots_T_out_{case}"]).double(), atol=6e-3)
    assert torch.allclose(sample.camera.R, torch.from_numpy(g[f"mupots_R_out_{case}"]).double(), atol=1e-5)
    assert len(data.sample("TS4", 12, all_people=True)) == 3


@needs_samples
def test_the_sample_extrinsics_are_as_documented():
    with pytest.warns(UserWarning, match="10 of 20 R are left-handed"):
        data = Mupots(SHARED / "data/mupots")
    assert data.sequences == [f"TS{i}" for i in range(1, 21)]
    assert data.left_handed == [f"TS{i}" for i in (1, 3, 4, 6, 8, 12, 13, 14, 15, 16)]
    R, t = (torch.stack(x) for x in zip(*data.extrinsics.values()))
    assert torch.linalg.det(R).tolist() == pytest.approx([1.0] * 20)
    centre = -(R.mT @ t[..., None])[..., 0]
    assert centre[:, 2].min().item() == pytest.approx(500, abs=50)
    assert centre[:, 2].max().item() == pytest.approx(2900, abs=50)
    assert centre.norm(dim=1).min().item() == pytest.approx(2800, abs=900)
    assert data.frames("TS1") == []
    with pytest.raises(InputError, match="cameras only"):
        next(data.samples())
    with pytest.raises(InputError, match="no intrinsics"):
        data.camera("TS1")


def test_a_left_handed_camera_by_hand(tmp_path):
    """The world's Y is mirrored: x_cam = (Y, -Z, X) has determinant +1 with Y and is left-handed with -Y."""
    entry = {"sequence": "TS1", "R": [[0, 1, 0], [0, 0, -1], [1, 0, 0]], "t": [0, 1000, 3000]}
    assert np.linalg.det(entry["R"]) == pytest.approx(-1)
    (tmp_path / "cameras.json").write_text(json.dumps({"cameras": [entry]}))
    with pytest.warns(UserWarning, match="left-handed"):
        extrinsics, mirrored = read_extrinsics(tmp_path / "cameras.json")
    R, t = extrinsics["TS1"]
    assert mirrored == ["TS1"]
    assert R.tolist() == [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    assert (-R.T @ t).tolist() == [-3000, 0, 1000]


def test_intrinsics_by_hand():
    cam = np.array([[0, 0, 2000], [500, 0, 1000], [0, 400, 4000], [-300, 200, 1000]], float)
    uv = np.array([[960, 540], [960 + 750, 540], [960, 540 + 149], [960 - 450, 540 + 298]], float)  # f = 1500, 1490
    f, c, error = fit_intrinsics(cam, uv)
    assert f == pytest.approx([1500, 1490])
    assert c == pytest.approx([960, 540])
    assert error == pytest.approx(0, abs=1e-9)
    # four points, one of them 4 px off in u: the residual of a least-squares line has mean 0, so the error cannot vanish
    uv[0, 0] += 4
    assert 0.5 < fit_intrinsics(cam, uv)[2] < 4
    with pytest.raises(InputError, match="do not determine"):
        fit_intrinsics(cam[:2], uv[:2])


def write_annotations(folder, frames=3, noise=0.0):
    """TS6 in the original MATLAB layout: cells frames x people of structs; the second person of frame 0 is not valid."""
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    cells, occluded = np.empty((frames, 2), object), np.empty((frames, 2), object)
    for f, p in np.ndindex(cells.shape):
        cam = rng.uniform((-900, -800, 2500), (900, 800, 5000), (17, 3))
        uv = cam[:, :2] / cam[:, 2:] * (1200.0, 1210.0) + (950.0, 530.0) + noise * rng.standard_normal((17, 2))
        cells[f, p] = {"annot2": uv.T, "annot3": cam.T, "univ_annot3": cam.T / 2, "isValidFrame": np.uint8(not (f == 0 and p == 1))}
        occluded[f, p] = np.arange(17) == f
    (folder / "TS6").mkdir(parents=True)
    savemat(folder / "TS6" / "annot.mat", {"annotations": cells})
    savemat(folder / "TS6" / "occlusion.mat", {"occlusion_labels": occluded})
    return cells


def test_original_matlab_annotations(tmp_path):
    cells = write_annotations(tmp_path / "MultiPersonTestSet")
    data = Mupots(tmp_path)
    assert data.sequences == ["TS6"]
    assert data.frames("TS6") == [0, 1, 2]
    samples = list(data.samples())
    assert [len(s) for s in samples] == [1, 2, 2]
    assert samples[0].valid.sum().item() == 17  # hands and toes are not annotated
    back = samples[1].camera.to_camera(samples[1].joints)[1, :17]
    assert np.allclose(back, cells[1, 1]["annot3"].T)
    assert data.occluded("TS6", 2)[1].tolist() == [False, False, True] + [False] * 14
    f, c, error, origin = data.intrinsics("TS6")
    assert (f, c, origin) == (pytest.approx([1200, 1210]), pytest.approx([950, 530]), "fitted")
    assert error < 1e-6
    assert samples[0].size == (1920, 1080)
    uv, _, ok = samples[2].project()
    assert torch.allclose(uv[ok], samples[2].joints_px[ok], atol=1e-6)
    assert samples[0].sources["cameras"] == "level"


@pytest.mark.parametrize(("seq", "size"), [("TS1", (2048, 2048)), ("TS5", (2048, 2048)), ("TS6", (1920, 1080)), ("TS20", (1920, 1080))])
def test_the_documented_size_without_pictures(tmp_path, seq, size):
    write_annotations(tmp_path)
    (tmp_path / "TS6").rename(tmp_path / seq)
    data = Mupots(tmp_path)
    assert data.size(seq) == size
    assert data.camera(seq).size == data.sample(seq, 0).size == size


def test_the_size_of_a_picture_comes_before_the_documented_one(tmp_path):
    write_annotations(tmp_path)
    cv2.imwrite(str(tmp_path / "TS6" / "img_000000.jpg"), np.zeros((60, 80, 3), np.uint8))
    assert Mupots(tmp_path).size("TS6") == (80, 60)


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_files_are_read_as_scipy_reads_them(tmp_path, compressed):
    from scipy.io import loadmat, savemat

    cells = np.empty((2, 3), object)
    for i, j in np.ndindex(2, 3):
        cells[i, j] = {"a": np.arange(6.0).reshape(2, 3) + i, "longer_name": np.uint8(j), "t": "text"}
        cells[i, j] |= {"e": np.zeros((0, 0)), "s": np.float32([[1.5], [2]])}
    content = {"first": np.int16([[1, -2]]), "cells": cells, "logical": np.array([[True, False]])}
    content["three"] = np.arange(24.0).reshape(2, 3, 4)
    savemat(tmp_path / "a.mat", content, do_compression=compressed)
    ours, theirs = read_mat(tmp_path / "a.mat", "cells"), loadmat(tmp_path / "a.mat")
    assert ours.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        for key in ("a", "longer_name", "e", "s"):
            assert np.array_equal(ours[i, j][key], theirs["cells"][i, j][key][0, 0]), key
        assert ours[i, j]["t"] == "text"
    for key in ("first", "logical", "three"):
        assert np.array_equal(read_mat(tmp_path / "a.mat", key), theirs[key])
    with pytest.raises(InputError, match=r"no variable 'x' \(it holds first, cells"):
        read_mat(tmp_path / "a.mat", "x")


def test_the_fit_error_is_reported(tmp_path):
    write_annotations(tmp_path, frames=20, noise=2.0)
    f, _, error, _ = Mupots(tmp_path).intrinsics("TS6")
    assert f == pytest.approx([1200, 1210], rel=0.01)
    assert error == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.1)  # mean of a Rayleigh distribution


def test_seventeen_joints_and_fitted_intrinsics_in_json(tmp_path):
    rng = np.random.default_rng(1)
    cam = rng.uniform((-900, -800, 2500), (900, 800, 5000), (3, 17, 3))
    write_mupots_json(tmp_path, cam.tolist(), sequence="TS2")
    file = json.loads((tmp_path / "MuPoTS-3D.json").read_text())
    for a, p in zip(file["annotations"], cam):
        a["keypoints_img"] = (p[:, :2] / p[:, 2:] * 1400 + (900, 500)).tolist()
    (tmp_path / "MuPoTS-3D.json").write_text(json.dumps(file))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = Mupots(tmp_path)
    f, c, error, origin = data.intrinsics("TS2")
    assert (f, c, origin) == (pytest.approx([1400, 1400], rel=1e-5), pytest.approx([900, 500], rel=1e-5), "fitted")
    assert error < 1e-3
    assert data.sample("TS2", 12).valid.sum(1).tolist() == [17, 17]


def test_bad_mupots_folders_are_one_line(tmp_path):
    with pytest.raises(InputError, match="folder is empty"):
        Mupots(tmp_path)
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(InputError, match="found no MuPoTS"):
        Mupots(tmp_path)
    (tmp_path / "cameras.json").write_text('{"cameras": [{"sequence": "TS1", "R": [[1]], "t": [0, 0, 0]}]}')
    with pytest.raises(InputError, match='"R" has shape 1 x 1'):
        Mupots(tmp_path)
    (tmp_path / "cameras.json").unlink()
    cells = write_annotations(tmp_path)
    path = tmp_path / "TS6" / "annot.mat"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable MATLAB file"):
        read_annotations(path)
    from scipy.io import savemat

    cells[0, 0]["annot3"] = np.full((3, 16), 1.0)
    savemat(path, {"annotations": cells})
    with pytest.raises(InputError, match='"annot3" has shape 3 x 16'):
        list(Mupots(tmp_path).samples())
