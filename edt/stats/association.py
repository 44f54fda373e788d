"""Do two outcomes go together? Information and ranks, each beside what chance alone would give.

A plug-in estimate of mutual information is never below 0, so an interval around it says nothing of
independence. The null is made by permutation: one outcome is shuffled among the networks of each
teacher, which breaks what links the two and keeps everything else.

Reference: P. Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005, chapter 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edt.scalars import integer
from edt.stats.door import groups as labels
from edt.stats.door import numbers, same_rows, wins
from edt.stats.interval import SEED

__all__ = [
    "Tested", "auc", "auc_test", "information_test", "mutual_information", "permuted", "rank_test",
]  # fmt: skip

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tested:
    """A statistic beside its null.

    Attributes:
        value: the statistic.
        null: its mean under the null.
        limit: the null's 95% point; of both tails, the upper one.
        p: chance under the null of a statistic at least as far out (the data count as one draw).
    """

    value: float
    null: float
    limit: float
    p: float


def mutual_information(
    one: npt.ArrayLike, other: npt.ArrayLike, given: npt.ArrayLike | None = None
) -> float:
    """Mutual information of two yes-or-no outcomes, in bits, from their counts.

    ``I = sum p(a, b) log2(p(a, b) / (p(a) p(b)))``; with ``given`` the conditional information,
    ``sum_g p(g) I_g``, which leaves out what the groups explain. Plug-in estimates are biased
    upwards by about ``1 / (2 n ln 2)`` bits a group: see `information_test`.

    Args:
        one, other: bool ``[n]``.
        given: ``[n]``, labels of groups; default one group.

    Raises:
        TypeError: more than plain outcomes. ValueError: one that is neither yes nor no, a missing
            label, lengths or indices that differ.

    Example:
        >>> mutual_information([True, True, False, False], [True, True, False, False])
        1.0

    Reference: T. Cover, J. Thomas, "Elements of Information Theory", 2006, chapter 2.
    """
    return _information(*_outcomes(one, other, given))


def _outcomes(
    one: npt.ArrayLike, other: npt.ArrayLike, given: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.generic]]:
    """Two outcomes and the groups, checked."""
    same_rows(one=one, other=other, given=given)
    a, b = wins("one", one), wins("other", other)
    if a.shape != b.shape:
        raise ValueError(f"one and other must be of one length, got {a.size} and {b.size}")
    return a, b, labels("given", given, a.size)


def _information(
    a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_], group: npt.NDArray[np.generic]
) -> float:
    """`mutual_information` of what has been checked."""
    total = 0.0
    for g in np.unique(group):
        own = group == g
        joint = np.array(
            [[np.mean(a[own] & b[own]), np.mean(a[own] & ~b[own])],
             [np.mean(~a[own] & b[own]), np.mean(~a[own] & ~b[own])]]
        )  # fmt: skip
        product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        cells = joint > 0
        total += float(np.mean(own)) * float(
            np.sum(joint[cells] * np.log2(joint[cells] / product[cells]))
        )
    return max(total, 0.0)


def information_test(
    one: npt.ArrayLike,
    other: npt.ArrayLike,
    given: npt.ArrayLike | None = None,
    draws: int = 1000,
    seed: int = SEED,
) -> Tested:
    """Mutual information against its permutation null within groups.

    Args:
        one, other, given: as in `mutual_information`.
        draws: permutations; seed: of them.

    Returns:
        `Tested`, one-sided: only more information than by chance speaks against independence.

    Example:
        >>> information_test([True, False] * 20, [True, False] * 20).p < 0.01
        True
    """
    a, b, group = _outcomes(one, other, given)
    return permuted(lambda x: _information(x.astype(bool), b, group), a, group, draws, seed)


def permuted(
    statistic: Callable[[npt.NDArray[np.generic]], float],
    values: npt.NDArray[np.generic],
    groups: npt.ArrayLike,
    draws: int = 1000,
    seed: int = SEED,
    *,
    centre: float | None = None,
) -> Tested:
    """A statistic of values against its null when the values are shuffled within groups.

    Args:
        statistic: of values ``[n]``.
        values: ``[n]``; groups: ``[n]``.
        draws: permutations, at least 1; seed: of them.
        centre: two-sided around this value; default one-sided, large is far out.

    Raises:
        ValueError: no permutation asked for.
    """
    draws = integer("draws", draws)
    group = labels("groups", groups, len(values))
    places = [np.flatnonzero(group == g) for g in np.unique(group)]
    generator = np.random.Generator(np.random.Philox(seed))
    null = np.empty(draws)
    for k in range(draws):
        shuffled = values.copy()
        for place in places:
            shuffled[place] = values[generator.permutation(place)]
        null[k] = statistic(shuffled)
    value = float(statistic(values))
    far = null if centre is None else np.abs(null - centre)
    here = value if centre is None else abs(value - centre)
    # Equal statistics differ by the order of their sums.
    p = (1.0 + float((far >= here - 1e-12).sum())) / (draws + 1.0)
    limit = float(np.quantile(null, 0.95 if centre is None else 0.975))
    return Tested(value, float(null.mean()), limit, p)


def rank_test(
    one: Floats, other: Floats, groups: npt.ArrayLike, draws: int = 1000, seed: int = SEED
) -> Tested:
    """Spearman's correlation within groups, weighted by their sizes, against its permutation null.

    A group in which nothing varies counts as 0.

    Args:
        one, other: float ``[n]``, ties allowed.
        groups: ``[n]``; draws, seed: as in `permuted`.

    Returns:
        `Tested`, two-sided.

    Example:
        >>> round(rank_test(np.arange(9.0), np.arange(9.0) ** 3, np.zeros(9)).value, 12)
        1.0
    """
    group = labels("groups", groups, len(one))
    ranks = np.empty((2, len(one)))
    scale = np.zeros(len(one))
    for g in np.unique(group):
        own = group == g
        # Ranks move with the values: the null needs them once.
        for k, values in enumerate((one, other)):
            _, place, ties = np.unique(values[own], return_inverse=True, return_counts=True)
            rank = (np.cumsum(ties) - 0.5 * (ties - 1))[place]
            ranks[k, own] = rank - rank.mean()
        size = float(np.sqrt((ranks[0, own] ** 2).sum() * (ranks[1, own] ** 2).sum()))
        scale[own] = own.sum() / size if size > 0.0 else 0.0
    weighted = ranks[1] * scale / len(one)
    return permuted(lambda rank: float(rank @ weighted), ranks[0], group, draws, seed, centre=0.0)


def auc(score: npt.ArrayLike, won: npt.ArrayLike, given: npt.ArrayLike | None = None) -> float:
    """Chance that a network that wins has a higher score than one that loses, ties for half.

    Only pairs within one group are compared, all pairs alike: ``1/2`` where the score says nothing.

    Args:
        score: float ``[n]``; won: bool ``[n]``.
        given: ``[n]``, labels of groups; default one.

    Returns:
        in 0..1; NaN without a pair.

    Raises:
        TypeError: more than plain numbers. ValueError: NaN, which is neither above nor below, an
            outcome that is neither yes nor no, lengths or indices that differ.

    Example:
        >>> auc([1.0, 2.0, 3.0, 0.0], [False, True, True, False])
        1.0

    Reference: J. Hanley, B. McNeil, Radiology 143 (1982) 29.
    """
    return _pairs_won(*_scores(score, won, given))


def _scores(
    score: npt.ArrayLike, won: npt.ArrayLike, given: npt.ArrayLike | None
) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.generic]]:
    """Scores, outcomes and groups, checked."""
    same_rows(score=score, won=won, given=given)
    values, outcome = numbers("score", score), wins("won", won)
    if values.shape != outcome.shape:
        raise ValueError(
            f"score and won must be of one length, got {list(values.shape)} and {outcome.size}"
        )
    return values, outcome, labels("given", given, outcome.size)


def _pairs_won(
    values: Floats, outcome: npt.NDArray[np.bool_], group: npt.NDArray[np.generic]
) -> float:
    """`auc` of what has been checked."""
    better = pairs = 0.0
    for g in np.unique(group):
        high, low = values[(group == g) & outcome], values[(group == g) & ~outcome]
        above, below = high[:, None], low[None, :]  # no difference: inf - inf is NaN
        better += float((above > below).sum()) + 0.5 * float((above == below).sum())
        pairs += high.size * low.size
    return better / pairs if pairs else math.nan


def auc_test(
    score: npt.ArrayLike,
    won: npt.ArrayLike,
    given: npt.ArrayLike | None = None,
    draws: int = 1000,
    seed: int = SEED,
) -> Tested:
    """`auc` against 1/2, two-sided, by permuting the wins within groups.

    Args:
        score, won, given: as in `auc`.
        draws: permutations; seed: of them.

    Returns:
        `Tested`; the null is 1/2 by construction, ``limit`` the upper end of its middle 95%. NaN,
        with p = 1, without a pair.
    """
    values, outcome, group = _scores(score, won, given)
    if math.isnan(_pairs_won(values, outcome, group)):
        return Tested(math.nan, 0.5, math.nan, 1.0)
    return permuted(
        lambda w: _pairs_won(values, w.astype(bool), group), outcome, group, draws, seed, centre=0.5
    )
