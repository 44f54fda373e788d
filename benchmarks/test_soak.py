"""Memory stays flat over repeated work on 10,000 networks, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import names, settings
from benchmarks.figures import Figures
from benchmarks.probe import probe

NETWORKS, ROUNDS = (400, 30) if settings.SMOKE else (10_000, 40)
#: Rounds after which everything that is made once has been made.
WARM = 4
MIB = 2**20
#: Growth in all later rounds together that allocators explain. Forgetting one flat vector, one
#: compiled plan or one data set per round would be more.
FLAT = (1 if settings.SMOKE else 32) * MIB


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
def test_soak(figures: Figures) -> None:
    used = probe("soak_probe", NETWORKS, ROUNDS)["used"]
    growth = max(used[WARM:]) - used[WARM - 1]
    figures.add_quantity(names.SOAK_QUANTITY, growth / MIB, "MiB")
    assert growth <= FLAT, [round(n / MIB, 1) for n in used]
