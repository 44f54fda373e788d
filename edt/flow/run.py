"""The loop of `gradient_flow`: sweeps in which every running network takes one accepted step.

Networks differ in time and step size; what they share is only that their kernels run together.
Each sweep is a pure function of the state, so that an interrupted run can be resumed from its
last state and ends with the same bits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from edt.curvature.spectrum import groups
from edt.flow import chebyshev, radius, rkc2, rodas5p
from edt.flow.events import Limits, record, settle
from edt.flow.rosenbrock import growing, rosenbrock_step
from edt.flow.shifted import Jacobian
from edt.flow.state import DIVERGED, RUNNING, STALLED, State
from edt.flow.step import Dynamics, Step, Tolerance
from edt.flow.step_size import adapted, first_step
from edt.objectives import Coordinates
from edt.training import checkpoint
from edt.training.progress import Meter

__all__ = ["KIND", "Settings", "restore", "run", "start"]

KIND = "flow-checkpoint"
#: Step sizes tried on one Hessian.
TRIES = 8
#: Accepted steps between two estimates of the largest curvature (explicit flows).
ESTIMATE_EVERY = 25
#: Halvings of a step that goes too far along negative curvature: enough for any two floats.
HALVINGS = 2200
#: Explicit flows: coordinates handled together (the stages hold some ten vectors of them).
TOGETHER = 4_000_000


@dataclass(frozen=True)
class Settings:
    """Everything fixed during a run.

    Attributes:
        dynamics, tolerance, limits: what flows, how accurately, until when.
        implicit: bool ``[B]``, Rosenbrock (True) or Chebyshev.
        specification: identifies the run in its checkpoint.
        max_seconds, checkpoint_file, checkpoint_every, progress: as in `gradient_flow`.
    """

    dynamics: Dynamics
    tolerance: Tolerance
    limits: Limits
    implicit: torch.Tensor
    specification: dict[str, Any]
    max_seconds: float | None
    checkpoint_file: Path | None
    checkpoint_every: float
    progress: bool


def start(state: State, settings: Settings) -> State:
    """Evaluate the beginning, record it, and choose the first steps."""
    objective = settings.dynamics.objective
    everyone = Coordinates(objective, torch.arange(objective.B))
    loss, grad, _ = settings.dynamics.evaluate(state.theta, everyone.pack(state.theta), everyone)
    steepest = everyone.largest(everyone.pack(grad))
    state = replace(state, loss=loss, grad=grad, grad_max=steepest)
    state = state.put(everyone.chosen, gradients=1)
    broken = torch.nonzero(~(torch.isfinite(loss) & torch.isfinite(steepest))).flatten()
    state = state.put(broken, status=DIVERGED)
    state = settle(state, settings.dynamics, settings.limits, everyone.chosen)
    state = record(state, settings.dynamics, settings.limits, None, everyone.chosen)
    for kind, order in ((True, rodas5p.ORDER), (False, rkc2.ORDER + 1)):
        chosen = torch.nonzero((state.status == RUNNING) & (settings.implicit == kind)).flatten()
        if chosen.numel():
            at = Coordinates(objective, chosen)
            h = first_step(
                settings.dynamics, state.theta, state.grad, at, settings.tolerance, order
            )
            state = state.put(chosen, h=h, products=state.products[chosen] + 1)
    return state


def run(state: State, settings: Settings) -> tuple[State, bool, float]:
    """Integrate until every flow has ended; returns (state, interrupted, seconds).

    Ctrl-C and ``max_seconds`` end it early; where there is a checkpoint directory, a checkpoint of
    the last whole sweep is left.
    """
    began = saved = time.monotonic()
    interrupted = False
    file = settings.checkpoint_file

    def save() -> None:
        if file is not None:
            checkpoint.write(file, KIND, state.tensors(), {"specification": settings.specification})

    with Meter(settings.progress, "flow", settings.dynamics.objective.B) as meter:
        try:
            while bool((state.status == RUNNING).any()):
                for part in _parts(state, settings):
                    now = time.monotonic()
                    if settings.max_seconds is not None and now - began >= settings.max_seconds:
                        interrupted = True
                        break
                    state = _sweep(state, settings, part)
                if interrupted:
                    break
                left = int((state.status == RUNNING).sum())
                meter.update(settings.dynamics.objective.B - left, left, state.loss, _note(state))
                if time.monotonic() - saved >= settings.checkpoint_every:
                    save()
                    saved = time.monotonic()
        except KeyboardInterrupt:
            interrupted = True
    save()
    return state, interrupted, time.monotonic() - began


def restore(path: Path, state: State, specification: dict[str, Any]) -> State:
    """The state of a checkpoint of the same run.

    Raises:
        CheckpointError: unreadable, or of another run: the message lists what differs.
    """
    tensors, header = checkpoint.read(path, KIND)
    with checkpoint.parsing(path):
        wrong = checkpoint.differences(header.get("specification", {}), specification)
    if wrong:
        raise checkpoint.CheckpointError(
            f"{path}: belongs to another run ({'; '.join(wrong)}); give another checkpoint "
            "directory, or resume=False to overwrite it"
        )
    for name, tensor in state.tensors().items():
        stored = tensors.get(name)
        if stored is None or stored.shape != tensor.shape or stored.dtype != tensor.dtype:
            raise checkpoint.CheckpointError(
                f"{path}: tensor {name!r} is missing or of the wrong shape; delete the file to "
                "start afresh"
            )
    return replace(state, **{name: tensors[name] for name in state.tensors()})


def _note(state: State) -> str:
    times = state.time[state.status == RUNNING]
    if not times.numel():
        return ""
    return f"time {float(times.min()):.1e} to {float(times.max()):.1e}"


def _parts(state: State, settings: Settings) -> list[tuple[bool, torch.Tensor]]:
    """Running networks, in shares whose matrices or vectors fit in memory together."""
    coords = settings.dynamics.objective.coords
    running = state.status == RUNNING
    out = []
    implicit = torch.nonzero(running & settings.implicit).flatten()
    out += [(True, implicit[place]) for place in groups(coords[implicit])]
    explicit = torch.nonzero(running & ~settings.implicit).flatten()
    if explicit.numel():
        share = torch.cumsum(coords[explicit], 0) // TOGETHER
        parts = (explicit[share == k] for k in range(int(share[-1]) + 1))
        out += [(False, part) for part in parts if part.numel()]
    return out


def _sweep(state: State, settings: Settings, part: tuple[bool, torch.Tensor]) -> State:
    """One accepted step, or `TRIES` refused ones, for each of the networks."""
    implicit, chosen = part
    objective = settings.dynamics.objective
    jacobian = None
    if implicit:
        jacobian = Jacobian(objective, state.theta, chosen, settings.dynamics.roots)
        state = state.put(chosen, hessians=state.hessians[chosen] + 1)
    pending = torch.arange(chosen.numel())
    for _ in range(TRIES):
        if jacobian is None:
            state, step = _explicit(state, settings, chosen[pending])
        else:
            state, step = _implicit(state, settings, jacobian, chosen, pending)
        state, accepted = _judge(state, settings, step, implicit)
        state = _weed(state, chosen[pending])
        running = state.status[chosen[pending]] == RUNNING
        pending = pending[~accepted & running]
        if not pending.numel():
            break
    return state


def _clipped(state: State, settings: Settings, chosen: torch.Tensor) -> torch.Tensor:
    """The next step of each network, cut at the end of time."""
    return torch.minimum(state.h[chosen], settings.limits.max_time - state.time[chosen])


def _implicit(
    state: State,
    settings: Settings,
    jacobian: Jacobian,
    chosen: torch.Tensor,
    pending: torch.Tensor,
) -> tuple[State, Step]:
    h = _clipped(state, settings, chosen[pending])
    fast = torch.arange(pending.numel())
    for _ in range(HALVINGS):
        fast = fast[growing(jacobian, pending[fast], h[fast])]
        if not fast.numel():
            break
        h[fast] = 0.5 * h[fast]
    at = Coordinates(settings.dynamics.objective, chosen[pending])
    step = rosenbrock_step(
        settings.dynamics,
        jacobian,
        pending,
        state.theta,
        state.grad,
        at,
        h,
        settings.tolerance,
    )
    return state, step


def _explicit(state: State, settings: Settings, chosen: torch.Tensor) -> tuple[State, Step]:
    dynamics = settings.dynamics
    old = (state.age[chosen] >= ESTIMATE_EVERY) | state.refused[chosen]
    due = chosen[old | torch.isnan(state.stiffness[chosen])]
    if due.numel():
        some = Coordinates(dynamics.objective, due)
        found, ritz, calls = radius.stiffness(dynamics, state.theta, some.pack(state.guess), some)
        state = state.place(some, guess=ritz)
        state = state.put(due, stiffness=found, age=0, products=state.products[due] + calls)
    at = Coordinates(dynamics.objective, chosen)
    stiff = state.stiffness[chosen].clamp(min=0.0)
    longest = rkc2.reach(rkc2.MAX_STAGES) / stiff.clamp(min=1e-300)
    h = torch.minimum(_clipped(state, settings, chosen), longest)
    stages = [rkc2.stages_for(z) for z in (h * stiff).nan_to_num(0.0).tolist()]
    step = chebyshev.chebyshev_step(
        dynamics,
        state.theta,
        state.grad,
        at,
        h,
        torch.tensor(stages, dtype=torch.int64),
        settings.tolerance,
    )
    return state, step


def _judge(
    state: State, settings: Settings, step: Step, implicit: bool
) -> tuple[State, torch.Tensor]:
    """Take the steps that are accurate and do not climb; adapt all step sizes."""
    chosen = step.at.chosen
    order = rodas5p.ORDER if implicit else rkc2.ORDER + 1
    error = torch.where(torch.isfinite(step.loss), step.error, float("nan"))
    # The loss of a gradient flow falls. A step may pass the tolerance and still climb, out of a
    # narrow valley; it is refused as if its error were 2^q times too large.
    climbs = step.loss > state.loss[chosen] + settings.limits.noise(state.loss[chosen], chosen)
    error = torch.where(climbs, error.clamp(min=2.0**order), error)
    accepted = error <= 1.0
    h = adapted(
        step.h,
        error,
        state.h_before[chosen],
        state.error_before[chosen],
        accepted,
        state.refused[chosen],
        order,
    )
    before = state
    state = state.put(
        chosen,
        h=h,
        refused=~accepted,
        gradients=state.gradients[chosen] + step.calls,
        refusals=state.refusals[chosen] + (~accepted).to(torch.int64),
    )
    took = torch.nonzero(accepted).flatten()
    if not took.numel():
        return state, accepted
    networks = chosen[took]
    moved = Coordinates(settings.dynamics.objective, networks)
    flat = torch.zeros_like(state.theta)
    flat[step.at.places] = step.new
    state = state.place(moved, theta=moved.pack(flat), grad=moved.pack(step.grad))
    end = state.time[networks] + step.h[took]
    last = step.h[took] >= settings.limits.max_time - state.time[networks]
    state = state.put(
        networks,
        loss=step.loss[took],
        grad_max=moved.largest(moved.pack(step.grad)),
        time=torch.where(last, settings.limits.max_time, end),
        h_before=step.h[took],
        error_before=error[took],
        steps=state.steps[networks] + 1,
        age=state.age[networks] + 1,
    )
    state = settle(state, settings.dynamics, settings.limits, networks, before, step)
    return record(state, settings.dynamics, settings.limits, (before, step), networks), accepted


def _weed(state: State, chosen: torch.Tensor) -> State:
    """Give up on networks whose step has become too short to change their time."""
    tiny = state.h[chosen] < 4.0 * 2.0**-52 * state.time[chosen].clamp(min=1e-300)
    stuck = chosen[tiny & (state.status[chosen] == RUNNING)]
    return state.put(stuck, status=STALLED) if stuck.numel() else state
