"""Who takes the steps on an objective."""

from __future__ import annotations

from typing import Any

import torch

from edt.objectives import CoreObjective, ModuleObjective, Objective
from edt.objectives.function import FunctionObjective
from edt.training.batch_trainer import FunctionTrainer
from edt.training.changing_data import ChangingData, ChangingTrainer
from edt.training.module_trainer import ModuleTrainer
from edt.training.objective_trainer import ObjectiveTrainer
from edt.training.state import Trainer

__all__ = ["engine", "trainer"]


def trainer(objective: Objective) -> Trainer:
    """The compiled core, or PyTorch for losses it lacks; tensors lie where the objective works."""
    if isinstance(objective, CoreObjective):
        return objective.calls
    if isinstance(objective, ModuleObjective):
        return ModuleTrainer(objective)
    if isinstance(objective, FunctionObjective):
        return FunctionTrainer(objective)
    return ObjectiveTrainer(objective)


def engine(task: Any, networks: Any, index: torch.Tensor, data: ChangingData | None) -> Trainer:
    """The trainer of networks on a task, or on data that change.

    Args:
        task: of the networks' dtype, where losses are computed.
        networks: B, where parameters lie (`edt.training.devices.seat`).
        index: int64 ``[B]``, which target each learns.
        data: what steps see; None: the task.
    """

    def plain(task: Any, networks: Any, index: torch.Tensor) -> Trainer:
        there = networks.to(device=getattr(task, "device", networks.device))
        return trainer(task.objective(there, index))

    if data is None:
        return plain(task, networks, index)
    return ChangingTrainer(data, networks, task, index, plain)
