"""Files of weights: written whole, read back exactly, refused in one line when damaged; published checkpoints and hostile ones."""

import json
import os
import pickle
import struct

import pytest
import torch
from recipe import fill as fill_recipe
from recipe import published_keys, tensor
from torch import nn

from vp.__main__ import main
from vp.errors import InputError
from vp.nets.checkpoints import FORMAT, convert, fill, load, save
from vp.nets.resnet import ResNet
from vp.nets.v2v import V2V
from vp.nets.virtualpose import Sizes, VirtualPose
from vp.published_nets import our_name


@pytest.fixture
def small():
    g = torch.Generator().manual_seed(0)
    return V2V(2, 1, widths=(2, 2, 3, 4), kernel=3, generator=g, init_std=None)


# ---- our files -----------------------------------------------------------------------------------------------------------------------


def test_round_trip(tmp_path, small):
    small.to(memory_format=torch.channels_last_3d)
    save(tmp_path / "new" / "a.safetensors", small, {"steps": 7, "name": "Käfer"})
    tensors, facts = load(tmp_path / "new" / "a.safetensors")
    assert facts == {"steps": 7, "name": "Käfer"}
    other = fill(V2V(2, 1, widths=(2, 2, 3, 4), kernel=3), tensors).eval()
    for k, v in small.state_dict().items():
        assert torch.equal(other.state_dict()[k], v), k
        assert other.state_dict()[k].dtype == v.dtype
    volume = torch.rand(1, 2, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(other(volume), small.eval()(volume))
    assert os.listdir(tmp_path / "new") == ["a.safetensors"], "no temporary file is left"


def test_sections_and_tied_weights(tmp_path):
    x = torch.arange(3.0)
    save(tmp_path / "a", {"ren.x": x, "pen.x": x, "backbone.y": x[:2]}, {})
    assert load(tmp_path / "a", "backbone.")[0].keys() == {"y"}
    assert load(tmp_path / "a")[0].keys() == {"ren.x", "pen.x"}
    save(tmp_path / "b", {"backbone.y": x}, {})
    with pytest.raises(InputError, match="no weights of a second stage"):
        load(tmp_path / "b")
    with pytest.raises(InputError, match="no weights named tail"):
        load(tmp_path / "a", "tail.")


def test_the_same_weights_make_the_same_bytes(tmp_path, small):
    for name in "ab":
        save(tmp_path / name, small, {"b": 1, "a": [1.5, None]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path, small, monkeypatch):
    save(tmp_path / "a", small, {"old": 1})
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        save(tmp_path / "a", small, {"loss": float("nan")})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        save(tmp_path / "a", small, {"new": 1})
    assert (tmp_path / "a").read_bytes() == before
    assert os.listdir(tmp_path) == ["a"]


def foreign(metadata):
    header = json.dumps({"__metadata__": metadata, "x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\0\0\0\0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"\x80\x02}q\x00.", "damaged"),
        (b"\xff" * 200, "damaged"),
        (foreign({}), "no header entry"),
        (foreign({"format": "pt"}), "no header entry"),
        (foreign({FORMAT: "{"}), "damaged"),
        (foreign({FORMAT: "[1]"}), "damaged"),
        (foreign({FORMAT: "[" * 100_000}), "damaged"),
    ],
)
def test_damaged_and_foreign_files(tmp_path, content, message):
    file = tmp_path / "a.safetensors"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as e:
        load(file)
    assert str(file) in str(e.value)
    assert "\n" not in str(e.value)


def test_a_cut_file_and_a_missing_one(tmp_path, small):
    save(tmp_path / "a", small, {})
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path / "a")
    for path in (tmp_path / "b", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            load(path)


def test_fill_wants_all_names_and_shapes(small):
    state = small.state_dict()
    with pytest.raises(InputError, match=r"^here: 1 weights are missing, output.bias"):
        fill(small, {k: t for k, t in state.items() if k != "output.bias"}, "here")
    with pytest.raises(InputError, match="1 unknown weights, tail"):
        fill(small, {**state, "tail": torch.zeros(1)})
    with pytest.raises(InputError, match=r"output.bias has shape \(2,\), not \(1,\)"):
        fill(small, {**state, "output.bias": torch.zeros(2)})


# ---- published files -------------------------------------------------------------------------------------------------------------------


def published(keys):
    """A published state dict with names and shapes of `keys`, every tensor full of its own number (and tiny in the file)."""
    return {k: torch.tensor(i if k.endswith("num_batches_tracked") else i / 8).expand(shape) for i, (k, shape) in enumerate(keys.items())}


@pytest.fixture(scope="module")
def both(shared):
    """The second stage of 15 joints under published names."""
    return published({k: shape for k, shape in published_keys(shared).items() if not k.startswith("backbone.")})


@pytest.fixture(autouse=True)
def _no_heap_of_files(tmp_path):
    yield
    for file in (*tmp_path.glob("*.safetensors"), *tmp_path.glob("*.pth.tar")):
        file.unlink()


@pytest.mark.parametrize("wrap", ["plain", "training", "parallel"])
def test_convert_second_stage(tmp_path, shared, both, wrap):
    state = {f"module.{k}": t for k, t in both.items()} if wrap == "parallel" else both
    state = {"epoch": 20, "state_dict": state, "optimizer": {"param_groups": [{"lr": 1e-4}]}} if wrap == "training" else state
    torch.save(state, tmp_path / "model.pth.tar")
    facts = convert(tmp_path / "model.pth.tar", tmp_path / "a.safetensors")
    assert facts["joints"] == 15
    assert facts["sections"] == ["pen", "ren"]
    assert len(facts["dropped"]) == 6
    tensors, stored = load(tmp_path / "a.safetensors")
    assert json.dumps(stored) == json.dumps(facts, sort_keys=True)
    assert {our_name(k) for k in both} - tensors.keys() == set(facts["dropped"])
    for k, t in both.items():
        assert our_name(k) in facts["dropped"] or torch.equal(tensors[our_name(k)], t), k
    model = fill(VirtualPose(Sizes.from_dict(stored["sizes"])), tensors)
    assert torch.equal(model.ren.de.conv1.weight, both["REN.depth_net.conv1.weight"])
    fill(model.pen.net, load(tmp_path / "a.safetensors", "pen.net.")[0])


@pytest.mark.parametrize("model", ["muco17_resnet152", "backbone_resnet50_15_standalone"])
def test_convert_with_backbone(tmp_path, shared, model):
    keys = published_keys(shared, model)
    torch.save(published(keys), tmp_path / "model.pth.tar")
    facts = convert(tmp_path / "model.pth.tar", tmp_path / "a.safetensors")
    alone = "standalone" in model
    assert facts["sections"] == (["backbone"] if alone else ["backbone", "pen", "ren"])
    assert facts["joints"] == (15 if alone else 17)
    assert facts["backbone"]["depth"] == (50 if alone else 152)
    tensors, facts = load(tmp_path / "a.safetensors", "backbone.")
    net = fill(ResNet(**facts["backbone"]), tensors)
    if not alone:
        sizes = Sizes.from_dict(facts["sizes"])
        assert sizes == Sizes(joints=17, space_centre=(0.0, 0.0, 1100.0))
        fill(VirtualPose(sizes), load(tmp_path / "a.safetensors")[0])
    for k, t in published(keys).items():
        if alone or k.startswith("backbone."):
            assert torch.equal(net.state_dict()[our_name(k.removeprefix("backbone."))], t), k


@torch.no_grad()
def test_a_converted_network_computes_what_the_published_one_does(tmp_path, shared):
    keys = published_keys(shared, "backbone_resnet50_15_standalone")
    torch.save({k: tensor(k, shape) for k, shape in keys.items()}, tmp_path / "model.pth.tar")
    facts = convert(tmp_path / "model.pth.tar", tmp_path / "a.safetensors")
    net = fill(ResNet(**facts["backbone"]), load(tmp_path / "a.safetensors", "backbone.")[0]).eval()
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    wanted = fill_recipe(ResNet(50), keys)(images)
    assert all(torch.equal(m, wanted[name]) for name, m in net(images).items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("REN.v2v_net.output_layer.bias"), "1 weights are missing, ren.net.output.bias"),
        (lambda s: s.update({"REN.extra.weight": torch.zeros(2)}), "1 unknown weights, REN.extra.weight"),
        (lambda s: s.update({"REN.v2v_net.output_layer.bias": torch.zeros(2)}), r"shape \(2,\), not \(1,\)"),
        (lambda s: s.update({"PEN.v2v_net.output_layer.bias": torch.zeros(14)}), "a model of 14 joints"),
        (lambda s: s.update({"REN.v2v_net.output_layer.bias": torch.tensor([float("nan")])}), "not finite"),
        (lambda s: s.update({"ren.net.output.bias": torch.zeros(1)}), "two weights of the same name"),
        (lambda s: s.update({"epoch": 3}), "not a dict of named weights"),
        (lambda s: s.update({"REN.v2v_net.output_layer.bias": torch.zeros(1).to_sparse()}), "not a dict of named weights"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("PEN")], "neither a published model nor its backbone"),
        (lambda s: s.clear(), "not a dict of named weights"),
        (lambda s: s.update({"REN.v2v_net.output_layer.bias": torch.zeros(1).expand(10**12)}), r"shape \(1000000000000,\)"),
    ],
)  # fmt: skip
def test_convert_refuses(tmp_path, both, change, message):
    state = dict(both)
    change(state)
    torch.save(state, tmp_path / "model.pth.tar")
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "model.pth.tar", tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


class Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("how", ["torch", "legacy", "pickle", "nested", "text", "empty", "cut", "list"])
def test_hostile_and_damaged_files_are_not_opened(tmp_path, how, capsys):
    file, trap = tmp_path / "model.pth.tar", tmp_path / "trap"
    if how in ("torch", "legacy"):
        torch.save(Hostile(trap), file, _use_new_zipfile_serialization=how == "torch")
    elif how == "nested":
        torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}, "optimizer": Hostile(trap)}, file)
    elif how == "list":
        torch.save([torch.zeros(1)], file)
    elif how == "cut":
        torch.save({"conv1.weight": torch.zeros(1000)}, file)
        file.write_bytes(file.read_bytes()[:900])
    else:
        file.write_bytes({"pickle": pickle.dumps(Hostile(trap)), "text": b"<html>404</html>", "empty": b""}[how])
    assert main(["convert", str(file), "--out", str(tmp_path / "a.safetensors")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"vp convert: {file}: ")
    assert err.count("\n") == 1
    assert not trap.exists()
    assert not (tmp_path / "a.safetensors").exists()
    if how not in ("text", "empty", "cut", "list"):  # the trap works where code is run
        torch.load(file, weights_only=False) if how != "pickle" else pickle.loads(file.read_bytes())
        assert trap.exists()


def test_convert_command(tmp_path, both, capsys):
    torch.save(both, tmp_path / "model.pth.tar")
    assert main(["convert", str(tmp_path / "model.pth.tar"), "--out", str(tmp_path / "a.safetensors")]) == 0
    assert "15 joints, pen, ren; dropped ren.de.heads.box.0.bias" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "absent"), "--out", str(tmp_path / "a.safetensors")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_nets_load_safetensors_only_when_a_file_is_touched_and_never_the_lab():
    import subprocess
    import sys

    code = "import sys, vp.nets.checkpoints; print('safetensors' in sys.modules, 'vp.lab' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False False\n"


def test_modules_are_state_dicts_too(tmp_path):
    save(tmp_path / "a", nn.Linear(2, 1), {})
    assert load(tmp_path / "a")[0].keys() == {"weight", "bias"}
