"""Training of module networks: steps in train mode, evaluations as the task says.

The update rules are those of `edt.training.objective_trainer`, the minibatches those of the core.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch

from edt.objectives import ModuleObjective
from edt.objectives.dropout import keys_of
from edt.ops.threads import one_blas_thread
from edt.training.batch_trainer import BatchTrainer
from edt.training.state import Rule, State

__all__ = ["ModuleTrainer"]


class ModuleTrainer(BatchTrainer):
    """`edt.training.state.Trainer` of modules.

    Steps use ``module.train()``: batch norm takes the batch's statistics and keeps running ones,
    dropout draws (for each network from its ``data_seed`` and the step). What is recorded, and
    what stops a network, is the loss of all data in the task's mode. Torch uses its own threads:
    bits of modules depend on them anyway.

    Args:
        objective: of B module networks.
    """

    objective: ModuleObjective

    def __init__(self, objective: ModuleObjective) -> None:
        super().__init__(objective, objective.task.N)
        self.buffered = objective.buffered

    def train(self, run: State, rule: Rule, until: int) -> None:
        """Run every running network to step ``until``; see `Trainer`."""
        # What the core leaves to torch is too little for more than one thread.
        with one_blas_thread() if self.objective.chained else nullcontext():
            super().train(run, rule, until)

    @property
    def runs_on(self) -> bool:
        """Whether the core takes the steps."""
        return self.objective.steps is not None

    def _run_on(self, state: State, rule: Rule, moving: torch.Tensor, until: int) -> None:
        assert self.objective.steps is not None
        self.objective.steps.take(state, rule, moving, until)

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

    def _slope(
        self,
        state: State,
        rule: Rule,
        loss: torch.Tensor,
        grad: torch.Tensor,
        now: int,
        moving: torch.Tensor,
    ) -> None:
        samples, draws = self._sampling(rule, now)
        # Dropout's draws: a function of each network's seed and the step, wherever calls are cut.
        # Chains have none.
        chained = self.objective.chained
        keys = None if chained else keys_of(rule.seeds.tolist(), [now] * self.B)
        self.objective.step_gradient(state.theta, loss, grad, moving, samples, draws, keys)


def _of_step(seed: int, step: int) -> int:
    """A generator's seed for a step."""
    return (seed * 0x9E3779B97F4A7C15 + step) % 2**63
