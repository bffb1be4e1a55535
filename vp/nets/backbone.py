"""The 2D network of the first stage (§4.1, Fig. 2a): a picture in, heatmaps (Eq. 2) and box distances at the roots (Eq. 3) out.

CenterNet's form: a ResNet, transposed convolutions up to a quarter of the picture's size, one head per kind of map.  Defaults are the
paper's: ResNet-152, pictures of 960 x 512, maps of 240 x 128.  Skips from the ResNet's layers to the maps of their size are ours.
"""

import warnings
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import relu

from vp.errors import InputError
from vp.nets import initialise
from vp.nets.resnet import BLOCKS, ResNet, flip_test
from vp.skeleton import JOINTS_15, JOINTS_17

STRIDE = 4  # picture px per map px
SKELETONS = {15: JOINTS_15, 17: JOINTS_17}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours, which its weights expect (published, 1.4)
LAYERS = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")  # the trunk


@dataclass(frozen=True)
class Shape:
    """Everything that shapes a `Backbone`, kept with its weights; defaults are the published ones (1.2)."""

    joints: int = 15
    picture: tuple = (960, 512)  # px, width and height
    depth: int = 152
    width: int = 64
    deconv: int = 256
    skips: bool = False  # not in the paper
    box_unit: float = 1.0  # map px per unit of the box head
    init_std: float | None = 1e-3  # of the weights before training; None: He's, not in the paper

    @property
    def map(self):
        """(width, height) px of the maps."""
        return self.picture[0] // STRIDE, self.picture[1] // STRIDE

    def to_dict(self):
        """Plain JSON values."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}

    @classmethod
    def from_dict(cls, data, where="shape"):
        """From `to_dict`, or the "backbone" of a converted published file; InputError for what makes no network."""
        if not isinstance(data, dict):
            raise InputError("the shape of the 2D network is no table", where)
        if "heads" in data:  # `checkpoints.convert`
            heads = data["heads"] if isinstance(data["heads"], dict) else {}
            data = {"depth": data.get("depth"), "joints": heads.get("heatmap")}
        if unknown := sorted(data.keys() - {f.name for f in fields(cls)}):
            raise InputError(f"unknown sizes of the 2D network: {', '.join(map(str, unknown))}", where)
        data = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        shape, numbers = cls(**data), ("width", "deconv")
        ok = shape.joints in SKELETONS and shape.depth in BLOCKS and isinstance(shape.skips, bool)
        ok = ok and all(type(getattr(shape, k)) is int and getattr(shape, k) > 0 for k in numbers)
        ok = ok and isinstance(shape.box_unit, (int, float)) and shape.box_unit > 0 and isinstance(shape.init_std, (float, type(None)))
        ok = ok and isinstance(shape.picture, tuple) and len(shape.picture) == 2
        if not ok or not all(type(n) is int and n > 0 and n % 32 == 0 for n in shape.picture):
            raise InputError(f"{data} makes no 2D network", where, "15 or 17 joints, ResNet-18, 50 or 152, a picture of multiples of 32")
        return shape


class Maps(ResNet):
    """`ResNet` whose transposed convolutions also see, with `skips`, the layers of the resolution that they have reached."""

    def __init__(self, shape, generator=None):
        s = shape
        super().__init__(s.depth, 3, {"heatmap": s.joints, "box": 4}, s.width, s.deconv, init_std=s.init_std, generator=generator)
        self.lateral = None
        if s.skips:
            channels = [(s.width << i) * (4 if s.depth > 34 else 1) for i in (2, 1, 0)]  # of layers 3, 2, 1
            self.lateral = nn.ModuleList(nn.Conv2d(c, s.deconv, 1) for c in channels)
            initialise(self.lateral, s.init_std, (), generator).to(memory_format=torch.channels_last)

    def maps(self, x):
        """(B, 3, H, W) -> (B, deconv, H/4, W/4)."""
        if self.lateral is None:
            return super().maps(x)
        if any(n % self.multiple for n in x.shape[-2:]):
            raise InputError(f"a size of {tuple(x.shape[-2:])} is no multiple of {self.multiple}", "Backbone", "pad the picture")
        x, seen = self.pool(relu(self.bn1(self.conv1(x)), inplace=True)), []
        for layer in (self.layer1, self.layer2, self.layer3):
            x = layer(x)
            seen.append(x)
        x = self.layer4(x)
        for k, lateral in enumerate(self.lateral):  # each step up is a convolution, its batch-norm and a ReLU
            x = self.deconv[3 * k + 1](self.deconv[3 * k](x))
            x = relu(x + lateral(seen.pop()), inplace=True)
        return x


class Backbone(nn.Module):
    """The 2D network of a `Shape`;  generator: of the first weights."""

    def __init__(self, shape=None, generator=None):
        super().__init__()
        self.shape = shape or Shape()
        self.net = Maps(self.shape, generator)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, images):
        """Raw maps of images (B, 3, H, W) in [0, 1], RGB: {"heatmap": (B, J, H/4, W/4), "box": (B, 4, H/4, W/4) map px}."""
        return self._scaled(self.net(self._normal(images)))

    @torch.no_grad()
    def agr(self, images, flip=False):
        """AGR of images (B, 3, H, W) in [0, 1] as the second stage takes it: heatmaps in [0, 1], box_map map px, >= 0.

        flip: mean with the mirrored picture's (published for heatmaps; here for the boxes as well).  InputError for another size.
        """
        if tuple(images.shape[:0:-1]) != (*self.shape.picture, 3):
            raise InputError(f"pictures of shape {tuple(images.shape)}", "Backbone", f"(B, 3, H, W) of {self.shape.picture} px")
        x = self._normal(images)
        out = self._scaled(flip_test(self.net, x, SKELETONS[self.shape.joints].flip_order) if flip else self.net(x))
        return out["heatmap"].clamp(0, 1), out["box"].clamp(min=0)

    def _normal(self, images):
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def _scaled(self, out):
        return {"heatmap": out["heatmap"], "box": out["box"] * self.shape.box_unit}

    def load_imagenet(self, path):
        """Put torchvision's ImageNet weights of a ResNet (.pth or .safetensors) into the trunk; the file's classifier is left out.

        InputError: no such file, damaged, weights of another network, not of this depth or width.
        """
        found = {k: t for k, t in read_weights(path).items() if not k.startswith("fc.")}
        wanted = {k: t for k, t in self.net.state_dict().items() if k.startswith(LAYERS)}
        counters = {k for k in wanted if k.endswith("num_batches_tracked")}  # older files have none
        if unknown := sorted(found.keys() - wanted):
            raise InputError(f"{len(unknown)} unknown weights, {unknown[0]} among them", path, "a torchvision ResNet is asked for")
        if missing := sorted(wanted.keys() - counters - found.keys()):
            hint = f"this network is a ResNet-{self.shape.depth}"
            raise InputError(f"{len(missing)} weights are missing, {missing[0]} among them", path, hint)
        for k, t in found.items():
            if t.shape != wanted[k].shape:
                hint = f"this network is a ResNet-{self.shape.depth} of width {self.shape.width}"
                raise InputError(f"{k} has shape {tuple(t.shape)}, not {tuple(wanted[k].shape)}", path, hint)
            if not t.isfinite().all():
                raise InputError(f"{k} has numbers that are not finite", path)
        self.net.load_state_dict(found, strict=False)
        return self


def read_weights(path):
    """Name -> tensor of a .safetensors file, or of a .pth file, opened without running its code; InputError."""
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on odd pickles: they end below
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # whatever a damaged or hostile file makes them raise
        raise InputError(f"damaged, or no file of weights alone ({' '.join(str(e).split())[:100]})", path) from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not state or not all(isinstance(k, str) and isinstance(t, torch.Tensor) for k, t in state.items()):
        raise InputError("not a dict of named weights", path)
    return state
