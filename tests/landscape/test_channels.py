"""The ends of channels: gated linear units, against networks that approach them."""

from __future__ import annotations

import pytest
import torch

from edt.ensemble import Ensemble
from edt.errors import ShapeError
from edt.landscape import channel_limits
from edt.ops import ACTIVATION_FUNCTIONS
from edt.tasks import Task


def unit(activation, x, gate, height, slope):
    """``c sigma(w.x) + (v.x) sigma'(w.x)`` with the derivative by autograd."""
    z = (x @ gate).requires_grad_(True)
    value = ACTIVATION_FUNCTIONS[activation](z)
    (derivative,) = torch.autograd.grad(value.sum(), z)
    return (height * value + (x @ slope) * derivative).detach()


def problem(activation="tanh", n=80):
    """A target made by one gated linear unit and one neuron, and its parameters."""
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(n, 2, generator=draw, dtype=torch.float64)
    ones = torch.cat([x, torch.ones(n, 1, dtype=torch.float64)], 1)
    gate = torch.tensor([0.7, -0.4, 0.3], dtype=torch.float64)
    slope = torch.tensor([0.5, 0.9, -0.2], dtype=torch.float64)
    neuron = torch.tensor([-0.3, 1.1, 0.2], dtype=torch.float64)
    y = unit(activation, ones, gate, 0.8, slope)
    y = y + 1.3 * ACTIVATION_FUNCTIONS[activation](ones @ neuron) + 0.25
    return Task(x, y[:, None]), gate, slope, neuron


def approach(eps, gate, slope, neuron, activation="tanh"):
    """The network of width 3 at distance eps from the limit, in its channel."""
    one, other = gate + eps * slope, gate - eps * slope
    rows = torch.stack([one, neuron, other])
    half = 0.5 / eps
    outputs = torch.tensor([half + 0.4, 1.3, -half + 0.4], dtype=torch.float64)
    tail = torch.tensor([0.25], dtype=torch.float64)
    theta = torch.cat([rows[:, :2].reshape(-1), rows[:, 2], outputs, tail])
    return Ensemble([3], 2, 1, activation=activation, theta=theta)


@pytest.mark.parametrize("activation", ["tanh", "softplus", "g"])
def test_the_limit_of_a_known_channel(activation):
    task, gate, slope, neuron = problem(activation)
    losses = []
    for eps in (1e-2, 1e-3):
        (limit,) = channel_limits(task, approach(eps, gate, slope, neuron, activation))
        assert limit.pair == (0, 2)
        # The unit is read off the pair exactly (up to the rounding of 1/eps).
        torch.testing.assert_close(limit.expanded.slope, slope, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(limit.expanded.gate, gate, rtol=1e-12, atol=1e-12)
        assert float(limit.expanded.height) == pytest.approx(0.8, abs=1e-9)
        assert limit.expanded_loss < 1e-18
        assert limit.limit_loss < 1e-18
        assert 0.0 < limit.gap < 1.0
        losses.append(limit.loss)
    # Outputs differ from the limit's by eps times a curvature: losses fall like eps^2 or faster.
    assert losses[1] < 0.02 * losses[0]


def test_training_finds_the_end():
    task, gate, slope, neuron = problem()
    (limit,) = channel_limits(task, approach(0.05, gate, slope, neuron))
    moved = limit.expanded
    moved.gate, moved.slope = moved.gate + 0.05, moved.slope - 0.1
    assert moved.loss(task) > 1e-4
    assert moved.trained(task).loss(task) < 1e-24


def test_a_linear_unit_through_the_bias():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(50, 2, generator=draw, dtype=torch.float64)
    task = Task(x, (x @ torch.tensor([[0.3], [-0.2]]).double()) + 0.5)
    eps = 1e-3
    bent = torch.tensor([0.3, -0.2]).double() * eps
    derivative = 1.0 - torch.tanh(torch.tensor(0.4)).double() ** 2
    a = 1.0 / (eps * derivative)
    theta = torch.cat([bent, torch.tensor([0.4]).double(), a[None]])
    rest = 0.5 - a * torch.tanh(torch.tensor(0.4).double())
    ens = Ensemble([1], 2, 1, activation="tanh", theta=torch.cat([theta, rest[None]]))
    (limit,) = channel_limits(task, ens)
    assert limit.pair == (0, -2)
    # float32 derivative above: the linear unit is right to 1e-7, so the loss to 1e-14.
    assert limit.expanded_loss < 1e-12
    assert limit.limit_loss < 1e-24


def test_networks_without_opponents_and_bad_input():
    theta = torch.tensor([1.0, 0.5, 0.9, 0.6, 1.0, 2.0], dtype=torch.float64)
    ens = Ensemble([2], 2, 1, activation="tanh", bias=False, theta=theta)
    task = problem()[0]
    assert channel_limits(task, ens) == [None]
    with pytest.raises(ShapeError, match="one hidden layer"):
        channel_limits(task, Ensemble([(2, 2)], 2, 1))
    classes = Task(task.x, torch.zeros(80, dtype=torch.int64), "cross_entropy", n_classes=2)
    with pytest.raises(ValueError, match="mse"):
        channel_limits(classes, Ensemble([2], 2, 1))
