"""Exact tests of counts against `scipy.stats`, over random tables and at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edt.stats.association import rank_test
from edt.stats.exact import fisher_test, sign_test

DRAW = np.random.Generator(np.random.Philox(5))
TABLES = [(int(a), int(n), int(b), int(m)) for n, m in DRAW.integers(1, 400, (40, 2))
          for a, b in [DRAW.integers(0, [n + 1, m + 1])]]  # fmt: skip


@pytest.mark.parametrize(
    "k, n, other_k, other_n", [*TABLES, (0, 5, 0, 9), (5, 5, 9, 9), (0, 3, 9, 9)]
)
def test_fisher(k, n, other_k, other_n):
    """ln Gamma of numbers up to 800 is a few thousand: 1e-12 relative after exp."""
    wanted = stats.fisher_exact([[k, n - k], [other_k, other_n - other_k]]).pvalue
    assert fisher_test(k, n, other_k, other_n) == pytest.approx(wanted, rel=1e-10, abs=1e-300)


@pytest.mark.parametrize("k, n", [(0, 0), (0, 1), (3, 6), (2, 9), (9, 9), (130, 400), (0, 900)])
def test_sign(k, n):
    wanted = stats.binomtest(k, n).pvalue if n else 1.0
    assert sign_test(k, n) == pytest.approx(wanted, rel=1e-12)


def test_ranks_within_groups():
    """Spearman's by scipy in each group, weighted by size; ties, and a group that does not vary."""
    group = np.repeat([0, 1, 2], [12, 7, 5])
    one = DRAW.integers(0, 6, 24).astype(float)
    other = one + DRAW.normal(size=24).round(1)
    other[group == 2] = 3.0
    each = [stats.spearmanr(one[group == g], other[group == g])[0] for g in (0, 1)]
    found = rank_test(one, other, group, draws=200)
    assert found.value == pytest.approx((12 * each[0] + 7 * each[1]) / 24, rel=1e-12)
    assert found.p < 0.05 < rank_test(DRAW.normal(size=24), other, group, draws=200).p
