"""The simulation of many cores, and the core's chunks that it goes by."""

from __future__ import annotations

import pytest

import edt
from benchmarks.cores import makespan, plan_of


def test_makespan():
    """Networks first, then chunks of those at work."""
    assert makespan([[1.0] * 6], 1) == 6
    assert makespan([[1.0] * 6], 4) == 2
    assert makespan([[4.0], [1.0], [1.0]], 2) == 4
    # The second core has its own network for one turn, then helps the first.
    assert makespan([[1.0] * 4, [1.0]], 2) == 3
    assert makespan([], 3) == 0


@pytest.mark.parametrize("samples", [1, 4_096, 4_097, 9_000, 100_000, 3_000_000])
@pytest.mark.parametrize("hidden", [(1,), (64,), (300, 100), (2000, 2000)])
def test_chunks(hidden, samples):
    ens = edt.Ensemble.init([hidden], seeds=[0], d_in=8, d_out=1)
    (sizes,) = plan_of(ens).chunks(samples)
    assert sum(sizes) == samples
    assert (len(sizes) == 1) == (samples <= 4_096)
    # Equal but for the last, and few enough that their sums take at most 256 MB.
    assert len(set(sizes[:-1])) <= 1
    assert 0 < sizes[-1] <= sizes[0]
    assert len(sizes) <= 128
    assert len(sizes) * ens.theta.numel() * 8 <= max(2**28, 16 * ens.theta.numel() * 8)
    if len(sizes) > 1:
        assert sizes[0] % 64 == 0
