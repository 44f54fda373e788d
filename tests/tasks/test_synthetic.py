"""Inputs, teachers, Rosenbrock and exclusive or."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch

from edt.ensemble import ACTIVATIONS, Ensemble
from edt.tasks import one_logit, rosenbrock, teacher_student, xor
from edt.tasks.inputs import INPUTS, make_inputs, permutation, standard_normal
from edt.tasks.teacher import outputs

F64 = torch.float64


def bits(*tensors):
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_have_mean_zero_and_variance_one(kind):
    """n = 4,096 in 2 dimensions. Random: five standard errors. Grid: the ends are included, so
    the variance is (k + 1) / (k - 1) = 65 / 63. Sobol: far better than random."""
    x = make_inputs(kind, 4096, 2, seed=3)
    assert x.shape == (4096, 2)
    assert x.dtype == F64
    if kind == "grid":
        torch.testing.assert_close(x.var(0, correction=0), torch.full((2,), 65 / 63, dtype=F64))
        assert torch.equal(x, -x.flip(0))
    else:
        error = 5 / 4096**0.5 if kind != "sobol" else 0.01
        assert (x.mean(0).abs() < error).all()
        assert ((x.var(0) - 1).abs() < 1.5 * error).all()
        assert abs(float((x[:, 0] * x[:, 1]).mean())) < error
    if kind != "gaussian":
        assert x.abs().max() <= math.sqrt(3.0)


@pytest.mark.parametrize("kind", ["gaussian", "uniform", "sobol"])
def test_more_points_extend_the_set(kind):
    few, many = make_inputs(kind, 33, 3, seed=2**64 - 1), make_inputs(kind, 100, 3, seed=2**64 - 1)
    assert torch.equal(many[:33], few)
    assert not torch.equal(make_inputs(kind, 33, 3, seed=0), few)


def test_grid_order():
    x = make_inputs("grid", 27, 3)
    side = math.sqrt(3.0)
    assert x[0].tolist() == [-side] * 3
    assert x[1].tolist() == [-side, -side, 0.0]
    assert x[-1].tolist() == [side] * 3
    assert make_inputs("grid", 5, 1)[:, 0].tolist() == [-side, -side / 2, 0.0, side / 2, side]


def test_permutation():
    order = permutation(5, 1000)
    assert order.sort().values.tolist() == list(range(1000))
    assert not torch.equal(order, permutation(6, 1000))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_targets_are_the_teachers_outputs(activation):
    """Against plain torch; 1e-13: sums of at most five terms and vector functions good to a few
    units in the last place, amplified by cube at pre-activations of up to 5."""
    task = teacher_student(
        3, (5, 4), d_out=2, n=65, teachers=3, activation=activation, scheme="normal", seed=4
    )
    teacher = task.info["teacher"]
    assert (task.T, task.N, task.d_in, task.d_out, teacher.B) == (3, 65, 3, 2, 3)
    for t in range(3):
        wanted = teacher.to_module(t)(task.x).detach()
        scale = float(wanted.abs().max())
        torch.testing.assert_close(task.y[t], wanted, rtol=1e-13, atol=1e-13 * scale)


def test_teachers_are_independent_and_unlike_students():
    task = teacher_student(2, 4, n=10, teachers=3, scheme="glorot", seed=0)
    teacher = task.info["teacher"]
    again = teacher_student(2, 4, n=20, teachers=5, scheme="glorot", seed=0)
    assert torch.equal(again.x[:10], task.x)
    assert torch.equal(again.info["teacher"].select(range(3)).theta, teacher.theta)
    assert torch.equal(again.y[:3, :10], task.y)
    students = Ensemble.init([4], range(100), d_in=2, d_out=1, scheme="glorot")
    first = {float(students.weight(b, 0)[0, 0]) for b in range(100)}
    assert not first & {float(teacher.weight(b, 0)[0, 0]) for b in range(3)}
    assert teacher_student(2, 4, n=10).y.shape == (10, 1)


@pytest.mark.parametrize("kind", ["gaussian", "uniform", "grid"])
def test_bits_never_change(kind):
    """A seed names inputs, teachers and noise: the same bits on every machine, in every version.

    Not so the Sobol points, whose scrambling torch draws, and the outputs, which the tests of the
    compiled core pin between instruction sets.
    """
    task = teacher_student(2, 3, n=49, teachers=2, inputs=kind, seed=7)
    wanted = {
        "gaussian": "a0612b3cc7487d1f",
        "uniform": "ae966ecb0267057f",
        "grid": "90f51b2ef02f0942",
    }
    assert bits(task.x, task.info["teacher"].theta, standard_normal(7, (5,))) == wanted[kind]


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (4, 4)])
def test_orthogonal_teachers(shape):
    """1e-15 per entry: Gram-Schmidt twice is orthogonal to a few roundings."""
    d_in, width = shape
    teacher = teacher_student(
        d_in, width, d_out=2, n=4, scheme="orthogonal", scale=3.0, teachers=2
    ).info["teacher"]
    for b in range(2):
        for layer in range(2):
            w = teacher.weight(b, layer) / 3.0
            gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
            torch.testing.assert_close(gram, torch.eye(len(gram), dtype=F64), rtol=0, atol=2e-15)
            assert not teacher.bias(b, layer).any()
    assert not torch.equal(teacher.weight(0, 0), teacher.weight(1, 0))


@pytest.mark.parametrize("bias", [True, False])
def test_normalised_teachers(bias):
    """1e-12: the outputs are computed anew from the rescaled layer."""
    task = teacher_student(3, 4, d_out=2, n=200, teachers=2, normalise=True, bias=bias, seed=1)
    y = task.y
    torch.testing.assert_close(
        y.var(1, correction=0), torch.ones(2, 2, dtype=F64), rtol=1e-12, atol=0
    )
    if bias:
        assert y.mean(1).abs().max() < 1e-12
    assert torch.equal(y, outputs(task.info["teacher"], task.x))


def test_noise():
    """Standard deviation 0.5 on 4,000 targets: five standard errors, 5 * 0.5 / sqrt(8000)."""
    clean = teacher_student(2, 4, n=4000, seed=3)
    noisy = teacher_student(2, 4, n=4000, seed=3, noise=0.5)
    assert torch.equal(clean.x, noisy.x)
    xi = noisy.y - clean.y
    assert abs(float(xi.std()) - 0.5) < 0.028
    assert abs(float(xi.mean())) < 0.04
    assert abs(float((xi[:, 0] * clean.x[:, 0]).mean())) < 0.04
    assert noisy.info["noise"] == 0.5


def test_given_teacher():
    mine = Ensemble.init([3, 7], 9, d_in=4, d_out=2, activation="erf", dtype=torch.float32)
    task = teacher_student(n=12, teacher=mine, dtype=torch.float32)
    assert (task.T, task.d_in, task.d_out, task.dtype) == (2, 4, 2, torch.float32)
    assert torch.equal(task.info["teacher"].theta, mine.theta.double())


@pytest.mark.parametrize(
    "bad, kind, says",
    [
        ({"teacher_width": 0}, ValueError, "teacher_width must be >= 1, got 0"),
        ({"teacher_width": (3, 0)}, ValueError, r"teacher_width\[1\]"),
        ({"teacher_width": ()}, ValueError, "teacher_width"),
        ({"teacher_width": 2.5}, TypeError, "teacher_width"),
        ({"d_in": 0}, ValueError, "d_in"),
        ({"d_out": 0}, ValueError, "d_out"),
        ({"n": 0}, ValueError, "n must be >= 1, got 0"),
        ({"n": 10.0}, TypeError, "n must be an integer"),
        ({"teachers": 0}, ValueError, "teachers"),
        ({"activation": "tann"}, ValueError, "did you mean 'tanh'"),
        ({"inputs": "normal"}, ValueError, "inputs must be one of 'gaussian'"),
        ({"inputs": "grid", "n": 10}, ValueError, "the nearest are 9 and 16"),
        ({"inputs": "grid", "n": 1}, ValueError, "k >= 2"),
        ({"inputs": "sobol", "d_in": 30_000}, ValueError, "d_in must be at most 21201"),
        ({"scheme": "orthogonel"}, ValueError, "did you mean 'orthogonal'"),
        ({"scale": -1}, ValueError, "scale"),
        ({"noise": float("nan")}, ValueError, "noise"),
        ({"noise": "loud"}, TypeError, "noise"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 1.0}, TypeError, "seed"),
        ({"dtype": torch.int32}, ValueError, "dtype"),
        ({"bias": "yes"}, TypeError, "bias"),
        ({"teacher": 3}, TypeError, "teacher must be an edt.Ensemble, got int"),
        ({"scale": 0.0, "normalise": True}, ValueError, "constant"),
        (
            {"teacher": Ensemble([2], 2, 1), "teacher_width": 3},
            ValueError,
            "teacher is given, so teacher_width must not be",
        ),
        ({"teacher": Ensemble([2], 2, 1), "activation": "relu"}, ValueError, "activation"),
    ],
)
def test_teacher_student_refuses(bad, kind, says):
    with pytest.raises(kind, match=says):
        teacher_student(**{"n": 9, **bad})


def test_rosenbrock():
    """1e-14: the logarithm is good to one unit in the last place, the mean is exact."""
    task = rosenbrock()
    assert (task.N, task.d_in, task.d_out) == (10_201, 2, 1)
    x1, x2 = task.x.numpy().T
    y = np.log10(3 * (x2 + 1 - x1**2) ** 2 + (1 - x1) ** 2 + 0.1)
    np.testing.assert_allclose(task.y[:, 0], (y - y.mean()) / y.std(), rtol=0, atol=1e-14)
    assert task.info == pytest.approx({"mean": y.mean(), "std": y.std()}, rel=1e-14)
    assert float(task.variance) == pytest.approx(1.0, rel=1e-13)
    assert rosenbrock(11, dtype=torch.float32).y.dtype == torch.float32
    with pytest.raises(ValueError, match="points must be >= 2, got 1"):
        rosenbrock(1)
    with pytest.raises(ValueError, match="dtype"):
        rosenbrock(3, dtype=torch.float16)


def test_xor():
    assert xor().x.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert xor().y.tolist() == [0, 1, 1, 0]
    assert xor("mse", low=-1.0).y.tolist() == [[0], [1], [1], [0]]
    assert xor(low=-1.0).x.min() == -1
    with pytest.raises(ValueError, match="did you mean 'cross_entropy'"):
        xor("crossentropy")
    with pytest.raises(ValueError, match="low and high must differ"):
        xor(low=1.0)


@pytest.mark.parametrize("bias", [True, False])
def test_one_logit_is_the_logistic_loss(bias):
    """To rounding: the two formulas for the same number."""
    task = xor()
    ens = one_logit(Ensemble.init([2, 5], range(3), d_in=2, d_out=2, activation="relu", bias=bias))
    for b in range(len(ens)):
        logits = ens.to_module(b)(task.x)
        assert not logits[:, 0].any()
        ours = torch.nn.functional.cross_entropy(logits, task.y)
        theirs = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 1], task.y.double())
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=0)
        h = int(ens.layer_widths[b, 1])
        assert ens.coords[b] == 3 * h + (h + 1 if bias else 0)
    with pytest.raises(ValueError, match="d_out = 2, got 1"):
        one_logit(Ensemble([2], 2, 1))
