"""Signs of eigenvalues: coin tosses are no evidence, shared signs speak against, rigid ones for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edt.studies.signs.page import findings, spread_text
from edt.studies.signs.panels import signs
from edt.studies.signs.run import coin_table, levelled

P, ALPHA = 12, 0.15


def points(rule, seed=0, teachers=4, each=60):
    """Critical points whose index is drawn by ``rule`` whatever their loss."""
    draw = np.random.Generator(np.random.Philox(seed))
    count = teachers * each
    return levelled(
        pd.DataFrame(
            {
                "target": np.repeat(np.arange(teachers), each), "width": 3,
                "loss": draw.uniform(0.1, 1.0, count), "index": rule(draw, count),
                "coords": P + 1, "n_zero": 1,
            }
        ),
        3,
    )  # fmt: skip


def coins(draw, count):
    return draw.binomial(P, ALPHA, count)


def shared(draw, count):
    """All signs are thrown together: many minima, though the share of negative ones is the same."""
    return np.where(draw.random(count) < 2 * ALPHA, P // 2, 0)


def rigid(draw, count):
    """As many negative eigenvalues at every point: no minima at all."""
    return np.full(count, round(P * ALPHA))


def words(rule, seed=0):
    found = findings(coin_table(points(rule, seed), draws=200, seed=seed))
    assert {finding.claim for finding in found} == {"d"}
    return [finding.speaks for finding in found]


def test_coin_tosses_are_no_evidence():
    """Both tails at 2.5%: of 20 data sets at most four may speak (99.7% of the time)."""
    spoken = sum(words(coins, seed) != ["silent"] for seed in range(20))
    assert spoken <= 4


def test_shared_signs_speak_against_and_rigid_ones_for():
    assert words(shared) == ["against"]
    assert words(rigid) == ["for"]


def test_the_table_counts():
    table = coin_table(points(rigid), draws=50)
    whole = table[table["level"] == -1].iloc[0]
    assert (whole["points"], whole["minima"], whole["teachers"]) == (240, 0, 4)
    assert whole["coins"] == pytest.approx((1 - 2 / P) ** P)
    assert whole["dispersion"] == 0.0 < whole["null_low"]
    assert table[table["level"] >= 0]["points"].sum() == 240


def test_the_page_says_how_far_the_index_spreads():
    assert "0 (narrower" in spread_text(coin_table(points(rigid), draws=50))
    assert "(wider" in spread_text(coin_table(points(shared), draws=50))
    assert [len(panel.traces) for panel in signs(coin_table(points(coins), draws=50))] == [2, 3]


def test_dispersion_of_coins_is_one():
    whole = coin_table(points(coins, each=200), draws=200).query("level == -1").iloc[0]
    assert whole["null_low"] <= whole["dispersion"] <= whole["null_high"]
    assert whole["dispersion"] == pytest.approx(1.0, abs=0.2)  # 800 points: 5% standard deviation
    assert coin_table(points(shared), draws=50).query("level == -1")["dispersion"].iloc[0] > 2.0
