"""Between the flat vector of all parameters and the coordinates of some networks.

A coordinate is a trainable parameter. Code that works on many ragged networks at once keeps the
coordinates of the networks in hand in one *packed* vector, network after network, and uses
elementwise operations and sums over segments only: both give a network the same bits whatever
stands beside it (a matrix product would not).
"""

from __future__ import annotations

import numpy as np
import torch

from edt.errors import ShapeError
from edt.objectives.protocol import Objective

__all__ = ["Coordinates", "repeated", "segment_max", "segment_sum"]


def repeated(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Each of the values as often as its length says, ``[b] -> [sum of lengths]``.

    `torch.repeat_interleave` wakes all threads for this, which costs milliseconds on busy cores.
    """
    return torch.from_numpy(np.repeat(values.numpy(), lengths.numpy()))


def segment_sum(values: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Sum of each consecutive segment, ``[n] -> [segments]``, added in order."""
    return _reduced(values, sizes, "sum")


def segment_max(values: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Largest entry, or 0 if all are negative, of each consecutive segment (NaN spreads)."""
    return _reduced(values, sizes, "max")


def _reduced(values: torch.Tensor, sizes: torch.Tensor, how: str) -> torch.Tensor:
    if values.numel() == 0:
        return values.new_zeros(sizes.numel())
    each = values.numel() // max(sizes.numel(), 1)
    even = how == "max" and values.dim() == 1 and each * sizes.numel() == values.numel()
    if even and bool((sizes == each).all()):
        # Rows of a matrix: the same number, and many times as fast.
        return values.view(-1, each).amax(1).clamp_min(0.0)
    try:
        out: torch.Tensor = torch.segment_reduce(values, how, lengths=sizes, initial=0.0)
    except RuntimeError as error:
        raise ShapeError(
            "sizes must be int64 and add up to the length of values, got "
            f"{sizes.dtype} {list(sizes.shape)} and {list(values.shape)}"
        ) from error
    return out


class Coordinates:
    """Packed coordinates of chosen networks.

    Args:
        objective: whose networks.
        chosen: int64 ``[b]``, ascending network numbers.

    Attributes:
        chosen: as given.
        sizes: int64 ``[b]``, coordinates of each.
        starts: int64 ``[b + 1]``, where each begins in the packed vector.
        places: int64 ``[n]``, position of each packed entry in the flat vector.
        owner: int64 ``[n]``, which of the chosen networks (0..b-1) an entry belongs to.
        active: uint8 ``[B]``, the chosen networks for `Objective` calls.
    """

    def __init__(self, objective: Objective, chosen: torch.Tensor) -> None:
        self.chosen = chosen
        self.sizes = objective.coords[chosen]
        self.starts = torch.zeros(chosen.numel() + 1, dtype=torch.int64)
        self.starts[1:] = torch.cumsum(self.sizes, 0)
        self.active = torch.zeros(objective.B, dtype=torch.uint8)
        self.active[chosen] = 1
        lengths = objective.offsets[1:] - objective.offsets[:-1]
        wanted = repeated(self.active.bool(), lengths) & objective.trainable
        self.places = torch.nonzero(wanted).flatten()
        self.owner = repeated(torch.arange(chosen.numel()), self.sizes)

    @property
    def count(self) -> int:
        """Entries of a packed vector."""
        return int(self.places.numel())

    def pack(self, flat: torch.Tensor) -> torch.Tensor:
        """``[..., total] -> [..., n]``."""
        return flat[..., self.places]

    def spread(self, per_network: torch.Tensor) -> torch.Tensor:
        """One value per chosen network, ``[b]``, repeated over its coordinates, ``[n]``."""
        return per_network[self.owner]

    def sums(self, packed: torch.Tensor) -> torch.Tensor:
        """Sum over the coordinates of each network, ``[n] -> [b]``."""
        return segment_sum(packed, self.sizes)

    def dots(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Inner product within each network, ``[n], [n] -> [b]``."""
        return segment_sum(left * right, self.sizes)

    def norms(self, packed: torch.Tensor) -> torch.Tensor:
        """Euclidean norm within each network, ``[n] -> [b]``."""
        return torch.sqrt(self.dots(packed, packed))

    def largest(self, packed: torch.Tensor) -> torch.Tensor:
        """Largest magnitude within each network, ``[n] -> [b]``."""
        return segment_max(packed.abs(), self.sizes)

    def part(self, packed: torch.Tensor, k: int) -> torch.Tensor:
        """View of the k-th chosen network's entries."""
        return packed[..., int(self.starts[k]) : int(self.starts[k + 1])]
