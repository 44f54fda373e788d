"""Train networks the way an experiment says, and judge them: did they win?"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.ensemble import Ensemble
from edt.tasks import Task
from edt.training import converge, masked_train


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


#: A network stays in the L-BFGS rounds while each takes its loss below this share of itself.
PROGRESS = 0.99


@dataclass(frozen=True)
class Ends:
    """Where networks ended.

    Attributes:
        networks: trained.
        loss: float64 ``[B]``.
        steps: int64 ``[B]``, of Adam and L-BFGS together.
        win: bool ``[B]``.
    """

    networks: Ensemble
    loss: torch.Tensor
    steps: torch.Tensor
    win: torch.Tensor


def run_trial(task: Task, networks: Ensemble, protocol: Protocol, task_index: torch.Tensor) -> Ends:
    """Train every network and judge it.

    Args:
        task: mse task of T targets.
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
    enough = limit[task_index]
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
    theta = trained.networks.theta.clone()
    loss, steps = trained.loss.clone(), trained.steps.clone()
    diverged = torch.tensor([status == "diverged" for status in trained.status])
    before = torch.full_like(loss, float("inf"))
    for _ in range(protocol.lbfgs_rounds):
        going = ~diverged & (loss > enough) & (loss < PROGRESS * before)
        before = loss.clone()
        chosen = torch.nonzero(going).flatten()
        if not chosen.numel():
            break
        some = trained.networks.with_theta(theta).select(chosen)
        ended = converge(
            task,
            some,
            task_index=task_index[chosen],
            lbfgs_steps=protocol.lbfgs_steps,
            newton_steps=0,
            progress=False,
        )
        if ended.interrupted:
            raise KeyboardInterrupt
        place = networks.layout.select(chosen.numpy())[1]
        theta[torch.from_numpy(place)] = ended.networks.theta
        loss[chosen], steps[chosen] = ended.loss, steps[chosen] + ended.lbfgs_iterations
    return Ends(trained.networks.with_theta(theta), loss, steps, loss <= enough)
