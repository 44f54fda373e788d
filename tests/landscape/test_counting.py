"""The counts against brute-force enumeration, generating functions, identities and limits."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product
from math import comb, factorial

import pytest

from edt.landscape import (
    bell,
    critical_subspaces,
    crossover,
    limiting_ratio,
    minimum_subspaces,
    stirling2,
    subspace_ratio,
)

# Widths m = r..r+5, computed by hand-checked enumeration for small m.
G = {
    2: [2, 6, 14, 30, 62, 126],
    3: [6, 36, 150, 540, 1806, 5796],
    4: [24, 240, 1560, 8400, 40824, 186480],
}
T = {
    1: [1, 3, 10, 37, 151, 674],
    2: [2, 12, 62, 320, 1712, 9604],
    3: [6, 60, 450, 3120, 21336, 147756],
    4: [24, 360, 3720, 33600, 287784, 2424744],
}


def partitions(items):
    """All partitions of a list into non-empty blocks."""
    if not items:
        yield []
        return
    head, *rest = items
    for blocks in partitions(rest):
        yield [[head], *blocks]
        for k in range(len(blocks)):
            yield [*blocks[:k], [head, *blocks[k]], *blocks[k + 1 :]]


def enumerate_critical(r, m):
    """Ways to give each of m wide neurons one of r weight vectors, every one used."""
    return sum(len(set(choice)) == r for choice in product(range(r), repeat=m))


def enumerate_minima(r, m):
    """The same, where neurons may also join unlabelled groups that cancel."""
    count = 0
    for choice in product(range(r + 1), repeat=m):
        if set(range(r)) <= set(choice):
            rest = [i for i, c in enumerate(choice) if c == r]
            count += sum(1 for _ in partitions(rest))
    return count


@pytest.mark.parametrize(("r", "m"), [(r, m) for r in range(1, 5) for m in range(r, 7)])
def test_enumeration(r, m):
    assert critical_subspaces(r, m) == enumerate_critical(r, m)
    assert minimum_subspaces(r, m) == enumerate_minima(r, m)


@pytest.mark.parametrize("r", G)
def test_critical_values(r):
    assert [critical_subspaces(r, m) for m in range(r, r + 6)] == G[r]


@pytest.mark.parametrize("r", T)
def test_minimum_values(r):
    assert [minimum_subspaces(r, m) for m in range(r, r + 6)] == T[r]


def test_partitions():
    for n in range(8):
        blocks = [len(p) for p in partitions(list(range(n)))]
        assert bell(n) == len(blocks)
        assert [stirling2(n, k) for k in range(n + 2)] == [blocks.count(k) for k in range(n + 2)]


def test_identities():
    for r in range(1, 12):
        assert critical_subspaces(r, r) == minimum_subspaces(r, r) == factorial(r)
        # Inclusion and exclusion over the weight vectors left out.
        for m in range(r, r + 8):
            assert critical_subspaces(r, m) == sum(
                (-1) ** (r - i) * comb(r, i) * i**m for i in range(1, r + 1)
            )
        assert minimum_subspaces(1, r) == bell(r + 1) - bell(r)
        assert 2 * minimum_subspaces(r, r + 1) == factorial(r + 1) * (r + 2)
    assert critical_subspaces(5, 3) == minimum_subspaces(5, 3) == 0


def test_limit_of_the_ratio():
    # G(r-k, r+h) / T(r, r+h) -> r^k h! / (2^k (h+k)!) for fixed h, k as r grows; the correction
    # is of relative order 1/r, and r = 400 must be about twice as close as r = 200.
    for h, k in [(1, 1), (2, 1), (2, 2)]:
        gap = []
        for r in (200, 400):
            limit = limiting_ratio(r, h, k)
            assert limit == Fraction(r**k * factorial(h), 2**k * factorial(h + k))
            gap.append(abs(float(subspace_ratio(r, r + h, k) / limit) - 1))
        assert gap[0] < 0.06
        assert gap[1] == pytest.approx(gap[0] / 2, rel=0.1)


def test_ratio_of_fixed_r():
    """With width the ratio falls to 0 faster than any power: each step divides it by more."""
    ratios = [subspace_ratio(4, m) for m in range(4, 40)]
    assert ratios[0] == Fraction(G[3][1], T[4][0])
    steps = [b / a for a, b in pairwise(ratios)]
    assert all(b < a for a, b in pairwise(steps[3:]))
    assert ratios[-1] < Fraction(1, 10**16)


def test_crossovers():
    single = [2, 4, 5, 6, 7, 9, 10, 11, 12, 15, 19, 20, 25]
    summed = [2, 4, 5, 6, 8, 9, 11, 12, 13, 16, 21, 22, 28]
    teachers = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 20]
    assert [crossover(r) for r in teachers] == single
    assert [crossover(r, cumulative=True) for r in teachers] == summed
    for r, m in zip(teachers, single, strict=True):
        assert minimum_subspaces(r, m) > critical_subspaces(r - 1, m)
        assert m == r or minimum_subspaces(r, m - 1) <= critical_subspaces(r - 1, m - 1)


def test_bad_input():
    with pytest.raises(ValueError, match="r must be >= 0, got -1"):
        critical_subspaces(-1, 3)
    with pytest.raises(TypeError, match="m must be an integer"):
        minimum_subspaces(1, 2.5)
    with pytest.raises(TypeError, match="n must be an integer"):
        bell(True)
    with pytest.raises(ValueError, match="r must be >= 2"):
        crossover(1)
    with pytest.raises(ValueError, match="1 <= k < r <= m"):
        subspace_ratio(3, 2)
    with pytest.raises(ValueError, match="must be >= 1"):
        limiting_ratio(3, 1, 0)
    with pytest.raises(ValueError, match="no crossover for r=9 up to m=9"):
        crossover(9, limit=9)


def _assignments(r, m):
    """Every way to give m neurons a signed kind, up to the common sign of groups that cancel."""
    found = set()
    for choice in product(range(-r - m, r + m + 1), repeat=m):
        if 0 in choice or set(range(1, r + 1)) - {abs(c) for c in choice}:
            continue
        live = tuple(c if abs(c) <= r else None for c in choice)
        groups = {}
        for place, c in enumerate(choice):
            if abs(c) > r:
                groups.setdefault(abs(c), []).append((place, c > 0))
        cancel = frozenset(
            frozenset((place, sign == members[0][1]) for place, sign in members)
            for members in groups.values()
        )
        found.add((live, cancel))
    return len(found)


@pytest.mark.parametrize(("r", "m"), [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (1, 4)])
def test_odd_activations_by_enumeration(r, m):
    assert minimum_subspaces(r, m, odd=True) == _assignments(r, m)


def test_odd_generating_functions():
    """Coefficients of (e^2x - 1)^r exp((e^2x - 1) / 2), as truncated series of fractions."""
    order = 8
    grow = [Fraction(0)] + [Fraction(2**k, factorial(k)) for k in range(1, order)]

    def times(a, b):
        return [sum(a[i] * b[n - i] for i in range(n + 1)) for n in range(order)]

    power = [Fraction(1)] + [Fraction(0)] * (order - 1)
    half = [g / 2 for g in grow]
    exp, term = power[:], power[:]
    for k in range(1, order):
        term = [t / k for t in times(term, half)]
        exp = [a + b for a, b in zip(exp, term, strict=True)]
    for r in range(1, 5):
        power = times(power, grow)
        both = times(power, exp)
        for m in range(r, order):
            assert critical_subspaces(r, m, odd=True) == power[m] * factorial(m)
            assert minimum_subspaces(r, m, odd=True) == both[m] * factorial(m)
