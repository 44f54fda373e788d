"""Trust-region steps towards the nearest critical point of a quadratic model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from edt.curvature.dense import aligned
from edt.curvature.verdicts import threshold_of
from edt.training.damped import Proposal

__all__ = ["Stationary", "shifted"]

Array = npt.NDArray[np.float64]

#: Curvature, as a share of ||H||, given to directions that are flat to rounding.
DAMPING = 1e-8


def shifted(w: Array, d: Array, radius: float) -> Array:
    """``-w / (d + mu)`` with the least ``mu >= 0`` that makes ``d + mu`` positive and the length
    at most ``radius`` (to 5%).

    In the hard case (no ``mu`` reaches the radius because ``w`` vanishes where ``d`` is lowest)
    the rest of the radius is filled along that coordinate.

    Args:
        w, d: ``[P]``.
        radius: > 0.

    Reference: J. Moré, D. Sorensen, "Computing a trust region step", 1983.
    """
    low = float(d.min())
    if low > 0.0:
        p = -w / d
        if float(np.sqrt((p * p).sum())) <= radius:
            return p
    scale = float(np.abs(d).max())
    base = max(0.0, -low)
    mu = base + (1e-10 * scale + 1e-300 if low <= 0.0 else 0.0)
    p = -w / (d + mu)
    length = float(np.sqrt((p * p).sum()))
    if length < radius:
        at = int(d.argmin())
        rest = np.sqrt(max(radius * radius - length * length, 0.0))
        p[at] += rest if p[at] >= 0.0 else -rest
        return p
    left, right = mu, base + float(np.sqrt((w * w).sum())) / radius + 1e-300
    for _ in range(60):
        p = -w / (d + mu)
        square = float((p * p).sum())
        length = float(np.sqrt(square))
        if abs(length - radius) <= 0.05 * radius:
            break
        if length > radius:
            left = mu
        else:
            right = mu
        slope = float((p * p / (d + mu)).sum())
        mu = mu + (length / radius - 1.0) * square / slope
        if not left < mu < right:
            mu = 0.5 * (left + right)
    return p


class Stationary:
    """Steps that aim at ``H p = -g`` whatever the signs of H: least ``|g + H p|`` in a ball.

    Args:
        hess: ``[P, P]`` symmetric.
        grad: ``[P]``.
    """

    def __init__(self, hess: torch.Tensor, grad: torch.Tensor) -> None:
        values, self._vectors = torch.linalg.eigh(aligned(hess))
        self._lam: Array = values.numpy()
        self._slope: Array = torch.mv(self._vectors.mT, grad).numpy()

    def propose(self, radius: float) -> Proposal:
        """The best step of at most about this length."""
        lam, slope = self._lam, self._slope
        largest = float(np.abs(lam).max()) if lam.size else 0.0
        flat = threshold_of(largest, lam.size)
        damping = DAMPING * largest + 1e-300
        p = shifted(lam * slope, np.where(np.abs(lam) > flat, lam * lam, damping**2), radius)
        after = slope + lam * p
        predicted = 0.5 * float((slope * slope - after * after).sum())
        step = torch.mv(self._vectors, torch.from_numpy(p))
        return Proposal(step, float(np.sqrt((p * p).sum())), predicted)
