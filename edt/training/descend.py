"""The descent of `edt.converge` on any objective, without verdicts."""

from __future__ import annotations

import torch

from edt.objectives import Objective
from edt.training.descent import Descent
from edt.training.plan import Plan
from edt.training.progress import Meter

__all__ = ["descend"]

#: Pairs kept by L-BFGS.
MEMORY = 20


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
        plan = Plan(method, lbfgs_steps, newton_steps, MEMORY, polish=False)
        plan.run(state, part, dense, meter)
    return state
