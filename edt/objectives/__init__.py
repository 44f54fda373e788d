"""Objectives: losses of ensembles with their derivatives, behind one small protocol."""

from __future__ import annotations

from edt.arguments import checked
from edt.objectives.coordinates import Coordinates, segment_max, segment_sum
from edt.objectives.core import CoreObjective
from edt.objectives.dense import hessians
from edt.objectives.mapped import Factors, MappedObjective, Subspace, orthonormal
from edt.objectives.modules import ModuleObjective
from edt.objectives.path import PathObjective
from edt.objectives.penalty import NormPenalty
from edt.objectives.protocol import Objective
from edt.objectives.section import Section
from edt.objectives.total import SumObjective

__all__ = [
    "Coordinates",
    "CoreObjective",
    "Factors",
    "MappedObjective",
    "ModuleObjective",
    "NormPenalty",
    "Objective",
    "PathObjective",
    "Section",
    "Subspace",
    "SumObjective",
    "hessians",
    "orthonormal",
    "segment_max",
    "segment_sum",
]

checked(__name__)
