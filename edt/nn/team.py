"""The threads of torch's OpenMP runtime, lent to sparse layers.

They stand between torch's operations, after each of which torch's threads wait for the next without
sleeping; threads of the core's own would share the cores with them.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

from edt import _core

__all__ = ["use_torch_threads"]

#: Runtimes that have it export what GCC's code calls where a parallel region begins.
START = "GOMP_parallel"


def runtime() -> Path | None:
    """The OpenMP library that torch itself has brought and loaded, if it is a file of its own."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:  # another system than Linux
        return None
    folder = str(Path(torch.__file__).resolve().parent)
    loaded = {line.split(maxsplit=5)[-1] for line in lines if "omp" in line}
    found = sorted(path for path in loaded if path.startswith(folder) and "omp" in Path(path).name)
    return Path(found[0]) if len(found) == 1 else None


def use_torch_threads() -> bool:
    """Let sparse layers use torch's threads; False where the core's own have to do."""
    path = runtime()
    if path is None:
        return False
    try:
        start = getattr(ctypes.CDLL(str(path)), START)
    except (OSError, AttributeError):
        return False
    _core.set_team(ctypes.cast(start, ctypes.c_void_p).value or 0)
    return True
