"""The one road into the compiled core: `calls_of` a problem, on the CPU or on a GPU.

Objectives, operators and training all call through `Calls`; nothing else hands the core addresses.
"""

from __future__ import annotations

from typing import Protocol

import torch

from edt.ops.cpu import CpuCalls
from edt.ops.cuda import CudaCalls
from edt.ops.problem import Problem
from edt.ops.training import Rule, Run

__all__ = ["Calls", "calls_of"]


class Calls(Protocol):
    """Calls of the compiled core on one `Problem`.

    All tensors but ``offsets`` are contiguous and on ``device``. Results are written into tensors
    given, for the networks marked in ``active`` (uint8 ``[B]``, default all); what belongs to the
    others is left as it is. A call after a change of the problem's tensors in place is refused.

    Attributes:
        problem: structure and data.
        coords: int64 ``[B]`` on the CPU, trainable parameters.
        total: parameters of all networks.
        device: where the work is done.
    """

    problem: Problem
    coords: torch.Tensor
    total: int
    device: torch.device

    def predict(
        self, theta: torch.Tensor, out: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Write the outputs ``[B, N, d_out]``."""

    def vjp(
        self,
        theta: torch.Tensor,
        cotangent: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Write ``J^T u`` ``[total]`` for ``u`` ``[B, N, d_out]``."""

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Write the losses, float64 ``[B]``."""

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Write losses ``[B]`` and gradient ``[total]``."""

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Write products of ``H`` (``G``) with K vectors ``[K, total]``."""

    def matrices(self, theta: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """A buffer ``[offsets[B]]`` that `hessian` may fill; 0 between the matrices."""

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Write ``[P_b, P_b]`` at ``out[offsets[b]:]``."""

    def train(self, run: Run, rule: Rule, until: int) -> None:
        """Run every network with status 0 to step ``until``, at most ``len(rule.factors)``.

        Tensors of ``run`` are updated in place.
        """

    def wait(self) -> None:
        """Return when all calls so far have finished."""


def calls_of(problem: Problem, device: torch.device) -> Calls:
    """The calls of a problem on the device where its tensors lie.

    Raises:
        ValueError: they lie elsewhere, or do not fit each other.
    """
    for name, tensor in (("x", problem.x), ("state", problem.state)):
        if tensor.device != device:
            raise ValueError(f"{name} must be on {device} like theta, got {tensor.device}")
    return CudaCalls(problem) if device.type == "cuda" else CpuCalls(problem)
