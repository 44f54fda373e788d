"""Results as tables: what every result class offers to pandas, numpy and xarray.

pandas and xarray are imported when first asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Tabular", "card", "per_network", "with_ends"]

Array = npt.NDArray[Any]


class Tabular(ABC):
    """A result that is a table first: `to_pandas` makes it, the other two follow."""

    @abstractmethod
    def to_pandas(self) -> pd.DataFrame:
        """The result as a table."""

    def to_numpy(self) -> dict[str, Array]:
        """The columns of `to_pandas` by name, each an array of its own.

        Text becomes fixed-width strings, whole numbers with gaps become float64 with NaN in the
        gaps: ``np.savez(path, **result.to_numpy())`` needs no pickle.
        """
        frame = self.to_pandas()
        return {str(name): _array(frame[name]) for name in frame.columns}

    def _repr_html_(self) -> str:
        """What notebooks show: what it is, and the first rows of its table."""
        table = self.to_pandas()
        rows = [
            {str(name): value for name, value in row.items()}
            for row in table.head(12).to_dict("records")
        ]
        return card(repr(self), rows, len(table))

    def to_xarray(self) -> xr.Dataset:
        """The columns of `to_pandas` along its first one ("network", say)."""
        import xarray as xr

        (axis, index), *rest = self.to_numpy().items()
        return xr.Dataset({name: (axis, array) for name, array in rest}, coords={axis: index})


def card(title: str, rows: Sequence[Mapping[str, Any]], count: int | None = None) -> str:
    """What notebooks show: a title, and a small table under it.

    Args:
        title: plain text.
        rows: columns to values, the same columns in each; at most twelve are shown.
        count: rows there are, where not all are given.
    """
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0]) if rows else ""
    lines = [
        "".join(f"<td>{escape(str(value))}</td>" for value in row.values()) for row in rows[:12]
    ]
    total = len(rows) if count is None else count
    if total > 12:
        lines.append(f"<td colspan={len(rows[0])}>... {total:,} in all</td>")
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<p><b>{escape(title)}</b></p><table><tr>{head}</tr>{body}</table>"


def per_network(result: object, *names: str) -> pd.DataFrame:
    """A table with one row a network from a result's attributes, tensors ``[B]``."""
    import pandas as pd

    columns = {name: getattr(result, name).tolist() for name in names}
    return pd.DataFrame({"network": range(len(columns[names[0]])), **columns})


def with_ends(
    history: xr.Dataset,
    numbers: Mapping[str, torch.Tensor],
    words: Mapping[str, Sequence[str]],
) -> xr.Dataset:
    """A history over "network" with each network's last values beside it.

    Args:
        history: over "network" and something else.
        numbers: tensors ``[B]``, called ``final_NAME``.
        words: B words each, under their own names.
    """
    ends: dict[str, Any] = {
        f"final_{name}": ("network", values.cpu().numpy()) for name, values in numbers.items()
    }
    texts = {name: ("network", np.array(list(values))) for name, values in words.items()}
    return history.assign(ends | texts)


def _array(column: pd.Series[Any]) -> Array:
    from pandas.api import types

    kind, gaps = column.dtype, bool(column.isna().any())
    if types.is_bool_dtype(kind) and not gaps:
        return np.array(column.tolist(), dtype=np.bool_)
    if types.is_integer_dtype(kind) and not gaps:
        unsigned = types.is_unsigned_integer_dtype(kind)
        return np.array(column.tolist(), dtype=np.uint64 if unsigned else np.int64)
    if types.is_numeric_dtype(kind):
        return column.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    return np.array(column.astype(str).tolist(), dtype=np.str_)
