"""Newton's method and Levenberg-Marquardt in the core against their plain forms.

And independent of company and threads.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

import edt
from edt import _core
from edt.ops.threads import one_blas_thread
from edt.tasks.given import objective_of
from edt.training import levenberg, newton
from edt.training.descent import Descent
from edt.training.progress import Meter

#: (hidden widths, outputs, loss, samples): depths, several outputs, all kinds of losses, chunks.
CASES = {
    "narrow": ([[6], [3]], 1, "mse", 37),
    "chunks": ([[4], [3]], 1, "mse", 5000),
    "deep": ([[4, 3], [5, 2]], 2, "mse", 300),
    "softmax": ([[5], [3]], 3, "cross_entropy", 90),
    "bce": ([[5], [3]], 2, "bce", 90),
}
#: Levenberg-Marquardt is for squared errors.
BOTH = [
    pytest.param(module, name, id=f"{module.__name__.rpartition('.')[2]}-{name}")
    for module in (newton, levenberg)
    for name, (_, _, loss, _) in CASES.items()
    if module is newton or loss == "mse"
]


def problem(cases, name):
    widths, d_out, loss, n = CASES[name]
    ens = cases.ensemble(widths, d_in=3, d_out=d_out, pruned=0.2, frozen=0.2)
    draw = torch.Generator().manual_seed(n)
    x = torch.randn(n, 3, generator=draw, dtype=torch.float64)
    y = torch.randn(n, d_out, generator=draw, dtype=torch.float64)
    if loss == "cross_entropy":
        y = y.argmax(-1)
    if loss == "bce":
        y = (y > 0).to(torch.float64)
    return ens, edt.Task(x, y, loss)


def after(module, ens, task, iterations, *, small=256, threads=None, chunk=25):
    """The descent after this many iterations."""
    objective = objective_of(ens, task, torch.zeros(ens.B, dtype=torch.int64))
    state = Descent(objective, ens.theta, 1e-10, None)
    state.refresh(torch.arange(ens.B))
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, Meter(False, "", ens.B) as meter:
        patch.setattr(module, "SMALL", small)
        patch.setattr(module, "CHUNK", chunk)
        try:
            torch.set_num_threads(threads or before)
            with one_blas_thread():
                if module is newton:
                    newton.newton(state, torch.arange(ens.B), iterations, meter)
                else:
                    levenberg.levenberg(state, torch.arange(ens.B), iterations, meter, switch=0.0)
        finally:
            torch.set_num_threads(before)
    return state


@pytest.mark.parametrize(("module", "name"), BOTH)
def test_as_the_plain_form(cases, module, name):
    """The same decisions; numbers to the rounding of two decompositions."""
    ens, task = problem(cases, name)
    plain, core = after(module, ens, task, 4, small=0), after(module, ens, task, 4)
    assert core.newton_iterations.tolist() == plain.newton_iterations.tolist()
    assert core.status.tolist() == plain.status.tolist()
    # Rounding of the eigenvectors grows by the condition of the Hessian (to 1e5) in each of four
    # steps on losses that fall; what a step gets wrong the next one takes in.
    torch.testing.assert_close(core.loss, plain.loss, rtol=1e-7, atol=1e-12)
    torch.testing.assert_close(core.grad_max, plain.grad_max, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(core.theta, plain.theta, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(core.moving, plain.moving, rtol=1e-5, atol=1e-6)
    fixed = ens.state != 1
    assert torch.equal(core.theta[fixed], ens.theta[fixed])
    assert not bool(core.grad[fixed].any())
    # What is left behind belongs together.
    fresh = Descent(core.objective, core.theta, 1e-10, None)
    fresh.refresh(torch.arange(ens.B))
    assert torch.equal(fresh.loss, core.loss)
    assert torch.equal(fresh.grad, core.grad)
    assert torch.equal(fresh.grad_max, core.grad_max)


@pytest.mark.parametrize(("module", "name"), BOTH)
def test_bits_alone_and_in_a_crowd(cases, module, name):
    ens, task = problem(cases, name)
    whole = after(module, ens, task, 6, threads=2)
    for other in (after(module, ens, task, 6, threads=1), after(module, ens, task, 6, chunk=2)):
        for part in ("theta", "grad", "loss", "grad_max", "moving", "newton_iterations", "status"):
            assert torch.equal(getattr(other, part), getattr(whole, part)), part
    for b in range(ens.B):
        alone = after(module, ens.network(b), task, 6)
        span = slice(int(whole.offsets[b]), int(whole.offsets[b + 1]))
        assert torch.equal(alone.theta, whole.theta[span])
        assert torch.equal(alone.loss, whole.loss[b : b + 1])


@pytest.mark.parametrize("module", [newton, levenberg])
def test_no_loss_rises(cases, module):
    ens, task = problem(cases, "narrow")
    losses = [after(module, ens, task, k).loss for k in range(1, 12)]
    for earlier, later in pairwise(losses):
        assert bool((later <= earlier * (1.0 + 1e-14)).all())


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
def test_verdicts_of_both_forms(monkeypatch, activation):
    """Students of several widths from Gaussian starts: status and verdict, seed by seed."""
    task = edt.tasks.teacher_student(d_in=2, teacher_width=3, n=200, activation=activation)
    ens = edt.Ensemble.init(
        widths=[1, 2, 3], seeds=range(4), d_in=2, d_out=1, activation=activation
    )
    options = {"method": "newton", "newton_steps": 60, "polish": False, "progress": False}
    core = edt.converge(task, ens, **options)
    monkeypatch.setattr(newton, "SMALL", 0)
    plain = edt.converge(task, ens, **options)
    same = [
        (a, b) == (c, d)
        for a, b, c, d in zip(core.status, core.verdict, plain.status, plain.verdict, strict=True)
    ]
    # Rounding may send a chaotic start elsewhere; not many.
    assert sum(same) >= 11


def test_saturated_units_and_overflow_stop_cleanly():
    """Weights at which Hessians are not finite end in a status, beside a healthy neighbour."""
    task = edt.tasks.teacher_student(d_in=2, teacher_width=2, n=50)
    ens = edt.Ensemble.init(widths=[2, 2], seeds=[0], d_in=2, d_out=1, activation="softplus")
    theta = ens.theta.clone()
    theta[: int(ens.offsets[1])] *= 1e170
    both = edt.converge(task, ens.with_theta(theta), method="newton", progress=False)
    alone = edt.converge(task, ens.network(1), method="newton", progress=False)
    assert both.status[0] in ("diverged", "stalled", "channel", "max_steps")
    assert torch.equal(both.networks.network(1).theta, alone.networks.theta)
    assert both.status[1] == alone.status[0]


@pytest.mark.skipif(
    not {"avx2", "avx512"} <= set(_core.isas()), reason="needs EDT_ISAS=all, AVX2 and AVX-512"
)
@pytest.mark.parametrize("name", ["narrow", "deep", "softmax"])
def test_avx512_and_avx2_end_with_the_same_bits(cases, name):
    """All stages of `converge`: L-BFGS, Newton, Levenberg-Marquardt, excursions."""
    ens, task = problem(cases, name)
    before, ends = _core.isa(), []
    try:
        for isa in ("avx512", "avx2"):
            _core.select_isa(isa)
            ends.append(edt.converge(task, ens, newton_steps=40, lbfgs_steps=60, progress=False))
    finally:
        _core.select_isa(before)
    assert torch.equal(ends[0].networks.theta, ends[1].networks.theta)
    assert torch.equal(ends[0].loss, ends[1].loss)
    assert torch.equal(ends[0].newton_iterations, ends[1].newton_iterations)
