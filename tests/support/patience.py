"""Waiting for other processes and threads on a machine that may be slow and busy.

A limit on the clock says how busy the machine is, not whether the code is right. So a test waits
for what it needs to have happened, never for a time in which it should have; `PATIENCE` only ends
tests that would hang. Where speed is the claim, `time.process_time` counts a process's own work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from subprocess import Popen

import pytest

#: Seconds after which what has not happened will not happen.
PATIENCE = 300.0
linux = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")


def wait_for(condition: Callable[[], object], process: Popen | None = None) -> None:
    """Return once the condition holds; fail where the process ends before it does.

    Raises:
        AssertionError: the process has ended, or patience.
    """
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < end, f"not in {PATIENCE:g} s"
        time.sleep(0.005)


class Stopwatch:
    """Seconds since a moment, without those that a process spent waiting for a core.

    What waits there says nothing of the code (Linux counts it; elsewhere nothing is taken off).
    Besides, a thread sleeps for a hundredth of a second again and again: what it oversleeps, its
    own process has waited. Use as a context manager.

    Args:
        pid: of the process that is to act.
    """

    STEP = 0.01

    def __init__(self, pid: int) -> None:
        self.pid, self.begun, self.late = pid, time.monotonic(), 0.0
        self.first = self.last = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sleep, daemon=True)

    def __enter__(self) -> Stopwatch:
        self.begun, self.first = time.monotonic(), self._waited()
        self.last = self.first
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> bool:
        """Take the time that the process has waited; True."""
        self.last = max(self.last, self._waited())
        return True

    @property
    def elapsed(self) -> float:
        """On the clock."""
        return time.monotonic() - self.begun

    @property
    def seconds(self) -> float:
        """Those that count."""
        return self.elapsed - self.late - (self.last - self.first)

    def _waited(self) -> float:
        """Seconds for which the process's first thread could have run and did not."""
        try:
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0

    def _sleep(self) -> None:
        while not self._over.is_set():
            clock = time.monotonic()
            time.sleep(self.STEP)
            self.late += max(0.0, time.monotonic() - clock - 2 * self.STEP)


def children(pid: int) -> list[int]:
    """Process ids of a process's children (Linux); none of one that has ended."""
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    except OSError:  # the process or a thread of it has just ended
        return children(pid) if alive(pid) else []
    return found


def state(pid: int) -> str:
    """What Linux says of a process: "R" and "S" is well, "T" stopped, "Z" ended; "" for none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    return state(pid) not in ("", "Z")


def none_alive(pids: Iterable[int]) -> bool:
    """Whether all of them have ended."""
    return not any(map(alive, pids))
