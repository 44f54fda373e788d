"""Gradient and Hessian of one network, on one thread, against PyTorch autograd.

The comparison of arXiv 2301.10638: 2 inputs, softplus, widths 10, 50 and 100, float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import edt
from benchmarks import names, settings, workload
from benchmarks.agreement import check_derivative
from benchmarks.figures import EDT, Figures
from benchmarks.peers.torch_one import OneNetwork
from benchmarks.timing import Timing, timed
from edt import Ensemble, Task

WIDTHS = (3,) if settings.SMOKE else (10, 50, 100)
SAMPLES = (10,) if settings.SMOKE else (10, 100, 1_000, 10_000, 100_000)
#: Work (samples x width x coordinates) up to which all columns of the peer's Hessian are timed.
ALL_COLUMNS = 100_000_000
CELLS = [(width, samples) for width in WIDTHS for samples in SAMPLES]


@pytest.fixture(autouse=True)
def _one_thread(_threads: None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def problem(width: int, samples: int) -> tuple[Ensemble, Task]:
    """One network and its data."""
    ens = workload.networks(
        "softplus", torch.float64, widths=(width,), seeds=1, sparsity=None, inputs=2
    )
    return ens, workload.task(torch.float64, samples, inputs=2)


def repeated(work: float) -> int:
    """Calls in a round, so that a round is not shorter than the clock is good for."""
    return 1 if settings.SMOKE else int(max(1, min(500, 2e6 / work)))


def many(call: Any, count: int) -> Any:
    """``count`` calls in one."""

    def calls() -> None:
        for _ in range(count):
            call()

    return calls


@pytest.mark.parametrize(("width", "samples"), CELLS)
def test_gradient(width: int, samples: int, benchmark: Any, figures: Figures) -> None:
    ens, task = problem(width, samples)
    case, count = names.one_case("gradient", width, samples), repeated(width * samples)
    timing = timed(benchmark, many(lambda: edt.loss_and_grad(ens, task), count), count)
    figures.add(case, EDT, timing)


@pytest.mark.parametrize(("width", "samples"), CELLS)
def test_torch_gradient(width: int, samples: int, benchmark: Any, figures: Figures) -> None:
    ens, task = problem(width, samples)
    peer = OneNetwork(ens, task)
    check_derivative(
        names.TORCH_ONE, edt.loss_and_grad(ens, task)[1].numpy(), peer.gradient().numpy()
    )
    case, count = names.one_case("gradient", width, samples), repeated(width * samples)
    figures.add(case, names.TORCH_ONE, timed(benchmark, many(peer.gradient, count), count))


@pytest.mark.parametrize(("width", "samples"), CELLS)
def test_hessian(width: int, samples: int, benchmark: Any, figures: Figures) -> None:
    ens, task = problem(width, samples)
    case, count = names.one_case("Hessian", width, samples), repeated(4 * width**2 * samples)
    figures.add(case, EDT, timed(benchmark, many(lambda: edt.hessian(ens, task), count), count))


@pytest.mark.parametrize(("width", "samples"), CELLS)
def test_torch_hessian(width: int, samples: int, benchmark: Any, figures: Figures) -> None:
    ens, task = problem(width, samples)
    peer = OneNetwork(ens, task)
    columns = peer.coords
    if samples * width * columns > ALL_COLUMNS:
        columns = max(4, ALL_COLUMNS // (samples * width))
    mine = edt.hessian(ens, task)[0][:columns].numpy()
    check_derivative(names.TORCH_ONE, mine, peer.hessian(columns).numpy())
    timing = timed(benchmark, lambda: peer.hessian(columns))
    note = ""
    if columns < peer.coords:
        factor = peer.coords / columns
        timing = Timing(timing.best * factor, timing.median * factor, timing.rounds)
        note = f"{columns} of {peer.coords} columns timed, scaled"
    figures.add(names.one_case("Hessian", width, samples), names.TORCH_ONE, timing, note)
