"""Every kind of run, and what can be done with the directory of any: look, go on."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

from edt.locations import Folder, Location, place
from edt.runs.experiment import Experiment
from edt.runs.store import DirectoryError, Status, measure, read_marker
from edt.runs.sweeps.result import Sweep
from edt.runs.trust import insist_confirmed
from edt.studies.registry import STUDIES


class Kinds(MutableMapping[str, type[Experiment]]):
    """Kind of a run to what its directory is read as and what runs it; a study is imported when
    asked for, because to import all takes half a second."""

    def __init__(self) -> None:
        self._known: dict[str, type[Experiment] | None] = dict.fromkeys(STUDIES)
        self._known[Sweep.kind] = Sweep

    def __getitem__(self, kind: str) -> type[Experiment]:
        return self._known[kind] or STUDIES[kind].experiment

    def __setitem__(self, kind: str, found: type[Experiment]) -> None:
        self._known[kind] = found

    def __delitem__(self, kind: str) -> None:
        del self._known[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


KINDS = Kinds()


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


def status(directory: Location, *, confirm: Sequence[str] = ()) -> Status:
    """How far the run in a directory is.

    Args:
        directory: of any edt run: a sweep or an experiment.
        confirm: as for `resume`.

    Raises:
        DirectoryError: it holds no run of edt, or one whose plan depends on a file that this user
            has not named.
    """
    folder = place(directory)
    kind = kind_of(folder)
    result = KINDS[kind]
    spec = result.spec_of(folder)
    if result.plan_reads:
        insist_confirmed(folder, spec, confirm)
    costs = {part.name: part.cost for part in result.planned(spec)}
    return measure(folder, kind, costs, result.table_names(spec), result.trainings(spec))


def resume(directory: Location, *, progress: bool = True, **options: Any) -> Experiment:
    """Go on with the run in a directory, from the spec that is stored there.

    Args:
        directory: of any edt run: a sweep or a study.
        progress: show a progress bar on a terminal.
        options: engine, workers, the engine's own, and ``confirm`` (`Experiment.resume`); what
            is left out is as it was at the last start.

    Returns:
        The finished run, with the same bits as if it had not been interrupted.

    Raises:
        DirectoryError: it holds no run of edt, or one of another version, or is in use.
    """
    folder = place(directory)
    return KINDS[kind_of(folder)].resume(folder, progress=progress, **options)
