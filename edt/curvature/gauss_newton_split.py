"""The Hessian as its Gauss-Newton part and what the residuals add to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from edt.curvature.dense import eigenvalues
from edt.curvature.inputs import prepare
from edt.curvature.spectrum import finite_hessians, groups

__all__ = ["HessianSplit", "hessian_split"]


@dataclass
class HessianSplit:
    """``H = G + R`` of one network.

    ``G = sum_n c_n J_n^T (d^2 l/df^2) J_n`` is positive semidefinite;
    ``R = sum_n c_n sum_o (dl/df_o) d^2 f_o / dtheta^2`` vanishes with the residuals. All negative
    curvature comes from R: the lowest eigenvalue of H is at least that of R (Weyl).

    Attributes:
        hessian, ggn, residual: float64 ``[P]``, eigenvalues of H, G and R, ascending.
        share: ``|R|_F / |H|_F``.
    """

    hessian: torch.Tensor
    ggn: torch.Tensor
    residual: torch.Tensor
    share: float


def hessian_split(
    task: Any,
    networks: Any,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
) -> list[HessianSplit]:
    """Spectra of every network's Hessian, of its Gauss-Newton part, and of their difference.

    Args:
        task, networks, theta, task_index: as in `edt.hessian`.

    Returns:
        one `HessianSplit` per network.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.

    Example:
        >>> parts = hessian_split(task, networks)  # doctest: +SKIP
        >>> [float(part.residual[0]) for part in parts]  # doctest: +SKIP
    """
    objective, flat = prepare(task, networks, theta, task_index)
    out = []
    for chosen in groups(objective.coords):
        whole = finite_hessians(objective, flat, chosen)
        square = finite_hessians(objective, flat, chosen, ggn=True)
        rest = [h - g for h, g in zip(whole, square, strict=True)]
        spectra = (eigenvalues(whole), eigenvalues(square), eigenvalues(rest))
        for h, g, r in zip(*spectra, strict=True):
            # The Frobenius norm of a symmetric matrix is that of its eigenvalues.
            size = float(torch.linalg.vector_norm(h))
            share = float(torch.linalg.vector_norm(r)) / size if size > 0.0 else 0.0
            out.append(HessianSplit(h, g, r, share))
    return out
