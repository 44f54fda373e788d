"""How fast edt is on this machine: a look of half a minute, beside PyTorch's batched products.

Workload W of the documentation: 192 networks 4 -> width -> 1, widths 2, 4, ..., 64 with 32 seeds
each, biases, half of the first-layer weights pruned, 1,024 samples, mse. The repository's
benchmarks (``make bench``) compare with more peers, check that they agree, and keep a record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch

from edt import _core
from edt.ensemble import Ensemble
from edt.functional import hessian, hvp
from edt.tasks import Task
from edt.training import masked_train

__all__ = ["Figure", "count_rows", "measure"]

WIDTHS, SEEDS, SAMPLES, INPUTS = (2, 4, 8, 16, 32, 64), 32, 1024, 4
#: Multiply-adds of a step of one 64-64-1 network and sample, times two: forward, gradients, and
#: errors carried back through the output layer.
SHARE_WIDTH, SHARE_FLOPS = 64, 2 * (2 * (64 * 64 + 64) + 64)
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        name: what was done.
        value, unit: edt's figure.
        peer: PyTorch's, in the same unit, or None.
    """

    name: str
    value: float
    unit: str = "ms"
    peer: float | None = None

    @property
    def ratio(self) -> float | None:
        """The peer's time over edt's."""
        return None if self.peer is None else self.peer / self.value


def measure(quick: bool = False) -> Iterator[Figure]:
    """Take the figures, one after another.

    Args:
        quick: fewer networks and one repetition: to see that it works; the figures mean little.

    Yields:
        `Figure`; times are those of the fastest of a few calls.
    """
    seeds, times = (2, 1) if quick else (SEEDS, 5)
    for activation in ("softplus", "tanh"):
        for name, dtype in DTYPES.items():
            ens, task = _networks(activation, dtype, seeds), _task(dtype)
            steps = 5 if quick else 50
            mine = _best(partial(_train, ens, task, steps), times) / steps
            peer = None
            if activation == "softplus":
                step = _batched(ens, task)
                peer = 1e3 * _best(step, times)
            yield Figure(
                f"Adam step of {ens.B} networks, {activation} {name}", 1e3 * mine, peer=peer
            )
    ens, task = _networks("softplus", torch.float64, seeds), _task(torch.float64)
    vectors = torch.randn(8, ens.theta.numel(), dtype=torch.float64)
    yield Figure(
        f"8 Hessian-vector products of {ens.B} networks, float64",
        1e3 * _best(partial(hvp, ens, task, vectors), times),
    )
    for width in (16, 64):
        dense = Ensemble.init([width], range(seeds), d_in=INPUTS, d_out=1, activation="softplus")
        yield Figure(
            f"{dense.B} exact Hessians, width {width}, float64",
            1e3 * _best(partial(hessian, dense, task), times),
        )
    peak = float(_core.fma_peak(False, torch.get_num_threads(), 0.05 if quick else 0.3))
    yield Figure("multiply-add peak, float32", peak, "GFLOP/s")
    wide = Ensemble.init(
        [SHARE_WIDTH], range(seeds), d_in=64, d_out=1, activation="relu", dtype=torch.float32
    )
    data = _task(torch.float32, 64)
    steps = 2 if quick else 20
    seconds = _best(partial(_train, wide, data, steps), times) / steps
    share = wide.B * SHARE_FLOPS * SAMPLES / seconds / 1e9 / peak
    yield Figure("share of it in training 64-64-1, relu, dense", 100.0 * share, "%")


def _task(dtype: torch.dtype, inputs: int = INPUTS) -> Task:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, inputs, generator=generator, dtype=torch.float64)
    return Task(x, torch.sin(x.sum(1, keepdim=True))).to(dtype)


def _networks(activation: str, dtype: torch.dtype, seeds: int) -> Ensemble:
    return Ensemble.init(
        list(WIDTHS),
        range(seeds),
        d_in=INPUTS,
        d_out=1,
        activation=activation,
        dtype=dtype,
        sparsity=(0.5, 0.0),
    )


def _train(ens: Ensemble, task: Task, steps: int) -> None:
    masked_train(task, ens, steps=steps, record=None, progress=False)


def _best(call: Callable[[], object], times: int) -> float:
    """Seconds of the fastest of ``times`` calls, after one to warm up."""
    call()
    best = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best


def _batched(ens: Ensemble, task: Task) -> Callable[[], None]:
    """A step in PyTorch: one batched product a layer and width, samples last, fused Adam."""
    groups, parameters, masks = [], [], []
    widths = ens.layer_widths[:, 1]
    for width in WIDTHS:
        rows = torch.nonzero(widths == width).flatten().tolist()
        w = torch.stack([ens.weight(b, 0) for b in rows])
        masks.append(torch.stack([ens.weight_mask(b, 0) for b in rows]).to(w.dtype))
        group = [
            w,
            torch.stack([ens.bias(b, 0) for b in rows])[:, :, None],
            torch.stack([ens.weight(b, 1) for b in rows]),
            torch.stack([ens.bias(b, 1) for b in rows])[:, :, None],
        ]
        groups.append([tensor.clone().requires_grad_(True) for tensor in group])
        parameters += groups[-1]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    x, y = task.x.T, task.y.T

    def step() -> None:
        optimizer.zero_grad()
        total = torch.zeros((), dtype=x.dtype)
        for w, b, v, c in groups:
            hidden = torch.nn.functional.softplus(torch.baddbmm(b, w, x.expand(len(w), *x.shape)))
            miss = torch.baddbmm(c, v, hidden) - y
            total = total + (miss * miss).mean((1, 2)).sum()
        total.backward()  # type: ignore[no-untyped-call]
        for (w, *_), mask in zip(groups, masks, strict=True):
            assert w.grad is not None
            w.grad *= mask
        optimizer.step()

    return step


def count_rows(directory: str, first: int, rows: int) -> tuple[dict[str, pd.DataFrame], None]:
    """A part that computes nothing, for what large studies cost beside their work.

    Args:
        directory: of the run; nothing is read from it.
        first: number of its first row.
        rows: how many.
    """
    numbers = np.arange(first, first + rows)
    return {"": pd.DataFrame({"run": numbers, "loss": numbers / 7.0})}, None
