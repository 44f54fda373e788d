"""Deviates against mpmath, and their exactness at the ends."""

from __future__ import annotations

import mpmath
import numpy as np

from edt.ensemble.deviates import exact_log, normal, uniform
from edt.ensemble.philox import draws


def bits(count, seed=1):
    return draws(np.array([seed], np.uint64), np.zeros(1, np.uint64), 9, np.array([count]))


def of(upper):
    """Bits whose upper 52 are the given integers."""
    return np.array(upper, dtype=np.uint64) << np.uint64(12)


def test_uniform_is_exact_and_open():
    ends = uniform(np.array([0, 2**64 - 1], np.uint64))
    assert ends.tolist() == [2.0**-53, 1.0 - 2.0**-53]
    k = np.array([1, 12345, 2**51, 2**52 - 2])
    assert uniform(of(k)).tolist() == [(2 * int(i) + 1) / 2**53 for i in k]


def test_normal_is_odd():
    """u and 1 - u are both representable, and their deviates opposite to the last bit."""
    k = np.array([0, 1, 7, 10**6, 2**40, 2**50, 2**51 - 1], np.uint64)
    assert np.array_equal(normal(of(k)), -normal(of(np.uint64(2**52 - 1) - k)))


def test_normal_against_mpmath():
    """All three intervals of AS 241; Phi(z) = u is solved to 40 digits.

    1e-15: the coefficients' stated accuracy of 1e-16, plus about eight roundings.
    """
    rare = [0, 1, 5, 1000, 2**20, 2**26, 2**30, 2**40, 2**46, 2**48, 2**52 - 1, 2**52 - 2**30]
    common = (bits(60) >> np.uint64(12)).tolist()
    k = np.array(rare + common, np.uint64)
    with mpmath.workdps(40):
        for got, i in zip(normal(of(k)).tolist(), k.tolist(), strict=True):
            u = mpmath.mpf(2 * i + 1) / 2**53
            exact = -mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * u)
            assert abs(got - exact) <= 1e-15 * max(abs(exact), mpmath.mpf(2) ** -30)


def test_log_against_mpmath():
    """2 units in the last place: one from 2 s, one from the sum.

    Near 1 the sum is s alone, so the relative bound holds there, too.
    """
    x = np.concatenate(
        [
            2.0 ** np.arange(-53, 60, 7),
            np.linspace(0.5, 2.0, 101),
            [1.0 - 2.0**-53, 1.0 + 2.0**-52, 0.5**0.5, 2.0**0.5, 1e-300, 1e300],
            uniform(bits(50)),
        ]
    )
    with mpmath.workdps(40):
        for value, got in zip(x.tolist(), exact_log(x).tolist(), strict=True):
            exact = mpmath.log(mpmath.mpf(value))
            assert abs(got - exact) <= 2 * np.spacing(abs(float(exact)))


def test_normal_moments_and_distribution():
    """n = 200,000: five standard errors of each statistic; Kolmogorov's D above 2 / sqrt(n) has
    probability below 1e-3 (the seed is fixed, so the test is not flaky)."""
    n = 200_000
    z = normal(bits(n))
    assert abs(z.mean()) < 5 / n**0.5
    assert abs(z.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((z**3).mean()) < 5 * (15 / n) ** 0.5
    assert abs((z**4).mean() - 3) < 5 * (96 / n) ** 0.5
    from scipy.special import ndtr

    p = np.sort(ndtr(z))
    assert np.abs(p - (np.arange(n) + 0.5) / n).max() < 2 / n**0.5
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 5 / n**0.5
