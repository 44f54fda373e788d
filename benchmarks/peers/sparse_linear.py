"""SparseProp (Nikdan et al. 2023, arXiv 2302.04852): layers in compressed rows under PyTorch.

Its layers hold one network each, so networks are taken one after the other; one fused Adam steps
the parameters of all. float32 and relu, which is what its kernels are written for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.peers.torch_common import adam
from edt import Ensemble, Task


def _network(ens: Ensemble, b: int, linear: Any) -> nn.Sequential:
    parts: list[nn.Module] = []
    for k in range(ens.depth + 1):
        weight = ens.weight(b, k)
        dense = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            dense.weight.copy_(weight)
            dense.bias.copy_(ens.bias(b, k))
        parts += [linear.from_dense(dense), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


class SparseLayers:
    """See `benchmarks.peers.base.Training`; ``batch`` samples a step, cross-entropy.

    Args:
        ens: float32 networks with relu and biases; pruned weights are 0 and left out.
        task: inputs ``[N, d_in]``, classes ``[N]``; N a multiple of ``batch``.
        batch: samples a step.
    """

    def __init__(self, ens: Ensemble, task: Task, batch: int) -> None:
        from sparseprop.modules import SparseLinear

        if ens.activation != "relu" or ens.dtype != torch.float32:
            raise ValueError(f"SparseProp takes relu in float32, got {ens.activation}, {ens.dtype}")
        self._networks = [_network(ens, b, SparseLinear) for b in range(ens.B)]
        self._x, self._y, self._batch = task.x, task.y, batch
        self._orders = [torch.randperm(task.N) for _ in self._networks]
        self._at = 0
        self._optimizer = adam([p for net in self._networks for p in net.parameters()])

    def _step(self) -> None:
        self._optimizer.zero_grad()
        for net, order in zip(self._networks, self._orders, strict=True):
            chosen = order[self._at : self._at + self._batch]
            nn.functional.cross_entropy(net(self._x[chosen]), self._y[chosen]).backward()
        self._optimizer.step()
        self._at = (self._at + self._batch) % len(self._x)

    def advance(self, steps: int) -> None:
        """Take optimiser steps."""
        for _ in range(steps):
            self._step()

    def losses(self) -> np.ndarray:
        """Loss of every network on all samples."""
        with torch.no_grad():
            found = [nn.functional.cross_entropy(net(self._x), self._y) for net in self._networks]
        return torch.stack(found).double().numpy()
