"""Intervals against closed forms, scipy and coverage; effective tickets against known figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import beta, binomtest, chi2

from edt.stats import (
    Interval,
    chao1,
    combinatorial_tickets,
    disjoint_tickets,
    effective_tickets,
    good_turing,
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
        with pytest.raises(ValueError, match="counts with 0 <= k <= n"):
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


def draws_of(weights, n, seed):
    """How often each kind was seen in n runs."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, weights)


def test_good_turing_covers_the_true_coverage():
    weights = 1.0 / np.arange(1, 201)
    weights /= weights.sum()
    inside, errors = 0, []
    for seed in range(400):
        counts = draws_of(weights, 300, seed)
        truth = weights[counts > 0].sum()
        found = good_turing(counts)
        inside += found.low <= truth <= found.high
        errors.append(found.value - truth)
    # Unbiased, and an interval that holds: 95% up to three binomial standard errors.
    assert abs(np.mean(errors)) < 3 * np.std(errors) / 20
    assert 0.95 - 3 * 0.011 < inside / 400 < 0.95 + 3 * 0.011


def test_chao1_closed_form():
    found = chao1([10, 4, 1, 1, 1, 2])
    n, once, twice = 19, 3, 1
    c = (n - 1) / n
    unseen = c * once * (once - 1) / (2 * (twice + 1))
    assert found.seen == 6
    assert found.total.value == pytest.approx(6 + unseen)
    assert found.variance == pytest.approx(
        unseen
        + c**2 * once * (2 * once - 1) ** 2 / (4 * (twice + 1) ** 2)
        + c**2 * once**2 * twice * (once - 1) ** 2 / (4 * (twice + 1) ** 4)
    )
    # One singleton more than a chance: that nothing is unseen is not excluded.
    assert 6 == found.total.low < found.total.value < found.total.high


def test_chao1_covers_where_kinds_are_alike():
    # Kinds of equal weight: Chao1 estimates their number without bias.
    weights = np.full(120, 1 / 120)
    values, variances, inside = [], [], 0
    for seed in range(400):
        found = chao1(draws_of(weights, 150, seed))
        values.append(found.total.value)
        variances.append(found.variance)
        inside += found.total.low <= 120 <= found.total.high
    assert np.mean(values) == pytest.approx(120, rel=0.03)
    # Delta-method variance: right to leading order.
    assert np.var(values) == pytest.approx(np.mean(variances), rel=0.35)
    assert inside / 400 > 0.9


@pytest.mark.parametrize("runs", [60, 90, 120, 200])
@pytest.mark.parametrize("uneven", [0.0, 1.0])
def test_chao1_covers_also_where_little_or_nothing_is_unseen(runs, uneven):
    """Log-normal intervals leave out the number seen wherever two kinds were seen once: of 30 kinds
    alike and 120 runs they hold 30 in half of the samples."""
    weights = np.arange(1, 31) ** -uneven
    weights /= weights.sum()
    found = [chao1(draws_of(weights, runs, seed)).total for seed in range(300)]
    held = [one.low <= 30 <= one.high for one in found]
    assert np.mean(held) >= 0.91  # 95%, less three standard deviations of 300 samples
    assert np.median([one.high for one in found]) < 150


def test_chao1s_interval_holds_the_numbers_a_likelihood_ratio_does_not_reject():
    """Against scipy's optimiser over the two parameters, at both ends."""
    counts = [1] * 9 + [2] * 4 + [7] * 5
    found = chao1(counts).total

    def ratio(unseen, once, twice):
        seen = np.array([unseen, once, twice])

        def cost(at):
            phi, mu = np.exp(at)
            mean = np.array([phi, phi * mu, phi * mu * mu / 2])
            return float((mean - seen * np.log(mean)).sum())

        least = minimize(cost, np.log([unseen + 1, 1.0]), method="Nelder-Mead",
                         options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000}).fun  # fmt: skip
        return 2 * (least - float((seen - seen * np.log(seen)).sum()))

    limit = chi2.ppf(0.95, 1)
    assert ratio(found.low - 18, 9, 4) == pytest.approx(limit, rel=1e-6)
    assert ratio(found.high - 18, 10, 5) == pytest.approx(limit, rel=1e-6)


def test_chao1_is_a_lower_bound_otherwise():
    weights = 1.0 / np.arange(1, 201)
    weights /= weights.sum()
    values = [chao1(draws_of(weights, 300, seed)).total.value for seed in range(200)]
    seen = [(draws_of(weights, 300, seed) > 0).sum() for seed in range(200)]
    assert np.mean(seen) < np.mean(values) < 200


def test_nothing_unseen():
    found = chao1([40, 30, 5])
    assert found.total.value == found.total.low == 3.0
    assert found.total.high == pytest.approx(3.0, abs=1e-4)
    seen = good_turing([40, 30, 5])
    assert seen.value == seen.high == 1.0
    assert 0.9 < seen.low < 1.0
    few = chao1([2, 1])
    assert few.total.value == 2.0
    assert few.total.high > 3.0
    only = chao1([1, 1, 1])
    assert only.total.value == pytest.approx(3 + 2 / 3 * 3)
    assert only.variance > 0
    nothing = chao1([])
    assert (nothing.seen, nothing.total.high) == (0, math.inf)
    assert math.isnan(good_turing([0, 0]).value)


def test_bad_counts():
    for function in (chao1, good_turing):
        with pytest.raises(TypeError, match="counts must hold integers"):
            function([1.5])
        with pytest.raises(ValueError, match="counts must hold integers >= 0"):
            function([-1])
        with pytest.raises(ValueError, match="conf must lie"):
            function([1], conf=2.0)
