"""Inertia of symmetric matrices by LDL^T, without a single eigenvalue."""

from __future__ import annotations

import numpy as np
import torch

from edt.curvature.verdicts import threshold_of
from edt.errors import ShapeError

__all__ = ["factored_inertia", "negative_count", "spectral_norm"]

#: Lanczos steps that estimate ``||H||_2``.
STEPS = 30


def negative_count(matrix: torch.Tensor, shift: float = 0.0) -> int:
    """Eigenvalues of a symmetric matrix below ``-shift``, by Sylvester's law of inertia.

    ``H + shift I = L D L^T`` (Bunch-Kaufman pivoting, D with blocks of size 1 and 2) has as many
    negative eigenvalues as D. Cost ``P^3 / 3``, several times cheaper than the eigenvalues.

    Args:
        matrix: float64 ``[P, P]``.
        shift: any sign.

    Returns:
        the count; an eigenvalue within the rounding of the factorisation, a few ``u P ||H||``, of
        ``-shift`` may fall on either side.

    Reference: J. Bunch, L. Kaufman, "Some stable methods for calculating inertia and solving
    symmetric linear systems", 1977.
    """
    from scipy.linalg import ldl  # heavy, and rarely needed

    size = matrix.shape[0]
    if size == 0:
        return 0
    shifted = matrix.numpy().astype(np.float64) + shift * np.eye(size)
    _, d, _ = ldl(shifted, lower=True, overwrite_a=True, check_finite=True)
    diagonal, below = np.diagonal(d), np.diagonal(d, -1)
    paired = np.zeros(size, dtype=bool)
    paired[:-1] |= below != 0.0
    paired[1:] |= below != 0.0
    alone = int((diagonal[~paired] < 0.0).sum())
    # Bunch-Kaufman takes a block of size 2 only where its determinant is negative: one of each.
    return alone + int((below != 0.0).sum())


def spectral_norm(matrix: torch.Tensor) -> float:
    """``||H||_2`` from below, by Lanczos on the dense matrix; good to well below a percent."""
    size = matrix.shape[0]
    if size == 0:
        return 0.0
    h = matrix.numpy()
    # No symmetric position in the network, the same for every matrix of this size.
    vector = np.cos(0.5 + 2.399963229728653 * np.arange(size))
    vector /= np.linalg.norm(vector)
    basis: list[np.ndarray] = []
    alpha, beta = [], []
    for _ in range(min(STEPS, size)):
        basis.append(vector)
        rest = h @ vector
        alpha.append(float(rest @ vector))
        for _ in range(2):
            for other in basis:
                rest = rest - (rest @ other) * other
        length = float(np.linalg.norm(rest))
        beta.append(length)
        if length <= 1e-14 * max(map(abs, alpha)):
            break
        vector = rest / length
    inner = (
        np.diag(alpha) + np.diag(beta[: len(alpha) - 1], 1) + np.diag(beta[: len(alpha) - 1], -1)
    )
    return float(np.abs(np.linalg.eigvalsh(inner)).max())


def factored_inertia(
    matrix: torch.Tensor, dtype: torch.dtype = torch.float64
) -> tuple[int, int, int, float]:
    """Numbers of negative, zero and positive eigenvalues, and the threshold ``eps_H``.

    Zero means within ``eps_H = 10 u P ||H||_2`` (see `edt.curvature.verdicts`); two
    factorisations, of ``H + eps_H I`` and ``H - eps_H I``.

    Args:
        matrix: float64 ``[P, P]`` symmetric.
        dtype: the arithmetic the matrix was computed in.
    """
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"matrix must have shape [P, P], got {list(matrix.shape)}")
    size = matrix.shape[0]
    norm = spectral_norm(matrix)
    if norm == 0.0:
        return 0, size, 0, 0.0
    threshold = threshold_of(norm, size, dtype)
    negative = negative_count(matrix, threshold)
    below = negative_count(matrix, -threshold)
    return negative, below - negative, size - below, threshold
