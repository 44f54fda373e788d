"""Where the ops run, and the random ensembles of `op_cases`."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from op_cases import MASKS, Case, Magnitudes

from edt import _core
from edt.ops import cuda


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Reference loops run many tiny torch operations, which threads only slow down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=_core.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set of this machine in turn."""
    before = _core.isa()
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(before)


@pytest.fixture(params=[*_core.isas(), *(["cuda"] if cuda.usable() else [])])
def processor(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set of this machine in turn, and its GPU: the device to use."""
    if request.param == "cuda":
        yield "cuda"
        return
    before = _core.isa()
    _core.select_isa(request.param)
    yield "cpu"
    _core.select_isa(before)


@pytest.fixture(scope="session")
def cases() -> SimpleNamespace:
    """The helpers of `op_cases`."""
    return SimpleNamespace(Case=Case, MASKS=MASKS, Magnitudes=Magnitudes)
