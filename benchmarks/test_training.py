"""Workload W: time of one Adam step of all 192 networks, edt and six peers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks import names, settings, subject, workload
from benchmarks.agreement import check_losses
from benchmarks.figures import EDT, Figures
from benchmarks.peers.base import Training
from benchmarks.timing import Timing, timed
from edt import Ensemble, Task

#: Steps before losses are compared, and steps in a timed call of a peer.
STEPS = 3 if settings.SMOKE else 10
#: Steps in a timed call of edt, which is long enough to swamp its set-up as a real run is.
EDT_STEPS = 3 if settings.SMOKE else 100

CASES = [(a, d) for a in ("softplus", "tanh") for d in ("float32", "float64")]
if settings.SMOKE:
    CASES = CASES[::3]


@cache
def problem(activation: str, dtype: str) -> tuple[Ensemble, Task]:
    """The networks and their task."""
    kind = workload.DTYPES[dtype]
    return workload.networks(activation, kind), workload.task(kind)


@cache
def expected(activation: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """edt's losses before the first step and after `STEPS`."""
    ens, task = problem(activation, dtype)
    return subject.losses(ens, task, 0), subject.losses(ens, task, STEPS)


def _edt(ens: Ensemble, task: Task, benchmark: Any) -> Timing:
    return timed(benchmark, lambda: subject.train(ens, task, EDT_STEPS), EDT_STEPS)


def _eager(ens: Ensemble, task: Task) -> Training:
    from benchmarks.peers.torch_eager import EagerLoop

    return EagerLoop(ens, task)


def _vmap_padded(ens: Ensemble, task: Task) -> Training:
    from benchmarks.peers.torch_vmap import Vmap

    return Vmap(ens, task, padded=True)


def _vmap(ens: Ensemble, task: Task) -> Training:
    from benchmarks.peers.torch_vmap import Vmap

    return Vmap(ens, task, padded=False)


def _baddbmm(ens: Ensemble, task: Task) -> Training:
    from benchmarks.peers.torch_baddbmm import Baddbmm

    return Baddbmm(ens, task)


def _compiled(ens: Ensemble, task: Task) -> Training:
    from benchmarks.peers.torch_compiled import Compiled

    return Compiled(ens, task)


def _scan(ens: Ensemble, task: Task) -> Training:
    from benchmarks.peers.jax_scan import Scan

    return Scan(ens, task)


def _scan_rewritten(ens: Ensemble, task: Task) -> Training:
    from benchmarks.peers.jax_scan import Scan

    return Scan(ens, task, "rewritten softplus")


PEERS: dict[str, Callable[[Ensemble, Task], Training]] = {
    names.EAGER: _eager,
    names.VMAP_PADDED: _vmap_padded,
    names.VMAP: _vmap,
    names.BADDBMM: _baddbmm,
    names.COMPILED: _compiled,
    names.SCAN: _scan,
    names.SCAN_REWRITTEN: _scan_rewritten,
}
#: A case's contenders run one after another, so that they see the same machine.
RUNS = [
    (activation, dtype, contender)
    for activation, dtype in CASES
    for contender in (EDT, *PEERS)
    # Only softplus has a faster formula than JAX's own.
    if contender != names.SCAN_REWRITTEN or activation == "softplus"
]


@pytest.mark.parametrize("activation, dtype, contender", RUNS)
def test_step(
    activation: str,
    dtype: str,
    contender: str,
    benchmark: Any,
    figures: Figures,
    request: pytest.FixtureRequest,
) -> None:
    if contender in (names.SCAN, names.SCAN_REWRITTEN):
        request.getfixturevalue("need_jax")
    ens, task = problem(activation, dtype)
    if contender == EDT:
        timing = _edt(ens, task, benchmark)
    else:
        peer = PEERS[contender](ens, task)
        peer.advance(STEPS)
        check_losses(contender, dtype, *expected(activation, dtype), peer.losses())
        timing = timed(benchmark, lambda: peer.advance(STEPS), STEPS)
    figures.add(names.training_case(activation, dtype), contender, timing)
