"""Short runs of training on an engine, every network with its own rates and seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from edt import Ensemble
from edt.training.state import Rule, State

STEPS = 25
PLAIN = {
    "optimizer": "adam",
    "momentum": 0.0,
    "dampening": 0.0,
    "nesterov": False,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "batch_size": 0,
    "tol": 0.0,
    "loss_target": float("-inf"),
    "last_step": STEPS,
}


def start(ens: Ensemble, rule: Mapping[str, Any], scale: float = 1.0) -> tuple[State, Rule]:
    """State before the first of STEPS steps, and how they are taken: Adam, but for ``rule``.

    Args:
        ens: where they start.
        rule: entries of `Rule.hyper` that differ; ``scaled`` for rates that differ between
            parameters, ``clipped`` for norms of which some are cut.
        scale: factor on the parameters.
    """
    hyper = {**PLAIN, **rule}
    scaled, clipped = hyper.pop("scaled", False), hyper.pop("clipped", False)
    draw = torch.Generator().manual_seed(5)
    factors = 2.0 * torch.rand(ens.total, generator=draw, dtype=ens.dtype)
    # One of four is never cut, one always.
    norms = torch.tensor([0.3, 1e9, 1e-3, 1.0], dtype=torch.float64)
    how = Rule(
        hyper,
        lr=torch.linspace(0.01, 0.05, ens.B, dtype=torch.float64),
        weight_decay=torch.linspace(0.1, 0.0, ens.B, dtype=torch.float64),
        seeds=torch.arange(ens.B) + 7,
        factors=torch.linspace(1, 0.5, STEPS, dtype=torch.float64),
        record=torch.tensor([0, 1, 5, 10, STEPS]),
        lr_scale=factors.masked_fill(factors < 0.2, 0.0) if scaled else None,
        clip_norm=norms.repeat(ens.B)[: ens.B] if clipped else None,
    )
    return State.start(ens.theta * scale, ens.B, how, params=False), how


def results(ens: Ensemble, state: State) -> dict[str, torch.Tensor]:
    """What a run changes; moments where something is trained."""
    free = ens.state == 1
    return {
        name: tensor[free] if name in ("m", "v") else tensor
        for name, tensor in state.tensors().items()
    }
