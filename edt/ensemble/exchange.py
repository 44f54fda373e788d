"""Ensembles as the tables and arrays of other libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from edt.ensemble.masks import FROZEN, PRUNED, emptied
from edt.ensemble.structure import Structure

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Exchange"]

_WORDS = np.array(["pruned", "trainable", "frozen"])


class Exchange:
    """What an `edt.Ensemble` offers to numpy, pandas and xarray."""

    theta: torch.Tensor
    _structure: Structure

    @property
    def layers_cut(self) -> torch.Tensor:
        """int64 ``[B]``, layers that pruning has left without a weight."""
        layout = self._structure.layout
        return emptied(self._structure.state, layout.weight_at, layout.bias_at)

    def to_numpy(self) -> dict[str, npt.NDArray[Any]]:
        """The ensemble as plain arrays.

        On the CPU they share memory with the ensemble: writing to ``theta`` changes its
        parameters; the others are read-only. The constructor takes ``theta``, ``state`` and
        ``ids`` back.

        Returns:
            ``theta`` ``[total]``, ``state`` uint8 ``[total]``, ``layer_widths`` int64
            ``[B, D + 2]``, ``ids`` int64 ``[B]``, ``offsets`` int64 ``[B + 1]``.

        Example:
            >>> ens = Ensemble.init([2, 3], d_in=4, d_out=1)
            >>> arrays = ens.to_numpy()
            >>> arrays["theta"][:] = 0.5
            >>> float(ens.theta.sum())
            16.0
        """
        fixed = self._structure
        tensors = {
            "theta": self.theta.detach(),
            "state": fixed.state,
            "layer_widths": fixed.table,
            "ids": fixed.ids,
            "offsets": fixed.offsets,
        }
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        for name in arrays.keys() - {"theta"}:
            arrays[name].flags.writeable = False
        return arrays

    def to_pandas(self) -> pd.DataFrame:
        """One row a network: network, id, widths, parameters, coords, pruned, frozen, layers_cut.

        Counts; the last are layers that pruning has left without a weight.
        """
        import pandas as pd

        fixed, layout = self._structure, self._structure.layout
        state, starts = fixed.state.cpu().numpy(), layout.offsets[:-1]
        counts = {
            word: np.add.reduceat((state == kind).astype(np.int64), starts)
            for word, kind in (("pruned", PRUNED), ("frozen", FROZEN))
        }
        return pd.DataFrame(
            {
                "network": np.arange(layout.B),
                "id": fixed.ids.numpy(),
                "widths": width_column(
                    ["x".join(map(str, row)) for row in layout.table[:, 1:-1].tolist()]
                ),
                "parameters": np.diff(layout.offsets),
                "coords": fixed.coords.numpy(),
                **counts,
                "layers_cut": self.layers_cut.numpy(),
            }
        )

    def to_xarray(self) -> xr.Dataset:
        """Every parameter with its place: ``theta`` and ``state`` along "parameter".

        The coordinates are ``network``, ``layer`` (0..D), ``out`` (neuron of the layer) and ``in``
        (neuron below; -1 for a bias): ``data.theta.where(data.layer == 0)``,
        ``data.groupby("network")``. A copy.
        """
        import xarray as xr

        places = self._structure.layout.entries()
        return xr.Dataset(
            {
                "theta": ("parameter", self.theta.detach().cpu().numpy().copy()),
                "state": ("parameter", _WORDS[self._structure.state.cpu().numpy()]),
            },
            coords={name: ("parameter", array) for name, array in places.items()},
        )


def width_column(names: list[str]) -> list[int] | list[str]:
    """Widths of a table: numbers where all are.

    Example:
        >>> from edt.ensemble.exchange import width_column
        >>> width_column(["16", "2"]), width_column(["16", "4x4"])
        ([16, 2], ['16', '4x4'])
    """
    return [int(name) for name in names] if all(map(str.isdecimal, names)) else names
