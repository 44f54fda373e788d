"""Tables as Parquet, written and read whole."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from typing import Any

import pandas as pd

from edt.files import CheckpointError
from edt.footer import read_footer
from edt.limits import refusal
from edt.locations import Folder
from edt.runs.store import inside

#: What `encode_table` compresses with: by 21 at the most, so that what a page unpacks to is bounded
#: by the file's size. gzip takes 1,000 bytes to one and zstd 10,000.
CODECS = ("snappy", "none")
UNPACKED = 22
#: Tables of Arrow that are put together at a time: each by itself takes kilobytes beside its rows.
BATCH = 1_000
#: Bytes of a value in memory, as Arrow and then as pandas hold it.
VALUE = 16
#: Bytes of a text in memory beside its characters: pandas may make it an object of Python.
TEXT = 80


def encode_table(frame: pd.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file, without its index."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="snappy")
    return buffer.getvalue()


def read_table(folder: Folder, name: str, expected: str | None = None) -> pd.DataFrame:
    """Read a Parquet table of a run.

    Args:
        folder: directory of the run.
        name: of the file in it.
        expected: its SHA-256; None: any.

    Raises:
        CheckpointError: missing, truncated, not Parquet, not the bytes expected, or more than
            fits in memory; names the file.
    """
    path = folder / name
    try:
        data = inside.read(folder, name)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path}: no such file") from None
    except inside.DirectoryError as error:
        raise CheckpointError(str(error)) from None
    if expected is not None and expected != sha256(data):
        raise CheckpointError(
            f"{path}: corrupted (its checksum is not the one that was noted when it was written); "
            "'edt resume' makes it again"
        )
    try:
        reason, table = _decode(data)
        frame = None if table is None else _frame(table)
    except Exception as error:  # pyarrow has many, and none of them names the file
        raise CheckpointError(
            f"{path}: truncated, corrupted or not Parquet ({type(error).__name__}); "
            "delete it and run again"
        ) from None
    if frame is None:
        raise CheckpointError(f"{path}: {reason}")
    return frame


def stacked(files: Iterable[bytes | None]) -> tuple[pd.DataFrame, list[int]] | None:
    """Tables with the same columns, one below the other, and the rows of each.

    Args:
        files: Parquet, as `encode_table` makes them.

    Returns:
        what `pandas.concat` makes of the tables; None where one is missing, empty, has other
        columns, or is not taken apart.
    """
    import pyarrow as pa

    done: list[pa.Table] = []
    batch: list[pa.Table] = []
    rows: list[int] = []
    for data in files:
        try:
            table = None if data is None else _decode(data)[1]
        except Exception:  # `read_table` says which, and why
            return None
        if table is None or not table.num_rows:
            return None
        if not rows:
            schema = table.schema
            if any(pa.types.is_dictionary(kind) or pa.types.is_null(kind) for kind in schema.types):
                return None
        if not table.schema.equals(schema, check_metadata=True):
            return None
        rows.append(table.num_rows)
        batch.append(table)
        if len(batch) == BATCH:
            done, batch = [*done, pa.concat_tables(batch).combine_chunks()], []
    if not rows:
        return None
    return _frame(pa.concat_tables([*done, *batch]).combine_chunks()), rows


def _frame(table: Any) -> pd.DataFrame:
    """As `pandas.read_parquet` makes it."""
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _decode(data: bytes) -> tuple[str, Any]:
    """A table of Arrow, or why it is not taken apart.

    A few bytes of Parquet can stand for any number of rows, so these are counted before they are
    made: in the footer, which is what the reader itself goes by.
    """
    import pyarrow as pa
    from pyarrow import parquet

    footer = read_footer(data)
    strange = footer.codecs - set(CODECS)
    if strange:
        return f"compressed with {min(strange)}, which edt does not write", None
    texts = footer.texts
    reason = refusal(footer.rows * (VALUE * len(footer.columns) + TEXT * len(texts)))
    if reason is not None:
        return f"{footer.rows:,} rows of {len(footer.columns)} columns: it {reason}", None
    # One long text repeated is short in a file: looked at as a dictionary first, unless no text
    # can be so long.
    if texts and refusal(UNPACKED * len(data) * footer.rows * len(texts)) is not None:
        # Without Arrow's threads, which now and then abort a process that ends soon after.
        with parquet.ParquetFile(io.BytesIO(data), read_dictionary=texts, pre_buffer=False) as file:
            words = file.read(columns=texts, use_threads=False)
        if words.column_names != texts:
            return "names of its columns make no sense", None
        reason = refusal(sum(_characters(words[name]) for name in texts))
        if reason is not None:
            return f"its texts: it {reason}", None
    with parquet.ParquetFile(pa.BufferReader(data), pre_buffer=False) as file:
        return "", file.read(use_threads=False)


def _characters(column: Any) -> int:
    """Bytes that a column of texts has when every row has its own, at most."""
    import pyarrow as pa
    from pyarrow import compute

    total = 0
    for chunk in column.chunks:
        words = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
        longest = compute.max(compute.binary_length(words)).as_py() or 0
        total += longest * len(chunk)
    return total


def sha256(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()
