"""`torch.compile` per width: loss, gradient and Adam of all networks of a width in one graph.

The few inputs are summed term by term with the samples last: the compiler then fuses the first
layer with the activation, which beat `baddbmm` inside the graph on every width tried.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.peers.torch_common import ACTIVATIONS, tensors
from benchmarks.workload import BETA1, BETA2, EPSILON, LEARNING_RATE, Stack, stacks
from edt import Ensemble, Task


class _Group:
    def __init__(self, stack: Stack, ens: Ensemble, task: Task) -> None:
        self.rows = stack.rows
        parameters = tensors(stack.parameters, ens.dtype)
        mask = tensors(stack.masks, ens.dtype)["w"]
        self._p = [parameters[name] for name in "wbvc"]
        self._m = [torch.zeros_like(p) for p in self._p]
        self._v = [torch.zeros_like(p) for p in self._p]
        # Steps taken. A tensor (as a number, every step would be compiled anew), and advanced
        # outside: PyTorch 2.13 drops its update inside a graph that also holds torch.func.grad.
        self._t = torch.zeros((), dtype=torch.float64)
        activation = ACTIVATIONS[ens.activation]
        x, y = task.x.T.contiguous(), task.y[:, 0]

        def losses(w: torch.Tensor, b: torch.Tensor, v: torch.Tensor, c: torch.Tensor) -> Any:
            z = b[:, :, None]
            for i in range(x.shape[0]):
                z = z + w[:, :, i, None] * x[i]
            output = (activation(z) * v[:, :, None]).sum(1) + c[:, None]
            return (output - y).square().mean(1)

        gradient = torch.func.grad(lambda *p: losses(*p).sum(), argnums=(0, 1, 2, 3))

        def step(
            p: list[torch.Tensor], m: list[torch.Tensor], v: list[torch.Tensor], t: torch.Tensor
        ) -> None:
            gradients = list(gradient(*p))
            gradients[0] = gradients[0] * mask
            rate = (LEARNING_RATE / (1 - BETA1**t)).to(mask.dtype)
            unbias = (1 / (1 - BETA2**t).sqrt()).to(mask.dtype)
            for value, first, second, g in zip(p, m, v, gradients, strict=True):
                first.mul_(BETA1).add_(g, alpha=1 - BETA1)
                second.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
                value.sub_(rate * first / (second.sqrt() * unbias + EPSILON))

        self._losses = losses
        self._step = torch.compile(step, fullgraph=True, dynamic=False)

    def step(self) -> None:
        self._t.add_(1)
        self._step(self._p, self._m, self._v, self._t)

    def losses(self) -> np.ndarray:
        return np.asarray(self._losses(*self._p).cpu().numpy(), dtype=np.float64)


class Compiled:
    """See `benchmarks.peers.base.Training`."""

    def __init__(self, ens: Ensemble, task: Task) -> None:
        # One graph a width, and nothing left of the graphs of earlier measurements.
        torch.compiler.reset()
        self._groups = [_Group(stack, ens, task) for stack in stacks(ens)]
        self._networks = ens.B

    def advance(self, steps: int) -> None:
        with torch.no_grad():
            for _ in range(steps):
                for group in self._groups:
                    group.step()

    def losses(self) -> np.ndarray:
        out = np.empty(self._networks)
        with torch.no_grad():
            for group in self._groups:
                out[group.rows] = group.losses()
        return out
