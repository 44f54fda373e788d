"""Dropout under `vmap`: its words against `edt.ensemble.philox`, its kinds against torch's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edt
from edt.ensemble.philox import philox4x32
from edt.objectives.dropout import KeyedDropout, keys_of, philox_words

KEY = keys_of([-7], [3], 2)[0]


def test_words_are_those_of_philox() -> None:
    keys = keys_of([5, -7, 2**63 - 1], [3, 0, 2**40], 2)
    side = torch.vmap(lambda key: philox_words(key, 9, 10))(keys)
    for key, words in zip(keys, side, strict=True):
        counter = np.array([[0, 1, 2], [9] * 3, [2] * 3, [0] * 3], dtype=np.uint32)
        held = np.repeat(key[:2].numpy().astype(np.uint32)[:, None], 3, 1)
        assert words.tolist() == philox4x32(counter, held).T.reshape(-1)[:10].tolist()
    assert len({tuple(key) for key in keys.tolist()}) == 3


@pytest.mark.parametrize(
    ("name", "shape", "apart"),
    [
        ("dropout", (100, 7), 2),
        ("dropout1d", (40, 25, 3), 2),
        ("dropout1d", (500, 3), 1),
        ("dropout2d", (40, 25, 3, 2), 2),
        ("dropout2d", (40, 25, 3), 2),
        ("dropout3d", (40, 25, 2, 2, 1), 2),
        ("dropout3d", (500, 2, 2, 1), 1),
        ("alpha_dropout", (100, 7), 2),
        ("feature_alpha_dropout", (40, 25, 3), 2),
    ],
)
def test_kinds_are_those_of_torch(name: str, shape: tuple[int, ...], apart: int) -> None:
    function, p = getattr(F, name), 0.3
    x = torch.ones(shape, dtype=torch.float64)
    with KeyedDropout(KEY):
        first, second = function(x, p, training=True), function(x, p, training=True)
        assert torch.equal(function(x, p, training=False), x)
        assert torch.equal(function(x, 0.0, training=True), x)
        assert torch.equal(function(x, 1.0, training=True), torch.zeros_like(x))
        changed = x.clone()
        assert function(changed, p, training=True, inplace=True) is changed
    with KeyedDropout(KEY):
        assert torch.equal(function(x, p, training=True), first)
    assert not torch.equal(first, second)
    # The two values that torch's has on ones, and whole maps where it drops those.
    theirs = function(torch.ones(shape, dtype=torch.float64), p, training=True)
    torch.testing.assert_close(first.unique(), theirs.unique(), rtol=1e-12, atol=1e-12)
    maps = first.reshape(math.prod(shape[:apart]), -1)
    assert torch.equal(maps, maps[:, :1].expand_as(maps))
    share = float((maps[:, 0] == first.unique()[0]).double().mean())
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / len(maps))


def test_attention_drops_its_weights() -> None:
    draw = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 5, 4, generator=draw, dtype=torch.float64)
    attend = F.scaled_dot_product_attention
    with KeyedDropout(KEY):
        plain = attend(q, k, v, is_causal=True)
        # Almost nothing is dropped: no word of these is below 2^32 1e-9.
        close = attend(q, k, v, dropout_p=1e-9, is_causal=True)
        mask = torch.zeros(5, 5, dtype=torch.float64)
        soft = attend(q, k, v, attn_mask=mask, dropout_p=1e-9, scale=0.1)
        dropped = attend(q, k, v, dropout_p=0.5)
    torch.testing.assert_close(plain, attend(q, k, v, is_causal=True), rtol=0, atol=0)
    torch.testing.assert_close(close, plain, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(soft, attend(q, k, v, scale=0.1), rtol=1e-8, atol=1e-8)
    assert not torch.allclose(dropped, attend(q, k, v))
    with pytest.raises(ValueError, match="between 0 and 1"), KeyedDropout(KEY):
        F.dropout(q, 1.5)


class Noise(nn.Module):
    """A layer that draws by something else than dropout: `vmap` cannot."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.3 * torch.randn_like(x) if self.training else x


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("layer", [nn.Dropout(0.4), Noise()])
def test_a_network_draws_the_same_alone_and_in_a_crowd(
    layer: nn.Module, batch_size: int | None
) -> None:
    torch.manual_seed(0)
    x = torch.randn(12, 2, dtype=torch.float64)
    modules = [nn.Sequential(nn.Linear(2, 6), layer, nn.Linear(6, 1)).double() for _ in range(3)]
    networks = edt.ModuleEnsemble(modules)

    def trained(networks: edt.ModuleEnsemble, seeds: list[int]) -> torch.Tensor:
        result = edt.masked_train(
            (x, x[:, :1]), networks, steps=6, lr=0.1, data_seed=seeds, batch_size=batch_size,
            progress=False,
        )  # fmt: skip
        return torch.stack(list(result.networks.theta.split(networks.total // networks.B)))

    before = torch.get_rng_state()
    crowd = trained(networks, [4, 5, 5])
    assert torch.equal(before, torch.get_rng_state())
    for b, seed in enumerate([4, 5, 5]):
        # To rounding: vmap turns products of one network into those of many.
        alone = trained(networks.select([b]), [seed])
        torch.testing.assert_close(alone[0], crowd[b], rtol=1e-10, atol=1e-12)
    same = edt.ModuleEnsemble([modules[0]] * 2)
    first, second = trained(same, [4, 9])
    assert not torch.allclose(first, second)


def test_a_loss_in_train_mode_is_one_function() -> None:
    torch.manual_seed(1)
    x = torch.randn(9, 2, dtype=torch.float64)
    module = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 1)).double()
    networks = edt.ModuleEnsemble([module, module])
    task = edt.ModuleTask((x, x[:, :1]), mode="train", at_once=4)
    losses, again = edt.loss(task, networks), edt.loss(task, networks)
    assert torch.equal(losses, again) and float(losses[0]) != float(losses[1])
    _, slope = edt.loss_and_grad(task, networks)
    step = torch.zeros_like(networks.theta)
    step[0] = 1e-6
    up, down = (
        edt.loss(task, networks.with_theta(networks.theta + sign * step)) for sign in (1, -1)
    )
    # Central differences: the error is of order 1e-12, plus 1e-16 / 1e-6 of rounding.
    assert abs(float((up - down)[0]) / 2e-6 - float(slope[0])) < 1e-8
