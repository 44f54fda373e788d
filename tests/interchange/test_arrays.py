"""Arrays of other libraries in and out, functions for torch.func, operators for scipy."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import func

import edt
from edt.errors import ShapeError
from edt.ops import functional


class Foreign:
    """An array of a library that torch knows only by its DLPack protocol."""

    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


@pytest.fixture(scope="module")
def networks():
    ens = edt.Ensemble.init([2, 4], [0], d_in=3, d_out=2, sparsity=0.2)
    frozen = torch.zeros(ens.total, dtype=torch.bool)
    frozen[ens.state.nonzero()[2]] = True
    return ens.with_frozen(frozen)


@pytest.fixture(scope="module")
def task():
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(6, 3, dtype=torch.float64, generator=draw)
    return edt.Task(x, torch.randn(6, 2, dtype=torch.float64, generator=draw))


def test_numpy_reads_tensors_in_place(networks, task):
    ens = networks.with_theta(networks.theta)
    view = np.from_dlpack(ens.theta)
    assert view.ctypes.data == ens.theta.data_ptr()
    ens.theta[0] = 3.25
    assert view[0] == 3.25
    result = edt.masked_train(task, ens, steps=2, progress=False)
    for tensor in (result.loss, result.networks.theta, *edt.hessian(ens, task)):
        assert np.from_dlpack(tensor).ctypes.data == tensor.data_ptr()


@pytest.mark.parametrize("kind", [Foreign, np.flip, np.array])
def test_arrays_go_in_and_are_copied(networks, kind):
    values = networks.theta.numpy().copy()
    given = kind(values)
    plain = np.array(given if isinstance(given, np.ndarray) else values)
    ens = networks.with_state(torch.ones_like(networks.state)).with_theta(given)
    assert torch.equal(ens.theta, torch.from_numpy(plain))
    values[:] = -1.0
    assert torch.equal(ens.theta, torch.from_numpy(plain))


def test_read_only_and_foreign_arrays_make_a_task(task):
    x, y = task.x.numpy().copy(), task.y.numpy().copy()
    x.flags.writeable = False
    made = edt.Task(x, Foreign(y))
    assert torch.equal(made.x, task.x) and torch.equal(made.y, task.y)
    y[:] = 0.0
    assert torch.equal(made.y, task.y)


@pytest.mark.parametrize("bad", [np.array(["a"] * 40), Foreign(np.array([1j] * 40)), [0.0] * 40])
def test_what_is_not_numbers_is_refused(networks, bad):
    with pytest.raises(TypeError, match="theta must"):
        networks.with_theta(bad)


def test_functional_call_is_predict(networks, task):
    expected = edt.predict(networks, task)
    found = edt.functional_call(networks, networks.theta, task.x)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    one = edt.functional_call(networks, networks.theta, task.x[2])
    torch.testing.assert_close(one, expected[:, 2], rtol=1e-13, atol=1e-13)


def test_functional_call_under_every_transform(networks, task):
    """Against the compiled ops, finite differences and each other."""

    def outputs(theta, x):
        return edt.functional_call(networks, theta, x)

    def objective(theta):
        f = outputs(theta, task.x)
        return (f - task.y).square().sum(-1).mean(-1).sum()

    theta, close = networks.theta, {"rtol": 1e-11, "atol": 1e-12}
    gradient = edt.loss_and_grad(networks, task)[1]
    torch.testing.assert_close(func.grad(objective)(theta), gradient, **close)
    v = torch.linspace(-1, 1, theta.numel(), dtype=torch.float64)
    product = func.jvp(func.grad(objective), (theta,), (v,))[1]
    torch.testing.assert_close(product, edt.hvp(networks, task, v), **close)
    whole = func.hessian(objective)(theta)
    free = torch.nonzero(networks.state == 1).flatten()
    blocks = torch.block_diag(*edt.hessian(networks, task))
    torch.testing.assert_close(whole[free][:, free], blocks, **close)

    several = torch.stack([theta, 2 * theta])
    mapped = func.vmap(func.vmap(outputs, (None, 0)), (0, None))(several, task.x)
    for k, row in enumerate(several):
        torch.testing.assert_close(mapped[k].transpose(0, 1), outputs(row, task.x), **close)

    x, step = task.x[0], 1e-6
    slope = func.jacfwd(outputs, 1)(theta, x)
    torch.testing.assert_close(slope, func.jacrev(outputs, 1)(theta, x), **close)
    for i in range(3):
        aside = torch.zeros(3, dtype=torch.float64)
        aside[i] = step
        measured = (outputs(theta, x + aside) - outputs(theta, x - aside)) / (2 * step)
        # Central differences: step^2 from the third derivative, 1e-16 / step from rounding.
        torch.testing.assert_close(slope[..., i], measured, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "theta, x, kind, says",
    [
        (torch.zeros(3), torch.zeros(2, 3), ShapeError, "theta must have shape"),
        (torch.zeros(40), torch.zeros(2, 4), ShapeError, r"x must have shape \[N, 3\]"),
        (torch.zeros(40), torch.zeros(2, 3).double(), TypeError, "one floating dtype"),
        (np.zeros(40), torch.zeros(2, 3), TypeError, "theta must be a torch.Tensor"),
    ],
)
def test_functional_call_refuses(networks, theta, x, kind, says):
    with pytest.raises(kind, match=says):
        edt.functional_call(networks, theta, x)


@pytest.mark.parametrize("ggn", [False, True])
def test_scipy_finds_the_ends_of_the_spectrum(networks, task, ggn):
    """ARPACK over the operator against the dense eigenvalues."""
    for b in range(networks.B):
        operator = edt.HessianOperator(networks, task, network=b, ggn=ggn)
        dense = torch.linalg.eigvalsh(edt.hessian(networks, task, ggn=ggn)[b])
        for which, expected in (("SA", dense[:2]), ("LA", dense[-2:])):
            found = eigsh(operator, k=2, which=which, return_eigenvectors=False)
            assert np.allclose(np.sort(found), expected, rtol=1e-9, atol=1e-9)


def test_examples():
    tests = doctest.DocTestFinder().find(functional, globs={"edt": edt})
    ran = [doctest.DocTestRunner().run(test) for test in tests]
    assert sum(one.failed for one in ran) == 0 and sum(one.attempted for one in ran) >= 6
