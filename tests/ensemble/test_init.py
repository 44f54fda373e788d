"""Initialisation: independence of company, distributions, and bits that must never change."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from edt.ensemble import SCHEMES, Ensemble


def bits(ens):
    return hashlib.sha256(ens.theta.numpy().tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("widths", [[1, 4, 7], [(4, 2), (3, 3)]])
def test_a_network_is_the_same_alone_and_in_a_crowd(widths, scheme, dtype):
    options = {"d_in": 3, "d_out": 2, "scheme": scheme, "sparsity": 0.4, "dtype": dtype}
    seeds = [5, 0, 2**64 - 1]
    crowd = Ensemble.init(widths, seeds, **options)
    assert crowd.layer_widths[:, 1:-1].tolist() == [
        [w] if isinstance(w, int) else list(w) for w in widths for _ in seeds
    ]
    for b in range(len(crowd)):
        alone = Ensemble.init([widths[b // 3]], seeds[b % 3], **options)
        assert torch.equal(crowd.network(b).theta, alone.theta)
        assert torch.equal(crowd.network(b).state, alone.state)
        assert crowd.network_ids[b] == alone.network_ids[0]
    backwards = Ensemble.init(widths[::-1], seeds[::-1], **options)
    for b in range(len(crowd)):
        assert torch.equal(backwards.network(len(crowd) - 1 - b).theta, crowd.network(b).theta)


def test_seeds_widths_and_ids_tell_networks_apart():
    ens = Ensemble.init([4, 5], [0, 1], d_in=3, d_out=1)
    first = [float(ens.weight(b, 0)[0, 0]) * 3**0.5 for b in range(4)]
    assert len(set(first)) == 4
    assert len(set(ens.network_ids.tolist())) == 2
    named = Ensemble.init([4, 4, 4], 0, d_in=3, d_out=1, ids=[7, 8, 7])
    assert torch.equal(named.network(0).theta, named.network(2).theta)
    assert not torch.equal(named.network(0).theta, named.network(1).theta)
    assert named.network_ids.tolist() == [7, 8, 7]
    # One id for two widths: the layers next to the inputs then share their first neurons.
    nested = Ensemble.init([2, 4], 0, d_in=3, d_out=1, ids=[1, 1])
    assert torch.equal(nested.weight(0, 0), nested.weight(1, 0)[:2])


def test_schemes_share_directions():
    make = {s: Ensemble.init([6], 3, d_in=5, d_out=2, scheme=s) for s in SCHEMES}
    root = {"glorot": (2 / 11) ** 0.5, "he": (2 / 5) ** 0.5, "normal": 5**-0.5}
    base = make["normal"].weight(0, 0) / root["normal"]
    for scheme, factor in root.items():
        # Two roundings.
        torch.testing.assert_close(
            make[scheme].weight(0, 0), factor * base, rtol=4 * 2**-53, atol=0
        )
    scaled = Ensemble.init([6], 3, d_in=5, d_out=2, scheme="he", scale=0.25)
    assert torch.equal(scaled.theta, 0.25 * make["he"].theta)
    assert not Ensemble.init([6], 3, d_in=5, d_out=2, scale=0.0).theta.any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_distributions(scheme):
    """Layer 1 of 30 -> 40 -> 20 -> 1; n = 40,000 weights, 1,000 biases; five standard errors."""
    ens = Ensemble.init([(40, 20)], range(50), d_in=30, d_out=1, scheme=scheme)
    weights = torch.stack([ens.weight(b, 1) for b in range(50)]).flatten()
    biases = torch.stack([ens.bias(b, 1) for b in range(50)]).flatten()
    # All but the last layer of "mup" is as in "normal"; an entry of 20 orthonormal rows of 40 too.
    variance = {"torch": 1 / 120, "glorot": 2 / 60, "he": 2 / 40}.get(scheme, 1 / 40)
    spread = {"ntk": 0.01}.get(scheme, variance)
    kurtosis = 1.8 if scheme == "torch" else 3.0
    for values, wanted in ((weights, variance), (biases, spread)):
        if scheme not in ("torch", "normal", "ntk") and values is biases:
            assert not biases.any()
            continue
        n = values.numel()
        assert abs(values.mean()) < 5 * (wanted / n) ** 0.5
        assert abs(values.var() - wanted) < 5 * wanted * ((kurtosis - 1) / n) ** 0.5
    if scheme == "torch":
        assert weights.abs().max() < 40**-0.5
        assert biases.abs().max() < 40**-0.5


def test_torch_scheme_has_the_bounds_of_torch():
    """The bound of `torch.nn.Linear` on both weights and biases, approached by 10,000 draws."""
    linear = torch.nn.Linear(16, 10_000)
    ours = Ensemble.init([10_000], 0, d_in=16, d_out=1, scheme="torch")
    for theirs, mine in ((linear.weight, ours.weight(0, 0)), (linear.bias, ours.bias(0, 0))):
        assert 0.249 < float(theirs.detach().abs().max()) <= 0.25
        assert 0.249 < float(mine.abs().max()) <= 0.25


def test_bits_never_change():
    """Results of old seeds must stay reproducible: these digests are part of the interface."""
    found = {
        scheme: bits(
            Ensemble.init(
                [(3, 2), (5, 4)], [0, 2**64 - 1], d_in=2, d_out=3, scheme=scheme, sparsity=0.3
            )
        )
        for scheme in SCHEMES
    }
    assert found == {
        "torch": "d8eb8722866dfca0",
        "glorot": "91dab41f1d07dc71",
        "he": "90cdc550fe8bfb7b",
        "normal": "37c58b19df03af55",
        "ntk": "3a224c7d736111fc",
        "mean_field": "ccd77140bacea604",
        "mup": "ccd77140bacea604",
        "orthogonal": "86f341f111683df3",
    }


def test_float32_is_float64_rounded():
    options = {"d_in": 3, "d_out": 1, "scheme": "he"}
    high = Ensemble.init([5], range(4), **options)
    assert torch.equal(
        Ensemble.init([5], range(4), dtype=torch.float32, **options).theta, high.theta.float()
    )


def test_global_generators_are_left_alone():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    wanted = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    Ensemble.init([5], range(4), d_in=2, d_out=1, sparsity=0.5)
    assert (torch.rand(1), np.random.rand()) == wanted  # noqa: NPY002


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_sparsity_is_exact_per_layer(share):
    ens = Ensemble.init([2, 3, 16, 20], range(5), d_in=5, d_out=2, sparsity=share)
    for b in range(len(ens)):
        for layer in range(2):
            mask = ens.weight_mask(b, layer)
            pruned = min(int(share * mask.numel() + 0.5), mask.numel() - 1)
            assert int((~mask).sum()) == pruned
            assert not ens.weight(b, layer)[~mask].any()
            assert ens.bias_mask(b, layer).all()
            if share == 0.0:
                assert ens.weight(b, layer).all()


def test_sparsity_per_layer_leaves_values_and_depends_on_the_seed():
    dense = Ensemble.init([8], range(20), d_in=8, d_out=1)
    ens = Ensemble.init([8], range(20), d_in=8, d_out=1, sparsity=[0.5, 0.0])
    assert torch.equal(ens.theta, dense.theta * ens.masks)
    assert all(ens.weight_mask(b, 1).all() for b in range(20))
    masks = torch.stack([ens.weight_mask(b, 0) for b in range(20)])
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 20
    # 64 positions, each kept 10 of 20 times on average (variance 5): chi^2 with 64 degrees of
    # freedom, mean 64, standard deviation 11.3; within five of them.
    chi = ((masks.double().sum(0) - 10) ** 2 / 5).sum()
    assert chi < 64 + 5 * 11.4


def test_with_sparsity_is_what_init_draws():
    dense = Ensemble.init([3, 8], [4, 5], d_in=8, d_out=1)
    drawn = Ensemble.init([3, 8], [4, 5], d_in=8, d_out=1, sparsity=0.7)
    again = dense.with_sparsity(0.7, seeds=[4, 5, 4, 5])
    assert torch.equal(again.state, drawn.state)
    assert torch.equal(again.theta, drawn.theta)
    assert not torch.equal(dense.with_sparsity(0.7, seeds=9).state, drawn.state)


def test_given_masks():
    ens = Ensemble.init([2], [0, 1], d_in=1, d_out=1, masks=torch.tensor([1, 0, 1, 1, 1, 1, 1] * 2))
    assert ens.coords.tolist() == [6, 6]
    assert ens.theta[1] == 0
    assert ens.theta[0] != 0
