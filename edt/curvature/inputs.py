"""Arguments shared by the curvature functions, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edt.ensemble import Ensemble
from edt.ensemble.arrays import integers
from edt.objectives import Objective, objective_of
from edt.ops.checks import parameters, problem_of
from edt.ops.own import owns

__all__ = ["check_ensemble", "prepare", "probes", "which_network", "whole"]


def prepare(
    ens: Any, task: Any, theta: torch.Tensor | None, task_index: Any
) -> tuple[Objective, torch.Tensor]:
    """(objective, flat parameters) of an ensemble on a task; the parameters on the CPU.

    Args:
        ens: B networks, on any device: the objective works there.
        task: an `edt.Task`, or a task with an objective of its own (`edt.population`).
        theta: flat ``[total]``, default the ensemble's own.
        task_index: int64 ``[B]``, default 0.

    Raises:
        TypeError, ValueError: not an ensemble or task, they do not fit, or parameters are not
            finite.
    """
    check_ensemble(ens, task)
    if owns(task):
        index = torch.zeros(int(ens.B), dtype=torch.int64)
        if task_index is not None:
            index = integers("task_index", task_index).expand(int(ens.B)).clone()
    else:
        found = problem_of(ens, task, task_index).task_index
        index = torch.zeros(int(ens.B), dtype=torch.int64) if found is None else found.cpu()
    flat = parameters(ens, theta).detach().cpu().contiguous()
    _finite("ens" if theta is None else "theta", flat, ens)
    return objective_of(ens, task, index), flat


def check_ensemble(ens: Any, task: Any = None) -> None:
    """Insist on an ensemble.

    Raises:
        TypeError: something else; says so where the task came first.
    """
    if not isinstance(ens, Ensemble):
        hint = "; the networks come first, then the task" if isinstance(task, Ensemble) else ""
        raise TypeError(f"ens must be an edt.Ensemble, got {type(ens).__name__}{hint}")


def which_network(ens: Ensemble, network: Any, name: str = "network") -> int:
    """The place of one network; ``name`` is the argument's.

    Raises:
        TypeError: not an integer. IndexError: no such network.
    """
    if isinstance(network, bool) or not isinstance(network, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {network!r}")
    if not 0 <= network < ens.B:
        raise IndexError(f"{name} must be in 0..{ens.B - 1}, got {network}")
    return int(network)


def _finite(name: str, flat: torch.Tensor, ens: Ensemble) -> None:
    """LAPACK's own words for NaN are about ill-conditioned matrices."""
    if bool(torch.isfinite(flat).all()):
        return
    sizes = (ens.offsets[1:] - ens.offsets[:-1]).cpu()
    owner = torch.arange(ens.B).repeat_interleave(sizes)
    bad = torch.unique(owner[~torch.isfinite(flat)]).tolist()
    raise ValueError(
        f"{name} must hold finite parameters, got NaN or Inf in {len(bad)} of {ens.B} networks, "
        f"network {bad[0]} the first; leave out what diverged by ens.select"
    )


def whole(name: str, value: Any, least: int = 1) -> int:
    """An integer of at least ``least``.

    Raises:
        TypeError: not an integer. ValueError: too small.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer >= {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
    return int(value)


def probes(size: int, count: int, seed: int) -> torch.Tensor:
    """Random signs, float64 ``[count, size]``; they depend on nothing else."""
    draw = torch.Generator().manual_seed(int(seed))
    signs = torch.randint(0, 2, (count, size), generator=draw, dtype=torch.int64)
    return (2 * signs - 1).to(torch.float64)
