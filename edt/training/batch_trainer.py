"""Steps on minibatches in PyTorch, and evaluations of all data where something is decided.

The update rules are those of `edt.training.objective_trainer`, the minibatches those of the core.
"""

from __future__ import annotations

from functools import partial

import torch

from edt.objectives import segment_max
from edt.objectives.function import FunctionObjective
from edt.training.epochs import Epochs
from edt.training.objective_trainer import ObjectiveTrainer, judge
from edt.training.state import DIVERGED, RUNNING, Rule, State

__all__ = ["BatchTrainer", "FunctionTrainer"]


class BatchTrainer(ObjectiveTrainer):
    """`edt.training.state.Trainer` whose gradients of a step are others than those of the loss.

    Attributes:
        samples: N.
    """

    samples: int

    def __init__(self, objective: object, samples: int) -> None:
        super().__init__(objective)  # type: ignore[arg-type]
        self.samples = samples
        self._orders: dict[int, Epochs] = {}
        self._epochs: Epochs | None = None

    def _run(self, state: State, rule: Rule, until: int) -> tuple[torch.Tensor, torch.Tensor]:
        size = int(rule.hyper["batch_size"])
        if size and size not in self._orders:
            self._orders[size] = Epochs(rule.seeds, self.samples, size)
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

    def _slope(
        self,
        state: State,
        rule: Rule,
        loss: torch.Tensor,
        grad: torch.Tensor,
        now: int,
        moving: torch.Tensor,
    ) -> None:
        """Write losses and gradients that make step ``now`` of the networks ``moving``."""
        raise NotImplementedError

    def _move(
        self, state: State, rule: Rule, grad: torch.Tensor, now: int, moving: torch.Tensor
    ) -> None:
        """One step of the networks ``moving``."""
        loss = torch.zeros_like(state.loss)
        before = state.theta.clone()
        self._slope(state, rule, loss, grad, now, moving)
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


class FunctionTrainer(BatchTrainer):
    """Chains under a loss of one's own; full batches as `ObjectiveTrainer`.

    Args:
        objective: of B networks.
    """

    objective: FunctionObjective

    def __init__(self, objective: FunctionObjective) -> None:
        super().__init__(objective, objective.samples)

    def _run(self, state: State, rule: Rule, until: int) -> tuple[torch.Tensor, torch.Tensor]:
        if int(rule.hyper["batch_size"]):
            return super()._run(state, rule, until)
        return ObjectiveTrainer._run(self, state, rule, until)

    def _slope(
        self,
        state: State,
        rule: Rule,
        loss: torch.Tensor,
        grad: torch.Tensor,
        now: int,
        moving: torch.Tensor,
    ) -> None:
        assert self._epochs is not None
        samples = partial(self._epochs.at, now)
        self.objective.step_gradient(state.theta, loss, grad, moving, samples)
