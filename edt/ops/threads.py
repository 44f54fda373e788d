"""How many threads the core uses: torch's number, or more where idle cores have been lent.

torch's number belongs to the thread that calls, so a run under way cannot be given another one from
outside; what is lent counts for the whole process, from the next call of the core on. Training and
converging call it several times a second. Threads change no bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from edt import _core

__all__ = ["check_threads", "core_threads", "lend", "one_blas_thread", "set_core_threads", "torch_threads"]

#: Threads that may be asked for: systems refuse thousands more, and end the process over it.
A_CORE, AT_LEAST = 8, 64

_lent = 0


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


def lend(threads: int) -> None:
    """Let further calls of the core use at least so many threads; 0: torch's number alone."""
    global _lent
    _lent = threads


def core_threads() -> int:
    """Threads that a call of the core from here would use."""
    return max(torch.get_num_threads(), _lent)


def set_core_threads() -> None:
    """Tell the core; to be done before every call."""
    _core.set_num_threads(core_threads())


def one_blas_thread() -> AbstractContextManager[int]:
    """Run the body with one BLAS thread; yields the number there were."""
    return torch_threads(1)


@contextmanager
def torch_threads(count: int) -> Iterator[int]:
    """Run the body with so many threads of torch; yields the number there were."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
