"""The networks marked in a view, and whether they are critical points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from edt import functional
from edt.curvature import count_directions
from edt.ensemble import Ensemble
from edt.files import expect, words
from edt.objectives import segment_max

__all__ = ["Marks", "known_kind", "marks_of"]

#: Most coordinates for which a Hessian is factorised.
DENSE = 2000


@dataclass
class Marks:
    """M networks marked in each of B views.

    Attributes:
        labels: ``[M]``.
        at: float64 ``[M, B, k]``, their coordinates.
        loss, grad_max: float64 ``[M, B]``.
        index: int64 ``[M, B]``, negative eigenvalues of the whole Hessian; -1 where not computed.
    """

    labels: list[str]
    at: torch.Tensor
    loss: torch.Tensor
    grad_max: torch.Tensor
    index: torch.Tensor

    def kind(self, m: int, b: int, tol: float) -> str:
        """ "minimum", "saddle", "critical" (index unknown) or "point" (gradient above ``tol``)."""
        if not float(self.grad_max[m, b]) <= tol:
            return "point"
        index = int(self.index[m, b])
        return "critical" if index < 0 else "saddle" if index else "minimum"

    def tensors(self) -> dict[str, torch.Tensor]:
        """What is stored, by name."""
        names = ("at", "loss", "grad_max", "index")
        return {f"marks.{name}": getattr(self, name) for name in names}

    @classmethod
    def from_tensors(
        cls, header: dict[str, Any], tensors: dict[str, torch.Tensor], B: int, axes: int
    ) -> Marks:
        """Inverse of `tensors`; ``header`` has the labels.

        Raises:
            KeyError, ValueError: they are not the marks of B views with so many axes.
        """
        names = ("at", "loss", "grad_max", "index")
        count = len(tensors["marks.index"])
        labels = words(header, "labels", count)
        shapes = {"marks.loss": (count, B), "marks.grad_max": (count, B)}
        expect(tensors, torch.float64, {"marks.at": (count, B, axes), **shapes})
        expect(tensors, torch.int64, {"marks.index": (count, B)})
        return cls(labels=labels, **{name: tensors[f"marks.{name}"] for name in names})


def known_kind(kind: Any, kinds: Mapping[str, Any]) -> str:
    """A view's kind as it is stored.

    Raises:
        ValueError: not one of them.
    """
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}")
    return kind


def marks_of(
    labels: list[str],
    networks: list[Ensemble],
    at: list[torch.Tensor],
    task: Any,
    task_index: torch.Tensor,
) -> Marks:
    """Evaluate the marked networks.

    Args:
        labels: one for each.
        networks: ensembles of B networks in float64.
        at: their coordinates, ``[B, k]`` each.
        task, task_index: data.
    """
    losses, slopes, counts = [], [], []
    for ens in networks:
        value, grad = functional.loss_and_grad(ens, task, task_index=task_index)
        losses.append(value.detach().cpu())
        slopes.append(segment_max(grad.detach().abs().cpu(), ens.offsets.diff()))
        index = torch.full((ens.B,), -1, dtype=torch.int64)
        small = torch.nonzero((ens.coords.cpu() <= DENSE) & torch.isfinite(slopes[-1])).flatten()
        if small.numel() and ens.device.type == "cpu":
            index[small] = count_directions(
                ens.select(small), task, task_index=task_index[small], method="ldl"
            ).n_neg
        counts.append(index)
    return Marks(
        labels=labels,
        at=torch.stack([place.to(torch.float64).cpu() for place in at]),
        loss=torch.stack(losses),
        grad_max=torch.stack(slopes),
        index=torch.stack(counts),
    )
