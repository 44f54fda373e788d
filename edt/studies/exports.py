"""Tables of a finished run for other programs: CSV, Parquet, netCDF."""

from __future__ import annotations

import pandas as pd

from edt.errors import unknown_choice
from edt.files import replace_file
from edt.locations import Folder, Location, place
from edt.runs.store import inside, read_finished_table
from edt.runs.sweeps.grid import dataset
from edt.studies.kinds import KINDS, kind_of

#: Folder of a run's directory for what is exported.
EXPORT = "export"
FORMATS = ("csv", "parquet", "xarray")


def export(directory: Location, to: str, out: Location | None = None) -> list[Folder]:
    """Write every table of a finished run in another format.

    Args:
        directory: of any edt run.
        to: "csv" (numbers with all their digits), "parquet" (copies), or "xarray" (netCDF 3 for
            `xarray.open_dataset`; the runs of a sweep on the grid of their axes).
        out: folder; default ``DIRECTORY/export``.

    Returns:
        The files written.

    Raises:
        DirectoryError: it holds no run of edt.
        CheckpointError: the run is unfinished, or a table is corrupted.
        ValueError: an unknown format.
    """
    if to not in FORMATS:
        raise unknown_choice("to", to, FORMATS)
    folder = place(directory)
    result = KINDS[kind_of(folder)]
    names = result.table_names(result.spec_of(folder))
    tables = {name: read_finished_table(folder, name) for name in names}
    target = folder / EXPORT if out is None else place(out)
    written: list[Folder] = []
    for name, frame in tables.items():
        if to == "parquet":
            file, data = f"{name}.parquet", inside.read(folder, f"{name}.parquet")
        elif to == "csv":
            file = f"{name}.csv"
            data = frame.to_csv(index=False, float_format="%.17g").encode()
        else:
            file, data = f"{name}.nc", _netcdf(frame)
        if out is None:
            inside.write(folder, f"{EXPORT}/{file}", data)
        else:
            replace_file(target / file, data)
        written.append(target / file)
    return written


def _netcdf(frame: pd.DataFrame) -> bytes:
    """netCDF 3 by scipy, which has no integers of 64 bits.

    Those of 32 bits stay integers, up to 2^53 they are floats, which hold them exactly, and beyond
    they are texts of digits: as floats neighbours would become one.
    """
    suited = frame.copy()
    for name in suited.columns:
        column = suited[name]
        if column.dtype == bool:
            suited[name] = column.astype("int8")
        elif column.dtype.kind in "iu":
            most = max(map(abs, map(int, column.tolist())), default=0)
            if most < 2**31:
                suited[name] = column.astype("int32")
            elif most <= 2**53:
                suited[name] = column.astype("float64")
            else:
                suited[name] = column.astype(str).astype(object)
        elif column.dtype.kind != "f":
            suited[name] = column.astype(str).astype(object)
    data = dataset(suited).to_netcdf(engine="scipy")
    return bytes(data)
