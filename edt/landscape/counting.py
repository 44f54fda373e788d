"""Exact numbers of symmetry-induced critical subspaces and global-minimum subspaces.

One hidden layer. An irreducible critical point of width r reappears at width m wherever its
neurons are duplicated and permuted; at zero loss also groups of neurons that cancel may be added.
The counts are of affine subspaces, one family per irreducible point; they are not volumes of
basins, so say so wherever they stand beside success rates.

The paper's counts G and T are for activations without symmetry and no output bias. For an odd
activation (tanh, erf) a neuron (w, a) equals its mirror image (-w, -a): every neuron of a group
also chooses a sign, and of a group that cancels all signs but the common one, which is a change of
its free w'. With ``odd`` the functions here count so:

    G_odd(r, m) = 2^m G(r, m)
    T_odd(r, m) = sum_u C(m, u) G_odd(r, m-u) B(u),   B(u) = sum_k S2(u, k) 2^(u-k)

with exponential generating functions ``(e^2x - 1)^r`` and ``(e^2x - 1)^r exp((e^2x - 1) / 2)``. An
output bias adds families that neither counts: any set of neurons with input weights 0, whose
constant outputs the bias takes back at loss 0, and with output weights 0 at other critical points.

Reference: B. Simsek et al., "Geometry of the loss landscape in overparameterized neural networks:
symmetries and invariances", ICML 2021, arXiv 2105.12221.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import comb, factorial

from edt.scalars import integer


@cache
def stirling2(n: int, k: int) -> int:
    """Ways to partition n labelled things into k non-empty groups (Stirling, second kind).

    ``S2(n, k) = k S2(n-1, k) + S2(n-1, k-1)``.
    """
    _check(n=n, k=k)
    if k > n:
        return 0
    row = [1] + [0] * k
    for i in range(1, n + 1):
        for j in range(min(i, k), 0, -1):
            row[j] = j * row[j] + row[j - 1]
        row[0] = 0
    return row[k]


@cache
def bell(n: int) -> int:
    """Ways to partition n labelled things into any number of groups: ``sum_k S2(n, k)``."""
    _check(n=n)
    row = [1]
    for _ in range(n):
        following = [row[-1]]
        for value in row:
            following.append(following[-1] + value)
        row = following
    return row[0]


@cache
def signed_bell(n: int) -> int:
    """Partitions of n signed things up to each group's common sign, ``sum_k S2(n, k) 2^(n-k)``.

    Example:
        >>> [signed_bell(n) for n in range(6)]
        [1, 1, 3, 11, 49, 257]
    """
    _check(n=n)
    return sum(stirling2(n, k) * 2 ** (n - k) for k in range(n + 1))


@cache
def critical_subspaces(r: int, m: int, odd: bool = False) -> int:
    """G(r, m): subspaces of critical points at width m from one irreducible point of width r.

    ``G(r, m) = sum_{i=1..r} (-1)^(r-i) C(r, i) i^m = r! S2(m, r)``: surjections of m neurons onto
    r. Each subspace has dimension m - r (scalar output). With ``odd``, ``2^m`` times as many.

    Example:
        >>> [critical_subspaces(4, m) for m in range(4, 8)]
        [24, 240, 1560, 8400]
    """
    _check(r=r, m=m)
    return factorial(r) * stirling2(m, r) * (2**m if odd else 1)


@cache
def minimum_subspaces(r: int, m: int, odd: bool = False) -> int:
    """T(r, m): subspaces of global minima at width m from one irreducible solution of width r.

    ``T(r, m) = sum_{u=0..m-r} C(m, u) G(r, m-u) Bell(u)``: u neurons form groups that cancel among
    themselves. A subspace with j such groups has dimension (m - r) + (D - 1) j.

    Example:
        >>> [minimum_subspaces(4, m) for m in range(4, 8)]
        [24, 360, 3720, 33600]
    """
    _check(r=r, m=m)
    cancelling = signed_bell if odd else bell
    return sum(
        comb(m, u) * critical_subspaces(r, m - u, odd) * cancelling(u) for u in range(m - r + 1)
    )


def subspace_ratio(r: int, m: int, k: int = 1) -> Fraction:
    """Critical subspaces from width r - k for each one of global minima, ``G(r-k, m) / T(r, m)``.

    Args:
        r: least width with loss 0.
        m: width, at least r.
        k: how much narrower the critical point is, 1 <= k < r.

    Raises:
        ValueError: out of range.

    Example:
        >>> subspace_ratio(4, 4), subspace_ratio(4, 5)
        (Fraction(3, 2), Fraction(5, 12))
    """
    _check(r=r, m=m, k=k)
    if not (1 <= k < r <= m):
        raise ValueError(f"r, m and k must satisfy 1 <= k < r <= m, got r={r}, m={m}, k={k}")
    return Fraction(critical_subspaces(r - k, m), minimum_subspaces(r, m))


def limiting_ratio(r: int, extra: int, k: int = 1) -> Fraction:
    """What `subspace_ratio` at width r + extra approaches as r grows, extra and k held fixed.

    ``G(r-k, r+h) / T(r, r+h) -> r^k h! / (2^k (h+k)!)`` with h = extra, up to a factor
    ``1 + O(1/r)``: with few neurons to spare critical subspaces win. For fixed r and m -> infinity
    the ratio goes to 0, faster than any exponential: with enough width global minima win.

    Args:
        r: least width with loss 0, at least 1.
        extra: neurons beyond r.
        k: as in `subspace_ratio`, at least 1.

    Raises:
        ValueError: out of range.

    Example:
        >>> limiting_ratio(800, 3)
        Fraction(100, 1)
    """
    integer("r", r), integer("extra", extra, 0), integer("k", k)
    return Fraction(r**k * factorial(extra), 2**k * factorial(extra + k))


def crossover(r: int, *, cumulative: bool = False, limit: int = 1000, odd: bool = False) -> int:
    """Smallest width at which global-minimum subspaces outnumber the critical ones.

    The least m with ``T(r, m) > G(r-1, m)``, or with ``cumulative`` ``> sum_{q<r} G(q, m)``.

    Raises:
        ValueError: none up to ``limit``, or r < 2 (there is nothing narrower to compare with).
    """
    integer("r", r, 2)
    first = 1 if cumulative else r - 1
    for m in range(r, limit + 1):
        critical = sum(critical_subspaces(q, m, odd) for q in range(first, r))
        if minimum_subspaces(r, m, odd) > critical:
            return m
    raise ValueError(f"no crossover for r={r} up to m={limit}")


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        integer(name, value, 0)
