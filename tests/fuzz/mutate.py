"""Mutations of bytes without any tool: what continuous integration fuzzes with."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

#: Pieces that formats are made of, and numbers at their limits.
TOKENS = (
    b"\0", b"\xff" * 4, b"\0" * 8, b"\x7f\xff\xff\xff", b"{", b"}", b"[", b"]", b'"', b"null",
    b"NaN", b"1e999", b"-1", b"9" * 30, b"0..9", b"\\u0000", b"\xc3\x28", b"[" * 50, b"PAR1",
    b"\x1f\x8b", b"true", b"\n", b"=", b"[[points]]", b'"F64"', b'"edt"', b"1979-05-27",
)  # fmt: skip


def mutants(seeds: Sequence[bytes], count: int, rng: random.Random) -> Iterator[bytes]:
    """``count`` inputs, each a seed with up to eight changes."""
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 8)):
            _change(data, seeds, rng)
        yield bytes(data)


def _change(data: bytearray, seeds: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randint(0, len(data))
    size = rng.choice((1, 1, 2, 4, 8, 64))
    what = rng.randrange(6)
    if what == 0 and at < len(data):
        data[at] ^= 1 << rng.randrange(8)
    elif what == 1:
        data[at : at + size] = rng.randbytes(size)
    elif what == 2:
        del data[at : at + size]
    elif what == 3:
        data[at:at] = rng.choice(TOKENS)
    elif what == 4:
        data[at:at] = data[at : at + size]
    else:
        other = rng.choice(seeds)
        start = rng.randint(0, len(other))
        data[at : at + size] = other[start : start + size]
