"""Curvature: exact Hessians, products with them, spectra, and the index of critical points."""

from __future__ import annotations

from edt.curvature.operator import HessianOperator, lanczos
from edt.curvature.spectrum import (
    Inertia,
    count_directions,
    escape_dimensions,
    hessian_spectrum,
    index,
)
from edt.curvature.verdicts import verdict, zero_threshold
from edt.ops import hessian, hvp

__all__ = [
    "HessianOperator",
    "Inertia",
    "count_directions",
    "escape_dimensions",
    "hessian",
    "hessian_spectrum",
    "hvp",
    "index",
    "lanczos",
    "verdict",
    "zero_threshold",
]
