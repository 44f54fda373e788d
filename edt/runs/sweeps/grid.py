"""The table of a sweep as a grid: one dimension per axis that varies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from edt.runs.sweeps.axes import AXES

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["dataset"]


def dataset(runs: pd.DataFrame) -> xr.Dataset:
    """A table as a dataset: on the grid of its axes where it fills one, else along "row".

    Args:
        runs: table of a sweep, or any other.
    """
    axes = [name for name in AXES if name in runs.columns]
    varying = [name for name in axes if runs[name].nunique() > 1]
    size = int(np.prod([runs[name].nunique() for name in varying])) if varying else 0
    if not varying or size != len(runs) or runs[varying].duplicated().any():
        return runs.rename_axis("row").to_xarray()
    fixed = {name: runs[name].iloc[0] for name in axes if name not in varying}
    table = runs.drop(columns=list(fixed)).set_index(varying)
    return table.to_xarray().assign_attrs({name: _plain(value) for name, value in fixed.items()})


def _plain(value: object) -> object:
    item = value.item() if isinstance(value, np.generic) else value
    return int(item) if isinstance(item, bool) else item
