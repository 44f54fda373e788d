"""Every interval that a page prints holds a known truth in 90 to 99% of simulated data sets.

What is printed beside these is tested where it is made: means, rates, ratios and paired differences
of clusters (tests/stats), parameters of laws of width (tests/success), changes of a rate with width
(tests/studies/test_contrast.py). The data come from scipy's and numpy's distributions.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

from edt.landscape.census_tables import census_table
from edt.studies.common.success_table import pooled_tickets, success_table
from edt.studies.common.thresholds import threshold_table
from edt.studies.escape_count.run import survival_table

SETS = 60
#: A coverage of 95% in 60 sets has a standard deviation of 2.8%.
LEAST = 0.88


def generator(seed):
    return np.random.Generator(np.random.Philox(seed))


def held(found, truth):
    return [low <= truth <= high for low, high in found]


def test_pooled_tickets():
    """The n that explains these teachers, their rates known: 2.5 for all."""
    draw, prices = generator(1), np.array([0.2, 0.35, 0.6])
    wide = 1 - (1 - prices) ** 2.5
    failures = float(np.mean(1 - wide))
    truth = brentq(lambda n: np.mean((1 - prices) ** n) - failures, 0.1, 50)
    assert truth == pytest.approx(2.5)
    found = []
    for _ in range(SETS):
        pairs = [[(int(k), 100) for k in draw.binomial(100, rate)] for rate in (wide, prices)]
        one = pooled_tickets(*pairs)
        found.append((one.low, one.high))
    assert LEAST <= np.mean(held(found, truth)) <= 0.995


def runs_of(draw, targets, each, truth=0.7, spread=12.0):
    """Runs whose targets succeed with rates of a beta distribution of mean ``truth``."""
    rates = draw.beta(truth * spread, (1 - truth) * spread, targets)
    good = draw.random((targets, each)) < rates[:, None]
    return np.repeat(np.arange(targets), each), good.reshape(-1)


@pytest.mark.parametrize("targets", [5])
def test_pooled_success_thresholds_and_censuses(targets):
    """Rates over all targets in the tables of success, of thresholds and of the census."""
    draw, success, census, loose = generator(targets), [], [], []
    for _ in range(SETS):
        target, good = runs_of(draw, targets, 40)
        runs = pd.DataFrame({"target": target, "width": 4,
                             "outcome": np.where(good, "good", "bad")})  # fmt: skip
        row = success_table(runs, 4).iloc[-1]
        assert row["targets"] == targets
        success.append((row["rate_low"], row["rate_high"]))
    for _ in range(25):
        target, good = runs_of(draw, targets, 40, 0.3)
        runs = pd.DataFrame({"target": target, "width": 4, "minimum": 0, "level": 0, "function": 0,
                             "outcome": np.where(good, "bad", "good"), "duplicates": 0, "dead": 0,
                             "constant": 0, "cancelled": 0})  # fmt: skip
        row = census_table(runs).iloc[-1]
        census.append((row["bad_share_spread_low"], row["bad_share_spread_high"]))
        loss = np.where(good, 1e-9, 1.0)
        table = threshold_table(
            pd.DataFrame({"target": target, "width": 4, "loss": loss, "threshold": 1e-8}),
            factors=(1.0,),
        )
        loose.append((table["rate_low"].iloc[0], table["rate_high"].iloc[0]))
    assert LEAST <= np.mean(held(success, 0.7)) <= 0.995
    # 25 sets: 4.4% standard deviation.
    assert np.mean(held(census, 0.3)) >= LEAST - 0.04
    assert np.mean(held(loose, 0.3)) >= LEAST - 0.04


def test_survival():
    """Bad minima that are not good after one neuron: half of them, teachers differing."""
    draw, found = generator(3), []
    for _ in range(25):
        target, good = runs_of(draw, 6, 10, 0.5)
        counts = pd.DataFrame({"target": target, "width": 3, "seed": np.tile(np.arange(10), 6),
                               "way": "split", "neurons": 1, "good": good})  # fmt: skip
        row = survival_table(counts, 1).iloc[-1]
        found.append((row["left_low"], row["left_high"]))
    assert np.mean(held(found, 0.5)) >= LEAST - 0.03
