"""16 LeNet-5 on pictures of 28 x 28 in batches of 64: training steps, and products with Hessians.

The peers are forms that plain PyTorch has for many networks: a loop over modules, `vmap`, and one
grouped network. Each must agree before it is timed.

    python -m benchmarks.test_convolutions [THREADS]

prints ratios of processor's times and the clock's, by turns in one process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap

import edt
from benchmarks import names, settings
from benchmarks.agreement import check_derivative
from benchmarks.figures import EDT, Figures
from benchmarks.timing import timed

SHAPE, BATCH = (1, 28, 28), 64
NETWORKS, VECTORS = (2, 2) if settings.SMOKE else (16, 8)


@cache
def problem(dtype: torch.dtype) -> tuple[edt.ModuleEnsemble, edt.ModuleTask, torch.Tensor]:
    """LeNet-5 from unlike seeds, a batch of random pictures, and vectors ``[K, total]``."""
    lenet = partial(edt.nets.lenet5, shape=SHAPE)
    networks = edt.ModuleEnsemble.build(lenet, [1.0], range(NETWORKS), dtype=dtype)
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(BATCH, *SHAPE, generator=draw, dtype=dtype)
    task = edt.ModuleTask((x, torch.randint(0, 10, (BATCH,), generator=draw)))
    return networks, task, torch.randn(VECTORS, networks.total, generator=draw, dtype=dtype)


class Products:
    """``H_b v`` for K vectors a network by `torch.func`: forward over reverse.

    Args:
        form: "vmap": over networks and vectors; "vmap, network by network": over vectors only.
    """

    def __init__(self, form: str, dtype: torch.dtype) -> None:
        self._form = form
        self._networks, task, vectors = problem(dtype)
        module, B = self._networks.to_module(0), self._networks.B
        named = dict(module.named_parameters())
        sizes = [value.numel() for value in named.values()]
        x, y = task.targets[0][0].content

        def loss(flat: torch.Tensor) -> torch.Tensor:
            parts = zip(named, flat.split(sizes), strict=True)
            values = {name: part.view_as(named[name]) for name, part in parts}
            return nn.functional.cross_entropy(functional_call(module, values, (x,)), y)

        def one(flat: torch.Tensor, v: torch.Tensor) -> Any:
            return jvp(grad(loss), (flat,), (v,))[1]

        self._theta = self._networks.theta.view(B, -1)
        self._vectors = vectors.view(VECTORS, B, -1).transpose(0, 1).contiguous()
        self._products: Callable[..., Any] = vmap(one, in_dims=(None, 0))

    def run(self) -> torch.Tensor:
        """``[B, K, P]``."""
        if self._form == names.TORCH_PRODUCTS:
            found: torch.Tensor = vmap(self._products)(self._theta, self._vectors)
            return found
        rows = zip(self._theta, self._vectors, strict=True)
        return torch.stack([self._products(theta, v) for theta, v in rows])

    def result(self) -> torch.Tensor:
        """``[K, total]``, as edt has it."""
        return self.run().transpose(0, 1).reshape(VECTORS, -1)


def products(dtype: torch.dtype) -> torch.Tensor:
    """By edt."""
    networks, task, vectors = problem(dtype)
    return edt.hvp(task, networks, vectors)


def test_products(benchmark: Any, figures: Figures) -> None:
    timing = timed(benchmark, partial(products, torch.float32))
    figures.add(names.CONVOLUTION_PRODUCTS, EDT, timing)


@pytest.mark.parametrize("form", names.TORCH_FORMS)
def test_products_of_torch(form: str, benchmark: Any, figures: Figures) -> None:
    exact = Products(form, torch.float64).result()
    check_derivative(form, products(torch.float64).numpy(), exact.numpy())
    timing = timed(benchmark, Products(form, torch.float32).run)
    figures.add(names.CONVOLUTION_PRODUCTS, form, timing)


def ratios(rounds: int = 3) -> None:
    """Print how many times longer PyTorch takes, round after round."""
    ways = {EDT: partial(products, torch.float32)} | {
        form: Products(form, torch.float32).run for form in names.TORCH_FORMS
    }
    for way in ways.values():
        way()
    for _ in range(rounds):
        found = {}
        for name, way in ways.items():
            before = time.process_time(), time.perf_counter()
            way()
            found[name] = time.process_time() - before[0], time.perf_counter() - before[1]
        for name in names.TORCH_FORMS:
            cpu, clock = (found[name][k] / found[EDT][k] for k in (0, 1))
            print(f"{name} / edt: {cpu:.2f} (clock {clock:.2f}); edt {1e3 * found[EDT][1]:.0f} ms")


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    ratios()
