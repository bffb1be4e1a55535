"""The pose estimation network (§4.3): a finer volume about each root, the same 3D network, joints as expectations (Eq. 7 and 8)."""

import torch
from torch import nn

from vp.nets.unproject import positions, unproject
from vp.nets.v2v import V2V
from vp.space import Grid


class PEN(nn.Module):
    """Joints of all people of a batch at once; the weights are shared over people.

    joints: J;  bins, size: voxels along each edge of the cube and its length mm;  beta: sharpness of the soft-argmax (published 100);
    skip (not in the paper): the network adds to skip x (the heatmaps in space), a learned factor that starts here; 0 leaves it out;
    net: another module than the published one, (C, J, M, M, M) -> the same;  chunk: voxels that pass the network at a time.
    """

    def __init__(self, joints=15, bins=64, size=2000.0, beta=100.0, skip=0.0, net=None, chunk=2**22):
        super().__init__()
        self.cube = Grid((0.0, 0.0, 0.0), (size,) * 3, (bins,) * 3)
        self.joints, self.beta, self.chunk = joints, beta, chunk
        self.net = V2V(joints, joints) if net is None else net
        self.skip = nn.Parameter(torch.tensor(float(skip))) if skip else None
        self.positions = positions  # `vp.published_stage` has another

    def forward(self, heatmaps, camera, centres, valid):
        """Joints (B, K, J, 3) mm of the frame about `centres` (B, K, 3); NaN where not `valid` (B, K).

        heatmaps (B, J, H, W) before a batch of B cameras.  Cubes of all images pass the network together, `chunk` voxels at a time.
        """
        joints = heatmaps.new_full((*valid.shape, self.joints, 3), torch.nan)
        image, slot = valid.nonzero(as_tuple=True)
        step = max(1, self.chunk // self.cube.bins[0] ** 3)
        found = [self.poses(heatmaps, camera, centres[i, k], i) for i, k in zip(image.split(step), slot.split(step)) if len(i)]
        return joints.index_put((image, slot), torch.cat(found)) if found else joints

    def poses(self, heatmaps, camera, centres, image):
        """Joints (C, J, 3) mm about `centres` (C, 3); image (C,) long: where in the batch each belongs."""
        cube = self.volumes(heatmaps, camera, centres, image)
        logits = self.net(cube).to(cube)
        logits = logits if self.skip is None else logits + self.skip * cube
        return soft_argmax(logits, self.cube, self.beta) + centres[:, None]

    def volumes(self, heatmaps, camera, centres, image):
        """Heatmaps in space, (C, J, M, M, M), without any gate (§4.3)."""
        points = self.cube.points(centres.device) + centres[:, None]
        where = self.positions(camera[image.to(camera.R.device)], points, heatmaps.shape[:1:-1])
        return unproject(heatmaps, where, image=image).to(heatmaps).unflatten(2, self.cube.bins)


def soft_argmax(logits, grid, beta=100.0):
    """Expected position (..., J, 3) mm under softmax(beta x logits) over all voxels of `grid` (Eq. 7); logits (..., J, X, Y, Z)."""
    share = (beta * logits.flatten(-3)).softmax(-1).view(logits.shape)
    lines = share.sum((-1, -2)), share.sum((-1, -3)), share.sum((-2, -3))
    centre = logits.new_tensor(grid.centre)
    axes = (axis.to(share) - c for axis, c in zip(grid.axes(logits.device), centre))  # about the centre: less is lost in float32
    return torch.stack([(line * axis).sum(-1) for line, axis in zip(lines, axes)], -1) + centre
