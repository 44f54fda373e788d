"""`torch.func.vmap` over networks: per width, or all at once padded to the largest width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.func import grad_and_value, vmap

from benchmarks.peers.torch_common import ACTIVATIONS, adam, tensors
from benchmarks.workload import Stack, padded_stack, stacks
from edt import Ensemble, Task

Parameters = dict[str, torch.Tensor]


def network_loss(
    activation: Callable[[Any], Any], x: torch.Tensor, y: torch.Tensor
) -> Callable[[Parameters], Any]:
    """Loss of one network 4 -> width -> 1 as a function of its parameters."""

    def loss(p: Parameters) -> Any:
        hidden = activation(x @ p["w"].T + p["b"])
        return (hidden @ p["v"] + p["c"] - y).square().mean()

    return loss


class _Group:
    def __init__(self, stack: Stack, ens: Ensemble, task: Task) -> None:
        self.rows = stack.rows
        self.parameters = tensors(stack.parameters, ens.dtype)
        self._masks = tensors(stack.masks, ens.dtype)
        loss = network_loss(ACTIVATIONS[ens.activation], task.x, task.y[:, 0])
        self._gradient = vmap(grad_and_value(loss))
        self._loss = vmap(loss)
        self._optimizer = adam(list(self.parameters.values()))

    def step(self) -> None:
        gradients, _ = self._gradient(self.parameters)
        for name, mask in self._masks.items():
            gradients[name] = gradients[name] * mask
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name]
        self._optimizer.step()

    def losses(self) -> np.ndarray:
        return np.asarray(self._loss(self.parameters).cpu().numpy(), dtype=np.float64)


class Vmap:
    """See `benchmarks.peers.base.Training`."""

    def __init__(self, ens: Ensemble, task: Task, *, padded: bool) -> None:
        parts = [padded_stack(ens)] if padded else stacks(ens)
        self._groups = [_Group(stack, ens, task) for stack in parts]
        self._networks = ens.B

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            for group in self._groups:
                group.step()

    def losses(self) -> np.ndarray:
        out = np.empty(self._networks)
        for group in self._groups:
            out[group.rows] = group.losses()
        return out
