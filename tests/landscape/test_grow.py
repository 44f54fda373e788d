"""Growing to any width, in several layers at once, and the inertia of the result."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.errors import ShapeError
from edt.landscape import (
    constant_inertia,
    embed,
    grown_inertia,
    predicted_inertia,
    split_matrices,
)

# Sums of a few dozen products of order one, in another order; signed shares reach about 10.
ROUNDING = 1e-12

CASES = [
    ([2, 4], 9, {"d_out": 1}),
    ([3], 7, {"d_out": 3, "activation": "softplus", "bias": False}),
    ([(2, 3), (3, 2)], (6, 5), {"d_out": 2, "activation": "g"}),
    ([(3, 3)], (3, 8), {"sparsity": 0.3}),
    ([(2, 2, 3)], (4, 4, 5), {"activation": "erf"}),
]


@pytest.mark.parametrize(("widths", "width", "options"), CASES)
@pytest.mark.parametrize("shares", ["equal", "positive", "signed"])
@pytest.mark.parametrize("neurons", ["random", "even", 1])
def test_splitting_keeps_everything(make, widths, width, options, shares, neurons):
    narrow = make.networks(widths, 2, **options)
    data, index = make.on_critical_points(narrow, n=101)
    grown = embed.grow(narrow, width, shares=shares, neurons=neurons, copies=3, seed=5)
    wide, where = grown.networks, index[grown.source]
    wanted = torch.tensor([width] if isinstance(width, int) else width)
    assert torch.equal(wide.layer_widths[:, 1:-1], wanted.expand(3 * narrow.B, -1))
    assert torch.equal(
        grown.added, wanted.sum() - narrow.layer_widths[grown.source, 1:-1].sum(dim=1)
    )
    blank = edt.Task(data.x, data.x.new_zeros(data.N, narrow.d_out))
    gap = edt.predict(wide, blank) - edt.predict(narrow, blank)[grown.source]
    assert float(gap.abs().max()) < ROUNDING
    assert float(make.slope(wide, data, where).max()) < ROUNDING
    torch.testing.assert_close(
        edt.loss(wide, data, task_index=where),
        edt.loss(narrow, data, task_index=index)[grown.source],
        rtol=ROUNDING,
        atol=0,
    )
    for parents, share in zip(grown.parents, grown.shares, strict=True):
        for parent, s in zip(parents, share, strict=True):
            for j in range(int(parent.max()) + 1):
                mine = s[parent == j]
                assert float(mine.sum()) == pytest.approx(1.0, abs=1e-15)
                if mine.numel() > 1:
                    signs = {"equal": {1.0}, "positive": {1.0}, "signed": {1.0, -1.0}}[shares]
                    assert set(mine.sign().tolist()) == signs


@pytest.mark.parametrize(("widths", "width", "options"), CASES)
def test_inertia_is_known_from_the_narrow_networks(make, widths, width, options):
    narrow = make.networks(widths, 4, **options)
    data, index = make.on_critical_points(narrow, n=101)
    doubtful = total = 0
    for shares in ("equal", "positive", "signed"):
        grown = embed.grow(narrow, width, shares=shares, copies=6, seed=1)
        predicted = grown_inertia(grown, data, narrow, index)
        spectra = edt.hessian_spectrum(grown.networks, data, task_index=index[grown.source])
        for row, values in zip(predicted.tolist(), spectra, strict=True):
            eps = edt.curvature.zero_threshold(values)
            total += 1
            if bool(((values.abs() > eps / 30) & (values.abs() < 30 * eps)).any()):
                doubtful += 1  # an eigenvalue too close to the threshold to judge by
                continue
            negative, positive = int((values < -eps).sum()), int((values > eps).sum())
            assert row == [negative, values.numel() - negative - positive, positive]
    assert total - doubtful >= 30


def test_one_neuron_split_is_the_special_case(make):
    narrow = make.networks([3], 3, d_out=2)
    data, index = make.on_critical_points(narrow)
    found = edt.curvature.count_directions(narrow, data, task_index=index)
    table = torch.stack([found.n_neg, found.n_zero, found.n_pos], dim=1)
    grown = embed.grow(narrow, 6, neurons=2, shares="signed")
    predicted = grown_inertia(grown, data, narrow, index, inertia=table)
    for b in range(3):
        shares = tuple(grown.shares[b][0][[2, 3, 4, 5]].tolist())
        one = split_matrices(data, narrow, b, target=b)[2]
        assert tuple(predicted[b].tolist()) == predicted_inertia(
            tuple(table[b].tolist()), one, shares
        )


def test_even_copies(make):
    grown = embed.grow(make.networks([3]), 8, neurons="even", copies=4)
    for parents in grown.parents:
        assert sorted(torch.bincount(parents[0]).tolist()) == [2, 3, 3]


@pytest.mark.parametrize("how", ["zero", "constant"])
def test_neurons_without_output(make, how):
    narrow = make.networks([(2, 3)], 3, d_out=2)
    data, index = make.on_critical_points(narrow, n=101)
    grown = embed.grow(narrow, (5, 4), how, seed=2)
    wide = grown.networks
    blank = edt.Task(data.x, data.x.new_zeros(data.N, 2))
    gap = edt.predict(wide, blank) - edt.predict(narrow, blank)
    assert float(gap.abs().max()) < ROUNDING
    for b in range(3):
        assert grown.parents[b][0].tolist() == [0, 1, -1, -1, -1]
        assert float(wide.weight(b, 1)[:3, 2:].abs().max()) == 0.0
        fresh = wide.weight(b, 0)[2:]
        assert (float(fresh.abs().max()) > 0.0) == (how == "zero")
        assert float(wide.bias(b, 0)[2:].abs().min()) > 0.0
    # Constant units leave the point critical, generic ones do not.
    assert (float(make.slope(wide, data, index).max()) < ROUNDING) == (how == "constant")
    if how == "zero":
        with pytest.raises(ValueError, match="on no critical point"):
            grown_inertia(grown, data, narrow, index)


@pytest.mark.parametrize(
    ("widths", "width", "options"),
    [
        ([2, 4], 6, {}),
        ([3], 5, {"d_out": 3, "activation": "softplus"}),
        ([(2, 3)], (4, 4), {"d_out": 2, "activation": "g"}),
        ([3], 6, {"activation": "relu", "d_out": 2}),  # units with a negative bias are dead
        ([(3, 3)], (5, 4), {"activation": "gelu"}),
    ],
)
def test_constant_units_open_as_many_ways_as_their_matrix_has_rank(make, widths, width, options):
    narrow = make.networks(widths, 4, **options)
    data, index = make.on_critical_points(narrow, n=101)
    found = edt.curvature.count_directions(narrow, data, task_index=index)
    grown = embed.grow(narrow, width, "constant", copies=3, seed=1)
    predicted = grown_inertia(grown, data, narrow, index)
    where = index[grown.source]
    counted = edt.curvature.count_directions(grown.networks, data, task_index=where)
    signs = torch.stack([counted.n_neg, counted.n_zero, counted.n_pos], dim=1)
    assert torch.equal(predicted, signs)
    # Always ways down, unless no new unit is alive.
    more = (predicted[:, 0] - found.n_neg[grown.source]).tolist()
    alive = [
        any(bool((grown.networks.bias(i, layer)[old:] > 0).any()) for layer, old in enumerate(old_))
        for i, old_ in enumerate(narrow.layer_widths[grown.source, 1:-1].tolist())
    ]
    if options.get("activation") == "relu":
        assert [count > 0 for count in more] == alive and not all(alive)
    else:
        assert min(more) > 0


def test_one_constant_unit(make):
    narrow = make.networks([(3, 2)], 3, d_out=2)
    data, index = make.on_critical_points(narrow, n=101)
    before = edt.curvature.count_directions(narrow, data, task_index=index)
    for layer in (0, 1):
        wide = embed.constant(narrow, 0.6, layer=layer).networks
        after = edt.curvature.count_directions(wide, data, task_index=index)
        for b in range(3):
            signs = tuple(int(n[b]) for n in (before.n_neg, before.n_zero, before.n_pos))
            expected = constant_inertia(signs, data, narrow, b, bias=0.6, layer=layer, target=b)
            assert expected == tuple(int(n[b]) for n in (after.n_neg, after.n_zero, after.n_pos))


@pytest.mark.parametrize("how", ["frozen", "none"])
def test_a_constant_unit_needs_the_next_biases(make, how):
    narrow = make.networks([3], 1, bias=how != "none")
    if how == "frozen":
        frozen = torch.zeros(narrow.total, dtype=torch.bool)
        frozen[-1] = True
        narrow = narrow.with_frozen(frozen)
    data, _ = make.on_critical_points(narrow)
    counted = edt.curvature.count_directions(narrow, data)
    signs = tuple(int(n[0]) for n in (counted.n_neg, counted.n_zero, counted.n_pos))
    with pytest.raises(ValueError, match="trainable biases"):
        constant_inertia(signs, data, narrow, bias=0.6)
    # tanh(0) = 0: the unit says nothing, and no bias has to answer it.
    expected = constant_inertia(signs, data, narrow, bias=0.0)
    assert sum(expected) == sum(signs) + 4


def test_a_constant_unit_needs_a_critical_point(make):
    narrow = make.networks([3], 1)
    data, _ = make.on_critical_points(narrow)
    theta = narrow.theta.clone()
    theta[-1] += 0.1
    with pytest.raises(ValueError, match="critical point"):
        constant_inertia((0, 0, 13), data, narrow.with_theta(theta), bias=0.6)


def test_draws(make):
    narrow = make.networks([3], 2)
    first = embed.grow(narrow, 9, shares="positive", seed=3)
    again = embed.grow(narrow, 9, shares="positive", seed=3)
    other = embed.grow(narrow, 9, shares="positive", seed=4)
    alone = embed.grow(narrow.network(0), 9, shares="positive", seed=3)
    assert torch.equal(first.networks.theta, again.networks.theta)
    assert not torch.equal(first.networks.theta, other.networks.theta)
    assert torch.equal(alone.networks.theta, first.networks.network(0).theta)
    same = embed.grow(narrow, 3)
    assert torch.equal(same.networks.theta, narrow.theta)


def test_bad_input(make):
    narrow = make.networks([3, 4])
    with pytest.raises(ValueError, match=r"must be >= 4, got 3"):
        embed.grow(narrow, 3)
    with pytest.raises(ShapeError, match="1 hidden widths"):
        embed.grow(narrow, (5, 5))
    with pytest.raises(TypeError, match="an integer >= 4"):
        embed.grow(narrow, 5.5)
    with pytest.raises(ValueError, match="did you mean 'split'"):
        embed.grow(narrow, 5, "spilt")
    with pytest.raises(ValueError, match="shares must be one of"):
        embed.grow(narrow, 5, shares="half")
    with pytest.raises(ValueError, match="neurons must be one of"):
        embed.grow(narrow, 5, neurons="all")
    with pytest.raises(ValueError, match=r"index\) must be in 0\.\.2, got 3"):
        embed.grow(narrow, 5, neurons=3)
    with pytest.raises(ValueError, match="copies must be"):
        embed.grow(narrow, 5, copies=0)
    with pytest.raises(ValueError, match="seed must be"):
        embed.grow(narrow, 5, seed=-1)
    with pytest.raises(ValueError, match="needs networks with biases"):
        embed.grow(make.networks([3], bias=False), 5, "constant")
