"""Residual networks in the core, against their modules and `vmap`; what is read of a module."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from random_graphs import OUTPUTS, RandomGraph
from torch import nn
from torch.nn import functional as F

import edt
from edt import _core
from edt.objectives.layers import Add, Gain, Shortcut
from edt.objectives.stacked import Stack
from edt.objectives.traced import Unread, read_layers
from edt.ops.threads import torch_threads
from edt.tasks.module_task import ModuleTask

Build = Callable[[], nn.Module]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small operations of PyTorch on one thread: several wait for each other."""
    with torch_threads(1):
        yield


def flat(parts: Any) -> torch.Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def grad(of: torch.Tensor, by: Any, *along: torch.Tensor, **how: Any) -> torch.Tensor:
    """A derivative in one row, 0 where nothing depends on it."""
    return flat(torch.autograd.grad(of, by, *along, materialize_grads=True, **how))


def drawn(
    choose: random.Random,
) -> tuple[nn.Module, edt.ModuleEnsemble, edt.ModuleTask, torch.Tensor]:
    """(a random graph, two networks of it with masks of their own, a task, vectors)."""
    torch.manual_seed(choose.randrange(1000))
    shape = (choose.randint(1, 3), choose.randint(2, 8), choose.randint(2, 8))
    module = RandomGraph(choose, shape).double()
    nets = edt.ModuleEnsemble([module, module])
    draw = torch.Generator().manual_seed(choose.randrange(1000))
    theta = nets.theta + 0.2 * torch.randn(nets.total, generator=draw, dtype=torch.float64)
    nets = nets.with_theta(theta)
    kept = choose.choice((1.0, 0.9, 0.3, 0.0))
    if kept < 1:
        state = (torch.rand(nets.total, generator=draw) < kept).byte()
        state[torch.rand(nets.total, generator=draw) < 0.1] = 2
        state[choose.randrange(nets.total)] = 1  # one weight at least
        nets = nets.with_state(state)
    samples = choose.choice((1, 7, 31, 33, 65))
    x = torch.randn(samples, *shape, generator=draw, dtype=torch.float64)
    y = torch.randint(0, OUTPUTS, (samples,), generator=draw)
    vectors = torch.randn(3, nets.total, generator=draw, dtype=torch.float64)
    vectors[2] = 0.0
    vectors[2, choose.randrange(nets.total)] = 1.0  # a column of the Hessian
    return module, nets, edt.ModuleTask((x, y), "cross_entropy"), vectors


@pytest.mark.usefixtures("one_thread")
@settings(max_examples=16, phases=[Phase.generate])
@given(st.randoms(use_true_random=False))
def test_random_graphs_are_autograds(choose: random.Random) -> None:
    """Float64, all in another order of sums: some hundred roundings of the largest entry."""
    module, nets, task, vectors = drawn(choose)
    assert ModuleTask.of(task).objective(nets).products_in_core
    losses, slopes = edt.loss_and_grad(task, nets)
    hessians, gauss = edt.hvp(task, nets, vectors), edt.ggn_vp(task, nets, vectors)
    x, y, _ = task.full_batch(0) or pytest.fail("a task of samples")
    for b in range(nets.B):
        span = slice(int(nets.offsets[b]), int(nets.offsets[b + 1]))
        live = (nets.state[span] == 1).double()
        nn.utils.vector_to_parameters(nets.theta[span], module.parameters())
        parameters = list(module.parameters())
        f = module(x)
        value = F.cross_entropy(f, y)
        slope = grad(value, parameters, create_graph=True)
        size = float(slope.detach().abs().max())
        known = [(losses[b], value, 1.0), (slopes[span], slope * live, size)]
        u = torch.zeros_like(f, requires_grad=True)
        back = grad(f, parameters, u, create_graph=True)
        shares = torch.softmax(f, 1).detach()
        for k, v in enumerate(vectors[:, span] * live):
            row = grad(slope, parameters, v, retain_graph=True) * live
            known.append((hessians[k, span], row, max(1e-3, float(row.abs().max()))))
            (moved,) = torch.autograd.grad(back, u, v, retain_graph=True)
            bent = shares * (moved - (shares * moved).sum(1, keepdim=True)) / len(y)
            row = grad(f, parameters, bent, retain_graph=True) * live
            known.append((gauss[k, span], row, max(1e-3, float(row.abs().max()))))
        for mine, theirs, size in known:
            torch.testing.assert_close(mine, theirs.detach(), rtol=0, atol=1e-12 * size)


@settings(max_examples=12, phases=[Phase.generate])
@given(st.randoms(use_true_random=False))
def test_bits_depend_neither_on_threads_nor_company_nor_instruction_set(
    choose: random.Random,
) -> None:
    _, nets, task, vectors = drawn(choose)

    def results(part: edt.ModuleEnsemble, v: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (*edt.loss_and_grad(task, part), edt.hvp(task, part, v))

    whole = results(nets, vectors)
    span = slice(int(nets.offsets[1]), None)
    with torch_threads(1):
        loss, slope, product = results(nets.select([1]), vectors[:, span])
    assert torch.equal(loss[0], whole[0][1])
    assert torch.equal(slope, whole[1][span]) and torch.equal(product, whole[2][:, span])
    before = _core.isa()
    try:
        for name in _core.isas():
            if name in ("avx512", "avx2"):
                _core.select_isa(name)
                assert all(map(torch.equal, results(nets, vectors), whole))
    finally:
        _core.select_isa(before)


RESIDUAL: dict[str, tuple[tuple[int, ...], Build]] = {
    "resnet20": (
        (1, 8, 8),
        partial(edt.nets.resnet20, 0.25, norm="none", shape=(1, 8, 8), classes=OUTPUTS, blocks=1),
    ),
    "residual mlp": ((5,), partial(edt.nets.residual_mlp, 0.25, d_in=5, d_out=OUTPUTS)),
}


def residual(name: str, dtype: torch.dtype) -> tuple[edt.ModuleEnsemble, edt.ModuleTask]:
    """Three networks whose gains are not 0, and a task of 70 samples."""
    shape, build = RESIDUAL[name]
    nets = edt.ModuleEnsemble([build(seed=k).to(dtype) for k in range(3)])
    draw = torch.Generator().manual_seed(1)
    moved = 0.3 * torch.randn(nets.total, generator=draw, dtype=torch.float64)
    x = torch.randn(70, *shape, generator=draw, dtype=torch.float64).to(dtype)
    task = edt.ModuleTask((x, torch.randint(0, OUTPUTS, (70,), generator=draw)), "cross_entropy")
    return nets.with_theta(nets.theta + moved.to(dtype)), task


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", RESIDUAL)
def test_the_core_agrees_with_vmap(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients and products, to some hundred roundings of the largest entry."""
    nets, task = residual(name, dtype)
    vectors = torch.randn(2, nets.total, generator=torch.Generator().manual_seed(2)).to(dtype)
    assert ModuleTask.of(task).objective(nets).products_in_core
    mine = (*edt.loss_and_grad(task, nets), edt.hvp(task, nets, vectors))
    monkeypatch.setattr(Stack, "of", lambda *_: None)
    assert not ModuleTask.of(task).objective(nets).chained
    theirs = (*edt.loss_and_grad(task, nets), edt.hvp(task, nets, vectors))
    for a, b in zip(mine, theirs, strict=True):
        atol = 300 * torch.finfo(dtype).eps * float(b.abs().max())
        torch.testing.assert_close(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize("name", RESIDUAL)
def test_the_core_takes_training_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Minibatches and masks, gains frozen and not, against the same steps by `vmap`.

    Ten steps of float64: what rounding makes of one grows little.
    """
    nets, task = residual(name, torch.float64)
    draw = torch.Generator().manual_seed(3)
    state = (torch.rand(nets.total, generator=draw) < 0.5).byte()
    gains = [block for block in nets.blocks(0) if block.shape == ()]
    assert gains
    for k, block in enumerate(gains * nets.B):
        state[int(nets.offsets[k // len(gains)]) + block.start] = (1, 2, 0)[k % 3]
    nets = nets.with_state(state)
    train = partial(
        edt.masked_train, task, nets, optimizer="adam", lr=0.01, steps=10, batch_size=32,
        data_seed=[4, 5, 6], progress=False, record=None,
    )  # fmt: skip
    assert ModuleTask.of(task).objective(nets).steps is not None
    mine = train().networks
    monkeypatch.setattr(Stack, "of", lambda *_: None)
    assert ModuleTask.of(task).objective(nets).steps is None
    theirs = train().networks
    assert bool((mine.theta != nets.theta)[state == 1].any())
    assert torch.equal(mine.theta[state != 1], nets.theta[state != 1])
    torch.testing.assert_close(mine.theta, theirs.theta, rtol=0, atol=1e-10)


class Written(nn.Module):
    """A forward pass of functions, in the forms in which people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.side, self.end = nn.Conv2d(4, 4, 1), nn.Linear(4, OUTPUTS)
        self.scale = nn.Parameter(torch.tensor([0.7]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(torch.tanh(self.first(x)), 2)
        out = self.second(F.gelu(x)) * self.scale
        out += self.side(x)
        out = torch.add(out.relu(), x[:, :, ::1])
        out = F.avg_pool2d(F.leaky_relu(out), (1, 2))
        out = out.mean(dim=(2, 3))
        return self.end(out.view(out.size(0), -1).reshape(out.shape[0], -1))


def test_forward_passes_of_functions_are_read() -> None:
    """Branches of their own, products from either side, sums in place, means over positions."""
    module = Written().double()
    nets = edt.ModuleEnsemble([module])
    x, y = torch.randn(9, 1, 9, 8).double(), torch.randint(0, OUTPUTS, (9,))
    task = edt.ModuleTask((x, y), "cross_entropy")
    assert ModuleTask.of(task).objective(nets).steps is not None
    loss, slope = edt.loss_and_grad(task, nets)
    value = F.cross_entropy(module(x), y)
    value.backward()
    torch.testing.assert_close(loss[0], value.detach(), rtol=1e-12, atol=0)
    known = flat(p.grad for p in module.parameters())
    torch.testing.assert_close(slope, known, rtol=1e-10, atol=1e-14)


def test_what_is_read_of_skip_init() -> None:
    """The factor of a block, its subsampled shortcut with channels of zeros, and the sum."""
    nets, _ = residual("resnet20", torch.float64)
    architecture = nets.architecture(0)
    layers = read_layers(architecture.skeleton, architecture.blocks)
    gains = [layer for layer in layers if isinstance(layer.module, Gain)]
    assert [layer.weight.name for layer in gains if layer.weight] == [
        block.name for block in architecture.blocks if block.shape == ()
    ]
    ways = [layer.module for layer in layers if isinstance(layer.module, Shortcut)]
    assert ways[1] == Shortcut(kept=4, ahead=0, behind=4, rows=2, columns=2)
    for k, layer in enumerate(layers):
        if isinstance(layer.module, Add):
            assert layers[layer.source] in gains
            assert (
                isinstance(layers[layer.module.other].module, Shortcut) and layer.module.other < k
            )


def does(
    forward: Callable[[Any, torch.Tensor], torch.Tensor], **parts: Any
) -> Callable[[], nn.Module]:
    """A module of a linear layer ``inner`` and other parts with this forward pass."""

    def build() -> nn.Module:
        module = type("Does", (nn.Module,), {"forward": forward})()
        module.inner = nn.Linear(6, 6)
        for name, part in parts.items():
            setattr(module, name, part() if callable(part) else part)
        return module

    return build


UNREAD: dict[str, tuple[Build, str]] = {
    "a factor that is no parameter": (does(lambda m, x: 0.5 * m.inner(x)), "no single parameter"),
    "a factor a number": (
        does(lambda m, x: m.scale * m.inner(x), scale=lambda: nn.Parameter(torch.ones(6))),
        "no single parameter",
    ),
    "a product of two": (does(lambda m, x: m.inner(x) * x), "no single parameter"),
    "a branch on values": (
        does(lambda m, x: m.inner(x) if x.sum() > 0 else x), "cannot be traced"
    ),
    "draws": (does(lambda m, x: m.inner(x) + torch.randn(6)), "draws numbers"),
    "another pass in training": (
        does(lambda m, x: m.inner(x) + x if m.training else m.inner(x)), "in training"
    ),
    "a layer twice": (does(lambda m, x: m.inner(m.inner(x))), "used twice"),
    "a parameter of no layer": (
        does(lambda m, x: m.inner(x), other=lambda: nn.Parameter(torch.ones(1))), "not all of its"
    ),
    "an unknown function": (does(lambda m, x: m.inner(x).exp()), "calls exp"),
    "a sum in place of what is read again": (
        does(lambda m, x: x.add_(m.inner(x)) + x), "adds in place"
    ),
    "two outputs": (does(lambda m, x: (m.inner(x), x)), "no image or vector"),
    "what nothing reads": (does(lambda m, x: (m.inner(x), m.inner(x).relu())[0]), "nothing reads"),
    "a slice from within": (does(lambda m, x: m.inner(x)[:, 1:]), "another way"),
    "a margin of ones": (does(lambda m, x: F.pad(m.inner(x), (0, 0, 0, 0, 1, 0), value=1.0)),
                         "another way"),
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 2), nn.Dropout()), "Dropout"),
    "hooks": (lambda: _hooked(), "hooks"),
    "batch norm": (lambda: edt.nets.resnet20(0.1, 0), "buffers"),
}  # fmt: skip


def _hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 2))
    module[0].register_forward_hook(lambda *_: None)
    return module


def read(module: nn.Module) -> Any:
    architecture = edt.ModuleEnsemble([module]).architecture(0)
    return read_layers(architecture.skeleton, architecture.blocks)


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_read_says_why(name: str) -> None:
    build, why = UNREAD[name]
    for _ in range(2):  # the second answer is remembered
        with pytest.raises(Unread, match=why):
            read(build())


def test_an_objective_says_why_it_has_no_layers() -> None:
    task = edt.ModuleTask((torch.randn(3, 6), torch.randn(3, 6)), "mse")
    nets = edt.ModuleEnsemble([UNREAD["a layer twice"][0](), nn.Linear(6, 6)])
    found = ModuleTask.of(task).objective(nets).unread
    assert found == {"Does": "a parameter is used twice", "Linear": "it calls linear"}


def test_a_trace_that_misleads_is_found_out() -> None:
    """A pass that asks what its input is: a stand-in is no tensor."""
    misled = does(lambda m, x: m.inner(x) + x if isinstance(x, torch.Tensor) else m.inner(x))()
    assert len(read(misled)) == 1
    nets = edt.ModuleEnsemble([misled])
    x, y = torch.randn(5, 6), torch.randn(5, 6)
    task = edt.ModuleTask((x, y), "mse")
    objective = ModuleTask.of(task).objective(nets)
    assert not objective.chained and not objective.unread
    known = (misled(x) - y).square().sum(1).mean()
    torch.testing.assert_close(edt.loss(task, nets)[0].float(), known.detach())


class Keeps(nn.Module):
    """A pass that leaves something behind."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(6, 6), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = self.inner(x)
        return self.last + x


def test_a_trace_leaves_nothing_behind() -> None:
    nets = edt.ModuleEnsemble([Keeps()])
    architecture = nets.architecture(0)
    assert len(read_layers(architecture.skeleton, architecture.blocks)) == 2
    assert architecture.skeleton.last is None and architecture.skeleton.training
    left = weakref.ref(architecture.skeleton)
    unread = weakref.ref(build := UNREAD["a branch on values"][0]())
    with pytest.raises(Unread):
        read_layers(build, ())
    del nets, architecture, build
    gc.collect()
    assert left() is None and unread() is None


class Spread(nn.Module):
    """A sum of images of two sizes, which broadcasts."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        at = F.adaptive_avg_pool2d(self.one(x), 1) + self.other(x)
        return at.flatten(1)


def test_sums_of_unlike_shapes_are_left_to_vmap() -> None:
    module = Spread().double()
    nets = edt.ModuleEnsemble([module])
    x, y = torch.randn(5, 1, 3, 2).double(), torch.randn(5, 12).double()
    task = edt.ModuleTask((x, y), "mse")
    assert not ModuleTask.of(task).objective(nets).chained
    known = (module(x) - y).square().sum(1).mean()
    torch.testing.assert_close(edt.loss(task, nets)[0], known.detach())


def test_layers_that_do_not_fit_are_refused() -> None:
    good = {
        "kind": "affine", "c_in": 2, "h": 1, "w": 1, "c_out": 2, "h_out": 1, "w_out": 1, "kh": 1,
        "kw": 1, "top": 0, "left": 0, "sh": 1, "sw": 1, "weight": 0, "bias": -1, "act": 0,
    }  # fmt: skip
    way = good | {"kind": "shortcut", "kept": 2, "ahead": 0}
    for wrong, why in (
        (good | {"kind": "sum"}, "no such kind"),
        (good | {"source": 3}, "comes later"),
        (good | {"source": -3}, "comes later"),
        (good | {"kind": "add", "other": 1}, "comes later"),
        (good | {"kind": "gain", "weight": 4}, "not there"),
        (way | {"kept": 3}, "shortcut"),
        (way | {"ahead": 1}, "shortcut"),
        (way | {"c_out": 3, "h_out": 2}, "shortcut"),
        (good | {"kind": "add", "other": 0, "c_in": 1, "c_out": 1}, "does not fit"),
    ):
        with pytest.raises(ValueError, match=why):
            _core.Chain([good, wrong], 4)
