"""Largest curvature of many networks by a few Lanczos steps: what bounds an explicit step."""

from __future__ import annotations

import torch

from edt.flow.step import Dynamics
from edt.objectives import Coordinates
from edt.ops.threads import one_blas_thread

__all__ = ["LANCZOS_STEPS", "SAFETY", "starting_vector", "stiffness"]

#: Eight, so that the tridiagonal matrices begin at multiples of 64 bytes in a batch.
LANCZOS_STEPS = 8
#: The estimate is a lower bound that the curvature may outgrow before the next one.
SAFETY = 1.1


def starting_vector(sizes: torch.Tensor) -> torch.Tensor:
    """A fixed direction without special position, the same for networks of equal size."""
    place = torch.cat([torch.arange(n, dtype=torch.float64) for n in sizes.tolist()] or [sizes])
    # Rotations by the golden angle never repeat and are not aligned with any layer.
    return torch.cos(0.5 + 2.399963229728653 * place)


def stiffness(
    dynamics: Dynamics, theta: torch.Tensor, guess: torch.Tensor, at: Coordinates
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Estimate the largest eigenvalue of ``R H`` from ``guess``.

    Args:
        dynamics: objective and rates.
        theta: flat.
        guess: packed, where to start (not 0).
        at: the networks.

    Returns:
        (eigenvalue plus its residual bound, float64 ``[b]``; its Ritz vector, packed; Hessian
        products used, int64 ``[b]``).
    """
    steps = LANCZOS_STEPS
    root = None if dynamics.roots is None else at.pack(dynamics.roots)
    basis: list[torch.Tensor] = []
    matrix = torch.zeros(at.chosen.numel(), steps, steps, dtype=torch.float64)
    vector = guess / at.spread(at.norms(guess))
    before = torch.zeros_like(vector)
    beta = torch.zeros(at.chosen.numel(), dtype=torch.float64)
    for j in range(steps):
        basis.append(vector)
        product = _product(dynamics, theta, vector, root, at)
        alpha = at.dots(vector, product)
        matrix[:, j, j] = alpha
        rest = product - at.spread(alpha) * vector - at.spread(beta) * before
        # One pass against the whole basis: eight vectors lose their orthogonality slowly.
        for other in basis:
            rest = rest - at.spread(at.dots(other, rest)) * other
        beta = at.norms(rest)
        # An exhausted space (fewer coordinates than steps) goes on with zero vectors.
        ended = ~(beta > 1e-10 * matrix.abs().amax((1, 2)))
        beta = beta.masked_fill(ended, 0.0)
        if j + 1 < steps:
            matrix[:, j, j + 1] = matrix[:, j + 1, j] = beta
        before = vector
        vector = rest / at.spread(beta.masked_fill(ended, 1.0))
        vector = torch.where(at.spread(ended), torch.zeros_like(vector), vector)
    usable = torch.isfinite(matrix).all(-1).all(-1)
    matrix = torch.where(usable[:, None, None], matrix, torch.zeros_like(matrix))
    with one_blas_thread():
        values, vectors = torch.linalg.eigh(matrix)
    top = vectors[:, :, -1]
    ritz = torch.zeros_like(guess)
    for j, direction in enumerate(basis):
        ritz = ritz + at.spread(top[:, j]) * direction
    ritz = torch.where(at.spread(usable & (at.norms(ritz) > 0.5)), ritz, guess)
    bound = values[:, -1] + beta * top[:, -1].abs()
    calls = torch.full_like(at.chosen, steps)
    return torch.where(usable, SAFETY * bound, float("inf")), ritz, calls


def _product(
    dynamics: Dynamics,
    theta: torch.Tensor,
    vector: torch.Tensor,
    root: torch.Tensor | None,
    at: Coordinates,
) -> torch.Tensor:
    """``sqrt(R) H sqrt(R) v``, packed."""
    flat = torch.zeros(1, theta.numel(), dtype=theta.dtype)
    flat[0, at.places] = vector if root is None else vector * root
    out = torch.zeros_like(flat)
    dynamics.objective.hvp(theta, flat, out, at.active)
    product = at.pack(out[0])
    return product if root is None else product * root
