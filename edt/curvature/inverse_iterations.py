"""``(A + lambda I) x = v`` by products with A alone, for several v at once.

A solver is given ``right`` ``[K, P]`` and ``shift`` (lambda), asks for products (see
`edt.curvature.products`), and returns solutions, relative residuals, products used, and whether no
curvature <= 0 was met.
"""

from __future__ import annotations

import torch

from edt.curvature.products import Solver

__all__ = ["Solved", "conjugate", "lsmr", "neumann", "relative"]

#: (solutions [K, P], residuals [K], products, definite)
Solved = tuple[torch.Tensor, torch.Tensor, int, bool]
#: Products that look for the largest eigenvalue.
POWER_STEPS = 20


def conjugate(right: torch.Tensor, shift: float, tol: float, budget: int) -> Solver[Solved]:
    """Conjugate gradients.

    Reference: M. Hestenes, E. Stiefel, 1952.
    """
    x = torch.zeros_like(right)
    rest, way = right.clone(), right.clone()
    square = (rest * rest).sum(1)
    goal = tol**2 * (right * right).sum(1)
    going, definite, used = square > goal, True, 0
    while bool(going.any()) and used < budget:
        image = (yield way[going].contiguous()) + shift * way[going]
        used += int(going.sum())
        curve = (way[going] * image).sum(1)
        bad = curve <= 0.0
        definite &= not bool(bad.any())
        step = torch.where(bad, 0.0, square[going] / torch.where(bad, 1.0, curve))
        x[going] += step[:, None] * way[going]
        rest[going] -= step[:, None] * image
        fresh = (rest * rest).sum(1)
        ratio = torch.where(square > 0.0, fresh / square.clamp_min(1e-300), 0.0)
        way[going] = rest[going] + ratio[going, None] * way[going]
        still = going.clone()
        still[going] = ~bad
        square, going = fresh, still & (fresh > goal)
    image = (yield x) + shift * x
    return x, relative((image - right).T, right.T), used + x.shape[0], definite


def lsmr(right: torch.Tensor, shift: float, tol: float, budget: int) -> Solver[Solved]:
    """LSMR: least ``|A^T r|`` over Krylov spaces; needs no definite matrix.

    Reference: D. Fong, M. Saunders, "LSMR: an iterative algorithm for sparse least-squares
    problems", SIAM J. Sci. Comput. 2011, algorithm in section 2.
    """
    K = right.shape[0]
    x, hbar = torch.zeros_like(right), torch.zeros_like(right)
    beta = right.norm(dim=1)
    u = right / _safe(beta)[:, None]
    v = (yield u) + shift * u
    used, definite = K, not bool(((u * v).sum(1)[beta > 0.0] <= 0.0).any())
    alpha = v.norm(dim=1)
    v = v / _safe(alpha)[:, None]
    h, zetabar, alphabar = v.clone(), alpha * beta, alpha.clone()
    goal = tol * zetabar
    rho, rhobar, cbar = (torch.ones_like(beta) for _ in range(3))
    sbar = torch.zeros_like(beta)
    going = zetabar > 0.0
    while bool(going.any()) and used + 2 * int(going.sum()) <= budget * K:
        image = (yield v[going].contiguous()) + shift * v[going]
        definite &= not bool(((v[going] * image).sum(1) <= 0.0).any())
        u[going] = image - alpha[going, None] * u[going]
        beta = torch.where(going, u.norm(dim=1), beta)
        u[going] /= _safe(beta)[going, None]
        image = (yield u[going].contiguous()) + shift * u[going]
        used += 2 * int(going.sum())
        v[going] = image - beta[going, None] * v[going]
        alpha = torch.where(going, v.norm(dim=1), alpha)
        v[going] /= _safe(alpha)[going, None]
        rho_old, rhobar_old = rho, rhobar
        rho = torch.where(going, torch.hypot(alphabar, beta), rho)
        c, s = alphabar / _safe(rho), beta / _safe(rho)
        theta, alphabar = s * alpha, torch.where(going, c * alpha, alphabar)
        thetabar = sbar * rho
        rhobar = torch.where(going, torch.hypot(cbar * rho, theta), rhobar)
        cbar, sbar = (
            torch.where(going, cbar * rho / _safe(rhobar), cbar),
            torch.where(going, theta / _safe(rhobar), sbar),
        )
        zeta = cbar * zetabar
        zetabar = torch.where(going, -sbar * zetabar, zetabar)
        back = thetabar * rho / _safe(rho_old * rhobar_old)
        hbar[going] = h[going] - back[going, None] * hbar[going]
        x[going] += (zeta / _safe(rho * rhobar))[going, None] * hbar[going]
        h[going] = v[going] - (theta / _safe(rho))[going, None] * h[going]
        going = going & (zetabar.abs() > goal)
    image = (yield x) + shift * x
    return x, relative((image - right).T, right.T), used + K, definite


def neumann(right: torch.Tensor, shift: float, scale: float | None, terms: int) -> Solver[Solved]:
    """``alpha sum_{k=0}^{terms} (I - alpha (A + lambda I))^k v``.

    Reference: J. Lorraine, P. Vicol, D. Duvenaud, "Optimizing millions of hyperparameters by
    implicit differentiation", AISTATS 2020.
    """
    used = 0
    if scale is None:
        # No symmetric position in the network, the same for every matrix of this size.
        way = torch.cos(0.5 + 2.399963229728653 * torch.arange(right.shape[1]).double())[None]
        top = 0.0
        for _ in range(POWER_STEPS):
            way = way / _safe(way.norm(dim=1))[:, None]
            way = (yield way) + shift * way
            top, used = float(way.norm()), used + 1
        scale = 1.0 / top if top > 0.0 else 1.0
    total, term = right.clone(), right.clone()
    for _ in range(terms):
        term = term - scale * ((yield term) + shift * term)
        total += term
        used += len(right)
    x = scale * total
    image = (yield x) + shift * x
    return x, relative((image - right).T, right.T), used + len(right), True


def _safe(size: torch.Tensor) -> torch.Tensor:
    """Something to divide by."""
    return torch.where(size == 0.0, 1.0, size)


def relative(error: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Norms of columns of ``error`` over those of ``right``; 0 where that is 0."""
    size = right.norm(dim=0)
    out: torch.Tensor = torch.where(size > 0.0, error.norm(dim=0) / size.clamp_min(1e-300), 0.0)
    return out
