"""Networks no block can hold (csrc/cuda/wide.cuh), over the shim: layer by layer, many blocks each.

`tiny_blocks` leaves a block so little shared memory that every network counts as wide, so that
small ones go through all cases.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from op_cases import MASKS, Case, any_case, compare
from short_runs import STEPS, results, start

from edt import Ensemble, Task
from edt.ops import cuda
from edt.ops.checks import problem_of
from edt.ops.cpu import loss_and_grad
from edt.training.cuda import CudaEngine
from edt.training.engine import Engine
from edt.training.state import RUNNING


@pytest.fixture
def tiny_blocks(shim):
    shim.set_limits(2, 1100, 2200)
    return shim


def wide_networks(case, job="gradient", **options):
    ens, task, index = case.build()
    plan = cuda.plan_of(problem_of(ens, task, index), ens.device)
    double = case.dtype == torch.float64
    return plan.schedule(job, double, task.N, **options)[0].wide_networks


def evaluations(ens, task, index, _, cotangent):
    """What wide networks have kernels of their own for."""
    problem, theta = problem_of(ens, task, index), ens.theta
    losses, grad = cuda.loss_and_grad(theta, problem)
    return {
        "predict": cuda.predict(theta, problem),
        "vjp": cuda.predict_vjp(theta, cotangent, problem),
        "loss": cuda.loss(theta, problem),
        "loss beside grad": losses,
        "grad": grad,
    }


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_anything(tiny_blocks, data):
    compare(data.draw(any_case(networks=3)), evaluations, vectors=1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("masks", ["dense", "sparse", "very sparse", "dead units"])
@pytest.mark.parametrize("samples", [1, 33, 129, 300])
def test_pieces_of_layers(tiny_blocks, samples, masks, dtype):
    """More units and edges than an item takes, counts around the sizes of tiles, unlike widths."""
    hidden = ((70, 37), (5, 131))
    case = Case(
        "softplus", "cross_entropy", dtype, hidden, d_in=67, d_out=5, masks=masks, samples=samples
    )
    assert wide_networks(case) == 2
    # Ten times the terms of the usual cases, and no averages over samples where there is one: the
    # CPU engine is up to 100 units off here.
    compare(case, evaluations, vectors=1, roundings=200)


@pytest.mark.parametrize("masks", ["dense", "sparse"])
def test_samples_in_chunks(tiny_blocks, masks):
    """More samples than are done at once: gradients and losses are added chunk by chunk."""
    case = Case(hidden=((4,), (3,)), samples=8192 + 4000, d_out=2, masks=masks, targets=2)
    # Sums of thousands of terms in unlike orders: the bars count each rounding once.
    ens, task, index = case.build()
    problem = problem_of(ens, task, index)
    assert wide_networks(case) == 2
    for found, wanted in zip(
        cuda.loss_and_grad(ens.theta, problem), loss_and_grad(ens.theta, problem), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        cuda.predict(ens.theta, problem)[:, -100:], plain_outputs(ens, task, index)[:, -100:]
    )


def plain_outputs(ens, task, index):
    from edt.ops.cpu import predict

    return predict(ens.theta, problem_of(ens, task, index))


@pytest.mark.parametrize("order", ["backward", "shuffled"])
def test_order_of_threads_does_not_matter(tiny_blocks, order):
    case = Case(hidden=((70, 9), (3, 20)), d_in=5, d_out=2, masks="mixed", samples=140)
    ens, task, index = case.build()
    cotangent = torch.randn(ens.B, task.N, 2, dtype=torch.float64)
    first = evaluations(ens, task, index, None, cotangent)
    for seed in range(2):
        tiny_blocks.set_order(order, seed)
        again = evaluations(ens, task, index, None, cotangent)
        assert all(torch.equal(first[name], again[name]) for name in first)


def lenet(sparsity, B=2, samples=20):
    ens = Ensemble.init(
        [(300, 100)],
        range(B),
        d_in=784,
        d_out=10,
        activation="relu",
        dtype=torch.float32,
        sparsity=sparsity,
    )
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(samples, 784, generator=draw)
    y = torch.randint(0, 10, (samples,), generator=draw)
    return ens, Task(x, y, "cross_entropy", n_classes=10)


@pytest.mark.parametrize("sparsity", [None, 0.9])
def test_lenet(shim, sparsity):
    """LeNet-300-100 on a whole GPU's limits, float32, against the CPU engine."""
    shim.set_limits(132, 227 * 1024, 228 * 1024)
    ens, task = lenet(sparsity)
    problem = problem_of(ens, task, torch.zeros(2, dtype=torch.int64))
    plan = cuda.plan_of(problem, ens.device)
    assert plan.schedule("gradient", False, task.N)[0].wide_networks == 2
    loss, grad = cuda.loss_and_grad(ens.theta, problem)
    wanted, slope = loss_and_grad(ens.theta, problem)
    # Sums of up to 784 terms in float32, in unlike orders.
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=0)
    torch.testing.assert_close(grad, slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "rule", [{}, {"batch_size": 4}, {"batch_size": 5, "loss_target": 0.7}], ids=str
)
def test_narrow_and_wide_together(shim, rule):
    """Some networks fit a block and some do not: each goes its way in one call."""
    shim.set_limits(2, 6 * 1024, 12 * 1024)
    case = Case(hidden=((2,), (60,), (3,)), samples=41, d_out=2, masks="sparse", d_in=3)
    options = {"moments": True, "batch_size": rule.get("batch_size", 0)}
    assert wide_networks(case, "train", **options) == 1
    ens, task, index = case.build()
    found = []
    for kind in (CudaEngine, Engine):
        state, how = start(ens, rule)
        kind(ens, task, index).train(state, how, STEPS)
        found.append(results(ens, state))
    for name, value in found[1].items():
        torch.testing.assert_close(
            found[0][name], value, rtol=1e-10, atol=1e-10, equal_nan=True, msg=name
        )


def test_shuffles_in_shared_memory(shim):
    """Where the order of the samples fits there; more of them than draws at once."""
    shim.set_limits(2, 14 * 1024, 28 * 1024)
    case = Case(hidden=((40,),), d_in=8, samples=2100)
    rule = {"batch_size": 1700}
    assert wide_networks(case, "train", moments=True, **rule) == 1
    ens, task, index = case.build()
    found = []
    for kind in (CudaEngine, Engine):
        state, how = start(ens, rule)
        kind(ens, task, index).train(state, how, 3)
        found.append(results(ens, state)["theta"])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("batch_size", [0, 4])
def test_networks_at_unequal_steps(tiny_blocks, batch_size):
    """After an interruption some networks are ahead: they wait, and every bit is the same."""
    case = Case(hidden=((3,), (5,), (4,)), samples=13, d_out=2, masks="mixed")
    ens, task, index = case.build()
    engine = CudaEngine(ens, task, index)
    whole, how = start(ens, {"batch_size": batch_size})
    engine.train(whole, how, STEPS)
    state, how = start(ens, {"batch_size": batch_size})
    state.status[1] = 1
    engine.train(state, how, 6)
    assert state.steps.tolist() == [6, 0, 6]
    state.status[1] = RUNNING
    engine.train(state, how, STEPS)
    for name, value in whole.tensors().items():
        assert torch.equal(state.tensors()[name].nan_to_num(9.0), value.nan_to_num(9.0)), name


@pytest.mark.parametrize("masks", MASKS)
def test_steps_on_every_mask(tiny_blocks, masks):
    case = Case(hidden=((3, 4), (5, 2)), samples=9, d_out=2, masks=masks)
    ens, task, index = case.build()
    found = []
    for kind in (CudaEngine, Engine):
        state, how = start(ens, {"optimizer": "adamw"})
        kind(ens, task, index).train(state, how, STEPS)
        found.append(results(ens, state))
    for name, value in found[1].items():
        torch.testing.assert_close(
            found[0][name], value, rtol=1e-10, atol=1e-10, equal_nan=True, msg=name
        )
