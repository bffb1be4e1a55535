"""A model for one camera: the floor it sees, going on from given weights, what is compared with what, and `vp tailor` end to end."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_second_stage import COURSE, TINY

from vp.__main__ import main
from vp.camera import Camera
from vp.errors import InputError
from vp.lab import models, results, tailor
from vp.lab.evaluate import LEVELS
from vp.lab.profiles import COMPACT, SHIPPED_NOISE
from vp.lab.second_stage import Batches, CameraError, Jointly, world
from vp.lab.train import Plan, Stopped
from vp.nets.virtualpose import VirtualPose
from vp.world.cameras import panoptic


def camera(pitch=20.0, height=2400.0, focal=1400.0, size=(1920, 1080)):
    """One camera at (1000, -500), looking at azimuth 40 degree."""
    return Camera.from_angles([math.radians(pitch)], [0.7], centre=[(1000.0, -500.0, height)], focal=[focal], size=size)[0]


def dome16():
    """Camera 16 of CMU Panoptic."""
    return panoptic(1, torch.Generator(), (16,))[0]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A tiny universal model, hardly trained, in a file."""
    path = tmp_path_factory.mktemp("net") / "tiny.safetensors"
    return models.make(COURSE, Batches(world(), TINY), path, label=None)


@pytest.fixture(scope="module")
def way(start):
    """A short course before `camera()`."""
    return replace(tailor.course(start, camera(), "smoke"), together=Plan(steps=4, batch=6, lr=1e-3, schedule="cosine"))


@pytest.fixture(scope="module")
def batches(way):
    return tailor.batches_of(way, camera())


# ---- the camera and its floor ----------------------------------------------------------------------------------------------------------


def test_reach_by_hand():
    """A camera 1.9 m high, 45 degree down, edges 30 and 60 degree below the horizon: roots, 1 m below it, from 1/tan 60 to 1/tan 30 m."""
    f = 540 / math.tan(math.radians(15))
    one = camera(45.0, 1900.0, f)
    assert tailor.reach(one, 0.0) == pytest.approx((1000 / math.tan(math.radians(60)), 1000 / math.tan(math.radians(30))))
    assert tailor.reach(one, 900.0)[0] == 900.0
    assert tailor.reach(one, 0.0, 1200.0)[1] == 1200.0
    assert tailor.reach(camera(10.0, 1900.0, f), 0.0)[1] == COMPACT.places.view[1], "its upper edge is above the horizon"
    low = tailor.reach(camera(-45.0, 100.0, f), 0.0)  # looks up at roots 0.8 m above it
    assert low == pytest.approx((800 / math.tan(math.radians(60)), 800 / math.tan(math.radians(30))))
    higher = replace(one, c=one.c + one.c.new_tensor([0.0, 200.0]))  # more of the picture above the axis
    assert tailor.reach(higher, 0.0)[1] > tailor.reach(one, 0.0)[1]


@pytest.mark.parametrize(
    ("pitch", "height", "said"), [(20.0, -100.0, "below the floor"), (-40.0, 2400.0, "no floor"), (85.0, 1500.0, "no floor")]
)
def test_cameras_that_see_nobody(pitch, height, said):
    with pytest.raises(InputError, match=said):
        tailor.reach(camera(pitch, height))


def test_reach_is_where_people_are_seen():
    """Of standing roots straight ahead, those within reach are in the picture and those beyond are not."""
    for one in (camera(), camera(50.0, 3300.0), camera(-4.0, 1200.0, 1650.0)):
        near, far = tailor.reach(one, 0.0)
        for d, seen in ((near * 0.97, False), (near * 1.03, True), (far * 0.97, True), (far * 1.03, False)):
            ahead = one.centre[:2] + d * torch.stack([one.yaw.cos(), one.yaw.sin()])
            uv, _, ok = one.project(torch.tensor([[*ahead.tolist(), tailor.ROOT_HEIGHT]], dtype=torch.float64))
            shown = bool(ok) and 0 <= float(uv[0, 1]) <= one.size[1]
            assert shown == seen or d > COMPACT.places.view[1] * 0.9


def test_course_keeps_the_networks_and_the_shipped_noise(start):
    way = tailor.course(start, camera(), "quick", 3)
    assert (way.sizes, way.noise, way.frame, way.alone) == (TINY, SHIPPED_NOISE, "ahead", None)
    assert way.camera_error == CameraError(), "the camera is fixed and known"
    assert way.together.seed == 3
    assert way.places.view == tailor.reach(camera(), float(TINY.grid.axes()[0][0]))
    assert tailor.course(start, camera(), pitch_error=1.5).camera_error == CameraError(1.5)
    near, far = (tailor.course(start, camera(), view=v) for v in ((1500.0, 4000.0), (1500.0, 20_000.0)))
    assert near.places.view == (1500.0, 4000.0)
    assert near.windows == tailor.STRETCH < far.windows == COMPACT.windows


def test_course_refuses(start):
    for options, said in (({"view": (4000.0, 2000.0)}, "at least"), ({"view": (math.nan, 2000.0)}, "at least"),
                          ({"pitch_error": -1.0}, "0 to 20"), ({"pitch_error": math.nan}, "0 to 20")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            tailor.course(start, camera(), **options)
    with pytest.raises(InputError, match="in the frame 'camera'"):
        tailor.course(replace(start, facts={**start.facts, "frame": "camera"}), camera())


def test_scenes_are_this_camera_s_and_somebody_is_in_each(way, batches):
    """Training and test scenes: the one camera in all of them, a root in every picture, other people in the test."""
    one, train = camera(), batches.data.scenes(16, 1)
    test = tailor.held_out(way, one, n=16)[0]
    for scenes in (train, test):
        assert torch.allclose(scenes.camera.R, one.R.expand(16, 3, 3))
        assert torch.allclose(scenes.camera.centre, one.centre.expand(16, 3))
        assert bool((scenes.in_image() & scenes.mask[..., None])[:, 0, 2].all())
        distance = (scenes.joints[:, :, 2, :2] - one.centre[:2]).norm(dim=-1)[scenes.mask]
        near, far = way.places.view
        assert near - 1 <= float(distance.min())
        assert float(distance.max()) <= far + 1
        assert scenes.sources["cameras"] == "user"
    assert not set(train.people.stature.tolist()) & set(test.people.stature.tolist())
    assert sum(map(len, tailor.held_out(way, one, n=40))) == 40


def test_a_source_of_the_user_s(start, way, shared):
    data = tailor.batches_of(way, camera(), (f"bvh:{shared / 'data' / 'bvh'}",)).data
    assert data.sources["poses"] == "bvh"
    assert data.scenes(2).mask.any()
    with pytest.raises(InputError, match="unknown poses"):
        tailor.batches_of(way, camera(), ("magic",))


# ---- learning --------------------------------------------------------------------------------------------------------------------------


def weights(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def test_learning_goes_on_from_the_start_and_leaves_it(start, way, batches):
    """At a rate of 0 the start comes out; else all three networks have moved, a little, and the start is what it was."""
    before = weights(start.model)
    still, _ = tailor.learn(start, replace(way, together=replace(way.together, lr=0.0)), batches, label=None)
    names = [k for k, _ in still.named_parameters()]
    assert all(torch.equal(weights(still)[k], before[k]) for k in names)
    moved, history = tailor.learn(start, way, batches, label=None)
    assert history.steps == 4
    for part in ("ren.de.", "ren.net.", "pen."):
        far = max(float((weights(moved)[k] - before[k]).abs().max()) for k in names if k.startswith(part))
        assert 0 < far < 0.1, part
    assert all(torch.equal(v, before[k]) for k, v in start.model.state_dict().items())


def test_an_interrupted_one_resumes_to_the_same_bits_and_no_other_state_is_taken(start, way, batches, tmp_path, monkeypatch):
    whole, _ = tailor.learn(start, way, batches, label=None)
    forward, count = Jointly.forward, [0]

    def once(self, batch):
        count[0] += 1
        if count[0] == 3:
            raise Stopped
        return forward(self, batch)

    path = tmp_path / "x.state"
    with monkeypatch.context() as m:
        m.setattr(Jointly, "forward", once)
        with pytest.raises(Stopped):
            tailor.learn(start, way, batches, path, label=None)
    other = tailor.batches_of(way, camera(20.001))
    fresh = replace(start, model=VirtualPose(TINY, generator=torch.Generator().manual_seed(5)))
    for begun, stream in ((start, other), (fresh, batches)):
        with pytest.raises(InputError, match="other data or options"):
            tailor.learn(begun, way, stream, path, resume=True, label=None)
    resumed, history = tailor.learn(start, way, batches, path, resume=True, label=None)
    assert history.steps == 4
    assert all(torch.equal(a, b) for a, b in zip(weights(whole).values(), weights(resumed).values(), strict=True))
    assert not path.exists()


def test_tailoring_helps_a_tiny_network(start):
    """Sixty steps before one camera: its DE is nearer the truth there than the hardly trained start, on the same people."""
    way = replace(tailor.course(start, camera(), "smoke"), together=Plan(steps=60, batch=8, lr=4e-3, clip=1.0, schedule="cosine"))
    batches = tailor.batches_of(way, camera())
    model, history = tailor.learn(start, way, batches, label=None)
    facts = tailor.facts_of(start, way, batches, history, camera())
    made = models.Trained(model.eval(), facts, start.path)
    gain = tailor.compare(start, made, tailor.held_out(way, camera(), n=64))
    both = gain.people["universal"]["DE"].found & gain.people["tailored"]["DE"].found  # its REN finds nobody yet
    before, after = (np.abs(gain.people[name]["DE"].root[both, 2]).mean() for name in ("universal", "tailored"))
    assert after < 0.8 * before


# ---- comparing -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(start, tmp_path_factory):
    """The shipped model tailored by the smoke profile: (`Trained`, `Gain`), the path of the camera, the path of the model."""
    folder = tmp_path_factory.mktemp("tailored")
    one = dome16()
    (folder / "camera.json").write_text(json.dumps(one.to_dict()))
    path = folder / "mine.safetensors"
    return *tailor.make(one, path, profile="smoke", label=None), folder / "camera.json", path


def test_the_gain_is_paired_and_stands_in_the_file(made):
    trained, gain, _, path = made
    u, t = (gain.people[k]["REN+PEN"] for k in ("universal", "tailored"))
    both = u.found & t.found & gain.people["universal"]["DE"].found & gain.people["tailored"]["DE"].found
    assert gain.among.sum() == both.sum() > 20
    change = np.abs(t.root[gain.among, 2]) - np.abs(u.root[gain.among, 2])
    d = gain.difference()
    assert d["value"] == pytest.approx(change.mean())
    assert d["interval"][0] < d["value"] < d["interval"][1]
    assert d["n"] == gain.among.sum()
    assert not np.array_equal(t.root[gain.among], u.root[gain.among]), "two models"
    near, far = gain.parts.values()
    assert min(near["n"], far["n"]) > 0
    assert near["n"] + far["n"] == d["n"]
    assert near["value"] == pytest.approx(change[gain.depth[gain.among] < 9000].mean())
    assert near["n"] * near["value"] + far["n"] * far["value"] == pytest.approx(d["n"] * d["value"])
    kept = models.load(path)
    said = kept.facts["tailored"]
    assert said["difference"]["value"] == pytest.approx(d["value"], abs=1e-3)
    assert said["held_out"]["tailored, REN+PEN"]["mrpe_z"] == pytest.approx(gain.errors("tailored").mean(), abs=1e-3)
    assert set(LEVELS) <= set(said["held_out"])
    assert said["start"] == models.SHIPPED.name
    assert kept.facts["training"]["all"]["steps"] == tailor.STEPS["smoke"]
    for a, b in zip(trained.model.state_dict().values(), kept.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not [p for p in path.parent.iterdir() if p.suffix == ".state"]
    assert "the same people" in tailor.text(trained, gain)


def test_a_stated_pitch_error_reaches_both_models(made):
    """Cameras told wrong by 5 degree make both worse; the levels that need no camera angle stay."""
    trained, shipped = made[0], models.load()
    scenes = tailor.held_out(tailor.course(shipped, dome16()), dome16(), n=16)
    exact, wrong = (tailor.compare(shipped, trained, scenes, e) for e in (None, CameraError(5.0)))
    for name in ("universal", "tailored"):
        among = exact.among & wrong.among
        a, b = (np.abs(g.people[name]["REN"].root[among, 2]).mean() for g in (exact, wrong))
        assert b > a + 20, name
    assert np.array_equal(exact.people["tailored"]["box size"].root, wrong.people["tailored"]["box size"].root)


def test_rows(made):
    gain = made[1]
    found = tailor.rows(gain, notebook="11", profile="smoke", seed=0)
    of = {(r["method"], r["train"], r["metric"]): r for r in found}
    for name in ("universal", "tailored"):
        r = of["REN+PEN", name, "mrpe_z"]
        assert r["value"] == pytest.approx(gain.errors(name).mean(), rel=1e-5)
        assert len(r["per_scene"]) == r["n"] == gain.among.sum()
        assert r["experiment"] == "tailored"
    assert of["REN+PEN", "tailored", "mrpe_z"]["steps"] == tailor.STEPS["smoke"]
    assert of["box size", None, "mrpe_z"]["steps"] is None
    assert len({results._part(r, results.IDENTITY) for r in found}) == len(found), "no row replaces another"


# ---- the command -----------------------------------------------------------------------------------------------------------------------


def test_evaluate_takes_it_and_warns_of_other_cameras(made, tmp_path, capsys):
    _, _, file, path = made
    command = ["evaluate", "--dataset", "virtual", "--weights", str(path), "--scenes", "4", "--out", str(tmp_path / "r.json")]
    assert main([*command, "--camera", str(file)]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["methods"]["REN+PEN"]["n"] > 0
    assert not [w for w in report["warnings"] if "depth" not in w], "its own camera is no strange one"
    assert main([*command, "--camera", "panoptic:14"]) == 0
    warned = " ".join(json.loads((tmp_path / "r.json").read_text())["warnings"])
    assert all(k in warned for k in ("pitch", "height", "focal"))
    capsys.readouterr()


def test_command_with_other_weights(start, made, tmp_path, capsys):
    out = tmp_path / "new" / "mine.safetensors"
    command = ["tailor", str(made[2]), "--profile", "smoke", "--weights", str(start.path), "--view", "1500", "4000", "--out", str(out)]
    assert main([*command, "--pitch-error", "1", "--seed", "2"]) == 0
    said = capsys.readouterr().out
    assert "people 1.5 to 4.0 m ahead" in said
    assert f"vp evaluate --dataset virtual --camera {made[2]} --weights {out}" in said
    facts = models.load(out).facts
    assert facts["tailored"]["start"] == start.path.name
    assert facts["course"]["camera_error"]["pitch_deg"] == 1.0
    assert facts["range"]["pitch_deg"][1] - facts["range"]["pitch_deg"][0] > 3.9, "more than the 1 degree of an exact camera"
    assert facts["seed"] == 2


def test_bad_input_is_one_line(start, tmp_path, capsys):
    good, no_json, other, below = (tmp_path / f"{k}.json" for k in ("good", "no", "other", "below"))
    good.write_text(json.dumps(camera().to_dict()))
    no_json.write_text("R = 3")
    other.write_text('{"K": [[1, 0, 0]]}')
    below.write_text(json.dumps(camera(height=-500.0).to_dict()))
    out = tmp_path / "o.safetensors"
    for args in ([tmp_path / "missing.json"], [no_json], [other], [below], [good, "--poses", "magic"], [good, "--view", "5000", "1000"],
                 [good, "--pitch-error", "-1"], [good, "--weights", tmp_path / "none"], [good, "--profile", "huge"],
                 [good, "--weights", start.path, "--out", start.path]):  # fmt: skip
        assert main(["tailor", "--out", str(out), "--profile", "smoke", *map(str, args)]) == 2, args
        said = capsys.readouterr()
        assert said.err.startswith("vp tailor: ")
        assert len(said.err.strip().splitlines()) == 1
        assert not said.out
    assert not out.exists()
