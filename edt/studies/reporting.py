"""The report of whatever run a directory holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edt.errors import EdtError
from edt.locations import Folder, Location, place
from edt.runs.experiment import Experiment
from edt.runs.sweeps import Sweep
from edt.studies.kinds import KINDS, kind_of
from edt.studies.registry import STUDIES


class ReportError(EdtError, ValueError):
    """No report can be made of what the tables of a run hold."""


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

    Raises:
        ReportError: its tables hold what no page of this kind has words for.
    """
    try:
        return report_of(run.kind)(run, directory)
    except (KeyError, IndexError, AttributeError, TypeError, ZeroDivisionError) as error:
        what = f"{type(error).__name__} {error}".strip()
        raise ReportError(
            f"{directory}: its tables hold what no report of {run.kind} can be made of "
            f"({what:.200}); were they changed, or written by another version of edt?"
        ) from error


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
