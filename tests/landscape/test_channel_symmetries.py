"""What channels of modules may do unseen: their cores, their alignment, a census of minima."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import edt
from edt.landscape import (
    align_networks,
    aligned_distance,
    census,
    connect,
    find_minima,
    reduce_network,
    split,
)
from edt.landscape.stages import layers_of, networks_of, sample_shaped

SIDE = 5


def mean_readout(act=nn.Tanh):
    """One output weight a channel: the mean over positions is read out."""

    def build(width, _seed):
        return nn.Sequential(
            nn.Conv2d(1, width, 2), act(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(width, 1),
        )  # fmt: skip

    return build


def flat_readout(act, pool=nn.AvgPool2d):
    """A weight a position, behind means or maxima of fields."""

    def build(width, _seed):
        return nn.Sequential(
            nn.Conv2d(1, width, 2), act(), pool(2), nn.Flatten(), nn.Linear(4 * width, 2)
        )

    return build


def two_layers(act, padding=0):
    """Channels that are read by taps of a convolution, with or without margins of zeros."""

    def build(width, _seed):
        return nn.Sequential(
            nn.Conv2d(1, width, 2), act(), nn.Conv2d(width, 2, 2, padding=padding), nn.Softplus(),
            nn.AvgPool2d(3), nn.Flatten(), nn.Linear(2, 1),
        )  # fmt: skip

    return build


def networks(build, width=3):
    """Two networks of order-one weights; scaled up so that no two channels are alike."""
    made = edt.ModuleEnsemble.build(
        build, [width], [0, 1], dtype=torch.float64, input_shape=(1, SIDE, SIDE)
    )
    draw = torch.Generator().manual_seed(3)
    return made.with_theta(2.0 * torch.randn(made.total, generator=draw, dtype=torch.float64))


def inputs(n=60):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(n, SIDE * SIDE, generator=draw, dtype=torch.float64)


def core_of(ens, x, b=0, tolerance=1e-9):
    coef = torch.full((x.shape[0],), 1 / x.shape[0], dtype=torch.float64)
    return reduce_network(layers_of(ens, b), "", sample_shaped(ens, x), coef, tolerance)


def changed(ens, change):
    """Network 0 with its first two layers changed by ``change(in_weight, in_bias, out_weight)``."""
    first, second, *rest = layers_of(ens, 0)
    weight, bias, column, shift = change(first.weight, first.bias, second.weight)
    made = [
        replace(first, weight=weight, bias=bias),
        replace(second, weight=column, bias=second.bias + shift),
        *rest,
    ]
    return networks_of([made], ens)


def turned(sign, offset=0.0, factor=-1.0):
    """Channel 0 reflected, as ``sigma(z) = offset + factor sigma(-z)`` lets it be."""

    def change(weight, bias, column):
        weight, bias, column = weight.clone(), bias.clone(), column.clone()
        weight[0], bias[0] = sign * weight[0], sign * bias[0]
        shift = offset * column[:, 0].reshape(column.shape[0], -1).sum(1)
        column[:, 0] *= factor
        return weight, bias, column, shift

    return change


def moved(weight, bias, column):
    """Channels in another order."""
    order = torch.tensor([2, 0, 1])
    return weight[order], bias[order], column[:, order], 0.0


#: Builder, change of network 0, whether it computes the same function then.
MOVES = [
    (mean_readout(), moved, True),
    (flat_readout(nn.Sigmoid), moved, True),
    (two_layers(nn.Tanh, 1), moved, True),
    (mean_readout(), turned(-1.0), True),
    (flat_readout(nn.Tanh), turned(-1.0), True),
    # Taps in the margins read 0, which is odd's own mirror image but not that of a sigmoid.
    (two_layers(nn.Tanh, 1), turned(-1.0), True),
    (two_layers(nn.Sigmoid), turned(-1.0, 1.0), True),
    (flat_readout(nn.Sigmoid), turned(-1.0, 1.0), True),
    (two_layers(nn.Sigmoid, 1), turned(-1.0, 1.0), False),
    # The largest of numbers is not the largest of their mirror images.
    (flat_readout(nn.Tanh, nn.MaxPool2d), turned(-1.0), False),
    (flat_readout(nn.ReLU, nn.MaxPool2d), turned(3.0, 0.0, 1 / 3.0), True),
    (two_layers(nn.ReLU, 1), turned(3.0, 0.0, 1 / 3.0), True),
    (flat_readout(nn.Softplus), turned(-1.0, 0.0, 1.0), False),
]


@pytest.mark.parametrize("case", range(len(MOVES)))
def test_distance_is_zero_exactly_for_the_same_function(case):
    """Rounding of sums of a few hundred products leaves 1e-13; a channel turned is far away."""
    build, change, same = MOVES[case]
    ens, x = networks(build), inputs()
    there = changed(ens, change)
    gap = edt.predict(ens, x)[0] - edt.predict(there, x)[0]
    assert (float(gap.abs().max()) < 1e-12) == same
    distance = aligned_distance(core_of(ens, x), core_of(there, x))
    assert distance < 1e-12 if same else distance > 0.01
    assert aligned_distance(core_of(ens, x), core_of(ens, x, b=1)) > 0.01


@pytest.mark.parametrize("case", [k for k, (_, _, same) in enumerate(MOVES) if same])
def test_moved_channels_are_brought_back(case):
    """The same numbers again, to the rounding of a scale that is taken back."""
    build, change, _ = MOVES[case]
    ens, x = networks(build).select([0]), inputs()
    there = changed(ens, change)
    found = align_networks(there, ens)
    assert float(found.before) > 0.1
    assert float(found.after) < 1e-14
    gap = edt.predict(found.networks, x) - edt.predict(there, x)
    assert float(gap.abs().max()) < 1e-11


def test_other_channels_are_matched_without_a_change_of_function():
    """Pruned weights move along; where a reflection would cost a bias that is pruned, none is."""
    x = inputs()
    for build in (two_layers(nn.Tanh, 1), flat_readout(nn.Sigmoid), flat_readout(nn.ReLU)):
        both = networks(build)
        draw = torch.Generator().manual_seed(4)
        keep = torch.rand(both.total, generator=draw) < 0.8
        both = both.with_state(keep.to(torch.uint8))
        one, other = both.select([0]), both.select([1])
        found = align_networks(other, one)
        gap = edt.predict(found.networks, x) - edt.predict(other, x)
        assert float(gap.abs().max()) < 1e-11
        assert bool((found.networks.theta[found.networks.state == 0] == 0.0).all())
        assert int((found.networks.state == 0).sum()) == int((other.state == 0).sum())
        assert found.networks.network_ids.tolist() == other.network_ids.tolist()


def test_paths_between_channels_start_at_the_aligned_network():
    """A network and its channels in another order: one point, and no barrier."""
    ens, x = networks(flat_readout(nn.Tanh)).select([0]), inputs(20)
    there = changed(changed(ens, moved), turned(-1.0))
    task = edt.Task(x, edt.predict(ens, x)[0])
    paths = connect(task, ens, there, curve=None, points=5, progress=False)
    assert float(paths.distance_before) > 0.1
    assert float(paths.distance_after) < 1e-14
    assert float(paths.barrier_unaligned) > 0.01
    assert float(paths.barrier_straight) < 1e-20


@pytest.mark.parametrize(
    "build", [mean_readout(), flat_readout(nn.Sigmoid, nn.MaxPool2d), two_layers(nn.Softplus, 1)]
)
def test_split_channels_join_again(build):
    """`split` leaves the function; the core counts the copy and has the width of before."""
    ens, x = networks(build), inputs()
    wide = split(ens, neuron=1, mu=(0.3, 0.6, 0.1)).networks
    core, found = core_of(ens, x), core_of(wide, x)
    assert found.widths == core.widths
    assert found.duplicates == 2
    assert aligned_distance(core, found) < 1e-12
    target = edt.predict(wide, x)[0]
    # Beyond 20 torch's softplus is its argument: up to 2e-9 too little.
    assert torch.allclose(found(sample_shaped(wide, x)), target, rtol=0, atol=1e-8)


def test_dead_and_constant_channels_go():
    """A channel that nothing reads, one whose kernel is 0: a bias remains, where all see it."""

    def dead(weight, bias, column):
        column = column.clone()
        column[:, 0] = 0.0
        return weight, bias, column, 0.0

    def constant(weight, bias, column):
        weight = weight.clone()
        weight[2] = 0.0
        return weight, bias, column, 0.0

    x = inputs()
    for build in (flat_readout(nn.Tanh), two_layers(nn.Tanh)):
        ens = changed(changed(networks(build), dead), constant)
        core = core_of(ens, x)
        assert (core.widths[0], core.dead, core.constant) == (1, 1, 1)
        target = edt.predict(ens, x)[0]
        assert torch.allclose(core(sample_shaped(ens, x)), target, rtol=0, atol=1e-11)
    # Where margins are 0 a constant channel is no constant: it stays.
    ens = changed(networks(two_layers(nn.Tanh, 1)), constant)
    assert core_of(ens, x).widths[0] == 3


def test_other_chains_are_far_away():
    x = inputs()
    one = core_of(networks(flat_readout(nn.Tanh)), x)
    assert aligned_distance(one, core_of(networks(flat_readout(nn.Sigmoid)), x)) == math.inf
    assert aligned_distance(one, core_of(networks(mean_readout()), x)) == math.inf
    assert aligned_distance(one, core_of(networks(flat_readout(nn.Tanh), 2), x)) == math.inf


def test_census_of_channels():
    """Moved and turned starts end at the minimum of those they were made from; a teacher of two
    channels leaves students of one in bad minima, all of them known."""
    x = inputs(48)
    teacher = networks(mean_readout(), 2)
    y = edt.predict(teacher, x)[0]
    task = edt.Task(x, (y - y.mean()) / y.std())
    starts = edt.ModuleEnsemble.build(
        mean_readout(), [1, 2], range(3), dtype=torch.float64, input_shape=(1, SIDE, SIDE)
    )
    images = networks_of(
        [layers_of(changed(starts.select([b]), turned(-1.0)), 0) for b in range(starts.B)], starts
    )
    both = edt.ModuleEnsemble.concat([starts, images])
    found = find_minima(
        task, both, steps=200, lr=0.05, lbfgs_steps=200, newton_steps=60, finish="all",
        progress=False,
    )  # fmt: skip
    counted = census(task, found)
    runs = counted.runs
    for b in range(starts.B):
        one, other = runs.loc[b], runs.loc[b + starts.B]
        assert one["outcome"] == other["outcome"]
        assert one["minimum"] == other["minimum"]
    # Twins and no others: as many minima as losses.
    bad = runs[(runs["width"] == 1) & (runs["outcome"] == "bad")]
    levels = bad["loss"].round(9).nunique()
    assert len(bad) >= 4
    assert bad["minimum"].nunique() == levels
    table = counted.table()
    assert table.loc[table["width"] == 1, "distinct"].item() == levels
