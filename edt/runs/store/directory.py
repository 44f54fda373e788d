"""The directory of a run: who owns it, what it holds, and what may be deleted there."""

from __future__ import annotations

import errno
import json
import os
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from types import TracebackType
from typing import Any

from edt.limits import NotPlainError, open_plain
from edt.locations import Folder, Location, place
from edt.runs.store import inside
from edt.runs.store.inside import MARKER, DirectoryError

LOCK = ".lock"
SESSION = "session.json"
PARTS = "parts"
FIGURES = "figures"
#: Folders that a run writes to.
FOLDERS = ("", PARTS, FIGURES)
FORMAT = 1

#: Everything a run writes beside `MARKER`; ``fresh=True`` deletes these and nothing else.
OUTPUTS = (
    "*.parquet",
    "provenance.json",
    "manifest.json",
    SESSION,
    "summary.json",
    "report.html",
    f"{FIGURES}/*.png",
    f"{FIGURES}/*.svg",
    f"{FIGURES}/*.pdf",
    f"{PARTS}/*.parquet",
    f"{PARTS}/*.safetensors",
    f"{PARTS}/*.json",
)


#: Bytes of ``edt.json``: a spec is words and lists of numbers.
MOST = 2**26
#: Seconds for which a start waits for those who only look whether the directory is in use.
PATIENCE = 5.0
#: A temporary file this old (seconds) belongs to a writer that was killed.
STALE = 600.0


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
        self._refuse_links()
        self.path.mkdir(parents=True, exist_ok=True)
        self._acquire()
        try:
            if fresh and found is not None:
                self._clear()
            if fresh or not same:
                marker = {"kind": kind, "format": FORMAT, "identity": self.identity}
                self._mark(json.dumps(marker, indent=1).encode(), over=fresh)
            self._sweep_up()
        except BaseException:
            self.close()
            raise

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
            with suppress(OSError, DirectoryError):
                inside.delete(self.path, LOCK)
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
            inside.write(self.path, MARKER, marker)
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
        """Files in the way: all but what a run leaves that was killed, or deleted under way."""
        if not self.path.is_dir():
            return []
        ours = (LOCK, f".{MARKER}.", f".{SESSION}.")
        found = [
            name
            for name in inside.names(self.path)
            if not name.startswith(ours) and name not in (SESSION, PARTS)
        ]
        patterns = [pattern.partition("/")[2] for pattern in OUTPUTS if pattern.startswith(PARTS)]
        with suppress(DirectoryError):
            for name in inside.names(self.path, PARTS):
                if not _temporary(name) and not any(fnmatch(name, word) for word in patterns):
                    found.append(f"{PARTS}/{name}")
        return found

    def _refuse_links(self) -> None:
        """Raises DirectoryError where a folder that a run writes to leads elsewhere."""
        if isinstance(self.path, Path):
            for folder in FOLDERS:
                inside.names(self.path, folder)

    def _clear(self) -> None:
        for folder in FOLDERS:
            prefix = f"{folder}/" if folder else ""
            for name in inside.names(self.path, folder):
                if any(fnmatch(prefix + name, pattern) for pattern in OUTPUTS):
                    with suppress(FileNotFoundError, IsADirectoryError):
                        inside.delete(self.path, prefix + name)

    def _sweep_up(self) -> None:
        """Delete temporary files of writers that were killed long ago."""
        if not isinstance(self.path, Path):
            return  # nothing is renamed there
        for folder in FOLDERS:
            path = self.path / folder
            for name in filter(_temporary, inside.names(self.path, folder)):
                with suppress(OSError):
                    if time.time() - (path / name).lstat().st_mtime > STALE:
                        inside.delete(self.path, f"{folder}/{name}" if folder else name)

    def _acquire(self) -> None:
        if not isinstance(self.path, Path):
            return
        try:
            import fcntl
        except ImportError:  # no advisory locks on this system
            return
        end = time.monotonic() + PATIENCE
        while True:
            handle = self._open_lock(self.path)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                # `in_use` locks for a moment, too, but lets others do the same.
                looked_at = _free(handle) and time.monotonic() < end
                os.close(handle)
                if looked_at:
                    time.sleep(random.uniform(0.001, 0.01))
                    continue
                raise DirectoryError(
                    f"{self.path} is in use by another edt process; wait for it, or give another "
                    "directory"
                ) from None
            # A lock on a file that was removed meanwhile keeps nobody out.
            with suppress(OSError):
                if os.fstat(handle).st_ino == (self.path / LOCK).lstat().st_ino:
                    break
            os.close(handle)
        self._lock = handle

    def _open_lock(self, path: Path) -> int:
        try:
            return open_plain(path / LOCK, os.O_RDWR | os.O_CREAT, follow=False)
        except NotPlainError as error:
            raise DirectoryError(f"{path / LOCK} {error.strerror}; delete it") from None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise DirectoryError(
                f"{path / LOCK} is a symbolic link, which no edt run makes; delete it"
            ) from None


def in_use(path: Folder) -> bool | None:
    """Whether a process holds the directory's lock now.

    None where nobody knows: behind a URL, and where the lock may not be read.
    """
    if not isinstance(path, Path):
        return None
    try:
        import fcntl  # noqa: F401

        handle = open_plain(path / LOCK, follow=False)
    except PermissionError:
        return None
    except (ImportError, OSError):
        return False
    try:
        return not _free(handle)
    finally:
        os.close(handle)


def _free(handle: int) -> bool:
    """Whether nobody holds an open lock file alone; takes part in it until the file is closed."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def read_marker(path: Folder) -> dict[str, Any] | None:
    """Contents of ``edt.json``; None where there is none or it is not ours."""
    try:
        found = json.loads(inside.read(path, MARKER, MOST))
    except ConnectionError:  # not known to be missing
        raise
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "identity" in found else None


def _temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


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
