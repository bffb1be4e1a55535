"""The benchmarks against naive versions, hand-computed numbers and the published evaluation."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vp import metrics, published
from vp.camera import Camera
from vp.errors import InputError
from vp.lab import benchmark_rows as numbers
from vp.lab import benchmarks, claims, evaluate, results
from vp.lab.models import Trained
from vp.lab.profiles import resolve
from vp.lab.second_stage import NOISE
from vp.lab.statements_benchmarks import BENCHMARKS
from vp.nets.virtualpose import VirtualPose
from vp.show import benchmarks as show
from vp.skeleton import JOINTS_15, JOINTS_17, MUCO_21
from vp.world.agr import synthesise

ROOT = benchmarks.ROOT
BACK = published.mupots_index_back()  # the data set's order of 17 joints from ours


@pytest.fixture(scope="module")
def panoptic():
    return benchmarks.bench("table2", "smoke", 0, n=12)


@pytest.fixture(scope="module")
def mupots():
    return benchmarks.bench("table3", "smoke", 0, n=20)


@pytest.fixture(scope="module")
def trained():
    """An untrained second stage that answers at every threshold."""
    sizes = replace(resolve("smoke").second_stage.sizes, threshold=-1e9)
    facts = {"training": {"all": {"steps": 1, "samples": 1}}, "frame": "ahead"}
    return Trained(VirtualPose(sizes, generator=torch.Generator().manual_seed(0)).eval(), facts, None)


def person(seed=0, depth=4000.0, joints=15):
    """(J, 3) mm of the camera frame: somebody at a depth, joints within some 600 mm of the root."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-600, 600, (joints, 3))
    x[ROOT] = 0
    return x + [0, 0, depth]


CAMERA = Camera.from_angles(0.0, 0.0, 0.0, (0.0, 0.0, 1500.0))


def view(pred, gt, sequence="TS1", counts=None):
    """`View` of answers and people (., J, 3) mm before CAMERA."""
    pred, gt = np.array(pred, float).reshape(-1, *np.shape(gt)[1:]), np.array(gt)
    px = [CAMERA.project_camera(torch.tensor(x).flatten(0, 1))[0].view(*x.shape[:-1], 2).numpy() for x in (pred, gt)]
    return metrics.View(pred, gt, None, None, *px, counts, sequence)


def found(views, told=None):
    focal = float(CAMERA.depth_norm)
    return benchmarks.Answered(views, told, [focal] * len(views), [CAMERA.size] * len(views), {})


# ---- what is tested on -----------------------------------------------------------------------------------------------------------------


def test_activities_show_the_same_scenes(panoptic):
    assert [p.name for p in panoptic.parts] == list(benchmarks.ACTIVITIES)
    assert panoptic.paired
    first = panoptic.parts[0].scenes[0]
    for part in panoptic.parts:
        assert len(part) == 3
        scenes = part.scenes[0]
        assert torch.equal(scenes.camera.R, first.camera.R)
        assert torch.equal(scenes.identity, first.identity)
    assert not torch.equal(panoptic.parts[3].scenes[0].joints.nan_to_num(), first.joints.nan_to_num())


def test_pizza_is_the_twins_pizza(panoptic):
    data = benchmarks.load("panoptic", "test")
    k = data.twin.activities.index("pizza")
    size = len(data.bank) // 4
    own = panoptic.parts[3].data[0]
    assert own.twin.activities == ("pizza",)
    assert torch.equal(own.bank.joints, data.bank.joints[k * size : (k + 1) * size])
    assert own.twin.scenes.camera == "panoptic:30"


def test_sequences_are_mupots_cameras(mupots):
    assert [p.name for p in mupots.parts] == list(benchmarks.SEQUENCES)
    assert not mupots.paired
    poses = [tuple(p.scenes[0].camera.R[0].flatten().tolist()) for p in mupots.parts]
    assert len(set(poses)) == 20
    people = [tuple(p.scenes[0].identity[0].tolist()) for p in mupots.parts]
    assert len(set(people)) > 15  # other people in each


def test_pictures_are_the_scenes_own(panoptic, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    part = panoptic.parts[1]
    (image,) = part.pictures((60, 32))
    assert image.shape == (3, 3, 32, 60)
    truth = part.data[0].pictures(part.scenes[0], (60, 32))
    seen = image.flatten(2).any(1)[0].view(32, 60)
    assert (image - truth)[..., seen].abs().max() <= 0.5 / 255 + 1e-6
    assert not image[..., :1].any()  # beside the camera's own picture


def test_names_of_recorded_samples():
    assert benchmarks.part_of("panoptic/160422_haggling1/00_30/4500", "table2") == "Haggling"
    assert benchmarks.part_of("panoptic/160906_pizza1/00_30/1", "table2") == "Pizza"
    assert benchmarks.part_of("panoptic/160906_band1/00_30/1", "table2") == "other"
    assert benchmarks.part_of("mupots/TS13/000001", "table3") == "TS13"


def test_recorded_parts(shared):
    real = benchmarks.bench("table2", "smoke", 0, shared / "data" / "panoptic", n=5)
    assert real.recorded
    assert [p.name for p in real.parts] == ["other"]
    assert sum(map(len, real.parts)) == 5
    assert real.sources["cameras"] == "panoptic"
    assert real.parts[0].pictures((60, 32)) is None
    before = benchmarks.bench("table3", "smoke", 0, shared / "data" / "mupots", n=20)
    assert not before.recorded
    assert before.sources == {"poses": "twin", "cameras": "mupots"}
    assert len({tuple(p.scenes[0].camera.R[0].flatten().tolist()) for p in before.parts}) == 20


def test_no_such_folder(tmp_path):
    with pytest.raises(InputError):
        benchmarks.bench("table2", "smoke", 0, tmp_path / "nothing")


# ---- answers ---------------------------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_evaluate(trained, panoptic):
    out = benchmarks.answered(trained, panoptic, NOISE, 3, truth=True)
    blocks = [s for p in panoptic.parts for s in p.scenes]
    known = evaluate.Calibration(4000.0, 1.0, 1700.0)
    for part, scenes in zip(panoptic.parts, blocks):
        people, summary = evaluate.measure(trained.model, [scenes], known, NOISE, 3)  # one block each: number 0 of its part
        mine = [v for v in out.views if v.sequence == part.name]
        told = [v for v in out.published if v.sequence == part.name]
        ours = benchmarks.count(found(mine), benchmarks.Rule())
        theirs = people["REN+PEN"]
        np.testing.assert_array_equal(ours.found, theirs.found)
        np.testing.assert_allclose(ours.errors, theirs.errors)
        alike = benchmarks.count(found(mine, told), benchmarks.Rule("pose", truth=True))
        assert metrics.summarise(alike)["mpjpe"] == pytest.approx(summary["mpjpe"], nan_ok=True)
        assert metrics.summarise(alike)["recall"] == pytest.approx(summary["recall"])


def test_the_published_space_is_that_of_evaluate(trained, panoptic, monkeypatch):
    scenes, frames = panoptic.parts[0].scenes[0], []
    agr, t = synthesise(scenes, trained.model.sizes.map, None, None, 15, None, 16)
    for module in (evaluate, benchmarks):
        infer = module.infer
        monkeypatch.setattr(module, "infer", lambda *a, infer=infer, **k: [frames.append(a[4]), infer(*a, **k)][1])
    evaluate._published(trained.model, scenes, agr, t, scenes.camera)
    benchmarks.published_answers(trained.model, scenes, agr, t, evaluate.FAR)
    for name in ("axes", "origin"):
        torch.testing.assert_close(getattr(frames[1], name), getattr(frames[0], name))


def test_who_is_asked_for_is_who_is_asked_for_elsewhere(panoptic, mupots):
    for part in (*panoptic.parts, *mupots.parts):
        for scenes in part.scenes:
            _, t = synthesise(scenes, (56, 32), None, None, 15, None, 16)
            assert torch.equal(benchmarks.asked(scenes), t.mask)


def test_eyes_replace_the_computed_maps(trained, panoptic, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    s, asked, looked = trained.model.sizes, [], []

    class Eyes:
        shape = SimpleNamespace(picture=(224, 128), joints=15, map=s.map)

        def agr(self, images):
            asked.append(images)
            return torch.full((len(images), 15, *s.map[::-1]), 0.25), torch.zeros(len(images), 4, *s.map[::-1])

    infer = benchmarks.infer
    monkeypatch.setattr(benchmarks, "infer", lambda model, heatmaps, *a, **k: [looked.append(heatmaps), infer(model, heatmaps, *a, **k)][1])
    out = benchmarks.answered(trained, panoptic, None, 0, Eyes(), truth=True)
    assert len(looked) == 8  # honest and published, of the same maps
    assert all(bool((h == 0.25).all()) for h in looked)
    for part, seen in zip(panoptic.parts, asked, strict=True):
        assert torch.equal(seen, next(part.pictures((224, 128))))
    assert out.about["images"] == "twin"
    computed = benchmarks.answered(trained, panoptic, None, 0)
    assert computed.about["images"] == "computed"
    assert looked[8].amax() > 0.9
    bare = replace(panoptic, parts=[replace(p, data=None) for p in panoptic.parts])
    assert benchmarks.answered(trained, bare, None, 0, Eyes()) is None
    Eyes.shape = SimpleNamespace(picture=(224, 128), joints=15, map=(80, 48))
    with pytest.raises(InputError):
        benchmarks.answered(trained, panoptic, None, 0, Eyes())


def test_baselines_answer_for_the_right_people(panoptic, tmp_path, monkeypatch):
    """Methods that know the truth: BDR's poses are then exact, another's roots."""
    monkeypatch.setattr(results, "ROOT", tmp_path)

    class Knows(torch.nn.Module):
        def __init__(self, whole):
            super().__init__()
            self.one = torch.nn.Parameter(torch.zeros(1))
            self.truth, self.done = [], 0
            if whole:
                self.poses = lambda views: self.unprojected(views, self.next(views))

        def next(self, views):
            scenes = panoptic.parts[self.done].scenes[0]
            self.done += 1
            return scenes.camera[:, None].project(scenes.joints[:, :, :15])[1].float()

        def depths(self, views):
            assert views.depth.isnan().all()  # tested without the truth
            return self.next(views)[..., ROOT]

        def unprojected(self, views, depth):
            assert views.depth.isnan().all()
            xy, _ = views.camera[:, None].normalise(views.joints.double())
            return torch.cat([xy * depth[..., None], depth[..., None]], -1)

    for whole in (True, False):
        learned = SimpleNamespace(method=Knows(whole), facts={"steps": 1, "samples_seen": 2, "config": "x"})
        monkeypatch.setattr(benchmarks.generalization, "train_one", lambda *a, learned=learned: learned)
        out = benchmarks.baseline("BDR", panoptic, "smoke", 0)
        people = benchmarks.count(out, benchmarks.TABLE2["honest"])
        assert numbers.poses(people) is whole
        assert people.found.mean() > 0.9
        assert np.nanmax(people.mrpe()) < 1.0
        if whole:
            inside = np.isfinite(people.errors)
            assert inside.sum() > 0.98 * (~np.isnan(people.errors)).sum()  # a joint on the very edge may be lost
            assert people.errors[inside].max() < 1.0


# ---- rules -----------------------------------------------------------------------------------------------------------------------------


def test_true_bones_are_the_tools():
    pred, gt = person(1, joints=17), person(2, joints=17)
    ours = benchmarks.with_true_bones(pred, gt)
    np.testing.assert_allclose(ours[BACK], published.with_true_bone_lengths(pred[BACK], gt[BACK]))
    assert [JOINTS_17.joints[i] for i in BACK] == list(MUCO_21.joints[:17])


def test_true_bones_of_15_joints():
    pred, gt = person(1), person(2)
    out = benchmarks.with_true_bones(pred, gt)
    for a, b in JOINTS_15.limb_pairs:
        assert math.dist(out[a], out[b]) == pytest.approx(math.dist(gt[a], gt[b]))
        np.testing.assert_allclose((out[b] - out[a]) / math.dist(out[a], out[b]), (pred[b] - pred[a]) / math.dist(pred[a], pred[b]))
    np.testing.assert_array_equal(out[ROOT], pred[ROOT])
    np.testing.assert_allclose(benchmarks.with_true_bones(gt, gt), gt)
    gt[JOINTS_15.index("left_knee")] = np.nan
    assert np.isfinite(benchmarks.with_true_bones(pred, gt)).all()
    pred[JOINTS_15.index("left_knee")] = pred[JOINTS_15.index("left_hip")]
    assert np.isfinite(benchmarks.with_true_bones(pred, person(2))).all()


def test_joints_outside_the_picture_do_not_count():
    gt = person(0)
    gt[4] = [1e5, 0, 4000]  # far to the right
    gt[5] = [0, 0, -4000]  # behind: its pixel is in the middle of the picture
    kept = benchmarks.in_picture(view([gt], [gt]), CAMERA.size)
    expected = np.ones(15, bool)
    expected[[4, 5]] = False
    np.testing.assert_array_equal(kept.mask[0], expected)
    moved = gt.copy()
    moved[4] += 300
    for cut, error in ((True, 0.0), (False, 300 * math.sqrt(3) / 15)):
        people = benchmarks.count(found([view([moved], [gt])]), benchmarks.Rule(cut=cut))
        assert people.mpjpe()[0] == pytest.approx(error)


def test_each_rule_adds_what_it_says():
    """Two people: one answer 800 mm too deep along the rays, one right but 1.5 times as large; the told answers are exact."""
    a, b = person(0), person(1, 5000.0) + [900.0, 0, 0]
    deep, long = a * (4800 / 4000), b + 0.5 * (b - b[ROOT])
    answered = found([view([deep, long], [a, b])], [view([a, b], [a, b])])
    got = {name: benchmarks.count(answered, rule) for name, rule in benchmarks.TABLE2.items()}
    assert [p.found.tolist() for p in got.values()] == [[True, True], [True, True], [False, True], [True, True]]  # not over 500 mm
    assert got["honest"].mpjpe()[0] > 790
    assert got["published"].mpjpe().tolist() == [0, 0]
    got = {name: benchmarks.count(answered, rule) for name, rule in benchmarks.TABLE3.items()}
    assert got["2D pairing"].found[0]
    assert not got["2D pairing"].aligned[1].max() < 100
    assert got["honest"].errors[1].max() > 300
    assert got["data set's rules"].errors[1].max() < 1e-6  # directions are right
    assert got["published"].errors.max() == 0
    assert got["honest"].joints == [JOINTS_15.index(j) for j in metrics.PCK_JOINTS]


def test_the_tools_pairing_takes_turns_and_40_px():
    a = person(0)
    shift = np.array([[39.0, 0, 0], [41.0, 0, 0]]) * a[:, None, 2:] / float(CAMERA.f[0])  # J 2 3: so many px to the right
    for k, there in ((0, True), (1, False)):
        people = benchmarks.count(found([view([a + shift[:, k]], [a])]), benchmarks.TABLE3["2D pairing"])
        assert people.found.tolist() == [there]


# ---- numbers ---------------------------------------------------------------------------------------------------------------------------


def some_people(seed=0, views=12, parts=3):
    """Random `People` of 15 joints: some missed, some joints unknown; views are dealt out to parts."""
    rng = np.random.default_rng(seed)
    made = []
    for v in range(views):
        gt = np.stack([person(100 * v + p, 3000.0 + 700 * p) + [700 * p - 700, 0, 0] for p in range(rng.integers(1, 4))])
        pred = (gt + rng.normal(0, 90, (len(gt), 1, 3)) + rng.normal(0, 60, gt.shape))[rng.random(len(gt)) < 0.8]
        gt[0, rng.integers(3, 15)] = np.nan
        made.append(view(pred, gt, f"TS{v % parts + 1}"))
    return benchmarks.count(found(made), benchmarks.Rule())


METRICS = sorted({*itertools.chain(*numbers.COLUMNS.values()), "pck_rel_all", "auc_rel_matched", "auc_abs_matched", "pck_root_all"})


@pytest.mark.parametrize("metric", METRICS)
def test_numbers_are_those_of_metrics(metric):
    people = some_people()
    total, number = numbers.per_person(people, metric)
    summary = metrics.summarise(people)
    if metric.startswith("pck_root_"):
        who = people.found if metric.endswith("matched") else np.ones(len(people.found), bool)
        expected = 100 * np.mean(np.nan_to_num(people.mrpe()[who & people.rooted], nan=np.inf) < 150)
    else:
        expected = summary[metric.replace("root250", "root")] * (1 if metric in numbers.UNITS else 100)
    assert total.sum() / number.sum() == pytest.approx(expected)
    bench = benchmarks.Bench("table3", [], {})
    rows = {r["test"]: r["value"] for r in numbers.rows(people, bench, "x", columns=[metric], parts=[metric])}
    if not metric.startswith("pck_root_"):
        mean = summary[metric.replace("root250", "root") + "_seqmean"]
        assert rows["Mean"] == pytest.approx(mean * (1 if metric in numbers.UNITS else 100))
    assert rows["Mean"] == pytest.approx(np.mean([rows[s] for s in ("TS1", "TS2", "TS3")]))


def test_linear_has_the_mean_and_the_spread_of_the_ratio():
    rng = np.random.default_rng(0)
    number = rng.integers(1, 9, 200).astype(float)
    total = number * rng.normal(50, 10, 200)
    values = numbers.linear(total, number)
    assert values.mean() == pytest.approx(total.sum() / number.sum())
    draws = rng.integers(200, size=(4000, 200))
    ratios = total[draws].sum(1) / number[draws].sum(1)
    assert values[draws].mean(1).std() == pytest.approx(ratios.std(), rel=0.05)
    assert np.isnan(numbers.linear(np.zeros(3), np.zeros(3))).all()


def test_mean_of_parts_has_the_spread_of_the_mean_of_parts():
    rng = np.random.default_rng(1)
    parts = {"a": rng.normal(10, 5, 300), "b": rng.normal(30, 1, 60)}
    values, clusters = numbers.mean_of(parts, False)
    assert values.mean() == pytest.approx((parts["a"].mean() + parts["b"].mean()) / 2)
    assert len(set(clusters)) == 360
    error = math.hypot(parts["a"].std() / math.sqrt(300), parts["b"].std() / math.sqrt(60)) / 2
    assert values.std() / math.sqrt(360) == pytest.approx(error, rel=0.01)
    both, clusters = numbers.mean_of({"a": parts["b"], "b": 2 * parts["b"]}, True)
    np.testing.assert_allclose(both, 1.5 * parts["b"])
    assert clusters == [str(i) for i in range(60)]
    values, _ = numbers.mean_of({"a": np.full(2, np.nan), "b": np.array([1.0, 3.0])}, False)
    assert np.nanmean(values) == 2.0
    assert len(values) == 4  # the same clusters, whoever is found


def test_one_scene_has_no_interval():
    rows = numbers.rows(some_people(views=3, parts=3), benchmarks.Bench("table3", [], {}), "x")
    assert all(r["lo"] is None and r["per_scene"] is None for r in rows)


def test_rows_claims_and_tables():
    """From answers to verdicts: told answers that are better make the published protocol better, and a mean row is paired by scene."""
    rng = np.random.default_rng(3)
    views, told = [], []
    for v, activity in enumerate(np.repeat(benchmarks.ACTIVITIES, 6)):
        gt = np.stack([person(v), person(50 + v, 5000.0) + [900.0, 0, 0]])
        off = 250.0 if activity == "Pizza" else 100.0
        pred = gt + rng.normal(0, off, (2, 1, 3))
        views.append(view(pred, gt, str(activity)))
        told.append(view(gt + 0.3 * (pred - gt), gt, str(activity)))
    bench, answered = benchmarks.Bench("table2", [], {}, True), found(views, told)
    method, sees = "VirtualPose, trained here", "AGR: ground truth, noisy"
    about = {"profile": "smoke", "seed": 0, "notebook": "x"}
    rows = numbers.method_rows(answered, bench, ("honest", "published"), method, sees, **about)
    rows += numbers.rule_rows(answered, bench, method, sees, **about)
    verdicts = {i: claims.judge(c, rows) for i, c in BENCHMARKS.items()}
    assert verdicts["protocol-panoptic"].verdict == "holds"
    assert verdicts["protocol-same-people"].verdict == "holds"
    assert verdicts["unseen-activity"].effect.value == pytest.approx(2.5, rel=0.35)
    assert verdicts["unseen-activity"].verdict in ("fails", "inconclusive")
    assert verdicts["table2-bdr"].verdict == verdicts["protocol-mupots"].verdict == "not run"
    honest = benchmarks.count(answered, benchmarks.TABLE2["honest"])
    mean = np.mean([np.nanmean(honest.mpjpe()[honest.sequence[honest.view] == a]) for a in benchmarks.ACTIVITIES])
    text = show.table2(rows, missing=[("VirtualPose, shipped", "AGR: image")])
    line = next(x for x in text.splitlines() if x.startswith(f"| {method}"))
    assert f"| {mean:.1f} [" in line
    assert "| VirtualPose, shipped | AGR: image | not run |" in text
    assert "| *paper, real data:* VirtualPose | image | 54.1 | 61.6 | 54.6 | 65.4 | 58.9 |" in text
    assert show.worth(rows, "table2", "mpjpe").count("\n") == 6
    assert "honest" in repr(show.ladder(rows, "table2", "mpjpe", "MPJPE (mm)"))
    paper = show.table3([])
    assert "| *paper, real data:* VirtualPose | image | published | 47.0 | 53.5 | – | 44.0 |" in paper


def test_whole_tables(trained, mupots, monkeypatch):
    """Everything of Table 3 at once, without pictures: what cannot be run is named."""
    monkeypatch.setattr(numbers, "baseline", lambda *a: pytest.fail("baselines were not asked for"))
    some = replace(mupots, parts=mupots.parts[:3])
    rows, missing = numbers.whole(some, {"trained here": trained}, {}, "smoke", 0, False, notebook="x")
    assert missing == [("VirtualPose, trained here", "AGR: image")]
    assert {r["experiment"] for r in rows} == {
        "table3, honest", "table3, data set's rules", "table3, published", "table3, rules", "table3, rules, same people",
    }  # fmt: skip
    assert {r["images"] for r in rows} == {"computed"}
    assert {r["test"] for r in rows if r["experiment"] == "table3, data set's rules"} == {"TS1", "TS2", "TS3", "Mean"}
    assert len({results._part(r, results.IDENTITY) for r in rows}) == len(rows)
    assert "20 sequences" in repr(show.sequences(rows, "table3, data set's rules", [("VirtualPose, trained here", "AGR: ground truth")]))
