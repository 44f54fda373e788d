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
from edt.ops.threads import set_core_threads
from edt.training.cuda import CudaEngine
from edt.training.state import Rule, State, train_arguments

if TYPE_CHECKING:
    from edt.ensemble import Ensemble
    from edt.tasks import Task


def _pointer(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else int(tensor.data_ptr())


class Engine:
    """Compiled training calls for one (ensemble, task, task index).

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
        set_core_threads()
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

    def train(self, state: State, rule: Rule, until: int) -> None:
        """Run every running network to step ``until``; see `TrainingEngine`."""
        arguments = train_arguments(state, rule, until, _pointer)
        _core.train(*self._head(state.theta, None), rule.hyper, arguments)


def engine_for(ens: Ensemble, task: Task, task_index: torch.Tensor) -> Engine | CudaEngine:
    """The engine of the networks' device."""
    kind = CudaEngine if ens.device.type == "cuda" else Engine
    return kind(ens, task, task_index)
