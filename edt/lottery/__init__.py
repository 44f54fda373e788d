"""Lottery tickets: find them, control them, perturb everything around them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from edt.arguments import checked
from edt.lottery.match import Match, match_teacher, neuron_distance
from edt.lottery.module_recipe import ModuleRecipe
from edt.lottery.perturbations import KINDS, Rests, perturb_rest
from edt.lottery.recipe import Recipe, at_reference_scale
from edt.lottery.tickets import Tickets, neuron_mask
from edt.lottery.trial import Ends, Protocol, run_trial

__all__ = [
    "KINDS",
    "Ends",
    "Match",
    "ModuleRecipe",
    "Protocol",
    "Recipe",
    "Rests",
    "Tickets",
    "at_reference_scale",
    "match_teacher",
    "neuron_distance",
    "neuron_mask",
    "perturb_rest",
    "run_trial",
]

#: Modules reachable as attributes without importing them first.
_MODULES = (
    "adversary", "bisection", "connectivity", "controls", "criteria", "dynamic", "interchange",
    "iterative", "multistart", "prune", "pruning_schedules",
)  # fmt: skip

checked(__name__)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"edt.lottery.{name}")
    raise AttributeError(f"module 'edt.lottery' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
