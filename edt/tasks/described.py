"""How large a task is, from its arguments alone: plans are priced, and refused, without data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from itertools import pairwise
from typing import Any

from edt.errors import unknown_choice
from edt.limits import insist
from edt.scalars import flag, integer
from edt.tasks.inputs import check_points
from edt.tasks.real import SPLITS, mnist1d
from edt.tasks.rosenbrock import rosenbrock
from edt.tasks.task import Task
from edt.tasks.teacher import hidden_widths, teacher_student

__all__ = ["TaskSizes", "described_sizes"]

#: A task of so many numbers is better made: what only its data show is found then, too.
SMALL = 2**20
#: Bytes for each of them while a task is made: three copies, at the most.
BYTES = 24


@dataclass(frozen=True)
class TaskSizes:
    """What the cost of a run depends on.

    Attributes:
        T: targets.
        N: samples.
        d_in, d_out: inputs and outputs.
    """

    T: int
    N: int
    d_in: int
    d_out: int


@dataclass(frozen=True)
class _Described:
    """Sizes, the numbers behind them, and arguments that make the task small."""

    sizes: TaskSizes
    numbers: int
    smaller: dict[str, Any]


def described_sizes(maker: Callable[..., Task], arguments: Mapping[str, Any]) -> TaskSizes | None:
    """Sizes of the task that a function of `edt.tasks` makes of these arguments.

    Instead of it a small one of the same kind is made, so that all arguments are looked at.

    Args:
        maker: of the task.
        arguments: by name.

    Returns:
        None where the task itself is quickly made, or does not say.

    Raises:
        ValueError, TypeError: as of the maker. TooLargeError: the task would not fit in memory.

    Example:
        >>> described_sizes(teacher_student, {"n": 10_000_000, "d_in": 3})
        TaskSizes(T=1, N=10000000, d_in=3, d_out=1)
    """
    describe = DESCRIBED.get(maker)
    if describe is None:
        return None
    try:
        given = signature(maker).bind(**arguments)
    except TypeError:  # the maker's own message names itself
        return None
    given.apply_defaults()
    found = describe(given.arguments)
    if found.numbers <= SMALL:
        return None
    insist(f"the task {maker.__name__}", BYTES * found.numbers)
    maker(**{**arguments, **found.smaller})
    return found.sizes


def _teacher(given: Mapping[str, Any]) -> _Described:
    n, d_in = check_points(given["inputs"], given["n"], given["d_in"])
    d_out, teachers = integer("d_out", given["d_out"]), integer("teachers", given["teachers"])
    row = (d_in, *hidden_widths(given["teacher_width"]), d_out)
    weights = sum((a + 1) * b for a, b in pairwise(row))
    flag("normalise", given["normalise"])  # few samples may all have one output
    smaller = {"n": 4, "d_in": 2, "d_out": 1, "teachers": 1, "teacher_width": 1, "normalise": False}
    return _Described(
        TaskSizes(teachers, n, d_in, d_out), n * d_in + teachers * (n * d_out + weights), smaller
    )


def _rosenbrock(given: Mapping[str, Any]) -> _Described:
    n = integer("points", given["points"], 2) ** 2
    return _Described(TaskSizes(1, n, 2, 1), 3 * n, {"points": 2})


def _mnist1d(given: Mapping[str, Any]) -> _Described:
    every = integer("samples", given["samples"], 20) // 10 * 10
    train, split = every * 4 // 5, given["split"]
    if split not in SPLITS:
        raise unknown_choice("split", split, SPLITS)
    n = {"all": every, "train": train, "test": every - train}[split]
    return _Described(TaskSizes(1, n, 40, 10), 50 * every, {"samples": 20})


#: Makers whose tasks may be of any size.
DESCRIBED: dict[Callable[..., Task], Callable[[Mapping[str, Any]], _Described]] = {
    teacher_student: _teacher,
    rosenbrock: _rosenbrock,
    mnist1d: _mnist1d,
}
