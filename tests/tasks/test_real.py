"""Data sets: sizes, splits, scaling."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from edt.tasks import breast_cancer, diabetes, digits, mnist1d

SKLEARN = [(digits, 1797, 64, 10), (breast_cancer, 569, 30, 2), (diabetes, 442, 10, 1)]


@pytest.mark.parametrize("make, n, d_in, d_out", SKLEARN)
def test_sizes_and_scaling(make, n, d_in, d_out):
    """Standardised over all samples; 1e-13: the mean of n rounded numbers of size one."""
    task = make()
    assert (task.N, task.d_in, task.d_out, task.T) == (n, d_in, d_out, 1)
    assert task.dtype == torch.float64
    assert task.x.mean(0).abs().max() < 1e-13
    spread = task.x.std(0, correction=0)
    varies = spread > 0
    torch.testing.assert_close(spread[varies], torch.ones_like(spread[varies]), rtol=1e-12, atol=0)
    assert int((~varies).sum()) == (3 if make is digits else 0)
    if make is diabetes:
        assert float(task.variance) == pytest.approx(1.0, rel=1e-12)
    back = task.x * task.info["x_std"] + task.info["x_mean"]
    torch.testing.assert_close(back, make(standardise=False).x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make, n, d_in, d_out", SKLEARN)
def test_splits_partition(make, n, d_in, d_out):
    raw = make(standardise=False)
    parts = {s: make(s, seed=3, test_share=0.25, standardise=False) for s in ("train", "test")}
    assert parts["test"].x.shape[0] == round(0.25 * n)
    both = torch.cat([part.info["indices"] for part in parts.values()])
    assert both.sort().values.tolist() == list(range(n))
    for part in parts.values():
        assert torch.equal(part.x, raw.x[part.info["indices"]])
        assert torch.equal(part.y, raw.y[part.info["indices"]])
    assert not torch.equal(make("test", seed=4).info["indices"], make("test").info["indices"])


def test_test_part_is_scaled_like_the_training_part():
    train, test = diabetes("train", seed=1), diabetes("test", seed=1)
    assert train.x.mean(0).abs().max() < 1e-13
    assert test.x.mean(0).abs().max() > 1e-3
    for name in ("x_mean", "x_std", "y_mean", "y_std"):
        assert torch.equal(train.info[name], test.info[name])


def test_one_hot_targets():
    task, classes = digits(loss="mse"), digits()
    assert task.loss == "mse"
    assert task.y.shape == (1797, 10)
    assert torch.equal(task.y.argmax(1), classes.y)
    assert (task.y.sum(1) == 1).all()
    assert torch.equal(digits(loss="logistic").y, 2 * task.y - 1)
    assert digits(dtype=torch.float32).dtype == torch.float32


def test_mnist1d():
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    train, test = mnist1d(samples=60), mnist1d("test", samples=60)
    drawn = random.random(), np.random.rand()  # noqa: NPY002
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    assert drawn == (random.random(), np.random.rand())  # noqa: NPY002
    every = mnist1d("all", samples=60)
    assert (train.N, test.N, train.d_in, train.d_out) == (48, 12, 40, 10)
    assert torch.equal(every.x, torch.cat([train.x, test.x]))
    assert torch.equal(every.y, torch.cat([train.y, test.y]))
    # Standardised by the generator, over all entries.
    assert float(every.x.mean()) == pytest.approx(0.0, abs=1e-12)
    assert float(every.x.std(correction=0)) == pytest.approx(1.0, rel=1e-12)
    assert sorted(every.y.tolist()) == sorted(list(range(10)) * 6)
    assert not torch.equal(mnist1d(samples=60, seed=1).x, train.x)


BAD = [
    ({"split": "tests"}, ValueError, "split must be one of .* did you mean 'test'"),
    ({"split": None}, ValueError, "split"),
    ({"seed": -1}, ValueError, "seed"),
    ({"seed": 0.5}, TypeError, "seed"),
    ({"dtype": torch.float16}, ValueError, "dtype"),
]
MORE = [
    ({"test_share": 0.0}, ValueError, "test_share must be a finite number > 0 and < 1, got 0.0"),
    ({"test_share": float("nan")}, ValueError, "test_share"),
    ({"test_share": "some"}, TypeError, "test_share"),
    ({"standardise": 1}, TypeError, "standardise must be True or False, got 1"),
]


@pytest.mark.parametrize("make", [digits, breast_cancer, diabetes])
@pytest.mark.parametrize("bad, kind, says", BAD + MORE)
def test_refuses(make, bad, kind, says):
    with pytest.raises(kind, match=says):
        make(**bad)


@pytest.mark.parametrize(
    "bad, kind, says",
    [
        *BAD,
        ({"samples": 10}, ValueError, "samples must be >= 20, got 10"),
        ({"samples": 50.0}, TypeError, "samples"),
        ({"seed": 2**32}, ValueError, "seed"),
        ({"loss": "mean"}, ValueError, "loss"),
    ],
)
def test_mnist1d_refuses(bad, kind, says):
    with pytest.raises(kind, match=says):
        mnist1d(**{"samples": 60, **bad})
