"""The builders: sizes of the papers, and outputs of the right shape at any width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from edt import nets


def _size(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(
    "module, parameters",
    [
        (nets.lenet300(), 266_610),  # Frankle & Carbin 2019, figure 2: 266K
        (nets.lenet5(), 61_706),  # the count every textbook gives
        (nets.conv2(), 4_301_642),  # Frankle & Carbin 2019: 4.3M
        (nets.conv4(), 2_425_930),  # 2.4M
        (nets.conv6(), 2_262_602),  # 2.3M
        (nets.resnet20(), 269_722),  # He et al. 2016: 0.27M
        (nets.vgg16(), 14_728_266 - 4_224),  # the usual count, less the biases before norms
    ],
)
def test_sizes_are_those_of_the_papers(module: torch.nn.Module, parameters: int) -> None:
    assert _size(module) == parameters


@pytest.mark.parametrize(
    "build",
    [nets.lenet300, nets.lenet5, nets.conv2, nets.conv4, nets.conv6, nets.resnet20, nets.vgg11],
)
@pytest.mark.parametrize("width", [0.1, 0.5])
def test_images_become_logits(build: Callable[..., Any], width: float) -> None:
    module = build(width, 0, shape=(3, 16, 16), classes=7)
    assert module(torch.randn(2, 3, 16, 16)).shape == (2, 7)
    same, other = build(width, 0, shape=(3, 16, 16)), build(width, 1, shape=(3, 16, 16))
    weights = [torch.cat([p.reshape(-1) for p in m.parameters()]) for m in (same, other)]
    assert not torch.equal(*weights)


def test_blocks_without_norms_start_as_their_shortcuts() -> None:
    module = nets.residual_mlp(1.0, 0, d_in=3, d_out=2)
    x = torch.randn(5, 3)
    inputs, readout = module.inputs, module.readout
    assert torch.equal(module(x), readout(torch.relu(inputs(x))))


def test_a_transformer_does_not_look_ahead() -> None:
    module = nets.transformer(1.0, 0).double()
    tokens = torch.randint(0, 16, (2, 9), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 16
    before, after = module(tokens), module(changed)
    assert torch.equal(before[..., :5], after[..., :5])
    assert not torch.equal(before[..., 5:], after[..., 5:])
