"""Safran and Shamir's problem as a task: against its closed form, and in every engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import edt.training as training
from edt import functional
from edt.curvature import hessian_spectrum
from edt.errors import ShapeError
from edt.infinite import committee, safran_shamir_task
from edt.landscape import population_gradient, population_hessian, population_loss, spurious
from edt.landscape.safran_shamir import start_points

K = 5
QUIET = {"progress": False}


@pytest.fixture
def rows():
    return start_points(K, K + 1, np.arange(4), 0)


def test_loss_gradient_and_hessian_are_twice_those_of_F(rows):
    task, students, v = safran_shamir_task(K), committee(rows), torch.eye(K, dtype=torch.float64)
    inner = (K + 1) * K
    loss, grad = functional.loss_and_grad(students, task)
    torch.testing.assert_close(loss, 2.0 * population_loss(rows, v), rtol=1e-13, atol=1e-14)
    grad = grad.view(4, -1)
    slope = 2.0 * population_gradient(rows, v).reshape(4, -1)
    torch.testing.assert_close(grad[:, :inner], slope, rtol=0, atol=1e-13)
    # Frozen output weights have no gradient, and no place in the Hessian.
    assert bool((grad[:, inner:] == 0.0).all())
    for mine, theirs in zip(
        functional.hessian(students, task), 2.0 * population_hessian(rows, v), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
    vectors = torch.ones(1, students.total, dtype=torch.float64)
    product = functional.hvp(students, task, vectors).view(4, -1)[:, :inner]
    expected = 2.0 * population_hessian(rows, v).sum(2)
    torch.testing.assert_close(product, expected, rtol=0, atol=1e-12)


def test_training_is_their_descent(rows):
    v = torch.eye(K, dtype=torch.float64)
    trained = training.masked_train(
        safran_shamir_task(K), committee(rows), optimizer="gd", lr=0.05, steps=200, **QUIET
    )
    own = spurious.descend(rows, v, tol=1e-12, max_steps=200, every=True)
    assert own.steps.tolist() == [200] * 4
    found, inner = trained.networks.theta.view(4, -1), K * (K + 1)
    # Two hundred contracting steps of rounding 1e-16 each.
    torch.testing.assert_close(found[:, :inner], own.students.view(4, -1), rtol=0, atol=1e-12)
    assert bool((found[:, inner:] == 1.0).all())


def test_spurious_ends_are_minima_for_converge():
    """Where descent of F ends badly, converge of the task stays, and sees a minimum."""
    rows = start_points(10, 10, np.arange(12), 0)
    ends = spurious.descend(
        rows, torch.eye(10, dtype=torch.float64), tol=2e-9, max_steps=50_000, every=True
    )
    bad = population_loss(ends.students, torch.eye(10, dtype=torch.float64)) > spurious.SPURIOUS
    assert 1 <= int(bad.sum()) < 12
    # One of them: the task's Hessian is made for any networks, not for these.
    students = committee(ends.students[bad][:1])
    ended = training.converge(safran_shamir_task(10), students, tol=1e-8, **QUIET)
    assert ended.verdict == ["minimum"]
    # Gradients of 2e-9 over curvatures of 1e-2 are distances of 2e-7.
    torch.testing.assert_close(ended.networks.theta, students.theta, rtol=0, atol=1e-6)
    assert float(hessian_spectrum(students, safran_shamir_task(10))[0][0]) > 1e-3


def test_bad_input(rows):
    with pytest.raises(ValueError, match="k must be"):
        safran_shamir_task(0)
    with pytest.raises(ShapeError, match=r"\[R, n, d\]"):
        committee(rows[0])
    with pytest.raises(TypeError, match="float64"):
        committee(rows.float())
