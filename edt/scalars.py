"""Checks of single numbers: each message names the argument, what it must be, and what it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["flag", "index", "integer", "number"]

_BOOLS = (bool, np.bool_)
_WHOLE = (int, np.integer)


def integer(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Return ``value`` as an int in ``least..most``.

    Raises:
        TypeError: not an integer. ValueError: out of range.
    """
    allowed = f">= {least}" if most is None else f"in {_said(least)}..{_said(most)}"
    if isinstance(value, _BOOLS) or not isinstance(value, _WHOLE):
        raise TypeError(f"{name} must be an integer {allowed}, got {value!r:.60}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name} must be {allowed}, got {value!s:.40}")
    return int(value)


def _said(bound: int) -> str:
    """A bound in words: those of machine integers as powers."""
    power = (bound if bound < 0 else bound + 1).bit_length() - 1
    if power < 32 or abs(bound if bound < 0 else bound + 1) != 2**power:
        return str(bound)
    return f"-2**{power}" if bound < 0 else f"2**{power}-1"


def number(
    name: str,
    value: Any,
    least: float = 0.0,
    below: float = math.inf,
    *,
    strict: bool = False,
) -> float:
    """Return ``value`` as a finite float in ``[least, below)`` (``(least, below)`` if strict).

    Raises:
        TypeError: not a number. ValueError: outside the range or not finite.
    """
    bound = f"{'>' if strict else '>='} {least:g}" + (
        f" and < {below:g}" if below < math.inf else ""
    )
    if isinstance(value, _BOOLS) or not isinstance(value, (*_WHOLE, float, np.floating)):
        raise TypeError(f"{name} must be a number {bound}, got {value!r:.60}")
    try:
        out = float(value)
    except OverflowError:  # an integer of hundreds of digits
        out = math.inf
    low = out > least if strict else out >= least
    if not (math.isfinite(out) and low and out < below):
        raise ValueError(f"{name} must be a finite number {bound}, got {value!s:.40}")
    return out


def flag(name: str, value: Any) -> bool:
    """Return ``value`` as a bool.

    Raises:
        TypeError: not a bool.
    """
    if not isinstance(value, _BOOLS):
        raise TypeError(f"{name} must be True or False, got {value!r:.60}")
    return bool(value)


def index(name: str, value: Any, count: int) -> int:
    """Return ``value`` as a place in ``0..count - 1``.

    Raises:
        TypeError: not an integer. IndexError: out of range.
    """
    if isinstance(value, _BOOLS) or not isinstance(value, _WHOLE):
        raise TypeError(f"{name} must be an integer in 0..{count - 1}, got {value!r:.60}")
    if not 0 <= value < count:
        raise IndexError(f"{name} must be in 0..{count - 1}, got {value!s:.40}")
    return int(value)
