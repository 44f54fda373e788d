"""Arrays of every kind at the door of every statistic: at their meaning, or refused."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from edt import stats

YES = np.array([True, False, True, True, False, False])
NUMBERS = np.array([0.5, 0.25, 0.75, 1.0, 0.0, 0.125])
COUNTS = np.array([5, 3, 1, 1, 2, 0])
TEAM = np.array([0, 0, 0, 1, 1, 1])
#: For each statistic and each of its arrays: a call with that one, and one that it takes.
CALLS = {
    "mutual_information one": (lambda a: stats.mutual_information(a, YES[::-1], TEAM), YES),
    "mutual_information other": (lambda a: stats.mutual_information(YES[::-1], a, TEAM), YES),
    "mutual_information given": (lambda a: stats.mutual_information(YES, YES[::-1], a), TEAM),
    "information_test one": (lambda a: stats.information_test(a, YES[::-1], TEAM, 9), YES),
    "information_test given": (lambda a: stats.information_test(YES, YES[::-1], a, 9), TEAM),
    "permuted groups": (lambda a: stats.permuted(np.mean, NUMBERS, a, 9), TEAM),
    "auc score": (lambda a: stats.auc(a, YES), NUMBERS),
    "auc won": (lambda a: stats.auc(NUMBERS, a), YES),
    "auc_test score": (lambda a: stats.auc_test(a, YES, TEAM, 9), NUMBERS),
    "mean_interval values": (stats.mean_interval, NUMBERS),
    "cluster_rate wins": (lambda a: stats.cluster_rate(a, np.full(6, 7)), COUNTS),
    "cluster_rate runs": (lambda a: stats.cluster_rate(np.zeros(6), a), COUNTS + 1),
    "paired_interval differences": (lambda a: stats.paired_interval(a, TEAM), NUMBERS),
    "paired_interval clusters": (lambda a: stats.paired_interval(NUMBERS, a), TEAM),
    "ratio_interval sums": (lambda a: stats.ratio_interval(a, COUNTS), NUMBERS),
    "variance_components tables": (
        lambda a: stats.variance_components(a.reshape(2, 3), 9), NUMBERS,
    ),
    "expected_losers rates": (lambda a: stats.expected_losers(a, 3), NUMBERS),
    "good_turing counts": (stats.good_turing, COUNTS),
    "chao1 counts": (stats.chao1, COUNTS),
}  # fmt: skip
each = pytest.mark.parametrize("name", CALLS)


@each
def test_plain_arrays_of_every_library_give_the_same(name):
    call, good = CALLS[name]
    wanted = repr(call(good))
    assert repr(call(torch.from_numpy(good.copy()))) == wanted
    if name != "variance_components tables":
        assert repr(call(good.tolist())) == wanted
        assert repr(call(pd.Series(good, index=list("fedcba")))) == wanted


@each
def test_what_means_more_than_its_numbers_is_refused(name):
    call, good = CALLS[name]
    masked = np.ma.masked_array(good, mask=[True, *[False] * 5])
    with pytest.raises(TypeError, match=name.split()[1] + " must hold plain numbers.*masked"):
        call(masked)
    assert repr(call(np.ma.masked_array(good))) == repr(call(good))  # nothing is masked
    if name != "variance_components tables":
        for other in (
            scipy.sparse.csr_matrix(good[None]),
            torch.from_numpy(good * 1.0).to_sparse(),
        ):
            with pytest.raises(TypeError, match=name.split()[1] + " must hold plain numbers"):
                call(other)
    with pytest.raises(TypeError, match="complex"):
        call(good + 0j)
    with pytest.raises(TypeError, match="gradients"):
        call(torch.from_numpy(good * 1.0).requires_grad_())


@each
def test_what_is_missing_is_no_outcome(name):
    call, good = CALLS[name]
    with pytest.raises((TypeError, ValueError), match=name.split()[1]):
        call(np.where(np.arange(6) == 2, np.nan, good))
    if name != "variance_components tables":
        with pytest.raises((TypeError, ValueError), match=name.split()[1]):
            call([None, *good[1:].tolist()])
        with pytest.raises((TypeError, ValueError), match=name.split()[1]):
            call(pd.array([pd.NA, *good[1:].tolist()]))


def test_columns_are_paired_by_their_index_or_not_at_all():
    """Python's ``auc(table.sort_values("loss")["score"], table["won"])`` compared strangers."""
    score = pd.Series(NUMBERS).sort_values()
    won = pd.Series(YES)
    with pytest.raises(ValueError, match="score and won must have the same index"):
        stats.auc(score, won)
    assert stats.auc(score, won.reindex(score.index)) == stats.auc(NUMBERS, YES)
    with pytest.raises(ValueError, match="wins and runs must have the same index"):
        stats.cluster_rate(pd.Series([1, 2], index=["a", "b"]), pd.Series([3, 3], index=["b", "a"]))
    with pytest.raises(ValueError, match="one and given must have the same index"):
        stats.mutual_information(won, YES, pd.Series(TEAM, index=TEAM))


def test_outcomes_are_yes_or_no():
    assert stats.mutual_information([1, 1, 0, 0], [1.0, 1.0, 0.0, 0.0]) == 1.0
    for wrong in ([2, 1, 0, 0], [0.5, 1, 0, 0]):
        with pytest.raises(ValueError, match="one must hold yes or no"):
            stats.mutual_information(wrong, [1, 1, 0, 0])
    with pytest.raises(TypeError, match="one must hold numbers, got dtype <U3"):
        stats.mutual_information(["yes", "no"], [1, 0])


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="one and other must be of one length, got 6 and 5"):
        stats.mutual_information(YES, YES[:5])
    with pytest.raises(ValueError, match="score and won must be of one length"):
        stats.auc(NUMBERS, YES[:5])
    with pytest.raises(ValueError, match=r"given must have a label a row, \[6\]"):
        stats.auc(NUMBERS, YES, TEAM[:5])


def test_infinite_scores_are_ranked():
    """Diverged networks score infinity: they tie with each other, above all that is finite."""
    assert stats.auc([math.inf, math.inf, 1.0], [True, False, False]) == 0.75
    assert stats.auc([-math.inf, 0.0], [True, False]) == 0.0


def test_rows_may_be_missing_where_the_statistic_says_so():
    found = stats.jackknife([0.1, math.nan, 0.3, 0.2], np.nanmean)
    assert found.value == pytest.approx(0.2) and found.low < 0.2
