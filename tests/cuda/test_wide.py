"""Networks no block can hold (csrc/cuda/wide.cuh), over the shim: layer by layer, many blocks each.

`tiny_blocks` leaves a block so little shared memory that every network counts as wide, so that
small ones go through all cases.
"""

from __future__ import annotations

import pytest
import torch
from engine_calls import cpu_trainer, cuda_trainer, on_cpu, on_cuda
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_calls import everything, products
from op_cases import MASKS, Case, any_case, compare
from short_runs import STEPS, results, start

from edt import Ensemble, Task
from edt.ops import cuda
from edt.ops.checks import problem_of
from edt.ops.compiled import matrix_offsets
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


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_anything(tiny_blocks, data):
    compare(data.draw(any_case(networks=3)), everything, vectors=3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("masks", ["dense", "sparse", "very sparse", "dead units"])
@pytest.mark.parametrize("samples", [1, 33, 129])
def test_pieces_of_layers(tiny_blocks, samples, masks, dtype):
    """More units and edges than an item takes, counts around the sizes of tiles, unlike widths."""
    check_pieces(samples, masks, dtype)


@pytest.mark.parametrize(
    ("masks", "dtype"),
    [
        ("dense", torch.float64), ("very sparse", torch.float64),
        ("sparse", torch.float32), ("dead units", torch.float32),
    ],
)  # fmt: skip
def test_pieces_of_layers_and_three_tiles(tiny_blocks, masks, dtype):
    check_pieces(260, masks, dtype)


def check_pieces(samples, masks, dtype):
    hidden = ((70, 37), (5, 131))
    # Derivatives that do not fade where pre-activations are in the tens: there the reference's own
    # roundings would be more than its results.
    case = Case(
        "sin", "cross_entropy", dtype, hidden, d_in=67, d_out=5, masks=masks, samples=samples
    )
    assert wide_networks(case) == wide_networks(case, "curvature", vectors=1) == 2
    # Ten times the terms of the usual cases.
    compare(case, products, vectors=1, roundings=200)


@pytest.mark.parametrize("masks", ["dense", "sparse"])
def test_samples_in_chunks(tiny_blocks, masks):
    """More samples than are done at once: gradients and losses are added chunk by chunk."""
    case = Case(hidden=((4,), (3,)), samples=8192 + 100, d_out=2, masks=masks, targets=2)
    # Sums of thousands of terms in unlike orders: the bars count each rounding once.
    ens, task, index = case.build()
    problem = problem_of(ens, task, index)
    assert wide_networks(case) == 2
    vectors = torch.randn(2, ens.total, dtype=torch.float64, generator=torch.manual_seed(0))
    size = hessian_size(ens, problem)
    for found, wanted in (
        *zip(
            on_cuda.loss_and_grad(ens.theta, problem),
            on_cpu.loss_and_grad(ens.theta, problem),
            strict=True,
        ),
        (on_cuda.hvp(ens.theta, vectors, problem), on_cpu.hvp(ens.theta, vectors, problem)),
        (on_cuda.hessian(ens.theta, problem, size), on_cpu.hessian(ens.theta, problem, size)),
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(
        on_cuda.predict(ens.theta, problem)[:, -100:], on_cpu.predict(ens.theta, problem)[:, -100:]
    )


def hessian_size(ens, problem):
    coords = cuda.plan_of(problem, ens.device).coords
    return int(matrix_offsets(coords, coords, ens.theta.element_size())[-1])


@pytest.mark.parametrize("masks", ["dense", "mixed"])
def test_more_vectors_than_go_at_once(tiny_blocks, masks):
    """Eleven are a group and a rest; what is beside a vector does not change its product."""
    ens, task, index = Case(hidden=((6, 3), (2, 5)), d_out=2, masks=masks, samples=140).build()
    problem = problem_of(ens, task, index)
    vectors = torch.randn(11, ens.total, dtype=torch.float64, generator=torch.manual_seed(0))
    together = on_cuda.hvp(ens.theta, vectors, problem)
    torch.testing.assert_close(together, on_cpu.hvp(ens.theta, vectors, problem))
    for k in (0, 7, 8, 10):
        assert torch.equal(on_cuda.hvp(ens.theta, vectors[k : k + 1], problem)[0], together[k])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("masks", ["dense", "sparse"])
def test_hessians_of_more_units_than_go_at_once(tiny_blocks, masks, dtype):
    """Unlike widths: the units of one network end before those of the other."""
    case = Case(
        "softplus", dtype=dtype, hidden=((19, 2), (3, 21)), d_in=11, masks=masks, samples=33
    )
    compare(case, everything, vectors=1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("order", ["backward", "shuffled"])
def test_order_of_threads_in_hessians(tiny_blocks, order, dtype):
    case = Case(dtype=dtype, hidden=((9, 4), (3, 2)), d_in=5, d_out=2, masks="mixed", samples=140)
    ens, task, index = case.build()
    problem = problem_of(ens, task, index)
    size = hessian_size(ens, problem)
    first = on_cuda.hessian(ens.theta, problem, size)
    tiny_blocks.set_order(order, 1)
    assert torch.equal(on_cuda.hessian(ens.theta, problem, size), first)


@pytest.mark.parametrize("order", ["backward", "shuffled"])
def test_order_of_threads_does_not_matter(tiny_blocks, order):
    case = Case(hidden=((70, 9), (3, 20)), d_in=5, d_out=2, masks="mixed", samples=140)
    ens, task, index = case.build()
    cotangent = torch.randn(ens.B, task.N, 2, dtype=torch.float64)
    vectors = torch.randn(2, ens.total, dtype=torch.float64)
    first = products(ens, task, index, vectors, cotangent)
    for seed in range(2):
        tiny_blocks.set_order(order, seed)
        again = products(ens, task, index, vectors, cotangent)
        for name, value in first.items():
            assert all(map(torch.equal, value, again[name])), name


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
    assert plan.schedule("curvature", False, task.N, vectors=2)[0].wide_networks == 2
    loss, grad = on_cuda.loss_and_grad(ens.theta, problem)
    wanted, slope = on_cpu.loss_and_grad(ens.theta, problem)
    # Sums of up to 784 terms in float32, in unlike orders.
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=0)
    torch.testing.assert_close(grad, slope, rtol=1e-4, atol=1e-6)
    vectors = torch.randn(2, ens.total, generator=torch.manual_seed(0))
    for ggn in (False, True):
        found = on_cuda.hvp(ens.theta, vectors, problem, ggn=ggn)
        exact = on_cpu.hvp(ens.theta, vectors, problem, ggn=ggn)
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_hessian_of_a_sparse_lenet(shim, dtype):
    shim.set_limits(132, 227 * 1024, 228 * 1024)
    ens, task = lenet(0.998, B=1, samples=9)
    ens, task = ens.to(dtype), task.to(dtype)
    problem = problem_of(ens, task, torch.zeros(1, dtype=torch.int64))
    size = hessian_size(ens, problem)
    found, wanted = (
        on_cuda.hessian(ens.theta, problem, size),
        on_cpu.hessian(ens.theta, problem, size),
    )
    assert wanted.abs().max() > 0.01
    torch.testing.assert_close(
        found, wanted, rtol=1e-4, atol=1e-12 if dtype == torch.float64 else 1e-5
    )


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
    for kind in (cuda_trainer, cpu_trainer):
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
    for kind in (cuda_trainer, cpu_trainer):
        state, how = start(ens, rule)
        kind(ens, task, index).train(state, how, 3)
        found.append(results(ens, state)["theta"])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("batch_size", [0, 4])
def test_networks_at_unequal_steps(tiny_blocks, batch_size):
    """After an interruption some networks are ahead: they wait, and every bit is the same."""
    case = Case(hidden=((3,), (5,), (4,)), samples=13, d_out=2, masks="mixed")
    ens, task, index = case.build()
    engine = cuda_trainer(ens, task, index)
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
    for kind in (cuda_trainer, cpu_trainer):
        state, how = start(ens, {"optimizer": "adamw"})
        kind(ens, task, index).train(state, how, STEPS)
        found.append(results(ens, state))
    for name, value in found[1].items():
        torch.testing.assert_close(
            found[0][name], value, rtol=1e-10, atol=1e-10, equal_nan=True, msg=name
        )
