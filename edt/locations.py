"""Folders and files anywhere: a `pathlib.Path` here, a `Remote` behind an fsspec URL.

A `Remote` answers to the few names of `pathlib.Path` that the package uses, so that code which
reads and writes whole files does not ask where they are. What a local folder has and a URL has not
(locks, renaming, the time a file was written) is promised by nobody for a URL: `edt.runs.store`.

Reference: https://filesystem-spec.readthedocs.io
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import total_ordering
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

__all__ = ["Folder", "Location", "Remote", "at_once", "is_url", "place"]

Item = TypeVar("Item")
Out = TypeVar("Out")

#: Calls under way at once behind a URL.
CALLS = 16
#: Seconds before a call is made again that failed inside a store ("500 Internal Server Error"), and
#: the calls that may be: made twice, they leave what once would.
WAITS = (0.1, 0.5, 2.0)
FAILED_THERE = getattr(errno, "EREMOTEIO", errno.EIO)
AGAIN = frozenset({"cat_file", "exists", "info", "isdir", "isfile", "ls", "makedirs", "pipe_file"})


@total_ordering
class Remote:
    """A file or folder behind an fsspec URL.

    Args:
        url: like ``s3://bucket/run`` or ``memory://run``.

    Raises:
        ValueError: fsspec does not know the URL's scheme.
        ImportError: fsspec, or what it needs for the scheme, is not installed.
    """

    def __init__(self, url: str, *, _fs: Any = None) -> None:
        self.url = url.rstrip("/")
        # Made once for a tree of names: some file systems connect when they are made.
        self._fs = _fs if _fs is not None else import_module("fsspec.core").url_to_fs(url)[0]

    @property
    def name(self) -> str:
        """Last part of the URL."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def suffix(self) -> str:
        """The name from its last dot on."""
        return Path(self.name).suffix

    @property
    def stem(self) -> str:
        """The name up to its last dot."""
        return Path(self.name).stem

    @property
    def parent(self) -> Remote:
        """The folder that holds this."""
        return Remote(self.url.rsplit("/", 1)[0], _fs=self._fs)

    @property
    def shared(self) -> bool:
        """Whether other processes see the same files: all but fsspec's own memory."""
        return not self.url.startswith("memory:")

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.url}/{name}", _fs=self._fs)

    def exists(self) -> bool:
        """Whether there is a file or a folder."""
        return bool(self._ask("exists"))

    def is_file(self) -> bool:
        """Whether there is a file."""
        return bool(self._ask("isfile"))

    def is_dir(self) -> bool:
        """Whether there is a folder; stores of objects have one only where it holds something."""
        return bool(self._ask("isdir"))

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Nothing: a folder comes with its first file."""

    def iterdir(self) -> Iterator[Remote]:
        """What the folder holds."""
        for entry in self._ask("ls", detail=False):
            # Some tools mark a folder in a store of objects by an empty object of its name.
            if self._path(str(entry)) != self._path(self.url):
                yield self / str(entry).rstrip("/").rsplit("/", 1)[-1]

    def glob(self, pattern: str) -> Iterator[Remote]:
        """Entries whose names fit, folder by folder; ``*`` does not cross folders."""
        head, _, rest = pattern.partition("/")
        if not self.is_dir():
            return
        for entry in self.iterdir():
            if fnmatch(entry.name, head):
                if rest:
                    yield from entry.glob(rest)
                else:
                    yield entry

    def size(self) -> int | None:
        """Bytes of the file; None where the file system does not say.

        Raises:
            FileNotFoundError: none is there.
        """
        found = self._ask("info").get("size")
        return found if isinstance(found, int) else None

    def read_bytes(self) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: none is there.
        """
        return bytes(self._ask("cat_file"))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole file as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Write the whole file in one piece, over what was there.

        Raises:
            FileNotFoundError: the top of the URL, a bucket say, is not there; it is never made.
        """
        try:
            self._ask("pipe_file", data)
        except FileNotFoundError:
            # Where folders are things of their own, this one may not be there yet.
            top, path = self._path(self.url).partition("/")[::2]
            if not path or not self._ask("exists", at=top):
                raise
            self.parent._ask("makedirs", exist_ok=True)
            self._ask("pipe_file", data)

    def create_bytes(self, data: bytes) -> bool:
        """Write the whole file unless there is one; whether it was written.

        In stores with conditional puts (S3, say) one of several callers writes, whenever they
        come; elsewhere it is looked for first, and another may come in between.
        """
        if self.exists():
            return False
        try:
            self._ask("pipe_file", data, mode="create")
        except FileExistsError:
            return False
        except FileNotFoundError:  # no folder yet
            self.write_bytes(data)
        except ConnectionError as error:
            if not isinstance(error.__cause__, (TypeError, ValueError, NotImplementedError)):
                raise
            self.write_bytes(data)  # the file system does not know the mode
        return True

    def unlink(self) -> None:
        """Delete the file.

        Raises:
            FileNotFoundError: none is there; some stores do not tell.
        """
        self._ask("rm_file")

    def _ask(self, what: str, *words: Any, at: str | None = None, **options: Any) -> Any:
        """Call the file system; again where the store failed on its side, which passes.

        Raises:
            ConnectionError: for errors that are no `OSError`: each file system has its own.
        """
        # Of one that creates it would not be known who did.
        waits = iter(WAITS if what in AGAIN and options.get("mode") != "create" else ())
        while True:
            self._fs.invalidate_cache()  # listings may be older than what others wrote
            try:
                return getattr(self._fs, what)(self.url if at is None else at, *words, **options)
            except (OSError, ImportError) as error:
                wait = next(waits, None)
                if wait is None or getattr(error, "errno", None) != FAILED_THERE:
                    raise
                time.sleep(wait)
            except Exception as error:
                text = f"{type(error).__name__}: {error}".strip()
                raise ConnectionError(f"{self.url}: {text}") from error

    def _path(self, url: str) -> str:
        return str(self._fs._strip_protocol(url)).rstrip("/")

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"Remote({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and self.url == other.url

    def __lt__(self, other: Remote) -> bool:
        return self.url < other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __reduce__(self) -> tuple[type[Remote], tuple[str]]:
        return Remote, (self.url,)


#: A folder or file, wherever it is.
Folder = Path | Remote
#: How callers may name one.
Location = str | os.PathLike[str] | Remote


def at_once(folder: Folder, function: Callable[[Item], Out], items: Iterable[Item]) -> list[Out]:
    """``[function(item) for item in items]``; behind a URL many at a time, for each waits long."""
    if not isinstance(folder, Remote):
        return [function(item) for item in items]
    with ThreadPoolExecutor(CALLS) as pool:
        return list(pool.map(function, items))


def each(folder: Folder, function: Callable[[Item], Out], items: Iterable[Item]) -> Iterator[Out]:
    """`at_once`, one result after another, so that a caller may stop looking."""
    return (
        iter(at_once(folder, function, items))
        if isinstance(folder, Remote)
        else map(function, items)
    )


def is_url(where: object) -> bool:
    """Whether a text names a place by a URL."""
    return isinstance(where, str) and "://" in where


def place(where: Location) -> Folder:
    """The folder or file that a path or URL names; ``file://`` URLs are paths.

    Raises:
        ValueError, ImportError: as `Remote`.

    Example:
        >>> place("file:///tmp/run")
        PosixPath('/tmp/run')
        >>> (place("memory://run") / "edt.json").url
        'memory://run/edt.json'
    """
    if isinstance(where, Remote):
        return where
    if isinstance(where, str) and is_url(where):
        if where.startswith("file://"):
            return Path(unquote(urlsplit(where).path))
        return Remote(where)
    return Path(where)
