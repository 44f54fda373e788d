"""Floors of workload W from this machine's measured FMA peak."""

from __future__ import annotations

import pytest

from benchmarks import names, settings
from benchmarks.figures import Figures
from benchmarks.floor import ACTIVATION_OPERATIONS, floor_seconds
from edt import _core

PEAK_SECONDS = 0.01 if settings.SMOKE else 0.5


@pytest.mark.parametrize("activation, dtype", ACTIVATION_OPERATIONS)
def test_floor(activation: str, dtype: str, figures: Figures) -> None:
    peak = _core.fma_peak(dtype == "float64", settings.THREADS, PEAK_SECONDS)
    figures.add_quantity(f"FMA peak {dtype}", peak, "GFLOP/s")
    floor = floor_seconds(activation, dtype, peak * 1e9)
    figures.add_quantity(f"floor of {names.training_case(activation, dtype)}", floor * 1e3, "ms")
