"""Distinct loss levels: how many different heights the minima found have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edt.ensemble.arrays import reals
from edt.scalars import number

Floats = npt.ArrayLike

#: Two neighbouring losses belong to one level when they differ by less than this, relatively.
#: At ``max|grad| <= 1e-10`` a loss is off its minimum by about ``grad^2 / eigenvalue``, far less.
RELATIVE_GAP = 1e-6


@dataclass(frozen=True)
class Levels:
    """Loss levels in ascending order.

    Attributes:
        loss: float64 ``[L]``, the lowest loss of each level.
        count: int64 ``[L]``, members.
        label: int64 ``[n]``, level of each given loss; -1 where it was not finite.
    """

    loss: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.loss.size)


def loss_levels(losses: Floats, relative_gap: float = RELATIVE_GAP, floor: float = 0.0) -> Levels:
    """Group losses into levels by their gaps.

    The finite losses are sorted; a new level starts where the step to the next loss exceeds
    ``relative_gap * loss + floor`` (single linkage). Different minima may share a level (mirror
    images always do), so this is a lower bound on the number of distinct minima.

    Args:
        losses: float ``[n]``.
        relative_gap: see above, > 0.
        floor: absolute gap always ignored, >= 0.

    Returns:
        `Levels`.

    Raises:
        ValueError: a gap is negative or not finite.

    Example:
        >>> len(loss_levels([0.1, 0.1 + 1e-12, 0.2]))
        2
    """
    relative_gap = number("relative_gap", relative_gap, strict=True)
    floor = number("floor", floor)
    values = reals("losses", losses).numpy().ravel()
    label = np.full(values.size, -1, dtype=np.int64)
    finite = np.flatnonzero(np.isfinite(values))
    if not finite.size:
        return Levels(np.empty(0), np.empty(0, dtype=np.int64), label)
    order = finite[np.argsort(values[finite], kind="stable")]
    ranked = values[order]
    new = np.diff(ranked) > relative_gap * np.abs(ranked[:-1]) + floor
    group = np.concatenate([[0], np.cumsum(new)])
    label[order] = group
    first = np.concatenate([[True], new])
    return Levels(ranked[first], np.bincount(group).astype(np.int64), label)
