"""The closed-form inertia of split neurons against the eigenvalues of full Hessians."""

from __future__ import annotations

import itertools

import pytest
import torch

import edt
from edt.landscape import predicted_inertia, split, split_every, split_matrices

SHARES = [0.4, 1.6, -0.5, (0.3, 0.3, 0.4), (1.5, -0.7, 0.2), (0.6, 0.9, -0.1, -0.4)]


def counts(ens, data, index):
    """(n_neg, n_zero, n_pos) of each network, and whether its zeros are told apart beyond doubt.

    In doubt: an eigenvalue within a factor of 30 of the threshold, on either side.
    """
    found, clear = [], []
    for values in edt.hessian_spectrum(ens, data, task_index=index):
        eps = edt.curvature.zero_threshold(values)
        negative, positive = int((values < -eps).sum()), int((values > eps).sum())
        found.append((negative, values.numel() - negative - positive, positive))
        clear.append(not bool(((values.abs() > eps / 30) & (values.abs() < 30 * eps)).any()))
    return found, clear


def compare(narrow, data, index, shares, layer=0):
    """(cases, cases in doubt, disagreements) over every neuron of every network."""
    before, sharp = counts(narrow, data, index)
    matrices = [
        split_matrices(data, narrow, b, layer=layer, target=int(index[b])) for b in range(narrow.B)
    ]
    cases = doubtful = 0
    wrong = []
    for mu in shares:
        wide = split_every(narrow, mu, layer=layer)
        after, clear = counts(wide.networks, data, index[wide.source])
        for i, (b, j) in enumerate(zip(wide.source.tolist(), wide.neuron.tolist(), strict=True)):
            cases += 1
            if not (clear[i] and sharp[b]):
                doubtful += 1
                continue
            predicted = predicted_inertia(before[b], matrices[b][j], mu)
            if predicted != after[i]:
                wrong.append((b, j, mu, predicted, after[i]))
    return cases, doubtful, wrong


FAMILIES = [
    (widths, layer, d_out, bias, activation)
    for widths, layer, options in (
        ([2, 3], 0, ((True, "tanh"), (False, "softplus"), (True, "g"), (False, "sin"))),
        ([(3, 2)], 0, ((True, "tanh"), (False, "erf"))),
        ([(2, 3)], 1, ((True, "gelu"), (False, "sigmoid"))),
    )
    for bias, activation in options
    for d_out in (1, 2, 3)
]


@pytest.mark.parametrize(("widths", "layer", "d_out", "bias", "activation"), FAMILIES)
def test_every_sign_of_the_wide_hessian(make, widths, layer, d_out, bias, activation):
    """4,608 wide critical points in all."""
    narrow = make.networks(widths, 8, d_out=d_out, bias=bias, activation=activation, first=10)
    data, index = make.on_critical_points(narrow, n=83)
    cases, doubtful, wrong = compare(narrow, data, index, SHARES, layer)
    assert not wrong
    assert doubtful <= 0.05 * cases


def test_masked_and_frozen_neurons(make):
    narrow = make.networks([(3, 3)], 6, d_out=2, sparsity=0.3)
    narrow = narrow.with_frozen(torch.arange(narrow.total) % 7 == 0)
    data, index = make.on_critical_points(narrow, n=83)
    for layer in (0, 1):
        cases, doubtful, wrong = compare(narrow, data, index, SHARES[1:5], layer)
        assert not wrong
        # Neurons cut off from the outputs have B = 0 and leave no doubt.
        assert doubtful <= 0.1 * cases


def test_shares_of_zero(make):
    # At mu in {0, 1} one copy has no output: D directions more are flat than the B of scalar
    # outputs leaves, and with P they pair up with the output weights.
    for d_out in (1, 2):
        narrow = make.networks([3], 6, d_out=d_out)
        data, index = make.on_critical_points(narrow)
        shares = [0.0, 1.0, (0.0, 0.0, 1.0), (0.6, 0.0, 0.4), (0.0, 1.5, -0.5)]
        cases, doubtful, wrong = compare(narrow, data, index, shares)
        assert cases == 90
        assert not wrong
        assert doubtful <= 4


def test_scalar_output_reads_off_B(make):
    """Fukumizu and Amari: n_neg(B) ways down inside (0, 1), n_pos(B) outside."""
    narrow = make.networks([3], 8)
    data, index = make.on_critical_points(narrow)
    before, _ = counts(narrow, data, index)
    for b in range(narrow.B):
        for matrices in split_matrices(data, narrow, b, target=b):
            assert matrices.rank == 0
            negative, zero, positive = matrices.signs
            assert (negative + zero + positive, zero) == (3, 0)
            assert predicted_inertia(before[b], matrices, 0.3)[0] == before[b][0] + negative
            assert predicted_inertia(before[b], matrices, 1.3)[0] == before[b][0] + positive
            assert predicted_inertia(before[b], matrices, -9.0)[0] == before[b][0] + positive


def test_matrices_are_sums_over_samples(make):
    narrow = make.networks([2], d_out=2)
    data, _index = make.on_critical_points(narrow, n=31)
    output = edt.predict(narrow, data)[0]
    upstream = 2 * (output - data.y[0]) / data.N
    weight, bias, a = narrow.weight(0, 0), narrow.bias(0, 0), narrow.weight(0, 1)
    for j, found in enumerate(split_matrices(data, narrow)):
        B, P = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
        for n in range(data.N):
            x = torch.cat([data.x[n], torch.ones(1, dtype=torch.float64)])
            t = torch.tanh(weight[j] @ data.x[n] + bias[j])
            B += (upstream[n] @ a[:, j]) * (-2 * t * (1 - t * t)) * torch.outer(x, x)
            P += torch.outer(upstream[n] * (1 - t * t), x)
        # Sums of 31 terms of order 0.1.
        torch.testing.assert_close(found.B, B, rtol=0, atol=1e-14)
        torch.testing.assert_close(found.P, P, rtol=0, atol=1e-14)
        assert found.rank == 1  # two outputs, and a.P = 0 at a critical point


def test_several_outputs_always_open_a_way_down(make):
    narrow = make.networks([2, 4], 5, d_out=3)
    data, index = make.on_critical_points(narrow)
    before, _ = counts(narrow, data, index)
    for b in range(narrow.B):
        for matrices in split_matrices(data, narrow, b, target=b):
            assert matrices.rank > 0
            dimensions = [
                predicted_inertia(before[b], matrices, (1.0 / k,) * k)[0] for k in range(1, 7)
            ]
            # Linear in the number of copies.
            steps = {after - now for now, after in itertools.pairwise(dimensions)}
            assert len(steps) == 1
            assert steps.pop() >= matrices.rank


def test_relu_has_no_curvature_between_its_copies(make):
    narrow = make.networks([3], 3, activation="relu")
    data, index = make.on_critical_points(narrow)
    before, _ = counts(narrow, data, index)
    for b in range(narrow.B):
        for matrices in split_matrices(data, narrow, b, target=b):
            assert float(matrices.B.abs().max()) == 0.0
            assert predicted_inertia(before[b], matrices, 0.5)[::2] == before[b][::2]


def test_cross_entropy_minimum():
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(120, 2, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 3, (120,), generator=draw)
    data = edt.Task(x, labels, "cross_entropy")
    start = edt.Ensemble.init([2], range(8), d_in=2, d_out=3)
    ended = edt.converge(data, start, progress=False)
    # Logits shifted together leave the loss: these minima are flat by nature.
    settled = [b for b, word in enumerate(ended.verdict) if word == "flat"]
    assert len(settled) >= 4
    narrow = ended.networks.select(settled)
    cases, doubtful, wrong = compare(narrow, data, torch.zeros(narrow.B, dtype=torch.int64), SHARES)
    assert not wrong
    # Saturated neurons have eigenvalues of every size, some near the threshold.
    assert cases - doubtful >= 30


def test_splitting_again(make):
    """Splits of splits: the law applied twice is the law for three copies."""
    narrow = make.networks([2], 6)
    data, index = make.on_critical_points(narrow)
    before, _ = counts(narrow, data, index)
    for first, second in ((0.5, 0.5), (1.5, 0.5), (0.5, -0.5)):
        once = split(narrow, 0, first).networks
        middle, _ = counts(once, data, index)
        for b in range(narrow.B):
            again = predicted_inertia(middle[b], split_matrices(data, once, b, target=b)[0], second)
            shares = (first * second, 1 - first, first * (1 - second))
            whole = split_matrices(data, narrow, b, target=b)[0]
            assert again == predicted_inertia(before[b], whole, shares)


def test_bad_layer(make):
    narrow = make.networks([2])
    data, _ = make.on_critical_points(narrow)
    with pytest.raises(ValueError, match=r"hidden layer 0\.\.0, got 1"):
        split_matrices(data, narrow, layer=1)


def test_refuses_off_critical_points(make):
    narrow = make.networks([3], 1)
    data, _ = make.on_critical_points(narrow)
    assert not any(found.unmet for found in split_matrices(data, narrow))
    step = torch.linspace(-1, 1, narrow.total).double()
    off = narrow.with_theta(narrow.theta + 1e-3 * step)
    with pytest.raises(ValueError, match="gradient on the"):
        predicted_inertia((0, 0, 5), split_matrices(data, off)[0])


def test_refuses_where_the_output_weight_says_nothing(make):
    """At a = 1e-9 a gradient of 1e-9 P is below every tolerance, and P is not 0."""
    narrow = make.networks([3], 1)
    data, _ = make.on_critical_points(narrow)
    faint = narrow.with_theta(narrow.theta.clone())
    faint.weight(0, 1)[0, 1] *= 1e-9
    _, grad = edt.loss_and_grad(faint, data)
    found = split_matrices(data, faint)[1]
    assert float(grad[2:4].abs().max()) < 1e-8
    assert found.unmet
    with pytest.raises(ValueError, match="output weights of"):
        predicted_inertia((0, 0, 5), found)
