"""The report of whatever run a directory holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edt.places import Folder, Location, place
from edt.runs.experiment import Experiment
from edt.runs.sweeps import Sweep
from edt.studies.census.page import write_census_report
from edt.studies.census.run import CensusRun
from edt.studies.controls.page import write_controls_report
from edt.studies.controls.run import Controls
from edt.studies.crossed.page import write_crossed_report
from edt.studies.crossed.run import CrossedRun
from edt.studies.escape.page import write_escape_report
from edt.studies.escape.run import EscapeRun
from edt.studies.failures.page import write_failures_report
from edt.studies.failures.run import FailuresRun
from edt.studies.index_loss.page import write_index_loss_report
from edt.studies.index_loss.run import IndexLossRun
from edt.studies.kinds import KINDS, kind_of
from edt.studies.loss_levels.page import write_loss_levels_report
from edt.studies.loss_levels.run import LossLevels
from edt.studies.lottery.page import write_lottery_report
from edt.studies.lottery.run import Lottery
from edt.studies.multi_start.page import write_multi_report
from edt.studies.multi_start.run import MultiStart
from edt.studies.perturb_rest.page import write_perturb_report
from edt.studies.perturb_rest.run import PerturbRest
from edt.studies.safran_shamir.page import write_safran_shamir_report
from edt.studies.safran_shamir.run import SafranShamirRun
from edt.studies.subsets.page import write_subsets_report
from edt.studies.subsets.run import SubsetsRun
from edt.studies.sweep.page import write_sweep_report
from edt.studies.width.page import write_report
from edt.studies.width.run import WidthSweep
from edt.studies.xor.page import write_xor_report
from edt.studies.xor.run import Xor

__all__ = [
    "report_on",
    "write_any_report",
    "write_census_report",
    "write_controls_report",
    "write_crossed_report",
    "write_escape_report",
    "write_failures_report",
    "write_index_loss_report",
    "write_loss_levels_report",
    "write_lottery_report",
    "write_multi_report",
    "write_perturb_report",
    "write_report",
    "write_safran_shamir_report",
    "write_subsets_report",
    "write_sweep_report",
    "write_xor_report",
]

#: Kind of a run to what writes its report.
REPORTS: dict[str, Callable[[Any, Location], Folder]] = {
    WidthSweep.kind: write_report,
    PerturbRest.kind: write_perturb_report,
    MultiStart.kind: write_multi_report,
    CensusRun.kind: write_census_report,
    EscapeRun.kind: write_escape_report,
    Lottery.kind: write_lottery_report,
    LossLevels.kind: write_loss_levels_report,
    SafranShamirRun.kind: write_safran_shamir_report,
    Controls.kind: write_controls_report,
    Xor.kind: write_xor_report,
    SubsetsRun.kind: write_subsets_report,
    CrossedRun.kind: write_crossed_report,
    FailuresRun.kind: write_failures_report,
    IndexLossRun.kind: write_index_loss_report,
    Sweep.kind: write_sweep_report,
}


def write_any_report(run: Experiment, directory: Location) -> Folder:
    """Write the report of a finished run of any kind.

    Returns:
        Where ``report.html`` is.
    """
    return REPORTS[run.kind](run, directory)


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
