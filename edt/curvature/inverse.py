"""Products with damped inverses, ``(A + lambda I)^-1 v``, and what is made of them.

Conjugate gradients, LSMR and Neumann's series need products with A only
(`edt.curvature.inverse_iterations`); those of all networks and all vectors are made in one pass.
Small networks are solved by their matrix, exactly.

Reference: P. W. Koh, P. Liang, "Understanding black-box predictions via influence functions", ICML
2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from edt.curvature.fisher import sample_gradients
from edt.curvature.inputs import prepare
from edt.curvature.inverse_iterations import Solved, conjugate, lsmr, neumann, relative
from edt.curvature.products import Solver, drive, product_threads
from edt.errors import ShapeError, unknown_choice
from edt.scalars import integer, number

__all__ = ["InverseProducts", "influence", "inverse_product", "submatrix"]

METHODS = ("auto", "cg", "lsmr", "neumann", "exact")
#: Coordinates up to which "auto" forms the matrix.
DENSE = 512


@dataclass
class InverseProducts:
    """Solutions of ``(A_b + lambda I) x = v``.

    Attributes:
        solution: float64 ``[K, total]``, 0 at pruned and frozen parameters.
        residual: float64 ``[B, K]``, ``|(A + lambda I) x - v| / |v|`` (0 where v is 0).
        products: int64 ``[B]``, products with A, 0 where it was formed.
        definite: bool ``[B]``, whether ``A + lambda I`` showed no direction of curvature <= 0. With
            "cg" a network stops at one, and its solution is that of the steps before; "neumann"
            shows none.
    """

    solution: torch.Tensor
    residual: torch.Tensor
    products: torch.Tensor
    definite: torch.Tensor


def inverse_product(
    task: Any,
    networks: Any,
    vectors: torch.Tensor,
    *,
    damping: float = 1e-3,
    ggn: bool = True,
    method: str = "auto",
    tol: float = 1e-10,
    max_products: int | None = None,
    scale: float | None = None,
    theta: torch.Tensor | None = None,
    task_index: Any = None,
) -> InverseProducts:
    """``(A_b + damping I)^-1 v_b`` for every network, A the Gauss-Newton matrix or the Hessian.

    Args:
        task, networks, theta, task_index: as in `edt.hessian`.
        vectors: ``[total]`` or ``[K, total]``.
        damping: lambda >= 0.
        ggn: the Gauss-Newton matrix (the true Fisher matrix of likelihoods) or the Hessian.
        method: "cg"; "lsmr" (least squares: also where the matrix is indefinite or singular);
            "neumann" (a truncated series, for few terms); "exact" (Cholesky or, where indefinite,
            LU); or "auto": exact for up to 512 coordinates, "cg" above.
        tol: of "cg" on the relative residual, of "lsmr" on that of the normal equations.
        max_products: of the iterations; default ``2 P + 10`` ("lsmr" ``4 P + 20``, "neumann" 100,
            a product a term).
        scale: alpha of "neumann", ``alpha sum_k (I - alpha (A + damping I))^k v``, which converges
            where all eigenvalues are between 0 and ``2 / alpha``; default 1 over the largest, by
            20 power iterations.

    Returns:
        `InverseProducts`.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.

    Example:
        >>> steps = inverse_product(task, networks, gradient, damping=1e-2)  # doctest: +SKIP
    """
    objective, flat = prepare(task, networks, theta, task_index)
    shift = number("damping", damping)
    if not isinstance(method, str) or method not in METHODS:
        raise unknown_choice("method", method, METHODS)
    bound = number("tol", tol)
    most = None if max_products is None else integer("max_products", max_products)
    factor = None if scale is None else number("scale", scale, strict=True)
    if factor is not None and method != "neumann":
        raise ValueError(f"scale needs method='neumann', got {method!r}")
    if not isinstance(vectors, torch.Tensor) or vectors.shape[-1:] != flat.shape:
        given = list(vectors.shape) if isinstance(vectors, torch.Tensor) else vectors
        raise ShapeError(f"vectors must have shape [{flat.numel()}] or [K, ...], got {given}")
    right = vectors.detach().cpu().double().reshape(-1, flat.numel())
    solvers: dict[int, Solver[Solved]] = {}
    places = []
    for b, size in enumerate(objective.coords.tolist()):
        first, last = int(objective.offsets[b]), int(objective.offsets[b + 1])
        places.append(torch.nonzero(objective.trainable[first:last]).flatten() + first)
        own = right[:, places[b]]
        dense = method == "exact" or (method == "auto" and size <= DENSE)
        if dense:
            solvers[b] = _exact(own, shift)
        elif method == "neumann":
            solvers[b] = neumann(own, shift, factor, 100 if most is None else most)
        elif method == "lsmr":
            solvers[b] = lsmr(own, shift, bound, 4 * size + 20 if most is None else most)
        else:
            solvers[b] = conjugate(own, shift, bound, 2 * size + 10 if most is None else most)
    with product_threads(objective):
        found = drive(objective, flat, solvers, ggn=ggn)
    out = torch.zeros_like(right)
    for b, where in enumerate(places):
        out[:, where] = found[b][0]
    rows = [found[b] for b in range(objective.B)]
    return InverseProducts(
        solution=out.reshape(vectors.shape),
        residual=torch.stack([row[1] for row in rows]),
        products=torch.tensor([row[2] for row in rows]),
        definite=torch.tensor([row[3] for row in rows]),
    )


def _exact(right: torch.Tensor, shift: float) -> Solver[Solved]:
    size = right.shape[1]
    matrix = yield torch.eye(size, dtype=torch.float64)
    matrix = 0.5 * (matrix + matrix.T) + shift * torch.eye(size, dtype=torch.float64)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    definite = int(failed) == 0
    columns = right.T.contiguous()
    if definite:
        found = torch.cholesky_solve(columns, factor)
    else:
        found, failed = torch.linalg.solve_ex(matrix, columns)
    return found.T, relative(matrix @ found - columns, columns), 0, definite


def submatrix(
    task: Any,
    networks: Any,
    rows: list[torch.Tensor] | torch.Tensor,
    columns: list[torch.Tensor] | torch.Tensor | None = None,
    *,
    ggn: bool = False,
    theta: torch.Tensor | None = None,
    task_index: Any = None,
) -> list[torch.Tensor]:
    """``H_b[rows, columns]`` of every network, from one product a column.

    Args:
        task, networks, theta, task_index: as in `edt.hessian`.
        rows, columns: int64 coordinates (numbers in 0..P_b - 1), for all networks or a list of one
            a network; columns default to the rows.
        ggn: of the Gauss-Newton matrix.

    Returns:
        list of float64 ``[len(rows), len(columns)]``.

    Raises:
        TypeError, ValueError: not such coordinates.
    """
    objective, flat = prepare(task, networks, theta, task_index)
    wanted = [
        (_coordinates("rows", rows, b, size), _coordinates("columns", rows if columns is None
         else columns, b, size))
        for b, size in enumerate(objective.coords.tolist())
    ]  # fmt: skip

    def pick(size: int, down: torch.Tensor, across: torch.Tensor) -> Solver[torch.Tensor]:
        unit = torch.zeros(across.numel(), size, dtype=torch.float64)
        unit[torch.arange(across.numel()), across] = 1.0
        image = yield unit
        return image[:, down].T

    sizes = objective.coords.tolist()
    solvers = {b: pick(sizes[b], *pair) for b, pair in enumerate(wanted)}
    with product_threads(objective):
        found = drive(objective, flat, solvers, ggn=ggn)
    return [found[b] for b in range(objective.B)]


def _coordinates(name: str, given: Any, b: int, size: int) -> torch.Tensor:
    own = given[b] if isinstance(given, list) else given
    if not isinstance(own, torch.Tensor) or own.dtype != torch.int64 or own.ndim != 1:
        raise TypeError(f"{name} must be int64 tensors [k] of coordinates, got {own!r:.60}")
    if own.numel() and not 0 <= int(own.min()) <= int(own.max()) < size:
        raise ValueError(
            f"{name} must be in 0..{size - 1} for network {b}, got "
            f"{int(own.min())}..{int(own.max())}"
        )
    return own


def influence(
    task: Any,
    networks: Any,
    test: Any,
    *,
    damping: float = 1e-3,
    ggn: bool = True,
    method: str = "auto",
    theta: torch.Tensor | None = None,
    task_index: Any = None,
) -> list[torch.Tensor]:
    """How the loss of a test sample moves when a training sample's weight grows.

    ``dl_m / dc_n = -g_m^T (A + damping I)^-1 g_n`` at a minimum of ``sum_n c_n l_n``.

    Args:
        task: training data. test: data of the same inputs, outputs and loss.
        networks: B chains or networks of modules, at minima of the task.
        damping, ggn, method: as in `inverse_product`.
        theta, task_index: as in `edt.hessian`.

    Returns:
        list of float64 ``[M, N]``, test samples by training samples.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.
    """
    train, _ = sample_gradients(task, networks, theta, task_index)
    asked, _ = sample_gradients(test, networks, theta, task_index)
    objective, flat = prepare(task, networks, theta, task_index)
    right = torch.zeros(asked[0].shape[0], flat.numel(), dtype=torch.float64)
    spans = list(zip(objective.offsets[:-1].tolist(), objective.offsets[1:].tolist(), strict=True))
    for (first, last), each in zip(spans, asked, strict=True):
        right[:, first:last][:, objective.trainable[first:last]] = each
    solved = inverse_product(
        task, networks, right, damping=damping, ggn=ggn, method=method, theta=theta,
        task_index=task_index,
    ).solution  # fmt: skip
    return [
        -solved[:, first:last][:, objective.trainable[first:last]] @ own.T
        for (first, last), own in zip(spans, train, strict=True)
    ]
