"""Philox4x32-10 against the known answers of Random123, and the addressing built on it."""

from __future__ import annotations

import numpy as np
import pytest

from edt.ensemble.philox import draws, philox4x32

# Random123, tests/kat_vectors, lines "philox4x32 10": counter, key, output.
KNOWN = [
    (
        (0x00000000, 0x00000000, 0x00000000, 0x00000000),
        (0x00000000, 0x00000000),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("counter, key, output", KNOWN)
def test_known_answers(counter, key, output):
    got = philox4x32(np.array(counter, np.uint32)[:, None], np.array(key, np.uint32)[:, None])
    assert got.dtype == np.uint32
    assert tuple(int(word) for word in got[:, 0]) == output


def test_lanes_do_not_mix():
    counters = np.array([row[0] for row in KNOWN], np.uint32).T
    keys = np.array([row[1] for row in KNOWN], np.uint32).T
    assert philox4x32(counters, keys).T.tolist() == [list(row[2]) for row in KNOWN]


def test_draws_address():
    """Number i is half i % 2 of counter (i // 2, stream, id) under the seed."""
    seed, name, stream = 0x0123456789ABCDEF, 0xFEDCBA9876543210, 77
    got = draws(np.array([seed], np.uint64), np.array([name], np.uint64), stream, np.array([5]))
    key = np.array([[seed & 0xFFFFFFFF], [seed >> 32]], np.uint32)
    for i, value in enumerate(got.tolist()):
        counter = np.array([[i // 2], [stream], [name & 0xFFFFFFFF], [name >> 32]], np.uint32)
        words = philox4x32(counter, key)[:, 0].tolist()
        low, high = words[2 * (i % 2) : 2 * (i % 2) + 2]
        assert value == low | high << 32


def test_company_order_and_chunks_do_not_matter():
    """Counts on both sides of the chunk length (2 * 2**13 numbers), odd and even."""
    seeds = np.array([3, 3, 2**64 - 1, 0], np.uint64)
    ids = np.array([0, 2**63, 5, 5], np.uint64)
    counts = np.array([7, 20001, 1, 16384])
    together = np.split(draws(seeds, ids, 1, counts), np.cumsum(counts)[:-1])
    for b in range(4):
        alone = draws(seeds[b : b + 1], ids[b : b + 1], 1, counts[b : b + 1])
        assert np.array_equal(alone, together[b])
        longer = draws(seeds[b : b + 1], ids[b : b + 1], 1, counts[b : b + 1] + 3)
        assert np.array_equal(longer[: counts[b]], alone)
    assert len({part[0] for part in together}) == 4
