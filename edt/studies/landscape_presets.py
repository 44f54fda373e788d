"""The specs of ``edt run census`` and ``edt run escape``: full size, and small."""

from __future__ import annotations

from typing import Any

from edt.errors import unknown_choice
from edt.studies.census.run import CensusSpec
from edt.studies.escape.spec import EscapeSpec
from edt.studies.width.spec import TASKS

#: What ``--task`` takes: names of `edt.studies.width.spec.TASKS`, and what the other commands call
#: the first of them.
ALIASES = {"teacher-student": "teacher"}
#: On real data minima of tanh networks lie at infinity (neurons become steps between samples);
#: with `g` many are finite. Good is relative to the best loss of width r or less.
DIABETES: dict[str, Any] = {
    "teachers": 1,
    "activation": "g",
    "good": 0.02,
    "lr": 0.01,
    "steps": 3000,
    "lbfgs_rounds": 12,
}
QUICK: dict[str, Any] = {
    "seeds": 10,
    "teachers": 2,
    "samples": 128,
    "steps": 1000,
    "lbfgs_rounds": 8,
    "newton_steps": 40,
    "certify_steps": 120,
}
QUICK_ESCAPE: dict[str, Any] = {
    "widths": (2, 3, 4),
    "seeds": 6,
    "minima": 1,
    "add": (1, 3),
    "shares": ("positive",),
    "random": 1,
    "descent_steps": 1000,
    "escape_lbfgs_steps": 1000,
    "escape_newton_steps": 30,
    "path_widths": (4, 8),
    "path_seeds": 2,
    "path_steps": 2000,
}


def census_spec(
    task: str = "teacher-student", *, quick: bool = False, **changes: Any
) -> CensusSpec:
    """The spec of ``edt run census``.

    Args:
        task: "teacher-student" (or "teacher") or "diabetes".
        quick: seconds instead of minutes.
        changes: fields to set; those that are None are left alone.

    Raises:
        ValueError, TypeError: unknown task or field, or a value out of range.
    """
    more: dict[str, Any] = {}
    if _name(task) == "diabetes":
        more = {"widths": (2, 3, 4, 5, 6, 7, 8), **DIABETES}
    if quick:
        more |= {"widths": (2, 3, 4, 5, 6, 8)}
    return CensusSpec.from_dict(_values(task, quick, more, changes))


def escape_spec(
    task: str = "teacher-student", *, quick: bool = False, **changes: Any
) -> EscapeSpec:
    """The spec of ``edt run escape``; arguments and errors as in `census_spec`."""
    more: dict[str, Any] = {}
    if _name(task) == "diabetes":
        more = {"widths": (2, 3, 4), "path_lr": 0.02, **DIABETES}
    if quick:
        more |= QUICK_ESCAPE
    return EscapeSpec.from_dict(_values(task, quick, more, changes))


def _name(task: str) -> str:
    name = ALIASES.get(task, task)
    if name not in TASKS:
        raise unknown_choice("task", task, [*ALIASES, *TASKS])
    return name


def _values(
    task: str, quick: bool, more: dict[str, Any], changes: dict[str, Any]
) -> dict[str, Any]:
    given = {name: value for name, value in changes.items() if value is not None}
    small = QUICK if quick else {}
    values = {"task": _name(task), **small, **more, **given}
    if _name(task) == "diabetes":
        if given.get("teachers", 1) != 1:
            raise ValueError("teachers is for teacher-student: diabetes has one target")
        values["teachers"] = 1
    return values
