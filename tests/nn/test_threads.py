"""Sparse layers on torch's threads and in memory that is used again."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest
import torch

from edt import _core
from edt.nn import MaskedConv2d, MaskedLinear, team


def layers():
    torch.manual_seed(4)
    conv = MaskedConv2d(6, 20, 3, padding=1, mask=torch.rand(20, 6, 3, 3) < 0.3, kernel="sparse")
    linear = MaskedLinear(300, 200, mask=torch.rand(200, 300) < 0.2, kernel="sparse")
    return (conv, torch.randn(40, 6, 24, 24)), (linear, torch.randn(300, 300))


def gradients(layer, x):
    given = x.clone().requires_grad_(True)
    out = layer(given)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), [given, *layer.parameters()])]


@pytest.mark.skipif(team.runtime() is None, reason="torch has brought no OpenMP library here")
def test_torch_threads_and_those_of_the_core_give_the_same_bits():
    kept = []
    try:
        for torchs in (False, True):
            if torchs:
                assert team.use_torch_threads()
            else:
                _core.set_team(0)
            kept.append([g for layer, x in layers() for g in gradients(layer, x)])
    finally:
        team.use_torch_threads()
    assert all(torch.equal(a, b) for a, b in zip(*kept, strict=True))


CHILD = """
import os, torch
from edt import _core
from edt.nn import MaskedConv2d
torch.set_num_threads(2)
layer = MaskedConv2d(6, 20, 3, padding=1, mask=torch.rand(20, 6, 3, 3) < 0.3, kernel="sparse")
x = torch.randn(64, 6, 32, 32)
out = layer(x).detach()
(layout,) = layer._taps().layouts.values()
again, weight, bias = torch.zeros_like(out), layer.weight.detach(), layer.bias.detach()
child = os.fork()
if child == 0:  # torch's own threads do not exist here
    layout.core.forward(64, False, weight.data_ptr(), bias.data_ptr(), x.data_ptr(),
                        again.data_ptr())
    _core.Recycled(1 << 21)
    os._exit(0 if again.numpy().tobytes() == out.numpy().tobytes() else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_children_of_a_fork_have_threads_of_the_core():
    subprocess.run([sys.executable, "-c", CHILD], check=True, timeout=100)


def test_memory_of_outputs_is_used_again_but_not_while_they_live():
    layer = MaskedConv2d(2, 16, 3, padding=1, mask=torch.rand(16, 2, 3, 3) < 0.5, kernel="sparse")
    x = torch.randn(20, 2, 40, 40)  # 2 MB of outputs
    with torch.no_grad():
        first = layer(x)
        kept, address = first.clone(), first.data_ptr()
        second = layer(-x)
        assert second.data_ptr() != address and torch.equal(first, kept)
        part = first[3]
        del first
        third = layer(2 * x)  # a view keeps the memory
        assert third.data_ptr() != address and torch.equal(part, kept[3])
        del part, third
        addresses = {layer(x).data_ptr() for _ in range(3)}
        assert len(addresses) == 1
        assert torch.equal(layer(x), kept)
        # Of what is given back, too, each is given to one.
        again, other = layer(x), layer(-x)
        assert again.data_ptr() in addresses and other.data_ptr() not in addresses
        assert torch.equal(again, kept) and not torch.equal(other, kept)


def test_memory_that_is_too_large_is_neither_given_nor_kept():
    for size in (2**64 - 1, 2**63):  # no number of whole pages
        with pytest.raises(MemoryError):
            _core.Recycled(size)
    room = (5 << 20) + 1  # of a size that nothing else here has

    def address(taken):
        return ctypes.addressof(ctypes.c_char.from_buffer(taken))

    first = _core.Recycled(room)
    place = address(first)
    ctypes.memset(place, 7, 9)
    del first
    _core.Recycled(600 << 20)  # more than is kept in all: never touched, and given back at once
    again = _core.Recycled(room)
    assert address(again) == place and bytes(memoryview(again)[:9]) == b"\7" * 9
