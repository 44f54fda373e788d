"""What ends a flow, and what is written down on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from edt.flow.state import CONVERGED, MAX_STEPS, MAX_TIME, NORM, RUNNING, TARGET, State
from edt.flow.step import Dynamics, Step
from edt.objectives import Coordinates

__all__ = ["Limits", "record", "settle"]

#: Halvings of the part of a step in which a bound is crossed: to a millionth of the step.
BISECTIONS = 20


@dataclass(frozen=True)
class Limits:
    """Bounds of a run.

    Attributes:
        times: float64 ``[R]`` ascending, when to record.
        max_time: time at which every flow ends.
        max_steps: accepted steps of a network.
        tol: bound on ``max|grad|``.
        loss_target: bound on the loss from below (-inf: none).
        norm_limit: bound on ``|theta|`` over the coordinates (inf: none).
        noise: (losses ``[b]``, networks ``[b]``) -> rounding error of the losses.
    """

    times: torch.Tensor
    max_time: float
    max_steps: int
    tol: float
    loss_target: float
    norm_limit: float
    noise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def settle(
    state: State,
    dynamics: Dynamics,
    limits: Limits,
    networks: torch.Tensor,
    before: State | None = None,
    step: Step | None = None,
) -> State:
    """Decide which of the networks, just moved, have ended.

    A crossing of ``loss_target`` or ``norm_limit`` inside the step is located on its interpolant;
    time and parameters are then those of the crossing. ``tol`` is looked at where steps end: in a
    long stiff step the gradient in between is below what an interpolant resolves.

    Args:
        state: after the step.
        networks: int64, ascending.
        before, step: the state before and the step taken; None at the start.
    """
    running = networks[state.status[networks] == RUNNING]
    if not running.numel():
        return state
    at = Coordinates(dynamics.objective, running)
    crossed = _beyond(state.loss[running], at.norms(at.pack(state.theta)), limits)
    hit = running[crossed]
    if hit.numel():
        if before is not None and step is not None:
            state = _locate(state, dynamics, limits, hit, before, step)
        below = state.loss[hit] <= limits.loss_target
        state = state.put(hit, status=torch.where(below, TARGET, NORM).to(torch.int8))
    rest = running[~crossed]
    code = torch.full_like(rest, RUNNING, dtype=torch.int8)
    code[state.steps[rest] >= limits.max_steps] = MAX_STEPS
    code[state.time[rest] >= limits.max_time] = MAX_TIME
    code[state.grad_max[rest] <= limits.tol] = CONVERGED
    return state.put(rest, status=code)


def record(
    state: State,
    dynamics: Dynamics,
    limits: Limits,
    passed: tuple[State, Step] | None,
    networks: torch.Tensor,
) -> State:
    """Fill the history up to the networks' times.

    Args:
        state: after the step; its history is written to.
        passed: the state before and the step taken; None at the start, where only time 0 is due.
        networks: int64, ascending.
    """
    due = networks
    while due.numel():
        row = state.next_record[due]
        there = row < limits.times.numel()
        due, row = due[there], row[there]
        reached = limits.times[row] <= state.time[due]
        due, row = due[reached], row[reached]
        if not due.numel():
            break
        at = Coordinates(dynamics.objective, due)
        packed = at.pack(state.theta)
        if passed is not None:
            before, step = passed
            packed = _inside(step, before, due, limits.times[row], at)
        loss, grad, _ = dynamics.evaluate(state.theta, packed, at)
        state.history_loss[row, due] = loss
        state.history_grad[row, due] = at.largest(at.pack(grad))
        if state.history_params.numel():
            offsets = dynamics.objective.offsets
            whole = state.theta.clone()
            whole[at.places] = packed
            for b, r in zip(due.tolist(), row.tolist(), strict=True):
                span = slice(int(offsets[b]), int(offsets[b + 1]))
                state.history_params[r, span] = whole[span]
        state = state.put(due, next_record=row + 1)
    return state


def _beyond(loss: torch.Tensor, norm: torch.Tensor, limits: Limits) -> torch.Tensor:
    return (loss <= limits.loss_target) | (norm >= limits.norm_limit)


def _inside(
    step: Step,
    before: State,
    networks: torch.Tensor,
    times: torch.Tensor,
    at: Coordinates,
) -> torch.Tensor:
    """Packed parameters of some networks of the step at these times."""
    h = torch.ones_like(before.time)
    h[step.at.chosen] = step.h
    share = torch.zeros_like(before.time)
    share[networks] = ((times - before.time[networks]) / h[networks]).clamp(0.0, 1.0)
    flat = torch.zeros_like(before.theta)
    flat[step.at.places] = step.inside(share[step.at.chosen])
    return at.pack(flat)


def _locate(
    state: State,
    dynamics: Dynamics,
    limits: Limits,
    hit: torch.Tensor,
    before: State,
    step: Step,
) -> State:
    """Move networks that crossed a bound within the step back to where they crossed it."""
    at = Coordinates(dynamics.objective, hit)
    place = torch.full((before.time.numel(),), -1, dtype=torch.int64)
    place[step.at.chosen] = torch.arange(step.at.chosen.numel())
    local = place[hit]
    low = torch.zeros(hit.numel(), dtype=torch.float64)
    high = torch.ones_like(low)

    def packed(share: torch.Tensor) -> torch.Tensor:
        whole = torch.zeros(step.at.chosen.numel(), dtype=torch.float64)
        whole[local] = share
        flat = torch.zeros_like(before.theta)
        flat[step.at.places] = step.inside(whole)
        return at.pack(flat)

    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        point = packed(middle)
        over = _beyond(dynamics.losses(before.theta, point, at), at.norms(point), limits)
        high = torch.where(over, middle, high)
        low = torch.where(over, low, middle)
    point = packed(high)
    loss, grad, _ = dynamics.evaluate(before.theta, point, at)
    whole = high >= 1.0
    state = state.place(at, theta=point, grad=at.pack(grad))
    return state.put(
        hit,
        loss=loss,
        grad_max=at.largest(at.pack(grad)),
        time=torch.where(whole, state.time[hit], before.time[hit] + high * step.h[local]),
    )
