"""Hessians that cannot fit say so, in bytes, before any work."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.ops import memory


@pytest.fixture
def wide(device):
    """(network of 51 * 784 + ... parameters, task) on the device."""
    ens = edt.Ensemble.init(widths=[50], seeds=[0], d_in=784, d_out=10).to(device=device)
    x, y = torch.zeros(3, 784, dtype=torch.float64), torch.zeros(3, 10, dtype=torch.float64)
    return ens, edt.Task(x, y).to(device=device)


def test_what_is_free(device):
    assert memory.free_bytes(torch.device(device)) > 2**20


def test_nobody_says():
    assert memory.free_bytes(torch.device("meta")) is None


@pytest.mark.parametrize("ggn", [False, True])
def test_hessians_that_do_not_fit(wide, device, ggn, monkeypatch):
    ens, task = wide
    size = 785 * 50 + 51 * 10
    assert ens.total == size
    monkeypatch.setattr(memory, "free_bytes", lambda _: 10**9)
    # Rows of the buffer end on multiples of 64 bytes.
    needed = (size * size + 7) // 8 * 64
    with pytest.raises(
        MemoryError, match=rf"{size:,} coordinates need {needed:,} bytes .* edt.hvp"
    ):
        edt.hessian(ens, task, ggn=ggn)
    # Products need no matrix.
    assert edt.hvp(ens, task, ens.theta).shape == (size,)
