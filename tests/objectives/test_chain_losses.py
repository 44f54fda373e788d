"""Products of chains with losses of the table against those with derivatives by autograd."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

import edt
from edt.objectives.chained import CoreChain
from edt.objectives.function import output_curvature
from edt.objectives.stacked import Stack
from edt.ops.losses import LOSSES

SHAPE, CLASSES = (2, 6, 7), 5


def chain(networks: int) -> tuple[CoreChain, torch.Tensor]:
    """Convolutions that maxima follow and that do not, and linear layers; ``[B, P]``."""

    def made(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2),
            nn.Tanh(), nn.Flatten(), nn.Linear(16, 7), nn.Softplus(), nn.Linear(7, CLASSES),
        ).double()  # fmt: skip

    nets = edt.ModuleEnsemble([made(seed) for seed in range(networks)])
    architecture = nets.architecture(0)
    stack = Stack.of(architecture.skeleton, architecture.blocks)
    assert stack is not None
    core = CoreChain.of(stack.layers, SHAPE, architecture.size)
    assert core is not None
    return core, nets.theta.view(nets.B, -1)


def targets(loss: str, n: int) -> torch.Tensor:
    if LOSSES[loss].classes:
        return torch.randint(0, CLASSES, (n,))
    y = torch.rand(n, CLASSES).double()
    if LOSSES[loss].signs:
        return 2 * y.round() - 1
    return y.softmax(1) if loss == "soft_cross_entropy" else y


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize(
    ("n", "weighted", "ggn"),
    [(5, True, False), (67, False, True), (33, True, True), (32, False, False)],
)
def test_products_take_derivatives_of_losses(loss: str, n: int, weighted: bool, ggn: bool) -> None:
    core, rows = chain(2)
    torch.manual_seed(n)
    x, y, weights = torch.randn(n, *SHAPE).double(), targets(loss, n), torch.rand(n).double()
    c = weights if weighted else torch.full((n,), 0.7 / n, dtype=torch.float64)
    inputs, vectors = x.expand(2, *x.shape), torch.randn(2, 3, rows.shape[1]).double()
    each = LOSSES[loss].sample

    def value(f: torch.Tensor) -> torch.Tensor:
        return (c * each(f, y)).sum()

    def curvature(f: torch.Tensor) -> torch.Tensor:
        return c[:, None, None] * output_curvature(each, f, y, lift=False)

    known = core.products(rows, inputs, value, curvature, vectors, ggn=ggn)
    found = core.loss_products(
        rows, inputs, loss, y, weights if weighted else 0.7, vectors, ggn=ggn
    )
    # The same sums of other roundings of l' and l''.
    torch.testing.assert_close(found, known, rtol=0, atol=1e-12 * float(known.abs().max()))


def test_bits_depend_neither_on_company_nor_on_what_else_is_asked() -> None:
    core, rows = chain(3)
    x, y = torch.randn(70, *SHAPE).double(), targets("cross_entropy", 70)
    vectors = torch.randn(3, 11, rows.shape[1]).double()
    products = partial(core.loss_products, loss="cross_entropy", y=y, weights=1.0)
    all_of_them = products(rows, x.expand(3, *x.shape), vectors=vectors)
    alone = products(rows[1:2], x[None], vectors=vectors[1:2, 4:5])
    assert torch.equal(all_of_them[1:2, 4:5], alone)


def test_targets_that_do_not_fit_are_named() -> None:
    nets = edt.ModuleEnsemble.build(lambda width, seed: nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)), [1.0], range(2))  # fmt: skip
    for y in (torch.tensor([0, 1, 3, 0]), torch.zeros(4, 2)):
        task = edt.ModuleTask((torch.randn(4, 1, 4, 4), y))
        with pytest.raises((edt.errors.ShapeError, ValueError, IndexError)):
            edt.hvp(task, nets, torch.randn(1, nets.total))
