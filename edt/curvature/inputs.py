"""Arguments shared by the curvature functions, checked."""

from __future__ import annotations

from typing import Any

import torch

from edt.ensemble import Ensemble
from edt.objectives import Objective, objective_of
from edt.ops.checks import parameters, problem_of

__all__ = ["prepare", "probes", "whole"]


def prepare(
    ens: Any, task: Any, theta: torch.Tensor | None, task_index: Any
) -> tuple[Objective, torch.Tensor]:
    """(objective, flat parameters) of an ensemble on a task; the parameters on the CPU.

    Args:
        ens: B networks, on any device: the objective works there.
        task: an `edt.Task`, or a task with an objective of its own (`edt.population`).
        theta: flat ``[total]``, default the ensemble's own.
        task_index: int64 ``[B]``, default 0.

    Raises:
        TypeError, ValueError: not an ensemble or task, or they do not fit.
    """
    if not isinstance(ens, Ensemble):
        raise TypeError(f"ens must be an edt.Ensemble, got {type(ens).__name__}")
    if callable(getattr(task, "objective", None)):
        index = torch.zeros(int(ens.B), dtype=torch.int64)
        if task_index is not None:
            index = torch.as_tensor(task_index, dtype=torch.int64).expand(int(ens.B)).clone()
    else:
        found = problem_of(ens, task, task_index).task_index
        index = torch.zeros(int(ens.B), dtype=torch.int64) if found is None else found.cpu()
    return objective_of(ens, task, index), parameters(ens, theta).detach().cpu().contiguous()


def whole(name: str, value: Any, least: int = 1) -> int:
    """An integer of at least ``least``.

    Raises:
        TypeError: not an integer. ValueError: too small.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer >= {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
    return value


def probes(size: int, count: int, seed: int) -> torch.Tensor:
    """Random signs, float64 ``[count, size]``; they depend on nothing else."""
    draw = torch.Generator().manual_seed(int(seed))
    signs = torch.randint(0, 2, (count, size), generator=draw, dtype=torch.int64)
    return (2 * signs - 1).to(torch.float64)
