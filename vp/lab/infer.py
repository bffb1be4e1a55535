"""AGR and a camera in, poses in the camera frame out: what is done with a trained second stage, without any ground truth.

The space is level, turned with the camera and begins 1 m ahead of it (`Frame.ahead`; the grid of the networks says where).  Who is not
explained by it, because farther away, is looked for in further windows: the same space moved along the view.
"""

from dataclasses import dataclass, fields

import torch

from vp.lab.second_stage import frames
from vp.nets.ren import Detections, candidates, detected_roots

ACROSS_MM, ALONG = 400.0, 0.35  # two answers are one person if their roots are nearer than this across the view, and than this share of
# their depth along it
OVERLAP_MM = 1500.0  # of two windows, so that somebody between them lies well inside one
WINDOWS = 3


@dataclass
class Poses:
    """Answers for B images, K slots each, best first; positions mm of the camera frame.

    joints (B, K, J, 3): PEN's, NaN where not valid;  roots (B, K, 3): REN's;  voxels (B, K, 3): the same at voxel centres;  scores,
    valid (B, K);  window (B, K): mm by which the space of the answer was moved.
    """

    joints: torch.Tensor
    roots: torch.Tensor
    voxels: torch.Tensor
    scores: torch.Tensor
    valid: torch.Tensor
    window: torch.Tensor


@dataclass
class Inference:
    """poses: `Poses`;  detections: people on the maps, depths mm;  depth_roots (B, K, 3): these at the depth of the DE, mm of the camera
    frame;  unexplained (B, K): detections without a pose."""

    poses: Poses
    detections: Detections
    depth_roots: torch.Tensor
    unexplained: torch.Tensor


@torch.no_grad()
def infer(model, heatmaps, box_map, camera, frame="ahead", windows=WINDOWS, choose=None):
    """`Inference` from heatmaps (B, J, H, W) and box_map (B, 4, H, W) before a batch of B cameras in the world.

    frame: one of `FRAMES`, or a `Frame`;  windows: at most so many (frame "ahead" only);  choose: see `VirtualPose`, called with the frame
    as well.
    """
    model.eval()
    s, first, poses, left = model.sizes, None, None, None
    several = frame == "ahead" if isinstance(frame, str) else False
    step = s.space_size[0] - OVERLAP_MM
    for k in range(windows if several else 1):
        here = frames(camera, frame, k * step) if isinstance(frame, str) else frame
        inside = here.camera(camera).to(torch.float32)
        e = model(heatmaps, box_map, inside, choose=choose and (lambda found, here=here: choose(found, here)))
        voxels = candidates(e.volume, s.grid, s.people, s.threshold, window=s.window).position
        wanted = None if left is None else left.any(1)  # the images that need another window: an answer depends on no other image
        one = Poses(
            inside.to_camera(e.joints.flatten(1, 2)).view(e.joints.shape), inside.to_camera(e.roots), inside.to_camera(voxels), e.scores,
            e.valid if wanted is None else e.valid & wanted[:, None], torch.full_like(e.scores, k * step),
        )  # fmt: skip
        first = first or (e.detections, inside.to_camera(detected_roots(e.detections, inside, s.map)))
        poses = one if poses is None else merged(poses, one)
        left = unexplained(poses, first[0], inside, s.map)
        if not bool(left.any()):
            break
    return Inference(poses, *first, left)


def unexplained(poses, detections, camera, map_size, within=3.0):
    """(B, K) bool: detected roots without a pose whose root is within so many map px (cameras: a batch of B, intrinsics only)."""
    uv = camera.fit(*map_size).project_camera(poses.roots)[0]
    near = ((uv[:, :, None] - detections.roots[:, None]).norm(dim=-1) < within) & poses.valid[..., None]
    return detections.valid & ~near.any(1)


def merged(a, b):
    """Two `Poses` as one of K slots: of two answers for a person the one with the higher score."""
    K = a.valid.shape[1]
    both = Poses(*(torch.cat([getattr(a, f.name), getattr(b, f.name)], 1) for f in fields(Poses)))
    both = _slots(both, both.scores.masked_fill(~both.valid, -torch.inf).argsort(dim=1, descending=True, stable=True))
    same = one_person(both.roots[:, :, None], both.roots[:, None])
    keep = both.valid.clone()
    for k in range(1, keep.shape[1]):  # best first: who equals a kept one goes
        keep[:, k] &= ~(same[:, k, :k] & keep[:, :k]).any(1)
    both.valid = keep
    return _slots(both, (~keep).to(torch.uint8).argsort(dim=1, stable=True)[:, :K])


def _slots(poses, order):
    rows = torch.arange(len(order), device=order.device)[:, None]
    return Poses(*(getattr(poses, f.name)[rows, order] for f in fields(Poses)))


def one_person(a, b):
    """Whether roots a and b (..., 3) of the camera frame are one person's, seen twice: near across the view, roughly alike in depth."""
    z = (a[..., 2] + b[..., 2]).clamp(min=1.0) / 2
    across = (a[..., :2] / a[..., 2:].clamp(min=1.0) - b[..., :2] / b[..., 2:].clamp(min=1.0)).norm(dim=-1) * z
    return (across < ACROSS_MM) & ((a[..., 2] - b[..., 2]).abs() < ALONG * z)
