"""Layers that many networks can go through at once, in the core or as batched products.

A network is a list of them in topological order; each takes in what one layer before it gives, or
the network's inputs, and an `Add` what two give. In a chain that is always the layer just before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from edt.ensemble.blocks import Block

__all__ = ["INPUTS", "POOLING", "Add", "Gain", "Layer", "Shortcut", "field", "known", "pair"]

#: The source of a layer that takes in the network's inputs.
INPUTS = -1
#: Functions of each number by itself: the layer is called as it is.
ELEMENTWISE: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.SiLU,
    nn.Identity,
)  # fmt: skip
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


class Gain:
    """One parameter (the layer's weight) times all numbers, such as SkipInit's."""


@dataclass(frozen=True)
class Shortcut:
    """The first channels of an image, subsampled, among channels of zeros.

    Attributes:
        kept: channels; None: all.
        ahead, behind: channels of zeros.
        rows, columns: every so-manieth is there.
    """

    kept: int | None
    ahead: int
    behind: int
    rows: int
    columns: int

    def after(self, shape: Sequence[int]) -> tuple[int, int, int] | None:
        """The shape that comes out; None: what comes in is no image with these channels."""
        if len(shape) != 3 or shape[0] < self.channels(shape):
            return None
        channels = self.ahead + self.channels(shape) + self.behind
        return channels, -(-shape[1] // self.rows), -(-shape[2] // self.columns)

    def channels(self, shape: Sequence[int]) -> int:
        """Channels that are kept."""
        return shape[0] if self.kept is None else self.kept


@dataclass(frozen=True)
class Add:
    """The sum of what two layers give.

    Attributes:
        other: the second one, or `INPUTS`.
    """

    other: int


@dataclass(frozen=True)
class Layer:
    """One layer, and where its weight and bias lie in a network's flat vector.

    Attributes:
        module: what it does.
        source: number of the layer that it takes in, or `INPUTS`.
    """

    module: nn.Module | Gain | Shortcut | Add
    source: int
    weight: Block | None = None
    bias: Block | None = None


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """Of rows and columns."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def field(module: Any, sides: Sequence[int]) -> tuple[int, int]:
    """What one number of a pooled image is made of."""
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return sides[0], sides[1]
    return pair(module.kernel_size)


def known(module: Any) -> bool:
    """Whether what is computed of a layer here is what the module would."""
    if type(module) is nn.Conv2d:
        return (
            module.dilation == (1, 1)
            and module.groups == 1
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )
    if type(module) is nn.MaxPool2d:
        kernel = pair(module.kernel_size)
        return (
            pair(module.stride) == kernel
            and pair(module.padding) == (0, 0)
            and pair(module.dilation) == (1, 1)
            and not module.ceil_mode
            and not module.return_indices
        )
    if type(module) is nn.AvgPool2d:
        return (
            pair(module.stride) == pair(module.kernel_size)
            and pair(module.padding) == (0, 0)
            and not module.ceil_mode
            and module.divisor_override is None
        )
    if type(module) is nn.AdaptiveAvgPool2d:
        return module.output_size in (1, (1, 1))
    if type(module) is nn.Flatten:
        return bool(module.start_dim == 1 and module.end_dim == -1)
    if type(module) in ELEMENTWISE:
        return not getattr(module, "inplace", False)
    return type(module) is nn.Linear
