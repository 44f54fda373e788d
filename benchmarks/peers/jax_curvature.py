"""JAX: Hessian-vector products and Hessians, `jit(vmap)` per width."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.jax_common import (
    ACTIVATIONS,
    Parameters,
    arrays,
    finished,
    samples_first,
    samples_last,
)
from benchmarks.workload import flat, stacks
from edt import Ensemble, Task


class Products:
    """``H_b v`` for K vectors a network, vmapped over vectors and networks.

    Args:
        ens, task: the problem.
        vectors: per stack of `stacks`, arrays ``[B, K, *shape]`` that are 0 at pruned weights.
        forward: forward over reverse; else reverse over reverse. Each in the layout it is
            faster in.
    """

    def __init__(
        self,
        ens: Ensemble,
        task: Task,
        vectors: list[dict[str, np.ndarray]],
        *,
        forward: bool,
    ) -> None:
        dtype = str(task.dtype).removeprefix("torch.")
        self._ens = ens
        self._stacks = stacks(ens)
        self._p = [arrays(stack.parameters, dtype) for stack in self._stacks]
        self._masks = [arrays(stack.masks, dtype)["w"][:, None] for stack in self._stacks]
        self._vectors = [arrays(vector, dtype) for vector in vectors]
        activation = ACTIVATIONS[ens.activation]
        layout = samples_first if forward else samples_last
        gradient = jax.grad(layout(activation, task.x.numpy(), task.y[:, 0].numpy()))

        def one(p: Parameters, vectors: Parameters) -> Any:
            if forward:
                return jax.vmap(lambda v: jax.jvp(gradient, (p,), (v,))[1])(vectors)
            return jax.vmap(lambda v: jax.vjp(gradient, p)[1](v)[0])(vectors)

        def masked(p: Parameters, v: Parameters, mask: Any) -> Any:
            product = jax.vmap(one)(p, v)
            return {**product, "w": product["w"] * mask}

        self._products = jax.jit(masked)

    def run(self) -> Any:
        """The products, stack by stack."""
        out = [
            self._products(p, v, mask)
            for p, v, mask in zip(self._p, self._vectors, self._masks, strict=True)
        ]
        return finished(out)

    def result(self) -> np.ndarray:
        """The products in edt's order, ``[K, total]``."""
        parts = [
            (stack.rows, {name: np.asarray(a) for name, a in product.items()})
            for stack, product in zip(self._stacks, self.run(), strict=True)
        ]
        return flat(self._ens, parts)


class Hessians:
    """Hessians ``[B, P, P]`` of dense networks of one width by `jax.hessian`.

    Args:
        ens: networks of one width, nothing pruned.
        task: the problem.
        over: "vmap" (all networks at once) or "map" (`lax.map`: one after another, often faster
            because more stays in the caches).
    """

    def __init__(self, ens: Ensemble, task: Task, over: Literal["vmap", "map"]) -> None:
        (stack,) = stacks(ens)
        count, width, d_in = stack.w.shape
        rows = [a.reshape(count, -1) for a in stack.parameters.values()]
        self._theta = jnp.asarray(np.concatenate(rows, axis=1))
        loss = samples_first(ACTIVATIONS[ens.activation], task.x.numpy(), task.y[:, 0].numpy())

        def one(theta: Any) -> Any:
            w, b, v, c = jnp.split(theta, np.cumsum([width * d_in, width, width]))
            return loss({"w": w.reshape(width, d_in), "b": b, "v": v, "c": c[0]})

        hessian = jax.hessian(one)
        every = jax.vmap(hessian) if over == "vmap" else lambda t: jax.lax.map(hessian, t)
        self._hessians = jax.jit(every)

    def run(self) -> Any:
        """The Hessians."""
        return finished(self._hessians(self._theta))

    def result(self) -> np.ndarray:
        """The Hessians as an array."""
        return np.asarray(self.run())
