"""VirtualPose notebooks: absolute 3D human pose from one image, learned from virtual data (ECCV 2022).

`skeleton`, `camera`, `sample` and `metrics` are the ground floor; `world`, `data` and `nets` stand on it, `lab` joins them,
`show` draws.  Lengths are millimetres, image coordinates pixels, world Z points up (see `vp.camera` for every convention).
"""

from importlib import import_module as _import
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what editors and type checkers read
    from vp.camera import Camera
    from vp.errors import InputError
    from vp.sample import Sample
    from vp.skeleton import Skeleton

__version__ = "0.1.0"
__all__ = ["Camera", "InputError", "Sample", "Skeleton", "__version__"]
_HOME = {"Camera": "vp.camera", "InputError": "vp.errors", "Sample": "vp.sample", "Skeleton": "vp.skeleton"}


def __getattr__(name):
    """A class of `__all__` or its module, imported when it is first asked for: torch takes two seconds, and not every process needs it."""
    if name in _HOME:
        return getattr(_import(_HOME[name]), name)
    if f"vp.{name}" in _HOME.values():
        return _import(f"vp.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
