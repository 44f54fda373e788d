"""The public functions on a real GPU: streams, CUDA graphs, equal bits. Collected only with one."""

from __future__ import annotations

import pytest
import torch
from op_cases import Case

import edt
from edt import _core, functional
from edt.ops import cuda
from edt.ops.checks import problem_of


@pytest.fixture
def small():
    """(networks, data, task index) of several widths, masks and targets."""
    case = Case(hidden=((3, 4), (17, 5), (1, 1)), d_out=2, masks="mixed", samples=97, targets=2)
    return case.build()


@pytest.mark.parametrize("op", ["predict", "loss", "loss_and_grad", "hessian", "jacobian"])
def test_ops_agree_with_the_cpu(small, op):
    ens, task, index = small
    here = getattr(functional, op)(ens, task, task_index=index)
    there = getattr(functional, op)(ens.to(device="cuda"), task.to(device="cuda"), task_index=index)
    if isinstance(here, torch.Tensor):
        here, there = [here], [there]
    for a, b in zip(here, there, strict=True):
        assert b.is_cuda
        # Sums of 97 terms in another order.
        torch.testing.assert_close(b.cpu(), a, rtol=1e-11, atol=1e-12)


def test_runs_give_the_same_bits(small):
    ens, task, index = small
    ens, task = ens.to(device="cuda"), task.to(device="cuda")
    first = functional.loss_and_grad(ens, task, task_index=index)
    for _ in range(20):
        again = functional.loss_and_grad(ens, task, task_index=index)
        assert all(map(torch.equal, first, again))


def test_autograd_and_streams(small):
    ens, task, index = small
    ens, task = ens.to(device="cuda"), task.to(device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        theta = ens.theta.clone().requires_grad_(True)
        functional.loss(ens, task, theta, index).sum().backward()
    stream.synchronize()
    _, grad = functional.loss_and_grad(ens, task, task_index=index)
    assert torch.equal(theta.grad, grad)


def test_cuda_graph(small):
    ens, task, index = small
    ens, task = ens.to(device="cuda"), task.to(device="cuda")
    theta = ens.theta.clone()
    index = index.to("cuda")
    wanted = functional.loss_and_grad(ens, task, theta, backend="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = functional.loss_and_grad(ens, task, theta, backend="cuda")
    graph.replay()
    torch.cuda.synchronize()
    assert all(map(torch.equal, found, wanted))


def test_hessians_in_a_cuda_graph(small):
    ens, task, index = small
    ens, task, index = ens.to(device="cuda"), task.to(device="cuda"), index.to("cuda")
    wanted = functional.hessian(ens, task, task_index=index)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = functional.hessian(ens, task, task_index=index)
    graph.replay()
    torch.cuda.synchronize()
    assert all(map(torch.equal, found, wanted))


def test_the_current_device_stays(small):
    """Calls go to the tensors' device and leave the current one as it was."""
    ens, task, index = small
    last = torch.cuda.device_count() - 1
    place = torch.device("cuda", last)
    before = torch.cuda.current_device()
    loss = functional.loss(ens.to(device=place), task.to(device=place), task_index=index)
    assert loss.device == place
    assert torch.cuda.current_device() == before
    torch.testing.assert_close(loss.cpu(), functional.loss(ens, task, task_index=index))


def test_errors_name_kernel_and_launch():
    """A launch that the driver refuses is a Python exception that says which."""
    with pytest.raises(RuntimeError, match=r"activation<<<-?\d+ blocks, 256 threads"):
        _core.cuda.activation(0, 0, 2**39, 0, 0, True, 0)


@pytest.mark.parametrize("sparsity", [None, 0.9, 0.98])
@pytest.mark.parametrize("batch_size", [None, 60])
def test_wide_networks(sparsity, batch_size):
    """LeNet-300-100: the CPU's losses, the same bits again, and on a stream of its own. So many
    samples that the tensor cores' large tiles leave no multiprocessor idle.
    """
    ens = edt.Ensemble.init(
        [(300, 100)], range(2), d_in=784, d_out=10, activation="tanh", sparsity=sparsity
    )
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(1024, 784, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 10, (1024,), generator=draw)
    task = edt.Task(x, y, "cross_entropy", n_classes=10)
    run = {"steps": 12, "lr": 1e-3, "batch_size": batch_size, "progress": False}
    here = edt.masked_train(task, ens, device="cpu", **run)
    there = edt.masked_train(task, ens, device="cuda", **run)
    torch.testing.assert_close(there.networks.theta, here.networks.theta, rtol=1e-7, atol=1e-9)
    with torch.cuda.stream(torch.cuda.Stream()):
        again = edt.masked_train(task, ens, device="cuda", **run)
    assert torch.equal(again.networks.theta, there.networks.theta)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("sparsity", [None, 0.9])
def test_curvature_of_wide_networks_agrees_with_the_cpu(sparsity, dtype):
    """More vectors than go at once; Hessians where they are small; the same bits again."""
    ens = edt.Ensemble.init([600, 560], range(1), d_in=20, d_out=10, sparsity=sparsity, dtype=dtype)
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.randn(70, n, generator=draw, dtype=dtype) for n in (20, 10))
    task, v = edt.Task(x, y), torch.randn(11, ens.total, generator=draw, dtype=dtype)
    far, far_task = ens.to(device="cuda"), task.to(device="cuda")
    plan = cuda.plan_of(problem_of(far, far_task, None), far.device)
    schedule, *_ = plan.schedule("curvature", dtype == torch.float64, 70, vectors=11)
    assert schedule.wide_networks == 2
    bound = {torch.float64: (1e-10, 1e-11), torch.float32: (1e-3, 1e-4)}[dtype]
    for product in (functional.hvp, functional.ggn_vp):
        found = product(far, far_task, v.cuda())
        torch.testing.assert_close(found.cpu(), product(ens, task, v), rtol=bound[0], atol=bound[1])
        assert torch.equal(product(far, far_task, v.cuda()), found)
    if sparsity is not None:
        for there, here in zip(
            functional.hessian(far, far_task), functional.hessian(ens, task), strict=True
        ):
            torch.testing.assert_close(there.cpu(), here, rtol=bound[0], atol=bound[1])


def test_products_of_wide_networks_in_a_cuda_graph():
    ens = edt.Ensemble.init([600], range(1), d_in=20, d_out=10, sparsity=0.9).to(device="cuda")
    x = torch.rand(64, 20, dtype=torch.float64)
    task, v = edt.Task(x, x[:, :10]).to(device="cuda"), torch.ones_like(ens.theta)[None]
    plan = cuda.plan_of(problem_of(ens, task, None), ens.device)
    assert plan.schedule("curvature", True, 64, vectors=1)[0].wide_networks == 1
    wanted = functional.hvp(ens, task, v)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = functional.hvp(ens, task, v)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(found, wanted)


def test_training_agrees_with_the_cpu(small):
    ens, task, index = small
    run = {"steps": 50, "lr": 0.01, "task_index": index, "progress": False}
    here = edt.masked_train(task, ens, device="cpu", **run)
    there = edt.masked_train(task, ens, device="cuda", **run)
    assert there.networks.device == ens.device
    torch.testing.assert_close(there.networks.theta, here.networks.theta, rtol=1e-8, atol=1e-9)
    assert there.steps.tolist() == here.steps.tolist()
