"""Step sizes: how large the first one is, and how they follow the error."""

from __future__ import annotations

import torch

from edt.flow.step import Dynamics, Tolerance
from edt.objectives import Coordinates

__all__ = ["adapted", "first_step"]

#: A step aims at this share of the error allowed.
SAFETY = 0.9
#: A step is at most this much longer or shorter than the one before.
LONGER, SHORTER = 6.0, 0.2


def _power(base: torch.Tensor, exponent: float) -> torch.Tensor:
    # torch.pow rounds differently at the end of a vector than in its middle; exp and log do not.
    return torch.exp(exponent * torch.log(base.clamp(min=1e-30, max=1e30)))


def adapted(
    h: torch.Tensor,
    error: torch.Tensor,
    h_before: torch.Tensor,
    error_before: torch.Tensor,
    accepted: torch.Tensor,
    after_refusal: torch.Tensor,
    order: int,
) -> torch.Tensor:
    """Length of the next step.

    After an accepted step the smaller of the classical proposal ``h (1/e)^(1/q)`` and the
    predictive one, which extrapolates how the error constant changed over the last two steps.

    Args:
        h, error: of the step just tried, float64 ``[b]``; NaN or inf counts as far too long.
        h_before, error_before: of the last accepted step; 0 where there is none.
        accepted: bool ``[b]``.
        after_refusal: bool ``[b]``, the try before this one was refused: do not grow yet.
        order: q, the power of h in the error estimate.

    Reference: K. Gustafsson, "Control-theoretic techniques for stepsize selection in implicit
    Runge-Kutta methods", ACM TOMS 20 (1994).
    """
    known = torch.where(torch.isfinite(error), error, torch.full_like(error, 1e30))
    factor = SAFETY * _power(known, -1.0 / order)
    seen = h_before > 0.0
    ratio = h / torch.where(seen, h_before, h)
    change = _power(torch.where(seen, error_before, known).clamp(min=1e-2), 1.0 / order)
    change = change * _power(known.clamp(min=1e-30), -1.0 / order)
    predicted = SAFETY * ratio * change * _power(known, -1.0 / order)
    factor = torch.where(accepted & seen, torch.minimum(factor, predicted), factor)
    highest = torch.where(after_refusal | ~accepted, 1.0, LONGER)
    factor = torch.minimum(factor.clamp(min=SHORTER), highest)
    return h * torch.where(torch.isfinite(error), factor, torch.full_like(factor, 0.1))


def first_step(
    dynamics: Dynamics,
    theta: torch.Tensor,
    grad: torch.Tensor,
    at: Coordinates,
    tolerance: Tolerance,
    order: int,
) -> torch.Tensor:
    """A first step that moves about a hundredth of the tolerance's scale; float64 ``[b]``.

    From ``|theta|``, ``|theta'|`` and the exact ``theta'' = R H R grad L``.

    Reference: E. Hairer, S. Norsett, G. Wanner, "Solving ODEs I", II.4.
    """
    packed = at.pack(theta)
    velocity = dynamics.velocity(grad, at)
    flat = torch.zeros(1, theta.numel(), dtype=theta.dtype)
    flat[0, at.places] = velocity
    out = torch.zeros_like(flat)
    dynamics.objective.hvp(theta, flat, out, at.active)
    acceleration = dynamics.velocity(out[0], at)
    size, speed, turn = (
        tolerance.norm(values, packed, packed, at) for values in (packed, velocity, acceleration)
    )
    plain = torch.where((size > 1e-5) & (speed > 1e-5), 0.01 * size / speed.clamp(min=1e-300), 1e-6)
    steepest = torch.maximum(speed, turn)
    curved = torch.where(
        steepest > 1e-15, _power(0.01 / steepest.clamp(min=1e-28), 1.0 / order), plain * 1e-3
    )
    h = torch.minimum(100.0 * plain, curved)
    return torch.where(torch.isfinite(h) & (h > 0.0), h, torch.full_like(h, 1e-6))
