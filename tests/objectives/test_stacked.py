"""Layers of many networks at once, against the networks one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

import edt
from edt.objectives.stacked import LARGEST, Stack
from edt.ops.threads import one_blas_thread

Build = Callable[[], nn.Module]

CHAINS: dict[str, tuple[tuple[int, ...], Build]] = {
    "lenet": ((1, 8, 8), lambda: edt.nets.lenet5(0.5, shape=(1, 8, 8))),
    "margins, no bias, odd sizes, oblong kernels": (
        (2, 7, 9),
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, (3, 2), padding=(0, 1), bias=False), nn.Tanh(),
            nn.MaxPool2d((2, 3)), nn.Sequential(nn.Conv2d(3, 4, 1), nn.GELU()),
            nn.Flatten(), nn.Linear(24, 5, bias=False),
        ),
    ),
    "vectors": (
        (6,), lambda: nn.Sequential(nn.Linear(6, 4), nn.ELU(), nn.Identity(), nn.Linear(4, 5))
    ),
}  # fmt: skip


def networks(name: str, count: int = 3) -> tuple[edt.ModuleEnsemble, tuple[int, ...]]:
    torch.manual_seed(5)
    shape, build = CHAINS[name]
    return edt.ModuleEnsemble([build().double() for _ in range(count)]), shape


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CHAINS)
def test_losses_and_gradients_are_those_of_each_module(name: str, weighted: bool) -> None:
    """Float64: sums in another order differ by rounding."""
    nets, shape = networks(name)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(11, *shape, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 5, (11,), generator=draw)
    task = edt.ModuleTask((x, y), "cross_entropy", at_once=4 if weighted else 100)
    architecture = nets.architecture(0)
    assert Stack.of(architecture.skeleton, architecture.blocks) is not None
    with one_blas_thread():
        loss, gradient = edt.loss_and_grad(task, nets)
    for b in range(nets.B):
        module = nets.to_module(b)
        value = nn.functional.cross_entropy(module(x), y)
        value.backward()
        torch.testing.assert_close(loss[b], value.detach(), rtol=1e-12, atol=0)
        for block in nets.blocks(b):
            mine = gradient[int(nets.offsets[b]) :][block.span].view(block.shape)
            known = dict(module.named_parameters())[block.name].grad
            torch.testing.assert_close(mine, known, rtol=1e-10, atol=1e-14)


def test_of_equal_numbers_the_first_has_the_slope() -> None:
    """As in torch: pixels that are all alike."""
    module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 1))
    nets = edt.ModuleEnsemble([module.double()])
    stack = Stack.of(nets.architecture(0).skeleton, nets.architecture(0).blocks)
    assert stack is not None
    point = torch.ones(1, 1, 1, 4, 4, dtype=torch.float64)
    inner = point.clone().requires_grad_()
    stack.outputs(nets.theta[None], inner).sum().backward()
    other = point[0].clone().requires_grad_()
    nets.to_module(0)(other).sum().backward()
    assert inner.grad is not None and other.grad is not None
    assert torch.equal(inner.grad[0] != 0, other.grad != 0)


class Own(nn.Linear):
    """A subclass may do anything."""


def hooked() -> nn.Module:
    layer = nn.Sequential(nn.Linear(6, 2))
    layer[0].register_forward_hook(lambda *_: None)
    return layer


def tied() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer)


def tied_weights() -> nn.Module:
    layers = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    layers[2].weight = layers[0].weight
    return layers


OTHERS: dict[str, Build] = {
    "stride": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, stride=2)),
    "groups": lambda: nn.Sequential(nn.Conv2d(2, 2, 3, groups=2)),
    "dilation": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, dilation=2)),
    "margins that repeat": lambda: nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")
    ),
    "margins by name": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding="same")),
    "fields that overlap": lambda: nn.Sequential(nn.Conv2d(1, 2, 1), nn.MaxPool2d(3, stride=1)),
    "in place": lambda: nn.Sequential(nn.Linear(6, 2), nn.ReLU(inplace=True)),
    "dropout": lambda: nn.Sequential(nn.Linear(6, 2), nn.Dropout()),
    "norm": lambda: nn.Sequential(nn.Linear(6, 2), nn.BatchNorm1d(2)),
    "subclass": lambda: nn.Sequential(Own(6, 2)),
    "hook": hooked,
    "tied layers": tied,
    "tied weights": tied_weights,
    "residual": lambda: edt.nets.residual_mlp(0.25, 0),
    "weight norm": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 2))),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_modules_are_left_to_vmap(name: str) -> None:
    architecture = edt.ModuleEnsemble([OTHERS[name]()]).architecture(0)
    assert Stack.of(architecture.skeleton, architecture.blocks) is None


def test_shapes_that_do_not_fit_are_left_to_vmap_and_its_errors() -> None:
    nets, _ = networks("lenet", 1)
    stack = Stack.of(nets.architecture(0).skeleton, nets.architecture(0).blocks)
    assert stack is not None
    assert stack.fits((1, 8, 8), 64) >= 1
    assert not stack.fits((2, 8, 8), 64) and not stack.fits((64,), 64)
    assert not stack.fits((1, 8, 8), LARGEST)
    with pytest.raises(ValueError, match="Sequential cannot be evaluated"):
        edt.loss_and_grad(edt.ModuleTask((torch.zeros(3, 2, 8, 8).double(), torch.arange(3))), nets)


def test_targets_of_a_wrong_shape_are_named() -> None:
    nets, _ = networks("vectors", 2)
    task = edt.ModuleTask((torch.zeros(3, 6).double(), torch.zeros(3, 4).double()))
    with pytest.raises(ValueError, match="shape of the outputs"):
        edt.loss_and_grad(task, nets)


def test_a_network_keeps_its_bits_beside_others_and_steps_as_alone() -> None:
    """Batched products go network by network here: one thread, and no other order of sums."""
    nets, shape = networks("lenet", 4)
    draw = torch.Generator().manual_seed(2)
    data = (torch.randn(40, *shape, generator=draw, dtype=torch.float64), torch.arange(40) % 10)
    task, given = edt.ModuleTask(data), copy.deepcopy(nets.theta)
    options = {"optimizer": "sgd", "momentum": 0.9, "lr": 0.05, "batch_size": 8, "steps": 4}
    with one_blas_thread():
        together = edt.masked_train(task, nets, progress=False, **options).networks
        alone = edt.masked_train(task, nets[[2]], progress=False, **options).networks
    torch.testing.assert_close(together.select([2]).theta, alone.theta, rtol=1e-10, atol=1e-14)
    assert torch.equal(nets.theta, given)
