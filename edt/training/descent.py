"""State shared by the stages of `converge`, and the first of them: L-BFGS in the kernel."""

from __future__ import annotations

import time

import torch

from edt.curvature.verdicts import UNIT
from edt.ensemble import Ensemble
from edt.tasks import Task
from edt.training.engine import Engine
from edt.training.progress import Meter
from edt.training.structure import segment_max

RUNNING, CONVERGED, STALLED, DIVERGED, MAX_STEPS, CHANNEL, INTERRUPTED = range(7)
STATUS = ("running", "converged", "stalled", "diverged", "max_steps", "channel", "interrupted")

#: L-BFGS iterations of a network in one call. Fixed, because each call restarts the memory: the
#: path of a network must not depend on timing.
CHUNK = 250
#: Wall-clock seconds a call should take; it decides how many networks are sent together.
CALL_SECONDS = 0.5


class OutOfTime(Exception):
    """``max_seconds`` have passed."""


class Descent:
    """Parameters, losses and gradients of every network, and the calls that refresh them.

    Attributes:
        theta: flat float64, updated in place.
        loss, grad_max: float64 ``[B]`` at ``theta``.
        grad: flat float64 at ``theta``.
        status: int8 ``[B]``, codes above.
        lbfgs_iterations, newton_iterations: int64 ``[B]``.
        moving: float64 ``[B]``, length of the last full Newton step relative to ``|theta|``.
    """

    def __init__(
        self,
        ens: Ensemble,
        task: Task,
        task_index: torch.Tensor,
        tol: float,
        max_seconds: float | None,
    ) -> None:
        self.engine = Engine(ens, task, task_index)
        self.tol = tol
        self.B = int(ens.B)
        self.theta = ens.theta.detach().clone().contiguous()
        self.loss = torch.full((self.B,), float("nan"), dtype=torch.float64)
        self.grad_max = self.loss.clone()
        self.grad = torch.zeros_like(self.theta)
        self.status = torch.zeros(self.B, dtype=torch.int8)
        self.lbfgs_iterations = torch.zeros(self.B, dtype=torch.int64)
        self.newton_iterations = torch.zeros(self.B, dtype=torch.int64)
        self.moving = torch.zeros(self.B, dtype=torch.float64)
        self.offsets = self.engine.offsets
        self.coords = self.engine.coords
        self.positions = torch.nonzero(self.engine.trainable).flatten()
        self.coord_offsets = torch.zeros(self.B + 1, dtype=torch.int64)
        self.coord_offsets[1:] = torch.cumsum(self.coords, 0)
        self._squared = task.loss == "mse"
        self._scale = _target_scale(task)[task_index]
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds

    def check_time(self) -> None:
        """Raise `OutOfTime` after the deadline."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise OutOfTime

    def mask(self, chosen: torch.Tensor) -> torch.Tensor:
        """uint8 ``[B]``, 1 at the chosen networks."""
        out = torch.zeros(self.B, dtype=torch.uint8)
        out[chosen] = 1
        return out

    def coordinates(self, b: int) -> torch.Tensor:
        """Positions of network b's coordinates in the flat vector."""
        return self.positions[int(self.coord_offsets[b]) : int(self.coord_offsets[b + 1])]

    def norm(self, b: int) -> float:
        """``|theta_b|_2``."""
        part = self.theta[int(self.offsets[b]) : int(self.offsets[b + 1])].clone()
        return float(torch.sqrt((part * part).sum()))

    def refresh(self, chosen: torch.Tensor) -> None:
        """Evaluate loss and gradient of the chosen networks; mark those that are not finite."""
        if not chosen.numel():
            return
        self.engine.loss_and_grad(self.theta, self.loss, self.grad, self.mask(chosen))
        self.grad_max[chosen] = segment_max(self.grad.abs(), self.offsets)[chosen]
        bad = ~(torch.isfinite(self.loss) & torch.isfinite(self.grad_max))
        self.status[chosen[bad[chosen]]] = DIVERGED

    def relative_loss(self, b: int) -> float:
        """Network b's loss relative to that of a zero output, ``L / S``."""
        return float(self.loss[b]) / max(float(self._scale[b]), 1e-300)

    def small(self, b: int, share: float) -> bool:
        """Whether network b's squared error is below this share of that of a zero output."""
        return self._squared and self.relative_loss(b) <= share

    def noise(self, b: int, loss: float) -> float:
        """Rounding error to expect in network b's loss.

        The residuals carry errors of about ``2u |y|``, so the sum of their squares is off by up to
        ``4u (|L| + 2 sqrt(|L| S)) + (4u)^2 S`` with ``S = sum_n c_n |y_n|^2`` (``S = sum_n c_n``
        for cross-entropy).
        """
        unit = 4.0 * UNIT[torch.float64]
        scale = float(self._scale[b])
        size = abs(loss)
        return float(unit * (size + 2.0 * (size * scale) ** 0.5) + unit * unit * scale)


def _target_scale(task: Task) -> torch.Tensor:
    """``S`` of `Descent.noise`, float64 ``[T]``."""
    coef = task.coef.to(torch.float64).reshape(task.T, task.N)
    if task.loss == "mse":
        y = task.y.to(torch.float64).reshape(task.T, task.N, -1)
        coef = coef * (y * y).sum(-1)
    out: torch.Tensor = coef.sum(-1)
    return out


def lbfgs(
    state: Descent,
    chosen: torch.Tensor,
    memory: int,
    iterations: int,
    switch: float,
    meter: Meter,
) -> None:
    """L-BFGS for the chosen networks until ``max|grad| <= switch``, a stall, or the budget.

    Networks that finish leave at once; the others are called again in chunks of `CHUNK`
    iterations. Leaves ``loss``, ``grad`` and ``grad_max`` current.

    Args:
        state: updated in place.
        chosen: networks to work on.
        memory: pairs kept.
        iterations: budget of each network.
        switch: gradient at which Newton takes over.
        meter: progress.
    """
    left = torch.full((state.B,), iterations, dtype=torch.int64)
    queue = chosen[(state.grad_max[chosen] > switch) & (state.status[chosen] == RUNNING)]
    share = 32
    done = torch.zeros(state.B, dtype=torch.int64)
    code = torch.zeros(state.B, dtype=torch.int8)
    try:
        while queue.numel() and iterations > 0:
            again = []
            start = 0
            while start < queue.numel():
                state.check_time()
                part = queue[start : start + share]
                start += share
                # Equal budgets in a call; only the last chunk of a network is shorter.
                budget = int(min(CHUNK, int(left[part].min())))
                clock = time.monotonic()
                state.engine.lbfgs(
                    state.theta,
                    state.mask(part),
                    memory,
                    budget,
                    switch,
                    done,
                    code,
                    state.loss,
                    state.grad_max,
                )
                took = time.monotonic() - clock
                state.lbfgs_iterations[part] += done[part]
                left[part] -= budget
                again.append(part[(code[part] == 0) & (left[part] > 0)])
                share = int(min(max(share * CALL_SECONDS / max(took, 1e-3), 16), 4 * share, 4096))
                meter.update(int((state.grad_max <= state.tol).sum()), queue.numel(), state.loss)
            queue = torch.cat(again)
    finally:
        state.refresh(chosen)
