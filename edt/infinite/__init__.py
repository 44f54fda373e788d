"""Infinite data: losses of networks over all standard normal inputs at once."""

from __future__ import annotations

from edt.arguments import checked
from edt.infinite.committee import committee, safran_shamir_task
from edt.infinite.normal import CLOSED, bivariate_normal, pairs, singles
from edt.infinite.objective import PopulationObjective
from edt.infinite.task import PopulationTask, population

__all__ = [
    "CLOSED",
    "PopulationObjective",
    "PopulationTask",
    "bivariate_normal",
    "committee",
    "pairs",
    "population",
    "safran_shamir_task",
    "singles",
]

checked(__name__)
