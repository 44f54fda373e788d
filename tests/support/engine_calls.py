"""The operators' kernels on one engine or the other, whatever the tensors' device says.

The shim runs the CUDA kernels on tensors of the CPU, which the operators would send to the CPU's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import torch

from edt import Ensemble, Task
from edt.ops import library
from edt.ops.calls import Calls
from edt.ops.checks import problem_of
from edt.ops.cpu import CpuCalls
from edt.ops.cuda import CudaCalls
from edt.ops.problem import Problem

__all__ = ["cpu_trainer", "cuda_trainer", "on_cpu", "on_cuda"]


class Kernels:
    """``predict(theta, problem)``, ``hvp(theta, vectors, problem, ggn=...)`` and so on."""

    def __init__(self, kind: Callable[[Problem], Calls]) -> None:
        self._kind = kind

    def _run(self, name: str, *arguments: Any) -> Any:
        with mock.patch.object(library, "calls_of", lambda problem, _: self._kind(problem)):
            return library.KERNELS[name](*arguments)

    def predict(self, theta: torch.Tensor, problem: Problem) -> Any:
        return self._run("predict", theta, *problem)

    def predict_vjp(self, theta: torch.Tensor, cotangent: torch.Tensor, problem: Problem) -> Any:
        return self._run("predict_vjp", theta, cotangent, *problem)

    def loss(self, theta: torch.Tensor, problem: Problem) -> Any:
        return self._run("loss", theta, *problem)

    def loss_and_grad(self, theta: torch.Tensor, problem: Problem) -> Any:
        return self._run("loss_and_grad", theta, *problem)

    def hvp(
        self, theta: torch.Tensor, vectors: torch.Tensor, problem: Problem, *, ggn: bool = False
    ) -> Any:
        return self._run("hvp", theta, vectors, ggn, *problem)

    def hessian(
        self, theta: torch.Tensor, problem: Problem, size: int, *, ggn: bool = False
    ) -> Any:
        return self._run("hessian", theta, ggn, size, *problem)


on_cpu, on_cuda = Kernels(CpuCalls), Kernels(CudaCalls)


def cpu_trainer(ens: Ensemble, task: Task, index: torch.Tensor) -> CpuCalls:
    return CpuCalls(problem_of(ens, task, index))


def cuda_trainer(ens: Ensemble, task: Task, index: torch.Tensor) -> CudaCalls:
    return CudaCalls(problem_of(ens, task, index))
