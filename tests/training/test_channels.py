"""Opponents: the pairs that give a channel to infinity away."""

from __future__ import annotations

import pytest
import torch

import edt.training as training
from edt.training.channels import BIAS, closest_opponents, opponents


def network(cases, rows, activation="tanh"):
    """One network from rows (w_1, w_2, bias, output weight), output bias 0.1."""
    table = torch.tensor(rows, dtype=torch.float64)
    parts = [table[:, :2].reshape(-1), table[:, 2], table[:, 3], torch.tensor([0.1]).double()]
    return cases.ensemble([len(rows)], activation=activation).with_theta(torch.cat(parts))


def test_a_pair_is_found(cases):
    rows = [[1.0, 0.0, 0.0, 2.0], [0.6, 0.8, 0.2, -3.0], [0.6, 0.8, 0.2 + 1e-3, 5.0]]
    found = opponents(network(cases, rows))
    assert (int(found.first[0]), int(found.second[0])) == (1, 2)
    u, v = (torch.tensor(row[:3], dtype=torch.float64) for row in rows[1:])
    expected = 1.0 - float(u @ v / (u.norm() * v.norm()))
    assert float(found.closeness[0]) == pytest.approx(expected, rel=1e-6)
    assert float(found.reach[0]) == 5.0


def test_signs_and_mirrors(cases):
    same = [[0.6, 0.8, 0.2, 3.0], [0.6, 0.8, 0.2, 5.0]]
    assert float(closest_opponents(network(cases, same))[0]) == 2.0
    mirrored = [[0.6, 0.8, 0.2, 3.0], [-0.6, -0.8, -0.2, 5.0]]
    # tanh(-z) = -tanh(z): the mirror image pulls the other way; softplus has no such symmetry.
    assert float(closest_opponents(network(cases, mirrored))[0]) < 1e-15
    assert float(closest_opponents(network(cases, mirrored, "softplus"))[0]) == 2.0


def test_the_output_bias_is_an_opponent(cases):
    rows = [[1e-3, 2e-3, 0.5, 40.0], [0.6, 0.8, 0.2, 5.0]]
    found = opponents(network(cases, rows))
    assert (int(found.first[0]), int(found.second[0])) == (0, BIAS)
    assert float(found.closeness[0]) < 1e-4
    constant = [[0.0, 0.0, 0.5, 40.0], [0.6, 0.8, 0.2, 5.0]]
    # A neuron without input weights is a constant: nothing drifts.
    assert float(opponents(network(cases, constant)).closeness[0]) > 0.1
    assert float(opponents(network(cases, rows), output_bias=False).closeness[0]) == 2.0


def test_alone_in_a_crowd(cases):
    ens = cases.ensemble([2, 5, 3], seed=4)
    crowd = opponents(ens)
    for b in range(3):
        alone = opponents(ens.network(b))
        assert float(alone.closeness[0]) == float(crowd.closeness[b])


@pytest.mark.parametrize("layer", [0, 1])
def test_pairs_of_every_hidden_layer(cases, layer):
    ens = cases.ensemble([(3, 4)], seed=2)
    assert float(opponents(ens).closeness[0]) > 1e-3
    changed = ens.with_theta(ens.theta.clone())
    weight, bias = changed.weight(0, layer), changed.bias(0, layer)
    out = changed.weight(0, layer + 1)
    weight[2], bias[2] = weight[1] * (1 + 1e-4), bias[1]
    out[:, 2] = -2.0 * out[:, 1]
    found = opponents(changed)
    assert (int(found.layer[0]), int(found.first[0]), int(found.second[0])) == (layer, 1, 2)
    assert float(found.closeness[0]) < 1e-7
    assert float(found.reach[0]) == pytest.approx(float(out[:, 2].norm()), rel=1e-12)


def test_converge_says_channel(cases):
    # Of these starts the second runs away: its neurons line up with output weights in thousands.
    result = training.converge(
        cases.task(), cases.ensemble([1, 2], seed=1), newton_steps=200, progress=False
    )
    assert result.status == ["converged", "channel"]
    # On its way: nearly parallel, found by its norm.
    assert float(result.closeness[1]) < 2e-3
    assert result.pair[1].tolist() != [-1, -1]
    table = result.to_pandas()
    assert table["index"].isna().tolist() == [False, True]
    assert table["n_flat"].isna().tolist() == [False, True]
    assert int(result.index[1]) >= 0
