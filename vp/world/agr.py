"""The abstract geometry representation (AGR, §4.1) made from poses and cameras alone, and the targets of the second stage.

The AGR of an image: one heatmap per joint (Gaussians, maximum over people) and a box map with the distances from a person's root to the
left, top, right and bottom edge of its box, written around the root (Eq. 3).  All of it is sub-pixel correct: a Gaussian is centred at
the exact position, mapped as `vp.camera.rescale` says; `vp.published_agr` has the published rounding.  Sizes in pixels are stated for
the paper's 240 px wide heatmaps and scale with the map.

A batch is made where the scenes are: no data loader, no file.  B scenes, P people (padded, with a mask), J = 15 or 17 joints, H x W maps.
"""

import math
from dataclasses import dataclass

import torch

from vp.camera import fit_transform, rescale
from vp.skeleton import JOINTS_15, JOINTS_17
from vp.space import Grid

REFERENCE = 240  # px, map width for which SIGMA, EXTENT and STAMP are stated
SIGMA = 3 * math.sqrt(2) / 96  # px of sigma per px of a person's extent (published)
EXTENT = (48.0, 192.0)  # px, larger and smaller people get the sigma of these (published): 2.12 to 8.49
FLOOR = 1.0  # px, least sigma at any resolution
STAMP = 15.0  # px, half the side of the square around a root that holds its distances (published)
EXTENSION = (0.25, 0.12)  # box beyond the joints on each side, as a share of their extent in x and y (published)
CHUNK = {"cpu": 2**17, "cuda": 2**28}  # products that `outer_max` holds at a time, per thread: on a CPU they stay in the cache
GRID = Grid()  # of the root volume, the paper's
SKELETONS = {15: JOINTS_15, 17: JOINTS_17}


@dataclass(frozen=True)
class Noise:
    """What separates a detector's AGR from a perfect one (not in the paper).

    The first three are the published model (1.4); the others go beyond it and are off, see `DETECTOR` for all of them on.
    """

    position: float = 0.25  # s.d. of a peak's shift along each axis, in sigma
    dim: tuple = (0.8, 0.9, 0.03)  # with this probability the amplitude is N(mean, s.d.), else 1; cut to [0, 1]
    weak: tuple = (  # joint, probability, factor on the amplitude; "other" is every joint not named
        ("elbow", 0.35, 0.7), ("wrist", 0.35, 0.5), ("spine", 0.35, 0.7), ("head", 0.35, 0.7), ("other", 0.25, 0.7),
    )  # fmt: skip
    missed: float = 0.0  # probability that a person is not detected at all: no heatmaps, no box
    box_jitter: float = 0.0  # s.d. of each box edge, as a share of the box's width or height
    occluded: tuple = (1.0, 1.0)  # amplitude of a joint that is not visible is multiplied by U(low, high)
    swapped: float = 0.0  # probability, per person, that left and right arm change places; the same for the legs
    no_head_top: float = 0.0  # probability, per scene, that the source has no head top (nor spine and head, which come with it)
    no_neck: float = 0.0  # probability, per scene, that it has neither these nor a neck (COCO)
    no_arm: float = 0.0  # probability, per scene, that one arm (elbow, wrist) is missing in all people
    no_leg: float = 0.0  # probability, per scene, that one leg (knee, ankle) is missing in all people (cut-off pictures)
    spurious: float = 0.0  # probability, per channel, of a false peak anywhere in the map


DETECTOR = Noise(missed=0.03, box_jitter=0.03, occluded=(0.2, 0.9), swapped=0.03,
                 no_head_top=0.2, no_neck=0.1, no_arm=0.03, no_leg=0.05, spurious=0.02)  # fmt: skip  # our guesses


@dataclass
class AGR:
    """AGR of B scenes; pixels are those of the map (integer = centre).  What is not there is NaN with mask False.

    heatmaps (B, J, H, W) in [0, 1];  box_map (B, 4, H, W) px, 0 away from roots;  boxes (B, P, 4) x0 y0 x1 y1, clipped to the image;
    roots (B, P, 2);  root_valid (B, P): root in the image and person detected, so it has a stamp;  sigma (B, P) px;
    channels (B, J): False where a whole channel is missing.
    """

    heatmaps: torch.Tensor
    box_map: torch.Tensor
    boxes: torch.Tensor
    roots: torch.Tensor
    root_valid: torch.Tensor
    sigma: torch.Tensor
    channels: torch.Tensor

    @property
    def distances(self):
        """(B, P, 4) px: root to the left, top, right, bottom edge of the box (Eq. 3)."""
        return edge_distances(self.roots, self.boxes)

    @property
    def index(self):
        """(B, P) long: flat map index y W + x of the pixel that holds the root, 0 where there is none."""
        H, W = self.heatmaps.shape[-2:]
        x, y = self.roots.nan_to_num(0).round().long().unbind(-1)
        return torch.where(self.root_valid, y.clamp(0, H - 1) * W + x.clamp(0, W - 1), 0)


@dataclass
class Targets:
    """What the second stage learns (Eq. 4, 6, 8); NaN where unknown, use with `mask`.

    depth (B, P) mm, of the root;  factor (B,) px, the focal length in network-input pixels;  depth_norm (B, P) = depth / factor, mm / px;
    mask (B, P): people with root in the image and detected;  index (B, P): where to read a map (`AGR.index`);  roots (B, P, 3) and
    joints (B, P, J, 3) world mm;  weight (B, P, J) bool: joint known and in the image;  volume (B, X, Y, Z) in [0, 1], of these people.
    """

    depth: torch.Tensor
    factor: torch.Tensor
    depth_norm: torch.Tensor
    mask: torch.Tensor
    index: torch.Tensor
    roots: torch.Tensor
    joints: torch.Tensor
    weight: torch.Tensor
    volume: torch.Tensor


# ---- Gaussians ---------------------------------------------------------------------------------------------------------------------


def outer_max(a, b, out=None):
    """max over p of a[n, p, i] b[n, p, k]: a (N, P, H), b (N, P, W), both >= 0 -> (N, H, W); 0 if P = 0.

    The separable form of "the maximum over people of a Gaussian", made in pieces and person by person, so that products stay in the cache.
    """
    (N, P, H), W = a.shape, b.shape[-1]
    out = a.new_empty(N, H, W) if out is None else out
    if P == 0:
        return out.zero_()
    step = max(1, CHUNK[a.device.type] * torch.get_num_threads() // (H * W))
    spare = a.new_empty(min(step, N), H, W)
    for best, rows, columns in zip(out.split(step), a[..., None].split(step), b[:, :, None].split(step)):
        torch.mul(rows[:, 0], columns[:, 0], out=best)
        for p in range(1, P):
            torch.maximum(best, torch.mul(rows[:, p], columns[:, p], out=spare[: len(best)]), out=best)
    return out


def gaussian(x, centre, sigma, cut=None):
    """exp(-(x - c)² / 2σ²) at positions x (W,) for centres (...) and sigmas (...): (..., W); 0 beyond `cut` sigmas if that is given.

    Values below e⁻⁴⁰ stay at e⁻⁴⁰: products of two are then still normal numbers, which a CPU handles several times faster.
    """
    d2 = torch.sub(x, centre[..., None]).mul_((math.sqrt(0.5) / sigma)[..., None]).square_()
    g = d2.neg().clamp_(min=-40).exp_()
    return g if cut is None else g.masked_fill_(d2 > cut * cut / 2, 0)


def draw_heatmaps(uv, sigma, amplitude, map_size, cut=None):
    """Heatmaps (B, J, H, W): maximum over people of a exp(-|x - uv|² / 2σ²) (Eq. 2's target).

    uv (B, P, J, 2) px of the map, finite;  sigma (B, P) px;  amplitude (B, P, J) in [0, 1], 0 for a joint that is not drawn;
    map_size (W, H);  cut: sigmas along each axis beyond which a Gaussian is 0 (the published patch: 3), None for the whole tail.
    """
    (B, P, J, _), (W, H) = uv.shape, map_size
    drawn = (amplitude > 0).any(-1)  # B P
    if P and not uv.is_cuda:  # leave out the padding of people that no scene uses
        order = drawn.int().argsort(dim=1, descending=True, stable=True)[:, : int(drawn.sum(1).max()) if B else 0]
        rows = torch.arange(B, device=uv.device)[:, None]
        uv, sigma, amplitude = uv[rows, order], sigma[rows, order], amplitude[rows, order]
    uv, amplitude = uv.transpose(1, 2).flatten(0, 1), amplitude.transpose(1, 2).flatten(0, 1)  # (B J) P
    sigma = sigma[:, None].expand(B, J, -1).flatten(0, 1)
    x, y = (torch.arange(n, dtype=uv.dtype, device=uv.device) for n in (W, H))
    columns = gaussian(y, uv[..., 1], sigma, cut).mul_(amplitude[..., None])
    return outer_max(columns, gaussian(x, uv[..., 0], sigma, cut)).view(B, J, H, W)


def person_sigma(extent, map_width):
    """Sigma of a person whose joints extend `extent` (...) px, the larger of x and y, on a map of this width: (...) px."""
    k = map_width / REFERENCE
    return (SIGMA * extent.clamp(EXTENT[0] * k, EXTENT[1] * k)).clamp(min=FLOOR)


def edge_distances(roots, boxes):
    """Root (..., 2) to the left, top, right, bottom edge of its box (..., 4): (..., 4) px (Eq. 3)."""
    return torch.cat([roots - boxes[..., :2], boxes[..., 2:] - roots], -1)


def draw_box_map(distances, roots, valid, near, map_size):
    """Box map (B, 4, H, W): `distances` (B, P, 4) within STAMP px of each root (B, P, 2), the nearest person on top (Eq. 3).

    valid (B, P): who is stamped;  near (B, P): larger is nearer to the camera, ties go to the later person;  map_size (W, H).
    """
    (B, P, _), (W, H) = distances.shape, map_size
    near = near.masked_fill(~valid | near.isnan(), -math.inf)
    rank = (near.argsort(dim=1, stable=True).argsort(dim=1, stable=True) + 1) * valid  # 1 is farthest, 0 nobody
    half = max(STAMP * W / REFERENCE, 0.5)  # at least the pixel of the root itself
    x, y = (torch.arange(n, dtype=roots.dtype, device=roots.device) for n in (W, H))
    roots = roots.nan_to_num(-2 * half)
    columns = ((y - roots[..., 1:]).abs() <= half) * rank[..., None]
    top = outer_max(columns.to(roots.dtype), ((x - roots[..., :1]).abs() <= half).to(roots.dtype))  # B H W: rank of who is on top
    table = distances.new_zeros(B, 4, P + 1)  # by rank; column 0 is nobody
    table.scatter_(2, rank[:, None].expand(-1, 4, -1), torch.where(valid[..., None], distances, 0).mT)
    first = (P + 1) * torch.arange(4 * B, dtype=torch.int32, device=roots.device).view(B, 4, 1)
    return table.flatten().index_select(0, (first + top.view(B, 1, H * W).int()).flatten()).view(B, 4, H, W)  # quicker than `gather`


def volume_target(roots, mask, grid, sigma=200.0, cut=None):
    """Target of REN (Eq. 6): maximum over people of exp(-|g - root|² / 2σ²) at the voxel centres of `grid`, (B, X, Y, Z).

    roots (B, P, 3) world mm;  mask (B, P): who counts;  sigma mm (§4.2, 1.1);  cut: sigmas, as in `draw_heatmaps` (published: 3).
    """
    roots = torch.where(mask[..., None], roots, 0.0)
    axes = zip(grid.axes(roots.device), roots.unbind(-1), strict=True)
    gx, gy, gz = (gaussian(a.to(roots.dtype), c, torch.full_like(c, sigma), cut) for a, c in axes)
    gyz = (gy[..., :, None] * gz[..., None, :]).flatten(2)
    return outer_max(gx.mul_(mask[..., None]), gyz).view(-1, *grid.bins)


# ---- noise -------------------------------------------------------------------------------------------------------------------------


class _Dice:
    """Random numbers of one generator, of any shape."""

    def __init__(self, generator, like):
        if generator is None:
            raise ValueError("noise needs a torch.Generator")
        self.options = {"generator": generator, "device": like.device, "dtype": like.dtype}

    def normal(self, *shape):
        return torch.randn(shape, **self.options)

    def uniform(self, *shape):
        return torch.rand(shape, **self.options)

    def chance(self, probability, *shape):
        return self.uniform(*shape) < probability


def draw_amplitude(noise, shape, dice, skeleton):
    """Amplitude (B, P, J) of the published model: dimmed or not, then weak or not, per person and joint."""
    share, mean, sd = noise.dim
    rows = {name: (probability, factor) for name, probability, factor in noise.weak}
    named = [rows.get(j.removeprefix("left_").removeprefix("right_"), rows["other"]) for j in skeleton.joints]
    amplitude = torch.where(dice.chance(share, *shape), mean + sd * dice.normal(*shape), 1.0)
    probability, factor = amplitude.new_tensor(named).T  # J each
    return torch.where(dice.chance(probability, *shape), amplitude * factor, amplitude).clamp(0, 1)


def _missing_channels(noise, B, dice, skeleton):
    """(B, J) bool: channels that the source of a scene has."""
    J = len(skeleton)
    head, side, arm, leg = dice.uniform(B, 1), dice.chance(0.5, B, 2), dice.chance(noise.no_arm, B, 1), dice.chance(noise.no_leg, B, 1)

    def among(*names):
        return torch.tensor([j in names for j in skeleton.joints], device=head.device)

    gone = (head < noise.no_neck + noise.no_head_top) & among("head_top", "spine", "head") | (head < noise.no_neck) & among("neck")
    for k, (happens, parts) in enumerate(((arm, ("elbow", "wrist")), (leg, ("knee", "ankle")))):
        left, right = (among(*(f"{s}_{part}" for part in parts)).expand(B, J) for s in ("left", "right"))
        gone = gone | happens & torch.where(side[:, k : k + 1], left, right)
    return ~gone


def _swap(noise, uv, shown, dice, skeleton):
    """Left and right exchanged in some people's arms and legs: uv (B, P, J, 2), shown (B, P, J)."""
    hit = dice.chance(noise.swapped, *uv.shape[:2], 2)
    parts = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")  # the mid-hip's mirror is itself
    limb = torch.tensor([[j.endswith(part) for j in skeleton.joints] for part in parts], device=uv.device)  # 2 J
    swap, order = (hit[..., None] & limb).any(2), skeleton.flip_order
    return torch.where(swap[..., None], uv[:, :, order], uv), torch.where(swap, shown[:, :, order], shown)


def _detect(noise, dice, uv, sigma, shown, visible, map_size):
    """Noise on the peaks: positions (B, P', J, 2), sigma (B, P'), amplitude (B, P', J) and channels (B, J); P' > P with false peaks."""
    (B, P, J, _), (W, H), skeleton = uv.shape, map_size, SKELETONS[uv.shape[2]]
    channels = torch.ones(B, J, dtype=torch.bool, device=uv.device)
    uv = uv + noise.position * sigma[..., None, None] * dice.normal(B, P, J, 2)
    amplitude = draw_amplitude(noise, (B, P, J), dice, skeleton)
    if noise.occluded != (1.0, 1.0):
        if visible is None:
            raise ValueError("noise.occluded needs `visible`")
        low, high = noise.occluded
        amplitude = torch.where(visible, amplitude, amplitude * (low + (high - low) * dice.uniform(B, P, J)))
    if noise.swapped:
        uv, shown = _swap(noise, uv, shown, dice, skeleton)
    if noise.no_head_top or noise.no_neck or noise.no_arm or noise.no_leg:
        channels = _missing_channels(noise, B, dice, skeleton)
    amplitude = amplitude * shown
    if noise.spurious:  # one more "person", of false peaks
        ghost = uv.new_tensor((W, H)) * dice.uniform(B, 1, J, 2) - 0.5
        ghost_sigma = person_sigma((EXTENT[0] + (EXTENT[1] - EXTENT[0]) * dice.uniform(B, 1)) * W / REFERENCE, W)
        ghost_amplitude = (0.2 + 0.5 * dice.uniform(B, 1, J)) * dice.chance(noise.spurious, B, 1, J)
        uv, sigma, amplitude = (torch.cat(x, 1) for x in ((uv, ghost), (sigma, ghost_sigma), (amplitude, ghost_amplitude)))
    return (uv, sigma, amplitude * channels[:, None]), channels


# ---- the AGR of a batch ---------------------------------------------------------------------------------------------------------------


def agr(uv, present, mask, size, map_size=(240, 128), noise=None, generator=None, depth=None, visible=None, shown=None, cut=None):
    """AGR of B scenes from image positions (§4.1).

    uv (B, P, J, 2) px of an image of `size` (w, h), which is fitted into the map (W, H) with aspect ratio kept, as `Camera.fit` does;
    present (B, P, J) bool: joint known and in front of the camera (also outside the image: its tail may reach in);  mask (B, P): people;
    depth (B, P) mm of the roots decides whose box lies on top (without it the larger person);  visible (B, P, J): not hidden, for
    `noise.occluded`;  shown (B, P, J): joints to draw, else all present ones (the 2D network's targets take those in the image).
    """
    (B, P, J, _), root = uv.shape, SKELETONS[uv.shape[2]].root_index
    present = present & mask[..., None] & uv.isfinite().all(-1)
    k, offset = fit_transform(size, map_size)[0], uv.new_tensor(fit_transform(size, map_size)[1])
    first, last = (rescale(uv.new_tensor(edge), k) + offset for edge in ((-0.5, -0.5), (size[0] - 0.5, size[1] - 0.5)))  # image on the map
    uv = rescale(torch.where(present[..., None], uv, 0.0), k) + offset

    lo = uv.masked_fill(~present[..., None], math.inf).amin(2)  # B P 2
    hi = uv.masked_fill(~present[..., None], -math.inf).amax(2)
    extent = torch.where(present.any(-1)[..., None], hi - lo, 0.0)
    sigma = person_sigma(extent.amax(-1), map_size[0])
    margin = extent * uv.new_tensor(EXTENSION)
    roots = uv[:, :, root]
    root_valid = present[:, :, root] & ((roots >= first) & (roots < last)).all(-1)
    shown = present if shown is None else shown & present
    boxes = torch.cat([lo - margin, hi + margin], -1)
    peaks, channels = (uv, sigma, shown.to(uv.dtype)), torch.ones(B, J, dtype=torch.bool, device=uv.device)
    if noise is not None:
        dice = _Dice(generator, uv)
        if noise.missed:
            root_valid = root_valid & ~(gone := dice.chance(noise.missed, B, P))
            shown = shown & ~gone[..., None]
        if noise.box_jitter:
            boxes = boxes + noise.box_jitter * (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2) * dice.normal(B, P, 4)
        peaks, channels = _detect(noise, dice, uv, sigma, shown, visible, map_size)
    heatmaps = draw_heatmaps(*peaks, map_size, cut)

    boxes = boxes.clamp(first.repeat(2), last.repeat(2))
    held = torch.cat([boxes[..., :2].minimum(roots), boxes[..., 2:].maximum(roots)], -1)  # a jittered box still holds its root
    boxes = torch.where(root_valid[..., None], held, boxes).masked_fill(~present.any(-1)[..., None], math.nan)
    roots = roots.masked_fill(~present[:, :, root, None], math.nan)
    near = extent.amax(-1) if depth is None else -depth
    box_map = draw_box_map(edge_distances(roots, boxes), roots, root_valid, near, map_size)
    return AGR(heatmaps, box_map, boxes, roots, root_valid, sigma, channels)


def synthesise(scenes, map_size=(240, 128), noise=Noise(), generator=None, J=15, grid=GRID, stride=4):
    """A training batch of the second stage: AGR and Targets of `scenes`, on their device (§4.1; published noise by default).

    scenes: anything with joints (B, P, >=J, 3) world mm, valid (B, P, >=J), mask (B, P) and a batched camera (`visible` too for
    `noise.occluded`);  stride: network-input px per map px, which fixes the normalised depth;  grid: of the root volume, or None.
    """
    joints, valid, camera = scenes.joints[:, :, :J], scenes.valid[:, :, :J], scenes.camera
    (B, P), root = joints.shape[:2], SKELETONS[J].root_index
    uv, depth, front = (x.unflatten(1, (P, J)) for x in camera.project(joints.flatten(1, 2)))
    depth, known = depth[:, :, root], valid & front
    visible = scenes.visible[:, :, :J] if noise is not None and noise.occluded != (1.0, 1.0) else None
    out = agr(uv, known, scenes.mask, camera.size, map_size, noise, generator, depth, visible)
    factor = camera.fit(stride * map_size[0], stride * map_size[1]).depth_norm.to(joints.dtype).to(joints.device).expand(B)
    roots = joints[:, :, root]
    volume = None if grid is None else volume_target(roots, out.root_valid, grid)
    weight = known & scenes.mask[..., None] & camera.in_image(uv)
    return out, Targets(depth, factor, depth / factor[:, None], out.root_valid, out.index, roots, joints, weight, volume)
