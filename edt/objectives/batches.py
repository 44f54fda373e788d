"""Samples that are evaluated together, and the module's mode while they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["Batch", "evaluation"]


@dataclass(frozen=True)
class Batch:
    """Samples that are evaluated together.

    Attributes:
        content: what ``step`` is given; or (inputs, target).
        share: of the whole data's weight.
        weights: ``[n]``, of the samples, adding up to ``share``; None: alike.
        n: samples.
    """

    content: Any
    share: float
    weights: torch.Tensor | None
    n: int

    @property
    def each(self) -> torch.Tensor:
        """The samples' weights, float64 ``[n]``."""
        if self.weights is None:
            return torch.full((self.n,), self.share / self.n, dtype=torch.float64)
        return self.weights.double()


@contextmanager
def evaluation(module: torch.nn.Module, mode: str) -> Iterator[None]:
    """The module in a mode, with attention that can be differentiated twice; as before after."""
    modes = {part: part.training for part in module.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        torch.backends.mha.set_fastpath_enabled(False)
        module.train(mode == "train")
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for part, training in modes.items():
                part.training = training
