"""What callers give as task and networks, in either order, made a task and an ensemble."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import torch

from edt.ensemble import ModuleEnsemble
from edt.ensemble.kinds import Networks, as_networks, is_networks
from edt.errors import ShapeError
from edt.objectives.protocol import Objective
from edt.ops.checks import task_index_of
from edt.tasks.module_task import ModuleTask
from edt.tasks.task import Task

__all__ = [
    "as_task", "check_sizes", "fitted", "index_of", "moves", "objective_of", "samples_of",
    "task_and_networks",
]  # fmt: skip


class Bound:
    """An `edt.objectives.Objective` as a task: it is of certain networks already.

    Args:
        objective: of B networks, float64.
    """

    dtype = torch.float64
    device = torch.device("cpu")
    T = 1

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.loss = "mse" if objective.squares else "other"
        self._name = f"{type(objective).__name__}/{uuid4().hex}"

    def objective(self, networks: Networks, task_index: torch.Tensor | None = None) -> Objective:
        """The objective.

        Raises:
            ValueError: it is of other networks.
        """
        mine = self._objective
        if networks.B != mine.B or not torch.equal(networks.offsets, mine.offsets):
            raise ValueError(
                f"networks must be the {mine.B} networks of the objective, with "
                f"{int(mine.offsets[-1])} parameters, got {networks.B} with {networks.total}"
            )
        if not torch.equal((networks.state == 1).cpu(), mine.trainable):
            raise ValueError("networks must have the trainable parameters of the objective")
        return mine

    def fingerprint(self) -> str:
        """A name no other run has: checkpoints of this one serve no other process."""
        return self._name

    def to(self, dtype: torch.dtype | None = None, *, device: Any = None) -> Bound:
        """Itself.

        Raises:
            ValueError: another dtype or device is asked for.
        """
        stays("an objective", dtype, device)
        return self


def stays(what: str, dtype: torch.dtype | None, device: Any) -> None:
    """Insist on float64 on the CPU, where some tasks are computed only.

    Raises:
        ValueError: something else.
    """
    where = torch.device("cpu") if device is None else torch.device(device)
    if where.type != "cpu" or dtype not in (None, torch.float64):
        raise ValueError(
            f"{what} is computed on the CPU in float64: use device='cpu' and dtype=torch.float64, "
            f"got {dtype or torch.float64} on {where}"
        )


def moves(task: Any) -> bool:
    """Whether a task's losses are computed where networks are and in their dtype.

    A task says so by an attribute ``moves``; without one it is computed on the CPU in float64.
    """
    return bool(getattr(task, "moves", False))


def as_task(task: Any, name: str = "task") -> Any:
    """A task as it is (anything with ``objective(networks, task_index)``), or made one.

    Args:
        task: a task, ``(x [N, d_in], y [N, d_out])``, or an `edt.objectives.Objective`.
        name: of the argument.

    Raises:
        TypeError: none of these.
    """
    if callable(getattr(task, "objective", None)):
        return task
    if isinstance(task, (tuple, list)) and len(task) == 2:
        return Task(task[0], task[1])
    if isinstance(task, Objective):
        return Bound(task)
    raise TypeError(f"{name} must be an edt.Task or a pair (x, y), got {type(task).__name__}")


def samples_of(task: Any, name: str = "task") -> Task:
    """A task that is made of samples, as it is or of a pair (x, y).

    Raises:
        TypeError: another task, or none.
    """
    made: Task = as_task(task, name)
    if not hasattr(made, "variance"):
        raise TypeError(f"{name} must be an edt.Task or a pair (x, y), got {type(made).__name__}")
    return made


def task_and_networks(task: Any, networks: Any) -> tuple[Any, Any]:
    """(task, networks), given in this order or in the other.

    Raises:
        TypeError: no ensemble, or no task, among them.
    """
    if is_networks(task) and not is_networks(networks):
        task, networks = networks, task
    if not is_networks(networks) and isinstance(networks, Task):
        networks = task
    found = as_networks(networks)
    return task_of(task, found), found


def task_of(task: Any, networks: Networks, name: str = "task") -> Any:
    """A task as networks of this kind take it; see `as_task`."""
    if isinstance(networks, ModuleEnsemble) and isinstance(task, (Task, tuple, list)):
        return ModuleTask.of(task)
    return as_task(task, name)


def check_sizes(task: Any, networks: Networks, name: str = "task") -> None:
    """Insist on a task with as many inputs and outputs as networks have, where both say them.

    Raises:
        ShapeError: other numbers.
    """
    for size in ("d_in", "d_out"):
        mine, other = getattr(networks, size, None), getattr(task, size, None)
        if mine is not None and other is not None and mine != other:
            wanted = " and ".join(f"{one}={getattr(networks, one)}" for one in ("d_in", "d_out"))
            raise ShapeError(
                f"{name} must have {wanted} like the networks, got d_in={task.d_in} and "
                f"d_out={task.d_out}"
            )


def fitted(task: Any, networks: Networks, device: torch.device, name: str = "task") -> Any:
    """The task in the networks' dtype and on a device, checked to fit them.

    Raises:
        ShapeError: other numbers of inputs or outputs. ValueError: it cannot be there, or does not
            fit for its own reasons.
    """
    check_sizes(task, networks, name)
    out = task.to(networks.dtype, device=device) if hasattr(task, "to") else task
    # Raises where depth or activation do not fit.
    out.objective(networks.to(device=device), None)
    return out


def index_of(task: Any, networks: Networks, task_index: Any) -> torch.Tensor:
    """Which target each network has, int64 ``[B]`` on the CPU; None: the first.

    Raises:
        TypeError, ValueError: not such indices.
    """
    if task_index is None:
        return torch.zeros(networks.B, dtype=torch.int64)
    here = task_index.detach().cpu() if isinstance(task_index, torch.Tensor) else task_index
    return task_index_of(here, networks.B, getattr(task, "T", 1)).clone().contiguous()


def objective_of(task: Any, networks: Any, task_index: Any = None) -> Objective:
    """The losses of networks on a task; both in either order.

    Args:
        task, networks: as in `edt.loss`.
        task_index: int64 ``[B]``.

    Raises:
        TypeError, ValueError: they do not fit each other.
    """
    task, networks = task_and_networks(task, networks)
    found: Objective = task.objective(networks, index_of(task, networks, task_index))
    return found
