"""Spectral density of Hessians by stochastic Lanczos quadrature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from edt.curvature.inputs import prepare, signs
from edt.curvature.products import Solver, drive, product_threads
from edt.curvature.verdicts import threshold_of
from edt.ensemble.arrays import reals
from edt.errors import renamed
from edt.scalars import integer

__all__ = ["SpectralDensity", "spectral_density"]


@dataclass
class SpectralDensity:
    """Nodes and weights of V Gauss quadratures for one network's spectrum.

    With ``H = sum_i lambda_i v_i v_i^T`` and a random unit vector q, ``q^T f(H) q = sum_i (v_i.q)^2
    f(lambda_i)`` averages to ``tr f(H) / P``; its m-point Gauss rule, exact for polynomials of
    degree 2m - 1, is read off m Lanczos steps.

    Attributes:
        nodes, weights: float64 ``[V, m]``; the weights of a row sum to 1.
        size: P.
        products: Hessian-vector products used.
        dtype: the arithmetic of the products.
    """

    nodes: torch.Tensor
    weights: torch.Tensor
    size: int
    products: int
    dtype: torch.dtype = torch.float64

    @property
    def threshold(self) -> float:
        """``eps_H`` of `edt.curvature.zero_threshold`, with the largest node for ``||H||_2``."""
        if not self.nodes.numel():
            return 0.0
        return threshold_of(float(self.nodes.abs().max()), self.size, self.dtype)

    def signs(self) -> tuple[float, float, float]:
        """Estimated shares of negative, zero and positive eigenvalues; they sum to 1.

        Zero is within `threshold` of 0, where a sign is rounding.
        """
        eps = self.threshold
        below = self.mean(lambda nodes: (nodes < -eps).to(torch.float64))
        above = self.mean(lambda nodes: (nodes > eps).to(torch.float64))
        return below, max(1.0 - below - above, 0.0), above

    def mean(self, function: Any) -> float:
        """Estimate of ``tr f(H) / P`` for a function of a tensor of eigenvalues."""
        return float((function(self.nodes) * self.weights).sum(1).mean())

    def error(self, function: Any) -> float:
        """Standard error of `mean` over the V probes (NaN for one probe)."""
        each = (function(self.nodes) * self.weights).sum(1)
        return float(each.std() / each.numel() ** 0.5) if each.numel() > 1 else float("nan")

    def cdf(self, values: torch.Tensor) -> torch.Tensor:
        """Estimated share of eigenvalues at most each of ``values`` (any shape).

        What is zero (see `signs`) lies at 0: at most 0, and never at most a negative value.
        """
        nodes = self.nodes.masked_fill(self.nodes.abs() <= self.threshold, 0.0)
        below = nodes[..., None] <= reals("values", values).reshape(-1)
        share = (below * self.weights[..., None]).sum(1).mean(0)
        return share.reshape(reals("values", values).shape)

    def density(self, grid: torch.Tensor, width: float) -> torch.Tensor:
        """Estimated density at the points of ``grid`` ``[n]``, smoothed by a Gaussian.

        Args:
            width: its standard deviation, > 0.

        Raises:
            ValueError: width is not positive.
        """
        if not width > 0.0:
            raise ValueError(f"width must be > 0, got {width}")
        apart = (grid.to(torch.float64)[:, None, None] - self.nodes) / width
        bell = torch.exp(-0.5 * apart * apart) / (width * (2.0 * torch.pi) ** 0.5)
        out: torch.Tensor = (bell * self.weights).sum(2).mean(1)
        return out


@renamed(ens="networks", vectors="probes")
def spectral_density(
    task: Any,
    networks: Any,
    *,
    steps: int = 60,
    probes: int = 8,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    seed: int = 0,
    ggn: bool = False,
) -> list[SpectralDensity]:
    """Spectral density of every network's Hessian from products alone.

    Lanczos with full reorthogonalisation from random vectors with entries +-1; all networks and
    all vectors make their products in one pass. The same ``seed`` gives networks of equal size
    the same vectors.

    Args:
        task, networks, theta, task_index: as in `edt.hessian`; the task may be over infinite data.
        steps: m; at most P are taken.
        probes: V.
        seed: of the vectors.
        ggn: of the Gauss-Newton matrix instead.

    Returns:
        one `SpectralDensity` per network.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.

    Example:
        >>> found = spectral_density(task, networks)[0]  # doctest: +SKIP
        >>> found.density(torch.linspace(-1, 5, 200), width=0.05)  # doctest: +SKIP

    Reference: S. Ubaru, J. Chen, Y. Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos
    quadrature", 2017; B. Ghorbani, S. Krishnan, Y. Xiao, "An investigation into neural net
    optimization via Hessian eigenvalue density", 2019.
    """
    objective, flat = prepare(task, networks, theta, task_index)
    count, depth = integer("probes", probes), integer("steps", steps)
    solvers = {
        b: _solver(signs(size, count, seed), min(depth, size))
        for b, size in enumerate(objective.coords.tolist())
    }
    with product_threads(objective):
        found = drive(objective, flat, solvers, ggn=ggn)
    return [replace(found[b], dtype=flat.dtype) for b in range(objective.B)]


def _solver(start: torch.Tensor, steps: int) -> Solver[SpectralDensity]:
    """V Lanczos iterations side by side from ``start`` ``[V, P]``."""
    count, size = start.shape
    if size == 0:
        empty = torch.zeros(count, 0, dtype=torch.float64)
        return SpectralDensity(empty, empty.clone(), 0, 0)
    alpha = torch.zeros(count, steps, dtype=torch.float64)
    beta = torch.zeros(count, steps, dtype=torch.float64)
    basis = torch.zeros(count, steps, size, dtype=torch.float64)
    vector = start / torch.linalg.vector_norm(start, dim=1, keepdim=True)
    products = 0
    for j in range(steps):
        basis[:, j] = vector
        image = yield vector
        products += count
        alpha[:, j] = (image * vector).sum(1)
        rest = image
        for _ in range(2):
            along = torch.einsum("vjp,vp->vj", basis[:, : j + 1], rest)
            rest = rest - torch.einsum("vj,vjp->vp", along, basis[:, : j + 1])
        length = torch.linalg.vector_norm(rest, dim=1)
        # An invariant subspace is exhausted: the rule is exact, the remaining nodes get weight 0.
        scale = alpha[:, : j + 1].abs().amax(1) + beta[:, : j + 1].amax(1)
        ended = ~(length > 1e-12 * scale)
        beta[:, j] = length.masked_fill(ended, 0.0)
        vector = rest / length.masked_fill(ended, 1.0)[:, None]
        vector = vector.masked_fill(ended[:, None], 0.0)
    inner = torch.diag_embed(alpha)
    if steps > 1:
        side = torch.diag_embed(beta[:, :-1], offset=1)
        inner = inner + side + side.mT
    nodes, turn = torch.linalg.eigh(inner)
    return SpectralDensity(nodes, turn[:, 0, :] ** 2, size, products)
