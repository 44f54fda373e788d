"""Products of chains whose first convolution is followed by maxima, against autograd."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import nn

import edt
from edt.tasks.module_task import ModuleTask

CHAINS = {
    "relu before maxima": ((2, 7, 6), lambda: (
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2), nn.Tanh())),
    "other fields, margins beyond the kernel": ((1, 7, 5), lambda: (
        nn.SiLU(), nn.Conv2d(1, 7, (5, 2), padding=(3, 2)), nn.MaxPool2d((3, 2)), nn.Tanh())),
    "strides, no bias, a rest": ((2, 11, 9), lambda: (
        nn.Conv2d(2, 5, (3, 2), stride=(1, 2), padding=(1, 0), bias=False), nn.ReLU(),
        nn.MaxPool2d((2, 3)))),
}  # fmt: skip


def networks(name: str, kept: float, count: int) -> tuple[edt.ModuleEnsemble, tuple[int, ...]]:
    shape, layers = CHAINS[name]
    torch.manual_seed(3)
    made: list[nn.Module] = []
    for _ in range(count):
        body = nn.Sequential(*layers(), nn.Flatten())
        size = body(torch.zeros(1, *shape)).shape[1]
        made.append(nn.Sequential(*body, nn.Linear(size, 6), nn.Softplus(), nn.Linear(6, 4)))
    nets = edt.ModuleEnsemble([module.double() for module in made])
    if kept == 1:
        return nets, shape
    there = torch.rand(nets.total) < kept
    return nets.with_masks(there | ~nets.role_mask("weight")), shape


def flat(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


@pytest.mark.parametrize("kept", [1.0, 0.6, 0.2])
@pytest.mark.parametrize("name", CHAINS)
def test_products_are_autograds(name: str, kept: float) -> None:
    """Sums in another order: a few hundred roundings, relative to the largest entry."""
    nets, shape = networks(name, kept, 2)
    x, y = torch.randn(37, *shape).double(), torch.randint(0, 4, (37,))
    task = edt.ModuleTask((x, y), "cross_entropy")
    assert ModuleTask.of(task).objective(nets).products_in_core
    vectors = torch.randn(9, nets.total).double()
    for b in range(2):
        first = nets.blocks(b)[0].span
        mine = vectors[:, int(nets.offsets[b]) : int(nets.offsets[b + 1])]
        mine[1, first] = 0.0  # the first weights stay
        mine[2] = 0.0
        mine[3, first.stop :] = 0.0  # they alone move
    found = edt.hvp(task, nets, vectors)
    module = networks(name, 1.0, 1)[0].to_module(0)
    parameters = list(module.parameters())
    for b in range(2):
        span = slice(int(nets.offsets[b]), int(nets.offsets[b + 1]))
        live = (nets.state[span] == 1).double()
        nn.utils.vector_to_parameters(nets.theta[span], parameters)
        loss = nn.functional.cross_entropy(module(x), y)
        slope = flat(torch.autograd.grad(loss, parameters, create_graph=True))
        known = torch.stack([
            flat(torch.autograd.grad(slope, parameters, live * v, retain_graph=True))
            for v in vectors[:, span]
        ])  # fmt: skip
        atol = 1e-13 * float(known.abs().max())
        torch.testing.assert_close(found[:, span], live * known, rtol=0, atol=atol)


@pytest.mark.parametrize("kept", [1.0, 0.2])
@pytest.mark.parametrize("name", CHAINS)
def test_bits_depend_neither_on_company_nor_on_other_vectors(name: str, kept: float) -> None:
    nets, shape = networks(name, kept, 3)
    for dtype in (torch.float32, torch.float64):
        x, y = torch.randn(150, *shape, dtype=dtype), torch.randint(0, 4, (150,))
        some, task = nets.to(dtype), edt.ModuleTask((x, y), "cross_entropy")
        vectors = torch.randn(11, nets.total, dtype=dtype)
        span = slice(int(nets.offsets[1]), int(nets.offsets[2]))
        alone = [edt.hvp(task, some.select([1]), v[None, span]) for v in vectors]
        assert torch.equal(edt.hvp(task, some, vectors)[:, span], torch.cat(alone))
