"""What a stepper is asked for and what it gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from edt.objectives import Coordinates, Objective

__all__ = ["Dynamics", "Step", "Tolerance"]


@dataclass(frozen=True)
class Tolerance:
    """Error allowed per step: ``atol + rtol |theta_i|`` in every coordinate."""

    rtol: float
    atol: float

    def norm(
        self, error: torch.Tensor, old: torch.Tensor, new: torch.Tensor, at: Coordinates
    ) -> torch.Tensor:
        """Root mean square of the error in units of what is allowed, ``[n] -> [b]``.

        0 without coordinates; NaN where something is not finite.
        """
        scale = self.atol + self.rtol * torch.maximum(old.abs(), new.abs())
        share = error / scale
        return torch.sqrt(at.dots(share, share) / at.sizes.clamp(min=1))


class Dynamics:
    """``d theta / dt = -R grad L(theta)``, R = diag(rate), packed.

    Args:
        objective: of B networks.
        rates: flat ``[total]`` > 0, or None for 1.
    """

    def __init__(self, objective: Objective, rates: torch.Tensor | None) -> None:
        self.objective = objective
        self.rates = rates
        self.roots = None if rates is None else torch.sqrt(rates)

    def velocity(self, grad: torch.Tensor, at: Coordinates) -> torch.Tensor:
        """``-R grad`` of the chosen networks, flat -> packed."""
        packed = at.pack(grad)
        return -packed if self.rates is None else -(packed * at.pack(self.rates))

    def evaluate(
        self,
        theta: torch.Tensor,
        packed: torch.Tensor,
        at: Coordinates,
        running: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Loss ``[b]``, gradient (flat) and velocity (packed) with ``packed`` in ``theta``.

        Where ``running`` (bool ``[b]``) is False nothing is computed: NaN and 0.
        """
        trial = theta.clone()
        trial[at.places] = packed
        loss = torch.full((self.objective.B,), float("nan"), dtype=torch.float64)
        grad = torch.zeros_like(theta)
        active = at.active
        if running is not None:
            active = active.clone()
            active[at.chosen[~running]] = 0
        self.objective.loss_and_grad(trial, loss, grad, active)
        return loss[at.chosen], grad, self.velocity(grad, at)

    def losses(self, theta: torch.Tensor, packed: torch.Tensor, at: Coordinates) -> torch.Tensor:
        """Loss ``[b]`` with ``packed`` in ``theta``."""
        trial = theta.clone()
        trial[at.places] = packed
        loss = torch.full((self.objective.B,), float("nan"), dtype=torch.float64)
        self.objective.loss(trial, loss, at.active)
        return loss[at.chosen]


@dataclass
class Step(ABC):
    """One trial step of some networks, of length ``h`` ``[b]`` each.

    Attributes:
        at: the networks.
        h: float64 ``[b]``.
        old, new: packed, before and after.
        error: float64 ``[b]``, error relative to what is allowed (NaN: not finite).
        loss: float64 ``[b]`` after.
        grad: flat, after.
        calls: int64 ``[b]``, gradients evaluated.
    """

    at: Coordinates
    h: torch.Tensor
    old: torch.Tensor
    new: torch.Tensor
    error: torch.Tensor
    loss: torch.Tensor
    grad: torch.Tensor
    calls: torch.Tensor

    @abstractmethod
    def inside(self, share: torch.Tensor) -> torch.Tensor:
        """Packed parameters after ``share`` ``[b]`` (0 to 1) of the step."""
