"""Scenes: posed people placed before a camera, in batches; what of them the camera sees; and the same scene with one factor changed.

Every factor of a scene (FACTORS) has a random stream of its own, so that one factor can be drawn anew while all others keep their bits:
`make_scenes(..., changed={"camera": 7})` is the counterfactual twin of the call without `changed`.  Two things follow from this:

* Places are found for the *unchanged* scene and kept: in a scene with another posture, stature or yaw, bodies may touch (see
  `body_gaps`), and with another camera, people may leave the view.
* Streams are seeded by (seed, factor, block of `config.block` scenes), and whole blocks are computed: scene i of a seed is the same,
  bit for bit, in a batch of one and in a batch of 10 000.

Other clothes leave joints, camera and AGR alone, but not a person's outline in the picture: a skirt, a jacket or wide sleeves, a top that
hangs out are wider than the body, and mask, depth map and what they cover in the picture follow.  `visible` takes bare bodies and stays.

Random numbers are drawn on the CPU and everything is computed on `device`.
"""

import hashlib
import numbers
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch

from vp.camera import Camera
from vp.errors import InputError
from vp.sample import Sample
from vp.skeleton import JOINTS_17
from vp.world.body import People
from vp.world.cameras import CameraRanges, sampler
from vp.world.placement import APART, DRAWS, Placement, place
from vp.world.visibility import LIMB_RADIUS, LIMBS, seen

CLOTHES = [*range(3, 12), *range(13, 16)]  # of the wardrobe's numbers; skin (0), hair (1, 2) and build (12) belong to the body
FACTORS = ("camera", "count", "people", "posture", "yaw", "placement", "stature", "clothes", "background", "light")

# ---- a batch of scenes -------------------------------------------------------------------------------------------------------------------


@dataclass
class Scenes:
    """B scenes of at most P people.

    joints (B, P, 17, 3) world mm, NaN where missing or padded;  valid (B, P, 17) bool;  mask (B, P) bool: a person is there.
    camera: batch of B;  people: the B * P identities, with the changed stature or wardrobe where that factor was changed;  identity
    (B, P): index into the people drawn from;  pose (B, P): index into the bank;  activity (B, P): its names;  yaw (B, P) radian.
    seeds: factor -> (B,) int64, a seed per scene (the renderer's, for background, light, clothes);  index (B,): number of the scene.
    visible (B, P, 17): in the picture, in front of the camera and not hidden by a body;  occluded (B, P, 17): hidden by another person;
    both are computed when first asked for.
    """

    joints: torch.Tensor
    valid: torch.Tensor
    mask: torch.Tensor
    camera: Camera
    people: People
    identity: torch.Tensor
    pose: torch.Tensor
    activity: np.ndarray
    yaw: torch.Tensor
    seeds: dict
    index: torch.Tensor
    sources: dict

    def __len__(self):
        return len(self.joints)

    def __getitem__(self, i):
        """Some of the scenes (a slice or an index tensor)."""
        return _each(lambda x: x[i.tolist()] if isinstance(x, np.ndarray) and isinstance(i, torch.Tensor) else x[i], self)

    def to(self, device):
        """The same scenes on another device."""
        return _each(lambda x: x.to(device) if hasattr(x, "to") else x, self)

    @property
    def stature(self):
        """(B, P) mm."""
        return self.people.stature.view(self.mask.shape)

    @property
    def wardrobe(self):
        """(B, P, K) in [0, 1]."""
        return self.people.wardrobe.unflatten(0, self.mask.shape)

    @cached_property
    def _sight(self):
        return seen(self.joints, self.valid, self.stature, self.camera)

    @property
    def visible(self):
        """(B, P, 17) bool: in the picture, in front of the camera and hidden by no body (`visibility.hidden`)."""
        return self._sight[0]

    @property
    def occluded(self):
        """(B, P, 17) bool: hidden by another person."""
        return self._sight[1]

    def uv(self):
        """Pixels of the joints: uv (B, P, 17, 2), depth (B, P, 17) mm, valid (B, P, 17) (known and in front of the camera)."""
        uv, depth, ok = self.camera[:, None].project(self.joints)
        return uv, depth, ok & self.valid

    def in_image(self):
        """(B, P, 17) bool: the joint lies on the picture, hidden or not."""
        uv, _, ok = self.uv()
        return self.camera.in_image(uv) & ok

    @property
    def in_view(self):
        """(B, P) bool: all known joints lie on the picture."""
        return self.mask & (self.in_image() | ~self.valid).all(-1)

    @property
    def outside(self):
        """(B, P) bool: a person of whom no joint lies on the picture (perhaps behind the camera)."""
        return self.mask & ~self.in_image().any(-1)

    @property
    def truncated(self):
        """(B, P) bool: some joints lie on the picture, some do not."""
        return self.mask & ~self.in_view & ~self.outside

    def boxes(self):
        """(B, P, 4) x0 y0 x1 y1 px: extent of the joints in front of the camera, enlarged by 0.25 of its width and 0.12 of its height
        on each side and clipped to the picture (published_settings 1.4); NaN for people outside."""
        uv, _, ok = self.uv()
        low = uv.masked_fill(~ok[..., None], torch.inf).amin(-2)
        high = uv.masked_fill(~ok[..., None], -torch.inf).amax(-2)
        pad = (high - low) * low.new_tensor([0.25, 0.12])
        edge = low.new_tensor(self.camera.size) - 0.5
        box = torch.cat([(low - pad).clamp(min=-0.5), torch.minimum(high + pad, edge)], -1)
        return box.masked_fill((self.outside | ~self.mask)[..., None], torch.nan)

    def sample(self, i):
        """Scene i as a `Sample` of 17 joints, float64 on the CPU, with the people that are there."""
        one = self[slice(i, i + 1)].to("cpu")
        who = one.mask[0]
        uv, _, seen = one.uv()
        return Sample(
            JOINTS_17, f"virtual/{int(one.index)}", one.joints[0, who].double(), one.valid[0, who], uv[0, who].double(), seen[0, who],
            visible=one.visible[0, who], boxes=one.boxes()[0, who].double(), camera=one.camera[0].to(torch.float64), size=one.camera.size,
            ids=tuple(one.people.ids[who].tolist()), sources=dict(one.sources),
        )  # fmt: skip


def body_gaps(scenes, points=5):
    """Least distance of each two bodies' skins, (B, P, P) mm, negative where they interpenetrate; inf on the diagonal and for padding.

    Between `points` points along every limb, so up to half a point's spacing too large; a check for counterfactual scenes.
    """
    i, j = torch.tensor(LIMBS, device=scenes.joints.device).unbind(-1)
    k = torch.linspace(0, 1, points, device=scenes.joints.device)[:, None]
    x = (scenes.joints[:, :, i, None] * (1 - k) + scenes.joints[:, :, j, None] * k).flatten(2, 3)
    skin = (LIMB_RADIUS.to(x) * scenes.stature[..., None]).repeat_interleave(points, -1)
    B, P, N = skin.shape
    gap = torch.cdist(x.reshape(B, P * N, 3), x.reshape(B, P * N, 3)) - skin.reshape(B, -1, 1) - skin.reshape(B, 1, -1)
    gap = gap.view(B, P, N, P, N).nan_to_num(torch.inf).amin((2, 4))
    return gap.masked_fill(torch.eye(P, dtype=torch.bool, device=x.device), torch.inf)


def _each(f, *scenes):
    """Scenes of f applied to each batched tensor of one or several Scenes."""

    def join(values):
        one = values[0]
        if isinstance(one, Camera):
            R, t, fc, c = (f(*(getattr(v, k) for v in values)) for k in ("R", "t", "f", "c"))
            return Camera(R, t, fc, c, one.size, None if one.dist is None else f(*(v.dist for v in values)))
        if isinstance(one, People):
            shapes = [s.mask.shape for s in scenes]
            return People(*(f(*(getattr(v, a.name).unflatten(0, n) for v, n in zip(values, shapes))).flatten(0, 1) for a in fields(People)))
        if isinstance(one, dict):
            return {k: f(*(v[k] for v in values)) for k in one}
        return f(*values)

    out = {a.name: join([getattr(s, a.name) for s in scenes]) for a in fields(Scenes) if a.name != "sources"}
    joined = Scenes(**out, sources=scenes[0].sources)
    if all("_sight" in s.__dict__ for s in scenes):  # what was computed once
        joined._sight = tuple(f(*x) for x in zip(*(s._sight for s in scenes)))
    return joined


# ---- making them -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SceneConfig:
    """What scenes are made of.

    camera: a specification for `vp.world.cameras.sampler`;  people: (least, most) per scene, 1 to 10, equal chances;  placement: rules;
    block: scenes computed at once (it enters the random streams).
    """

    camera: object = "universal"
    people: tuple = (4, 4)  # published
    placement: Placement = APART
    block: int = 32

    def __post_init__(self):
        low, high = self.people
        if not 1 <= low <= high <= 10:
            raise InputError(f"people {self.people} is not (least, most) between 1 and 10", "SceneConfig")


def make_scenes(config, bank, people, n, seed, device="cpu", changed=None, start=0):
    """Scenes start .. start + n - 1 of a seed (§4.1): `Scenes` on `device`.

    bank: `PoseBank`;  people: `People` on the CPU, of whom each scene draws different ones (if there are enough);  changed: dict factor ->
    another seed, for a counterfactual scene (FACTORS; "stature" and "clothes" take those of another of the people; other clothes may
    change a person's outline).  Yaw is uniform about the vertical.  InputError: unknown factor, a seed that is none, nobody to draw.
    """
    changed = _changes(changed)
    if len(people) < 1 + bool({"stature", "clothes"} & set(changed)):
        raise InputError(f"{len(people)} people are too few to draw from", "make_scenes")
    if n < 1:
        raise InputError(f"{n} scenes", "make_scenes", "n >= 1")
    look = sampler(config.camera)
    first, last = start // config.block, (start + n - 1) // config.block
    blocks = [_block(config, look, bank, people, b, seed, device, changed) for b in range(first, last + 1)]
    scenes = _each(lambda *x: np.concatenate(x) if isinstance(x[0], np.ndarray) else torch.cat(x), *blocks)
    skip = start - first * config.block
    return scenes[skip : skip + n]


def _changes(changed):
    """The checked argument `changed` of `make_scenes`: dict factor -> seed."""
    if not isinstance(changed, dict | None):
        raise InputError(f"{changed!r} is not a dict of factor and seed", "changed", 'e.g. {"camera": 1}')
    for factor, seed in (changed or {}).items():
        if factor not in FACTORS:
            raise InputError(f"unknown factor {factor!r}", "changed", f"known: {', '.join(FACTORS)}")
        if not isinstance(seed, numbers.Integral) or isinstance(seed, bool) or seed < 0:
            raise InputError(f"{seed!r} is not a seed", f"changed, factor {factor}", "a whole number from 0 up")
    return {factor: int(seed) for factor, seed in (changed or {}).items()}


def _stream(seed, factor, block):
    """The random stream of one factor in one block of scenes."""
    digest = hashlib.blake2b(f"{seed} {factor} {block}".encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def _draw(config, look, bank, people, block, seeds, changed, device):
    """All factors but the places, of one block of scenes, each from its own stream: a dict of tensors, bodies turned, roots at xy = 0."""
    B, P = config.block, config.people[1]
    stream = {f: _stream(seeds[f], f, block) for f in FACTORS}
    pick = torch.rand(B, max(len(people), P), generator=stream["people"])
    identity = pick.topk(P, dim=1).indices % len(people)

    def other(factor):
        """Another one of the people, for everybody (B * P,)."""
        return (identity.flatten() + torch.randint(1, len(people), (B * P,), generator=stream[factor])) % len(people)

    who = people[identity.flatten()]
    if "stature" in changed:
        stature = people.stature[other("stature")]
        who = replace(who, stature=stature, offsets=who.offsets * (stature / who.stature)[:, None, None])
    if "clothes" in changed:
        wardrobe, new = who.wardrobe.clone(), people.wardrobe[other("clothes")]
        wardrobe[:, CLOTHES] = new[:, CLOTHES]
        who = replace(who, wardrobe=wardrobe)
    joints, valid, pose = bank.sample(B * P, stream["posture"], people=who)
    yaw = 2 * torch.pi * torch.rand(B, P, generator=stream["yaw"])
    least, most = config.people
    count = least + (torch.rand(B, generator=stream["count"]) * (most - least + 1)).long().clamp(max=most - least)
    seed = {f: torch.randint(2**62, (B,), generator=_stream(seeds[f], f + " of each scene", block)) for f in FACTORS}
    out = {"joints": joints.float().view(B, P, 17, 3), "valid": valid.view(B, P, 17), "pose": pose.view(B, P), "yaw": yaw, "count": count,
           "identity": identity, "people": who, "camera": look(B, stream["camera"])}  # fmt: skip
    out = {k: v.to(device) for k, v in out.items()} | {"seeds": {f: s.to(device) for f, s in seed.items()}}
    return out | {"joints": turn(out["joints"], out["yaw"])}


def turn(joints, yaw):
    """Bodies (..., J, 3) mm turned about the vertical by yaw (...), radian, anticlockwise seen from above."""
    c, s = yaw.cos()[..., None], yaw.sin()[..., None]
    x, y, z = joints.unbind(-1)
    return torch.stack([c * x - s * y, s * x + c * y, z], -1)


def _block(config, look, bank, people, block, seed, device, changed):
    """One block of scenes: places from the unchanged factors, then the changed ones put in."""
    B, P, T = config.block, config.people[1], config.placement.trials
    draws = torch.rand(B, P, T + 1, DRAWS, generator=_stream(changed.get("placement", seed), "placement", block)).to(device)
    plain = _draw(config, look, bank, people, block, dict.fromkeys(FACTORS, seed), (), device)
    xy, found = place(plain["joints"], plain["valid"], plain["camera"], config.placement, draws[:, :, :T], draws[:, :, T, :2])
    new = _draw(config, look, bank, people, block, {f: changed.get(f, seed) for f in FACTORS}, changed, device) if changed else plain
    mask = found & (torch.arange(P, device=device) < new["count"][:, None])
    valid = new["valid"] & mask[..., None]
    joints = new["joints"] + torch.nn.functional.pad(xy, (0, 1))[:, :, None]
    joints = joints.masked_fill(~valid[..., None], torch.nan)
    activity = np.array([bank.activity[i] for i in new["pose"].flatten().tolist()]).reshape(B, P)
    return Scenes(
        joints, valid, mask, new["camera"], new["people"], new["identity"], new["pose"], activity, new["yaw"], new["seeds"],
        torch.arange(block * B, (block + 1) * B, device=device), {"poses": bank.source, "cameras": _name(config.camera)},
    )  # fmt: skip


def _name(camera):
    """What a row of results says of the cameras: the specification, "user" for a file or `Camera`."""
    return camera if isinstance(camera, str) and not camera.endswith(".json") else "ranges" if isinstance(camera, CameraRanges) else "user"
