"""The directory of a run: who owns it, what it holds, and what may be deleted there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from edt.errors import EdtError
from edt.files import replace_file
from edt.places import Folder, Location, place

MARKER = "edt.json"
LOCK = ".lock"
PARTS = "parts"
FIGURES = "figures"
FORMAT = 1

#: Everything a run writes beside `MARKER`; ``fresh=True`` deletes these and nothing else.
OUTPUTS = (
    "*.parquet",
    "provenance.json",
    "manifest.json",
    "session.json",
    "summary.json",
    "report.html",
    f"{FIGURES}/*.png",
    f"{FIGURES}/*.svg",
    f"{FIGURES}/*.pdf",
    f"{PARTS}/*.parquet",
    f"{PARTS}/*.safetensors",
    f"{PARTS}/*.json",
)


class DirectoryError(EdtError, ValueError):
    """A directory that a run must not write to; the message says why and what to do."""


class Store:
    """The directory of one run. Use as a context manager: it is locked meanwhile.

    Args:
        path: a folder or a URL; made if it does not exist. Behind a URL there is no lock.
        kind: what the run is, e.g. "width-sweep".
        identity: JSON-able; a directory is resumed only under the same identity.
        fresh: delete an earlier edt run found there instead of resuming or refusing.

    Raises:
        DirectoryError: the path is a file, holds files that are not edt's, holds another run, or
            is in use by another process. Nothing has been changed then.
    """

    def __init__(
        self,
        path: Location,
        kind: str,
        identity: Mapping[str, Any],
        *,
        fresh: bool = False,
    ) -> None:
        self.path = place(path)
        self.kind = kind
        self.identity = json.loads(json.dumps(identity))
        self._lock: int | None = None
        if self.path.exists() and not self.path.is_dir():
            raise DirectoryError(f"{self.path} is a file; give a directory")
        found = read_marker(self.path)
        strange = self._strangers() if found is None else []
        if strange:
            # Another process may have claimed the place since the first look.
            found = read_marker(self.path)
        if strange and found is None:
            raise DirectoryError(
                f"{self.path} is not empty and was not written by edt "
                f"({strange[0]}{' and more' if len(strange) > 1 else ''}); "
                "give another directory"
            )
        same = found is not None and self._same(found)
        if not fresh:
            self._refuse_another(found)
        self.path.mkdir(parents=True, exist_ok=True)
        self._acquire()
        if fresh and found is not None:
            self._clear()
        if fresh or not same:
            marker = {"kind": kind, "format": FORMAT, "identity": self.identity}
            self._mark(json.dumps(marker, indent=1).encode(), over=fresh)

    def check(self) -> None:
        """Insist that the directory is still this run's; behind a URL no lock keeps it.

        Raises:
            DirectoryError: another run has taken it over.
        """
        found = read_marker(self.path)
        if found is None or not self._same(found):
            raise DirectoryError(f"{self.path} was taken over by another run meanwhile")

    def close(self) -> None:
        """Give the directory free."""
        if self._lock is not None:
            # Removed while it is still held: whoever opened it in vain looks again (`_acquire`).
            with suppress(OSError):
                (self.path / LOCK).unlink()
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _refuse_another(self, found: Mapping[str, Any] | None) -> None:
        if found is not None and not self._same(found):
            raise DirectoryError(
                f"{self.path} holds another run ({self._why(found)}); give another directory, or "
                "--fresh to delete that run and start over"
            )

    def _mark(self, marker: bytes, *, over: bool) -> None:
        """Write the marker; behind a URL a run that started at the same moment may be there."""
        file = self.path / MARKER
        if isinstance(file, Path) or over:
            replace_file(file, marker)
        elif not file.create_bytes(marker):
            self._refuse_another(read_marker(self.path))

    def _same(self, found: Mapping[str, Any]) -> bool:
        return (
            found.get("kind") == self.kind
            and found.get("format") == FORMAT
            and found.get("identity") == self.identity
        )

    def _why(self, found: Mapping[str, Any]) -> str:
        if found.get("kind") != self.kind or found.get("format") != FORMAT:
            return f"kind {found.get('kind')!r}, format {found.get('format')!r}"
        changed = _differences(found.get("identity"), self.identity)
        return "; ".join(changed[:3]) + ("; ..." if len(changed) > 3 else "")

    def _strangers(self) -> list[str]:
        """Files in the way; what a run killed before its first write leaves is not."""
        if not self.path.is_dir():
            return []
        ours = (LOCK, f".{MARKER}.")
        return sorted(p.name for p in self.path.iterdir() if not p.name.startswith(ours))

    def _clear(self) -> None:
        for pattern in OUTPUTS:
            for file in self.path.glob(pattern):
                file.unlink()

    def _acquire(self) -> None:
        if not isinstance(self.path, Path):
            return
        try:
            import fcntl
        except ImportError:  # no advisory locks on this system
            return
        file = self.path / LOCK
        while True:
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
                raise DirectoryError(
                    f"{self.path} is in use by another edt process; wait for it, or give another "
                    "directory"
                ) from None
            # A lock on a file that was removed meanwhile keeps nobody out.
            if file.exists() and os.fstat(handle).st_ino == file.stat().st_ino:
                break
            os.close(handle)
        self._lock = handle


def in_use(path: Folder) -> bool | None:
    """Whether a process holds the directory's lock now; None behind a URL, where nobody knows."""
    if not isinstance(path, Path):
        return None
    try:
        import fcntl

        handle = os.open(path / LOCK, os.O_RDWR)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def read_marker(path: Folder) -> dict[str, Any] | None:
    """Contents of ``edt.json``; None where there is none or it is not ours."""
    try:
        found = json.loads((path / MARKER).read_text())
    except ConnectionError:  # not known to be missing
        raise
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "identity" in found else None


def _differences(there: Any, here: Any, prefix: str = "") -> list[str]:
    """Readable list of the leaves in which two JSON values differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        found = []
        for name in sorted(set(there) | set(here)):
            found += _differences(there.get(name), here.get(name), f"{prefix}{name}.")
        return found
    return [] if there == here else [f"{prefix[:-1]} {_brief(there)} there, {_brief(here)} here"]


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
