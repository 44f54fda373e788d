"""How much of a loss is rounding."""

from __future__ import annotations

import torch

__all__ = ["loss_noise"]

#: Machine epsilon of float64.
_UNIT = 2.0**-52


def loss_noise(loss: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Rounding error to expect in losses.

    Residuals carry errors of about ``2u |y|``, so the sum of their squares is off by up to
    ``4u (|L| + 2 sqrt(|L| S)) + (4u)^2 S``, S the loss of a zero output.

    Args:
        loss: float64 ``[b]``.
        scale: float64 ``[b]``, S (`Objective.scale`).

    Returns:
        float64 ``[b]``.
    """
    unit = 4.0 * _UNIT
    size = loss.abs()
    return unit * (size + 2.0 * torch.sqrt(size * scale)) + unit * unit * scale
