"""Outdoor places and augmented pictures, as backgrounds: see `vp.world.backgrounds`."""

import math

import torch

from vp.world.raster import nearest, pairs
from vp.world.texture import ROUGH, blend, hashed, hsv, noise, uniform


def resolved(rays, s, at, size):
    """1 where a texture of `size` mm is resolved at depths s (B N,) of pixels `at` (n,) long, falling to 0 where it would alias."""
    return (size / (2.5 * rays.pixel[at // rays.x.shape[1]] * s[at]) - 0.4).clamp(0, 1)


# ---- outdoors ----------------------------------------------------------------------------------------------------------------------


def outdoor(rays, seed, light, _, test):
    """Sky, hills, houses and trees about the camera's horizon, on grass, sand or paving (test: dusk, towers, conifers, snow, red stone)."""
    B, N = rays.x.shape
    w = uniform(seed, 24, 3)
    v = w.T
    dx, dy, dz = (d.flatten() for d in rays.d)
    flat = torch.hypot(dx, dy).clamp(min=1e-6)
    rise, height = dz / flat, rays.o[:, 2].clamp(min=300)
    picture = torch.arange(B, device=w.device).repeat_interleave(N)
    if test:
        zenith = hsv(0.66 + 0.3 * v[0], 0.25 + 0.2 * v[1], 0.45 + 0.2 * v[2])
        haze = hsv(0.02 + 0.08 * v[0], 0.25 + 0.25 * v[3], 0.8 + 0.15 * v[4])
    else:
        zenith = hsv(0.56 + 0.05 * v[0], 0.45 + 0.3 * v[1], 0.7 + 0.25 * v[2])
        haze = hsv(0.56 + 0 * v[0], 0.03 + 0.08 * v[3], 0.92 + 0.08 * v[4])
    image = torch.empty(B * N, 3, device=w.device)
    # sky: paler towards the horizon, clouds on a plane above; hills by azimuth
    at = (rise >= -0.002).nonzero()[:, 0]
    b, up = picture[at], rise[at].clamp(min=0)
    far = flat[at] * (up + 0.15) * 12
    cloud = (noise(dx[at] / far + v[5][b], dy[at] / far + v[6][b]) * 0.6 + 0.5 * v[7][b] - 0.1).clamp(0, 1) * (up * 5).clamp(0, 1)
    sky = blend(blend(haze[b], zenith[b], (1 - torch.exp(-up * 2.5))[:, None]), haze[b] * 0.4 + 0.6, 0.85 * cloud[:, None])
    turn = torch.atan2(dy[at], dx[at]) / (2 * math.pi)
    hills = up < (0.04 + 0.05 * v[8])[b] + 0.03 * noise(turn + v[9][b], v[10][b])
    tone = blend(haze, hsv(0.3 + 0.25 * v[11], 0.25 + 0 * v[0], 0.4 + 0 * v[0]), 0.55)
    image[at] = torch.where(hills[:, None], tone[b] * (1 + 0.05 * noise(turn * 8, up * 2))[:, None], sky)
    # ground
    below = rise < -0.002
    at = below.nonzero()[:, 0]
    image[at] = _ground(rays, at, picture[at], v, light, test)
    # layers of things at a distance D: on the cylinder about the camera, metric positions across and above the ground
    for layer, (D, cells, houses) in enumerate(((60000.0, 11, 0.75), (32000.0, 17, 0.45), (17000.0, 13, 0.2))):
        above = rise * D + height[picture]
        at = ((above > 0) & (above < (26000 if test else 15000))).nonzero()[:, 0]
        b, above = picture[at], above[at]
        place = torch.atan2(dy[at], dx[at]) * (cells / (2 * math.pi)) + v[12 + layer][b]
        cell = place.floor()
        pitch = 2 * math.pi * D / cells
        r = uniform(seed, cells * 8, 20 + layer).reshape(B * cells, 8)
        cell, across = b * cells + (cell % cells).long(), (place - cell - 0.5) * pitch
        rgb, hit = _things(cell, across, above, r, houses, haze, light, math.exp(-D / 110000), test, pitch)
        at = at[hit]
        image[at], below[at] = rgb, False
    return image.clamp(0, 1).reshape(B, N, 3), below.reshape(B, N).float()


def _ground(rays, at, b, v, light, test):
    """Colours (n, 3) of the ground at pixels `at` of pictures b (n,) long; v: random numbers (24, B)."""
    s = rays.plane(0.0).clamp(max=4e5)
    X, Y, _ = (x.flatten()[at] for x in rays.at(s))
    s, pick, one = s.flatten(), v[16][:, None], torch.ones_like(v[0])
    if test:
        snow, stone = hsv(0.58 * one, 0.04 + 0.05 * v[17], 0.78 + 0.1 * v[18]), hsv(0.02 + 0.03 * v[17], 0.35 * one, 0.4 + 0.15 * v[18])
        base = torch.where(pick < 0.5, snow, stone)
    else:
        grass = hsv(0.2 + 0.09 * v[17], 0.3 + 0.25 * v[18], 0.36 + 0.2 * v[19])
        sand = hsv(0.11 * one, 0.2 + 0.2 * v[18], 0.55 + 0.2 * v[19])
        base = torch.where(pick < 0.5, grass, torch.where(pick < 0.7, sand, hsv(0.1 * one, 0.02 + 0.08 * v[18], 0.38 + 0.25 * v[19])))
    rough = torch.where(pick < 0.5, 0.11, 0.05)[:, 0][b]
    grain = rough * noise(X / 6000, Y / 6000, ROUGH) * resolved(rays, s, at, 60) + 0.07 * noise(X / 60000, Y / 60000)
    grain = grain + rough * noise(X / 900, Y / 900, ROUGH) * resolved(rays, s, at, 12)
    size = (600 + 500 * v[20])[b]
    joint = (torch.minimum((X / size) % 1, (Y / size) % 1) * size < 22) & (v[16] >= (0.5 if test else 0.7))[b]
    grain = grain - 0.25 * joint * resolved(rays, s, at, 45)
    lit = base * (light.ambient + 0.85 * light.direction[:, 2:] * light.sun)
    return blend(lit[b] * (1 + grain)[:, None], torch.full_like(lit[:1], 0.75), 0.5 * (1 - torch.exp(-s[at] / 90000))[:, None])


def _things(cell, across, above, r, houses, haze, light, clear, test, pitch):
    """A house, a tree or nothing per cell: colours (m, 3) and the m of the n points (across, above mm; cell (n,) long) that they cover.

    r (B cells, 8): random numbers;  clear: how much of a colour is left after the air.
    """
    B, c = len(haze), r.T
    pictures = torch.arange(B, device=r.device).repeat_interleave(len(r) // B)
    house = (c[1] < houses) & (c[2] > 0.15)
    lit, air = (light.ambient + 0.5 * light.sun)[pictures], haze[pictures]
    wall = hsv(0.5 + 0.2 * c[5] if test else 0.14 * c[5], 0.08 + 0.35 * c[3], 0.45 + 0.45 * c[4])
    leaf = hsv(0.38 + 0.08 * c[5] if test else 0.2 + 0.13 * c[5], 0.4 + 0.2 * c[6], 0.25 + 0.25 * c[2])
    roof = hsv(0.02 + 0.05 * c[4], 0.45 + 0 * c[4], 0.3 + 0.2 * c[3])
    kinds = torch.stack([wall, wall * 0.35 + 0.06, roof, torch.full_like(wall, 0.2), leaf]) * lit  # wall window roof trunk crown
    half = torch.where(house, (4000 + 6000 * c[3]) * (0.5 if test else 1), 2500 + 2500 * c[3])
    top = torch.where(house, (3500 + 7000 * c[4]) * (2.4 if test else 1), half * (1.25 + 0.4 * c[4]))
    x, half, top, house, q = across - ((c[0] - 0.5) * 0.4 * pitch)[cell], half[cell], top[cell], house[cell], c[5][cell]
    body = house & (x.abs() < half) & (above < top)
    tiles = house & (x.abs() < half * 1.08 * (1 - (above - top) / 3500)) & (above >= top) & (not test)
    window = body & (((x / 2200 + q) % 1 - 0.5).abs() < (0.38 if test else 0.22)) & (((above / 2900) % 1 - 0.5).abs() < 0.27)
    tree = ~house & (c[1] > 0.3)[cell]
    rough = 0.16 * noise(x / 26000 + q, above / 26000 + c[2][cell]) + 0.08 * noise(x / 9000 + q, above / 9000, ROUGH)
    if test:  # a narrow triangle
        crown = tree & (x.abs() < 0.42 * (top + half - above) * (1 + 1.5 * rough)) & (above > 0.3 * half)
    else:
        crown = tree & ((x / half) ** 2 + ((above - top) / (half * 1.05)) ** 2 < 1 + 2 * rough)
    trunk = tree & (x.abs() < 260) & (above < top)
    kind = torch.where(crown, 4, torch.where(trunk, 3, torch.where(tiles, 2, torch.where(window, 1, 0))))
    hit = (body | tiles | crown | trunk).nonzero()[:, 0]
    level = torch.where(crown, 0.8 + 0.25 * ((above - top) / half).clamp(-1, 1) + 1.1 * rough, torch.where(x > 0.3 * half, 0.88, 1.0))[hit]
    cell = cell[hit]
    return blend(air[cell], kinds[kind[hit], cell] * level[:, None], clear), hit


# ---- augmented ---------------------------------------------------------------------------------------------------------------------


def augmented(rays, seed, light, frame, test):
    """A gradient with noise and, over it, muted dead leaves, or a floor with furniture-like boxes on the far side.

    Warm colours from red over wood to yellow, and greys (test: cool ones from green over blue to violet).
    """
    B, N = rays.x.shape
    w = uniform(seed, 20, 4)[..., None].unbind(1)
    u, v = frame
    base = hsv(_hue(w[0], test), (0.05 + 0.23 * w[1]) if test else (0.08 + 0.32 * w[1]), 0.4 + 0.5 * w[2])
    other = hsv(_hue(w[3], test), (0.05 + 0.23 * w[4]) if test else (0.08 + 0.32 * w[4]), 0.35 + 0.55 * w[5])
    slope = 0.5 + 0.9 * ((u - 0.9) * torch.cos(6.28 * w[6]) + (v - 0.5) * torch.sin(6.28 * w[6]))
    at = u * (0.22 if test else 0.12)
    mixed = slope + (0.1 + 0.35 * w[7]) * noise((at + w[8]).flatten(), (v * 0.12 + w[9]).flatten()).reshape(B, N)
    image = blend(base, other, mixed.clamp(0, 1)[..., None])
    image = image * (1 + (0.02 + 0.05 * w[10]) * noise((at + w[9]).flatten(), (v * 0.2 + w[8]).flatten(), ROUGH).reshape(B, N))[..., None]
    floor = torch.zeros(B, N, device=u.device)
    room = w[11][:, 0] < 0.65
    i = (~room).nonzero()[:, 0]
    image[i] = _dead_leaves(image[i], u[i], v[i], seed[i], test)
    i = room.nonzero()[:, 0]
    image[i], floor[i] = _furnished(image[i], rays[i], seed[i], test)
    return (image * (light.ambient + 0.55 * light.sun)[:, None]).clamp(0, 1), floor


def _hue(w, test):
    """Hue of augmented pictures from w in [0, 1): -0.05 to 0.17, or for tests 0.36 to 0.72."""
    return 0.36 + 0.36 * w if test else (0.22 * w - 0.05) % 1


def _dead_leaves(image, u, v, seed, test, n=260):
    """Opaque discs and turned rectangles (test: diamonds and rings) of power-law sizes dropped on images (B, N, 3) at u, v (B, N)."""
    B, N = u.shape
    if B == 0:
        return image
    q = uniform(seed, 10 * n, 5).reshape(B * n, 10).T
    size = (0.045 * (1 - 0.985 * q[0]).clamp(min=0.004) ** -0.62).clamp(max=0.45)
    cx, cy = q[1] * 2.4 - 0.25, q[2] * 1.3 - 0.15
    width = int((v[0] == v[0, 0]).sum())  # pixels are in rows
    first = torch.stack([u[:, 0], v[:, 0]], -1).repeat_interleave(n, 0)
    step = torch.stack([u[:, 1] - u[:, 0], v[:, width] - v[:, 0]], -1).repeat_interleave(n, 0)
    centre, limit = torch.stack([cx, cy], -1), first.new_tensor([width, N // width])
    lo, hi = ((centre - size[:, None] - first) / step).ceil(), ((centre + size[:, None] - first) / step).floor() + 1
    of, pixel = pairs(*(torch.minimum(e.clamp(min=0), limit).long() for e in (lo, hi)), width)
    pixel = pixel + of // n * N
    ca, sa = (q[3] * 6.28).cos() / size, (q[3] * 6.28).sin() / size
    u, v = u.flatten(), v.flatten()

    def place(pixel, of):
        """Coordinates of a pixel on a leaf, two (n,)."""
        x, y, c, s = u[pixel] - cx[of], v[pixel] - cy[of], ca[of], sa[of]
        return c * x + s * y, c * y - s * x

    a, b = place(pixel, of)
    round_ = (q[5] < 0.5)[of]
    if test:
        disc = a * a + b * b
        inside = torch.where(round_, (disc < 1) & (disc > 0.45), a.abs() + b.abs() < 1)
    else:
        inside = torch.where(round_, a * a + b * b < 1, torch.maximum(a.abs(), b.abs() * (1 + 2 * q[4] ** 2)[of]) < 0.7)
    at = inside.nonzero()[:, 0]
    of, pixel = of[at], pixel[at]
    _, leaf = nearest((q[6] + 1)[of], of, pixel, B * N)
    hit = (leaf >= 0).nonzero()[:, 0]
    leaf = leaf[hit]
    colour = hsv(_hue(q[7], test), 0.05 + 0.4 * q[8] ** 2, 0.3 + 0.55 * q[9])[leaf]
    a, b = place(hit, leaf)
    grain = noise(a * 0.06 + q[1][leaf], b * 0.06 + q[2][leaf], ROUGH)
    level = 1 + 0.2 * (a * (q[4] - 0.3)[leaf] + b * (q[6] - 0.5)[leaf]) + (0.12 * q[0] * q[8])[leaf] * grain
    image = image.reshape(B * N, 3)  # half of its colour shows through: a collage is behind people and must not swallow them
    return image.index_put((hit,), blend(image[hit], colour * level[:, None], 0.5)).reshape(B, N, 3)


def _furnished(image, rays, seed, test, n=10):
    """Images (B, N, 3) as the wall of a room: floor boards (test: carpet) and boxes on the far side; and floor (B, N)."""
    B, N = rays.x.shape
    w = uniform(seed, 6, 9)
    s = rays.plane(0.0).clamp(max=1e5)
    X, Y, _ = rays.at(s)
    reach = torch.maximum(5500 + 4000 * w[:, 0], rays.o[:, :2].norm(dim=-1) + 300)[:, None]
    floor = (s < 1e5) & (torch.hypot(X, Y) < reach)
    at = floor.flatten().nonzero()[:, 0]
    b, x, y = at // N, X.flatten()[at], Y.flatten()[at]
    board = ((x * torch.cos(6.28 * w[b, 1]) + y * torch.sin(6.28 * w[b, 1])) / (160 + 300 * w[b, 2])).floor()
    level = 1 + 0.06 * noise(x / 9000, y / 9000, ROUGH)
    level = level + (0 if test else 0.2) * (hashed(board, board * 0, seed[b]) - 0.5) * resolved(rays, s.flatten(), at, 160)
    image = image.reshape(B * N, 3).clone()
    image[at] = hsv(_hue(w[:, 3], test), 0.08 + 0.25 * w[:, 4], 0.35 + 0.4 * w[:, 5])[b] * level[:, None]
    image, floor = image.reshape(B, N, 3), floor.float()
    q = uniform(seed, 8 * n, 7).reshape(B, n, 8).unbind(1)
    front = torch.full_like(s, torch.inf)
    for box in q:  # far from the camera's side of the origin only
        angle, ring = 6.28 * box[:, 0], 3800 + 2600 * box[:, 1]
        centre = torch.stack([ring * angle.cos(), ring * angle.sin()], -1)
        i = ((centre * rays.o[:, :2]).sum(-1) < -0.25 * ring * rays.o[:, :2].norm(dim=-1)).nonzero()[:, 0]
        if len(i):
            image[i], floor[i], front[i] = _box(image[i], floor[i], front[i], rays[i], centre[i], box[i], test)
    return image, floor


def _box(image, floor, front, rays, centre, q, test):
    """Draws a box per picture (slabs: the ray is inside while it is inside all three), nearer than `front` (B, N) mm."""
    half = torch.stack([250 + 500 * q[:, 2], 200 + 350 * q[:, 3], 250 + 900 * q[:, 4] ** 2], -1)
    half = half * half.new_tensor([0.4, 0.4, 1.7] if test else [1.0, 1.0, 1.0])
    c, s = (6.28 * q[:, 5]).cos()[:, None], (6.28 * q[:, 5]).sin()[:, None]
    x, y, z = ((rays.o[:, i] - (centre[:, i] if i < 2 else half[:, 2]))[:, None] for i in range(3))
    dx, dy, dz = rays.d
    enter, leave, axis = torch.full_like(dx, 0.0), torch.full_like(dx, torch.inf), torch.zeros_like(dx)
    for j, (o, d) in enumerate(((c * x + s * y, c * dx + s * dy), (c * y - s * x, c * dy - s * dx), (z, dz))):
        inv = 1 / torch.where(d.abs() < 1e-9, 1e-9, d)
        mid, wide = -o * inv, half[:, j, None] * inv.abs()
        axis = torch.where(mid - wide > enter, float(j), axis)
        enter, leave = torch.maximum(enter, mid - wide), torch.minimum(leave, mid + wide)
    hit = (enter < leave) & (enter > 1500) & (enter < front)
    colour = hsv(_hue(q[:, 6], test), 0.1 + 0.35 * q[:, 7], 0.3 + 0.55 * q[:, 1])[:, None]
    image = torch.where(hit[..., None], colour * (0.7 + 0.2 * axis)[..., None], image)
    return image, floor * ~hit, torch.where(hit, enter, front)
