"""`TaskSum`: several tasks at once, their losses added."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from edt.objectives.total import SumObjective
from edt.scalars import number
from edt.tasks.given import as_task, moves, task_of

__all__ = ["TaskSum"]


class TaskSum:
    """``L_b = sum_k w_k L_bk``: what networks learn is the weighted sum of several tasks.

    Training (full batches), minima, flows and curvature take it as any task; losses may differ
    from task to task. Outputs, which belong to one task each, are not there.

    Args:
        tasks: of any kind that the networks take: `edt.Task`, ``(x, y)``, `edt.ModuleTask`.
        weights: finite numbers >= 0; default 1 each.

    Raises:
        TypeError, ValueError: no tasks, or other weights than one a task.

    Example:
        >>> ens = edt.Ensemble.init([3], [0], d_in=2, d_out=1)
        >>> x, y = torch.randn(8, 2).double(), torch.randn(8, 1).double()
        >>> both = TaskSum([(x, y), (x, -y)], [0.5, 0.5])
        >>> bool(edt.loss(both, ens) >= edt.loss((x, 0 * y), ens))
        True
    """

    T = 1
    loss = "sum"

    def __init__(self, tasks: Sequence[Any], weights: Sequence[float] | None = None) -> None:
        if not isinstance(tasks, (list, tuple)) or not tasks:
            raise TypeError(f"tasks must be a list of at least one task, got {tasks!r:.60}")
        given = [1.0] * len(tasks) if weights is None else list(weights)
        if len(given) != len(tasks):
            raise ValueError(f"weights must be one a task ({len(tasks)}), got {len(given)}")
        self.tasks = [as_task(task, f"tasks[{k}]") for k, task in enumerate(tasks)]
        self.weights = [number(f"weights[{k}]", weight) for k, weight in enumerate(given)]

    @property
    def moves(self) -> bool:
        """Whether all tasks follow their networks; see `edt.tasks.given.moves`."""
        return all(moves(task) for task in self.tasks)

    @property
    def device(self) -> torch.device:
        """Where the first of the tasks lies."""
        here: torch.device = getattr(self.tasks[0], "device", torch.device("cpu"))
        return here

    def objective(self, networks: Any, task_index: torch.Tensor | None = None) -> SumObjective:
        """The summed losses of networks; ``task_index`` is for all tasks alike."""
        found = [task_of(task, networks) for task in self.tasks]
        return SumObjective([task.objective(networks, task_index) for task in found], self.weights)

    def to(self, dtype: torch.dtype | None = None, *, device: Any = None) -> TaskSum:
        """The same in a dtype and on a device."""
        return TaskSum([task.to(dtype, device=device) for task in self.tasks], self.weights)

    def fingerprint(self) -> str:
        """Identifies tasks and weights in checkpoints."""
        mark = hashlib.sha256(repr(self.weights).encode())
        for task in self.tasks:
            mark.update(task.fingerprint().encode())
        return f"sum/{mark.hexdigest()[:32]}"

    def __repr__(self) -> str:
        parts = " + ".join(
            f"{weight:g} {task!r}" for weight, task in zip(self.weights, self.tasks, strict=True)
        )
        return f"TaskSum({parts})"
