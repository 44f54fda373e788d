"""Worker processes on this machine; a worker that dies is replaced and its shard tried again.

This process computes, too, so that for n shards at once n - 1 workers start. Workers are fresh
interpreters (`edt.runs.engines.worker`), fed through their input by one thread each: forking a
process whose threads hold locks is not safe, and multiprocessing's other start methods import the
caller's script again. A worker ends itself when its input closes, that is, when this process is
gone, however it ended. At the end, cores without work are lent to those that have some.
"""

from __future__ import annotations

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

import torch

from edt.ops.threads import lend, torch_threads
from edt.runs.engines.base import ATTEMPTS, Failure, Job, Outcome, attempt, cores
from edt.runs.store import Manifest, PartFiles

#: Seconds a worker may take to end when asked to.
PATIENCE = 5.0
#: What a worker runs. On Linux the kernel ends it with its parent, even where it is stopped, which
#: is asked for before anything takes time. Nothing that is imported becomes garbage: not looking
#: for it saves a fifth.
START = """
import gc, os, sys
gc.disable()
if sys.platform == "linux":
    import ctypes
    try:
        ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
    except (OSError, AttributeError):
        pass  # it ends where its input closes
    if os.getppid() != int(sys.argv[3]):
        os._exit(0)
# Last, so that they hide nothing: where functions that give a run's data may lie.
sys.path += [entry for entry in sys.argv[4:] if entry not in sys.path]
from edt.runs.engines.worker import main
main()
"""


#: Worker processes that have not been waited for.
_ALIVE: set[subprocess.Popen[bytes]] = set()


def kill_workers() -> None:
    """End every worker of this process at once."""
    for process in list(_ALIVE):
        with suppress(OSError):
            process.kill()


class Inline:
    """Everything in this process, on all its threads."""

    workers = 1

    def run(self, directory: str, jobs: Sequence[Job]) -> Iterator[Manifest | Failure]:
        """One job after another; see `edt.runs.engines.Engine`."""
        for job in jobs:
            outcome = attempt(directory, job)
            if isinstance(outcome, OSError):
                raise outcome
            yield outcome


class Processes:
    """This process and workers beside it.

    Args:
        workers: shards at once, one of them here; default one a core.
        threads: of each; default an equal share of the cores that torch may use here.
    """

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        self.workers = workers or cores()
        self.threads = threads or max(1, min(cores(), torch.get_num_threads()) // self.workers)

    def run(self, directory: str, jobs: Sequence[Job]) -> Iterator[Manifest | Failure]:
        """See `edt.runs.engines.Engine`."""
        lanes = min(self.workers, len(jobs))
        desk = _Desk(directory, self.threads, lanes, jobs)
        crew = [threading.Thread(target=desk.serve, daemon=True) for _ in range(lanes - 1)]
        try:
            for thread in crew:
                thread.start()
            for _ in jobs:
                outcome = desk.next()
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            desk.close()
            for thread in crew:
                thread.join(2 * PATIENCE)


class _Desk:
    """Hands out jobs and collects outcomes, for lanes that compute one job after another.

    One lane is this process (`next`), the others are worker processes, each with a thread in
    `serve`.
    """

    def __init__(self, directory: str, threads: int, lanes: int, jobs: Sequence[Job]) -> None:
        self.directory, self.threads = directory, threads
        self._outcomes: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
        self._waiting = deque(jobs)
        self._cores, self._busy, self._share = threads * lanes, lanes, threads
        self._workers: set[_Worker] = set()
        self._here, self._closed = True, False
        self._lock = threading.Lock()

    def next(self) -> Outcome | BaseException:
        """The next outcome; computes jobs here until there is one."""
        while self._here and self._outcomes.empty():
            if (job := self._take()) is not None:
                with torch_threads(self.threads):
                    self._outcomes.put(attempt(self.directory, job))
            else:
                self._here = False
                self._leave()
        return self._outcomes.get()

    def serve(self) -> None:
        """Have jobs computed by a worker process, until none is left."""
        worker: _Worker | None = None
        try:
            while (job := self._take()) is not None:
                worker, outcome = self._attempts(worker, job)
                if isinstance(outcome, OSError):
                    self._waiting.clear()  # none of these could be written
                self._outcomes.put(outcome)
        except BaseException as error:
            self._outcomes.put(error)
        finally:
            if worker is not None:
                self._drop(worker)
            self._leave()

    def _attempts(self, worker: _Worker | None, job: Job) -> tuple[_Worker | None, Outcome]:
        """The outcome of a job, and the worker that is alive after it."""
        for _ in range(ATTEMPTS):
            worker = worker or self._start()
            outcome = worker.ask(job)
            if outcome is not None:
                return worker, outcome
            failure = Failure(job.name, f"the worker process died ({worker.how()})")
            self._drop(worker)
            worker = None
            if self._closed:
                break
            PartFiles(self.directory).fail(job.name, failure.error)
        return None, failure

    def close(self) -> None:
        """Let no further job start, and end every worker."""
        with self._lock:
            self._closed = True
            alive = list(self._workers)
        for worker in alive:
            worker.kill()
        lend(0, self)

    def _take(self) -> Job | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting and not self._closed else None

    def _leave(self) -> None:
        """A lane has ended: the others share its cores."""
        with self._lock:
            self._busy -= 1
            if self._closed or not self._busy:
                return
            self._share = self._cores // self._busy
            alive = list(self._workers)
        for worker in alive:
            worker.lend(self._share)
        if self._here:
            lend(self._share, self)

    def _start(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise InterruptedError("closed")
            worker = _Worker(self.directory, self.threads)
            self._workers.add(worker)
        worker.lend(self._share)
        return worker

    def _drop(self, worker: _Worker) -> None:
        worker.end()
        with self._lock:
            self._workers.discard(worker)


class _Worker:
    """A worker process."""

    def __init__(self, directory: str, threads: int) -> None:
        import edt

        # The worker must import this very package, from wherever it was imported here.
        home = str(Path(edt.__file__).parent.parent)
        paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._sending = threading.Lock()
        found = [entry or os.getcwd() for entry in sys.path]
        words = [directory, str(threads), str(os.getpid()), *found]
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # Ctrl-C is for this process: it would kill a worker that is still starting, which
            # cannot ignore it yet, and leave a note of a failure.
            start_new_session=True,
        )
        _ALIVE.add(self.process)
        assert self.process.stdin is not None and self.process.stdout is not None
        self._orders, self._answers = self.process.stdin, self.process.stdout

    def ask(self, job: Job) -> Outcome | None:
        """The worker's answer; None if it died."""
        try:
            self._send(job)
            answer: Any = pickle.load(self._answers)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            return None
        return answer  # type: ignore[no-any-return]

    def lend(self, threads: int) -> None:
        """Let its core use at least so many threads from now on, if it is alive."""
        with suppress(OSError, ValueError):
            self._send(threads)

    def how(self) -> str:
        """How it died."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        code = self.process.returncode
        if code is not None and code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"

    def kill(self) -> None:
        """End it, whatever it does, stopped or not: what it writes is whole or absent."""
        with suppress(OSError):
            self.process.kill()

    def end(self) -> None:
        """End it."""
        for pipe in (self._orders, self._answers):
            with suppress(OSError):
                pipe.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _ALIVE.discard(self.process)

    def _send(self, order: Job | int) -> None:
        data = pickle.dumps(order)
        with self._sending:
            self._orders.write(data)
            self._orders.flush()
