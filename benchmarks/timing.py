"""Taking times with pytest-benchmark: the same procedure for edt and every peer.

A first call warms caches and compilers and is not counted; its length decides how many rounds
follow. The figure used is the fastest round: the one least disturbed by whatever else the machine
does. Medians are kept beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import settings


@dataclass(frozen=True)
class Timing:
    """Seconds per unit of work.

    Attributes:
        best, median: over the rounds.
        rounds: calls timed.
    """

    best: float
    median: float
    rounds: int


def timed(benchmark: Any, call: Callable[[], object], units: float = 1.0) -> Timing:
    """Time ``call`` with pytest-benchmark's fixture.

    Args:
        benchmark: the fixture.
        call: returns when its work is done.
        units: units of work in a call, for example optimiser steps.
    """
    start = time.perf_counter()
    call()
    took = max(time.perf_counter() - start, 1e-9)
    rounds = int(
        min(max(settings.ROUND_SECONDS / took, settings.FEWEST_ROUNDS), settings.MOST_ROUNDS)
    )
    if took > settings.LONG_CALL:
        rounds = 1
    times: list[float] = []

    def round_() -> None:
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) / units)

    benchmark.pedantic(round_, rounds=rounds)
    times.sort()
    return Timing(times[0], times[len(times) // 2], rounds)


def quick_time(call: Callable[[], object], units: float = 1.0, rounds: int = 3) -> float:
    """Seconds per unit of the fastest of a few calls, after one to warm up."""
    call()
    best = float("inf")
    for _ in range(1 if settings.SMOKE else rounds):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best / units
