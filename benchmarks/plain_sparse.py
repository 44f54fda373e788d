"""Sparse training in plain PyTorch, written from the papers: nothing of edt's is used.

SNIP (Lee et al., ICLR 2019), GraSP (Wang et al., ICLR 2020; outputs divided by 200 as in their
code), SynFlow (Tanaka et al., NeurIPS 2020; 100 rounds), SET (Mocanu et al., Nature
Communications 2018; by its words, with zeros beside negative weights, and as in its code, where
all zeros go) and RigL (Evci et al., ICML 2020). Networks are `torch.nn.Sequential` of linear
layers and ReLUs, masks a list of bool tensors, one a layer.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

METHODS = ("snip", "grasp", "synflow", "set", "set zeros", "rigl")
#: Share of weights that RigL and SET exchange, steps between exchanges.
FRACTION, EVERY = 0.3, 25


def network(sizes: list[int], seed: int, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """Layers of these sizes, weights normal of variance 2 / fan_in (He et al., 2015), biases 0."""
    draw = torch.Generator().manual_seed(seed)
    parts: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layer = nn.Linear(fan_in, fan_out, dtype=dtype)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(fan_out, fan_in, generator=draw) * (2 / fan_in) ** 0.5)
            layer.bias.zero_()
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def weights(module: nn.Module) -> list[torch.Tensor]:
    return [part.weight for part in module.modules() if isinstance(part, nn.Linear)]


def start_masks(
    method: str,
    module: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    density: float,
    seed: int,
    biases: bool = False,
) -> list[torch.Tensor]:
    """Masks before training; ``biases``: GraSP's gradient flow has theirs, unlike its code's."""
    if method == "snip":
        slopes = torch.autograd.grad(F.cross_entropy(module(x), y), weights(module))
        return top(
            [(w * g).abs().detach() for w, g in zip(weights(module), slopes, strict=True)], density
        )
    if method == "grasp":
        flowing = list(module.parameters()) if biases else weights(module)
        slopes = torch.autograd.grad(
            F.cross_entropy(module(x) / 200, y), flowing, create_graph=True
        )
        flow = sum((g * g.detach()).sum() for g in slopes)
        products = torch.autograd.grad(flow, weights(module))
        # Removing a weight changes the flow by about -w (H g): those that hinder it go.
        return top(
            [(w * h).detach() for w, h in zip(weights(module), products, strict=True)], density
        )
    if method == "synflow":
        kept = [torch.ones_like(w, dtype=torch.bool) for w in weights(module)]
        for k in range(1, 101):
            sizes = [
                (w.detach().double() * m).abs() for w, m in zip(weights(module), kept, strict=True)
            ]
            sizes = [w.requires_grad_() for w in sizes]
            strength = torch.ones(x.shape[1], dtype=torch.float64)
            for w in sizes:
                strength = w @ strength
            slopes = torch.autograd.grad(strength.sum(), sizes)
            scores = [
                torch.where(m, (w * g).detach(), -1.0)
                for w, g, m in zip(sizes, slopes, kept, strict=True)
            ]
            kept = top(scores, density ** (k / 100))
        return kept
    draw = torch.Generator().manual_seed(1000 + seed)
    return [top([torch.rand(w.shape, generator=draw)], density)[0] for w in weights(module)]


def top(scores: list[torch.Tensor], density: float) -> list[torch.Tensor]:
    """The highest scores of all layers together."""
    flat = torch.cat([score.flatten() for score in scores])
    kept = torch.zeros_like(flat, dtype=torch.bool)
    kept[flat.topk(max(round(density * flat.numel()), 1)).indices] = True
    parts = kept.split([score.numel() for score in scores])
    return [part.view_as(score) for part, score in zip(parts, scores, strict=True)]


def exchange(
    method: str,
    step: int,
    end: int,
    module: nn.Module,
    masks: list[torch.Tensor],
    slopes: tuple[torch.Tensor, ...],
    draw: torch.Generator,
) -> None:
    """Weights of a layer that go, and as many that come, at 0."""
    for w, g, mask in zip(weights(module), slopes, masks, strict=True):
        if method == "rigl":
            share = FRACTION / 2 * (1 + math.cos(step * math.pi / end))
            count = int(share * int(mask.sum()))
            going = torch.where(mask, w.detach().abs(), math.inf).flatten()
            mask.view(-1)[going.topk(count, largest=False).indices] = False
            coming = torch.where(mask, -1.0, g.abs()).flatten()
        else:
            # In their code what lies between the two signs' thresholds goes: zeros too.
            zero = mask & (w.detach() == 0) & (method == "set zeros")
            mask &= ~zero
            count = int(zero.sum())
            for positive in (True, False):
                part = mask & ((w.detach() > 0) == positive)
                few = int(FRACTION * int(part.sum()))
                going = torch.where(part, w.detach().abs(), math.inf).flatten()
                mask.view(-1)[going.topk(few, largest=False).indices] = False
                count += few
            coming = torch.where(mask, -1.0, torch.rand(mask.shape, generator=draw)).flatten()
        mask.view(-1)[coming.topk(count).indices] = True


def accuracy(
    method: str,
    density: float,
    seed: int,
    sizes: list[int],
    train: tuple[torch.Tensor, torch.Tensor],
    test: tuple[torch.Tensor, torch.Tensor],
    steps: int,
    batch: int = 64,
) -> float:
    """Test accuracy after ``steps`` of Adam (rate 1e-3) on shuffled minibatches."""
    x, y = train
    module = network(sizes, seed)
    masks = start_masks(method, module, x, y, density, seed)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    draw = torch.Generator().manual_seed(5000 + seed)
    order: list[int] = []
    end = 3 * steps // 4
    with torch.no_grad():
        for w, mask in zip(weights(module), masks, strict=True):
            w.mul_(mask)
    for step in range(steps):
        last = end if method == "rigl" else steps
        if method in ("set", "set zeros", "rigl") and step and step % EVERY == 0 and step < last:
            slopes = torch.autograd.grad(F.cross_entropy(module(x), y), weights(module))
            before = [mask.clone() for mask in masks]
            exchange(method, step, end, module, masks, slopes, draw)
            with torch.no_grad():
                for w, mask, old in zip(weights(module), masks, before, strict=True):
                    w.mul_(mask)
                    for name in ("exp_avg", "exp_avg_sq"):
                        optimiser.state[w][name].mul_(mask & old)
        if not order:
            order = torch.randperm(len(x), generator=draw).tolist()
        chosen, order = order[:batch], order[batch:]
        optimiser.zero_grad()
        F.cross_entropy(module(x[chosen]), y[chosen]).backward()
        for w, mask in zip(weights(module), masks, strict=True):
            w.grad.mul_(mask)
        optimiser.step()
        with torch.no_grad():
            for w, mask in zip(weights(module), masks, strict=True):
                w.mul_(mask)
    with torch.no_grad():
        return float((module(test[0]).argmax(1) == test[1]).double().mean())
