"""Units of networks of modules: channels split, added and counted as neurons are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import edt
from edt.errors import ShapeError
from edt.landscape import (
    constant_inertia,
    critical_task,
    embed,
    grow,
    grown_inertia,
    predicted_inertia,
    split,
    split_every,
    split_matrices,
)
from edt.landscape.stages import hidden_widths, layers_of, networks_of

# Outputs and losses are sums of a few hundred products of order one, in another order.
ROUNDING = 1e-13


def mean_readout(width: int, _seed: int) -> nn.Module:
    """One output weight a channel: the mean over positions is read out, as a neuron is."""
    return nn.Sequential(
        nn.Conv2d(1, width, 2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, 1),
    )  # fmt: skip


def flat_readout(width: int, _seed: int) -> nn.Module:
    """A weight a position."""
    return nn.Sequential(
        nn.Conv2d(1, width, 2), nn.Softplus(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(4 * width, 1),
    )  # fmt: skip


def two_layers(width: int, _seed: int) -> nn.Module:
    """Margins, a stride, maxima, and a channel that is read by taps of a convolution."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, width, 3, stride=2, padding=1), nn.Tanh()),
        nn.Conv2d(width, 2, 2, padding=(1, 0)), nn.Sigmoid(), nn.MaxPool2d((2, 1)), nn.Flatten(),
        nn.Linear(8, 2, bias=False),
    )  # fmt: skip


def networks(builder, widths=(2,), seeds=2, side=5):
    """Networks of order-one weights, one input channel."""
    made = edt.ModuleEnsemble.build(
        builder, list(widths), range(seeds), dtype=torch.float64, input_shape=(1, side, side)
    )
    draw = torch.Generator().manual_seed(3)
    return made.with_theta(torch.randn(made.total, generator=draw, dtype=torch.float64))


def on_critical_points(ens, n=80, side=5):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(n, side * side, generator=draw, dtype=torch.float64)
    return critical_task(ens, x), torch.arange(ens.B)


def counts(ens, data, index):
    """(n_neg, n_zero, n_pos) of each network, and whether zeros are beyond doubt (30 times)."""
    found, clear = [], []
    for values in edt.hessian_spectrum(ens, data, task_index=index):
        eps = edt.curvature.zero_threshold(values)
        negative, positive = int((values < -eps).sum()), int((values > eps).sum())
        found.append((negative, values.numel() - negative - positive, positive))
        clear.append(not bool(((values.abs() > eps / 30) & (values.abs() < 30 * eps)).any()))
    return found, clear


CASES = [
    (mean_readout, (2,), 0, 5), (flat_readout, (2,), 0, 5), (two_layers, (2,), 0, 6),
    (two_layers, (2,), 1, 6),
]  # fmt: skip


@pytest.mark.parametrize(("builder", "widths", "layer", "side"), CASES)
def test_every_sign_of_the_wide_hessian(builder, widths, layer, side):
    """At exact critical points of any loss: the law with sums over positions."""
    narrow = networks(builder, widths, side=side)
    data, index = on_critical_points(narrow, side=side)
    before, sharp = counts(narrow, data, index)
    assert all(sharp)
    matrices = [split_matrices(data, narrow, b, layer=layer, target=b) for b in range(narrow.B)]
    shares = (0.4, 1.6, 1.0, (1.5, -0.7, 0.2))
    wide = [split_every(narrow, mu, layer=layer) for mu in shares]
    source = torch.cat([one.source for one in wide])
    together = edt.ModuleEnsemble.concat([one.networks for one in wide])
    after, clear = counts(together, data, index[source])
    expected = [
        predicted_inertia(before[b], matrices[b][j], mu)
        for mu, one in zip(shares, wide, strict=True)
        for b, j in zip(one.source.tolist(), one.neuron.tolist(), strict=True)
    ]
    assert sum(clear) >= 0.9 * len(clear)
    for found, predicted, sharp_here in zip(after, expected, clear, strict=True):
        assert found == predicted or not sharp_here


def test_a_channel_with_many_output_weights_always_opens_ways_down():
    """One weight a channel: B decides, as for a neuron. Several: P has a rank, whatever B says."""
    for builder, most in ((mean_readout, 0), (flat_readout, 3)):
        narrow = networks(builder)
        data, _ = on_critical_points(narrow)
        for b in range(narrow.B):
            for found in split_matrices(data, narrow, b, target=b):
                assert found.rank == most  # K - 1: a.P = 0 at a critical point
                assert found.B.shape == (5, 5)  # 4 taps and a bias


def test_matrices_are_sums_over_positions():
    narrow = networks(flat_readout, seeds=1)
    data, _ = on_critical_points(narrow, n=40)
    module = narrow.to_module(0)
    kernel, offset = module[0].weight, module[0].bias
    readout = module[4].weight.view(2, 2, 2)
    images = data.x.view(-1, 5, 5)
    residual = 2 * (edt.predict(narrow, data)[0] - data.y[0])[:, 0] / data.N
    for j, found in enumerate(split_matrices(data, narrow)):
        B = torch.zeros(5, 5, dtype=torch.float64)
        P = torch.zeros(4, 5, dtype=torch.float64)
        for n in range(data.N):
            for r in range(4):
                for c in range(4):
                    x = torch.cat(
                        [images[n, r : r + 2, c : c + 2].flatten(), torch.ones(1).double()]
                    )
                    z = float((kernel[j, 0].flatten() @ x[:4] + offset[j]).detach())
                    s = 1 / (1 + torch.exp(torch.tensor(-z, dtype=torch.float64)))
                    through = residual[n] / 4  # a mean of four positions
                    B += through * readout[j, r // 2, c // 2] * s * (1 - s) * torch.outer(x, x)
                    P[2 * (r // 2) + c // 2] += through * s * x
        # Sums of 640 terms of order 0.1.
        torch.testing.assert_close(found.B, B.detach(), rtol=0, atol=1e-13)
        torch.testing.assert_close(found.P, P.detach(), rtol=0, atol=1e-13)


def test_a_chain_of_linear_layers_gives_what_an_ensemble_gives(make):
    plain = make.networks([(3, 2)], 2, d_out=2)
    made = edt.ModuleEnsemble([plain.to_module(b) for b in range(2)])
    data, _ = make.on_critical_points(plain, n=83)
    assert torch.equal(hidden_widths(made), hidden_widths(plain))
    for layer in (0, 1):
        pairs = zip(
            split_matrices(data, plain, 1, layer=layer, target=1),
            split_matrices(data, made, 1, layer=layer, target=1),
            strict=True,
        )
        for one, other in pairs:
            torch.testing.assert_close(one.B, other.B, rtol=0, atol=1e-14)
            torch.testing.assert_close(one.P, other.P, rtol=0, atol=1e-14)
        for mu in (0.3, (0.2, 0.9, -0.1)):
            wide = split(plain, 1, mu, layer=layer).networks
            assert torch.equal(split(made, 1, mu, layer=layer).networks.theta, wide.theta)
    for how in ("split", "zero", "constant"):
        wide = grow(plain, (4, 5), how, shares="signed").networks
        assert torch.equal(grow(made, (4, 5), how, shares="signed").networks.theta, wide.theta)
    assert constant_inertia((0, 0, 0), data, made, 0, bias=0.4) == constant_inertia(
        (0, 0, 0), data, plain, 0, bias=0.4
    )


@pytest.mark.parametrize(("builder", "widths", "layer", "side"), CASES)
def test_embeddings_keep_output_and_masks(builder, widths, layer, side):
    narrow = networks(builder, widths, side=side)
    narrow = narrow.with_masks(torch.arange(narrow.total) % 5 != 1)
    narrow = narrow.with_frozen(torch.arange(narrow.total) % 7 == 2)
    data, index = on_critical_points(narrow, side=side)
    blank = edt.Task(data.x, data.y[0])
    outputs = edt.predict(narrow, blank)
    fan_in = layers_of(narrow, 0)[layer].weight[0].numel()
    for wide in (
        split_every(narrow, (0.4, -0.5, 1.1), layer=layer),
        embed.zero_output(narrow, torch.full((2, fan_in + 1), 0.3), layer=layer),
    ):
        found = edt.predict(wide.networks, blank)
        torch.testing.assert_close(found, outputs[wide.source], rtol=0, atol=ROUNDING * 100)
        assert torch.equal(
            hidden_widths(wide.networks)[:, layer],
            hidden_widths(narrow)[wide.source, layer] + wide.added,
        )
    wide = split_every(narrow, 0.3, layer=layer)
    _, grad = edt.loss_and_grad(wide.networks, data, task_index=index[wide.source])
    assert float(grad.abs().max()) < ROUNDING * 100
    # A copy is masked as its original: its entries of the state are repeated.
    layers = layers_of(wide.networks, 0)
    assert torch.equal(layers[layer].weight_state[-1], layers[layer].weight_state[0])
    assert torch.equal(layers[layer + 1].weight_state[:, -1], layers[layer + 1].weight_state[:, 0])
    again = networks_of([layers_of(narrow, b) for b in range(narrow.B)], narrow)
    assert torch.equal(again.theta, narrow.theta)
    assert torch.equal(again.state, narrow.state)


def test_constant_channels_and_growth():
    """A constant channel adds rank S ways down and as many up; grown channels add up."""
    narrow = networks(flat_readout, seeds=2)
    data, index = on_critical_points(narrow)
    before, _ = counts(narrow, data, index)
    wide = embed.constant(narrow, 0.7)
    after, clear = counts(wide.networks, data, index)
    assert all(clear)
    expected = [
        constant_inertia(before[b], data, narrow, b, bias=0.7, target=b) for b in range(narrow.B)
    ]
    assert after == expected
    assert all(new[0] > old[0] for new, old in zip(after, before, strict=True))
    for how, shares in (("split", "signed"), ("constant", "equal")):
        growth = grow(narrow, 4, how, shares=shares, neurons="even")
        found, clear = counts(growth.networks, data, index)
        assert all(clear)
        rows = grown_inertia(growth, data, narrow, index, torch.tensor(before))
        assert [tuple(row) for row in rows.tolist()] == found


def test_constant_channels_near_margins_and_maxima():
    narrow = networks(two_layers, side=6)
    data, index = on_critical_points(narrow, side=6)
    before, _ = counts(narrow, data, index)
    after, clear = counts(embed.constant(narrow, 0.0).networks, data, index)
    assert all(clear)
    for b in range(narrow.B):
        assert after[b] == constant_inertia(before[b], data, narrow, b, target=b)
        assert after[b][0] > before[b][0]
    with pytest.raises(ValueError, match="bias must make an output of 0 where the next layer has"):
        constant_inertia(before[0], data, narrow, 0, bias=0.5)
    with pytest.raises(ValueError, match="outgoing must be 0 where the next layer has margins"):
        embed.constant(narrow, 0.5, torch.ones(2))
    with pytest.raises(ValueError, match="must not take maxima of a constant channel"):
        constant_inertia(before[0], data, narrow, 0, layer=1)


def test_compensated_constant_channel():
    narrow = networks(flat_readout)
    draw = torch.Generator().manual_seed(1)
    blank = edt.Task(
        torch.randn(9, 25, generator=draw, dtype=torch.float64), torch.zeros(9, 1).double()
    )
    wide = embed.constant(narrow, 0.5, torch.tensor([1.5]))
    torch.testing.assert_close(
        edt.predict(wide.networks, blank), edt.predict(narrow, blank), rtol=0, atol=ROUNDING
    )


def test_a_new_channel_is_on_no_critical_point():
    narrow = networks(flat_readout)
    data, index = on_critical_points(narrow)
    wide = embed.zero_output(narrow, torch.tensor([[0.3, -0.2, 0.5, 0.1, 0.2]]))
    slopes = embed.new_output_gradient(wide, data, index)
    assert slopes[0].shape == (1, 1, 4)
    assert all(float(slope.abs().max()) > 1e-3 for slope in slopes)


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Linear(32, 1)], "stage '1' is BatchNorm2d"),
        ([nn.Conv2d(1, 2, 2), nn.AvgPool2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 1)],
         "before stage '4' must stand at most one activation, then pooling, got AvgPool2d, Tanh"),
        ([nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Conv2d(2, 2, 1, groups=2)], "stage '2' is Conv2d"),
        ([nn.Conv2d(1, 2, 2), nn.Tanh()], "stage must be a convolution or linear layer, got Tanh"),
    ],
)  # fmt: skip
def test_other_modules_are_refused_by_the_name_of_the_stage(stages, words):
    with pytest.raises(TypeError, match=words):
        split(edt.ModuleEnsemble([nn.Sequential(*stages)], input_shape=(1, 5, 5)))


def test_networks_of_several_depths_are_refused():
    shallow, deep = nn.Linear(2, 1), nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    with pytest.raises(ShapeError, match=r"one number of hidden layers, got \[0, 1\]"):
        split(edt.ModuleEnsemble([shallow, deep]))
