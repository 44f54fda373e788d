"""The specs of ``edt run`` for published results: full size, and small enough for a smoke test."""

from __future__ import annotations

from typing import Any

from edt.experiments.safran_shamir import SafranShamirSpec

#: What ``--quick`` changes.
QUICK_SAFRAN_SHAMIR: dict[str, Any] = {"teachers": (6, 8, 10), "extra": (0, 1), "starts": 60}


def safran_shamir_spec(*, quick: bool = False, **changes: Any) -> SafranShamirSpec:
    """The spec of ``edt run safran-shamir``.

    Args:
        quick: seconds; the numbers are then too few to mean much.
        changes: fields to set; those that are None are left alone.

    Raises:
        ValueError, TypeError: unknown field, or a value out of range.
    """
    return SafranShamirSpec.from_dict(merged(QUICK_SAFRAN_SHAMIR if quick else {}, changes))


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``values``, overruled by those of ``changes`` that are not None."""
    return {**values, **{name: value for name, value in changes.items() if value is not None}}
