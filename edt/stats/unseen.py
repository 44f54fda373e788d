"""How much a sample has not seen: coverage and the number of kinds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy.typing as npt

from edt.stats.door import counts as whole_counts
from edt.stats.interval import Interval, check_conf, normal_reach


def good_turing(counts: npt.ArrayLike, conf: float = 0.95) -> Interval:
    """Coverage of a sample: the probability that the next run meets something seen before.

    ``C = 1 - f1 / n`` with f1 kinds seen exactly once in n runs; its interval is Esty's normal one
    with one more kind seen once and one more seen twice, so that it does not shrink to a point
    where there are none: standard error ``sqrt((f1 + 1)(1 - f1/(n + 1)) + 2 (f2 + 1)) / n``, cut
    to [0, 1].

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
    check_conf(conf)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    value = 1.0 - once / n
    error = math.sqrt((once + 1) * (1.0 - once / (n + 1)) + 2.0 * (twice + 1)) / n
    reach = normal_reach(conf) * error
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
    seen once and twice in n runs. The interval starts at ``S_seen``: it holds the unseen numbers f0
    that a likelihood ratio does not reject, with f0, f1 and f2 Poisson counts of kinds that are met
    equally often (means ``phi``, ``phi mu``, ``phi mu^2 / 2``), its upper end with one more kind
    seen once and one more seen twice, so that it does not shrink to a point where there are few.
    (The log-normal interval leaves ``S_seen`` out wherever f1 > 1, also when nothing is unseen.)
    Kinds too rare to be hinted at by f1 and f2 are not in it.

    Args:
        counts: how often each kind was seen, integers >= 0 (zeros are ignored).
        conf: coverage of the interval.

    Returns:
        `Richness`.

    Example:
        >>> str(chao1([10, 4, 1, 1, 1, 2]).total)
        '7.42 [6, 52.1]'

    Reference: A. Chao, Biometrics 43 (1987) 783; R. K. Colwell, "EstimateS user's guide",
    appendix B (variances with f2 = 0 and intervals with f1 = f2 = 0).
    """
    n, seen, once, twice = _frequencies(counts)
    check_conf(conf)
    z = normal_reach(conf)
    if n == 0:
        return Richness(0, Interval(0.0, 0.0, math.inf), math.nan)
    c = (n - 1) / n
    unseen = c * once * (once - 1) / (2 * (twice + 1))
    if once == twice == 0:
        return _saturated(n, seen, z)
    variance = unseen + c * c * once * (2 * once - 1) ** 2 / (4 * (twice + 1) ** 2)
    if unseen == 0.0:
        variance = _saturated(n, seen, z).variance
    elif twice:
        variance += c * c * once**2 * twice * (once - 1) ** 2 / (4 * (twice + 1) ** 4)
    else:
        variance -= c * c * once**4 / (4 * (seen + unseen))
    low = min(_edge(once, twice, z, upper=False), unseen)
    high = max(_edge(once + 1, twice + 1, z, upper=True), unseen)
    return Richness(seen, Interval(seen + unseen, seen + low, seen + high), variance)


def _edge(once: int, twice: int, z: float, *, upper: bool) -> float:
    """The least, or largest, unseen number f0 with a likelihood ratio of at most z^2."""
    best = once**2 / (2.0 * twice) if twice else math.inf
    if not upper and _ratio(0.0, once, twice) <= z * z:
        return 0.0
    inside = best
    if math.isinf(best):  # any large number fits: without doubletons the ratio falls for ever
        inside = 1.0
        while _ratio(inside, once, twice) > z * z:
            inside *= 2.0
    outside = 0.0
    if upper:
        outside = inside + 1.0
        while _ratio(outside, once, twice) <= z * z:
            outside *= 2.0
    for _ in range(60):
        middle = (inside + outside) / 2.0
        if _ratio(middle, once, twice) <= z * z:
            inside = middle
        else:
            outside = middle
    return inside


def _ratio(unseen: float, once: int, twice: int) -> float:
    """Twice the log likelihood ratio of Poisson counts (f0, f1, f2) against means phi, phi mu and
    phi mu^2 / 2 at their best."""
    total = unseen + once + twice
    rate = (once + 2 * twice) / total
    if rate >= 2.0:  # doubletons alone: mu is infinite
        return 0.0
    mu = (rate - 1.0 + math.sqrt(1.0 + 2.0 * rate - rate * rate)) / (2.0 - rate)
    phi = total / (1.0 + mu + mu * mu / 2.0)
    out = 0.0
    for found, mean in ((unseen, phi), (once, phi * mu), (twice, phi * mu * mu / 2.0)):
        out += mean - found + (found * math.log(found / mean) if found else 0.0)
    return 2.0 * out


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
    values = whole_counts("counts", counts)
    return (
        int(values.sum()),
        int((values > 0).sum()),
        int((values == 1).sum()),
        int((values == 2).sum()),
    )
