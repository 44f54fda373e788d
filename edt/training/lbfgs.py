"""L-BFGS over any objective, many networks in step.

The compiled core has its own L-BFGS for finite data; this one serves objectives without it
(infinite data, penalties). Same rules: two-loop recursion, backtracking to sufficient decrease,
no loss ever rises.
"""

from __future__ import annotations

import torch

from edt import _core
from edt.objectives import Coordinates, Objective

__all__ = ["MAX_ITER", "minimise"]

#: Codes of how a run ended, as the core has them.
MAX_ITER, CONVERGED, STALLED = (
    _core.CODES["lbfgs"].index(name) for name in ("max_iter", "converged", "stalled")
)

#: Share of the linear prediction a step must achieve (Armijo).
DECREASE = 1e-4
#: Halvings of a step before a network counts as stuck.
HALVINGS = 30
#: Least cosine between step and change of gradient for a pair to be kept.
CURVATURE = 1e-10


class _Memory:
    """The last pairs (s, y), for all networks at once.

    Attributes:
        scale: float64 ``[b]``, ``s.y / y.y`` of the last pair (0: none).
    """

    def __init__(self, at: Coordinates, pairs: int) -> None:
        self._at = at
        self._pairs = pairs
        self._history: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.scale = torch.zeros(at.chosen.numel(), dtype=torch.float64)

    def add(self, s: torch.Tensor, y: torch.Tensor, moved: torch.Tensor) -> None:
        """Keep a pair of those that moved, where the curvature along it is positive."""
        at = self._at
        product, size = at.dots(s, y), at.norms(s) * at.norms(y)
        good = moved & (product > CURVATURE * size)
        inverse = torch.where(good, 1.0 / product.masked_fill(~good, 1.0), 0.0)
        self.scale = torch.where(good, product / at.dots(y, y).masked_fill(~good, 1.0), self.scale)
        self._history = [*self._history, (s, y, inverse)][-self._pairs :]

    def forget(self, which: torch.Tensor) -> None:
        """Drop the pairs of some networks (bool ``[b]``)."""
        self._history = [(s, y, r.masked_fill(which, 0.0)) for s, y, r in self._history]
        self.scale = self.scale.masked_fill(which, 0.0)

    def direction(self, grad: torch.Tensor) -> torch.Tensor:
        """``-H^-1 grad`` of the quasi-Newton matrix; packed."""
        at = self._at
        q = grad
        steps = []
        for s, y, inverse in reversed(self._history):
            alpha = inverse * at.dots(s, q)
            steps.append(alpha)
            q = q - at.spread(alpha) * y
        q = q * at.spread(torch.where(self.scale > 0.0, self.scale, 1.0))
        for (s, y, inverse), alpha in zip(self._history, reversed(steps), strict=True):
            beta = inverse * at.dots(y, q)
            q = q + at.spread(alpha - beta) * s
        return -q


def minimise(
    objective: Objective,
    theta: torch.Tensor,
    active: torch.Tensor,
    memory: int,
    iterations: int,
    tol: float,
    done: torch.Tensor,
    status: torch.Tensor,
    loss: torch.Tensor,
    grad_max: torch.Tensor,
) -> None:
    """Minimise the active networks' losses; ``theta`` is changed in place.

    Args:
        objective: of B networks.
        theta: flat float64.
        active: uint8 ``[B]``.
        memory: pairs kept.
        iterations: budget of each network.
        tol: stop a network when ``max|grad|`` is at most this.
        done: int64 ``[B]``, iterations taken.
        status: int8 ``[B]``, the core's codes: ``max_iter`` where the budget ended the run,
            ``converged`` at ``tol``, ``stalled`` where no step goes down.
        loss, grad_max: float64 ``[B]``, at the end.

    Reference: D. Liu, J. Nocedal, "On the limited memory BFGS method for large scale
    optimization", 1989.
    """
    at = Coordinates(objective, torch.nonzero(active).flatten())
    here, flat = theta.clone(), torch.zeros_like(theta)
    value = torch.full((objective.B,), float("nan"), dtype=torch.float64)

    def evaluate(packed: torch.Tensor, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        here[at.places] = packed
        mask = torch.zeros_like(at.active)
        mask[at.chosen[which]] = 1
        objective.loss_and_grad(here, value, flat, mask)
        return value[at.chosen].clone(), at.pack(flat)

    everyone = torch.ones(at.chosen.numel(), dtype=torch.bool)
    x = at.pack(theta)
    f, g = evaluate(x, everyone)
    pairs = _Memory(at, memory)
    stuck = ~torch.isfinite(f)
    taken = torch.zeros(at.chosen.numel(), dtype=torch.int64)
    for _ in range(iterations):
        running = (at.largest(g) > tol) & ~stuck
        if not bool(running.any()):
            break
        way = pairs.direction(g)
        slope = at.dots(g, way)
        uphill = running & ~(slope < 0.0)
        if bool(uphill.any()):
            pairs.forget(uphill)
            way = torch.where(at.spread(uphill), -g, way)
            slope = torch.where(uphill, -at.dots(g, g), slope)
        # Without a pair the gradient's length says nothing about a good step.
        length = torch.where(pairs.scale > 0.0, 1.0, (1.0 / at.norms(g)).clamp(max=1.0))
        length = torch.where(running, length, torch.zeros_like(length))
        pending = running.clone()
        new_x, new_f, new_g = x, f, g
        for _ in range(HALVINGS):
            trial = x + at.spread(length) * way
            trial_f, trial_g = evaluate(trial, pending)
            good = pending & (trial_f <= f + DECREASE * length * slope)
            take = at.spread(good)
            new_x, new_g = torch.where(take, trial, new_x), torch.where(take, trial_g, new_g)
            new_f = torch.where(good, trial_f, new_f)
            pending = pending & ~good
            if not bool(pending.any()):
                break
            length = torch.where(pending, 0.5 * length, length)
        # A fresh start along the gradient first; only a network without memory is stuck.
        hopeless = pending & (pairs.scale == 0.0)
        stuck = stuck | hopeless
        moved = running & ~pending
        taken += moved.to(torch.int64)
        pairs.add(new_x - x, new_g - g, moved)
        pairs.forget(pending)
        x, f, g = new_x, new_f, new_g
    theta[at.places] = x
    steepest = at.largest(g)
    done[at.chosen] = taken
    loss[at.chosen] = f
    grad_max[at.chosen] = steepest
    code = torch.where(stuck, STALLED, torch.where(steepest <= tol, CONVERGED, MAX_ITER))
    status[at.chosen] = code.to(torch.int8)
