"""Steps that the core takes of chains of layers, against `torch.optim` on each module."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

import edt
from edt import _core
from edt.ops.losses import LOSSES
from edt.tasks.module_task import PER_SAMPLE
from edt.training.epochs import Epochs

SHAPE, SAMPLES, STEPS = (2, 7, 6), 90, 7
OPTIMIZERS: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "gd": ({}, torch.optim.SGD, {}),
    "sgd": (
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        torch.optim.SGD,
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ),
    "adam": ({"weight_decay": 0.1}, torch.optim.Adam, {"weight_decay": 0.1}),
    "adamw": ({"weight_decay": 0.3}, torch.optim.AdamW, {"weight_decay": 0.3}),
}


def net(width: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, 4, 2, stride=(1, 2), padding=(0, 1)), nn.Tanh(), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip


def networks(kept: float, dtype: torch.dtype = torch.float64) -> edt.ModuleEnsemble:
    """Two widths, two of each; some weights pruned and some frozen unless all are kept."""
    nets = edt.ModuleEnsemble.build(net, [3, 5], range(2), dtype=dtype)
    if kept == 1.0:
        return nets
    draw = torch.rand(nets.total, generator=torch.Generator().manual_seed(1))
    state = torch.zeros(nets.total, dtype=torch.uint8)
    state[draw < kept] = 1
    state[draw < 0.2 * kept] = 2
    return nets.with_state(state)


def task(loss: str = "cross_entropy", dtype: torch.dtype = torch.float64) -> edt.ModuleTask:
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(SAMPLES, *SHAPE, generator=draw, dtype=torch.float64)
    y: torch.Tensor = torch.randint(0, 3, (SAMPLES,), generator=draw)
    if not LOSSES[loss].classes:
        y = torch.rand(SAMPLES, 3, generator=draw, dtype=torch.float64)
        y = (y / y.sum(1, keepdim=True)) if LOSSES[loss].shifts else y.round()
        y = LOSSES[loss].of_shares(y).to(dtype)
    return edt.ModuleTask((x.to(dtype), y), loss)


def stepped(
    task: edt.ModuleTask, nets: edt.ModuleEnsemble, b: int, batch: int | None, make: Any, **how: Any
) -> torch.Tensor:
    """A network's parameters after steps of `torch.optim` on its coordinates."""
    span = slice(int(nets.offsets[b]), int(nets.offsets[b + 1]))
    module = net([3, 3, 5, 5][b], 0).double()
    whole, state = nets.theta[span].clone(), nets.state[span]
    leaf = whole[state == 1].clone().requires_grad_()
    clip = how.pop("clip", None)
    optimizer = make([leaf], **how)
    named = dict(module.named_parameters())
    x, y, _ = task.full_batch(0) or pytest.fail("a task of samples")
    epochs = Epochs(torch.tensor([b + 5]), SAMPLES, batch or SAMPLES)
    for step in range(STEPS):
        mine = epochs.at(step, 0) if batch else torch.arange(SAMPLES)
        theta = whole.masked_scatter(state == 1, leaf)
        parts = torch.split(theta, [p.numel() for p in named.values()])
        values = {name: part.view_as(named[name]) for name, part in zip(named, parts, strict=True)}
        out = torch.func.functional_call(module, values, (x[mine],))
        optimizer.zero_grad()
        PER_SAMPLE[task.loss](out, y[mine]).mean().backward()
        if clip is not None:
            nn.utils.clip_grad_norm_([leaf], clip)
        optimizer.step()
    return whole.masked_scatter(state == 1, leaf.detach())


def trained(task: edt.ModuleTask, nets: edt.ModuleEnsemble, **options: Any) -> Any:
    given: dict[str, Any] = {
        "optimizer": "adam", "lr": 0.01, "steps": STEPS, "data_seed": [5, 6, 7, 8][: nets.B],
        "batch_size": 40, "progress": False, "record": None,
    }  # fmt: skip
    return edt.masked_train(task, nets, **(given | options))


def of(nets: edt.ModuleEnsemble, b: int) -> torch.Tensor:
    return nets.theta[int(nets.offsets[b]) : int(nets.offsets[b + 1])]


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Calls of the core's loop: how many networks each had."""
    calls: list[int] = []
    train = edt.objectives.chained.CoreChain.train

    def counted(self: Any, run: Any, rule: Any, until: int, members: Any, *more: Any) -> None:
        calls.append(len(members))
        train(self, run, rule, until, members, *more)

    monkeypatch.setattr(edt.objectives.chained.CoreChain, "train", counted)
    return calls


# Float64: both round every step at 1e-16; Adam divides by sqrt(v), which makes a relative error of
# a small gradient an absolute one of the step. A wrong formula is off by lr * 1e-3 and more.
@pytest.mark.parametrize("kept", [1.0, 0.6, 0.2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_torch_optim(name: str, kept: float, core: list[int]) -> None:
    options, make, how = OPTIMIZERS[name]
    nets, data, batch = networks(kept), task(), None if name == "gd" else 40
    found = trained(data, nets, optimizer=name, lr=0.02, batch_size=batch, **options)
    assert set(core) == {2}
    for b in range(nets.B):
        known = stepped(data, nets, b, batch, make, lr=0.02, **how)
        torch.testing.assert_close(of(found.networks, b), known, rtol=1e-9, atol=1e-10)
    fixed = nets.state != 1
    assert torch.equal(found.networks.theta[fixed], nets.theta[fixed])


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_those_of_the_table(loss: str, core: list[int]) -> None:
    nets, data = networks(0.6), task(loss)
    found = trained(data, nets, optimizer="sgd", clip_norm=0.5)
    assert set(core) == {2}
    for b in range(nets.B):
        known = stepped(data, nets, b, 40, torch.optim.SGD, lr=0.01, clip=0.5)
        torch.testing.assert_close(of(found.networks, b), known, rtol=1e-9, atol=1e-11)
    assert torch.allclose(found.loss, edt.loss(data, found.networks), rtol=1e-12)


def test_samples_have_their_weights_and_blocks_their_rates(core: list[int]) -> None:
    """Of an `edt.Task` with targets of their own, one for each network; a rate of 0 for biases."""
    torch.manual_seed(0)
    nets = edt.ModuleEnsemble(
        [nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 2)).double() for _ in range(3)]
    )
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(40, 4, generator=draw, dtype=torch.float64)
    y = torch.randn(3, 40, 2, generator=draw, dtype=torch.float64)
    weights = torch.rand(40, generator=draw, dtype=torch.float64)
    data = edt.Task(x, y, weights=weights)
    index = torch.tensor([2, 0, 1])
    scale = nets.role_mask("weight").double()
    found = trained(
        data, nets, optimizer="sgd", lr=0.05, steps=3, batch_size=None, lr_scale=scale,
        task_index=index,
    )  # fmt: skip
    assert set(core) == {3}
    theta = nets.theta
    for _ in range(3):
        _, grad = edt.loss_and_grad(data, nets.with_theta(theta), task_index=index)
        theta = theta - 0.05 * scale * grad
    torch.testing.assert_close(found.networks.theta, theta, rtol=1e-12, atol=1e-14)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kept", [1.0, 0.2])
def test_bits_depend_on_nothing_else(kept: float, dtype: torch.dtype) -> None:
    """Threads, company, calls cut anywhere, instruction sets."""
    nets, data = networks(kept, dtype), task(dtype=dtype)
    wide = {"batch_size": 80}  # blocks that threads share
    with threads(3):
        whole = trained(data, nets, **wide)
        alone = trained(data, nets[[2]], **(wide | {"data_seed": 7}))
    with threads(1):
        first = trained(data, nets, **(wide | {"steps": 3}))
        again = edt.masked_train(
            data, continue_from=first, optimizer="adam", lr=0.01, steps=STEPS, progress=False,
            data_seed=[5, 6, 7, 8], record=None, **wide,
        )  # fmt: skip
    assert torch.equal(again.networks.theta, whole.networks.theta)
    assert torch.equal(alone.networks.theta, of(whole.networks, 2))
    used = _core.isa()
    try:
        for name in {"avx512", "avx2"} & set(_core.isas()):
            _core.select_isa(name)
            assert torch.equal(trained(data, nets, **wide).networks.theta, whole.networks.theta)
    finally:
        _core.select_isa(used)


def test_a_lost_network_ends_before_its_step_and_harms_nobody() -> None:
    nets, data = networks(1.0), task("mse")
    rates = [0.01, 1e200, 0.01, 0.01]
    found = trained(data, nets, optimizer="sgd", lr=rates)
    assert found.status == ["max_steps", "diverged", "max_steps", "max_steps"]
    assert found.steps.tolist()[1] < STEPS and bool(found.loss[1].isnan())
    others = trained(data, nets, optimizer="sgd", lr=0.01).networks
    for b in (0, 2, 3):
        assert torch.equal(of(found.networks, b), of(others, b))


def test_stops_are_looked_at_where_they_were() -> None:
    """A target of the loss ends each network at the epoch that reaches it; a full batch's bound on
    gradients at any step."""
    nets, data = networks(1.0), task("mse")
    each = trained(data, nets, steps=9, record=3).recorded.loss  # three steps are an epoch
    goal = float(each[2].sort().values[1])
    found = trained(data, nets, steps=9, loss_target=goal)
    assert found.steps.tolist() == [3 * int((row <= goal).nonzero()[0]) if bool((row <= goal).any())
                                    else 9 for row in each.T]  # fmt: skip
    norms = trained(data, nets, steps=5, record=1, batch_size=None).recorded.grad_norm
    bound = float(norms[3].max())
    ended = trained(data, nets, steps=5, batch_size=None, tol=bound)
    assert ended.steps.tolist() == [int((row <= bound).nonzero()[0]) for row in norms.T]


@pytest.mark.skipif(os.name != "posix", reason="signals of a process to itself")
def test_control_c_ends_a_call_between_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of one call of a million steps; what is there is what so many steps give."""
    nets, data, ended = networks(0.6), task(), []
    train = edt.objectives.chained.CoreChain.train

    def cut_short(*given: Any) -> None:
        timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        try:
            train(*given)
        except KeyboardInterrupt:
            ended.append("in the core")
            raise
        finally:
            timer.join()

    with monkeypatch.context() as patch:
        patch.setattr(edt.objectives.chained.CoreChain, "train", cut_short)
        patch.setattr(edt.training.run, "_next_stop", lambda state, settings, *_: settings.steps)
        cut = trained(data, nets, steps=10**6)
    assert cut.interrupted and ended == ["in the core"]
    steps = cut.steps.tolist()
    # A busy machine may not have begun the second.
    assert max(steps[:2]) > 0 and max(steps) < 10**6 and steps[2:] == [0, 0]
    for b in range(nets.B):
        there = nets
        if steps[b]:
            there = trained(data, nets[[b]], steps=steps[b], data_seed=5 + b).networks
        assert torch.equal(of(cut.networks, b), of(there, 0 if steps[b] else b))


@pytest.mark.parametrize("why", ["a class without an output", "batches", "a loss of one's own"])
def test_what_the_core_cannot_take_goes_as_before(why: str, core: list[int]) -> None:
    nets, (x, y, _) = networks(1.0), task().full_batch(0) or pytest.fail("a task of samples")
    other: Any = {
        "a class without an output": lambda: edt.ModuleTask((x, y + 1)),
        "batches": lambda: edt.ModuleTask([(x[:50], y[:50]), (x[50:], y[50:])], "cross_entropy"),
        "a loss of one's own": lambda: edt.ModuleTask((x, y), nn.functional.cross_entropy),
    }[why]()
    if why == "a class without an output":
        with pytest.raises(edt.errors.ShapeError, match="output for every class"):
            trained(other, nets)
    else:
        trained(other, nets, batch_size=None)
    assert core == []
