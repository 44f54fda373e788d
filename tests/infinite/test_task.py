"""Population tasks: derivatives against quadrature, and every engine on them."""

from __future__ import annotations

import pytest
import torch

import edt.training as training
from edt import curvature, functional
from edt.ensemble import Ensemble
from edt.infinite import PopulationTask, population
from edt.landscape import population_gradient, population_hessian, population_loss
from edt.objectives import hessians
from edt.tasks import Task

QUIET = {"progress": False}


def networks(widths, seed, *, activation="erf", d_in=2, d_out=1, bias=True, **more):
    """Networks with standard normal parameters."""
    plain = Ensemble(widths, d_in, d_out, activation=activation, bias=bias)
    draw = torch.Generator().manual_seed(seed)
    theta = torch.randn(plain.total, generator=draw, dtype=torch.float64)
    return Ensemble(widths, d_in, d_out, activation=activation, bias=bias, theta=theta, **more)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("d_out", [1, 2])
def test_erf_against_quadrature(bias, d_out):
    teacher = networks([3], 0, d_out=d_out, bias=bias)
    students = networks([2, 4], 1, d_out=d_out, bias=bias)
    exact = population(teacher)
    rule = population(teacher, method="quadrature", nodes=150)
    assert isinstance(exact, PopulationTask) and isinstance(rule, Task)
    # Quadrature of 150 nodes is exact to rounding for weights of this size.
    tight = {"rtol": 0.0, "atol": 2e-14}
    for mine, theirs in zip(
        functional.loss_and_grad(students, exact),
        functional.loss_and_grad(students, rule),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, **tight)
    for ggn in (False, True):
        mine, theirs = (functional.hessian(students, task, ggn=ggn) for task in (exact, rule))
        for one, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(one, other, **tight)
        vectors = torch.stack([torch.ones_like(students.theta), students.theta])
        product = functional.ggn_vp if ggn else functional.hvp
        torch.testing.assert_close(
            product(students, exact, vectors), product(students, rule, vectors), rtol=0, atol=1e-13
        )
    torch.testing.assert_close(exact.variance, rule.variance, **tight)


@pytest.mark.parametrize("bias", [True, False])
def test_relu_derivatives(bias):
    teacher = networks([3], 0, activation="relu", bias=bias)
    students = networks([2, 3], 1, activation="relu", bias=bias)
    task = population(teacher)
    objective = task.objective(students, torch.zeros(2, dtype=torch.int64))
    loss, grad = functional.loss_and_grad(students, task)
    whole = torch.block_diag(*functional.hessian(students, task))
    step = 1e-6
    for i in range(students.total):
        move = torch.zeros_like(students.theta)
        move[i] = step
        (up, ahead), (down, behind) = (
            functional.loss_and_grad(students, task, students.theta + sign * move)
            for sign in (1, -1)
        )
        # Central differences: u / step and step^2.
        assert float(grad[i]) == pytest.approx(float((up - down).sum()) / (2 * step), abs=1e-7)
        column = (ahead - behind) / (2 * step)
        torch.testing.assert_close(whole[:, i], column, rtol=0, atol=1e-7)
    sample = task.sample(200_000)
    # Monte Carlo: three per cent of a matrix of size ||G|| is several standard errors.
    for mine, theirs in zip(
        hessians(objective, students.theta, torch.arange(2), ggn=True),
        functional.hessian(students, sample, ggn=True),
        strict=True,
    ):
        assert float((mine - theirs).norm()) < 0.03 * float(mine.norm())
    torch.testing.assert_close(loss, functional.loss(students, sample), rtol=0.03, atol=0)


def test_relu_against_the_closed_form_without_output_weights():
    """Output weights 1 and no biases: Safran and Shamir's loss, times two."""
    draw = torch.Generator().manual_seed(3)
    v = torch.eye(4, dtype=torch.float64)
    w = torch.randn(1, 5, 4, generator=draw, dtype=torch.float64)

    def network(rows):
        theta = torch.cat([rows.reshape(-1), torch.ones(len(rows), dtype=torch.float64)])
        return Ensemble([len(rows)], 4, 1, activation="relu", bias=False, theta=theta)

    students, task = network(w[0]), population(network(v))
    loss, grad = functional.loss_and_grad(students, task)
    torch.testing.assert_close(loss, 2.0 * population_loss(w, v), rtol=1e-13, atol=1e-13)
    slope = 2.0 * population_gradient(w, v).reshape(-1)
    torch.testing.assert_close(grad[:20], slope, rtol=0, atol=1e-13)
    inner = functional.hessian(students, task)[0][:20, :20]
    torch.testing.assert_close(inner, 2.0 * population_hessian(w, v)[0], rtol=0, atol=1e-12)


def test_masks_and_targets():
    teachers = networks([2, 3], 0)
    state = torch.ones(networks([3, 3], 1).total, dtype=torch.uint8)
    state[3], state[7] = 0, 2
    students = networks([3, 3], 1)
    theta = students.theta.clone()
    theta[3] = 0.0
    students = Ensemble([3, 3], 2, 1, activation="erf", theta=theta, state=state)
    index = torch.tensor([1, 0])
    exact, rule = (
        population(teachers, method=m, nodes=n) for m, n in (("closed", None), ("quadrature", 150))
    )
    assert exact.T == rule.T == 2
    for name in ("loss_and_grad", "hessian"):
        mine, theirs = (
            getattr(functional, name)(students, t, task_index=index) for t in (exact, rule)
        )
        for one, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=2e-14)


def test_training_is_that_of_the_quadrature():
    """The engine in PyTorch and the compiled one take the same steps on the same loss."""
    teacher, students = networks([3], 0), networks([2, 4], 1)
    exact, rule = population(teacher), population(teacher, method="quadrature", nodes=100)
    for options in (
        {"optimizer": "adam", "lr": 0.02, "weight_decay": 1e-3},
        {"optimizer": "adamw", "lr": 0.02, "weight_decay": 1e-2},
        {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True},
        {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "dampening": 0.3},
        {"optimizer": "gd", "lr": [0.05, 0.1], "schedule": "cosine"},
    ):
        mine, theirs = (
            training.masked_train(task, students, steps=25, record=5, **options, **QUIET)
            for task in (exact, rule)
        )
        # Rounding of 1e-15 grows along 25 steps.
        torch.testing.assert_close(mine.networks.theta, theirs.networks.theta, rtol=0, atol=1e-11)
        torch.testing.assert_close(mine.loss, theirs.loss, rtol=0, atol=1e-12)
        assert mine.history.equals(mine.history)
        assert mine.status == theirs.status
    stopped = training.masked_train(exact, students, steps=50, loss_target=1e9, **QUIET)
    assert stopped.status == ["target"] * 2 and stopped.steps.tolist() == [0, 0]


def test_training_resumes(tmp_path):
    teacher, students = networks([2], 0), networks([2, 3], 1)
    task = population(teacher)
    options = {"steps": 30, "lr": 0.01, **QUIET}
    whole = training.masked_train(task, students, **options)
    cut = training.masked_train(task, students, checkpoint=tmp_path, max_seconds=0.0, **options)
    assert cut.interrupted
    resumed = training.masked_train(task, students, checkpoint=tmp_path, **options)
    assert torch.equal(whole.networks.theta, resumed.networks.theta)


@pytest.mark.parametrize("method", ["auto", "lm", "cg"])
def test_converge(method):
    teacher = networks([2], 5, d_in=3)
    students = networks([1, 2], 7, d_in=3)
    before = functional.loss(students, population(teacher))
    result = training.converge(
        population(teacher), students, method=method, newton_steps=200, **QUIET
    )
    assert result.status == ["converged"] * 2
    assert float(result.grad_max.max()) <= 1e-10
    assert bool((result.loss < before).all())
    assert result.verdict[0] == "minimum"
    if result.loss[1] < 1e-13:
        # Zero loss: the student is the teacher up to its symmetries.
        x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        blank = Task(x, torch.zeros(50, 1, dtype=torch.float64))
        mine, theirs = (
            functional.predict(result.networks, blank)[1],
            functional.predict(teacher, blank)[0],
        )
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


def test_curvature_functions():
    teacher, students = networks([2], 0), networks([2, 3], 1)
    task = population(teacher)
    dense = functional.hessian(students, task)
    spectra = curvature.hessian_spectrum(students, task)
    lowest = curvature.extreme_eigenpairs(students, task, 2)
    split = curvature.hessian_split(students, task)
    for b, matrix in enumerate(dense):
        values = torch.linalg.eigvalsh(matrix)
        torch.testing.assert_close(spectra[b], values, rtol=0, atol=1e-12)
        torch.testing.assert_close(lowest[b].values, values[:2], rtol=0, atol=1e-9)
        assert float(split[b].ggn[0]) > -1e-13
    operator = curvature.HessianOperator(students, task, 1)
    vector = torch.ones(operator.shape[0], dtype=torch.float64)
    expected = dense[1] @ vector
    torch.testing.assert_close(
        torch.from_numpy(operator @ vector.numpy()), expected, rtol=0, atol=1e-12
    )


def test_quadrature_for_any_network():
    teacher = networks([(2, 2)], 0, activation="softplus")
    rule = population(teacher)
    assert isinstance(rule, Task)
    assert float(rule.coef.sum()) == pytest.approx(1.0, abs=1e-12)
    # Moments of the inputs: E[x_i] = 0, E[x_i x_j] = 1(i = j), to rounding.
    moments = rule.x.T @ (rule.coef[0][:, None] * rule.x)
    torch.testing.assert_close(moments, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-12)
    finer = population(teacher, nodes=100)
    student = networks([3], 1, activation="tanh")
    torch.testing.assert_close(
        functional.loss(student, rule), functional.loss(student, finer), rtol=1e-6, atol=0
    )


def test_bad_input():
    teacher = networks([2], 0)
    with pytest.raises(TypeError, match="teacher"):
        population(None)
    with pytest.raises(ValueError, match="method"):
        population(teacher, method="exact")
    with pytest.raises(ValueError, match="closed forms"):
        population(networks([2], 0, activation="tanh"), method="closed")
    with pytest.raises(ValueError, match="more than"):
        population(networks([2], 0, activation="tanh", d_in=8))
    with pytest.raises(ValueError, match="nodes"):
        population(teacher, method="quadrature", nodes=1)
    task = population(teacher)
    assert repr(task) == "PopulationTask(1 erf teacher of width 2, 2 -> 1)"
    with pytest.raises(ValueError, match="erf units"):
        training.converge(task, networks([2], 0, activation="tanh"), **QUIET)
    with pytest.raises(ValueError, match="d_in"):
        training.converge(task, networks([2], 0, d_in=3), **QUIET)
    with pytest.raises(ValueError, match="batch_size"):
        training.masked_train(task, networks([2], 0), batch_size=5, **QUIET)
    single = Ensemble([2], 2, 1, activation="erf", dtype=torch.float32)
    with pytest.raises(TypeError, match="float64"):
        functional.hessian(single, task)
    with pytest.raises(ValueError, match="task_index"):
        functional.loss(networks([2], 0), task, task_index=torch.tensor([1]))
