"""Block Lanczos with thick restarts on one matrix, and how likely it is to have missed something.

A start ``x`` drawn from a normal distribution has a normal part ``x . u`` along every eigenvector
u. Lanczos turns it into ``q(mu) x . u`` of its newest unit vector, with a polynomial q that it
knows: its zeros are the Ritz values, those that restarts dropped among them, its leading
coefficient the product of the lengths divided by. No part of a unit vector is above 1, so an
eigenvalue ``mu`` beyond all of them is there only if ``|x . u| <= 1 / q(mu)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

import torch

__all__ = ["Search", "ends", "key", "wanted"]

#: Asks for products like a `edt.curvature.products.Solver`, returns eigenvalues and vectors.
Pairs = Generator[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]
More = Generator[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor, float]]
#: Of Ritz values, their residuals and the norm: whether to stop.
Done = Callable[[torch.Tensor, torch.Tensor, float], bool]
#: A vector whose part outside a space is below this share of it lies in it.
INSIDE = 1e-10


class Search:
    """Lanczos runs on one matrix that share a budget, a norm and random numbers.

    Args:
        size: P.
        block: vectors per product of the search, and pairs that `beyond` brings at once.
        basis: vectors kept.
        tol: of residuals, relative to the norm.
        max_products: the budget.
        draw: of random vectors.

    Attributes:
        norm, products: largest eigenvalue met, products used.
        complete, settled: why the last run ended: its basis spanned all that was left, it was done.
        images: H times what the last run returned.
        turned: whether a restart has turned images of the last run, which rounds them.
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
        self.complete, self.settled, self.turned = False, False, False
        self.images = torch.zeros(0, size, dtype=torch.float64)
        self._ritz, self._dropped = self.images[:, 0], self.images[:, 0]
        self._lengths = 0.0

    @property
    def left(self) -> bool:
        """Whether there are products left to use."""
        return self.products < self.max_products

    @property
    def slack(self) -> float:
        """What lies no further out than this is not told from what was found."""
        return 10.0 * max(self.tol, 1e-15) * self.norm

    def fresh(self, rows: int) -> torch.Tensor:
        """A start, ``[rows, P]``, normal."""
        return torch.randn(rows, self.size, generator=self.draw, dtype=torch.float64)

    def missed(self, at: float) -> float:
        """How likely the last run, a ``whole`` one, is to have missed an eigenvalue.

        ``P(|x . u| <= 1 / q(at)) <= sqrt(2 / pi) prod_j beta_j / prod_i |at - theta_i|`` with all
        lengths ``beta_j`` divided by, ``|x|`` among them, and all Ritz values ``theta_i``. Of runs
        that go on until this is below some number it is true whatever they met on the way.

        Args:
            at: a number beyond all Ritz values, at either end: an eigenvalue there, or further out.

        Reference: J. van Dorsselaer, M. Hochstenbach, H. van der Vorst, "Computing probabilistic
        bounds for extreme eigenvalues of symmetric matrices with the Lanczos method", SIAM J.
        Matrix Anal. Appl. 22 (2000), without restarts.
        """
        apart = sum(float((at - zeros).abs().log().sum()) for zeros in (self._ritz, self._dropped))
        return math.exp(min(0.0, 0.5 * math.log(2.0 / math.pi) + self._lengths - apart))

    def krylov(
        self,
        fresh: torch.Tensor,
        locked: torch.Tensor,
        k: int,
        which: str,
        done: Done,
        *,
        whole: bool = False,
    ) -> Pairs:
        """Block Lanczos with thick restarts, orthogonal to ``locked``.

        Args:
            fresh: ``[block, P]``, where to begin.
            locked: ``[f, P]``, orthonormal and invariant.
            k, which: pairs wanted.
            done: whether to stop.
            whole: of one vector: go on with what its product adds to the space, as `missed` needs;
                else with the residuals that are not small yet.

        Returns:
            (values ``[<= k]``, vectors), the most wanted first.
        """
        size, block, tol = self.size, fresh.shape[0], self.tol
        basis = min(self.basis, size - locked.shape[0])
        keep = min(k + max(block, k // 2), basis - 1) if basis < size else basis
        known, room = locked.shape[0], min(basis + block, size)
        # What is locked stands before the basis, in memory that is taken once.
        rows, images = (
            torch.empty(number, size, dtype=torch.float64) for number in (known + room, room)
        )
        rows[:known] = locked
        vectors = rows[known:]
        projected = torch.zeros(room, room, dtype=torch.float64)
        count, self.turned = 0, False
        self._dropped = self._dropped[:0]
        fresh, self._lengths = _orthonormal(fresh, locked, self.draw)
        while True:
            answer = yield fresh
            self.products += fresh.shape[0]
            span = slice(count, count + fresh.shape[0])
            vectors[span], images[span] = fresh, answer
            count = span.stop
            added = answer @ vectors[:count].T
            projected[span, :count], projected[:count, span] = added, added.T
            projected[span, span] = 0.5 * (added[:, span] + added[:, span].T)
            ritz, turn = torch.linalg.eigh(projected[:count, :count])
            self.norm = max(self.norm, float(ritz.abs().max()))
            chosen = wanted(ritz, min(k, count), which)
            wheel = turn[:, chosen].T
            if whole:
                self._ritz = ritz
                fresh, lengths = _orthonormal(answer, rows[: known + count], self.draw)
                self._lengths += lengths
                sizes = torch.linalg.vector_norm(wheel[:, span] @ (answer @ fresh.T), dim=1)
            else:
                found, self.images = wheel @ vectors[:count], wheel @ images[:count]
                gaps = self.images - ritz[chosen][:, None] * found
                sizes = torch.linalg.vector_norm(gaps, dim=1)
            self.complete = count == size - known
            self.settled = done(ritz[chosen], sizes, self.norm)
            if self.complete or self.settled or not self.left:
                if whole:
                    found, self.images = wheel @ vectors[:count], wheel @ images[:count]
                return ritz[chosen], found
            if not whole:
                worst = torch.nonzero(sizes > tol * self.norm).flatten()[:block]
                fresh = gaps[worst] if worst.numel() else gaps[:block]
            if count + fresh.shape[0] > basis:
                kept = wanted(ritz, keep, which)
                self.turned = True
                turned, turned_images = (
                    turn[:, kept].T @ part[:count] for part in (vectors, images)
                )
                rest = torch.ones(count, dtype=torch.bool)
                rest[kept] = False
                self._dropped = torch.cat([self._dropped, ritz[rest]])
                count = kept.numel()
                vectors[:count], images[:count] = turned, turned_images
                projected[:count, :count] = torch.diag(ritz[kept])
            if not whole:
                fresh, _ = _orthonormal(fresh, rows[: known + count], self.draw)

    def beyond(self, locked: torch.Tensor, edge: float, which: str, chance: float) -> More:
        """What lies beyond ``edge``, orthogonal to ``locked``, from a fresh random start.

        Args:
            locked: ``[f, P]``, what was found.
            edge: the key (`key`) of the least wanted of it.
            which: "SA" or "LA". (The largest in magnitude of a few Ritz values may be an exact
                eigenvalue of many copies, while a missed one hides in the average of others.)
            chance: of missing something, to be reached.

        Returns:
            (values, vectors) beyond the edge, and how likely it is that there are more.
        """
        sign = 1.0 if which == "SA" else -1.0

        def out(values: torch.Tensor) -> torch.Tensor:
            return key(values, which) < edge - self.slack

        def done(ritz: torch.Tensor, sizes: torch.Tensor, norm: float) -> bool:
            far = out(ritz)
            if bool(far.any()):
                return bool((sizes[far] <= self.tol * norm).all())
            return self.missed(sign * (edge - self.slack)) <= chance

        run = self.krylov(self.fresh(1), locked, self.block, which, done, whole=True)
        values, vectors = yield from run
        far = out(values)
        if bool(far.any()):
            # Of a complete run the next in line is known, too.
            left = 0.0 if self.complete and not bool(far.all()) else 1.0
        else:
            left = 0.0 if self.complete else self.missed(sign * (edge - self.slack))
        return values[far], vectors[far], left


def key(values: torch.Tensor, which: str) -> torch.Tensor:
    """The lower, the more wanted."""
    if which == "SA":
        return values
    return -values if which == "LA" else -values.abs()


def ends(k: int, which: str) -> list[tuple[str, int]]:
    """The ends of the spectrum to look beyond, and how many pairs are wanted of each."""
    if which == "LM":
        return [("LA", k), ("SA", k)]
    if which != "BE":
        return [(which, k)]
    upper = (k + 1) // 2
    return [(end, count) for end, count in (("LA", upper), ("SA", k - upper)) if count]


def wanted(ritz: torch.Tensor, count: int, which: str) -> torch.Tensor:
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


def _orthonormal(
    fresh: torch.Tensor, basis: torch.Tensor, draw: torch.Generator
) -> tuple[torch.Tensor, float]:
    """Orthonormal rows that span what ``fresh`` adds to ``basis``; random where it adds nothing.

    Returns:
        the rows, and the logarithm of the product of the lengths they were divided by, -inf where
        there was nothing to add.
    """
    out: list[torch.Tensor] = []
    room = basis.shape[1] - basis.shape[0]
    lengths = 0.0 if len(fresh) <= room else -math.inf
    for row in fresh[:room]:
        size = float(torch.linalg.vector_norm(row))
        vector = row / max(size, 1e-300)
        for attempt in range(4):
            rest = vector
            # Twice is enough (Kahan, Parlett) for what is not parallel to the basis.
            for _ in range(2):
                rest = rest - (basis @ rest) @ basis
                for other in out:
                    rest = rest - (other @ rest) * other
            length = float(torch.linalg.vector_norm(rest))
            if length > INSIDE:
                out.append(rest / length)
                lengths += -math.inf if attempt else math.log(size) + math.log(length)
                break
            # An invariant subspace: go on in a new direction.
            vector = torch.randn(row.numel(), generator=draw, dtype=torch.float64)
            vector = vector / torch.linalg.vector_norm(vector)
    return torch.stack(out) if out else fresh[:0], lengths
