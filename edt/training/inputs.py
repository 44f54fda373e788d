"""What `converge` and `gradient_flow` are given, checked and in float64."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch

from edt.ensemble import Ensemble
from edt.objectives import Objective, objective_of
from edt.training import checks
from edt.training.masked import as_task, check_fits
from edt.training.structure import as_dtype, fingerprint_task

__all__ = ["Inputs", "ready"]


@dataclass
class Inputs:
    """Attributes:
    networks: float64.
    task: in float64.
    task_index: int64 ``[B]``.
    objective: of the networks on the task.
    fingerprint: identifies the task.
    """

    networks: Ensemble
    task: Any
    task_index: torch.Tensor
    objective: Objective
    fingerprint: str

    def select(self, chosen: torch.Tensor) -> Inputs:
        """The same for some of the networks (int64 indices)."""
        networks, index = self.networks.select(chosen), self.task_index[chosen]
        objective = objective_of(networks, self.task, index)
        return Inputs(networks, self.task, index, objective, self.fingerprint)


def ready(caller: str, task: Any, networks: Any, task_index: Any, progress: bool) -> Inputs:
    """Check and convert; ``caller`` names the function in the note about float32.

    Raises:
        TypeError, ValueError: not a task, not an ensemble, or they do not fit.
    """
    # A task with an objective of its own (infinite data) is taken as it is.
    own = callable(getattr(task, "objective", None))
    data: Any = task if own else as_task(task)
    if not isinstance(networks, Ensemble):
        raise TypeError(f"networks must be an edt.Ensemble, got {type(networks).__name__}")
    if own:
        for name in ("d_in", "d_out"):
            if getattr(networks, name) != getattr(task, name):
                raise ValueError(
                    f"networks have {name}={getattr(networks, name)}, the task "
                    f"{name}={getattr(task, name)}"
                )
    else:
        data = check_fits(data, networks)
    index = checks.index_per_network("task_index", task_index, int(networks.B), int(data.T))
    if networks.dtype != torch.float64:
        if progress:
            print(f"edt: {caller} works in float64; the networks are converted", file=sys.stderr)
        networks = as_dtype(networks, torch.float64)
        data = data if own else data.to(torch.float64)
    fingerprint = data.fingerprint() if own else fingerprint_task(data)
    return Inputs(networks, data, index, objective_of(networks, data, index), fingerprint)
