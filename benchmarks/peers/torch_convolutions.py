"""PyTorch: many LeNet-5 trained by Adam, batch after batch: a loop, plain and compiled, `vmap`,
grouped layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F

from benchmarks import names

Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _loss(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(module(x), y)


def compiled(modules: Sequence[nn.Module], rate: float) -> Step:
    """Module after module, by `torch.compile`: one graph for all of them, as weights are inputs."""
    return loop(modules, rate, torch.compile(_loss))


def loop(
    modules: Sequence[nn.Module], rate: float, loss_of: Callable[..., torch.Tensor] = _loss
) -> Step:
    """Module after module."""
    optimisers = [torch.optim.Adam(module.parameters(), lr=rate, fused=True) for module in modules]

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        losses = []
        for module, optimiser in zip(modules, optimisers, strict=True):
            optimiser.zero_grad()
            loss = loss_of(module, x, y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    return step


def mapped(modules: Sequence[nn.Module], rate: float) -> Step:
    """`vmap` of `torch.func.grad` over stacked parameters."""
    values: Any = stack_module_state(list(modules))[0]
    values = {name: value.detach().clone() for name, value in values.items()}
    optimiser = torch.optim.Adam(list(values.values()), lr=rate, fused=True)

    def loss(parts: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(modules[0], parts, (x,)), y)

    together = vmap(grad_and_value(loss), in_dims=(0, None, None))

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        slopes, losses = together(values, x, y)
        for name, value in values.items():
            value.grad = slopes[name]
        optimiser.step()
        found: torch.Tensor = losses
        return found

    return step


def grouped(modules: Sequence[nn.Module], rate: float) -> Step:
    """One network of grouped convolutions and batched matrix products."""
    B = len(modules)
    values: Any = stack_module_state(list(modules))[0]
    values = {name: value.detach().clone().requires_grad_() for name, value in values.items()}
    optimiser = torch.optim.Adam(list(values.values()), lr=rate, fused=True)

    def outputs(x: torch.Tensor) -> torch.Tensor:
        at = x.repeat(1, B, 1, 1)
        for name, layer in modules[0].named_children():
            if isinstance(layer, nn.Conv2d):
                weight, bias = values[f"{name}.weight"], values[f"{name}.bias"]
                at = F.conv2d(
                    at, weight.flatten(0, 1), bias.flatten(), padding=layer.padding, groups=B
                )
            elif isinstance(layer, nn.Flatten):
                at = at.view(x.shape[0], B, -1).transpose(0, 1)
            elif isinstance(layer, nn.Linear):
                weight, bias = values[f"{name}.weight"], values[f"{name}.bias"]
                at = torch.baddbmm(bias[:, None], at, weight.mT)
            else:
                at = layer(at)
        return at

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        optimiser.zero_grad()
        at = outputs(x)
        each = F.cross_entropy(at.flatten(0, 1), y.repeat(B), reduction="none")
        losses = each.view(B, -1).mean(1)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return losses.detach()

    return step


FORMS: dict[str, Callable[[Sequence[nn.Module], float], Step]] = dict(
    zip(names.TORCH_CONVOLUTIONS, (loop, mapped, grouped, compiled), strict=True)
)
