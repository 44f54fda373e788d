"""Random ragged ensembles and tasks, small enough for autograd."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from edt.ensemble import Ensemble
from edt.tasks import Task


def ensemble(widths, *, d_in=2, d_out=1, seed=0, activation="tanh", masked=False, **more):
    """Networks with distinct random parameters; ``masked``: some pruned, some frozen."""
    ens = Ensemble.init(
        widths, seed, d_in=d_in, d_out=d_out, activation=activation, scheme="normal", **more
    )
    if masked:
        draw = torch.rand(ens.total, generator=torch.Generator().manual_seed(seed))
        state = torch.ones(ens.total, dtype=torch.uint8)
        state[draw < 0.2] = 0
        state[draw > 0.85] = 2
        ens = ens.with_state(state)
    return ens


def task(n=37, d_in=2, d_out=1, seed=5, targets=1):
    """Smooth targets on n random inputs (37: no multiple of a vector length)."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d_in, generator=draw, dtype=torch.float64)
    mix = torch.randn(targets, d_in, d_out, generator=draw, dtype=torch.float64)
    y = torch.sin(x @ mix) + 0.3 * (x**2).sum(-1, keepdim=True)
    return Task(x, y if targets > 1 else y[0])


@pytest.fixture
def cases():
    """The functions above."""
    return SimpleNamespace(ensemble=ensemble, task=task)
