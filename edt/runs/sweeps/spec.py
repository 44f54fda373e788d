"""What a sweep is: tasks, a grid or a list of settings, and what to measure at the end."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

from edt import tasks as task_makers
from edt.errors import EdtError, unknown_choice
from edt.limits import insist_count, read_bounded, size
from edt.runs.experiment import Spec
from edt.runs.sweeps.axes import AXES, grid_values
from edt.scalars import number
from edt.tasks import Task
from edt.tasks.data_file import check_digest, file_digest
from edt.tasks.described import TaskSizes, described_sizes

ANALYSIS = ("spectrum", "embedding", "census")
#: Tasks by name, and whether loss 0 can be reached (a noisy teacher: no).
TASKS: dict[str, tuple[Callable[..., Task], bool]] = {
    "teacher_student": (task_makers.teacher_student, True),
    "diabetes": (task_makers.diabetes, False),
    "digits": (task_makers.digits, False),
    "breast_cancer": (task_makers.breast_cancer, False),
    "mnist1d": (task_makers.mnist1d, False),
    "rosenbrock": (task_makers.rosenbrock, False),
    "xor": (task_makers.xor, False),
    "file": (task_makers.from_file, False),
}


#: Bytes of a spec in a file.
MOST = 2**24
#: What stands for standard input; every other pipe may wait for ever for somebody who writes.
STDIN = ("-", "/dev/stdin")
SHA256 = re.compile(r"[0-9a-f]{64}")


class SpecError(EdtError, ValueError):
    """A spec that cannot be read; the message names the file and the place."""


@dataclass(frozen=True)
class SweepSpec(Spec):
    """A sweep: every combination of the values of its axes.

    Two equal specs give the same tables, bit for bit, with any engine, any number of workers and
    any interruptions, as long as they train on the CPU. The axes are `edt.runs.sweeps.AXES`:
    task, activation, init, init_scale, bias, dtype, device (of first-order training: "cpu" or
    "cuda"), sparsity, optimizer, steps, schedule, batch_size (0: full batch), momentum, nesterov,
    beta1, beta2, eps, tol (0: do not converge), method, lbfgs_steps, newton_steps, target, width,
    lr, weight_decay, seed. What is left out takes one default value.

    Attributes:
        task: tables with the ``name`` of a task of `edt.tasks` and its arguments, or with ``file``
            and the arguments of `edt.tasks.from_file`: the file's SHA-256 is part of the spec, and
            a file that has changed since is an error. One table, or just a name, is a list of one;
            the axis "task" is its index and spans them all.
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
    good: float = 1e-8
    mus: Any = (0.5, 1.5)
    shard_seconds: float = 20.0

    def __post_init__(self) -> None:
        given = self.task if isinstance(self.task, (list, tuple)) else [self.task]
        _set(self, "task", tuple(_task_table(entry) for entry in given))
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
        _set(self, "good", number("good", self.good, strict=True))
        _set(self, "shard_seconds", number("shard_seconds", self.shard_seconds, strict=True))
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

    def outside(self) -> tuple[str, ...]:
        """The files that its tasks come from."""
        return tuple(str(table["file"]) for table in self.task if table["name"] == "file")

    def check_files(self) -> None:
        """Insist on the files of its tasks.

        Raises:
            ValueError: one is missing, or is not what it was when the spec was made.
        """
        for table in self.task:
            if table["name"] == "file":
                check_digest(table["file"], table["sha256"])

    def make_task(self, index: int) -> Task:
        """The task with this index in ``task``, float64."""
        return make_task(json.dumps(self.task[index], sort_keys=True))

    def task_sizes(self, index: int) -> TaskSizes:
        """How large the task with this index is; a large one is not made for it."""
        found = described_sizes(*_call(json.dumps(self.task[index])))
        if found is not None:
            return found
        task = self.make_task(index)
        return TaskSizes(task.T, task.N, task.d_in, task.d_out)

    def realisable(self, index: int) -> bool:
        """Whether loss 0 can be reached on a task: a teacher without noise, or xor with mse."""
        table = self.task[index]
        if table["name"] == "xor":
            return bool(table.get("loss") == "mse")
        return TASKS[table["name"]][1] and not table.get("noise")


@lru_cache(maxsize=16)
def make_task(text: str) -> Task:
    """A task from its table as JSON; workers keep the last ones.

    Raises:
        ValueError, TypeError: the arguments do not suit the task.
    """
    maker, arguments = _call(text)
    return maker(**arguments)


def _call(text: str) -> tuple[Callable[..., Task], dict[str, Any]]:
    """What makes the task of a table as JSON, and its arguments."""
    table = json.loads(text)
    maker, _ = TASKS[table.pop("name")]
    if isinstance(table.get("teacher_width"), list):
        table["teacher_width"] = tuple(table["teacher_width"])
    return maker, table


def read_spec(path: str | os.PathLike[str]) -> SweepSpec:
    """Read a spec from a TOML file: the fields of `SweepSpec` are its keys.

    Args:
        path: of a plain file; "-" or "/dev/stdin": standard input, to its end.

    Raises:
        SpecError: no such file, not TOML, or not a spec; the message names the file.

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
    for table in given if isinstance(given, list) else [given]:
        if isinstance(table, dict) and isinstance(table.get("file"), str):
            table["file"] = str(file.parent / table["file"])
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


def _text(file: Path) -> str:
    if str(file) not in STDIN:
        return read_bounded(file, MOST).decode()
    data = sys.stdin.buffer.read(MOST + 1)
    if len(data) > MOST:
        raise ValueError(f"more than {size(MOST)}")
    return data.decode()


def _task_table(entry: Any) -> dict[str, Any]:
    table = {"name": entry} if isinstance(entry, str) else entry
    if isinstance(table, Mapping) and "file" in table:
        table = _file_table(table)
    if not isinstance(table, Mapping) or "name" not in table:
        raise TypeError(f"task must be a name or a table with a name, got {entry!r}")
    if not isinstance(table["name"], str):
        raise TypeError(f"task name must be a text, got {table['name']!r:.60}")
    if table["name"] not in TASKS:
        raise unknown_choice("task", table["name"], list(TASKS))
    for name, value in table.items():
        if not _storable(value):
            raise TypeError(
                f"task {name} must be a number, a text, true or false, or a list of them, got "
                f"{value!r:.60}"
            )
    return json.loads(json.dumps(dict(table), sort_keys=True))  # type: ignore[no-any-return]


def _storable(value: Any) -> bool:
    """Whether a value is the same after JSON: TOML also has dates, times and infinities."""
    if isinstance(value, (list, tuple)):
        return all(map(_storable, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str))


def _file_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table of a task from a file, with the digest of what the file holds now.

    With a digest the file is not looked at: the table may come from a stranger's directory.

    Raises:
        TypeError, ValueError: there is no such file, or the table names it in no way that is one.
    """
    file, digest = table["file"], table.get("sha256")
    if not isinstance(file, str) or not file or "\0" in file:
        raise TypeError(f"task file must be a path, got {file!r:.60}")
    if digest is not None and not (isinstance(digest, str) and SHA256.fullmatch(digest)):
        raise ValueError(f"task sha256 must be 64 hexadecimal digits, got {digest!r:.80}")
    path = os.path.abspath(file)
    return {**table, "name": "file", "file": path, "sha256": digest or file_digest(path)}


def _set(spec: SweepSpec, name: str, value: Any) -> None:
    object.__setattr__(spec, name, value)
