"""The last digits of zero loss: excursions down curved valleys, and what rounding leaves."""

from __future__ import annotations

import pytest
import torch

import edt
import edt.training as training
from edt import Ensemble, functional, tasks
from edt.ops.threads import one_blas_thread
from edt.tasks.given import objective_of
from edt.training import excursions as excursion_rules
from edt.training.descent import Descent
from edt.training.excursions import DEEP, GOOD, damped, excursions
from edt.training.progress import Meter

QUIET = {"progress": False}


def student(activation, width, seeds, d_in=2):
    return Ensemble.init(widths=[width], seeds=seeds, d_in=d_in, d_out=1, activation=activation)


def lowered(task, ens, least=GOOD, budget=600):
    """The networks after excursions from where they stand."""
    objective = objective_of(ens, task, torch.zeros(ens.B, dtype=torch.int64))
    state = Descent(objective, ens.theta, 1e-10, None)
    state.refresh(torch.arange(ens.B))
    with Meter(False, "", ens.B) as meter:
        excursions(state, torch.arange(ens.B), budget, meter, least=least)
    return state


@pytest.mark.parametrize(
    ("activation", "width", "seeds"),
    # Seeds that steps downwards leave between 1e-16 and 1e-23 after 1,000 iterations.
    [("softplus", 6, (2, 4, 8)), ("softplus", 12, (3, 6)), ("erf", 32, (3,)), ("sigmoid", 12, (1,)),
     ("g", 32, (0,))],
)  # fmt: skip
def test_students_reach_zero_loss(activation, width, seeds):
    task = tasks.teacher_student(d_in=2, teacher_width=4, n=1000, activation=activation)
    ends = edt.converge(task, student(activation, width, seeds), **QUIET)
    assert set(ends.status) == {"converged"}
    assert float(ends.loss.max()) < 1e-25
    assert float(functional.loss(ends.networks, task).max()) < 1e-25
    # Outputs of size 1, weights up to 20: rounding is far below.
    assert float(ends.loss_floor.max()) < 1e-28


def test_polish_is_an_option():
    """Without, wide networks stay where their valleys become slow; of seeds 0 to 4, all but 0."""
    task = tasks.teacher_student(teacher_width=4, d_in=2, n=128)
    wide = student("tanh", 16, [1, 2, 3])
    near = training.converge(task, wide, method="lm", polish=False, **QUIET)
    far = training.converge(task, wide, method="lm", **QUIET)
    for result in (near, far):
        assert set(result.status) == {"converged"}
        assert set(result.verdict) == {"flat"}
    assert float(near.grad_max.max()) <= 1e-10
    assert float(far.loss.max()) < 1e-25 < 1e-23 < float(near.loss.min())


def test_alone_and_in_a_crowd():
    task = tasks.teacher_student(d_in=2, teacher_width=3, n=200, activation="softplus")
    near = training.converge(task, student("softplus", 8, range(3)), polish=False, **QUIET)
    crowd = lowered(task, near.networks, budget=40)
    assert bool((crowd.loss <= near.loss).all())
    assert bool((crowd.loss < near.loss).any())
    for b in range(3):
        alone = lowered(task, near.networks.network(b), budget=40)
        span = slice(int(crowd.offsets[b]), int(crowd.offsets[b + 1]))
        assert torch.equal(alone.theta, crowd.theta[span])
        assert torch.equal(alone.loss, crowd.loss[b : b + 1])


def moved(objective, theta, jacobians, *, compiled, budget=excursion_rules.CHUNK):
    """The parameters after this many steps, whatever becomes of the loss."""
    state = Descent(objective, theta, 1e-10, None)
    everyone = torch.arange(objective.B)
    state.refresh(everyone)
    shares = (1e-2, 1e-4)
    if not compiled:
        trial = theta.clone()
        tracks = {
            b: excursion_rules.ExcursionState(
                shares, jacobians, float(state.loss[b]), trial[state.coordinates(b)], 1e300
            )
            for b in range(objective.B)
        }
        for _ in range(jacobians):
            excursion_rules._iterate(state, everyone, trial, tracks, False)
        return trial
    trial, rule, at = excursion_rules._setting_out(state, jacobians, shares, False)
    # The first look asks for promise; here every network sets out.
    at |= {"budget": budget, "mark": torch.full_like(state.loss, 1e300)}
    at["phase"].fill_(excursion_rules.GOING)
    for _ in range(-(-jacobians // budget)):
        objective.excursions(trial, state.mask(everyone), rule, at)
    assert at["taken"].tolist() == [jacobians] * objective.B
    return trial


@pytest.mark.parametrize("n", [37, 300, 5000])
@pytest.mark.parametrize("shape", ["one layer", "two layers, two outputs"])
def test_steps_of_the_core_are_those_of_lapack(cases, shape, n):
    """Masks, frozen parameters, units without outgoing weights, several outputs and chunks."""
    widths, d_out = ([[6], [3]], 1) if shape == "one layer" else ([[4, 3], [5, 2]], 2)
    ens = cases.ensemble(widths, d_in=3, d_out=d_out, pruned=0.3, frozen=0.2)
    draw = torch.Generator().manual_seed(n)
    x = torch.randn(n, 3, generator=draw, dtype=torch.float64)
    y = torch.randn(n, d_out, generator=draw, dtype=torch.float64)
    objective = objective_of(ens, edt.Task(x, y), torch.zeros(ens.B, dtype=torch.int64))
    with one_blas_thread():
        expected = moved(objective, ens.theta, 1, compiled=False)
    found = moved(objective, ens.theta, 1, compiled=True)
    # Two factorisations of matrices with condition numbers up to 1e6, damped to 1e4.
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)
    fixed = ens.state != 1
    assert torch.equal(found[fixed], ens.theta[fixed])
    # In one call, in several, and on any number of threads: the same bits.
    whole = moved(objective, ens.theta, 5, compiled=True)
    assert torch.equal(moved(objective, ens.theta, 5, compiled=True, budget=2), whole)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert torch.equal(moved(objective, ens.theta, 5, compiled=True), whole)
    finally:
        torch.set_num_threads(threads)


def test_large_networks_take_lapack(monkeypatch):
    """The same descent from both forms: to zero loss, with the same number of digits."""
    task = tasks.teacher_student(d_in=2, teacher_width=4, n=1000, activation="softplus")
    networks = student("softplus", 6, (2, 4))
    small = edt.converge(task, networks, **QUIET)
    monkeypatch.setattr(excursion_rules, "SMALL", 0)
    large = edt.converge(task, networks, **QUIET)
    assert large.status == small.status == ["converged", "converged"]
    assert large.verdict == small.verdict
    assert max(float(large.loss.max()), float(small.loss.max())) < 1e-25


def test_failed_excursions_leave_networks_alone():
    task = tasks.teacher_student(d_in=2, teacher_width=3, n=200, activation="softplus")
    near = training.converge(task, student("softplus", 8, range(3)), polish=False, **QUIET)
    # Three steps do not get below the valley floor, let alone to the share asked for.
    state = lowered(task, near.networks, least=DEEP * 1e-8, budget=3)
    assert torch.equal(state.theta, near.networks.theta)
    torch.testing.assert_close(state.loss, near.loss, rtol=0, atol=0)
    # Bad minima (a narrow student) are too high to set out from.
    bad = training.converge(task, student("softplus", 1, range(2)), **QUIET)
    assert torch.equal(lowered(task, bad.networks).theta, bad.networks.theta)


def test_damped_steps():
    """Against the normal equations where those are good enough."""
    draw = torch.Generator().manual_seed(1)
    both = torch.randn(30, 8, generator=draw, dtype=torch.float64)
    jacobian, r = both[:, :7], both[:, 7]
    step, left = damped(both, 1e-2)
    mu = 1e-2 * float((jacobian**2).sum())
    normal = jacobian.T @ jacobian + mu * torch.eye(7, dtype=torch.float64)
    expected = -torch.linalg.solve(normal, jacobian.T @ r)
    torch.testing.assert_close(step, expected, rtol=1e-12, atol=1e-14)
    model = float(((r + jacobian @ step) ** 2).sum() + mu * (step @ step))
    assert left == pytest.approx(model, rel=1e-12)


def test_loss_floor_is_what_rounding_makes():
    """Parameters off by a known relative error, far above rounding: the floor scales with it."""
    task = tasks.teacher_student(d_in=3, teacher_width=4, n=500, activation="erf")
    teacher = task.info["teacher"]
    result = training.converge(task, teacher, lbfgs_steps=0, newton_steps=0, **QUIET)
    assert float(result.loss) < 1e-31
    draw = torch.Generator().manual_seed(0)
    size, draws = 2.0**-30, 200
    losses = []
    for _ in range(draws):
        noise = torch.randn(teacher.total, generator=draw, dtype=torch.float64)
        shifted = teacher.with_theta(teacher.theta * (1.0 + size * noise))
        losses.append(float(functional.loss(shifted, task)))
    targets = float((task.y**2).mean())
    unit = 2.0**-53
    expected = (float(result.loss_floor) / unit**2 - targets) * size**2
    # A mean of 200 sums of squares: 3 standard deviations are about 30%.
    assert sum(losses) / draws == pytest.approx(expected, rel=0.3)
    assert result.recheck(task)["loss_floor"][0] == pytest.approx(float(result.loss_floor))


def test_no_floor_without_residuals(cases):
    """Cross-entropy has no Jacobian of residuals, hence no floor."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(40, 2, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 3, (40,), generator=draw)
    data = tasks.Task(x, labels, "cross_entropy")
    result = training.converge(data, cases.ensemble([2], d_out=3), newton_steps=3, **QUIET)
    assert bool(torch.isnan(result.loss_floor).all())
