"""`Task`: shapes, weights, derived numbers, and refusals."""

from __future__ import annotations

import copy
import doctest
import importlib
import pickle

import numpy as np
import pytest
import torch

import edt
from edt import Ensemble
from edt.errors import ShapeError
from edt.ops.compiled import dataset
from edt.tasks import Task

N, D, O, T = 6, 3, 2, 4  # noqa: E741
F64 = torch.float64


def data(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("several_y", [False, True])
@pytest.mark.parametrize("several_x", [False, True])
def test_shapes(several_x, several_y, dtype):
    x = data(*([T] if several_x else []), N, D, dtype=dtype)
    y = data(*([T] if several_y else []), N, O, dtype=dtype)
    task = Task(x, y, name="shapes", info={"k": 1})
    targets = T if several_x or several_y else 1
    assert (task.T, task.N, task.d_in, task.d_out, task.dtype) == (targets, N, D, O, dtype)
    assert torch.equal(task.x, x)
    assert torch.equal(task.y, y)
    assert task.coef.shape == (targets, N)
    assert task.coef.dtype == dtype
    assert (task.coef == torch.tensor(1 / N, dtype=dtype)).all()
    assert task.info == {"k": 1}


@pytest.mark.parametrize("several_y", [False, True])
def test_classes(several_y):
    y = torch.arange(N * (T if several_y else 1)) % 3
    y = y.view(T, N) if several_y else y
    task = Task(data(N, D), y.to(torch.int32), loss="cross_entropy")
    assert (task.T, task.d_out, task.y.dtype) == (T if several_y else 1, 3, torch.int64)
    assert Task(data(N, D), y, "cross_entropy", n_classes=7).d_out == 7


def test_tensors_are_copied_and_contiguous():
    x, y = data(D, N).T, data(N, O)
    task = Task(x, y)
    before = task.x.clone()
    x.zero_()
    y.zero_()
    assert task.x.is_contiguous()
    assert torch.equal(task.x, before)
    assert task.y.any()


def test_arrays_and_lists():
    x, y = data(N, D), data(N, O)
    for form in (torch.Tensor.numpy, torch.Tensor.tolist):
        task = Task(form(x), form(y))
        assert torch.equal(task.x, x)
        assert torch.equal(task.y, y)
    flipped = Task(x.numpy()[::-1], y.numpy()[::-1])
    assert torch.equal(flipped.x, x.flip(0))
    assert Task([[0], [1]], [0, 1], "cross_entropy").d_out == 2


def test_weights_become_coefficients():
    x, y = data(N, D), data(T, N, O)
    weights = torch.tensor([1.0, 0.0, 2.0, 3.0, 1.0, 1.0], dtype=F64)
    task = Task(x, y, weights=weights)
    # One rounding of the quotient, one of the sum.
    torch.testing.assert_close(task.coef, (weights / 8).expand(T, N), rtol=4e-16, atol=0)
    each = data(T, N).abs()
    coef = Task(x, y, weights=each).coef
    torch.testing.assert_close(coef, each / each.sum(1, keepdim=True), rtol=1e-15, atol=0)
    huge = Task(x, y, weights=5e307 * weights).coef
    torch.testing.assert_close(huge, task.coef, rtol=1e-15, atol=0)
    tiny = Task(x, y, weights=5e-324 * weights).coef
    torch.testing.assert_close(tiny, task.coef, rtol=1e-15, atol=0)
    assert Task(x, y, weights=[1, 1, 1, 1, 1, 1]).coef.tolist() == Task(x, y).coef.tolist()


def test_variance_is_the_loss_of_the_best_constant():
    x, y, weights = data(N, D), data(T, N, O), data(T, N, seed=3).abs()
    task = Task(x, y, weights=weights)
    for t in range(T):
        c = weights[t] / weights[t].sum()
        best = c @ y[t]
        # A handful of roundings on numbers of size one.
        assert float(task.variance[t]) == pytest.approx(
            float((c[:, None] * (y[t] - best) ** 2).sum()), rel=1e-14
        )
    classes = Task(x, torch.tensor([0, 0, 0, 1, 1, 2]), "cross_entropy")
    assert float(classes.variance) == pytest.approx(1 - (9 + 4 + 1) / 36, rel=1e-15)


def test_to_changes_dtype_only():
    task = Task(data(N, D), data(T, N, O), weights=data(N).abs(), name="a", info={"k": 1})
    assert task.to(F64) is task
    low = task.to(torch.float32)
    assert (low.dtype, low.y.dtype, low.coef.dtype) == (torch.float32,) * 3
    assert torch.equal(low.x, task.x.float())
    assert (low.name, low.info, low.T) == ("a", {"k": 1}, T)
    # float32 rounding of the coefficients.
    torch.testing.assert_close(low.coef.double(), task.coef, rtol=1.2e-7, atol=0)
    classes = Task(data(N, D), [0, 1, 0, 1, 0, 1], "cross_entropy", n_classes=5)
    assert classes.to(torch.float32).d_out == 5


def test_repr():
    assert repr(Task(data(N, D), data(T, N, O))) == (
        "Task(6 samples, 4 targets, 3 -> 2, mse, float64)"
    )
    assert repr(Task(data(1, D), data(1, O), name="one")).startswith("Task(one: 1 sample, 3 -> 2")


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_compiled_data(loss, dtype):
    y = data(N, O, dtype=dtype) if loss == "mse" else torch.arange(N) % 3
    task = Task(data(T, N, D, dtype=dtype), y, loss)
    networks = Ensemble([2], d_in=D, d_out=task.d_out, dtype=dtype)
    problem = task.objective(networks).problem
    found = dataset(problem)
    assert found is dataset(task.objective(networks).problem)
    assert (found.n, found.n_tasks, found.d_in, found.d_out) == (N, T, D, task.d_out)
    assert found.is_double == (dtype == F64)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_have_data_of_their_own(duplicate):
    task, networks = Task(data(N, D), data(N, O)), Ensemble.init([2], d_in=D, d_out=O)
    before = edt.loss(task, networks)
    other = duplicate(task)
    other.x.zero_()
    assert torch.equal(edt.loss(task, networks), before)
    assert not torch.equal(edt.loss(other, networks), before)


X, Y, C = data(N, D), data(N, O), torch.arange(N) % 3
NAN = X.clone()
NAN[2, 1] = float("nan")
BAD = [
    ({"loss": "mae"}, ValueError, r"loss must be one of 'mse', 'cross_entropy', .*, got 'mae'"),
    ({"loss": "cross_entropi"}, ValueError, "did you mean 'cross_entropy'"),
    ({"loss": None}, ValueError, "loss"),
    ({"name": 3}, TypeError, "name"),
    ({"x": "data"}, TypeError, "x must be a tensor or an array, got str"),
    ({"x": [["a"]]}, TypeError, "x must hold numbers"),
    ({"x": np.array([["a"]])}, TypeError, "x must hold numbers"),
    ({"x": X.to(torch.int64)}, TypeError, "x must have dtype torch.float32 or torch.float64"),
    ({"x": X.half()}, TypeError, "float16"),
    ({"x": X.to(torch.complex128)}, TypeError, "complex"),
    ({"x": X.to_sparse()}, TypeError, "dense"),
    ({"x": X.to("meta")}, ValueError, "x must be on the CPU, got meta"),
    ({"x": X[0]}, ShapeError, r"x must have shape \[N, d_in\] or \[T, N, d_in\], got \[3\]"),
    ({"x": X[None, None]}, ShapeError, "x must have shape"),
    ({"x": X[:0], "y": Y[:0]}, ValueError, r"x must hold at least one .* \[0, 3\]"),
    ({"x": X[:, :0]}, ValueError, "x must hold at least one"),
    ({"x": NAN}, ValueError, r"x must be finite, got nan at \[2, 1\] \(1 of 18"),
    ({"x": X / 0.0}, ValueError, "x must be finite, got -?inf"),
    ({"y": Y.float()}, TypeError, "y must have the dtype of x, torch.float64, got torch.float32"),
    ({"y": Y[:, 0]}, ShapeError, r"y must have shape \[N, d_out\].*y\[:, None\] makes a column"),
    ({"y": Y[:, :0]}, ValueError, "y must hold at least one"),
    ({"y": Y[:5]}, ShapeError, r"x has shape \[6, 3\], y \[5, 2\]"),
    ({"y": Y * float("inf")}, ValueError, "y must be finite"),
    ({"y": C}, TypeError, "got torch.int64; for class indices use loss='cross_entropy'"),
    ({"x": X.expand(2, N, D), "y": Y.expand(3, N, O)}, ShapeError, "same number of targets"),
    ({"n_classes": 3}, ValueError, "n_classes needs loss='cross_entropy'"),
    ({"weights": torch.ones(5)}, ShapeError, r"weights must have shape \[6\] or \[1, 6\], got"),
    ({"weights": -torch.ones(N)}, ValueError, r"weights\[0\] must be >= 0, got -1"),
    ({"weights": torch.zeros(N)}, ValueError, "all zero"),
    ({"weights": torch.full((N,), float("nan"))}, ValueError, "weights must be finite"),
    ({"weights": "even"}, TypeError, "weights"),
    ({"weights": torch.ones(N, dtype=torch.bool)}, TypeError, "bool"),
]
BAD_CLASSES = [
    ({"y": C.double()}, TypeError, r"y must have an integer dtype, got torch.float64 .*argmax"),
    ({"y": C[:, None]}, ShapeError, r"x has shape \[6, 3\], y \[6, 1\]"),
    ({"y": C[None, None]}, ShapeError, "class indices"),
    ({"y": C[:4]}, ShapeError, r"y \[4\]"),
    ({"y": C - 1}, ValueError, r"y\[0\] must be a class in 0..1, got -1"),
    ({"y": C, "n_classes": 2}, ValueError, r"y\[2\] must be a class in 0..1, got 2"),
    ({"y": C, "n_classes": 0}, ValueError, "class"),
    ({"y": 0 * C}, ValueError, r"n_classes must be >= 2, got 1 \(the largest label \+ 1\)"),
    ({"y": C, "n_classes": 3.0}, TypeError, "n_classes"),
    ({"y": C[:0]}, ValueError, "y must hold at least one"),
]


@pytest.mark.parametrize("bad, kind, says", BAD)
def test_refuses(bad, kind, says):
    with pytest.raises(kind, match=says):
        Task(**{"x": X, "y": Y, **bad})


@pytest.mark.parametrize("bad, kind, says", BAD_CLASSES)
def test_refuses_classes(bad, kind, says):
    with pytest.raises(kind, match=says):
        Task(**{"x": X, "loss": "cross_entropy", **bad})


def test_to_refuses():
    with pytest.raises(ValueError, match="dtype"):
        Task(X, Y).to(torch.float16)
    with pytest.raises(ValueError, match="finite"):
        Task(1e300 * X, Y).to(torch.float32)


@pytest.mark.parametrize(
    "module", ["edt.tasks.task", "edt.tasks.teacher", "edt.tasks.rosenbrock", "edt.tasks.xor"]
)
def test_examples_run(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
