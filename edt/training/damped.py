"""Damped Newton and Gauss-Newton steps of one network in the eigenbasis of its matrix.

With scales D (a diagonal) and ``D^-1 M D^-1 = V diag(lam) V^T``, the step for a damping mu is

    p = -D^-1 V (|lam| + mu)^-1 V^T D^-1 g:

Newton's step where the curvature is positive and large against mu, a short step down the gradient
where it is small, and a step *away* from the critical point of the quadratic model along negative
curvature, where Newton's own would go towards it. One eigendecomposition serves every mu.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from edt.curvature.dense import aligned
from edt.curvature.verdicts import UNIT

__all__ = ["Basis", "Proposal"]

Array = npt.NDArray[np.float64]


@dataclass
class Proposal:
    """A step and what the quadratic model promises for it.

    Attributes:
        step: float64 ``[P]``.
        length: its Euclidean length.
        predicted: decrease of the loss (of ``|grad|^2 / 2`` in stationary mode).
    """

    step: torch.Tensor
    length: float
    predicted: float


class Basis:
    """Eigenbasis of a scaled matrix.

    Args:
        matrix: M, symmetric ``[P, P]``.
        grad: g, ``[P]``.
        scaled: scale the parameters by ``D_i = sqrt(|M_ii|)`` instead of 1; the step then does
            not depend on their units, which differ by orders of magnitude where an output weight
            is small.

    Attributes:
        largest: ``max|lam|``.

    Reference: Y. Dauphin et al., "Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization", 2014 (|lam|); D. Marquardt, 1963 (D).
    """

    #: Scales below this share of the largest are raised to it.
    RANGE = 1e-8

    def __init__(self, matrix: torch.Tensor, grad: torch.Tensor, scaled: bool) -> None:
        self._scale: torch.Tensor | None = None
        if scaled:
            scale = matrix.diagonal().abs().sqrt()
            scale = torch.clamp(scale, min=self.RANGE * float(scale.max()) + 1e-300)
            matrix = matrix / (scale[:, None] * scale[None, :])
            grad = grad / scale
            self._scale = scale
        values, self._vectors = torch.linalg.eigh(aligned(matrix))
        self._slope = torch.mv(self._vectors.mT, grad).numpy()
        self._lam: Array = values.numpy()
        self.largest = float(np.abs(self._lam).max()) if self._lam.size else 0.0
        # Below this an eigenvalue is noise and its sign means nothing (LAPACK is good to a few u).
        floor = 4.0 * UNIT[torch.float64] * self.largest
        self._size = np.maximum(np.abs(self._lam), floor) + 1e-300

    def propose(self, mu: float) -> Proposal:
        """The step for one damping."""
        q = -self._slope / (self._size + mu)
        predicted = -float((self._slope * q + 0.5 * self._lam * q * q).sum())
        step = self._back(torch.from_numpy(q))
        return Proposal(step, float(torch.sqrt((step * step).sum())), predicted)

    def solve(self, right: torch.Tensor, mu: float) -> torch.Tensor:
        """``D^-1 V (|lam| + mu)^-1 V^T D^-1 right``."""
        scaled = right if self._scale is None else right / self._scale
        along = torch.mv(self._vectors.mT, scaled).numpy() / (self._size + mu)
        return self._back(torch.from_numpy(along))

    def norm(self, vector: torch.Tensor) -> float:
        """``|D v|``."""
        scaled = vector if self._scale is None else vector * self._scale
        return float(torch.sqrt((scaled * scaled).sum()))

    def _back(self, q: torch.Tensor) -> torch.Tensor:
        out = torch.mv(self._vectors, q)
        return out if self._scale is None else out / self._scale
