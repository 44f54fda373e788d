"""Watching a validation loss during training: the best parameters so far, and when to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from edt.ensemble import Ensemble
from edt.training.state import RUNNING, STOPPED, State, Trainer

if TYPE_CHECKING:
    import xarray as xr


@dataclass
class Validation:
    """What watching a validation loss found.

    Attributes:
        best: the networks at their least validation loss.
        loss: float64 ``[B]``, that loss.
        step: int64 ``[B]``, the step it was met at.
        steps: int64 ``[R]``, the steps it was evaluated at.
        losses: float64 ``[R, B]``, what it was there; NaN after a network's end.
    """

    best: Ensemble
    loss: torch.Tensor
    step: torch.Tensor
    steps: torch.Tensor
    losses: torch.Tensor

    @cached_property
    def history(self) -> xr.DataArray:
        """``losses`` over (step, network)."""
        import xarray as xr

        return xr.DataArray(
            self.losses.numpy(),
            dims=("step", "network"),
            coords={"step": self.steps.numpy(), "network": range(self.loss.numel())},
            name="validation_loss",
        )


class Watch:
    """Evaluates the validation loss at every k-th step, keeps the best, stops the hopeless.

    Args:
        ens: the networks.
        losses_of: makes what evaluates networks on the validation data, on their device.
        steps: optimiser steps of the run.
        every: k.
        patience: stop a network after this many evaluations without a new least loss; None:
            never.
    """

    def __init__(
        self,
        ens: Ensemble,
        losses_of: Callable[[Any], Trainer],
        steps: int,
        every: int,
        patience: int | None,
    ) -> None:
        self.losses_of, self.losses = losses_of, losses_of(ens)
        #: Masks of the best parameters, where they change.
        self.best_state: torch.Tensor | None = None
        self._sizes = (ens.offsets[1:] - ens.offsets[:-1]).to(ens.device)
        self.patience = patience
        self.steps = torch.tensor(sorted({*range(0, steps + 1, every), steps}))
        nan = float("nan")
        self.best_theta = ens.theta.detach().clone()
        self.best_loss = ens.theta.new_full((ens.B,), float("inf"), dtype=torch.float64)
        self.best_step = torch.zeros(ens.B, dtype=torch.int64, device=ens.device)
        self.since = torch.zeros(ens.B, dtype=torch.int64, device=ens.device)
        self.history = ens.theta.new_full((self.steps.numel(), ens.B), nan, dtype=torch.float64)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a checkpoint must hold, by name."""
        named = {
            "validation.theta": self.best_theta,
            "validation.loss": self.best_loss,
            "validation.step": self.best_step,
            "validation.since": self.since,
            "validation.history": self.history,
        }
        if self.best_state is not None:
            named["validation.masks"] = self.best_state
        return named

    def ahead(self, reached: int, before: bool) -> int | None:
        """The next step to evaluate at: ``reached`` itself only if nothing was done there yet."""
        later = self.steps[self.steps >= reached] if before else self.steps[self.steps > reached]
        return int(later[0]) if later.numel() else None

    def look(self, state: State, target: int) -> None:
        """Evaluate the networks that stand at ``target``, if it is a step to do so.

        Args:
            state: of the run; networks that stop early are marked in place.
            target: step.
        """
        theta, steps, status = state.theta, state.steps, state.status
        row = torch.nonzero(self.steps == target).flatten()
        if not row.numel():
            return
        # A network is looked at once a step, also where a run goes on from there.
        here = (steps == target) & self.history[int(row[0])].isnan()
        active = here.to(torch.uint8)
        loss = torch.full_like(self.best_loss, float("nan"))
        self.losses.loss(theta, loss, active)
        self.history[int(row[0]), here] = loss[here]
        better = here & (loss < self.best_loss)
        wide = better.repeat_interleave(self._sizes)
        self.best_theta[wide] = theta[wide]
        if state.masks is not None and self.best_state is not None:
            self.best_state[wide] = state.masks[wide]
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best_step = torch.where(better, steps, self.best_step)
        self.since = torch.where(better, 0, self.since + here.to(torch.int64))
        if self.patience is not None:
            status[here & (status == RUNNING) & (self.since >= self.patience)] = STOPPED

    def continue_from(
        self,
        steps: torch.Tensor,
        losses: torch.Tensor,
        best: torch.Tensor,
        reached: torch.Tensor,
        masks: torch.Tensor | None,
    ) -> None:
        """Take over what an earlier run found at the steps of both.

        Args:
            steps: int64 ``[R]``, where it looked. losses: ``[R, B]``.
            best: ``[total]``, its parameters of the least loss.
            reached: int64 ``[B]``, steps its networks took.
            masks: of its best parameters, where they change.

        Raises:
            ValueError: it found the least loss at a step that this run does not look at.
        """
        where = self.best_step.device
        rows = {int(step): row for row, step in enumerate(steps.tolist())}
        losses = losses.to(where)
        for row, step in enumerate(self.steps.tolist()):
            if step not in rows:
                continue
            loss = losses[rows[step]]
            here = (step <= reached.to(where)) & ~loss.isnan()
            self.history[row, here] = loss[here]
            better = here & (loss < self.best_loss)
            self.best_loss = torch.where(better, loss, self.best_loss)
            self.best_step = torch.where(better, step, self.best_step)
            self.since = torch.where(better, 0, self.since + here.to(torch.int64))
        least = losses.nan_to_num(float("inf")).amin(0) if len(rows) else self.best_loss
        missed = torch.nonzero(least < self.best_loss).flatten().tolist()
        if missed:
            raise ValueError(
                f"validate_every: continue_from found the least loss of network {missed[0]} at a "
                "step that this run does not look at; let it divide the steps of that run"
            )
        self.best_theta.copy_(best)
        if self.best_state is not None and masks is not None:
            self.best_state.copy_(masks)

    def result(self, networks: Ensemble) -> Validation:
        """What was found, on the CPU; ``networks`` (there too) gives the structure."""
        if self.best_state is not None:
            networks = networks.with_state(self.best_state.cpu())
        return Validation(
            best=networks.with_theta(self.best_theta.cpu()),
            loss=self.best_loss.cpu(),
            step=self.best_step.cpu(),
            steps=self.steps,
            losses=self.history.cpu(),
        )
