"""Who takes the steps on an objective."""

from __future__ import annotations

from edt.objectives import CoreObjective, ModuleObjective, Objective
from edt.training.module_trainer import ModuleTrainer
from edt.training.objective_trainer import ObjectiveTrainer
from edt.training.state import Trainer

__all__ = ["trainer"]


def trainer(objective: Objective) -> Trainer:
    """The compiled core, or PyTorch for losses it lacks; tensors lie where the objective works."""
    if isinstance(objective, CoreObjective):
        return objective.calls
    if isinstance(objective, ModuleObjective):
        return ModuleTrainer(objective)
    return ObjectiveTrainer(objective)
