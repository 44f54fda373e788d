"""Intervals for success rates, what the lottery says about width, and how much is unseen.

The lottery reading of width: a network of width m holds n narrow networks of width r, each wins on
its own with probability p, and the wide network fails only if all of them fail. Everything here
follows from ``P_fail(m) = (1 - p)^n``; what differs is the n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Posterior draws behind an `effective_tickets` interval, and their fixed seed.
DRAWS = 20_000
SEED = 20_210_526


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; bounds may be 0 or infinite."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


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
    _check_counts(k, n)
    _check_conf(conf)
    z = _reach(conf)
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
    _check_counts(k_m, n_m)
    _check_counts(k_r, n_r)
    _check_conf(conf)
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


def bootstrap(
    rows: npt.ArrayLike,
    statistic: Callable[[npt.NDArray[np.float64]], float],
    conf: float = 0.95,
    draws: int = 2000,
    seed: int = SEED,
) -> Interval:
    """Percentile bootstrap interval of a statistic of independent rows.

    Rows are drawn with replacement, all n of them each time. Put into one row whatever belongs
    together (all runs from one minimum, say), and the interval respects that.

    Args:
        rows: float ``[n, ...]``.
        statistic: of such an array; draws where it is NaN are left out.
        conf: coverage.
        draws: resamples.
        seed: of the resamples.

    Returns:
        `Interval` with the statistic of the rows as they are; bounds NaN if every draw is NaN.

    Raises:
        ValueError: no rows, or a number out of range.

    Example:
        >>> bootstrap([0.0, 1.0, 1.0, 0.0], np.mean).value
        0.5

    Reference: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    data = np.asarray(rows, dtype=np.float64)
    if data.ndim < 1 or not len(data):
        raise ValueError(f"rows must hold at least one row, got shape {list(data.shape)}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    _check_conf(conf)
    generator = np.random.Generator(np.random.Philox(seed))
    picks = generator.integers(0, len(data), (draws, len(data)))
    found = np.array([float(statistic(data[pick])) for pick in picks])
    found = found[~np.isnan(found)]
    value = float(statistic(data))
    if not found.size:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(found, [(1 - conf) / 2, (1 + conf) / 2])
    return Interval(value, float(low), float(high))


def good_turing(counts: npt.ArrayLike, conf: float = 0.95) -> Interval:
    """Coverage of a sample: the probability that the next run meets something seen before.

    ``C = 1 - f1 / n`` with f1 kinds seen exactly once in n runs; its interval is Esty's normal
    one, with standard error ``sqrt(f1 (1 - f1/n) + 2 f2) / n``, cut to [0, 1].

    Args:
        counts: how often each kind was seen, integers >= 0 (zeros are ignored).
        conf: coverage of the interval.

    Returns:
        `Interval`; NaN without any run.

    Example:
        >>> round(good_turing([5, 3, 1, 1]).value, 3)
        0.8

    Reference: I. J. Good, Biometrika 40 (1953) 237; W. W. Esty, Ann. Statist. 11 (1983) 905.
    """
    n, _, once, twice = _frequencies(counts)
    _check_conf(conf)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    value = 1.0 - once / n
    error = math.sqrt(once * (1.0 - once / n) + 2.0 * twice) / n
    reach = _reach(conf) * error
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach))


@dataclass(frozen=True)
class Richness:
    """Chao's estimate of how many kinds there are, seen and unseen.

    Attributes:
        seen: kinds seen.
        total: the estimate, with its interval; a lower bound in expectation.
        variance: of the estimate.
    """

    seen: int
    total: Interval
    variance: float


def chao1(counts: npt.ArrayLike, conf: float = 0.95) -> Richness:
    """Number of kinds, from how many were seen once and twice (bias-corrected Chao1).

    ``S = S_seen + c f1 (f1 - 1) / (2 (f2 + 1))`` with ``c = (n - 1) / n``, f1 and f2 the kinds
    seen once and twice in n runs. The interval is log-normal in the unseen number; it starts at
    ``S_seen``. Kinds too rare to be hinted at by f1 and f2 are not in it.

    Args:
        counts: how often each kind was seen, integers >= 0 (zeros are ignored).
        conf: coverage of the interval.

    Returns:
        `Richness`.

    Example:
        >>> str(chao1([10, 4, 1, 1, 1, 2]).total)
        '7.42 [6.14, 20.4]'

    Reference: A. Chao, Biometrics 43 (1987) 783; R. K. Colwell, "EstimateS user's guide",
    appendix B (variances with f2 = 0 and intervals with f1 = 0).
    """
    n, seen, once, twice = _frequencies(counts)
    _check_conf(conf)
    z = _reach(conf)
    if n == 0:
        return Richness(0, Interval(0.0, 0.0, math.inf), math.nan)
    c = (n - 1) / n
    unseen = c * once * (once - 1) / (2 * (twice + 1))
    if unseen == 0.0:
        return _saturated(n, seen, z)
    variance = unseen + c * c * once * (2 * once - 1) ** 2 / (4 * (twice + 1) ** 2)
    if twice:
        variance += c * c * once**2 * twice * (once - 1) ** 2 / (4 * (twice + 1) ** 4)
    else:
        variance -= c * c * once**4 / (4 * (seen + unseen))
    factor = math.exp(z * math.sqrt(math.log1p(variance / unseen**2)))
    total = Interval(seen + unseen, seen + unseen / factor, seen + unseen * factor)
    return Richness(seen, total, variance)


def _saturated(n: int, seen: int, z: float) -> Richness:
    """No sign of unseen kinds: the interval comes from the chance to have missed an average one."""
    missed = math.exp(-n / seen)
    variance = seen * missed * (1.0 - missed)
    centre, reach = seen / (1.0 - missed), z * math.sqrt(variance) / (1.0 - missed)
    return Richness(
        seen, Interval(float(seen), max(float(seen), centre - reach), centre + reach), variance
    )


def _frequencies(counts: npt.ArrayLike) -> tuple[int, int, int, int]:
    """(runs, kinds seen, seen once, seen twice)."""
    values = np.asarray(counts)
    if values.size and (values.dtype.kind not in "iu" or int(values.min()) < 0):
        raise ValueError(f"counts must be integers >= 0, got {values!r}")
    return (
        int(values.sum()),
        int((values > 0).sum()),
        int((values == 1).sum()),
        int((values == 2).sum()),
    )


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


def _check_counts(k: int, n: int) -> None:
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"need 0 <= k <= n and n >= 1, got k={k}, n={n}")


def _check_lottery(p: float, r: int, m: int) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p must be a probability, got {p}")
    if r < 1 or m < 1:
        raise ValueError(f"widths must be at least 1, got r={r}, m={m}")


def _check_conf(conf: float) -> None:
    if not 0.0 < conf < 1.0:
        raise ValueError(f"conf must lie between 0 and 1, got {conf}")


def _reach(conf: float) -> float:
    """The z with a share ``conf`` of the normal distribution within ``-z..z``."""
    from scipy.special import ndtri  # heavy, and the workers of sweeps need no intervals

    return float(ndtri(0.5 + conf / 2.0))
