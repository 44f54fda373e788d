"""Rows of `benchmarks.gpu` on a GPU that is not there: what is planned, and that edt's calls work.

Peers are compared on the CPU (`tests/benchmarks/test_peers.py`): autograd does not see such a GPU.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch


class Planned:
    """In place of `benchmarks.gpu.Recorder`."""

    def __init__(self):
        self.rows = {}

    def add(self, workload, subject, call, **more):
        self.rows[workload, subject] = call


@pytest.fixture
def bench(gpu, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).resolve().parents[2]), *sys.path])
    from benchmarks import gpu as module

    monkeypatch.setattr(module.settings, "SMOKE", True)
    monkeypatch.setattr(module, "STEPS", 2)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return module


def test_dense_wide_networks_in_float64(bench, shim):
    record = Planned()
    bench.tensor_cores(record)
    workloads = {
        "LeNet-300-100, 16 networks, sparsity 0, float64",
        "784-1024-1024-10, 1 network, sparsity 0, float64",
    }
    subjects = {"edt", "torch baddbmm", "CUDA graph of baddbmm"}
    assert set(record.rows) == {(w, s) for w in workloads for s in subjects}
    # Too little shared memory for the small networks that stand for the wide ones here.
    shim.set_limits(2, 1100, 2200)
    for workload in workloads:
        shim.tensor_products()
        assert record.rows[workload, "edt"]()["seconds"] > 0
        assert shim.tensor_products()[0] > 0
