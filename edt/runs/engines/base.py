"""What every engine does: take jobs, say which are done."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from edt.errors import EdtError
from edt.runs.store import Manifest, PartFiles
from edt.runs.store.inside import GoneError

#: A part is given up after this many attempts.
ATTEMPTS = 3
#: Errors that every further attempt would meet too: no space, quota, file too big, read-only file
#: system, no right to write.
HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


class SweepError(EdtError, RuntimeError):
    """A run that could not be finished on its engine; finished parts are kept."""


@dataclass(frozen=True)
class Job:
    """Everything a worker needs to compute one part; small, and picklable.

    Attributes:
        name: of the part.
        digest: of the spec of the run.
        cost: predicted.
        work: the function that computes it, ``"module:name"`` of this package, called with the
            directory and ``arguments``; it returns tables by name, and networks or None.
        arguments: of that function.
        gpu: whether it trains on a GPU.
        start: as in `Manifest`.
    """

    name: str
    digest: str
    cost: float
    work: str
    arguments: dict[str, Any]
    gpu: bool = False
    start: str = ""


@dataclass(frozen=True)
class Failure:
    """A part that could not be computed.

    Attributes:
        name: of the part.
        error: one line.
    """

    name: str
    error: str


Outcome = Manifest | Failure | OSError


class Engine(Protocol):
    """Computes jobs somewhere, each at least once, and has their parts written."""

    @property
    def workers(self) -> int:
        """Jobs under way at once."""

    def run(self, directory: str, jobs: Sequence[Job]) -> Iterator[Manifest | Failure]:
        """Yield the manifest of every part as it is done, or why it was given up.

        Raises:
            OSError: nothing more can be written.
        """


def attempt(directory: str, job: Job) -> Outcome:
    """Compute and write a part; what went wrong otherwise, an `OSError` if nothing can follow."""
    try:
        return _execute(directory, job)
    except Exception as error:
        PartFiles(directory).fail(job.name, error)
        hopeless = isinstance(error, OSError) and error.errno in HOPELESS
        if isinstance(error, OSError) and (hopeless or isinstance(error, GoneError)):
            return error
        return Failure(job.name, f"{type(error).__name__}: {error}".splitlines()[0])


def _execute(directory: str, job: Job) -> Manifest:
    """Compute a part and write it."""
    from edt.ops.threads import core_threads

    clock = time.monotonic()
    tables, networks = named(job.work)(directory, **job.arguments)
    seconds = time.monotonic() - clock
    return PartFiles(directory).write(
        job.name,
        tables,
        networks,
        cost=job.cost,
        seconds=seconds,
        threads=core_threads(),
        spec=job.digest,
        start=job.start,
    )


def named(address: str) -> Any:
    """What ``"module:name"`` names in this package.

    Raises:
        ValueError: not of this package.
    """
    module, _, name = address.partition(":")
    if module.partition(".")[0] != "edt":
        raise ValueError(f"{address!r:.60} is not a part of edt")
    return getattr(import_module(module), name)


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
