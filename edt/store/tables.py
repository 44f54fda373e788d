"""Tables as Parquet, written and read whole."""

from __future__ import annotations

import hashlib
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


def read_table(path: Folder, expected: str | None = None) -> pd.DataFrame:
    """Read a Parquet table.

    Args:
        path: of the file.
        expected: its SHA-256; None: any.

    Raises:
        CheckpointError: missing, truncated, not Parquet or not the bytes expected; names the file.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise CheckpointError(f"{path}: no such file") from None
    if expected is not None and expected != sha256(data):
        raise CheckpointError(
            f"{path}: corrupted (its checksum is not the one that was noted when it was written); "
            "'edt resume' makes it again"
        )
    try:
        return pd.read_parquet(io.BytesIO(data))
    except Exception as error:  # pyarrow has many, and none of them names the file
        raise CheckpointError(
            f"{path}: truncated, corrupted or not Parquet ({type(error).__name__}); "
            "delete it and run again"
        ) from None


def sha256(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()
