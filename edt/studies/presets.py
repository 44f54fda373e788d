"""The sweeps behind ``edt demo``: full size, and small enough for a smoke test."""

from __future__ import annotations

from typing import Any

from edt.errors import unknown_choice
from edt.studies.controls.spec import ControlsSpec
from edt.studies.lottery.spec import LotterySpec
from edt.studies.multi_start.spec import MultiStartSpec
from edt.studies.perturb_rest.spec import PerturbRestSpec
from edt.studies.width.spec import TASKS, WidthSweepSpec
from edt.studies.xor.run import XorSpec

#: Fields that differ from the defaults, per task. On real data minima of tanh networks lie at
#: infinity (neurons become steps between samples); with `g` many are finite.
FULL: dict[str, dict[str, Any]] = {
    "teacher": {},
    "rosenbrock": {
        "widths": tuple(range(1, 9)),
        "teachers": 1,
        "samples": 441,
        "reference_width": 2,
        "good": 0.02,
        "lbfgs_rounds": 3,
        "split_widths": (2, 3, 4),
        "split_levels": 8,
    },
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
        "certify_steps": 120,
        "split_widths": (2, 3),
        "split_levels": 3,
        "escape_lbfgs_steps": 1000,
        "escape_newton_steps": 30,
    },
    "rosenbrock": {
        "widths": (1, 2, 3, 4, 5),
        "seeds": 8,
        "samples": 121,
        "steps": 1000,
        "lbfgs_rounds": 1,
        "newton_steps": 30,
        "certify_steps": 120,
        "split_widths": (2, 3),
        "split_levels": 3,
        "escape_lbfgs_steps": 1000,
        "escape_newton_steps": 30,
    },
    "diabetes": {
        "widths": (2, 3, 4, 5, 6),
        "seeds": 8,
        "steps": 1000,
        "lbfgs_rounds": 1,
        "newton_steps": 30,
        "certify_steps": 120,
        "split_widths": (2, 3),
        "split_levels": 3,
        "escape_lbfgs_steps": 1000,
        "escape_newton_steps": 30,
    },
}


def demo_spec(task: str = "teacher", *, quick: bool = False, **changes: Any) -> WidthSweepSpec:
    """The spec of ``edt demo``.

    Args:
        task: "teacher", "rosenbrock" or "diabetes".
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


#: What ``--quick`` changes in the experiments on tickets.
QUICK_PERTURB: dict[str, Any] = {
    "teachers": 2,
    "tickets": 4,
    "rests": 10,
    "candidates": 12,
    "random_rests": 5,
    "losers": 2,
    "loser_rests": 5,
    "sizes": (0.5, 1.0),
    "bisections": 3,
    "radii": (1.0,),
    "population": 8,
    "generations": 1,
}


def perturb_spec(*, quick: bool = False, **changes: Any) -> PerturbRestSpec:
    """The spec of ``edt run perturb-rest``.

    Args:
        quick: seconds instead of minutes.
        changes: fields to set; those that are None are left alone.

    Raises:
        ValueError, TypeError: unknown field, or a value out of range.
    """
    return PerturbRestSpec.from_dict(merged(QUICK_PERTURB if quick else {}, changes))


QUICK_MULTI: dict[str, Any] = {"teachers": 2, "seeds": 12, "widths": (4, 8, 12)}


def multi_spec(*, quick: bool = False, **changes: Any) -> MultiStartSpec:
    """The spec of ``edt run multi-start``; arguments and errors as in `perturb_spec`."""
    return MultiStartSpec.from_dict(merged(QUICK_MULTI if quick else {}, changes))


QUICK_LOTTERY: dict[str, Any] = {
    "task": "digits",
    "hidden": (30, 20),
    "seeds": 2,
    "rounds": 3,
    "steps": 200,
    "validate_every": 50,
}


def lottery_spec(*, quick: bool = False, **changes: Any) -> LotterySpec:
    """The spec of ``edt run lottery``; arguments and errors as in `perturb_spec`."""
    return LotterySpec.from_dict(merged(QUICK_LOTTERY if quick else {}, changes))


QUICK_XOR: dict[str, Any] = {"widths": (2, 3, 4, 6), "seeds": 100}


def xor_spec(*, quick: bool = False, **changes: Any) -> XorSpec:
    """The spec of ``edt run xor``; arguments and errors as in `perturb_spec`."""
    return XorSpec.from_dict(merged(QUICK_XOR if quick else {}, changes))


QUICK_CONTROLS: dict[str, Any] = {
    "teachers": 1,
    "widths": (4, 6),
    "seeds": 8,
    "samples": 64,
    "steps": 500,
    "lbfgs_rounds": 1,
    "lbfgs_steps": 250,
    "good": 1e-4,
    "inners": (2,),
    "margins": (4,),
}


def controls_spec(*, quick: bool = False, **changes: Any) -> ControlsSpec:
    """The spec of ``edt run controls``; arguments and errors as in `perturb_spec`."""
    return ControlsSpec.from_dict(merged(QUICK_CONTROLS if quick else {}, changes))


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in changes.items() if value is not None}
    # Without sizes of its own, a kind of change gets sizes that mean something for it.
    if "sizes" not in given and given.get("change") in SIZES:
        given["sizes"] = SIZES[given["change"]]
    return {**values, **given}


#: Sizes of each kind of change, where none are given.
SIZES: dict[str, tuple[float, ...]] = {
    "resample": (0.2, 0.4, 0.6, 0.8, 0.9, 1.0),
    "replace": (0.1, 0.25, 0.5, 0.75, 0.9, 1.0),
    "rescale": (0.0, 0.25, 0.5, 2.0, 4.0, 8.0),
    "flip": (0.1, 0.25, 0.5, 0.75, 0.9, 1.0),
    "permute": (0.1, 0.25, 0.5, 0.75, 0.9, 1.0),
    "zero": (0.1, 0.25, 0.5, 0.75, 0.9, 1.0),
}
