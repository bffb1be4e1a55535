"""The one type that readers, twins and the estimator exchange: an image's people, with whatever is known of them."""

from dataclasses import dataclass, field

import torch

from vp.camera import Camera
from vp.skeleton import Skeleton, map_joints


@dataclass
class Sample:
    """One view of one instant: P people of a skeleton with J joints.

    joints:    (P, J, 3) float64, world mm, or None when the source is 2D only.  Missing joints are NaN.
    valid:     (P, J) bool, True where `joints` is known.
    joints_px: (P, J, 2) float64, px of the original image (integer = pixel centre), or None when only 3D is known.
    valid_px:  (P, J) bool, True where `joints_px` is known (in COCO: labelled, occluded ones included).
    score:     (P, J) float64 in [0, 1], confidence of the source, or None.
    visible:   (P, J) bool, known and not occluded, or None when the source does not say.
    boxes:     (P, 4) float64, x0 y0 x1 y1 in px, or None.
    camera:    Camera (world to this image) or None when unknown.
    size:      (width, height) in px or None.    image: path of the picture or None.
    ids:       P person ids of the source.
    name:      "dataset/sequence/camera/frame" as far as they exist.
    sources:   where poses, cameras and images came from, e.g. {"poses": "panoptic", "cameras": "panoptic"}.
    """

    skeleton: Skeleton
    name: str
    joints: torch.Tensor | None = None
    valid: torch.Tensor | None = None
    joints_px: torch.Tensor | None = None
    valid_px: torch.Tensor | None = None
    score: torch.Tensor | None = None
    visible: torch.Tensor | None = None
    boxes: torch.Tensor | None = None
    camera: Camera | None = None
    size: tuple | None = None
    image: str | None = None
    ids: tuple = ()
    sources: dict = field(default_factory=dict)

    def __post_init__(self):
        J = len(self.skeleton)
        for points, mask, D in ((self.joints, self.valid, 3), (self.joints_px, self.valid_px, 2)):
            if points is None:
                continue
            if points.ndim != 3 or points.shape[1:] != (J, D) or mask is None or mask.shape != points.shape[:2]:
                raise ValueError(f"{self.name}: expected points (P, {J}, {D}) with a mask (P, {J}), got {tuple(points.shape)}")
            if not torch.isfinite(points[mask]).all():
                raise ValueError(f"{self.name}: a joint marked as known is not finite")

    def __len__(self):
        """Number of people."""
        known = self.joints if self.joints is not None else self.joints_px
        return 0 if known is None else known.shape[0]

    def project(self, distort=True):
        """Pixels of the 3D joints in this sample's camera: uv (P, J, 2), depth (P, J) mm, valid (P, J)."""
        uv, depth, valid = self.camera.project(self.joints, distort=distort)
        return uv, depth, valid & self.valid

    def to(self, skeleton, derive=False):
        """The same sample in another joint order (see `map_joints`; missing joints masked)."""
        out = {**self.__dict__, "skeleton": skeleton}
        if self.joints is not None:
            out["joints"], out["valid"] = map_joints(self.joints, self.valid, self.skeleton, skeleton, derive)
        if self.joints_px is not None:
            out["joints_px"], out["valid_px"] = map_joints(self.joints_px, self.valid_px, self.skeleton, skeleton, derive)
        if self.score is not None:
            out["score"] = map_joints(self.score[..., None], None, self.skeleton, skeleton, derive)[0][..., 0]
        if self.visible is not None:
            out["visible"] = map_joints(self.visible[..., None].double(), self.visible, self.skeleton, skeleton, derive)[1]
        return Sample(**out)
