"""Figures of the escape study where no count of some neurons is beyond doubt."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from matplotlib.figure import Figure

from edt.show.landscape import _dimensions as drawn
from edt.show.landscape import mean_dimensions
from edt.show.style import LIGHT, styled
from edt.studies.escape.panels import _dimensions as panel


@pytest.fixture
def points() -> pd.DataFrame:
    """Two minima; with two neurons more no index is sure."""
    return pd.DataFrame(
        {
            "shares": ["equal"] * 4, "added": [1, 1, 2, 2], "source": [0, 1, 0, 1],
            "n_neg": [1, 2, 3, 4], "predicted_neg": [1, 2, 3, 4],
            "clear": [True, True, False, False],
        }
    )  # fmt: skip


def test_counts_in_doubt_leave_a_gap(points: pd.DataFrame) -> None:
    means = mean_dimensions(points)
    assert means["minima"].tolist() == [2, 0]
    assert means["value"].iloc[0] == 1.5 and means["value"].iloc[1:].isna().all()
    assert "2 of 2" in panel(points).title


@pytest.mark.parametrize("sure", [True, False])
def test_it_draws_with_and_without_any(points: pd.DataFrame, sure: bool) -> None:
    points["clear"] &= sure
    with styled(LIGHT):
        axes = Figure().subplots()
        drawn(axes, points, LIGHT)
        assert axes.get_ylim()[1] > 0
    json.dumps(panel(points).spec())
