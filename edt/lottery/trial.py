"""Train networks the way an experiment says, and judge them: did they win?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from edt.ensemble import Ensemble
from edt.objectives import Objective
from edt.ops.threads import one_blas_thread
from edt.training import converge, lbfgs, masked_train
from edt.training.descent import CHUNK
from edt.training.rounds import in_rounds
from edt.training.schedules import learning_rate_factors
from edt.training.state import DIVERGED, Rule, State
from edt.training.trainer import trainer

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
class Protocol:
    """How networks are trained to the end, and what winning is.

    Full-batch Adam in the kernel, then rounds of L-BFGS for those that have not won; a network
    leaves when it wins, or when a round lowers its loss by less than a hundredth.

    Attributes:
        steps, lr, schedule: of Adam.
        lbfgs_rounds, lbfgs_steps: rounds, and iterations of each.
        good: a network wins at or below this loss, as a share of the target's variance.
    """

    steps: int = 3000
    lr: float = 0.01
    schedule: str = "cosine"
    lbfgs_rounds: int = 4
    lbfgs_steps: int = 1000
    good: float = 1e-6


@dataclass(frozen=True)
class Ends:
    """Where networks ended.

    Attributes:
        networks: trained.
        loss: float64 ``[B]``.
        steps: int64 ``[B]``, of Adam and L-BFGS together.
        win: bool ``[B]``.
        first: float64 ``[B]``, the loss after Adam alone.
    """

    networks: Ensemble
    loss: torch.Tensor
    steps: torch.Tensor
    win: torch.Tensor
    first: torch.Tensor


@dataclass(frozen=True)
class ObjectiveEnds:
    """Where runs on an objective ended.

    Attributes:
        theta: flat, the objective's own parameters.
        loss, steps, win, first: as in `Ends`.
    """

    theta: torch.Tensor
    loss: torch.Tensor
    steps: torch.Tensor
    win: torch.Tensor
    first: torch.Tensor


def run_trial(task: Any, networks: Ensemble, protocol: Protocol, task_index: torch.Tensor) -> Ends:
    """Train every network and judge it.

    Args:
        task: T targets; `edt.Task` or another with ``variance``.
        networks: B networks, masks and frozen parameters respected; at most 4,096 trainable
            parameters each.
        protocol: how.
        task_index: int64 ``[B]``.

    Returns:
        `Ends`. A network's end does not depend on the others.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    limit = protocol.good * task.variance
    trained = masked_train(
        task,
        networks,
        optimizer="adam",
        steps=protocol.steps,
        lr=protocol.lr,
        schedule=protocol.schedule,
        loss_target=float(limit.min()),
        task_index=task_index,
        record=None,
        progress=False,
    )
    if trained.interrupted:
        raise KeyboardInterrupt
    theta, loss, steps = trained.networks.theta.clone(), trained.loss.clone(), trained.steps.clone()

    def descend(going: torch.Tensor) -> None:
        chosen = torch.nonzero(going).flatten()
        ended = converge(
            task,
            trained.networks.with_theta(theta).select(chosen),
            task_index=task_index[chosen],
            lbfgs_steps=protocol.lbfgs_steps,
            newton_steps=0,
            progress=False,
        )
        if ended.interrupted:
            raise KeyboardInterrupt
        theta[networks.positions(chosen)] = ended.networks.theta
        loss[chosen], steps[chosen] = ended.loss, steps[chosen] + ended.lbfgs_iterations

    diverged = torch.tensor([status == "diverged" for status in trained.status])
    enough = limit[task_index]
    in_rounds(protocol.lbfgs_rounds, loss, enough, diverged, descend)
    return Ends(trained.networks.with_theta(theta), loss, steps, loss <= enough, trained.loss)


def run_objective_trial(
    objective: Objective,
    theta: torch.Tensor,
    protocol: Protocol,
    enough: torch.Tensor,
    *,
    lr: torch.Tensor | None = None,
) -> ObjectiveEnds:
    """`run_trial` in parameters that no ensemble describes: subspaces, factored weights.

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
    rule = Rule(
        {**ADAM, "loss_target": float(enough.min())},
        torch.full((count,), protocol.lr, dtype=torch.float64) if lr is None else lr,
        torch.zeros(count, dtype=torch.float64),
        torch.zeros(count, dtype=torch.int64),
        torch.from_numpy(learning_rate_factors(protocol.schedule, protocol.steps)),
        torch.zeros(0, dtype=torch.int64),
    )
    adam = State.start(theta, count, rule, False)
    trainer(objective).train(adam, rule, protocol.steps)
    theta, loss, steps = adam.theta, adam.loss.clone(), adam.steps.clone()

    def descend(going: torch.Tensor) -> None:
        """All networks at once, in the chunks after which `edt.converge` forgets its pairs."""
        done, code = torch.zeros_like(steps), torch.zeros(count, dtype=torch.int8)
        steepest = torch.zeros_like(loss)
        for start in range(0, protocol.lbfgs_steps, CHUNK):
            if not bool(going.any()):
                break
            budget = min(CHUNK, protocol.lbfgs_steps - start)
            with one_blas_thread():
                lbfgs.minimise(
                    objective, theta, going.to(torch.uint8), MEMORY, budget, TOLERANCE, done, code,
                    loss, steepest,
                )  # fmt: skip
            steps[going] += done[going]
            going = going & (code == 0)

    broken = (adam.status == DIVERGED) | ~torch.isfinite(loss)
    in_rounds(protocol.lbfgs_rounds, loss, enough, broken, descend)
    return ObjectiveEnds(theta, loss, steps, (loss <= enough) & ~broken, adam.loss)
