"""What a caller does at recorded steps: `on_record`, and the stops it asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from edt.training.state import RUNNING, STOPPED, State, Trainer

__all__ = ["Listener", "OnRecord", "listener"]

#: (step, networks, losses) -> None, or what to stop: True for all, or bools ``[B]``.
OnRecord = Callable[[int, Any, torch.Tensor], "bool | torch.Tensor | None"]


def listener(on_record: Any, networks: Any, record: torch.Tensor) -> Listener | None:
    """The listener of an argument ``on_record``, or None where there is none.

    Raises:
        TypeError: neither a function nor a sequence of functions. ValueError: nothing is recorded.
    """
    if on_record is None:
        return None
    functions = list(on_record) if isinstance(on_record, Sequence) else [on_record]
    for function in functions:
        if not callable(function) or isinstance(function, type):
            raise TypeError(
                "on_record must be a function (step, networks, losses) or a sequence of such, got "
                f"{function!r:.60}"
            )
    if not functions:
        return None
    if not record.numel():
        raise ValueError("on_record is called at recorded steps, and record names none")
    return Listener(functions, networks, record)


class Listener:
    """Calls the functions of ``on_record`` with copies: what they do changes no bit of the run.

    Args:
        functions: called in this order.
        networks: on the device of training.
        record: int64 ``[R]``, steps, ascending.
    """

    def __init__(self, functions: list[OnRecord], networks: Any, record: torch.Tensor) -> None:
        self._functions, self._networks = functions, networks
        self._steps = frozenset(record.tolist())

    def due(self, state: State) -> bool:
        """Whether the last chunk ended at a recorded step that was not reported yet."""
        return (
            state.settled
            and state.heard < state.target
            and state.target in self._steps
            and bool((state.steps == state.target).any())
        )

    def report(self, engine: Trainer, state: State) -> None:
        """Call the functions for the networks at ``state.target``, and stop those named.

        Raises:
            TypeError, ValueError: what a function returned is no stop.
        """
        here = state.steps == state.target
        losses = state.loss.clone()
        engine.loss(state.theta, losses, here.to(torch.uint8))
        engine.wait()
        stop = torch.zeros_like(here)
        for function in self._functions:
            masked = self._networks
            if state.masks is not None:
                masked = masked.with_state(state.masks)
            networks = masked.with_theta(state.theta)
            answer = function(state.target, networks, losses.clone())
            stop |= _stops(answer, here)
        stop &= state.status == RUNNING
        state.status[stop] = STOPPED
        state.loss[stop] = losses[stop]
        state.heard = state.target


def _stops(answer: Any, like: torch.Tensor) -> torch.Tensor:
    """bool ``[B]``, which networks an answer stops."""
    if answer is None or isinstance(answer, (bool, np.bool_)):
        return torch.full_like(like, bool(answer))
    if isinstance(answer, (torch.Tensor, np.ndarray, list, tuple)):
        stops = torch.as_tensor(answer, device=like.device)
        if stops.dtype == torch.bool and stops.shape == like.shape:
            return stops
        given = f"{str(stops.dtype).removeprefix('torch.')} of shape {list(stops.shape)}"
        raise ValueError(f"on_record must return bools of shape {list(like.shape)}, got {given}")
    raise TypeError(
        "on_record must return None, a bool (True: stop all) or one bool a network, got "
        f"{answer!r:.60}"
    )
