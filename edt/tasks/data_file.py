"""Tasks from files of your own: arrays, tensors, or columns of a table, named by their digest."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from edt.errors import unknown_choice
from edt.tasks.task import Task

#: Endings of files that can be read without running anything that they hold.
ENDINGS = (".npz", ".pt", ".csv", ".parquet")
Names = str | Sequence[str]


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Raises:
        ValueError: there is no such file, or it cannot be read.
    """
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
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
    path = Path(file)
    if path.suffix not in ENDINGS:
        raise unknown_choice("the ending of file", path.suffix, list(ENDINGS))
    digest = file_digest(path)
    if sha256 is not None and digest != sha256:
        raise ValueError(
            f"file {str(path)!r} has changed: its SHA-256 is {digest[:16]}..., not {sha256[:16]}..."
        )
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"file {str(path)!r} changes while it is read")
    try:
        found = _table(path, data, x, y, weights) if path.suffix in (".csv", ".parquet") else (
            _arrays(path, data, x, y, weights)
        )  # fmt: skip
    except (
        BadZipFile,
        EOFError,
        KeyError,
        OSError,
        RuntimeError,
        TypeError,
        UnpicklingError,
    ) as error:
        raise ValueError(f"file {str(path)!r} cannot be read: {error}") from None
    inputs, targets, shares = found
    inputs = inputs.to(torch.float64)
    targets = targets.to(torch.float64 if loss == "mse" else torch.int64)
    if loss == "mse" and targets.dim() == 1:
        targets = targets[:, None]
    if standardise:
        inputs = _standard(inputs)
        targets = _standard(targets) if loss == "mse" else targets
    return Task(inputs, targets, loss=loss, weights=shares, name=path.stem)


Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


def _arrays(path: Path, data: bytes, x: Names | None, y: Names, weights: str | None) -> Found:
    held: Any
    if path.suffix == ".pt":
        held = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    else:
        held = np.load(io.BytesIO(data), allow_pickle=False)

    def one(name: object) -> torch.Tensor:
        if not isinstance(name, str) or name not in held:
            raise ValueError(f"file {str(path)!r} has no array {name!r}; it has {sorted(held)}")
        return torch.as_tensor(held[name])

    return one("x" if x is None else x), one(y), None if weights is None else one(weights)


def _table(path: Path, data: bytes, x: Names | None, y: Names, weights: str | None) -> Found:
    import pandas as pd

    stream = io.BytesIO(data)
    table = pd.read_csv(stream) if path.suffix == ".csv" else pd.read_parquet(stream)
    targets = [y] if isinstance(y, str) else list(y)
    others = {*targets, *([] if weights is None else [weights])}
    chosen = [n for n in table.columns if n not in others] if x is None else (
        [x] if isinstance(x, str) else list(x)
    )  # fmt: skip
    for name in [*chosen, *others]:
        if name not in table.columns:
            raise ValueError(
                f"file {str(path)!r} has no column {name!r}; it has {list(table.columns)}"
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
