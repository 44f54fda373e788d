"""How far steps of W are from the least time that this machine's pipes need for them."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import names, settings, subject, workload
from benchmarks.figures import Figures
from benchmarks.floor import ACTIVATION_OPERATIONS, floor_seconds, prices
from benchmarks.timing import timed

SECONDS = 0.01 if settings.SMOKE else 0.6
STEPS = 3 if settings.SMOKE else 100
CASES = list(ACTIVATION_OPERATIONS)[:: 3 if settings.SMOKE else 1]


@pytest.mark.parametrize("activation, dtype", CASES)
def test_floor(activation: str, dtype: str, benchmark: Any, figures: Figures) -> None:
    case, kind = names.training_case(activation, dtype), workload.DTYPES[dtype]
    of = prices(dtype, settings.THREADS, SECONDS)
    figures.add_quantity(f"FMA peak {dtype}", of.peak * 1e-9, "GFLOP/s")
    figures.add_quantity(f"division {dtype}", of.division, "multiply-adds")
    figures.add_quantity(f"look-up {dtype}", of.look_up, "multiply-adds")
    floor = floor_seconds(activation, dtype, of)
    figures.add_quantity(f"floor of {case}", floor * 1e3, "ms")
    networks, task = workload.networks(activation, kind), workload.task(kind)
    step = timed(benchmark, lambda: subject.train(networks, task, STEPS), STEPS)
    figures.add_quantity(f"{case} against its floor", step.best / floor, "times")
