"""An objective with some directions held fixed: the loss on a section of parameter space."""

from __future__ import annotations

import torch

from edt.objectives.coordinates import segment_sum
from edt.objectives.protocol import Objective

__all__ = ["Section"]


class Section:
    """``L_b`` over the parameters reached from theta_b without moving along k directions.

    With V the orthonormal directions (rows) and ``Pi = I - V^T V``, the gradient is ``Pi g`` and
    the Hessian ``Pi H Pi + kappa V^T V``: steps of any optimiser that starts on the section stay
    on it, and the directions held fixed count as curved upwards (kappa is the mean magnitude of
    H's diagonal), so that verdicts speak of the others.

    Args:
        base: the objective without the constraint.
        frame: float64 ``[k, total]``; within each network the rows are orthonormal, and 0 where
            parameters are not trainable.
    """

    def __init__(self, base: Objective, frame: torch.Tensor) -> None:
        self.base = base
        self.frame = frame
        self.B = base.B
        self.offsets = base.offsets
        self.coords = base.coords
        self.trainable = base.trainable
        self.scale = base.scale
        self.squares = base.squares
        self.rounding = getattr(base, "rounding", torch.zeros(base.B, dtype=torch.float64))
        self._lengths = base.offsets[1:] - base.offsets[:-1]
        self._owner = torch.repeat_interleave(torch.arange(base.B), self._lengths)

    def project(self, flat: torch.Tensor) -> torch.Tensor:
        """``Pi v`` of a flat vector; a new tensor."""
        for row in self.frame:
            along = segment_sum(row * flat, self._lengths)
            flat = flat - along[self._owner] * row
        return flat

    def _masked(self, active: torch.Tensor | None) -> torch.Tensor:
        """bool ``[total]``, parameters of the active networks."""
        if active is None:
            return torch.ones_like(self.trainable)
        return active.bool()[self._owner]

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Objective`."""
        self.base.loss(theta, loss, active)

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and projected gradient; see `Objective`."""
        self.base.loss_and_grad(theta, loss, grad, active)
        mine = self._masked(active)
        grad[mine] = self.project(grad.masked_fill(~mine, 0.0))[mine]

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        out_offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Projected Hessians or Gauss-Newton matrices; see `Objective`."""
        self.base.hessian(theta, out, out_offsets, active, ggn=ggn)
        chosen = torch.arange(self.B) if active is None else torch.nonzero(active).flatten()
        for b in chosen.tolist():
            n, begin = int(self.coords[b]), int(out_offsets[b])
            span = slice(int(self.offsets[b]), int(self.offsets[b + 1]))
            rows = self.frame[:, span][:, self.trainable[span]]
            matrix = out[begin : begin + n * n].view(n, n)
            kappa = float(matrix.diagonal().abs().mean()) if n else 0.0
            for row in rows:
                image = (matrix * row).sum(1)
                inner = (row * image).sum()
                outer = row[:, None] * image[None, :]
                matrix -= outer + outer.T
                matrix += (inner + kappa) * (row[:, None] * row[None, :])

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Products of the projected matrices, without kappa; see `Objective`."""
        mine = self._masked(active)
        inner = torch.stack([self.project(vector.masked_fill(~mine, 0.0)) for vector in vectors])
        self.base.hvp(theta, inner.contiguous(), out, active, ggn=ggn)
        for row in out:
            row[mine] = self.project(row.masked_fill(~mine, 0.0))[mine]
