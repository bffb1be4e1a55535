"""Hostile input of `vp estimate`, `vp evaluate`, `vp tailor`: one clear line and exit code 2, or a sensible result; memory bounded."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_estimate import person, results, write

from vp.__main__ import main
from vp.atomic import check_outputs, write_atomic
from vp.data import detections, photo
from vp.errors import InputError
from vp.lab import backbone, estimate, found, guess_camera, two_d
from vp.sample import Sample
from vp.show import estimate as show
from vp.skeleton import JOINTS_15

Image = pytest.importorskip("PIL.Image")
SIZE = ["--size", "640", "480"]
SOMEBODY = person(320, 240, 1.5)
PIXELS = (np.indices((48, 64)).sum(0)[..., None] * np.array([2, 1, 0])).astype(np.uint8)  # brighter to the right and below


def ran(capsys, *command):
    """Exit code, lines of stderr."""
    code = main([*map(str, command)])
    return code, capsys.readouterr().err.strip().splitlines()


def refused(capsys, said, *command):
    code, lines = ran(capsys, *command)
    assert code == 2, lines
    assert len(lines) == 1
    assert said in lines[0]
    assert len(lines[0]) < 700


# ---- names and ids ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["\ud800", "$\\frac{a$", "a\nb\x1b[31m", "x" * 200, "<b>&"])
def test_odd_names_of_images_and_people(name, tmp_path, capsys):
    data = [{**results([SOMEBODY])[0], "image_id": name, "id": name}]
    out, pages = tmp_path / "o.json", [tmp_path / "o.png", tmp_path / "o.html"]
    source = write(tmp_path / "k.json", data)
    assert main(["estimate", source, *SIZE, "--out", str(out), "--picture", str(pages[0]), "--html", str(pages[1])]) == 0
    lines = capsys.readouterr().out.encode().decode().splitlines()
    assert all(line.isprintable() and len(line) < 400 for line in lines)
    (entry,) = json.loads(out.read_text())["images"]
    assert entry["people"][0]["root_depth_mm"] > 1000
    assert all(p.stat().st_size > 5000 for p in pages)


@pytest.mark.parametrize("value", ["NaN", "null", "[1, 2]", '{"a": 1}', "1.5", "true"])
def test_an_id_that_is_none_becomes_a_number(value, tmp_path):
    text = json.dumps(results([SOMEBODY])).replace('"id": 0', f'"id": {value}')
    out = tmp_path / "o.json"
    assert main(["estimate", write(tmp_path / "k.json", text), *SIZE, "--out", str(out)]) == 0
    assert json.loads(out.read_text())["images"][0]["people"][0]["person_id"] == 1


# ---- what cannot be: sizes, outputs, cameras ---------------------------------------------------------------------------------------------


def test_a_size_that_the_file_contradicts(tmp_path, capsys):
    source = tmp_path / "1.png"
    Image.new("RGB", (640, 480)).save(source)
    keypoints = write(tmp_path / "k.json", results([SOMEBODY]))
    command = ["estimate", keypoints, "--photo", source, "--size", "100", "100", "--out", tmp_path / "o.json"]
    refused(capsys, "the photo says 640 x 480, --size says 100 x 100", *command)


@pytest.mark.parametrize("option", ["--out", "--picture", "--html"])
def test_places_that_cannot_be_written_are_told_before_anything_is_done(option, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(estimate.models, "load", lambda *_: pytest.fail("it went on"))
    source = write(tmp_path / "k.json", results([SOMEBODY]))
    (tmp_path / "folder").mkdir()
    places = {"no/such/x": "there is no folder", "folder": "a folder, not a file", "k.json/x": "there is no folder", "a" * 300: "too long",
              ".": "a folder, not a file", "k.json": "the same file as the input"}  # fmt: skip
    command = ["estimate", source, *SIZE, *(() if option == "--out" else ("--out", tmp_path / "o"))]
    for place, said in places.items():
        refused(capsys, said, *command, option, tmp_path / place)
    refused(capsys, "not a name", *command, option, "a\0b")


def test_outputs_may_not_be_one_file_and_a_folder_must_take_files(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="the same file as --out"):
        check_outputs({"--out": tmp_path / "a", "--html": None, "--picture": tmp_path / "." / "a"})
    check_outputs({"--out": tmp_path / "a", "--picture": tmp_path / "b"}, [None, tmp_path / "c"])
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be written to"):
        check_outputs({"--out": tmp_path / "a"})


def test_a_failed_write_names_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(OSError) as e:
        write_atomic(tmp_path / "no" / "a.json", "x")
    assert e.value.filename == str(tmp_path / "no" / "a.json")


def test_evaluate_looks_at_its_output_first(tmp_path, capsys):
    refused(capsys, "there is no folder", "evaluate", "--dataset", "virtual", "--out", tmp_path / "no" / "o.json")


CAMERA = guess_camera.level((640, 480), height=1500.0).to_dict()
CAMERAS = {
    "focal NaN": {"f": [float("nan")] * 2}, "focal negative": {"f": [-500.0] * 2}, "focal huge": {"f": [1e300] * 2},
    "focal tiny": {"f": [1e-300] * 2},
    "focals apart": {"f": [500.0, 20_000.0]}, "far centre": {"c": [1e9, 1e9]},
    "far away": {"t": [1e300, 0.0, 0.0]},
    "R of zeros": {"R": np.zeros((3, 3)).tolist()}, "R scaled": {"R": (2 * np.array(CAMERA["R"])).tolist()}, "R of a row": {"R": [1, 2, 3]},
    "lens": {"dist": [1e5, 0, 0, 0, 0]}, "size": {"size": [0, 0]}, "size huge": {"size": [1e300, 1e300]},
}  # fmt: skip


@pytest.mark.parametrize("name", CAMERAS)
def test_cameras_that_cannot_be(name, tmp_path, capsys):
    source, camera = write(tmp_path / "k.json", results([SOMEBODY])), write(tmp_path / "c.json", CAMERA | CAMERAS[name])
    refused(capsys, "c.json", "estimate", source, "--camera", camera, "--out", tmp_path / "o.json", "--picture", tmp_path / "o.png")
    refused(capsys, "c.json", "tailor", camera, "--profile", "smoke", "--out", tmp_path / "o.safetensors")


def test_a_left_handed_rotation_is_repaired_and_told_in_the_report(tmp_path, capsys):
    R = np.array(CAMERA["R"])
    R[:, 1] *= -1
    source, out = write(tmp_path / "k.json", results([SOMEBODY])), tmp_path / "o.json"
    code, lines = ran(capsys, "estimate", source, "--camera", write(tmp_path / "c.json", CAMERA | {"R": R.tolist()}), "--out", out)
    assert (code, lines) == (0, [])
    assert any("left-handed" in w for w in json.loads(out.read_text())["images"][0]["warnings"])


@pytest.mark.parametrize("camera", [{"c": [1800.0, -1400.0]}, {"f": [7.0, 7.0]}, {"f": [6e5, 6e5]}, {"dist": [-5.0, 0, 0, 0, 0]}], ids=str)
def test_a_camera_at_the_edge_of_the_plausible_can_be_drawn(camera, tmp_path, capsys):
    source = write(tmp_path / "k.json", results([SOMEBODY]))
    file = write(tmp_path / "c.json", CAMERA | camera)
    code, lines = ran(capsys, "estimate", source, "--camera", file, "--out", tmp_path / "o.json", "--picture", tmp_path / "o.png",
                      "--html", tmp_path / "o.html")  # fmt: skip
    assert (code, lines) == (0, [])


# ---- many and much -----------------------------------------------------------------------------------------------------------------------


def test_two_hundred_people(tmp_path):
    crowd = [person(20 + 3 * i, 240 + i % 7, 1.0) for i in range(200)]
    out = tmp_path / "o.json"
    assert main(["estimate", write(tmp_path / "k.json", results(crowd)), *SIZE, "--out", str(out)]) == 0
    assert len(json.loads(out.read_text())["images"][0]["people"]) == 200


def test_more_than_can_be_done_at_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(found, "KEYPOINTS", 5)
    source = write(tmp_path / "k.json", results([SOMEBODY] * 3, image=1) + results([SOMEBODY] * 3, image=2))
    refused(capsys, "6 people in 2 images", "estimate", source, *SIZE, "--out", tmp_path / "o.json")
    assert main(["estimate", source, *SIZE, "--image", "2", "--out", str(tmp_path / "o.json")]) == 0


def test_a_file_too_large_to_be_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(detections, "LARGEST", 100)
    with pytest.raises(InputError, match="split it"):
        detections.read_detections(write(tmp_path / "k.json", results([SOMEBODY])))
    coco = {"images": [{"id": 1, "file_name": "1.png", "width": 640, "height": 480}], "annotations": [
        {"id": 1, "image_id": 1, "iscrowd": 0, "num_keypoints": 17, "bbox": [1, 2, 3, 4],
         "keypoints": np.c_[SOMEBODY, np.full(17, 2)].ravel().tolist()}]}  # fmt: skip
    assert len(detections.read_detections(write(tmp_path / "coco.json", coco))) == 1


@pytest.mark.slow
def test_300_megabytes_of_keypoints_are_refused_in_bounded_memory(tmp_path):
    one = json.dumps(results([SOMEBODY])[0])
    with open(tmp_path / "k.json", "w") as f:
        f.write("[" + ",\n".join([one] * (300_000_000 // len(one))) + "]")
    code = "import resource, sys; from vp.__main__ import main; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    code += "rc = main(sys.argv[1:]); print(rc, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    command = [sys.executable, "-c", code, "estimate", tmp_path / "k.json", *SIZE, "--out", tmp_path / "o.json"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    rc, more = map(int, done.stdout.split())
    assert rc == 2
    assert "split it" in done.stderr
    assert more < 600, f"{more} MB more than before"  # the file's own pages, which the system may drop, are in it


# ---- photos ------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def eyes(monkeypatch, tmp_path):
    """A 2D network that finds nobody and notes what it was shown, (3, H, W) uint8."""
    shown = []

    def detect(net, image, name):
        shown.append(image)
        nobody, size = torch.zeros(0, 15, 2, dtype=torch.float64), (image.shape[2], image.shape[1])
        return Sample(JOINTS_15, f"detections/{name}", joints_px=nobody, valid_px=torch.zeros(0, 15, dtype=torch.bool), size=size)

    (tmp_path / "net").touch()
    monkeypatch.setattr(backbone, "SHIPPED", tmp_path / "net")
    monkeypatch.setattr(backbone, "load", lambda path=None: SimpleNamespace(backbone="net"))
    monkeypatch.setattr(two_d, "detect", detect)
    return shown


def saved(path, array=PIXELS, mode=None, **options):
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "CMYK"), ("a.tif", "CMYK"), ("a.png", "LA"), ("a.png", "P"), ("a.png", "RGBA"),
                                            ("a.webp", None), ("a.jpg", "L"), ("a.png", "1")])  # fmt: skip
def test_photos_of_all_colours(name, mode, eyes, tmp_path):
    source = saved(tmp_path / name, mode=mode)
    assert main(["estimate", str(source), "--out", str(tmp_path / "o.json"), "--picture", str(tmp_path / "o.png")]) == 0
    assert eyes[0].shape == (3, 48, 64)
    if mode not in ("L", "LA", "1"):
        assert np.abs(eyes[0].permute(1, 2, 0).numpy().astype(int) - PIXELS).mean() < 12


def test_sixteen_bits_are_scaled_not_cut(eyes, tmp_path):
    deep = PIXELS[..., 0].astype(np.uint16) * 257
    for name in ("a.png", "a.tif"):
        source = saved(tmp_path / name, deep)
        assert main(["estimate", str(source), "--out", str(tmp_path / "o.json")]) == 0
        np.testing.assert_array_equal(eyes[-1][0].numpy(), PIXELS[..., 0])
        np.testing.assert_array_equal(show.read_photo(source, (64, 48))[..., 0], PIXELS[..., 0])


@pytest.mark.parametrize("end", ["jpg", "png", "webp", "tif"])
def test_a_turned_photo_is_turned_back(end, eyes, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    source = saved(tmp_path / f"a.{end}", exif=exif, **({"quality": 95} if end == "jpg" else {}))
    assert main(["estimate", str(source), "--out", str(tmp_path / "o.json")]) == 0
    assert eyes[0].shape == (3, 64, 48)
    assert json.loads((tmp_path / "o.json").read_text())["images"][0]["size"] == [48, 64]
    assert np.abs(eyes[0].permute(1, 2, 0).numpy().astype(int) - np.rot90(PIXELS, -1)).mean() < 12


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (30_000, 2)])
def test_slivers(size, tmp_path, monkeypatch):
    from test_backbone import net
    from test_two_d import QUICK

    (tmp_path / "net").touch()
    monkeypatch.setattr(backbone, "SHIPPED", tmp_path / "net")
    monkeypatch.setattr(backbone, "load", lambda path=None: SimpleNamespace(backbone=net(QUICK)))
    source = saved(tmp_path / "a.png", np.zeros((size[1], size[0], 3), np.uint8))
    assert main(["estimate", str(source), "--out", str(tmp_path / "o.json")]) == 0


def test_animations_show_their_first_frame(eyes, tmp_path, capsys):
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert main(["estimate", str(tmp_path / "a.png"), "--out", str(tmp_path / "o.json")]) == 0
    np.testing.assert_array_equal(eyes[0].permute(1, 2, 0).numpy(), PIXELS)
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    refused(capsys, "neither keypoints nor a photo", "estimate", tmp_path / "a.gif", "--out", tmp_path / "o.json")


@pytest.mark.parametrize("end", ["jpg", "png", "tif", "webp"])
def test_a_cut_off_photo_is_one_line(end, eyes, tmp_path, capfd):
    whole = saved(tmp_path / f"a.{end}", np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)).read_bytes()
    for part in (0.5, 0.02, 0.0):
        (tmp_path / f"b.{end}").write_bytes(whole[: int(part * len(whole))])
        assert main(["estimate", str(tmp_path / f"b.{end}"), "--out", str(tmp_path / "o.json")]) == 2
        lines = capfd.readouterr().err.strip().splitlines()  # of the process: libraries write there, too
        assert len(lines) == 1
        assert "not a readable picture" in lines[0]


def test_other_photos_that_are_none(eyes, tmp_path, capsys):
    floats = saved(tmp_path / "f.tif", PIXELS[..., 0].astype(np.float32))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "a.txt").write_text("hello")
    cases = ((floats, "not a readable picture"), (tmp_path / "folder.png", "not a readable picture"), ("a\0b.png", "no such file"),
             ("a" * 5000 + ".json", "no such file"), (tmp_path / "a.txt", "neither keypoints nor a photo"))  # fmt: skip
    for source, said in cases:
        refused(capsys, said, "estimate", source, "--out", tmp_path / "o.json")
    with photo.quiet(), pytest.raises(ValueError, match="floating-point"):
        photo.rgb(Image.open(floats))


def test_corrupt_exif_says_nothing(eyes, tmp_path, capsys, recwarn):
    source = saved(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0" + b"\xff" * 60)
    assert ran(capsys, "estimate", source, "--out", tmp_path / "o.json", "--picture", tmp_path / "o.png") == (0, [])
    assert not [w for w in recwarn if "EXIF" in str(w.message)]
