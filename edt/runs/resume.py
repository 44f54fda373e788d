"""What a resumed run takes over from its last start, and what it must be told again."""

from __future__ import annotations

from typing import Any

from edt.locations import Folder
from edt.runs.engines import ENGINES
from edt.runs.store import DirectoryError, last_session
from edt.runs.store.directory import SESSION

#: What a resume takes from a directory beside the engine's name, and the most it may be. All
#: else (an address, a cluster, options of a queue) can connect or run something, and a directory is
#: data that anybody may have written: it comes from the call, or not at all.
RESTORED = {"workers": 1000, "cpus": 1024}


def as_before(
    folder: Folder, engine: str | None, given: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Engine and options of a resume: those of the call, then what may be taken from the directory.

    Raises:
        DirectoryError: the last start had options that are not taken from there, and the call says
            nothing of them; or the directory says what no start can have written.
    """
    session = last_session(folder)
    asked = {} if session is None else session.asked
    before = asked.get("engine", "local")
    here = {name: value for name, value in given.items() if value is not None}
    if engine not in (None, before):
        return engine, here
    if before not in ENGINES:
        raise DirectoryError(
            f"{folder}: {SESSION} names the engine {before!r:.60}; --engine must say which to take "
            f"({', '.join(ENGINES)})"
        )
    kept = asked.get("options", {})
    kept = {**(kept if isinstance(kept, dict) else {}), "workers": asked.get("workers")}
    kept = {name: value for name, value in kept.items() if value is not None and name not in here}
    for name, value in kept.items():
        if name not in RESTORED:
            if engine is not None:
                continue
            raise DirectoryError(
                f"{folder}: the last start had {name:.30}={value!r:.60}, and what connects or runs "
                f"something is not taken from a directory; give --engine {before} and the options "
                "you want (in Python: edt.studies.resume(DIR, engine=..., ...))"
            )
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole and 0 <= value <= RESTORED[name]):
            raise DirectoryError(
                f"{folder}: {SESSION} has {name}={value!r:.60}; a whole number up to "
                f"{RESTORED[name]} is taken from there, or give --{name}"
            )
    restored = {name: value for name, value in kept.items() if name in RESTORED}
    return before, {**restored, **here}
