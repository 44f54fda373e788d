"""Layers of many networks at once, against the networks one by one."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import edt
from edt import _core
from edt.objectives.chained import CoreChain
from edt.objectives.stacked import LARGEST, Stack
from edt.objectives.traced import Unread
from edt.ops.threads import one_blas_thread, torch_threads
from edt.tasks.module_task import ModuleTask

Build = Callable[[], nn.Module]

CHAINS: dict[str, tuple[tuple[int, ...], Build]] = {
    "lenet": ((1, 8, 8), lambda: edt.nets.lenet5(0.5, shape=(1, 8, 8))),
    "margins, no bias, odd sizes, oblong kernels": (
        (2, 7, 9),
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, (3, 2), padding=(0, 1), bias=False), nn.Tanh(),
            nn.MaxPool2d((2, 3)), nn.Sequential(nn.Conv2d(3, 4, 1), nn.GELU()),
            nn.Flatten(), nn.Linear(24, 5, bias=False),
        ),
    ),
    "fields cut off, margins wider than images": (
        (1, 5, 3),
        lambda: nn.Sequential(
            nn.SiLU(), nn.Conv2d(1, 7, (5, 2), padding=(2, 2)), nn.MaxPool2d(2), nn.SELU(),
            nn.Tanh(), nn.Conv2d(7, 13, (1, 3), padding=(1, 1)), nn.Flatten(),
            nn.Linear(156, 5), nn.LeakyReLU(),
        ),
    ),
    "means": (
        (2, 7, 5),
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 2), nn.Tanh(), nn.AvgPool2d((2, 3)), nn.Conv2d(3, 4, 1, padding=1),
            nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5),
        ),
    ),
    "strides, with columns and rows that no tap reads": (
        (2, 9, 8),
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Tanh(),
            nn.Conv2d(3, 4, (2, 1), stride=(1, 3), padding=(0, 1)), nn.Softplus(),
            nn.Conv2d(4, 5, (1, 2), stride=(2, 1), bias=False), nn.GELU(), nn.Flatten(),
            nn.Linear(10, 5),
        ),
    ),
    "strides, wide kernels, maxima": (
        (1, 13, 11),
        lambda: nn.Sequential(
            nn.Conv2d(1, 7, (5, 4), stride=(3, 2), padding=(2, 3)), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(7, 6, 3, stride=2, padding=2), nn.Tanh(), nn.Flatten(), nn.Linear(36, 5),
        ),
    ),
    "a pixel with margins": (
        (2, 1, 1),
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 1, padding=(0, 1)), nn.Tanh(), nn.Flatten(), nn.Linear(9, 5)
        ),
    ),
    "vectors": (
        (6,), lambda: nn.Sequential(nn.Linear(6, 4), nn.ELU(), nn.Identity(), nn.Linear(4, 5))
    ),
}  # fmt: skip


def networks(name: str, count: int = 3) -> tuple[edt.ModuleEnsemble, tuple[int, ...]]:
    torch.manual_seed(5)
    shape, build = CHAINS[name]
    return edt.ModuleEnsemble([build().double() for _ in range(count)]), shape


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CHAINS)
def test_losses_and_gradients_are_those_of_each_module(name: str, weighted: bool) -> None:
    """Float64: sums in another order differ by rounding."""
    nets, shape = networks(name)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(11, *shape, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 5, (11,), generator=draw)
    task = edt.ModuleTask((x, y), "cross_entropy", at_once=4 if weighted else 100)
    architecture = nets.architecture(0)
    assert Stack.of(architecture.skeleton, architecture.blocks).layers
    with one_blas_thread():
        loss, gradient = edt.loss_and_grad(task, nets)
    for b in range(nets.B):
        module = nets.to_module(b)
        value = nn.functional.cross_entropy(module(x), y)
        value.backward()
        torch.testing.assert_close(loss[b], value.detach(), rtol=1e-12, atol=0)
        for block in nets.blocks(b):
            mine = gradient[int(nets.offsets[b]) :][block.span].view(block.shape)
            known = dict(module.named_parameters())[block.name].grad
            torch.testing.assert_close(mine, known, rtol=1e-10, atol=1e-14)


def in_core(
    nets: edt.ModuleEnsemble, inputs: torch.Tensor, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs, and the gradient of ``sum(u * outputs)``, by the core."""
    architecture, rows = nets.architecture(0), nets.theta.view(nets.B, -1)
    stack = Stack.of(architecture.skeleton, architecture.blocks)
    core = stack.core(rows, inputs)
    assert core is not None
    return core.outputs(rows, inputs), core.gradient(rows, inputs, lambda f: (f * u).sum((1, 2)))[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("samples", [1, 31, 64, 150])
@pytest.mark.parametrize("name", CHAINS)
def test_the_core_computes_what_torch_does(name: str, samples: int, dtype: torch.dtype) -> None:
    """Sums in another order: a few hundred roundings at most, relative to the largest entry.

    Whole blocks of samples and parts of them; inputs of one's own and shared ones.
    """
    nets, shape = networks(name)
    nets = nets.to(dtype)
    stack = Stack.of(nets.architecture(0).skeleton, nets.architecture(0).blocks)
    draw = torch.Generator().manual_seed(samples)
    own = torch.randn(3, samples, *shape, generator=draw, dtype=dtype)
    for inputs in (own, own[1].expand(3, *own.shape[1:])):
        rows = nets.theta.view(3, -1).clone().requires_grad_()
        known = stack.outputs(rows, inputs)
        u = torch.randn(known.shape, generator=draw, dtype=dtype)
        (slope,) = torch.autograd.grad((known * u).sum(), rows)
        found = in_core(nets, inputs, u)
        for mine, theirs in zip(found, (known.detach(), slope), strict=True):
            atol = 300 * torch.finfo(dtype).eps * float(theirs.abs().max())
            torch.testing.assert_close(mine, theirs, rtol=0, atol=atol)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small operations of PyTorch on one thread: several wait for each other."""
    with torch_threads(1):
        yield


#: What random chains are made of.
BENDS = (nn.Tanh, nn.Softplus, nn.SiLU, nn.ReLU, nn.GELU, nn.ELU, nn.Sigmoid, nn.LeakyReLU)
SECOND_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cross_entropy": nn.functional.cross_entropy,
    "mse": lambda f, y: (f - y).square().sum(1).mean(),
    "bce": lambda f, y: (
        nn.functional.binary_cross_entropy_with_logits(f, y, reduction="none").sum(1).mean()
    ),
}


def random_chain(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Convolutions with and without margins and biases, pooling of both kinds, any activations."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    shape = (draw.randint(1, 3), draw.randint(4, 9), draw.randint(4, 9))
    layers: list[nn.Module] = []
    at = shape
    for _ in range(draw.randint(1, 3)):
        kernel = (draw.randint(1, min(3, at[1])), draw.randint(1, min(3, at[2])))
        margin = (draw.randint(0, 1), draw.randint(0, 1))
        layers.append(
            nn.Conv2d(at[0], draw.randint(1, 5), kernel, padding=margin, bias=draw.random() < 0.7)
        )
        if draw.random() < 0.8:
            layers.append(draw.choice(BENDS)())
        if draw.random() < 0.6:
            layers.append(draw.choice((nn.MaxPool2d, nn.AvgPool2d))((draw.randint(1, 2), 2)))
        at = tuple(nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1:])
        if min(at[1:]) < 2:
            break
    size = at[0] * at[1] * at[2]
    layers += [nn.Flatten(), nn.Linear(size, 6), draw.choice(BENDS)(), nn.Linear(6, 3)]
    return nn.Sequential(*layers).double(), shape


def products_one_by_one(
    module: nn.Module,
    value: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    vectors: torch.Tensor,
    ggn: bool,
) -> torch.Tensor:
    """Float64, by double backward, or by way of the outputs: ``[K, P]``."""
    parameters = list(module.parameters())

    def flat(parts: Any) -> torch.Tensor:
        return torch.cat([part.reshape(-1) for part in parts])

    f = module(x)
    if not ggn:
        slope = flat(torch.autograd.grad(value(f, y), parameters, create_graph=True))
        rows = [torch.autograd.grad(slope, parameters, v, retain_graph=True) for v in vectors]
        return torch.stack([flat(row) for row in rows])
    # J v as the derivative of u -> J^T u, which is linear in u.
    u = torch.zeros_like(f, requires_grad=True)
    back = flat(torch.autograd.grad(f, parameters, u, create_graph=True))
    cut = f.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(value(cut, y), cut, create_graph=True)
    found = []
    for v in vectors:
        (moved,) = torch.autograd.grad(back, u, v, retain_graph=True)
        (bent,) = torch.autograd.grad(slope, cut, moved, retain_graph=True)
        found.append(flat(torch.autograd.grad(f, parameters, bent, retain_graph=True)))
    return torch.stack(found)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("seed", range(12))
def test_products_of_chains_are_autograds(seed: int) -> None:
    """Random chains, masks, losses and batches of every remainder, against the float64 modules.

    Sums in another order: a few hundred roundings, relative to the largest entry.
    """
    draw = torch.Generator().manual_seed(seed)
    dtype = (torch.float32, torch.float64)[seed // 2 % 2]
    module, shape = random_chain(seed)
    modules = [module] + [copy.deepcopy(module) for _ in range(2)]
    for other in modules[1:]:
        for parameter in other.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=draw).double()
    nets = edt.ModuleEnsemble(modules)
    kept = torch.rand(nets.total, generator=draw) < (0.6, 0.95, 0.2, 0.03)[seed % 4]
    nets = nets.with_state(kept.byte())
    nets = nets.to(dtype)
    name = list(SECOND_LOSSES)[seed % 3]
    samples = (1, 5, 31, 64, 65, 130)[seed % 6]
    x = torch.randn(samples, *shape, generator=draw).to(dtype)
    y = torch.randint(0, 3, (samples,), generator=draw)
    if name != "cross_entropy":
        y = torch.rand(samples, 3, generator=draw).to(dtype)
    task = edt.ModuleTask((x, y), name, at_once=100)
    vectors = torch.randn(9, nets.total, generator=draw).to(dtype)
    vectors[0] = 0.0
    vectors[0, nets.offsets[:-1]] = 1.0  # a first weight alone
    assert ModuleTask.of(task).objective(nets).products_in_core
    for ggn in (False, True):
        found = (edt.ggn_vp if ggn else edt.hvp)(task, nets, vectors)
        for b in (0, 2):
            span = slice(int(nets.offsets[b]), int(nets.offsets[b + 1]))
            live = (nets.state[span] == 1).double()
            torch.nn.utils.vector_to_parameters(nets.theta[span].double(), module.parameters())
            known = live * products_one_by_one(
                module, SECOND_LOSSES[name], x.double(),
                y if name == "cross_entropy" else y.double(), vectors[:, span].double() * live, ggn,
            )  # fmt: skip
            atol = 300 * torch.finfo(dtype).eps * max(1e-3, float(known.abs().max()))
            torch.testing.assert_close(found[:, span].double(), known, rtol=0, atol=atol)


def test_columns_are_products_and_products_keep_their_bits() -> None:
    """Of networks alone and together, vectors one by one and together, one thread and several."""
    nets, shape = networks("means", 3)
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(150, *shape, generator=draw, dtype=torch.float64)
    task = edt.ModuleTask((x, torch.randint(0, 5, (150,), generator=draw)))
    vectors = torch.randn(11, nets.total, generator=draw, dtype=torch.float64)
    together = edt.hvp(task, nets, vectors)
    matrices = edt.hessian(task, nets)
    with torch_threads(1):
        for b in range(3):
            span = slice(int(nets.offsets[b]), int(nets.offsets[b + 1]))
            one = nets.select([b])
            alone = torch.cat([edt.hvp(task, one, v[None, span]) for v in vectors])
            assert torch.equal(alone, together[:, span])
            assert torch.equal(matrices[b], edt.hessian(task, one)[0])
            torch.testing.assert_close(vectors[:, span] @ matrices[b], alone, rtol=0, atol=1e-12)


@pytest.mark.skipif({"avx512", "avx2"} - set(_core.isas()) != set(), reason="needs both")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_instruction_sets_give_the_same_bits(dtype: torch.dtype) -> None:
    before = _core.isa()
    for seed in range(6):
        module, shape = random_chain(seed)
        nets = edt.ModuleEnsemble([module]).to(dtype)
        draw = torch.Generator().manual_seed(seed)
        if seed % 2:
            nets = nets.with_masks(torch.rand(nets.total, generator=draw) < 0.2)
        x = torch.randn(70, *shape, generator=draw, dtype=dtype)
        task = edt.ModuleTask((x, torch.randn(70, 3, generator=draw, dtype=dtype)), "mse")
        vectors = torch.randn(9, nets.total, generator=draw, dtype=dtype)
        kept = []
        try:
            for name in ("avx512", "avx2"):
                _core.select_isa(name)
                kept.append((*edt.loss_and_grad(task, nets), edt.hvp(task, nets, vectors)))
        finally:
            _core.select_isa(before)
        assert all(torch.equal(a, b) for a, b in zip(*kept, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lists_of_taps_are_whole_layers_without_their_zeros(dtype: torch.dtype) -> None:
    """Outputs bit for bit; gradients up to the order of a linear layer's sums over samples."""
    draw = torch.Generator().manual_seed(8)
    for seed in range(6):
        module, shape = random_chain(seed)
        nets = edt.ModuleEnsemble([module, module]).to(dtype)
        state = (torch.rand(nets.total, generator=draw) < (0.3, 0.05)[seed % 2]).byte()
        state[torch.rand(nets.total, generator=draw) < 0.05] = 2
        span = slice(int(nets.offsets[1]), None)
        state[span] = 1 if seed % 3 else 0  # the other network: all, or nothing
        sparse = nets.with_state(state)
        dense = nets.with_theta(sparse.theta)
        x = torch.randn(70, *shape, generator=draw, dtype=dtype)
        task = edt.ModuleTask((x, torch.randn(70, 3, generator=draw, dtype=dtype)), "mse")
        for a, b in zip(edt.predict(sparse, x), edt.predict(dense, x), strict=True):
            assert torch.equal(a, b)
        (value, found), (known, slope) = (edt.loss_and_grad(task, n) for n in (sparse, dense))
        assert torch.equal(value, known) and not bool(found[state != 1].any())
        live = torch.where(state == 1, slope, 0.0)
        atol = 100 * torch.finfo(dtype).eps * max(1.0, float(live.abs().max()))
        torch.testing.assert_close(found, live, rtol=0, atol=atol)
        # Another mask has lists of its own: here the same networks with less.
        fewer = nets.with_state(torch.where(torch.arange(nets.total) % 2 == 0, state, 0))
        again = edt.loss_and_grad(task, fewer)[1]
        assert not bool(again[1::2].any())


def test_layers_go_by_lists_where_few_weights_are_left() -> None:
    """Layer by layer; gradients are summed of what is listed, of whole layers, and of biases."""
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 10))
    architecture = edt.ModuleEnsemble([module]).architecture(0)
    stack = Stack.of(architecture.skeleton, architecture.blocks)
    core = CoreChain.of(stack.layers, (1, 4, 4), 210)
    assert core is not None
    state = torch.ones(210, dtype=torch.uint8)
    assert core.mask(state).listed == [False] * 3 and core.mask(state).size == 210
    state[3:36] = 0  # three of 36 weights of the convolution
    assert core.mask(state).listed == [True, False, False] and core.mask(state).size == 177
    state[40:200] = torch.arange(160) % 4 == 0
    assert core.mask(state).listed == [True, False, True]
    assert core.mask(state).size == 3 + 4 + 40 + 10


def test_a_mask_changes_under_training_and_its_lists_with_it() -> None:
    """Rounds of pruning inside one run, against the same steps with dense kernels."""
    module, shape = random_chain(4)
    nets = edt.ModuleEnsemble([module])
    draw = torch.Generator().manual_seed(9)
    x = torch.randn(24, *shape, generator=draw, dtype=torch.float64)
    task = edt.ModuleTask((x, torch.randn(24, 3, generator=draw, dtype=torch.float64)), "mse")
    order = torch.rand(nets.total, generator=draw)

    class Prune:
        def at(self, steps: int) -> list[int]:
            return [2, 4]

        def __call__(self, step: int, *_: Any) -> torch.Tensor:
            return (order < 1.0 / (1.0 + step)).byte()

    options: dict[str, Any] = {"lr": 0.01, "progress": False, "record": None}
    found = edt.masked_train(task, nets, steps=6, mask_updates=Prune(), **options).networks
    assert torch.equal(found.state, (order < 0.2).byte())
    point = copy.deepcopy(module)
    plain = torch.optim.Adam(point.parameters(), lr=0.01)
    for step in range(6):
        if step in (2, 4):
            kept = order < 1.0 / (1.0 + step)
        parts = torch.split(kept if step >= 2 else torch.ones(nets.total, dtype=torch.bool),
                            [p.numel() for p in point.parameters()])  # fmt: skip
        for p, part in zip(point.parameters(), parts, strict=True):
            p.data *= part.view_as(p)
        plain.zero_grad()
        (point(x) - task.targets[0][0].content[1]).square().sum(1).mean().backward()
        for p, part in zip(point.parameters(), parts, strict=True):
            assert p.grad is not None
            p.grad *= part.view_as(p)
            mine = plain.state.get(p)
            if mine:
                mine["exp_avg"] *= part.view_as(p)
                mine["exp_avg_sq"] *= part.view_as(p)
        plain.step()
    known = torch.nn.utils.parameters_to_vector(point.parameters()) * (order < 0.2)
    torch.testing.assert_close(found.theta, known.detach(), rtol=1e-9, atol=1e-12)


def test_losses_that_do_not_add_up_go_another_way() -> None:
    """A function of all outputs of a batch, and one number a sample as seen through it."""
    nets, shape = networks("vectors", 2)
    draw = torch.Generator().manual_seed(6)
    x = torch.randn(20, *shape, generator=draw, dtype=torch.float64)
    y = torch.randn(20, 5, generator=draw, dtype=torch.float64)

    def squares(f: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return (f - t).square().sum(1).mean()

    own = edt.ModuleTask((x, y), squares)
    named = edt.ModuleTask((x, y), "mse")
    assert own.per_sample is None and not own.objective(nets).products_in_core
    vectors = torch.randn(3, nets.total, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(
        edt.hvp(own, nets, vectors), edt.hvp(named, nets, vectors), rtol=0, atol=1e-12
    )
    warm, f = named.with_temperature(2.0), nets.to_module(0)(x).detach()
    assert warm.per_sample is not None
    torch.testing.assert_close(warm.per_sample(f, y).mean(), squares(f / 2.0, y))


def test_the_cores_bits_depend_neither_on_threads_nor_on_company() -> None:
    nets, shape = networks("lenet", 3)
    draw = torch.Generator().manual_seed(4)
    inputs = torch.randn(3, 500, *shape, generator=draw, dtype=torch.float64)
    u = torch.randn(3, 500, 10, generator=draw, dtype=torch.float64)
    with one_blas_thread():
        _core.set_num_threads(1)
        alone = [in_core(nets.select([b]), inputs[[b]], u[[b]]) for b in range(3)]
    together = in_core(nets, inputs, u)
    for kind in (0, 1):
        assert torch.equal(together[kind], torch.cat([found[kind] for found in alone]))


def test_the_core_keeps_what_is_no_number() -> None:
    """Through relu and pooling, wherever in its field it stands."""
    nets, shape = networks("lenet", 1)
    inputs = torch.zeros(1, 4, *shape, dtype=torch.float64)
    inputs[0, 1, 0, 0, 0] = inputs[0, 2, 0, 5, 5] = inputs[0, 3, 0, 7, 6] = float("nan")
    found, _ = in_core(nets, inputs, torch.ones(1, 4, 10, dtype=torch.float64))
    assert found[0, 0].isfinite().all() and found[0, 1:].isnan().all()


def test_what_the_core_lacks_goes_another_way() -> None:
    """Slopes that the core does not have, and samples that take too much room."""
    leaky = nn.Sequential(nn.Linear(3, 2), nn.LeakyReLU(0.3))
    wide = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.Flatten())
    for module, shape in ((leaky, (3,)), (wide, (1, 400, 400))):
        architecture = edt.ModuleEnsemble([module]).architecture(0)
        stack = Stack.of(architecture.skeleton, architecture.blocks)
        size = sum(block.size for block in architecture.blocks)
        assert CoreChain.of(stack.layers, shape, size) is None
    for wrong in ({"h_out": 3}, {"weight": 5}, {"c_in": 0}):
        good = {
            "kind": "affine", "c_in": 2, "h": 1, "w": 1, "c_out": 2, "h_out": 1, "w_out": 1,
            "kh": 1, "kw": 1, "top": 0, "left": 0, "sh": 1, "sw": 1,
            "weight": 0, "bias": -1, "act": 0,
        }  # fmt: skip
        with pytest.raises(ValueError, match=r"layer|convolution"):
            _core.Chain([{**good, **wrong}], 4)


def test_of_equal_numbers_the_first_has_the_slope() -> None:
    """As in torch: pixels that are all alike."""
    module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 1))
    nets = edt.ModuleEnsemble([module.double()])
    stack = Stack.of(nets.architecture(0).skeleton, nets.architecture(0).blocks)
    point = torch.ones(1, 1, 1, 4, 4, dtype=torch.float64)
    inner = point.clone().requires_grad_()
    stack.outputs(nets.theta[None], inner).sum().backward()
    # Of the core it shows in the gradient of the convolution's weight alone.
    before = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(2), nn.Flatten()).double()
    before[0].weight.data.zero_()
    core = edt.ModuleEnsemble([before])
    images = torch.arange(16, dtype=torch.float64).view(1, 1, 1, 4, 4)
    _, mine = in_core(core, images, torch.ones(1, 1, 1))
    before(images[0]).sum().backward()
    torch.testing.assert_close(mine[0, :9], before[0].weight.grad.flatten())
    other = point[0].clone().requires_grad_()
    nets.to_module(0)(other).sum().backward()
    assert inner.grad is not None and other.grad is not None
    assert torch.equal(inner.grad[0] != 0, other.grad != 0)


class Own(nn.Linear):
    """A subclass may do anything."""


def hooked() -> nn.Module:
    layer = nn.Sequential(nn.Linear(6, 2))
    layer[0].register_forward_hook(lambda *_: None)
    return layer


def tied() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer)


def tied_weights() -> nn.Module:
    layers = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    layers[2].weight = layers[0].weight
    return layers


OTHERS: dict[str, Build] = {
    "groups": lambda: nn.Sequential(nn.Conv2d(2, 2, 3, groups=2)),
    "dilation": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, dilation=2)),
    "margins that repeat": lambda: nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")
    ),
    "margins by name": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding="same")),
    "fields that overlap": lambda: nn.Sequential(nn.Conv2d(1, 2, 1), nn.MaxPool2d(3, stride=1)),
    "means of several sizes": lambda: nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(2)),
    "means that count margins": lambda: nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.AvgPool2d(2, padding=1)
    ),
    "in place": lambda: nn.Sequential(nn.Linear(6, 2), nn.ReLU(inplace=True)),
    "dropout": lambda: nn.Sequential(nn.Linear(6, 2), nn.Dropout()),
    "norm": lambda: nn.Sequential(nn.Linear(6, 2), nn.BatchNorm1d(2)),
    "subclass": lambda: nn.Sequential(Own(6, 2)),
    "hook": hooked,
    "tied layers": tied,
    "tied weights": tied_weights,
    "weight norm": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 2))),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_modules_are_left_to_vmap(name: str) -> None:
    architecture = edt.ModuleEnsemble([OTHERS[name]()]).architecture(0)
    with pytest.raises(Unread):
        Stack.of(architecture.skeleton, architecture.blocks)


def test_shapes_that_do_not_fit_are_left_to_vmap_and_its_errors() -> None:
    nets, _ = networks("lenet", 1)
    stack = Stack.of(nets.architecture(0).skeleton, nets.architecture(0).blocks)
    assert stack.fits((1, 8, 8), 64) >= 1
    assert not stack.fits((2, 8, 8), 64) and not stack.fits((64,), 64)
    assert not stack.fits((1, 8, 8), LARGEST)
    with pytest.raises(ValueError, match="Sequential cannot be evaluated"):
        edt.loss_and_grad(edt.ModuleTask((torch.zeros(3, 2, 8, 8).double(), torch.arange(3))), nets)


def test_targets_of_a_wrong_shape_are_named() -> None:
    nets, _ = networks("vectors", 2)
    task = edt.ModuleTask((torch.zeros(3, 6).double(), torch.zeros(3, 4).double()))
    with pytest.raises(ValueError, match="shape of the outputs"):
        edt.loss_and_grad(task, nets)


def test_a_network_keeps_its_bits_beside_others_and_steps_as_alone() -> None:
    """Batched products go network by network here: one thread, and no other order of sums."""
    nets, shape = networks("lenet", 4)
    draw = torch.Generator().manual_seed(2)
    data = (torch.randn(40, *shape, generator=draw, dtype=torch.float64), torch.arange(40) % 10)
    task, given = edt.ModuleTask(data), copy.deepcopy(nets.theta)
    options = {"optimizer": "sgd", "momentum": 0.9, "lr": 0.05, "batch_size": 8, "steps": 4}
    with one_blas_thread():
        together = edt.masked_train(task, nets, progress=False, **options).networks
        alone = edt.masked_train(task, nets[[2]], progress=False, **options).networks
    torch.testing.assert_close(together.select([2]).theta, alone.theta, rtol=1e-10, atol=1e-14)
    assert torch.equal(nets.theta, given)
