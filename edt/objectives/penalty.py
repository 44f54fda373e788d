"""A soft bound on the norm of the parameters, added to any objective."""

from __future__ import annotations

import torch

from edt.objectives.coordinates import Coordinates
from edt.objectives.protocol import Objective

__all__ = ["NormPenalty"]


class NormPenalty:
    """``L_b + (s - m)^3 / 3`` where ``s = |theta_b|^2 / (2 P_b) > m``, else ``L_b``.

    The norm runs over the P_b coordinates (pruned and frozen parameters do not count). Twice
    continuously differentiable: with ``e = max(s - m, 0)`` the gradient gains ``e^2 theta / P`` and
    the Hessian ``(e^2 / P) I + (2 e / P^2) theta theta^T``, which is positive semidefinite and is
    added to the Gauss-Newton matrix as well. It keeps runs from leaving along channels to infinity
    and changes nothing where ``s <= m``.

    Args:
        base: the objective without the bound.
        maxnorm: float64 ``[B]``, m of each network, > 0 (inf: no bound).

    Reference: J. Brea et al., "MLPGradientFlow: going with the flow of multilayer perceptrons",
    arXiv 2301.10638 (``maxnorm``).
    """

    def __init__(self, base: Objective, maxnorm: torch.Tensor) -> None:
        self.base = base
        self.maxnorm = maxnorm
        self.B = base.B
        self.offsets = base.offsets
        self.coords = base.coords
        self.trainable = base.trainable
        self.scale = base.scale
        self.squares = base.squares
        self.rounding = getattr(base, "rounding", torch.zeros(base.B, dtype=torch.float64))

    def excess(self, theta: torch.Tensor, at: Coordinates) -> torch.Tensor:
        """``e = max(s - m, 0)`` of each chosen network, float64 ``[b]``."""
        packed = at.pack(theta).to(torch.float64)
        size = at.sizes.clamp(min=1).to(torch.float64)
        s = at.dots(packed, packed) / (2.0 * size)
        return torch.clamp(s - self.maxnorm[at.chosen], min=0.0)

    def _chosen(self, active: torch.Tensor | None) -> Coordinates:
        chosen = torch.arange(self.B) if active is None else torch.nonzero(active).flatten()
        return Coordinates(self, chosen)

    def _add_loss(self, theta: torch.Tensor, loss: torch.Tensor, at: Coordinates) -> torch.Tensor:
        excess = self.excess(theta, at)
        loss[at.chosen] += excess * excess * excess / 3.0
        return excess

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Objective`."""
        self.base.loss(theta, loss, active)
        self._add_loss(theta, loss, self._chosen(active))

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Objective`."""
        self.base.loss_and_grad(theta, loss, grad, active)
        at = self._chosen(active)
        excess = self._add_loss(theta, loss, at)
        factor = excess * excess / at.sizes.clamp(min=1)
        grad[at.places] += (at.spread(factor) * at.pack(theta)).to(grad.dtype)

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        out_offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Hessians or Gauss-Newton matrices; see `Objective`."""
        self.base.hessian(theta, out, out_offsets, active, ggn=ggn)
        at = self._chosen(active)
        packed = at.pack(theta)
        for k, excess in enumerate(self.excess(theta, at).tolist()):
            if excess == 0.0:
                continue
            n, begin = int(at.sizes[k]), int(out_offsets[at.chosen[k]])
            matrix = out[begin : begin + n * n].view(n, n)
            point = at.part(packed, k)
            matrix += (2.0 * excess / n**2) * (point[:, None] * point[None, :])
            matrix.diagonal().add_(excess * excess / n)

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Products with K vectors; see `Objective`."""
        self.base.hvp(theta, vectors, out, active, ggn=ggn)
        at = self._chosen(active)
        excess = self.excess(theta, at)
        if not bool((excess > 0.0).any()):
            return
        size = at.sizes.clamp(min=1)
        straight = at.spread(excess * excess / size)
        outer = 2.0 * excess / (size * size)
        packed = at.pack(theta)
        for row, vector in zip(out, vectors, strict=True):
            v = at.pack(vector)
            along = at.spread(outer * at.dots(packed, v))
            row[at.places] += (straight * v + along * packed).to(row.dtype)

    def second_directional(
        self,
        theta: torch.Tensor,
        step: torch.Tensor,
        reach: torch.Tensor,
        chosen: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        """That of ``base``, whose outputs are the same; nothing if it has none."""
        second = getattr(self.base, "second_directional", None)
        if second is not None:
            second(theta, step, reach, chosen, out)
