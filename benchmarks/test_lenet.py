"""LeNet-300-100, as lottery-ticket work trains it: minibatches of 60, dense and pruned."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

import edt
from benchmarks import names, settings
from benchmarks.agreement import check_losses
from benchmarks.figures import EDT, Figures
from benchmarks.peers.torch_minibatch import Minibatches
from benchmarks.timing import timed
from benchmarks.workload import BETA1, BETA2, EPSILON, LEARNING_RATE
from edt import Ensemble, Task

BATCH = 60
NETWORKS, SAMPLES = (2, 180) if settings.SMOKE else (16, 1_200)
#: Steps before losses are compared, and steps in a timed call of a peer.
STEPS = 20
#: Steps in a timed call of edt: ten epochs, and the evaluation of all samples that ends a call.
EDT_STEPS = 3 if settings.SMOKE else 200


@cache
def problem(sparsity: float | None, samples: int = SAMPLES) -> tuple[Ensemble, Task]:
    """Networks and random pictures."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(samples, 784, generator=draw)
    y = torch.randint(0, 10, (samples,), generator=draw)
    ens = Ensemble.init(
        [(300, 100)],
        range(NETWORKS),
        d_in=784,
        d_out=10,
        activation="relu",
        dtype=torch.float32,
        sparsity=sparsity,
    )
    return ens, Task(x, y, "cross_entropy", n_classes=10)


def train(ens: Ensemble, task: Task, steps: int) -> edt.TrainResult:
    """Adam in minibatches."""
    return edt.masked_train(
        task,
        ens,
        steps=steps,
        batch_size=BATCH,
        lr=LEARNING_RATE,
        betas=(BETA1, BETA2),
        eps=EPSILON,
        record=None,
        progress=False,
    )


@pytest.mark.parametrize("sparsity", names.LENET_SPARSITIES)
def test_edt(sparsity: float | None, benchmark: Any, figures: Figures) -> None:
    ens, task = problem(sparsity)
    timing = timed(benchmark, lambda: train(ens, task, EDT_STEPS), EDT_STEPS)
    figures.add(names.lenet_case(sparsity), EDT, timing)


@pytest.mark.parametrize("sparsity", names.LENET_SPARSITIES)
def test_baddbmm(sparsity: float | None, benchmark: Any, figures: Figures) -> None:
    # Both draw minibatches in orders of their own: one batch of all samples has none.
    ens, few = problem(sparsity, BATCH)
    peer = Minibatches(ens, few, BATCH)
    peer.advance(STEPS)
    before, after = (train(ens, few, steps).loss.numpy() for steps in (0, STEPS))
    check_losses(names.BADDBMM, "float32", before, after, peer.losses())

    peer = Minibatches(*problem(sparsity), BATCH)
    timing = timed(benchmark, lambda: peer.advance(STEPS), STEPS)
    figures.add(names.lenet_case(sparsity), names.BADDBMM, timing)
