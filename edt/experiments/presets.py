"""The sweeps behind ``edt demo``: full size, and small enough for a smoke test."""

from __future__ import annotations

from typing import Any

from edt.errors import unknown_choice
from edt.experiments.spec import TASKS, WidthSweepSpec

#: Fields that differ from the defaults, per task. On real data minima of tanh networks lie at
#: infinity (neurons become steps between samples); with `g` many are finite.
FULL: dict[str, dict[str, Any]] = {
    "teacher": {},
    "diabetes": {
        "widths": tuple(range(2, 11)),
        "teachers": 1,
        "activation": "g",
        "good": 0.02,
        "lbfgs_rounds": 3,
        "split_widths": (2, 3, 4),
        "split_levels": 8,
    },
}
#: What ``--quick`` changes on top.
QUICK: dict[str, dict[str, Any]] = {
    "teacher": {
        "widths": (2, 3, 4, 5, 6, 8),
        "seeds": 12,
        "teachers": 2,
        "samples": 128,
        "steps": 1000,
        "lbfgs_rounds": 5,
        "newton_steps": 30,
        "split_widths": (2, 3),
        "split_levels": 3,
    },
    "diabetes": {
        "widths": (2, 3, 4, 5, 6),
        "seeds": 8,
        "steps": 1000,
        "lbfgs_rounds": 1,
        "newton_steps": 30,
        "split_widths": (2, 3),
        "split_levels": 3,
    },
}


def demo_spec(task: str = "teacher", *, quick: bool = False, **changes: Any) -> WidthSweepSpec:
    """The spec of ``edt demo``.

    Args:
        task: "teacher" or "diabetes".
        quick: seconds instead of minutes; the numbers are then too few to mean much.
        changes: fields to set; those that are None are left alone.

    Raises:
        ValueError, TypeError: unknown task or field, or a value out of range.
    """
    if task not in TASKS:
        raise unknown_choice("task", task, list(TASKS))
    values = {**FULL[task], **(QUICK[task] if quick else {})}
    values |= {name: value for name, value in changes.items() if value is not None}
    return WidthSweepSpec.from_dict({"task": task, **values})
