"""The weights of the golden vectors: every tensor is made from its published name alone (golden README, section 0)."""

import json
import zlib

import numpy as np
import torch

from vp.published_nets import UNUSED, our_name


def tensor(key, shape, override=None):
    """The tensor of a published name; override: ("scale", x) or ("const", x)."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    n = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_mean"):
        n = 0.1 * n
    elif key.endswith("running_var"):
        n = 1 + 0.1 * abs(n)
    elif key.endswith("bias"):
        n = 0.05 * n
    elif len(shape) == 1:
        n = 1 + 0.1 * n
    else:
        n = n * np.sqrt(1 / np.prod(shape[1:]))
    how, x = override or ("scale", 1.0)
    return torch.from_numpy(np.asarray(n * x if how == "scale" else np.full(shape, x), np.float32))


def published_keys(shared, model="panoptic15_resnet152", prefix=""):
    """Names and shapes of a published model that begin with `prefix`, without it; model: a key of state_dict_keys.json."""
    keys = json.loads((shared / "golden" / "state_dict_keys.json").read_text())[model]
    return {k.removeprefix(prefix): tuple(shape) for k, shape in keys.items() if k.startswith(prefix)}


def overrides(shared, name):
    """Changes to the recipe for a golden file: published name -> override."""
    return json.loads((shared / "golden" / "weight_overrides.json").read_text()).get(name, {})


def fill(module, keys, changes=None):
    """Load the recipe's weights into a module of ours, strictly; keys: published names and shapes; returns the module in eval mode.

    A published shape counts only by its name: a head for 17 joints takes the module's own.
    """
    shapes = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    state = {our_name(k): tensor(k, shapes[our_name(k)], (changes or {}).get(k)) for k in keys if our_name(k) in shapes}
    left = [k for k in keys if our_name(k) not in shapes and not our_name(k).startswith((*UNUSED, "heads."))]
    assert not left, left[:5]
    module.load_state_dict(state)
    return module.eval()
