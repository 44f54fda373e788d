"""The public functions on a real GPU: streams, CUDA graphs, equal bits. Collected only with one."""

from __future__ import annotations

import pytest
import torch
from op_cases import Case

import edt
from edt import ops


@pytest.fixture
def small():
    """(networks, data, task index) of several widths, masks and targets."""
    case = Case(hidden=((3, 4), (17, 5), (1, 1)), d_out=2, masks="mixed", samples=97, targets=2)
    return case.build()


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


def test_runs_give_the_same_bits(small):
    ens, task, index = small
    ens, task = ens.to(device="cuda"), task.to(device="cuda")
    first = ops.loss_and_grad(ens, task, task_index=index)
    for _ in range(20):
        again = ops.loss_and_grad(ens, task, task_index=index)
        assert all(map(torch.equal, first, again))


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


def test_training_agrees_with_the_cpu(small):
    ens, task, index = small
    run = {"steps": 50, "lr": 0.01, "task_index": index, "progress": False}
    here = edt.masked_train(task, ens, device="cpu", **run)
    there = edt.masked_train(task, ens, device="cuda", **run)
    assert there.networks.device == ens.device
    torch.testing.assert_close(there.networks.theta, here.networks.theta, rtol=1e-8, atol=1e-9)
    assert there.steps.tolist() == here.steps.tolist()
