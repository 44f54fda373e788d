"""Training on the CUDA engine: the calls of `edt.training.engine.Engine`, on a device.

Tensors that change lie on the device and are changed there, in stream order; what stays the same
during a run (rates, seeds, schedules, recorded steps) is copied to it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edt.ops.cuda import Launcher, Moved, device_data, device_plan
from edt.ops.kept import current_stream
from edt.training.state import RUNNING, Rule, State, train_arguments

if TYPE_CHECKING:
    from edt.ensemble import Ensemble
    from edt.tasks import Task

__all__ = ["CudaEngine"]


class CudaEngine:
    """Compiled training calls for one (ensemble, task, task index) on a CUDA device.

    Args:
        ens: the networks; only their structure and device are used.
        task: data of the same dtype, on the same device.
        task_index: int64 ``[B]``.
    """

    def __init__(self, ens: Ensemble, task: Task, task_index: torch.Tensor) -> None:
        plan = device_plan(ens.state, ens.layer_widths, ens.has_bias, ens.device)
        data = device_data(task.x, task.y, task.coef, task.loss, task.d_out)
        self.launcher = Launcher(plan, data, task_index.to(torch.int64), ens.activation)
        self.device = ens.device
        self.B = int(ens.B)
        self.offsets = ens.offsets.to(self.device, torch.int64)
        self.coords = ens.coords.to(torch.int64)
        self.trainable = ens.state == 1
        self._constants: dict[int, tuple[torch.Tensor, Moved]] = {}

    def wait(self) -> None:
        """Return when all calls so far have finished."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def _constant(self, tensor: torch.Tensor) -> int:
        """Address of the device's copy of a tensor that does not change."""
        known = self._constants.get(id(tensor))
        if known is None or known[0] is not tensor:
            known = (tensor, Moved(tensor.to(self.device).contiguous(), own=True))
            self._constants[id(tensor)] = known
        return known[1].address(current_stream(self.device))

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Write the loss of the active networks into ``loss`` float64 ``[B]``."""
        self.launcher.losses(theta, loss, active=active)

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Write loss ``[B]`` and gradient (flat) of the active networks."""
        self.launcher.losses(theta, loss, grad, active)

    def train(self, state: State, rule: Rule, until: int) -> None:
        """Run every running network to step ``until``; see `TrainingEngine`."""
        moments, batch_size = state.v is not None, int(rule.hyper["batch_size"])
        plan, data = self.launcher.plan, self.launcher.data
        schedule, _, _ = plan.schedule(
            "train",
            data.dtype == torch.float64,
            data.samples,
            moments=moments,
            batch_size=batch_size,
        )
        first = 0
        if schedule.counts_steps:
            # Launches for every step: the host must know them. The caller has just waited anyway.
            running = state.status == RUNNING
            if not bool(running.any()):
                return
            first = int(state.steps[running].min())
        self.launcher.call(
            "train",
            "train",
            state.theta,
            rule.hyper,
            train_arguments(state, rule, until, self._constant),
            first,
            rule.record.data_ptr(),
            moments=moments,
            batch_size=batch_size,
        )
