"""Peers of the GPU benchmarks do the same work as edt."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import edt


@pytest.fixture
def peers(monkeypatch):
    """The packages of the benchmarks can be imported."""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).resolve().parents[2]), *sys.path])


def pictures():
    """(x, y, task) of a small classification."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(40, 7, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 3, (40,), generator=draw)
    return edt.Task(x, y, "cross_entropy", n_classes=3)


@pytest.mark.parametrize("sparsity", [None, 0.8])
def test_minibatches_of_everything_are_adam(peers, sparsity):
    from benchmarks.peers.torch_minibatch import Minibatches

    task = pictures()
    ens = edt.Ensemble.init([(9, 5)], range(2), d_in=7, d_out=3, sparsity=sparsity)
    # A batch of all samples is a full-batch step, whatever the order.
    peer = Minibatches(ens, task, 40)
    for steps in (0, 20):
        peer.advance(steps)
        ours = edt.masked_train(task, ens, steps=steps, lr=1e-3, device="cpu", progress=False)
        torch.testing.assert_close(torch.from_numpy(peer.losses()), ours.loss, rtol=1e-9, atol=0)


@pytest.mark.parametrize("sparsity", [None, 0.8])
def test_products_of_deep_networks(peers, sparsity):
    from benchmarks.peers.torch_deep import DeepProducts

    task = pictures()
    ens = edt.Ensemble.init(
        [(9, 5)], range(2), d_in=7, d_out=3, sparsity=sparsity, activation="tanh"
    )
    v = torch.randn(3, ens.total, dtype=torch.float64, generator=torch.manual_seed(1))
    found, wanted = DeepProducts(ens, task, v).run(), edt.hvp(ens, task, v)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
