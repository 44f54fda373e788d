"""On a GPU that is not there: calls wait for nothing, what they keep is ready on every stream."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from op_cases import Case
from pretend_gpu import synchronisations

import edt
from edt import functional, ops
from edt.ops import cuda


@pytest.fixture
def there(gpu):
    """(networks, task, task index) on the GPU."""
    case = Case("tanh", hidden=((2,), (3,)), d_in=2, masks="sparse", samples=19, targets=2)
    ens, task, index = case.build()
    return ens.to(device=gpu), task.to(device=gpu), index.to(gpu)


def calls(ens, task, index):
    """Every op of these, by name."""
    v = torch.ones(2, ens.total, dtype=ens.dtype, device=ens.device)
    return {
        name: partial(getattr(functional, name), ens, task, *more, task_index=index)
        for name, more in (
            *((name, ()) for name in ("predict", "loss", "loss_and_grad", "hessian", "jacobian")),
            ("hvp", (v,)),
            ("ggn_vp", (v,)),
        )
    }


def test_what_waits(gpu):
    """The counter sees what it is there to see."""
    x, here = torch.arange(3.0, device=gpu), torch.ones(3)
    for call, name in (
        (lambda: x[0].item(), "item"),
        (lambda: bool(x[0]), "__bool__"),
        (lambda: x.nonzero(), "nonzero"),
        (lambda: torch.nonzero(x), "nonzero"),
        (lambda: x[x > 1], "__getitem__"),
        (lambda: x.cpu(), "cpu"),
        (lambda: x.to("cpu"), "to"),
        (lambda: here.to(gpu), "to"),
        (lambda: torch.tensor([1.0], device=gpu), "tensor"),
        (lambda: x.copy_(here), "copy_"),
        (lambda: torch.equal(x, x), "equal"),
    ):
        synchronisations.clear()
        call()
        assert [s.split()[0] for s in synchronisations] == [name]
    synchronisations.clear()
    x.add(1).sum(), x[:2], torch.zeros(3, device=gpu), x.to(torch.float64), x.where(x > 1, 0.0)
    assert synchronisations == []


@pytest.mark.parametrize("name", ["predict", "loss", "loss_and_grad", "hvp", "ggn_vp", "hessian"])
def test_ops_wait_for_nothing(there, name):
    """After the first call, which copies the structure; with a task index on the GPU."""
    call = calls(*there)[name]
    call()
    synchronisations.clear()
    call()
    assert synchronisations == []


def test_an_index_out_of_range_on_the_gpu(there):
    ens, task, index = there
    with pytest.raises(RuntimeError, match=r"task_index must be in 0\.\.1"):
        functional.loss(ens, task, task_index=index + 2)
    with pytest.raises(ValueError, match=r"task_index\[0\] must be in 0\.\.1, got"):
        edt.masked_train(task, ens, steps=1, task_index=index + 2, progress=False)


def test_other_streams_wait_once(there, streams):
    """For what the first call wrote; its memory stays theirs until they are done."""
    call = calls(*there)["hessian"]
    call()
    assert streams.waits == [] and streams.uses == []
    streams.current = 7
    call()
    # Structure, samples, work list, offsets of the matrices.
    assert len(streams.waits) == 4 and set(streams.waits) == {(7, 0)}
    used = {address for address, stream in streams.uses}
    plan = cuda.plan_of(ops.checks.problem_of(*there), there[0].device)
    assert plan.block.as_subclass(torch.Tensor).data_ptr() in used
    assert len(used) >= 6  # three tensors of samples
    streams.waits.clear()
    call()
    streams.current = 0
    call()
    assert streams.waits == []


def test_training_on_another_stream(there, streams):
    ens, task, index = there
    run = {"steps": 3, "task_index": index, "progress": False}
    first = edt.masked_train(task, ens, **run)
    streams.current = 3
    again = edt.masked_train(task, ens, **run)
    assert {waiting for waiting, _ in streams.waits} == {3}
    assert torch.equal(first.networks.theta.cpu(), again.networks.theta.cpu())


def test_graphs_hold_calls_that_were_made_before(there, streams):
    """A first call would leave in the caches what only a replay writes."""
    call = calls(*there)["loss_and_grad"]
    streams.capturing = True
    with pytest.raises(RuntimeError, match="make the same call once before capturing"):
        call()
    streams.capturing = False
    call()
    streams.capturing, streams.current = True, 5
    call()
    assert streams.waits == [] and streams.uses != []
    # The stream's next call outside a graph waits after all.
    streams.capturing = False
    call()
    assert streams.waits != []


def test_calls_go_to_the_tensors_device(there, monkeypatch):
    entered = []

    class On:
        def __init__(self, device):
            entered.append(device)

        def __enter__(self):
            pass

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(cuda, "on_device", On)
    calls(*there)["loss"]()
    cuda.activation("tanh", there[0].theta, 1)
    assert entered == [there[0].device] * 2
