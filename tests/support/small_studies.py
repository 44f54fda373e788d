"""Specs of studies that take seconds, have two parts at least, and yet something to show."""

from __future__ import annotations

from edt.studies.registry import STUDIES

#: Those behind the page of claims, and what makes each smaller than ``--quick`` does.
CLAIMS = {
    kind: STUDIES[kind].spec(quick=True, **smaller)
    for kind, smaller in {
        "subsets": {"teachers": 1, "seeds": 4, "widths": (5, 6), "steps": 400},
        "crossed": {"teachers": 2, "candidates": 8, "rests": 3, "steps": 400},
        "failures": {"teachers": 1, "seeds": 4, "steps": 400},
        "index-loss": {"teachers": 1, "seeds": 4},
    }.items()
}
