"""When and how a run was last started: what `edt status` and `edt resume` go by."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edt.locations import Folder
from edt.runs.store import inside
from edt.runs.store.directory import SESSION
from edt.runs.store.notes import read_note


@dataclass(frozen=True)
class Session:
    """The last start of a run.

    Attributes:
        started: time of day (Unix seconds).
        workers: parts under way at once.
        engine: where parts are computed.
        asked: engine, workers and the engine's options as they were asked for, for `edt resume`.
        pid: of the process.
        token: of this start; parts name the one that they were computed under. Clocks of machines
            jump and differ.
        signed: shows whose start it was, where the spec reads something outside
            (`edt.runs.trust`).
    """

    started: float
    workers: int
    engine: str = "local"
    asked: dict[str, Any] = field(default_factory=dict)
    pid: int = 0
    token: str = ""
    signed: str = ""


def note_start(
    folder: Folder,
    workers: int,
    engine: str,
    asked: Mapping[str, Any],
    *,
    token: str,
    signed: str = "",
) -> None:
    """Remember that a run starts now.

    Args:
        folder: of the run.
        workers, engine, asked, token, signed: as in `Session`; of ``asked``, what JSON can hold.
    """
    kept = {name: value for name, value in asked.items() if _plain(value)}
    now = Session(time.time(), workers, engine, kept, os.getpid(), token, signed)
    inside.write(folder, SESSION, json.dumps(asdict(now), indent=1).encode(), claimed=True)


def last_session(folder: Folder) -> Session | None:
    """The last start of the run in a folder; None where none is known."""
    others = {"engine": str, "asked": dict, "pid": int, "token": str, "signed": str}
    found = read_note(folder, SESSION, {"started": float, "workers": int}, others)
    return None if found is None else Session(**found)


def _plain(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
