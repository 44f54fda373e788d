"""Pruned LeNet-300-100 in minibatches against SparseProp: 16 networks and one, small and large
batches. An optional peer: ``pip install edt[sparseprop]`` builds it from source.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from benchmarks import names, settings, subject, workload
from benchmarks.agreement import check_losses
from benchmarks.figures import EDT, Figures
from benchmarks.peers.sparse_linear import SparseLayers
from benchmarks.timing import timed
from edt import Ensemble, Task

#: Steps in a timed call of the peer, and of edt.
PEER_STEPS, EDT_STEPS = (2, 4) if settings.SMOKE else (20, 200)
#: Epochs of four steps: what edt's call ends with, an evaluation of all samples, stays little.
BATCHES_AN_EPOCH = 4


def checked(sparsity: float) -> int:
    """Steps before losses are compared. Later than some 50, a relu that a rounding switches on
    shows in the losses of the denser networks; the sparsest have hardly moved by then."""
    return 40 if sparsity < 0.98 else 60


@pytest.fixture(autouse=True)
def _need_sparseprop(figures: Figures) -> None:
    try:
        import sparseprop  # noqa: F401
    except ImportError:
        figures.skipped[names.SPARSEPROP] = "not installed: pip install edt[sparseprop]"
        pytest.skip("SparseProp is not installed: pip install edt[sparseprop]")


@cache
def problem(networks: int, sparsity: float, samples: int) -> tuple[Ensemble, Task]:
    """The networks and random pictures."""
    return workload.lenets(sparsity, torch.float32, samples, networks)


def every_cell(test: Any) -> Any:
    """A test for every number of networks, size of batch and sparsity."""
    for name, values in (
        ("sparsity", names.SPARSE_SPARSITIES),
        ("batch", names.SPARSE_BATCHES),
        ("networks", names.SPARSE_NETWORKS),
    ):
        test = pytest.mark.parametrize(name, values)(test)
    return test


@every_cell
def test_edt(networks: int, batch: int, sparsity: float, benchmark: Any, figures: Figures) -> None:
    ens, task = problem(networks, sparsity, batch * BATCHES_AN_EPOCH)
    timing = timed(benchmark, lambda: subject.train(ens, task, EDT_STEPS, batch), EDT_STEPS)
    figures.add(names.sparse_case(networks, batch, sparsity), EDT, timing)


@every_cell
def test_sparseprop(
    networks: int, batch: int, sparsity: float, benchmark: Any, figures: Figures
) -> None:
    # Both draw minibatches in orders of their own: one batch of all samples has none.
    ens, few = problem(networks, sparsity, batch)
    peer = SparseLayers(ens, few, batch)
    steps = checked(sparsity)
    peer.advance(steps)
    before, after = (subject.train(ens, few, k, batch).loss.numpy() for k in (0, steps))
    check_losses(names.SPARSEPROP, "float32", before, after, peer.losses())

    peer = SparseLayers(*problem(networks, sparsity, batch * BATCHES_AN_EPOCH), batch)
    timing = timed(benchmark, lambda: peer.advance(PEER_STEPS), PEER_STEPS)
    figures.add(names.sparse_case(networks, batch, sparsity), names.SPARSEPROP, timing)
