"""Bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edt.stats.interval import SEED, Interval, check_conf


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
    check_conf(conf)
    generator = np.random.Generator(np.random.Philox(seed))
    picks = generator.integers(0, len(data), (draws, len(data)))
    found = np.array([float(statistic(data[pick])) for pick in picks])
    found = found[~np.isnan(found)]
    value = float(statistic(data))
    if not found.size:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(found, [(1 - conf) / 2, (1 + conf) / 2])
    return Interval(value, float(low), float(high))
