"""Steps from a quadratic model of one network's loss: Newton, trust region, least gradient.

Everything is in the eigenbasis ``H = V diag(lam) V^T``, where each step has the form
``p = -V (w / (d + mu))`` with ``mu >= 0`` chosen so that ``|p| <= radius``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from edt.curvature.dense import aligned
from edt.curvature.verdicts import FACTOR, UNIT

Array = npt.NDArray[np.float64]

#: Negative eigenvalues weaker than this share of ||H|| are not followed to the edge of the trust
#: region: near a zero-loss valley they are residual-sized, and following them trades quadratic
#: convergence for a crawl. Those that survive convergence are left by an explicit escape.
WEAK = 1e-6
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


class Model:
    """Quadratic model ``g.p + p.H p / 2`` of one network; factorised once, when first needed.

    Args:
        hess: ``[P, P]`` symmetric, aligned.
        grad: ``[P]``.
        stationary: aim at ``H p = -g`` whatever the signs of H (nearest critical point) instead
            of at a lower loss.
    """

    def __init__(self, hess: torch.Tensor, grad: torch.Tensor, stationary: bool) -> None:
        self.hess = aligned(hess)
        self.grad = grad
        self.stationary = stationary
        self._newton: torch.Tensor | None = None
        self._tried = stationary
        self._basis: tuple[Array, torch.Tensor, Array] | None = None

    @property
    def positive(self) -> bool:
        """Whether H is positive definite by a safe margin."""
        return self._newton_step() is not None

    def propose(self, radius: float) -> Proposal:
        """The best step of at most about this length."""
        newton = self._newton_step()
        if newton is not None:
            length = float(torch.sqrt((newton * newton).sum()))
            if length <= radius:
                return Proposal(newton, length, -0.5 * float((self.grad * newton).sum()))
        lam, vectors, slope = self._eigen()
        largest = float(np.abs(lam).max()) if lam.size else 0.0
        flat = FACTOR * UNIT[torch.float64] * lam.size * largest
        damping = DAMPING * largest + 1e-300
        if self.stationary:
            p = shifted(lam * slope, np.where(np.abs(lam) > flat, lam * lam, damping**2), radius)
            after = slope + lam * p
            predicted = 0.5 * float((slope * slope - after * after).sum())
        else:
            bent = np.where(lam > -WEAK * largest, np.maximum(np.abs(lam), damping), lam)
            p = shifted(slope, np.where(lam > flat, lam, bent), radius)
            predicted = -float((slope * p + 0.5 * lam * p * p).sum())
        step = torch.mv(vectors, torch.from_numpy(p))
        return Proposal(step, float(np.sqrt((p * p).sum())), predicted)

    def _newton_step(self) -> torch.Tensor | None:
        """``-H^-1 g`` where H is safely positive definite."""
        if not self._tried:
            self._tried = True
            factor, failed = torch.linalg.cholesky_ex(self.hess)
            if int(failed) == 0:
                pivots = factor.diagonal()
                floor = FACTOR * UNIT[torch.float64] * len(pivots) * self.hess.diagonal().max()
                if bool((pivots * pivots).min() > floor):
                    step: torch.Tensor = -torch.cholesky_solve(self.grad[:, None], factor)[:, 0]
                    self._newton = step.contiguous()
        return self._newton

    def _eigen(self) -> tuple[Array, torch.Tensor, Array]:
        if self._basis is None:
            values, vectors = torch.linalg.eigh(self.hess)
            slope = torch.mv(vectors.mT, self.grad)
            self._basis = (values.numpy(), vectors, slope.numpy())
        return self._basis


class GaussNewton:
    """Levenberg-Marquardt steps ``-(G + mu I)^-1 g`` with ``mu = |G| (L / S)^power``.

    Args:
        matrix: Gauss-Newton matrix G ``[P, P]``.
        grad: ``[P]``.
        relative_loss: L / S, the loss relative to that of a zero output.
    """

    def __init__(self, matrix: torch.Tensor, grad: torch.Tensor, relative_loss: float) -> None:
        values, self._vectors = torch.linalg.eigh(aligned(matrix))
        self._slope = torch.mv(self._vectors.mT, grad).numpy()
        self._lam = np.maximum(values.numpy(), 0.0)
        self._relative_loss = relative_loss

    def propose(self, power: float, radius: float) -> Proposal:
        """The step for one damping, of at most about ``radius`` in length."""
        lam, slope = self._lam, self._slope
        largest = float(lam.max()) if lam.size else 0.0
        floor = FACTOR * UNIT[torch.float64] * lam.size
        mu = largest * max(self._relative_loss**power, floor) + 1e-300
        p = shifted(slope, lam + mu, radius)
        predicted = -float((slope * p + 0.5 * lam * p * p).sum())
        step = torch.mv(self._vectors, torch.from_numpy(p))
        return Proposal(step, float(np.sqrt((p * p).sum())), predicted)
