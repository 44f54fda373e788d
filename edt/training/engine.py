"""The one place where training meets the compiled core: tensors in, raw pointers out.

An `Engine` binds an ensemble's plan, a task's data and the task index. Nothing here decides
anything; every method is one call of `edt._core`, on contiguous CPU tensors kept alive for the
duration of the call. `engine_for` takes the engine of the networks' device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from edt import _core
from edt.ops.activations import ACTIVATION_CODES
from edt.training.cuda import CudaEngine

if TYPE_CHECKING:
    from edt.ensemble import Ensemble
    from edt.tasks import Task

RUNNING, CONVERGED, DIVERGED, TARGET = 0, 1, 2, 3


def _pointer(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else int(tensor.data_ptr())


class Engine:
    """Compiled training and curvature calls for one (ensemble, task, task index).

    Args:
        ens: the networks; only its structure (plan, activation) is used.
        task: data of the same dtype as ``ens``.
        task_index: int64 ``[B]``.
    """

    def __init__(self, ens: Ensemble, task: Task, task_index: torch.Tensor) -> None:
        if ens.device.type != "cpu":
            raise ValueError(
                f"this runs on the CPU, the networks are on {ens.device}; "
                "use networks.to(device='cpu')"
            )
        self.plan = ens.plan
        self.data = task.data
        self.task_index = task_index.to(torch.int64).contiguous()
        self.activation = ACTIVATION_CODES[ens.activation]
        self.B = int(ens.B)
        self.offsets = ens.offsets.to(torch.int64).cpu()
        self.coords = ens.coords.to(torch.int64).cpu()
        self.trainable = (ens.state == 1).cpu()

    def wait(self) -> None:
        """Return when all calls so far have finished: at once, calls here return finished."""

    def _head(self, theta: torch.Tensor, active: torch.Tensor | None) -> tuple[Any, ...]:
        _core.set_num_threads(torch.get_num_threads())
        return (
            self.plan,
            self.data,
            _pointer(self.task_index),
            self.activation,
            _pointer(theta),
            _pointer(active),
        )

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Write the loss of the active networks into ``loss`` float64 ``[B]``."""
        _core.loss(*self._head(theta, active), _pointer(loss))

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Write loss ``[B]`` and gradient (flat) of the active networks."""
        _core.loss_and_grad(*self._head(theta, active), _pointer(loss), _pointer(grad))

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        out_offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Write ``[P_b, P_b]`` Hessians at ``out_offsets[b]`` of the active networks."""
        _core.hessian(*self._head(theta, active), _pointer(out), _pointer(out_offsets), bool(ggn))

    def train(
        self,
        theta: torch.Tensor,
        m: torch.Tensor | None,
        v: torch.Tensor | None,
        steps: torch.Tensor,
        until: int,
        hyper: dict[str, Any],
        lr: torch.Tensor,
        weight_decay: torch.Tensor,
        seeds: torch.Tensor,
        factors: torch.Tensor,
        status: torch.Tensor,
        loss: torch.Tensor,
        grad_norm: torch.Tensor,
        record: torch.Tensor,
        history_loss: torch.Tensor,
        history_grad: torch.Tensor,
    ) -> None:
        """Run every network with status 0 to step ``until``; all tensors are updated in place.

        ``factors`` holds the learning-rate factor of steps 0..T-1, T >= ``until``.
        """
        _core.train(
            *self._head(theta, None),
            _pointer(m),
            _pointer(v),
            _pointer(steps),
            int(until),
            hyper,
            _pointer(lr),
            _pointer(weight_decay),
            _pointer(seeds),
            _pointer(factors),
            0,
            _pointer(status),
            _pointer(loss),
            _pointer(grad_norm),
            _pointer(record),
            int(record.numel()),
            _pointer(history_loss),
            _pointer(history_grad),
        )

    def lbfgs(
        self,
        theta: torch.Tensor,
        active: torch.Tensor,
        memory: int,
        iterations: int,
        tol: float,
        done: torch.Tensor,
        status: torch.Tensor,
        loss: torch.Tensor,
        grad_norm: torch.Tensor,
    ) -> None:
        """Run L-BFGS on the active networks, ``theta`` in place; never increases a loss."""
        _core.lbfgs(
            *self._head(theta, active),
            int(memory),
            int(iterations),
            float(tol),
            _pointer(done),
            _pointer(status),
            _pointer(loss),
            _pointer(grad_norm),
        )


def engine_for(ens: Ensemble, task: Task, task_index: torch.Tensor) -> Engine | CudaEngine:
    """The engine of the networks' device."""
    kind = CudaEngine if ens.device.type == "cuda" else Engine
    return kind(ens, task, task_index)
