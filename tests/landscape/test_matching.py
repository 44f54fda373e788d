"""Alignment: it changes no output, undoes every symmetry, and finds the closest arrangement."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import edt
from edt.ensemble.activations import ACTIVATIONS
from edt.landscape import align_networks
from edt.landscape.symmetry import SYMMETRIES


def outputs(ens):
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(50, 2, generator=draw, dtype=torch.float64)
    return edt.predict(ens, edt.Task(x, torch.zeros(50, 1, dtype=torch.float64)))


def networks(activation, widths, seeds, **more):
    return edt.Ensemble.init(
        widths, seeds, d_in=2, d_out=1, activation=activation, scheme="normal", scale=1.3, **more
    )


def scrambled(ens, seed):
    """The same functions with neurons permuted, reflected, shifted and scaled at random."""
    draw = torch.Generator().manual_seed(seed)
    symmetry = SYMMETRIES[ens.activation]
    out = ens.with_theta(ens.theta)
    for b in range(ens.B):
        for layer in range(ens.depth):
            weight, after = out.weight(b, layer), out.weight(b, layer + 1)
            width = weight.shape[0]
            order = torch.randperm(width, generator=draw)
            weight.copy_(weight[order].clone())
            after.copy_(after[:, order].clone())
            bias = out.bias(b, layer) if ens.has_bias else torch.zeros(width)
            bias.copy_(bias[order].clone())
            for j in range(width):
                if symmetry.degree is not None:
                    c = float(torch.rand((), generator=draw)) + 0.5
                    weight[j] *= c
                    bias[j] *= c
                    after[:, j] /= c**symmetry.degree
                flips = symmetry.free and float(torch.rand((), generator=draw)) < 0.5
                if flips and (ens.has_bias or symmetry.reflection.offset == 0.0):
                    if ens.has_bias:
                        out.bias(b, layer + 1).add_(symmetry.reflection.offset * after[:, j])
                    weight[j] *= -1.0
                    bias[j] *= -1.0
                    after[:, j] *= symmetry.reflection.sign
                if symmetry.half_period is not None and ens.has_bias:
                    bias[j] += 3 * symmetry.half_period
                    after[:, j] *= -1.0
    return out


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_symmetric_copies_come_back(activation, bias):
    ens = networks(activation, [3, 5], range(2), bias=bias)
    copy = scrambled(ens, 1)
    # Sums of a few terms of order one in another order.
    assert torch.allclose(outputs(copy), outputs(ens), atol=1e-12)
    found = align_networks(copy, ens)
    assert float(found.before.max()) > 0.1  # some permutations are the identity
    assert torch.allclose(found.networks.theta, ens.theta, atol=1e-12)
    assert float(found.after.max()) < 1e-13
    assert torch.allclose(outputs(found.networks), outputs(ens), atol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "sin", "softplus"])
def test_deep_copies_come_back(activation):
    ens = networks(activation, [(4, 3), (3, 5)], [0])
    found = align_networks(scrambled(ens, 2), ens)
    assert float(found.after.max()) < 1e-13


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_functions_are_kept(activation):
    one = networks(activation, [(3, 4), (5, 2)], range(2))
    masks = torch.rand(one.total, generator=torch.Generator().manual_seed(1)) < 0.8
    other = networks(activation, [(3, 4), (5, 2)], [7, 8]).with_masks(masks)
    found = align_networks(other, one)
    assert torch.allclose(outputs(found.networks), outputs(other), atol=1e-11)
    moved = found.networks
    assert bool((moved.theta[moved.state == 0] == 0.0).all())
    assert torch.equal(moved.coords, other.coords)
    if SYMMETRIES[activation].degree is None:
        assert bool((found.after <= found.before).all())


def test_one_hidden_layer_is_matched_exactly():
    one, other = networks("tanh", [4], [0, 1, 2]), networks("tanh", [4], [3, 4, 5])
    found = align_networks(other, one)
    for b in range(3):
        best = math.inf
        mine = torch.cat([one.weight(b, 0), one.bias(b, 0)[:, None], one.weight(b, 1).T], 1)
        theirs = torch.cat([other.weight(b, 0), other.bias(b, 0)[:, None], other.weight(b, 1).T], 1)
        for order in itertools.permutations(range(4)):
            gap = torch.minimum((mine - theirs[list(order)]).square().sum(1),
                                (mine + theirs[list(order)]).square().sum(1))  # fmt: skip
            best = min(best, float(gap.sum()))
        best += float((one.bias(b, 1) - other.bias(b, 1)).square().sum())
        span = slice(int(one.offsets[b]), int(one.offsets[b + 1]))
        distance = (found.networks.theta[span] - one.theta[span]).square().sum()
        assert float(distance) == pytest.approx(best, rel=1e-12)
        order, sign = found.order[b][0], found.sign[b][0]
        assert torch.equal(found.networks.weight(b, 0), sign[:, None] * other.weight(b, 0)[order])


def test_bad_input():
    one = networks("tanh", [3], [0])
    with pytest.raises(TypeError, match="reference"):
        align_networks(one, "one")
    for other in (networks("erf", [3], [0]), networks("tanh", [4], [0]),
                  networks("tanh", [3], [0], bias=False)):  # fmt: skip
        with pytest.raises(ValueError, match="reference"):
            align_networks(one, other)
