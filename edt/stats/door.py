"""The one door for arrays of statistics: taken at their meaning, or refused with a hint.

Columns of tables come in as they are, for tables are where outcomes stand; two columns whose
indices differ do not, because rows would be paired that do not belong together. A missing outcome
is neither a success nor a failure, and a comparison with NaN is False: neither is counted as one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edt.array_checks import plain

__all__ = ["counts", "groups", "numbers", "same_rows", "wins"]

Floats = npt.NDArray[np.float64]


def numbers(name: str, value: Any, *, nan: bool = False) -> Floats:
    """float64 of any shape.

    Args:
        name: of the argument.
        value: numbers or bools: an array, a column, a tensor, or nested lists.
        nan: whether NaN is among what is meant.

    Raises:
        TypeError: no real numbers, or more than plain ones (see `edt.array_checks`).
        ValueError: NaN.
    """
    data = _array(name, value)
    if data.size and data.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, got {_said(data)}")
    found = data.astype(np.float64)
    if not nan and bool(np.isnan(found).any()):
        raise ValueError(
            f"{name} must not hold NaN, got {int(np.isnan(found).sum())} of {found.size}; leave "
            "those out"
        )
    return found


def wins(name: str, value: Any) -> npt.NDArray[np.bool_]:
    """bool ``[n]`` of yes-or-no outcomes; 0 and 1 stand for no and yes.

    Raises:
        TypeError, ValueError: as `numbers`, and for what is neither; a shape that is not ``[n]``.
    """
    data = numbers(name, value)
    if data.ndim != 1 or not bool(((data == 0.0) | (data == 1.0)).all()):
        raise ValueError(
            f"{name} must hold yes or no, one a network, got {data.tolist()!r:.60}, shape "
            f"{list(data.shape)}"
        )
    yes: npt.NDArray[np.bool_] = data == 1.0
    return yes


def counts(name: str, value: Any) -> npt.NDArray[np.int64]:
    """int64 ``[k]``, at least 0.

    Raises:
        TypeError: no integers, or more than plain numbers. ValueError: below 0.
    """
    data = _array(name, value)
    if data.size and data.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got {_said(data)}")
    if data.size and int(data.min()) < 0:
        raise ValueError(f"{name} must hold integers >= 0, got {int(data.min())}")
    return data.astype(np.int64)


def groups(name: str, value: Any, n: int) -> npt.NDArray[np.generic]:
    """``[n]`` labels, what belongs together; None: all do.

    Raises:
        TypeError: more than plain labels. ValueError: another length, or a missing label, which
            equals no other one.
    """
    if value is None:
        return np.zeros(n, dtype=np.int64)
    data = _array(name, value)
    if data.shape != (n,):
        raise ValueError(f"{name} must have a label a row, [{n}], got shape {list(data.shape)}")
    if bool((data != data).any()) or (data.dtype == object and any(one is None for one in data)):
        raise ValueError(f"{name} must have a label a row; some are missing")
    return data


def same_rows(**arrays: Any) -> None:
    """Insist that columns of tables have one index: they are read row by row.

    Raises:
        ValueError: they do not.
    """
    columns = [(name, value.index) for name, value in arrays.items() if _column(value)]
    for name, index in columns[1:]:
        if not index.equals(columns[0][1]):
            raise ValueError(
                f"{columns[0][0]} and {name} must have the same index, row by row; bring them into "
                "one order, or use .to_numpy() where it is one"
            )


def _column(value: Any) -> bool:
    return hasattr(value, "to_numpy") and hasattr(value, "index")


def _array(name: str, value: Any) -> npt.NDArray[Any]:
    if hasattr(value, "to_numpy"):
        value = value.to_numpy()
    plain(name, value)
    if isinstance(value, torch.Tensor):
        return value.cpu().numpy()
    if isinstance(value, (list, tuple)):
        for one in value:
            plain(name, one)
            if one is None:
                raise TypeError(f"{name} must hold numbers, got None")
    return np.asarray(value)


def _said(data: npt.NDArray[Any]) -> str:
    return f"dtype {data.dtype}" + ("" if data.ndim else f", {data.item()!r:.40}")
