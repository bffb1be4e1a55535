"""Pictures with what is known of them, moved, recoloured and covered on the device, and what the 2D network should say of them (Eq. 2, 3).

Targets are the AGR that the second stage is trained on (`vp.world.agr`), joints just outside the picture included: whoever's root lies
outside keeps his visible joints, and nobody else loses his (published: Q18).  A joint that the source does not know is masked, not filled
(published: Q19): where the person is, or in the whole picture if nobody there has it, its heatmap may say anything.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import torch
from torch.nn import functional as F

from vp.camera import fit_transform, rescale
from vp.errors import InputError
from vp.lab.augment import Change, before_another, draw_moves, moved, moved_box, recolour, warp
from vp.lab.second_stage import lot
from vp.nets.backbone import SKELETONS, STRIDE, Shape
from vp.world.agr import AGR, EXTENSION, draw_box_map, draw_heatmaps, edge_distances, person_sigma
from vp.world.render import render

BLOCK = 64  # scenes at a time
COCO_BOX = 1.25  # annotated boxes are enlarged by this factor (published, 1.4)


# ---- pictures and what is known of them ------------------------------------------------------------------------------------------------


@dataclass
class Labelled:
    """n pictures with at most P people: image (n, 3, h, w) uint8, or the paths of n pictures that are read when asked for, at most `size`
    (w, h); all positions px of the pictures of that size.

    uv (n, P, J, 2), 0 where not `present`;  present (n, P, J): known and before the camera, also outside the picture;  missing (n, P, J):
    perhaps to be seen, but the source does not say where;  boxes (n, P, 4): annotated ones, NaN: from the joints;  depth (n, P) mm of the
    root, NaN unknown;  content (n, 4) x0 y0 x1 y1: what is not padding;  sources of poses, cameras, images;  swap: where it is known,
    (people (n, h, w) bool, empty (m, 3, h, w) uint8): pixels of people, and pictures without any.
    """

    image: object
    uv: torch.Tensor
    present: torch.Tensor
    missing: torch.Tensor
    boxes: torch.Tensor
    depth: torch.Tensor
    content: torch.Tensor
    size: tuple
    sources: dict
    swap: tuple | None = None

    def __len__(self):
        return len(self.uv)

    def images(self, index, device="cpu"):
        """(B, 3, h, w) in [0, 1] of some pictures (long tensor)."""
        if isinstance(self.image, torch.Tensor):
            return self.image[index].to(device).float() / 255
        with ThreadPoolExecutor(4) as pool:
            read = list(pool.map(lambda i: fitted(read_picture(self.image[i]), self.size), index.tolist()))
        return torch.stack(read).to(device).float() / 255


def read_picture(path):
    """(3, H, W) uint8 RGB of a file; InputError."""
    if not Path(path).is_file():
        raise InputError("no such file", path)
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # more than 2^30 pixels
        raise InputError("a picture too large to read", path, "make it smaller") from None
    if image is None:
        raise InputError("no picture that can be read", path)
    return torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)


def fitted(image, size):
    """A picture (3, h, w) uint8 in `size` (W, H), aspect ratio kept, centred, black around it: as `Camera.fit` does; uint8."""
    h, w = image.shape[-2:]
    k, offset = fit_transform((w, h), size)
    if k < 1:  # averaged first: the exact move below looks at four pixels only
        small = round(w * k), round(h * k)
        image = torch.from_numpy(cv2.resize(image.permute(1, 2, 0).numpy(), [max(1, n) for n in small], interpolation=cv2.INTER_AREA))
        image = image.permute(2, 0, 1)
    factor = torch.tensor([k * w / image.shape[2], k * h / image.shape[1]])
    A = torch.cat([torch.diag(factor), (0.5 * factor - 0.5 + torch.tensor(offset))[:, None]], 1)
    exact = warp(image[None].float(), A[None].float(), size, "border")[0].round().to(torch.uint8)
    return exact * inside(torch.tensor(content_of((w, h), size)), size)


def content_of(source, size):
    """x0 y0 x1 y1 px (edges) of a picture of size `source` (w, h) fitted into `size`."""
    k, (ox, oy) = fit_transform(source, size)
    return ox - 0.5, oy - 0.5, ox - 0.5 + k * source[0], oy - 0.5 + k * source[1]


def inside(boxes, size):
    """(..., H, W) bool: pixels whose centre lies in boxes (..., 4) x0 y0 x1 y1 px."""
    x, y = (torch.arange(n, device=boxes.device) for n in size)
    x0, y0, x1, y1 = (boxes[..., i, None] for i in range(4))
    return ((y >= y0) & (y < y1))[..., :, None] & ((x >= x0) & (x < x1))[..., None, :]


def picture(data, scenes, size):
    """Pictures (B, 3, H, W) in [0, 1] of a Dataset's scenes at `size`, black where the camera's own picture ends."""
    seen = inside(torch.tensor(content_of(scenes.camera.size, size)), size)
    return data.pictures(scenes, size) * seen.to(scenes.joints.device)


def of_scenes(data, n, seed=0, size=(224, 128), J=15, folder=None, swap=False):
    """`Labelled` pictures of a twin's scenes, rendered or from the cache (`folder`);  swap: also what other backgrounds need."""
    image, parts = data.rendered(n, seed, size, folder=folder), []
    for start in range(0, n, BLOCK):
        s = data.scenes(min(BLOCK, n - start), seed, start=start)
        uv, depth, present = (x[:, :, :J] for x in replace(s, camera=s.camera.fit(*size)).uv())
        present = present & s.mask[..., None]
        parts.append((
            torch.where(present[..., None], uv, 0.0).float(), present, s.mask[..., None] & ~s.valid[:, :, :J],
            depth[:, :, SKELETONS[J].root_index].float(), render(s, size, "green").instance >= 0 if swap else present.new_zeros(len(s), 0),
        ))  # fmt: skip
    uv, present, missing, depth, people = (torch.cat(x) for x in zip(*parts))
    content = torch.tensor(content_of(s.camera.size, size)).expand(n, 4)
    places = data.scenes(min(BLOCK, n), seed) if swap else None
    swap = (people, (picture(data, replace(places, mask=places.mask & False), size) * 255).to(torch.uint8)) if swap else None
    return Labelled(image.mul_(inside(content[0], size)), uv, present, missing, torch.full((*depth.shape, 4), torch.nan), depth, content,
                    tuple(size), s.sources, swap)  # fmt: skip


def of_samples(samples, size=(224, 128), J=15):
    """`Labelled` pictures of recorded Samples (an iterable) that have a picture and joints in 3D with a camera, or in 2D.

    Boxes are the annotated ones where joints are known in 2D alone.  COCO has no head top; neck and mid-hip are derived where both parents
    are labelled.  Who has no labelled joint is masked by his box.  InputError if no sample is of use.
    """
    made, paths = [], []
    for s in samples:
        if not s.image or not len(s) or ((s.joints is None or s.camera is None) and s.joints_px is None):
            continue
        s = s.to(SKELETONS[J], derive=True)
        nothing = torch.full((len(s), 4), torch.nan)
        if s.joints is not None and s.camera is not None:
            source, (uv, depth, present), missing, boxes = s.camera.size, s.project(), ~s.valid, nothing
            depth = depth[:, SKELETONS[J].root_index]
        else:
            source, uv, present, missing, depth = s.size, s.joints_px, s.valid_px, ~s.valid_px, nothing[:, 0]
            boxes = nothing if s.boxes is None else s.boxes
        k, offset = fit_transform(source, size)
        move = torch.tensor(offset, dtype=torch.float64)
        boxes = enlarged(rescale(boxes, k) + move.repeat(2))
        made.append((torch.where(present[..., None], rescale(uv, k) + move, 0.0), present, missing, boxes, depth, content_of(source, size)))
        paths.append(s.image)
        sources = s.sources
    if not made:
        raise InputError("no sample with a picture and joints", "pictures of a folder")
    P, n = max(len(m[0]) for m in made), len(made)
    out = torch.zeros(n, P, J, 2), *torch.zeros(2, n, P, J, dtype=torch.bool), *(torch.full((n, P, *d), torch.nan) for d in ((4,), ()))
    for i, (*columns, _) in enumerate(made):
        for whole, part in zip(out, columns):
            whole[i, : len(part)] = part.to(whole.dtype)
    return Labelled(paths, *out, torch.tensor([m[-1] for m in made]), tuple(size), sources)


def enlarged(boxes, factor=COCO_BOX):
    """Boxes (..., 4) made larger about their centres."""
    centre, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2 * factor
    return torch.cat([centre - half, centre + half], -1)


# ---- targets ---------------------------------------------------------------------------------------------------------------------------


def targets(uv, present, missing, boxes, depth, content, size, map_size, seen=None):
    """(`AGR`, weight (B, J, H, W) in {0, 1}) that a network should say of pictures of `size`; arguments: see `Labelled`.

    Without annotated boxes and missing joints the AGR is `vp.world.agr.agr`'s.  Boxes end where the picture's content does;  seen: pixels
    of the map (B, H, W) that show content, where that is no upright rectangle: joints elsewhere cannot be found and count nothing.
    """
    root = SKELETONS[uv.shape[2]].root_index
    k = map_size[0] / size[0]
    uv, annotated = rescale(uv, k), rescale(boxes, k)
    first, last = rescale(content, k)[:, None, :2], rescale(content, k)[:, None, 2:]
    known = present.any(-1)
    lo = uv.masked_fill(~present[..., None], torch.inf).amin(2)
    hi = uv.masked_fill(~present[..., None], -torch.inf).amax(2)
    extent = torch.where(known[..., None], hi - lo, 0.0)
    sigma = person_sigma(extent.amax(-1), map_size[0])
    margin = extent * uv.new_tensor(EXTENSION)
    own = torch.cat([lo - margin, hi + margin], -1)
    boxes = torch.where(annotated.isfinite().all(-1, keepdim=True), annotated, own)
    boxes = boxes.maximum(first.repeat(1, 1, 2)).minimum(last.repeat(1, 1, 2))
    roots = uv[:, :, root]
    root_valid = present[:, :, root] & ((roots >= first) & (roots < last)).all(-1)
    held = torch.cat([boxes[..., :2].minimum(roots), boxes[..., 2:].maximum(roots)], -1)
    boxes = torch.where(root_valid[..., None], held, boxes)
    heatmaps = draw_heatmaps(uv, sigma, present.to(uv.dtype), map_size)
    near = torch.where((depth.isnan() & known).any(1, keepdim=True), extent.amax(-1), -depth)
    roots = roots.masked_fill(~present[:, :, root, None], torch.nan)
    box_map = draw_box_map(edge_distances(roots, boxes), roots, root_valid, near, map_size)
    there = known | missing.any(-1)
    nobody = ((missing | ~there[..., None]).all(1) & there.any(1)[:, None])[..., None, None]  # B J: nobody in the picture has it
    seen = inside(rescale(content, k), map_size) if seen is None else seen
    weight = ~nobody & (seen[:, None] | (heatmaps < 0.01))
    if missing.any():
        area = inside(boxes.nan_to_num(-2.0), map_size)  # B P H W
        hidden = torch.einsum("bpj,bphw->bjhw", missing.to(uv.dtype), area.to(uv.dtype)) > 0
        weight = weight & ~(hidden & (heatmaps < 0.01))  # what others are known to have there still counts
    agr = AGR(heatmaps, box_map, boxes.masked_fill(~there[..., None], torch.nan), roots, root_valid, sigma, ~nobody[..., 0, 0])
    return agr, weight


# ---- batches ----------------------------------------------------------------------------------------------------------------------------


@dataclass
class Batch:
    """image (B, 3, H, W) in [0, 1];  agr: `AGR` to be learned;  weight (B, J, H/4, W/4): where heatmaps count."""

    image: torch.Tensor
    agr: AGR
    weight: torch.Tensor


@dataclass(frozen=True)
class Stream:
    """The endless stream of training batches from one or several `Labelled`, in equal shares: called with (start, n) -> `Batch`."""

    sets: tuple
    shape: Shape
    change: Change | None = field(default_factory=Change)
    seed: int = 0
    device: str = "cpu"

    def __call__(self, start, n):
        """Samples start .. start + n - 1."""
        g = torch.Generator().manual_seed(lot(self.seed, "labelled", start))
        which, pick = torch.randint(len(self.sets), (n,), generator=g), torch.rand(n, generator=g, dtype=torch.float64)
        size, P = self.shape.picture, max(s.uv.shape[1] for s in self.sets)
        move, mirrored = draw_moves(self.change, n, size, g) if self.change else (torch.eye(2, 3).expand(n, 2, 3), torch.zeros(n).bool())
        parts, order = [], torch.argsort(which, stable=True)
        for k, s in enumerate(self.sets):
            mine = torch.nonzero(which == k).flatten()
            if len(mine):
                share = self.change.background if self.change and s.swap else 0.0
                parts.append(_part(s, (pick[mine] * len(s)).long(), move[mine], mirrored[mine], size, P, self.device, share, g))
        image, uv, present, missing, boxes, depth, content, seen = (torch.cat(x)[order.argsort().to(x[0].device)] for x in zip(*parts))
        if self.change:
            image = recolour(image, self.change, g)
        agr, weight = targets(uv, present, missing, boxes, depth, content, size, self.shape.map, seen)
        return Batch(image, agr, weight)


def _part(s, index, move, mirrored, size, P, device, share=0.0, generator=None):
    """Pictures `index` of one `Labelled` under moves A (B, 2, 3), with P people, a `share` of them before another background."""
    k, offset = fit_transform(s.size, size)
    fit = torch.eye(3)[:2] * k
    fit[:, 2] = (k - 1) / 2 + torch.tensor(offset)
    A, mirrored = (move[..., :2] @ fit + F.pad(move[..., 2:], (2, 0))).to(device), mirrored.to(device)
    uv, present, missing, boxes, depth, content = (x[index].to(device) for x in (s.uv, s.present, s.missing, s.boxes, s.depth, s.content))
    order = SKELETONS[uv.shape[2]].flip_order

    def flipped(x):
        return torch.where(mirrored.view(-1, *[1] * (x.dim() - 1)), x[:, :, order], x)

    uv, present, missing = flipped(torch.where(present[..., None], moved(uv, A), 0.0)), flipped(present), flipped(missing)
    on_map = A / STRIDE + F.pad(A.new_full((2, 1), 0.5 / STRIDE - 0.5), (2, 0))  # A, then `rescale`
    seen = warp(inside(content.float(), s.size)[:, None].float(), on_map, [n // STRIDE for n in size])[:, 0] > 0.5
    whole = uv.new_tensor((-0.5, -0.5, size[0] - 0.5, size[1] - 0.5))
    content = moved_box(content[:, None].float(), A)[:, 0]
    content = torch.cat([content[:, :2].maximum(whole[:2]), content[:, 2:].minimum(whole[2:])], 1)

    def padded(x, value=0):
        return torch.cat([x, x.new_full((len(x), P - x.shape[1], *x.shape[2:]), value)], 1)

    image = s.images(index, device)
    if share:
        image = before_another(image, s.swap[0][index], s.swap[1], generator, share)
    image = warp(image, A, size)
    people = (padded(uv), padded(present), padded(missing), padded(moved_box(boxes, A), torch.nan), padded(depth, torch.nan))
    return image, *people, content, seen
