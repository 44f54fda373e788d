"""Every op of the compiled engine against its twin in plain PyTorch, at float64.

Tolerance: `Magnitudes` gives the sum of the absolute terms of each result. Sums here have at most
40 samples, added in lanes and trees, and a dozen neurons; activations are good to 7 units: some
tens of roundings meet in a term, and as they seldom agree in sign the worst of thousands of random
cases is 3 units. float32 results are compared with the float64 reference at the same float32
inputs, so one count serves both. Terms that underflow add a multiple of the least normal number.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edt import ops
from edt.ops import reference
from edt.ops.activations import ACTIVATION_CODES
from edt.ops.checks import problem_of

ROUNDINGS = 12
VECTORS = 5  # one group of four and a rest


def upcast(problem):
    """The same numbers in float64."""
    y = problem.y if problem.loss == "cross_entropy" else problem.y.double()
    return problem._replace(x=problem.x.double(), y=y, coef=problem.coef.double())


def close(what, found, expected, bars, dtype):
    """Insist that |found - expected| <= ROUNDINGS eps bars, entry by entry."""
    assert found.shape == expected.shape, what
    assert found.dtype == (torch.float64 if what == "loss" else dtype), what
    info = torch.finfo(dtype)
    limit = ROUNDINGS * (info.eps * torch.as_tensor(bars) + 1e3 * info.tiny)
    ratio = (found.double() - expected).abs() / limit
    worst = float(ratio.max()) if ratio.numel() else 0.0
    assert worst <= 1.0, f"{what}: {worst * ROUNDINGS:.3g} units, at most {ROUNDINGS} allowed"
    return worst * ROUNDINGS


def check_all(cases, case):
    """Compare every op on one case; returns the largest error met, in units."""
    ens, task, index = case.build()
    dtype, worst = case.dtype, 0.0
    draw = torch.Generator().manual_seed(case.seed + 1)
    vectors = torch.randn(VECTORS, ens.total, generator=draw, dtype=torch.float64).to(dtype)
    problem, theta = upcast(problem_of(ens, task, index)), ens.theta.double()
    wide = vectors.double()

    outputs = ops.predict(ens, task, task_index=index)
    cotangent = torch.randn(outputs.shape, generator=draw, dtype=torch.float64).to(dtype)
    pulled = torch.ops.edt.predict_vjp(ens.theta, cotangent, *problem_of(ens, task, index))
    losses = ops.loss(ens, task, task_index=index)
    losses_too, grad = ops.loss_and_grad(ens, task, task_index=index)
    products = {
        "hvp": ops.hvp(ens, task, vectors, task_index=index),
        "ggn_vp": ops.ggn_vp(ens, task, vectors, task_index=index),
    }
    matrices = {
        "hessian": ops.hessian(ens, task, task_index=index),
        "ggn": ops.hessian(ens, task, task_index=index, ggn=True),
    }
    blocks = ops.hessian_blocks(ens, task, task_index=index)
    jacobians = ops.jacobian(ens, task, task_index=index)

    expected = {
        "predict": reference.predict(theta, problem),
        "vjp": reference.predict_vjp(theta, cotangent.double(), problem),
        "loss": reference.loss_and_grad(theta, problem),
        "hvp": reference.hvp(theta, wide, problem),
        "ggn_vp": reference.ggn_vp(theta, wide, problem),
        "hessian": reference.hessian(theta, problem),
        "ggn": reference.hessian(theta, problem, ggn=True),
        "blocks": reference.hessian_blocks(theta, problem),
        "jacobian": reference.jacobian(theta, problem),
    }

    def look(what, found, wanted, bars):
        nonlocal worst
        worst = max(worst, close(what, found, wanted, bars, dtype))

    for b in range(ens.B):
        size = cases.Magnitudes(ens, task, b, int(index[b]))
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        free = ens.state[span] == 1
        look("predict", outputs[b], expected["predict"][b], size.f)
        look("loss", losses[b], expected["loss"][0][b], size.loss)
        look("loss", losses_too[b], expected["loss"][0][b], size.loss)
        look("grad", grad[span], expected["loss"][1][span], size.gradient())
        bars = size.pull(cotangent[b].double().abs())
        look("vjp", pulled[span], expected["vjp"][span], bars)
        for name, found in products.items():
            for k in range(VECTORS):
                inner = vectors[k, span] * free
                bars = size.product(inner)
                look(name, found[k, span], expected[name][k, span], bars)
        # A row sum of the absolute terms bounds each entry of the row.
        rows = size.product(torch.ones(free.shape))[free][:, None]
        for name, found in matrices.items():
            look(name, found[b], expected[name][b], rows)
            assert torch.equal(found[b], found[b].T), name
        at = 0
        for layer, block in enumerate(expected["blocks"][b]):
            stop = at + block.shape[0]
            look("block", blocks[b][layer], block, rows[at:stop])
            at = stop
        assert len(blocks[b]) == ens.depth + 1
        bars = size.pull(torch.ones_like(size.f))[free]
        look("jacobian", jacobians[b], expected["jacobian"][b], bars)
        # Constants: results are exactly 0 there.
        for flat in (
            grad[span],
            pulled[span],
            *(p[k, span] for p in products.values() for k in (0, 4)),
        ):
            assert not flat[~free].any()
    return worst


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("activation", ACTIVATION_CODES)
def test_every_activation(cases, activation, depth, loss):
    """All activations x depths x losses x dtypes, going round the masks and shapes."""
    for turn, dtype in enumerate((torch.float64, torch.float32)):
        spin = 7 * list(ACTIVATION_CODES).index(activation) + 3 * depth + 5 * turn
        case = cases.Case(
            activation,
            loss,
            dtype,
            hidden=((5, 3, 4)[:depth], (2, 6, 3)[:depth]),
            d_in=(2, 9, 4)[spin % 3],
            d_out=(1, 3)[turn] if loss == "mse" else (2, 3)[turn],
            bias=spin % 4 > 0,
            masks=cases.MASKS[spin % len(cases.MASKS)],
            samples=8 + spin % 17,
            targets=1 + spin % 2,
            own_inputs=spin % 3 == 0,
            weighted=spin % 5 == 0,
            seed=spin,
        )
        check_all(cases, case)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("samples", range(1, 34))
def test_every_remainder(cases, samples, dtype, isa):
    """Sample counts of every remainder modulo the vector lengths 8 and 16, and N = 1."""
    narrow = {"hidden": ((3,), (4,)), "d_out": 1}
    deep = {"hidden": ((3, 2), (2, 4)), "d_out": 2, "masks": "sparse"}
    shape = narrow if samples % 2 else deep
    check_all(cases, cases.Case(dtype=dtype, samples=samples, seed=samples, **shape))


@st.composite
def any_case(draw, make, masks):
    """A random `Case`."""
    depth = draw(st.integers(1, 3))
    width = st.integers(1, 10 if depth == 1 else 5)
    loss = draw(st.sampled_from(["mse", "cross_entropy"]))
    return make(
        activation=draw(st.sampled_from(list(ACTIVATION_CODES))),
        loss=loss,
        dtype=draw(st.sampled_from([torch.float64, torch.float32])),
        hidden=tuple(draw(st.lists(st.tuples(*[width] * depth), min_size=1, max_size=3))),
        d_in=draw(st.integers(1, 10)),
        d_out=draw(st.integers(1 if loss == "mse" else 2, 4)),
        bias=draw(st.booleans()),
        masks=draw(st.sampled_from(masks)),
        samples=draw(st.integers(1, 40)),
        targets=draw(st.integers(1, 3)),
        own_inputs=draw(st.booleans()),
        one_target=draw(st.booleans()),
        weighted=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_anything(cases, data):
    check_all(cases, data.draw(any_case(cases.Case, cases.MASKS)))
