"""The report of whatever run a directory holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edt.experiments import CensusRun, EscapeRun, MultiStart, PerturbRest, WidthSweep
from edt.experiments.controls import Controls
from edt.experiments.loss_levels import LossLevels
from edt.experiments.lottery_curve import Lottery
from edt.experiments.result import KIND as WIDTH_SWEEP
from edt.experiments.safran_shamir import SafranShamirRun
from edt.experiments.store import DirectoryError, read_marker
from edt.experiments.xor import Xor
from edt.report.census import write_census_report
from edt.report.controls import write_controls_report
from edt.report.curves import write_lottery_report
from edt.report.escape import write_escape_report
from edt.report.loss_levels import write_loss_levels_report
from edt.report.multi import write_multi_report
from edt.report.perturb import write_perturb_report
from edt.report.safran_shamir import write_safran_shamir_report
from edt.report.sweep import write_sweep_report
from edt.report.width_sweep import write_report
from edt.report.xor import write_xor_report
from edt.sweeps import Sweep

#: Kind of a run to how it is read and how its report is written.
REPORTS: dict[str, tuple[Callable[[Path], Any], Callable[[Any, Path], Path]]] = {
    WIDTH_SWEEP: (WidthSweep.load, write_report),
    PerturbRest.kind: (PerturbRest.load, write_perturb_report),
    MultiStart.kind: (MultiStart.load, write_multi_report),
    CensusRun.kind: (CensusRun.load, write_census_report),
    EscapeRun.kind: (EscapeRun.load, write_escape_report),
    Lottery.kind: (Lottery.load, write_lottery_report),
    LossLevels.kind: (LossLevels.load, write_loss_levels_report),
    SafranShamirRun.kind: (SafranShamirRun.load, write_safran_shamir_report),
    Controls.kind: (Controls.load, write_controls_report),
    Xor.kind: (Xor.load, write_xor_report),
    Sweep.kind: (Sweep.load, write_sweep_report),
}


def report_on(directory: str | os.PathLike[str]) -> Path:
    """Write the report of a finished run, from its tables.

    Args:
        directory: of any edt run.

    Returns:
        Path of ``report.html``.

    Raises:
        DirectoryError: it holds no run of edt.
        CheckpointError: the run is unfinished, or a table is corrupted.
    """
    folder = Path(directory)
    found = read_marker(folder)
    kind = None if found is None else found.get("kind")
    if kind not in REPORTS:
        raise DirectoryError(f"{folder} is not the directory of an edt run")
    load, write = REPORTS[str(kind)]
    return write(load(folder), folder)
