"""Blocks of parameters: what a network's flat vector is made of, by name, shape and role."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["ROLES", "Block"]

#: What a block is to pruning, directions and files. "buffer": values that training keeps but does
#: not learn (running statistics).
ROLES = ("weight", "bias", "norm", "embedding", "other", "buffer")


@dataclass(frozen=True)
class Block:
    """One tensor of a network and where it lies in the network's part of the flat vector.

    Attributes:
        name: as in ``named_parameters()``, or "0.weight", "0.bias", ... of a chain.
        shape: of the tensor.
        role: one of `ROLES`. Only "weight" blocks are pruned by default.
        start: of its first entry, counted from the network's own first parameter.
    """

    name: str
    shape: tuple[int, ...]
    role: str
    start: int

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        """One past its last entry."""
        return self.start + self.size

    @property
    def span(self) -> slice:
        """Its place in the network's part of the flat vector."""
        return slice(self.start, self.stop)

    @property
    def filters(self) -> int:
        """Groups of entries that belong to one output unit or channel (the first axis)."""
        return self.shape[0] if len(self.shape) > 1 else 1
