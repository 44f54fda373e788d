"""Certified labels against code of its own: autograd Hessians, 40-digit Newton, scipy's descent."""

from __future__ import annotations

import pytest
import torch

from edt.landscape import find_minima
from edt.studies.common.spec_parts import TeacherSpec
from edt.studies.common.targets import teacher_task


@pytest.fixture(scope="module")
def ends():
    """60 students of widths 2 and 3 of a teacher of width 4, certified."""
    task = teacher_task(TeacherSpec(teachers=1, samples=48))
    found = find_minima(task, widths=[2, 3], seeds=range(30), steps=1000, lr=0.02, progress=False)
    x = task.x.to(torch.float64)
    y = (task.y if task.y.dim() == 2 else task.y[0]).to(torch.float64)[:, 0]
    return found, x, y


def of(found, b):
    start, end = (int(found.networks.offsets[b + k]) for k in (0, 1))
    width = int(found.networks.layer_widths[b, 1])
    return found.networks.theta[start:end].to(torch.float64), width


def test_there_is_something_to_check(ends):
    labels = set(ends[0].label)
    assert {"minimum", "channel"} <= labels or {"minimum", "saturated"} <= labels


def test_certified_minima_are_minima(ends, own):
    """Positive definite by autograd, and nothing lower nearby for a descent of another make."""
    found, x, y = ends
    chosen = [b for b, word in enumerate(found.label) if word == "minimum"]
    for b in chosen:
        theta, width = of(found, b)
        value, grad, hessian = own.curvature(theta, x, y, width)
        assert value == pytest.approx(float(found.loss[b]), rel=1e-10)
        values = torch.linalg.eigvalsh(hessian)
        # Below that their signs are rounding: ten units of the norm.
        assert float(values[0]) > 10 * 2.0**-52 * len(values) * float(values[-1])
        assert float(torch.linalg.solve(hessian, grad).norm()) < 1e-3 * float(theta.norm())
    for b in chosen[:6]:
        theta, width = of(found, b)
        push = torch.randn(theta.shape, generator=torch.Generator().manual_seed(b)).double()
        _, value = own.trained(theta + 1e-4 * push, x, y, width)
        assert value >= float(found.loss[b]) * (1 - 1e-7)


def test_minima_stand_still_in_forty_digits(ends, own):
    pytest.importorskip("mpmath")
    found, x, y = ends
    chosen = [
        b for b, word in enumerate(found.label)
        if word == "minimum" and int(found.networks.layer_widths[b, 1]) == 2
    ]  # fmt: skip
    for b in chosen[:2]:
        theta, width = of(found, b)
        moved, last, slope = own.mp_newton(theta, x, y, width, steps=4)
        # Quadratic convergence from where double precision ends: nothing is left to go.
        assert slope < 1e-25 and last < 1e-20
        assert moved < 1e-6 * float(theta.norm())


def test_channels_run_on(ends, own):
    """No minimum in a channel: its Newton step is long, or its Hessian singular to rounding, and
    two opponents' input weights are nearly one."""
    found, x, y = ends
    chosen = [b for b, word in enumerate(found.label) if word == "channel"]
    for b in chosen:
        theta, width = of(found, b)
        _, grad, hessian = own.curvature(theta, x, y, width)
        values, vectors = torch.linalg.eigh(hessian)
        unit = 10 * 2.0**-52 * len(values) * float(values.abs().max())
        step = (vectors.T @ grad / values.abs().clamp_min(unit)).norm()
        flat = float(values[0]) <= unit
        assert flat or float(step) > 1e-3 * max(1.0, float(theta.norm()))
        weight, bias, _, _ = own.unpack(theta, x.shape[1], width)
        rows = torch.cat([weight, bias[:, None]], 1)
        to_bias = 1.0 - float((rows[:, -1].abs() / rows.norm(dim=1)).max())
        grown = float(theta.norm()) > 30.0
        assert own.closeness(theta, x.shape[1], width) < 1e-3 or to_bias < 1e-3 or grown


def test_saturated_units_do_not_bend_on_the_data(ends, own):
    found, x, _ = ends
    for b, word in enumerate(found.label):
        if word != "saturated":
            continue
        theta, width = of(found, b)
        weight, bias, _, _ = own.unpack(theta, x.shape[1], width)
        slope = 1.0 - torch.tanh(x @ weight.T + bias).square()
        assert int((slope > 1e-6).sum(0).min()) < x.shape[1] + 1
