"""Committee machines: sums of relu units with output weights 1, over infinite data.

Safran and Shamir's problem as a task. Its loss is twice their F (`edt.landscape.population`): mse
has no factor 1/2. So gradients and Hessians are twice theirs, and their step 0.1 is ``lr=0.05``.
"""

from __future__ import annotations

import torch

from edt.ensemble import Ensemble
from edt.ensemble.masks import FROZEN
from edt.errors import ShapeError
from edt.infinite.task import PopulationTask
from edt.scalars import integer

__all__ = ["committee", "safran_shamir_task"]


def safran_shamir_task(k: int) -> PopulationTask:
    """The teacher ``sum_{i<=k} relu(x_i)`` over all standard normal inputs x in k dimensions.

    Loss, gradient and Hessian are in closed form. Students are relu networks without biases:
    `committee`, whose output weights stay at 1, or any others.

    Args:
        k: neurons of the teacher and inputs, at least 1.

    Returns:
        `PopulationTask`, for `edt.masked_train`, `edt.converge`, `edt.hessian` and all that takes
        tasks over infinite data.

    Raises:
        ValueError: k is below 1.

    Example:
        >>> students = committee(torch.randn(9, 6, 6, dtype=torch.float64) / 6**0.5)
        >>> edt.converge(safran_shamir_task(6), students)  # doctest: +SKIP

    Reference: I. Safran, O. Shamir, ICML 2018, arXiv 1712.08968.
    """
    return PopulationTask(committee(torch.eye(integer("k", k), dtype=torch.float64)[None]))


def committee(rows: torch.Tensor) -> Ensemble:
    """Networks ``sum_i relu(w_i.x)``: output weights 1 and frozen, no biases.

    Args:
        rows: float64 ``[R, n, d]``, input weights of R networks.

    Returns:
        `Ensemble` of R networks of width n.

    Raises:
        ShapeError: not three-dimensional. TypeError: not float64.
    """
    if rows.dim() != 3:
        raise ShapeError(f"rows must have shape [R, n, d], got {list(rows.shape)}")
    if rows.dtype != torch.float64:
        raise TypeError(f"rows must be float64, got {rows.dtype}")
    runs, n, d = rows.shape
    flat = torch.cat([rows.detach().reshape(runs, n * d), rows.new_ones(runs, n)], dim=1)
    state = torch.ones(runs, n * d + n, dtype=torch.uint8)
    state[:, n * d :] = FROZEN
    return Ensemble(
        [n] * runs, d, 1, activation="relu", bias=False, theta=flat.reshape(-1),
        state=state.reshape(-1),
    )  # fmt: skip
