"""Rosenbrock steps of many networks at once, with exact Hessians."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.flow import rodas5p as method
from edt.flow.shifted import Jacobian
from edt.flow.step import Dynamics, Step, Tolerance
from edt.objectives import Coordinates

__all__ = ["GROWTH", "RosenbrockStep", "growing", "rosenbrock_step"]

#: Largest ``h |lambda|`` for a negative eigenvalue lambda of the Hessian. The method's growth
#: factor follows e^z to 0.2% up to there and has a pole at z = 1/gamma = 4.7, where noise in an
#: unstable direction would be blown up at random.
GROWTH = 1.5


@dataclass
class RosenbrockStep(Step):
    """With the method's own interpolant, of order 4."""

    dense: tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    def inside(self, share: torch.Tensor) -> torch.Tensor:
        s = self.at.spread(share)
        k1, k2, k3 = self.dense
        rest = 1.0 - s
        inner = k1 + s * (k2 + s * k3)
        return rest * self.old + s * (self.new + rest * inner)


def growing(jacobian: Jacobian, chosen: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """Where ``h`` would step too far along a direction of negative curvature, bool ``[b]``.

    Args:
        jacobian: of a list of networks.
        chosen: int64 ``[b]``, places in that list.
        h: float64 ``[b]``.
    """
    return ~jacobian.definite(chosen, GROWTH / h)


def rosenbrock_step(
    dynamics: Dynamics,
    jacobian: Jacobian,
    local: torch.Tensor,
    theta: torch.Tensor,
    grad: torch.Tensor,
    at: Coordinates,
    h: torch.Tensor,
    tolerance: Tolerance,
) -> RosenbrockStep:
    """One trial step of RODAS5P.

    Args:
        dynamics: what flows.
        jacobian: at ``theta``.
        local: int64 ``[b]``, places of the networks of ``at`` in the Jacobian's list.
        theta, grad: flat, before the step.
        at: the networks.
        h: float64 ``[b]``, such that `growing` is false.
        tolerance: of the error.
    """
    old = at.pack(theta)
    spread = at.spread(h)
    factors = jacobian.factor(local, 1.0 / (method.GAMMA * h), at)
    start = dynamics.velocity(grad, at)
    stages: list[torch.Tensor] = []
    for i in range(method.STAGES):
        if i == 0:
            right = start
        else:
            _, _, velocity = dynamics.evaluate(theta, old + _combine(method.A[i], stages), at)
            right = velocity + _combine(method.C[i], stages) / spread
        stages.append(factors.solve(right))
    new = old + _combine(method.M, stages)
    loss, after, _ = dynamics.evaluate(theta, new, at)
    k1, k2, k3 = (_combine(row, stages) for row in method.D)
    return RosenbrockStep(
        at=at,
        h=h,
        old=old,
        new=new,
        error=tolerance.norm(stages[-1], old, new, at),
        loss=loss,
        grad=after,
        calls=torch.full_like(at.chosen, method.STAGES),
        dense=(k1, k2, k3),
    )


def _combine(coefficients: tuple[float, ...], stages: list[torch.Tensor]) -> torch.Tensor:
    # One product and one sum at a time: a fused or blocked sum rounds differently for an entry at
    # the end of a vector than in its middle.
    out = stages[0] * coefficients[0]
    for factor, stage in zip(coefficients[1:], stages[1:], strict=False):
        if factor != 0.0:
            out = out + stage * factor
    return out
