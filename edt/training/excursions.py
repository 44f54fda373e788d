"""To the bottom of the valleys of zero loss: Levenberg-Marquardt let loose, kept where it is lower.

Near loss 0 the least singular values of the Jacobian J of the residuals r shrink with r, and the
directions they belong to want steps of a length of about 1, however small r is. The floor of the
valley bends over that length. A method that must lower the loss at every step has to stay on the
floor to a precision of ``|r|``; the steps that do so shrink like a root of ``|r|``, and the method
creeps. (Rounding has no part in it: the same steps fail in extended precision.)

An excursion takes the long steps instead. From the lowest point so far it runs

    theta <- theta - (J^T J + mu)^-1 J^T r,      mu = c (|r|^2 / S) |J|_F^2,

with S the targets' size, whatever becomes of the loss: the first step leaves the floor by its
curvature, the next ones fall back onto it further on, the loss about squared by each. With damping
in proportion to ``|r|^2`` that convergence is quadratic towards a *set* of zeros, along which J is
singular (Yamashita and Fukushima; Fan and Yuan). The network moves whenever a point is lower than
all before it; where none is in time, another c is tried, and a network whose excursions all fail
stays at its lowest point (the watchdog technique of Chamberlain et al.). So its loss never rises.

The step is solved by QR of J on top of ``sqrt(mu) I``: singular values count down to 1e-13 of the
largest, and ``J^T J`` knows half of those digits.

References: N. Yamashita, M. Fukushima, "On the rate of convergence of the Levenberg-Marquardt
method", Computing Supplementa 15, 2001; J. Fan, Y. Yuan, "On the quadratic convergence of the
Levenberg-Marquardt method without nonsingularity assumption", Computing 74, 2005; R. Chamberlain,
M. Powell, C. Lemarechal, H. Pedersen, "The watchdog technique for forcing convergence in algorithms
for constrained optimization", Mathematical Programming Study 16, 1982.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from edt import _core
from edt.curvature.dense import for_each
from edt.training.descent import RUNNING, Descent, Pace
from edt.training.levenberg import FLOOR, together
from edt.training.progress import Meter

__all__ = ["DEEP", "GOOD", "MORE_SHARES", "excursions"]

#: Loss, as a share of the targets' size, from which excursions set out. Above it they might end in
#: another basin than the network's.
GOOD = 1e-8
#: Share from which a network counts as being on its way to zero, whatever the linear model says.
DEEP = 1e-18
#: Factors c on the damping, tried in turn; the longer list is for networks that need patience.
SHARES = (1e-4, 1e-2, 1e-6)
MORE_SHARES = (1e-3, 1e-5, 1e-1, *SHARES)
#: Least damping as a share of ``|J|_F^2``: below its root, singular values are rounding.
LEAST = 1e-27
#: Steps in which the loss must lose nine tenths; else the next c.
PATIENCE, BRISK = 60, 0.1
#: A network whose residual keeps this share of its square in the linear model, undamped, is at a
#: minimum above zero.
HOPELESS = 0.9
#: Most coordinates of a network that the core factorises; LAPACK is faster above.
SMALL = 256
#: Jacobians of a network in one call of the core.
CHUNK = 50
#: Codes of where an excursion stands, as the core has them.
FRESH, GOING, OVER = (_core.CODES["excursion"].index(name) for name in ("fresh", "going", "over"))


@dataclass
class ExcursionState:
    """One network's excursion.

    Attributes:
        shares: factors c, the one in use first.
        left: Jacobians it may still take.
        best: the lowest loss met.
        lowest: coordinates there.
        mark: loss that `BRISK` is measured from.
        since: steps since then.
        tried: factors c that have failed in a row.
    """

    shares: tuple[float, ...]
    left: int
    best: float
    lowest: torch.Tensor
    mark: float
    since: int = 0
    tried: int = 0

    def note(self, loss: float, place: torch.Tensor) -> bool:
        """Take note of the loss after a step to ``place``; whether c has failed."""
        self.left -= 1
        self.since += 1
        if loss < self.best:
            self.best, self.lowest = loss, place
        if self.best <= BRISK * self.mark:
            self.mark, self.since, self.tried = self.best, 0, 0
        if self.since < PATIENCE:
            return False
        self.give_up()
        return True

    def give_up(self) -> None:
        """Go on with the next c."""
        self.since, self.tried = 0, self.tried + 1
        self.shares = (*self.shares[1:], self.shares[0])


def excursions(
    state: Descent,
    chosen: torch.Tensor,
    iterations: int,
    meter: Meter,
    *,
    least: float,
    shares: tuple[float, ...] = SHARES,
    back: bool = False,
) -> None:
    """Lower the squared error of the chosen networks near zero loss; decides nobody's status.

    Works on networks with a loss of at most `GOOD` times the targets' size. An excursion ends at
    `FLOOR`, when all ``shares`` have failed in a row, or when the budget is spent.

    Args:
        state: updated in place.
        chosen: networks to work on; see `edt.training.levenberg.can_levenberg`.
        iterations: Jacobians each network may take.
        meter: progress.
        least: a network moves to the lowest point where that is below this share of the targets'
            size, and nine tenths of the loss are gone. A point that is not near 0 may lie in a
            channel to infinity that the network was not in.
        shares: factors c.
        back: whether each c sets out from where the network stands, not from where the last one
            ended.
    """
    work = chosen[state.status[chosen] == RUNNING]
    share = state.loss[work] / state.objective.scale[work]
    work = work[(share <= GOOD) & (share > FLOOR)]
    small = state.coords[work] <= SMALL
    if not hasattr(state.objective, "excursions"):
        small.fill_(False)
    _compiled(state, work[small], iterations, meter, least, shares, back)
    _plain(state, work[~small], iterations, meter, least, shares, back)


def _compiled(
    state: Descent,
    work: torch.Tensor,
    iterations: int,
    meter: Meter,
    least: float,
    shares: tuple[float, ...],
    back: bool,
) -> None:
    """`excursions` in the core, one task a network."""
    if not work.numel():
        return
    trial, rule, at = _setting_out(state, iterations, shares, back)
    call: Any = state.objective.excursions  # type: ignore[attr-defined]
    pace = Pace()
    while work.numel():
        for part in pace.parts(work):
            state.check_time()
            call(trial, state.mask(part), rule, at)
            meter.update(int((state.grad_max <= state.tol).sum()), work.numel(), state.loss)
        phase = at["phase"][work]
        ended = work[phase == OVER]
        state.newton_iterations[ended] += at["taken"][ended]
        _keep(state, ended, at["best"], at["lowest"], least)
        work = work[phase == GOING]


def _setting_out(
    state: Descent, iterations: int, shares: tuple[float, ...], back: bool
) -> tuple[torch.Tensor, dict[str, Any], dict[str, Any]]:
    """Parameters to be moved, and what the core is told and says, by name."""
    rule = {
        "shares": torch.tensor(shares, dtype=torch.float64),
        "count": len(shares),
        "back": back,
        "patience": PATIENCE,
        "least": LEAST,
        "brisk": BRISK,
        "hopeless": HOPELESS,
        "deep": DEEP,
        "floor": FLOOR,
    }
    counts = torch.zeros(4, state.B, dtype=torch.int64)
    at = dict(zip(("since", "tried", "share", "taken"), counts, strict=True))
    at |= {"start": state.theta.clone(), "lowest": state.theta.clone()}
    at |= {"best": state.loss.clone(), "mark": state.loss.clone()}
    at |= {"phase": torch.full((state.B,), FRESH, dtype=torch.int8)}
    return (
        state.theta.clone(),
        rule,
        {**at, "scale": state.objective.scale, "most": iterations, "budget": CHUNK},
    )


def _plain(
    state: Descent,
    work: torch.Tensor,
    iterations: int,
    meter: Meter,
    least: float,
    shares: tuple[float, ...],
    back: bool,
) -> None:
    """`excursions` with LAPACK, for large networks and objectives outside the core."""
    work = _promising(state, work)
    tracks = {}
    for b in work.tolist():
        loss = float(state.loss[b])
        tracks[b] = ExcursionState(
            shares, iterations, loss, state.theta[state.coordinates(b)], loss
        )
    trial = state.theta.clone()
    while work.numel():
        for part in together(state.objective, work):
            state.check_time()
            _iterate(state, part, trial, tracks, back)
            meter.update(int((state.grad_max <= state.tol).sum()), work.numel(), state.loss)
        over = [_over(tracks[b], float(state.objective.scale[b])) for b in work.tolist()]
        ended = torch.tensor(over, dtype=torch.bool)
        best, lowest = state.loss.clone(), state.theta.clone()
        for b in work[ended].tolist():
            best[b], lowest[state.coordinates(b)] = tracks[b].best, tracks[b].lowest
        _keep(state, work[ended], best, lowest, least)
        work = work[~ended]


def _over(track: ExcursionState, scale: float) -> bool:
    """Whether an excursion has ended."""
    return track.best <= FLOOR * scale or track.tried >= len(track.shares) or track.left <= 0


def _promising(state: Descent, work: torch.Tensor) -> torch.Tensor:
    """The networks that the linear model promises a lower loss."""
    objective: Any = state.objective
    on: list[int] = []
    for part in together(state.objective, work):
        both = dict(zip(part.tolist(), objective.jacobians(state.theta, part), strict=True))
        left = for_each(lambda b: damped(both[b], LEAST)[1], part.tolist(), _cost(state, part))  # noqa: B023
        on += [
            b
            for b, kept in zip(part.tolist(), left, strict=True)
            if kept <= HOPELESS * float(state.loss[b])
            or float(state.loss[b]) <= DEEP * float(objective.scale[b])
        ]
    return torch.tensor(on, dtype=torch.int64)


def _cost(state: Descent, part: torch.Tensor) -> float:
    """Multiplications in the factorisations of some networks."""
    rows = float(getattr(state.objective, "rows", None) or 1)
    return 2.0 * rows * float((state.coords[part].to(torch.float64) ** 2).sum())


def _iterate(
    state: Descent,
    part: torch.Tensor,
    trial: torch.Tensor,
    tracks: dict[int, ExcursionState],
    back: bool,
) -> None:
    """One step of each network of ``part`` from ``trial`` (flat, updated in place)."""
    objective: Any = state.objective
    both = dict(zip(part.tolist(), objective.jacobians(trial, part), strict=True))
    shares = {}
    for b in part.tolist():
        at, track = state.coordinates(b), tracks[b]
        loss = float((both[b][:, -1] ** 2).sum())
        state.newton_iterations[b] += 1
        failed = track.note(loss, trial[at])
        if failed and back:
            trial[at] = state.theta[at]
        elif loss < float("inf"):
            shares[b] = max(track.shares[0] * loss / float(objective.scale[b]), LEAST)
        else:
            track.give_up()
            trial[at] = track.lowest
    going = list(shares)
    steps = for_each(lambda b: damped(both[b], shares[b]), going, _cost(state, part))
    for b, (step, _) in zip(going, steps, strict=True):
        trial[state.coordinates(b)] += step


def _keep(
    state: Descent, ended: torch.Tensor, best: torch.Tensor, lowest: torch.Tensor, least: float
) -> None:
    """Move networks to their lowest points, where the loss as the objective has it is lower.

    Args:
        ended: the networks.
        best: float64 ``[B]``, the lowest losses met.
        lowest: flat, the parameters there.
        least: see `excursions`.
    """
    worth = (best <= least * state.objective.scale) & (best <= BRISK * state.loss)
    moving = ended[worth[ended]]
    if not moving.numel():
        return
    loss = torch.full_like(state.loss, float("nan"))
    grad = torch.zeros_like(state.theta)
    state.objective.loss_and_grad(lowest, loss, grad, state.mask(moving))
    for b in moving.tolist():
        if float(loss[b]) < float(state.loss[b]):
            at = state.coordinates(b)
            length = float(torch.linalg.vector_norm(lowest[at] - state.theta[at]))
            state.move(b, lowest, loss, grad, length)


def damped(both: torch.Tensor, share: float) -> tuple[torch.Tensor, float]:
    """``-(J^T J + mu)^-1 J^T r`` with ``mu = share * |J|_F^2``.

    Args:
        both: J and r side by side, float64 ``[M, P + 1]``.
        share: of the damping, > 0.

    Returns:
        The step p, float64 ``[P]``, and ``|r + J p|^2 + mu |p|^2``.
    """
    rows, size = both.shape[0], both.shape[1] - 1
    stacked = torch.zeros(size + 1, rows + size, dtype=both.dtype).T
    stacked[:rows] = both
    mu = share * float((both[:, :size] ** 2).sum())
    stacked[rows:, :size].diagonal().fill_(max(mu, 1e-300) ** 0.5)
    # R of [J r; sqrt(mu) I 0] holds R of the first columns and Q^T of the last.
    factor = torch.linalg.qr(stacked, mode="r")[1]
    step: torch.Tensor = torch.linalg.solve_triangular(
        factor[:size, :size], factor[:size, size:], upper=True
    )
    return -step[:, 0], float(factor[size, size]) ** 2
