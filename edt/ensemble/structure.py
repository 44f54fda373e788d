"""What networks are apart from the values of their parameters; shared between ensembles."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edt.ensemble.layout import Layout
from edt.ensemble.masks import FROZEN, PRUNED, TRAINABLE
from edt.errors import ChangedError

__all__ = ["Structure", "counted"]


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
        self._layout = layout
        self._state = counted(state)
        self.activation = activation
        self._ids = counted(ids)
        self._table = counted(torch.from_numpy(layout.table))
        self._offsets = counted(torch.from_numpy(layout.offsets))
        self.has_pruned = bool((state == PRUNED).any())
        trainable = (state == TRAINABLE).cpu().numpy().astype(np.int64)
        #: int64 ``[B]``, trainable parameters of each network.
        self._coords = counted(torch.from_numpy(np.add.reduceat(trainable, layout.offsets[:-1])))
        self._seen = self._versions()

    def _versions(self) -> tuple[int, ...]:
        # Written out: every property comes here.
        return (
            self._state._version,
            self._ids._version,
            self._table._version,
            self._offsets._version,
            self._coords._version,
        )

    def _fixed(self) -> Structure:
        """Itself, unless one of its tensors was changed under what was made from it.

        Raises:
            ChangedError: one was.
        """
        if not torch.compiler.is_compiling() and self._versions() != self._seen:
            raise ChangedError(
                "the structure of an ensemble (state, layer_widths, offsets, coords, network_ids) "
                "was changed in place; it is shared and fixed: with_state, with_masks and "
                "with_frozen make new ensembles"
            )
        return self

    def parts(self) -> tuple[Layout, torch.Tensor, torch.Tensor]:
        """Layout, state and table at once: looking at each for changes is much of a small call."""
        self._fixed()
        return self._layout, self._state, self._table

    @property
    def layout(self) -> Layout:
        """Offsets of all weights and biases."""
        return self._fixed()._layout

    @property
    def state(self) -> torch.Tensor:
        """uint8 ``[total]``."""
        return self._fixed()._state

    @property
    def ids(self) -> torch.Tensor:
        """int64 ``[B]``."""
        return self._fixed()._ids

    @property
    def table(self) -> torch.Tensor:
        """int64 ``[B, D + 2]``, widths."""
        return self._fixed()._table

    @property
    def offsets(self) -> torch.Tensor:
        """int64 ``[B + 1]``."""
        return self._fixed()._offsets

    @property
    def coords(self) -> torch.Tensor:
        """int64 ``[B]``, trainable parameters of each network."""
        return self._fixed()._coords

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
        self._fixed()
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._seen = self._versions()


def counted(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, or a copy that counts its changes if it is one of inference mode."""
    if torch.compiler.is_compiling() or not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()


def _some(widths: list[int]) -> str:
    if len(widths) == 1:
        return str(widths[0])
    if len(widths) > 8:
        return f"{{{widths[0]}, {widths[1]}, ..., {widths[-1]}}}"
    return f"{{{', '.join(map(str, widths))}}}"
