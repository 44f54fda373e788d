"""Tasks from files of your own: arrays, tensors, or columns of a table, named by their digest."""

from __future__ import annotations

import hashlib
import io
import math
import os
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from edt.errors import unknown_choice
from edt.footer import read_footer
from edt.limits import TooLargeError, insist, read_plain
from edt.ops.losses import LOSSES
from edt.scalars import flag
from edt.tasks.task import Task

#: Endings of files that can be read without running anything that they hold.
ENDINGS = (".npz", ".pt", ".csv", ".parquet")
#: Bytes of memory for a byte of text: "1," is a float, of a table and of an array.
CSV = 20
Names = str | Sequence[str]


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Raises:
        ValueError: there is no such file, or it cannot be read.
    """
    return hashlib.sha256(_bytes(Path(path))).hexdigest()


def check_digest(path: str | os.PathLike[str], wanted: str) -> None:
    """Insist on a file.

    Raises:
        ValueError: there is none, or it has another SHA-256.
    """
    _insist_digest(Path(path), file_digest(path), wanted)


def _insist_digest(path: Path, digest: str, wanted: str) -> None:
    if digest != wanted:
        raise ValueError(
            f"file {str(path)!r} has changed: its SHA-256 is {digest[:16]}..., not {wanted[:16]}..."
        )


def _bytes(path: Path) -> bytes:
    try:
        return read_plain(path)
    except OSError as error:
        raise ValueError(f"file {str(path)!r}: {error.strerror or error}") from None


def from_file(
    file: str | os.PathLike[str],
    *,
    x: Names | None = None,
    y: Names = "y",
    weights: str | None = None,
    loss: str = "mse",
    standardise: bool = False,
    sha256: str | None = None,
) -> Task:
    """A task from a file.

    Args:
        file: ``.npz`` (arrays by name), ``.pt`` (a dictionary of tensors, read with
            ``weights_only``), ``.csv`` or ``.parquet`` (a table with named columns).
        x: name of the inputs ``[N, d_in]``, default "x"; of a table the columns, default all
            others.
        y: name of the targets ``[N, d_out]`` or classes ``[N]``; of a table the column or columns.
        weights: name of sample weights ``[N]``; default equal.
        loss: as of `Task`.
        standardise: inputs, and targets under "mse", get mean 0 and variance 1, column by column.
        sha256: digest that the file must have.

    Returns:
        float64 `Task`, named by the file.

    Raises:
        ValueError: no such file, another kind of file, not the one with this digest, or no such
            array or column. Otherwise as `Task`.

    Example:
        >>> import numpy, tempfile
        >>> file = tempfile.mkdtemp() + "/data.npz"
        >>> numpy.savez(file, x=numpy.ones((3, 2)), y=numpy.arange(3.0)[:, None])
        >>> from_file(file).N
        3
    """
    for what, given, several in (("x", x, True), ("y", y, True), ("weights", weights, False)):
        named = [given] if isinstance(given, str) else given
        whole = (
            isinstance(named, (list, tuple))
            and named
            and all(isinstance(name, str) for name in named)
        )
        if given is not None and not (whole and (several or isinstance(given, str))):
            allowed = "a name or a list of names" if several else "a name"
            raise TypeError(f"{what} must be {allowed}, got {given!r:.60}")
    standardise = flag("standardise", standardise)
    if not isinstance(loss, str) or loss not in LOSSES:
        raise unknown_choice("loss", loss, tuple(LOSSES))
    numbers = not LOSSES[loss].classes
    path = Path(file)
    if path.suffix not in ENDINGS:
        raise unknown_choice("the ending of file", path.suffix, list(ENDINGS))
    data = _bytes(path)
    if sha256 is not None:
        _insist_digest(path, hashlib.sha256(data).hexdigest(), sha256)
    read = _table if path.suffix in (".csv", ".parquet") else _arrays
    try:
        inputs, targets, shares = read(path, data, x, y, weights)
        inputs = inputs.to(torch.float64)
        targets = targets.to(torch.float64 if numbers else torch.int64)
    except TooLargeError:
        raise
    except (AttributeError, BadZipFile, EOFError, LookupError, NotImplementedError, OSError,
            RuntimeError, TypeError, UnpicklingError, ValueError, zlib.error) as error:  # fmt: skip
        words = str(error).partition("\n")[0]
        known = words.startswith(f"file {str(path)!r}")
        raise ValueError(
            words if known else f"file {str(path)!r} cannot be read: {words:.300}"
        ) from None
    if numbers and targets.dim() == 1:
        targets = targets[:, None]
    if standardise:
        inputs = _standard(inputs)
        targets = _standard(targets) if loss == "mse" else targets
    return Task(inputs, targets, loss=loss, weights=shares, name=path.stem)


Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


def _arrays(path: Path, data: bytes, x: Names | None, y: Names, weights: str | None) -> Found:
    held: Any
    with ZipFile(io.BytesIO(data)) as packed:
        sizes = {entry.filename: entry.file_size for entry in packed.infolist()}
        if path.suffix == ".pt":
            # Its entries may be packed, whatever torch.save does.
            insist(f"file {str(path)!r}", 2 * sum(sizes.values()))
            held = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
            if not isinstance(held, dict):
                raise ValueError(f"file {str(path)!r} must hold a dictionary of tensors")
        else:
            names = [name.removesuffix(".npy") for name in sizes]
            held = {name: partial(_array, path, packed, f"{name}.npy") for name in names}

        def one(name: object) -> torch.Tensor:
            if not isinstance(name, str) or name not in held:
                has = sorted(map(str, held))[:20]
                raise ValueError(f"file {str(path)!r} has no array {name!r}; it has {has}")
            found = held[name]
            values = torch.as_tensor(found() if callable(found) else found)
            if values.layout is not torch.strided or values.is_quantized:
                raise ValueError(f"file {str(path)!r}: {name!r} must be an array of plain numbers")
            # One stored number may stand for any shape.
            insist(f"file {str(path)!r}: {name!r}", 3 * 8 * values.numel())
            return values

        return _named(one, x, y, weights)


def _named(
    one: Callable[[object], torch.Tensor], x: Names | None, y: Names, weights: str | None
) -> Found:
    return one("x" if x is None else x), one(y), None if weights is None else one(weights)


def _array(path: Path, packed: ZipFile, name: str) -> np.ndarray[Any, Any]:
    """An array of an ``.npz`` file, whose size is looked at in its header before it is made."""
    with packed.open(name) as file:
        version = np.lib.format.read_magic(file)
        heads = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in heads:
            raise ValueError(f"{name} is of version {version}, which arrays of numbers are not")
        shape, _, dtype = heads[version](file)
        insist(f"file {str(path)!r}: {name}", 3 * max(8, dtype.itemsize) * math.prod(shape))
    with packed.open(name) as file:
        found: np.ndarray[Any, Any] = np.lib.format.read_array(file, allow_pickle=False)
        return found


def _table(path: Path, data: bytes, x: Names | None, y: Names, weights: str | None) -> Found:
    import pandas as pd

    stream = io.BytesIO(data)
    if path.suffix == ".csv":
        insist(f"file {str(path)!r}", CSV * len(data))
        table = pd.read_csv(stream)
    else:
        footer = read_footer(data)
        insist(f"file {str(path)!r}", 24 * footer.rows * len(footer.columns))
        # Texts are not read: a short file may stand for any number of them.
        numeric = [name for name in footer.columns if name not in footer.texts]
        table = pd.read_parquet(stream, columns=numeric)
        table = table.assign(**dict.fromkeys(footer.texts, "text"))
    targets = [y] if isinstance(y, str) else list(y)
    others = {*targets, *([] if weights is None else [weights])}
    chosen = [n for n in table.columns if n not in others] if x is None else (
        [x] if isinstance(x, str) else list(x)
    )  # fmt: skip
    for name in [*chosen, *others]:
        if name not in table.columns:
            raise ValueError(
                f"file {str(path)!r} has no column {name!r}; it has {list(table.columns)[:20]}"
            )
    numbers = table.select_dtypes("number")
    for name in [*chosen, *others]:
        if name not in numbers.columns:
            raise ValueError(f"file {str(path)!r}: column {name!r} must hold numbers")

    def columns(names: list[str]) -> torch.Tensor:
        return torch.from_numpy(table[names].to_numpy(copy=True))

    wanted = columns(targets)
    return (
        columns(chosen),
        wanted[:, 0] if isinstance(y, str) else wanted,
        None if weights is None else columns([weights])[:, 0],
    )


def _standard(values: torch.Tensor) -> torch.Tensor:
    spread = values.std(0, unbiased=False)
    return (values - values.mean(0)) / torch.where(spread > 0, spread, torch.ones_like(spread))
