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
        #: Of all coordinates p, m and v, while steps of a call follow each other.
        self._held: dict[str, torch.Tensor | None] | None = None
        # Where the last chunk ended: the next one starts there. Parameters, their gradient, and
        # the networks it was computed for.
        self._seen: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def wait(self) -> None:
        """Nothing runs behind the caller's back."""

    def train(self, run: State, rule: Rule, until: int) -> None:
        """Run every running network to step ``until``; see `Trainer`."""
        try:
            with one_blas_thread():
                grad, known = self._run(run, rule, until)
        finally:
            self._put_back(run)
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

    def _at_coordinates(self, flat: torch.Tensor) -> torch.Tensor:
        """Its entries at all coordinates; itself where everything is one."""
        return flat if self._live is None else flat[self._live[0]]

    def _steepest(self, slope: torch.Tensor) -> torch.Tensor:
        """``max|grad|`` of each network, of a gradient at all coordinates."""
        return segment_max(slope.abs(), self._sizes if self._live is None else self._live[1])

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

    def _put_back(self, state: State) -> None:
        """Write moments that were held to their places."""
        held, self._held = self._held, None
        if held is not None and self._live is not None:
            for name in ("m", "v"):
                flat, mine = getattr(state, name), held[name]
                if flat is not None:
                    flat[self._live[0]] = mine

    def _taken(
        self, state: State, where: torch.Tensor | slice, every: bool
    ) -> dict[str, torch.Tensor | None]:
        """p, m and v at the places of a step; those of all coordinates are held from step to step:
        bringing few entries from far apart costs more than the step itself."""
        if every and self._held is not None:
            # Copies: an interrupt in the middle of a step finds the moments of the one before.
            return {name: None if x is None else x.clone() for name, x in self._held.items()}
        self._put_back(state)
        flat = {"p": state.theta, "m": state.m, "v": state.v}
        return {name: None if found is None else found[where] for name, found in flat.items()}

    def _step(
        self,
        state: State,
        rule: Rule,
        grad: torch.Tensor,
        step: int,
        moving: torch.Tensor,
        slope: torch.Tensor | None = None,
    ) -> None:
        """One update of the coordinates of the moving networks; ``slope``: grad at all of them."""
        where: Any = slice(None)
        every = bool(moving.all())
        if every and self._live is not None:
            where = self._live[0]
        elif not every:
            where, slope = torch.nonzero(moving[self._owner] & self.trainable).flatten(), None

        def spread(per_network: torch.Tensor) -> torch.Tensor:
            values = per_network.to(state.theta)
            same = bool((values == values[0]).all())
            return values[0] if same else values[self._owner[where]]

        rate = spread(rule.lr * float(rule.factors[step]))
        slope = grad[where] if slope is None else slope
        if rule.lr_scale is not None:
            rate = rate * rule.lr_scale[where]
        if rule.clip_norm is not None:
            slope = slope * spread(self._shrinking(grad, rule.clip_norm))
        taken = self._taken(state, where, every)
        at = Point(
            **taken,  # type: ignore[arg-type]
            g=slope,
            lr=rate,
            decay=spread(rule.weight_decay),
            step=step,
            hyper=rule.hyper,
        )
        for span, part in at.pieces():
            OPTIMIZERS[rule.hyper["optimizer"]].step(part)
            at.take(span, part)
        if isinstance(where, slice):
            return
        state.theta[where] = at.p
        if every:
            self._held = {"p": at.p, "m": at.m, "v": at.v}
            return
        for name in ("m", "v"):
            flat = getattr(state, name)
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
