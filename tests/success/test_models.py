"""Models of success against width: fits against closed forms, derivatives, bounds, refusals."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from edt.stats import effective_tickets
from edt.success import MODELS, Counts, compare, fit, narrow_price, regression
from edt.success.fit import _negative

WIDTHS = np.array([2, 3, 4, 6, 8, 10])


def counts(wins, runs=1000, groups=1, escape=None):
    """One cell a width and group; ``wins`` covers all of them."""
    width = np.tile(WIDTHS, groups)
    dims = np.tile(2.0 * (WIDTHS - 2), groups) if escape is None else np.asarray(escape, float)
    return Counts(
        np.repeat(np.arange(groups), WIDTHS.size), width, np.asarray(wins),
        np.full(width.size, runs), 2, {"escape": dims},
    )  # fmt: skip


XOR = counts([198, 417, 621, 831, 916, 962])


@pytest.mark.parametrize("name", MODELS)
def test_derivatives(name):
    """Against central differences; 1e-5 is their error at a step of 1e-5 times the curvature."""
    model = MODELS[name]
    data = counts([198, 417, 621, 831, 916, 962, 40, 120, 260, 500, 610, 800], groups=2)
    shared = [-2.0 if entry.log else 0.4 for entry in model.shared]
    theta = np.concatenate([[-1.3, -2.0], shared])
    slope = _negative(model, theta, data)[1]
    for place in range(theta.size):
        step = np.zeros_like(theta)
        step[place] = 1e-5
        rise = _negative(model, theta + step, data)[0] - _negative(model, theta - step, data)[0]
        assert slope[place] == pytest.approx(rise / 2e-5, rel=1e-5, abs=1e-5 * 1000)


@pytest.mark.parametrize("name", MODELS)
def test_fit_is_the_maximum(name):
    """No neighbour is likelier, and the score vanishes (1e-6 per run: rounding of the sum)."""
    found = fit(MODELS[name], XOR)
    assert np.abs(_negative(found.model, found.theta, XOR)[1]).max() < 1e-6 * 6000
    top = -_negative(found.model, found.theta, XOR)[0]
    for place in range(found.theta.size):
        for side in (-1e-3, 1e-3):
            theta = found.theta.copy()
            theta[place] += side
            assert -_negative(found.model, theta, XOR)[0] < top
    assert found.deviance >= 0.0


def test_two_cells_in_closed_form():
    """Two widths determine p and a: the fit is exact, a = ln n_eff / ln n (Newton: 1e-8)."""
    data = Counts(np.zeros(2, int), np.array([2, 8]), np.array([198, 916]), np.full(2, 1000), 2)
    found = fit(MODELS["power"], data)
    tickets = effective_tickets(916, 1000, 198, 1000).value
    assert found.shared["a"] == pytest.approx(math.log(tickets) / math.log(4.0), rel=1e-7)
    assert found.success() == pytest.approx([0.198, 0.916], rel=1e-8)
    assert found.deviance == pytest.approx(0.0, abs=1e-9)


def test_constant_and_logistic_agree_with_textbook():
    """The constant's rate is the pooled one; an empty regression is the same model."""
    pooled = XOR.wins.sum() / XOR.runs.sum()
    assert fit(MODELS["constant"], XOR).success() == pytest.approx(np.full(6, pooled))
    empty = fit(regression("none", "", ()), XOR)
    assert empty.log_likelihood == pytest.approx(fit(MODELS["constant"], XOR).log_likelihood)


def test_groups_keep_their_price():
    """Without shared parameters groups are fitted apart (1e-7: 1e-6 standard errors)."""
    wins = [198, 417, 621, 831, 916, 962, 40, 120, 260, 500, 610, 800]
    both = fit(MODELS["windows"], counts(wins, groups=2))
    alone = [fit(MODELS["windows"], counts(part)) for part in (wins[:6], wins[6:])]
    assert both.theta == pytest.approx([part.theta[0] for part in alone], rel=1e-7)
    assert both.log_likelihood == pytest.approx(sum(part.log_likelihood for part in alone))
    assert both.parameters == 2


def test_narrow_price_predicts_without_looking():
    found = narrow_price(MODELS["disjoint"], XOR)
    expected = [1 - (1 - 0.198) ** (m // 2) for m in WIDTHS]
    assert found.success() == pytest.approx(expected)
    assert found.log_likelihood < fit(MODELS["disjoint"], XOR).log_likelihood
    with pytest.raises(ValueError, match="no lottery"):
        narrow_price(MODELS["power"], XOR)


@pytest.mark.parametrize(
    "wins", [[0] * 6, [1000] * 6, [0, 1000, 1000, 1000, 1000, 1000], [0, 0, 0, 0, 0, 1000]]
)
def test_extreme_counts_stay_finite(wins):
    table = compare(counts(wins)).table
    free = table[table["price"] == "free"]
    assert np.isfinite(free[["log_likelihood", "aic", "delta_aic", "weight"]]).all(axis=None)
    assert free["weight"].sum() == pytest.approx(1.0)
    assert not table["log_likelihood"].isna().any()


def test_table_and_tests():
    found = compare(XOR)
    table = found.table.set_index(["model", "price"])
    assert found.best.model.name == "log-logistic"
    row = table.loc[("power", "free")]
    assert row["low"] < row["value"] < row["high"] and row["parameter"] == "a"
    assert row["aic"] == pytest.approx(2 * 2 - 2 * row["log_likelihood"])
    assert row["aicc"] == pytest.approx(row["aic"] + 2 * 2 * 3 / 3)
    assert math.isnan(table.loc[("disjoint", "narrow"), "weight"])
    test = found.tests.set_index(["small", "large"]).loc[("disjoint", "disjoint^a")]
    gain = table.loc[("disjoint^a", "free"), "log_likelihood"] - table.loc[
        ("disjoint", "free"), "log_likelihood"]  # fmt: skip
    assert test["statistic"] == pytest.approx(2 * gain)


def test_from_a_table():
    table = pd.DataFrame(
        {"target": [5, 5, 9, 9], "width": [1, 4, 4, 8], "good": [0, 3, 4, 9], "runs": 10,
         "escape": [0.0, 0.0, 0.0, 4.0]}
    )  # fmt: skip
    data = Counts.of(table, 4, covariates=("escape",))
    assert data.group.tolist() == [0, 1, 1] and data.wins.tolist() == [3, 4, 9]
    assert data.groups == 2 and data.cells == 3
    with pytest.raises(ValueError, match="lacks"):
        Counts.of(table, 4, covariates=("dims",))
    with pytest.raises(ValueError, match="reference width"):
        Counts.of(table, 9)
    with pytest.raises(ValueError, match="0 <= good"):
        Counts.of(table.assign(good=11), 4)
    with pytest.raises(ValueError, match="not finite"):
        Counts.of(table.assign(escape=np.nan), 4, covariates=("escape",))
    with pytest.raises(ValueError, match="two widths"):
        compare(Counts.of(table[table["width"] == 4], 4))
    with pytest.raises(ValueError, match="covariate"):
        fit(MODELS["escape"], Counts.of(table, 4))
