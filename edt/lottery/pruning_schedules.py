"""How much each round of iterative pruning takes, so that a given density is reached at the end.

A schedule is a function from the round (0 for the first pruning) to the share of the *remaining*
weights that goes; any such function will do.
"""

from __future__ import annotations

from collections.abc import Callable

from edt.arguments import checked
from edt.scalars import integer

Schedule = Callable[[int], float]


def geometric(density: float, rounds: int) -> Schedule:
    """The same share every round, ``1 - density^(1 / rounds)``.

    Args:
        density: share of the weights left at the end, in (0, 1].
        rounds: prunings, at least 1.

    Raises:
        ValueError: out of range.

    Example:
        >>> round(geometric(0.25, 2)(0), 3)
        0.5
    """
    _check(density, rounds)
    share = 1.0 - density ** (1.0 / rounds)
    return lambda number: share


def cubic(density: float, rounds: int) -> Schedule:
    """Much at first, little at the end: sparsity ``(1 - density) (1 - (1 - k / rounds)^3)`` after
    round k.

    Args:
        density, rounds: as in `geometric`.

    Raises:
        ValueError: out of range.

    Reference: M. Zhu, S. Gupta, "To prune, or not to prune", 2017, arXiv 1710.01878.
    """
    _check(density, rounds)

    def left(done: int) -> float:
        return 1.0 - (1.0 - density) * (1.0 - (1.0 - min(done, rounds) / rounds) ** 3)

    return lambda number: 1.0 - left(number + 1) / left(number)


def _check(density: float, rounds: int) -> None:
    if not 0.0 < density <= 1.0:
        raise ValueError(f"density must be in (0, 1], got {density}")
    rounds = integer("rounds", rounds)


checked(__name__)
