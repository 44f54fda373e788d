"""The estimators keep scikit-learn's contract, and predict what their networks compute."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from edt import Task, functional
from edt.estimators import EnsembleClassifier, EnsembleRegressor
from edt.training import masked_train

SMALL = {"widths": 8, "members": 2, "steps": 300, "lr": 0.02}


@parametrize_with_checks(
    [
        EnsembleRegressor(),
        EnsembleClassifier(),
        EnsembleRegressor(**SMALL, batch_size=7),
        EnsembleClassifier(**SMALL, batch_size=7),
    ]
)
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
    raw = functional.predict(model.networks_, task).numpy()
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
        ({"members": 0}, ValueError, "members must be >= 1, got 0"),
        ({"members": 1.5}, TypeError, "members must be an integer >= 1, got 1.5"),
        ({"activation": "tahn"}, ValueError, "tanh"),
        ({"lr": -1.0}, ValueError, "lr"),
        ({"batch_size": "auto"}, TypeError, r"batch_size \(None: all samples\).*got 'auto'"),
        ({"batch_size": 2.5}, TypeError, "must be an integer >= 1, got 2.5"),
        ({"batch_size": True}, TypeError, "must be an integer >= 1, got True"),
        ({"batch_size": 0}, ValueError, "batch_size .None: all samples. must be >= 1, got 0"),
    ],
)
def test_bad_input(bad, kind, says):
    with pytest.raises(kind, match=says):
        EnsembleRegressor(**bad).fit(np.arange(4.0)[:, None], np.arange(4.0))


@pytest.mark.parametrize(
    ("widths", "layers", "networks"),
    [(5, [5], 1), ((4, 3), [4, 3], 1), ([4, 3], [4], 2), ([(4, 3), (2, 2)], [4, 3], 2)],
)
def test_a_tuple_is_one_architecture(widths, layers, networks):
    X = np.linspace(-1.0, 1.0, 20)[:, None]
    model = EnsembleRegressor(widths=widths, members=2, steps=5).fit(X, X[:, 0])
    assert 2 * networks == model.networks_.B
    assert model.networks_.layer_widths[0, 1:-1].tolist() == layers


def lose(monkeypatch, which):
    """Training after which the parameters of some networks are what divergence leaves."""

    def train(*args, **options):
        result = masked_train(*args, **options)
        theta = result.networks.theta.clone()
        for b in which:
            theta[result.networks.offsets[b]] = float("nan")
        result.networks = result.networks.with_theta(theta)
        return result

    monkeypatch.setattr("edt.estimators.masked_train", train)


@pytest.mark.parametrize("kind", [EnsembleRegressor, EnsembleClassifier])
@pytest.mark.parametrize("to_minima", [False, True])
def test_diverged_networks_have_no_say(kind, to_minima, monkeypatch):
    X = np.random.default_rng(2).standard_normal((30, 2))
    y = (X[:, 0] > 0).astype(float)
    options = {"widths": 2, "steps": 20, "to_minima": to_minima}
    whole = kind(members=4, **options).fit(X, y)
    assert not whole.diverged_.any()
    lose(monkeypatch, [0, 2])
    with pytest.warns(ConvergenceWarning, match="2 of 4 networks diverged.*lower lr"):
        model = kind(members=4, **options).fit(X, y)
    assert model.diverged_.tolist() == [True, False, True, False]
    assert model.networks_.B == 2
    each = whole.predict_each if kind is EnsembleRegressor else whole.predict_proba_each
    mine = model.predict if kind is EnsembleRegressor else model.predict_proba
    np.testing.assert_array_equal(mine(X), each(X)[[1, 3]].mean(0))
    lose(monkeypatch, range(4))
    with pytest.raises(ValueError, match="all 4 networks diverged"):
        kind(members=4, **options).fit(X, y)


def test_too_large_a_step_is_an_error_not_a_prediction():
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match="all 3 networks diverged"):
        EnsembleRegressor(
            members=3, activation="relu", optimizer="sgd", lr=1e3, steps=500, widths=(8, 8)
        ).fit(X, y)


@pytest.mark.parametrize("kind", [EnsembleRegressor, EnsembleClassifier])
def test_samples_on_which_networks_overflow(kind):
    X = np.linspace(-1.0, 1.0, 10)[:, None]
    model = kind(widths=2, members=3, steps=20, activation="relu").fit(X, X[:, 0] > 0.0)
    theta = model.networks_.theta.clone()
    theta[model.networks_.offsets[1] : model.networks_.offsets[2]] *= 1e200  # finite
    model.networks_ = model.networks_.with_theta(theta)
    answer = model.predict if kind is EnsembleRegressor else model.predict_proba
    each = model.predict_each if kind is EnsembleRegressor else model.predict_proba_each
    wild = ~np.isfinite(each(X)).reshape(3, 10, -1).all(2)
    assert wild[1].any()
    assert not wild[[0, 2]].any()
    place = int(np.flatnonzero(wild[1])[0])
    np.testing.assert_allclose(answer(X)[place], each(X)[[0, 2], place].mean(0), rtol=1e-15)
    model.networks_ = model.networks_.select([1])
    with pytest.raises(ValueError, match=rf"X\[{place}\] must be of a size.*overflow"):
        model.predict(X)


@pytest.mark.parametrize("kind", [EnsembleRegressor, EnsembleClassifier])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_a_sample_twice_is_a_sample_of_weight_two(kind, batch_size):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((12, 2)), rng.integers(0, 2, 12)
    weight = rng.integers(0, 3, 12)
    order = rng.permutation(weight.sum())
    again, labels = X.repeat(weight, axis=0)[order], y.repeat(weight)[order]
    options = {"widths": 3, "members": 2, "steps": 50, "batch_size": batch_size}
    one = kind(**options).fit(X, y, sample_weight=weight)
    two = kind(**options).fit(again, labels)
    np.testing.assert_array_equal(one.predict(X), two.predict(X))


@pytest.mark.parametrize("kind", [EnsembleRegressor, EnsembleClassifier])
def test_what_pandas_and_numpy_mean_is_not_lost(kind):
    X = np.random.default_rng(4).standard_normal((8, 2))
    y = (X[:, 0] > 0).astype(int)
    model = kind(widths=2, members=1, steps=3)
    frame = pd.DataFrame(X, columns=["a", "b"], index=range(10, 18))
    right, wrong = pd.Series(y, index=frame.index), pd.Series(y)
    model.fit(frame, right)
    model.fit(frame, y)
    assert list(model.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match=r"y must have the index of X.*y\.to_numpy\(\)"):
        model.fit(frame, wrong)
    with pytest.raises(ValueError, match="sample_weight must have the index of X"):
        model.fit(frame, right, sample_weight=wrong + 1.0)
    hidden = np.ma.array(X, mask=X > 1.0)
    assert hidden.mask.any()
    for call in (
        lambda: model.fit(hidden, y),
        lambda: model.fit(X, np.ma.array(y, mask=y == 1)),
        lambda: model.fit(X, y, sample_weight=np.ma.array(y + 1.0, mask=y == 1)),
        lambda: model.predict(hidden),
    ):
        with pytest.raises(TypeError, match=r"masked.*\.filled\("):
            call()
