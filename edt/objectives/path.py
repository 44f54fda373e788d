"""The mean loss along a bent path between two networks, as an objective of the bend."""

from __future__ import annotations

import numpy as np
import torch

from edt.objectives.protocol import Objective

__all__ = ["CURVES", "PathObjective", "blend", "nodes_of"]

CURVES = ("chain", "bezier")


def blend(curve: str, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights of (first end, bend, second end) at t in [0, 1]; each has the shape of t.

    "chain": straight from the first end to the bend, and on to the second. "bezier": the quadratic
    ``(1-t)^2, 2t(1-t), t^2``.
    """
    if curve == "bezier":
        return (1.0 - t) ** 2, 2.0 * t * (1.0 - t), t**2
    first, second = (1.0 - 2.0 * t).clamp(min=0.0), (2.0 * t - 1.0).clamp(min=0.0)
    return first, 1.0 - first - second, second


def nodes_of(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gauss-Legendre nodes and weights on [0, 1/2] and [1/2, 1], ``count`` in all (even)."""
    at, weight = np.polynomial.legendre.leggauss(count // 2)
    half = torch.from_numpy(0.25 * (at + 1.0))
    share = torch.from_numpy(0.25 * weight)
    return torch.cat([half, 0.5 + half]), torch.cat([share, share])


class PathObjective:
    """``integral_0^1 L_b(p_b(t)) dt`` over the bends ``theta_b`` of B paths p_b.

    With ``p(t) = u(t) first + c(t) theta + v(t) second`` and quadrature nodes t_k of weight w_k,
    the gradient is ``sum_k w_k c_k g(p(t_k))`` and the Hessian ``sum_k w_k c_k^2 H(p(t_k))``.

    Args:
        points: objective of K B networks, the B structures of the bends K times in a row.
        first, second: flat ``[total]``, the ends.
        curve: one of `CURVES`.
        nodes, weights: float64 ``[K]``.

    Reference: T. Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs",
    NeurIPS 2018.
    """

    def __init__(
        self,
        points: Objective,
        first: torch.Tensor,
        second: torch.Tensor,
        curve: str,
        nodes: torch.Tensor,
        weights: torch.Tensor,
    ) -> None:
        self._points = points
        self._ends = first, second
        self._blend = blend(curve, nodes)
        self._weights = weights
        self._count = nodes.numel()
        self.B = points.B // self._count
        total = first.numel()
        self.offsets = points.offsets[: self.B + 1]
        self.coords = points.coords[: self.B]
        self.trainable = points.trainable[:total]
        self.scale = points.scale[: self.B]
        self.squares = points.squares
        lengths = self.offsets[1:] - self.offsets[:-1]
        self._owner = torch.repeat_interleave(torch.arange(self.B), lengths)

    def _path(self, theta: torch.Tensor) -> torch.Tensor:
        """Parameters of all nodes, flat ``[K total]``."""
        u, c, v = (factor[:, None] for factor in self._blend)
        return (u * self._ends[0] + c * theta + v * self._ends[1]).reshape(-1)

    def _active(self, active: torch.Tensor | None) -> torch.Tensor | None:
        return None if active is None else active.repeat(self._count)

    def _mean(self, losses: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None) -> None:
        mean = (self._weights[:, None] * losses.view(self._count, self.B)).sum(0)
        chosen = slice(None) if active is None else active.bool()
        loss[chosen] = mean[chosen]

    def _into(
        self, out: torch.Tensor, mean: torch.Tensor, active: torch.Tensor | None
    ) -> None:  # fmt: skip
        if active is None:
            out.copy_(mean)
            return
        mine = active.bool()[self._owner]
        out[..., mine] = mean[..., mine].to(out.dtype)

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Mean losses; see `Objective`."""
        losses = torch.zeros(self._count * self.B, dtype=torch.float64)
        self._points.loss(self._path(theta), losses, self._active(active))
        self._mean(losses, loss, active)

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Mean losses and gradient; see `Objective`."""
        path = self._path(theta)
        losses = torch.zeros(self._count * self.B, dtype=torch.float64)
        slopes = torch.zeros_like(path)
        self._points.loss_and_grad(path, losses, slopes, self._active(active))
        self._mean(losses, loss, active)
        factor = (self._weights * self._blend[1])[:, None]
        self._into(grad, (factor * slopes.view(self._count, -1)).sum(0), active)

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        out_offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Mean Hessians or Gauss-Newton matrices; see `Objective`."""
        chosen = torch.arange(self.B) if active is None else torch.nonzero(active).flatten()
        areas = torch.zeros(self.B, dtype=torch.int64)
        areas[chosen] = self.coords[chosen] ** 2
        ends = torch.cumsum(areas.repeat(self._count), 0)
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), ends])
        buffer = torch.empty(int(ends[-1]), dtype=theta.dtype)
        self._points.hessian(
            self._path(theta), buffer, starts, self._active(active), ggn=ggn
        )  # fmt: skip
        factor = self._weights * self._blend[1] ** 2
        for b in chosen.tolist():
            size, begin = int(areas[b]), int(out_offsets[b])
            places = [int(starts[k * self.B + b]) for k in range(self._count)]
            held = torch.stack([buffer[at : at + size] for at in places])
            out[begin : begin + size] = (factor[:, None] * held).sum(0)

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Products of the mean Hessians; see `Objective`."""
        rows = vectors.shape[0]
        wide = vectors.repeat(1, self._count).contiguous()
        found = torch.zeros_like(wide)
        self._points.hvp(self._path(theta), wide, found, self._active(active), ggn=ggn)
        factor = (self._weights * self._blend[1] ** 2)[None, :, None]
        self._into(out, (factor * found.view(rows, self._count, -1)).sum(1), active)
