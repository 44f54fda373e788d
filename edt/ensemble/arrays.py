"""The one door for numbers from outside: plain arrays come in, whatever means more is refused.

Every argument that is an array goes through `as_tensor`, `reals` or `integers`, which take numbers
at their meaning or say how to convert them (`edt.array_checks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.dlpack import from_dlpack

from edt.array_checks import plain

__all__ = ["as_tensor", "integers", "plain", "reals"]

_BOOLS = (bool, np.bool_)
_WHOLE = (int, np.integer)
_REAL = (*_WHOLE, float, np.floating)


def as_tensor(name: str, value: Any, *, grad: bool = False) -> torch.Tensor:
    """A tensor of the values of a tensor or of an array of any library that speaks DLPack.

    It may share their memory: to be copied before it is kept or changed.

    Args:
        name, value, grad: as in `plain`.

    Raises:
        TypeError: neither, values that torch has no dtype for, or more than plain numbers.
    """
    plain(name, value, grad=grad)
    if isinstance(value, torch.Tensor):
        # A view that stands for -x has the memory of x.
        return value.resolve_neg()
    if not hasattr(value, "__dlpack__"):
        raise TypeError(f"{name} must be a tensor or an array, got {type(value).__name__}")
    try:
        if isinstance(value, np.ndarray):
            # A copy: not every array can be shared with torch (read-only, negative strides,
            # the other order of bytes).
            return torch.from_numpy(
                np.array(np.asarray(value), dtype=value.dtype.newbyteorder("="), order="C")
            )
        shared: torch.Tensor = plain(name, from_dlpack(value))
        return shared
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        raise TypeError(f"{name} must hold numbers torch can read: {error}") from None


def reals(name: str, value: Any) -> torch.Tensor:
    """float64 on the CPU, from a number, a tensor, an array, or nested lists of them.

    Raises:
        TypeError: anything else, bools among it, or more than plain numbers.
    """
    if isinstance(value, (list, tuple, range)):
        return torch.from_numpy(_nested(name, value, _REAL, np.float64, "numbers"))
    if isinstance(value, _REAL) and not isinstance(value, _BOOLS):
        # The dtype is named at once: a float would pass through float32 otherwise.
        return torch.tensor(float(value), dtype=torch.float64)
    given = as_tensor(name, value)
    if given.dtype == torch.bool:
        raise TypeError(f"{name} must hold numbers, got dtype {given.dtype}")
    return given.to("cpu", torch.float64)


def integers(name: str, value: Any) -> torch.Tensor:
    """int64 on the CPU, from an integer, a tensor, an array, or nested lists of them.

    Raises:
        TypeError: anything else, floats and bools among it, or more than plain numbers.
        ValueError: an integer beyond int64.
    """
    if isinstance(value, (list, tuple, range)):
        return torch.from_numpy(_nested(name, value, _WHOLE, np.int64, "integers"))
    if isinstance(value, _WHOLE) and not isinstance(value, _BOOLS):
        return torch.from_numpy(_nested(name, [value], _WHOLE, np.int64, "integers"))[0]
    if not isinstance(value, torch.Tensor) and not hasattr(value, "__dlpack__"):
        plain(name, value)
        raise TypeError(f"{name} must hold integers, got {value!r:.60}")
    given = as_tensor(name, value)
    if given.is_floating_point() or given.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got dtype {given.dtype}")
    if given.dtype == torch.uint64 and given.numel():
        return torch.from_numpy(_nested(name, given.tolist(), _WHOLE, np.int64, "integers"))
    return given.to("cpu", torch.int64)


def _nested(
    name: str, value: Sequence[Any], kinds: tuple[type, ...], dtype: Any, words: str
) -> np.ndarray[Any, Any]:
    """An array from nested lists whose leaves are numbers of these kinds."""

    def leaf(item: Any) -> Any:
        if isinstance(item, (list, tuple, range)):
            return [leaf(one) for one in item]
        if isinstance(item, kinds) and not isinstance(item, _BOOLS):
            return item
        if isinstance(item, (torch.Tensor, np.ndarray)):
            return leaf(as_tensor(name, item).tolist())
        plain(name, item)
        raise TypeError(f"{name} must hold {words}, got {item!r:.60}")

    leaves = leaf(value)
    try:
        return np.array(leaves, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold {words}: {error}") from None
    except OverflowError:
        raise ValueError(f"{name} must hold integers of 64 bits, got {value!r:.60}") from None
