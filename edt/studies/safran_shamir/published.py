"""Figures that others report, and whether ours agree with them.

The figures are leads, not standards: they were taken down without the papers at hand and are marked
"reported (unverified)" wherever they are shown. No test expects them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edt.stats import Interval, wilson
from edt.stats.exact import fisher_test

__all__ = [
    "LABEL",
    "SAFRAN_SHAMIR",
    "SAFRAN_SHAMIR_STARTS",
    "Compared",
    "compare_counts",
    "difference",
    "holm",
]

#: How such a figure is called in tables and pictures.
LABEL = "reported (unverified)"

#: Share of spurious ends by (teacher width k, student width n), arXiv 1712.08968, table 1.
SAFRAN_SHAMIR: dict[tuple[int, int], float] = {
    **{
        (k, k): share / 100
        for k, share in {
            6: 0.3, 7: 5.5, 9: 21.8, 10: 34.6, 11: 45.5, 12: 58.5, 13: 73.0, 15: 80.3, 16: 85.1,
            17: 89.7, 18: 90.0, 19: 93.4, 20: 94.0,
        }.items()
    },
    **{
        (k, k + 1): share / 100
        for k, share in {10: 0.1, 11: 0.1, 12: 0.3, 13: 1.5, 15: 10.2, 16: 18.0}.items()
    },
    **{(k, k + 2): 0.0 for k in range(6, 21)},
}  # fmt: skip
#: Starts behind each of them.
SAFRAN_SHAMIR_STARTS = 1000


@dataclass(frozen=True)
class Compared:
    """Two proportions side by side.

    Attributes:
        difference: ours minus theirs, with its interval.
        p_value: of Fisher's exact test, two-sided.
    """

    difference: Interval
    p_value: float


def compare_counts(k: int, n: int, share: float, starts: int, conf: float = 0.95) -> Compared:
    """Our k of n beside a reported share of so many starts (rounded to whole starts).

    Example:
        >>> compare_counts(331, 1000, 0.346, 1000).p_value > 0.4
        True
    """
    theirs = round(share * starts)
    return Compared(difference(k, n, theirs, starts, conf), fisher_test(k, n, theirs, starts))


def difference(k: int, n: int, other_k: int, other_n: int, conf: float = 0.95) -> Interval:
    """Difference of two independent proportions, by Newcombe's hybrid score method.

    With Wilson bounds ``l, u`` of p and ``l', u'`` of p', the interval of ``p - p'`` is
    ``p - p' - sqrt((p - l)^2 + (u' - p')^2) .. p - p' + sqrt((u - p)^2 + (p' - l')^2)``.

    Args:
        k, n: successes and trials of the first.
        other_k, other_n: of the second.
        conf: coverage.

    Example:
        >>> str(difference(56, 70, 48, 80))
        '0.2 [0.0524, 0.334]'

    Reference: R. Newcombe, Statistics in Medicine 17 (1998) 873, method 10.
    """
    one, two = wilson(k, n, conf), wilson(other_k, other_n, conf)
    gap = one.value - two.value
    return Interval(
        gap,
        gap - math.hypot(one.value - one.low, two.high - two.value),
        gap + math.hypot(one.high - one.value, two.value - two.low),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of a family of tests, adjusted by Holm's method; NaN (no test) stays NaN.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Reference: S. Holm, Scandinavian Journal of Statistics 6 (1979) 65.
    """
    values = np.asarray(p_values, dtype=np.float64)
    out = np.full(values.size, np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return [float(value) for value in out]
