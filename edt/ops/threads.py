"""How many threads the core uses: torch's number, or more where idle cores have been lent.

torch's number belongs to the thread that calls, so a run under way cannot be given another one from
outside; what is lent counts for the whole process, from the next call of the core on. Training and
converging call it several times a second. Threads change no bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from edt import _core

__all__ = ["core_threads", "lend", "one_blas_thread", "set_core_threads", "torch_threads"]

_lent = 0


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
