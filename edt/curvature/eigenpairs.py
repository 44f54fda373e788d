"""Extreme eigenpairs of Hessians from products alone, and how likely it is that one was missed.

A search from a random start knows how likely it is to have missed an eigenvalue further out
(`edt.curvature.krylov`), but not whether there are more copies of those it found: its space holds
at most as many as its block has vectors. Of the outermost one at an end copies do not matter, and
the search goes on until it is sure. Where more are wanted, what was found is locked, and Lanczos
starts anew from random vectors orthogonal to it, until such a start finds nothing more extreme.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from edt.curvature.inputs import prepare
from edt.curvature.krylov import Search, ends, key, wanted
from edt.curvature.products import Solver, drive, product_threads
from edt.curvature.verdicts import UNIT, threshold_of
from edt.errors import unknown_choice
from edt.scalars import index as place
from edt.scalars import integer, number
from edt.tasks.given import task_and_networks

__all__ = ["WHICH", "EigenPairs", "extreme_eigenpairs", "lanczos", "solver"]

WHICH = ("SA", "LA", "LM", "BE")
#: Words for the ends of a spectrum, as in `edt.landscape.loss_line`.
ENDS = {"lowest": "SA", "highest": "LA"}
#: The chance of missing an eigenvalue that a call takes unless told otherwise.
CONFIRM = 1e-3


@dataclass
class EigenPairs:
    """Some eigenpairs of one network's Hessian, with bounds.

    Attributes:
        values: float64 ``[k]`` ascending; all P where the network has fewer than k coordinates.
        vectors: float64 ``[k, P]``, orthonormal rows over the network's coordinates.
        residuals: float64 ``[k]``, ``|H v - value v|``, measured anew at the end where restarts
            have rounded the products: an eigenvalue of H lies within that distance of each value.
        norm: largest magnitude of an eigenvalue seen.
        products: Hessian-vector products used.
        converged: whether every residual reached the tolerance, and ``missed`` the chance that was
            asked for.
        dtype: the arithmetic of the products.
        missed: bound on the probability, over starts, that an eigenvalue lies further out than
            those found by more than ten times the tolerance; 1 where nothing is known of it, 0
            where all of H was formed.
    """

    values: torch.Tensor
    vectors: torch.Tensor
    residuals: torch.Tensor
    norm: float
    products: int
    converged: bool
    dtype: torch.dtype = torch.float64
    missed: float = 1.0

    @property
    def threshold(self) -> float:
        """``eps_H`` of `edt.curvature.zero_threshold`, with the largest value for ``||H||_2``."""
        return threshold_of(self.norm, self.vectors.shape[1], self.dtype)


def extreme_eigenpairs(
    task: Any,
    networks: Any,
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
    confirm: float = True,
) -> list[EigenPairs]:
    """Extreme eigenpairs of every network's Hessian, ``H v = lambda v``, without forming it.

    Block Lanczos with full reorthogonalisation (twice) and thick restarts; the products of all
    networks and all vectors of their blocks are made in one pass. It goes on until an eigenvalue
    further out is missed with probability ``confirm`` at most, by a bound that holds for random
    starts. Multiple eigenvalues are found as often as they occur, whatever the block: for more than
    one at an end, fresh starts orthogonal to what was found look for more until one finds none.
    Where forming all of H costs about as many products, it is formed.

    Args:
        task, networks, theta, task_index: as in `edt.hessian`; the task may be over infinite data.
        k: how many, at most the number of coordinates of the largest network; one with fewer gives
            all it has, one that is frozen or pruned altogether none.
        which: "SA" or "lowest", "LA" or "highest", "LM" largest in magnitude, "BE" half from each
            end (one more from the upper end if k is odd).
        tol: residual relative to ``||H||_2``.
        block: vectors per product; default ``min(k, 4)``, 1 where one pair an end is wanted.
        basis: vectors kept; default ``max(3 k, k + 24)``.
        max_products: default ``10 P + 100``.
        seed: of the starting vectors.
        ggn: of the Gauss-Newton matrix instead.
        confirm: chance of missing an eigenvalue that is taken, in (0, 1]; True: 1e-3. False (or 1)
            ends as soon as residuals are small: one further out, or further copies of those found,
            may then be missed, as by the Lanczos or power iteration of other libraries.

    Returns:
        one `EigenPairs` per network.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.

    Example:
        >>> lowest = extreme_eigenpairs(task, networks, k=2)  # doctest: +SKIP
        >>> lowest[0].values[0] + lowest[0].residuals[0] < -lowest[0].threshold  # doctest: +SKIP

    Reference: K. Wu, H. Simon, "Thick-restart Lanczos method for large symmetric eigenvalue
    problems", SIAM J. Matrix Anal. Appl. 22 (2000); of what is missed, J. van Dorsselaer,
    M. Hochstenbach, H. van der Vorst, "Computing probabilistic bounds for extreme eigenvalues of
    symmetric matrices with the Lanczos method", the same volume.
    """
    objective, flat = prepare(task, networks, theta, task_index)
    which = ENDS.get(which, which)
    if which not in WHICH:
        raise unknown_choice("which", which, (*WHICH, *ENDS))
    largest = int(objective.coords.max())
    k = integer("k", k)
    if k > largest > 0:
        raise ValueError(f"k must be in 1..{largest} (coordinates of the largest network), got {k}")
    block = None if block is None else integer("block", block)
    basis = None if basis is None else integer("basis", basis, k + 1)
    if not tol >= 0.0:
        raise ValueError(f"tol must be >= 0, got {tol}")
    if isinstance(confirm, bool):
        chance = CONFIRM if confirm else 1.0
    else:
        chance = number("confirm", confirm, 0.0, strict=True)
        if chance > 1.0:
            raise ValueError(
                f"confirm must be a probability in (0, 1], True or False, got {chance}"
            )
    solvers = {
        b: solver(
            size,
            k,
            which,
            tol=max(tol, 4.0 * UNIT[flat.dtype]),
            block=block or _block(k, which),
            basis=max(3 * k, k + 24) if basis is None else basis,
            max_products=10 * size + 100 if max_products is None else max_products,
            seed=seed,
            # Lanczos and its confirmation seldom take fewer products than this.
            dense=0 if max_products is not None else 4 * (k + 24),
            confirm=chance,
        )
        for b, size in enumerate(objective.coords.tolist())
    }
    with product_threads(objective):
        found = drive(objective, flat, solvers, ggn=ggn)
    return [replace(found[b], dtype=flat.dtype) for b in range(objective.B)]


def lanczos(
    task: Any,
    networks: Any,
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
        task, networks: as in `edt.hessian`.
        network: which one.
        k: how many, at most the number of coordinates (a network without any has none).
        which: as in `extreme_eigenpairs`.
        task_index: which target.
        tol: residual relative to ``||H||_2``, 0 for machine precision.
        seed: of the starting vectors, so that the result is reproducible.

    Returns:
        (eigenvalues ``[k]`` ascending, eigenvectors ``[k, P]``), float64.

    Raises:
        TypeError: an argument is of another kind. ValueError: k or ``which`` out of range, or
            parameters that are not finite. IndexError: no such network.
    """
    task, networks = task_and_networks(task, networks)
    alone = networks.network(place("network", network, networks.B))
    size = int(alone.coords[0])
    which = ENDS.get(which, which)
    if which not in WHICH:
        raise unknown_choice("which", which, (*WHICH, *ENDS))
    k = integer("k", k)
    if k > size > 0:
        raise ValueError(f"k must be in 1..{size} (the network's coordinates), got {k}")
    index = torch.tensor([integer("task_index", task_index, 0)], dtype=torch.int64)
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
    dense: int = 0,
    confirm: float = CONFIRM,
) -> Solver[EigenPairs]:
    """The iteration for one network, as a `Solver`.

    Args:
        size: P.
        k, which, tol, block, basis, max_products, seed: as in `extreme_eigenpairs`.
        dense: form all of H where P is at most this.
        confirm: as in `extreme_eigenpairs`, in [0, 1]; at 1 nothing is confirmed.
    """
    k = min(k, size)
    if size <= dense or not size:
        return (yield from _full_spectrum(size, k, which))
    block = min(block, size)
    basis = min(max(basis, k + block), size)
    draw = torch.Generator().manual_seed(seed)
    search = Search(size, block, basis, tol, max_products, draw)
    sides = ends(k, which)
    # Of one pair an end the search itself says what it may have missed; copies are nothing to it.
    alone = block == 1 and all(count == 1 for _, count in sides)

    def likely(values: torch.Tensor) -> float:
        """The chance that an eigenvalue lies beyond the outermost values."""
        far = {"LA": values.max(), "SA": values.min()}
        if which == "LM":
            far = {"LA": values.abs().max(), "SA": -values.abs().max()}
        out = {"LA": search.slack, "SA": -search.slack}
        return sum(search.missed(float(far[end]) + out[end]) for end, _ in sides)

    def settled(ritz: torch.Tensor, sizes: torch.Tensor, norm: float) -> bool:
        if ritz.numel() < k or not bool((sizes <= tol * norm).all()):
            return False
        return not alone or confirm >= 1.0 or likely(ritz) <= confirm

    nothing = torch.zeros(0, size, dtype=torch.float64)
    run = search.krylov(search.fresh(block), nothing, k, which, settled, whole=alone)
    values, vectors = yield from run
    images, exact, chances = search.images, not search.turned, []
    if search.complete or vectors.shape[0] == size:
        spanned, chances = True, [0.0]
    elif alone:
        spanned, chances = False, [likely(values)]
    else:
        spanned = False
        for end, count in sides if confirm < 1.0 else ():
            # Each start halves what the next may miss, so that all together keep to it.
            chance, allowed = 1.0, confirm / len(sides)
            while chance > allowed and search.left:
                allowed *= 0.5
                edge = float(key(values, which if which == "LM" else end).sort().values[count - 1])
                more, rows, chance = yield from search.beyond(vectors, edge, end, allowed)
                values, vectors = torch.cat([values, more]), torch.cat([vectors, rows])
                exact = exact and not len(more)
                chance = 0.0 if vectors.shape[0] == size else chance
            chances.append(chance)
    chosen = _wanted_of(values, k, which)
    found = vectors[chosen]
    if exact:
        images = images[chosen]
    else:
        # Stored images carry the rounding of the rotations: measure once more.
        images = yield found
        search.products += found.shape[0]
    missed = min(1.0, sum(chances)) if chances else 1.0
    values = (images * found).sum(1)
    order = torch.argsort(values)
    rest = torch.linalg.vector_norm(images - values[:, None] * found, dim=1)
    norm = max(search.norm, float(values.abs().max()))
    small = bool((rest <= 10.0 * max(tol, 1e-15) * norm).all()) or spanned
    return EigenPairs(
        values=values[order],
        vectors=found[order].contiguous(),
        residuals=rest[order],
        norm=norm,
        products=search.products,
        converged=small and missed <= confirm,
        missed=missed,
    )


def _block(k: int, which: str) -> int:
    """Vectors per product where nobody says: one where one pair is wanted of each end."""
    return 1 if all(count == 1 for _, count in ends(k, which)) else min(k, 4)


def _full_spectrum(size: int, k: int, which: str) -> Solver[EigenPairs]:
    """All of H by products with the unit vectors, and its eigenpairs."""
    if not size:
        nothing = torch.zeros(0, dtype=torch.float64)
        return EigenPairs(
            nothing, torch.zeros(0, 0, dtype=torch.float64), nothing, 0.0, 0, True, missed=0.0
        )
    image = yield torch.eye(size, dtype=torch.float64)
    matrix = 0.5 * (image + image.T)
    values, columns = torch.linalg.eigh(matrix)
    chosen = wanted(values, k, which).sort().values
    found = columns.T[chosen].contiguous()
    rest = torch.linalg.vector_norm(found @ matrix - values[chosen][:, None] * found, dim=1)
    return EigenPairs(
        values[chosen], found, rest, float(values.abs().max()), size, True, missed=0.0
    )


def _wanted_of(values: torch.Tensor, count: int, which: str) -> torch.Tensor:
    """`wanted` among values in any order."""
    order = torch.argsort(values, stable=True)
    return order[wanted(values[order], count, which)]
