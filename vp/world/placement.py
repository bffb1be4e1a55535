"""Where people stand: roots on the floor without interpenetration, and as many in view, cut off, outside or hidden as wished.

The published way (`PUBLISHED`; §4.1 and published_settings 1.5) draws roots uniformly in a square, pairwise at least 600 mm apart, with up
to 100 trials; it looks neither at the bodies nor at the camera.  Ours keeps the bodies apart as well, and can propose places in the
sector that a camera overlooks.
"""

import math
from dataclasses import dataclass

import torch

from vp.errors import InputError
from vp.skeleton import JOINTS_17

IN_VIEW, TRUNCATED, OUTSIDE = 0, 1, 2
ROOT = JOINTS_17.root_index
DRAWS = 3  # uniform numbers per trial
EAGER = 8  # trials looked at for everybody; the others only where none of these fits
CLOSE, FAR, MARGIN = 1000.0, 12_000.0, 0.9  # `someone` ahead of the camera: distance mm; share of the way from the middle to the edge


@dataclass(frozen=True)
class Placement:
    """Rules of placement.  What is not published is ours.

    area: roots uniform in the square of ± area mm about the origin (disc: on the disc of that radius), or None: uniform on the floor of
    the sector that the camera overlooks, between `view` (near, far) mm of horizontal distance from it.
    distance: least distance of two roots, mm.
    clearance: least horizontal distance of two bodies' joints (more exactly, of their `footprint`s), mm; None: bodies may interpenetrate.
    trials: places tried per person; a person for whom none is free is left out of the scene.
    shares: wished shares of people (in view, truncated, outside) with sum 1, or None: as it falls.  Truncated: some joints outside the
    picture.  A wish that no free place fulfils is dropped.
    occluded: None: as it falls; else the chance that a person, other than the first of a scene, is put behind an earlier one, while all
    others are put where their boxes overlap with nobody's.
    someone: the first person's root lies in the picture, whatever is wished: if it does at none of the places tried, the person stands
    straight ahead of the camera, as near to 3.75 m away as the picture's upper and lower edge allow.
    """

    area: float | None = 2000.0  # published
    view: tuple = (1500.0, 6000.0)
    distance: float = 600.0  # published
    clearance: float | None = 150.0
    trials: int = 48
    shares: tuple | None = None
    occluded: float | None = None
    disc: bool = False
    someone: bool = False

    def __post_init__(self):
        if self.shares is not None and (len(self.shares) != 3 or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6):
            raise InputError(f"shares {self.shares} are not three shares with sum 1", "Placement", "(in view, truncated, outside)")
        if self.trials < 1 or not 0 <= (self.occluded or 0) <= 1 or not 0 <= self.view[0] < self.view[1]:
            raise InputError("trials >= 1, occluded in [0, 1], 0 <= near < far are needed", "Placement")


APART = Placement()
PUBLISHED = Placement(area=2000.0, distance=600.0, clearance=None, trials=100)  # 4 people


def footprint(joints, valid):
    """The capsule on the floor that holds a body's joints: ends (..., 2, 2) mm and radius (...) mm.

    joints (..., J, 3) mm;  valid (..., J).  Its axis is the principal axis of the joints seen from above: nearly a disc for a standing
    person, long for a lying one.
    """
    xy = torch.where(valid[..., None], joints[..., :2], 0.0)
    n = valid.sum(-1).clamp(min=1)[..., None]
    mean = xy.sum(-2) / n
    off = torch.where(valid[..., None], xy - mean[..., None, :], 0.0)
    xx, yy, cross = (off[..., 0] ** 2).sum(-1), (off[..., 1] ** 2).sum(-1), (off[..., 0] * off[..., 1]).sum(-1)
    angle = torch.atan2(2 * cross, xx - yy) / 2
    along = torch.stack([angle.cos(), angle.sin()], -1)
    across = torch.stack([-along[..., 1], along[..., 0]], -1)
    s, c = ((off * a[..., None, :]).sum(-1) for a in (along, across))
    middle = mean + across * ((c.amax(-1) + c.amin(-1)) / 2)[..., None]
    ends = torch.stack([middle + along * s.amin(-1)[..., None], middle + along * s.amax(-1)[..., None]], -2)
    return ends, (c.amax(-1) - c.amin(-1)) / 2


def segment_distance(a, b):
    """Distance (...) of two plane segments a, b (..., 2, 2) (ends, xy)."""

    def side(p, q, r):
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])

    def to_segment(p, s):
        (x, y), (dx, dy) = (p - s[..., 0, :]).unbind(-1), (s[..., 1, :] - s[..., 0, :]).unbind(-1)
        k = ((x * dx + y * dy) / (dx * dx + dy * dy).clamp(min=1e-6)).clamp(0, 1)
        return (x - k * dx).square() + (y - k * dy).square()

    (a0, a1), (b0, b1) = a.unbind(-2), b.unbind(-2)
    apart = torch.stack([to_segment(a0, b), to_segment(a1, b), to_segment(b0, a), to_segment(b1, a)]).amin(0).sqrt()
    crossing = (side(a0, a1, b0) * side(a0, a1, b1) < 0) & (side(b0, b1, a0) * side(b0, b1, a1) < 0)
    return torch.where(crossing, 0.0, apart)


def place(joints, valid, camera, rules, draws, wishes):
    """Places of B x P people, person after person, each on the first of its trials that fits: xy (B, P, 2) mm and found (B, P) bool.

    joints (B, P, J, 3) mm, turned as they will stand, root at xy = 0;  valid (B, P, J);  camera: batch of B;  rules: `Placement`;
    draws (B, P, trials, 3), wishes (B, P, 2): uniform numbers in [0, 1).  A person with found False has no free place.
    """
    B, P, T = draws.shape[:3]
    ends, radius = footprint(joints, valid)
    status = None
    if rules.shares is not None:
        status = torch.bucketize(wishes[..., 0].contiguous(), draws.new_tensor(rules.shares).cumsum(0)[:2], right=True)
    placed = [draws.new_empty(B, 0, 2), valid.new_empty(B, 0), draws.new_empty(B, 0, 4), draws.new_empty(B, 0)]

    def best_of(p, rows, first, last):
        """The best of some trials of person p in some scenes: place, found, box, depth and what it leaves to be wished (< T: nothing)."""
        look, earlier, u = camera and camera[rows], [x[rows] for x in placed], draws[rows, p, first:last]
        wish = None if status is None else status[rows, p]
        behind = (wishes[rows, p, 1] < rules.occluded) if rules.occluded and p else None
        trial = _proposals(look, rules, u, wish)
        if behind is not None:
            trial = torch.where(behind[:, None, None], _behind(look, earlier[0], u), trial)
        cost = torch.arange(first, last, device=u.device).expand(len(rows), -1)
        if rules.someone and not p:
            trial = torch.cat([trial, _ahead(look, joints[rows, 0, ROOT, 2])], 1)
            cost = torch.cat([cost, torch.full_like(cost[:, :1], 7 * T)], 1)
            cost = cost + 16 * T * (_seen(look, joints[rows, 0, ROOT:][:, :1], valid[rows, 0, ROOT:][:, :1], trial)[0] != IN_VIEW)
        free = torch.ones_like(trial[..., 0], dtype=torch.bool)
        if p:
            apart = (trial[:, :, None] - earlier[0][:, None]).norm(dim=-1) > rules.distance
            if rules.clearance is not None:
                others = (earlier[0][:, :, None] + ends[rows, :p])[:, None]
                gap = segment_distance(trial[:, :, None, None] + ends[rows, None, None, p], others)
                apart &= gap >= rules.clearance + (radius[rows, p, None] + radius[rows, :p])[:, None]
            free = (apart | ~earlier[1][:, None]).all(-1)
        cost = cost + 4 * T * (~free).long()
        box, depth = trial.new_zeros(*trial.shape[:2], 4), trial[..., 0]
        if rules.shares is not None or rules.occluded is not None:
            view, *extent = _seen(look, joints[rows, p], valid[rows, p], trial, rules.occluded is not None)
            if wish is not None:
                cost = cost + 2 * T * (view != wish[:, None])
            if rules.occluded is not None:
                box, depth = extent
            if rules.occluded is not None and p:
                cover, clear = _overlap(box, depth, earlier[2], earlier[3], earlier[1])
                wished = clear if behind is None else torch.where(behind[:, None], cover > 0.5, clear)
                cost = cost + T * (~wished)
        at = torch.arange(len(rows), device=rows.device), cost.argmin(1)
        return [x[at] for x in (trial, free, box, depth, cost)]

    for p in range(P):
        rows = torch.arange(B, device=draws.device)
        best = best_of(p, rows, 0, min(EAGER, T))
        rows = rows[best[-1] >= T]
        if len(rows) and T > EAGER:
            late = best_of(p, rows, EAGER, T)
            better = late[-1] < best[-1][rows]
            for x, y in zip(best, late):
                x[rows[better]] = y[better]
        placed = [torch.cat([x, y[:, None]], 1) for x, y in zip(placed, best)]
    return placed[0], placed[1]


def _proposals(camera, rules, u, status):
    """Places to try (B, T, 2) mm from uniform numbers u (B, T, 3); status (B,): the wish, for which the sector is made wider, or None."""
    if rules.area is not None and rules.disc:
        angle = 2 * math.pi * u[..., 1]
        return rules.area * u[..., :1].sqrt() * torch.stack([angle.cos(), angle.sin()], -1)
    if rules.area is not None:
        return (2 * u[..., :2] - 1) * rules.area
    near, far = rules.view
    reach = (near**2 + u[..., 0] * (far**2 - near**2)).sqrt()
    f, pitch = camera.f.to(u), camera.pitch.to(u)
    lowest = (pitch + torch.atan(camera.size[1] / 2 / f[:, 1])).clamp(0, 1.4)  # the lower edge of the picture sees the widest sector
    half = torch.atan(camera.size[0] / 2 / f[:, 0] / lowest.cos())
    if status is not None:
        half = (half * u.new_tensor([1.0, 1.2, 2.5])[status]).clamp(max=math.pi)
    angle = camera.yaw.to(u)[:, None] + (2 * u[..., 1] - 1) * half[:, None]
    return camera.centre.to(u)[:, None, :2] + reach[..., None] * torch.stack([angle.cos(), angle.sin()], -1)


def _ahead(camera, height):
    """A place (B, 1, 2) straight ahead of each camera where a root `height` (B,) mm above the floor is in the picture (see `Placement`)."""
    half = MARGIN * torch.atan(camera.size[1] / 2 / camera.f[:, 1].to(height))
    steep, flat = (torch.tan(camera.pitch.to(height) + s * half) for s in (1, -1))  # fall per mm along the lower and upper edge
    drop = camera.centre[:, 2].to(height) - height
    near = torch.where(drop > 0, drop / steep, drop / flat)
    far = torch.where(drop > 0, drop / flat, drop / steep)
    near, far = (torch.where(x > 0, x, y) for x, y in ((near, CLOSE), (far, math.inf)))
    reach = torch.minimum(near.clamp(min=3750.0), far).clamp(CLOSE, FAR)
    yaw = camera.yaw.to(height)
    return (camera.centre[:, :2].to(height) + reach[:, None] * torch.stack([yaw.cos(), yaw.sin()], -1))[:, None]


def _behind(camera, xy, u):
    """Places to try (B, T, 2) mm 0.6 to 2.5 m behind one of the earlier people xy (B, p, 2), at most 200 mm aside."""
    who = (u[..., 2] * xy.shape[1]).long()
    front = xy.gather(1, who[..., None].expand(*who.shape, 2))
    ray = front - camera.centre.to(u)[:, None, :2]
    ray = ray / ray.norm(dim=-1, keepdim=True).clamp(min=1.0)
    aside = torch.stack([-ray[..., 1], ray[..., 0]], -1)
    return front + ray * (600 + 1900 * u[..., :1]) + aside * (400 * u[..., 1:2] - 200)


def _seen(camera, joints, valid, trial, boxes=False):
    """A body (B, J, 3) at its trial places (B, T, 2): status (B, T);  boxes: box of all joints (B, T, 4) px as well, NaN where no joint is
    on the picture, and mean depth (B, T) mm, else None and None."""
    at = trial @ camera.R.to(trial)[:, :, :2].mT  # R (x + p) + t = (R x + t) + R p
    uv, depth, ok = camera[:, None].project_camera(camera.to_camera(joints)[:, None] + at[:, :, None])
    known = valid[:, None].expand(ok.shape)
    inside = (camera.in_image(uv) & ok & known).sum(-1)
    status = torch.where(inside == 0, OUTSIDE, torch.where(inside < known.sum(-1), TRUNCATED, IN_VIEW))
    if not boxes:
        return status, None, None
    shown = (ok & known)[..., None]
    low, high = uv.masked_fill(~shown, math.inf).amin(-2), uv.masked_fill(~shown, -math.inf).amax(-2)
    box = torch.cat([low, high], -1)
    far = depth.masked_fill(~known, 0.0).sum(-1) / known.sum(-1).clamp(min=1)
    return status, box.masked_fill((inside == 0)[..., None], math.nan), far


def _overlap(box, depth, boxes, depths, found):
    """Of candidate boxes (B, T, 4) px at depth (B, T) and the earlier people's (B, p, 4), (B, p), found (B, p): the largest share of the
    candidate's box that a nearer person's box covers (B, T), and whether its box meets nobody's (B, T)."""
    a, b = box[:, :, None], boxes[:, None]
    width, height = ((torch.minimum(a[..., k + 2], b[..., k + 2]) - torch.maximum(a[..., k], b[..., k])).clamp(min=0) for k in (0, 1))
    area = (box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1])
    common = torch.where(found[:, None], (width * height).nan_to_num(0.0), 0.0)
    cover = torch.where(depths[:, None] < depth[..., None], common, 0.0).amax(-1) / area.clamp(min=1.0)
    return cover, common.amax(-1) == 0
