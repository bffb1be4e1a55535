"""Pictures of virtual people: colour, instance mask, depth and joint visibility of a batch in one pass.

Every solid of `mannequin` is met by the rays of the pixels in its exact bounding box; the nearest hit per pixel wins; only winners are
shaded.  Depth is z in the camera frame; a person's part below the floor is hidden by it.  Light: Lambert's cosine and an ambient part.
"""

from dataclasses import dataclass

import torch

from vp.camera import Camera, rescale
from vp.errors import InputError
from vp.skeleton import JOINTS_17
from vp.world.backgrounds import Light, background, sample_light
from vp.world.mannequin import ACROSS, ALONG, BLOTCHES, CHECKS, LIFT, SKIN, STOOL, TRIM, mannequin
from vp.world.raster import NEAR, Rays, cone_table, hit_cones, nearest, outline, pairs, pixel_bounds
from vp.world.texture import WHITE, noise, tile, uniform

# how deep a joint lies below its own surface at most when it still counts as seen, share of stature
_DEEP = {"neck": 0.07, "head_top": 0.06, "mid_hip": 0.12, "shoulder": 0.055, "elbow": 0.04, "wrist": 0.035, "hip": 0.085, "knee": 0.05,
         "ankle": 0.045, "spine": 0.10, "head": 0.085}  # fmt: skip
DEEP = tuple(_DEEP[j.split("_", 1)[1] if j.startswith(("left", "right")) else j] for j in JOINTS_17.joints)
_SHADOWS = ("hips", "belly", "chest", "skull", "skirt", *(f"{s}_{p}" for s in ("left", "right") for p in
            ("upper_arm", "forearm", "thigh", "shank", "foot")))  # fmt: skip
PIXELS = PAIRS = 1 << 18  # pixels, and (solid, pixel) pairs, at a time: what stays in a processor's cache


@dataclass
class Picture:
    """image (B, 3, H, W) float32 in [0, 1];  instance (B, H, W) int8, -1 background, else the person;  depth (B, H, W) float32 mm, inf
    where nobody is;  visible (B, P, 17) bool: the joint is known, in the image, and nothing is in front of it but its own flesh.
    """

    image: torch.Tensor
    instance: torch.Tensor
    depth: torch.Tensor
    visible: torch.Tensor


def render(scenes, size=(240, 128), family="studio", seed=None, light=None):
    """Pictures of `Scenes` at `size` (width, height): the whole image, fitted with its aspect ratio kept.

    family: a background family of `backgrounds` or an ImageFolder;  seed, light: as `render_people`, default: the scenes' own seeds.
    """
    camera = scenes.camera if tuple(scenes.camera.size) == tuple(size) else scenes.camera.fit(*size)
    seed = scenes.seeds["background"] if seed is None else seed
    light = scenes.seeds["light"] if light is None else light
    return render_people(scenes.joints, scenes.mask, scenes.wardrobe, scenes.stature, camera, family, seed, light)


def render_crops(scenes, boxes, index, size=(96, 128), family="studio", seed=None, light=None):
    """Pictures of N boxes (N, 4) x0 y0 x1 y1 px of the scenes' images, box n in image index[n], drawn directly at `size` (width, height).

    x0, y0 is the first pixel and x1 - x0 the width.  A crop shows what a picture of the whole image at its scale would show there;
    `seed` and `light` are those of the B scenes, as `render`.
    """
    camera, light = scenes.camera[index], scenes.seeds["light"] if light is None else light
    low, high = boxes[:, :2].to(camera.c), boxes[:, 2:].to(camera.c)
    k = camera.c.new_tensor(size) / (high - low)
    camera = Camera(camera.R, camera.t, camera.f * k, rescale(camera.c - low, k), tuple(size), camera.dist)
    seed = _seeds(scenes.seeds["background"] if seed is None else seed, scenes.mask)[index]
    people = (x[index] for x in (scenes.joints, scenes.mask, scenes.wardrobe, scenes.stature))
    return render_people(*people, camera, family, seed, light[index], (low + 0.5, high + 0.5, scenes.camera.size))


def _seeds(seed, mask):
    """(B,) long: the given ones, or those of pictures 0 .. B - 1 of the stream `seed`."""
    if isinstance(seed, torch.Tensor):
        return seed.to(mask.device).long().expand(len(mask))
    return (int(seed) << 32) + torch.arange(len(mask), device=mask.device)


def render_people(joints, mask, wardrobe, stature, camera, family="studio", seed=0, light=None, frame=None):
    """Pictures of B images with P people from plain tensors: see `Picture`.

    joints (B, P, 17, 3) world mm, NaN where missing;  mask (B, P) bool;  wardrobe (B, P, 16) in [0, 1];  stature (B, P) mm;
    camera: batched Camera (B, ...) whose size is the picture's;  family: of the background;  seed: int or (B,) long, of the background;
    light: Light, its seed (B,), or None (seed);  frame: where the picture lies in a larger image: lo, hi (B, 2) px (edges, from 0 to
    its size) and its (width, height), or None.  InputError for wrong shapes or an unknown family.
    """
    B, P = mask.shape
    if joints.shape != (B, P, 17, 3) or wardrobe.shape != (B, P, 16) or stature.shape != (B, P) or camera.t.shape != (B, 3):
        shapes = ", ".join(str(tuple(x.shape)) for x in (joints, mask, wardrobe, stature, camera.t))
        raise InputError(f"shapes do not go together: {shapes}", "render", "joints, mask, wardrobe, stature, centres of the cameras")
    w, h = camera.size
    seed = _seeds(seed, mask)
    light = light if isinstance(light, Light) else sample_light(seed if light is None else _seeds(light, mask), family)
    lo, hi, full = frame or (torch.zeros(B, 2, device=mask.device), torch.tensor([[w, h]], device=mask.device).expand(B, 2), (w, h))
    step = max(1, (PIXELS if mask.device.type == "cpu" else 32 * PIXELS) // (w * h))
    parts = []
    for i in torch.arange(B, device=mask.device).split(step):
        part = joints[i].double().masked_fill(~mask[i, :, None, None], float("nan"))
        parts.append(_picture(part, wardrobe[i], stature[i].double(), camera[i], family, seed[i], light[i], (lo[i], hi[i], full)))
    if not parts:
        raise InputError("no pictures", "render")
    return Picture(*(torch.cat(x) for x in zip(*parts, strict=True)))


def _picture(joints, wardrobe, stature, camera, family, seed, light, frame):
    """Image, instance, depth and visibility of a few images at once."""
    (B, P), (w, h) = stature.shape, camera.size
    rays = Rays.of(camera)
    doll = mannequin(joints.flatten(0, 1), stature.flatten(), wardrobe.flatten(0, 1))
    image, floor = background(family, rays, seed, light, _frame(frame, w, h))
    if camera.dist is not None:  # black where the lens has no inverse
        gone = rays.x.isnan()
        image, floor = image.masked_fill(gone[..., None], 0), floor.masked_fill(gone, 0)
    image = _shadows(image, floor, doll, camera, rays, light, B).flatten(0, 1)
    lowest = (joints[..., 2] - LIFT * stature[..., None]).nan_to_num(0.0).flatten(1).amin(-1)  # people under the floor lower it
    depth, solid, table = _draw(doll, camera, rays, rays.plane(lowest.clamp(max=0).float() - 4), B)
    at = (solid >= 0).nonzero()[:, 0]
    on = solid[at]
    image[at] = _shade(at, on, table, doll, rays, light, P)
    K = len(doll.names)
    instance = torch.full((B * w * h,), -1, dtype=torch.int8, device=image.device)
    instance[at] = (on // K % P).to(torch.int8)
    image = _lens(image, instance.reshape(B, h, w), seed)
    visible = _visible(joints, stature, camera, instance.reshape(B, h, w), depth.reshape(B, h, w))
    stool = at[on % K >= K - len(STOOL)]  # covers, but is nobody
    instance[stool], depth[stool] = -1, float("inf")
    return image.reshape(B, h, w, 3).movedim(-1, 1), instance.reshape(B, h, w), depth.reshape(B, h, w), visible


def _frame(frame, w, h):
    """Position of each pixel of the pictures in the full image, two (B, N), in units of its height."""
    lo, hi, full = frame
    lo, hi = lo.float() / full[1], hi.float() / full[1]
    u, v = ((torch.arange(n, device=lo.device) + 0.5) / n for n in (w, h))
    u, v = lo[:, :1] + (hi - lo)[:, :1] * u, lo[:, 1:] + (hi - lo)[:, 1:] * v
    return u[:, None].expand(-1, h, w).reshape(len(lo), -1), v[..., None].expand(-1, h, w).reshape(len(lo), -1)


def _draw(doll, camera, rays, floor, B):
    """z-buffer of all solids: depth (B N,), solid (B N,) (index into people x K, -1 none), and the table of the solids."""
    w, h = camera.size
    a, L = (x.reshape(B, -1, *x.shape[2:]).double() for x in (doll.a, doll.L))
    flat = [x.reshape(B, -1).double() for x in (doll.h, doll.r1, doll.r2)]
    R = camera.R.double()
    c = a @ R.mT + camera.t.double()[:, None]
    Lc = R[:, None] @ L
    Q = Lc @ Lc.mT
    lo, hi, ok = outline(c, Q * flat[1][..., None, None] ** 2)
    lo2, hi2, ok2 = outline(c + Lc[..., 2] * flat[0][..., None], Q * flat[2][..., None, None] ** 2)
    ok = ok & ok2
    lo, hi = pixel_bounds(camera, rays, torch.minimum(lo, lo2).nan_to_num(0), torch.maximum(hi, hi2).nan_to_num(-1))
    hi = torch.where(ok[..., None], hi, lo)
    safe = torch.where(ok[..., None, None], Lc, torch.eye(3, dtype=Lc.dtype, device=Lc.device))
    table = cone_table(c.flatten(0, 1), safe.flatten(0, 1), *(x.flatten() for x in flat), doll.open_end.flatten()).contiguous()
    x, y, floor = rays.x.flatten(), rays.y.flatten(), floor.flatten()
    of, pixel = pairs(lo.flatten(0, 1), hi.flatten(0, 1), w)
    pixel = pixel + of // lo.shape[1] * (w * h)
    step, found = PAIRS if x.device.type == "cpu" else 64 * PAIRS, []
    for o, q in zip(of.split(step), pixel.split(step), strict=True):
        s = hit_cones(table, o, x[q], y[q])[0]
        keep = ((s > NEAR / 2) & (s < floor[q])).nonzero()[:, 0]
        found.append((s[keep], o[keep], q[keep]))
    return *nearest(*(torch.cat(f) for f in zip(*found, strict=True)), B * w * h), table


def _shade(at, solid, table, doll, rays, light, P):
    """Colours (n, 3) of the winning pixels at (n,) long, solid (n,) long: cloth, face, Lambert's cosine."""
    K = len(doll.names)
    person, picture = solid // K, solid // (K * P)
    depth, (px, py, pz), axis = hit_cones(table, solid, rays.x.flatten()[at], rays.y.flatten()[at])
    L = doll.L.flatten(0, 1)[solid]
    local = torch.stack([px, py, pz - axis], -1) / L.square().sum(-2)
    normal = (L @ local[..., None])[..., 0]
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    ray = torch.stack([d.flatten()[at] for d in rays.d], -1)
    where = rays.o[picture] + depth[:, None] * ray
    albedo = _cloth(solid, person, px, py, pz, depth, where, doll, rays)
    facing = -(normal * ray).sum(-1) / ray.norm(dim=-1)
    sun = (normal * light.direction[picture]).sum(-1).clamp(min=0)
    sky = 0.72 + 0.28 * normal[:, 2] - 0.10 * torch.exp(-where[:, 2].clamp(min=0) / 250)  # the floor darkens what is close above it
    level = light.ambient[picture] * sky[:, None] + light.sun[picture] * sun[:, None]
    return (albedo * level * (0.74 + 0.26 * (facing / 0.5).clamp(0, 1))[:, None] * 1.14).clamp(0, 1)


def _cloth(solid, person, px, py, pz, depth, where, doll, rays):
    """Albedo (n, 3): garment by the cut along the axis, its pattern in cone coordinates, hairline and face on the head."""
    K = len(doll.names)
    solid, px, py, pz = _tuck(solid, person, px, py, pz, where, doll)
    kind = solid % K
    is_in = lambda *names: torch.isin(kind, torch.tensor([doll.names.index(n) for n in names], device=kind.device))  # noqa: E731
    garment = torch.where(pz < doll.cut.flatten()[solid], doll.inner.flatten()[solid], doll.outer.flatten()[solid])
    trunk, head = is_in("belly", "chest"), is_in("skull", "face")
    garment = torch.where(trunk & (px > 0) & (py.abs() < doll.jacket[person] * 1750), TRIM, garment)
    f, l, u = ((doll.head_axes[person] @ (where - doll.head_at[person])[..., None])[..., 0]).unbind(-1)
    bald = doll.hairline[person] == 0
    garment = torch.where(is_in("skull") & (u > 0.8 * f - 0.006) & ~bald, 1, garment)
    row = doll.palette.flatten(0, 1)[person * 6 + garment]
    first, second, pattern, period = row[:, :3], row[:, 3:6], row[:, 6], row[:, 7]
    along = doll.along.flatten()[solid] + torch.where(is_in("belly", "skirt"), 1.0, -1.0) * -pz
    across = torch.atan2(py, px) * torch.where(is_in("belly", "skirt"), -95.0, 95.0)
    pixel = depth * rays.pixel[person // (len(doll.a) // len(rays.x))]
    sharp = (period / pixel.clamp(min=1e-3) / 2.2 - 0.6).clamp(0, 1)
    own = doll.palette[person, 2, 0] * 7  # each cloth its own folds
    ring, bar = torch.cos(along * 6.2832 / period), torch.cos(across * 6.2832 / period)
    blotch = noise(across / 2600 + own, along / 2600 + 0.37 * own)
    wave = torch.where(pattern == CHECKS, ring + bar, 1.6 * blotch)
    wave = torch.where(pattern == ACROSS, ring, torch.where(pattern == ALONG, bar, wave))
    mix = torch.where(pattern > 0, (0.5 + 3 * wave * sharp).clamp(0, 1) * sharp + 0.4 * (1 - sharp), 0 * wave)
    mix = torch.where((pattern == BLOTCHES), (0.5 + 4 * blotch).clamp(0, 1), mix)
    fold = noise(across / 5200 + 0.7 * own, along / 9000 + 0.13 * own)
    cloth = (garment >= 2) | (garment == 1)
    colour = (first + (second - first) * mix[:, None]) * (1 + 0.07 * fold * cloth)[:, None]
    colour = torch.where((kind >= K - len(STOOL))[:, None], doll.palette[person, SKIN, :1] * 0.5 + 0.1, colour)  # greys
    face = head & (f > 0.01) & (garment == SKIN)
    paint = lambda c, m, rgb: torch.where((face & m)[:, None], c * c.new_tensor(rgb[:3]) + c.new_tensor(rgb[3:]), c)  # noqa: E731
    e = l.abs() - 0.0185
    colour = paint(colour, (e / 0.0088) ** 2 + ((u + 0.003) / 0.0046) ** 2 < 1, (0.2, 0.2, 0.2, 0.72, 0.72, 0.72))
    colour = paint(colour, (e / 0.0044) ** 2 + ((u + 0.003) / 0.0048) ** 2 < 1, (0.0, 0.0, 0.0, 0.12, 0.09, 0.08))
    colour = paint(colour, (e.abs() < 0.0105) & ((u - 0.0095 + e.abs() * 0.25).abs() < 0.0022), (0.45, 0.42, 0.4, 0, 0, 0))
    return paint(colour, (l / 0.0155) ** 2 + ((u + 0.0415) / 0.0042) ** 2 < 1, (0.78, 0.52, 0.5, 0.03, 0, 0))


def _tuck(solid, person, px, py, pz, where, doll, loose=1.15):
    """Solid (n,) and place on it, three (n,): what comes a little out of the skirt, or else of the shirt above its hem, is its cloth."""
    K, place = len(doll.names), [px, py, pz]
    for cover, kinds in (("skirt", ("belly", "hips", "thigh")), ("belly", ("hips", "thigh"))):
        k, under = doll.names.index(cover), torch.tensor([n.endswith(kinds) for n in doll.names], device=solid.device)
        at = under[solid % K].nonzero()[:, 0]
        one = person[at]
        L, h, r1, r2 = (x[one, k] for x in (doll.L, doll.h, doll.r1, doll.r2))
        local = (((where[at] - doll.a[one, k])[:, None] @ L)[:, 0] / L.square().sum(-2)).unbind(-1)
        out = (torch.hypot(*local[:2]) < loose * (r1 + (r2 - r1) * local[2] / h)) & (local[2] > 0) & (local[2] < h)
        at = at[out]
        solid = solid.index_put((at,), person[at] * K + k)
        place = [old.index_put((at,), new[out]) for old, new in zip(place, local, strict=True)]
    return solid, *place


def _shadows(image, floor, doll, camera, rays, light, B):
    """Darkens the floor of images (B, N, 3) where solids stand in the sun, softer the higher they are, and under what touches it."""
    pick = [doll.names.index(n) for n in _SHADOWS]
    view = lambda x: x[:, pick].reshape(B, -1, *x.shape[2:])  # noqa: E731
    a, h, L = view(doll.a), view(doll.h), view(doll.L)
    r = (view(doll.r1) + view(doll.r2)) / 2 * (0.5 + 0.5 * L[..., 0].norm(dim=-1))
    ends = torch.stack([a, a + L[..., 2] * h[..., None]])  # 2 B S 3
    z = ends[..., 2].clamp(min=0)
    slope = (light.direction[:, :2] / light.direction[:, 2:])[:, None]
    cast, under = ends[..., :2] - slope * z[..., None], ends[..., :2]
    low = z.amin(0)
    soft = torch.cat([20 + 0.07 * z.mean(0), 90 + 0 * low], 1)
    r = torch.cat([r, r * 0.6], 1)
    deep = torch.cat([torch.ones_like(low), 0.75 * torch.exp(-low / 110)], 1)
    ends = torch.cat([cast, under], 2)  # 2 B 2S 2
    R = camera.R.float()
    floor_z = torch.cat([ends, torch.zeros_like(ends[..., :1])], -1)
    c = floor_z @ R.mT + camera.t.float()[:, None]
    Q = (R[..., :2] @ R[..., :2].mT)[:, None] * ((r + soft) ** 2)[..., None, None]
    (lo, lo2), (hi, hi2), ok = outline(c, Q)
    lo, hi = pixel_bounds(camera, rays, torch.minimum(lo, lo2).nan_to_num(0), torch.maximum(hi, hi2).nan_to_num(-1))
    hi = torch.where((ok.all(0) & (deep > 0.04))[..., None], hi, lo)
    S, N = r.shape[1], rays.x.shape[1]
    of, pixel = pairs(lo.flatten(0, 1), hi.flatten(0, 1), camera.size[0])
    pixel = pixel + of // S * N
    keep = (floor.flatten()[pixel] > 0).nonzero()[:, 0]
    of, pixel = of[keep], pixel[keep]
    X, Y, _ = (q.flatten()[pixel] for q in rays.at(rays.plane(0.0)))
    (ax, ay), (bx, by) = (e.flatten(0, 1).T for e in ends)
    ux, uy = bx - ax, by - ay
    X, Y, ux, uy = X - ax[of], Y - ay[of], ux[of], uy[of]
    t = ((X * ux + Y * uy) / (ux * ux + uy * uy).clamp(min=1e-3)).clamp(0, 1)
    far = torch.hypot(X - t * ux, Y - t * uy)
    soft = soft.flatten()[of]
    cover = ((r.flatten()[of] + soft - far) / (2 * soft)).clamp(0, 1)
    cover = cover * cover * (3 - 2 * cover) * deep.flatten()[of]
    sun = of % S < S // 2
    dark = [torch.zeros(B * N, device=image.device).scatter_reduce(0, pixel[m], cover[m], "amax").reshape(B, N, 1) for m in (sun, ~sun)]
    share = (light.sun * 0.85 / (light.ambient + 0.85 * light.sun))[:, None]
    return image * (1 - floor[..., None] * share * dark[0]) * (1 - 0.55 * floor[..., None] * dark[1])


def _lens(image, instance, seed):
    """Softens the outlines of people in images (B H W, 3) by a pixel and adds a little grain, as a camera does."""
    _, H, W = instance.shape
    edge = torch.zeros_like(instance, dtype=torch.bool)
    across, down = instance[..., 1:] != instance[..., :-1], instance[:, 1:] != instance[:, :-1]
    for part, change in ((edge[..., 1:], across), (edge[..., :-1], across), (edge[:, 1:], down), (edge[:, :-1], down)):
        part |= change
    at = edge.flatten().nonzero()[:, 0]
    x, y = at % W, at // W % H
    columns = [(x + i).clamp(0, W - 1) - x for i in (-1, 0, 1)]
    rows = [((y + j).clamp(0, H - 1) - y) * W for j in (-1, 0, 1)]
    image[at] = 0.4 * image[at] + 0.6 / 9 * sum(image[at + i + j] for i in columns for j in rows)
    w = uniform(seed, 3, 12)
    row, column = ((torch.arange(n, device=seed.device) + (512 * w[:, i : i + 1]).long()) % 512 for n, i in ((H, 0), (W, 1)))
    grain = tile(image.device)[WHITE, row[..., None], column[:, None]] * (0.003 + 0.009 * w[:, 2, None, None])
    return (image + grain.reshape(-1, 1)).clamp_(0, 1)


def _visible(joints, stature, camera, instance, depth):
    """(B, P, 17) bool: known, in the image, not behind another person's surface, and at most `DEEP` behind its own."""
    B, P = stature.shape
    uv, z, ok = camera.project(joints.flatten(1, 2))
    ok = ok & camera.in_image(uv)
    w, h = camera.size
    u, v = (uv[..., i].nan_to_num(0).round().long().clamp(0, n - 1) for i, n in ((0, w), (1, h)))
    at = v * w + u
    front = depth.flatten(1).gather(1, at).reshape(B, P, 17)
    who = instance.flatten(1).gather(1, at).reshape(B, P, 17)
    deep = stature[..., None] * torch.tensor(DEEP, dtype=stature.dtype, device=stature.device)
    own = who == torch.arange(P, device=who.device)[:, None]
    hidden = front < z.reshape(B, P, 17) - torch.where(own, deep, torch.full_like(deep, 10.0))
    return ok.reshape(B, P, 17) & ~hidden
