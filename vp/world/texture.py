"""Random numbers by hashing, periodic noise and colours: what surfaces are painted with.

Hashes make every picture depend on its own seed alone: alone or in a batch, on any device, the same numbers.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

SOFT, ROUGH, WHITE = range(3)
_M32 = 0xFFFFFFFF


def _mix(x):
    """Scrambles the low 32 bits of an int64 tensor (multiply and shift, twice: enough for pictures)."""
    for m in (0x45D9F3B, 0x2C1B3C6D):
        x = ((x ^ (x >> 16)) * m) & _M32
    return x ^ (x >> 15)


def uniform(seed, n, salt=0):
    """(B, n) float32 in [0, 1) from seeds (B,) long: row b depends on seed b and `salt` alone, on every device the same bits."""
    k = torch.arange(n, device=seed.device)
    start = _mix(_mix(((seed >> 32) + salt * 7919) & _M32) ^ (seed & _M32))[:, None]
    return (_mix((start + k * 0x9E3779B1) & _M32) >> 8) / 2**24


def hashed(i, j, k=0):
    """Float32 in [0, 1) for integer-valued tensors i, j (cells of a grid) and k (seeds), broadcast."""
    x = (i.long() * 73856093 + j.long() * 19349663 + k) & _M32
    return (_mix(x) >> 8) / 2**24


@lru_cache(4)
def tile(device):
    """(3, 513, 513) periodic noise, mean 0, deviation 1: SOFT (amplitude 1/f²), ROUGH (1/f), WHITE."""
    white = np.random.default_rng(2022).standard_normal((3, 512, 512))
    k = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512)[None]) * 512
    slope = np.stack([1 / np.maximum(k, 3) ** 2.0, 1 / np.maximum(k, 3) ** 1.1, np.ones_like(k)]) * (k > 0)
    out = np.fft.ifft2(np.fft.fft2(white) * slope).real
    out = np.pad(out / out.std((1, 2), keepdims=True), ((0, 0), (0, 1), (0, 1)), mode="wrap")
    return torch.from_numpy(out.astype(np.float32)).to(device)


def noise(u, v, kind=SOFT):
    """Periodic noise (n,) at u, v (n,); the period 1 is 512 cells."""
    grid = torch.stack([u - u.floor(), v - v.floor()], -1).nan_to_num() * 2 - 1
    return F.grid_sample(tile(u.device)[None, kind : kind + 1], grid[None, None], align_corners=True)[0, 0, 0]


def hsv(h, s, v):
    """Colour (..., 3) from hue, saturation and value in [0, 1]."""
    k = (torch.stack([h * 6 + 5, h * 6 + 3, h * 6 + 1], -1)) % 6
    return v[..., None] * (1 - s[..., None] * torch.minimum(k, 4 - k).clamp(0, 1))


def blend(a, b, t):
    """a where t is 0, b where it is 1."""
    return a + (b - a) * t
