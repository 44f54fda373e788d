"""`run_trial` for objectives that no ensemble describes: subspaces, factored weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.curvature.dense import one_blas_thread
from edt.lottery.trial import PROGRESS, Protocol
from edt.objectives import Objective
from edt.training import lbfgs
from edt.training.descent import CHUNK
from edt.training.objective_engine import ObjectiveEngine
from edt.training.schedules import learning_rate_factors
from edt.training.state import DIVERGED, Rule, State

#: As in `edt.converge`: pairs kept by L-BFGS, and the gradient at which it stops.
MEMORY, TOLERANCE = 20, 1e-10
#: Adam's constants, those of `edt.masked_train`.
ADAM = {
    "optimizer": "adam",
    "momentum": 0.0,
    "dampening": 0.0,
    "nesterov": False,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "batch_size": 0,
    "tol": 0.0,
    "last_step": 0,
}


@dataclass(frozen=True)
class ObjectiveEnds:
    """Where runs ended.

    Attributes:
        theta: flat, the objective's own parameters.
        loss: float64 ``[B]``.
        steps: int64 ``[B]``, of Adam and L-BFGS together.
        win: bool ``[B]``.
    """

    theta: torch.Tensor
    loss: torch.Tensor
    steps: torch.Tensor
    win: torch.Tensor


def run_objective_trial(
    objective: Objective,
    theta: torch.Tensor,
    protocol: Protocol,
    enough: torch.Tensor,
    *,
    lr: torch.Tensor | None = None,
) -> ObjectiveEnds:
    """Train every network of an objective and judge it, by the rules of `run_trial`.

    Args:
        objective: of B networks.
        theta: flat float64, where they start.
        protocol: how.
        enough: float64 ``[B]``, loss at which a network wins.
        lr: float64 ``[B]``, learning rates of Adam instead of the protocol's.

    Returns:
        `ObjectiveEnds`.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    count = objective.B
    rate = torch.full((count,), protocol.lr, dtype=torch.float64) if lr is None else lr
    nothing = torch.zeros(count, dtype=torch.float64)
    rule = Rule(
        {**ADAM, "loss_target": float(enough.min())},
        rate,
        nothing,
        torch.zeros(count, dtype=torch.int64),
        torch.from_numpy(learning_rate_factors(protocol.schedule, protocol.steps)),
        torch.zeros(0, dtype=torch.int64),
    )
    adam = State.start(theta, count, rule, False)
    ObjectiveEngine(objective).train(adam, rule, protocol.steps)
    theta, loss, steps = adam.theta, adam.loss, adam.steps.clone()
    broken = (adam.status == DIVERGED) | ~torch.isfinite(loss)
    before = torch.full_like(loss, float("inf"))
    for _ in range(protocol.lbfgs_rounds):
        going = ~broken & (loss > enough) & (loss < PROGRESS * before)
        before = loss.clone()
        if not bool(going.any()):
            break
        steps += _descend(objective, theta, loss, going, protocol.lbfgs_steps)
    return ObjectiveEnds(theta, loss, steps, (loss <= enough) & ~broken)


def _descend(
    objective: Objective,
    theta: torch.Tensor,
    loss: torch.Tensor,
    going: torch.Tensor,
    iterations: int,
) -> torch.Tensor:
    """One round of L-BFGS, ``theta`` and ``loss`` in place; iterations taken, int64 ``[B]``.

    All networks at once (their tensors are small, calls are what costs), in the chunks after which
    `edt.converge` starts its memory afresh.
    """
    taken = torch.zeros(objective.B, dtype=torch.int64)
    done, code = torch.zeros_like(taken), torch.zeros(objective.B, dtype=torch.int8)
    steepest = torch.zeros_like(loss)
    for start in range(0, iterations, CHUNK):
        if not bool(going.any()):
            break
        budget = min(CHUNK, iterations - start)
        with one_blas_thread():
            lbfgs.minimise(
                objective, theta, going.to(torch.uint8), MEMORY, budget, TOLERANCE, done, code,
                loss, steepest,
            )  # fmt: skip
        taken[going] += done[going]
        going = going & (code == 0)
    return taken
