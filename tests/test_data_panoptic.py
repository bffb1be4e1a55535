"""Panoptic: the sample files against what their documentation says, golden conversions, and small files with hand-computed values."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from vp.data.files import load_pickle
from vp.data.panoptic import Panoptic, read_calibration, read_hmor
from vp.errors import InputError
from vp.skeleton import JOINTS_15, PANOPTIC_15, PANOPTIC_19

SHARED = Path(__file__).parents[2] / "shared"
needs_samples = pytest.mark.skipif(not (SHARED / "data/panoptic").is_dir(), reason="no sample data beside the repository")
needs_golden = pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason="no golden vectors beside the repository")

CAMERA = {
    "name": "00_16", "type": "hd", "resolution": [1920, 1080],
    "K": [[1000, 0, 960], [0, 1000, 540], [0, 0, 1]], "distCoef": [0, 0, 0, 0, 0],
    "R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "t": [[0], [0], [300]],
}  # fmt: skip


@pytest.fixture
def tiny(tmp_path):
    """One sequence: a camera 3 m before the origin, one frame in the 15-joint format: the first joint known, the second missing."""
    seq = tmp_path / "170101_test1"
    (seq / "hdPose3d_stage1").mkdir(parents=True)
    (seq / "calibration_170101_test1.json").write_text(json.dumps({"cameras": [CAMERA]}))
    joints = [10, -120, 50, 0.8, 0, 0, 0, -1] + [0, -100, 0, 0.5] * 13
    scene = {"version": 0.7, "bodies": [{"id": 4, "joints15": joints}]}
    (seq / "hdPose3d_stage1" / "body3DScene_00000007.json").write_text(json.dumps(scene))
    return tmp_path


def test_centimetre_and_y_down_become_mm_and_z_up(tiny):
    data = Panoptic(tiny)
    assert data.sequences == ["170101_test1"]
    assert data.frames("170101_test1") == [7]
    sample = data.sample("170101_test1", "16", 7)
    assert sample.skeleton is PANOPTIC_15
    assert sample.ids == (4,)
    assert sample.joints[0, 0].tolist() == [100.0, 500.0, 1200.0]  # x 10 cm, z 50 cm, 120 cm above the floor
    assert sample.camera.centre.tolist() == [0.0, -3000.0, 0.0]
    uv, depth, valid = sample.project()
    assert depth[0, 0].item() == 3500.0
    assert uv[0, 0].tolist() == pytest.approx([960 + 1000 * 10 / 350, 540 - 1000 * 120 / 350])
    assert valid[0].tolist() == [True, False] + [True] * 13
    assert torch.isnan(sample.joints[0, 1]).all()
    assert sample.score[0, :2].tolist() == [0.8, 0.0]


@pytest.mark.parametrize(("confidence", "known"), [(-1, False), (-0.2, False), (0, False), (0.01, True), (1, True)])
def test_a_joint_of_no_confidence_is_missing(tiny, confidence, known):
    scene = {"bodies": [{"id": 4, "joints15": [10, -120, 50, confidence] + [0, -100, 0, 0.5] * 14}]}
    (tiny / "170101_test1" / "hdPose3d_stage1" / "body3DScene_00000007.json").write_text(json.dumps(scene))
    _, joints, valid, _ = Panoptic(tiny).poses("170101_test1", 7)
    assert valid[0].tolist() == [known] + [True] * 14
    assert joints[0, 0].isnan().all() == (not known)


def test_a_root_may_be_one_sequence_and_cameras_have_three_names(tiny):
    data = Panoptic(tiny / "170101_test1")
    assert data.sequences == ["170101_test1"]
    assert len({id(data.camera("170101_test1", n)) for n in (16, "16", "00_16")}) == 1
    with pytest.raises(InputError, match=r"no camera 00_17.*00_16"):
        data.camera("170101_test1", 17)
    with pytest.raises(InputError, match="no sequence nobody"):
        data.frames("nobody")
    with pytest.raises(InputError, match="no poses for frame 8"):
        data.poses("170101_test1", 8)


def test_nineteen_joints_are_preferred_unless_asked_otherwise(tiny):
    folder = tiny / "170101_test1" / "hdPose3d_stage1_coco19" / "hd"
    folder.mkdir(parents=True)
    (folder / "body3DScene_00000009.json").write_text(json.dumps({"bodies": [{"id": 0, "joints19": [1, -2, 3, 0.5] * 19}]}))
    assert Panoptic(tiny).frames("170101_test1") == [9]
    ids, joints, valid, skeleton = Panoptic(tiny).poses("170101_test1", 9)
    assert (ids, skeleton, valid.all().item()) == ([0], PANOPTIC_19, True)
    assert joints[0, 5].tolist() == [10.0, 30.0, 20.0]
    assert Panoptic(tiny, labels="hdPose3d_stage1").frames("170101_test1") == [7]


def test_pictures_only_poses_only_and_empty_frames(tiny):
    images = tiny / "170101_test1" / "hdImgs" / "00_16"
    images.mkdir(parents=True)
    (images / "00_16_00000012.jpg").write_bytes(b"")
    data = Panoptic(tiny)
    picture = data.sample("170101_test1", "00_16", 12)
    assert picture.joints is None
    assert picture.image.endswith("00_16_00000012.jpg")
    assert data.sample("170101_test1", "00_16", 7).image is None
    with pytest.raises(InputError, match="neither poses nor a picture"):
        data.sample("170101_test1", "00_16", 8)
    pose = tiny / "170101_test1" / "hdPose3d_stage1" / "body3DScene_00000007.json"
    pose.write_text('{"bodies": []}')
    assert len(Panoptic(tiny).sample("170101_test1", 16, 7)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"K": [[1, 2], [3, 4]]}, '"K" has shape 2 x 2'),
        ({"R": [[2, 0, 0], [0, 1, 0], [0, 0, 1]]}, "not orthogonal"),
        ({"t": [0, 0]}, '"t" has shape 2'),
        ({"t": [0, 0, float("nan")]}, '"t" holds NaN'),
        ({"distCoef": [0, 0, 0, 0, "a"]}, '"distCoef" does not hold numbers'),
        ({"resolution": [0, 1080]}, "cannot be right"),
        ({"name": 5}, '"name" is of type int'),
    ],
)
def test_a_bad_calibration_is_one_line(tmp_path, change, message):
    path = tmp_path / "calibration_x.json"
    path.write_text(json.dumps({"cameras": [{**CAMERA, **change}]}))
    with pytest.raises(InputError, match=message) as caught:
        read_calibration(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"bodies": [{"id": 0, "joints19": [1, 2', "not valid JSON"),
        ('{"bodies": [{"id": 0, "joints19": [1, 2]}]}', '"joints19" has shape 2, expected 76'),
        ('{"bodies": [{"id": 0}]}', "every body needs"),
        ('{"bodies": 3}', '"bodies" is of type int'),
        ('{"bodies": [{"id": 0, "joints19": [' + ", ".join(["NaN"] * 76) + "]}]}", "NaN"),
        ('{"bodies": [{"id": 0, "joints19": [' + ", ".join(["1e999"] * 76) + "]}]}", "infinite"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_bad_pose_file_is_one_line(tiny, text, message):
    (tiny / "170101_test1" / "hdPose3d_stage1" / "body3DScene_00000007.json").write_text(text)
    with pytest.raises(InputError, match=message):
        Panoptic(tiny).poses("170101_test1", 7)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Panoptic(tmp_path / "absent")
    with pytest.raises(InputError, match="folder is empty"):
        Panoptic(tmp_path)
    archive = tmp_path / "panoptic.zip"
    archive.write_bytes(b"PK\x03\x04rest")
    with pytest.raises(InputError, match=r"zip archive was given as a folder.*unpack"):
        Panoptic(archive)
    (tmp_path / "seq").mkdir()
    (tmp_path / "seq" / "hdPose3d_stage1_coco19.tar").write_bytes(b"x")
    with pytest.raises(InputError, match="found no Panoptic sequence"):
        Panoptic(tmp_path)
    with pytest.raises(InputError, match=r"unpack hdPose3d_stage1_coco19\.tar first"):
        Panoptic(tmp_path / "seq")


# ---- the real samples: figures of their documentation -----------------------------------------------------------------------------


@needs_samples
def test_band1_is_as_documented():
    data = Panoptic(SHARED / "data/panoptic")
    assert data.sequences == ["160422_haggling1", "160906_band1"]
    seq = "160906_band1"
    assert len(data.cameras(seq)) == 31
    assert data.frames(seq) == list(range(168, 188))
    people = [data.poses(seq, f) for f in data.frames(seq)]
    assert {len(p[0]) for p in people} == {3}
    assert torch.cat([~p[2] for p in people]).double().mean().item() == pytest.approx(0.07, abs=0.005)
    heads = torch.cat([p[1][..., [1, 15, 16, 17, 18], 2] for p in people]).nanmean(1)  # nose, eyes, ears
    assert heads.nanmean().item() == pytest.approx(1100, abs=150)  # heads of seated people, about 1.2 m
    for camera, pitch in {14: -5, 16: 24, 19: 50, 30: 13}.items():
        assert data.camera(seq, camera).pitch_deg.item() == pytest.approx(pitch, abs=0.6)
    known = data.poses(seq, 168)[1][0, 0]  # neck of the first body: 124.136, -105.991, -30.2854 cm in the file
    assert known.tolist() == pytest.approx([1241.36, -302.854, 1059.91])


@needs_samples
def test_leaving_out_the_distortion_costs_what_is_documented():
    data, shifts = Panoptic(SHARED / "data/panoptic"), []
    for sample in data.samples(["160906_band1"], cameras=list(data.cameras("160906_band1")), step=2):
        (uv, _, ok), (plain, _, _) = sample.project(), sample.project(distort=False)
        shifts.append((uv - plain)[ok & sample.camera.in_image(uv)].norm(dim=-1))
    shifts = torch.cat(shifts)
    assert shifts.mean().item() == pytest.approx(9.5, abs=0.4)
    assert shifts.quantile(0.95).item() == pytest.approx(32, abs=1.5)
    assert shifts.max().item() == pytest.approx(84, abs=2)


@needs_samples
def test_haggling_has_pictures_and_no_poses():
    samples = list(Panoptic(SHARED / "data/panoptic/160422_haggling1").samples())
    assert [s.name for s in samples[:5]] == [f"panoptic/160422_haggling1/00_{c}/00004500" for c in ("03", "06", "12", "13", "23")]
    assert len(samples) == 10
    assert all(s.joints is None and Path(s.image).is_file() and s.size == (1920, 1080) for s in samples)


# ---- HMOR's pickles -----------------------------------------------------------------------------------------------------------------


def hmor_record(g, **change):
    term = {"image_name": "a/160422_x/hdImgs/00_16/00_16_00000100.jpg"}
    term |= {"joints_3d_cam": g["pan_joints_cam_cm"], "joints_3d_vis": g["pan_vis_in"]}
    return term | {"intrinsics": g["pan_K"].tolist(), "R": g["pan_R_in"].tolist(), "t": g["pan_t_in_cm"].reshape(3, 1)} | change


@needs_golden
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_hmor_matches_the_published_conversion(tmp_path, protocol):
    g = np.load(SHARED / "golden/dataset_conversion.npz")
    path = tmp_path / "train_cam.pkl"
    path.write_bytes(pickle.dumps([hmor_record(g)], protocol))
    (sample,) = read_hmor(path)
    assert sample.skeleton is PANOPTIC_15
    assert sample.to(JOINTS_15).valid.equal(torch.from_numpy(g["pan_vis_in"]) > 0)
    seen = sample.valid
    assert torch.allclose(sample.camera.centre, torch.from_numpy(g["pan_T_out"]).double(), atol=6e-3)
    assert torch.allclose(sample.camera.R, torch.from_numpy(g["pan_R_out"]).double(), atol=1e-6)
    assert torch.allclose(sample.joints[seen], torch.from_numpy(g["pan_joints_3d"]).double()[seen], atol=6e-3)
    uv, _, ok = sample.project()
    visible = torch.from_numpy(g["pan_joints_2d_vis"]) > 0
    assert (ok | ~visible).all()
    assert torch.allclose(uv[visible], torch.from_numpy(g["pan_joints_2d"]).double()[visible], atol=6e-3)


@needs_golden
def test_hmor_takes_cameras_from_the_calibration(tiny):
    g = np.load(SHARED / "golden/dataset_conversion.npz")
    term = hmor_record(g, image_name="a/170101_test1/hdImgs/00_16/00_16_00000100.jpg")
    (tiny / "clean_train.pkl").write_bytes(pickle.dumps([{k: v for k, v in term.items() if k not in ("R", "t")}]))
    with pytest.raises(InputError, match="no R and t"):
        read_hmor(tiny / "clean_train.pkl")
    (sample,) = read_hmor(tiny / "clean_train.pkl", Panoptic(tiny))
    assert sample.camera.centre.tolist() == [0.0, -3000.0, 0.0]


def test_a_pickle_that_runs_code_is_refused_and_nothing_runs(tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            import os

            return os.mkdir, (str(marker),)

    path = tmp_path / "evil.pkl"
    for protocol in range(6):
        path.write_bytes(pickle.dumps([{"a": Evil()}], protocol))
        with pytest.raises(InputError, match=r"refused: this pickle asks for (posix|nt|os)\.mkdir"):
            read_hmor(path)
    path.write_bytes(b"cbuiltins\neval\n(S'1'\ntR.")
    with pytest.raises(InputError, match=r"refused.*builtins\.eval"):
        load_pickle(path)
    path.write_bytes(b"cnumpy\ndtype\n(S'f8'\ntR}(S'code'\nS'x'\nub.")  # state set on a stand-in: no harm, no traceback
    with pytest.raises(InputError):
        load_pickle(path)
    assert not marker.exists()


def test_pickled_arrays_come_back_as_they_were(tmp_path):
    data = {"f": np.arange(6.0).reshape(2, 3), "F": np.asfortranarray(np.arange(6).reshape(2, 3)), "b": np.array([True, False]),
            "s": np.float32(1.5), "u": np.array(["ab", "c"]), "n": [(1, 2), {"k": None}], "big": np.arange(3, dtype=">i2")}  # fmt: skip
    for protocol in range(6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(data, protocol))
        back = load_pickle(tmp_path / "a.pkl")
        assert all(np.array_equal(back[k], data[k]) for k in ("f", "F", "b", "s", "u", "big"))
        assert back["n"] == [[1, 2], {"k": None}]
        assert back["big"].dtype == data["big"].dtype
