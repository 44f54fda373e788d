"""Training of a case (op_cases) on an engine, the rules it is tried with, and what it means that
two ended alike.
"""

from __future__ import annotations

import torch
from short_runs import STEPS, results, start

CPU = torch.device("cpu")
TOLERANCE = 1e-10
RULES = {
    "adam": {},
    "adamw": {"optimizer": "adamw"},
    "gd": {"optimizer": "sgd"},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "dampening": {"optimizer": "sgd", "momentum": 0.8, "dampening": 0.3},
    "nesterov": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
    "minibatch": {"batch_size": 4},
    "minibatch, target": {"batch_size": 5, "loss_target": 0.7},
    "tolerance": {"tol": 0.2},
    "target": {"loss_target": 0.7},
    "scaled": {"scaled": True},
    "scaled adamw": {"optimizer": "adamw", "scaled": True},
    "scaled momentum": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "scaled": True},
    "clipped": {"optimizer": "sgd", "clipped": True},
    "clipped minibatch": {"clipped": True, "scaled": True, "batch_size": 4},
}


def train(kind, case, rule, cuts=(), scale=1.0, device=CPU):
    """All that a run changes, after STEPS steps in calls that end at ``cuts`` and at the end."""
    ens, task, index = case.build()
    ens, task = ens.to(device=device), task.to(device=device)
    engine = kind(ens, task, index)
    state, how = start(ens, rule, scale)
    for until in (*cuts, STEPS):
        engine.train(state, how, until)
    engine.wait()
    return {name: tensor.cpu() for name, tensor in results(ens, state).items()}


def assert_close(found, wanted):
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name],
            value,
            rtol=TOLERANCE,
            atol=TOLERANCE,
            equal_nan=True,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def assert_same(one, two):
    for name, value in one.items():
        assert torch.equal(value.nan_to_num(9.0), two[name].nan_to_num(9.0)), name
