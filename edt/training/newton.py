"""Second stage of `converge`: damped Newton with exact Hessians and geodesic acceleration.

Three things make it reach the bottom of the curved, ill-conditioned valleys of these losses in
tens of steps where a trust region on the quadratic model needs hundreds:

- along negative curvature the step goes away from the saddle (see `edt.training.damped`);
- the damping follows the ratio of actual to predicted decrease, and vanishes where that is 1;
- the straight step p is corrected by the geodesic acceleration ``a = -(M + mu)^-1 b / 2``, b the
  outputs' second derivative along p, pulled back (`edt.ops.cpu.CpuCalls.second_directional`): to
  second order the step follows the curve on which the outputs move straight. Steps whose
  acceleration is not small against them are refused, so the method does not leave the region it
  knows.

Reference: M. Transtrum, J. Sethna, "Improvements to the Levenberg-Marquardt algorithm for
nonlinear least-squares minimization", arXiv 1201.5885 (geodesic acceleration).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from edt.curvature.dense import for_each
from edt.curvature.spectrum import groups
from edt.objectives import hessians
from edt.training.damped import Basis, Proposal
from edt.training.descent import (
    CHANNEL,
    CONVERGED,
    DIVERGED,
    MAX_STEPS,
    RUNNING,
    STALLED,
    Descent,
    Pace,
)
from edt.training.progress import Meter

__all__ = ["newton"]

#: Dampings tried on one matrix; they grow faster than geometrically.
TRIES = 24
#: Steps taken below ``tol`` while each still halves the gradient: they cost little where Newton
#: is quadratic, and the verdict is read off a cleaner Hessian.
POLISH = 10
#: A squared error below this share of the targets' size may be on its way to zero, and is while
#: each step takes it below this share of itself.
ZERO_SOON, FALLING = 1e-8, 0.95
#: First damping, as a share of ||M||, and the least.
FIRST, LEAST = 1e-3, 1e-18
#: Largest ``2 |a| / |p|`` of a step.
BENT = 0.75
#: Outputs are probed at this share of the step, but at least at this distance.
PROBE, REACH = 0.1, 1e-3
#: Iterations over which the gradient must halve or the loss lose a tenth; else the other scaling
#: of the parameters is tried.
PATIENCE = 20
#: Parameter norm beyond which a network that still drifts is in a channel to infinity.
CHANNEL_NORM = 1e3
#: A last step longer than this share of the norm is a drift.
DRIFT = 1e-3
#: Most coordinates of a network that the core decomposes; LAPACK is faster above.
SMALL = 256
#: Iterations of a network in one call of the core.
CHUNK = 25

_DTYPES = {int: torch.int64, float: torch.float64, bool: torch.int8}


@dataclass
class NewtonState:
    """One network's progress through the stage."""

    left: int
    mu: float = -1.0
    growth: float = 2.0
    scaled: bool = False
    polish: int = POLISH
    best_grad: float = float("inf")
    best_loss: float = float("inf")
    last_loss: float = float("inf")
    since: int = 0
    failed: bool = False


def newton(
    state: Descent,
    chosen: torch.Tensor,
    iterations: int,
    meter: Meter,
    *,
    ggn: bool = False,
    switch: float | None = None,
) -> None:
    """Damped Newton for the chosen networks until ``max|grad| <= tol``.

    A step is taken when the loss falls by a share of the prediction; where the prediction is
    below the loss's own rounding, when it lowers ``max|grad|`` and leaves the loss as it is to
    rounding. The loss never rises (beyond rounding).

    Args:
        state: updated in place; ``status`` of the chosen networks is decided.
        chosen: networks to work on (others are left alone).
        iterations: budget of each network.
        meter: progress.
        ggn: use the Gauss-Newton matrix instead of the Hessian: Levenberg-Marquardt.
        switch: stop quietly (status "running") at this gradient instead of deciding.
    """
    work = chosen[state.status[chosen] == RUNNING]
    goal = state.tol if switch is None else max(switch, state.tol)
    if switch is not None:
        work = work[state.grad_max[work] > goal]
    if iterations == 0:
        if switch is None:
            for b in work.tolist():
                state.status[b] = CONVERGED if float(state.grad_max[b]) <= goal else MAX_STEPS
        return
    if switch is None and not ggn and hasattr(state.objective, "newton"):
        small = state.coords[work] <= SMALL
        _compiled(state, work[small], iterations, meter)
        work = work[~small]
    tracks = {b: NewtonState(iterations) for b in work.tolist()}
    while work.numel():
        for place in groups(state.coords[work]):
            state.check_time()
            _iterate(state, work[place], tracks, ggn)
            closed = int((state.grad_max <= state.tol).sum())
            meter.update(closed, work.numel(), state.loss)
        if switch is None:
            for b in work.tolist():
                _judge(state, b, tracks[b])
            work = work[state.status[work] == RUNNING]
        else:
            on = [
                float(state.grad_max[b]) > goal and tracks[b].left > 0 and not tracks[b].failed
                for b in work.tolist()
            ]
            work = work[torch.tensor(on, dtype=torch.bool)]


def _compiled(state: Descent, work: torch.Tensor, iterations: int, meter: Meter) -> None:
    """`newton` in the core, one task a network."""
    rule = {
        "tries": TRIES,
        "patience": PATIENCE,
        "tol": state.tol,
        "first": FIRST,
        "least": LEAST,
        "range": Basis.RANGE,
        "bent": BENT,
        "probe": PROBE,
        "reach": REACH,
        "zero_soon": ZERO_SOON,
        "falling": FALLING,
        "channel_norm": CHANNEL_NORM,
        "drift": DRIFT,
    }
    fresh = asdict(NewtonState(iterations))
    at: dict[str, Any] = {
        name: torch.full((state.B,), value, dtype=_DTYPES[type(value)])
        for name, value in fresh.items()
    }
    at |= {"grad": state.grad, "loss": state.loss, "grad_max": state.grad_max}
    at |= {"moving": state.moving, "iterations": state.newton_iterations, "status": state.status}
    at |= {"scale": state.objective.scale, "budget": CHUNK}
    call: Any = state.objective.newton  # type: ignore[attr-defined]
    pace = Pace()
    while work.numel():
        for part in pace.parts(work):
            state.check_time()
            call(state.theta, state.mask(part), rule, at)
            meter.update(int((state.grad_max <= state.tol).sum()), work.numel(), state.loss)
        work = work[state.status[work] == RUNNING]


def _iterate(state: Descent, part: torch.Tensor, tracks: dict[int, NewtonState], ggn: bool) -> None:
    """One matrix and one accepted step (or none) for each network of ``part``."""
    matrices = dict(
        zip(
            part.tolist(),
            hessians(state.objective, state.theta, part, ggn=ggn),
            strict=True,
        )
    )
    work = 4.0 * float((state.coords[part].to(torch.float64) ** 3).sum())
    found: list[Basis] = for_each(
        lambda b: Basis(matrices[b], state.grad[state.coordinates(b)].clone(), tracks[b].scaled),
        part.tolist(),
        work,
    )
    bases = dict(zip(part.tolist(), found, strict=True))
    for b in part.tolist():
        track = tracks[b]
        track.left -= 1
        state.newton_iterations[b] += 1
        if track.mu < 0.0:
            track.mu = FIRST * bases[b].largest
        track.mu = max(track.mu, LEAST * bases[b].largest)
    pending = part
    for _ in range(TRIES):
        proposals = {b: bases[b].propose(tracks[b].mu) for b in pending.tolist()}
        steps, straight = _bent(state, pending, bases, proposals, tracks)
        trial = state.theta + steps
        loss = torch.full_like(state.loss, float("nan"))
        grad = torch.zeros_like(state.theta)
        if straight:
            known = torch.tensor(straight, dtype=torch.int64)
            state.objective.loss_and_grad(trial, loss, grad, state.mask(known))
        refused = []
        for b in pending.tolist():
            span = slice(int(state.offsets[b]), int(state.offsets[b + 1]))
            proposal, track = proposals[b], tracks[b]
            if b in straight and _accept(state, b, proposal, float(loss[b]), grad[span], track):
                state.move(b, trial, loss, grad, proposal.length)
            elif not track.failed:
                track.mu *= track.growth
                track.growth *= 2.0
                refused.append(b)
        if not refused:
            return
        pending = torch.tensor(refused, dtype=torch.int64)
    for b in refused:
        tracks[b].failed = True


def _bent(
    state: Descent,
    pending: torch.Tensor,
    bases: dict[int, Basis],
    proposals: dict[int, Proposal],
    tracks: dict[int, NewtonState],
) -> tuple[torch.Tensor, list[int]]:
    """Steps with geodesic acceleration, flat, and the networks where it is small enough."""
    steps = torch.zeros_like(state.theta)
    for b in pending.tolist():
        steps[state.coordinates(b)] = proposals[b].step
    second = getattr(state.objective, "second_directional", None)
    if second is None:
        return steps, pending.tolist()
    lengths = torch.tensor([proposals[b].length for b in pending.tolist()], dtype=torch.float64)
    reach = torch.clamp(REACH / lengths.clamp(min=1e-300), min=PROBE)
    # A step of no length has no direction to probe, and nothing to accelerate.
    reach = torch.where(lengths > 1e-150, reach, torch.zeros_like(reach) + 1.0)
    force = torch.zeros_like(state.theta)
    second(state.theta, steps, reach, pending, force)
    good = []
    for b in pending.tolist():
        at = state.coordinates(b)
        turn = -0.5 * bases[b].solve(force[at].clone(), tracks[b].mu)
        size = bases[b].norm(proposals[b].step)
        if 2.0 * bases[b].norm(turn) <= BENT * size or size <= 1e-150:
            steps[at] += turn
            good.append(b)
    return steps, good


def _accept(
    state: Descent, b: int, step: Proposal, loss: float, grad: torch.Tensor, track: NewtonState
) -> bool:
    """Whether the trial is better; lowers the damping if so. ``failed`` ends the tries."""
    before = float(state.loss[b])
    noise = state.noise(b, before)
    steepest = float(grad.abs().max())
    finite = loss < float("inf") and steepest < float("inf")
    now = float(state.grad_max[b])
    if step.predicted <= 16.0 * noise:
        limit = 0.5 * now if now <= state.tol else now
        if finite and loss <= before + noise and steepest < limit:
            track.mu *= 0.1
            track.growth = 2.0
            return True
        if now <= state.tol or step.length <= 1e-14 * max(state.norm(b), 1.0):
            track.failed = True
        return False
    ratio = (before - loss) / step.predicted if finite else -1.0
    if ratio <= 1e-4:
        return False
    track.mu *= _relief(ratio)
    track.growth = 2.0
    return True


def _relief(ratio: float) -> float:
    """Factor on the damping after a step with this ratio of actual to predicted decrease."""
    # Where the model is as good as exact, damping only delays.
    if abs(1.0 - ratio) < 0.01:
        return 1e-2
    return max(0.2, 1.0 - (2.0 * min(ratio, 1.5) - 1.0) ** 3)


def _judge(state: Descent, b: int, track: NewtonState) -> None:
    """Decide whether network b is finished, and how."""
    loss, steepest = float(state.loss[b]), float(state.grad_max[b])
    if not (loss < float("inf") and steepest < float("inf")):
        state.status[b] = DIVERGED
        return
    norm = state.norm(b)
    drifting = norm > CHANNEL_NORM and float(state.moving[b]) > DRIFT
    if steepest <= state.tol:
        # On the way to zero loss, however degenerate: there is nothing to stop for.
        deep = loss <= ZERO_SOON * float(state.objective.scale[b])
        if not (deep and state.objective.squares and loss <= FALLING * track.last_loss):
            track.polish -= 1
        track.last_loss = loss
        if track.polish < 0 or track.failed or track.left <= 0:
            state.status[b] = CHANNEL if drifting else CONVERGED
        return
    if track.failed:
        state.status[b] = CHANNEL if drifting else STALLED
        return
    if track.left <= 0:
        state.status[b] = CHANNEL if norm > CHANNEL_NORM else MAX_STEPS
        return
    if steepest <= 0.5 * track.best_grad or loss <= 0.9 * track.best_loss:
        track.best_grad = min(track.best_grad, steepest)
        track.best_loss = min(track.best_loss, loss)
        track.since = 0
        return
    track.since += 1
    if track.since % PATIENCE == 0:
        track.scaled = not track.scaled
        # Eigenvalues change their unit with the scaling: start the damping afresh.
        track.mu, track.growth = -1.0, 2.0
    if drifting and track.since >= PATIENCE:
        state.status[b] = CHANNEL
