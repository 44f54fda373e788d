"""Where every flow of a run stands: what a checkpoint holds and a resumed run starts from."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from edt.flow.radius import starting_vector
from edt.objectives import Coordinates, Objective

__all__ = ["STATUS", "State"]

RUNNING, CONVERGED, TARGET, NORM, MAX_TIME, MAX_STEPS, STALLED, DIVERGED = range(8)
#: Names by code; "running" becomes "interrupted" in a result.
STATUS = (
    "running",
    "converged",
    "target",
    "norm",
    "max_time",
    "max_steps",
    "stalled",
    "diverged",
)


@dataclass(frozen=True)
class State:
    """B flows between two sweeps. Tensors are replaced, never changed in place, except the
    history, whose entries are final once written.

    Attributes:
        theta, grad: flat ``[total]``.
        loss, grad_max, time: float64 ``[B]``.
        h: float64 ``[B]``, the next step.
        h_before, error_before: float64 ``[B]``, of the last accepted step, 0 at the start.
        refused: bool ``[B]``, the last try was refused.
        status: int8 ``[B]``.
        steps, refusals, gradients, products, hessians: int64 ``[B]``, what was done so far.
        stiffness, age, guess: explicit flows only: largest curvature, float64 ``[B]``, accepted
            steps since it was estimated, int64 ``[B]``, and its direction, flat.
        next_record: int64 ``[B]``, next entry of the history.
        history_loss, history_grad: float64 ``[R, B]``; history_params: ``[R, total]`` or empty.
    """

    theta: torch.Tensor
    grad: torch.Tensor
    loss: torch.Tensor
    grad_max: torch.Tensor
    time: torch.Tensor
    h: torch.Tensor
    h_before: torch.Tensor
    error_before: torch.Tensor
    refused: torch.Tensor
    status: torch.Tensor
    steps: torch.Tensor
    refusals: torch.Tensor
    gradients: torch.Tensor
    products: torch.Tensor
    hessians: torch.Tensor
    stiffness: torch.Tensor
    age: torch.Tensor
    guess: torch.Tensor
    next_record: torch.Tensor
    history_loss: torch.Tensor
    history_grad: torch.Tensor
    history_params: torch.Tensor

    @classmethod
    def start(
        cls, objective: Objective, theta: torch.Tensor, records: int, record_params: bool
    ) -> State:
        """The beginning, before anything is evaluated."""
        networks = objective.B
        zero = torch.zeros(networks, dtype=torch.float64)
        none = torch.zeros(networks, dtype=torch.int64)
        nan = float("nan")
        everyone = Coordinates(objective, torch.arange(networks))
        guess = torch.zeros_like(theta)
        guess[everyone.places] = starting_vector(everyone.sizes)
        rows = records if record_params else 0
        return cls(
            theta=theta.detach().clone().contiguous(),
            grad=torch.zeros_like(theta),
            loss=torch.full_like(zero, nan),
            grad_max=torch.full_like(zero, nan),
            time=zero,
            h=zero.clone(),
            h_before=zero.clone(),
            error_before=zero.clone(),
            refused=torch.zeros(networks, dtype=torch.bool),
            status=torch.zeros(networks, dtype=torch.int8),
            steps=none,
            refusals=none.clone(),
            gradients=none.clone(),
            products=none.clone(),
            hessians=none.clone(),
            stiffness=torch.full_like(zero, nan),
            age=none.clone(),
            guess=guess,
            next_record=none.clone(),
            history_loss=torch.full((records, networks), nan, dtype=torch.float64),
            history_grad=torch.full((records, networks), nan, dtype=torch.float64),
            history_params=torch.full((rows, theta.numel()), nan, dtype=theta.dtype),
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def put(self, networks: torch.Tensor, **values: Any) -> State:
        """A new state in which these networks' entries ``[B]`` have these values."""
        changed = {}
        for name, value in values.items():
            tensor = getattr(self, name).clone()
            tensor[networks] = value
            changed[name] = tensor
        return replace(self, **changed)

    def place(self, at: Coordinates, **packed: torch.Tensor) -> State:
        """A new state in which these flat tensors hold packed values at the coordinates."""
        changed = {}
        for name, value in packed.items():
            tensor = getattr(self, name).clone()
            tensor[at.places] = value
            changed[name] = tensor
        return replace(self, **changed)
