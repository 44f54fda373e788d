"""The estimators keep scikit-learn's contract, and predict what their networks compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from edt import Task, ops
from edt.estimators import EnsembleClassifier, EnsembleRegressor

SMALL = {"widths": 8, "members": 2, "steps": 300, "lr": 0.02}


@parametrize_with_checks([EnsembleRegressor(**SMALL), EnsembleClassifier(**SMALL)])
def test_contract(estimator, check):
    check(estimator)


def test_regression_in_a_pipeline():
    X, y = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), EnsembleRegressor(widths=3, members=4, steps=300))
    scores = cross_val_score(model, X, y, cv=3)
    # Linear regression reaches 0.48 here; a constant 0.
    assert scores.mean() > 0.35


def test_classification():
    X, y = load_iris(return_X_y=True)
    model = EnsembleClassifier(widths=[4, 8], members=2, steps=400, lr=0.02).fit(X, y)
    assert model.networks_.B == 4
    assert model.score(X, y) > 0.95
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1.0)


def test_predictions_are_the_networks():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2)) * 5.0 + 100.0
    model = EnsembleRegressor(widths=4, members=3, steps=50).fit(X, Y)
    each = model.predict_each(X)
    assert each.shape == (3, 30, 2)
    task = Task(torch.from_numpy(X), torch.zeros(30, 2, dtype=torch.float64))
    raw = ops.predict(model.networks_, task).numpy()
    np.testing.assert_allclose(each, raw * Y.std(0) + Y.mean(0), rtol=1e-12)
    np.testing.assert_allclose(model.predict(X), each.mean(0))


def test_minima_and_seeds():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 2))
    y = np.tanh(X @ [1.0, -2.0])
    options = {"widths": 2, "members": 2, "steps": 200}
    trained = EnsembleRegressor(**options).fit(X, y)
    minima = EnsembleRegressor(**options, to_minima=True).fit(X, y)
    assert minima.score(X, y) > trained.score(X, y)
    again = EnsembleRegressor(**options).fit(X, y)
    np.testing.assert_array_equal(again.predict(X), trained.predict(X))
    other = EnsembleRegressor(**options, random_state=5).fit(X, y)
    assert np.abs(other.predict(X) - trained.predict(X)).max() > 0.0


@pytest.mark.parametrize(
    "bad, kind, says",
    [
        ({"members": 0}, ValueError, "members must be at least 1, got 0"),
        ({"members": 1.5}, TypeError, "members must be an integer, got 1.5"),
        ({"activation": "tahn"}, ValueError, "tanh"),
        ({"lr": -1.0}, ValueError, "lr"),
    ],
)
def test_bad_input(bad, kind, says):
    with pytest.raises(kind, match=says):
        EnsembleRegressor(**bad).fit(np.arange(4.0)[:, None], np.arange(4.0))
