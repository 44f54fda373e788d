"""Eight Hessian-vector products per network of W, float64 softplus."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import names, subject, workload
from benchmarks.agreement import check_derivative
from benchmarks.figures import EDT, Figures
from benchmarks.timing import timed
from edt import Ensemble, Task

VECTORS = 8


@cache
def problem() -> tuple[Ensemble, Task, list[dict[str, np.ndarray]], torch.Tensor]:
    """Networks, task, vectors stacked by width and the same vectors flat ``[K, total]``."""
    ens, task = workload.networks("softplus", torch.float64), workload.task(torch.float64)
    rng = np.random.default_rng(1)
    parts, vectors = [], []
    for stack in workload.stacks(ens):
        one = {
            name: rng.standard_normal((len(stack.rows), VECTORS, *array.shape[1:]))
            for name, array in stack.parameters.items()
        }
        # Pruned weights are constants: their entries of a vector count as 0.
        one["w"] *= stack.mask[:, None]
        vectors.append(one)
        parts.append((stack.rows, one))
    return ens, task, vectors, torch.from_numpy(workload.flat(ens, parts))


def test_edt(benchmark: Any, figures: Figures) -> None:
    ens, task, _, rows = problem()
    timing = timed(benchmark, lambda: subject.products(ens, task, rows))
    figures.add(names.PRODUCTS_CASE, EDT, timing)


def test_torch(benchmark: Any, figures: Figures) -> None:
    from benchmarks.peers.torch_curvature import Products

    ens, task, vectors, _ = problem()
    run(Products(ens, task, vectors), names.TORCH_PRODUCTS, benchmark, figures)


@pytest.mark.usefixtures("need_jax")
@pytest.mark.parametrize("name", [names.JAX_FORWARD, names.JAX_REVERSE])
def test_jax(name: str, benchmark: Any, figures: Figures) -> None:
    from benchmarks.peers.jax_curvature import Products

    ens, task, vectors, _ = problem()
    peer = Products(ens, task, vectors, forward=name == names.JAX_FORWARD)
    run(peer, name, benchmark, figures)


def run(peer: Any, name: str, benchmark: Any, figures: Figures) -> None:
    """Compare, then time."""
    ens, task, _, rows = problem()
    check_derivative(name, subject.products(ens, task, rows).numpy(), peer.result())
    figures.add(names.PRODUCTS_CASE, name, timed(benchmark, peer.run))
