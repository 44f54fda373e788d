"""Losses and derivatives of module networks against autograd on the modules themselves."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edt
from edt import nets
from edt.ensemble.module_ensemble import ModuleEnsemble
from edt.errors import ShapeError
from edt.objectives import Objective, hessians
from edt.objectives.modules import ModuleObjective
from edt.tasks.module_task import ModuleTask

#: float64 sums of a few hundred terms in another order; curvature of these losses is up to 1e3.
CLOSE = {"rtol": 1e-9, "atol": 1e-10}


class _Branch(nn.Module):
    """vmap refuses control flow that depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.tanh(self.a(x))
        return z if bool(z.sum() > 0) else -2.0 * z


def _images(classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(7, 1, 8, 8, generator=draw, dtype=torch.float64)
    return x, torch.randint(0, classes, (7,), generator=draw)


def _tokens() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, 16, (3, 6), generator=torch.Generator().manual_seed(4))
    return tokens, tokens.roll(1, 1)


CASES: dict[str, tuple[Any, Any]] = {
    "lenet5": (partial(nets.lenet5, shape=(1, 8, 8)), _images),
    "resnet20": (partial(nets.resnet20, shape=(1, 8, 8), blocks=1), _images),
    "resnet20, no norm": (partial(nets.resnet20, shape=(1, 8, 8), norm="none", blocks=1), _images),
    "transformer": (partial(nets.transformer, length=8, size=8, layers=1), _tokens),
    "vmap refuses": (lambda width, seed: _Branch(), lambda: _plain(3, 2)),
}


def _plain(d_in: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(7, d_in, generator=draw, dtype=torch.float64)
    return x, torch.randint(0, classes, (7,), generator=draw)


def _prepared(name: str, mode: str = "eval") -> tuple[ModuleEnsemble, ModuleTask, ModuleObjective]:
    builder, data = CASES[name]
    networks = ModuleEnsemble.build(builder, [0.25, 0.5], range(2), dtype=torch.float64)
    task = ModuleTask(data(), mode=mode)
    return networks, task, task.objective(networks, torch.zeros(networks.B, dtype=torch.int64))


def _by_hand(
    networks: ModuleEnsemble, b: int, data: Any, mode: str, vector: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(loss, gradient, Hessian-vector product) of one module over its trainable parameters."""
    module = networks.to_module(b).train(mode == "train")
    x, y = data
    each = F.cross_entropy(module(x), y, reduction="none").reshape(x.shape[0], -1).mean(1)
    loss = each.mean()
    parameters = list(module.parameters())
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    flat = torch.cat([slope.reshape(-1) for slope in slopes])
    product = torch.autograd.grad(flat, parameters, vector[: flat.numel()])
    return loss.detach(), flat.detach(), torch.cat([part.reshape(-1) for part in product])


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_the_modules(name: str, mode: str) -> None:
    networks, _, objective = _prepared(name, mode)
    assert isinstance(objective, Objective)
    loss = torch.zeros(networks.B, dtype=torch.float64)
    slope, product = torch.zeros(networks.total).double(), torch.zeros(2, networks.total).double()
    vectors = torch.randn(2, networks.total, dtype=torch.float64)
    objective.loss_and_grad(networks.theta, loss, slope)
    objective.hvp(networks.theta, vectors, product)
    again = torch.zeros_like(loss)
    objective.loss(networks.theta, again)
    torch.testing.assert_close(again, loss, **CLOSE)
    for b in range(networks.B):
        span = slice(int(networks.offsets[b]), int(networks.offsets[b + 1]))
        value, grad, bent = _by_hand(networks, b, CASES[name][1](), mode, vectors[0, span])
        torch.testing.assert_close(loss[b], value, **CLOSE)
        learned = slice(span.start, span.start + grad.numel())
        torch.testing.assert_close(slope[learned], grad, **CLOSE)
        torch.testing.assert_close(product[0, learned], bent, **CLOSE)
        assert not slope[learned.stop : span.stop].any()
    assert bool(objective.looped) == (name == "vmap refuses")


def test_products_of_one_network_know_the_point_and_batch_that_they_are_of() -> None:
    """Its gradient is kept between products: not for another point, batch or network."""
    x, y = _images()

    def build(seed: int) -> nn.Module:
        """None that the core takes."""
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 10)
        ).double()

    networks = ModuleEnsemble([build(seed) for seed in range(2)])
    task = ModuleTask((x, y), at_once=4)  # two batches
    vectors = torch.randn(2, networks.total, dtype=torch.float64)
    both = edt.hvp(task, networks, vectors)  # side by side, by vmap
    objective = ModuleObjective(networks, task, torch.zeros(2, dtype=torch.int64))
    for b in (0, 1, 0):
        for scale in (1.0, 0.5, 1.0):
            found, only = torch.zeros_like(vectors), torch.zeros(2, dtype=torch.uint8)
            only[b] = 1
            objective.hvp(scale * networks.theta, vectors, found, only)
            span = slice(int(networks.offsets[b]), int(networks.offsets[b + 1]))
            if scale == 1.0:
                torch.testing.assert_close(found[:, span], both[:, span], **CLOSE)
            else:
                assert float((found[:, span] - both[:, span]).abs().max()) > 1e-3


@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "own"])
def test_gauss_newton_is_the_jacobian_sandwich(loss: str) -> None:
    def huber(f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.huber_loss(f, y, reduction="sum") / f.shape[0]

    x, classes = _plain(3, 2)
    y = classes if loss == "cross_entropy" else F.one_hot(classes, 2).double()
    networks = ModuleEnsemble.build(
        lambda width, seed: nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, 2)),
        [2, 3], range(2), dtype=torch.float64,
    )  # fmt: skip
    task = ModuleTask((x, y), huber if loss == "own" else loss, at_once=4)
    objective = task.objective(networks, torch.zeros(4, dtype=torch.int64))
    jacobians = objective.jacobian(networks.theta)
    outputs = objective.predict(networks.theta)
    found = hessians(objective, networks.theta, torch.arange(4), ggn=True)
    criterion = {
        "mse": lambda f, t: (f - t).square().sum(-1),
        "cross_entropy": lambda f, t: F.cross_entropy(f, t),
        "own": lambda f, t: F.huber_loss(f, t, reduction="sum"),
    }[loss]
    for b in range(4):
        blocks = []
        for n in range(x.shape[0]):
            target = y[n]
            inner = torch.autograd.functional.hessian(
                lambda f, t=target: criterion(f, t).sum(), outputs[b][n]
            )
            rows = jacobians[b][2 * n : 2 * n + 2]
            blocks.append(rows.T @ inner @ rows / x.shape[0])
        torch.testing.assert_close(found[b], torch.stack(blocks).sum(0), **CLOSE)


def test_a_chain_is_the_same_by_kernels_and_by_modules() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=draw, dtype=torch.float64)
    weights = torch.rand(20, generator=draw, dtype=torch.float64)
    y = torch.randn(2, 20, 2, generator=draw, dtype=torch.float64)
    task = edt.Task(x, y, weights=weights)
    chain = edt.Ensemble.init([4, 5], range(2), d_in=3, d_out=2, sparsity=0.3)
    networks = ModuleEnsemble([chain.to_module(b) for b in range(4)])
    assert torch.equal(networks.theta, chain.theta)
    assert torch.equal(networks.state, chain.state)
    index = torch.tensor([0, 1, 1, 0])
    objective = ModuleTask.of(task).objective(networks, index)
    loss, slope = torch.zeros(4, dtype=torch.float64), torch.zeros_like(networks.theta)
    objective.loss_and_grad(networks.theta, loss, slope)
    wanted, grad = edt.loss_and_grad(chain, task, task_index=index)
    torch.testing.assert_close(loss, wanted, **CLOSE)
    torch.testing.assert_close(slope, grad, **CLOSE)
    for ggn in (False, True):
        mine = hessians(objective, networks.theta, torch.arange(4), ggn=ggn)
        for one, other in zip(
            mine, edt.hessian(chain, task, task_index=index, ggn=ggn), strict=True
        ):
            torch.testing.assert_close(one, other, **CLOSE)


def test_active_networks_are_written_and_others_left_alone() -> None:
    networks, _, objective = _prepared("lenet5")
    loss = torch.full((4,), 7.0, dtype=torch.float64)
    slope = torch.full((networks.total,), 7.0, dtype=torch.float64)
    objective.loss_and_grad(networks.theta, loss, slope, torch.tensor([0, 1, 0, 1]).byte())
    assert loss[[0, 2]].tolist() == [7.0, 7.0] and not (loss[[1, 3]] == 7.0).any()
    first = slice(0, int(networks.offsets[1]))
    assert bool((slope[first] == 7.0).all())


def test_batches_and_steps_of_ones_own() -> None:
    x, y = _plain(3, 2)
    networks = ModuleEnsemble.build(
        lambda width, seed: nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2)),
        [3], range(2), dtype=torch.float64,
    )  # fmt: skip
    index = torch.zeros(2, dtype=torch.int64)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y), batch_size=3, shuffle=False
    )
    dicts = [{"inputs": a, "labels": b} for a, b in loader]

    def step(module: Any, batch: Any) -> torch.Tensor:
        return F.cross_entropy(module(batch["inputs"]), batch["labels"])

    found = []
    for task in (ModuleTask((x, y)), ModuleTask(loader), ModuleTask(dicts, step=step)):
        objective = task.objective(networks, index)
        loss, slope = torch.zeros(2, dtype=torch.float64), torch.zeros_like(networks.theta)
        objective.loss_and_grad(networks.theta, loss, slope)
        found.append((loss, slope))
    for loss, slope in found[1:]:
        torch.testing.assert_close(loss, found[0][0], **CLOSE)
        torch.testing.assert_close(slope, found[0][1], **CLOSE)
    with pytest.raises(ValueError, match="ggn needs a loss of outputs"):
        objective.hvp(
            networks.theta, torch.zeros(1, networks.total).double(),
            torch.zeros(1, networks.total).double(), ggn=True,
        )  # fmt: skip


def test_modules_and_the_process_are_left_as_they_were() -> None:
    networks, _, objective = _prepared("resnet20", "train")
    skeleton = networks.architecture(0).skeleton
    before = copy.deepcopy(skeleton.state_dict())
    modes = [part.training for part in skeleton.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    objective.loss(networks.theta, torch.zeros(4, dtype=torch.float64))
    assert all(torch.equal(value, before[name]) for name, value in skeleton.state_dict().items())
    assert [part.training for part in skeleton.modules()] == modes
    assert torch.backends.mha.get_fastpath_enabled() == fast


class _Squared(torch.autograd.Function):
    """An operation without a second derivative."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            raise NotImplementedError("derivative of _SquaredBackward is not implemented")
        (x,) = ctx.saved_tensors
        return 2 * x * g


class _Once(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Squared.apply(self.a(x))


def test_bad_input_is_named() -> None:
    x, y = _plain(3, 2)
    once = ModuleEnsemble([_Once().double()])
    objective = ModuleTask((x, y)).objective(once, torch.zeros(1, dtype=torch.int64))
    vectors = torch.ones(1, once.total, dtype=torch.float64)
    words = (
        r"_Once cannot be evaluated on this task \(hvp, which needs second .*: derivative of _Sq"
    )
    with pytest.raises(ValueError, match=words):
        objective.hvp(once.theta, vectors, torch.zeros_like(vectors))
    with pytest.raises(ValueError, match="data shuffles"):
        ModuleTask(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), shuffle=True))
    with pytest.raises(ValueError, match="at least one batch"):
        ModuleTask([])
    with pytest.raises(ShapeError, match="as many inputs as targets"):
        ModuleTask((x, y[:3]))
    with pytest.raises(ValueError, match="mode"):
        ModuleTask((x, y), mode="test")
    with pytest.raises(ShapeError, match="shape of the outputs"):
        ModuleTask((x, torch.zeros(7, 3).double()), "mse").objective(
            once, torch.zeros(1, dtype=torch.int64)
        ).loss(once.theta, torch.zeros(1, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"edt\.ModuleEnsemble"):
        ModuleTask((x, y)).objective(
            edt.Ensemble([2], d_in=3, d_out=2), torch.zeros(1, dtype=torch.int64)
        )
