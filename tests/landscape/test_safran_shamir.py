"""Population loss in closed form, and the share of spurious minima."""

from __future__ import annotations

import math
from threading import Event

import numpy as np
import pandas as pd
import pytest
import torch

from edt.errors import ShapeError
from edt.landscape import (
    population_gradient,
    population_hessian,
    population_loss,
    safran_shamir,
    spurious,
    spurious_table,
)
from edt.landscape.safran_shamir import start_points
from edt.stats import wilson


@pytest.fixture
def pair():
    draw = torch.Generator().manual_seed(0)
    students = torch.randn(3, 4, 3, generator=draw, dtype=torch.float64)
    return students, torch.randn(2, 3, generator=draw, dtype=torch.float64)


def test_loss_is_the_mean_over_gaussian_inputs(pair):
    students, teacher = pair
    x = torch.randn(400_000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target = torch.relu(x @ teacher.T).sum(1)
    for student, loss in zip(students, population_loss(students, teacher).tolist(), strict=True):
        half = 0.5 * (torch.relu(x @ student.T).sum(1) - target).square()
        error = float(half.std()) / math.sqrt(half.numel())
        assert abs(float(half.mean()) - loss) < 4 * error


def test_derivatives(pair):
    students, teacher = pair
    gradient, hessian = (
        population_gradient(students, teacher),
        population_hessian(students, teacher),
    )
    h = 1e-5
    ways = torch.eye(12, dtype=torch.float64).reshape(12, 4, 3)
    for b, student in enumerate(students):
        ahead, behind = student + h * ways, student - h * ways
        numeric = (population_loss(ahead, teacher) - population_loss(behind, teacher)) / (2 * h)
        # Central differences: h^2 = 1e-10 times third derivatives, and rounding / h = 1e-11.
        torch.testing.assert_close(gradient[b].flatten(), numeric, rtol=0, atol=1e-9)
        change = population_gradient(ahead, teacher) - population_gradient(behind, teacher)
        numeric = change.reshape(12, 12) / (2 * h)
        torch.testing.assert_close(hessian[b], numeric, rtol=0, atol=1e-8)
        assert torch.equal(hessian[b], hessian[b].T)


def test_closed_values():
    one = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    across = torch.tensor([[[0.0, 1.0]]], dtype=torch.float64)
    # E[relu^2] = 1/2, and 1/(2 pi) for perpendicular neurons.
    assert float(population_loss(across, one)) == pytest.approx(0.5 - 1 / (2 * math.pi))
    assert float(population_loss(-one[None], one)) == pytest.approx(0.5)
    assert float(population_loss(2 * one[None], one)) == pytest.approx(0.25)


def test_solutions(pair):
    _, teacher = pair
    same = teacher[[1, 0]][None]
    assert abs(float(population_loss(same, teacher))) < 1e-15
    assert float(population_gradient(same, teacher).abs().max()) < 1e-15
    values = torch.linalg.eigvalsh(population_hessian(same, teacher)[0])
    assert float(values[0]) > 0.01
    # A split teacher neuron is a solution too, and the split share does not matter.
    split = torch.cat([0.3 * teacher[:1], 0.7 * teacher[:1], teacher[1:]])[None]
    assert abs(float(population_loss(split, teacher))) < 1e-15
    # Equal directions up to rounding: sines of order 1e-8 enter squared or multiplied by it.
    assert float(population_gradient(split, teacher).abs().max()) < 1e-8
    assert abs(float(torch.linalg.eigvalsh(population_hessian(split, teacher)[0])[0])) < 1e-6


def test_starts_are_those_of_their_numbers():
    whole = start_points(6, 7, np.arange(40), 3)
    assert torch.equal(start_points(6, 7, np.array([5, 31]), 3), whole[[5, 31]])
    assert not torch.equal(start_points(6, 7, np.arange(40), 4), whole)
    assert float(whole.std()) == pytest.approx(1 / math.sqrt(6), rel=0.1)


@pytest.fixture(scope="module")
def ten():
    return safran_shamir([10], (0, 1), starts=120, seed=1, progress=False)


def test_share_of_spurious_minima(ten):
    """Known from 1,000 starts each: 33.1% at (10, 10), 0.2% at (10, 11)."""
    table = ten.table().set_index("student")
    assert table["share_low"][10] < 0.331 < table["share_high"][10]
    assert table["share_low"][11] < 0.002 < table["share_high"][11]
    assert (table["unfinished"] == 0).all()


def test_spurious_ends_are_minima(ten):
    bad = ten.runs[ten.runs["spurious"]]
    assert len(bad) > 20
    assert (bad["status"] == "converged").all()
    assert (bad["grad_max"] <= 2e-9).all()
    assert (bad["min_eig"] > 1e-4).all()
    good = ten.runs[~ten.runs["spurious"]]
    assert (good["loss"] <= 1e-3).all()
    assert good["min_eig"].isna().all()


def test_table_follows_from_the_runs(ten):
    table = spurious_table(ten.runs.copy())
    pd.testing.assert_frame_equal(table, ten.table())
    for row in table.itertuples():
        group = ten.runs[ten.runs["student"] == row.student]
        rate = wilson(int(group["spurious"].sum()), len(group))
        assert (row.share, row.share_low, row.share_high) == (rate.value, rate.low, rate.high)
        assert row.minima == row.spurious
    # Few of the many runs are different: spurious minima come in a few kinds.
    assert 1 <= table["levels"][0] <= 10


def test_newton_ends_where_descent_does(monkeypatch):
    quick = safran_shamir([4], starts=12, finish="all", progress=False).runs
    assert (quick["status"] == "converged").all()
    assert (quick["grad_max"] <= 2e-9).all()
    assert (quick["newton"] > 0).all()
    # Never tried: descent goes all the way.
    monkeypatch.setattr(spurious, "NEWTON", 0.0)
    slow = safran_shamir([4], starts=12, finish="all", progress=False).runs
    assert (slow["newton"] == 0).all()
    assert (slow["steps"] > quick["steps"]).all()
    assert slow["spurious"].tolist() == quick["spurious"].tolist()
    # |F - F*| is of the order of grad^2 / curvature, far below 1e-12.
    assert (slow["loss"] - quick["loss"]).abs().max() < 1e-12


def test_company_changes_nothing():
    """Runs leave and enter the working set one by one; each ends where it would alone."""
    teacher, starts = torch.eye(5, dtype=torch.float64), start_points(5, 5, np.arange(60), 0)
    options = {"tol": 2e-9, "max_steps": 100_000, "every": True}
    together = spurious.descend(starts, teacher, **options)
    for b in (0, 17, 59):
        alone = spurious.descend(starts[b : b + 1], teacher, **options)
        # Sums over another number of rows round differently; descent forgets it.
        torch.testing.assert_close(alone.students[0], together.students[b], rtol=0, atol=1e-7)
        assert int(alone.steps[0]) == int(together.steps[b])
        assert alone.status[0] == together.status[b]


def test_descent_can_be_stopped():
    stop = Event()
    stop.set()
    starts = start_points(5, 5, np.arange(3), 0)
    ended = spurious.descend(
        starts, torch.eye(5, dtype=torch.float64), tol=1e-9, max_steps=500, every=True, stop=stop
    )
    assert ended.status == ["max_steps"] * 3 and ended.steps.tolist() == [0, 0, 0]


def test_unfinished_runs():
    # 10 and 120 are not multiples of the 50 steps between looks.
    for steps in (0, 10, 120):
        found = safran_shamir([6], starts=3, max_steps=steps, progress=False)
        assert found.runs["status"].tolist() == ["max_steps"] * 3
        assert found.runs["steps"].tolist() == [steps] * 3
    assert found.table()["unfinished"].tolist() == [3]
    assert repr(found).startswith("SafranShamir(3 starts in 1 cells")


def test_bad_input(pair):
    students, teacher = pair
    with pytest.raises(ShapeError, match=r"\[R, n, d\]"):
        population_loss(students[0], teacher)
    with pytest.raises(TypeError, match="float64"):
        population_gradient(students.float(), teacher.float())
    with pytest.raises(ValueError, match="teachers entries must be >= 1"):
        safran_shamir([0])
    with pytest.raises(ValueError, match="extra entries must be >= 0"):
        safran_shamir([6], [-1])
    with pytest.raises(ValueError, match="finish must be one of"):
        safran_shamir([6], finish="none")
    with pytest.raises(ValueError, match="at least one width"):
        safran_shamir([])
