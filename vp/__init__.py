"""VirtualPose notebooks: absolute 3D human pose from one image, learned from virtual data (ECCV 2022).

`skeleton`, `camera`, `sample` and `metrics` are the ground floor; `world`, `data` and `nets` stand on it, `lab` joins them,
`show` draws.  Lengths are millimetres, image coordinates pixels, world Z points up (see `vp.camera` for every convention).
"""

from vp.camera import Camera
from vp.errors import InputError
from vp.sample import Sample
from vp.skeleton import Skeleton

__version__ = "0.1.0"
__all__ = ["Camera", "InputError", "Sample", "Skeleton", "__version__"]
