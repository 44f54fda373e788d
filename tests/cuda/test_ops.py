"""Every op of the CUDA kernels over the shim against plain PyTorch (see `op_cases`).

On a GPU tests/ops/test_against_reference.py makes the same comparisons through the public ops.
"""

from __future__ import annotations

import pytest
import torch
from engine_calls import cuda_trainer, on_cuda
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_calls import everything, products
from loss_by_func import by_func, descended, example
from op_cases import Case, any_case, compare, going_round, wide_case
from short_runs import PLAIN

from edt.ops import cuda
from edt.ops.activations import ACTIVATION_CODES
from edt.ops.checks import problem_of
from edt.ops.losses import LOSSES
from edt.training.state import Rule, State

VECTORS = 2


def check_all(case):
    compare(case, everything, vectors=VECTORS)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("activation", ACTIVATION_CODES)
def test_every_activation(shim, activation, loss):
    """All activations x losses x dtypes, going round the masks, depths and shapes."""
    depth = 1 + list(ACTIVATION_CODES).index(activation) % 3
    for turn, dtype in enumerate((torch.float64, torch.float32)):
        check_all(going_round(activation, depth, loss, turn, dtype))


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss not in ("mse", "cross_entropy")])
def test_every_loss(shim, loss):
    """The losses that kernels call a function for."""
    for turn, dtype in enumerate((torch.float64, torch.float32)):
        check_all(going_round("tanh", 1 + turn, loss, turn, dtype))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_that_of_torch_func(shim, loss):
    """All derivatives to 1e-12 of the largest entry, and eleven steps on minibatches to 1e-12."""
    task, ens = example(loss, 41, 5)
    index = torch.zeros(ens.B, dtype=torch.int64)
    vectors = torch.randn(2, ens.total, dtype=torch.float64, generator=torch.manual_seed(1))
    found = everything(ens, task, index, vectors, torch.zeros(ens.B, 41, 2, dtype=torch.float64))
    hyper = {**PLAIN, "optimizer": "sgd", "batch_size": 7, "last_step": 11}
    same, seeds = torch.full((ens.B,), 0.1, dtype=torch.float64), torch.tensor([3, 5])
    rule = Rule(hyper, same, 0.0 * same, seeds, torch.ones(11).double(), torch.tensor([11]))
    state = State.start(ens.theta, ens.B, rule, params=False)
    engine = cuda_trainer(ens, task, index)
    engine.train(state, rule, 11)
    engine.wait()
    for b in range(ens.B):
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        for name, wanted in by_func(loss, ens, task, b, vectors[:, span]).items():
            mine = found[name][b] if name in ("loss", "hessian", "ggn") else found[name][..., span]
            near = 1e-12 * float(wanted.abs().max())
            torch.testing.assert_close(mine, wanted, rtol=0, atol=near, msg=name)
        wanted = descended(loss, ens, task, b, seed=int(seeds[b]), batch=7, steps=11, lr=0.1)
        torch.testing.assert_close(state.theta[span], wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("samples", [1, 2, 3, 5, 8, 17, 31, 32, 33])
def test_sample_counts(shim, samples):
    """Counts around the sizes of packs and tiles; two tiles where shared memory is short."""
    shim.set_limits(2, 3 * 1024, 9 * 1024)
    case = Case(samples=samples, hidden=((3,),), d_out=2, masks="sparse", seed=samples)
    check_all(case)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("masks", ["dense", "very sparse"])
def test_wide_layers(shim, masks, dtype):
    """Layers wide enough for the tall register tiles, dense and gathered (no Hessian: too slow)."""
    compare(wide_case(masks, dtype), products, vectors=VECTORS)


@pytest.mark.parametrize("masks", ["dense", "sparse", "very sparse", "frozen"])
def test_hessians_of_units_with_many_inputs(shim, masks):
    """More rows a unit than a warp multiplies at once, in float64 on the tensor cores."""
    case = Case(hidden=((2, 1), (1, 3)), d_in=70, d_out=2, masks=masks, samples=21)
    check_all(case)


def test_samples_shared_among_blocks(shim):
    """Many multiprocessors and few networks: items share samples and are merged in order."""
    shim.set_limits(64, 4 * 1024, 16 * 1024)
    case = Case(samples=150, hidden=((4,), (2,)), d_out=2, masks="mixed", seed=4)
    ens, task, index = case.build()
    plan = cuda.plan_of(problem_of(ens, task, index), ens.device)
    schedule, *_ = plan.schedule("gradient", True, task.N)
    assert max(launch["splits"] for launch in schedule.launches) > 1
    check_all(case)


@pytest.mark.parametrize("order", ["backward", "shuffled"])
def test_order_of_threads_does_not_matter(shim, order):
    """A missing barrier shows as results that depend on which thread runs first."""
    case = Case("g", samples=45, hidden=((9, 4), (3, 2)), d_out=2, masks="mixed", seed=2)
    ens, task, index = case.build()
    draw = torch.Generator().manual_seed(1)
    vectors = torch.randn(VECTORS, ens.total, generator=draw, dtype=torch.float64)
    cotangent = torch.randn(ens.B, task.N, 2, generator=draw, dtype=torch.float64)
    first = everything(ens, task, index, vectors, cotangent)
    for seed in range(2):
        shim.set_order(order, seed)
        again = everything(ens, task, index, vectors, cotangent)
        for name, value in first.items():
            pairs = zip(value, again[name], strict=True)
            assert all(torch.equal(a, b) for a, b in pairs), name


def test_inactive_networks_are_left_alone(shim):
    ens, task, index = Case(hidden=((3,), (5,), (2,))).build()
    problem = problem_of(ens, task, index)
    active = torch.tensor([1, 0, 1], dtype=torch.uint8)
    loss = torch.full((3,), -1.0, dtype=torch.float64)
    grad = torch.full_like(ens.theta, -1.0)
    cuda.CudaCalls(problem).loss_and_grad(ens.theta, loss, grad, active)
    span = slice(int(ens.offsets[1]), int(ens.offsets[2]))
    assert loss[1] == -1 and bool((grad[span] == -1).all())
    wanted, slope = on_cuda.loss_and_grad(ens.theta, problem)
    assert torch.equal(loss[::2], wanted[::2])
    assert torch.equal(grad[: span.start], slope[: span.start])


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_anything(shim, data):
    check_all(data.draw(any_case(networks=2)))


@pytest.mark.parametrize("hidden", [(32, 40), (64, 64)], ids=str)
def test_gradients_in_squares(shim, hidden):
    """Layers whose gradients float32 cuts into pieces of 8 x 8: samples shared among 2 to 16 lanes,
    tiles that are not full, few threads and many.
    """
    for samples, room in ((70, 227), (9, 227), (70, 60)):
        shim.set_limits(2, room * 1024, 228 * 1024)
        case = Case(hidden=(hidden,), d_in=32, samples=samples, dtype=torch.float32, masks="dense")
        compare(case, products, vectors=1)
