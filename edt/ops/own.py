"""Ops on tasks that compute their losses themselves, such as those over infinite data.

Such a task has a method ``objective(ens, task_index)`` that returns an `edt.objectives.Objective`.
Results are those of the ops; they carry no autograd graph.
"""

from __future__ import annotations

from typing import Any

import torch

from edt.ensemble import Ensemble
from edt.ensemble.arrays import integers
from edt.ops.checks import parameters, vectors_of
from edt.ops.memory import room_for_hessians

__all__ = ["hessian", "loss_and_grad", "owns", "product"]


def owns(task: Any) -> bool:
    """Whether the task computes its losses itself."""
    return callable(getattr(task, "objective", None))


def loss_and_grad(
    ens: Ensemble, task: Any, theta: Any, task_index: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses ``[B]`` and flat gradient."""
    objective, flat = _prepared(ens, task, theta, task_index)
    value = torch.zeros(objective.B, dtype=torch.float64)
    grad = torch.zeros_like(flat)
    objective.loss_and_grad(flat, value, grad)
    return value, grad


def product(
    ens: Ensemble, task: Any, vectors: Any, theta: Any, task_index: Any, *, ggn: bool
) -> torch.Tensor:
    """Products with vectors ``[K, total]`` or ``[total]``."""
    objective, flat = _prepared(ens, task, theta, task_index)
    rows = vectors_of(ens, vectors)
    out = torch.zeros_like(rows)
    objective.hvp(flat, rows, out, ggn=ggn)
    return out if vectors.dim() == 2 else out[0]


def hessian(
    ens: Ensemble, task: Any, theta: Any, task_index: Any, *, ggn: bool
) -> list[torch.Tensor]:
    """Symmetric ``[P_b, P_b]`` of every network."""
    objective, flat = _prepared(ens, task, theta, task_index)
    sizes = (objective.coords * objective.coords).tolist()
    starts = torch.zeros(len(sizes) + 1, dtype=torch.int64)
    starts[1:] = torch.tensor(sizes).cumsum(0)
    room_for_hessians(int(starts[-1]), objective.coords, flat)
    buffer = torch.zeros(int(starts[-1]), dtype=flat.dtype)
    objective.hessian(flat, buffer, starts, ggn=ggn)
    return [
        buffer[at : at + n * n].view(n, n)
        for at, n in zip(starts[:-1].tolist(), objective.coords.tolist(), strict=True)
    ]


def _prepared(ens: Any, task: Any, theta: Any, task_index: Any) -> tuple[Any, torch.Tensor]:
    if not isinstance(ens, Ensemble):
        raise TypeError(f"ens must be an edt.Ensemble, got {type(ens).__name__}")
    if ens.dtype != torch.float64:
        raise TypeError(f"losses over infinite data need float64 networks, got {ens.dtype}")
    index = torch.zeros(int(ens.B), dtype=torch.int64)
    if task_index is not None:
        index = integers("task_index", task_index).expand(int(ens.B)).clone()
        if bool(((index < 0) | (index >= task.T)).any()):
            raise ValueError(f"task_index must be in 0..{task.T - 1}, got {index.tolist()}")
    flat = parameters(ens, theta).detach().contiguous()
    return task.objective(ens, index), flat
