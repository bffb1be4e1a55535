"""Pictures and what is true of them: what the methods of the generalization study (§3) are trained and tested on.

`Pictures` are rendered from a twin's scenes or read from a folder, once, at the size the networks take, and kept in the cache; `Samples`
draws training batches from them, `Heatmaps` makes batches without any picture.  Both are endless streams as `vp.lab.train` wants them.
"""

from dataclasses import dataclass, fields, replace

import torch

from vp.camera import Camera
from vp.lab.second_stage import Batches, lot
from vp.nets.method import ROOT, Views
from vp.skeleton import JOINTS_15
from vp.world.agr import synthesise

J = 15
BLOCK = 64  # scenes at a time


@dataclass
class Pictures:
    """n pictures of at most P people: image (n, 3, H, W) uint8, all else as `Views` has it; stature (n, P) mm, NaN unknown; sources of
    poses, cameras, images; heatmaps (n, J, h, w), where these are what is looked at (then the image is one black pixel)."""

    image: torch.Tensor
    camera: Camera
    boxes: torch.Tensor
    joints: torch.Tensor
    known: torch.Tensor
    mask: torch.Tensor
    depth: torch.Tensor
    stature: torch.Tensor
    sources: dict
    heatmaps: torch.Tensor | None = None

    def __len__(self):
        return len(self.image)

    def views(self, index, device="cpu"):
        """`Views` of some pictures (long tensor), truth included."""
        image = self.image[index].to(device).float() / 255
        rest = {f.name: x[index].to(device) for f in fields(Views) if f.name != "image" and (x := getattr(self, f.name)) is not None}
        return Views(image=image, **rest)

    def between(self, first, last):
        """Those from share `first` to share `last`."""
        part = slice(round(first * len(self)), round(last * len(self)))
        names = [f.name for f in fields(Pictures) if f.name != "sources" and getattr(self, f.name) is not None]
        return replace(self, **{name: getattr(self, name)[part] for name in names})

    def people(self):
        """(picture, person) (N, 2) long: everybody who counts, in a fixed order."""
        return self.mask.nonzero()


def truth(joints, valid, mask, boxes, camera):
    """{boxes, joints, known, mask, depth} of `Views`, from joints (B, P, >=15, 3) world mm, valid (B, P, >=15), mask (B, P), boxes
    (B, P, 4) and a batch of B cameras whose size is the picture's."""
    uv, depth, front = camera[:, None].project(joints[:, :, :J])
    known = valid[:, :, :J] & front & camera.in_image(uv) & mask[..., None]
    counts = mask & known[:, :, ROOT] & boxes.isfinite().all(-1)
    kept = known & counts[..., None]
    out = {"boxes": (boxes, counts[..., None]), "joints": (uv, kept[..., None]), "depth": (depth, kept)}
    return {k: torch.where(ok, x, 0).float() for k, (x, ok) in out.items()} | {"known": kept, "mask": counts}


def of_scenes(data, n, seed=0, size=(240, 128), background=None, through=None, folder=None):
    """`Pictures` of a twin's scenes (`Dataset`), rendered or from the cache.

    background: one family for all instead of the split's;  through: cameras that look at the same scenes (see `Dataset.scenes`);
    folder: of the cache.
    """
    image = data.rendered(n, seed, size, background, folder, through=through)
    parts = []
    for start in range(0, n, BLOCK):
        s = data.scenes(min(BLOCK, n - start), seed, start=start, through=through)
        camera = s.camera.fit(*size)
        t = truth(s.joints, s.valid, s.mask, replace(s, camera=camera).boxes(), camera)
        parts.append({**t, "camera": camera, "stature": s.stature.masked_fill(~t["mask"], torch.nan)})
    sources = s.sources
    return Pictures(image=image, sources=sources, **{k: _joined([p[k] for p in parts]) for k in parts[0]})


def _joined(parts):
    """Tensors, or batches of cameras, of several blocks as one."""
    if not isinstance(parts[0], Camera):
        return torch.cat(parts)
    R, t, f, c = (torch.cat([getattr(p, k) for p in parts]) for k in ("R", "t", "f", "c"))
    return Camera(R, t, f, c, parts[0].size, None if parts[0].dist is None else torch.cat([p.dist for p in parts]))


# ---- streams ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Samples:
    """The endless stream of training batches from one or several `Pictures`, in equal shares: called with (start, n) -> `Views`.

    mirror: share of mirrored pictures;  colour: how far brightness and each channel are stretched at most.  Neither is in the paper.
    """

    sets: tuple
    seed: int = 0
    device: str = "cpu"
    mirror: float = 0.5
    colour: float = 0.2

    def __call__(self, start, n):
        """Pictures start .. start + n - 1 of the stream."""
        g = torch.Generator().manual_seed(lot(self.seed, "pictures", start))
        which = torch.randint(len(self.sets), (n,), generator=g)
        pick, mirrored = torch.rand(2, n, generator=g, dtype=torch.float64)
        stretch = 1 + self.colour * (2 * torch.rand(n, 4, generator=g) - 1)
        out = []
        for k, pictures in enumerate(self.sets):
            mine = which == k
            if mine.any():
                out.append(pictures.views((pick[mine] * len(pictures)).long(), self.device))
        order = torch.argsort(which, stable=True)  # the draws belong to pictures wherever they stand in the batch
        views = out[0] if len(out) == 1 else _together(out)
        views = in_mirror(views, (mirrored[order] < self.mirror).to(self.device))
        stretch = stretch[order].to(self.device)
        return replace(views, image=((views.image - 0.5) * stretch[:, :1, None, None] + 0.5).mul(stretch[:, 1:, None, None]).clamp(0, 1))


def _together(views):
    """Several `Views` as one; fewer people are padded."""
    P = max(v.mask.shape[1] for v in views)

    def pad(x):
        return torch.cat([x, x.new_zeros(len(x), P - x.shape[1], *x.shape[2:])], 1)

    wide = ("boxes", "joints", "known", "mask", "depth")
    return Views(**{f.name: _joined([pad(getattr(v, f.name)) if f.name in wide else getattr(v, f.name) for v in views])
                    for f in fields(Views) if f.name != "heatmaps"})  # fmt: skip


def in_mirror(views, which):
    """`Views` with the pictures in `which` (B,) bool mirrored: left and right joints exchanged, depths kept.

    (The camera's rotation stays: no rotation is a mirror, and no method of the study looks at it.)
    """
    last, order, w = views.size[0] - 1, list(JOINTS_15.flip_order), which
    joints = views.joints[:, :, order].clone()
    joints[..., 0] = last - joints[..., 0]
    boxes = views.boxes[..., [2, 1, 0, 3]].clone()
    boxes[..., [0, 2]] = last - boxes[..., [0, 2]]
    known = views.known[:, :, order]
    c = views.camera.c.clone()
    c[:, 0] = torch.where(w, last - c[:, 0], c[:, 0])
    k = views.camera
    return replace(
        views, image=torch.where(w[:, None, None, None], views.image.flip(-1), views.image),
        camera=Camera(k.R, k.t, k.f, c, k.size, k.dist),
        boxes=torch.where(w[:, None, None], boxes * views.mask[..., None], views.boxes),
        joints=torch.where(w[:, None, None, None], joints * known[..., None], views.joints),
        known=torch.where(w[:, None, None], known, views.known),
        depth=torch.where(w[:, None, None], views.depth[:, :, order], views.depth),
    )  # fmt: skip


@dataclass(frozen=True)
class Heatmaps:
    """The stream of `Batches` (scenes and their AGR) as `Views` without a picture: heatmaps, and joints in px of the maps (Fig. 3b)."""

    batches: Batches

    def __call__(self, start, n):
        """Samples start .. start + n - 1."""
        b = self.batches(start, n)
        camera, t = _on_maps(b.scenes, self.batches.sizes.map)
        return Views(image=_black(n, t["depth"]), camera=camera, heatmaps=b.agr.heatmaps, **t)


def of_heatmaps(blocks, size, noise=None, seed=0):
    """`Pictures` without pictures: the heatmaps (maps of `size`) of some blocks of scenes, with the noise of `vp.world.agr`."""
    parts = []
    for k, scenes in enumerate(blocks):
        agr, _ = synthesise(scenes, size, noise, torch.Generator().manual_seed(lot(seed, "heatmaps", k)), J, None)
        camera, t = _on_maps(scenes, size)
        stature = scenes.stature.masked_fill(~t["mask"], torch.nan)
        image = _black(len(scenes), stature).to(torch.uint8)
        parts.append({**t, "camera": camera, "image": image, "heatmaps": agr.heatmaps, "stature": stature})
    return Pictures(sources={**blocks[0].sources, "images": "computed"}, **{k: _joined([p[k] for p in parts]) for k in parts[0]})


def _on_maps(scenes, size):
    """Camera of the maps, and the `truth` there."""
    camera = scenes.camera.fit(*size)
    return camera, truth(scenes.joints, scenes.valid, scenes.mask, replace(scenes, camera=camera).boxes(), camera)


def _black(n, like):
    return like.new_zeros(n, 3, 1, 1)


def counted(pictures):
    """{"pictures", "people"}: how many there are, for tables."""
    return {"pictures": len(pictures), "people": int(pictures.mask.sum())}
