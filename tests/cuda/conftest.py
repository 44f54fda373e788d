"""The CUDA engine over the shim, in place of `edt._core.cuda`, and on a GPU where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from edt.ops import cuda

collect_ignore = [] if cuda.usable() else ["test_on_gpu.py"]
# Its kernels take nvcc a minute: .ci/ptx.sh and make ptx.
collect_ignore += [] if os.environ.get("EDT_KERNELS") == "ptx" else ["test_ptx_machine.py"]


@pytest.fixture(params=["shim", *(["cuda"] if cuda.usable() else [])])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where the kernels run: over the shim, and on a GPU where there is one."""
    if request.param == "shim":
        request.getfixturevalue("shim")
    return torch.device("cuda" if request.param == "cuda" else "cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The reference runs many tiny torch operations."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
