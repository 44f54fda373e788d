"""The stages of `converge`: each method to the bottom, by itself and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares, minimize

import edt.training as training
from edt import _core, functional
from edt.objectives import NormPenalty
from edt.tasks import Task
from edt.tasks.given import objective_of
from edt.training import lbfgs as plain
from edt.training.descent import Descent
from edt.training.newton import newton
from edt.training.progress import Meter
from edt.training.steihaug import steihaug

QUIET = {"progress": False}
METHODS = ["lbfgs+newton", "newton", "lm", "cg"]


def realisable(cases, width=2, n=60):
    teacher = cases.ensemble([width], seed=11)
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return Task(x, cases.forward(1.5 * teacher.theta, teacher.layer_widths[0].tolist(), x))


def start(ens, data):
    objective = objective_of(ens, data, torch.zeros(ens.B, dtype=torch.int64))
    state = Descent(objective, ens.theta, 1e-10, None)
    state.refresh(torch.arange(ens.B))
    return state


@pytest.mark.parametrize("method", METHODS)
def test_every_method_reaches_the_bottom(cases, method):
    data, ens = cases.task(), cases.ensemble([1, 2, 3], seed=5)
    result = training.converge(data, ens, method=method, tol=1e-12, **QUIET)
    assert result.status == ["converged"] * 3
    before = functional.loss(ens, data)
    assert bool((result.loss <= before).all())
    assert float(result.grad_max.max()) <= 1e-12
    for b in range(3):
        lowest = torch.linalg.eigvalsh(cases.torch_hessian(result.networks, data, b))[0]
        # The two Hessians differ by rounding; Lanczos is asked for 1e-9 of ||H||.
        slack = 1e-8 * float(result.max_eig[b])
        assert float(result.min_eig[b]) == pytest.approx(float(lowest), abs=slack)


@pytest.mark.parametrize("method", ["lbfgs+newton", "newton", "lm"])
def test_zero_loss_is_reached(cases, method):
    data = realisable(cases)
    ens = cases.ensemble([2, 3, 4], seed=4)
    result = training.converge(data, ens, method=method, **QUIET)
    # A student at least as wide as its teacher: loss 0, up to the rounding of the outputs, u^2.
    assert "converged" in result.status
    assert float(result.loss.min()) < 1e-28


def test_wide_networks_reach_zero_loss_on_singular_sets(cases):
    """Twice the teacher's width: every zero is degenerate, J singular to high order."""
    data = realisable(cases, 2)
    ens = cases.ensemble([4, 5, 6], seed=8)
    result = training.converge(data, ens, method="lm", **QUIET)
    assert result.status == ["converged"] * 3
    assert set(result.verdict) == {"flat"}
    # Outputs of size 1 carry rounding u^2 ~ 5e-32; LM stops at 1e-27 of the targets' size.
    assert float(result.loss.max()) < 1e-26
    # Gauss-Newton with corrected steps: tens of iterations, where gradients need thousands.
    assert int(result.iterations.max()) < 200


def test_levenberg_alone_and_in_a_crowd(cases):
    data, ens = realisable(cases, 2), cases.ensemble([3, 5, 4], seed=8)
    options = {"method": "lm", "newton_steps": 12, **QUIET}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        crowd = training.converge(data, ens, **options)
        torch.set_num_threads(1)
        for b in range(3):
            alone = training.converge(data, ens.network(b), **options)
            assert torch.equal(cases.part(crowd.networks, b), alone.networks.theta)
    finally:
        torch.set_num_threads(threads)


def test_levenberg_with_weights_masks_and_outputs(cases):
    """The residuals and Jacobians behind it, against the loss and gradient of the core."""
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(40, 2, generator=draw, dtype=torch.float64)
    y = torch.randn(2, 40, 3, generator=draw, dtype=torch.float64)
    data = Task(x, y, weights=torch.rand(40, generator=draw, dtype=torch.float64))
    ens = cases.ensemble([3, 4], d_out=3, pruned=0.2, frozen=0.1, seed=2)
    objective = objective_of(ens, data, torch.tensor([1, 0]))
    loss, grad = torch.empty(2, dtype=torch.float64), torch.zeros_like(ens.theta)
    objective.loss_and_grad(ens.theta, loss, grad)
    for b, both in enumerate(objective.jacobians(ens.theta, torch.arange(2))):
        jacobian, r = both[:, :-1], both[:, -1]
        assert float(r @ r) == pytest.approx(float(loss[b]), rel=1e-13)
        free = cases.part(ens, b, ens.state) == 1
        slope = cases.part(ens, b, grad)[free]
        torch.testing.assert_close(2.0 * jacobian.T @ r, slope, rtol=1e-11, atol=1e-14)


def test_the_loss_never_rises(cases, monkeypatch):
    data, ens = realisable(cases, 3), cases.ensemble([2, 3, 4], seed=2)
    moves = []
    move = Descent.move

    def watched(self, b, trial, loss, grad, length):
        before = float(self.loss[b])
        moves.append(float(loss[b]) - before - self.noise(b, before))
        move(self, b, trial, loss, grad, length)

    monkeypatch.setattr(Descent, "move", watched)
    for method in ("newton", "lm", "cg"):
        moves.clear()
        training.converge(data, ens, method=method, newton_steps=60, **QUIET)
        assert moves
        assert max(moves) <= 0.0


def test_newton_against_scipy(cases):
    """From a start in a minimum's basin: the same minimum as scipy's exact trust region."""
    data = cases.task()
    near = training.converge(data, cases.ensemble([2], seed=1), **QUIET)
    assert near.verdict == ["minimum"]
    draw = torch.Generator().manual_seed(0)
    noise = 0.02 * torch.randn(near.networks.total, generator=draw, dtype=torch.float64)
    ens = near.networks.with_theta(near.networks.theta + noise)
    found = minimize(
        lambda t: float(functional.loss(ens, data, torch.from_numpy(t))[0]),
        ens.theta.numpy(),
        jac=lambda t: functional.loss_and_grad(ens, data, torch.from_numpy(t))[1].numpy(),
        hess=lambda t: functional.hessian(ens, data, torch.from_numpy(t))[0].numpy(),
        method="trust-exact",
        options={"gtol": 1e-9},
    )
    for method in METHODS:
        ours = training.converge(data, ens, method=method, **QUIET)
        assert ours.status == ["converged"]
        # Both are within |grad| / lambda_min of the minimum.
        reach = 1e-8 / float(ours.min_eig[0])
        np.testing.assert_allclose(ours.networks.theta.numpy(), found.x, rtol=0, atol=reach)


def test_levenberg_marquardt_against_scipy(cases):
    data = realisable(cases)
    ens = cases.ensemble([2], seed=11)
    ens = ens.with_theta(1.5 * ens.theta + 0.05)

    def residual(t):
        return (functional.predict(ens, data, torch.from_numpy(t))[0] - data.y).flatten().numpy()

    scipy = least_squares(residual, ens.theta.numpy(), method="lm", xtol=1e-15, ftol=1e-15)
    state = start(ens, data)
    with Meter(False, "", 1) as meter:
        newton(state, torch.arange(1), 50, meter, ggn=True)
    assert 2.0 * scipy.cost / data.N < 1e-28
    assert float(state.loss[0]) < 1e-28
    # Quadratic convergence: Gauss-Newton needs few steps at zero residual.
    assert int(state.newton_iterations[0]) <= 25


def test_conjugate_gradients_follow_negative_curvature(cases):
    """On a symmetric ridge (two equal neurons) the way down is a direction the gradient lacks."""
    data = cases.task()
    narrow = training.converge(data, cases.ensemble([1], seed=3), **QUIET)
    theta = narrow.networks.theta
    wide = torch.cat([theta[:2], theta[:2], theta[2:3], theta[2:3], theta[3:4] / 2, theta[3:4] / 2])
    ens = cases.ensemble([2]).with_theta(torch.cat([wide, theta[4:]]))
    dense = training.converge(data, ens, method="newton", **QUIET)
    large = training.converge(data, ens, method="cg", **QUIET)
    assert large.status == ["converged"]
    assert large.verdict == dense.verdict
    assert float(large.loss[0]) <= float(narrow.loss[0])
    assert float(large.loss[0]) == pytest.approx(float(dense.loss[0]), rel=1e-8)


def test_index_without_the_hessian(cases):
    ens = cases.ensemble([3], seed=3)
    data = cases.critical(ens, seed=3)
    dense = training.converge(data, ens, escape_saddles=False, **QUIET)
    assert int(dense.index[0]) > 0
    # At an exact saddle neither stage moves, so the index is that of the same point.
    large = training.converge(data, ens, method="cg", lbfgs_steps=0, newton_steps=0, **QUIET)
    state = start(ens, data)
    with Meter(False, "", 1) as meter:
        steihaug(state, torch.arange(1), 5, meter)
    torch.testing.assert_close(state.theta, ens.theta, rtol=0, atol=1e-9)
    from edt.training.escape import Spectra, measure

    spectra = Spectra.empty(1)
    measure(state, torch.arange(1), spectra, torch.zeros(1, dtype=torch.bool))
    assert int(spectra.negative[0]) == int(dense.index[0])
    assert float(spectra.lowest[0]) == pytest.approx(float(dense.min_eig[0]), rel=1e-6)
    assert large.index.shape == (1,)


def test_large_networks_are_not_refused(cases):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(30, 3, generator=draw, dtype=torch.float64)
    data = Task(x, torch.sin(x).sum(1, keepdim=True))
    ens = cases.ensemble([40, 3], d_in=3)
    result = training.converge(data, ens, dense_limit=100, tol=1e-8, newton_steps=100, **QUIET)
    # 201 coordinates and 30 samples: zero loss, flat.
    assert result.status[0] == "converged"
    assert result.verdict[0] == "flat"
    assert int(result.n_flat[0]) == -1
    assert int(result.n_flat[1]) >= 0
    with pytest.raises(ValueError, match="escape_saddles"):
        training.converge(data, ens, dense_limit=100, escape_saddles=False, **QUIET)


def test_soft_norm_bound(cases):
    data, ens = cases.task(), cases.ensemble([2, 3], seed=1)
    bound = torch.tensor([0.1, 0.2], dtype=torch.float64)
    for method in ("auto", "lm", "cg"):
        result = training.converge(data, ens, maxnorm=bound, method=method, **QUIET)
        assert result.status == ["converged"] * 2
        objective = NormPenalty(objective_of(ens, data, torch.zeros(2, dtype=torch.int64)), bound)
        loss, grad = torch.empty(2, dtype=torch.float64), torch.empty_like(ens.theta)
        objective.loss_and_grad(result.networks.theta, loss, grad)
        assert torch.equal(loss, result.loss)
        assert float(grad.abs().max()) <= 1e-10
        assert bool((functional.loss(result.networks, data) < loss).all())
    free = training.converge(data, ens, maxnorm=1e6, **QUIET)
    plain_result = training.converge(data, ens, **QUIET)
    torch.testing.assert_close(free.loss, plain_result.loss, rtol=1e-6, atol=1e-12)


def test_plain_lbfgs_against_the_core(cases):
    """The torch L-BFGS and the core's, on networks with one nearby minimum each."""
    data, ens = cases.task(), cases.ensemble([1, 2], seed=5)
    ends = []
    for own in (True, False):
        state = start(ens, data)
        done = torch.zeros(2, dtype=torch.int64)
        status = torch.zeros(2, dtype=torch.int8)
        arguments = (
            state.theta,
            torch.ones(2, dtype=torch.uint8),
            10,
            3000,
            1e-7,
            done,
            status,
            state.loss,
            state.grad_max,
        )
        if own:
            plain.minimise(state.objective, *arguments)
        else:
            state.objective.lbfgs(*arguments)
        # One meaning of the codes, whichever of the two ran.
        ended = {_core.CODES["lbfgs"][code] for code in status.tolist()}
        assert ended <= {"converged", "stalled"}
        assert float(state.grad_max.max()) <= 1e-6
        loss, _grad = functional.loss_and_grad(ens, data, state.theta)
        torch.testing.assert_close(loss, state.loss, rtol=1e-14, atol=0)
        ends.append(loss)
    # Both within 1e-6 of stationarity: losses equal to second order.
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-8, atol=1e-10)


def test_plain_lbfgs_alone_and_in_a_crowd(cases):
    data, ens = cases.task(), cases.ensemble([3, 1, 4], seed=2)
    crowd = start(ens, data)
    done, status = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int8)
    options = (5, 40, 1e-12)
    everyone = torch.ones(3, dtype=torch.uint8)
    plain.minimise(
        crowd.objective, crowd.theta, everyone, *options, done, status, crowd.loss, crowd.grad_max
    )
    for b in range(3):
        alone = start(ens.network(b), data)
        one, code = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int8)
        plain.minimise(
            alone.objective,
            alone.theta,
            torch.ones(1, dtype=torch.uint8),
            *options,
            one,
            code,
            alone.loss,
            alone.grad_max,
        )
        assert torch.equal(alone.theta, cases.part(ens, b, crowd.theta))
        assert (int(one[0]), int(code[0])) == (int(done[b]), int(status[b]))


def test_evidence(cases):
    data, ens = cases.task(), cases.ensemble([1], seed=1)
    result = training.converge(data, ens, **QUIET)
    proof = result.evidence(0)
    assert proof.verdict == "minimum"
    assert proof.condition == pytest.approx(float(result.max_eig[0] / result.min_eig[0]))
    assert proof.margin > 1e3
    assert proof.grad_max <= proof.tol == 1e-10
    # A Newton step from here is no longer than the distance that is claimed times sqrt(P).
    grad = functional.loss_and_grad(result.networks, data)[1]
    step = torch.linalg.solve(functional.hessian(result.networks, data)[0], grad)
    assert float(step.norm()) <= proof.distance * ens.total**0.5
    with pytest.raises(IndexError, match="b must be"):
        result.evidence(1)


BAD = [
    ({"method": "lbfgs"}, ValueError, "method must be one of"),
    ({"method": 3}, ValueError, "method"),
    ({"maxnorm": 0.0}, ValueError, "maxnorm"),
    ({"maxnorm": [1.0, 2.0, 3.0]}, ValueError, "maxnorm"),
    ({"dense_limit": 0}, ValueError, "dense_limit"),
]


@pytest.mark.parametrize(("bad", "kind", "says"), BAD, ids=[str(c[0]) for c in BAD])
def test_bad_input(cases, bad, kind, says):
    with pytest.raises(kind, match=says):
        training.converge(cases.task(), cases.ensemble([2, 3]), **QUIET, **bad)
