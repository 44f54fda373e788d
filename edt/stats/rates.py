"""Success rates, and what the lottery says about their growth with width.

The lottery reading of width: a network of width m holds n narrow networks of width r, each wins on
its own with probability p, and the wide network fails only if all of them fail. Everything here
follows from ``P_fail(m) = (1 - p)^n``; what differs is the n.
"""

from __future__ import annotations

import math

import numpy as np

from edt.stats.interval import SEED, Interval, check_conf, check_counts, normal_reach

#: Posterior draws behind an `effective_tickets` interval.
DRAWS = 20_000


def wilson(k: int, n: int, conf: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion.

    ``(k/n + z^2/2n +- z sqrt(k/n (1 - k/n) / n + z^2/4n^2)) / (1 + z^2/n)`` with z the normal
    quantile of ``(1 + conf) / 2``; it stays inside [0, 1] and behaves at k = 0 and k = n.

    Args:
        k: successes, ``0 <= k <= n``.
        n: trials, at least 1.
        conf: coverage, between 0 and 1.

    Returns:
        `Interval` with value ``k / n``.

    Raises:
        ValueError: counts or coverage out of range.

    Example:
        >>> str(wilson(8, 10))
        '0.8 [0.49, 0.943]'

    Reference: E. B. Wilson, JASA 22 (1927) 209.
    """
    check_counts(k, n)
    check_conf(conf)
    z = normal_reach(conf)
    rate = k / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if k == 0 else max(0.0, centre - half)
    high = 1.0 if k == n else min(1.0, centre + half)
    return Interval(rate, low, high)


def disjoint_tickets(p: float, r: int, m: int) -> float:
    """Predicted success of width m from floor(m/r) disjoint, independent tickets of width r.

    ``1 - (1 - p)^floor(m/r)``.

    Args:
        p: success rate of width r trained alone.
        r, m: narrow and wide width.
    """
    _check_lottery(p, r, m)
    return _any_wins(p, m // r)


def combinatorial_tickets(p: float, r: int, m: int) -> float:
    """Predicted success of width m if every subset of r neurons were an independent ticket.

    ``1 - (1 - p)^C(m, r)``, the count the metaphor suggests; the subsets overlap, so they are not
    independent, and the comparison with data shows by how much.

    Args:
        p, r, m: as in `disjoint_tickets`.
    """
    _check_lottery(p, r, m)
    return _any_wins(p, math.comb(m, r))


def effective_tickets(k_m: int, n_m: int, k_r: int, n_r: int, conf: float = 0.95) -> Interval:
    """Number of independent tickets that would explain the success rate at width m.

    ``n_eff = ln P_fail(m) / ln(1 - p)`` with ``P_fail(m) = 1 - k_m/n_m`` and ``p = k_r/n_r``.

    The interval is that of ``n_eff`` under independent Beta posteriors of the two rates (Jeffreys
    prior, 20,000 draws, fixed seed, equal tails). Where a rate is 0 or 1 the data bound n_eff on
    one side only: all seeds of width m succeeded -> value and upper end infinite, the lower end
    still informative; none did -> value and lower end 0; p = 0 with success at m -> infinite.

    Args:
        k_m, n_m: successes and seeds at width m.
        k_r, n_r: successes and seeds at width r.
        conf: coverage.

    Returns:
        `Interval`; value NaN where the data say nothing (both rates 0, or both 1).

    Example:
        >>> round(effective_tickets(831, 1000, 198, 1000).value, 1)
        8.1
    """
    check_counts(k_m, n_m)
    check_counts(k_r, n_r)
    check_conf(conf)
    generator = np.random.Generator(np.random.Philox(SEED))
    fail = generator.beta(n_m - k_m + 0.5, k_m + 0.5, DRAWS)
    lose = generator.beta(n_r - k_r + 0.5, k_r + 0.5, DRAWS)
    draws = np.log(fail) / np.log(lose)
    tails = ((1 - conf) / 2, (1 + conf) / 2)
    low, high = (float(q) for q in np.quantile(draws, tails))
    if k_m == 0:
        low = 0.0
    if k_m == n_m or k_r == 0:
        high = math.inf
    if k_r == n_r:
        low = 0.0
    return Interval(_ratio(k_m, n_m, k_r, n_r), low, high)


def _ratio(k_m: int, n_m: int, k_r: int, n_r: int) -> float:
    wide = math.inf if k_m == n_m else -math.log1p(-k_m / n_m)
    narrow = math.inf if k_r == n_r else -math.log1p(-k_r / n_r)
    if wide == narrow and (wide == 0.0 or math.isinf(wide)):
        return math.nan
    if narrow == 0.0:
        return math.inf
    return 0.0 if math.isinf(narrow) else wide / narrow


def _any_wins(p: float, tickets: int) -> float:
    if p == 1.0:
        return 1.0 if tickets else 0.0
    return -math.expm1(tickets * math.log1p(-p))


def _check_lottery(p: float, r: int, m: int) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p must be a probability, got {p}")
    if r < 1 or m < 1:
        raise ValueError(f"widths must be at least 1, got r={r}, m={m}")
