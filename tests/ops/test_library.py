"""The operators inside PyTorch: opcheck, autograd, torch.compile, torch.func."""

from __future__ import annotations

import doctest
import shutil

import pytest
import torch

import edt
from edt import functional
from edt.ops import library
from edt.ops.checks import problem_of
from edt.ops.compiled import matrix_offsets

SHAPES = {
    "mse": {"hidden": ((2, 3), (3, 1)), "d_out": 2, "masks": "sparse", "samples": 5},
    "cross_entropy": {"hidden": ((3,),), "d_out": 3, "loss": "cross_entropy", "samples": 4},
}


@pytest.fixture(params=SHAPES)
def small(request, cases, device):
    """(networks, data, task index), few enough for finite differences."""
    ens, task, index = cases.Case("tanh", seed=4, **SHAPES[request.param]).build()
    return ens.to(device=device), task.to(device=device), index


def arguments(name, ens, task, index):
    """Sample inputs of an operator; what it is differentiable in requires a gradient."""
    problem = problem_of(ens, task, index)

    def leaf(*shape):
        draw = torch.Generator().manual_seed(len(shape))
        values = torch.randn(*shape, generator=draw, dtype=torch.float64)
        return values.to(ens.device).requires_grad_(True)

    theta, vectors = leaf(ens.total), leaf(3, ens.total)
    outputs = leaf(ens.B, task.N, task.d_out)
    coords = ens.coords.to(torch.int64)
    size = int(matrix_offsets(coords, coords, 8)[-1])
    plain = theta.detach()
    return {
        "predict": (theta,),
        "predict_vjp": (theta, outputs),
        "predict_vjp_backward": (plain, outputs.detach(), plain * 2),
        "loss": (theta,),
        "loss_and_grad": (theta,),
        "hvp": (theta, vectors, False),
        "hvp_backward": (plain, vectors.detach(), True, vectors.detach() * 2),
        "hessian": (plain, False, size),
    }[name] + tuple(problem)


@pytest.mark.parametrize("name", library.NAMES)
def test_opcheck(name, small):
    torch.library.opcheck(getattr(torch.ops.edt, name).default, arguments(name, *small))


def test_opcheck_of_gauss_newton_and_default_task(small):
    ens, task, _ = small
    theta, vectors, _, *problem = arguments("hvp", ens, task, None)
    torch.library.opcheck(torch.ops.edt.hvp.default, (theta, vectors, True, *problem))


def test_derivatives_by_finite_differences(small):
    """First and second derivatives of every differentiable op (central differences, float64)."""
    ens, task, index = small
    theta = ens.theta.clone().requires_grad_(True)
    vectors = torch.randn_like(ens.theta.expand(2, -1)).requires_grad_(True)
    check, twice = torch.autograd.gradcheck, torch.autograd.gradgradcheck
    assert check(lambda p: functional.predict(ens, task, p, index), theta)
    assert twice(lambda p: functional.predict(ens, task, p, index), theta)
    assert check(lambda p: functional.loss(ens, task, p, index), theta)
    assert twice(lambda p: functional.loss(ens, task, p, index), theta)
    assert check(lambda p: functional.loss_and_grad(ens, task, p, index), theta)
    assert twice(lambda p: functional.loss_and_grad(ens, task, p, index), theta)
    for product in (functional.hvp, functional.ggn_vp):
        assert check(lambda p, v, f=product: f(ens, task, v, p, index), (theta, vectors))


def test_backward_is_the_gradient(small):
    """To the bit: backward of the loss is the gradient, double backward the Hessian product."""
    ens, task, index = small
    theta = ens.theta.clone().requires_grad_(True)
    functional.loss(ens, task, theta, index).sum().backward()
    _, grad = functional.loss_and_grad(ens, task, task_index=index)
    assert torch.equal(theta.grad, grad)
    v = torch.randn_like(grad)
    (slope,) = torch.autograd.grad(
        functional.loss(ens, task, theta, index).sum(), theta, create_graph=True
    )
    (found,) = torch.autograd.grad(slope @ v, theta)
    assert torch.equal(found, functional.hvp(ens, task, v, task_index=index))


def test_backward_scales_each_network(small):
    ens, task, index = small
    theta = ens.theta.clone().requires_grad_(True)
    scale = torch.arange(1.0, ens.B + 1, dtype=torch.float64, device=ens.device)
    (functional.loss(ens, task, theta, index) * scale).sum().backward()
    _, grad = functional.loss_and_grad(ens, task, task_index=index)
    sizes = ens.offsets.diff().to(ens.device)
    # Whole numbers times the gradient: one rounding, the same in both.
    assert torch.equal(theta.grad, torch.repeat_interleave(scale, sizes) * grad)


def test_third_derivatives_end_with_an_error(small):
    """The compiled chain ends where it says; the reference goes on."""
    ens, task, index = small
    v = torch.randn_like(ens.theta)

    def third(backend):
        theta = ens.theta.clone().requires_grad_(True)
        product = functional.hvp(ens, task, v, theta, index, backend=backend)
        return torch.autograd.grad(product @ v, theta, create_graph=True)[0]

    torch.testing.assert_close(third("auto"), third("reference"), rtol=1e-9, atol=1e-11)
    with pytest.raises(NotImplementedError, match="reference"):
        third("auto").sum().backward()
    third("reference").sum().backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        functional.hessian(ens, task, ens.theta.clone().requires_grad_(True), index)[
            0
        ].sum().backward()


@pytest.mark.parametrize(
    ("backend", "dynamic"), [("inductor", False), ("aot_eager", False), ("aot_eager", True)]
)
def test_compile(device, cases, backend, dynamic):
    """torch.compile without graph breaks, through loss and its backward."""
    if backend == "inductor" and not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("inductor needs a C++ compiler")
    ens, task, index = cases.Case("tanh", seed=4, **SHAPES["mse"]).build()
    ens, task = ens.to(device=device), task.to(device=device)
    torch._dynamo.reset()

    def objective(theta):
        return (functional.loss(ens, task, theta * 1.5, index) ** 2).sum() + theta.square().sum()

    compiled = torch.compile(objective, fullgraph=True, dynamic=dynamic, backend=backend)
    theta, again = (ens.theta.clone().requires_grad_(True) for _ in range(2))
    expected, found = objective(theta), compiled(again)
    expected.backward()
    found.backward()
    # The same kernels; only the elementwise rest is fused anew.
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(again.grad, theta.grad, rtol=1e-13, atol=1e-14)


def test_compile_other_ops(small):
    ens, task, index = small
    torch._dynamo.reset()
    v = torch.randn_like(ens.theta.expand(2, -1))

    @torch.compile(fullgraph=True, backend="aot_eager")
    def several(theta):
        value, grad = functional.loss_and_grad(ens, task, theta, index)
        outputs = functional.predict(ens, task, theta, index).sum()
        return value.sum() + outputs, grad, functional.hvp(ens, task, v, theta, index)

    value, grad, product = several(ens.theta)
    expected, slope = functional.loss_and_grad(ens, task, task_index=index)
    outputs = functional.predict(ens, task, task_index=index).sum()
    assert torch.equal(value, expected.sum() + outputs)
    assert torch.equal(grad, slope)
    assert torch.equal(product, functional.hvp(ens, task, v, task_index=index))


def test_functional_transforms(small):
    """torch.func sees through the reference; with the compiled ops it says so."""
    ens, task, index = small

    def objective(theta, backend="reference"):
        return functional.loss(ens, task, theta, index, backend=backend).sum()

    slope = torch.func.grad(objective)(ens.theta)
    expected = functional.loss_and_grad(ens, task, task_index=index, backend="reference")[1]
    torch.testing.assert_close(slope, expected, rtol=1e-12, atol=1e-14)
    with pytest.raises(NotImplementedError, match="use backend='reference'"):
        torch.func.grad(objective)(ens.theta, "auto")


def test_examples():
    """The examples in the docstrings run and print what they say."""
    draw = torch.Generator().manual_seed(0)
    names = {
        "edt": edt,
        "torch": torch,
        "ens": edt.Ensemble.init(widths=[2, 4], seeds=[0], d_in=3, d_out=1),
        "task": edt.Task(*(torch.randn(5, n, generator=draw).double() for n in (3, 1))),
    }
    failed, tried = 0, 0
    for test in doctest.DocTestFinder().find(functional, globs=names):
        result = doctest.DocTestRunner().run(test)
        failed, tried = failed + result.failed, tried + result.attempted
    assert failed == 0
    assert tried >= 8
