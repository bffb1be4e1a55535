"""The sentences of the benchmarks (§5.2) and of ours about their protocols, with their thresholds, committed before the run."""

from vp.lab.effects import Claim, compared

UNSEEN, SEEN = "Pizza", "seen activities"  # not in Panoptic's training (§5.2), and the mean of the others
OURS, NOISY, IMAGE = "VirtualPose, trained here", "AGR: ground truth, noisy", "AGR: image"


def _rules(table, metric, a, b, same=False):
    where = {"experiment": f"{table}, rules{', same people' if same else ''}", "metric": metric, "test": "Mean"}
    return compared({"method": a}, {"method": b}, train=f"{OURS}, {NOISY}", **where)


def _unseen(method, train):
    return compared({"test": UNSEEN}, {"test": SEEN}, True, experiment="table2, honest", metric="mpjpe", method=method, train=train)


def _against_bdr(experiment, metric, learned):
    a, b = {"method": OURS, "train": IMAGE}, {"method": "BDR", "train": learned}
    return compared(a, b, experiment=experiment, metric=metric, test="Mean")


BENCHMARKS = {
    c.id: c
    for c in (
        Claim("protocol-panoptic", "§5.2, Table 2", "Of the same network, the published protocol reports a smaller MPJPE on "
              "Panoptic's twin than the honest one.", _rules("table2", "mpjpe", "published", "honest"), 0.0, "<", "mm"),
        Claim("protocol-same-people", "§5.2, Table 2", "Also on the people whom every rule counts, the published protocol's MPJPE is "
              "smaller.", _rules("table2", "mpjpe", "published", "honest", True), 0.0, "<", "mm"),
        Claim("protocol-mupots", "§5.2, Table 3", "On MuPoTS' twin the published protocol reports more right joints (3DPCK_abs, all "
              "people) than the honest one.", _rules("table3", "pck_abs_all", "published", "honest"), 0.0, ">", "points",
              why="Step by step (notebook 12): the true bone lengths cost joints; whether the space about the true roots does is not "
                  "shown."),
        Claim("true-bones", "§5.2, Table 3", "Giving answers the true bone lengths, as MuPoTS' tool does, makes more joints right "
              "(3DPCK_abs, all people).", _rules("table3", "pck_abs_all", "data set's rules", "2D pairing"), 0.0, ">", "points",
              why="Lengths are given from the mid-hip outwards, and errors in the directions of bones add up along a limb (notebook 12 "
                  "shows it on one pose; whether that is all was not found out)."),
        Claim("unseen-activity", "§5.2, Table 2", "MPJPE on Pizza is less than 1.25 times that of the other activities.",
              _unseen(OURS, NOISY), 1.25, "<", "", "65.4 against 56.8 mm",
              but="But ours is trained on made-up poses, of which none is Pizza's: \"unseen\" says less here (BDR, which has learned from "
                  "the other activities alone, is `unseen-activity-bdr`)."),
        Claim("unseen-activity-bdr", "§5.2, Table 2", "The same of BDR, which has learned from the other activities alone: less than 1.25 "
              "times.", _unseen("BDR", "camera 16, 2D given"), 1.25, "<", "", "no such method in Table 2"),
        Claim("table2-bdr", "§5.2, Table 2", "From pictures of a camera that is in nobody's training, VirtualPose's MPJPE is smaller than "
              "that of BDR, trained before camera 16.", _against_bdr("table2, honest", "mpjpe", "camera 16, 2D given"), 0.0, "<", "mm",
              "58.9 against 61.8 mm and more (other methods)",
              why="BDR is told the true 2D joints; ours come from a 2D network that was trained in minutes.  From AGR with the noise of "
                  "training the MPJPE is half of that at quick, so most of the loss is the 2D network's; but even from true AGR it is not "
                  "below BDR's (Table 2 of notebook 12, of the people that each found)."),
        Claim("table3-bdr", "§5.2, Table 3", "From pictures, VirtualPose gets more joints right on MuPoTS' twin (3DPCK_abs, all people, "
              "data set's rules) than BDR, trained on MuCo's twin.",
              _against_bdr("table3, data set's rules", "pck_abs_all", "MuCo, 2D given"), 0.0, ">", "points", "44.0 against 43.8 and less"),
    )
}  # fmt: skip
