"""Figures of the escape study: counts in doubt, runs that never left."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from edt.show.landscape import escape_panels, mean_dimensions
from edt.show.render import draw
from edt.show.words import interval


@pytest.fixture
def run() -> SimpleNamespace:
    """Two minima; with two neurons more no index is sure; one run of three never left."""
    points = pd.DataFrame(
        {
            "shares": ["equal"] * 4, "added": [1, 1, 2, 2], "source": [0, 1, 0, 1],
            "n_neg": [1, 2, 3, 4], "predicted_neg": [1, 2, 3, 4],
            "clear": [True, True, False, False],
        }
    )  # fmt: skip
    starts = pd.DataFrame(
        {
            "point": [0, 0, 1], "added": 1, "shares": "equal", "kind": "negative", "width": 4,
            "destination": ["good", "same", "lower"], "escape_steps": [20.0, np.nan, 300.0],
            "linear_steps": [18.0, 900.0, 280.0], "eigenvalue": -0.1, "descent_status": "budget",
        }
    )  # fmt: skip
    return SimpleNamespace(points=points, starts=starts, spec=SimpleNamespace(descent_steps=1000))


def test_counts_in_doubt_leave_a_gap(run) -> None:
    means = mean_dimensions(run.points)
    assert means["minima"].tolist() == [2, 0]
    assert means["value"].iloc[0] == 1.5 and means["value"].iloc[1:].isna().all()
    assert "2 of 2" in escape_panels(run)[0].title


@pytest.mark.parametrize("sure", [True, False])
def test_it_draws_with_and_without_any(run, sure: bool) -> None:
    run.points["clear"] &= sure
    found = escape_panels(run)
    assert len(found) == (3 if sure else 1)
    assert len(draw(found).axes) == len(found)
    json.dumps([panel.spec() for panel in found])


def test_runs_that_never_left_stand_open_at_the_budget(run) -> None:
    """Left out, they would make escapes look quicker than they are."""
    times = escape_panels(run)[1]
    left, censored = times.traces[:2]
    assert left["y"] == [20.0, 300.0] and censored["x"] == [900.0] and censored["y"] == [1000.0]
    assert censored["marker"]["symbol"].endswith("-open")
    assert "not gone in 1,000 steps" in censored["name"]
    assert [note["text"] for note in times.more["annotations"]] == ["budget: 1,000 steps"]
    assert times.more["shapes"][0]["y0"] == 1000.0


def test_a_number_without_an_interval_is_still_a_number() -> None:
    assert interval(2.5, float("nan"), float("nan")) == "2.5"
    assert interval(float("nan"), float("nan"), float("nan")) == "–"
