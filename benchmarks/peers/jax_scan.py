"""JAX: `jit(vmap)` per width, the optimiser steps inside `lax.scan`."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.jax_common import ACTIVATIONS, arrays, finished, samples_last
from benchmarks.workload import BETA1, BETA2, EPSILON, LEARNING_RATE, Stack, stacks
from edt import Ensemble, Task


class _Group:
    def __init__(self, stack: Stack, activation: str, dtype: str, x: Any, y: Any) -> None:
        self.rows = stack.rows
        loss = samples_last(ACTIVATIONS[activation], x, y)
        self._loss = jax.jit(jax.vmap(loss))
        gradient = jax.vmap(jax.grad(loss))
        mask = arrays(stack.masks, dtype)["w"]
        parameters = arrays(stack.parameters, dtype)
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        self._state = (parameters, zeros, zeros, jnp.zeros((), dtype))

        def step(state: Any, _: Any) -> Any:
            p, m, v, t = state
            g = gradient(p)
            g = {**g, "w": g["w"] * mask}
            t = t + 1
            m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
            v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
            rate = LEARNING_RATE / (1 - BETA1**t)
            unbias = 1 / jnp.sqrt(1 - BETA2**t)
            p = jax.tree.map(
                lambda p, m, v: p - rate * m / (jnp.sqrt(v) * unbias + EPSILON), p, m, v
            )
            return (p, m, v, t), None

        # The state's buffers are donated: updated in place.
        @partial(jax.jit, static_argnums=1, donate_argnums=0)
        def run(state: Any, steps: int) -> Any:
            return jax.lax.scan(step, state, None, length=steps)[0]

        self._run = run
        self._state = jax.tree.map(jnp.copy, self._state)

    def advance(self, steps: int) -> None:
        self._state = finished(self._run(self._state, steps))

    def losses(self) -> np.ndarray:
        return np.asarray(self._loss(self._state[0]), dtype=np.float64)


class Scan:
    """See `benchmarks.peers.base.Training`.

    Widths run one after another. All widths in one program (XLA may then run them side by side)
    was slower in three cases of four.
    """

    def __init__(self, ens: Ensemble, task: Task, activation: str | None = None) -> None:
        dtype = str(task.dtype).removeprefix("torch.")
        self._groups = [
            _Group(stack, activation or ens.activation, dtype, task.x.numpy(), task.y[:, 0].numpy())
            for stack in stacks(ens)
        ]
        self._networks = ens.B

    def advance(self, steps: int) -> None:
        for group in self._groups:
            group.advance(steps)

    def losses(self) -> np.ndarray:
        out = np.empty(self._networks)
        for group in self._groups:
            out[group.rows] = group.losses()
        return out
