"""Second stage of `converge`: trust-region Newton on exact Hessians, many networks in step."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.curvature.dense import for_each
from edt.curvature.spectrum import groups
from edt.training.descent import (
    CHANNEL,
    CONVERGED,
    DIVERGED,
    MAX_STEPS,
    RUNNING,
    STALLED,
    Descent,
)
from edt.training.progress import Meter
from edt.training.trust_region import GaussNewton, Model, Proposal

#: Shrinks of the radius tried on one Hessian.
TRIES = 8
#: Steps taken below ``tol`` while each still halves the gradient: they cost little where Newton
#: is quadratic, and the verdict is read off a cleaner Hessian.
POLISH = 10
#: Iterations over which a network must make progress: the gradient halved, or the loss lower by
#: a thousandth.
WINDOW = 20
#: Share of the targets' size below which a loss may be on its way to zero.
SMALL_LOSS = 1e-4
#: A Gauss-Newton step must take the loss below this share of itself.
GAUSS_GAIN = 0.7
#: Dampings tried, as powers of the relative loss, the boldest first.
DAMPINGS = (1.0, 0.75, 0.5, 0.25)
#: Parameter norm beyond which a network that still drifts is in a channel to infinity.
CHANNEL_NORM = 1e3
#: A last Newton step longer than this share of the norm is a drift.
DRIFT = 1e-3


def hessians(state: Descent, chosen: torch.Tensor, *, ggn: bool = False) -> list[torch.Tensor]:
    """Exact Hessians ``[P_b, P_b]`` of the chosen networks, each in 64-byte aligned memory.

    With ``ggn`` their Gauss-Newton parts.
    """
    starts = torch.zeros(state.B + 1, dtype=torch.int64)
    sizes = state.coords[chosen]
    rooms = (sizes * sizes + 7) // 8 * 8
    ends = torch.cumsum(rooms, 0)
    starts[chosen] = ends - rooms
    starts[-1] = ends[-1]
    buffer = torch.empty(int(ends[-1]), dtype=torch.float64)
    state.engine.hessian(state.theta, buffer, starts, state.mask(chosen), ggn=ggn)
    return [
        buffer[int(starts[b]) : int(starts[b]) + n * n].view(n, n)
        for b, n in zip(chosen.tolist(), sizes.tolist(), strict=True)
    ]


@dataclass
class Track:
    """One network's progress through the stage."""

    radius: float
    left: int
    polish: int = POLISH
    best_grad: float = float("inf")
    best_loss: float = float("inf")
    since: int = 0
    fails: int = 0
    gauss_wait: int = 0
    gauss_pause: int = 1


def newton(
    state: Descent, chosen: torch.Tensor, iterations: int, stationary: bool, meter: Meter
) -> None:
    """Trust-region Newton for the chosen networks until ``max|grad| <= tol``.

    The step minimises the exact quadratic model in a ball, so negative curvature is followed. A
    step is taken when the loss falls as predicted; where the prediction is below the loss's own
    rounding, when it lowers ``max|grad|`` and leaves the loss as it is to rounding. The loss never
    rises (beyond rounding). With ``stationary`` the aim is ``grad = 0`` instead, at any loss.

    Args:
        state: updated in place; ``status`` of the chosen networks is decided.
        chosen: networks to work on (others are left alone).
        iterations: budget of each network.
        stationary: go to the nearest critical point.
        meter: progress.
    """
    work = chosen[state.status[chosen] == RUNNING]
    if iterations == 0:
        for b in work.tolist():
            state.status[b] = CONVERGED if float(state.grad_max[b]) <= state.tol else MAX_STEPS
        return
    tracks = {b: Track(max(1.0, 0.1 * state.norm(b)), iterations) for b in work.tolist()}
    while work.numel():
        for place in groups(state.coords[work]):
            state.check_time()
            _iterate(state, work[place], tracks, stationary)
            closed = int((state.grad_max <= state.tol).sum())
            meter.update(closed, work.numel(), state.loss)
        for b in work.tolist():
            _judge(state, b, tracks[b])
        work = work[state.status[work] == RUNNING]


def _iterate(
    state: Descent, part: torch.Tensor, tracks: dict[int, Track], stationary: bool
) -> None:
    """One Hessian and one accepted step (or none) for each network of ``part``."""
    models: dict[int, Model] = {}
    for b, hess in zip(part.tolist(), hessians(state, part), strict=True):
        gradient = state.grad[state.coordinates(b)].clone()
        models[b] = Model(hess, gradient, stationary)
        state.newton_iterations[b] += 1
        tracks[b].left -= 1
    pending = part if stationary else _gauss_newton(state, part, models, tracks)
    if not pending.numel():
        return
    for _ in range(TRIES):
        work = 3.0 * float((state.coords[pending].to(torch.float64) ** 3).sum())
        proposals: list[Proposal] = for_each(
            lambda b: models[b].propose(tracks[b].radius), pending.tolist(), work
        )
        trial = state.theta.clone()
        for b, proposal in zip(pending.tolist(), proposals, strict=True):
            trial[state.coordinates(b)] += proposal.step
        loss = torch.full_like(state.loss, float("nan"))
        grad = torch.zeros_like(state.theta)
        state.engine.loss_and_grad(trial, loss, grad, state.mask(pending))
        refused = []
        for b, proposal in zip(pending.tolist(), proposals, strict=True):
            span = slice(int(state.offsets[b]), int(state.offsets[b + 1]))
            accept = _accept_stationary if stationary else _accept
            if accept(state, b, proposal, float(loss[b]), grad[span], tracks[b]):
                _move(state, b, trial, loss, grad, proposal.length)
                tracks[b].fails = 0
            elif tracks[b].fails == 0:
                refused.append(b)
        if not refused:
            return
        pending = torch.tensor(refused, dtype=torch.int64)
    for b in refused:
        tracks[b].fails += 1


def _gauss_newton(
    state: Descent, part: torch.Tensor, models: dict[int, Model], tracks: dict[int, Track]
) -> torch.Tensor:
    """Levenberg-Marquardt steps for networks on their way to zero loss; returns the others.

    Near a valley of zero loss the Hessian is the Gauss-Newton matrix G plus a part as small as
    the residual, of any sign, which spoils Newton's step along the valley. There
    ``p = -(G + mu I)^-1 g`` with ``mu`` vanishing with the loss converges quadratically. It is
    tried only where H is not positive definite and the loss is small, with several dampings at
    the price of one factorisation; the best is kept if the loss falls to `GAUSS_GAIN` of itself.
    After each failure the network waits longer.

    Reference: N. Yamashita, M. Fukushima, "On the rate of convergence of the
    Levenberg-Marquardt method", 2001.
    """
    chosen = []
    for b in part.tolist():
        if not state.small(b, SMALL_LOSS) or models[b].positive:
            continue
        if tracks[b].gauss_wait > 0:
            tracks[b].gauss_wait -= 1
            continue
        chosen.append(b)
    if not chosen:
        return part
    some = torch.tensor(chosen, dtype=torch.int64)
    squares = dict(zip(chosen, hessians(state, some, ggn=True), strict=True))
    systems: list[GaussNewton] = for_each(
        lambda b: GaussNewton(squares[b], models[b].grad, state.relative_loss(b)),
        chosen,
        4.0 * float((state.coords[some].to(torch.float64) ** 3).sum()),
    )
    best = {b: (float(state.loss[b]), 0.0) for b in chosen}
    winner = state.theta.clone()
    for power in DAMPINGS:
        trial = state.theta.clone()
        lengths = []
        for b, system in zip(chosen, systems, strict=True):
            proposal = system.propose(power, max(1.0, tracks[b].radius))
            trial[state.coordinates(b)] += proposal.step
            lengths.append(proposal.length)
        loss = torch.full_like(state.loss, float("nan"))
        state.engine.loss(trial, loss, state.mask(some))
        for b, length in zip(chosen, lengths, strict=True):
            if float(loss[b]) < best[b][0]:
                span = slice(int(state.offsets[b]), int(state.offsets[b + 1]))
                winner[span] = trial[span]
                best[b] = (float(loss[b]), length)
    moved = [b for b in chosen if best[b][0] <= GAUSS_GAIN * float(state.loss[b])]
    for b in chosen:
        if b in moved:
            tracks[b].fails, tracks[b].gauss_pause = 0, 1
        else:
            tracks[b].gauss_wait = tracks[b].gauss_pause
            tracks[b].gauss_pause = min(2 * tracks[b].gauss_pause, 8)
    if moved:
        loss = state.loss.clone()
        grad = torch.zeros_like(state.theta)
        state.engine.loss_and_grad(
            winner, loss, grad, state.mask(torch.tensor(moved, dtype=torch.int64))
        )
        for b in moved:
            _move(state, b, winner, loss, grad, best[b][1])
    return torch.tensor([b for b in part.tolist() if b not in set(moved)], dtype=torch.int64)


def _move(
    state: Descent,
    b: int,
    trial: torch.Tensor,
    loss: torch.Tensor,
    grad: torch.Tensor,
    length: float,
) -> None:
    """Make the trial network b's parameters."""
    span = slice(int(state.offsets[b]), int(state.offsets[b + 1]))
    state.theta[span] = trial[span]
    state.grad[span] = grad[span]
    state.loss[b] = loss[b]
    state.grad_max[b] = grad[span].abs().max()
    state.moving[b] = length / max(state.norm(b), 1e-300)


def _accept(
    state: Descent, b: int, step: Proposal, loss: float, grad: torch.Tensor, track: Track
) -> bool:
    """Whether the trial is better; adapts the radius. ``fails`` > 0 ends the tries."""
    before = float(state.loss[b])
    noise = state.noise(b, before)
    steepest = float(grad.abs().max())
    finite = loss < float("inf") and steepest < float("inf")
    now = float(state.grad_max[b])
    if step.predicted <= 16.0 * noise:
        limit = 0.5 * now if now <= state.tol else now
        if finite and loss <= before + noise and steepest < limit:
            return True
        if now <= state.tol or step.length <= 1e-14 * max(state.norm(b), 1.0):
            track.fails = 1
        track.radius = 0.25 * step.length
        return False
    ratio = (before - loss) / step.predicted if finite else -1.0
    if ratio < 0.25:
        track.radius = 0.25 * step.length
    elif ratio > 0.75 and step.length > 0.9 * track.radius:
        track.radius = 2.0 * track.radius
    return ratio > 1e-4


def _accept_stationary(
    state: Descent, b: int, step: Proposal, loss: float, grad: torch.Tensor, track: Track
) -> bool:
    """As `_accept`, for ``|grad|^2 / 2`` in the place of the loss."""
    span = slice(int(state.offsets[b]), int(state.offsets[b + 1]))
    old = 0.5 * float((state.grad[span].clone() ** 2).sum())
    new = 0.5 * float((grad.clone() ** 2).sum())
    ratio = (old - new) / max(step.predicted, 1e-300) if loss < float("inf") else -1.0
    if float(state.grad_max[b]) <= state.tol and not new < 0.25 * old:
        track.fails = 1
        return False
    if not ratio >= 0.25:
        track.radius = 0.25 * step.length
    elif ratio > 0.75 and step.length > 0.9 * track.radius:
        track.radius = 2.0 * track.radius
    return ratio > 1e-4


def _judge(state: Descent, b: int, track: Track) -> None:
    """Decide whether network b is finished, and how."""
    loss, steepest = float(state.loss[b]), float(state.grad_max[b])
    if not (loss < float("inf") and steepest < float("inf")):
        state.status[b] = DIVERGED
        return
    norm = state.norm(b)
    drifting = norm > CHANNEL_NORM and float(state.moving[b]) > DRIFT
    if steepest <= state.tol:
        track.polish -= 1
        if track.polish < 0 or track.fails or track.left <= 0:
            state.status[b] = CHANNEL if drifting else CONVERGED
        return
    if track.fails:
        state.status[b] = CHANNEL if drifting else STALLED
        return
    if track.left <= 0:
        state.status[b] = CHANNEL if drifting else MAX_STEPS
        return
    if steepest <= 0.5 * track.best_grad or loss <= track.best_loss - 1e-3 * abs(track.best_loss):
        track.best_grad = min(track.best_grad, steepest)
        track.best_loss = min(track.best_loss, loss)
        track.since = 0
        return
    track.since += 1
    if drifting and track.since >= WINDOW // 4:
        state.status[b] = CHANNEL
    elif track.since >= WINDOW:
        state.status[b] = CHANNEL if norm > CHANNEL_NORM else STALLED
