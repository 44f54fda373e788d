"""Simulated data: do intervals cover as often as they say, is the true model found?"""

from __future__ import annotations

import numpy as np
import pytest

from edt.success import (
    MODELS,
    Counts,
    bootstrap_interval,
    compare,
    fit,
    profile_interval,
    selection,
)
from edt.success.fit import Fit
from edt.success.many import maxima

#: Simulated data sets a model: the share covered has a standard deviation of 2.2% at 95%.
SETS = 100


def world(runs):
    """Two groups (teachers) whose bad minima open 1.0 and 2.5 escape dimensions a neuron."""
    widths = np.array([4, 5, 6, 8, 10, 12])
    group = np.repeat([0, 1], widths.size)
    width = np.tile(widths, 2)
    dims = np.where(group == 0, 1.0, 2.5) * (width - 4)
    blank = np.zeros(width.size, dtype=np.int64)
    return Counts(group, width, blank, np.full(width.size, runs), 4, {"escape": dims})


#: Intercepts and the shared parameter (as searched: ln kappa) of each model's world.
TRUTH = {
    "disjoint": [-1.6, -0.9],
    "windows": [-2.0, -1.3],
    "subsets": [-4.5, -3.5],
    "subsets^a": [-1.7, -1.2, 0.4],
    "power": [-1.7, -1.0, 1.7],
    "geometric": [-1.7, -1.0, np.log(0.25)],
    "escape": [-1.7, -1.0, np.log(0.12)],
    "log-logistic": [0.5, 1.2, 2.6],
    "logistic": [0.5, 1.2, 0.45],
}


def simulated(name, runs, sets, seed=7):
    """The model's own probabilities, and ``sets`` data sets drawn from them."""
    blank = world(runs)
    truth = Fit(MODELS[name], blank, np.array(TRUTH[name]), 0.0, 0)
    generator = np.random.Generator(np.random.Philox(seed))
    draws = generator.binomial(blank.runs, truth.success(), (sets, blank.cells))
    return truth, [blank.with_wins(wins.astype(np.int64)) for wins in draws]


@pytest.mark.parametrize("name", ["power", "escape", "log-logistic"])
def test_profile_intervals_cover(name):
    """95% intervals cover in 95% of data sets, give or take three standard deviations (6.5%)."""
    truth, sets = simulated(name, 200, SETS)
    ((parameter, value),) = truth.shared.items()
    covered = 0
    for data in sets:
        found = profile_interval(fit(MODELS[name], data), parameter)
        covered += found.low <= value <= found.high
    assert 0.95 - 0.065 <= covered / SETS <= 1.0


def test_bootstrap_intervals_cover_and_agree_with_the_profile():
    """30 sets: three standard deviations are 12%; ends agree to a third of the length (200 draws
    leave about a tenth of noise in each quantile)."""
    truth, sets = simulated("power", 200, 30)
    covered = 0
    for data in sets:
        found = bootstrap_interval(fit(MODELS["power"], data), "a", draws=60)
        covered += found.low <= truth.shared["a"] <= found.high
    assert covered / 30 >= 0.95 - 0.12
    fitted = fit(MODELS["power"], sets[0])
    profile, again = profile_interval(fitted, "a"), bootstrap_interval(fitted, "a")
    length = profile.high - profile.low
    assert abs(profile.low - again.low) < length / 3 and abs(profile.high - again.high) < length / 3


@pytest.mark.parametrize("name", TRUTH)
def test_the_true_model_is_found(name):
    """With 2,000 runs a cell the truth, or its own power, has the least AIC in 9 of 10 sets.

    AIC prefers a model with one needless parameter in 16% of cases, hence the power counts.
    """
    accepted = {name, f"{name}^a"}
    found = [_best(data) for data in simulated(name, 2000, 20)[1]]
    assert sum(one in accepted for one in found) >= 18, found


def _best(data):
    return min(MODELS, key=lambda name: fit(MODELS[name], data).aic)


def test_likelihood_ratio_tests_have_their_size():
    """Under the smaller model p < 0.05 in about 5% of data sets (200: 3 deviations are 4.6%)."""
    rejected = 0
    for data in simulated("windows", 300, 200)[1]:
        small, large = (fit(MODELS[name], data) for name in ("windows", "windows^a"))
        rejected += 2.0 * (large.log_likelihood - small.log_likelihood) > 3.841
    assert rejected / 200 <= 0.05 + 0.046


def test_goodness_of_fit_accepts_the_truth():
    """p_fit < 0.05 in about 5% of data sets (three standard deviations: 9%, 50 sets)."""
    bad = sum(fit(MODELS["power"], data).p_fit < 0.05 for data in simulated("power", 500, 50)[1])
    assert bad / 50 <= 0.05 + 0.09


@pytest.mark.parametrize("rate", [None, 0.97, 0.02])
def test_draws_fitted_together_are_fitted_as_alone(rate):
    """The same maxima, to what Fisher scoring leaves (its gain of 1e-12 times some tens of runs);
    also at bounds, and where draws do not settle and are fitted alone."""
    data = simulated("escape", 60, 1)[1][0]
    generator = np.random.default_rng(0)
    rates = data.wins / data.runs if rate is None else rate
    wins = np.array([generator.binomial(data.runs, rates) for _ in range(6)])
    for model in MODELS.values():
        if not model.fits(data):
            continue
        start = fit(model, data).theta
        alone = [fit(model, data.with_wins(draw), start=start) for draw in wins]
        wanted = [found.log_likelihood - found.counts.constant() for found in alone]
        np.testing.assert_allclose(maxima(model, data, wins, start), wanted, rtol=0, atol=1e-9)


def test_selection_shares():
    data = simulated("escape", 2000, 1)[1][0]
    models = [MODELS[name] for name in ("escape", "logistic", "disjoint")]
    shares = selection(data, models, draws=20)
    assert shares.sum() == pytest.approx(1.0) and shares["escape"] > 0.9
    assert shares.equals(selection(data, models, draws=20))
    table = compare(data, models, draws=10).table.set_index(["model", "price"])
    assert table.loc[("escape", "free"), "selected"] > 0.9
