"""Dense float32 relu networks of width 64: share of the machine's FMA peak in training."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks import names, settings, subject, workload
from benchmarks.figures import EDT, Figures
from benchmarks.flops import step_flops
from benchmarks.timing import timed
from edt import Ensemble, _core

NETWORKS = 2 if settings.SMOKE else 32
STEPS = 2 if settings.SMOKE else 40
PEAK_SECONDS = 0.01 if settings.SMOKE else 0.5
SHAPES = {"64-64-1": (64, 64, 1), "64-64-64-1": (64, 64, 64, 1)}


@pytest.mark.parametrize("shape", SHAPES)
def test_share_of_peak(shape: str, benchmark: Any, figures: Figures) -> None:
    layers = SHAPES[shape]
    ens = Ensemble.init(
        widths=[layers[1:-1]],
        seeds=range(NETWORKS),
        d_in=layers[0],
        d_out=1,
        activation="relu",
        dtype=torch.float32,
    )
    task = workload.task(torch.float32, inputs=layers[0])

    def peak() -> float:
        return _core.fma_peak(False, settings.THREADS, PEAK_SECONDS)

    before = peak()
    timing = timed(benchmark, lambda: subject.train(ens, task, STEPS), STEPS)
    # The better of two: a disturbed peak would flatter the share.
    best = max(before, peak())
    speed = NETWORKS * step_flops(layers, task.N) / timing.best / 1e9
    figures.add(f"32 x {shape} relu", EDT, timing)
    figures.add_quantity(names.peak_quantity(shape), 100 * speed / best, "%")
