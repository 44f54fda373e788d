"""PyTorch, one network after another: the loop most people write, without its avoidable costs.

One backward pass for the sum of all losses and one fused optimiser for all parameters, instead of
one a network.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.peers.torch_common import ACTIVATIONS, adam, tensors
from benchmarks.workload import stacks
from edt import Ensemble, Task


class EagerLoop:
    """See `benchmarks.peers.base.Training`."""

    def __init__(self, ens: Ensemble, task: Task) -> None:
        self._activation = ACTIVATIONS[ens.activation]
        self._x, self._y = task.x, task.y[:, 0]
        self._networks: list[tuple[torch.Tensor, ...]] = [()] * ens.B
        masks: list[torch.Tensor] = [torch.empty(0)] * ens.B
        for stack in stacks(ens):
            values = tensors(stack.parameters, ens.dtype)
            mask = tensors(stack.masks, ens.dtype)["w"]
            for at, b in enumerate(stack.rows):
                own = tuple(values[name][at].clone().requires_grad_() for name in "wbvc")
                self._networks[b], masks[b] = own, mask[at].clone()
        self._masks = masks
        self._first_weights = [own[0] for own in self._networks]
        self._all = [p for own in self._networks for p in own]
        self._optimizer = adam(self._all)

    def _loss(self, network: tuple[torch.Tensor, ...]) -> torch.Tensor:
        w, b, v, c = network
        hidden = self._activation(torch.addmm(b, self._x, w.t()))
        residual = torch.mv(hidden, v) + c - self._y
        return torch.dot(residual, residual) / residual.numel()

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            for p in self._all:
                p.grad = None
            total = torch.stack([self._loss(network) for network in self._networks]).sum()
            total.backward()  # type: ignore[no-untyped-call]
            gradients = [w.grad for w in self._first_weights]
            torch._foreach_mul_(gradients, self._masks)  # type: ignore[arg-type]
            self._optimizer.step()

    def losses(self) -> np.ndarray:
        with torch.no_grad():
            return np.array([float(self._loss(network)) for network in self._networks])
