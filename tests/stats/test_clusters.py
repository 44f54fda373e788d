"""Intervals over few clusters: closed forms, and coverage on data whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from edt.stats import (
    bca,
    cluster_rate,
    good_turing,
    jackknife,
    mean_interval,
    paired_interval,
    ratio_interval,
    wilson,
)

#: Simulated data sets: a coverage of 95% has a standard deviation of 0.7%.
SETS = 1000
#: What is allowed of a 95% interval.
NOMINAL = (0.90, 0.99)


def generator(seed):
    return np.random.Generator(np.random.Philox(seed))


def test_the_mean_is_students():
    data = generator(1).normal(size=7)
    found = mean_interval(data)
    low, high = scipy_stats.t.interval(0.95, 6, data.mean(), scipy_stats.sem(data))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    # The jackknife of a mean is the mean's own error, exactly.
    assert jackknife(data, np.mean).low == pytest.approx(found.low, rel=1e-12)
    assert math.isnan(mean_interval([0.3]).low)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


@pytest.mark.parametrize("k", [3, 5, 11])
def test_the_mean_covers(k):
    draws = generator(k).gamma(4.0, size=(SETS, k))  # skewed, as rates near 1 are
    inside = [(found := mean_interval(row)).low <= 4.0 <= found.high for row in draws]
    assert NOMINAL[0] <= np.mean(inside) <= NOMINAL[1]


def clustered(k, runs, a, b, seed):
    """Beta-binomial wins of k clusters, ``[SETS, k]``, and the true mean rate."""
    draw = generator(seed)
    rates = draw.beta(a, b, size=(SETS, k))
    return draw.binomial(runs, rates), a / (a + b)


@pytest.mark.parametrize("k", [3, 5, 11, 20])
@pytest.mark.parametrize(("a", "b"), [(5.0, 5.0), (9.0, 1.5), (60.0, 30.0)])
def test_cluster_rates_cover(k, a, b):
    wins, truth = clustered(k, 100, a, b, 10 * k)
    runs = np.full(k, 100)
    inside = [(found := cluster_rate(row, runs)).low <= truth <= found.high for row in wins]
    assert NOMINAL[0] <= np.mean(inside) <= 0.995


@pytest.mark.parametrize(("k", "each"), [(3, 12), (3, 40), (5, 12)])
@pytest.mark.parametrize("spread", [np.inf, 30.0, 12.0])
def test_cluster_rates_are_not_wide_for_nothing(k, each, spread):
    """Also where clusters hardly differ, and where their sizes do: with Student's quantile of k - 1
    on the binomial floor 99.7% and more of these were held."""
    draw = generator(7)
    rates = np.full((SETS, k), 0.4)
    if np.isfinite(spread):
        rates = draw.beta(0.4 * spread, 0.6 * spread, size=(SETS, k))
    runs = np.maximum(1, draw.binomial(each, draw.beta(6.0, 6.0, size=(SETS, k))))
    wins = draw.binomial(runs, rates)
    found = [cluster_rate(w, n) for w, n in zip(wins, runs, strict=True)]
    assert NOMINAL[0] <= np.mean([one.low <= 0.4 <= one.high for one in found]) <= NOMINAL[1]


def test_what_it_replaces_does_not_cover():
    """Wilson's interval of pooled runs, where teachers differ: the fault that is mended."""
    wins, truth = clustered(5, 100, 5.0, 5.0, 3)
    inside = [(found := wilson(int(row.sum()), 500)).low <= truth <= found.high for row in wins]
    assert np.mean(inside) < 0.5


def test_independent_runs_are_wilson_but_for_the_quantile():
    rng = generator(5)
    wins = (rng.random(400) < 0.3).astype(float)
    found, plain = cluster_rate(wins, np.ones(400)), wilson(int(wins.sum()), 400)
    assert (found.low, found.high) == (
        pytest.approx(plain.low, abs=2e-3),
        pytest.approx(plain.high, abs=2e-3),
    )


def test_all_won_is_no_certainty():
    found = cluster_rate([100, 100, 100], [100, 100, 100])
    assert found.high == 1.0
    assert found.low < 0.5  # three teachers cannot rule out a fourth that is hard
    assert cluster_rate([7], [9]).high == 1.0
    with pytest.raises(ValueError, match="every cluster"):
        cluster_rate([2], [1])


@pytest.mark.parametrize("k", [5, 11])
def test_the_jackknife_covers_a_ratio(k):
    draw = generator(k + 1)
    size = draw.integers(20, 60, size=(SETS, k)).astype(float)
    rate = draw.beta(6.0, 4.0, size=(SETS, k))
    rows = np.stack([rate * size, size], axis=2)
    inside = []
    for data in rows:
        found = jackknife(data, lambda r: float(r[:, 0].sum() / r[:, 1].sum()))
        inside.append(found.low <= 0.6 <= found.high)
    assert NOMINAL[0] <= np.mean(inside) <= NOMINAL[1]


def test_bca_covers_with_enough_clusters():
    draw = generator(8)
    sets = 300  # 1.3% standard deviation
    inside = []
    for data in draw.gamma(2.0, size=(sets, 25)):
        found = bca(data, lambda r: float(np.mean(r)), draws=400)
        inside.append(found.low <= 2.0 <= found.high)
    assert NOMINAL[0] - 0.02 <= np.mean(inside) <= NOMINAL[1]


def test_bca_is_scipys():
    data = generator(2).gamma(2.0, size=30)
    found = bca(data, lambda r: float(np.mean(r)), draws=8000)
    other = scipy_stats.bootstrap(
        (data,), np.mean, n_resamples=8000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    # Two sets of resamples: quantiles are off by about 1% of the width.
    width = other.high - other.low
    assert abs(found.low - other.low) < 0.05 * width
    assert abs(found.high - other.high) < 0.05 * width


@pytest.mark.parametrize("n", [4, 10, 40])
@pytest.mark.parametrize("shape", ["even", "zipf"])
def test_good_turing_covers_at_tiny_counts(n, shape):
    """The coverage of a sample is itself random: each simulated sample has its own truth."""
    kinds = 12
    chances = np.ones(kinds) if shape == "even" else 1.0 / np.arange(1, kinds + 1) ** 1.5
    chances = chances / chances.sum()
    draw = generator(n)
    inside = []
    for _ in range(SETS):
        counts = draw.multinomial(n, chances)
        found = good_turing(counts)
        truth = float(chances[counts > 0].sum())
        inside.append(found.low <= truth <= found.high)
    assert np.mean(inside) >= NOMINAL[0]


def test_good_turing_is_never_a_point():
    for counts in ([1], [1, 1, 1], [3], [5, 5]):
        found = good_turing(counts)
        assert found.low < found.high
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize("k", [3, 5, 11])
@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_paired_differences_cover(k, spread):
    """Pairs of wins whose rates differ by 0.3 on average, and from cluster to cluster."""
    draw = generator(40 + k)
    clusters = np.repeat(np.arange(k), 6)
    inside = []
    for _ in range(SETS):
        gap = 0.3 + spread * draw.uniform(-1.0, 1.0, size=k)
        one = draw.random(6 * k) < (0.35 + gap)[clusters]
        other = draw.random(6 * k) < 0.35
        found = paired_interval(one.astype(float) - other, clusters)
        inside.append(found.low <= 0.3 <= found.high)
    assert NOMINAL[0] <= np.mean(inside) <= (1.0 if k == 3 else 0.995)


def test_pairs_that_agree_prove_little():
    found = paired_interval([1.0, 1.0], [0, 1])
    assert found.low < 0.0
    assert math.isnan(paired_interval([1.0, 0.0], [0, 0]).low)
    with pytest.raises(ValueError, match="cluster each"):
        paired_interval([2.0], [0])


@pytest.mark.parametrize("k", [3, 5, 11])
def test_ratios_cover(k):
    """Sums over clusters of unlike sizes, whose means differ from cluster to cluster."""
    draw = generator(60 + k)
    size = draw.integers(2, 9, size=(SETS, k)).astype(float)
    mean = 2.0 + draw.gamma(4.0, 0.5, size=(SETS, k))
    sums = mean * size + np.sqrt(size) * draw.normal(size=(SETS, k))
    inside = [
        (found := ratio_interval(s, n)).low <= 4.0 <= found.high
        for s, n in zip(sums, size, strict=True)
    ]
    assert NOMINAL[0] <= np.mean(inside) <= NOMINAL[1]


@pytest.mark.parametrize("k", [3, 5, 11])
@pytest.mark.parametrize("rate", [0.05, 1.0])
def test_ratios_of_counts_cover(k, rate):
    """Numbers of escape dimensions, 1 + Poisson: with the rare one above, clusters mostly agree."""
    draws = 1 + generator(80 + k).poisson(rate, size=(SETS, k))
    one = np.ones(k)
    inside = [
        (found := ratio_interval(row, one, unit=1.0)).low <= 1.0 + rate <= found.high
        for row in draws
    ]
    assert np.mean(inside) >= NOMINAL[0]


def test_a_ratio_of_equal_clusters_is_the_mean():
    data = generator(4).normal(size=6)
    found, mean = ratio_interval(3.0 * data, np.full(6, 3.0)), mean_interval(data)
    assert (found.low, found.high) == (pytest.approx(mean.low), pytest.approx(mean.high))
    assert math.isnan(ratio_interval([2.0], [1.0]).low)
    with pytest.raises(ValueError, match="every cluster"):
        ratio_interval([1.0], [-1.0])
