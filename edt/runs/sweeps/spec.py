"""What a sweep is: tasks, a grid or a list of settings, and what to measure at the end."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

from edt.errors import EdtError, unknown_choice
from edt.limits import insist_count, read_bounded, size
from edt.runs.experiment import Spec
from edt.runs.sweeps.axes import AXES, grid_values
from edt.runs.values import Positive
from edt.tasks import Task
from edt.tasks.described import TaskSizes
from edt.tasks.task_tables import as_table, make_task, realisable, task_sizes, task_table

ANALYSIS = ("spectrum", "embedding", "census")
#: Bytes of a spec in a file.
MOST = 2**24
#: What stands for standard input; every other pipe may wait for ever for somebody who writes.
STDIN = ("-", "/dev/stdin")


class SpecError(EdtError, ValueError):
    """A spec that cannot be read; the message names the file and the place."""


@dataclass(frozen=True)
class SweepSpec(Spec):
    """A sweep: every combination of the values of its axes.

    Two equal specs give the same tables, bit for bit, with any engine, any number of workers and
    any interruptions, as long as they train on the CPU. The axes are `edt.runs.sweeps.AXES`:
    task, activation, init, init_scale, bias, dtype, device (of first-order training: "cpu" or
    "cuda"), sparsity, optimizer, steps, schedule, batch_size (0: full batch), momentum, nesterov,
    beta1, beta2, eps, tol (0: do not converge), method, lbfgs_steps, newton_steps,
    certify_steps (budget of `edt.certify` for each run that is not good, where runs converge; 0:
    take `edt.converge`'s word), target, width, lr, weight_decay, seed. What is left out takes one
    default value.

    Attributes:
        task: tables with the ``name`` of a task of `edt.tasks` and its arguments, or your own data:
            ``file`` and the arguments of `edt.tasks.from_file`; ``import``, a function as
            "module:function" or "path/of/a/file.py:function", and its arguments; an `edt.Task`.
            The SHA-256 of the file, or of the data, is part of the spec, and data that have changed
            since are an error. One of these, or just a name, is a list of one; the axis "task" is
            its index and spans them all.
        grid: axis to values; the sweep holds every combination.
        points: tables like ``grid``; each replaces axes of the grid, and the sweep is their union.
            None: the grid alone.
        analysis: "spectrum" (all eigenvalues of every Hessian), "embedding" (every neuron of every
            strict minimum split: escape dimensions and the closed form beside them), "census"
            (distinct minima per width). The last two need one hidden layer and tol > 0.
        good: a run is good at or below this share of the target's variance where loss 0 can be
            reached, else within this share above the lowest loss of the sweep on its target.
        mus: output shares (mu, 1 - mu) of the copies in "embedding".
        shard_seconds: predicted one-thread seconds of one shard, the unit of work that is stored
            whole and lost at most. It does not change results, only how they are divided.

    Raises:
        TypeError, ValueError: a field or axis is unknown, of a wrong type or out of range.

    Example:
        >>> spec = SweepSpec(task="xor", grid={"width": [2, 3], "seed": "0..9", "lr": 0.01})
        >>> spec.digest == SweepSpec.from_dict(spec.to_dict()).digest
        True
    """

    task: Any = "teacher_student"
    grid: Mapping[str, Any] = field(default_factory=dict)
    points: Any = ()
    analysis: Any = ()
    good: Positive = 1e-8
    mus: Any = (0.5, 1.5)
    shard_seconds: Positive = 20.0

    def check(self) -> None:
        """Insist on tasks, axes and values as they are meant."""
        given = self.task if isinstance(self.task, (list, tuple)) else [self.task]
        _set(self, "task", tuple(task_table(entry) for entry in given))
        if not self.task:
            raise ValueError("task must hold at least one task")
        for name in ("points", "analysis", "mus"):
            value = getattr(self, name)
            if not isinstance(value, (list, tuple)):
                raise TypeError(f"{name} must be a list, got {value!r}")
        grid = {"task": tuple(range(len(self.task))), **grid_values("grid", self.grid)}
        _set(self, "grid", grid)
        points: list[dict[str, tuple[Any, ...]]] = []
        runs = 0 if self.points else prod(map(len, grid.values()))
        for k, entry in enumerate(self.points):
            # Counted one by one: every point may list a million values.
            points.append(grid_values(f"points[{k}]", entry))
            runs += prod(map(len, {**grid, **points[-1]}.values()))
            insist_count("the sweep", runs)
        insist_count("the sweep", runs)
        _set(self, "points", tuple(points))
        for values in (table.get("task", ()) for table in (grid, *points)):
            if any(index >= len(self.task) for index in values):
                raise ValueError(f"task {max(values)} does not exist: there are {len(self.task)}")
        for word in self.analysis:
            if word not in ANALYSIS:
                raise unknown_choice("analysis", word, ANALYSIS)
        _set(self, "analysis", tuple(word for word in ANALYSIS if word in self.analysis))
        if not all(isinstance(mu, (int, float)) and not isinstance(mu, bool) for mu in self.mus):
            raise TypeError(f"mus must hold numbers, got {list(self.mus)!r:.60}")
        mus = tuple(float(mu) for mu in self.mus)
        if any(not math.isfinite(mu) or mu in (0.0, 1.0) for mu in mus):
            raise ValueError(f"mus must be finite and neither 0 nor 1, got {list(mus)}")
        _set(self, "mus", mus)
        self._check_analysis()

    def _check_analysis(self) -> None:
        needy = [word for word in self.analysis if word != "spectrum"]
        for block in self.blocks() if needy else ():
            if 0.0 in block.get("tol", (0.0,)):
                raise ValueError(f"analysis {needy[0]!r} needs minima: set tol (1e-10, say)")
            if any(len(width) > 1 for width in block.get("width", ())):
                raise ValueError(f"analysis {needy[0]!r} needs widths of one hidden layer")

    def blocks(self) -> list[dict[str, tuple[Any, ...]]]:
        """The grids whose union the sweep is: one per point, or the grid itself."""
        grid = dict(self.grid)
        return [{**grid, **point} for point in self.points] or [grid]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields; tuples become lists."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return dict(json.loads(json.dumps(values)))

    @property
    def task_tables(self) -> tuple[Mapping[str, Any], ...]:
        """Its tasks."""
        return tuple(self.task)

    def make_task(self, index: int) -> Task:
        """The task with this index in ``task``, float64."""
        return make_task(self.task[index])

    def task_sizes(self, index: int) -> TaskSizes:
        """How large the task with this index is; a large one is not made for it."""
        return task_sizes(self.task[index])

    def realisable(self, index: int) -> bool:
        """Whether loss 0 can be reached on a task: a teacher without noise, or xor with mse."""
        return realisable(self.task[index])


def read_spec(path: str | os.PathLike[str], *, confirm: Sequence[str] = ()) -> SweepSpec:
    """Read a spec from a TOML file: the fields of `SweepSpec` are its keys.

    Args:
        path: of a plain file; "-" or "/dev/stdin": standard input, to its end.
        confirm: functions that tasks may ``import``, as the file or the message names them: the
            file may be somebody else's, and making its spec calls them.

    Raises:
        SpecError: no such file, not TOML, or not a spec, or it asks for a function that is not
            confirmed; the message names the file.

    Example file::

        analysis = ["spectrum"]

        [task]
        name = "teacher_student"
        n = 256

        [grid]
        width = [2, 4, 8]
        seed = "0..99"
        lr = [0.01, 0.003]
        tol = 1e-10
    """
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    file = Path(path)
    try:
        values = toml.loads(_text(file))
    except OSError as error:
        raise SpecError(f"{file}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError, too
        raise SpecError(f"{file}: not TOML: {error}") from None
    given = values.get("task")
    if isinstance(given, list):
        values["task"] = [_task_of_file(file, entry, confirm) for entry in given]
    elif given is not None:
        values["task"] = _task_of_file(file, given, confirm)
    names = {entry.name for entry in fields(SweepSpec)}
    for key in values:
        # The commonest slip: an axis at the top of the file.
        axis = get_close_matches(key, AXES, n=1)
        if key not in names and axis:
            raise SpecError(
                f"{file}: {key!r} is not a field; the axis {axis[0]!r} goes under [grid]"
            )
    try:
        return SweepSpec.from_dict(values)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise SpecError(f"{file}: {error}") from None


def _task_of_file(file: Path, entry: Any, confirm: Sequence[str]) -> Any:
    """A task of a spec in a file: paths are meant from where it lies, functions confirmed."""
    table = as_table(entry)
    if not isinstance(table, dict):
        return entry
    named = table.get("import")
    for key in ("file", "import"):
        found = table.get(key)
        if isinstance(found, str) and (key == "file" or ".py:" in found):
            table = {**table, key: str(file.parent / found)}
    if isinstance(named, str) and not {named, table["import"]} & set(confirm):
        raise SpecError(
            f"{file}: its task asks for the function {named!r:.200}, which would be imported and "
            f"called; where that is what you want, say --confirm {named:.200} (in Python: "
            "confirm=[...])"
        )
    return table


def _text(file: Path) -> str:
    if str(file) not in STDIN:
        return read_bounded(file, MOST).decode()
    data = sys.stdin.buffer.read(MOST + 1)
    if len(data) > MOST:
        raise ValueError(f"more than {size(MOST)}")
    return data.decode()


def _set(spec: SweepSpec, name: str, value: Any) -> None:
    object.__setattr__(spec, name, value)
