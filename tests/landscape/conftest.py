"""Networks on exact critical points, and small helpers shared by the landscape tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import edt
from edt.ensemble import Ensemble
from edt.landscape import critical_task


def networks(widths, count=1, *, d_in=2, d_out=1, activation="tanh", bias=True, first=0, **more):
    """Random networks of order-one weights: every width with ``count`` seeds."""
    return Ensemble.init(
        widths,
        range(first, first + count),
        d_in=d_in,
        d_out=d_out,
        activation=activation,
        scheme="normal",
        scale=1.3,
        bias=bias,
        **more,
    )


def inputs(n, d_in, seed=0):
    """Standard normal ``[n, d_in]``."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d_in, generator=draw, dtype=torch.float64)


def on_critical_points(ens, n=61, seed=0, residual=1.0):
    """(task, task_index) at which each network of ``ens`` stands on a critical point."""
    data = critical_task(ens, inputs(n, ens.d_in, seed), residual=residual, seed=seed)
    return data, torch.arange(ens.B)


def slope(ens, data, index):
    """Largest gradient entry of each network, over all parameters that are trainable."""
    _, grad = edt.loss_and_grad(ens, data, task_index=index)
    return torch.stack(
        [
            grad[int(a) : int(b)].abs().max()
            for a, b in zip(ens.offsets[:-1], ens.offsets[1:], strict=True)
        ]
    )


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Threads cost more than they give on matrices this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make():
    """The functions above."""
    return SimpleNamespace(
        networks=networks, inputs=inputs, on_critical_points=on_critical_points, slope=slope
    )
