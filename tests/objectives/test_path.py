"""The mean loss along a path: quadrature, gradient, Hessian and products."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.objectives import PathObjective, hessians
from edt.objectives.path import blend, nodes_of
from edt.tasks.given import objective_of


def test_quadrature_is_exact_for_polynomials_on_each_half():
    t, weight = nodes_of(8)
    for power in range(8):
        for half, low, high in ((t < 0.5, 0.0, 0.5), (t > 0.5, 0.5, 1.0)):
            exact = (high ** (power + 1) - low ** (power + 1)) / (power + 1)
            assert float((weight * t**power)[half].sum()) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("curve", ["chain", "bezier"])
def test_paths_meet_their_ends(curve):
    t = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    u, c, v = blend(curve, t)
    assert torch.equal(u + c + v, torch.ones_like(t))
    assert u[0] == 1.0 and v[-1] == 1.0 and c[0] == c[-1] == 0.0
    assert float(c[2]) == (1.0 if curve == "chain" else 0.5)


@pytest.mark.parametrize("curve", ["chain", "bezier"])
def test_derivatives_against_autograd(curve):
    data = edt.tasks.teacher_student(2, 2, n=30, seed=1)
    ens = edt.Ensemble.init([2, 3], [0], d_in=2, d_out=1)
    ens = ens.with_masks(torch.arange(ens.total) % 7 != 3)
    ends = [edt.Ensemble.init([2, 3], [s], d_in=2, d_out=1).theta * ens.masks for s in (1, 2)]
    nodes, weights = nodes_of(6)
    again = torch.arange(2).repeat(6)
    points = objective_of(ens.select(again), data, torch.zeros(12, dtype=torch.int64))
    path = PathObjective(points, *ends, curve, nodes, weights)

    def mean(theta):
        u, c, v = blend(curve, nodes)
        total = torch.zeros(2, dtype=torch.float64)
        for k in range(6):
            point = u[k] * ends[0] + c[k] * theta + v[k] * ends[1]
            total = total + weights[k] * edt.loss(ens, data, point, backend="reference")
        return total

    loss, grad = torch.zeros(2, dtype=torch.float64), torch.zeros_like(ens.theta)
    path.loss_and_grad(ens.theta, loss, grad)
    again_loss = torch.zeros(2, dtype=torch.float64)
    path.loss(ens.theta, again_loss)
    theta = ens.theta.clone().requires_grad_(True)
    wanted = mean(theta)
    (slope,) = torch.autograd.grad(wanted.sum(), theta)
    # Sums over 30 samples and 6 nodes of numbers of order one.
    close = {"rtol": 1e-11, "atol": 1e-13}
    assert torch.allclose(loss, wanted, **close) and torch.allclose(again_loss, wanted, **close)
    assert torch.allclose(grad, slope, **close)
    whole = torch.autograd.functional.hessian(lambda z: mean(z).sum(), ens.theta)
    vectors = torch.randn(3, ens.total, generator=torch.Generator().manual_seed(0),
                          dtype=torch.float64) * ens.masks  # fmt: skip
    out = torch.zeros_like(vectors)
    path.hvp(ens.theta, vectors, out)
    assert torch.allclose(out, vectors @ whole, **close)
    for b, matrix in zip((1, 0), hessians(path, ens.theta, torch.tensor([1, 0])), strict=True):
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        free = ens.state[span] == 1
        assert torch.allclose(matrix, whole[span, span][free][:, free], **close)
    grad.fill_(7.0)
    loss.fill_(7.0)
    path.loss_and_grad(ens.theta, loss, grad, torch.tensor([0, 1], dtype=torch.uint8))
    assert float(loss[0]) == 7.0 and bool((grad[: ens.offsets[1]] == 7.0).all())
    assert torch.allclose(grad[ens.offsets[1] :], slope[ens.offsets[1] :], **close)
