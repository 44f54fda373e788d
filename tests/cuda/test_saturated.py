"""The CUDA kernels where inputs' squares overflow and units are saturated: 0 stays 0."""

from __future__ import annotations

import pytest
import torch
from engine_calls import on_cuda

import edt
from edt.ops.checks import problem_of
from edt.ops.compiled import matrix_offsets


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("widths", [(3,), (3, 4)])
@pytest.mark.parametrize("ggn", [False, True])
def test_hessians_are_numbers(shim, widths, dtype, ggn):
    big = 1e200 if dtype == torch.float64 else 1e30
    x = torch.tensor([[1.0, big], [-1.0, -big], [2.0, big], [0.5, big]], dtype=dtype)
    ens = edt.Ensemble.init([widths], [0], d_in=2, d_out=2, dtype=dtype)
    if len(widths) > 1:
        ens.weight(0, 1)[:] *= big
    task = edt.Task(x, torch.stack([torch.sin(x[:, 0]), torch.cos(x[:, 0])], 1))
    problem, size = problem_of(ens, task, None), ens.total
    offsets = matrix_offsets(ens.coords, ens.coords, ens.theta.element_size())
    found = on_cuda.hessian(ens.theta, problem, int(offsets[-1]), ggn=ggn)
    found = found[: size * size].view(size, size)
    (wanted,) = edt.hessian(ens, task, ggn=ggn)
    assert torch.isfinite(found).all()
    # Sums of four samples in another order.
    slack = 200 * torch.finfo(dtype).eps * float(wanted.abs().max())
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=slack)
