"""VirtualPose notebooks: absolute 3D human pose from one image, learned from virtual data (ECCV 2022).

`skeleton`, `camera`, `sample` and `metrics` are the ground floor; `world`, `data` and `nets` stand on it, `lab` joins them,
`show` draws.  Lengths are millimetres, image coordinates pixels, world Z points up (see `vp.camera` for every convention).
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["Camera", "InputError", "Sample", "Skeleton", "__version__"]
_HOME = {"Camera": "vp.camera", "InputError": "vp.errors", "Sample": "vp.sample", "Skeleton": "vp.skeleton"}


def __getattr__(name):
    """A class of `__all__`, imported when it is first asked for: torch takes two seconds, and not every process needs it."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__():
    return sorted({*globals(), *__all__})
