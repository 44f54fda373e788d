"""What networks are apart from the values of their parameters; shared between ensembles."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from edt.ensemble.layout import Layout
from edt.ensemble.masks import FROZEN, PRUNED, TRAINABLE

__all__ = ["Structure"]


class Structure:
    """Layout, states, activation and ids of B networks, with what follows from them on demand.

    Args:
        layout: widths and offsets.
        state: uint8 ``[total]``, contiguous.
        activation: name.
        ids: int64 ``[B]``.
    """

    def __init__(
        self, layout: Layout, state: torch.Tensor, activation: str, ids: torch.Tensor
    ) -> None:
        self.layout = layout
        self.state = state
        self.activation = activation
        self.ids = ids
        self.table = torch.from_numpy(layout.table)
        self.offsets = torch.from_numpy(layout.offsets)
        self.has_pruned = bool((state == PRUNED).any())

    @cached_property
    def coords(self) -> torch.Tensor:
        """int64 ``[B]``, trainable parameters of each network."""
        trainable = (self.state == TRAINABLE).cpu().numpy().astype(np.int64)
        return torch.from_numpy(np.add.reduceat(trainable, self.layout.offsets[:-1]))

    @cached_property
    def plan(self) -> Any:
        """The compiled structure, `edt._core.Plan`."""
        # Imported here so that ensembles work where the compiled core is missing.
        from edt import _core

        state = self.state.cpu().contiguous()
        return _core.Plan(
            self.table.data_ptr(),
            self.layout.B,
            int(self.layout.table.shape[1]),
            self.layout.has_bias,
            state.data_ptr(),
            self.layout.total,
        )

    def on(self, device: torch.device) -> Structure:
        """The same structure with its states on a device."""
        if device == self.state.device:
            return self
        return Structure(self.layout, self.state.to(device), self.activation, self.ids)

    def describe(self, dtype: torch.dtype) -> str:
        """One line for `repr`."""
        table = self.layout.table
        hidden = [
            _some(sorted({int(h) for h in table[:, layer]}))
            for layer in range(1, table.shape[1] - 1)
        ]
        parts = [
            f"{len(table):,} network{'s' if len(table) > 1 else ''}",
            " -> ".join([str(table[0, 0]), *hidden, str(table[0, -1])]),
            self.activation,
            "biases" if self.layout.has_bias else "no biases",
            str(dtype).removeprefix("torch."),
            f"{self.layout.total:,} parameters",
        ]
        for kind, word in ((PRUNED, "pruned"), (FROZEN, "frozen")):
            share = float((self.state == kind).double().mean())
            if share:
                parts.append(f"{100 * share:.1f}% {word}")
        return f"Ensemble({', '.join(parts)})"

    def __getstate__(self) -> dict[str, Any]:
        # The plan is compiled memory: rebuilt where it is unpickled.
        return {name: value for name, value in self.__dict__.items() if name != "plan"}


def _some(widths: list[int]) -> str:
    if len(widths) == 1:
        return str(widths[0])
    if len(widths) > 8:
        return f"{{{widths[0]}, {widths[1]}, ..., {widths[-1]}}}"
    return f"{{{', '.join(map(str, widths))}}}"
