"""All calls of the CUDA kernels on one case, as `op_cases.compare` wants them."""

from __future__ import annotations

from typing import Any

import torch
from engine_calls import on_cuda

from edt import Ensemble, Task
from edt.ops import cuda
from edt.ops.checks import problem_of
from edt.ops.compiled import matrix_offsets


def products(
    ens: Ensemble,
    task: Task,
    index: torch.Tensor,
    vectors: torch.Tensor,
    cotangent: torch.Tensor,
) -> dict[str, Any]:
    """What large networks can be asked for: everything but matrices."""
    problem, theta = problem_of(ens, task, index), ens.theta
    losses, grad = on_cuda.loss_and_grad(theta, problem)
    return {
        "predict": on_cuda.predict(theta, problem),
        "vjp": on_cuda.predict_vjp(theta, cotangent, problem),
        "loss": on_cuda.loss(theta, problem),
        "loss beside grad": losses,
        "grad": grad,
        "hvp": on_cuda.hvp(theta, vectors, problem),
        "ggn_vp": on_cuda.hvp(theta, vectors, problem, ggn=True),
    }


def everything(
    ens: Ensemble,
    task: Task,
    index: torch.Tensor,
    vectors: torch.Tensor,
    cotangent: torch.Tensor,
) -> dict[str, Any]:
    """All results of the kernels, by name."""
    problem, theta = problem_of(ens, task, index), ens.theta
    coords = cuda.plan_of(problem, theta.device).coords
    offsets = matrix_offsets(coords, coords, theta.element_size())
    out = products(ens, task, index, vectors, cotangent)
    for name, ggn in (("hessian", False), ("ggn", True)):
        buffer = on_cuda.hessian(theta, problem, int(offsets[-1]), ggn=ggn)
        out[name] = [
            buffer[at : at + size * size].view(size, size)
            for at, size in zip(offsets[:-1].tolist(), coords.tolist(), strict=True)
        ]
    return out
