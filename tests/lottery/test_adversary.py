"""Adversarial rests: the gradient against autograd, the searches inside their ball."""

from __future__ import annotations

import pytest
import torch

from edt.ensemble import Ensemble
from edt.functional import loss
from edt.lottery import Tickets, neuron_mask
from edt.lottery.adversary import evolve_adversary, gradient_adversary, unrolled_gradient
from edt.lottery.bisection import bisect_failure


@pytest.fixture
def setting(cases):
    ens = Ensemble.init([5], range(3), d_in=2, d_out=1, scheme="normal")
    chosen = (torch.arange(5) < 2).expand(3, -1)
    return cases.task(n=21), Tickets.of(ens, neuron_mask(ens, chosen))


def test_unrolled_gradient_is_that_of_autograd(setting, cases):
    task, tickets = setting
    networks = tickets.start
    value, grad = unrolled_gradient(task, networks, tickets.task_index, steps=7, lr=0.05)
    for b in range(3):
        row = networks.layer_widths[b].tolist()
        start = cases.part(networks, b).clone().requires_grad_(True)
        theta = start
        for _ in range(7):
            error = cases.forward(theta, row, task.x) - task.y
            slope = torch.autograd.grad(error.square().sum(1).mean(), theta, create_graph=True)[0]
            theta = theta - 0.05 * slope
        end = (cases.forward(theta, row, task.x) - task.y).square().sum(1).mean()
        wanted = torch.autograd.grad(end, start)[0]
        # Float64, seven steps: a few hundred roundings.
        torch.testing.assert_close(cases.part(networks, b, grad), wanted, rtol=1e-10, atol=1e-12)
        assert abs(float(value[b]) / float(end.detach()) - 1) < 1e-12


def test_gradient_search_climbs_inside_the_ball(setting):
    task, tickets = setting
    before, _ = unrolled_gradient(task, tickets.start, tickets.task_index, steps=20, lr=0.05)
    found = gradient_adversary(task, tickets, 0.5, ascents=4, unroll=20, lr=0.05)
    assert (found.value > before).all()
    # On the sphere up to rounding.
    assert (found.distance <= 0.5 * (1 + 1e-12)).all()
    assert (found.networks.theta[tickets.keep] == tickets.start.theta[tickets.keep]).all()


def test_evolution_finds_worse_rests_than_chance(setting):
    task, tickets = setting

    def judge(networks, index):
        return loss(networks, task, task_index=index)

    one, more = (evolve_adversary(tickets, 1.0, judge, population=8, generations=g) for g in (0, 5))
    assert (more.value >= one.value).all() and (more.value > one.value).any()
    assert (more.distance <= 1 + 1e-12).all()
    torch.testing.assert_close(judge(more.networks, tickets.task_index), more.value)
    assert (more.networks.theta[tickets.keep] == tickets.start.theta[tickets.keep]).all()
    alone = evolve_adversary(tickets.select([1]), 1.0, judge, population=8, generations=5)
    assert (alone.networks.theta == more.networks.select([1]).theta).all()
    with pytest.raises(ValueError, match="population"):
        evolve_adversary(tickets, 1.0, judge, population=2)


def test_bisection():
    edges = torch.tensor([0.1, 0.7, 0.33], dtype=torch.float64)
    low, high = bisect_failure(
        torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64),
        lambda sizes: sizes > edges, 20,
    )  # fmt: skip
    assert (low <= edges).all() and (high > edges).all()
    assert float((high - low).max()) == 2.0**-20
