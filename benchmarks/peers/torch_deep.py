"""PyTorch: Hessian-vector products of networks of one shape and any depth, by `torch.func`."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch.func import grad, jvp, vmap

from benchmarks.peers.torch_common import ACTIVATIONS
from edt import Ensemble, Task

__all__ = ["DeepProducts"]


class DeepProducts:
    """``H_b v`` for K vectors a network: forward over reverse, vmapped over vectors and networks.

    Args:
        ens: networks of one shape; pruned parameters are held by masks on both sides.
        task: cross-entropy with equal weights, on the device.
        vectors: ``[K, total]`` on the device.
    """

    def __init__(self, ens: Ensemble, task: Task, vectors: torch.Tensor) -> None:
        B, count = int(ens.B), len(vectors)
        widths = [int(w) for w in ens.layer_widths[0]]
        activation = ACTIVATIONS[ens.activation]
        x, y = task.x, task.y

        def loss(theta: torch.Tensor) -> torch.Tensor:
            at, h = 0, x
            for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
                w = theta[at : at + fan_in * fan_out].view(fan_out, fan_in)
                at += fan_in * fan_out
                h = torch.nn.functional.linear(h, w, theta[at : at + fan_out])
                at += fan_out
                if layer < len(widths) - 2:
                    h = activation(h)
            return torch.nn.functional.cross_entropy(h, y)

        def product(theta: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = jvp(grad(loss), (theta,), (v,))[1]
            return out

        place = x.device
        self._theta = ens.theta.to(place).view(B, -1)
        self._mask = (ens.state.to(place) == 1).view(B, 1, -1).to(ens.dtype)
        self._vectors = vectors.view(count, B, -1).transpose(0, 1) * self._mask
        self._products = vmap(vmap(product, in_dims=(None, 0)))

    def run(self) -> torch.Tensor:
        """The products ``[K, total]``."""
        found = self._products(self._theta, self._vectors) * self._mask
        return found.transpose(0, 1).reshape(self._vectors.shape[1], -1)
