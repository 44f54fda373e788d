"""What the package says where there is no GPU, or no engine for it."""

from __future__ import annotations

import pytest
import torch

import edt
from edt import _core, ops
from edt.ops import cuda


def test_without_a_gpu(cases, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ens, task = cases.ensemble([2, 3]), cases.task()
    assert edt.masked_train(task, ens, steps=2, progress=False).networks.device.type == "cpu"
    with pytest.raises(ValueError, match="device='cuda' cannot be used here"):
        edt.masked_train(task, ens, steps=2, device="cuda", progress=False)
    with pytest.raises(ValueError, match="backend='cuda' needs networks on that device"):
        ops.loss(ens, task, backend="cuda")


def test_counting_devices_needs_no_driver(shim):
    engine = getattr(_core, "cuda", shim)
    assert engine.device_count() >= 0


def test_without_the_engine(monkeypatch):
    monkeypatch.delattr(_core, "cuda", raising=False)
    assert not cuda.usable()
    with pytest.raises(RuntimeError, match="no CUDA engine: install nvcc"):
        cuda.engine()
