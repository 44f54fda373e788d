"""The scalar activations of the kernels: against mpmath, as those of the CPU engine are, and beside
these where numbers are infinite. Over the shim, and on a GPU where there is one.

Exponentials and logarithms are taken in other ways than by the vector code (which looks parts of
them up); the same bounds hold.
"""

from __future__ import annotations

import pytest
import torch
from activation_errors import BOUNDS, DTYPES, points, worst_error

from edt.ops import cpu, cuda
from edt.ops.activations import ACTIVATION_CODES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_accuracy(device, name, dtype):
    found = cuda.activation(name, points(dtype).to(device), 3).cpu()
    for order in range(4):
        worst = worst_error(name, dtype, order, found[order])
        assert worst <= BOUNDS[name][order], f"order {order}: {worst:.3g} u T"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_infinities_and_nan(device, name, dtype):
    z = torch.tensor([float("inf"), float("-inf"), float("nan")], dtype=dtype)
    found, wanted = cuda.activation(name, z.to(device), 1).cpu(), cpu.activation(name, z, 1)
    assert torch.equal(found.isnan(), wanted.isnan())
    assert torch.equal(found.nan_to_num(7.0), wanted.nan_to_num(7.0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu"])
def test_kinks(device, name, dtype):
    zero = torch.tensor([0.0, -0.0], dtype=dtype)
    found = cuda.activation(name, zero.to(device), 2).cpu()
    torch.testing.assert_close(found, cpu.activation(name, zero, 2), rtol=1e-6, atol=0)
