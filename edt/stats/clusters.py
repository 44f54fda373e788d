"""Intervals where runs come in few clusters: teachers, tickets, minima.

Runs of one teacher, or splits of one minimum, are no independent draws of what the teachers, or the
minima, are like: the cluster is the unit. With a handful of clusters a percentile bootstrap is far
too sure of itself (it covers 78% at 5 clusters where 95% are asked for), so these intervals are
Student's, with one degree of freedom less than there are clusters.

References: W. S. Gosset, Biometrika 6 (1908) 1; E. Korn, B. Graubard, Survey Methodology 24 (1998)
193; N. Dean, M. Pagano, Stata J. 15 (2015) 484 (rates); B. Efron, C. Stein, Ann. Statist. 9 (1981)
586 (jackknife); B. Efron, JASA 82 (1987) 171 (BCa).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edt.scalars import integer
from edt.stats.door import groups, numbers, same_rows
from edt.stats.interval import SEED, Interval, check_conf, student_reach

__all__ = ["bca", "cluster_rate", "jackknife", "mean_interval", "paired_interval", "ratio_interval"]

Floats = npt.NDArray[np.float64]


def mean_interval(values: npt.ArrayLike, conf: float = 0.95) -> Interval:
    """Student's interval of a mean: ``mean +- t_{k-1} s / sqrt(k)``.

    Args:
        values: float ``[k]``, one number a cluster (its mean, or a paired difference).
        conf: coverage.

    Returns:
        `Interval`; bounds NaN for a single cluster.

    Raises:
        ValueError: no values, or a coverage out of range.

    Example:
        >>> str(mean_interval([0.1, 0.3, 0.2, 0.4]))
        '0.25 [0.0446, 0.455]'
    """
    data = _rows("values", values)
    check_conf(conf)
    k = len(data)
    value = float(data.mean())
    if k < 2:
        return Interval(value, math.nan, math.nan)
    reach = student_reach(conf, k - 1) * float(data.std(ddof=1)) / math.sqrt(k)
    return Interval(value, value - reach, value + reach)


def cluster_rate(wins: npt.ArrayLike, runs: npt.ArrayLike, conf: float = 0.95) -> Interval:
    """Rate of wins of clustered runs: Wilson's interval at the effective number of runs.

    ``p = sum w / sum n``; the linearised variance between clusters,
    ``v = k/(k-1) sum (w_i - p n_i)^2 / (sum n)^2``, against the binomial one gives the design
    effect ``d = max(1, v N / p(1-p))``. The bounds are Wilson's with ``N/d`` runs and Student's
    quantile for the normal one: k - 1 degrees of freedom, and where d is at its floor
    Satterthwaite's ``(k-1) (p(1-p) / v N)^2``, what is added to v there being known and not
    estimated. With one run a cluster that is Wilson's own, but for the quantile.

    Args:
        wins, runs: ``[k]``, of each cluster.
        conf: coverage.

    Returns:
        `Interval` within [0, 1]; the bounds are 0 and 1 for a single cluster: it says nothing of
        the others.

    Raises:
        ValueError: counts that cannot be, or a coverage out of range.

    Example:
        >>> str(cluster_rate([8, 9, 4], [10, 10, 10]))
        '0.7 [0.149, 0.968]'
    """
    same_rows(wins=wins, runs=runs)
    won, tried = _rows("wins", wins), _rows("runs", runs)
    check_conf(conf)
    fits = won.shape == tried.shape and bool((tried >= 1).all())
    if not fits or bool(((won < 0) | (won > tried)).any()):
        raise ValueError("every cluster needs 0 <= wins <= runs and runs >= 1")
    k, total = len(won), float(tried.sum())
    rate = float(won.sum()) / total
    if k < 2:
        return Interval(rate, 0.0, 1.0)
    spread = k / (k - 1) * float(((won - rate * tried) ** 2).sum()) / total
    plain = rate * (1.0 - rate)
    design = max(1.0, spread / plain) if plain > 0.0 else 1.0
    # Never fewer than one run a cluster: clusters that agree to the last run are independent still.
    size = max(total / design, float(min(k, total)))
    if plain == 0.0:
        size = float(k)  # nothing is known of how clusters differ
    floored = 0.0 < spread < plain
    t = student_reach(conf, (k - 1) * ((plain / spread) ** 2 if floored else 1.0))
    centre = (rate + t * t / (2 * size)) / (1 + t * t / size)
    half = t / (1 + t * t / size) * math.sqrt(plain / size + t * t / (4 * size * size))
    low = 0.0 if rate == 0.0 else max(0.0, centre - half)
    high = 1.0 if rate == 1.0 else min(1.0, centre + half)
    return Interval(rate, low, high)


def paired_interval(
    differences: npt.ArrayLike, clusters: npt.ArrayLike, conf: float = 0.95
) -> Interval:
    """Student's interval of the mean of paired differences of yes-or-no outcomes in clusters.

    ``mean d +- t_{k-1} se`` with the linearised variance between clusters,
    ``se^2 = k/(k-1) sum_c (sum_{i in c} d_i - mean d)^2 / n^2``, but never less than that of
    independent pairs with one more discordant pair, ``(sum (d_i - mean d)^2 + 1) / n^2``: clusters
    that happen to agree are no proof that all do.

    Args:
        differences: float ``[n]`` in -1..1, one a pair.
        clusters: ``[n]``, what pairs belong together.
        conf: coverage.

    Returns:
        `Interval` within [-1, 1]; bounds NaN for a single cluster.

    Raises:
        ValueError: no pairs, lengths that differ, or a coverage out of range.

    Example:
        >>> str(paired_interval([1.0, 0.0, 1.0, 0.0], [0, 0, 1, 1]))
        '0.5 [-1, 1]'
    """
    same_rows(differences=differences, clusters=clusters)
    d = _rows("differences", differences)
    group = groups("clusters", clusters, len(d))
    check_conf(conf)
    if d.shape != group.shape or bool((np.abs(d) > 1.0).any()):
        raise ValueError("differences must be in -1..1, with a cluster each")
    names = np.unique(group)
    n, k, value = len(d), len(names), float(d.mean())
    if k < 2:
        return Interval(value, math.nan, math.nan)
    off = d - value
    between = sum(float(off[group == name].sum()) ** 2 for name in names) * k / (k - 1)
    error = math.sqrt(max(between, float((off**2).sum()) + 1.0)) / n
    reach = student_reach(conf, k - 1) * error
    return Interval(value, max(-1.0, value - reach), min(1.0, value + reach))


def ratio_interval(
    sums: npt.ArrayLike, sizes: npt.ArrayLike, conf: float = 0.95, *, unit: float = 0.0
) -> Interval:
    """Student's interval of a mean over members of clusters of unlike sizes.

    ``m = sum s / sum n``, ``m +- t_{k-1} se`` with the linearised variance between clusters,
    ``se^2 = k/(k-1) sum_c (s_c - m n_c)^2 / (sum n)^2``. Of counts, whose clusters may all agree,
    ``unit = 1`` adds what one cluster more that is off by a count would: agreement of a few is no
    proof that all agree.

    Args:
        sums, sizes: ``[k]``, sum over the members of each cluster, and how many they are.
        conf: coverage.
        unit: resolution of the values; 0: they are continuous.

    Returns:
        `Interval`; bounds NaN for a single cluster.

    Raises:
        ValueError: shapes that differ, a size below 0 or none above it, or a coverage out of range.

    Example:
        >>> str(ratio_interval([2.0, 3.0, 4.0], [1, 1, 1]))
        '3 [0.516, 5.48]'
        >>> str(ratio_interval([1, 1, 1, 1], [1, 1, 1, 1], unit=1.0))
        '1 [0.204, 1.8]'
    """
    same_rows(sums=sums, sizes=sizes)
    total, size = _rows("sums", sums), _rows("sizes", sizes)
    check_conf(conf)
    if total.shape != size.shape or bool((size < 0).any()) or not size.sum() > 0:
        raise ValueError("every cluster needs a sum and a size of at least 0, and some size")
    k, n = len(total), float(size.sum())
    value = float(total.sum()) / n
    if k < 2:
        return Interval(value, math.nan, math.nan)
    between = float(((total - value * size) ** 2).sum()) + (unit * n / k) ** 2
    reach = student_reach(conf, k - 1) * math.sqrt(k / (k - 1) * between) / n
    return Interval(value, value - reach, value + reach)


def jackknife(
    rows: npt.ArrayLike, statistic: Callable[[Floats], float], conf: float = 0.95
) -> Interval:
    """Student's interval of a smooth statistic of clusters, with the jackknife's error.

    ``se^2 = (k-1)/k sum (s_(i) - mean s_(.))^2`` with s_(i) the statistic without cluster i.

    Args:
        rows: float ``[k, ...]``, one row a cluster; NaN is the statistic's to mean something by.
        statistic: of such an array.
        conf: coverage.

    Returns:
        `Interval`; bounds NaN for a single cluster, or where a statistic is.

    Raises:
        ValueError: no rows, or a coverage out of range.

    Example:
        >>> jackknife([0.1, 0.3, 0.2, 0.4], np.mean) == mean_interval([0.1, 0.3, 0.2, 0.4])
        True
    """
    data = _rows("rows", rows, nan=True)
    check_conf(conf)
    k = len(data)
    value = float(statistic(data))
    if k < 2:
        return Interval(value, math.nan, math.nan)
    without = _left_out(data, statistic)
    error = math.sqrt((k - 1) / k * float(((without - without.mean()) ** 2).sum()))
    reach = student_reach(conf, k - 1) * error
    return Interval(value, value - reach, value + reach)


def bca(
    rows: npt.ArrayLike,
    statistic: Callable[[Floats], float],
    conf: float = 0.95,
    draws: int = 2000,
    seed: int = SEED,
) -> Interval:
    """Bias-corrected and accelerated bootstrap interval of a statistic of clusters.

    Quantiles ``Phi(z0 + (z0 + z) / (1 - a (z0 + z)))`` of the resampled statistic, z0 from the
    share of resamples below the estimate, a from the jackknife. For 15 clusters and more; with
    fewer take `jackknife`.

    Args:
        rows: float ``[k, ...]``, one row a cluster; NaN is the statistic's to mean something by.
        statistic: of such an array; draws where it is NaN are left out.
        conf: coverage; draws, seed: resamples.

    Returns:
        `Interval`; bounds NaN where every draw is.

    Raises:
        ValueError: no rows, or a number out of range.
    """
    from scipy.special import ndtr, ndtri

    data = _rows("rows", rows, nan=True)
    check_conf(conf)
    draws = integer("draws", draws)
    value = float(statistic(data))
    generator = np.random.Generator(np.random.Philox(seed))
    picks = generator.integers(0, len(data), (draws, len(data)))
    found = np.array([float(statistic(data[pick])) for pick in picks])
    found = found[~np.isnan(found)]
    if not found.size or len(data) < 2:
        return Interval(value, math.nan, math.nan)
    below = (float((found < value).sum()) + 0.5 * float((found == value).sum())) / found.size
    z0 = float(ndtri(min(max(below, 0.5 / found.size), 1.0 - 0.5 / found.size)))
    without = _left_out(data, statistic)
    off = without.mean() - without
    power = float((off**2).sum()) ** 1.5
    a = float((off**3).sum()) / (6.0 * power) if power > 0.0 else 0.0
    ends = []
    for z in (float(ndtri((1 - conf) / 2)), float(ndtri((1 + conf) / 2))):
        share = float(ndtr(z0 + (z0 + z) / (1.0 - a * (z0 + z))))
        ends.append(float(np.quantile(found, share)))
    return Interval(value, ends[0], ends[1])


def _left_out(data: Floats, statistic: Callable[[Floats], float]) -> Floats:
    """The statistic without each row in turn, ``[k]``."""
    keep = ~np.eye(len(data), dtype=bool)
    return np.array([float(statistic(data[row])) for row in keep])


def _rows(name: str, values: npt.ArrayLike, *, nan: bool = False) -> Floats:
    data = numbers(name, values, nan=nan)
    if data.ndim < 1 or not len(data):
        raise ValueError(
            f"{name} must have at least one cluster, a row each, got shape {list(data.shape)}"
        )
    return data
