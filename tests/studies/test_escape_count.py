"""Neurons until good: survival of known counts; a page that is silent where width does nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edt.studies.escape_count.page import findings
from edt.studies.escape_count.run import WAYS, survival_table


def counts(rates, seed=0, teachers=6, minima=8, most=3):
    """Every neuron of a way makes a bad minimum good with the way's own chance."""
    draw = np.random.Generator(np.random.Philox(seed))
    rows = []
    for t in range(teachers):
        for s in range(minima):
            for way in WAYS:
                k = int(draw.geometric(rates[way])) if rates[way] else most + 1
                rows.append(
                    {"target": t, "width": 2 + s % 2, "seed": s, "way": way,
                     "neurons": min(k, most), "good": k <= most}
                )  # fmt: skip
    return pd.DataFrame(rows)


def words(rates, seed=0):
    return {found.speaks for found in findings(survival_table(counts(rates, seed), 3))}


@pytest.mark.parametrize("seed", range(4))
def test_neurons_that_do_no_more_than_starting_anew_are_no_evidence(seed):
    assert "for" not in words(dict.fromkeys(WAYS, 0.3), seed)


def test_neurons_that_do_nothing_speak_against_and_those_that_free_speak_for():
    assert words({"split": 0.0, "fresh": 0.0, "restart": 0.5}) == {"against"}
    assert words({"split": 0.9, "fresh": 0.9, "restart": 0.05}) == {"for"}


def test_survival_counts_minima():
    table = counts({"split": 0.5, "fresh": 0.5, "restart": 0.0})
    found = survival_table(table, 3).set_index(["width", "way", "neurons"])
    own = table[(table["way"] == "split") & (table["width"] == 2)]
    for neurons in (1, 2, 3):
        alive = ~(own["good"] & (own["neurons"] <= neurons))
        assert found.loc[(2, "split", neurons), "left"] == pytest.approx(alive.mean())
        assert found.loc[(0, "restart", neurons), "left"] == 1.0
    assert np.isnan(found.loc[(0, "restart", 1), "ahead"])
    assert found.loc[(0, "split", 3), "minima"] == 48
