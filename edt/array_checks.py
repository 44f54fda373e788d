"""What carries meaning beside its numbers is told from plain arrays, and refused.

A masked entry, a unit, an index, a scale of quantisation, an imaginary part or a graph of
derivatives is not among the numbers an array hands over; taken silently it would be lost, and
networks trained on fill values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["plain"]

#: Subclasses of numpy's array that mean no more than their numbers.
_ARRAYS = (np.ndarray, np.memmap, np.matrix)


def plain(name: str, value: Any, *, grad: bool = False) -> Any:
    """``value`` itself, unless it carries meaning beside its numbers.

    Args:
        name: of the argument.
        value: anything; what is no array passes.
        grad: whether a tensor may require gradients (where the result keeps them).

    Raises:
        TypeError: masked, sparse, quantised, complex or nested arrays, arrays with units or an
            index; or tensors that require gradients; says how to convert.
    """
    # A traced call has been made with these arguments before.
    if torch.compiler.is_compiling():
        return value
    found = _tensor_meaning(value, grad) if isinstance(value, torch.Tensor) else _meaning(value)
    if found is not None:
        what, convert = found
        raise TypeError(f"{name} must hold plain numbers, got {what}; use {convert.format(name)}")
    return value


def _meaning(value: Any) -> tuple[str, str] | None:
    """(what it is, how to convert it) of something that is no tensor, or None."""
    kind = type(value)
    if value is np.ma.masked:
        return "a masked value", "a number in its place"
    if isinstance(value, np.ma.MaskedArray):
        if not np.any(np.ma.getmaskarray(value)):
            return None
        count = int(np.sum(np.ma.getmaskarray(value)))
        return (
            f"a masked array with {count} masked entr{'y' if count == 1 else 'ies'}",
            "{0}.filled(value), or leave those samples out",
        )
    if kind.__module__.split(".")[0] in _BUILT_IN and not isinstance(value, np.ndarray):
        return None
    if hasattr(value, "magnitude") and hasattr(value, "units"):
        return f"a quantity in {value.units}", "{0}.to(unit).magnitude"
    if isinstance(value, np.ndarray):
        if hasattr(value, "unit") or hasattr(value, "units"):
            unit = getattr(value, "unit", None) or getattr(value, "units", None)
            return f"a quantity in {unit}", "{0}.to_value(unit)"
        if np.iscomplexobj(value):
            return "complex numbers", "{0}.real (and {0}.imag)"
        if kind not in _ARRAYS:
            return f"the array type {kind.__name__}", "numpy.asarray({0}) if its numbers are all"
        return None
    if hasattr(value, "toarray"):
        return f"the sparse {kind.__name__}", "{0}.toarray()"
    if hasattr(value, "to_numpy"):
        return f"a {kind.__name__}", "{0}.to_numpy() (order matters, labels are not looked at)"
    return None


_BUILT_IN = {"builtins", "numpy"}


def _tensor_meaning(value: torch.Tensor, grad: bool) -> tuple[str, str] | None:
    kind = type(value)
    if kind.__module__.startswith("torch.masked"):
        return "a masked tensor", "{0}.to_tensor(value), or leave those samples out"
    if value.is_nested:
        return "a nested tensor", "a padded or flat tensor"
    if value.is_quantized:
        return f"a quantised tensor ({value.dtype})", "{0}.dequantize()"
    if value.layout != torch.strided:
        return f"a sparse tensor ({value.layout})", "{0}.to_dense()"
    if value.is_complex():
        return f"complex numbers ({value.dtype})", "{0}.real (and {0}.imag)"
    if value.requires_grad and not grad:
        return "a tensor that requires gradients, which end here", "{0}.detach()"
    if hasattr(value, "unit") or hasattr(value, "units"):
        return f"the tensor type {kind.__name__} with units", "{0}.as_subclass(torch.Tensor)"
    return None
