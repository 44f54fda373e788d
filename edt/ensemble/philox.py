"""Philox4x32-10, a counter-based random number generator, over arrays.

Every 128-bit counter is scrambled on its own under a 64-bit key, so a random number is a function
of its address, not of how many were drawn before it. Integer arithmetic only: the same bits on
every machine.

Reference: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy
as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import numpy as np

__all__ = ["draws", "philox4x32"]

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_ROUNDS = 10
#: Counters scrambled at a time: the working set (about eight arrays) stays in the L2 cache.
_CHUNK = 1 << 13


def philox4x32(counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Scramble counters.

    Args:
        counter: uint32 ``[4, n]``, word 0 first.
        key: uint32 ``[2, n]``.

    Returns:
        uint32 ``[4, n]``.
    """
    c0, c1, c2, c3 = counter.astype(np.uint64)
    k0, k1 = key.astype(np.uint64)
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> _32) ^ c1 ^ k0,
            second & _LOW,
            (first >> _32) ^ c3 ^ k1,
            first & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return np.stack([c0, c1, c2, c3]).astype(np.uint32)


def draws(seeds: np.ndarray, ids: np.ndarray, stream: int, counts: np.ndarray) -> np.ndarray:
    """64 random bits for every (network, index), network after network.

    Number i of a network is half ``i % 2`` (words 0 and 1, or 2 and 3, the low word first) of the
    scrambled counter ``(i // 2, stream, id low, id high)`` under the key ``(seed low, seed high)``.

    Args:
        seeds, ids: uint64 ``[B]``.
        stream: which of a network's sequences, 0..2**32 - 1.
        counts: int64 ``[B]``, numbers per network (less than 2**32).

    Returns:
        uint64 ``[sum(counts)]``.
    """
    blocks = (counts + 1) // 2
    owner = np.repeat(np.arange(counts.size), blocks)
    first = np.cumsum(blocks) - blocks
    block = np.arange(owner.size) - np.repeat(first, blocks)
    bits = np.empty((owner.size, 2), dtype=np.uint64)
    for start in range(0, owner.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        seed, name = seeds[owner[part]], ids[owner[part]]
        counter = np.stack(
            [
                block[part].astype(np.uint64),
                np.full(seed.size, stream, dtype=np.uint64),
                name & _LOW,
                name >> _32,
            ]
        )
        w0, w1, w2, w3 = philox4x32(counter, np.stack([seed & _LOW, seed >> _32])).astype(np.uint64)
        bits[part, 0] = w0 | (w1 << _32)
        bits[part, 1] = w2 | (w3 << _32)
    # A network with an odd count leaves the second half of its last block unused.
    wanted = np.arange(int(counts.sum())) + np.repeat(
        2 * first - (np.cumsum(counts) - counts), counts
    )
    out: np.ndarray = bits.reshape(-1)[wanted]
    return out
