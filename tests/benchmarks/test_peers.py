"""Peers of the GPU benchmarks do the same work as edt."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import edt


@pytest.fixture
def minibatches(monkeypatch):
    """The peer `benchmarks.peers.torch_minibatch.Minibatches`."""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).resolve().parents[2]), *sys.path])
    from benchmarks.peers.torch_minibatch import Minibatches

    return Minibatches


@pytest.mark.parametrize("sparsity", [None, 0.8])
def test_minibatches_of_everything_are_adam(minibatches, sparsity):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(40, 7, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 3, (40,), generator=draw)
    task = edt.Task(x, y, "cross_entropy", n_classes=3)
    ens = edt.Ensemble.init([(9, 5)], range(2), d_in=7, d_out=3, sparsity=sparsity)
    # A batch of all samples is a full-batch step, whatever the order.
    peer = minibatches(ens, task, 40)
    for steps in (0, 20):
        peer.advance(steps)
        ours = edt.masked_train(task, ens, steps=steps, lr=1e-3, device="cpu", progress=False)
        torch.testing.assert_close(torch.from_numpy(peer.losses()), ours.loss, rtol=1e-9, atol=0)
