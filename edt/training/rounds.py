"""The descent of `edt.converge` on any objective, without verdicts."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edt.objectives import Objective
from edt.ops.threads import one_blas_thread
from edt.training.descent import RUNNING, Descent, lbfgs
from edt.training.levenberg import can_levenberg, levenberg
from edt.training.methods import DescentPlan
from edt.training.progress import Meter

__all__ = ["PROGRESS", "descend", "descend_in_rounds", "in_rounds"]

#: Pairs kept by L-BFGS.
MEMORY = 20
#: A network stays in rounds of L-BFGS while each takes its loss below this share of itself.
PROGRESS = 0.99
#: Loss, as a share of the targets' size, from which Levenberg-Marquardt is tried before the next
#: round: of 720 students of tanh, softplus, g and erf, widths 2 to 8, none that Adam had left below
#: 3e-3 became good by it alone; above, some do. Iterations that it may take (of those with tanh
#: that arrive 3 to 17), and most coordinates of a network.
IN_SIGHT, TRIES, LARGEST = 1e-3, 50, 1000


def descend(
    objective: Objective,
    theta: torch.Tensor,
    meter: Meter,
    *,
    tol: float = 1e-8,
    newton_steps: int = 200,
    lbfgs_steps: int = 500,
    dense_limit: int = 1000,
    chosen: torch.Tensor | None = None,
) -> Descent:
    """Take networks down to ``max|grad| <= tol``.

    Newton on exact Hessians up to ``dense_limit`` coordinates, L-BFGS and Newton by conjugate
    gradients above. No loss rises beyond its rounding.

    Args:
        objective: of B networks.
        theta: flat float64 ``[total]``, where to start; not modified.
        meter: progress.
        tol, newton_steps, lbfgs_steps, dense_limit: as in `edt.converge`.
        chosen: int64, networks to work on; default all. The others are left as they are.

    Returns:
        The `Descent`: ``theta``, ``loss``, ``grad_max`` and ``status`` of its networks.
    """
    state = Descent(objective, theta, tol, None)
    work = torch.arange(state.B) if chosen is None else chosen
    state.refresh(work)
    dense = objective.coords <= dense_limit
    # Objectives made of others have no L-BFGS in the core, and small Hessians are cheaper.
    for method, part in (("newton", work[dense[work]]), ("cg", work[~dense[work]])):
        plan = DescentPlan(method, lbfgs_steps, newton_steps, MEMORY, polish=False)
        plan.run(state, part, dense, meter)
    return state


@one_blas_thread()
def descend_in_rounds(
    objective: Objective,
    theta: torch.Tensor,
    loss: torch.Tensor,
    *,
    rounds: int,
    steps: int,
    enough: float | None,
    tol: float,
) -> tuple[Descent, torch.Tensor]:
    """Rounds of L-BFGS, without verdicts, of networks that go on falling.

    A network leaves at ``loss <= enough``, at ``max|grad| <= tol``, or after a round that leaves
    more than `PROGRESS` of its loss. Valleys of zero loss, which L-BFGS needs a thousand iterations
    for, Levenberg-Marquardt follows in five: once a squared error is `IN_SIGHT` of zero, it is
    tried, and where it does not arrive at ``enough``, L-BFGS goes on from where it stood.

    Args:
        objective: of B networks.
        theta: flat float64 ``[total]``, where to start; not modified.
        loss: float64 ``[B]`` there; networks whose loss is not finite are left as they are.
        rounds, steps: at most so many rounds, of so many iterations.
        enough, tol: see above.

    Returns:
        The `Descent`, and who took part, bool ``[B]``.
    """
    state = Descent(objective, theta, tol, None)
    everyone = torch.arange(state.B)
    state.refresh(everyone)
    loss, took_part = loss.clone(), torch.zeros(state.B, dtype=torch.bool)
    least = torch.full_like(loss, float("-inf") if enough is None else enough)
    closed = state.status != RUNNING
    untried = can_levenberg(objective) & (objective.coords <= LARGEST) & (enough is not None)
    with Meter(False, "descend", state.B) as meter:

        def fall(going: torch.Tensor) -> None:
            nonlocal took_part
            near = going & untried & (state.loss <= IN_SIGHT * objective.scale)
            untried.logical_and_(~near)
            arrived = straight_down(state, near, least, meter)
            lbfgs(state, everyone[going & ~arrived], MEMORY, steps, tol, meter)
            loss[going] = state.loss[going]
            closed.logical_or_((state.status != RUNNING) | (going & (state.grad_max <= tol)))
            took_part |= going

        in_rounds(rounds, loss, least, closed, fall)
    return state, took_part


def straight_down(
    state: Descent, chosen: torch.Tensor, enough: torch.Tensor, meter: Meter
) -> torch.Tensor:
    """Levenberg-Marquardt to a loss; networks that do not arrive stay where they were.

    Args:
        state: updated in place; also of the others ``newton_iterations`` counts what was tried.
        chosen: bool ``[B]``.
        enough: float64 ``[B]``.
        meter: progress.

    Returns:
        Who arrived, bool ``[B]``.
    """
    work = torch.nonzero(chosen).flatten()
    if not work.numel():
        return chosen
    names = ("theta", "grad", "loss", "grad_max", "moving")
    before = {name: getattr(state, name).clone() for name in names}
    levenberg(state, work, TRIES, meter, switch=0.0, goal=enough / state.objective.scale)
    arrived = chosen & (state.loss <= enough)
    back = chosen & ~arrived
    entries = back.repeat_interleave(state.offsets.diff())
    for name in names:
        at = entries if name in ("theta", "grad") else back
        getattr(state, name)[at] = before[name][at]
    return arrived


def in_rounds(
    rounds: int,
    loss: torch.Tensor,
    enough: torch.Tensor,
    closed: torch.Tensor,
    fall: Callable[[torch.Tensor], None],
) -> None:
    """Rounds of a method, of networks that go on falling: what follows Adam in every protocol.

    A network leaves at ``loss <= enough``, once it is ``closed``, or after a round that leaves more
    than `PROGRESS` of its loss.

    Args:
        rounds: at most so many.
        loss: float64 ``[B]``; ``fall`` writes into it. Where it is not finite a network takes no
            part.
        enough: float64 ``[B]``.
        closed: bool ``[B]``; ``fall`` may write into it.
        fall: takes the networks marked, bool ``[B]``, down.
    """
    before = torch.full_like(loss, float("inf"))
    for _ in range(rounds):
        going = ~closed & (loss > enough) & (loss < PROGRESS * before)
        if not bool(going.any()):
            return
        before = loss.clone()
        fall(going)
