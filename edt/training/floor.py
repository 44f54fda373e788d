"""How low a squared error can be in float64, and which losses cannot be told from 0."""

from __future__ import annotations

from typing import Any

import torch

from edt.objectives import Coordinates, Objective
from edt.objectives.noise import loss_noise
from edt.training.levenberg import can_levenberg, together

__all__ = ["loss_floor", "zero_losses"]

#: Largest relative error of a number rounded to float64.
ROUNDING = 2.0**-53
#: A loss within so many times its floor, residuals within a hundred times theirs, is 0 to rounding.
#: Of 169 students (widths 4 to 8) that Levenberg-Marquardt took as far as the loss could be seen to
#: fall, half ended within 6 times the floor, nine in ten within 100, the last at 630; one was met
#: at 2,500.
ZERO = 1e4


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


def zero_losses(
    objective: Objective,
    theta: torch.Tensor,
    loss: torch.Tensor,
    chosen: torch.Tensor,
    floor: torch.Tensor | None = None,
) -> torch.Tensor:
    """Which squared losses are 0 as far as double precision can tell.

    ``L <= max(1e4 floor, noise)`` with `loss_floor` and the rounding of the loss itself. There the
    Hessian is its Gauss-Newton part, which has no negative eigenvalue: those that are counted are
    the rounding of residuals that should be 0.

    Args:
        objective: of B networks.
        theta: flat float64; loss: float64 ``[B]`` there.
        chosen: int64, ascending, networks with finite parameters.
        floor: of `loss_floor`, if known.

    Returns:
        bool ``[B]``; False for other networks and losses that are no squared errors.
    """
    zero = torch.zeros(objective.B, dtype=torch.bool)
    if not objective.squares:
        return zero
    known = loss_floor(objective, theta, chosen) if floor is None else floor
    noise = loss_noise(torch.zeros_like(loss), objective.scale)
    own = getattr(objective, "rounding", None)
    noise = noise if own is None else torch.maximum(noise, own)
    below = loss <= torch.maximum(ZERO * torch.nan_to_num(known, nan=0.0), noise)
    zero[chosen] = below[chosen]
    return zero
