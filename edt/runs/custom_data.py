"""Data that a spec was given as an `edt.Task`: kept in the directory of its run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

from edt.locations import Folder
from edt.runs.spec import Spec
from edt.runs.store import inside
from edt.tasks.task_tables import data_file, stored

__all__ = ["keep_data", "stored_spec"]

S = TypeVar("S", bound=Spec)


def keep_data(spec: Spec, folder: Folder) -> None:
    """Write the data that no file and no function gives, where they are not there yet."""
    for table in spec.task_tables:
        found = data_file(table)
        if found is not None and found[0].rpartition("/")[2] not in inside.names(folder, "parts"):
            inside.write(folder, *found, claimed=True)


def stored_spec(made: type[S], values: Mapping[str, Any], folder: Folder) -> S:
    """A spec that a directory, or a job of a run there, holds.

    Nothing that it names is opened or imported; what is said to be in the directory is found there.

    Args:
        made: kind of the spec.
        values: `Spec.to_dict` of it.
        folder: of the run.

    Raises:
        ValueError, TypeError: not such a spec.
    """
    with stored(partial(inside.read, folder)):
        return made.from_dict(values)
