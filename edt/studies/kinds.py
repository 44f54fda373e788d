"""Every kind of run, and what can be done with the directory of any: look, go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edt.places import Folder, Location, place
from edt.runs.experiment import Experiment
from edt.runs.store import DirectoryError, Status, measure, read_marker
from edt.runs.sweeps.result import Sweep
from edt.runs.sweeps.run import resume_sweep
from edt.studies.census.run import CensusRun, run_census
from edt.studies.controls.run import Controls, run_controls
from edt.studies.escape.run import EscapeRun, run_escape
from edt.studies.loss_levels.run import LossLevels, run_loss_levels
from edt.studies.lottery.run import Lottery, run_lottery
from edt.studies.multi_start.run import MultiStart, run_multi_start
from edt.studies.perturb_rest.run import PerturbRest, run_perturb_rest
from edt.studies.safran_shamir.run import SafranShamirRun, run_safran_shamir
from edt.studies.width.result import WidthSweep
from edt.studies.width.run import width_sweep
from edt.studies.xor.run import Xor, run_xor

#: What the directory of an experiment is read as, and what runs it.
EXPERIMENTS: tuple[tuple[type[Experiment], Callable[..., Experiment]], ...] = (
    (WidthSweep, width_sweep),
    (PerturbRest, run_perturb_rest),
    (MultiStart, run_multi_start),
    (CensusRun, run_census),
    (EscapeRun, run_escape),
    (Lottery, run_lottery),
    (LossLevels, run_loss_levels),
    (SafranShamirRun, run_safran_shamir),
    (Controls, run_controls),
    (Xor, run_xor),
)
RUNNERS = {result.kind: run for result, run in EXPERIMENTS}
#: Kind of a run to what its directory is read as.
KINDS: dict[str, type[Experiment]] = {
    **{result.kind: result for result, _ in EXPERIMENTS},
    Sweep.kind: Sweep,
}


def kind_of(folder: Folder) -> str:
    """Kind of the run in a directory.

    Raises:
        DirectoryError: it holds no run of edt.
    """
    found = read_marker(folder)
    kind = None if found is None else found.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise DirectoryError(f"{folder} is not the directory of an edt run")
    return kind


def status(directory: Location) -> Status:
    """How far the run in a directory is.

    Args:
        directory: of any edt run: a sweep or an experiment.

    Raises:
        DirectoryError: it holds no run of edt.
    """
    folder = place(directory)
    kind = kind_of(folder)
    result = KINDS[kind]
    spec = result.spec_of(folder)
    costs = {part.name: part.cost for part in result.plan(spec)}
    return measure(folder, kind, costs, result.table_names(spec), result.trainings(spec))


def resume(directory: Location, *, progress: bool = True, **options: Any) -> Experiment:
    """Go on with the run in a directory, from the spec that is stored there.

    Args:
        directory: of any edt run: a sweep or an experiment.
        progress: show a progress bar on a terminal.
        options: of a sweep: engine, workers and the engine's own (`edt.sweep`); what is left out
            is as it was at the last start.

    Returns:
        The finished run, with the same bits as if it had not been interrupted.

    Raises:
        DirectoryError: it holds no run of edt, or one of another version, or is in use.
        ValueError: options for an experiment, which runs in this process.
    """
    folder = place(directory)
    kind = kind_of(folder)
    if kind == Sweep.kind:
        return resume_sweep(folder, progress=progress, **options)
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(f"{given[0]} is for sweeps; {folder} holds a {kind} run")
    return RUNNERS[kind](KINDS[kind].spec_of(folder), folder, progress=progress)
