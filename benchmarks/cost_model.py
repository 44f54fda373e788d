"""Fit the coefficients of `edt.runs.sweeps.cost`: ``python -m benchmarks.cost_model``.

Processor time of one thread, so that other processes disturb it little; relative least squares with
coefficients >= 0. Prints the constants to copy.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from scipy.optimize import nnls

import edt
from edt.runs.sweeps.plan import make_plan
from edt.runs.sweeps.spec import SweepSpec


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Least processor time of a few calls, after one to warm up."""
    work()
    found = []
    for _ in range(repeats):
        clock = time.process_time()
        work()
        found.append(time.process_time() - clock)
    return min(found)


def fit(rows: list[list[float]], times: list[float]) -> tuple[np.ndarray, float]:
    """Coefficients >= 0 with the least relative squares, and the typical ratio of error."""
    matrix, target = np.array(rows), np.array(times)
    found, _ = nnls(matrix / target[:, None], np.ones_like(target))
    ratio = np.abs(np.log(np.maximum(matrix @ found, 1e-12) / target))
    return found, float(np.exp(np.median(ratio)))


def training(dtype: torch.dtype) -> tuple[np.ndarray, float]:
    """A, B, C and R: per weight and sample, per neuron and sample, per step, per run."""
    rows, times = [], []
    networks = 16
    for d_in, width, samples, steps in product((2, 16), (2, 8, 32), (64, 1024), (20, 1000)):
        task = edt.tasks.teacher_student(d_in, n=samples).to(dtype)
        start = edt.Ensemble.init([width], range(networks), d_in=d_in, d_out=1, dtype=dtype)

        def work(task: edt.Task = task, start: edt.Ensemble = start, steps: int = steps) -> object:
            return edt.masked_train(task, start, steps=steps, record=None, progress=False)

        passes = float(steps * samples)
        rows.append([passes * float(start.coords[0]), passes * width, float(steps), 1.0])
        times.append(seconds(work) / networks)
    return fit(rows, times)


def hessians() -> tuple[np.ndarray, float]:
    """D and E: per sample and squared coordinate, per cubed coordinate; and the rest of a call."""
    rows, times = [], []
    for width in (4, 16, 48):
        for samples in (64, 1024):
            task = edt.tasks.teacher_student(4, n=samples)
            start = edt.Ensemble.init([width], range(4), d_in=4, d_out=1)
            size = float(start.coords[0])

            def work(task: edt.Task = task, start: edt.Ensemble = start) -> object:
                return edt.hessian_spectrum(start, task)

            rows.append([samples * size**2, size**3, 1.0])
            times.append(seconds(work) / 4)
    return fit(rows, times)


def bottom(call: float) -> tuple[float, float, float]:
    """Typical L-BFGS and Newton iterations, and the fixed cost of a Newton iteration."""
    lbfgs, newton, fixed = [], [], []
    for width in (3, 6, 12):
        task = edt.tasks.teacher_student(2, n=256, normalise=True)
        start = edt.masked_train(
            task, widths=[width], seeds=range(6), steps=1000, lr=0.01, progress=False
        ).networks
        clock = time.process_time()
        ended = edt.converge(task, start, progress=False)
        spent = time.process_time() - clock
        lbfgs += ended.lbfgs_iterations.tolist()
        newton += ended.newton_iterations.tolist()
        fixed.append(spent / max(1, int(ended.newton_iterations.sum())))
    return statistics.median(lbfgs), statistics.median(newton), statistics.median(fixed)


def main() -> None:
    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.float64):
        found, ratio = training(dtype)
        print(f"{dtype}: A, B, C, R = {found}; typical error a factor {ratio:.2f}")
    found, ratio = hessians()
    print(f"D, E, per call = {found}; typical error a factor {ratio:.2f}")
    print(f"L-BFGS, Newton iterations, seconds of one = {bottom(float(found[2]))}")
    plan = make_plan(SweepSpec(grid={"width": "2..51", "seed": "0..99", "tol": 1e-10}))
    print(f"{plan.runs} runs, {len(plan.members)} shards, {plan.seconds:.0f} s predicted")


if __name__ == "__main__":
    main()
