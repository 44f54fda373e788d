"""Solutions of ``(H_b + shift_b I) x_b = r_b`` for many networks, reproducible to the bit.

Hessians of equal size are stacked, padded with zeros to a multiple of 8 rows and factorised by
one batched Cholesky call. The padding makes every matrix of a stack begin at a multiple of 64
bytes, where LAPACK gives the same bits as for the matrix alone; so a network's solution does not
depend on its company, nor on the number of threads the stacks are shared out to.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch

from edt.curvature.dense import for_each
from edt.objectives import Coordinates, Objective, hessians

__all__ = ["Factors", "Jacobian"]

_ROWS = 8


@dataclass
class _Stack:
    """Networks of one size.

    Attributes:
        members: int64 ``[m]``, places of the networks in the list the Jacobian was made for.
        size: P.
        matrices: ``[m, Q, Q]``, Q = P rounded up.
    """

    members: torch.Tensor
    size: int
    matrices: torch.Tensor


#: A stack, which of its rows, and their places in the request.
_Job = tuple[_Stack, torch.Tensor, torch.Tensor]


@dataclass
class Factors:
    """Cholesky factors of shifted matrices.

    Attributes:
        count: length of a packed vector.
        parts: per stack, places ``[m, Q]`` of the packed entries (``count`` where padded) and the
            factors ``[m, Q, Q]``.
        roots: packed ``sqrt(rate)``, or None where all rates are 1.
    """

    count: int
    parts: list[tuple[torch.Tensor, torch.Tensor]]
    roots: torch.Tensor | None

    def solve(self, right: torch.Tensor) -> torch.Tensor:
        """``(R H + shift I)^-1 right`` with R = diag(rate); packed ``[n] -> [n]``."""
        scaled = right if self.roots is None else right / self.roots
        padded = torch.cat([scaled, scaled.new_zeros(1)])
        out = torch.empty_like(padded)

        def one(part: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            places, factors = part
            found: torch.Tensor = torch.cholesky_solve(padded[places][:, :, None], factors)
            return found[:, :, 0]

        work = sum(float(factors.numel()) for _, factors in self.parts)
        solutions = for_each(one, self.parts, 2.0 * work)
        for (places, _), found in zip(self.parts, solutions, strict=True):
            out[places] = found
        return out[:-1] if self.roots is None else out[:-1] * self.roots


class Jacobian:
    """Hessians of some networks, scaled to ``sqrt(R) H sqrt(R)`` (similar to ``R H``).

    Args:
        objective: of B networks.
        theta: flat ``[total]``.
        chosen: int64 ``[b]``, the networks, ascending.
        roots: flat ``[total]`` of ``sqrt(rate)``, or None for rates of 1.
    """

    def __init__(
        self,
        objective: Objective,
        theta: torch.Tensor,
        chosen: torch.Tensor,
        roots: torch.Tensor | None,
    ) -> None:
        self._roots = roots
        self._count = chosen.numel()
        self._stacks: list[_Stack] = []
        sizes = objective.coords[chosen]
        order = torch.argsort(sizes, stable=True)
        matrices = hessians(objective, theta, chosen[order])
        at = 0
        for size, count in sorted(Counter(sizes.tolist()).items()):
            members = order[at : at + count]
            padded = (size + _ROWS - 1) // _ROWS * _ROWS
            stack = torch.zeros(count, padded, padded, dtype=theta.dtype)
            if size:
                stack[:, :size, :size] = torch.stack(matrices[at : at + count])
            if roots is not None and size:
                # A stable sort keeps the networks of a stack ascending, as `Coordinates` wants.
                root = Coordinates(objective, chosen[members]).pack(roots).view(count, size)
                stack[:, :size, :size] *= root[:, :, None] * root[:, None, :]
            self._stacks.append(_Stack(members, size, stack))
            at += count

    def definite(self, chosen: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """Whether the matrix plus ``shift`` is positive definite.

        Args:
            chosen: int64 ``[k]``, places in the list given at the start.
            shift: float64 ``[k]``, > 0.

        Returns:
            bool ``[k]``.
        """
        out = torch.zeros(chosen.numel(), dtype=torch.bool)
        for where, _, _, failed in self._factorise(chosen, shift):
            out[where] = failed == 0
        return out

    def factor(self, chosen: torch.Tensor, shift: torch.Tensor, at: Coordinates) -> Factors:
        """Factors of the matrices plus ``shift``, which must be positive definite.

        Args:
            chosen, shift: as in `definite`.
            at: coordinates of the same networks, in the same order.
        """
        parts = []
        for where, size, factors, _ in self._factorise(chosen, shift):
            rows = torch.arange(factors.shape[-1])
            places = at.starts[:-1][where][:, None] + rows
            places[:, size:] = at.count
            parts.append((places, factors))
        roots = None if self._roots is None else at.pack(self._roots)
        return Factors(at.count, parts, roots)

    def _factorise(
        self, chosen: torch.Tensor, shift: torch.Tensor
    ) -> list[tuple[torch.Tensor, int, torch.Tensor, torch.Tensor]]:
        """Per share of a stack: which of ``chosen``, P, factors, and where each failed (0: not)."""
        place = torch.full((self._count,), -1, dtype=torch.int64)
        place[chosen] = torch.arange(chosen.numel())
        jobs: list[_Job] = []
        for stack in self._stacks:
            where = place[stack.members]
            rows = torch.nonzero(where >= 0).flatten()
            # Shares small enough that several threads have work.
            length = max(1, min(64, (rows.numel() + 1) // 2))
            for begin in range(0, rows.numel(), length):
                share = rows[begin : begin + length]
                jobs.append((stack, share, where[share]))

        def one(job: _Job) -> tuple[torch.Tensor, torch.Tensor]:
            stack, rows, where = job
            matrices = stack.matrices[rows]
            matrices.diagonal(dim1=-2, dim2=-1).add_(shift[where][:, None])
            factors, failed = torch.linalg.cholesky_ex(matrices)
            return factors, failed

        work = sum(s.matrices.shape[-1] ** 3 * float(r.numel()) for s, r, _ in jobs)
        found = for_each(one, jobs, work / 3.0)
        return [
            (where, stack.size, factors, failed)
            for (stack, _, where), (factors, failed) in zip(jobs, found, strict=True)
        ]
