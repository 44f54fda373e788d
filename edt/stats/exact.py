"""Exact tests of counts, without ``scipy.stats``, which takes a second to import."""

from __future__ import annotations

import numpy as np

__all__ = ["fisher_test", "sign_test"]

#: Probabilities are equal up to this relative difference, as in `scipy.stats`.
_TIE = 1e-7


def sign_test(k: int, n: int) -> float:
    """The two-sided p of k heads in n tosses of a fair coin (1 without tosses)."""
    from scipy.special import bdtr

    return min(1.0, 2.0 * float(bdtr(min(k, n - k), n, 0.5)))


def fisher_test(k: int, n: int, other_k: int, other_n: int) -> float:
    """The two-sided p that k of n and other_k of other_n are of one probability.

    Given all successes, those of the first are hypergeometric; as unlikely as what was seen counts.

    Example:
        >>> round(fisher_test(8, 10, 1, 6), 6)
        0.034965

    Reference: R. A. Fisher, "The Design of Experiments", 1935, section 11.
    """
    from scipy.special import gammaln

    won = k + other_k
    j = np.arange(max(0, won - other_n), min(won, n) + 1)
    of = np.array([[n], [other_n], [n + other_n]])
    taken = np.stack([j, won - j, np.full_like(j, won)])
    ways = gammaln(of + 1) - gammaln(taken + 1) - gammaln(of - taken + 1)
    chance = np.exp(ways[0] + ways[1] - ways[2])
    return min(1.0, float(chance[chance <= chance[k - j[0]] * (1.0 + _TIE)].sum()))
