"""A clothed body around 17 joints: squashed round cones for the flesh, garments that are painted along them.

Girths are shares of stature after adult means of ANSUR II (2012; e.g. chest breadth 0.165, hip breadth 0.195, thigh circumference
0.35, calf 0.22, wrist 0.10, head breadth 0.087, head length 0.112, foot length 0.153, hand length 0.109), rounded, one set for all; the
wardrobe's build scales them, shoulder and head widths follow the joints.  Colours, cuts and patterns are ours.
"""

import math
from dataclasses import dataclass

import torch

from vp.skeleton import JOINTS_17
from vp.world.texture import hsv

SKIN, HAIR, TOP, BOTTOM, SHOES, TRIM = range(6)
PLAIN, ACROSS, ALONG, CHECKS, BLOTCHES = range(5)
STOOL = ("seat", "pole", "base")  # the last solids: under who sits at its height, shins upright; no part of the person
LIFT = 0.039  # ankle above the sole, share of stature

_SKIN = [(0.90, 0.75, 0.65), (0.86, 0.69, 0.57), (0.82, 0.61, 0.46), (0.66, 0.46, 0.33), (0.48, 0.32, 0.22), (0.33, 0.21, 0.15)]
_HAIR = [(0.07, 0.06, 0.06), (0.16, 0.10, 0.07), (0.28, 0.17, 0.10), (0.42, 0.22, 0.11), (0.70, 0.53, 0.30), (0.60, 0.59, 0.58)]
_LEGS = [(0.13, 0.17, 0.30), (0.25, 0.35, 0.52), (0.12, 0.12, 0.13), (0.55, 0.47, 0.34), (0.36, 0.37, 0.39), (0.33, 0.28, 0.22),
         (0.30, 0.34, 0.24), (0.78, 0.76, 0.70), (0.42, 0.14, 0.16)]  # fmt: skip
_SHOE = [(0.10, 0.09, 0.09), (0.32, 0.20, 0.12), (0.88, 0.88, 0.86), (0.60, 0.15, 0.14), (0.18, 0.24, 0.42), (0.45, 0.45, 0.46)]


@dataclass
class Mannequin:
    """K solids each of N people (world mm) and what covers them.

    a (N, K, 3): first centre;  L (N, K, 3, 3): columns x, y (squashed) and the axis;  h, r1, r2 (N, K);  open_end (N, K) bool;
    inner, outer (N, K) long: garment below and above `cut` (N, K) mm along the axis;  along (N, K) mm: where the axis starts on the cloth;
    names: the K solids;  head_at (N, 3), head_axes (N, 3, 3) (rows forward, left, up, in head units);  palette (N, 6, 8): two colours,
    pattern, period mm;  hairline (N,), jacket (N,).
    """

    a: torch.Tensor
    L: torch.Tensor
    h: torch.Tensor
    r1: torch.Tensor
    r2: torch.Tensor
    open_end: torch.Tensor
    inner: torch.Tensor
    outer: torch.Tensor
    cut: torch.Tensor
    along: torch.Tensor
    names: tuple
    head_at: torch.Tensor
    head_axes: torch.Tensor
    palette: torch.Tensor
    hairline: torch.Tensor
    jacket: torch.Tensor


def _unit(v):
    return v / v.norm(dim=-1, keepdim=True).clamp(min=1e-6)


def _frame(z, x):
    """Axes (..., 3, 3) as columns: z along `z`, x as near to `x` as possible, y = z × x (the left where x is forward, z up)."""
    z = _unit(z)
    y = torch.linalg.cross(z, x)
    y = torch.where(y.norm(dim=-1, keepdim=True) < 1e-3 * x.norm(dim=-1, keepdim=True), torch.linalg.cross(z, x.roll(1, -1)), y)
    y = _unit(y)
    return torch.stack([torch.linalg.cross(y, z), y, z], -1)


def _pick(table, w):
    """Row of a colour table chosen by w in [0, 1), lightened or darkened a little by the rest of w."""
    table = torch.tensor(table, device=w.device, dtype=w.dtype)
    at = (w * len(table)).clamp(0, len(table) - 1e-3)
    return (table[at.long()] * (0.82 + 0.36 * at.frac()[..., None])).clamp(0, 1)


def _unlike(colour, skin):
    """Colours (N, 3) of cloth; red and blue change places in what is warm and so near to the skin (N, 3) that it could be taken for it."""
    near = ((colour - skin).norm(dim=-1) < 0.36) & (colour[:, 0] > colour[:, 2])
    return torch.where(near[:, None], colour.flip(-1), colour)


def clothes(wardrobe):
    """Palette (N, 6, 8), and cuts as a dict of (N,), from wardrobe (N, 16) in [0, 1].

    0 skin, 1 hair colour, 2 hair style, 3 top hue, 4 top tone, 5 top pattern, 6 second colour, 7 sleeves, 8 trousers, shorts or skirt,
    9 their colour, 10 their pattern, 11 shoes, 12 build, 13 size of the pattern, 14 top tucked in, 15 open jacket.
    """
    w = wardrobe.float().clamp(0, 1).T.contiguous()
    tone, skin = w[4], _pick(_SKIN, w[0])
    top = hsv(w[3], 0.06 + 0.62 * (tone * 5).frac() ** 1.5, 0.18 + 0.66 * tone)
    second = hsv((w[3] + 0.12 + 0.6 * w[6]) % 1, 0.1 + 0.6 * (w[6] * 3).frac(), torch.where(tone > 0.5, tone - 0.38, tone + 0.5))
    top, second, legs = (_unlike(c, skin) for c in (top, second, _pick(_LEGS, w[9])))
    pattern = torch.bucketize(w[5], w[5].new_tensor([0.42, 0.60, 0.70, 0.84]))
    cloth = torch.where(w[10] > 0.85, CHECKS, torch.where(w[10] > 0.7, BLOTCHES, PLAIN))
    colours = [skin, _pick(_HAIR, w[1]), top, legs, _pick(_SHOE, w[11]), second]
    other = [colours[0] * 0.93, colours[1] * 0.75, second, legs * 0.72 + 0.05, colours[4] * 0.8, second * 0.85]
    plain = torch.zeros_like(pattern)
    patterns = [plain, plain + ALONG, pattern, cloth, plain, plain]
    period = 45 + 110 * w[13]
    periods = [period, period * 0 + 14, period, period * 0.8, period, period]
    palette = torch.cat([torch.stack(colours, 1), torch.stack(other, 1), torch.stack(patterns, 1)[..., None],
                         torch.stack(periods, 1)[..., None]], -1)  # fmt: skip
    style = w[2]
    skirt = (w[8] > 0.6) & (style > 0.5)
    shorts = ~skirt & (w[8] > 0.45) & (w[8] < 0.62)
    cuts = {
        "sleeve": torch.where(w[7] < 0.45, 0.55 + 0.8 * w[7], torch.where(w[7] < 0.88, 1.85 + 0 * tone, 0.12 + 0 * tone)),
        "leg": torch.where(skirt, 0.1 + 0 * tone, torch.where(shorts, 0.75 + 0.3 * w[10], 1.9 + 0 * tone)),
        "skirt": skirt * (0.75 + 0.5 * (w[8] - 0.6) / 0.4),
        "build": 0.9 + 0.28 * w[12] ** 1.5,
        "hair": torch.where(style < 0.08, 0.0, torch.where(style < 0.55, 1.0, torch.where(style < 0.72, 1.6, 2.6))),
        "hem": torch.where(w[14] > 0.6, -0.01, 0.035 + 0.03 * w[14]),
        "jacket": torch.where((w[15] > 0.72) & (w[7] >= 0.45) & (w[7] < 0.88), 0.012 + 0.05 * (w[15] - 0.72), 0 * tone),
    }
    return palette, cuts


def mannequin(joints, stature, wardrobe):
    """Solids of N people: joints (N, 17, 3) world mm (NaN where missing), stature (N,) mm, wardrobe (N, 16) -> Mannequin.

    Missing spine and head are interpolated, a missing head top (Panoptic has none) goes on where the trunk points; a solid that needs
    another missing joint comes out NaN and is not drawn.
    """
    p = dict(zip(JOINTS_17.joints, joints.float().unbind(-2), strict=True))
    s = stature.float()[:, None]
    palette, cuts = clothes(wardrobe)
    col = {k: v[:, None] for k, v in cuts.items()}
    p["spine"] = torch.where(p["spine"].isnan(), (p["mid_hip"] + p["neck"]) / 2, p["spine"])
    above = p["neck"] + 0.182 * s * _unit(p["neck"] - p["spine"])
    p["head_top"] = torch.where(p["head_top"].isnan(), above, p["head_top"])
    p["head"] = torch.where(p["head"].isnan(), p["neck"] + 0.65 * (p["head_top"] - p["neck"]), p["head"])
    z = torch.zeros_like(p["neck"]) + p["neck"].new_tensor([0.0, 0.0, 1.0])
    left = {"hip": p["left_hip"] - p["right_hip"], "chest": p["left_shoulder"] - p["right_shoulder"]}
    pelvis = _frame(p["spine"] - p["mid_hip"], torch.linalg.cross(left["hip"], p["spine"] - p["mid_hip"]))
    chest = _frame(p["neck"] - p["spine"], torch.linalg.cross(left["chest"], p["neck"] - p["spine"]))
    pf, pl, pu = pelvis.unbind(-1)
    cf, cl, cu = chest.unbind(-1)
    tall = p["head_top"] - (p["neck"] + p["head"]) / 2
    head = _frame(tall, cf + 0.02 * cu)
    hf, hl, hu = head.unbind(-1)
    hs = (((p["head_top"] - p["neck"]).norm(dim=-1, keepdim=True) / 0.182).clamp(0.8 * s, 1.45 * s) + s) / 2  # children: big heads
    skull = p["head_top"] - 0.063 * hs * hu
    wide = 0.5 * s + 0.5 * left["chest"].norm(dim=-1, keepdim=True) / 0.259
    build = col["build"]
    out = {k: [] for k in ("a", "L", "h", "r1", "r2", "open_end", "inner", "outer", "cut", "along", "names")}

    def add(name, a, b, r1, r2, ref, garments, squash=(1.0, 1.0), cut=None, along=0.0, open_end=False, up=None):
        """One solid from a to b (up: axis of an ellipsoid, where a is b); squash of x (along `ref`) and y."""
        axis = up if up is not None else b - a
        h = torch.zeros_like(s) if up is not None else axis.norm(dim=-1, keepdim=True)
        full = torch.zeros_like(s)
        squash = torch.cat([full + squash[0], full + squash[1], full + 1], -1)
        out["a"].append(a), out["L"].append(_frame(axis, ref) * squash[:, None])
        for key, value in (("h", h), ("r1", r1), ("r2", r2), ("cut", h * 0 + 1e6 if cut is None else cut), ("along", along)):
            out[key].append((full + value)[:, 0])
        out["open_end"].append(full[:, 0] > (-1 if open_end else 1))
        out["inner"].append(full[:, 0].long() + garments[0]), out["outer"].append(full[:, 0].long() + garments[1])
        out["names"].append(name)

    # trunk: the shirt falls from the chest over the hips; below its hem the hips and thighs come out
    low = p["mid_hip"] - col["hem"] * s * pu
    hipw = 0.5 * s + 0.5 * left["hip"].norm(dim=-1, keepdim=True) / 0.1
    add("hips", p["right_hip"] + 0.01 * s * pu, p["left_hip"] + 0.01 * s * pu, 0.0455 * hipw * build, 0.0455 * hipw * build, pf,
        (BOTTOM, BOTTOM), (1.1, 1.15), along=0.3 * s)  # fmt: skip
    add("belly", p["spine"] - 0.01 * s * pu, low, 0.080 * wide * build, 0.106 * hipw * build, pf, (TOP, TOP), (0.76 * build, 1.0),
        open_end=True)  # fmt: skip
    top = p["neck"] - 0.062 * s * cu
    add("chest", p["spine"] - 0.012 * s * cu, top, 0.081 * wide * build, 0.093 * wide, cf, (TOP, TOP), (0.72 * build, 1.02))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        S, E, W = (p[f"{side}_{j}"] for j in ("shoulder", "elbow", "wrist"))
        add(f"{side}_yoke", p["neck"] + 0.006 * s * cu + sign * 0.022 * s * cl, S - 0.021 * s * cu - sign * 0.014 * s * cl,
            0.037 * s, 0.029 * s, cf, (TOP, TOP), (1.1, 1.0))  # fmt: skip
        skew = cf + 0.3 * cu - 0.2 * cl
        upper, fore = ((b - a).norm(dim=-1, keepdim=True) for a, b in ((S, E), (E, W)))
        sleeve = col["sleeve"]
        loose = 1 + 0.12 * (sleeve > 0.3)
        add(f"{side}_upper_arm", S - 0.019 * s * cu - sign * 0.009 * s * cl, E, 0.0295 * s * build * loose,
            0.0245 * s * build * (1 + 0.12 * (sleeve > 1)), skew, (TOP, SKIN), cut=sleeve * upper)  # fmt: skip
        full = 1 + 0.16 * (sleeve > 1.5)
        add(f"{side}_forearm", E, W, 0.0245 * s * build * full, 0.0155 * s * full, skew, (TOP, SKIN), cut=(sleeve - 1) * fore, along=upper)
        point = _unit(W - E)
        bone = _frame(point, cl)  # palm faces the body when the arm hangs
        knuckle = W + 0.056 * s * point
        add(f"{side}_hand", W + 0.008 * s * point, knuckle, 0.0165 * s, 0.0245 * s, cl, (SKIN, SKIN), (0.62, 1.0))
        curl = _unit(point - 0.45 * sign * bone[..., 0])
        add(f"{side}_fingers", knuckle, knuckle + 0.039 * s * curl, 0.0225 * s, 0.016 * s, cl, (SKIN, SKIN), (0.6, 1.0))
        ball = W + 0.022 * s * point + 0.012 * s * bone[..., 1]
        add(f"{side}_thumb", ball, ball + 0.038 * s * _unit(point + 0.75 * bone[..., 1] - 0.3 * sign * bone[..., 0]), 0.0105 * s, 0.008 * s,
            cl, (SKIN, SKIN))  # fmt: skip
        H, K, A = (p[f"{side}_{j}"] for j in ("hip", "knee", "ankle"))
        leg = col["leg"]
        thigh, shank = ((b - a).norm(dim=-1, keepdim=True) for a, b in ((H, K), (K, A)))
        down = _unit(A - K)
        bend = _unit(K - H)
        ahead = bend - (bend * down).sum(-1, keepdim=True) * down  # the way the knee points
        ahead = _unit(ahead + 0.3 * _unit(pf - (pf * down).sum(-1, keepdim=True) * down))
        free = 1 + 0.06 * (leg > 0.4)
        add(f"{side}_thigh", H, K, 0.047 * s * build * free, 0.034 * s * build * (1 + 0.1 * (leg > 1)), pf + 0.2 * pl,
            (BOTTOM, SKIN), cut=leg * thigh)  # fmt: skip
        long = (leg > 1.5).float()
        add(f"{side}_shank", K, A, 0.0332 * s * build * (1 + 0.1 * (leg > 1)), (0.023 + 0.009 * long) * s, ahead, (BOTTOM, SKIN),
            cut=(leg - 1) * shank, along=thigh)  # fmt: skip
        add(f"{side}_calf", K + 0.26 * shank * down - 0.008 * s * ahead, K + 0.62 * shank * down - 0.004 * s * ahead,
            0.0325 * s * build, 0.025 * s, ahead, (BOTTOM, SKIN), cut=(leg - 1.25) * shank, along=thigh + 0.25 * shank)  # fmt: skip
        flat = ((0.11 - A[:, 2:] / s) / 0.05).clamp(0, 1) * ((-down[:, 2:] - 0.3) / 0.3).clamp(0, 1)  # near the floor: stands on it
        up = _unit(-down * (1 - flat) + z * flat)
        fwd = _unit(ahead - (ahead * up).sum(-1, keepdim=True) * up)
        heel, ball = A - 0.014 * s * up - 0.022 * s * fwd, A - 0.0215 * s * up + 0.088 * s * fwd
        under = (0.02 * s - ball[:, 2:]).clamp(min=0) / (0.1 * s)  # would go through the floor: points the toes instead
        ball = torch.where(under > 0, A + 0.095 * s * _unit(fwd + 1.5 * under * down), ball)
        floor = torch.cat([torch.zeros_like(s), torch.zeros_like(s), 0.0175 * s], -1)
        ball = torch.where(torch.cat([s < 0, s < 0, (flat > 0) & (A[:, 2:] < 0.09 * s)], -1), floor * flat + ball * (1 - flat), ball)
        heel, ball = (torch.cat([q[:, :2], torch.maximum(q[:, 2:], r * s)], -1) for q, r in ((heel, 0.0235), (ball, 0.0165)))
        add(f"{side}_foot", heel, ball, 0.0245 * s, 0.0175 * s, z + 0.2 * up, (SHOES, SHOES), (1.0, 1.12))
        add(f"{side}_instep", A + 0.004 * s * up, (ball + A) / 2 - 0.002 * s * up, 0.024 * s, 0.02 * s, up, (SHOES, SHOES))
    knees = (p["left_knee"] + p["right_knee"]) / 2
    gap = (p["left_knee"] - p["right_knee"]).norm(dim=-1, keepdim=True)
    has = col["skirt"] > 0
    hem = p["mid_hip"] + (knees - p["mid_hip"]) * col["skirt"]
    nan = torch.full_like(s, math.nan)
    lap = (_unit(hem - p["mid_hip"]) * pf).sum(-1, keepdim=True).clamp(0, 1)  # 1 where it lies on the thighs of who sits
    spread = torch.minimum(0.5 * gap * col["skirt"].clamp(max=1), 0.12 * s)
    add("skirt", p["mid_hip"] + (0.02 + 0.025 * (1 - lap)) * s * pu, hem, torch.where(has, (0.104 - 0.012 * lap) * hipw * build, nan),
        (0.085 - 0.02 * lap) * s + spread, pf + 0.5 * pu, (TOP, BOTTOM), (0.82 - 0.32 * lap, 1.0), cut=0.0, open_end=True)  # fmt: skip
    # head: cranium, face, nose, and the hair as a cap with, for some, a fall down the neck
    add("neck", p["neck"] - 0.01 * s * cu + 0.006 * s * cf, skull - 0.028 * hs * hu - 0.012 * hs * hf, 0.0335 * s, 0.031 * hs,
        cf, (TOP, SKIN), cut=0.006 * s)  # fmt: skip
    add("skull", skull, None, 0.0615 * hs, 0.0615 * hs, hf, (SKIN, SKIN), (0.86, 0.70), up=hu)
    add("face", skull - 0.032 * hs * hu + 0.015 * hs * hf, None, 0.041 * hs, 0.041 * hs, hf, (SKIN, SKIN), (0.88, 0.83), up=hu)
    add("nose", skull - 0.008 * hs * hu + 0.047 * hs * hf, skull - 0.023 * hs * hu + 0.054 * hs * hf, 0.006 * hs, 0.0085 * hs,
        hf, (SKIN, SKIN))  # fmt: skip
    thick = torch.where(col["hair"] > 0, 1 + 0.03 * col["hair"], nan)
    cap = 0.0565 * hs * thick
    add("hair", skull + 0.0115 * hs * hu - 0.011 * hs * hf, None, cap, cap, hf, (HAIR, HAIR), (0.92, 0.80), up=hu)
    fall = torch.where(col["hair"] > 1.1, torch.ones_like(s), nan)
    end = skull - (0.016 + 0.028 * col["hair"]) * hs * hu - (0.024 + 0.007 * col["hair"]) * hs * hf
    add("long_hair", skull - 0.012 * hs * hf + 0.005 * hs * hu, end, 0.049 * hs * fall, 0.044 * hs, hf, (HAIR, HAIR), (0.84, 1.02))
    seat, sits = p["mid_hip"], torch.ones_like(s)
    for side in ("left", "right"):
        level, shin = p[f"{side}_knee"] - p[f"{side}_hip"], p[f"{side}_knee"] - p[f"{side}_ankle"]
        sits = sits * (level[:, 2:].abs() < 0.09 * s) * (shin[:, 2:] > 0.2 * s) * (p[f"{side}_ankle"][:, 2:] < 0.09 * s)
    sits = torch.where((sits > 0) & (seat[:, 2:] > 0.2 * s) & (seat[:, 2:] < 0.4 * s), torch.ones_like(s), nan)
    seat = seat + 0.03 * s * _unit(pf * z.new_tensor([1.0, 1.0, 0.0])) - z * 0.074 * s
    foot = torch.cat([seat[:, :2], 0 * s], -1)
    add("seat", seat, None, 22 * sits, 22 * sits, pf, (TRIM, TRIM), (8.6, 8.6), up=z)
    add("pole", seat, foot, 24 * sits, 24 * sits, pf, (SHOES, SHOES))
    add("base", foot, None, 22 * sits, 22 * sits, pf, (SHOES, SHOES), (9.5, 9.5), up=z)
    names = tuple(out.pop("names"))
    axes = torch.stack([hf, hl, hu], -2) / hs[..., None]
    return Mannequin(*(torch.stack(v, 1) for v in out.values()), names, skull, axes, palette, cuts["hair"], cuts["jacket"])
