"""Runge-Kutta-Chebyshev steps of many networks at once: no Hessian, stable for stiff flows."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.flow import rkc2 as method
from edt.flow.step import Dynamics, Step, Tolerance
from edt.objectives import Coordinates

__all__ = ["ChebyshevStep", "chebyshev_step"]


@dataclass
class ChebyshevStep(Step):
    """Interpolated by the cubic that matches values and velocities at both ends."""

    velocities: tuple[torch.Tensor, torch.Tensor]

    def inside(self, share: torch.Tensor) -> torch.Tensor:
        s, h = self.at.spread(share), self.at.spread(self.h)
        first, last = self.velocities
        rest = 1.0 - s
        jump = self.new - self.old
        cubic = rest * (h * first - jump) + s * (jump - h * last)
        return rest * self.old + s * self.new + s * rest * cubic


def chebyshev_step(
    dynamics: Dynamics,
    theta: torch.Tensor,
    grad: torch.Tensor,
    at: Coordinates,
    h: torch.Tensor,
    stages: torch.Tensor,
    tolerance: Tolerance,
) -> ChebyshevStep:
    """One trial step of RKC2; a network takes its own number of stages.

    Args:
        dynamics: what flows.
        theta, grad: flat, before the step.
        at: the networks.
        h: float64 ``[b]``.
        stages: int64 ``[b]``, at least 2.
        tolerance: of the error.
    """
    old = at.pack(theta)
    spread = at.spread(h)
    start = dynamics.velocity(grad, at)
    last = int(stages.max())
    table = torch.zeros(4, last + 1, stages.numel(), dtype=torch.float64)
    for k, count in enumerate(stages.tolist()):
        c = method.table(count)
        rows = torch.tensor([c.mu, c.nu, c.mu_tilde, c.gamma_tilde], dtype=torch.float64)
        table[:, : count + 1, k] = rows
    before = old
    now = old + at.spread(table[2, 1]) * spread * start
    for j in range(2, last + 1):
        running = stages >= j
        _, _, velocity = dynamics.evaluate(theta, now, at, running)
        mu, nu, mu_tilde, gamma_tilde = (at.spread(table[row, j]) for row in range(4))
        after = (1.0 - mu - nu) * old
        after = after + mu * now
        after = after + nu * before
        after = after + mu_tilde * spread * velocity
        after = after + gamma_tilde * spread * start
        keep = at.spread(running)
        before, now = torch.where(keep, now, before), torch.where(keep, after, now)
    loss, slope, end = dynamics.evaluate(theta, now, at)
    error = 0.8 * (old - now) + 0.4 * spread * (start + end)
    return ChebyshevStep(
        at=at,
        h=h,
        old=old,
        new=now,
        error=tolerance.norm(error, old, now, at),
        loss=loss,
        grad=slope,
        calls=stages.clone(),
        velocities=(start, end),
    )
