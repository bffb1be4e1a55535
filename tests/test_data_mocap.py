"""BVH: forward kinematics by hand, against a naive loop, and against the manifest of the 46 sample clips."""

import csv
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from vp.data.mocap import ANKLE, read_bvh, read_clips
from vp.errors import InputError
from vp.skeleton import BVH, BVH_NAMES
from vp.world.poses import SOLE

SHARED = Path(__file__).parents[2] / "shared"
BVH_DIR = SHARED / "data/bvh"
needs_samples = pytest.mark.skipif(not BVH_DIR.is_dir(), reason="no sample data beside the repository")

ARM = """HIERARCHY
ROOT Hips
{{
  OFFSET 1 2 3
  CHANNELS {n} {root}
  JOINT Arm
  {{
    OFFSET 10 0 0
    CHANNELS {m} {arm}
    End Site
    {{
      OFFSET 5 0 0
    }}
    JOINT Hand
    {{
      OFFSET 0 20 0
      CHANNELS 3 Zrotation Yrotation Xrotation
    }}
  }}
}}
MOTION
Frames: {frames}
Frame Time: 0.04
{rows}
"""


def arm(path, rows, root="Zrotation Yrotation Xrotation", arm="Zrotation Yrotation Xrotation"):
    text = ARM.format(n=len(root.split()), root=root, m=len(arm.split()), arm=arm, frames=len(rows), rows="\n".join(rows))
    path.write_text(text)
    return path


@pytest.fixture
def clip(tmp_path):
    def read(*rows, **channels):
        with pytest.warns(UserWarning, match="stature"):  # an arm alone is no person
            return read_bvh(arm(tmp_path / "arm.bvh", rows, **channels), unit_mm=10.0, skip_tpose=False)

    return read


def test_y_up_facing_z_becomes_z_up_facing_x(clip):
    c = clip("0 0 0 0 0 0 0 0 0")
    # file: hips (1, 2, 3), arm (11, 2, 3), hand (11, 22, 3); ours is (z, x, y) in mm: +x of the file is the person's left
    assert c.joints[0].tolist() == [[30, 10, 20], [30, 110, 20], [30, 110, 220]]
    assert (c.names, c.parents, c.fps) == (("Hips", "Arm", "Hand"), (-1, 0, 1), 25.0)


def test_a_turn_about_z_by_hand(clip):
    c = clip("90 0 0 0 0 0 0 0 0", "0 0 0 90 0 0 0 0 0")
    # root turned: x -> y, so arm = (1, 12, 3) and hand = (1 - 20, 12, 3)
    assert torch.allclose(c.joints[0], torch.tensor([[30.0, 10, 20], [30, 10, 120], [30, -190, 120]]).double())
    assert torch.allclose(c.joints[1], torch.tensor([[30.0, 10, 20], [30, 110, 20], [30, -90, 20]]).double())


@pytest.mark.parametrize(("order", "file"), [("ZX", (0, 1, 0)), ("XZ", (0, 0, 1))])
def test_channels_apply_in_their_order(clip, order, file):
    """Of a unit step along x after 90 degrees about each axis: Rz Rx x = y -> file (0, 1, 0); Rx Rz x = Rx y = z -> file (0, 0, 1)."""
    c = clip("90 90 0 0 0 0 0 0", root=f"{order[0]}rotation {order[1]}rotation")
    step = (c.joints[0, 1] - c.joints[0, 0]) / 100
    assert torch.allclose(step, torch.tensor([file[2], file[0], file[1]]).double(), atol=1e-12)


def test_position_channels_replace_the_offset(clip):
    six = "Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    c = clip("100 200 300 0 0 0 7 8 9 0 0 0 0 0 0", root=six, arm=six)
    assert c.joints[0, 0].tolist() == [3000, 1000, 2000]
    assert (c.joints[0, 1] - c.joints[0, 0]).tolist() == [90, 70, 80]  # 7, 8, 9 and not 17, 8, 9
    one = clip("5 0 0 0 0 0 0 0 0 0", root="Yposition Zrotation Yrotation Xrotation")
    assert one.joints[0, 0].tolist() == [30, 10, 50]  # only the component that has a channel is replaced


def naive(path):
    """An independent reader: recursion over 4 x 4 matrices, one frame at a time, in the file's units and axes."""
    text = path.read_text().replace("\t", " ")
    head, motion = text.split("MOTION")
    tokens, rows = iter(head.split()[1:]), [list(map(float, line.split())) for line in motion.strip().splitlines()[2:]]

    def node(name):
        assert next(tokens) == "{"
        out = {"name": name, "channels": [], "children": [], "offset": (0, 0, 0)}
        for word in tokens:
            if word == "OFFSET":
                out["offset"] = [float(next(tokens)) for _ in range(3)]
            elif word == "CHANNELS":
                out["channels"] = [next(tokens) for _ in range(int(next(tokens)))]
            elif word in ("JOINT", "End"):
                child = node(next(tokens))
                out["children"] += [child] if word == "JOINT" else []
            elif word == "}":
                return out
        return None

    assert next(tokens) == "ROOT"
    root = node(next(tokens))

    def place(joint, values, parent, out):
        offset, R = list(joint["offset"]), np.eye(3)
        for channel in joint["channels"]:
            v, axis = next(values), "XYZ".index(channel[0])
            if channel.endswith("position"):
                offset[axis] = v
            else:
                c, s = math.cos(math.radians(v)), math.sin(math.radians(v))
                X, Y, Z = [[1, 0, 0], [0, c, -s], [0, s, c]], [[c, 0, s], [0, 1, 0], [-s, 0, c]], [[c, -s, 0], [s, c, 0], [0, 0, 1]]
                R = R @ np.array([X, Y, Z][axis])
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, offset
        T = parent @ T
        out[joint["name"]] = T[:3, 3]
        for child in joint["children"]:
            place(child, values, T, out)
        return out

    return [place(root, iter(row), np.eye(4), {}) for row in rows]


@needs_samples
@pytest.mark.parametrize("file", ["bandai/dataset-2_walk-turn-left_active_040.bvh", "cmu_converted/cmu_soccer_train3.bvh"])
def test_a_real_clip_agrees_with_a_naive_reader(file):
    clip = read_bvh(BVH_DIR / file, skip_tpose=False)
    for frame, expected in list(enumerate(naive(BVH_DIR / file)))[::20]:
        points = np.array([expected[n] for n in clip.names])[:, [2, 0, 1]] * clip.unit_mm
        assert np.allclose(clip.joints[frame].numpy(), points, atol=1e-6)


@needs_samples
def test_all_46_clips_agree_with_the_manifest():
    """Heights are above the lowest point of the clip, joint_Root aside; travel is the diagonal of the box that the hips cover."""
    rows = list(csv.DictReader((BVH_DIR / "manifest.csv").read_text().splitlines()))
    assert len(rows) == 46
    for row in rows:
        cmu = "bandai" not in row["file"]
        clip = read_bvh(BVH_DIR.parent / row["file"], skip_tpose=False)
        assert (len(clip), len(clip.names), round(clip.fps)) == (int(row["frames"]), int(row["joints"]), float(row["fps"])), row["file"]
        assert clip.unit_mm / 10 == pytest.approx(float(row["unit_to_cm"])), row["file"]
        assert clip.family == ("cmu" if cmu else "bandai")
        names = [n for n in clip.names if n != "joint_Root"]
        joints = clip.joints[1 if cmu else 0 :, [clip.names.index(n) for n in names]] / 10  # the manifest skips frame 0 of CMU
        head, hips = joints[:, names.index("Head")], joints[:, names.index("Hips")]
        lowest = joints[..., 2].amin(1)
        got = [(head[:, 2].max() - lowest.min()), np.median(head[:, 2] - lowest), hips[:, 2].min() - lowest.min()]
        got.append(torch.dist(hips[:, :2].amax(0), hips[:, :2].amin(0)))
        want = [float(row[k]) for k in list(row)[-4:]]
        assert [float(g) for g in got] == pytest.approx(want, abs=0.12), row["file"]


@needs_samples
def test_clips_in_our_joints():
    clips = {c.name: c for c in read_clips(BVH_DIR)}
    assert len(clips) == 46
    walk = clips["dataset-1_walk_normal_001"]
    joints, valid = walk.poses()
    assert joints.shape == (195, len(BVH), 3)
    assert valid.all()
    thigh = (joints[:, BVH.index("left_knee")] - joints[:, BVH.index("left_hip")]).norm(dim=-1)
    shin = (joints[:, BVH.index("left_ankle")] - joints[:, BVH.index("left_knee")]).norm(dim=-1)
    forearm = (joints[:, BVH.index("right_wrist")] - joints[:, BVH.index("right_elbow")]).norm(dim=-1)
    assert thigh.mean().item() == pytest.approx(391, abs=1)  # documented: thigh 39.1, shin 41.0, forearm 22.3 cm
    assert shin.mean().item() == pytest.approx(410, abs=1)
    assert forearm.mean().item() == pytest.approx(223, abs=1)
    for name in ("dataset-1_walk_normal_001", "dataset-2_run_normal_001", "02_01", "cmu_running_train1"):
        joints, _ = clips[name].poses()  # who goes forward has the joints called left on the left: forward x left points up
        went = joints[-1, BVH.index("mid_hip")] - joints[0, BVH.index("mid_hip")]
        left = joints[:, BVH.index("left_hip")] - joints[:, BVH.index("right_hip")]
        assert (torch.linalg.cross(went.expand_as(left), left)[:, 2] > 0).all(), name
    assert len(clips["02_01"].sample(0)) == 1


@needs_samples
def test_the_tpose_of_native_cmu_clips_is_skipped():
    assert len(read_bvh(BVH_DIR / "cmu/02_01.bvh")) == 343
    assert len(read_bvh(BVH_DIR / "cmu/02_01.bvh", skip_tpose=False)) == 344
    assert len(read_bvh(BVH_DIR / "cmu/01_14.bvh")) == 2338
    for file in sorted(BVH_DIR.glob("*/*.bvh")):
        if file.parent.name != "cmu":
            assert len(read_bvh(file)) == len(read_bvh(file, skip_tpose=False)), file


@needs_samples
def test_thousands_of_frames_are_fast():
    start = time.perf_counter()
    clip = read_bvh(BVH_DIR / "cmu/01_14.bvh")
    assert time.perf_counter() - start < 3
    assert len(clip) > 2000


@needs_samples
def test_units():
    file = BVH_DIR / "bandai/dataset-1_dash_normal_001.bvh"
    with pytest.warns(UserWarning, match=r"stature of 0\.34 m with 1 mm per unit"):
        assert read_bvh(file, unit_mm=1.0).unit_mm == 1.0
    assert torch.allclose(read_bvh(file, unit_mm=20.0 / 2).joints, read_bvh(file).joints)


STICK = [  # name, parent, offset in cm, Y up: hip joints 10 to the side and 4 below, both knees bent
    ("Hips", None, (0, 90, 0)), ("Spine", "Hips", (0, 30, 0)), ("Neck", "Spine", (0, 20, 0)), ("Head", "Neck", (0, 8, 6)),
    ("LeftUpLeg", "Hips", (10, -4, 0)), ("LeftLeg", "LeftUpLeg", (0, -40, 0)), ("LeftFoot", "LeftLeg", (0, -24, 32)),
    ("RightUpLeg", "Hips", (-10, -4, 0)), ("RightLeg", "RightUpLeg", (0, -40, 0)), ("RightFoot", "RightLeg", (0, 0, 40)),
    ("LeftFootToe", "LeftFoot", (0, 0, 15)), ("RightFootToe", "RightFoot", (0, 0, 15)),
]  # fmt: skip


def stick(path, joints):
    def block(name, parent, offset):
        children = "".join(block(*j) for j in joints if j[1] == name)
        offset = " ".join(map(str, offset))
        return f"{'JOINT' if parent else 'ROOT'} {name}\n{{\nOFFSET {offset}\nCHANNELS 3 Zrotation Yrotation Xrotation\n{children}}}\n"

    zeros = " ".join(["0"] * 3 * len(joints))
    path.write_text(f"HIERARCHY\n{block(*joints[0])}MOTION\nFrames: 1\nFrame Time: 0.04\n{zeros}\n")
    return path


def test_stature_by_hand(tmp_path):
    """Trunk 50, neck 10, hip line 4 below the hips, thigh 40, shin 40 although bent, not the toes: 144 cm from ankle to skull; head 20."""
    clip = read_bvh(stick(tmp_path / "stick.bvh", STICK))
    assert clip.unit_mm == 10
    assert clip.stature == pytest.approx((1440 + 200) / (1 - 0.039))
    wide = [(n, p, (3 * o[0], *o[1:])) for n, p, o in STICK]  # a wider pelvis makes nobody taller
    assert read_bvh(stick(tmp_path / "wide.bvh", wide)).stature == pytest.approx(clip.stature)
    one = [j for j in STICK if "Right" not in j[0]]  # a single leg: no middle of the hip joints, its own place counts
    assert read_bvh(stick(tmp_path / "one.bvh", one)).stature == pytest.approx((1400 + 10 * math.hypot(10, 4) + 200) / (1 - 0.039))


@needs_samples
def test_upright_frames_of_the_samples_reach_the_stature():
    """Who stands: head top and ankles are a stature apart, but for what knees, back and neck bend (1 to 20 mm there)."""
    for name in ("bow_normal_001", "guide_active_001", "respond_normal_001", "walk-back_normal_001"):
        clip = read_bvh(BVH_DIR / f"bandai/dataset-1_{name}.bvh")
        joints, _ = clip.poses()
        skull, feet = joints[:, BVH.index("skull_base"), 2], [joints[:, BVH.index(f"{side}_ankle"), 2] for side in ("left", "right")]
        reach = (skull + 200 - torch.minimum(*feet)).max().item() / (1 - 0.039)
        assert -20 < reach - clip.stature < 5, name


def test_the_ankle_height_is_that_of_the_virtual_person():
    assert ANKLE == SOLE  # readers do not import vp.world


@pytest.mark.parametrize(("still", "frames"), [(4, 1), (3, 2)])
def test_a_first_frame_is_a_tpose_when_most_rotations_are_zero_there(tmp_path, still, frames):
    """Of five rotations that move afterwards four (80 %) or three (60 %) are zero in the first frame; a body at rest is no T-pose."""
    first = ["0"] * still + ["7"] * (5 - still) + ["0"] * 4
    path = arm(tmp_path / "arm.bvh", [" ".join(first), "1 2 3 4 5 0 0 0 0"])
    with pytest.warns(UserWarning, match="stature"):
        assert len(read_bvh(path, unit_mm=10.0)) == frames
    path = arm(tmp_path / "arm.bvh", ["0 0 0 0 0 0 0 0 0"] * 2)
    with pytest.warns(UserWarning, match="stature"):
        assert len(read_bvh(path, unit_mm=10.0)) == 2


def test_families_are_found_by_name(tmp_path, clip):
    assert clip("0 0 0 0 0 0 0 0 0").family is None
    with pytest.raises(InputError, match="unknown joint names"):
        clip("0 0 0 0 0 0 0 0 0").poses()
    assert {len(BVH_NAMES[f]) for f in BVH_NAMES} == {len(BVH)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[: len(s) // 2], "HIERARCHY or MOTION is missing"),
        (lambda s: s[:-5], "announced, but"),
        (lambda s: s.replace("Frames: 1", "Frames: 2"), "announced, but"),
        (lambda s: s.replace("OFFSET 1 2 3", "OFFSET 1 2 nan"), "finite"),
        (lambda s: s.replace("Zrotation Y", "Wrotation Y", 1), "channel 'Wrotation'"),
        (lambda s: s.replace("}", "", 1), "braces do not match"),
        (lambda s: s.replace("Frame Time: 0.04", "Frame Time: 0"), "Frames and Frame Time"),
        (lambda s: s.replace("\n0 0", "\ninf 0"), "NaN, infinite"),
        (lambda s: s.replace("CHANNELS 3", "CHANNELS x", 1), "not a valid BVH"),
        (lambda s: s.replace("JOINT Arm", "JOINED Arm"), "unexpected 'JOINED'"),
        (lambda s: s.replace("HIERARCHY", "PK"), "not a valid BVH file"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, change, message):
    path = arm(tmp_path / "arm.bvh", ["0 0 0 0 0 0 0 0 0"])
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message) as caught:
        read_bvh(path)
    assert "\n" not in str(caught.value)


def test_folders(tmp_path):
    with pytest.raises(InputError, match="folder is empty"):
        next(read_clips(tmp_path))
    (tmp_path / "bvh.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"found no \*\.bvh file.*unpack bvh\.zip"):
        next(read_clips(tmp_path))
    with pytest.raises(InputError, match=r"none\.bvh: cannot be read"):
        read_bvh(tmp_path / "none.bvh")
