"""Tickets in small networks of several widths, with and without pruned parameters."""

from __future__ import annotations

import pytest
import torch

from edt.ensemble import Ensemble
from edt.lottery import Recipe, Tickets


@pytest.fixture
def recipe():
    return Recipe("glorot")


@pytest.fixture
def tickets():
    """Three networks of unequal widths, every third parameter in the ticket, some pruned."""
    ens = Ensemble.init([3, 5, 4], [7], d_in=2, d_out=1, scheme="normal")
    state = torch.ones(ens.total, dtype=torch.uint8)
    state[5::11] = 0
    ens = ens.with_state(state)
    keep = (torch.arange(ens.total) % 3 == 0) & (state != 0)
    return Tickets.of(ens, keep, names=[11, 5, 8])
