"""Chains of convolutions on the CUDA kernels, against PyTorch in float64, network by network."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

import edt
from edt.objectives.chained_on_gpu import GpuChain
from edt.objectives.stacked import Stack
from edt.ops import cuda, cuda_chain

BENDS = (nn.Tanh, nn.Softplus, nn.SiLU, nn.ReLU, nn.GELU, nn.ELU, nn.Sigmoid, nn.LeakyReLU)
#: Shares of the weights that are left: all, whole layers in spite of a mask, lists; 0: one tap.
SHARES = (1.0, 0.6, 0.3, 0.12, 0.0)


def random_chain(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Convolutions with margins, strides and without, fields that leave a rest, linear layers."""
    draw = random.Random(seed)
    c, h, w = draw.randint(1, 3), draw.randint(3, 9), draw.randint(3, 9)
    shape, layers = (c, h, w), []
    if draw.random() < 0.2:
        layers.append(draw.choice(BENDS)())
    for _ in range(draw.randint(1, 3)):
        top, left = draw.randint(0, 2), draw.randint(0, 2)
        kernel = draw.randint(1, min(4, h + 2 * top)), draw.randint(1, min(4, w + 2 * left))
        out = draw.randint(1, 9)
        bias = draw.random() < 0.7
        stride = draw.choice(((1, 1), (1, 1), (2, 2), (1, 2), (3, 1), (2, 3), (5, 4)))
        layers.append(nn.Conv2d(c, out, kernel, stride, (top, left), bias=bias))
        h, w = (
            (size + 2 * margin - k) // step + 1
            for size, margin, k, step in zip((h, w), (top, left), kernel, stride, strict=True)
        )
        c = out
        after: list[nn.Module] = [draw.choice(BENDS)() for _ in range(draw.choice((0, 1, 1, 2)))]
        if draw.random() < 0.6 and min(h, w) > 1:
            field = draw.randint(1, min(3, h)), draw.randint(1, min(3, w))
            kind = draw.choice((nn.MaxPool2d, nn.AvgPool2d))
            after.insert(draw.randint(0, len(after)), kind(field))
            h, w = h // field[0], w // field[1]
        layers += after
    layers += [nn.Flatten(), nn.Linear(c * h * w, draw.choice((3, 17))), draw.choice(BENDS)()]
    layers.append(nn.Linear(layers[-2].out_features, 2, bias=draw.random() < 0.7))
    return nn.Sequential(*layers), shape


class Networks:
    """Some networks of one random chain, each with a mask of its own.

    Attributes:
        core: their chain on the kernels.
        theta, state: ``[B, P]``.
        masks: as the kernels take them; none where nothing is pruned.
    """

    def __init__(
        self, seed: int, dtype: torch.dtype, shares: Sequence[float], device: torch.device
    ) -> None:
        torch.manual_seed(seed)
        self.module, self.shape = random_chain(seed)
        nets = edt.ModuleEnsemble([random_chain(seed)[0].to(dtype) for _ in shares])
        architecture = nets.architecture(0)
        stack = Stack.of(architecture.skeleton, architecture.blocks)
        self.theta = nets.theta.view(nets.B, -1).clone()
        self.blocks = nets.blocks(0)
        core = GpuChain.of(stack.layers, self.shape, self.theta.shape[1])
        assert isinstance(core, GpuChain)
        self.core = core
        self.state = torch.ones(self.theta.shape, dtype=torch.uint8)
        for b, share in enumerate(shares):
            for block in self.blocks:
                if block.role == "weight":
                    mine = self.state[b, block.span]
                    mine[:] = torch.rand(mine.shape) < share
                    mine[torch.randint(mine.numel(), ())] = 1
        if min(shares) < 1:
            self.state[(torch.rand(self.state.shape) < 0.1) & (self.state == 1)] = 2
        self.theta[self.state == 0] = 0
        self.theta = self.theta.to(device)
        self.masks = [core.mask(row) for row in self.state] if min(shares) < 1 else []

    def twin(self, row: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Outputs of one network by PyTorch."""
        named = {block.name: row[block.span].view(block.shape) for block in self.blocks}
        found: torch.Tensor = functional_call(self.module, named, (x,))
        return found


def close(mine: torch.Tensor, theirs: torch.Tensor) -> None:
    """Sums in another order: a few hundred roundings at most, relative to the largest entry."""
    atol = 300 * torch.finfo(mine.dtype).eps * float(theirs.abs().max())
    torch.testing.assert_close(mine.double().cpu(), theirs, rtol=0, atol=atol)


@pytest.fixture
def limits(device: torch.device) -> Callable[[int], None]:
    """Says how many multiprocessors there are: few take tall tiles, many small ones."""
    if device.type == "cuda":
        return lambda _: None
    return lambda sms: cuda.engine().set_limits(sms, 227 * 1024, 228 * 1024)


@pytest.mark.parametrize("seed", range(16))
def test_outputs_and_gradients_are_autograds(
    device: torch.device, limits: Callable[[int], None], seed: int
) -> None:
    draw = random.Random(seed)
    dtype = (torch.float32, torch.float64)[seed % 2]
    limits(draw.choice((1, 4, 132)))
    nets = Networks(seed, dtype, draw.choice(((1.0, 1.0), SHARES)), device)
    B, N = nets.theta.shape[0], draw.choice((1, 5, 8, 33))
    x = torch.randn(B, N, *nets.shape, dtype=dtype).to(device)
    if draw.random() < 0.5:
        x = x[:1].expand(B, *x.shape[1:])
    u = torch.randn(B, N, 2, dtype=dtype).to(device)
    slopes, value = nets.core.gradient(nets.theta, x, lambda f: (f * u).sum((1, 2)), nets.masks)
    outputs = nets.core.outputs(nets.theta, x, nets.masks)
    for b in range(B):
        row = nets.theta[b].double().cpu().requires_grad_()
        known = nets.twin(row, x[b].double().cpu())
        (slope,) = torch.autograd.grad((known * u[b].double().cpu()).sum(), row)
        close(outputs[b], known.detach())
        close(slopes[b], slope * (nets.state[b] == 1))
    assert torch.equal(value, (outputs * u).sum((1, 2)))


@pytest.mark.parametrize("seed", range(10, 18))
def test_products_are_those_of_the_hessian(
    device: torch.device, limits: Callable[[int], None], seed: int
) -> None:
    """Of a loss that adds up over samples, whose second derivatives in the outputs are known."""
    draw = random.Random(seed)
    limits(draw.choice((1, 132)))
    dtype, ggn = (torch.float32, torch.float64)[seed % 2], seed % 4 > 1
    nets = Networks(seed, dtype, draw.choice(((1.0, 1.0), SHARES[1:])), device)
    B, N, K = nets.theta.shape[0], draw.choice((1, 6, 9)), draw.choice((1, 3, 9))
    x = torch.randn(B, N, *nets.shape, dtype=dtype).to(device)
    v = torch.randn(K, B, nets.theta.shape[1], dtype=dtype).movedim(0, 1)
    v = torch.where(nets.state[:, None] == 1, v, 0.0).to(device)

    def value(f: torch.Tensor) -> torch.Tensor:
        return f.prod(1).sin().sum() + f.square().sum()

    def curvature(f: torch.Tensor) -> torch.Tensor:
        return vmap(jacrev(jacrev(lambda one: value(one[None]))))(f)

    found = nets.core.products(nets.theta, x, value, curvature, v, nets.masks, ggn=ggn)
    for b in range(B):
        row, inputs = nets.theta[b].double().cpu(), x[b].double().cpu()
        f = nets.twin(row, inputs)

        def loss(
            point: torch.Tensor, inputs: torch.Tensor = inputs, f: torch.Tensor = f
        ) -> torch.Tensor:
            at = nets.twin(point, inputs)
            if not ggn:
                return value(at)
            # Linear in the outputs but for the second derivatives at f.
            d = at - f
            return 0.5 * (d[:, :, None] * curvature(f) * d[:, None, :]).sum()

        row.requires_grad_()
        (slope,) = torch.autograd.grad(loss(row), row, create_graph=True)
        for k in range(K):
            tangent = v[b, k].double().cpu()
            (known,) = torch.autograd.grad(slope, row, tangent, retain_graph=True)
            close(found[b, k], known * (nets.state[b] == 1))


def test_bits_depend_neither_on_company_nor_on_multiprocessors(
    device: torch.device, limits: Callable[[int], None]
) -> None:
    """Tiles are others, sums are not; whole layers and lists."""
    nets = Networks(3, torch.float32, SHARES, device)
    x = torch.randn(len(SHARES), 9, *nets.shape).to(device)
    found: list[list[torch.Tensor]] = [[] for _ in SHARES]
    for sms in (1, 132):
        limits(sms)
        nets.core._engine._plans.clear()
        for part in (slice(None), slice(1, 3), slice(3, 4)):
            theta, masks = nets.theta[part], nets.masks[part]
            grad, _ = nets.core.gradient(theta, x[part], lambda f: f.square().sum((1, 2)), masks)
            for b, row in zip(range(len(SHARES))[part], grad, strict=True):
                found[b].append(row)
    for rows in found:
        assert bool(rows[0].any()) and all(torch.equal(row, rows[0]) for row in rows)


def test_samples_and_networks_that_do_not_fit_at_once(
    device: torch.device, limits: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One network and 32 samples at a time, whose gradients add up in order."""
    limits(4)
    nets = Networks(5, torch.float64, (1.0, 0.1), device)
    x = torch.randn(2, 70, *nets.shape, dtype=torch.float64).to(device)
    found = []
    for room in (2**26, 1):
        monkeypatch.setattr(cuda_chain, "ROOM", room)
        nets.core._engine._plans.clear()
        grad, loss = nets.core.gradient(nets.theta, x, lambda f: f.sin().sum((1, 2)), nets.masks)
        found.append((nets.core.outputs(nets.theta, x, nets.masks), grad, loss))
        (plan,) = nets.core._engine._plans.values()
        assert (plan.plan.group, plan.plan.chunk) == ((2, 70) if room > 1 else (1, 32))
    for mine, theirs in zip(*found, strict=True):
        close(mine, theirs.cpu())


def test_of_equal_numbers_the_first_has_the_slope_and_nan_stays(device: torch.device) -> None:
    """As torch's maxima."""
    module = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.MaxPool2d(2))
    nets = edt.ModuleEnsemble([module.double()])
    stack = Stack.of(nets.architecture(0).skeleton, nets.architecture(0).blocks)
    core = GpuChain.of(stack.layers, (1, 2, 2), 1)
    assert isinstance(core, GpuChain)
    row, nan = torch.full((1, 1), 2.0, dtype=torch.float64).to(device), float("nan")
    for image, largest in (([1, 3, 3, 0], 3), ([-1, -1, -2, -3], -1), ([1, nan, 5, 0], nan)):
        x = torch.tensor(image, dtype=torch.float64).view(1, 1, 1, 2, 2).to(device)
        grad, loss = core.gradient(row, x, lambda f: f.sum((1, 2, 3, 4)))
        expected = torch.tensor([largest], dtype=torch.float64)
        torch.testing.assert_close(loss.cpu(), 2 * expected, equal_nan=True)
        torch.testing.assert_close(grad[0].cpu(), expected, equal_nan=True)
