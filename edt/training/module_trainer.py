"""Training of module networks: steps in train mode, evaluations as the task says.

The update rules are those of `edt.training.objective_trainer`, the minibatches those of the core.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from edt.objectives import ModuleObjective, segment_max
from edt.objectives.dropout import keys_of
from edt.training.epochs import Epochs
from edt.training.objective_trainer import ObjectiveTrainer, judge
from edt.training.state import DIVERGED, RUNNING, Rule, State

__all__ = ["ModuleTrainer"]


class ModuleTrainer(ObjectiveTrainer):
    """`edt.training.state.Trainer` of modules.

    Steps use ``module.train()``: batch norm takes the batch's statistics and keeps running ones,
    dropout draws (for each network from its ``data_seed`` and the step). What is recorded, and
    what stops a network, is the loss of all data in the task's mode.

    Args:
        objective: of B module networks.
    """

    objective: ModuleObjective

    def __init__(self, objective: ModuleObjective) -> None:
        super().__init__(objective)
        self._orders: dict[int, Epochs] = {}
        self._epochs: Epochs | None = None

    def train(self, run: State, rule: Rule, until: int) -> None:
        """Run every running network to step ``until``; see `Trainer`."""
        # Torch's own threads: bits of modules depend on them anyway.
        self._run(run, rule, until)

    def _run(self, state: State, rule: Rule, until: int) -> tuple[torch.Tensor, torch.Tensor]:
        size = int(rule.hyper["batch_size"])
        if size and size not in self._orders:
            self._orders[size] = Epochs(rule.seeds, self.objective.task.N, size)
        self._epochs = self._orders.get(size)
        grad = torch.zeros_like(state.theta)
        none = torch.zeros_like(state.status, dtype=torch.bool)
        rows = {int(step): row for row, step in enumerate(rule.record.tolist())}
        while True:
            behind = (state.status == RUNNING) & (state.steps <= until)
            if not bool(behind.any()):
                return grad, none
            # Networks cut at unequal steps catch up first.
            now = int(state.steps[behind].min())
            at = behind & (state.steps == now)
            last = now >= until
            if last and now < int(rule.hyper["last_step"]):
                return grad, none
            if last or self._decides(rule, now, now in rows):
                self.objective.loss_and_grad(state.theta, state.loss, grad, at.to(torch.uint8))
                judge(state, rule, at, rows.get(now), grad, self._sizes)
            if last:
                return grad, none
            moving = torch.nonzero(at & (state.status == RUNNING)).flatten()
            if moving.numel():
                self._move(state, rule, grad, now, moving)

    def _decides(self, rule: Rule, now: int, recorded: bool) -> bool:
        """Whether all data are looked at: only where it does not depend on how calls are cut."""
        aimed = rule.hyper["loss_target"] > -float("inf")
        if self._epochs is None:
            return recorded or aimed or rule.hyper["tol"] > 0.0
        return recorded or (aimed and now % self._epochs.per_epoch == 0)

    def _sampling(
        self, rule: Rule, now: int
    ) -> tuple[Callable[[int], torch.Tensor] | None, Callable[[int], torch.Generator] | None]:
        """Each network's samples of a step (None: all), and what their changes are drawn from."""
        epochs, task = self._epochs, self.objective.task
        seeds = rule.seeds.tolist()

        def draws(b: int) -> torch.Generator:
            return torch.Generator().manual_seed(_of_step(seeds[b], now))

        if task.augment is None:
            return None if epochs is None else partial(epochs.at, now), None
        if epochs is not None:
            return partial(epochs.at, now), draws
        every = torch.arange(task.N)
        return lambda b: every, draws

    def _move(
        self, state: State, rule: Rule, grad: torch.Tensor, now: int, moving: torch.Tensor
    ) -> None:
        """One step of the networks ``moving``."""
        loss = torch.zeros_like(state.loss)
        samples, draws = self._sampling(rule, now)
        before = state.theta.clone()
        # Dropout's draws: a function of each network's seed and the step, wherever calls are cut.
        keys = keys_of(rule.seeds.tolist(), [now] * self.B)
        self.objective.step_gradient(state.theta, loss, grad, moving, samples, draws, keys)
        norms = segment_max(grad.abs().double(), self._sizes)
        lost = ~(torch.isfinite(loss[moving]) & torch.isfinite(norms[moving]))
        gone = moving[lost]
        state.status[gone] = DIVERGED
        state.loss[gone] = state.grad_norm[gone] = float("nan")
        # The step was not taken: neither are its running statistics.
        wide = torch.isin(self._owner, gone.to(self._owner.device))
        state.theta[wide] = before[wide]
        chosen = torch.zeros_like(state.status, dtype=torch.bool)
        chosen[moving[~lost]] = True
        if bool(chosen.any()):
            self._step(state, rule, grad, now, chosen)
            state.steps[chosen] += 1


def _of_step(seed: int, step: int) -> int:
    """A generator's seed for a step."""
    return (seed * 0x9E3779B97F4A7C15 + step) % 2**63
