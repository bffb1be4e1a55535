"""Where the second stage looks (§4.2): a grid of voxels, and the frame in which it stands.

A network sees only the grid's own frame; `Frame` says where that is in the world.  Three are in use:

* the world itself (`Frame.world`): a volume that the user gives, as in CMU Panoptic;
* `Frame.ahead`: level (gravity-aligned), turned with the camera and standing on the floor below it, so that nothing but the camera
  has to be known: X forward, Y left, Z up, origin at the foot of the camera.  `turn` turns it about the vertical through the camera, to
  look aside, and `start` moves it along its X, to look farther away; X still runs along a ray of the camera's, seen from above;
* `Frame.of_camera`: the camera's own axes, for the question what gravity is worth (X right, Y down, Z forward).
"""

from dataclasses import dataclass

import torch

from vp.camera import Camera


@dataclass(frozen=True)
class Grid:
    """A box of voxels: centre and size mm, bins; voxel centres include both ends, so spacing is size / (bins - 1) (§4.2)."""

    centre: tuple = (0.0, -500.0, 800.0)  # CMU Panoptic (1.1); MuCo and MuPoTS: (0, 0, 1100)
    size: tuple = (8000.0, 8000.0, 2400.0)
    bins: tuple = (80, 80, 24)

    @property
    def spacing(self):
        """(X, Y, Z) mm between voxel centres."""
        return tuple(s / (n - 1) for s, n in zip(self.size, self.bins, strict=True))

    def axes(self, device="cpu"):
        """Voxel centres along X, Y, Z, mm: three vectors."""
        along = zip(self.centre, self.size, self.bins, strict=True)
        return [torch.linspace(c - s / 2, c + s / 2, n, device=device) for c, s, n in along]

    def points(self, device="cpu"):
        """Voxel centres (X Y Z, 3) mm, z fastest."""
        return torch.stack(torch.meshgrid(*self.axes(device), indexing="ij"), -1).view(-1, 3)

    def position(self, index):
        """Position (..., 3) mm of voxel coordinates (..., 3), whole or fractional."""
        index = torch.as_tensor(index)
        spacing, centre, size = (index.new_tensor(v, dtype=torch.float32) for v in (self.spacing, self.centre, self.size))
        return index * spacing + (centre - size / 2)

    def holds(self, points):
        """(...) bool: points (..., 3) mm inside the box."""
        centre, size = points.new_tensor(self.centre), points.new_tensor(self.size)
        return ((points - centre).abs() <= size / 2).all(-1)


@dataclass(frozen=True)
class Frame:
    """A batch of rigid frames: x_world = axes @ x_frame + origin;  axes (B, 3, 3), origin (B, 3) mm."""

    axes: torch.Tensor
    origin: torch.Tensor

    @classmethod
    def world(cls, B, like):
        """The world's own axes; dtype and device of the tensor `like`."""
        return cls(torch.eye(3).to(like).expand(B, 3, 3), torch.zeros(B, 3).to(like))

    @classmethod
    def ahead(cls, camera, start=0.0, floor=0.0, turn=0.0):
        """Level, below the camera (batch of B) on the floor Z = `floor` mm, X along its view; `start` (B,) mm farther along X.

        turn (B,) radian: X is turned so far from the view, anticlockwise seen from above, before the frame is moved along it.
        A camera that looks straight down has no direction ahead; its upper image border points there then.
        """
        forward, up = camera.R[:, 2, :2], -camera.R[:, 1, :2]
        steep = forward.norm(dim=-1, keepdim=True) < 1e-3
        x = torch.where(steep, up, forward)
        x = torch.nn.functional.pad(x / x.norm(dim=-1, keepdim=True), (0, 1))
        z = torch.zeros_like(x)
        z[:, 2] = 1.0
        turn = torch.as_tensor(turn, dtype=x.dtype, device=x.device).reshape(-1, 1)
        x = x * turn.cos() + torch.cross(z, x, dim=-1) * turn.sin()
        origin = camera.centre.clone()
        origin[:, 2] = floor
        axes = torch.stack([x, torch.cross(z, x, dim=-1), z], -1)
        start = torch.as_tensor(start, dtype=x.dtype, device=x.device)
        return cls(axes, origin + x * start.reshape(-1, 1))

    @classmethod
    def of_camera(cls, camera):
        """The axes of the camera itself (batch of B), origin at its centre."""
        return cls(camera.R.mT, camera.centre)

    def to_world(self, points):
        """Points (B, ..., 3) mm of the frame, in the world."""
        flat = points.reshape(len(points), -1, 3)
        return (flat @ self.axes.mT.to(flat) + self.origin[:, None].to(flat)).view(points.shape)

    def from_world(self, points):
        """Points (B, ..., 3) mm of the world, in the frame."""
        flat = points.reshape(len(points), -1, 3)
        return ((flat - self.origin[:, None].to(flat)) @ self.axes.to(flat)).view(points.shape)

    def camera(self, camera):
        """The same cameras (batch of B) with this frame as their world."""
        R = camera.R @ self.axes.to(camera.R)
        t = camera.t + (camera.R @ self.origin.to(camera.R)[..., None])[..., 0]
        return Camera(R, t, camera.f, camera.c, camera.size, camera.dist)
