"""Mapped objectives against autograd: subspaces and factors."""

from __future__ import annotations

import pytest
import torch

from edt import functional
from edt.errors import ShapeError
from edt.objectives import Factors, MappedObjective, Objective, Subspace, hessians, orthonormal
from edt.tasks.given import objective_of

INDEX = torch.tensor([0, 1, 0])


def draw(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=["subspace", "factors"])
def case(request, cases):
    """Ensemble, task, mapped objective, a point, and the map as a function for autograd."""
    ens, data = cases.ensemble([4, 4, 4], d_out=2), cases.task(d_out=2, targets=2)
    origin = ens.theta.view(3, -1).clone()
    if request.param == "subspace":
        basis = orthonormal(draw(3, origin.shape[1], 6))
        maps, start = Subspace(origin, basis), 0.3 * draw(3, 6, seed=4)
        plain = lambda phi: origin + torch.einsum("bpd,bd->bp", basis, phi)  # noqa: E731
    else:
        k, sides = 3, ((4, 2), (2, 4))
        factors = draw(3, Factors.products((2, 4, 2), k))
        maps = Factors(origin, (2, 4, 2), True, k, factors)
        start = maps.start + 0.2 * draw(3, maps.size, seed=4)

        def build(phi):
            parts, at = [], 0
            for fan_out, fan_in in sides:
                f = phi[:, at : at + fan_out * k].view(-1, fan_out, k)
                at += fan_out * k
                g = phi[:, at : at + k * fan_in].view(-1, k, fan_in)
                at += k * fan_in
                parts += [(f @ g).flatten(1), phi[:, at : at + fan_out]]
                at += fan_out
            return torch.cat(parts, 1)

        shift = origin - build(maps.start)
        plain = lambda phi: build(phi) + shift  # noqa: E731
    mapped = MappedObjective(objective_of(ens, data, INDEX), maps)

    def losses(flat):
        theta = plain(flat.view(3, -1)).flatten()
        return functional.loss(ens, data, theta, task_index=INDEX, backend="reference")

    return mapped, start.flatten(), losses


def test_loss_and_gradient(case):
    """1e-11: sums of 37 samples in another order."""
    mapped, phi, losses = case
    assert isinstance(mapped, Objective)
    loss, grad = torch.zeros(3, dtype=torch.float64), torch.zeros_like(phi)
    mapped.loss_and_grad(phi, loss, grad)
    at = phi.clone().requires_grad_()
    expected = losses(at)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-11, atol=1e-12)
    slope = torch.autograd.grad(expected.sum(), at)[0]
    torch.testing.assert_close(grad, slope, rtol=1e-11, atol=1e-12)
    only = torch.full_like(loss, -1.0)
    mapped.loss(phi, only, torch.tensor([0, 1, 0], dtype=torch.uint8))
    assert only.tolist() == [-1.0, loss[1].item(), -1.0]
    kept = torch.full_like(grad, 7.0)
    mapped.loss_and_grad(phi, loss, kept, torch.tensor([1, 0, 1], dtype=torch.uint8))
    size = mapped.maps.size
    assert (kept[size : 2 * size] == 7.0).all() and torch.equal(kept[:size], grad[:size])


def test_hessian_and_products(case):
    """1e-10: the chain rule adds a sum over parameters."""
    mapped, phi, losses = case
    size = mapped.maps.size
    whole = torch.autograd.functional.hessian(lambda at: losses(at).sum(), phi)
    found = hessians(mapped, phi, torch.tensor([0, 2]))
    for b, matrix in zip((0, 2), found, strict=True):
        span = slice(b * size, (b + 1) * size)
        torch.testing.assert_close(matrix, whole[span, span], rtol=1e-10, atol=1e-11)
    vectors = draw(2, phi.numel(), seed=9)
    out = torch.zeros_like(vectors)
    mapped.hvp(phi, vectors, out)
    torch.testing.assert_close(out, vectors @ whole, rtol=1e-10, atol=1e-11)
    lowest = torch.linalg.eigvalsh(hessians(mapped, phi, torch.tensor([1]), ggn=True)[0])[0]
    assert float(lowest) > -1e-12 * float(whole.abs().max())


def test_starts_at_the_origin(cases):
    ens = cases.ensemble([4, 4, 4])
    origin = ens.theta.view(3, -1)
    base = objective_of(ens, cases.task(targets=2), INDEX)
    factors = Factors(origin, (2, 4, 1), True, 5, draw(3, Factors.products((2, 4, 1), 5)))
    assert factors.size == 5 * (2 + 4) + 4 + 5 * (4 + 1) + 1
    # Two roundings of entries of size 1.
    found = MappedObjective(base, factors).networks(factors.start.flatten())
    torch.testing.assert_close(found, ens.theta, rtol=0.0, atol=1e-14)
    flat = Subspace(origin, orthonormal(draw(3, 17, 4)))
    still = MappedObjective(base, flat).networks(torch.zeros(12, dtype=torch.float64))
    assert torch.equal(still, ens.theta)


def test_orthonormal():
    """Orthonormal to a few roundings; the first columns do not depend on the rest."""
    wide = orthonormal(draw(4, 9, 9))
    gram = wide.transpose(1, 2) @ wide
    torch.testing.assert_close(gram, torch.eye(9).double().expand(4, 9, 9), rtol=0, atol=1e-14)
    assert torch.equal(orthonormal(draw(4, 9, 9)[:, :, :5]), wide[:, :, :5])


def test_a_network_does_not_depend_on_the_others(cases):
    ens, data = cases.ensemble([4, 4, 4]), cases.task()
    origin, basis = ens.theta.view(3, -1), orthonormal(draw(3, 17, 5))
    phi = draw(3, 5, seed=8)
    together = torch.zeros(3, dtype=torch.float64)
    zero = torch.zeros(3, dtype=torch.int64)
    mapped = MappedObjective(objective_of(ens, data, zero), Subspace(origin, basis))
    grad = torch.zeros(15, dtype=torch.float64)
    mapped.loss_and_grad(phi.flatten(), together, grad)
    alone = MappedObjective(
        objective_of(ens.select(torch.tensor([1])), data, zero[:1]),
        Subspace(origin[1:2], basis[1:2]),
    )
    loss, slope = torch.zeros(1, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    alone.loss_and_grad(phi[1], loss, slope)
    assert torch.equal(loss[0], together[1]) and torch.equal(slope, grad[5:10])


def test_refusals(cases):
    ens = cases.ensemble([3, 4])
    base = objective_of(ens, cases.task(), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ShapeError, match="one size"):
        MappedObjective(base, Subspace(draw(2, 13), draw(2, 13, 2)))
    with pytest.raises(ShapeError, match="directions"):
        Subspace(draw(2, 13), draw(2, 12, 2))
    with pytest.raises(ShapeError, match="factors"):
        Factors(draw(2, 13), (2, 3, 1), True, 2, draw(2, 5))
