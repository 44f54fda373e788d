"""What `converge` and `gradient_flow` are given, checked and in float64."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import torch

from edt.objectives import Objective
from edt.tasks.given import fitted, index_of, moves, task_and_networks
from edt.training.devices import usable_device

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

    networks: Any
    task: Any
    task_index: torch.Tensor
    objective: Objective
    fingerprint: str
    device: torch.device
    home: torch.device

    def select(self, chosen: torch.Tensor) -> Inputs:
        """The same for some of the networks (int64 indices)."""
        networks, index = self.networks.select(chosen), self.task_index[chosen]
        objective = self.task.objective(networks.to(device=self.device), index)
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
    task, networks = task_and_networks(task, networks)
    home = networks.device
    where = usable_device(device, home if moves(task) else torch.device("cpu"))
    networks = networks.to(device="cpu")
    if networks.dtype != torch.float64:
        if progress:
            print(f"edt: {caller} works in float64; the networks are converted", file=sys.stderr)
        if moves(task):
            # The data they were trained on: rounded to their dtype.
            task = task.to(networks.dtype)
        networks = networks.to(torch.float64)
    data = fitted(task, networks, where)
    index = index_of(data, networks, task_index)
    objective = data.objective(networks.to(device=where), index)
    return Inputs(networks, data, index, objective, data.fingerprint(), where, home)
