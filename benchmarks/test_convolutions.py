"""16 LeNet-5 on pictures of 28 x 28 in batches of 64: training steps, and products with Hessians.

The peers are forms that plain PyTorch has for many networks: a loop over modules, plain and
compiled, `vmap`, and one grouped network. Each must agree before it is timed.

    python -m benchmarks.test_convolutions [THREADS]

prints the floor (multiply-adds at the rate that `edt._core.fma_peak` measures, and bytes), what
each takes, by turns in one process, and the fastest peer's time over edt's.
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
from benchmarks.agreement import check_derivative, check_losses
from benchmarks.figures import EDT, Figures
from benchmarks.peers.torch_convolutions import FORMS, Step
from benchmarks.timing import timed

SHAPE, BATCH = (1, 28, 28), 64
NETWORKS, VECTORS = (2, 2) if settings.SMOKE else (16, 8)
#: Steps of a timed call, of edt and of the peers, and steps before losses are compared.
EDT_STEPS, STEPS, CHECKED = (2, 2, 4) if settings.SMOKE else (100, 10, 10)
#: Epochs of so many steps: what edt's call ends with, an evaluation of all samples, stays little.
BATCHES = 4
RATE = 1e-3


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
            parts = zip(named, torch.split(flat, sizes), strict=True)
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
def test_torch_products(form: str, benchmark: Any, figures: Figures) -> None:
    exact = Products(form, torch.float64).result()
    check_derivative(form, products(torch.float64).numpy(), exact.numpy())
    timing = timed(benchmark, Products(form, torch.float32).run)
    figures.add(names.CONVOLUTION_PRODUCTS, form, timing)


@cache
def trained(sparsity: float | None) -> tuple[edt.ModuleEnsemble, edt.ModuleTask]:
    """The networks, pruned at random, and many pictures."""
    networks = problem(torch.float32)[0]
    draw = torch.Generator().manual_seed(1)
    if sparsity is not None:
        kept = torch.rand(networks.total, generator=draw) >= sparsity
        networks = networks.with_masks(kept | ~networks.role_mask("weight"))
    x = torch.rand(BATCH * BATCHES, *SHAPE, generator=draw)
    return networks, edt.ModuleTask((x, torch.randint(0, 10, (len(x),), generator=draw)))


def train(networks: Any, task: Any, steps: int, batch: int | None) -> edt.ModuleEnsemble:
    """By edt."""
    found: edt.ModuleEnsemble = edt.masked_train(
        task, networks, optimizer="adam", lr=RATE, batch_size=batch, steps=steps, record=None,
        progress=False,
    ).networks  # fmt: skip
    return found


@pytest.mark.parametrize("sparsity", names.CONVOLUTION_SPARSITIES)
def test_training(sparsity: float | None, benchmark: Any, figures: Figures) -> None:
    networks, task = trained(sparsity)
    timing = timed(benchmark, lambda: train(networks, task, EDT_STEPS, BATCH), EDT_STEPS)
    figures.add(names.convolution_case(sparsity), EDT, timing)


@pytest.mark.parametrize("form", FORMS)
def test_torch_training(form: str, benchmark: Any, figures: Figures) -> None:
    """Masked or not, PyTorch multiplies all weights: one time for every sparsity."""
    networks, task, _ = problem(torch.float32)
    x, y = task.targets[0][0].content
    before = edt.loss(task, networks).numpy()
    mine = edt.loss(task, train(networks, task, CHECKED, None)).numpy()
    step = FORMS[form]([networks.to_module(b) for b in range(networks.B)], RATE)
    try:
        step(x, y)
    except RuntimeError as error:  # no compiler that inductor can use
        pytest.skip(str(error).splitlines()[0])
    for _ in range(CHECKED - 1):
        step(x, y)
    check_losses(form, "float32", before, mine, step(x, y).numpy())
    timing = timed(benchmark, lambda: [step(x, y) for _ in range(STEPS)], STEPS)
    for sparsity in names.CONVOLUTION_SPARSITIES:
        figures.add(names.convolution_case(sparsity), form, timing)


def work(networks: edt.ModuleEnsemble, vectors: int | None = None) -> tuple[float, float]:
    """(multiply-adds, bytes) that a step of training by Adam, or products, cannot do without.

    A weight that is there meets every position of its layer once forward, once back (not in the
    first layer) and once for its gradient. For each vector of a product it is twice, twice and
    twice (once, never and once in the first layer), beside one pass forward and back for all.
    Bytes: parameters, and of a step both moments, read and written; or parameters and vectors read
    and products written.
    """
    there, architecture = networks.state.view(networks.B, -1) != 0, networks.architecture(0)
    weights = [block for block in architecture.blocks if block.role == "weight"]
    adds = 0.0
    for at, (block, positions) in enumerate(zip(weights, _positions(networks), strict=True)):
        meets = BATCH * positions * float(there[:, block.span].sum())
        first = at == 0
        each = 3 - first if vectors is None else (2 if not first else 1) + vectors * (6 - 4 * first)
        adds += each * meets
    moved = 6 if vectors is None else 1 + 2 * vectors
    return adds, float(moved * there.sum() * networks.theta.element_size())


def _positions(networks: edt.ModuleEnsemble) -> list[int]:
    """Of each layer with weights: where each of its weights is used in an image."""
    module, found = networks.to_module(0), []
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            part.register_forward_hook(
                lambda _, __, out: found.append(out[0, 0].numel() if out.dim() == 4 else 1)
            )
    module(torch.zeros(1, *SHAPE, dtype=networks.dtype))
    return found


def _floor(case: str, networks: edt.ModuleEnsemble, vectors: int | None = None) -> None:
    adds, moved = work(networks, vectors)
    peak = 1e9 * float(edt._core.fma_peak(False, torch.get_num_threads(), 0.3))
    print(
        f"{case}: floor {2e3 * adds / peak:.2f} ms ({adds / 1e9:.2f} billion multiply-adds at "
        f"{peak / 1e9:.0f} GFLOP/s), {moved / 2**20:.1f} MiB",
        flush=True,
    )


def ratios(rounds: int = 3) -> None:
    """Print times of products and of a training step, and of the fastest peer over edt's."""
    networks, task, _ = problem(torch.float32)
    x, y = task.targets[0][0].content
    products_of: dict[str, Callable[[], object]] = {EDT: partial(products, torch.float32)}
    products_of |= {form: Products(form, torch.float32).run for form in names.TORCH_FORMS}
    _floor(names.CONVOLUTION_PRODUCTS, networks, VECTORS)
    _compare(names.CONVOLUTION_PRODUCTS, products_of, rounds)
    for sparsity in names.CONVOLUTION_SPARSITIES:
        mine = partial(train, *trained(sparsity), STEPS, BATCH)
        _floor(f"{names.convolution_case(sparsity)}, a step", trained(sparsity)[0])
        ways: dict[str, Callable[[], object]] = {EDT: mine}
        for form, make in FORMS.items():
            step = make([networks.to_module(b) for b in range(networks.B)], RATE)
            ways[form] = partial(_repeat, step, x, y)
        _compare(f"{names.convolution_case(sparsity)}, {STEPS} steps", ways, rounds)


def _repeat(step: Step, x: torch.Tensor, y: torch.Tensor) -> None:
    for _ in range(STEPS):
        step(x, y)


def _compare(case: str, ways: dict[str, Callable[[], object]], rounds: int) -> None:
    """By turns, after one call each."""
    for name, way in list(ways.items()):
        try:
            way()
        except RuntimeError as error:
            print(f"{case}: left out {name}: {str(error).splitlines()[0]}")
            del ways[name]
    for _ in range(rounds):
        took = {}
        for name, way in ways.items():
            before = time.perf_counter()
            way()
            took[name] = time.perf_counter() - before
        fastest = min(seconds for name, seconds in took.items() if name != EDT)
        all_of_them = ", ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in took.items())
        print(f"{case}: {fastest / took[EDT]:.2f} ({all_of_them})", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    ratios()
