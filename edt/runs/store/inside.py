"""The only way to files in the directory of a run: by names inside it, following no links.

A directory may come from anybody. In a local one every folder on the way is opened relative to the
one above (``openat``) and refused where it is a symbolic link, so that nothing is read, made or
deleted outside, whatever is swapped meanwhile; files are read only where they are plain files, and
only after a look at their size. The directory itself may be a link: its name comes from the caller.

Behind a URL there are neither links nor devices: the same names are those of objects.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from edt.arguments import checked
from edt.errors import EdtError
from edt.files import replace_at
from edt.limits import NotPlainError, open_plain, refusal
from edt.locations import Folder, Remote

__all__ = ["DirectoryError", "GoneError", "delete", "names", "opened", "read", "reading", "write"]

#: The file that makes a directory a run's.
MARKER = "edt.json"


class DirectoryError(EdtError, ValueError):
    """A directory that a run must not touch; the message says why and what to do."""


class GoneError(FileNotFoundError):
    """The directory of a run was deleted, or emptied, while the run was under way."""

    @classmethod
    def of(cls, root: Path) -> GoneError:
        """The error for a directory."""
        return cls(errno.ENOENT, "was deleted or emptied while the run was under way", str(root))


def read(root: Folder, name: str, most: int | None = None) -> bytes:
    """The whole of a file.

    Args:
        root: directory of a run.
        name: of the file in it, like ``"parts/a.parquet"``.
        most: bytes it may have; None: what fits in memory.

    Raises:
        FileNotFoundError: none is there. DirectoryError: a link, no plain file, or too large.
    """
    file = root / name
    if isinstance(file, Remote):
        size = file.size()
        if size is not None:
            _insist_size(file, size, most)
        return file.read_bytes()
    assert isinstance(root, Path)
    *folders, last = name.split("/")
    with opened(root, folders) as folder:
        return _read_at(folder, last, file, most)


def _read_at(folder: int, last: str, file: Path, most: int | None) -> bytes:
    try:
        with _naming(file):
            handle = open_plain(last, folder=folder, follow=False)
    except NotPlainError as error:
        raise DirectoryError(f"{file} {error.strerror}") from None
    with os.fdopen(handle, "rb") as opened_file:
        size = os.fstat(handle).st_size
        _insist_size(file, size, most)
        return opened_file.read(size)


@contextmanager
def reading(root: Folder, folder: str) -> Iterator[Callable[[str, int | None], bytes]]:
    """A function like `read` for many files of one folder, which is found once.

    Args:
        root: directory of a run.
        folder: name of the folder in it; it need not be there.

    Yields:
        a function of a file's name in the folder, and bytes it may have.

    Raises:
        DirectoryError: the folder is a link. The function raises what `read` does.
    """
    if not isinstance(root, Path):
        yield lambda name, most: read(root, f"{folder}/{name}", most)
        return
    with ExitStack() as open_:
        try:
            handle = open_.enter_context(opened(root, folder.split("/")))
        except (FileNotFoundError, NotADirectoryError):
            yield lambda name, most: read(root, f"{folder}/{name}", most)
            return
        path = root / folder
        yield lambda name, most: _read_at(handle, name, path / name, most)


def _insist_size(file: Folder, size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise DirectoryError(f"{file} has {size:,} bytes, expected at most {most:,}")
    reason = refusal(2 * size)
    if reason is not None:
        raise DirectoryError(f"{file} {reason}")


def write(root: Folder, name: str, data: bytes, *, claimed: bool = False) -> None:
    """Write a file whole, or not at all; folders on the way are made.

    Args:
        root: directory of a run; made if it is not there, unless ``claimed``.
        name: of the file in it.
        data: all of it.
        claimed: a run is under way there, so ``edt.json`` must be.

    Raises:
        GoneError: ``claimed``, and the directory was deleted or emptied since.
        DirectoryError: a folder on the way is a link.
        OSError: the disk is full, say; names the file.
    """
    file = root / name
    if isinstance(file, Remote):
        file.write_bytes(data)
        return
    assert isinstance(root, Path)
    *folders, last = name.split("/")
    if not claimed:
        root.mkdir(parents=True, exist_ok=True)
    with opened(root, folders, make=True, claimed=claimed) as folder:
        replace_at(folder, last, data, file)


def delete(root: Folder, name: str) -> None:
    """Delete a file; of a link the link, not what it leads to.

    Raises:
        FileNotFoundError: none is there. DirectoryError: a folder on the way is a link.
    """
    file = root / name
    if isinstance(file, Remote):
        file.unlink()
        return
    assert isinstance(root, Path)
    *folders, last = name.split("/")
    with opened(root, folders) as folder, _naming(file):
        os.unlink(last, dir_fd=folder)


def names(root: Folder, folder: str = "") -> list[str]:
    """Names of what a folder of the directory holds, in order; none where it is not there.

    Raises:
        DirectoryError: it is a link.
    """
    if not isinstance(root, Path):
        place = root / folder if folder else root
        return sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []
    try:
        with opened(root, folder.split("/") if folder else []) as handle:
            return sorted(os.listdir(handle))
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextmanager
def opened(
    root: Path, folders: list[str], *, make: bool = False, claimed: bool = False
) -> Iterator[int]:
    """Handle of a folder inside a local directory.

    Args:
        root: the directory; it may be a link itself.
        folders: names of the folders on the way.
        make: make those that are not there.
        claimed: insist on ``edt.json`` in ``root``.

    Raises:
        FileNotFoundError, NotADirectoryError: as they say. DirectoryError: a folder is a link.
        GoneError: no run is there.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    path = root
    try:
        handle = os.open(root, flags)
    except FileNotFoundError:
        if not claimed:
            raise
        raise GoneError.of(root) from None
    try:
        if claimed:
            try:
                os.stat(MARKER, dir_fd=handle, follow_symlinks=False)
            except FileNotFoundError:
                raise GoneError.of(root) from None
        for name in folders:
            path = path / name
            if make:
                with suppress(FileExistsError), _naming(path):
                    os.mkdir(name, dir_fd=handle)
            with _naming(path):
                inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Errors of calls relative to a handle name the last part of the path only, links oddly."""
    try:
        yield
    except OSError as error:
        # A link is ELOOP, or ENOTDIR where a folder was asked for.
        if error.errno in (errno.ELOOP, errno.EMLINK) or (
            error.errno == errno.ENOTDIR and file.is_symlink()
        ):
            raise DirectoryError(
                f"{file} is a symbolic link, and edt follows none inside the directory of a run; "
                "put there what it leads to"
            ) from None
        if isinstance(error, NotPlainError):
            raise
        raise OSError(error.errno, error.strerror, str(file)) from None


checked(__name__)
