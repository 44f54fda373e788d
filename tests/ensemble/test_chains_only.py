"""What needs neurons of one activation says so of other networks, and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import edt
from edt import landscape, lottery
from edt.lottery.crossed import cross, neurons_of
from edt.lottery.subsets import subset_tickets


def modules(count: int = 2) -> edt.ModuleEnsemble:
    """Networks that could be chains, but are given as modules."""
    made = [nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)) for _ in range(count)]
    return edt.ModuleEnsemble([module.double() for module in made])


def tasks() -> list[Any]:
    """Data, and data of modules."""
    x, y = torch.zeros(4, 2, dtype=torch.float64), torch.zeros(4, 1, dtype=torch.float64)
    return [edt.Task(x, y), edt.ModuleTask((x, y))]


NEURONS = torch.zeros(2, 1, dtype=torch.int64)
INDEX = torch.zeros(2, dtype=torch.int64)
CHAINS_ONLY: dict[str, Callable[[Any, Any], Any]] = {
    "certify": lambda task, nets: edt.certify(task, nets),
    "channel_limits": lambda task, nets: edt.channel_limits(task, nets),
    "match_teacher": lambda task, nets: lottery.match_teacher(task, nets, nets, INDEX),
    "neuron_distance": lambda task, nets: lottery.neuron_distance(nets, nets, NEURONS),
    "at_reference_scale": lambda task, nets: lottery.at_reference_scale(nets, "glorot", 2),
    "subset_tickets": lambda task, nets: subset_tickets(nets, 1, INDEX),
    "neurons_of": lambda task, nets: neurons_of(nets, NEURONS),
    "cross": lambda task, nets: cross(nets, nets),
}


@pytest.mark.parametrize("name", CHAINS_ONLY)
def test_modules_are_refused_by_name(name: str) -> None:
    for task in tasks():
        with pytest.raises(TypeError, match=r"chains of one activation .* got an edt.ModuleEns"):
            CHAINS_ONLY[name](task, modules())


STAGES: dict[str, Callable[[Any, Any], Any]] = {
    "constant_inertia": lambda task, nets: landscape.constant_inertia((0, 0, 9), nets, task),
    "embed.split": lambda task, nets: edt.embed.split(nets, neuron=0, mu=0.5),
    "embed.split_every": lambda task, nets: edt.embed.split_every(nets),
    "grow": lambda task, nets: landscape.grow(nets, 3),
    "split_matrices": lambda task, nets: edt.split_matrices(task, nets),
}


@pytest.mark.parametrize("name", STAGES)
def test_what_splits_units_names_the_stage_that_has_none(name: str) -> None:
    odd = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Tanh(), nn.Linear(2, 1)).double()
    with pytest.raises(TypeError, match=r"stage '1' is LayerNorm.* units are defined for chains"):
        STAGES[name](tasks()[0], edt.ModuleEnsemble([odd, odd]))
