"""Gradient descent of many relu students at once on their population loss, Newton at the end.

Runs wait in a queue; a working set small enough for the second-level cache is stepped together,
and whoever is done leaves it for the next in the queue, so that a few slow runs do not hold up the
others.

Newton's method takes over near the end: where the exact Hessian is positive definite and every
step at least halves the gradient, descent would end at the same point.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event

import torch

from edt.landscape.population import Gradient, population_hessian, population_loss

__all__ = ["SPURIOUS", "STEP", "Ends", "descend"]

STEP = 0.1
SPURIOUS = 1e-3
#: Steps between looks at gradients.
LOOK = 50
#: Gradient at which Newton is first tried; again at a tenth after each failure.
NEWTON = 1e-3
#: Pairs of neurons in the working set: their cosines and sines take 0.6 MB. Fewest and most runs.
PAIRS, FEWEST, MOST = 40_000, 40, 250


@dataclass
class Ends:
    """Where R runs ended.

    Attributes:
        students: float64 ``[R, n, d]``.
        steps: int64 ``[R]``, of gradient descent.
        newton: int64 ``[R]``, Newton steps.
        status: ``[R]`` of "converged" (at or below the tolerance), "good" (left once F was at
            most `SPURIOUS`) or "max_steps".
    """

    students: torch.Tensor
    steps: torch.Tensor
    newton: torch.Tensor
    status: list[str]


def descend(
    starts: torch.Tensor,
    teacher: torch.Tensor,
    *,
    tol: float,
    max_steps: int,
    every: bool,
    stop: Event | None = None,
) -> Ends:
    """Gradient descent with step 0.1 from every start, to ``max|grad| <= tol``.

    Args:
        starts: float64 ``[R, n, d]``.
        teacher: float64 ``[k, d]``.
        tol: see above.
        max_steps: of gradient descent.
        every: if False, runs are left once ``F <= 1e-3``.
        stop: when set, from another thread, descent ends soon; what is returned then is unfinished.

    Returns:
        `Ends`.
    """
    runs, n, _ = starts.shape
    pairs = n * (n + teacher.shape[0])
    size = min(max(PAIRS // pairs, FEWEST), MOST)
    none = torch.zeros(runs, dtype=torch.int64)
    ends = Ends(starts.clone(), none, none.clone(), ["max_steps"] * runs)
    tried = starts.new_full((runs,), NEWTON)
    waiting = min(size, runs)
    active = torch.arange(waiting)
    here, slope = ends.students[active], Gradient(ends.students[active], teacher)
    while active.numel() and not (stop is not None and stop.is_set()):
        done = _look(ends, here, active, slope, teacher, tol, tried, every)
        left = max_steps - ends.steps[active]
        done |= left == 0
        if bool(done.any()):
            ends.students[active[done]] = here[done]
            fresh = torch.arange(waiting, min(waiting + int(done.sum()), runs))
            waiting += fresh.numel()
            active = torch.cat([active[~done], fresh])
            here = torch.cat([here[~done], ends.students[fresh]])
            slope = Gradient(here, teacher)
            continue
        # Looks come at multiples of LOOK, so all runs near the limit are as near.
        short = left < LOOK
        if bool(short.any()):
            here[short] = _steps(here[short], teacher, max_steps % LOOK)
            ends.steps[active[short]] = max_steps
            continue
        for _ in range(LOOK):
            here.sub_(slope(here), alpha=STEP)
        ends.steps[active] += LOOK
    return ends


def _look(
    ends: Ends,
    here: torch.Tensor,
    active: torch.Tensor,
    slope: Gradient,
    teacher: torch.Tensor,
    tol: float,
    tried: torch.Tensor,
    every: bool,
) -> torch.Tensor:
    """Which runs are done, bool ``[A]``; Newton is tried where the gradient is small enough."""
    steepest = slope(here).abs().amax((1, 2))
    done = steepest <= tol
    for b in active[done].tolist():
        ends.status[b] = "converged"
    if not every:
        low = population_loss(here, teacher) <= SPURIOUS
        for b in active[low & ~done].tolist():
            ends.status[b] = "good"
        done |= low
    for row in ((steepest <= tried[active]) & ~done).nonzero().flatten().tolist():
        b = int(active[row])
        better, used = _newton(here[row : row + 1], teacher, tol)
        ends.newton[b] += used
        if better is None:
            tried[b] = 0.1 * steepest[row]
        else:
            here[row : row + 1] = better
            ends.status[b], done[row] = "converged", True
    return done


def _steps(here: torch.Tensor, teacher: torch.Tensor, count: int) -> torch.Tensor:
    slope = Gradient(here, teacher)
    for _ in range(count):
        here = here - STEP * slope(here)
    return here


def _newton(
    start: torch.Tensor, teacher: torch.Tensor, tol: float
) -> tuple[torch.Tensor | None, int]:
    """Newton's steps while the Hessian is positive definite and the gradient halves each time."""
    here, slope = start, Gradient(start, teacher)
    gradient = slope(here)
    for used in range(30):
        size = float(gradient.abs().max())
        if size <= tol:
            return here, used
        factor, failed = torch.linalg.cholesky_ex(population_hessian(here, teacher)[0])
        if int(failed):
            return None, used
        step = torch.cholesky_solve(gradient.reshape(-1, 1), factor)
        here = here - step.reshape(here.shape)
        gradient = slope(here)
        if not float(gradient.abs().max()) < 0.5 * size:
            return None, used + 1
    return None, 30
