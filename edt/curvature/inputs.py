"""Arguments shared by the curvature functions, checked."""

from __future__ import annotations

from typing import Any

import torch

from edt.ensemble import Ensemble
from edt.objectives import Objective
from edt.ops.checks import parameters
from edt.tasks.given import objective_of, task_and_networks

__all__ = ["prepare", "signs"]


def prepare(
    task: Any, networks: Any, theta: torch.Tensor | None, task_index: Any
) -> tuple[Objective, torch.Tensor]:
    """(objective, flat parameters) of networks on a task, in either order; parameters on the CPU.

    Args:
        task: an `edt.Task`, ``(x, y)``, a task with losses of its own (`edt.population`), or an
            `edt.objectives.Objective`.
        networks: B networks, on any device: the objective works there.
        theta: flat ``[total]``, default the ensemble's own.
        task_index: int64 ``[B]``, default 0.

    Raises:
        TypeError, ValueError: not an ensemble or task, they do not fit, or parameters are not
            finite.
    """
    task, networks = task_and_networks(task, networks)
    objective = objective_of(task, networks, task_index)
    flat = parameters(networks, theta).detach().cpu().contiguous()
    _finite("networks" if theta is None else "theta", flat, networks)
    return objective, flat


def _finite(name: str, flat: torch.Tensor, networks: Ensemble) -> None:
    """LAPACK's own words for NaN are about ill-conditioned matrices."""
    if bool(torch.isfinite(flat).all()):
        return
    sizes = (networks.offsets[1:] - networks.offsets[:-1]).cpu()
    owner = torch.arange(networks.B).repeat_interleave(sizes)
    bad = torch.unique(owner[~torch.isfinite(flat)]).tolist()
    raise ValueError(
        f"{name} must hold finite parameters, got NaN or Inf in {len(bad)} of {networks.B} "
        f"networks, network {bad[0]} the first; leave out what diverged by networks.select"
    )


def signs(size: int, count: int, seed: int) -> torch.Tensor:
    """Random signs, float64 ``[count, size]``; they depend on nothing else."""
    draw = torch.Generator().manual_seed(int(seed))
    signs = torch.randint(0, 2, (count, size), generator=draw, dtype=torch.int64)
    return (2 * signs - 1).to(torch.float64)
