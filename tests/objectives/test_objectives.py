"""Objectives against the public ops and against torch's autograd."""

from __future__ import annotations

import pytest
import torch

from edt import functional
from edt.objectives import Coordinates, NormPenalty, Objective, hessians, segment_max, segment_sum
from edt.tasks import Task
from edt.tasks.given import objective_of


def evaluate(objective, theta, active=None):
    loss = torch.full((objective.B,), -1.0, dtype=torch.float64)
    grad = torch.full_like(theta, 7.0)
    objective.loss_and_grad(theta, loss, grad, active)
    return loss, grad


def penalised(ens, data, maxnorm):
    """The penalised loss of every network as a differentiable function of theta."""
    sizes = ens.coords

    def function(theta):
        total = functional.loss(ens, data, theta, backend="reference")
        free = torch.where(ens.state == 1, theta, torch.zeros_like(theta))
        norms = torch.stack(
            [part @ part for part in free.split((ens.offsets[1:] - ens.offsets[:-1]).tolist())]
        )
        excess = torch.relu(norms / (2 * sizes) - maxnorm)
        return total + excess**3 / 3

    return function


def test_data_objective_is_the_ops(cases):
    ens, data = cases.ensemble([2, 5, 3], masked=True), cases.task(targets=2)
    index = torch.tensor([0, 1, 0])
    objective = objective_of(ens, data, index)
    assert isinstance(objective, Objective)
    loss, grad = evaluate(objective, ens.theta)
    expected = functional.loss_and_grad(ens, data, task_index=index)
    assert torch.equal(loss, expected[0])
    assert torch.equal(grad, expected[1])
    for ggn in (False, True):
        found = hessians(objective, ens.theta, torch.tensor([0, 2]), ggn=ggn)
        wanted = functional.hessian(ens, data, task_index=index, ggn=ggn)
        assert torch.equal(found[0], wanted[0])
        assert torch.equal(found[1], wanted[2])
        vectors = torch.randn(3, ens.total, dtype=torch.float64)
        out = torch.empty_like(vectors)
        objective.hvp(ens.theta, vectors, out, ggn=ggn)
        product = functional.ggn_vp if ggn else functional.hvp
        assert torch.equal(out, product(ens, data, vectors, task_index=index))
    # S is the loss of a zero output.
    assert objective.scale[1] == pytest.approx(float((data.y[1] ** 2).mean()), rel=1e-14)


def test_inactive_networks_are_left_alone(cases):
    ens, data = cases.ensemble([2, 5, 3]), cases.task()
    active = torch.tensor([0, 1, 0], dtype=torch.uint8)
    base = objective_of(ens, data, torch.zeros(3, dtype=torch.int64))
    bounded = NormPenalty(base, torch.full((3,), 1e-3, dtype=torch.float64))
    for objective in (base, bounded):
        loss, grad = evaluate(objective, ens.theta, active)
        assert loss[0] == -1.0
        assert loss[2] == -1.0
        assert loss[1] > 0.0
        outside = torch.ones(ens.total, dtype=torch.bool)
        outside[int(ens.offsets[1]) : int(ens.offsets[2])] = False
        assert bool((grad[outside] == 7.0).all())
        assert bool((grad[~outside] != 7.0).all())


@pytest.mark.parametrize("masked", [False, True])
def test_penalty_against_autograd(cases, masked):
    ens, data = cases.ensemble([2, 4], masked=masked), cases.task(n=21)
    # The first network is below its bound, the second above.
    maxnorm = torch.tensor([50.0, 0.02], dtype=torch.float64)
    objective = NormPenalty(objective_of(ens, data, torch.zeros(2, dtype=torch.int64)), maxnorm)
    function = penalised(ens, data, maxnorm)
    loss, grad = evaluate(objective, ens.theta)
    only = torch.empty_like(loss)
    objective.loss(ens.theta, only)
    assert torch.equal(only, loss)
    # Two orders of the same sums of some tens of terms of size 1.
    torch.testing.assert_close(loss, function(ens.theta), rtol=1e-13, atol=0)
    leaf = ens.theta.clone().requires_grad_(True)
    slope = torch.autograd.grad(function(leaf).sum(), leaf)[0]
    torch.testing.assert_close(grad, slope, rtol=1e-12, atol=1e-14)
    plain = functional.loss(ens, data)
    assert loss[0] == plain[0]
    assert float(loss[1]) > float(plain[1])
    full = torch.func.hessian(lambda t: function(t).sum())(ens.theta)
    vectors = torch.randn(2, ens.total, generator=torch.Generator().manual_seed(1)).double()
    out = torch.empty_like(vectors)
    objective.hvp(ens.theta, vectors, out)
    free = vectors * (ens.state == 1)
    torch.testing.assert_close(out, (free @ full) * (ens.state == 1), rtol=1e-11, atol=1e-12)
    for b, matrix in enumerate(hessians(objective, ens.theta, torch.arange(2))):
        own = torch.nonzero(ens.state == 1).flatten()
        own = own[(own >= ens.offsets[b]) & (own < ens.offsets[b + 1])]
        torch.testing.assert_close(matrix, full[own][:, own], rtol=1e-11, atol=1e-12)
    ggn = hessians(objective, ens.theta, torch.arange(2), ggn=True)[1]
    base = functional.hessian(ens, data, ggn=True)[1]
    extra = torch.linalg.eigvalsh(ggn - base)
    assert float(extra[0]) > 0.0
    assert float(torch.linalg.eigvalsh(base)[0]) > -1e-12


def test_coordinates(cases):
    ens, data = cases.ensemble([2, 5, 3], masked=True), cases.task()
    objective = objective_of(ens, data, torch.zeros(3, dtype=torch.int64))
    at = Coordinates(objective, torch.tensor([0, 2]))
    assert at.count == int(ens.coords[0] + ens.coords[2])
    assert at.active.tolist() == [1, 0, 1]
    packed = at.pack(ens.theta)
    expected = []
    for b in (0, 2):
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        expected.append(ens.theta[span][ens.state[span] == 1])
    assert torch.equal(packed, torch.cat(expected))
    assert torch.equal(at.part(packed, 1), expected[1])
    for k, part in enumerate(expected):
        assert float(at.norms(packed)[k]) == pytest.approx(float(part.norm()), rel=1e-14)
        assert float(at.largest(packed)[k]) == float(part.abs().max())
        assert float(at.dots(packed, packed + 1)[k]) == pytest.approx(float(part @ (part + 1)))
    assert at.spread(torch.tensor([1.0, 2.0])).tolist() == [1.0] * len(expected[0]) + [2.0] * len(
        expected[1]
    )


def test_segments():
    values = torch.tensor([1.0, 2.0, -5.0, -6.0, float("nan")], dtype=torch.float64)
    sizes = torch.tensor([2, 0, 2, 1])
    assert segment_sum(values, sizes)[:3].tolist() == [3.0, 0.0, -11.0]
    assert segment_max(values, sizes)[:3].tolist() == [2.0, 0.0, 0.0]
    assert bool(segment_max(values, sizes)[3].isnan())
    # Segments of one size take another way.
    rows = torch.tensor([1.0, -1.0, -3.0, -2.0, 2.0, float("nan")])
    found = segment_max(rows, torch.tensor([2, 2, 2]))
    assert found[:2].tolist() == [1.0, 0.0] and bool(found[2].isnan())
    for wrong in ([3, 3], [2, 2], []):
        with pytest.raises(ValueError, match="add up to the length of values"):
            segment_max(torch.ones(7), torch.tensor(wrong, dtype=torch.int64))
    assert segment_sum(values[:0], torch.tensor([0, 0])).tolist() == [0.0, 0.0]
    # A segment's bits must not depend on what lies before it.
    draw = torch.randn(1001, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = segment_sum(draw, torch.tensor([3, 998]))[1]
    assert torch.equal(whole, segment_sum(draw[3:].clone(), torch.tensor([998]))[0])


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_bend_against_autograd(cases, loss):
    ens = cases.ensemble([2, 5, 3], d_out=3, masked=True)
    data = cases.task(d_out=3)
    if loss == "cross_entropy":
        data = Task(data.x, data.y.argmax(-1), loss, torch.rand(37, dtype=torch.float64))
    objective = objective_of(ens, data, torch.zeros(3, dtype=torch.int64))
    chosen = torch.tensor([0, 1, 2])
    step = torch.randn(ens.total, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    step[ens.state != 1] = 0.0
    out = torch.zeros_like(step)
    objective.second_directional(
        ens.theta, step, torch.full((3,), 1e-3, dtype=torch.float64), chosen, out
    )

    def outputs(theta):
        return functional.predict(ens, data, theta, backend="reference")

    def along(s):
        return outputs(ens.theta + s * step)

    zero = torch.zeros((), dtype=torch.float64)
    second = torch.func.jacfwd(torch.func.jacfwd(along))(zero)
    f, pull = torch.func.vjp(outputs, ens.theta)
    if loss == "mse":
        weighted = 2 * second
    else:
        p = torch.softmax(f, -1)
        weighted = p * (second - (p * second).sum(-1, keepdim=True))
    expected = pull(data.coef[0][None, :, None] * weighted)[0] * (ens.state == 1)
    # Central differences with h = 1e-3: relative error about h^2, rounding u / h^2.
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-6)
