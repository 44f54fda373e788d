"""Sweeps: making a plan; what engine and store add to one call that does the same work.

All ratios are of one run: the call before the sweeps and again after them, the faster counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import edt
from benchmarks import names, settings
from benchmarks.figures import Figures
from edt.runs import experiment
from edt.runs.store import PartFiles
from edt.runs.sweeps import SweepSpec, make_plan, sweep

PLANNED = (5, 20) if settings.SMOKE else (50, 1000)
#: About a minute of two cores, below which no workers are started; shards of five seconds.
SEEDS, STEPS = (4, 50) if settings.SMOKE else (300, 30_000)
WIDTHS = [2, 4, 8, 16, 32]


def spec() -> SweepSpec:
    """Students of a teacher: widths and seeds."""
    return SweepSpec(
        task={"name": "teacher_student", "n": 256, "normalise": True},
        grid={"width": WIDTHS, "seed": f"0..{SEEDS - 1}", "lr": 0.01, "steps": STEPS},
        shard_seconds=5.0,
    )


def one_call(steps: int = STEPS) -> float:
    """Seconds that one `masked_train` takes for the networks of the spec."""
    task = spec().make_task(0)
    clock = time.perf_counter()
    edt.masked_train(
        task, widths=WIDTHS, seeds=range(SEEDS), steps=steps, lr=0.01, record=None, progress=False
    )
    return time.perf_counter() - clock


@contextmanager
def clocked(*functions: tuple[Any, str]) -> Iterator[list[float]]:
    """Wall-clock times of the calls of some functions, by where they are looked up."""
    times: list[float] = []

    def timed(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **options: Any) -> Any:
            clock = time.perf_counter()
            try:
                return real(*words, **options)
            finally:
                times.append(time.perf_counter() - clock)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in functions:
            patch.setattr(owner, name, timed(getattr(owner, name)))
        yield times


def test_planning(figures: Figures) -> None:
    widths, seeds = PLANNED
    grid = {"width": f"2..{widths + 1}", "seed": f"0..{seeds - 1}", "lr": [0.01, 0.003]}
    clock = time.perf_counter()
    plan = make_plan(SweepSpec(grid=grid))
    shards = [plan.job(number) and plan.shard(number) for number in range(len(plan.members))]
    took = time.perf_counter() - clock
    assert sum(len(shard.runs) for shard in shards) == 2 * widths * seeds
    figures.add_quantity(names.PLANNING_QUANTITY, took, "s")


def test_engine_and_store(figures: Figures, tmp_path: Path) -> None:
    one_call(STEPS // 20)  # warms up
    calls = [one_call()]
    took = {}
    for workers, name in zip((0, settings.THREADS), names.ENGINES, strict=True):
        clock = time.perf_counter()
        with clocked(
            (PartFiles, "write"), (PartFiles, "intact"), (PartFiles, "table"),
            (experiment, "write_finished"), (experiment, "note_start"), (experiment, "Store"),
        ) as stored:  # fmt: skip
            sweep(spec(), tmp_path / name, workers=workers, progress=False)
        took[name] = time.perf_counter() - clock
        if workers == 0:
            share = sum(stored) / took[name]
    calls.append(one_call())
    best = min(calls)
    figures.add_quantity("one call of masked_train, the sweep's work", best, "s")
    for name, seconds in took.items():
        figures.add_quantity(names.engine_quantity(name), 100.0 * (seconds / best - 1.0), "%")
    figures.add_quantity(names.STORE_QUANTITY, 100.0 * share, "%")
