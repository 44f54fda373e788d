"""How much is measured, and with how many threads.

EDT_BENCH_SMOKE     1: tiny sizes, one round; the figures mean nothing
EDT_BENCH_THREADS   threads for edt and every peer; default: all cores this process may use
EDT_BENCH_RESULTS   folder for the results; default benchmarks/results (smoke: a temporary one)
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

SMOKE = os.environ.get("EDT_BENCH_SMOKE", "0") not in ("", "0")

#: Seconds spent on the rounds of one measurement, and the fewest and most rounds.
ROUND_SECONDS = 0.0 if SMOKE else 1.5
FEWEST_ROUNDS = 1 if SMOKE else 3
MOST_ROUNDS = 1 if SMOKE else 25
#: A call longer than this is measured once: it averages over the machine's moods by itself.
LONG_CALL = 15.0


def _threads() -> int:
    """Threads for everyone, enforced by the process's affinity: JAX has no other setting."""
    wanted = os.environ.get("EDT_BENCH_THREADS")
    if not hasattr(os, "sched_getaffinity"):
        return int(wanted or os.cpu_count() or 1)
    cores = sorted(os.sched_getaffinity(0))
    if wanted is not None:
        cores = cores[: max(1, int(wanted))]
        os.sched_setaffinity(0, cores)
    return len(cores)


#: Set before torch and JAX start their threads: this module is imported first.
THREADS = _threads()


def results_folder() -> Path:
    """Where the JSON and the plot go."""
    given = os.environ.get("EDT_BENCH_RESULTS")
    if given:
        return Path(given)
    if SMOKE:
        return Path(tempfile.mkdtemp(prefix="edt-bench-"))
    return Path(__file__).parent / "results"
