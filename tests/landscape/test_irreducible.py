"""Cores of networks that were made reducible, and distances between networks made equal."""

from __future__ import annotations

import math

import pytest
import torch

import edt
from edt.landscape import embed
from edt.landscape.align import aligned_distance
from edt.landscape.irreducible import reduce_network
from edt.landscape.layers import Layer, pack, unpack
from edt.landscape.symmetry import SYMMETRIES

NEURONS = [name for name, symmetry in SYMMETRIES.items() if not symmetry.mixing]


def core_of(ens, x, b=0, tolerance=1e-9):
    coef = torch.full((x.shape[0],), 1 / x.shape[0], dtype=torch.float64)
    return reduce_network(unpack(ens, b), ens.activation, x, coef, tolerance)


def samples(make, activation):
    """Where no random neuron is dead: far enough out for relu's kinks."""
    return make.inputs(80, 2) * (8.0 if activation == "relu" else 1.0)


def outputs(ens, x):
    return edt.predict(ens, edt.Task(x, x.new_zeros(x.shape[0], ens.d_out)))


def with_neuron(ens, row, shift, column):
    """Network 0 of ``ens`` with a neuron more in its only hidden layer."""
    into, out = unpack(ens, 0)
    one = torch.ones(1, into.weight.shape[1], dtype=torch.uint8)
    state = torch.ones(out.weight.shape[0], 1, dtype=torch.uint8)
    return pack(
        [[
            Layer(
                torch.cat([into.weight, row[None]]),
                torch.cat([into.weight_state, one]),
                torch.cat([into.bias, shift.reshape(1)]),
                torch.cat([into.bias_state, one[0, :1]]),
            ),
            Layer(
                torch.cat([out.weight, column[:, None]], dim=1),
                torch.cat([out.weight_state, state], dim=1),
                out.bias,
                out.bias_state,
            ),
        ]],
        ens,
    )  # fmt: skip


@pytest.mark.parametrize("activation", SYMMETRIES)
@pytest.mark.parametrize("widths", [[3], [(3, 2)]])
def test_the_core_is_the_same_function(make, activation, widths):
    ens = make.networks(widths, 2, d_out=2, activation=activation)
    x = samples(make, activation)
    for b in range(2):
        core = core_of(ens, x, b)
        # The reduction may use its tolerance; generic networks need none of it.
        torch.testing.assert_close(core(x), outputs(ens, x)[b], rtol=1e-12, atol=1e-9)
        if not SYMMETRIES[activation].mixing:
            # Random relu neurons of a second layer may be dead in truth.
            assert core.dead == 0 or activation == "relu"
            assert core.width + core.dead == int(ens.layer_widths[b, 1:-1].sum())
            assert (core.duplicates, core.constant, core.cancelled) == (0, 0, 0)


@pytest.mark.parametrize("activation", SYMMETRIES)
@pytest.mark.parametrize(
    ("widths", "bias"), [([4], True), ([4], False), ([(4, 3)], True), ([(2, 3, 2)], False)]
)
def test_orbits_have_distance_zero(make, activation, widths, bias):
    ens = make.networks(widths, d_out=2, activation=activation, bias=bias)
    x = make.inputs(80, 2)
    core = core_of(ens, x)
    for seed in range(6):
        there = make.moved(ens, seed)
        scale = float(outputs(ens, x).abs().max())
        gap = float((outputs(there, x) - outputs(ens, x)).abs().max())
        assert gap < 1e-12 * max(1.0, scale), "the action must keep the function"
        # Parameters of order ten, moved by a few rounding errors.
        assert aligned_distance(core, core_of(there, x)) < 1e-12
    other = core_of(make.networks(widths, d_out=2, activation=activation, bias=bias, first=7), x)
    assert aligned_distance(core, other) > 0.05


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "softplus", "gelu", "silu"])
def test_ramps_turn_in_groups(make, activation):
    """Neurons whose linear parts cancel can be reflected together, and only together."""
    ens = make.networks([5], d_out=1, activation=activation)
    x = make.inputs(80, 2)
    weight, a = ens.weight(0, 0), ens.weight(0, 1)[0]
    weight[3] = -(a[0] * weight[0] + a[2] * weight[2]) / a[3]
    into, out = unpack(ens, 0)
    for i in (0, 2, 3):
        make.reflect(into, out, i, SYMMETRIES[activation].reflection)
    there = make.moved(pack([[into, out]], ens), 1)
    assert float((outputs(there, x) - outputs(ens, x)).abs().max()) < 1e-12
    assert aligned_distance(core_of(ens, x), core_of(there, x)) < 1e-12
    into, out = unpack(ens, 0)
    make.reflect(into, out, 0, SYMMETRIES[activation].reflection)
    alone = pack([[into, out]], ens)
    # The neurons still match one by one; the linear rest gives the difference away.
    assert float((outputs(alone, x) - outputs(ens, x)).abs().max()) > 0.01
    assert aligned_distance(core_of(ens, x), core_of(alone, x)) > 0.01


def test_no_symmetry_is_invented(make):
    x = make.inputs(80, 2)
    for activation in ("g", "elu", "selu", "softplus"):
        ens = make.networks([2], activation=activation)
        into, out = unpack(ens, 0)
        into.weight[0] *= -1
        into.bias[0] *= -1
        out.weight[:, 0] *= -1
        turned = pack([[into, out]], ens)
        assert aligned_distance(core_of(ens, x), core_of(turned, x)) > 0.05


@pytest.mark.parametrize("activation", NEURONS)
@pytest.mark.parametrize(("widths", "width"), [([3], 6), ([(2, 3)], (4, 5))])
def test_splits_are_undone(make, activation, widths, width):
    narrow = make.networks(widths, d_out=2, activation=activation)
    x = samples(make, activation)
    core = core_of(narrow, x)
    for shares in ("equal", "signed"):
        grown = embed.grow(narrow, width, shares=shares, copies=3, seed=2)
        wide = make.moved(grown.networks, 5)
        for b in range(3):
            found = core_of(wide, x, b)
            assert found.widths == core.widths
            assert found.duplicates == int(grown.added[b])
            # Weighted means of equal neurons: rounding.
            assert aligned_distance(core, found) < 1e-12


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "sin", "cube", "erf"])
def test_reflected_copies_are_recognised(make, activation):
    symmetry = SYMMETRIES[activation]
    narrow = make.networks([2], activation=activation)
    x = make.inputs(80, 2)
    wide = embed.grow(narrow, 3, neurons=0).networks
    into, out = unpack(wide, 0)
    make.reflect(into, out, 2, symmetry.reflection)
    wide = pack([[into, out]], wide)
    assert float((outputs(wide, x) - outputs(narrow, x)).abs().max()) < 1e-12
    found = core_of(wide, x)
    assert found.widths == (2,)
    assert sorted(found.copies[0]) == [1, 2]
    assert aligned_distance(core_of(narrow, x), found) < 1e-12


def test_a_ramp_and_its_mirror_are_two_neurons(make):
    ens = make.networks([2], activation="softplus")
    weight, bias = ens.weight(0, 0), ens.bias(0, 0)
    weight[1], bias[1] = -weight[0], -bias[0]
    assert core_of(ens, make.inputs(80, 2)).widths == (2,)


@pytest.mark.parametrize("activation", NEURONS)
def test_neurons_without_effect(make, activation):
    narrow = make.networks([3], d_out=2, activation=activation)
    x = samples(make, activation)
    core = core_of(narrow, x)
    draw = make.inputs(1, 2, seed=9)[0]
    zero = torch.zeros(2, dtype=torch.float64)
    one = torch.tensor(0.7, dtype=torch.float64)

    dead = core_of(with_neuron(narrow, draw, one, zero), x)
    assert (dead.widths, dead.dead, dead.constant) == ((3,), 1, 0)
    assert aligned_distance(core, dead) < 1e-12

    still = core_of(with_neuron(narrow, zero, one, draw), x)
    assert (still.widths, still.dead, still.constant) == ((3,), 0, 1)
    # Its constant has joined the output's bias, so this is another function.
    assert aligned_distance(core, still) > 1e-3
    torch.testing.assert_close(still.biases[-1] - core.biases[-1],
                               edt.landscape.layers.ACTIVATIONS[activation](one) * draw,
                               rtol=1e-12, atol=1e-12)  # fmt: skip

    pair = with_neuron(with_neuron(narrow, draw, one, draw), draw, one, -draw)
    gone = core_of(pair, x)
    assert (gone.widths, gone.cancelled, gone.duplicates) == ((3,), 2, 0)
    assert aligned_distance(core, gone) < 1e-12

    three = with_neuron(with_neuron(with_neuron(narrow, draw, one, draw), draw, one, 2 * draw),
                        draw, one, -3 * draw)  # fmt: skip
    gone = core_of(three, x)
    assert (gone.widths, gone.cancelled, gone.duplicates) == ((3,), 3, 0)


def test_relu_dead_on_the_data(make):
    narrow = make.networks([3], activation="relu")
    x = make.inputs(80, 2)
    far = torch.tensor(-50.0, dtype=torch.float64)
    wide = with_neuron(narrow, x[0], far, torch.ones(1, dtype=torch.float64))
    found = core_of(wide, x)
    assert (found.widths, found.dead) == ((3,), 1)


def test_copies_that_agree_only_roughly(make):
    """At loss 0 copies differ by the fourth root of rounding; the outputs decide."""
    narrow = make.networks([3])
    x = make.inputs(80, 2)
    core = core_of(narrow, x)
    wide = embed.split(narrow, 1, 0.4).networks
    for gap, merged in ((3e-5, True), (1e-2, False)):
        wide_b = wide.with_theta(wide.theta)
        shift = torch.tensor([0.6, -0.8], dtype=torch.float64) * gap
        # In opposite directions weighted by the shares: first order cancels in the outputs.
        wide_b.weight(0, 0)[1] += 0.6 * shift
        wide_b.weight(0, 0)[3] -= 0.4 * shift
        found = core_of(wide_b, x, tolerance=1e-8)
        assert (found.widths == (3,)) == merged
        if merged:
            assert aligned_distance(core, found) < 1e-9


def test_forms(make):
    x = make.inputs(80, 3)
    deep = core_of(make.networks([(4, 2)], d_in=3, d_out=3, activation="identity"), x)
    assert deep.width == 2  # the rank of the product
    square = make.networks([5], d_in=3, activation="square", bias=False)
    assert core_of(square, x).width == 3
    one = make.networks([1], d_in=3, activation="square")
    assert core_of(one, x).width == 1
    # Any orthogonal mixing of equal output weights is the same quadratic form.
    mix = torch.linalg.qr(make.inputs(5, 5, seed=3)).Q
    same = square.with_theta(square.theta)
    same.weight(0, 1).fill_(1.0)
    turned = same.with_theta(same.theta)
    turned.weight(0, 0).copy_(mix @ same.weight(0, 0))
    assert aligned_distance(core_of(same, x), core_of(turned, x)) < 1e-13


def test_sizes_that_differ(make):
    x = make.inputs(80, 2)
    one = core_of(make.networks([3]), x)
    assert aligned_distance(one, core_of(make.networks([2]), x)) == math.inf
    assert aligned_distance(one, core_of(make.networks([3], d_out=2), x)) == math.inf
    assert aligned_distance(one, core_of(make.networks([3], activation="sin"), x)) == math.inf
