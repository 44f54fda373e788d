"""Learning-rate schedules: a factor on every network's own learning rate.

At step ``t`` of ``T`` the optimiser uses ``lr_b * factor(t)``; a schedule never touches the
weight decay's own coefficient (torch's convention: decay is scaled by the learning rate).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edt.errors import unknown_choice

Factors = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """Base class: ``factors(t, T)`` for an array of steps ``t`` and ``T`` steps in all."""

    def factors(self, t: Factors, total: int) -> Factors:
        """Factor at each step of ``t`` (float64 array)."""
        raise NotImplementedError

    def __call__(self, step: int, steps: int) -> float:
        return float(self.factors(np.array([float(step)]), steps)[0])


@dataclass(frozen=True)
class Constant(Schedule):
    """Factor 1 at every step."""

    def factors(self, t: Factors, total: int) -> Factors:
        return np.ones_like(t)


@dataclass(frozen=True)
class Cosine(Schedule):
    """``floor + (1 - floor) (1 + cos(pi t / T)) / 2`` (Loshchilov & Hutter 2017)."""

    floor: float = 0.0

    def factors(self, t: Factors, total: int) -> Factors:
        phase = np.minimum(t / max(total, 1), 1.0)
        out: Factors = self.floor + (1.0 - self.floor) * 0.5 * (1.0 + np.cos(np.pi * phase))
        return out


@dataclass(frozen=True)
class Linear(Schedule):
    """``1 - (1 - floor) t / T``: a straight line from 1 towards ``floor`` at step T."""

    floor: float = 0.0

    def factors(self, t: Factors, total: int) -> Factors:
        return 1.0 - (1.0 - self.floor) * np.minimum(t / max(total, 1), 1.0)


@dataclass(frozen=True)
class Step(Schedule):
    """``factor ** floor(t / every)``; ``every=None`` means a third of all steps."""

    every: int | None = None
    factor: float = 0.1

    def factors(self, t: Factors, total: int) -> Factors:
        every = self.every if self.every is not None else max(total // 3, 1)
        out: Factors = np.power(self.factor, np.floor(t / every))
        return out


@dataclass(frozen=True)
class Milestones(Schedule):
    """``factor ** (milestones at or before t)``: drops at given steps, `MultiStepLR` of torch."""

    milestones: tuple[int, ...] = ()
    factor: float = 0.1

    def factors(self, t: Factors, total: int) -> Factors:
        passed = np.searchsorted(np.sort(np.asarray(self.milestones, dtype=np.float64)), t, "right")
        out: Factors = np.power(self.factor, passed.astype(np.float64))
        return out


@dataclass(frozen=True)
class Exponential(Schedule):
    """``end ** (t / T)``: geometric from 1 towards ``end`` at step T."""

    end: float = 1e-3

    def factors(self, t: Factors, total: int) -> Factors:
        out: Factors = np.power(self.end, t / max(total, 1))
        return out


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Cosine rise ``start`` -> 1 over ``rise * T`` steps, cosine fall to ``end`` (Smith 2018)."""

    rise: float = 0.3
    start: float = 0.04
    end: float = 4e-6

    def factors(self, t: Factors, total: int) -> Factors:
        top = max(self.rise * total, 1e-9)
        up = np.clip(t / top, 0.0, 1.0)
        down = np.clip((t - top) / max(total - top, 1e-9), 0.0, 1.0)
        rising = self.start + (1.0 - self.start) * 0.5 * (1.0 - np.cos(np.pi * up))
        falling = self.end + (1.0 - self.end) * 0.5 * (1.0 + np.cos(np.pi * down))
        out: Factors = np.where(t < top, rising, falling)
        return out


@dataclass(frozen=True)
class Warmup(Schedule):
    """Linear warm-up ``min((t + 1) / steps, 1)`` times another schedule.

    The first update already moves, and the other schedule's clock is not shifted.
    ``steps=None`` means a tenth of all steps.
    """

    steps: int | None = None
    then: Schedule = field(default_factory=Constant)

    def factors(self, t: Factors, total: int) -> Factors:
        ramp = self.steps if self.steps is not None else max(total // 10, 1)
        return np.minimum((t + 1.0) / max(ramp, 1), 1.0) * self.then.factors(t, total)


ScheduleLike = None | str | Schedule | Callable[[int], float]

NAMED: dict[str, Schedule] = {
    "constant": Constant(),
    "cosine": Cosine(),
    "linear": Linear(),
    "step": Step(),
    "exponential": Exponential(),
    "warmup": Warmup(),
    "one-cycle": OneCycle(),
}


def learning_rate_factors(schedule: ScheduleLike, steps: int) -> Factors:
    """Factor of the learning rate at each step, float64 ``[steps]``.

    Args:
        schedule: None (constant), a name ("constant", "cosine", "linear", "step", "exponential",
            "warmup", "one-cycle"), a `Schedule`, or a function ``step -> factor``.
        steps: number of optimiser steps.

    Raises:
        ValueError: unknown name, or a factor that is negative or not finite.
        TypeError: neither a name, nor a `Schedule`, nor callable.
    """
    if schedule is None:
        values = np.ones(steps)
    elif isinstance(schedule, str):
        if schedule not in NAMED:
            raise unknown_choice("schedule", schedule, list(NAMED))
        values = NAMED[schedule].factors(np.arange(steps, dtype=np.float64), steps)
    elif isinstance(schedule, Schedule):
        clock = np.arange(steps, dtype=np.float64)
        values = np.asarray(schedule.factors(clock, steps), dtype=np.float64)
    elif callable(schedule) and not isinstance(schedule, type):
        values = np.array([_called(schedule, t) for t in range(steps)], dtype=np.float64)
    else:
        raise TypeError(
            f"schedule must be None, one of {', '.join(map(repr, NAMED))}, an "
            f"edt.training.Schedule or a function step -> factor, got {schedule!r:.60}"
        )
    bad = np.flatnonzero(~np.isfinite(values) | (values < 0.0))
    if bad.size:
        raise ValueError(
            f"schedule gives the factor {values[bad[0]]} at step {bad[0]}; it must be a finite "
            "number >= 0"
        )
    return np.ascontiguousarray(values)


def _called(schedule: Callable[[int], float], step: int) -> float:
    factor = schedule(step)
    try:
        return float(factor)
    except (TypeError, ValueError):
        raise TypeError(
            f"schedule must return a number, got {factor!r:.60} at step {step}"
        ) from None


def describe(schedule: ScheduleLike) -> Any:
    """JSON form of a schedule for the run's specification (functions: their qualified name)."""
    if schedule is None or isinstance(schedule, str):
        return schedule or "constant"
    if isinstance(schedule, Schedule):
        return {"name": type(schedule).__name__, **asdict(schedule)}
    return f"function {getattr(schedule, '__qualname__', type(schedule).__name__)}"
