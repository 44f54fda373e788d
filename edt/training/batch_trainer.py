"""Steps on minibatches in PyTorch, and evaluations of all data where something is decided.

The update rules are those of `edt.training.objective_trainer`, the minibatches those of the core.
"""

from __future__ import annotations

from functools import partial

import torch

from edt.objectives.function import FunctionObjective
from edt.ops.threads import one_blas_thread
from edt.training.epochs import Epochs
from edt.training.objective_trainer import ObjectiveTrainer
from edt.training.state import DIVERGED, Rule, State
from edt.training.stepping import advance

__all__ = ["BatchTrainer", "FunctionTrainer"]


class BatchTrainer(ObjectiveTrainer):
    """`edt.training.state.Trainer` whose gradients of a step are others than those of the loss.

    Attributes:
        samples: N.
        buffered: whether a gradient changes numbers of the networks: running statistics.
    """

    samples: int
    buffered = False

    def __init__(self, objective: object, samples: int) -> None:
        super().__init__(objective)  # type: ignore[arg-type]
        self.samples = samples
        #: By batch size and seeds.
        self._orders: dict[tuple[int, ...], Epochs] = {}
        self._epochs: Epochs | None = None

    def train(self, run: State, rule: Rule, until: int) -> None:
        """Run every running network to step ``until``; see `Trainer`."""
        self._epochs = self._epochs_of(int(rule.hyper["batch_size"]), rule.seeds)
        aimed = bool(rule.hyper["loss_target"] > -float("inf"))
        tol = bool(rule.hyper["tol"] > 0.0)
        grad = torch.zeros_like(run.theta)

        def decides(now: int) -> bool:
            if self._epochs is None:
                return aimed or tol
            return aimed and now % self._epochs.per_epoch == 0

        def move(now: int, moving: torch.Tensor, most: int) -> None:
            if self.runs_on:
                # No further than the next step that decides.
                ahead = (step for step in range(now + 1, most) if decides(step))
                self._run_on(run, rule, moving, next(ahead, most))
            else:
                self._move(run, rule, grad, now, torch.nonzero(moving).flatten())

        try:
            advance(run, rule, until, self._sizes, self, decides, move)
        finally:
            self._put_back(run)

    @property
    def runs_on(self) -> bool:
        """Whether `_run_on` takes many steps in one go."""
        return False

    def _run_on(self, state: State, rule: Rule, moving: torch.Tensor, until: int) -> None:
        """Take the networks ``moving`` to step ``until`` in one go, where it `runs_on`."""
        raise NotImplementedError

    def _epochs_of(self, size: int, seeds: torch.Tensor) -> Epochs | None:
        if not size:
            return None
        key = (size, *seeds.tolist())
        if key not in self._orders:
            self._orders[key] = Epochs(seeds, self.samples, size)
        return self._orders[key]

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
        before = state.theta.clone() if self.buffered else None
        self._slope(state, rule, loss, grad, now, moving)
        slope = self._at_coordinates(grad)
        norms = self._steepest(slope)
        lost = ~(torch.isfinite(loss[moving]) & torch.isfinite(norms[moving]))
        gone = moving[lost]
        state.status[gone] = DIVERGED
        state.loss[gone] = state.grad_norm[gone] = float("nan")
        if before is not None and gone.numel():
            # The step was not taken: neither are its running statistics.
            wide = torch.isin(self._owner, gone.to(self._owner.device))
            state.theta[wide] = before[wide]
        chosen = torch.zeros_like(state.status, dtype=torch.bool)
        chosen[moving[~lost]] = True
        if bool(chosen.any()):
            self._step(state, rule, grad, now, chosen, slope)
            state.steps[chosen] += 1


class FunctionTrainer(BatchTrainer):
    """Chains under a loss of one's own; full batches as `ObjectiveTrainer`.

    Args:
        objective: of B networks.
    """

    objective: FunctionObjective

    def __init__(self, objective: FunctionObjective) -> None:
        super().__init__(objective, objective.samples)

    def train(self, run: State, rule: Rule, until: int) -> None:
        """Run every running network to step ``until``; see `Trainer`."""
        if not int(rule.hyper["batch_size"]):
            return ObjectiveTrainer.train(self, run, rule, until)
        with one_blas_thread():
            return super().train(run, rule, until)

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
