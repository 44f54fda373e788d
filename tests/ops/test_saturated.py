"""Where units saturate and products of inputs overflow, 0 stays 0: no engine makes NaN of it."""

from __future__ import annotations

import pytest
import torch

import edt

SATURATING = ["tanh", "sigmoid", "erf"]


def case(activation, widths, dtype, masked=False):
    """Inputs whose squares overflow; every unit that sees them is saturated."""
    big = 1e200 if dtype == torch.float64 else 1e30
    x = torch.tensor([[1.0, big], [-1.0, -big], [2.0, big], [0.5, big], [0.1, -big]], dtype=dtype)
    ens = edt.Ensemble.init([widths], [0], d_in=2, d_out=2, activation=activation, dtype=dtype)
    if len(widths) > 1:
        ens.weight(0, 1)[:] *= big
    if masked:
        state = ens.state.clone()
        state[1::5] = 0
        state[0] = 1
        state[2::7] = 2
        ens = ens.with_state(state)
    y = torch.stack([torch.sin(x[:, 0]), torch.cos(x[:, 0])], 1)
    return ens, edt.Task(x, y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("widths", [(3,), (20,), (3, 4)])
@pytest.mark.parametrize("activation", SATURATING)
@pytest.mark.parametrize("ggn", [False, True])
def test_hessians_are_numbers_where_products_are(activation, widths, masked, dtype, ggn):
    ens, task = case(activation, widths, dtype, masked)
    assert torch.isfinite(edt.loss(ens, task)).all()
    (matrix,) = edt.hessian(ens, task, ggn=ggn)
    free = torch.nonzero(ens.state == 1).flatten()
    units = torch.zeros(free.numel(), ens.total, dtype=dtype)
    units[torch.arange(free.numel()), free] = 1.0
    product = edt.ggn_vp if ggn else edt.hvp
    columns = product(ens, task, units)[:, free]
    assert torch.isfinite(columns).all()
    assert torch.isfinite(matrix).all()
    assert torch.equal(matrix, matrix.T)
    # Both are sums of five samples in another order.
    scale = float(columns.abs().max())
    slack = 200 * torch.finfo(dtype).eps * scale
    torch.testing.assert_close(matrix, columns, rtol=1e-5, atol=slack)
    if dtype == torch.float64:
        (twin,) = edt.hessian(ens, task, ggn=ggn, backend="reference")
        torch.testing.assert_close(matrix, twin, rtol=1e-9, atol=slack)


def test_a_saturated_network_beside_others():
    ens, task = case("tanh", (3,), torch.float64)
    other = edt.Ensemble.init([(5,)], [4], d_in=2, d_out=2)
    both = edt.Ensemble.concat([other, ens])
    assert torch.equal(edt.hessian(both, task)[1], edt.hessian(ens, task)[0])
    spectra = edt.hessian_spectrum(both, task)
    assert all(torch.isfinite(values).all() for values in spectra)


def test_diverged_networks_stay_diverged():
    ens, task = case("tanh", (3,), torch.float64)
    theta = ens.theta.clone()
    theta[-1] = float("nan")
    assert not torch.isfinite(edt.hessian(ens.with_theta(theta), task)[0]).all()
