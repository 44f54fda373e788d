"""A task and networks at its minima, shared by the tests of views."""

from __future__ import annotations

import pytest
import torch

import edt


@pytest.fixture(scope="session")
def data():
    return edt.tasks.teacher_student(2, 3, n=60, normalise=True, seed=1)


@pytest.fixture(scope="session")
def ends(data):
    """Four networks of widths 2 and 3 at minima."""
    start = edt.masked_train(
        data, widths=[2, 3], seeds=range(2), steps=500, lr=0.02, progress=False
    ).networks
    found = edt.converge(data, start, lbfgs_steps=300, newton_steps=100, progress=False)
    assert set(found.verdict) == {"minimum"}
    return found.networks


@pytest.fixture(scope="session")
def linear(data):
    """Networks whose hidden layer is frozen: quadratic losses, at their minima."""
    ens = edt.Ensemble.init([2, 4], range(2), d_in=2, d_out=1, scheme="normal", scale=1.5)
    frozen = torch.ones(ens.total, dtype=torch.bool)
    for b in range(ens.B):
        ens.layout.weight(frozen, b, 1)[:] = False
        ens.layout.bias(frozen, b, 1)[:] = False
    found = edt.converge(data, ens.with_frozen(frozen), progress=False)
    assert set(found.status) == {"converged"}
    return found.networks
