"""Extreme eigenpairs of Hessians from products alone: block Lanczos with thick restarts.

A Krylov space holds at most as many copies of a multiple eigenvalue as its block has vectors, and
says nothing of those it misses. So what was found is locked, and Lanczos starts anew from random
vectors orthogonal to it, until such a start finds nothing more extreme.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import torch

from edt.curvature.inputs import prepare
from edt.curvature.products import Solver, drive, product_threads
from edt.curvature.verdicts import UNIT, threshold_of
from edt.errors import unknown_choice
from edt.scalars import index as place
from edt.scalars import integer
from edt.tasks.given import task_and_networks

__all__ = ["WHICH", "EigenPairs", "extreme_eigenpairs", "lanczos", "solver"]

WHICH = ("SA", "LA", "LM", "BE")
#: Words for the ends of a spectrum, as in `edt.landscape.loss_line`.
ENDS = {"lowest": "SA", "highest": "LA"}
#: A fresh start confirms once its first residual is below this share of its distance to what was
#: found: a random vector's part along a missed eigenvector is smaller once in a million times.
SURE = 1e-6


@dataclass
class EigenPairs:
    """Some eigenpairs of one network's Hessian, with bounds.

    Attributes:
        values: float64 ``[k]`` ascending; all P where the network has fewer than k coordinates.
        vectors: float64 ``[k, P]``, orthonormal rows over the network's coordinates.
        residuals: float64 ``[k]``, ``|H v - value v|`` from a product made at the end (with
            ``confirm=False`` from those that were made): an eigenvalue of H lies within that
            distance of each value.
        norm: largest magnitude of an eigenvalue seen.
        products: Hessian-vector products used.
        converged: whether every residual reached the tolerance, and (unless ``confirm=False``) a
            fresh random start orthogonal to what was found met nothing more extreme (or all of H
            was formed).
        dtype: the arithmetic of the products.
    """

    values: torch.Tensor
    vectors: torch.Tensor
    residuals: torch.Tensor
    norm: float
    products: int
    converged: bool
    dtype: torch.dtype = torch.float64

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
    confirm: bool = True,
) -> list[EigenPairs]:
    """Extreme eigenpairs of every network's Hessian, ``H v = lambda v``, without forming it.

    Block Lanczos with full reorthogonalisation (twice) and thick restarts; the products of all
    networks and all vectors of their blocks are made in one pass. Multiple eigenvalues are found
    as often as they occur, whatever the block: fresh starts orthogonal to what was found look for
    more until one finds none. Where forming all of H costs about as many products, it is formed.

    Args:
        task, networks, theta, task_index: as in `edt.hessian`; the task may be over infinite data.
        k: how many, at most the number of coordinates of the largest network; one with fewer gives
            all it has, one that is frozen or pruned altogether none.
        which: "SA" or "lowest", "LA" or "highest", "LM" largest in magnitude, "BE" half from each
            end (one more from the upper end if k is odd).
        tol: residual relative to ``||H||_2``.
        block: vectors per product; default ``min(k, 4)``.
        basis: vectors kept; default ``max(3 k, k + 24)``.
        max_products: default ``10 P + 100``.
        seed: of the starting vectors.
        ggn: of the Gauss-Newton matrix instead.
        confirm: look for more from a fresh start, as above; False ends as soon as residuals are
            small, for about half the products: an eigenvalue further out, or further copies of one
            found, may then be missed, as by the Lanczos or power iteration of other libraries.

    Returns:
        one `EigenPairs` per network.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.

    Example:
        >>> lowest = extreme_eigenpairs(task, networks, k=2)  # doctest: +SKIP
        >>> lowest[0].values[0] + lowest[0].residuals[0] < -lowest[0].threshold  # doctest: +SKIP

    Reference: K. Wu, H. Simon, "Thick-restart Lanczos method for large symmetric eigenvalue
    problems", SIAM J. Matrix Anal. Appl. 22 (2000).
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
            # Lanczos and its confirmation seldom take fewer products than this.
            dense=0 if max_products is not None else 4 * (k + 24),
            confirm=confirm,
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
    start: torch.Tensor | None = None,
    dense: int = 0,
    confirm: bool = True,
) -> Solver[EigenPairs]:
    """The iteration for one network, as a `Solver`.

    Args:
        size: P.
        k, which, tol, block, basis, max_products, seed: as in `extreme_eigenpairs`.
        start: ``[s, P]``, vectors to begin with besides random ones.
        dense: form all of H where P is at most this.
        confirm: as in `extreme_eigenpairs`.
    """
    k = min(k, size)
    if size <= dense or not size:
        return (yield from _full_spectrum(size, k, which))
    draw = torch.Generator().manual_seed(seed)
    block = min(block, size)
    basis = min(max(basis, k + block), size)
    search = _Search(size, block, basis, tol, max_products, draw)
    fresh = torch.randn(block, size, generator=draw, dtype=torch.float64)
    if start is not None:
        fresh = torch.cat([start.to(torch.float64), fresh])[:block]

    def settled(ritz: torch.Tensor, sizes: torch.Tensor, norm: float) -> bool:
        return bool((sizes <= tol * norm).all()) and ritz.numel() == k

    values, vectors = yield from search.krylov(fresh, search.nothing, k, which, settled)
    spanned, sure = search.complete, []
    for end, count in _ends(k, which) if confirm else ():
        confirmed = spanned or vectors.shape[0] == size
        while not confirmed and search.left:
            edge = float(_key(values, which if which == "LM" else end).sort().values[count - 1])
            more, rows, confirmed = yield from search.beyond(vectors, edge, end)
            values, vectors = torch.cat([values, more]), torch.cat([vectors, rows])
            confirmed = confirmed or vectors.shape[0] == size
        sure.append(confirmed)
    chosen = _wanted_of(values, k, which)
    found = vectors[chosen]
    if confirm or search.turned:
        # The stored images carry the rounding of the rotations: measure once more.
        images = yield found
        search.products += found.shape[0]
    else:
        images = search.images[chosen]
    values = (images * found).sum(1)
    order = torch.argsort(values)
    rest = torch.linalg.vector_norm(images - values[:, None] * found, dim=1)
    norm = max(search.norm, float(values.abs().max()))
    exact = bool((rest <= 10.0 * max(tol, 1e-15) * norm).all()) or spanned
    return EigenPairs(
        values=values[order],
        vectors=found[order].contiguous(),
        residuals=rest[order],
        norm=norm,
        products=search.products,
        converged=exact and all(sure),
    )


def _full_spectrum(size: int, k: int, which: str) -> Solver[EigenPairs]:
    """All of H by products with the unit vectors, and its eigenpairs."""
    if not size:
        nothing = torch.zeros(0, dtype=torch.float64)
        return EigenPairs(nothing, torch.zeros(0, 0, dtype=torch.float64), nothing, 0.0, 0, True)
    image = yield torch.eye(size, dtype=torch.float64)
    matrix = 0.5 * (image + image.T)
    values, columns = torch.linalg.eigh(matrix)
    chosen = _wanted(values, k, which).sort().values
    found = columns.T[chosen].contiguous()
    rest = torch.linalg.vector_norm(found @ matrix - values[chosen][:, None] * found, dim=1)
    return EigenPairs(values[chosen], found, rest, float(values.abs().max()), size, True)


#: Asks for products like a `Solver`, and returns some eigenvalues and vectors.
_Pairs = Generator[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]
_More = Generator[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor, bool]]
_Done = Callable[[torch.Tensor, torch.Tensor, float], bool]


class _Search:
    """Lanczos runs on one matrix that share a budget, a norm and random numbers.

    Attributes:
        norm, products: largest eigenvalue met, products used.
        complete, settled: why the last run ended: its basis spanned all that was left, it was done.
        nothing: no vectors, ``[0, P]``.
        images: H times what the last run returned.
        turned: whether a restart has turned the images of a basis, which rounds them.
    """

    def __init__(
        self,
        size: int,
        block: int,
        basis: int,
        tol: float,
        max_products: int,
        draw: torch.Generator,
    ) -> None:
        self.size, self.block, self.basis, self.tol = size, block, basis, tol
        self.max_products, self.draw = max_products, draw
        self.norm, self.products = 0.0, 0
        self.complete, self.settled = False, False
        self.nothing = torch.zeros(0, size, dtype=torch.float64)
        self.images, self.turned = self.nothing, False

    @property
    def left(self) -> bool:
        """Whether there are products left to use."""
        return self.products < self.max_products

    def krylov(
        self, fresh: torch.Tensor, locked: torch.Tensor, k: int, which: str, done: _Done
    ) -> _Pairs:
        """Block Lanczos with thick restarts, orthogonal to ``locked``.

        Args:
            fresh: ``[s, P]``, where to begin.
            locked: ``[f, P]``, orthonormal and invariant.
            k, which: pairs wanted.
            done: of (their Ritz values, residuals, the norm): whether to stop.

        Returns:
            (values ``[<= k]``, vectors), the most wanted first.
        """
        size, block, tol = self.size, self.block, self.tol
        basis = min(self.basis, size - locked.shape[0])
        keep = min(k + max(block, k // 2), basis - 1) if basis < size else basis
        known, room = locked.shape[0], min(basis + block, size)
        # What is locked stands before the basis, in memory that is taken once.
        whole, whole_images = (
            torch.empty(rows, size, dtype=torch.float64) for rows in (known + room, room)
        )
        whole[:known] = locked
        count = 0
        while True:
            fresh = _orthonormal(fresh, whole[: known + count], self.draw)
            answer = yield fresh
            self.products += fresh.shape[0]
            span = slice(count, count + fresh.shape[0])
            whole[known:][span], whole_images[span] = fresh, answer
            count = span.stop
            vectors, images = whole[known : known + count], whole_images[:count]
            projected = vectors @ images.T
            ritz, turn = torch.linalg.eigh(0.5 * (projected + projected.T))
            self.norm = max(self.norm, float(ritz.abs().max()))
            chosen = _wanted(ritz, min(k, ritz.numel()), which)
            found = turn[:, chosen].T @ vectors
            self.images = turn[:, chosen].T @ images
            gaps = self.images - ritz[chosen][:, None] * found
            sizes = torch.linalg.vector_norm(gaps, dim=1)
            self.complete = vectors.shape[0] == size - locked.shape[0]
            self.settled = done(ritz[chosen], sizes, self.norm)
            if self.complete or self.settled or not self.left:
                return ritz[chosen], found
            worst = torch.nonzero(sizes > tol * self.norm).flatten()[:block]
            fresh = gaps[worst] if worst.numel() else gaps[:block]
            if count + fresh.shape[0] > basis:
                kept = turn[:, _wanted(ritz, keep, which)].T
                self.turned = True
                turned, turned_images = kept @ vectors, kept @ images
                count = kept.shape[0]
                whole[known : known + count], whole_images[:count] = turned, turned_images
            fresh = fresh[: size - known - count]

    def beyond(self, locked: torch.Tensor, edge: float, which: str) -> _More:
        """What lies beyond ``edge``, orthogonal to ``locked``, from a fresh random start.

        Args:
            locked: ``[f, P]``, what was found.
            edge: the key (`_key`) of the least wanted of it.
            which: "SA" or "LA". (The largest in magnitude of a few Ritz values may be an exact
                eigenvalue of many copies, while a missed one hides in the average of others.)

        Returns:
            (values, vectors) beyond the edge, and whether it is sure that there are no more.
        """
        slack = 10.0 * max(self.tol, 1e-15)
        fresh = torch.randn(self.block, self.size, generator=self.draw, dtype=torch.float64)

        def done(ritz: torch.Tensor, sizes: torch.Tensor, norm: float) -> bool:
            apart = _key(ritz, which) - edge
            missed = apart < -slack * norm
            if bool(missed.any()):
                return bool((sizes[missed] <= self.tol * norm).all())
            return float(sizes[0]) <= max(self.tol * norm, SURE * float(apart[0]))

        values, vectors = yield from self.krylov(fresh, locked, self.block, which, done)
        missed = _key(values, which) - edge < -slack * self.norm
        # Of a complete run the next in line is known, too.
        enough = not bool(missed.all()) if self.complete else not bool(missed.any())
        return values[missed], vectors[missed], enough and (self.complete or self.settled)


def _key(values: torch.Tensor, which: str) -> torch.Tensor:
    """The lower, the more wanted."""
    if which == "SA":
        return values
    return -values if which == "LA" else -values.abs()


def _ends(k: int, which: str) -> list[tuple[str, int]]:
    """The ends of the spectrum to look beyond, and how many pairs are wanted of each."""
    if which == "LM":
        return [("LA", k), ("SA", k)]
    if which != "BE":
        return [(which, k)]
    upper = (k + 1) // 2
    return [(end, count) for end, count in (("LA", upper), ("SA", k - upper)) if count]


def _wanted_of(values: torch.Tensor, count: int, which: str) -> torch.Tensor:
    """`_wanted` among values in any order."""
    order = torch.argsort(values, stable=True)
    return order[_wanted(values[order], count, which)]


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
