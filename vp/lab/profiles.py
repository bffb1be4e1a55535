"""The one switch of size: smoke, quick, paper-short, paper.  Later parts add their sizes here and nowhere else."""

import os
from dataclasses import dataclass

from vp.errors import InputError


@dataclass(frozen=True)
class Profile:
    """Sizes of one profile.  None of these numbers is in the paper unless the comment says so."""

    name: str
    scenes: int  # virtual people or scenes behind each geometry figure and claim
    clips: int  # recorded clips read where a folder is given (0: all)
    cell_timeout_s: int  # a notebook cell that runs longer is stopped


PROFILES = {
    p.name: p
    for p in (
        Profile("smoke", scenes=200, clips=3, cell_timeout_s=300),
        Profile("quick", scenes=4000, clips=0, cell_timeout_s=1800),
        Profile("paper-short", scenes=20000, clips=0, cell_timeout_s=7200),
        Profile("paper", scenes=20000, clips=0, cell_timeout_s=4 * 86400),
    )
}


def resolve(profile="auto"):
    """The Profile of a name; "auto" is $VP_PROFILE, else quick.  InputError for an unknown name."""
    name = (os.environ.get("VP_PROFILE") or "quick") if profile == "auto" else profile
    if name not in PROFILES:
        raise InputError(f"unknown profile {name!r}", hint=f"one of {', '.join(PROFILES)}")
    return PROFILES[name]
