"""Masks that change while networks train: when, and what a change does to the state of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from edt.ensemble.masks import PRUNED
from edt.scalars import integer
from edt.training.state import RUNNING, State, Trainer
from edt.training.validation import Watch

__all__ = ["MaskChanges", "MaskUpdate", "mask_changes"]


@runtime_checkable
class MaskUpdate(Protocol):
    """A rule for masks during training; ready-made ones are in `edt.lottery.dynamic`."""

    def at(self, steps: int) -> Sequence[int]:
        """Before which of the steps 0..steps-1 masks change."""

    def __call__(
        self, step: int, steps: int, networks: Any, task: Any, task_index: torch.Tensor
    ) -> torch.Tensor:
        """New states uint8 ``[total]``; those of a network depend on nothing but the network.

        Args:
            step: before which they hold. steps: of the run.
            networks: as they stand, on the CPU.
            task: what they learn, on the CPU. task_index: int64 ``[B]``.
        """


class MaskChanges:
    """The masks of one run.

    Args:
        update: the rule.
        steps: of the run.
        networks: on the device of training.
        task: likewise. task_index: int64 ``[B]``.
        engine: makes a trainer of networks.
    """

    def __init__(
        self,
        update: MaskUpdate,
        steps: int,
        networks: Any,
        task: Any,
        task_index: torch.Tensor,
        engine: Callable[[Any], Trainer],
    ) -> None:
        self._update, self._steps = update, steps
        self._networks, self._task, self._index = networks, task, task_index
        self._engine = engine
        self.steps = frozenset(
            integer("a step of mask_updates", step, 0) for step in update.at(steps)
        )
        self._built = networks.state.clone()

    def ahead(self, reached: int) -> int | None:
        """The next step after ``reached`` before which masks change."""
        return min((step for step in self.steps if reached < step < self._steps), default=None)

    def due(self, state: State) -> bool:
        """Whether masks change before the step that the last chunk ended at, and have not yet."""
        at = state.target
        return state.settled and at in self.steps and state.remasked < at < self._steps

    def apply(self, state: State) -> None:
        """Change the masks of the networks that are running and stand at ``state.target``.

        What is pruned becomes 0, what grows starts at 0, and moments of both do.

        Raises:
            ValueError: the rule returned no states of these networks.
        """
        here = (state.status == RUNNING) & (state.steps == state.target)
        if bool(here.any()):
            assert state.masks is not None
            chosen = torch.nonzero(here).flatten().cpu()
            now = self._networks.with_state(state.masks).with_theta(state.theta)
            mine = now.select(chosen).to(device="cpu")
            task = self._task.to(device="cpu") if hasattr(self._task, "to") else self._task
            found = self._update(state.target, self._steps, mine, task, self._index[chosen])
            if not isinstance(found, torch.Tensor) or found.shape != mine.state.shape:
                raise ValueError(
                    f"mask_updates must return states of shape [{mine.total}], got {found!r:.60}"
                )
            whole_state = state.masks.clone()
            whole_state[now.positions(chosen).to(whole_state.device)] = mine.with_state(
                found
            ).state.to(whole_state.device)
            changed = (whole_state == PRUNED) != (state.masks == PRUNED)
            for flat in (state.theta, state.m, state.v):
                if flat is not None:
                    flat[changed] = 0.0
            state.masks.copy_(whole_state)
        state.remasked = state.target

    def current(self, state: State, engine: Trainer, watch: Watch | None) -> Trainer:
        """The trainer of the masks as they are: the given one while they have not changed."""
        assert state.masks is not None
        if torch.equal(self._built, state.masks):
            return engine
        self._built = state.masks.clone()
        networks = self._networks.with_state(state.masks)
        if watch is not None:
            watch.losses = watch.losses_of(networks)
        return self._engine(networks)


def mask_changes(value: Any) -> MaskUpdate | None:
    """An argument ``mask_updates``.

    Raises:
        TypeError: no rule.
    """
    if value is None:
        return None
    if isinstance(value, type) or not (callable(value) and callable(getattr(value, "at", None))):
        raise TypeError(
            "mask_updates must be a rule as in edt.lottery.dynamic (at(steps) and a call), got "
            f"{value!r:.60}"
        )
    return value  # type: ignore[no-any-return]
