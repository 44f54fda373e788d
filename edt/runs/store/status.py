"""How far a run is: read from its directory, whoever runs it and wherever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edt.locations import Folder, at_once
from edt.runs.store.directory import in_use
from edt.runs.store.parts import PartFiles
from edt.runs.store.session import last_session


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        directory: of the run.
        kind: of the run, "sweep" or "census" say.
        running: whether a process works on it now; None behind a URL, where nobody knows.
        parts, parts_done: pieces of work that are stored whole: planned, and there.
        runs, runs_done: of a sweep: trainings; None for experiments, whose parts differ.
        share: of the predicted cost that is done.
        rate: runs of a sweep, parts of an experiment, per second, by what the parts done since the
            last start took, all workers together; None before the first. No clock of a day is
            asked, which may jump.
        seconds_left: estimate, from what the parts done since the last start took; before the
            first, from the prediction where that is in seconds (sweeps), else None.
        workers: parts under way at once after the last start.
        failures: parts whose last attempt failed: name, error.
        finished: every part is there, and the tables.
    """

    directory: str
    kind: str
    running: bool | None
    parts: int
    parts_done: int
    runs: int | None
    runs_done: int | None
    share: float
    rate: float | None
    seconds_left: float | None
    workers: int | None
    failures: list[dict[str, Any]]
    finished: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def measure(
    folder: Folder,
    kind: str,
    costs: Mapping[str, float],
    tables: Sequence[str],
    runs: int | None = None,
) -> Status:
    """How far the run in a directory is.

    Args:
        folder: of the run.
        kind: of the run.
        costs: predicted cost of every planned part, by name.
        tables: names of those the finished run has.
        runs: trainings of a sweep; costs are then seconds of one worker. None: an experiment.
    """
    files = PartFiles(folder)
    with files.many():
        done = [found for found in at_once(folder, files.manifest, costs) if found is not None]
    total = sum(costs.values())
    cost_left = sum(costs.values()) - sum(costs[manifest.name] for manifest in done)
    cost_left = max(cost_left, 0.0) if len(done) < len(costs) else 0.0
    session = last_session(folder)
    running = in_use(folder)
    rate = left = None
    if session is not None:
        recent = [part for part in done if part.start and part.start == session.token]
        cost_done = sum(costs[manifest.name] for manifest in recent)
        if recent:
            spent = sum(max(part.seconds, 0.0) for part in recent)
            elapsed = max(spent / max(session.workers, 1), 1e-9)
            count = len(recent) if runs is None else sum(manifest.runs for manifest in recent)
            rate = count / elapsed
            left = cost_left * elapsed / cost_done if cost_done else None
        elif runs is not None:
            left = cost_left / max(session.workers, 1)
    return Status(
        directory=str(folder),
        kind=kind,
        running=running,
        parts=len(costs),
        parts_done=len(done),
        runs=runs,
        runs_done=None if runs is None else sum(manifest.runs for manifest in done),
        share=1.0 - cost_left / total if total else float(len(done) == len(costs)),
        rate=rate,
        seconds_left=left,
        workers=None if session is None else session.workers,
        failures=[
            {"name": note["name"], "error": note["error"]}
            for note in files.failures()
            if note.get("name") in costs
        ],
        finished=len(done) == len(costs)
        and all((folder / f"{name}.parquet").is_file() for name in tables),
    )
