"""Is one number of tickets enough for all targets?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.optimize import minimize_scalar
from scipy.special import chdtrc  # scipy.stats takes a second to import

__all__ = ["SharedTickets", "shared_tickets"]

#: Range of the shared number of tickets, and of ln(-ln(1 - p)).
TICKETS, HAZARD = (1e-3, 1e4), (-20.0, 5.0)


@dataclass(frozen=True)
class SharedTickets:
    """One number of tickets for all targets, and how badly it fits.

    Attributes:
        value: n of the greatest likelihood.
        statistic: twice the log-likelihood that a number for each target gains.
        dof: targets less one.
        p: chance of at least that if one number were right (chi-squared).
    """

    value: float
    statistic: float
    dof: int
    p: float


def shared_tickets(
    wide: Sequence[tuple[int, int]], narrow: Sequence[tuple[int, int]]
) -> SharedTickets:
    """Likelihood ratio test of one effective number of tickets n for all targets.

    Narrow networks of target t win with probability p_t, wide ones fail with ``(1 - p_t)^n``, each
    target with its own p_t, n shared. Against it: rates of its own for every cell, which is a
    number of tickets of its own for every target.

    Args:
        wide: (wins, runs) at width m, a pair a target.
        narrow: the same at width r.

    Returns:
        `SharedTickets`; NaN for a single target.

    Raises:
        ValueError: the two do not pair up, or counts that cannot be.

    Example:
        >>> shared_tickets([(75, 100), (36, 100)], [(50, 100), (20, 100)]).p > 0.9
        True
        >>> shared_tickets([(94, 100), (20, 100)], [(50, 100), (20, 100)]).p < 0.001
        True

    Reference: S. Wilks, Ann. Math. Statist. 9 (1938) 60.
    """
    if not wide or len(wide) != len(narrow):
        raise ValueError(f"wide and narrow must pair up, got {len(wide)} and {len(narrow)} targets")
    if any(not 0 <= k <= n or n < 1 for k, n in (*wide, *narrow)):
        raise ValueError("every pair needs 0 <= wins <= runs and runs >= 1")
    if len(wide) == 1:
        return SharedTickets(math.nan, math.nan, 0, math.nan)
    pairs = list(zip(wide, narrow, strict=True))
    best = minimize_scalar(
        lambda log_n: -sum(_profile(one, other, log_n) for one, other in pairs),
        bounds=tuple(map(math.log, TICKETS)), method="bounded", options={"xatol": 1e-6},
    )  # fmt: skip
    saturated = sum(_binomial(k, n, k / n) for k, n in (*wide, *narrow))
    statistic = max(2.0 * (saturated + float(best.fun)), 0.0)
    dof = len(wide) - 1
    return SharedTickets(math.exp(float(best.x)), statistic, dof, float(chdtrc(dof, statistic)))


def _profile(wide: tuple[int, int], narrow: tuple[int, int], log_n: float) -> float:
    """Log-likelihood of one target at its best p, given n."""

    def negative(log_hazard: float) -> float:
        hazard = math.exp(log_hazard)
        win_wide = -math.expm1(-hazard * math.exp(log_n))
        return -(_binomial(*wide, win_wide) + _binomial(*narrow, -math.expm1(-hazard)))

    found = minimize_scalar(negative, bounds=HAZARD, method="bounded", options={"xatol": 1e-7})
    return -float(found.fun)


def _binomial(k: int, n: int, p: float) -> float:
    p = min(max(p, 1e-300), 1.0 - 1e-16)
    return k * math.log(p) + (n - k) * math.log1p(-p)
