"""Folders and files anywhere: a `pathlib.Path` here, a `Remote` behind an fsspec URL.

A `Remote` answers to the few names of `pathlib.Path` that the package uses, so that code which
reads and writes whole files does not ask where they are. What a local folder has and a URL has not
(locks, renaming, the time a file was written) is promised by nobody for a URL; see `edt.store`.

Reference: https://filesystem-spec.readthedocs.io
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import total_ordering
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["Folder", "Location", "Remote", "is_url", "place"]


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

    def with_suffix(self, suffix: str) -> Remote:
        """The same with another suffix."""
        return self.parent / f"{self.stem}{suffix}"

    def exists(self) -> bool:
        """Whether there is a file or a folder."""
        return bool(self._fs.exists(self.url))

    def is_file(self) -> bool:
        """Whether there is a file."""
        return bool(self._fs.isfile(self.url))

    def is_dir(self) -> bool:
        """Whether there is a folder; stores of objects have one only where it holds something."""
        return bool(self._fs.isdir(self.url))

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Make the folder and those above it, where there is such a thing."""
        self._fs.makedirs(self.url, exist_ok=exist_ok)

    def iterdir(self) -> Iterator[Remote]:
        """What the folder holds."""
        self._fs.invalidate_cache()  # listings may be older than what others wrote
        for entry in self._fs.ls(self.url, detail=False):
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

    def read_bytes(self) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: none is there.
        """
        return bytes(self._fs.cat_file(self.url))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole file as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Write the whole file in one piece, over what was there."""
        self._fs.makedirs(self.parent.url, exist_ok=True)
        self._fs.pipe_file(self.url, data)

    def unlink(self) -> None:
        """Delete the file.

        Raises:
            FileNotFoundError: none is there.
        """
        self._fs.rm_file(self.url)

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
