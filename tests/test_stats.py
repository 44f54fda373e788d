"""Intervals against closed forms, scipy and coverage; effective tickets against known figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from edt.stats import (
    Interval,
    combinatorial_tickets,
    disjoint_tickets,
    effective_tickets,
    wilson,
)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 40), (3, 40), (20, 40), (39, 40), (7, 9)])
@pytest.mark.parametrize("conf", [0.8, 0.95, 0.999])
def test_wilson_is_the_score_interval(k, n, conf):
    found = wilson(k, n, conf)
    expected = binomtest(k, n).proportion_ci(conf, method="wilson")
    assert found.value == k / n
    # The same closed form; rounding only.
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)
    if 0 < k < n:
        # The bounds solve |k/n - p| = z sqrt(p (1 - p) / n).
        from scipy.stats import norm

        z = norm.ppf(0.5 + conf / 2)
        for p in (found.low, found.high):
            assert abs(k / n - p) == pytest.approx(z * math.sqrt(p * (1 - p) / n), rel=1e-9)


def test_wilson_covers():
    n, p = 60, 0.12
    k = np.arange(n + 1)
    intervals = [wilson(int(i), n) for i in k]
    inside = np.array([interval.low <= p <= interval.high for interval in intervals])
    probability = binomtest_pmf(k, n, p)[inside].sum()
    # The exact coverage at this n and p; Wilson's is within a few percent of nominal.
    assert 0.93 < probability < 0.975


def binomtest_pmf(k, n, p):
    from scipy.stats import binom

    return binom.pmf(k, n, p)


def test_ticket_predictions():
    for p in (0.0, 0.2, 0.9, 1.0):
        for r, m in [(2, 7), (3, 3), (4, 3)]:
            assert disjoint_tickets(p, r, m) == pytest.approx(1 - (1 - p) ** (m // r))
            assert combinatorial_tickets(p, r, m) == pytest.approx(1 - (1 - p) ** math.comb(m, r))
    # Far too small for 1 - (1 - p)^n to be computed as written.
    assert disjoint_tickets(1e-20, 2, 6) == pytest.approx(3e-20)


@pytest.mark.parametrize(
    ("percent", "tickets"), [(41.7, 2.4), (62.1, 4.4), (83.1, 8.1), (91.6, 11.2), (96.2, 14.8)]
)
def test_effective_tickets_of_xor(percent, tickets):
    """XOR by gradient descent, 1,000 seeds a width, 19.8% at width 2."""
    found = effective_tickets(round(10 * percent), 1000, 198, 1000)
    assert round(found.value, 1) == tickets
    assert found.low < tickets < found.high


def test_effective_tickets_closed_form():
    assert effective_tickets(36, 100, 20, 100).value == pytest.approx(2.0)
    assert effective_tickets(488, 1000, 200, 1000).value == pytest.approx(3.0)
    same = effective_tickets(50, 100, 50, 100)
    assert same.value == pytest.approx(1.0)
    assert same.low < 1.0 < same.high


def test_effective_tickets_interval_shrinks_and_covers():
    wide = effective_tickets(36, 100, 20, 100)
    narrow = effective_tickets(3600, 10000, 2000, 10000)
    # Ten times fewer standard errors; the tails of small samples are a little heavier.
    assert 8 < (wide.high - wide.low) / (narrow.high - narrow.low) < 13
    # Width r known exactly: the interval is that of the Beta posterior at width m.
    known = effective_tickets(36, 100, 2 * 10**8, 10**9)
    ends = np.log(beta(64.5, 36.5).ppf([0.975, 0.025])) / math.log(0.8)
    # 20,000 draws: a tail quantile is good to about 2% of the width.
    assert known.low == pytest.approx(ends[0], rel=0.03)
    assert known.high == pytest.approx(ends[1], rel=0.03)


def test_effective_tickets_at_the_edges():
    every = effective_tickets(100, 100, 20, 100)
    assert math.isinf(every.value)
    assert math.isinf(every.high)
    assert 5 < every.low < 40
    none = effective_tickets(0, 100, 20, 100)
    assert none.value == 0.0 == none.low
    assert 0 < none.high < 0.5
    never = effective_tickets(30, 100, 0, 100)
    assert math.isinf(never.value)
    assert math.isinf(never.high)
    assert never.low > 5
    always = effective_tickets(30, 100, 100, 100)
    assert always.value == 0.0 == always.low
    assert always.high < 0.2
    assert math.isnan(effective_tickets(0, 100, 0, 100).value)
    assert math.isnan(effective_tickets(100, 100, 100, 100).value)


def test_interval_reads_well():
    assert str(Interval(0.123456, 0.1, 0.2)) == "0.123 [0.1, 0.2]"


def test_bad_input():
    for k, n in [(-1, 3), (4, 3), (0, 0)]:
        with pytest.raises(ValueError, match=f"got k={k}, n={n}"):
            wilson(k, n)
        with pytest.raises(ValueError, match="need 0 <= k <= n"):
            effective_tickets(1, 2, k, n)
    for conf in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="conf must lie between"):
            wilson(1, 2, conf)
        with pytest.raises(ValueError, match="conf must lie between"):
            effective_tickets(1, 2, 1, 2, conf)
    with pytest.raises(ValueError, match="p must be a probability"):
        disjoint_tickets(1.5, 2, 4)
    with pytest.raises(ValueError, match="widths must be at least 1"):
        combinatorial_tickets(0.5, 0, 4)
