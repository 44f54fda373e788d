"""Sizes of the studies behind the page of claims: full, and small enough for a smoke test."""

from __future__ import annotations

from typing import Any

from edt.studies.crossed.spec import CrossedSpec
from edt.studies.failures.run import FailuresSpec
from edt.studies.index_loss.run import IndexLossSpec
from edt.studies.presets import merged
from edt.studies.subsets.spec import SubsetsSpec

QUICK_SUBSETS: dict[str, Any] = {
    "teachers": 2, "seeds": 6, "widths": (5, 6), "samples": 64, "steps": 1000, "lbfgs_rounds": 2,
    "lbfgs_steps": 300,
}  # fmt: skip
QUICK_CROSSED: dict[str, Any] = {
    "teachers": 2, "candidates": 12, "tickets": 2, "rests": 6, "samples": 64, "steps": 1000,
    "lbfgs_rounds": 2, "lbfgs_steps": 300,
}  # fmt: skip
QUICK_FAILURES: dict[str, Any] = {
    "teachers": 2, "seeds": 6, "widths": (2, 4), "samples": 64, "steps": 800, "lbfgs_rounds": 4,
    "newton_steps": 40, "certify_steps": 120, "each": 1, "escape_steps": 40,
}  # fmt: skip
QUICK_INDEX_LOSS: dict[str, Any] = {
    "teachers": 2, "seeds": 6, "widths": (2, 3), "samples": 64, "stops": (30, 300),
    "newton_steps": 60,
}  # fmt: skip


def subsets_spec(*, quick: bool = False, **changes: Any) -> SubsetsSpec:
    """The spec of ``edt run subsets``; arguments and errors as in `edt.studies.perturb_spec`."""
    return SubsetsSpec.from_dict(merged(QUICK_SUBSETS if quick else {}, changes))


def crossed_spec(*, quick: bool = False, **changes: Any) -> CrossedSpec:
    """The spec of ``edt run crossed``; arguments and errors as in `edt.studies.perturb_spec`."""
    return CrossedSpec.from_dict(merged(QUICK_CROSSED if quick else {}, changes))


def failures_spec(*, quick: bool = False, **changes: Any) -> FailuresSpec:
    """The spec of ``edt run failures``; arguments and errors as in `edt.studies.perturb_spec`."""
    return FailuresSpec.from_dict(merged(QUICK_FAILURES if quick else {}, changes))


def index_loss_spec(*, quick: bool = False, **changes: Any) -> IndexLossSpec:
    """The spec of ``edt run index-loss``; arguments and errors as in `edt.studies.perturb_spec`."""
    return IndexLossSpec.from_dict(merged(QUICK_INDEX_LOSS if quick else {}, changes))
