"""Objectives: losses of ensembles with their derivatives, behind one small protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from edt.objectives.coordinates import Coordinates, segment_max, segment_sum
from edt.objectives.data import DataObjective
from edt.objectives.dense import hessians
from edt.objectives.device import DeviceObjective
from edt.objectives.mapped import Factors, MappedObjective, Subspace, orthonormal
from edt.objectives.path import PathObjective
from edt.objectives.penalty import NormPenalty
from edt.objectives.protocol import Objective
from edt.objectives.section import Section

if TYPE_CHECKING:
    from edt.ensemble import Ensemble

__all__ = [
    "Coordinates",
    "DataObjective",
    "DeviceObjective",
    "Factors",
    "MappedObjective",
    "NormPenalty",
    "Objective",
    "PathObjective",
    "Section",
    "Subspace",
    "hessians",
    "objective_of",
    "orthonormal",
    "segment_max",
    "segment_sum",
]


def objective_of(ens: Ensemble, task: Any, task_index: torch.Tensor) -> Objective:
    """The objective of an ensemble on a task; what it is given and writes is on the CPU.

    Args:
        ens: the networks; only their structure is used. On a GPU the work is done there, unless
            the task has an objective of its own.
        task: an `edt.Task`, or anything with a method ``objective(ens, task_index)`` that returns
            an `Objective`.
        task_index: int64 ``[B]``.
    """
    make = getattr(task, "objective", None)
    if make is None:
        kind = DeviceObjective if ens.device.type == "cuda" else DataObjective
        found: Objective = kind(ens, task, task_index)
        return found
    made: Objective = make(ens.to(device="cpu"), task_index)
    return made
