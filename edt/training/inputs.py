"""What `converge` and `gradient_flow` are given, checked and in float64."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import torch

from edt.ensemble import Ensemble
from edt.objectives import Objective, objective_of
from edt.training import checks
from edt.training.devices import usable_device
from edt.training.masked import as_task, check_fits
from edt.training.structure import as_dtype, fingerprint_task

__all__ = ["Inputs", "ready"]


@dataclass
class Inputs:
    """Attributes:
    networks: float64, on the CPU.
    task: in float64, on ``device`` if it is finite data.
    task_index: int64 ``[B]``.
    objective: of the networks on the task; it works on ``device``.
    fingerprint: identifies the task.
    device: where losses, gradients and curvature are computed.
    home: where the networks came from, and results go.
    """

    networks: Ensemble
    task: Any
    task_index: torch.Tensor
    objective: Objective
    fingerprint: str
    device: torch.device
    home: torch.device

    def select(self, chosen: torch.Tensor) -> Inputs:
        """The same for some of the networks (int64 indices)."""
        networks, index = self.networks.select(chosen), self.task_index[chosen]
        objective = objective_of(networks.to(device=self.device), self.task, index)
        return replace(self, networks=networks, task_index=index, objective=objective)


def ready(
    caller: str,
    task: Any,
    networks: Any,
    task_index: Any,
    progress: bool,
    device: Any = "auto",
) -> Inputs:
    """Check and convert; ``caller`` names the function in the note about float32.

    Args:
        caller, task, networks, task_index, progress: of the function.
        device: where to compute; "auto": where the networks are.

    Raises:
        TypeError, ValueError: not a task, not an ensemble, or they do not fit; a device that
            cannot be used.
    """
    # A task with an objective of its own (infinite data) is taken as it is.
    own = callable(getattr(task, "objective", None))
    data: Any = task if own else as_task(task)
    if not isinstance(networks, Ensemble):
        raise TypeError(f"networks must be an edt.Ensemble, got {type(networks).__name__}")
    home = networks.device
    where = usable_device(device, torch.device("cpu") if own else home)
    if own and where.type != "cpu":
        raise ValueError("losses over infinite data are computed on the CPU: use device='cpu'")
    networks = networks.to(device="cpu")
    if own:
        for name in ("d_in", "d_out"):
            if getattr(networks, name) != getattr(task, name):
                raise ValueError(
                    f"networks have {name}={getattr(networks, name)}, the task "
                    f"{name}={getattr(task, name)}"
                )
    else:
        data = check_fits(data.to(device="cpu"), networks)
    index = checks.index_per_network("task_index", task_index, int(networks.B), int(data.T))
    if networks.dtype != torch.float64:
        if progress:
            print(f"edt: {caller} works in float64; the networks are converted", file=sys.stderr)
        networks = as_dtype(networks, torch.float64)
        data = data if own else data.to(torch.float64)
    fingerprint = data.fingerprint() if own else fingerprint_task(data)
    data = data if own else data.to(device=where)
    objective = objective_of(networks.to(device=where), data, index)
    return Inputs(networks, data, index, objective, fingerprint, where, home)
