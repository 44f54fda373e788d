"""Variance components of crossed tables against simulated truth and a textbook's mean squares."""

from __future__ import annotations

import numpy as np
import pytest

from edt.stats import expected_losers, variance_components


def generator(seed):
    return np.random.Generator(np.random.Philox(seed))


def simulated(seed, ticket, rest, rows=12, columns=15):
    draw = generator(seed)
    y = np.sqrt(ticket) * draw.normal(size=(rows, 1)) + np.sqrt(rest) * draw.normal(
        size=(1, columns)
    )
    return y + np.sqrt(1.0 - ticket - rest) * draw.normal(size=(rows, columns))


def test_unbiased():
    """Mean of 200 estimates against the truth; their own spread says how near it must be."""
    found = [variance_components(simulated(k, 0.3, 0.1), draws=1) for k in range(200)]
    parts = np.array([[c.ticket.value, c.rest.value, c.interaction] for c in found])
    assert np.allclose(parts.sum(1), 1.0)
    variances = parts * np.array([c.total for c in found])[:, None]
    error = variances.std(0) / np.sqrt(200)
    # Cutting negative estimates at 0 lifts them a little: 0.005 more.
    assert (np.abs(variances.mean(0) - [0.3, 0.1, 0.6]) < 3 * error + 0.005).all()


def test_balanced_table_is_the_textbooks():
    y = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 7.0]])
    mean, a, b = y.mean(), y.mean(1), y.mean(0)
    ms_a = 3 * ((a - mean) ** 2).sum() / 1
    ms_b = 2 * ((b - mean) ** 2).sum() / 2
    ms_e = ((y - a[:, None] - b + mean) ** 2).sum() / 2
    found = variance_components(y, draws=1)
    parts = [max(0, (ms_a - ms_e) / 3), max(0, (ms_b - ms_e) / 2), ms_e]
    assert found.total == pytest.approx(sum(parts))
    assert found.ticket.value == pytest.approx(parts[0] / sum(parts))


def test_the_null_holds_its_level_and_has_power():
    null = [variance_components(simulated(k, 0.0, 0.3), draws=59).ticket.p for k in range(100)]
    assert np.mean(np.array(null) <= 0.05) <= 0.05 + 3 * 0.022
    power = [variance_components(simulated(k, 0.3, 0.0), draws=59).ticket.p for k in range(40)]
    assert np.mean(np.array(power) <= 0.05) > 0.9


def test_binary_outcomes_and_teachers():
    """What teachers differ in is no ticket's share."""
    draw = generator(4)
    tables = [(draw.random((6, 20)) < rate) for rate in (0.3, 0.95)]
    pooled = variance_components([t.astype(float) for t in tables], draws=99)
    assert pooled.ticket.p > 0.05
    stacked = variance_components(np.concatenate(tables).astype(float), draws=99)
    assert stacked.ticket.p <= 0.02


def test_expected_losers_and_bad_input():
    draw = generator(5)
    wins = draw.random((4000, 20, 60)) < 0.985
    assert (~wins.all(2)).sum(1).mean() == pytest.approx(
        expected_losers([0.985] * 20, 60), rel=0.02
    )
    assert variance_components(np.ones((3, 4)), draws=5).total == 0.0
    for bad in (np.ones((1, 4)), np.full((3, 3), np.nan), np.ones(3)):
        with pytest.raises(ValueError, match="at least two tickets"):
            variance_components(bad)
    with pytest.raises(ValueError, match="rates"):
        expected_losers([1.2], 3)
