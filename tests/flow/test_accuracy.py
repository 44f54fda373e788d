"""Trajectories against scipy's solvers, closed forms and plain gradient descent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edt import functional
from edt.flow import gradient_flow
from edt.tasks import Task

TIMES = np.array([0.0, 0.01, 0.1, 0.5, 1.0, 3.0, 8.0, 20.0])


def follow(data, ens, **options):
    options = {"record": TIMES, "max_time": 20.0, "record_params": True, **options}
    return gradient_flow(data, ens, progress=False, **options)


@pytest.mark.parametrize("activation", ["tanh", "softplus", "g"])
def test_rosenbrock_against_radau(cases, activation):
    ens, data = cases.ensemble([3], activation=activation), cases.task()
    expected = cases.reference(ens, data, TIMES)
    for rtol, atol in ((1e-6, 1e-9), (1e-9, 1e-12)):
        found = follow(data, ens, rtol=rtol, atol=atol, tol=0.0)
        times, path = found.trajectory(0)
        assert times.tolist() == TIMES.tolist()
        # Errors per step of at most rtol |theta| add up over some tens of steps and are mostly
        # damped again; between steps the interpolant is one order lower.
        torch.testing.assert_close(path, expected, rtol=0, atol=100 * rtol * 3.0)
        assert torch.equal(path[-1], found.networks.theta)


def test_lsoda_agrees_too(cases):
    # A second judge of another family, on a masked two-layer network with two outputs.
    ens = cases.ensemble([(3, 2)], d_out=2, masked=True)
    data = cases.task(d_out=2)
    expected = cases.reference(ens, data, TIMES, method="LSODA")
    _, path = follow(data, ens, rtol=1e-8, atol=1e-11, tol=0.0).trajectory(0)
    torch.testing.assert_close(path, expected, rtol=0, atol=3e-6)
    still = ens.state != 1
    assert bool((path[:, still] == ens.theta[still]).all())


def test_error_follows_the_tolerance(cases):
    ens, data = cases.ensemble([2]), cases.task()
    expected = cases.reference(ens, data, TIMES, rtol=1e-12)
    errors, steps = [], []
    for rtol in (1e-4, 1e-6, 1e-8):
        found = follow(data, ens, rtol=rtol, atol=1e-3 * rtol, tol=0.0)
        errors.append(float((found.trajectory(0)[1] - expected).abs().max()))
        steps.append(int(found.steps[0]))
    # A hundred times the accuracy, at 10^(2/5) = 2.5 times the steps (order 5).
    assert errors[1] < 0.1 * errors[0]
    assert errors[2] < 0.1 * errors[1]
    assert steps[2] < 4.0 * steps[1] < 16.0 * steps[0]


def test_chebyshev_against_radau(cases):
    times = TIMES[:7]
    ens, data = cases.ensemble([4]), cases.task()
    expected = cases.reference(ens, data, times)
    found = gradient_flow(
        data,
        ens,
        method="chebyshev",
        rtol=1e-7,
        atol=1e-10,
        tol=0.0,
        max_time=8.0,
        record=times,
        record_params=True,
        progress=False,
    )
    assert found.method == ["chebyshev"]
    assert int(found.hessians[0]) == 0
    torch.testing.assert_close(found.trajectory(0)[1], expected, rtol=0, atol=3e-5)


def test_stiff_linear_flow_in_closed_form(cases):
    """With the first layer frozen the flow is linear: ``exp(-H t)``, here from 1e-2 to 1e6."""
    ens, data = cases.ensemble([4], activation="softplus"), cases.task()
    state = torch.full_like(ens.state, 2)
    state[-5:] = 1
    ens = ens.with_state(state)
    hess = functional.hessian(ens, data)[0]
    slope = functional.loss_and_grad(ens, data)[1][-5:]
    values, vectors = torch.linalg.eigh(hess)
    assert float(values[-1] / values[0]) > 1e3
    times = np.array([0.0, 1e-2, 1.0, 1e2, 1e4, 1e6])
    moved = []
    for t in times:
        factor = -torch.expm1(-values * t) / values
        moved.append(ens.theta[-5:] - vectors @ (factor * (vectors.T @ slope)))
    options = {"record": times, "max_time": 1e6, "tol": 0.0, "rtol": 1e-8, "atol": 1e-10}
    found = follow(data, ens, **options)
    torch.testing.assert_close(
        found.trajectory(0)[1][:, -5:], torch.stack(moved), rtol=0, atol=3e-7
    )
    # Steps are bounded by accuracy, not by the largest eigenvalue: it alone would ask an explicit
    # method for t lambda / 2 steps.
    assert int(found.steps[0]) < 1e-3 * 1e6 * float(values[-1]) / 2
    explicit = follow(
        data,
        ens,
        **{**options, "max_time": 1e2, "record": times[:4], "rtol": 1e-6},
        method="chebyshev",
    )
    torch.testing.assert_close(
        explicit.trajectory(0)[1][:, -5:], torch.stack(moved[:4]), rtol=0, atol=1e-4
    )
    # Euler's method needs h < 2 / lambda; a stage of this one reaches further, the more so the
    # longer the steps that accuracy allows.
    longest = float(explicit.time[0] / explicit.steps[0])
    per_step = int(explicit.gradients[0]) / int(explicit.steps[0])
    assert per_step < 2.0 + 1.6 * (1.0 + longest * float(values[-1])) ** 0.5


def test_gradient_descent_in_the_limit_of_small_steps(cases):
    ens, data = cases.ensemble([3, 2]), cases.task()
    found = gradient_flow(
        data, ens, max_time=2.0, rtol=1e-10, atol=1e-12, record=None, progress=False
    )
    ends = []
    for steps in (400, 800):
        theta = ens.theta.clone()
        for _ in range(steps):
            theta = theta - 2.0 / steps * functional.loss_and_grad(ens, data, theta)[1]
        ends.append(theta)
    # Euler's error is a h + b h^2: halving h halves it, and extrapolation leaves the second term.
    first = float((ends[0] - found.networks.theta).abs().max())
    second = float((ends[1] - found.networks.theta).abs().max())
    assert first / second == pytest.approx(2.0, rel=0.05)
    torch.testing.assert_close(
        2 * ends[1] - ends[0], found.networks.theta, rtol=0, atol=second / 20
    )


def test_time_scales(cases):
    ens, data = cases.ensemble([2]), cases.task()
    tau = torch.exp(torch.randn(ens.total, generator=torch.Generator().manual_seed(0)).double())
    expected = cases.reference(ens, data, TIMES[:7], tau)
    for method in ("rosenbrock", "chebyshev"):
        found = follow(
            data,
            ens,
            time_scales=tau,
            method=method,
            max_time=8.0,
            record=TIMES[:7],
            rtol=1e-8,
            atol=1e-11,
            tol=0.0,
        )
        torch.testing.assert_close(found.trajectory(0)[1], expected, rtol=0, atol=3e-6)
    same = follow(data, ens, time_scales=torch.ones_like(tau))
    assert torch.equal(same.networks.theta, follow(data, ens).networks.theta)


def test_unstable_directions_are_not_stepped_over(cases):
    """On a saddle's stable manifold long steps must not blow up what is only noise.

    Two equal neurons stay equal under the exact flow; their difference may be unstable. With the
    symmetry exact in the start, the step is bounded by the negative curvature all the same.
    """
    ens, data = cases.ensemble([2]), cases.task()
    theta = ens.theta.clone()
    theta[2:4], theta[5], theta[7] = theta[0:2], theta[4], theta[6]
    ens = ens.with_theta(theta)
    found = follow(data, ens, tol=0.0)
    _, path = found.trajectory(0)
    expected = cases.reference(ens, data, TIMES[:7])
    torch.testing.assert_close(path[:7], expected, rtol=0, atol=1e-4)
    # Noise of 1e-16 grows at most like the exact flow's variation: over the first ten units of
    # time that is far from visible.
    difference = path[:7, 0:2] - path[:7, 2:4]
    assert float(difference.abs().max()) < 1e-9


@pytest.mark.parametrize("method", ["rosenbrock", "chebyshev"])
def test_the_loss_never_rises(cases, method):
    ens, data = cases.ensemble([2, 3, 4], [0, 1]), cases.task()
    found = gradient_flow(
        data, ens, method=method, rtol=1e-3, atol=1e-4, max_time=1e3, progress=False
    )
    loss = found.history["loss"].values
    for b in range(len(ens)):
        own = loss[~np.isnan(loss[:, b]), b]
        # Interpolated points carry the tolerance of the run; the last entry is a step's end.
        assert float(found.loss[b]) <= own[0]
        assert (np.diff(own) <= 1e-3 * own[:-1]).all()
    assert torch.equal(found.loss, functional.loss(found.networks, data))


def test_weighted_cross_entropy(cases):
    ens = cases.ensemble([3], d_out=3)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(40, 2, generator=draw, dtype=torch.float64)
    data = Task(
        x, torch.randint(0, 3, (40,), generator=draw), "cross_entropy", torch.rand(40).double()
    )
    times = TIMES[:7]
    _, path = follow(data, ens, max_time=8.0, record=times, rtol=1e-8, atol=1e-11).trajectory(0)
    torch.testing.assert_close(path, cases.reference(ens, data, times), rtol=0, atol=3e-6)
