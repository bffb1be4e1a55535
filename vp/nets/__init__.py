"""Everything learned: the networks of both stages and their checkpoints."""

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def exact(module, x):
    """module(x) in the precision of its weights, also inside autocast: what is read as mm must not be rounded to 8 bits."""
    with torch.autocast(x.device.type, enabled=False):
        return module(x.to(next(module.parameters()).dtype))


def initialise(net, std=1e-3, last=(), generator=None):
    """Fresh weights in place: convolutions N(0, std²), their biases 0, batch-norms 1 and 0 (published_settings 1.2); returns `net`.

    std=None (not in the paper): He's N(0, 2 / fan-in) instead, but N(0, 0.001²) for the convolutions in `last`.
    generator: a CPU torch.Generator, None for torch's own.
    """
    for module in net.modules():
        if isinstance(module, CONVOLUTIONS):
            kernel = module.weight[0, 0].numel()
            fan_in = module.in_channels * kernel // (module.stride[0] ** (module.weight.dim() - 2) if module.transposed else 1)
            spread = 1e-3 if module in last else (2 / fan_in) ** 0.5
            nn.init.normal_(module.weight, std=spread if std is None else std, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    return net
