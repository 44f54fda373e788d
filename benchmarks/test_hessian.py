"""Exact Hessians of 32 dense networks of one width, 1,024 samples, float64 softplus.

Dense, so that peers, which have no use for masks, are compared on method alone.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import names, settings, subject, workload
from benchmarks.agreement import check_derivative
from benchmarks.figures import EDT, Figures
from benchmarks.timing import Timing, timed
from edt import Ensemble, Task

WIDTHS = (2, 3) if settings.SMOKE else (4, 16, 64)
#: Networks torch.func is given, where all would take minutes; the time is then scaled to all.
TORCH_NETWORKS = {64: 2}
#: Networks in one vmap of torch.func: bounds the memory of its tangents to a few GiB.
TORCH_CHUNK = {4: 32, 16: 8, 64: 1}
#: Memory jax.vmap(jax.hessian) needs at width 64 (13.2 GiB measured).
VMAP_GIB = 14


@cache
def problem(width: int) -> tuple[Ensemble, Task]:
    """The networks and their task."""
    ens = workload.networks("softplus", torch.float64, widths=(width,), sparsity=None)
    return ens, workload.task(torch.float64)


@pytest.mark.parametrize("width", WIDTHS)
def test_edt(width: int, benchmark: Any, figures: Figures) -> None:
    ens, task = problem(width)
    timing = timed(benchmark, lambda: subject.hessians(ens, task))
    figures.add(names.hessian_case(width), EDT, timing)


@pytest.mark.usefixtures("need_jax")
@pytest.mark.parametrize("name", [names.JAX_HESSIAN, names.JAX_HESSIAN_MAP])
@pytest.mark.parametrize("width", WIDTHS)
def test_jax(width: int, name: str, benchmark: Any, figures: Figures) -> None:
    from benchmarks.peers.jax_curvature import Hessians

    if name == names.JAX_HESSIAN and width == 64:
        need_memory(name, figures)
    ens, task = problem(width)
    peer = Hessians(ens, task, "vmap" if name == names.JAX_HESSIAN else "map")
    check(peer, name, ens, task)
    figures.add(names.hessian_case(width), name, timed(benchmark, peer.run))


@pytest.mark.parametrize("width", WIDTHS)
def test_torch(width: int, benchmark: Any, figures: Figures) -> None:
    from benchmarks.peers.torch_curvature import Hessians

    whole, task = problem(width)
    count = min(TORCH_NETWORKS.get(width, whole.B), whole.B)
    ens = whole.select(range(count))
    peer = Hessians(ens, task, TORCH_CHUNK.get(width, 1))
    check(peer, names.TORCH_HESSIAN, ens, task)
    timing = timed(benchmark, peer.run)
    note = ""
    if count < whole.B:
        factor = whole.B / count
        timing = Timing(timing.best * factor, timing.median * factor, timing.rounds)
        note = f"{count} networks timed, times {factor:g}"
    figures.add(names.hessian_case(width), names.TORCH_HESSIAN, timing, note)


def need_memory(name: str, figures: Figures) -> None:
    """Skip, and say so in the results, where the tangents of all networks do not fit."""
    info = Path("/proc/meminfo")
    if info.is_file():
        fields = dict(line.split(":") for line in info.read_text().splitlines())
        available = int(fields["MemAvailable"].split()[0]) / 2**20
        if available < VMAP_GIB:
            why = f"width 64 needs {VMAP_GIB} GiB of memory, {available:.0f} are free"
            figures.skipped[name] = why
            pytest.skip(why)


def check(peer: Any, name: str, ens: Ensemble, task: Task) -> None:
    """Compare with edt."""
    mine = np.stack([h.numpy() for h in subject.hessians(ens, task)])
    check_derivative(name, mine, peer.result())
