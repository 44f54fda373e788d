"""Curvature: exact Hessians, products with them, spectra, and the index of critical points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edt.arguments import checked
from edt.curvature.density import SpectralDensity, spectral_density
from edt.curvature.eigenpairs import EigenPairs, extreme_eigenpairs, lanczos
from edt.curvature.factored import factored_inertia, negative_count
from edt.curvature.fisher import fisher, fisher_product, sample_gradients
from edt.curvature.gauss_newton_split import HessianSplit, hessian_split
from edt.curvature.inverse import InverseProducts, influence, inverse_product, submatrix
from edt.curvature.kfac import Kronecker, kfac
from edt.curvature.spectrum import (
    Inertia,
    Spectra,
    count_directions,
    escape_dimensions,
    hessian_spectrum,
    index,
)
from edt.curvature.trace import TraceEstimate, hessian_diagonal, hessian_trace
from edt.curvature.verdicts import Evidence, verdict, zero_threshold
from edt.functional import hessian, hvp

if TYPE_CHECKING:
    from edt.curvature.operator import HessianOperator

__all__ = [
    "EigenPairs",
    "Evidence",
    "HessianOperator",
    "HessianSplit",
    "Inertia",
    "InverseProducts",
    "Kronecker",
    "Spectra",
    "SpectralDensity",
    "TraceEstimate",
    "count_directions",
    "escape_dimensions",
    "extreme_eigenpairs",
    "factored_inertia",
    "fisher",
    "fisher_product",
    "hessian",
    "hessian_diagonal",
    "hessian_spectrum",
    "hessian_split",
    "hessian_trace",
    "hvp",
    "index",
    "influence",
    "inverse_product",
    "kfac",
    "lanczos",
    "negative_count",
    "sample_gradients",
    "spectral_density",
    "submatrix",
    "verdict",
    "zero_threshold",
]

checked(__name__)


def __getattr__(name: str) -> Any:
    """`HessianOperator` brings scipy's sparse matrices, which nothing else here needs."""
    if name == "HessianOperator":
        from edt.curvature.operator import HessianOperator

        return HessianOperator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
