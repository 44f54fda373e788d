"""State shared by the stages of `converge`, and the first of them: L-BFGS in the kernel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import torch

from edt import _core
from edt.objectives import Objective, segment_max
from edt.objectives.noise import loss_noise
from edt.training import lbfgs as plain
from edt.training.progress import Meter

STATUS = _core.CODES["descent"]
RUNNING, CONVERGED, STALLED, DIVERGED, MAX_STEPS, CHANNEL, INTERRUPTED = range(len(STATUS))

#: L-BFGS iterations of a network in one call. Fixed, because each call restarts the memory: the
#: path of a network must not depend on timing.
CHUNK = 250
#: Wall-clock seconds a call should take; it decides how many networks are sent together.
CALL_SECONDS = 0.5


class Pace:
    """How many networks are sent to the core together: calls of about `CALL_SECONDS`."""

    def __init__(self) -> None:
        self._share = 32

    def parts(self, queue: torch.Tensor) -> Iterator[torch.Tensor]:
        """Consecutive parts of the queue, each to be worked on before the next is asked for."""
        start = 0
        while start < queue.numel():
            part = queue[start : start + self._share]
            start += self._share
            clock = time.monotonic()
            yield part
            took = time.monotonic() - clock
            share = max(self._share * CALL_SECONDS / max(took, 1e-3), 16)
            self._share = int(min(share, 4 * self._share, 4096))


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
        objective: Objective,
        theta: torch.Tensor,
        tol: float,
        max_seconds: float | None,
    ) -> None:
        self.objective = objective
        self.tol = tol
        self.B = objective.B
        self.theta = theta.detach().clone().contiguous()
        self.loss = torch.full((self.B,), float("nan"), dtype=torch.float64)
        self.grad_max = self.loss.clone()
        self.grad = torch.zeros_like(self.theta)
        self.status = torch.zeros(self.B, dtype=torch.int8)
        self.lbfgs_iterations = torch.zeros(self.B, dtype=torch.int64)
        self.newton_iterations = torch.zeros(self.B, dtype=torch.int64)
        self.moving = torch.zeros(self.B, dtype=torch.float64)
        self.offsets = objective.offsets
        self.coords = objective.coords
        self.positions = torch.nonzero(objective.trainable).flatten()
        self.coord_offsets = torch.zeros(self.B + 1, dtype=torch.int64)
        self.coord_offsets[1:] = torch.cumsum(self.coords, 0)
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
        self.objective.loss_and_grad(self.theta, self.loss, self.grad, self.mask(chosen))
        self.grad_max[chosen] = segment_max(self.grad.abs(), self.offsets.diff())[chosen]
        bad = ~(torch.isfinite(self.loss) & torch.isfinite(self.grad_max))
        self.status[chosen[bad[chosen]]] = DIVERGED

    def move(
        self,
        b: int,
        trial: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        length: float,
    ) -> None:
        """Make the trial (flat, with its loss ``[B]`` and gradient) network b's parameters."""
        span = slice(int(self.offsets[b]), int(self.offsets[b + 1]))
        self.theta[span] = trial[span]
        self.grad[span] = grad[span]
        self.loss[b] = loss[b]
        self.grad_max[b] = grad[span].abs().max()
        self.moving[b] = length / max(self.norm(b), 1e-300)

    def noise(self, b: int, loss: float) -> float:
        """Rounding error to expect in network b's loss, see `edt.objectives.noise`."""
        chosen = torch.tensor([b])
        return float(self.noises(chosen, torch.tensor([loss], dtype=torch.float64))[0])

    def noises(self, chosen: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        """`noise` of several networks, ``[k]``; at least what the objective itself reports."""
        out = loss_noise(loss, self.objective.scale[chosen])
        reported = getattr(self.objective, "rounding", None)
        return out if reported is None else torch.maximum(out, reported[chosen])


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
    compiled = getattr(state.objective, "lbfgs", None)
    minimise = compiled or partial(plain.minimise, state.objective)
    left = torch.full((state.B,), iterations, dtype=torch.int64)
    queue = chosen[(state.grad_max[chosen] > switch) & (state.status[chosen] == RUNNING)]
    pace = Pace()
    done = torch.zeros(state.B, dtype=torch.int64)
    code = torch.zeros(state.B, dtype=torch.int8)
    try:
        while queue.numel() and iterations > 0:
            again = []
            for part in pace.parts(queue):
                state.check_time()
                # Equal budgets in a call; only the last chunk of a network is shorter.
                budget = int(min(CHUNK, int(left[part].min())))
                minimise(
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
                state.lbfgs_iterations[part] += done[part]
                left[part] -= budget
                again.append(part[(code[part] == plain.MAX_ITER) & (left[part] > 0)])
                meter.update(int((state.grad_max <= state.tol).sum()), queue.numel(), state.loss)
            queue = torch.cat(again)
    finally:
        state.refresh(chosen)
