"""Extreme eigenpairs of Hessians from products alone: block Lanczos with thick restarts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from edt.curvature.dense import one_blas_thread
from edt.curvature.inputs import check_ensemble, prepare, which_network, whole
from edt.curvature.products import Solver, drive
from edt.curvature.verdicts import UNIT
from edt.ensemble import Ensemble
from edt.errors import unknown_choice

__all__ = ["WHICH", "EigenPairs", "extreme_eigenpairs", "lanczos", "solver"]

WHICH = ("SA", "LA", "LM", "BE")


@dataclass
class EigenPairs:
    """Some eigenpairs of one network's Hessian, with bounds.

    Attributes:
        values: float64 ``[k]`` ascending.
        vectors: float64 ``[k, P]``, orthonormal rows over the network's coordinates.
        residuals: float64 ``[k]``, ``|H v - value v|`` from a product made at the end: an
            eigenvalue of H lies within that distance of each value. (That no other eigenvalue lies
            further out is what Lanczos makes very likely, not what the bound says.)
        norm: largest magnitude of an eigenvalue seen.
        products: Hessian-vector products used.
        converged: whether every residual reached the tolerance.
    """

    values: torch.Tensor
    vectors: torch.Tensor
    residuals: torch.Tensor
    norm: float
    products: int
    converged: bool


def extreme_eigenpairs(
    ens: Ensemble,
    task: Any,
    k: int = 6,
    *,
    which: str = "SA",
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    tol: float = 1e-10,
    block: int | None = None,
    basis: int | None = None,
    max_products: int | None = None,
    seed: int = 0,
    ggn: bool = False,
) -> list[EigenPairs]:
    """Extreme eigenpairs of every network's Hessian, ``H v = lambda v``, without forming it.

    Block Lanczos with full reorthogonalisation (twice) and thick restarts; the products of all
    networks and all vectors of their blocks are made in one pass. Multiple eigenvalues are found
    as often as they occur as long as the block is as large.

    Args:
        ens, task, theta, task_index: as in `edt.hessian`; the task may be over infinite data.
        k: how many, at most the number of coordinates of the smallest network.
        which: "SA" smallest, "LA" largest, "LM" largest in magnitude, "BE" half from each end
            (one more from the upper end if k is odd).
        tol: residual relative to ``||H||_2``.
        block: vectors per product; default ``min(k, 4)``.
        basis: vectors kept; default ``max(3 k, k + 24)``.
        max_products: default ``10 P + 100``.
        seed: of the starting vectors.
        ggn: of the Gauss-Newton matrix instead.

    Returns:
        one `EigenPairs` per network.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.

    Example:
        >>> lowest = extreme_eigenpairs(networks, task, k=2)  # doctest: +SKIP
        >>> lowest[0].values[0] + lowest[0].residuals[0] < 0  # doctest: +SKIP

    Reference: K. Wu, H. Simon, "Thick-restart Lanczos method for large symmetric eigenvalue
    problems", SIAM J. Matrix Anal. Appl. 22 (2000).
    """
    objective, flat = prepare(ens, task, theta, task_index)
    if which not in WHICH:
        raise unknown_choice("which", which, WHICH)
    smallest = int(objective.coords.min())
    k = whole("k", k)
    if k > smallest:
        raise ValueError(
            f"k must be in 1..{smallest} (coordinates of the smallest network), got {k}"
        )
    block = None if block is None else whole("block", block)
    basis = None if basis is None else whole("basis", basis, k + 1)
    if not tol >= 0.0:
        raise ValueError(f"tol must be >= 0, got {tol}")
    solvers = {
        b: solver(
            size,
            k,
            which,
            tol=max(tol, 4.0 * UNIT[flat.dtype]),
            block=min(k, 4) if block is None else block,
            basis=max(3 * k, k + 24) if basis is None else basis,
            max_products=10 * size + 100 if max_products is None else max_products,
            seed=seed,
        )
        for b, size in enumerate(objective.coords.tolist())
    }
    with one_blas_thread():
        found = drive(objective, flat, solvers, ggn=ggn)
    return [found[b] for b in range(objective.B)]


def lanczos(
    ens: Ensemble,
    task: Any,
    network: int = 0,
    k: int = 6,
    *,
    which: str = "SA",
    task_index: int = 0,
    tol: float = 0.0,
    seed: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Extreme eigenpairs of one network's Hessian; see `extreme_eigenpairs`.

    Args:
        ens, task: as in `edt.hessian`.
        network: which one.
        k: how many, fewer than the number of coordinates.
        which: "SA" smallest, "LA" largest, "LM" largest in magnitude, "BE" both ends.
        task_index: which target.
        tol: residual relative to ``||H||_2``, 0 for machine precision.
        seed: of the starting vectors, so that the result is reproducible.

    Returns:
        (eigenvalues ``[k]`` ascending, eigenvectors ``[k, P]``), float64.

    Raises:
        TypeError: an argument is of another kind. ValueError: k or ``which`` out of range, or
            parameters that are not finite. IndexError: no such network.
    """
    check_ensemble(ens, task)
    alone = ens.network(which_network(ens, network))
    size = int(alone.coords[0])
    if which not in WHICH:
        raise unknown_choice("which", which, WHICH)
    k = whole("k", k)
    if k >= size:
        raise ValueError(f"k must be in 1..{size - 1} (fewer than the coordinates), got {k}")
    index = torch.tensor([whole("task_index", task_index, 0)], dtype=torch.int64)
    found = extreme_eigenpairs(alone, task, k, which=which, task_index=index, tol=tol, seed=seed)[0]
    return found.values, found.vectors


def solver(
    size: int,
    k: int,
    which: str,
    *,
    tol: float,
    block: int,
    basis: int,
    max_products: int,
    seed: int,
    start: torch.Tensor | None = None,
) -> Solver[EigenPairs]:
    """The iteration for one network, as a `Solver`.

    Args:
        size: P.
        k, which, tol, block, basis, max_products, seed: as in `extreme_eigenpairs`.
        start: ``[s, P]``, vectors to begin with besides random ones.
    """
    draw = torch.Generator().manual_seed(seed)
    block = min(block, size)
    basis = min(max(basis, k + block), size)
    keep = min(k + max(block, k // 2), basis - 1) if basis < size else basis
    vectors = torch.zeros(0, size, dtype=torch.float64)
    images = torch.zeros(0, size, dtype=torch.float64)
    fresh = torch.randn(block, size, generator=draw, dtype=torch.float64)
    if start is not None:
        fresh = torch.cat([start.to(torch.float64), fresh])[:block]
    norm, products = 0.0, 0
    while True:
        fresh = _orthonormal(fresh, vectors, draw)
        answer = yield fresh
        products += fresh.shape[0]
        vectors, images = torch.cat([vectors, fresh]), torch.cat([images, answer])
        projected = vectors @ images.T
        ritz, turn = torch.linalg.eigh(0.5 * (projected + projected.T))
        norm = max(norm, float(ritz.abs().max()))
        chosen = _wanted(ritz, min(k, ritz.numel()), which)
        found = turn[:, chosen].T @ vectors
        gaps = turn[:, chosen].T @ images - ritz[chosen][:, None] * found
        sizes = torch.linalg.vector_norm(gaps, dim=1)
        whole = vectors.shape[0] == size
        settled = bool((sizes <= tol * norm).all()) and chosen.numel() == k
        if settled or whole or products >= max_products:
            # The stored images carry the rounding of the rotations: measure once more.
            images_of = yield found
            products += found.shape[0]
            values = (images_of * found).sum(1)
            order = torch.argsort(values)
            rest = torch.linalg.vector_norm(images_of - values[:, None] * found, dim=1)
            return EigenPairs(
                values=values[order],
                vectors=found[order].contiguous(),
                residuals=rest[order],
                norm=max(norm, float(values.abs().max())),
                products=products,
                converged=bool((rest <= 10.0 * max(tol, 1e-15) * norm).all()) or whole,
            )
        worst = torch.nonzero(sizes > tol * norm).flatten()[:block]
        fresh = gaps[worst] if worst.numel() else gaps[:block]
        if vectors.shape[0] + fresh.shape[0] > basis:
            kept = turn[:, _wanted(ritz, keep, which)].T
            vectors, images = kept @ vectors, kept @ images
        fresh = fresh[: size - vectors.shape[0]]


def _wanted(ritz: torch.Tensor, count: int, which: str) -> torch.Tensor:
    """Places of the wanted among ascending values, the most wanted first."""
    n = ritz.numel()
    count = min(count, n)
    if which == "SA":
        return torch.arange(count)
    if which == "LA":
        return torch.arange(n - 1, n - 1 - count, -1)
    if which == "LM":
        return torch.argsort(ritz.abs(), descending=True, stable=True)[:count]
    upper = (count + 1) // 2
    return torch.cat([torch.arange(n - 1, n - 1 - upper, -1), torch.arange(count - upper)])


def _orthonormal(fresh: torch.Tensor, basis: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Orthonormal rows that span what ``fresh`` adds to ``basis``; random where it adds nothing."""
    out: list[torch.Tensor] = []
    room = basis.shape[1] - basis.shape[0]
    for row in fresh[:room]:
        vector = row / torch.linalg.vector_norm(row).clamp(min=1e-300)
        for _ in range(4):
            rest = vector
            # Twice is enough (Kahan, Parlett) for what is not parallel to the basis.
            for _ in range(2):
                rest = rest - (basis @ rest) @ basis
                for other in out:
                    rest = rest - (other @ rest) * other
            length = float(torch.linalg.vector_norm(rest))
            if length > 1e-10:
                out.append(rest / length)
                break
            # An invariant subspace: go on in a new direction.
            vector = torch.randn(row.numel(), generator=draw, dtype=torch.float64)
            vector = vector / torch.linalg.vector_norm(vector)
    return torch.stack(out)
