"""Wrong arguments of landscape and lottery functions: the argument is named before any work."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import edt
from edt.landscape import census, channel_limits, embed, escape_experiment, split_matrices
from edt.lottery import neuron_mask
from edt.lottery.iterative import iterative_pruning

X = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None]
TASK = edt.Task(X, torch.sin(3 * X))
ENS = edt.Ensemble.init([2, 3], [0], d_in=1, d_out=1)
NAN = float("nan")

BROKEN = ENS.with_theta(torch.where(torch.arange(ENS.total) == ENS.total - 1, NAN, ENS.theta))

CALLS = [
    (lambda: edt.landscape.align_networks(BROKEN, ENS), ValueError, "networks.*network 1 does not"),
    (lambda: edt.landscape.align_networks(ENS, BROKEN), ValueError, "reference.*network 1 does"),
    (
        lambda: edt.landscape.align_networks(ENS.with_theta(1e200 * ENS.theta), ENS),
        ValueError,
        "networks must hold parameters whose squares are finite, network 0",
    ),
    (lambda: embed.split(ENS, neuron="first"), TypeError, "neuron must hold integers.*got 'first'"),
    (lambda: embed.split(ENS, neuron=0.5), TypeError, "neuron must hold integers, got 0.5"),
    (lambda: embed.split(ENS, mu="half"), TypeError, "mu must be a number.*got 'half'"),
    (lambda: embed.split(ENS, mu=None), TypeError, "mu must be a number.*got None"),
    (lambda: embed.split(ENS.to_module(0)), TypeError, r"ens must be .*, got \w*Sequential"),
    (lambda: embed.zero_output(ENS, [[NAN, 0.0]]), ValueError, "incoming must be finite"),
    (lambda: embed.zero_output(ENS, "a"), TypeError, "incoming must be a tensor or an array"),
    (lambda: embed.zero_output(ENS, [["a", "b"]]), TypeError, "incoming must hold numbers"),
    (lambda: embed.constant(ENS, bias=NAN), ValueError, "bias must be finite"),
    (lambda: embed.constant(ENS, bias="a"), TypeError, "bias must hold numbers"),
    (lambda: embed.constant(ENS, outgoing=[NAN]), ValueError, "outgoing must be finite"),
    (lambda: split_matrices(TASK, ENS, 9), IndexError, r"b must be in 0\.\.1, got 9"),
    (lambda: channel_limits(TASK, ENS, [9]), IndexError, r"chosen\[0\] must be in 0\.\.1, got 9"),
    (lambda: channel_limits(TASK, ENS, "all"), TypeError, "chosen must be integers"),
    (lambda: census(TASK, ENS), TypeError, "minima must come from find_minima, got Ensemble"),
    (lambda: escape_experiment(TASK, ENS), TypeError, "minima must come from find_minima"),
    (lambda: neuron_mask(ENS, [0]), TypeError, "neurons must be a torch.Tensor of bool, got list"),
]


@pytest.mark.parametrize(("call", "kind", "says"), CALLS, ids=range(len(CALLS)))
def test_refuses(call, kind, says):
    with pytest.raises(kind, match=says):
        call()


def test_minima_are_not_looked_for_in_networks_of_another_kind():
    """Beside networks, activation and init would say nothing about them."""
    with pytest.raises(ValueError, match="networks are given, so activation"):
        edt.landscape.find_minima(TASK, ENS, activation="relu")


def test_many_spellings_of_the_same_arguments():
    row = [[0.3, -1.0]]
    plain = embed.zero_output(ENS, torch.tensor(row, dtype=torch.float64))
    for other in (row, np.array(row)):
        assert torch.equal(embed.zero_output(ENS, other).networks.theta, plain.networks.theta)
    half = embed.split(ENS, neuron=1, mu=0.25)
    for neuron, mu in (([1, 1], (0.25, 0.75)), (np.int64(1), torch.tensor(0.25).double()),
                       (torch.tensor([1, 1]), np.array([0.25, 0.75]))):  # fmt: skip
        assert torch.equal(embed.split(ENS, neuron, mu).networks.theta, half.networks.theta)
    assert channel_limits(TASK, ENS, []) == []


def train(networks):
    return networks, None


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"rounds": -1}, ValueError, "rounds must be >= 0, got -1"),
        ({"rewind": ENS.network(0)}, ValueError, "rewind must hold the networks of start"),
        ({"train": lambda networks: networks}, TypeError, "train must return a pair.*got Ensemble"),
    ],
)
def test_pruning_refuses(options, kind, says):
    options = {"train": train, "rounds": 1, "share": 0.2, **options}
    with pytest.raises(kind, match=says):
        next(iterative_pruning(ENS, **options))


def test_pairs_are_taken_for_data():
    """(x, y) where a task is asked for: the same answers; what holds no samples is named."""
    x = torch.linspace(-1.0, 1.0, 24, dtype=torch.float64)[:, None].expand(24, 2).contiguous()
    x = x + torch.tensor([0.0, 0.3])
    y = torch.sin(4.0 * x[:, :1])
    found = edt.landscape.find_minima(
        (x, y), widths=[1], seeds=[0], steps=300, lr=0.05, realisable=False, progress=False
    )
    rows = [census(data, found).runs for data in ((x, y), edt.Task(x, y))]
    assert rows[0].equals(rows[1])
    blocked = edt.ModuleTask((x, y))
    for call in (census, escape_experiment):
        with pytest.raises(
            TypeError, match=r"task must be an edt.Task or a pair \(x, y\), got Mod"
        ):
            call(blocked, found)
    with pytest.raises(TypeError, match=r"task must be an edt.Task or a pair \(x, y\), got Mod"):
        channel_limits(blocked, found.networks)
