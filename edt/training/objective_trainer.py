"""First-order steps on any objective, in PyTorch.

Full batches; the update rules are those of `torch.optim` (`SGD`, `Adam`, `AdamW`),
elementwise over all networks at once.
"""

from __future__ import annotations

import torch

from edt.objectives import Objective, segment_max
from edt.ops.threads import one_blas_thread
from edt.training.optimizers import OPTIMIZERS, Point
from edt.training.state import CONVERGED, DIVERGED, RUNNING, TARGET, Rule, State

__all__ = ["ObjectiveTrainer"]


class ObjectiveTrainer:
    """`Trainer` of any objective, in PyTorch on the CPU.

    Args:
        objective: of B networks.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.B = objective.B
        self.offsets = objective.offsets
        self.trainable = objective.trainable
        sizes = self.offsets[1:] - self.offsets[:-1]
        self._sizes = sizes
        self._owner = torch.repeat_interleave(torch.arange(self.B), sizes)
        # Where the last chunk ended: the next one starts there.
        self._seen: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def wait(self) -> None:
        """Nothing runs behind the caller's back."""

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Write the losses ``[B]`` of the active networks."""
        self.objective.loss(theta, loss, active)

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Write loss ``[B]`` and gradient (flat) of the active networks."""
        self.objective.loss_and_grad(theta, loss, grad, active)

    def train(self, run: State, rule: Rule, until: int) -> None:
        """Run every running network to step ``until``; see `Trainer`."""
        with one_blas_thread():
            grad = self._run(run, rule, until)
        self._seen = (run.theta.clone(), run.loss.clone(), grad)

    def _run(self, state: State, rule: Rule, until: int) -> torch.Tensor:
        """`train`; returns the gradient last computed, flat."""
        theta, loss, steps, status = state.theta, state.loss, state.steps, state.status
        grad = torch.zeros_like(theta)
        known = self._seen is not None and torch.equal(self._seen[0], theta)
        if known and self._seen is not None:
            grad = self._seen[2].clone()
        rows = {int(step): row for row, step in enumerate(rule.record.tolist())}
        while True:
            running = status == RUNNING
            behind = running & (steps <= until)
            if not bool(behind.any()):
                return grad
            # Networks cut at unequal steps catch up first.
            now = int(steps[behind].min())
            at = behind & (steps == now)
            if not known:
                self.objective.loss_and_grad(theta, loss, grad, at.to(torch.uint8))
            known = False
            self._judge(state, rule, at, rows.get(now), grad)
            if now >= until:
                return grad
            moving = at & (status == RUNNING)
            if bool(moving.any()):
                self._step(state, rule, grad, now, moving)
                steps[moving] += 1

    def _judge(
        self, state: State, rule: Rule, at: torch.Tensor, row: int | None, grad: torch.Tensor
    ) -> None:
        """Record the losses and gradients of networks ``at``, and stop those done or lost."""
        loss, grad_norm, status = state.loss, state.grad_norm, state.status
        grad_norm[at] = segment_max(grad.abs().double(), self._sizes)[at]
        if row is not None:
            state.history_loss[row, at] = loss[at]
            state.history_grad[row, at] = grad_norm[at]
        bad = ~(torch.isfinite(loss) & torch.isfinite(grad_norm))
        status[at & bad] = DIVERGED
        status[at & ~bad & (loss <= rule.hyper["loss_target"])] = TARGET
        if rule.hyper["tol"] > 0.0:
            status[at & (status == RUNNING) & (grad_norm <= rule.hyper["tol"])] = CONVERGED

    def _step(
        self, state: State, rule: Rule, grad: torch.Tensor, step: int, moving: torch.Tensor
    ) -> None:
        """One update of the coordinates of the moving networks."""
        where = moving[self._owner] & self.trainable
        owner, kept = self._owner[where], {"m": state.m, "v": state.v}

        def spread(per_network: torch.Tensor) -> torch.Tensor:
            return per_network.to(state.theta)[owner]

        at = Point(
            p=state.theta[where],
            g=grad[where],
            lr=spread(rule.lr * float(rule.factors[step])),
            decay=spread(rule.weight_decay),
            step=step,
            hyper=rule.hyper,
            **{name: None if flat is None else flat[where] for name, flat in kept.items()},
        )
        OPTIMIZERS[rule.hyper["optimizer"]].step(at)
        state.theta[where] = at.p
        for name, flat in kept.items():
            if flat is not None:
                flat[where] = getattr(at, name)
