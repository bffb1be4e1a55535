"""Rays, boxes and round cones: what drawing needs, batched over everything, one pass, no loop over people or pixels.

The only solid is the *squashed round cone*: the hull of two spheres, radius r1 at the local origin and r2 at (0, 0, h), seen through
a linear map L (camera = a + L local).  Spheres, ellipsoids, capsules and flattened limbs are special cases.  A ray is the camera point
s (x, y, 1), so its parameter s *is* the depth.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch

from vp.camera import Camera, fold_radius

NEAR = 50.0  # mm; a solid that reaches nearer to the camera plane is not drawn


@lru_cache(16)
def _through(lens, size):
    """Normalised coordinates (N, 2) of the pixels of a lens fx fy cx cy k1 k2 p1 p2 k3: kept, as the inverse is iterated (NaN: none)."""
    f, c, dist = (torch.tensor(part, dtype=torch.float64) for part in (lens[:2], lens[2:4], lens[4:]))
    v, u = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size[::-1]), indexing="ij")
    one = Camera(torch.eye(3), torch.zeros(3), f, c, size, dist)
    return one.normalise(torch.stack([u, v], -1).flatten(0, 1))[0].float()


@dataclass
class Rays:
    """Pixel rays of B cameras, float32, pixels flattened to N = H W.

    x, y (B, N): normalised image coordinates (lens distortion undone; NaN where it has no inverse);  d: three (B, N) world
    components of the ray whose camera z is 1;  o (B, 3) mm: optical centres;  pixel (B,): width of one at depth 1.  A point of the ray is
    o + s d at depth s.
    """

    x: torch.Tensor
    y: torch.Tensor
    d: tuple
    o: torch.Tensor
    pixel: torch.Tensor

    @classmethod
    def of(cls, camera):
        """Rays through the pixel centres of a batched Camera (B, ...)."""
        w, h = camera.size
        B, dev = len(camera.t), camera.t.device
        u, v = torch.arange(w, device=dev), torch.arange(h, device=dev)
        if camera.dist is None:
            f, c = camera.f.float(), camera.c.float()
            x = ((u - c[:, :1]) / f[:, :1])[:, None].expand(B, h, w).reshape(B, -1)
            y = ((v - c[:, 1:]) / f[:, 1:])[..., None].expand(B, h, w).reshape(B, -1)
        else:
            lens, back = torch.unique(torch.cat([camera.f, camera.c, camera.dist], -1).double(), dim=0, return_inverse=True)
            x, y = torch.stack([_through(tuple(row), (w, h)) for row in lens.tolist()]).to(dev)[back].unbind(-1)
        R = camera.R.float()[..., None]
        d = tuple(R[:, 0, i] * x + R[:, 1, i] * y + R[:, 2, i] for i in range(3))
        return cls(x, y, d, camera.centre.float(), 1 / camera.f[:, 0].float())

    def __getitem__(self, i):
        """The rays of some of the cameras."""
        return Rays(self.x[i], self.y[i], tuple(d[i] for d in self.d), self.o[i], self.pixel[i])

    def plane(self, height):
        """Depth (B, N) at which each ray meets the plane Z = height (number or (B,)), inf where it does not."""
        rise = torch.as_tensor(height, device=self.o.device) - self.o[:, 2]
        s = rise.reshape(-1, 1) / self.d[2]
        return torch.where(s > 0, s, torch.full_like(s, float("inf")))

    def at(self, s):
        """World coordinates, three (B, N), at depths s (B, N)."""
        return tuple(self.o[:, i, None] + s * self.d[i] for i in range(3))


def outline(c, Q):
    """Exact bounds in x/z and y/z of ellipsoids {c + q: qᵀ Q⁻¹ q <= 1} in the camera frame: lo, hi (..., 2), ok (...).

    The plane x = k z touches where (cx - k cz)² = Qxx - 2 k Qxz + k² Qzz.  c (..., 3), Q (..., 3, 3);  ok: wholly in front.
    """
    ok = c[..., 2] - Q[..., 2, 2].sqrt() > NEAR
    A = torch.where(ok, c[..., 2] ** 2 - Q[..., 2, 2], torch.ones_like(c[..., 2]))[..., None]
    B = c[..., :2] * c[..., 2:] - Q[..., :2, 2]
    C = c[..., :2] ** 2 - Q.diagonal(dim1=-2, dim2=-1)[..., :2]
    root = (B * B - A * C).clamp(min=0).sqrt()
    return (B - root) / A, (B + root) / A, ok


def pixel_bounds(camera, rays, lo, hi):
    """First and one-past-last pixel (B, K, 2) long, on the image, of bounds lo, hi (B, K, 2) in x/z, y/z; rays: the camera's `Rays`."""
    if camera.dist is not None:
        # What no pixel sees is cut off.  The rest: sides, middles and what is nearest the axis through the lens, with a margin; beyond the
        # radius where the lens folds back, from that radius on, which keeps the direction and so bounds what can be seen.
        seen = torch.stack([rays.x, rays.y], -1)[:, None].to(lo)
        gone = seen.isnan()
        least, most = (seen.masked_fill(gone, e).flatten(1, 2) for e in (float("inf"), -float("inf")))
        lo, hi = torch.maximum(lo, least.amin(1, True)), torch.minimum(hi, most.amax(1, True))
        empty, hi = (lo > hi).any(-1, keepdim=True), torch.maximum(lo, hi)
        sides = (lo, (lo + hi) / 2, torch.minimum(lo.clamp(min=0), hi), hi)
        grid = torch.stack([torch.stack([i[..., 0], j[..., 1]], -1) for i in sides for j in sides], -2)
        fold = fold_radius(camera.dist).to(lo)[:, None, None, None]
        grid = (grid * (0.999 * fold / grid.norm(dim=-1, keepdim=True).clamp(min=1e-9)).clamp(max=1)).flatten(1, 2)
        uv = camera.project_camera(1000 * torch.cat([grid, torch.ones_like(grid[..., :1])], -1))[0].unflatten(1, (-1, len(sides) ** 2))
        a, b = uv.amin(-2), uv.amax(-2)
        a, b = a - 0.03 * (b - a) - 1, torch.where(empty, a - 2, b + 0.03 * (b - a) + 1)
    else:
        f, c = camera.f[:, None].to(lo), camera.c[:, None].to(lo)
        a, b = lo * f + c, hi * f + c
    size = torch.tensor(camera.size, device=lo.device, dtype=lo.dtype)
    a, b = (torch.minimum(e.clamp(min=0), size) for e in (a.ceil(), b.floor() + 1))
    return a.long(), torch.maximum(a, b).long()


def pairs(lo, hi, width):
    """Every (box, pixel) pair of boxes lo, hi (K, 2) long in an image `width` wide: box (n,), pixel (n,) = y width + x."""
    w, h = (hi - lo).clamp(min=0).unbind(-1)
    K, dev = torch.arange(len(w), device=w.device), w.device
    row = torch.repeat_interleave(K, torch.where(w > 0, h, torch.zeros_like(h)))  # one entry per row of each box
    first = (torch.cumsum(h * (w > 0), 0) - h * (w > 0))[row]
    start = (lo[row, 1] + torch.arange(len(row), device=dev) - first) * width + lo[row, 0]
    wide = w[row]
    shift = start - (torch.cumsum(wide, 0) - wide)
    of = torch.repeat_interleave(torch.arange(len(row), device=dev), wide)
    return row[of], shift[of] + torch.arange(len(of), device=dev)


def cone_table(c, L, h, r1, r2, open_end):
    """The 20 numbers per solid that `hit_cones` reads: (20, K) float32.

    c (K, 3) first centre in the camera frame;  L (K, 3, 3);  h, r1, r2 (K,) mm;  open_end (K,) bool: no cap at the second end.
    """
    M = torch.linalg.inv(L)
    k = ((r1 - r2) / h.clamp(min=1e-6)).clamp(-0.98, 0.98)
    w = (M[..., :2] @ c[..., :2, None])[..., 0]
    cap2 = torch.where(open_end, -torch.ones_like(r2), r2 * r2)
    return torch.cat([M.flatten(-2), w, torch.stack([c[..., 2], h, r1, k, 1 - k * k, r1 * r1, cap2, c[..., 2]], -1)], -1).T.float()


def hit_cones(table, of, x, y):
    """Where rays (n,) meet the solids `of` (n,) long: depth (n,) mm (inf: miss), local point three (n,), axis position (n,) mm.

    With p = o + τ d the envelope of the spheres is (1 - k²)(px² + py²) = (r1 - k pz)², k = (r1 - r2) / h; the sphere that touches
    at p has its centre at (pz - k r1) / (1 - k²), which must lie in [0, h], else an end sphere decides.  The origin of τ is the
    ray's point at the depth of the first centre, so that float32 suffices.
    """
    col = [table[i][of] for i in range(19)]
    g = [x * col[3 * i] + y * col[3 * i + 1] for i in range(3)]
    ox, oy, oz = (torch.addcmul(-col[9 + i], g[i], col[12]) for i in range(3))
    dx, dy, dz = (g[i] + col[3 * i + 2] for i in range(3))
    h, r1, k, c2, cap1, cap2 = col[13:19]
    dd, od, oo = dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy
    q = r1 - k * oz
    kd = k * dz
    A = torch.addcmul(-(kd * kd), c2, dd)
    B = torch.addcmul(kd * q, c2, od)
    C = torch.addcmul(-(q * q), c2, oo)
    disc = torch.addcmul(-A * C, B, B)
    steep = A < 1e-7
    side = -(B + disc.clamp(min=0).sqrt()) / torch.where(steep, A.clamp(max=-1e-7), A)
    at = (oz + side * dz - k * r1) / c2
    on_side = (disc > 0) & (at >= 0) & (at <= h)  # disc 0: parallel to the axis, or touching
    begin = torch.where(steep, dz > 0, at < 0)
    z = torch.where(begin, oz, oz - h)
    Bs = torch.addcmul(od, z, dz)
    As = torch.addcmul(dd, dz, dz)
    cap = torch.addcmul(-As * (oo + z * z - torch.where(begin, cap1, cap2)), Bs, Bs)
    miss = ~on_side & ((cap < 0) | (~begin & (cap2 < 0)))
    tau = torch.where(on_side, side, -(Bs + cap.clamp(min=0).sqrt()) / As)
    at = torch.where(on_side, at, torch.where(begin, torch.zeros_like(h), h))
    depth = (col[12] + tau).masked_fill(miss, float("inf"))
    return depth, (ox + tau * dx, oy + tau * dy, oz + tau * dz), at


def nearest(depth, solid, pixel, n):
    """z-buffer over n pixels: depth (n,) mm (inf: nothing) and solid (n,) long (-1) of the nearest hit; equal depths: the first solid."""
    key = (depth.view(torch.int32).long() << 32) | solid  # a positive float's bits are in the order of the floats
    empty = torch.iinfo(torch.int64).max
    best = torch.full((n,), empty, device=depth.device).scatter_reduce(0, pixel, key, "amin")
    hit = best != empty
    z = torch.where(hit, (best >> 32).int().view(torch.float32), torch.full_like(best, float("inf"), dtype=torch.float32))
    return z, torch.where(hit, best & 0xFFFFFFFF, torch.full_like(best, -1))
