"""The optimisers: what each keeps between steps, and its step for losses without a kernel.

The core has the same rules (``csrc/cpu/isa/train.h``, ``csrc/cuda/optimizer.cuh``). Everything that
depends on the optimiser asks this table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["OPTIMIZERS", "Optimizer", "Point"]

#: Coordinates of a step that are moved together.
PIECE = 2**15


@dataclass
class Point:
    """Coordinates at one step; a step changes p, m and v.

    Attributes:
        p, g: parameters and gradient.
        m, v: first and second moment, None where the optimiser has none.
        lr, decay: learning rate and weight decay of each.
        step: steps taken before.
        hyper: constants of the optimiser, see `edt.ops.training.Rule`.
    """

    p: torch.Tensor
    g: torch.Tensor
    m: torch.Tensor | None
    v: torch.Tensor | None
    lr: torch.Tensor
    decay: torch.Tensor
    step: int
    hyper: dict[str, Any]

    def pieces(self) -> Iterator[tuple[slice, Point]]:
        """The same in pieces whose intermediate results stay in a cache; no other bits."""
        n = int(self.p.numel())
        for first in range(0, n, PIECE):
            span = slice(first, first + PIECE)
            p, g, m, v, lr, decay = (
                given if given is None or given.dim() == 0 or given.numel() != n else given[span]
                for given in (self.p, self.g, self.m, self.v, self.lr, self.decay)
            )
            assert p is not None and g is not None and lr is not None and decay is not None
            yield span, Point(p, g, m, v, lr, decay, self.step, self.hyper)

    def take(self, span: slice, piece: Point) -> None:
        """Write what a step made of one of the `pieces` to its place."""
        self.p[span] = piece.p
        for mine, theirs in ((self.m, piece.m), (self.v, piece.v)):
            if mine is not None and theirs is not None:
                mine[span] = theirs


class Optimizer(ABC):
    """One optimiser.

    Attributes:
        core: its name in the core (``csrc/layout/training.h``).
    """

    core: str

    def moments(self, hyper: dict[str, Any]) -> tuple[bool, bool]:
        """Whether it keeps m, and v."""
        return True, True

    @abstractmethod
    def step(self, at: Point) -> None:
        """One update."""


class Sgd(Optimizer):
    """`torch.optim.SGD`: ``b = mu b + (1 - dampening) d`` with ``d = g + w p``; ``p -= h b``."""

    core = "sgd"

    def moments(self, hyper: dict[str, Any]) -> tuple[bool, bool]:
        """m where there is momentum."""
        return hyper["momentum"] != 0.0, False

    def step(self, at: Point) -> None:
        """See `Optimizer`."""
        slope, mu = at.g + at.decay * at.p, at.hyper["momentum"]
        # The buffer may be there for other networks of the ensemble.
        if mu != 0.0 and at.m is not None:
            # The first step fills the buffer with the gradient itself (torch's convention).
            fresh = 1.0 if at.step == 0 else 1.0 - at.hyper["dampening"]
            at.m = mu * at.m + fresh * slope
            slope = slope + mu * at.m if at.hyper["nesterov"] else at.m
        at.p = at.p - at.lr * slope


class Adam(Optimizer):
    """`torch.optim.Adam`.

    Reference: D. P. Kingma, J. Ba, "Adam", ICLR 2015.
    """

    core = "adam"

    def step(self, at: Point) -> None:
        """See `Optimizer`."""
        self._move(at, at.g + at.decay * at.p)

    def _move(self, at: Point, slope: torch.Tensor) -> None:
        assert at.m is not None and at.v is not None
        first, second = at.hyper["beta1"], at.hyper["beta2"]
        at.m = first * at.m + (1.0 - first) * slope
        at.v = second * at.v + (1.0 - second) * slope * slope
        lift = 1.0 - first ** (at.step + 1)
        root = torch.sqrt(at.v) / (1.0 - second ** (at.step + 1)) ** 0.5
        at.p = at.p - at.lr * (at.m / lift / (root + at.hyper["eps"]))


class AdamW(Adam):
    """`torch.optim.AdamW`: Adam with weight decay apart from the gradient.

    Reference: I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    core = "adamw"

    def step(self, at: Point) -> None:
        """See `Optimizer`."""
        at.p = at.p - at.lr * at.decay * at.p
        self._move(at, at.g)


#: By name; "gd" is "sgd" on all samples.
OPTIMIZERS: dict[str, Optimizer] = {
    "gd": Sgd(),
    "sgd": Sgd(),
    "adam": Adam(),
    "adamw": AdamW(),
}
