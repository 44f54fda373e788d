"""The scalar activations of the kernels against the vector code of the CPU engine.

Exponentials and logarithms are taken in different ways (the vector code looks parts of them up), so
results differ by a few units in the last place of their terms. Where terms cancel (the third
derivative of g, the first of gelu) these are of the size of the other derivatives.
"""

from __future__ import annotations

import pytest
import torch

from edt import _core
from edt.ops import cpu, cuda
from edt.ops.activations import ACTIVATION_CODES

UNITS = 12


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_as_on_the_cpu(shim, name, dtype):
    span = torch.linspace(-12, 12, 3001, dtype=torch.float64)
    tiny = torch.tensor([0.0, -0.0, 1e-30, -1e-30, 1e-6, -1e-6, 60.0, -60.0, 200.0, -200.0])
    z = torch.cat([span, tiny.double()]).to(dtype)
    highest = _core.build_info()["max_order"]
    found, wanted = cuda.activation(name, z, highest), cpu.activation(name, z, highest)
    eps = torch.finfo(dtype).eps
    # What a derivative is made of: the others, times powers of z.
    scale = wanted[1:].abs().amax(0) * (1 + z.abs()) ** 2
    scale = torch.maximum(wanted.abs(), scale)
    limit = UNITS * eps * scale + 8 * torch.finfo(dtype).tiny
    assert bool(((found - wanted).abs() <= limit).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_infinities_and_nan(shim, name, dtype):
    z = torch.tensor([float("inf"), float("-inf"), float("nan")], dtype=dtype)
    found, wanted = cuda.activation(name, z, 1), cpu.activation(name, z, 1)
    assert torch.equal(found.isnan(), wanted.isnan())
    assert torch.equal(found.nan_to_num(7.0), wanted.nan_to_num(7.0))
