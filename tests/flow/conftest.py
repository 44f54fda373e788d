"""Small problems, and the same gradient flows by other means."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from edt import functional
from edt.ensemble import Ensemble
from edt.tasks import Task


def ensemble(widths, seeds=0, *, d_in=2, d_out=1, activation="tanh", masked=False, **more):
    """Random networks; ``masked``: some parameters pruned, some frozen."""
    ens = Ensemble.init(
        widths, seeds, d_in=d_in, d_out=d_out, activation=activation, scheme="normal", **more
    )
    if masked:
        draw = torch.rand(ens.total, generator=torch.Generator().manual_seed(3))
        state = torch.ones(ens.total, dtype=torch.uint8)
        state[draw < 0.15] = 0
        state[draw > 0.85] = 2
        ens = ens.with_state(state)
    return ens


def task(n=37, d_in=2, d_out=1, seed=5):
    """A smooth target on n random inputs (37: no multiple of a vector length)."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d_in, generator=draw, dtype=torch.float64)
    mix = torch.randn(d_in, d_out, generator=draw, dtype=torch.float64)
    return Task(x, torch.sin(x @ mix) + 0.3 * (x**2).sum(-1, keepdim=True))


def reference(ens, data, times, tau=None, method="Radau", rtol=1e-10):
    """Trajectory ``[len(times), total]`` of a one-network ensemble by scipy."""
    rate = np.ones(ens.total) if tau is None else 1.0 / tau.numpy()

    def velocity(_, theta):
        grad = functional.loss_and_grad(ens, data, torch.from_numpy(theta))[1]
        return -rate * grad.numpy()

    def jacobian(_, theta):
        # Frozen and pruned parameters stand still.
        out = np.zeros((ens.total, ens.total))
        free = np.flatnonzero(ens.state.numpy() == 1)
        hess = functional.hessian(ens, data, torch.from_numpy(theta))[0].numpy()
        out[np.ix_(free, free)] = -rate[free, None] * hess
        return out

    more = {"jac": jacobian} if method in ("Radau", "LSODA", "BDF") else {}
    found = solve_ivp(
        velocity,
        (0.0, float(times[-1])),
        ens.theta.numpy().copy(),
        method=method,
        t_eval=np.asarray(times),
        rtol=rtol,
        atol=1e-12,
        **more,
    )
    assert found.success, found.message
    return torch.from_numpy(found.y.T.copy())


@pytest.fixture
def cases():
    """The functions above."""
    return SimpleNamespace(ensemble=ensemble, task=task, reference=reference)
