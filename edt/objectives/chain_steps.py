"""Training steps of chains of layers, taken by the core from the samples to the optimiser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edt.ops.losses import LOSSES, loss_code
from edt.ops.training import Rule, Run

if TYPE_CHECKING:
    from edt.objectives.chained import CoreChain
    from edt.objectives.module_group import ModuleGroup
    from edt.objectives.modules import ModuleObjective
__all__ = ["ChainSteps", "learns"]

#: (inputs, targets, weights) of all samples of a target.
Data = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


class ChainSteps:
    """Steps of all networks of an objective, many a call.

    Args:
        objective: whose networks are chains.
        loss: the core's number of it.
        data: of each target, contiguous.
        cores: of each group of networks.
    """

    def __init__(
        self,
        objective: ModuleObjective,
        loss: int,
        data: list[Data],
        cores: list[tuple[ModuleGroup, CoreChain]],
    ) -> None:
        self._loss, self._data, self._cores = loss, data, cores
        self._index = objective.task_index.cpu().contiguous()
        self._offsets = objective.offsets.cpu().contiguous()

    @classmethod
    def of(cls, objective: ModuleObjective) -> ChainSteps | None:
        """None: a network, the loss or the data are not such that the core takes its steps."""
        task = objective.task
        loss = task.named_loss
        here = objective.networks.device.type == "cpu" and objective.chained
        if not here or task.augment is not None or loss not in LOSSES:
            return None
        data: list[Data] = []
        for t in range(task.T):
            whole = task.full_batch(t)
            if whole is None or not _fits(whole, task.N, objective.networks.dtype):
                return None
            if data and whole[0].shape != data[0][0].shape:
                return None
            data.append(whole)
        cores = []
        for group in objective.groups:
            core = group.core(objective.networks.theta, data[0][0])
            if core is None or not all(learns(core, loss, x, y) for x, y, _ in data):
                return None
            cores.append((group, core))
        return cls(objective, loss_code(loss), data, cores)

    def take(self, run: Run, rule: Rule, chosen: torch.Tensor, until: int) -> None:
        """Take networks to step ``until``; those that are lost on the way end as diverged.

        Args:
            run: contiguous; changed in place.
            rule: of the run.
            chosen: bool ``[B]``.
            until: step.
        """
        for group, core in self._cores:
            members = group.members[chosen[group.members]]
            if members.numel():
                core.train(
                    run, rule, until, members, group.masks_of(core, members), self._data,
                    self._loss, self._offsets, self._index,
                )  # fmt: skip


def _fits(data: tuple[object, object, object], samples: int, dtype: torch.dtype) -> bool:
    """Whether all samples lie as the core reads them."""
    x, y, weights = data
    floating = [x] if weights is None else [x, weights]
    tensors = [*floating, y]
    return all(isinstance(part, torch.Tensor) for part in tensors) and all(
        part.is_contiguous()
        and part.device.type == "cpu"
        and part.shape[0] == samples
        and (part is y or part.dtype == dtype)
        for part in tensors
        if isinstance(part, torch.Tensor)
    )


def learns(core: CoreChain, loss: str, x: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether targets of inputs ``[N, ...]`` fit outputs; others are named where they are used."""
    if y.dim() == 0 or y.shape[0] != x.shape[0]:
        return False
    if LOSSES[loss].classes:
        if len(core.shape) != 1 or y.dim() != 1 or y.dtype != torch.int64:
            return False
        low, high = torch.aminmax(y)
        return int(low) >= 0 and int(high) < core.shape[0]
    return tuple(y.shape[1:]) == core.shape and y.dtype == x.dtype
