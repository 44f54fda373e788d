"""Sums of objectives: losses on several tasks at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edt.objectives.protocol import Objective

__all__ = ["SumObjective"]


class SumObjective:
    """``L_b = sum_k w_k L_bk`` of the same networks, terms added in order.

    Args:
        terms: objectives of the same networks.
        weights: of each.

    Raises:
        ValueError: none, as many weights as terms are not there, or other networks.
    """

    squares = False

    def __init__(self, terms: Sequence[Objective], weights: Sequence[float]) -> None:
        if not terms or len(terms) != len(weights):
            raise ValueError(
                f"weights must be one a term, got {len(weights)} for {len(terms)} terms"
            )
        first = terms[0]
        for term in terms[1:]:
            if not torch.equal(term.trainable, first.trainable):
                raise ValueError("terms must be of the same networks")
        self.terms, self.weights = list(terms), [float(weight) for weight in weights]
        self.B, self.offsets, self.coords = first.B, first.offsets, first.coords
        self.trainable = first.trainable
        self.scale = torch.zeros(self.B, dtype=torch.float64)
        for weight, term in zip(self.weights, terms, strict=True):
            self.scale += abs(weight) * term.scale.cpu()

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Objective`."""
        chosen = self._chosen(active, loss.device)
        loss[chosen] = 0.0
        for weight, term in zip(self.weights, self.terms, strict=True):
            part = torch.zeros_like(loss)
            term.loss(theta, part, active)
            loss[chosen] += weight * part[chosen]

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Objective`."""
        chosen, mine = self._chosen(active, loss.device), self._mine(active, grad.device)
        loss[chosen], grad[mine] = 0.0, 0.0
        for weight, term in zip(self.weights, self.terms, strict=True):
            part, slope = torch.zeros_like(loss), torch.zeros_like(grad)
            term.loss_and_grad(theta, part, slope, active)
            loss[chosen] += weight * part[chosen]
            grad[mine] += weight * slope[mine]

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
        parts = []
        for term in self.terms:
            part = torch.zeros_like(out)
            term.hessian(theta, part, out_offsets, active, ggn=ggn)
            parts.append(part)
        for b in self._chosen(active, torch.device("cpu")).tolist():
            start = int(out_offsets[b])
            span = slice(start, start + int(self.coords[b]) ** 2)
            out[span] = 0.0
            for weight, part in zip(self.weights, parts, strict=True):
                out[span] += weight * part[span]

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
        mine = self._mine(active, out.device)
        out[:, mine] = 0.0
        for weight, term in zip(self.weights, self.terms, strict=True):
            part = torch.zeros_like(out)
            term.hvp(theta, vectors, part, active, ggn=ggn)
            out[:, mine] += weight * part[:, mine]

    def _chosen(self, active: torch.Tensor | None, device: torch.device) -> torch.Tensor:
        every = torch.arange(self.B, device=device)
        return every if active is None else every[active.to(device).bool()]

    def _mine(self, active: torch.Tensor | None, device: torch.device) -> torch.Tensor:
        lengths = self.offsets[1:] - self.offsets[:-1]
        marked = torch.ones(self.B, dtype=torch.bool) if active is None else active.cpu().bool()
        return torch.repeat_interleave(marked, lengths.cpu()).to(device)
