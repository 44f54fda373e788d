"""Every op of the CUDA kernels against plain PyTorch: over the shim, and on a GPU.

Tolerance: as in tests/ops/test_against_reference.py, `Magnitudes` gives the sum of the absolute
terms of each result, and some tens of roundings meet in a term: 12 units. float32 results are
compared with the float64 reference at the same float32 inputs.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edt.ops import cuda, reference
from edt.ops.activations import ACTIVATION_CODES
from edt.ops.checks import problem_of
from edt.ops.compiled import matrix_offsets

ROUNDINGS = 12
VECTORS = 2
CPU = torch.device("cpu")


def upcast(problem):
    """The same numbers in float64."""
    y = problem.y if problem.loss == "cross_entropy" else problem.y.double()
    return problem._replace(x=problem.x.double(), y=y, coef=problem.coef.double())


def results(problem, theta, vectors, cotangent):
    """All results of the kernels, by name."""
    losses, grad = cuda.loss_and_grad(theta, problem)
    coords = cuda.plan_of(problem, theta.device).coords
    offsets = matrix_offsets(coords, coords, theta.element_size())
    out = {
        "predict": cuda.predict(theta, problem),
        "vjp": cuda.predict_vjp(theta, cotangent, problem),
        "loss": cuda.loss(theta, problem),
        "loss too": losses,
        "grad": grad,
    }
    for name, ggn in (("hvp", False), ("ggn_vp", True)):
        out[name] = cuda.hvp(theta, vectors, problem, ggn=ggn)
    for name, ggn in (("hessian", False), ("ggn", True)):
        buffer = cuda.hessian(theta, problem, int(offsets[-1]), ggn=ggn)
        out[name] = [
            buffer[at : at + size * size].view(size, size)
            for at, size in zip(offsets[:-1].tolist(), coords.tolist(), strict=True)
        ]
    return out


def inputs(ens, task, seed):
    """Vectors and a cotangent."""
    draw = torch.Generator().manual_seed(seed + 1)
    vectors = torch.randn(VECTORS, ens.total, generator=draw, dtype=torch.float64).to(ens.dtype)
    shape = (ens.B, task.N, task.d_out)
    cotangent = torch.randn(*shape, generator=draw, dtype=torch.float64).to(ens.dtype)
    return vectors, cotangent


def close(what, found, expected, bars, dtype):
    """Insist that |found - expected| <= ROUNDINGS eps bars, entry by entry."""
    assert found.shape == expected.shape, what
    info = torch.finfo(dtype)
    limit = ROUNDINGS * (info.eps * torch.as_tensor(bars) + 1e3 * info.tiny)
    ratio = (found.double() - expected).abs() / limit
    worst = float(ratio.max()) if ratio.numel() else 0.0
    assert worst <= 1.0, f"{what}: {worst * ROUNDINGS:.3g} units, at most {ROUNDINGS} allowed"


def check_all(ops_cases, case, device=CPU):
    """Compare every op on one case with the reference."""
    ens, task, index = case.build()
    vectors, cotangent = inputs(ens, task, case.seed)
    there = problem_of(ens.to(device=device), task.to(device=device), index)
    found = results(there, ens.theta.to(device), vectors.to(device), cotangent.to(device))
    found = {
        name: [part.cpu() for part in value] if isinstance(value, list) else value.cpu()
        for name, value in found.items()
    }
    problem, theta = upcast(problem_of(ens, task, index)), ens.theta.double()
    wide = vectors.double()
    losses, grad = reference.loss_and_grad(theta, problem)
    expected = {
        "predict": reference.predict(theta, problem),
        "vjp": reference.predict_vjp(theta, cotangent.double(), problem),
        "loss": losses,
        "loss too": losses,
        "grad": grad,
        "hvp": reference.hvp(theta, wide, problem),
        "ggn_vp": reference.ggn_vp(theta, wide, problem),
        "hessian": reference.hessian(theta, problem),
        "ggn": reference.hessian(theta, problem, ggn=True),
    }
    for b in range(ens.B):
        size = ops_cases.Magnitudes(ens, task, b, int(index[b]))
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        free = ens.state[span] == 1
        bars = {
            "predict": size.f,
            "loss": size.loss,
            "loss too": size.loss,
            "grad": size.gradient(),
            "vjp": size.pull(cotangent[b].double().abs()),
        }
        for name, bar in bars.items():
            part = span if name in ("grad", "vjp") else b
            close(name, found[name][part], expected[name][part], bar, case.dtype)
        for name in ("hvp", "ggn_vp"):
            for k in range(VECTORS):
                bar = size.product(vectors[k, span] * free)
                close(name, found[name][k, span], expected[name][k, span], bar, case.dtype)
        # A row sum of the absolute terms bounds each entry of the row.
        rows = size.product(torch.ones(free.shape))[free][:, None]
        for name in ("hessian", "ggn"):
            close(name, found[name][b], expected[name][b], rows, case.dtype)
            assert torch.equal(found[name][b], found[name][b].T), name
        # Constants: results are exactly 0 there.
        for flat in (found["grad"], found["vjp"], *found["hvp"], *found["ggn_vp"]):
            assert not flat[span][~free].any()


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("activation", ACTIVATION_CODES)
def test_every_activation(device, ops_cases, activation, loss):
    """All activations x losses x dtypes, going round the masks, depths and shapes."""
    for turn, dtype in enumerate((torch.float64, torch.float32)):
        spin = 7 * list(ACTIVATION_CODES).index(activation) + 5 * turn + (loss == "mse")
        depth = 1 + spin % 3
        case = ops_cases.Case(
            activation,
            loss,
            dtype,
            hidden=((5, 3, 4)[:depth],),
            d_in=(2, 5, 4)[spin % 3],
            d_out=(1, 3)[turn] if loss == "mse" else (2, 3)[turn],
            bias=spin % 4 > 0,
            masks=ops_cases.MASKS[spin % len(ops_cases.MASKS)],
            samples=8 + spin % 17,
            targets=1 + spin % 2,
            own_inputs=spin % 3 == 0,
            weighted=spin % 5 == 0,
            seed=spin,
        )
        check_all(ops_cases, case, device)


@pytest.mark.parametrize("samples", [1, 2, 3, 5, 8, 17, 31, 32, 33])
def test_sample_counts(shim, ops_cases, samples):
    """Counts around the sizes of packs and tiles; two tiles where shared memory is short."""
    shim.set_limits(2, 3 * 1024, 9 * 1024)
    case = ops_cases.Case(samples=samples, hidden=((3,),), d_out=2, masks="sparse", seed=samples)
    check_all(ops_cases, case)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("masks", ["dense", "very sparse"])
def test_wide_layers(device, ops_cases, masks, dtype):
    """Layers wide enough for the tall register tiles, dense and gathered (no Hessian: too slow)."""
    case = ops_cases.Case(
        "softplus", dtype=dtype, hidden=((72, 43),), d_in=19, d_out=3, masks=masks, samples=200
    )
    ens, task, index = case.build()
    problem, theta = upcast(problem_of(ens, task, index)), ens.theta.double()
    there = problem_of(ens.to(device=device), task.to(device=device), index)
    here = ens.theta.to(device)
    losses, grad = cuda.loss_and_grad(here, there)
    wanted, slope = reference.loss_and_grad(theta, problem)
    size = ops_cases.Magnitudes(ens, task, 0, int(index[0]))
    close("loss", losses[0].cpu(), wanted[0], size.loss, dtype)
    close("grad", grad.cpu(), slope, size.gradient(), dtype)
    vectors, _ = inputs(ens, task, 0)
    product = cuda.hvp(here, vectors.to(device), there).cpu()
    expected = reference.hvp(theta, vectors.double(), problem)
    for k in range(VECTORS):
        bar = size.product(vectors[k] * (ens.state == 1))
        close("hvp", product[k], expected[k], bar, dtype)


def test_samples_shared_among_blocks(shim, ops_cases):
    """Many multiprocessors and few networks: items share samples and are merged in order."""
    shim.set_limits(64, 4 * 1024, 16 * 1024)
    case = ops_cases.Case(samples=150, hidden=((4,), (2,)), d_out=2, masks="mixed", seed=4)
    ens, task, index = case.build()
    plan = cuda.plan_of(problem_of(ens, task, index), ens.device)
    schedule, _ = plan.schedule("gradient", True, task.N)
    assert max(launch["splits"] for launch in schedule.launches) > 1
    check_all(ops_cases, case)


def test_memory_of_the_workspace(shim, ops_cases):
    """Networks that do not fit shared memory run on the workspace."""
    shim.set_limits(2, 1200, 2400)
    case = ops_cases.Case(samples=70, hidden=((6, 3), (2, 2)), d_out=2, masks="sparse", seed=4)
    ens, task, index = case.build()
    plan = cuda.plan_of(problem_of(ens, task, index), ens.device)
    schedule, _ = plan.schedule("gradient", True, task.N)
    assert all(launch["global"] for launch in schedule.launches)
    check_all(ops_cases, case)


@pytest.mark.parametrize("order", ["backward", "shuffled"])
def test_order_of_threads_does_not_matter(shim, ops_cases, order):
    """A missing barrier shows as results that depend on which thread runs first."""
    case = ops_cases.Case("g", samples=45, hidden=((9, 4), (3, 2)), d_out=2, masks="mixed", seed=2)
    ens, task, index = case.build()
    problem = problem_of(ens, task, index)
    vectors, cotangent = inputs(ens, task, 0)
    first = results(problem, ens.theta, vectors, cotangent)
    for seed in range(2):
        shim.set_order(order, seed)
        again = results(problem, ens.theta, vectors, cotangent)
        for name, value in first.items():
            pairs = zip(value, again[name], strict=True)
            assert all(torch.equal(a, b) for a, b in pairs), name


def test_inactive_networks_are_left_alone(shim, ops_cases):
    ens, task, index = ops_cases.Case(hidden=((3,), (5,), (2,))).build()
    problem = problem_of(ens, task, index)
    launcher = cuda.Launcher(
        cuda.plan_of(problem, ens.device),
        cuda.device_data(task.x, task.y, task.coef, task.loss, task.d_out),
        index,
        ens.activation,
    )
    active = torch.tensor([1, 0, 1], dtype=torch.uint8)
    loss = torch.full((3,), -1.0, dtype=torch.float64)
    grad = torch.full_like(ens.theta, -1.0)
    launcher.losses(ens.theta, loss, grad, active)
    span = slice(int(ens.offsets[1]), int(ens.offsets[2]))
    assert loss[1] == -1 and bool((grad[span] == -1).all())
    wanted, slope = cuda.loss_and_grad(ens.theta, problem)
    assert torch.equal(loss[::2], wanted[::2])
    assert torch.equal(grad[: span.start], slope[: span.start])


@st.composite
def any_case(draw, make, masks):
    """A random `Case`."""
    depth = draw(st.integers(1, 3))
    width = st.integers(1, 9 if depth == 1 else 5)
    loss = draw(st.sampled_from(["mse", "cross_entropy"]))
    return make(
        activation=draw(st.sampled_from(list(ACTIVATION_CODES))),
        loss=loss,
        dtype=draw(st.sampled_from([torch.float64, torch.float32])),
        hidden=tuple(draw(st.lists(st.tuples(*[width] * depth), min_size=1, max_size=2))),
        d_in=draw(st.integers(1, 9)),
        d_out=draw(st.integers(1 if loss == "mse" else 2, 4)),
        bias=draw(st.booleans()),
        masks=draw(st.sampled_from(masks)),
        samples=draw(st.integers(1, 40)),
        targets=draw(st.integers(1, 2)),
        own_inputs=draw(st.booleans()),
        one_target=draw(st.booleans()),
        weighted=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_anything(device, ops_cases, data):
    check_all(ops_cases, data.draw(any_case(ops_cases.Case, ops_cases.MASKS)), device)
