"""Small trainings on every engine of the CPU, and what it means that two ended alike."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import nn

import edt
from edt.training import masked_train

KINDS = ("chains", "minibatches", "modules", "float32")


def small_training(kind, cases, n=23):
    """A function that trains four networks; its options are those of `masked_train`.

    Args:
        kind: one of `KINDS`. cases: the fixture. n: samples.
    """
    dtype = torch.float32 if kind == "float32" else torch.float64
    task = cases.task(n=n, seed=1, dtype=dtype)
    if kind == "modules":
        networks = edt.ModuleEnsemble.build(chain, [3, 6], range(2), dtype=dtype)
    else:
        networks = edt.Ensemble.init([3, 6], range(2), d_in=2, d_out=1, dtype=dtype)
    batch = {"batch_size": 5} if kind in ("minibatches", "modules") else {}

    def train(given=networks, **more):
        options = {"steps": 40, "lr": 0.05, "device": "cpu", "progress": False, **batch}
        return masked_train(task, given, **{**options, **more})

    train.task, train.networks, train.kind = task, networks, kind
    return train


def chain(width, seed):
    """One hidden layer."""
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))


def same(a, b, history=True):
    """Insist that two results are equal, bit for bit."""
    assert torch.equal(a.networks.theta, b.networks.theta)
    assert torch.equal(a.networks.state, b.networks.state)
    for name in ("loss", "grad_norm", "steps"):
        equal(getattr(a, name), getattr(b, name), name)
    assert a.status == b.status
    if history:
        assert torch.equal(a.recorded.at, b.recorded.at)
        equal(a.recorded.loss, b.recorded.loss, "loss")
        equal(a.recorded.grad_norm, b.recorded.grad_norm, "grad_norm")


def equal(a, b, name):
    """Insist on equal numbers, NaN where NaN is."""
    assert torch.equal(a.isnan(), b.isnan()), name
    assert torch.equal(a.nan_to_num(), b.nan_to_num()), name


@contextmanager
def threads(count):
    """Another number of threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
