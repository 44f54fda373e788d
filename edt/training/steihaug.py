"""Trust-region Newton by conjugate gradients, for networks whose Hessian is too large to form."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.objectives import Coordinates
from edt.training.descent import CONVERGED, DIVERGED, MAX_STEPS, RUNNING, STALLED, Descent
from edt.training.progress import Meter

__all__ = ["steihaug"]

#: Conjugate-gradient steps of one Newton step: at most this many times P, and this many.
INNER, INNER_MOST = 2, 1000
#: Shrinks of the radius before a network counts as stalled.
SHRINKS = 40
#: Newton steps taken below ``tol`` while each still halves the gradient.
POLISH = 3


@dataclass
class _Steps:
    """One Newton step of some networks.

    Attributes:
        step: packed.
        predicted: float64 ``[b]``, decrease of the quadratic model.
        length: float64 ``[b]``.
        at_edge: bool ``[b]``, the step ends at the trust region's edge.
    """

    step: torch.Tensor
    predicted: torch.Tensor
    length: torch.Tensor
    at_edge: torch.Tensor


def steihaug(state: Descent, chosen: torch.Tensor, iterations: int, meter: Meter) -> None:
    """Truncated Newton for the chosen networks until ``max|grad| <= tol``.

    ``H p = -g`` is solved by conjugate gradients to a relative residual of ``min(1/4,
    sqrt(|g| / |g_0|))`` (superlinear convergence), and left at the edge of the trust region along
    the first direction of negative curvature met. All networks make their products together. The
    loss never rises beyond its rounding.

    Args:
        state: updated in place; ``status`` of the chosen networks is decided.
        chosen: networks to work on.
        iterations: budget of Newton steps of each.
        meter: progress.

    Reference: T. Steihaug, "The conjugate gradient method and trust regions in large scale
    optimization", SIAM J. Numer. Anal. 20 (1983).
    """
    work = chosen[state.status[chosen] == RUNNING]
    if iterations == 0:
        reached = state.grad_max[work] <= state.tol
        state.status[work] = torch.where(reached, CONVERGED, MAX_STEPS).to(torch.int8)
        return
    left = torch.full((state.B,), iterations, dtype=torch.int64)
    polish = torch.full((state.B,), POLISH, dtype=torch.int64)
    shrinks = torch.zeros(state.B, dtype=torch.int64)
    radius = torch.ones(state.B, dtype=torch.float64)
    first = torch.zeros(state.B, dtype=torch.float64)
    for b in work.tolist():
        radius[b] = max(1.0, 0.1 * state.norm(b))
    while work.numel():
        state.check_time()
        at = Coordinates(state.objective, work)
        grad = at.pack(state.grad)
        size = at.norms(grad)
        first[work] = torch.where(first[work] == 0.0, size, first[work])
        forcing = torch.sqrt(size / first[work].clamp(min=1e-300)).clamp(max=0.25)
        found = _conjugate_gradients(state, at, grad, radius[work], forcing)
        accepted, shrunk = _try(state, at, found, radius)
        state.newton_iterations[work] += 1
        left[work] -= 1
        shrinks[work] = torch.where(accepted, 0, shrinks[work] + shrunk.to(torch.int64))
        _judge(state, work, accepted, left, polish, shrinks)
        meter.update(int((state.grad_max <= state.tol).sum()), work.numel(), state.loss)
        work = work[state.status[work] == RUNNING]


def _conjugate_gradients(
    state: Descent,
    at: Coordinates,
    grad: torch.Tensor,
    radius: torch.Tensor,
    forcing: torch.Tensor,
) -> _Steps:
    """Minimise ``g.p + p.H p / 2`` in balls, all networks in step."""
    step = torch.zeros_like(grad)
    image = torch.zeros_like(grad)
    rest = grad.clone()
    way = -grad
    square = at.dots(rest, rest)
    goal = (forcing * forcing) * square
    edge = torch.zeros(at.chosen.numel(), dtype=torch.bool)
    most = torch.clamp(INNER * at.sizes, max=INNER_MOST)
    running = square > 0.0
    for k in range(int(most.max())):
        running = running & (k < most)
        if not bool(running.any()):
            break
        product = _product(state, at, way, running)
        curve = at.dots(way, product)
        length = at.dots(way, way)
        # Curvature within the rounding of the product counts as none.
        bent = ~(curve > 1e-14 * at.norms(product) * torch.sqrt(length))
        share = torch.where(bent, 0.0, square / curve.masked_fill(bent, 1.0))
        trial = step + at.spread(share) * way
        outside = at.norms(trial) >= radius
        leaves = running & (bent | outside)
        if bool(leaves.any()):
            reach = _to_edge(at, step, way, radius)
            share = torch.where(leaves, reach, share)
        move = at.spread(torch.where(running, share, torch.zeros_like(share)))
        step = step + move * way
        image = image + move * product
        rest = rest + move * product
        edge = edge | leaves
        after = at.dots(rest, rest)
        beta = torch.where(running, after / square.clamp(min=1e-300), 0.0)
        running = running & ~leaves & (after > goal)
        way = torch.where(at.spread(running), -rest + at.spread(beta) * way, way)
        square = torch.where(running, after, square)
    predicted = -(at.dots(grad, step) + 0.5 * at.dots(step, image))
    return _Steps(step, predicted, at.norms(step), edge)


def _to_edge(
    at: Coordinates, step: torch.Tensor, way: torch.Tensor, radius: torch.Tensor
) -> torch.Tensor:
    """t >= 0 with ``|step + t way| = radius``."""
    a, b = at.dots(way, way), at.dots(step, way)
    c = at.dots(step, step) - radius * radius
    root = torch.sqrt((b * b - a * c).clamp(min=0.0))
    # The form without cancellation.
    return torch.where(b > 0.0, -c / (b + root), (root - b) / a.clamp(min=1e-300))


def _product(
    state: Descent, at: Coordinates, vector: torch.Tensor, running: torch.Tensor
) -> torch.Tensor:
    flat = torch.zeros(1, state.theta.numel(), dtype=torch.float64)
    flat[0, at.places] = vector
    out = torch.zeros_like(flat)
    active = at.active.clone()
    active[at.chosen[~running]] = 0
    state.objective.hvp(state.theta, flat, out, active)
    return at.pack(out[0])


def _try(
    state: Descent, at: Coordinates, found: _Steps, radius: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take the steps that go down; adapts the radii ``[B]``. Returns (taken, radius shrunk)."""
    chosen = at.chosen
    trial = state.theta.clone()
    trial[at.places] += found.step
    loss = torch.full_like(state.loss, float("nan"))
    grad = torch.zeros_like(state.theta)
    state.objective.loss_and_grad(trial, loss, grad, at.active)
    after, before = loss[chosen], state.loss[chosen]
    steepest, now = at.largest(at.pack(grad)), state.grad_max[chosen]
    noise = state.noises(chosen, before)
    finite = torch.isfinite(after) & torch.isfinite(steepest)
    ratio = torch.where(finite, (before - after) / found.predicted.clamp(min=1e-300), -1.0)
    # Where the loss cannot tell, the gradient decides.
    blind = found.predicted <= 16.0 * noise
    limit = torch.where(now <= state.tol, 0.5 * now, now)
    better = finite & (after <= before + noise) & (steepest < limit)
    taken = torch.where(blind, better, ratio > 1e-4)
    good = blind | (ratio >= 0.25)
    length = torch.where((taken & good) | (blind & taken), radius[chosen], 0.25 * found.length)
    length = torch.where(~blind & (ratio > 0.75) & found.at_edge, 2.0 * radius[chosen], length)
    radius[chosen] = length.clamp(min=1e-300)
    for k in torch.nonzero(taken).flatten().tolist():
        state.move(int(chosen[k]), trial, loss, grad, float(found.length[k]))
    return taken, ~taken


def _judge(
    state: Descent,
    work: torch.Tensor,
    accepted: torch.Tensor,
    left: torch.Tensor,
    polish: torch.Tensor,
    shrinks: torch.Tensor,
) -> None:
    for b, moved in zip(work.tolist(), accepted.tolist(), strict=True):
        loss, steepest = float(state.loss[b]), float(state.grad_max[b])
        if not (loss < float("inf") and steepest < float("inf")):
            state.status[b] = DIVERGED
        elif steepest <= state.tol:
            polish[b] -= 1
            if not moved or int(polish[b]) < 0 or int(left[b]) <= 0:
                state.status[b] = CONVERGED
        elif int(shrinks[b]) >= SHRINKS:
            state.status[b] = STALLED
        elif int(left[b]) <= 0:
            state.status[b] = MAX_STEPS
