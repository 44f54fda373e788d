"""How much memory one thing may ask for, said before it is read or made.

A header, a grid or a flag can ask for more than there is in a few bytes. Whoever is about to follow
it asks here first: what does not fit is refused at once, with what it needs, what it may have, and
how to allow more.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from contextlib import suppress
from pathlib import Path

from edt.errors import EdtError

__all__ = [
    "CEILING",
    "MOST_RUNS",
    "NotPlainError",
    "TooLargeError",
    "allowed",
    "free_memory",
    "insist",
    "insist_count",
    "integer_list",
    "open_plain",
    "read_bounded",
    "read_plain",
    "refusal",
    "size",
]

#: Environment variable: the most gigabytes that one thing may ask for; ``edt --max-gb`` sets it.
CEILING = "EDT_MAX_GB"
#: Environment variable: the most runs that one plan may have; ``edt --max-runs`` sets it.
MOST_RUNS = "EDT_MAX_RUNS"
#: Runs that a plan may have unless told otherwise: a day of a core at ten milliseconds each.
RUNS = 10_000_000
#: Less than this is never asked about.
SMALL = 2**26
#: Where the system does not say what is free.
UNKNOWN = 8 * 2**30


class TooLargeError(EdtError, ValueError):
    """What was asked for does not fit in memory; the message names it and how to allow more."""


class NotPlainError(OSError):
    """Something that is opened in vain: a folder, a pipe, a socket, a device."""


def free_memory() -> int | None:
    """Bytes of memory this process may still have; None where the system does not say.

    The least of what Linux counts as available, what its control group leaves, and what
    ``ulimit -v`` leaves.
    """
    found = [_available(), _group(), _address_space()]
    known = [value for value in found if value is not None]
    return min(known) if known else None


def allowed() -> tuple[int, str]:
    """Bytes that one thing may ask for, and why so many."""
    given = os.environ.get(CEILING)
    if given:
        try:
            gigabytes = float(given)
        except ValueError:
            gigabytes = math.nan
        if not 0.0 < gigabytes < 1e9:
            raise ValueError(f"{CEILING} must be a number of gigabytes above 0, got {given!r}")
        return int(gigabytes * 1e9), f"{CEILING}={given}"
    free = free_memory()
    if free is None:
        return UNKNOWN, "this system does not say what is free"
    return free * 4 // 5, "four fifths of the memory free here"


def refusal(needed: int) -> str | None:
    """Why so many bytes may not be asked for, in words that go after a name; None: they may."""
    if needed < SMALL:
        return None
    most, why = allowed()
    if needed <= most:
        return None
    return (
        f"needs about {size(needed)} of memory, and may have {size(most)} ({why}); "
        f"{CEILING}, or edt --max-gb, allows more"
    )


def insist(what: str, needed: int) -> None:
    """Let so many bytes be asked for, or not.

    Args:
        what: asks; the subject of the message.
        needed: bytes, as large as the integers of Python.

    Raises:
        TooLargeError: more than `allowed`.
    """
    reason = refusal(needed)
    if reason is not None:
        raise TooLargeError(f"{what} {reason}")


def insist_count(what: str, runs: int) -> None:
    """Let a plan have so many runs, or not.

    Args:
        what: asks; the subject of the message.
        runs: how many, as large as the integers of Python.

    Raises:
        TooLargeError: more than `RUNS`, or what ``EDT_MAX_RUNS`` says.
    """
    given = os.environ.get(MOST_RUNS, "")
    if given and not (given.isdecimal() and len(given) < 19):
        raise ValueError(f"{MOST_RUNS} must be a whole number, got {given!r:.40}")
    most = int(given) if given else RUNS
    if runs > most:
        raise TooLargeError(
            f"{what} has {_digits(runs)} runs, and may have {most:,}; {MOST_RUNS}, or edt "
            "--max-runs, allows more"
        )


def open_plain(
    path: str | os.PathLike[str],
    flags: int = os.O_RDONLY,
    *,
    folder: int | None = None,
    follow: bool = True,
) -> int:
    """Open a plain file, or none: the way to every file of others that edt reads.

    Pipes, sockets and devices are looked at and not opened. One may wait for ever for a writer, or
    have no end, and the mere opening of a device can do something.

    Args:
        path: of the file.
        flags: of `os.open`; with ``os.O_CREAT`` a file that is not there is made.
        folder: handle of the folder that ``path`` starts from.
        follow: whether its last part may be a symbolic link.

    Returns:
        Its handle, not inherited by processes that are started.

    Raises:
        NotPlainError: something else is there. OSError: nothing is, or it cannot be read.
    """
    # Without O_NONBLOCK the opening of a pipe that is put there meanwhile waits for a writer.
    flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with suppress(FileNotFoundError):
        _insist_plain(os.stat(path, dir_fd=folder, follow_symlinks=follow), path)
    handle = os.open(path, flags, 0o666, dir_fd=folder)
    try:
        _insist_plain(os.fstat(handle), path)
    except OSError:
        os.close(handle)
        raise
    return handle


def _insist_plain(found: os.stat_result, path: str | os.PathLike[str]) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if stat.S_ISDIR(found.st_mode):
        raise NotPlainError(errno.EISDIR, "is a folder, not a file", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise NotPlainError(errno.EINVAL, "is not a plain file", str(path))


def read_bounded(path: Path, most: int) -> bytes:
    """The whole of a plain file.

    Raises:
        OSError: it cannot be read; `NotPlainError` among others. TooLargeError: it has more
            bytes than ``most``.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLargeError(f"{path} has more than {size(most)}")
    return data


def read_plain(path: Path, times: int = 2) -> bytes:
    """The whole of a plain file, of any size that fits in memory.

    Args:
        path: of the file; links are followed.
        times: bytes of memory that what is made of it takes for each of its own.

    Raises:
        OSError: it cannot be read; `NotPlainError` among others. TooLargeError: it is too
            large.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        held = os.fstat(file.fileno()).st_size
        insist(str(path), times * held)
        return file.read(held)


def _digits(count: int) -> str:
    return f"{count:,}" if count < 10**15 else f"{float(min(count, 10**300)):.1e}"


def size(count: int) -> str:
    """Bytes for people.

    Example:
        >>> size(3_900_000_000), size(10**21)
        ('3.9 GB', '1,000,000,000 TB')
    """
    for unit, one in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= one:
            whole = count // one
            return f"{whole:,} {unit}" if whole >= 100 else f"{count / one:.2g} {unit}"
    return f"{count:,} bytes"


def _available() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return None


def _group() -> int | None:
    """What the control group leaves; memory it counts for files can be taken back."""
    for folder, most, used, files in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        (
            "/sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        root = Path(folder)
        try:
            limit = int((root / most).read_text())
            spent = int((root / used).read_text())
            stats = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
            return max(limit - spent + int(stats.get(files, 0)), 0)
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return None


def _address_space() -> int | None:
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return None
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return int(max(limit - pages * resource.getpagesize(), 0))
    except (ImportError, OSError, ValueError):
        return None


#: Numbers one option may list: widths, neurons added, teachers' widths.
MOST_NUMBERS = 10_000


def integer_list(
    text: str, name: str, form: str, rising: str, least: int | None = None
) -> tuple[int, ...]:
    """Whole numbers from ``"2..6,8"`` or ``"4..16:4"``, rising, counted before they are made.

    Args:
        text: as above.
        name: of the argument.
        form: examples of what it must look like, for messages.
        rising: what its parts must be, for messages.
        least: smallest number allowed; None: any.

    Raises:
        ValueError: not of that form, or more than `MOST_NUMBERS`; names the argument.
    """
    found: set[int] = set()
    for part in text.replace(" ", "").replace("-", "..").split(","):
        head, _, step = part.partition(":")
        first, dots, last = head.partition("..")
        try:
            low = int(first)
            high, stride = int(last) if dots else low, int(step) if step else 1
        except ValueError:
            raise ValueError(f"{name} must look like {form}, got {text!r}") from None
        if high < low or stride < 1 or (least is not None and low < least):
            raise ValueError(f"{name} must be {rising}, got {text!r}")
        # 1..99999999999 would fill the memory.
        if len(found) + (high - low) // stride + 1 > MOST_NUMBERS:
            raise ValueError(f"{name} must hold at most {MOST_NUMBERS:,} numbers, got {text!r}")
        found |= set(range(low, high + 1, stride))
    return tuple(sorted(found))
