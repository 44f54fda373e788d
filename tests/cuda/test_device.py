"""The public functions on a real GPU; without one, what they say."""

from __future__ import annotations

import pytest
import torch

import edt
from edt import _core, ops
from edt.ops import cuda

gpu = pytest.mark.skipif(not cuda.usable(), reason="needs a GPU and a build with the CUDA engine")


@pytest.fixture
def small(ops_cases):
    """(networks, data, task index) of several widths, masks and targets."""
    case = ops_cases.Case(
        hidden=((3, 4), (17, 5), (1, 1)), d_out=2, masks="mixed", samples=97, targets=2
    )
    return case.build()


@pytest.mark.skipif(cuda.usable(), reason="there is a GPU")
def test_without_a_gpu(cases):
    ens, task = cases.ensemble([2, 3]), cases.task()
    assert edt.masked_train(task, ens, steps=2, progress=False).networks.device.type == "cpu"
    with pytest.raises(ValueError, match="device='cuda' cannot be used here"):
        edt.masked_train(task, ens, steps=2, device="cuda", progress=False)
    with pytest.raises(ValueError, match="backend='cuda' needs networks on that device"):
        ops.loss(ens, task, backend="cuda")


@pytest.mark.skipif(not hasattr(_core, "cuda"), reason="built without the CUDA engine")
def test_counting_devices_needs_no_driver():
    assert _core.cuda.device_count() >= 0


@pytest.mark.skipif(hasattr(_core, "cuda"), reason="built with the CUDA engine")
def test_without_the_engine():
    with pytest.raises(RuntimeError, match="no CUDA engine: install nvcc"):
        cuda.engine()


@gpu
@pytest.mark.parametrize("op", ["predict", "loss", "loss_and_grad", "hessian", "jacobian"])
def test_ops_agree_with_the_cpu(small, op):
    ens, task, index = small
    here = getattr(ops, op)(ens, task, task_index=index)
    there = getattr(ops, op)(ens.to(device="cuda"), task.to(device="cuda"), task_index=index)
    if isinstance(here, torch.Tensor):
        here, there = [here], [there]
    for a, b in zip(here, there, strict=True):
        assert b.is_cuda
        # Sums of 97 terms in another order.
        torch.testing.assert_close(b.cpu(), a, rtol=1e-11, atol=1e-12)


@gpu
def test_runs_give_the_same_bits(small):
    ens, task, index = small
    ens, task = ens.to(device="cuda"), task.to(device="cuda")
    first = ops.loss_and_grad(ens, task, task_index=index)
    for _ in range(20):
        again = ops.loss_and_grad(ens, task, task_index=index)
        assert all(map(torch.equal, first, again))


@gpu
def test_autograd_and_streams(small):
    ens, task, index = small
    ens, task = ens.to(device="cuda"), task.to(device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        theta = ens.theta.clone().requires_grad_(True)
        ops.loss(ens, task, theta, index).sum().backward()
    stream.synchronize()
    _, grad = ops.loss_and_grad(ens, task, task_index=index)
    assert torch.equal(theta.grad, grad)


@gpu
def test_cuda_graph(small):
    ens, task, index = small
    ens, task = ens.to(device="cuda"), task.to(device="cuda")
    theta = ens.theta.clone()
    index = index.to("cuda")
    wanted = ops.loss_and_grad(ens, task, theta, backend="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = ops.loss_and_grad(ens, task, theta, backend="cuda")
    graph.replay()
    torch.cuda.synchronize()
    assert all(map(torch.equal, found, wanted))


@gpu
def test_training_agrees_with_the_cpu(small):
    ens, task, index = small
    run = {"steps": 50, "lr": 0.01, "task_index": index, "progress": False}
    here = edt.masked_train(task, ens, device="cpu", **run)
    there = edt.masked_train(task, ens, device="cuda", **run)
    assert there.networks.device == ens.device
    torch.testing.assert_close(there.networks.theta, here.networks.theta, rtol=1e-8, atol=1e-9)
    assert there.steps.tolist() == here.steps.tolist()
