"""The report of whatever run a directory holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edt.places import Folder, Location, place
from edt.runs.experiment import Experiment
from edt.runs.sweeps import Sweep
from edt.studies.kinds import KINDS, kind_of
from edt.studies.registry import STUDIES


def report_of(kind: str) -> Callable[[Any, Location], Folder]:
    """What writes the report of a kind of run."""
    if kind == Sweep.kind:
        from edt.studies.sweep.page import write_sweep_report

        return write_sweep_report
    study = STUDIES[kind]
    found: Callable[[Any, Location], Folder] = study.of("page", study.page)
    return found


def write_any_report(run: Experiment, directory: Location) -> Folder:
    """Write the report of a finished run of any kind.

    Returns:
        Where ``report.html`` is.
    """
    return report_of(run.kind)(run, directory)


def report_on(directory: Location) -> Folder:
    """Write the report of a finished run, from its tables.

    Args:
        directory: of any edt run.

    Returns:
        Where ``report.html`` is.

    Raises:
        DirectoryError: it holds no run of edt.
        CheckpointError: the run is unfinished, or a table is corrupted.
    """
    folder = place(directory)
    return write_any_report(KINDS[kind_of(folder)].load(folder), folder)
