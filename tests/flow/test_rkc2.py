"""Runge-Kutta-Chebyshev coefficients: order, stability interval, closed form for s = 2."""

from __future__ import annotations

import numpy as np
import pytest

from edt.flow import rkc2


def polynomial(stages, z):
    """Stability polynomial ``R(z)`` by running the recursion on ``y' = z y``, h = 1."""
    c = rkc2.table(stages)
    before, now = np.ones_like(z), 1.0 + c.mu_tilde[1] * z
    for j in range(2, stages + 1):
        rest = 1.0 - c.mu[j] - c.nu[j]
        after = rest + c.mu[j] * now + c.nu[j] * before
        after = after + c.mu_tilde[j] * z * now + c.gamma_tilde[j] * z
        before, now = now, after
    return now


@pytest.mark.parametrize("stages", [2, 3, 5, 17, 60, rkc2.MAX_STAGES])
def test_order_two(stages):
    # R(z) = 1 + z + z^2/2 + O(z^3): the difference quotient at small z gives the third term.
    z = np.array([1e-3, -1e-3])
    error = polynomial(stages, z) - (1 + z + z**2 / 2)
    # The cubic term of a polynomial bounded on a long interval is at most that of exp; rounding
    # of the recursion is of order s^2 u.
    assert np.abs(error).max() < 1e-9 / 6 + stages**2 * 1e-15


@pytest.mark.parametrize("stages", [2, 3, 5, 17, 60, 200])
def test_stable_up_to_the_stated_reach(stages):
    z = -np.linspace(0.0, rkc2.reach(stages), 4001)
    assert np.abs(polynomial(stages, z)).max() <= 1.0 + 1e-12
    # Damped in the interior of the interval.
    inner = z[z < -4.0 * np.pi**2 / 2] if stages > 5 else z[:0]
    if inner.size:
        assert np.abs(polynomial(stages, inner)).max() < 0.97
    assert np.abs(polynomial(stages, np.array([-1.2 * rkc2.reach(stages) - 5.0]))) > 1.0


def test_stages_for():
    for stiffness in (0.0, 0.5, 1.9, 10.0, 1e3, 3e4):
        s = rkc2.stages_for(stiffness)
        assert rkc2.reach(s) >= stiffness
        assert s == 2 or rkc2.reach(s - 1) < stiffness
    assert rkc2.stages_for(1e12) == rkc2.MAX_STAGES


def test_nonlinear_order():
    """Second order on a nonautonomous-free nonlinear problem: halving h divides the error by 4."""
    errors = []
    for n in (20, 40, 80):
        y, h = 1.0, 1.0 / n
        c = rkc2.table(6)
        for _ in range(n):
            f0 = -(y**2)
            before, now = y, y + c.mu_tilde[1] * h * f0
            for j in range(2, 7):
                after = (1 - c.mu[j] - c.nu[j]) * y + c.mu[j] * now + c.nu[j] * before
                after += c.mu_tilde[j] * h * -(now**2) + c.gamma_tilde[j] * h * f0
                before, now = now, after
            y = now
        errors.append(abs(y - 0.5))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4.0, rel=0.05)
