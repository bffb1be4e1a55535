"""The sentences of the generalization study (§3.2) with their thresholds, committed before the run."""

from vp.lab.effects import Claim, compared

METHODS = ("TBS", "TIF", "BDR")
GREEN, AUGMENTED = "MuCo (green)", "MuCo (augmented)"


def _cameras(method, a, b, ratio=False):
    return compared({"train": a}, {"train": b}, ratio, experiment="fig3a, on and off camera", metric="mrpe_z", method=method)


def _backgrounds(method, a, b, ratio=False):
    """a, b: (trained on, tested on)."""
    sides = ({"train": arm, "test": test} for arm, test in (a, b))
    return compared(*sides, ratio, experiment="table1, paired", metric="mrpe_z", method=method)


def _poses(a, b, test="MuPoTS"):
    return compared({"train": a}, {"train": b}, experiment="fig3b", metric="mrpe_z", method="BDR, heatmaps", test=test)


_TABLE1 = {  # (green-trained on green, on augmented), (augmented-trained on green, on augmented)
    "TBS": ("76.0 to 281.6", "73.3 to 82.5"), "TIF": ("57.3 to 168.8", "58.7 to 65.5"), "BDR": ("126.3 to 267.8", "141.7 to 148.9"),
}  # fmt: skip
_WHY_GREEN = {
    "TIF": "Our TIF is given the true joints as its attention, where the paper's has estimated heatmaps, which may fail before a new "
           "background (likely, not tested).",
}  # fmt: skip
_WHY_POSES = ("MuCo's poses gain little, over three seeds, and on none alone is it shown.  Why so little was not found out: perhaps "
              "because most bodies of the test have a near neighbour among the twin's Panoptic poses.  Training on the test's own "
              "activities is, over three seeds, shown to beat Panoptic's poses alone, and not shown to beat Panoptic's with MuCo's "
              "(notebook 06).")  # fmt: skip

GENERALIZATION = {
    c.id: c
    for c in (
        *(Claim(f"cameras-{m.lower()}", "§3.2, Fig. 3(a)", f"{m} errs at least twice as much before a camera it was not trained on.",
                _cameras(m, "off", "on", True), 2.0, ">", "", "several times larger") for m in METHODS),
        *(Claim(f"many-cameras-{m.lower()}", "§3.2", f"Trained on many cameras all around the test's, {m} errs less before it than "
                "trained on one other camera.", _cameras(m, "many", "off"), 0.0, "<", "mm", "as many views as possible") for m in METHODS),
        *(Claim(f"green-{m.lower()}", "§3.2, Table 1", f"{m}, trained before a green screen, errs at least 1.5 times as much before unseen "
                "backgrounds (with their light).",
                _backgrounds(m, ("green", AUGMENTED), ("green", GREEN), True), 1.5, ">", "", _TABLE1[m][0], why=_WHY_GREEN.get(m, ""))
          for m in METHODS),
        *(Claim(f"augmented-{m.lower()}", "§3.2, Table 1", f"{m}, trained on augmented backgrounds too, errs less than 1.25 times as much "
                "before unseen ones (with their light) as before green.",
                _backgrounds(m, ("augmented", AUGMENTED), ("augmented", GREEN), True), 1.25, "<", "", _TABLE1[m][1]) for m in METHODS),
        Claim("scene-prior", "§3.2, Table 1", "Before green, BDR trained on green alone is better than BDR trained on both.",
              _backgrounds("BDR", ("green", GREEN), ("augmented", GREEN)), 0.0, "<", "mm", "126.3 against 141.7",
              but="But this is no sign of a scene that was learned: TBS, which sees nothing of the scene but crops about people, is better "
                  "on green as well (notebook 05).  And with three seeds the interval ends so near to 0 that it is a matter of the draws: "
                  "six times 2 000 of them ended between -0.4 and 0.1 mm, twice 50 000 at -0.2 mm."),
        Claim("pose-variety", "§3.2, Fig. 3(b)", "A depth estimator trained on Panoptic's poses alone is worse on MuPoTS-3D than one "
              "trained on Panoptic's and MuCo's.", _poses("Panoptic", "Panoptic+MuCo"), 0.0, ">", "mm", "larger error (no numbers)",
              why=_WHY_POSES),
        Claim("turned-joints", "§6.1", "Turning the joints of the training poses at random lowers the error.",
              _poses("Panoptic+MuCo, joints turned", "Panoptic+MuCo"), 0.0, "<", "mm", "may further improve",
              why="Not found out; over three seeds not even training on the test's own activities is shown to beat Panoptic's with "
                  "MuCo's (notebook 06)."),
    )
}  # fmt: skip
