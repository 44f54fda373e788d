"""The CUDA engine, its kernels as nvcc's PTX on the PTX machine (tests/cuda/ptx); fixtures."""

from __future__ import annotations

import importlib.util
import weakref
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from ptx_build import CAPABILITIES, Build, find_nvcc

from edt.ops import cuda


def load_machine() -> ModuleType | None:
    """The machine with the engine's kernels; None without nvcc."""
    nvcc = find_nvcc()
    if nvcc is None:
        return None
    build = Build(nvcc)
    spec = importlib.util.spec_from_file_location("edt_cuda_ptx", build.all())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, capabilities in CAPABILITIES.items():
        for c in capabilities:
            module.load(str(build.ptx(name, c).with_suffix(".program")), c)
    return module


@pytest.fixture(scope="session")
def ptx_module() -> ModuleType:
    """The machine with the engine's kernels."""
    module = load_machine()
    if module is None:
        pytest.skip("no nvcc here: the compiled PTX is not run")
    return module


class Ranges:
    """Tells the machine which memory tensors hold, for as long as they live.

    Args:
        module: the machine.
    """

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.known: dict[int, tuple[int, int]] = {}
        self._address = torch.Tensor.data_ptr

    def data_ptr(self, tensor: torch.Tensor) -> int:
        """In place of `torch.Tensor.data_ptr`: who asks for an address gets what lies there."""
        begin = self._address(tensor)
        reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        size = (reach + 1) * tensor.element_size() if tensor.numel() else 0
        if self.known.get(id(tensor)) != (begin, size):
            self.known[id(tensor)] = (begin, size)
            self.module.allow(begin, size)
            weakref.finalize(tensor, self._gone, id(tensor), begin, size)
        return begin

    def _gone(self, key: int, begin: int, size: int) -> None:
        self.known.pop(key, None)
        self.module.forget(begin, size)


@pytest.fixture(scope="session")
def ranges(ptx_module: ModuleType) -> Ranges:
    """Shared by all tests: tensors outlive them in caches."""
    return Ranges(ptx_module)


@pytest.fixture
def ptx(
    ptx_module: ModuleType, ranges: Ranges, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModuleType]:
    """`edt.ops.cuda` on the PTX machine, with CPU tensors and every check."""
    monkeypatch.setattr(cuda, "engine", lambda: ptx_module)
    for cache in (cuda._plans, cuda._data):
        monkeypatch.setattr(cache, "_entries", {})
    monkeypatch.setattr(torch.Tensor, "data_ptr", lambda tensor: ranges.data_ptr(tensor))
    ptx_module.take()
    yield ptx_module
    ptx_module.set_checks(True, 0)
    ptx_module.set_counts(False)
    ptx_module.set_card()
    ptx_module.set_limits(2, 227 * 1024, 228 * 1024)
