"""`Interval`: an estimate with its bounds; checks that every estimate shares."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["SEED", "Interval"]

#: Seed of all resamples and posterior draws.
SEED = 20_210_526


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; bounds may be 0 or infinite."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def check_counts(k: int, n: int) -> None:
    """Insist on ``0 <= k <= n`` and ``n >= 1``.

    Raises:
        ValueError: they are not.
    """
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"k and n must be counts with 0 <= k <= n and n >= 1, got k={k}, n={n}")


def check_conf(conf: float) -> None:
    """Insist on a coverage between 0 and 1.

    Raises:
        ValueError: it is not.
    """
    if not 0.0 < conf < 1.0:
        raise ValueError(f"conf must lie between 0 and 1, got {conf}")


def normal_reach(conf: float) -> float:
    """The z with a share ``conf`` of the normal distribution within ``-z..z``."""
    from scipy.special import ndtri  # heavy, and the workers of sweeps need no intervals

    return float(ndtri(0.5 + conf / 2.0))


def student_reach(conf: float, freedom: float) -> float:
    """The t with a share ``conf`` of Student's distribution within ``-t..t`` (NaN: no freedom)."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + conf / 2.0)) if freedom > 0 else math.nan
