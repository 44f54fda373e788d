"""More steps after those of a finished run: what the next one takes over, to the bit.

The state between steps is (parameters, moments, step), so that a run of 100 steps and one of 200
that continues it are one run of 200. What ended the first is decided anew by the second, which
may look at other steps.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edt.files import CheckpointError, parsing, read
from edt.training.history import Record
from edt.training.run import CHECKPOINT_NAME, KIND, Settings
from edt.training.state import RUNNING, STOPPED, OptimizerState, State
from edt.training.structure import fingerprint_structure

if TYPE_CHECKING:
    from edt.training.result import TrainResult

__all__ = ["Start", "started"]


@dataclass
class Start:
    """Where an earlier run ended.

    Attributes:
        networks: of a result; None: those of the call, with parameters ``theta``.
        theta: flat.
        optimizer: moments and where the last call of the kernel was to end.
        steps: int64 ``[B]``.
        stopped: bool ``[B]``, ended by a validation loss or by ``on_record``.
        loss, grad_norm: float64 ``[B]``.
        task_index: of a result.
        recorded: what it recorded.
        watched: (steps, losses, best parameters) of a validation.
        best_masks: masks of these.
        seconds: of wall-clock time.
        structure: fingerprint of a checkpoint's networks.
        masks: of a checkpoint, where they changed.
    """

    networks: Any
    theta: torch.Tensor
    optimizer: OptimizerState
    steps: torch.Tensor
    stopped: torch.Tensor
    loss: torch.Tensor
    grad_norm: torch.Tensor
    task_index: torch.Tensor | None
    recorded: Record
    watched: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None
    seconds: float
    structure: str | None = None
    masks: torch.Tensor | None = None
    best_masks: torch.Tensor | None = None

    def networks_of(self, ens: Any) -> Any:
        """The networks of the run, of those the call made.

        Raises:
            CheckpointError: a checkpoint is of others.
        """
        if self.structure is None:
            return ens
        if fingerprint_structure(ens) != self.structure:
            raise CheckpointError("continue_from: the checkpoint is of other networks")
        if self.masks is not None:
            ens = ens.with_state(self.masks)
        return ens.with_theta(self.theta.to(ens.device))

    def check(self, hyper: dict[str, Any], steps: int) -> None:
        """Insist on an optimiser that the moments fit, and on steps to take.

        Raises:
            ValueError: others.
        """
        reached = int(self.steps.max())
        if steps <= reached:
            raise ValueError(
                f"steps counts from the beginning: it must be > {reached}, the steps of "
                f"continue_from, got {steps}"
            )
        mine = _moments(self.optimizer.name, self.optimizer.m is not None)
        wanted = _moments(hyper["optimizer"], hyper["momentum"] != 0.0)
        if wanted not in (mine, "none"):
            raise ValueError(
                f"optimizer: continue_from has moments of {mine}, this call needs {wanted}"
            )

    def fill(self, state: State, settings: Settings, keep_stopped: bool) -> None:
        """Take over what the run goes on with.

        Args:
            state: fresh; changed in place.
            settings: of the new run, its watch included.
            keep_stopped: whether networks that were stopped from outside stay so.
        """
        own = self.optimizer
        for name, moment in (("m", own.m), ("v", own.v)):
            mine = getattr(state, name)
            if mine is not None and moment is not None:
                mine.copy_(moment)
        state.steps.copy_(self.steps)
        state.loss.copy_(self.loss)
        state.grad_norm.copy_(self.grad_norm)
        if keep_stopped:
            state.status[self.stopped.to(state.status.device)] = STOPPED
        state.seconds, state.heard, state.remasked = self.seconds, own.heard, own.remasked
        running = state.steps[state.status == RUNNING]
        first = int(running.min()) if running.numel() else int(state.steps.max())
        state.settled = own.settled
        state.target = min(own.target, first) if own.settled else own.target
        self._history(state, settings)
        if settings.watch is not None and self.watched is not None:
            settings.watch.continue_from(*self.watched, state.steps, self.best_masks)

    def _history(self, state: State, settings: Settings) -> None:
        """Rows of steps that both runs record."""
        record, old = settings.rule.record.cpu(), self.recorded
        at = {int(step): row for row, step in enumerate(old.at.tolist())}
        for row, step in enumerate(record.tolist()):
            if step in at:
                state.history_loss[row] = old.loss[at[step]]
                state.history_grad[row] = old.grad_norm[at[step]]
                if state.history_params is not None and old.params is not None:
                    state.history_params[row] = old.params[at[step]]
            if state.history_params is not None:
                here = (state.steps == step).repeat_interleave(
                    settings.sizes.to(state.theta.device)
                )
                state.history_params[row, here] = state.theta[here]


def started(continue_from: Any, networks: Any) -> Start | None:
    """What an argument ``continue_from`` names, or None.

    Args:
        continue_from: a `TrainResult`, or the directory of a checkpoint.
        networks: argument of the call.

    Raises:
        TypeError: neither. ValueError: a result that lacks its optimiser's state, or networks
            given beside it. CheckpointError: no readable checkpoint.
    """
    if continue_from is None:
        return None
    if isinstance(continue_from, (str, os.PathLike)):
        return _of_checkpoint(Path(continue_from))
    if not all(hasattr(continue_from, name) for name in ("optimizer", "recorded", "networks")):
        raise TypeError(
            "continue_from must be a TrainResult or the directory of a checkpoint, got "
            f"{type(continue_from).__name__}"
        )
    if networks is not None:
        raise ValueError("continue_from has networks of its own, networks must not be given")
    return _of_result(continue_from)


def _of_result(result: TrainResult) -> Start:
    if result.optimizer is None:
        raise ValueError("continue_from has no optimiser's state: it was made before edt kept it")
    validation = result.validation
    watched = None
    if validation is not None:
        watched = (validation.steps, validation.losses, validation.best.theta)
    return Start(
        networks=result.networks,
        theta=result.networks.theta,
        optimizer=result.optimizer,
        steps=result.steps,
        stopped=torch.tensor([status == "stopped" for status in result.status]),
        loss=result.loss,
        grad_norm=result.grad_norm,
        task_index=result.task_index,
        recorded=result.recorded,
        watched=watched,
        seconds=result.seconds,
        best_masks=None if validation is None else validation.best.state,
    )


def _of_checkpoint(folder: Path) -> Start:
    path = folder / CHECKPOINT_NAME
    tensors, header = read(path, KIND)
    with parsing(path):
        rows = {name: tensors[f"history_{name}"] for name in ("loss", "grad")}
        at = tensors.get("record", torch.zeros(0, dtype=torch.int64))
        params = tensors.get("history_params")
        watched = None
        if "validation.steps" in tensors:
            names = ("validation.steps", "validation.history", "validation.theta")
            first, second, third = (tensors[name] for name in names)
            watched = (first, second, third)
        return Start(
            networks=None,
            theta=tensors["theta"],
            optimizer=OptimizerState(
                str(header["specification"]["optimizer"]),
                tensors.get("m"),
                tensors.get("v"),
                int(header["target"]),
                bool(header["settled"]),
                int(header.get("heard", header["target"])),
                int(header.get("remasked", -1)),
            ),
            steps=tensors["steps"],
            stopped=tensors["status"] == STOPPED,
            loss=tensors["loss"],
            grad_norm=tensors["grad_norm"],
            task_index=None,
            recorded=Record("step", at, rows["loss"], rows["grad"], params),
            watched=watched,
            seconds=float(header["seconds"]),
            structure=str(header["specification"]["networks"]),
            masks=tensors.get("masks"),
            best_masks=tensors.get("validation.masks"),
        )


def _moments(optimizer: str, momentum: bool) -> str:
    if optimizer in ("adam", "adamw"):
        return "adam"
    return "sgd with momentum" if momentum else "none"
