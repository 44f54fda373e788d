"""Information and ranks against their nulls: exact on small data, level and power on simulated."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from edt.stats import auc, auc_test, information_test, mutual_information


def generator(seed):
    return np.random.Generator(np.random.Philox(seed))


def test_independent_data_are_not_informative():
    """The level of the test is its level: 5% of independent data sets have p <= 0.05."""
    draw = generator(0)
    sets = 120
    rejected = above = 0
    for k in range(sets):
        group = np.repeat(np.arange(3), 20)
        rate = np.array([0.2, 0.5, 0.9])[group]
        one, other = draw.random(60) < rate, draw.random(60) < rate
        found = information_test(one, other, group, draws=99, seed=k)
        rejected += found.p <= 0.05
        above += found.value > 0.0
    # Three standard deviations of a share of 5% of 120 are 6%.
    assert rejected / sets <= 0.05 + 0.06
    # What an interval around the plug-in estimate would have said.
    assert above > 0.9 * sets


def test_linked_data_are():
    draw = generator(1)
    group = np.repeat(np.arange(3), 40)
    one = draw.random(120) < 0.5
    other = np.where(draw.random(120) < 0.8, one, ~one)
    found = information_test(one, other, group, draws=199)
    assert found.p <= 0.01
    assert found.value > found.limit > found.null > 0.0


def test_the_null_is_the_exact_one():
    """All 20 orders of three wins among six, by hand."""
    one = np.array([True, True, True, False, False, False])
    other = np.array([True, True, False, False, False, False])
    every = [
        mutual_information(np.isin(np.arange(6), chosen), other)
        for chosen in itertools.combinations(range(6), 3)
    ]
    exact = np.mean(np.array(every) >= mutual_information(one, other) - 1e-12)
    found = information_test(one, other, draws=4000)
    assert found.p == pytest.approx(exact, abs=0.03)
    assert found.null == pytest.approx(np.mean(every), abs=0.02)


def test_auc_is_mann_whitney():
    draw = generator(2)
    score, won = draw.integers(0, 5, 60).astype(float), draw.random(60) < 0.6
    statistic = mannwhitneyu(score[won], score[~won]).statistic
    assert auc(score, won) == pytest.approx(statistic / (won.sum() * (~won).sum()), rel=1e-12)
    test = auc_test(score, won, draws=999)
    p = mannwhitneyu(score[won], score[~won], method="asymptotic").pvalue
    assert test.p == pytest.approx(p, abs=0.05)
    assert test.null == pytest.approx(0.5, abs=0.02)


def test_teachers_alone_make_no_auc():
    """Two teachers, one easy and with many winning tickets: within each the score says nothing."""
    draw = generator(3)
    group = np.repeat([0, 1], 200)
    score = np.where(group == 0, 5.0, 20.0) + draw.normal(size=400)
    won = draw.random(400) < np.where(group == 0, 0.4, 0.95)
    assert auc(score, won) > 0.7
    assert abs(auc(score, won, group) - 0.5) < 0.1
    assert auc_test(score, won, group, draws=199).p > 0.05


def test_no_pair():
    assert math.isnan(auc([1.0, 2.0], [True, True]))
    found = auc_test([1.0, 2.0], [True, True])
    assert math.isnan(found.value) and found.p == 1.0
    with pytest.raises(ValueError, match="draws"):
        information_test([True], [True], draws=0)
