"""PyTorch on masked networks of one shape: a `baddbmm` a layer for all of them, fused Adam.

Masks are applied to the gradients, not to the weights: a pruned weight starts at 0 and stays there.
Every network has an order of its own; a step takes the next samples of it, all on the device, so
that a CUDA graph can hold the step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.peers.torch_common import ACTIVATIONS, adam
from edt import Ensemble, Task


class Minibatches:
    """See `benchmarks.peers.base.Training`; ``batch`` samples a step, cross-entropy.

    Args:
        ens: networks of one shape, with biases.
        task: inputs ``[N, d_in]``, classes ``[N]``; N a multiple of ``batch``.
        batch: samples a step.
    """

    def __init__(self, ens: Ensemble, task: Task, batch: int) -> None:
        layers, networks, device = range(ens.depth + 1), range(ens.B), task.device

        def stacked(part: Callable[[int, int], torch.Tensor]) -> list[torch.Tensor]:
            return [torch.stack([part(b, k) for b in networks]).to(device) for k in layers]

        self._weights = [weight.requires_grad_() for weight in stacked(ens.weight)]
        self._biases = [bias.requires_grad_() for bias in stacked(ens.bias)]
        self._masks = stacked(lambda b, k: ens.layout.weight(ens.state, b, k) == 1)
        self._dense = all(bool(mask.all()) for mask in self._masks)
        self._x, self._y = task.x, task.y
        self._activation = ACTIVATIONS[ens.activation]
        self._order = torch.stack([torch.randperm(task.N, device=device) for _ in networks])
        self._window = torch.arange(batch, device=device).expand(ens.B, -1).contiguous()
        self._optimizer = adam([*self._weights, *self._biases])

    def _loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Losses ``[B]`` of samples x ``[B, n, d_in]``, y ``[B, n]``."""
        # Samples last: the gradients of the weights then lie in memory as the weights do.
        hidden = x.transpose(1, 2)
        for layer, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            hidden = torch.baddbmm(bias[:, :, None], weight, hidden)
            if layer + 1 < len(self._weights):
                hidden = self._activation(hidden)
        return torch.nn.functional.cross_entropy(hidden, y, reduction="none").mean(1)

    def _step(self) -> None:
        chosen = torch.gather(self._order, 1, self._window)
        leaves = [*self._weights, *self._biases]
        gradients = torch.autograd.grad(self._loss(self._x[chosen], self._y[chosen]).sum(), leaves)
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = gradient
        if not self._dense:
            for gradient, mask in zip(gradients, self._masks, strict=False):
                gradient.mul_(mask)
        self._optimizer.step()
        self._window.add_(self._window.shape[1]).remainder_(self._order.shape[1])

    def advance(self, steps: int) -> None:
        """Take optimiser steps."""
        for _ in range(steps):
            self._step()

    def losses(self) -> np.ndarray:
        """Loss of every network on all samples."""
        networks = self._order.shape[0]
        with torch.no_grad():
            parts = [
                self._loss(
                    self._x[at : at + 1000].expand(networks, -1, -1),
                    self._y[at : at + 1000].expand(networks, -1),
                )
                * min(1000, len(self._x) - at)
                for at in range(0, len(self._x), 1000)
            ]
            return (torch.stack(parts).sum(0) / len(self._x)).double().cpu().numpy()
