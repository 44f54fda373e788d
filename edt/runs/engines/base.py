"""What every engine does: take jobs, say which are done."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edt.errors import EdtError
from edt.runs.store import Manifest, PartFiles
from edt.runs.store.inside import GoneError

#: A shard is given up after this many attempts.
ATTEMPTS = 3
#: Errors that every further attempt would meet too: no space, quota, file too big, read-only.
HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class SweepError(EdtError, RuntimeError):
    """A sweep that could not be finished; finished shards are kept."""


@dataclass(frozen=True)
class Job:
    """Everything a worker needs to compute one shard; small, and picklable.

    Attributes:
        name: of the shard.
        spec: `SweepSpec.to_dict` of the sweep.
        digest: of the spec.
        settings: the axes that all its runs share.
        runs: their numbers.
        columns: the other axes, one value a run.
        cost: predicted seconds of one thread.
    """

    name: str
    spec: dict[str, Any]
    digest: str
    settings: dict[str, Any]
    runs: list[int]
    columns: dict[str, list[Any]]
    cost: float


@dataclass(frozen=True)
class Failure:
    """A shard that could not be computed.

    Attributes:
        name: of the shard.
        error: one line.
    """

    name: str
    error: str


Outcome = Manifest | Failure | OSError


class Engine(Protocol):
    """Computes jobs somewhere, each at least once, and has their shards written."""

    @property
    def workers(self) -> int:
        """Jobs under way at once."""

    def run(self, directory: str, jobs: Sequence[Job]) -> Iterator[Manifest | Failure]:
        """Yield the manifest of every shard as it is done, or why it was given up.

        Raises:
            OSError: nothing more can be written.
        """


def attempt(directory: str, job: Job) -> Outcome:
    """Compute and write a shard; what went wrong otherwise, an `OSError` if nothing can follow."""
    try:
        return _execute(directory, job)
    except Exception as error:
        PartFiles(directory).fail(job.name, error)
        hopeless = isinstance(error, OSError) and error.errno in HOPELESS
        if isinstance(error, OSError) and (hopeless or isinstance(error, GoneError)):
            return error
        return Failure(job.name, f"{type(error).__name__}: {error}".splitlines()[0])


def _execute(directory: str, job: Job) -> Manifest:
    """Compute a shard and write it."""
    from edt.ops.threads import core_threads
    from edt.runs.sweeps.shard import compute

    clock = time.monotonic()
    shard = compute(job)
    seconds = time.monotonic() - clock
    return PartFiles(directory).write(
        shard.name,
        shard.tables,
        shard.networks,
        cost=job.cost,
        seconds=seconds,
        threads=core_threads(),
        spec=job.digest,
    )


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
