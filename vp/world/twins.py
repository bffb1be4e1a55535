"""The virtual twins of CMU Panoptic, MuCo-3DHP, MuPoTS-3D and COCO: same splits and cameras, our people, places and pictures.

A twin says what its scenes are made of: cast, activities, cameras, how many people stand where, before which backgrounds.  Cast, activities
and backgrounds of the MuPoTS twin occur in no training split; the cast of a twin is the same in its splits, as in the original ("few
actors", §2).  Everything that has no number in the paper or in the published settings is ours.
"""

from dataclasses import dataclass

import torch

from vp.errors import InputError
from vp.world.bank import PoseBank
from vp.world.body import cast
from vp.world.placement import Placement
from vp.world.scenes import SceneConfig

# In every picture of a twin's own cameras there is somebody's root, by the rule of places (`Placement.someone`): no scene is drawn again,
# and a counterfactual scene keeps the places of the unchanged one.  So the cameras must look where roots can be: see `cameras.PHOTOS`.
# Panoptic's floor is a disc of 2.5 m; nine people of its recordings (three seated, six standing) have their roots 0.3 to 1.5 m from the
# centre, half of them within 0.9 m.  That is so near to the cameras that many are cut off, there as here: of the nine all before camera 14,
# 56 % before 16, 33 % before 19, 67 % before 30; of the twin's 100, 46, 22 and 60 %.
DOME = Placement(area=1200.0, disc=True, someone=True)
AROUND = Placement(someone=True)
VIEW = Placement(area=None, view=(2000.0, 7000.0), shares=(0.8, 0.2, 0.0), someone=True)
BANK = 4000  # poses per activity mixture, drawn once per twin and split


@dataclass(frozen=True)
class Twin:
    """One split of a twin.

    cast: name of `body.CASTS`;  activities: names of MIXTURES in equal shares;  scenes: cameras, people, places;  backgrounds: families
    of `vp.world.backgrounds`, one drawn per scene;  flat: 2D only (COCO).
    """

    name: str
    split: str
    cast: str
    activities: tuple
    scenes: SceneConfig
    backgrounds: tuple
    flat: bool = False

    def people(self):
        """The cast: `People`."""
        return cast(self.cast)

    def bank(self, seed=0, n=BANK):
        """`PoseBank` of n poses of each activity by members of the cast; splits draw from streams of their own."""
        who, banks = self.people(), []
        for k, activity in enumerate(self.activities):
            g = torch.Generator().manual_seed(97 * seed + 7919 * SPLITS.index(self.split) + 101 * k)
            banks.append(PoseBank.procedural(n, activity, who[torch.randint(len(who), (n,), generator=g)], g))
        return PoseBank.joined(banks) if len(banks) > 1 else banks[0]


SPLITS = ("train", "test", "val")
_GAMES = ("haggling", "mafia", "ultimatum")
_MUPOTS = ("test_studio", *["test_outdoor"] * 3)  # 5 scenes indoors, 15 outdoors
TWINS = {
    (t.name, t.split): t
    for t in (
        Twin("panoptic", "train", "panoptic", _GAMES, SceneConfig("panoptic:16", (3, 6), DOME), ("studio",)),  # §5.2: camera 16
        Twin("panoptic", "test", "panoptic", (*_GAMES, "pizza"), SceneConfig("panoptic:30", (3, 6), DOME), ("studio",)),  # camera 30
        Twin("muco", "train", "muco", ("muco",), SceneConfig("muco", (4, 4), AROUND), ("green", "augmented")),  # §3.2: 70 %
        Twin("muco", "test", "muco", ("muco",), SceneConfig("muco", (4, 4), AROUND), ("green", "test_augmented")),  # 30 %
        Twin("mupots", "test", "mupots", ("mupots",), SceneConfig("mupots", (2, 3), VIEW), _MUPOTS),
        Twin("coco", "train", "coco", ("all",), SceneConfig("photos", (1, 8), VIEW), ("outdoor", "augmented"), flat=True),
        Twin("coco", "val", "coco", ("all",), SceneConfig("photos", (1, 8), VIEW), ("test_outdoor", "test_augmented"), flat=True),
    )
}


def twin(name, split):
    """The Twin of a data set's split; InputError lists what there is."""
    if (name, split) not in TWINS:
        raise InputError(f"no split {split!r} of {name!r}", "twin", "there are " + ", ".join(f"{n} {s}" for n, s in TWINS))
    return TWINS[name, split]
