"""PyTorch batched by hand: one `baddbmm` per layer for all networks of a width.

Samples lie last, ``[B, width, N]``: faster than ``[B, N, width]`` on every width tried.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.peers.torch_common import ACTIVATIONS, adam, tensors
from benchmarks.workload import Stack, stacks
from edt import Ensemble, Task


class _Group:
    def __init__(self, stack: Stack, ens: Ensemble, task: Task) -> None:
        self.rows = stack.rows
        parameters = tensors(stack.parameters, ens.dtype)
        self._mask = tensors(stack.masks, ens.dtype)["w"]
        self._p = [parameters[name].requires_grad_() for name in "wbvc"]
        self._activation = ACTIVATIONS[ens.activation]
        self._x = task.x.T.contiguous().expand(len(stack.rows), -1, -1)
        self._y = task.y[:, 0]
        self._optimizer = adam(self._p)

    def losses(self) -> torch.Tensor:
        w, b, v, c = self._p
        hidden = self._activation(torch.baddbmm(b[:, :, None], w, self._x))
        output = torch.baddbmm(c[:, None, None], v[:, None, :], hidden)[:, 0]
        return (output - self._y).square().mean(1)

    def step(self) -> None:
        gradients = torch.autograd.grad(self.losses().sum(), self._p)
        for parameter, gradient in zip(self._p, gradients, strict=True):
            parameter.grad = gradient
        gradients[0].mul_(self._mask)
        self._optimizer.step()


class Baddbmm:
    """See `benchmarks.peers.base.Training`."""

    def __init__(self, ens: Ensemble, task: Task) -> None:
        self.groups = [_Group(stack, ens, task) for stack in stacks(ens)]
        self._networks = ens.B

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            for group in self.groups:
                group.step()

    def losses(self) -> np.ndarray:
        out = np.empty(self._networks)
        with torch.no_grad():
            for group in self.groups:
                out[group.rows] = group.losses().cpu().numpy()
        return out
