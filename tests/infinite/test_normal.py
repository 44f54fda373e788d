"""Expectations under normal inputs against known values, quadrature and mpmath."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch

from edt.infinite import bivariate_normal, pairs, singles


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def test_known_values():
    # E[erf(u / sqrt 2)^2] = 1/3 for u ~ N(0, 1).
    _, square = singles("erf", number([0.0]), number([1.0]), 1)
    assert float(square.value) == pytest.approx(1.0 / 3.0, abs=1e-15)
    # E[relu(u)^2] = 1/2, E[relu(u)] = 1/sqrt(2 pi).
    mean, square = singles("relu", number([0.0]), number([1.0]), 1)
    assert float(square.value) == pytest.approx(0.5, abs=1e-15)
    assert float(mean.value) == pytest.approx(1.0 / math.sqrt(2.0 * math.pi), abs=1e-15)
    # Cho and Saul: E[relu(u) relu(u')] = (sin t + (pi - t) cos t) / (2 pi).
    for t in (0.3, 1.2, 3.0):
        one = number(1.0)
        found = pairs("relu", 0 * one, 0 * one, one, one, number(math.cos(t)), 1)
        expected = (math.sin(t) + (math.pi - t) * math.cos(t)) / (2.0 * math.pi)
        assert float(found.value) == pytest.approx(expected, abs=1e-15)
    # An orthant: P(X < 0, Y < 0) = 1/4 + asin(rho) / (2 pi).
    for rho in (-0.9, 0.0, 0.4, 1.0 - 1e-9):
        expected = 0.25 + math.asin(rho) / (2.0 * math.pi)
        found = bivariate_normal(number(0.0), number(0.0), number(rho))
        # asin near 1 amplifies the rounding of its argument by 1 / sqrt(2e-9).
        assert float(found) == pytest.approx(expected, abs=1e-15 if abs(rho) < 0.99 else 1e-12)


@pytest.mark.parametrize("h", [-2.0, 0.0, 0.7])
@pytest.mark.parametrize("k", [-0.4, 0.0, 1.5])
@pytest.mark.parametrize("rho", [-0.95, -0.2, 0.6, 0.999])
def test_bivariate_normal(h, k, rho):
    q = mpmath.sqrt(1 - mpmath.mpf(rho) ** 2)
    expected = mpmath.quad(
        lambda x: mpmath.npdf(x) * mpmath.ncdf((k - rho * x) / q), [-12, -4, min(h, 0) - 0.1, h]
    )
    found = float(bivariate_normal(number(h), number(k), number(rho)))
    # A sum of four terms of size at most 1: a few units of rounding.
    assert found == pytest.approx(float(expected), abs=2e-15)


@pytest.mark.parametrize("activation", ["erf", "normal_cdf", "relu"])
def test_derivatives(activation):
    """Slopes and bends against central differences of values and slopes."""
    point = [number([v]) for v in (0.4, -0.3, 0.8, 1.3, 0.5)]
    found = pairs(activation, *point, 2)
    step = 1e-6
    for i in range(5):
        ahead = [p + step * (j == i) for j, p in enumerate(point)]
        behind = [p - step * (j == i) for j, p in enumerate(point)]
        up, down = pairs(activation, *ahead, 1), pairs(activation, *behind, 1)
        slope = float(up.value - down.value) / (2.0 * step)
        # Differences are good to u / step and step^2.
        assert float(found.slope[i]) == pytest.approx(slope, abs=1e-9)
        second = (up.slope - down.slope)[:, 0] / (2.0 * step)
        torch.testing.assert_close(found.second[i, :, 0], second, rtol=0, atol=1e-9)
    mean, square = singles(activation, number([0.4]), number([0.8]), 2)
    for which in (mean, square):
        assert bool(torch.isfinite(which.second).all())
    # V is K on the diagonal, its slopes are those of both arguments together.
    both = pairs(activation, point[0], point[0], point[2], point[2], point[2], 1)
    if activation != "relu":
        assert float(square.value) == pytest.approx(float(both.value), abs=1e-15)
        along = float(both.slope[2] + both.slope[3] + both.slope[4])
        assert float(square.slope[1]) == pytest.approx(along, abs=1e-14)


def test_relu_slopes_at_parallel_neurons():
    """dK/dc = P(both active): no cancellation at an angle of zero."""
    one = number([1.0])
    found = pairs("relu", 0.2 * one, 0.2 * one, one, one, one, 1)
    _, square = singles("relu", 0.2 * one, one, 1)
    # rho is 1 - u here, an angle of 1.5e-8: values agree to its square, slopes to the angle.
    assert float(found.value) == pytest.approx(float(square.value), abs=1e-14)
    assert float(found.slope[0] + found.slope[1]) == pytest.approx(float(square.slope[0]), abs=1e-7)
    assert bool(torch.isfinite(pairs("relu", one, one, 0 * one, one, 0 * one, 2).second).all())


def test_against_quadrature():
    """Biased relu pairs on a fine grid in the plane of the two neurons."""
    x, w = np.polynomial.legendre.leggauss(600)
    x, w = 9.0 * x, 9.0 * w
    density = np.exp(-0.5 * (x[:, None] ** 2 + x[None] ** 2)) / (2.0 * np.pi)
    for a, b, mu, nu in (((1.0, 0.0), (0.6, 0.8), 0.3, -0.5), ((0.5, 0.1), (-1.0, 0.4), -0.2, 0.9)):
        z = mu + a[0] * x[:, None] + a[1] * x[None]
        y = nu + b[0] * x[:, None] + b[1] * x[None]
        expected = float((np.maximum(z, 0) * np.maximum(y, 0) * density * w[:, None] * w).sum())
        v, u = a[0] ** 2 + a[1] ** 2, b[0] ** 2 + b[1] ** 2
        c = a[0] * b[0] + a[1] * b[1]
        found = pairs("relu", *[number([t]) for t in (mu, nu, v, u, c)], 1)
        # The kinks cross the grid: the rule is good to about 1/600^2.
        assert float(found.value) == pytest.approx(expected, abs=2e-5)
