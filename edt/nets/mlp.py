"""Fully connected networks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from edt.nets.common import glorot, he, scaled, seeded

__all__ = ["lenet300", "residual_mlp"]


def lenet300(
    width: float = 1.0,
    seed: int | None = None,
    *,
    shape: Sequence[int] = (1, 28, 28),
    classes: int = 10,
) -> nn.Module:
    """LeNet-300-100: two hidden layers of 300 and 100 relu units, Glorot normal.

    Args:
        width: factor on 300 and 100.
        seed: see `edt.nets`.
        shape: of a sample; flattened.
        classes: outputs.

    Reference: J. Frankle, M. Carbin, "The lottery ticket hypothesis", ICLR 2019.
    """
    inputs = 1
    for size in shape:
        inputs *= int(size)
    sizes = [inputs, *scaled((300, 100), width), classes]
    layers: list[nn.Module] = [nn.Flatten()]
    with seeded(seed):
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        return glorot(nn.Sequential(*layers[:-1]))


class _Block(nn.Module):
    """``h + scale W_2 relu(W_1 h)``."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        #: SkipInit: the block starts as the identity.
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = self.down(torch.relu(self.up(h)))
        return h + self.scale * moved


def residual_mlp(
    width: float = 1.0,
    seed: int | None = None,
    *,
    d_in: int = 2,
    d_out: int = 1,
    blocks: int = 2,
    hidden: int = 32,
) -> nn.Module:
    """A linear layer, residual blocks of one hidden layer that start as the identity, a readout.

    Args:
        width: factor on ``hidden``, the size of the stream and of the blocks' hidden layers.
        seed: see `edt.nets`.
        d_in, d_out: inputs, outputs.
        blocks: residual blocks.
        hidden: size at width 1.

    Reference: S. De, S. Smith, "Batch normalization biases residual blocks towards the identity
    function in deep networks", NeurIPS 2020 (SkipInit).
    """
    (size,) = scaled((hidden,), width)
    with seeded(seed):
        parts = [("inputs", nn.Linear(d_in, size))]
        named: list[tuple[str, nn.Module]] = list(parts)
        named += [(f"block{k}", _Block(size, size)) for k in range(blocks)]
        named += [("act", nn.ReLU()), ("readout", nn.Linear(size, d_out))]
        return he(nn.Sequential(OrderedDict(named)))
