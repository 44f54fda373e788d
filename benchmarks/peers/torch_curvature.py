"""PyTorch: Hessian-vector products and Hessians by `torch.func`, batched per width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.func import grad, hessian, jvp, vmap

from benchmarks.peers.torch_common import ACTIVATIONS, tensors
from benchmarks.peers.torch_vmap import Parameters, network_loss
from benchmarks.workload import Stack, flat, stacks
from edt import Ensemble, Task


class Products:
    """``H_b v`` for K vectors a network: forward over reverse, vmapped over vectors and networks.

    Args:
        ens, task: the problem.
        vectors: per stack of `stacks`, arrays ``[B, K, *shape]`` that are 0 at pruned weights.
    """

    def __init__(self, ens: Ensemble, task: Task, vectors: list[dict[str, np.ndarray]]) -> None:
        self._ens = ens
        self._stacks = stacks(ens)
        self._p = [tensors(stack.parameters, ens.dtype) for stack in self._stacks]
        self._masks = [tensors(stack.masks, ens.dtype)["w"][:, None] for stack in self._stacks]
        self._vectors = [tensors(vector, ens.dtype) for vector in vectors]
        gradient = grad(network_loss(ACTIVATIONS[ens.activation], task.x, task.y[:, 0]))

        def one(p: Parameters, v: Parameters) -> Any:
            return jvp(gradient, (p,), (v,))[1]

        self._products = vmap(vmap(one, in_dims=(None, 0)))

    def run(self) -> list[Parameters]:
        """The products, stack by stack."""
        out = []
        for p, v, mask in zip(self._p, self._vectors, self._masks, strict=True):
            product = self._products(p, v)
            out.append({**product, "w": product["w"] * mask})
        return out

    def result(self) -> np.ndarray:
        """The products in edt's order, ``[K, total]``."""
        parts = [
            (stack.rows, {name: t.numpy() for name, t in product.items()})
            for stack, product in zip(self._stacks, self.run(), strict=True)
        ]
        return flat(self._ens, parts)


def network_loss_flat(
    loss: Callable[[Parameters], Any], width: int, d_in: int
) -> Callable[[torch.Tensor], Any]:
    """The loss of `network_loss` of the flat parameters of one network."""
    sizes = [width * d_in, width, width, 1]

    def of_flat(theta: torch.Tensor) -> Any:
        w, b, v, c = torch.split(theta, sizes)
        return loss({"w": w.view(width, d_in), "b": b, "v": v, "c": c[0]})

    return of_flat


class Hessians:
    """Hessians ``[B, P, P]`` of dense networks of one width: `torch.func.hessian`, vmapped.

    Args:
        ens: networks of one width, nothing pruned.
        task: the problem.
        chunk: networks per call of vmap; bounds memory.
    """

    def __init__(self, ens: Ensemble, task: Task, chunk: int) -> None:
        (stack,) = stacks(ens)
        self._theta = torch.from_numpy(_flat_rows(stack)).to(task.x.device, ens.dtype)
        loss = network_loss(ACTIVATIONS[ens.activation], task.x, task.y[:, 0])
        one = network_loss_flat(loss, stack.w.shape[1], ens.d_in)
        self._hessians = vmap(hessian(one), chunk_size=chunk)

    def run(self) -> Any:
        """The Hessians."""
        return self._hessians(self._theta)

    def result(self) -> np.ndarray:
        """The Hessians as an array."""
        return np.asarray(self.run().numpy())


def _flat_rows(stack: Stack) -> np.ndarray:
    count = len(stack.rows)
    return np.concatenate([a.reshape(count, -1) for a in stack.parameters.values()], axis=1)
