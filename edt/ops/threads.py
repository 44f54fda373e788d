"""How many threads the core uses: torch's number, or more where idle cores have been lent.

torch's number belongs to the thread that calls, so a run under way cannot be given another one from
outside; what is lent counts for the whole process, from the next call of the core on. Training and
converging call it several times a second. Threads change no bits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from edt import _core

__all__ = [
    "check_threads",
    "core_threads",
    "lend",
    "one_blas_thread",
    "set_core_threads",
    "set_own_threads",
    "torch_threads",
]

#: Threads that may be asked for: systems refuse thousands more, and end the process over it.
A_CORE, AT_LEAST = 8, 64

_lent: dict[int, int] = {}
_lock = threading.RLock()
#: ``threads``: torch's number of this thread outside `one_blas_thread`, while within.
_here = threading.local()


def check_threads(count: int) -> int:
    """``count`` itself, where so many threads may be asked for.

    Raises:
        ValueError: below 1, or beyond what is of any use here.
    """
    cores = os.cpu_count() or 1
    most = max(A_CORE * cores, AT_LEAST)
    if not 1 <= count <= most:
        raise ValueError(f"threads must be in 1..{most} ({cores} cores here), got {count:,}")
    return count


def lend(threads: int, lender: object = None) -> None:
    """Let further calls of the core use at least so many threads.

    Args:
        threads: how many; 0: no longer.
        lender: who lends; what another lends stands beside it.
    """
    with _lock:
        _lent.pop(id(lender), None)
        if threads > 0:
            _lent[id(lender)] = threads


def core_threads() -> int:
    """Threads that a call of the core from here would use."""
    own = getattr(_here, "threads", None) or torch.get_num_threads()
    return max(own, *list(_lent.values()), 0) if _lent else own


def set_core_threads() -> None:
    """Tell the core; to be done before every call."""
    _core.set_num_threads(core_threads())


@contextmanager
def one_blas_thread() -> Iterator[int]:
    """Run the body with one BLAS thread; yields the number there were.

    The core keeps its threads. Within another one this costs nothing: around a loop of many it
    saves what changing the number takes.
    """
    before = getattr(_here, "threads", None)
    if before is not None:
        yield before
        return
    with torch_threads(1) as before:
        _here.threads = before
        try:
            yield before
        finally:
            _here.threads = None


@contextmanager
def torch_threads(count: int) -> Iterator[int]:
    """Run the body with so many threads of torch; yields the number there were.

    Other threads keep theirs, and so do those that start meanwhile or later.
    """
    with _lock:  # a thread that is new to torch must not look in the middle of `set_own_threads`
        before = torch.get_num_threads()
    if before == count:
        yield before
        return
    set_own_threads(count)
    try:
        yield before
    finally:
        set_own_threads(before)


def set_own_threads(count: int) -> None:
    """`torch.set_num_threads` for the calling thread alone.

    torch's own also sets what threads start with that have not used torch yet, and keeps it when
    the caller sets its number back: of two calls that overlap, the one that ends last would leave
    the number of the other's work to every later thread. So that is read, in a new thread, and put
    back by another; one caller at a time does so.
    """
    with _lock:
        if threading.active_count() == 1:
            torch.set_num_threads(count)  # nobody is there to start a thread meanwhile
            return
        fresh = _elsewhere(torch.get_num_threads)
        torch.set_num_threads(count)
        if fresh != count:
            _elsewhere(lambda: torch.set_num_threads(fresh))


def _elsewhere(function: Callable[[], Any]) -> Any:
    """What a function returns in a thread that is new to torch."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]
