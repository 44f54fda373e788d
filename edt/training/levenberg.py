"""Levenberg-Marquardt on the Jacobian itself: to zero loss along curved, singular valleys.

A wide network that can reach loss 0 does so on a set where neurons coincide or are silent. There
the Jacobian J of the residuals r is singular to high order, and on the way its singular values
spread over fifteen decades. ``J^T J`` in double precision knows half of them, J itself all:

    J = U S V^T,      p = -V (S^2 + mu)^-1 S U^T r,

by QR and the singular values of R; in the core by QR of J on top of ``sqrt(mu) I``. Moving by p
bends the outputs off the straight line ``r + J p`` that the step aims at; they are brought back
onto it by a few corrections with the same factors,
``q <- q - V (S^2 + mu)^-1 V^T J^T (r(theta + q) - r - J p)``, each at the price of one evaluation
of the outputs. Rounding in ``J^T`` costs a correction u |J| / sqrt(mu) of its size, which need not
be exact. Steps then follow the valley as far as the factors are good for, instead of as far as its
curvature is negligible.

Damping after M. Transtrum and J. Sethna, "Improvements to the Levenberg-Marquardt algorithm for
nonlinear least-squares minimization", arXiv 1201.5885 ("delayed gratification"): raised gently
when a step fails, lowered sharply when one succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from edt.curvature.dense import for_each
from edt.objectives import Objective
from edt.training.descent import RUNNING, Descent, Pace
from edt.training.progress import Meter

__all__ = ["FLOOR", "ZERO_SOON", "can_levenberg", "levenberg", "together"]

#: Entries of the largest Jacobian that is formed, and of those held at once.
LARGEST, TOGETHER = 20_000_000, 8_000_000
#: First damping as a share of ``|J|_F^2``, and the least.
FIRST, LEAST = 1e-3, 1e-32
#: Factors on the damping after a step that failed, and after one that succeeded: the second where
#: several had failed before it.
UP, DOWN, WARY = 2.0, 0.1, 0.25
#: After this many failures on one Jacobian the damping was far off: from then on the factor.
LOST, FAR = 5, 30.0
#: Entries of a Jacobian from which its products are shared between threads.
CROWDED = 1e6
#: Dampings tried on one Jacobian.
TRIES = 40
#: Corrections of one step.
CORRECTIONS = 5
#: The outputs are on the line when they miss it by this share of what it promises.
CLOSE = 0.1
#: A correction must leave at most this share of the miss.
SHRINK = 0.8
#: Largest correction of a step, in units of the step.
BENT = 1.0
#: Least ratio of actual to predicted decrease.
RATIO = 1e-4
#: Loss, as a share of the targets' size, that counts as zero (rounding alone makes 1e-31).
FLOOR = 1e-27
#: Loss, as a share of the targets' size, that may be on its way to zero.
ZERO_SOON = 1e-4
#: Iterations in which the loss must lose a tenth; nine tenths once the gradient is at its bound.
PATIENCE = 20
SLOW, BRISK = 0.9, 0.1
#: Most coordinates of a network that the core factorises, and entries of its Jacobian; LAPACK is
#: faster above.
SMALL, HELD = 256, 2_000_000
#: Iterations of a network in one call of the core.
CHUNK = 25

_DTYPES = {int: torch.int64, float: torch.float64, bool: torch.int8}


def can_levenberg(objective: Objective) -> torch.Tensor:
    """Networks whose residuals have a Jacobian that can be formed, bool ``[B]``."""
    rows = getattr(objective, "rows", None)
    if rows is None:
        return torch.zeros(objective.B, dtype=torch.bool)
    return int(rows) * objective.coords <= LARGEST


@dataclass
class LevenbergState:
    """One network's progress through the stage."""

    left: int
    mu: float = -1.0
    best: float = float("inf")
    since: int = 0
    decade: float = float("inf")
    since_decade: int = 0
    failed: bool = False

    def note(self, loss: float) -> None:
        """Take note of the loss after an iteration."""
        self.since += 1
        self.since_decade += 1
        if loss <= SLOW * self.best:
            self.best, self.since = loss, 0
        if loss <= BRISK * self.decade:
            self.decade, self.since_decade = loss, 0


def levenberg(
    state: Descent,
    chosen: torch.Tensor,
    iterations: int,
    meter: Meter,
    *,
    switch: float,
    goal: float | torch.Tensor = FLOOR,
) -> None:
    """Lower the squared error of the chosen networks; decides nobody's status.

    A network leaves at the goal; at ``max|grad| <= switch`` unless its loss may be on its way to
    zero (`ZERO_SOON`); when no step goes down, progress is slow, or the budget is spent. Once
    ``max|grad| <= state.tol``, slow means less than a factor 10 in `PATIENCE` iterations.

    Args:
        state: updated in place.
        chosen: networks to work on; see `can_levenberg`.
        iterations: budget of each network.
        meter: progress.
        switch: gradient at which Newton is better.
        goal: loss at which a network leaves, as a share of the targets' size; or float64
            ``[B]``, of each.
    """
    goals = torch.as_tensor(goal, dtype=torch.float64).expand(state.B)
    work = chosen[state.status[chosen] == RUNNING]
    if hasattr(state.objective, "levenberg"):
        small = (state.coords[work] <= SMALL) & (
            state.coords[work] * _rows(state.objective) <= HELD
        )
        _compiled(state, work[small], iterations, meter, switch, goals)
        work = work[~small]
    tracks = {b: LevenbergState(iterations) for b in work.tolist()}
    work = _still(state, work, tracks, switch, goals)
    while work.numel():
        for part in together(state.objective, work):
            state.check_time()
            _iterate(state, part, tracks)
            meter.update(int((state.grad_max <= state.tol).sum()), work.numel(), state.loss)
        work = _still(state, work, tracks, switch, goals)


def _rows(objective: Objective) -> int:
    return int(getattr(objective, "rows", None) or 1)


def _compiled(
    state: Descent,
    work: torch.Tensor,
    iterations: int,
    meter: Meter,
    switch: float,
    goals: torch.Tensor,
) -> None:
    """`levenberg` in the core, one task a network."""
    rule = {
        "tries": TRIES,
        "lost": LOST,
        "corrections": CORRECTIONS,
        "patience": PATIENCE,
        "tol": state.tol,
        "switch": switch,
        "zero_soon": ZERO_SOON,
        "first": FIRST,
        "least": LEAST,
        "up": UP,
        "far": FAR,
        "down": DOWN,
        "wary": WARY,
        "close": CLOSE,
        "shrink": SHRINK,
        "bent": BENT,
        "ratio": RATIO,
        "slow": SLOW,
        "brisk": BRISK,
    }
    fresh = asdict(LevenbergState(iterations)) | {"over": False}
    at: dict[str, Any] = {
        name: torch.full((state.B,), value, dtype=_DTYPES[type(value)])
        for name, value in fresh.items()
    }
    at |= {
        "goal": goals.contiguous(),
        "grad": state.grad,
        "loss": state.loss,
        "grad_max": state.grad_max,
    }
    at |= {"moving": state.moving, "iterations": state.newton_iterations}
    at |= {"scale": state.objective.scale, "budget": CHUNK}
    call: Any = state.objective.levenberg  # type: ignore[attr-defined]
    pace = Pace()
    while work.numel():
        for part in pace.parts(work):
            state.check_time()
            call(state.theta, state.mask(part), rule, at)
            meter.update(int((state.grad_max <= state.tol).sum()), work.numel(), state.loss)
        work = work[at["over"][work] == 0]


def _still(
    state: Descent,
    work: torch.Tensor,
    tracks: dict[int, LevenbergState],
    switch: float,
    goals: torch.Tensor,
) -> torch.Tensor:
    """The networks that go on."""
    on = []
    for b in work.tolist():
        track, loss, scale = tracks[b], float(state.loss[b]), float(state.objective.scale[b])
        track.note(loss)
        there = loss <= float(goals[b]) * scale
        handed = float(state.grad_max[b]) <= switch and loss > ZERO_SOON * scale
        # The gradient asks for nothing more: go on down the valley only while that is cheap.
        enough = float(state.grad_max[b]) <= state.tol and track.since_decade > PATIENCE
        spent = track.failed or track.left <= 0 or track.since > PATIENCE
        if not (there or handed or spent or enough):
            on.append(b)
    return torch.tensor(on, dtype=torch.int64)


def together(objective: Objective, work: torch.Tensor) -> Iterator[torch.Tensor]:
    """Consecutive networks of ``work`` whose Jacobians may be held at once."""
    rows = _rows(objective)
    part: list[int] = []
    held = 0
    for b, size in zip(work.tolist(), objective.coords[work].tolist(), strict=True):
        if part and held + rows * size > TOGETHER:
            yield torch.tensor(part, dtype=torch.int64)
            part, held = [], 0
        part.append(b)
        held += rows * size
    if part:
        yield torch.tensor(part, dtype=torch.int64)


class Search:
    """The search for a step from one Jacobian: tell it outputs, it says where to look next.

    Args:
        both: J and r side by side, ``[M, P + 1]``, contiguous columns.
        mu: damping, or negative: start with `FIRST`.

    Attributes:
        step: float64 ``[P]``, where to evaluate the residual next, then the step taken.
        mu: the damping in use.
        taken: whether a step was found.
        failed: whether the search was given up.
    """

    def __init__(self, both: torch.Tensor, mu: float) -> None:
        # R of [J r] holds R of J and Q^T r; Q itself, half of the work, is not needed.
        factor = torch.linalg.qr(both, mode="r")[1]
        size = both.shape[1] - 1
        left, self._s, self._right = torch.linalg.svd(factor[:, :size], full_matrices=False)
        self._jacobian, self._residual = both[:, :size], both[:, size]
        self._along = torch.mv(left.T, factor[:, size])
        self._loss = float((self._residual * self._residual).sum())
        largest = float((self._s * self._s).sum())
        self.mu = max(FIRST * largest if mu < 0.0 else mu, LEAST * largest, 1e-300)
        self.tries = 0
        self.taken = self.failed = False
        self._begin()

    def _begin(self) -> None:
        """The straight step for this damping."""
        self._inverse = 1.0 / (self._s * self._s + self.mu)
        kept = self._s * self._s * self._inverse
        self.predicted = float((self._along**2 * kept * (2.0 - kept)).sum())
        self._straight = -torch.mv(self._right.T, self._s * self._inverse * self._along)
        self._goal = self._residual + torch.mv(self._jacobian, self._straight)
        self._small = CLOSE * float(torch.linalg.vector_norm(self._goal))
        self._reach = BENT * float(torch.linalg.vector_norm(self._straight))
        self.step = self._straight
        self._missed = float("inf")
        self._corrections = 0
        self._best_loss, self._best = float("inf"), self._straight

    def tell(self, residual: torch.Tensor) -> None:
        """Take note of the residual ``[M]`` at ``theta + step`` and go on."""
        loss = float((residual * residual).sum())
        if not loss < float("inf"):
            self._refuse()
            return
        if loss < self._best_loss:
            self._best_loss, self._best = loss, self.step
        miss = residual - self._goal
        missed = float(torch.linalg.vector_norm(miss))
        if (
            missed <= self._small
            or missed > SHRINK * self._missed
            or self._corrections == CORRECTIONS
        ):
            if self._loss - self._best_loss > RATIO * self.predicted:
                self.taken, self.step = True, self._best
            else:
                self._refuse()
            return
        self._missed = missed
        self._corrections += 1
        slope = torch.mv(self._right, torch.mv(self._jacobian.T, miss))
        turn = torch.mv(self._right.T, self._inverse * slope)
        self.step = self.step - turn
        if float(torch.linalg.vector_norm(self.step - self._straight)) > self._reach:
            self._refuse()

    def _refuse(self) -> None:
        self.tries += 1
        if self.tries >= TRIES:
            self.failed = True
            return
        self.mu *= UP if self.tries < LOST else FAR
        self._begin()


def _iterate(state: Descent, part: torch.Tensor, tracks: dict[int, LevenbergState]) -> None:
    """One Jacobian and one step (or none) for each network of ``part``."""
    objective: Any = state.objective
    rows, sizes = float(objective.rows), state.coords[part].to(torch.float64)
    both = dict(zip(part.tolist(), objective.jacobians(state.theta, part), strict=True))
    work = 4.0 * rows * float((sizes**2).sum())
    found = for_each(lambda b: Search(both[b], tracks[b].mu), part.tolist(), work)
    searches = dict(zip(part.tolist(), found, strict=True))
    places = {b: state.coordinates(b) for b in part.tolist()}
    for b in part.tolist():
        tracks[b].left -= 1
        state.newton_iterations[b] += 1
    pending = part
    while pending.numel():
        trial = _moved(state.theta, pending.tolist(), searches, places)
        outputs = objective.outputs(trial, pending)

        def note(b: int, outputs: torch.Tensor = outputs) -> None:
            searches[b].tell(objective.residual(outputs[b], b))

        work = 6.0 * rows * float(state.coords[pending].sum())
        # Threads only where a call of torch takes longer than their quarrel over the interpreter.
        for_each(note, pending.tolist(), work if rows * float(sizes.max()) > CROWDED else 0.0)
        on = [b for b in pending.tolist() if not (searches[b].taken or searches[b].failed)]
        pending = torch.tensor(on, dtype=torch.int64)
    _take(state, part, searches, places, tracks)


def _moved(
    theta: torch.Tensor,
    chosen: list[int],
    searches: dict[int, Search],
    places: dict[int, torch.Tensor],
) -> torch.Tensor:
    """The parameters after the steps of the chosen networks."""
    if not chosen:
        return theta.clone()
    where = torch.cat([places[b] for b in chosen])
    return theta.index_add(0, where, torch.cat([searches[b].step for b in chosen]))


def _take(
    state: Descent,
    part: torch.Tensor,
    searches: dict[int, Search],
    places: dict[int, torch.Tensor],
    tracks: dict[int, LevenbergState],
) -> None:
    """Take the steps found, where the loss as the objective computes it goes down."""
    ready = [b for b in part.tolist() if searches[b].taken]
    trial = _moved(state.theta, ready, searches, places)
    loss = torch.full_like(state.loss, float("nan"))
    grad = torch.zeros_like(state.theta)
    if ready:
        chosen = torch.tensor(ready, dtype=torch.int64)
        state.objective.loss_and_grad(trial, loss, grad, state.mask(chosen))
    for b in part.tolist():
        search, track = searches[b], tracks[b]
        track.mu = search.mu * (DOWN if search.tries < 2 else WARY)
        if search.taken and float(loss[b]) < float(state.loss[b]):
            length = float(torch.linalg.vector_norm(search.step))
            state.move(b, trial, loss, grad, length)
        else:
            track.failed = True
