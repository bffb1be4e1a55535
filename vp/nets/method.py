"""What a depth estimator of the generalization study (§3) sees and says: the one shape that TBS, TIF, BDR and a user's own method share.

A method is an `nn.Module` with `depths(views) -> (B, P) mm`, the depth of each person's root.  It is trained by the mean error of that
depth, unless it has `losses(views) -> {name: loss}` of its own; see `MeasuredBy`.  Boxes and 2D joints are the true ones, so that nothing
but the depth is compared: in the paper (§3.1) the boxes of TBS and TIF are, and the root of BDR; that TIF's attention is, too, is ours.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from vp.camera import Camera
from vp.skeleton import JOINTS_17

ROOT = JOINTS_17.root_index  # the same in 15 and 17 joints


@dataclass(frozen=True)
class Views:
    """B pictures of at most P people, J joints: what a method may look at, and the depths it learns (never at a test).

    image (B, 3, H, W) in [0, 1];  camera: batch of B, its size the picture's;  boxes (B, P, 4) x0 y0 x1 y1 px;  joints (B, P, J, 2) px;
    known (B, P, J): the joint is known and in the picture;  mask (B, P): the person counts, root in the picture;  depth (B, P, J) mm;
    heatmaps (B, J, h, w) of all people together, or None.  What nobody has is 0, never NaN.
    """

    image: torch.Tensor
    camera: Camera
    boxes: torch.Tensor
    joints: torch.Tensor
    known: torch.Tensor
    mask: torch.Tensor
    depth: torch.Tensor
    heatmaps: torch.Tensor | None = None

    @property
    def size(self):
        """(W, H) px of the pictures."""
        return self.camera.size

    @property
    def width_mm(self):
        """(B,) focal length over picture width (a number about 1): depth in mm = this x what a method says that knows no focal length.

        Depth divided by the focal length (§2, `d_norm`), made independent of the resolution: at depth d, the picture is d / width_mm wide.
        """
        return (self.camera.depth_norm / self.size[0]).to(self.depth)

    def without_truth(self):
        """The same without depths: what a method is tested on."""
        return replace(self, depth=torch.full_like(self.depth, torch.nan))


class MeasuredBy(nn.Module):
    """A method as an objective of `vp.lab.train`: by its own losses, else by the mean error of its root depths, in metres."""

    def __init__(self, method):
        super().__init__()
        self.method = method

    def forward(self, views):
        """Losses of `Views` by name."""
        if hasattr(self.method, "losses"):
            return self.method.losses(views)
        return {"depth": depth_error(self.method.depths(views), views)}


def depth_error(depths, views):
    """Mean |depth - true depth| of the roots of people in the mask, in metres; 0 with a gradient where nobody is."""
    error = torch.where(views.mask, (depths - views.depth[:, :, ROOT]) / 1000, 0).abs()
    return error.sum() / views.mask.sum().clamp(min=1)


def resized(images, size):
    """Images (B, C, H, W) at size (width, height) px, averaged where they shrink; None: as they are."""
    if size is None or tuple(size) == tuple(images.shape[:1:-1]):
        return images
    return F.interpolate(images, size[::-1], mode="bilinear", antialias=True)
