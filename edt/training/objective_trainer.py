"""First-order steps on any objective, in PyTorch.

Full batches; the update rules are those of `torch.optim` (`SGD`, `Adam`, `AdamW`),
elementwise over all networks at once.
"""

from __future__ import annotations

from typing import Any

import torch

from edt.objectives import Objective, segment_max, segment_sum
from edt.ops.threads import one_blas_thread
from edt.training.optimizers import OPTIMIZERS, Point
from edt.training.state import CONVERGED, DIVERGED, RUNNING, TARGET, Rule, State

__all__ = ["ObjectiveTrainer", "judge"]


class ObjectiveTrainer:
    """`Trainer` of any objective, in PyTorch on the CPU.

    Args:
        objective: of B networks.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.loss, self.loss_and_grad = objective.loss, objective.loss_and_grad
        self.B = objective.B
        self.offsets = objective.offsets
        self.trainable = objective.trainable
        sizes = self.offsets[1:] - self.offsets[:-1]
        self._sizes = sizes
        self._owner = torch.repeat_interleave(torch.arange(self.B), sizes)
        #: Places of the coordinates, how many of each network; None: everything is one.
        self._live: tuple[torch.Tensor, torch.Tensor] | None = None
        if not bool(self.trainable.all()):
            counts = objective.coords.to(self.trainable.device)
            self._live = torch.nonzero(self.trainable).flatten(), counts
        # Where the last chunk ended: the next one starts there. Parameters, their gradient, and
        # the networks it was computed for.
        self._seen: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def wait(self) -> None:
        """Nothing runs behind the caller's back."""

    def train(self, run: State, rule: Rule, until: int) -> None:
        """Run every running network to step ``until``; see `Trainer`."""
        with one_blas_thread():
            grad, known = self._run(run, rule, until)
        self._seen = (run.theta.clone(), grad, known)

    def _run(self, state: State, rule: Rule, until: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`train`; returns a gradient, flat, and the networks at whose parameters it is."""
        theta, loss, steps, status = state.theta, state.loss, state.steps, state.status
        grad, known = torch.zeros_like(theta), torch.zeros_like(status, dtype=torch.bool)
        if self._seen is not None and torch.equal(self._seen[0], theta):
            grad, known = self._seen[1].clone(), self._seen[2].clone()
        rows = {int(step): row for row, step in enumerate(rule.record.tolist())}
        while True:
            running = status == RUNNING
            behind = running & (steps <= until)
            if not bool(behind.any()):
                return grad, known
            # Networks cut at unequal steps catch up first.
            now = int(steps[behind].min())
            at = behind & (steps == now)
            if not bool(known[at].all()):
                self.objective.loss_and_grad(theta, loss, grad, at.to(torch.uint8))
                known |= at
            judge(state, rule, at, rows.get(now), grad, self._sizes)
            if now >= until:
                return grad, known
            moving = at & (status == RUNNING)
            if bool(moving.any()):
                self._step(state, rule, grad, now, moving)
                steps[moving] += 1
                known &= ~moving

    def _steepest(self, grad: torch.Tensor) -> torch.Tensor:
        """``max|grad|`` of each network over its coordinates: a gradient is 0 elsewhere."""
        if self._live is None:
            return segment_max(grad.abs(), self._sizes)
        where, counts = self._live
        return segment_max(grad[where].abs(), counts)

    def _shrinking(self, grad: torch.Tensor, most: torch.Tensor) -> torch.Tensor:
        """Factors float64 ``[B]`` that bring gradients to the norms ``most``; 1 for shorter ones.

        As `torch.nn.utils.clip_grad_norm_`, over entries divided by the largest, whose square may
        not be a number.
        """
        live = torch.where(self.trainable, grad, 0.0)
        top = segment_max(live.abs().double(), self._sizes)
        unit = live.double() / top.clamp_min(1e-300)[self._owner]
        norm = top * segment_sum(unit * unit, self._sizes).sqrt()
        return (most.to(norm) / (norm + 1e-6)).clamp_max(1.0)

    def _places(self, moving: torch.Tensor) -> torch.Tensor:
        """Of the coordinates of the moving networks, ascending."""
        if self._live is not None and bool(moving.all()):
            return self._live[0]
        return torch.nonzero(moving[self._owner] & self.trainable).flatten()

    def _step(
        self, state: State, rule: Rule, grad: torch.Tensor, step: int, moving: torch.Tensor
    ) -> None:
        """One update of the coordinates of the moving networks."""
        kept = {"m": state.m, "v": state.v}
        # Picking entries costs more than the step itself: not where all are picked; and by places,
        # which costs what is picked.
        whole = bool(moving.all()) and self._live is None
        where: Any = slice(None) if whole else self._places(moving)

        def spread(per_network: torch.Tensor) -> torch.Tensor:
            values = per_network.to(state.theta)
            same = bool((values == values[0]).all())
            return values[0] if same else values[self._owner[where]]

        rate, slope = spread(rule.lr * float(rule.factors[step])), grad[where]
        if rule.lr_scale is not None:
            rate = rate * rule.lr_scale[where]
        if rule.clip_norm is not None:
            slope = slope * spread(self._shrinking(grad, rule.clip_norm))
        at = Point(
            p=state.theta[where],
            g=slope,
            lr=rate,
            decay=spread(rule.weight_decay),
            step=step,
            hyper=rule.hyper,
            **{name: None if flat is None else flat[where] for name, flat in kept.items()},
        )
        for span, part in at.pieces():
            OPTIMIZERS[rule.hyper["optimizer"]].step(part)
            at.take(span, part)
        if not whole:
            state.theta[where] = at.p
            for name, flat in kept.items():
                if flat is not None:
                    flat[where] = getattr(at, name)


def judge(
    state: State,
    rule: Rule,
    at: torch.Tensor,
    row: int | None,
    grad: torch.Tensor,
    sizes: torch.Tensor,
) -> None:
    """Record the losses and gradients of networks ``at``, and stop those done or lost.

    Args:
        state: of the run, its losses just written; changed in place.
        rule: of the run.
        at: bool ``[B]``.
        row: of the record; None: this step is not recorded.
        grad: flat.
        sizes: int64 ``[B]``, parameters of each network.
    """
    loss, grad_norm, status = state.loss, state.grad_norm, state.status
    grad_norm[at] = segment_max(grad.abs(), sizes.to(grad.device)).double()[at]
    if row is not None:
        state.history_loss[row, at] = loss[at]
        state.history_grad[row, at] = grad_norm[at]
    bad = ~(torch.isfinite(loss) & torch.isfinite(grad_norm))
    status[at & bad] = DIVERGED
    status[at & ~bad & (loss <= rule.hyper["loss_target"])] = TARGET
    if rule.hyper["tol"] > 0.0:
        status[at & (status == RUNNING) & (grad_norm <= rule.hyper["tol"])] = CONVERGED
