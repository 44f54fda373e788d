"""How far a sweep is: read from its directory, whoever runs it and wherever."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edt.experiments.store import in_use
from edt.files import replace_file
from edt.sweeps.plan import make_plan, shard_name
from edt.sweeps.result import spec_of
from edt.sweeps.shards import Shards

SESSION = "session.json"


@dataclass(frozen=True)
class Status:
    """How far a sweep is.

    Attributes:
        directory: of the sweep.
        running: whether a process works on it now.
        runs, runs_done, shards, shards_done: counts.
        share: of the predicted cost that is done.
        rate: runs per second since the last start; None before the first shard.
        seconds_left: estimate, from what the shards done since the last start took; else from the
            prediction; None for an unknown number of workers.
        workers: of the last start.
        failures: shards whose last attempt failed: name, error.
        finished: every shard is there, and the tables.
    """

    directory: str
    running: bool
    runs: int
    runs_done: int
    shards: int
    shards_done: int
    share: float
    rate: float | None
    seconds_left: float | None
    workers: int | None
    failures: list[dict[str, Any]]
    finished: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def status(directory: str | os.PathLike[str]) -> Status:
    """How far the sweep in a directory is.

    Raises:
        DirectoryError: it holds no sweep.
    """
    folder = Path(directory)
    plan = make_plan(spec_of(folder))
    shards = Shards(folder)
    found = [shards.manifest(shard_name(k)) for k in range(len(plan.members))]
    done = [manifest for manifest in found if manifest is not None]
    cost_done = sum(manifest.cost for manifest in done)
    cost_left = max(plan.seconds - cost_done, 0.0) if len(done) < len(found) else 0.0
    session = _session(folder)
    running = in_use(folder)
    rate = left = None
    if session is not None:
        recent = [manifest for manifest in done if manifest.finished >= session["started"]]
        if recent:
            now = time.time() if running else max(manifest.finished for manifest in recent)
            elapsed = max(now - session["started"], 1e-9)
            rate = sum(manifest.runs for manifest in recent) / elapsed
            left = cost_left * elapsed / sum(manifest.cost for manifest in recent)
        else:
            left = cost_left / session["workers"]
    return Status(
        directory=str(folder),
        running=running,
        runs=plan.runs,
        runs_done=sum(manifest.runs for manifest in done),
        shards=len(found),
        shards_done=len(done),
        share=1.0 if not cost_left else cost_done / plan.seconds,
        rate=rate,
        seconds_left=left,
        workers=None if session is None else session["workers"],
        failures=[{"name": note["name"], "error": note["error"]} for note in shards.failures()],
        finished=len(done) == len(found) and (folder / "runs.parquet").is_file(),
    )


def note_start(directory: str | os.PathLike[str], engine: str, workers: int) -> None:
    """Remember when and how a sweep was last started."""
    facts = {"started": time.time(), "engine": engine, "workers": workers, "pid": os.getpid()}
    replace_file(Path(directory) / SESSION, json.dumps(facts).encode())


def _session(folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((folder / SESSION).read_text())
        return found
    except (OSError, ValueError):
        return None
