"""Loss levels and outcomes of runs."""

from __future__ import annotations

import numpy as np
import pytest

from edt.landscape import OUTCOMES, loss_levels, outcomes


def test_levels_are_found_whatever_the_order():
    rng = np.random.default_rng(0)
    heights = np.array([0.0, 1e-9, 0.3, 0.30001, 7.0])
    members = rng.integers(0, 5, 200)
    # Losses at one minimum agree far better than 1e-6, relatively.
    losses = heights[members] * (1 + 1e-9 * rng.random(200))
    levels = loss_levels(losses)
    assert len(levels) == 5
    assert np.array_equal(levels.label, members)
    assert np.array_equal(levels.count, np.bincount(members))
    np.testing.assert_allclose(levels.loss, heights, rtol=1e-8)


def test_gaps():
    assert len(loss_levels([1.0, 1.0 + 1e-5])) == 2
    assert len(loss_levels([1.0, 1.0 + 1e-5], relative_gap=1e-4)) == 1
    # Single linkage: steps below the gap chain together.
    assert len(loss_levels(1.0 + 0.9e-6 * np.arange(50))) == 1
    assert len(loss_levels([1e-22, 1e-20, 1e-3])) == 3
    assert len(loss_levels([1e-22, 1e-20, 1e-3], floor=1e-15)) == 2


def test_losses_that_are_not_finite_have_no_level():
    levels = loss_levels([np.nan, 2.0, np.inf, 1.0])
    assert levels.label.tolist() == [-1, 1, -1, 0]
    empty = loss_levels([np.nan])
    assert len(empty) == 0
    assert empty.label.tolist() == [-1]


def test_bad_gaps():
    for gap in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="relative_gap must be a finite number > 0"):
            loss_levels([1.0], relative_gap=gap)
    with pytest.raises(ValueError, match="floor must be a finite number >= 0"):
        loss_levels([1.0], floor=-1.0)


def test_outcomes():
    cases = [
        (0.5, "minimum", "converged", "bad"),
        (0.5, "flat", "converged", "bad"),
        (0.5, "saddle", "converged", "saddle"),
        (0.5, "unconverged", "stalled", "unconverged"),
        (0.5, "unconverged", "max_steps", "unconverged"),
        (0.5, "unconverged", "channel", "channel"),
        (float("nan"), "unconverged", "diverged", "diverged"),
        # Low enough is good, whatever else: the loss only falls from there.
        (0.1, "unconverged", "max_steps", "good"),
        (0.0, "minimum", "converged", "good"),
    ]
    loss, verdict, status, expected = (list(column) for column in zip(*cases, strict=True))
    assert outcomes(loss, 0.1, verdict, status) == expected
    assert {*expected, "saturated", "drifting"} == set(OUTCOMES)
    thresholds = [1.0] * len(cases)
    assert outcomes(loss, thresholds, verdict, status).count("good") == len(cases) - 1
    with pytest.raises(ValueError, match="same length, got 9, 9, 8 and 9"):
        outcomes(loss, 0.1, verdict, status[:-1])


def test_outcomes_by_label():
    labelled = [
        # A certificate is believed before the status and the verdict of converge.
        (0.5, "minimum", "converged", "channel", "channel"),
        (0.5, "flat", "converged", "saturated", "saturated"),
        (0.5, "separable", "converged", "separable", "channel"),
        (0.5, "unconverged", "channel", "minimum", "bad"),
        (0.5, "unconverged", "stalled", "flat minimum", "bad"),
        (0.5, "unconverged", "max_steps", "drifting", "drifting"),
        (0.5, "minimum", "converged", "undecided", "unconverged"),
        (0.5, "minimum", "converged", "uncertified", "bad"),
        (float("nan"), "unconverged", "diverged", "undecided", "diverged"),
        (0.05, "unconverged", "channel", "channel", "good"),
    ]
    loss, verdict, status, label, words = (list(c) for c in zip(*labelled, strict=True))
    assert outcomes(loss, 0.1, verdict, status, label) == words
    with pytest.raises(ValueError, match="same length"):
        outcomes(loss, 0.1, verdict, status, label[:-1])
