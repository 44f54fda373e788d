"""Tables as Parquet, written and read whole."""

from __future__ import annotations

import io

import pandas as pd

from edt.files import CheckpointError, replace_file
from edt.places import Folder


def encode_table(frame: pd.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file, without its index."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def write_table(path: Folder, frame: pd.DataFrame) -> None:
    """Write a table as Parquet, whole or not at all."""
    replace_file(path, encode_table(frame))


def read_table(path: Folder) -> pd.DataFrame:
    """Read a Parquet table.

    Raises:
        CheckpointError: missing, truncated or not Parquet; names the file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    return decode_table(path.read_bytes(), path)


def decode_table(data: bytes, path: Folder) -> pd.DataFrame:
    """The table in the bytes of a Parquet file.

    Raises:
        CheckpointError: not Parquet; names the file.
    """
    try:
        return pd.read_parquet(io.BytesIO(data))
    except Exception as error:  # pyarrow has many, and none of them names the file
        raise CheckpointError(
            f"{path}: truncated, corrupted or not Parquet ({type(error).__name__}); "
            "delete it and run again"
        ) from None
