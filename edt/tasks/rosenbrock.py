"""The modified Rosenbrock target."""

from __future__ import annotations

import math

import numpy as np
import torch

from edt.ensemble.deviates import exact_log
from edt.scalars import integer
from edt.tasks.inputs import make_inputs
from edt.tasks.task import Task

__all__ = ["rosenbrock"]


def rosenbrock(points: int = 101, *, dtype: torch.dtype = torch.float64) -> Task:
    """A smooth two-dimensional target that no small network fits exactly.

    ``log10(3 (x_2 + 1 - x_1^2)^2 + (1 - x_1)^2 + 0.1)`` on a regular grid of ``points^2`` points on
    [-sqrt 3, sqrt 3]^2, standardised to mean 0 and variance 1 over the grid. Loss mse; the same
    bits on every machine.

    Args:
        points: per axis; 101 gives the 10,201 points of the reference.
        dtype: of the task.

    Returns:
        `Task` with x ``[points^2, 2]`` and y ``[points^2, 1]``; ``info`` holds the "mean" and
        "std" taken out of y.

    Raises:
        TypeError: not an integer. ValueError: fewer than 2 points, or another dtype.

    Example:
        >>> rosenbrock()
        Task(rosenbrock: 10,201 samples, 2 -> 1, mse, float64)

    Reference: arXiv 2506.14951 (NeurIPS 2025).
    """
    points = integer("points", points, 2)
    x = make_inputs("grid", points**2, 2)
    x1, x2 = x[:, 0].numpy(), x[:, 1].numpy()
    valley = x2 + 1.0 - x1 * x1
    away = 1.0 - x1
    y = exact_log(3.0 * (valley * valley) + away * away + 0.1) / np.float64(math.log(10.0))
    mean = math.fsum(y) / y.size
    centred = y - mean
    std = math.sqrt(math.fsum(centred * centred) / y.size)
    target = torch.from_numpy(centred / std)[:, None]
    info = {"mean": mean, "std": std}
    return Task(x, target, "mse", name="rosenbrock", info=info).to(dtype)
