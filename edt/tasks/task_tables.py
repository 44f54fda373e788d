"""Tasks as specs hold them: tables of plain values that name a task, or where its data come from.

A table holds the ``name`` of a function of `edt.tasks` and its arguments, or data of one's own:

- ``file``: arguments of `edt.tasks.from_file`, and the file's SHA-256;
- ``import``: ``"module:function"`` or ``"path/of/a/file.py:function"`` with arguments, and the
  SHA-256 of the data that it returned;
- ``data``: the SHA-256 of an `edt.Task`, which travels with the table and is kept in the directory
  of a run.

Data of one's own may have a ``shape``, that of a sample, for networks that take images; a task has
it in its ``info``.

With a digest nothing is opened, imported or called until the task is made: the table may come from
a stranger's directory (`edt.runs.trust`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import torch

from edt import files, scalars, tasks
from edt.errors import unknown_choice
from edt.files import CheckpointError, digest, encode, parsing
from edt.limits import read_plain
from edt.tasks.data_file import ENDINGS, check_digest, file_digest
from edt.tasks.described import TaskSizes, described_sizes
from edt.tasks.task import Task

__all__ = [
    "TASKS",
    "TaskTable",
    "as_table",
    "check_task",
    "data_file",
    "fingerprint",
    "forget_loaded",
    "make_task",
    "named",
    "outside",
    "realisable",
    "stored",
    "study_task",
    "task_name",
    "task_sizes",
    "task_table",
]

#: Tasks by name, and whether loss 0 can be reached (a noisy teacher: no).
TASKS: dict[str, tuple[Callable[..., Task], bool]] = {
    "teacher_student": (tasks.teacher_student, True),
    "diabetes": (tasks.diabetes, False),
    "digits": (tasks.digits, False),
    "breast_cancer": (tasks.breast_cancer, False),
    "mnist1d": (tasks.mnist1d, False),
    "rosenbrock": (tasks.rosenbrock, False),
    "xor": (tasks.xor, False),
}
#: What studies called tasks before each had one name; directories of runs still do.
FORMER = {"teacher": "teacher_student", "teacher-student": "teacher_student"}
#: Names of tables of data of one's own, which are also their keys.
SOURCES = ("file", "import", "data")
#: Keys of a table that are no arguments of its function.
RESERVED = ("name", "import", "sha256", "sizes", "shape")
SHA256 = re.compile(r"[0-9a-f]{64}")
#: What a file of data in the directory of a run holds.
KIND = "task-data"

Read = Callable[[str], bytes]
_stored: ContextVar[Read | None] = ContextVar("stored", default=None)


class TaskTable(dict[str, Any]):
    """A table whose data are at hand: an `edt.Task`, or what reads it from a run's directory."""

    task: Task | None = None
    read: Read | None = None


@contextmanager
def stored(reader: Read) -> Iterator[None]:
    """While a spec of a run's directory is read: nothing is looked up, data are in that directory.

    Args:
        reader: of files there, by name.
    """
    token = _stored.set(reader)
    try:
        yield
    finally:
        _stored.reset(token)


def task_table(entry: Any) -> dict[str, Any]:
    """The table of a task, with digests of data as they are now.

    Args:
        entry: a name; a table with a name and arguments; data of one's own: an `edt.Task`, the
            path of a file, ``"module:function"``, or a table with one of these as ``file`` or
            ``import`` and arguments.

    Raises:
        TypeError, ValueError: none of these, or its data cannot be read.

    Example:
        >>> task_table("xor")
        {'name': 'xor'}
    """
    if isinstance(entry, TaskTable):
        return entry
    if isinstance(entry, Task):
        return _data_table(entry)
    table = as_table(entry)
    if isinstance(table, Mapping):
        if "file" in table and "import" in table:
            raise ValueError("task must have a file or an import, not both")
        if "file" in table:
            table = _file_table(table)
        elif "import" in table:
            table = _import_table(table)
    if not isinstance(table, Mapping) or "name" not in table:
        raise TypeError(f"task must be a name or a table with a name, got {entry!r:.200}")
    if not isinstance(table["name"], str):
        raise TypeError(f"task name must be a text, got {table['name']!r:.60}")
    if table["name"] == "data":
        return _stored_data(table)
    if table["name"] not in (*TASKS, *SOURCES):
        raise unknown_choice("task", table["name"], [*TASKS, *SOURCES])
    if table["name"] in SOURCES and table["name"] not in table:
        raise ValueError(f"task {table['name']!r} must say which {table['name']}")
    return _plain(table)


def as_table(entry: Any) -> Any:
    """A text as the table that it stands for: a name, a file, or a function."""
    if not isinstance(entry, str):
        return entry
    return {"file" if entry.endswith(ENDINGS) else "import" if ":" in entry else "name": entry}


def named(entry: Any) -> Any:
    """A task by the name that it has now; anything else as it is."""
    return FORMER.get(entry, entry) if isinstance(entry, str) else entry


def study_task(entry: Any, names: Collection[str]) -> Any:
    """What a study of certain tasks learns: one of their names, or the table of one's own data.

    Args:
        entry: a name, or data of one's own as `task_table` takes them.
        names: of the study.

    Raises:
        TypeError, ValueError: another name; otherwise as `task_table`.
    """
    entry = named(entry)
    if isinstance(entry, str) and (entry in names or not (entry.endswith(ENDINGS) or ":" in entry)):
        if entry not in names:
            raise unknown_choice("task", entry, list(names))
        return entry
    table = task_table(entry)
    if table["name"] not in SOURCES:
        raise unknown_choice("task", table["name"], list(names))
    return table


def make_task(table: Mapping[str, Any]) -> Task:
    """The task of a table, float64.

    Raises:
        ValueError, TypeError: the arguments do not suit it, or its data are not those of the table.
    """
    if table["name"] == "data":
        assert isinstance(table, TaskTable)
        return _load(table)
    return _make(json.dumps(table, sort_keys=True))


def task_sizes(table: Mapping[str, Any]) -> TaskSizes:
    """How large the task of a table is; a large one is not made for it."""
    if "sizes" in table:
        return TaskSizes(*table["sizes"])
    found = None
    if table["name"] in TASKS:
        found = described_sizes(*_call(json.dumps(table, sort_keys=True)))
    if found is not None:
        return found
    task = make_task(table)
    return TaskSizes(task.T, task.N, task.d_in, task.d_out)


def realisable(table: Mapping[str, Any]) -> bool:
    """Whether loss 0 can be reached on a task: a teacher without noise, or xor with mse."""
    if table["name"] == "xor":
        return bool(table.get("loss") == "mse")
    return table["name"] in TASKS and TASKS[table["name"]][1] and not table.get("noise")


def task_name(task: Any) -> str:
    """A short name of a task or a table, for pages and names of folders.

    Example:
        >>> task_name({"name": "file", "file": "/data/mine.csv"})
        'mine'
    """
    if not isinstance(task, Mapping):
        return str(task)
    if task["name"] == "file":
        return Path(task["file"]).stem
    if task["name"] == "import":
        return str(task["import"]).rpartition(":")[2]
    return str(task.get("title") or task["name"])


def outside(table: Mapping[str, Any]) -> tuple[str, ...]:
    """What a table names that no directory of a run holds: a file, or a function."""
    return (str(table[table["name"]]),) if table["name"] in ("file", "import") else ()


def check_task(table: Mapping[str, Any]) -> None:
    """Insist on the data of a table, as they were when it was made.

    Raises:
        ValueError: they are missing, or have changed.
    """
    if table["name"] == "file":
        check_digest(table["file"], table["sha256"])
    elif table["name"] == "import":
        _insist_same(table, _imported(table))
    elif table["name"] == "data":
        _insist_same(table, make_task(table))


def data_file(table: Mapping[str, Any]) -> tuple[str, bytes] | None:
    """Name and bytes of the file that holds a table's data in the directory of a run.

    None where they come from elsewhere, or are there.
    """
    if not isinstance(table, TaskTable) or table.task is None:
        return None
    task = table.task
    header = {"loss": task.loss, "d_out": task.d_out, "title": table["title"]}
    return _file_name(table), encode(KIND, {"x": task.x, "y": task.y, "coef": task.coef}, header)[0]


def fingerprint(task: Task) -> str:
    """SHA-256 of everything that networks learn from a task."""
    arrays = digest({"x": task.x, "y": task.y, "coef": task.coef})
    return hashlib.sha256(json.dumps([task.loss, task.d_out, arrays]).encode()).hexdigest()


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
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


def _recorded(table: Mapping[str, Any]) -> str | None:
    """The digest of a table; None: it has none, and what it names may be looked at."""
    found = table.get("sha256")
    if found is None and _stored.get() is not None:
        raise ValueError("task in the directory of a run must have its sha256")
    if found is not None and not (isinstance(found, str) and SHA256.fullmatch(found)):
        raise ValueError(f"task sha256 must be 64 hexadecimal digits, got {found!r:.80}")
    return found


def _sizes(table: Mapping[str, Any]) -> list[int]:
    found = table.get("sizes")
    if not (
        isinstance(found, (list, tuple))
        and len(found) == 4
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 < n < 2**48 for n in found)
    ):
        raise ValueError(
            f"task sizes must be targets, samples, inputs and outputs, got {found!r:.80}"
        )
    return list(found)


def _shape(table: Mapping[str, Any]) -> dict[str, list[int]]:
    """The shape of a sample, where a table has one; networks of images ask for it."""
    if "shape" not in table:
        return {}
    found = table["shape"]
    listed = isinstance(found, (list, tuple))
    if not listed or not 1 <= len(found) <= 8:
        raise TypeError(f"task shape must be a list like [1, 28, 28], got {found!r:.80}")
    return {"shape": [scalars.integer("task shape entries", size) for size in found]}


def _described(task: Task) -> dict[str, Any]:
    """Sizes of a task, and the shape of its samples where it says so."""
    sizes = {"sizes": [task.T, task.N, task.d_in, task.d_out]}
    return {**sizes, **_shape(task.info)}


# Files --------------------------------------------------------------------------------------------


def _file_table(table: Mapping[str, Any]) -> dict[str, Any]:
    file = table["file"]
    if not isinstance(file, str) or not file or "\0" in file:
        raise TypeError(f"task file must be a path, got {file!r:.60}")
    path = os.path.abspath(file)
    digest = _recorded(table) or file_digest(path)
    return {**table, "name": "file", "file": path, "sha256": digest, **_shape(table)}


# Functions ----------------------------------------------------------------------------------------


def _import_table(table: Mapping[str, Any]) -> dict[str, Any]:
    address = table["import"]
    module, colon, function = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if not (colon and module and function.isidentifier() and "\0" not in module):
        raise TypeError(
            'task import must look like "module:function" or "path/of/a/file.py:function", got '
            f"{address!r:.80}"
        )
    if module.endswith(".py"):
        module = os.path.abspath(module)
    elif not all(word.isidentifier() for word in module.split(".")):
        raise TypeError(f"task import must begin with the name of a module, got {address!r:.80}")
    elif module == "__main__":
        raise ValueError(
            "task import must name a module that other processes can import, got '__main__': move "
            "the function to a file, or give the edt.Task itself"
        )
    found = _plain({**table, "name": "import", "import": f"{module}:{function}"})
    if _recorded(found) is None:
        task = _imported(found)
        found |= {"sha256": fingerprint(task), **_described(task), **_shape(found)}
    return {**found, "sizes": _sizes(found), **_shape(found)}


def _imported(table: Mapping[str, Any]) -> Task:
    """What the function of a table returns now."""
    address = table["import"]
    module, _, name = address.rpartition(":")
    arguments = {key: value for key, value in table.items() if key not in RESERVED}
    try:
        function = getattr(_module(module), name)
    except Exception as error:
        hint = "" if module.endswith(".py") else "; or name its file, like mine.py:function"
        raise ValueError(
            f"task import {address!r}: {type(error).__name__}: {error}{hint}"
        ) from error
    if not callable(function):
        raise TypeError(f"task import {address!r} must be a function, got {function!r:.60}")
    try:
        made = function(**arguments)
    except Exception as error:
        raise ValueError(
            f"task import {address!r} failed: {type(error).__name__}: {error!s:.300}"
        ) from error
    return _as_data(made, f"what {address!r} returns")


def _module(name: str) -> Any:
    if not name.endswith(".py"):
        return import_module(name)
    # Read anew each time: a file that was edited is not the one that is in memory. And compiled
    # anew: Python's own compiled files know an edit by its second and the length of the file.
    found = spec_from_file_location("_edt_task_" + hashlib.sha256(name.encode()).hexdigest(), name)
    assert found is not None
    module = module_from_spec(found)
    sys.modules[module.__name__] = module  # for dataclasses and pickles of its own
    exec(compile(read_plain(Path(name), 8), name, "exec"), module.__dict__)
    return module


def _as_data(made: Any, what: str) -> Task:
    if isinstance(made, (tuple, list)) and len(made) == 2:
        made = Task(*(_float64(one) for one in made))
    if not isinstance(made, Task):
        raise TypeError(f"{what} must be an edt.Task or a pair (x, y), got {type(made).__name__}")
    return made.to(torch.float64, device="cpu")


def _float64(values: Any) -> Any:
    made = torch.as_tensor(values)
    return made.to(torch.float64) if made.is_floating_point() else made


# Data of this process -----------------------------------------------------------------------------


def _data_table(task: Task) -> TaskTable:
    task = _as_data(task, "task")
    table = TaskTable(
        name="data", sha256=fingerprint(task), title=task.name or "data", **_described(task)
    )
    table.task = task
    return table


def _stored_data(table: Mapping[str, Any]) -> TaskTable:
    """The table of data that lie in the directory of a run."""
    extra = set(table) - {"name", "sha256", "title", "sizes", "shape"}
    reader = _stored.get()
    if reader is None or extra or not isinstance(table.get("title"), str):
        raise TypeError("task of given data must be an edt.Task")
    if _recorded(table) is None:
        raise AssertionError
    found = TaskTable({**_plain(table), "sizes": _sizes(table), **_shape(table)})
    found.read = reader
    return found


def _file_name(table: Mapping[str, Any]) -> str:
    return f"parts/task-{table['sha256'][:32]}.safetensors"


#: Tasks that were read from directories of runs, by their digest; how many are kept.
_LOADED: dict[str, Task] = {}
MOST = 4


def _load(table: TaskTable) -> Task:
    if table.task is not None:
        return table.task
    known, wanted = _LOADED, str(table["sha256"])
    if wanted not in known:
        assert table.read is not None
        name = _file_name(table)
        tensors, header = files.read(name, KIND, table.read(name))
        with parsing(name):
            weights = tensors["coef"]
            classes = header["d_out"] if tensors["y"].dtype == torch.int64 else None
            made = Task(tensors["x"], tensors["y"], header["loss"], weights, str(header["title"]),
                        n_classes=classes)  # fmt: skip
            # As they were: dividing by their sum once more may change the last bit.
            if made.coef.shape != weights.shape or made.coef.dtype != weights.dtype:
                raise ValueError("coef does not fit x")
            made.coef.copy_(weights)
        if fingerprint(made) != wanted:
            raise CheckpointError(f"{name}: not the data of this run (their SHA-256 differs)")
        while len(known) >= MOST:
            known.pop(next(iter(known)))
        known[wanted] = made
    return known[wanted]


def forget_loaded() -> None:
    """Have data of runs read again from their directories."""
    _LOADED.clear()


# Making -------------------------------------------------------------------------------------------


def _insist_same(table: Mapping[str, Any], task: Task) -> None:
    found, wanted = fingerprint(task), table["sha256"]
    if found != wanted:
        what = "the data of task" if table["name"] == "data" else f"task import {table['import']!r}"
        gives = "are" if table["name"] == "data" else "returns data"
        raise ValueError(
            f"{what} changed: now {gives} with SHA-256 {found[:16]}..., not {wanted[:16]}..."
        )


@lru_cache(maxsize=16)
def _make(text: str) -> Task:
    """A task from its table as JSON; workers keep the last ones."""
    table = json.loads(text)
    if table["name"] == "import":
        task = _imported(table)
        _insist_same(table, task)
        return task
    maker, arguments = _call(text)
    return maker(**arguments)


def _call(text: str) -> tuple[Callable[..., Task], dict[str, Any]]:
    """What makes the task of a table as JSON, and its arguments."""
    table = json.loads(text)
    name = table.pop("name")
    maker = TASKS[name][0] if name in TASKS else tasks.from_file
    if name == "file":
        table.pop("shape", None)
    if isinstance(table.get("teacher_width"), list):
        table["teacher_width"] = tuple(table["teacher_width"])
    return maker, table
