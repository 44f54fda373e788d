"""What the eigenvalues of a Hessian say: the zero threshold, the counts, the verdict."""

from __future__ import annotations

from dataclasses import dataclass

import torch

#: Rounding unit u of the rule: the machine epsilon of the Hessian's arithmetic.
UNIT = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}
#: Factor c of the rule.
FACTOR = 10.0

#: Every verdict of `edt.converge`, and what it says.
MEANINGS = {
    "minimum": "a strict minimum: every eigenvalue is positive beyond rounding",
    "flat": "no eigenvalue is negative, and some cannot be told from zero",
    "saddle": "a critical point with negative eigenvalues: the loss falls along their directions",
    "separable": "no minimum: the readout separates samples, and the loss only tends to its "
    "infimum as weights grow without bound, however small the gradient",
    "unconverged": "the gradient is above the tolerance: nothing is known of a critical point",
}
VERDICTS = tuple(MEANINGS)


def zero_threshold(eigenvalues: torch.Tensor, dtype: torch.dtype = torch.float64) -> float:
    """Size below which an eigenvalue cannot be told from zero.

    ``eps_H = c u P ||H||_2`` with c = 10 and u = 2^-52 (2^-23 for float32): a backward-stable
    symmetric eigensolver is off by at most a small multiple of ``u P ||H||_2``, and the rounding
    of the Hessian's own entries is of the same order. It scales with the loss, so the verdict does
    not depend on the unit of the targets.

    Args:
        eigenvalues: float64 ``[P]``.
        dtype: the arithmetic the Hessian was computed in.

    Returns:
        The threshold; 0 for an empty or zero Hessian.
    """
    if eigenvalues.numel() == 0:
        return 0.0
    return threshold_of(float(eigenvalues.abs().max()), eigenvalues.numel(), dtype)


def threshold_of(norm: float, size: int, dtype: torch.dtype = torch.float64) -> float:
    """`zero_threshold` where only ``||H||_2`` and P are known: ``10 u P ||H||_2``."""
    return FACTOR * UNIT[dtype] * size * norm


def arithmetic(spectra: object) -> torch.dtype:
    """The arithmetic that eigenvalues say they come from: their ``dtype``, float64 if unknown.

    Eigenvalues of a float32 Hessian are float64 numbers with float32's rounding; a `Spectra` and a
    `SpectralDensity` know it.
    """
    found = getattr(spectra, "dtype", None)
    return torch.float32 if found is torch.float32 else torch.float64


def inertia(eigenvalues: torch.Tensor, threshold: float) -> tuple[int, int, int]:
    """Number of eigenvalues below ``-threshold``, within it, and above it."""
    negative = int((eigenvalues < -threshold).sum())
    positive = int((eigenvalues > threshold).sum())
    return negative, eigenvalues.numel() - negative - positive, positive


def verdict(negative: int, zero: int) -> str:
    """ "saddle" with a negative eigenvalue, else "flat" with one within the threshold, else
    "minimum"; for critical points only."""
    if negative:
        return "saddle"
    return "flat" if zero else "minimum"


@dataclass(frozen=True)
class Evidence:
    """What the verdict on one critical point rests on.

    Attributes:
        verdict: "minimum", "flat", "saddle", "separable" or "unconverged".
        loss: L.
        grad_max: ``max|grad L|``.
        tol: the bound it was held to.
        min_eig, max_eig: extreme eigenvalues of the Hessian.
        threshold: eps_H; eigenvalues within it count as zero.
        index, n_flat: eigenvalues below ``-threshold``, and within it (-1: unknown).
        separated: weight of the samples whose margins can grow for ever (`edt.training.separable`);
            NaN: unknown, or of a loss that has a minimum whatever the data.
    """

    verdict: str
    loss: float
    grad_max: float
    tol: float
    min_eig: float
    max_eig: float
    threshold: float
    index: int
    n_flat: int
    separated: float = float("nan")

    @property
    def meaning(self) -> str:
        """What the verdict says, in a sentence."""
        return MEANINGS[self.verdict]

    @property
    def margin(self) -> float:
        """``|min_eig| / threshold``: how clearly the decisive eigenvalue differs from zero."""
        return abs(self.min_eig) / self.threshold if self.threshold > 0.0 else float("inf")

    @property
    def condition(self) -> float:
        """Condition of the Hessian of a minimum, ``max_eig / min_eig``; inf where flat."""
        if self.verdict == "minimum":
            return self.max_eig / self.min_eig
        return float("inf") if self.n_flat else float("nan")

    @property
    def distance(self) -> float:
        """Estimated distance to the exact minimum, ``max|grad| / min_eig`` (NaN elsewhere)."""
        return self.grad_max / self.min_eig if self.verdict == "minimum" else float("nan")
