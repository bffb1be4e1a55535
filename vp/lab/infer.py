"""AGR and a camera in, poses in the camera frame out: what is done with a trained second stage, without any ground truth.

The space is level, turned with the camera and begins 1 m ahead of it (`Frame.ahead`; the grid of the networks says where).  Who is not
explained by it, because beside it or farther away, is looked for in further windows: the same space, turned about the vertical through
the camera and moved out so that somebody who is left, at the depth that the DE gives him, stands in its middle.
"""

from dataclasses import dataclass, fields

import torch

from vp.lab.second_stage import frames
from vp.nets.ren import Detections, candidates, detected_roots
from vp.space import Frame

WINDOWS = 4  # most per image, the first one included
WITHIN_PX = 3.0  # of the map: an answer so near to a detection in the picture is its own


@dataclass
class Poses:
    """Answers for B images, K slots each, best first; positions mm of the camera frame.

    joints (B, K, J, 3): PEN's, NaN where not valid;  roots (B, K, 3): REN's;  voxels (B, K, 3): the same at voxel centres;  scores,
    valid (B, K);  window (B, K): in which the answer was found, 0 the first.
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
    frame;  unexplained (B, K): detections without a pose;  aims (B, windows): depth mm at which each further window was aimed, NaN in the
    first column and where none was needed."""

    poses: Poses
    detections: Detections
    depth_roots: torch.Tensor
    unexplained: torch.Tensor
    aims: torch.Tensor


@torch.no_grad()
def infer(model, heatmaps, box_map, camera, frame="ahead", windows=WINDOWS, choose=None):
    """`Inference` from heatmaps (B, J, H, W) and box_map (B, 4, H, W) before a batch of B cameras in the world.

    frame: one of `FRAMES`, or a `Frame`;  windows: at most so many (frame "ahead" without `choose`; else one);  choose: see `VirtualPose`,
    called with the frame as well.  The answer for an image depends on no other image.
    """
    model.eval()
    s, here = model.sizes, frames(camera, frame) if isinstance(frame, str) else frame
    poses, detections, inside = _look(model, heatmaps, box_map, camera, here, choose)
    roots = inside.to_camera(detected_roots(detections, inside, s.map))
    left = unexplained(poses, detections, inside, s.map)
    place = inside.to_world(roots)[..., :2]  # of the first window, from above; its origin is the foot of the camera
    hopeful = place.norm(dim=-1) > s.grid.axes()[0][0]  # nobody can be brought into a space that begins behind him
    aims = roots.new_full((len(roots), windows), torch.nan)
    for k in range(1, windows if frame == "ahead" and choose is None else 1):
        hopeful = hopeful & left & (detections.depths > 0)
        rows = hopeful.any(1).nonzero()[:, 0]
        if not len(rows):
            break
        who = detections.scores.masked_fill(~hopeful, -torch.inf).argmax(1)[rows]
        aims[rows, k] = roots[rows, who, 2]
        turn, start = _aimed(place[rows, who], s.grid)
        there = Frame.ahead(camera[rows], start, turn=turn)
        more, _, inside = _look(model, heatmaps[rows], box_map[rows], camera[rows], there)
        found = _part(detections, rows)
        more.window.fill_(k)
        more.valid = more.valid & explains(more, found, left[rows], inside, s.map)
        for name, value in vars(joined(_part(poses, rows), more)).items():
            getattr(poses, name)[rows] = value
        left[rows] = unexplained(_part(poses, rows), found, inside, s.map)
        hopeful[rows, who] = False  # whom his own window does not explain is not looked for in it again
    return Inference(poses, detections, roots, left, aims)


def _look(model, heatmaps, box_map, camera, frame, choose=None):
    """One window: (`Poses`, `Detections`, the cameras with the frame as their world)."""
    s, inside = model.sizes, frame.camera(camera).to(torch.float32)
    e = model(heatmaps, box_map, inside, choose=choose and (lambda found: choose(found, frame)))
    voxels = candidates(e.volume, s.grid, s.people, s.threshold, window=s.window).position
    joints, first = inside.to_camera(e.joints.flatten(1, 2)).view(e.joints.shape), torch.zeros_like(e.valid, dtype=torch.long)
    return Poses(joints, inside.to_camera(e.roots), inside.to_camera(voxels), e.scores, e.valid, first), e.detections, inside


def _aimed(place, grid):
    """turn (N,) radian and start (N,) mm of `Frame.ahead` by which places (N, 2) mm of its X and Y come to the middle of the grid.

    The window is never drawn towards the camera: who is nearer than the middle stays as far ahead as he is.
    """
    return torch.atan2(place[:, 1], place[:, 0]), (place.norm(dim=-1) - grid.centre[0]).clamp(min=0.0)


# ---- answers and detections ------------------------------------------------------------------------------------------------------------


def _distance(poses, detections, camera, map_size):
    """(B, K answers, K detections) map px between roots; infinite where either is not valid (cameras: intrinsics only)."""
    uv = camera.fit(*map_size).project_camera(poses.roots)[0]
    px = (uv[:, :, None] - detections.roots[:, None]).norm(dim=-1)
    return px.masked_fill(~(poses.valid[..., None] & detections.valid[:, None]) | px.isnan(), torch.inf)


def unexplained(poses, detections, camera, map_size, within=WITHIN_PX):
    """(B, K) bool: detected roots without a pose whose root is within so many map px (cameras: a batch of B, intrinsics only)."""
    return detections.valid & ~(_distance(poses, detections, camera, map_size) < within).any(1)


def explains(poses, detections, left, camera, map_size, within=WITHIN_PX):
    """(B, K) bool: answers that belong to one of the detections `left` (B, K): it is nearer than any other, within so many map px.

    What a further window says of others is no news: they have answers.
    """
    px, nearest = _distance(poses, detections, camera, map_size).min(2)
    return (px < within) & left.gather(1, nearest)


def joined(a, b):
    """Two `Poses` about different people as one of K slots, best first."""
    K = a.valid.shape[1]
    both = Poses(*(torch.cat([getattr(a, f.name), getattr(b, f.name)], 1) for f in fields(Poses)))
    order = both.scores.masked_fill(~both.valid, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :K]
    rows = torch.arange(len(order), device=order.device)[:, None]
    return Poses(*(getattr(both, f.name)[rows, order] for f in fields(Poses)))


def _part(batch, rows):
    """Some images of `Poses` or `Detections`."""
    return type(batch)(**{f.name: getattr(batch, f.name)[rows] for f in fields(batch)})
