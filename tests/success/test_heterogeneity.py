"""One number of tickets for all targets: the test's size on simulated data, and its power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from edt.success import shared_tickets


def test_size_and_estimate():
    """Three targets, n = 3 for all: p below 5% in about 5% of 200 data sets (sd 1.5%)."""
    draw = np.random.Generator(np.random.Philox(1))
    prices, low, values = np.array([0.2, 0.4, 0.6]), 0, []
    for _ in range(200):
        narrow = [(int(k), 100) for k in draw.binomial(100, prices)]
        wide = [(int(k), 100) for k in draw.binomial(100, 1 - (1 - prices) ** 3)]
        found = shared_tickets(wide, narrow)
        low += found.p < 0.05
        values.append(found.value)
    assert 2 <= low <= 22
    assert np.median(values) == pytest.approx(3.0, abs=0.25)


def test_unlike_targets_are_told_apart():
    draw = np.random.Generator(np.random.Philox(2))
    prices, tickets = np.array([0.2, 0.4, 0.6]), np.array([6.0, 2.0, 1.0])
    narrow = [(int(k), 100) for k in draw.binomial(100, prices)]
    wide = [(int(k), 100) for k in draw.binomial(100, 1 - (1 - prices) ** tickets)]
    assert shared_tickets(wide, narrow).p < 0.001


def test_is_the_maximum_of_the_joint_likelihood():
    """All parameters at once by another optimiser: the same likelihood ratio."""
    wide, narrow = [(80, 100), (60, 90), (97, 100)], [(50, 100), (20, 80), (60, 100)]

    def negative(at):
        total = 0.0
        for (k, n), (j, m), z in zip(wide, narrow, at[1:], strict=True):
            p = 1 / (1 + math.exp(-z))
            for wins, runs, q in ((k, n, 1 - (1 - p) ** math.exp(at[0])), (j, m, p)):
                total -= wins * math.log(q) + (runs - wins) * math.log(1 - q)
        return total

    best = minimize(negative, np.array([0.5, 0.0, 0.0, 0.0]), method="Nelder-Mead",
                    options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000})  # fmt: skip
    top = sum(k * math.log(k / n) + (n - k) * math.log(1 - k / n) for k, n in (*wide, *narrow))
    found = shared_tickets(wide, narrow)
    assert found.statistic == pytest.approx(2 * (top + best.fun), abs=1e-6)
    assert found.value == pytest.approx(math.exp(best.x[0]), rel=1e-4)
    assert found.dof == 2


def test_ends_of_the_range():
    assert math.isnan(shared_tickets([(1, 2)], [(1, 2)]).p)
    assert shared_tickets([(10, 10), (10, 10)], [(5, 10), (5, 10)]).p > 0.5
    assert shared_tickets([(0, 10), (0, 10)], [(0, 10), (0, 10)]).p > 0.5
    with pytest.raises(ValueError, match="pair up"):
        shared_tickets([(1, 2)], [])
    with pytest.raises(ValueError, match="wins <= runs"):
        shared_tickets([(3, 2)], [(1, 2)])
