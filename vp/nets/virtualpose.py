"""The second stage as one module (Fig. 2b, c): AGR in, absolute 3D poses out.

It works in one frame (`vp.space`): cameras handed in have that frame as their world (`Frame.camera`), and positions come back in it
(`Frame.to_world`).
"""

from dataclasses import dataclass, fields

import torch
from torch import nn

from vp.errors import InputError
from vp.nets.birdseye import BirdsEye
from vp.nets.pen import PEN
from vp.nets.ren import DE, REN, Detections, candidates
from vp.nets.v2v import V2V
from vp.space import Grid


@dataclass(frozen=True)
class Sizes:
    """Everything that shapes the second stage, kept with its weights; defaults are the paper's (published_settings 1.1, 1.2)."""

    joints: int = 15
    map: tuple = (240, 128)  # px, width and height of the heatmaps
    stride: int = 4  # network-input px per map px: fixes the focal length by which depths are divided
    people: int = 10  # K, most people in an image
    detection: float = 0.1  # least score of a root on the maps
    # REN
    space_centre: tuple = (0.0, -500.0, 800.0)  # mm of the frame; MuCo and MuPoTS (0, 0, 1100)
    space_size: tuple = (8000.0, 8000.0, 2400.0)  # mm
    space_bins: tuple = (80, 80, 24)
    sigma: float = 200.0  # mm, depth gate (Eq. 5)
    naive: bool = False  # no depth gate (§5.3)
    threshold: float = 0.3  # least score of a root in space
    window: int = 5  # voxels along the edge of the NMS's neighbourhood; coarse grids need 3, or it swallows neighbours
    subvoxel: bool = False  # roots between voxels; not in the paper
    de_width: int = 64
    de_deconv: int = 256
    de_bias: float = 0.0  # mm / px, what the untrained DE says; not in the paper
    ren_widths: tuple = (16, 32, 64, 128)
    ren_kernel: int = 7
    ren_stride: int = 1  # 2: the network halves the grid; not in the paper
    birdseye: bool = False  # REN's network sees the volume from above, with the first three widths; not in the paper
    # PEN
    pen_bins: int = 64
    pen_size: float = 2000.0  # mm
    pen_widths: tuple = (16, 32, 64, 128)
    pen_kernel: int = 7
    pen_stride: int = 1
    beta: float = 100.0  # sharpness of the soft-argmax (Eq. 7)
    skip: float = 0.0  # weight, at the start, of the heatmaps in space beside PEN's network; not in the paper
    # both
    coordinates: bool = False  # voxel coordinates as input of the 3D networks; not in the paper
    init_std: float | None = 1e-3  # of the 3D networks' weights before training; None: He's, not in the paper
    de_init_std: float | None = 1e-3  # of the DE's

    @property
    def grid(self):
        """REN's `Grid`."""
        return Grid(self.space_centre, self.space_size, self.space_bins)

    def to_dict(self):
        """Plain JSON values."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}

    @classmethod
    def from_dict(cls, data, where="sizes"):
        """From `to_dict` or a part of it, the rest being the paper's; InputError for names or kinds of values that are not known."""
        if not isinstance(data, dict) or (unknown := sorted(data.keys() - {f.name for f in fields(cls)})):
            raise InputError("sizes are no table" if not isinstance(data, dict) else f"unknown sizes: {', '.join(unknown)}", where)
        values = {}
        for f in fields(cls):
            value = values[f.name] = data.get(f.name, f.default)
            if not _alike(value, f.default) and not (f.name.endswith("init_std") and value is None):
                raise InputError(f'"{f.name}" cannot be {value!r}', where, f"for example {f.default!r}")
        for name in ("joints", "map", "stride", "people", "space_size", "space_bins", "sigma", "pen_bins", "pen_size", "beta", "window"):
            if min(values[name] if isinstance(values[name], (list, tuple)) else [values[name]]) <= 0:
                raise InputError(f'"{name}" must be positive, not {values[name]!r}', where)
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def _alike(value, default):
    """Whether a value read from a file is of the kind of the default: number, whole number, switch, or a row of them."""
    if isinstance(default, tuple):
        return isinstance(value, (list, tuple)) and len(value) == len(default) and all(map(_alike, value, default))
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    return isinstance(value, (int, float) if isinstance(default, float) else int)


@dataclass(frozen=True)
class Estimate:
    """What the second stage says of B images, K slots each, best first; positions in mm of the frame.

    roots (B, K, 3): REN's;  joints (B, K, J, 3): PEN's, NaN in slots that are not valid;  scores (B, K): of REN's peaks;  valid (B, K);
    depth_map (B, H, W) mm / px;  detections: on the maps, depths mm;  volume (B, X, Y, Z): REN's raw output.
    """

    roots: torch.Tensor
    joints: torch.Tensor
    scores: torch.Tensor
    valid: torch.Tensor
    depth_map: torch.Tensor
    detections: Detections
    volume: torch.Tensor


class VirtualPose(nn.Module):
    """DE, REN and PEN (§4.2, §4.3).

    sizes: `Sizes`;  net: another 3D network of REN than V2V, (B, J, X, Y, Z) -> (B, 1, X, Y, Z);  generator: of the first weights.
    """

    def __init__(self, sizes=None, net=None, generator=None):
        super().__init__()
        self.sizes = s = sizes or Sizes()
        common = {"coordinates": s.coordinates, "init_std": s.init_std, "generator": generator}
        de = DE(s.de_width, s.de_deconv, s.de_bias, init_std=s.de_init_std, generator=generator)
        if net is None and s.birdseye:
            net = BirdsEye(s.joints, 1, s.space_bins[2], s.ren_widths[:3], s.init_std, generator)
        elif net is None:
            net = V2V(s.joints, 1, s.ren_widths, s.ren_kernel, s.ren_stride, **common)
        self.ren = REN(s.joints, s.grid, s.people, s.sigma, s.naive, s.detection, de, net)
        fine = V2V(s.joints, s.joints, s.pen_widths, s.pen_kernel, s.pen_stride, **common)
        self.pen = PEN(s.joints, s.pen_bins, s.pen_size, s.beta, s.skip, fine)

    def factor(self, camera):
        """(B,) px: the focal length at which depths are normalised, that of the network input."""
        W, H = self.sizes.map
        return camera.fit(self.sizes.stride * W, self.sizes.stride * H).depth_norm

    def forward(self, heatmaps, box_map, camera, factor=None, choose=None, grid=None):
        """`Estimate` from heatmaps (B, J, H, W) and box_map (B, 4, H, W) before a batch of B cameras.

        factor (B,) px: as `self.factor(camera)`, which is the default;  choose: Candidates -> Candidates, what PEN shall work on instead
        of REN's own (training near the truth, published filters);  grid: another space than the network's own.
        """
        s = self.sizes
        if (heatmaps.shape[1], *heatmaps.shape[:1:-1]) != (s.joints, *s.map):
            wanted, found = (f"{j} heatmaps of {w} x {h}" for j, w, h in ((s.joints, *s.map), (heatmaps.shape[1], *heatmaps.shape[:1:-1])))
            raise InputError(f"{found} for a network of {wanted}", "VirtualPose")
        grid = grid or s.grid
        roots = self.ren(heatmaps, box_map, camera, self.factor(camera) if factor is None else factor, grid)
        found = candidates(roots.volume, grid, s.people, s.threshold, s.subvoxel, s.window)
        found = found if choose is None else choose(found)
        joints = self.pen(heatmaps, camera, found.position, found.valid)
        return Estimate(found.position, joints, found.score, found.valid, roots.depth_map, roots.detections, roots.volume)
