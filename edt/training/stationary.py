"""Newton towards the nearest critical point, saddles included: `converge(escape_saddles=False)`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.curvature.dense import for_each
from edt.curvature.spectrum import groups
from edt.objectives import hessians
from edt.training.damped import Proposal
from edt.training.descent import CONVERGED, DIVERGED, MAX_STEPS, RUNNING, STALLED, Descent
from edt.training.newton import POLISH
from edt.training.progress import Meter
from edt.training.trust_region import Stationary

__all__ = ["stationary"]

#: Shrinks of the radius tried on one Hessian.
TRIES = 8
#: Iterations in which ``|grad|`` must halve.
WINDOW = 20


@dataclass
class StationaryState:
    """One network's progress through the stage."""

    radius: float
    left: int
    polish: int = POLISH
    best: float = float("inf")
    since: int = 0
    failed: bool = False


def stationary(state: Descent, chosen: torch.Tensor, iterations: int, meter: Meter) -> None:
    """Lower ``|grad|`` by trust-region Newton steps until ``max|grad| <= tol``.

    The loss may rise or fall. Start close to a critical point: far from one ``|grad|`` may have
    local minima that are none of the loss.

    Args:
        state: updated in place; ``status`` of the chosen networks is decided.
        chosen: networks to work on.
        iterations: budget of each.
        meter: progress.
    """
    work = chosen[state.status[chosen] == RUNNING]
    if iterations == 0:
        for b in work.tolist():
            state.status[b] = CONVERGED if float(state.grad_max[b]) <= state.tol else MAX_STEPS
        return
    tracks = {b: StationaryState(max(1.0, 0.1 * state.norm(b)), iterations) for b in work.tolist()}
    while work.numel():
        for place in groups(state.coords[work]):
            state.check_time()
            _iterate(state, work[place], tracks)
            closed = int((state.grad_max <= state.tol).sum())
            meter.update(closed, work.numel(), state.loss)
        for b in work.tolist():
            _judge(state, b, tracks[b])
        work = work[state.status[work] == RUNNING]


def _iterate(state: Descent, part: torch.Tensor, tracks: dict[int, StationaryState]) -> None:
    """One Hessian and one accepted step (or none) for each network of ``part``."""
    matrices = hessians(state.objective, state.theta, part)
    jobs = [
        (matrix, state.grad[state.coordinates(b)].clone())
        for b, matrix in zip(part.tolist(), matrices, strict=True)
    ]
    work = 4.0 * float((state.coords[part].to(torch.float64) ** 3).sum())
    models: list[Stationary] = for_each(lambda job: Stationary(*job), jobs, work)
    of = dict(zip(part.tolist(), models, strict=True))
    for b in part.tolist():
        state.newton_iterations[b] += 1
        tracks[b].left -= 1
    pending = part
    for _ in range(TRIES):
        proposals = {b: of[b].propose(tracks[b].radius) for b in pending.tolist()}
        trial = state.theta.clone()
        for b, proposal in proposals.items():
            trial[state.coordinates(b)] += proposal.step
        loss = torch.full_like(state.loss, float("nan"))
        grad = torch.zeros_like(state.theta)
        state.objective.loss_and_grad(trial, loss, grad, state.mask(pending))
        refused = []
        for b, proposal in proposals.items():
            span = slice(int(state.offsets[b]), int(state.offsets[b + 1]))
            if _accept(state, b, proposal, float(loss[b]), grad[span], tracks[b]):
                state.move(b, trial, loss, grad, proposal.length)
            elif not tracks[b].failed:
                refused.append(b)
        if not refused:
            return
        pending = torch.tensor(refused, dtype=torch.int64)
    for b in refused:
        tracks[b].failed = True


def _accept(
    state: Descent, b: int, step: Proposal, loss: float, grad: torch.Tensor, track: StationaryState
) -> bool:
    """Whether ``|grad|`` falls; adapts the radius. ``failed`` ends the tries."""
    span = slice(int(state.offsets[b]), int(state.offsets[b + 1]))
    old = 0.5 * float((state.grad[span].clone() ** 2).sum())
    new = 0.5 * float((grad.clone() ** 2).sum())
    ratio = (old - new) / max(step.predicted, 1e-300) if loss < float("inf") else -1.0
    if float(state.grad_max[b]) <= state.tol and not new < 0.25 * old:
        track.failed = True
        return False
    if not ratio >= 0.25:
        track.radius = 0.25 * step.length
    elif ratio > 0.75 and step.length > 0.9 * track.radius:
        track.radius = 2.0 * track.radius
    return ratio > 1e-4


def _judge(state: Descent, b: int, track: StationaryState) -> None:
    """Decide whether network b is finished, and how."""
    loss, steepest = float(state.loss[b]), float(state.grad_max[b])
    if not (loss < float("inf") and steepest < float("inf")):
        state.status[b] = DIVERGED
    elif steepest <= state.tol:
        track.polish -= 1
        if track.polish < 0 or track.failed or track.left <= 0:
            state.status[b] = CONVERGED
    elif track.failed:
        state.status[b] = STALLED
    elif track.left <= 0:
        state.status[b] = MAX_STEPS
    elif steepest <= 0.5 * track.best:
        track.best, track.since = steepest, 0
    else:
        track.since += 1
        if track.since >= WINDOW:
            state.status[b] = STALLED
