"""Coefficients of the second-order Runge-Kutta-Chebyshev method with any number of stages.

For ``y' = f(y)``, F_j = f(Y_j)::

    Y_0 = y,   Y_1 = y + mt_1 h F_0
    Y_j = (1 - mu_j - nu_j) y + mu_j Y_{j-1} + nu_j Y_{j-2} + mt_j h F_{j-1} + gt_j h F_0
    y_1 = Y_s

Order 2, stable on the real axis for ``h rho <= beta(s) = 2/3 (s^2 - 1) (1 - 2 eps / 15)``: the
reach grows with the square of the number of stages, which is what makes an explicit method pay on
a stiff gradient flow too large for a dense Hessian.

Reference: B. Sommeijer, L. Shampine, J. Verwer, "RKC: an explicit solver for parabolic PDEs",
J. Comput. Appl. Math. 88 (1998).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["MAX_STAGES", "ORDER", "Stages", "reach", "stages_for", "table"]

ORDER = 2
#: Damping: it keeps ``|R|`` about 1/3 below 1 inside the stability interval.
EPSILON = 2.0 / 13.0
#: Longest chain of stages: rounding grows with s^2 u, about 2e-11 here.
MAX_STAGES = 300


@dataclass(frozen=True)
class Stages:
    """Coefficients of one method; entry j is for stage j, entries 0 are unused."""

    mu: tuple[float, ...]
    nu: tuple[float, ...]
    mu_tilde: tuple[float, ...]
    gamma_tilde: tuple[float, ...]


def reach(stages: int) -> float:
    """Length ``beta(s)`` of the real stability interval."""
    return 2.0 / 3.0 * (stages * stages - 1.0) * (1.0 - 2.0 * EPSILON / 15.0)


def stages_for(stiffness: float) -> int:
    """Fewest stages (at least 2, at most `MAX_STAGES`) that are stable for ``h rho``."""
    need = math.sqrt(1.0 + stiffness / (2.0 / 3.0 * (1.0 - 2.0 * EPSILON / 15.0)))
    return min(max(math.ceil(need), 2), MAX_STAGES)


@lru_cache(maxsize=MAX_STAGES)
def table(stages: int) -> Stages:
    """The coefficients for this many stages, >= 2."""
    w0 = 1.0 + EPSILON / stages**2
    # Chebyshev polynomials T_j(w0) and their first two derivatives, by the recursion.
    t, d, dd = [1.0, w0], [0.0, 1.0], [0.0, 0.0]
    for _ in range(2, stages + 1):
        t.append(2.0 * w0 * t[-1] - t[-2])
        d.append(2.0 * w0 * d[-1] - d[-2] + 2.0 * t[-2])
        dd.append(2.0 * w0 * dd[-1] - dd[-2] + 4.0 * d[-2])
    w1 = d[stages] / dd[stages]
    b = [0.0, 0.0] + [dd[j] / d[j] ** 2 for j in range(2, stages + 1)]
    b[0] = b[1] = b[2]
    mu, nu, mu_tilde, gamma_tilde = [0.0, 0.0], [0.0, 0.0], [0.0, b[1] * w1], [0.0, 0.0]
    for j in range(2, stages + 1):
        mu.append(2.0 * b[j] * w0 / b[j - 1])
        nu.append(-b[j] / b[j - 2])
        mu_tilde.append(2.0 * b[j] * w1 / b[j - 1])
        gamma_tilde.append(-(1.0 - b[j - 1] * t[j - 1]) * mu_tilde[j])
    return Stages(tuple(mu), tuple(nu), tuple(mu_tilde), tuple(gamma_tilde))
