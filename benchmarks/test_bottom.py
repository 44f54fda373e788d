"""200 students of a teacher of width 4 to ``max|grad| <= 1e-10``, from their initial weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import edt
from benchmarks import names, settings
from benchmarks.agreement import check_derivative
from benchmarks.figures import EDT, Figures
from benchmarks.timing import Timing, timed

STUDENTS = 4 if settings.SMOKE else 200
SAMPLES = 50 if settings.SMOKE else 1000
#: Networks that scipy is given; its time is scaled to all, and to all cores.
GIVEN = 1 if settings.SMOKE else 8


def problem() -> tuple[edt.Ensemble, edt.Task]:
    """Students of width 6."""
    task = edt.tasks.teacher_student(d_in=4, teacher_width=4, n=SAMPLES)
    return edt.Ensemble.init(widths=[6], seeds=range(STUDENTS), d_in=4, d_out=1), task


def test_edt(benchmark: Any, figures: Figures) -> None:
    ens, task = problem()
    ended = edt.converge(task, ens, progress=False)
    timing = timed(benchmark, lambda: edt.converge(task, ens, progress=False))
    reached = ended.status.count("converged")
    channels = ended.status.count("channel")
    figures.add(names.BOTTOM_CASE, EDT, timing, f"{reached} reach it, {channels} channels")


def test_scipy(benchmark: Any, figures: Figures) -> None:
    pytest.importorskip("scipy")
    from benchmarks.peers.scipy_bottom import TOL, Pipeline

    ens, task = problem()
    peer = Pipeline(ens, task)
    at = ens.network(0).theta.numpy()
    check_derivative(names.SCIPY, edt.hessian(ens.network(0), task)[0].numpy(), peer.hessian(at))
    check_derivative(
        names.SCIPY, edt.loss_and_grad(ens.network(0), task)[1].numpy(), peer.gradient(at)
    )
    ends: list[float] = []
    torch.set_num_threads(1)
    timing = timed(benchmark, lambda: ends.extend(peer.run(GIVEN)))
    reached = int((np.array(ends[:GIVEN]) <= TOL).sum())
    factor = STUDENTS / GIVEN / settings.THREADS
    timing = Timing(timing.best * factor, timing.median * factor, timing.rounds)
    note = f"{GIVEN} networks timed on one core, {reached} reach it; scaled to all cores"
    figures.add(names.BOTTOM_CASE, names.SCIPY, timing, note)
