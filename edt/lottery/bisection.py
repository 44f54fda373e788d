"""The smallest change along a path that makes a ticket fail, by bisection of many paths at once."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edt.arguments import checked


def bisect_failure(
    low: torch.Tensor,
    high: torch.Tensor,
    fails: Callable[[torch.Tensor], torch.Tensor],
    rounds: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Halve brackets whose lower end wins and whose upper end fails.

    Winning is no monotone function of the size, so what is found is *a* size at which the outcome
    changes, within the bracket; to find the first, bracket on a fine grid.

    Args:
        low, high: float64 ``[P]``, sizes that win and that fail.
        fails: sizes ``[P]`` to bool ``[P]``.
        rounds: halvings.

    Returns:
        narrowed (low, high).

    Example:
        >>> ends = bisect_failure(torch.zeros(1), torch.ones(1), lambda s: s > 0.3, 10)
        >>> round(float(ends[1]), 2)
        0.3
    """
    for _ in range(rounds):
        middle = 0.5 * (low + high)
        lost = fails(middle)
        low, high = torch.where(lost, low, middle), torch.where(lost, middle, high)
    return low, high


checked(__name__)
