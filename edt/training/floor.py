"""How low a squared error can be in float64: what rounding the parameters alone makes of it."""

from __future__ import annotations

from typing import Any

import torch

from edt.objectives import Coordinates, Objective
from edt.training.levenberg import can_levenberg, together

__all__ = ["loss_floor"]

#: Largest relative error of a number rounded to float64.
ROUNDING = 2.0**-53


def loss_floor(objective: Objective, theta: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The loss that rounding makes of 0, to first order and within a small factor.

        floor = u^2 (sum_p theta_p^2 |J_p|^2 + S),     u = 2^-53

    with J the Jacobian of the residuals and S the loss of a zero output: every parameter and every
    target off by u of its size, independently. Two neurons with output weights 1e5 and -1e5 that
    nearly cancel have a floor of about 1e-22; ordinary networks one of 1e-31.

    Args:
        objective: of B networks.
        theta: flat float64.
        chosen: int64, ascending, networks with finite parameters.

    Returns:
        float64 ``[B]``; NaN for other networks and where no Jacobian can be formed.
    """
    out = torch.full((objective.B,), float("nan"), dtype=torch.float64)
    able: Any = objective
    for part in together(objective, chosen[can_levenberg(objective)[chosen]]):
        both, at = able.jacobians(theta, part), Coordinates(objective, part)
        packed = at.pack(theta)
        for k, columns in enumerate(both):
            moved = ((columns[:, :-1] ** 2).sum(0) * at.part(packed, k) ** 2).sum()
            out[part[k]] = ROUNDING**2 * (moved + objective.scale[part[k]])
    return out
