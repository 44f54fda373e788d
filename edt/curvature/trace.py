"""Traces and diagonals of Hessians from products alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from edt.curvature.inputs import prepare, signs
from edt.curvature.products import Solver, drive, product_threads
from edt.errors import renamed, unknown_choice
from edt.frames import Tabular, per_network
from edt.scalars import integer

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["METHODS", "TraceEstimate", "hessian_diagonal", "hessian_trace"]

METHODS = ("hutch++", "hutchinson", "xtrace")
DIAGONALS = ("hutchinson", "xdiag")


@dataclass
class TraceEstimate(Tabular):
    """Estimated traces.

    Attributes:
        trace: float64 ``[B]``.
        error: float64 ``[B]``, standard error (0 where the trace is exact, NaN where one vector is
            all there was for it).
        products: int64 ``[B]``, Hessian-vector products used.
    """

    trace: torch.Tensor
    error: torch.Tensor
    products: torch.Tensor

    def to_pandas(self) -> pd.DataFrame:
        """One row a network: network, trace, error, products."""
        return per_network(self, "trace", "error", "products")


def hessian_trace(
    task: Any,
    networks: Any,
    *,
    products: int = 60,
    method: str = "hutch++",
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    seed: int = 0,
    ggn: bool = False,
) -> TraceEstimate:
    """Trace of every network's Hessian, ``tr H``.

    "hutchinson": the mean of ``v^T H v`` over vectors v with entries +-1; its variance is
    ``2 (|H|_F^2 - sum_i H_ii^2)`` per vector. "hutch++": a third of the products finds a subspace Q
    that holds the largest eigenvectors, a third gives ``tr Q^T H Q`` exactly, and Hutchinson's is
    left with the rest of H: the error falls like 1/products instead of 1/sqrt(products). Where
    the products suffice for all of H (a third is P or more) the trace is exact. "xtrace": every one
    of products/2 vectors is left out in turn, the others' images give Q and it the rest; the mean
    is unbiased and uses every vector for both, and its error is that between the estimates.

    Args:
        task, networks, theta, task_index: as in `edt.hessian`; the task may be over infinite data.
        products: Hessian-vector products per network, at least 3.
        method: "hutch++", "hutchinson" or "xtrace".
        seed: of the vectors.
        ggn: of the Gauss-Newton matrix instead.

    Returns:
        A `TraceEstimate`.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.

    Example:
        >>> hessian_trace(task, networks).trace  # doctest: +SKIP

    Reference: R. Meyer, C. Musco, C. Musco, D. Woodruff, "Hutch++: optimal stochastic trace
    estimation", 2021; M. Hutchinson, 1990; E. Epperly, J. Tropp, R. Webber, "XTrace: making the
    most of every sample in stochastic trace estimation", SIAM J. Matrix Anal. Appl. 45 (2024).
    """
    objective, flat = prepare(task, networks, theta, task_index)
    budget = integer("products", products, 3)
    if not isinstance(method, str) or method not in METHODS:
        raise unknown_choice("method", method, METHODS)
    make = {"hutch++": _hutch_pp, "hutchinson": _hutchinson, "xtrace": _xtrace}[method]
    solvers = {b: make(size, budget, seed) for b, size in enumerate(objective.coords.tolist())}
    with product_threads(objective):
        found = drive(objective, flat, solvers, ggn=ggn)
    rows = [found[b] for b in range(objective.B)]
    return TraceEstimate(
        trace=torch.tensor([row[0] for row in rows], dtype=torch.float64),
        error=torch.tensor([row[1] for row in rows], dtype=torch.float64),
        products=torch.tensor([row[2] for row in rows], dtype=torch.int64),
    )


@renamed(ens="networks", vectors="probes")
def hessian_diagonal(
    task: Any,
    networks: Any,
    *,
    probes: int = 60,
    method: str = "hutchinson",
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    seed: int = 0,
    ggn: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Diagonal of every network's Hessian, estimated by ``mean of v * (H v)``, entries of v +-1.

    Args:
        task, networks, theta, task_index, ggn: as in `hessian_trace`.
        probes: products per network; with at least P of them the diagonal is exact instead.
        method: "hutchinson", or "xdiag", which finds the large eigenvectors with half of the
            products and estimates what is left, each vector left out of the former in turn.
        seed: of the vectors.

    Returns:
        (estimate, its standard error), float64 flat ``[total]``; 0 at pruned and frozen parameters.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.

    Example:
        >>> diagonal, error = hessian_diagonal(task, networks)  # doctest: +SKIP

    Reference: C. Bekas, E. Kokiopoulou, Y. Saad, "An estimator for the diagonal of a matrix", 2007.
    """
    objective, flat = prepare(task, networks, theta, task_index)
    count = integer("probes", probes)
    if not isinstance(method, str) or method not in DIAGONALS:
        raise unknown_choice("method", method, DIAGONALS)
    make = _xdiag if method == "xdiag" else _diagonal
    solvers = {b: make(size, count, seed) for b, size in enumerate(objective.coords.tolist())}
    with product_threads(objective):
        found = drive(objective, flat, solvers, ggn=ggn)
    mean = torch.zeros(flat.numel(), dtype=torch.float64)
    error = torch.zeros_like(mean)
    places = torch.nonzero(objective.trainable).flatten()
    mean[places] = torch.cat([found[b][0] for b in range(objective.B)])
    error[places] = torch.cat([found[b][1] for b in range(objective.B)])
    return mean, error


_Row = tuple[float, float, int]


def _exact(size: int) -> Solver[_Row]:
    image = yield torch.eye(size, dtype=torch.float64)
    return float(image.diagonal().sum()), 0.0, size


def _hutchinson(size: int, budget: int, seed: int) -> Solver[_Row]:
    if size <= budget:
        return (yield from _exact(size))
    vectors = signs(size, budget, seed)
    image = yield vectors
    each = (vectors * image).sum(1)
    return float(each.mean()), float(each.std() / budget**0.5), budget


def _hutch_pp(size: int, budget: int, seed: int) -> Solver[_Row]:
    third = budget // 3
    if size <= 2 * third:
        # Finding the subspace would cost more than H itself.
        return (yield from _exact(size))
    vectors = signs(size, 2 * third, seed)
    sketch, rest = vectors[:third], vectors[third:]
    image = yield sketch
    basis = torch.linalg.qr(image.T).Q.T.contiguous()
    image = yield basis
    inside = float((basis * image).sum())
    rest = rest - (rest @ basis.T) @ basis
    image = yield rest
    each = (rest * image).sum(1)
    error = float(each.std() / third**0.5) if third > 1 else float("nan")
    return inside + float(each.mean()), error, 3 * third


@dataclass
class _Left:
    """What each test vector left out of the basis gives: for vector i all but the i-th span it.

    Attributes:
        vectors, images, basis, basis_images: ``[P, m]``: Omega, H Omega = Q R, Q, H Q.
        away: ``[m, m]``, columns s_i: ``Q_i Q_i^T = Q (1 - s_i s_i^T) Q^T``.
        triangle: R.
        whole: whether Q holds the range of H, to rounding: there are fewer directions than vectors.
    """

    vectors: torch.Tensor
    images: torch.Tensor
    basis: torch.Tensor
    basis_images: torch.Tensor
    away: torch.Tensor
    triangle: torch.Tensor
    whole: bool


def _left_out(size: int, count: int, seed: int) -> Solver[_Left]:
    vectors = signs(size, count, seed)
    images = (yield vectors).T
    basis, triangle = torch.linalg.qr(images)
    basis_images = (yield basis.T.contiguous()).T
    sizes = triangle.diagonal().abs()
    whole = bool((sizes <= 1e-13 * sizes.max()).any())
    away = torch.zeros_like(triangle)
    if not whole:
        # Columns of R^-T: what the other images leave out.
        unit = torch.eye(count, dtype=triangle.dtype)
        away = torch.linalg.solve_triangular(triangle.T, unit, upper=False)
        away = away / away.norm(dim=0)
    return _Left(vectors.T, images, basis, basis_images, away, triangle, whole)


def _xtrace(size: int, budget: int, seed: int) -> Solver[_Row]:
    half = budget // 2
    if size <= budget or half < 2:
        return (
            (yield from _exact(size))
            if size <= budget
            else (yield from _hutchinson(size, budget, seed))
        )
    at = yield from _left_out(size, half, seed)
    inner = at.basis.T @ at.basis_images
    if at.whole:
        return float(inner.diagonal().sum()), 0.0, 2 * half
    inside = inner.diagonal().sum() - (at.away * (inner @ at.away)).sum(0)
    seen = at.basis.T @ at.vectors
    kept = seen - at.away * (at.away * seen).sum(0)
    rest = at.vectors - at.basis @ kept
    each = inside + (rest * (at.images - at.basis_images @ kept)).sum(0)
    return float(each.mean()), float(each.std() / half**0.5), 2 * half


def _xdiag(size: int, count: int, seed: int) -> Solver[tuple[torch.Tensor, torch.Tensor]]:
    half = count // 2
    if size <= count or half < 2:
        return (yield from _diagonal(size, count, seed))
    at = yield from _left_out(size, half, seed)
    inside = (at.basis * at.basis_images).sum(1, keepdim=True)
    if at.whole:
        return inside[:, 0], torch.zeros(size, dtype=torch.float64)
    inside = inside - (at.basis @ at.away) * (at.basis_images @ at.away)
    kept = at.triangle - at.away * (at.away * at.triangle).sum(0)
    each = inside + at.vectors * (at.images - at.basis @ kept)
    return each.mean(1), each.std(1) / half**0.5


def _diagonal(size: int, count: int, seed: int) -> Solver[tuple[torch.Tensor, torch.Tensor]]:
    if size <= count:
        image = yield torch.eye(size, dtype=torch.float64)
        return image.diagonal().clone(), torch.zeros(size, dtype=torch.float64)
    vectors = signs(size, count, seed)
    image = yield vectors
    each = vectors * image
    error = each.std(0) / count**0.5 if count > 1 else torch.full((size,), float("nan"))
    return each.mean(0), error.to(torch.float64)
