"""The sentences of the ablations (§5.3) and ours about what they leave open, with their thresholds, committed before the run.

Computed by notebook 11 on the twins; AGR of the main rows is read from rendered pictures by the 2D network.  Since a first run (seed 0)
showed that, from pictures, a DE that is trained alone is better than the DE of the whole, and the other way round from noisy AGR, what
is said to be better than DE must be so against both (`table4-ren-*`, `table4-whole-*`, `told-camera`, `space-alone`).
"""

import math
from dataclasses import replace

from vp.lab.effects import Claim, compared

DES = ("DE", "DE alone")  # trained with REN and PEN, trained alone
IMAGE, NOISY = "AGR: image", "AGR: ground truth, noisy"
TABLE4 = {"Panoptic": ("93.6 against 104.1", "86.0 against 93.6", "86.0 against 104.1"),
          "MuPoTS": ("165.0 against 245.4", "159.8 against 165.0", "159.8 against 245.4")}  # fmt: skip
OFF = {  # (trained on, tested on): the paper's MRPE_z
    ("14", "16"): "170.3", ("14", "19"): "294.6", ("16", "14"): "454.6", ("16", "19"): "198.6", ("19", "14"): "621.3",
    ("19", "16"): "385.1",
}  # fmt: skip
BY_RANDOM = {"14": "273.8", "16": "134.0", "19": "155.2"}


def _least(a, others, **where):
    """Effect of a claim: method a less that of `others` against which it is least shown to err less."""
    each = {b: compared({"method": a}, {"method": b}, **where) for b in others}

    def effect(rows):
        found = {b: e(rows) for b, e in each.items()}
        if None in found.values():
            return None
        b = max(found, key=lambda b: math.inf if math.isnan(found[b].value) else (found[b].interval or (0.0, found[b].value))[1])
        return replace(found[b], ours=f"{found[b].ours} ({b})") if len(others) > 1 else found[b]

    return effect


def _table4(a, b, test, train=IMAGE):
    return _least(a, DES if b == "DE" else (b,), experiment="table4", metric="mrpe_z", train=train, test=test)


def _cell(a, *others):
    return _least(a, others, experiment="extrinsics", metric="mrpe_z", test="exact")


def _table5(a, b, test):
    return compared({"train": a}, {"train": b}, experiment="table5", metric="mrpe_z", method="VirtualPose", test=test)


def _projection(metric, test="MuPoTS"):
    where = {"experiment": "projection, complete", "metric": metric, "method": "REN+PEN", "test": test}
    return compared({"train": "depth-based"}, {"train": "naive"}, **where)


_WHY_GATE = ("Before exact cameras the network finds most of the place along the ray without the gate.  With the pitch stated 4° wrong the "
             "gate is worth far more, on MuPoTS' twin (notebook 11) as before universal cameras (notebook 09).  Seeds do not agree "
             "(notebook 15, section 5).")  # fmt: skip

_WHY_ALONE = ("At half the steps (seed 0) the DE that is trained alone is the better one; against the DE that was trained with REN and "
              "PEN it holds at all three budgets.")  # fmt: skip

ABLATIONS = {
    c.id: c
    for c in (
        *(Claim(f"table4-{k}-{test.lower()}", "§5.3, Table 4", f"On {test}, from pictures, {a} is better in depth than "
                f"{'DE, the one trained with it and the one trained alone' if b == 'DE' else b}.",
                _table4(a, b, test), 0.0, "<", "mm", TABLE4[test][i], why=_WHY_ALONE if test == "MuPoTS" and b == "DE" else "")
          for test in TABLE4
          for i, (k, a, b) in enumerate((("ren", "REN (voxels)", "DE"), ("pen", "REN+PEN", "REN (voxels)"), ("whole", "REN+PEN", "DE")))),
        Claim("table4-alone", "§5.3, ours", "On MuPoTS with noisy AGR, a DE that is trained alone with all the samples is still "
              "worse in depth than REN+PEN.", _table4("DE alone", "REN+PEN", "MuPoTS", NOISY), 0.0, ">", "mm"),
        Claim("told-camera", "§5.3, ours", "A DE that is told the camera is better in depth than those that are not (trained alone, or "
              "with REN and PEN): part of REN's gain is gravity and extrinsics, not the third dimension.",
              _cell("DE, camera told", *DES), 0.0, "<", "mm",
              why="At the full budget it gains nothing over the better DE by itself, and does with the third dimension (interaction, "
                  "notebook 11).  A pitch stated wrongly by 4° changes its error by a few percent, where it nearly triples "
                  "REN's: it makes little use of the camera."),
        Claim("space-alone", "§5.3, ours", "REN in a space along the camera's axes, which is not told the camera either, is better than "
              "DE, trained alone or with REN and PEN: part of its gain is the third dimension.",
              _cell("REN, camera's axes", *DES), 0.0, "<", "mm",
              why="At the full budget a gain over the better DE is not shown for it alone, and is together with being told the camera "
                  "(interaction, notebook 11); at twice the steps it is shown."),
        Claim("space-told", "§5.3, ours", "REN in the level space is better than a DE that is told the camera.",
              _cell("REN", "DE, camera told"), 0.0, "<", "mm"),
        Claim("projection-z", "§5.3", "Depth-based projection is better in depth than naive projection (complete method, MuPoTS, "
              "noisy AGR).", _projection("mrpe_z"), 0.0, "<", "mm", "159.8 against 210.5", why=_WHY_GATE),
        Claim("projection-mrpe", "§5.3", "It is better in the root's place as well.", _projection("mrpe"), 0.0, "<", "mm",
              "204.0 against 253.2", why=_WHY_GATE),
        *(Claim(f"table5-{test}-{train}", "§5.3, Table 5", f"Before camera {test}, training on random cameras is better than on camera "
                f"{train} alone (on the people whom all four trainings find).",
                _table5("random", train, test), 0.0, "<", "mm", f"{BY_RANDOM[test]} against {paper}")
          for (train, test), paper in OFF.items()),
        Claim("known-camera", "§5.3", "Before camera 19, training on camera 19 is better than on random cameras (on the people "
              "whom all four trainings find).",
              _table5("19", "random", "19"), 0.0, "<", "mm", "62.3 against 155.2"),
        Claim("known-poses", "§5.3", "Training with the test's poses gets more joints right (3DPCK_abs, all people, MuPoTS' twin) than "
              "with MuCo's.", compared({"train": "MuPoTS poses"}, {"train": "MuCo poses"}, experiment="tailored", metric="pck_abs"),
              0.0, ">", "points", "50.4 against 44.0",
              why="Two of three seeds gain, one does not (notebook 15, section 5); on seed 0 half and twice the steps do not turn it, "
                  "but 350 steps of an older revision gave -2.4 [-4.2, -0.6] points (rows committed in 0c354d898e)."),
        Claim("above-floor", "ours", "With the floor known, REN+PEN errs at least twice as much as the noise of the joints' peaks makes "
              "necessary: the method leaves information unused.",
              compared({"method": "REN+PEN"}, {"method": "with floor"}, True, experiment="floor chart", metric="mrpe_z"), 2.0, ">", ""),
        Claim("below-stature", "ours", "REN+PEN errs less than anybody could from the peaks who does not know the floor (statures: 5 %): "
              "it makes use of the floor.",
              compared({"method": "REN+PEN"}, {"method": "without floor"}, experiment="floor chart", metric="mrpe_z"), 0.0, "<", "mm",
              why="In so few steps it does not come that near; only with twice as many (seed 0) it is below, which is not shown."),
    )
}  # fmt: skip
