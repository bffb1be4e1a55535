"""Files of weights: safetensors with JSON `facts` in the header, and the import of published checkpoints (`vp convert`).

A file holds tensors and facts, never code: the weights of the second stage under the names of `VirtualPose` ("ren.", "pen."), those of a
2D network, if there is one, under "backbone." and the names of `ResNet`.
"""

import json
import re
import warnings
from pathlib import Path

import torch
from torch import nn

from vp.atomic import write_atomic
from vp.errors import InputError
from vp.nets.resnet import BLOCKS, ResNet
from vp.nets.v2v import V2V
from vp.published_nets import UNUSED, our_name

FORMAT = "virtualpose-notebooks 1"  # name of the one entry in the header, which holds the facts
DE_CHANNELS = 9  # of the published depth net: joints without elbows, wrists, ankles (published_settings 1.2)
SPACE_CENTRE = {15: (0.0, -500.0, 800.0), 17: (0.0, 0.0, 1100.0)}  # mm, REN space of the Panoptic and of the MuCo model (1.1)

# ---- our files -----------------------------------------------------------------------------------------------------------------------


def save(path, weights, facts):
    """Write weights (a module, or a dict of name -> tensor) and facts (a dict fit for JSON, no NaN) to `path`, whole or not at all.

    The same weights and facts make the same bytes.
    """
    from safetensors.torch import save as serialise

    path = Path(path)
    tensors = weights.state_dict() if isinstance(weights, nn.Module) else weights
    tensors = {k: t.detach().to("cpu", copy=True, memory_format=torch.contiguous_format) for k, t in tensors.items()}
    header = {FORMAT: json.dumps(facts, allow_nan=False, sort_keys=True)}  # one entry: several come in any order
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, serialise(tensors, header))


def load(path, section="", device="cpu"):
    """Weights (dict of name -> tensor) and facts of a file of ours.

    section: only the names that begin with it, and these without it; "" means all names that are not in the section "backbone.".
    InputError for a file that is missing, damaged, not ours, or has nothing there.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", path)
    try:
        with safe_open(path, "pt", device=str(device)) as f:
            header = f.metadata() or {}
            if FORMAT not in header:
                raise InputError(f"no header entry {FORMAT!r}", path, "made by another program or version")
            facts = json.loads(header[FORMAT])
            if not isinstance(facts, dict):
                raise ValueError("facts are no dict")
            names = [k for k in f.keys() if (k.startswith(section) if section else not k.startswith("backbone."))]  # noqa: SIM118
            tensors = {k.removeprefix(section): f.get_tensor(k) for k in names}
    except InputError:
        raise
    except (SafetensorError, ValueError, RecursionError) as e:
        raise InputError(f"damaged, or no safetensors file ({str(e)[:100]})", path, "published checkpoints: see `vp convert`") from None
    if not tensors:
        raise InputError(f"no weights named {section}*" if section else "no weights of a second stage", path)
    return tensors, facts


def fill(module, tensors, where=None):
    """Put weights (dict of name -> tensor) into a module, which is returned; InputError (at `where`) unless names and shapes agree."""
    _compare({k: t.shape for k, t in tensors.items()}, {k: t.shape for k, t in module.state_dict().items()}, where)
    module.load_state_dict(tensors)
    return module


def _compare(found, wanted, where):
    """InputError unless two dicts name -> shape are equal."""
    if left := sorted(found.keys() - wanted):
        raise InputError(f"{len(left)} unknown weights, {left[0]} among them", where, "it belongs to another network")
    if missing := sorted(wanted.keys() - found):
        raise InputError(f"{len(missing)} weights are missing, {missing[0]} among them", where, "it belongs to another network")
    for k, shape in wanted.items():
        if tuple(found[k]) != tuple(shape):
            raise InputError(f"{k} has shape {tuple(found[k])}, not {tuple(shape)}", where, "it belongs to a network of other size")


# ---- published files -----------------------------------------------------------------------------------------------------------------


def convert(source, out):
    """Turn a published checkpoint (15 or 17 joints; both stages, the second, or a backbone) into a file of ours; returns its facts.

    facts: "sections", "joints"; "sizes", for `Sizes.from_dict` (joints, and the space of the data set); "backbone", the arguments of
    `ResNet`; "dropped", names of weights that nothing uses (Q24).  A published second stage comes with an untrained backbone, and the
    other way round, which the file does not tell (1.3).  InputError for anything else; no code of the file is run.
    """
    tensors = _read_published(source)
    sections = sorted({k.split(".")[0] for k in tensors} & {"backbone", "ren", "pen"})
    if sections not in (["backbone"], ["pen", "ren"], ["backbone", "pen", "ren"]):
        raise InputError("neither a published model nor its backbone", source, "expected weights named backbone.*, REN.*, PEN.*")
    joints = _channels(tensors, "pen.net.output.bias" if "pen" in sections else "backbone.heads.heatmap.bias")
    if joints not in SPACE_CENTRE:
        raise InputError(f"a model of {joints} joints", source, "the published ones have 15 or 17")
    heads, nets, facts = {"heatmap": joints, "box": 4, "depth": 1}, {}, {"source": "published", "sections": sections, "joints": joints}
    with torch.device("meta"):  # shapes alone
        if "pen" in sections:
            nets["ren.de"] = ResNet(18, DE_CHANNELS, heads, keep_scale=True)
            nets["ren.net"], nets["pen.net"] = V2V(joints, 1), V2V(joints, joints)
            facts["sizes"] = {"joints": joints, "space_centre": SPACE_CENTRE[joints]}
        if "backbone" in sections:
            depth = _depth(tensors)
            nets["backbone"], facts["backbone"] = ResNet(depth, heads=heads), {"depth": depth, "heads": heads}
    wanted = {f"{part}.{k}": t for part, net in nets.items() for k, t in net.state_dict().items()}
    _compare({k: t.shape for k, t in tensors.items()}, {k: t.shape for k, t in wanted.items()}, source)
    facts["dropped"] = sorted(k for k in tensors if k.startswith(UNUSED))
    tensors = {k: t.to(wanted[k].dtype) for k, t in tensors.items() if not k.startswith(UNUSED)}
    if broken := [k for k, t in tensors.items() if not t.isfinite().all()]:
        raise InputError(f"{broken[0]} has numbers that are not finite", source)
    save(out, tensors, facts)
    return facts


def _read_published(source):
    """Our name -> tensor, of a pickled state dict (or a dict with one under "state_dict"), opened without running its code."""
    if not Path(source).is_file():
        raise InputError("no such file", source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on odd pickles: they end below
            state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as e:  # torch and pickle raise whatever a hostile or damaged file makes them raise
        reason = " ".join(str(e).split())[:100]
        raise InputError(f"damaged, or not a file of weights alone ({reason})", source, "it is not opened") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not state or not all(isinstance(k, str) and _is_plain(t) for k, t in state.items()):
        raise InputError("not a dict of named weights", source)
    if all(k.startswith("module.") for k in state):  # DataParallel
        state = {k.removeprefix("module."): t for k, t in state.items()}
    if "conv1.weight" in state:  # a backbone alone
        state = {f"backbone.{k}": t for k, t in state.items()}
    named = {our_name(k): t for k, t in state.items()}
    if len(named) < len(state):
        raise InputError("two weights of the same name", source)
    return named


def _is_plain(t):
    return isinstance(t, torch.Tensor) and t.layout == torch.strided and t.device.type == "cpu" and not (t.is_quantized or t.is_complex())


def _channels(tensors, key):
    """Length of a bias, 0 if there is none of that name."""
    return len(tensors[key]) if key in tensors and tensors[key].dim() else 0


def _depth(tensors):
    """Depth of the backbone by the number of blocks in its third layer; 152 (and an error to come) if none fits."""
    blocks = {m[1] for k in tensors if (m := re.match(r"backbone\.layer3\.(\d+)\.", k))}
    return next((depth for depth, n in BLOCKS.items() if n[2] == len(blocks)), 152)
