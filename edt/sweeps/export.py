"""Tables of a finished run for other programs: CSV, Parquet, netCDF."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from edt.errors import unknown_choice
from edt.files import replace_file
from edt.sweeps.axes import AXES

if TYPE_CHECKING:
    import xarray as xr

FORMATS = ("csv", "parquet", "xarray")


def export(
    directory: str | os.PathLike[str], to: str, out: str | os.PathLike[str] | None = None
) -> list[Path]:
    """Write every table of a finished run in another format.

    Args:
        directory: of any edt run; its ``*.parquet`` tables are exported.
        to: "csv" (numbers with all their digits), "parquet" (copies), or "xarray" (netCDF 3 for
            `xarray.open_dataset`; the runs of a sweep on the grid of their axes).
        out: folder; default ``DIRECTORY/export``.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: no tables are there: the run is unfinished, or it is no run.
        ValueError: an unknown format.
    """
    if to not in FORMATS:
        raise unknown_choice("to", to, FORMATS)
    folder = Path(directory)
    tables = sorted(folder.glob("*.parquet"))
    if not tables:
        raise FileNotFoundError(
            2, "no tables: not an edt run, or unfinished (see 'edt status')", str(folder)
        )
    target = folder / "export" if out is None else Path(out)
    written = []
    for table in tables:
        if to == "parquet":
            path, data = target / table.name, table.read_bytes()
        else:
            frame = pd.read_parquet(table)
            if to == "csv":
                path = target / f"{table.stem}.csv"
                data = frame.to_csv(index=False, float_format="%.17g").encode()
            else:
                path, data = target / f"{table.stem}.nc", _netcdf(frame)
        replace_file(path, data)
        written.append(path)
    return written


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


def _netcdf(frame: pd.DataFrame) -> bytes:
    """netCDF 3 by scipy: no 64-bit integers, so those that need them are floats."""
    suited = frame.copy()
    for name in suited.columns:
        column = suited[name]
        if column.dtype == bool:
            suited[name] = column.astype("int8")
        elif column.dtype.kind in "iu":
            small = bool(column.abs().max() < 2**31) if len(column) else True
            suited[name] = column.astype("int32" if small else "float64")
        elif column.dtype.kind != "f":
            suited[name] = column.astype(str).astype(object)
    data = dataset(suited).to_netcdf(engine="scipy")
    return bytes(data)


def _plain(value: object) -> object:
    item = value.item() if isinstance(value, np.generic) else value
    return int(item) if isinstance(item, bool) else item
