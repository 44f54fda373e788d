"""LeNet-300-100, as lottery-ticket work trains it: minibatches of 60, dense and pruned."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from benchmarks import names, settings, subject, workload
from benchmarks.agreement import check_losses
from benchmarks.figures import EDT, Figures
from benchmarks.peers.torch_minibatch import Minibatches
from benchmarks.timing import timed
from edt import Ensemble, Task

BATCH = 60
NETWORKS, SAMPLES = (2, 180) if settings.SMOKE else (16, 1_200)
#: Steps before losses are compared, and steps in a timed call of a peer.
STEPS = 20
#: Steps in a timed call of edt: ten epochs, and the evaluation of all samples that ends a call.
EDT_STEPS = 3 if settings.SMOKE else 200


@cache
def problem(sparsity: float | None, samples: int = SAMPLES) -> tuple[Ensemble, Task]:
    """The networks and random pictures."""
    return workload.lenets(sparsity, torch.float32, samples, NETWORKS)


@pytest.mark.parametrize("sparsity", names.LENET_SPARSITIES)
def test_edt(sparsity: float | None, benchmark: Any, figures: Figures) -> None:
    ens, task = problem(sparsity)
    timing = timed(benchmark, lambda: subject.train(ens, task, EDT_STEPS, BATCH), EDT_STEPS)
    figures.add(names.lenet_case(sparsity), EDT, timing)


@pytest.mark.parametrize("sparsity", names.LENET_SPARSITIES)
def test_baddbmm(sparsity: float | None, benchmark: Any, figures: Figures) -> None:
    # Both draw minibatches in orders of their own: one batch of all samples has none.
    ens, few = problem(sparsity, BATCH)
    peer = Minibatches(ens, few, BATCH)
    peer.advance(STEPS)
    before, after = (subject.train(ens, few, steps, BATCH).loss.numpy() for steps in (0, STEPS))
    check_losses(names.BADDBMM, "float32", before, after, peer.losses())

    peer = Minibatches(*problem(sparsity), BATCH)
    timing = timed(benchmark, lambda: peer.advance(STEPS), STEPS)
    figures.add(names.lenet_case(sparsity), names.BADDBMM, timing)
