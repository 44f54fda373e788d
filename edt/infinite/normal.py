"""Expectations of activations under normal inputs, in closed form, with derivatives.

For a neuron ``z = w.x + b`` and x ~ N(0, I): z has mean ``mu = b`` and variance ``v = |w|^2``, and
two neurons have covariance ``c = w.w'``. Wanted are

    M(mu, v) = E[sigma(z)],    V(mu, v) = E[sigma(z)^2],
    K(mu, mu', v, v', c) = E[sigma(z) sigma(z')].

With ``h = mu / sqrt(1 + v)``, ``rho = c / sqrt((1 + v)(1 + v'))`` and Phi_2 the bivariate normal
distribution function,

    normal cdf:   M = Phi(h),   K = Phi_2(h, h'; rho);      erf(z / sqrt 2) = 2 Phi(z) - 1;

for relu, with ``h = mu / s``, ``s = sqrt v``, ``rho = c / (s s')``, ``q = sqrt(1 - rho^2)``,

    dK/dc = Phi_2(h, h'; rho),        dK/dmu = E[1(z > 0) z'_+],        dK/dv = E[delta(z) z'_+] / 2

(Price's theorem), and K itself follows. Derivatives up to the second are taken of these.

References: D. Owen, "Tables for computing bivariate normal probabilities", 1956; R. Price, "A
useful theorem for nonlinear devices having Gaussian inputs", 1958; S. Rosenbaum, "Moments of a
truncated bivariate normal distribution", 1961.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from edt.errors import ShapeError

__all__ = ["CLOSED", "Pairs", "Singles", "bivariate_normal", "pairs", "singles"]

#: Activations with closed forms. "normal_cdf" is no activation of ensembles, but of `pairs`.
CLOSED = ("erf", "normal_cdf", "relu")
#: Least variance and least ``1 - rho^2``: below, quotients would lose their meaning.
TINY_VARIANCE, TINY_ANGLE = 1e-20, 1e-16


def bivariate_normal(h: torch.Tensor, k: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
    """``P(X <= h, Y <= k)`` for standard normal X, Y with correlation rho, by Owen's T.

    Differentiable twice and more.

    Args:
        h, k, rho: float64, broadcast; ``|rho| <= 1``.

    Example:
        >>> zero = torch.zeros((), dtype=torch.float64)
        >>> round(float(bivariate_normal(zero, zero, zero + 0.5)), 6)
        0.333333
    """
    whole = _broadcast(h=h, k=k, rho=rho)
    out: torch.Tensor = _Bivariate.apply(*whole)  # type: ignore[no-untyped-call]
    return out


def _broadcast(**parts: torch.Tensor) -> list[torch.Tensor]:
    """The arguments in one shape.

    Raises:
        ShapeError: there is none.
    """
    try:
        whole: list[torch.Tensor] = torch.broadcast_tensors(  # type: ignore[no-untyped-call]
            *parts.values()
        )
    except RuntimeError as error:
        shapes = ", ".join(f"{name} {list(part.shape)}" for name, part in parts.items())
        raise ShapeError(f"shapes must broadcast, got {shapes}") from error
    return whole


class _Bivariate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: torch.Tensor, k: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        from scipy.special import owens_t

        ctx.save_for_backward(h, k, rho)
        # Owen's formula divides by h and k; 0 is approached from above.
        x, y, r = (part.detach().numpy() for part in (h, k, rho))
        x, y = np.where(x == 0.0, 1e-300, x), np.where(y == 0.0, 1e-300, y)
        root = np.sqrt(np.maximum((1.0 - r) * (1.0 + r), TINY_ANGLE))
        sign, near = np.where(r < 0.0, -1.0, 1.0), 1.0 - np.abs(r)
        # y - r x without cancellation where |r| is near 1.
        with np.errstate(over="ignore"):
            one = owens_t(x, (((y - sign * x) + sign * near * x) / x) / root)
            other = owens_t(y, (((x - sign * y) + sign * near * y) / y) / root)
        half = 0.5 * (torch.special.ndtr(h) + torch.special.ndtr(k)).detach().numpy()
        found = half - one - other - np.where(x * y > 0.0, 0.0, np.where(x * y < 0.0, 0.5, 0.0))
        # Products of tiny numbers underflow; their signs do not.
        apart = (np.sign(x) * np.sign(y) < 0.0) & (x * y == 0.0)
        clipped = np.clip(found - np.where(apart, 0.5, 0.0), 0.0, 1.0)
        return torch.from_numpy(np.asarray(clipped))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (grad,) = grads
        h, k, rho = ctx.saved_tensors
        square = ((1.0 - rho) * (1.0 + rho)).clamp_min(TINY_ANGLE)
        root = torch.sqrt(square)
        ahead = _gap(k, h, rho)
        dh = _density(h) * torch.special.ndtr(ahead / root)
        dk = _density(k) * torch.special.ndtr(_gap(h, k, rho) / root)
        # The exponent as a sum of squares: no cancellation where rho is near 1.
        dr = torch.exp(-0.5 * (h * h + ahead**2 / square)) / (2.0 * math.pi * root)
        return grad * dh, grad * dk, grad * dr


def _gap(h: torch.Tensor, k: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
    """``h - rho k`` without cancellation where |rho| is near 1."""
    return torch.where(rho < 0.0, (h + k) - (1.0 + rho) * k, (h - k) + (1.0 - rho) * k)


def _density(z: torch.Tensor) -> torch.Tensor:
    return torch.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


class Singles(NamedTuple):
    """A function of (mu, v) of single neurons, with derivatives; each of their shape.

    ``slope`` is stacked over (mu, v), ``second`` ``[2, 2, ...]`` likewise (None unless asked for).
    """

    value: torch.Tensor
    slope: torch.Tensor
    second: torch.Tensor | None


class Pairs(NamedTuple):
    """K of pairs, with derivatives over (mu, mu', v, v', c): ``[5, ...]`` and ``[5, 5, ...]``."""

    value: torch.Tensor
    slope: torch.Tensor
    second: torch.Tensor | None


def singles(
    activation: str, mu: torch.Tensor, v: torch.Tensor, order: int
) -> tuple[Singles, Singles]:
    """M and V of neurons.

    Args:
        activation: one of `CLOSED`.
        mu, v: float64, one shape.
        order: 1 or 2, of the derivatives.
    """
    given = [part.detach().clone().requires_grad_(True) for part in _broadcast(mu=mu, v=v)]
    with torch.enable_grad():
        m, s = given
        if activation == "relu":
            scale = torch.sqrt(s.clamp_min(TINY_VARIANCE))
            h = m / scale
            cdf, pdf = torch.special.ndtr(h), _density(h)
            mean = m * cdf + scale * pdf
            square = (m * m + s) * cdf + m * scale * pdf
        else:
            h = m / torch.sqrt(1.0 + s)
            cdf, both = torch.special.ndtr(h), bivariate_normal(h, h, s / (1.0 + s))
            if activation == "erf":
                mean, square = 2.0 * cdf - 1.0, 4.0 * both - 4.0 * cdf + 1.0
            else:
                mean, square = cdf, both
    found = [
        Singles(value.detach(), *_derivatives(value, None, given, order))
        for value in (mean, square)
    ]
    return found[0], found[1]


def pairs(
    activation: str,
    mu: torch.Tensor,
    other_mu: torch.Tensor,
    v: torch.Tensor,
    other_v: torch.Tensor,
    c: torch.Tensor,
    order: int,
) -> Pairs:
    """K of pairs of different neurons; the arguments broadcast.

    Args:
        activation: one of `CLOSED`.
        mu, other_mu, v, other_v, c: float64.
        order: 1 or 2, of the derivatives. At parallel relu neurons the second derivatives are
            those at an angle of 1e-8.
    """
    whole = _broadcast(mu=mu, other_mu=other_mu, v=v, other_v=other_v, c=c)
    given = [part.detach().clone().requires_grad_(True) for part in whole]
    with torch.enable_grad():
        if activation == "relu":
            value, slopes = _relu(*given)
        else:
            m, n, s, t, both = given
            h, k = m / torch.sqrt(1.0 + s), n / torch.sqrt(1.0 + t)
            rho = both / torch.sqrt((1.0 + s) * (1.0 + t))
            value, slopes = bivariate_normal(h, k, rho), None
            if activation == "erf":
                ends = torch.special.ndtr(h) + torch.special.ndtr(k)
                value = 4.0 * value - 2.0 * ends + 1.0
    return Pairs(value.detach(), *_derivatives(value, slopes, given, order))


def _relu(
    m: torch.Tensor, n: torch.Tensor, s: torch.Tensor, t: torch.Tensor, c: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """K and its slopes, each without cancellation where neurons are parallel."""
    one = torch.sqrt(s.clamp_min(TINY_VARIANCE))
    two = torch.sqrt(t.clamp_min(TINY_VARIANCE))
    h, k = m / one, n / two
    edge = math.sqrt(1.0 - TINY_ANGLE)
    rho = (c / (one * two)).clamp(-edge, edge)
    square = ((1.0 - rho) * (1.0 + rho)).clamp_min(TINY_ANGLE)
    q = torch.sqrt(square)
    ahead, behind = _gap(h, k, rho) / q, _gap(k, h, rho) / q
    both = bivariate_normal(h, k, rho)
    left = _density(h) * torch.special.ndtr(behind)
    right = _density(k) * torch.special.ndtr(ahead)
    corner = _density(h) * _density(behind) * q
    value = (m * n + c) * both + m * two * right + n * one * left + one * two * corner
    # E[relu(z') | z = 0] for the slopes over v.
    lift_two = two * q * (behind * torch.special.ndtr(behind) + _density(behind))
    lift_one = one * q * (ahead * torch.special.ndtr(ahead) + _density(ahead))
    slopes = [
        n * both + two * (right + rho * left),
        m * both + one * (left + rho * right),
        0.5 * _density(h) / one * lift_two,
        0.5 * _density(k) / two * lift_one,
        both,
    ]
    return value, slopes


def _derivatives(
    value: torch.Tensor,
    slopes: list[torch.Tensor] | None,
    given: list[torch.Tensor],
    order: int,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """First and second derivatives of an elementwise function, stacked."""
    if slopes is None:
        found = torch.autograd.grad(value.sum(), given, create_graph=order > 1, retain_graph=True)
        slopes = list(found)
    if order < 2:
        return torch.stack([slope.detach() for slope in slopes]), None
    rows = []
    for slope in slopes:
        row = torch.autograd.grad(slope.sum(), given, retain_graph=True, allow_unused=True)
        filled = [torch.zeros_like(slope) if part is None else part for part in row]
        rows.append(torch.stack([part.detach() for part in filled]))
    second = torch.stack(rows)
    symmetric = 0.5 * (second + second.transpose(0, 1))
    return torch.stack([slope.detach() for slope in slopes]), symmetric
