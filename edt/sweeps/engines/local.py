"""Worker processes on this machine; a worker that dies is replaced and its shard tried again.

Workers are fresh interpreters (`edt.sweeps.worker`), fed through their standard input by one thread
each: forking a process whose threads hold locks is not safe, and multiprocessing's other start
methods import the caller's script again. A worker ends itself when its input closes, that is, when
this process is gone, however it ended.
"""

from __future__ import annotations

import errno
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edt.store import Manifest, PartFiles
from edt.sweeps.engines.base import ATTEMPTS, Failure, cores, execute
from edt.sweeps.plan import Job

#: Seconds a worker may take to end when asked to.
PATIENCE = 5.0
#: Errors that every further attempt would meet too: no space, quota, file too big, read-only.
HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

Outcome = Manifest | Failure | OSError


class Inline:
    """Everything in this process, on all its threads."""

    workers = 1

    def run(self, directory: str, jobs: Sequence[Job]) -> Iterator[Manifest | Failure]:
        """One job after another; see `edt.sweeps.engines.Engine`."""
        for job in jobs:
            outcome = attempt(directory, job)
            if isinstance(outcome, OSError):
                raise outcome
            yield outcome


class Processes:
    """Worker processes.

    Args:
        workers: how many; default one a core.
        threads: of each; default an equal share of the cores.
    """

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        self.workers = workers or cores()
        self.threads = threads or max(1, cores() // self.workers)

    def run(self, directory: str, jobs: Sequence[Job]) -> Iterator[Manifest | Failure]:
        """See `edt.sweeps.engines.Engine`."""
        desk = _Desk(directory, self.threads, jobs)
        crew = [
            threading.Thread(target=desk.serve, daemon=True)
            for _ in range(min(self.workers, len(jobs)))
        ]
        try:
            for thread in crew:
                thread.start()
            for _ in jobs:
                outcome = desk.outcomes.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            desk.close()
            for thread in crew:
                thread.join(2 * PATIENCE)


class _Desk:
    """Hands out jobs and collects outcomes; one thread in `serve` for each worker process."""

    def __init__(self, directory: str, threads: int, jobs: Sequence[Job]) -> None:
        self.directory, self.threads = directory, threads
        self.outcomes: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
        self._waiting = deque((job, 1) for job in jobs)
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        self._lock = threading.Lock()

    def serve(self) -> None:
        process: subprocess.Popen[bytes] | None = None
        try:
            while not self._closed:
                try:
                    job, number = self._waiting.popleft()
                except IndexError:
                    break
                process = process or self._start()
                outcome = _ask(process, job)
                if outcome is not None:
                    self.outcomes.put(outcome)
                    continue
                how = _how(process)
                self._drop(process)
                process = None
                if self._closed:
                    break
                text = f"the worker process died ({how})"
                PartFiles(self.directory).fail(job.name, text)
                if number < ATTEMPTS:
                    self._waiting.appendleft((job, number + 1))
                else:
                    self.outcomes.put(Failure(job.name, text))
        except BaseException as error:
            self.outcomes.put(error)
        finally:
            if process is not None:
                self._drop(process)

    def close(self) -> None:
        """Let no further job start, and end every worker."""
        with self._lock:
            self._closed = True
            alive = list(self._processes)
        for process in alive:
            process.terminate()

    def _start(self) -> subprocess.Popen[bytes]:
        import edt

        # The worker must import this very package, from wherever it was imported here.
        home = str(Path(edt.__file__).parent.parent)
        paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
        with self._lock:
            if self._closed:
                raise InterruptedError("closed")
            process = subprocess.Popen(
                [sys.executable, "-m", "edt.sweeps.worker", self.directory, str(self.threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                # Ctrl-C is for this process: it would kill a worker that is still starting, which
                # cannot ignore it yet, and leave a note of a failure.
                start_new_session=True,
            )
            self._processes.add(process)
        return process

    def _drop(self, process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with self._lock:
            self._processes.discard(process)


def attempt(directory: str, job: Job) -> Outcome:
    """Compute and write a shard; what went wrong otherwise, an `OSError` if nothing can follow."""
    try:
        return execute(directory, job)
    except Exception as error:
        PartFiles(directory).fail(job.name, error)
        if isinstance(error, OSError) and error.errno in HOPELESS:
            return error
        return Failure(job.name, f"{type(error).__name__}: {error}".splitlines()[0])


def _ask(process: subprocess.Popen[bytes], job: Job) -> Outcome | None:
    """A worker's answer; None if it died."""
    assert process.stdin is not None and process.stdout is not None
    try:
        pickle.dump(job, process.stdin)
        process.stdin.flush()
        answer: Any = pickle.load(process.stdout)
    except (OSError, EOFError, ValueError, pickle.UnpicklingError):
        return None
    return answer  # type: ignore[no-any-return]


def _how(process: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    code = process.returncode
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
