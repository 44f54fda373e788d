"""The specs of ``edt run`` for published results: full size, and small enough for a smoke test."""

from __future__ import annotations

from typing import Any

from edt.studies.loss_levels.run import LossLevelsSpec
from edt.studies.safran_shamir.run import SafranShamirSpec

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


#: What ``--full`` changes: the paper's grid and starts.
FULL_LOSS_LEVELS: dict[str, Any] = {"points": 101, "starts": 50}
QUICK_LOSS_LEVELS: dict[str, Any] = {
    "widths": (1, 2, 3), "starts": 2, "points": 11, "max_time": 1e3, "lbfgs_steps": 200,
    "newton_steps": 30,
}  # fmt: skip


def loss_levels_spec(*, quick: bool = False, full: bool = False, **changes: Any) -> LossLevelsSpec:
    """The spec of ``edt run loss-levels``.

    Args:
        quick: seconds; the numbers are then too few to mean much.
        full: the paper's grid and number of starts: hours.
        changes: fields to set; those that are None are left alone.

    Raises:
        ValueError, TypeError: both quick and full, unknown field, or a value out of range.
    """
    if quick and full:
        raise ValueError("--quick and --full exclude each other")
    values = QUICK_LOSS_LEVELS if quick else FULL_LOSS_LEVELS if full else {}
    return LossLevelsSpec.from_dict(merged(values, changes))


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``values``, overruled by those of ``changes`` that are not None."""
    return {**values, **{name: value for name, value in changes.items() if value is not None}}
