"""What each embedding keeps: output, loss, criticality, masks; and what it does not keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import edt
from edt.errors import ShapeError
from edt.landscape import embed, split, split_every

# Outputs and losses are sums of a few dozen products of order one, in another order.
ROUNDING = 1e-13


def same_output(narrow, wide, source, x):
    """Largest difference of outputs between wide networks and the narrow ones they came from."""
    blank = edt.Task(x, x.new_zeros(x.shape[0], narrow.d_out))
    return float((edt.predict(wide, blank) - edt.predict(narrow, blank)[source]).abs().max())


CASES = [
    ({"d_out": 1}, [3], 0),
    ({"d_out": 3, "activation": "softplus"}, [2, 4], 0),
    ({"d_out": 2, "bias": False}, [3], 0),
    ({"activation": "relu"}, [4], 0),
    ({"activation": "g", "d_out": 2}, [(3, 4), (2, 2)], 0),
    ({"activation": "sigmoid"}, [(3, 4)], 1),
    ({"activation": "erf", "bias": False}, [(2, 3, 2)], 1),
    ({"sparsity": 0.35}, [(5, 4)], 0),
    ({"sparsity": 0.35}, [(5, 4)], 1),
]


@pytest.mark.parametrize(("options", "widths", "layer"), CASES)
@pytest.mark.parametrize("mu", [0.5, 1.0, 1.7, -0.4, (0.2, 0.9, -0.6, 0.5)])
def test_split_keeps_output_loss_and_criticality(make, options, widths, layer, mu):
    narrow = make.networks(widths, 2, **options)
    data, index = make.on_critical_points(narrow, n=97)
    wide = split_every(narrow, mu, layer=layer)
    copies = 2 if isinstance(mu, float) else len(mu)
    assert wide.added == copies - 1
    assert wide.layer == layer
    assert torch.equal(
        wide.networks.layer_widths[:, layer + 1],
        narrow.layer_widths[wide.source, layer + 1] + copies - 1,
    )
    assert same_output(narrow, wide.networks, wide.source, data.x) < ROUNDING
    where = index[wide.source]
    loss = edt.loss(wide.networks, data, task_index=where)
    torch.testing.assert_close(
        loss, edt.loss(narrow, data, task_index=index)[wide.source], rtol=ROUNDING, atol=0
    )
    assert float(make.slope(wide.networks, data, where).max()) < ROUNDING


@pytest.mark.parametrize(("options", "widths", "layer"), CASES)
def test_critical_on_the_whole_line(make, options, widths, layer):
    narrow = make.networks(widths, 2, **options)
    data, index = make.on_critical_points(narrow, n=97)
    loss = edt.loss(narrow, data, task_index=index)
    for mu in torch.linspace(-3, 4, 15, dtype=torch.float64).tolist():
        wide = split(narrow, 1, mu, layer=layer).networks
        assert float(make.slope(wide, data, index).max()) < ROUNDING * (1 + abs(mu))
        moved = edt.loss(wide, data, task_index=index)
        torch.testing.assert_close(moved, loss, rtol=ROUNDING * 10, atol=0)


def test_compositions_to_any_larger_width(make):
    """Splits, silent and constant neurons one upon the other, in both layers of masked networks."""
    draw = np.random.default_rng(0)
    narrow = make.networks([(3, 4)], 2, d_out=2, sparsity=0.3)
    data, index = make.on_critical_points(narrow, n=97)
    loss = edt.loss(narrow, data, task_index=index)
    wide, kinds = narrow, []
    for _ in range(12):
        layer, kind = int(draw.integers(2)), ("split", "zero", "constant")[int(draw.integers(3))]
        kinds.append(kind)
        width = int(wide.layer_widths[0, layer + 1])
        if kind == "split":
            wide = split(wide, int(draw.integers(width)), draw.normal(), layer=layer).networks
        elif kind == "zero":
            fan_in = int(wide.layer_widths[0, layer]) + 1
            wide = embed.zero_output(wide, make.inputs(1, fan_in), layer=layer).networks
        else:
            outgoing = make.inputs(1, int(wide.layer_widths[0, layer + 2]))[0]
            wide = embed.constant(wide, draw.normal(), outgoing, layer=layer).networks
    assert set(kinds) == {"split", "zero", "constant"}
    assert int(wide.layer_widths[0, 1:-1].sum()) == 7 + 12
    # Twelve steps, each of which rounds anew.
    assert same_output(narrow, wide, torch.arange(2), data.x) < 20 * ROUNDING
    torch.testing.assert_close(
        edt.loss(wide, data, task_index=index), loss, rtol=20 * ROUNDING, atol=0
    )


def test_split_places_the_copies(make):
    narrow = make.networks([3], 2, d_out=2)
    wide = split(narrow, torch.tensor([2, 0]), (0.25, 0.5, 0.25)).networks
    for b, j in enumerate((2, 0)):
        for weight, whole in (
            (wide.weight(b, 0), narrow.weight(b, 0)),
            (wide.bias(b, 0)[:, None], narrow.bias(b, 0)[:, None]),
        ):
            assert torch.equal(weight[:3], whole)
            assert torch.equal(weight[3:], whole[j].expand(2, -1))
        a = narrow.weight(b, 1)[:, j]
        out = wide.weight(b, 1)
        assert torch.equal(out[:, j], 0.25 * a)
        assert torch.equal(out[:, 3:], torch.stack([0.5 * a, 0.25 * a], dim=1))
        assert torch.equal(wide.bias(b, 1), narrow.bias(b, 1))


def test_masks_and_frozen_parameters_travel(make):
    narrow = make.networks([(4, 3)], 3, sparsity=0.4)
    narrow = narrow.with_frozen(torch.arange(narrow.total) % 5 == 0)
    for layer in (0, 1):
        wide = split_every(narrow, (0.5, -1.0, 1.5), layer=layer)
        for i, (b, j) in enumerate(zip(wide.source.tolist(), wide.neuron.tolist(), strict=True)):
            size = int(narrow.layer_widths[b, layer + 1])
            old, new = narrow.with_theta(narrow.state.double()), wide.networks
            new = new.with_theta(new.state.double())  # pruned entries are 0 in both
            order = [*range(size), j, j]
            assert torch.equal(new.weight(i, layer), old.weight(b, layer)[order])
            assert torch.equal(new.bias(i, layer), old.bias(b, layer)[order])
            assert torch.equal(new.weight(i, layer + 1), old.weight(b, layer + 1)[:, order])


def test_split_at_any_width(make):
    narrow = make.networks([2])
    wide = narrow
    for step in range(6):
        wide = split(wide, step % int(wide.layer_widths[0, 1]), 0.3).networks
    assert int(wide.layer_widths[0, 1]) == 8
    assert same_output(narrow, wide, torch.tensor([0]), make.inputs(50, 2)) < ROUNDING


@pytest.mark.parametrize(("options", "widths", "layer"), CASES)
def test_zero_output(make, options, widths, layer):
    narrow = make.networks(widths[:1], 2, **options)
    data, index = make.on_critical_points(narrow, n=97)
    fan_in = int(narrow.layer_widths[0, layer]) + int(narrow.has_bias)
    wide = embed.zero_output(narrow, make.inputs(3, fan_in, seed=4), layer=layer)
    assert same_output(narrow, wide.networks, wide.source, data.x) < ROUNDING
    _, grad = edt.loss_and_grad(wide.networks, data, task_index=index)
    rest = wide.networks.with_theta(grad)
    for b, reported in enumerate(embed.new_output_gradient(wide, data, index)):
        out = rest.weight(b, layer + 1)[:, -3:]
        assert torch.equal(reported, out)
        assert bool((reported.abs() > 100 * ROUNDING).any()), "generic new neurons are not critical"
        out.zero_()
    # Everything but those output weights is critical.
    assert float(rest.theta.abs().max()) < ROUNDING


@pytest.mark.parametrize("outgoing", [None, 0.7])
def test_constant(make, outgoing):
    narrow = make.networks([(3, 2)], 2, d_out=2)
    data, index = make.on_critical_points(narrow, n=97)
    for layer, outputs in ((0, 2), (1, 2)):
        a = None if outgoing is None else torch.full((outputs,), outgoing, dtype=torch.float64)
        wide = embed.constant(narrow, 0.9, a, layer=layer)
        assert same_output(narrow, wide.networks, wide.source, data.x) < ROUNDING
        for reported in embed.new_output_gradient(wide, data, index):
            assert float(reported.abs().max()) < ROUNDING
        _, grad = edt.loss_and_grad(wide.networks, data, task_index=index)
        rest = wide.networks.with_theta(grad)
        for b in range(2):
            row = rest.weight(b, layer)[-1]
            # Critical for output weights 0; else the new input weights feel the data.
            assert (float(row.abs().max()) < ROUNDING) == (outgoing is None)
            row.zero_()
        assert float(rest.theta.abs().max()) < ROUNDING


def test_bad_input(make):
    narrow = make.networks([3, 4], 1)
    with pytest.raises(ValueError, match="sum to 1"):
        split(narrow, 0, (0.5, 0.6))
    with pytest.raises(ValueError, match="sum to 1"):
        split(narrow, 0, float("nan"))
    with pytest.raises(ValueError, match=r"0\.\.2 for network 0, got 3"):
        split(narrow, 3)
    with pytest.raises(ShapeError, match="one per network"):
        split(narrow, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"hidden layer 0\.\.0, got 1"):
        split_every(narrow, layer=1)
    with pytest.raises(ShapeError, match=r"\[q, 3\] \(weights, then bias\)"):
        embed.zero_output(narrow, torch.zeros(2, 2))
    with pytest.raises(ShapeError, match=r"outgoing must have shape \[1\]"):
        embed.constant(narrow, 0.0, torch.zeros(2))
    with pytest.raises(ValueError, match="no bias to compensate"):
        embed.constant(make.networks([3], bias=False))
