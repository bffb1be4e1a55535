"""The experimental statements of the paper, section by section: what it says (in our words), its numbers, the claims that test it.

`title` is what fits a line of a figure.  A statement without claims cannot be tested with what is here: `data_needed` says what would.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """One statement of the paper; claims: ids of `vp.lab.statements.ALL`; notebook: where they are measured (or would be)."""

    id: str
    anchor: str
    title: str
    says: str
    paper: str = "–"
    claims: tuple = ()
    notebook: str = ""
    data_needed: str = ""


THREE = ("tbs", "tif", "bdr")


def _all(kind):
    return tuple(f"{kind}-{m}" for m in THREE)


def _table4(step):
    return tuple(f"table4-{step}-{test}" for test in ("panoptic", "mupots"))


TABLE5 = tuple(f"table5-{test}-{train}" for test in (14, 16, 19) for train in (14, 16, 19) if train != test)


SOTA = "recordings, published networks' answers"
CLIPS = "recorded motion (--data bvh=DIR)"

STATEMENTS = (
    # ---- abstract, §1, §2: the geometry
    Statement("ill-posed", "§1, §2", "Depth from one picture is ill-posed", "Several entangled factors fix how large a person appears, "
              "so depth from one picture alone is ill-posed.", "–", ("same-picture",), "01_pinhole_depth"),
    Statement("pinhole", "§2, Fig. 1(a)", "Height in the image ≈ f·h·cosθ / d", "A standing person is about f·h_real·cosθ/d high in the "
              "image, so the depth d can be computed.", "≈", ("fig1-formula-mean",), "01_pinhole_depth"),
    Statement("posture", "§2, Fig. 1(b)", "Posture changes it by a factor γ", "Postures differ in their height above the ground; a "
              "factor that depends on the pose corrects for it.", "–", ("gamma-walking", "gamma-posture"), "02_poses_and_cameras", CLIPS),
    Statement("stature", "§2", "Unknown stature is unknown depth", "The true height is hard to see in one picture, and depth is "
              "proportional to it.", "–", ("stature-depth",), "01_pinhole_depth"),
    Statement("ground", "§2", "The floor gives depth, with strict demands", "Ground geometry gives height and depth, but needs a "
              "calibrated camera: a small error of its pitch is a large one of depth (that it needs visible feet is not tested).", "–",
              ("pitch-cost",), "01_pinhole_depth"),
    # ---- abstract, §1, §3: the generalization study
    Statement("generalization", "abstract, §1, §6", "Much larger errors on what was not seen", "Existing methods get notably larger "
              "errors on other cameras, other human poses and another appearance.", "–",
              (*_all("cameras"), *_all("green"), "pose-variety"), "04_camera_views"),
    Statement("cameras", "§3.2, Fig. 3(a)", "Another camera: several times the error", "All three methods get several times larger "
              "depth errors when trained and tested on different cameras.", "several times", _all("cameras"), "04_camera_views"),
    Statement("many-cameras", "§3.2", "Many cameras in training help", "It helps to train on as many views as possible.", "–",
              _all("many-cameras"), "04_camera_views"),
    Statement("green", "§3.2, Table 1", "Green screen alone: much worse elsewhere", "Trained on green-screen pictures alone, each "
              "method is much worse before augmented backgrounds.", "TBS 76.0 to 281.6, TIF 57.3 to 168.8, BDR 126.3 to 267.8 mm",
              _all("green"), "05_backgrounds"),
    Statement("augmented", "§3.2, Table 1", "Augmented backgrounds repair it", "With augmented backgrounds in training, the error "
              "before them is hardly larger than before green.", "TBS 73.3 to 82.5, TIF 58.7 to 65.5, BDR 141.7 to 148.9 mm",
              _all("augmented"), "05_backgrounds"),
    Statement("scene-prior", "§3.2, Table 1", "BDR trained on green is better on green", "Before green, BDR trained on green alone is "
              "better than BDR trained on both: it probably learns the scene.", "126.3 against 141.7 mm", ("scene-prior",),
              "05_backgrounds"),
    Statement("pose-variety", "§3.2, Fig. 3(b)", "Panoptic's poses alone: larger error", "A depth estimator trained on Panoptic's poses "
              "alone errs more on MuPoTS-3D than one trained on Panoptic's and MuCo's.", "bars without numbers", ("pose-variety",),
              "06_human_poses"),
    # ---- abstract, §1, §4.1: AGR
    Statement("agr-appearance", "§1, §4.1", "AGR does not depend on appearance", "AGR splits appearance off: computed, it has "
              "nothing of it (what reading it from pictures brings back is `agr-robust`).", "–", ("agr-appearance",), "07_agr"),
    Statement("agr-geometry", "§4.1", "AGR keeps camera and posture", "AGR helps to recover absolute poses and can be synthesised from "
              "3D poses for any camera.", "–", ("agr-camera", "agr-posture"), "07_agr"),
    Statement("agr-robust", "abstract, §1, §4.1", "AGR can be read robustly from pictures", "A network that is trained on diverse 2D "
              "pictures estimates AGR robustly.", "–", ("pckh-panoptic", "pckh-mupots", "pckh-coco", "agr-images-noisy"),
              "08_images_to_agr"),
    # ---- §4.2, §4.3, §5.3: the networks
    Statement("gate", "§4.2, §5.3", "Depth-based projection beats naive projection", "Lifting heatmaps only to voxels near the "
              "estimated depth is significantly better than lifting them to all.",
              "MuPoTS MRPE 204.0 against 253.2, MRPE_z 159.8 against 210.5 mm",
              ("depth-based", "projection-z", "projection-mrpe"), "11_ablations"),
    Statement("ren", "§5.3, Table 4 (a, b)", "REN improves depth over DE", "The 3D root estimator on top of the depth map significantly "
              "reduces the error of the root's depth.", "MRPE_z Panoptic 104.1 to 93.6, MuPoTS 245.4 to 165.0 mm",
              ("ren-de", *_table4("ren")), "11_ablations"),
    Statement("pen", "§4.3, §5.3, Table 4 (b, c)", "PEN improves depth over REN", "Estimating all joints improves the root's depth "
              "notably over REN's.", "MRPE_z Panoptic 93.6 to 86.0, MuPoTS 165.0 to 159.8 mm",
              ("pen-voxels", *_table4("pen")), "11_ablations"),
    Statement("whole", "§5.3, Table 4 (a, c)", "REN and PEN together beat DE", "The complete method errs less in depth than its depth "
              "estimator (than REN: `pen`).", "MRPE_z Panoptic 104.1 to 86.0, MuPoTS 245.4 to 159.8 mm",
              ("pen-de", *_table4("whole")), "11_ablations"),
    Statement("quantisation", "§4.3, Eq. (7), §5.3", "The integral trick reduces quantisation error", "Continuous positions by the "
              "integral trick are more accurate than voxels.", "–", ("integral-peaks", "integral-trained"), "10_pose_estimation"),
    # ---- abstract, §1, §5.2: benchmarks
    Statement("without-pairs", "abstract, §1, §5.2, §6", "Two stages beat training on paired pictures", "Without pictures paired with "
              "3D poses, the method beats methods that are trained on such pairs.",
              "Table 2: 58.9 against 61.8 mm; Table 3: 44.0 against 43.8 %", ("table2-bdr", "table3-bdr"), "12_benchmarks"),
    Statement("table2", "§5.2, Table 2", "Table 2: better than published methods", "On CMU Panoptic it is better than all earlier "
              "methods but HMOR, which uses true depth.", "mean MPJPE 58.9; SMAP 61.8, HMOR 55.1 mm", (), "12_benchmarks", SOTA),
    Statement("pizza", "§5.2, Table 2", "Unseen activity (Pizza): not much worse", "Pizza is in no training data, and the method does well "
              "on it, which partially shows generalization (its rank among published methods needs their answers).",
              "65.4 against 56.8 mm on the other three", ("unseen-activity",), "12_benchmarks"),
    Statement("table3", "§5.2, Table 3", "Table 3: better than published methods", "On MuPoTS-3D it is significantly better than the "
              "state of the art.", "PCK_abs 47.0 (matched), 44.0 (all); best others 40.5, 43.8 %", (), "12_benchmarks", SOTA),
    # ---- §5.3: strategies of training
    Statement("random-cameras", "§5.3, Table 5", "Random cameras beat any other single one", "A universal model, trained on random "
              "cameras, errs less before a camera than a model trained on another single one.",
              "14: 273.8 against 454.6, 621.3; 16: 134.0 against 170.3, 385.1; 19: 155.2 against 294.6, 198.6 mm", TABLE5, "11_ablations"),
    Statement("known-camera", "§1, §5.3", "A known camera helps further", "Trained for camera 19, the error before it falls "
              "significantly.", "155.2 to 62.3 mm", ("known-camera",), "11_ablations"),
    Statement("known-poses", "§5.3", "Known poses help further", "Trained with the poses of MuPoTS-3D, the share of right joints rises "
              "significantly.", "PCK_abs 44.0 to 50.4 %", ("known-poses",), "11_ablations"),
    # ---- §1, §5.4, §6: examples and outlook
    Statement("photos", "§5.4, Fig. 4(a)", "Photos with a guessed camera: right depth", "On COCO's photos, with a focal length of 1400 "
              "px and no pitch assumed, absolute depth is estimated correctly, also of sitting people.", "pictures without numbers", (),
              "13_qualitative", "photos with measured positions of people"),
    Statement("retail", "§1", "Good results in retail stores", "It does well on the authors' own videos of retail stores, cluttered and "
              "with severe occlusion.", "no numbers", (), "13_qualitative", "the authors' unpublished videos"),
    Statement("hidden", "§5.4, Fig. 4(b)", "Occluded and truncated people fail", "Typical failures are people who are occluded or cut "
              "off by the picture.", "one example", ("occlusion", "truncation"), "13_qualitative"),
    Statement("child", "§5.4, Fig. 4(c)", "Short people are placed too far", "Somebody much shorter than the people of the training "
              "gets a depth that is too large.", "one example", ("child-too-far",), "13_qualitative"),
    Statement("joint-angles", "§6.1", "Turning joints gives useful poses", "More poses, made by turning joints, may improve the results "
              "further.", "a proposal", ("turned-joints",), "06_human_poses"),
)  # fmt: skip
