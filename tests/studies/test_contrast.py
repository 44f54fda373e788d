"""Outcomes against width in several settings: rates are counts, intervals cover, and a rate that
does not change with width is no evidence for claim d in any of the three studies that use it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edt.studies.common.contrast import (
    _change,
    contrast_table,
    findings,
    outcome_panels,
    outcome_rates,
)


def runs(narrow, wide, seed=0, targets=6, each=20, spread=0.0):
    """Bad with a chance of its own at both widths; targets differ by ``spread``."""
    draw = np.random.Generator(np.random.Philox(seed))
    rows = []
    for t in range(targets):
        shift = spread * draw.uniform(-1, 1)
        for width, rate in ((2, narrow), (8, wide)):
            bad = draw.random(each) < np.clip(rate + shift, 0, 1)
            rows += [
                {"setting": "one", "target": t, "width": width, "parameters": 4 * width,
                 "outcome": "bad" if lost else "good"}
                for lost in bad
            ]  # fmt: skip
    return pd.DataFrame(rows)


def words(*args, **options):
    table = contrast_table(runs(*args, **options), "setting")
    return [found.speaks for found in findings(table, "setting", {"one": "one"})]


def test_a_rate_that_does_not_change_is_no_evidence():
    """5% two-sided over targets that differ: of 20 data sets at most four may speak (99.7%)."""
    spoken = [words(0.5, 0.5, seed=seed, spread=0.2) for seed in range(20)]
    assert sum(said != ["silent"] for said in spoken) <= 4


def test_changes_speak_both_ways():
    assert words(0.9, 0.1) == ["for"]
    assert words(0.1, 0.9) == ["against"]
    assert words(1.0, 0.0) == ["for"]  # to the last run in every target
    assert words(0.9, 0.1, targets=1) == ["for"]
    assert words(0.5, 0.4, targets=2, each=4) == ["silent"]


@pytest.mark.parametrize("targets", [3, 6])
def test_changes_cover(targets):
    """95% intervals of the change of a rate hold the truth in 90 to 99% of 300 data sets."""
    draw = np.random.Generator(np.random.Philox(targets))
    shift = 0.2 * draw.uniform(-1, 1, size=(300, targets))
    wins = [draw.binomial(20, rate + shift) for rate in (0.6, 0.3)]
    inside = 0
    for first, last in zip(*wins, strict=True):
        ends = [pd.DataFrame({"sum": row, "size": 20}) for row in (first, last)]
        found = _change(*ends, 0.95)
        inside += found.low <= -0.3 <= found.high
    # The term for targets that agree makes three of them a little wide.
    assert 0.90 * 300 <= inside <= (300 if targets == 3 else 0.995 * 300)


def test_rates_are_counts():
    data = runs(0.6, 0.3)
    table = outcome_rates(data, "setting")
    assert table["width"].tolist() == [2, 8] and table["targets"].tolist() == [6, 6]
    for row in table.to_dict("records"):
        own = data[data["width"] == row["width"]]
        assert row["bad"] == pytest.approx((own["outcome"] == "bad").mean())
        assert row["bad_low"] <= row["bad"] <= row["bad_high"]
        assert row["parameters"] == 4 * row["width"]
    panels = outcome_panels(table, "setting", {"one": "one"})
    assert [panel.title for panel in panels] == ["Runs that are good", "Certified bad minima"]
