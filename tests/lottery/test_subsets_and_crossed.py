"""Subsets and crossed designs: the networks they make, against plain loops."""

from __future__ import annotations

import itertools
from math import comb

import pytest
import torch

import edt
from edt.ensemble import Ensemble
from edt.lottery.crossed import cross, joined, neurons_of
from edt.lottery.subsets import subset_tickets


def outputs(ens, x):
    task = edt.Task(x, torch.zeros(x.shape[0], ens.d_out, dtype=x.dtype))
    return edt.predict(ens, task)


@pytest.fixture
def x():
    return torch.randn(17, 3, generator=torch.Generator().manual_seed(0)).double()


def init(width, seeds, **more):
    return Ensemble.init(
        [width], seeds, d_in=3, d_out=2, scheme="normal", dtype=torch.float64, **more
    )


def test_all_subsets(x):
    wide = init(5, range(3))
    found = subset_tickets(wide, 2, torch.tensor([0, 1, 2]), names=torch.tensor([4, 5, 6]))
    assert found.whole and len(found.tickets) == 3 * comb(5, 2)
    expected = list(itertools.combinations(range(5), 2)) * 3
    assert [tuple(row) for row in found.neurons.tolist()] == expected
    assert found.tickets.task_index.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert found.tickets.names.tolist() == [4] * 10 + [5] * 10 + [6] * 10
    # Alone, a ticket computes what its neurons and the output bias compute.
    alone = outputs(found.tickets.alone(), x)
    narrow = outputs(neurons_of(wide.select(found.network), found.neurons), x)
    assert torch.allclose(alone, narrow, atol=1e-13)


def test_a_sample_is_one_without_replacement():
    wide = init(12, range(2))
    index = torch.zeros(2, dtype=torch.int64)
    found = subset_tickets(wide, 6, index, most=300, seed=3, names=torch.tensor([8, 9]))
    assert not found.whole
    rows = [tuple(row) for row in found.neurons[:300].tolist()]
    assert len(set(rows)) == 300
    # 150 memberships of each neuron are expected, with a standard deviation below 9.
    counts = torch.bincount(found.neurons[:300].flatten(), minlength=12)
    assert int((counts - 150).abs().max()) < 45
    alone = subset_tickets(
        wide.select([1]), 6, index[:1], most=300, seed=3, names=torch.tensor([9])
    )
    assert torch.equal(alone.neurons, found.neurons[300:])
    with pytest.raises(ValueError, match="r must be"):
        subset_tickets(wide, 13, index)
    with pytest.raises(ValueError, match="one width"):
        subset_tickets(Ensemble.init([2, 3], [0], d_in=1, d_out=1), 1, index)


@pytest.mark.parametrize("bias", [True, False])
def test_joined_networks_add_up(x, bias):
    tickets, rests = init(2, range(3), bias=bias), init(4, range(10, 13), bias=bias)
    both = outputs(joined(tickets, rests), x)
    last = torch.stack([rests.bias(b, 1) for b in range(3)]) if bias else torch.zeros(3, 2)
    expected = outputs(tickets, x) + outputs(rests, x) - last[:, None]
    assert torch.allclose(both, expected, atol=1e-13)
    assert torch.equal(neurons_of(joined(tickets, rests), torch.tensor([[0, 1]] * 3)).theta,
                       tickets.theta)  # fmt: skip


def test_crossed_networks_share_tickets_and_rests(x):
    tickets, rests = init(2, range(2)), init(3, range(20, 24))
    made = cross(tickets, rests)
    assert made.B == 8
    for i, j in itertools.product(range(2), range(4)):
        one = joined(tickets.select([i]), rests.select([j]))
        assert torch.equal(made.select([4 * i + j]).theta, one.theta)
    with pytest.raises(ValueError, match="agree"):
        joined(tickets, rests)
    with pytest.raises(ValueError, match="neurons must be in"):
        neurons_of(tickets, torch.tensor([[0, 2], [0, 1]]))
