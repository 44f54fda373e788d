"""How networks of torch modules start, so that any of them (or a part) can be drawn again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from edt.ensemble import ModuleEnsemble
from edt.ensemble.architecture import read_module
from edt.ensemble.philox import draws
from edt.errors import ShapeError
from edt.lottery.random_numbers import BUILD_STREAM

__all__ = ["ModuleRecipe"]


@dataclass(frozen=True)
class ModuleRecipe:
    """The initialisation of a builder, for what `edt.lottery.Recipe` is for chains.

    Controls and changed rests take either recipe. A fresh draw is the builder's own, norms and
    running statistics included, at a seed that is a function of (seed, id).

    Attributes:
        builder: ``(width, seed) -> module``, as in `edt.ModuleEnsemble.build`.
        input_shape: of one sample.

    Example:
        >>> from functools import partial
        >>> recipe = ModuleRecipe(partial(edt.nets.lenet5, shape=(1, 8, 8)), (1, 8, 8))
        >>> recipe.start([0.25], range(2))
        ModuleEnsemble(2 networks, Sequential, float32, 2,954 parameters)
    """

    builder: Callable[[Any, int], nn.Module]
    input_shape: Sequence[int] | None = None

    def start(self, widths: Any, seeds: Any, **options: Any) -> ModuleEnsemble:
        """New networks, as `edt.ModuleEnsemble.build` makes them."""
        return ModuleEnsemble.build(
            self.builder, widths, seeds, input_shape=self.input_shape, **options
        )

    def redraw(self, ens: ModuleEnsemble, seed: int, ids: torch.Tensor) -> torch.Tensor:
        """Fresh initial parameters for networks of these widths.

        Args:
            ens: B networks whose ``labels`` are widths of the builder.
            seed: key, 0..2**64 - 1.
            ids: int64 ``[B]``; network b gets the numbers of the pair (seed, ids[b]), whatever the
                others.

        Returns:
            ``[total]``, the ensemble's dtype, on the CPU.

        Raises:
            ShapeError: the builder makes other modules of these widths.
        """
        keys = np.full(ens.B, seed, dtype=np.uint64)
        names = ids.numpy().astype(np.uint64)
        seeds = draws(keys, names, BUILD_STREAM, np.ones(ens.B, dtype=np.int64)).tolist()
        parts = []
        for b, (width, key) in enumerate(zip(ens.labels, seeds, strict=True)):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(key)
                read = read_module(f"builder({width!r})", self.builder(width, key))
            if read.architecture.signature != ens.architecture(b).signature:
                raise ShapeError(
                    f"builder({width!r}) must make a module like network {b}'s, got "
                    f"{read.architecture!r} for {ens.architecture(b)!r}"
                )
            parts.append(read.theta)
        return torch.cat(parts).to(ens.dtype)
